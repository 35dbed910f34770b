//! The Lua runtime, rule by rule (`lua.md`).

mod lua_host;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lua_host::Objects as HostObjects;
use tea_engine::lua::{
    Channel, Chunk, ErrorKind, Floats, Limits, LuaError, Objects, Options, Runtime, Scope, detect_lua_code,
};
use tea_engine::map;
use tea_engine::state::State;
use tea_engine::value::{BigInt, Date, Key, Map, Value};

fn runtime() -> Runtime {
    Runtime::new(Options::default()).expect("a runtime")
}

fn limited(change: impl FnOnce(&mut Limits)) -> Runtime {
    let mut limits = Limits { time: Some(Duration::from_secs(20)), ..Limits::default() };
    change(&mut limits);
    Runtime::new(Options { limits, ..Options::default() }).expect("a runtime")
}

fn short() -> Runtime {
    limited(|limits| limits.time = Some(Duration::from_millis(100)))
}

fn node(code: &str, state: Value) -> Result<Value, LuaError> {
    runtime().run_node(&Chunk::node(code), Scope::new().with("state", state))
}

fn update(code: &str, state: Value) -> Value {
    node(code, state).unwrap_or_else(|error| panic!("{code}: {error}"))
}

fn fails(code: &str) -> LuaError {
    match node(code, map! {}) {
        Ok(value) => panic!("{code}: gave {value:?}"),
        Err(error) => error,
    }
}

fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).expect("JSON")
}

/// Equal in kind too: `1` is not `1.0` here.
fn assert_same(found: &Value, expected: &str) {
    assert_eq!(found.to_json(), json(expected).to_json());
}

fn condition(expression: &str, state: Value) -> Result<Option<Arc<str>>, LuaError> {
    runtime().eval_condition(&Chunk::condition(expression), Scope::new().with("state", state))
}

// -- The three ways to run code -----------------------------------------------------------------------------

