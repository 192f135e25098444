//! The whole file: text → tree → settings and schedules, collecting every problem on the way.

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::{
    Environment,
    api::{self, RawApi},
    bounds::duration,
    history::{self, RawHistory},
    http::{self, RawHttp},
    kinds::Nested,
    mirror::{self, RawMirror},
    notify::{self, RawChannels},
    pieces,
    policies::{self, PolicySet},
    problem::{Code, Problem},
    reader::{At, FromToml, Reading, read_shape, shape},
    schedule::{self, RawDefaults, RawSchedule, Seen},
    schema,
    secrets::{self, RawSecrets},
    settings::Settings,
    timetable::{CronCache, Rules},
    webhook::{self, RawWebhook},
    zone_cache::ZoneCache,
    zones::{ZoneRulesChoice, ZoneSource},
};
use crate::{
    ids::Instance,
    schedule::{Schedule, Zone},
    secret::Secret,
};

shape! {
    /// The top level as it is written.
    RawFile as "" {
        /// The name of this installation: the first part of every occurrence's name. Give two installations that use one
        /// Skyvern organisation two names.
        instance: String = "main",
        /// Whose rules say when a zone changes its clocks. They are read again with the file, and once a day.
        zone_rules: ZoneRulesChoice = "auto",
        /// No schedule may be due more often than this. The API's own bound is five minutes; this can only be longer.
        min_interval: Duration ["5m", "366days"] = "5m",
        /// Read the file again by itself when it changes, and not only when told to (SIGHUP).
        reload_on_change: bool = false,
        /// Where the API is, how it is used, and where its key is.
        api: Nested<RawApi>,
        /// How much of the past is kept.
        history: Nested<RawHistory>,
        /// Whether all is well, for programs and for people.
        http: Nested<RawHttp>,
        /// Where Skyvern tells that a run has ended. Off unless it says how Skyvern reaches this machine.
        webhook: Nested<RawWebhook>,
        /// The schedules that Skyvern itself keeps, made equal to those of the file.
        mirror: Nested<RawMirror>,
        /// Where the secrets are that templates speak of as `{{ secrets.NAME }}`: a name, and a table as `api_key` takes it.
        /// The secrets themselves are never in the file, the history or the log.
        secrets: RawSecrets,
        /// Where alarms go: a table for each channel, under its name.
        notify: RawChannels,
        /// What holds for every schedule that does not say otherwise.
        defaults: Nested<RawDefaults>,
        /// The schedules: one `[[schedule]]` for each.
        schedule: Schedules,
    }
}

/// The array of schedules. Its elements are read one by one later, when the settings are known: all of them in raw form at
/// once would need many times the memory of the checked ones.
#[derive(Debug, Clone)]
pub(super) struct Schedules;

impl FromToml for Schedules {
    const EXPECTED: &'static str = "an array of tables";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        match value {
            DeValue::Array(_) => Some(Self),
            DeValue::Table(_) => {
                let hint = "write [[schedule]] with two brackets: there can be many";
                reading.wrong_type(span, Self::EXPECTED, value, Some(hint));
                None
            }
            _ => {
                reading.wrong_type(span, Self::EXPECTED, value, Some("write [[schedule]], and the keys below it"));
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": schema::of_shape::<RawSchedule>() })
    }
}

/// The name of an installation that has none.
const INSTANCE: &str = "main";
const MIN_INTERVAL_SECONDS: u64 = 300;
const DAY_SECONDS: u64 = 24 * 3600;

/// What is in a file.
pub(super) struct Checked {
    pub settings: Settings,
    pub schedules: Vec<Arc<Schedule>>,
    /// For each schedule, where its cron expression is, or else the schedule itself.
    pub places: Vec<Range<usize>>,
    pub zones: ZoneSource,
}

