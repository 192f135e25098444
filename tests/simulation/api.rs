//! The server: its own record of the runs that were made, by which everything else is judged, and what it lets be seen.
//!
//! Two kinds: servers that search by tag, and old ones that take the tags and forget them. It knows true time only, and
//! shows it with the error of its own clock. What goes wrong with a request is decided in `faults`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use skycron::{
    engine::{RunReport, RunStatus, settle::Candidate},
    ids::{OccurrenceKey, RunId, ServerScheduleId, WorkflowId},
};

use crate::faults::{Dice, Effect};

/// True time, in milliseconds since 1970.
pub(crate) type Millis = i64;

pub(crate) fn instant(at: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at).unwrap()
}

/// One run, as the server has it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) workflow_id: WorkflowId,
    /// Our start that made it; `None`: somebody else's.
    pub(crate) asked_by: Option<(OccurrenceKey, u32)>,
    /// The server's own schedule that made it, and for which occurrence.
    pub(crate) scheduled: Option<(ServerScheduleId, OccurrenceKey)>,
    tag: Option<OccurrenceKey>,
    pub(crate) tag_seen_from: Millis,
    parameters: Map<String, Value>,
    by_api: bool,
    pub(crate) created_at: Millis,
    /// It exists as a row only; nothing was ever executed for it.
    pub(crate) never_ran: bool,
    /// Nobody at the server works on it any more, though it is not over.
    pub(crate) dead: bool,
    /// From when on it stands how, and whether the server is going to try again.
    life: Vec<(Millis, RunStatus, bool)>,
}

impl Run {
    pub(crate) fn status(&self, at: Millis) -> (RunStatus, bool) {
        let now = self.life.iter().rev().find(|(from, _, _)| *from <= at);
        now.map_or((RunStatus::Created, false), |(_, status, pending)| (status.clone(), *pending))
    }

    pub(crate) fn is_over(&self, at: Millis) -> bool {
        let (status, pending) = self.status(at);
        status.is_final() && !pending
    }
}

#[derive(Debug)]
pub(crate) struct Api {
    /// Whether it searches by tag.
    pub(crate) tags: bool,
    /// Whether the read side is closed to this organisation (a 403), though tags are written.
    pub(crate) skew_ms: i64,
    /// Whether it makes the ids of its own schedules' runs from their occurrences.
    pub(crate) names_ids: bool,
    /// Until then, every connection is refused.
    pub(crate) down_until: Millis,
    pub(crate) runs: Vec<Run>,
    index: BTreeMap<RunId, usize>,
    asked: BTreeMap<OccurrenceKey, Vec<usize>>,
}

