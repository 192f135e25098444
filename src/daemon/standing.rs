//! Where the daemon stands, in a few words: what is due next, what is going, and what is wrong. For systemd's status line.
//!
//! Told when it changes, never by a tick. What happened is in the log and the history.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::{
    clock::rfc3339,
    daemon::notify,
    engine::{Change, Engine, change::AttemptOutcome},
    history::Stall,
    ids::ScheduleId,
};

/// A burst changes it thousands of times in a second; who is told can read it once.
const PAUSE: Duration = Duration::from_secs(1);
/// Of a server's words, so much goes into a line.
const ANSWER_CHARS_MAX: usize = 200;

/// Where the daemon stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    schedules: usize,
    open: usize,
    next: Option<(ScheduleId, DateTime<Utc>)>,
    /// Why the file on the disk is not in force.
    pub(super) refused: Option<String>,
    /// Why the latest start did not lead to a run, until one does.
    starts_fail: Option<String>,
    /// It was told to end, and waits for the answers to starts that are out.
    pub(super) stopping: bool,
}

impl Standing {
    /// Takes over the engine's part. Whether it is another one now.
    pub(super) fn look_at(&mut self, engine: &Engine) -> bool {
        let (schedules, open, next) = (engine.schedule_count(), engine.open_count(), engine.next_due());
        let same_next = match (&self.next, next) {
            (Some((id, at)), Some((next_id, next_at))) => id == next_id && *at == next_at,
            (None, None) => true,
            _ => false,
        };
        if same_next && (self.schedules, self.open) == (schedules, open) {
            return false;
        }
        (self.schedules, self.open) = (schedules, open);
        self.next = next.map(|(id, at)| (id.clone(), at));
        true
    }

    /// Takes over what a change says about the API. Whether that is something else now.
    pub(super) fn note(&mut self, change: &Change) -> bool {
        let Change::AttemptEnded { outcome, message, .. } = change else { return false };
        let fails = match outcome {
            AttemptOutcome::Started => None,
            outcome => {
                let answer: String = message.as_deref().unwrap_or("no answer").chars().take(ANSWER_CHARS_MAX).collect();
                Some(format!("the latest start was {outcome}: {answer}"))
            }
        };
        let other = self.starts_fail != fails;
        self.starts_fail = fails;
        other
    }
}

/// Tells systemd, until the loop that it is about is gone.
pub(super) async fn tell(mut standing: watch::Receiver<Standing>, mut stall: watch::Receiver<Option<Stall>>) {
    if !notify::is_heard() {
        return;
    }
    let mut told = String::new();
    loop {
        let text = line(&standing.borrow_and_update(), stall.borrow_and_update().as_ref());
        if text != told {
            notify::status(&text);
            told = text;
        }
        tokio::time::sleep(PAUSE).await;
        let changed = tokio::select! {
            changed = standing.changed() => changed,
            changed = stall.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// What is wrong comes first: it is what somebody looks for.
fn line(standing: &Standing, stall: Option<&Stall>) -> String {
    if standing.stopping {
        return "stopping: the answers to starts that are out are waited for".to_owned();
    }
    let stalled = stall.map(|stall| {
        format!("the history cannot be written since {}, nothing is started: {}", rfc3339(stall.since), stall.reason)
    });
    let next = match &standing.next {
        Some((id, at)) => format!("next: {id} at {}", rfc3339(*at)),
        None => "nothing is due".to_owned(),
    };
    let plural = if standing.schedules == 1 { "" } else { "s" };
    let calm = format!("{next}; {} schedule{plural}, {} open", standing.schedules, standing.open);
    let wrong = [stalled, standing.refused.clone(), standing.starts_fail.clone()];
    wrong.into_iter().flatten().chain([calm]).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::parse_rfc3339, ids::OccurrenceKey};

    fn attempt_ended(outcome: AttemptOutcome, message: Option<&str>) -> Change {
        Change::AttemptEnded {
            key: "main/a@2026-12-24T00:00:00Z".parse::<OccurrenceKey>().unwrap(),
            number: 1,
            at: parse_rfc3339("2026-12-24T00:00:00Z").unwrap(),
            outcome,
            http_status: None,
            run_id: None,
            message: message.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_wrong_comes_first_and_goes_when_it_is_mended() {
        let at = parse_rfc3339("2026-12-24T00:00:00Z").unwrap();
        let mut standing = Standing { schedules: 2, open: 1, ..Standing::default() };
        let check =
            |standing: &Standing, stall: Option<&Stall>, expected: &str| assert_eq!(line(standing, stall), expected);
        check(&standing, None, "nothing is due; 2 schedules, 1 open");
        standing.next = Some((ScheduleId::new("a").unwrap(), at));
        let calm = "next: a at 2026-12-24T00:00:00Z; 2 schedules, 1 open";
        check(&standing, None, calm);

        let refused = attempt_ended(AttemptOutcome::NotStarted, Some("403: the key is not accepted"));
        assert!(standing.note(&refused), "another word");
        assert!(!standing.note(&refused), "the same");
        let starts = "the latest start was not_started: 403: the key is not accepted";
        check(&standing, None, &format!("{starts}; {calm}"));
        standing.refused = Some("a.toml is refused".to_owned());
        let stall = Stall { since: at, reason: "the disk is full".to_owned(), hint: None, tries: 3 };
        let stalled = "the history cannot be written since 2026-12-24T00:00:00Z, nothing is started: the disk is full";
        check(&standing, Some(&stall), &format!("{stalled}; a.toml is refused; {starts}; {calm}"));

        standing.refused = None;
        assert!(standing.note(&attempt_ended(AttemptOutcome::Started, None)));
        check(&standing, None, calm);
        standing.stopping = true;
        check(&standing, None, "stopping: the answers to starts that are out are waited for");
    }
}
