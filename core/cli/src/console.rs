//! The standard streams: whole lines, colours and progress on terminals, NDJSON.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tea_engine::actions::json::{Style, dumps};
use tea_engine::value::{Map, Value};

use crate::failure::Failure;

/// Exit code where the reader of the output is gone, as a shell sees it for SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// The colours that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Green,
    Yellow,
}

/// The standard output and error of the process. All writing goes through it, so that lines stay whole.
pub(crate) struct Console {
    colour: bool,
    /// The node that runs is shown on the terminal's last line.
    progress: bool,
    shown: Mutex<bool>,
}

impl Console {
    /// Looks at the streams. `NO_COLOR` (not empty) and `TERM=dumb` switch colours and progress off.
    pub(crate) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colour = !plain && io::stdout().is_terminal();
        Console { colour, progress: colour && io::stderr().is_terminal(), shown: Mutex::new(false) }
    }

    /// Text in a colour, if the output is a terminal.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Takes the streams and removes the line of progress.
    fn streams(&self) -> MutexGuard<'_, bool> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *shown) {
            let mut err = io::stderr().lock();
            // A terminal that is gone is no reason to stop.
            let _ = err.write_all(b"\r\x1b[K").and_then(|()| err.flush());
        }
        shown
    }

    /// Writes text and a newline to the standard output.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.write(&format!("{text}\n"))
    }

    /// Writes text to the standard output at once.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        self.print(text).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(BROKEN_PIPE),
            _ => Failure::new(format!("Error: cannot write to the standard output: {error}")),
        })
    }

    /// As [`Console::write`], with the system's own error.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        let _streams = self.streams();
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes text and a newline to the standard error.
    pub(crate) fn error(&self, text: &str) {
        let _streams = self.streams();
        // Nobody is left to be told.
        let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    }

    /// Shows which node runs, on a terminal.
    pub(crate) fn progress(&self, node: &str) {
        if self.progress {
            let mut shown = self.streams();
            let node: String = node.chars().filter(|c| !c.is_control()).take(60).collect();
            let mut err = io::stderr().lock();
            let _ = err.write_all(format!("… {node}").as_bytes()).and_then(|()| err.flush());
            *shown = true;
        }
    }

    /// Does something while nobody else writes.
    pub(crate) fn alone<T>(&self, body: impl FnOnce() -> T) -> T {
        let _streams = self.streams();
        body()
    }

    /// Waits until no line is being written, but not for long: the reader may have stopped reading.
    pub(crate) fn settle(&self) {
        for _ in 0..20 {
            if let Ok(_streams) = self.shown.try_lock() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes one event as a line of JSON: `type`, `timestamp`, the fields (`cli/CL-52`).
    pub(crate) fn event(&self, kind: &str, fields: &[(&str, Value)]) -> Result<(), Failure> {
        let mut map = Map::with_capacity(2 + fields.len());
        map.insert("type".into(), kind.into());
        map.insert("timestamp".into(), timestamp(SystemTime::now()).into());
        map.extend(fields.iter().map(|(key, value)| ((*key).into(), value.clone())));
        let line = json(&Value::map(map), &Style::default())?;
        self.line(&line)
    }
}

/// JSON as Python's `json.dumps` writes it.
pub(crate) fn json(value: &Value, style: &Style) -> Result<String, Failure> {
    dumps(value, style, None).map_err(|error| Failure::new(format!("Error: cannot write JSON: {error}")))
}

/// JSON with two blanks for each level.
pub(crate) fn pretty(value: &Value) -> Result<String, Failure> {
    json(value, &Style { indent: Some("  ".to_owned()), ..Style::default() })
}

/// The time in UTC as Python's `isoformat` prints it.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match since.subsec_micros() {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00")
}

/// Year, month and day of a day counted from 1970-01-01, by the rules of the Gregorian calendar: years are counted
/// from March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// cli/CL-52
    #[test]
    fn times_print_as_in_python() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, 5, "2000-02-28T23:59:59.000005+00:00"),
            (951_782_400, 0, "2000-02-29T00:00:00+00:00"),
            (1_738_324_800, 123_456, "2025-01-31T12:00:00.123456+00:00"),
            (4_107_542_399, 0, "2100-02-28T23:59:59+00:00"),
            (4_107_542_400, 0, "2100-03-01T00:00:00+00:00"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
            assert_eq!(timestamp(time), text);
        }
    }
}
