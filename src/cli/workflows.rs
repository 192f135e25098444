//! `skycron workflows`: the workflows of the key's organisation, and what each of them can be given. Asks the server only.

use clap::Args;
use comfy_table::Cell;
use serde_json::{Value, json};

use super::{
    access::{self, AccessArgs},
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    history::one_line,
    output::{Output, Tone, toned},
};
use crate::skyvern::{WORKFLOWS_MAX, Workflow, WorkflowParameter};

/// Longer defaults and titles are cut in the table; the JSON has them whole.
const TEXT_CHARS_MAX: usize = 60;

const AFTER_HELP: &str = "\
One line for each parameter: its type, and its default or `required`. Parameters that are secrets of other systems are
not listed: the workflow fetches them itself.

JSON, one object a line: id, title, version, parameters (each with key, type, default, required).

Examples:
  skycron workflows
  skycron workflows invoice
  skycron workflows --format json | jq -r .id
  skycron workflows --base-url http://localhost:8000 --api-key-file ~/skyvern.key";

/// The arguments of `workflows`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct WorkflowsArgs {
    /// Only those with this in their title, id or parameters, as the server searches
    #[arg(value_name = "SEARCH")]
    pub search: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = WORKFLOWS_MAX)]
    pub limit: usize,
    /// Which server.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Runs the command.
///
/// # Errors
/// The file, the key or the address is wrong, or the API cannot be used.
pub fn run(args: &WorkflowsArgs, context: &mut Context) -> Result<Exit, CliError> {
    let config = access::config(&args.access, context)?;
    let client = access::client(&config, &context.environment)?;
    let ask = access::patiently(|| client.list_workflows(args.search.as_deref(), args.limit));
    let found = access::runtime()?.block_on(ask).map_err(|error| access::api_error(&error))?;
    let output = &mut context.output;
    if output.format() == Format::Json {
        found.iter().try_for_each(|workflow| output.object(&object(workflow)))?;
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        output.note("no workflow is like that");
        return Ok(Exit::Done);
    }
    show(&found, output)?;
    if found.len() >= args.limit {
        output
            .note(format_args!("the first {}; --limit shows more, and a word to search for shows fewer", found.len()));
    }
    Ok(Exit::Done)
}

fn object(workflow: &Workflow) -> Value {
    let parameters: Vec<Value> = workflow
        .parameters
        .iter()
        .filter(|parameter| parameter.input)
        .map(|p| json!({ "key": p.key, "type": p.kind, "default": p.default, "required": p.required }))
        .collect();
    json!({ "id": workflow.id.as_str(), "title": workflow.title, "version": workflow.version, "parameters": parameters })
}

fn show(workflows: &[Workflow], output: &mut Output) -> Result<(), CliError> {
    let rows = workflows.iter().flat_map(|workflow| {
        let inputs: Vec<&WorkflowParameter> = workflow.parameters.iter().filter(|p| p.input).collect();
        let version = workflow.version.map_or_else(String::new, |version| version.to_string());
        let head = [
            toned(Tone::Strong, workflow.id.as_str()),
            Cell::new(one_line(&workflow.title, TEXT_CHARS_MAX)),
            Cell::new(version),
        ];
        let empty = [Cell::new(""), Cell::new(""), Cell::new("")];
        let mut rows = Vec::new();
        if inputs.is_empty() {
            rows.push([head.to_vec(), vec![toned(Tone::Dim, "none")]].concat());
        }
        for (number, parameter) in inputs.iter().enumerate() {
            let start = if number == 0 { head.to_vec() } else { empty.to_vec() };
            rows.push([start, cells(parameter)].concat());
        }
        rows
    });
    output.table(&["WORKFLOW", "TITLE", "VERSION", "PARAMETER", "TYPE", "DEFAULT"], rows)
}

fn cells(parameter: &WorkflowParameter) -> Vec<Cell> {
    let default = match &parameter.default {
        _ if parameter.required => toned(Tone::Warn, "required"),
        Some(value) => Cell::new(one_line(&value.to_string(), TEXT_CHARS_MAX)),
        None => toned(Tone::Dim, "none"),
    };
    vec![
        Cell::new(one_line(&parameter.key, TEXT_CHARS_MAX)),
        toned(Tone::Dim, one_line(&parameter.kind, TEXT_CHARS_MAX)),
        default,
    ]
}
