//! Reading the file again: when somebody asks for it, when it changed, and once a day for the sake of its zone rules.
//!
//! All or nothing: a file with an error changes nothing. What follows from a new set of schedules is the engine's business.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    alarm::{Target, Targets},
    config::{Config, Environment, Problem, Problems, Settings, Severity, ZoneSource},
    crash_point::crash_point,
    daemon::{event_loop::Input, notify, signals::Asks, standing::Standing},
    engine::Event,
    schedule::{Schedule, Timetable, template::Secrets},
    words::EACH,
};

/// How often the zone files are read afresh: an upgrade of tzdata needs no restart and no signal.
const ZONES_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The file that is in force, and what became of the latest try to read it again.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// Its schedules, in its order; the engine's own.
    pub schedules: Arc<[Arc<Schedule>]>,
    /// Whose zone rules its zones came from.
    pub zones: Arc<ZoneSource>,
    /// What is wrong with the file on the disk, if it is not the one that is in force.
    pub refused: Option<String>,
    /// Settings outside the schedules differ from those of the start, which are in force.
    pub settings_changed: bool,
}

/// Knows the file that is in force, and reads it again.
#[derive(Debug)]
pub(super) struct Reloader {
    path: PathBuf,
    environment: Environment,
    /// As of the start: they do not change until the next one.
    settings: Settings,
    text: Arc<str>,
    /// In the order of the file.
    timetables: Vec<Timetable>,
    release: String,
    /// What is wrong with the file on the disk, if it is not the one that is in force.
    refused: Option<String>,
    standing: watch::Sender<Standing>,
    /// For whoever shows it.
    in_force: watch::Sender<InForce>,
    alarms: Alarming,
}

/// Where alarms go, to be exchanged with the file.
#[derive(Debug)]
pub(super) struct Alarming {
    /// The channels with their addresses.
    pub targets: watch::Sender<Arc<Targets>>,
    /// What their templates may speak of.
    pub secrets: Secrets,
}

impl Reloader {
    /// For the file that was read at the start.
    pub(super) fn new(
        config: &Config,
        environment: &Environment,
        alarms: Alarming,
        standing: watch::Sender<Standing>,
    ) -> Self {
        let in_force = InForce {
            path: config.path.clone(),
            text: Arc::clone(&config.text),
            schedules: config.schedules.as_slice().into(),
            zones: Arc::clone(&config.zones),
            refused: None,
            settings_changed: false,
        };
        Self {
            in_force: watch::Sender::new(in_force),
            path: config.path.clone(),
            environment: environment.clone(),
            settings: config.settings.clone(),
            text: Arc::clone(&config.text),
            timetables: timetables(config),
            release: config.zones.release(),
            refused: None,
            alarms,
            standing,
        }
    }

    /// The file that is in force, now and later.
    pub(super) fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Does what is asked for, and reads the zone files afresh once a day, until nobody asks or listens any more.
    /// Whoever looks at `schedules` sees those of a file that was taken over, once the loop was told.
    pub(super) async fn serve(
        mut self,
        mut asked: mpsc::Receiver<Asks>,
        inputs: mpsc::Sender<Input>,
        schedules: watch::Sender<Vec<Arc<Schedule>>>,
    ) {
        let mut daily = tokio::time::interval(ZONES_INTERVAL);
        daily.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first one is at once, and the file was just read.
        daily.tick().await;
        loop {
            let answers = tokio::select! {
                asks = asked.recv() => match asks {
                    Some(Asks::Reload) => self.reload().await,
                    Some(Asks::State) => vec![Input::State { refused: self.refused.clone() }],
                    Some(Asks::Stop) => vec![Input::Stop],
                    None => return,
                },
                _ = daily.tick() => self.refresh().await.into_iter().map(event).collect(),
            };
            for input in answers {
                let taken_over = match &input {
                    Input::Event(event) => match &**event {
                        Event::Reload { schedules } => Some(schedules.clone()),
                        _ => None,
                    },
                    _ => None,
                };
                if inputs.send(input).await.is_err() {
                    return;
                }
                if let Some(taken_over) = taken_over {
                    schedules.send_replace(taken_over);
                }
            }
        }
    }

