//! The machine from entering a node to the result of its function.

use std::sync::Arc;
use std::time::Instant;

use super::branch::{Mailbox, Pending};
use super::event::Event;
use super::program::{Process, Scene, Slots, Stop, Turn};
use super::record::Observer;
use super::{
    Answer, BranchError, Calls, Failure, Item, Live, Method, RaiseError, Response, RunError, StepError,
};
use crate::graph::{Action, END, Graph, NodeId, START, Topology};
use crate::host::{Host, LogLevel, When};
use crate::state::State;
use crate::value::{Map, Value};

/// How many moves a step makes without an item before it pauses.
const MAX_TURNS: u32 = 100_000;

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At `__start__`.
    Fresh,
    /// At the node of a checkpoint.
    Resume {
        /// The checkpoint's node.
        node: NodeId,
        /// Which interrupt made it, if known.
        interrupt: Option<When>,
    },
}

/// The two ends of a scoped run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The first node.
    pub entry: NodeId,
    /// The node before which the run ends.
    pub exit: NodeId,
}

/// What a run is started with.
pub struct Options {
    /// Which events it yields.
    pub method: Method,
    /// Where it begins.
    pub start: Start,
    /// The host's number for the run, handed back with questions about interrupts.
    pub run: u64,
    /// The configuration of the run, for hosts whose state lives in the engine.
    pub config: Arc<Map>,
}

/// What kind of flow a cursor is.
#[derive(Debug, Clone)]
pub(super) enum Role {
    Main {
        resumed: bool,
    },
    Branch {
        join: NodeId,
        first: NodeId,
        launch: u64,
        parent: Arc<Mailbox>,
        initial: Value,
        since: Instant,
        posted: bool,
    },
    Scoped {
        exit: NodeId,
    },
}

/// Where the machine stands. The names say what happens next, or which answer is awaited.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    Begin(Start),
    Enter,
    Call,
    AwaitResult,
    AwaitRan,
    /// A program is to be polled.
    Poll,
    AwaitRequest,
    Ran,
    Leave,
    Launch {
        edge: usize,
    },
    AwaitLaunch {
        edge: usize,
    },
    Route {
        edge: usize,
    },
    AwaitTarget {
        edge: usize,
    },
    Join(NodeId),
    AwaitBranch(NodeId),
    Joined(NodeId),
    AwaitStore {
        when: When,
    },
    AwaitKeptEvent {
        then: Box<Phase>,
    },
    AwaitKeptOutcome {
        error: Option<String>,
    },
    BranchFailed,
    End,
}

/// One flow of control. See the module's comment.
pub struct Cursor {
    pub(super) graph: Arc<Graph>,
    pub(super) topology: Arc<Topology>,
    pub(super) generation: u64,
    pub(super) host: Option<Arc<dyn Host>>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) state: State,
    pub(super) config: Arc<Map>,
    pub(super) method: Method,
    pub(super) role: Role,
    pub(super) run: u64,
    pub(super) live: Live,
    pub(super) node: NodeId,
    pub(super) phase: Phase,
    /// The node was reached by a join: its records and its routing are those of a fan-in.
    pub(super) at_join: bool,
    pub(super) pending: Pending,
    process: Option<Process>,
    pub(super) runs: bool,
    /// The state of the request that the host is answering, if it is not the flow's own.
    lent: Option<State>,
    /// What the present node returned.
    update: Value,
    slots: Arc<Slots>,
    /// The last run of calls that was asked for.
    pub(super) calls: Option<Arc<Calls>>,
    pub(super) outcome: Option<BranchError>,
    pub(super) steps: u64,
    entered: bool,
    /// Branches hand on their plain states, also in `invoke` (resumed runs).
    pub(super) plain_results: bool,
    pub(super) shown: Option<String>,
}

