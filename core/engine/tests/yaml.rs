//! The YAML reader against rules `yaml/YP-1` to `YP-17`. What PyYAML makes of thousands of other documents is
//! compared by `ci/yaml_diff.py`.

use proptest::prelude::*;
use tea_engine::host::PathStep;
use tea_engine::value::{Value, repr};
use tea_engine::yaml::{Limits, Mark, Style, YamlError, YamlErrorKind, load, load_document};

fn read(text: &str) -> Result<Value, YamlError> {
    load(text.as_bytes(), &Limits::default())
}

/// The value as Python prints it.
fn shown(text: &str) -> String {
    match read(text) {
        Ok(value) => repr(&value),
        Err(error) => panic!("{text:?}: {error}"),
    }
}

fn refused(text: &str) -> YamlError {
    match read(text) {
        Ok(value) => panic!("{text:?} was read as {}", repr(&value)),
        Err(error) => error,
    }
}

#[track_caller]
fn all(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(&shown(text), expected, "{text:?}");
    }
}

#[test]
fn words_of_yaml_1_1() {
    // YP-1, YP-3
    for word in ["yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"] {
        assert_eq!(shown(word), "True");
    }
    for word in ["no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"] {
        assert_eq!(shown(word), "False");
    }
    for word in ["~", "null", "Null", "NULL", "", "# nothing", "---", "--- # x\n..."] {
        assert_eq!(shown(word), "None");
    }
    for word in ["y", "n", "Y", "tRue", "yEs", "nULL", "None"] {
        assert_eq!(shown(word), format!("'{word}'"));
    }
}

#[test]
fn integers() {
    // YP-4
    all(&[
        ("[0, -0, +12, -7, 1_000, 1__0_]", "[0, 0, 12, -7, 1000, 10]"),
        ("[010, 0777, 0x1F, -0x1_0, 0b101, 00, 0_]", "[8, 511, 31, -16, 5, 0, 0]"),
        ("[1:30, 190:20:30, -1:30]", "[90, 685230, -90]"),
        ("[08, 0o10, _1, 0x, 1:60, 01:30]", "['08', '0o10', '_1', '0x', '1:60', '01:30']"),
        ("1,000", "'1,000'"),
        ("[9223372036854775807, 9223372036854775808]", "[9223372036854775807, 9223372036854775808]"),
        ("-99999999999999999999", "-99999999999999999999"),
    ]);
    // Python's int() gives up there; as a text it would have been quoted.
    assert!(refused(&"1".repeat(4301)).problem.contains("expected an integer"));
    assert!(
        refused("a: 0b_").to_string().starts_with("line 1, column 4: expected an integer, found \"0b_\"")
    );
}

#[test]
fn floats() {
    // YP-5
    all(&[
        ("[1.5, 1., .5, 1_000.5, 1.5e+3, 1.5E-3, -0.25]", "[1.5, 1.0, 0.5, 1000.5, 1500.0, 0.0015, -0.25]"),
        ("[.inf, -.INF, +.Inf, .nan, .NaN]", "[inf, -inf, inf, nan, nan]"),
        ("[1:30.5, 0:0.25, 1.0e+999, -0.0]", "[90.5, 0.25, inf, -0.0]"),
        ("[1e3, 1.5e3, 1E+3, 12e03, -.5, ., .iNf]", "['1e3', '1.5e3', '1E+3', '12e03', '-.5', '.', '.iNf']"),
    ]);
}

