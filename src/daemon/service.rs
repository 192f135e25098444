//! The life of the daemon, written as it runs: lock, history, client, loop, and back in the opposite order. Also the short
//! life of a command that starts one run without a daemon.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    alarm::{Decider, Deliverer, Start, Targets},
    clock::{Clock, delta},
    config::{ApiSettings, Config, Environment, Settings},
    crash_point::crash_point,
    daemon::{
        control::{Answer, Control, Request},
        event_loop::{EventLoop, Input, LoopError, Until},
        file_watch::FileWatch,
        http::{Hooks, Http, Sources},
        metrics::Metrics,
        mirroring::{ApplyAsked, Mirroring, sort_requests},
        notify,
        reload::{Alarming, InForce, Reloader},
        signals::{Asks, SignalStream},
        standing,
        watchdog::Watchdog,
    },
    dispatch::{Dispatcher, Hints, Patience},
    engine::{
        Engine, Event, Options,
        change::{Ahead, Memory, Owner, ScheduleMemory},
    },
    history::{History, HistoryError, HistoryOptions, Retention, Store},
    ids::{OccurrenceKey, ScheduleId},
    schedule::{Schedule, Timetable, template::Secrets},
    secret::Secret,
    skyvern::{Client, ClientError, ClientOptions},
};

