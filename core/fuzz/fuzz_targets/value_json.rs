//! Any bytes are a value or refused with a place inside the text; a value that was read survives its JSON, and so
//! does the JSON of that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tea_engine::value::Value;

fuzz_target!(|bytes: &[u8]| {
    match Value::from_json(bytes) {
        Ok(value) => {
            let json = value.to_json();
            match Value::from_json(json.as_bytes()) {
                Ok(back) => assert_eq!(json, back.to_json()),
                // Tags of JSON add levels of nesting.
                Err(error) => assert!(error.message.contains("nested deeper"), "{error}: {json}"),
            }
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
});
