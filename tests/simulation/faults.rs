//! What chance decides: a small generator of numbers, and what goes wrong with each request. Does not carry anything out.

use std::time::Duration;

/// A generator (splitmix64): the same seed gives the same world on every machine and with every version of every library.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low).unwrap() + 1;
        low + i64::try_from(self.roll() % width).unwrap()
    }

    /// Many small ones and few large ones, from 1 to `high`.
    pub(crate) fn skewed(&mut self, high: i64) -> i64 {
        let bits = i64::from(64 - high.leading_zeros());
        let top = 1_i64 << self.range(0, bits);
        self.range(1, top.min(high))
    }

    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.roll() % 1000 < u64::from(per_mille)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll() % from.len() as u64).unwrap()]
    }
}

/// How wild a world is. Numbers are per mille, of what each name says.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Starts that do not simply succeed.
    pub(crate) start_faults: u32,
    /// Looks, lists and cancels that fail.
    pub(crate) look_faults: u32,
    /// Steps of the protocol at which the process is killed.
    pub(crate) kills: u32,
    /// Events of the operator: reloads, pauses, starts by hand, kills at any moment, stops.
    pub(crate) events_per_day: i64,
    /// Whether the clock is set, and is wrong at some boots.
    pub(crate) clock: bool,
    /// Whether the machine sleeps.
    pub(crate) sleep: bool,
    /// Whether the server crashes and loses what it was running.
    pub(crate) server_crashes: bool,
    /// Whether others start runs of the same workflows.
    pub(crate) others: bool,
    /// Whether the server fires some of the schedules.
    pub(crate) mirrors: bool,
    /// Polls of the server's own scheduler that do not happen.
    pub(crate) server_misses: u32,
}

impl Profile {
    /// An ordinary year: now and then something fails, the machine is started again, the file is edited.
    pub(crate) fn calm() -> Self {
        Self {
            start_faults: 2,
            look_faults: 2,
            kills: 0,
            events_per_day: 1,
            clock: false,
            sleep: false,
            server_crashes: false,
            others: false,
            mirrors: false,
            server_misses: 0,
        }
    }

    pub(crate) fn any(dice: &mut Dice) -> Self {
        Self {
            start_faults: dice.pick(&[0, 50, 200, 500]),
            look_faults: dice.pick(&[0, 30, 200]),
            kills: dice.pick(&[0, 5, 20, 60]),
            events_per_day: dice.pick(&[0, 4, 12, 40]),
            clock: dice.chance(400),
            sleep: dice.chance(300),
            server_crashes: dice.chance(300),
            others: dice.chance(300),
            mirrors: dice.chance(400),
            server_misses: dice.pick(&[0, 50, 600, 950]),
        }
    }
}

/// A request to start gets no answer for so long: the client gives up.
pub(crate) const REQUEST_TIMEOUT_MS: i64 = 30_000;
/// A start may still become a run for so long after its attempt; what the daemon is configured with.
pub(crate) const GRACE_MS: i64 = REQUEST_TIMEOUT_MS + 60_000;

/// What one start does at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No run.
    Nothing,
    /// A run that runs, with its tag.
    Run,
    /// The same; the tag comes later by so many milliseconds.
    TagLate(i64),
    /// The same; the server fails to write the tag, and goes on.
    TagLost,
    /// The server dies while it makes the run: a row that never runs, with or without its tag.
    Stillborn { tagged: bool },
    /// Older servers leave a failed run behind when they refuse a start.
    FailedRow,
}

/// What the process gets to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Started,
    Refused(u16),
    NotStarted {
        http_status: Option<u16>,
        retry_after: Option<Duration>,
    },
    Unknown {
        http_status: Option<u16>,
    },
    /// Nothing; the client gives up.
    Silence,
}

/// The fate of one start, decided when it leaves.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    /// Milliseconds until the server takes it in; `None`: never.
    pub(crate) arrives: Option<i64>,
    pub(crate) effect: Effect,
    pub(crate) answer: Answer,
    /// Milliseconds from the leaving until the answer is back.
    pub(crate) answered: i64,
}

impl Fate {
    /// A start on a good day.
    pub(crate) fn good(dice: &mut Dice) -> Self {
        let arrives = dice.range(1, 50);
        Self {
            arrives: Some(arrives),
            effect: Effect::Run,
            answer: Answer::Started,
            answered: arrives + dice.range(1, 300),
        }
    }

    pub(crate) fn any(dice: &mut Dice, profile: &Profile) -> Self {
        let mut fate = Self::good(dice);
        if !dice.chance(profile.start_faults) {
            return fate;
        }
        let unknown = |status: Option<u16>| Answer::Unknown { http_status: status };
        let later = |seconds| Some(Duration::from_secs(seconds));
        (fate.effect, fate.answer) = match dice.range(0, 19) {
            0 => (Effect::Nothing, Answer::NotStarted { http_status: Some(429), retry_after: None }),
            1 => (Effect::Nothing, Answer::NotStarted { http_status: Some(429), retry_after: later(30) }),
            2 => (Effect::Nothing, Answer::NotStarted { http_status: Some(503), retry_after: later(5) }),
            3 => (Effect::Nothing, Answer::NotStarted { http_status: Some(403), retry_after: None }),
            4 => (Effect::Nothing, unknown(Some(500))),
            5 => (Effect::Run, unknown(Some(500))),
            6 => (Effect::Nothing, unknown(Some(503))),
            7 => (Effect::Run, unknown(Some(503))),
            8 => (Effect::Run, unknown(Some(200))),
            9 => (Effect::Nothing, Answer::Refused(dice.pick(&[404, 422]))),
            10 => (Effect::FailedRow, Answer::Refused(400)),
            11 => {
                (Effect::TagLate(dice.skewed(120_000)), if dice.chance(500) { Answer::Started } else { unknown(None) })
            }
            12 => (Effect::TagLost, if dice.chance(500) { Answer::Started } else { unknown(None) }),
            13 => (Effect::Stillborn { tagged: false }, unknown(None)),
            14 => (Effect::Stillborn { tagged: true }, unknown(None)),
            15 => (Effect::Run, Answer::Silence),
            // Slow, perhaps too slow.
            16 => {
                fate.answered += dice.range(1, 60_000);
                (Effect::Run, Answer::Started)
            }
            // The request is held on its way, and taken in when nobody waits for it any more.
            17 => {
                fate.arrives = Some(dice.range(REQUEST_TIMEOUT_MS, GRACE_MS - 1_000));
                (Effect::Run, Answer::Silence)
            }
            // It gets lost on its way, with or without the connection being reset.
            18 => {
                fate.arrives = None;
                (Effect::Nothing, if dice.chance(500) { Answer::Silence } else { unknown(None) })
            }
            // No connection.
            _ => {
                fate.arrives = None;
                (Effect::Nothing, Answer::NotStarted { http_status: None, retry_after: None })
            }
        };
        fate
    }
}
