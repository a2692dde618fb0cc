//! Fetching the segments ahead of a listener into the cache, before a decoder wants them.

use std::{cell::Cell, rc::Rc, time::Duration};

use super::{By, Shard, presentation::Presentation, segments::Segments};
use crate::{
    hls::{Parts, Reach, Schedule},
    runtime::{self, Queue, Task, event::Event},
    stream::tape::Tape,
};

/// Fetches ahead of one listener, until it is dropped.
pub(super) struct Ahead {
    place: Rc<Place>,
    tape: Tape,
    _task: Task<()>,
}

/// Where the listener is.
#[derive(Default)]
struct Place {
    segment: Cell<u32>,
    /// How often it jumped.
    jumps: Cell<u32>,
    moved: Event,
}

impl Ahead {
    /// Begins ahead of who listens to `presentation`.
    pub(super) fn new(shard: &Rc<Shard>, presentation: &Presentation) -> Self {
        let (place, parts) = (Rc::<Place>::default(), presentation.parts());
        let segments = Segments::new(shard, presentation.of(), By::Node);
        let tape = parts.tape();
        let running = run(segments, parts, Rc::clone(&place), shard.options.reach);
        Self { place, tape, _task: runtime::spawn(Queue::Io, "segments ahead", running) }
    }

    /// The listener is there.
    pub(super) fn at(&self, position: Duration) {
        let (place, segment) = (&self.place, self.tape.part_at(position));
        let before = place.segment.replace(segment);
        if segment == before {
            return;
        }
        // A piece is shorter than a segment.
        if segment != before + 1 {
            place.jumps.set(place.jumps.get().wrapping_add(1));
        }
        place.moved.notify_all();
    }
}

async fn run(segments: Segments, parts: Rc<Parts>, place: Rc<Place>, reach: Reach) {
    let (tape, mut schedule, mut jumps) = (parts.tape(), Schedule::new(reach), 0);
    loop {
        let (moved, segment) = (place.moved.listen(), place.segment.get());
        match std::mem::replace(&mut jumps, place.jumps.get()) == place.jumps.get() {
            true => schedule.play(segment),
            false => schedule.jump(segment),
        }
        match schedule.next(&tape, parts.segments()) {
            Some(segment) => {
                let bytes = match parts.resource(segment) {
                    Some(resource) => segments.bring(&resource).await,
                    None => 0,
                };
                schedule.fetched(segment, bytes);
            }
            None => moved.await,
        }
    }
}
