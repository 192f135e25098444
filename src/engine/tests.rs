//! Tests of the engine: a script of instants and events in, a transcript of rows and deeds out. No clock, no waiting.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    Action, Change, Engine, Event, Options, RunReport, RunStatus, Turn,
    change::{Ahead, AttemptOutcome, Memory, OpenOccurrence, Owner, Ownership, Pause, ScheduleMemory},
    event::{HandoverAnswer, LaunchReply, RequestId, Verdict},
    occurrence::{Status, Trigger},
};
use crate::{
    clock::rfc3339,
    ids::{Instance, OccurrenceKey, RunId, ScheduleId, WorkflowId},
    schedule::{
        CatchUp, Fold, Gap, OnUnknown, Overlap, Policies, RunRetry, Schedule, Timetable, Zone, cron::CronExpression,
    },
};

#[path = "handover_tests.rs"]
mod handover;

/// 2026-11-02 (a Monday) at this time of day, UTC; `+n ` in front: n days later.
fn at(text: &str) -> DateTime<Utc> {
    let (days, time) = text.strip_prefix('+').and_then(|rest| rest.split_once(' ')).unwrap_or(("0", text));
    let time = if time.len() == 5 { format!("{time}:00") } else { time.to_owned() };
    let day = format!("2026-11-02T{time}Z").parse::<DateTime<Utc>>().unwrap();
    day + chrono::TimeDelta::days(days.parse().unwrap())
}

fn timetable(expression: &str) -> Timetable {
    let expression = CronExpression::parse(expression).unwrap();
    Timetable::cron(expression, Zone::utc(), Gap::Shift, Fold::Auto).unwrap()
}

fn schedule(id: &str, expression: &str, change: impl FnOnce(&mut Policies)) -> Schedule {
    let mut policies = Policies::default();
    change(&mut policies);
    Schedule {
        server_schedule_id: None,
        id: ScheduleId::new(id).unwrap(),
        workflow_id: WorkflowId::new("wpid_1").unwrap(),
        name: None,
        description: None,
        enabled: true,
        timetable: timetable(expression),
        parameters: serde_json::Map::new(),
        run_options: serde_json::Map::new(),
        policies,
    }
}

/// `daily@14:00` for `t/daily@2026-11-02T14:00:00Z`, with the day where it is another one.
fn short(key: &OccurrenceKey) -> String {
    let text = key.to_string();
    let text = text.strip_prefix("t/").unwrap_or(&text).replace("2026-11-02T", "").replace("2026-11-", "");
    text.replace(":00Z", "")
}

fn long(text: &str) -> OccurrenceKey {
    let (id, rest) = text.split_once('@').unwrap();
    let (time, suffix) = rest.split_once('#').unwrap_or((rest, ""));
    OccurrenceKey {
        instance: Instance::new("t").unwrap(),
        schedule: ScheduleId::new(id).unwrap(),
        scheduled_for: at(time),
        suffix: suffix.to_owned(),
    }
}

fn report(id: &str, status: &str) -> Box<RunReport> {
    Box::new(RunReport::bare(RunId::new(id).unwrap(), RunStatus::from_word(status)))
}

/// What the transcript says of a change; `None` for what the tests do not look at.
fn told(change: &Change) -> Option<String> {
    Some(match change {
        Change::Occurred(new) => {
            let reason = new.reason.as_ref().map_or_else(String::new, |reason| format!(" ({})", reason.code));
            let count = if new.count > 1 {
                format!(
                    " x{} to {}",
                    new.count,
                    rfc3339(new.through.unwrap()).replace("2026-11-", "").replace(":00Z", "")
                )
            } else {
                String::new()
            };
            format!("{} {} {}{reason}{count}", short(&new.key), new.trigger, new.status)
        }
        Change::StatusChanged { key, status, reason, .. } => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(" ({})", reason.code));
            format!("{} {status}{reason}", short(key))
        }
        Change::AttemptBegun { key, number, .. } => format!("{} attempt {number}", short(key)),
        Change::AttemptEnded { key, outcome, .. } if *outcome == AttemptOutcome::Unknown => {
            format!("{} unanswered", short(key))
        }
        Change::Defined { schedule, definition, .. } => {
            format!("{schedule} {}", if definition.is_some() { "defined" } else { "gone" })
        }
        Change::Paused { schedule, pause, .. } => {
            format!("{schedule} {}", if pause.is_some() { "paused" } else { "resumed" })
        }
        Change::Reopened { schedule, after, .. } => {
            format!("{schedule} decided again after {}", rfc3339(*after).replace("2026-11-", ""))
        }
        Change::OwnerChanged { schedule, ownership, .. } => match ownership.owner {
            Owner::Local => format!("{schedule} is ours"),
            Owner::HandingOver => format!("{schedule} is being handed over"),
            Owner::Server => format!("{schedule} is the server's since {}", ownership.since.format("%H:%M:%S")),
            Owner::TakingBack => format!("{schedule} is being taken back"),
        },
        Change::Noted { kind, .. } if kind.word() == "clock_stepped" => "clock stepped".to_owned(),
        _ => return None,
    })
}

fn done(action: &Action) -> String {
    match action {
        Action::Launch(launch) => format!("> launch {}", short(&launch.key)),
        Action::Settle(settle) => format!("> settle {}", short(&settle.key)),
        Action::Follow { key, run_id, .. } => format!("> follow {} {run_id}", short(key)),
        Action::Cancel { key, run_id } => format!("> cancel {} {run_id}", short(key)),
        Action::Look(look) => format!("> look at {}", look.workflow_id),
        Action::Mirror => "> mirror".to_owned(),
        Action::Handover { result: Ok(HandoverAnswer::Go), .. } => "> go".to_owned(),
        Action::Handover { result: Ok(HandoverAnswer::Postponed { until, why }), .. } => {
            let until = until.map_or_else(String::new, |until| format!(" until {}", until.format("%H:%M:%S")));
            format!("> not now{until}: {why}")
        }
        Action::Handover { result: Err(why), .. } => format!("> no: {why}"),
        Action::Answer { result, .. } => match result {
            Ok(keys) if keys.is_empty() => "> answer done".to_owned(),
            Ok(keys) => format!("> answer {}", keys.iter().map(short).collect::<Vec<_>>().join(", ")),
            Err(why) => format!("> answer no: {why}"),
        },
    }
}

