//! `markdown.parse`: the sections of a document.

use std::hash::{BuildHasher, Hasher, RandomState};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{ActionCall, Registry, refused};
use crate::run::Stop;
use crate::value::{Map, Value};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("markdown.parse", parse);
    registry.alias("markdown.parse", "markdown_parse");
}

/// `actions/MD-1` to `actions/MD-7`.
fn parse(call: &ActionCall) -> Result<Value, Stop> {
    let source = match call.required("content")? {
        Value::Null => return Ok(refused("Content is required", "parse")),
        Value::Str(source) => source,
        other => {
            let error = format!("Markdown parse error: the content is {}, not a text", other.type_name());
            return Ok(refused(error, "parse"));
        }
    };
    let (frontmatter, body) = match front_matter(source) {
        None => (Value::Null, &**source),
        Some((yaml, body)) => match crate::yaml::load(yaml.as_bytes(), &Default::default()) {
            Ok(map @ Value::Map(_)) => (map, body),
            Ok(_) => (Value::Null, body),
            Err(error) => return Ok(refused(format!("Markdown parse error: {error}"), "parse")),
        },
    };
    let sections = sections(body);
    let title =
        sections.iter().find(|section| section.level == Some(1)).map(|section| section.content.as_str());
    let mut result = Map::new();
    result.insert("success".into(), true.into());
    let wanted = |name: &str| match call.get("extract") {
        None | Some(Value::Null) => true,
        Some(names) => names.as_list().unwrap_or_default().iter().any(|known| known.as_str() == Some(name)),
    };
    let mut add = |name: &str, value: &dyn Fn() -> Value| {
        if wanted(name) {
            result.insert(name.into(), value());
        }
    };
    add("title", &|| title.map_or(Value::Null, Value::from));
    add("sections", &|| {
        Value::list(sections.iter().enumerate().map(|(at, section)| section.to_value(at)).collect())
    });
    add("variables", &|| {
        let mut names = variables(body);
        names.sort();
        names.dedup();
        Value::list(names.into_iter().map(Value::from).collect())
    });
    add("frontmatter", &|| frontmatter.clone());
    add("tasks", &|| {
        Value::list(source.lines().enumerate().filter_map(|(at, line)| task(at + 1, line)).collect())
    });
    Ok(Value::map(result))
}

/// The YAML between two lines of `---` at the beginning, and what follows.
fn front_matter(source: &str) -> Option<(&str, &str)> {
    let is_mark = |line: &str| line.trim_end() == "---";
    let mut lines = source.split_inclusive('\n');
    let first = lines.next().filter(|line| is_mark(line))?;
    let mut end = first.len();
    for line in lines {
        if is_mark(line) {
            return Some((source.get(first.len()..end)?, source.get(end + line.len()..)?));
        }
        end += line.len();
    }
    None
}

struct Section {
    kind: &'static str,
    content: String,
    level: Option<i64>,
    language: Option<String>,
}

impl Section {
    fn new(kind: &'static str) -> Self {
        Section { kind, content: String::new(), level: None, language: None }
    }

    fn to_value(&self, order: usize) -> Value {
        let variables = variables(&self.content).into_iter().map(Value::from).collect::<Vec<_>>();
        crate::map! {
            "id" => uuid(),
            "section_type" => self.kind,
            "content" => self.content.as_str(),
            "order_idx" => Value::int(order),
            "variables" => variables,
            "level" => self.level.map_or(Value::Null, Value::Int),
            "language" => self.language.as_deref().map_or(Value::Null, Value::from),
        }
    }
}

/// The outermost blocks, in order. A list or a quotation is one section with all it holds.
fn sections(body: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    let mut open: Option<Section> = None;
    // How many lists and quotations are open.
    let mut depth = 0_usize;
    for event in Parser::new_ext(body, Options::empty()) {
        match event {
            Event::Start(tag @ (Tag::List(_) | Tag::BlockQuote(_))) => {
                if depth == 0 {
                    open =
                        Some(Section::new(if matches!(tag, Tag::List(_)) { "list" } else { "blockquote" }));
                }
                depth += 1;
            }
            Event::End(TagEnd::List(_) | TagEnd::BlockQuote(_)) => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    found.extend(open.take());
                }
            }
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                open = Some(Section { level: Some(level_number(level)), ..Section::new("heading") });
            }
            Event::Start(Tag::Paragraph) if depth == 0 => open = Some(Section::new("paragraph")),
            Event::Start(Tag::CodeBlock(kind)) if depth == 0 => {
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next().map(str::to_owned),
                    CodeBlockKind::Indented => None,
                };
                open = Some(Section { language, ..Section::new("code") });
            }
            Event::End(TagEnd::CodeBlock) if depth == 0 => {
                if let Some(section) = &mut open {
                    section.content.truncate(section.content.trim_end_matches('\n').len());
                }
                found.extend(open.take());
            }
            Event::End(TagEnd::Heading(_) | TagEnd::Paragraph) if depth == 0 => found.extend(open.take()),
            Event::Rule if depth == 0 => {
                found.push(Section { content: "---".to_owned(), ..Section::new("hr") })
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(section) = &mut open {
                    section.content.push_str(&part);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(section) = &mut open {
                    section.content.push('\n');
                }
            }
            _ => {}
        }
    }
    found.retain(|section| !section.content.trim().is_empty());
    found
}

