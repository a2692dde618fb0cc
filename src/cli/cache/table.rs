//! A cache as a person likes to read of it.
//!
//! Pure: no I/O, no clock, no executor.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Above the lines of a list.
pub(super) const HEADING: &str = "     SIZE   HAVE  PIN  READERS  FRESH      URL\n";

/// Lines of a list, one for each asset.
pub(super) fn rows(assets: &[Value], now_unix_ms: u64) -> String {
    let mut text = String::new();
    for asset in assets {
        let length = asset["length"].as_u64();
        let present = asset["present_bytes"].as_u64().unwrap_or(0);
        let url = match asset["url"].as_str() {
            // Somebody's bytes: what would move a terminal's cursor is shown as an escape.
            Some(url) => url.escape_debug().to_string(),
            None => format!("(id {})", asset["id"].as_str().unwrap_or("?")),
        };
        let _ = writeln!(
            text,
            "{:>9}  {:>5}  {:>3}  {:>7}  {:<9}  {url}",
            length.map_or_else(|| "?".to_owned(), size),
            share(present, length),
            if asset["pinned"] == true { "pin" } else { "-" },
            readers(asset),
            freshness(asset["expires_unix_ms"].as_u64(), now_unix_ms),
        );
    }
    text
}

/// Lists are in the order of their URLs; what has none comes last.
pub(super) fn order(asset: &Value) -> (bool, String) {
    let text = |member: &str| asset[member].as_str().unwrap_or_default().to_owned();
    match asset["url"].as_str() {
        Some(url) => (false, url.to_owned()),
        None => (true, text("id")),
    }
}

/// How much is here. What is not all of it never looks as if it were.
fn share(present: u64, length: Option<u64>) -> String {
    match length {
        Some(length) if present >= length => "all".to_owned(),
        Some(_) if present == 0 => "none".to_owned(),
        Some(length) => {
            let percent = (u128::from(present) * 100 / u128::from(length)).clamp(1, 99);
            format!("{percent} %")
        }
        None if present == 0 => "none".to_owned(),
        None => "some".to_owned(),
    }
}

fn readers(asset: &Value) -> String {
    let readers = asset["readers"].as_u64().unwrap_or(0);
    match (readers, asset["filling"] == true) {
        (0, false) => "-".to_owned(),
        (0, true) => "filling".to_owned(),
        (readers, false) => readers.to_string(),
        (readers, true) => format!("{readers}+fill"),
    }
}

fn freshness(expires_unix_ms: Option<u64>, now_unix_ms: u64) -> String {
    match expires_unix_ms.map(|expires| expires.saturating_sub(now_unix_ms) / 1000) {
        None => "-".to_owned(),
        Some(0) => "stale".to_owned(),
        Some(seconds) => duration(seconds),
    }
}

/// The largest unit alone: it says how long one may wait, not when to come.
fn duration(seconds: u64) -> String {
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min", seconds / 60),
        6_000..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes, to three figures.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    // What would be printed as 1024 is one of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A number with its thing, in groups of three digits.
pub(super) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

/// What a cache is. What it may grow to is told of one that is open.
pub(super) fn cache(cache: &Value, name: &str, is_open: bool, each_volume: bool) -> String {
    let number = |member: &str| cache[member].as_u64().unwrap_or(0);
    let format = &cache["format"];
    let used = number("used_bytes");
    let of = match is_open {
        true => format!(" of {}", size(used + number("free_bytes"))),
        false => String::new(),
    };
    let volumes = cache["volumes"].as_array().cloned().unwrap_or_default();
    let those = |state: &str| -> Vec<_> {
        let so = volumes.iter().filter(|volume| volume[state] == true);
        so.map(|volume| volume["volume"].to_string()).collect()
    };
    let mut rows = vec![("cache", name.to_owned())];
    match format["version"].as_u64() {
        Some(version) => rows.push((
            "format",
            format!("{version}, uuid {}", format["uuid"].as_str().unwrap_or("?")),
        )),
        None => rows.push(("format", "none: the cache is off".to_owned())),
    }
    rows.push(("policy", cache["policy"].as_str().unwrap_or("?").to_owned()));
    let objects = count(number("objects"), "asset");
    rows.push(("holds", format!("{objects} in {}", count(number("chunks"), "chunk"))));
    rows.push(("pinned", count(number("pins"), "name")));
    rows.push(("used", format!("{}{of}", size(used))));
    rows.push(("journals", size(number("journal_bytes"))));
    let state = match (&those("off")[..], &those("full")[..]) {
        ([], []) => "all well".to_owned(),
        ([], full) => format!("without room to grow on their disk: {}", full.join(", ")),
        (off, _) => format!("off, their device failed or they are not there: {}", off.join(", ")),
    };
    rows.push(("volumes", format!("{}, {state}", volumes.len())));
    let bad: u64 = volumes.iter().filter_map(|volume| volume["bad_bytes"].as_u64()).sum();
    if bad > 0 {
        rows.push(("bad", format!("{} on disk take nothing; see the log", size(bad))));
    }
    let lost: u64 = volumes.iter().filter_map(|volume| volume["lost_pages"].as_u64()).sum();
    if lost > 0 {
        rows.push(("lost", format!("{} of journals; see verify", count(lost, "page"))));
    }
    let silent = cache["silent_shards"].as_array().cloned().unwrap_or_default();
    if !silent.is_empty() {
        let silent: Vec<_> = silent.iter().map(ToString::to_string).collect();
        rows.push(("silent", format!("shards that do not answer: {}", silent.join(", "))));
    }
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:>10}  {value}");
    }
    if each_volume {
        text.push_str(&volume_rows(&volumes));
    }
    text
}

