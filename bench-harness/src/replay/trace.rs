//! Sequences of requests: recorded ones from files, and generated ones that sound like music.

use std::{collections::HashMap, fs, io, path::Path};

use super::random::Random;

/// Somebody asked for an object.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Which.
    pub object: u64,
    /// How long it is. In the traces an object never changes its length.
    pub bytes: u64,
}

/// A sequence of requests.
#[derive(Debug, Clone)]
pub struct Trace {
    /// For people.
    pub name: String,
    /// In their order.
    pub requests: Vec<Request>,
}

impl Trace {
    /// Bytes of all objects, each counted once.
    pub fn unique_bytes(&self) -> u64 {
        let objects: HashMap<_, _> = self.requests.iter().map(|r| (r.object, r.bytes)).collect();
        objects.values().sum()
    }
}

/// The recorded traces in a directory, by name: files in the oracleGeneral layout, 24 bytes a
/// request, little endian: u32 time, u64 object, u32 size, i64 next access.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn recorded(dir: &Path) -> io::Result<Vec<Trace>> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = name.strip_suffix(".oracleGeneral.bin") {
            let requests = fs::read(&path)?.chunks_exact(24).map(request).collect();
            traces.push(Trace { name: name.to_owned(), requests });
        }
    }
    traces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(traces)
}

fn request(record: &[u8]) -> Request {
    let object = u64::from_le_bytes(record[4..12].try_into().expect("eight bytes"));
    let bytes = u32::from_le_bytes(record[12..16].try_into().expect("four bytes"));
    Request { object, bytes: bytes.into() }
}

/// Traces of `requests` requests each, as an audio node may see them: listeners, listeners and a
/// crawler, and listeners whose taste drifts.
pub fn generated(requests: usize) -> Vec<Trace> {
    let (no_crawler, still) = (0, 0);
    vec![
        listeners("sessions", requests, no_crawler, still),
        listeners("crawler", requests, 25, still),
        listeners("drift", requests, no_crawler, 2000),
    ]
}

const TRACKS: u64 = 2000;
const SESSIONS: usize = 64;
/// The popularity of the track of rank r is r to the power of minus this.
const ZIPF: f64 = 0.9;

/// Sessions over tracks of 10 to 60 segments: most begin at the first and go on, some skip the rest
/// of the track, some jump inside it. Of a hundred requests `crawled` are of a crawler that takes
/// every segment of every track in turn. Each `drift` requests a track is released that is the most
/// popular at once, and every other one is a rank less so; never, if 0.
fn listeners(name: &str, requests: usize, crawled: u64, drift: usize) -> Trace {
    let mut random = Random(name.len() as u64);
    let ranks = Zipf::new(TRACKS, ZIPF);
    let mut sessions = [(0, u64::MAX); SESSIONS];
    let mut crawler = (0, 0);
    let one = |at: usize| {
        if random.below(100) < crawled {
            crawler = if crawler.1 < segments(crawler.0) { crawler } else { (crawler.0 + 1, 0) };
            crawler.1 += 1;
            return segment(crawler.0 % TRACKS, crawler.1 - 1);
        }
        let session = &mut sessions[random.below(SESSIONS as u64) as usize];
        if session.1 >= segments(session.0) || random.below(100) < 3 {
            let released = at.checked_div(drift).unwrap_or(0) as u64;
            *session = (ranks.draw(&mut random) + TRACKS - released % TRACKS, 0);
        } else if random.below(100) < 2 {
            session.1 = random.below(segments(session.0));
        }
        session.1 += 1;
        segment(session.0, session.1 - 1)
    };
    Trace { name: name.to_owned(), requests: (0..requests).map(one).collect() }
}

fn segments(track: u64) -> u64 {
    10 + Random(track % TRACKS).below(51)
}

/// One segment: ten seconds at 64 to 320 kbit/s, the last one shorter.
fn segment(track: u64, number: u64) -> Request {
    let mut random = Random(track ^ 0x5eed);
    let full = 10 * [8000, 16_000, 24_000, 40_000][random.below(4) as usize];
    let last = 1000 + random.below(full - 1000);
    let is_last = number + 1 == segments(track);
    Request { object: track << 8 | number, bytes: if is_last { last } else { full } }
}

/// Draws ranks, the first the most often.
struct Zipf {
    /// Weights of the ranks up to each.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(ranks: u64, exponent: f64) -> Self {
        let weight = |sum: &mut f64, rank: u64| {
            *sum += (rank as f64).powf(-exponent);
            Some(*sum)
        };
        Self { sums: (1..=ranks).scan(0.0, weight).collect() }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let all = self.sums[self.sums.len() - 1];
        let at = random.next() as f64 / u64::MAX as f64 * all;
        self.sums.partition_point(|sum| *sum < at) as u64
    }
}
