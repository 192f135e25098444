//! Tests of who fires: handing over, taking back, watching what the server starts. Scripts and transcripts as in `tests`.

use super::*;
use crate::{
    engine::{
        change::ServerCopy,
        event::{HandoverStep, ServerRun, ServerRuns},
    },
    ids::ServerScheduleId,
    schedule::{Failover, Fires},
};

fn copy() -> ServerCopy {
    ServerCopy { id: ServerScheduleId::new("wfs_1").unwrap(), workflow_id: WorkflowId::new("wpid_1").unwrap() }
}

fn ran(run: &str, created: &str) -> ServerRun {
    ServerRun {
        run_id: RunId::new(run).unwrap(),
        status: RunStatus::Running,
        retry_pending: false,
        copy: Some(copy().id),
        of: None,
        created_at: at(created),
    }
}

/// The same, with an id that says whose it is.
fn ran_for(run: &str, id: &str, of: &str, created: &str) -> ServerRun {
    ServerRun { of: Some((ScheduleId::new(id).unwrap(), at(of))), ..ran(run, created) }
}

impl Play {
    fn step(&mut self, now: &str, id: &str, step: HandoverStep) -> &mut Self {
        let schedule = ScheduleId::new(id).unwrap();
        self.event(now, Event::Handover { request: RequestId(1), schedule, step })
    }

    fn give(&mut self, now: &str) -> &mut Self {
        self.step(now, "often", HandoverStep::Give { copy: copy() })
    }

    fn given(&mut self, now: &str, modified_at: &str) -> &mut Self {
        self.step(now, "often", HandoverStep::Given { modified_at: at(modified_at) })
    }

    fn not_given(&mut self, now: &str) -> &mut Self {
        self.step(now, "often", HandoverStep::NotGiven { why: "the server said no".to_owned() })
    }

    fn saw(&mut self, now: &str, runs: Vec<ServerRun>) -> &mut Self {
        let workflow_id = WorkflowId::new("wpid_1").unwrap();
        self.event(now, Event::Looked { workflow_id, seen: Ok(ServerRuns { runs, complete_since: None }) })
    }

    fn could_not_see(&mut self, now: &str) -> &mut Self {
        let workflow_id = WorkflowId::new("wpid_1").unwrap();
        self.event(now, Event::Looked { workflow_id, seen: Err("away".to_owned()) })
    }

    /// Wakes whenever the engine wants to, up to `until`; every look finds these runs, those that were made by then.
    fn watch_until(&mut self, until: &str, runs: &[ServerRun]) -> &mut Self {
        loop {
            if self.engine.watch.in_flight > 0 {
                let now = self.now;
                let made = runs.iter().filter(|run| run.created_at <= now).cloned().collect();
                let mut turn = Turn::default();
                let workflow_id = WorkflowId::new("wpid_1").unwrap();
                let seen = Ok(ServerRuns { runs: made, complete_since: None });
                self.engine.handle(now, Event::Looked { workflow_id, seen }, &mut turn);
                self.take_in(turn);
                continue;
            }
            match self.engine.next_wake().filter(|wake| *wake <= at(until)) {
                Some(wake) => {
                    self.now = wake;
                    let mut turn = Turn::default();
                    self.engine.handle(wake, Event::Wake, &mut turn);
                    self.take_in(turn);
                }
                None => return self,
            }
        }
    }

    /// Without the looks, whose moments matter little.
    fn brings(&mut self, expected: &str) -> &mut Self {
        self.transcript.retain(|line| !line.starts_with("> look at"));
        self.expect(expected)
    }

    fn take_in(&mut self, turn: Turn) {
        self.transcript.extend(turn.changes.iter().filter_map(told));
        self.transcript.extend(turn.actions.iter().map(done));
    }
}

