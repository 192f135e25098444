//! What only the server knows about a good file: `check --online`.
//!
//! It asks one thing after another, one question for each distinct workflow, session and profile, and changes nothing. What
//! it finds are problems like those of the file, at their places in it; that the server cannot be asked is an error.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;

use crate::{
    cli::{
        access, context::Context, doctor::CLOCKS_APART_SECONDS_MIN, error::CliError, exit::Exit, progress::Progress,
    },
    clock::Clock,
    config::{Code, Config, Places, Problem},
    ids::WorkflowId,
    schedule::{Schedule, template::is_template},
    skyvern::{ApiErrorKind, BrowserState, Client, Workflow},
};

/// Distinct workflows, sessions and profiles that are asked about at most.
const QUESTIONS_MAX: usize = 2_000;

/// What the server said of itself, and what it says about the file.
pub(in crate::cli) struct Looked {
    /// `https://… answers: Skyvern 1.0.56; the key is accepted, for organisation o_1`.
    pub server: String,
    /// In the order of the file.
    pub problems: Vec<Problem>,
}

/// Asks.
///
/// # Errors
/// The key is not there or not accepted, the API cannot be used, or the file names too many workflows to ask about.
pub(in crate::cli) fn look(config: &Config, context: &mut Context) -> Result<Looked, CliError> {
    let client = access::client(config, &context.environment)?;
    let runtime = access::runtime()?;
    let subjects = subjects(config);
    if subjects.len() > QUESTIONS_MAX {
        let message = format!("the file names {} different workflows and browsers", subjects.len());
        return Err(
            CliError::new(Exit::Bad, message).hint(format!("check --online asks about {QUESTIONS_MAX} at most"))
        );
    }
    let (server, ahead) = runtime.block_on(greet(&client, context.clock))?;
    let mut progress = Progress::of(subjects.len() as u64, "workflows and browsers asked about", &context.output);
    let mut answers = BTreeMap::new();
    for subject in subjects {
        let answer = runtime.block_on(ask(&client, &subject))?;
        answers.insert(subject, answer);
        progress.step(&mut context.output);
    }
    let mut problems: Vec<Problem> = ahead.and_then(clocks).into_iter().collect();
    let found: Vec<Found> = config
        .schedules
        .iter()
        .enumerate()
        .flat_map(|(number, schedule)| of_schedule(number, schedule, &answers))
        .collect();
    // The text is only read again where there is something to point at.
    let places = (!found.is_empty()).then(|| Places::of(config));
    for Found { number, path, part, problem } in found {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let place = places.as_ref().and_then(|places| match part {
            Part::Key => places.key(number, &path),
            Part::Value => places.value(number, &path),
        });
        problems.push(Problem { place, ..problem });
    }
    Ok(Looked { server, problems })
}

/// A problem, and where it is: the number of the schedule, and the path of the key in it.
struct Found {
    number: usize,
    path: Vec<String>,
    part: Part,
    problem: Problem,
}

/// Everything that the answers say about one schedule.
fn of_schedule(number: usize, schedule: &Schedule, answers: &BTreeMap<Subject, Told>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut add = |path: Vec<String>, part: Part, problem: Problem| {
        let problem = Problem { schedule: Some(schedule.id.as_str().into()), ..problem };
        // What is not due starts nothing that could fail.
        let problem = if schedule.enabled { problem } else { problem.warning() };
        found.push(Found { number, path, part, problem });
    };
    match answers.get(&Subject::Workflow(schedule.workflow_id.clone())) {
        Some(Told::Workflow(Some(workflow))) => {
            for (path, part, problem) in parameters(schedule, workflow) {
                add(path, part, problem);
            }
        }
        Some(Told::Workflow(None)) => {
            let id = &schedule.workflow_id;
            let message =
                format!("the server has no workflow {id}: it was deleted, or belongs to another organisation");
            let problem = Problem::error(Code::NoWorkflow, message).hint("`skycron workflows` lists those of this key");
            add(vec!["workflow_id".to_owned()], Part::Value, problem);
        }
        _ => {}
    }
    for (option, subject) in browsers(schedule) {
        if let Some(Told::Browser(state)) = answers.get(&subject)
            && let Some(problem) = browser(option, &subject, state)
        {
            add(vec![option.to_owned()], Part::Value, problem);
        }
    }
    found
}

/// The server's name and version, whether it takes the key, and how far its clock is ahead.
async fn greet(client: &Client, clock: impl Clock) -> Result<(String, Option<TimeDelta>), CliError> {
    let failed = |error| access::api_error(&error);
    let asked = clock.now();
    let facts = access::patiently(|| client.server_facts()).await.map_err(failed)?;
    let ahead = facts.clock_ahead(asked, clock.now());
    let organization = access::patiently(|| client.check_key()).await.map_err(failed)?;
    let version = facts.version.as_deref().unwrap_or("of unknown version");
    let whose = organization.map_or_else(String::new, |organization| format!(", for organisation {}", organization.id));
    Ok((format!("{} answers: Skyvern {version}; the key is accepted{whose}", client.base_url()), ahead))
}

fn clocks(ahead: TimeDelta) -> Option<Problem> {
    let way = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    (ahead.abs() >= TimeDelta::seconds(CLOCKS_APART_SECONDS_MIN)).then(|| {
        let message = format!("the server's clock is {} s {way} this machine's", ahead.abs().num_seconds());
        let hint = "let a time service keep both: what is due starts by this machine's clock";
        Problem::error(Code::ClocksApart, message).hint(hint).warning()
    })
}

