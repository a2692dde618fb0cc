//! How the queue looks on disk: the file `prefetch` of the cache directory.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! ```text
//! kithara-prefetch 1                            name and version
//! 89abcdef {"accepted":{"id":7,"unix_ms":..,"spec":{"src":["music:a"],..}}}
//! 01234567 {"ended":{"id":7,"index":0,"unix_ms":..,"bytes_done":..,"bytes_total":..}}
//! ```
//!
//! Each line after the first is a record: the CRC-32C of its JSON (RFC 3720, appendix B.4) in eight
//! hexadecimal digits, a space, the JSON. It is text, since it is small, and a person who wonders what
//! a node still has to do can read it. Records are appended and synced; at a start, and whenever the
//! file has grown, it is written anew with what still counts and put in place of the old one at once.
//!
//! A line without its end is the one that a crash cut. A line that does not fit its sum, or says
//! nothing that this version knows, is left out: within version 1 there may be new kinds of records
//! and new members. All else is a new version, and a file of another version is left alone.

use serde_json::{Map, Value, json};

use super::{queue::FAILURES_TOLD, spec::Spec};
use crate::{
    pcm::SourceName,
    shard::{Check, Prefetched, Progress, shown},
    storage::crc32c,
};

const NAME: &str = "kithara-prefetch ";
const VERSION: &str = "1";

/// One thing that happened, or that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A prefetch was accepted.
    Accepted {
        /// Its number.
        id: u64,
        /// When.
        unix_ms: u64,
        /// What it is.
        spec: Spec,
        /// How many of its sources were asked for; the others come out of lists among those.
        asked: u32,
        /// Those of its sources that have ended already, where the file was written anew.
        ended: Vec<u32>,
        /// What came of those.
        summary: Summary,
    },
    /// One of its sources ended.
    Ended {
        /// Of which prefetch.
        id: u64,
        /// Which source.
        index: u32,
        /// When.
        unix_ms: u64,
        /// How.
        ended: Ended,
    },
    /// One of its sources was a list.
    Listed {
        /// Of which prefetch.
        id: u64,
        /// Which source.
        index: u32,
        /// What it lists.
        sources: Vec<SourceName>,
    },
    /// All sources of a prefetch had ended, and so much was there of them.
    There {
        /// Of which prefetch.
        id: u64,
        /// What was there.
        there: There,
    },
    /// A prefetch was cancelled.
    Cancelled {
        /// Which.
        id: u64,
        /// When.
        unix_ms: u64,
    },
    /// A prefetch ended, and this is left of it.
    Summary {
        /// Its number.
        id: u64,
        /// Whether somebody cancelled it.
        is_cancelled: bool,
        /// What came of it.
        summary: Summary,
    },
    /// No number up to this one is given again.
    LastId(u64),
}

/// How a source ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// What is there, where it ended well.
    pub done: Option<Prefetched>,
    /// Why it did not.
    pub why: Option<String>,
    /// The origin could not be asked.
    pub is_unreachable: bool,
}

/// What the cache has of the sources of a prefetch that ended well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct There {
    /// How many of them.
    pub sources: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What came of a prefetch so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The first of its sources, without its query.
    pub source: String,
    /// How many there are.
    pub sources: usize,
    /// How many are there.
    pub done: usize,
    /// How many cannot be had.
    pub failed: usize,
    /// What was there at the end, where that is known: less than is done, where some were evicted.
    pub there: Option<There>,
    /// Bytes that are there of those that are wanted.
    pub bytes_done: u64,
    /// Bytes that are wanted of the sources of which that is known.
    pub bytes_known: u64,
    /// Of how many that is not known.
    pub unknown: usize,
    /// What the check found, where one was asked for.
    pub check: Option<Check>,
    /// The first failures: which source, and why.
    pub failures: Vec<(String, String)>,
    /// One of them is an origin that could not be asked.
    pub is_unreachable: bool,
    /// 0 to 9; a higher one goes first.
    pub priority: u8,
    /// When it was accepted.
    pub accepted_unix_ms: u64,
    /// When it ended.
    pub ended_unix_ms: Option<u64>,
}

