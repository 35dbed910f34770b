//! The picture of a graph as Mermaid text (rules `VZ-2` to `VZ-12`, targets `VQ-3`).

use std::collections::{HashMap, HashSet};

use super::{END, Edge, NodeId, Rule, START, Topology};
use crate::value::{Value, text};

/// One entry of a conditional edge's map, as far as a label needs it.
#[derive(Debug, Clone)]
pub struct MapEntry {
    /// The key as a label.
    pub label: String,
    /// The key equals true, as `True` and `1` do.
    pub is_true: bool,
    /// Where it leads.
    pub target: Option<NodeId>,
}

/// What an edge's label is made of. Hosts that evaluate conditions themselves supply it.
#[derive(Debug, Clone, Default)]
pub struct EdgeLabel {
    /// The map of the condition; empty if it has none.
    pub map: Vec<MapEntry>,
    /// The condition has a name of its own.
    pub named: bool,
}

/// The label of a key: truth values in lower case, texts with what Mermaid cannot show replaced.
pub fn label_of(key: &Value) -> String {
    match key {
        Value::Bool(true) => "true".to_owned(),
        Value::Bool(false) => "false".to_owned(),
        Value::Str(text) => plain(text),
        other => text(other),
    }
}

fn plain(name: &str) -> String {
    name.replace('"', "'").replace('|', "/")
}

fn escape(name: &str) -> String {
    const SPECIAL: &str = " -.()[]{}<>|:;,&#";
    name.chars().map(|c| if SPECIAL.contains(c) { '_' } else { c }).collect()
}

/// The label of a node, quoted where Mermaid would misread it. Round brackets in a name print unquoted, as
/// they always did (`process(v1)`), as long as they come in pairs.
fn node_label(name: &str) -> String {
    let label = plain(name);
    let open = label.matches('(').count();
    let balanced = open == label.matches(')').count() && label.starts_with(|c| c != '(');
    let risky = name.contains(['[', ']', '{', '}', '\n', '\r']) || (open > 0 && !balanced);
    if risky { format!("\"{}\"", label.replace(['\n', '\r'], "<br/>")) } else { label }
}

impl Topology {
    /// Mermaid text. `label` supplies what the engine does not know about an edge: the map and the name of a
    /// condition that the host evaluates.
    pub fn to_mermaid(&self, label: impl Fn(NodeId, &Edge) -> Option<EdgeLabel>) -> String {
        let ids = self.mermaid_ids();
        let mut lines = vec!["graph TD".to_owned()];
        for node in self.order() {
            lines.push(match *node {
                START => "__start__((Start))".to_owned(),
                END => "__end__((End))".to_owned(),
                other => format!("{}[{}]", ids[&other], node_label(self.name(other))),
            });
        }
        let mut printed = HashSet::new();
        for from in self.order() {
            for edge in self.edges(*from) {
                let (Some(source), Some(target)) = (ids.get(from), ids.get(&edge.target)) else { continue };
                if !printed.insert((*from, edge.target)) {
                    continue;
                }
                let label = self.edge_label(edge, label(*from, edge), &ids);
                lines.push(match label.as_str() {
                    "" => format!("{source}-->{target}"),
                    label => format!("{source}-->|{label}|{target}"),
                });
            }
        }
        lines.join("\n    ")
    }

    /// Ids of the nodes; names that would get one id are told apart by `_2`, `_3`, ... (`VQ-3`).
    fn mermaid_ids(&self) -> HashMap<NodeId, String> {
        let mut taken = HashSet::new();
        let mut ids = HashMap::new();
        for node in self.order() {
            let wanted = escape(self.name(*node));
            let mut id = wanted.clone();
            let mut number = 1;
            while !taken.insert(id.clone()) {
                number += 1;
                id = format!("{wanted}_{number}");
            }
            ids.insert(*node, id);
        }
        ids
    }

    fn edge_label(&self, edge: &Edge, host: Option<EdgeLabel>, ids: &HashMap<NodeId, String>) -> String {
        if let Some(join) = edge.parallel.as_ref().and_then(|parallel| parallel.join) {
            let id = ids.get(&join).cloned().unwrap_or_else(|| escape(self.name(join)));
            return format!("parallel→{id}");
        }
        let host = host.unwrap_or_else(|| match &edge.rule {
            Rule::Map { targets, .. } => EdgeLabel {
                map: targets
                    .iter()
                    .map(|(key, target)| MapEntry {
                        label: label_of(key.value()),
                        is_true: *key.value() == Value::Bool(true),
                        target: Some(*target),
                    })
                    .collect(),
                named: true,
            },
            _ => EdgeLabel::default(),
        });
        match host.map.as_slice() {
            [] => String::new(),
            [only] if only.is_true && only.target == Some(edge.target) => String::new(),
            entries => match entries.iter().find(|entry| entry.target == Some(edge.target)) {
                Some(entry) => entry.label.clone(),
                None if host.named => "condition".to_owned(),
                None => String::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Graph};
    use super::*;
    use crate::value::Key;

    fn picture(graph: &Graph) -> String {
        graph.topology().to_mermaid(|_, _| None)
    }

    /// VZ-2, VZ-3, VZ-7, VZ-8, VZ-10
    #[test]
    fn a_conditional_loop() {
        let graph = Graph::new();
        graph.add_node("loop", Action::None).unwrap();
        graph.set_entry_point("loop").unwrap();
        let targets = vec![
            (Key::new(Value::Bool(true)).unwrap(), "loop".to_owned()),
            (Key::new(Value::Bool(false)).unwrap(), "__end__".to_owned()),
        ];
        graph.add_conditional_edges("loop", 0, targets).unwrap();
        assert_eq!(
            picture(&graph),
            "graph TD\n    __start__((Start))\n    __end__((End))\n    loop[loop]\n    \
             __start__-->loop\n    loop-->|true|loop\n    loop-->|false|__end__"
        );
    }

    /// VZ-4, VZ-5, VZ-8, VQ-3
    #[test]
    fn names_are_made_safe() {
        let graph = Graph::new();
        for name in ["my node", "my-node", "process(v1)", "A|B", "say \"hi\"", "a[0]", "two\nlines", "merge"]
        {
            graph.add_node(name, Action::None).unwrap();
        }
        graph.add_parallel_edge("my node", "A|B", "merge", Value::Null).unwrap();
        let lines: Vec<_> = picture(&graph).lines().skip(3).map(|line| line.trim().to_owned()).collect();
        assert_eq!(
            lines,
            [
                "my_node[my node]",
                "my_node_2[my-node]",
                "process_v1_[process(v1)]",
                "A_B[A/B]",
                "say_\"hi\"[say 'hi']",
                "a_0_[\"a[0]\"]",
                "two\nlines[\"two<br/>lines\"]".split('\n').next().unwrap(),
                "lines[\"two<br/>lines\"]",
                "merge[merge]",
                "my_node-->|parallel→merge|A_B",
            ]
        );
    }
}
