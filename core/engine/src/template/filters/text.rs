//! Filters about texts. Most take the text of any value.

use super::Filter;
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, R, Val, failure, template_error, type_error};
use crate::template::methods::text as ops;
use crate::value::Value;

impl Renderer<'_> {
    pub(super) fn text_filter(&mut self, filter: Filter, value: &Val, args: Args) -> R<Val> {
        let bare = matches!(
            filter,
            Filter::Upper | Filter::Lower | Filter::Capitalize | Filter::Title | Filter::Wordcount
        );
        if bare && !(args.pos.is_empty() && args.kw.is_empty()) {
            return type_error("the filter takes no arguments");
        }
        let text = match filter {
            // These use the value itself.
            Filter::Truncate | Filter::Wordwrap | Filter::Indent => {
                return self.strict_text_filter(filter, value, args);
            }
            _ => self.str(value)?,
        };
        let safe = matches!(value, Val::Safe(_));
        let result = match filter {
            Filter::Upper | Filter::Lower | Filter::Capitalize | Filter::Title => {
                let [] = args.bind("the filter", [], 0)?;
                match filter {
                    Filter::Upper => text.to_uppercase(),
                    Filter::Lower => text.to_lowercase(),
                    Filter::Capitalize => ops::capitalize(&text),
                    _ => title(&text),
                }
            }
            Filter::Center => {
                let [width] = args.bind("center", ["width"], 0)?;
                let width = self.integer(width, 80)?;
                let width = self.width(width)?;
                ops::center(&text, width, ' ')
            }
            Filter::Format => {
                if !args.pos.is_empty() && !args.kw.is_empty() {
                    return template_error("can't handle positional and keyword arguments at the same time");
                }
                let values = if args.kw.is_empty() {
                    Val::tuple(args.pos)
                } else {
                    Val::dict(args.kw.into_iter().map(|(name, value)| (name.into(), value)).collect())
                };
                self.printf(&text, &values, safe)?
            }
            Filter::Replace => {
                let [old, new, count] = args.bind("replace", ["old", "new", "count"], 2)?;
                let old = self.str(&old.unwrap_or(Val::NULL))?;
                let new = self.str(&new.unwrap_or(Val::NULL))?;
                let count = match count {
                    Some(value) if !value.is_null() => self.integer(Some(value), -1)?,
                    _ => -1,
                };
                let replaced = self.replaced(&text, &old, &new, count)?;
                return Ok(Val::str(replaced));
            }
            Filter::Trim => {
                let [chars] = args.bind("trim", ["chars"], 0)?;
                match chars {
                    Some(chars) if !chars.is_null() => match chars.text() {
                        Some(set) => text.trim_matches(|c| set.contains(c)).to_owned(),
                        None => return type_error("strip arg must be None or str"),
                    },
                    _ => text.trim_matches(ops::is_space).to_owned(),
                }
            }
            _ => {
                let [] = args.bind("wordcount", [], 0)?;
                let word = |c: char| c.is_alphanumeric() || c == '_';
                let count = text.split(|c| !word(c)).filter(|part| !part.is_empty()).count();
                return Ok(Val::len(count));
            }
        };
        Ok(if safe { Val::Safe(result.into()) } else { Val::str(result) })
    }

    /// A width from a template: bounded, because that much text is made.
    pub(in crate::template) fn width(&mut self, width: i64) -> R<usize> {
        let width = usize::try_from(width).unwrap_or(0);
        self.produce(width)?;
        Ok(width)
    }

    pub(in crate::template) fn replaced(
        &mut self,
        text: &str,
        old: &str,
        new: &str,
        count: i64,
    ) -> R<String> {
        let places = match usize::try_from(count) {
            Ok(count) => text.matches(old).take(count).count(),
            Err(_) => text.matches(old).count(),
        };
        self.produce((text.len() + places.saturating_mul(new.len())).saturating_sub(places * old.len()))?;
        Ok(text.replacen(old, new, places))
    }

    fn strict_text_filter(&mut self, filter: Filter, value: &Val, args: Args) -> R<Val> {
        if let Val::Undef(undefined) = value
            && filter != Filter::Truncate
        {
            return template_error(undefined.message());
        }
        match filter {
            Filter::Truncate => self.truncate(value, args),
            Filter::Wordwrap => {
                let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
                let [width, long, separator, hyphens] = args.bind("wordwrap", names, 0)?;
                let width = self.integer(width, 79)?;
                let long = self.flag(long, true)?;
                let hyphens = self.flag(hyphens, true)?;
                let separator = match separator {
                    Some(value) if !value.is_null() => match value.text() {
                        Some(text) => text.to_owned(),
                        None => {
                            return failure(
                                "AttributeError",
                                format!("'{}' object has no attribute 'join'", self.type_name(&value)),
                            );
                        }
                    },
                    _ => "\n".to_owned(),
                };
                let Some(text) = value.text() else { return self.no_lines(value) };
                let lines = ops::split_lines(text, false);
                if !lines.is_empty() && width <= 0 {
                    return crate::template::eval::val::value_error(format!(
                        "invalid width {width} (must be > 0)"
                    ));
                }
                let width = usize::try_from(width).unwrap_or(1);
                let wrapped: Vec<String> = lines
                    .iter()
                    .map(|line| super::wrap::wrap(line, width, long, hyphens).join(&separator))
                    .collect();
                let text = wrapped.join(&separator);
                self.produce(text.len())?;
                Ok(Val::str(text))
            }
            _ => {
                let [width, first, blank] = args.bind("indent", ["width", "first", "blank"], 0)?;
                let indentation = match &width {
                    Some(width) if width.text().is_some() => width.text().unwrap_or_default().to_owned(),
                    _ => {
                        let width = self.integer(width, 4)?;
                        " ".repeat(self.width(width)?)
                    }
                };
                let first = self.flag(first, false)?;
                let blank = self.flag(blank, false)?;
                if matches!(value, Val::List(_) | Val::V(Value::List(_))) {
                    return self.no_lines(value);
                }
                let Some(text) = value.text() else {
                    return type_error(format!(
                        "unsupported operand type(s) for +=: '{}' and 'str'",
                        self.type_name(value)
                    ));
                };
                let text = format!("{text}\n");
                let lines = ops::split_lines(&text, false);
                self.produce(lines.len().saturating_mul(indentation.len() + 1))?;
                let mut out = String::with_capacity(text.len());
                for (index, line) in lines.iter().enumerate() {
                    if index > 0 {
                        out.push('\n');
                    }
                    let indent = if index == 0 { first } else { blank || !line.is_empty() };
                    if indent {
                        out.push_str(&indentation);
                    }
                    out.push_str(line);
                }
                Ok(if matches!(value, Val::Safe(_)) { Val::Safe(out.into()) } else { Val::str(out) })
            }
        }
    }

    fn no_lines<T>(&self, value: &Val) -> R<T> {
        match value {
            Val::Dict(dict) if dict.dot => type_error("'NoneType' object is not callable"),
            _ => failure(
                "AttributeError",
                format!("'{}' object has no attribute 'splitlines'", self.type_name(value)),
            ),
        }
    }

    fn truncate(&mut self, value: &Val, args: Args) -> R<Val> {
        let names = ["length", "killwords", "end", "leeway"];
        let [length, killwords, end, leeway] = args.bind("truncate", names, 0)?;
        let length = self.integer(length, 255)?;
        let killwords = self.flag(killwords, false)?;
        let end = match end {
            Some(value) => match value.text() {
                Some(text) => text.to_owned(),
                None => {
                    return type_error(format!("object of type '{}' has no len()", self.type_name(&value)));
                }
            },
            None => "...".to_owned(),
        };
        let leeway = match leeway {
            Some(value) if !value.is_null() => self.integer(Some(value), 5)?,
            _ => 5,
        };
        let end_length = i64::try_from(end.chars().count()).unwrap_or(i64::MAX);
        if length < end_length {
            return failure("AssertionError", format!("expected length >= {end_length}, got {length}"));
        }
        if leeway < 0 {
            return failure("AssertionError", format!("expected leeway >= 0, got {leeway}"));
        }
        let size = i64::try_from(self.length(value)?).unwrap_or(i64::MAX);
        if size <= length.saturating_add(leeway) {
            return Ok(value.clone());
        }
        let Some(text) = value.text() else {
            return match value {
                Val::V(Value::List(_)) | Val::List(_) | Val::V(Value::Tuple(_)) | Val::Tuple(_)
                    if !killwords =>
                {
                    failure(
                        "AttributeError",
                        format!("'{}' object has no attribute 'rsplit'", self.type_name(value)),
                    )
                }
                _ => type_error(format!("'{}' cannot be truncated", self.type_name(value))),
            };
        };
        let keep = usize::try_from(length - end_length).unwrap_or(0);
        let cut: String = text.chars().take(keep).collect();
        let cut = match cut.rsplit_once(' ') {
            Some((before, _)) if !killwords => before,
            _ => cut.as_str(),
        };
        Ok(Val::str([cut, &end].concat()))
    }
}

/// First letters of words up, the rest down; words begin after blanks and `- ( { [ <`.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut first = true;
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let mut chars = word.chars();
        if let Some(letter) = chars.next() {
            out.extend(letter.to_uppercase());
            out.push_str(&chars.as_str().to_lowercase());
        }
        word.clear();
    };
    for character in text.chars() {
        let boundary = character.is_whitespace() || "-({[<".contains(character);
        if boundary != first && !word.is_empty() {
            flush(&mut word, &mut out);
        }
        first = boundary;
        word.push(character);
    }
    flush(&mut word, &mut out);
    out
}
