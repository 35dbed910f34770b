//! Random graphs: what the step machine does, against a plain reading of SG-107 and SG-108 with their targets.
//!
//! The model shares nothing with the machine: it is a loop over names' numbers, with states as texts. Where it follows
//! the targets: Q15 (limit), Q17 (end as join), parallel Q4 in the main flow (fan-out at a join), Q5 (completions are
//! kept per join), CP-58 (resumed runs). Inside branches parallel edges are ordinary edges still (PAR-33).

use std::collections::VecDeque;

use proptest::prelude::*;

use super::bench::{Bench, failure};
use super::live::LiveBench;
use crate::host::When;
use crate::run::{Answer, Method, Start};
use crate::value::{Map, Value};

const LIMIT: u64 = 12;
/// Nodes of a graph beside start (0) and end (1).
const NODES: usize = 5;

#[derive(Debug, Clone)]
enum Work {
    Nothing,
    /// Adds one to `n` and puts the node's number under `at`.
    Count,
    /// Returns the node's number, no map.
    Number,
    /// Fails if `n` leaves this rest when divided by 3, else counts.
    FailAt(i64),
}

#[derive(Debug, Clone)]
enum Choice {
    Always,
    /// By `n` modulo the number of targets; fails if `n` modulo 7 is the second number.
    Map(Vec<usize>, i64),
}

#[derive(Debug, Clone)]
enum Call {
    Edge { from: usize, to: usize },
    Route { from: usize, targets: Vec<usize>, fails: i64 },
    Fork { from: usize, to: usize, join: usize },
    BrokenFork { from: usize, to: usize },
}

#[derive(Debug, Clone)]
struct Plan {
    works: Vec<Work>,
    calls: Vec<Call>,
    before: Vec<usize>,
    after: Vec<usize>,
    raises: bool,
    stream: bool,
    n: i64,
    /// `None`: a fresh run. Else the node, and whether the interrupt before or after it made the checkpoint.
    resume: Option<(usize, Option<bool>)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let work = prop_oneof![
        1 => Just(Work::Nothing),
        4 => Just(Work::Count),
        1 => Just(Work::Number),
        1 => (0..3_i64).prop_map(Work::FailAt),
    ];
    let node = 0..NODES + 2;
    let from = prop_oneof![2 => Just(0), 8 => 2..NODES + 2];
    let call = prop_oneof![
        4 => (from.clone(), node.clone()).prop_map(|(from, to)| Call::Edge { from, to }),
        3 => (from.clone(), prop::collection::vec(node.clone(), 1..4), 0..20_i64)
            .prop_map(|(from, targets, fails)| Call::Route { from, targets, fails }),
        3 => (from.clone(), 2..NODES + 2, 1..NODES + 2).prop_map(|(from, to, join)| Call::Fork { from, to, join }),
        1 => (from, node.clone(), 0..8).prop_map(|(from, to, luck)| match luck {
            0 => Call::BrokenFork { from, to },
            _ => Call::Edge { from, to },
        }),
    ];
    let resume = prop_oneof![
        2 => Just(None),
        1 => (node.clone(), prop_oneof![Just(None), Just(Some(false)), Just(Some(true))]).prop_map(Some),
    ];
    let interrupts = || prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(node.clone(), 1..3)];
    (
        prop::collection::vec(work, NODES),
        prop::collection::vec(call, 1..14),
        (interrupts(), interrupts()),
        any::<(bool, bool)>(),
        0..6_i64,
        resume,
    )
        .prop_map(|(works, calls, (before, after), (raises, stream), n, resume)| Plan {
            works,
            calls,
            before,
            after,
            raises,
            stream,
            n,
            resume,
        })
}

fn name(node: usize) -> String {
    match node {
        0 => "__start__".to_owned(),
        1 => "__end__".to_owned(),
        other => format!("n{other}"),
    }
}

// --- the machine ---------------------------------------------------------------------------------------------

fn number(state: &Map) -> i64 {
    match state.get("n") {
        Some(Value::Int(n)) => *n,
        other => panic!("n is {other:?}"),
    }
}

