//! Tokens to nodes: the grammar of documents, tags, anchors. Follows the parser and the composer of PyYAML 6.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::{Mark, Result, YamlErrorKind, fail, fail_in};
use super::resolve::{Tag, resolve, standard_tag};
use super::scanner::{Directive, Scanner, Token, TokenKind};
use super::{Limits, Style};

/// Index into [`Nodes::list`].
pub(super) type NodeId = usize;

pub(super) struct Node<'a> {
    pub(super) tag: Tag,
    pub(super) style: Style,
    /// More than one place refers to it: its value is kept for the next one.
    pub(super) shared: bool,
    /// Its value is being made: seen again meanwhile, it contains itself.
    pub(super) building: bool,
    pub(super) mark: Mark,
    pub(super) kind: Kind<'a>,
}

pub(super) enum Kind<'a> {
    Scalar(Cow<'a, str>),
    Seq(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
}

impl Kind<'_> {
    /// The kind in words, for errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Scalar(_) => "a scalar",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// One document as nodes.
pub(super) struct Nodes<'a> {
    pub(super) list: Vec<Node<'a>>,
    /// `None` for an empty text.
    pub(super) root: Option<NodeId>,
    /// Full names of the tags that are not YAML's own.
    pub(super) other_tags: Vec<String>,
}

/// Which nodes the grammar allows at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Flow,
    Block,
    /// In a block mapping, where a list may stand at the indentation of its key.
    BlockOrList,
}

#[derive(Default)]
struct Properties<'a> {
    anchor: Option<&'a str>,
    tag: Option<Cow<'a, str>>,
    /// Where the first of them begins.
    mark: Option<Mark>,
}

struct Composer<'a> {
    scanner: Scanner<'a>,
    nodes: Nodes<'a>,
    anchors: HashMap<&'a str, NodeId>,
    handles: HashMap<&'a str, Cow<'a, str>>,
    depth: usize,
    limit: usize,
}

/// Reads a text with at most one document.
pub(super) fn compose<'a>(text: &'a str, limits: &Limits) -> Result<Nodes<'a>> {
    let nodes = Nodes { list: Vec::with_capacity(text.len() / 16), root: None, other_tags: Vec::new() };
    let mut composer = Composer {
        scanner: Scanner::new(text),
        nodes,
        anchors: HashMap::new(),
        handles: HashMap::new(),
        depth: 0,
        limit: limits.depth,
    };
    composer.default_handles();
    composer.stream()?;
    Ok(composer.nodes)
}

/// The place after an indicator of one character.
fn after(mark: Mark) -> Mark {
    Mark { line: mark.line, column: mark.column + 1 }
}

macro_rules! next_is {
    ($self:ident, $($pattern:tt)+) => {
        matches!($self.scanner.peek()?.kind, $($pattern)+)
    };
}

impl<'a> Composer<'a> {
    fn stream(&mut self) -> Result<()> {
        let implicit =
            !next_is!(self, TokenKind::Directive(_) | TokenKind::DocumentStart | TokenKind::StreamEnd);
        if !implicit && !self.document_start()? {
            return Ok(());
        }
        let begin = self.scanner.peek()?.mark;
        let empty = next_is!(
            self,
            TokenKind::Directive(_)
                | TokenKind::DocumentStart
                | TokenKind::DocumentEnd
                | TokenKind::StreamEnd
        );
        let root = if empty && !implicit { self.empty(begin) } else { self.node(Place::Block)? };
        self.nodes.root = Some(root);
        if next_is!(self, TokenKind::DocumentEnd) {
            self.scanner.take()?;
        }
        let next = self.scanner.peek()?.mark;
        if self.document_start()? {
            let context = ("after a document", begin);
            let problem = "expected a single document in the stream, but a second one begins here";
            return fail_in(YamlErrorKind::Composer, context, next, problem);
        }
        Ok(())
    }

    /// Takes everything up to and with `---`; false at the end of the text.
    fn document_start(&mut self) -> Result<bool> {
        while next_is!(self, TokenKind::DocumentEnd) {
            self.scanner.take()?;
        }
        if next_is!(self, TokenKind::StreamEnd) {
            return Ok(false);
        }
        self.directives()?;
        let token = self.scanner.take()?;
        if !matches!(token.kind, TokenKind::DocumentStart) {
            let problem = format!("expected the document to end here, or '---', found {}", token.kind.name());
            return fail(YamlErrorKind::Parser, token.mark, problem);
        }
        Ok(true)
    }

