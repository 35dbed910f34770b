//! Lua's patterns with a meter.
//!
//! A pattern such as `(.-)(.-)(.-)x` takes more than a lifetime over a long text, inside of one C function where no
//! hook runs. The sandbox sends calls that may take long here: the same language, each step counted.

use super::error::{ErrorKind, raise};
use super::limit::Guard;

/// Steps between two looks at the limits.
const STRIDE: u32 = 1000;

/// Calls within calls, as in Lua.
const MOST_CALLS: u32 = 200;

/// Captures, as in Lua.
const MOST_CAPTURES: usize = 32;

const ESCAPE: u8 = b'%';

/// What a capture holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Open,
    Position,
    Bytes(usize),
}

/// A capture: where it begins, and what it holds.
pub(super) type Capture = (usize, Length);

/// A match: its ends, counted from 0, and its captures.
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) captures: Vec<Capture>,
}

/// Finds the first match at `from` or later that does not end at `not_end`.
pub(super) fn find(
    text: &[u8],
    pattern: &[u8],
    from: usize,
    anchors: bool,
    not_end: Option<usize>,
    guard: &Guard,
) -> mlua::Result<Option<Match>> {
    let anchored = anchors && pattern.first() == Some(&b'^');
    let pattern = if anchored { pattern.get(1..).unwrap_or_default() } else { pattern };
    let mut matcher = Matcher { text, pattern, captures: Vec::new(), calls: 0, steps: 0, guard };
    for start in from..=text.len() {
        matcher.captures.clear();
        matcher.calls = 0;
        if let Some(end) = matcher.run(start, 0)?
            && Some(end) != not_end
        {
            return Ok(Some(Match { start, end, captures: matcher.captures }));
        }
        if anchored {
            break;
        }
    }
    Ok(None)
}

/// Finds a plain text at `from` or later.
pub(super) fn find_plain(
    text: &[u8],
    part: &[u8],
    from: usize,
    guard: &Guard,
) -> mlua::Result<Option<usize>> {
    let Some(rest) = text.get(from..) else { return Ok(None) };
    let Some(first) = part.first() else { return Ok(Some(from)) };
    let mut steps = 0_usize;
    for (at, _) in rest.iter().enumerate().filter(|(_, byte)| *byte == first) {
        let Some(candidate) = rest.get(at..at + part.len()) else { break };
        let same = candidate.iter().zip(part).take_while(|(a, b)| a == b).count();
        if same == part.len() {
            return Ok(Some(from + at));
        }
        steps += same;
        if steps > 64 * STRIDE as usize {
            guard.charge(u64::from(STRIDE))?;
            steps = 0;
        }
    }
    Ok(None)
}

struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    calls: u32,
    steps: u32,
    guard: &'a Guard,
}

fn malformed<T>(message: impl Into<String>) -> mlua::Result<T> {
    raise(ErrorKind::Runtime, message)
}

