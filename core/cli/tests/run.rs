//! `tea run`: input, output, errors, interrupts.

#![allow(clippy::unwrap_used)] // In helpers of tests, too.

mod common;

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{COUNT, Ran, command, files, folder, tea};

/// cli/CL-35, cli/CL-36, cli/CL-38
#[test]
fn the_text_output_ends_with_the_state() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let ran = tea(folder.path(), &["run", "a.yaml", "-i", r#"{"n": 1}"#]);
    let rule = "=".repeat(80);
    let expected = format!(
        "{rule}\nRunning agent from: a.yaml\n{rule}\n\nInitial state: {{\n  \"n\": 1\n}}\n\n✓ a\n✓ b\n\n{rule}\n✓ \
         Completed\n{rule}\nFinal state: {{\n  \"n\": 2,\n  \"t\": {{\n    \"text\": \"2\",\n    \"success\": true\n  \
         }}\n}}\n"
    );
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), expected.as_str(), ""));
}

/// cli/CL-38: with -q a run that succeeds prints nothing at all.
#[test]
fn quiet_is_silent() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let ran = tea(folder.path(), &["run", "a.yaml", "-q", "-o", "out.json"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    let written = std::fs::read_to_string(folder.path().join("out.json")).unwrap();
    assert_eq!(written, "{\n  \"n\": 1,\n  \"t\": {\n    \"text\": \"1\",\n    \"success\": true\n  }\n}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
}

/// cli/CL-52: one line of JSON for each event, ASCII only, the timestamp second.
#[test]
fn streams_are_lines_of_json() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let ran = tea(folder.path(), &["run", "a.yaml", "--stream", "-i", r#"{"é": "ñ"}"#]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", ran.stdout);
    for (line, kind) in lines.iter().zip(["start", "node_complete", "node_complete", "complete"]) {
        assert!(line.starts_with(&format!("{{\"type\": \"{kind}\", \"timestamp\": \"20")), "{line}");
    }
    assert!(lines[0].ends_with("\"workflow\": \"a.yaml\"}"), "{}", lines[0]);
    assert!(lines[1].contains(r#""node": "a", "state": {"\u00e9": "\u00f1", "n": 1}"#), "{}", lines[1]);
}

/// cli/CL-12: JSON, JSON and YAML files, the standard input.
#[test]
fn input_comes_from_everywhere() {
    let folder = folder(&[("a.yaml", COUNT), ("in.json", r#"{"n": 2}"#), ("in.YML", "n: 3")]);
    for (given, n) in [(r#"{"n": 1}"#, 2), ("@in.json", 3), ("@in.YML", 4), ("-", 5), ("@-", 5)] {
        let mut child = command(folder.path(), &["run", "a.yaml", "--stream", "--input", given])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b" {\"n\": 4} ").unwrap();
        let ran = Ran::new(child.wait_with_output().unwrap());
        assert!(ran.stdout.contains(&format!("\"state\": {{\"n\": {n}}}")), "{given}: {ran:?}");
    }
}

/// cli/CL-13, cli/CL-14: what is wrong with the input, with its place.
#[test]
fn bad_input_is_shown() {
    let files =
        [("a.yaml", COUNT), ("bad.json", "{\"a\":\n  nope}"), ("list.yaml", "[1]"), ("bad.yaml", "a: [")];
    let folder = folder(&files);
    for (given, expected) in [
        ("{bad", "Error: Invalid JSON in --input: Expecting property name"),
        ("", "Error: Invalid JSON in --input: "),
        ("[1]", "Error: Input must be a JSON object, got list"),
        ("@none.json", "Error: Input file not found: none.json"),
        ("@bad.json", "--> bad.json:2:3\n  |\n2 |   nope}\n  |   ^"),
        ("@list.yaml", "Error: Input must be a mapping/object, got list"),
        ("@bad.yaml", "Error: Invalid YAML in input file: "),
    ] {
        let ran = tea(folder.path(), &["run", "a.yaml", "--input", given]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{given}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{given}: {}", ran.stderr);
    }
}

/// cli/CL-15, cli/CL-16, cli/Q-4: secrets reach templates, and no error shows them.
#[test]
fn secrets_stay_secret() {
    let agent =
        "nodes:\n  - {name: a, uses: json.stringify, with: {data: '{{ secrets.token }}'}, output: t}\n";
    let folder = folder(&[("a.yaml", agent), ("s.json", r#"{"token": "one"}"#)]);
    let run = |arguments: &[&str]| {
        let all = [&["run", "a.yaml", "--stream"], arguments].concat();
        Ran::new(command(folder.path(), &all).env("MY_TOKEN", "two").output().unwrap())
    };
    assert!(run(&["--secrets", "@s.json"]).stdout.contains(r#"\"one\""#));
    assert!(run(&["--secrets", "@s.json", "--secrets-env", "MY_"]).stdout.contains(r#"\"two\""#));
    for bad in [r#"{"token": "hush"#, r#"["hush"]"#] {
        let ran = run(&["--secrets", bad]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.starts_with("Error: ") && !ran.stderr.contains("hush"), "{}", ran.stderr);
    }
}

/// cli/CL-23, cli/CL-36: the failing node, its record, and where it is.
#[test]
fn a_failing_node_is_shown_with_its_place() {
    let agent = "name: bad\nnodes:\n  - name: broken\n    uses: no.such\n";
    let folder = folder(&[("a.yaml", agent)]);
    let ran = tea(folder.path(), &["run", "a.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.ends_with("✗ Error at broken: Unknown action: no.such\n"), "{}", ran.stdout);
    let expected = "ERROR: Error in node 'broken': Unknown action: no.such\n --> a.yaml:3:11 (at nodes[0])\n  |\n3 |   - \
                    name: broken\n  |           ^\n";
    assert_eq!(ran.stderr, expected);
}

/// cli/CL-24 step 10: loading errors name file, line and path.
#[test]
fn agents_that_do_not_load_are_shown_with_their_place() {
    let folder = folder(&[("a.yaml", "nodes:\n  - {name: a, goto: ghost}\n"), ("b.yaml", "a: [1\nb: 2\n")]);
    let ran = tea(folder.path(), &["run", "a.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.starts_with("Error loading workflow: Node 'a' has goto to"), "{}", ran.stderr);
    assert!(ran.stderr.contains(" --> a.yaml:2:15 (at nodes[0].goto)\n"), "{}", ran.stderr);
    let ran = tea(folder.path(), &["run", "b.yaml"]);
    assert!(ran.stderr.contains("b.yaml:2:2\n  |\n2 | b: 2\n  |  ^"), "{}", ran.stderr);
    let ran = tea(folder.path(), &["run", "none.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "Error: Workflow file not found: none.yaml\n"));
}

/// Code in a language that the command does not run names what to do.
#[test]
fn python_code_is_refused_clearly() {
    let folder = folder(&[("a.yaml", "nodes:\n  - name: a\n    language: python\n    run: return {}\n")]);
    let ran = tea(folder.path(), &["run", "a.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("code in python, which this host does not run. Write it in Lua")
            && ran.stderr.contains("a.yaml:2:"),
        "{ran:?}"
    );
}

/// cli/CL-28, cli/CL-29, cli/Q-5
#[test]
fn overlays_are_merged() {
    let over = "nodes:\n  - {name: a, run: 'return {n = 7}'}\n";
    let folder = folder(&[("a.yaml", COUNT), ("o.yaml", over), ("list.yaml", "[1]")]);
    let ran = tea(folder.path(), &["run", "a.yaml", "-f", "o.yaml", "--stream"]);
    assert!(ran.stdout.contains("\"state\": {\"n\": 7}"), "{ran:?}");
    let ran = tea(folder.path(), &["run", "a.yaml", "-f", "o.yaml", "--dump-merged"]);
    let expected = "name: demo\nnodes:\n- name: a\n  language: lua\n  run: return {n = 7}\n- name: b\n  uses: \
                    json.stringify\n  with:\n    data: '{{ state.n }}'\n  output: t\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected));
    let ran = tea(folder.path(), &["run", "a.yaml", "-f", "list.yaml"]);
    assert_eq!(ran.stderr, "Error: Overlay YAML must be a mapping, got list in list.yaml\n");
    let ran = tea(folder.path(), &["run", "a.yaml", "-f", "none.yaml"]);
    assert!(ran.stderr.starts_with("Error: Overlay file not found: /"), "{}", ran.stderr);
}

/// cli/Q-7: without a terminal an interrupt ends the run with 130 and says how to go on; `resume` does.
#[test]
fn an_interrupt_can_be_resumed() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let ran = tea(folder.path(), &["run", "a.yaml", "--interrupt-after", "a, ghost", "-c", "chk"]);
    assert_eq!(ran.code, Some(130));
    assert!(ran.stdout.contains("⏸  Interrupt at: a\n   State: {\n  \"n\": 1\n}\n"), "{}", ran.stdout);
    let checkpoints = files(&folder.path().join("chk"), ".json");
    assert_eq!(checkpoints.len(), 1);
    let path = checkpoints[0].strip_prefix(folder.path()).unwrap().to_str().unwrap();
    assert!(ran.stderr.contains(&format!("tea resume {path} --workflow a.yaml")), "{}", ran.stderr);
    let ran = tea(folder.path(), &["resume", path, "-w", "a.yaml", "-i", r#"{"x": 1}"#]);
    assert_eq!(ran.code, Some(0));
    let start = format!("Resuming from checkpoint: {path}\nInterrupted node: a\n");
    assert!(ran.stdout.starts_with(&start) && ran.stdout.contains("\"x\": 1"), "{}", ran.stdout);
    // The agent has no interrupt of its own, so that node a runs again: nothing says that it was done.
    let ran = tea(folder.path(), &["resume", path, "-w", "a.yaml", "--stream", "--interrupt-after", "a"]);
    assert!(ran.stdout.starts_with("{\"type\": \"resume\", "), "cli/Q-9: {}", ran.stdout);
    assert!(ran.stdout.contains("\"n\": 1,"), "{}", ran.stdout);
}

/// cli/Q-7: with --auto-continue each interrupt goes on from its checkpoint, so that the run ends.
#[test]
fn auto_continue_never_restarts() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let arguments =
        ["run", "a.yaml", "--stream", "--interrupt-before", "b", "--interrupt-after", "a", "--auto-continue"];
    let mut with_folder = arguments.to_vec();
    with_folder.extend(["-c", "chk"]);
    let ran = tea(folder.path(), &with_folder);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let kinds: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split('"').nth(3)).collect();
    assert_eq!(
        kinds,
        ["start", "node_complete", "interrupt", "interrupt", "node_complete", "complete"],
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("\"checkpoint\": \"chk/a_"), "{}", ran.stdout);
    let ran =
        tea(folder.path(), &["run", "a.yaml", "--interrupt-after", "a", "--auto-continue", "-c", "chk"]);
    assert!(ran.stdout.contains("   (auto-continuing...)\n✓ b\n"), "{}", ran.stdout);
}

/// cli/Q-20: what could run code when it is read is refused; nothing else passes as a checkpoint.
#[test]
fn only_checkpoints_are_resumed() {
    let folder = folder(&[("a.yaml", COUNT), ("list.json", "[1]")]);
    std::fs::write(folder.path().join("c.pkl"), b"\x80\x04\x95\x00").unwrap();
    let resume =
        |checkpoint: &str, workflow: &str| tea(folder.path(), &["resume", checkpoint, "-w", workflow]);
    for (ran, expected) in [
        (resume("none.json", "none.yaml"), "Error: Checkpoint file not found: none.json\n"),
        (resume("c.pkl", "none.yaml"), "Error: Workflow file not found: none.yaml\n"),
        (resume("c.pkl", "a.yaml"), "Error loading checkpoint: 'c.pkl' is a Python pickle"),
        (resume("list.json", "a.yaml"), "Error loading checkpoint: Corrupt or incompatible checkpoint file"),
    ] {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
    }
}

/// cli/CL-44 to cli/CL-47
#[test]
fn scoped_runs_begin_and_end_where_they_are_told() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let ran = tea(folder.path(), &["run", "a.yaml", "--entry-point", "b", "-i", r#"{"n": 9}"#]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("Running scoped execution: b → (stop before __end__)\nWorkflow: a.yaml\n"));
    assert!(ran.stdout.contains("✓ Scoped execution completed") && ran.stdout.contains("\"text\": \"9\""));
    let ran = tea(folder.path(), &["run", "a.yaml", "--entry-point", "ghost", "-q"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("Warning: --entry-point without --input"), "{}", ran.stderr);
    assert!(ran.stderr.contains("not found in graph"), "{}", ran.stderr);
}

/// What a node prints never mixes with the events.
#[test]
fn printed_lines_stay_out_of_streams() {
    let agent = "nodes:\n  - {name: a, language: lua, run: 'print(\"hello\") return {}'}\n  - {name: b, uses: notify, \
                 with: {channel: cli, message: there}}\n";
    let folder = folder(&[("a.yaml", agent)]);
    let ran = tea(folder.path(), &["run", "a.yaml", "--stream"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.lines().all(|line| line.starts_with('{')), "{}", ran.stdout);
    assert!(ran.stderr.contains("hello") && ran.stderr.contains("there"), "{}", ran.stderr);
}

/// cli/CL-9: Ctrl-C ends the command, also while a node works.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130() {
    let folder = folder(&[("a.yaml", "nodes:\n  - {name: a, language: lua, run: 'while true do end'}\n")]);
    let mut child = command(folder.path(), &["run", "a.yaml", "--stream"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The start event says that the run has begun.
    let mut first = [0; 9];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    let begun = Instant::now();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ran = Ran::new(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130));
    assert_eq!(ran.stderr, "\n\nExecution interrupted by user (Ctrl+C)\n");
    assert!(begun.elapsed() < Duration::from_secs(20), "before the time limit of the code");
}

/// A reader that goes away is no error message.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_quiet() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let mut child = command(folder.path(), &["run", "a.yaml", "--stream"])
        .stdin(Stdio::piped())
        .args(["--input", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"{}").unwrap();
    let ran = Ran::new(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""));
}
