//! The Core Audio Format: where the audio lies, what it is, and which of its frames are heard.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].
//!
//! Packets follow each other without a header of their own. Where they are not of one length, a table says how
//! long each is, before them or behind. It is not read here: entries of it are, one at a time ([`entry`]).
//!
//! Source: Apple Core Audio Format Specification 1.0.

use std::ops::Range;

use super::{
    Error,
    mp4::{Pcm, Read, u32_at, u64_at},
};

/// Chunks that are looked at: real files have a dozen.
const CHUNKS: u32 = 1024;
/// The longest cookie that is read: that of AAC has 39 bytes.
const COOKIE_BYTES: u64 = 4096;
/// Bytes of the header of the file, and of that of a chunk.
const FILE_HEADER_BYTES: u64 = 8;
const CHUNK_HEADER_BYTES: usize = 12;
/// Bytes before the packets that count how often they were edited.
const EDITS_BYTES: u64 = 4;
/// Bytes of a packet table before its entries.
const TABLE_HEADER_BYTES: usize = 24;
/// Channels of which the layout is known.
const CHANNELS: usize = 8;

/// What the chunks of a file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caf {
    pub(super) format: Format,
    /// What the decoder is told.
    pub(super) cookie: Vec<u8>,
    /// One bit per channel by WAVE, where they lie in the order of its bits.
    pub(super) mask: Option<u32>,
    pub(super) table: Option<Table>,
    /// Where the packets lie, no further than the source; the end is `u64::MAX` if nothing says it.
    pub(super) data: Range<u64>,
    /// Where they end by the header: behind `data.end` in a file that was cut.
    promised_end: u64,
    /// Where texts lie, if there are any.
    pub(super) texts: Option<Range<u64>>,
}

/// What the packets are (`desc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) rate_hz: u32,
    /// Its four letters.
    pub(super) kind: [u8; 4],
    flags: u32,
    /// Bytes and frames of each packet; 0 where the table says them.
    pub(super) packet_bytes: u32,
    pub(super) packet_frames: u32,
    pub(super) channels: u16,
    pub(super) bits: u32,
}

/// What the table says of all packets (`pakt`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) packets: u64,
    /// Frames that are heard; those before them, and those behind.
    pub(super) frames: u64,
    pub(super) priming: u64,
    pub(super) remainder: u64,
    /// Where the entries lie.
    pub(super) entries: Range<u64>,
}

impl Caf {
    /// Bytes of packets that the file promises, where anything says it.
    pub(super) fn promised_bytes(&self) -> Option<u64> {
        let bytes = self.promised_end.saturating_sub(self.data.start);
        (self.promised_end != u64::MAX).then_some(bytes)
    }
}

impl Format {
    fn parse(body: &[u8; 32]) -> Result<Self, Error> {
        let rate = f64::from_be_bytes(*body.first_chunk().expect("32 bytes"));
        let format = Self {
            // What is no number is 0.
            rate_hz: rate.round() as u32,
            kind: *body[8..].first_chunk().expect("32 bytes"),
            flags: u32_at(body, 12),
            packet_bytes: u32_at(body, 16),
            packet_frames: u32_at(body, 20),
            channels: u16::try_from(u32_at(body, 24)).unwrap_or(u16::MAX),
            bits: u32_at(body, 28),
        };
        if format.rate_hz == 0 || format.channels == 0 {
            return Err(Error::damaged("the format has no channels or no rate"));
        }
        Ok(format)
    }

    /// What plain samples are. `None`: it is another codec.
    pub(super) fn pcm(&self) -> Option<Pcm> {
        const IS_FLOAT: u32 = 1;
        const IS_LITTLE_ENDIAN: u32 = 2;
        /// More than these there are none of.
        const MOST_BITS: u32 = 64;
        match &self.kind {
            b"alaw" => Some(Pcm::Alaw),
            b"ulaw" => Some(Pcm::Mulaw),
            b"lpcm" => Some(Pcm::Plain {
                // Bits that fill no whole bytes lie at their top.
                bits: self.bits.min(MOST_BITS + 1).next_multiple_of(8) as u16,
                is_float: self.flags & IS_FLOAT != 0,
                is_signed: true,
                is_big_endian: self.flags & IS_LITTLE_ENDIAN == 0,
            }),
            _ => None,
        }
    }

    /// Whether a table has to say how long packets are.
    pub(super) fn needs_table(&self) -> bool {
        self.packet_bytes == 0 || self.packet_frames == 0
    }
}

