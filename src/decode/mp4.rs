//! What symphonia's MP4 reader does not say: edit lists, gapless tags, codecs by name.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].
//!
//! Only small boxes are read whole (ISO/IEC 14496-12); tables are summed as they pass. Depth,
//! number of boxes and table sizes are bounded.

use super::{Error, headers::ADTS_RATES_HZ, opening::Timeline};

/// Copies bytes at a position and says how many; fewer than asked for only at the end.
pub(super) type Read<'a> = dyn FnMut(u64, &mut [u8]) -> usize + 'a;

/// Boxes looked at in one file at most: fragments of many hours stay far below.
const BOXES: u32 = 100_000;
/// Bytes of a small box that are read.
const SMALL_BYTES: usize = 4096;

/// What the boxes of a movie say.
#[derive(Debug, Default)]
pub(super) struct Movie {
    pub(super) tracks: Vec<Track>,
    /// Ticks per second of edit durations.
    timescale: u64,
    /// Delay, padding and length of iTunes' gapless tag.
    gapless: Option<(u64, u64)>,
    /// Samples come in fragments, so the tables do not say how many.
    fragmented: bool,
    /// Where the box of samples behind the movie box ends, by its header: behind the source if the
    /// file was cut. 0 if there is none.
    pub(super) media_end: u64,
    /// What its tables take of memory once they are read; `u64::MAX` where more boxes would have to
    /// be looked at than are.
    pub(super) table_bytes: u64,
}

/// What the boxes of a track say.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) is_audio: bool,
    /// The sample entry's four letters.
    pub(super) entry: [u8; 4],
    /// Object type indication of the elementary stream descriptor; 0 if there is none.
    pub(super) object_type: u8,
    /// The AudioSpecificConfig.
    pub(super) config: Vec<u8>,
    timescale: u64,
    /// Sum of all sample durations.
    ticks: u64,
    /// Duration in the movie's ticks, and where in the media (-1: silence).
    edits: Vec<(u64, i64)>,
}