struct Play {
    engine: Engine,
    now: DateTime<Utc>,
    transcript: Vec<String>,
}

impl Play {
    fn with(options: impl FnOnce(&mut Options), schedules: Vec<Schedule>, memory: Memory, now: &str) -> Self {
        Self::with_ahead(options, schedules, memory, vec![], now)
    }

    fn with_ahead(
        options: impl FnOnce(&mut Options),
        schedules: Vec<Schedule>,
        memory: Memory,
        ahead: Vec<Ahead>,
        now: &str,
    ) -> Self {
        let mut all = Options {
            instance: Instance::new("t").unwrap(),
            launches_in_flight_max: 64,
            launches_per_second_max: None,
            fires: true,
            mirrors: true,
        };
        options(&mut all);
        let former: BTreeMap<ScheduleId, Timetable> = memory
            .schedules
            .iter()
            .map(|known| (known.id.clone(), timetable(known.definition.cron_expression.as_deref().unwrap())))
            .collect();
        let mut play = Self { engine: Engine::new(all), now: at(now), transcript: Vec::new() };
        let schedules = schedules.into_iter().map(Arc::new).collect();
        play.event(now, Event::Boot { schedules, memory, former, ahead });
        play
    }

    fn new(schedules: Vec<Schedule>, now: &str) -> Self {
        let mut play = Self::with(|_| {}, schedules, Memory::default(), now);
        play.transcript.clear();
        play
    }

    fn event(&mut self, now: &str, event: Event) -> &mut Self {
        self.now = at(now);
        let mut turn = Turn::default();
        self.engine.handle(self.now, event, &mut turn);
        self.transcript.extend(turn.changes.iter().filter_map(told));
        self.transcript.extend(turn.actions.iter().map(done));
        if let Some(wake) = self.engine.next_wake() {
            assert!(wake > self.now, "the engine wants to be woken at {wake}, which is not after {}", self.now);
        }
        self
    }

    fn wake(&mut self, now: &str) -> &mut Self {
        self.event(now, Event::Wake)
    }

    fn reply(&mut self, now: &str, key: &str, attempt: u32, reply: LaunchReply) -> &mut Self {
        self.event(now, Event::LaunchEnded { key: long(key), attempt, reply })
    }

    fn started(&mut self, now: &str, key: &str, run: &str) -> &mut Self {
        self.reply(now, key, 1, LaunchReply::Started(report(run, "created")))
    }

    fn reported(&mut self, now: &str, key: &str, run: &str, status: &str) -> &mut Self {
        self.event(now, Event::RunReported { key: long(key), report: report(run, status) })
    }

    fn not_started(&mut self, now: &str, key: &str, attempt: u32) -> &mut Self {
        let reply = LaunchReply::NotStarted { retry_after: None, http_status: Some(503), message: "busy".to_owned() };
        self.reply(now, key, attempt, reply)
    }

    fn unknown(&mut self, now: &str, key: &str) -> &mut Self {
        self.reply(now, key, 1, LaunchReply::Unknown { http_status: None, message: "time-out".to_owned() })
    }

    fn expect(&mut self, expected: &str) -> &mut Self {
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(self.transcript, expected, "at {}", self.now);
        self.transcript.clear();
        self
    }
}

fn known(id: &str, expression: &str, through: &str) -> ScheduleMemory {
    ScheduleMemory {
        id: ScheduleId::new(id).unwrap(),
        definition: timetable(expression).definition(true),
        workflow_id: WorkflowId::new("wpid_1").unwrap(),
        accounted_through: at(through),
        pause: None,
        ownership: Ownership::default(),
        late: None,
    }
}

fn open(key: &str, status: Status, attempt: u32, outcome: Option<AttemptOutcome>, run: Option<&str>) -> OpenOccurrence {
    let key = long(key);
    let begun = (attempt > 0).then_some(key.scheduled_for);
    OpenOccurrence {
        workflow_id: WorkflowId::new("wpid_1").unwrap(),
        trigger: Trigger::Schedule,
        status,
        at: key.scheduled_for,
        attempt_number: attempt,
        first_attempt_at: begun,
        attempt_begun_at: begun,
        attempt_outcome: outcome,
        run_id: run.map(|run| RunId::new(run).unwrap()),
        parameters: None,
        key,
    }
}

#[test]
fn one_occurrence_from_due_to_completed() {
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", |_| {})], "13:00");
    assert_eq!(play.engine.next_wake(), Some(at("14:00")));
    play.wake("13:59:59").expect("");
    play.wake("14:00").expect(
        "daily@14:00 schedule pending
         daily@14:00 attempt 1
         > launch daily@14:00",
    );
    play.wake("14:00:00").expect("");
    play.started("14:00:01", "daily@14:00", "wr_1").expect("daily@14:00 running\n> follow daily@14:00 wr_1");
    play.reported("14:00:05", "daily@14:00", "wr_1", "running").expect("");
    play.reported("14:01", "daily@14:00", "wr_1", "completed").expect("daily@14:00 completed");
    assert_eq!(play.engine.next_wake(), Some(at("+1 14:00")));
}