impl Cursor {
    /// A run of the graph. Nothing happens before the first step.
    pub fn new(graph: Arc<Graph>, host: Option<Arc<dyn Host>>, state: State, options: Options) -> Self {
        let (node, resumed) = match options.start {
            Start::Fresh => (START, false),
            Start::Resume { node, .. } => (node, true),
        };
        let role = Role::Main { resumed };
        let start = Phase::Begin(options.start);
        let mut cursor = Cursor::with_role(graph, host, state, role, options.method, node, start);
        cursor.run = options.run;
        cursor.config = options.config;
        cursor.plain_results |= resumed;
        cursor
    }

    /// A scoped run: from one node until before another one, without events. Check the scope first
    /// ([`Topology::check_scope`]).
    pub fn scoped(graph: Arc<Graph>, host: Option<Arc<dyn Host>>, state: State, scope: Scope) -> Self {
        let role = Role::Scoped { exit: scope.exit };
        Cursor::with_role(graph, host, state, role, Method::Invoke, scope.entry, Phase::Begin(Start::Fresh))
    }

    pub(super) fn with_role(
        graph: Arc<Graph>,
        host: Option<Arc<dyn Host>>,
        state: State,
        role: Role,
        method: Method,
        node: NodeId,
        phase: Phase,
    ) -> Self {
        Cursor {
            generation: graph.generation(),
            topology: graph.topology(),
            graph,
            host,
            observer: None,
            state,
            config: Arc::default(),
            method,
            role,
            run: 0,
            live: Live::default(),
            node,
            phase,
            at_join: false,
            pending: Pending::default(),
            process: None,
            runs: false,
            lent: None,
            update: Value::Null,
            slots: Arc::default(),
            calls: None,
            outcome: None,
            steps: 0,
            entered: false,
            plain_results: method == Method::Stream,
            shown: None,
        }
    }

    /// Which events the run yields.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The state as it is now. While a request of a program is open: the state that the request is about.
    pub fn state(&self) -> &State {
        self.lent.as_ref().unwrap_or(&self.state)
    }

    /// The state that the open request is about, if it is not the flow's own: that of steps or of a loop.
    pub fn lent_state(&self) -> Option<&State> {
        self.lent.as_ref()
    }

    /// The configuration of the run.
    pub fn config(&self) -> &Arc<Map> {
        &self.config
    }

    /// The structure that the run looks at.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Which structure of the graph the run looks at ([`Graph::generation`]).
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Gives a scoped run its configuration.
    pub fn configure(&mut self, config: Arc<Map>) {
        self.config = config;
    }

    /// Lets somebody follow a run without a host, and its branches.
    pub fn observe(&mut self, observer: Arc<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// It is a scoped run.
    pub fn is_scoped(&self) -> bool {
        matches!(self.role, Role::Scoped { .. })
    }

    /// Puts the error of a scoped run into its state (`SG-84`).
    pub fn note_scoped_error(&mut self, node: NodeId, text: &str) -> Result<(), StepError> {
        let error = crate::map! { "node" => self.name(node), "error" => text };
        Ok(self.state.merge(crate::map! { "_scoped_error" => error })?)
    }

    /// The run has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::End
    }

    pub(super) fn name(&self, node: NodeId) -> &str {
        self.topology.name(node)
    }

    /// Looks at the graph again if it has changed since.
    pub(super) fn refresh(&mut self) {
        let generation = self.graph.generation();
        if generation != self.generation {
            self.generation = generation;
            self.topology = self.graph.topology();
        }
    }

    /// What a condition returned, as text, for the record of its edge. Call it before the answer, where records
    /// of level DEBUG are wanted.
    pub fn show_choice(&mut self, text: String) {
        self.shown = Some(text);
    }

