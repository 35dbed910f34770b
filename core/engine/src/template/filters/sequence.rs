//! Filters about sequences and maps.

use std::cmp::Ordering;
use std::rc::Rc;

use indexmap::IndexSet;

use super::Filter;
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, R, TupleCell, Val, failure, template_error, type_error, value_error};
use crate::template::parse::ast::Binary;
use crate::template::tests::Test;
use crate::value::Value;

/// One way into an element: `a.b.0`.
type AttributePath = Vec<Val>;

impl Renderer<'_> {
    pub(super) fn sequence_filter(&mut self, filter: Filter, value: &Val, args: Args) -> R<Val> {
        match filter {
            Filter::First => {
                let [] = args.bind("first", [], 0)?;
                let first = self.iterate(value)?.into_iter().next();
                Ok(first.unwrap_or_else(|| Val::hint("No first item, sequence was empty.")))
            }
            Filter::Last => {
                let [] = args.bind("last", [], 0)?;
                if matches!(value, Val::Obj(object) if matches!(**object, crate::template::eval::val::Obj::Lazy(_)))
                {
                    return type_error("'generator' object is not reversible");
                }
                let last = self.iterate(value)?.pop();
                Ok(last.unwrap_or_else(|| Val::hint("No last item, sequence was empty.")))
            }
            Filter::Random => {
                let [] = args.bind("random", [], 0)?;
                let length = self.length(value)?;
                if length == 0 {
                    return Ok(Val::hint("No random item, sequence was empty."));
                }
                let index = i64::try_from(random(length)).unwrap_or(0);
                self.item(value, &Val::int(index))
            }
            Filter::List => {
                let [] = args.bind("list", [], 0)?;
                let items = self.iterate(value)?;
                self.produce(items.len() * size_of::<Val>())?;
                Ok(Val::list(items))
            }
            Filter::Items => {
                let [] = args.bind("items", [], 0)?;
                if matches!(value, Val::Undef(_)) {
                    return Ok(Val::lazy(Vec::new()));
                }
                match self.entries(value)? {
                    Some(entries) => Ok(Val::lazy(
                        entries.into_iter().map(|(key, value)| Val::tuple(vec![key, value])).collect(),
                    )),
                    None => type_error("Can only get item pairs from a mapping."),
                }
            }
            Filter::Reverse => {
                let [] = args.bind("reverse", [], 0)?;
                if let Some(text) = value.text() {
                    let reversed: String = text.chars().rev().collect();
                    return Ok(if matches!(value, Val::Safe(_)) {
                        Val::Safe(reversed.into())
                    } else {
                        Val::str(reversed)
                    });
                }
                if let Val::V(
                    Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_),
                ) = value
                {
                    return template_error("argument must be iterable");
                }
                let mut items = self.iterate(value)?;
                items.reverse();
                Ok(Val::lazy(items))
            }
            Filter::Join => self.join(value, args),
            Filter::Sum => self.sum(value, args),
            Filter::Batch => {
                let [size, fill] = args.bind("batch", ["linecount", "fill_with"], 1)?;
                self.batch(value, size, fill)
            }
            Filter::Slice => {
                let [count, fill] = args.bind("slice", ["slices", "fill_with"], 1)?;
                self.slices(value, count, fill)
            }
            Filter::Map => self.map_filter(value, args),
            Filter::Select | Filter::Reject | Filter::Selectattr | Filter::Rejectattr => {
                self.select(filter, value, args)
            }
            Filter::Sort => self.sort(value, args),
            Filter::Unique => self.unique(value, args),
            Filter::Min | Filter::Max => self.extreme(filter, value, args),
            Filter::Groupby => self.group(value, args),
            _ => self.dictsort(value, args),
        }
    }

    fn join(&mut self, value: &Val, args: Args) -> R<Val> {
        let [separator, attribute] = args.bind("join", ["d", "attribute"], 0)?;
        let separator = match separator {
            Some(value) => self.str(&value)?,
            None => String::new(),
        };
        let path = self.attribute_path(attribute)?;
        let items = self.iterate(value)?;
        let mut out = String::new();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(&separator);
            }
            match &path {
                Some(path) => {
                    let item = self.follow(item, path, None)?;
                    self.write_str(&mut out, &item)?;
                }
                None => self.write_str(&mut out, item)?,
            }
        }
        self.produce(out.len())?;
        Ok(Val::str(out))
    }

    fn sum(&mut self, value: &Val, args: Args) -> R<Val> {
        let [attribute, start] = args.bind("sum", ["attribute", "start"], 0)?;
        let path = self.attribute_path(attribute)?;
        let mut total = start.unwrap_or_else(|| Val::int(0));
        if total.text().is_some() {
            return type_error("sum() can't sum strings [use ''.join(seq) instead]");
        }
        for item in self.iterate(value)? {
            let item = match &path {
                Some(path) => self.follow(&item, path, None)?,
                None => item,
            };
            total = self.binary(Binary::Add, &total, &item)?;
        }
        Ok(total)
    }

    fn batch(&mut self, value: &Val, size: Option<Val>, fill: Option<Val>) -> R<Val> {
        let size = size.unwrap_or(Val::NULL);
        let size = match size.as_int() {
            Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
            // Any other kind is never equal to a length.
            None => usize::MAX,
        };
        let mut batches = Vec::new();
        let mut current: Vec<Val> = Vec::new();
        let items = self.iterate(value)?;
        let any = !items.is_empty();
        for item in items {
            if current.len() == size {
                batches.push(Val::list(std::mem::take(&mut current)));
            }
            current.push(item);
        }
        if any {
            if let Some(fill) = fill.filter(|fill| !fill.is_null())
                && current.len() < size
            {
                if size == usize::MAX {
                    return type_error("batch takes a whole number");
                }
                self.produce(size.saturating_mul(size_of::<Val>()))?;
                current.resize(size, fill);
            }
            batches.push(Val::list(current));
        }
        Ok(Val::lazy(batches))
    }

    fn slices(&mut self, value: &Val, count: Option<Val>, fill: Option<Val>) -> R<Val> {
        let items = self.iterate(value)?;
        let count = self.integer(count, 0)?;
        if count == 0 {
            return failure("ZeroDivisionError", "integer division or modulo by zero");
        }
        let count = usize::try_from(count).unwrap_or(0);
        self.step(count)?;
        self.produce(count.saturating_mul(size_of::<Val>()))?;
        let each = items.len().checked_div(count).unwrap_or(0);
        let extra = items.len().checked_rem(count).unwrap_or(0);
        let fill = fill.filter(|fill| !fill.is_null());
        let mut rest = items.into_iter();
        let mut slices = Vec::with_capacity(count);
        for index in 0..count {
            let mut slice: Vec<Val> = rest.by_ref().take(each + usize::from(index < extra)).collect();
            if index >= extra
                && let Some(fill) = &fill
            {
                slice.push(fill.clone());
            }
            slices.push(Val::list(slice));
        }
        Ok(Val::lazy(slices))
    }

    /// The way into an element that `attribute` names: parts between dots, numbers as numbers.
    fn attribute_path(&mut self, attribute: Option<Val>) -> R<Option<AttributePath>> {
        let Some(attribute) = attribute.filter(|attribute| !attribute.is_null()) else { return Ok(None) };
        Ok(Some(match attribute.text() {
            Some(text) => text.split('.').map(path_part).collect(),
            None => vec![attribute],
        }))
    }

    fn follow(&mut self, item: &Val, path: &AttributePath, default: Option<&Val>) -> R<Val> {
        let mut value = item.clone();
        for part in path {
            value = self.item(&value, part)?;
            if let (Val::Undef(_), Some(default)) = (&value, default) {
                value = default.clone();
            }
        }
        Ok(value)
    }

    fn map_filter(&mut self, value: &Val, mut args: Args) -> R<Val> {
        if !self.lazy_truth(value)? {
            return Ok(Val::lazy(Vec::new()));
        }
        let attribute = args.kw.iter().position(|(name, _)| **name == *"attribute");
        if args.pos.is_empty()
            && let Some(index) = attribute
        {
            let (_, attribute) = args.kw.remove(index);
            let default = args.kw.iter().position(|(name, _)| **name == *"default");
            let default = default.map(|index| args.kw.remove(index).1).filter(|default| !default.is_null());
            if let Some((name, _)) = args.kw.first() {
                return template_error(format!("Unexpected keyword argument '{name}'"));
            }
            let path = self.attribute_path(Some(attribute))?.unwrap_or_default();
            let mut out = Vec::new();
            for item in self.iterate(value)? {
                out.push(self.follow(&item, &path, default.as_ref())?);
            }
            return Ok(Val::lazy(out));
        }
        if args.pos.is_empty() {
            return template_error("map requires a filter argument");
        }
        let name = args.pos.remove(0);
        let mut out = Vec::new();
        for item in self.iterate(value)? {
            let filter = name.text().and_then(Filter::named);
            let Some(filter) = filter else {
                let name = self.str(&name)?;
                return template_error(format!("No filter named '{name}'."));
            };
            out.push(self.filter(filter, item, args.clone())?);
        }
        Ok(Val::lazy(out))
    }

    /// `if value:` as lazy filters ask it, when they are first gone through.
    fn lazy_truth(&mut self, value: &Val) -> R<bool> {
        self.truth(value)
    }

    fn select(&mut self, filter: Filter, value: &Val, mut args: Args) -> R<Val> {
        let by_attribute = matches!(filter, Filter::Selectattr | Filter::Rejectattr);
        let wanted = matches!(filter, Filter::Select | Filter::Selectattr);
        if !self.lazy_truth(value)? {
            return Ok(Val::lazy(Vec::new()));
        }
        let path = if by_attribute {
            if args.pos.is_empty() {
                return template_error("Missing parameter for attribute name");
            }
            let attribute = args.pos.remove(0);
            self.attribute_path(Some(attribute))?
        } else {
            None
        };
        let test = (!args.pos.is_empty()).then(|| args.pos.remove(0));
        let mut out = Vec::new();
        for item in self.iterate(value)? {
            let subject = match &path {
                Some(path) => self.follow(&item, path, None)?,
                None => item.clone(),
            };
            let holds = match &test {
                None => self.truth(&subject)?,
                Some(name) => {
                    let Some(test) = name.text().and_then(Test::named) else {
                        let name = self.str(name)?;
                        return template_error(format!("No test named '{name}'."));
                    };
                    self.test(test, &subject, args.clone())?
                }
            };
            if holds == wanted {
                out.push(item);
            }
        }
        Ok(Val::lazy(out))
    }

    /// Texts lower-cased, unless case matters.
    fn folded(&self, value: Val, case_sensitive: bool) -> Val {
        match value.text() {
            Some(text) if !case_sensitive => Val::str(text.to_lowercase()),
            _ => value,
        }
    }

    /// The indices of the values in ascending order; stable, also in reverse.
    pub(in crate::template) fn sorted_indices(&mut self, keys: &[Val], reverse: bool) -> R<Vec<usize>> {
        let mut failed = None;
        let mut order: Vec<usize> = (0..keys.len()).collect();
        if let [only] = keys
            && let Val::Undef(_) = only
        {
            return Ok(order);
        }
        order.sort_by(|a, b| {
            if failed.is_some() {
                return Ordering::Equal;
            }
            let (Some(a), Some(b)) = (keys.get(*a), keys.get(*b)) else { return Ordering::Equal };
            let (a, b) = if reverse { (b, a) } else { (a, b) };
            match self.order(a, b, "<") {
                Ok(order) => order.unwrap_or(Ordering::Equal),
                Err(error) => {
                    failed = Some(error);
                    Ordering::Equal
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(order),
        }
    }

    fn sort(&mut self, value: &Val, args: Args) -> R<Val> {
        let names = ["reverse", "case_sensitive", "attribute"];
        let [reverse, case_sensitive, attribute] = args.bind("sort", names, 0)?;
        let reverse = self.flag(reverse, false)?;
        let case_sensitive = self.flag(case_sensitive, false)?;
        let paths: Vec<AttributePath> = match &attribute {
            Some(attribute) => match attribute.text() {
                Some(text) => text.split(',').map(|part| part.split('.').map(path_part).collect()).collect(),
                None => vec![self.attribute_path(Some(attribute.clone()))?.unwrap_or_default()],
            },
            None => vec![Vec::new()],
        };
        let items = self.iterate(value)?;
        let mut keys = Vec::with_capacity(items.len());
        for item in &items {
            let mut key = Vec::with_capacity(paths.len());
            for path in &paths {
                let part = self.follow(item, path, None)?;
                key.push(self.folded(part, case_sensitive));
            }
            keys.push(match key.pop() {
                Some(only) if key.is_empty() => only,
                Some(last) => {
                    key.push(last);
                    Val::list(key)
                }
                None => Val::NULL,
            });
        }
        let order = self.sorted_indices(&keys, reverse)?;
        Ok(Val::list(order.iter().filter_map(|index| items.get(*index).cloned()).collect()))
    }

    fn unique(&mut self, value: &Val, args: Args) -> R<Val> {
        let [case_sensitive, attribute] = args.bind("unique", ["case_sensitive", "attribute"], 0)?;
        let case_sensitive = self.flag(case_sensitive, false)?;
        let path = self.attribute_path(attribute)?.unwrap_or_default();
        let mut seen = IndexSet::new();
        let mut out = Vec::new();
        for item in self.iterate(value)? {
            let key = self.follow(&item, &path, None)?;
            let key = self.folded(key, case_sensitive);
            if seen.insert(self.key(&key)?) {
                out.push(item);
            }
        }
        Ok(Val::lazy(out))
    }

    fn extreme(&mut self, filter: Filter, value: &Val, args: Args) -> R<Val> {
        let [case_sensitive, attribute] = args.bind("min", ["case_sensitive", "attribute"], 0)?;
        let case_sensitive = self.flag(case_sensitive, false)?;
        let path = self.attribute_path(attribute)?.unwrap_or_default();
        let mut best: Option<(Val, Val)> = None;
        for item in self.iterate(value)? {
            let key = self.follow(&item, &path, None)?;
            let key = self.folded(key, case_sensitive);
            let better = match &best {
                None => true,
                Some((_, other)) if filter == Filter::Min => {
                    self.order(&key, other, "<")? == Some(Ordering::Less)
                }
                Some((_, other)) => self.order(&key, other, ">")? == Some(Ordering::Greater),
            };
            if better {
                best = Some((item, key));
            }
        }
        Ok(best.map_or_else(|| Val::hint("No aggregated item, sequence was empty."), |(item, _)| item))
    }

    fn group(&mut self, value: &Val, args: Args) -> R<Val> {
        let names = ["attribute", "default", "case_sensitive"];
        let [attribute, default, case_sensitive] = args.bind("groupby", names, 1)?;
        let case_sensitive = self.flag(case_sensitive, false)?;
        let default = default.filter(|default| !default.is_null());
        let path = self.attribute_path(attribute)?.unwrap_or_default();
        let items = self.iterate(value)?;
        let mut keys = Vec::with_capacity(items.len());
        for item in &items {
            let key = self.follow(item, &path, default.as_ref())?;
            keys.push(self.folded(key, case_sensitive));
        }
        let mut groups: Vec<(Val, Vec<Val>)> = Vec::new();
        for index in self.sorted_indices(&keys, false)? {
            let (Some(item), Some(key)) = (items.get(index), keys.get(index)) else { continue };
            let same = match groups.last() {
                Some((last, _)) => self.equal(last, key)?,
                None => false,
            };
            match groups.last_mut() {
                Some((_, members)) if same => members.push(item.clone()),
                _ => groups.push((key.clone(), vec![item.clone()])),
            }
        }
        let mut out = Vec::with_capacity(groups.len());
        for (key, members) in groups {
            let key = match members.first() {
                Some(first) if !case_sensitive => self.follow(first, &path, default.as_ref())?,
                _ => key,
            };
            let items = vec![key, Val::list(members)];
            out.push(Val::Tuple(Rc::new(TupleCell { items, group: true })));
        }
        Ok(Val::list(out))
    }

    fn dictsort(&mut self, value: &Val, args: Args) -> R<Val> {
        let [case_sensitive, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
        let case_sensitive = self.flag(case_sensitive, false)?;
        let by_value = match by.as_ref().map(Val::text) {
            None | Some(Some("key")) => false,
            Some(Some("value")) => true,
            _ => return template_error("You can only sort by either \"key\" or \"value\""),
        };
        let reverse = self.flag(reverse, false)?;
        let Some(entries) = self.entries(value)? else {
            return match value {
                Val::Undef(undefined) => template_error(undefined.message()),
                _ => failure(
                    "AttributeError",
                    format!("'{}' object has no attribute 'items'", self.type_name(value)),
                ),
            };
        };
        let keys: Vec<Val> = entries
            .iter()
            .map(|(key, value)| {
                self.folded(if by_value { value.clone() } else { key.clone() }, case_sensitive)
            })
            .collect();
        let order = self.sorted_indices(&keys, reverse)?;
        let sorted = order.iter().filter_map(|index| entries.get(*index).cloned());
        Ok(Val::list(sorted.map(|(key, value)| Val::tuple(vec![key, value])).collect()))
    }

    // ------------------------------------------------------------------ filler text

    /// `lipsum(n=5, html=true, min=20, max=100)`
    pub(in crate::template) fn lipsum(&mut self, args: Args) -> R<Val> {
        const WORDS: [&str; 24] = [
            "lorem",
            "ipsum",
            "dolor",
            "sit",
            "amet",
            "consectetur",
            "adipiscing",
            "elit",
            "sed",
            "do",
            "eiusmod",
            "tempor",
            "incididunt",
            "ut",
            "labore",
            "et",
            "dolore",
            "magna",
            "aliqua",
            "enim",
            "minim",
            "veniam",
            "quis",
            "nostrud",
        ];
        let [count, html, min, max] = args.bind("lipsum", ["n", "html", "min", "max"], 0)?;
        let count = usize::try_from(self.integer(count, 5)?).unwrap_or(0);
        let html = self.flag(html, true)?;
        let least = usize::try_from(self.integer(min, 20)?).unwrap_or(0);
        let most = usize::try_from(self.integer(max, 100)?).unwrap_or(0);
        if least >= most {
            return value_error("empty range for randrange()");
        }
        let mut paragraphs = Vec::new();
        for _ in 0..count {
            let length = least + random(most - least);
            self.step(length + 1)?;
            self.produce(length.saturating_mul(12))?;
            let mut text = String::new();
            for index in 0..length {
                let word = WORDS.get(random(WORDS.len())).copied().unwrap_or("lorem");
                if index == 0 {
                    text.push_str(&crate::template::methods::text::capitalize(word));
                } else {
                    text.push(' ');
                    text.push_str(word);
                }
            }
            text.push('.');
            paragraphs.push(text);
        }
        Ok(if html {
            let paragraphs: Vec<String> = paragraphs.iter().map(|text| format!("<p>{text}</p>")).collect();
            Val::Safe(paragraphs.join("\n").into())
        } else {
            Val::str(paragraphs.join("\n\n"))
        })
    }
}

fn path_part(part: &str) -> Val {
    match part.parse() {
        Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => Val::int(index),
        _ => Val::str(part),
    }
}

/// A number below `limit`, from the seed that the standard library gives each hash map.
fn random(limit: usize) -> usize {
    use std::hash::{BuildHasher, Hasher};
    let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
    usize::try_from(seed % (limit.max(1) as u64)).unwrap_or(0)
}
