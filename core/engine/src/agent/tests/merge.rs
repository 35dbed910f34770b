//! Deep merge (yaml.md 12).

use super::super::{deep_merge, merge_all};
use super::*;

fn yaml(text: &str) -> Value {
    crate::yaml::load(text.as_bytes(), &crate::yaml::Limits::default()).unwrap()
}

fn merged(base: &str, overlay: &str) -> String {
    deep_merge(&yaml(base), &yaml(overlay)).unwrap().to_json()
}

#[test]
fn maps_are_merged_and_everything_else_is_replaced() {
    // DM-1, DM-2, DM-4
    assert_eq!(
        merged("{a: {x: 1, y: 2}, l: [1, 2]}", "{a: {y: 3, z: 4}, l: [9]}"),
        r#"{"a":{"x":1,"y":3,"z":4},"l":[9]}"#
    );
    assert_eq!(merged("{a: 1, b: {c: 1}}", "{a: null, b: 5}"), r#"{"a":null,"b":5}"#);
    assert_eq!(merged("[1]", "[2]"), "[2]");
    assert_eq!(merged("null", "{a: 1}"), r#"{"a":1}"#);
}

#[test]
fn nodes_edges_and_rules_are_merged_by_their_keys() {
    // DM-4, DM-5
    assert_eq!(
        merged(
            "{nodes: [{name: a, x: 1, goto: [{to: b, if: p}, {to: c}]}, {name: b}]}",
            "{nodes: [{name: b, y: 2}, {name: a, goto: [{to: c, if: q}]}, {name: n}]}"
        ),
        r#"{"nodes":[{"name":"a","x":1,"goto":[{"to":"b","if":"p"},{"to":"c","if":"q"}]},{"name":"b","y":2},{"name":"n"}]}"#
    );
    assert_eq!(
        merged("{edges: [{from: a, to: b}, {from: a, to: c}]}", "{edges: [{from: a, to: c, when: x}]}"),
        r#"{"edges":[{"from":"a","to":"b"},{"from":"a","to":"c","when":"x"}]}"#
    );
}

#[test]
fn marked_elements_are_removed() {
    // DM-5 to DM-7
    let base = "{nodes: [{name: a}, {name: b}]}";
    assert_eq!(merged(base, "{nodes: [{name: a, __delete__: true}]}"), r#"{"nodes":[{"name":"b"}]}"#);
    assert_eq!(
        merged(base, "{nodes: [{name: z, __delete__: true}]}"),
        r#"{"nodes":[{"name":"a"},{"name":"b"}]}"#
    );
    assert_eq!(
        merged(base, "{nodes: [{name: a, __delete__: true}, {name: a, x: 1}]}"),
        r#"{"nodes":[{"name":"b"}]}"#
    );
    assert_eq!(
        merged(base, "{nodes: [{name: a, __delete__: false, x: 1}, {name: n, __delete__: false}]}"),
        r#"{"nodes":[{"name":"a","x":1},{"name":"b"},{"name":"n","__delete__":false}]}"#
    );
    assert_eq!(merged("{m: {x: 1}}", "{m: {__delete__: true, y: 2}}"), r#"{"m":{"x":1,"y":2}}"#);
}

#[test]
fn many_are_merged_from_left_to_right() {
    // DM-8, DM-9
    let all = [yaml("{a: 1}"), Value::Null, yaml("{a: 2, b: 3}")];
    assert_eq!(merge_all(&all).unwrap().to_json(), r#"{"a":2,"b":3}"#);
    assert_eq!(merge_all(&[]).unwrap().to_json(), "{}");
    let error = deep_merge(&yaml("{edges: []}"), &yaml("{edges: [{from: a, to: [b]}]}")).unwrap_err();
    assert_eq!(error.to_string(), "unhashable type: 'list'");
}

#[test]
fn overlays_are_part_of_the_agent() {
    // DM-20
    let mut options = options();
    options.overlays = vec![yaml("{nodes: [{name: a, with: {of: 2}}]}")];
    let agent = Agent::load_text("nodes: [{name: a, uses: value, with: {of: 1}}]", None, &options).unwrap();
    assert_eq!(state_of(&agent, "{}"), r#"{"result":2}"#);
}
