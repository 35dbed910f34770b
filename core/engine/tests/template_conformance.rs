//! All cases of the modes `render` and `condition` of the conformance suite, and the corpus of real expressions.
//!
//! The data are in `$TEA_SHARED`, or in `../shared` beside the repository. Without them the tests say so and
//! pass, but not where the variable `CI` is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use tea_engine::template::{Condition, Dialect, Jinja, TemplateEngine};
use tea_engine::value::Value;

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the crate is in core/engine").to_path_buf()
}

fn shared() -> Option<PathBuf> {
    let beside = || repository().parent().map(|parent| parent.join("shared"));
    let worktree = || repository().parent().and_then(Path::parent).map(|parent| parent.join("shared"));
    let found = match std::env::var_os("TEA_SHARED") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => [beside(), worktree()].into_iter().flatten().find(|folder| folder.is_dir()),
    };
    let found = found.filter(|folder| folder.is_dir());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "the folder `shared` is missing in CI");
    if found.is_none() {
        eprintln!("not run: there is no folder `shared` and TEA_SHARED is not set");
    }
    found
}

/// `templates/*`: the adapter of this crate passes every case of the areas about templates.
#[test]
fn every_case_of_the_template_areas_passes() {
    let Some(shared) = shared() else { return };
    let example = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder");
    let adapter = example.join("debug/examples/template_eval");
    let built = Command::new(env!("CARGO"))
        .args(["build", "-q", "-p", "tea-engine", "--example", "template_eval"])
        .current_dir(repository().join("core"))
        .status()
        .expect("cargo runs");
    assert!(built.success());
    let mut run = Command::new("python3");
    run.arg(shared.join("conformance/run.py")).arg("--host").arg(&adapter);
    for area in ["templates", "template-corpus", "template-language", "conditions"] {
        run.args(["--area", area]);
    }
    let output = run.output().expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    assert!(output.status.success() && last.contains(" 0 failed, 0 skipped"), "{text}");
}

/// Section 20 of `templates.md`: each expression of real agents is one of this language.
#[test]
fn every_expression_of_the_corpus_parses() {
    let Some(shared) = shared() else { return };
    let json = std::fs::read(shared.join("spec/template_corpus.json")).expect("the corpus is there");
    let corpus = Value::from_json(&json).expect("the corpus is JSON");
    let mut count = 0;
    for entry in corpus.as_list().expect("a list") {
        let part = |name: &str| entry.as_map().and_then(|map| map.get(name)).and_then(Value::as_str);
        let (text, kind) = (part("template").expect("a text"), part("kind").expect("a kind"));
        let error = if kind == "condition" {
            Condition::compile(text, Dialect::Edge).err()
        } else {
            Jinja.compile(text).err()
        };
        // Filters that do not exist are parsed, but refused: the table of section 20 lists them.
        let refused = |message: String| {
            ["No filter named 'hash'.", "No filter named 'storage_hash'.", "No test named 'None'."]
                .iter()
                .any(|known| message.contains(known))
        };
        if let Some(error) = error {
            let listed = refused(error.to_string())
                || ["!state['has_enough']", "!state.get('has_checkpoint')"].contains(&text)
                || text.starts_with("return ");
            assert!(listed, "{text}: {error}");
        }
        count += 1;
    }
    assert_eq!(count, 1054);
}
