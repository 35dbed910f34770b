//! What hosts are told about an agent.

use super::Agent;
use super::problem::Problem;
use crate::host::When;
use crate::value::{Map, Value};

fn number(number: Option<usize>) -> Value {
    number.and_then(|number| i64::try_from(number).ok()).map_or(Value::Null, Value::Int)
}

fn names(names: &[String]) -> Value {
    Value::list(names.iter().map(|name| Value::from(name.as_str())).collect())
}

impl Agent {
    /// The agent as a map: `name`, `description`, `state_schema`, `variables`, `data`, `settings`, `config` (the
    /// whole document), `nodes` (`name`, number of the `program` or null, `fan_in`, `interrupt`), `edges` (`from`,
    /// `to`, number of the `condition` or null, `fan_in`), `interrupt_before`, `interrupt_after`,
    /// `raise_exceptions`, `checkpoint`, `checkpoint_dir`, `input_schema`, `output_schema`, `llm_settings`,
    /// `shell_providers`, `imports`, `actions` (names that nodes use), `warnings`.
    pub fn info(&self) -> Value {
        let config = &self.context.config;
        let roots = self.context.roots();
        let section = |key: &str| config.get(key).cloned().unwrap_or_default();
        let run = section("config");
        let run = |key: &str| run.as_map().and_then(|run| run.get(key)).cloned().unwrap_or_default();
        let mut info = Map::new();
        for key in ["name", "description", "state_schema", "settings", "imports", "endpoint"] {
            info.insert(key.into(), section(key));
        }
        info.insert("variables".into(), roots.variables.clone());
        info.insert("data".into(), roots.data.clone());
        info.insert("config".into(), Value::Map(std::sync::Arc::clone(config)));
        info.insert("nodes".into(), self.nodes());
        info.insert("edges".into(), self.edges());
        info.insert("interrupt_before".into(), names(&self.notes.interrupt_before));
        info.insert("interrupt_after".into(), names(&self.notes.interrupt_after));
        info.insert("raise_exceptions".into(), self.graph.settings().raise_exceptions.into());
        info.insert("checkpoint".into(), run("checkpoint"));
        info.insert("checkpoint_dir".into(), run("checkpoint_dir"));
        info.insert("input_schema".into(), section("input_schema"));
        info.insert("output_schema".into(), section("output_schema"));
        info.insert("llm_settings".into(), roots.llm_settings.clone());
        info.insert("shell_providers".into(), Value::map(self.notes.shell_providers.clone()));
        let uses = self.notes.uses.iter().cloned().map(Value::Str).collect();
        info.insert("actions".into(), Value::list(uses));
        info.insert(
            "warnings".into(),
            Value::list(self.notes.warnings.iter().map(Problem::to_value).collect()),
        );
        Value::map(info)
    }

    fn nodes(&self) -> Value {
        let nodes = self.notes.nodes.iter().map(|node| {
            let interrupt = match node.interrupt {
                Some(When::Before) => Value::from("before"),
                Some(When::After) => Value::from("after"),
                None => Value::Null,
            };
            crate::map! {
                "name" => Value::Str(std::sync::Arc::clone(&node.name)),
                "program" => number(node.program),
                "fan_in" => node.fan_in,
                "interrupt" => interrupt,
            }
        });
        Value::list(nodes.collect())
    }

    fn edges(&self) -> Value {
        let topology = self.graph.topology();
        let edges = self.notes.edges.iter().map(|edge| {
            crate::map! {
                "from" => topology.name(edge.from),
                "to" => topology.name(edge.to),
                "condition" => number(edge.condition),
                "fan_in" => edge.join.map_or(Value::Null, |join| topology.name(join).into()),
            }
        });
        Value::list(edges.collect())
    }
}
