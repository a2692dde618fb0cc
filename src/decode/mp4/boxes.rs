//! The boxes of a movie (ISO/IEC 14496-12), as far as they are looked at before it is played.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::{
    BOX_HEADER_BYTES, Defaults, Entry, Gapless, Movie, Read, Track, box_header, u32_at, u64_at,
};
use crate::decode::AudioTrack;

/// Boxes looked at in one file at most: fragments of many hours stay far below.
const BOXES: u32 = 100_000;
/// Bytes of the name of a track that are kept.
const NAME_BYTES: usize = 256;
/// Texts of tags that are kept.
const TAGS: usize = 64;
/// Bytes of a small box that are read.
const SMALL_BYTES: usize = 4096;

/// Reads the boxes of a file. `None` if there is no movie box.
///
/// What has tables of more than `table_bytes` is read no further than to where that shows.
pub(in crate::decode) fn read(read: &mut Read<'_>, table_bytes: u64) -> Option<Movie> {
    let mut walk =
        Walk { read, left: BOXES, most_table_bytes: table_bytes, movie: Movie::default() };
    let (mut at, mut is_movie) = (0, false);
    while let Some(found) = walk.header(at, u64::MAX) {
        match &found.kind {
            b"moov" => {
                // The last one counts.
                let (table_bytes, first_media) = (walk.movie.table_bytes, walk.movie.first_media);
                walk.movie = Movie { table_bytes, first_media, ..Movie::default() };
                walk.children(&found, 0);
                is_movie = true;
            }
            b"mdat" | b"moof" => {
                walk.movie.first_media.get_or_insert(at);
            }
            _ => {}
        }
        let is_media = matches!(&found.kind, b"mdat" | b"moof");
        if found.end == u64::MAX || (is_movie && is_media) {
            break;
        }
        at = found.end;
    }
    (is_movie || walk.is_too_large()).then_some(walk.movie)
}

struct Walk<'a, 'r> {
    read: &'a mut Read<'r>,
    left: u32,
    /// What all tables may take of memory.
    most_table_bytes: u64,
    movie: Movie,
}

/// One box: its kind, and where its payload lies.
struct Found {
    kind: [u8; 4],
    start: u64,
    end: u64,
}

