//! Opening a cache of a million objects: seconds until the node is ready, memory for each object.
//!
//! `cargo bench --bench recovery [-- OBJECTS]`. The journals are written as a node leaves them, by
//! the codecs of the format: once as a compaction does, once as the objects came, record by record.
//! Recovery does not look at `data` but for its length, so that is sparse. Then the release node
//! opens the cache with two shards; what an empty cache of the same size takes is taken off, from
//! what it has when it is ready and from the most it had on the way there.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use kithara::storage::{
    BLOCK_BYTES, CHUNK_BYTES, Directory, Format, Generation, ObjectId,
    format::{
        Filled, HEAD_CHUNK, Meta, PAGE_BYTES, PAGE_ROOM, Record, SUPERBLOCK_BYTES, Superblock,
        Whose, seal,
    },
};
use kithara_bench::{Node, Scratch, Table, median};

const SIZE: &str = "512GiB";
const SIZE_BYTES: u64 = 512 << 30;
const MEMORY: &str = "2GiB";
const SHARDS: usize = 2;
const ROUNDS: usize = 3;

/// What is asked: seconds for a million objects, and bytes for an object and for each of its chunks.
const NEEDED_SECONDS: f64 = 1.5;
const NEEDED_BYTES: u64 = 200;
const NEEDED_CHUNK_BYTES: u64 = 8;

/// How the records of an object came into the journal.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Compacted,
    AsItCame,
}

fn main() {
    let objects = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let objects: u64 = objects.unwrap_or(1_000_000);
    println!(
        "{objects} objects, {SHARDS} shards, median of {ROUNDS}; file cache dropped by direct I/O"
    );
    let heads = ["chunks each, journal", "MB", "seconds", "needed", "B/object", "peak", "needed"];
    let table = Table::new(24, heads);
    for (chunks, written) in [
        (1, Written::Compacted),
        (1, Written::AsItCame),
        (4, Written::Compacted),
        (4, Written::AsItCame),
    ] {
        let scratch = Scratch::new("recovery");
        let empty = scratch.path().join("empty");
        Directory::lock(&empty, SIZE_BYTES).expect("a new directory");
        let full = scratch.path().join("full");
        let journal_bytes = fill(&full, objects, chunks, written);
        let (none_seconds, none_bytes, none_peak) = open(&empty);
        let (seconds, bytes, peak) = open(&full);
        let name = if written == Written::Compacted { "compacted" } else { "as it came" };
        table.row([
            format!("{chunks}, {name}"),
            format!("{:.0}", journal_bytes as f64 / 1e6),
            format!("{:.2}", seconds - none_seconds),
            format!("{NEEDED_SECONDS}"),
            format!("{:.0}", (bytes - none_bytes) / objects as f64),
            format!("{:.0}", (peak - none_peak) / objects as f64),
            format!("{}", NEEDED_BYTES + NEEDED_CHUNK_BYTES * u64::from(chunks)),
        ]);
    }
}

/// Seconds until a node over `cache` is ready, the memory it has by then, and the most it had.
fn open(cache: &Path) -> (f64, f64, f64) {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        let node = Node::open(SHARDS, cache, SIZE, MEMORY);
        let (seconds, usage) = (start.elapsed().as_secs_f64(), node.usage());
        (seconds, (usage.private_bytes as f64, usage.peak_bytes as f64))
    });
    let (seconds, bytes): (_, Vec<_>) = rounds.unzip();
    let (private, peak) = bytes.into_iter().unzip();
    (median(seconds), median(private), median(peak))
}

/// Makes a cache of so many objects; how long its journals are together.
fn fill(dir: &Path, objects: u64, chunks: u32, written: Written) -> u64 {
    let format = Directory::lock(dir, SIZE_BYTES).expect("a new directory").format();
    let volumes = u64::from(format.volumes);
    let each = |volume: u64| objects / volumes + u64::from(volume < objects % volumes);
    (0..volumes).map(|volume| fill_volume(dir, format, volume, each(volume), chunks, written)).sum()
}

