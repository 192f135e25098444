//! Text → [`CronExpression`], in passes: fields, items, then the crate `cron`, then the days of a month.
//!
//! The first passes know where each character stands, and so find and explain every refusal. What is left is translated
//! into the crate's own dialect (its weekdays count from 1 = Sunday) and given to the crate, whose sets of values are
//! taken; what the crate has no words for (`L`, `#`) is kept beside them. The crate's own walk is not used: it requires
//! both day fields to match, drops times that a clock change skips, and repeats those that one repeats.

use super::{
    CronError, CronErrorKind as Kind, CronExpression, DayField,
    piece::{Piece, Refusal},
    sets::{self, DAY_OF_MONTH, DAY_OF_WEEK, Parsed},
};

/// What a field takes.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Three letters each; the first one means `min`, or 0 for weekdays and 1 for months, which is the same.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const MONTH: usize = 3;
/// The order of the text.
const FIELDS: [Field; 5] = [
    Field { name: "the minute", min: 0, max: 59, names: &[] },
    Field { name: "the hour", min: 0, max: 23, names: &[] },
    Field { name: "the day of month", min: 1, max: 31, names: &[] },
    Field { name: "the month", min: 1, max: 12, names: &MONTHS },
    Field { name: "the day of week", min: 0, max: 7, names: &WEEKDAYS },
];

const ALIASES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Mistakes that are mended in one correction.
const MENDED_MAX: usize = 8;

pub(super) fn parse(text: &str) -> Result<CronExpression, CronError> {
    read(text).map_err(|refusal| {
        let correction = correction(text, &refusal);
        CronError { span: refusal.span, kind: refusal.kind, correction }
    })
}

/// The expression as it was probably meant: with this mistake mended, and those that are found then. Not offered where one
/// is left that cannot be mended, for a hint that is refused in turn helps nobody.
fn correction(text: &str, refusal: &Refusal) -> Option<String> {
    let mut corrected = text.to_owned();
    corrected.replace_range(refusal.span.clone(), refusal.replacement.as_ref()?);
    for _ in 0..MENDED_MAX {
        match read(&corrected) {
            Ok(_) => return Some(corrected.trim().to_owned()),
            Err(refusal) => corrected.replace_range(refusal.span, &refusal.replacement?),
        }
    }
    None
}

fn read(text: &str) -> Result<CronExpression, Refusal> {
    if text.len() > CronExpression::BYTES_MAX {
        let kind = Kind::TooLong { bytes: text.len(), bytes_max: CronExpression::BYTES_MAX };
        return Err(Refusal { span: 0..0, kind, replacement: None });
    }
    let trimmed = text.trim_matches([' ', '\t']);
    let whole = Piece { text: trimmed, start: text.len() - text.trim_start_matches([' ', '\t']).len() };
    if trimmed.is_empty() {
        return Err(Refusal { span: 0..text.len(), kind: Kind::Empty, replacement: None });
    }
    if trimmed.starts_with('@') {
        let expanded = alias(whole)?;
        let fields: Vec<_> = Piece { text: expanded, start: 0 }.split(' ').collect();
        let mut expression = fields_to_expression(text, whole, &fields)?;
        // The alias has no fields of its own to point at.
        expression.day_of_month.span = whole.span();
        expression.day_of_week.span = whole.span();
        return Ok(expression);
    }
    let fields: Vec<_> =
        whole.split(' ').flat_map(|part| part.split('\t')).filter(|part| !part.text.is_empty()).collect();
    if let Some(first) = fields.first()
        && (first.text.starts_with("TZ=") || first.text.starts_with("CRON_TZ="))
    {
        let end = fields.get(1).map_or(first.span().end, |second| second.start);
        return Err(Refusal { span: first.start..end, kind: Kind::ZoneInside, replacement: Some(String::new()) });
    }
    if let Some(sixth) = fields.get(5).filter(|sixth| sixth.text.starts_with('#')) {
        let span = sixth.start..whole.span().end;
        return Err(Refusal { span, kind: Kind::Comment, replacement: Some(String::new()) });
    }
    for (index, character) in trimmed.char_indices() {
        if !(character.is_ascii_alphanumeric() || "*?,-/#+ \t".contains(character)) {
            // H(0-10) is refused for the letter, which means more than its bracket.
            let (start, kind) = match trimmed[..index].chars().next_back() {
                Some('H' | 'h') if character == '(' => (index - 1, Kind::Hashed),
                Some('R' | 'r') if character == '(' => (index - 1, Kind::Random),
                _ => (index, Kind::Character { character }),
            };
            let span = whole.start + start..whole.start + index + character.len_utf8();
            return Err(Refusal { span, kind, replacement: None });
        }
    }
    match fields.len() {
        0..=4 => {
            let end = whole.span().end;
            Err(Refusal { span: end..end, kind: Kind::TooFewFields { found: fields.len() }, replacement: None })
        }
        5 => fields_to_expression(text, whole, &fields),
        found => Err(too_many_fields(whole, &fields, found)),
    }
}

