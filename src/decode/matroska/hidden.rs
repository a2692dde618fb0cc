//! What symphonia's Matroska reader is not shown: chapters, over which it trips if they lack the
//! number of their edition, which the format leaves optional (RFC 9559, 5.1.7.1.1) and libavformat
//! does not write; and cues, by which nothing here seeks, and which it would load whole.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::element::{CHAPTERS, CUES, Element, SEEK_HEAD, before_clusters};
use crate::decode::{mp4::Read, source::Patch};

/// Bytes of a list of what lies where that are looked at: real ones have a hundred.
const LIST_BYTES: u64 = 4096;

/// What is read in the place of chapters and cues before the audio: padding; and in the place of
/// the names of those behind it: names of nothing, so that they are not looked up.
pub(in crate::decode) fn without_chapters_and_cues(read: &mut Read<'_>) -> Vec<Patch> {
    let mut patches = Vec::new();
    for (at, element) in before_clusters(read) {
        match element.id {
            CHAPTERS | CUES => patches.extend(element.as_void().map(|void| (at, void))),
            SEEK_HEAD => hide_places(read, at, &element, &mut patches),
            _ => {}
        }
    }
    patches
}

/// Patches the names of chapters and cues in a list of what lies where.
fn hide_places(read: &mut Read<'_>, at: u64, list: &Element, patches: &mut Vec<Patch>) {
    /// The header of a name: `SeekID`, four bytes.
    const NAME: [u8; 3] = [0x53, 0xAB, 0x84];
    const UNKNOWN: [u8; 4] = [0x1F, 0xFF, 0xFF, 0xFE];
    let start = at + list.header_bytes;
    let mut body = vec![0; list.size.unwrap_or(0).min(LIST_BYTES) as usize];
    let got = read(start, &mut body);
    for (offset, entry) in body[..got].windows(NAME.len() + UNKNOWN.len()).enumerate() {
        let id = entry.strip_prefix(&NAME).and_then(|id| id.try_into().ok());
        if matches!(id.map(u32::from_be_bytes), Some(CHAPTERS | CUES)) {
            patches.push((start + (offset + NAME.len()) as u64, UNKNOWN.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(bytes: &[u8]) -> Vec<Patch> {
        without_chapters_and_cues(&mut |at, into| {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn segment(chapters: &[u8]) -> Vec<u8> {
        let start = b"\x1A\x45\xDF\xA3\x82ab\x18\x53\x80\x67\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
        [&start[..], b"\x15\x49\xA9\x66\x81i", chapters, b"\x1F\x43\xB6\x75\x80"].concat()
    }

    #[test]
    fn chapters_become_padding_of_the_same_length() {
        let short = segment(b"\x10\x43\xA7\x70\x83abc");
        assert_eq!(patched(&short), [(25, b"\xEC\x10\0\0\x03".to_vec())]);
        let long = segment(b"\x10\x43\xA7\x70\x01\0\0\0\0\0\0\x03abc");
        // Nine bytes of header stand in the place of twelve, so three more are content.
        assert_eq!(patched(&long), [(25, b"\xEC\x01\0\0\0\0\0\0\x06".to_vec())]);
    }

    #[test]
    fn cues_are_hidden_before_the_audio_and_behind_it() {
        let list = b"\x11\x4D\x9B\x74\x98\
                     \x4D\xBB\x89\x53\xAB\x84\x15\x49\xA9\x66ab\
                     \x4D\xBB\x89\x53\xAB\x84\x1C\x53\xBB\x6Bab";
        let cues = b"\x1C\x53\xBB\x6B\x83abc";
        let both = segment(&[&list[..], cues].concat());
        let unknown = b"\x1F\xFF\xFF\xFE".to_vec();
        let void = b"\xEC\x10\0\0\x03".to_vec();
        assert_eq!(patched(&both), [(48, unknown), (54, void)]);
    }

    #[test]
    fn without_chapters_and_in_noise_there_is_nothing_to_do() {
        assert_eq!(patched(&segment(b"")), []);
        for fill in [0u8, 1, 0x80, 0xFF] {
            assert_eq!(patched(&[fill; 5000]), []);
        }
    }
}
