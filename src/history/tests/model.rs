//! Any valid sequence of changes, applied to the history and to a model of it in memory: what the two remember is the same
//! after every list.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::engine::change::{Memory, NoteKind, OpenOccurrence, Owner, Ownership, Pause, ScheduleMemory, ServerCopy};
use crate::ids::ServerScheduleId;

/// What can be done, with numbers that pick from what there is; what cannot be done then is left out.
#[derive(Debug, Clone)]
enum Step {
    Define { schedule: u8, cron: u8 },
    Remove { schedule: u8 },
    Account { schedule: u8, seconds: u32 },
    Pause { schedule: u8, until: Option<u32> },
    Resume { schedule: u8 },
    Occur { schedule: u8, seconds: u32, suffix: u8, trigger: usize, status: usize, millis: u32 },
    Status { row: usize, status: usize, millis: u32 },
    Begin { row: usize, millis: u32 },
    End { row: usize, outcome: usize, run: Option<u8>, millis: u32 },
    Report { row: usize, run: u8, word: usize, millis: u32 },
    Own { schedule: u8, owner: usize, seconds: u32 },
    Note { kind: usize, millis: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let (schedule, index, second, milli) = (0..4_u8, any::<usize>(), 0..4_u32, 0..86_400_000_u32);
    prop_oneof![
        1 => (schedule.clone(), 0..3_u8).prop_map(|(schedule, cron)| Step::Define { schedule, cron }),
        1 => schedule.clone().prop_map(|schedule| Step::Remove { schedule }),
        1 => (schedule.clone(), second.clone()).prop_map(|(schedule, seconds)| Step::Account { schedule, seconds }),
        1 => (schedule.clone(), proptest::option::of(second.clone()))
            .prop_map(|(schedule, until)| Step::Pause { schedule, until }),
        1 => schedule.clone().prop_map(|schedule| Step::Resume { schedule }),
        1 => (schedule.clone(), any::<usize>(), second.clone())
            .prop_map(|(schedule, owner, seconds)| Step::Own { schedule, owner, seconds }),
        4 => (schedule, second, 0..3_u8, index, index, milli.clone()).prop_map(
            |(schedule, seconds, suffix, trigger, status, millis)| Step::Occur {
                schedule, seconds, suffix, trigger, status, millis
            }
        ),
        2 => (index, index, milli.clone())
            .prop_map(|(row, status, millis)| Step::Status { row, status, millis }),
        2 => (index, milli.clone()).prop_map(|(row, millis)| Step::Begin { row, millis }),
        2 => (index, index, proptest::option::of(any::<u8>()), milli.clone())
            .prop_map(|(row, outcome, run, millis)| Step::End { row, outcome, run, millis }),
        1 => (index, any::<u8>(), index, milli.clone())
            .prop_map(|(row, run, word, millis)| Step::Report { row, run, word, millis }),
        1 => (index, milli).prop_map(|(kind, millis)| Step::Note { kind, millis }),
    ]
}

/// The definition in force, how far it is accounted for, the pause in force.
type Known = (Option<Definition>, DateTime<Utc>, Option<Pause>);

/// The history as a few maps.
#[derive(Default)]
struct Model {
    schedules: BTreeMap<ScheduleId, Known>,
    owners: BTreeMap<ScheduleId, Ownership>,
    /// In the order in which they were decided.
    occurrences: Vec<OpenOccurrence>,
    latest: Option<DateTime<Utc>>,
}

fn day(millis: u32) -> DateTime<Utc> {
    at("00:00:00") + TimeDelta::milliseconds(i64::from(millis))
}

fn pick<T: Copy>(all: &[T], index: usize) -> T {
    all[index % all.len()]
}

fn crons(cron: u8) -> Definition {
    definition(["0 9 * * *", "0 10 * * *", "*/5 * * * *"][usize::from(cron)])
}

impl Model {
    fn row(&mut self, index: usize) -> Option<&mut OpenOccurrence> {
        let count = self.occurrences.len();
        if count == 0 { None } else { self.occurrences.get_mut(index % count) }
    }

