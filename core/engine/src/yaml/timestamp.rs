//! Timestamps: dates, and times with or without an offset.

use crate::value::{Date, DateTime, Value};

/// The parts of a timestamp, as written.
struct Parts {
    year: u16,
    month: u8,
    day: u8,
    /// Neither month nor day is a single digit.
    padded: bool,
    time: Option<Time>,
}

struct Time {
    hour: u8,
    minute: u8,
    second: u8,
    microsecond: u32,
    /// Hours and minutes east of UTC, and whether west.
    zone: Option<(i32, i32, bool)>,
}

/// Whether a plain scalar is a timestamp: a full date, or a date with a time.
pub(super) fn is_implicit(text: &str) -> bool {
    // The longest common part of all forms, to be quick about everything else.
    text.as_bytes().get(4) == Some(&b'-')
        && split(text).is_some_and(|parts| parts.padded || parts.time.is_some())
}

/// The date or time; the error says what is wrong with it.
pub(super) fn construct(text: &str) -> Result<Value, String> {
    // A line break at the end is let through, as `$` does in Python's patterns.
    let body = text.strip_suffix('\n').unwrap_or(text);
    let Some(parts) = split(body) else {
        return Err(format!(
            "expected a timestamp such as 2024-01-31 or 2024-01-31T10:20:30Z, found {text:?}"
        ));
    };
    let Some(date) = Date::new(parts.year, parts.month, parts.day) else {
        return Err(format!("the date {body} does not exist: quote it if it is meant as a text"));
    };
    let Some(time) = parts.time else {
        return Ok(Value::Date(date));
    };
    if time.hour > 23 || time.minute > 59 || time.second > 59 {
        return Err(format!("the time {body} does not exist: quote it if it is meant as a text"));
    }
    let offset = match time.zone {
        None => None,
        Some((hours, minutes, west)) => {
            let seconds = hours * 3600 + minutes * 60;
            if seconds >= 86_400 {
                return Err(format!("the offset from UTC in {body} must be less than 24 hours"));
            }
            Some(if west { -seconds } else { seconds })
        }
    };
    let Time { hour, minute, second, microsecond, .. } = time;
    Ok(Value::DateTime(DateTime { date, hour, minute, second, microsecond, offset }))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn peek(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    fn accept(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// A number of `least` to `most` digits, and how many there were.
    fn number(&mut self, least: usize, most: usize) -> Option<(u16, usize)> {
        let mut value = 0;
        let mut count = 0;
        while count < most && self.peek().is_ascii_digit() {
            value = value * 10 + u16::from(self.accept(b"0123456789")? - b'0');
            count += 1;
        }
        (count >= least).then_some((value, count))
    }

    fn two(&mut self, least: usize) -> Option<u8> {
        u8::try_from(self.number(least, 2)?.0).ok()
    }
}

fn split(text: &str) -> Option<Parts> {
    let mut rest = Cursor(text.as_bytes());
    let (year, _) = rest.number(4, 4)?;
    rest.accept(b"-")?;
    let (month, month_digits) = rest.number(1, 2)?;
    rest.accept(b"-")?;
    let (day, day_digits) = rest.number(1, 2)?;
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let padded = month_digits == 2 && day_digits == 2;
    let time = if rest.0.is_empty() { None } else { Some(split_time(&mut rest)?) };
    rest.0.is_empty().then_some(Parts { year, month, day, padded, time })
}

fn split_time(rest: &mut Cursor<'_>) -> Option<Time> {
    if rest.accept(b"Tt").is_none() {
        rest.accept(b" \t")?;
        while rest.accept(b" \t").is_some() {}
    }
    let hour = rest.two(1)?;
    rest.accept(b":")?;
    let minute = rest.two(2)?;
    rest.accept(b":")?;
    let second = rest.two(2)?;
    let mut microsecond = 0;
    if rest.accept(b".").is_some() {
        // Digits beyond microseconds are dropped.
        let mut unit = 100_000;
        while let Some(digit) = rest.accept(b"0123456789") {
            microsecond += u32::from(digit - b'0') * unit;
            unit /= 10;
        }
    }
    if rest.0.is_empty() {
        return Some(Time { hour, minute, second, microsecond, zone: None });
    }
    while rest.accept(b" \t").is_some() {}
    let zone = match rest.accept(b"Z+-")? {
        b'Z' => (0, 0, false),
        sign => {
            let hours = rest.two(1)?;
            let minutes = if rest.accept(b":").is_some() { rest.two(2)? } else { 0 };
            (i32::from(hours), i32::from(minutes), sign == b'-')
        }
    };
    Some(Time { hour, minute, second, microsecond, zone: Some(zone) })
}
