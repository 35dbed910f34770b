//! What the tests of the command share.

#![allow(dead_code)] // Not every test needs everything.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The command, without the environment's wishes about colours.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tea"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn tea(folder: &Path, arguments: &[&str]) -> Ran {
    Ran::new(command(folder, arguments).output().unwrap())
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn new(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A folder with files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// The files in a folder with this suffix.
pub(crate) fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(suffix));
    files.sort();
    files
}

/// Two nodes: one counts, one writes.
pub(crate) const COUNT: &str = "\
name: demo
nodes:
  - {name: a, language: lua, run: 'return {n = (state.n or 0) + 1}'}
  - {name: b, uses: json.stringify, with: {data: '{{ state.n }}'}, output: t}
";
