//! Methods of texts.

use super::list::texts;
use super::text;
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, R, Val, failure, type_error, value_error};
use crate::value::Value;

pub(super) const NAMES: [&str; 46] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

impl Renderer<'_> {
    pub(super) fn string_method(&mut self, subject: &str, name: &str, args: Args) -> R<Val> {
        let none = |args: Args| -> R<()> {
            let [] = args.exactly(name, 0)?;
            Ok(())
        };
        Ok(match name {
            "upper" => {
                none(args)?;
                Val::str(subject.to_uppercase())
            }
            "lower" => {
                none(args)?;
                Val::str(subject.to_lowercase())
            }
            "title" => {
                none(args)?;
                Val::str(text::title(subject))
            }
            "capitalize" => {
                none(args)?;
                Val::str(text::capitalize(subject))
            }
            "swapcase" => {
                none(args)?;
                Val::str(text::swap_case(subject))
            }
            "casefold" => {
                none(args)?;
                Val::str(text::case_fold(subject))
            }
            "strip" | "lstrip" | "rstrip" => {
                let [chars] = args.exactly(name, 0)?;
                Val::str(self.stripped(subject, name, chars)?)
            }
            "split" | "rsplit" => self.split(subject, name, args)?,
            "splitlines" => {
                let [keep] = args.bind(name, ["keepends"], 0)?;
                let keep = self.flag(keep, false)?;
                texts(text::split_lines(subject, keep))
            }
            "partition" | "rpartition" => {
                let [separator] = args.exactly(name, 1)?;
                let separator = self.text_argument(separator)?;
                if separator.is_empty() {
                    return value_error("empty separator");
                }
                let found = if name == "partition" {
                    subject.split_once(&*separator)
                } else {
                    subject.rsplit_once(&*separator)
                };
                let parts = match found {
                    Some((before, after)) => [before, &separator, after],
                    None if name == "partition" => [subject, "", ""],
                    None => ["", "", subject],
                };
                Val::tuple(parts.into_iter().map(Val::str).collect())
            }
            "join" => {
                let [items] = args.exactly(name, 1)?;
                let mut parts = Vec::new();
                for (index, item) in self.iterate(&items.unwrap_or(Val::NULL))?.iter().enumerate() {
                    match item.text() {
                        Some(part) => parts.push(part.to_owned()),
                        None => {
                            return type_error(format!(
                                "sequence item {index}: expected str instance, {} found",
                                self.type_name(item)
                            ));
                        }
                    }
                }
                self.produce(
                    parts.iter().map(String::len).sum::<usize>() + subject.len().saturating_mul(parts.len()),
                )?;
                Val::str(parts.join(subject))
            }
            "replace" => {
                let [old, new, count] = args.exactly(name, 2)?;
                let (old, new) = (self.text_argument(old)?, self.text_argument(new)?);
                let count = self.integer(count, -1)?;
                Val::str(self.replaced(subject, &old, &new, count)?)
            }
            "startswith" | "endswith" => {
                let [affix, start, stop] = args.exactly(name, 1)?;
                let part = self.part(subject, start, stop)?;
                let affix = affix.unwrap_or(Val::NULL);
                let options = match affix.text() {
                    Some(text) => vec![text.to_owned()],
                    None if self.sequence_kind(&affix)? == Some("tuple") => {
                        let mut options = Vec::new();
                        for option in self.iterate(&affix)? {
                            options.push(self.text_argument(Some(option))?);
                        }
                        options
                    }
                    None => {
                        return type_error(format!(
                            "{name} first arg must be str or a tuple of str, not {}",
                            self.type_name(&affix)
                        ));
                    }
                };
                let Some((part, _)) = part else { return Ok(Val::bool(false)) };
                let holds = |option: &String| {
                    if name == "startswith" {
                        part.starts_with(option.as_str())
                    } else {
                        part.ends_with(option.as_str())
                    }
                };
                Val::bool(options.iter().any(holds))
            }
            "find" | "index" | "rfind" | "rindex" | "count" => {
                let [wanted, start, stop] = args.exactly(name, 1)?;
                let wanted = self.text_argument(wanted)?;
                let part = self.part(subject, start, stop)?;
                if name == "count" {
                    return Ok(Val::len(part.map_or(0, |(part, _)| part.matches(&*wanted).count())));
                }
                let found = part.and_then(|(part, offset)| {
                    let at = if name.starts_with('r') { part.rfind(&*wanted) } else { part.find(&*wanted) };
                    at.map(|at| offset + part.get(..at).unwrap_or_default().chars().count())
                });
                match found {
                    Some(index) => Val::len(index),
                    None if name.ends_with("find") => Val::int(-1),
                    None => return value_error("substring not found"),
                }
            }
            "removeprefix" | "removesuffix" => {
                let [affix] = args.exactly(name, 1)?;
                let affix = self.text_argument(affix)?;
                let rest = if name == "removeprefix" {
                    subject.strip_prefix(&*affix)
                } else {
                    subject.strip_suffix(&*affix)
                };
                Val::str(rest.unwrap_or(subject))
            }
            "center" | "ljust" | "rjust" => {
                let [width, fill] = args.exactly(name, 1)?;
                let width = self.integer(width, 0)?;
                let fill = match fill {
                    None => ' ',
                    Some(fill) => {
                        let fill = self.text_argument(Some(fill))?;
                        let mut chars = fill.chars();
                        match (chars.next(), chars.next()) {
                            (Some(fill), None) => fill,
                            _ => return type_error("The fill character must be exactly one character long"),
                        }
                    }
                };
                let width = self.width(width)?;
                let missing = width.saturating_sub(subject.chars().count());
                let blanks: String = std::iter::repeat_n(fill, missing).collect();
                Val::str(match name {
                    "center" => text::center(subject, width, fill),
                    "ljust" => subject.to_owned() + &blanks,
                    _ => blanks + subject,
                })
            }
            "zfill" => {
                let [width] = args.exactly(name, 1)?;
                let width = self.integer(width, 0)?;
                let width = self.width(width)?;
                Val::str(text::zero_fill(subject, width))
            }
            "expandtabs" => {
                let [size] = args.bind(name, ["tabsize"], 0)?;
                let size = self.integer(size, 8)?;
                let size = usize::try_from(size).unwrap_or(0);
                self.produce(size.saturating_mul(subject.matches('\t').count()))?;
                Val::str(text::expand_tabs(subject, size))
            }
            "encode" => {
                let [encoding, errors] = args.bind(name, ["encoding", "errors"], 0)?;
                self.encode(subject, encoding, errors)?
            }
            "format" => Val::str(self.format_method(subject, &args)?),
            "format_map" => {
                let [map] = args.exactly(name, 1)?;
                let mut named = Args::default();
                for (key, value) in self.entries(&map.unwrap_or(Val::NULL))?.unwrap_or_default() {
                    if let Some(key) = key.text() {
                        named.kw.push((key.into(), value));
                    }
                }
                Val::str(self.format_method(subject, &named)?)
            }
            "translate" => return type_error("translate() is not supported in templates"),
            _ => {
                none(args)?;
                Val::bool(is(subject, name))
            }
        })
    }

    fn text_argument(&mut self, value: Option<Val>) -> R<String> {
        let value = value.unwrap_or(Val::NULL);
        match value.text() {
            Some(text) => Ok(text.to_owned()),
            None => type_error(format!("must be str, not {}", self.type_name(&value))),
        }
    }

    fn stripped(&mut self, subject: &str, name: &str, chars: Option<Val>) -> R<String> {
        let set = match chars {
            Some(chars) if !chars.is_null() => match chars.text() {
                Some(set) => Some(set.to_owned()),
                None => return type_error(format!("{name} arg must be None or str")),
            },
            _ => None,
        };
        let is_in = |c: char| set.as_ref().map_or_else(|| text::is_space(c), |set| set.contains(c));
        let mut rest = subject;
        if name != "rstrip" {
            rest = rest.trim_start_matches(is_in);
        }
        if name != "lstrip" {
            rest = rest.trim_end_matches(is_in);
        }
        Ok(rest.to_owned())
    }

    fn split(&mut self, subject: &str, name: &str, args: Args) -> R<Val> {
        let [separator, limit] = args.bind(name, ["sep", "maxsplit"], 0)?;
        let limit = usize::try_from(self.integer(limit, -1)?).ok();
        let right = name == "rsplit";
        let parts: Vec<&str> = match separator {
            Some(value) if !value.is_null() => {
                let separator = self.text_argument(Some(value))?;
                if separator.is_empty() {
                    return value_error("empty separator");
                }
                let parts: Vec<String> = match (right, limit) {
                    (false, None) => subject.split(&*separator).map(str::to_owned).collect(),
                    (false, Some(limit)) => {
                        subject.splitn(limit.saturating_add(1), &*separator).map(str::to_owned).collect()
                    }
                    (true, limit) => {
                        let limit = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
                        let mut parts: Vec<String> =
                            subject.rsplitn(limit, &*separator).map(str::to_owned).collect();
                        parts.reverse();
                        parts
                    }
                };
                self.produce(parts.len() * size_of::<Val>())?;
                return Ok(texts(parts));
            }
            _ if right => text::rsplit_blanks(subject, limit),
            _ => text::split_blanks(subject, limit),
        };
        self.produce(parts.len() * size_of::<Val>())?;
        Ok(texts(parts))
    }

    /// The part between two indices, and how many characters are before it; `None` if it begins after the end.
    fn part<'t>(
        &mut self,
        subject: &'t str,
        start: Option<Val>,
        stop: Option<Val>,
    ) -> R<Option<(&'t str, usize)>> {
        let (start, stop) = (start.filter(|value| !value.is_null()), stop.filter(|value| !value.is_null()));
        if start.is_none() && stop.is_none() {
            return Ok(Some((subject, 0)));
        }
        let length = i64::try_from(subject.chars().count()).unwrap_or(i64::MAX);
        let bound = |bound: i64| if bound < 0 { bound.saturating_add(length).max(0) } else { bound };
        let start = bound(self.integer(start, 0)?);
        let stop = bound(self.integer(stop, i64::MAX)?).min(length);
        if start > stop {
            return Ok(None);
        }
        let offset = |index: i64| {
            let index = usize::try_from(index).unwrap_or(0);
            subject.char_indices().nth(index).map_or(subject.len(), |(at, _)| at)
        };
        let part = subject.get(offset(start)..offset(stop)).unwrap_or_default();
        Ok(Some((part, usize::try_from(start).unwrap_or(0))))
    }

    fn encode(&mut self, subject: &str, encoding: Option<Val>, errors: Option<Val>) -> R<Val> {
        let encoding = match encoding {
            Some(value) => self.text_argument(Some(value))?.to_lowercase().replace(['-', '_'], ""),
            None => "utf8".to_owned(),
        };
        let errors = match errors {
            Some(value) => self.text_argument(Some(value))?,
            None => "strict".to_owned(),
        };
        let limit = match encoding.as_str() {
            "utf8" => return Ok(Val::V(Value::Bytes(subject.as_bytes().into()))),
            "ascii" | "usascii" => 0x80,
            "latin1" | "iso88591" => 0x100,
            other => return failure("LookupError", format!("unknown encoding: {other}")),
        };
        let mut bytes = Vec::with_capacity(subject.len());
        for character in subject.chars() {
            match u8::try_from(character as u32) {
                Ok(byte) if u32::from(byte) < limit => bytes.push(byte),
                _ if errors == "ignore" => {}
                _ if errors == "replace" => bytes.push(b'?'),
                _ => {
                    return failure(
                        "UnicodeEncodeError",
                        format!("'{encoding}' codec can't encode character in position {}", bytes.len()),
                    );
                }
            }
        }
        Ok(Val::V(Value::Bytes(bytes.into())))
    }
}

/// `str.isalpha` and its kind.
fn is(subject: &str, name: &str) -> bool {
    let all = |test: fn(char) -> bool| !subject.is_empty() && subject.chars().all(test);
    let superscript = |c: char| matches!(c, '²' | '³' | '¹' | '\u{2070}' | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}');
    match name {
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isascii" => subject.is_ascii(),
        "isdecimal" => {
            all(|c| c.is_ascii_digit() || (c.is_numeric() && crate::template::filters::decimal_digit(c)))
        }
        "isdigit" => {
            !subject.is_empty()
                && subject.chars().all(|c| {
                    c.is_ascii_digit() || superscript(c) || crate::template::filters::decimal_digit(c)
                })
        }
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(text::is_space),
        "islower" => text::is_lower(subject),
        "isupper" => text::is_upper(subject),
        "istitle" => text::is_title(subject),
        "isidentifier" => {
            let mut chars = subject.chars();
            chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
                && chars.all(|c| c.is_alphanumeric() || c == '_')
        }
        "isprintable" => {
            let shown = crate::value::str_repr(&subject.replace(['\\', '\'', '"'], ""));
            !shown.contains('\\')
        }
        _ => false,
    }
}