    /// The change of a step, where it is valid; the model is changed with it.
    fn take(&mut self, step: &Step) -> Option<Change> {
        let name = |schedule: u8| id(&format!("s{schedule}"));
        let change = match *step {
            Step::Define { schedule, cron } => {
                let entry = self.schedules.entry(name(schedule)).or_insert((None, at("01:00:00"), None));
                entry.0 = Some(crons(cron));
                let definition = Some(Box::new((crons(cron), workflow())));
                Change::Defined { schedule: name(schedule), at: at("01:00:00"), definition }
            }
            Step::Remove { schedule } => {
                self.schedules.get_mut(&name(schedule))?.0 = None;
                Change::Defined { schedule: name(schedule), at: at("01:00:00"), definition: None }
            }
            Step::Account { schedule, seconds } => {
                let through = day(seconds * 1000);
                self.schedules.get_mut(&name(schedule))?.1 = through;
                Change::AccountedThrough { schedule: name(schedule), through }
            }
            Step::Pause { schedule, until } => {
                let until = until.map(|until| day(until * 1000));
                let pause = Pause { since: at("02:00:00"), until, note: until.map(|_| "why".to_owned()) };
                self.schedules.get_mut(&name(schedule))?.2 = Some(pause.clone());
                Change::Paused { schedule: name(schedule), at: at("02:00:00"), pause: Some(pause) }
            }
            Step::Resume { schedule } => {
                self.schedules.get_mut(&name(schedule))?.2 = None;
                Change::Paused { schedule: name(schedule), at: at("03:00:00"), pause: None }
            }
            Step::Occur { schedule, seconds, suffix, trigger, status, millis } => {
                self.schedules.get(&name(schedule))?;
                let suffix = ["", "manual-1", "retry-2"][usize::from(suffix)].to_owned();
                let mut key = key("x", "00:00:00");
                (key.schedule, key.scheduled_for, key.suffix) = (name(schedule), day(seconds * 1000), suffix);
                if self.occurrences.iter().any(|row| row.key == key) {
                    return None;
                }
                let row = OpenOccurrence {
                    key: key.clone(),
                    workflow_id: workflow(),
                    trigger: pick(Trigger::ALL, trigger),
                    status: pick(Status::ALL, status),
                    at: day(millis),
                    attempt_number: 0,
                    first_attempt_at: None,
                    attempt_begun_at: None,
                    attempt_outcome: None,
                    run_id: None,
                    parameters: None,
                };
                let Change::Occurred(mut new) = occurred(&key, row.status) else { unreachable!() };
                (new.trigger, new.at) = (row.trigger, row.at);
                self.occurrences.push(row);
                Change::Occurred(new)
            }
            Step::Status { row, status, millis } => {
                let row = self.row(row)?;
                row.status = pick(Status::ALL, status);
                Change::StatusChanged { key: row.key.clone(), status: row.status, reason: None, at: day(millis) }
            }
            Step::Begin { row, millis } => {
                let row = self.row(row)?;
                row.status = Status::Launching;
                row.attempt_number += 1;
                row.first_attempt_at.get_or_insert(day(millis));
                row.attempt_begun_at = Some(day(millis));
                row.attempt_outcome = None;
                Change::AttemptBegun { key: row.key.clone(), number: row.attempt_number, at: day(millis) }
            }
            Step::End { row, outcome, run: run_number, millis } => {
                let row = self.row(row)?;
                if row.attempt_number == 0 {
                    return None;
                }
                let outcome = pick(AttemptOutcome::ALL, outcome);
                row.attempt_outcome = Some(outcome);
                let run_id = run_number.map(|run_number| run(&format!("wr_{run_number}")));
                row.run_id = run_id.clone().or(row.run_id.take());
                Change::AttemptEnded {
                    key: row.key.clone(),
                    number: row.attempt_number,
                    at: day(millis),
                    outcome,
                    message: None,
                    http_status: Some(500),
                    run_id,
                }
            }
            Step::Report { row, run: run_number, word, millis } => {
                let row = self.row(row)?;
                let word = pick(&["created", "paused", "failed", "unheard_of"], word);
                let report = RunReport::bare(run(&format!("wr_{run_number}")), RunStatus::from_word(word));
                row.run_id = Some(report.run_id.clone());
                Change::RunReported { key: row.key.clone(), report: Box::new(report), at: day(millis) }
            }
            Step::Own { schedule, owner, seconds } => {
                self.schedules.get(&name(schedule))?;
                let owner = pick(Owner::ALL, owner);
                let copy = (owner != Owner::Local)
                    .then(|| ServerCopy { id: ServerScheduleId::new("wfs_1").unwrap(), workflow_id: workflow() });
                let ownership = Ownership { owner, since: day(seconds * 1000), copy };
                self.owners.insert(name(schedule), ownership.clone());
                Change::OwnerChanged { schedule: name(schedule), at: day(seconds * 1000), ownership }
            }
            Step::Note { kind, millis } => {
                Change::Noted { at: day(millis), kind: pick(NoteKind::ALL, kind), text: String::new() }
            }
        };
        let happened = match &change {
            Change::AccountedThrough { through, .. } => *through,
            Change::Occurred(new) => new.at,
            Change::Defined { at, .. }
            | Change::Reopened { at, .. }
            | Change::StatusChanged { at, .. }
            | Change::AttemptBegun { at, .. }
            | Change::AttemptEnded { at, .. }
            | Change::RunReported { at, .. }
            | Change::Paused { at, .. }
            | Change::AlarmsRemembered { at, .. }
            | Change::AlarmTried { at, .. }
            | Change::OwnerChanged { at, .. }
            | Change::Withdrawn { at, .. }
            | Change::Mirrored { at, .. }
            | Change::Unmirrored { at, .. }
            | Change::Noted { at, .. } => *at,
            Change::AlarmRaised(alarm) | Change::AlarmsFolded { summary: alarm, .. } => alarm.at,
        };
        let stepped = matches!(&change, Change::Noted { kind: NoteKind::ClockStepped, .. });
        self.latest = if stepped { Some(happened) } else { self.latest.max(Some(happened)) };
        Some(change)
    }

