//! Nodes: from the map in the document to the work they do.

use std::sync::Arc;

use super::condition::Truth;
use super::keys;
use super::load::Loader;
use super::parallel::{Branch, Fan, Form, Source};
use super::params::{Compiled, Output, Param, Params};
use super::policy::Policy;
use super::problem::{Checked, Problem};
use super::program::{ActionCall, Code, Exec, Expression, Guard, Kind, Language, Loop};
use super::subgraph::Subgraph;
use crate::host::When;
use crate::lua::{Chunk, detect_lua_code, has_lua_marker};
use crate::template::TemplateError;
use crate::value::{Key, Map, Value, repr, text};

/// A node as the rest of the compiler sees it.
pub(super) struct NodePlan {
    pub(super) name: Arc<str>,
    pub(super) kind: Option<Kind>,
    pub(super) guard: Option<Guard>,
    pub(super) fan_in: bool,
    pub(super) interrupt: Option<When>,
}

/// The value under a key, unless it is null.
pub(super) fn given<'a>(map: &'a Map, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| **value != Value::Null)
}

fn positive(value: &Value) -> bool {
    matches!(value, Value::Bool(true)) || matches!(value, Value::Int(number) if *number >= 1)
}

impl Loader<'_> {
    /// The name of a node (`ND-1`).
    pub(super) fn node_name(&self, node: &Value) -> Checked<Arc<str>> {
        let Value::Map(map) = node else {
            return Err(Problem::of(
                "TypeError",
                format!("a node is a map with a name, not {}", node.type_name()),
            ));
        };
        match map.get("name") {
            None => Err(Problem::missing("name").hint("every node needs the key 'name'")),
            Some(Value::Null) => {
                Err(Problem::new("the name of a node is null; a text is expected").under("name"))
            }
            Some(Value::Str(name)) => Ok(Arc::clone(name)),
            Some(other) => Ok(text(other).into()),
        }
    }

    /// Compiles a node.
    pub(super) fn node(&mut self, map: &Map, name: &Arc<str>) -> Checked<NodePlan> {
        self.spelling(map, keys::NODE);
        let (kind, plain) = self.kind(map, name)?;
        // EH-20: only ordinary nodes; the global section reaches the others too if it says so.
        let policy: Option<Policy> = match map.get("on_error") {
            Some(own) if plain => {
                self.known_keys(own, "on_error", keys::ERRORS);
                let global = self.policy.clone();
                Some(self.key("on_error", |_| global.of_node(own))?)
            }
            _ if self.apply_to_all => Some(self.policy.clone()),
            _ => None,
        };
        let guard = policy.map(|policy| Guard {
            policy,
            action: given(map, "uses").and_then(Value::as_str).map(Arc::from),
        });
        let interrupt = match map.get("interrupt").and_then(Value::as_str) {
            Some("before") => Some(When::Before),
            Some("after") => Some(When::After),
            _ => None,
        };
        let fan_in = map.get("fan_in").is_some_and(Value::is_truthy);
        Ok(NodePlan { name: Arc::clone(name), kind, guard, fan_in, interrupt })
    }

    /// What the node does (`ND-12`, then `ND-11`), and whether it is an ordinary node.
    fn kind(&mut self, map: &Map, name: &Arc<str>) -> Checked<(Option<Kind>, bool)> {
        match map.get("type").and_then(Value::as_str) {
            Some("while_loop") => return Ok((Some(Kind::Loop(self.while_loop(map, name)?)), false)),
            Some("dynamic_parallel") => {
                return Ok((Some(Kind::Fan(self.dynamic_parallel(map, name)?)), false));
            }
            _ => {}
        }
        if let Some(Value::Map(strategy)) = map.get("strategy")
            && let Some(matrix) = strategy.get("matrix")
        {
            return Ok((Some(Kind::Fan(self.matrix(map, name, strategy, matrix)?)), false));
        }
        if map.contains_key("parallel_each") {
            return Ok((Some(Kind::Fan(self.parallel_each(map, name)?)), false));
        }
        Ok((self.exec(map, name)?.map(Kind::Once), true))
    }

    /// One piece of work, chosen by the keys of the entry; `None` if it does nothing.
    fn exec(&mut self, map: &Map, name: &Arc<str>) -> Checked<Option<Exec>> {
        match map.get("run") {
            Some(Value::Map(run)) => {
                let code = |key: &str| match run.get(key) {
                    None => Ok(Arc::<str>::from("")),
                    Some(Value::Str(code)) => Ok(Arc::clone(code)),
                    Some(other) => Err(Problem::new(format!(
                        "Node '{name}': the code of 'run' is a text, not {}",
                        other.type_name()
                    ))
                    .under(key)),
                };
                match run.get("type").and_then(Value::as_str) {
                    Some("lua") => {
                        let code = self.key("run", |_| code("code"))?;
                        return Ok(Some(self.lua(&code)));
                    }
                    Some("prolog") => {
                        let code = self.key("run", |_| code("code"))?;
                        return Ok(Some(self.hosted("prolog", &code)));
                    }
                    Some("expression") => return self.key("run", |loader| loader.expression(run)).map(Some),
                    _ => {}
                }
            }
            Some(Value::Str(code)) => return Ok(Some(self.code(map, name, "run", code))),
            _ => {}
        }
        match map.get("script") {
            None => {}
            Some(Value::Str(code)) => return Ok(Some(self.code(map, name, "script", code))),
            Some(other) => {
                let problem =
                    format!("Node '{name}': 'script' is a text with code, not {}", other.type_name());
                return Err(Problem::new(problem).under("script"));
            }
        }
        match map.get("uses") {
            None => {}
            Some(Value::Str(action)) => return self.action(map, name, action).map(Some),
            Some(other) => {
                let problem =
                    format!("Node '{name}': 'uses' is the name of an action, not {}", other.type_name());
                return Err(Problem::new(problem).under("uses"));
            }
        }
        match map.get("steps") {
            None => Ok(None),
            Some(steps) => {
                self.key("steps", |loader| loader.steps(steps, name)).map(|steps| Some(Exec::Steps(steps)))
            }
        }
    }

    fn steps(&mut self, steps: &Value, name: &Arc<str>) -> Checked<Vec<Exec>> {
        let entries = match steps {
            Value::List(entries) => entries,
            Value::Map(map) if map.is_empty() => return Ok(Vec::new()),
            other => {
                let problem = format!("Node '{name}': 'steps' is a list of steps, not {}", other.type_name());
                return Err(Problem::new(problem));
            }
        };
        let mut compiled = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let step = self.element(index, |loader| match entry {
                Value::Map(map) => loader.exec(map, name),
                other => {
                    let problem = format!("Node '{name}': a step is a map, not {}", other.type_name());
                    Err(Problem::new(problem))
                }
            })?;
            compiled.extend(step);
        }
        Ok(compiled)
    }

    /// Inline code, in the language of the entry or the one it looks like (`ND-10`, `LU-31`).
    fn code(&mut self, map: &Map, name: &Arc<str>, key: &str, code: &Arc<str>) -> Exec {
        match given(map, "language") {
            Some(Value::Str(language)) if **language == *"lua" => self.lua(code),
            Some(Value::Str(language)) if **language == *"prolog" => self.hosted("prolog", code),
            Some(_) => self.hosted_under(key, "python", code),
            None if self.options.lua_enabled && detect_lua_code(code) => {
                if !has_lua_marker(code) {
                    let text = format!(
                        "Node '{name}': the code is taken for Lua because of a word in it; say which it is by \
                         'language: lua' or 'language: python'"
                    );
                    self.warn(Problem::warning(text).under(key));
                }
                self.lua(code)
            }
            None => self.hosted_under(key, "python", code),
        }
    }

    fn lua(&mut self, code: &str) -> Exec {
        Exec::Code(Code { language: Language::Lua(Chunk::node(code)) })
    }

    /// Code that the host runs as it is.
    fn hosted(&mut self, language: &str, code: &Arc<str>) -> Exec {
        Exec::Code(Code { language: Language::Raw(language.into(), Arc::clone(code)) })
    }

    /// Code that the host runs once its templates are rendered.
    fn hosted_under(&mut self, key: &str, language: &str, code: &str) -> Exec {
        let template = self.compiled(key, code, "code");
        Exec::Code(Code { language: Language::Host(language.into(), template) })
    }

    fn expression(&mut self, run: &Map) -> Checked<Exec> {
        let source = match run.get("value") {
            None => return Err(Problem::missing("value")),
            Some(Value::Str(source)) => Arc::clone(source),
            Some(other) => text(other).into(),
        };
        let key = match given(run, "output_key") {
            None => Key::from("result"),
            Some(key) => Key::new(key.clone()).map_err(|_| {
                Problem::new("output_key is the name of a key of the state").under("output_key")
            })?,
        };
        let template = self.compiled("value", &source, "expression");
        // Only read by hosts without Python: an expression that is Python alone fails there when it runs.
        let own = Compiled::new(&own_expression(&source), "expression", &mut |_| {});
        Ok(Exec::Expression(Expression { source, template, own, key }))
    }

    fn compiled(&mut self, key: &str, source: &str, what: &str) -> Compiled {
        let mut broken = Vec::new();
        let compiled = Compiled::new(source, what, &mut |error: &TemplateError| broken.push(error.clone()));
        self.broken(&broken, key);
        compiled
    }

    fn action(&mut self, map: &Map, name: &Arc<str>, action: &Arc<str>) -> Checked<Exec> {
        let mut broken = Vec::new();
        let raw = self.raw_parameters(action);
        let params = match map.get("with") {
            None => Ok(Params::none()),
            Some(Value::Map(with)) => {
                if with.contains_key("state") {
                    // AC-12: the action could not tell it from the state that it is called with.
                    let problem = format!("Node '{name}': 'with' must not contain 'state'");
                    return Err(Problem::new(problem).under("state").under("with"));
                }
                let mut note = |error: &TemplateError| broken.push(error.clone());
                Ok(Params::compile(with, &raw, &mut note))
            }
            Some(other) => {
                let problem = format!("'with' is a map of parameters, not {}", other.type_name());
                self.warn(Problem::warning(format!("Node '{name}': {problem}")).under("with"));
                Err(problem)
            }
        };
        self.broken(&broken, "with");
        broken.clear();
        let output = Output::compile(map, &mut |error: &TemplateError| broken.push(error.clone()));
        self.broken(&broken, "output");
        self.uses(action);
        Ok(Exec::Action(ActionCall::new(Arc::clone(action), params, output)))
    }

    fn while_loop(&mut self, map: &Map, name: &Arc<str>) -> Checked<Loop> {
        let Some(condition) = map.get("condition").filter(|condition| condition.is_truthy()) else {
            return Err(Problem::new(format!("while_loop node '{name}' requires 'condition'")));
        };
        let limit = match given(map, "max_iterations") {
            None => return Err(Problem::new(format!("while_loop node '{name}' requires 'max_iterations'"))),
            Some(Value::Int(limit @ 1..=1000)) => *limit as u32,
            Some(Value::Bool(true)) => 1,
            Some(other) => {
                let problem = format!(
                    "while_loop node '{name}': max_iterations must be integer between 1-1000, got {}",
                    text(other)
                );
                return Err(Problem::new(problem).under("max_iterations"));
            }
        };
        let no_body =
            || Problem::new(format!("while_loop node '{name}' requires 'body' with at least one node"));
        let entries = match map.get("body") {
            Some(Value::List(entries)) if !entries.is_empty() => entries,
            Some(_) => return Err(no_body().under("body")),
            None => return Err(no_body()),
        };
        for (index, entry) in entries.iter().enumerate() {
            let Value::Map(entry) = entry else { return Err(no_body().item(index).under("body")) };
            if entry.get("type").and_then(Value::as_str) == Some("while_loop") {
                let inner = entry.get("name").map_or_else(|| "unnamed".to_owned(), text);
                let problem = format!(
                    "Nested while-loops not supported: '{name}' contains nested while_loop '{inner}'"
                );
                return Err(Problem::new(problem).item(index).under("body"));
            }
        }
        let mut body = Vec::new();
        self.key("body", |loader| {
            for (index, entry) in entries.iter().enumerate() {
                let Value::Map(entry) = entry else { continue };
                let compiled = loader.element(index, |loader| {
                    loader.spelling(entry, keys::NODE);
                    loader.exec(entry, name)
                })?;
                if let Some(exec) = compiled {
                    let label = entry.get("name").map_or_else(|| format!("body_{}", body.len()), text);
                    body.push((label, exec));
                }
            }
            Ok(())
        })?;
        let mut broken = Vec::new();
        let condition =
            Truth::new(condition, "loop condition", &mut |error: &TemplateError| broken.push(error.clone()));
        self.broken(&broken, "condition");
        Ok(Loop { name: Arc::clone(name), condition, limit, body })
    }

    /// `PAR-123` to `PAR-125`.
    fn dynamic_parallel(&mut self, map: &Map, name: &Arc<str>) -> Checked<Fan> {
        let prefix = format!("dynamic_parallel node '{name}'");
        let Some(items) = map.get("items").filter(|items| items.is_truthy()) else {
            return Err(Problem::new(format!("{prefix} requires 'items' expression")));
        };
        let modes: Vec<_> = ["action", "steps", "subgraph"]
            .into_iter()
            .filter_map(|key| Some((key, given(map, key)?)))
            .collect();
        let [(mode, work)] = modes.as_slice() else {
            return Err(Problem::new(format!("{prefix} requires exactly one of: action, steps, subgraph")));
        };
        self.needs_fan_in(map, &prefix)?;
        let nested = map.get("parallel_config").and_then(Value::as_map);
        let limit = map
            .get("max_concurrency")
            .filter(|limit| limit.is_truthy())
            .or_else(|| nested.and_then(|nested| given(nested, "max_concurrency")));
        if let Some(limit) = limit.filter(|limit| !positive(limit)) {
            let problem = format!("{prefix}: max_concurrency must be positive integer, got {}", text(limit));
            return Err(Problem::new(problem));
        }
        let fail_fast = map.get("fail_fast").or_else(|| nested.and_then(|nested| nested.get("fail_fast")));
        let work = match *mode {
            "action" => {
                let requires =
                    || Problem::new(format!("{prefix} action requires 'uses' field")).under("action");
                let Value::Map(action) = work else { return Err(requires()) };
                let Some(Value::Str(uses)) = action.get("uses").filter(|uses| uses.is_truthy()) else {
                    return Err(requires());
                };
                Branch::Exec(self.key("action", |loader| loader.action(action, name, uses))?)
            }
            "steps" => Branch::Exec(Exec::Steps(self.key("steps", |loader| loader.steps(work, name))?)),
            _ => {
                let path = text(work);
                let file = self.relative(&path);
                let input = match given(map, "input") {
                    Some(Value::Map(input)) => input.clone(),
                    _ => Arc::default(),
                };
                let mut broken = Vec::new();
                let input = Params::shallow(&input, &mut |error: &TemplateError| broken.push(error.clone()));
                self.broken(&broken, "input");
                let subgraph = Subgraph::new(path, file, self.shared_options(), self.level + 1);
                Branch::Subgraph(subgraph, input)
            }
        };
        let variable = |key: &str, default: &str| match given(map, key) {
            Some(name) => Key::new(name.clone()).unwrap_or_else(|_| Key::from(default)),
            None => Key::from(default),
        };
        let form =
            Form::Dynamic { item: variable("item_var", "item"), index: variable("index_var", "index") };
        let source = self.items("items", items);
        let fail_fast = fail_fast.is_some_and(Value::is_truthy);
        Ok(Fan { name: Arc::clone(name), form, source, work, fail_fast })
    }

    fn items(&mut self, key: &str, items: &Value) -> Source {
        let written = text(items);
        let items = match items {
            Value::Str(source) => Param::Template(Box::new(self.compiled(key, source, key))),
            other => Param::Fixed(other.clone()),
        };
        Source::Items { items, written }
    }

    /// `PAR-135`, `PAR-136`.
    fn matrix(&mut self, map: &Map, name: &Arc<str>, strategy: &Map, matrix: &Value) -> Checked<Fan> {
        let prefix = format!("Matrix strategy node '{name}'");
        let matrix = match matrix {
            Value::Map(matrix) if !matrix.is_empty() => matrix,
            _ => {
                let problem = format!("{prefix} requires 'strategy.matrix' with at least one parameter");
                return Err(Problem::new(problem).under("strategy"));
            }
        };
        self.needs_fan_in(map, &prefix)?;
        let mut combinations: Vec<Map> = vec![Map::new()];
        for (key, values) in matrix.iter() {
            let label = text(key.value());
            let wrong =
                |problem: String| Problem::new(problem).under(&label).under("matrix").under("strategy");
            let Value::List(values) = values else {
                let kind = values.type_name();
                return Err(wrong(format!("{prefix}: matrix.{label} must be a list, got {kind}")));
            };
            if values.is_empty() {
                return Err(wrong(format!("{prefix}: matrix.{label} cannot be empty")));
            }
            if combinations.len().saturating_mul(values.len()) > 100_000 {
                return Err(wrong(format!("{prefix}: more than 100000 combinations")));
            }
            combinations = combinations
                .iter()
                .flat_map(|known| {
                    values.iter().map(|value| {
                        let mut next = known.clone();
                        next.insert(key.clone(), value.clone());
                        next
                    })
                })
                .collect();
        }
        if let Some(limit) = given(strategy, "max_parallel").filter(|limit| !positive(limit)) {
            let problem =
                format!("{prefix}: strategy.max_parallel must be positive integer, got {}", text(limit));
            return Err(Problem::new(problem).under("max_parallel").under("strategy"));
        }
        let Some(exec) = self.exec(map, name)? else {
            return Err(Problem::new(format!("{prefix} requires one of: run, uses, steps")));
        };
        Ok(Fan {
            name: Arc::clone(name),
            form: Form::Matrix,
            source: Source::Combinations(combinations.into_iter().map(Value::map).collect()),
            work: Branch::Exec(exec),
            fail_fast: strategy.get("fail_fast").is_some_and(Value::is_truthy),
        })
    }

    /// `PAR-138`.
    fn parallel_each(&mut self, map: &Map, name: &Arc<str>) -> Checked<Fan> {
        let prefix = format!("parallel_each node '{name}'");
        let Some(items) = map.get("parallel_each").filter(|items| items.is_truthy()) else {
            return Err(Problem::new(format!("{prefix} requires 'parallel_each' expression")));
        };
        self.needs_fan_in(map, &prefix)?;
        if let Some(limit) = given(map, "max_workers").filter(|limit| !positive(limit)) {
            let problem = format!("{prefix}: max_workers must be positive integer, got {}", text(limit));
            return Err(Problem::new(problem).under("max_workers"));
        }
        let Some(exec) = self.exec(map, name)? else {
            return Err(Problem::new(format!("{prefix} requires one of: run, uses, steps")));
        };
        let source = self.items("parallel_each", items);
        let work = Branch::Exec(exec);
        Ok(Fan { name: Arc::clone(name), form: Form::Each, source, work, fail_fast: false })
    }

    fn needs_fan_in(&self, map: &Map, prefix: &str) -> Checked<()> {
        match map.get("fan_in") {
            Some(fan_in) if fan_in.is_truthy() => Ok(()),
            _ => Err(Problem::new(format!("{prefix} requires 'fan_in' target node"))),
        }
    }
}

/// An expression as a text of the template language.
fn own_expression(source: &str) -> String {
    match source.contains("{{") {
        true => source.to_owned(),
        false => format!("{{{{ {source} }}}}"),
    }
}

/// A value as Python prints it in `repr`, for messages.
pub(super) fn shown(value: &Value) -> String {
    repr(value)
}

impl NodePlan {
    /// A node that does nothing.
    pub(super) fn empty(name: &Arc<str>) -> Self {
        NodePlan { name: Arc::clone(name), kind: None, guard: None, fan_in: false, interrupt: None }
    }
}
