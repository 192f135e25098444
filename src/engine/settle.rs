//! Looking for the run of a start that was not clearly answered: what to look at next, and what can be concluded.
//!
//! A dialogue without I/O: [`Inquiry::step`] says what to look at or how long to wait, whoever can look says what was seen.
//! The rule that matters: "it did not start" is only concluded from a look that was made after the request can no longer be
//! on its way; until then, "nothing there" means nothing.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    engine::{
        event::{Settle, Verdict},
        run::{RunReport, RunStatus},
    },
    ids::RunId,
};

/// How much the server's clock may differ from ours before a run that a start made could look as if it were older than it.
const CLOCK_SKEW_SECONDS_MAX: i64 = 60;
/// A run without a tag that stands at `created` for this long was left behind by a server that died while it made the run:
/// no server takes such a run up again, so it is not one.
const STILLBORN_SECONDS: i64 = 120;
/// The wait between two looks that found nothing.
const LOOK_AGAIN_SECONDS: i64 = 5;
/// The longest wait after looks that failed.
const LOOK_AGAIN_SECONDS_MAX: i64 = 60;
/// How long to go on while the server does not let itself be looked at, from the attempt on.
const GIVE_UP_HOURS: i64 = 24;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask the server whether it can search runs by tag.
    AskWhetherTagsWork,
    /// Search the workflow's runs for the occurrence's tag.
    SearchByTag,
    /// List the workflow's runs that were made since, from this instant of the server's clock on.
    ListSince(DateTime<Utc>),
    /// Come back at this instant.
    WaitUntil(DateTime<Utc>),
    /// It is settled.
    Conclude(Verdict),
}

/// What a look brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Whether the server can search by tag.
    TagsWork(bool),
    /// Runs that carry the occurrence's tag.
    Tagged(Vec<Candidate>),
    /// Runs of the workflow made since.
    Listed(Vec<Candidate>),
    /// The look failed, for this reason.
    Failed(String),
}

/// A run that may be the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub run_id: RunId,
    /// Its status.
    pub status: RunStatus,
    /// When it was made, by the server's clock.
    pub created_at: Option<DateTime<Utc>>,
    /// What it was started with, where the list tells.
    pub parameters: Option<Map<String, Value>>,
    /// It is another occurrence's: by the history, or by a tag of its own.
    pub taken: bool,
    /// It was started through the API, and not by hand or by the server's scheduler; true where the list does not tell.
    pub by_api: bool,
}

/// One search for the run of one start.
#[derive(Debug)]
pub struct Inquiry {
    /// When the first attempt began.
    since: DateTime<Utc>,
    /// When the last one did.
    last_attempt_at: DateTime<Utc>,
    /// What it was started with, where that is known.
    parameters: Option<Map<String, Value>>,
    /// Whether it was surely started with these.
    parameters_are_sure: bool,
    /// From this instant on, a look that finds nothing is proof.
    proof_from: DateTime<Utc>,
    tags_work: Option<bool>,
    searched_by_tag: bool,
    look_at: DateTime<Utc>,
    failures: u32,
    last_failure: String,
    verdict: Option<Verdict>,
}

impl Inquiry {
    /// Begins at `now`. `parameters` are what the start was sent with, where that is known; `grace` is how long after an attempt its request may still be on its way to becoming a run: longer
    /// than the request's own time-out, and than the server's.
    #[must_use]
    pub fn new(settle: &Settle, parameters: Option<Map<String, Value>>, now: DateTime<Utc>, grace: TimeDelta) -> Self {
        Self {
            proof_from: settle.last_attempt_at + grace,
            since: settle.since,
            last_attempt_at: settle.last_attempt_at,
            parameters,
            parameters_are_sure: settle.parameters_are_sure,
            tags_work: None,
            searched_by_tag: false,
            look_at: now,
            failures: 0,
            last_failure: String::new(),
            verdict: None,
        }
    }

