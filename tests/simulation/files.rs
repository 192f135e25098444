//! The operator's file: schedules with every policy in many zones, and edits of it. Made by chance; decides nothing else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Map;
use skycron::{
    ids::{ScheduleId, WorkflowId},
    schedule::{
        CatchUp, CronExpression, Definition, Failover, Fires, Fold, Gap, OnUnknown, Overlap, Policies, RunRetry,
        Schedule, Timetable, Zone,
    },
};

use crate::{
    api::{Millis, instant},
    faults::Dice,
};

const ZONES: &[&str] = &[
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
    "America/Santiago",
    "Pacific/Chatham",
];

const EXPRESSIONS: &[&str] = &[
    "0 * * * *",
    "17,47 * * * *",
    "*/30 * * * *",
    "*/5 2 * * *",
    "30 2 * * *",
    "30 1,2,3 * * *",
    "0 9 * * 1-5",
    "0 0,12 * * *",
    "10 */3 * * *",
    "55,0 * * * *",
    "0 0 * * *",
];

/// A zone by the bundled rules. Each is made once: it takes longer than a world's day.
pub(crate) fn zone(name: &str) -> Option<Zone> {
    static KNOWN: Mutex<BTreeMap<String, Zone>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    if !known.contains_key(name) {
        known.insert(name.to_owned(), if name == "UTC" { Zone::utc() } else { Zone::bundled(name)? });
    }
    known.get(name).cloned()
}

/// The way back from what the history keeps. Each is made once: they are asked for at every step.
pub(crate) fn timetable(definition: &Definition) -> Timetable {
    static KNOWN: Mutex<BTreeMap<String, Timetable>> = Mutex::new(BTreeMap::new());
    let name = serde_json::to_string(definition).unwrap();
    let mut known = KNOWN.lock().unwrap();
    known.entry(name).or_insert_with(|| Timetable::from_definition(definition, zone).unwrap()).clone()
}

/// The file as it is now.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub(crate) schedules: Vec<Arc<Schedule>>,
    made: u32,
    /// The server fires some of them.
    mirrors: bool,
}

impl File {
    pub(crate) fn any(dice: &mut Dice, now: Millis, mirrors: bool) -> Self {
        let mut file = Self { mirrors, ..Self::default() };
        for _ in 0..dice.range(1, 5) {
            file.add(dice, now);
        }
        file
    }

    /// A thousand schedules, each due once a day.
    pub(crate) fn thousand(dice: &mut Dice, now: Millis) -> Self {
        let mut file = Self::default();
        for n in 0..1000 {
            let mut schedule = any_schedule(dice, now, &format!("y{n}"), false);
            let expression = format!("{} {} * * *", dice.range(0, 59), dice.range(0, 23));
            let (expression, zone) = (CronExpression::parse(&expression).unwrap(), zone(dice.pick(ZONES)).unwrap());
            schedule.timetable = Timetable::cron(expression, zone, Gap::Shift, Fold::Auto).unwrap();
            schedule.enabled = true;
            file.schedules.push(Arc::new(schedule));
        }
        file
    }

    fn add(&mut self, dice: &mut Dice, now: Millis) {
        // A few names, so that what was removed comes back now and then.
        let taken: Vec<&str> = self.schedules.iter().map(|schedule| schedule.id.as_str()).collect();
        let free: Vec<String> =
            (0..6).map(|n| format!("s{n}")).filter(|name| !taken.contains(&name.as_str())).collect();
        let Some(name) = free.get(usize::try_from(dice.range(0, 5)).unwrap()).or(free.first()) else { return };
        self.made += 1;
        let schedule = any_schedule(dice, now, name, self.mirrors);
        self.schedules.push(Arc::new(schedule));
    }

