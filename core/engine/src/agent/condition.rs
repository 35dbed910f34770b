//! Conditions of edges, goto rules and loops.

use std::sync::Arc;

use super::context::{Context, warn_once};
use super::params::failure_of;
use crate::host::LogLevel;
use crate::run::{Choose, Failure, Scene};
use crate::template::{Condition, Dialect, Root, TemplateError};
use crate::value::{Map, Value};

/// A condition of an edge or a loop. One that is no valid text fails when it is evaluated (`NV-20`).
#[derive(Debug)]
pub(super) struct Truth {
    condition: Result<Condition, TemplateError>,
    what: &'static str,
}

impl Truth {
    /// Compiles a text; any other value is a constant.
    pub(super) fn new(value: &Value, what: &'static str, broken: &mut dyn FnMut(&TemplateError)) -> Self {
        let condition = match value {
            Value::Str(text) => Condition::compile(text, Dialect::Edge),
            other => Ok(Condition::constant(other)),
        };
        if let Err(error) = &condition {
            broken(error);
        }
        Truth { condition, what }
    }

    pub(super) fn holds(&self, context: &Context, scene: &Scene) -> Result<bool, Failure> {
        let condition = self.condition.as_ref().map_err(failure_of)?;
        let view = context.view(scene);
        let unset = crate::map! { "dir" => "", "last" => "" };
        // CD-8: conditions never see checkpoints.
        let scope = view.scope(context, scene).with("checkpoint", Root::Value(&unset));
        let warn = |error: &TemplateError| warn_once(&scene.slots, scene, self.what, error);
        let scope = scope.warn(&warn);
        condition.evaluate(&scope).map_err(|error| failure_of(&error))
    }
}

/// The rule of an edge (`NV-17`, `NV-18`): taken if the condition is what `when` says.
#[derive(Debug)]
pub(super) struct EdgeRule {
    pub(super) context: Arc<Context>,
    pub(super) truth: Truth,
    /// The truth that takes the edge; `None`: no truth does.
    pub(super) taken_if: Option<bool>,
}

impl Choose for EdgeRule {
    fn choose(&self, scene: &Scene) -> Result<Value, Failure> {
        let truth = self.truth.holds(&self.context, scene)?;
        Ok(Value::Bool(self.taken_if == Some(truth)))
    }
}

/// The condition of a goto rule (`NV-10`).
#[derive(Debug)]
pub(super) struct Goto {
    /// The text as written.
    pub(super) text: Arc<str>,
    pub(super) condition: Condition,
}

impl Goto {
    /// Compiles the `if` of a rule: a text in the goto dialect, anything else a constant (`yaml/Q-22`).
    pub(super) fn new(value: &Value) -> Self {
        let text: Arc<str> = crate::value::text(value).into();
        let condition = match value {
            // This dialect never refuses a text: one that is not valid is false when it is evaluated.
            Value::Str(text) => {
                Condition::compile(text, Dialect::Goto).unwrap_or_else(|_| Condition::constant(&Value::Null))
            }
            other => Condition::constant(other),
        };
        Goto { text, condition }
    }

    /// What is wrong with the text, if it is no expression at all: then it never holds.
    pub(super) fn invalid(&self) -> Option<String> {
        let error = self.condition.invalid()?;
        Some(format!("The goto condition '{}' never holds: {}", self.text, error.detail()))
    }

    pub(super) fn holds(&self, context: &Context, scene: &Scene) -> bool {
        let view = context.view(scene);
        let empty = Map::new();
        let warn = |error: &TemplateError| {
            let text = &self.text;
            let record = format!("Failed to evaluate goto condition '{text}': {error}. Returning False.");
            scene.log(LogLevel::Warning, "the_edge_agent.yaml_edges", &record);
        };
        let scope = view.goto_scope(scene, &empty).warn(&warn);
        self.condition.evaluate(&scope).unwrap_or(false)
    }
}

/// The edge of one goto rule.
#[derive(Debug)]
pub(super) struct GotoRule {
    pub(super) context: Arc<Context>,
    pub(super) goto: Goto,
}

impl Choose for GotoRule {
    fn choose(&self, scene: &Scene) -> Result<Value, Failure> {
        Ok(Value::Bool(self.goto.holds(&self.context, scene)))
    }
}

/// One way out of a node among several to the same target.
#[derive(Debug)]
pub(super) enum Way {
    /// Without a condition.
    Always,
    /// By a goto rule.
    Goto(Goto),
    /// By the condition of an edge.
    Edge(Truth, Option<bool>),
    /// Because the node has failed.
    Fallback(FellBack),
}

/// All ways out of a node in the order of the document, where several of them lead to one target. An edge joins
/// two nodes only once, so each edge asks which way is taken (`yaml/Q-6`).
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) context: Arc<Context>,
    /// Number of the target and the way.
    pub(super) ways: Vec<(usize, Way)>,
}

/// The edge to one of the targets of [`Ways`].
#[derive(Debug)]
pub(super) struct OneOf {
    pub(super) ways: Arc<Ways>,
    pub(super) target: usize,
}

impl Choose for OneOf {
    fn choose(&self, scene: &Scene) -> Result<Value, Failure> {
        for (target, way) in &self.ways.ways {
            let taken = match way {
                Way::Always => true,
                Way::Goto(goto) => goto.holds(&self.ways.context, scene),
                Way::Fallback(fell_back) => fell_back.holds(scene),
                Way::Edge(truth, taken_if) => *taken_if == Some(truth.holds(&self.ways.context, scene)?),
            };
            if taken {
                return Ok(Value::Bool(*target == self.target));
            }
        }
        Ok(Value::Bool(false))
    }
}

/// The edge to the node that `on_error` names (`yaml/Q-13`): taken if the node has just failed.
#[derive(Debug)]
pub(super) struct FellBack {
    pub(super) target: Arc<str>,
}

impl FellBack {
    fn holds(&self, scene: &Scene) -> bool {
        let named = scene.update.as_map().and_then(|update| update.get("__fallback_node__"));
        named.and_then(Value::as_str) == Some(&*self.target)
    }
}

impl Choose for FellBack {
    fn choose(&self, scene: &Scene) -> Result<Value, Failure> {
        Ok(Value::Bool(self.holds(scene)))
    }
}