/// New in the file, and looked at: the server does not fire them.
fn ours(schedules: Vec<Schedule>, now: &str) -> Play {
    let ids: Vec<String> = schedules.iter().map(|schedule| schedule.id.to_string()).collect();
    let mut play = Play::new(schedules, now);
    for id in ids {
        play.step(now, &id, HandoverStep::NotGiven { why: "it is disabled".to_owned() });
    }
    play.transcript.clear();
    play
}

fn often(change: impl FnOnce(&mut Policies)) -> Schedule {
    schedule("often", "*/15 * * * *", |policies| {
        policies.fires = Fires::Server;
        change(policies);
    })
}

/// The server fires `often` since 13:05.
fn servers(change: impl FnOnce(&mut Policies)) -> Play {
    let mut play = ours(vec![often(change)], "13:02");
    play.give("13:05").given("13:05:01", "13:05");
    play.expect("often is being handed over\n> go\noften is the server's since 13:05:00\n> go");
    play
}

fn owned(owner: Owner, since: &str) -> Ownership {
    Ownership { owner, since: at(since), copy: (owner != Owner::Local).then(copy) }
}

fn remembered(owner: Owner, since: &str, through: &str) -> Memory {
    let often = ScheduleMemory { ownership: owned(owner, since), ..known("often", "*/15 * * * *", through) };
    Memory { schedules: vec![often], ..Memory::default() }
}

fn pending(key: &str) -> OpenOccurrence {
    OpenOccurrence { trigger: Trigger::Server, ..open(key, Status::Pending, 0, None, None) }
}

#[test]
fn the_server_starts_it_and_it_is_followed() {
    let mut play = servers(|_| {});
    play.wake("13:15").expect("often@13:15 server pending");
    play.wake("13:15:03").expect("> look at wpid_1");
    play.saw("13:15:04", vec![]).expect("");
    play.wake("13:15:14").expect("> look at wpid_1");
    play.saw("13:15:15", vec![ran("wr_1", "13:15:08")]).expect("often@13:15 running\n> follow often@13:15 wr_1");
    assert_eq!(play.engine.next_wake(), Some(at("13:30")), "nothing is looked for any more");
    play.reported("13:16", "often@13:15", "wr_1", "completed").expect("often@13:15 completed");
    // What somebody else's schedule or an earlier occurrence started is not it.
    play.wake("13:30").wake("13:30:03").transcript.clear();
    let other = ServerRun { copy: Some(ServerScheduleId::new("wfs_2").unwrap()), ..ran("wr_2", "13:30:02") };
    play.saw("13:30:04", vec![other, ran("wr_1", "13:15:08"), ran("wr_0", "13:29:59")]).expect("");
}

#[test]
fn handing_over_waits_for_a_window() {
    let check = |now: &str, expected: &str| {
        let mut play = ours(vec![often(|_| {})], "13:01");
        play.wake("13:15").started("13:15:01", "often@13:15", "wr_1").transcript.clear();
        play.give(now).brings(expected);
    };
    check("13:15:30", "> not now until 13:16:00: it was due at 2026-11-02T13:15:00Z");
    check("13:16:00", "often is being handed over\n> go");
    check("13:29:20", "often is being handed over\n> go");
    check("13:29:40", "> not now until 13:31:00: it is due at 2026-11-02T13:30:00Z");
    let mut local = ours(vec![schedule("often", "*/15 * * * *", |_| {})], "13:01");
    local.give("13:05").brings("> no: the file does not say that the server fires often");
    let mut paused = ours(vec![often(|_| {})], "13:01");
    let pause = Pause { since: at("13:02"), until: Some(at("13:20")), note: None };
    paused.event(
        "13:02",
        Event::Pause { request: RequestId(1), schedule: ScheduleId::new("often").unwrap(), pause: Some(pause) },
    );
    paused.transcript.clear();
    paused.give("13:05").brings("> not now until 13:20:00: often is paused");
}

