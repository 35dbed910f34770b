//! Filters about HTML and URLs.

use super::Filter;
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, R, Val, type_error, value_error};
use crate::value::{Value, str_repr};

/// `& < > ' "` as entities.
pub(in crate::template) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            other => out.push(other),
        }
    }
    out
}

impl Renderer<'_> {
    pub(super) fn html_filter(&mut self, filter: Filter, value: &Val, args: Args) -> R<Val> {
        match filter {
            Filter::Striptags => {
                let [] = args.bind("striptags", [], 0)?;
                let text = self.str(value)?;
                Ok(Val::str(strip_tags(&text)))
            }
            Filter::Urlencode => {
                let [] = args.bind("urlencode", [], 0)?;
                self.urlencode(value).map(Val::str)
            }
            Filter::Xmlattr => {
                let [autospace] = args.bind("xmlattr", ["autospace"], 0)?;
                let autospace = self.flag(autospace, true)?;
                self.xmlattr(value, autospace).map(Val::str)
            }
            _ => {
                let names = ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"];
                let bound = args.bind("urlize", names, 0)?;
                self.urlize(value, bound).map(Val::str)
            }
        }
    }

    fn urlencode(&mut self, value: &Val) -> R<String> {
        let pairs = match value {
            Val::V(
                Value::Str(_)
                | Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::BigInt(_)
                | Value::Float(_),
            )
            | Val::Safe(_)
            | Val::V(Value::Date(_) | Value::DateTime(_)) => {
                return Ok(quote(self.str(value)?.as_bytes(), false));
            }
            _ => match self.entries(value)? {
                Some(entries) => entries,
                None => {
                    let mut pairs = Vec::new();
                    for pair in self.iterate(value)? {
                        let pair = self.iterate(&pair)?;
                        let [key, value] = pair.as_slice() else {
                            return value_error(format!(
                                "{} values to unpack (expected 2)",
                                if pair.len() > 2 { "too many" } else { "not enough" }
                            ));
                        };
                        pairs.push((key.clone(), value.clone()));
                    }
                    pairs
                }
            },
        };
        let mut parts = Vec::with_capacity(pairs.len());
        for (key, value) in &pairs {
            let key = quote(self.str(key)?.as_bytes(), true);
            let value = quote(self.str(value)?.as_bytes(), true);
            parts.push(format!("{key}={value}"));
        }
        Ok(parts.join("&"))
    }

    fn xmlattr(&mut self, value: &Val, autospace: bool) -> R<String> {
        let Some(entries) = self.entries(value)? else {
            return match value {
                Val::Undef(undefined) => crate::template::eval::val::template_error(undefined.message()),
                _ => crate::template::eval::val::failure(
                    "AttributeError",
                    format!("'{}' object has no attribute 'items'", self.type_name(value)),
                ),
            };
        };
        let mut parts = Vec::new();
        for (key, value) in &entries {
            if value.is_null() || matches!(value, Val::Undef(_)) {
                continue;
            }
            let Some(key) = key.text() else { return type_error("expected string or bytes-like object") };
            if key.contains([' ', '\t', '\n', '\r', '\u{c}', '\u{b}', '/', '>', '=']) {
                return value_error(format!("Invalid character in attribute name: {}", str_repr(key)));
            }
            let text = self.str(value)?;
            let text = if matches!(value, Val::Safe(_)) { text } else { escape(&text) };
            parts.push(format!("{}=\"{text}\"", escape(key)));
        }
        let joined = parts.join(" ");
        Ok(if autospace && !joined.is_empty() { format!(" {joined}") } else { joined })
    }

    fn urlize(&mut self, value: &Val, arguments: [Option<Val>; 5]) -> R<String> {
        let [limit, nofollow, target, rel, schemes] = arguments;
        let limit = match limit {
            Some(value) if !value.is_null() => Some(self.integer(Some(value), 0)?),
            _ => None,
        };
        let mut rels: Vec<String> = match rel {
            Some(value) if self.truth(&value)? => {
                self.str(&value)?.split_whitespace().map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        if self.flag(nofollow, false)? {
            rels.push("nofollow".to_owned());
        }
        rels.push("noopener".to_owned());
        rels.sort();
        rels.dedup();
        let target = match target {
            Some(value) if self.truth(&value)? => format!(" target=\"{}\"", escape(&self.str(&value)?)),
            _ => String::new(),
        };
        let mut extra = Vec::new();
        if let Some(schemes) = schemes
            && !schemes.is_null()
        {
            for scheme in self.iterate(&schemes)? {
                let scheme = self.str(&scheme)?;
                let word = scheme.strip_suffix("//").unwrap_or(&scheme);
                let valid = word.strip_suffix(':').is_some_and(|word| {
                    word.len() >= 2 && word.chars().all(|c| c.is_alphanumeric() || ".+-_".contains(c))
                });
                if !valid {
                    return crate::template::eval::val::template_error(format!(
                        "{} is not a valid URI scheme prefix.",
                        str_repr(&scheme)
                    ));
                }
                extra.push(scheme);
            }
        }
        let text = self.str(value)?;
        let text = if matches!(value, Val::Safe(_)) { text } else { escape(&text) };
        let link =
            LinkStyle { limit, attributes: format!(" rel=\"{}\"{target}", escape(&rels.join(" "))), extra };
        let mut out = String::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            link.word(word, &mut out);
            let blanks = after.len() - after.trim_start().len();
            out.push_str(after.get(..blanks).unwrap_or_default());
            rest = after.get(blanks..).unwrap_or_default();
        }
        Ok(out)
    }
}

