//! Navigation: `goto`, the order of the list, and `edges` (yaml.md 9).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::condition::{EdgeRule, FellBack, Goto, GotoRule, OneOf, Truth, Way, Ways};
use super::context::Context;
use super::keys;
use super::load::Loader;
use super::node::{NodePlan, given, shown};
use super::problem::{Checked, Problem};
use crate::graph::{END, Edge, Graph, NodeId, Parallel, Rule, Topology};
use crate::run::Choose;
use crate::template::TemplateError;
use crate::value::{Map, Value, text};

const START_NAME: &str = "__start__";
const END_NAME: &str = "__end__";

/// The ways out of one node to one target.
struct Exit {
    target: NodeId,
    /// With their place among all ways of the document.
    ways: Vec<(usize, Way)>,
    parallel: Option<Parallel>,
    /// Made by the order of the list, not written down: gives way to what is.
    implicit: bool,
}

/// All ways out of all nodes, in the order in which each target was first declared (`NV-8`).
#[derive(Default)]
pub(super) struct Exits {
    by_source: IndexMap<NodeId, Vec<Exit>>,
    count: usize,
}

impl Exits {
    fn at(&mut self, from: NodeId, target: NodeId, implicit: bool) -> &mut Exit {
        self.count += 1;
        let exits = self.by_source.entry(from).or_default();
        let index = exits.iter().position(|exit| exit.target == target).unwrap_or(exits.len());
        if index == exits.len() {
            exits.push(Exit { target, ways: Vec::new(), parallel: None, implicit });
        }
        &mut exits[index]
    }

    fn add(&mut self, from: NodeId, target: NodeId, way: Way) {
        let place = self.count;
        let exit = self.at(from, target, false);
        if exit.implicit {
            exit.implicit = false;
            exit.ways.clear();
        }
        exit.ways.push((place, way));
    }

    fn add_implicit(&mut self, from: NodeId, target: NodeId) {
        let place = self.count;
        let exit = self.at(from, target, true);
        if exit.ways.is_empty() {
            exit.ways.push((place, Way::Always));
        }
    }

    fn add_parallel(&mut self, from: NodeId, target: NodeId, parallel: Parallel) {
        self.add(from, target, Way::Always);
        self.at(from, target, false).parallel = Some(parallel);
    }
}

/// An edge of the finished graph, for [`super::Agent::info`].
#[derive(Debug, Clone)]
pub(super) struct EdgeNote {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// Number of its condition in the library.
    pub(super) condition: Option<usize>,
    pub(super) join: Option<NodeId>,
}

