//! What goes wrong, and when: a plan is a list of rules `<call>:<when>=<fault>`, separated by commas.
//!
//! - call: `start`, `get`, `cancel`, `list` (of runs); `schedules` (looking at some), `create`, `update`, `enable`, `disable`,
//!   `delete` (one of them), `change` (any of these five, and cancelling one); `fire` (a start by the server's own scheduler);
//!   `any`
//! - when: `3` (the third such call since the plan was put in), `2-5`, `7-` (from the seventh on), `*`, or `10%` (by chance,
//!   the same for the same seed)
//! - fault: see [`Fault`]
//!
//! As in `start:3=reset-after,start:10%=500-before,get:*=delay:200ms`. The first rule that fits a call counts.

use std::{str::FromStr, time::Duration};

/// Something that goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `delay:2s`: it is done at once, and answered late.
    Delay(Duration),
    /// `stall:2s`: it is done late, whether or not somebody still waits for the answer.
    Stall(Duration),
    /// `reset-before`: the connection is reset, nothing was done.
    ResetBefore,
    /// `reset-after`: it is done, then the connection is reset.
    ResetAfter,
    /// `500-before`: a 500, nothing was done.
    ErrorBefore,
    /// `500-after`: it is done, then a 500.
    ErrorAfter,
    /// `429` or `429:30`: too many requests, with `Retry-After` if given.
    RateLimited(Option<u64>),
    /// `busy`: the 503 of a full server, which says that no run was created, with `Retry-After: 5`.
    Busy,
    /// `db-before`: the 503 of a lost database; nothing was done.
    DatabaseBefore,
    /// `db-after`: the same 503, but it was done.
    DatabaseAfter,
    /// `unreadable`: it is done, the answer is not JSON.
    Unreadable,
    /// `truncated`: it is done, the answer breaks off.
    Truncated,
    /// `huge` or `huge:1000000`: it is done, the answer has so many bytes (64 MiB).
    Huge(u64),
    /// `403`: as for a wrong key.
    Forbidden,
    /// `404`: as for a workflow or run that does not exist.
    NotFound,
    /// `status:418`: any status, nothing was done. From 300 to 399 it is a redirect to `/elsewhere`.
    Status(u16),
    /// `plain:404`: any status, in the words of a proxy; nothing was done.
    Plain(u16),
    /// `501`: the server's schedules are switched off.
    Disabled,
    /// `no-route`: the server does not have the call.
    NoRoute,
    /// `limit` or `limit:5`: the plan's limit of schedules is reached.
    Limit(usize),
    /// `502-before`: the scheduling service failed, and what was done was undone.
    SyncBefore,
    /// `502-after`: the same, but undoing failed too.
    SyncAfter,
    /// `half`: half of the rows of a list of schedules, with the count of all.
    Half,
    /// `shifted`: a list of schedules as if the newest had been deleted a moment ago.
    Shifted,
    /// `missed`: the server's own scheduler lets the occurrence pass.
    Missed,
    /// `tag-late:2s`: the run is there at once, its tags come later.
    TagLate(Duration),
    /// `crash-row`: as if the server died after it wrote the run, before its tags: connection reset, a run without tags that
    /// never begins.
    CrashRow,
    /// `crash-tag`: as if it died after the tags: a run with tags that never begins.
    CrashTag,
}

/// Why a plan cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault {rule:?}: {problem}; the form is <call>:<when>=<fault>, as in start:3=reset-after or get:10%=delay:2s")]
pub struct FaultError {
    rule: String,
    problem: &'static str,
}

/// The kinds of call that a fault can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Start,
    Get,
    Cancel,
    List,
    Schedules,
    Create,
    Update,
    Enable,
    Disable,
    Delete,
    CancelSchedule,
    /// In a rule: any change of a schedule.
    Change,
    Fire,
    Any,
}

impl Call {
    /// Whether it changes a schedule.
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Enable | Self::Disable | Self::Delete | Self::CancelSchedule)
    }

    /// Whether a rule for this kind of call is for that call.
    fn covers(self, call: Self) -> bool {
        self == call || (self == Self::Any && call != Self::Fire) || (self == Self::Change && call.is_change())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    /// From and to, both included.
    Numbers(u64, u64),
    /// The share, 0 to 1.
    Chance(f64),
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    call: Call,
    when: When,
    fault: Fault,
    /// How many such calls there were.
    seen: u64,
}

/// What goes wrong. See the module's page for how it is written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultPlan {
    rules: Vec<Rule>,
}

impl FaultPlan {
    /// The fault that this call meets. Counts the call for every rule.
    pub(super) fn pick(&mut self, call: Call, seed: u64) -> Option<Fault> {
        let mut picked = None;
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if !rule.call.covers(call) {
                continue;
            }
            rule.seen += 1;
            let fits = match rule.when {
                When::Numbers(from, to) => (from..=to).contains(&rule.seen),
                When::Chance(share) => chance(seed ^ (index as u64) << 48, rule.seen) < share,
            };
            if fits && picked.is_none() {
                picked = Some(rule.fault.clone());
            }
        }
        picked
    }
}

/// A number from 0 up to 1 that depends on nothing but its arguments (splitmix64).
pub(super) fn chance(seed: u64, number: u64) -> f64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bits = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

impl FromStr for FaultPlan {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rules =
            text.split(',').map(str::trim).filter(|rule| !rule.is_empty()).map(rule).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }
}

