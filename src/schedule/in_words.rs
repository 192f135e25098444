//! A timetable in words, for people: `At 09:00 on weekdays, New York time`.
//!
//! A function of the timetable alone. What a cron expression says is `cron::in_words`' work; here are the other cadences, the
//! zone, and the bounds.

use std::time::Duration;

use chrono::{DateTime, Timelike, Utc};

use super::{Timetable, Zone, upcoming::Cadence, zone::instant};

impl Timetable {
    /// When it is due, in words. `None` for the few cron expressions for which there are no exact ones.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let zone = self.zone();
        let mut words = match self.cadence() {
            Cadence::Cron { expression, .. } => expression.in_words()?,
            Cadence::Interval { seconds, first } => {
                let every = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
                format!("Every {every} from {} on", moment(zone, instant(*first)))
            }
            Cadence::Once { at } => format!("Once, on {}", moment(zone, instant(*at))),
        };
        words.push_str(", ");
        words.push_str(&zone_in_words(zone));
        let (starts_at, ends_at) = self.bounds();
        if let Some(starts_at) = starts_at {
            words.push_str(&format!(", not before {}", moment(zone, starts_at)));
        }
        if let Some(ends_at) = ends_at {
            words.push_str(&format!(", not after {}", moment(zone, ends_at)));
        }
        Some(words)
    }
}

impl Timetable {
    /// What decides, as the file has it: the expression, or the keys that stand in its place.
    #[must_use]
    pub fn cadence_text(&self) -> String {
        match self.cadence() {
            Cadence::Cron { expression, .. } => expression.as_str().to_owned(),
            Cadence::Interval { seconds, .. } => format!("interval_seconds = {seconds}"),
            Cadence::Once { .. } => "run_at".to_owned(),
        }
    }
}

/// `2026-11-02 09:00` by the clocks of the zone.
fn moment(zone: &Zone, at: DateTime<Utc>) -> String {
    let local = zone.to_local(at);
    local.format(if local.second() == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

/// `New York time`; names that are no places stay as they are.
fn zone_in_words(zone: &Zone) -> String {
    match zone.name() {
        "UTC" | "Etc/UTC" | "Etc/UCT" | "Etc/Zulu" | "Zulu" | "UCT" | "Etc/Universal" | "Universal" => "UTC".to_owned(),
        name => match name.rsplit_once('/') {
            Some((area, place)) if area != "Etc" && area != "SystemV" => format!("{} time", place.replace('_', " ")),
            _ => name.to_owned(),
        },
    }
}