#[test]
fn endings_that_are_none() {
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", |_| {})], "13:00");
    play.wake("14:00").started("14:00:01", "daily@14:00", "wr_1").transcript.clear();
    play.reported("14:01", "daily@14:00", "wr_1", "paused").expect("");
    play.reported("14:01", "daily@14:00", "wr_1", "hibernating").expect("");
    play.reported("14:01", "daily@14:00", "wr_other", "failed").expect("");
    let pending = Box::new(RunReport { retry_pending: true, ..*report("wr_1", "failed") });
    play.event("14:02", Event::RunReported { key: long("daily@14:00"), report: pending }).expect("");
    play.reported("14:03", "daily@14:00", "wr_1", "failed").expect("daily@14:00 failed (run_failed)");
}

#[test]
fn replies_to_a_start() {
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", |_| {})], "13:00");
    let refused = LaunchReply::Refused { http_status: Some(404), message: "Workflow not found".to_owned() };
    play.wake("14:00").reply("14:00:01", "daily@14:00", 1, refused);
    play.expect(
        "daily@14:00 schedule pending\ndaily@14:00 attempt 1\n> launch daily@14:00\ndaily@14:00 refused (refused)",
    );

    // Not started: tried again, and given up when the window closes.
    let mut play =
        Play::new(vec![schedule("daily", "0 14 * * *", |p| p.catch_up_window = Duration::from_secs(10))], "13:00");
    play.wake("14:00").transcript.clear();
    play.not_started("14:00:01", "daily@14:00", 1).expect("daily@14:00 pending (not_started)");
    // An answer to another attempt is none.
    play.not_started("14:00:01", "daily@14:00", 1).expect("");
    play.wake("14:00:02").expect("daily@14:00 attempt 2\n> launch daily@14:00");
    play.not_started("14:00:09", "daily@14:00", 2).expect("daily@14:00 missed (not_started)");

    // Retry-After is honoured.
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", |_| {})], "13:00");
    play.wake("14:00");
    let busy = LaunchReply::NotStarted {
        retry_after: Some(Duration::from_secs(30)),
        http_status: Some(429),
        message: String::new(),
    };
    play.reply("14:00:01", "daily@14:00", 1, busy);
    assert!(play.engine.next_wake().unwrap() >= at("14:00:31"));
}

#[test]
fn a_start_without_a_clear_answer_is_looked_for_before_anything_else() {
    let unanswered = "daily@14:00 unanswered\ndaily@14:00 launching (no_answer)\n> settle daily@14:00";
    let begin = |change: fn(&mut Policies)| {
        let mut play = Play::new(vec![schedule("daily", "0 14 * * *", change)], "13:00");
        play.wake("14:00").transcript.clear();
        play.unknown("14:00:30", "daily@14:00").expect(unanswered);
        play
    };
    let settled = |play: &mut Play, verdict| {
        play.event("14:01", Event::Settled { key: long("daily@14:00"), verdict });
    };
    let undetermined = || Verdict::Undetermined { evidence: "two runs could be its".to_owned() };

    let mut play = begin(|_| {});
    settled(&mut play, Verdict::Found(report("wr_1", "running")));
    play.expect("daily@14:00 running\n> follow daily@14:00 wr_1");

    let mut play = begin(|_| {});
    settled(&mut play, Verdict::Absent { evidence: "nothing".to_owned() });
    play.expect("daily@14:00 pending (not_started)");
    play.wake("14:01:01").expect("daily@14:00 attempt 2\n> launch daily@14:00");

    let mut play = begin(|_| {});
    settled(&mut play, undetermined());
    play.expect("daily@14:00 unknown (no_answer)");
    assert_eq!(play.engine.next_wake(), Some(at("+1 14:00")));

    let mut play = begin(|p| p.on_unknown = OnUnknown::Retry);
    settled(&mut play, undetermined());
    play.expect("daily@14:00 pending (not_started)");
}

#[test]
fn one_run_is_never_two_occurrences() {
    let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |p| p.overlap = Overlap::Allow)], "13:30");
    play.wake("14:00").unknown("14:00:30", "hourly@14:00");
    play.wake("15:00").unknown("15:00:30", "hourly@15:00").transcript.clear();
    let found = |key| Event::Settled { key: long(key), verdict: Verdict::Found(report("wr_1", "running")) };
    play.event("15:01", found("hourly@14:00")).expect("hourly@14:00 running\n> follow hourly@14:00 wr_1");
    play.event("15:01", found("hourly@15:00")).expect("hourly@15:00 unknown (no_answer)");
}

#[test]
fn overlap() {
    let begin = |overlap: Overlap| {
        let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |p| p.overlap = overlap)], "13:30");
        play.wake("14:00").started("14:00:01", "hourly@14:00", "wr_1").transcript.clear();
        play
    };
    begin(Overlap::Skip).wake("15:00").expect("hourly@15:00 schedule skipped (overlap)");
    begin(Overlap::Allow)
        .wake("15:00")
        .expect("hourly@15:00 schedule pending\nhourly@15:00 attempt 1\n> launch hourly@15:00");
    begin(Overlap::BufferOne)
        .wake("15:00")
        .expect("hourly@15:00 schedule pending (overlap)")
        .wake("16:00")
        .expect("hourly@16:00 schedule skipped (overlap)")
        .reported("16:30", "hourly@14:00", "wr_1", "completed")
        .expect("hourly@14:00 completed\nhourly@15:00 pending\nhourly@15:00 attempt 1\n> launch hourly@15:00");
    begin(Overlap::CancelRunning)
        .wake("15:00")
        .expect("hourly@15:00 schedule pending (overlap)\n> cancel hourly@14:00 wr_1")
        .wake("16:00")
        .expect("hourly@15:00 skipped (superseded)\nhourly@16:00 schedule pending (overlap)")
        .reported("16:30", "hourly@14:00", "wr_1", "canceled")
        .expect(
            "hourly@14:00 canceled (canceled)\nhourly@16:00 pending\nhourly@16:00 attempt 1\n> launch hourly@16:00",
        );
    // Due before the start was answered: cancelled as soon as there is a run.
    let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |p| p.overlap = Overlap::CancelRunning)], "13:30");
    play.wake("14:00").wake("15:00").transcript.clear();
    play.started("15:00:01", "hourly@14:00", "wr_1")
        .expect("hourly@14:00 running\n> cancel hourly@14:00 wr_1\n> follow hourly@14:00 wr_1");
}

