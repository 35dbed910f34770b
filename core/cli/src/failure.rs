//! What a command reports when it ends without success.

use std::fmt::Write;
use std::path::Path;

use tea_engine::actions::json::Fault;
use tea_engine::agent::Problem;
use tea_engine::yaml::YamlError;

use crate::console::Console;

/// How many characters of a source line are shown at most.
const MAX_SHOWN: usize = 120;

/// The reason why a command ends: what goes to the standard error, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The text, without a newline at its end. Empty: everything is said already.
    pub(crate) text: String,
    /// The exit code: 1 for errors, 2 for wrong usage, 130 for an interrupt (`cli/CL-9`).
    pub(crate) code: u8,
}

impl Failure {
    /// An error with exit code 1.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Failure { text: text.into(), code: 1 }
    }

    /// An end whose reason is said already.
    pub(crate) fn silent(code: u8) -> Self {
        Failure { text: String::new(), code }
    }

    /// Adds the place where the error lies.
    pub(crate) fn at(mut self, snippet: Option<Snippet>) -> Self {
        if let Some(snippet) = snippet {
            self.text.push('\n');
            self.text.push_str(&snippet.to_string());
        }
        self
    }

    /// Writes the text to the standard error.
    pub(crate) fn report(&self, console: &Console) {
        if !self.text.is_empty() {
            console.error(&self.text);
        }
    }
}

/// A line of a file with a mark under the place that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The file, or what else the text is.
    pub(crate) name: String,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// The way from the root of the document; may be empty.
    pub(crate) path: String,
    /// The line, if it could be read.
    pub(crate) source: Option<String>,
    /// What would be right; may be empty.
    pub(crate) hint: String,
}

impl Snippet {
    /// The place in a text.
    pub(crate) fn of_text(name: &str, text: &str, line: usize, column: usize) -> Option<Self> {
        if line == 0 {
            return None;
        }
        let source = text.lines().nth(line - 1).map(str::to_owned);
        Some(Snippet {
            name: name.to_owned(),
            line,
            column: column.max(1),
            path: String::new(),
            source,
            hint: String::new(),
        })
    }

    /// The place in a file, which is read again for its line.
    pub(crate) fn of_file(name: &str, line: usize, column: usize) -> Option<Self> {
        let text = std::fs::read(Path::new(name)).unwrap_or_default();
        Snippet::of_text(name, &String::from_utf8_lossy(&text), line, column)
    }

    /// The place of a problem of an agent.
    pub(crate) fn of_problem(problem: &Problem) -> Option<Self> {
        let place = &problem.place;
        let mut snippet =
            Snippet::of_file(place.file.as_deref()?, place.mark.line as usize, place.mark.column as usize)?;
        snippet.path = place.path_text();
        snippet.hint.clone_from(&problem.hint);
        Some(snippet)
    }

    /// The place where a text stops being YAML.
    pub(crate) fn of_yaml(name: &str, error: &YamlError) -> Option<Self> {
        Snippet::of_file(name, error.mark.line as usize, error.mark.column as usize)
    }

    /// The place where a text stops being JSON.
    pub(crate) fn of_json(name: &str, text: &str, fault: &Fault) -> Option<Self> {
        Snippet::of_text(name, text, fault.line, fault.column)
    }
}

impl std::fmt::Display for Snippet {
    /// `  --> file:line:column (at path)`, the line, the mark, the hint; without a newline at the end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Snippet { name, line, column, path, source, hint } = self;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "{margin}--> {name}:{line}:{column}")?;
        if !path.is_empty() {
            write!(f, " (at {path})")?;
        }
        if let Some(source) = source {
            let (shown, place) = window(source, *column);
            write!(f, "\n{margin} |\n{number} | {shown}\n{margin} | {}^", " ".repeat(place))?;
        }
        if !hint.is_empty() {
            write!(f, "\n{margin} = {hint}")?;
        }
        Ok(())
    }
}

/// The part of a line around a column, fit for a terminal, and how many characters of it are before the column.
fn window(source: &str, column: usize) -> (String, usize) {
    let characters: Vec<char> = source.trim_end().chars().collect();
    let place = (column - 1).min(characters.len());
    let first = if characters.len() <= MAX_SHOWN { 0 } else { place.saturating_sub(MAX_SHOWN / 2) };
    let last = (first + MAX_SHOWN).min(characters.len());
    let mut shown = String::new();
    if first > 0 {
        shown.push('…');
    }
    let before = shown.chars().count() + (place - first);
    for character in characters.get(first..last).unwrap_or_default() {
        shown.push(if character.is_control() { ' ' } else { *character });
    }
    if last < characters.len() {
        shown.push('…');
    }
    (shown, before)
}

/// All problems of an agent, one paragraph each.
pub(crate) fn paragraphs<'p>(problems: impl Iterator<Item = (&'p str, &'p Problem)>) -> String {
    let mut text = String::new();
    for (label, problem) in problems {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{label}: {}", problem.message);
        match Snippet::of_problem(problem) {
            Some(snippet) => {
                let _ = write!(text, "\n{snippet}");
            }
            None if !problem.hint.is_empty() => {
                let _ = write!(text, "\n = {}", problem.hint);
            }
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_under_the_column() {
        let snippet = Snippet::of_text("a.yaml", "x\n\tbad: [", 2, 7).unwrap();
        assert_eq!(snippet.to_string(), " --> a.yaml:2:7\n  |\n2 |  bad: [\n  |       ^");
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let line = "é".repeat(500);
        let (shown, place) = window(&line, 300);
        assert_eq!(shown.chars().count(), MAX_SHOWN + 2);
        assert_eq!(place, 1 + MAX_SHOWN / 2);
        assert_eq!(window("ab", 99), ("ab".to_owned(), 2));
    }
}
