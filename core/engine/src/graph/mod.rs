//! Graphs: nodes, edges, and what can be asked of them.
//!
//! - [`topology`](self::Topology): the structure itself, immutable while a run looks at it;
//! - [`Graph`]: the structure as it is now, plus the settings that runs read anew at every step;
//! - `builder`: the building calls with their checks;
//! - `reach`: reachability, on petgraph's algorithms;
//! - `mermaid`: the picture.

mod builder;
mod mermaid;
mod reach;
mod topology;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use builder::{BuildError, CompileOptions};
pub use mermaid::{EdgeLabel, MapEntry, label_of};
pub use reach::ScopeError;
pub use topology::{Action, END, Edge, Node, NodeId, Parallel, Rule, START, Topology};

use crate::checkpoint::Store;
use crate::host::When;
use crate::run::{Choose, Program};

/// Settings of a graph that its runs read at every step.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Nodes before which a run stops.
    pub interrupt_before: Vec<NodeId>,
    /// Nodes after which a run stops.
    pub interrupt_after: Vec<NodeId>,
    /// Where checkpoints go at an interrupt.
    pub store: Store,
    /// A failing node ends the run with an error instead of an `error` event.
    pub raise_exceptions: bool,
    /// Log records may show what is in the state.
    pub log_state_values: bool,
    /// How many nodes a run may enter; `None` is no limit.
    pub step_limit: Option<u64>,
}

/// Programs and conditions of the engine that a host can refer to by number when it describes the graph itself
/// (`tea_graph_describe`).
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// Work of nodes.
    pub programs: Vec<Arc<dyn Program>>,
    /// Conditions of edges.
    pub conditions: Vec<Arc<dyn Choose>>,
}

/// A graph that can be built, run and changed, also while it runs.
///
/// The structure is replaced as a whole on a change (copied only if a run holds the old one), and a counter
/// tells runs to look again. So a run never sees half a change and holds no lock.
#[derive(Debug)]
pub struct Graph {
    topology: Mutex<Arc<Topology>>,
    settings: Mutex<Arc<Settings>>,
    library: Mutex<Arc<Library>>,
    generation: AtomicU64,
    /// `Settings::step_limit`, 0 for none: read at every step, so without a lock.
    step_limit: AtomicU64,
}

impl Default for Graph {
    fn default() -> Self {
        Graph::new()
    }
}

impl Graph {
    /// A graph with the nodes `__start__` and `__end__`.
    pub fn new() -> Self {
        Graph {
            topology: Mutex::new(Arc::new(Topology::new())),
            settings: Mutex::default(),
            library: Mutex::default(),
            generation: AtomicU64::new(1),
            step_limit: AtomicU64::new(0),
        }
    }

    /// Changes with every change of the structure.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The structure as it is now.
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Programs and conditions by number.
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets programs and conditions by number.
    pub fn set_library(&self, library: Library) {
        *self.library.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(library);
    }

    /// Changes the settings.
    pub fn configure<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(Arc::make_mut(&mut settings));
        self.step_limit.store(settings.step_limit.unwrap_or(0), Ordering::Release);
        result
    }

    /// How many nodes a run may enter.
    pub fn step_limit(&self) -> Option<u64> {
        Some(self.step_limit.load(Ordering::Acquire)).filter(|limit| *limit > 0)
    }

    /// Whether the settings name an interrupt at the node.
    pub fn stops(&self, node: NodeId, when: When) -> bool {
        let settings = self.settings();
        match when {
            When::Before => settings.interrupt_before.contains(&node),
            When::After => settings.interrupt_after.contains(&node),
        }
    }

    /// Changes the structure. The generation moves on even if `change` fails, which costs runs one look.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Topology) -> T) -> T {
        let mut topology = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(Arc::make_mut(&mut topology));
        self.generation.fetch_add(1, Ordering::Release);
        result
    }
}
