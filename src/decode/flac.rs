//! What the headers of FLAC say (RFC 9639).
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::mp4::Read;

/// Rate in Hz, channels, and bits per sample where they are integers.
pub(super) type Shape = (u32, u16, Option<u32>);

/// What STREAMINFO says, by a native FLAC stream that starts with `bytes` (RFC 9639, 8.2).
pub(super) fn stream_info(bytes: &[u8]) -> Option<Shape> {
    let fields = bytes.strip_prefix(b"fLaC")?;
    // The first metadata block is this one, of 34 bytes. Block and frame sizes are passed.
    let word = fields.get(4 + 10..4 + 18).filter(|_| fields[0] & 0x7F == 0)?;
    let word = u64::from_be_bytes(word.try_into().ok()?);
    let (rate_hz, channels) = ((word >> 44) as u32, ((word >> 41) & 7) as u16 + 1);
    Some((rate_hz, channels, Some(((word >> 36) & 31) as u32 + 1)))
}

/// What a native FLAC file of `length` bytes is that has metadata and not one frame, and promises
/// none.
pub(super) fn read_empty(read: &mut Read<'_>, length: u64) -> Option<Shape> {
    const BLOCKS: u32 = 1024;
    let mut head = [0; 42];
    let got = read(0, &mut head);
    let promises = u64::from_be_bytes(head[18..26].try_into().ok()?) & 0xF_FFFF_FFFF;
    let shape = stream_info(&head[..got]).filter(|_| promises == 0)?;
    let mut at = 4;
    for _ in 0..BLOCKS {
        let mut block = [0; 4];
        if read(at, &mut block) < block.len() {
            return None;
        }
        at += 4 + (u64::from(u32::from_be_bytes(block)) & 0xFF_FFFF);
        if block[0] & 0x80 != 0 {
            return (at == length).then_some(shape);
        }
    }
    None
}

/// Frames in the FLAC frame at the start of `bytes` (RFC 9639, 9.1). `None` if it is none.
pub(super) fn frames(bytes: &[u8]) -> Option<u64> {
    let &[0xFF, 0xF8 | 0xF9, sizes, _, number, ref rest @ ..] = bytes else { return None };
    // The frame's number is coded as characters are in UTF-8, and up to seven bytes long.
    let number_bytes = match number.leading_ones() {
        0 => 1,
        ones => ones as usize,
    };
    let behind = rest.get(number_bytes - 1..)?;
    Some(match sizes >> 4 {
        1 => 192,
        size @ 2..=5 => 144 << size,
        6 => u64::from(*behind.first()?) + 1,
        7 => u64::from(u16::from_be_bytes(*behind.first_chunk()?)) + 1,
        size @ 8.. => 1 << size,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flac_file_of_metadata_alone_is_empty_if_it_promises_nothing() {
        let mut file = b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0".to_vec();
        // 44.1 kHz, two channels, 16 bits, no frames.
        file.extend([0x0A, 0xC4, 0x42, 0xF0, 0, 0, 0, 0]);
        file.extend([0; 16]);
        file.extend(b"\x81\0\0\x02ab");
        let empty = |file: &[u8]| {
            let mut read = |at: u64, into: &mut [u8]| {
                let rest = file.get(at as usize..).unwrap_or_default();
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                count
            };
            read_empty(&mut read, file.len() as u64)
        };
        assert_eq!(empty(&file), Some((44_100, 2, Some(16))));
        assert_eq!(empty(&file[..file.len() - 1]), None, "cut in its metadata");
        file[25] = 1;
        assert_eq!(empty(&file), None, "it promises a frame");
    }

    #[test]
    fn a_frame_says_how_many_frames_it_holds() {
        let frame =
            |size: u8, rest: &[u8]| frames(&[&[0xFF, 0xF8, size << 4, 0x18], rest].concat());
        assert_eq!(frame(1, &[0]), Some(192));
        assert_eq!(
            [2, 5, 8, 12, 15].map(|size| frame(size, &[0]).unwrap()),
            [576, 4608, 256, 4096, 32768]
        );
        assert_eq!(frame(6, &[0x7F, 9]), Some(10));
        assert_eq!(frame(7, &[0xC2, 0x80, 1, 0]), Some(257));
        assert_eq!(frame(7, &[0xC2, 0x80, 1]), None, "cut off");
        assert_eq!(frame(0, &[0]), None, "reserved");
        assert_eq!(frames(b"OggS....."), None);
    }
}
