//! Where a frame lies that is far ahead: by the seek table, and by looking at what stands in between.
//!
//! A place is only believed where a whole frame says it. What a table says without one only tells
//! where to look. So a start in the middle gives the frames that a start at the beginning gives.

use super::{Frame, Frames, PACKET_BYTES};

/// A frame that was seen, and where in the object.
#[derive(Debug, Clone, Copy)]
struct Mark {
    position: u64,
    start: u64,
}

/// What is near enough to be gone through frame by frame.
const NEAR_BYTES: u64 = 64 << 10;
/// Blocks that are as near.
const NEAR_BLOCKS: u64 = 4;
/// Looks at the bytes between at most: halving takes 32 of them from 256 TiB to what is near, and
/// every second one halves.
const LOOKS: u32 = 64;
/// Bytes of a point of a seek table (RFC 9639, 8.5.1).
const POINT_BYTES: u64 = 18;

impl Frames<'_> {
    /// Goes to the packet that holds frame `wanted`, or to the last one before it, and says where
    /// that starts. 0: it stands where it stood, at the first.
    ///
    /// Only where the stream states its length and its end can be looked at: then it is one stream,
    /// and its numbers go up.
    pub(in crate::decode) fn go_to(&mut self, wanted: u64) -> u64 {
        let is_near = wanted < NEAR_BLOCKS * u64::from(self.info.block_frames);
        if is_near || self.info.frames.is_none() || self.place != Some(0) {
            return 0;
        }
        let Some(first) = self.mark().filter(|first| first.start == 0) else { return 0 };
        let entered = self.look_up(wanted, first);
        if entered.is_none() {
            self.stand_at(first.position);
        }
        self.place = Some(entered.unwrap_or(0));
        entered.unwrap_or(0)
    }

    fn look_up(&mut self, wanted: u64, first: Mark) -> Option<u64> {
        let (mut low, next) = self.by_table(wanted).unwrap_or((first, None));
        let mut high = match next.or_else(|| self.last_mark()) {
            Some(high) => high,
            None if low.start > 0 => return self.walk(wanted, low),
            None => return None,
        };
        if high.start <= wanted {
            low = high;
        }
        for look in 0..LOOKS {
            let is_near = low.start + NEAR_BLOCKS * u64::from(self.info.block_frames) > wanted;
            if is_near || high.position.saturating_sub(low.position) <= NEAR_BYTES {
                break;
            }
            let position = between(&low, &high, wanted, look);
            self.stand_at(position);
            match self.mark() {
                Some(mark) if mark.start <= wanted => low = mark,
                Some(mark) => high = Mark { position, ..mark },
                None => high.position = position,
            }
        }
        self.walk(wanted, low)
    }

    /// Goes frame by frame from `from` to the last that starts at or before `wanted`.
    fn walk(&mut self, wanted: u64, from: Mark) -> Option<u64> {
        self.stand_at(from.position);
        let mut here = self.find()?;
        while here.end() <= wanted {
            let position = self.window.position();
            self.window.skip(here.bytes as u64);
            self.found = None;
            match self.find() {
                Some(next) if next.start < here.end() => return None,
                Some(next) if next.start <= wanted => here = next,
                // What is wanted is lost: from the last frame before it, that is seen as ever.
                _ => {
                    self.stand_at(position);
                    self.find()?;
                    break;
                }
            }
        }
        Some(here.start)
    }

    /// The last point of the seek table before `wanted`, if a frame stands there, and the one behind.
    fn by_table(&mut self, wanted: u64) -> Option<(Mark, Option<Mark>)> {
        let length = self.window.length_at_hand()?;
        let table = self.seek_table.clone()?;
        let count = (table.end - table.start) / POINT_BYTES;
        let (mut below, mut above) = (0, count);
        while below < above {
            let middle = below + (above - below) / 2;
            match self.point(table.start + middle * POINT_BYTES)?.start <= wanted {
                true => below = middle + 1,
                false => above = middle,
            }
        }
        let low = self.point(table.start + below.checked_sub(1)? * POINT_BYTES)?;
        self.stand_at(low.position);
        let seen = self.mark()?;
        if (seen.position, seen.start) != (low.position, low.start) {
            return None;
        }
        let high = (below < count).then(|| self.point(table.start + below * POINT_BYTES)).flatten();
        // Points that are not used say that they lie behind all frames.
        let between = low.position + 1..length;
        Some((low, high.filter(|high| between.contains(&high.position))))
    }

    /// The point of a seek table at `at`.
    fn point(&mut self, at: u64) -> Option<Mark> {
        let mut point = [0; 16];
        if self.window.read_elsewhere(at, &mut point) < point.len() {
            return None;
        }
        let (start, offset) = point.split_at(8);
        let offset = u64::from_be_bytes(offset.try_into().ok()?);
        let position = self.start.saturating_add(offset);
        let start = u64::from_be_bytes(start.try_into().ok()?).checked_sub(self.cut)?;
        Some(Mark { position, start })
    }

    /// The last frame, if it is the one that the stream states to be its last.
    fn last_mark(&mut self) -> Option<Mark> {
        let (mark, frame) = self.last()?;
        (Some(frame.end()) == self.info.frames).then_some(mark)
    }

    /// Where the last frame ends.
    pub(super) fn last_end(&mut self) -> Option<u64> {
        self.last().map(|(_, frame)| frame.end())
    }

    /// The last whole frame, if that is at hand.
    fn last(&mut self) -> Option<(Mark, Frame)> {
        let length = self.window.length_at_hand()?;
        let longest = self.info.most_bytes_of(self.info.block_frames).min(PACKET_BYTES) as u64;
        self.stand_at(length.saturating_sub(NEAR_BYTES.max(2 * longest)).max(self.start));
        let mut last: Option<(Mark, Frame)> = None;
        while let Some(frame) = self.find() {
            last = Some((Mark { position: self.window.position(), start: frame.start }, frame));
            self.window.skip(frame.bytes as u64);
            self.found = None;
        }
        last
    }

    /// The next whole frame.
    fn mark(&mut self) -> Option<Mark> {
        let frame = self.find()?;
        Some(Mark { position: self.window.position(), start: frame.start })
    }

    pub(super) fn stand_at(&mut self, position: u64) {
        self.found = None;
        self.window.go_to(position);
    }
}

