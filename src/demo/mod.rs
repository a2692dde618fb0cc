//! The node's own music: "Seven strings", a short piece for two lyres, in most formats that the
//! node reads, and as a presentation of [`hls`].
//!
//! The files are part of the binary, so that `kithara serve --demo` needs neither a network nor a
//! disk full of music; the origin that serves them stands in a layer above. They are composed by
//! `bench-harness/examples/compose.rs` and encoded by `scripts/demo/make`.
//!
//! Pure: no I/O, no clock, no executor.

#![forbid(unsafe_code)]

pub mod hls;

/// One file of the demo, and what is true of it.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name at the demo origin: `demo:` and this name is a source.
    pub name: &'static str,
    /// The media type an origin serves it with (RFC 9110, section 8.3).
    pub content_type: &'static str,
    /// How it is coded, in the codec's common name.
    pub codec: Codec,
    /// What was recorded; files of one recording and a lossless codec decode to the same frames.
    pub recording: Recording,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u16,
    /// Frames from the first to the last that is heard: without encoder delay and padding wherever
    /// the file tells them, whole packets where it does not.
    pub frames: u64,
    /// The file itself.
    pub bytes: &'static [u8],
}

/// A codec of a demo file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// MPEG-1 audio layer 3.
    Mp3,
    /// AAC, low complexity.
    Aac,
    /// FLAC, 16 bit.
    Flac,
    /// Vorbis.
    Vorbis,
    /// Apple lossless, 16 bit.
    Alac,
    /// Plain samples of 16 bit.
    Pcm,
}

impl Codec {
    /// Whether a decode gives back the recording bit for bit.
    pub fn is_lossless(self) -> bool {
        matches!(self, Codec::Flac | Codec::Alac | Codec::Pcm)
    }
}

/// What a demo file is a recording of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// The whole piece: 24 s, 44.1 kHz.
    Piece,
    /// Its first bars: 5.2 s, 44.1 kHz, stereo.
    Opening,
    /// Its last seconds: 4.1 s, 22.05 kHz, mono.
    Close,
}

impl Recording {
    /// Frames that were recorded.
    pub fn frames(self) -> u64 {
        match self {
            Recording::Piece => 1_058_400,
            Recording::Opening => 229_320,
            Recording::Close => 90_404,
        }
    }
}

/// What `FILES` is made of, without the words that repeat.
macro_rules! file {
    ($name:literal, $type:literal, $codec:ident, $recording:ident, $rate:literal, $channels:literal,
     $frames:expr) => {
        File {
            name: $name,
            content_type: $type,
            codec: Codec::$codec,
            recording: Recording::$recording,
            rate_hz: $rate,
            channels: $channels,
            frames: $frames,
            bytes: include_bytes!(concat!("material/", $name)),
        }
    };
}

/// Every file of the demo. The first is the one to try first.
///
/// `strings-bare.mp3` and `strings.aac` say nothing of encoder delay and padding, so all of their
/// packets count: 920 of 1152 frames and 225 of 1024.
pub const FILES: &[File] = &[
    file!("strings.mp3", "audio/mpeg", Mp3, Piece, 44_100, 2, 1_058_400),
    file!("strings-bare.mp3", "audio/mpeg", Mp3, Piece, 44_100, 1, 920 * 1152),
    file!("strings.m4a", "audio/mp4", Aac, Piece, 44_100, 2, 1_058_400),
    file!("strings-moov-last.m4a", "audio/mp4", Aac, Opening, 44_100, 2, 229_320),
    file!("strings.aac", "audio/aac", Aac, Opening, 44_100, 2, 225 * 1024),
    file!("strings.flac", "audio/flac", Flac, Opening, 44_100, 2, 229_320),
    file!("strings.ogg", "audio/ogg", Vorbis, Piece, 44_100, 2, 1_058_400),
    file!("strings-alac.m4a", "audio/mp4", Alac, Close, 22_050, 1, 90_404),
    file!("strings.wav", "audio/wav", Pcm, Close, 22_050, 1, 90_404),
    file!("strings.aiff", "audio/aiff", Pcm, Close, 22_050, 1, 90_404),
];

