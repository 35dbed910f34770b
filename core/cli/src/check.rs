//! `tea validate`.

use std::fmt::Write;
use std::sync::Arc;

use tea_engine::agent::{self, LoadOptions, Problem, Severity};
use tea_engine::checkpoint::{MemoryStore, Store};
use tea_engine::value::{Map, Value, text};

use crate::args::ValidateArgs;
use crate::console::{Colour, Console};
use crate::failure::{Failure, Snippet, paragraphs};
use crate::source::{self, Unreadable};

/// Reads a file that is to be looked at, but not run (`cli/CL-77`).
pub(crate) fn document(file: &std::path::Path) -> Result<Value, Failure> {
    let shown = file.display().to_string();
    if !file.exists() {
        return Err(Failure::new(format!("Error: File not found: {shown}")));
    }
    source::yaml(file).map_err(|error| match error {
        Unreadable::Io(error) => source::unreadable(file, &error),
        Unreadable::Yaml(error) => {
            Failure::new(format!("Error: Invalid YAML syntax: {error}")).at(Snippet::of_yaml(&shown, &error))
        }
    })
}

/// Options for loading an agent that is not run: its checkpoints go nowhere on disk.
pub(crate) fn looking(overlays: Vec<Value>) -> LoadOptions {
    LoadOptions {
        host_actions: false,
        lua_enabled: true,
        overlays,
        store: Store::Memory(Arc::new(MemoryStore::default())),
        ..LoadOptions::default()
    }
}

/// Checks an agent and reports all of its problems (`cli/CL-77` to `cli/CL-79`).
pub(crate) fn validate(arguments: &ValidateArgs, console: &Console) -> Result<u8, Failure> {
    let file = &arguments.file;
    let own = document(file)?;
    let overlays = source::overlays(&arguments.overlay)?;
    if arguments.detailed {
        let merged = if overlays.is_empty() { own } else { source::merged(file, &overlays)? };
        console.write(&details(&merged))?;
    }
    let problems = agent::validate(file, &looking(overlays));
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.iter().partition(|problem| problem.severity == Severity::Error);
    if !warnings.is_empty() {
        console.error(&format!("\n{}", paragraphs(labelled("Warning", &warnings))));
    }
    if errors.is_empty() {
        let mark = console.paint(Colour::Green, "✓");
        console.line(&format!("\n{mark} {} is valid", file.display()))?;
        return Ok(0);
    }
    let mut report = format!("\n{}", paragraphs(labelled("Validation failed", &errors)));
    if errors.len() > 1 {
        // Writing to a String cannot fail.
        let _ = write!(report, "\n\n{} errors in {}", errors.len(), file.display());
    }
    Err(Failure::new(report))
}

fn labelled<'p>(label: &'p str, problems: &'p [&'p Problem]) -> impl Iterator<Item = (&'p str, &'p Problem)> {
    problems.iter().map(move |problem| (label, *problem))
}

/// The maps of a list under a key; what is no map is left out.
pub(crate) fn maps<'d>(document: &'d Map, key: &str) -> Vec<&'d Map> {
    let items = document.get(key).and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_map).collect()
}

/// The text under a key, if there is something.
pub(crate) fn entry(map: &Map, key: &str) -> Option<String> {
    map.get(key).filter(|value| value.is_truthy()).map(text)
}

/// Nodes and edges as they are written (`cli/CL-78`).
fn details(document: &Value) -> String {
    let empty = Map::new();
    let document = document.as_map().unwrap_or(&empty);
    let mut lines =
        vec![format!("Workflow: {}", entry(document, "name").unwrap_or_else(|| "unnamed".to_owned()))];
    if let Some(description) = entry(document, "description") {
        lines.push(format!("Description: {description}"));
    }
    let (nodes, edges) = (maps(document, "nodes"), maps(document, "edges"));
    lines.push(format!("\nNodes: {}", nodes.len()));
    for node in nodes {
        let name = entry(node, "name").unwrap_or_else(|| "?".to_owned());
        let uses = entry(node, "uses").or_else(|| entry(node, "action"));
        lines.push(match uses {
            Some(uses) => format!("  - {name} (uses: {uses})"),
            None => format!("  - {name}"),
        });
    }
    lines.push(format!("\nEdges: {}", edges.len()));
    for edge in edges {
        let from = entry(edge, "from").unwrap_or_else(|| "?".to_owned());
        if let Some(to) = entry(edge, "to") {
            lines.push(format!("  - {from} -> {to}"));
        }
        for (key, target) in edge.get("targets").and_then(Value::as_map).into_iter().flatten() {
            lines.push(format!("  - {from} --[{}]--> {}", text(key.value()), text(target)));
        }
    }
    lines.join("\n") + "\n"
}
