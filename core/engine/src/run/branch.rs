//! Branches: launching them, what they report, and the join.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cursor::{Phase, Role};
use super::{BranchError, Cursor, Event, Failure, Item, Method, Outcome, RaiseError, RunError, StepError};
use crate::graph::{END, NodeId};
use crate::host::{LogLevel, When};
use crate::state::State;
use crate::value::{Map, Value};

/// What the branches of a flow report, read by the flow that launched them.
#[derive(Debug, Default)]
pub struct Mailbox {
    messages: Mutex<VecDeque<Message>>,
    ready: Condvar,
}

#[derive(Debug)]
enum Message {
    Event(Value),
    Ended(Ended),
}

#[derive(Debug)]
struct Ended {
    launch: u64,
    /// What the join hands on: the host's object, or a map.
    result: Value,
    /// Text of the error of a branch that failed.
    error: Option<String>,
    /// The branch was ended by something that is no ordinary error.
    fatal: Option<Failure>,
}

impl Mailbox {
    fn post(&self, message: Message) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
        self.ready.notify_all();
    }

    fn take(&self) -> Option<Message> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Waits until there is a message, at most for `timeout`. True if there is one.
    pub fn wait(&self, timeout: Duration) -> bool {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let (messages, _) = self
            .ready
            .wait_timeout_while(messages, timeout, |messages| messages.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        !messages.is_empty()
    }
}

#[derive(Debug)]
struct Launched {
    id: u64,
    branch: NodeId,
}

/// The branches that a flow has launched and not joined.
#[derive(Default)]
pub(super) struct Pending {
    mailbox: Option<Arc<Mailbox>>,
    joins: indexmap::IndexMap<NodeId, Vec<Launched>>,
    ended: HashMap<u64, Ended>,
    /// Ids of ended branches in the order in which they ended.
    order: Vec<u64>,
    launched: u64,
    running: usize,
}

impl Pending {
    /// The join registered first among those with branches pending.
    pub(super) fn first(&self) -> Option<NodeId> {
        self.joins.keys().next().copied()
    }
}

impl Cursor {
    /// Where branches report, once there is one.
    pub fn mailbox(&self) -> Option<&Arc<Mailbox>> {
        self.pending.mailbox.as_ref()
    }

    /// Asks for the launch of the next parallel edge from number `index` on.
    pub(super) fn launch(&mut self, index: usize) -> Option<Item> {
        let edges = self.topology.edges(self.node).iter().enumerate().skip(index);
        let found = edges.filter_map(|(index, edge)| {
            let join = edge.parallel.as_ref()?.join?;
            Some((index, edge.target, join))
        });
        let Some((index, node, join)) = { found }.next() else {
            self.phase = Phase::Route { edge: 0 };
            return None;
        };
        let kind = if self.method == Method::Stream { "stream " } else { "" };
        let (branch, fan_in) = (self.name(node), self.name(join));
        let text = format_args!("Launching parallel {kind}flow to node '{branch}' (fan-in: '{fan_in}')");
        self.record(LogLevel::Debug, text);
        self.phase = Phase::AwaitLaunch { edge: index };
        Some(Item::Launch { node, from: self.node })
    }

    /// Makes the cursor of the branch that the last item asked for. `state` is the host's copy of the state; a
    /// core-resident state is copied here.
    pub fn branch(&mut self, state: Option<State>) -> Result<Cursor, StepError> {
        let Phase::AwaitLaunch { edge } = self.phase else {
            return Err(StepError::WrongAnswer { answer: "BRANCH", expected: "a LAUNCH item before it" });
        };
        let topology = Arc::clone(&self.topology);
        let edge = topology.edges(self.node).get(edge);
        let Some((first, join)) = edge.and_then(|edge| Some((edge.target, edge.parallel.as_ref()?.join?)))
        else {
            return Err(StepError::WrongAnswer { answer: "BRANCH", expected: "a parallel edge" });
        };
        let state = match state {
            Some(state) => state,
            None => self.state.fork()?,
        };
        let parent = Arc::clone(self.pending.mailbox.get_or_insert_default());
        let launch = self.pending.launched;
        self.pending.launched += 1;
        self.pending.running += 1;
        self.pending.joins.entry(join).or_default().push(Launched { id: launch, branch: first });
        let role = Role::Branch {
            join,
            first,
            launch,
            parent,
            initial: state.value(),
            since: Instant::now(),
            posted: false,
        };
        let start = Phase::Begin(super::Start::Fresh);
        let (graph, host) = (Arc::clone(&self.graph), self.host.clone());
        let mut branch = Cursor::with_role(graph, host, state, role, self.method, first, start);
        branch.run = self.run;
        branch.config = Arc::clone(&self.config);
        branch.observer.clone_from(&self.observer);
        branch.plain_results = self.plain_results;
        Ok(branch)
    }

