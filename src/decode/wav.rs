//! RIFF WAVE, RF64 and BW64: where the samples lie, and what they are.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].
//!
//! symphonia's reader refuses what every player plays: lists whose inner sizes are odd, headers of
//! unknown length, RF64. Samples in a row need no reader, only their place, and then any frame is
//! found by arithmetic. ADPCM, whose blocks are not frames, stays with symphonia.
//!
//! Sources: Microsoft's multimedia standards (1994), WAVEFORMATEXTENSIBLE, EBU Tech 3306 (RF64).

use std::ops::Range;

use super::{Error, mp4::Read};

/// Chunks that are passed before the samples are given up.
const CHUNKS: u32 = 1024;
/// A size that says nothing, or stands in another chunk.
const UNKNOWN: u32 = u32::MAX;
/// Sizes from here on are what writers to a pipe put there, for they cannot know: 2 GiB and a header
/// less, or more. They are no promise.
const PIPED_BYTES: u32 = 0x7FFF_0000;
/// Speaker positions that WAVE knows.
const POSITIONS: u32 = 18;

/// What one sample is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    U8,
    S16,
    S24,
    S32,
    F32,
    F64,
    Alaw,
    Mulaw,
}

/// A WAVE file of samples in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wav {
    pub(super) rate_hz: u32,
    pub(super) channels: u16,
    /// One bit per channel; `None` where the header does not say, or says nonsense.
    pub(super) mask: Option<u32>,
    pub(super) coding: Coding,
    /// Significant bits of an integer sample. They lie at the top of its word.
    pub(super) bits: u32,
    /// Bytes of all samples of one frame.
    pub(super) frame_bytes: u32,
    /// Where the samples lie, no further than the source; the end is `u64::MAX` if nothing says it.
    pub(super) data: Range<u64>,
    /// Where they end by the header, if it can be believed: behind `data.end` in a file that was cut.
    promised_end: u64,
    /// Chunks of text before the samples: their four letters and where they lie.
    pub(super) texts: Vec<([u8; 4], Range<u64>)>,
}

impl Wav {
    /// Whole frames that the file promises, where anything says it.
    pub(super) fn frames(&self) -> Option<u64> {
        let bytes = self.promised_end.saturating_sub(self.data.start);
        (self.promised_end != u64::MAX).then(|| bytes / u64::from(self.frame_bytes))
    }
}

/// Reads the header of a file of `length` bytes, where that is known. `None`: its blocks are not
/// samples in a row.
///
/// # Errors
/// [`Error::Unsupported`] with the format's name; [`Error::Damaged`] if samples or their format are
/// missing.
pub(super) fn read(read: &mut Read<'_>, length: Option<u64>) -> Result<Option<Wav>, Error> {
    let mut head = [0; 12];
    if read(0, &mut head) < head.len() {
        return Err(Error::damaged("the RIFF header is cut off"));
    }
    let mut walk = Walk { read, length, riff: u32_at(&head, 4), long: None, texts: Vec::new() };
    walk.chunks()
}

struct Walk<'a, 'r> {
    read: &'a mut Read<'r>,
    length: Option<u64>,
    /// The size that the RIFF header says.
    riff: u32,
    /// Size of the data by the `ds64` chunk.
    long: Option<u64>,
    texts: Vec<([u8; 4], Range<u64>)>,
}

impl Walk<'_, '_> {
    fn chunks(&mut self) -> Result<Option<Wav>, Error> {
        let (mut at, mut format) = (12u64, None);
        for _ in 0..CHUNKS {
            let Some((kind, size)) = self.header(at) else { break };
            let start = at + 8;
            match &kind {
                b"ds64" => self.long = self.long_size(start, size),
                b"fmt " => match self.format(start, size)? {
                    Some(found) => format = Some(found),
                    None => return Ok(None),
                },
                b"data" => {
                    let stated_end = self.stated_end(start, size);
                    let found = format.ok_or(Error::damaged("the samples have no format"))?;
                    return Ok(Some(self.wav(found, start, stated_end)));
                }
                b"LIST" | b"id3 " | b"ID3 " => self.text(kind, start, size),
                _ => {}
            }
            let Some(next) = start.checked_add(u64::from(size)) else { break };
            at = self.padded(next, size);
        }
        Err(Error::damaged("there is no data chunk"))
    }

