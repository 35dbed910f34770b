//! `tea`: runs, checks and draws agents of the engine without any other language around it.
//!
//! - `args`: the command line as it is written;
//! - `source`: what commands read; `run`: running and resuming; `check`: `validate`; `inspect`: `inspect` and
//!   `graph`; `emit`: YAML text;
//! - `console`: what they write; `failure`: how they fail.

#![forbid(unsafe_code)]

mod args;
mod check;
mod console;
mod emit;
mod failure;
mod inspect;
mod run;
mod source;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use console::Console;
use failure::Failure;

fn main() -> ExitCode {
    let console = Arc::new(Console::new());
    let arguments = legacy(std::env::args_os().collect(), &console);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed terminal is no reason for another exit code.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(&cli, &console) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.report(&console);
            ExitCode::from(failure.code)
        }
    }
}

/// `tea agent.yaml` is the old form of `tea run agent.yaml` (`cli/Q-19`).
fn legacy(mut arguments: Vec<OsString>, console: &Console) -> Vec<OsString> {
    let suffix = |first: &OsString| Path::new(first).extension().map(|suffix| suffix.to_ascii_lowercase());
    let is_file = arguments.get(1).and_then(suffix).is_some_and(|suffix| suffix == "yaml" || suffix == "yml");
    if is_file {
        console.error("Warning: 'tea FILE' is deprecated, use 'tea run FILE'");
        arguments.insert(1, "run".into());
    }
    arguments
}

fn dispatch(cli: &Cli, console: &Arc<Console>) -> Result<u8, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match (cli.version, cli.implementation) {
        (true, true) => return console.line(&format!("tea {version} (rust)")).map(|()| 0),
        (true, false) => return console.line(&format!("tea {version}")).map(|()| 0),
        (false, true) => return console.line("rust").map(|()| 0),
        (false, false) => {}
    }
    match &cli.command {
        Some(Command::Run(arguments)) => run::run(arguments, console),
        Some(Command::Resume(arguments)) => run::resume(arguments, console),
        Some(Command::Validate(arguments)) => check::validate(arguments, console),
        Some(Command::Inspect(arguments)) => inspect::inspect(arguments, console),
        Some(Command::Graph(arguments)) => inspect::graph(arguments, console),
        Some(Command::ReportBug(_)) => Err(later("tea report-bug")),
        Some(Command::Schema(_)) => Err(later("tea schema")),
        Some(Command::From(_)) => Err(later("tea from")),
        None => {
            console.write(&Cli::command().render_help().to_string())?;
            Ok(2)
        }
    }
}

/// What is said about a command or an option that is not there yet.
pub(crate) fn later(what: &str) -> Failure {
    Failure::new(format!(
        "Error: {what} is not available yet in this command; the tea command of the Python package has it"
    ))
}
