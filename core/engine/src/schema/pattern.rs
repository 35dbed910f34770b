//! Regular expressions in Python's syntax.

use fancy_regex::{Regex, RegexBuilder};

/// Steps back that a match may take: a hostile pattern fails instead of running for hours.
const BACKTRACK_LIMIT: usize = 1_000_000;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    anywhere: Regex,
    at_start: Regex,
}

impl Pattern {
    /// Compiles an expression. The error says what is wrong with it.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        let translated = translated(pattern);
        let build = |source: &str| {
            let built = RegexBuilder::new(source).backtrack_limit(BACKTRACK_LIMIT).build();
            built.map_err(|error| error.to_string())
        };
        // Compiled by itself first: in a group, a stray bracket could go unnoticed.
        let anywhere = build(&translated)?;
        Ok(Pattern { anywhere, at_start: build(&format!("\\A(?:{translated})"))? })
    }

    /// Whether it matches anywhere (`re.search`). The error: the search takes too long.
    pub fn search(&self, text: &str) -> Result<bool, String> {
        self.anywhere.is_match(text).map_err(|error| error.to_string())
    }

    /// Whether it matches at the start (`re.match`). The error: the search takes too long.
    pub fn matches_start(&self, text: &str) -> Result<bool, String> {
        self.at_start.is_match(text).map_err(|error| error.to_string())
    }
}

/// Python's syntax in that of the crate: `\Z` is the end, `$` stands also before a last newline, and inside a class
/// only `\`, `]`, `^` and `-` mean something.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let mut in_class = false;
    let multi_line = pattern.starts_with("(?")
        && pattern.find(')').is_some_and(|end| {
            pattern
                .get(2..end)
                .is_some_and(|flags| flags.contains('m') && flags.chars().all(|c| c.is_ascii_lowercase()))
        });
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('Z') if !in_class => out.push_str("\\z"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if in_class => out.push_str("\\["),
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
            }
            '[' => {
                in_class = true;
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A closing bracket in the first place is a character.
                if characters.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '$' if !in_class && !multi_line => out.push_str("(?=\\n?\\z)"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_matches() {
        for (pattern, text, search, start) in [
            ("[a-z]+", "1abc", true, false),
            ("[a-z]+$", "abc\n", true, true),
            ("[a-z]+\\Z", "abc\n", false, false),
            ("^x|b", "ab", true, false),
            ("(?i)AB", "ab", true, true),
            ("[[]", "[", true, true),
            ("[]a]", "]", true, true),
            ("[^]a]", "]", false, false),
            ("[a&&b]", "&", true, true),
            ("(?P<y>.)(?P=y)", "aa", true, true),
            ("(?<=a)b", "ab", true, false),
            ("a(?!b)", "ab", false, false),
            ("(?m)^b$", "a\nb\nc", true, false),
            ("\\$[$]", "$$", true, true),
        ] {
            let compiled = Pattern::compile(pattern).unwrap();
            assert_eq!(compiled.search(text), Ok(search), "search {pattern}");
            assert_eq!(compiled.matches_start(text), Ok(start), "match {pattern}");
        }
        for wrong in ["(", "a)|(b", "[", "*"] {
            assert!(Pattern::compile(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = Pattern::compile("(?:(a+)+\\1)+$").unwrap();
        assert!(pattern.search(&format!("{}b", "a".repeat(60))).is_err());
    }
}