    fn header(&mut self, at: u64) -> Option<([u8; 4], u32)> {
        let mut head = [0; 8];
        let got = (self.read)(at, &mut head);
        let kind = head[..4].try_into().ok()?;
        (got == head.len()).then_some((kind, u32_at(&head, 4)))
    }

    /// Where the chunk behind one of odd size starts: behind a byte of padding, which some writers
    /// forget.
    fn padded(&mut self, next: u64, size: u32) -> u64 {
        if size.is_multiple_of(2) {
            return next;
        }
        let known = [b"data", b"fmt ", b"fact", b"LIST", b"bext", b"cue "];
        match self.header(next) {
            Some((kind, _)) if known.contains(&&kind) => next,
            _ => next + 1,
        }
    }

    /// Size of the data in `ds64`, behind that of the file.
    fn long_size(&mut self, start: u64, size: u32) -> Option<u64> {
        let mut body = [0; 16];
        let got = (self.read)(start, &mut body);
        let long = u64::from_le_bytes(body[8..].try_into().ok()?);
        (got == body.len() && size >= 16).then_some(long)
    }

    fn format(&mut self, start: u64, size: u32) -> Result<Option<Format>, Error> {
        let mut body = [0; 40];
        let wanted = body.len().min(size as usize);
        let got = (self.read)(start, &mut body[..wanted]);
        Format::parse(&body[..got])
    }

    /// Where the samples end by the header; `u64::MAX` if it was written before that was known, and
    /// goes behind the source.
    fn stated_end(&mut self, start: u64, size: u32) -> u64 {
        let was_piped = size == 0 && (matches!(self.riff, 0 | UNKNOWN) || self.has_no_chunk(start));
        let end = match (size, self.long) {
            (UNKNOWN, Some(long)) => return start.saturating_add(long).min(u64::MAX - 1),
            (UNKNOWN, None) => u64::MAX,
            _ if was_piped => u64::MAX,
            (size, _) => start + u64::from(size),
        };
        let is_there = self.length.is_none_or(|length| end <= length);
        if size >= PIPED_BYTES && !is_there { u64::MAX } else { end }
    }

    /// Whether what lies there is no further chunk, and not the end.
    fn has_no_chunk(&mut self, at: u64) -> bool {
        let Some((kind, size)) = self.header(at) else { return false };
        let is_name = kind.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        let fits = self.length.is_none_or(|length| at + 8 + u64::from(size) <= length);
        !(is_name && fits)
    }

    fn text(&mut self, kind: [u8; 4], start: u64, size: u32) {
        const TEXTS: usize = 4;
        if self.texts.len() < TEXTS {
            self.texts.push((kind, start..start.saturating_add(u64::from(size))));
        }
    }

    fn wav(&mut self, format: Format, start: u64, stated_end: u64) -> Wav {
        let end = stated_end.min(self.length.unwrap_or(u64::MAX)).max(start);
        Wav {
            rate_hz: format.rate_hz,
            channels: format.channels,
            mask: format.mask,
            coding: format.coding,
            bits: format.bits,
            frame_bytes: format.frame_bytes,
            data: start..end,
            promised_end: if stated_end == u64::MAX { end } else { stated_end },
            texts: std::mem::take(&mut self.texts),
        }
    }
}

/// What the `fmt ` chunk says.
#[derive(Debug, Clone, Copy)]
struct Format {
    rate_hz: u32,
    channels: u16,
    mask: Option<u32>,
    coding: Coding,
    bits: u32,
    frame_bytes: u32,
}

