//! The command line as it is written.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Runs, checks and draws AI-agent workflows in YAML.
#[derive(Debug, Parser)]
#[command(name = "tea", disable_version_flag = true, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print the version and exit
    #[arg(long, short = 'V')]
    pub(crate) version: bool,
    /// Print which implementation this is and exit
    #[arg(long = "impl")]
    pub(crate) implementation: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an agent
    Run(Box<RunArgs>),
    /// Go on from a checkpoint
    Resume(Box<ResumeArgs>),
    /// Check an agent; every problem is reported at once
    Validate(ValidateArgs),
    /// Show what is in an agent's file
    Inspect(InspectArgs),
    /// Draw an agent's graph as Mermaid text
    Graph(GraphArgs),
    /// Report a bug (not available yet in this command)
    ReportBug(Later),
    /// Merge schemas (not available yet in this command)
    Schema(Later),
    /// Convert other formats to agents (not available yet in this command)
    From(Later),
}

/// The arguments of a command that is not there yet.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(crate) rest: Vec<OsString>,
}

/// What `run` and `resume` share.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Values for the state: JSON, @FILE (JSON or YAML), or - for the standard input
    #[arg(long, short, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) input: Option<String>,
    /// Secrets for templates: JSON or @FILE
    #[arg(long, value_name = "JSON")]
    pub(crate) secrets: Option<String>,
    /// Take secrets from the environment variables with this prefix
    #[arg(long, value_name = "PREFIX")]
    pub(crate) secrets_env: Option<String>,
    /// Take secrets from a backend: env
    #[arg(long, value_name = "NAME")]
    pub(crate) secrets_backend: Option<String>,
    /// Options of the backend: a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) secrets_backend_opts: Option<String>,
    /// Write each event as a line of JSON
    #[arg(long, short)]
    pub(crate) stream: bool,
    /// Folder for checkpoints at interrupts
    #[arg(long, short, value_name = "DIR")]
    pub(crate) checkpoint_dir: Option<PathBuf>,
    /// Stop before these nodes (separated by commas)
    #[arg(long, value_name = "NODES")]
    pub(crate) interrupt_before: Option<String>,
    /// Stop after these nodes (separated by commas)
    #[arg(long, value_name = "NODES")]
    pub(crate) interrupt_after: Option<String>,
    /// Go on at interrupts without asking
    #[arg(long)]
    pub(crate) auto_continue: bool,
    /// Python module with actions (only in the tea command of the Python package)
    #[arg(long, value_name = "MODULE")]
    pub(crate) actions_module: Vec<String>,
    /// Python file with actions (only in the tea command of the Python package)
    #[arg(long, value_name = "FILE")]
    pub(crate) actions_file: Vec<PathBuf>,
    /// Write the final state to a JSON file
    #[arg(long = "output", short, value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
    /// Write log records: -v progress, -vv everything
    #[arg(long, short, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print nothing but errors (and the events of --stream)
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The agent's YAML file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Merge a YAML file over the agent; may be given several times
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
    /// Print the merged agent and exit
    #[arg(long)]
    pub(crate) dump_merged: bool,
    /// Begin at this node, without interrupts
    #[arg(long, value_name = "NODE")]
    pub(crate) entry_point: Option<String>,
    /// End before this node, without interrupts
    #[arg(long, value_name = "NODE")]
    pub(crate) exit_point: Option<String>,
    #[arg(long, hide = true, value_name = "JSON")]
    pub(crate) state: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) state_file: Option<String>,
    #[command(flatten)]
    pub(crate) later: LaterOptions,
}

/// Options that this command does not have yet.
#[derive(Debug, Args)]
#[command(next_help_heading = "Not available yet in this command")]
pub(crate) struct LaterOptions {
    /// Answer the agent's questions on the terminal
    #[arg(long, short = 'I')]
    pub(crate) interactive: bool,
    /// Keys in which questions are looked for
    #[arg(long, value_name = "KEYS")]
    pub(crate) question_key: Option<String>,
    /// Key for the answer
    #[arg(long, value_name = "KEY")]
    pub(crate) response_key: Option<String>,
    /// Keys that say that all is answered
    #[arg(long, value_name = "KEYS")]
    pub(crate) complete_key: Option<String>,
    /// The answer of `skip`
    #[arg(long, value_name = "TEXT")]
    pub(crate) skip_response: Option<String>,
    /// Keys to show with a question
    #[arg(long, value_name = "KEYS")]
    pub(crate) display_key: Option<String>,
    /// pretty, json or raw
    #[arg(long, value_name = "FORMAT")]
    pub(crate) display_format: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECONDS")]
    pub(crate) input_timeout: Option<i64>,
    /// Draw the graph while it runs
    #[arg(long, short = 'g')]
    pub(crate) show_graph: bool,
    /// GGUF model file
    #[arg(long, value_name = "FILE")]
    pub(crate) gguf: Option<String>,
    /// LLM backend selection: local, api or auto
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// Offer a bug report after a crash
    #[arg(long, overrides_with = "no_report_bugs")]
    pub(crate) report_bugs: bool,
    /// Never offer a bug report (as it is now)
    #[arg(long, overrides_with = "report_bugs")]
    pub(crate) no_report_bugs: bool,
    /// Put the workflow's structure into bug reports
    #[arg(long)]
    pub(crate) report_extended: bool,
    /// Keep bug reports short
    #[arg(long)]
    pub(crate) report_minimal: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The checkpoint's file
    pub(crate) checkpoint: PathBuf,
    /// The agent's YAML file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) workflow: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The agent's YAML file
    pub(crate) file: PathBuf,
    /// List nodes and edges first
    #[arg(long)]
    pub(crate) detailed: bool,
    /// Merge a YAML file over the agent; may be given several times
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Dot,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The agent's YAML file
    pub(crate) file: PathBuf,
    /// How to show it
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// The agent's YAML file
    pub(crate) file: PathBuf,
    /// Write to a file instead of the standard output
    #[arg(long = "output", short, value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
    /// Merge a YAML file over the agent; may be given several times
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
}