    fn directives(&mut self) -> Result<()> {
        self.handles.clear();
        let mut version = false;
        while next_is!(self, TokenKind::Directive(_)) {
            let Token { mark, kind } = self.scanner.take()?;
            match kind {
                TokenKind::Directive(Directive::Yaml(_)) if version => {
                    return fail(YamlErrorKind::Parser, mark, "a second %YAML directive");
                }
                TokenKind::Directive(Directive::Yaml(false)) => {
                    return fail(YamlErrorKind::Parser, mark, "expected version 1.1 of YAML, or another 1.x");
                }
                TokenKind::Directive(Directive::Yaml(true)) => version = true,
                TokenKind::Directive(Directive::Tag(handle, prefix)) => {
                    let first = self.handles.insert(handle, prefix);
                    if first.is_some() {
                        let problem = format!("a second %TAG directive for {handle}");
                        return fail(YamlErrorKind::Parser, mark, problem);
                    }
                }
                _ => {}
            }
        }
        self.default_handles();
        Ok(())
    }

    fn default_handles(&mut self) {
        self.handles.entry("!").or_insert(Cow::Borrowed("!"));
        self.handles.entry("!!").or_insert(Cow::Borrowed("tag:yaml.org,2002:"));
    }

    fn add(&mut self, node: Node<'a>) -> NodeId {
        self.nodes.list.push(node);
        self.nodes.list.len() - 1
    }

    /// A value that is left out.
    fn empty(&mut self, mark: Mark) -> NodeId {
        let kind = Kind::Scalar(Cow::Borrowed(""));
        self.add(Node { tag: Tag::Null, style: Style::Plain, shared: false, building: false, mark, kind })
    }

    fn node(&mut self, place: Place) -> Result<NodeId> {
        if next_is!(self, TokenKind::Alias(_)) {
            return self.alias();
        }
        let properties = self.properties()?;
        let next = self.scanner.peek()?;
        let mark = properties.mark.unwrap_or(next.mark);
        let block = place != Place::Flow;
        let (style, is_map) = match &next.kind {
            TokenKind::BlockEntry if place == Place::BlockOrList => (Style::Block, false),
            TokenKind::BlockSequenceStart if block => (Style::Block, false),
            TokenKind::BlockMappingStart if block => (Style::Block, true),
            TokenKind::FlowSequenceStart => (Style::Flow, false),
            TokenKind::FlowMappingStart => (Style::Flow, true),
            TokenKind::Scalar(..) => return self.scalar(properties, mark),
            _ if properties.mark.is_some() => {
                let unresolved = properties.tag.as_deref().is_none_or(|tag| tag == "!");
                let tag = if unresolved { Tag::Null } else { self.tag(properties.tag, Tag::Null) };
                let kind = Kind::Scalar(Cow::Borrowed(""));
                return self.anchored(properties.anchor, mark, tag, Style::Plain, kind);
            }
            other => {
                let problem = format!("expected a value, found {}", other.name());
                return fail(YamlErrorKind::Parser, next.mark, problem);
            }
        };
        let (kind, default) =
            if is_map { (Kind::Map(Vec::new()), Tag::Map) } else { (Kind::Seq(Vec::new()), Tag::Seq) };
        let tag = self.tag(properties.tag, default);
        let id = self.anchored(properties.anchor, mark, tag, style, kind)?;
        self.depth += 1;
        if self.depth > self.limit {
            let problem = format!("lists and mappings are nested deeper than {} levels", self.limit);
            return fail(YamlErrorKind::Limit, mark, problem);
        }
        let kind = match (style, is_map) {
            (Style::Flow, true) => Kind::Map(self.flow_mapping()?),
            (Style::Flow, false) => Kind::Seq(self.flow_sequence()?),
            (_, true) => Kind::Map(self.block_mapping()?),
            (_, false) if next_is!(self, TokenKind::BlockEntry) => Kind::Seq(self.indentless_sequence()?),
            (_, false) => Kind::Seq(self.block_sequence()?),
        };
        self.depth -= 1;
        if let Some(node) = self.nodes.list.get_mut(id) {
            node.kind = kind;
        }
        Ok(id)
    }

    fn alias(&mut self) -> Result<NodeId> {
        let Token { mark, kind } = self.scanner.take()?;
        let TokenKind::Alias(name) = kind else {
            return fail(YamlErrorKind::Parser, mark, "expected an alias");
        };
        let Some(&id) = self.anchors.get(name) else {
            let problem = format!("the alias *{name} refers to no anchor: &{name} must stand before it");
            return fail(YamlErrorKind::Composer, mark, problem);
        };
        if let Some(node) = self.nodes.list.get_mut(id) {
            node.shared = true;
        }
        Ok(id)
    }

