//! Expressions, loosest operator first.

use std::sync::Arc;

use super::ast::{Arguments, Binary, Comparison, Expr, FilterCall, TestCall};
use super::lexer::Token;
use super::{Parsed, Parser, taller};
use crate::value::Value;

/// An expression and the height of its tree.
type Node = (Expr, usize);

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parsed<Node> {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed<Node> {
        let (mut expr, mut height) = self.or()?;
        while self.skip_name("if")? {
            let (test, test_height) = self.or()?;
            let (otherwise, other_height) = if self.skip_name("else")? {
                let (otherwise, height) = self.expression()?;
                (Some(Box::new(otherwise)), height)
            } else {
                (None, 0)
            };
            height = taller(self, height.max(test_height), other_height)?;
            expr = Expr::Cond(Box::new([test, expr]), otherwise);
        }
        Ok((expr, height))
    }

    fn or(&mut self) -> Parsed<Node> {
        let (mut left, mut height) = self.and()?;
        while self.skip_name("or")? {
            let (right, right_height) = self.and()?;
            height = taller(self, height, right_height)?;
            left = Expr::Or(Box::new(left), Box::new(right));
        }
        Ok((left, height))
    }

    fn and(&mut self) -> Parsed<Node> {
        let (mut left, mut height) = self.not()?;
        while self.skip_name("and")? {
            let (right, right_height) = self.not()?;
            height = taller(self, height, right_height)?;
            left = Expr::And(Box::new(left), Box::new(right));
        }
        Ok((left, height))
    }

    fn not(&mut self) -> Parsed<Node> {
        let mut count = 0_usize;
        while self.skip_name("not")? {
            count += 1;
        }
        let (mut expr, mut height) = self.comparison()?;
        for _ in 0..count {
            height = taller(self, height, 0)?;
            expr = Expr::Not(Box::new(expr));
        }
        Ok((expr, height))
    }

    fn comparison(&mut self) -> Parsed<Node> {
        let (first, mut height) = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let not_in = self.is_name("not") && matches!(self.peek()?, Token::Name("in"));
            let comparison = match self.token {
                Token::Op("==") => Comparison::Eq,
                Token::Op("!=") => Comparison::Ne,
                Token::Op("<") => Comparison::Lt,
                Token::Op("<=") => Comparison::Le,
                Token::Op(">") => Comparison::Gt,
                Token::Op(">=") => Comparison::Ge,
                Token::Name("in") => Comparison::In,
                Token::Name("not") if not_in => {
                    self.advance()?;
                    Comparison::NotIn
                }
                _ => break,
            };
            self.advance()?;
            let (operand, operand_height) = self.sum()?;
            height = height.max(operand_height);
            rest.push((comparison, operand));
        }
        if rest.is_empty() {
            return Ok((first, height));
        }
        Ok((Expr::Compare(Box::new(first), rest), taller(self, height, 0)?))
    }

    fn sum(&mut self) -> Parsed<Node> {
        self.chain(Self::concatenation, |op| match op {
            "+" => Some(Binary::Add),
            "-" => Some(Binary::Sub),
            _ => None,
        })
    }

    fn concatenation(&mut self) -> Parsed<Node> {
        let (first, mut height) = self.product()?;
        if !self.is_op("~") {
            return Ok((first, height));
        }
        let mut parts = vec![first];
        while self.skip_op("~")? {
            let (part, part_height) = self.product()?;
            height = height.max(part_height);
            parts.push(part);
        }
        Ok((Expr::Concat(parts), taller(self, height, 0)?))
    }

    fn product(&mut self) -> Parsed<Node> {
        self.chain(Self::power, |op| match op {
            "*" => Some(Binary::Mul),
            "/" => Some(Binary::Div),
            "//" => Some(Binary::FloorDiv),
            "%" => Some(Binary::Mod),
            _ => None,
        })
    }

    fn power(&mut self) -> Parsed<Node> {
        self.chain(|parser| parser.unary(true), |op| (op == "**").then_some(Binary::Pow))
    }

    /// Left-associative operators of one precedence.
    fn chain(
        &mut self,
        operand: impl Fn(&mut Self) -> Parsed<Node>,
        operator: impl Fn(&str) -> Option<Binary>,
    ) -> Parsed<Node> {
        let (mut left, mut height) = operand(self)?;
        while let Token::Op(op) = self.token
            && let Some(binary) = operator(op)
        {
            self.advance()?;
            let (right, right_height) = operand(self)?;
            height = taller(self, height, right_height)?;
            left = Expr::Binary(binary, Box::new(left), Box::new(right));
        }
        Ok((left, height))
    }

    fn unary(&mut self, filters: bool) -> Parsed<Node> {
        let mut node = if self.skip_op("-")? {
            let (expr, height) = self.nested(|parser| parser.unary(false))?;
            (Expr::Neg(Box::new(expr)), taller(self, height, 0)?)
        } else if self.skip_op("+")? {
            let (expr, height) = self.nested(|parser| parser.unary(false))?;
            (Expr::Pos(Box::new(expr)), taller(self, height, 0)?)
        } else {
            self.primary()?
        };
        node = self.postfix(node)?;
        if filters { self.filters_and_tests(node) } else { Ok(node) }
    }

    fn primary(&mut self) -> Parsed<Node> {
        match self.token {
            Token::Name(name) => {
                self.advance()?;
                let expr = match name {
                    "true" | "True" => Expr::Const(Value::Bool(true)),
                    "false" | "False" => Expr::Const(Value::Bool(false)),
                    "none" | "None" => Expr::Const(Value::Null),
                    _ => {
                        self.read.push(name);
                        Expr::Name(Arc::from(name))
                    }
                };
                Ok((expr, 1))
            }
            Token::Str(_) => {
                let mut text = String::new();
                while matches!(self.token, Token::Str(_)) {
                    if let Token::Str(part) = self.advance()? {
                        text.push_str(&part);
                    }
                }
                Ok((Expr::Const(Value::from(text)), 1))
            }
            Token::Number(_) => match self.advance()? {
                Token::Number(value) => Ok((Expr::Const(value), 1)),
                other => self.fail(format!("unexpected '{}'", other.describe())),
            },
            Token::Op("(") => {
                self.advance()?;
                let node = if self.skip_op(")")? {
                    return Ok((Expr::Tuple(Vec::new()), 1));
                } else {
                    self.tuple(true, &[])?
                };
                self.expect_op(")")?;
                Ok(node)
            }
            Token::Op("[") => {
                self.advance()?;
                let (items, height) = self.items("]")?;
                Ok((Expr::List(items), height))
            }
            Token::Op("{") => {
                self.advance()?;
                let mut items = Vec::new();
                let mut height = 1;
                while !self.is_op("}") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                        if self.is_op("}") {
                            break;
                        }
                    }
                    let (key, key_height) = self.expression()?;
                    self.expect_op(":")?;
                    let (value, value_height) = self.expression()?;
                    height = height.max(taller(self, key_height, value_height)?);
                    items.push((key, value));
                }
                self.expect_op("}")?;
                Ok((Expr::Dict(items), height))
            }
            _ => self.fail(format!("unexpected '{}'", self.token.describe())),
        }
    }

    /// Expressions with commas between, and after the last one, up to a bracket that is consumed.
    fn items(&mut self, close: &str) -> Parsed<(Vec<Expr>, usize)> {
        let mut items = Vec::new();
        let mut height = 1;
        while !self.is_op(close) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.is_op(close) {
                    break;
                }
            }
            let (item, item_height) = self.expression()?;
            height = height.max(taller(self, item_height, 0)?);
            items.push(item);
        }
        self.expect_op(close)?;
        Ok((items, height))
    }

    /// An expression, or a tuple if commas follow. `conditional`: an inline `if` may belong to it.
    pub(super) fn tuple(&mut self, conditional: bool, ends: &[&str]) -> Parsed<Node> {
        let mut items = Vec::new();
        let mut height = 1;
        let mut is_tuple = false;
        while !self.target_ends(ends) {
            let (item, item_height) = if conditional { self.expression()? } else { self.nested(Self::or)? };
            height = if is_tuple || self.is_op(",") {
                height.max(taller(self, item_height, 0)?)
            } else {
                item_height
            };
            items.push(item);
            if !self.skip_op(",")? {
                break;
            }
            is_tuple = true;
        }
        if is_tuple {
            return Ok((Expr::Tuple(items), height));
        }
        match items.pop() {
            Some(item) => Ok((item, height)),
            None => self.fail(format!("Expected an expression, got '{}'", self.token.describe())),
        }
    }

    fn postfix(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            node = match self.token {
                Token::Op("." | "[") => self.subscript(node)?,
                Token::Op("(") => self.call(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn filters_and_tests(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            node = match self.token {
                Token::Op("|") => {
                    self.advance()?;
                    self.filter_call(Some(node.0), node.1)?
                }
                Token::Name("is") => self.test_call(node)?,
                Token::Op("(") => self.call(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn subscript(&mut self, (expr, height): Node) -> Parsed<Node> {
        let height = taller(self, height, 0)?;
        if self.skip_op(".")? {
            return match self.token {
                Token::Name(name) => {
                    self.advance()?;
                    Ok((Expr::Attr(Box::new(expr), Arc::from(name)), height))
                }
                Token::Number(ref number @ (Value::Int(_) | Value::BigInt(_))) => {
                    let key = Expr::Const(number.clone());
                    self.advance()?;
                    Ok((Expr::Item(Box::new(expr), Box::new(key)), height))
                }
                _ => self.fail("expected name or number"),
            };
        }
        self.expect_op("[")?;
        let mut keys = Vec::new();
        let mut height = height;
        let mut slice = None;
        while !self.is_op("]") {
            if !keys.is_empty() || slice.is_some() {
                self.expect_op(",")?;
            }
            let mut parts = [None, None, None];
            let mut colons = 0;
            while !(self.is_op("]") || self.is_op(",")) {
                if colons < 2 && self.skip_op(":")? {
                    colons += 1;
                    continue;
                }
                if parts.get(colons).is_some_and(Option::is_some) {
                    break;
                }
                let (part, part_height) = self.expression()?;
                height = height.max(taller(self, part_height, 0)?);
                if let Some(place) = parts.get_mut(colons) {
                    *place = Some(part);
                }
            }
            if colons > 0 {
                slice = Some(parts);
            } else if let [Some(key), ..] = parts {
                keys.push(key);
            } else {
                return self.fail(format!("unexpected '{}'", self.token.describe()));
            }
        }
        self.expect_op("]")?;
        let key = match (keys.len(), slice) {
            (0, Some(parts)) => return Ok((Expr::Slice(Box::new(expr), Box::new(parts)), height)),
            (_, Some(_)) => return self.fail("a slice cannot be part of a tuple of keys"),
            (1, None) => keys.pop().unwrap_or(Expr::Tuple(Vec::new())),
            (_, None) => Expr::Tuple(keys),
        };
        Ok((Expr::Item(Box::new(expr), Box::new(key)), height))
    }

    fn call(&mut self, (callee, height): Node) -> Parsed<Node> {
        let (arguments, arguments_height) = self.arguments()?;
        let height = taller(self, height, arguments_height)?;
        Ok((Expr::Call(Box::new(callee), Box::new(arguments)), height))
    }

    fn arguments(&mut self) -> Parsed<(Arguments, usize)> {
        self.expect_op("(")?;
        let mut arguments = Arguments::default();
        let mut height = 1;
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            let stars = arguments.star.is_some() || arguments.double_star.is_some();
            let (allowed, argument_height) = if self.skip_op("*")? {
                let (star, star_height) = self.expression()?;
                arguments.star = Some(star);
                (!stars, star_height)
            } else if self.skip_op("**")? {
                let (star, star_height) = self.expression()?;
                let allowed = arguments.double_star.is_none();
                arguments.double_star = Some(star);
                (allowed, star_height)
            } else if let Token::Name(name) = self.token
                && matches!(self.peek()?, Token::Op("="))
            {
                self.advance()?;
                self.advance()?;
                let (value, value_height) = self.expression()?;
                if arguments.named.iter().any(|(other, _)| **other == *name) {
                    return self.fail(format!("keyword argument repeated: {name}"));
                }
                arguments.named.push((Arc::from(name), value));
                (arguments.double_star.is_none(), value_height)
            } else {
                let (value, value_height) = self.expression()?;
                arguments.positional.push(value);
                (!stars && arguments.named.is_empty(), value_height)
            };
            if !allowed {
                return self.fail("invalid syntax for function call expression");
            }
            height = height.max(taller(self, argument_height, 0)?);
        }
        self.expect_op(")")?;
        Ok((arguments, height))
    }

    /// A filter's name, which is the current token, and its arguments.
    pub(super) fn filter_call(&mut self, value: Option<Expr>, height: usize) -> Parsed<Node> {
        let at = self.at;
        let name = self.dotted_name()?;
        let (arguments, arguments_height) =
            if self.is_op("(") { self.arguments()? } else { (Arguments::default(), 0) };
        let height = taller(self, height, arguments_height)?;
        Ok((Expr::Filter(Box::new(FilterCall::new(value, &name, arguments, at))), height))
    }

    fn dotted_name(&mut self) -> Parsed<String> {
        let mut name = self.name()?.to_owned();
        while self.skip_op(".")? {
            name.push('.');
            name.push_str(self.name()?);
        }
        Ok(name)
    }

    fn test_call(&mut self, (value, height): Node) -> Parsed<Node> {
        self.advance()?;
        let negated = self.skip_name("not")?;
        let at = self.at;
        let name = self.dotted_name()?;
        let (arguments, arguments_height) = match self.token {
            Token::Op("(") => self.arguments()?,
            Token::Name("is") => return self.fail("You cannot chain multiple tests with is"),
            Token::Name("else" | "or" | "and") => (Arguments::default(), 0),
            Token::Name(_) | Token::Str(_) | Token::Number(_) | Token::Op("[" | "{") => {
                let primary = self.nested(Self::primary)?;
                let (argument, argument_height) = self.postfix(primary)?;
                (Arguments { positional: vec![argument], ..Arguments::default() }, argument_height)
            }
            _ => (Arguments::default(), 0),
        };
        let height = taller(self, height, arguments_height)?;
        let call = TestCall { value, name: Arc::from(name), test: None, arguments, at };
        let test = Expr::Test(Box::new(call));
        if negated { Ok((Expr::Not(Box::new(test)), taller(self, height, 0)?)) } else { Ok((test, height)) }
    }
}