    fn memory(&self) -> Memory {
        let schedules = self.schedules.iter().filter_map(|(id, (definition, accounted_through, pause))| {
            Some(ScheduleMemory {
                id: id.clone(),
                definition: definition.clone()?,
                workflow_id: workflow(),
                accounted_through: *accounted_through,
                pause: pause.clone(),
                ownership: self.owners.get(id).cloned().unwrap_or_default(),
                late: self.late(id),
            })
        });
        let orphans = self.schedules.iter().filter(|(_, (definition, ..))| definition.is_none());
        let orphans = orphans.filter_map(|(id, _)| Some((id.clone(), self.owners.get(id)?.clone())));
        let orphans = orphans.filter(|(_, ownership)| ownership.owner != Owner::Local).collect();
        let mut open: Vec<_> = self.occurrences.iter().filter(|row| row.status.is_open()).cloned().collect();
        open.sort_by_key(|row| row.key.scheduled_for);
        Memory { schedules: schedules.collect(), open, orphans, latest_instant: self.latest }
    }

    fn late(&self, id: &ScheduleId) -> Option<DateTime<Utc>> {
        self.owners.get(id).filter(|ownership| ownership.owner != Owner::Local)?;
        let of = self.occurrences.iter().filter(|row| row.key.schedule == *id && row.key.suffix.is_empty());
        let last = of.max_by_key(|row| row.key.scheduled_for)?;
        let missed = last.trigger == Trigger::Server && last.status == Status::Missed && last.attempt_number == 0;
        missed.then_some(last.key.scheduled_for)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_history_remembers_what_the_model_does(
        lists in proptest::collection::vec(proptest::collection::vec(step(), 0..8), 1..12),
    ) {
        let mut model = Model::default();
        let mut store = Store::in_memory(&HistoryOptions::default()).unwrap();
        for steps in lists {
            let changes: Vec<Change> = steps.iter().filter_map(|step| model.take(step)).collect();
            store.apply(&changes).unwrap();
            prop_assert_eq!(format!("{:#?}", store.memory().unwrap()), format!("{:#?}", model.memory()), "{:#?}", changes);
        }
    }
}
