//! From source text to a tree that is ready to run: the grammar of Jinja2, with its precedences and its errors.

pub(super) mod ast;
mod expression;
mod finish;
mod lexer;

use std::collections::HashSet;
use std::sync::Arc;

use ast::{Arguments, Block, Expr, FilterCall, For, Kind, Macro, Path, Stmt, Target};
use lexer::{Lexer, Token};

/// How deep expressions, and how deep blocks, may be nested. (Jinja2 stops at 100 levels of blocks and at about
/// 200 of parentheses, by limits of Python's own compiler.)
pub(super) const MAX_NESTING: usize = 100;
/// How high the tree of an expression may grow, chains of operators included.
const MAX_HEIGHT: usize = 200;

/// A text that is no template; `at` is a byte offset.
#[derive(Debug, Clone)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) at: usize,
}

/// What a source was compiled to.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) body: Vec<Stmt>,
    /// All static paths, indexed by [`Path::id`].
    pub(super) paths: Vec<Path>,
    /// The blocks by name, for `self.name()`.
    pub(super) blocks: Vec<Arc<Block>>,
}

/// Parses the text of a template. Line ends must be `\n`.
pub(super) fn template(source: &str) -> Result<Tree, SyntaxError> {
    let mut parser = Parser::new(source, false)?;
    let mut body = parser.body(&[])?;
    let (paths, blocks) = finish::finish(&mut body, parser)?;
    Ok(Tree { body, paths, blocks })
}

/// Parses one expression that takes the whole source.
pub(super) fn expression(source: &str) -> Result<(Expr, Vec<Path>), SyntaxError> {
    let mut parser = Parser::new(source, true)?;
    let (expr, _) = parser.expression()?;
    if parser.token != Token::End {
        return parser.fail("chunk after expression");
    }
    let mut body = vec![Stmt { kind: Kind::Emit(expr), span: (0, 0) }];
    let (paths, _) = finish::finish(&mut body, parser)?;
    match body.pop() {
        Some(Stmt { kind: Kind::Emit(expr), .. }) => Ok((expr, paths)),
        _ => Err(SyntaxError { message: "Expected an expression".to_owned(), at: 0 }),
    }
}

/// The state of parsing one source.
struct Parser<'s> {
    lexer: Lexer<'s>,
    token: Token<'s>,
    at: usize,
    /// Where the token before ended, roughly: the position of the current token.
    ahead: Option<(Token<'s>, usize)>,
    nesting: usize,
    /// Names that are read, in order of their appearance.
    read: Vec<&'s str>,
    /// Names that are assigned somewhere.
    assigned: HashSet<Arc<str>>,
    /// Open block tags.
    tags: Vec<&'s str>,
    blocks: Vec<Arc<str>>,
}

type Parsed<T> = Result<T, SyntaxError>;

