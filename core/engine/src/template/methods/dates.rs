//! Dates and times: their parts, and `strftime`.

use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, R, Val, type_error, value_error};
use crate::value::{Date, DateTime, Value};

pub(super) const METHODS: [&str; 7] =
    ["isoformat", "strftime", "weekday", "isoweekday", "date", "toordinal", "timestamp"];

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn midnight(date: Date) -> DateTime {
    DateTime { date, hour: 0, minute: 0, second: 0, microsecond: 0, offset: None }
}

fn as_time(value: &Value) -> Option<DateTime> {
    match value {
        Value::Date(date) => Some(midnight(*date)),
        Value::DateTime(time) => Some(*time),
        _ => None,
    }
}

/// Days since the day before 1 January of year 1.
fn ordinal(date: Date) -> i64 {
    let year = i64::from(date.year) - 1;
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    before + day_of_year(date)
}

fn day_of_year(date: Date) -> i64 {
    let leap =
        date.year.is_multiple_of(4) && (!date.year.is_multiple_of(100) || date.year.is_multiple_of(400));
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths.iter().take(usize::from(date.month.saturating_sub(1))).sum();
    months + i64::from(date.day)
}

/// 0 is Monday.
fn weekday(date: Date) -> i64 {
    (ordinal(date) + 6) % 7
}

pub(super) fn property(value: &Value, name: &str) -> Option<Value> {
    let time = as_time(value)?;
    let is_date = matches!(value, Value::Date(_));
    Some(match name {
        "year" => Value::Int(i64::from(time.date.year)),
        "month" => Value::Int(i64::from(time.date.month)),
        "day" => Value::Int(i64::from(time.date.day)),
        "hour" if !is_date => Value::Int(i64::from(time.hour)),
        "minute" if !is_date => Value::Int(i64::from(time.minute)),
        "second" if !is_date => Value::Int(i64::from(time.second)),
        "microsecond" if !is_date => Value::Int(i64::from(time.microsecond)),
        "tzinfo" if !is_date && time.offset.is_none() => Value::Null,
        _ => return None,
    })
}

pub(super) fn method(renderer: &mut Renderer<'_>, value: &Value, name: &str, args: Args) -> R<Val> {
    let Some(time) = as_time(value) else { return type_error("a date is expected") };
    Ok(match name {
        "isoformat" => {
            let [separator] = args.bind(name, ["sep"], 0)?;
            match value {
                Value::Date(date) => Val::str(date.to_string()),
                _ => match separator.as_ref().and_then(Val::text).and_then(|text| text.chars().next()) {
                    Some(separator) => Val::str(time.format(separator)),
                    None => Val::str(time.to_string()),
                },
            }
        }
        "strftime" => {
            let [format] = args.bind(name, ["format"], 1)?;
            let format = renderer.str(&format.unwrap_or(Val::NULL))?;
            Val::str(strftime(&Val::V(value.clone()), &format)?)
        }
        "timestamp" => {
            let [] = args.exactly(name, 0)?;
            let Some(offset) = time.offset else {
                return value_error("the timestamp of a time without an offset depends on the machine");
            };
            let days = ordinal(time.date) - 719_163;
            let clock = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
            let seconds = days * 86_400 + clock - i64::from(offset);
            Val::V(Value::Float(seconds as f64 + f64::from(time.microsecond) / 1e6))
        }
        _ => {
            let [] = args.exactly(name, 0)?;
            match name {
                "weekday" => Val::int(weekday(time.date)),
                "isoweekday" => Val::int(weekday(time.date) + 1),
                "toordinal" => Val::int(ordinal(time.date)),
                _ => Val::V(Value::Date(time.date)),
            }
        }
    })
}

/// `strftime` in the C locale.
pub(in crate::template) fn strftime(value: &Val, format: &str) -> R<String> {
    let Val::V(inner) = value else { return type_error("a date is expected") };
    let Some(time) = as_time(inner) else { return type_error("a date is expected") };
    let date = time.date;
    let day = usize::try_from(weekday(date)).unwrap_or(0);
    let month = usize::from(date.month.saturating_sub(1));
    let name = |names: &[&'static str], index: usize| names.get(index).copied().unwrap_or_default();
    let short = |text: &'static str| text.get(..3).unwrap_or(text);
    let hour12 = if time.hour % 12 == 0 { 12 } else { time.hour % 12 };
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(character) = chars.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let Some(directive) = chars.next() else {
            out.push('%');
            break;
        };
        let text = match directive {
            'Y' => date.year.to_string(),
            'y' => format!("{:02}", date.year % 100),
            'm' => format!("{:02}", date.month),
            'd' => format!("{:02}", date.day),
            'e' => format!("{:2}", date.day),
            'H' => format!("{:02}", time.hour),
            'I' => format!("{hour12:02}"),
            'M' => format!("{:02}", time.minute),
            'S' => format!("{:02}", time.second),
            'f' => format!("{:06}", time.microsecond),
            'p' => if time.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'A' => name(&DAYS, day).to_owned(),
            'a' => short(name(&DAYS, day)).to_owned(),
            'B' => name(&MONTHS, month).to_owned(),
            'b' | 'h' => short(name(&MONTHS, month)).to_owned(),
            'j' => format!("{:03}", day_of_year(date)),
            'w' => ((day + 1) % 7).to_string(),
            'u' => (day + 1).to_string(),
            'F' => date.to_string(),
            'T' | 'X' => format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second),
            'R' => format!("{:02}:{:02}", time.hour, time.minute),
            'D' | 'x' => format!("{:02}/{:02}/{:02}", date.month, date.day, date.year % 100),
            'c' => format!(
                "{} {} {:2} {:02}:{:02}:{:02} {}",
                short(name(&DAYS, day)),
                short(name(&MONTHS, month)),
                date.day,
                time.hour,
                time.minute,
                time.second,
                date.year
            ),
            'z' => time.offset.map_or(String::new(), |offset| {
                let sign = if offset < 0 { '-' } else { '+' };
                format!("{sign}{:02}{:02}", offset.abs() / 3600, offset.abs() / 60 % 60)
            }),
            'Z' => match time.offset {
                Some(0) => "UTC".to_owned(),
                Some(offset) => {
                    let sign = if offset < 0 { '-' } else { '+' };
                    format!("UTC{sign}{:02}:{:02}", offset.abs() / 3600, offset.abs() / 60 % 60)
                }
                None => String::new(),
            },
            '%' => "%".to_owned(),
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            other => format!("%{other}"),
        };
        out.push_str(&text);
    }
    Ok(out)
}