    /// Anchor and tag in either order.
    fn properties(&mut self) -> Result<Properties<'a>> {
        let mut found = Properties::default();
        let mut tag = None;
        loop {
            match self.scanner.peek()?.kind {
                TokenKind::Anchor(_) if found.anchor.is_none() => {}
                TokenKind::Tag(..) if tag.is_none() => {}
                _ => break,
            }
            let Token { mark, kind } = self.scanner.take()?;
            found.mark.get_or_insert(mark);
            match kind {
                TokenKind::Anchor(name) => found.anchor = Some(name),
                TokenKind::Tag(handle, suffix) => tag = Some((handle, suffix, mark)),
                _ => {}
            }
        }
        if let Some((handle, suffix, mark)) = tag {
            found.tag = Some(match handle {
                None => suffix,
                Some(handle) => match self.handles.get(handle) {
                    Some(prefix) => Cow::Owned(format!("{prefix}{suffix}")),
                    None => {
                        let problem = format!("the tag handle {handle} is declared by no %TAG directive");
                        return fail(YamlErrorKind::Parser, mark, problem);
                    }
                },
            });
        }
        Ok(found)
    }

    /// The tag of a full name; `default` where there is none, or the non-specific `!`.
    fn tag(&mut self, name: Option<Cow<'a, str>>, default: Tag) -> Tag {
        match name {
            Some(name) if name != "!" => standard_tag(&name).unwrap_or_else(|| self.other(name.into_owned())),
            _ => default,
        }
    }

    fn other(&mut self, name: String) -> Tag {
        self.nodes.other_tags.push(name);
        Tag::Other(u32::try_from(self.nodes.other_tags.len() - 1).unwrap_or(u32::MAX))
    }

    fn scalar(&mut self, properties: Properties<'a>, mark: Mark) -> Result<NodeId> {
        let Token { kind, .. } = self.scanner.take()?;
        let TokenKind::Scalar(text, style) = kind else {
            return fail(YamlErrorKind::Parser, mark, "expected a scalar");
        };
        // The tag "!" makes even a quoted text be read as if it were plain.
        let tag = match properties.tag {
            None if style != Style::Plain => Tag::Str,
            Some(name) if name != "!" => self.tag(Some(name), Tag::Str),
            _ => resolve(&text).unwrap_or_else(|| self.other("tag:yaml.org,2002:yaml".into())),
        };
        self.anchored(properties.anchor, mark, tag, style, Kind::Scalar(text))
    }

    /// Adds a node, under its anchor if it has one.
    fn anchored(
        &mut self,
        anchor: Option<&'a str>,
        mark: Mark,
        tag: Tag,
        style: Style,
        kind: Kind<'a>,
    ) -> Result<NodeId> {
        let id = self.add(Node { tag, style, shared: false, building: false, mark, kind });
        if let Some(name) = anchor
            && let Some(first) = self.anchors.insert(name, id)
        {
            let begin = self.nodes.list.get(first).map(|node| node.mark).unwrap_or_default();
            let problem = format!("the anchor &{name} is set a second time: use another name");
            return fail_in(YamlErrorKind::Composer, ("after an anchor", begin), mark, problem);
        }
        Ok(id)
    }

    fn expected<T>(&mut self, context: &'static str, begin: Mark, what: &str) -> Result<T> {
        let token = self.scanner.peek()?;
        let problem = format!("expected {what}, found {}", token.kind.name());
        fail_in(YamlErrorKind::Parser, (context, begin), token.mark, problem)
    }

    // Block collections ---------------------------------------------------------------------------------------

    fn block_sequence(&mut self) -> Result<Vec<NodeId>> {
        let begin = self.scanner.take()?.mark;
        let mut items = Vec::new();
        while next_is!(self, TokenKind::BlockEntry) {
            let entry = self.scanner.take()?.mark;
            items.push(if next_is!(self, TokenKind::BlockEntry | TokenKind::BlockEnd) {
                self.empty(after(entry))
            } else {
                self.node(Place::Block)?
            });
        }
        if !next_is!(self, TokenKind::BlockEnd) {
            return self.expected("in a list", begin, "'-' at the indentation of the list");
        }
        self.scanner.take()?;
        Ok(items)
    }

    fn indentless_sequence(&mut self) -> Result<Vec<NodeId>> {
        let mut items = Vec::new();
        while next_is!(self, TokenKind::BlockEntry) {
            let entry = self.scanner.take()?.mark;
            let empty = next_is!(
                self,
                TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd
            );
            items.push(if empty { self.empty(after(entry)) } else { self.node(Place::Block)? });
        }
        Ok(items)
    }

    fn block_mapping(&mut self) -> Result<Vec<(NodeId, NodeId)>> {
        let begin = self.scanner.take()?.mark;
        let mut pairs = Vec::new();
        while next_is!(self, TokenKind::Key) {
            let key = self.block_part()?;
            let value = if next_is!(self, TokenKind::Value) {
                self.block_part()?
            } else {
                let mark = self.scanner.peek()?.mark;
                self.empty(mark)
            };
            pairs.push((key, value));
        }
        if !next_is!(self, TokenKind::BlockEnd) {
            let what = if next_is!(self, TokenKind::Scalar(..)) {
                "a key at the indentation of the mapping (quote the value before it if it is one text)"
            } else {
                "a key at the indentation of the mapping"
            };
            return self.expected("in a mapping", begin, what);
        }
        self.scanner.take()?;
        Ok(pairs)
    }

    /// A key or a value with the indicator before it.
    fn block_part(&mut self) -> Result<NodeId> {
        let indicator = self.scanner.take()?.mark;
        if next_is!(self, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd) {
            Ok(self.empty(after(indicator)))
        } else {
            self.node(Place::BlockOrList)
        }
    }

    // Flow collections ----------------------------------------------------------------------------------------

    fn flow_sequence(&mut self) -> Result<Vec<NodeId>> {
        let begin = self.scanner.take()?.mark;
        let mut items = Vec::new();
        while !next_is!(self, TokenKind::FlowSequenceEnd) {
            if !items.is_empty() {
                if !next_is!(self, TokenKind::FlowEntry) {
                    return self.expected("in a list '[...]'", begin, "',' or ']'");
                }
                self.scanner.take()?;
            }
            if next_is!(self, TokenKind::Key) {
                // "[a: b]" holds a mapping with one entry.
                let mark = self.scanner.peek()?.mark;
                let pair = self.flow_pair()?;
                let kind = Kind::Map(vec![pair]);
                items.push(self.add(Node {
                    tag: Tag::Map,
                    style: Style::Flow,
                    shared: false,
                    building: false,
                    mark,
                    kind,
                }));
            } else if !next_is!(self, TokenKind::FlowSequenceEnd) {
                items.push(self.node(Place::Flow)?);
            }
        }
        self.scanner.take()?;
        Ok(items)
    }

    fn flow_mapping(&mut self) -> Result<Vec<(NodeId, NodeId)>> {
        let begin = self.scanner.take()?.mark;
        let mut pairs = Vec::new();
        while !next_is!(self, TokenKind::FlowMappingEnd) {
            if !pairs.is_empty() {
                if !next_is!(self, TokenKind::FlowEntry) {
                    return self.expected("in a mapping '{...}'", begin, "',' or '}'");
                }
                self.scanner.take()?;
            }
            if next_is!(self, TokenKind::Key) {
                pairs.push(self.flow_pair()?);
            } else if !next_is!(self, TokenKind::FlowMappingEnd) {
                let key = self.node(Place::Flow)?;
                let mark = self.scanner.peek()?.mark;
                pairs.push((key, self.empty(mark)));
            }
        }
        self.scanner.take()?;
        Ok(pairs)
    }

    fn flow_pair(&mut self) -> Result<(NodeId, NodeId)> {
        let indicator = self.scanner.take()?.mark;
        let key =
            if self.flow_part_ends(true)? { self.empty(after(indicator)) } else { self.node(Place::Flow)? };
        if !next_is!(self, TokenKind::Value) {
            let mark = self.scanner.peek()?.mark;
            return Ok((key, self.empty(mark)));
        }
        let indicator = self.scanner.take()?.mark;
        let value =
            if self.flow_part_ends(false)? { self.empty(after(indicator)) } else { self.node(Place::Flow)? };
        Ok((key, value))
    }

    /// Whether nothing stands before the next indicator. A bracket of the wrong kind is the node's error.
    fn flow_part_ends(&mut self, key: bool) -> Result<bool> {
        Ok(match self.scanner.peek()?.kind {
            TokenKind::Value => key,
            TokenKind::FlowEntry | TokenKind::FlowSequenceEnd | TokenKind::FlowMappingEnd => true,
            _ => false,
        })
    }
}