impl Summary {
    /// Of one that has not begun.
    pub(super) fn of(spec: &Spec, accepted_unix_ms: u64) -> Self {
        Self {
            source: spec.sources.first().map(|first| shown(&first.to_string())).unwrap_or_default(),
            sources: spec.sources.len(),
            check: spec.decode.then(Check::default),
            priority: spec.priority,
            accepted_unix_ms,
            ..Self::default()
        }
    }

    /// Sources that were done, and evicted again before the last one was.
    pub fn evicted(&self) -> usize {
        self.there.map_or(0, |there| self.done.saturating_sub(there.sources))
    }

    /// Bytes that are there of those that are wanted, without those that were evicted again.
    pub fn bytes_there(&self) -> u64 {
        let there = self.there.filter(|_| self.evicted() > 0);
        there.map_or(self.bytes_done, |there| self.bytes_done.min(there.bytes))
    }

    /// Bytes that are wanted, where that is known of all.
    pub fn bytes_total(&self) -> Option<u64> {
        (self.unknown == 0).then_some(self.bytes_known)
    }

    /// What is there of a source.
    pub(super) fn add(&mut self, progress: Progress) {
        self.bytes_done = self.bytes_done.saturating_add(progress.bytes_done);
        match progress.bytes_total {
            Some(bytes) => self.bytes_known = self.bytes_known.saturating_add(bytes),
            None => self.unknown += 1,
        }
    }

    /// One more source ended; `last` is how far it was seen to be.
    pub(super) fn count(&mut self, source: &str, ended: &Ended, last: Progress) {
        let Some(done) = &ended.done else {
            self.failed += 1;
            // What cannot be had hides no longer how much there is of the others.
            self.add(Progress { bytes_total: last.bytes_total.or(Some(last.bytes_done)), ..last });
            self.is_unreachable |= ended.is_unreachable;
            if self.failures.len() < FAILURES_TOLD {
                let why = ended.why.as_deref().unwrap_or_default();
                self.failures.push((shown(source), shown(why)));
            }
            return;
        };
        self.done += 1;
        self.add(done.progress);
        if let (Some(all), Some(check)) = (&mut self.check, done.check) {
            all.frames = all.frames.saturating_add(check.frames);
            all.missing_frames = all.missing_frames.saturating_add(check.missing_frames);
            all.undecoded_packets = all.undecoded_packets.saturating_add(check.undecoded_packets);
        }
    }
}

/// Why a file is not read. It is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It is of another version.
    #[error("it is of another version of kithara")]
    Version,
    /// It is something else.
    #[error("it is no queue of prefetches")]
    NotOurs,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Read {
    /// The records, in their order.
    pub records: Vec<Record>,
    /// Lines that are damaged, or of a kind that this version does not know.
    pub left_out: usize,
}

/// The first line of a file.
pub fn header() -> String {
    format!("{NAME}{VERSION}\n")
}

/// One line.
pub fn encode(record: &Record) -> String {
    let json = to_json(record).to_string();
    format!("{:08x} {json}\n", crc32c(json.as_bytes()))
}

/// Reads a file. `is_library` says which names are those of libraries.
///
/// # Errors
/// [`Foreign`]. A file that was cut within its first line is an empty one.
pub fn read(bytes: &[u8], is_library: impl Fn(&str) -> bool) -> Result<Read, Foreign> {
    let header = header();
    if header.as_bytes().starts_with(bytes) {
        return Ok(Read::default());
    }
    let Some(rest) = bytes.strip_prefix(header.as_bytes()) else {
        let is_ours = bytes.starts_with(NAME.as_bytes());
        return Err(if is_ours { Foreign::Version } else { Foreign::NotOurs });
    };
    let mut read = Read::default();
    let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    read.left_out += usize::from(whole < rest.len());
    for line in rest[..whole].split_inclusive(|byte| *byte == b'\n') {
        match decode(&line[..line.len() - 1], &is_library) {
            Some(record) => read.records.push(record),
            None => read.left_out += 1,
        }
    }
    Ok(read)
}

fn decode(line: &[u8], is_library: impl Fn(&str) -> bool) -> Option<Record> {
    let line = std::str::from_utf8(line).ok()?;
    let (sum, json) = line.split_at_checked(8)?;
    let json = json.strip_prefix(' ')?;
    if sum != format!("{:08x}", crc32c(json.as_bytes())) {
        return None;
    }
    of_json(&serde_json::from_str(json).ok()?, is_library)
}