impl Walk<'_, '_> {
    /// The box at `at`, cut to `end`. `None` also where nothing of the file will be played.
    fn header(&mut self, at: u64, end: u64) -> Option<Found> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.movie.table_bytes = u64::MAX,
        }
        if self.is_too_large() {
            return None;
        }
        let mut head = [0; BOX_HEADER_BYTES];
        let got = (self.read)(at, &mut head);
        let (kind, start, stop) = box_header(&head[..got], at)?;
        let stop = stop.min(end);
        (start <= stop).then_some(Found { kind, start, end: stop })
    }

    fn is_too_large(&self) -> bool {
        self.movie.table_bytes > self.most_table_bytes
    }

    fn children(&mut self, parent: &Found, depth: u32) {
        let mut at = parent.start;
        while let Some(child) = (at < parent.end).then(|| self.header(at, parent.end)).flatten() {
            self.visit(&child, depth);
            at = child.end;
        }
    }

    fn visit(&mut self, found: &Found, depth: u32) {
        const DEPTH: u32 = 10;
        self.table(found);
        if depth > DEPTH || self.is_too_large() {
            return;
        }
        match &found.kind {
            b"trak" => {
                self.movie.tracks.push(Track::default());
                self.children(found, depth + 1);
            }
            b"mdia" | b"minf" | b"stbl" | b"edts" | b"udta" => {
                self.children(found, depth + 1);
            }
            b"meta" => {
                let full = Found { start: found.start + 4, ..*found };
                self.children(&full, depth + 1);
            }
            b"mvex" => {
                self.movie.fragmented = true;
                self.children(found, depth + 1);
            }
            b"trex" => self.defaults(found),
            b"mvhd" => self.movie.timescale = self.timescale(found),
            b"ilst" => self.tags(found),
            b"stts" => self.durations(found),
            _ => self.track_box(found),
        }
    }

    /// Boxes that say something of the last track.
    fn track_box(&mut self, found: &Found) {
        if !matches!(&found.kind, b"tkhd" | b"mdhd" | b"elng" | b"hdlr" | b"elst" | b"stsd") {
            return;
        }
        let timescale = self.timescale(found);
        let body = self.small(found);
        let Some(track) = self.movie.tracks.last_mut() else { return };
        match &found.kind {
            b"tkhd" => track.id = u32_at(&body, if body.first() == Some(&1) { 20 } else { 12 }),
            b"mdhd" => {
                track.timescale = timescale;
                track.language = track.language.take().or_else(|| language(&body));
            }
            b"elng" => {
                track.language =
                    AudioTrack::language(&text(body.get(4..))).or(track.language.take())
            }
            b"hdlr" if body.get(8..12) == Some(b"soun") => {
                track.is_audio = true;
                track.name = Some(text(body.get(24..))).filter(|name| is_name(name));
            }
            b"elst" => track.edits = edits(&body),
            b"stsd" => track.entry = Entry::parse(&body).unwrap_or_default(),
            _ => {}
        }
    }

    /// What the samples of a track's fragments are where those do not say it.
    fn defaults(&mut self, found: &Found) {
        let body = self.small(found);
        let [track, ticks, bytes] = [4, 12, 16].map(|at| u32_at(&body, at));
        self.movie.defaults.push(Defaults { track, ticks, bytes });
    }

    /// Notes where a table lies, and counts what it takes of memory. Its number of entries may lie:
    /// they end with their box.
    fn table(&mut self, found: &Found) {
        if let Some(track) = self.movie.tracks.last_mut() {
            let (tables, range) = (&mut track.tables, found.start..found.end);
            match &found.kind {
                b"stts" => tables.durations = range,
                b"stsc" => tables.chunks = range,
                kind @ (b"stsz" | b"stz2") => {
                    (tables.sizes, tables.is_compact) = (range, kind == b"stz2");
                }
                kind @ (b"stco" | b"co64") => {
                    (tables.offsets, tables.is_long) = (range, kind == b"co64");
                }
                _ => {}
            }
        }
        let Some((in_file, in_memory)) = entry_bytes(&found.kind) else { return };
        let mut head = [0; 12];
        (self.read)(found.start, &mut head);
        let count = match (&found.kind, u32_at(&head, 4)) {
            (b"stsz", 0) | (b"stz2", _) => u32_at(&head, 8),
            // Samples of one size need no table.
            (b"stsz", _) => 0,
            (_, count) => count,
        };
        let entries = u64::from(count).min((found.end - found.start) / in_file);
        self.movie.table_bytes += entries * in_memory;
    }

    fn small(&mut self, found: &Found) -> Vec<u8> {
        let mut body = vec![0; (found.end - found.start).min(SMALL_BYTES as u64) as usize];
        let got = (self.read)(found.start, &mut body);
        body.truncate(got);
        body
    }

    /// Ticks per second out of `mvhd` or `mdhd`.
    fn timescale(&mut self, found: &Found) -> u64 {
        let body = self.small(found);
        u64::from(u32_at(&body, if body.first() == Some(&1) { 20 } else { 12 }))
    }

    /// Sums a time-to-sample table.
    fn durations(&mut self, found: &Found) {
        // Entries take as much in the file as in memory.
        let end =
            found.end.min(found.start.saturating_add(8).saturating_add(self.most_table_bytes));
        let (mut at, mut ticks) = (found.start + 8, 0u64);
        let mut piece = [0; SMALL_BYTES];
        while at < end {
            let wanted = (end - at).min(SMALL_BYTES as u64) as usize;
            let got = (self.read)(at, &mut piece[..wanted]);
            for entry in piece[..got].chunks_exact(8) {
                let (count, delta) = (u32_at(entry, 0), u32_at(entry, 4));
                ticks = ticks.saturating_add(u64::from(count) * u64::from(delta));
            }
            if got < wanted {
                break;
            }
            at += got as u64;
        }
        if let Some(track) = self.movie.tracks.last_mut() {
            track.ticks = ticks;
        }
    }

    /// The items of a list of tags.
    fn tags(&mut self, list: &Found) {
        let mut at = list.start;
        while let Some(item) = (at < list.end).then(|| self.header(at, list.end)).flatten() {
            self.tag(&item);
            at = item.end;
        }
    }

    fn tag(&mut self, item: &Found) {
        let mut name: String = item.kind.iter().map(|letter| char::from(*letter)).collect();
        let mut at = item.start;
        while let Some(part) = (at < item.end).then(|| self.header(at, item.end)).flatten() {
            let body = self.small(&part);
            let text = || String::from_utf8_lossy(body.get(4..).unwrap_or_default()).into_owned();
            match &part.kind {
                b"mean" => name = text(),
                b"name" => name = format!("{name}:{}", text()),
                b"data" => {
                    self.gapless(&body);
                    let has_room = self.movie.tags.len() < TAGS;
                    let value = match &item.kind {
                        b"trkn" | b"disk" => number_of(&body),
                        _ => text_of(&body),
                    };
                    if let Some(value) = value.filter(|_| has_room) {
                        self.movie.tags.push((name.clone(), value));
                    }
                }
                _ => {}
            }
            at = part.end;
        }
    }

    /// iTunSMPB: ` 00000000 DELAY PADDING LENGTH ...` in hexadecimal.
    fn gapless(&mut self, body: &[u8]) {
        let Some(text) = body.get(8..).and_then(|text| std::str::from_utf8(text).ok()) else {
            return;
        };
        let mut fields = text.split_ascii_whitespace().map(|f| u64::from_str_radix(f, 16));
        if let (Some(Ok(0)), Some(Ok(delay)), Some(Ok(padding)), Some(Ok(length))) =
            (fields.next(), fields.next(), fields.next(), fields.next())
            && text.starts_with(" 00000000 ")
        {
            self.movie.gapless = Some(Gapless { delay, padding, length });
        }
    }
}