    /// One edit: something is added, removed, or changed.
    pub(crate) fn edit(&mut self, dice: &mut Dice, now: Millis) {
        if self.schedules.is_empty() || dice.chance(200) {
            return self.add(dice, now);
        }
        let index = usize::try_from(dice.range(0, i64::try_from(self.schedules.len()).unwrap() - 1)).unwrap();
        if dice.chance(200) {
            self.schedules.remove(index);
            return;
        }
        let mut schedule = (*self.schedules[index]).clone();
        match dice.range(0, 4) {
            0 => schedule.enabled = !schedule.enabled,
            1 => schedule.timetable = any_timetable(dice, now),
            2 => schedule.workflow_id = any_workflow(dice),
            3 => schedule.policies = any_policies(dice, self.mirrors),
            _ => drop(schedule.parameters.insert("edited".to_owned(), dice.range(0, 9).into())),
        }
        self.schedules[index] = Arc::new(schedule);
    }
}

fn any_schedule(dice: &mut Dice, now: Millis, name: &str, mirrors: bool) -> Schedule {
    let mut parameters = Map::new();
    if dice.chance(700) {
        parameters.insert("url".to_owned(), name.into());
    }
    Schedule {
        server_schedule_id: None,
        id: ScheduleId::new(name).unwrap(),
        workflow_id: any_workflow(dice),
        name: None,
        description: None,
        enabled: dice.chance(950),
        timetable: any_timetable(dice, now),
        parameters,
        run_options: Map::new(),
        policies: any_policies(dice, mirrors),
    }
}

pub(crate) fn any_workflow(dice: &mut Dice) -> WorkflowId {
    WorkflowId::new(dice.pick(&["wpid_1", "wpid_2", "wpid_3"])).unwrap()
}

fn any_timetable(dice: &mut Dice, now: Millis) -> Timetable {
    let zone = zone(dice.pick(ZONES)).unwrap();
    let timetable = match dice.range(0, 9) {
        0 => Timetable::interval(dice.pick(&[900, 1_800, 2_700, 10_000]), instant(now), zone).unwrap(),
        1 => Timetable::once(instant(now + dice.range(-3_600_000, 86_400_000)), zone).unwrap(),
        _ => {
            let expression = CronExpression::parse(dice.pick(EXPRESSIONS)).unwrap();
            Timetable::cron(expression, zone, dice.pick(Gap::ALL), dice.pick(Fold::ALL)).unwrap()
        }
    };
    if !dice.chance(100) {
        return timetable;
    }
    let (from, until) = (now + dice.range(0, 43_200_000), now + dice.range(43_200_000, 172_800_000));
    timetable.within(Some(instant(from)), Some(instant(until)))
}

fn any_policies(dice: &mut Dice, mirrors: bool) -> Policies {
    let servers = mirrors && dice.chance(600);
    let seconds = |n: i64| Duration::from_secs(u64::try_from(n).unwrap());
    Policies {
        overlap: dice.pick(Overlap::ALL),
        catch_up: dice.pick(CatchUp::ALL),
        catch_up_window: seconds(dice.pick(&[0, 60, 600, 7_200, 86_400, 864_000])),
        jitter: seconds(dice.pick(&[0, 0, 0, 30, 600, 86_400])),
        run_timeout: dice.chance(300).then(|| seconds(dice.pick(&[60, 600, 3_600]))),
        retry: dice.chance(300).then(|| RunRetry {
            max_attempts: u32::try_from(dice.range(2, 4)).unwrap(),
            on: vec!["failed".to_owned(), "timed_out".to_owned()],
            delay: seconds(dice.range(1, 600)),
            max_delay: seconds(900),
        }),
        fires: if servers { Fires::Server } else { Fires::Local },
        server_grace: if servers { seconds(dice.pick(&[60, 120, 300, 900])) } else { seconds(300) },
        failover: if servers && dice.chance(500) { Failover::Local } else { Failover::None },
        on_unknown: if dice.chance(100) { OnUnknown::Retry } else { OnUnknown::Hold },
        ..Policies::default()
    }
}
