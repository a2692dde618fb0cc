//! Fetching the segments ahead of a listener into the cache, before a decoder wants them.

use std::{cell::Cell, rc::Rc, time::Duration};

use super::{
    By, Shard,
    presentation::Presentation,
    segments::{Brought, Segments},
};
use crate::{
    hls::{Parts, Reach, Schedule},
    runtime::{
        self, Queue, Task,
        event::{Event, Listener},
    },
    stream::tape::Tape,
};

/// Fetches ahead of one listener, until it is dropped.
pub(super) struct Ahead {
    place: Rc<Place>,
    parts: Rc<Parts>,
    _task: Task<()>,
}

/// Where the listener is.
#[derive(Default)]
pub(super) struct Place {
    position: Cell<Duration>,
    segment: Cell<u32>,
    /// How often it jumped.
    jumps: Cell<u32>,
    moved: Event,
}

impl Place {
    /// Of a listener who begins at a time.
    pub(super) fn begin(tape: &Tape, position: Duration) -> Self {
        let (position, segment) = (Cell::new(position), Cell::new(tape.part_at(position)));
        Self { position, segment, ..Self::default() }
    }

    /// The listener comes to a time.
    pub(super) fn at(&self, tape: &Tape, position: Duration) {
        self.position.set(position);
        let segment = tape.part_at(position);
        let before = self.segment.replace(segment);
        if segment == before {
            return;
        }
        // A piece is shorter than a segment.
        if segment != before + 1 {
            self.jumps.set(self.jumps.get().wrapping_add(1));
        }
        self.moved.notify_all();
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment.get()
    }

    /// The time that it came to last.
    pub(super) fn position(&self) -> Duration {
        self.position.get()
    }

    /// Ready once the listener has moved after this call.
    pub(super) fn moved(&self) -> Listener {
        self.moved.listen()
    }

    /// Tells a schedule where the listener is, of whose jumps it knows so many.
    pub(super) fn follow(&self, schedule: &mut Schedule, jumps: &mut u32) {
        match std::mem::replace(jumps, self.jumps.get()) == *jumps {
            true => schedule.play(self.segment()),
            false => schedule.jump(self.segment()),
        }
    }
}

impl Ahead {
    /// Begins ahead of who listens to `presentation`.
    pub(super) fn new(shard: &Rc<Shard>, presentation: &Presentation) -> Self {
        let (place, parts) = (Rc::<Place>::default(), presentation.parts());
        let segments = Segments::new(shard, presentation.of(), By::Node);
        let running = run(segments, Rc::clone(&parts), Rc::clone(&place), shard.options.reach);
        Self { place, parts, _task: runtime::spawn(Queue::Io, "segments ahead", running) }
    }

    /// The listener comes to a time.
    pub(super) fn at(&self, position: Duration) {
        self.place.at(self.parts.tape(), position);
    }
}

async fn run(segments: Segments, parts: Rc<Parts>, place: Rc<Place>, reach: Reach) {
    let (mut schedule, mut jumps) = (Schedule::new(reach), 0);
    loop {
        let moved = place.moved();
        place.follow(&mut schedule, &mut jumps);
        match schedule.next(parts.tape(), parts.segments()) {
            Some(segment) => {
                let brought = Brought::default();
                if let Some(resource) = parts.resource(segment).filter(|_| !parts.is_gap(segment)) {
                    // One that is missing is so for the decoder, too, which says it.
                    segments.bring(segment, &resource, &brought).await;
                }
                schedule.fetched(segment, brought.bytes());
            }
            None => moved.await,
        }
    }
}