fn volume_rows(volumes: &[Value]) -> String {
    let mut text = "\nVOLUME  SHARD    ASSETS   CHUNKS       USED    JOURNAL\n".to_owned();
    for volume in volumes {
        let number = |member: &str| volume[member].as_u64().unwrap_or(0);
        let _ = writeln!(
            text,
            "{:>6}  {:>5}  {:>8}  {:>7}  {:>9}  {:>9}{}",
            number("volume"),
            number("shard"),
            number("objects"),
            number("chunks"),
            size(number("used_bytes")),
            size(number("journal_bytes")),
            match (&volume["off"], &volume["full"]) {
                _ if volume["unread"] == true => "  off, not read",
                (Value::Bool(true), _) => "  off",
                (_, Value::Bool(true)) => "  full",
                _ => "",
            },
        );
    }
    text
}

/// What a check has found so far.
#[derive(Debug, Default)]
pub(super) struct Sums {
    objects: u64,
    chunks: u64,
    bytes: u64,
    faults: u64,
    dropped: u64,
    unread_volumes: Vec<u64>,
    lost_pages: u64,
    renewed_pages: u64,
}

impl Sums {
    pub(super) fn add(&mut self, report: &Value) {
        let number = |member: &str| report[member].as_u64().unwrap_or(0);
        self.objects += number("objects");
        self.chunks += number("chunks");
        self.bytes += number("bytes");
        self.lost_pages += number("lost_pages");
        self.renewed_pages += number("renewed_pages");
        let unread = report["unread_volumes"].as_array().into_iter().flatten();
        self.unread_volumes.extend(unread.filter_map(Value::as_u64));
        for fault in report["faults"].as_array().into_iter().flatten() {
            self.faults += 1;
            self.dropped += u64::from(fault["dropped"] == true);
        }
    }

    /// Whether nothing is left in the cache that is not what was written, and all of it was read.
    pub(super) fn are_sound(&self) -> bool {
        let is_whole = self.unread_volumes.is_empty() && self.lost_pages == self.renewed_pages;
        self.faults == self.dropped && is_whole
    }

    pub(super) fn progress(&self) -> String {
        format!("{}, {}", count(self.objects, "asset"), size(self.bytes))
    }

    pub(super) fn summary(&self, repair: bool) -> String {
        self.chunks_summary(repair) + &self.volumes_summary()
    }

    /// What was not even told of chunks.
    fn volumes_summary(&self) -> String {
        let mut text = String::new();
        if !self.unread_volumes.is_empty() {
            let numbers: Vec<_> = self.unread_volumes.iter().map(ToString::to_string).collect();
            let numbers = numbers.join(", ");
            let _ = writeln!(
                text,
                "not read, nor known what they hold: volumes {numbers}; see the log"
            );
        }
        let lost = count(self.lost_pages, "page");
        match (self.lost_pages, self.lost_pages - self.renewed_pages) {
            (0, _) => {}
            (_, 0) => {
                let _ =
                    writeln!(text, "{lost} of journals lost; those are written anew without them");
            }
            _ => {
                let _ = writeln!(
                    text,
                    "{lost} of journals lost, with the objects they told of; --repair goes on without them"
                );
            }
        }
        text
    }

    fn chunks_summary(&self, repair: bool) -> String {
        let chunks = count(self.chunks, "chunk");
        let checked =
            format!("checked {} in {chunks}, {}", count(self.objects, "asset"), size(self.bytes));
        let left = self.faults - self.dropped;
        match (self.faults, left) {
            (0, _) if self.are_sound() => format!("{checked}: all as it was written\n"),
            (0, _) => format!("{checked}: as they were written\n"),
            (faults, 0) => format!("{checked}: {} dropped\n", count(faults, "chunk")),
            (faults, _) if repair => {
                let left = count(left, "chunk");
                let faults = grouped(faults);
                format!(
                    "{checked}: {faults} not as written; {left} in use, which their readers drop\n"
                )
            }
            (faults, _) => {
                format!("{checked}: {} not as written; --repair drops them\n", grouped(faults))
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "objects": self.objects,
            "chunks": self.chunks,
            "bytes": self.bytes,
            "faults": self.faults,
            "dropped": self.dropped,
            "unread_volumes": self.unread_volumes,
            "lost_pages": self.lost_pages,
            "renewed_pages": self.renewed_pages,
        })
    }
}