/// The text of a tag, if it is one.
fn text_of(body: &[u8]) -> Option<String> {
    let text = body.get(8..)?;
    let pairs = text.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    match u32_at(body, 0) {
        1 | 4 => Some(String::from_utf8_lossy(text).into_owned()),
        2 | 5 => Some(String::from_utf16_lossy(&pairs.collect::<Vec<_>>())),
        _ => None,
    }
}

/// The language of a media header: three letters of 5 bits each. Smaller numbers are of QuickTime's own.
fn language(body: &[u8]) -> Option<String> {
    let at = if body.first() == Some(&1) { 32 } else { 20 };
    let packed = u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]);
    let letters = [10, 5, 0].map(|shift| char::from(0x60 + (packed >> shift & 0x1F) as u8));
    let is_code = packed >= 0x400 && letters.iter().all(char::is_ascii_lowercase);
    AudioTrack::language(&letters.iter().collect::<String>()).filter(|_| is_code)
}

/// Text up to its zero, or behind its length as QuickTime has it.
fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let bytes = match bytes.split_first() {
        Some((length, rest)) if usize::from(*length) == rest.len() => rest,
        _ => bytes,
    };
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end.min(NAME_BYTES)]).trim().to_owned()
}

/// Whether a handler was given a name: most have one of their kind.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.to_ascii_lowercase().contains("handler")
}

/// Which of how many something is, as a text; no number is 0.
fn number_of(body: &[u8]) -> Option<String> {
    let number = |at| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    match (number(10)?, number(12).unwrap_or(0)) {
        (0, _) => None,
        (number, 0) => Some(number.to_string()),
        (number, total) => Some(format!("{number}/{total}")),
    }
}

/// Bytes of an entry of a table: in the file, and in memory.
fn entry_bytes(kind: &[u8; 4]) -> Option<(u64, u64)> {
    match kind {
        b"stts" | b"co64" => Some((8, 8)),
        b"stsz" | b"stco" => Some((4, 4)),
        // Of 16 bits; shorter ones end with their box.
        b"stz2" => Some((2, 2)),
        b"stsc" => Some((12, 12)),
        b"elst" => Some((12, 16)),
        _ => None,
    }
}

