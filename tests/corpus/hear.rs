//! What a decoder makes of bytes, from the first step to the last.

use std::{
    fs,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{BufPool, Class, Options},
    decode::{Ask, Decoder, DecoderOptions, Error, Index, Info, Mode, Stacks, Step},
    stream::Resident,
};

/// Everything a decoder said about a file.
pub(crate) struct Heard {
    pub(crate) info: Option<Info>,
    pub(crate) planes: Vec<Vec<f32>>,
    /// Integers of more than 24 bits beside them.
    pub(crate) wide: Vec<Vec<i32>>,
    pub(crate) error: Option<Error>,
    pub(crate) undecoded: u64,
    pub(crate) decoded: u64,
    /// Of them, those that it took to say what the track is.
    pub(crate) decoded_to_open: u64,
    pub(crate) steps: u64,
    /// Bytes that were made resident.
    pub(crate) fed: usize,
    /// How many frames there turned out to be.
    pub(crate) frames_there: Option<u64>,
    /// What it learned of where packets lie.
    pub(crate) index: Option<Rc<Index>>,
}

impl Heard {
    /// Frames that came.
    pub(crate) fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// Frames of the whole: those that are promised, else those that are there.
    pub(crate) fn total(&self) -> Option<u64> {
        self.info.as_ref().and_then(|info| info.frames).or(self.frames_there)
    }
}

/// How bytes are fed.
#[derive(Clone, Copy)]
pub(crate) struct Feed {
    /// Bytes made resident per need.
    pub(crate) piece_bytes: usize,
    /// Length of a slice.
    pub(crate) slice: Duration,
    /// The end comes no sooner than all before it.
    pub(crate) in_order: bool,
    /// Frames after which it is enough.
    pub(crate) frames: usize,
}

/// All at once.
pub(crate) const WHOLE: Feed = Feed {
    piece_bytes: 64 << 10,
    slice: Duration::from_secs(10),
    in_order: false,
    frames: usize::MAX,
};

/// Frames of one tray at most: a full one and the longest packet, a FLAC block.
const TRAY_FRAMES: usize = 4096 + 65_535;

pub(crate) fn hear(bytes: &[u8], feed: Feed, from_frame: u64) -> Heard {
    hear_by(bytes, feed, from_frame, None)
}

/// What is passed without being decoded.
pub(crate) fn scan(bytes: &[u8], index: Option<Rc<Index>>) -> Heard {
    let feed = Feed { piece_bytes: 8 << 10, ..WHOLE };
    let heard = listen(bytes, feed, Ask { mode: Mode::Scan, index, ..Ask::default() });
    assert_eq!(heard.frames(), 0, "a scan gives no frames");
    heard
}

/// What one of several tracks is.
pub(crate) fn hear_track(bytes: &[u8], track: u32) -> Heard {
    listen(bytes, WHOLE, Ask { track: Some(track), ..Ask::default() })
}

/// What comes with the help of an index.
pub(crate) fn hear_by(
    bytes: &[u8],
    feed: Feed,
    from_frame: u64,
    index: Option<&Rc<Index>>,
) -> Heard {
    let index = index.cloned();
    listen(bytes, feed, Ask { from_frame, index, ..Ask::default() })
}

fn listen(bytes: &[u8], feed: Feed, ask: Ask<'_>) -> Heard {
    let from_frame = ask.from_frame;
    let pool = BufPool::new(Options { budget_bytes: 64 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    resident.set_in_order(feed.in_order);
    let stacks = Stacks::new(DecoderOptions::default());
    let mut decoder = Decoder::new(&stacks, resident.clone(), ask).unwrap();
    let mut heard = Heard {
        info: None,
        planes: vec![],
        wide: vec![],
        error: None,
        undecoded: 0,
        decoded: 0,
        decoded_to_open: 0,
        steps: 0,
        fed: 0,
        frames_there: None,
        index: None,
    };
    // Far more than any file here needs: what takes longer hangs.
    let most_steps = 20_000 + bytes.len() as u64 * 8;
    loop {
        heard.steps += 1;
        assert!(heard.steps < most_steps, "the decoder does not come to an end");
        match decoder.step(Instant::now() + feed.slice) {
            Ok(Step::Need { position, .. }) => {
                assert!(position < bytes.len() as u64, "asked for bytes behind the end");
                let rest = &bytes[position as usize..];
                let count = rest.len().min(feed.piece_bytes).min(Class::Large.bytes());
                let mut block = pool.take(Class::holding(count)).unwrap();
                block[..count].copy_from_slice(&rest[..count]);
                resident.insert(position, block.freeze(count));
                heard.fed += count;
                if resident.bytes() > 16 << 20 {
                    resident.clear();
                }
            }
            Ok(Step::Opened) => {
                heard.info = decoder.info().cloned();
                heard.decoded_to_open = decoder.decoded_packets();
            }
            Ok(Step::Frames) => {
                let frames = decoder.frames();
                assert!((1..=TRAY_FRAMES).contains(&frames.len()), "{} frames", frames.len());
                if heard.planes.is_empty() {
                    heard.planes = vec![Vec::new(); frames.planes.len()];
                    heard.wide = vec![Vec::new(); frames.wide.len()];
                }
                for (all, new) in heard.wide.iter_mut().zip(&frames.wide) {
                    all.extend(new);
                }
                let expected = from_frame + heard.planes[0].len() as u64;
                assert_eq!(decoder.position(), expected, "frames follow each other");
                for (all, new) in heard.planes.iter_mut().zip(&frames.planes) {
                    assert!(new.iter().all(|sample| sample.is_finite()));
                    all.extend(new);
                }
                let heard_frames = heard.planes[0].len() as u64;
                let promised = heard.info.as_ref().and_then(|info| info.frames);
                // A damaged header may promise much; it comes in bounded trays, and is enough here.
                if heard_frames > 8_000_000 && promised.is_some_and(|p| p >= heard_frames) {
                    break;
                }
                assert!(heard_frames < 40_000_000, "frames without end");
                if heard.frames() >= feed.frames {
                    break;
                }
            }
            Ok(Step::Slice) => {}
            Ok(Step::End) => {
                assert_eq!(decoder.step(Instant::now()), Ok(Step::End), "the same again");
                break;
            }
            Err(error) => {
                assert_eq!(decoder.step(Instant::now()), Err(error.clone()), "the same again");
                heard.error = Some(error);
                break;
            }
        }
    }
    heard.undecoded = decoder.undecoded_packets();
    heard.decoded = decoder.decoded_packets();
    heard.frames_there = decoder.frames_there();
    heard.index = decoder.index();
    heard
}

/// Whether what was heard is the whole from a frame on, and neither failed.
pub(crate) fn is_same(heard: &Heard, whole: &Heard, from: usize) -> bool {
    let mut pairs = heard.planes.iter().zip(&whole.planes);
    heard.error.is_none()
        && whole.error.is_none()
        && heard.planes.len() == whole.planes.len()
        && pairs.all(|(late, whole)| late[..] == whole[from..])
}

/// The demo's own piece in a container.
pub(crate) fn strings(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/material");
    fs::read(root.join(name)).expect("the demo's material is in the tree")
}

/// A small file that was made for one test.
pub(crate) fn small(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material");
    fs::read(root.join(name)).expect("the material of the tests is in the tree")
}

/// SplitMix64: enough for a test, and a failing seed is all that is needed to repeat it.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