#[test]
fn timestamps() {
    // YP-6
    let json = |text: &str| read(text).unwrap().to_json();
    for (text, tag, iso) in [
        ("2024-01-31", "date", "2024-01-31"),
        ("2024-01-31T10:20:30Z", "datetime", "2024-01-31T10:20:30+00:00"),
        ("2024-01-31 10:20:30", "datetime", "2024-01-31T10:20:30"),
        ("2024-01-31 10:20:30 +02:00", "datetime", "2024-01-31T10:20:30+02:00"),
        ("2024-1-2t3:04:05.25-5", "datetime", "2024-01-02T03:04:05.250000-05:00"),
        ("!!timestamp '2024-01-31 \t10:20:30.1234567'", "datetime", "2024-01-31T10:20:30.123456"),
    ] {
        assert_eq!(json(text), format!(r#"{{"$tea":["{tag}","{iso}"]}}"#), "{text}");
    }
    all(&[("2024-1-1", "'2024-1-1'"), ("'2024-01-31'", "'2024-01-31'"), ("24-01-31", "'24-01-31'")]);
    for text in [
        "2024-02-30",
        "0000-01-01",
        "2024-01-31T24:00:00",
        "2024-01-31T10:20:60",
        "2024-01-31T10:20:30+24:00",
    ] {
        assert_eq!(refused(text).kind, YamlErrorKind::Constructor);
    }
}

#[test]
fn keys_of_any_type() {
    // YP-2, YP-9, YP-10
    all(&[
        (
            "on: 1\n2: two\n1.5: f\n~: none\n'on': text\n2024-01-31: d",
            "{True: 1, 2: 'two', 1.5: 'f', None: 'none', 'on': 'text', datetime.date(2024, 1, 31): 'd'}",
        ),
        ("a: 1\nb: 2\na: 3", "{'a': 3, 'b': 2}"),
        ("1: int\n1.0: float\ntrue: bool", "{1: 'bool'}"),
        ("{.nan: 1, .NaN: 2}", "{nan: 2}"),
        ("{a, b: }", "{'a': None, 'b': None}"),
        ("? a\n? b\n: c", "{'a': None, 'b': 'c'}"),
        ("[a: 1, ? b]", "[{'a': 1}, {'b': None}]"),
    ]);
    let error = refused("x:\n  key: {{ state.x }}\n");
    assert_eq!((error.kind, error.mark), (YamlErrorKind::Constructor, Mark { line: 2, column: 9 }));
    assert!(error.problem.contains("quote the text"), "{error}");
    assert!(refused("? [a]\n: 1").problem.contains("a list cannot be a key"));
}

#[test]
fn anchors_share_their_value() {
    // YP-8
    let value = read("base: &b {x: [1]}\ncopy: *b\nlist: [*b, &t text, *t]").unwrap();
    let map = value.as_map().unwrap();
    let (Value::Map(base), Value::Map(copy)) = (&map["base"], &map["copy"]) else { panic!("no maps") };
    assert!(std::sync::Arc::ptr_eq(base, copy));
    assert_eq!(repr(&map["list"]), "[{'x': [1]}, 'text', 'text']");
    for (text, part) in [
        ("a: *nope", "*nope refers to no anchor"),
        ("a: &x 1\nb: &x 2", "&x is set a second time"),
        ("&a [*a]", "contains itself"),
        ("a: &a {<<: {<<: *a}}", "merged into itself"),
        ("a: &a\n  x: {<<: *a}", "contains itself"),
    ] {
        assert!(refused(text).problem.contains(part), "{text}: {}", refused(text));
    }
}

#[test]
fn merge_keys() {
    // YP-7, YP-12
    all(&[
        ("- &a {x: 1, y: 2}\n- {z: 0, <<: *a, y: 3}", "[{'x': 1, 'y': 2}, {'x': 1, 'y': 3, 'z': 0}]"),
        ("- &a {x: 1}\n- &b {x: 2, y: 2}\n- <<: [*a, *b]", "[{'x': 1}, {'x': 2, 'y': 2}, {'x': 1, 'y': 2}]"),
        ("- &a {x: {p: 1}}\n- {<<: *a, x: {q: 2}}", "[{'x': {'p': 1}}, {'x': {'q': 2}}]"),
        ("'<<': {a: 1}", "{'<<': {'a': 1}}"),
        ("{=: 1}", "{'=': 1}"),
    ]);
    assert!(refused("<<: 1").problem.contains("expected a mapping"));
    assert!(refused("<<: [{a: 1}, x]").problem.contains("expected a mapping to merge, found a scalar"));
    assert!(refused("a: <<").problem.contains("must be quoted"));
    assert!(refused("a: =").problem.contains("must be quoted"));
}

#[test]
fn tags() {
    // YP-11
    all(&[
        ("[!!str 12, !!int '7', !!float 3, !!bool 'Yes', !!null x]", "['12', 7, 3.0, True, None]"),
        ("!!binary |\n aGVs\n bG8=", "b'hello'"),
        ("!!set {a, b}", "{'a', 'b'}"),
        ("!!omap [a: 1, b: 2]", "[('a', 1), ('b', 2)]"),
        ("!!pairs [a: 1, a: 2]", "[('a', 1), ('a', 2)]"),
        ("[!!seq [], !!map {}, !!str , !<tag:yaml.org,2002:int> 0x10, ! '12']", "[[], {}, '', 16, 12]"),
        ("%TAG !y! tag:yaml.org,2002:\n---\n!y!str 1", "'1'"),
        ("!!timestamp '2024-1-2'", "datetime.date(2024, 1, 2)"),
    ]);
    for text in [
        "!foo x",
        "!!python/object/apply:os.system ['true']",
        "!!int x",
        "!!bool x",
        "!!timestamp x",
        "!e!x 1",
    ] {
        refused(text);
    }
    assert!(
        refused("a:\n - !!binary Y")
            .to_string()
            .starts_with("line 2, column 4: the base64 text ends too early")
    );
    assert!(refused("!!omap [{a: 1, b: 2}]").problem.contains("one entry"));
}

#[test]
fn one_document() {
    // YP-13, YP-15
    all(&[("%YAML 1.2\n---\nyes\n...\n", "True"), ("--- 1\n...\n...\n", "1"), ("%FOO bar\n--- 1", "1")]);
    let error = refused("a: 1\n---\nb: 2\n");
    assert_eq!((error.kind, error.mark.line), (YamlErrorKind::Composer, 2));
    assert!(refused("%YAML 2.0\n--- 1").problem.contains("version 1.1"));
    assert!(refused("%YAML 1.1\n%YAML 1.1\n--- 1").problem.contains("second %YAML"));
}

#[test]
fn errors_say_where_and_what() {
    // YP-14
    for (text, kind, line, column, part) in [
        ("a:\n\tb: 1", YamlErrorKind::Scanner, 2, 1, "a tab"),
        ("a: b\t\n", YamlErrorKind::Scanner, 1, 5, "a tab"),
        ("a: b: c", YamlErrorKind::Scanner, 1, 5, "mapping value"),
        ("é: @x", YamlErrorKind::Scanner, 1, 4, "quote the text"),
        ("a: {% if x %}", YamlErrorKind::Scanner, 1, 5, "quote the text"),
        ("a: {{ x }} y", YamlErrorKind::Parser, 1, 12, "quote the value"),
        ("a: [1, 2\nb: 3", YamlErrorKind::Parser, 2, 2, "expected ',' or ']'"),
        ("a: 'x", YamlErrorKind::Scanner, 1, 6, "closing quote"),
        ("a: 1\n b: 2", YamlErrorKind::Scanner, 2, 3, "mapping value"),
        ("a: 1\nb\n", YamlErrorKind::Scanner, 3, 1, "expected ':'"),
        ("a: \"\\q\"", YamlErrorKind::Scanner, 1, 6, "unknown escape"),
        ("a: |x\n b", YamlErrorKind::Scanner, 1, 5, "expected '+', '-'"),
        ("- a\nb: 1", YamlErrorKind::Parser, 2, 1, "expected '-'"),
        ("a: ]", YamlErrorKind::Scanner, 1, 4, "without the bracket"),
        ("a: \u{7}", YamlErrorKind::Reader, 1, 4, "U+0007 is not allowed"),
        ("a: x\0", YamlErrorKind::Reader, 1, 5, "U+0000 is not allowed"),
    ] {
        let error = refused(text);
        assert_eq!((error.kind, error.mark), (kind, Mark { line, column }), "{text:?}: {error}");
        assert!(error.problem.contains(part), "{text:?}: {error}");
    }
    let error = refused("x:\n  - {a: 'v'\n  - b\n").in_file("agent.yaml");
    assert_eq!(
        error.to_string(),
        "agent.yaml: line 3, column 3: expected ',' or '}', found '-' (in a mapping '{...}' that begins at line 2, column 5)"
    );
}

#[test]
fn block_scalars() {
    // YP-16
    all(&[
        ("|\n a\n  b\n\n\n", "'a\\n b\\n'"),
        ("|-\n a\n\n b\n\n", "'a\\n\\nb'"),
        ("|+\n a\n\n\n", "'a\\n\\n\\n'"),
        (">\n a\n b\n\n c\n  d\n e\n", "'a b\\nc\\n d\\ne\\n'"),
        (">-\n x\n y", "'x y'"),
        ("a: |2\n    b\n", "{'a': '  b\\n'}"),
        ("- |+1 # c\n  x\n", "[' x\\n']"),
        ("run: |\n  {{ x }}\n", "{'run': '{{ x }}\\n'}"),
        ("a: |\nb: 1", "{'a': '', 'b': 1}"),
    ]);
}

#[test]
fn quoted_and_plain_text() {
    all(&[
        (
            r#""tab\tnl\nq\" \u00e9 \U0001F642 x\x41 \
             joined""#,
            "'tab\\tnl\\nq\" é 🙂 xA joined'",
        ),
        ("'it''s\n  one\n\n  two \\n'", "\"it's one\\ntwo \\\\n\""),
        ("a\n b\n\n c", "'a b\\nc'"),
        ("[http://x.y:80/z, a#b, -dash, a b # c\n]", "['http://x.y:80/z', 'a#b', '-dash', 'a b']"),
        ("[a,b:c,]", "['a', 'b:c']"),
        // JSON writes characters beyond 16 bits as two escapes.
        (r#"{"a": "\ud83d\ude42"}"#, "{'a': '🙂'}"),
    ]);
    assert!(refused(r#""\ud83d""#).problem.contains("no Unicode character"));
}

#[test]
fn encodings() {
    // YP-17
    all(&[("\u{FEFF}a: 1", "{'a': 1}"), ("\u{FEFF}", "None"), ("a: x\u{FEFF}", "{'a': 'x\\ufeff'}")]);
    for (order, unit) in [("little", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("big", u16::to_be_bytes)] {
        let bytes: Vec<u8> = "\u{FEFF}a: é🙂\n".encode_utf16().flat_map(unit).collect();
        assert_eq!(repr(&load(&bytes, &Limits::default()).unwrap()), "{'a': 'é🙂'}", "{order}");
        let cut = load(&bytes[..bytes.len() - 1], &Limits::default()).unwrap_err();
        assert!(cut.problem.contains("ends within a character"), "{cut}");
    }
    let error = load(b"a: 1\nb: \xFF", &Limits::default()).unwrap_err();
    assert_eq!((error.kind, error.mark), (YamlErrorKind::Reader, Mark { line: 2, column: 4 }));
}

#[test]
fn limits_hold() {
    let small = Limits { bytes: 10, ..Limits::default() };
    assert_eq!(load(b"a: 12345678", &small).unwrap_err().kind, YamlErrorKind::Limit);
    // Each level repeats the one before ten times.
    let mut bomb = String::from("a0: &a0 [x]\n");
    for level in 1..20 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(refused(&bomb).problem.contains("aliases and merge keys repeat more than"));
    let mut merges = String::from("a0: &a0 {k: v}\n");
    for level in 1..40 {
        merges.push_str(&format!("a{level}: &a{level} {{<<: [*a{0}, *a{0}]}}\n", level - 1));
    }
    assert!(refused(&merges).problem.contains("repeat more than"));
    let mut chain = String::from("a0: &a0 x\n");
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(refused(&chain).problem.contains("deeper than 500"));
}

#[test]
fn deep_nesting_is_an_error() {
    // On the stack of a test's thread (2 MiB), in a build without optimisation.
    let flow = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let block = |depth: usize| (0..depth).map(|level| " ".repeat(level) + "a:\n").collect::<String>();
    let compact = |depth: usize| "- ".repeat(depth);
    for text in [flow(500), block(500), compact(500)] {
        read(&text).unwrap();
    }
    for text in
        [flow(501), block(501), compact(501), flow(200_000), "[{a: ".repeat(100_000), compact(100_000)]
    {
        assert_eq!(refused(&text).kind, YamlErrorKind::Limit);
    }
}

#[test]
fn large_texts_take_time_in_proportion() {
    // Each of these was quadratic in some reader. At 2 MB, a quadratic one would need hours.
    let keys: String = (0..100_000).map(|number| format!("key{number}: &a{number} value\n")).collect();
    assert_eq!(read(&keys).unwrap().as_map().unwrap().len(), 100_000);
    assert_eq!(read(&format!("[{}]", "1,".repeat(1_000_000))).unwrap().as_list().unwrap().len(), 1_000_000);
    read(&format!("'{}'", "''".repeat(1_000_000))).unwrap();
    read(&format!("\"{}\"", "\\n\n".repeat(500_000))).unwrap();
    read(&"a\n".repeat(1_000_000)).unwrap();
    read(&format!("a: &a {{k: v}}\nb:\n{}", "  <<: *a\n".repeat(100_000))).unwrap();
    read(&format!("|\n{}", " x\n".repeat(500_000))).unwrap();
}

#[test]
fn documents_know_their_places() {
    let text = "name: x\nnodes:\n  - &n\n    name: a\n    run: |\n      return 1\n  - {<<: *n, name: b}\ncopy: *n\n1: {q: 'z'}\n";
    let document = load_document(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(document.value(), &read(text).unwrap());
    let key = |text: &str| PathStep::Key(text.into());
    let mark = |line, column| Mark { line, column };

    let (run, steps) = document.locate(&[key("nodes"), PathStep::Index(0), key("run")]);
    assert_eq!(
        (steps, run.key_mark(), run.mark(), run.style()),
        (3, Some(mark(5, 5)), mark(5, 10), Style::Literal)
    );
    assert_eq!(run.value().as_str(), Some("return 1\n"));
    // The path ends at the last value that is there.
    let (node, steps) = document.locate(&[key("nodes"), PathStep::Index(0), key("with"), key("x")]);
    assert_eq!((steps, node.mark(), node.key_mark()), (2, mark(3, 5), None));
    // What a merge key or an alias brought in is where it was written.
    let merged = document.root().get("nodes").unwrap().index(1).unwrap();
    assert_eq!(merged.mark(), mark(7, 5));
    assert_eq!(merged.style(), Style::Flow);
    assert_eq!(merged.get("run").unwrap().mark(), mark(5, 10));
    assert_eq!(merged.get("name").unwrap().mark(), mark(7, 20));
    let copy = document.root().get("copy").unwrap();
    assert_eq!((copy.key_mark(), copy.mark()), (Some(mark(8, 1)), mark(3, 5)));
    assert_eq!(copy.get("name").unwrap().mark(), mark(4, 11));
    let marks: Vec<_> = document.root().entries().map(|(_, value)| value.key_mark().unwrap().line).collect();
    assert_eq!(marks, [1, 2, 8, 9]);
    assert_eq!(document.root().get("nodes").unwrap().items().count(), 2);
    assert!(document.root().get("nodes").unwrap().index(2).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_document(&bytes, &Limits::default());
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(
        text in r#"([ \t\n\r:\-?\[\]{},#&*!|>'"%@`=~<0-9a-cxez._\\]|- |: |\n  |<<: |&a |\*a|!!|é|\u{85}|\u{2028}|\u{feff}){0,60}"#
    ) {
        let value = load(text.as_bytes(), &Limits::default());
        let document = load_document(text.as_bytes(), &Limits::default());
        // NaN is not equal to itself, hence JSON.
        prop_assert_eq!(value.map(|value| value.to_json()), document.map(|document| document.value().to_json()));
    }

    #[test]
    fn json_is_yaml(text in "[^\u{0}-\u{8}\u{b}-\u{1f}\u{7f}-\u{9f}\u{fffe}\u{ffff}]{0,40}", number in any::<i64>()) {
        let value = tea_engine::map! { "text" => text, "number" => number };
        prop_assert_eq!(read(&value.to_json()).unwrap(), value);
    }
}