/// Entries of an edit list.
fn edits(body: &[u8]) -> Vec<(u64, i64)> {
    let is_long = body.first() == Some(&1);
    let entries = body.get(8..).unwrap_or_default().chunks_exact(if is_long { 20 } else { 12 });
    entries
        .map(|entry| {
            if is_long {
                (u64_at(entry, 0), u64_at(entry, 8) as i64)
            } else {
                (u64::from(u32_at(entry, 0)), i64::from(u32_at(entry, 4) as i32))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::source, *};

    /// A box whose header says that `more` bytes follow what is there.
    fn boxed(kind: &[u8; 4], more: u32, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = 8 + content.len() as u32 + more;
        [&length.to_be_bytes()[..], kind, &content].concat()
    }

    /// A movie with one table, which says that it has `entries` and lacks its last `more` bytes.
    fn movie_of(kind: &[u8; 4], entries: u32, more: u32, content: &[u8]) -> Vec<u8> {
        let size: &[u8] = if matches!(kind, b"stsz" | b"stz2") { &[0; 4] } else { &[] };
        let table = boxed(kind, more, &[&[0; 4], size, &entries.to_be_bytes(), content]);
        let inside = [b"stbl", b"minf", b"mdia", b"trak", b"moov"];
        let movie = inside.iter().fold(table, |inner, kind| boxed(kind, more, &[&inner]));
        [&boxed(b"ftyp", 0, &[b"M4A "])[..], &movie].concat()
    }

    fn table_bytes(file: &[u8]) -> u64 {
        read(&mut source(file), 1 << 40).map_or(0, |movie| movie.table_bytes)
    }

    #[test]
    fn tables_are_counted_as_they_lie_in_memory() {
        let body = [0; 240];
        for (kind, entries, bytes) in
            [(b"stsz", 60, 240), (b"stco", 60, 240), (b"co64", 30, 240), (b"stts", 30, 240)]
        {
            assert_eq!(table_bytes(&movie_of(kind, entries, 0, &body)), bytes, "{kind:?}");
        }
        assert_eq!(table_bytes(&movie_of(b"stz2", 120, 0, &body)), 240);
        assert_eq!(table_bytes(&movie_of(b"stsc", 20, 0, &body)), 240);
        assert_eq!(table_bytes(&movie_of(b"elst", 20, 0, &body)), 320);
        assert_eq!(table_bytes(&movie_of(b"ctts", 30, 0, &body)), 0);
        let of_one_size = [&[0, 0, 0, 9][..], &u32::MAX.to_be_bytes()].concat();
        assert_eq!(
            table_bytes(&boxed(b"moov", 0, &[&boxed(b"stsz", 0, &[&[0; 4], &of_one_size])])),
            0
        );
    }

    #[test]
    fn a_lying_number_of_entries_ends_with_its_box() {
        assert!((240..=252).contains(&table_bytes(&movie_of(b"stsz", u32::MAX, 0, &[0; 240]))));
        assert_eq!(table_bytes(&movie_of(b"stsz", 2, 0, &[0; 240])), 8);
        assert!((240..=252).contains(&table_bytes(&movie_of(b"stz2", u32::MAX, 0, &[0; 240]))));
    }

    #[test]
    fn a_table_longer_than_its_file_is_seen_by_its_header() {
        let file = movie_of(b"stsz", 5 << 20, 20 << 20, &[]);
        assert_eq!(table_bytes(&file), 20 << 20);
        let second = boxed(b"moov", 0, &[]);
        let replaced = [&file[..12], &second, &file[12..]].concat();
        assert_eq!(table_bytes(&replaced), 20 << 20, "a second movie box is the one that counts");
    }

    #[test]
    fn what_is_too_large_is_read_no_further() {
        let file = movie_of(b"stts", 3 << 20, 24 << 20, &[]);
        let mut furthest = 0;
        let mut watched = |at: u64, into: &mut [u8]| {
            furthest = furthest.max(at);
            source(&file)(at, into)
        };
        assert!(read(&mut watched, 16 << 20).unwrap().table_bytes > 16 << 20);
        assert!(furthest < file.len() as u64);
        let boxes = boxed(b"free", 0, &[]).repeat(BOXES as usize + 1);
        assert_eq!(table_bytes(&boxes), u64::MAX);
    }

    #[test]
    fn any_bytes_come_to_an_end() {
        for fill in [0u8, 1, 0xFF] {
            assert!(read(&mut source(&[fill; 5000]), u64::MAX).is_none());
        }
    }
}
