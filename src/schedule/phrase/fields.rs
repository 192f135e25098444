//! What was understood of a phrase → the five fields, written as a person would.

use super::{Days, PhraseError, Said, refuse};

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

/// The five fields.
#[derive(Debug)]
pub(super) struct Fields {
    minute: String,
    hour: String,
    day_of_month: String,
    month: String,
    day_of_week: String,
}

impl Fields {
    pub(super) fn of(said: &Said) -> Result<Self, PhraseError> {
        let (minute, hour) = time(said)?;
        let days = &said.days;
        if said.every_day && !days.is_empty() {
            return refuse("every day is said, and single days too", "say the one or the other");
        }
        Ok(Self {
            minute,
            hour,
            day_of_month: if days.by_number() { day_of_month(days) } else { "*".to_owned() },
            month: if said.months == 0 { "*".to_owned() } else { numbers(&bits(said.months.into()), 1, 12) },
            day_of_week: if days.by_weekday() { day_of_week(days) } else { "*".to_owned() },
        })
    }

    pub(super) fn text(&self) -> String {
        let Self { minute, hour, day_of_month, month, day_of_week } = self;
        format!("{minute} {hour} {day_of_month} {month} {day_of_week}")
    }
}

/// The minute and the hour field.
fn time(said: &Said) -> Result<(String, String), PhraseError> {
    let ways =
        usize::from(!said.times.is_empty()) + usize::from(said.minutes.is_some()) + usize::from(said.step.is_some());
    if ways > 1 {
        return refuse("the time of day is said in two ways", "say the one or the other, or write two schedules");
    }
    if said.step.is_none() && said.from.is_some() {
        return refuse("from when to when is said, but not how often", "as in \"every 15 minutes from 9:00 to 16:45\"");
    }
    if let Some((minutes, hours)) = &said.minutes {
        let hours = if hours.is_empty() { "*".to_owned() } else { numbers(hours, 0, 23) };
        return Ok((numbers(minutes, 0, 59), hours));
    }
    if let Some(step) = said.step {
        return stepped(step, said.from, said.to);
    }
    if said.times.is_empty() {
        return refuse("at what time is not said", "add it, as in \"weekdays at 9\" or \"daily at noon\"");
    }
    let mut minutes: Vec<u32> = said.times.iter().map(|time| time % HOUR).collect();
    let mut hours: Vec<u32> = said.times.iter().map(|time| time / HOUR).collect();
    for values in [&mut minutes, &mut hours] {
        values.sort_unstable();
        values.dedup();
    }
    let mut times = said.times.clone();
    times.sort_unstable();
    times.dedup();
    if minutes.len() * hours.len() != times.len() {
        return refuse(
            "these times have different minutes in different hours, which one cron expression cannot say",
            "write two schedules",
        );
    }
    // Fixed times of the day: a step as the hour field would make them go on through a repeated hour.
    Ok((plain(&minutes), plain(&hours)))
}

/// `every 15 minutes`, within the hours that were said.
fn stepped(step: u32, from: Option<u32>, to: Option<u32>) -> Result<(String, String), PhraseError> {
    let first = from.unwrap_or(0);
    let Some(to) = to else {
        // Through the whole day, and so on the same minutes before `from` as after it.
        if first >= step {
            return refuse(
                format!("every {step} minutes from {} on: when it ends is not said", clock(first)),
                format!("add it, as in \"from {} to 20:00\"", clock(first)),
            );
        }
        let hours: Vec<u32> =
            (0..24).filter(|hour| step <= HOUR || (hour * HOUR + first % HOUR) % step == first).collect();
        let minutes: Vec<u32> = (0..HOUR).filter(|minute| minute % step.min(HOUR) == first % HOUR.min(step)).collect();
        return Ok((numbers(&minutes, 0, 59), numbers(&hours, 0, 23)));
    };
    if to < first {
        return refuse("it ends before it begins", "a cron expression begins again at midnight: write two schedules");
    }
    let times: Vec<u32> = (first..=to.min(DAY - 1)).step_by(step as usize).collect();
    let (last, before_last) = (times.last().copied().unwrap_or(first), to.saturating_sub(step));
    if last != to {
        return refuse(
            format!("every {step} minutes from {} does not come to {}", clock(first), clock(to)),
            format!("the last before it is at {}", clock(last)),
        );
    }
    let mut hours: Vec<u32> = times.iter().map(|time| time / HOUR).collect();
    hours.dedup();
    let mut minutes: Vec<u32> = times.iter().map(|time| time % HOUR).collect();
    minutes.sort_unstable();
    minutes.dedup();
    if minutes.len() * hours.len() != times.len() {
        let last_minute = minutes.last().copied().unwrap_or_default();
        let hour = before_last / HOUR;
        return refuse(
            "the first and the last hour have other minutes than those between, which one cron expression cannot say",
            format!(
                "begin on the first minute of an hour and end on its last, as in \"from {} to {}\"",
                clock(first / HOUR * HOUR + minutes.first().copied().unwrap_or_default()),
                clock(hour * HOUR + last_minute),
            ),
        );
    }
    Ok((numbers(&minutes, 0, 59), numbers(&hours, 0, 23)))
}

fn day_of_month(days: &Days) -> String {
    let mut text = match days.numbers {
        0 => String::new(),
        // Not `*`, which would leave the day to the weekdays, where there are some.
        0xffff_fffe => "1-31".to_owned(),
        some => numbers(&bits(some), 1, 31),
    };
    if days.last_day {
        text.push_str(if text.is_empty() { "L" } else { ",L" });
    }
    text
}

fn day_of_week(days: &Days) -> String {
    let mut items = Vec::new();
    match days.weekdays {
        0 => {}
        // Monday to Sunday, of which the last is written as 7.
        0b111_1111 => items.push("1-7".to_owned()),
        some => items.push(numbers(&bits(some.into()), 0, 6)),
    }
    let mut nth = days.nth.clone();
    nth.sort_unstable_by_key(|(weekday, n)| (*n, *weekday));
    nth.dedup();
    items.extend(nth.into_iter().map(|(weekday, n)| format!("{weekday}#{n}")));
    let mut last = days.last_weekdays.clone();
    last.sort_unstable();
    last.dedup();
    items.extend(last.into_iter().map(|weekday| format!("L{weekday}")));
    items.join(",")
}

fn bits(bits: u32) -> Vec<u32> {
    (0..32).filter(|bit| bits >> bit & 1 == 1).collect()
}

/// A field that takes these values, out of `least` to `most`: `*`, `*/15`, `9-17`, `1,15`.
fn numbers(values: &[u32], least: u32, most: u32) -> String {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    let step = match values.as_slice() {
        [first, second, ..] => second - first,
        _ => 0,
    };
    let even = values.len() > 2 && values.windows(2).all(|pair| pair[1] - pair[0] == step);
    match (values.first(), values.last()) {
        (Some(first), Some(last)) if even && *first == least && *last + step > most => match step {
            1 => "*".to_owned(),
            step => format!("*/{step}"),
        },
        (Some(first), Some(last)) if even && step == 1 => format!("{first}-{last}"),
        (Some(first), Some(last)) if even && values.len() > 3 => format!("{first}-{last}/{step}"),
        _ => plain(&values),
    }
}

/// A field that lists these values.
fn plain(values: &[u32]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn clock(minutes: u32) -> String {
    format!("{:02}:{:02}", minutes / HOUR, minutes % HOUR)
}
