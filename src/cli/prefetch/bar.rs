//! How far a prefetch is: a bar for a terminal, a line now and then for a log.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use serde_json::Value;

use crate::cli::{ExitCode, Failure};

/// Cells of the bar: with everything beside it a line has less than 80.
const CELLS: u64 = 20;

/// Over how long the rate is averaged.
const RATE_OVER: Duration = Duration::from_secs(3);

/// Where nobody watches, a line each time so many percent more are there.
const STEP_PERCENT: u64 = 10;

/// What a prefetch says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Look {
    state: String,
    bytes_done: u64,
    bytes_total: Option<u64>,
    sources: u64,
    ended: u64,
    failed: u64,
    error: Option<String>,
    warning: Option<String>,
    is_unreachable: bool,
    frames: Option<u64>,
    undecoded_packets: u64,
}

impl Look {
    /// Reads the document about a prefetch.
    pub(super) fn of(document: &Value) -> Option<Self> {
        let sources = &document["sources"];
        let failed = sources["failed"].as_u64()?;
        Some(Self {
            state: document["state"].as_str()?.to_owned(),
            bytes_done: document["bytes_done"].as_u64()?,
            bytes_total: document["bytes_total"].as_u64(),
            sources: sources["total"].as_u64()?,
            ended: sources["done"].as_u64()? + failed,
            failed,
            error: document["error"].as_str().map(str::to_owned),
            warning: document["warning"].as_str().map(str::to_owned),
            is_unreachable: document["unreachable"].as_bool()?,
            frames: document["frames"].as_u64(),
            undecoded_packets: document["undecoded_packets"].as_u64().unwrap_or(0),
        })
    }

    /// Whether nothing follows.
    pub(super) fn is_end(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }

    /// Why it did not end well, if so.
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.state == "done" {
            return None;
        }
        let code = if self.is_unreachable { ExitCode::Unavailable } else { ExitCode::Runtime };
        let what = match (&self.error, self.failed) {
            (Some(error), ..=1) => error.clone(),
            (Some(error), failed) => format!("{error} (and {} more)", failed - 1),
            (None, _) => format!("the prefetch was {}", self.state),
        };
        // A name is somebody's bytes: what would move a terminal's cursor is shown as an escape.
        Some(Failure::new(code, what.escape_debug().to_string()))
    }

    fn percent(&self) -> Option<u64> {
        let total = self.bytes_total.filter(|total| *total > 0)?;
        Some((u128::from(self.bytes_done) * 100 / u128::from(total)).min(100) as u64)
    }
}

/// What was shown before.
#[derive(Debug, Default)]
pub(super) struct Bar {
    /// When so many bytes were there, the oldest first: what the rate is made of.
    seen: Vec<(Duration, u64)>,
    /// What the last plain line said.
    said: Option<(Option<u64>, Option<String>)>,
}

impl Bar {
    /// The line for a terminal, `since` the beginning.
    pub(super) fn line(&mut self, look: &Look, since: Duration) -> String {
        let rate = self.rate(look, since);
        let percent = look.percent();
        let full = percent.map_or(0, |percent| percent * CELLS / 100);
        let cells: String = (0..CELLS).map(|at| if at < full { '#' } else { '.' }).collect();
        let percent = percent.map_or("  ?%".to_owned(), |percent| format!("{percent:3}%"));
        let sources = match look.sources {
            1 => String::new(),
            all => format!("  {}/{all}", look.ended),
        };
        let waits = if look.state == "queued" && look.error.is_some() { "  waits" } else { "" };
        let eta = eta(look, rate).map(|eta| format!("  eta {eta}")).unwrap_or_default();
        let rate = format!("{}/s", size(rate));
        format!("[{cells}] {percent}  {}  {rate}{eta}{sources}{waits}", amount(look))
    }

    /// The line for a log, where there is something new to say.
    pub(super) fn plain(&mut self, look: &Look, since: Duration) -> Option<String> {
        let rate = self.rate(look, since);
        let step = look.percent().map(|percent| percent / STEP_PERCENT);
        let error = look.error.clone().filter(|_| !look.is_end());
        let now = (step, error.clone());
        if self.said.as_ref() == Some(&now) || look.is_end() {
            return None;
        }
        self.said = Some(now);
        let percent = look.percent().map(|percent| format!("{percent}% ")).unwrap_or_default();
        let error = error.map(|error| format!(", tried again: {}", error.escape_debug()));
        let error = error.unwrap_or_default();
        Some(format!("prefetch: {percent}{}, {}/s{error}", amount(look), size(rate)))
    }

    /// Bytes per second of late.
    fn rate(&mut self, look: &Look, since: Duration) -> u64 {
        let is_old = |(at, _): &(Duration, u64)| *at + RATE_OVER < since;
        // The last of the old ones is where the time that counts begins.
        let old = self.seen.iter().take_while(|seen| is_old(seen)).count();
        self.seen.drain(..old.saturating_sub(1));
        self.seen.push((since, look.bytes_done));
        let (from, before) = self.seen[0];
        let bytes = look.bytes_done.saturating_sub(before);
        let seconds = (since - from).as_secs_f64();
        if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 }
    }
}

