//! The task that sends what waits: from the rows of the history to the channels, and back into the rows what became of it.
//!
//! It has connections of its own and never holds up what is due. Each channel (for pings, each schedule of a channel) is a lane
//! of its own, in which alarms go out one after the other in the order in which they were raised; a lane that does not work
//! waits longer and longer, and lets the others pass. Whether an alarm is due at all is not decided here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::{
    fold::{self, Step},
    stall,
    target::Targets,
};
use crate::{
    clock::{Clock, Stopwatch, rfc3339_millis},
    crash_point::crash_point,
    engine::{Change, alarm::AlarmEnd},
    history::{History, HistoryError, Reader, WaitingAlarm},
    ids::{ChannelName, Instance},
    skyvern::Posted,
};

/// Requests that are out at one time, over all channels.
const SENDING_MAX: usize = 8;
/// An alarm that could not be sent for so long is given up.
const GIVE_UP_HOURS: i64 = 24;
/// An alarm that the channel refuses is tried so often in all: what is wrong with it may be mended.
const REFUSALS_MAX: u32 = 5;
/// The wait after the first failure of a lane; it doubles up to the longest.
const WAIT_SECONDS_MIN: u64 = 1;
const WAIT_SECONDS_MAX: u64 = 300;
/// Pings of one schedule that may wait: older ones are given up, since their time has passed.
const PINGS_WAITING_MAX: usize = 100;
/// Rows that are read at a time.
const ROWS_PER_READ_MAX: u32 = 10_000;
/// The wait before the history is read again after it could not be.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// For how long a channel's alarms are counted before what is more is folded.
const WINDOW: Duration = Duration::from_secs(60);

/// Sends alarms, as long as it is polled.
pub struct Deliverer {
    /// Where the history is, to be read.
    pub state_dir: PathBuf,
    /// To be written.
    pub history: Arc<History>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// The installation's name.
    pub instance: Instance,
    /// The channels, as the file has them now.
    pub targets: watch::Receiver<Arc<Targets>>,
    /// Rung when there are new rows.
    pub bell: Arc<Notify>,
}

/// What goes out one after the other: a channel, and the schedule where it gets pings.
type LaneName = (ChannelName, Option<String>);

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<WaitingAlarm>,
    /// One of it is out, or it waits for a moment, or for its turn.
    engaged: bool,
    failures: u32,
    /// When alarms of the last minute went out.
    sent: VecDeque<Duration>,
}

/// What the log was told of a channel.
#[derive(Debug, Default)]
struct Failing {
    tries: u32,
}

struct Sent {
    lane: LaneName,
    alarm: WaitingAlarm,
    posted: Posted,
}

struct Work {
    given: Deliverer,
    watch: Stopwatch,
    last_row: i64,
    lanes: HashMap<LaneName, Lane>,
    ready: VecDeque<LaneName>,
    /// Lanes that wait, by when (on the stopwatch) they go on.
    resting: BTreeSet<(Duration, LaneName)>,
    sending: JoinSet<Sent>,
    failing: BTreeMap<ChannelName, Failing>,
}

type Ended = Arc<HistoryError>;

impl Deliverer {
    /// Sends what waits, and what comes, until the history is closed.
    pub async fn serve(self) {
        let stalls =
            stall::tell(self.history.stalls(), self.targets.clone(), Arc::clone(&self.clock), self.instance.clone());
        let work = Work {
            given: self,
            watch: Stopwatch::start(),
            last_row: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            resting: BTreeSet::new(),
            sending: JoinSet::new(),
            failing: BTreeMap::new(),
        };
        tokio::select! {
            ended = work.run() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "alarms are not sent any more");
                }
            }
            () = stalls => {}
        }
    }
}

