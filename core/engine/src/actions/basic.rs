//! `notify`, `http.respond`.

use std::sync::Arc;

use super::{ActionCall, Registry, failure};
use crate::host::Query;
use crate::run::{Response, Stop};
use crate::value::{Map, Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("notify", notify);
    registry.alias("notify", "actions.notify");
    registry.add_direct("http.respond", respond);
    registry.alias("http.respond", "actions.http_respond");
}

/// `actions/NO-1`.
fn notify(call: &ActionCall) -> Result<Value, Stop> {
    let channel = match call.required("channel")? {
        Value::Str(channel) => channel.to_uppercase(),
        other => {
            let given = other.type_name();
            return Err(failure("AttributeError", format!("'{given}' object has no attribute 'upper'")));
        }
    };
    let message = match (call.required("message")?, &call.task.scene.host) {
        (Value::Host(object), Some(host)) => {
            let shown = host.query(object.id(), Query::Str, None);
            text(&shown.map_err(|error| failure("RuntimeError", error.message))?)
        }
        (message, _) => text(message),
    };
    let written = call.surroundings.print(&format!("[{channel}] {message}"));
    written.map_err(|error| failure("OSError", format!("notify cannot write its message: {error}")))?;
    Ok(crate::map! { "sent" => true })
}

/// `actions/HR-1`, `actions/HR-2`.
fn respond(call: &ActionCall) -> Result<Value, Stop> {
    let status = call.get("status").cloned().unwrap_or(Value::Int(200));
    let body = call.get("body").cloned().unwrap_or_default();
    let mut headers = match call.get("headers") {
        None => Arc::<Map>::default(),
        Some(Value::Map(headers)) => Arc::clone(headers),
        Some(falsy) if !falsy.is_truthy() => Arc::default(),
        Some(other) => {
            let given = other.type_name();
            return Err(failure("TypeError", format!("http.respond: headers is a map, not {given}")));
        }
    };
    if !headers.contains_key("Content-Type") {
        let json = Value::from("application/json");
        let kind = call.or("content_type", &json).clone();
        Arc::make_mut(&mut headers).insert("Content-Type".into(), kind);
    }
    Err(Stop::Respond(Response { status, body, headers: Value::Map(headers) }))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::testing::{End, alone, failed, run_on};
    use super::super::{Limiters, Memory, Surroundings};
    use super::*;

    #[derive(Default)]
    struct Paper(Mutex<Vec<String>>);

    impl Surroundings for Paper {
        fn limiters(&self) -> Arc<Limiters> {
            Arc::default()
        }

        fn memory(&self) -> Arc<Memory> {
            Arc::default()
        }

        fn print(&self, line: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push(line.to_owned());
            Ok(())
        }
    }

    /// actions/NO-1
    #[test]
    fn notes_are_printed() {
        let paper = Arc::new(Paper::default());
        let arguments = crate::map! { "channel" => "mail", "message" => vec![Value::Null] };
        let end = run_on("notify", arguments, Map::new(), Arc::<Paper>::clone(&paper));
        assert_eq!(end, End::Value(crate::map! { "sent" => true }));
        assert_eq!(*paper.0.lock().unwrap(), ["[MAIL] [None]"]);
        let error = failed("notify", crate::map! { "channel" => 1, "message" => "" });
        assert_eq!(error, "AttributeError: 'int' object has no attribute 'upper'");
    }

    /// actions/HR-1, actions/HR-2
    #[test]
    fn responses() {
        let respond = |arguments: Value| run_on("http.respond", arguments, Map::new(), Arc::new(alone()));
        let json = crate::map! { "Content-Type" => "application/json" };
        assert_eq!(respond(crate::map! {}), End::Responded(Value::Int(200), Value::Null, json));
        let headers = crate::map! { "X" => "1" };
        let full = crate::map! { "status" => 403, "body" => "b", "headers" => headers, "content_type" => "text/plain" };
        let shown = crate::map! { "X" => "1", "Content-Type" => "text/plain" };
        assert_eq!(respond(full), End::Responded(Value::Int(403), "b".into(), shown));
        let own = crate::map! { "Content-Type" => "a/b" };
        assert_eq!(
            respond(crate::map! { "headers" => own.clone() }),
            End::Responded(Value::Int(200), Value::Null, own)
        );
    }
}
