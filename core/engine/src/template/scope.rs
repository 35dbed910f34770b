//! What a template sees: named roots, read lazily.

use std::cell::RefCell;
use std::fmt;

use super::TemplateError;
use crate::host::{Host, HostRef};
use crate::value::{Map, Value};

/// A function that templates can call; gets positional arguments, fails with a text.
pub type Function<'a> = dyn Fn(&[Value]) -> Result<Value, String> + 'a;

/// One root of a scope. A map under [`Root::Map`], [`Root::Value`] or [`Root::Host`] and the maps reached from
/// it by dots give `None` for a missing key, and their keys win over methods.
#[derive(Clone, Copy)]
pub enum Root<'a> {
    /// A map of the engine.
    Map(&'a Map),
    /// Any value of the engine.
    Value(&'a Value),
    /// Any value of the engine; its maps are plain ones, a missing key of which is undefined.
    Plain(&'a Value),
    /// A live object of the host.
    Host(&'a HostRef),
    /// The environment of the process, read when it is used.
    Env,
    /// A function.
    Function(&'a Function<'a>),
}

/// Bounds of one rendering. The language has none, so whatever exceeds them is stopped with an ordinary failure.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Elements that loops, filters and other iterations may go through.
    pub steps: u64,
    /// Bytes of text and of lists that may be produced in total.
    pub bytes: usize,
    /// Depth of macros and recursive loops.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 10_000_000, bytes: 256 << 20, depth: 100 }
    }
}

/// The names of one rendering. Cheap to build; holds references only.
pub struct Scope<'a> {
    roots: Vec<(&'a str, Root<'a>)>,
    pub(super) host: Option<&'a dyn Host>,
    pub(super) limits: Limits,
    pub(super) strict: bool,
    pub(super) warn: Option<&'a dyn Fn(&TemplateError)>,
    pub(super) changed: RefCell<Vec<(String, Value)>>,
}

impl<'a> Scope<'a> {
    /// A scope without names.
    pub fn new() -> Self {
        Scope {
            roots: Vec::with_capacity(8),
            host: None,
            limits: Limits::default(),
            strict: false,
            warn: None,
            changed: RefCell::default(),
        }
    }

    /// Adds a name, or replaces what it stands for.
    #[must_use]
    pub fn with(mut self, name: &'a str, root: Root<'a>) -> Self {
        self.set(name, root);
        self
    }

    /// Adds a name, or replaces what it stands for.
    pub fn set(&mut self, name: &'a str, root: Root<'a>) {
        match self.roots.iter_mut().find(|(known, _)| *known == name) {
            Some((_, place)) => *place = root,
            None => self.roots.push((name, root)),
        }
    }

    /// The host whose objects the roots are or hold.
    #[must_use]
    pub fn host(mut self, host: &'a dyn Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With `true`, an ordinary failure in a single expression is an error instead of the template's text
    /// (`strict_templates`).
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Called with the cause each time a single expression gives its own text, or a goto condition is false,
    /// because of an error.
    #[must_use]
    pub fn warn(mut self, warn: &'a dyn Fn(&TemplateError)) -> Self {
        self.warn = Some(warn);
        self
    }

    /// The roots that templates changed in place (`{{ state.l.append(1) }}`) since the last call, with their new
    /// values. Roots that are host objects are changed by the host at once and are not listed.
    pub fn take_changed(&self) -> Vec<(String, Value)> {
        self.changed.take()
    }

    pub(super) fn root(&self, name: &str) -> Option<Root<'a>> {
        self.roots.iter().find(|(known, _)| *known == name).map(|(_, root)| *root)
    }

    pub(super) fn roots(&self) -> &[(&'a str, Root<'a>)] {
        &self.roots
    }
}

impl Default for Scope<'_> {
    fn default() -> Self {
        Scope::new()
    }
}

impl fmt::Debug for Scope<'_> {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.roots.iter().map(|(name, _)| name)).finish()
    }
}
