//! The one thread that writes, and the daemon's handle to it.
//!
//! What waits in the queue is written as one transaction, in the order in which it was submitted (group commit): a burst is
//! one `fsync`. Nothing is acknowledged that is not durable. A failure that can pass is retried for ever; one that cannot
//! ends the thread. Nothing is decided here about schedules. Each piece of work is counted ([`WriterPulse`]), so that a thread
//! that hangs can be told from one that has nothing to do.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::{
    mpsc::{
        self,
        error::{TryRecvError, TrySendError},
    },
    oneshot, watch,
};

use super::{HistoryError, HistoryOptions, Pruned, Retention, Store};
use crate::{
    clock::{Clock, rfc3339_millis},
    crash_point::crash_point,
    engine::{Change, change::Ahead},
    pulse::Pulse,
    words::EACH,
};

/// The pause before the first retry; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two retries: so late at most does the daemon notice that the disk has room again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Rows that retention removes in one transaction: a change that comes meanwhile waits for one such slice.
const PRUNE_ROWS_MAX: u32 = 100;
/// Rows written after which the log is moved into the database, as soon as nothing waits.
const CHECKPOINT_ROWS: u64 = 2_000;
/// Rows written after which that is done even though something waits: the log must not grow for ever.
const CHECKPOINT_ROWS_MAX: u64 = 200_000;

type Shareable<T> = Result<T, Arc<HistoryError>>;

/// Writing stands still, and is being retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, as of the latest try.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
    /// How often it was tried in vain.
    pub tries: u32,
}

/// The daemon's handle to the thread that writes. Dropping it lets the thread end in its own time; [`History::close`] waits.
#[derive(Debug)]
pub struct History {
    // `None` only while it is being dropped.
    sender: Option<mpsc::Sender<Order>>,
    shared: Arc<Shared>,
    thread: thread::Thread,
    ended: oneshot::Receiver<Shareable<()>>,
}

/// Resolves when a submitted list of changes is durable: `Ok`, and every change is on the disk. An error means that the
/// writer has ended, and that it is not known to be there.
#[derive(Debug)]
pub struct Durable(oneshot::Receiver<Shareable<()>>);

impl Future for Durable {
    type Output = Shareable<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(Arc::new(HistoryError::Closed))))
    }
}

/// Shows whether the thread goes on. Does not keep it from ending.
#[derive(Debug, Clone)]
pub struct WriterPulse {
    sender: mpsc::WeakSender<Order>,
    shared: Arc<Shared>,
}

impl WriterPulse {
    /// Gives the thread something to count, if it has nothing else to do. `false`: it ends, or has ended.
    #[must_use]
    pub fn ask(&self) -> bool {
        // Where the queue is full there is something to count.
        self.sender
            .upgrade()
            .is_some_and(|sender| !matches!(sender.try_send(Order::Probe), Err(TrySendError::Closed(_))))
    }

    /// What the thread counts: orders taken, and tries to write while the disk is full.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    /// Whether writing stands still and is being retried.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.shared.stall.borrow().is_some()
    }
}

#[derive(Debug, Default)]
struct Shared {
    stall: watch::Sender<Option<Stall>>,
    pulse: Pulse,
    fatal: Mutex<Option<Arc<HistoryError>>>,
    closing: AtomicBool,
}

#[derive(Debug)]
enum Order {
    Apply(Batch),
    Prune(Retention, oneshot::Sender<Shareable<u64>>),
    Ahead(Asked),
    /// Nothing: taking it is the sign of life.
    Probe,
}

/// A question about the time after an instant, and where its answer goes.
type Asked = (DateTime<Utc>, oneshot::Sender<Shareable<Vec<Ahead>>>);

#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    done: oneshot::Sender<Shareable<()>>,
}

