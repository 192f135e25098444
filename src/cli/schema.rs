//! `skycron schema`: the JSON Schema of the file, for editors. What it says is made in `config` from the parser's own keys.

use clap::Args;

use super::{args::Format, context::Context, error::CliError, exit::Exit};
use crate::config;

const AFTER_HELP: &str = "\
An editor with a TOML plug-in (Even Better TOML, taplo) then completes keys, shows what they are for, and marks what is
wrong, as you type. It looks for the schema where the first line of the file says:

  #:schema ./schedules.schema.json

The schema knows keys, types, words and bounds. Only `skycron check` knows calendars, zones and what goes together.

Examples:
  skycron schema > schedules.schema.json
  skycron schema --format json | jq '.properties.api'";

/// The arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct SchemaArgs {}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(_args: &SchemaArgs, context: &mut Context) -> Result<Exit, CliError> {
    let schema = config::schema();
    match context.output.format() {
        Format::Json => context.output.object(&schema)?,
        Format::Text => context.output.line(format_args!("{schema:#}"))?,
    }
    Ok(Exit::Done)
}
