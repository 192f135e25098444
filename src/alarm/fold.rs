//! Which of the alarms that wait for a channel go out now, and which become one: a receiver that is told a thousand things at
//! once is told nothing.
//!
//! Pure: it is handed what waits and how many went out within the last minute.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    clock::rfc3339_millis,
    engine::alarm::{AlarmEvent, FACTS, NewAlarm},
    history::WaitingAlarm,
    ids::Instance,
};

/// Alarms that a channel is sent one by one within a minute. What is more becomes a summary.
pub(super) const SINGLES_PER_MINUTE_MAX: usize = 10;
/// Alarms that a summary names.
const NAMES_MAX: usize = 5;

/// What to do for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Send this one.
    Send(&'a WaitingAlarm),
    /// Make one of these.
    Fold(Vec<&'a WaitingAlarm>),
    /// Nothing until the minute is over.
    Hold,
}

/// The next step for a webhook for which these wait, oldest first and at least one, after `sent` within the last minute.
pub(super) fn step<'a>(waiting: &[&'a WaitingAlarm], sent: usize) -> Option<Step<'a>> {
    let first = *waiting.first()?;
    // One that was tried may have arrived: it is sent again as it is. And what the daemon says of itself is rare.
    let foldable: Vec<_> =
        waiting.iter().copied().filter(|alarm| alarm.tries == 0 && !alarm.event.is_of_daemon()).collect();
    let places = SINGLES_PER_MINUTE_MAX.saturating_sub(sent);
    if foldable.len() > places.max(1) && places > 0 {
        return Some(Step::Fold(foldable));
    }
    if places == 0 {
        // The minute holds up what can be folded, nothing else.
        let urgent = waiting.iter().copied().find(|alarm| alarm.tries > 0 || alarm.event.is_of_daemon());
        return Some(urgent.map_or(Step::Hold, Step::Send));
    }
    Some(Step::Send(first))
}

/// One alarm that stands for these; `facts` are theirs, as far as they are needed: of the first few, and of summaries among them.
pub(super) fn summary(
    now: DateTime<Utc>,
    instance: &Instance,
    folded: &[&WaitingAlarm],
    facts: &BTreeMap<i64, Map<String, Value>>,
) -> Option<NewAlarm> {
    let (first, last) = (folded.first()?, folded.last()?);
    let id = format!("{instance}:summary-{}-{}", first.row, last.row);
    let mut events: BTreeMap<String, u64> = BTreeMap::new();
    for alarm in folded {
        let inner = facts.get(&alarm.row).and_then(|facts| facts.get("events")).and_then(Value::as_object);
        match inner.filter(|_| alarm.event == AlarmEvent::Summary) {
            Some(inner) => {
                for (event, count) in inner {
                    *events.entry(event.clone()).or_default() += count.as_u64().unwrap_or(0);
                }
            }
            None => *events.entry(alarm.event.word().to_owned()).or_default() += 1,
        }
    }
    let total: u64 = events.values().sum();
    let counts: Vec<String> = events.iter().map(|(event, count)| format!("{count} {event}")).collect();
    let texts = folded.iter().filter_map(|alarm| facts.get(&alarm.row)?.get("text")?.as_str());
    let texts: Vec<&str> = texts.take(NAMES_MAX).collect();
    let text = format!(
        "{total} alarms since {}: {}. The first: {}",
        rfc3339_millis(first.raised_at),
        counts.join(", "),
        texts.join("; ")
    );
    let blank = FACTS.iter().map(|name| ((*name).to_owned(), Value::Null));
    let mut told: Map<String, Value> = blank.collect();
    for (name, value) in [
        ("id", json!(id)),
        ("event", json!(AlarmEvent::Summary.word())),
        ("at", json!(rfc3339_millis(now))),
        ("instance", json!(instance.as_str())),
        ("count", json!(total)),
        ("events", json!(events)),
        ("text", json!(text)),
    ] {
        told.insert(name.to_owned(), value);
    }
    Some(NewAlarm {
        id,
        channel: first.channel.clone(),
        event: AlarmEvent::Summary,
        schedule: None,
        at: now,
        facts: told,
    })
}

