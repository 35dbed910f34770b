//! The structure of a graph: a table of nodes by number, each with its edges in the order they were added.

use std::collections::HashMap;
use std::sync::Arc;

use crate::run::{Choose, Program};
use crate::value::{Key, Value};

/// Number of a node within its graph. Numbers are never reused.
pub type NodeId = u32;

/// The node where runs begin, `__start__`.
pub const START: NodeId = 0;
/// The node where runs end, `__end__`.
pub const END: NodeId = 1;

/// What running a node means.
#[derive(Debug, Clone, Default)]
pub enum Action {
    /// Nothing: the node is passed through without event or record.
    #[default]
    None,
    /// A call to the host; `reference` is the host's number for the function.
    Call {
        /// The host's number for the function.
        reference: u32,
    },
    /// A program of the engine.
    Program(Arc<dyn Program>),
}

/// A node and the edges that leave it.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name as records and errors print it.
    pub name: Arc<str>,
    /// Whether the node is in the graph. A name can have a number without being in it: a target that was
    /// removed, or that a host's map names and nobody added.
    pub present: bool,
    /// What running it means.
    pub action: Action,
    /// Edges in the order in which they were first added.
    pub edges: Vec<Edge>,
}

/// An edge. At most one joins an ordered pair of nodes.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Where it leads.
    pub target: NodeId,
    /// When it is taken.
    pub rule: Rule,
    /// Set for an edge that starts a branch.
    pub parallel: Option<Parallel>,
}

/// When an edge is taken.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Always.
    Always,
    /// As the host says: it evaluates the condition and names the target.
    Host {
        /// The host's number for the condition.
        reference: u32,
    },
    /// The engine evaluates the condition; the edge is taken if its value is true.
    Choose(Arc<dyn Choose>),
    /// The host evaluates the condition, the engine looks its value up. Edges of one building call share the
    /// map.
    Map {
        /// The host's number for the condition.
        reference: u32,
        /// From the condition's value to the target.
        targets: Arc<indexmap::IndexMap<Key, NodeId>>,
    },
}

/// Settings of an edge that starts a branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Parallel {
    /// Where the branch joins the main flow. `None` is an error of the run.
    pub join: Option<NodeId>,
    /// Reliability settings as given; `Null` for the graph's own.
    pub config: Value,
}

/// The nodes and edges of a graph.
#[derive(Debug, Clone)]
pub struct Topology {
    nodes: Vec<Node>,
    /// Order in which the nodes that are present were added.
    order: Vec<NodeId>,
    by_name: HashMap<Arc<str>, NodeId>,
}

impl Topology {
    pub(super) fn new() -> Self {
        let mut topology = Topology { nodes: Vec::new(), order: Vec::new(), by_name: HashMap::new() };
        for name in ["__start__", "__end__"] {
            let id = topology.intern(name, name);
            topology.insert(id, Action::None);
        }
        topology
    }

    /// The number for a name, a new one if need be. `key` tells names apart, `label` is how it prints: hosts
    /// with names other than texts need both (`1` and `"1"` print alike).
    pub fn intern(&mut self, key: &str, label: &str) -> NodeId {
        if let Some(id) = self.by_name.get(key) {
            return *id;
        }
        // A graph of four billion names does not fit into memory first.
        let id = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        let (key, label) = (Arc::<str>::from(key), Arc::<str>::from(label));
        self.nodes.push(Node { name: label, present: false, action: Action::None, edges: Vec::new() });
        self.by_name.insert(key, id);
        id
    }

    /// Puts a node into the graph, or changes what it does.
    pub fn insert(&mut self, id: NodeId, action: Action) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.action = action;
            if !node.present {
                node.present = true;
                self.order.push(id);
            }
        }
    }

    /// Adds an edge, or merges into the one that is there: it keeps its place, the new rule holds, and a
    /// parallel edge stays one unless new parallel settings replace its own.
    pub fn connect(&mut self, from: NodeId, edge: Edge) {
        let Some(node) = self.nodes.get_mut(from as usize) else { return };
        match node.edges.iter_mut().find(|known| known.target == edge.target) {
            Some(known) => {
                known.rule = edge.rule;
                known.parallel = edge.parallel.or(known.parallel.take());
            }
            None => node.edges.push(edge),
        }
    }

    /// Takes everything out but the numbers that names have, ready for a host to describe the graph anew.
    pub fn clear(&mut self) {
        self.order.clear();
        for node in &mut self.nodes {
            node.present = false;
            node.action = Action::None;
            node.edges.clear();
        }
    }

    /// Like [`Topology::connect`] for an edge that is known to be new: no search.
    pub fn append(&mut self, from: NodeId, edge: Edge) {
        if let Some(node) = self.nodes.get_mut(from as usize) {
            node.edges.push(edge);
        }
    }

    /// The node, if it is in the graph.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize).filter(|node| node.present)
    }

    /// The name that goes with a number, also of a node that is not in the graph.
    pub fn name(&self, id: NodeId) -> &str {
        self.nodes.get(id as usize).map_or("?", |node| &node.name)
    }

    /// The edges of a node; none for one that is not in the graph.
    pub fn edges(&self, id: NodeId) -> &[Edge] {
        self.get(id).map_or(&[], |node| &node.edges)
    }

    /// The number of a node in the graph by its key.
    pub fn find(&self, key: &str) -> Option<NodeId> {
        self.by_name.get(key).copied().filter(|id| self.get(*id).is_some())
    }

    /// How many numbers have been given out.
    pub fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes in the graph, in the order in which they were added.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }
}
