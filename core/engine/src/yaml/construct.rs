//! Nodes to values: types, merge keys, shared nodes. Follows the safe constructor of PyYAML 6.

use std::collections::HashMap;

use indexmap::IndexSet;

use super::compose::{Kind, Node, NodeId, Nodes};
use super::document::Entry;
use super::error::{Mark, Result, YamlErrorKind, fail, fail_in};
use super::resolve::Tag;
use super::{Limits, scalar_values, timestamp};
use crate::value::{Key, Map, Value};

/// A value, and what it counts for where it is used again.
#[derive(Clone)]
struct Built {
    value: Value,
    /// Levels of lists and mappings in it.
    height: usize,
    /// Values in it, each as often as it shows.
    size: u64,
    /// Index of its children's entries.
    children: usize,
}

pub(super) struct Constructor<'n, 'a> {
    nodes: &'n mut Nodes<'a>,
    shared: HashMap<NodeId, Built>,
    /// Mappings whose merge keys are being replaced.
    merging: Vec<NodeId>,
    /// Positions, if they are asked for.
    entries: Option<Vec<Entry>>,
    depth_limit: usize,
    /// How many values aliases and merge keys may still repeat.
    repeats_left: u64,
    repeats_limit: u64,
}

/// An entry that is not kept: keys have none.
const NO_ENTRY: usize = usize::MAX;

impl<'n, 'a> Constructor<'n, 'a> {
    pub(super) fn new(nodes: &'n mut Nodes<'a>, limits: &Limits, length: usize, positions: bool) -> Self {
        let repeats = limits.repeats_for(length);
        let entries = positions.then(|| vec![Entry::default()]);
        Constructor {
            nodes,
            shared: HashMap::new(),
            merging: Vec::new(),
            entries,
            depth_limit: limits.depth,
            repeats_left: repeats,
            repeats_limit: repeats,
        }
    }

    /// The value of the document, and the entries, the root's first.
    pub(super) fn document(mut self) -> Result<(Value, Vec<Entry>)> {
        let value = match self.nodes.root {
            Some(root) => self.build(root, 0, 0, Mark::default())?.value,
            None => Value::Null,
        };
        Ok((value, self.entries.unwrap_or_default()))
    }