fn rule(text: &str) -> Result<Rule, FaultError> {
    let wrong = |problem| FaultError { rule: text.to_owned(), problem };
    let (head, fault) = text.split_once('=').ok_or(wrong("there is no '='"))?;
    let (call, when) = head.split_once(':').ok_or(wrong("there is no ':' before the '='"))?;
    let call = match call.trim() {
        "start" => Call::Start,
        "get" => Call::Get,
        "cancel" => Call::Cancel,
        "list" => Call::List,
        "schedules" => Call::Schedules,
        "create" => Call::Create,
        "update" => Call::Update,
        "enable" => Call::Enable,
        "disable" => Call::Disable,
        "delete" => Call::Delete,
        "change" => Call::Change,
        "fire" => Call::Fire,
        "any" => Call::Any,
        _ => {
            return Err(wrong(
                "the call is none of start, get, cancel, list, schedules, create, update, enable, disable, delete, change, fire, any",
            ));
        }
    };
    let when = when_of(when.trim()).ok_or(wrong("the number is none of 3, 2-5, 7-, *, 10%"))?;
    let fault = fault_of(fault.trim()).ok_or(wrong("there is no such fault, or its argument is wrong"))?;
    Ok(Rule { call, when, fault, seen: 0 })
}

fn when_of(text: &str) -> Option<When> {
    if text == "*" {
        return Some(When::Numbers(1, u64::MAX));
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().ok()?;
        return (0.0..=100.0).contains(&percent).then_some(When::Chance(percent / 100.0));
    }
    let (from, to) = match text.split_once('-') {
        None => (text.parse().ok()?, text.parse().ok()?),
        Some((from, "")) => (from.parse().ok()?, u64::MAX),
        Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
    };
    (1 <= from && from <= to).then_some(When::Numbers(from, to))
}

fn fault_of(text: &str) -> Option<Fault> {
    let (word, argument) = match text.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (text, None),
    };
    let time = || humantime::parse_duration(argument?).ok();
    let status = || argument?.parse::<u16>().ok().filter(|status| (300..=599).contains(status));
    let fault = match word {
        "delay" => return Some(Fault::Delay(time()?)),
        "stall" => return Some(Fault::Stall(time()?)),
        "tag-late" => return Some(Fault::TagLate(time()?)),
        "status" => return Some(Fault::Status(status()?)),
        "plain" => return Some(Fault::Plain(status()?)),
        "429" => return Some(Fault::RateLimited(argument.map(str::parse).transpose().ok()?)),
        "huge" => return Some(Fault::Huge(argument.map_or(Ok(64 * 1024 * 1024), str::parse).ok()?)),
        "reset-before" => Fault::ResetBefore,
        "reset-after" => Fault::ResetAfter,
        "500-before" => Fault::ErrorBefore,
        "500-after" => Fault::ErrorAfter,
        "busy" => Fault::Busy,
        "db-before" => Fault::DatabaseBefore,
        "db-after" => Fault::DatabaseAfter,
        "unreadable" => Fault::Unreadable,
        "truncated" => Fault::Truncated,
        "403" => Fault::Forbidden,
        "404" => Fault::NotFound,
        "limit" => return Some(Fault::Limit(argument.map_or(Ok(1), str::parse).ok()?)),
        "501" => Fault::Disabled,
        "no-route" => Fault::NoRoute,
        "502-before" => Fault::SyncBefore,
        "502-after" => Fault::SyncAfter,
        "half" => Fault::Half,
        "shifted" => Fault::Shifted,
        "missed" => Fault::Missed,
        "crash-row" => Fault::CrashRow,
        "crash-tag" => Fault::CrashTag,
        _ => return None,
    };
    argument.is_none().then_some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_are_wrong() {
        let check = |text: &str, problem: &str| {
            let error = text.parse::<FaultPlan>().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        };
        check("start", "no '='");
        check("start=500-after", "no ':'");
        check("stop:1=429", "none of start");
        check("start:0=429", "none of 3");
        check("start:5-2=429", "none of 3");
        check("start:101%=429", "none of 3");
        check("start:1=explode", "no such fault");
        check("start:1=delay", "no such fault");
        check("start:1=reset-after:3", "no such fault");
        check("start:1=status:200", "no such fault");
        check("start:1=busy,list:x=busy", "list:x=busy");
    }

    /// Which of the first calls meet which fault.
    fn check(plan: &str, calls: &[(Call, Option<Fault>)]) {
        let mut plan: FaultPlan = plan.parse().unwrap();
        for (number, (call, expected)) in calls.iter().enumerate() {
            assert_eq!(&plan.pick(*call, 1), expected, "call {number}");
        }
    }

    #[test]
    fn rules_are_met_by_number() {
        use Call::{Get, Start};
        check(
            "start:2=reset-after, any:3-=429:30, start:*=delay:2s",
            &[
                (Start, Some(Fault::Delay(Duration::from_secs(2)))),
                (Start, Some(Fault::ResetAfter)),
                (Get, Some(Fault::RateLimited(Some(30)))),
                (Start, Some(Fault::RateLimited(Some(30)))),
            ],
        );
        check("", &[(Start, None), (Get, None)]);
        check("get:1=busy", &[(Start, None), (Get, Some(Fault::Busy)), (Get, None)]);
    }

    #[test]
    fn chance_has_its_share_and_repeats() {
        let hits = |seed| {
            let mut plan: FaultPlan = "start:10%=busy".parse().unwrap();
            (0..1000_u32).filter(|_| plan.pick(Call::Start, seed).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        assert!((70..130).contains(&hits(7).len()), "{}", hits(7).len());
    }
}
