//! `checkpoint.save`, `checkpoint.load`.

use std::io::Write;
use std::path::Path;

use super::files::Place;
use super::{ActionCall, Registry, clock};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::host::{Query, When};
use crate::run::Stop;
use crate::value::{Map, Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("checkpoint.save", save);
    registry.add_direct("checkpoint.load", load);
}

/// `checkpoint/CP-48`, `actions/CK-1`, `actions/CK-2`.
fn save(call: &ActionCall) -> Result<Value, Stop> {
    let path = call.required("path")?;
    let shown = text(path);
    Ok(match try_save(call, &shown) {
        Ok(()) => {
            call.surroundings.saved(&shown);
            crate::map! { "checkpoint_path" => shown, "saved" => true }
        }
        Err(error) => {
            crate::map! { "checkpoint_path" => path.clone(), "saved" => false, "error" => error }
        }
    })
}

fn try_save(call: &ActionCall, path: &str) -> Result<(), String> {
    let scene = &call.task.scene;
    let node = match call.get("node") {
        None | Some(Value::Null) => scene.node.to_string(),
        Some(node) => text(node),
    };
    match call.surroundings.has_node(&node) {
        None => return Err("No graph available for checkpoint".to_owned()),
        Some(false) => return Err(format!("Node '{node}' does not exist in the graph.")),
        Some(true) => {}
    }
    let state = match call.state() {
        Ok(Value::Map(state)) => Map::clone(&state),
        Ok(other) => return Err(format!("the state is {}, not a map", other.type_name())),
        Err(Stop::Failed(failure)) => return Err(failure.text),
        Err(Stop::Respond(_)) => return Err("the state cannot be read".to_owned()),
    };
    let config = match call.get("config") {
        Some(Value::Map(config)) => Map::clone(config),
        _ => Map::clone(&scene.config),
    };
    let (seconds, microseconds) = clock::now();
    let timestamp = seconds as f64 + f64::from(microseconds) / 1e6;
    // The node runs again on resume, as after a before-interrupt.
    let checkpoint = Checkpoint { node, interrupt: Some(When::Before), state, config, timestamp };
    let type_name = |value: &Value| match (value, &scene.host) {
        (Value::Host(object), Some(host)) => host
            .query(object.id(), Query::TypeName, None)
            .map_or_else(|_| "object".to_owned(), |name| text(&name)),
        (other, _) => other.type_name().to_owned(),
    };
    let json = checkpoint.to_json(type_name).map_err(|error| error.to_string())?;
    match Place::of(path).map_err(|error| error.to_string())? {
        Place::Local(file) => write_private(&file, json.as_bytes())
            .map_err(|error| format!("Failed to save checkpoint to '{path}': {error}")),
        place @ Place::Memory(_) => place.write(json.as_bytes()).map_err(|error| error.to_string()),
    }
}

/// Writes a file that is complete or absent, and that its owner alone can read.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let mut file = tempfile::Builder::new().prefix(".tea-").tempfile_in(parent)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// `checkpoint/CP-49`, `actions/CK-3`.
fn load(call: &ActionCall) -> Result<Value, Stop> {
    let path = text(call.required("path")?);
    Ok(match try_load(&path) {
        Ok((checkpoint, version)) => crate::map! {
            "checkpoint_state" => checkpoint.state,
            "checkpoint_node" => checkpoint.node,
            "checkpoint_config" => checkpoint.config,
            "checkpoint_timestamp" => checkpoint.timestamp,
            "checkpoint_version" => version,
        },
        Err(CheckpointError::NotFound(_) | CheckpointError::UnknownId(_)) => {
            crate::map! { "error" => format!("Checkpoint file not found: {path}") }
        }
        Err(error @ CheckpointError::Corrupt { .. }) => {
            crate::map! { "error" => format!("Invalid checkpoint file: {error}") }
        }
        Err(error) => crate::map! { "error" => format!("Failed to load checkpoint: {error}") },
    })
}

fn try_load(path: &str) -> Result<(Checkpoint, Value), CheckpointError> {
    let unreadable = |reason: String| CheckpointError::Unreadable { path: path.to_owned(), reason };
    let place = Place::of(path).map_err(|error| unreadable(error.to_string()))?;
    let json = place.read().map_err(|error| match error {
        super::files::FileError::NotFound(_) => CheckpointError::NotFound(path.to_owned()),
        other => unreadable(other.to_string()),
    })?;
    let corrupt = |reason: String| CheckpointError::Corrupt { path: path.to_owned(), reason };
    let document = Value::from_json(&json).map_err(|error| corrupt(error.message))?;
    let checkpoint = Checkpoint::from_value(&document, path)?;
    let version = document.as_map().and_then(|map| map.get("version")).cloned().unwrap_or_default();
    Ok((checkpoint, version))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::testing::{End, alone, run, run_on};
    use super::super::{Limiters, Memory, Surroundings};
    use super::*;

    #[derive(Default)]
    struct Graph(Mutex<Vec<String>>);

    impl Surroundings for Graph {
        fn limiters(&self) -> Arc<Limiters> {
            Arc::default()
        }

        fn memory(&self) -> Arc<Memory> {
            Arc::default()
        }

        fn has_node(&self, name: &str) -> Option<bool> {
            Some(name == "act")
        }

        fn saved(&self, path: &str) {
            self.0.lock().unwrap().push(path.to_owned());
        }
    }

    fn error(end: &End) -> String {
        match end {
            End::Value(value) => text(&value.as_map().unwrap()["error"]),
            other => panic!("{other:?}"),
        }
    }

    /// checkpoint/CP-48, checkpoint/CP-49, actions/CK-2
    #[test]
    fn saved_and_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/c.chk").display().to_string();
        let graph = Arc::new(Graph::default());
        let state = crate::map! { "v" => 41 }.as_map().unwrap().clone();
        let save = |arguments: Value| {
            run_on("checkpoint.save", arguments, state.clone(), Arc::<Graph>::clone(&graph))
        };
        let done = crate::map! { "checkpoint_path" => path.as_str(), "saved" => true };
        assert_eq!(save(crate::map! { "path" => path.as_str() }), End::Value(done));
        assert_eq!(graph.0.lock().unwrap().join(" "), path);
        let loaded = run("checkpoint.load", crate::map! { "path" => path.as_str() });
        let loaded = loaded.as_map().unwrap();
        assert_eq!(loaded["checkpoint_state"], crate::map! { "v" => 41 });
        assert_eq!(loaded["checkpoint_node"], "act".into());
        assert_eq!(loaded["checkpoint_config"], crate::map! { "c" => 1 });
        assert_eq!(loaded["checkpoint_version"], "2.0".into());
        let elsewhere = save(crate::map! { "path" => path.as_str(), "node" => "x" });
        assert_eq!(error(&elsewhere), "Node 'x' does not exist in the graph.");
        let alone = run_on("checkpoint.save", crate::map! { "path" => path }, Map::new(), Arc::new(alone()));
        assert_eq!(error(&alone), "No graph available for checkpoint");
        assert_eq!(graph.0.lock().unwrap().len(), 1);
    }

    /// checkpoint/CP-49, actions/CK-3
    #[test]
    fn what_cannot_be_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("bad"), "{}").unwrap();
        let error =
            |name: &str| error(&End::Value(run("checkpoint.load", crate::map! { "path" => path(name) })));
        assert_eq!(error("none"), format!("Checkpoint file not found: {}", path("none")));
        assert!(error("bad").starts_with("Invalid checkpoint file: "));
        assert!(error("").starts_with("Failed to load checkpoint: "));
    }
}
