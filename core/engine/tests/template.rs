//! Templates and conditions by themselves: what the conformance data do not reach, and templates over a host.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use tea_engine::host::{
    CopyDepth, Host, HostError, HostRef, LogLevel, Lookup, PathStep, Query, References, Resolved, When,
};
use tea_engine::map;
use tea_engine::template::{
    Condition, Dialect, Jinja, Limits, Root, Scope, TemplateEngine, TemplateError, TemplateErrorKind,
};
use tea_engine::value::{Map, Value};

fn render(text: &str, scope: &Scope<'_>) -> Result<Value, TemplateError> {
    Jinja.render(&Jinja.compile(text)?, scope)
}

fn with_state(state: &Value) -> Scope<'_> {
    Scope::new().with("state", Root::Value(state))
}

fn value(text: &str) -> Value {
    let state = map! {
        "n" => 7, "l" => vec![Value::Int(3), Value::Int(1)], "d" => map! { "a" => map! { "b" => 1 } },
        "s" => "hello", "none" => Value::Null,
    };
    render(text, &with_state(&state)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> TemplateError {
    let state = map! { "n" => 7, "none" => Value::Null };
    render(text, &with_state(&state)).expect_err(text)
}

/// `templates/TP-3`, `templates/TP-4`
#[test]
fn single_expressions_keep_their_value() {
    assert_eq!(value("  {{ state.n }}\n"), Value::Int(7));
    assert_eq!(value("{{ state.n }}."), Value::from("7."));
    assert_eq!(value("{{ {'a': {'b': 1}} }}"), Value::from("{'a': {'b': 1}}"));
    assert!(matches!(value("{{{'a': 1} }}"), Value::Map(_)));
    assert_eq!(value("{{ missing }}"), Value::Null);
    assert_eq!(value("{# only a comment #}"), Value::from("{# only a comment #}"));
}

/// `templates/TV-1`: a list comes back as the same object.
#[test]
fn containers_are_not_copied() {
    let list = Value::list(vec![Value::Int(1)]);
    let state = map! { "l" => list.clone() };
    let (Value::List(given), Ok(Value::List(found))) = (list, render("{{ state.l }}", &with_state(&state)))
    else {
        panic!("a list is expected");
    };
    assert!(Arc::ptr_eq(&given, &found));
}

/// `templates/LK-2` to `templates/LK-4`, `templates/TU-3` to `templates/TU-5`
#[test]
fn missing_members_of_scopes_are_none_and_others_undefined() {
    assert_eq!(value("{{ state.x }}"), Value::Null);
    assert_eq!(value("{{ state.x | default('d') }}"), Value::Null);
    assert_eq!(value("{{ state.x.y | default('d') }}"), Value::from("d"));
    assert_eq!(value("{{ state.d.zz is defined }}"), Value::Bool(true));
    assert_eq!(value("{{ state['d'].zz is defined }}"), Value::Bool(false));
    let deep = error("{{ state.x.y.z }}");
    assert_eq!(deep.kind(), &TemplateErrorKind::Template);
    assert_eq!(
        deep.to_string(),
        "Template error in expression '{{ state.x.y.z }}': 'None' has no attribute 'y'"
    );
}

/// `templates/NJ-73`: the list of the state itself changes, and the caller is told.
#[test]
fn changes_in_place_are_seen_and_reported() {
    let state = map! { "l" => vec![Value::Int(1)], "d" => map! { "k" => vec![Value::Int(2)] } };
    let scope = with_state(&state);
    let text = "{% set _ = state.l.append(5) %}{% set k = state.d.k %}{% set _ = k.insert(0, state.l) %}\
                {{ state.l }} {{ state['d'] }}";
    assert_eq!(render(text, &scope).unwrap(), Value::from("[1, 5] {'k': [[1, 5], 2]}"));
    let changed = scope.take_changed();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].1.to_json(), r#"{"l":[1,5],"d":{"k":[[1,5],2]}}"#);
    assert_eq!(state.to_json(), r#"{"l":[1],"d":{"k":[2]}}"#);
}

/// `yaml/Q-24`: names in braces are replaced in literal text only.
#[test]
fn variables_are_not_substituted_in_what_a_template_produced() {
    let state = map! { "x" => "${A}" };
    let variables = map! { "A" => 5 };
    let scope = with_state(&state).with("variables", Root::Value(&variables));
    assert_eq!(render("${A}${B}${ A }{{ state.x }}", &scope).unwrap(), Value::from("5${B}${ A }${A}"));
}

/// `templates/TP-8`, `yaml/Q-1`: an ordinary failure gives the text and a warning, or an error when strict.
#[test]
fn failures_of_single_expressions_give_the_text() {
    let state = map! {};
    let seen = RefCell::new(Vec::new());
    let warn = |error: &TemplateError| seen.borrow_mut().push(error.detail());
    let scope = with_state(&state).warn(&warn);
    assert_eq!(render("{{ state.count < 3 }}", &scope).unwrap(), Value::from("{{ state.count < 3 }}"));
    assert_eq!(seen.borrow().len(), 1);
    assert!(seen.borrow()[0].contains("`{{ state.count < 3 }}`"), "{:?}", seen.borrow());
    let strict = render("{{ state.count < 3 }}", &with_state(&state).strict(true)).unwrap_err();
    assert_eq!((strict.class(), strict.is_failure()), ("TypeError", true));
}

/// `templates/ER-7`, and the place of an error in a longer text.
#[test]
fn errors_say_where() {
    let found = error("one\ntwo {{ state.none.x.y }}\n");
    assert_eq!((found.line(), found.column()), (2, 5));
    assert_eq!(found.to_string(), "Template error: 'None' has no attribute 'x'");
    assert_eq!(found.expression(), Some("{{ state.none.x.y }}"));
    let found = error("a\nb {% if state.n %}x");
    assert!(found.to_string().contains("Unexpected end of template"), "{found}");
    assert!(found.detail().contains("line 2"), "{}", found.detail());
    assert!(error("{{ 1 | nosuch }}").to_string().contains("No filter named 'nosuch'."));
    assert!(error("{{ __import__('os') }}").to_string().contains("'__import__' is undefined"));
}

/// `templates/TS-1`, `yaml/Q-17`
#[test]
fn underscore_names_are_refused_on_values() {
    for text in ["{{ ''.__class__ }}", "{{ [].__class__ }}", "{{ (1).__class__ }}", "{{ ''['__class__'] }}"] {
        assert_eq!(value(text), Value::Null, "{text}");
        error(&text.replace(" }}", ".x }}"));
    }
}

#[test]
fn secrets_do_not_show_in_errors() {
    let secrets = map! { "key" => "sk-12345", "inner" => map! { "pin" => 987_654 } };
    let scope = Scope::new().with("secrets", Root::Value(&secrets)).strict(true);
    for text in [
        "{{ [].index(secrets.key) }}",
        "x{{ {}[secrets.key].x }}",
        "{{ '{a}'.format_map({secrets.key: 1}) }}x",
        "{{ {}.pop(secrets.inner.pin) }}",
        "{{ {}.pop(secrets.key) }}",
    ] {
        let found = render(text, &scope).expect_err(text);
        let shown = format!("{found} {} {found:?}", found.detail());
        assert!(!shown.contains("12345") && !shown.contains("987654"), "{text}: {shown}");
    }
}

/// `templates/NJ-4`, `templates/TS-5`
#[test]
fn whatever_does_not_end_is_stopped() {
    let limits = Limits { steps: 10_000, bytes: 1 << 20, depth: 100 };
    let scope = || Scope::new().limits(limits).strict(true);
    for text in [
        "{% for i in range(10 ** 12) %}{% endfor %}",
        "{{ range(10 ** 9) | list }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for i in [1] recursive %}{{ loop([i]) }}{% endfor %}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ [1] * 10 ** 9 }}",
        "{{ '%1000000d' % 1 }}{{ '%1000000d' % 1 }}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ 10 ** (10 ** 10) }}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(5000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
        "{% set l = [] %}{% set _ = l.append(l) %}",
        "{% for a in range(200) %}{% for b in range(200) %}{% endfor %}{% endfor %}",
    ] {
        let found = render(text, &scope()).expect_err(text);
        assert!(found.is_failure(), "{text}: {found}");
    }
    assert_eq!(render("{{ range(10 ** 9) | length }}", &scope()).unwrap(), Value::Int(1_000_000_000));
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("x[", "]"), ("{1:", "}"), ("1 if ", "")]
    {
        let text = format!("x{{{{ {}1{} }}}}", open.repeat(5_000), close.repeat(5_000));
        assert!(Jinja.compile(&text).is_err(), "{open}");
    }
    for chain in [" + 1", " | upper", ".a", " or 1", "[0]", "()", " if 1"] {
        let text = format!("x{{{{ 1{} }}}}", chain.repeat(5_000));
        assert!(Jinja.compile(&text).is_err(), "{chain}");
    }
    let blocks = format!("{}{}", "{% if 1 %}".repeat(5_000), "{% endif %}".repeat(5_000));
    assert!(Jinja.compile(&blocks).is_err());
    assert!(Jinja.compile(&format!("{{{{ 1{} }}}}", " ~ 1".repeat(5_000))).is_ok());
}

/// `templates/CD-1` to `templates/CD-11`, `templates/GC-1` to `templates/GC-3`
#[test]
fn the_two_dialects_of_conditions() {
    let state = map! { "true" => 1, "flag" => vec![Value::Int(1)], "n" => 0 };
    let scope = with_state(&state);
    let edge = |text: &str| Condition::compile(text, Dialect::Edge).and_then(|c| c.evaluate(&scope));
    for (text, wanted) in [
        ("true", true),
        ("True", true),
        ("false", false),
        ("!flag", false),
        ("! nope", true),
        ("state.x < 3", true),
    ] {
        assert_eq!(edge(text).unwrap(), wanted, "{text}");
    }
    assert!(edge("").is_err() && edge("!state.n").is_err());
    let goto = |text: &str| Condition::compile(text, Dialect::Goto).unwrap().evaluate(&scope).unwrap();
    for (text, wanted) in [
        ("[]", true),
        ("state.n", false),
        ("state.x > 3", false),
        ("{{ 'No ' }}", false),
        ("!x", false),
        ("", false),
    ] {
        assert_eq!(goto(text), wanted, "{text}");
    }
}

// ---------------------------------------------------------------------- a host

/// A host whose objects are values, and which notes what it is asked.
struct Objects {
    references: Arc<References>,
    objects: Mutex<Vec<Value>>,
    asked: Mutex<Vec<String>>,
}

impl Objects {
    fn new() -> Self {
        Objects { references: Arc::default(), objects: Mutex::default(), asked: Mutex::default() }
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn object(&self, id: u64) -> Value {
        self.objects.lock().unwrap()[usize::try_from(id).unwrap() - 1].clone()
    }

    /// Containers become objects, each time the same one.
    fn handed_out(&self, value: &Value) -> Value {
        let same = |a: &Value, b: &Value| match (a, b) {
            (Value::Map(a), Value::Map(b)) => Arc::ptr_eq(a, b),
            (Value::List(a), Value::List(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        if !matches!(value, Value::Map(_) | Value::List(_)) {
            return value.clone();
        }
        let mut objects = self.objects.lock().unwrap();
        let index = objects.iter().position(|known| same(known, value)).unwrap_or_else(|| {
            objects.push(value.clone());
            objects.len() - 1
        });
        Value::Host(HostRef::new(index as u64 + 1, &self.references))
    }

    fn step(value: &Value, step: &PathStep) -> Option<Value> {
        match (value, step) {
            (Value::Map(map), PathStep::Key(key)) => map.get(&**key).cloned(),
            (Value::List(items), PathStep::Index(index)) => items.get(usize::try_from(*index).ok()?).cloned(),
            _ => None,
        }
    }
}

impl Host for Objects {
    fn resolve(&self, root: u64, paths: &[&[PathStep]]) -> Result<Vec<Resolved>, HostError> {
        self.note(format!("resolve {}", paths.len()));
        let follow = |path: &&[PathStep]| {
            let mut value = self.object(root);
            for (depth, step) in path.iter().enumerate() {
                match Self::step(&value, step) {
                    Some(next) => value = next,
                    None => return Resolved::Missing { depth },
                }
            }
            Resolved::Found(self.handed_out(&value))
        };
        Ok(paths.iter().map(follow).collect())
    }

    fn get(&self, object: u64, key: &Value, _how: Lookup) -> Result<Option<Value>, HostError> {
        self.note(format!("get {}", key.to_json()));
        Ok(match (self.object(object), key) {
            (Value::Map(map), key) => map.get(key).map(|value| self.handed_out(value)),
            (Value::List(items), Value::Int(index)) => {
                items.get(usize::try_from(*index).unwrap_or(usize::MAX)).map(|value| self.handed_out(value))
            }
            _ => None,
        })
    }

    fn keys(&self, object: u64) -> Result<Vec<Value>, HostError> {
        self.note("keys".to_owned());
        Ok(match self.object(object) {
            Value::Map(map) => map.keys().map(|key| key.value().clone()).collect(),
            Value::List(items) => items.iter().map(|item| self.handed_out(item)).collect(),
            _ => Vec::new(),
        })
    }

    fn query(&self, object: u64, what: Query, argument: Option<&Value>) -> Result<Value, HostError> {
        self.note(format!("{what:?}"));
        let value = self.object(object);
        Ok(match what {
            Query::Length => match &value {
                Value::Map(map) => Value::Int(map.len() as i64),
                value => Value::Int(value.as_list().map_or(0, <[Value]>::len) as i64),
            },
            Query::Truth => Value::Bool(value.is_truthy()),
            Query::Str | Query::Repr => Value::from(tea_engine::value::repr(&value)),
            Query::KeysRepr => return Err(HostError { message: "not asked by templates".to_owned() }),
            Query::TypeName => Value::from(value.type_name()),
            Query::Equal => Value::Bool(argument == Some(&value)),
            Query::Compare => return Err(HostError { message: "TypeError: no order".to_owned() }),
            Query::Contains => Value::Bool(match (&value, argument) {
                (Value::Map(map), Some(key)) => map.contains_key(key),
                (Value::List(items), Some(item)) => items.contains(item),
                _ => false,
            }),
        })
    }

    fn call(&self, _object: u64, method: &str, arguments: &[Value]) -> Result<Value, HostError> {
        self.note(format!("call {method} {}", arguments.len()));
        match method {
            "nope" => {
                Err(HostError { message: "AttributeError: 'dict' object has no attribute 'nope'".to_owned() })
            }
            "fails" => Err(HostError { message: "ValueError: refused".to_owned() }),
            _ => Ok(Value::Null),
        }
    }

    fn export(&self, object: u64) -> Result<Value, HostError> {
        self.note("export".to_owned());
        Ok(self.object(object))
    }

    fn import(&self, _value: &Value) -> Result<HostRef, HostError> {
        Err(HostError { message: "not used".to_owned() })
    }

    fn apply(&self, _state: u64, _delta: &Map) -> Result<(), HostError> {
        Ok(())
    }

    fn copy(&self, _object: u64, _depth: CopyDepth) -> Result<HostRef, HostError> {
        Err(HostError { message: "not used".to_owned() })
    }

    fn stops(&self, _run: u64, _node: u32, _when: When) -> Result<bool, HostError> {
        Ok(false)
    }

    fn log(&self, _level: LogLevel, _target: &str, _text: &str) {}

    fn references(&self) -> &Arc<References> {
        &self.references
    }
}

fn hosted(text: &str) -> (Result<Value, TemplateError>, Vec<String>) {
    let host = Objects::new();
    let state = map! {
        "n" => 7, "s" => "x", "user" => map! { "name" => "Ada", "tags" => vec![Value::from("a"), Value::from("b")] },
        "rows" => vec![map! { "v" => 1 }, map! { "v" => 2 }],
    };
    let Value::Host(root) = host.handed_out(&state) else { panic!("an object is expected") };
    let scope = Scope::new().with("state", Root::Host(&root)).host(&host);
    let result = render(text, &scope);
    let asked = host.asked.lock().unwrap().clone();
    (result, asked)
}

/// `host.md` section 3: all static paths with one question, and only where there are any.
#[test]
fn static_paths_are_resolved_together() {
    let (value, asked) = hosted(
        "{{ state.n }} {{ state.user.name }} {{ state.user.tags[1] }} {{ state.get('s') }} {{ state.zz }}",
    );
    assert_eq!(value.unwrap(), Value::from("7 Ada b x None"));
    assert_eq!(asked, ["resolve 5"]);
    let (value, asked) = hosted("{{ 1 + 1 }}");
    assert_eq!((value.unwrap(), asked.len()), (Value::Int(2), 0));
}

/// `templates/TV-1`, `host.md` section 3: a container stays the host's object.
#[test]
fn containers_of_the_host_stay_its_objects() {
    let (value, asked) = hosted("{{ state.user.tags }}");
    assert!(matches!(value.unwrap(), Value::Host(_)));
    assert_eq!(asked, ["resolve 1"]);
    let (value, _) = hosted("{{ [state.user, 1] }}");
    let Value::List(items) = value.unwrap() else { panic!("a list is expected") };
    assert!(matches!(items[0], Value::Host(_)));
}

/// `templates/LK-2`, `templates/LK-4`, `templates/TU-5` over a host's state.
#[test]
fn none_and_undefined_over_a_host() {
    for (text, wanted) in [
        ("{{ state.zz }}", Value::Null),
        ("{{ state.user.zz }}", Value::Null),
        ("{{ state.user.zz is none }}", Value::Bool(true)),
        ("{{ state['user'].zz is defined }}", Value::Bool(false)),
        ("{{ state.zz.y is defined }}", Value::Bool(false)),
        ("{{ state.get('zz', 'd') }}", Value::from("d")),
        ("{{ state._hidden is defined }}", Value::Bool(false)),
        ("{{ state.rows[5] is defined }}", Value::Bool(false)),
    ] {
        assert_eq!(hosted(text).0.unwrap(), wanted, "{text}");
    }
    assert!(hosted("{{ state.zz.y.z }}").0.is_err());
}

#[test]
fn operations_over_a_hosts_objects() {
    for (text, wanted) in [
        ("{{ state.rows | length }}", Value::Int(2)),
        ("{{ state.rows | map(attribute='v') | sum }}", Value::Int(3)),
        ("{% for row in state.rows %}{{ row.v }}{% endfor %}", Value::from("12")),
        ("{{ state.user.tags | join('-') }}", Value::from("a-b")),
        ("{{ 'name' in state.user }}", Value::Bool(true)),
        ("{{ state.user | tojson }}", Value::from(r#"{"name": "Ada", "tags": ["a", "b"]}"#)),
        ("x{{ state.user.tags }}", Value::from("x['a', 'b']")),
        ("{{ state.user.tags + ['c'] }}", vec![Value::from("a"), Value::from("b"), Value::from("c")].into()),
        ("{{ state.rows[1:] | length }}", Value::Int(1)),
        ("{{ state.user.tags and 1 }}", Value::Int(1)),
    ] {
        assert_eq!(hosted(text).0.unwrap(), wanted, "{text}");
    }
    assert_eq!(hosted("{{ state.rows.append(1) }}").1, ["resolve 1", "call append 1"]);
    let missing = hosted("{{ state.user.nope() }}").0.unwrap_err();
    assert_eq!(missing.kind(), &TemplateErrorKind::Template);
    assert_eq!(hosted("x{{ state.user.fails() }}").0.unwrap_err().class(), "ValueError");
}