    /// Advances to the next item. `answer` belongs to the item before, `live` is what the host's attributes
    /// say now.
    pub fn step(&mut self, mut answer: Answer, live: Live) -> Result<Item, StepError> {
        self.live = live;
        let mut turns = 0;
        loop {
            let item = match &mut self.phase {
                Phase::Begin(start) => {
                    let start = *start;
                    let Answer::Start { announce } = answer else {
                        return Err(wrong(&answer, "the start"));
                    };
                    self.begin(start, announce)?
                }
                Phase::Enter => self.enter()?,
                Phase::Call => self.call()?,
                Phase::AwaitResult => {
                    let given = std::mem::replace(&mut answer, Answer::Done);
                    self.take_result(given)?
                }
                Phase::AwaitRan => {
                    let given = std::mem::replace(&mut answer, Answer::Done);
                    self.take_ran(given)?
                }
                Phase::Poll => self.poll()?,
                Phase::AwaitRequest => {
                    let given = std::mem::replace(&mut answer, Answer::Done);
                    self.lent = None;
                    if let Some(process) = &self.process {
                        process.answer(given);
                    }
                    self.phase = Phase::Poll;
                    None
                }
                Phase::Ran => self.ran()?,
                Phase::Leave => self.leave(),
                Phase::Launch { edge } => {
                    let edge = *edge;
                    self.launch(edge)
                }
                Phase::AwaitLaunch { edge } => {
                    let next = *edge + 1;
                    expect_done(&answer)?;
                    self.phase = Phase::Launch { edge: next };
                    None
                }
                Phase::Route { edge } => {
                    let edge = *edge;
                    self.route(edge)
                }
                Phase::AwaitTarget { edge } => {
                    let edge = *edge;
                    let given = std::mem::replace(&mut answer, Answer::Done);
                    self.take_target(edge, given)?
                }
                Phase::Join(join) => {
                    let join = *join;
                    self.join(join)
                }
                Phase::AwaitBranch(join) => {
                    let join = *join;
                    self.collect(join)?
                }
                Phase::Joined(join) => {
                    let join = *join;
                    self.joined(join)?
                }
                Phase::AwaitStore { when } => {
                    let when = *when;
                    let Answer::Stored(checkpoint) = answer else {
                        return Err(wrong(&answer, "the id of the checkpoint"));
                    };
                    Some(self.interrupted(when, checkpoint))
                }
                Phase::AwaitKeptEvent { then } => {
                    let Answer::Kept(event) = answer else {
                        return Err(wrong(&answer, "what the host keeps of the event"));
                    };
                    let then = std::mem::replace(&mut **then, Phase::End);
                    self.post_event(event);
                    self.phase = then;
                    None
                }
                Phase::AwaitKeptOutcome { error } => {
                    let Answer::Kept(result) = answer else {
                        return Err(wrong(&answer, "what the host keeps of the outcome"));
                    };
                    let error = error.take();
                    self.post_end(result, error, None);
                    self.phase = Phase::End;
                    None
                }
                Phase::BranchFailed => {
                    let error = self.outcome.take();
                    Some(self.end_branch(error))
                }
                Phase::End => Some(Item::Done),
            };
            if let Some(item) = item {
                return Ok(item);
            }
            answer = Answer::Done;
            // A cycle of nodes without functions must not keep the host from its signals.
            turns += 1;
            if turns == MAX_TURNS {
                return Ok(Item::Pause);
            }
        }
    }

    fn begin(&mut self, start: Start, announce: bool) -> Result<Option<Item>, StepError> {
        self.record_start()?;
        self.phase = match start {
            _ if announce => Phase::End,
            Start::Fresh => Phase::Enter,
            // CP-27, CQ-1: a node is skipped if its after-interrupt made the checkpoint. A record that does
            // not say which interrupt it was counts as such.
            Start::Resume { interrupt, .. } => {
                if self.node == END {
                    Phase::Enter
                } else if interrupt != Some(When::Before) && self.stops(When::After)? {
                    Phase::Leave
                } else {
                    if let Some(error) = self.count_step() {
                        return Ok(Some(error));
                    }
                    Phase::Call
                }
            }
        };
        Ok(None)
    }

    /// Whether an interrupt is set on the present node.
    pub(super) fn stops(&self, when: When) -> Result<bool, StepError> {
        if !self.live.stops || !matches!(self.role, Role::Main { .. }) {
            return Ok(false);
        }
        match &self.host {
            Some(host) => Ok(host.stops(self.run, self.node, when)?),
            None => Ok(self.graph.stops(self.node, when)),
        }
    }

