//! A parsed template: immutable, shareable between threads.

use std::sync::Arc;

use crate::template::filters::Filter;
use crate::template::tests::Test;
use crate::value::Value;

/// Where something stands in the source, as byte offsets.
pub(crate) type Span = (u32, u32);

/// One step of a static path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// `.name`
    Attr(Arc<str>),
    /// `["name"]`
    Key(Value),
    /// `[3]`, `.3`
    Index(i64),
    /// `.get("name")`, at the end of a path only; a missing entry is `None`.
    Get(Value),
}

/// A root of the scope with the steps that are known when the template is compiled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    pub(crate) root: Arc<str>,
    pub(crate) steps: Vec<Step>,
    /// How many of the steps a host follows in one question; the others need rules of the engine.
    pub(crate) hosted: usize,
    /// Index among the paths of the template.
    pub(crate) id: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    pub(crate) star: Option<Expr>,
    pub(crate) double_star: Option<Expr>,
}

#[derive(Debug)]
pub(crate) struct FilterCall {
    /// `None` in a filter or set block: the text of the block.
    pub(crate) value: Option<Expr>,
    pub(crate) name: Arc<str>,
    /// `None`: unknown, and an error when reached.
    pub(crate) filter: Option<Filter>,
    pub(crate) arguments: Arguments,
    pub(crate) at: usize,
}

#[derive(Debug)]
pub(crate) struct TestCall {
    pub(crate) value: Expr,
    pub(crate) name: Arc<str>,
    /// `None`: unknown, and an error when reached.
    pub(crate) test: Option<Test>,
    pub(crate) arguments: Arguments,
    pub(crate) at: usize,
}

#[derive(Debug)]
pub(crate) enum Expr {
    Const(Value),
    /// A name that the template may assign.
    Name(Arc<str>),
    Path(Box<Path>),
    /// A path that ends in [`Step::Get`], and the value in place of a missing entry.
    PathOr(Box<Path>, Value),
    Attr(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Box<Arguments>),
    Filter(Box<FilterCall>),
    Test(Box<TestCall>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Cond(Box<[Expr; 2]>, Option<Box<Expr>>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
}

/// What is assigned to.
#[derive(Debug)]
pub(crate) enum Target {
    Name(Arc<str>),
    /// `namespace.attribute`
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

impl Target {
    /// Whether the name is one of those that are assigned.
    pub(crate) fn binds(&self, name: &str) -> bool {
        match self {
            Target::Name(target) => **target == *name,
            Target::Attribute(..) => false,
            Target::Tuple(targets) => targets.iter().any(|target| target.binds(name)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct For {
    pub(crate) target: Target,
    pub(crate) iterable: Expr,
    pub(crate) filter: Option<Expr>,
    pub(crate) recursive: bool,
    pub(crate) uses_loop: bool,
    pub(crate) body: Vec<Stmt>,
    pub(crate) otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) struct Macro {
    /// `None` for the body of a call block.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub(crate) uses_varargs: bool,
    pub(crate) uses_kwargs: bool,
    pub(crate) uses_caller: bool,
    pub(crate) body: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Text(Box<str>),
    /// `${name}` in literal text.
    Variable(Arc<str>),
    Emit(Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For(Arc<For>),
    Set(Target, Expr),
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    Macro(Arc<Macro>),
    CallBlock(Expr, Arc<Macro>),
    FilterBlock(Expr, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Autoescape(Expr, Vec<Stmt>),
    Block(Arc<Block>),
    /// `include`, `import`, `extends`: there is nothing to load from.
    Load {
        name: Expr,
        ignore_missing: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: Arc<str>,
    pub(crate) scoped: bool,
    pub(crate) body: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) struct Stmt {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}
