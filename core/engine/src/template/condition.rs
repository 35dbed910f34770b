//! Conditions: expressions that are true or false, in the two dialects of agents.

use super::error::{TemplateError, TemplateErrorKind};
use super::eval::Renderer;
use super::eval::val::Val;
use super::jinja::{self, Jinja, Template};
use super::scope::Scope;
use super::{TemplateEngine, eval};
use crate::template::parse::ast::{Path, Step};
use crate::value::Value;

/// Where a condition stands decides how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Conditions of edges and loops: Python's truth of the value; a bare name is a key of the state.
    Edge,
    /// Rules of `goto`: the text of the result decides; errors make it false.
    Goto,
}

/// A compiled condition. Can be shared between threads.
#[derive(Debug)]
pub struct Condition {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Constant(bool),
    /// The truth of a key of the state, or its opposite.
    Key {
        path: Path,
        negated: bool,
    },
    Value(Template),
    Goto(Result<Template, TemplateError>),
}

impl Condition {
    /// Compiles the text of a condition. In [`Dialect::Goto`] a text that is not valid compiles too: its
    /// evaluation warns and is false.
    pub fn compile(text: &str, dialect: Dialect) -> Result<Condition, TemplateError> {
        let form = match dialect {
            Dialect::Goto => {
                let stripped = text.trim();
                let template = if stripped.starts_with("{{") || stripped.starts_with("{%") {
                    jinja::compile_text(text)
                } else {
                    jinja::compile_text(&format!("{{{{ {text} }}}}"))
                };
                Form::Goto(template)
            }
            Dialect::Edge => edge(text.trim())?,
        };
        Ok(Condition { form })
    }

    /// Why the text of a goto rule is no expression; `None` for a valid one and in the other dialect, where
    /// [`Condition::compile`] says it.
    pub fn invalid(&self) -> Option<&TemplateError> {
        match &self.form {
            Form::Goto(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// A condition that is a value instead of a text: its truth.
    pub fn constant(value: &Value) -> Condition {
        Condition { form: Form::Constant(value.is_truthy()) }
    }

    /// Evaluates the condition. In [`Dialect::Goto`] this never fails.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<bool, TemplateError> {
        match &self.form {
            Form::Constant(value) => Ok(*value),
            Form::Key { path, negated } => {
                let paths = std::slice::from_ref(path);
                let mut renderer = Renderer::new(scope, paths, &[]);
                let truth = renderer.key_truth(path).map_err(|fail| TemplateError {
                    kind: TemplateErrorKind::Failure(fail.class.unwrap_or("TypeError".into())),
                    reason: fail.message,
                    expression: None,
                    snippet: None,
                    line: 1,
                    column: 1,
                })?;
                Ok(truth != *negated)
            }
            Form::Value(template) => {
                let value = Jinja.render(template, scope)?;
                eval::value_truth(scope, &value)
            }
            Form::Goto(template) => {
                let rendered = match template {
                    Ok(template) => Jinja.render_text(template, scope),
                    Err(error) => Err(error.clone()),
                };
                match rendered {
                    Ok(text) => {
                        let text = text.trim().to_lowercase();
                        Ok(!matches!(text.as_str(), "" | "false" | "0" | "no" | "none"))
                    }
                    Err(error) => {
                        if let Some(warn) = scope.warn {
                            warn(&error);
                        }
                        Ok(false)
                    }
                }
            }
        }
    }
}

fn edge(text: &str) -> Result<Form, TemplateError> {
    match text {
        "True" => return Ok(Form::Constant(true)),
        "False" => return Ok(Form::Constant(false)),
        _ => {}
    }
    let key = |name: &str, negated: bool| {
        let path = Path {
            root: "state".into(),
            steps: vec![Step::Get(Value::from(name))],
            hosted: usize::from(!name.starts_with('_') && !super::methods::is_map_method(name)),
            id: 0,
        };
        Form::Key { path, negated }
    };
    if let Some(name) = text.strip_prefix('!').map(str::trim)
        && is_identifier(name)
    {
        return Ok(key(name, true));
    }
    if is_identifier(text) {
        return Ok(key(text, false));
    }
    let template = if text.contains("{{") || text.contains("{%") {
        Jinja.compile(text)?
    } else {
        Jinja.compile(&format!("{{{{ {text} }}}}"))?
    };
    Ok(Form::Value(template))
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

impl Renderer<'_> {
    /// The truth of the entry that the path leads to; a missing one is false.
    fn key_truth(&mut self, path: &Path) -> eval::val::R<bool> {
        let value = self.path_or(path, &Value::Bool(false))?;
        match value {
            Val::Undef(_) => Ok(false),
            value => self.truth(&value),
        }
    }
}