/// Reads the boxes of a file. `None` if there is no movie box.
///
/// What has tables of more than `table_bytes` is read no further than to where that shows.
pub(super) fn read(read: &mut Read<'_>, table_bytes: u64) -> Option<Movie> {
    let mut walk =
        Walk { read, left: BOXES, most_table_bytes: table_bytes, movie: Movie::default() };
    let (mut at, mut is_movie) = (0, false);
    while let Some(found) = walk.header(at, u64::MAX) {
        match &found.kind {
            b"moov" => {
                // As for the reader, the last one counts.
                walk.movie = Movie { table_bytes: walk.movie.table_bytes, ..Movie::default() };
                walk.children(&found, 0);
                is_movie = true;
            }
            b"mdat" if is_movie && found.end != u64::MAX => walk.movie.media_end = found.end,
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
        let mut head = [0; 16];
        let got = (self.read)(at, &mut head);
        let kind = head[4..8].try_into().ok()?;
        let (start, length) = match u32_at(&head, 0) {
            _ if got < 8 => return None,
            0 => (at + 8, u64::MAX - at),
            1 if got == 16 => (at + 16, u64::from_be_bytes(head[8..].try_into().ok()?)),
            length => (at + 8, u64::from(length)),
        };
        let stop = at.checked_add(length)?.min(end);
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
            b"mdia" | b"minf" | b"stbl" | b"edts" | b"udta" | b"ilst" | b"----" => {
                self.children(found, depth + 1);
            }
            b"meta" => {
                let full = Found { start: found.start + 4, ..*found };
                self.children(&full, depth + 1);
            }
            b"mvex" => self.movie.fragmented = true,
            b"mvhd" => self.movie.timescale = self.timescale(found),
            b"data" => self.gapless(found),
            b"stts" => self.durations(found),
            _ => self.track_box(found),
        }
    }

    /// Boxes that say something of the last track.
    fn track_box(&mut self, found: &Found) {
        if !matches!(&found.kind, b"tkhd" | b"mdhd" | b"hdlr" | b"elst" | b"stsd") {
            return;
        }
        let timescale = self.timescale(found);
        let body = self.small(found);
        let Some(track) = self.movie.tracks.last_mut() else { return };
        match &found.kind {
            b"tkhd" => track.id = u32_at(&body, if body.first() == Some(&1) { 20 } else { 12 }),
            b"mdhd" => track.timescale = timescale,
            b"hdlr" => track.is_audio |= body.get(8..12) == Some(b"soun"),
            b"elst" => track.edits = edits(&body),
            b"stsd" => track.describe(&body),
            _ => {}
        }
    }

    /// Counts what a table takes of memory. Its number of entries may lie: they end with their box.
    fn table(&mut self, found: &Found) {
        let Some((in_file, in_memory)) = entry_bytes(&found.kind) else { return };
        let mut head = [0; 12];
        (self.read)(found.start, &mut head);
        let count = match (&found.kind, u32_at(&head, 4)) {
            (b"stsz", 0) => u32_at(&head, 8),
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

    /// iTunSMPB: ` 00000000 DELAY PADDING LENGTH ...` in hexadecimal.
    fn gapless(&mut self, found: &Found) {
        let body = self.small(found);
        let Some(text) = body.get(8..).and_then(|text| std::str::from_utf8(text).ok()) else {
            return;
        };
        let mut fields = text.split_ascii_whitespace().map(|f| u64::from_str_radix(f, 16));
        if let (Some(Ok(0)), Some(Ok(delay)), Some(Ok(_)), Some(Ok(length))) =
            (fields.next(), fields.next(), fields.next(), fields.next())
            && text.starts_with(" 00000000 ")
        {
            self.movie.gapless = Some((delay, length));
        }
    }
}

impl Track {
    /// The first sample entry: its kind and its configuration.
    fn describe(&mut self, body: &[u8]) {
        if let Some(Ok(entry)) = body.get(12..16).map(TryInto::try_into) {
            self.entry = entry;
        }
        // The descriptor is found by its name, for its place depends on the entry's version.
        let Some(at) = body.windows(4).position(|name| name == b"esds") else { return };
        let mut rest = body.get(at + 8..).unwrap_or_default();
        while let Some((tag, content, after)) = descriptor(rest) {
            rest = match tag {
                3 => content.get(3..).unwrap_or_default(),
                4 => {
                    self.object_type = content.first().copied().unwrap_or(0);
                    content.get(13..).unwrap_or_default()
                }
                5 => {
                    self.config = content.to_vec();
                    return;
                }
                _ => after,
            };
        }
    }

    /// That nothing here decodes it: by the name of its codec, or by its four letters.
    pub(super) fn unsupported(&self) -> Error {
        match self.refused() {
            Some(name) => Error::unsupported(name),
            None => Error::unsupported(self.entry.escape_ascii().to_string()),
        }
    }

    /// The name of a codec that is known and not decoded.
    pub(super) fn refused(&self) -> Option<&'static str> {
        Some(match &self.entry {
            b"ac-3" => "ac3",
            b"ec-3" => "eac3",
            b"ac-4" => "ac4",
            b"dtsc" | b"dtsh" | b"dtse" | b"dtsl" | b"dtsx" => "dts",
            b"mhm1" | b"mhm2" | b"mha1" | b"mha2" => "mpegh_3d_audio",
            b"iamf" => "iamf",
            b"Opus" => "opus",
            b"samr" => "amr_nb",
            b"sawb" => "amr_wb",
            b"enca" => "encrypted audio",
            b"mp4a" => match self.object_type {
                0xA5 => "ac3",
                0xA6 => "eac3",
                0xA9..=0xAC => "dts",
                0xDD => "vorbis in mp4",
                _ => return refused_config(&self.config),
            },
            _ => return None,
        })
    }
}

/// The name of the kind of AAC (ISO/IEC 14496-3, 1.6.2.1) that we do not decode.
///
/// A spectral band replication that is ignored would play half the band at half the rate.
pub(super) fn refused_config(config: &[u8]) -> Option<&'static str> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    match object {
        5 | 29 => return Some("aac (HE-AAC)"),
        36 => return Some("mp4als"),
        42 => return Some("aac (xHE-AAC)"),
        2 => {}
        32..=34 => return None,
        _ => return Some("aac (not Low Complexity)"),
    }
    bits.rate()?;
    if bits.take(4)? > 2 {
        return Some("aac (more than two channels)");
    }
    bits.take(3)?;
    // The backward-compatible signal behind the plain configuration.
    let is_extended = bits.take(11)? == 0x2B7 && bits.object_type()? == 5 && bits.take(1)? == 1;
    is_extended.then_some("aac (HE-AAC)")
}

/// The rate of the core by an AudioSpecificConfig. A sample entry often says that of the extension.
pub(super) fn core_rate_hz(config: &[u8]) -> Option<u32> {
    let mut bits = Bits { bytes: config, at: 0 };
    bits.object_type()?;
    bits.rate().filter(|rate| *rate > 0)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = *self.bytes.get(self.at / 8)?;
            let bit = (byte >> (7 - self.at % 8)) & 1;
            self.at += 1;
            Some((value << 1) | u32::from(bit))
        })
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object => Some(object),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => ADTS_RATES_HZ.get(index as usize).copied(),
        }
    }
}

