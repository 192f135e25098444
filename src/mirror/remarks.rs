//! What the server would do differently from what the file says, in words: for whoever lets it fire. Nothing is decided
//! here but what the server cannot have at all ([`impossible`]).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::plan::{CopyState, Deed, Observed, Plan, Remark, RemarkKind};
use crate::{
    clock::rfc3339,
    ids::ScheduleId,
    schedule::{
        CatchUp, CronExpression, Fires, Fold, Gap, OnUnknown, Overlap, Schedule, server::server_differences,
        template::is_template_in,
    },
};

/// How the server's own scheduler works, told once where it fires anything.
const SCHEDULER: &str = "fires = \"server\": Skyvern's open-source scheduler looks once a minute, runs one scheduled run at a \
                         time (another one waits for its end), of several that it missed starts only the latest, and \
                         records no miss: this daemon watches for that";

/// Why a schedule cannot be at the server, and what to do.
pub(super) fn impossible(schedule: &Schedule, observed: &Observed) -> Option<(String, &'static str)> {
    let no = |reason: &str, hint: &'static str| Some((reason.to_owned(), hint));
    let server = schedule.policies.fires == Fires::Server;
    let definition = schedule.timetable.definition(true);
    if server && schedule.parameters.values().any(is_template_in) {
        return no("its parameters have templates, which the server would send as they stand", "fires = \"local\"");
    }
    if server && (definition.starts_at.is_some() || definition.ends_at.is_some()) {
        return no("the server's schedules have no beginning and no end", "take starts_at and ends_at out");
    }
    if schedule.timetable.cron_expression().is_some_and(CronExpression::is_refused_by_server) {
        return no("the server refuses weekdays together with `#` or `L` terms", "make two schedules of it");
    }
    if definition.cron_expression.is_none() && observed.has_newer_cadences == Some(false) {
        return no(
            "this server knows cron expressions only, not interval_seconds and run_at",
            "servers from 1.0.55 on know them; fires = \"local\" works with every server",
        );
    }
    None
}

/// Adds what is worth knowing about each schedule.
pub(super) fn add(plan: &mut Plan, wanted: &[Arc<Schedule>], observed: &Observed, now: DateTime<Utc>) {
    let copies: HashMap<&ScheduleId, &CopyState> =
        plan.copies.iter().filter(|copy| copy.current).map(|copy| (&copy.schedule, copy)).collect();
    let rewritten: HashSet<&ScheduleId> =
        plan.steps.iter().filter(|step| step.deed == Deed::Update).map(|step| &step.schedule).collect();
    let blocked: HashSet<&ScheduleId> = plan.blocked.iter().map(|blocked| &blocked.schedule).collect();
    let mut remarks = Vec::new();
    for schedule in wanted {
        let mut remark = |kind, message| remarks.push(Remark { kind, schedule: Some(schedule.id.clone()), message });
        let blocked = blocked.contains(&schedule.id);
        if schedule.policies.fires == Fires::Local {
            if !blocked && schedule.parameters.values().any(is_template_in) {
                let message = "its copy has templates as they stand: it must not be enabled by hand";
                remark(RemarkKind::Template, message.to_owned());
            }
            continue;
        }
        if blocked || !schedule.enabled {
            continue;
        }
        let missing = not_carried(schedule);
        if !missing.is_empty() {
            remark(RemarkKind::NotCarried, format!("the server does not carry {}", missing.join(", ")));
        }
        for difference in server_differences(&schedule.timetable, now) {
            remark(RemarkKind::Evaluation, difference.to_string());
        }
        // What is to be rewritten announces the instants of what it was.
        let rewritten = rewritten.contains(&schedule.id);
        let shown = copies.get(&schedule.id).filter(|_| !rewritten);
        let shown = shown.and_then(|copy| observed.next_runs.get(&copy.copy.id));
        if let Some(message) = shown.and_then(|shown| preview(schedule, shown, now)) {
            remark(RemarkKind::Preview, message);
        }
    }
    if wanted.iter().any(|schedule| schedule.enabled && schedule.policies.fires == Fires::Server) {
        let message = SCHEDULER.to_owned();
        plan.remarks.push(Remark { kind: RemarkKind::Scheduler, schedule: None, message });
    }
    plan.remarks.extend(remarks);
}

/// What a schedule asks for, other than by default, that the server's own schedules do not have.
fn not_carried(schedule: &Schedule) -> Vec<String> {
    let policies = &schedule.policies;
    let definition = schedule.timetable.definition(true);
    let mut missing = Vec::new();
    let mut unless = |default: bool, text: String| {
        if !default {
            missing.push(text);
        }
    };
    unless(policies.overlap == Overlap::default(), format!("overlap = \"{}\"", policies.overlap));
    unless(policies.catch_up == CatchUp::default(), format!("catch_up = \"{}\"", policies.catch_up));
    unless(policies.jitter.is_zero(), "jitter".to_owned());
    unless(policies.retry.is_none(), "retry".to_owned());
    unless(policies.run_timeout.is_none(), "run_timeout".to_owned());
    unless(policies.on_unknown == OnUnknown::default(), format!("on_unknown = \"{}\"", policies.on_unknown));
    unless(definition.gap == Gap::default().word(), format!("gap = \"{}\"", definition.gap));
    unless(definition.fold == Fold::default().word(), format!("fold = \"{}\"", definition.fold));
    missing.extend(schedule.run_options.keys().cloned());
    missing
}

/// The first instant at which the server's own preview says something else.
fn preview(schedule: &Schedule, shown: &[DateTime<Utc>], now: DateTime<Utc>) -> Option<String> {
    let mut after = now;
    for server in shown.iter().filter(|at| **at > now) {
        let due = schedule.timetable.next_after(after);
        if due != Some(*server) {
            let due = due.map_or("not at all any more".to_owned(), |due| format!("next at {}", rfc3339(due)));
            let server = rfc3339(*server);
            return Some(format!(
                "the server announces {server}, and by the file it is due {due} (the server's preview is known to be wrong \
                 around clock changes)"
            ));
        }
        after = *server;
    }
    None
}