impl Loader<'_> {
    /// All exits of all nodes. `nodes` are the nodes as written, in their order, with their plans.
    pub(super) fn navigation(
        &mut self,
        graph: &Graph,
        nodes: &[(usize, &Map, NodePlan)],
        edges: &[Value],
        listed: &[Arc<str>],
    ) -> Exits {
        let topology = graph.topology();
        let mut exits = Exits::default();
        let from_of = |edge: &Value| match edge {
            Value::Map(edge) => edge.get("from").map(text),
            _ => None,
        };
        let sources: HashSet<String> = edges.iter().filter_map(from_of).collect();
        let mut with_goto = HashSet::new();
        if !sources.contains(START_NAME)
            && let Some(first) = nodes.first().and_then(|(.., plan)| topology.find(&plan.name))
        {
            exits.add_implicit(crate::graph::START, first);
        }
        for (position, (index, map, plan)) in nodes.iter().enumerate() {
            let Some(node) = topology.find(&plan.name) else { continue };
            self.fallback_exit(&topology, &mut exits, node, plan, *index);
            match given(map, "goto") {
                Some(goto) => {
                    with_goto.insert(plan.name.to_string());
                    let done = self.at_node(*index, |loader| {
                        loader.key("goto", |loader| {
                            loader.goto(&topology, &mut exits, (node, plan), goto, listed)
                        })
                    });
                    self.report(done);
                }
                None if sources.contains(&*plan.name) => {}
                None => {
                    let next = nodes.get(position + 1).and_then(|(.., next)| topology.find(&next.name));
                    exits.add_implicit(node, next.unwrap_or(END));
                }
            }
        }
        for (index, edge) in edges.iter().enumerate() {
            let done = self.key("edges", |loader| {
                loader.element(index, |loader| loader.edge(&topology, &mut exits, edge, &with_goto))
            });
            self.report(done);
        }
        exits
    }

    /// The edge that a failed node takes to its fallback (`yaml/Q-13`).
    fn fallback_exit(
        &mut self,
        topology: &Topology,
        exits: &mut Exits,
        node: NodeId,
        plan: &NodePlan,
        index: usize,
    ) {
        let Some(fallback) = plan.guard.as_ref().and_then(|guard| guard.policy.fallback.clone()) else {
            return;
        };
        match topology.find(&fallback) {
            Some(target) if target != crate::graph::START => {
                exits.add(node, target, Way::Fallback(FellBack { target: fallback }));
            }
            _ => {
                let names = topology.order().iter().map(|id| topology.name(*id));
                let guess = keys::similar(&fallback, names)
                    .map(|name| format!(" Did you mean '{name}'?"))
                    .unwrap_or_default();
                let name = &plan.name;
                let problem = format!(
                    "Node '{name}': the fallback '{fallback}' is no node of this agent, so a failure goes on to the \
                     next node.{guess}"
                );
                self.at_node(index, |loader| {
                    loader.warn(Problem::warning(problem).under("fallback").under("on_error"))
                });
            }
        }
    }

    /// `NV-5` to `NV-9`.
    fn goto(
        &mut self,
        topology: &Topology,
        exits: &mut Exits,
        (node, plan): (NodeId, &NodePlan),
        goto: &Value,
        listed: &[Arc<str>],
    ) -> Checked<()> {
        let name = &plan.name;
        let find = |to: &str| match topology.find(to) {
            Some(target) if target != crate::graph::START => Ok(target),
            _ => {
                let known: Vec<_> = listed.iter().map(|name| Value::Str(Arc::clone(name))).collect();
                let known = shown(&Value::list(known));
                let problem = Problem::new(format!(
                    "Node '{name}' has goto to non-existent node '{to}'. Available nodes: {known}"
                ));
                Err(match keys::similar(to, listed.iter().map(|name| &**name)) {
                    Some(guess) => problem.hint(format!("did you mean '{guess}'?")),
                    None => problem,
                })
            }
        };
        match goto {
            Value::Str(to) => exits.add(node, find(to)?, Way::Always),
            Value::List(rules) => {
                for (index, rule) in rules.iter().enumerate() {
                    self.element(index, |loader| {
                        let Value::Map(map) = rule else {
                            return Err(Problem::new(format!(
                                "Node '{name}' has a goto rule that is no map: {}. Expected {{if: expression, to: \
                                 node}}",
                                text(rule)
                            )));
                        };
                        loader.spelling(map, keys::RULE);
                        let Some(to) = given(map, "to") else {
                            return Err(Problem::new(format!(
                                "Node '{name}' has goto rule without 'to' field: {}",
                                shown(rule)
                            )));
                        };
                        let target = loader.key("to", |_| find(&text(to)))?;
                        let way = match given(map, "if") {
                            None => Way::Always,
                            Some(condition) => {
                                let goto = Goto::new(condition);
                                if let Some(problem) = goto.invalid() {
                                    loader.warn(Problem::warning(problem).under("if"));
                                }
                                Way::Goto(goto)
                            }
                        };
                        exits.add(node, target, way);
                        Ok(())
                    })?;
                }
                // A list without rules leaves the node without a way out (NV-7).
                exits.by_source.entry(node).or_default();
            }
            other => {
                return Err(Problem::new(format!(
                    "Node '{name}' has invalid goto type: <class '{}'>. Expected string or list, got: {}",
                    other.type_name(),
                    text(other)
                )));
            }
        }
        Ok(())
    }

    /// One entry of `edges` (`NV-12` to `NV-19`).
    fn edge(
        &mut self,
        topology: &Topology,
        exits: &mut Exits,
        edge: &Value,
        with_goto: &HashSet<String>,
    ) -> Checked<()> {
        let Value::Map(map) = edge else {
            return Err(Problem::of("TypeError", format!("an edge is a map, not {}", edge.type_name())));
        };
        self.spelling(map, keys::EDGE);
        let kind = map.get("type").map_or_else(|| "normal".to_owned(), text);
        let from = match map.get("from") {
            Some(from) => Some(text(from)),
            None if kind == "entry" => Some(START_NAME.to_owned()),
            None => None,
        };
        if let Some(from) = &from
            && from != START_NAME
            && with_goto.contains(from)
        {
            return Ok(());
        }
        let from = from.ok_or_else(|| Problem::missing("from").hint("an edge needs the key 'from'"))?;
        let to = map.get("to").ok_or_else(|| Problem::missing("to").hint("an edge needs the key 'to'"))?;
        if let Value::List(targets) = to {
            // An edge that carries a stream joins two processes, not a node and several branches.
            if map.get("parallel") == Some(&Value::Bool(true)) && !map.contains_key("stream_mode") {
                return self.parallel_list(topology, exits, &from, targets, map);
            }
            return Err(Problem::of("TypeError", "unhashable type: 'list'")
                .under("to")
                .hint("'to' is the name of one node; several at once need 'parallel: true'"));
        }
        let to = text(to);
        let no_node = |name: &str| Problem::new(format!("Node '{name}' does not exist in the graph."));
        let conditional = map.contains_key("when") || map.contains_key("condition");
        if (from == START_NAME || kind == "entry") && !conditional {
            let target =
                topology.find(&to).ok_or_else(|| self.guess(topology, &to, no_node(&to)).under("to"))?;
            exits.add(crate::graph::START, target, Way::Always);
            return Ok(());
        }
        if to == END_NAME || kind == "finish" {
            let source = topology
                .find(&from)
                .ok_or_else(|| self.guess(topology, &from, no_node(&from)).under("from"))?;
            let way = match conditional && self.strict_edges {
                true => self.conditional_way(map)?,
                false => Way::Always,
            };
            if conditional && !self.strict_edges {
                self.ignored_finish += 1;
            }
            exits.add(source, END, way);
            return Ok(());
        }
        let (source, target) = (topology.find(&from), topology.find(&to));
        let wrong_end = if source.is_none() { "from" } else { "to" };
        if kind == "parallel" {
            let join = map
                .get("fan_in")
                .ok_or_else(|| Problem::missing("fan_in").hint("a parallel edge needs the key 'fan_in'"))?;
            let (Some(source), Some(target), Some(join)) = (source, target, topology.find(&text(join)))
            else {
                return Err(Problem::new("All nodes must exist in the graph."));
            };
            let config = map.get("config").cloned().unwrap_or_default();
            exits.add_parallel(source, target, Parallel { join: Some(join), config });
            return Ok(());
        }
        if !conditional {
            let (Some(source), Some(target)) = (source, target) else {
                let name = if source.is_none() { &from } else { &to };
                let problem = Problem::new("Both nodes must exist in the graph.");
                return Err(self.guess(topology, name, problem).under(wrong_end));
            };
            exits.add(source, target, Way::Always);
            return Ok(());
        }
        let way = self.conditional_way(map)?;
        let source = source.ok_or_else(|| self.guess(topology, &from, no_node(&from)).under("from"))?;
        let target = target.ok_or_else(|| {
            let problem = Problem::new(format!("Target node '{to}' does not exist in the graph."));
            self.guess(topology, &to, problem).under("to")
        })?;
        exits.add(source, target, way);
        Ok(())
    }

    /// `parallel: true` with several targets (`parallel/Q9`): a branch to each, all joined at `fan_in`.
    fn parallel_list(
        &mut self,
        topology: &Topology,
        exits: &mut Exits,
        from: &str,
        targets: &[Value],
        map: &Map,
    ) -> Checked<()> {
        let join = map
            .get("fan_in")
            .ok_or_else(|| Problem::missing("fan_in").hint("parallel edges need the key 'fan_in'"))?;
        let find = |name: &str| {
            topology.find(name).ok_or_else(|| Problem::new("All nodes must exist in the graph."))
        };
        let (source, join) = (find(from)?, find(&text(join))?);
        for target in targets {
            let target = find(&text(target))?;
            let config = map.get("config").cloned().unwrap_or_default();
            exits.add_parallel(source, target, Parallel { join: Some(join), config });
        }
        Ok(())
    }

    fn guess(&self, topology: &Topology, name: &str, problem: Box<Problem>) -> Box<Problem> {
        let names = topology.order().iter().map(|id| topology.name(*id));
        match keys::similar(name, names) {
            Some(guess) => problem.hint(format!("there is no node '{name}'; did you mean '{guess}'?")),
            None => problem.hint(format!("there is no node '{name}'")),
        }
    }

    /// `NV-17`, `NV-18`.
    fn conditional_way(&mut self, map: &Map) -> Checked<Way> {
        let mut broken: Vec<TemplateError> = Vec::new();
        let mut note = |error: &TemplateError| broken.push(error.clone());
        // Only a truth value can be what a condition gives; 1 and 0 are equal to one.
        let truth_of = |value: &Value| match value {
            Value::Bool(truth) => Some(*truth),
            other if *other == Value::Int(1) => Some(true),
            other if *other == Value::Int(0) => Some(false),
            _ => None,
        };
        let way = match (map.get("condition"), map.get("when")) {
            (Some(condition), when) => {
                let expression = match condition {
                    Value::Str(_) => condition,
                    Value::Map(form) => match form.get("type").map(text) {
                        Some(kind) if kind == "expression" => {
                            form.get("value").ok_or_else(|| Problem::missing("value").under("condition"))?
                        }
                        kind => {
                            let kind = kind.unwrap_or_else(|| "None".to_owned());
                            return Err(
                                Problem::new(format!("Unknown condition type: {kind}")).under("condition")
                            );
                        }
                    },
                    other => {
                        let problem = format!("Invalid condition configuration: {}", text(other));
                        return Err(Problem::new(problem).under("condition"));
                    }
                };
                if let Some(Value::List(_) | Value::Map(_)) = when {
                    let kind = when.map_or("None", Value::type_name);
                    return Err(Problem::of("TypeError", format!("unhashable type: '{kind}'")).under("when"));
                }
                let truth = Truth::new(expression, "edge condition", &mut note);
                Way::Edge(truth, when.map_or(Some(true), truth_of))
            }
            (None, when) => {
                let when = when.unwrap_or(&Value::Null);
                match when {
                    Value::Str(word) if word.eq_ignore_ascii_case("true") => {
                        Way::Edge(Truth::new(&Value::Bool(true), "edge condition", &mut note), Some(true))
                    }
                    Value::Str(word) if word.eq_ignore_ascii_case("false") => {
                        Way::Edge(Truth::new(&Value::Bool(false), "edge condition", &mut note), Some(true))
                    }
                    Value::Str(_) => Way::Edge(Truth::new(when, "edge condition", &mut note), Some(true)),
                    other => {
                        let holds = truth_of(other) == Some(true);
                        Way::Edge(Truth::new(&Value::Bool(holds), "edge condition", &mut note), Some(true))
                    }
                }
            }
        };
        self.broken(&broken, if map.contains_key("condition") { "condition" } else { "when" });
        Ok(way)
    }
}

