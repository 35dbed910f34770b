//! The engine: what a text is (a single expression, a template, or neither), and how it is rendered.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::{TemplateError, TemplateErrorKind, position};
use super::eval::Renderer;
use super::eval::val::Fail;
use super::methods::text::is_space;
use super::parse::ast::{Expr, Path, Span};
use super::parse::{self, SyntaxError, Tree};
use super::scope::{Root, Scope};
use super::{TemplateEngine, eval};
use crate::value::Value;

/// Jinja2 as the reference configures it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jinja;

/// A compiled text. Can be shared between threads.
#[derive(Debug)]
pub struct Template {
    source: Arc<str>,
    pub(super) form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    /// No construct at all.
    Literal,
    /// One expression, whose value is the result.
    Expression { inner: Arc<str>, expr: Box<Expr>, paths: Vec<Path> },
    /// Anything else: rendered to text.
    Text(Box<Tree>),
}

impl Template {
    /// The text as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether rendering gives the value of one expression instead of a text.
    pub fn is_expression(&self) -> bool {
        matches!(self.form, Form::Expression { .. })
    }

    /// Whether the text holds no construct: it renders to itself.
    pub fn is_literal(&self) -> bool {
        matches!(self.form, Form::Literal)
    }

    /// The key under which the reference caches it: `expr:` with the expression, or `tmpl:` with the text.
    pub fn cache_key(&self) -> String {
        match &self.form {
            Form::Expression { inner, .. } => format!("expr:{inner}"),
            _ => format!("tmpl:{}", self.source),
        }
    }
}

/// The inside of a text that is a single expression in braces: no other braces of that kind, no statement.
pub(super) fn single_expression(text: &str) -> Option<&str> {
    let inner = text.trim_matches(is_space).strip_prefix("{{")?.strip_suffix("}}")?;
    // The inside may hold single closing braces, but not as its last character, where three would stand.
    let closes = inner.contains("}}") || inner.starts_with('}') || inner.ends_with('}');
    if inner.is_empty() || closes || inner.contains("{{") || text.contains("{%") {
        return None;
    }
    Some(inner.trim_matches(is_space))
}

/// All line ends as `\n`.
fn normalised(source: &str) -> Cow<'_, str> {
    if source.contains('\r') {
        Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(source)
    }
}

fn syntax_error(source: &str, expression: Option<&str>, error: SyntaxError) -> TemplateError {
    let (line, column) = position(source, error.at);
    TemplateError {
        kind: TemplateErrorKind::Syntax,
        reason: error.message,
        expression: expression.map(str::to_owned),
        snippet: expression.is_none().then(|| snippet(source, error.at)).flatten(),
        line,
        column,
    }
}

/// The line of a source around an offset, shortened.
fn snippet(source: &str, at: usize) -> Option<String> {
    let before = source.get(..at.min(source.len()))?;
    let start = before.rfind('\n').map_or(0, |line| line + 1);
    let line = source.get(start..)?.lines().next()?;
    Some(shortened(line))
}