/// The last line of one that ended well.
pub(super) fn summary(look: &Look, took: Duration) -> String {
    let sources = match look.sources {
        1 => "1 source".to_owned(),
        more => format!("{more} sources"),
    };
    let check = look.frames.map(|frames| {
        format!(", {frames} frames decode, {} packets do not", look.undecoded_packets)
    });
    let check = check.unwrap_or_default();
    let warning = look.warning.as_ref().map(|warning| format!("; {}", warning.escape_debug()));
    let (there, warning) = (size(look.bytes_done), warning.unwrap_or_default());
    format!("{sources}, {there} there after {:.1} s{check}{warning}", took.as_secs_f64())
}

fn amount(look: &Look) -> String {
    match look.bytes_total {
        Some(total) => format!("{} of {}", size(look.bytes_done), size(total)),
        None => size(look.bytes_done),
    }
}

fn eta(look: &Look, rate: u64) -> Option<String> {
    let left = look.bytes_total?.saturating_sub(look.bytes_done);
    let seconds = left.checked_div(rate)?;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match hours {
        0 => Some(format!("{minutes}:{:02}", seconds % 60)),
        1..100 => Some(format!("{hours}:{minutes:02}:{:02}", seconds % 60)),
        _ => None,
    }
}

/// A size as a person reads it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn look(state: &str, bytes_done: u64, bytes_total: Option<u64>) -> Look {
        Look { state: state.into(), bytes_done, bytes_total, sources: 1, ..Look::default() }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_bar_has_its_share_its_rate_and_its_end() {
        let mut bar = Bar::default();
        bar.line(&look("running", 0, Some(40 * MIB)), seconds(0));
        let line = bar.line(&look("running", 10 * MIB, Some(40 * MIB)), seconds(2));
        assert_eq!(line, "[#####...............]  25%  10.0 MiB of 40.0 MiB  5.0 MiB/s  eta 0:06");
        let many = Look { sources: 7, ended: 3, ..look("running", 40 * MIB, None) };
        let line = bar.line(&many, seconds(4));
        assert_eq!(line, "[....................]   ?%  40.0 MiB  10.0 MiB/s  3/7");
        assert!(bar.line(&look("running", 1023 << 40, Some(1023 << 40)), seconds(9)).len() < 80);
    }

    #[test]
    fn only_what_came_of_late_is_the_rate() {
        let mut bar = Bar::default();
        for second in 0..10 {
            bar.rate(&look("running", second * MIB, None), seconds(second));
        }
        for second in 10..15 {
            bar.rate(&look("running", 9 * MIB, None), seconds(second));
        }
        assert_eq!(bar.rate(&look("running", 9 * MIB, None), seconds(15)), 0);
        assert!(bar.seen.len() < 8);
    }

    #[test]
    fn a_log_has_a_line_for_each_tenth() {
        let mut bar = Bar::default();
        let lines: Vec<_> = (0..=100)
            .filter_map(|at| bar.plain(&look("running", at * MIB, Some(100 * MIB)), seconds(at)))
            .collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[1], "prefetch: 10% 10.0 MiB of 100.0 MiB, 1.0 MiB/s");
        let error = Some("a:b: \u{1b}[2Jno".to_owned());
        let waits = Look { error, ..look("queued", 100 * MIB, Some(100 * MIB)) };
        let line = bar.plain(&waits, seconds(101)).unwrap();
        assert!(line.ends_with("tried again: a:b: \\u{1b}[2Jno"), "{line}");
        assert_eq!(bar.plain(&waits, seconds(102)), None);
    }

    #[test]
    fn a_document_is_read_and_its_end_is_an_exit_code() {
        let document = |state: &str, unreachable: bool| {
            json!({
                "state": state, "bytes_done": 5, "bytes_total": null, "error": "a:b: no",
                "unreachable": unreachable, "sources": { "total": 3, "done": 1, "failed": 2 },
            })
        };
        let code = |state, unreachable| {
            Look::of(&document(state, unreachable)).unwrap().failure().map(|failure| failure.code)
        };
        assert_eq!(code("done", false), None);
        assert_eq!(code("failed", true), Some(ExitCode::Unavailable));
        assert_eq!(code("failed", false), Some(ExitCode::Runtime));
        assert_eq!(code("cancelled", false), Some(ExitCode::Runtime));
        let failed = Look::of(&document("failed", false)).unwrap();
        assert_eq!(failed.failure().unwrap().what, "a:b: no (and 1 more)");
        assert!(!Look::of(&document("running", false)).unwrap().is_end());
        assert_eq!(Look::of(&json!({ "state": "done" })), None);
    }

    #[test]
    fn sizes_and_times_are_as_people_read_them() {
        let sizes = [0, 1023, 1024, 1_023_999, 1 << 30, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 GiB", "16777216.0 TiB"]);
        let eta = |left| eta(&look("running", 0, Some(left)), 1);
        assert_eq!(eta(59).as_deref(), Some("0:59"));
        assert_eq!(eta(3_661).as_deref(), Some("1:01:01"));
        assert_eq!(eta(u64::MAX), None);
    }
}
