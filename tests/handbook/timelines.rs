//! The handbook's timelines: the engine plays each scenario, and what it decided is drawn. So a picture cannot be wrong, and a
//! picture that is not current fails the test.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    config::{Config, Environment},
    engine::{
        Action, Change, Engine, Event, Options, RunReport, RunStatus, Status, Turn,
        change::{Memory, Ownership, ScheduleMemory},
        event::LaunchReply,
    },
    ids::{Instance, OccurrenceKey, RunId},
    schedule::Schedule,
};

use crate::is_current;

/// Midnight of the day on which everything happens.
const DAY: &str = "2026-11-02T00:00:00Z";

/// An instant of that day.
fn at(hours: f64) -> DateTime<Utc> {
    #[expect(clippy::cast_possible_truncation, reason = "some hours, in seconds")]
    let seconds = (hours * 3600.0).round() as i64;
    DAY.parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
}

/// One line of a picture: a schedule, and what the world does to it.
struct Scenario {
    label: &'static str,
    expression: &'static str,
    /// As the file has them.
    policies: String,
    /// How long each run takes, in hours, and how it ends; the last goes on for all further ones.
    runs: &'static [(f64, RunStatus)],
    /// When the machine is off.
    off: Option<(f64, f64)>,
}

/// What became of one occurrence.
struct Mark {
    due: DateTime<Utc>,
    status: Status,
    /// From when to when, and how it ended.
    run: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

fn schedule(scenario: &Scenario) -> Arc<Schedule> {
    let Scenario { expression, policies, .. } = scenario;
    let file =
        format!("[[schedule]]\nid = \"s\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"{expression}\"\n{policies}");
    let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
    Config::parse("schedules.toml".as_ref(), &file, &environment).unwrap().schedules.remove(0)
}

/// A process: an engine, and what is to happen to it.
struct Play<'s> {
    scenario: &'s Scenario,
    engine: Engine,
    events: BTreeMap<(DateTime<Utc>, usize), Event>,
    sequence: usize,
    started: usize,
    marks: BTreeMap<(DateTime<Utc>, String), Mark>,
    runs: HashMap<OccurrenceKey, usize>,
    accounted_through: DateTime<Utc>,
}

impl<'s> Play<'s> {
    fn new(scenario: &'s Scenario) -> Self {
        Self {
            scenario,
            engine: Self::engine(),
            events: BTreeMap::new(),
            sequence: 0,
            started: 0,
            marks: BTreeMap::new(),
            runs: HashMap::new(),
            accounted_through: at(0.0),
        }
    }

    fn engine() -> Engine {
        Engine::new(Options {
            instance: Instance::new("main").unwrap(),
            launches_in_flight_max: 64,
            launches_per_second_max: None,
            fires: true,
            mirrors: false,
        })
    }

    fn boot(&mut self, now: DateTime<Utc>, memory: Memory) {
        let schedules = vec![schedule(self.scenario)];
        let event = Event::Boot { schedules, memory, former: BTreeMap::new(), ahead: vec![] };
        self.handle(now, event);
    }

    fn until(&mut self, end: DateTime<Utc>) {
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let Some(now) = [event, self.engine.next_wake()].into_iter().flatten().min().filter(|now| *now < end)
            else {
                return;
            };
            let due = self.events.first_entry().filter(|entry| entry.key().0 == now);
            let event = due.map_or(Event::Wake, std::collections::btree_map::OccupiedEntry::remove);
            self.handle(now, event);
        }
    }

    fn later(&mut self, at: DateTime<Utc>, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn handle(&mut self, now: DateTime<Utc>, event: Event) {
        let mut turn = Turn::default();
        self.engine.handle(now, event, &mut turn);
        for change in turn.changes {
            match change {
                Change::Occurred(new) => {
                    let name = (new.key.scheduled_for, new.key.suffix.clone());
                    // A row that stands for a stretch is drawn once for each of it.
                    let through = new.through.unwrap_or(new.key.scheduled_for);
                    let timetable = schedule(self.scenario).timetable.clone();
                    let mut due = Some(new.key.scheduled_for);
                    while let Some(instant) = due.filter(|instant| *instant <= through) {
                        let mark = Mark { due: instant, status: new.status, run: None };
                        self.marks.insert((instant, name.1.clone()), mark);
                        due = timetable.next_after(instant);
                    }
                }
                Change::StatusChanged { key, status, .. } => self.mark(&key).status = status,
                Change::AccountedThrough { through, .. } => self.accounted_through = through,
                _ => {}
            }
        }
        for action in turn.actions {
            match action {
                Action::Launch(launch) => {
                    let which = self.started.min(self.scenario.runs.len() - 1);
                    let (hours, end) = &self.scenario.runs[which];
                    self.started += 1;
                    self.runs.insert(launch.key.clone(), self.started);
                    let over = now + (at(*hours) - at(0.0));
                    self.mark(&launch.key).run = Some((now, over));
                    let reply = LaunchReply::Started(report(self.started, RunStatus::Running));
                    self.later(
                        over,
                        Event::RunReported { key: launch.key.clone(), report: report(self.started, end.clone()) },
                    );
                    self.handle(now, Event::LaunchEnded { key: launch.key, attempt: launch.attempt, reply });
                }
                Action::Cancel { key, .. } => {
                    let run = self.runs[&key];
                    if let Some((_, over)) = &mut self.mark(&key).run {
                        *over = now;
                    }
                    self.handle(now, Event::RunReported { key, report: report(run, RunStatus::Canceled) });
                }
                _ => {}
            }
        }
    }

    fn mark(&mut self, key: &OccurrenceKey) -> &mut Mark {
        self.marks.get_mut(&(key.scheduled_for, key.suffix.clone())).unwrap()
    }
}