/// `LU-7`: what a node's result becomes.
#[test]
fn a_node_always_gives_a_map() {
    for (code, expected) in [
        ("local x = 1", "{}"),
        ("return nil", "{}"),
        ("return {}", "{}"),
        ("return {a = 1}", r#"{"a": 1}"#),
        ("return {1, 2}", r#"{"result": [1, 2]}"#),
        ("return 1.5", r#"{"result": 1.5}"#),
        ("return false", r#"{"result": false}"#),
        ("return ''", r#"{"result": ""}"#),
        ("return (...).x", r#"{"result": 7}"#),
    ] {
        assert_same(&update(code, map! { "x" => 7 }), expected);
    }
    let several = update("return 1, {2}", map! {});
    let tuple = Value::Tuple(Arc::new(vec![Value::Int(1), json("[2]")]));
    assert_eq!(several, map! { "result" => tuple });
}

/// `LU-5`, `Q-L15`: `execute` sets the global `state`; several results are converted each.
#[test]
fn execute_sees_the_global_state() {
    let mut runtime = runtime();
    let scope = || Scope::new().with("state", map! { "x" => 4 });
    assert_eq!(runtime.execute("return state.x + 1", scope()).unwrap(), Value::Int(5));
    assert_eq!(runtime.execute("local x = 1", scope()).unwrap(), Value::Null);
    let several = runtime.execute("return nil, {1}", scope()).unwrap();
    assert_eq!(several, Value::Tuple(Arc::new(vec![Value::Null, json("[1]")])));
    for value in [Value::Null, Value::Bool(true), Value::Int(41), Value::from("hello"), json("[1, 2, 3]")] {
        let scope = Scope::new().with("state", value.clone());
        assert_eq!(runtime.execute("return state", scope).unwrap(), value);
    }
    let condition = runtime.execute_condition("state.x == 4", scope()).unwrap();
    assert_eq!(condition.as_deref(), Some("true"));
    // A node's `state` is local and leaves the global alone (LU-7).
    let chunk = Chunk::node("return {local_x = state.x, global_x = _G.state.x}");
    let update = runtime.run_node(&chunk, Scope::new().with("state", map! { "x" => 9 })).unwrap();
    assert_same(&update, r#"{"global_x": 4, "local_x": 9}"#);
}

/// `LU-6`, `Q-L8`: results of conditions, and where `return` is added.
#[test]
fn conditions() {
    let state = || map! { "x" => 4, "returned" => true };
    for (expression, expected) in [
        ("state.x > 3", Some("true")),
        ("state.x < 3", Some("false")),
        ("'go'", Some("go")),
        ("  return state.x == 4 and 'a' or 'b'  ", Some("a")),
        ("return(state.x == 4)", Some("true")),
        ("returned == nil", Some("true")),
        ("state.missing", None),
        ("", None),
    ] {
        assert_eq!(condition(expression, state()).unwrap().as_deref(), expected, "{expression}");
    }
    for (expression, kind) in [("1", "int"), ("1.5", "float"), ("1, 2", "tuple"), ("{}", "_LuaTable")] {
        let error = condition(expression, state()).unwrap_err();
        let message = format!("Condition must return string, boolean, or nil, got: {kind}");
        assert_eq!((error.message, error.kind), (message, ErrorKind::Convert));
    }
}

/// `LU-36`: chunks with names of their own.
#[test]
fn chunks_with_other_names() {
    let chunk =
        Chunk::function("return {n = state.n + output.n, more = extra}", &["state", "output", "extra"]);
    let scope = Scope::new().with("output", map! { "n" => 2 }).with("state", map! { "n" => 1 });
    assert_same(&runtime().run_node(&chunk, scope).unwrap(), r#"{"n": 3}"#);
}

/// `LU-8`: the state is a copy, at every depth.
#[test]
fn changes_stay_in_lua() {
    let state = State::core(Arc::new(
        json(r#"{"x": 1, "list": ["orig"], "m": {"a": {"b": 1}}}"#).as_map().unwrap().clone(),
    ));
    let mut runtime = runtime();
    let code =
        "state.x = 99 state.list[1] = 'changed' state.m.a.b = 2 state.m.a.c = 3 state.m = nil return {y = 1}";
    let update = runtime.run_node(&Chunk::node(code), Scope::of(&state)).unwrap();
    assert_same(&update, r#"{"y": 1}"#);
    assert_same(&state.value(), r#"{"x": 1, "list": ["orig"], "m": {"a": {"b": 1}}}"#);
}

/// `LU-10`, `LU-25`: globals and changes to libraries last as long as the runtime, and no longer.
#[test]
fn globals_belong_to_the_runtime() {
    let count = Chunk::node("g = (g or 0) + 1; return {g = g}");
    let mut first = runtime();
    for expected in [1, 2] {
        assert_eq!(first.run_node(&count, Scope::new()).unwrap(), map! { "g" => expected });
    }
    first.run_node(&Chunk::node("string.upper = nil; function f() return 5 end"), Scope::new()).unwrap();
    let after = Chunk::node("return {gone = string.upper == nil, f = f and f()}");
    assert_same(&first.run_node(&after, Scope::new()).unwrap(), r#"{"f": 5, "gone": true}"#);
    let mut second = runtime();
    assert_eq!(second.run_node(&count, Scope::new()).unwrap(), map! { "g" => 1 });
    assert_same(&second.run_node(&after, Scope::new()).unwrap(), r#"{"gone": false}"#);
}

/// A runtime moves to another thread with its cursor.
#[test]
fn a_runtime_moves_between_threads() {
    let mut runtime = runtime();
    let count = Chunk::node("g = (g or 0) + 1; return {g = g}");
    runtime.run_node(&count, Scope::new()).unwrap();
    let again = count.clone();
    let mut runtime = std::thread::spawn(move || {
        runtime.run_node(&again, Scope::new()).unwrap();
        runtime
    })
    .join()
    .unwrap();
    assert_eq!(runtime.run_node(&count, Scope::new()).unwrap(), map! { "g" => 3 });
}

// -- Values into Lua ----------------------------------------------------------------------------------------

/// Section 3 of the rules: what values are inside Lua.
#[test]
fn values_into_lua() {
    let day = Value::Date(Date { year: 2020, month: 1, day: 1 });
    let state = map! {
        "none" => Value::Null, "yes" => true, "int" => i64::MAX, "float" => 1.0, "text" => "é",
        "nan" => f64::NAN, "inf" => f64::INFINITY,
        "list" => vec![Value::Int(1), Value::Null, Value::Int(3)],
        "tuple" => Value::Tuple(Arc::new(vec![Value::Int(1), Value::Int(2)])),
        "date" => day,
    };
    let code = "
        return {
            none = state.none == nil, yes = state.yes, int = state.int == math.maxinteger,
            int_type = math.type(state.int), float_type = math.type(state.float), float = tostring(state.float),
            bytes = #state.text, nan = state.nan ~= state.nan, inf = state.inf == math.huge,
            second = state.list[2] == nil, third = state.list[3], length = #state.list,
            tuple = state.tuple, date = state.date,
        }";
    let expected = r#"{
        "bytes": 2, "date": "2020-01-01", "float": "1.0", "float_type": "float", "inf": true, "int": true,
        "int_type": "integer", "length": 3, "nan": true, "none": true, "second": true, "third": 3,
        "tuple": "(1, 2)", "yes": true
    }"#;
    assert_same(&update(code, state), expected);
}

/// Section 3: keys keep their types; `true` and `1` are one key of a map but not of a table.
#[test]
fn keys_into_lua() {
    for filler in [0, 20] {
        let mut numbers = Map::new();
        numbers.insert(Key::new(Value::Int(1)).unwrap(), "x".into());
        numbers.insert(Key::new(Value::Int(2)).unwrap(), "y".into());
        let mut flags = Map::new();
        flags.insert(Key::new(Value::Bool(true)).unwrap(), "t".into());
        let mut dates = Map::new();
        dates.insert(Key::new(Value::Date(Date { year: 2020, month: 1, day: 1 })).unwrap(), "d".into());
        for map in [&mut flags, &mut dates] {
            for index in 0..filler {
                map.insert(format!("k{index}").into(), Value::Int(index));
            }
        }
        let state = map! { "numbers" => numbers, "flags" => flags, "dates" => dates };
        let code = "return {
            first = state.numbers[1], length = #state.numbers, list = state.numbers,
            flag = state.flags[true], one = state.flags[1] == nil, date = state.dates['2020-01-01'],
        }";
        let expected = r#"{
            "date": "d", "first": "x", "flag": "t", "length": 2, "list": ["x", "y"], "one": true
        }"#;
        assert_same(&update(code, state), expected);
    }
}

/// An integer beyond 64 bits is an error where it is read, and stays whole where it is not.
#[test]
fn integers_beyond_64_bits() {
    let big = Value::int(BigInt::from(i64::MAX) * 10);
    let error = node("return {v = state.big}", map! { "big" => big.clone() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Convert);
    assert!(error.message.contains("Python int too large to convert to C long"), "{error}");
    assert_eq!(error.line, Some(1));
    let state = map! { "big" => big, "x" => 1 };
    assert_eq!(update("return state", state.clone()), state);
}

/// Tables that are filled on demand act as ordinary tables, at every size.
#[test]
fn tables_on_demand_act_as_tables() {
    for length in [3_i64, 100] {
        let list: Vec<Value> = (1..=length).map(Value::Int).collect();
        let nested: Vec<Value> = (1..=length).map(|n| map! { "n" => n }).collect();
        let named: Map = (1..=length).map(|n| (Key::from(format!("k{n}")), Value::Int(n))).collect();
        let state = map! { "list" => list, "nested" => nested, "named" => named, "gone" => 1 };
        let n = length;
        let sum = n * (n + 1) / 2;
        for (code, expected) in [
            ("return type(state) .. type(state.list)", "\"tabletable\"".to_owned()),
            ("return #state.list + #state.nested", format!("{}", 2 * n)),
            ("local s = 0 for _, v in ipairs(state.list) do s = s + v end return s", format!("{sum}")),
            ("local s = 0 for _, v in ipairs(state.nested) do s = s + v.n end return s", format!("{sum}")),
            ("local s = 0 for _, v in pairs(state.named) do s = s + v end return s", format!("{sum}")),
            (
                "local s = 0 for i = #state.list, 1, -1 do s = s + state.list[i] end return s",
                format!("{sum}"),
            ),
            ("local c = 0 for k in pairs(state) do c = c + 1 end return c", "4".to_owned()),
            ("local c = 0 for k in next, state.named do c = c + 1 end return c", format!("{n}")),
            (
                "local c, k = 0, next(state.named) while k do c = c + 1 k = next(state.named, k) end return c",
                format!("{n}"),
            ),
            (
                "table.insert(state.list, 0) return state.list[#state.list] + #state.list",
                format!("{}", n + 1),
            ),
            ("table.insert(state.list, 1, 0) return state.list[2] + #state.list", format!("{}", n + 2)),
            ("return table.remove(state.list) + #state.list", format!("{}", 2 * n - 1)),
            ("return table.remove(state.list, 1) + #state.list", format!("{n}")),
            ("return #table.concat(state.list, ',', 1, 3)", "5".to_owned()),
            ("return select('#', table.unpack(state.list))", format!("{n}")),
            ("table.sort(state.list, function(a, b) return a > b end) return state.list[1]", format!("{n}")),
            ("return #table.move(state.list, 1, #state.list, 2)", format!("{}", n + 1)),
            ("state.list[#state.list + 1] = 5 return #state.list", format!("{}", n + 1)),
            (
                "local l = state.list local last = l[#l] l[#l] = nil return #l + last",
                format!("{}", 2 * n - 1),
            ),
            ("state.list[1] = nil return state.list[1] == nil", "true".to_owned()),
            ("local v = state.gone state.gone = nil return state.gone == nil and v", "1".to_owned()),
            ("state.gone = nil return state.gone == nil", "true".to_owned()),
            ("state.new = 3 return state.new", "3".to_owned()),
            ("return rawget(state.named, 'k1') + rawlen(state.list)", format!("{}", n + 1)),
            ("rawset(state.named, 'k1', 7) return state.named.k1 + state.named.k2", "9".to_owned()),
            (
                "return getmetatable(state.named) == nil and getmetatable(state.list) == nil",
                "true".to_owned(),
            ),
            ("return state.named == state.named", "true".to_owned()),
            ("return setmetatable(state.named, {__index = function() return 0 end}).zz", "0".to_owned()),
            ("return getmetatable(setmetatable(state.named, {x = 1})).x", "1".to_owned()),
            (
                "return state.list[0] == nil and state.list[1.0] == 1 and state.list.x == nil",
                "true".to_owned(),
            ),
            ("return state[nil] == nil and state[{}] == nil and state[print] == nil", "true".to_owned()),
        ] {
            let found = update(code, state.clone()).to_json();
            assert_eq!(found, json(&format!("{{\"result\": {expected}}}")).to_json(), "{length}: {code}");
        }
    }
}

/// The state of a node is not kept from being written to, and what the code kept stays valid.
#[test]
fn a_state_that_was_kept() {
    let keep = [
        "saved = state",
        "rawset(_G, 'saved', state)",
        "setmetatable(_G, nil) saved = state",
        "setmetatable(_G, {__newindex = rawset}) saved = state",
        "setmetatable({}, _G) saved = state",
        "math.saved = state saved = math.saved",
        "function f() return state end saved = setmetatable({}, {__index = function(_, k) return f()[k] end})",
        "local co = coroutine.wrap(function() while true do coroutine.yield(state.x) end end)
         saved = setmetatable({}, {__index = function() return co() end})",
    ];
    for (size, code) in [1, 1000].into_iter().flat_map(|size| keep.map(|code| (size, code))) {
        let mut entries = Map::new();
        entries.insert("x".into(), Value::Int(1));
        for index in 0..size {
            entries.insert(format!("k{index}").into(), Value::Int(index));
        }
        let state = State::core(Arc::new(entries));
        let mut runtime = runtime();
        runtime.run_node(&Chunk::node(code), Scope::of(&state)).expect(code);
        state.merge(map! { "x" => 2 }).expect("a merge");
        let later = Chunk::node("return {saved = saved.x, now = state.x}");
        let update = runtime.run_node(&later, Scope::of(&state)).expect(code);
        assert_same(&update, r#"{"now": 2, "saved": 1}"#);
    }
}

/// After a node the engine is the only owner of the state: writing to it copies nothing.
#[test]
fn nothing_holds_the_state_after_a_node() {
    for code in ["return {y = state.x}", "g = 1 return {y = state.x, z = state}", "error(state.x)"] {
        let mut entries = Map::new();
        entries.insert("x".into(), Value::Int(1));
        for index in 0..1000 {
            entries.insert(format!("k{index}").into(), Value::Int(index));
        }
        let entries = Arc::new(entries);
        let mut runtime = runtime();
        let scope = Scope::new().with("state", Value::Map(Arc::clone(&entries)));
        let outcome = runtime.run_node(&Chunk::node(code), scope);
        drop(outcome);
        assert_eq!(Arc::strong_count(&entries), 1, "{code}");
    }
}

/// A table of an earlier node that was hidden where nobody looks is an error, not an empty table.
#[test]
fn a_state_that_is_gone() {
    let mut runtime = runtime();
    let scope = Scope::new().with("state", map! { "x" => 1 });
    runtime.run_node(&Chunk::node("print = state"), scope).unwrap();
    let error = runtime.run_node(&Chunk::node("\nreturn print.x"), Scope::new()).unwrap_err();
    assert!(error.message.starts_with("[string \"<python>\"]:2: this table is the state of an earlier node"));
}

// -- Values out of Lua --------------------------------------------------------------------------------------

/// `LU-14`, `Q-L6`, `Q-L7`: tables.
#[test]
fn tables_out_of_lua() {
    for (code, expected) in [
        ("{}", "{}"),
        ("{1, 2, 3}", "[1, 2, 3]"),
        ("{1, nil, 3}", "[1, null, 3]"),
        ("{[2] = 'b'}", r#"[null, "b"]"#),
        ("{[1] = 'a', [5] = 'e'}", r#"["a", null, null, null, "e"]"#),
        ("{1, 2, x = 3}", r#"{"1": 1, "2": 2, "x": 3}"#),
        ("{[0] = 'z', [1] = 'a'}", r#"{"0": "z", "1": "a"}"#),
        ("{[-1] = 'z'}", r#"{"-1": "z"}"#),
        ("{a = {}, b = {{}}}", r#"{"a": {}, "b": [{}]}"#),
        ("{a = nil, b = 1}", r#"{"b": 1}"#),
        ("{[1.5] = 'x'}", r#"{"1.5": "x"}"#),
        ("{[true] = 'x'}", r#"{"true": "x"}"#),
        ("{['1'] = 'a'}", r#"{"1": "a"}"#),
        ("{[2.0] = 'b', [1] = 'a'}", r#"["a", "b"]"#),
        ("{1, 2, [2^53] = 1}", r#"{"1": 1, "2": 2, "9007199254740992": 1}"#),
        ("{[18] = 1}", &format!("[{}1]", "null, ".repeat(17))),
        ("{[19] = 1}", r#"{"19": 1}"#),
        ("setmetatable({1}, {__index = {9, 9}, __len = function() return 7 end})", "[1]"),
    ] {
        let expected = format!("{{\"v\": {expected}}}");
        assert_same(&update(&format!("return {{v = {code}}}"), map! {}), &expected);
    }
}

/// `LU-14`, `LU-18`: numbers. Floats with an integral value become integers, up to 2^53.
#[test]
fn numbers_out_of_lua() {
    for (code, expected) in [
        ("4.0", "4"),
        ("10 / 2", "5"),
        ("2 ^ 10", "1024"),
        ("-0.0", "0"),
        ("7 / 2", "3.5"),
        ("2 ^ 53", "9007199254740992"),
        ("9007199254740993", "9007199254740993"),
        ("math.mininteger", "-9223372036854775808"),
        ("1e300", "1e300"),
    ] {
        assert_same(&update(&format!("return {{v = {code}}}"), map! {}), &format!("{{\"v\": {expected}}}"));
    }
    let Value::Map(found) = update("return {nan = 0/0, inf = -1/0}", map! {}) else { panic!() };
    assert!(matches!(found.get("nan"), Some(Value::Float(float)) if float.is_nan()));
    assert!(matches!(found.get("inf"), Some(Value::Float(float)) if *float == f64::NEG_INFINITY));

    let with = |floats| {
        let mut runtime = Runtime::new(Options { floats, ..Options::default() }).unwrap();
        runtime.call(&Chunk::script("return {3.0, 2^70}"), Scope::new()).unwrap()
    };
    assert_same(&with(Floats::Integers), "[3, 1180591620717411303424.0]");
    assert_same(&with(Floats::AllIntegers), "[3, 1180591620717411303424]");
    assert_same(&with(Floats::Keep), "[3.0, 1180591620717411303424.0]");
}

/// `LU-15`, `Q-L12`: what the way through Lua changes is the same whether the code looked at it or not.
#[test]
fn round_trips() {
    let state = r#"{
        "empty": [], "nulls": [null], "holes": [null, 1, null], "none": {"a": null}, "float": [1.0, 2.5],
        "long": [1.0, null, 3, 4, 5, 6, 7, 8, 9, 10, {"deep": [null, 2.0, []]}], "text": {"1": "x"}, "x": null
    }"#;
    let expected = r#"{
        "empty": [], "nulls": [], "holes": [null, 1], "none": {}, "float": [1, 2.5],
        "long": [1, null, 3, 4, 5, 6, 7, 8, 9, 10, {"deep": [null, 2, []]}], "text": {"1": "x"}
    }"#;
    let look =
        "local function look(t) for _, v in pairs(t) do if type(v) == 'table' then look(v) end end end ";
    for code in [
        "return state",
        "local l = state.long return state",
        "local l = state.long[11].deep return state",
        "state.zz = 1 state.zz = nil return state",
        &format!("{look} look(state.long) return state"),
    ] {
        assert_same(&update(code, json(state)), expected);
    }
    // Once it is iterated over, the order of a map is Lua's: sorted.
    let sorted = update(&format!("{look} look(state) return state"), json(state));
    assert_eq!(sorted, json(expected));
    assert!(sorted.as_map().unwrap().keys().is_sorted_by_key(|key| key.as_str()));
    assert_same(&update("return {new = {}, old = state.empty}", json(state)), r#"{"new": {}, "old": []}"#);
}

/// `LU-16`: the order of a state that is returned is its own; new entries follow, sorted.
#[test]
fn order_of_keys() {
    let state = json(r#"{"z": 1, "m": 2, "a": 3}"#);
    let found = update("state.q = 1 state.b = 2 state.m = nil state.z = 9 return state", state);
    assert_same(&found, r#"{"z": 9, "a": 3, "b": 2, "q": 1}"#);
}

/// `LU-14`, `LU-49`: texts that are no UTF-8, in the words of Python's decoder.
#[test]
fn texts_that_are_not_utf8() {
    for (code, message) in [
        (r"'\xff'", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (r"'a\xc3('", "'utf-8' codec can't decode byte 0xc3 in position 1: invalid continuation byte"),
        (r"'ab\xe2\x82'", "'utf-8' codec can't decode bytes in position 2-3: unexpected end of data"),
        (r"{['\xff'] = 1}", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ] {
        let error = fails(&format!("return {{v = {code}}}"));
        assert_eq!((error.message.as_str(), error.kind), (message, ErrorKind::Convert));
    }
    assert_eq!(update("return {v = 'a\\0b'}", map! {}), map! { "v" => "a\0b" });
}

/// `LU-48`: what has no value form.
#[test]
fn functions_do_not_come_out() {
    for (code, message) in [
        ("print", "cannot convert a function to a value"),
        ("coroutine.create(print)", "cannot convert a thread to a value"),
        ("{[print] = 1}", "cannot convert a function used as a key to a value"),
    ] {
        assert_eq!(
            fails(&format!("return {{v = {{{code}}}}}", code = code.trim_matches(['{', '}']))).message,
            message
        );
    }
}

/// `Q-L13`, `LU-23`: cycles and depth.
#[test]
fn cycles_and_depth() {
    assert_eq!(fails("local t = {} t.t = {t} return t").message, "table contains a cycle");
    assert_eq!(fails("state.s = state return state").message, "table contains a cycle");
    assert_same(&update("local t = {1} return {t, t}", map! {}), r#"{"result": [[1], [1]]}"#);
    let deep = "local t = {} for _ = 1, 600 do t = {t} end return t";
    assert_eq!(fails(deep).message, "table is nested deeper than 200 levels");
    update("local t = {} for _ = 1, 190 do t = {t} end return t", map! {});
}

/// `LU-23`: a small table that stands for a huge value.
#[test]
fn results_are_bounded() {
    let mut runtime = limited(|limits| limits.memory = Some(4 << 20));
    for code in [
        "local t = {1} for _ = 1, 40 do t = {t, t} end return t",
        "local s = ('x'):rep(1 << 20) return {s, s, s, s, s, s}",
    ] {
        let error = runtime.run_node(&Chunk::node(code), Scope::new()).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Memory, "the result is larger than 4194304 bytes")
        );
    }
}

// -- Live objects of a host ---------------------------------------------------------------------------------

/// A live state is read as the code reads it.
#[test]
fn a_state_of_the_host_is_read_lazily() {
    let objects = HostObjects::new();
    let state = json(
        r#"{"x": 1, "list": [1, 2, {"n": 3}, 4, 5, 6, 7, 8, 9], "m": {"a": {"b": 5}}, "unread": {"c": [1.0, null]}}"#,
    );
    let root = objects.keep("dict", state.clone());
    let scope = || Scope::new().with("state", Value::Host(root.clone())).host(objects.clone());
    let mut runtime = runtime();
    let code =
        Chunk::node("return {v = state.x + state.m.a.b + state.list[3].n, n = #state.list, z = state.zz}");
    assert_same(&runtime.run_node(&code, scope()).unwrap(), r#"{"n": 9, "v": 9}"#);
    assert_eq!(objects.gets(), ["x", "m", "a", "b", "list", "2", "n", "zz"].map(String::from));

    let changed =
        runtime.run_node(&Chunk::node("state.x = 2 state.list[1] = 0 return state"), scope()).unwrap();
    let expected =
        r#"{"x": 2, "list": [0, 2, {"n": 3}, 4, 5, 6, 7, 8, 9], "m": {"a": {"b": 5}}, "unread": {"c": [1]}}"#;
    assert_same(&changed, expected);
    assert_same(&objects.value(&root), &state.to_json());
    let keys =
        Chunk::node("local n = 0 for k, v in pairs(state) do n = n + 1 end return {n = n, t = type(state)}");
    assert_same(&runtime.run_node(&keys, scope()).unwrap(), r#"{"n": 4, "t": "table"}"#);
}

/// `LU-13`: other objects of the host are their texts, or opaque values where the host wants that.
#[test]
fn other_objects_of_the_host() {
    let objects = HostObjects::new();
    let thing = objects.keep("Thing", map! { "name" => "n" });
    let state = || map! { "o" => Value::Host(thing.clone()) };
    let scope = || Scope::new().with("state", state()).host(objects.clone());
    let code = Chunk::node("return {o = state.o, t = type(state.o)}");
    let found = runtime().run_node(&code, scope()).unwrap();
    assert_same(&found, r#"{"o": "<Thing>", "t": "string"}"#);

    let mut runtime = Runtime::new(Options { objects: Objects::Reference, ..Options::default() }).unwrap();
    let found = runtime.run_node(&code, scope()).unwrap();
    assert_eq!(found, map! { "o" => Value::Host(thing.clone()), "t" => "userdata" });
    let fields =
        Chunk::node("return {n = state.o.name, s = tostring(state.o), m = getmetatable(state.o) == false}");
    assert_same(&runtime.run_node(&fields, scope()).unwrap(), r#"{"m": true, "n": "n", "s": "<Thing>"}"#);
    let error = runtime.run_node(&Chunk::node("state.o.name = 1"), scope()).unwrap_err();
    assert!(error.message.contains("attempt to index a host object value"), "{error}");
}

/// A host that fails to answer fails the node, where it asked.
#[test]
fn a_failing_host() {
    let objects = HostObjects::new();
    let root = objects.keep("dict", map! { "bad" => Value::from("!fail") });
    let scope = Scope::new().with("state", Value::Host(root)).host(objects);
    let error = runtime().run_node(&Chunk::node("local a = 1\nreturn state.bad"), scope).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Host);
    assert_eq!(error.message, "[string \"<python>\"]:2: the host does not want to");
}

// -- Sandbox ------------------------------------------------------------------------------------------------

/// `LU-19` to `LU-22`: what is there and what is not.
#[test]
fn the_sandbox() {
    for absent in [
        "os",
        "io",
        "debug",
        "loadfile",
        "dofile",
        "require",
        "package",
        "python",
        "string.dump",
        "__tea_check_timeout",
        "('').dump",
    ] {
        assert_same(&update(&format!("return {{v = {absent} == nil}}"), map! {}), r#"{"v": true}"#);
    }
    for present in [
        "string.find",
        "math.floor",
        "table.insert",
        "pairs",
        "ipairs",
        "type",
        "tostring",
        "tonumber",
        "pcall",
        "xpcall",
        "error",
        "select",
        "next",
        "assert",
        "coroutine.wrap",
        "utf8.len",
        "setmetatable",
        "getmetatable",
        "rawget",
        "rawset",
        "rawequal",
        "rawlen",
        "load",
        "print",
        "warn",
        "_G",
        "_VERSION",
        "table.unpack",
        "math.type",
        "unpack",
        "loadstring",
        "math.pow",
    ] {
        assert_same(&update(&format!("return {{v = {present} ~= nil}}"), map! {}), r#"{"v": true}"#);
    }
    assert_same(&update("return {v = _VERSION}", map! {}), r#"{"v": "Lua 5.4"}"#);
    assert_same(&update("return {v = collectgarbage('count') > 1}", map! {}), r#"{"v": true}"#);
    assert!(fails("collectgarbage()").message.contains("only the option 'count'"));
}

/// Ways out that work in the reference, and some that were thought of since (`Q-L1`).
#[test]
fn no_way_out() {
    for code in [
        // Binary chunks.
        "return load('\\27Lua')",
        "return load('\\27Lua', 'x', 'b')",
        "return loadstring('\\27Lua')",
        "return load(function() return '\\27Lua' end, 'x', 'bt')",
        "return load('return os', 'x', 't')()",
        "return load('return io', 'x', 't', _G)()",
        "return load('return require')()",
        // What lies behind the sandbox's own functions.
        "return getmetatable(state)",
        "return getmetatable(_G)",
        "return getmetatable(string)",
        "local seen for _, v in pairs(state) do seen = seen or type(v) == 'userdata' or nil end return seen",
        "local found for k, v in pairs(_G) do if type(v) == 'userdata' then found = k end end return found",
        "local found for k in pairs(_G) do if k == 'host' or k == 'run' then found = k end end return found",
        "local found; xpcall(error, function(e) found = debug end) return found",
    ] {
        let mut state = Map::new();
        for index in 0..100 {
            state.insert(format!("k{index}").into(), json("[1, [2]]"));
        }
        let found = update(code, Value::map(state));
        let none = match found.as_map().unwrap().get("result") {
            None => true,
            Some(Value::Tuple(results)) => matches!(results.first(), Some(Value::Null)),
            Some(_) => false,
        };
        assert!(none, "{code}: {found:?}");
    }
    // Finalizers, and handlers of variables that are closed, would run without limits.
    for code in [
        "setmetatable({}, {__gc = print})",
        "setmetatable({}, {__close = print})",
        "local mt = {} setmetatable({}, mt) mt.__close = print",
        "local mt = {} setmetatable({}, mt) rawset(mt, '__close', print)",
        "local mt = {} setmetatable({}, mt) getmetatable(setmetatable({}, mt)).__close = print",
        "local mt = {} setmetatable({}, mt) setmetatable(mt, {}) mt.__close = print",
        "local mt = setmetatable({}, {}) setmetatable({}, mt) mt.__close = print",
        "local mt = setmetatable({}, {__newindex = rawset}) setmetatable({}, mt) mt.__close = print",
        "local mm = {} local mt = setmetatable({}, mm) setmetatable({}, mt) mm.__newindex = nil mt.__close = print",
        "local mt = {} setmetatable({}, mt) setmetatable(mt, nil) mt.__close = print",
        "getmetatable('').__close = print",
        "getmetatable(getmetatable('')).__newindex = nil",
        "local mt = setmetatable({}, {__metatable = 1}) setmetatable({}, mt)",
    ] {
        let error = fails(code);
        let refused = ["is not available in metatables", "cannot be a metatable", "index a nil value"];
        assert!(refused.iter().any(|text| error.message.contains(text)), "{code}: {error}");
    }
    // Changing a library changes nothing for the engine.
    let mut runtime = runtime();
    let spoil = "for _, t in ipairs{string, table, math, coroutine, _G} do
        for k in next, t do if t ~= _G or k ~= 'next' then t[k] = nil end end end";
    runtime.run_node(&Chunk::node(&format!("local ipairs, next = ipairs, next {spoil}")), Scope::new()).ok();
    let scope = Scope::new().with("state", json(r#"{"x": 1, "l": [[1]]}"#));
    let update = runtime.run_node(&Chunk::node("return {x = state.x, l = state.l[1][1]}"), scope).unwrap();
    assert_same(&update, r#"{"l": 1, "x": 1}"#);
}

/// `LU-22`: output goes line by line to one callback.
#[test]
fn output() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let output: tea_engine::lua::Output = Arc::new(move |channel: Channel, text: &str| {
        kept.lock().unwrap().push((channel, text.to_owned()));
    });
    let mut runtime = Runtime::new(Options { output: Some(output), ..Options::default() }).unwrap();
    let code = "print('a', 1, nil, 2.0, setmetatable({}, {__tostring = function() return 'obj' end}))
        print() warn('@on') warn('w', 'x') print('\\xff')";
    runtime.run_node(&Chunk::node(code), Scope::new()).unwrap();
    let expected = [
        (Channel::Print, "a\t1\tnil\t2.0\tobj"),
        (Channel::Print, ""),
        (Channel::Warn, "wx"),
        (Channel::Print, "\u{fffd}"),
    ];
    assert_eq!(*lines.lock().unwrap(), expected.map(|(channel, text)| (channel, text.to_owned())));
}

/// `LU-52`: a seed makes random numbers repeat.
#[test]
fn seeds() {
    let draw = |seed| {
        let mut runtime = Runtime::new(Options { seed, ..Options::default() }).unwrap();
        runtime.call(&Chunk::script("return math.random(1 << 60)"), Scope::new()).unwrap()
    };
    assert_eq!(draw(Some(7)), draw(Some(7)));
    assert_ne!(draw(None), draw(None));
}

// -- Limits -------------------------------------------------------------------------------------------------

/// Loops that never end by themselves, and ways to keep them from being stopped (`LU-38` to `LU-41`, `Q-L10`).
const ENDLESS: &[&str] = &[
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "coroutine.wrap(function() while true do end end)()",
    "local co = coroutine.create(function() while true do pcall(function() while true do end end) end end)
     while true do coroutine.resume(co) end",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "local function f() while true do pcall(coroutine.wrap(f)) end end f()",
    "local function f() for _ = 1, 100 do coroutine.wrap(f)() end end while true do pcall(f) end",
    "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
    "while true do load(function() while true do end end) end",
    "while true do pcall(load, function() while true do end end) end",
    "return tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "print(setmetatable({}, {__tostring = function() while true do end end}))",
    "table.sort({1, 2, 3}, function() while true do end end)",
    "string.gsub(('x'):rep(100), 'x', function() while true do end end)",
    "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
    "for _ in function() return 1 end do end",
    "goto again ::again:: goto again",
    // Patterns that take for ever.
    "string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(40))",
    "string.match(('a'):rep(10000), '.-.-.-.-.-b')",
    "for _ in string.gmatch(('a'):rep(10000), '.-.-.-.-.-b') do end",
    "string.gsub(('a'):rep(10000), '.-.-.-.-.-b', '')",
    "while true do pcall(string.find, ('a'):rep(3000), '.-.-.-.-.-b') end",
    "string.find(('a'):rep(1 << 22), ('a'):rep(1 << 21) .. 'b', 1, true)",
    // Loops inside of C functions.
    "table.insert(setmetatable({}, {__len = function() return 1 << 60 end}), 1, 0)",
    "table.remove(setmetatable({}, {__len = function() return 1 << 60 end}), 1)",
    "table.concat(setmetatable({}, {__index = function() return '' end}), '', 1, 1 << 60)",
    "table.move({}, 1, math.maxinteger - 1, 2)",
    "table.sort(setmetatable({}, {__len = function() return 1 << 60 end, __index = rawlen}))",
];

#[test]
fn time_cannot_be_evaded() {
    for code in ENDLESS {
        let mut runtime = short();
        let begin = Instant::now();
        let error = runtime.run_node(&Chunk::node(code), Scope::new()).expect_err(code);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "execution timeout"), "{code}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{code}: {:?}", begin.elapsed());
        // The runtime stays usable (LU-38).
        let after = runtime.run_node(
            &Chunk::node("local s = 0 for i = 1, 5000 do s = s + i end return {s = s}"),
            Scope::new(),
        );
        assert_same(&after.expect(code), r#"{"s": 12502500}"#);
    }
}

#[test]
fn instructions_cannot_be_evaded() {
    for code in ENDLESS {
        let mut runtime = limited(|limits| limits.instructions = Some(100_000));
        let error = runtime.run_node(&Chunk::node(code), Scope::new()).expect_err(code);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Instructions, "too many instructions"),
            "{code}"
        );
    }
    let mut runtime = limited(|limits| limits.instructions = Some(100_000));
    for _ in 0..10 {
        runtime.run_node(&Chunk::node("for i = 1, 30000 do end"), Scope::new()).unwrap();
    }
}

/// Cancellation by another thread stops the code, and later code of the run.
#[test]
fn cancellation() {
    for code in [ENDLESS[0], ENDLESS[1], ENDLESS[6]] {
        let cancel = Arc::new(AtomicBool::new(false));
        let mut runtime =
            Runtime::new(Options { cancel: Arc::clone(&cancel), ..Options::default() }).unwrap();
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            cancel.store(true, Ordering::Relaxed);
        });
        let error = runtime.run_node(&Chunk::node(code), Scope::new()).unwrap_err();
        canceller.join().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Cancelled, "execution cancelled"));
        assert!(error.is_stop());
        let error = runtime.run_node(&Chunk::node("for i = 1, 10000 do end"), Scope::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }
}

/// `LU-39`: shorter code than the hook's stride is never stopped; a stop is known by its line.
#[test]
fn the_time_limit_in_detail() {
    let mut runtime = limited(|limits| limits.time = Some(Duration::ZERO));
    runtime.run_node(&Chunk::node("return {a = 1}"), Scope::new()).unwrap();
    let error = runtime.run_node(&Chunk::node("local a = 1\n\nwhile true do end"), Scope::new()).unwrap_err();
    assert_eq!((error.kind, error.line), (ErrorKind::Timeout, Some(3)));
    // Code that catches the stop and finishes was stopped all the same.
    let caught = "pcall(function() while true do end end) return {ok = true}";
    assert_eq!(runtime.run_node(&Chunk::node(caught), Scope::new()).unwrap_err().kind, ErrorKind::Timeout);
}

/// `Q-L11`: a text about a timeout is no timeout.
#[test]
fn errors_about_timeouts() {
    let error = fails("error('request timeout from peer', 0)");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Runtime, "request timeout from peer"));
    assert!(!error.is_stop());
}

/// `LU-23`, `LU-41`: memory, also in one long call of C, also when the error is caught.
#[test]
fn memory() {
    for code in [
        "return {v = #string.rep('x', 1 << 40)}",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
        "local s = ('x'):rep(1000) local t = {} while true do t[#t + 1] = s .. #t end",
        "return table.concat(setmetatable({}, {__index = function() return 'xxxxxxxx' end}), '', 1, 1 << 60)",
    ] {
        let mut runtime = limited(|limits| limits.memory = Some(8 << 20));
        let error = runtime.run_node(&Chunk::node(code), Scope::new()).expect_err(code);
        assert!(matches!(error.kind, ErrorKind::Memory | ErrorKind::Runtime), "{code}: {error:?}");
        let expected =
            if code.contains("1 << 40") { "resulting string too large" } else { "not enough memory" };
        assert!(error.message.contains(expected) || error.kind == ErrorKind::Memory, "{code}: {error}");
        assert!(runtime.used_memory() <= 8 << 20);
        runtime.run_node(&Chunk::node("return {a = 1}"), Scope::new()).expect(code);
    }
    let mut runtime = limited(|limits| limits.memory = Some(8 << 20));
    let caught = "local ok, e = pcall(string.rep, 'x', 1 << 24) return {ok = ok, e = e}";
    let found = runtime.run_node(&Chunk::node(caught), Scope::new()).unwrap();
    assert_same(&found, r#"{"e": "not enough memory", "ok": false}"#);
    // With memory used up, the time limit still holds.
    let mut runtime = limited(|limits| {
        limits.memory = Some(2 << 20);
        limits.time = Some(Duration::from_millis(200));
    });
    let full = "local t = {} pcall(function() while true do t[#t + 1] = {t[#t]} end end)
        local function spin() while true do end end while true do pcall(spin) end";
    let error = runtime.run_node(&Chunk::node(full), Scope::new()).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Timeout | ErrorKind::Memory), "{error:?}");
}

/// `LU-50`: deep recursion is an error of the code.
#[test]
fn recursion() {
    for code in [
        "local function f() return 1 + f() end return f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "local function f() return (string.gsub('x', 'x', f)) end return f()",
        "local function f() return coroutine.wrap(f)() end return f()",
        "local t = {} for _ = 1, 300 do t = setmetatable({}, {__index = t}) end return t.x, load(('('):rep(1000) .. '1')()",
    ] {
        let error = fails(code);
        assert_eq!(error.kind, ErrorKind::Runtime, "{code}: {error:?}");
    }
    assert!(fails("local function f() return 1 + f() end return f()").message.contains("stack overflow"));
}

// -- Errors -------------------------------------------------------------------------------------------------

/// `LU-42`, `LU-44`, `Q-L14`, `Q-L16`: texts, with the user's own lines in every way of running.
#[test]
fn texts_of_errors() {
    for (code, message, line) in [
        ("this is not lua", "error loading code: [string \"<python>\"]:1: syntax error near 'is'", Some(1)),
        ("return nil + 1", "[string \"<python>\"]:1: attempt to perform arithmetic on a nil value", Some(1)),
        (
            "return undefined_fn()",
            "[string \"<python>\"]:1: attempt to call a nil value (global 'undefined_fn')",
            Some(1),
        ),
        (
            "\nreturn state.a.b.c",
            "[string \"<python>\"]:2: attempt to index a nil value (field 'b')",
            Some(2),
        ),
        ("error('boom')", "[string \"<python>\"]:1: boom", Some(1)),
        ("error('boom', 0)", "boom", None),
        ("error(42)", "42", None),
        ("error(true)", "true", None),
        ("error()", "<no error object>", None),
        ("error(nil)", "<no error object>", None),
        ("error(setmetatable({}, {__tostring = function() return 'mine' end}))", "mine", None),
        ("pcall(error, 'x') error('y')", "[string \"<python>\"]:1: y", Some(1)),
        ("local ok, e = pcall(error, {code = 7}) error(e.code, 0)", "7", None),
        (
            "\ntable.insert(nil, 1)",
            "[string \"<python>\"]:2: bad argument #1 to 'insert' (table expected, got nil)",
            Some(2),
        ),
        (
            "\nrawset(1, 2, 3)",
            "[string \"<python>\"]:2: bad argument #1 to 'rawset' (table expected, got number)",
            Some(2),
        ),
        (
            "local x = 1\nlocal s = ('x'):rep(1, 2, {}) .. string.rep()",
            "[string \"<python>\"]:2: bad argument #1 to 'rep' (string expected, got no value)",
            Some(2),
        ),
        ("return 1 + {}", "[string \"<python>\"]:1: attempt to perform arithmetic on a table value", Some(1)),
    ] {
        let error = node(code, map! { "a" => map! { "z" => 1 } }).unwrap_err();
        assert_eq!((error.message.as_str(), error.line), (message, line), "{code}");
        let kind = if code == "this is not lua" { ErrorKind::Syntax } else { ErrorKind::Runtime };
        assert_eq!(error.kind, kind, "{code}");
        let direct =
            runtime().execute(code, Scope::new().with("state", json(r#"{"a": {"z": 1}}"#))).unwrap_err();
        assert_eq!(direct.message, message);
    }
    let error = fails("local function inner() error('deep') end\ninner()");
    assert!(
        error
            .traceback
            .is_some_and(|text| text.contains("in upvalue 'inner'") || text.contains("in local 'inner'"))
    );
    assert!(fails("error({})").message.starts_with("table: "));
    // Code cannot leave the function that it becomes (LU-43).
    assert_eq!(fails("end return 1").kind, ErrorKind::Syntax);
    assert_eq!(
        fails("return {\n").message,
        "error loading code: [string \"<python>\"]:2: unexpected symbol near <eof>"
    );
    // A name of one's own.
    let error = runtime().run_node(&Chunk::node("x()").named("node a"), Scope::new()).unwrap_err();
    assert!(error.message.starts_with("[string \"node a\"]:1: "), "{error}");
}

/// Syntax errors show when a chunk is compiled, without running it.
#[test]
fn compiling_only() {
    let mut runtime = runtime();
    runtime.compile(&Chunk::node("error('not run')")).unwrap();
    let error = runtime.compile(&Chunk::node("x = = 1")).unwrap_err();
    assert_eq!((error.kind, error.line), (ErrorKind::Syntax, Some(1)));
}

/// `LU-11`: no templates in Lua.
#[test]
fn no_templates() {
    let found =
        update("local t = {{ state.x }} return {v = t[1][1], s = '{{ state.x }}'}", map! { "x" => 5 });
    assert_same(&found, r#"{"s": "{{ state.x }}", "v": 5}"#);
}

/// `pcall` and its kin behave as in Lua, apart from limits.
#[test]
fn errors_inside_lua() {
    for (code, expected) in [
        ("local ok, e = pcall(error, {code = 7}) return {ok, e.code}", "[false, 7]"),
        ("return {pcall(function(...) return select('#', ...), ... end, 1, nil, 3)}", "[true, 3, 1, null, 3]"),
        ("return {xpcall(function() error('x', 0) end, function(e) return e .. '!' end)}", r#"[false, "x!"]"#),
        ("return {pcall(pcall)}", r#"[true, false, "attempt to call a nil value"]"#),
        ("return {pcall(coroutine.resume, 1)}", r#"[false, "bad argument #1 to 'resume' (coroutine expected)"]"#),
        ("local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error('e' .. b, 0) end)
          local _, x = coroutine.resume(co, 1) local ok, e = coroutine.resume(co, 5)
          return {x, ok, e, coroutine.status(co)}", r#"[2, false, "e5", "dead"]"#),
        ("local co = coroutine.wrap(function() pcall(function() coroutine.yield(1) end) coroutine.yield(2) end)
          return {co(), co()}", "[1, 2]"),
        ("local f = load('local a = ... return a + 1') return {f(1)}", "[2]"),
        ("local parts = {'return ', '7'} local i = 0
          return {load(function() i = i + 1 return parts[i] end)()}", "[7]"),
        ("local e = {x = 3} return {load('return x', 'n', 't', e)()}", "[3]"),
        ("local f, e = load('x = ') return {f == nil, e}", r#"[true, "[string \"x = \"]:1: unexpected symbol near <eof>"]"#),
        ("local f, e = load(function() error('no', 0) end) return {f == nil, e}", r#"[true, "no"]"#),
    ] {
        let found = update(code, map! {});
        assert_same(&found, &format!("{{\"result\": {expected}}}"));
    }
}

/// Metatables behave as in Lua, also those of tables that are metatables themselves.
#[test]
fn metatables() {
    for (code, expected) in [
        (
            "local mt = {} local t = setmetatable({}, mt) mt.__index = function(_, k) return k end return t.x",
            "\"x\"",
        ),
        ("local mt = {} return getmetatable(setmetatable({}, mt)) == mt and getmetatable(mt) == nil", "true"),
        (
            "local A = {} A.__index = A function A.f() return 1 end
          local B = setmetatable({}, {__index = A}) B.__index = B function B.g() return 2 end
          local o = setmetatable({}, B) function B.h() return 3 end return {o.f(), o.g(), o.h()}",
            "[1, 2, 3]",
        ),
        (
            "local B = {} B.__index = B local o = setmetatable({}, B) setmetatable(B, {__index = {f = 7}})
          return {o.f, B.f}",
            "[7, 7]",
        ),
        (
            "local mm = {__index = {f = 7}} local B = setmetatable({}, mm) local o = setmetatable({}, B)
          return getmetatable(B) == mm",
            "true",
        ),
        (
            "local seen = {} local B = setmetatable({}, {__newindex = function(t, k, v) seen[k] = v end})
          setmetatable({}, B) B.x = 1 return {seen.x, B.x == nil}",
            "[1, true]",
        ),
        (
            "local C = setmetatable({}, {__call = function(c, x) return setmetatable({x = x}, c) end})
          C.__index = C C.__eq = function(a, b) return a.x == b.x end return C(1) == C(1)",
            "true",
        ),
        ("return getmetatable(setmetatable({}, {__metatable = 'locked'}))", "\"locked\""),
        ("local n = 0 for k in pairs(setmetatable({a = 1}, {})) do n = n + 1 end return n", "1"),
        ("return ('x'):rep(3) .. #getmetatable('').__index.format('%d', 10)", "\"xxx2\""),
        (
            "local mt = {} setmetatable({}, mt) rawset(mt, 'y', 1) mt.x = 1 return {mt.x, mt.y, rawlen(mt)}",
            "[1, 1, 0]",
        ),
    ] {
        let found = update(code, map! {});
        assert_same(&found, &format!("{{\"result\": {expected}}}"));
    }
}

/// Tables with metamethods of the code's own go through the sandbox's table functions.
#[test]
fn table_functions_with_metamethods() {
    let proxy = "local back = {3, 1, 2} local p = setmetatable({}, {
        __index = back, __newindex = back, __len = function() return #back end}) ";
    for (code, expected) in [
        ("table.insert(p, 9) return back", "[3, 1, 2, 9]"),
        ("table.insert(p, 1, 9) return back", "[9, 3, 1, 2]"),
        ("return {table.remove(p), #back}", "[2, 2]"),
        ("return {table.remove(p, 1), back[1], #back}", "[3, 1, 2]"),
        ("table.sort(p) return back", "[1, 2, 3]"),
        (
            "return {table.concat(p, '-'), table.concat(p, '-', 2), table.concat(p, '', 3, 2)}",
            r#"["3-1-2", "1-2", ""]"#,
        ),
        ("return table.move(p, 1, 3, 2, {0})", "[0, 3, 1, 2]"),
        ("table.move(p, 1, 3, 2) return back", "[3, 3, 1, 2]"),
        ("return {pcall(table.insert, p, 9, 9)}", r#"[false, "position out of bounds"]"#),
        ("return {pcall(table.remove, p, 9)}", r#"[false, "position out of bounds"]"#),
    ] {
        let found = update(&format!("{proxy}{code}"), map! {});
        assert_same(&found, &format!("{{\"result\": {expected}}}"));
    }
}

/// Long texts take the engine's own patterns: they give what Lua's give.
#[test]
fn metered_patterns() {
    let lua = mlua::Lua::new();
    let prelude = "local s = ('lorem ipsum '):rep(400) .. 'key=val; k2 = \"v 2\"; [x](y(z)) end' local r = {}
        local function add(...) for i = 1, select('#', ...) do r[#r + 1] = tostring((select(i, ...))) end end ";
    for code in [
        "add(s:find('k2')) add(s:find('nothing')) add(s:find('=', 1, true)) add(s:find('(%w+)=(%w+)'))",
        "add(s:find('%s*$')) add(s:find('end$')) add(s:find('')) add(s:find('', #s + 1)) add(s:find('', #s + 2))",
        "add(s:find('key', -40)) add(s:find('lorem', 100)) add(s:find('^lorem.*end')) add(s:find('^ipsum.*'))",
        "add(s:match('^%s*(.-)%s*$') == s) add(s:match('()=()')) add(s:match('%b()')) add(s:match('k%d+ = \"(.-)\"'))",
        "add(s:match('%f[%w]%a+', 4800)) add(s:match('zzz.*')) add(s:match('.-(%d)', 4000))",
        "local n = 0 for w in s:gmatch('%a+') do n = n + 1 end add(n)",
        "for k, v in s:gmatch('(%w+)%s*=%s*(%w+)') do add(k, v) end",
        "local n = 0 for a in s:gmatch('o*') do n = n + #a + 1 end add(n)",
        "local n = 0 for p in s:gmatch('()ip.-m') do n = n + p end add(n) for w in s:gmatch('%a+', -7) do add(w) end",
        "add(s:gsub('%a+', 'x')) add(s:gsub('o*', '-')) add(s:gsub('(%a)(%a+)', '%2%1 %0 %%', 3))",
        "add(s:gsub('%w+', {lorem = 'L', key = 5, ipsum = false})) add(s:gsub('%s+', function() return nil end))",
        "add(s:gsub('(%w+)=(%w+)', function(a, b) return b .. a end)) add(s:gsub('^lorem.-m', 'X'))",
        "add(s:gsub('%s*$', '!')) add(s:gsub('()', '.', 2)) add(s:gsub('.*', 7)) add(s:gsub('i.-m', '%0%1', 1))",
        "add(select(2, s:gsub('.-', ''))) add(s:gsub('%a*', 'x', 0))",
        "add(pcall(string.find, s, '(a*')) add(pcall(string.find, s, '%')) add(pcall(string.match, s, '[a+'))",
        "add(pcall(string.gsub, s, 'l+', '%9')) add(pcall(string.gsub, s, 'l+', '%x'))",
        "add(pcall(string.gsub, s, 'l+', function() return {} end)) add(pcall(string.gsub, s, 'l+'))",
        "add((pcall(string.find, s, 'l+', {})))",
    ] {
        let code = format!("{prelude}{code} return r");
        let theirs: Vec<String> = lua.load(&code).eval().unwrap_or_else(|error| panic!("{code}: {error}"));
        let ours = runtime()
            .call(&Chunk::script(&code), Scope::new())
            .unwrap_or_else(|error| panic!("{code}: {error}"));
        let ours: Vec<String> =
            ours.as_list().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        let plain = |texts: &[String]| -> Vec<String> {
            // Places differ: Lua's own functions are called by `pcall`, not by the code.
            texts
                .iter()
                .map(|text| text.split("\"]:2: ").last().unwrap_or_default().replace("'gsub' ", "'?' "))
                .collect()
        };
        let (ours, theirs) = (plain(&ours), plain(&theirs));
        assert_eq!(ours.len(), theirs.len(), "{code}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let same = ours == theirs || ours.contains("bad argument") && theirs.contains("bad argument");
            assert!(same, "{code}\n{ours}\n{theirs}");
        }
    }
}

// -- Detection ----------------------------------------------------------------------------------------------

/// `LU-32`, `LU-33`.
#[test]
fn detection() {
    for lua in [
        "local x = 1",
        "if x then end",
        "function f() end",
        "if x then y elseif z then w end",
        "a = b .. c",
        "-- lua\nx = 1",
        "  --lua",
        "x = 'the end'",
        "return ...",
    ] {
        assert!(detect_lua_code(lua), "{lua}");
    }
    for other in ["x = 1", "return x", "def func(): pass", "append(endpoint)", "x.y.z", "-- luau", "locale"] {
        let marked = other.starts_with("-- lua");
        assert_eq!(detect_lua_code(other), marked, "{other}");
    }
}
