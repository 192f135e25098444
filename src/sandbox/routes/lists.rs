//! The lists: runs with their filters, and workflows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::ids::WorkflowId;
use crate::sandbox::{
    bodies,
    check::{instant, positive},
    exchange::{Question, Reply},
    life::View,
    world::{Run, World},
};

/// Which of the lists of runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rows {
    Plain,
    Tasks,
    Unfiltered,
}

pub(super) fn rows(world: &World, workflow: Option<&str>, question: &Question, kind: Rows) -> Reply {
    let filter = match Filter::read(&question.query, if kind == Rows::Tasks { Some(100) } else { None }) {
        Ok(filter) => filter,
        Err(reply) => return reply,
    };
    let workflow = match workflow.map(WorkflowId::new) {
        None => None,
        Some(Ok(id)) => Some(id),
        // A workflow that does not exist has no runs.
        Some(Err(_)) => return Reply::ok(&json!([])),
    };
    let now = world.now();
    let filter_tags = kind != Rows::Unfiltered && !world.tags_ignored;
    let rows: Vec<Value> = world
        .newest_first(workflow.as_ref())
        // The list of tasks does not have what a crash left half-made.
        .filter(|run| kind != Rows::Tasks || !run.life.half_made)
        .filter(|run| !filter_tags || filter.tags.iter().all(|(key, values)| has_tag(run, now, key, values)))
        .filter(|run| filter.from.is_none_or(|from| run.life.created_at >= from))
        .filter(|run| filter.to.is_none_or(|to| run.life.created_at <= to))
        .map(|run| (run, world.view(run)))
        .filter(|(_, view)| filter.statuses.is_empty() || filter.statuses.iter().any(|word| word == view.status.word()))
        .skip(filter.skip)
        .take(filter.take)
        .map(|(run, view)| row(world, run, &view, kind))
        .collect();
    Reply::ok(&Value::Array(rows))
}

fn row(world: &World, run: &Run, view: &View, kind: Rows) -> Value {
    if kind == Rows::Tasks {
        bodies::task_row(run, view, world.is_deleted(&run.workflow_id))
    } else {
        bodies::row(run, view)
    }
}

/// Whether the run has one of these values (`None`: any) for the tag's name.
fn has_tag(run: &Run, now: DateTime<Utc>, key: &str, values: &[Option<String>]) -> bool {
    run.tags_at(now)
        .and_then(|tags| tags.get(key))
        .is_some_and(|value| values.iter().any(|wanted| wanted.as_ref().is_none_or(|wanted| wanted == value)))
}

/// The query of a list.
#[derive(Default)]
struct Filter {
    skip: usize,
    take: usize,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    statuses: Vec<String>,
    /// By name; values of one name are alternatives.
    tags: BTreeMap<String, Vec<Option<String>>>,
    search: Option<String>,
}

impl Filter {
    fn read(query: &str, page_size_max: Option<usize>) -> Result<Self, Reply> {
        let mut filter = Self::default();
        let (mut page, mut page_size) = (1_usize, 10_usize);
        let mut terms = 0_usize;
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "page" => page = positive("page", &value, None)?,
                "page_size" => page_size = positive("page_size", &value, page_size_max)?,
                "created_at_start" => filter.from = Some(instant("created_at_start", &value)?),
                "created_at_end" => filter.to = Some(instant("created_at_end", &value)?),
                "status" => filter.statuses.push(value.into_owned()),
                "search_key" | "title" if !value.is_empty() => filter.search = Some(value.to_lowercase()),
                "tags" if !value.is_empty() => {
                    for term in value.split(',') {
                        terms += 1;
                        let (name, value) = tag_term(term)?;
                        filter.tags.entry(name).or_default().push(value);
                    }
                }
                _ => {}
            }
        }
        if terms > 20 {
            return Err(Reply::detail(400, "Too many tag filter terms; at most 20 distinct terms are allowed."));
        }
        filter.take = page_size;
        filter.skip = (page - 1).saturating_mul(page_size);
        Ok(filter)
    }
}

fn tag_term(term: &str) -> Result<(String, Option<String>), Reply> {
    let wrong = || {
        let words = format!("Invalid tag filter '{term}'; expected 'label', 'key:*', or 'key:value'.");
        Err(Reply::detail(400, words))
    };
    match term.split_once(':') {
        // A label is a tag without a value, which metadata cannot make.
        None if !term.is_empty() => Ok((String::new(), Some(term.to_owned()))),
        Some((key, "*")) if !key.is_empty() => Ok((key.to_owned(), None)),
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        _ => wrong(),
    }
}

pub(super) fn workflows(world: &World, question: &Question) -> Reply {
    let filter = match Filter::read(&question.query, None) {
        Ok(filter) => filter,
        Err(reply) => return reply,
    };
    let rows: Vec<Value> = world
        .workflows()
        .filter(|workflow| {
            filter
                .search
                .as_ref()
                .is_none_or(|text| workflow.title.to_lowercase().contains(text) || workflow.id.as_str().contains(text))
        })
        .skip(filter.skip)
        .take(filter.take)
        .map(bodies::workflow)
        .collect();
    Reply::ok(&Value::Array(rows))
}
