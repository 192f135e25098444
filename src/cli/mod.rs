//! The commands: what a person types and sees. The only place that prints.
//!
//! One file for each command: its arguments, and a function from those and the [`Context`] to an [`Exit`]. It decides
//! nothing about schedules: it reads, asks the layers below, and shows the answer.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

use crate::{clock::SystemClock, config::Environment};

pub mod access;
pub mod args;
pub mod context;
pub mod error;
pub mod exit;
pub mod instant;
pub mod log;
pub mod output;
pub mod problems;
pub mod progress;

pub mod init;

pub mod run;

pub mod check;
pub mod next;
pub mod workflows;

pub mod history;
pub mod show;
pub mod why;

mod request;
pub mod trigger;

pub mod backfill;
pub mod pause;

pub mod mirror;

pub mod audit;
pub mod doctor;
pub mod notify;
pub mod status;

pub mod demo;
pub mod sandbox;

pub mod completions;
pub mod man;
pub mod schema;

use args::{Cli, Command};
use context::Context;
use exit::Exit;
use output::Output;

/// Runs the program with these arguments, the first being its own name, and answers with the exit code.
/// It can be called more than once in a process.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with code 0. A reader that has gone is not a failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let environment = Environment::of_process();
    let output = Output::of_process(cli.common.format, &environment);
    let mut context = Context { common: cli.common, environment, output, clock: SystemClock };
    let context = &mut context;
    let result = match cli.command {
        Command::Run(args) => run::run(&args, context),
        Command::Init(args) => init::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Workflows(args) => workflows::run(&args, context),
        Command::Next(args) => next::run(&args, context),
        Command::History(args) => history::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Why(args) => why::run(&args, context),
        Command::Trigger(args) => trigger::run(&args, context),
        Command::Backfill(args) => backfill::run(&args, context),
        Command::Pause(args) => pause::pause(&args, context),
        Command::Resume(args) => pause::resume(&args, context),
        Command::Mirror(args) => mirror::run(&args, context),
        Command::Audit(args) => audit::run(&args, context),
        Command::Status(args) => status::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Notify(args) => notify::run(&args, context),
        Command::Sandbox(args) => sandbox::run(&args, context),
        Command::Demo(args) => demo::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    };
    let result = result.and_then(|exit| context.output.flush().map(|()| exit));
    match result {
        Ok(exit) => exit.into(),
        Err(error) if error.reader_gone => Exit::Done.into(),
        Err(error) => {
            // What was printed before stands before what is said now, where both go to one place.
            let _ = context.output.flush();
            context.output.error(&error);
            error.class.into()
        }
    }
}