#[test]
fn while_it_is_not_known_whether_it_was_handed_over_what_is_due_is_held() {
    let begin = || {
        let mut play = ours(vec![often(|_| {})], "13:01");
        play.give("13:14:20").transcript.clear();
        play.wake("13:15").brings("");
        play
    };
    // It was not: started here, a little late.
    begin().not_given("13:15:20").brings(
        "often is ours
         often@13:15 schedule pending
         often@13:15 attempt 1
         > go
         > launch often@13:15",
    );
    // It was, before: the server's. It was, only after it was due: ours.
    begin().given("13:15:20", "13:14:21").brings(
        "often is the server's since 13:14:21
         often@13:15 server pending
         > go",
    );
    begin().given("13:15:20", "13:15:10").brings(
        "often is the server's since 13:15:10
         often@13:15 schedule pending
         often@13:15 attempt 1
         > go
         > launch often@13:15",
    );
}

#[test]
fn an_answer_that_comes_of_another_clock_or_another_hand_is_not_believed() {
    let check = |modified_at: &str, expected: &str| {
        let mut play = ours(vec![often(|_| {})], "13:01");
        play.give("13:05").transcript.clear();
        play.given("13:05:01", modified_at);
        assert!(play.transcript[0..2] == ["often is being taken back", "> mirror"], "{:?}", play.transcript);
        assert!(play.transcript[2].contains(expected), "{:?}", play.transcript);
    };
    check("13:03:59", "the server's clock is 1 min 1 s behind this one");
    check("13:20", "was changed since by somebody else");
}

#[test]
fn taking_back_where_nothing_is_near_is_done_at_once() {
    let mut play = servers(|_| {});
    play.step("13:10", "often", HandoverStep::Take).brings("often is being taken back\n> mirror\n> go");
    play.step("13:10:01", "often", HandoverStep::Taken).brings("often is ours\n> mirror\n> go");
    play.wake("13:15").brings("often@13:15 schedule pending\noften@13:15 attempt 1\n> launch often@13:15");
}

#[test]
fn taking_back_waits_for_what_the_server_is_about_to_start() {
    let mut play = servers(|_| {});
    play.step("13:13:40", "often", HandoverStep::Take)
        .brings("> not now until 13:15:30: it is due at 2026-11-02T13:15:00Z");
    play.wake("13:15").transcript.clear();
    play.step("13:16", "often", HandoverStep::Take)
        .brings("> not now until 13:20:00: the server is about to start an occurrence");
    play.step("13:16", "often", HandoverStep::Touch)
        .brings("> not now until 13:20:00: the server has not started what was due, and would forget it");
}

/// Paused (or changed, or to be started here) while the server has not started what was due: it is looked for once the copy is
/// surely disabled.
#[test]
fn taking_back_around_an_occurrence_that_is_just_due() {
    let begin = |change: fn(&mut Policies)| {
        let mut play = servers(change);
        play.wake("13:15").transcript.clear();
        let gone = Schedule { timetable: timetable("*/10 * * * *"), ..often(change) };
        play.event("13:15:20", Event::Reload { schedules: vec![Arc::new(gone)] });
        play.brings("often defined\noften is being taken back\n> mirror");
        play.step("13:15:30", "often", HandoverStep::Taken).brings("> go");
        play
    };
    let ours = "often is ours
         often@13:15 pending (handed_over)
         often@13:15 attempt 1
         > mirror
         > launch often@13:15";
    begin(|_| {}).watch_until("13:16:40", &[]).brings(ours);
    begin(|_| {}).watch_until("13:16:40", &[ran("wr_1", "13:15:32")]).brings(
        "often@13:15 running
         > follow often@13:15 wr_1
         often is ours
         > mirror",
    );
    // It is not too late for `none`: that is about what nobody was there for.
    begin(|policies| policies.catch_up = CatchUp::None).watch_until("13:16:40", &[]).brings(ours);
}

