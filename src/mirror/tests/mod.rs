//! The mirror without a network: plans as tables, and applies against a model server that loses answers and dies on order.

mod content;
mod model;
mod plan;
mod random;
mod remarks;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Content, Deed, Marker, Observed, Plan, PlanSettings};
use crate::{
    clock::parse_rfc3339,
    config::{Config, Environment},
    engine::change::MirrorCopy,
    ids::{Instance, ScheduleId, ServerScheduleId, WorkflowId},
    schedule::Schedule,
    skyvern::{ServerCadence, ServerSchedule},
};

fn now() -> DateTime<Utc> {
    parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
}

fn instance() -> Instance {
    Instance::new("main").unwrap()
}

fn settings(prune: bool) -> PlanSettings {
    PlanSettings { instance: instance(), prune }
}

/// The schedules of a file, each written as `id workflow cron; further keys`.
fn file(schedules: &[&str]) -> Vec<Arc<Schedule>> {
    let mut text = "[mirror]\nenabled = true\n".to_owned();
    for schedule in schedules {
        let (head, keys) = schedule.split_once(';').unwrap_or((schedule, ""));
        let words: Vec<&str> = head.splitn(3, ' ').collect();
        let [id, workflow, when] = words[..] else { panic!("{schedule}") };
        let cadence = if when.contains('=') { when.to_owned() } else { format!("cron_expression = \"{when}\"") };
        let keys = keys.replace(';', "\n");
        text += &format!("[[schedule]]\nid = \"{id}\"\nworkflow_id = \"wpid_{workflow}\"\n{cadence}\n{keys}\n");
    }
    match Config::parse("schedules.toml".as_ref(), &text, &Environment::default()) {
        Ok(config) => config.schedules,
        Err(problems) => panic!("{:?}\n{text}", problems.list),
    }
}

/// A schedule of the server, written as `id workflow cron; words`: `on`, `marker=instance/id`, `name=…`, `text=…`,
/// `zone=…`, `age=minutes`, `p=value`.
fn at_server(text: &str) -> ServerSchedule {
    let mut parts = text.split(';').map(str::trim);
    let words: Vec<&str> = parts.next().unwrap().splitn(3, ' ').collect();
    let [id, workflow, cron] = words[..] else { panic!("{text}") };
    let mut server = ServerSchedule {
        id: ServerScheduleId::new(id).unwrap(),
        workflow_id: WorkflowId::new(&format!("wpid_{workflow}")).unwrap(),
        enabled: false,
        cadence: Some(ServerCadence::Cron(cron.to_owned())),
        timezone: "UTC".to_owned(),
        name: None,
        description: None,
        parameters: serde_json::Map::new(),
        next_runs: Vec::new(),
        dispatch_status: None,
        run_id: None,
        created_at: Some(now() - TimeDelta::minutes(100)),
        modified_at: Some(now() - TimeDelta::minutes(100)),
    };
    for part in parts {
        match part.split_once('=') {
            None if part == "on" => server.enabled = true,
            Some(("marker", marker)) => {
                let (instance, schedule) = marker.split_once('/').unwrap();
                let marker =
                    Marker { instance: Instance::new(instance).unwrap(), schedule: ScheduleId::new(schedule).unwrap() };
                server.description = Some(marker.added_to(server.description.as_deref()));
            }
            Some(("name", name)) => server.name = Some(name.to_owned()),
            Some(("text", text)) => server.description = Some(text.to_owned()),
            Some(("zone", zone)) => server.timezone = zone.to_owned(),
            Some(("p", value)) => {
                server.parameters.insert("p".to_owned(), value.into());
            }
            Some(("age", minutes)) => {
                server.created_at = Some(now() - TimeDelta::minutes(minutes.parse().unwrap()));
            }
            Some(("once", at)) => server.cadence = Some(ServerCadence::Once { run_at: parse_rfc3339(at).unwrap() }),
            _ => panic!("{part}"),
        }
    }
    server
}

/// The row of a copy, written as the copy was when it was applied, with the schedule's id behind `=>`.
fn row(text: &str) -> MirrorCopy {
    let (server, schedule) = text.split_once("=>").unwrap();
    let server = at_server(server.trim());
    MirrorCopy {
        instance: Marker::find(server.description.as_deref()).map_or(instance(), |marker| marker.instance),
        schedule: ScheduleId::new(schedule.trim()).unwrap(),
        workflow_id: server.workflow_id.clone(),
        applied: Content::of_server(&server).to_json(),
        server_schedule_id: server.id,
    }
}

fn observed(server: &[&str], rows: &[&str]) -> Observed {
    Observed {
        server: server.iter().map(|text| at_server(text)).collect(),
        rows: rows.iter().map(|text| row(text)).collect(),
        ..Observed::default()
    }
}

/// A plan as lines: the steps, what is blocked, remarks that mean trouble, claims.
fn lines(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> = plan
        .steps
        .iter()
        .map(|step| {
            let copy = step.server_id.as_ref().map_or(String::new(), |id| format!(" {id}"));
            let drift = if step.origin == super::Origin::Server { " [drift]" } else { "" };
            let mut line = format!("{} {}{copy}{drift}: {}", step.deed, step.schedule, step.reason);
            for change in &step.changes {
                line += &format!("; {} {} -> {}", change.field, change.before, change.after);
            }
            if step.deed == Deed::Create {
                line += &format!(" ({})", step.workflow_id);
            }
            line
        })
        .collect();
    lines.extend(plan.blocked.iter().map(|blocked| format!("blocked {}: {}", blocked.schedule, blocked.reason)));
    lines.extend(plan.remarks.iter().filter(|remark| !matches!(remark.kind, super::RemarkKind::Scheduler)).map(
        |remark| {
            format!("{} {}: {}", remark.kind, remark.schedule.as_ref().map_or("", ScheduleId::as_str), remark.message)
        },
    ));
    lines.extend(plan.claims.iter().map(|row| format!("claim {} {}", row.schedule, row.server_schedule_id)));
    if plan.foreign > 0 {
        lines.push(format!("foreign {}", plan.foreign));
    }
    lines
}
