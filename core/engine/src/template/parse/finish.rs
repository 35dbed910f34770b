//! The pass after parsing: names that the template never assigns become static paths into the scope, and names
//! of filters and tests are looked up.

use std::collections::HashSet;
use std::sync::Arc;

use super::ast::{Arguments, Block, Expr, For, Kind, Path, Step, Stmt};
use super::{Parsed, Parser, SyntaxError};
use crate::template::filters::Filter;
use crate::template::methods;
use crate::template::tests::Test;
use crate::value::Value;

type Found = (Vec<Path>, Vec<Arc<Block>>);

pub(super) fn finish(body: &mut [Stmt], parser: Parser<'_>) -> Parsed<Found> {
    let mut pass = Pass { assigned: parser.assigned, paths: Vec::new(), blocks: Vec::new() };
    pass.body(body, false)?;
    Ok((pass.paths, pass.blocks))
}

struct Pass {
    assigned: HashSet<Arc<str>>,
    paths: Vec<Path>,
    blocks: Vec<Arc<Block>>,
}

/// `soft`: an unknown filter or test is an error only when it is reached (directly inside an `if`).
impl Pass {
    fn body(&mut self, body: &mut [Stmt], soft: bool) -> Parsed<()> {
        body.iter_mut().try_for_each(|stmt| {
            let at = stmt.span.0 as usize;
            self.statement(stmt, soft).map_err(|error| SyntaxError {
                at: if error.at == usize::MAX { at } else { error.at },
                ..error
            })
        })
    }

    fn statement(&mut self, stmt: &mut Stmt, soft: bool) -> Parsed<()> {
        match &mut stmt.kind {
            Kind::Text(_) | Kind::Variable(_) => Ok(()),
            Kind::Emit(expr) | Kind::Set(_, expr) => self.expr(expr, soft),
            Kind::Load { name, .. } => self.expr(name, soft),
            Kind::If(branches, otherwise) => {
                for (test, body) in branches {
                    self.expr(test, true)?;
                    self.body(body, true)?;
                }
                self.body(otherwise, true)
            }
            Kind::For(node) => {
                let Some(For { iterable, filter, body, otherwise, .. }) = Arc::get_mut(node) else {
                    return Ok(());
                };
                self.expr(iterable, soft)?;
                filter.iter_mut().try_for_each(|filter| self.expr(filter, false))?;
                self.body(body, false)?;
                self.body(otherwise, false)
            }
            Kind::SetBlock(_, filters, body) => {
                filters.iter_mut().try_for_each(|filters| self.expr(filters, false))?;
                self.body(body, false)
            }
            Kind::Macro(node) => self.macro_node(node),
            Kind::CallBlock(call, node) => {
                self.expr(call, soft)?;
                self.macro_node(node)
            }
            Kind::FilterBlock(filters, body) => {
                self.expr(filters, false)?;
                self.body(body, false)
            }
            Kind::With(targets, body) => {
                targets.iter_mut().try_for_each(|(_, expr)| self.expr(expr, soft))?;
                self.body(body, false)
            }
            Kind::Autoescape(expr, body) => {
                self.expr(expr, false)?;
                self.body(body, false)
            }
            Kind::Block(block) => {
                if let Some(block) = Arc::get_mut(block) {
                    self.body(&mut block.body, false)?;
                }
                self.blocks.push(Arc::clone(block));
                Ok(())
            }
        }
    }

    fn macro_node(&mut self, node: &mut Arc<super::ast::Macro>) -> Parsed<()> {
        let Some(node) = Arc::get_mut(node) else { return Ok(()) };
        for (_, default) in &mut node.parameters {
            default.iter_mut().try_for_each(|default| self.expr(default, false))?;
        }
        self.body(&mut node.body, false)
    }

    fn arguments(&mut self, arguments: &mut Arguments, soft: bool) -> Parsed<()> {
        let Arguments { positional, named, star, double_star } = arguments;
        positional.iter_mut().try_for_each(|expr| self.expr(expr, soft))?;
        named.iter_mut().try_for_each(|(_, expr)| self.expr(expr, soft))?;
        star.iter_mut().chain(double_star).try_for_each(|expr| self.expr(expr, soft))
    }

