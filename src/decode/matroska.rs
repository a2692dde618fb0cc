//! What symphonia's Matroska reader trips over: chapters without the number of their edition, which
//! the format leaves optional (RFC 9559, 5.1.7.1.1) and libavformat does not write.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::mp4::Read;

/// Elements before the first cluster that are looked at.
const ELEMENTS: u32 = 64;
const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1F43_B675;
const CHAPTERS: u32 = 0x1043_A770;

/// Bytes to read in the place of others, so that the chapters before the audio are padding.
pub(super) fn without_chapters(read: &mut Read<'_>) -> Option<(u64, Vec<u8>)> {
    let mut at = 0;
    for _ in 0..ELEMENTS {
        let element = Element::read(read, at)?;
        at = match element.id {
            SEGMENT => at + element.header_bytes,
            CLUSTER => return None,
            CHAPTERS => return Some((at, element.as_void()?)),
            EBML => at.checked_add(element.header_bytes + element.size?)?,
            _ => at.checked_add(element.header_bytes)?.checked_add(element.size?)?,
        };
    }
    None
}

/// The header of an element.
struct Element {
    id: u32,
    /// `None` if it is not known.
    size: Option<u64>,
    header_bytes: u64,
}

impl Element {
    fn read(read: &mut Read<'_>, at: u64) -> Option<Self> {
        let mut head = [0; 12];
        let got = read(at, &mut head);
        let head = &head[..got];
        let id_bytes = head.first()?.leading_zeros() as usize + 1;
        if id_bytes > 4 {
            return None;
        }
        let id = head.get(..id_bytes)?.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
        let size = head.get(id_bytes..)?;
        let size_bytes = size.first()?.leading_zeros() as usize + 1;
        let value = size.get(..size_bytes)?.iter().fold(0, |v, byte| (v << 8) | u64::from(*byte));
        let marked = 1u64 << (7 * size_bytes);
        let value = value & (marked - 1);
        Some(Self {
            id,
            size: (value != marked - 1).then_some(value),
            header_bytes: (id_bytes + size_bytes) as u64,
        })
    }

    /// The header of a void element that takes the place of this one.
    fn as_void(&self) -> Option<Vec<u8>> {
        let size_bytes = (self.header_bytes - 1).min(8);
        let left = self.header_bytes - 1 - size_bytes;
        let size = (1u64 << (7 * size_bytes)) | (self.size? + left);
        let size = size.to_be_bytes();
        Some([&[0xEC], &size[8 - size_bytes as usize..]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
        without_chapters(&mut |at, into| {
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
        assert_eq!(patched(&short), Some((25, b"\xEC\x10\0\0\x03".to_vec())));
        let long = segment(b"\x10\x43\xA7\x70\x01\0\0\0\0\0\0\x03abc");
        let (at, void) = patched(&long).unwrap();
        // Nine bytes of header stand in the place of twelve, so three more are content.
        assert_eq!((at, void), (25, b"\xEC\x01\0\0\0\0\0\0\x06".to_vec()));
    }

    #[test]
    fn without_chapters_and_in_noise_there_is_nothing_to_do() {
        assert_eq!(patched(&segment(b"")), None);
        for fill in [0u8, 1, 0x80, 0xFF] {
            assert_eq!(patched(&[fill; 5000]), None);
        }
    }
}