impl History {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: Store, options: &HistoryOptions, clock: Arc<dyn Clock>) -> Result<Self, HistoryError> {
        let (sender, queue) = mpsc::channel(options.queue_batches_max.max(1));
        let (end, ended) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            store,
            queue,
            clock,
            shared: Arc::clone(&shared),
            group_changes_max: options.group_changes_max,
            rows_at_checkpoint: 0,
            pruning: None,
            asked: None,
        };
        let handle = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                // Nobody listens where the handle was dropped.
                let _ = end.send(writer.run());
            })
            .map_err(HistoryError::Thread)?;
        Ok(Self { sender: Some(sender), shared, thread: handle.thread().clone(), ended })
    }

    /// Hands over a list of changes, waiting while the queue is full. Lists are written in the order in which they were
    /// handed over, each whole or not at all.
    ///
    /// If the process dies before the answer resolves, either the whole list is in the history or none of it; after that,
    /// all of it.
    ///
    /// # Errors
    /// The writer has ended: the failure that ended it, or [`HistoryError::Closed`].
    pub async fn submit(&self, changes: Vec<Change>) -> Shareable<Durable> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Apply(Batch { changes, done })).await?;
        Ok(Durable(answer))
    }

    /// Removes what is no longer kept, in slices between other changes, and answers with the number of occurrences removed.
    ///
    /// # Errors
    /// The writer has ended, or a slice failed; what was removed before stays removed.
    pub async fn prune(&self, retention: Retention) -> Shareable<u64> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Prune(retention, done)).await?;
        answer.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// What there is about the time after `now`, as of everything that was submitted before.
    ///
    /// # Errors
    /// The writer has ended, or the history cannot be read.
    pub async fn ahead(&self, now: DateTime<Utc>) -> Shareable<Vec<Ahead>> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Ahead((now, done))).await?;
        answer.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// Whether writing stands still, and why. Cheap; may be asked at any time.
    #[must_use]
    pub fn stall(&self) -> Option<Stall> {
        self.shared.stall.borrow().clone()
    }

    /// The same, for who wants to be told when writing comes to stand still, for another reason, and when it goes on.
    #[must_use]
    pub fn stalls(&self) -> watch::Receiver<Option<Stall>> {
        self.shared.stall.subscribe()
    }

    /// A look at the thread from outside.
    #[must_use]
    pub fn pulse(&self) -> WriterPulse {
        let (closed, _) = mpsc::channel(1);
        WriterPulse { sender: self.sender.as_ref().unwrap_or(&closed).downgrade(), shared: Arc::clone(&self.shared) }
    }

    /// Writes what is queued, closes the database in order, and waits for that. Writing that stands still is tried once
    /// more, not for ever.
    ///
    /// # Errors
    /// The failure that ended the writer, or that kept it from writing the rest.
    pub async fn close(mut self) -> Shareable<()> {
        self.let_go();
        (&mut self.ended).await.unwrap_or_else(|_| Err(Arc::new(HistoryError::Closed)))
    }

    fn let_go(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.sender = None;
        self.thread.unpark();
    }

    async fn order(&self, order: Order) -> Shareable<()> {
        let sent = match &self.sender {
            Some(sender) => sender.send(order).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(self.end_reason()) }
    }

    fn end_reason(&self) -> Arc<HistoryError> {
        let fatal = self.shared.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fatal.unwrap_or_else(|| Arc::new(HistoryError::Closed))
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What the thread owns.
struct Writer {
    store: Store,
    queue: mpsc::Receiver<Order>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    group_changes_max: usize,
    rows_at_checkpoint: u64,
    pruning: Option<Pruning>,
    /// A question that came behind a group that is being written.
    asked: Option<Asked>,
}

struct Pruning {
    retention: Retention,
    occurrences: u64,
    done: oneshot::Sender<Shareable<u64>>,
}

impl Writer {
    fn run(mut self) -> Shareable<()> {
        while let Some(group) = self.next_group() {
            if let Err(error) = self.commit(&group) {
                let error = Arc::new(error);
                tracing::error!(%error, "the history cannot be written any more");
                self.fail(group, &error);
                return Err(error);
            }
            crash_point("written");
            for batch in group {
                // Who does not wait for the answer dropped its end.
                let _ = batch.done.send(Ok(()));
            }
            self.checkpoint(CHECKPOINT_ROWS_MAX);
        }
        self.store.close().map_err(Arc::new)
    }

    /// Everything that waits, up to the bound of a transaction. Waits where nothing does, after doing what can be done
    /// meanwhile. `None`: the handle is gone, and the queue empty.
    fn next_group(&mut self) -> Option<Vec<Batch>> {
        if let Some((now, done)) = self.asked.take() {
            let _ = done.send(self.store.ahead(now).map_err(Arc::new));
        }
        let mut group = Vec::new();
        let mut changes = 0;
        loop {
            let order = match self.queue.try_recv() {
                Ok(order) => order,
                Err(_) if !group.is_empty() => return Some(group),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.pruning.is_some() => {
                    self.prune_slice();
                    continue;
                }
                Err(TryRecvError::Empty) => {
                    self.checkpoint(CHECKPOINT_ROWS);
                    self.queue.blocking_recv()?
                }
            };
            self.shared.pulse.beat();
            match order {
                Order::Probe => {}
                Order::Apply(batch) => {
                    changes += batch.changes.len();
                    group.push(batch);
                    if changes >= self.group_changes_max {
                        return Some(group);
                    }
                }
                Order::Ahead(asked) => {
                    self.asked = Some(asked);
                    if !group.is_empty() {
                        return Some(group);
                    }
                    return self.next_group();
                }
                // A round that is under way goes on with the newer bounds; its own caller is told that it was let go.
                Order::Prune(retention, done) => self.pruning = Some(Pruning { retention, occurrences: 0, done }),
            }
        }
    }

    /// Writes a group, again and again as long as the failure can pass.
    fn commit(&mut self, group: &[Batch]) -> Result<(), HistoryError> {
        let lists: Vec<&[Change]> = group.iter().map(|batch| batch.changes.as_slice()).collect();
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            // Read before the try, so that a close in the middle of it still leads to one more.
            let closing = self.shared.closing.load(Ordering::Acquire);
            match self.store.apply_all(&lists) {
                Ok(()) => {
                    self.recovered(lists.iter().map(|list| list.len()).sum());
                    return Ok(());
                }
                Err(error) if error.can_pass() && !closing => {
                    self.stalled(&error);
                    self.shared.pulse.beat();
                    // `let_go` ends the pause early.
                    thread::park_timeout(pause);
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn stalled(&self, error: &HistoryError) {
        let reason = error.to_string();
        let hint = error.hint();
        self.shared.stall.send_if_modified(|stall| {
            if let Some(stall) = stall.as_mut() {
                stall.tries = stall.tries.saturating_add(1);
                // Said again only where it is something else.
                let another = stall.reason != reason;
                if another {
                    tracing::error!(target: EACH, since = rfc3339_millis(stall.since), hint, "the history still stands still: {reason}");
                    stall.reason = reason;
                    stall.hint = hint;
                }
                return another;
            }
            tracing::error!(target: EACH, hint, "the history stands still, nothing is started until it goes on: {reason}");
            *stall = Some(Stall { since: self.clock.now(), reason, hint, tries: 1 });
            true
        });
    }

    fn recovered(&self, changes: usize) {
        if let Some(stall) = self.shared.stall.send_replace(None) {
            let since = rfc3339_millis(stall.since);
            tracing::warn!(target: EACH, since, changes, "the history goes on; what was waiting is written");
        }
    }

    /// Tells everybody who waits, and everybody who comes, that nothing will be written any more.
    fn fail(&mut self, group: Vec<Batch>, error: &Arc<HistoryError>) {
        *self.shared.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(error));
        self.queue.close();
        for batch in group {
            let _ = batch.done.send(Err(Arc::clone(error)));
        }
        if let Some(pruning) = self.pruning.take() {
            let _ = pruning.done.send(Err(Arc::clone(error)));
        }
        if let Some((_, done)) = self.asked.take() {
            let _ = done.send(Err(Arc::clone(error)));
        }
        while let Some(order) = self.queue.blocking_recv() {
            match order {
                Order::Apply(batch) => drop(batch.done.send(Err(Arc::clone(error)))),
                Order::Prune(_, done) => drop(done.send(Err(Arc::clone(error)))),
                Order::Ahead((_, done)) => drop(done.send(Err(Arc::clone(error)))),
                Order::Probe => {}
            }
        }
    }

    fn prune_slice(&mut self) {
        let Some(mut pruning) = self.pruning.take() else {
            return;
        };
        self.shared.pulse.beat();
        let answer = match self.store.prune(&pruning.retention, PRUNE_ROWS_MAX) {
            Ok(Pruned { occurrences, more }) => {
                pruning.occurrences += u64::from(occurrences);
                if more && !self.shared.closing.load(Ordering::Acquire) {
                    self.pruning = Some(pruning);
                    return;
                }
                Ok(pruning.occurrences)
            }
            Err(error) => Err(Arc::new(error)),
        };
        let _ = pruning.done.send(answer);
    }

    /// A failure is not the end: what is in the log is durable, and the next one moves it.
    fn checkpoint(&mut self, rows: u64) {
        let written = self.store.rows_written();
        if written - self.rows_at_checkpoint >= rows {
            self.rows_at_checkpoint = written;
            if let Err(error) = self.store.checkpoint() {
                tracing::warn!(%error, "the log of the history could not be moved into the database");
            }
        }
    }
}