    fn expr(&mut self, expr: &mut Expr, soft: bool) -> Parsed<()> {
        match expr {
            Expr::Const(_) => {}
            Expr::Name(_) | Expr::Attr(..) | Expr::Item(..) | Expr::Call(..) => {
                if let Some(mut path) = self.path(expr) {
                    let default = match expr {
                        Expr::Call(_, arguments) => get_arguments(arguments).and_then(|(_, default)| default),
                        _ => None,
                    };
                    path.id = self.paths.len();
                    self.paths.push(path.clone());
                    *expr = match default {
                        Some(default) => Expr::PathOr(Box::new(path), default),
                        None => Expr::Path(Box::new(path)),
                    };
                    return Ok(());
                }
                match expr {
                    Expr::Attr(object, _) => self.expr(object, soft)?,
                    Expr::Item(object, key) => {
                        self.expr(object, soft)?;
                        self.expr(key, soft)?;
                    }
                    Expr::Call(callee, arguments) => {
                        self.expr_callee(callee, soft)?;
                        self.arguments(arguments, soft)?;
                    }
                    _ => {}
                }
            }
            Expr::Slice(object, parts) => {
                self.expr(object, soft)?;
                parts.iter_mut().flatten().try_for_each(|part| self.expr(part, soft))?;
            }
            Expr::Filter(call) => {
                call.value.iter_mut().try_for_each(|value| self.expr(value, soft))?;
                self.arguments(&mut call.arguments, soft)?;
                call.filter = Filter::named(&call.name);
                if call.filter.is_none() && !soft {
                    return Err(SyntaxError {
                        message: format!("No filter named '{}'.", call.name),
                        at: call.at,
                    });
                }
            }
            Expr::Test(call) => {
                self.expr(&mut call.value, soft)?;
                self.arguments(&mut call.arguments, soft)?;
                call.test = Test::named(&call.name);
                if call.test.is_none() && !soft {
                    return Err(SyntaxError {
                        message: format!("No test named '{}'.", call.name),
                        at: call.at,
                    });
                }
            }
            Expr::Neg(inner) => {
                self.expr(inner, soft)?;
                if let Some(folded) = negated(inner) {
                    *expr = Expr::Const(folded);
                }
            }
            Expr::Not(inner) | Expr::Pos(inner) => self.expr(inner, soft)?,
            Expr::Binary(_, left, right) | Expr::And(left, right) | Expr::Or(left, right) => {
                self.expr(left, soft)?;
                self.expr(right, soft)?;
            }
            Expr::Compare(first, rest) => {
                self.expr(first, soft)?;
                rest.iter_mut().try_for_each(|(_, operand)| self.expr(operand, soft))?;
            }
            Expr::Cond(both, otherwise) => {
                both.iter_mut().try_for_each(|expr| self.expr(expr, true))?;
                otherwise.iter_mut().try_for_each(|expr| self.expr(expr, true))?;
            }
            Expr::Concat(items) | Expr::List(items) | Expr::Tuple(items) => {
                items.iter_mut().try_for_each(|item| self.expr(item, soft))?;
            }
            Expr::Dict(items) => items.iter_mut().try_for_each(|(key, value)| {
                self.expr(key, soft)?;
                self.expr(value, soft)
            })?,
            Expr::Path(_) | Expr::PathOr(..) => {}
        }
        Ok(())
    }

    /// The callee of a call: in `a.b.m()` the static path is `a.b`, because `m` is a method of it.
    fn expr_callee(&mut self, callee: &mut Expr, soft: bool) -> Parsed<()> {
        match callee {
            Expr::Attr(object, _) => self.expr(object, soft),
            other => self.expr(other, soft),
        }
    }

    /// The static path that the expression is, if it is one.
    fn path(&self, expr: &Expr) -> Option<Path> {
        let mut path = match expr {
            Expr::Name(name) if !self.assigned.contains(name) => {
                return Some(Path { root: Arc::clone(name), steps: Vec::new(), hosted: 0, id: 0 });
            }
            Expr::Attr(object, _) | Expr::Item(object, _) => self.path(object)?,
            Expr::Call(callee, arguments) => match &**callee {
                Expr::Attr(object, name) if **name == *"get" => {
                    get_arguments(arguments)?;
                    self.path(object)?
                }
                _ => return None,
            },
            _ => return None,
        };
        if matches!(path.steps.last(), Some(Step::Get(_))) {
            return None;
        }
        let step = match expr {
            Expr::Attr(_, name) => Step::Attr(Arc::clone(name)),
            Expr::Item(_, key) => match &**key {
                Expr::Const(Value::Int(index)) => Step::Index(*index),
                Expr::Const(key @ Value::Str(_)) => Step::Key(key.clone()),
                Expr::Neg(inner) => match &**inner {
                    Expr::Const(Value::Int(index)) => Step::Index(index.checked_neg()?),
                    _ => return None,
                },
                _ => return None,
            },
            Expr::Call(_, arguments) => Step::Get(Value::from(get_arguments(arguments)?.0)),
            _ => return None,
        };
        if path.hosted == path.steps.len() && hosted(&step) {
            path.hosted += 1;
        }
        path.steps.push(step);
        Some(path)
    }
}

/// Whether a host may take the step by "item, then attribute" without changing its meaning.
fn hosted(step: &Step) -> bool {
    let plain = |name: &str| !name.starts_with('_') && !methods::is_map_method(name);
    match step {
        Step::Attr(name) => plain(name),
        Step::Key(key) | Step::Get(key) => key.as_str().is_some_and(plain),
        Step::Index(_) => true,
    }
}

/// Key and default of `get("key")` and `get("key", constant)`.
fn get_arguments(arguments: &Arguments) -> Option<(&str, Option<Value>)> {
    if !arguments.named.is_empty() || arguments.star.is_some() || arguments.double_star.is_some() {
        return None;
    }
    match arguments.positional.as_slice() {
        [Expr::Const(Value::Str(key))] => Some((key, None)),
        [Expr::Const(Value::Str(key)), Expr::Const(default)] => Some((key, Some(default.clone()))),
        _ => None,
    }
}

fn negated(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Const(Value::Int(number)) => number.checked_neg().map(Value::Int),
        Expr::Const(Value::Float(float)) => Some(Value::Float(-float)),
        _ => None,
    }
}
