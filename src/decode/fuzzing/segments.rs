//! Segments of any bytes, on a tape as a presentation has them, through the demultiplexers and no further.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    bufpool::{self, BufPool, Class},
    decode::{
        DecoderOptions, Error, Stacks,
        coroutine::{Back, Coroutine},
        demux::{Demux, Next, PACKET_BYTES, Stamp},
        index::{Point, Recording, State},
        opening,
        source::{Desk, Inside},
    },
    stream::{
        Resident,
        tape::{Part, Tape, position_of},
    },
};

/// Packets of one stretch that are looked at: boxes may say that as many as one likes lie in the same bytes.
const PACKETS: usize = 4096;
/// Places of a stretch that are entered again.
const PLACES: usize = 3;
/// As long as a segment is said to last.
const SEGMENT: Duration = Duration::from_secs(4);

/// What is fuzzed of one presentation.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// What it holds.
    pub bytes: &'a [u8],
    /// Whether it goes on where the one before it ends.
    pub goes_on: bool,
}

/// Demultiplexes all stretches of a presentation, enters its places and its segments, and says how many
/// packets it has. `head` stands before each stretch, if it is not empty.
pub fn segments(head: &[u8], segments: &[Segment<'_>]) -> usize {
    let packets = Rc::new(Cell::new(0));
    let (resident, counted) = (resident(head, segments), Rc::clone(&packets));
    let mut coroutine = STACKS.with(|stacks| {
        let (stacks, spares) = (stacks.clone(), stacks.spares().clone());
        let run = Coroutine::new(&stacks, move |leave, below| {
            let (desk, table_bytes) = (desk(), 16 << 20);
            let inside = Inside { leave, below, desk, resident, table_bytes, spares };
            counted.set(demultiplex(&Rc::new(inside)));
            Ok(())
        });
        run.expect("a stack")
    });
    match coroutine.enter(()) {
        Back::Left(pause) => panic!("all is here, and it asks for {pause:?}"),
        Back::Ended(Err(Error::Panicked)) => panic!("it panicked"),
        Back::Ended(_) => packets.get(),
    }
}

thread_local! {
    static STACKS: Stacks = Stacks::new(DecoderOptions::default());
    static POOL: BufPool = BufPool::new(bufpool::Options { budget_bytes: 4 << 20 });
}

fn desk() -> Rc<Desk> {
    Rc::new(Desk {
        until: (Instant::now() + Duration::from_secs(3600)).into(),
        tray: RefCell::default(),
        tray_position: 0.into(),
        frames_there: None.into(),
        recording: Recording::new(None).into(),
        info: RefCell::default(),
        decoded: 0.into(),
        undecoded: 0.into(),
        made: 0.into(),
        read_to: 0.into(),
    })
}

/// All of it in memory, in blocks of different sizes, and the length of each part known.
fn resident(head: &[u8], segments: &[Segment<'_>]) -> Resident {
    let mut tape = Tape::default();
    let of_head = (!head.is_empty()).then(|| tape.add_head());
    for Segment { goes_on, .. } in segments {
        let is_break = !goes_on;
        tape.push(Part { duration: SEGMENT, head: of_head, is_break, is_lost: false });
    }
    let resident = Resident::of_tape(tape);
    let parts = segments.iter().map(|segment| segment.bytes);
    for (part, bytes) in parts.chain((!head.is_empty()).then_some(head)).enumerate() {
        let part = part as u32;
        resident.with_tape(|tape| tape.set_length(part, bytes.len() as u32));
        let class = if part.is_multiple_of(2) { Class::Medium } else { Class::Small };
        for (at, piece) in bytes.chunks(class.bytes()).enumerate() {
            let mut block = POOL.with(|pool| pool.take(class)).expect("the input is short");
            block[..piece.len()].copy_from_slice(piece);
            let position = position_of(part) + (at * class.bytes()) as u64;
            resident.insert(position, block.freeze(piece.len()));
        }
    }
    resident
}

fn demultiplex(inside: &Rc<Inside<'_>>) -> usize {
    let (mut packets, mut join) = (0, inside.resident.rewind());
    while !join.is_end {
        if let Ok(mut opened) = opening::open(inside, None) {
            packets += stretch(inside, &mut opened.demux);
        }
        join = inside.resident.next_stretch();
    }
    packets
}

fn stretch(inside: &Inside<'_>, demux: &mut Demux<'_>) -> usize {
    let (mut packets, mut places) = (0, Vec::new());
    while packets < PACKETS {
        match demux.next() {
            Next::Piece(piece) => {
                assert!((1..=PACKET_BYTES).contains(&piece.packet.data.len()));
                packets += 1;
                let is_taken = places.len() < PLACES && packets.is_multiple_of(2);
                if let Some(place) = piece.place.filter(|_| is_taken) {
                    places.push((place, piece.packet.data.to_vec()));
                }
            }
            Next::Lost(lost) => {
                assert!(lost.packets > 0);
                packets += 1;
            }
            Next::Broken(_) => packets += 1,
            Next::Changed | Next::End => break,
        }
    }
    for ((position, state), data) in places {
        enter(demux, position, state, &data);
    }
    enter_parts(inside, demux);
    packets
}

/// A place that was entered once is there again, and so is its packet.
fn enter(demux: &mut Demux<'_>, position: u64, state: State, data: &[u8]) {
    let point = Point { position, packet: 0, frame: 0, state };
    assert!(demux.enter(&point), "{point:?}");
    match demux.next() {
        Next::Piece(piece) => assert_eq!(piece.packet.data, data, "{point:?}"),
        _ => panic!("no packet at {point:?}"),
    }
}

/// Goes to each part of the stretch, the last first.
fn enter_parts(inside: &Inside<'_>, demux: &mut Demux<'_>) {
    let ends = inside.resident.with_tape(|tape| (tape.first(), tape.end())).expect("it is a tape");
    let mut before: Option<Stamp> = None;
    for part in (ends.0..ends.1).rev() {
        let Some(stamp) = demux.enter_part(position_of(part)) else { return };
        if let Some((before, stamp)) = before.zip(stamp) {
            before.frames_since(&stamp, SEGMENT, 44_100);
        }
        before = stamp;
        demux.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo;

    fn piece(name: &str) -> &'static [u8] {
        demo::file(name).expect("it is there").bytes
    }

    #[test]
    fn segments_that_go_on_have_the_packets_of_one() {
        let bytes = piece("strings.aac");
        let whole = segments(&[], &[Segment { bytes, goes_on: true }]);
        assert!(whole > 200, "{whole} packets");
        let mut parts: Vec<_> =
            bytes.chunks(50_001).map(|bytes| Segment { bytes, goes_on: true }).collect();
        assert_eq!(segments(&[], &parts), whole);
        // A frame that a break cuts in two is none.
        parts[1].goes_on = false;
        assert!((1..whole).contains(&segments(&[], &parts)));
    }
}