#[test]
fn a_pause_takes_back_and_starts_nothing() {
    let mut play = servers(|_| {});
    play.wake("13:15").wake("13:15:03").saw("13:15:04", vec![ran("wr_1", "13:15:02")]).transcript.clear();
    let pause = Some(Pause { since: at("13:29:58"), until: None, note: None });
    let often = ScheduleId::new("often").unwrap();
    play.event("13:29:58", Event::Pause { request: RequestId(1), schedule: often.clone(), pause });
    play.brings("often paused\noften is being taken back\n> mirror\n> answer done");
    play.wake("13:30").brings("often@13:30 server pending");
    play.step("13:30:05", "often", HandoverStep::Taken).brings("> go");
    play.watch_until("13:32", &[]).brings("often is ours\noften@13:30 skipped (paused)\n> mirror");
    play.wake("13:45").brings("often@13:45 schedule skipped (paused)");
    play.event("13:50", Event::Pause { request: RequestId(2), schedule: often, pause: None });
    play.brings("often resumed\n> mirror\n> answer done");
}

#[test]
fn what_the_server_does_not_start_is_missed_and_what_it_starts_after_all_is_recorded() {
    let mut play = servers(|_| {});
    play.wake("13:15").transcript.clear();
    play.watch_until("13:19:59", &[]).brings("");
    play.watch_until("13:21", &[]).brings("often@13:15 missed (not_fired)");
    play.watch_until("13:29", &[ran("wr_1", "13:24")]).brings("often@13:15 running (late)\n> follow often@13:15 wr_1");
    play.reported("13:29:30", "often@13:15", "wr_1", "completed").brings("often@13:15 completed (late)");
    // The next one takes its place: the server makes up the newest only.
    play.watch_until("13:36", &[]).brings("often@13:30 server pending\noften@13:30 missed (not_fired)");
    play.watch_until("13:46", &[ran("wr_2", "13:45:30")]).brings(
        "often@13:45 server pending
         often@13:45 running
         > follow often@13:45 wr_2",
    );
}

#[test]
fn failover_disables_the_copy_first_and_looks_once_more() {
    let failover = |policies: &mut Policies| policies.failover = Failover::Local;
    let begin = || {
        let mut play = servers(failover);
        play.wake("13:15").transcript.clear();
        play.watch_until("13:21", &[]).brings("often is being taken back\n> mirror");
        play.step("13:21:10", "often", HandoverStep::Take).brings("> go");
        play.step("13:21:11", "often", HandoverStep::Taken).brings("> go");
        play
    };
    let mut play = begin();
    play.watch_until("13:23", &[]).brings(
        "often is ours
         often@13:15 pending (failover)
         often@13:15 attempt 1
         > mirror
         > launch often@13:15",
    );
    play.started("13:23:01", "often@13:15", "wr_1").brings("often@13:15 running (failover)\n> follow often@13:15 wr_1");
    // And the server has it again, but not that occurrence.
    play.give("13:23:10").given("13:23:11", "13:23:10").transcript.clear();
    play.reported("13:24", "often@13:15", "wr_1", "completed").brings("often@13:15 completed (failover)");
    play.wake("13:30").brings("often@13:30 server pending");
    // The server had begun to start it when the copy was disabled.
    begin().watch_until("13:23", &[ran("wr_1", "13:21:11")]).brings(
        "often@13:15 running (late)
         > follow often@13:15 wr_1
         often is ours
         > mirror",
    );
}

#[test]
fn a_server_that_cannot_be_looked_at_decides_nothing() {
    let mut play = servers(|policies| policies.failover = Failover::Local);
    play.wake("13:15").wake("13:15:03").transcript.clear();
    play.could_not_see("13:22").brings("");
    play.wake("13:22:43").expect("> look at wpid_1");
    play.saw("13:22:44", vec![ran("wr_1", "13:15:30")]).brings("often@13:15 running\n> follow often@13:15 wr_1");
}