fn bench(plan: &Plan) -> Bench {
    let mut bench = Bench::new();
    bench.raises = plan.raises;
    for (index, work) in plan.works.iter().enumerate() {
        let node = index + 2;
        let at = i64::try_from(node).unwrap();
        let count = move |state: &Map| Answer::Result(crate::map! { "n" => number(state) + 1, "at" => at });
        match *work {
            Work::Nothing => bench.plain(&name(node)),
            Work::Count => bench.node(&name(node), count),
            Work::Number => bench.node(&name(node), move |_| Answer::Result(at.into())),
            Work::FailAt(rest) => bench.node(&name(node), move |state| {
                if number(state) % 3 == rest { failure("broken") } else { count(state) }
            }),
        };
    }
    for call in &plan.calls {
        match call {
            Call::Edge { from, to } => bench.edge(&name(*from), &name(*to)),
            Call::Fork { from, to, join } => bench.fork(&name(*from), &name(*to), &name(*join)),
            Call::BrokenFork { from, to } => bench.broken_fork(&name(*from), &name(*to)),
            Call::Route { from, targets, fails } => {
                let (count, fails) = (i64::try_from(targets.len()).unwrap(), *fails);
                let names: Vec<String> = targets.iter().map(|target| name(*target)).collect();
                let pairs: Vec<(Value, &str)> = names
                    .iter()
                    .enumerate()
                    .map(|(key, name)| (key.to_string().into(), name.as_str()))
                    .collect();
                let choose = move |state: &Map| match number(state) {
                    n if n % 7 == fails => failure("undecided"),
                    // One more key than there are targets: sometimes nothing matches.
                    n => Answer::Result((n % (count + 1)).to_string().into()),
                };
                bench.route(&name(*from), choose, &pairs)
            }
        };
    }
    let names = |nodes: &[usize]| nodes.iter().map(|node| name(*node)).collect::<Vec<_>>();
    let (before, after) = (names(&plan.before), names(&plan.after));
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let after: Vec<&str> = after.iter().map(String::as_str).collect();
    bench.interrupts(&before, &after);
    bench.graph.configure(|settings| settings.step_limit = Some(LIMIT));
    bench
}

fn start(plan: &Plan, bench: &Bench) -> (Method, Start) {
    let start = match plan.resume {
        None => Start::Fresh,
        Some((node, which)) => Start::Resume {
            node: bench.graph.topology().find(&name(node)).unwrap(),
            interrupt: which.map(|after| if after { When::After } else { When::Before }),
        },
    };
    let method = if plan.stream { Method::Stream } else { Method::Invoke };
    (method, start)
}

fn machine(plan: &Plan) -> Vec<String> {
    let bench = bench(plan);
    let (method, start) = start(plan, &bench);
    bench.drive(&mut bench.cursor(method, start, crate::map! { "n" => plan.n }))
}

/// The same with states of the host; how many calls came several at a time.
fn live_machine(plan: &Plan, runs: bool) -> (Vec<String>, usize) {
    let bench = bench(plan);
    let mut live = LiveBench::new(&bench);
    let (method, start) = start(plan, &bench);
    let lines = live.run(method, start, crate::map! { "n" => plan.n }, runs);
    (lines, live.in_runs)
}

// --- the model -----------------------------------------------------------------------------------------------

/// Key and JSON text of the value, in the order in which the keys were first set.
#[derive(Debug, Clone)]
struct Words(Vec<(String, String)>);

impl Words {
    fn set(&mut self, key: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }
    fn n(&self) -> i64 {
        self.0.iter().find(|(key, _)| key == "n").unwrap().1.parse().unwrap()
    }
    fn json(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    }
}

#[derive(Debug, Clone)]
struct ModelEdge {
    to: usize,
    choice: Choice,
    /// `Some(None)`: a parallel edge without a join.
    join: Option<Option<usize>>,
}

struct Branch {
    id: usize,
    first: usize,
    join: usize,
    state: Words,
}

struct Result {
    first: usize,
    error: Option<String>,
    state: Words,
}

/// What ends the main flow.
struct Over;

