//! Fields that were read → sets of values, by the crate `cron`; and from those the days of every kind of month.

use cron::TimeUnitSpec;

/// The places of the two day fields.
pub(super) const DAY_OF_MONTH: usize = 2;
/// As above.
pub(super) const DAY_OF_WEEK: usize = 4;

/// One field, read.
#[derive(Default)]
pub(super) struct Parsed {
    /// What the crate is given; empty where the field has only terms that it does not know.
    pub(super) plain: Vec<String>,
    /// A bare `*`, or `?`: all values.
    pub(super) every: bool,
    /// A `*/n`.
    pub(super) starred_step: bool,
    /// Items in all.
    pub(super) items: usize,
    /// `L` in the day of month.
    pub(super) last_day: bool,
    /// `d#n`: weekday and n.
    pub(super) nth: Vec<(u32, u32)>,
    /// `Ld`: weekday.
    pub(super) last_weekdays: Vec<u32>,
}

impl Parsed {
    /// Has `d#n` or `Ld`.
    pub(super) fn has_terms(&self) -> bool {
        !self.nth.is_empty() || !self.last_weekdays.is_empty()
    }
}

/// What the crate read.
pub(super) struct Sets {
    pub(super) minutes: u64,
    pub(super) hours: u32,
    pub(super) days: u32,
    pub(super) months: u16,
    /// Bit n: weekday n, Sunday = 0.
    pub(super) weekdays: u8,
}

impl Sets {
    /// The matching days of a month of `length` days whose first is a `first_weekday`; bit n is day n + 1.
    pub(super) fn days_of_month(&self, length: u32, first_weekday: u32, by_day: &Parsed, by_weekday: &Parsed) -> u32 {
        let all = u32::MAX >> (32 - length);
        // The first, second, … of a weekday are seven days apart, from the first one on.
        let first = |weekday: u32| (weekday + 7 - first_weekday) % 7;
        let each = |weekday: u32| (0b1_0000001_0000001_0000001_0000001 << first(weekday)) & all;
        let days = || (self.days >> 1 & all) | if by_day.last_day { 1 << (length - 1) } else { 0 };
        let weekdays = || {
            let plain = (0..7).filter(|weekday| self.weekdays >> weekday & 1 == 1).map(each);
            let nth = by_weekday.nth.iter().map(|(weekday, n)| (1_u32 << first(*weekday) << (7 * (n - 1))) & all);
            let last = by_weekday.last_weekdays.iter().map(|weekday| 1 << each(*weekday).ilog2());
            plain.chain(nth).chain(last).fold(0, |days, more| days | more)
        };
        match (by_day.every, by_weekday.every) {
            (true, true) => all,
            (false, true) => days(),
            (true, false) => weekdays(),
            (false, false) => days() | weekdays(),
        }
    }
}

/// Gives the translated fields to the crate and takes its sets.
pub(super) fn read(parsed: &[Parsed]) -> Result<Sets, String> {
    let text = parsed.iter().fold("0".to_owned(), |mut text, field| {
        text.push(' ');
        // A field of special terms only: its set is not used.
        text.push_str(if field.plain.is_empty() { "*" } else { "" });
        text.push_str(&field.plain.join(","));
        text
    });
    let schedule = text.parse::<cron::Schedule>().map_err(|error| error.to_string())?;
    let plain = |index: usize, bits: u64| if parsed[index].plain.is_empty() { 0 } else { bits };
    let bits = |spec: &mut dyn Iterator<Item = u32>| spec.fold(0_u64, |bits, value| bits | 1 << value);
    Ok(Sets {
        minutes: bits(&mut schedule.minutes().iter()),
        hours: narrow(bits(&mut schedule.hours().iter())),
        days: narrow(plain(DAY_OF_MONTH, bits(&mut schedule.days_of_month().iter()))),
        months: narrow(bits(&mut schedule.months().iter())),
        weekdays: narrow(plain(DAY_OF_WEEK, bits(&mut schedule.days_of_week().iter()) >> 1)),
    })
}

/// The low bits, which the field's range has already bounded.
fn narrow<T: TryFrom<u64> + Default>(bits: u64) -> T {
    T::try_from(bits).unwrap_or_default()
}