/// What can be asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Workflow(WorkflowId),
    Session(String),
    Profile(String),
}

enum Told {
    /// `None`: there is none.
    Workflow(Option<Workflow>),
    Browser(BrowserState),
}

fn subjects(config: &Config) -> std::collections::BTreeSet<Subject> {
    let of = |schedule: &Schedule| {
        let browsers: Vec<Subject> = browsers(schedule).into_iter().map(|(_, subject)| subject).collect();
        std::iter::once(Subject::Workflow(schedule.workflow_id.clone())).chain(browsers)
    };
    config.schedules.iter().map(AsRef::as_ref).flat_map(of).collect()
}

/// The browsers that a schedule names, with the keys that name them.
fn browsers(schedule: &Schedule) -> Vec<(&'static str, Subject)> {
    let text = |key: &str| schedule.run_options.get(key).and_then(Value::as_str).map(str::to_owned);
    let session = text("browser_session_id").map(|id| ("browser_session_id", Subject::Session(id)));
    let profile = text("browser_profile_id").map(|id| ("browser_profile_id", Subject::Profile(id)));
    session.into_iter().chain(profile).collect()
}

async fn ask(client: &Client, subject: &Subject) -> Result<Told, CliError> {
    let told = match subject {
        Subject::Workflow(id) => match access::patiently(|| client.get_workflow(id)).await {
            Ok(workflow) if workflow.deleted => Ok(Told::Workflow(None)),
            Ok(workflow) => Ok(Told::Workflow(Some(workflow))),
            Err(error) if error.kind == ApiErrorKind::NotFound => Ok(Told::Workflow(None)),
            Err(error) => Err(error),
        },
        Subject::Session(id) => access::patiently(|| client.browser_session(id)).await.map(Told::Browser),
        Subject::Profile(id) => access::patiently(|| client.browser_profile(id)).await.map(Told::Browser),
    };
    told.map_err(|error| access::api_error(&error))
}

fn browser(option: &str, subject: &Subject, state: &BrowserState) -> Option<Problem> {
    let (Subject::Session(id) | Subject::Profile(id)) = subject else { return None };
    let what = if option == "browser_session_id" { "browser session" } else { "browser profile" };
    match state {
        BrowserState::There | BrowserState::NotTold => None,
        BrowserState::Absent => Some(
            Problem::error(Code::NoBrowser, format!("the server has no {what} {id}"))
                .hint("check the id, and that the key belongs to the organisation that owns it"),
        ),
        BrowserState::Over(status) => Some(
            Problem::error(Code::NoBrowser, format!("the {what} {id} is over: {status}"))
                .hint("a session lives for hours at most: for a schedule, name a browser_profile_id instead"),
        ),
    }
}

/// Which part of an entry is meant.
enum Part {
    Key,
    Value,
}

/// What the workflow does not take of a schedule's parameters: with the path of the key.
fn parameters(schedule: &Schedule, workflow: &Workflow) -> Vec<(Vec<String>, Part, Problem)> {
    const KEY: &str = "parameters";
    let path = |key: &str| vec![KEY.to_owned(), key.to_owned()];
    let mut found = Vec::new();
    for (key, value) in &schedule.parameters {
        let declared = workflow.parameter(key).filter(|parameter| parameter.input);
        let Some(parameter) = declared else {
            let message =
                format!("the workflow {} declares no parameter {key:?}: the server drops it in silence", workflow.id);
            let inputs: Vec<&str> = workflow.parameters.iter().filter(|p| p.input).map(|p| p.key.as_str()).collect();
            let near = |name: &&&str| strsim::damerau_levenshtein(name, key) <= key.len().max(3) / 3;
            let hint = match inputs.iter().find(near) {
                Some(nearest) => format!("did you mean {nearest:?}?"),
                None if inputs.is_empty() => "it declares none".to_owned(),
                None => format!("it declares {}", inputs.join(", ")),
            };
            found.push((path(key), Part::Key, Problem::error(Code::UndeclaredParameter, message).hint(hint)));
            continue;
        };
        // What a template becomes is not known before it is due.
        if value.as_str().is_some_and(is_template) {
            continue;
        }
        if let Some(what) = parameter.unfit(value) {
            let message = format!("`{key}` {what}, and the workflow takes {}", in_words(&parameter.kind));
            let problem = Problem::error(Code::WrongParameter, message);
            found.push((path(key), Part::Value, problem.hint("the server would refuse each start")));
        }
    }
    for key in workflow.missing(&schedule.parameters) {
        let kind = workflow.parameter(key).map_or("", |parameter| parameter.kind.as_str());
        let message = format!("the workflow {} requires the parameter {key:?}, {}", workflow.id, in_words(kind));
        let problem = Problem::error(Code::MissingParameter, message).hint(format!("add parameters.{key} = …"));
        found.push((vec![KEY.to_owned()], Part::Key, problem));
    }
    found
}

/// The server's words for types.
fn in_words(kind: &str) -> String {
    match kind {
        "string" => "a text".to_owned(),
        "integer" => "an integer".to_owned(),
        "float" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "json" => "JSON".to_owned(),
        "file_url" => "the address of a file".to_owned(),
        "credential_id" => "the id of a credential".to_owned(),
        other => format!("a value of type {other}"),
    }
}