fn level_number(level: HeadingLevel) -> i64 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// The names in double braces, in order (`actions/MD-6`).
fn variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let after = rest.get(at + 2..).unwrap_or_default();
        let length = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
        let (name, tail) = after.split_at(length);
        if !name.is_empty() && tail.starts_with("}}") {
            names.push(name.to_owned());
            rest = tail;
        } else {
            rest = rest.get(at + 1..).unwrap_or_default();
        }
    }
    names
}

/// A line of a checklist (`actions/MD-7`).
fn task(number: usize, line: &str) -> Option<Value> {
    let rest = line.trim_start();
    let indent = line.get(..line.len() - rest.len())?.chars().count() / 2;
    let rest = rest.strip_prefix("- [")?;
    let mark = rest.chars().next().filter(|mark| matches!(mark, ' ' | 'x' | 'X'))?;
    let words = rest.get(1..)?.strip_prefix("] ").filter(|words| !words.is_empty())?;
    let listed =
        words.split_once("(AC:").and_then(|(_, after)| after.split_once(')')).map(|(listed, _)| listed);
    let references = listed.unwrap_or_default().split(',').filter_map(crate::schema::number::integer);
    Some(crate::map! {
        "text" => words,
        "checked" => mark != ' ',
        "indent" => Value::int(indent),
        "ac_refs" => references.collect::<Vec<Value>>(),
        "line_number" => Value::int(number),
    })
}

/// A random UUID. It tells sections apart; nobody may rely on its being hard to guess.
fn uuid() -> String {
    let random = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u8(0);
        hasher.finish()
    };
    let (high, low) = (random(), random());
    let version = (high & !0xf000) | 0x4000;
    let variant = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        version >> 32,
        version >> 16 & 0xffff,
        version & 0xffff,
        variant >> 48,
        variant & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::super::json::loads;
    use super::super::testing::run;
    use super::*;
    use crate::value::text;

    const DOCUMENT: &str = "---\nname: N\n---\n# Title {{b}}\n\nOne *two* `three`\nfour {{a}} {{b}} {{ no }}\n\n\
        - x\n- y\n  - z\n\n> quoted\n> more\n\n```python x\nprint(1)\n```\n\n***\n\n## Sub\n\n\
        - [ ] do it (AC: 1, x, 2)\n  - [X] done\n";

    fn parsed(content: &str) -> Map {
        run("markdown.parse", crate::map! { "content" => content }).as_map().unwrap().clone()
    }

    /// actions/MD-3, actions/MD-4, actions/MD-5
    #[test]
    fn sections_in_order() {
        let result = parsed(DOCUMENT);
        let sections: Vec<String> = result["sections"]
            .as_list()
            .unwrap()
            .iter()
            .map(|section| {
                let section = section.as_map().unwrap();
                let part = |name: &str| text(&section[name]);
                format!(
                    "{} {} {} {:?}",
                    part("section_type"),
                    part("level"),
                    part("language"),
                    part("content")
                )
            })
            .collect();
        assert_eq!(
            sections,
            [
                "heading 1 None \"Title {{b}}\"",
                "paragraph None None \"One two three\\nfour {{a}} {{b}} {{ no }}\"",
                "list None None \"xyz\"",
                "blockquote None None \"quoted\\nmore\"",
                "code None python \"print(1)\"",
                "hr None None \"---\"",
                "heading 2 None \"Sub\"",
                "list None None \"[ ] do it (AC: 1, x, 2)[X] done\"",
            ]
        );
        let first = result["sections"].as_list().unwrap()[1].as_map().unwrap();
        assert_eq!(first["variables"], Value::list(vec!["a".into(), "b".into()]));
        assert_eq!(first["order_idx"], Value::Int(1));
        assert_eq!(text(&first["id"]).len(), 36);
        assert_eq!(result["title"], "Title {{b}}".into());
    }

    /// actions/MD-6, actions/MD-7
    #[test]
    fn variables_tasks_front_matter() {
        let result = parsed(DOCUMENT);
        assert_eq!(result["variables"], Value::list(vec!["a".into(), "b".into()]));
        assert_eq!(result["frontmatter"], crate::map! { "name" => "N" });
        let tasks = r#"[{"text": "do it (AC: 1, x, 2)", "checked": false, "indent": 0, "ac_refs": [1, 2], "line_number": 24},
            {"text": "done", "checked": true, "indent": 1, "ac_refs": [], "line_number": 25}]"#;
        assert_eq!(result["tasks"], loads(tasks).unwrap());
    }

    /// actions/MD-1, actions/MD-3
    #[test]
    fn little_and_nothing() {
        let empty = parsed("");
        assert_eq!((&empty["title"], &empty["sections"]), (&Value::Null, &Value::list(vec![])));
        let some = run("markdown.parse", loads(r##"{"content": "# T", "extract": ["title"]}"##).unwrap());
        assert_eq!(some, loads(r#"{"success": true, "title": "T"}"#).unwrap());
        let none = run("markdown_parse", crate::map! { "content" => Value::Null });
        assert_eq!(none, refused("Content is required", "parse"));
        let broken = run("markdown.parse", crate::map! { "content" => "---\na: [\n---\n" });
        assert!(text(&broken.as_map().unwrap()["error"]).starts_with("Markdown parse error: "));
    }
}
