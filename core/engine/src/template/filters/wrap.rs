//! Lines of a given width, as Python's `textwrap` breaks them.

/// The lines of one paragraph.
pub(super) fn wrap(text: &str, width: usize, break_long: bool, break_hyphens: bool) -> Vec<String> {
    let mut chunks: Vec<Vec<char>> = chunks(text, break_hyphens);
    chunks.reverse();
    let mut lines: Vec<String> = Vec::new();
    let blank = |chunk: &Vec<char>| chunk.iter().all(|c| is_blank(*c));
    while !chunks.is_empty() {
        let mut line: Vec<Vec<char>> = Vec::new();
        let mut length = 0;
        if !lines.is_empty() && chunks.last().is_some_and(blank) {
            chunks.pop();
        }
        while let Some(chunk) = chunks.pop_if(|chunk| length + chunk.len() <= width) {
            length += chunk.len();
            line.push(chunk);
        }
        if let Some(chunk) = chunks.last_mut().filter(|chunk| chunk.len() > width) {
            let space = width.saturating_sub(length).max(usize::from(width < 1));
            if break_long {
                let mut end = space;
                if break_hyphens && chunk.len() > space {
                    let hyphen = chunk.iter().take(space).rposition(|c| *c == '-');
                    if let Some(hyphen) =
                        hyphen.filter(|at| *at > 0 && chunk.iter().take(*at).any(|c| *c != '-'))
                    {
                        end = hyphen + 1;
                    }
                }
                let rest = chunk.split_off(end.min(chunk.len()));
                line.push(std::mem::replace(chunk, rest));
            } else if line.is_empty()
                && let Some(chunk) = chunks.pop()
            {
                line.push(chunk);
            }
        }
        if line.last().is_some_and(blank) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.into_iter().flatten().collect());
        }
    }
    lines
}

/// What counts as a blank here: ASCII only.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The text as runs of blanks and words; with `hyphens`, words are split after hyphens inside of them.
fn chunks(text: &str, hyphens: bool) -> Vec<Vec<char>> {
    let chars: Vec<char> = text.chars().collect();
    let mut out: Vec<Vec<char>> = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let blank = chars.get(at).is_some_and(|c| is_blank(*c));
        let end = chars.iter().skip(at).position(|c| is_blank(*c) != blank).map_or(chars.len(), |n| at + n);
        let word = chars.get(at..end).unwrap_or_default();
        if blank || !hyphens {
            out.push(word.to_vec());
        } else {
            split_word(word, &mut out);
        }
        at = end;
    }
    out
}

fn is_word(character: Option<&char>) -> bool {
    character.is_some_and(|c| c.is_alphanumeric() || *c == '_' || "!\"'&.,?".contains(*c))
}

fn is_letter(character: Option<&char>) -> bool {
    character.is_some_and(|c| c.is_alphabetic() || *c == '_')
}

/// Splits after a hyphen that has two letters, or a letter and a hyphen of its own, before it and letters after
/// it, and around dashes of two and more hyphens.
fn split_word(word: &[char], out: &mut Vec<Vec<char>>) {
    let mut start = 0;
    let mut at = 0;
    while at < word.len() {
        if word.get(at) != Some(&'-') {
            at += 1;
            continue;
        }
        let run = word.iter().skip(at).take_while(|c| **c == '-').count();
        if run >= 2 {
            let after =
                is_letter(word.get(at + run)) || word.get(at + run).is_some_and(|c| c.is_alphanumeric());
            if at > start && is_word(word.get(at.wrapping_sub(1))) && after {
                out.push(word.get(start..at).unwrap_or_default().to_vec());
                out.push(word.get(at..at + run).unwrap_or_default().to_vec());
                start = at + run;
            }
            at += run;
            continue;
        }
        let before = |offset: usize| at.checked_sub(offset).and_then(|index| word.get(index));
        let left = (is_letter(before(2)) && is_letter(before(1)))
            || (is_letter(before(3)) && before(2) == Some(&'-') && is_letter(before(1)));
        let right = is_letter(word.get(at + 1))
            && (is_letter(word.get(at + 2))
                || (word.get(at + 2) == Some(&'-') && is_letter(word.get(at + 3))));
        if left && right && at > start {
            out.push(word.get(start..=at).unwrap_or_default().to_vec());
            start = at + 1;
        }
        at += 1;
    }
    if start < word.len() {
        out.push(word.get(start..).unwrap_or_default().to_vec());
    }
}