fn to_json(record: &Record) -> Value {
    match record {
        Record::Accepted { id, unix_ms, spec, asked, ended, summary } => {
            let mut of = json!({ "id": id, "unix_ms": unix_ms, "spec": spec.to_json() });
            if (*asked as usize) < spec.sources.len() {
                of["asked"] = (*asked).into();
            }
            if !ended.is_empty() {
                of["ended"] = ended.iter().copied().collect();
                of["summary"] = summary_json(summary);
            }
            json!({ "accepted": of })
        }
        Record::Ended { id, index, unix_ms, ended } => {
            let mut of = Map::new();
            of.insert("id".into(), (*id).into());
            of.insert("index".into(), (*index).into());
            of.insert("unix_ms".into(), (*unix_ms).into());
            if let Some(done) = &ended.done {
                of.insert("bytes_done".into(), done.progress.bytes_done.into());
                of.insert("bytes_total".into(), done.progress.bytes_total.into());
                if let Some(check) = done.check {
                    of.insert("check".into(), check_json(check));
                }
            } else {
                of.insert("why".into(), ended.why.clone().unwrap_or_default().into());
                of.insert("is_unreachable".into(), ended.is_unreachable.into());
            }
            json!({ "ended": of })
        }
        Record::Listed { id, index, sources } => {
            let src: Vec<_> = sources.iter().map(SourceName::text).collect();
            json!({ "listed": { "id": id, "index": index, "src": src } })
        }
        Record::There { id, there } => {
            json!({ "there": { "id": id, "sources": there.sources, "bytes": there.bytes } })
        }
        Record::Cancelled { id, unix_ms } => {
            json!({ "cancelled": { "id": id, "unix_ms": unix_ms } })
        }
        Record::Summary { id, is_cancelled, summary } => {
            let summary = summary_json(summary);
            json!({ "summary": { "id": id, "is_cancelled": is_cancelled, "summary": summary } })
        }
        Record::LastId(id) => json!({ "last_id": id }),
    }
}

fn check_json(check: Check) -> Value {
    json!({
        "frames": check.frames,
        "missing_frames": check.missing_frames,
        "undecoded_packets": check.undecoded_packets,
    })
}

fn summary_json(summary: &Summary) -> Value {
    json!({
        "source": summary.source,
        "sources": summary.sources,
        "done": summary.done,
        "failed": summary.failed,
        "there": summary.there.map(|there| json!([there.sources, there.bytes])),
        "bytes_done": summary.bytes_done,
        "bytes_known": summary.bytes_known,
        "unknown": summary.unknown,
        "check": summary.check.map(check_json),
        "failures": summary.failures,
        "is_unreachable": summary.is_unreachable,
        "priority": summary.priority,
        "accepted_unix_ms": summary.accepted_unix_ms,
        "ended_unix_ms": summary.ended_unix_ms,
    })
}

