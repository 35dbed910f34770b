//! Operations on texts, by characters as Python counts them.

/// What `str.isspace` takes for a blank.
pub(in crate::template) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Lines, without their ends or (`keep`) with them; all line ends that Python knows.
pub(in crate::template) fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.find(is_end) else {
            lines.push(rest);
            break;
        };
        let tail = rest.get(at..).unwrap_or_default();
        let end = if tail.starts_with("\r\n") { 2 } else { tail.chars().next().map_or(1, char::len_utf8) };
        lines.push(rest.get(..if keep { at + end } else { at }).unwrap_or_default());
        rest = rest.get(at + end..).unwrap_or_default();
    }
    lines
}

pub(in crate::template) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => title_case(first) + &chars.as_str().to_lowercase(),
        None => String::new(),
    }
}

/// The character as the first one of a word; several letters in one keep all but the first low.
fn title_case(character: char) -> String {
    match character {
        '\u{1c4}'..='\u{1c6}' => "\u{1c5}".to_owned(),
        '\u{1c7}'..='\u{1c9}' => "\u{1c8}".to_owned(),
        '\u{1ca}'..='\u{1cc}' => "\u{1cb}".to_owned(),
        '\u{1f1}'..='\u{1f3}' => "\u{1f2}".to_owned(),
        other => {
            let mut upper = other.to_uppercase();
            let first = upper.next().map(String::from).unwrap_or_default();
            first + &upper.collect::<String>().to_lowercase()
        }
    }
}

/// `str.center`: an odd blank goes left when the width is odd.
pub(in crate::template) fn center(text: &str, width: usize, fill: char) -> String {
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = missing / 2 + (missing & width & 1);
    let blanks = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    [blanks(left).as_str(), text, blanks(missing - left).as_str()].concat()
}

/// `str.islower`
pub(in crate::template) fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(|c| c.is_uppercase() || is_title_case(c))
}

/// `str.isupper`
pub(in crate::template) fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(|c| c.is_lowercase() || is_title_case(c))
}

fn is_title_case(character: char) -> bool {
    matches!(character, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}'
        | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

fn is_cased(character: char) -> bool {
    character.is_lowercase() || character.is_uppercase() || is_title_case(character)
}

/// `str.title`: a letter is up unless a letter is before it.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = false;
    for character in text.chars() {
        if before {
            out.extend(character.to_lowercase());
        } else {
            out.push_str(&title_case(character));
        }
        before = is_cased(character);
    }
    out
}

/// `str.istitle`
pub(super) fn is_title(text: &str) -> bool {
    let mut before = false;
    let mut any = false;
    for character in text.chars() {
        if character.is_uppercase() || is_title_case(character) {
            if before {
                return false;
            }
            before = true;
            any = true;
        } else if character.is_lowercase() {
            if !before {
                return false;
            }
            any = true;
        } else {
            before = false;
        }
    }
    any
}

pub(super) fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_title_case(character) {
            out.push(character);
        } else if character.is_uppercase() {
            out.extend(character.to_lowercase());
        } else {
            out.extend(character.to_uppercase());
        }
    }
    out
}

/// `str.casefold`: lower case, and the letters whose folding is longer or another one.
pub(super) fn case_fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            'ß' | 'ẞ' => out.push_str("ss"),
            'ς' => out.push('σ'),
            'ſ' => out.push('s'),
            'µ' => out.push('μ'),
            'ŉ' => out.push_str("ʼn"),
            'ﬀ' => out.push_str("ff"),
            'ﬁ' => out.push_str("fi"),
            'ﬂ' => out.push_str("fl"),
            'ﬃ' => out.push_str("ffi"),
            'ﬄ' => out.push_str("ffl"),
            'ﬅ' | 'ﬆ' => out.push_str("st"),
            'և' => out.push_str("եւ"),
            'İ' => out.push_str("i\u{307}"),
            other => out.extend(other.to_lowercase()),
        }
    }
    out
}

/// `str.expandtabs`
pub(super) fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' => {
                if size > 0 {
                    let blanks = size - column % size;
                    column += blanks;
                    out.extend(std::iter::repeat_n(' ', blanks));
                }
            }
            '\n' | '\r' => {
                column = 0;
                out.push(character);
            }
            other => {
                column += 1;
                out.push(other);
            }
        }
    }
    out
}

/// `str.zfill`
pub(super) fn zero_fill(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let zeros = "0".repeat(missing);
    match text.chars().next() {
        Some(sign @ ('+' | '-')) => format!("{sign}{zeros}{}", text.get(1..).unwrap_or_default()),
        _ => zeros + text,
    }
}

/// `str.split()` on runs of blanks; at most `limit` cuts.
pub(super) fn split_blanks(text: &str, limit: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if limit.is_some_and(|limit| parts.len() >= limit) {
            // The last part keeps its blanks when the limit was reached.
            parts.push(rest);
            return parts;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after.trim_start_matches(is_space);
    }
    parts
}

/// `str.rsplit()` on runs of blanks; at most `limit` cuts, from the end.
pub(super) fn rsplit_blanks(text: &str, limit: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        if limit.is_some_and(|limit| parts.len() >= limit) {
            parts.push(rest);
            break;
        }
        let start =
            rest.char_indices().rev().find(|(_, c)| is_space(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        let (before, part) = rest.split_at(start);
        parts.push(part);
        rest = before.trim_end_matches(is_space);
    }
    parts.reverse();
    parts
}
