//! `skycron completions`: what a shell needs to complete the command line, made from its definitions. Prints, installs nothing.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{args::Cli, context::Context, error::CliError, exit::Exit};

const AFTER_HELP: &str = "\
The Debian package installs them. Without it:
  skycron completions bash > ~/.local/share/bash-completion/completions/skycron
  skycron completions zsh  > /usr/local/share/zsh/site-functions/_skycron
  skycron completions fish > ~/.config/fish/completions/skycron.fish";

/// The arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &CompletionsArgs, context: &mut Context) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "skycron", &mut script);
    context.output.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