struct LinkStyle {
    limit: Option<i64>,
    attributes: String,
    extra: Vec<String>,
}

impl LinkStyle {
    fn word(&self, word: &str, out: &mut String) {
        let mut middle = word;
        while let Some(rest) = ["(", "<", "&lt;"].iter().find_map(|open| middle.strip_prefix(open)) {
            middle = rest;
        }
        let head = word.get(..word.len() - middle.len()).unwrap_or_default();
        let body = middle;
        while let Some(rest) = [")", ">", ".", ",", "&gt;"].iter().find_map(|end| middle.strip_suffix(end)) {
            middle = rest;
        }
        let mut cut = middle.len();
        // Closing brackets belong to the link as long as it has opening ones without a partner.
        for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
            let inside = body.get(..cut).unwrap_or_default();
            let opened = inside.matches(open).count();
            if opened <= inside.matches(close).count() {
                continue;
            }
            let tail = body.get(cut..).unwrap_or_default();
            for _ in 0..opened.min(tail.matches(close).count()) {
                let tail = body.get(cut..).unwrap_or_default();
                if let Some(at) = tail.find(close) {
                    cut += at + close.len();
                }
            }
        }
        let (middle, tail) = body.split_at(cut);
        out.push_str(head);
        let attributes = &self.attributes;
        if is_web(middle) {
            let scheme =
                if middle.starts_with("http://") || middle.starts_with("https://") { "" } else { "https://" };
            let shown = match self.limit.map(|limit| usize::try_from(limit).unwrap_or(0)) {
                Some(limit) if middle.chars().count() > limit => {
                    middle.chars().take(limit).collect::<String>() + "..."
                }
                _ => middle.to_owned(),
            };
            out.push_str(&format!("<a href=\"{scheme}{middle}\"{attributes}>{shown}</a>"));
        } else if let Some(address) = middle.strip_prefix("mailto:").filter(|address| is_email(address)) {
            out.push_str(&format!("<a href=\"{middle}\">{address}</a>"));
        } else if middle.contains('@')
            && !middle.starts_with("www.")
            && !middle.starts_with('@')
            && !middle.contains(':')
            && is_email(middle)
        {
            out.push_str(&format!("<a href=\"mailto:{middle}\">{middle}</a>"));
        } else if self.extra.iter().any(|scheme| middle != scheme && middle.starts_with(scheme.as_str())) {
            out.push_str(&format!("<a href=\"{middle}\"{attributes}>{middle}</a>"));
        } else {
            out.push_str(middle);
        }
        out.push_str(tail);
    }
}