    fn enter(&mut self) -> Result<Option<Item>, StepError> {
        self.refresh();
        match &self.role {
            Role::Main { .. } if self.node == END => return self.finish(),
            Role::Scoped { exit } if self.node == END || self.node == *exit => {
                let exit = self.name(*exit);
                let text = format_args!("Scoped execution complete: stopped before '{exit}'");
                self.record(LogLevel::Info, text);
                self.phase = Phase::End;
                return Ok(None);
            }
            Role::Branch { join, .. } if self.node == END || self.node == *join => {
                return Ok(Some(self.branch_reached()));
            }
            _ => {}
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

    /// Counts the node that the run enters; the error if that is one too many (`Q15`).
    pub(super) fn count_step(&mut self) -> Option<Item> {
        let limit = self.graph.step_limit()?;
        // Where a run begins is no step; coming back there is one, or a cycle over it would never end.
        if self.node != START || self.entered {
            self.steps += 1;
        }
        self.entered = true;
        (self.steps > limit).then(|| self.fail_plain(self.node, format!("Step limit of {limit} reached")))
    }

    pub(super) fn call(&mut self) -> Result<Option<Item>, StepError> {
        self.refresh();
        self.update = Value::Null;
        let Some(node) = self.topology.get(self.node) else {
            return Ok(Some(self.unknown_node()));
        };
        match &node.action {
            Action::None => {
                self.phase = Phase::Ran;
                Ok(None)
            }
            Action::Call { reference } => {
                let reference = *reference;
                if let Some(calls) = self.run_of_calls() {
                    self.phase = Phase::AwaitRan;
                    return Ok(Some(Item::Calls(calls)));
                }
                self.record_enter(self.at_join)?;
                self.phase = Phase::AwaitResult;
                Ok(Some(Item::Call { node: self.node, reference }))
            }
            Action::Program(program) => {
                let process = Process::new(program.as_ref(), self.scene());
                self.record_enter(self.at_join)?;
                self.process = Some(process);
                self.phase = Phase::Poll;
                Ok(None)
            }
        }
    }

    /// What a program or a condition of the engine works with.
    pub(super) fn scene(&self) -> Scene {
        Scene {
            node: self.topology.get(self.node).map_or_else(|| "?".into(), |node| Arc::clone(&node.name)),
            state: self.state.clone(),
            config: Arc::clone(&self.config),
            host: self.host.clone(),
            observer: self.observer.clone(),
            update: self.update.clone(),
            slots: Arc::clone(&self.slots),
        }
    }

    fn poll(&mut self) -> Result<Option<Item>, StepError> {
        let Some(process) = &mut self.process else {
            self.phase = Phase::Ran;
            return Ok(None);
        };
        let result = match process.poll() {
            Turn::Asked(request, state) => {
                self.lent = state;
                self.phase = Phase::AwaitRequest;
                return Ok(Some(Item::Request { node: self.node, request }));
            }
            Turn::Waiting => return Ok(Some(Item::Wait)),
            Turn::Ended(result) => result,
        };
        self.process = None;
        self.take_result(match result {
            Ok(value) => Answer::Result(value),
            Err(Stop::Failed(failure)) => Answer::Failed(failure),
            Err(Stop::Respond(response)) => Answer::Respond(response),
        })
    }

    pub(super) fn take_result(&mut self, answer: Answer) -> Result<Option<Item>, StepError> {
        match answer {
            Answer::Done => {}
            Answer::Result(value) => {
                self.update = value.clone();
                self.state.merge(value)?;
            }
            Answer::Failed(failure) => return Ok(Some(self.node_failed(failure))),
            Answer::Respond(response) => return Ok(Some(self.respond(response))),
            other => return Err(wrong(&other, "the result of the node")),
        }
        self.record_completed(self.at_join)?;
        self.phase = Phase::Ran;
        Ok(match (&self.role, self.method) {
            (_, Method::Invoke) | (Role::Scoped { .. }, _) => None,
            (Role::Main { .. }, Method::Stream) => {
                // Delivered, then `Ran`: no need for a phase of its own, any answer will do.
                Some(Item::Event(Event::State { node: self.node }))
            }
            (Role::Branch { first, .. }, Method::Stream) => {
                let event = Event::ParallelState { branch: *first, node: self.node };
                self.phase = Phase::AwaitKeptEvent { then: Box::new(Phase::Ran) };
                Some(Item::Event(event))
            }
        })
    }

    fn ran(&mut self) -> Result<Option<Item>, StepError> {
        if self.stops(When::After)? {
            return self.store(When::After);
        }
        self.phase = Phase::Leave;
        Ok(None)
    }

    fn respond(&mut self, response: Response) -> Item {
        let node = self.node;
        if !matches!(self.role, Role::Main { .. }) {
            // SG-67: in branches and scoped runs an ordinary error.
            let text = format!("HTTP {}", crate::value::text(&response.status));
            return self.node_failed(Failure {
                text,
                class: "HTTPResponse".to_owned(),
                ..Failure::default()
            });
        }
        let status = crate::value::text(&response.status);
        let name = self.name(node);
        self.record(LogLevel::Info, format_args!("HTTP response from node '{name}': status={status}"));
        self.phase = Phase::End;
        Item::Event(Event::HttpResponse { node, response })
    }

    fn finish(&mut self) -> Result<Option<Item>, StepError> {
        if self.await_stragglers() {
            return Ok(Some(Item::Wait));
        }
        self.record_finish()?;
        self.phase = Phase::End;
        let output = self.method == Method::Invoke && matches!(self.role, Role::Main { resumed: false });
        Ok(Some(Item::Event(Event::Final { output })))
    }

    /// The function of the present node failed.
    fn node_failed(&mut self, failure: Failure) -> Item {
        let (node, text) = (self.name(self.node), &failure.text);
        let prefix = self.prefix();
        let kind = if self.at_join { "fan-in node" } else { "node" };
        self.record(LogLevel::Error, format_args!("{prefix}Error in {kind} '{node}': {text}"));
        let raised = format!("Error in node '{node}': {text}");
        self.fail(RunError {
            node: self.node,
            text: failure.text.clone(),
            raised,
            failure: Some(failure),
            state: None,
        })
    }

    pub(super) fn fail_plain(&mut self, node: NodeId, text: String) -> Item {
        self.fail(RunError { node, raised: text.clone(), text, failure: None, state: None })
    }

    pub(super) fn fail(&mut self, error: RunError) -> Item {
        if matches!(self.role, Role::Branch { .. }) {
            return self.branch_failed(error);
        }
        self.phase = Phase::End;
        Item::Error(error)
    }

    pub(super) fn unknown_node(&mut self) -> Item {
        if matches!(self.role, Role::Branch { .. }) {
            let text = format!("Node '{}' not found in the graph", self.name(self.node));
            return self.branch_lost(text);
        }
        self.phase = Phase::End;
        Item::Raise(RaiseError::UnknownNode(self.node))
    }

    /// The state that a branch began with.
    pub(super) fn initial_state(&self) -> Value {
        match &self.role {
            Role::Branch { initial, .. } => initial.clone(),
            _ => self.state.value(),
        }
    }
}

pub(super) fn expect_done(answer: &Answer) -> Result<(), StepError> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(wrong(other, "nothing")),
    }
}

pub(super) fn wrong(answer: &Answer, expected: &'static str) -> StepError {
    let answer = match answer {
        Answer::Start { .. } => "START",
        Answer::Done => "DONE",
        Answer::Result(_) => "RESULT",
        Answer::Target(_) => "TARGET",
        Answer::Choice(_) => "CHOICE",
        Answer::Core => "CORE",
        Answer::Ran(_) | Answer::RanTo { .. } => "RAN",
        Answer::FailedAfter(..) => "FAILED",
        Answer::RespondAfter(..) => "RESPOND",
        Answer::Failed(_) => "FAILED",
        Answer::Respond(_) => "RESPOND",
        Answer::Stored(_) => "STORED",
        Answer::Kept(_) => "KEPT",
    };
    StepError::WrongAnswer { answer, expected }
}