impl<'s> Parser<'s> {
    fn new(source: &'s str, expression: bool) -> Parsed<Self> {
        let mut lexer = Lexer::new(source, expression);
        let (token, at) = lexer.next()?;
        Ok(Parser {
            lexer,
            token,
            at,
            ahead: None,
            nesting: 0,
            read: Vec::new(),
            assigned: HashSet::new(),
            tags: Vec::new(),
            blocks: Vec::new(),
        })
    }

    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(SyntaxError { message: message.into(), at: self.at })
    }

    /// Steps to the next token and gives the current one.
    fn advance(&mut self) -> Parsed<Token<'s>> {
        let (token, at) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.lexer.next()?,
        };
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn peek(&mut self) -> Parsed<&Token<'s>> {
        if self.ahead.is_none() {
            self.ahead = Some(self.lexer.next()?);
        }
        Ok(self.ahead.as_ref().map_or(&Token::End, |(token, _)| token))
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(&self.token, Token::Name(found) if *found == name)
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(&self.token, Token::Op(found) if *found == op)
    }

    fn skip_name(&mut self, name: &str) -> Parsed<bool> {
        let found = self.is_name(name);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn skip_op(&mut self, op: &str) -> Parsed<bool> {
        let found = self.is_op(op);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        if self.token == Token::End {
            return self.fail(format!("unexpected end of template, expected '{expected}'."));
        }
        self.fail(format!("expected token '{expected}', got '{}'", self.token.describe()))
    }

    fn expect_op(&mut self, op: &str) -> Parsed<()> {
        if self.skip_op(op)? { Ok(()) } else { self.unexpected(op) }
    }

    fn expect_name(&mut self, name: &str) -> Parsed<()> {
        if self.skip_name(name)? { Ok(()) } else { self.unexpected(name) }
    }

    fn name(&mut self) -> Parsed<&'s str> {
        let Token::Name(name) = self.token else { return self.unexpected("name") };
        self.advance()?;
        Ok(name)
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return self.fail(format!("nested deeper than {MAX_NESTING} levels"));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn assign(&mut self, name: &str) -> Arc<str> {
        match self.assigned.get(name) {
            Some(name) => Arc::clone(name),
            None => {
                let name = Arc::<str>::from(name);
                self.assigned.insert(Arc::clone(&name));
                name
            }
        }
    }

    /// Statements up to one of the end tags; the tag's name is then the current token.
    fn body(&mut self, ends: &[&str]) -> Parsed<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            let begin = self.at;
            match &self.token {
                Token::End if ends.is_empty() => return Ok(body),
                Token::End => return self.end_of_template(ends),
                Token::Data(text) => {
                    literal(text, begin, &mut body);
                    self.advance()?;
                }
                Token::VariableBegin => {
                    self.advance()?;
                    let expr = self.tuple(true, &[])?.0;
                    self.emit(expr, begin, &mut body);
                    if self.token != Token::VariableEnd {
                        return self.unexpected("end of print statement");
                    }
                    self.advance()?;
                }
                Token::BlockBegin => {
                    self.advance()?;
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    self.nested(|parser| parser.statement(begin, ends, &mut body))?;
                    if self.token != Token::BlockEnd {
                        return self.unexpected("end of statement block");
                    }
                    self.advance()?;
                }
                other => return self.fail(format!("unexpected '{}'", other.describe())),
            }
        }
    }

    fn emit(&self, expr: Expr, begin: usize, body: &mut Vec<Stmt>) {
        body.push(Stmt { kind: Kind::Emit(expr), span: span(begin, self.at) });
    }

    fn end_of_template<T>(&self, ends: &[&str]) -> Parsed<T> {
        let looking: Vec<String> = ends.iter().map(|end| format!("'{end}'")).collect();
        let innermost = self
            .tags
            .last()
            .map_or(String::new(), |tag| format!(" The innermost block that needs to be closed is '{tag}'."));
        self.fail(format!(
            "Unexpected end of template. Jinja was looking for the following tags: {}.{innermost}",
            looking.join(" or ")
        ))
    }

    /// The content of a block up to its end tag, which is consumed. The opening tag's end comes first.
    fn block_body(&mut self, ends: &[&str]) -> Parsed<(Vec<Stmt>, &'s str)> {
        self.skip_op(":")?;
        if self.token != Token::BlockEnd {
            return self.unexpected("end of statement block");
        }
        self.advance()?;
        let body = self.body(ends)?;
        Ok((body, self.name()?))
    }

    fn statement(&mut self, begin: usize, ends: &[&str], body: &mut Vec<Stmt>) -> Parsed<()> {
        let Token::Name(tag) = self.token else { return self.fail("tag name expected") };
        self.tags.push(tag);
        let tag_at = self.at;
        let first_read = self.read.len();
        if !STATEMENTS.contains(&tag) {
            let mut message = format!("Encountered unknown tag '{tag}'.");
            if let [first, ..] = ends {
                message.push_str(&format!(" Jinja was looking for the following tags: '{first}'."));
            }
            return self.fail(message);
        }
        self.advance()?;
        let mut head_end = 0;
        let kind = match tag {
            "if" => self.if_statement(&mut head_end)?,
            "for" => self.for_statement(first_read, &mut head_end)?,
            "set" => {
                let target = self.target(true, &[])?;
                if self.skip_op("=")? {
                    Kind::Set(target, self.tuple(true, &[])?.0)
                } else {
                    let filters = self.block_filters(false)?;
                    head_end = self.at;
                    Kind::SetBlock(target, filters, self.block_body(&["endset"])?.0)
                }
            }
            "macro" => {
                let name = self.name()?;
                let name = self.assign(name);
                let parameters = self.signature()?;
                head_end = self.at;
                Kind::Macro(Arc::new(self.macro_body(Some(name), parameters, "endmacro")?))
            }
            "call" => {
                let parameters = if self.is_op("(") { self.signature()? } else { Vec::new() };
                let (call, _) = self.expression()?;
                if !matches!(call, Expr::Call(..)) {
                    return self.fail("expected call");
                }
                head_end = self.at;
                Kind::CallBlock(call, Arc::new(self.macro_body(None, parameters, "endcall")?))
            }
            "filter" => {
                let Some(filters) = self.block_filters(true)? else { return self.unexpected("name") };
                head_end = self.at;
                Kind::FilterBlock(filters, self.block_body(&["endfilter"])?.0)
            }
            "with" => {
                let mut targets = Vec::new();
                while self.token != Token::BlockEnd {
                    if !targets.is_empty() {
                        self.expect_op(",")?;
                    }
                    let target = self.target(false, &[])?;
                    self.expect_op("=")?;
                    targets.push((target, self.expression()?.0));
                }
                head_end = self.at;
                Kind::With(targets, self.block_body(&["endwith"])?.0)
            }
            "autoescape" => {
                let (on, _) = self.expression()?;
                head_end = self.at;
                Kind::Autoescape(on, self.block_body(&["endautoescape"])?.0)
            }
            "block" => {
                let name = self.name()?;
                if self.blocks.iter().any(|block| **block == *name) {
                    return self.fail(format!("block '{name}' defined twice"));
                }
                self.blocks.push(Arc::from(name));
                let scoped = self.skip_name("scoped")?;
                self.skip_name("required")?;
                if self.is_op("-") {
                    return self.fail("block names may not contain hyphens, use an underscore instead");
                }
                head_end = self.at;
                let (content, _) = self.block_body(&["endblock"])?;
                self.skip_name(name)?;
                Kind::Block(Arc::new(Block { name: Arc::from(name), scoped, body: content }))
            }
            "print" => {
                let mut first = true;
                while self.token != Token::BlockEnd {
                    if !first {
                        self.expect_op(",")?;
                    }
                    first = false;
                    let expr = self.expression()?.0;
                    self.emit(expr, begin, body);
                }
                self.tags.pop();
                return Ok(());
            }
            _ => self.load(tag)?,
        };
        let _ = tag_at;
        let end = if head_end == 0 { self.at } else { head_end };
        body.push(Stmt { kind, span: span(begin, end) });
        self.tags.pop();
        Ok(())
    }

    fn if_statement(&mut self, head_end: &mut usize) -> Parsed<Kind> {
        let mut branches = Vec::new();
        loop {
            let (test, _) = self.tuple(false, &[])?;
            if *head_end == 0 {
                *head_end = self.at;
            }
            let (body, end) = self.block_body(&["elif", "else", "endif"])?;
            branches.push((test, body));
            match end {
                "elif" => {}
                "else" => return Ok(Kind::If(branches, self.block_body(&["endif"])?.0)),
                _ => return Ok(Kind::If(branches, Vec::new())),
            }
        }
    }

    fn for_statement(&mut self, first_read: usize, head_end: &mut usize) -> Parsed<Kind> {
        let target = self.target(false, &["in"])?;
        if target.binds("loop") {
            return self.fail("Can't assign to special loop variable in for-loop target");
        }
        self.expect_name("in")?;
        let (iterable, _) = self.tuple(false, &["recursive"])?;
        let filter = if self.skip_name("if")? { Some(self.expression()?.0) } else { None };
        let recursive = self.skip_name("recursive")?;
        *head_end = self.at;
        let (body, end) = self.block_body(&["endfor", "else"])?;
        let otherwise = if end == "else" { self.block_body(&["endfor"])?.0 } else { Vec::new() };
        let uses_loop = self.read.get(first_read..).is_some_and(|names| names.contains(&"loop"));
        if uses_loop {
            self.assign("loop");
        }
        Ok(Kind::For(Arc::new(For { target, iterable, filter, recursive, uses_loop, body, otherwise })))
    }

    fn load(&mut self, tag: &str) -> Parsed<Kind> {
        let (name, _) = self.expression()?;
        let mut ignore_missing = false;
        if tag == "include" && self.is_name("ignore") {
            self.advance()?;
            self.expect_name("missing")?;
            ignore_missing = true;
        }
        if tag == "import" {
            self.expect_name("as")?;
            let name = self.name()?;
            self.assign(name);
        }
        if tag == "from" {
            self.expect_name("import")?;
            loop {
                if (self.is_name("with") || self.is_name("without"))
                    && matches!(self.peek()?, Token::Name("context"))
                {
                    break;
                }
                let mut name = self.name()?;
                if self.skip_name("as")? {
                    name = self.name()?;
                }
                self.assign(name);
                if !self.skip_op(",")? {
                    break;
                }
            }
        }
        if (self.is_name("with") || self.is_name("without")) && tag != "extends" {
            self.advance()?;
            self.expect_name("context")?;
        }
        Ok(Kind::Load { name, ignore_missing })
    }

    /// The parameters of a macro or call block in parentheses.
    fn signature(&mut self) -> Parsed<Vec<(Arc<str>, Option<Expr>)>> {
        let mut parameters: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.name()?;
            let name = self.assign(name);
            if parameters.iter().any(|(other, _)| *other == name) {
                return self.fail(format!("duplicate argument '{name}' in function definition"));
            }
            let default = if self.skip_op("=")? { Some(self.expression()?.0) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fail("non-default argument follows default argument");
            }
            parameters.push((name, default));
        }
        self.expect_op(")")?;
        Ok(parameters)
    }

    fn macro_body(
        &mut self,
        name: Option<Arc<str>>,
        parameters: Vec<(Arc<str>, Option<Expr>)>,
        end: &str,
    ) -> Parsed<Macro> {
        let first_read = self.read.len();
        let (body, _) = self.block_body(&[end])?;
        let mut uses = [false; 3];
        for (used, special) in uses.iter_mut().zip(["varargs", "kwargs", "caller"]) {
            *used = self.read.get(first_read..).is_some_and(|names| names.contains(&special))
                && !parameters.iter().any(|(parameter, _)| **parameter == *special);
            if *used {
                self.assign(special);
            }
        }
        let [uses_varargs, uses_kwargs, uses_caller] = uses;
        Ok(Macro { name, parameters, uses_varargs, uses_kwargs, uses_caller, body })
    }

    /// The filters of a filter or set block; the first one without its bar in a filter block.
    fn block_filters(&mut self, inline: bool) -> Parsed<Option<Expr>> {
        let mut expr: Option<Expr> = None;
        let mut height = 1;
        let mut bare = inline;
        while bare || self.is_op("|") {
            if !bare {
                self.advance()?;
            }
            bare = false;
            let (call, call_height) = self.filter_call(expr, height)?;
            height = call_height;
            expr = Some(call);
        }
        Ok(expr)
    }

    /// What is assigned to: a name, an attribute of a namespace where allowed, or a tuple of these.
    fn target(&mut self, attributes: bool, ends: &[&str]) -> Parsed<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.target_ends(ends) {
                break;
            }
            targets.push(self.target_item(attributes)?);
            if !self.skip_op(",")? {
                break;
            }
            is_tuple = true;
        }
        match (targets.pop(), is_tuple) {
            (None, _) => self.fail(format!("Expected an expression, got '{}'", self.token.describe())),
            (Some(target), false) => Ok(target),
            (Some(last), true) => {
                targets.push(last);
                Ok(Target::Tuple(targets))
            }
        }
    }

    fn target_ends(&self, ends: &[&str]) -> bool {
        matches!(self.token, Token::VariableEnd | Token::BlockEnd)
            || self.is_op(")")
            || ends.iter().any(|end| self.is_name(end))
    }

    fn target_item(&mut self, attributes: bool) -> Parsed<Target> {
        if self.skip_op("(")? {
            let target = self.nested(|parser| parser.target(attributes, &[]))?;
            self.expect_op(")")?;
            return Ok(target);
        }
        let Token::Name(name) = self.token else {
            return self.fail(format!("can't assign to '{}'", self.token.describe()));
        };
        if matches!(name, "true" | "false" | "none" | "True" | "False" | "None") {
            return self.fail("can't assign to 'const'");
        }
        self.advance()?;
        if attributes && self.skip_op(".")? {
            let attribute = self.name()?;
            return Ok(Target::Attribute(Arc::from(name), Arc::from(attribute)));
        }
        Ok(Target::Name(self.assign(name)))
    }
}