    /// What to do at `now`.
    #[must_use]
    pub fn step(&self, now: DateTime<Utc>) -> Step {
        if let Some(verdict) = &self.verdict {
            return Step::Conclude(verdict.clone());
        }
        if now < self.look_at {
            return Step::WaitUntil(self.look_at);
        }
        match self.tags_work {
            None => Step::AskWhetherTagsWork,
            Some(true) if !self.searched_by_tag => Step::SearchByTag,
            Some(_) => Step::ListSince(self.since - TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX)),
        }
    }

    /// Takes in what a look brought. `looked_at` is when the look **began**: what a server did after that proves nothing.
    pub fn saw(&mut self, looked_at: DateTime<Utc>, seen: Seen) {
        if !matches!(seen, Seen::Failed(_)) {
            self.failures = 0;
        }
        let proof = looked_at >= self.proof_from;
        match seen {
            Seen::TagsWork(works) => self.tags_work = Some(works),
            Seen::Tagged(mut found) => match (found.len(), found.pop()) {
                (0, _) | (_, None) if proof => self.searched_by_tag = true,
                (0, _) | (_, None) => self.look_again(looked_at),
                // Several carry one tag where somebody retried a run by hand: the oldest is the start's own, the list is
                // newest first.
                (_, Some(oldest)) => self.conclude(Verdict::Found(found_run(oldest))),
            },
            Seen::Listed(runs) => self.listed(looked_at, proof, runs),
            Seen::Failed(why) => self.failed(looked_at, why),
        }
    }

    fn listed(&mut self, looked_at: DateTime<Utc>, proof: bool, runs: Vec<Candidate>) {
        let since = self.since - TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX);
        let (mut ours, others): (Vec<Candidate>, Vec<Candidate>) = runs
            .into_iter()
            .filter(|run| !run.taken && run.by_api && run.created_at.is_none_or(|at| at >= since))
            .filter(|run| !stillborn(run, looked_at))
            .partition(|run| match (&run.parameters, &self.parameters) {
                (Some(theirs), Some(asked)) => {
                    theirs.iter().all(|(key, value)| asked.get(key).is_none_or(|a| a == value))
                }
                _ => true,
            });
        if !self.parameters_are_sure {
            ours.extend(others);
        }
        match (ours.len(), ours.pop()) {
            (0, _) | (_, None) if proof => {
                let evidence = if self.tags_work == Some(true) {
                    "no run carries its tag, and none without a tag could be its"
                } else {
                    "the workflow has no run since that could be its"
                };
                self.conclude(Verdict::Absent { evidence: evidence.to_owned() });
            }
            (0, _) | (_, None) => self.look_again(looked_at),
            // It has not begun: it does so within moments, or it was left behind half-made and never will. Only its age tells.
            (1, Some(only)) if only.status == RunStatus::Created && only.created_at.is_some() => {
                self.look_again(looked_at);
            }
            (1, Some(only)) => self.conclude(Verdict::Likely(found_run(only))),
            (several, _) => {
                let evidence = format!("{several} runs of the workflow since then could be its");
                self.conclude(Verdict::Undetermined { evidence });
            }
        }
    }

    fn failed(&mut self, looked_at: DateTime<Utc>, why: String) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = why;
        if looked_at > self.last_attempt_at + TimeDelta::hours(GIVE_UP_HOURS) {
            let evidence = format!("the server could not be asked for {GIVE_UP_HOURS} h ({})", self.last_failure);
            self.conclude(Verdict::Undetermined { evidence });
        } else {
            let seconds = (1_i64 << self.failures.min(6)).min(LOOK_AGAIN_SECONDS_MAX);
            self.look_at = looked_at + TimeDelta::seconds(seconds);
        }
    }

    fn look_again(&mut self, looked_at: DateTime<Utc>) {
        let soon = looked_at + TimeDelta::seconds(LOOK_AGAIN_SECONDS);
        // The look that can prove something comes as soon as it can.
        self.look_at = if looked_at < self.proof_from { soon.min(self.proof_from) } else { soon };
    }

    fn conclude(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

fn found_run(run: Candidate) -> Box<RunReport> {
    Box::new(RunReport { created_at: run.created_at, ..RunReport::bare(run.run_id, run.status) })
}

fn stillborn(run: &Candidate, now: DateTime<Utc>) -> bool {
    run.status == RunStatus::Created
        && run.created_at.is_some_and(|at| now - at > TimeDelta::seconds(STILLBORN_SECONDS + CLOCK_SKEW_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{OccurrenceKey, WorkflowId};

    const GRACE_SECONDS: i64 = 120;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn run(id: &str, created: i64) -> Candidate {
        Candidate {
            run_id: RunId::new(id).unwrap(),
            status: RunStatus::Running,
            created_at: Some(at(created)),
            parameters: None,
            taken: false,
            by_api: true,
        }
    }

    /// Plays a dialogue: the attempt began at 0, the first look is at `from`; each look is answered by the next answer.
    fn check(from: i64, answers: &[Seen], expected: &str) {
        let key: OccurrenceKey = "main/daily@2026-11-02T14:00:00Z".parse().unwrap();
        let parameters = serde_json::json!({"a": 1}).as_object().cloned();
        let workflow_id = WorkflowId::new("wpid_1").unwrap();
        let settle =
            Settle { key, workflow_id, asked: None, parameters_are_sure: true, since: at(0), last_attempt_at: at(0) };
        let mut now = at(from);
        let mut inquiry = Inquiry::new(&settle, parameters, now, TimeDelta::seconds(GRACE_SECONDS));
        let mut answers = answers.iter();
        let mut told = Vec::new();
        loop {
            let seconds = (now - at(0)).num_seconds();
            match inquiry.step(now) {
                Step::Conclude(Verdict::Found(report)) => {
                    told.push(format!("{seconds}:found {}", report.run_id));
                    break;
                }
                Step::Conclude(Verdict::Likely(report)) => {
                    told.push(format!("{seconds}:likely {}", report.run_id));
                    break;
                }
                Step::Conclude(Verdict::Absent { .. }) => {
                    told.push(format!("{seconds}:absent"));
                    break;
                }
                Step::Conclude(Verdict::Undetermined { .. }) => {
                    told.push(format!("{seconds}:undetermined"));
                    break;
                }
                Step::WaitUntil(then) => {
                    assert!(then > now);
                    now = then;
                }
                look => {
                    let answer = answers.next().cloned().unwrap_or_else(|| match look {
                        Step::SearchByTag => Seen::Tagged(vec![]),
                        Step::ListSince(_) => Seen::Listed(vec![]),
                        _ => Seen::TagsWork(true),
                    });
                    inquiry.saw(now, answer);
                }
            }
        }
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn dialogues() {
        let tags = || Seen::TagsWork(true);
        let no_tags = || Seen::TagsWork(false);
        // Nothing there is no proof before the grace is over.
        check(1, &[tags()], "120:absent");
        check(1000, &[tags()], "1000:absent");
        // The tag appears late.
        check(1, &[tags(), Seen::Tagged(vec![]), Seen::Tagged(vec![run("wr_1", 2)])], "6:found wr_1");
        // A retry made by hand carries the same tag: the oldest is ours.
        check(1, &[tags(), Seen::Tagged(vec![run("wr_2", 50), run("wr_1", 2)])], "1:found wr_1");
        // The tag was lost, the run goes on.
        check(500, &[tags(), Seen::Tagged(vec![]), Seen::Listed(vec![run("wr_1", 2)])], "500:likely wr_1");
        // A run that was left behind half-made is none.
        let dead = Candidate { status: RunStatus::Created, ..run("wr_1", 2) };
        check(500, &[tags(), Seen::Tagged(vec![]), Seen::Listed(vec![dead])], "500:absent");
        // At the end of the grace it is still too young to be told apart from one that is about to begin.
        let made = Seen::Listed(vec![Candidate { status: RunStatus::Created, ..run("wr_1", 2) }]);
        let looks = [vec![tags(), Seen::Tagged(vec![])], vec![made.clone(); 14]].concat();
        check(120, &looks, "185:absent");
        check(120, &[tags(), Seen::Tagged(vec![]), made, Seen::Listed(vec![run("wr_1", 2)])], "125:likely wr_1");
        // Without tags: one is it, two cannot be told apart, others' do not count.
        check(1, &[no_tags(), Seen::Listed(vec![run("wr_1", 2)])], "1:likely wr_1");
        check(1, &[no_tags(), Seen::Listed(vec![run("wr_1", 2), run("wr_2", 2)])], "1:undetermined");
        let taken = Candidate { taken: true, ..run("wr_1", 2) };
        let by_hand = Candidate { by_api: false, ..run("wr_2", 2) };
        let old = run("wr_3", -100);
        let other = Candidate { parameters: serde_json::json!({"a": 2}).as_object().cloned(), ..run("wr_4", 2) };
        check(200, &[no_tags(), Seen::Listed(vec![taken, by_hand, old, other])], "200:absent");
        // A server that cannot be asked: again and again, and in the end nothing is guessed.
        check(
            1,
            &[Seen::Failed("down".into()), Seen::Failed("down".into()), tags(), Seen::Tagged(vec![run("wr_1", 2)])],
            "7:found wr_1",
        );
        check(1, &vec![Seen::Failed("down".into()); 2000], "86403:undetermined");
    }
}
