//! One `[[schedule]]`: from its raw keys to a checked schedule.

use std::{collections::HashMap, ops::Range};

use chrono::DateTime;
use toml::de::DeTable;

use super::{
    kinds::JsonTable,
    options::{self, RawOptions},
    policies::{self, PolicySet, RawPolicies},
    problem::{Code, Problem},
    reader::{At, Reading, read_shape, shape},
    timetable::{self, RawTimetable, Rules},
};
use crate::{
    clock::rfc3339,
    ids::{ScheduleId, ServerScheduleId, WorkflowId},
    schedule::{
        CronExpression, Fires, Schedule, Timetable,
        template::{self, Occasion},
    },
};

shape! {
    /// `[defaults]` as it is written.
    RawDefaults as "defaults" {
        /// The zone whose clocks a cron expression means: an IANA name.
        timezone: String = "UTC",
    }
    with {
        policies: RawPolicies,
    }
}

shape! {
    /// `[[schedule]]` as it is written.
    RawSchedule as "schedule" {
        /// The name that stays: it stands in commands, history and tags.
        id: String,
        /// The permanent id of the workflow.
        workflow_id: String,
        /// A name for people.
        name: String,
        /// What it is for.
        description: String,
        /// Whether it is due at all.
        enabled: bool = true,
        /// What the workflow is given. Texts may be templates over the occurrence.
        parameters: JsonTable,
        /// Skyvern's own schedule that is this one's copy (`wfs_…`). If it is not set, the mirror finds or makes one.
        server_schedule_id: String,
    }
    with {
        timetable: RawTimetable,
        policies: RawPolicies,
        options: RawOptions,
    }
    rules {
        "required": ["id", "workflow_id"],
        "oneOf": [
            { "required": ["cron_expression"] },
            { "required": ["interval_seconds", "first_fire_at"] },
            { "required": ["run_at"] },
        ],
        "dependencies": { "first_fire_at": ["interval_seconds"], "interval_seconds": ["first_fire_at"] },
    }
}

/// The longest name and description, in bytes: people read them, and the history repeats them.
const NAME_BYTES_MAX: usize = 500;
const DESCRIPTION_BYTES_MAX: usize = 10_000;

/// The ids so far, each with its place.
#[derive(Default)]
pub(super) struct Seen {
    ids: HashMap<ScheduleId, Range<usize>>,
    server_ids: HashMap<ServerScheduleId, Range<usize>>,
}

/// Reads and checks one schedule; `None`: at least one problem was added.
pub(super) fn read(
    table: &DeTable<'_>,
    place: &Range<usize>,
    base: &PolicySet,
    rules: &mut Rules<'_>,
    seen: &mut Seen,
    reading: &mut Reading<'_>,
) -> Option<(Schedule, Range<usize>)> {
    // Known before anything else is read, so that every problem says whose it is.
    reading.unused.clear();
    reading.templates.clear();
    reading.schedule = table.get("id").and_then(|id| id.get_ref().as_str()).map(Into::into);
    let raw: RawSchedule = read_shape(table, reading);
    let cron_place = raw.timetable.cron_expression.as_ref().map_or_else(|| place.clone(), |at| at.span.clone());
    let schedule = check(raw, place, base, rules, seen, reading);
    reading.schedule = None;
    Some((schedule?, cron_place))
}

fn check(
    raw: RawSchedule,
    place: &Range<usize>,
    base: &PolicySet,
    rules: &mut Rules<'_>,
    seen: &mut Seen,
    reading: &mut Reading<'_>,
) -> Option<Schedule> {
    let id = check_id(raw.id.as_ref(), place, seen, reading);
    let workflow_id = match &raw.workflow_id {
        None => missing(
            "workflow_id",
            "the permanent id of the workflow, as in workflow_id = \"wpid_123456789\"",
            place,
            reading,
        ),
        Some(at) => match WorkflowId::new(&at.value) {
            Ok(id) => Some(id),
            Err(error) => {
                reading.add(&at.span, Problem::error(Code::BadValue, format!("`workflow_id` {error}")));
                None
            }
        },
    };
    let set = policies::check(raw.policies, base, reading);
    let timetable = timetable::check(&raw.timetable, &set, place, rules, reading);
    let run_options = options::check(raw.options, reading);
    if let (Some(id), Some(timetable)) = (&id, &timetable) {
        check_templates(id, timetable, reading);
    }
    if set.policies.fires == Fires::Server {
        check_for_server(raw.parameters.as_ref(), &raw.timetable, timetable.as_ref(), reading);
    }
    let server_schedule_id = check_server_id(raw.server_schedule_id.as_ref(), seen, reading);
    let schedule = Schedule {
        server_schedule_id,
        name: bounded_text(raw.name, NAME_BYTES_MAX, reading),
        description: bounded_text(raw.description, DESCRIPTION_BYTES_MAX, reading),
        enabled: raw.enabled.is_none_or(|at| at.value),
        parameters: raw.parameters.map(|at| at.value.0).unwrap_or_default(),
        run_options,
        policies: set.policies,
        id: id?,
        workflow_id: workflow_id?,
        timetable: timetable?,
    };
    Some(schedule)
}

