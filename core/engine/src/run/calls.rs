//! Several calls in one step, for hosts that take them: nodes that follow each other unconditionally.

use std::sync::Arc;

use super::cursor::{Phase, Role, wrong};
use super::{Answer, Calls, Cursor, Item, StepError};
use crate::graph::{Action, END, Edge, Rule};

/// How many nodes are called at once at most: what changes meanwhile is seen after each of them, but the list is
/// made anew for each run.
const MAX_RUN: usize = 1000;

impl Cursor {
    /// Lets the cursor ask for several calls at once ([`Item::Calls`]).
    pub fn allow_runs(&mut self) {
        self.runs = true;
    }

    /// The nodes from the present one on that can be called without a step in between, and the condition behind the
    /// last one; `None` if that is one node only.
    pub(super) fn run_of_calls(&mut self) -> Option<Arc<Calls>> {
        let live = self.live;
        // The number of the first node has 24 bits in the C ABI.
        if !self.runs || live.stops || live.info || self.at_join || self.node >> 24 != 0 {
            return None;
        }
        if !matches!(self.role, Role::Main { .. }) {
            return None;
        }
        let room = match self.graph.step_limit() {
            // The present node is counted already.
            Some(limit) => {
                usize::try_from(limit.saturating_sub(self.steps)).unwrap_or(MAX_RUN).saturating_add(1)
            }
            None => MAX_RUN,
        };
        // A loop asks for the same nodes again and again.
        if let Some(known) = &self.calls
            && known.nodes.first() == Some(&self.node)
            && known.generation == self.generation
            && known.nodes.len() <= room
            && known.repeat == self.graph.step_limit().is_none()
        {
            return Some(Arc::clone(known));
        }
        let mut nodes = vec![self.node];
        let mut node = self.topology.get(self.node)?;
        while nodes.len() < room.min(MAX_RUN) {
            let [Edge { target, rule: Rule::Always, parallel: None }] = node.edges.as_slice() else { break };
            let Some(next) = self.topology.get(*target) else { break };
            if *target == END || !matches!(next.action, Action::Call { .. }) {
                break;
            }
            nodes.push(*target);
            node = next;
        }
        let condition = match node.edges.as_slice() {
            [Edge { rule: Rule::Host { reference }, parallel: None, .. }, rest @ ..]
                if rest.iter().all(|edge| edge.parallel.is_none()) =>
            {
                Some(*reference)
            }
            _ => None,
        };
        if nodes.len() == 1 && condition.is_none() {
            return None;
        }
        let repeat = self.graph.step_limit().is_none();
        let calls = Arc::new(Calls { nodes, condition, repeat, generation: self.generation });
        self.calls = Some(Arc::clone(&calls));
        Some(calls)
    }

    pub(super) fn take_ran(&mut self, answer: Answer) -> Result<Option<Item>, StepError> {
        let calls = self.calls.clone().unwrap_or_default();
        let nodes = &calls.nodes;
        let (count, failed) = match answer {
            Answer::Ran(count) => (count, None),
            Answer::RanTo { target, times } => {
                self.node = nodes.last().copied().unwrap_or(self.node);
                self.steps += (nodes.len() as u64 * times).saturating_sub(1);
                return self.take_target(0, Answer::Target(target));
            }
            Answer::FailedAfter(count, failure) => (count, Some(Answer::Failed(failure))),
            Answer::RespondAfter(count, response) => (count, Some(Answer::Respond(response))),
            other => return Err(wrong(&other, "how many functions were called")),
        };
        let last = if failed.is_some() { count } else { count.wrapping_sub(1) };
        let Some(node) = nodes.get(last) else {
            return Err(StepError::WrongAnswer {
                answer: "RAN",
                expected: "a number of calls that were asked for",
            });
        };
        self.node = *node;
        self.steps += last as u64;
        match failed {
            Some(answer) => self.take_result(answer),
            None => {
                self.phase = Phase::Ran;
                Ok(None)
            }
        }
    }
}