/// Reads a text. What could be read is there beside the problems; it counts only if none of them is an error.
///
/// A file in which there is nothing to tell is read one schedule at a time. Whatever there is to tell is found in the whole,
/// where every place is known.
pub(super) fn read(path: &Path, environment: &Environment, reading: &mut Reading<'_>) -> Checked {
    hide_misplaced_keys(reading);
    if let Some(checked) = in_pieces(path, environment, reading.text) {
        return checked;
    }
    let tree = parse(reading.text, reading);
    check(path, environment, &tree, reading, |rules, base, reading| schedules(&tree, base, rules, reading))
}

/// Reads a text piece by piece; `None`: there is something to tell about it, or it cannot be cut.
fn in_pieces(path: &Path, environment: &Environment, text: &str) -> Option<Checked> {
    let pieces = pieces::cut(text)?;
    let mut reading = Reading::new(text);
    let head = parse(&text[pieces.head], &mut reading);
    let checked = check(path, environment, &head, &mut reading, |rules, base, reading| {
        let mut seen = Seen::default();
        let mut schedules = Vec::with_capacity(pieces.schedules.len());
        for piece in pieces.schedules {
            let tree = parse(&text[piece.clone()], reading);
            let found = schedules_of(&tree, base, rules, &mut seen, reading);
            schedules.extend(found.into_iter().map(|(schedule, place)| (schedule, shifted(&place, piece.start))));
            if reading.has_problems() {
                break;
            }
        }
        schedules
    });
    (!reading.has_problems()).then_some(checked)
}

fn shifted(place: &Range<usize>, by: usize) -> Range<usize> {
    place.start + by..place.end + by
}

fn parse<'t>(text: &'t str, reading: &mut Reading<'_>) -> DeTable<'t> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        reading.add(&span, Problem::error(Code::Syntax, error.message()));
    }
    tree.into_inner()
}

/// Checks the settings of a tree and the schedules that `schedules` finds.
fn check(
    path: &Path,
    environment: &Environment,
    tree: &DeTable<'_>,
    reading: &mut Reading<'_>,
    schedules: impl FnOnce(&mut Rules<'_>, &PolicySet, &mut Reading<'_>) -> Vec<(Arc<Schedule>, Range<usize>)>,
) -> Checked {
    let raw: RawFile = read_shape(tree, reading);
    let settings = settings(&raw, path, reading);
    let rules_place = raw.zone_rules.as_ref().map_or(0..0, |at| at.span.clone());
    let mut zones = ZoneCache::open(settings.zone_rules, &rules_place, environment, reading);
    let defaults = raw.defaults.map(|at| at.value.0).unwrap_or_default();
    let default_zone = match &defaults.timezone {
        None => Some(Zone::utc()),
        Some(at) => zones.look_up(at, reading),
    };
    let base = policies::check(defaults.policies, &PolicySet::default(), reading);
    let mut rules =
        Rules { zones: &mut zones, default_zone, min_interval: settings.min_interval, crons: CronCache::default() };
    let (schedules, places): (Vec<_>, Vec<_>) = schedules(&mut rules, &base, reading).into_iter().unzip();
    mirror::check_needed(&settings.mirror, &schedules, &places, reading);
    reading.drop_consequences_of_syntax_errors();
    Checked { settings, schedules, places, zones: zones.into_source() }
}

fn schedules(
    tree: &DeTable<'_>,
    base: &PolicySet,
    rules: &mut Rules<'_>,
    reading: &mut Reading<'_>,
) -> Vec<(Arc<Schedule>, Range<usize>)> {
    if !tree.contains_key("schedule") {
        let problem = Problem::error(Code::Surprise, "the file has no schedules").hint("add a [[schedule]]").warning();
        reading.add(&(0..0), problem);
    }
    schedules_of(tree, base, rules, &mut Seen::default(), reading)
}