fn report(number: usize, status: RunStatus) -> Box<RunReport> {
    Box::new(RunReport::bare(RunId::new(&format!("wr_{number}")).unwrap(), status))
}

/// Plays a scenario from one hour of the day to another.
fn play(scenario: &Scenario, from: f64, to: f64) -> Vec<Mark> {
    let mut play = Play::new(scenario);
    play.boot(at(from), Memory::default());
    if let Some((off, on)) = scenario.off {
        play.until(at(off));
        assert!(play.events.is_empty(), "a run goes on over the stop");
        let schedule = schedule(scenario);
        let memory = ScheduleMemory {
            id: schedule.id.clone(),
            definition: schedule.timetable.definition(true),
            workflow_id: schedule.workflow_id.clone(),
            accounted_through: play.accounted_through,
            pause: None,
            ownership: Ownership::default(),
            late: None,
        };
        play.engine = Play::engine();
        play.boot(at(on), Memory { schedules: vec![memory], ..Memory::default() });
    }
    play.until(at(to));
    play.marks.into_values().collect()
}

// --- the drawing -----------------------------------------------------------------------------------------------------

const LABEL_WIDTH: f64 = 150.0;
const HOUR_WIDTH: f64 = 96.0;
const ROW_HEIGHT: f64 = 74.0;
const TOP: f64 = 34.0;

fn colour(status: Status) -> &'static str {
    match status {
        Status::Completed => "#2a8a4a",
        Status::Running | Status::Launching | Status::Pending => "#3a6fb0",
        Status::Skipped | Status::Canceled => "#8a8a8a",
        _ => "#c0392b",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a day has few seconds")]
fn x(instant: DateTime<Utc>, from: f64) -> f64 {
    LABEL_WIDTH + (instant - at(from)).num_seconds() as f64 / 3600.0 * HOUR_WIDTH
}

#[expect(clippy::cast_precision_loss, reason = "a picture has few rows")]
fn draw(title: &str, scenarios: &[Scenario], from: f64, to: f64) -> String {
    let width = LABEL_WIDTH + (to - from) * HOUR_WIDTH + 30.0;
    let height = TOP + scenarios.len() as f64 * ROW_HEIGHT + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" \
         role=\"img\" aria-label=\"{title}\">\n\
         <!-- Played by the engine and drawn by tests/handbook; do not edit. -->\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let mut hour = from.ceil();
    while hour <= to {
        let x = x(at(hour), from);
        writeln!(svg, "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{}\" stroke=\"#e4e4e4\"/>", height - 34.0)
            .unwrap();
        writeln!(svg, "<text x=\"{x}\" y=\"22\" text-anchor=\"middle\" fill=\"#555\">{hour:02}:00</text>").unwrap();
        hour += 1.0;
    }
    for (index, scenario) in scenarios.iter().enumerate() {
        draw_row(&mut svg, scenario, TOP + index as f64 * ROW_HEIGHT, from, to);
    }
    let legend = "\u{25b2} due \u{b7} \u{25ac} run \u{b7} \u{2504} waits for its start \u{b7} grey: the machine is off";
    writeln!(svg, "<text x=\"{LABEL_WIDTH}\" y=\"{}\" fill=\"#555\">{legend}</text>\n</svg>", height - 10.0).unwrap();
    svg
}

fn draw_row(svg: &mut String, scenario: &Scenario, top: f64, from: f64, to: f64) {
    let base = top + 44.0;
    let right = x(at(to), from);
    if let Some((off, on)) = scenario.off {
        let (left, width) = (x(at(off), from), (on - off) * HOUR_WIDTH);
        writeln!(svg, "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{ROW_HEIGHT}\" fill=\"#ececec\"/>")
            .unwrap();
    }
    writeln!(svg, "<text x=\"8\" y=\"{base}\" fill=\"#222\">{}</text>", scenario.label).unwrap();
    writeln!(svg, "<line x1=\"{LABEL_WIDTH}\" y1=\"{base}\" x2=\"{right}\" y2=\"{base}\" stroke=\"#999\"/>").unwrap();
    // Runs that go on at one time lie above each other.
    let mut lanes: Vec<DateTime<Utc>> = vec![];
    for Mark { due, status, run } in play(scenario, from, to) {
        let (x_due, colour) = (x(due, from), colour(status));
        let points = format!("{x_due},{} {},{} {},{}", base + 2.0, x_due - 4.0, base + 10.0, x_due + 4.0, base + 10.0);
        writeln!(svg, "<polygon points=\"{points}\" fill=\"{colour}\"/>").unwrap();
        let word = y_text(base);
        writeln!(
            svg,
            "<text x=\"{x_due}\" y=\"{word}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{colour}\">{status}</text>"
        )
        .unwrap();
        let Some((start, over)) = run else { continue };
        let lane = lanes.iter().position(|free| *free <= start).unwrap_or(lanes.len());
        lanes.resize(lanes.len().max(lane + 1), over);
        lanes[lane] = over;
        #[expect(clippy::cast_precision_loss, reason = "few runs go on at one time")]
        let y = base - 13.0 - lane as f64 * 13.0;
        let (left, end) = (x(start, from), x(over, from).min(right));
        if start > due {
            writeln!(svg, "<line x1=\"{x_due}\" y1=\"{0}\" x2=\"{left}\" y2=\"{0}\" stroke=\"{colour}\" stroke-dasharray=\"2 2\"/>", y + 5.0)
                .unwrap();
        }
        writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"10\" rx=\"2\" fill=\"{colour}\"/>",
            end - left
        )
        .unwrap();
    }
}