fn of_json(value: &Value, is_library: impl Fn(&str) -> bool) -> Option<Record> {
    let (kind, of) = value.as_object()?.iter().next()?;
    // So far that numbers can be counted on for ever.
    let id = |of: &Value| of.as_u64().filter(|id| *id < 1 << 53);
    let unix_ms = || of["unix_ms"].as_u64();
    Some(match kind.as_str() {
        "accepted" => {
            let (id, unix_ms) = (id(&of["id"])?, unix_ms()?);
            let spec = Spec::parse(of["spec"].to_string().as_bytes(), is_library).ok()?;
            let (ended, summary) = match of.get("ended") {
                Some(ended) => (
                    ended.as_array()?.iter().map(number).collect::<Option<_>>()?,
                    summary_of(&of["summary"])?,
                ),
                None => (Vec::new(), Summary::of(&spec, unix_ms)),
            };
            let all = spec.sources.len();
            let asked = match of.get("asked") {
                Some(asked) => number(asked).filter(|asked| *asked as usize <= all)?,
                None => all as u32,
            };
            Record::Accepted { id, unix_ms, spec, asked, ended, summary }
        }
        "listed" => {
            let src = json!({ "src": of["src"] }).to_string();
            let Spec { sources, .. } = Spec::parse(src.as_bytes(), is_library).ok()?;
            Record::Listed { id: id(&of["id"])?, index: number(&of["index"])?, sources }
        }
        "there" => {
            let sources = usize::try_from(of["sources"].as_u64()?).ok()?;
            let there = There { sources, bytes: of["bytes"].as_u64()? };
            Record::There { id: id(&of["id"])?, there }
        }
        "ended" => {
            let ended = ended_of(of)?;
            let (id, index) = (id(&of["id"])?, number(&of["index"])?);
            Record::Ended { id, index, unix_ms: unix_ms()?, ended }
        }
        "cancelled" => Record::Cancelled { id: id(&of["id"])?, unix_ms: unix_ms()? },
        "summary" => Record::Summary {
            id: id(&of["id"])?,
            is_cancelled: of["is_cancelled"].as_bool()?,
            summary: summary_of(&of["summary"])?,
        },
        "last_id" => Record::LastId(id(of)?),
        _ => return None,
    })
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn ended_of(of: &Value) -> Option<Ended> {
    if let Some(why) = of.get("why") {
        let is_unreachable = of["is_unreachable"].as_bool()?;
        return Some(Ended { done: None, why: Some(why.as_str()?.to_owned()), is_unreachable });
    }
    let progress = Progress {
        bytes_done: of["bytes_done"].as_u64()?,
        bytes_total: of["bytes_total"].as_u64(),
        spent_bytes: 0,
    };
    let done = Some(Prefetched { progress, check: check_of(of.get("check")) });
    Some(Ended { done, why: None, is_unreachable: false })
}

fn check_of(value: Option<&Value>) -> Option<Check> {
    let value = value?;
    Some(Check {
        frames: value["frames"].as_u64()?,
        missing_frames: value["missing_frames"].as_u64()?,
        undecoded_packets: value["undecoded_packets"].as_u64()?,
    })
}

fn there_of(pair: &Value) -> Option<There> {
    let sources = usize::try_from(pair[0].as_u64()?).ok()?;
    Some(There { sources, bytes: pair[1].as_u64()? })
}

fn summary_of(value: &Value) -> Option<Summary> {
    let count = |name: &str| usize::try_from(value[name].as_u64()?).ok();
    let failures = value["failures"].as_array()?.iter().take(FAILURES_TOLD);
    let failure = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
    Some(Summary {
        source: value["source"].as_str()?.to_owned(),
        sources: count("sources")?,
        done: count("done")?,
        failed: count("failed")?,
        there: there_of(&value["there"]),
        bytes_done: value["bytes_done"].as_u64()?,
        bytes_known: value["bytes_known"].as_u64()?,
        unknown: count("unknown")?,
        check: check_of(value.get("check")),
        failures: failures.map(failure).collect::<Option<_>>()?,
        is_unreachable: value["is_unreachable"].as_bool()?,
        priority: u8::try_from(value["priority"].as_u64()?).ok()?,
        accepted_unix_ms: value["accepted_unix_ms"].as_u64()?,
        ended_unix_ms: value["ended_unix_ms"].as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    fn read_all(bytes: &[u8]) -> Read {
        read(bytes, |name| name == "local").unwrap()
    }

    fn spec(random: &mut Random) -> Spec {
        let texts = ["music:a?token=1", "local:é\"?", "music:b%20c"];
        let source =
            |at: u64| SourceName::parse(texts[at as usize], |name| name == "local").unwrap();
        let sources = (0..=random.below(3)).map(|_| random.below(3)).map(source).collect();
        Spec { priority: random.below(10) as u8, decode: random.below(2) == 0, ..Spec::of(sources) }
    }

    fn ended(random: &mut Random) -> Ended {
        let bytes_total = [None, Some(random.below(1 << 40))][random.below(2) as usize];
        let progress = Progress { bytes_done: random.below(1 << 40), bytes_total, spent_bytes: 0 };
        let check = Check { frames: random.below(9), missing_frames: 1, undecoded_packets: 2 };
        let check = [None, Some(check)][random.below(2) as usize];
        match random.below(2) {
            0 => Ended { done: Some(Prefetched { progress, check }), ..Ended::default() },
            _ => Ended { why: Some("no\n\"".into()), is_unreachable: true, ..Ended::default() },
        }
    }

    fn record(random: &mut Random) -> Record {
        let (id, unix_ms) = (random.below(100), random.below(1 << 40));
        match random.below(8) {
            0 => Record::LastId(id),
            1 => Record::Cancelled { id, unix_ms },
            6 => Record::There { id, there: There { sources: 3, bytes: unix_ms } },
            7 => Record::Listed { id, index: 2, sources: spec(random).sources },
            2 => {
                let index = random.below(9) as u32;
                Record::Ended { id, index, unix_ms, ended: ended(random) }
            }
            kind => {
                let spec = spec(random);
                let mut summary = Summary::of(&spec, unix_ms);
                if kind == 3 {
                    let asked = spec.sources.len() as u32;
                    return Record::Accepted { id, unix_ms, spec, asked, ended: vec![], summary };
                }
                summary.there = Some(There { sources: 1, bytes: 2 });
                summary.count("music:x", &ended(random), Progress::default());
                match kind {
                    4 => {
                        let ended = vec![0, 2];
                        Record::Accepted { id, unix_ms, spec, asked: 1, ended, summary }
                    }
                    _ => Record::Summary { id, is_cancelled: random.below(2) == 0, summary },
                }
            }
        }
    }

    #[test]
    fn a_line_is_the_one_of_version_1() {
        let record = Record::Cancelled { id: 7, unix_ms: 5 };
        assert_eq!(header(), "kithara-prefetch 1\n");
        assert_eq!(encode(&record), "b7c168f6 {\"cancelled\":{\"id\":7,\"unix_ms\":5}}\n");
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_loses_only_the_last() {
        for seed in 1..=1_000 {
            let mut random = Random(seed);
            let records: Vec<_> = (0..random.below(6)).map(|_| record(&mut random)).collect();
            let text = records.iter().fold(header(), |text, record| text + &encode(record));
            let all = read_all(text.as_bytes());
            assert_eq!((all.records, all.left_out), (records.clone(), 0), "seed {seed}");
            let cut = random.below(text.len() as u64 + 1) as usize;
            let some = read_all(&text.as_bytes()[..cut]);
            assert_eq!(some.records[..], records[..some.records.len()], "seed {seed}");
            let lines = text.as_bytes()[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(some.records.len(), lines.saturating_sub(1), "seed {seed}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_line_and_no_other() {
        let records: Vec<_> = (1..=5).map(|seed| record(&mut Random(seed))).collect();
        let text = records.iter().fold(header(), |text, record| text + &encode(record));
        for bit in header().len() * 8..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = read_all(&bytes);
            assert!(read.left_out > 0, "bit {bit}");
            // An end of a line that is none joins two.
            assert!(read.records.len() >= records.len() - 2, "bit {bit}");
            assert!(read.records.iter().all(|one| records.contains(one)), "bit {bit}");
        }
    }

    #[test]
    fn another_version_and_another_file_are_refused() {
        let none = |_: &str| false;
        for text in ["kithara-prefetch 2\n", "kithara-prefetch 10\nx", "kithara-prefetch 1 "] {
            assert_eq!(read(text.as_bytes(), none).unwrap_err(), Foreign::Version, "{text}");
        }
        for text in ["x", "{}", "kithara-cache 1\n", "\0"] {
            assert_eq!(read(text.as_bytes(), none).unwrap_err(), Foreign::NotOurs, "{text}");
        }
        for end in 0..=header().len() {
            assert!(read_all(&header().as_bytes()[..end]).records.is_empty());
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let line = |json: &str| format!("{:08x} {json}\n", crc32c(json.as_bytes()));
        let text = header()
            + &line("{\"paused\":{\"id\":7}}")
            + &line("{\"cancelled\":{\"id\":7,\"unix_ms\":5,\"by\":\"me\"}}")
            + &line("{\"last_id\":18446744073709551615}");
        let read = read_all(text.as_bytes());
        assert_eq!(read.records, [Record::Cancelled { id: 7, unix_ms: 5 }]);
        assert_eq!(read.left_out, 2);
    }
}