/// The schedules of a tree, each with its place in the text that it was made from.
fn schedules_of(
    tree: &DeTable<'_>,
    base: &PolicySet,
    rules: &mut Rules<'_>,
    seen: &mut Seen,
    reading: &mut Reading<'_>,
) -> Vec<(Arc<Schedule>, Range<usize>)> {
    let Some(DeValue::Array(array)) = tree.get("schedule").map(toml::Spanned::get_ref) else { return Vec::new() };
    let mut schedules = Vec::with_capacity(array.len());
    for item in array.iter() {
        match item.get_ref() {
            DeValue::Table(table) => {
                let read = schedule::read(table, &item.span(), base, rules, seen, reading);
                schedules.extend(read.map(|(schedule, place)| (Arc::new(schedule), place)));
            }
            other => {
                reading.key = "schedule".to_owned();
                reading.wrong_type(&item.span(), "tables", other, Some("write [[schedule]], and the keys below it"));
            }
        }
    }
    schedules
}

fn settings(raw: &RawFile, path: &Path, reading: &mut Reading<'_>) -> Settings {
    let secrets = secrets::check(raw.secrets.as_ref(), path, reading);
    // Templates are tried out with a stand-in for every secret: what is in them is not read here.
    reading.secrets = secrets.keys().map(|name| (name.clone(), Secret::new("secret".to_owned()))).collect();
    let notify = notify::check(raw.notify.as_ref(), path, reading);
    // Also those that have a problem of their own: it is told once, not by everybody who names them.
    reading.channels = raw.notify.iter().flat_map(|at| at.value.names()).collect();
    Settings {
        instance: instance(raw.instance.as_ref(), reading),
        zone_rules: raw.zone_rules.as_ref().map(|at| at.value).unwrap_or_default(),
        min_interval: min_interval(raw.min_interval.as_ref(), reading),
        reload_on_change: raw.reload_on_change.as_ref().is_some_and(|at| at.value),
        api: match &raw.api {
            Some(at) => api::check(&at.value.0, path, reading),
            None => api::check(&RawApi::default(), path, reading),
        },
        history: match &raw.history {
            Some(at) => history::check(&at.value.0, reading),
            None => history::check(&RawHistory::default(), reading),
        },
        http: match &raw.http {
            Some(at) => http::check(&at.value.0, reading),
            None => http::check(&RawHttp::default(), reading),
        },
        webhook: raw.webhook.as_ref().and_then(|at| {
            let place = At { value: (), span: at.span.clone(), key: at.key.clone() };
            webhook::check(&at.value.0, &place, reading)
        }),
        mirror: match &raw.mirror {
            Some(at) => mirror::check(&at.value.0, reading),
            None => mirror::check(&RawMirror::default(), reading),
        },
        secrets,
        notify,
    }
}

fn instance(raw: Option<&At<String>>, reading: &mut Reading<'_>) -> Instance {
    if let Some(at) = raw {
        match Instance::new(&at.value) {
            Ok(instance) => return instance,
            Err(error) => reading.add(&at.span, Problem::error(Code::BadValue, format!("`instance` {error}"))),
        }
    }
    #[expect(clippy::expect_used, reason = "a constant that every test run reads")]
    Instance::new(INSTANCE).expect("the default name is one")
}

fn min_interval(raw: Option<&At<Duration>>, reading: &mut Reading<'_>) -> Duration {
    let least = Duration::from_secs(MIN_INTERVAL_SECONDS);
    let Some(at) = raw else { return least };
    if at.value < least {
        let problem = Problem::error(Code::BadValue, "`min_interval` is shorter than the five minutes of the API");
        reading.add(&at.span, problem.hint("it can only ask for more"));
        return least;
    }
    duration(raw, MIN_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS, 366 * DAY_SECONDS, reading)
}

/// What follows `api_key` on its line may be the key itself, in a form that is not TOML: then nothing reads it as a value,
/// and the line would be shown with the syntax error.
fn hide_misplaced_keys(reading: &mut Reading<'_>) {
    let text = reading.text;
    for (at, word) in text.match_indices("api_key") {
        let line_end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        let value = text[at + word.len()..line_end].trim_start_matches(['=', ':', ' ', '\t', '"', '\'']);
        if !value.is_empty() && !value.starts_with('{') {
            reading.hide(&(line_end - value.len()..line_end));
        }
    }
}
