//! `tea inspect` and `tea graph`.

use tea_engine::value::{Map, Value, text};

use crate::args::{Format, GraphArgs, InspectArgs};
use crate::check::{document, entry, looking, maps};
use crate::console::{Console, pretty};
use crate::failure::Failure;
use crate::{run, source};

/// Shows what a file says; nothing is checked (`cli/CL-80` to `cli/CL-82`).
pub(crate) fn inspect(arguments: &InspectArgs, console: &Console) -> Result<u8, Failure> {
    let document = document(&arguments.file)?;
    let map = match &document {
        Value::Map(map) => map,
        other => {
            let kind = other.type_name();
            return Err(Failure::new(format!("Error: Agent YAML must be a mapping, got {kind}")));
        }
    };
    match arguments.format {
        Format::Json => console.line(&pretty(&document)?)?,
        Format::Text => console.write(&shown(map))?,
        Format::Dot => console.write(&dot(map))?,
    }
    Ok(0)
}

/// Draws the graph of an agent as Mermaid text.
pub(crate) fn graph(arguments: &GraphArgs, console: &Console) -> Result<u8, Failure> {
    let file = &arguments.file;
    if !file.exists() {
        return Err(Failure::new(format!("Error: File not found: {}", file.display())));
    }
    let overlays = source::overlays(&arguments.overlay)?;
    let agent = source::agent(file, &looking(overlays))?;
    let picture = agent.graph().topology().to_mermaid(|_, _| None);
    match &arguments.output_file {
        Some(path) => run::write_whole(console, path, &format!("{picture}\n"))?,
        None => console.line(&picture)?,
    }
    Ok(0)
}

/// The language of a node's code, as far as the file says it: it is Python by default.
fn language(node: &Map) -> Option<String> {
    let code = node.get("run").filter(|code| code.is_truthy())?;
    let own = code.as_map().and_then(|code| entry(code, "type").or_else(|| entry(code, "language")));
    Some(own.or_else(|| entry(node, "language")).unwrap_or_else(|| "python".to_owned()))
}

fn action(node: &Map) -> Option<String> {
    entry(node, "uses").or_else(|| entry(node, "action"))
}

fn condition(edge: &Map) -> Option<String> {
    entry(edge, "condition").or_else(|| entry(edge, "when"))
}

fn branches(edge: &Map) -> Vec<String> {
    edge.get("parallel").and_then(Value::as_list).unwrap_or_default().iter().map(text).collect()
}

fn shown(document: &Map) -> String {
    let mut lines =
        vec![format!("Workflow: {}", entry(document, "name").unwrap_or_else(|| "unnamed".to_owned()))];
    if let Some(description) = entry(document, "description") {
        lines.push(format!("Description: {description}"));
    }
    let (nodes, edges) = (maps(document, "nodes"), maps(document, "edges"));
    lines.push(format!("\nNodes ({}):", nodes.len()));
    for node in nodes {
        let mut line = format!("  {}", entry(node, "name").unwrap_or_else(|| "?".to_owned()));
        if let Some(action) = action(node) {
            line += &format!(" [{action}]");
        }
        if let Some(language) = language(node) {
            line += &format!(" ({language})");
        }
        if node.get("retry").is_some_and(Value::is_truthy) {
            line += " (retry)";
        }
        if let Some(fallback) = entry(node, "fallback") {
            line += &format!(" (fallback: {fallback})");
        }
        lines.push(line);
    }
    lines.push(format!("\nEdges ({}):", edges.len()));
    for edge in edges {
        let from = entry(edge, "from").unwrap_or_else(|| "?".to_owned());
        if let Some(to) = entry(edge, "to") {
            lines.push(match condition(edge) {
                Some(condition) => format!("  {from} -> {to} [when: {condition}]"),
                None => format!("  {from} -> {to}"),
            });
        }
        for (key, target) in edge.get("targets").and_then(Value::as_map).into_iter().flatten() {
            lines.push(format!("  {from} --[{}]--> {}", text(key.value()), text(target)));
        }
        let branches = branches(edge);
        if !branches.is_empty() {
            lines.push(format!("  {from} => [{}]", branches.join(", ")));
        }
    }
    if let Some(Value::Map(variables)) = document.get("variables").filter(|variables| variables.is_truthy()) {
        lines.push("\nVariables:".to_owned());
        for (key, value) in variables.iter() {
            lines.push(format!("  {}: {}", text(key.value()), text(value)));
        }
    }
    lines.join("\n") + "\n"
}

/// A text inside the quotes of DOT; `\n` for a line break.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A name of DOT, in quotes where it needs them.
fn name(text: &str) -> String {
    let plain = text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        && text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    if plain { text.to_owned() } else { quoted(text) }
}

fn dot(document: &Map) -> String {
    let title = entry(document, "name").unwrap_or_else(|| "workflow".to_owned()).replace('-', "_");
    let mut lines = vec![
        format!("digraph {} {{", name(&title)),
        "  rankdir=TB;".to_owned(),
        "  node [shape=box];".to_owned(),
        String::new(),
        "  \"__start__\" [label=\"START\", shape=ellipse];".to_owned(),
        "  \"__end__\" [label=\"END\", shape=ellipse];".to_owned(),
        String::new(),
    ];
    for node in maps(document, "nodes") {
        let id = entry(node, "name").unwrap_or_else(|| "?".to_owned());
        let label = match (language(node), action(node)) {
            (Some(language), _) => format!("{id}\n({language})"),
            (None, Some(action)) => format!("{id}\n[{action}]"),
            (None, None) => id.clone(),
        };
        lines.push(format!("  {} [label={}];", quoted(&id), quoted(&label)));
    }
    lines.push(String::new());
    for edge in maps(document, "edges") {
        let from = quoted(&entry(edge, "from").unwrap_or_else(|| "__start__".to_owned()));
        if let Some(to) = entry(edge, "to") {
            let to = quoted(&to);
            lines.push(match condition(edge) {
                Some(when) => format!("  {from} -> {to} [label={}];", quoted(&format!("when: {when}"))),
                None => format!("  {from} -> {to};"),
            });
        }
        for (key, target) in edge.get("targets").and_then(Value::as_map).into_iter().flatten() {
            let (target, key) = (quoted(&text(target)), quoted(&text(key.value())));
            lines.push(format!("  {from} -> {target} [label={key}];"));
        }
        for branch in branches(edge) {
            lines.push(format!("  {from} -> {} [style=dashed];", quoted(&branch)));
        }
    }
    lines.push("}".to_owned());
    lines.join("\n") + "\n"
}