/// A chunk that is not what was written.
pub(super) fn fault(fault: &Value) -> String {
    let problem = fault["problem"].as_str().unwrap_or("?");
    let place = match (fault["bytes"][0].as_u64(), fault["bytes"][1].as_u64()) {
        (Some(from), Some(to)) => format!("bytes {from}-{}", to.saturating_sub(1)),
        _ => "response head".to_owned(),
    };
    let name = match fault["url"].as_str() {
        Some(url) => url.escape_debug().to_string(),
        None => format!("(id {})", fault["id"].as_str().unwrap_or("?")),
    };
    let dropped = if fault["dropped"] == true { ", dropped" } else { "" };
    format!("{problem:<10}  {name}  {place}{dropped}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_figures_and_never_1024() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_239, "10.0 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1.00 MiB"),
            (4_404_019, "4.20 MiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_part_never_looks_like_the_whole_or_like_nothing() {
        assert_eq!(share(1, Some(1_000_000)), "1 %");
        assert_eq!(share(999_999, Some(1_000_000)), "99 %");
        assert_eq!(share(1_000_000, Some(1_000_000)), "all");
        assert_eq!(share(0, Some(0)), "all");
        assert_eq!((share(0, Some(5)), share(0, None), share(5, None)).2, "some");
    }

    #[test]
    fn lines_of_a_list_stand_below_their_heading() {
        let song = json!({
            "url": "http://a/song\u{1b}[2J", "length": 4_404_019, "present_bytes": 4_404_019, "pinned": true,
            "readers": 2, "filling": false, "expires_unix_ms": 1_600_000,
        });
        let pin = json!({ "id": "00ff", "url": null, "length": null, "present_bytes": 0, "pinned": true });
        let text = format!("{HEADING}{}", rows(&[song, pin], 1_000_000));
        let wanted = "     SIZE   HAVE  PIN  READERS  FRESH      URL\n \
             4.20 MiB    all  pin        2  10 min     http://a/song\\u{1b}[2J\n        \
             ?   none  pin        -  -          (id 00ff)\n";
        assert_eq!(text, wanted);
    }

    /// The volumes of a closed cache are as large as their files, which says nothing of its size.
    #[test]
    fn what_a_closed_cache_may_grow_to_is_not_guessed() {
        let told = json!({ "used_bytes": 78 << 20, "free_bytes": 50 << 20 });
        let used = |is_open| {
            let text = cache(&told, "/c", is_open, false);
            text.lines().find_map(|line| Some(line.split_once("used  ")?.1.to_owned())).unwrap()
        };
        assert_eq!(
            (used(true), used(false)),
            ("78.0 MiB of 128 MiB".into(), "78.0 MiB".to_owned())
        );
    }

    #[test]
    fn numbers_are_grouped_and_have_their_plural() {
        assert_eq!(count(0, "asset"), "0 assets");
        assert_eq!(count(1, "asset"), "1 asset");
        assert_eq!(count(1_234_567, "asset"), "1 234 567 assets");
    }

    #[test]
    fn what_was_not_read_is_not_called_as_it_was_written() {
        let report = |unread: &[u64], lost: u64, renewed: u64| {
            let mut sums = Sums::default();
            sums.add(&json!({
                "objects": 3, "chunks": 9, "bytes": 4096, "faults": [],
                "unread_volumes": unread, "lost_pages": lost, "renewed_pages": renewed,
            }));
            (sums.are_sound(), sums.summary(false))
        };
        let (is_sound, text) = report(&[2, 5], 0, 0);
        assert!(!is_sound && text.contains("volumes 2, 5") && !text.contains(": all as"), "{text}");
        let (is_sound, text) = report(&[], 3, 0);
        assert!(!is_sound && text.contains("3 pages of journals lost, with"), "{text}");
        let (is_sound, text) = report(&[], 3, 3);
        assert!(is_sound && text.contains("written anew without them"), "{text}");
        let told =
            json!({ "volumes": [{ "volume": 0 }, { "volume": 3, "off": true, "unread": true }] });
        let text = cache(&told, "/c", true, true);
        assert!(text.contains("2, off, their device failed or they are not there: 3"), "{text}");
        assert!(text.contains("off, not read"), "{text}");
    }

    #[test]
    fn what_is_found_and_left_decides_what_is_said() {
        let report = |dropped: [bool; 2]| {
            let faults = dropped.map(|dropped| json!({ "dropped": dropped }));
            json!({ "objects": 3, "chunks": 9, "bytes": 4096, "faults": faults })
        };
        let mut sums = Sums::default();
        assert!(sums.are_sound() && sums.summary(false).contains("all as it was written"));
        sums.add(&report([true, true]));
        assert!(sums.are_sound() && sums.summary(true).contains("2 chunks dropped"));
        sums.add(&report([true, false]));
        assert!(!sums.are_sound() && sums.summary(true).contains("1 chunk in use"));
        assert!(sums.summary(false).contains("--repair"));
    }
}