/// The rows whose facts a summary needs.
pub(super) fn rows_to_read(folded: &[&WaitingAlarm]) -> Vec<i64> {
    let first = folded.iter().take(NAMES_MAX);
    let inner = folded.iter().skip(NAMES_MAX).filter(|alarm| alarm.event == AlarmEvent::Summary);
    first.chain(inner).map(|alarm| alarm.row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChannelName;

    fn alarm(row: i64, event: AlarmEvent, tries: u32) -> WaitingAlarm {
        let channel = ChannelName::new("ops").unwrap();
        let raised_at = "2026-11-02T14:00:00Z".parse().unwrap();
        WaitingAlarm { row, id: row.to_string(), channel, event, schedule: None, raised_at, tries }
    }

    /// What is done for so many failed ones after so many were sent, in words.
    fn check(waiting: &[(AlarmEvent, u32)], sent: usize, expected: &str) {
        let waiting: Vec<_> = (1..).zip(waiting).map(|(row, (event, tries))| alarm(row, *event, *tries)).collect();
        let waiting: Vec<_> = waiting.iter().collect();
        let got = match step(&waiting, sent) {
            None => "nothing".to_owned(),
            Some(Step::Hold) => "hold".to_owned(),
            Some(Step::Send(alarm)) => format!("send {}", alarm.row),
            Some(Step::Fold(folded)) => format!("fold {}", folded.len()),
        };
        assert_eq!(got, expected, "{} waiting, {sent} sent", waiting.len());
    }

    #[test]
    fn few_go_one_by_one_and_many_become_one() {
        use AlarmEvent::{Failed, FileRefused, Summary};
        let failed = |count: usize| vec![(Failed, 0); count];
        check(&[], 0, "nothing");
        check(&failed(1), 0, "send 1");
        check(&failed(10), 0, "send 1");
        check(&failed(11), 0, "fold 11");
        check(&failed(9), 1, "send 1");
        check(&failed(1), 9, "send 1");
        check(&failed(2), 9, "fold 2");
        check(&failed(1), 10, "hold");
        check(&failed(500), 10, "hold");
        // One that may have arrived keeps its name.
        check(&[vec![(Failed, 3)], failed(20)].concat(), 0, "fold 20");
        check(&[vec![(Failed, 3)], vec![(Summary, 0)]].concat(), 0, "send 1");
        check(&[vec![(Failed, 3)], failed(1)].concat(), 10, "send 1");
        // The daemon's own are never held up.
        check(&[failed(3), vec![(FileRefused, 0)]].concat(), 10, "send 4");
    }

    #[test]
    fn a_summary_counts_what_it_stands_for() {
        let alarms =
            [alarm(1, AlarmEvent::Failed, 0), alarm(2, AlarmEvent::Summary, 0), alarm(3, AlarmEvent::Missed, 0)];
        let folded: Vec<_> = alarms.iter().collect();
        let object = |value: Value| value.as_object().cloned().unwrap();
        let facts = BTreeMap::from([
            (1, object(json!({ "text": "a failed" }))),
            (2, object(json!({ "text": "12 alarms", "events": { "failed": 10, "late": 2 } }))),
        ]);
        assert_eq!(rows_to_read(&folded), [1, 2, 3]);
        let made = summary(alarms[0].raised_at, &Instance::new("main").unwrap(), &folded, &facts).unwrap();
        assert_eq!(made.facts["count"], 14);
        assert_eq!(made.facts["events"], json!({ "failed": 11, "late": 2, "missed": 1 }));
        let text = made.facts["text"].as_str().unwrap();
        assert!(text.ends_with("11 failed, 2 late, 1 missed. The first: a failed; 12 alarms"), "{text}");
    }
}