    /// Takes over the file as it is now, or refuses it. The loop tells systemd that it is done with what comes of it.
    async fn reload(&mut self) -> Vec<Input> {
        notify::reloading();
        let (path, environment, secrets) = (self.path.clone(), self.environment.clone(), self.alarms.secrets.clone());
        let loaded = apart(move || {
            let config = Config::load(&path, &environment)?;
            // A channel that cannot be found is a problem of the file like any other.
            let targets = Target::all(&config.settings.notify, &secrets, &environment)
                .map_err(|problem| Problems::of_file(&path, problem))?;
            Ok((config, targets))
        });
        match loaded.await {
            Ok((config, targets)) => {
                crash_point("in-reload");
                let channels = Arc::new(config.settings.notify.clone());
                self.settings.notify.clone_from(&config.settings.notify);
                self.alarms.targets.send_replace(Arc::new(targets));
                let settings_changed = config.settings != self.settings;
                if settings_changed {
                    tracing::warn!(
                        target: EACH,
                        "settings outside the schedules and [notify] changed in the file: they take effect at the next start"
                    );
                }
                self.set_refused(None);
                self.in_force.send_modify(|in_force| in_force.settings_changed = settings_changed);
                vec![Input::Channels(channels), event(self.take_over(config))]
            }
            Err(problems) => {
                let text = refused(&self.path, &problems);
                self.set_refused(Some(text.clone()));
                vec![event(Event::ReloadRefused { text })]
            }
        }
    }

    fn set_refused(&mut self, refused: Option<String>) {
        self.refused.clone_from(&refused);
        self.standing.send_modify(|standing| standing.refused.clone_from(&refused));
        self.in_force.send_modify(|in_force| in_force.refused = refused);
    }

    /// Reads the zone files afresh for the text that is in force: what somebody wrote into the file meanwhile is not taken
    /// over. Nothing follows where nothing is due at other times.
    async fn refresh(&mut self) -> Vec<Event> {
        let (path, text, environment) = (self.path.clone(), Arc::clone(&self.text), self.environment.clone());
        match apart(move || Config::parse(&path, &text, &environment)).await {
            Ok(config) if timetables(&config) == self.timetables => {
                self.tell_release(config.zones.release());
                Vec::new()
            }
            Ok(config) => {
                let taken = self.take_over(config);
                // The latest word on the file stays the latest.
                let refused = self.refused.clone().map(|text| Event::ReloadRefused { text });
                [taken].into_iter().chain(refused).collect()
            }
            Err(problems) => {
                let problem = problems.list.iter().find(|problem| problem.severity == Severity::Error);
                let (reason, hint) = problem.map(|problem| (problem.message.as_str(), problem.hint.as_deref())).unzip();
                tracing::error!(
                    reason,
                    hint = hint.flatten(),
                    "the zone rules cannot be read afresh: the old ones go on"
                );
                Vec::new()
            }
        }
    }

    fn take_over(&mut self, config: Config) -> Event {
        self.tell_release(config.zones.release());
        self.timetables = timetables(&config);
        self.text = config.text;
        let schedules = config.schedules;
        self.in_force.send_modify(|in_force| {
            in_force.text = Arc::clone(&self.text);
            in_force.schedules = schedules.as_slice().into();
            in_force.zones = config.zones;
            in_force.refused.clone_from(&self.refused);
        });
        Event::Reload { schedules }
    }

    fn tell_release(&mut self, release: String) {
        if release != self.release {
            tracing::info!(before = self.release, "zone rules: {release}");
            self.release = release;
        }
    }
}

fn event(event: Event) -> Input {
    Input::Event(Box::new(event))
}

fn timetables(config: &Config) -> Vec<Timetable> {
    config.schedules.iter().map(|schedule| schedule.timetable.clone()).collect()
}

