//! Dates and times, only as much as carrying them through needs: no calendar arithmetic.

use std::fmt;

/// A calendar date. Prints as ISO 8601 (`2024-01-31`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// A time on a date. Prints as Python's `isoformat` (`2024-01-31T12:30:00.000001+02:00`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999,999.
    pub microsecond: u32,
    /// Seconds east of UTC; `None` for a local ("naive") time.
    pub offset: Option<i32>,
}

impl Date {
    /// The date, if it exists in the calendar.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        ((1..=9999).contains(&year) && (1..=days).contains(&day)).then_some(Date { year, month, day })
    }

    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return None;
        }
        Date::new(digits(year)?, digits(month)?, digits(day)?)
    }
}

impl DateTime {
    /// Reads the ISO form that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T').or_else(|| text.split_once(' '))?;
        let date = Date::parse(date)?;
        let (clock, offset) = match time.find(['+', '-', 'Z']) {
            Some(at) => (time.get(..at)?, Some(parse_offset(time.get(at..)?)?)),
            None => (time, None),
        };
        let (clock, microsecond) = match clock.split_once('.') {
            Some((clock, fraction)) if (1..=6).contains(&fraction.len()) => {
                (clock, digits::<u32>(fraction)? * 10_u32.pow(6 - u32::try_from(fraction.len()).ok()?))
            }
            Some(_) => return None,
            None => (clock, 0),
        };
        let mut parts = clock.split(':');
        let mut next = |limit: u8| digits::<u8>(parts.next()?).filter(|number| *number < limit);
        let (hour, minute, second) = (next(24)?, next(60)?, next(60)?);
        if parts.next().is_some() {
            return None;
        }
        Some(DateTime { date, hour, minute, second, microsecond, offset })
    }
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn parse_offset(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in text.get(1..)?.split(':') {
        seconds += digits::<i32>(part).filter(|number| *number < 60)? * unit;
        unit /= 60;
    }
    (seconds < 86_400).then_some(sign * seconds)
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl DateTime {
    /// The text with a separator between date and time: `T` for `isoformat`, a blank for `str`.
    pub fn format(&self, separator: char) -> String {
        let mut text =
            format!("{}{separator}{:02}:{:02}:{:02}", self.date, self.hour, self.minute, self.second);
        if self.microsecond != 0 {
            text.push_str(&format!(".{:06}", self.microsecond));
        }
        if let Some(offset) = self.offset {
            let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
            text.push_str(&format!("{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60));
            if offset % 60 != 0 {
                text.push_str(&format!(":{:02}", offset % 60));
            }
        }
        text
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format('T'))
    }
}