/// Whether a word is an address of the web: with a scheme any host, else `www.` or a well-known ending.
fn is_web(text: &str) -> bool {
    let lower = text.to_lowercase();
    let with_scheme = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let rest = with_scheme.unwrap_or(&lower);
    let end = rest.find([':', '/', '?', '#']).unwrap_or(rest.len());
    let (host, tail) = rest.split_at(end);
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '%';
    let labels: Vec<&str> = host.split('.').collect();
    let named = !host.is_empty() && labels.iter().all(|label| !label.is_empty() && label.chars().all(word));
    let port = match tail.strip_prefix(':') {
        Some(port) => {
            let digits = port.len() - port.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            (1..=5).contains(&digits)
                && port.get(digits..).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
        }
        None => true,
    };
    if !port {
        return false;
    }
    if with_scheme.is_some() {
        return named || (host.starts_with('[') && text.contains(']'));
    }
    let known = ["com", "net", "int", "edu", "gov", "org", "info", "mil"];
    named
        && labels.len() >= 2
        && (labels.first() == Some(&"www") || labels.last().is_some_and(|last| known.contains(last)))
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else { return false };
    let Some((_, last)) = host.rsplit_once('.') else { return false };
    !user.is_empty()
        && !text.contains(char::is_whitespace)
        && host.chars().all(|c| c.is_alphanumeric() || ".-_".contains(c))
        && !host.starts_with('.')
        && last.chars().count() >= 1
        && last.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Percent-encoding; in a query string `/` too, and blanks as `+`.
fn quote(bytes: &[u8], query: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(char::from(*byte))
            }
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Comments and tags out, runs of blanks to one, entities decoded.
fn strip_tags(text: &str) -> String {
    let cut = |text: &str, open: &str, close: &str| {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(open) {
            let Some(end) = rest.get(start..).and_then(|inner| inner.find(close)) else { break };
            out.push_str(rest.get(..start).unwrap_or_default());
            rest = rest.get(start + end + close.len()..).unwrap_or_default();
        }
        out + rest
    };
    let text = cut(&cut(text, "<!--", "-->"), "<", ">");
    let words: Vec<&str> = text.split_whitespace().collect();
    unescape(&words.join(" "))
}

/// Character references as characters, as HTML 5 reads them.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        match reference(after) {
            Some((decoded, length)) => {
                out.push_str(&decoded);
                rest = after.get(length..).unwrap_or_default();
            }
            None => {
                out.push('&');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    out + rest
}

/// The characters of the reference at the start of the text, and its length.
fn reference(text: &str) -> Option<(String, usize)> {
    if let Some(number) = text.strip_prefix("&#") {
        let (digits, radix, skip) = match number.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16, 3),
            None => (number, 10, 2),
        };
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let digits = digits.get(..end).filter(|digits| !digits.is_empty())?;
        let semicolon = usize::from(text.as_bytes().get(skip + end) == Some(&b';'));
        let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
        let decoded = match code {
            0 => "\u{fffd}".to_owned(),
            0x80..=0x9f => windows_1252(code).to_string(),
            0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
            code if code & 0xfffe == 0xfffe => String::new(),
            code => char::from_u32(code).unwrap_or('\u{fffd}').to_string(),
        };
        return Some((decoded, skip + end + semicolon));
    }
    let end = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| !c.is_ascii_alphanumeric())
        .map_or(text.len(), |(at, _)| at);
    let with_semicolon = text.as_bytes().get(end) == Some(&b';');
    let longest = end.min(33) + usize::from(with_semicolon && end <= 33);
    (2..=longest).rev().find_map(|length| {
        let name = text.get(..length)?;
        entities::ENTITIES
            .iter()
            .find(|entity| entity.entity == name)
            .map(|entity| (entity.characters.to_owned(), length))
    })
}

/// Numbers of controls that stand for characters of Windows-1252.
fn windows_1252(code: u32) -> char {
    const TABLE: [u16; 32] = [
        0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152,
        0x8d, 0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122,
        0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
    ];
    let index = usize::try_from(code.saturating_sub(0x80)).unwrap_or(0);
    TABLE.get(index).and_then(|code| char::from_u32(u32::from(*code))).unwrap_or('\u{fffd}')
}
