//! The committed header and symbol list are what the sources say. `make header` rewrites them.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn bindings() -> cbindgen::Bindings {
    let crate_dir = env!("CARGO_MANIFEST_DIR");
    let config = cbindgen::Config::from_file(Path::new(crate_dir).join("cbindgen.toml")).unwrap();
    cbindgen::Builder::new().with_crate(crate_dir).with_config(config).generate().unwrap()
}

/// Compares a committed file with its content as generated, or rewrites it if TEA_WRITE_HEADER is set.
fn check(name: &str, generated: &str) {
    let path = root().join("include").join(name);
    if std::env::var_os("TEA_WRITE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "include/{name} is not what the sources say: run `make header`");
}

#[test]
fn the_header_is_current() {
    let mut header = Vec::new();
    bindings().write(&mut header);
    check("tea.h", &String::from_utf8(header).unwrap());
}

#[test]
fn the_symbols_are_current() {
    let mut header = Vec::new();
    bindings().write(&mut header);
    let header = String::from_utf8(header).unwrap();
    let mut symbols: Vec<_> = header
        .lines()
        .filter(|line| !line.starts_with("//") && !line.starts_with(' ') && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("tea_"))
        .collect();
    symbols.sort_unstable();
    symbols.dedup();
    check("tea.symbols", &(symbols.join("\n") + "\n"));
}

#[test]
fn the_versions_agree() {
    let header = std::fs::read_to_string(root().join("include/tea.h")).unwrap();
    assert!(header.contains(&format!("#define TEA_ABI_VERSION {}\n", tea::TEA_ABI_VERSION)));
}