impl Matcher<'_> {
    fn at(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    fn step(&mut self) -> mlua::Result<()> {
        self.steps += 1;
        if self.steps >= STRIDE {
            self.steps = 0;
            self.guard.charge(u64::from(STRIDE))?;
        }
        Ok(())
    }

    /// Matches the pattern from `p` with the text from `s`; gives the end.
    fn run(&mut self, s: usize, p: usize) -> mlua::Result<Option<usize>> {
        if self.calls >= MOST_CALLS {
            return malformed("pattern too complex");
        }
        self.calls += 1;
        let end = self.items(s, p);
        self.calls -= 1;
        end
    }

    fn items(&mut self, mut s: usize, mut p: usize) -> mlua::Result<Option<usize>> {
        loop {
            self.step()?;
            let Some(item) = self.at(p) else { return Ok(Some(s)) };
            match (item, self.at(p + 1)) {
                (b'(', Some(b')')) => return self.open(s, p + 2, Length::Position),
                (b'(', _) => return self.open(s, p + 1, Length::Open),
                (b')', _) => return self.close(s, p + 1),
                (b'$', None) => return Ok((s == self.text.len()).then_some(s)),
                (ESCAPE, Some(b'b')) => match self.balanced(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (ESCAPE, Some(b'f')) => {
                    p += 2;
                    if self.at(p) != Some(b'[') {
                        return malformed("missing '[' after '%f' in pattern");
                    }
                    let end = self.class_end(p)?;
                    let before = s.checked_sub(1).and_then(|s| self.text.get(s)).copied().unwrap_or(0);
                    let after = self.text.get(s).copied().unwrap_or(0);
                    if self.in_set(before, p, end - 1) || !self.in_set(after, p, end - 1) {
                        return Ok(None);
                    }
                    p = end;
                }
                (ESCAPE, Some(digit @ b'0'..=b'9')) => match self.same_as_capture(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.class_end(p)?;
                    let matches = self.single(s, p, end);
                    match self.at(end) {
                        Some(b'?') => {
                            if matches && let Some(found) = self.run(s + 1, end + 1)? {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'+') => return if matches { self.most(s + 1, p, end) } else { Ok(None) },
                        Some(b'*') => return self.most(s, p, end),
                        Some(b'-') => return self.fewest(s, p, end),
                        _ if matches => (s, p) = (s + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn most(&mut self, s: usize, p: usize, end: usize) -> mlua::Result<Option<usize>> {
        let mut count = 0;
        while self.single(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            match count.checked_sub(1) {
                Some(less) => count = less,
                None => return Ok(None),
            }
        }
    }

    fn fewest(&mut self, mut s: usize, p: usize, end: usize) -> mlua::Result<Option<usize>> {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, length: Length) -> mlua::Result<Option<usize>> {
        if self.captures.len() >= MOST_CAPTURES {
            return malformed("too many captures");
        }
        self.captures.push((s, length));
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures.pop();
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> mlua::Result<Option<usize>> {
        let Some(level) = self.captures.iter().rposition(|(_, length)| *length == Length::Open) else {
            return malformed("invalid pattern capture");
        };
        if let Some((start, length)) = self.captures.get_mut(level) {
            *length = Length::Bytes(s - *start);
        }
        let found = self.run(s, p)?;
        if found.is_none()
            && let Some((_, length)) = self.captures.get_mut(level)
        {
            *length = Length::Open;
        }
        Ok(found)
    }

    fn same_as_capture(&mut self, s: usize, digit: u8) -> mlua::Result<Option<usize>> {
        let index = usize::from(digit).checked_sub(usize::from(b'1'));
        let (start, length) = match index.and_then(|index| self.captures.get(index)) {
            Some((start, Length::Bytes(length))) => (*start, *length),
            Some((_, Length::Position)) => return Ok(None),
            Some((_, Length::Open)) | None => {
                return malformed(format!("invalid capture index %{} in pattern", char::from(digit)));
            }
        };
        let same = self.text.get(start..start + length) == self.text.get(s..s + length);
        Ok((same && s + length <= self.text.len()).then_some(s + length))
    }

    fn balanced(&mut self, s: usize, p: usize) -> mlua::Result<Option<usize>> {
        let (Some(open), Some(close)) = (self.at(p), self.at(p + 1)) else {
            return malformed("malformed pattern (missing arguments to '%b')");
        };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        let mut at = s + 1;
        while let Some(byte) = self.text.get(at).copied() {
            self.step()?;
            at += 1;
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// Where the single-character class at `p` ends.
    fn class_end(&self, p: usize) -> mlua::Result<usize> {
        let first = self.at(p);
        let mut p = p + 1;
        match first {
            Some(ESCAPE) if self.at(p).is_none() => malformed("malformed pattern (ends with '%')"),
            Some(ESCAPE) => Ok(p + 1),
            Some(b'[') => {
                if self.at(p) == Some(b'^') {
                    p += 1;
                }
                loop {
                    let Some(byte) = self.at(p) else { return malformed("malformed pattern (missing ']')") };
                    p += 1;
                    if byte == ESCAPE && p < self.pattern.len() {
                        p += 1;
                    }
                    if self.at(p) == Some(b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p),
        }
    }

    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(byte) = self.text.get(s).copied() else { return false };
        match self.at(p) {
            Some(b'.') => true,
            Some(ESCAPE) => self.at(p + 1).is_some_and(|class| in_class(byte, class)),
            Some(b'[') => self.in_set(byte, p, end - 1),
            other => other == Some(byte),
        }
    }

    /// Whether a byte is in the set between `p` and its closing bracket.
    fn in_set(&self, byte: u8, p: usize, close: usize) -> bool {
        let (mut p, wanted) = if self.at(p + 1) == Some(b'^') { (p + 2, false) } else { (p + 1, true) };
        while p < close {
            match (self.at(p), self.at(p + 1), self.at(p + 2)) {
                (Some(ESCAPE), Some(class), _) => {
                    if in_class(byte, class) {
                        return wanted;
                    }
                    p += 2;
                }
                (Some(low), Some(b'-'), Some(high)) if p + 2 < close => {
                    if (low..=high).contains(&byte) {
                        return wanted;
                    }
                    p += 3;
                }
                (one, ..) => {
                    if one == Some(byte) {
                        return wanted;
                    }
                    p += 1;
                }
            }
        }
        !wanted
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let found = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        _ => return class == byte,
    };
    found != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn ours(text: &[u8], pattern: &[u8]) -> Result<Option<(usize, usize, Vec<Capture>)>, String> {
        let guard = Guard::new(Arc::default());
        match find(text, pattern, 0, true, None, &guard) {
            Ok(Some(found)) if found.captures.iter().any(|(_, length)| *length == Length::Open) => {
                Err("unfinished capture".to_owned())
            }
            Ok(found) => Ok(found.map(|found| (found.start, found.end, found.captures))),
            Err(error) => Err(error.to_string()),
        }
    }

    /// As Lua's own `string.find` sees it: the positions of everything.
    fn theirs(
        lua: &mlua::Lua,
        text: &[u8],
        pattern: &[u8],
    ) -> Result<Option<(usize, usize, Vec<Capture>)>, String> {
        let find: mlua::Function = lua.load("return string.find").eval().unwrap();
        let text = lua.create_string(text).unwrap();
        let pattern = lua.create_string(pattern).unwrap();
        let results: mlua::MultiValue = find.call((&text, &pattern)).map_err(|error| error.to_string())?;
        let results = results.into_vec();
        let [mlua::Value::Integer(start), mlua::Value::Integer(end), captures @ ..] = results.as_slice()
        else {
            return Ok(None);
        };
        let captures = captures
            .iter()
            .map(|capture| match capture {
                mlua::Value::Integer(position) => (*position as usize - 1, Length::Position),
                // Where it lies is not told; what it holds is compared below.
                mlua::Value::String(text) => (0, Length::Bytes(text.as_bytes().len())),
                other => panic!("{other:?}"),
            })
            .collect();
        Ok(Some((*start as usize - 1, *end as usize, captures)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn patterns_match_as_in_lua(
            text in "[ab1 (){}\\-]{0,10}",
            pattern in "(\\^)?(a|b|1| |\\.|%a|%d|%s|%W|%%|\\(|\\)|\\(\\)|\\[ab\\]|\\[\\^a\\]|\\[%d-\\]|\\[a-b\\]|%b\\(\\)|%f\\[%w\\]|%1|%|\\[|\\*|\\+|\\?|-|\\$){0,6}",
        ) {
            // Without any of these, `string.find` looks for the plain text.
            prop_assume!(pattern.contains(|c| "^$*+?.([%-".contains(c)));
            let lua = mlua::Lua::new();
            let (ours, theirs) = (ours(text.as_bytes(), pattern.as_bytes()), theirs(&lua, text.as_bytes(), pattern.as_bytes()));
            match (ours, theirs) {
                (Ok(None), Ok(None)) => {}
                (Ok(Some((start, end, captures))), Ok(Some((their_start, their_end, theirs)))) => {
                    prop_assert_eq!((start, end), (their_start, their_end));
                    let shown = captures.iter().map(|(start, length)| match length {
                        Length::Position => (*start, Length::Position),
                        other => (0, *other),
                    });
                    prop_assert_eq!(shown.collect::<Vec<_>>(), theirs);
                }
                (Err(ours), Err(theirs)) => {
                    let words = ours.split_once('%').map_or(ours.as_str(), |(head, _)| head);
                    prop_assert!(theirs.contains(words), "{ours} {theirs}");
                }
                (ours, theirs) => prop_assert!(false, "{ours:?} {theirs:?}"),
            }
        }
    }
}