/// The fields that an alias stands for.
fn alias(whole: Piece<'_>) -> Result<&'static str, Refusal> {
    let lower = whole.text.to_ascii_lowercase();
    if let Some((_, fields)) = ALIASES.iter().find(|(alias, _)| *alias == lower) {
        return Ok(fields);
    }
    if lower == "@reboot" {
        return Err(whole.refuse(Kind::Reboot));
    }
    if lower.starts_with("@every") {
        return Err(whole.refuse(Kind::Every));
    }
    let kind = Kind::UnknownAlias { alias: whole.text.to_owned() };
    let nearest = ALIASES.iter().find(|(alias, _)| strsim::damerau_levenshtein(alias, &lower) <= 2);
    Err(match nearest {
        Some((alias, _)) => whole.replace(kind, *alias),
        None => whole.refuse(kind),
    })
}

/// Six fields are five with seconds in front (most programs), or with seconds or a year behind; seven have both.
fn too_many_fields(whole: Piece<'_>, fields: &[Piece<'_>], found: usize) -> Refusal {
    let is_year =
        |piece: &Piece<'_>| piece.text.len() >= 4 && piece.text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let kept = match found {
        6 if is_year(&fields[5]) => &fields[..5],
        // Seconds in front, unless only the last can be them.
        6 if fields[5].text == "0" && fields[0].text.parse::<u32>().is_err() => &fields[..5],
        6 => &fields[1..],
        7 => &fields[1..6],
        _ => return whole.refuse(Kind::TooManyFields { found }),
    };
    let texts: Vec<_> = kept.iter().map(|field| field.text).collect();
    whole.replace(Kind::TooManyFields { found }, texts.join(" "))
}

