//! An ID3v2.4 tag (id3.org, 4.0), as it stands in front of MP3 and of AAC in ADTS.
//!
//! Pure: texts to bytes.
//!
//! ```text
//! ID3 4 0 0 size | frame: id(4) size(4) 0 0 | 3, for UTF-8, and text | ..      sizes: 7 bits of each byte
//! ```

use super::Tags;

/// UTF-8 (section 4).
const UTF_8: u8 = 3;
/// Of a language that is not told (section 4.10).
const NO_LANGUAGE: &[u8; 3] = b"XXX";

impl Tags {
    /// All of them; nothing where there are none.
    pub(in crate::encode) fn id3(&self) -> Vec<u8> {
        let mut frames = Vec::new();
        for (name, texts) in self.by_name() {
            // Several texts of one frame end in a zero but for the last (section 4.2).
            let text = texts.join("\0");
            match frame_id(name, &text) {
                b"COMM" => {
                    put(b"COMM", &[NO_LANGUAGE, b"\0", texts.join("; ").as_bytes()], &mut frames)
                }
                b"TXXX" => put(b"TXXX", &[name.as_bytes(), b"\0", text.as_bytes()], &mut frames),
                id => put(id, &[text.as_bytes()], &mut frames),
            }
        }
        if frames.is_empty() {
            return frames;
        }
        [b"ID3\x04\0\0", &synchsafe(frames.len())[..], &frames].concat()
    }

    /// All texts of a name, for each name once.
    fn by_name(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let names = self
            .0
            .iter()
            .enumerate()
            .filter(|(at, (name, _))| self.0[..*at].iter().all(|(earlier, _)| earlier != name));
        names.map(|(_, (name, _))| {
            let texts = self.0.iter().filter(move |(other, _)| other == name);
            (&name[..], texts.map(|(_, text)| &text[..]).collect())
        })
    }
}

/// The frame that holds what has this name: one of its own, or that of all others, which says the name.
fn frame_id(name: &str, text: &str) -> &'static [u8; 4] {
    match name {
        "title" => b"TIT2",
        "artist" => b"TPE1",
        "album_artist" => b"TPE2",
        "album" => b"TALB",
        "track" => b"TRCK",
        "disc" => b"TPOS",
        "genre" => b"TCON",
        "date" if is_timestamp(text) => b"TDRC",
        "composer" => b"TCOM",
        "copyright" => b"TCOP",
        "publisher" => b"TPUB",
        "isrc" => b"TSRC",
        "comment" => b"COMM",
        _ => b"TXXX",
    }
}

/// Whether it is a time as ID3 writes it (section 3.2.5 of its structure): `2026`, `2026-11`, `2026-11-28`.
fn is_timestamp(text: &str) -> bool {
    let is_shaped = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    };
    matches!(text.len(), 4 | 7 | 10 | 13 | 16 | 19) && text.bytes().enumerate().all(is_shaped)
}

fn put(id: &[u8; 4], parts: &[&[u8]], frames: &mut Vec<u8>) {
    let bytes = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    frames.extend(id);
    frames.extend(synchsafe(bytes));
    frames.extend([0, 0, UTF_8]);
    parts.iter().for_each(|part| frames.extend(*part));
}

/// A number in bytes of which none looks like the start of a frame of audio.
fn synchsafe(number: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (number >> shift) as u8 & 0x7F)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::tags, *};
    use crate::encode::Codec;

    fn id3(of: &[(&str, &str)]) -> Vec<u8> {
        Tags::of(&tags(of), Codec::Mp3, true).id3()
    }

    #[test]
    fn frames_have_their_ids_their_sizes_and_utf_8() {
        let tag = id3(&[
            ("title", "é"),
            ("comment", "so"),
            ("artist", "a"),
            ("mood", "calm"),
            ("artist", "b"),
        ]);
        let frames = b"TIT2\0\0\0\x03\0\0\x03\xC3\xA9\
            COMM\0\0\0\x07\0\0\x03XXX\0so\
            TPE1\0\0\0\x04\0\0\x03a\0b\
            TXXX\0\0\0\x0A\0\0\x03mood\0calm";
        assert_eq!(tag[..10], [&b"ID3\x04\0\0\0\0\0"[..], &[frames.len() as u8]].concat());
        assert_eq!(tag[10..], *frames);
        assert!(id3(&[]).is_empty());
    }

    #[test]
    fn a_date_that_is_none_goes_under_its_name() {
        for date in ["2026", "2026-11", "2026-11-28", "2026-11-28T10:00:00"] {
            assert_eq!(id3(&[("date", date)])[10..14], *b"TDRC", "{date}");
        }
        for date in ["", "26", "11/2026", "2026-11-2x", "2026-11-28 10:00:00"] {
            assert_ne!(frame_id("date", date), b"TDRC", "{date}");
        }
    }

    #[test]
    fn sizes_have_seven_bits_in_each_byte() {
        assert_eq!(synchsafe(0x7F), [0, 0, 0, 0x7F]);
        assert_eq!(synchsafe(32 << 10), [0, 2, 0, 0]);
    }
}