/// Does what takes long on a thread of its own: a large file must not hold up what is due meanwhile.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn refused(path: &Path, problems: &Problems) -> String {
    let errors = || problems.list.iter().filter(|problem| problem.severity == Severity::Error);
    let line = |problem: &Problem| {
        let place =
            problem.place.as_ref().map_or_else(String::new, |place| format!("{}:{}: ", place.line, place.column));
        format!("{place}{}", problem.message)
    };
    for problem in errors() {
        tracing::error!(target: EACH, file = %path.display(), hint = problem.hint, "{}", line(problem));
    }
    let first = errors().next().map(line).unwrap_or_default();
    format!("{} is refused ({}), and the one before it goes on: {first}", path.display(), problems.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n\
                        timezone = \"America/Vancouver\"\n";
    const NEW_RULES: &[u8] = include_bytes!("../../tests/data/zoneinfo/America/Vancouver");
    const OTHER_RULES: &[u8] = include_bytes!("../../tests/data/zoneinfo/America/Toronto");

    /// A file and zone files, and what is done to them before the daily pass.
    struct Case {
        folder: tempfile::TempDir,
        reloader: Reloader,
    }

    impl Case {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("zones/America")).unwrap();
            let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
            write("zones/America/Vancouver", OTHER_RULES);
            write("zones/tzdata.zi", b"# version 2026e\n");
            write("schedules.toml", FILE.as_bytes());
            let environment = Environment::from_pairs([("TZDIR", folder.path().join("zones").to_str().unwrap())]);
            let config = Config::load(&folder.path().join("schedules.toml"), &environment).unwrap();
            let alarms = Alarming { targets: watch::Sender::default(), secrets: Secrets::new() };
            let reloader = Reloader::new(&config, &environment, alarms, watch::Sender::default());
            Self { folder, reloader }
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.folder.path().join(name), bytes).unwrap();
        }
    }

    /// What the daily pass hands to the engine, in words, after `before` was done.
    fn check(before: impl AsyncFnOnce(&mut Case), expected: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut case = Case::new();
            before(&mut case).await;
            let got: Vec<String> = case.reloader.refresh().await.iter().map(said).collect();
            assert_eq!(got, expected);
            assert!(case.reloader.refresh().await.is_empty(), "once is enough");
        });
    }

    /// What a reload hands to the engine, in words.
    async fn reloaded(case: &mut Case) -> String {
        let inputs = case.reloader.reload().await;
        let event = inputs.iter().find_map(|input| if let Input::Event(event) = input { Some(event) } else { None });
        said(event.unwrap())
    }

    fn said(event: &Event) -> String {
        let after = crate::clock::parse_rfc3339("2026-12-24T00:00:00Z").unwrap();
        match event {
            Event::Reload { schedules } => {
                let next = |schedule: &Arc<Schedule>| schedule.timetable.next_after(after).map(crate::clock::rfc3339);
                let due = schedules.iter().map(|schedule| format!("{} {:?}", schedule.id, next(schedule)));
                due.collect::<Vec<_>>().join(", ")
            }
            Event::ReloadRefused { .. } => "refused".to_owned(),
            other => panic!("{other:?}"),
        }
    }

    const MOVED: &str = r#"a Some("2026-12-24T16:00:00Z")"#;

    #[test]
    fn the_daily_pass_takes_over_zone_rules_and_nothing_else() {
        check(async |_| {}, &[]);
        check(async |case| case.write("zones/America/Vancouver", NEW_RULES), &[MOVED]);
        check(async |case| case.write("zones/tzdata.zi", b"# version 2026f\n"), &[]);
        let edited = FILE.replace("\"a\"", "\"b\"");
        check(async |case| case.write("schedules.toml", edited.as_bytes()), &[]);
        check(
            async |case| {
                case.write("schedules.toml", edited.as_bytes());
                case.write("zones/America/Vancouver", NEW_RULES);
            },
            &[MOVED],
        );
        check(async |case| case.write("zones/America/Vancouver", b"nonsense"), &[]);
    }

    #[test]
    fn a_refused_file_stays_the_latest_word() {
        let refuse = async |case: &mut Case| {
            case.write("schedules.toml", b"[[schedule]]\n");
            assert_eq!(reloaded(case).await, "refused");
            assert!(case.reloader.refused.as_deref().is_some_and(|text| text.contains("is refused")));
            case.write("zones/America/Vancouver", NEW_RULES);
        };
        check(refuse, &[MOVED, "refused"]);
        let mend = async |case: &mut Case| {
            refuse(case).await;
            case.write("schedules.toml", FILE.as_bytes());
            assert_eq!(reloaded(case).await, MOVED);
            assert_eq!(case.reloader.refused, None);
        };
        check(mend, &[]);
    }
}