impl Format {
    fn parse(body: &[u8]) -> Result<Option<Self>, Error> {
        if body.len() < 16 {
            return Err(Error::damaged("the format chunk is cut off"));
        }
        let (channels, rate_hz) = (u16_at(body, 2), u32_at(body, 4));
        let (align, stated) = (u32::from(u16_at(body, 12)), u32::from(u16_at(body, 14)));
        let extension = Extension::parse(body);
        let tag = extension.map_or(u16_at(body, 0), |extension| extension.tag);
        if matches!(tag, 0x02 | 0x11) {
            return Ok(None);
        }
        if channels == 0 || rate_hz == 0 {
            return Err(Error::damaged("the format has no channels or no rate"));
        }
        if channels > 8 {
            return Err(Error::unsupported("more than eight channels"));
        }
        let valid = extension.map_or(0, |extension| extension.bits);
        let word = if stated == 0 { valid } else { stated };
        let coding = coding(tag, word)?;
        let word_bytes = coding.bytes();
        if extension.is_none() && align != 0 && align != u32::from(channels) * word_bytes {
            // Nothing says at which end of its word such a sample lies.
            return Err(Error::unsupported("pcm in words wider than its samples"));
        }
        Ok(Some(Self {
            rate_hz,
            channels,
            mask: extension
                .map(|extension| extension.mask)
                .filter(|mask| mask.count_ones() == u32::from(channels) && *mask < 1 << POSITIONS),
            coding,
            bits: if (1..word).contains(&valid) { valid } else { word },
            frame_bytes: u32::from(channels) * word_bytes,
        }))
    }
}

/// What WAVEFORMATEXTENSIBLE adds.
#[derive(Debug, Clone, Copy)]
struct Extension {
    tag: u16,
    bits: u32,
    mask: u32,
}

impl Extension {
    fn parse(body: &[u8]) -> Option<Self> {
        let is_extended = u16_at(body, 0) == 0xFFFE && body.len() >= 40;
        is_extended.then(|| Self {
            // The format's tag is the start of its GUID.
            tag: u16_at(body, 24),
            bits: u32::from(u16_at(body, 18)),
            mask: u32_at(body, 20),
        })
    }
}

