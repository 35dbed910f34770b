//! Lua code before it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A piece of Lua code. Clones are the same chunk; each runtime compiles it once. May be shared between threads.
#[derive(Debug, Clone)]
pub struct Chunk(Arc<Source>);

#[derive(Debug)]
struct Source {
    id: u64,
    name: String,
    text: String,
    names: Vec<&'static str>,
}

impl Chunk {
    /// Code with the local name `state`: a node's (`LU-7`).
    pub fn node(code: &str) -> Self {
        Chunk::function(code, &["state"])
    }

    /// An expression over the local `state`, or statements if it begins with the word `return` (`LU-6`).
    pub fn condition(expression: &str) -> Self {
        Chunk::build(&as_statement(expression), &["state"])
    }

    /// Code with local names of its own, also reachable as `...` in that order. The names must be valid
    /// identifiers of Lua.
    pub fn function(code: &str, names: &[&'static str]) -> Self {
        Chunk::build(code, names)
    }

    /// Code that sees globals only ([`super::Runtime::execute`]).
    pub fn script(code: &str) -> Self {
        Chunk::build(code, &[])
    }

    /// As [`Chunk::condition`], over the global `state`.
    pub fn script_condition(expression: &str) -> Self {
        Chunk::build(&as_statement(expression), &[])
    }

    /// The same code under another name; messages show it as `[string "name"]`. The default is `<python>`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let source = &self.0;
        Chunk::assemble(name.to_owned(), source.text.clone(), source.names.clone())
    }

    fn build(code: &str, names: &[&'static str]) -> Self {
        // Everything stays on the first line, so that line numbers are the user's.
        let text = if names.is_empty() {
            code.to_owned()
        } else {
            format!("local {} = ...; {code}", names.join(", "))
        };
        Chunk::assemble("<python>".to_owned(), text, names.to_vec())
    }

    fn assemble(name: String, text: String, names: Vec<&'static str>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Chunk(Arc::new(Source { id: NEXT.fetch_add(1, Ordering::Relaxed), name, text, names }))
    }

    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    pub(super) fn names(&self) -> &[&'static str] {
        &self.0.names
    }
}

fn as_statement(expression: &str) -> String {
    let expression = expression.trim();
    let rest = expression.strip_prefix("return");
    let is_return =
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c == '_' || c.is_ascii_alphanumeric()));
    if is_return { expression.to_owned() } else { format!("return {expression}") }
}

/// Whether a text without a declared language is taken for Lua: the marker `-- lua` at its start, or anywhere
/// one of the words `local`, `then`, `end`, `elseif` or two dots (`LU-32`).
pub fn detect_lua_code(code: &str) -> bool {
    has_lua_marker(code) || has_lua_words(code)
}

/// Whether a text begins with the marker `-- lua` or `--lua`.
pub fn has_lua_marker(code: &str) -> bool {
    let code = code.trim();
    code.starts_with("-- lua") || code.starts_with("--lua")
}

fn has_lua_words(code: &str) -> bool {
    code.contains("..")
        || code
            .split(|c: char| c != '_' && !c.is_alphanumeric())
            .any(|word| matches!(word, "local" | "then" | "end" | "elseif"))
}