/// Reads the chunks of a file of `length` bytes, where that is known. Those behind the packets are looked at
/// where they are at hand, or where nothing before them said how long packets are.
///
/// # Errors
/// [`Error::Damaged`] if packets, or what they are, are missing.
pub(super) fn read(
    read: &mut Read<'_>,
    length: Option<u64>,
    is_at_hand: bool,
) -> Result<Caf, Error> {
    let mut walk = Walk { read, length, is_at_hand, format: None, found: Found::default() };
    walk.chunks()?;
    let format = walk.format.ok_or(Error::damaged("there is no description of the packets"))?;
    let Found { cookie, mask, table, data, texts } = walk.found;
    let (data, promised_end) = data.ok_or(Error::damaged("there is no data chunk"))?;
    Ok(Caf { format, cookie, mask, table, data, promised_end, texts })
}

struct Walk<'a, 'r> {
    read: &'a mut Read<'r>,
    length: Option<u64>,
    is_at_hand: bool,
    format: Option<Format>,
    found: Found,
}

/// What chunks have said.
#[derive(Default)]
struct Found {
    cookie: Vec<u8>,
    mask: Option<u32>,
    table: Option<Table>,
    /// Where packets lie, and where they end by the header.
    data: Option<(Range<u64>, u64)>,
    texts: Option<Range<u64>>,
}

impl Walk<'_, '_> {
    fn chunks(&mut self) -> Result<(), Error> {
        let mut at = FILE_HEADER_BYTES;
        for _ in 0..CHUNKS {
            let mut head = [0; CHUNK_HEADER_BYTES];
            if (self.read)(at, &mut head) < head.len() {
                break;
            }
            let start = at + CHUNK_HEADER_BYTES as u64;
            // Negative: to the end of the file.
            let end = u64::try_from(u64_at(&head, 4) as i64).ok();
            let end = end.and_then(|bytes| start.checked_add(bytes)).unwrap_or(u64::MAX);
            self.take(head.first_chunk().expect("4 bytes"), start..end)?;
            let is_enough = self.found.data.is_some() && !self.wants_more();
            if end == u64::MAX || is_enough {
                break;
            }
            at = end;
        }
        Ok(())
    }

    /// Whether something behind the packets says more of them, and can be had for that.
    fn wants_more(&self) -> bool {
        let Some(format) = self.format.filter(|_| self.found.table.is_none()) else { return false };
        let is_alone = format.pcm().is_some();
        format.needs_table() || self.is_at_hand && !is_alone
    }

    fn take(&mut self, kind: &[u8; 4], body: Range<u64>) -> Result<(), Error> {
        match kind {
            b"desc" if self.format.is_none() => self.format = Some(self.format(&body)?),
            b"kuki" => self.found.cookie = self.bytes(&body, COOKIE_BYTES),
            b"chan" => self.found.mask = mask_of(&self.bytes(&body, LAYOUT_BYTES)),
            b"pakt" if self.found.table.is_none() => self.found.table = self.table(&body),
            b"info" if self.found.texts.is_none() => self.found.texts = Some(body),
            b"data" if self.found.data.is_none() => {
                let start = body.start.saturating_add(EDITS_BYTES);
                let end = body.end.min(self.length.unwrap_or(u64::MAX)).max(start);
                let promised = if body.end == u64::MAX { end } else { body.end.max(start) };
                self.found.data = Some((start..end, promised));
            }
            _ => {}
        }
        Ok(())
    }

    fn bytes(&mut self, body: &Range<u64>, most: u64) -> Vec<u8> {
        let mut bytes = vec![0; (body.end - body.start).min(most) as usize];
        let got = (self.read)(body.start, &mut bytes);
        bytes.truncate(got);
        bytes
    }

    fn format(&mut self, body: &Range<u64>) -> Result<Format, Error> {
        let bytes = self.bytes(body, 32);
        let body = bytes.first_chunk().ok_or(Error::damaged("its description is cut off"))?;
        Format::parse(body)
    }

    fn table(&mut self, body: &Range<u64>) -> Option<Table> {
        let head = self.bytes(body, TABLE_HEADER_BYTES as u64);
        let is_whole = head.len() == TABLE_HEADER_BYTES;
        // What would be negative is not said.
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        let word = |at| count((u32_at(&head, at) as i32).into());
        is_whole.then(|| Table {
            packets: count(u64_at(&head, 0) as i64),
            frames: count(u64_at(&head, 8) as i64),
            priming: word(16),
            remainder: word(20),
            entries: body.start + TABLE_HEADER_BYTES as u64..body.end,
        })
    }
}