impl Coding {
    /// Bytes of one sample.
    fn bytes(self) -> u32 {
        match self {
            Self::U8 | Self::Alaw | Self::Mulaw => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// The coding of samples of `bits` by a format tag (RFC 2361).
fn coding(tag: u16, bits: u32) -> Result<Coding, Error> {
    Ok(match (tag, bits) {
        (1, 1..=8) => Coding::U8,
        (1, 9..=16) => Coding::S16,
        (1, 17..=24) => Coding::S24,
        (1, 25..=32) => Coding::S32,
        (3, 32) => Coding::F32,
        (3, 64) => Coding::F64,
        (6, _) => Coding::Alaw,
        (7, _) => Coding::Mulaw,
        (1 | 3, bits) => return Err(Error::unsupported(format!("pcm of {bits} bits"))),
        (0x31, _) => return Err(Error::unsupported("gsm_ms")),
        (0x50, _) => return Err(Error::unsupported("mp2 in wav")),
        (0x55, _) => return Err(Error::unsupported("mp3 in wav")),
        (0xFF | 0x1600 | 0x1601, _) => return Err(Error::unsupported("aac in wav")),
        (0x160..=0x163, _) => return Err(Error::unsupported("wma")),
        (0x2000, _) => return Err(Error::unsupported("ac3")),
        (0x2001, _) => return Err(Error::unsupported("dts")),
        (tag, _) => return Err(Error::unsupported(format!("wav of format {tag:#06x}"))),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let word = bytes.get(at..at + 2).and_then(|word| word.try_into().ok());
    word.map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8], length: Option<u64>) -> Result<Option<Wav>, Error> {
        let mut source = |at: u64, into: &mut [u8]| {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        };
        read(&mut source, length)
    }

    fn whole(bytes: &[u8]) -> Wav {
        parse(bytes, Some(bytes.len() as u64)).unwrap().unwrap()
    }

    fn chunk(kind: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
        [&kind[..], &size.to_le_bytes(), body].concat()
    }

    /// A `fmt ` chunk of 48 kHz.
    fn format(tag: u16, channels: u16, bits: u16) -> Vec<u8> {
        let align = channels * bits.div_ceil(8);
        let mut body = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
        body.extend(48_000u32.to_le_bytes());
        body.extend((48_000 * u32::from(align)).to_le_bytes());
        body.extend([align.to_le_bytes(), bits.to_le_bytes()].concat());
        chunk(b"fmt ", 16, &body)
    }

    fn extensible(channels: u16, word: u16, valid: u16, mask: u32, tag: u16) -> Vec<u8> {
        let mut body = format(0xFFFE, channels, word)[8..].to_vec();
        body.extend([22u16.to_le_bytes(), valid.to_le_bytes()].concat());
        body.extend(mask.to_le_bytes());
        body.extend(tag.to_le_bytes());
        body.extend(*b"\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71");
        chunk(b"fmt ", 40, &body)
    }

    fn riff(size: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
        [&b"RIFF"[..], &size.to_le_bytes(), b"WAVE", &chunks.concat()].concat()
    }

    #[test]
    fn the_data_ends_with_the_source_and_the_frames_where_the_header_says() {
        let with = |size: u32| riff(100, &[format(1, 2, 16), chunk(b"data", size, &[0; 10])]);
        assert_eq!(whole(&with(8)).frames(), Some(2));
        let cut = whole(&with(4000));
        assert_eq!((cut.frames(), cut.data), (Some(1000), 44..54), "it was cut, and promised more");
        for piped in [UNKNOWN, 0x7FFF_F000, 0x8000_0000] {
            assert_eq!(whole(&with(piped)).frames(), Some(2), "10 bytes are two frames and a half");
        }
        assert_eq!(whole(&with(0)).frames(), Some(2), "the size was never filled in");
        let text = chunk(b"LIST", 4, b"INFO");
        let empty = riff(100, &[format(1, 2, 16), chunk(b"data", 0, &[]), text]);
        assert_eq!(whole(&empty).frames(), Some(0));
        let endless = parse(&with(UNKNOWN), None).unwrap().unwrap();
        assert_eq!((endless.frames(), endless.data), (None, 44..u64::MAX));
    }

    #[test]
    fn a_header_without_any_size_was_written_to_a_pipe() {
        let piped = riff(0, &[format(1, 1, 16), chunk(b"data", 0, &[0; 10])]);
        assert_eq!(whole(&piped).frames(), Some(5));
    }

    #[test]
    fn odd_chunks_are_padded_or_not() {
        for padding in [&b"abc\0"[..], b"abc"] {
            let data = chunk(b"data", 4, &[0; 4]);
            let bytes = riff(60, &[format(1, 1, 16), chunk(b"LIST", 3, padding), data]);
            let wav = whole(&bytes);
            assert_eq!((wav.frames(), wav.texts.len()), (Some(2), 1));
        }
    }

    #[test]
    fn rf64_says_its_size_elsewhere() {
        let mut sizes = 5_000_000_000u64.to_le_bytes().to_vec();
        sizes.extend(4_800_000_000u64.to_le_bytes());
        sizes.extend([0; 12]);
        let chunks = [chunk(b"ds64", 28, &sizes), format(1, 2, 24), chunk(b"data", UNKNOWN, &[])];
        let mut bytes = riff(UNKNOWN, &chunks);
        bytes[..4].copy_from_slice(b"RF64");
        let wav = parse(&bytes, Some(6_000_000_000)).unwrap().unwrap();
        assert_eq!((wav.coding, wav.frames()), (Coding::S24, Some(800_000_000)));
    }

    #[test]
    fn an_extension_says_valid_bits_and_speakers() {
        let file = |format| riff(100, &[format, chunk(b"data", 0, &[])]);
        let wav = whole(&file(extensible(6, 32, 24, 0x60F, 1)));
        assert_eq!((wav.coding, wav.bits, wav.mask), (Coding::S32, 24, Some(0x60F)));
        assert_eq!(wav.frame_bytes, 24);
        let wav = whole(&file(extensible(2, 32, 32, 0x7, 3)));
        assert_eq!((wav.coding, wav.mask), (Coding::F32, None), "three speakers for two channels");
    }

    #[test]
    fn what_is_not_decoded_is_named() {
        let file = |tag, bits| riff(100, &[format(tag, 1, bits), chunk(b"data", 0, &[])]);
        let refused = |tag, bits| parse(&file(tag, bits), None).unwrap_err().to_string();
        assert_eq!(refused(0x55, 0), "mp3 in wav is not supported");
        assert_eq!(refused(1, 64), "pcm of 64 bits is not supported");
        assert_eq!(parse(&file(0x11, 4), None), Ok(None));
    }

    #[test]
    fn any_bytes_come_to_an_end() {
        for fill in [0u8, 1, 0xFF] {
            let mut bytes = riff(0, &[format(1, 1, 16)]);
            bytes.resize(40_000, fill);
            assert!(matches!(parse(&bytes, None), Err(Error::Damaged { .. })));
        }
    }
}
