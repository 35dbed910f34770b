//! What is wrong with an agent, and where.

use std::fmt;
use std::sync::Arc;

use crate::graph::BuildError;
use crate::host::PathStep;
use crate::template::TemplateError;
use crate::value::{Map, Value};
use crate::yaml::{Document, Mark, YamlError};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The agent cannot be loaded.
    Error,
    /// It loads, but does perhaps not what was meant.
    Warning,
}

/// Where in an agent something is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// The file, if the agent was read from one.
    pub file: Option<Arc<str>>,
    /// Line and column in it; 0 if they are not known (an agent given as a value).
    pub mark: Mark,
    /// The way from the root of the document.
    pub path: Vec<PathStep>,
}

impl Place {
    /// The way as text: `nodes[2].goto`.
    pub fn path_text(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                PathStep::Key(key) if text.is_empty() => text.push_str(key),
                PathStep::Key(key) => {
                    text.push('.');
                    text.push_str(key);
                }
                PathStep::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    /// Finds line and column of the path.
    pub(super) fn locate(&mut self, document: Option<&Document>) {
        if let Some(document) = document
            && self.mark == Mark::default()
        {
            let (found, depth) = document.locate(&self.path);
            let key = (depth == self.path.len()).then(|| found.key_mark()).flatten();
            self.mark = key.unwrap_or_else(|| found.mark());
        }
    }
}

/// File, line, column and path, as far as they are known.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.as_deref().unwrap_or("agent"))?;
        if self.mark.line > 0 {
            write!(f, ":{}:{}", self.mark.line, self.mark.column)?;
        }
        match self.path_text() {
            path if path.is_empty() => Ok(()),
            path => write!(f, " (at {path})"),
        }
    }
}

/// One thing that is wrong with an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Python's class of the exception that the reference raises, as in `ValueError`.
    pub class: &'static str,
    /// What is wrong: the text that hosts raise.
    pub message: String,
    /// What would be right, where the message does not say it; empty otherwise.
    pub hint: String,
    /// Where it is.
    pub place: Place,
}

impl Problem {
    /// An error of class `ValueError`.
    pub(super) fn new(message: impl Into<String>) -> Box<Self> {
        Problem::of("ValueError", message)
    }

    pub(super) fn of(class: &'static str, message: impl Into<String>) -> Box<Self> {
        Box::new(Problem {
            severity: Severity::Error,
            class,
            message: message.into(),
            hint: String::new(),
            place: Place::default(),
        })
    }

    /// A required key is missing. The message is that of Python's `KeyError`.
    pub(super) fn missing(key: &str) -> Box<Self> {
        Problem::of("KeyError", format!("'{key}'")).hint(format!("the key '{key}' is required here"))
    }

    pub(super) fn warning(message: impl Into<String>) -> Box<Self> {
        let mut problem = Problem::new(message);
        problem.severity = Severity::Warning;
        problem
    }

    pub(super) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = hint.into();
        self
    }

    /// The problem lies under the key of what the caller looks at.
    pub(super) fn under(mut self: Box<Self>, key: &str) -> Box<Self> {
        self.place.path.insert(0, PathStep::Key(key.into()));
        self
    }

    /// The problem lies in the element of what the caller looks at.
    pub(super) fn item(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.place.path.insert(0, PathStep::Index(i64::try_from(index).unwrap_or(i64::MAX)));
        self
    }

    /// Place, message and hint in one line: what a user should read.
    pub fn detail(&self) -> String {
        let message = match self.class {
            "KeyError" if !self.hint.is_empty() => return format!("{}: {}", self.place, self.hint),
            _ => &self.message,
        };
        // What the YAML reader says begins with the place.
        if self.place.file.as_deref().is_some_and(|file| message.starts_with(file)) {
            return message.clone();
        }
        match self.hint.as_str() {
            "" => format!("{}: {message}", self.place),
            hint => format!("{}: {message}; {hint}", self.place),
        }
    }

    /// The problem as a map, for hosts.
    pub fn to_value(&self) -> Value {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut map = Map::new();
        let mark = self.place.mark;
        let number = |number: u32| if number > 0 { Value::Int(i64::from(number)) } else { Value::Null };
        map.insert("severity".into(), severity.into());
        map.insert("class".into(), self.class.into());
        map.insert("message".into(), self.message.as_str().into());
        map.insert("hint".into(), self.hint.as_str().into());
        map.insert("file".into(), self.place.file.as_deref().map_or(Value::Null, Value::from));
        map.insert("line".into(), number(mark.line));
        map.insert("column".into(), number(mark.column));
        map.insert("path".into(), self.place.path_text().into());
        map.insert("detail".into(), self.detail().into());
        Value::map(map)
    }
}

impl From<Box<Problem>> for Problem {
    fn from(problem: Box<Problem>) -> Self {
        *problem
    }
}

impl From<TemplateError> for Box<Problem> {
    fn from(error: TemplateError) -> Self {
        Problem::new(error.to_string())
    }
}

impl From<BuildError> for Box<Problem> {
    fn from(error: BuildError) -> Self {
        Problem::new(error.to_string())
    }
}

/// Results inside the compiler. Problems are boxed to keep the results small.
pub(super) type Checked<T> = Result<T, Box<Problem>>;

/// Adds the place while a problem travels up.
pub(super) trait Within<T> {
    /// See [`Problem::under`].
    fn under(self, key: &str) -> Checked<T>;
}

impl<T> Within<T> for Checked<T> {
    fn under(self, key: &str) -> Checked<T> {
        self.map_err(|problem| problem.under(key))
    }
}

/// Why an agent could not be loaded: its first problem. `Display` is the message as the reference words it;
/// [`AgentError::detail`] has the place, too.
#[derive(Debug, Clone)]
pub struct AgentError {
    /// Python's class of the exception, as in `ValueError`, `FileNotFoundError`, `ScannerError`.
    pub class: String,
    /// What is wrong.
    pub problem: Box<Problem>,
}

impl AgentError {
    /// Place, message and hint in one line.
    pub fn detail(&self) -> String {
        self.problem.detail()
    }

    pub(super) fn yaml(error: &YamlError, file: Option<&Arc<str>>) -> Self {
        let mut problem = Problem::new("");
        problem.place = Place { file: file.cloned(), mark: error.mark, path: Vec::new() };
        // The error already says where it is; in a file the file's name goes before that.
        problem.message = match file {
            Some(file) if error.file.is_none() => error.clone().in_file(Arc::clone(file)).to_string(),
            _ => error.to_string(),
        };
        AgentError { class: format!("{:?}Error", error.kind), problem }
    }

    pub(super) fn unreadable(path: &str, error: &std::io::Error) -> Self {
        let mut problem = Problem::new("");
        let class = match error.kind() {
            std::io::ErrorKind::NotFound => {
                problem.message = format!("[Errno 2] No such file or directory: '{path}'");
                "FileNotFoundError"
            }
            _ => {
                problem.message = format!("cannot read '{path}': {error}");
                "OSError"
            }
        };
        problem.place.file = Some(path.into());
        AgentError { class: class.to_owned(), problem }
    }
}

impl From<Problem> for AgentError {
    fn from(problem: Problem) -> Self {
        AgentError { class: problem.class.to_owned(), problem: Box::new(problem) }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for AgentError {}