impl Movie {
    /// Its audio tracks, whether anything here decodes them or not.
    pub(super) fn audio_tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(|track| track.is_audio)
    }

    /// How the decoded frames of a track lie on the trimmed timeline, at `rate_hz`.
    ///
    /// The end is the earlier of the gapless tag's and the samples' own; the edit list's duration,
    /// which is rounded to the movie's ticks, cuts only if it is shorter by more than one of them.
    pub(super) fn timeline(&self, track: &Track, rate_hz: u32) -> Timeline {
        let scaled = |ticks: u64, per_second: u64| {
            let frames = u128::from(ticks) * u128::from(rate_hz) / u128::from(per_second.max(1));
            u64::try_from(frames).unwrap_or(u64::MAX).min(1 << 48)
        };
        let mut silence = 0;
        let mut real = None;
        for &(duration, media_time) in &track.edits {
            match u64::try_from(media_time) {
                Err(_) => silence += scaled(duration, self.timescale),
                Ok(start) => {
                    real = Some((scaled(start, track.timescale), scaled(duration, self.timescale)));
                    break;
                }
            }
        }
        let delay = match (real, self.gapless) {
            (Some((start, _)), _) => start,
            (None, Some((delay, _))) => delay,
            (None, None) => 0,
        };
        let mut length = scaled(track.ticks, track.timescale).saturating_sub(delay);
        if let Some((_, gapless)) = self.gapless.filter(|(_, length)| *length > 0) {
            length = length.min(gapless);
        }
        let tick = scaled(1, self.timescale) + 1;
        if let Some((_, cut)) = real.filter(|(_, cut)| *cut > 0 && cut + tick < length) {
            length = cut;
        }
        let is_known = !self.fragmented && track.ticks > 0;
        Timeline {
            delay: delay as i64 - silence as i64,
            frames: is_known.then_some(length + silence),
        }
    }
}

/// Bytes of an entry of a table that symphonia's reader loads: in the file, and in memory.
fn entry_bytes(kind: &[u8; 4]) -> Option<(u64, u64)> {
    match kind {
        b"stts" | b"co64" => Some((8, 8)),
        b"stsz" | b"stco" => Some((4, 4)),
        b"stsc" => Some((12, 16)),
        b"elst" => Some((12, 24)),
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
                let word = |at: usize| u64::from_be_bytes(entry[at..at + 8].try_into().unwrap());
                (word(0), word(8) as i64)
            } else {
                (u64::from(u32_at(entry, 0)), i64::from(u32_at(entry, 4) as i32))
            }
        })
        .collect()
}

/// Tag, content and rest of an MPEG-4 descriptor.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut length = 0usize;
    for _ in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length = (length << 7) | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let length = length.min(rest.len());
    Some((tag, &rest[..length], &rest[length..]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn track(timescale: u64, ticks: u64, edits: &[(u64, i64)]) -> Track {
        Track { timescale, ticks, edits: edits.to_vec(), ..Track::default() }
    }

    #[test]
    fn the_earlier_end_wins_and_a_rounded_edit_does_not_cut() {
        let mut movie = Movie { timescale: 1000, ..Movie::default() };
        let edited = track(48_000, 69_632, &[(1428, 1024)]);
        // 1428 ms are 68,544 frames: 64 less than the samples, and more than a tick of 48.
        assert_eq!(movie.timeline(&edited, 48_000), Timeline { delay: 1024, frames: Some(68_544) });
        movie.gapless = Some((1024, 68_546));
        assert_eq!(movie.timeline(&edited, 48_000).frames, Some(68_546));
    }

    #[test]
    fn an_empty_edit_is_silence() {
        let movie = Movie { timescale: 1000, ..Movie::default() };
        let shifted = track(48_000, 48_000, &[(500, -1), (1000, 0)]);
        assert_eq!(
            movie.timeline(&shifted, 48_000),
            Timeline { delay: -24_000, frames: Some(72_000) }
        );
    }

    #[test]
    fn high_efficiency_is_named_however_it_is_signalled() {
        assert_eq!(refused_config(&[0x12, 0x10]), None);
        assert_eq!(core_rate_hz(&[0x12, 0x10]), Some(44_100));
        assert_eq!(core_rate_hz(&[0x13, 0x90]), Some(22_050));
        assert_eq!(refused_config(&[0x2B, 0x92, 0x08, 0x00]), Some("aac (HE-AAC)"));
        assert_eq!(refused_config(&[0x13, 0x90, 0x56, 0xE5, 0xA0]), Some("aac (HE-AAC)"));
    }

    /// A file that is here, as [`Read`] reads one.
    pub(in crate::decode) fn source(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> usize {
        move |at, into| {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        }
    }

    /// A box whose header says that `more` bytes follow what is there.
    fn boxed(kind: &[u8; 4], more: u32, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = 8 + content.len() as u32 + more;
        [&length.to_be_bytes()[..], kind, &content].concat()
    }

    /// A movie with one table, which says that it has `entries` and lacks its last `more` bytes.
    fn movie_of(kind: &[u8; 4], entries: u32, more: u32, content: &[u8]) -> Vec<u8> {
        let size: &[u8] = if kind == b"stsz" { &[0; 4] } else { &[] };
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
        assert_eq!(table_bytes(&movie_of(b"stsc", 20, 0, &body)), 320);
        assert_eq!(table_bytes(&movie_of(b"elst", 20, 0, &body)), 480);
        // Which the reader passes over.
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