#[test]
fn two_occurrences_never_claim_one_run() {
    let both = || {
        let mut play = servers(|policies| policies.server_grace = Duration::from_secs(3600));
        play.wake("13:15").wake("13:30").wake("13:30:03").transcript.clear();
        play
    };
    let later = "often@13:30 running\n> follow often@13:30 wr_1";
    both().saw("13:31", vec![ran("wr_1", "13:30:20")]).brings(later);
    both().saw("13:31", vec![ran("wr_1", "13:29:59")]).brings("often@13:15 running\n> follow often@13:15 wr_1");
    // The id says whose it is, also of one that the server read as due half an hour earlier.
    both()
        .saw("13:31", vec![ran_for("wr_1", "often", "13:15", "13:30:20")])
        .brings("often@13:15 running\n> follow often@13:15 wr_1");
    both().saw("13:31", vec![ran_for("wr_1", "often", "13:30", "13:01")]).brings(later);
    // Seen again, after it is over.
    let mut play = both();
    play.saw("13:31", vec![ran("wr_1", "13:30:20")])
        .reported("13:32", "often@13:30", "wr_1", "completed")
        .transcript
        .clear();
    play.watch_until("13:40", &[ran("wr_1", "13:30:20")]).brings("");
}

#[test]
fn one_look_serves_all_schedules_of_a_workflow() {
    let schedules =
        (0..50).map(|n| Schedule { id: ScheduleId::new(&format!("s{n}")).unwrap(), ..often(|_| {}) }).collect();
    let mut play = ours(schedules, "13:02");
    for n in 0..50 {
        let id = format!("s{n}");
        let copy = ServerCopy { id: ServerScheduleId::new(&format!("wfs_{n}")).unwrap(), ..copy() };
        play.step("13:05", &id, HandoverStep::Give { copy });
        play.step("13:05", &id, HandoverStep::Given { modified_at: at("13:05") });
    }
    play.wake("13:15").transcript.clear();
    play.wake("13:15:03").expect("> look at wpid_1");
    let runs = (0..50).map(|n| ServerRun {
        copy: Some(ServerScheduleId::new(&format!("wfs_{n}")).unwrap()),
        ..ran(&format!("wr_{n}"), "13:15:01")
    });
    play.saw("13:15:04", runs.collect());
    assert_eq!(play.transcript.iter().filter(|line| line.starts_with("> follow")).count(), 50);
    assert_eq!(play.engine.next_wake(), Some(at("13:30")));
}

#[test]
fn after_a_long_time_away_what_the_server_did_is_found() {
    let memory = remembered(Owner::Server, "10:05", "11:00");
    let mut play = Play::with(|_| {}, vec![often(|_| {})], memory, "12:07");
    play.brings(
        "often@11:15 server pending
         often@11:30 server pending
         often@11:45 server pending
         often@12:00 server pending",
    );
    let runs = [ran("wr_1", "11:15:40"), ran("wr_2", "11:46"), ran("wr_3", "12:00:10")];
    play.watch_until("12:08", &runs).brings(
        "often@11:15 running
         often@11:45 running
         often@12:00 running
         often@11:30 missed (not_fired)
         > follow often@11:15 wr_1
         > follow often@11:45 wr_2
         > follow often@12:00 wr_3",
    );
    // Only so many are looked for.
    let memory = remembered(Owner::Server, "10:05", "11:00");
    let mut play = Play::with(|_| {}, vec![often(|_| {})], memory, "+10 12:07");
    assert_eq!(play.transcript.len(), 501);
    assert_eq!(play.transcript[0], "often@11:15 schedule unknown (limit) x464 to 07T07:00");
    play.transcript.clear();
}