fn fields_to_expression(text: &str, whole: Piece<'_>, fields: &[Piece<'_>]) -> Result<CronExpression, Refusal> {
    let mut parsed = Vec::with_capacity(FIELDS.len());
    for (index, piece) in fields.iter().enumerate() {
        parsed.push(field(index, *piece)?);
    }
    let [minute, hour, day_of_month, month, day_of_week] = &parsed[..] else {
        return Err(whole.refuse(Kind::TooFewFields { found: parsed.len() }));
    };
    let special = if day_of_week.nth.is_empty() { 'L' } else { '#' };
    if !day_of_month.every && day_of_week.has_terms() {
        return Err(fields[DAY_OF_WEEK].refuse(Kind::NthWithDay { term: special }));
    }
    let sets = sets::read(&parsed).map_err(|reason| whole.refuse(Kind::Parser { reason }))?;
    let days = [28, 29, 30, 31].map(|length| {
        [0, 1, 2, 3, 4, 5, 6].map(|weekday| sets.days_of_month(length, weekday, day_of_month, day_of_week))
    });
    let minutes = sets.minutes;
    let hours = sets.hours;
    let day_field = |piece: Piece<'_>, field: &Parsed| DayField {
        span: piece.span(),
        restricted: !field.every,
        starred_step: field.starred_step,
        mixed: !field.plain.is_empty() && field.has_terms(),
    };
    let minute_of_day = |hour: u32, minute: u32| u16::try_from(hour * 60 + minute).unwrap_or_default();
    let expression = CronExpression {
        text: text.into(),
        minutes,
        hours,
        months: sets.months,
        days,
        first_minute: minute_of_day(hours.trailing_zeros(), minutes.trailing_zeros()),
        last_minute: minute_of_day(hours.checked_ilog2().unwrap_or(0), minutes.checked_ilog2().unwrap_or(0)),
        every_hour: hour.every || (hour.starred_step && hour.items == 1),
        day_of_month: day_field(fields[DAY_OF_MONTH], day_of_month),
        day_of_week: day_field(fields[DAY_OF_WEEK], day_of_week),
    };
    debug_assert!(minute.items > 0 && month.items > 0 && minutes != 0 && hours != 0);
    if expression.next_local(0).is_none() {
        // Days of a month that is shorter: its last one was probably meant.
        let span = fields[DAY_OF_MONTH].start..fields[MONTH].span().end;
        let replacement = Some(format!("L {}", fields[MONTH].text));
        return Err(Refusal { span, kind: Kind::NeverDue, replacement });
    }
    Ok(expression)
}

/// Reads one field.
fn field(index: usize, piece: Piece<'_>) -> Result<Parsed, Refusal> {
    let field = &FIELDS[index];
    let mut parsed = Parsed::default();
    for item in piece.split(',') {
        parsed.items += 1;
        if item.text.is_empty() {
            return Err(empty_item(field, piece));
        }
        if item.text == "?" || item.text.starts_with("?/") {
            if index != DAY_OF_MONTH && index != DAY_OF_WEEK {
                return Err(item.replace(Kind::QuestionMark { field: field.name }, item.text.replace('?', "*")));
            }
            if piece.text != "?" {
                return Err(item.refuse(Kind::QuestionMarkInList { field: field.name }));
            }
            parsed.every = true;
            parsed.plain.push("*".to_owned());
        } else {
            self::item(index, item, &mut parsed)?;
        }
    }
    Ok(parsed)
}

/// A list with a comma too many, and the list without it.
fn empty_item(field: &Field, piece: Piece<'_>) -> Refusal {
    let kind = Kind::EmptyItem { field: field.name };
    let kept: Vec<_> = piece.text.split(',').filter(|item| !item.is_empty()).collect();
    if kept.is_empty() { piece.refuse(kind) } else { piece.replace(kind, kept.join(",")) }
}

/// Reads one item of a list.
fn item(index: usize, item: Piece<'_>, parsed: &mut Parsed) -> Result<(), Refusal> {
    let field = &FIELDS[index];
    if special(index, item, parsed)? {
        return Ok(());
    }
    let (base, step) = match item.split_once('/') {
        None => (item, None),
        Some((base, step)) => (base, Some(step)),
    };
    let step = step.map(|step| self::step(field, step)).transpose()?;
    let (first, last) = if base.text == "*" {
        if step.is_none() {
            parsed.every = true;
            parsed.plain.push("*".to_owned());
            return Ok(());
        }
        parsed.starred_step = true;
        // Seven is Sunday again, which `*` has already.
        (field.min, if index == DAY_OF_WEEK { 6 } else { field.max })
    } else if let Some((from, to)) = base.split_once('-') {
        range(index, item, from, to)?
    } else {
        let first = value(field, base)?;
        (first, if step.is_some() { field.max } else { first })
    };
    let step = match step {
        None => 1,
        Some((1, _)) => 1,
        Some((step, piece)) if step > last - first => {
            let kind = Kind::StepTooLarge { field: field.name, step: piece.text.to_owned(), first };
            return Err(item.replace(kind, first.to_string()));
        }
        Some((step, _)) => step,
    };
    translate(index, first, last, step, &mut parsed.plain);
    Ok(())
}

