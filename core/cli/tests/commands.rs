//! The commands that run nothing: `validate`, `inspect`, `graph`, help and version.

#![allow(clippy::unwrap_used)] // In helpers of tests, too.

mod common;

use common::{COUNT, folder, tea};

/// cli/CL-77, cli/CL-79: all problems at once, each with its place.
#[test]
fn validate_reports_every_problem() {
    let agent = "name: bad\nnodes:\n  - {name: a, goto: ghost}\n  - {uses: json.parse}\n  - name: c\n    wiht: {x: 1}\n    \
                 goto: nowhere\n";
    let folder = folder(&[("bad.yaml", agent), ("good.yaml", COUNT), ("syntax.yaml", "a: [1\nb: 2\n")]);
    let ran = tea(folder.path(), &["validate", "bad.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    for part in [
        "Validation failed: Node 'a' has goto to non-existent node 'ghost'",
        " --> bad.yaml:3:15 (at nodes[0].goto)\n  |\n3 |   - {name: a, goto: ghost}\n  |               ^",
        " --> bad.yaml:4:5 (at nodes[1])",
        "Validation failed: Node 'c' has goto to non-existent node 'nowhere'",
        "Warning: The key 'wiht' is not known",
        "= did you mean 'with'?",
        "3 errors in bad.yaml",
    ] {
        assert!(ran.stderr.contains(part), "{part}\n{}", ran.stderr);
    }
    let ran = tea(folder.path(), &["validate", "good.yaml"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), "\n✓ good.yaml is valid\n", "")
    );
    let ran = tea(folder.path(), &["validate", "syntax.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("Error: Invalid YAML syntax: line 2, column 2: "), "{}", ran.stderr);
    let ran = tea(folder.path(), &["validate", "none.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "Error: File not found: none.yaml\n"));
}

/// cli/CL-78
#[test]
fn validate_lists_nodes_and_edges() {
    let agent = "name: demo\ndescription: two\nnodes:\n  - {name: a}\n  - {name: b, uses: json.parse, with: {text: '1'}}\n\
                 edges:\n  - {from: __start__, to: a}\n  - {from: a, to: b}\n";
    let folder = folder(&[("a.yaml", agent)]);
    let ran = tea(folder.path(), &["validate", "a.yaml", "--detailed"]);
    let expected = "Workflow: demo\nDescription: two\n\nNodes: 2\n  - a\n  - b (uses: json.parse)\n\nEdges: 2\n  - __start__ \
                    -> a\n  - a -> b\n\n✓ a.yaml is valid\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected));
}

/// An agent with interrupts is checked without leaving a folder for checkpoints behind.
#[test]
fn validate_leaves_nothing_behind() {
    let agent = format!("{COUNT}config: {{interrupt_before: [b]}}\n");
    let folder = folder(&[("a.yaml", &agent)]);
    let temporary = tempfile::tempdir().unwrap();
    let mut command = common::command(folder.path(), &["validate", "a.yaml"]);
    assert!(command.env("TMPDIR", temporary.path()).status().unwrap().success());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// cli/CL-80 to cli/CL-82, cli/Q-14
#[test]
fn inspect_shows_what_is_written() {
    let agent = "name: my flow-1\nnodes:\n  - {name: a, run: return 1}\n  - {name: 'b \"q\"', uses: llm.call, retry: {n: 1}, \
                 fallback: a}\nedges:\n  - {from: a, to: b, condition: 'x == \"1\"'}\n  - {from: a, parallel: [c, \
                 d]}\nvariables: {k: v}\n";
    let folder = folder(&[("a.yaml", agent), ("list.yaml", "[1]")]);
    let ran = tea(folder.path(), &["inspect", "a.yaml"]);
    let expected = "Workflow: my flow-1\n\nNodes (2):\n  a (python)\n  b \"q\" [llm.call] (retry) (fallback: a)\n\nEdges (2):\n  a \
                    -> b [when: x == \"1\"]\n  a => [c, d]\n\nVariables:\n  k: v\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected));
    let ran = tea(folder.path(), &["inspect", "a.yaml", "-f", "dot"]);
    for line in [
        "digraph \"my flow_1\" {\n",
        "  \"a\" [label=\"a\\n(python)\"];\n",
        "  \"b \\\"q\\\"\" [label=\"b \\\"q\\\"\\n[llm.call]\"];\n",
        "  \"a\" -> \"b\" [label=\"when: x == \\\"1\\\"\"];\n",
        "  \"a\" -> \"d\" [style=dashed];\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
    let ran = tea(folder.path(), &["inspect", "a.yaml", "--format", "json"]);
    assert!(ran.stdout.starts_with("{\n  \"name\": \"my flow-1\",\n  \"nodes\": [\n"), "{}", ran.stdout);
    let ran = tea(folder.path(), &["inspect", "list.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "Error: Agent YAML must be a mapping, got list\n"));
    assert_eq!(tea(folder.path(), &["inspect", "a.yaml", "-f", "xml"]).code, Some(2));
}

/// VZ-2, VZ-3
#[test]
fn graph_draws_mermaid() {
    let folder = folder(&[("a.yaml", COUNT), ("bad.yaml", "nodes:\n  - {name: a, goto: ghost}\n")]);
    let ran = tea(folder.path(), &["graph", "a.yaml"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.starts_with("graph TD\n    __start__((Start))\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n    a-->b\n"), "{}", ran.stdout);
    let to_file = tea(folder.path(), &["graph", "a.yaml", "-o", "a.mmd"]);
    assert_eq!((to_file.code, to_file.stdout.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(folder.path().join("a.mmd")).unwrap(), ran.stdout);
    let ran = tea(folder.path(), &["graph", "bad.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("bad.yaml:2:15"), "{}", ran.stderr);
}

/// cli/CL-6, cli/CL-9, cli/Q-3, cli/Q-19
#[test]
fn help_and_version() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let run = |arguments: &[&str]| tea(folder.path(), arguments);
    let version = format!("tea {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((run(&["--version"]).code, run(&["--version"]).stdout), (Some(0), version.clone()));
    assert_eq!(run(&["--impl"]).stdout, "rust\n");
    assert_eq!(run(&["--impl", "--version"]).stdout, version.replace('\n', " (rust)\n"));
    let bare = run(&[]);
    assert_eq!((bare.code, bare.stderr.as_str()), (Some(2), ""));
    for ran in [bare, run(&["--help"])] {
        for word in ["run", "resume", "validate", "inspect", "graph"] {
            assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
        }
    }
    for arguments in [&["nosuch"][..], &["run"], &["run", "a.yaml", "--nosuch"], &["resume", "c.json"]] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
    }
    let old = run(&["a.yaml", "-q"]);
    assert_eq!(old.code, Some(0));
    assert!(old.stderr.starts_with("Warning: 'tea FILE' is deprecated"), "{}", old.stderr);
}

/// What is not there yet says so, and ends with 1.
#[test]
fn later_commands_say_so() {
    let folder = folder(&[("a.yaml", COUNT)]);
    for arguments in [
        &["report-bug", "it broke", "--create-issue"][..],
        &["schema", "merge", "a.json"],
        &["from", "dot", "x.dot"],
        &["run", "a.yaml", "--interactive"],
        &["run", "a.yaml", "--show-graph"],
        &["run", "a.yaml", "--gguf", "m.gguf"],
    ] {
        let ran = tea(folder.path(), arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(ran.stderr.contains("is not available yet in this command"), "{}", ran.stderr);
    }
    let ran = tea(folder.path(), &["run", "a.yaml", "--actions-file", "x.py"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("Error: --actions-file needs Python"), "{}", ran.stderr);
    // cli/CL-24 step 2
    let ran = tea(folder.path(), &["run", "a.yaml", "--interactive", "--stream"]);
    assert_eq!(ran.stderr, "Error: --interactive and --stream are mutually exclusive\n");
}
