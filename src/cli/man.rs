//! `skycron man`: the manual pages, made from the definitions of the command line. Prints one, or writes all into a folder.

use std::{fs, io, path::PathBuf};

use clap::{Args, CommandFactory};

use super::{args::Cli, context::Context, error::CliError, exit::Exit};

const AFTER_HELP: &str = "\
The Debian package installs them. Without it:
  skycron man --dir ~/.local/share/man/man1

Examples:
  skycron man | man -l -
  skycron man next | man -l -";

/// The arguments of `man`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ManArgs {
    /// The page of this command [else that of the whole program]
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// Write all pages into this folder, which is made if it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is no such command, or the folder or standard output cannot be written.
pub fn run(args: &ManArgs, context: &mut Context) -> Result<Exit, CliError> {
    let mut program = Cli::command();
    program.build();
    if let Some(folder) = &args.dir {
        let failed = |error: io::Error| {
            CliError::new(Exit::Bad, format!("the pages cannot be written to {}", folder.display())).source(error)
        };
        fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(program, folder).map_err(failed)?;
        return Ok(Exit::Done);
    }
    let page = match &args.command {
        None => program,
        Some(name) => {
            let names: Vec<_> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
            let unknown = || CliError::usage(format!("there is no command {name:?}")).hint(names.join(", "));
            let found = program.find_subcommand(name).ok_or_else(unknown)?;
            found.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).map_err(CliError::writing)?;
    context.output.line(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Exit::Done)
}
