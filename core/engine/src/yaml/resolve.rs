//! Which type a plain scalar has: YAML 1.1 with the patterns of PyYAML's resolver.

use super::timestamp;

/// The tags that have a meaning; `tag:yaml.org,2002:` is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Binary,
    Timestamp,
    Omap,
    Pairs,
    Set,
    Str,
    Seq,
    Map,
    /// The key `<<`.
    Merge,
    /// The key `=`.
    Value,
    /// Any other: refused when the node becomes a value. Index into the composer's list of names.
    Other(u32),
}

/// The tag of a full name, if it is one of YAML's own types.
pub(super) fn standard_tag(name: &str) -> Option<Tag> {
    Some(match name.strip_prefix("tag:yaml.org,2002:")? {
        "null" => Tag::Null,
        "bool" => Tag::Bool,
        "int" => Tag::Int,
        "float" => Tag::Float,
        "binary" => Tag::Binary,
        "timestamp" => Tag::Timestamp,
        "omap" => Tag::Omap,
        "pairs" => Tag::Pairs,
        "set" => Tag::Set,
        "str" => Tag::Str,
        "seq" => Tag::Seq,
        "map" => Tag::Map,
        "merge" => Tag::Merge,
        "value" => Tag::Value,
        _ => return None,
    })
}

/// The type of a scalar without a tag. `None` is the type `yaml` of a lone indicator, which has no values.
pub(super) fn resolve(text: &str) -> Option<Tag> {
    let Some(&first) = text.as_bytes().first() else {
        return Some(Tag::Null);
    };
    // The patterns end in `$`, which in Python also matches before a line break at the end.
    let body = text.strip_suffix('\n').unwrap_or(text);
    let tag = match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(body),
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(body),
        b'<' => (body == "<<").then_some(Tag::Merge),
        b'=' => (body == "=").then_some(Tag::Value),
        b'!' | b'&' | b'*' if body.len() == 1 => return None,
        _ => None,
    };
    Some(tag.unwrap_or(Tag::Str))
}

fn word(text: &str) -> Option<Tag> {
    match text {
        "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "true" | "True" | "TRUE" | "false" | "False"
        | "FALSE" | "on" | "On" | "ON" | "off" | "Off" | "OFF" => Some(Tag::Bool),
        "~" | "null" | "Null" | "NULL" => Some(Tag::Null),
        _ => None,
    }
}

fn number(text: &str) -> Option<Tag> {
    if is_float(text) {
        Some(Tag::Float)
    } else if is_int(text) {
        Some(Tag::Int)
    } else if timestamp::is_implicit(text) {
        Some(Tag::Timestamp)
    } else {
        None
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

/// At least one byte, and all of this kind or underscores.
fn all(text: &str, kind: fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || kind(&byte))
}

/// Digits and underscores, digit first.
fn is_digits(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && all(text, u8::is_ascii_digit)
}

/// Digits, then `:` and 0 to 59 at least once.
fn is_base_60(text: &str) -> bool {
    let mut parts = text.split(':');
    let sixties = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [b'0'..=b'5', digit] => digit.is_ascii_digit(),
        _ => false,
    };
    text.contains(':') && parts.next().is_some_and(is_digits) && parts.all(sixties)
}

fn is_int(text: &str) -> bool {
    let text = unsigned(text);
    match text.as_bytes() {
        [b'0'] => true,
        [b'0', b'b', ..] => all(&text[2..], |byte| matches!(byte, b'0' | b'1')),
        [b'0', b'x', ..] => all(&text[2..], u8::is_ascii_hexdigit),
        [b'0', ..] => all(&text[1..], |byte| matches!(byte, b'0'..=b'7')),
        [b'1'..=b'9', ..] => is_digits(text) || is_base_60(text),
        _ => false,
    }
}

fn is_float(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") || matches!(unsigned(text), ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let Some((whole, rest)) = unsigned(text).split_once('.') else {
        return false;
    };
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['+', '-'])
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if whole.is_empty() {
        return text.starts_with('.') && is_digits(fraction) && exponent_fits;
    }
    let fraction_fits = fraction.is_empty() || all(fraction, u8::is_ascii_digit);
    fraction_fits && ((is_digits(whole) && exponent_fits) || (exponent.is_none() && is_base_60(whole)))
}
