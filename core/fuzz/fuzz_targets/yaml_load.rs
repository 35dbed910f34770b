//! Any bytes are read or refused: no panic, no overflow of the stack, and the same answer with and without
//! positions. A value that was read survives its JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tea_engine::value::Value;
use tea_engine::yaml::{Limits, load, load_document};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { bytes: 1 << 20, depth: 100, repeats: 10_000, repeats_per_byte: 1 };
    let value = load(bytes, &limits);
    let document = load_document(bytes, &limits);
    match (value, document) {
        (Ok(value), Ok(document)) => {
            let json = value.to_json();
            assert_eq!(json, document.value().to_json());
            // Lines count from 1, and every value has a place.
            visit(document.root());
            match Value::from_json(json.as_bytes()) {
                Ok(back) => assert_eq!(json, back.to_json()),
                // Tags of JSON add levels of nesting.
                Err(error) => assert!(error.message.contains("nested deeper"), "{error}: {json}"),
            }
        }
        (Err(first), Err(second)) => assert_eq!(first, second),
        (first, second) => panic!("{first:?} but {second:?}"),
    }
});

fn visit(node: tea_engine::yaml::Located<'_>) {
    let is_empty = matches!(node.value(), Value::Null);
    assert!(is_empty || node.mark().line > 0, "{:?}", node.value());
    node.items().for_each(visit);
    node.entries().for_each(|(_, child)| visit(child));
}