impl Exits {
    /// Puts the edges into the graph; their conditions go into `conditions`.
    pub(super) fn connect(
        self,
        graph: &Graph,
        context: &Arc<Context>,
        conditions: &mut Vec<Arc<dyn Choose>>,
    ) -> Vec<EdgeNote> {
        let mut notes = Vec::new();
        graph.edit(|topology| {
            for (from, exits) in self.by_source {
                for (target, rule, parallel) in rules(exits, context) {
                    let condition = match &rule {
                        Rule::Choose(choose) => {
                            conditions.push(Arc::clone(choose));
                            Some(conditions.len() - 1)
                        }
                        _ => None,
                    };
                    let join = parallel.as_ref().and_then(|parallel| parallel.join);
                    notes.push(EdgeNote { from, to: target, condition, join });
                    topology.append(from, Edge { target, rule, parallel });
                }
            }
        });
        // By source in the order of the nodes, as hosts list edges.
        let topology = graph.topology();
        let order: HashMap<NodeId, usize> =
            topology.order().iter().enumerate().map(|(position, id)| (*id, position)).collect();
        notes.sort_by_key(|note| order.get(&note.from).copied());
        notes
    }
}

/// The rule of each edge of one node.
fn rules(exits: Vec<Exit>, context: &Arc<Context>) -> Vec<(NodeId, Rule, Option<Parallel>)> {
    let several = exits.iter().any(|exit| {
        exit.parallel.is_none() && exit.ways.len() > 1 && !matches!(exit.ways.first(), Some((_, Way::Always)))
    });
    if several {
        return shared_rules(exits, context);
    }
    exits
        .into_iter()
        .map(|exit| {
            let context = Arc::clone(context);
            // What follows an unconditional way to the same target changes nothing.
            let rule = match exit.ways.into_iter().next().map(|(_, way)| way) {
                _ if exit.parallel.is_some() => Rule::Always,
                None | Some(Way::Always) => Rule::Always,
                Some(Way::Goto(goto)) => Rule::Choose(Arc::new(GotoRule { context, goto })),
                Some(Way::Edge(truth, taken_if)) => {
                    Rule::Choose(Arc::new(EdgeRule { context, truth, taken_if }))
                }
                Some(Way::Fallback(fell_back)) => Rule::Choose(Arc::new(fell_back)),
            };
            (exit.target, rule, exit.parallel)
        })
        .collect()
}

/// The rules of a node with several ways to one target: each edge looks through all ways in the order in which
/// they were written.
fn shared_rules(exits: Vec<Exit>, context: &Arc<Context>) -> Vec<(NodeId, Rule, Option<Parallel>)> {
    let mut targets = Vec::new();
    let mut ways = Vec::new();
    for (number, exit) in exits.into_iter().enumerate() {
        if exit.parallel.is_none() {
            ways.extend(exit.ways.into_iter().map(|(place, way)| (place, number, way)));
        }
        targets.push((exit.target, exit.parallel));
    }
    ways.sort_by_key(|(place, ..)| *place);
    let ways = ways.into_iter().map(|(_, number, way)| (number, way)).collect();
    let ways = Arc::new(Ways { context: Arc::clone(context), ways });
    let rule = |number: usize, parallel: &Option<Parallel>| match parallel {
        Some(_) => Rule::Always,
        None => Rule::Choose(Arc::new(OneOf { ways: Arc::clone(&ways), target: number })),
    };
    targets
        .into_iter()
        .enumerate()
        .map(|(number, (target, parallel))| (target, rule(number, &parallel), parallel))
        .collect()
}
