//! `skycron notify`: sends a test alarm to channels, and says what came back. Needs no daemon and no API.

use clap::Args;
use serde_json::json;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    output::Tone,
    run::{load, problem, secrets},
};
use crate::{
    alarm::{Target, test_alarm},
    clock::Clock,
    engine::alarm::AlarmEvent,
    skyvern::Posted,
};

const AFTER_HELP: &str = "\
Each channel of [notify], or those that are named, gets one alarm with the event `test`. A webhook gets it in its own form;
a ping gets a POST to its address with /log at the end, which healthchecks writes down and takes for no verdict.
In JSON one object a line with channel, status (sent or failed), message. Exit code 1 if one could not be sent.

Examples:
  skycron notify
  skycron notify ops --format json";

/// The arguments of `notify`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct NotifyArgs {
    /// The channels [else all]
    #[arg(value_name = "CHANNEL")]
    channels: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// The file is wrong, there is no such channel, or its address is not where the file says.
pub fn run(args: &NotifyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let config = load(context)?;
    let known = &config.settings.notify;
    if known.is_empty() {
        return Err(CliError::usage("the file has no channels")
            .hint("add one: [notify.ops], and below it webhook = { env = \"OPS_WEBHOOK\" }"));
    }
    if let Some(name) = args.channels.iter().find(|name| !known.keys().any(|known| known.as_str() == name.as_str())) {
        let all: Vec<&str> = known.keys().map(crate::ids::ChannelName::as_str).collect();
        return Err(
            CliError::usage(format!("there is no channel {name:?}")).hint(format!("there are: {}", all.join(", ")))
        );
    }
    let targets = Target::all(known, &secrets(&config, context)?, &context.environment).map_err(problem)?;
    let facts = test_alarm(context.clock.now(), &config.settings.instance);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Bad, "the runtime cannot be started").source(error))?;
    let mut exit = Exit::Done;
    for (name, target) in &targets {
        if !args.channels.is_empty() && !args.channels.iter().any(|wanted| wanted == name.as_str()) {
            continue;
        }
        let (status, message) = match runtime.block_on(target.send(AlarmEvent::Test, &facts)) {
            Posted::Taken => ("sent", None),
            Posted::NotNow { text, .. } | Posted::Refused { text } => ("failed", Some(text)),
        };
        if message.is_some() {
            exit = Exit::Bad;
        }
        let output = &mut context.output;
        if output.format() == Format::Json {
            output.object(&json!({ "channel": name.as_str(), "status": status, "message": message }))?;
            continue;
        }
        let tone = if message.is_some() { Tone::Bad } else { Tone::Good };
        let word = output.data_look().paint(tone, format_args!("{status:7}"));
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        output.line(format_args!("{word} {name}{message}"))?;
    }
    Ok(exit)
}
