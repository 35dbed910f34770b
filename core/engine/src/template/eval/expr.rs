//! Expressions.

use indexmap::IndexMap;

use super::val::{Args, Missing, Obj, R, Undefined, Val, template_error, type_error};
use super::{Renderer, val};
use crate::template::parse::ast::{Arguments, Comparison, Expr, FilterCall, TestCall};
use crate::value::{Key, Value};

impl Renderer<'_> {
    pub(super) fn eval(&mut self, expr: &Expr) -> R<Val> {
        match expr {
            Expr::Const(value) => Ok(Val::V(value.clone())),
            Expr::Path(path) => self.path(path),
            Expr::PathOr(path, default) => self.path_or(path, default),
            Expr::Name(name) => self.name(name),
            Expr::Attr(object, name) => {
                let object = self.eval(object)?;
                self.attr(&object, name)
            }
            Expr::Filter(call) => self.filter_call(call),
            Expr::Compare(first, rest) => self.comparison(first, rest),
            Expr::And(left, right) => {
                let left = self.eval(left)?;
                if self.truth(&left)? { self.eval(right) } else { Ok(left) }
            }
            Expr::Or(left, right) => {
                let left = self.eval(left)?;
                if self.truth(&left)? { Ok(left) } else { self.eval(right) }
            }
            Expr::Not(inner) => {
                let inner = self.eval(inner)?;
                Ok(Val::bool(!self.truth(&inner)?))
            }
            Expr::Binary(op, left, right) => {
                self.check_stack()?;
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                self.binary(*op, &left, &right)
            }
            _ => self.eval_other(expr),
        }
    }

    /// The less frequent expressions, apart so that the frame of [`Self::eval`] stays small.
    fn eval_other(&mut self, expr: &Expr) -> R<Val> {
        self.check_stack()?;
        match expr {
            Expr::Item(object, key) => {
                let object = self.eval(object)?;
                let key = self.eval(key)?;
                self.item(&object, &key)
            }
            Expr::Slice(object, parts) => {
                let object = self.eval(object)?;
                let mut bounds = [const { None }; 3];
                for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                    if let Some(part) = part {
                        *bound = Some(self.eval(part)?);
                    }
                }
                self.slice(&object, bounds)
            }
            Expr::Call(callee, arguments) => self.call_expr(callee, arguments, None),
            Expr::Test(call) => self.test_call(call),
            Expr::Neg(inner) => {
                let inner = self.eval(inner)?;
                self.negative(&inner)
            }
            Expr::Pos(inner) => {
                let inner = self.eval(inner)?;
                self.positive(&inner)
            }
            Expr::Concat(parts) => {
                let mut text = String::new();
                let mut values = Vec::with_capacity(parts.len());
                for part in parts {
                    values.push(self.eval(part)?);
                }
                for value in &values {
                    self.write_str(&mut text, value)?;
                }
                self.produce(text.len())?;
                Ok(Val::str(text))
            }
            Expr::Cond(both, otherwise) => {
                let [test, then] = &**both;
                let test = self.eval(test)?;
                if self.truth(&test)? {
                    return self.eval(then);
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise),
                    None => Ok(Val::Undef(std::rc::Rc::new(Undefined {
                        missing: Missing::Hint(
                            "the inline if-expression evaluated to false and no else section was defined."
                                .into(),
                        ),
                        lenient: true,
                    }))),
                }
            }
            Expr::List(items) => Ok(Val::list(self.eval_all(items)?)),
            Expr::Tuple(items) => Ok(Val::tuple(self.eval_all(items)?)),
            Expr::Dict(entries) => {
                let mut map = IndexMap::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = self.eval(key)?;
                    let value = self.eval(value)?;
                    map.insert(self.key(&key)?, value);
                }
                Ok(Val::dict(map))
            }
            _ => self.eval(expr),
        }
    }

    fn eval_all(&mut self, items: &[Expr]) -> R<Vec<Val>> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.eval(item)?);
        }
        self.produce(values.len() * size_of::<Val>())?;
        Ok(values)
    }

    /// The value as a key of a map.
    pub(in crate::template) fn key(&mut self, value: &Val) -> R<Key> {
        if let Val::Undef(undefined) = value {
            return template_error(undefined.message());
        }
        if matches!(value, Val::List(_) | Val::Dict(_) | Val::Obj(_)) {
            return type_error(format!("unhashable type: '{}'", self.type_name(value)));
        }
        let value = self.export(value)?;
        Key::new(value).or_else(|value| type_error(format!("unhashable type: '{}'", value.type_name())))
    }

    fn comparison(&mut self, first: &Expr, rest: &[(Comparison, Expr)]) -> R<Val> {
        let mut left = self.eval(first)?;
        for (comparison, operand) in rest {
            let right = self.eval(operand)?;
            if !self.compare(*comparison, &left, &right)? {
                return Ok(Val::bool(false));
            }
            left = right;
        }
        Ok(Val::bool(true))
    }

    pub(super) fn arguments(&mut self, arguments: &Arguments) -> R<Args> {
        let mut args = Args { pos: Vec::with_capacity(arguments.positional.len()), kw: Vec::new() };
        for expr in &arguments.positional {
            args.pos.push(self.eval(expr)?);
        }
        for (name, expr) in &arguments.named {
            let value = self.eval(expr)?;
            args.kw.push((std::sync::Arc::clone(name), value));
        }
        if let Some(star) = &arguments.star {
            let star = self.eval(star)?;
            args.pos.extend(self.iterate(&star)?);
        }
        if let Some(stars) = &arguments.double_star {
            let stars = self.eval(stars)?;
            let Some(entries) = self.entries(&stars)? else {
                return type_error("argument after ** must be a mapping");
            };
            for (key, value) in entries {
                let Some(key) = key.text() else { return type_error("keywords must be strings") };
                if args.kw.iter().any(|(known, _)| **known == *key) {
                    return type_error(format!("got multiple values for keyword argument '{key}'"));
                }
                args.kw.push((key.into(), value));
            }
        }
        Ok(args)
    }

    fn filter_call(&mut self, call: &FilterCall) -> R<Val> {
        let value = match &call.value {
            Some(value) => self.eval(value)?,
            None => Val::NULL,
        };
        self.apply_filter(call, value)
    }

    fn apply_filter(&mut self, call: &FilterCall, value: Val) -> R<Val> {
        let args = self.arguments(&call.arguments)?;
        match call.filter {
            Some(filter) => self.filter(filter, value, args),
            None => template_error(format!("No filter named '{}' found.", call.name)),
        }
    }

    /// The filters of a filter or set block over the text of the block.
    pub(super) fn block_filter(&mut self, filters: Option<&Expr>, text: Val) -> R<Val> {
        match filters {
            Some(Expr::Filter(call)) => {
                let value = self.block_filter(call.value.as_ref(), text)?;
                self.apply_filter(call, value)
            }
            _ => Ok(text),
        }
    }

    fn test_call(&mut self, call: &TestCall) -> R<Val> {
        let value = self.eval(&call.value)?;
        let args = self.arguments(&call.arguments)?;
        match call.test {
            Some(test) => Ok(Val::bool(self.test(test, &value, args)?)),
            None => template_error(format!("No test named '{}' found.", call.name)),
        }
    }

    /// Python's truth.
    pub(in crate::template) fn truth(&mut self, value: &Val) -> R<bool> {
        Ok(match value {
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let answer = self.host_query(object, crate::host::Query::Truth, None)?;
                answer.is_truthy()
            }
            Val::V(value) => value.is_truthy(),
            Val::Undef(undefined) if undefined.lenient => false,
            Val::Undef(undefined) => return template_error(undefined.message()),
            Val::Safe(text) => !text.is_empty(),
            Val::List(list) => !list.0.borrow().is_empty(),
            Val::Tuple(tuple) => !tuple.items.is_empty(),
            Val::Dict(dict) => dict.data.borrow().len() > 0,
            Val::Obj(object) => match &**object {
                Obj::Range { start, stop, step } => val_range_len(*start, *stop, *step) > 0,
                Obj::View(_, items) => !items.is_empty(),
                Obj::Loop(state) => state.items.len() > 0,
                _ => true,
            },
        })
    }
}

/// Number of elements of a range.
pub(in crate::template) fn val_range_len(start: i64, stop: i64, step: i64) -> usize {
    let span =
        if step > 0 { i128::from(stop) - i128::from(start) } else { i128::from(start) - i128::from(stop) };
    if span <= 0 || step == 0 {
        return 0;
    }
    usize::try_from((span - 1) / i128::from(step).abs() + 1).unwrap_or(usize::MAX)
}

pub(super) fn undefined_error<T>(undefined: &Undefined) -> R<T> {
    val::template_error(undefined.message())
}
