//! `tea run` and `tea resume`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tea_engine::actions::MemoryKeyValueStore;
use tea_engine::actions::json::loads;
use tea_engine::agent::{Agent, LoadOptions};
use tea_engine::checkpoint::{Checkpoint, CheckpointError, Store};
use tea_engine::graph::NodeId;
use tea_engine::host::{LogLevel, PathStep};
use tea_engine::run::{Beginning, DriveError, Driver, Handler, Method, Observer, Scope};
use tea_engine::value::{Key, Map, Value};
use tea_engine::yaml::{Limits, load_document};

use crate::args::{Common, ResumeArgs, RunArgs};
use crate::console::{Colour, Console, pretty};
use crate::emit;
use crate::failure::{Failure, Snippet};
use crate::{later, source};

/// Exit code of a run that was interrupted.
const INTERRUPTED: u8 = 130;

/// Runs an agent (`cli/CL-24`).
pub(crate) fn run(arguments: &RunArgs, console: &Arc<Console>) -> Result<u8, Failure> {
    let RunArgs { file, common, .. } = arguments;
    refuse_later(arguments)?;
    let given = deprecated(arguments, console);
    if !file.exists() {
        return Err(Failure::new(format!("Error: Workflow file not found: {}", file.display())));
    }
    let overlays = source::overlays(&arguments.overlay)?;
    if arguments.dump_merged || !overlays.is_empty() {
        let merged = source::merged(file, &overlays)?;
        if arguments.dump_merged {
            console.write(&emit::document(&merged))?;
            return Ok(0);
        }
    }
    let input = source::input(given.as_deref())?;
    let mut session = Session::new(file, common, overlays, console)?;
    // CL-33: the agent's own values, then those of the command line.
    let mut state = match session.agent.context().config.get("initial_state") {
        Some(Value::Map(initial)) => Map::clone(initial),
        Some(other) if other.is_truthy() => {
            let kind = other.type_name();
            return Err(Failure::new(format!("Error: initial_state must be a mapping, got {kind}")));
        }
        _ => Map::new(),
    };
    state.extend(input);
    watch_interrupts(console)?;
    if arguments.entry_point.is_some() || arguments.exit_point.is_some() {
        if arguments.entry_point.is_some() && given.is_none() {
            console.error("Warning: --entry-point without --input means starting with empty state");
        }
        return session.run_scoped(arguments, state);
    }
    if common.stream {
        console.event("start", &[("workflow", session.shown.as_str().into())])?;
    } else if !common.quiet {
        console.write(&banner(&[format!("Running agent from: {}", session.shown)], &state)?)?;
    }
    let mut state = session.checked(state)?;
    if let Some(sessions) = session.agent.sessions() {
        state = sessions.begin(state);
    }
    session.run(Beginning::fresh(Arc::new(state), Arc::default()))
}

/// Goes on from a checkpoint (`cli/CL-56`).
pub(crate) fn resume(arguments: &ResumeArgs, console: &Arc<Console>) -> Result<u8, Failure> {
    let ResumeArgs { checkpoint: path, workflow, common } = arguments;
    let shown = path.display().to_string();
    if !path.exists() {
        return Err(Failure::new(format!("Error: Checkpoint file not found: {shown}")));
    }
    if !workflow.exists() {
        return Err(Failure::new(format!("Error: Workflow file not found: {}", workflow.display())));
    }
    let checkpoint = load_checkpoint(path)?;
    let update = source::input(common.input.as_deref())?;
    let mut session = Session::new(workflow, common, Vec::new(), console)?;
    if !common.quiet && !common.stream {
        console.line(&format!("Resuming from checkpoint: {shown}"))?;
        console.line(&format!("Interrupted node: {}", checkpoint.node))?;
    }
    let beginning =
        Beginning::resume(session.agent.graph(), merge_deep(checkpoint, &update), &Map::new(), &Map::new())
            .map_err(|error| Failure::new(format!("Error: {error}")))?;
    watch_interrupts(console)?;
    if common.stream {
        let (workflow, shown) = (session.shown.as_str(), shown.as_str());
        console.event("resume", &[("workflow", workflow.into()), ("checkpoint", shown.into())])?;
    }
    session.run(beginning)
}