struct Model<'p> {
    plan: &'p Plan,
    edges: Vec<Vec<ModelEdge>>,
    lines: Vec<String>,
    /// Not yet run.
    waiting: VecDeque<Branch>,
    /// Joins in the order of their registration, with the branches launched.
    pending: Vec<(usize, Vec<usize>)>,
    /// Ended and not joined, in the order of completion.
    ended: Vec<(usize, Result)>,
    launched: usize,
    steps: u64,
    entered: bool,
    plain: bool,
}

impl<'p> Model<'p> {
    fn new(plan: &'p Plan) -> Self {
        let mut edges: Vec<Vec<ModelEdge>> = vec![Vec::new(); NODES + 2];
        let mut connect = |from: usize, to: usize, choice: Choice, join: Option<Option<usize>>| {
            // SG-16: an edge added again keeps its place, and stays parallel.
            match edges[from].iter_mut().find(|edge| edge.to == to) {
                Some(edge) => {
                    edge.choice = choice;
                    edge.join = join.or(edge.join);
                }
                None => edges[from].push(ModelEdge { to, choice, join }),
            }
        };
        for call in &plan.calls {
            match call {
                Call::Edge { from, to } => connect(*from, *to, Choice::Always, None),
                Call::Fork { from, to, join } => connect(*from, *to, Choice::Always, Some(Some(*join))),
                Call::BrokenFork { from, to } => connect(*from, *to, Choice::Always, Some(None)),
                Call::Route { from, targets, fails } => {
                    for target in targets {
                        connect(*from, *target, Choice::Map(targets.clone(), *fails), None);
                    }
                }
            }
        }
        Model {
            plan,
            edges,
            lines: Vec::new(),
            waiting: VecDeque::new(),
            pending: Vec::new(),
            ended: Vec::new(),
            launched: 0,
            steps: 0,
            entered: false,
            plain: plan.stream || plan.resume.is_some(),
        }
    }

    fn fail(&mut self, node: usize, text: &str, raised: &str, state: &Words) -> Over {
        let said = if self.plan.raises { raised } else { text };
        self.lines.push(format!("error {}: {said} {}", name(node), state.json()));
        Over
    }

    fn interrupt(&mut self, node: usize, after: bool, state: &Words) -> std::result::Result<(), Over> {
        let list = if after { &self.plan.after } else { &self.plan.before };
        if !list.contains(&node) {
            return Ok(());
        }
        let kind = match (self.plan.stream, after) {
            (false, _) => "interrupt",
            (true, false) => "interrupt_before",
            (true, true) => "interrupt_after",
        };
        self.lines.push(format!("{kind} {} {} checkpoint_path=null", name(node), state.json()));
        Err(Over)
    }

    /// The work of a node: true if it did something, or the text of its failure.
    fn work(&self, node: usize, state: &mut Words) -> std::result::Result<bool, String> {
        let Some(work) = node.checked_sub(2).map(|index| &self.plan.works[index]) else { return Ok(false) };
        match work {
            Work::Nothing => return Ok(false),
            Work::Number => state.set("result", node.to_string()),
            Work::FailAt(rest) if state.n() % 3 == *rest => return Err("broken".to_owned()),
            Work::Count | Work::FailAt(_) => {
                let next = state.n() + 1;
                state.set("n", next.to_string());
                state.set("at", node.to_string());
            }
        }
        Ok(true)
    }

