//! The pages of Ogg, which streams they belong to, and whether others follow them.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].
//!
//! Source: RFC 3533. Streams that start together are multiplexed, streams that start behind each
//! other are chained, and each has a serial number of its own. Files that were put behind each other may
//! have one and the same all the same.

use crc_fast::{CrcAlgorithm, Digest};

use super::mp4::Read;

/// Bytes of the longest page header.
pub(super) const PAGE_HEADER_BYTES: usize = 27 + 255;
/// Streams that may start together.
const STREAMS: usize = 64;
/// Bytes of a first packet that are looked at: identification headers are shorter.
const PACKET_BYTES: usize = 64;
/// Where in a page its checksum stands.
const CHECKSUM_AT: u64 = 22;
/// Pages of headers at most, for a file that has nothing else: large pictures lie in them.
const HEADER_PAGES: usize = 4096;
/// The longest page, and the header of one more.
const TAIL_BYTES: u64 = 65_307 + 27;

/// A stream that starts at the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) serial: u32,
    /// The start of its first packet, which says what it is.
    pub(super) packet: Vec<u8>,
}

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) serial: u32,
    /// Its number within the stream.
    pub(super) sequence: u32,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// It begins with the rest of a packet that began before it.
    pub(super) is_continued: bool,
    /// Frames up to its end, or whatever the codec counts; -1 if no packet ends on it.
    pub(super) granule: i64,
    /// Packets that end on it.
    packets: usize,
    header_bytes: u64,
    body_bytes: u64,
}

impl Page {
    /// Parses the header at the start of `bytes`, of which [`PAGE_HEADER_BYTES`] are enough.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..27).filter(|head| head.starts_with(b"OggS\0"))?;
        let lacing = bytes.get(27..27 + usize::from(head[26]))?;
        Some(Self {
            serial: u32::from_le_bytes(head[14..18].try_into().ok()?),
            sequence: u32::from_le_bytes(head[18..22].try_into().ok()?),
            is_continued: head[5] & 1 != 0,
            is_first: head[5] & 2 != 0,
            is_last: head[5] & 4 != 0,
            granule: i64::from_le_bytes(head[6..14].try_into().ok()?),
            packets: lacing.iter().filter(|length| **length < 255).count(),
            header_bytes: 27 + lacing.len() as u64,
            body_bytes: lacing.iter().map(|length| u64::from(*length)).sum(),
        })
    }

    fn read(read: &mut Read<'_>, at: u64) -> Option<Self> {
        let mut head = [0; PAGE_HEADER_BYTES];
        let got = read(at, &mut head);
        Self::parse(&head[..got])
    }

    pub(super) fn bytes(&self) -> u64 {
        self.header_bytes + self.body_bytes
    }

    /// Whether the page of this header, which `bytes` hold, is as it was written.
    pub(super) fn is_sound(bytes: &[u8]) -> bool {
        bytes.get(22..26).is_some_and(|said| said == checksum(bytes).to_le_bytes())
    }

    /// The packets in the page that `bytes` hold, the last of which may go on with the next page:
    /// the length of each and whether it ends here.
    pub(super) fn packets(bytes: &[u8]) -> impl Iterator<Item = (usize, bool)> {
        let lacing = &bytes[27..27 + usize::from(bytes[26])];
        let packets = lacing.chunk_by(|length, _| *length == 255);
        packets.map(|parts| {
            let length = parts.iter().map(|length| usize::from(*length)).sum();
            (length, parts.last().is_some_and(|length| *length < 255))
        })
    }

    /// What the page that `bytes` hold carries.
    pub(super) fn body<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.header_bytes as usize..][..self.body_bytes as usize]
    }
}

/// The checksum of a page, taken as if the place of its own were zero: that of POSIX without the
/// complement.
fn checksum(page: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Cksum);
    [&page[..22], &[0; 4], &page[26..]].iter().for_each(|part| digest.update(part));
    !(digest.finalize() as u32)
}

/// The streams that start together at the start of the file, in its order.
pub(super) fn streams(read: &mut Read<'_>) -> Vec<Stream> {
    let (mut at, mut streams) = (0, Vec::new());
    while streams.len() < STREAMS
        && let Some(page) = Page::read(read, at).filter(|page| page.is_first)
    {
        let mut packet = vec![0; PACKET_BYTES.min(page.body_bytes as usize)];
        let got = read(at + page.header_bytes, &mut packet);
        packet.truncate(got);
        streams.push(Stream { serial: page.serial, packet });
        at += page.bytes();
    }
    streams
}