impl Work {
    async fn run(mut self) -> Result<(), Ended> {
        let mut read = true;
        loop {
            let mut pause = None;
            if std::mem::take(&mut read) && !self.take_in().await {
                read = true;
                pause = Some(READ_AGAIN);
            }
            self.wake_lanes();
            while self.sending.len() < SENDING_MAX
                && let Some(name) = self.ready.pop_front()
            {
                read |= self.go_on(name).await?;
            }
            if read && pause.is_none() {
                continue;
            }
            let next = self.resting.first().map(|(at, _)| at.saturating_sub(self.watch.elapsed()));
            let pause = pause.into_iter().chain(next).min();
            tokio::select! {
                () = self.given.bell.notified() => read = true,
                Some(sent) = self.sending.join_next() => match sent {
                    Ok(sent) => self.done(sent).await?,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => return Ok(()),
                    },
                },
                Ok(()) = self.given.targets.changed() => self.wake_all(),
                () = rest(pause) => {}
            }
        }
    }

    /// Takes in the rows that came since the last time. `false`: they could not be read.
    async fn take_in(&mut self) -> bool {
        loop {
            let after = self.last_row;
            let rows = match self.read(move |reader| reader.waiting_alarms(after, ROWS_PER_READ_MAX)).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(%error, "alarms that wait cannot be read; tried again soon");
                    return false;
                }
            };
            let more = rows.len() >= ROWS_PER_READ_MAX as usize;
            for alarm in rows {
                self.last_row = alarm.row;
                let is_ping = self.given.targets.borrow().get(&alarm.channel).is_some_and(super::Target::is_ping);
                let schedule = alarm.schedule.clone().filter(|_| is_ping);
                let name = (alarm.channel.clone(), schedule);
                self.lanes.entry(name.clone()).or_default().queue.push_back(alarm);
                self.engage(name);
            }
            if !more {
                return true;
            }
        }
    }

    /// Gives a lane its turn, unless it has one coming.
    fn engage(&mut self, name: LaneName) {
        if let Some(lane) = self.lanes.get_mut(&name)
            && !lane.engaged
        {
            lane.engaged = true;
            self.ready.push_back(name);
        }
    }

    fn rest(&mut self, name: LaneName, wait: Duration) {
        self.resting.insert((self.watch.elapsed() + wait, name));
    }

    fn wake_lanes(&mut self) {
        let now = self.watch.elapsed();
        while let Some((at, _)) = self.resting.first()
            && *at <= now
            && let Some((_, name)) = self.resting.pop_first()
        {
            self.ready.push_back(name);
        }
    }

    /// The channels are others now: what waited for one that did not work may go.
    fn wake_all(&mut self) {
        self.ready.extend(std::mem::take(&mut self.resting).into_iter().map(|(_, name)| name));
    }

    /// The next step of a lane whose turn it is. `true`: there are new rows.
    async fn go_on(&mut self, name: LaneName) -> Result<bool, Ended> {
        let targets = Arc::clone(&self.given.targets.borrow());
        let Some(target) = targets.get(&name.0) else {
            self.give_up(&name, |_| true, "the channel is not in the file any more").await?;
            self.lanes.remove(&name);
            return Ok(false);
        };
        let now = self.given.clock.now();
        let too_old = TimeDelta::hours(GIVE_UP_HOURS);
        self.give_up(&name, |alarm| now - alarm.raised_at > too_old, "it could not be sent for a day").await?;
        let elapsed = self.watch.elapsed();
        let Some(lane) = self.lanes.get_mut(&name) else { return Ok(false) };
        lane.sent.retain(|at| *at + WINDOW > elapsed);
        if lane.queue.is_empty() {
            lane.engaged = false;
            // A lane of which nothing is to be remembered makes room.
            if lane.sent.is_empty() {
                self.lanes.remove(&name);
            }
            return Ok(false);
        }
        if target.is_ping() {
            if let Some(surplus) = lane.queue.len().checked_sub(PINGS_WAITING_MAX).filter(|surplus| *surplus > 0) {
                let last = lane.queue.get(surplus).map_or(i64::MAX, |alarm| alarm.row);
                self.give_up(&name, |alarm| alarm.row < last && alarm.tries == 0, "too many pings wait").await?;
            }
            let Some(lane) = self.lanes.get(&name) else { return Ok(false) };
            if let Some(alarm) = lane.queue.front().cloned() {
                self.send(name, alarm);
            }
            return Ok(false);
        }
        let waiting: Vec<&WaitingAlarm> = lane.queue.iter().collect();
        match fold::step(&waiting, lane.sent.len()) {
            None => Ok(false),
            Some(Step::Hold) => {
                let wait = lane.sent.front().map_or(WINDOW, |at| (*at + WINDOW).saturating_sub(elapsed));
                self.rest(name, wait);
                Ok(false)
            }
            Some(Step::Send(alarm)) => {
                let alarm = alarm.clone();
                self.send(name, alarm);
                Ok(false)
            }
            Some(Step::Fold(folded)) => {
                let folded: Vec<WaitingAlarm> = folded.into_iter().cloned().collect();
                self.fold(name, folded).await?;
                Ok(true)
            }
        }
    }

    fn send(&mut self, lane: LaneName, alarm: WaitingAlarm) {
        let targets = Arc::clone(&self.given.targets.borrow());
        let state_dir = self.given.state_dir.clone();
        self.sending.spawn(async move {
            let row = alarm.row;
            let facts = apart(move || Reader::open(&state_dir)?.alarm_facts(&[row])).await;
            let posted = match (facts, targets.get(&lane.0)) {
                (Ok(mut facts), Some(target)) => {
                    let facts = facts.remove(&row).unwrap_or_default();
                    let posted = target.send(alarm.event, &facts).await;
                    crash_point("alarm-sent");
                    posted
                }
                (Err(error), _) => Posted::NotNow { text: error.to_string(), retry_after: None },
                (_, None) => Posted::NotNow { text: "the channel is gone".to_owned(), retry_after: None },
            };
            Sent { lane, alarm, posted }
        });
    }

    async fn done(&mut self, Sent { lane: name, alarm, posted }: Sent) -> Result<(), Ended> {
        let (channel, row, at) = (name.0.clone(), alarm.row, self.given.clock.now());
        let elapsed = self.watch.elapsed();
        let Some(lane) = self.lanes.get_mut(&name) else { return Ok(()) };
        let (text, retry_after, refused) = match posted {
            Posted::Taken => {
                lane.failures = 0;
                if name.1.is_none() {
                    lane.sent.push_back(elapsed);
                }
                lane.queue.retain(|waiting| waiting.row != row);
                tracing::debug!(%channel, alarm = alarm.id, "alarm sent");
                if let Some(Failing { tries }) = self.failing.remove(&channel) {
                    tracing::warn!(%channel, tries, "the channel takes alarms again");
                }
                self.ready.push_back(name);
                return self.write(Change::AlarmTried { row, at, end: Some(AlarmEnd::Sent), error: None }).await;
            }
            Posted::NotNow { text, retry_after } => (text, retry_after, false),
            Posted::Refused { text } => (text, None, true),
        };
        lane.failures = lane.failures.saturating_add(1);
        let mut tries = 0;
        for waiting in lane.queue.iter_mut().filter(|waiting| waiting.row == row) {
            waiting.tries = waiting.tries.saturating_add(1);
            tries = waiting.tries;
        }
        let failing = self.failing.entry(channel.clone()).or_default();
        failing.tries = failing.tries.saturating_add(1);
        // The same failure again and again: once, twice, four times, …
        if failing.tries.is_power_of_two() {
            tracing::warn!(%channel, alarm = alarm.id, tries = failing.tries, "an alarm could not be sent: {text}");
        }
        if refused && tries >= REFUSALS_MAX {
            self.give_up(&name, |waiting| waiting.row == row, &text).await?;
            self.ready.push_back(name);
            return Ok(());
        }
        let wait = Duration::from_secs(WAIT_SECONDS_MIN << self.failures(&name).saturating_sub(1).min(16));
        let wait = wait.min(Duration::from_secs(WAIT_SECONDS_MAX)).max(retry_after.unwrap_or_default());
        self.rest(name, wait);
        self.write(Change::AlarmTried { row, at, end: None, error: Some(text) }).await
    }

    fn failures(&self, name: &LaneName) -> u32 {
        self.lanes.get(name).map_or(0, |lane| lane.failures)
    }

    /// Gives up the alarms of a lane that are like that, and says so.
    async fn give_up(
        &mut self,
        name: &LaneName,
        is_lost: impl Fn(&WaitingAlarm) -> bool,
        why: &str,
    ) -> Result<(), Ended> {
        let Some(lane) = self.lanes.get_mut(name) else { return Ok(()) };
        let lost: Vec<WaitingAlarm> = lane.queue.iter().filter(|alarm| is_lost(alarm)).cloned().collect();
        let Some(first) = lost.first() else { return Ok(()) };
        lane.queue.retain(|alarm| !is_lost(alarm));
        let (count, at) = (lost.len(), self.given.clock.now());
        tracing::error!(
            channel = %name.0,
            count,
            first = first.id,
            since = rfc3339_millis(first.raised_at),
            "alarms were given up: {why}"
        );
        let given_up = |alarm: WaitingAlarm| Change::AlarmTried {
            row: alarm.row,
            at,
            end: Some(AlarmEnd::Dropped),
            error: Some(why.to_owned()),
        };
        self.submit(lost.into_iter().map(given_up).collect()).await
    }

    /// Makes one of many, durably, before anything of it is sent: the name under which it goes out stays.
    async fn fold(&mut self, name: LaneName, folded: Vec<WaitingAlarm>) -> Result<(), Ended> {
        let folded: Vec<&WaitingAlarm> = folded.iter().collect();
        let rows = fold::rows_to_read(&folded);
        let facts = self.read(move |reader| reader.alarm_facts(&rows)).await.unwrap_or_default();
        let now: DateTime<Utc> = self.given.clock.now();
        if let Some(summary) = fold::summary(now, &self.given.instance, &folded, &facts) {
            let rows: Vec<i64> = folded.iter().map(|alarm| alarm.row).collect();
            tracing::info!(channel = %name.0, count = rows.len(), "alarms are sent as one");
            let change = Change::AlarmsFolded { rows: rows.clone(), summary: Box::new(summary) };
            self.given.history.submit(vec![change]).await?.await?;
            let gone: BTreeSet<i64> = rows.into_iter().collect();
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.queue.retain(|alarm| !gone.contains(&alarm.row));
            }
        }
        self.ready.push_back(name);
        Ok(())
    }

    async fn write(&self, change: Change) -> Result<(), Ended> {
        self.submit(vec![change]).await
    }

    /// Not waited for: should it be lost, the alarm is sent again, under the same name.
    async fn submit(&self, changes: Vec<Change>) -> Result<(), Ended> {
        self.given.history.submit(changes).await.map(drop)
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Reader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let state_dir = self.given.state_dir.clone();
        apart(move || ask(&Reader::open(&state_dir)?)).await
    }
}

async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Reads on a thread of its own: what is due must not wait for the disk.
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