    /// The main flow stands on a node without normal edges: it waits for the branches of `join`.
    pub(super) fn join(&mut self, join: NodeId) -> Option<Item> {
        let count = self.pending.joins.get(&join).map_or(0, Vec::len);
        let name = self.name(join);
        match self.method {
            Method::Invoke => {
                let text = format_args!("Joining {count} parallel flow(s) at fan-in node '{name}'");
                self.record(LogLevel::Info, text);
            }
            Method::Stream => {
                let text = format_args!("Waiting for parallel flows to complete at fan-in '{name}'");
                self.record(LogLevel::Info, text);
            }
        }
        self.phase = Phase::AwaitBranch(join);
        None
    }

    /// Reads what branches have reported; goes on when all of `join` have ended.
    pub(super) fn collect(&mut self, join: NodeId) -> Result<Option<Item>, StepError> {
        while let Some(message) = self.pending.mailbox.as_ref().and_then(|mailbox| mailbox.take()) {
            match message {
                Message::Event(event) => return Ok(Some(Item::Event(Event::Kept(event)))),
                Message::Ended(ended) => self.note_end(join, ended),
            }
        }
        let launched = self.pending.joins.get(&join);
        let mut waiting = false;
        for launched in launched.into_iter().flatten() {
            match self.pending.ended.get(&launched.id) {
                // In launch order: what the branches before it said has been collected.
                Some(Ended { fatal: Some(failure), .. }) if !waiting => {
                    let failure = failure.clone();
                    self.phase = Phase::End;
                    return Ok(Some(Item::Raise(RaiseError::Unchanged(failure))));
                }
                Some(_) => {}
                None => waiting = true,
            }
        }
        if waiting {
            return Ok(Some(Item::Wait));
        }
        self.phase = Phase::Joined(join);
        Ok(None)
    }

    fn note_end(&mut self, join: NodeId, ended: Ended) {
        self.pending.running = self.pending.running.saturating_sub(1);
        let id = ended.launch;
        self.pending.order.push(id);
        self.pending.ended.insert(id, ended);
        let Some(launched) = self.pending.joins.get(&join) else { return };
        if self.method == Method::Stream
            && let Some(branch) = launched.iter().find(|launched| launched.id == id)
        {
            let ended = &self.pending.ended;
            let left = launched.iter().filter(|launched| !ended.contains_key(&launched.id)).count();
            let name = self.name(branch.branch);
            self.record(LogLevel::Debug, format_args!("Branch '{name}' completed, {left} remaining"));
        }
    }

    /// All branches of `join` have ended: judges failures, puts the results into the state, goes on there.
    pub(super) fn joined(&mut self, join: NodeId) -> Result<Option<Item>, StepError> {
        let name = self.name(join);
        match self.method {
            Method::Invoke => {
                self.record(LogLevel::Debug, format_args!("All parallel flows joined at '{name}'"));
            }
            Method::Stream => {
                let text = format_args!("All parallel flows joined at fan-in node '{name}'");
                self.record(LogLevel::Info, text);
            }
        }
        let launched = self.pending.joins.shift_remove(&join).unwrap_or_default();
        let mut order: Vec<u64> = launched.iter().map(|launched| launched.id).collect();
        if self.method == Method::Stream {
            let place = |id: &u64| self.pending.order.iter().position(|ended| ended == id);
            order.sort_by_key(place);
        }
        let mut results = Vec::with_capacity(order.len());
        for id in order {
            let Some(ended) = self.pending.ended.remove(&id) else { continue };
            match ended.error {
                None => results.push(ended.result),
                Some(text) if self.method == Method::Invoke => {
                    let branch = launched.iter().find(|launched| launched.id == id);
                    let node = branch.map_or(join, |launched| launched.branch);
                    let raised = format!("Error in node '{}': {text}", self.name(node));
                    let state = Some(ended.result);
                    return Ok(Some(self.fail(RunError { node, text, raised, failure: None, state })));
                }
                Some(_) => {}
            }
        }
        let mut delta = Map::with_capacity(1);
        delta.insert("parallel_results".into(), Value::list(results));
        self.state.merge(Value::map(delta))?;
        self.node = join;
        self.at_join = true;
        self.refresh();
        if join == END {
            // Q17: a join at the end is the end.
            self.phase = Phase::Enter;
            return Ok(None);
        }
        if self.method == Method::Stream && self.topology.get(join).is_none() {
            return Ok(Some(self.unknown_node()));
        }
        if let Some(error) = self.count_step() {
            return Ok(Some(error));
        }
        if self.stops(When::Before)? {
            return self.store(When::Before);
        }
        self.phase = Phase::Call;
        Ok(None)
    }

    /// True while branches that nobody joined are still running (`SG-57`); drops what they report.
    pub(super) fn await_stragglers(&mut self) -> bool {
        while let Some(message) = self.pending.mailbox.as_ref().and_then(|mailbox| mailbox.take()) {
            if let Message::Ended(_) = message {
                self.pending.running = self.pending.running.saturating_sub(1);
            }
        }
        self.pending.running > 0
    }

    // What a branch does.

    /// The branch stands on its join, or on the end.
    pub(super) fn branch_reached(&mut self) -> Item {
        if self.method == Method::Invoke {
            if self.node == END {
                self.record(LogLevel::Debug, format_args!("[Parallel] Flow reached END"));
            } else {
                let join = self.name(self.node);
                self.record(LogLevel::Info, format_args!("Parallel flow reached fan-in node '{join}'"));
            }
        }
        self.end_branch(None)
    }