/// Values for the crate: weekdays from 1 = Sunday, and no 7 that is Sunday. As short as can be, which is what the crate
/// reads fastest.
fn translate(index: usize, first: u32, last: u32, step: u32, plain: &mut Vec<String>) {
    let shift = u32::from(index == DAY_OF_WEEK);
    let end = if index == DAY_OF_WEEK { last.min(6) } else { last };
    if first <= end {
        let (from, to) = (first + shift, end + shift);
        plain.push(match step {
            _ if from == to => from.to_string(),
            1 => format!("{from}-{to}"),
            _ => format!("{from}-{to}/{step}"),
        });
    }
    if end < last && (last - first).is_multiple_of(step) {
        plain.push("1".to_owned());
    }
}

/// Takes the terms that the crate has no words for, and refuses those that nobody defines. `true`: taken.
fn special(index: usize, item: Piece<'_>, parsed: &mut Parsed) -> Result<bool, Refusal> {
    let field = &FIELDS[index];
    let upper = item.text.to_ascii_uppercase();
    if let Some((day, nth)) = item.split_once('#') {
        if index != DAY_OF_WEEK {
            return Err(item.refuse(Kind::NthElsewhere { field: field.name }));
        }
        let day = value(field, day)? % 7;
        let nth = match nth.text {
            "1" | "2" | "3" | "4" | "5" => u32::from(nth.text.as_bytes()[0] - b'0'),
            text if text.eq_ignore_ascii_case("L") => {
                return Err(item.replace(Kind::LastWritten { text: item.text.to_owned() }, format!("L{day}")));
            }
            _ => return Err(item.refuse(Kind::Nth { text: item.text.to_owned() })),
        };
        parsed.nth.push((day, nth));
        return Ok(true);
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if index <= DAY_OF_MONTH {
        // H, H/5, H(0-10) is refused for its brackets; 15W, LW.
        match upper.as_bytes() {
            [b'H', ..] => return Err(item.refuse(Kind::Hashed)),
            [b'R', ..] => return Err(item.refuse(Kind::Random)),
            _ => {}
        }
    } else if upper == "H" || upper.starts_with("H/") {
        return Err(item.refuse(Kind::Hashed));
    } else if upper == "R" || upper.starts_with("R/") {
        return Err(item.refuse(Kind::Random));
    }
    let Some(rest) = upper.strip_prefix('L') else {
        let last = upper.strip_suffix('L');
        if index == DAY_OF_WEEK
            && let Some(day) = last
            && (is_number(day) || WEEKDAYS.contains(&day))
        {
            let number = value(field, Piece { text: &item.text[..day.len()], start: item.start })? % 7;
            return Err(item.replace(Kind::LastWritten { text: item.text.to_owned() }, format!("L{number}")));
        }
        if index == DAY_OF_MONTH && upper.strip_suffix('W').is_some_and(|day| day.is_empty() || is_number(day)) {
            return Err(item.refuse(Kind::NearestWeekday));
        }
        return Ok(false);
    };
    match (index, rest) {
        (DAY_OF_MONTH, "") => parsed.last_day = true,
        (DAY_OF_MONTH, "W") => return Err(item.refuse(Kind::NearestWeekday)),
        (DAY_OF_MONTH, _) if rest.starts_with(['-', '+']) => {
            return Err(item.refuse(Kind::OffsetFromLast { text: item.text.to_owned() }));
        }
        (DAY_OF_WEEK, "") => return Err(item.refuse(Kind::LastAlone)),
        (DAY_OF_WEEK, day) if is_number(day) => {
            let day = value(field, Piece { text: &item.text[1..], start: item.start + 1 })? % 7;
            parsed.last_weekdays.push(day);
        }
        (DAY_OF_WEEK, day) => {
            let kind = Kind::LastWritten { text: item.text.to_owned() };
            return Err(match WEEKDAYS.iter().position(|name| *name == day) {
                Some(number) => item.replace(kind, format!("L{number}")),
                None => item.refuse(kind),
            });
        }
        (_, day) if day.is_empty() || is_number(day) => {
            return Err(item.refuse(Kind::LastElsewhere { field: field.name }));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The number behind a slash.
fn step<'a>(field: &Field, piece: Piece<'a>) -> Result<(u32, Piece<'a>), Refusal> {
    match piece.text.parse::<u32>() {
        _ if piece.text.is_empty() => Err(piece.refuse(Kind::StepMissing { field: field.name })),
        _ if piece.text.starts_with(['+', '-']) => {
            Err(piece.replace(Kind::Sign { field: field.name }, &piece.text[1..]))
        }
        Ok(0) => Err(piece.refuse(Kind::StepZero { field: field.name })),
        Ok(step) => Ok((step, piece)),
        // More digits than any range has.
        Err(_) if piece.text.bytes().all(|byte| byte.is_ascii_digit()) => Ok((u32::MAX, piece)),
        Err(_) => Err(piece.refuse(Kind::Step { text: piece.text.to_owned() })),
    }
}

/// Both ends of the range of an item.
fn range(index: usize, item: Piece<'_>, from: Piece<'_>, to: Piece<'_>) -> Result<(u32, u32), Refusal> {
    let field = &FIELDS[index];
    let (base, step) = item.text.split_at(to.span().end - item.start);
    let base = Piece { text: base, start: item.start };
    if from.text.is_empty() {
        return Err(base.replace(Kind::Sign { field: field.name }, to.text));
    }
    if to.text.is_empty() {
        return Err(base.refuse(Kind::Range { field: field.name, text: base.text.to_owned() }));
    }
    let first = value(field, from)?;
    let mut last = value(field, to)?;
    if index == DAY_OF_WEEK && to.text.eq_ignore_ascii_case("SUN") && first > 0 {
        last = 7;
    }
    if first <= last {
        return Ok((first, last));
    }
    let kind = Kind::Backwards { field: field.name, text: base.text.to_owned() };
    // Over the field's end and on from its start, with the step in both parts.
    let end = if index == DAY_OF_WEEK { 6 } else { field.max };
    let part = |first: u32, last: u32| if first == last { format!("{first}") } else { format!("{first}-{last}{step}") };
    let parts = [(first <= end).then(|| part(first, end)), Some(part(field.min, last))];
    Err(item.replace(kind, parts.into_iter().flatten().collect::<Vec<_>>().join(",")))
}

/// A number or a name.
fn value(field: &Field, piece: Piece<'_>) -> Result<u32, Refusal> {
    let text = piece.text;
    if text.is_empty() {
        return Err(piece.refuse(Kind::ValueMissing { field: field.name }));
    }
    if text.starts_with(['+', '-']) {
        return Err(piece.replace(Kind::Sign { field: field.name }, &text[1..]));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(value) if (field.min..=field.max).contains(&value) => Ok(value),
            _ => {
                let kind =
                    Kind::OutOfRange { field: field.name, text: text.to_owned(), min: field.min, max: field.max };
                // An hour or a minute that is one too many is the next day's or hour's first.
                let wraps = field.min == 0 && text.parse() == Ok(field.max + 1) && field.names.is_empty();
                Err(if wraps { piece.replace(kind, "0") } else { piece.refuse(kind) })
            }
        };
    }
    let upper = text.to_ascii_uppercase();
    if let Some(position) = field.names.iter().position(|name| *name == upper) {
        let first = u32::from(field.max == 12);
        return Ok(u32::try_from(position).unwrap_or_default() + first);
    }
    if let Some(name) = field.names.iter().find(|name| upper.starts_with(**name)) {
        return Err(piece.replace(Kind::FullName { field: field.name, text: text.to_owned() }, *name));
    }
    Err(piece.refuse(Kind::NotAValue { field: field.name, text: text.to_owned() }))
}