/// Reads a checkpoint by its content. Pickles are programs, and are never run.
fn load_checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let shown = path.display().to_string();
    let failed = |error: CheckpointError| Failure::new(format!("Error loading checkpoint: {error}"));
    let unreadable = |error: io::Error| {
        failed(CheckpointError::Unreadable { path: shown.clone(), reason: error.to_string() })
    };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    // A pickle of protocol 2 and above begins with its opcode PROTO.
    if bytes.first() == Some(&0x80) {
        return Err(Failure::new(format!(
            "Error loading checkpoint: '{shown}' is a Python pickle, which can run code when it is read; this command \
             reads checkpoints in JSON only. Resume it by the tea command of the Python package"
        )));
    }
    Checkpoint::from_json(&bytes, &shown).map_err(failed)
}

/// Puts the updates over the state; maps are merged at every level (`cli/CL-21`).
fn merge_deep(mut checkpoint: Checkpoint, update: &Map) -> Checkpoint {
    merge_into(&mut checkpoint.state, update);
    checkpoint
}

fn merge_into(base: &mut Map, update: &Map) {
    for (key, value) in update {
        match (base.get_mut(key), value) {
            (Some(Value::Map(known)), Value::Map(update)) => merge_into(Arc::make_mut(known), update),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Options that this command does not have yet end it, those that only matter to bug reports do not.
fn refuse_later(arguments: &RunArgs) -> Result<(), Failure> {
    let RunArgs { common, later: options, .. } = arguments;
    let exclusive =
        |a: &str, b: &str| Err(Failure::new(format!("Error: {a} and {b} are mutually exclusive")));
    if options.interactive && common.stream {
        return exclusive("--interactive", "--stream");
    }
    if options.show_graph && common.stream {
        return exclusive("--show-graph", "--stream");
    }
    if options.report_extended && options.report_minimal {
        return exclusive("--report-extended", "--report-minimal");
    }
    let keys = [
        &options.question_key,
        &options.response_key,
        &options.complete_key,
        &options.skip_response,
        &options.display_key,
        &options.display_format,
    ];
    let asked = keys.iter().any(|key| key.is_some()) || options.input_timeout.is_some();
    let used = [
        (options.interactive || asked, "--interactive"),
        (options.show_graph, "--show-graph"),
        (options.gguf.is_some(), "--gguf"),
        (options.backend.is_some(), "--backend"),
        (options.report_bugs || options.report_extended || options.report_minimal, "the bug report"),
    ];
    match used.into_iter().find(|(used, _)| *used) {
        Some((_, name)) => Err(later(name)),
        None => Ok(()),
    }
}

/// `--state` and `--state-file` stand for `--input` (`cli/CL-27`).
fn deprecated(arguments: &RunArgs, console: &Console) -> Option<String> {
    let mut given = arguments.common.input.clone();
    let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(state) = present(&arguments.state) {
        console.error("Warning: --state is deprecated, use --input");
        given.get_or_insert(state);
    }
    if let Some(path) = present(&arguments.state_file) {
        console.error("Warning: --state-file is deprecated, use --input @file.json");
        given.get_or_insert(format!("@{path}"));
    }
    given
}

/// Ctrl-C ends the process with 130, whatever it is doing (`cli/CL-9`).
fn watch_interrupts(console: &Arc<Console>) -> Result<(), Failure> {
    let console = Arc::clone(console);
    let handler = move || {
        console.settle();
        let mut err = io::stderr();
        // The process ends now, whether anybody reads this or not.
        let _ = err.write_all(b"\n\nExecution interrupted by user (Ctrl+C)\n");
        std::process::exit(i32::from(INTERRUPTED));
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure::new(format!("Error: cannot watch for Ctrl+C: {error}")))
}

/// Lines between double rules, then the state to begin with (`cli/CL-35`).
fn banner(lines: &[String], state: &Map) -> Result<String, Failure> {
    let rule = "=".repeat(80);
    let mut text = format!("{rule}\n{}\n{rule}\n", lines.join("\n"));
    if !state.is_empty() {
        text += &format!("\nInitial state: {}\n\n", pretty(&Value::map(state.clone()))?);
    }
    Ok(text)
}

/// Writes a file as a whole: it is complete, or as it was.
pub(crate) fn write_whole(console: &Console, path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        // Devices and pipes cannot be replaced.
        if path.exists() && !path.is_file() {
            return std::fs::write(path, text);
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut file =
            tempfile::Builder::new().prefix(".tea-").tempfile_in(parent.unwrap_or(Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        if let Ok(known) = std::fs::metadata(path) {
            file.as_file().set_permissions(known.permissions())?;
        } else {
            readable(file.as_file())?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    console
        .alone(write)
        .map_err(|error| Failure::new(format!("Error: cannot write {}: {error}", path.display())))
}

/// Temporary files are their owner's only; results are as readable as other new files usually are.
#[cfg(unix)]
fn readable(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

/// Reads the log records and the progress of a run.
struct Watcher {
    console: Arc<Console>,
    level: LogLevel,
    /// Shows which node runs.
    progress: bool,
}

impl Observer for Watcher {
    fn log(&self, level: LogLevel, _: &str, text: &str) {
        if level >= self.level {
            let name = match level {
                LogLevel::Debug => "DEBUG",
                LogLevel::Info => "INFO",
                LogLevel::Warning => "WARNING",
                LogLevel::Error => "ERROR",
            };
            self.console.error(&format!("{name}: {text}"));
        }
    }

    fn enter(&self, node: &str) {
        if self.progress {
            self.console.progress(node);
        }
    }
}

/// The driver's host: it has no functions, no actions, and no language of its own.
struct CommandLine {
    watcher: Arc<Watcher>,
}

impl Handler for CommandLine {
    type Error = DriveError;

    fn observer(&self) -> Option<Arc<dyn Observer>> {
        Some(Arc::<Watcher>::clone(&self.watcher))
    }

    fn level(&self) -> LogLevel {
        self.watcher.level
    }
}

/// What follows an interrupt.
enum Choice {
    /// Go on with these updates.
    Continue(Map),
    /// End with this exit code.
    End(u8),
}

/// An agent that is run by one command.
struct Session<'a> {
    agent: Agent,
    common: &'a Common,
    console: &'a Arc<Console>,
    watcher: Arc<Watcher>,
    file: PathBuf,
    /// The file as the user named it.
    shown: String,
}

impl<'a> Session<'a> {
    fn new(
        file: &Path,
        common: &'a Common,
        overlays: Vec<Value>,
        console: &'a Arc<Console>,
    ) -> Result<Self, Failure> {
        for (used, name) in [
            (!common.actions_module.is_empty(), "--actions-module"),
            (!common.actions_file.is_empty(), "--actions-file"),
        ] {
            if used {
                return Err(Failure::new(format!(
                    "Error: {name} needs Python, which this command does not have; the tea command of the Python \
                     package has it"
                )));
            }
        }
        let secrets = match &common.secrets_backend {
            Some(name) => source::backend(name, common.secrets_backend_opts.as_deref())?,
            None => source::secrets(common.secrets.as_deref(), common.secrets_env.as_deref())?,
        };
        let level = match (common.quiet, common.verbose) {
            (true, _) => LogLevel::Error,
            (false, 0) => LogLevel::Warning,
            (false, 1) => LogLevel::Info,
            (false, _) => LogLevel::Debug,
        };
        let printer = Arc::clone(console);
        let to_stdout = !common.stream;
        let options = LoadOptions {
            host_actions: false,
            lua_enabled: true,
            overlays,
            long_term: Some(Arc::new(MemoryKeyValueStore::default())),
            // With --stream the standard output is for events only.
            print: Some(Arc::new(move |text: &str| {
                if to_stdout {
                    printer.print(&format!("{text}\n"))
                } else {
                    printer.error(text);
                    Ok(())
                }
            })),
            secrets: (!secrets.is_empty()).then(|| Value::map(secrets)),
            store: common.checkpoint_dir.clone().map_or(Store::None, Store::Directory),
            ..LoadOptions::default()
        };
        let agent = source::agent(file, &options)?;
        let watcher = Arc::new(Watcher {
            console: Arc::clone(console),
            level,
            progress: !common.quiet && !common.stream,
        });
        for warning in agent.warnings() {
            watcher.log(LogLevel::Warning, "", &warning.detail());
        }
        let shown = file.display().to_string();
        let session = Session { agent, common, console, watcher, file: file.to_owned(), shown };
        session.set_interrupts()?;
        Ok(session)
    }

    /// Adds the interrupts of the command line to those of the agent; names that are no nodes never stop a run
    /// (`cli/CL-34`). Where the agent names no place for checkpoints they go to a temporary folder (`cli/Q-7`).
    fn set_interrupts(&self) -> Result<(), Failure> {
        let graph = self.agent.graph();
        let topology = graph.topology();
        let numbers = |names: &Option<String>| -> Vec<NodeId> {
            let names = names.as_deref().unwrap_or_default();
            names.split(',').filter_map(|name| topology.find(name.trim())).collect()
        };
        let before = numbers(&self.common.interrupt_before);
        let after = numbers(&self.common.interrupt_after);
        let needs_store = !(before.is_empty() && after.is_empty()) && graph.settings().store.is_none();
        let store = if needs_store {
            let folder = tempfile::Builder::new().prefix("tea_checkpoint_").tempdir().map_err(|error| {
                Failure::new(format!("Error: cannot make a folder for checkpoints: {error}"))
            })?;
            Some(Store::Directory(folder.keep()))
        } else {
            None
        };
        graph.configure(|settings| {
            let mut add = |into: fn(&mut tea_engine::graph::Settings) -> &mut Vec<NodeId>,
                           nodes: Vec<NodeId>| {
                for node in nodes {
                    if !into(settings).contains(&node) {
                        into(settings).push(node);
                    }
                }
            };
            add(|settings| &mut settings.interrupt_before, before);
            add(|settings| &mut settings.interrupt_after, after);
            if let Some(store) = store {
                settings.store = store;
            }
        });
        Ok(())
    }

    /// The state to begin with, checked against `input_schema` where the agent asks for it (`yaml/Q-10`).
    fn checked(&self, state: Map) -> Result<Map, Failure> {
        let asked = self.agent.context().setting("validate_stream_input").is_some_and(Value::is_truthy);
        if !asked {
            return Ok(state);
        }
        self.agent.check_input(&state).map_err(|details| {
            let details = Value::list(details.iter().map(|detail| detail.to_value()).collect());
            let details = pretty(&details).unwrap_or_else(|failure| failure.text);
            Failure::new(format!("Error: the input does not fit input_schema: {details}"))
        })
    }

    /// Runs to the end, over all interrupts.
    fn run(&mut self, mut beginning: Beginning) -> Result<u8, Failure> {
        loop {
            let handler = CommandLine { watcher: Arc::clone(&self.watcher) };
            let graph = Arc::clone(self.agent.graph());
            let mut driver = Driver::new(graph, Method::Stream, beginning, handler);
            let Some((node, path)) = self.events(&mut driver)? else { return Ok(0) };
            let Some(path) = path else {
                // Never from the beginning again: that would never end.
                return Err(Failure::new(format!(
                    "Error: the interrupt at node '{node}' left no checkpoint"
                )));
            };
            let update = match self.interrupted(&node, &path, driver.state().value())? {
                Choice::Continue(update) => update,
                Choice::End(code) => return Ok(code),
            };
            let resumed = Beginning::load(self.agent.graph(), &path, &update, &Map::new());
            beginning = resumed.map_err(|error| Failure::new(format!("Error: {error}")))?;
        }
    }

    /// Reports events until the run ends, or until an interrupt: its node and checkpoint.
    fn events(&self, driver: &mut Driver<CommandLine>) -> Result<Option<(String, Option<String>)>, Failure> {
        while let Some(event) = driver.next_event().map_err(|error| self.raised(&error))? {
            let Value::Map(event) = event else { continue };
            let get = |key: &str| event.get(key).cloned().unwrap_or_default();
            let kind = get("type");
            match kind.as_str().unwrap_or_default() {
                "state" => self.node_done(&get("node"), get("state"))?,
                "interrupt_before" | "interrupt_after" | "interrupt" => {
                    let path = get("checkpoint_path").as_str().map(str::to_owned);
                    self.report_interrupt(&get("node"), get("state"), path.as_deref())?;
                    return Ok(Some((tea_engine::value::text(&get("node")), path)));
                }
                "error" => return Err(self.node_failed(&get("node"), &get("error"))?),
                "http_response" => self.responded(&event)?,
                "final" => self.finished(&get("state"))?,
                _ => {}
            }
        }
        Ok(None)
    }

    fn node_done(&self, node: &Value, state: Value) -> Result<(), Failure> {
        if self.common.stream {
            return self.console.event("node_complete", &[("node", node.clone()), ("state", state)]);
        }
        if self.common.quiet {
            return Ok(());
        }
        let mark = self.console.paint(Colour::Green, "✓");
        self.console.line(&format!("{mark} {}", tea_engine::value::text(node)))
    }

    fn report_interrupt(&self, node: &Value, state: Value, path: Option<&str>) -> Result<(), Failure> {
        if self.common.stream {
            let path = path.map_or(Value::Null, Value::from);
            let fields = [("node", node.clone()), ("state", state), ("checkpoint", path)];
            return self.console.event("interrupt", &fields);
        }
        if self.common.quiet {
            return Ok(());
        }
        let mark = self.console.paint(Colour::Yellow, "⏸");
        let node = tea_engine::value::text(node);
        self.console.line(&format!("{mark}  Interrupt at: {node}\n   State: {}", pretty(&state)?))
    }

    fn node_failed(&self, node: &Value, error: &Value) -> Result<Failure, Failure> {
        let name = tea_engine::value::text(node);
        if self.common.stream {
            self.console.event("error", &[("node", node.clone()), ("error", error.clone())])?;
        } else if !self.common.quiet {
            let mark = self.console.paint(Colour::Red, "✗");
            self.console.line(&format!("{mark} Error at {name}: {}", tea_engine::value::text(error)))?;
        }
        let text = self.place_of(&name).map(|snippet| snippet.to_string());
        Ok(Failure { text: text.unwrap_or_default(), code: 1 })
    }

    /// An error that is raised instead of being an event.
    fn raised(&self, error: &DriveError) -> Failure {
        let failure = Failure::new(format!("Error: {error}"));
        match error {
            DriveError::Raised(run) => {
                let topology = self.agent.graph().topology();
                failure.at(self.place_of(topology.name(run.node)))
            }
            _ => failure,
        }
    }

    /// Where a node is in the agent's file; nothing if an overlay brought it.
    fn place_of(&self, node: &str) -> Option<Snippet> {
        let text = std::fs::read(&self.file).ok()?;
        let document = load_document(&text, &Limits::default()).ok()?;
        let nodes = document.root().get("nodes")?;
        let index = nodes.items().position(|found| {
            found.get("name").is_some_and(|name| tea_engine::value::text(name.value()) == node)
        })?;
        let step = PathStep::Index(i64::try_from(index).ok()?);
        let (place, _) = document.locate(&[PathStep::Key("nodes".into()), step]);
        let mark = place.get("name").map_or_else(|| place.mark(), |name| name.mark());
        let mut snippet = Snippet::of_text(
            &self.shown,
            &String::from_utf8_lossy(&text),
            mark.line as usize,
            mark.column as usize,
        )?;
        snippet.path = format!("nodes[{index}]");
        Some(snippet)
    }

    fn responded(&self, event: &Map) -> Result<(), Failure> {
        let get = |key: &str| event.get(key).cloned().unwrap_or_default();
        if self.common.stream {
            let fields = ["node", "status", "body", "headers", "state"].map(|key| (key, get(key)));
            return self.console.event("http_response", &fields);
        }
        if self.common.quiet {
            return Ok(());
        }
        let status = tea_engine::value::text(&get("status"));
        self.console.line(&format!("\nResponse {status}: {}", pretty(&get("body"))?))
    }

    fn finished(&self, state: &Value) -> Result<(), Failure> {
        if let (Some(sessions), Value::Map(state)) = (self.agent.sessions(), state) {
            sessions.end(state);
        }
        self.write_output(state)?;
        if self.common.stream {
            return self.console.event("complete", &[("state", state.clone())]);
        }
        self.final_block("Completed", state)
    }

    fn write_output(&self, state: &Value) -> Result<(), Failure> {
        let Some(path) = &self.common.output_file else { return Ok(()) };
        write_whole(self.console, path, &pretty(state)?)?;
        if self.common.quiet || self.common.stream {
            return Ok(());
        }
        self.console.line(&format!("\nOutput written to: {}", path.display()))
    }

    fn final_block(&self, title: &str, state: &Value) -> Result<(), Failure> {
        if self.common.quiet {
            return Ok(());
        }
        let rule = "=".repeat(80);
        let mark = self.console.paint(Colour::Green, "✓");
        let state = pretty(state)?;
        self.console.line(&format!("\n{rule}\n{mark} {title}\n{rule}\nFinal state: {state}"))
    }

    /// What to do at an interrupt (`cli/CL-41`, `cli/Q-7`).
    fn interrupted(&self, node: &str, path: &str, state: Value) -> Result<Choice, Failure> {
        let Common { stream, quiet, .. } = *self.common;
        if self.common.auto_continue {
            if !quiet && !stream {
                self.console.line("   (auto-continuing...)")?;
            }
            return Ok(Choice::Continue(Map::new()));
        }
        if io::stdin().is_terminal() {
            return self.ask(path, state);
        }
        self.console.error(&format!(
            "Execution interrupted at node: {node}\nCheckpoint saved: {path}\nGo on with: tea resume {path} --workflow \
             {}",
            self.shown
        ));
        Ok(Choice::End(INTERRUPTED))
    }

    /// Asks on the terminal (`cli/CL-43`). With `--stream` the questions go to the standard error.
    fn ask(&self, path: &str, state: Value) -> Result<Choice, Failure> {
        let say = |text: &str| -> Result<(), Failure> {
            if self.common.stream {
                self.console.error(text);
                return Ok(());
            }
            self.console.line(text)
        };
        let prompt = |text: &str| -> Result<String, Failure> {
            if self.common.stream {
                self.console.error(text);
            } else {
                self.console.write(text)?;
            }
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            match read {
                Ok(0) => Err(Failure::new("Aborted.")),
                Ok(_) => Ok(line.trim().to_owned()),
                Err(error) => Err(Failure::new(format!("Error: cannot read the answer: {error}"))),
            }
        };
        say(&format!(
            "\nCheckpoint saved: {path}\n\nReview the state above. Options:\n  [c] Continue with current state\n  [u] \
             Update state before continuing\n  [a] Abort execution"
        ))?;
        let choice = prompt("\nChoice: ")?.to_lowercase();
        match choice.as_str() {
            "c" => Ok(Choice::Continue(Map::new())),
            "u" => {
                say("\nEnter state updates as JSON (or press Enter to skip):")?;
                let line = prompt("")?;
                if line.is_empty() {
                    return Ok(Choice::Continue(Map::new()));
                }
                match loads(&line) {
                    Ok(Value::Map(update)) => {
                        say("State updated. Resuming execution...")?;
                        let mut merged = state.as_map().cloned().unwrap_or_default();
                        merge_into(&mut merged, &update);
                        let changed: Vec<&Key> = update.keys().collect();
                        merged.retain(|key, _| changed.contains(&key));
                        Ok(Choice::Continue(merged))
                    }
                    Ok(_) => Err(Failure::new("Error: State updates must be a JSON object")),
                    Err(fault) => Err(Failure::new(format!("Error: Invalid JSON - {fault}"))),
                }
            }
            "a" => {
                say("\nExecution aborted by user.")?;
                Ok(Choice::End(1))
            }
            other => {
                say(&format!("\nInvalid choice: {other}. Aborting."))?;
                Ok(Choice::End(1))
            }
        }
    }

    /// A run from one node until before another (`cli/CL-44` to `cli/CL-48`).
    fn run_scoped(&self, arguments: &RunArgs, state: Map) -> Result<u8, Failure> {
        let entry = arguments.entry_point.as_deref().unwrap_or("__start__");
        let exit = arguments.exit_point.as_deref().unwrap_or("__end__");
        if !self.common.quiet {
            let lines = [
                format!("Running scoped execution: {entry} → (stop before {exit})"),
                format!("Workflow: {}", self.shown),
            ];
            self.console.write(&banner(&lines, &state)?)?;
        }
        let graph = Arc::clone(self.agent.graph());
        // A name that is not in the graph gets a number, so that the check can name it.
        let scope = graph.edit(|topology| Scope {
            entry: topology.intern(entry, entry),
            exit: topology.intern(exit, exit),
        });
        let checked = graph.topology().check_scope(scope.entry, scope.exit);
        checked.map_err(|error| Failure::new(format!("Error: {error}")))?;
        let handler = CommandLine { watcher: Arc::clone(&self.watcher) };
        let mut driver = Driver::scoped(graph, scope, Arc::new(state), Arc::default(), handler);
        while driver.next_event().map_err(|error| self.raised(&error))?.is_some() {}
        let state = driver.state().value();
        if let Some(Value::Map(error)) = state.as_map().and_then(|state| state.get("_scoped_error")) {
            let part = |key: &str| error.get(key).map(tea_engine::value::text).unwrap_or_default();
            let node = part("node");
            let failure = Failure::new(format!("Error in node '{node}': {}", part("error")));
            return Err(failure.at(self.place_of(&node)));
        }
        self.write_output(&state)?;
        self.final_block("Scoped execution completed", &state)?;
        Ok(0)
    }
}
