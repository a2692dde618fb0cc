//! The tray on which frames leave a decoder's coroutine, and which of them do.

use super::{
    Frames, planes,
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

/// Puts `count` frames of silence at the clock.
pub(super) fn put_silence(
    inside: &Inside<'_>,
    shape: Shape,
    span: Span,
    clock: &mut i64,
    count: i64,
) {
    let end = clock.saturating_add(count.max(0));
    // What nobody wants need not be counted out.
    *clock = span.from.clamp(*clock, end);
    while *clock < end.min(span.to) {
        let piece = (end - *clock).min(TRAY_FRAMES as i64) as usize;
        put(inside, shape, span, clock, piece, |(from, to), tray| {
            planes::append_silence(to - from, tray);
        });
    }
    *clock = end;
}

/// Puts those of `count` frames at the clock that lie in the span on the tray, as `append` does.
pub(super) fn put(
    inside: &Inside<'_>,
    shape: Shape,
    span: Span,
    clock: &mut i64,
    count: usize,
    append: impl FnOnce((usize, usize), &mut Frames),
) {
    let (from, to) = span.part(*clock, count);
    if from < to {
        let mut tray = inside.desk.tray.borrow_mut();
        prepare(&mut tray, shape);
        if tray.is_empty() {
            inside.desk.tray_position.set((*clock + from as i64) as u64);
        }
        append((from, to), &mut tray);
    }
    *clock += count as i64;
    offer(inside);
}

/// Gives the tray its planes.
fn prepare(tray: &mut Frames, shape: Shape) {
    let count = usize::from(shape.channels.count);
    tray.planes.resize_with(count, Vec::new);
    if shape.wide {
        tray.wide.resize_with(count, Vec::new);
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