#[test]
fn catch_up() {
    let check = |change: fn(&mut Policies), now: &str, expected: &str| {
        let memory = Memory { schedules: vec![known("hourly", "0 * * * *", "10:00")], ..Memory::default() };
        let mut play = Play::with(|_| {}, vec![schedule("hourly", "0 * * * *", change)], memory, now);
        play.expect(expected);
    };
    check(|_| {}, "10:59", "");
    check(|_| {}, "11:00:30", "hourly@11:00 schedule pending\nhourly@11:00 attempt 1\n> launch hourly@11:00");
    check(|_| {}, "11:30", "hourly@11:00 catch_up pending\nhourly@11:00 attempt 1\n> launch hourly@11:00");
    check(
        |_| {},
        "14:30",
        "hourly@11:00 schedule missed (caught_up) x3 to 02T13:00
         hourly@14:00 catch_up pending
         hourly@14:00 attempt 1
         > launch hourly@14:00",
    );
    check(|p| p.catch_up = CatchUp::None, "14:30", "hourly@11:00 schedule missed (late) x4 to 02T14:00");
    // The last one is on time.
    check(
        |p| p.catch_up = CatchUp::None,
        "14:00:10",
        "hourly@11:00 schedule missed (late) x3 to 02T13:00
         hourly@14:00 schedule pending
         hourly@14:00 attempt 1
         > launch hourly@14:00",
    );
    check(
        |p| p.catch_up_window = Duration::from_secs(600),
        "14:30",
        "hourly@11:00 schedule missed (late) x4 to 02T14:00",
    );
    // All of them, one after the other, within the window.
    check(
        |p| (p.catch_up, p.catch_up_window) = (CatchUp::All, Duration::from_secs(2 * 3600)),
        "14:30",
        "hourly@11:00 schedule missed (late) x2 to 02T12:00
         hourly@13:00 catch_up pending
         hourly@14:00 catch_up pending (overlap)
         hourly@13:00 attempt 1
         > launch hourly@13:00",
    );
}

#[test]
fn a_long_outage_is_one_row_and_a_bounded_number_of_starts() {
    let memory = Memory { schedules: vec![known("often", "*/5 * * * *", "10:00")], ..Memory::default() };
    let all = |p: &mut Policies| {
        (p.catch_up, p.catch_up_window, p.overlap) = (CatchUp::All, Duration::from_secs(365 * 86400), Overlap::Allow);
    };
    let mut play = Play::with(|_| {}, vec![schedule("often", "*/5 * * * *", all)], memory, "+27 10:02");
    let launches = play.transcript.iter().filter(|line| line.starts_with("> launch")).count();
    let missed: Vec<&String> = play.transcript.iter().filter(|line| line.contains("missed")).collect();
    assert_eq!(missed, ["often@10:05 schedule missed (late) x7676 to 29T01:40"], "27 days of 288, less the 100 latest");
    assert_eq!(launches, 64);
    play.transcript.clear();
}

#[test]
fn restart_goes_on_where_it_was() {
    let memory = |open: OpenOccurrence| Memory {
        schedules: vec![known("hourly", "0 * * * *", "14:00")],
        open: vec![open],
        orphans: vec![],
        latest_instant: None,
    };
    let check = |open: OpenOccurrence, expected: &str| {
        let mut play = Play::with(|_| {}, vec![schedule("hourly", "0 * * * *", |_| {})], memory(open), "14:10");
        play.expect(expected);
        play
    };
    check(
        open("hourly@14:00", Status::Running, 1, Some(AttemptOutcome::Started), Some("wr_1")),
        "> follow hourly@14:00 wr_1",
    );
    check(open("hourly@14:00", Status::Pending, 0, None, None), "hourly@14:00 attempt 1\n> launch hourly@14:00");
    let unanswered = "hourly@14:00 unanswered\nhourly@14:00 launching (no_answer)\n> settle hourly@14:00";
    // While it is being looked for, what is due of its schedule is held back, and caught up afterwards.
    let mut play = check(open("hourly@14:00", Status::Launching, 1, None, None), unanswered);
    play.wake("15:00").expect("");
    let verdict = Verdict::Absent { evidence: "nothing".to_owned() };
    play.event("15:00:30", Event::Settled { key: long("hourly@14:00"), verdict })
        .expect("hourly@14:00 pending (not_started)\nhourly@15:00 schedule skipped (overlap)");
}