/// The file of that name.
pub fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(name: &str) -> &'static [u8] {
        file(name).expect("is in the table").bytes
    }

    fn frames(name: &str) -> u64 {
        file(name).expect("is in the table").frames
    }

    /// The body of the first chunk of that name in an IFF file; sizes by `size`.
    fn chunk(file: &'static [u8], name: &[u8; 4], size: fn([u8; 4]) -> u32) -> &'static [u8] {
        let mut at = 12;
        loop {
            let head: [u8; 4] = file[at + 4..at + 8].try_into().expect("a chunk head");
            let body = &file[at + 8..][..size(head) as usize];
            if file[at..].starts_with(name) {
                return body;
            }
            at += 8 + body.len().next_multiple_of(2);
        }
    }

    fn position_of(haystack: &[u8], needle: &[u8]) -> usize {
        haystack.windows(needle.len()).position(|part| part == needle).expect("is in the file")
    }

    #[test]
    fn all_of_it_is_small() {
        let total: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!((1_000_000..2_000_000).contains(&total), "{total} bytes");
        let total: usize = hls::PARTS.iter().map(|part| part.bytes.len()).sum();
        assert!((1_000_000..1_500_000).contains(&total), "{total} bytes");
    }

    #[test]
    fn every_name_is_found_once() {
        for wanted in FILES {
            assert_eq!(file(wanted.name).map(|file| file.bytes), Some(wanted.bytes));
            assert_eq!(FILES.iter().filter(|file| file.name == wanted.name).count(), 1);
        }
        assert!(file("strings").is_none());
    }

    #[test]
    fn lossless_files_have_the_frames_that_were_recorded() {
        for file in FILES.iter().filter(|file| file.codec.is_lossless()) {
            assert_eq!(file.frames, file.recording.frames(), "{}", file.name);
        }
    }

    #[test]
    fn wav_and_aiff_are_the_same_samples() {
        let wav = chunk(bytes("strings.wav"), b"data", u32::from_le_bytes);
        let aiff = chunk(bytes("strings.aiff"), b"SSND", u32::from_be_bytes);
        let swapped: Vec<u8> = aiff[8..].chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        assert_eq!(wav, swapped);
        assert_eq!(wav.len() as u64, frames("strings.wav") * 2);
    }

    #[test]
    fn flac_says_its_frames_in_streaminfo() {
        // RFC 9639, section 8.2: 36 bits after rate, channels and depth.
        let file = bytes("strings.flac");
        let word = u64::from_be_bytes(file[18..26].try_into().expect("eight bytes"));
        assert_eq!(word & 0xf_ffff_ffff, frames("strings.flac"));
        assert_eq!(word >> 44, 44_100);
    }

    #[test]
    fn vorbis_ends_at_the_granule_of_its_frames() {
        let file = bytes("strings.ogg");
        let last = file.windows(4).rposition(|part| part == b"OggS").expect("a page");
        let granule = u64::from_le_bytes(file[last + 6..last + 14].try_into().expect("8 bytes"));
        assert_eq!(granule, frames("strings.ogg"));
    }

    #[test]
    fn sample_tables_have_the_frames_and_1024_of_encoder_delay() {
        for name in ["strings.m4a", "strings-moov-last.m4a"] {
            let at = position_of(bytes(name), b"stts") + 8;
            let word = |index: usize| {
                let from = at + 4 * index;
                u32::from_be_bytes(bytes(name)[from..from + 4].try_into().expect("four bytes"))
            };
            let entries = word(0) as usize;
            let total: u64 = (0..entries)
                .map(|entry| u64::from(word(1 + 2 * entry)) * u64::from(word(2 + 2 * entry)))
                .sum();
            assert_eq!(total, frames(name) + 1024, "{name}");
        }
    }

    #[test]
    fn moov_lies_first_in_one_file_and_last_in_the_other() {
        let moov_is_first =
            |name| position_of(bytes(name), b"moov") < position_of(bytes(name), b"mdat");
        assert!(moov_is_first("strings.m4a"));
        assert!(!moov_is_first("strings-moov-last.m4a"));
    }

    #[test]
    fn only_one_mp3_tells_its_encoder_delay() {
        // The LAME tag: delay and padding are 12 bits each, 21 bytes after its name; Xing counts
        // the packets, itself not among them.
        let file = bytes("strings.mp3");
        let lame = position_of(file, b"LAME3");
        let trim = u32::from_be_bytes([0, file[lame + 21], file[lame + 22], file[lame + 23]]);
        let xing = position_of(file, b"Xing");
        let packets = u32::from_be_bytes(file[xing + 8..xing + 12].try_into().expect("four bytes"));
        let total = u64::from(packets) * 1152;
        assert_eq!(total - u64::from(trim >> 12) - u64::from(trim & 0xfff), frames("strings.mp3"));

        let bare = bytes("strings-bare.mp3");
        assert!(!bare.windows(4).any(|part| part == b"Xing" || part == b"Info"));
    }

    #[test]
    fn files_without_a_length_count_their_packets() {
        // ISO/IEC 13818-7, section 6.2: 13 bits of packet length from bit 30 of the ADTS header.
        let file = bytes("strings.aac");
        let (mut at, mut packets) = (0, 0);
        while at < file.len() {
            let word = u32::from_be_bytes(file[at + 3..at + 7].try_into().expect("a header"));
            at += (word >> 13 & 0x1fff) as usize;
            packets += 1;
        }
        assert_eq!(packets * 1024, frames("strings.aac"));

        // ISO/IEC 11172-3, section 2.4.2.3: layer 3 at 64 kbit/s has 144 * 64000 / 44100 bytes and
        // one more where the padding bit is set.
        let file = bytes("strings-bare.mp3");
        let (mut at, mut packets) = (0, 0);
        while at < file.len() {
            assert_eq!(file[at..at + 2], [0xff, 0xfb]);
            at += 208 + usize::from(file[at + 2] >> 1 & 1);
            packets += 1;
        }
        assert_eq!((at, packets * 1152), (file.len(), frames("strings-bare.mp3")));
    }
}