const STATEMENTS: [&str; 15] = [
    "if",
    "for",
    "set",
    "macro",
    "call",
    "filter",
    "with",
    "autoescape",
    "block",
    "print",
    "include",
    "import",
    "from",
    "extends",
    "raw",
];

fn span(begin: usize, end: usize) -> ast::Span {
    (u32::try_from(begin).unwrap_or(u32::MAX), u32::try_from(end).unwrap_or(u32::MAX))
}

/// Literal text, with `${name}` split off: what a template produces is never searched for it.
fn literal(text: &str, begin: usize, body: &mut Vec<Stmt>) {
    let mut push = |kind: Kind| body.push(Stmt { kind, span: span(begin, begin) });
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        let Some(end) = after.find('}') else { break };
        let name = after.get(2..end).unwrap_or_default();
        let (cut, variable) = if name.is_empty() { (end, None) } else { (end + 1, Some(name)) };
        match variable {
            Some(name) => {
                if !before.is_empty() {
                    push(Kind::Text(before.into()));
                }
                push(Kind::Variable(Arc::from(name)));
            }
            None => push(Kind::Text(rest.get(..start + cut).unwrap_or_default().into())),
        }
        rest = after.get(cut..).unwrap_or_default();
    }
    if !rest.is_empty() {
        push(Kind::Text(rest.into()));
    }
}

/// One more than the higher of two heights, if that is still allowed.
fn taller(parser: &Parser<'_>, a: usize, b: usize) -> Parsed<usize> {
    let height = a.max(b) + 1;
    if height > MAX_HEIGHT {
        return parser.fail(format!("an expression of more than {MAX_HEIGHT} nested operations"));
    }
    Ok(height)
}

impl FilterCall {
    fn new(value: Option<Expr>, name: &str, arguments: Arguments, at: usize) -> Self {
        FilterCall { value, name: Arc::from(name), filter: None, arguments, at }
    }
}