#[test]
fn edits_start_from_now() {
    // While the daemon was down.
    let memory = Memory {
        schedules: vec![known("a", "0 * * * *", "10:00"), known("b", "0 * * * *", "10:00")],
        ..Memory::default()
    };
    Play::with(|_| {}, vec![schedule("a", "30 * * * *", |_| {}), schedule("c", "0 * * * *", |_| {})], memory, "12:40")
        .expect(
            "a@11:00 schedule missed (superseded) x2 to 02T12:00
         a defined
         c defined
         b@11:00 schedule missed (superseded) x2 to 02T12:00
         b gone",
        );
    // While it runs.
    let mut play = Play::new(vec![schedule("a", "0 * * * *", |_| {}), schedule("b", "0 * * * *", |_| {})], "12:40");
    let new = vec![Arc::new(schedule("a", "30 12 * * *", |_| {})), Arc::new(schedule("c", "0 * * * *", |_| {}))];
    play.event("12:50", Event::Reload { schedules: new }).expect("a defined\nc defined\nb gone");
    assert_eq!(play.engine.next_wake(), Some(at("13:00")));
    play.wake("13:00").expect("c@13:00 schedule pending\nc@13:00 attempt 1\n> launch c@13:00");
    // What goes on unchanged keeps its place, and what was due at the moment of the reload was due by the old file.
    let mut play = Play::new(vec![schedule("a", "0 * * * *", |_| {})], "12:40");
    let new = vec![Arc::new(schedule("a", "0 * * * *", |p| p.overlap = Overlap::Allow))];
    play.event("13:00:05", Event::Reload { schedules: new })
        .expect("a@13:00 schedule pending\na@13:00 attempt 1\n> launch a@13:00");
    // A schedule that comes back finds its run.
    let mut play = Play::new(vec![schedule("a", "0 * * * *", |_| {})], "12:40");
    play.wake("13:00").started("13:00:01", "a@13:00", "wr_1").event("13:10", Event::Reload { schedules: vec![] });
    let back = vec![Arc::new(schedule("a", "0 * * * *", |_| {}))];
    play.event("13:20", Event::Reload { schedules: back }).transcript.clear();
    play.wake("14:00").expect("a@14:00 schedule skipped (overlap)");
    // Runs of what is gone are followed to the end; what did not start does not start.
    let mut play = Play::new(vec![schedule("a", "0 * * * *", |p| p.overlap = Overlap::BufferOne)], "12:40");
    play.wake("13:00").started("13:00:01", "a@13:00", "wr_1").wake("14:00").transcript.clear();
    play.event("14:10", Event::Reload { schedules: vec![] }).expect("a gone\na@14:00 skipped (superseded)");
    play.reported("15:00", "a@13:00", "wr_1", "completed").expect("a@13:00 completed");
    assert_eq!(play.engine.next_wake(), None);
}

#[test]
fn pauses() {
    let pause = |until: Option<&str>| Event::Pause {
        request: RequestId(1),
        schedule: ScheduleId::new("hourly").unwrap(),
        pause: Some(Pause { since: at("13:30"), until: until.map(at), note: None }),
    };
    let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |_| {})], "13:30");
    play.event("13:30", pause(None)).expect("hourly paused\n> answer done");
    play.wake("14:00").expect("hourly@14:00 schedule skipped (paused)");
    let resume = Event::Pause { request: RequestId(2), schedule: ScheduleId::new("hourly").unwrap(), pause: None };
    play.event("14:30", resume).expect("hourly resumed\n> answer done");
    play.wake("15:00").expect("hourly@15:00 schedule pending\nhourly@15:00 attempt 1\n> launch hourly@15:00");
    // With an end. What was due while it lasted stays unstarted, even if its moment passed unnoticed.
    let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |_| {})], "13:30");
    play.event("13:30", pause(Some("14:30"))).transcript.clear();
    play.wake("14:31").expect("hourly@14:00 schedule skipped (paused)\nhourly resumed");
}

#[test]
fn retries_of_runs() {
    let retry = |p: &mut Policies| {
        p.retry = Some(RunRetry {
            max_attempts: 3,
            on: vec!["failed".to_owned()],
            delay: Duration::from_secs(60),
            max_delay: Duration::from_secs(90),
        });
    };
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", retry)], "13:00");
    play.wake("14:00").started("14:00:01", "daily@14:00", "wr_1").transcript.clear();
    play.reported("14:05", "daily@14:00", "wr_1", "failed")
        .expect("daily@14:00 failed (run_failed)\ndaily@14:00#retry-2 retry pending (run_failed)");
    assert_eq!(play.engine.next_wake(), Some(at("14:06")));
    play.wake("14:06").started("14:06:01", "daily@14:00#retry-2", "wr_2").transcript.clear();
    play.reported("14:10", "daily@14:00#retry-2", "wr_2", "failed")
        .expect("daily@14:00#retry-2 failed (run_failed)\ndaily@14:00#retry-3 retry pending (run_failed)");
    assert_eq!(play.engine.next_wake(), Some(at("14:11:30")), "two minutes, cut at max_delay");
    play.wake("14:11:30").started("14:11:31", "daily@14:00#retry-3", "wr_3").transcript.clear();
    play.reported("14:20", "daily@14:00#retry-3", "wr_3", "failed").expect("daily@14:00#retry-3 failed (run_failed)");
    // Another end is not retried.
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", retry)], "13:00");
    play.wake("14:00").started("14:00:01", "daily@14:00", "wr_1").transcript.clear();
    play.reported("14:05", "daily@14:00", "wr_1", "canceled").expect("daily@14:00 canceled (run_failed)");
}

#[test]
fn a_run_that_takes_too_long_is_cancelled() {
    let mut play =
        Play::new(vec![schedule("daily", "0 14 * * *", |p| p.run_timeout = Some(Duration::from_secs(300)))], "13:00");
    play.wake("14:00").started("14:00:01", "daily@14:00", "wr_1").transcript.clear();
    assert_eq!(play.engine.next_wake(), Some(at("14:05")));
    play.wake("14:05").expect("daily@14:00 running (canceled)\n> cancel daily@14:00 wr_1");
    play.reported("14:05:05", "daily@14:00", "wr_1", "canceled").expect("daily@14:00 canceled (canceled)");
}