    fn node(&self, id: NodeId) -> Result<&Node<'a>> {
        match self.nodes.list.get(id) {
            Some(node) => Ok(node),
            None => fail(YamlErrorKind::Constructor, Mark::default(), "a node without content"),
        }
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node<'a>> {
        match self.nodes.list.get_mut(id) {
            Some(node) => Ok(node),
            None => fail(YamlErrorKind::Constructor, Mark::default(), "a node without content"),
        }
    }

    // Positions -----------------------------------------------------------------------------------------------

    /// Makes room for the entries of `count` children; they lie side by side.
    fn reserve(&mut self, entry: usize, count: usize) -> usize {
        match &mut self.entries {
            Some(entries) if entry != NO_ENTRY => {
                let first = entries.len();
                entries.resize(first + count, Entry::default());
                first
            }
            _ => NO_ENTRY,
        }
    }

    fn child(first: usize, index: usize) -> usize {
        if first == NO_ENTRY { NO_ENTRY } else { first + index }
    }

    fn note(&mut self, entry: usize, key: Mark, id: NodeId, children: usize) {
        let Some(node) = self.nodes.list.get(id) else { return };
        if let Some(slot) = self.entries.as_mut().and_then(|entries| entries.get_mut(entry)) {
            let children = u32::try_from(children).unwrap_or(u32::MAX);
            *slot = Entry { key, mark: node.mark, style: node.style, children };
        }
    }

    // Values --------------------------------------------------------------------------------------------------

    fn build(&mut self, id: NodeId, depth: usize, entry: usize, key: Mark) -> Result<Built> {
        let node = self.node(id)?;
        let (mark, tag) = (node.mark, node.tag);
        if node.shared
            && let Some(built) = self.shared.get(&id).cloned()
        {
            if depth + built.height > self.depth_limit {
                return self.too_deep(mark);
            }
            self.repeat(built.size, mark)?;
            self.note(entry, key, id, built.children);
            return Ok(built);
        }
        let is_collection = matches!(tag, Tag::Seq | Tag::Map | Tag::Set | Tag::Omap | Tag::Pairs);
        let built = if is_collection {
            if node.building {
                return fail(YamlErrorKind::Constructor, mark, "this contains itself through an alias");
            }
            if depth >= self.depth_limit {
                return self.too_deep(mark);
            }
            self.node_mut(id)?.building = true;
            let built = self.collection(id, tag, depth + 1, entry)?;
            self.node_mut(id)?.building = false;
            built
        } else {
            Built { value: self.scalar(id, tag, mark)?, height: 0, size: 1, children: 0 }
        };
        self.note(entry, key, id, built.children);
        if self.node(id)?.shared {
            self.shared.insert(id, built.clone());
        }
        Ok(built)
    }

    fn too_deep<T>(&self, mark: Mark) -> Result<T> {
        let problem = format!("lists and mappings are nested deeper than {} levels", self.depth_limit);
        fail(YamlErrorKind::Limit, mark, problem)
    }

    fn repeat(&mut self, count: u64, mark: Mark) -> Result<()> {
        match self.repeats_left.checked_sub(count) {
            Some(left) => {
                self.repeats_left = left;
                Ok(())
            }
            None => {
                let problem =
                    format!("aliases and merge keys repeat more than {} values", self.repeats_limit);
                fail(YamlErrorKind::Limit, mark, problem)
            }
        }
    }

    fn scalar(&self, id: NodeId, tag: Tag, mark: Mark) -> Result<Value> {
        let value = match tag {
            Tag::Str => Ok(Value::from(self.scalar_text(id)?)),
            Tag::Null => self.scalar_text(id).map(|_| Ok(Value::Null))?,
            Tag::Bool => scalar_values::boolean(self.scalar_text(id)?),
            Tag::Int => scalar_values::integer(self.scalar_text(id)?),
            Tag::Float => scalar_values::float(self.scalar_text(id)?),
            Tag::Binary => scalar_values::binary(self.scalar_text(id)?),
            Tag::Timestamp => match &self.node(id)?.kind {
                Kind::Scalar(text) => timestamp::construct(text),
                other => Err(format!("expected a timestamp, found {}", other.name())),
            },
            Tag::Merge => Err("'<<' merges mappings as a key; as a text it must be quoted".into()),
            Tag::Value => Err("a lone '=' has no value; as a text it must be quoted".into()),
            Tag::Other(index) => {
                let name = usize::try_from(index).ok().and_then(|index| self.nodes.other_tags.get(index));
                Err(format!("the tag {:?} is not known", name.map_or("?", String::as_str)))
            }
            // Collections have been built before.
            Tag::Seq | Tag::Map | Tag::Set | Tag::Omap | Tag::Pairs => Err("expected a scalar".into()),
        };
        value.or_else(|problem| fail(YamlErrorKind::Constructor, mark, problem))
    }

    /// The text of a scalar; for a mapping with the key `=`, that of its value.
    fn scalar_text(&self, id: NodeId) -> Result<&str> {
        let mut node = self.node(id)?;
        let mark = node.mark;
        for _ in 0..=self.depth_limit {
            let next = match &node.kind {
                Kind::Scalar(text) => return Ok(text),
                Kind::Map(pairs) => {
                    pairs.iter().find(|(key, _)| self.node(*key).is_ok_and(|key| key.tag == Tag::Value))
                }
                Kind::Seq(_) => None,
            };
            let Some((_, value)) = next else {
                let problem = format!("expected a scalar, found {}", node.kind.name());
                return fail(YamlErrorKind::Constructor, node.mark, problem);
            };
            node = self.node(*value)?;
        }
        self.too_deep(mark)
    }

    fn collection(&mut self, id: NodeId, tag: Tag, depth: usize, entry: usize) -> Result<Built> {
        match tag {
            Tag::Map => {
                let (map, built) = self.mapping(id, depth, entry)?;
                Ok(Built { value: Value::map(map), ..built })
            }
            Tag::Set => {
                let (map, built) = self.mapping(id, depth, entry)?;
                let members: IndexSet<Key> = map.into_keys().collect();
                Ok(Built { value: Value::Set(members.into()), ..built })
            }
            Tag::Omap | Tag::Pairs => self.pairs(id, depth, entry),
            _ => self.sequence(id, depth, entry),
        }
    }

    fn sequence(&mut self, id: NodeId, depth: usize, entry: usize) -> Result<Built> {
        let count = self.items(id, "a list")?.len();
        let children = self.reserve(entry, count);
        let mut values = Vec::with_capacity(count);
        let (mut height, mut size) = (0, 1);
        for index in 0..count {
            let Some(&item) = self.items(id, "a list")?.get(index) else { break };
            let built = self.build(item, depth, Self::child(children, index), Mark::default())?;
            height = height.max(built.height);
            size += built.size;
            values.push(built.value);
        }
        Ok(Built { value: Value::list(values), height: height + 1, size, children })
    }

    fn items(&self, id: NodeId, expected: &str) -> Result<&[NodeId]> {
        let node = self.node(id)?;
        match &node.kind {
            Kind::Seq(items) => Ok(items),
            other => {
                let problem = format!("expected {expected}, found {}", other.name());
                fail(YamlErrorKind::Constructor, node.mark, problem)
            }
        }
    }

    /// `!!omap` and `!!pairs`: a list of mappings with one entry each becomes a list of tuples.
    fn pairs(&mut self, id: NodeId, depth: usize, entry: usize) -> Result<Built> {
        let count = self.items(id, "a list of mappings with one entry each")?.len();
        let children = self.reserve(entry, count);
        let mut values = Vec::with_capacity(count);
        let (mut height, mut size) = (0, 1);
        for index in 0..count {
            let Some(&item) = self.items(id, "a list")?.get(index) else { break };
            let node = self.node(item)?;
            let (key, value) = match &node.kind {
                Kind::Map(pairs) if pairs.len() == 1 => pairs[0],
                Kind::Map(pairs) => {
                    let problem = format!("expected a mapping with one entry, found {} entries", pairs.len());
                    return fail(YamlErrorKind::Constructor, node.mark, problem);
                }
                other => {
                    let problem = format!("expected a mapping with one entry, found {}", other.name());
                    return fail(YamlErrorKind::Constructor, node.mark, problem);
                }
            };
            let tuple = Self::child(children, index);
            let parts = self.reserve(tuple, 2);
            let key = self.build(key, depth, Self::child(parts, 0), Mark::default())?;
            let value = self.build(value, depth, Self::child(parts, 1), Mark::default())?;
            self.note(tuple, Mark::default(), item, parts);
            height = height.max(key.height + 1).max(value.height + 1);
            size += key.size + value.size;
            values.push(Value::Tuple(vec![key.value, value.value].into()));
        }
        Ok(Built { value: Value::list(values), height: height + 1, size, children })
    }

    fn mapping(&mut self, id: NodeId, depth: usize, entry: usize) -> Result<(Map, Built)> {
        let mark = self.node(id)?.mark;
        self.flatten(id)?;
        let count = self.map_pairs(id)?.len();
        let children = self.reserve(entry, count);
        let mut map = Map::with_capacity(count);
        let (mut height, mut size) = (0, 1);
        for index in 0..count {
            let Some(&(key_id, value_id)) = self.map_pairs(id)?.get(index) else { break };
            let key_mark = self.node(key_id)?.mark;
            let key = match Key::new(self.build(key_id, depth, NO_ENTRY, key_mark)?.value) {
                Ok(key) => key,
                Err(value) => return Self::unhashable(mark, key_mark, &value),
            };
            // The place of a key is its first one, whatever comes later. Every `.nan` is one key.
            let seen = if is_nan(&key) { map.keys().position(is_nan) } else { None };
            let at = match seen {
                Some(at) => at,
                None => map.insert_full(key, Value::Null).0,
            };
            let built = self.build(value_id, depth, Self::child(children, at), key_mark)?;
            height = height.max(built.height);
            size += built.size;
            if let Some((_, slot)) = map.get_index_mut(at) {
                *slot = built.value;
            }
        }
        Ok((map, Built { value: Value::Null, height: height + 1, size, children }))
    }

    fn unhashable<T>(mark: Mark, key_mark: Mark, key: &Value) -> Result<T> {
        let hint = match key {
            Value::Map(_) => ": quote the text if this is a template ({{ ... }})",
            _ => "",
        };
        let problem = format!("a {} cannot be a key{hint}", key.type_name());
        fail_in(YamlErrorKind::Constructor, ("in a mapping", mark), key_mark, problem)
    }

    fn map_pairs(&self, id: NodeId) -> Result<&[(NodeId, NodeId)]> {
        let node = self.node(id)?;
        match &node.kind {
            Kind::Map(pairs) => Ok(pairs),
            other => {
                let problem = format!("expected a mapping, found {}", other.name());
                fail(YamlErrorKind::Constructor, node.mark, problem)
            }
        }
    }

    // Merge keys ----------------------------------------------------------------------------------------------

    /// Replaces the merge keys of a mapping by what they merge, which goes before its own entries; a key `=`
    /// becomes a text. Done once: afterwards the mapping has no such keys.
    fn flatten(&mut self, id: NodeId) -> Result<()> {
        let mark = self.node(id)?.mark;
        let special =
            |key: NodeId| self.node(key).is_ok_and(|key| matches!(key.tag, Tag::Merge | Tag::Value));
        if self.merging.contains(&id) {
            return fail(YamlErrorKind::Constructor, mark, "this mapping is merged into itself");
        }
        if !self.map_pairs(id)?.iter().any(|(key, _)| special(*key)) {
            return Ok(());
        }
        if self.merging.len() >= self.depth_limit {
            return self.too_deep(mark);
        }
        self.merging.push(id);
        let (mut merged, mut own) = (Vec::new(), Vec::new());
        for (key, value) in self.map_pairs(id)?.to_vec() {
            match self.node(key)?.tag {
                Tag::Merge => self.merge(value, mark, &mut merged)?,
                Tag::Value => {
                    self.node_mut(key)?.tag = Tag::Str;
                    own.push((key, value));
                }
                _ => own.push((key, value)),
            }
        }
        for (_, value) in &merged {
            self.node_mut(*value)?.shared = true;
        }
        merged.append(&mut own);
        self.node_mut(id)?.kind = Kind::Map(merged);
        self.merging.pop();
        Ok(())
    }

    /// Appends what a merge key merges: a mapping, or mappings of which the first has the last word.
    fn merge(&mut self, value: NodeId, mark: Mark, merged: &mut Vec<(NodeId, NodeId)>) -> Result<()> {
        let node = self.node(value)?;
        let sources = match &node.kind {
            Kind::Map(_) => vec![value],
            Kind::Seq(items) => items.clone(),
            Kind::Scalar(_) => {
                let problem = "expected a mapping, or a list of mappings, after '<<', found a scalar";
                return fail_in(YamlErrorKind::Constructor, ("in a mapping", mark), node.mark, problem);
            }
        };
        for source in &sources {
            let node = self.node(*source)?;
            if !matches!(node.kind, Kind::Map(_)) {
                let problem = format!("expected a mapping to merge, found {}", node.kind.name());
                return fail_in(YamlErrorKind::Constructor, ("in a mapping", mark), node.mark, problem);
            }
            self.flatten(*source)?;
            let count = u64::try_from(self.map_pairs(*source)?.len()).unwrap_or(u64::MAX);
            self.repeat(count, mark)?;
        }
        for source in sources.iter().rev() {
            merged.extend_from_slice(self.map_pairs(*source)?);
        }
        Ok(())
    }
}

fn is_nan(key: &Key) -> bool {
    matches!(key.value(), Value::Float(float) if float.is_nan())
}