/// The end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Its last sound page.
    pub(super) last: Page,
    /// Bytes of the longest page there.
    longest: u64,
    /// Where it begins to be looked at.
    from: u64,
    /// Where the last stream begins, if it does so there.
    first_at: Option<u64>,
}

impl Tail {
    /// That of a file of `length` bytes.
    pub(super) fn read(read: &mut Read<'_>, length: u64) -> Option<Self> {
        let from = length.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; (length - from) as usize];
        let got = read(from, &mut tail);
        let tail = &tail[..got];
        let sound = |at: usize| {
            let page = Page::parse(&tail[at..])?;
            let is_sound = tail.get(at..at + page.bytes() as usize).is_some_and(Page::is_sound);
            is_sound.then_some((from + at as u64, page))
        };
        let pages: Vec<_> = (0..tail.len()).rev().filter_map(sound).collect();
        let longest = pages.iter().map(|(_, page)| page.bytes()).max()?;
        let first = pages.iter().find(|(_, page)| page.is_first);
        Some(Self { last: pages[0].1, longest, from, first_at: first.map(|(at, _)| *at) })
    }

    /// Whether a file of `length` bytes that begins with one stream seems to be several, though all have the
    /// number of that: another begins here; or there is room for half as many pages of audio again as the
    /// last one counts, though each were as long as the longest here. One that is longer than all that come
    /// before it is not found.
    pub(super) fn is_of_several(&self, read: &mut Read<'_>, length: u64) -> bool {
        let (header_bytes, headers) = headers(read);
        // Pages that are not counted are all of number 0.
        if self.from <= header_bytes || self.last.sequence == 0 {
            return self.first_at.is_some_and(|at| at >= header_bytes);
        }
        let pages = (u64::from(self.last.sequence) + 1).saturating_sub(headers);
        let audio_bytes = length.saturating_sub(header_bytes);
        self.first_at.is_some() || audio_bytes / 3 * 2 > pages.saturating_mul(self.longest)
    }
}

/// Bytes and number of the pages before the first of audio.
fn headers(read: &mut Read<'_>) -> (u64, u64) {
    let (mut at, mut pages) = (0, 0);
    while pages < HEADER_PAGES as u64
        && let Some(page) = Page::read(read, at).filter(|page| page.granule <= 0)
    {
        (at, pages) = (at + page.bytes(), pages + 1);
    }
    (at, pages)
}

/// Where the first page of audio of each stream that starts with the file says a checksum that is not its
/// own, and that which would be: for a reader that opens no stream whose first page of audio is damaged.
pub(super) fn false_checksums(read: &mut Read<'_>) -> Vec<(u64, Vec<u8>)> {
    let (mut at, mut streams, mut seen) = (0, 0, Vec::new());
    let mut found = Vec::new();
    for _ in 0..HEADER_PAGES {
        let Some(page) = Page::read(read, at) else { break };
        streams += usize::from(page.is_first);
        if page.granule > 0 && !seen.contains(&page.serial) {
            seen.push(page.serial);
            let mut bytes = vec![0; page.bytes() as usize];
            if read(at, &mut bytes) == bytes.len() && !Page::is_sound(&bytes) {
                found.push((at + CHECKSUM_AT, checksum(&bytes).to_le_bytes().to_vec()));
            }
        }
        if seen.len() >= streams.min(STREAMS) {
            break;
        }
        at += page.bytes();
    }
    found
}