#[test]
fn a_run_that_its_server_left_behind_does_not_block_for_ever() {
    let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |_| {})], "13:30");
    play.wake("14:00").started("14:00:01", "hourly@14:00", "wr_1").transcript.clear();
    let stalled = |dead| Event::RunStalled { key: long("hourly@14:00"), text: "it stands at created".to_owned(), dead };
    play.event("14:10", stalled(false)).expect("hourly@14:00 running (run_stalled)");
    play.event("14:20", stalled(true)).expect("hourly@14:00 running (run_stalled)\n> cancel hourly@14:00 wr_1");
    play.reported("14:20:05", "hourly@14:00", "wr_1", "canceled").expect("hourly@14:00 canceled (canceled)");
    play.wake("15:00").expect("hourly@15:00 schedule pending\nhourly@15:00 attempt 1\n> launch hourly@15:00");
}

#[test]
fn manual_starts() {
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", |_| {})], "13:00");
    let trigger = |id: &str| Event::Trigger {
        request: RequestId(7),
        schedule: ScheduleId::new(id).unwrap(),
        parameters: serde_json::Map::new(),
    };
    play.event("13:10", trigger("nightly")).expect("> answer no: there is no schedule nightly");
    play.event("13:10", trigger("daily")).expect(
        "daily@13:10#manual-20261102T131000000-7 manual pending
         daily@13:10#manual-20261102T131000000-7 attempt 1
         > answer daily@13:10#manual-20261102T131000000-7
         > launch daily@13:10#manual-20261102T131000000-7",
    );
    // A person is told at once that it did not work.
    play.not_started("13:10:01", "daily@13:10#manual-20261102T131000000-7", 1)
        .expect("daily@13:10#manual-20261102T131000000-7 missed (not_started)");
}

/// Without its schedule a row has nothing to belong to, and where nothing fires no boot has put one there.
#[test]
fn manual_start_of_a_schedule_that_no_daemon_has_seen() {
    let trigger = || Event::Trigger {
        request: RequestId(7),
        schedule: ScheduleId::new("daily").unwrap(),
        parameters: serde_json::Map::new(),
    };
    let started = "daily@13:10#manual-20261102T131000000-7 manual pending
         daily@13:10#manual-20261102T131000000-7 attempt 1
         > answer daily@13:10#manual-20261102T131000000-7
         > launch daily@13:10#manual-20261102T131000000-7";
    let seen = Memory { schedules: vec![known("daily", "0 14 * * *", "12:00")], ..Memory::default() };
    for (memory, before) in [(Memory::default(), "daily gone\n"), (seen, "")] {
        let schedules = vec![schedule("daily", "0 14 * * *", |_| {})];
        let mut play = Play::with(|options| options.fires = false, schedules, memory, "13:00");
        play.event("13:10", trigger()).expect(&format!("{before}{started}"));
    }
}

#[test]
fn without_a_daemon_nothing_but_the_asked_for_is_touched() {
    let trigger = || Event::Trigger {
        request: RequestId(1),
        schedule: ScheduleId::new("hourly").unwrap(),
        parameters: serde_json::Map::new(),
    };
    let begin = |schedules: Vec<ScheduleMemory>| {
        let open = vec![open("hourly@11:00", Status::Launching, 1, None, None)];
        let memory = Memory { schedules, open, orphans: vec![], latest_instant: None };
        Play::with(|o| o.fires = false, vec![schedule("hourly", "0 * * * *", |_| {})], memory, "14:30")
    };
    let started = "hourly@14:30#manual-20261102T143000000-1 manual pending
         hourly@14:30#manual-20261102T143000000-1 attempt 1
         > answer hourly@14:30#manual-20261102T143000000-1
         > launch hourly@14:30#manual-20261102T143000000-1";
    let mut play = begin(vec![known("hourly", "0 * * * *", "10:00")]);
    play.expect("").event("14:30", trigger()).expect(started);
    assert_eq!(play.engine.next_wake(), None);
    // A schedule that the history does not have gets a row there, as one that is not in a daemon's file.
    begin(vec![]).event("14:30", trigger()).expect(&format!("hourly gone\n{started}"));
}

#[test]
fn places_are_bounded_and_shared() {
    let many = |id: &str| schedule(id, "*/5 * * * *", |p| (p.overlap, p.catch_up) = (Overlap::Allow, CatchUp::All));
    let memory = Memory {
        schedules: vec![known("backlog", "*/5 * * * *", "12:00"), known("zz", "*/5 * * * *", "12:55")],
        ..Memory::default()
    };
    let mut play = Play::with(|o| o.launches_in_flight_max = 3, vec![many("backlog"), many("zz")], memory, "13:00");
    let launches: Vec<&String> = play.transcript.iter().filter(|line| line.starts_with("> launch")).collect();
    assert_eq!(
        launches,
        ["> launch backlog@12:05", "> launch zz@13:00", "> launch backlog@12:10"],
        "one with a backlog does not starve the other"
    );
    play.transcript.clear();
    play.started("13:00:01", "zz@13:00", "wr_1")
        .expect("zz@13:00 running\nbacklog@12:15 attempt 1\n> follow zz@13:00 wr_1\n> launch backlog@12:15");
}

#[test]
fn pace() {
    let all: Vec<Schedule> = (0..25).map(|n| schedule(&format!("s{n}"), "0 14 * * *", |_| {})).collect();
    let mut play = Play::with(|o| o.launches_per_second_max = Some(10), all, Memory::default(), "13:00");
    let mut launched = Vec::new();
    let mut now = at("14:00");
    while launched.len() < 25 {
        let mut turn = Turn::default();
        play.engine.handle(now, Event::Wake, &mut turn);
        launched.extend(turn.actions.iter().filter(|a| matches!(a, Action::Launch(_))).map(|_| now));
        now = play.engine.next_wake().unwrap();
    }
    assert!(launched[..10].iter().all(|t| *t == at("14:00")), "a burst of one second's worth");
    assert_eq!(*launched.last().unwrap(), at("14:00:01") + chrono::TimeDelta::milliseconds(500), "then ten a second");
}