    /// The branch failed by the fault of a node or for want of an edge.
    pub(super) fn branch_failed(&mut self, error: RunError) -> Item {
        if let Some(failure) = error.failure.as_ref().filter(|failure| failure.fatal) {
            let failure = failure.clone();
            self.post_end(Value::Null, Some(failure.text.clone()), Some(failure));
            self.phase = Phase::End;
            return Item::Done;
        }
        let raised = self.live.raises && self.method == Method::Invoke;
        let (text, class) =
            if raised { (error.raised, "RuntimeError") } else { (error.text, "ExecutionError") };
        if raised {
            self.record_raised(&text);
        }
        let class = class.to_owned();
        self.branch_ended(BranchError { text, class, failure: error.failure, at_start: raised })
    }

    /// The branch stands on a name that is not in the graph.
    pub(super) fn branch_lost(&mut self, text: String) -> Item {
        // Python prints a KeyError with the quotes of its text.
        let text = format!("\"{text}\"");
        let raised = self.method == Method::Invoke;
        if raised {
            self.record_raised(&text);
        }
        let class = if raised { "KeyError" } else { "ExecutionError" }.to_owned();
        self.branch_ended(BranchError { text, class, failure: None, at_start: raised })
    }

    fn record_raised(&self, text: &str) {
        if let Role::Branch { first, .. } = &self.role {
            let branch = self.name(*first);
            self.record(LogLevel::Error, format_args!("Exception in branch '{branch}' (attempt 1): {text}"));
        }
    }

    pub(super) fn branch_ended(&mut self, error: BranchError) -> Item {
        let (Method::Stream, Role::Branch { first, .. }) = (self.method, &self.role) else {
            return self.end_branch(Some(error));
        };
        let event =
            Event::ParallelError { branch: *first, text: error.text.clone(), at_start: error.at_start };
        self.outcome = Some(error);
        self.phase = Phase::AwaitKeptEvent { then: Box::new(Phase::BranchFailed) };
        Item::Event(event)
    }

    /// The event of the failure is posted; now the outcome.
    pub(super) fn end_branch(&mut self, error: Option<BranchError>) -> Item {
        let Role::Branch { first, since, .. } = &self.role else { return Item::Done };
        let at_start = error.as_ref().is_some_and(|error| error.at_start);
        let state = if at_start { self.initial_state() } else { self.state.value() };
        let text = error.as_ref().map(|error| error.text.clone());
        let milliseconds = since.elapsed().as_secs_f64() * 1000.0;
        let outcome = Outcome { branch: *first, error, state, milliseconds, plain: self.plain_results };
        self.phase = Phase::AwaitKeptOutcome { error: text };
        Item::Outcome(outcome)
    }

    pub(super) fn post_event(&mut self, event: Value) {
        if let Role::Branch { parent, .. } = &self.role {
            parent.post(Message::Event(event));
        }
    }

    pub(super) fn post_end(&mut self, result: Value, error: Option<String>, fatal: Option<Failure>) {
        if let Role::Branch { parent, launch, posted, .. } = &mut self.role
            && !*posted
        {
            *posted = true;
            parent.post(Message::Ended(Ended { launch: *launch, result, error, fatal }));
        }
    }

    /// The result of a branch as a map (or as its plain state), for hosts that keep no object of their own.
    pub fn outcome_value(&self, outcome: &Outcome) -> Value {
        if outcome.plain {
            return outcome.state.clone();
        }
        let text = |of: fn(&BranchError) -> &String| {
            outcome.error.as_ref().map_or(Value::Null, |error| Value::from(of(error).as_str()))
        };
        crate::map! {
            "branch" => self.name(outcome.branch),
            "success" => outcome.error.is_none(),
            "state" => outcome.state.clone(),
            "error" => text(|error| &error.text),
            "error_type" => text(|error| &error.class),
            "traceback" => Value::Null,
            "timeout" => false,
            "timing_ms" => outcome.milliseconds,
            "retry_count" => 0_i64,
            "circuit_state" => Value::Null,
            "attempt_errors" => Vec::<Value>::new(),
            "exit_code" => Value::Null,
        }
    }
}

/// The state in the result of a branch, if the map is one: its entries are looked up as if they were entries of the
/// result (`PAR-11`), after the fields of the result itself.
pub(crate) fn state_of_result(map: &Map) -> Option<&Map> {
    const FIELDS: [(usize, &str); 4] =
        [(0, "branch"), (2, "state"), (10, "attempt_errors"), (11, "exit_code")];
    let field = |(index, name): (usize, &str)| {
        map.get_index(index).is_some_and(|(key, _)| key.as_str() == Some(name))
    };
    (map.len() == 12 && FIELDS.into_iter().all(field)).then(|| map.get("state")?.as_map()).flatten()
}

impl Drop for Cursor {
    /// A branch that is dropped before its end must not keep the join waiting.
    fn drop(&mut self) {
        let text = "the branch was abandoned before its end";
        self.post_end(Value::Null, Some(text.to_owned()), None);
    }
}