/// Whether the file of `length` bytes is whole and holds `packets` headers and no audio.
pub(super) fn is_headers_only(read: &mut Read<'_>, length: u64, packets: usize) -> bool {
    let (mut at, mut seen) = (0, 0);
    for _ in 0..HEADER_PAGES {
        if at == length {
            return seen >= packets;
        }
        let Some(page) = Page::read(read, at).filter(|page| page.granule <= 0) else { break };
        seen += page.packets;
        at += page.bytes();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(flags: u8, granule: i64, serial: u32, packet: &[u8]) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(granule.to_le_bytes());
        page.extend(serial.to_le_bytes());
        page.extend([0; 8]);
        page.extend([1, packet.len() as u8]);
        page.extend(packet);
        sealed(page)
    }

    fn last_serial(bytes: &[u8]) -> Option<u32> {
        Tail::read(&mut source(bytes), bytes.len() as u64).map(|tail| tail.last.serial)
    }

    fn source(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> usize + '_ {
        |at, into| {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        }
    }

    #[test]
    fn streams_that_start_together_are_found_and_one_behind_them_is_a_chain() {
        let together = [page(2, 0, 7, b"\x80theora"), page(2, 0, 8, b"\x01vorbis")].concat();
        let first = [&together[..], &page(0, 100, 8, &[9; 200]), &page(4, 200, 7, b"v")].concat();
        let found = streams(&mut source(&first));
        assert_eq!(found.iter().map(|stream| stream.serial).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(found[1].packet, b"\x01vorbis");
        assert_eq!(last_serial(&first), Some(7));
        let both = [first, page(2, 0, 9, b"\x01vorbis"), page(4, 50, 9, b"a")].concat();
        assert_eq!(last_serial(&both), Some(9));
        assert_eq!(last_serial(&both[..both.len() - 1]), Some(9), "its first page is whole");
    }

    #[test]
    fn a_file_that_has_many_more_pages_than_its_last_counts_is_several() {
        let link = |pages: u32| -> Vec<u8> {
            let numbered = |number| numbered(number, &[7; 200]);
            (0..pages).flat_map(numbered).collect()
        };
        let is_several = |bytes: &[u8]| {
            let (mut read, length) = (source(bytes), bytes.len() as u64);
            Tail::read(&mut read, length).unwrap().is_of_several(&mut read, length)
        };
        assert!(!is_several(&link(2)) && !is_several(&link(1000)));
        assert!(is_several(&link(500).repeat(2)) && is_several(&[link(300), link(500)].concat()));
        let short = [page(2, 0, 7, b"h"), link(9)].concat();
        assert!(!is_several(&short) && is_several(&[link(2), short].concat()));
        // A picture among the headers is not audio.
        let mut picture = page(0, 0, 7, b"");
        picture.splice(26.., [255; 1 + 255].into_iter().chain([7; 255 * 255]));
        let headers = [page(2, 0, 7, b"h"), sealed(picture).repeat(9)].concat();
        let one = numbered(0, &[7; 200]).len();
        assert!(!is_several(&[&headers[..], &link(410)[10 * one..]].concat()));
        // Nothing tells this from pages that are shorter at the end.
        assert!(!is_several(&[link(200), link(500)].concat()));
        // Its writer does not count.
        assert!(!is_several(&numbered(0, &[7; 200]).repeat(500)));
    }

    fn numbered(number: u32, packet: &[u8]) -> Vec<u8> {
        let mut page = page(0, 9, 7, packet);
        page[18..22].copy_from_slice(&number.to_le_bytes());
        sealed(page)
    }

    fn sealed(mut page: Vec<u8>) -> Vec<u8> {
        let sum = checksum(&page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn headers_alone_are_a_file_without_audio_and_cut_ones_are_not() {
        let headers = [page(2, 0, 7, b"\x01"), page(0, 0, 7, b"\x03"), page(4, 0, 7, b"\x05")];
        let whole = headers.concat();
        let length = whole.len() as u64;
        assert!(is_headers_only(&mut source(&whole), length, 3));
        assert!(!is_headers_only(&mut source(&whole), length, 4));
        assert!(!is_headers_only(&mut source(&whole[..whole.len() - 1]), length - 1, 3));
        let audio = [whole, page(4, 64, 7, b"a")].concat();
        assert!(!is_headers_only(&mut source(&audio), audio.len() as u64, 3));
    }

    #[test]
    fn any_bytes_come_to_an_end() {
        for fill in [0u8, 0xFF, b'O'] {
            let bytes = [b"OggS\0\x02".to_vec(), vec![fill; 9000]].concat();
            let found = streams(&mut source(&bytes));
            assert_eq!((found.len() <= 1, last_serial(&bytes)), (true, None));
            assert!(!is_headers_only(&mut source(&bytes), bytes.len() as u64, 1));
        }
    }
}
