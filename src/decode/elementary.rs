//! MPEG audio and ADTS frames one after another: the demultiplexer of streams that have no container.

use super::{
    headers::{Header, is_trailer, tag_bytes},
    source::Window,
};

/// Reads frame by frame, over junk and tags between them.
pub(super) struct Frames<'y> {
    window: Window<'y>,
    /// What the stream is, by its first frame.
    first: Header,
    /// Length of the frame that `next` returned last: it is passed at the next call, so that its
    /// bytes can be lent out of the window.
    lent: usize,
    /// The last thing seen was not a frame, so the next one has to be confirmed by its successor.
    lost: bool,
}

/// The longest frame of either kind, and the header behind it.
const AHEAD_BYTES: usize = 8192 + 16;

impl<'y> Frames<'y> {
    /// `window` stands at the frame that `first` is the header of.
    pub(super) fn new(window: Window<'y>, first: Header) -> Self {
        Self { window, first, lent: 0, lost: false }
    }

    /// The next frame and its header; `None` at the end. A frame that the end cuts off is not one.
    pub(super) fn next(&mut self) -> Option<(Header, &[u8])> {
        self.window.skip(std::mem::take(&mut self.lent) as u64);
        let header = loop {
            let bytes = self.window.ahead(16);
            if bytes.len() < 4 {
                return None;
            }
            match Header::parse(bytes).filter(|header| self.first.is_like(header)) {
                Some(header) if self.is_whole(&header)? => break header,
                _ => self.pass_junk(),
            }
        };
        self.lost = false;
        self.lent = header.bytes;
        Some((header, &self.window.ahead(header.bytes)[..header.bytes]))
    }

    /// Whether the frame is there to its end, and after junk also followed by another. `None`: the
    /// source ends inside it.
    fn is_whole(&mut self, header: &Header) -> Option<bool> {
        let wanted = if self.lost { header.bytes + 16 } else { header.bytes };
        let first = self.first;
        let bytes = self.window.ahead(wanted);
        match bytes.get(header.bytes..) {
            None if self.lost => Some(false),
            None => None,
            Some(_) if !self.lost => Some(true),
            Some(behind) => Some(
                is_trailer(behind)
                    || Header::parse(behind).is_some_and(|next| first.is_like(&next)),
            ),
        }
    }

    /// Goes on to the next byte that may start a frame or a tag.
    fn pass_junk(&mut self) {
        self.lost = true;
        let bytes = self.window.ahead(AHEAD_BYTES);
        let count = tag_bytes(bytes).unwrap_or_else(|| {
            let tail = &bytes[1..];
            let next = tail.iter().position(|byte| matches!(byte, 0xFF | b'T' | b'A' | b'I'));
            (1 + next.unwrap_or(tail.len())) as u64
        });
        self.window.skip(count.max(1));
    }
}
