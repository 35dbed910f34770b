//! `session.load`, `session.save`, `session.delete`, `session.exists`: states that outlive a run, by session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ActionCall, Registry};
use crate::run::Stop;
use crate::schema::number::{as_float, integer};
use crate::value::{Map, Value, text};

/// The sessions of an agent, kept in memory, and what `settings.session` says about them.
#[derive(Debug, Default)]
pub struct Sessions {
    auto_save: bool,
    /// Seconds; 0 for ever.
    ttl: f64,
    /// The keys of the state that are saved; `None`: all that do not begin with `_`.
    persist_fields: Option<Vec<Value>>,
    stored: Mutex<HashMap<String, Stored>>,
}

#[derive(Debug, Clone)]
struct Stored {
    data: Map,
    until: Option<Instant>,
}

impl Sessions {
    /// Reads `settings.session`; `None` without any. The error says what is wrong with it (`yaml/SS-1`, `SS-2`).
    pub fn from_settings(settings: &Value) -> Result<Option<Self>, String> {
        let settings = match settings {
            falsy if !falsy.is_truthy() => return Ok(None),
            Value::Map(settings) => settings,
            other => return Err(format!("session is a map of settings, not {}", other.type_name())),
        };
        match settings.get("backend").map(|backend| text(backend).to_lowercase()).as_deref() {
            None | Some("memory") => {}
            Some("firestore") => {
                return Err("the session backend 'firestore' is reached through a host with its package; \
                            'memory' works everywhere"
                    .to_owned());
            }
            Some(other) => return Err(format!("Invalid backend '{other}': memory or firestore is expected")),
        }
        let ttl = match settings.get("ttl") {
            None => 0.0,
            Some(Value::Str(text)) => integer(text).as_ref().and_then(as_float).unwrap_or(-1.0),
            Some(other) => as_float(other).unwrap_or(-1.0),
        };
        if ttl.is_nan() || ttl < 0.0 {
            return Err("session ttl is a number of seconds, 0 or more".to_owned());
        }
        let persist_fields = match settings.get("persist_fields") {
            None | Some(Value::Null) => None,
            Some(field @ Value::Str(_)) => Some(vec![field.clone()]),
            Some(Value::List(fields)) if fields.iter().all(|field| field.as_str().is_some()) => {
                Some(fields.to_vec())
            }
            Some(_) => return Err("session persist_fields is a list of texts".to_owned()),
        };
        let auto_save = settings.get("auto_save").is_some_and(Value::is_truthy);
        Ok(Some(Sessions { auto_save, ttl, persist_fields, stored: Mutex::default() }))
    }

    /// What is stored for a session, unless its time is over.
    pub fn load(&self, id: &str) -> Option<Map> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let over = stored.get(id)?.until.is_some_and(|until| Instant::now() > until);
        if over {
            stored.remove(id);
        }
        stored.get(id).map(|stored| stored.data.clone())
    }

    /// Stores data for so many seconds (`None`, or not more than 0: for ever).
    pub fn save(&self, id: &str, data: Map, seconds: Option<f64>) {
        let lasts = seconds.filter(|seconds| *seconds > 0.0);
        let lasts = lasts.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let until = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.insert(id.to_owned(), Stored { data, until });
    }

    /// Forgets a session.
    pub fn delete(&self, id: &str) {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The state that a run begins with: what is stored for its session, with the input over it
    /// (`actions/SS-17`).
    pub fn begin(&self, input: Map) -> Map {
        match session_of(&input).and_then(|id| self.load(&id)) {
            Some(stored) => stored.into_iter().chain(input).collect(),
            None => input,
        }
    }

    /// Saves the final state of a run, if `auto_save` is on and it names a session (`actions/SS-17`).
    pub fn end(&self, state: &Map) {
        if let (true, Some(id)) = (self.auto_save, session_of(state)) {
            self.save(&id, self.selected(state, None), Some(self.ttl));
        }
    }

    /// The part of a state that is saved.
    fn selected(&self, state: &Map, fields: Option<&[Value]>) -> Map {
        match fields.or(self.persist_fields.as_deref()) {
            Some(fields) => fields
                .iter()
                .filter_map(|field| state.get_key_value(field))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            None => state
                .iter()
                .filter(|(key, _)| !key.as_str().is_some_and(|key| key.starts_with('_')))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }
}

/// The session that a state names.
fn session_of(state: &Map) -> Option<String> {
    state.get("session_id").filter(|id| id.is_truthy()).map(text)
}

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("session.load", load);
    registry.add_direct("session.save", save);
    registry.add_direct("session.delete", delete);
    registry.add_direct("session.exists", exists);
}

