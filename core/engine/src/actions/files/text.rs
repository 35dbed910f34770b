//! Bytes of files as texts.

/// The text in an encoding of Python's name, all line ends as `\n`. The error is Python's text.
pub(super) fn decode(bytes: &[u8], encoding: &str) -> Result<String, String> {
    let name: String =
        encoding.chars().map(|c| if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_lowercase() }).collect();
    let text = match name.as_str() {
        "utf_8" | "utf8" | "u8" => utf8(bytes)?,
        "utf_8_sig" => utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))?,
        "ascii" | "us_ascii" | "646" => match bytes.iter().position(|byte| *byte >= 0x80) {
            None => utf8(bytes)?,
            Some(at) => return Err(undecodable("ascii", bytes, at, "ordinal not in range(128)")),
        },
        "latin_1" | "latin1" | "iso_8859_1" | "iso8859_1" | "l1" => {
            bytes.iter().map(|byte| char::from(*byte)).collect()
        }
        "utf_16" | "utf16" => match bytes {
            [0xfe, 0xff, rest @ ..] => utf16(rest, false)?,
            [0xff, 0xfe, rest @ ..] => utf16(rest, true)?,
            rest => utf16(rest, true)?,
        },
        "utf_16_le" | "utf_16le" => utf16(bytes, true)?,
        "utf_16_be" | "utf_16be" => utf16(bytes, false)?,
        _ => {
            return Err(format!(
                "unknown encoding: {encoding} (known are utf-8, utf-8-sig, utf-16, ascii and latin-1)"
            ));
        }
    };
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

fn undecodable(codec: &str, bytes: &[u8], at: usize, reason: &str) -> String {
    let byte = bytes.get(at).copied().unwrap_or_default();
    format!("'{codec}' codec can't decode byte 0x{byte:02x} in position {at}: {reason}")
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let reason = match (error.error_len(), bytes.get(at)) {
                (None, _) => "unexpected end of data",
                (Some(_), Some(0xc2..=0xf4)) => "invalid continuation byte",
                _ => "invalid start byte",
            };
            Err(undecodable("utf-8", bytes, at, reason))
        }
    }
}

fn utf16(bytes: &[u8], little: bool) -> Result<String, String> {
    let units = bytes.chunks(2).map(|pair| match pair {
        [a, b] if little => u16::from_le_bytes([*a, *b]),
        [a, b] => u16::from_be_bytes([*a, *b]),
        // Half a unit is half of a pair: no text.
        _ => 0xd800,
    });
    char::decode_utf16(units)
        .enumerate()
        .map(|(at, unit)| {
            unit.map_err(|_| format!("'utf-16' codec can't decode bytes near unit {at}: illegal encoding"))
        })
        .collect()
}
