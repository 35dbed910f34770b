//! Reachability, for scoped runs. The walks are petgraph's, over the topology itself.

use std::collections::HashSet;

use petgraph::visit::{GraphBase, GraphRef, IntoNeighbors, VisitMap, Visitable, Walker};
use thiserror::Error;

use super::{END, Edge, NodeId, START, Topology};

/// Why a scoped run cannot start.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[allow(missing_docs)] // The texts say it.
pub enum ScopeError {
    #[error("Entry point '{0}' not found in graph")]
    NoEntry(String),
    #[error("Exit point '{0}' not found in graph")]
    NoExit(String),
    #[error("Entry point and exit point cannot be the same: '{0}'")]
    Same(String),
    #[error("No execution path from '{0}' to '{1}'")]
    NoPath(String, String),
}

/// The topology as petgraph sees it; edges out of `until` are not followed.
#[derive(Clone, Copy)]
struct View<'t> {
    topology: &'t Topology,
    until: Option<NodeId>,
}

/// Which nodes a walk has seen.
#[derive(Default)]
struct Seen(HashSet<NodeId>);

impl VisitMap<NodeId> for Seen {
    fn visit(&mut self, node: NodeId) -> bool {
        self.0.insert(node)
    }
    fn is_visited(&self, node: &NodeId) -> bool {
        self.0.contains(node)
    }
    fn unvisit(&mut self, node: NodeId) -> bool {
        self.0.remove(&node)
    }
}

impl GraphBase for View<'_> {
    type NodeId = NodeId;
    type EdgeId = ();
}

impl GraphRef for View<'_> {}

impl<'t> IntoNeighbors for View<'t> {
    type Neighbors = std::iter::Map<std::slice::Iter<'t, Edge>, fn(&Edge) -> NodeId>;
    fn neighbors(self, node: NodeId) -> Self::Neighbors {
        let edges = if Some(node) == self.until { &[] } else { self.topology.edges(node) };
        edges.iter().map(|edge| edge.target)
    }
}

impl Visitable for View<'_> {
    type Map = Seen;
    fn visit_map(&self) -> Seen {
        Seen::default()
    }
    fn reset_map(&self, map: &mut Seen) {
        map.0.clear();
    }
}

impl Topology {
    fn walk(&self, from: NodeId, until: Option<NodeId>) -> impl Iterator<Item = NodeId> + '_ {
        let view = View { topology: self, until };
        petgraph::visit::Bfs::new(view, from).iter(view)
    }

    /// Whether any edges lead from one node to another one (`SG-85`: a node has no path to itself).
    pub fn path_exists(&self, from: NodeId, to: NodeId) -> bool {
        from != to && self.get(from).is_some() && self.walk(from, None).any(|node| node == to)
    }

    /// What can be reached from `from` without going past `to`, breadth-first; without `to` (`SG-86`).
    pub fn nodes_between(&self, from: NodeId, to: NodeId) -> Vec<NodeId> {
        if from == to {
            return Vec::new();
        }
        self.walk(from, Some(to)).filter(|node| *node != to).collect()
    }

    /// Checks the ends of a scoped run, in the order of `SG-81`.
    pub fn check_scope(&self, entry: NodeId, exit: NodeId) -> Result<(), ScopeError> {
        let name = |id| self.name(id).to_owned();
        if entry != START && self.get(entry).is_none() {
            return Err(ScopeError::NoEntry(name(entry)));
        }
        if exit != END && self.get(exit).is_none() {
            return Err(ScopeError::NoExit(name(exit)));
        }
        if entry == exit {
            return Err(ScopeError::Same(name(entry)));
        }
        if !self.path_exists(entry, exit) {
            return Err(ScopeError::NoPath(name(entry), name(exit)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Graph};
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> std::sync::Arc<Topology> {
        let graph = Graph::new();
        for name in edges.iter().flat_map(|(from, to)| [from, to]) {
            let _ = graph.add_node(name, Action::None);
        }
        for (from, to) in edges {
            graph.add_edge(from, to).unwrap();
        }
        graph.topology()
    }

    /// SG-85, SG-86
    #[test]
    fn walks_keep_the_order_of_edges() {
        let topology = graph(&[("a", "c"), ("a", "b"), ("c", "d"), ("b", "d"), ("d", "e"), ("b", "__end__")]);
        let id = |name| topology.find(name).unwrap();
        let names =
            |ids: Vec<NodeId>| ids.into_iter().map(|id| topology.name(id).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(topology.nodes_between(id("a"), id("d"))), ["a", "c", "b", "__end__"]);
        assert!(topology.nodes_between(id("a"), id("a")).is_empty());
        assert!(topology.path_exists(id("a"), id("e")));
        assert!(!topology.path_exists(id("e"), id("a")));
        assert!(!topology.path_exists(id("a"), id("a")));
    }

    /// SG-81
    #[test]
    fn scopes_are_checked_in_order() {
        let topology = graph(&[("a", "b"), ("c", "c")]);
        let id = |name| topology.find(name).unwrap();
        assert_eq!(topology.check_scope(id("a"), id("b")), Ok(()));
        let error = topology.check_scope(id("a"), id("a")).unwrap_err();
        assert_eq!(error.to_string(), "Entry point and exit point cannot be the same: 'a'");
        let error = topology.check_scope(id("b"), END).unwrap_err();
        assert_eq!(error.to_string(), "No execution path from 'b' to '__end__'");
    }
}
