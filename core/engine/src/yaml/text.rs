//! Bytes to text: encodings, and the characters that YAML allows.

use std::borrow::Cow;

use super::error::{Mark, Result, YamlErrorKind, fail};

/// Decodes UTF-8, or UTF-16 with a byte order mark. The mark stays in the text; the scanner skips it.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>> {
    let text = match bytes {
        [0xFF, 0xFE, ..] => Cow::Owned(utf16(bytes, "little", u16::from_le_bytes)?),
        [0xFE, 0xFF, ..] => Cow::Owned(utf16(bytes, "big", u16::from_be_bytes)?),
        _ => Cow::Borrowed(utf8(bytes)?),
    };
    check_printable(&text)?;
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).or_else(|error| {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let mark = end_of(&String::from_utf8_lossy(valid));
        let byte = rest.first().copied().unwrap_or_default();
        fail(
            YamlErrorKind::Reader,
            mark,
            format!("byte 0x{byte:02x} is not valid here: the text must be UTF-8"),
        )
    })
}

fn utf16(bytes: &[u8], order: &str, unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match decoded {
            Ok(character) => text.push(character),
            Err(error) => {
                let problem = format!(
                    "half a surrogate pair, 0x{:04x}, in UTF-16 ({order}-endian)",
                    error.unpaired_surrogate()
                );
                return fail(YamlErrorKind::Reader, end_of(&text), problem);
            }
        }
    }
    if !rest.is_empty() {
        return fail(
            YamlErrorKind::Reader,
            end_of(&text),
            format!("UTF-16 ({order}-endian) ends within a character"),
        );
    }
    Ok(text)
}

/// Allowed are tab, line breaks, and everything that prints: no other control characters, no U+FFFE, U+FFFF.
fn check_printable(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let forbidden = (0..bytes.len()).find(|&at| {
        let next = |ahead: usize| bytes.get(at + ahead).copied().unwrap_or_default();
        match next(0) {
            b'\t' | b'\n' | b'\r' => false,
            0..=0x1F | 0x7F => true,
            0xC2 => next(1) < 0xA0 && next(1) != 0x85,
            0xEF => next(1) == 0xBF && next(2) >= 0xBE,
            _ => false,
        }
    });
    let Some((before, rest)) = forbidden.and_then(|at| text.split_at_checked(at)) else {
        return Ok(());
    };
    let code = u32::from(rest.chars().next().unwrap_or_default());
    let problem = format!(
        "the character U+{code:04X} is not allowed in YAML; in double quotes it can be written as \\u{code:04X}"
    );
    fail(YamlErrorKind::Reader, end_of(before), problem)
}

/// The place after a text.
fn end_of(text: &str) -> Mark {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let line = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Mark { line: count(line), column: count(column) }
}
