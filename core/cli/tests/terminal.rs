//! On a terminal: colours, progress, the questions at an interrupt.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // In helpers of tests, too.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use common::{COUNT, command, folder};
use nix::pty::openpty;

/// A command on a terminal of its own, and that terminal.
struct Session {
    child: Child,
    terminal: File,
    seen: String,
}

impl Session {
    fn new(folder: &Path, arguments: &[&str], no_color: bool) -> Self {
        let pair = openpty(None, None).unwrap();
        let slave = File::from(pair.slave);
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let mut command = command(folder, arguments);
        command.stdin(stream()).stdout(stream()).stderr(stream());
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Session { child: command.spawn().unwrap(), terminal: File::from(pair.master), seen: String::new() }
    }

    /// Reads until the text was printed.
    fn expect(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.seen.contains(text) {
            match self.terminal.read(&mut bytes) {
                Ok(count) if count > 0 => self.seen += &String::from_utf8_lossy(&bytes[..count]),
                _ => panic!("the command ended without {text:?}: {}", self.seen),
            }
        }
    }

    fn answer(&mut self, line: &str) {
        self.terminal.write_all(line.as_bytes()).unwrap();
    }

    /// Reads to the end: the exit code, and all that was printed.
    fn end(mut self) -> (Option<i32>, String) {
        let mut bytes = [0; 4096];
        // Linux reports the end of the last process on a terminal as an error.
        while let Ok(count) = self.terminal.read(&mut bytes) {
            if count == 0 {
                break;
            }
            self.seen += &String::from_utf8_lossy(&bytes[..count]);
        }
        (self.child.wait().unwrap().code(), self.seen.replace("\r\n", "\n"))
    }
}

/// Progress is shown and removed, marks are coloured; NO_COLOR switches both off.
#[test]
fn colours_and_progress() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let (code, seen) = Session::new(folder.path(), &["run", "a.yaml"], false).end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("… a\r\x1b[K\x1b[32m✓\x1b[0m a\n… b\r\x1b[K"), "{seen:?}");
    let (code, seen) = Session::new(folder.path(), &["run", "a.yaml"], true).end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("\n✓ a\n✓ b\n") && !seen.contains('\x1b'), "{seen:?}");
}

/// cli/CL-43: continue, update, abort, anything else.
#[test]
fn an_interrupt_asks_what_to_do() {
    let folder = folder(&[("a.yaml", COUNT)]);
    let arguments =
        ["run", "a.yaml", "--interrupt-before", "b", "-c", "chk", "-i", r#"{"m": {"x": 1, "y": 1}}"#];
    let start = || {
        let mut session = Session::new(folder.path(), &arguments, true);
        session.expect("[a] Abort execution");
        session.expect("Choice: ");
        session
    };
    let mut session = start();
    session.answer("C\n");
    let (code, seen) = session.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("Checkpoint saved: chk/b_") && seen.contains("\"text\": \"1\""), "{seen}");

    let mut session = start();
    session.answer("u\n");
    session.expect("(or press Enter to skip):");
    session.answer("{\"n\": 5, \"m\": {\"x\": 2}}\n");
    let (code, seen) = session.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(
        seen.contains("State updated. Resuming execution...") && seen.contains("\"text\": \"5\""),
        "{seen}"
    );
    assert!(seen.contains("\"x\": 2,\n    \"y\": 1\n"), "cli/CL-21: {seen}");

    for (answers, text) in [
        (&["a\n"][..], "Execution aborted by user."),
        (&["x\n"], "Invalid choice: x. Aborting."),
        (&["u\n", "[1]\n"], "Error: State updates must be a JSON object"),
        (&["u\n", "{\n"], "Error: Invalid JSON - "),
        (&["\x04"], "Aborted."),
    ] {
        let mut session = start();
        session.answer(answers[0]);
        if let Some(second) = answers.get(1) {
            session.expect("(or press Enter to skip):");
            session.answer(second);
        }
        let (code, seen) = session.end();
        assert_eq!(code, Some(1), "{seen}");
        assert!(seen.contains(text), "{text}: {seen}");
    }
}