#[test]
fn a_crash_between_any_two_steps_is_taken_up() {
    let boot =
        |memory: Memory, change: fn(&mut Policies), now: &str| Play::with(|_| {}, vec![often(change)], memory, now);
    // The intent to hand over is there; whether the request left is not known.
    let mut play = boot(remembered(Owner::HandingOver, "13:14:20", "13:00"), |_| {}, "13:17");
    play.brings("> mirror");
    assert_eq!(play.engine.unsettled().len(), 1);
    play.given("13:17:01", "13:14:21").brings("often is the server's since 13:14:20\noften@13:15 server pending\n> go");
    // What was due before the intent, and was not started before the crash, is ours.
    let mut play = boot(remembered(Owner::HandingOver, "13:14:20", "12:45"), |_| {}, "13:17");
    play.brings("often@13:00 catch_up pending\noften@13:00 attempt 1\n> mirror\n> launch often@13:00");
    play.not_given("13:17:01").brings("often is ours\noften@13:15 catch_up skipped (overlap)\n> go");
    // The intent to take back; rows of the server's are there, one of them decided in the same turn.
    let memory = Memory { open: vec![pending("often@13:15")], ..remembered(Owner::TakingBack, "13:05", "13:15") };
    let mut play = boot(memory, |_| {}, "13:20");
    play.brings("> mirror");
    play.step("13:20:05", "often", HandoverStep::Take)
        .step("13:20:06", "often", HandoverStep::Taken)
        .brings("> go\n> go");
    play.watch_until("13:22", &[]).brings(
        "often is ours
         often@13:15 pending (failover)
         often@13:15 attempt 1
         > mirror
         > launch often@13:15"
            .replace("failover", "handed_over")
            .as_str(),
    );
    // It is ours again and was decided to be started; then the crash.
    let memory = Memory { open: vec![pending("often@13:15")], ..remembered(Owner::Local, "13:20", "13:15") };
    boot(memory, |_| {}, "13:20:30").brings("often@13:15 attempt 1\n> launch often@13:15");
    // Handed over again since: still ours.
    let memory = Memory { open: vec![pending("often@13:15")], ..remembered(Owner::Server, "13:20", "13:15") };
    boot(memory, |_| {}, "13:20:30").brings("often@13:15 attempt 1\n> launch often@13:15");
    // The request had left: looked for as any.
    let began = OpenOccurrence { trigger: Trigger::Server, ..open("often@13:15", Status::Launching, 1, None, None) };
    let memory = Memory { open: vec![began], ..remembered(Owner::Local, "13:20", "13:15") };
    boot(memory, |_| {}, "13:20:30")
        .brings("often@13:15 unanswered\noften@13:15 launching (no_answer)\n> settle often@13:15");
    // What was missed may still be started.
    let mut memory = remembered(Owner::Server, "13:05", "13:15");
    memory.schedules[0].late = Some(at("13:15"));
    let mut play = boot(memory, |_| {}, "13:22");
    play.watch_until("13:23", &[ran("wr_1", "13:22")]).brings("often@13:15 running (late)\n> follow often@13:15 wr_1");
}

#[test]
fn changes_of_the_file_take_back_first() {
    let reload = |play: &mut Play, schedules: Vec<Schedule>| {
        play.event("13:10", Event::Reload { schedules: schedules.into_iter().map(Arc::new).collect() });
    };
    let mut play = servers(|_| {});
    reload(&mut play, vec![Schedule { workflow_id: WorkflowId::new("wpid_2").unwrap(), ..often(|_| {}) }]);
    play.brings("often defined\noften is being taken back\n> mirror");
    // Other parameters: the mirror rewrites the copy when it may.
    let mut play = servers(|_| {});
    let parameters = serde_json::json!({"a": 1}).as_object().cloned().unwrap();
    reload(&mut play, vec![Schedule { parameters, ..often(|_| {}) }]);
    play.brings("");
    play.step("13:10:01", "often", HandoverStep::Touch).brings("> go");
    // Gone, back before it was disabled at the server, and gone for good.
    let mut play = servers(|_| {});
    reload(&mut play, vec![]);
    play.brings("often gone\noften is being taken back\n> mirror");
    play.event("13:11", Event::Reload { schedules: vec![Arc::new(often(|_| {}))] });
    play.brings("often defined");
    play.wake("13:15").brings("often@13:15 server pending");
    play.event("13:16", Event::Reload { schedules: vec![] });
    play.brings("often gone\noften is being taken back\n> mirror");
    play.step("13:16:05", "often", HandoverStep::Taken).brings("> go");
    play.watch_until("13:18", &[]).brings("often@13:15 skipped (superseded)\noften is ours");
    assert_eq!(play.engine.unsettled(), vec![]);
}