fn fill_volume(
    dir: &Path,
    format: Format,
    volume: u64,
    objects: u64,
    chunks: u32,
    written: Written,
) -> u64 {
    let dir = dir.join(format!("volume.{volume}"));
    fs::create_dir_all(&dir).expect("the target directory can be written");
    let Format { uuid, volumes } = format;
    let whose = Whose { uuid, volume: volume as u32, epoch: 7 };
    let first = Superblock { uuid, volume: whose.volume, sequence: 2, journal: 0, epoch: 7 };
    let mut copies = [0; 2 * SUPERBLOCK_BYTES];
    let at = first.copy() as usize;
    copies[at..at + SUPERBLOCK_BYTES].copy_from_slice(&first.encode());
    fs::write(dir.join("super"), copies).expect("it can be written");
    let mut journal = Journal::new(File::create(dir.join("journal.0")).expect("a file"), whose);
    let mut block = 0;
    for number in 0..objects {
        // Spread as hashes are, in its volume.
        let spread = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let object = ObjectId(spread - spread % u128::from(volumes) + u128::from(volume));
        records(object, chunks, &mut block, written).iter().for_each(|record| journal.push(record));
    }
    let data = File::create(dir.join("data")).expect("a file");
    data.set_len(u64::from(block) * BLOCK_BYTES).expect("a sparse file");
    journal.end()
}

/// The records of one object, which takes the blocks from `block` on.
fn records(object: ObjectId, chunks: u32, block: &mut u32, written: Written) -> Vec<Record> {
    let generation = Generation(object.0 as u64 ^ 1);
    let begun = Meta { born: 1 << 30, expires: 1 << 31, ..Meta::default() };
    let length = u64::from(chunks) * CHUNK_BYTES - 100;
    let known = Meta { length: Some(length), validator: 3, ..begun };
    let mut fills = vec![filled(HEAD_CHUNK, 400, block)];
    for chunk in 0..chunks {
        let part = (length - u64::from(chunk) * CHUNK_BYTES).min(CHUNK_BYTES);
        fills.push(filled(chunk, part as u32, block));
    }
    let said = |meta| Record::Object { object, generation, meta };
    let fill = |chunks| Record::Fill { object, generation, chunks };
    match written {
        Written::Compacted => vec![said(Meta { committed: true, ..known }), fill(fills)],
        Written::AsItCame => {
            let mut all = vec![said(Meta::default()), said(begun), said(known)];
            all.extend(fills.into_iter().map(|filled| fill(vec![filled])));
            all.push(Record::Commit { object, generation, length });
            all
        }
    }
}

fn filled(chunk: u32, bytes: u32, block: &mut u32) -> Filled {
    let at = *block;
    *block += bytes.div_ceil(BLOCK_BYTES as u32);
    Filled { chunk, block: at, part: 0..bytes, checksum: at }
}

/// A journal that is being written.
struct Journal {
    file: BufWriter<File>,
    whose: Whose,
    page: Vec<u8>,
    number: u32,
}

impl Journal {
    fn new(file: File, whose: Whose) -> Self {
        Self { file: BufWriter::new(file), whose, page: Vec::new(), number: 0 }
    }

    fn push(&mut self, record: &Record) {
        if self.page.len() + record.encoded_len() > PAGE_ROOM {
            self.flush();
        }
        record.encode(&mut self.page);
    }

    fn flush(&mut self) {
        let mut page = [0; PAGE_BYTES];
        let used = self.page.len();
        page[PAGE_BYTES - PAGE_ROOM..][..used].copy_from_slice(&self.page);
        seal(&mut page, used, &self.whose, self.number);
        self.file.write_all(&page).expect("there is room");
        self.page.clear();
        self.number += 1;
    }

    /// How long it is.
    fn end(mut self) -> u64 {
        self.flush();
        let file = self.file.into_inner().expect("there is room");
        file.sync_all().expect("there is room");
        u64::from(self.number) * PAGE_BYTES as u64
    }
}