impl Api {
    pub(crate) fn new(tags: bool, skew_ms: i64) -> Self {
        let names_ids = skew_ms % 2 == 0;
        Self {
            tags,
            skew_ms,
            names_ids,
            down_until: 0,
            runs: Vec::new(),
            index: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    fn shown(&self, at: Millis) -> DateTime<Utc> {
        instant(at) + TimeDelta::milliseconds(self.skew_ms)
    }

    pub(crate) fn run(&self, id: &RunId) -> Option<&Run> {
        self.index.get(id).map(|index| &self.runs[*index])
    }

    /// The runs that our starts of an occurrence made.
    pub(crate) fn asked_for(&self, key: &OccurrenceKey) -> impl Iterator<Item = &Run> {
        self.asked.get(key).into_iter().flatten().map(|index| &self.runs[*index])
    }

    /// Takes in a start; the run's id, if there is one.
    pub(crate) fn start(
        &mut self,
        at: Millis,
        dice: &mut Dice,
        effect: Effect,
        workflow_id: WorkflowId,
        parameters: Map<String, Value>,
        asked_by: Option<(OccurrenceKey, u32)>,
    ) -> Option<RunId> {
        if effect == Effect::Nothing {
            return None;
        }
        let id = RunId::new(&format!("wr_{}", self.runs.len() + 1)).unwrap();
        let never_ran = matches!(effect, Effect::Stillborn { .. } | Effect::FailedRow);
        let life = match effect {
            Effect::Stillborn { .. } => vec![(at, RunStatus::Created, false)],
            Effect::FailedRow => vec![(at, RunStatus::Failed, false)],
            _ => life(at, dice),
        };
        let tag_seen_from = match effect {
            Effect::TagLate(by) => at + by,
            Effect::TagLost | Effect::Stillborn { tagged: false } => Millis::MAX,
            _ => at,
        };
        self.index.insert(id.clone(), self.runs.len());
        if let Some((key, _)) = &asked_by {
            self.asked.entry(key.clone()).or_default().push(self.runs.len());
        }
        self.runs.push(Run {
            id: id.clone(),
            workflow_id,
            tag: asked_by.as_ref().map(|(key, _)| key.clone()),
            asked_by,
            scheduled: None,
            tag_seen_from: if self.tags { tag_seen_from } else { Millis::MAX },
            parameters,
            by_api: dice.chance(900),
            created_at: at,
            never_ran,
            dead: matches!(effect, Effect::Stillborn { .. }),
            life,
        });
        let run = self.runs.last_mut().unwrap();
        run.by_api |= run.asked_by.is_some();
        Some(id)
    }

    /// The server's own scheduler makes a run, if it has none of that occurrence.
    pub(crate) fn start_scheduled(
        &mut self,
        at: Millis,
        dice: &mut Dice,
        workflow_id: WorkflowId,
        scheduled: Option<(ServerScheduleId, OccurrenceKey)>,
    ) -> Option<RunId> {
        if self.runs.iter().rev().take(500).any(|run| run.scheduled == scheduled) {
            return None;
        }
        let id = self.start(at, dice, Effect::Run, workflow_id, Map::new(), None)?;
        let run = self.runs.last_mut().unwrap();
        run.by_api = false;
        if let Some((_, key)) = &scheduled {
            self.asked.entry(key.clone()).or_default().push(self.runs.len() - 1);
        }
        self.runs.last_mut().unwrap().scheduled = scheduled;
        Some(id)
    }

    /// Whether one of the server's schedules made a run since an instant of its clock.
    pub(crate) fn fired_since(&self, copy: &ServerScheduleId, since: DateTime<Utc>) -> bool {
        let runs = self.runs.iter().rev().take_while(|run| self.shown(run.created_at) >= since);
        runs.into_iter().any(|run| run.scheduled.as_ref().is_some_and(|(id, _)| id == copy))
    }

    /// The runs of a workflow that the server's schedules made, from an instant of its clock on.
    pub(crate) fn scheduled(
        &self,
        at: Millis,
        workflow_id: &WorkflowId,
        since: DateTime<Utc>,
    ) -> impl Iterator<Item = (&RunId, &ServerScheduleId, DateTime<Utc>, DateTime<Utc>, (RunStatus, bool))> {
        let runs = self.runs.iter().rev().take_while(move |run| self.shown(run.created_at) >= since);
        runs.filter(move |run| run.workflow_id == *workflow_id).filter_map(move |run| {
            let (copy, key) = run.scheduled.as_ref()?;
            Some((&run.id, copy, key.scheduled_for, self.shown(run.created_at), run.status(at)))
        })
    }

    /// Somebody presses "retry" in the web interface: a second run with the first one's tag.
    pub(crate) fn retry_by_hand(&mut self, at: Millis, dice: &mut Dice, id: &RunId) {
        let Some(index) = self.index.get(id).copied() else { return };
        let (workflow_id, parameters) = (self.runs[index].workflow_id.clone(), self.runs[index].parameters.clone());
        let (tag, seen_from) = (self.runs[index].tag.clone(), self.runs[index].tag_seen_from);
        self.start(at, dice, Effect::Run, workflow_id, parameters, None);
        let copy = self.runs.last_mut().unwrap();
        (copy.tag, copy.tag_seen_from) = (tag, seen_from.max(at));
    }

    pub(crate) fn report(&self, at: Millis, id: &RunId) -> Option<RunReport> {
        let run = self.run(id)?;
        let (status, retry_pending) = run.status(at);
        let created_at = Some(self.shown(run.created_at));
        Some(RunReport { retry_pending, created_at, ..RunReport::bare(id.clone(), status) })
    }

    pub(crate) fn cancel(&mut self, at: Millis, id: &RunId) {
        let Some(index) = self.index.get(id).copied() else { return };
        let run = &mut self.runs[index];
        if !run.is_over(at) {
            run.life.retain(|(from, _, _)| *from <= at);
            run.life.push((at, RunStatus::Canceled, false));
            run.dead = false;
        }
    }

    /// The server dies, and takes with it everything that it was working on: those runs stay as they are for ever.
    pub(crate) fn crash(&mut self, at: Millis, down_until: Millis) {
        self.down_until = self.down_until.max(down_until);
        for run in &mut self.runs {
            if !run.is_over(at) {
                run.life.retain(|(from, _, _)| *from <= at);
                run.dead = true;
                // It had not begun, and never will.
                run.never_ran |= run.life.len() == 1;
            }
        }
    }

    pub(crate) fn is_down(&self, at: Millis) -> bool {
        at < self.down_until
    }

    /// What the search for a tag finds, newest first.
    pub(crate) fn tagged(&self, at: Millis, workflow_id: &WorkflowId, key: &OccurrenceKey) -> Vec<Candidate> {
        self.candidates(at, workflow_id, |run| run.tag_seen_from <= at && run.tag.as_ref() == Some(key))
    }

    /// The workflow's runs since an instant of this server's clock, newest first. As the process does, a run that shows the tag
    /// of another occurrence is taken.
    pub(crate) fn since(
        &self,
        at: Millis,
        workflow_id: &WorkflowId,
        key: &OccurrenceKey,
        since: DateTime<Utc>,
    ) -> Vec<Candidate> {
        let mut found = self.candidates(at, workflow_id, |run| self.shown(run.created_at) >= since);
        for candidate in &mut found {
            let run = self.run(&candidate.run_id).unwrap();
            candidate.taken = run.tag_seen_from <= at && run.tag.as_ref().is_some_and(|tag| tag != key);
            candidate.parameters = Some(run.parameters.clone());
        }
        found
    }

    fn candidates(&self, at: Millis, workflow_id: &WorkflowId, fits: impl Fn(&Run) -> bool) -> Vec<Candidate> {
        let runs = self.runs.iter().rev().filter(|run| run.workflow_id == *workflow_id && fits(run));
        runs.map(|run| Candidate {
            run_id: run.id.clone(),
            status: run.status(at).0,
            created_at: Some(self.shown(run.created_at)),
            parameters: None,
            taken: false,
            by_api: run.by_api,
        })
        .collect()
    }
}

/// How a run goes: mostly short, sometimes with the server's own second attempt, sometimes waiting for a person.
fn life(at: Millis, dice: &mut Dice) -> Vec<(Millis, RunStatus, bool)> {
    let mut life = vec![(at, RunStatus::Created, false)];
    let mut then = at + dice.range(10, 2_000);
    life.push((then, RunStatus::Running, false));
    then += if dice.chance(100) { dice.range(600_000, 7_200_000) } else { dice.range(500, 600_000) };
    if dice.chance(50) {
        life.push((then, RunStatus::Paused, false));
        then += dice.range(1_000, 3_600_000);
    }
    if dice.chance(50) {
        life.push((then, RunStatus::Failed, true));
        then += dice.range(100, 60_000);
        life.push((then, RunStatus::Running, false));
        then += dice.range(500, 600_000);
    }
    let end = match dice.range(0, 19) {
        0..=13 => RunStatus::Completed,
        14..=16 => RunStatus::Failed,
        17 => RunStatus::Terminated,
        18 => RunStatus::TimedOut,
        _ => RunStatus::Canceled,
    };
    life.push((then, end, false));
    life
}