#[test]
fn the_clock_moves() {
    let mut play = Play::new(vec![schedule("hourly", "0 * * * *", |p| p.overlap = Overlap::Allow)], "13:30");
    play.wake("14:00").transcript.clear();
    // Back by an hour: what was fired is not fired again.
    play.event("13:10", Event::ClockStepped { by: chrono::TimeDelta::minutes(-50), ahead: vec![] })
        .expect("clock stepped");
    play.wake("14:00").expect("");
    play.wake("15:00").expect("hourly@15:00 schedule pending\nhourly@15:00 attempt 1\n> launch hourly@15:00");
    // Forward by hours: like an outage.
    play.event("19:10", Event::ClockStepped { by: chrono::TimeDelta::hours(4), ahead: vec![] }).expect(
        "clock stepped
         hourly@16:00 schedule missed (caught_up) x3 to 02T18:00
         hourly@19:00 catch_up pending
         hourly@19:00 attempt 1
         > launch hourly@19:00",
    );
}

fn ahead(id: &str, through: &str, reopen_after: Option<&str>, tried: &[&str]) -> Ahead {
    Ahead {
        schedule: ScheduleId::new(id).unwrap(),
        accounted_through: at(through),
        reopen_after: reopen_after.map(at),
        redefine: None,
        tried: tried.iter().map(|tried| at(tried)).collect(),
    }
}

#[test]
fn a_clock_that_was_ahead_loses_nothing_and_starts_nothing_twice() {
    // Booted days ahead: what seems to have passed is missed, and the latest is started.
    let memory = Memory { schedules: vec![known("hourly", "0 * * * *", "14:00")], ..Memory::default() };
    let mut play = Play::with(|_| {}, vec![schedule("hourly", "0 * * * *", |_| {})], memory, "+3 15:30");
    play.expect(
        "hourly@15:00 schedule missed (caught_up) x72 to 05T14:00
         hourly@05T15:00 catch_up pending
         hourly@05T15:00 attempt 1
         > launch hourly@05T15:00",
    );
    play.started("+3 15:30:01", "hourly@+3 15:00", "wr_1").transcript.clear();
    play.reported("+3 15:31", "hourly@+3 15:00", "wr_1", "completed").transcript.clear();
    // Set right: the stretch is taken back, and what it stood for is decided again, each when it comes.
    let ahead = vec![ahead("hourly", "+3 15:00", Some("14:59:59"), &["+3 15:00"])];
    play.event("15:31", Event::ClockStepped { by: chrono::TimeDelta::days(-3), ahead }).expect(
        "clock stepped
         hourly decided again after 02T14:59:59Z
         hourly@15:00 catch_up pending
         hourly@15:00 attempt 1
         > launch hourly@15:00",
    );
    play.started("15:31:01", "hourly@15:00", "wr_2").reported("15:32", "hourly@15:00", "wr_2", "completed");
    play.transcript.clear();
    play.wake("16:00").expect("hourly@16:00 schedule pending\nhourly@16:00 attempt 1\n> launch hourly@16:00");
    play.started("16:00:01", "hourly@16:00", "wr_3").reported("16:01", "hourly@16:00", "wr_3", "completed");
    play.transcript.clear();
    // An outage over the one that was tried ahead: it has its row, those around it get theirs.
    play.wake("+3 17:10").expect(
        "hourly@17:00 schedule missed (caught_up) x69 to 05T13:00
         hourly@05T14:00 catch_up pending
         hourly@05T16:00 schedule missed (caught_up)
         hourly@05T17:00 catch_up skipped (overlap)
         hourly@05T14:00 attempt 1
         > launch hourly@05T14:00",
    );
}

#[test]
fn a_clock_that_shows_less_at_boot_is_believed_after_a_while() {
    let begin = || {
        let memory = Memory { schedules: vec![known("hourly", "0 * * * *", "+3 15:00")], ..Memory::default() };
        let ahead = vec![ahead("hourly", "+3 15:00", Some("12:30"), &[])];
        let mut play = Play::with_ahead(|_| {}, vec![schedule("hourly", "0 * * * *", |_| {})], memory, ahead, "12:30");
        play.expect("");
        play
    };
    // It was behind, and is set right: nothing is taken back.
    let mut play = begin();
    let forward = Event::ClockStepped { by: chrono::TimeDelta::days(3), ahead: vec![] };
    play.event("+3 15:31", forward).expect("clock stepped");
    play.wake("+3 15:50").expect("");
    play.wake("+3 16:00")
        .expect("hourly@05T16:00 schedule pending\nhourly@05T16:00 attempt 1\n> launch hourly@05T16:00");
    // It stays so: the history was written by a clock that was ahead.
    let mut play = begin();
    play.wake("12:39:59").expect("");
    play.wake("12:40").expect("hourly decided again after 02T12:30:00Z\nhourly defined");
    play.wake("13:00").expect("hourly@13:00 schedule pending\nhourly@13:00 attempt 1\n> launch hourly@13:00");
}

#[test]
fn what_is_measured_from_the_past_moves_with_the_clock() {
    let change = |p: &mut Policies| p.run_timeout = Some(Duration::from_secs(600));
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", change)], "13:00");
    play.wake("14:00").not_started("14:00:01", "daily@14:00", 1).transcript.clear();
    // The next try, a second away, does not wait for the clock to come there again.
    play.event("02:00:01", Event::ClockStepped { by: chrono::TimeDelta::hours(-12), ahead: vec![] });
    play.wake("02:00:02").expect("clock stepped\ndaily@14:00 attempt 2\n> launch daily@14:00");
    play.reply("02:00:03", "daily@14:00", 2, LaunchReply::Started(report("wr_1", "created"))).transcript.clear();
    // A run of some seconds is not one of hours.
    play.event("09:00", Event::ClockStepped { by: chrono::TimeDelta::hours(7), ahead: vec![] }).expect("clock stepped");
    play.wake("09:30").expect("daily@14:00 running (canceled)\n> cancel daily@14:00 wr_1");
}

