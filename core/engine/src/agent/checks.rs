//! Sections that the engine only checks when it loads an agent: what uses them is an action or the host.

use super::load::Loader;
use super::problem::{Checked, Problem, Within};
use crate::actions::Sessions;
use crate::schema::input::InputSchema;
use crate::value::{Map, Value, repr, text};

impl Loader<'_> {
    /// `input_schema` (`IV-1`, `IV-2`).
    pub(super) fn input_schema(&mut self, config: &Map) -> Option<InputSchema> {
        let schema = config.get("input_schema").filter(|schema| schema.is_truthy())?;
        let compiled = InputSchema::from_value(schema)
            .map_err(|error| Problem::of(error.class, error.message).under("input_schema"));
        self.report(compiled)
    }

    /// The sessions in memory that `settings.session` asks for (`SS-1`).
    pub(super) fn sessions(&mut self, settings: &Map) -> Option<Sessions> {
        match Sessions::from_settings(settings.get("session").unwrap_or(&Value::Null)) {
            Ok(sessions) => sessions,
            Err(error) => {
                // A host with actions of its own may have that backend.
                if !self.shared_options().host_actions {
                    let problem = format!("Failed to configure session backend from YAML: {error}");
                    self.warn(Problem::warning(problem).under("session").under("settings"));
                }
                None
            }
        }
    }

    /// `imports` are Python: hosts without it have no use for them (`IM-10`).
    pub(super) fn imports(&mut self, config: &Map) {
        let Some(imports) = config.get("imports").filter(|imports| imports.is_truthy()) else { return };
        if self.options.languages.iter().any(|language| **language == *"python") {
            return;
        }
        let problem = "'imports' loads Python modules, which this host does not run";
        let hint = "register the actions with the host under the names that the nodes use";
        let refused = Err(Problem::of("ImportError", problem).hint(hint).under("imports"));
        self.report::<()>(match imports {
            Value::List(_) => refused,
            other => Err(Problem::of("TypeError", format!("'imports' is a list, not {}", other.type_name()))
                .under("imports")),
        });
    }

    /// Sections about extraction (`EX-3`, `EX-4`).
    pub(super) fn extraction(&mut self, config: &Map) {
        let constraints = constraints(config).under("validation_constraints");
        self.report(constraints);
        let Some(Value::List(probes)) = config.get("semantic_probes") else { return };
        for (index, probe) in probes.iter().enumerate() {
            for key in ["for_each", "probe"] {
                let given = probe.as_map().and_then(|probe| probe.get(key)).is_some_and(Value::is_truthy);
                if !given {
                    let problem = format!("semantic_probes[{index}] missing required '{key}' field");
                    self.report::<()>(Err(Problem::new(problem).item(index).under("semantic_probes")));
                    break;
                }
            }
        }
    }

    /// Stream channels between nodes (`SR-2` to `SR-4`), if they are switched on.
    pub(super) fn streams(&mut self, config: &Map, settings: &Map) {
        let parallel = settings.get("parallel").and_then(Value::as_map);
        let streams = parallel.and_then(|parallel| parallel.get("streams")).and_then(Value::as_map);
        if !streams.and_then(|streams| streams.get("enabled")).is_some_and(Value::is_truthy) {
            return;
        }
        let strategy = parallel.and_then(|parallel| parallel.get("strategy"));
        let strategy = strategy.map_or_else(|| "thread".to_owned(), text);
        if strategy != "process" {
            let problem = format!(
                "Streams require parallel_strategy: process, got '{strategy}'. Add 'settings.parallel.strategy: \
                 process' to your YAML."
            );
            self.report::<()>(Err(Problem::new(problem).under("parallel").under("settings")));
            return;
        }
        let checked = channels(config);
        self.report(checked);
    }
}