/// Tries every template out on an occurrence of the schedule: one that has another before it, where there is such.
fn check_templates(id: &ScheduleId, timetable: &Timetable, reading: &mut Reading<'_>) {
    if reading.templates.is_empty() {
        return;
    }
    let first = timetable.next_after(DateTime::UNIX_EPOCH);
    let second = first.and_then(|first| timetable.next_after(first));
    let Some(scheduled_for) = second.or(first) else { return };
    let occasion = Occasion {
        occurrence: format!("main/{id}@{}", rfc3339(scheduled_for)),
        schedule: id.clone(),
        scheduled_for,
        previous: timetable.previous_before(scheduled_for),
        next: timetable.next_after(scheduled_for),
        zone: timetable.zone().clone(),
    };
    for (text, span) in std::mem::take(&mut reading.templates) {
        if let Err(error) = template::render(&text, &occasion, &reading.secrets) {
            let problem =
                Problem::error(Code::BadTemplate, format!("the template cannot be rendered: {}", error.message));
            reading.add(&span, problem.hint("as in \"{{ scheduled_for | date('%Y-%m-%d') }}\""));
        }
    }
}

/// What Skyvern's own scheduler cannot have: it would do something else than the file says, in silence.
fn check_for_server(
    parameters: Option<&At<JsonTable>>,
    written: &RawTimetable,
    timetable: Option<&Timetable>,
    reading: &mut Reading<'_>,
) {
    let refused =
        |message: &str, hint: &str| Problem::error(Code::Conflict, format!("fires = \"server\": {message}")).hint(hint);
    if let Some(at) = parameters.filter(|at| at.value.0.values().any(template::is_template_in)) {
        let problem = refused("the server would send templates as they stand", "fires = \"local\", or plain values");
        reading.add(&at.span, problem);
    }
    if let Some(at) = written.starts_at.as_ref().or(written.ends_at.as_ref()) {
        let problem = refused("the server's schedules have no beginning and no end", "take starts_at and ends_at out");
        reading.add(&at.key, problem);
    }
    if let Some(at) = &written.run_at {
        let problem =
            refused("the server cannot switch a schedule off and on that is due once", "fires = \"local\" starts it");
        reading.add(&at.key, problem);
    }
    let refuses = timetable.and_then(Timetable::cron_expression).is_some_and(CronExpression::is_refused_by_server);
    if let Some(at) = written.cron_expression.as_ref().filter(|_| refuses) {
        let problem = refused("the server refuses weekdays together with `#` or `L` terms", "make two schedules of it");
        reading.add(&at.span, problem);
    }
}

fn missing<T>(key: &str, hint: &str, place: &Range<usize>, reading: &mut Reading<'_>) -> Option<T> {
    if reading.is_unused(key) {
        return None;
    }
    reading
        .add(place, Problem::error(Code::MissingKey, format!("the schedule has no {key}")).hint(format!("add {hint}")));
    None
}

fn check_id(
    raw: Option<&At<String>>,
    place: &Range<usize>,
    seen: &mut Seen,
    reading: &mut Reading<'_>,
) -> Option<ScheduleId> {
    let Some(at) = raw else {
        return missing(
            "id",
            "a name that stays: it stands in commands, history and tags, as in id = \"weekday-report\"",
            place,
            reading,
        );
    };
    let id = match ScheduleId::new(&at.value) {
        Ok(id) => id,
        Err(error) => {
            reading.add(&at.span, Problem::error(Code::BadValue, format!("`id` {error}")));
            return None;
        }
    };
    if let Some(first) = seen.ids.get(&id) {
        let problem = Problem::error(Code::DuplicateId, format!("the id {:?} is taken by another schedule", at.value))
            .hint("ids name one schedule each: choose another");
        reading.add_related(&at.span, problem, Some((first.clone(), "taken here")));
        return None;
    }
    seen.ids.insert(id.clone(), at.span.clone());
    Some(id)
}

fn check_server_id(raw: Option<&At<String>>, seen: &mut Seen, reading: &mut Reading<'_>) -> Option<ServerScheduleId> {
    let at = raw?;
    let id = match ServerScheduleId::new(&at.value) {
        Ok(id) => id,
        Err(error) => {
            reading.add(&at.span, Problem::error(Code::BadValue, format!("`server_schedule_id` {error}")));
            return None;
        }
    };
    if let Some(first) = seen.server_ids.insert(id.clone(), at.span.clone()) {
        let problem = Problem::error(Code::DuplicateId, format!("{id} is the copy of another schedule already"));
        let problem = problem.hint("one schedule of the server is the copy of one schedule of the file");
        reading.add_related(&at.span, problem, Some((first, "named here")));
    }
    Some(id)
}

fn bounded_text(raw: Option<At<String>>, bytes_max: usize, reading: &mut Reading<'_>) -> Option<String> {
    let at = raw?;
    if at.value.len() > bytes_max {
        reading.bad(&at, &format!("is longer than {bytes_max} bytes"));
    }
    Some(at.value)
}
