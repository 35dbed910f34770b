//! Leaving a node: launching branches, then choosing the next node.

use super::cursor::{Phase, Role, wrong};
use super::{Answer, BranchError, Cursor, Failure, Item, Method, RaiseError, StepError};
use crate::graph::{NodeId, Rule};
use crate::host::{HostError, LogLevel};
use crate::value::{Key, Value, repr};

impl Cursor {
    /// Splits the edges: branches first, then routing. Nothing is launched if one parallel edge is broken.
    pub(super) fn leave(&mut self) -> Option<Item> {
        self.refresh();
        if !matches!(self.role, Role::Main { .. }) {
            self.phase = Phase::Route { edge: 0 };
            return None;
        }
        let mut count = 0;
        for edge in self.topology.edges(self.node) {
            let Some(parallel) = &edge.parallel else { continue };
            if parallel.join.is_none() {
                let (from, to) = (self.name(self.node), self.name(edge.target));
                let text = format!("Parallel edge from '{from}' to '{to}' must have 'fan_in_node' specified");
                return Some(self.fail_plain(self.node, text));
            }
            count += 1;
        }
        if count == 0 {
            self.phase = Phase::Route { edge: 0 };
            return None;
        }
        let node = self.name(self.node);
        self.record(LogLevel::Info, format_args!("Starting {count} parallel flow(s) from node '{node}'"));
        self.phase = Phase::Launch { edge: 0 };
        None
    }

    /// Tries edge number `index` and those behind it.
    pub(super) fn route(&mut self, mut index: usize) -> Option<Item> {
        let main = matches!(self.role, Role::Main { .. });
        let topology = std::sync::Arc::clone(&self.topology);
        let edges = topology.edges(self.node);
        // The main flow has launched its parallel edges; every other flow follows them like any edge.
        let usable = |edge: &&crate::graph::Edge| !(main && edge.parallel.is_some());
        while let Some(edge) = edges.get(index) {
            if usable(&edge) {
                match &edge.rule {
                    Rule::Always => {
                        self.record_edge(edge.target, || "True".to_owned());
                        self.go(edge.target);
                        return None;
                    }
                    Rule::Choose(choose) => match choose.choose(&self.scene()) {
                        Ok(value) => {
                            let target = edge.target;
                            let values = self.live.values;
                            self.record_edge(target, || shown(&value, values));
                            if value.is_truthy() {
                                self.go(target);
                                return None;
                            }
                        }
                        Err(failure) => return Some(self.condition_failed(failure)),
                    },
                    Rule::Host { reference } | Rule::Map { reference, .. } => {
                        self.phase = Phase::AwaitTarget { edge: index };
                        return Some(Item::Condition { node: self.node, reference: *reference });
                    }
                }
            }
            index += 1;
        }
        if main && !edges.iter().any(|edge| usable(&edge)) {
            if let Some(join) = self.pending.first() {
                self.phase = Phase::Join(join);
                return None;
            }
            return Some(self.dead_end(self.at_join));
        }
        Some(self.dead_end(true))
    }

    pub(super) fn take_target(&mut self, index: usize, answer: Answer) -> Result<Option<Item>, StepError> {
        let edge = self.topology.edges(self.node).get(index);
        let target = edge.map_or(self.node, |edge| edge.target);
        let next = match answer {
            Answer::Target(next) => {
                let shown = self.shown.take();
                self.record_edge(target, || shown.unwrap_or_else(|| "None".to_owned()));
                next
            }
            Answer::Choice(value) => match edge.map(|edge| &edge.rule) {
                Some(Rule::Map { targets, .. }) => {
                    let next = look_up(targets, &value)?;
                    let values = self.live.values;
                    self.record_edge(target, || shown(&value, values));
                    next
                }
                _ => return Err(wrong(&Answer::Choice(value), "the target of the condition")),
            },
            Answer::Failed(failure) => return Ok(Some(self.condition_failed(failure))),
            other => return Err(wrong(&other, "the value or the target of the condition")),
        };
        match next {
            Some(next) => {
                // The host may have made up the name just now.
                self.refresh();
                self.go(next);
            }
            None => self.phase = Phase::Route { edge: index + 1 },
        }
        Ok(None)
    }