const NO_BACKEND: &str = "No session backend configured";
const NO_ID: &str = "session_id is required";

/// The session that is meant (`actions/SS-1`).
fn id(call: &ActionCall, state: &Value) -> Option<String> {
    let given = call.get("session_id").filter(|id| id.is_truthy()).map(text);
    given.or_else(|| state.as_map().and_then(session_of))
}

/// `actions/SS-2`.
fn load(call: &ActionCall) -> Result<Value, Stop> {
    let default = || match call.get("default") {
        None | Some(Value::Null) => Value::map(Map::new()),
        Some(default) => default.clone(),
    };
    let Some(sessions) = call.surroundings.sessions() else { return Ok(default()) };
    let found = id(call, &call.state()?).and_then(|id| sessions.load(&id));
    Ok(found.map_or_else(default, Value::map))
}

fn refused(error: &str) -> Result<Value, Stop> {
    Ok(crate::map! { "success" => false, "error" => error })
}

/// `actions/SS-3`.
fn save(call: &ActionCall) -> Result<Value, Stop> {
    let Some(sessions) = call.surroundings.sessions() else { return refused(NO_BACKEND) };
    let state = call.state()?;
    let Some(id) = id(call, &state) else { return refused(NO_ID) };
    let one;
    let fields = match call.get("fields").filter(|fields| fields.is_truthy()) {
        None => None,
        Some(Value::List(fields)) => Some(fields.as_slice()),
        Some(field @ Value::Str(_)) => {
            one = [field.clone()];
            Some(one.as_slice())
        }
        Some(other) => return refused(&format!("fields is a list of names, not {}", other.type_name())),
    };
    let seconds = match call.get("ttl") {
        None | Some(Value::Null) => sessions.ttl,
        Some(ttl) => match as_float(ttl) {
            Some(seconds) => seconds,
            None => return refused(&format!("ttl is a number of seconds, not {}", ttl.type_name())),
        },
    };
    let empty = Map::new();
    sessions.save(&id, sessions.selected(state.as_map().unwrap_or(&empty), fields), Some(seconds));
    Ok(crate::map! { "success" => true, "session_id" => id })
}

/// `actions/SS-4`.
fn delete(call: &ActionCall) -> Result<Value, Stop> {
    let Some(sessions) = call.surroundings.sessions() else { return refused(NO_BACKEND) };
    let Some(id) = id(call, &call.state()?) else { return refused(NO_ID) };
    sessions.delete(&id);
    Ok(crate::map! { "success" => true })
}