#[test]
fn what_jitter_or_a_search_holds_back_is_not_lost_in_an_edit() {
    let jitter = |p: &mut Policies| p.jitter = Duration::from_secs(3000);
    let edits = || [vec![Arc::new(schedule("a", "30 1 * * *", |_| {}))], vec![]];
    for (new, what) in edits().into_iter().zip(["defined", "gone"]) {
        let mut play = Play::new(vec![schedule("a", "0 * * * *", jitter)], "12:40");
        assert!(play.engine.next_wake().unwrap() > at("13:00:01"), "its jitter is more than a second");
        play.event("13:00:01", Event::Reload { schedules: new })
            .expect(&format!("a@13:00 schedule skipped (superseded)\na {what}"));
    }
    for (new, what) in edits().into_iter().zip(["defined", "gone"]) {
        let memory = Memory {
            schedules: vec![known("a", "0 * * * *", "11:00")],
            open: vec![open("a@11:00", Status::Launching, 1, None, None)],
            orphans: vec![],
            latest_instant: None,
        };
        let mut play = Play::with(|_| {}, vec![schedule("a", "0 * * * *", |_| {})], memory, "11:10");
        play.wake("12:00").transcript.clear();
        play.event("12:00:05", Event::Reload { schedules: new })
            .expect(&format!("a@12:00 schedule skipped (superseded)\na {what}"));
    }
}

#[test]
fn a_clock_that_shows_a_little_less_decides_nothing_twice() {
    let mut play = Play::new(vec![schedule("a", "0 * * * *", |_| {})], "12:40");
    play.wake("13:00").transcript.clear();
    // Less than what counts as a step.
    play.event("12:59:59", Event::Reload { schedules: vec![Arc::new(schedule("a", "0,30 * * * *", |_| {}))] });
    play.expect("a defined");
    assert_eq!(play.engine.next_wake(), Some(at("13:30")));
}

#[test]
fn a_start_goes_on_where_its_row_says() {
    // The file names another workflow by now; what may have started of it before is looked for at the old one.
    let memory = Memory {
        schedules: vec![known("daily", "0 14 * * *", "14:00")],
        open: vec![open("daily@14:00", Status::Pending, 1, Some(AttemptOutcome::NotStarted), None)],
        orphans: vec![],
        latest_instant: None,
    };
    let mut moved = schedule("daily", "0 14 * * *", |_| {});
    moved.workflow_id = WorkflowId::new("wpid_2").unwrap();
    let mut engine = Engine::new(Options {
        instance: Instance::new("t").unwrap(),
        launches_in_flight_max: 1,
        launches_per_second_max: None,
        fires: true,
        mirrors: true,
    });
    let mut turn = Turn::default();
    let boot = Event::Boot { schedules: vec![Arc::new(moved)], memory, former: BTreeMap::new(), ahead: vec![] };
    engine.handle(at("14:10"), boot, &mut turn);
    let launched = turn.actions.iter().find_map(|action| match action {
        Action::Launch(launch) => Some(launch.schedule.workflow_id.as_str()),
        _ => None,
    });
    assert_eq!(launched, Some("wpid_1"));
}

#[test]
fn a_run_that_two_starts_could_own_is_adopted_by_neither() {
    let likely = |key| Event::Settled { key: long(key), verdict: Verdict::Likely(report("wr_1", "running")) };
    let mut play = Play::new(vec![schedule("a", "0 14 * * *", |_| {}), schedule("b", "5 14 * * *", |_| {})], "13:30");
    play.wake("14:00").unknown("14:00:30", "a@14:00").wake("14:05").unknown("14:05:30", "b@14:05").transcript.clear();
    play.event("14:06", likely("a@14:00")).expect("a@14:00 unknown (no_answer)");
    // The other one is the only one left.
    play.event("14:07", likely("b@14:05")).expect("b@14:05 running\n> follow b@14:05 wr_1");
}

#[test]
fn after_a_restart_a_run_may_be_anybody_s() {
    // The file may say other parameters than the start from before had: what is being started now could own the run.
    let memory = Memory {
        schedules: vec![known("a", "0 14 * * *", "14:00"), known("b", "5 14 * * *", "13:00")],
        open: vec![open("a@14:00", Status::Launching, 1, None, None)],
        orphans: vec![],
        latest_instant: None,
    };
    let mut other = schedule("b", "5 14 * * *", |_| {});
    other.parameters.insert("url".to_owned(), "b".into());
    let mut mine = schedule("a", "0 14 * * *", |_| {});
    mine.parameters.insert("url".to_owned(), "a".into());
    let mut play = Play::with(|_| {}, vec![mine, other], memory, "14:05");
    play.transcript.clear();
    let likely = Event::Settled { key: long("a@14:00"), verdict: Verdict::Likely(report("wr_1", "running")) };
    play.event("14:05:01", likely).expect("a@14:00 unknown (no_answer)");
}

#[test]
fn jitter_delays_the_start_and_not_the_occurrence() {
    let mut play = Play::new(vec![schedule("daily", "0 14 * * *", |p| p.jitter = Duration::from_secs(600))], "13:00");
    let wake = play.engine.next_wake().unwrap();
    assert!(wake > at("14:00") && wake < at("14:10"), "{wake}");
    play.wake("14:00").expect("");
    let mut turn = Turn::default();
    play.engine.handle(wake, Event::Wake, &mut turn);
    assert_eq!(turn.changes.iter().filter_map(told).next().as_deref(), Some("daily@14:00 schedule pending"));
}