/// Events from dispatch that may wait for the loop; those who tell more wait.
const EVENTS_WAITING_MAX: usize = 4096;
/// Requests and signals that may wait for the loop.
const INPUTS_WAITING_MAX: usize = 64;
/// How long a stop waits for the answers to starts that are out, beyond the request's own time-out.
const STOP_GRACE_SECONDS: u64 = 5;
/// How often old rows are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// What a daemon is made of.
pub struct Setup {
    /// The checked file.
    pub config: Config,
    /// The environment that the file is read in, again at a reload.
    pub environment: Environment,
    /// The API key.
    pub api_key: Secret,
    /// What templates may speak of.
    pub secrets: Secrets,
    /// Where alarms go; empty for what runs without a daemon.
    pub targets: Arc<Targets>,
    /// Where the history and the control socket are.
    pub state_dir: PathBuf,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Why a daemon did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The history cannot be used; `Locked` among it.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The loop ended.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// The history could not be brought to an end in order.
    #[error("the history could not be closed")]
    Close(#[source] Arc<HistoryError>),
    /// Something that the system gives was not given.
    #[error("{doing} failed")]
    System {
        /// What.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The engine refused what was asked for.
    #[error("{0}")]
    Refused(String),
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { doing, source }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// It could not start (nothing was changed), or could not go on (what was under way is in the history as it is).
pub fn serve(setup: &Setup) -> Result<(), DaemonError> {
    block_on(async {
        // First of all: a reload that is asked for while this starts must not end it.
        let signals = SignalStream::listen().map_err(system("taking over the signals"))?;
        let mut parts = Parts::assemble(setup, true)?;
        let control = Control::listen(&setup.state_dir).map_err(system("listening on the control socket"))?;
        let (asked, requests) = mpsc::channel(INPUTS_WAITING_MAX);
        tokio::spawn(control.serve(asked));
        let (targets, current_targets) = watch::channel(Arc::clone(&setup.targets));
        let alarms = Alarming { targets, secrets: setup.secrets.clone() };
        let reloader = Reloader::new(&setup.config, &setup.environment, alarms, parts.event_loop.standing());
        let in_force = reloader.in_force();
        let boot = parts.boot(setup);
        let http = look_in(setup, &mut parts, in_force)?;
        let hooks = take_hooks(setup, &parts)?;
        let (current, schedules) = watch::channel(setup.config.schedules.clone());
        let file = keep_current(setup, reloader, parts.inputs.clone(), current)?;
        let (mirror, mirroring) = parts.mirror(setup, schedules).unzip();
        tokio::spawn(sort_requests(requests, mirror, parts.inputs.clone()));
        let delivering = tokio::spawn(deliverer(setup, &parts, current_targets).serve());
        tokio::spawn(heed(signals, parts.inputs.clone(), Some(file)));
        let history = Arc::clone(&parts.history);
        let pruning = tokio::spawn(keep_pruned(history, Arc::clone(&setup.clock), setup.config.settings.clone()));
        tokio::spawn(standing::tell(parts.event_loop.standing().subscribe(), parts.history.stalls()));
        tokio::spawn(tell_ready(parts.event_loop.ready(), parts.watchdog()));
        let result = parts.run(boot).await;
        drop((http, hooks));
        // They hold the history for as long as they live, and what is held is not closed.
        for task in [Some(pruning), Some(delivering), mirroring].into_iter().flatten() {
            task.abort();
            let _ = task.await;
        }
        parts.close(result).await
    })
}

/// Does what a person asked for, without a daemon, and returns once each occurrence that came of it is decided (it started,
/// or it did not), or (`wait`) over. What came of it is in the history.
///
/// # Errors
/// As [`serve`]; the lock is held by a daemon ([`HistoryError::Locked`]) among them.
pub fn do_alone(setup: &Setup, request: Request, wait: bool) -> Result<Vec<OccurrenceKey>, DaemonError> {
    block_on(async {
        let mut parts = Parts::assemble(setup, false)?;
        let signals = SignalStream::listen().map_err(system("taking over the signals"))?;
        tokio::spawn(heed(signals, parts.inputs.clone(), None));
        let boot = parts.boot(setup);
        let mut done = Ok(Vec::new());
        let result = async {
            match parts.event_loop.boot_and_ask(boot, request).await? {
                Answer::State { .. } | Answer::Mirrored { .. } => {}
                Answer::Error { message } => done = Err(DaemonError::Refused(message)),
                Answer::Done { occurrences } => {
                    let keys: Vec<OccurrenceKey> = occurrences.iter().filter_map(|key| key.parse().ok()).collect();
                    done = Ok(keys.clone());
                    let until = if wait { Until::Ended(keys) } else { Until::Launched(keys) };
                    parts.event_loop.go_on(&until).await?;
                }
            }
            Ok(())
        }
        .await;
        parts.close(result).await?;
        done
    })
}

fn block_on<T>(future: impl Future<Output = Result<T, DaemonError>>) -> Result<T, DaemonError> {
    // One thread: the loop owns everything, SQLite and the signals have threads of their own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("starting the runtime"))?;
    runtime.block_on(future)
}

/// Everything that a loop needs, put together in order; the lock first, so that a second daemon changes nothing.
pub(super) struct Parts {
    event_loop: EventLoop,
    /// Rung when alarms were written.
    bell: Arc<Notify>,
    /// Webhooks from Skyvern, where they are asked for.
    hints: Option<Arc<Hints>>,
    history: Arc<History>,
    inputs: mpsc::Sender<Input>,
    client: Client,
    memory: Memory,
    ahead: Vec<Ahead>,
}

impl Parts {
    pub(super) fn assemble(setup: &Setup, fires: bool) -> Result<Self, DaemonError> {
        let settings = &setup.config.settings;
        let client = Client::new(&client_options(&settings.api, setup.api_key.clone()))?;
        let options = HistoryOptions {
            body_bytes_max: usize::try_from(settings.history.body_bytes_max).unwrap_or(usize::MAX),
            ..HistoryOptions::default()
        };
        let store = Store::open(&setup.state_dir, &options)?;
        crash_point("before-memory");
        let memory = store.memory()?;
        crash_point("after-memory");
        let ahead = if fires { store.ahead(setup.clock.now())? } else { Vec::new() };
        let start = Start {
            memories: if fires { store.alarm_memories()? } else { BTreeMap::new() },
            schedules: &setup.config.schedules,
            known: &memory.schedules,
            open: &memory.open,
        };
        let channels = Arc::new(settings.notify.clone());
        let alarms = fires.then(|| Decider::new(setup.clock.now(), settings.instance.clone(), channels, start));
        let bell = Arc::new(Notify::new());
        let history = Arc::new(History::start(store, &options, Arc::clone(&setup.clock))?);
        let (told, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let (inputs, input) = mpsc::channel(INPUTS_WAITING_MAX);
        let patience = Patience {
            poll_interval: settings.api.poll_interval,
            poll_interval_max: settings.api.poll_interval_max,
            settle_grace: settings.api.settle_grace,
        };
        let dispatcher = Dispatcher::new(
            client.clone(),
            Arc::clone(&setup.clock),
            setup.state_dir.clone(),
            patience,
            setup.secrets.clone(),
            told,
        );
        let hints = match &settings.webhook {
            Some(webhook) if fires => {
                let hints = Hints::new(webhook.public_url.clone(), &setup.state_dir, &setup.api_key);
                Some(Arc::new(hints.map_err(system("making the key for webhooks"))?))
            }
            _ => None,
        };
        if let Some(hints) = &hints {
            dispatcher.ask_for_webhooks(Arc::clone(hints));
        }
        let engine = Engine::new(Options {
            instance: settings.instance.clone(),
            launches_in_flight_max: settings.api.launches_in_flight_max as usize,
            launches_per_second_max: Some(settings.api.requests_per_second_max).filter(|rate| *rate > 0),
            fires,
            mirrors: settings.mirror.enabled,
        });
        let stop_grace = settings.api.request_timeout + Duration::from_secs(STOP_GRACE_SECONDS);
        let event_loop = EventLoop::new(
            engine,
            Arc::clone(&history),
            dispatcher,
            Arc::clone(&setup.clock),
            events,
            input,
            stop_grace,
        )
        .map_err(system("making a timer"))?;
        let event_loop = match alarms {
            Some(alarms) => event_loop.with_alarms(alarms, Arc::clone(&bell)),
            None => event_loop,
        };
        Ok(Self { event_loop, bell, hints, history, inputs, client, memory, ahead })
    }

    /// The first event.
    pub(super) fn boot(&mut self, setup: &Setup) -> Event {
        let memory = std::mem::take(&mut self.memory);
        let elsewhere = |known: &&ScheduleMemory| known.ownership.owner != Owner::Local;
        if !setup.config.settings.mirror.enabled
            && let Some(known) = memory.schedules.iter().find(elsewhere)
        {
            tracing::warn!(schedule = %known.id, "the server fires it, or may do so, and [mirror] is not enabled: turn it on to take it back");
        }
        let ahead = std::mem::take(&mut self.ahead);
        let former = former(&memory, setup);
        Event::Boot { schedules: setup.config.schedules.clone(), memory, former, ahead }
    }

    /// The mirror, where the file has it: where to ask it, and its task.
    fn mirror(
        &self,
        setup: &Setup,
        schedules: watch::Receiver<Vec<Arc<Schedule>>>,
    ) -> Option<(mpsc::Sender<ApplyAsked>, JoinHandle<()>)> {
        if !setup.config.settings.mirror.enabled {
            return None;
        }
        let (asked, requests) = mpsc::channel(INPUTS_WAITING_MAX);
        Some((asked, tokio::spawn(self.mirroring(setup, schedules).serve(requests))))
    }

    pub(super) fn mirroring(&self, setup: &Setup, schedules: watch::Receiver<Vec<Arc<Schedule>>>) -> Mirroring {
        let (history, inputs) = (Arc::clone(&self.history), self.inputs.clone());
        Mirroring::new(setup, self.client.clone(), history, inputs, self.event_loop.mirror(), schedules)
    }

    /// Where the loop is asked.
    pub(super) fn inputs(&self) -> mpsc::Sender<Input> {
        self.inputs.clone()
    }

    /// Runs the loop until it is told to stop.
    pub(super) async fn run(&mut self, boot: Event) -> Result<(), LoopError> {
        self.event_loop.run(boot, &Until::Stopped).await
    }

    fn watchdog(&self) -> Watchdog {
        Watchdog { inputs: self.inputs.clone(), turns: self.event_loop.turns(), writer: self.history.pulse() }
    }

    /// The end, in order: the loop's last rows, then the database.
    pub(super) async fn close(self, result: Result<(), LoopError>) -> Result<(), DaemonError> {
        let Self { event_loop, history, .. } = self;
        drop(event_loop);
        crash_point("before-close");
        // Pruning may still hold it; then the thread ends by itself.
        let closed = match Arc::try_unwrap(history) {
            Ok(history) => history.close().await,
            Err(_) => Ok(()),
        };
        result?;
        closed.map_err(DaemonError::Close)
    }
}

/// How the file wants the API to be used.
#[must_use]
pub fn client_options(api: &ApiSettings, api_key: Secret) -> ClientOptions {
    ClientOptions {
        base_url: api.base_url.clone(),
        api_key,
        allow_plain_http: api.allow_plain_http,
        connect_timeout: api.connect_timeout,
        request_timeout: api.request_timeout,
        response_bytes_max: usize::try_from(api.response_bytes_max).unwrap_or(usize::MAX),
        connections_max: api.launches_in_flight_max as usize,
    }
}

/// When the schedules that the file changed or dropped while nothing ran were due.
fn former(memory: &Memory, setup: &Setup) -> BTreeMap<ScheduleId, Timetable> {
    let current: BTreeMap<&ScheduleId, &Arc<Schedule>> =
        setup.config.schedules.iter().map(|schedule| (&schedule.id, schedule)).collect();
    let changed = memory.schedules.iter().filter(|known| {
        current
            .get(&known.id)
            .is_none_or(|schedule| schedule.timetable.definition(schedule.enabled) != known.definition)
    });
    changed
        .filter_map(|known| {
            let timetable = Timetable::from_definition(&known.definition, |name| setup.config.zones.zone(name).ok());
            match timetable {
                Ok(timetable) => Some((known.id.clone(), timetable)),
                Err(error) => {
                    tracing::warn!(schedule = %known.id, %error, "what it missed before it was changed cannot be computed");
                    None
                }
            }
        })
        .collect()
}

/// Tells systemd that what is due is fired from now on, and that it goes on.
async fn tell_ready(booted: oneshot::Receiver<()>, watchdog: Watchdog) {
    if booted.await.is_ok() {
        notify::ready();
        if let Err(error) = watchdog.start() {
            // It is not fed, then, and systemd starts the daemon again.
            tracing::error!(%error, "the watchdog cannot be fed");
        }
    }
}

/// Takes in webhooks, where the file asks for them.
fn take_hooks(setup: &Setup, parts: &Parts) -> Result<Option<Hooks>, DaemonError> {
    let (Some(webhook), Some(hints)) = (&setup.config.settings.webhook, &parts.hints) else { return Ok(None) };
    let hooks = Hooks::start(webhook.listen, Arc::clone(hints), Arc::clone(&setup.clock));
    hooks.map(Some).map_err(system("listening for webhooks"))
}

/// What sends alarms.
fn deliverer(setup: &Setup, parts: &Parts, targets: watch::Receiver<Arc<Targets>>) -> Deliverer {
    Deliverer {
        state_dir: setup.state_dir.clone(),
        history: Arc::clone(&parts.history),
        clock: Arc::clone(&setup.clock),
        instance: setup.config.settings.instance.clone(),
        targets,
        bell: Arc::clone(&parts.bell),
    }
}

/// Hands what signals ask for to the loop; what concerns the file goes to who reads it again, where there is one.
async fn heed(mut signals: SignalStream, inputs: mpsc::Sender<Input>, file: Option<mpsc::Sender<Asks>>) {
    loop {
        let sent = match (signals.next().await, &file) {
            (Asks::Stop, _) => inputs.send(Input::Stop).await.is_ok(),
            // Full: the same is waiting already.
            (asks, Some(file)) => !matches!(file.try_send(asks), Err(mpsc::error::TrySendError::Closed(_))),
            (Asks::State, None) => inputs.send(Input::State { refused: None }).await.is_ok(),
            (Asks::Reload, None) => true,
        };
        if !sent {
            return;
        }
    }
}

/// Reads the file again from now on, whenever it is asked to. The answer is where to ask.
fn keep_current(
    setup: &Setup,
    reloader: Reloader,
    inputs: mpsc::Sender<Input>,
    schedules: watch::Sender<Vec<Arc<Schedule>>>,
) -> Result<mpsc::Sender<Asks>, DaemonError> {
    let (file, asked) = mpsc::channel(INPUTS_WAITING_MAX);
    if setup.config.settings.reload_on_change {
        let watch = FileWatch::new(&setup.config.path).map_err(system("watching the file"))?;
        tokio::spawn(watch.serve(file.clone()));
    }
    tokio::spawn(reloader.serve(asked, inputs, schedules));
    Ok(file)
}

/// Lets others look in, where the file says so.
fn look_in(setup: &Setup, parts: &mut Parts, in_force: watch::Receiver<InForce>) -> Result<Option<Http>, DaemonError> {
    let metrics = Metrics::new().map_err(|error| system("making the metrics")(io::Error::other(error)))?;
    let metrics = Arc::new(metrics);
    parts.event_loop.count(Arc::clone(&metrics));
    let sources = Sources {
        instance: setup.config.settings.instance.clone(),
        state_dir: setup.state_dir.clone(),
        clock: Arc::clone(&setup.clock),
        inputs: parts.inputs.clone(),
        in_force,
        client: parts.client.clone(),
        runtime: tokio::runtime::Handle::current(),
        metrics,
    };
    Http::start(&setup.config.settings.http, sources).map_err(system("starting the HTTP side"))
}

/// Removes what is older than the file says, now and then.
async fn keep_pruned(history: Arc<History>, clock: Arc<dyn Clock>, settings: Settings) {
    while prune(&history, clock.as_ref(), &settings).await {
        tokio::time::sleep(PRUNE_INTERVAL).await;
    }
}

/// One round. `false`: there will be no other, since the history cannot be written any more.
async fn prune(history: &History, clock: &dyn Clock, settings: &Settings) -> bool {
    let keep_for: TimeDelta = delta(settings.history.keep_for);
    let retention = Retention {
        before: clock.now().checked_sub_signed(keep_for),
        occurrences_max: Some(settings.history.rows_max),
    };
    match history.prune(retention).await {
        Ok(0) => true,
        Ok(occurrences) => {
            tracing::info!(occurrences, "old occurrences were removed from the history");
            true
        }
        Err(error) => {
            let again = error.can_pass();
            tracing::warn!(%error, hint = error.hint(), again, "old occurrences could not be removed from the history");
            again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, history::DATABASE_FILE};

    #[test]
    fn pruning_goes_on_after_a_failure_that_can_pass() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Config::parse("a.toml".as_ref(), "", &Environment::default()).unwrap().settings;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let options = HistoryOptions::default();
            let store = Store::open(folder.path(), &options).unwrap();
            let history = History::start(store, &options, Arc::new(SystemClock)).unwrap();
            assert!(prune(&history, &SystemClock, &settings).await);
            let other = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            assert!(prune(&history, &SystemClock, &settings).await, "a lock passes");
            other.execute_batch("ROLLBACK; DROP TABLE occurrence").unwrap();
            assert!(!prune(&history, &SystemClock, &settings).await, "a table that is gone stays gone");
        });
    }
}