#[test]
fn a_clock_that_was_ahead_starts_nothing_twice() {
    // By a clock that was an hour ahead, 13:15 was started here. It is set back, and the server may not have it before that.
    let mut play = ours(vec![often(|_| {})], "13:14");
    play.wake("13:15").started("13:15:01", "often@13:15", "wr_1").transcript.clear();
    let ahead = Ahead {
        schedule: ScheduleId::new("often").unwrap(),
        accounted_through: at("13:15"),
        reopen_after: Some(at("12:20")),
        redefine: None,
        tried: vec![at("13:15")],
    };
    let by = -chrono::TimeDelta::minutes(55);
    play.event("12:20", Event::ClockStepped { by, ahead: vec![ahead] }).transcript.clear();
    play.give("12:22").brings("> not now until 13:16:00: 2026-11-02T13:15:00Z was started already");
}

#[test]
fn without_a_daemon_the_ledger_is_the_same() {
    let alone = |memory: Memory| {
        Play::with(|options| (options.fires, options.mirrors) = (false, true), vec![often(|_| {})], memory, "13:05")
    };
    let mut play = alone(remembered(Owner::Local, "10:00", "12:00"));
    play.give("13:05")
        .given("13:05:01", "13:05")
        .brings("often is being handed over\n> go\noften is the server's since 13:05:00\n> go");
    // The next daemon catches up with what was ours, and looks for what was the server's.
    let mut play = alone(remembered(Owner::Server, "10:05", "12:00"));
    play.step("13:05", "often", HandoverStep::Take).step("13:05:01", "often", HandoverStep::Taken);
    play.brings("often is being taken back\n> mirror\n> go\n> go");
    let mut play = Play::with(|_| {}, vec![often(|_| {})], remembered(Owner::Server, "12:40", "12:15"), "12:50");
    play.brings(
        "often@12:30 catch_up pending
         often@12:45 server pending
         often@12:30 attempt 1
         > launch often@12:30",
    );
}

#[test]
fn a_new_schedule_is_held_until_it_is_known_whether_the_server_fires_it_already() {
    let begin = || {
        let mut play = Play::with(|_| {}, vec![often(|_| {})], Memory::default(), "13:14:50");
        play.brings("often defined\noften is being handed over\n> mirror");
        play.wake("13:15").brings("");
        play
    };
    begin().not_given("13:15:10").brings(
        "often is ours
         often@13:15 schedule pending
         often@13:15 attempt 1
         > go
         > launch often@13:15",
    );
    begin().step("13:15:10", "often", HandoverStep::Found { copy: copy() }).brings(
        "often is the server's since 13:14:50
         often@13:15 server pending
         > go",
    );
    // Paused before that is known.
    let mut play = begin();
    let pause = Some(Pause { since: at("13:15:05"), until: None, note: None });
    let often = ScheduleId::new("often").unwrap();
    play.event("13:15:05", Event::Pause { request: RequestId(1), schedule: often, pause });
    play.brings("often paused\noften is being taken back\n> mirror\n> answer done");
    play.step("13:15:10", "often", HandoverStep::Taken).brings(
        "often is ours
         often@13:15 schedule missed (late)
         > mirror
         > go",
    );
}

#[test]
fn asked_again_the_first_request_counts() {
    // Nothing was heard of the first request, which enabled the copy; the second one moves the server's word past 13:15.
    let mut play = ours(vec![often(|_| {})], "13:01");
    play.give("13:14:20").wake("13:15").give("13:15:05").given("13:15:06", "13:15:06").brings(
        "often is being handed over
         > go
         > go
         often is the server's since 13:14:20
         often@13:15 server pending
         > go",
    );
}