fn shortened(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Compiles an expression without braces.
pub(super) fn compile_expression(source: &str, inner: &str) -> Result<Template, TemplateError> {
    let clean = normalised(inner);
    let (expr, paths) =
        parse::expression(&clean).map_err(|error| syntax_error(&clean, Some(inner), error))?;
    let form = Form::Expression { inner: inner.into(), expr: Box::new(expr), paths };
    Ok(Template { source: source.into(), form })
}

/// Compiles a text that is rendered to a text, whatever it looks like.
pub(super) fn compile_text(source: &str) -> Result<Template, TemplateError> {
    let clean = normalised(source);
    let tree = parse::template(&clean).map_err(|error| syntax_error(&clean, None, error))?;
    Ok(Template { source: source.into(), form: Form::Text(Box::new(tree)) })
}

impl Jinja {
    /// Compiles a source that is rendered to a text also where it is a single expression.
    pub fn compile_text(&self, source: &str) -> Result<Template, TemplateError> {
        compile_text(source)
    }
}

impl TemplateEngine for Jinja {
    type Template = Template;

    fn compile(&self, source: &str) -> Result<Template, TemplateError> {
        if let Some(inner) = single_expression(source) {
            return compile_expression(source, inner);
        }
        if !["{{", "{%", "${"].iter().any(|mark| source.contains(mark)) {
            return Ok(Template { source: source.into(), form: Form::Literal });
        }
        compile_text(source)
    }

    fn render(&self, template: &Template, scope: &Scope<'_>) -> Result<Value, TemplateError> {
        match &template.form {
            Form::Literal => Ok(Value::Str(Arc::clone(&template.source))),
            Form::Text(_) => self.render_text(template, scope).map(Value::from),
            Form::Expression { inner, expr, paths } => {
                let mut renderer = Renderer::new(scope, paths, &[]);
                match renderer.expression(expr) {
                    Ok(value) => Ok(value),
                    Err(fail) => {
                        let error = expression_error(*fail, inner, scope);
                        if scope.strict || !error.is_failure() {
                            return Err(error);
                        }
                        if let Some(warn) = scope.warn {
                            warn(&error);
                        }
                        Ok(Value::Str(Arc::clone(&template.source)))
                    }
                }
            }
        }
    }

    fn render_text(&self, template: &Template, scope: &Scope<'_>) -> Result<String, TemplateError> {
        match &template.form {
            Form::Literal => Ok(template.source.to_string()),
            Form::Expression { .. } => self.render(template, scope).map(|value| eval::value_text(&value)),
            Form::Text(tree) => {
                let mut renderer = Renderer::new(scope, &tree.paths, &tree.blocks);
                match renderer.template(&tree.body) {
                    Ok(text) => Ok(text),
                    Err(fail) => Err(text_error(*fail, &template.source, renderer.span, scope)),
                }
            }
        }
    }
}

fn kind(fail: &mut Fail) -> TemplateErrorKind {
    match fail.class.take() {
        Some(class) => TemplateErrorKind::Failure(class),
        None => TemplateErrorKind::Template,
    }
}

fn expression_error(mut fail: Fail, inner: &str, scope: &Scope<'_>) -> TemplateError {
    TemplateError {
        kind: kind(&mut fail),
        reason: redacted(fail.message, scope),
        expression: Some(inner.to_owned()),
        snippet: None,
        line: 1,
        column: 1,
    }
}

fn text_error(mut fail: Fail, source: &str, span: Span, scope: &Scope<'_>) -> TemplateError {
    let clean = normalised(source);
    let (begin, end) = (span.0 as usize, (span.1 as usize).min(clean.len()));
    let (line, column) = position(&clean, begin);
    let construct = clean.get(begin..end).map(|text| {
        // The span ends at the closing delimiter.
        let close = clean.get(end..).unwrap_or_default();
        let close = ["}}", "-}}", "%}", "-%}", "+%}"].iter().find(|mark| close.starts_with(**mark));
        shortened(&format!("{text}{}", close.copied().unwrap_or_default()))
    });
    TemplateError {
        kind: kind(&mut fail),
        reason: redacted(fail.message, scope),
        expression: None,
        snippet: construct.filter(|text| !text.is_empty()),
        line,
        column,
    }
}

/// The message without values of the root `secrets`.
fn redacted(mut message: String, scope: &Scope<'_>) -> String {
    let exported;
    let secrets = match scope.root("secrets") {
        Some(Root::Map(map)) => {
            for value in map.values() {
                redact(&mut message, value, 0);
            }
            return message;
        }
        Some(Root::Value(value) | Root::Plain(value)) => value,
        Some(Root::Host(object)) => match scope.host.map(|host| host.export(object.id())) {
            Some(Ok(value)) => {
                exported = value;
                &exported
            }
            _ => return "the reason is withheld because it may show a secret".to_owned(),
        },
        _ => return message,
    };
    redact(&mut message, secrets, 0);
    message
}

/// A text without the values of a map of secrets: texts of at least three characters, numbers of at least four.
pub(crate) fn without_secrets(mut text: String, secrets: &Value) -> String {
    redact(&mut text, secrets, 0);
    text
}

fn redact(message: &mut String, value: &Value, depth: usize) {
    if depth > 50 {
        return;
    }
    match value {
        Value::Str(text) if text.chars().count() >= 3 => {
            let escaped = crate::value::str_repr(text);
            let escaped = escaped.get(1..escaped.len().saturating_sub(1)).unwrap_or_default();
            for shown in [&**text, escaped] {
                if message.contains(shown) {
                    *message = message.replace(shown, "***");
                }
            }
        }
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => {
            let text = crate::value::text(value);
            if text.len() >= 4 && message.contains(&text) {
                *message = message.replace(&text, "***");
            }
        }
        Value::List(items) | Value::Tuple(items) => {
            items.iter().for_each(|item| redact(message, item, depth + 1))
        }
        Value::Map(map) => map.values().for_each(|item| redact(message, item, depth + 1)),
        _ => {}
    }
}
