//! Parameters and texts of nodes, compiled once at load.

use std::sync::Arc;

use super::context::{Context, View, warn_once};
use crate::run::{Failure, Scene};
use crate::template::{Jinja, Root, Scope, Template, TemplateEngine, TemplateError};
use crate::value::{Key, Map, Value};

/// A template of a node. A text that is no valid template fails when it is used, as in the reference, and is
/// reported as a warning at load.
#[derive(Debug)]
pub(super) struct Compiled {
    template: Result<Template, TemplateError>,
    /// Where it stands, for warnings, as in `parameter 'text'`.
    what: String,
}

/// The failure that a template error is to the node.
pub(super) fn failure_of(error: &TemplateError) -> Failure {
    Failure { class: error.class().to_owned(), text: error.to_string(), ..Failure::default() }
}

impl Compiled {
    pub(super) fn new(text: &str, what: impl Into<String>, broken: &mut dyn FnMut(&TemplateError)) -> Self {
        let template = Jinja.compile(text);
        if let Err(error) = &template {
            broken(error);
        }
        Compiled { template, what: what.into() }
    }

    /// The value in a scope made of the view.
    fn render_in(&self, scope: Scope<'_>, context: &Context, scene: &Scene) -> Result<Value, Failure> {
        let template = self.template.as_ref().map_err(failure_of)?;
        let warn = |error: &TemplateError| warn_once(&scene.slots, scene, &self.what, error);
        let scope = scope.warn(&warn);
        let value = Jinja.render(template, &scope).map_err(|error| failure_of(&error));
        View::keep_changes(&scope, context, scene);
        value
    }

    /// As [`Compiled::render`]; a failure is an error also where the text would be the value.
    pub(super) fn render_strict(&self, context: &Context, scene: &Scene) -> Result<Value, Failure> {
        let view = context.view(scene);
        self.render_in(view.scope(context, scene).strict(true), context, scene)
    }

    /// The value, over the state of the scene.
    pub(super) fn render(&self, context: &Context, scene: &Scene) -> Result<Value, Failure> {
        let view = context.view(scene);
        self.render_in(view.scope(context, scene), context, scene)
    }
}

/// A parameter, or a part of one.
#[derive(Debug)]
pub(super) enum Param {
    /// Nothing to render in it.
    Fixed(Value),
    Template(Box<Compiled>),
    Map(Vec<(Key, Param)>),
    List(Vec<Param>),
}

impl Param {
    /// Compiles a value: texts at any depth (`AC-2`; lists in lists too, `actions/Q-7`).
    pub(super) fn compile(value: &Value, what: &str, broken: &mut dyn FnMut(&TemplateError)) -> Param {
        match value {
            Value::Str(text) => match Compiled::new(text, what, broken) {
                Compiled { template: Ok(template), .. } if template.is_literal() => {
                    Param::Fixed(value.clone())
                }
                compiled => Param::Template(Box::new(compiled)),
            },
            Value::Map(map) => {
                let entries: Vec<_> = map
                    .iter()
                    .map(|(key, value)| (key.clone(), Param::compile(value, what, broken)))
                    .collect();
                if entries.iter().all(|(_, param)| matches!(param, Param::Fixed(_))) {
                    return Param::Fixed(value.clone());
                }
                Param::Map(entries)
            }
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(|item| Param::compile(item, what, broken)).collect();
                if items.iter().all(|param| matches!(param, Param::Fixed(_))) {
                    return Param::Fixed(value.clone());
                }
                Param::List(items)
            }
            other => Param::Fixed(other.clone()),
        }
    }

    fn render(&self, scope: &dyn Render) -> Result<Value, Failure> {
        match self {
            Param::Fixed(value) => Ok(value.clone()),
            Param::Template(template) => scope.render(template),
            Param::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, param) in entries {
                    map.insert(key.clone(), param.render(scope)?);
                }
                Ok(Value::map(map))
            }
            Param::List(items) => {
                let items = items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>()?;
                Ok(Value::list(items))
            }
        }
    }
}

trait Render {
    fn render(&self, template: &Compiled) -> Result<Value, Failure>;
}

/// Renders against one view; what a template changes in place shows in the next one only through the state.
struct Over<'a> {
    view: &'a View,
    context: &'a Context,
    scene: &'a Scene,
    result: Option<&'a Value>,
}

