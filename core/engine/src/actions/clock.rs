//! Points in time as texts: ISO 8601 in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::value::{Date, DateTime};

const DAY: i64 = 86_400;

/// Seconds and microseconds since 1970.
pub(super) fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_micros())
}

/// The text of a point in time, with `+00:00`; the last representable one for what is beyond the year 9999.
pub(super) fn iso(seconds: i64, microsecond: u32) -> String {
    let last = (days_from(9999, 12, 31) + 1) * DAY - 1;
    let seconds = seconds.clamp(days_from(1, 1, 1) * DAY, last);
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let date = date_of(day);
    let part = |value: i64| u8::try_from(value).unwrap_or_default();
    let (hour, minute, second) = (part(second / 3600), part(second / 60 % 60), part(second % 60));
    DateTime { date, hour, minute, second, microsecond, offset: Some(0) }.format('T')
}

/// Seconds since 1970 of a point in time; a local one counts as UTC.
pub(super) fn seconds(time: &DateTime) -> i64 {
    let date = time.date;
    let days = days_from(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let clock = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
    days * DAY + clock - i64::from(time.offset.unwrap_or(0))
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days_from(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn date_of(days: i64) -> Date {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    Date {
        year: u16::try_from(era * 400 + year + next).unwrap_or_default(),
        month: u8::try_from(month).unwrap_or_default(),
        day: u8::try_from(day).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_back() {
        for (seconds_since, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_709_251_199, "2024-02-29T23:59:59+00:00"),
            (-1, "1969-12-31T23:59:59+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ] {
            assert_eq!(iso(seconds_since, 0), text);
            assert_eq!(seconds(&DateTime::parse(text).unwrap()), seconds_since);
        }
        assert_eq!(iso(0, 5), "1970-01-01T00:00:00.000005+00:00");
        assert_eq!(iso(i64::MAX, 0), "9999-12-31T23:59:59+00:00");
        assert_eq!(seconds(&DateTime::parse("1970-01-01T02:00:00+02:00").unwrap()), 0);
    }
}
