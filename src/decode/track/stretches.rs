//! The stretches of a tape: what of it can be opened, and what is missing between one and the next.

use std::{rc::Rc, time::Duration};

use super::player::Player;
use crate::{
    decode::{
        Error,
        demux::Stamp,
        index::Link,
        opening::{self, Opened},
        source::Inside,
        times::{frames_of, time_of},
        tray::frames_end,
    },
    stream::tape::{self, Join, Tape},
};

/// Stretches of which the first parts are no media before a source is taken to have none.
const TRIES: usize = 4;

/// The first that opens, and how long what is missing before it lasts.
///
/// # Errors
/// Why the first does not open, where none of some does.
pub(super) fn open_first<'y>(
    inside: &Rc<Inside<'y>>,
    track: Option<u32>,
) -> Result<(Opened<'y>, Duration), Error> {
    let mut join = inside.resident.rewind();
    let (mut missing, mut first) = (Duration::ZERO, None);
    for _ in 0..TRIES {
        missing += join.due.unwrap_or_default();
        if join.is_end {
            break;
        }
        match opening::open(inside, track) {
            Ok(opened) => return Ok((opened, missing)),
            Err(error) if inside.resident.is_tape() && may_be_one_part(&error) => {
                join = pass_part(inside, &error)?;
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or(Error::NotMedia))
}

/// Whether what is wrong may be so with one part alone.
fn may_be_one_part(error: &Error) -> bool {
    matches!(error, Error::NotMedia | Error::Damaged { .. })
}

/// Goes over the first part of a stretch that does not open.
///
/// # Errors
/// Why not, where too many in a row do not.
fn pass_part(inside: &Inside<'_>, why: &Error) -> Result<Join, Error> {
    let (part, _) = tape::part_of(inside.resident.start().media);
    match inside.resident.with_tape(|tape| tape.lose(part, 0)) {
        Some(false) => Err(why.clone()),
        _ => Ok(inside.resident.next_stretch()),
    }
}

/// How far packets have come on a tape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// The part in which one started last, and the clock before the first of those that did.
    part: u32,
    clock: i64,
    /// The part in which the next one starts at the latest.
    next: u32,
    /// Frames of the longest packet.
    packet: i64,
}

impl Progress {
    /// At the first part of a stretch.
    pub(super) fn start(inside: &Inside<'_>, clock: i64) -> Self {
        let part = inside.resident.with_tape(|tape| tape.first()).unwrap_or(0);
        Self { part, clock, next: part, packet: 0 }
    }

    /// Frames that are missing at the start of `part`, where nothing else accounts for parts before it in which
    /// no packet started: what came in their place was no media.
    fn missing(&self, tape: &Tape, part: u32, clock: i64, rate_hz: u32) -> i64 {
        let start = tape.time_of(part);
        let frames = |from| frames_of(start.saturating_sub(tape.time_of(from)), rate_hz);
        let missing = self.clock.saturating_add(frames(self.part)).saturating_sub(clock);
        // How long parts last is said nearly, and some muxers end with one in which there is no packet left.
        let least = (2 * self.packet).max(frames(self.next) / 2);
        let is_unaccounted = part > self.next && missing > least;
        if is_unaccounted { missing } else { 0 }
    }
}

impl<'y> Player<'_, 'y> {
    /// A packet of [`nominal`](Self::nominal) frames comes, which starts in the part of that position if it is
    /// known.
    pub(super) fn follow_part(&mut self, position: Option<u64>) -> Result<(), Error> {
        let packet = self.progress.packet.max(self.nominal as i64);
        self.progress.packet = packet;
        let Some(position) = position else { return Ok(()) };
        let (part, _) = tape::part_of(position);
        let next = part.saturating_add(1);
        if next != self.progress.next {
            self.pass_parts(part)?;
            self.progress = Progress { part, clock: self.clock, next, packet };
        }
        Ok(())
    }

    /// Puts silence in the place of parts before `part` that were no media.
    fn pass_parts(&mut self, part: u32) -> Result<(), Error> {
        let (progress, clock) = (self.progress, self.clock);
        let Some(shape) = self.shape.or(self.stated) else { return Ok(()) };
        let resident = &self.inside.resident;
        let missing = resident.with_tape(|tape| progress.missing(tape, part, clock, shape.rate_hz));
        match missing {
            None | Some(0) => Ok(()),
            Some(missing) => {
                // They may come another time.
                let parts = self.progress.next..part;
                resident.with_tape(|tape| parts.for_each(|part| tape.miss(part)));
                (self.is_counted, self.is_indexed) = (false, false);
                self.be_silent(missing)
            }
        }
    }

    /// So much is missing before the first packet.
    pub(super) fn start_late(&mut self, missing: Duration) {
        let told = self.stated.map(|shape| shape.rate_hz).or(self.params.sample_rate);
        let frames = frames_of(missing, told.unwrap_or(0));
        self.start = u64::try_from(frames).unwrap_or(0);
        self.span.from = frames_end(Some(self.from_frame.saturating_sub(self.start)));
    }

    /// Writes down where the running stretch starts.
    pub(super) fn record_link(&mut self) {
        let resident = &self.inside.resident;
        let Ok(packet) = u32::try_from(self.packet) else { return };
        if resident.is_tape() && self.is_indexed && !resident.is_torn() {
            let (position, delay) = (resident.start().media, -self.link_clock);
            let link = Link { position, frame: self.start, packet, delay };
            self.is_indexed = self.inside.desk.recording.borrow_mut().push_link(link);
        }
    }

    /// Goes on behind the end of a stretch. `None`: nothing follows.
    pub(super) fn next_stretch(
        &mut self,
        inside: &Rc<Inside<'y>>,
        track: Option<u32>,
    ) -> Result<Option<Opened<'y>>, Error> {
        if let Some(end) = inside.resident.with_tape(|tape| tape.end()) {
            self.pass_parts(end)?;
        }
        let mut join = inside.resident.next_stretch();
        let (mut is_break, mut due) = (false, None);
        let rate_hz = self.shape.or(self.stated).map_or(0, |shape| shape.rate_hz);
        // What opens at the start of a stretch follows the one before; what does not is missing from there on.
        let mut played = join.due.map_or_else(|| time_of(self.clock, rate_hz), |_| Duration::ZERO);
        loop {
            is_break |= join.is_break;
            if let Some(more) = join.due {
                due = Some(due.unwrap_or_default() + std::mem::take(&mut played) + more);
            }
            if join.is_end {
                self.go_over_gap(due, None)?;
                return Ok(None);
            }
            match opening::open(inside, track) {
                Ok(mut opened) => {
                    let stamp = stamp(inside, &mut opened);
                    if is_break {
                        self.go_over_gap(due, None)?;
                    } else {
                        self.go_over_gap(due, stamp)?;
                        // It goes on where the one before ended: its encoder did not begin anew.
                        opened.timeline.delay = 0;
                    }
                    self.close_link();
                    self.stamp = stamp.map(|stamp| (stamp, -opened.timeline.delay));
                    return Ok(Some(opened));
                }
                Err(error) => {
                    tracing::debug!(%error, "a segment does not open");
                    join = pass_part(inside, &error)?;
                }
            }
        }
    }

    /// What is missing is silence: by the times of what stood before it and what stands behind it, or else by
    /// those that its parts would have lasted.
    fn go_over_gap(&mut self, due: Option<Duration>, stamp: Option<Stamp>) -> Result<(), Error> {
        if let Some((due, shape)) = due.zip(self.shape.or(self.stated)) {
            let end = match self.stamp.zip(stamp) {
                Some(((before, clock), stamp)) => {
                    let frames = stamp.frames_since(&before, due, shape.rate_hz);
                    clock.saturating_add(i64::try_from(frames).unwrap_or(i64::MAX))
                }
                None => frames_of(due, shape.rate_hz),
            };
            self.be_silent(end.saturating_sub(self.clock))?;
        }
        Ok(())
    }

    /// Silence of about so many frames: of whole packets, where decoders restart by their numbers.
    fn be_silent(&mut self, frames: i64) -> Result<(), Error> {
        let missing = u64::try_from(frames).unwrap_or(0);
        let packets = (missing + self.nominal / 2) / self.nominal.max(1);
        let frames = if self.restarts.is_some() { packets * self.nominal } else { missing };
        self.lose_part(packets.max(1), frames)
    }
}

/// Opens the stretch that starts with the part at a position. Where it does not open, the first one is, and this
/// says how long what is missing before that lasts.
pub(super) fn go_to<'y>(
    inside: &Rc<Inside<'y>>,
    opened: &mut Opened<'y>,
    track: Option<u32>,
    position: u64,
) -> Result<Option<Duration>, Error> {
    let (part, _) = tape::part_of(position);
    inside.resident.with_tape(|tape| tape.go_to(part));
    if inside.resident.start().media == position {
        match opening::open(inside, track) {
            Ok(found) => {
                *opened = found;
                return Ok(None);
            }
            Err(error) => tracing::debug!(%error, "a segment does not open"),
        }
    }
    let join = inside.resident.rewind();
    *opened = opening::open(inside, track)?;
    Ok(Some(join.due.unwrap_or_default()))
}

/// When the first packet of a stretch is to be heard, where it is opened and nothing of it was read.
pub(super) fn stamp(inside: &Inside<'_>, opened: &mut Opened<'_>) -> Option<Stamp> {
    let start = inside.resident.is_tape().then(|| inside.resident.start().media)?;
    opened.demux.enter_part(start).flatten()
}