    /// The first edge that matches; the error of a condition.
    fn choose(edges: &[&ModelEdge], state: &Words) -> std::result::Result<Option<usize>, String> {
        for edge in edges {
            match &edge.choice {
                Choice::Always => return Ok(Some(edge.to)),
                Choice::Map(targets, fails) => {
                    if state.n() % 7 == *fails {
                        return Err("undecided".to_owned());
                    }
                    let key = usize::try_from(state.n()).unwrap() % (targets.len() + 1);
                    if let Some(target) = targets.get(key) {
                        return Ok(Some(*target));
                    }
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, node: usize, state: &Words) -> std::result::Result<(), Over> {
        if node != 0 || self.entered {
            self.steps += 1;
        }
        self.entered = true;
        if self.steps > LIMIT {
            let text = format!("Step limit of {LIMIT} reached");
            return Err(self.fail(node, &text, &text, state));
        }
        Ok(())
    }

    fn run(mut self) -> Vec<String> {
        let mut state = Words(vec![("n".to_owned(), self.plan.n.to_string())]);
        let _ = self.main(&mut state);
        self.lines
    }

    fn main(&mut self, state: &mut Words) -> std::result::Result<(), Over> {
        let mut node = match self.plan.resume {
            None => 0,
            Some((1, _)) => 1,
            Some((first, which)) => {
                // CP-27: skipped if its after-interrupt made the checkpoint (or nobody knows).
                let skipped = self.plan.after.contains(&first) && which != Some(false);
                if !skipped {
                    self.count(first, state)?;
                    self.execute(first, state)?;
                }
                self.leave(first, state)?
            }
        };
        while node != 1 {
            self.count(node, state)?;
            self.interrupt(node, false, state)?;
            self.execute(node, state)?;
            node = self.leave(node, state)?;
        }
        // SG-57: branches that are left run to their end; what they say is dropped.
        let output = if self.plan.stream || self.plan.resume.is_some() { "" } else { " output=null" };
        self.lines.push(format!("final {}{output}", state.json()));
        Ok(())
    }

    /// Steps 3 and 4.
    fn execute(&mut self, node: usize, state: &mut Words) -> std::result::Result<(), Over> {
        match self.work(node, state) {
            Ok(true) if self.plan.stream => self.lines.push(format!("state {} {}", name(node), state.json())),
            Ok(_) => {}
            Err(text) => {
                let raised = format!("Error in node '{}': {text}", name(node));
                return Err(self.fail(node, &text, &raised, state));
            }
        }
        self.interrupt(node, true, state)
    }

    /// Steps 5 to 10: the next node to enter. Nodes reached by a join are done with when this returns.
    fn leave(&mut self, node: usize, state: &mut Words) -> std::result::Result<usize, Over> {
        let edges = self.edges[node].clone();
        if let Some(edge) = edges.iter().find(|edge| edge.join == Some(None)) {
            let (from, to) = (name(node), name(edge.to));
            let text = format!("Parallel edge from '{from}' to '{to}' must have 'fan_in_node' specified");
            return Err(self.fail(node, &text, &text, state));
        }
        for edge in &edges {
            let Some(Some(join)) = edge.join else { continue };
            let id = self.launched;
            self.launched += 1;
            self.waiting.push_back(Branch { id, first: edge.to, join, state: state.clone() });
            match self.pending.iter_mut().find(|(known, _)| *known == join) {
                Some((_, ids)) => ids.push(id),
                None => self.pending.push((join, vec![id])),
            }
        }
        let normal: Vec<&ModelEdge> = edges.iter().filter(|edge| edge.join.is_none()).collect();
        if normal.is_empty() && !self.pending.is_empty() {
            return self.join(state);
        }
        match Self::choose(&normal, state) {
            Ok(Some(next)) => Ok(next),
            Ok(None) => {
                let text = format!("No valid next node found from node '{}'", name(node));
                Err(self.fail(node, &text, &text, state))
            }
            Err(text) => {
                self.lines.push(format!("raise {text}"));
                Err(Over)
            }
        }
    }

    fn join(&mut self, state: &mut Words) -> std::result::Result<usize, Over> {
        let (join, ids) = self.pending[0].clone();
        while !ids.iter().all(|id| self.ended.iter().any(|(ended, _)| ended == id)) {
            let branch = self.waiting.pop_front().unwrap();
            let (id, result) = self.branch(branch);
            self.ended.push((id, result));
        }
        self.pending.remove(0);
        let mut results: Vec<(usize, Result)> = Vec::new();
        let mut index = 0;
        while index < self.ended.len() {
            if ids.contains(&self.ended[index].0) {
                results.push(self.ended.remove(index));
            } else {
                index += 1;
            }
        }
        if !self.plan.stream {
            results.sort_by_key(|(id, _)| *id);
        }
        let mut texts = Vec::new();
        for (_, result) in results {
            let shown = self.shown(&result);
            match result.error {
                None => texts.push(shown),
                Some(_) if self.plan.stream => {}
                Some(text) => {
                    let first = name(result.first);
                    let said =
                        if self.plan.raises { format!("Error in node '{first}': {text}") } else { text };
                    self.lines.push(format!("error {first}: {said} {shown}"));
                    return Err(Over);
                }
            }
        }
        state.set("parallel_results", format!("[{}]", texts.join(",")));
        if join == 1 {
            return Ok(1);
        }
        self.count(join, state)?;
        self.interrupt(join, false, state)?;
        self.execute(join, state)?;
        self.leave(join, state)
    }

    /// What the bench keeps of a branch's result.
    fn shown(&self, result: &Result) -> String {
        if self.plain {
            return result.state.json();
        }
        let (first, error) = (name(result.first), result.error.clone().unwrap_or_default());
        format!(r#"{{"b":"{first}","e":"{error}","s":{}}}"#, result.state.json())
    }

    /// PAR-33, PAR-34, PAR-57
    fn branch(&mut self, branch: Branch) -> (usize, Result) {
        let Branch { id, first, join, state: initial } = branch;
        let mut state = initial.clone();
        let (mut node, mut steps) = (first, 0);
        let stream = self.plan.stream;
        let error = loop {
            if node == 1 || node == join {
                break None;
            }
            steps += 1;
            if steps > LIMIT {
                let text = format!("Step limit of {LIMIT} reached");
                break Some((text.clone(), text));
            }
            match self.work(node, &mut state) {
                Ok(true) if stream => {
                    let (branch, node, state) = (name(first), name(node), state.json());
                    self.lines.push(format!("parallel_state branch={branch} {node} {state}"));
                }
                Ok(_) => {}
                Err(text) => break Some((text.clone(), format!("Error in node '{}': {text}", name(node)))),
            }
            let edges = self.edges[node].clone();
            match Self::choose(&edges.iter().collect::<Vec<_>>(), &state) {
                Ok(Some(next)) => node = next,
                Ok(None) if stream => {
                    let text = format!("No valid next node from '{}'", name(node));
                    break Some((text.clone(), text));
                }
                Ok(None) => {
                    let text =
                        format!("No valid next node found from node '{}' in parallel flow", name(node));
                    break Some((text.clone(), text));
                }
                Err(text) => break Some((text.clone(), text)),
            }
        };
        let error = error.map(|(text, raised)| if self.plan.raises && !stream { raised } else { text });
        if let (Some(text), true) = (&error, stream) {
            let first = name(first);
            self.lines.push(format!("parallel_error branch={first} {first} error={text} {}", state.json()));
        }
        if error.is_some() && self.plan.raises && !stream {
            state = initial;
        }
        (id, Result { first, error, state })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// SG-107, SG-108, CP-27, CP-58
    #[test]
    fn the_machine_does_what_the_rules_say(plan in plan()) {
        let expected = Model::new(&plan).run();
        prop_assert_eq!(&machine(&plan), &expected);
        prop_assert_eq!(&live_machine(&plan, false).0, &expected);
        prop_assert_eq!(&live_machine(&plan, true).0, &expected);
    }
}

/// The plans reach every kind of end, or the comparison would say little.
#[test]
fn the_plans_reach_everything() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..2000 {
        let plan = plan().new_tree(&mut runner).unwrap().current();
        *seen.entry("calls in runs".to_owned()).or_insert(0) +=
            i32::try_from(live_machine(&plan, true).1).unwrap();
        for line in machine(&plan) {
            let kind = line.split(' ').next().unwrap_or_default().to_owned();
            *seen.entry(kind).or_insert(0) += 1;
            for mark in [
                "parallel_results",
                "Step limit",
                "fan_in_node",
                "No valid next",
                "Error in node",
                "in parallel flow",
            ] {
                *seen.entry(mark.to_owned()).or_insert(0) += i32::from(line.contains(mark));
            }
        }
    }
    for kind in [
        "final",
        "error",
        "raise",
        "state",
        "interrupt",
        "interrupt_before",
        "interrupt_after",
        "parallel_state",
        "parallel_error",
        "parallel_results",
        "Step limit",
        "fan_in_node",
        "No valid next",
        "Error in node",
        "in parallel flow",
    ] {
        assert!(seen.get(kind).copied().unwrap_or_default() >= 20, "{kind} is too rare: {seen:?}");
    }
}