/// One number of an entry of a table: seven bits of each byte, as long as their highest is set. `byte` gives the
/// next. `None`: it ends, or it is longer than any.
pub(super) fn entry(mut byte: impl FnMut() -> Option<u8>) -> Option<u64> {
    const LONGEST: u32 = 9;
    let mut value = 0;
    for _ in 0..LONGEST {
        let next = byte()?;
        value = value << 7 | u64::from(next & 0x7F);
        if next & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Bytes of a description of a channel, and of a layout that describes as many as are played.
const DESCRIPTION_BYTES: usize = 20;
const LAYOUT_BYTES: u64 = (12 + CHANNELS * DESCRIPTION_BYTES) as u64;

/// The channels of a layout (`chan`), where they lie in the order that WAVE has them.
fn mask_of(layout: &[u8]) -> Option<u32> {
    /// By tags for layouts that many have: mono, stereo, for headphones, and those of MPEG and DVD that are in that
    /// order.
    const TAGS: [(u32, u32); 7] = [
        (100 << 16 | 1, 0x4),
        (101 << 16 | 2, 0x3),
        (102 << 16 | 2, 0x3),
        (113 << 16 | 3, 0x7),
        (121 << 16 | 6, 0x3F),
        (126 << 16 | 8, 0xFF),
        (136 << 16 | 4, 0xF),
    ];
    const BY_DESCRIPTIONS: u32 = 0;
    const BY_MASK: u32 = 1 << 16;
    match (layout.len() >= 12).then(|| u32_at(layout, 0))? {
        BY_MASK => Some(u32_at(layout, 4)),
        BY_DESCRIPTIONS => {
            let count =
                usize::try_from(u32_at(layout, 8)).ok().filter(|count| *count <= CHANNELS)?;
            let labels = (0..count).map(|channel| u32_at(layout, 12 + channel * DESCRIPTION_BYTES));
            in_order(labels)
        }
        tag => TAGS.iter().find(|(known, _)| *known == tag).map(|(_, mask)| *mask),
    }
}

/// The mask of channels by their labels, of which the first 18 are those of WAVE, if each comes behind the one
/// before.
fn in_order(labels: impl Iterator<Item = u32>) -> Option<u32> {
    let mut mask = 0;
    for label in labels {
        let bit = (1..=18).contains(&label).then(|| 1 << (label - 1))?;
        mask = (bit > mask).then_some(mask | bit)?;
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mp4::tests::source;

    fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [kind, &(body.len() as u64).to_be_bytes()[..], body].concat()
    }

    fn desc(kind: &[u8; 4], flags: u32, packet: (u32, u32), bits: u32) -> Vec<u8> {
        let words = [flags, packet.0, packet.1, 2, bits].map(u32::to_be_bytes).concat();
        chunk(b"desc", &[&48_000f64.to_be_bytes()[..], kind, &words].concat())
    }

    fn pakt(frames: i64, priming: i32) -> Vec<u8> {
        let head = [3, frames].map(i64::to_be_bytes).concat();
        let trim = [priming, -7].map(i32::to_be_bytes).concat();
        chunk(b"pakt", &[&head[..], &trim, &[5, 0x81, 0, 7]].concat())
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        [b"caff\0\x01\0\0".to_vec(), chunks.concat()].concat()
    }

    fn parsed(bytes: &[u8], is_at_hand: bool) -> Result<Caf, Error> {
        read(&mut source(bytes), Some(bytes.len() as u64), is_at_hand)
    }

    #[test]
    fn chunks_are_found_in_any_order() {
        let (desc, kuki) = (desc(b"alac", 0, (0, 4096), 0), chunk(b"kuki", b"cookie"));
        let (pakt, data) = (pakt(9000, 16), chunk(b"data", &[1; 140]));
        let free = chunk(b"free", &[0xFF; 99]);
        for order in [[&free, &kuki, &pakt, &data], [&data, &free, &pakt, &kuki]] {
            let chunks: Vec<_> = [&desc].into_iter().chain(order).cloned().collect();
            let caf = parsed(&file(&chunks), true).expect("it is one");
            assert_eq!((caf.format.rate_hz, caf.format.channels), (48_000, 2));
            assert_eq!(caf.data.end - caf.data.start, 136);
            assert_eq!(caf.promised_bytes(), Some(136));
            let table = caf.table.expect("a table");
            assert_eq!((table.packets, table.frames, table.priming), (3, 9000, 16));
            assert_eq!((table.remainder, table.entries.end - table.entries.start), (0, 4));
        }
    }

    #[test]
    fn audio_may_go_on_to_the_end_or_be_cut_before_it() {
        let mut streamed = file(&[desc(b"lpcm", 2, (4, 1), 16), chunk(b"data", &[0; 24])]);
        let at = streamed.len() - 24 - 8;
        for (said, end, promised) in
            [(u64::MAX, 20, Some(20)), (404, 20, Some(400)), (2, 0, Some(0))]
        {
            streamed[at..at + 8].copy_from_slice(&said.to_be_bytes());
            let caf = parsed(&streamed, true).expect("it is one");
            assert_eq!((caf.data.end - caf.data.start, caf.promised_bytes()), (end, promised));
        }
        streamed[at..at + 8].fill(0xFF);
        let endless = read(&mut source(&streamed), None, false).expect("it is one");
        assert_eq!((endless.data.end, endless.promised_bytes()), (u64::MAX, None));
    }

    #[test]
    fn what_lies_behind_the_packets_is_looked_at_where_it_is_wanted_or_at_hand() {
        let behind = |desc: Vec<u8>, is_at_hand| {
            let bytes = file(&[desc, chunk(b"data", &[0; 40]), pakt(9, 0)]);
            parsed(&bytes, is_at_hand).expect("it is one").table.is_some()
        };
        assert!(behind(desc(b"alac", 0, (0, 4096), 0), false), "else nothing can be played");
        assert!(behind(desc(b"ima4", 0, (34, 64), 0), true));
        assert!(!behind(desc(b"ima4", 0, (34, 64), 0), false));
        assert!(!behind(desc(b"lpcm", 0, (4, 1), 16), true));
    }

    #[test]
    fn flags_say_what_samples_are() {
        let pcm = |flags, bits| {
            let desc = desc(b"lpcm", flags, (0, 1), bits);
            Format::parse(desc[12..].first_chunk().unwrap()).unwrap().pcm()
        };
        let plain = |bits, is_float, is_big_endian| {
            Some(Pcm::Plain { bits, is_float, is_signed: true, is_big_endian })
        };
        assert_eq!(pcm(0, 16), plain(16, false, true));
        assert_eq!(pcm(2, 20), plain(24, false, false));
        assert_eq!(pcm(1, 32), plain(32, true, true));
        assert_eq!(pcm(3, 64), plain(64, true, false));
        assert_eq!(pcm(0, u32::MAX), plain(72, false, true), "of none that there are");
    }

    #[test]
    fn numbers_of_a_table_have_seven_bits_in_each_byte() {
        let read = |bytes: &[u8]| {
            let mut bytes = bytes.iter().copied();
            let number = entry(|| bytes.next());
            number.map(|number| (number, bytes.len()))
        };
        assert_eq!(read(&[0x7F, 9]), Some((127, 1)));
        assert_eq!(read(&[0x81, 0x80, 0x01]), Some((16_385, 0)));
        assert_eq!(read(&[0x81]), None, "cut off");
        assert_eq!(read(&[0xFF; 20]), None, "longer than any");
    }

    #[test]
    fn a_layout_counts_where_it_is_in_the_order_of_wave() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let layout = |head: &[u32], labels: &[u32]| {
            let mut bytes: Vec<u8> = words(head);
            labels.iter().for_each(|label| bytes.extend::<Vec<u8>>(words(&[*label, 0, 0, 0, 0])));
            mask_of(&bytes)
        };
        assert_eq!(layout(&[121 << 16 | 6, 0, 0], &[]), Some(0x3F));
        assert_eq!(layout(&[122 << 16 | 6, 0, 0], &[]), None, "the centre comes last");
        assert_eq!(layout(&[1 << 16, 0x60F, 0], &[]), Some(0x60F));
        assert_eq!(layout(&[0, 0, 4], &[1, 2, 10, 11]), Some(0x603));
        assert_eq!(layout(&[0, 0, 2], &[2, 1]), None);
        assert_eq!(layout(&[0, 0, 9], &[1; 9]), None);
        assert_eq!(mask_of(&[0; 11]), None);
    }

    #[test]
    fn no_bytes_go_through_chunks_without_end() {
        for fill in [0, 1, 0x7F, 0xFF] {
            assert!(parsed(&file(&[vec![fill; 5000]]), true).is_err());
        }
        let odd = desc(b"lpcm", 0, (4, 1), 16);
        for at in 12..20 {
            let mut bytes = file(&[odd.clone(), chunk(b"data", &[0; 40])]);
            bytes[8 + at] = 0xFF;
            let _ = parsed(&bytes, true);
        }
    }
}
