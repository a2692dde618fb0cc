//! The header of a packet of an elementary stream, which says when what it holds is to be heard.
//!
//! Pure: no I/O, no clock, no executor.

/// What the first bytes of such a packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Head {
    /// The start of a header.
    Begun,
    Whole {
        header_bytes: usize,
        /// When the first frame that begins in it is to be heard, in ticks of 90 kHz.
        pts: Option<u64>,
        /// What follows the header, where it says how much.
        payload_bytes: Option<usize>,
        is_scrambled: bool,
    },
    /// No header, or one of what holds no frames.
    Nothing,
}

/// Parses the start of a packet.
pub(in crate::decode) fn parse_head(bytes: &[u8]) -> Head {
    const PREFIX: [u8; 3] = [0, 0, 1];
    let have = bytes.len().min(PREFIX.len());
    if bytes[..have] != PREFIX[..have] {
        return Head::Nothing;
    }
    let &[_, _, _, stream, length_high, length_low, first, flags, more_bytes, ref rest @ ..] =
        bytes
    else {
        return Head::Begun;
    };
    // Audio, private stream 1, and what is told apart by extended numbers.
    if !matches!(stream, 0xC0..=0xDF | 0xBD | 0xFD) || first & 0xC0 != 0x80 {
        return Head::Nothing;
    }
    let (more_bytes, length) =
        (usize::from(more_bytes), usize::from(u16::from_be_bytes([length_high, length_low])));
    let Some(more) = rest.get(..more_bytes) else { return Head::Begun };
    Head::Whole {
        header_bytes: 9 + more_bytes,
        pts: if flags & 0x80 != 0 { pts(more) } else { None },
        payload_bytes: (length > 0).then(|| length.saturating_sub(3 + more_bytes)),
        is_scrambled: first & 0x30 != 0,
    }
}

/// 33 bits in five bytes, with a marker behind each part.
fn pts(bytes: &[u8]) -> Option<u64> {
    let bytes: [u64; 5] = bytes.first_chunk::<5>()?.map(u64::from);
    let has_markers = [0, 2, 4].iter().all(|at| bytes[*at] & 1 == 1);
    let parts = (bytes[0] >> 1 & 7) << 30 | bytes[1] << 22 | (bytes[2] >> 1) << 15;
    has_markers.then_some(parts | bytes[3] << 7 | bytes[4] >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; 16] =
        [0, 0, 1, 0xC0, 0, 20, 0x80, 0x80, 7, 0x2F, 0xFF, 0xFF, 0xFF, 0xFD, 0xFF, 0xFF];

    #[test]
    fn a_header_says_its_time_and_its_length() {
        let whole = Head::Whole {
            header_bytes: 16,
            pts: Some((1 << 33) - 2),
            payload_bytes: Some(10),
            is_scrambled: false,
        };
        assert_eq!(parse_head(&HEAD), whole);
        for length in 0..HEAD.len() {
            assert_eq!(parse_head(&HEAD[..length]), Head::Begun, "{length}");
        }
    }

    #[test]
    fn other_streams_and_other_bytes_hold_no_frames() {
        for (at, byte) in [(2, 0), (3, 0xE0), (3, 0xBE), (6, 0x40)] {
            let mut head = HEAD;
            head[at] = byte;
            assert_eq!(parse_head(&head), Head::Nothing, "{byte:x} at {at}");
        }
    }

    #[test]
    fn a_time_without_its_markers_is_none() {
        let mut head = HEAD;
        (head[4], head[5], head[11]) = (0, 0, 0xFE);
        let Head::Whole { pts, payload_bytes, .. } = parse_head(&head) else { panic!() };
        assert_eq!((pts, payload_bytes), (None, None));
    }
}
