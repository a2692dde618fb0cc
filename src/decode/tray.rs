//! The tray on which frames leave a decoder's coroutine, and which of them do.

use super::{
    Frames,
    quantise::to_wide,
    shape::Shape,
    source::{Inside, Pause},
};

/// Frames after which a tray goes out: one packet of most codecs. A larger tray saves nothing that
/// can be measured, and each stream holds one, and the room behind it for what it brought.
const TRAY_FRAMES: usize = 1024;

/// A part of the trimmed timeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: i64,
    /// `i64::MAX`: as far as there is anything.
    pub(super) to: i64,
}

impl Span {
    /// How many of `count` frames are left where its container has `trimmed` them: that decides where
    /// nothing has told the end before.
    pub(super) fn untrimmed(&self, count: usize, trimmed: u64) -> usize {
        let trimmed = if self.to == i64::MAX { trimmed } else { 0 };
        count.saturating_sub(usize::try_from(trimmed).unwrap_or(usize::MAX))
    }

    /// Which of `count` frames that start at `clock` lie in it.
    pub(super) fn part(&self, clock: i64, count: usize) -> (usize, usize) {
        let within = |frame: i64| frame.saturating_sub(clock).clamp(0, count as i64) as usize;
        (within(self.from), within(self.to))
    }
}

pub(super) fn frames_end(frames: Option<u64>) -> i64 {
    frames.map_or(i64::MAX, |frames| i64::try_from(frames).unwrap_or(i64::MAX))
}

/// Puts frames on the tray as `append` does, of which the first is frame `position` of the timeline.
pub(super) fn put(
    inside: &Inside<'_>,
    shape: Shape,
    position: u64,
    append: impl FnOnce(&mut Frames),
) {
    let mut tray = inside.desk.tray.borrow_mut();
    prepare(&mut tray, shape);
    if tray.is_empty() {
        inside.desk.tray_position.set(position);
    }
    append(&mut tray);
    widen(&mut tray, shape);
}

/// How many more frames fill the tray.
pub(super) fn room(inside: &Inside<'_>) -> usize {
    TRAY_FRAMES.saturating_sub(inside.desk.tray.borrow().len()).max(1)
}

/// Gives frames the planes of a shape.
pub(super) fn prepare(tray: &mut Frames, shape: Shape) {
    let count = usize::from(shape.channels.count);
    tray.planes.resize_with(count, Vec::new);
    if shape.wide {
        tray.wide.resize_with(count, Vec::new);
    }
}

/// Frames that came without integers get them.
fn widen(tray: &mut Frames, shape: Shape) {
    if shape.wide {
        for (wide, plane) in tray.wide.iter_mut().zip(&tray.planes) {
            wide.extend(plane[wide.len()..].iter().map(|sample| to_wide(*sample)));
        }
    }
}

/// Leaves with the tray if it is full or the slice is over.
pub(super) fn offer(inside: &Inside<'_>) {
    let load = inside.desk.tray.borrow().len();
    if load >= TRAY_FRAMES {
        inside.pause(Pause::Tray);
    } else if inside.time_is_up() {
        inside.pause(Pause::Slice);
    }
}
