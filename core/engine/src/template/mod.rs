//! Templates and conditions: Jinja2 as the reference configures it, over the engine's own values.
//!
//! A source is compiled once ([`TemplateEngine::compile`]) and rendered any number of times, from any thread.
//! A template that is a single expression gives that expression's value, anything else gives a text.
//!
//! - `parse`: source to tree, static paths found on the way;
//! - `eval`: the tree run over a [`Scope`];
//! - `filters`, `tests`, `methods`: what expressions can call;
//! - [`Condition`]: the two dialects of conditions.

mod condition;
mod error;
mod eval;
mod filters;
mod format;
mod jinja;
mod methods;
mod parse;
mod scope;
mod tests;

pub use condition::{Condition, Dialect};
pub use error::{TemplateError, TemplateErrorKind};
pub(crate) use jinja::without_secrets;
pub use jinja::{Jinja, Template};
pub use scope::{Function, Limits, Root, Scope};

use crate::value::Value;

/// A template language. [`Jinja`] is the language of the reference.
pub trait TemplateEngine: Send + Sync {
    /// What a source is compiled to.
    type Template: Send + Sync;

    /// Compiles a source. A source that is not valid is an error here, except where the language says that it
    /// shows only when it is reached.
    fn compile(&self, source: &str) -> Result<Self::Template, TemplateError>;

    /// The value of a template that is a single expression, the text of any other.
    fn render(&self, template: &Self::Template, scope: &Scope<'_>) -> Result<Value, TemplateError>;

    /// The text, also of a template that is a single expression.
    fn render_text(&self, template: &Self::Template, scope: &Scope<'_>) -> Result<String, TemplateError>;
}