impl Render for Over<'_> {
    fn render(&self, template: &Compiled) -> Result<Value, Failure> {
        let mut scope = self.view.scope(self.context, self.scene);
        if let Some(result) = self.result {
            scope.set(
                "result",
                match result {
                    Value::Map(map) => Root::Map(map),
                    Value::Host(object) => Root::Host(object),
                    other => Root::Value(other),
                },
            );
        }
        template.render_in(scope, self.context, self.scene)
    }
}

/// The parameters of a node by name.
#[derive(Debug)]
pub(super) struct Params {
    entries: Vec<(Key, Param)>,
    /// All of them, if there is nothing to render.
    fixed: Option<Arc<Map>>,
}

impl Params {
    /// Compiles `with`. The parameters in `raw` go to the action as they are (`yaml/Q-15`).
    pub(super) fn compile(with: &Map, raw: &[String], broken: &mut dyn FnMut(&TemplateError)) -> Params {
        let entries: Vec<_> = with
            .iter()
            .map(|(key, value)| {
                let name = crate::value::text(key.value());
                let param = if raw.contains(&name) {
                    Param::Fixed(value.clone())
                } else {
                    Param::compile(value, &format!("parameter '{name}'"), broken)
                };
                (key.clone(), param)
            })
            .collect();
        let fixed = entries.iter().all(|(_, param)| matches!(param, Param::Fixed(_)));
        Params { fixed: fixed.then(|| Arc::new(with.clone())), entries }
    }

    /// No parameters.
    pub(super) fn none() -> Params {
        Params { entries: Vec::new(), fixed: Some(Arc::default()) }
    }

    /// Compiles a map whose texts are templates and whose other values stay as they are (`PAR-133`).
    pub(super) fn shallow(map: &Map, broken: &mut dyn FnMut(&TemplateError)) -> Params {
        let entries = map
            .iter()
            .map(|(key, value)| {
                let what = format!("input '{}'", crate::value::text(key.value()));
                let param = match value {
                    Value::Str(_) => Param::compile(value, &what, broken),
                    other => Param::Fixed(other.clone()),
                };
                (key.clone(), param)
            })
            .collect();
        Params { entries, fixed: None }
    }

    /// The parameters over the state of the scene.
    pub(super) fn render(&self, context: &Context, scene: &Scene) -> Result<Arc<Map>, Failure> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        let view = context.view(scene);
        let over = Over { view: &view, context, scene, result: None };
        let mut map = Map::with_capacity(self.entries.len());
        for (key, param) in &self.entries {
            map.insert(key.clone(), param.render(&over)?);
        }
        Ok(Arc::new(map))
    }
}

/// What becomes of the result of an action (`AC-5`).
#[derive(Debug)]
pub(super) enum Output {
    /// A map as it is, anything else under `result`.
    Whole,
    /// The result under this key.
    Key(Key),
    /// Each entry on its own: texts are rendered with `result` in scope, other values copied.
    Entries(Vec<(Key, Param)>),
}

impl Output {
    /// Compiles `output`, or `output_key` where there is no `output`.
    pub(super) fn compile(node: &Map, broken: &mut dyn FnMut(&TemplateError)) -> Output {
        let output = if node.contains_key("output") { node.get("output") } else { node.get("output_key") };
        match output {
            Some(Value::Str(key)) => Output::Key(Key::from(Arc::clone(key))),
            Some(Value::Map(map)) => Output::Entries(
                map.iter()
                    .map(|(key, value)| {
                        let what = format!("output '{}'", crate::value::text(key.value()));
                        let param = match value {
                            Value::Str(_) => Param::compile(value, &what, broken),
                            other => Param::Fixed(other.clone()),
                        };
                        (key.clone(), param)
                    })
                    .collect(),
            ),
            _ => Output::Whole,
        }
    }

    /// The update of the state.
    pub(super) fn shape(&self, result: Value, context: &Context, scene: &Scene) -> Result<Value, Failure> {
        match self {
            Output::Whole => Ok(result),
            Output::Key(key) => {
                let mut map = Map::with_capacity(1);
                map.insert(key.clone(), result);
                Ok(Value::map(map))
            }
            Output::Entries(entries) => {
                let view = context.view(scene);
                let over = Over { view: &view, context, scene, result: Some(&result) };
                let mut map = Map::with_capacity(entries.len());
                for (key, param) in entries {
                    let value = match param {
                        Param::Fixed(value) => value.clone(),
                        other => match other.render(&over)? {
                            Value::Null => Value::from(""),
                            value => value,
                        },
                    };
                    map.insert(key.clone(), value);
                }
                Ok(Value::map(map))
            }
        }
    }
}
