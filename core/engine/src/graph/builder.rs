//! Building calls with their checks, for hosts that build graphs by calls. Nothing changes when a check
//! fails.

use std::sync::Arc;

use thiserror::Error;

use super::{Action, Edge, Graph, NodeId, Parallel, Rule, START, Settings, Topology, topology::END};
use crate::checkpoint::Store;
use crate::value::{Key, Value};

/// A building call that was refused.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[allow(missing_docs)] // The texts say it.
pub enum BuildError {
    #[error("Node '{0}' already exists in the graph.")]
    Duplicate(String),
    #[error("Node '{0}' does not exist in the graph.")]
    NoNode(String),
    #[error("Target node '{0}' does not exist in the graph.")]
    NoTarget(String),
    #[error("Both nodes must exist in the graph.")]
    NoEnds,
    #[error("All nodes must exist in the graph.")]
    NoParallelEnds,
    #[error("Interrupt node '{0}' does not exist in the graph.")]
    NoInterruptNode(String),
    #[error(
        "A checkpointer is required when using interrupt_before or interrupt_after. Provide either \
         checkpoint_dir='/path' for file-based storage or checkpointer=MemoryCheckpointer() for in-memory \
         storage."
    )]
    NoCheckpointer,
}

/// What [`Graph::compile`] sets; everything is overwritten, as with the reference.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// Names of nodes before which runs stop.
    pub interrupt_before: Vec<String>,
    /// Names of nodes after which runs stop.
    pub interrupt_after: Vec<String>,
    /// Where checkpoints go.
    pub store: Store,
    /// How many nodes a run may enter.
    pub step_limit: Option<u64>,
}

fn known(topology: &Topology, name: &str) -> Result<NodeId, BuildError> {
    topology.find(name).ok_or_else(|| BuildError::NoNode(name.to_owned()))
}

fn always(target: NodeId, parallel: Option<Parallel>) -> Edge {
    Edge { target, rule: Rule::Always, parallel }
}

impl Graph {
    /// Adds a node. `SG-11`: the names of start and end are taken.
    pub fn add_node(&self, name: &str, action: Action) -> Result<NodeId, BuildError> {
        self.edit(|topology| {
            if topology.find(name).is_some() {
                return Err(BuildError::Duplicate(name.to_owned()));
            }
            let id = topology.intern(name, name);
            topology.insert(id, action);
            Ok(id)
        })
    }

    /// Adds an unconditional edge, or makes the one that is there unconditional.
    pub fn add_edge(&self, from: &str, to: &str) -> Result<(), BuildError> {
        self.edit(|topology| match (topology.find(from), topology.find(to)) {
            (Some(from), Some(to)) => {
                topology.connect(from, always(to, None));
                Ok(())
            }
            _ => Err(BuildError::NoEnds),
        })
    }

    /// Adds an edge for each target that the condition's value can choose. All targets are checked first
    /// (`Q13`).
    pub fn add_conditional_edges(
        &self,
        from: &str,
        reference: u32,
        targets: Vec<(Key, String)>,
    ) -> Result<(), BuildError> {
        self.edit(|topology| {
            let from = known(topology, from)?;
            let mut map = indexmap::IndexMap::new();
            for (key, name) in targets {
                let target = topology.find(&name).ok_or(BuildError::NoTarget(name))?;
                map.insert(key, target);
            }
            let targets = Arc::new(map);
            for target in targets.values() {
                let rule = Rule::Map { reference, targets: Arc::clone(&targets) };
                topology.connect(from, Edge { target: *target, rule, parallel: None });
            }
            Ok(())
        })
    }

    /// Adds an edge that starts a branch, which ends where `join` begins.
    pub fn add_parallel_edge(
        &self,
        from: &str,
        to: &str,
        join: &str,
        config: Value,
    ) -> Result<(), BuildError> {
        self.edit(|topology| match (topology.find(from), topology.find(to), topology.find(join)) {
            (Some(from), Some(to), Some(join)) => {
                topology.connect(from, always(to, Some(Parallel { join: Some(join), config })));
                Ok(())
            }
            _ => Err(BuildError::NoParallelEnds),
        })
    }

    /// Adds the edge from start.
    pub fn set_entry_point(&self, name: &str) -> Result<(), BuildError> {
        self.edit(|topology| {
            let target = known(topology, name)?;
            topology.connect(START, always(target, None));
            Ok(())
        })
    }

    /// Adds the edge to the end.
    pub fn set_finish_point(&self, name: &str) -> Result<(), BuildError> {
        self.edit(|topology| {
            let from = known(topology, name)?;
            topology.connect(from, always(END, None));
            Ok(())
        })
    }

    /// Checks and sets interrupts and storage.
    pub fn compile(&self, options: CompileOptions) -> Result<(), BuildError> {
        let topology = self.topology();
        let find =
            |name: &String| topology.find(name).ok_or_else(|| BuildError::NoInterruptNode(name.clone()));
        let before = options.interrupt_before.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let after = options.interrupt_after.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if !(before.is_empty() && after.is_empty()) && options.store.is_none() {
            return Err(BuildError::NoCheckpointer);
        }
        self.configure(|settings: &mut Settings| {
            settings.interrupt_before = before;
            settings.interrupt_after = after;
            settings.store = options.store;
            settings.step_limit = options.step_limit;
        });
        Ok(())
    }
}