/// `actions/SS-4`.
fn exists(call: &ActionCall) -> Result<Value, Stop> {
    let Some(sessions) = call.surroundings.sessions() else {
        return Ok(crate::map! { "exists" => false, "error" => NO_BACKEND });
    };
    let found = id(call, &call.state()?).and_then(|id| sessions.load(&id));
    Ok(crate::map! { "exists" => found.is_some() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::json::loads;
    use super::super::testing::{End, alone, run, run_on};
    use super::super::{Alone, Surroundings};
    use super::*;

    fn sessions(settings: &str) -> Result<Option<Sessions>, String> {
        Sessions::from_settings(&loads(settings).unwrap())
    }

    fn map(json: &str) -> Map {
        loads(json).unwrap().as_map().unwrap().clone()
    }

    /// actions/SS-1 to actions/SS-4
    #[test]
    fn actions() {
        let sessions = sessions(r#"{"backend": "Memory"}"#).unwrap().unwrap();
        let agent: Arc<dyn Surroundings> = Arc::new(Alone { sessions: Some(Arc::new(sessions)), ..alone() });
        let named = r#"{"session_id": "s", "x": 1, "_p": 2}"#;
        for (name, arguments, state, wanted) in [
            ("load", "{}", named, "{}"),
            ("load", r#"{"default": {"d": 1}}"#, named, r#"{"d": 1}"#),
            ("exists", "{}", named, r#"{"exists": false}"#),
            ("save", "{}", named, r#"{"success": true, "session_id": "s"}"#),
            ("load", "{}", named, r#"{"session_id": "s", "x": 1}"#),
            ("exists", r#"{"session_id": "t"}"#, named, r#"{"exists": false}"#),
            (
                "save",
                r#"{"session_id": "t", "fields": ["_p", "no"]}"#,
                named,
                r#"{"success": true, "session_id": "t"}"#,
            ),
            ("load", r#"{"session_id": "t"}"#, "{}", r#"{"_p": 2}"#),
            ("delete", "{}", named, r#"{"success": true}"#),
            ("exists", "{}", named, r#"{"exists": false}"#),
            ("save", "{}", "{}", r#"{"success": false, "error": "session_id is required"}"#),
            ("delete", "{}", "{}", r#"{"success": false, "error": "session_id is required"}"#),
            ("exists", "{}", "{}", r#"{"exists": false}"#),
            ("load", "{}", "{}", "{}"),
        ] {
            let name = format!("session.{name}");
            let end = run_on(&name, loads(arguments).unwrap(), map(state), Arc::clone(&agent));
            assert_eq!(end, End::Value(loads(wanted).unwrap()), "{name} {arguments}");
        }
        let none = loads(r#"{"success": false, "error": "No session backend configured"}"#).unwrap();
        assert_eq!(run("session.save", crate::map! { "session_id" => "s" }), none);
    }

    /// actions/SS-17
    #[test]
    fn begins_and_ends() {
        let sessions = sessions(r#"{"auto_save": true, "persist_fields": "x"}"#).unwrap().unwrap();
        sessions.end(&map(r#"{"session_id": "s", "x": 1, "y": 2}"#));
        assert_eq!(
            sessions.begin(map(r#"{"session_id": "s", "y": 3}"#)),
            map(r#"{"x": 1, "session_id": "s", "y": 3}"#)
        );
        assert_eq!(
            sessions.begin(map(r#"{"session_id": "", "y": 3}"#)),
            map(r#"{"session_id": "", "y": 3}"#)
        );
        let silent = super::tests::sessions(r#"{"backend": "memory"}"#).unwrap().unwrap();
        silent.end(&map(r#"{"session_id": "s"}"#));
        assert!(silent.load("s").is_none());
    }

    /// actions/SS-13
    #[test]
    fn time_runs_out() {
        let sessions = Sessions::default();
        sessions.save("s", Map::new(), Some(1e-9));
        std::thread::sleep(Duration::from_millis(1));
        assert!(sessions.load("s").is_none());
        sessions.save("s", Map::new(), Some(1e300));
        assert!(sessions.load("s").is_some());
    }

    /// yaml/SS-1, yaml/SS-2
    #[test]
    fn settings() {
        assert!(sessions("{}").unwrap().is_none());
        assert_eq!(sessions(r#"{"ttl": "60"}"#).unwrap().unwrap().ttl, 60.0);
        for (settings, part) in [
            (r#"{"backend": "x"}"#, "Invalid backend"),
            (r#"{"backend": "firestore"}"#, "firestore"),
            (r#"{"ttl": -1}"#, "ttl"),
            (r#"{"ttl": "x"}"#, "ttl"),
            (r#"{"persist_fields": [1]}"#, "persist_fields"),
            ("7", "map"),
        ] {
            assert!(sessions(settings).unwrap_err().contains(part), "{settings}");
        }
    }
}
