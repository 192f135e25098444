//! A small Skyvern look-alike: for the demo, for tests, and for faults on order. It runs no workflow.
//!
//! It answers on loopback with the paths, status codes and bodies of a real server (1.0.56) as far as a scheduler meets
//! them; `tests/contract` puts the same questions to both. Its runs go `created`, `queued`, `running` and to an
//! end by what the clock says when somebody looks; only its own scheduler polls, as a real one does. It keeps a record of every run that it made, which
//! is what tests judge by.
//!
//! | file | what it is |
//! |---|---|
//! | `fault` | what goes wrong, and when |
//! | `life` | where a run stands at an instant; pure |
//! | `workflow` | the workflows, and what they accept; pure |
//! | `world` | what the server knows: workflows, runs, tags, faults |
//! | `exchange` | a request, and its answer |
//! | `check` | the checks that all calls share, and their words |
//! | `draft` | what a request says about a schedule; pure |
//! | `schedule` | the server's own schedules, and what is due; pure |
//! | `scheduler` | starts what is due |
//! | `hooks` | webhooks, when runs are over |
//! | `routes/` | request → answer |
//! | `bodies` | the JSON |
//! | `admin` | `/sandbox/…`: its record, and faults at run time |
//! | `server` | the thread, the connections, and how faults are carried out |

mod admin;
mod bodies;
mod check;
mod draft;
mod exchange;
mod fault;
mod hooks;
mod life;
mod routes;
mod schedule;
mod scheduler;
mod server;
mod workflow;
mod world;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;

pub use fault::{Fault, FaultError, FaultPlan};
pub use hooks::HookRecord;
pub use life::Behaviour;
pub use schedule::ScheduleRecord;
pub use workflow::{SandboxParameter, SandboxWorkflow};
pub use world::{RunRecord, ServerSchedules};

use crate::{
    clock::{Clock, SystemClock},
    ids::WorkflowId,
    secret::Secret,
};

/// How the look-alike behaves.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Where it listens; port 0: a free one.
    pub listen: SocketAddr,
    /// The key that it accepts.
    pub key: Secret,
    /// What it takes for the present.
    pub clock: Arc<dyn Clock>,
    /// The workflows that it has.
    pub workflows: Vec<SandboxWorkflow>,
    /// Every other `wpid_…` is a workflow, too, and accepts any parameter.
    pub any_workflow: bool,
    /// How runs go whose workflow does not say otherwise.
    pub behaviour: Behaviour,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// What chance is derived from: the same seed, the same failures.
    pub seed: u64,
    /// The version that it says it is; `None`: it does not say, as before 1.0.24.
    pub version: Option<String>,
    /// Tags are not searched, every run is answered, as before 1.0.47.
    pub tags_ignored: bool,
    /// Addresses of this machine are refused for webhooks, as by default before 1.0.56.
    pub local_webhooks_refused: bool,
    /// Which calls for schedules it has.
    pub server_schedules: ServerSchedules,
    /// A plan's limit of schedules.
    pub schedules_max: Option<usize>,
    /// How often its own scheduler looks for what is due, by a clock that nobody sets; zero: never.
    pub schedule_poll_interval: Duration,
    /// How many runs of its own schedules go at a time.
    pub schedule_runs_max: usize,
    /// How long a connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// The largest request body.
    pub request_bytes_max: usize,
    /// The most connections at a time; more wait.
    pub connections_max: usize,
    /// The most runs that are remembered; the oldest go first.
    pub runs_kept_max: usize,
}

impl Default for SandboxOptions {
    /// A free port on loopback, the key `sandbox-key`, every workflow, runs of 3 seconds, no faults.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            key: Secret::new("sandbox-key".to_owned()),
            clock: Arc::new(SystemClock),
            workflows: Vec::new(),
            any_workflow: true,
            behaviour: Behaviour::default(),
            faults: FaultPlan::default(),
            seed: 1,
            version: Some("1.0.56".to_owned()),
            tags_ignored: false,
            local_webhooks_refused: false,
            server_schedules: ServerSchedules::Whole,
            schedules_max: None,
            // Both as in a real server that nobody has set up otherwise.
            schedule_poll_interval: Duration::from_secs(60),
            schedule_runs_max: 1,
            // uvicorn's, under which a real server runs.
            idle_timeout: Duration::from_secs(5),
            request_bytes_max: 16 * 1024 * 1024,
            connections_max: 1024,
            runs_kept_max: 100_000,
        }
    }
}

/// A running look-alike, on a thread of its own. It ends when this is dropped.
/// ```
/// use skycron::sandbox::{Sandbox, SandboxOptions};
///
/// let sandbox = Sandbox::start(SandboxOptions { any_workflow: true, ..SandboxOptions::default() })?;
/// assert!(sandbox.base_url().starts_with("http://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Sandbox {
    address: SocketAddr,
    key: Secret,
    world: SharedWorld,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The world, shared by the connections and the owner.
#[derive(Clone)]
struct SharedWorld(Arc<Mutex<world::World>>);

impl SharedWorld {
    fn lock(&self) -> MutexGuard<'_, world::World> {
        // No handler leaves it half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox {
    /// Binds the port and starts answering.
    ///
    /// # Errors
    /// The port cannot be bound, or no thread can be started.
    pub fn start(options: SandboxOptions) -> io::Result<Self> {
        let key = options.key.clone();
        let limits = server::Limits {
            request_bytes_max: options.request_bytes_max,
            connections_max: options.connections_max,
            idle_timeout: options.idle_timeout,
            schedule_poll_interval: options.schedule_poll_interval,
        };
        let listen = options.listen;
        let world = SharedWorld(Arc::new(Mutex::new(world::World::new(options))));
        let (stop, stopped) = oneshot::channel();
        let (address, thread) = server::spawn(listen, limits, world.clone(), stopped)?;
        Ok(Self { address, key, world, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…`, for `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The key that it accepts.
    #[must_use]
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// Every run that it remembers, the oldest first, as the server itself knows it.
    #[must_use]
    pub fn runs(&self) -> Vec<RunRecord> {
        self.world.lock().records(0)
    }

    /// How many starts it received, whatever came of them.
    #[must_use]
    pub fn starts_received(&self) -> u64 {
        self.world.lock().starts_received()
    }

    /// Every schedule of its own, the oldest first.
    #[must_use]
    pub fn schedules(&self) -> Vec<ScheduleRecord> {
        self.world.lock().schedule_records()
    }

    /// Every webhook that it sent, in the order in which they were done with.
    #[must_use]
    pub fn hooks(&self) -> Vec<HookRecord> {
        self.world.lock().hooks_sent()
    }

    /// How many changes of schedules it received, whatever came of them.
    #[must_use]
    pub fn changes_received(&self) -> u64 {
        self.world.lock().changes_received()
    }

    /// Lets its scheduler look for what is due, now.
    pub fn poll_schedules(&self) {
        self.world.lock().poll_schedules();
    }

    /// Replaces what goes wrong; the numbers in a plan count from now.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.world.lock().set_faults(plan);
    }

    /// Adds a workflow, or replaces the one with its id. `false`: there are too many.
    pub fn put_workflow(&self, workflow: SandboxWorkflow) -> bool {
        self.world.lock().put_workflow(workflow)
    }

    /// Deletes a workflow, and with it its schedules. Its runs stay.
    pub fn delete_workflow(&self, id: &WorkflowId) {
        self.world.lock().delete_workflow(id.as_str());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
