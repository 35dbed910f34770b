//! Reads YAML as the engine does and prints the values as JSON; `ci/yaml_diff.py` compares them with PyYAML's.
//!
//! With files as arguments: one line for each. Without: one document per line of the standard input, its bytes
//! in hexadecimal. A line is `{"value": ...}` in the engine's tagged JSON, or `{"error": "..."}`.

use std::io::{BufRead, Write};

use tea_engine::map;
use tea_engine::yaml::{Limits, load};

fn answer(text: &[u8]) -> String {
    match load(text, &Limits::default()) {
        Ok(value) => map! { "value" => value }.to_json(),
        Err(error) => map! { "error" => error.to_string() }.to_json(),
    }
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = line.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut files = std::env::args().skip(1).peekable();
    if files.peek().is_some() {
        for file in files {
            writeln!(out, "{}", answer(&std::fs::read(&file)?))?;
        }
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let text = from_hex(line?.trim()).ok_or("expected an even number of hexadecimal digits")?;
        writeln!(out, "{}", answer(&text))?;
    }
    Ok(())
}
