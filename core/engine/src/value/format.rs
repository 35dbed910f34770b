//! Values as Python prints them: `str()` and `repr()`.

use super::{DateTime, Value, put};

/// `str(value)`: texts as they are, everything else as [`repr`] but dates, which print as ISO.
pub fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        Value::Date(date) => date.to_string(),
        Value::DateTime(time) => time.format(' '),
        other => repr(other),
    }
}

/// `repr(value)`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(number) => put(out, format_args!("{number}")),
        Value::BigInt(number) => put(out, format_args!("{number}")),
        Value::Float(float) => out.push_str(&float_repr(*float)),
        Value::Str(text) => out.push_str(&str_repr(text)),
        Value::List(items) => write_items(out, "[", items.iter(), "]"),
        Value::Tuple(items) if items.len() == 1 => write_items(out, "(", items.iter(), ",)"),
        Value::Tuple(items) => write_items(out, "(", items.iter(), ")"),
        Value::Set(items) if items.is_empty() => out.push_str("set()"),
        Value::Set(items) => write_items(out, "{", items.iter().map(super::Key::value), "}"),
        Value::Map(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(out, key.value());
                out.push_str(": ");
                write_repr(out, value);
            }
            out.push('}');
        }
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Date(date) => {
            put(out, format_args!("datetime.date({}, {}, {})", date.year, date.month, date.day));
        }
        Value::DateTime(time) => write_datetime(out, time),
        Value::Host(object) => put(out, format_args!("<host object {}>", object.id())),
    }
}

fn write_items<'a>(out: &mut String, open: &str, items: impl Iterator<Item = &'a Value>, close: &str) {
    out.push_str(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(out, item);
    }
    out.push_str(close);
}

fn write_datetime(out: &mut String, time: &DateTime) {
    let date = time.date;
    let (hour, minute) = (time.hour, time.minute);
    put(out, format_args!("datetime.datetime({}, {}, {}, {hour}, {minute}", date.year, date.month, date.day));
    if time.second != 0 || time.microsecond != 0 {
        put(out, format_args!(", {}", time.second));
    }
    if time.microsecond != 0 {
        put(out, format_args!(", {}", time.microsecond));
    }
    match time.offset {
        None => {}
        Some(0) => out.push_str(", tzinfo=datetime.timezone.utc"),
        Some(offset) => {
            let days = offset.div_euclid(86_400);
            let seconds = offset.rem_euclid(86_400);
            let delta = match days {
                0 => format!("seconds={seconds}"),
                days => format!("days={days}, seconds={seconds}"),
            };
            put(out, format_args!(", tzinfo=datetime.timezone(datetime.timedelta({delta}))"));
        }
    }
    out.push(')');
}

/// `repr` of a text: single quotes unless only the text holds them, escapes for what does not print.
pub fn str_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x100 => put(&mut out, format_args!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => put(&mut out, format_args!("\\u{:04x}", c as u32)),
            c => put(&mut out, format_args!("\\U{:08x}", c as u32)),
        }
    }
    out.push(quote);
    out
}

/// An approximation of `str.isprintable` for one character: everything but controls, separators other than
/// the blank, format characters, surrogates, private use and non-characters.
fn is_printable(character: char) -> bool {
    let code = character as u32;
    !(character.is_control()
        || (character != ' ' && character.is_whitespace())
        || matches!(code, 0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x180E)
        || matches!(code, 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB)
        || matches!(code, 0xE000..=0xF8FF | 0xFFFE..=0xFFFF | 0xE0000..=0xE0FFF | 0xF0000..=0x10_FFFF))
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    out.push('b');
    out.push(quote);
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b if char::from(*b) == quote => {
                out.push('\\');
                out.push(quote);
            }
            0x20..=0x7e => out.push(char::from(*byte)),
            b => put(out, format_args!("\\x{b:02x}")),
        }
    }
    out.push(quote);
}

/// `repr` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
pub fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        for (float, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123456.789, "123456.789"),
        ] {
            assert_eq!(float_repr(float), text);
        }
    }

    #[test]
    fn texts_print_as_in_python() {
        for (given, printed) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("both ' and \"", "'both \\' and \"'"),
            ("\n\t\\", "'\\n\\t\\\\'"),
            ("\u{0}\u{7f}", "'\\x00\\x7f'"),
            ("é\u{200b}", "'é\\u200b'"),
        ] {
            assert_eq!(str_repr(given), printed);
        }
    }

    #[test]
    fn containers_print_as_in_python() {
        let value = crate::map! {
            "a" => vec![Value::Null, Value::Bool(true), Value::Float(2.5)],
            "t" => Value::Tuple(vec![Value::Int(1)].into()),
        };
        assert_eq!(repr(&value), "{'a': [None, True, 2.5], 't': (1,)}");
    }
}
