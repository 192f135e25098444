//! The one integration binary: the real program, seen from outside. One module for each command, `support` for what they
//! share; a single binary, so that linking is paid for once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod daemon_rig;
mod mirror_rig;
mod support;
mod terminal;

mod calendar;
mod cli_audit;
mod cli_check;
mod cli_check_mirror;
mod cli_common;
mod cli_doctor;
mod cli_failures;
mod cli_init;
mod cli_mirror;
mod cli_mirror_faults;
mod cli_next;
mod cli_online;
mod cli_sandbox;
mod cli_status;
mod cli_why;
mod daemon_log;
mod daemon_reload;
mod daemon_signals;
mod example_file;
mod http_status;
mod schema;
mod templates;
