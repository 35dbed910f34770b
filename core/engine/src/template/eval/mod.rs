//! Running a compiled template over a scope.

pub(super) mod access;
pub(super) mod arithmetic;
mod call;
pub(super) mod convert;
mod expr;
pub(super) mod hosted;
mod loops;
pub(super) mod ops;
pub(super) mod text;
pub(super) mod val;

use std::sync::Arc;

use val::{Changed, Global, Obj, Place, R, Val, failure, template_error};

use super::parse::ast::{Block, Expr, Kind, Path, Span, Stmt, Target};
use super::scope::{Root, Scope};
use crate::host::Resolved;
use crate::value::{self, Value};

/// Bytes of stack that one rendering may use before it is stopped, far below the smallest usual stack (1 MiB).
const STACK: usize = 640 << 10;

/// A call of a macro or of a recursive loop: names are looked up from `first_frame` on, then at the place of
/// the definition.
#[derive(Debug, Clone, Copy)]
struct Segment {
    first_frame: usize,
    parent: Place,
}

/// One rendering.
pub(super) struct Renderer<'r> {
    pub(super) scope: &'r Scope<'r>,
    paths: &'r [Path],
    blocks: &'r [Arc<Block>],
    /// What the host answered for the static paths, by their id; empty until asked.
    resolved: Vec<Option<Resolved>>,
    locals: Vec<(Arc<str>, Val)>,
    /// Index of the first local of each frame.
    frames: Vec<usize>,
    segments: Vec<Segment>,
    changed: Changed,
    steps: u64,
    bytes: usize,
    depth: usize,
    stack_base: usize,
    autoescape: bool,
    /// The statement that runs, for errors.
    pub(super) span: Span,
}

impl<'r> Renderer<'r> {
    pub(super) fn new(scope: &'r Scope<'r>, paths: &'r [Path], blocks: &'r [Arc<Block>]) -> Self {
        Renderer {
            scope,
            paths,
            blocks,
            resolved: Vec::new(),
            locals: Vec::new(),
            frames: Vec::new(),
            segments: Vec::new(),
            changed: Changed::new(),
            steps: scope.limits.steps,
            bytes: scope.limits.bytes,
            depth: 0,
            stack_base: stack_pointer(),
            autoescape: false,
            span: (0, 0),
        }
    }

    /// The text of a whole template.
    pub(super) fn template(&mut self, body: &[Stmt]) -> R<String> {
        let mut out = String::new();
        self.frames.push(0);
        self.segments.push(Segment { first_frame: 0, parent: Place { frame: 0, segment: 0 } });
        self.body(body, &mut out)?;
        self.store_changes();
        Ok(out)
    }

    /// The value of a single expression.
    pub(super) fn expression(&mut self, expr: &Expr) -> R<Value> {
        let value = self.eval(expr)?;
        let value = match &value {
            Val::Undef(_) => Value::Null,
            _ => self.export(&value)?,
        };
        self.store_changes();
        Ok(value)
    }

    fn store_changes(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        for (name, root) in self.scope.roots() {
            let before = match root {
                Root::Map(map) => Value::map((*map).clone()),
                Root::Value(value) | Root::Plain(value) => (*value).clone(),
                Root::Host(_) | Root::Env | Root::Function(_) => continue,
            };
            if let Ok(Some(after)) = self.rebuilt(&before, 0) {
                let mut changed = self.scope.changed.borrow_mut();
                changed.retain(|(known, _)| known != *name);
                changed.push(((*name).to_owned(), after));
            }
        }
    }