/// Where between two frames to look for `wanted`: where it would lie if all were equally long, and
/// every second time in the middle.
fn between(low: &Mark, high: &Mark, wanted: u64, look: u32) -> u64 {
    let room = high.position - low.position;
    let frames = u128::from(high.start.saturating_sub(low.start).max(1));
    let ahead = u128::from(wanted - low.start) * u128::from(room) / frames;
    // A little earlier: what is found then lies before it, and not behind.
    let ahead = u64::try_from(ahead).unwrap_or(room).saturating_sub(NEAR_BYTES / 4);
    let ahead = if look.is_multiple_of(2) { ahead } else { room / 2 };
    low.position + ahead.clamp(1, room - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_always_between() {
        for (room, frames, wanted, look) in
            [(2, 1, 0, 0), (2, 1, 7, 1), (1 << 40, 9, 1 << 50, 0), (1 << 20, 1 << 20, 1 << 19, 2)]
        {
            let low = Mark { position: 10, start: 0 };
            let high = Mark { position: 10 + room, start: frames };
            let at = between(&low, &high, wanted, look);
            assert!(at > 10 && at < high.position, "{at}");
        }
        let (low, high) =
            (Mark { position: 0, start: 0 }, Mark { position: 1 << 30, start: 1 << 20 });
        let at = between(&low, &high, 1 << 19, 0);
        assert_eq!(at, (1 << 29) - NEAR_BYTES / 4);
    }
}