fn y_text(base: f64) -> f64 {
    base + 22.0
}

// --- the pictures ----------------------------------------------------------------------------------------------------

/// Which statuses a picture shows, in the order of the due instants: the picture is about these.
fn shows(scenario: &Scenario, (from, to): (f64, f64), expected: &str) {
    let marks = play(scenario, from, to);
    let words: Vec<_> = marks.iter().map(|mark| mark.status.word()).collect();
    assert_eq!(words.join(" "), expected, "{}", scenario.label);
}

#[test]
fn overlap() {
    let row = |label| Scenario {
        label,
        expression: "0 * * * *",
        policies: format!("overlap = \"{label}\""),
        runs: &[(0.4, RunStatus::Completed), (2.3, RunStatus::Completed), (0.4, RunStatus::Completed)],
        off: None,
    };
    let rows = [row("skip"), row("buffer_one"), row("cancel_running"), row("allow")];
    let span = (8.5, 14.5);
    shows(&rows[0], span, "completed completed skipped skipped completed completed");
    shows(&rows[1], span, "completed completed completed skipped completed completed");
    shows(&rows[2], span, "completed canceled completed completed completed completed");
    shows(&rows[3], span, "completed completed completed completed completed completed");
    is_current("docs/src/images/overlap.svg", &draw("Overlap", &rows, span.0, span.1));
}

#[test]
fn catch_up() {
    let row = |label, catch_up, window| Scenario {
        label,
        expression: "0 * * * *",
        policies: format!(
            "catch_up = \"{catch_up}\"
catch_up_window = \"{window}\""
        ),
        runs: &[(0.3, RunStatus::Completed)],
        off: Some((9.6, 13.25)),
    };
    let rows = [
        row("latest", "latest", "24h"),
        row("all", "all", "24h"),
        row("all, window 3h", "all", "3h"),
        row("none", "none", "24h"),
    ];
    let span = (8.5, 15.5);
    shows(&rows[0], span, "completed missed missed missed completed completed completed");
    shows(&rows[1], span, "completed completed completed completed completed completed completed");
    shows(&rows[2], span, "completed missed completed completed completed completed completed");
    shows(&rows[3], span, "completed missed missed missed missed completed completed");
    is_current("docs/src/images/catch-up.svg", &draw("Catch-up", &rows, span.0, span.1));
}

#[test]
fn retry() {
    let row = |label, retry| Scenario {
        label,
        expression: "0 9 * * *",
        policies: format!("retry = {retry}"),
        runs: &[(0.4, RunStatus::Failed), (0.4, RunStatus::Failed), (0.4, RunStatus::Completed)],
        off: None,
    };
    let three = "{ max_attempts = 3, on = [\"failed\"], delay = \"30m\", max_delay = \"1h\" }";
    let rows = [row("none", "\"none\""), row("max_attempts = 3", three)];
    let span = (8.5, 13.5);
    shows(&rows[0], span, "failed");
    shows(&rows[1], span, "failed failed completed");
    is_current("docs/src/images/retry.svg", &draw("Retry", &rows, span.0, span.1));
}