fn constraints(config: &Map) -> Checked<()> {
    let Some(Value::Map(section)) = config.get("validation_constraints") else { return Ok(()) };
    let language = section.get("language").map_or_else(|| "prolog".to_owned(), text);
    if language == "prolog" {
        return Ok(());
    }
    let problem = format!("validation_constraints language must be 'prolog', got '{language}'");
    Err(Problem::new(problem).under("language"))
}

fn list<'a>(config: &'a Map, key: &str) -> &'a [Value] {
    config.get(key).and_then(Value::as_list).unwrap_or_default()
}

/// Each channel has one producer, and each consumer a channel.
fn channels(config: &Map) -> Checked<()> {
    let mut producers: indexmap::IndexMap<String, String> = indexmap::IndexMap::new();
    let mut consumers: indexmap::IndexMap<String, Vec<Value>> = indexmap::IndexMap::new();
    let nodes =
        || list(config, "nodes").iter().enumerate().filter_map(|(at, node)| Some((at, node.as_map()?)));
    let of = |node: &Map, key: &str| {
        let streams = node.get("streams")?.as_map()?;
        streams.get(key).filter(|channel| channel.is_truthy()).map(text)
    };
    let name_of = |node: &Map| node.get("name").map(text).unwrap_or_default();
    for (index, node) in nodes() {
        let name = name_of(node);
        let at = |problem: String, key: &str| {
            Err(Problem::new(problem).under(key).under("streams").item(index).under("nodes"))
        };
        if let Some(channel) = of(node, "stdout") {
            if let Some(other) = producers.get(&channel) {
                let problem = format!(
                    "Stream '{channel}' has multiple producers: '{other}' and '{name}'. Each stream can only have \
                     one producer."
                );
                return at(problem, "stdout");
            }
            producers.insert(channel, name.clone());
        }
        if let Some(channel) = of(node, "stderr") {
            if producers.contains_key(&channel) {
                return at(format!("Stream '{channel}' has multiple producers."), "stderr");
            }
            producers.insert(channel, name.clone());
        }
        if let Some(channel) = of(node, "stdin") {
            consumers.entry(channel).or_default().push(name.into());
        }
    }
    for (channel, nodes) in &consumers {
        if !producers.contains_key(channel) {
            let nodes = repr(&Value::list(nodes.clone()));
            return Err(Problem::new(format!(
                "Stream '{channel}' is consumed by {nodes} but has no producer. Add a node with 'streams.stdout: \
                 {channel}'."
            ))
            .under("nodes"));
        }
    }
    for (index, edge) in list(config, "edges").iter().enumerate() {
        let Some(mode) = edge.as_map().and_then(|edge| edge.get("stream_mode")).map(text) else { continue };
        let targets = edge.as_map().and_then(|edge| edge.get("to")).and_then(Value::as_list);
        let targets = targets.map_or(1, <[Value]>::len);
        let problem = match mode.as_str() {
            "direct" if targets > 1 => format!(
                "stream_mode: direct requires single target, got {targets}. Use stream_mode: broadcast for multiple \
                 targets."
            ),
            "direct" | "broadcast" => continue,
            _ => format!("Invalid stream_mode: '{mode}'. Must be 'direct' or 'broadcast'."),
        };
        return Err(Problem::new(problem).under("stream_mode").item(index).under("edges"));
    }
    for (index, node) in nodes() {
        if !["stdin", "stdout", "stderr"].iter().any(|key| of(node, key).is_some()) {
            continue;
        }
        for when in ["before", "after"] {
            let long = node.get(&*format!("interrupt_{when}")).is_some_and(Value::is_truthy);
            if long || node.get("interrupt").and_then(Value::as_str) == Some(when) {
                let name = name_of(node);
                return Err(Problem::new(format!(
                    "Node '{name}' has streams and interrupt_{when}=True. Stream nodes cannot be checkpointed. Remove \
                     interrupt_{when} or move checkpoint to a non-streaming node."
                ))
                .item(index)
                .under("nodes"));
            }
        }
    }
    Ok(())
}