    fn record_edge(&self, target: NodeId, result: impl FnOnce() -> String) {
        if self.live.debug && !self.at_join && matches!(self.role, Role::Main { .. }) {
            let (from, to, result) = (self.name(self.node), self.name(target), result());
            let text = format_args!("Edge '{from}' -> '{to}': condition result = {result}");
            self.record(LogLevel::Debug, text);
        }
    }

    fn go(&mut self, target: NodeId) {
        let silent =
            self.at_join || matches!((&self.role, self.method), (Role::Branch { .. }, Method::Stream));
        if self.live.debug && !silent {
            let (prefix, from, to) = (self.prefix(), self.name(self.node), self.name(target));
            self.record(LogLevel::Debug, format_args!("{prefix}Transitioning from '{from}' to '{to}'"));
        }
        self.node = target;
        self.at_join = false;
        self.phase = Phase::Enter;
    }

    /// No edge leads on. `recorded`: whether the main flow writes a record about it.
    fn dead_end(&mut self, recorded: bool) -> Item {
        let node = self.name(self.node).to_owned();
        let plain = format!("No valid next node found from node '{node}'");
        let text = match (&self.role, self.method) {
            (Role::Main { .. }, _) => {
                if self.at_join {
                    let text = format_args!("No valid next node found from fan-in node '{node}'");
                    self.record(LogLevel::Warning, text);
                } else if recorded {
                    self.record(LogLevel::Warning, format_args!("{plain}"));
                }
                plain
            }
            (Role::Scoped { .. }, _) => {
                let text = format!("No valid next node found from '{node}' in scoped execution");
                self.record(LogLevel::Warning, format_args!("[Scoped] {text}"));
                text
            }
            (Role::Branch { .. }, method) => {
                let text = format!("{plain} in parallel flow");
                self.record(LogLevel::Warning, format_args!("{}{text}", self.prefix()));
                match method {
                    Method::Invoke => text,
                    Method::Stream => format!("No valid next node from '{node}'"),
                }
            }
        };
        self.fail_plain(self.node, text)
    }

    /// A condition failed: unchanged out of the run, or the failure of the branch.
    fn condition_failed(&mut self, failure: Failure) -> Item {
        if !matches!(self.role, Role::Branch { .. }) {
            self.phase = Phase::End;
            return Item::Raise(RaiseError::Unchanged(failure));
        }
        let (prefix, node, text) = (self.prefix(), self.name(self.node), &failure.text);
        self.record(LogLevel::Error, format_args!("{prefix}Error getting next node from '{node}': {text}"));
        let raised = self.live.raises && self.method == Method::Invoke;
        let class = if raised { failure.class.clone() } else { "ExecutionError".to_owned() };
        self.branch_ended(BranchError {
            text: failure.text.clone(),
            class,
            failure: Some(failure),
            at_start: raised,
        })
    }
}

fn look_up(targets: &indexmap::IndexMap<Key, NodeId>, value: &Value) -> Result<Option<NodeId>, StepError> {
    match Key::new(value.clone()) {
        Ok(key) => Ok(targets.get(&key).copied()),
        Err(value) => {
            let message =
                format!("a condition returned a {}, which cannot choose an edge", value.type_name());
            Err(StepError::Host(HostError { message }))
        }
    }
}

/// The value of a condition in a record (`Q16`): contents only if state contents may be shown.
fn shown(value: &Value, values: bool) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => repr(value),
        // A text prints bare, as an f-string would print it.
        other if values => crate::value::text(other),
        other => other.type_name().to_owned(),
    }
}