    /// Counts elements that are gone through.
    pub(super) fn step(&mut self, count: usize) -> R<()> {
        match self.steps.checked_sub(count as u64) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => failure(
                "RuntimeError",
                format!("the template exceeds its limit of {} iterations", self.scope.limits.steps),
            ),
        }
    }

    /// Counts bytes that are produced.
    pub(super) fn produce(&mut self, bytes: usize) -> R<()> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => failure(
                "MemoryError",
                format!("the template produces more than its limit of {} bytes", self.scope.limits.bytes),
            ),
        }
    }

    /// Fails when the recursion has used up its share of the stack.
    fn check_stack(&self) -> R<()> {
        if self.stack_base.abs_diff(stack_pointer()) > STACK {
            return failure("RecursionError", "maximum recursion depth exceeded");
        }
        Ok(())
    }

    fn descend<T>(&mut self, run: impl FnOnce(&mut Self) -> R<T>) -> R<T> {
        if self.depth >= self.scope.limits.depth {
            return failure("RecursionError", "maximum recursion depth exceeded");
        }
        self.check_stack()?;
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    fn framed<T>(&mut self, run: impl FnOnce(&mut Self) -> R<T>) -> R<T> {
        let start = self.locals.len();
        self.frames.push(start);
        let result = run(self);
        self.frames.pop();
        self.locals.truncate(start);
        result
    }

    /// Runs in a new frame whose names end at `place`.
    fn at_place<T>(&mut self, place: Place, run: impl FnOnce(&mut Self) -> R<T>) -> R<T> {
        self.segments.push(Segment { first_frame: self.frames.len(), parent: place });
        let result = self.framed(run);
        self.segments.pop();
        result
    }

    fn place(&self) -> Place {
        Place { frame: self.frames.len().saturating_sub(1), segment: self.segments.len().saturating_sub(1) }
    }

    fn define(&mut self, name: &Arc<str>, value: Val) {
        let start = self.frames.last().copied().unwrap_or(0);
        let frame = self.locals.get_mut(start..).unwrap_or_default();
        match frame.iter_mut().find(|(known, _)| known == name) {
            Some((_, place)) => *place = value,
            None => self.locals.push((Arc::clone(name), value)),
        }
    }

    fn local(&self, name: &str) -> Option<&Val> {
        let mut end = self.locals.len();
        let mut segment = self.segments.len().checked_sub(1)?;
        loop {
            let current = self.segments.get(segment)?;
            let start = self.frames.get(current.first_frame).copied().unwrap_or(0);
            if let Some((_, value)) =
                self.locals.get(start..end)?.iter().rev().find(|(known, _)| **known == *name)
            {
                return Some(value);
            }
            if segment == 0 {
                return None;
            }
            end = self.frames.get(current.parent.frame + 1).copied().unwrap_or(self.locals.len()).min(start);
            segment = current.parent.segment.min(segment - 1);
        }
    }

    fn body(&mut self, body: &[Stmt], out: &mut String) -> R<()> {
        for stmt in body {
            match &stmt.kind {
                Kind::Text(text) => {
                    self.produce(text.len())?;
                    out.push_str(text);
                }
                Kind::Emit(expr) => {
                    self.span = stmt.span;
                    let value = self.eval(expr)?;
                    self.emit(out, &value)?;
                }
                _ => {
                    self.span = stmt.span;
                    self.statement(stmt, out)?;
                }
            }
        }
        Ok(())
    }

    fn emit(&mut self, out: &mut String, value: &Val) -> R<()> {
        if self.autoescape && !matches!(value, Val::Safe(_)) {
            let text = self.str(value)?;
            let escaped = super::filters::html::escape(&text);
            self.produce(escaped.len())?;
            out.push_str(&escaped);
            return Ok(());
        }
        let before = out.len();
        self.write_str(out, value)?;
        self.produce(out.len() - before)
    }

    fn statement(&mut self, stmt: &Stmt, out: &mut String) -> R<()> {
        match &stmt.kind {
            Kind::Text(_) | Kind::Emit(_) => {}
            Kind::Variable(name) => {
                let value = self.variable(name)?;
                match value {
                    Some(value) => self.emit(out, &value)?,
                    None => {
                        out.push_str("${");
                        out.push_str(name);
                        out.push('}');
                    }
                }
            }
            Kind::If(branches, otherwise) => {
                for (test, body) in branches {
                    let test = self.eval(test)?;
                    if self.truth(&test)? {
                        return self.body(body, out);
                    }
                }
                self.body(otherwise, out)?;
            }
            Kind::For(node) => {
                let iterable = self.eval(&node.iterable)?;
                let place = self.place();
                self.for_loop(node, &iterable, 0, place, out)?;
            }
            Kind::Set(target, expr) => {
                let value = self.eval(expr)?;
                self.set(target, value)?;
            }
            Kind::SetBlock(target, filters, body) => {
                let text = self.captured(body)?;
                let value = self.block_filter(filters.as_ref(), text)?;
                self.set(target, value)?;
            }
            Kind::FilterBlock(filters, body) => {
                let text = self.captured(body)?;
                let value = self.block_filter(Some(filters), text)?;
                self.emit(out, &value)?;
            }
            Kind::Macro(node) => {
                if let Some(name) = &node.name {
                    let value = self.macro_value(node);
                    self.define(name, value);
                }
            }
            Kind::CallBlock(call, node) => {
                let caller = self.macro_value(node);
                let value = self.call_with_caller(call, caller)?;
                self.emit(out, &value)?;
            }
            Kind::With(targets, body) => {
                let mut values = Vec::with_capacity(targets.len());
                for (_, expr) in targets {
                    values.push(self.eval(expr)?);
                }
                self.framed(|this| {
                    for ((target, _), value) in targets.iter().zip(values) {
                        this.set(target, value)?;
                    }
                    this.body(body, out)
                })?;
            }
            Kind::Autoescape(on, body) => {
                let on = self.eval(on)?;
                let on = self.truth(&on)?;
                let before = std::mem::replace(&mut self.autoescape, on);
                let result = self.framed(|this| this.body(body, out));
                self.autoescape = before;
                result?;
            }
            Kind::Block(block) => {
                let text = self.block(block)?;
                out.push_str(&text);
            }
            Kind::Load { name, ignore_missing } => {
                let name = self.eval(name)?;
                if !*ignore_missing {
                    let name = self.str(&name)?;
                    return template_error(name);
                }
            }
        }
        Ok(())
    }

    /// The text of a block: it sees what is set at the top of the template, or everything if it is scoped.
    fn block(&mut self, block: &Arc<Block>) -> R<String> {
        self.descend(|this| {
            let mut text = String::new();
            if block.scoped {
                this.framed(|this| this.body(&block.body, &mut text))?;
            } else {
                this.at_place(Place { frame: 0, segment: 0 }, |this| this.body(&block.body, &mut text))?;
            }
            Ok(text)
        })
    }

    fn captured(&mut self, body: &[Stmt]) -> R<Val> {
        let mut text = String::new();
        self.framed(|this| this.body(body, &mut text))?;
        Ok(if self.autoescape { Val::Safe(text.into()) } else { Val::str(text) })
    }

    /// `variables[name]` for `${name}`.
    fn variable(&mut self, name: &str) -> R<Option<Val>> {
        let Some(root) = self.scope.root("variables") else { return Ok(None) };
        Ok(match root {
            Root::Map(map) => map.get(name).cloned().map(Val::V),
            Root::Value(value) | Root::Plain(value) => {
                value.as_map().and_then(|map| map.get(name)).cloned().map(Val::V)
            }
            Root::Host(object) => {
                self.host_get(object, &Value::from(name), crate::host::Lookup::Item)?.map(Val::V)
            }
            Root::Env | Root::Function(_) => None,
        })
    }

    fn set(&mut self, target: &Target, value: Val) -> R<()> {
        match target {
            Target::Name(name) => self.define(name, value),
            Target::Attribute(name, attribute) => {
                let object = self.name(name)?;
                match &object {
                    Val::Obj(object) if matches!(**object, Obj::Namespace(_)) => {
                        if let Obj::Namespace(entries) = &**object {
                            entries.borrow_mut().insert(Arc::clone(attribute), value);
                        }
                    }
                    _ => return template_error("cannot assign attribute on non-namespace object"),
                }
            }
            Target::Tuple(targets) => {
                let items = self.iterate(&value)?;
                if items.len() != targets.len() {
                    let (expected, got) = (targets.len(), items.len());
                    let message = if got > expected {
                        format!("too many values to unpack (expected {expected})")
                    } else {
                        format!("not enough values to unpack (expected {expected}, got {got})")
                    };
                    return val::value_error(message);
                }
                for (target, item) in targets.iter().zip(items) {
                    self.set(target, item)?;
                }
            }
        }
        Ok(())
    }

    /// The value of a name: local, of the scope, or global.
    fn name(&mut self, name: &Arc<str>) -> R<Val> {
        if let Some(value) = self.local(name) {
            return Ok(self.current(value.clone()));
        }
        self.root_value(name)
    }

    fn root_value(&mut self, name: &Arc<str>) -> R<Val> {
        let Some(root) = self.scope.root(name) else {
            return Ok(match &**name {
                "range" => Val::obj(Obj::Global(Global::Range)),
                "dict" => Val::obj(Obj::Global(Global::Dict)),
                "lipsum" => Val::obj(Obj::Global(Global::Lipsum)),
                "cycler" => Val::obj(Obj::Global(Global::Cycler)),
                "joiner" => Val::obj(Obj::Global(Global::Joiner)),
                "namespace" => Val::obj(Obj::Global(Global::Namespace)),
                "self" if !self.frames.is_empty() => Val::obj(Obj::Blocks),
                _ => Val::undefined(val::Missing::Name(Arc::clone(name))),
            });
        };
        Ok(match root {
            Root::Map(map) => Val::dot(Arc::new(map.clone())),
            Root::Value(Value::Map(map)) => Val::dot(Arc::clone(map)),
            Root::Value(value) | Root::Plain(value) => self.current(Val::V(value.clone())),
            Root::Host(object) => Val::Dot(object.clone()),
            Root::Env => {
                let entries = std::env::vars_os().map(|(name, value)| {
                    (name.to_string_lossy().as_ref().into(), Value::from(value.to_string_lossy().as_ref()))
                });
                Val::dot(Arc::new(entries.collect()))
            }
            Root::Function(_) => Val::obj(Obj::Function(Arc::clone(name))),
        })
    }
}

/// About where the stack of this thread stands.
#[inline(never)]
fn stack_pointer() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&marker)) as usize
}

/// Python's truth of a result.
pub(super) fn value_truth(scope: &Scope<'_>, value: &Value) -> Result<bool, super::TemplateError> {
    let Value::Host(object) = value else { return Ok(value.is_truthy()) };
    let Some(host) = scope.host else { return Ok(true) };
    match host.query(object.id(), crate::host::Query::Truth, None) {
        Ok(truth) => Ok(truth.is_truthy()),
        Err(error) => Err(super::TemplateError::failure(error.message)),
    }
}

pub(super) fn value_text(value: &Value) -> String {
    value::text(value)
}
