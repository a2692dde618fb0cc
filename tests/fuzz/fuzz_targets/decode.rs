//! Whole files of any bytes through the decoder, on its own stack: an end or an error, in bounded
//! trays, and never a panic inside.
#![no_main]

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{BufPool, Class, Options},
    decode::{Ask, Decoder, DecoderOptions, Error, Index, Mode, Stacks, Step},
    stream::Resident,
};
use kithara_fuzz::fuzz_target;

/// Frames of one tray: a full one and the longest packet, a FLAC block.
const TRAY_FRAMES: usize = 4096 + 65_535;
/// Frames that are listened to: a damaged header may promise hours of silence.
const FRAMES: u64 = 4_000_000;

fuzz_target!(|bytes: &[u8]| {
    let stacks = Stacks::new(DecoderOptions::default());
    let from_frame = bytes.last().map_or(0, |byte| u64::from(*byte) * 100);
    for from_frame in [0, from_frame] {
        hear(bytes, &stacks, Ask { from_frame, ..Ask::default() });
    }
    let index = hear(bytes, &stacks, Ask { mode: Mode::Scan, ..Ask::default() });
    hear(bytes, &stacks, Ask { from_frame: from_frame * 20, index, ..Ask::default() });
});

fn hear(bytes: &[u8], stacks: &Stacks, ask: Ask<'_>) -> Option<Rc<Index>> {
    let from_frame = ask.from_frame;
    let resident = Resident::new(Some(bytes.len() as u64));
    insert(&resident, bytes);
    let mut decoder = Decoder::new(stacks, resident, ask).expect("a stack");
    let mut next = from_frame;
    while next - from_frame < FRAMES {
        match decoder.step(Instant::now() + Duration::from_secs(60)) {
            Ok(Step::Need { position, .. }) => panic!("{position} of {} is there", bytes.len()),
            Ok(Step::Frames) => {
                let frames = decoder.frames();
                assert!((1..=TRAY_FRAMES).contains(&frames.len()));
                assert_eq!(decoder.position(), next, "frames follow each other");
                next += frames.len() as u64;
            }
            Ok(Step::Opened | Step::Slice) => {}
            Ok(Step::End) => break,
            Err(error) => {
                assert_ne!(error, Error::Panicked);
                assert_eq!(decoder.step(Instant::now()), Err(error), "the same again");
                break;
            }
        }
    }
    decoder.index()
}

fn insert(resident: &Resident, bytes: &[u8]) {
    let pool = BufPool::new(Options { budget_bytes: 4 << 20 });
    for (index, piece) in bytes.chunks(Class::Large.bytes()).enumerate() {
        let Ok(mut block) = pool.take(Class::holding(piece.len())) else { return };
        block[..piece.len()].copy_from_slice(piece);
        resident.insert((index * Class::Large.bytes()) as u64, block.freeze(piece.len()));
    }
}
