//! Sources of which bits were flipped, pieces cut out and pieces of others put in, through decoder and
//! encoder: nothing panics, and what comes is a typed error or a stream as long as was promised.
//!
//! `SEEDS` says how many are tried, from `FIRST_SEED` on; `SEED` repeats one.

use std::{
    env, panic,
    time::{Duration, Instant},
};

use kithara::{
    bufpool::{BufPool, Class, Options},
    decode::{self, Decoder, DecoderOptions, Dither, Pipeline, Quality, Stacks, Step},
    encode::{Codec, Coding, Encoder},
    pcm::{Ask, Choice, Error, Format, Rendition, SourceName},
    stream::Resident,
};

use crate::hear::{Random, WHOLE, hear, small, strings};

/// How many are tried where nobody says so.
const SEEDS: u64 = 250;

/// Seconds of each that are encoded.
const SECONDS: &str = "0.25";

/// Frames of a transcode at most: a damaged header may say that a second has billions.
const MOST_FRAMES: u64 = 250_000;

/// One of each container and codec, and some that are small.
fn sources() -> Vec<Vec<u8>> {
    const STRINGS: [&str; 9] = [
        "strings.mp3",
        "strings.m4a",
        "strings-moov-last.m4a",
        "strings-alac.m4a",
        "strings.aac",
        "strings.ogg",
        "strings.flac",
        "strings.wav",
        "strings.aiff",
    ];
    const SMALL: [&str; 6] = [
        "he-aac.mp4",
        "he-aac-v2.mp4",
        "opus.ogg",
        "surround-24.flac",
        "mono-then-stereo.mp3",
        "aac.ts",
    ];
    STRINGS.map(strings).into_iter().chain(SMALL.map(small)).collect()
}

/// A place in `bytes`. Nearly all of them are near the start or the end: that is where a file says what it is,
/// and its first quarter of a second lies.
fn place(random: &mut Random, bytes: &[u8]) -> usize {
    let scale = 4 + random.below(14);
    let at = random.below(1 << scale).min(bytes.len() as u64) as usize;
    if random.below(8) == 0 { bytes.len() - at } else { at }
}

/// The same with a few things changed.
fn mutated(random: &mut Random, sources: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = sources[random.below(sources.len() as u64) as usize].clone();
    for _ in 0..=random.below(4) {
        let at = place(random, &bytes);
        let end = (at + random.below(3000) as usize).min(bytes.len());
        match random.below(8) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let other = &sources[random.below(sources.len() as u64) as usize];
                let from = place(random, other);
                let to = (from + random.below(3000) as usize).min(other.len());
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}

/// A stored stream, and how many frames it is to have.
struct Transcode {
    bytes: Vec<u8>,
    /// Those that were encoded.
    frames: u64,
    /// Those that were promised before.
    promised: Option<u64>,
}

/// An answer under way.
struct Making {
    rendition: Rendition,
    pipeline: Pipeline,
    encoder: Encoder,
    body: Vec<u8>,
    block: Vec<u8>,
    frames: u64,
}

impl Making {
    fn new(info: &decode::Info, ask: &Ask) -> Result<Self, Error> {
        let rendition = Rendition::new(info.clone(), ask)?;
        let slice = rendition.slice;
        let pipeline = Pipeline::new(info, rendition.spec, slice.start, slice.end)?;
        let encoder = Encoder::new(&rendition.output().expect("it is encoded"))?;
        let (body, block) = (Vec::new(), vec![0; 64 << 10]);
        Ok(Self { rendition, pipeline, encoder, body, block, frames: 0 })
    }

    /// Encodes what has come out of the pipeline.
    fn encode(&mut self) {
        loop {
            match self.pipeline.pull(&mut self.block) {
                0 => break,
                count => {
                    self.encoder.push(&self.block[..count]);
                    self.frames += (count / self.rendition.spec.frame_bytes()) as u64;
                }
            }
        }
        self.pull();
    }

    fn pull(&mut self) {
        loop {
            match self.encoder.pull(&mut self.block) {
                0 => break,
                count => self.body.extend_from_slice(&self.block[..count]),
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.pipeline.is_done() || self.frames > MOST_FRAMES
    }

    fn finish(mut self) -> Transcode {
        self.encoder.finish();
        self.pull();
        let promised = self.rendition.frames().filter(|_| self.pipeline.is_done());
        let bytes = [self.encoder.final_front(), self.body].concat();
        Transcode { bytes, frames: self.frames, promised }
    }
}

fn transcode(bytes: &[u8], ask: &Ask) -> Result<Transcode, Error> {
    let pool = BufPool::new(Options { budget_bytes: 64 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    let stacks = Stacks::new(DecoderOptions::default());
    let mut decoder = Decoder::new(&stacks, resident.clone(), decode::Ask::default())?;
    let mut making = None;
    // Far more than any of them needs: what takes longer hangs.
    for _ in 0..20_000 + bytes.len() * 8 {
        match decoder.step(Instant::now() + Duration::from_secs(10))? {
            Step::Need { position, .. } => {
                let rest = &bytes[position as usize..];
                let count = rest.len().min(Class::Large.bytes());
                let mut block = pool.take(Class::holding(count)).expect("within the budget");
                block[..count].copy_from_slice(&rest[..count]);
                resident.insert(position, block.freeze(count));
            }
            Step::Opened => making = Some(Making::new(decoder.info().expect("opened"), ask)?),
            Step::Frames => {
                let making = making.as_mut().expect("opened before");
                while !making.pipeline.push(decoder.position(), decoder.frames()) {
                    making.encode();
                }
                making.encode();
            }
            Step::Slice => {}
            Step::End => {
                let mut making = making.expect("opened before");
                making.pipeline.finish();
                making.encode();
                return Ok(making.finish());
            }
        }
        if let Some(making) = making.take_if(|making| making.is_enough()) {
            return Ok(making.finish());
        }
    }
    panic!("the decoder does not come to an end");
}

/// One try; whether a stream came of it.
fn comes_to_a_stream(seed: u64, sources: &[Vec<u8>]) -> bool {
    let random = &mut Random(seed);
    let codecs: Vec<Codec> = Codec::ALL.into_iter().filter(|codec| codec.is_built()).collect();
    let codec = codecs[seed as usize % codecs.len()];
    let bytes = mutated(random, sources);
    let ask = Ask {
        source: SourceName { name: "made".into(), path: "up".into(), is_file: true },
        format: Format::Encoded(Coding::plain(codec)),
        rate_hz: None,
        channels: None,
        dither: Dither::None,
        quality: Quality::Good,
        start: None,
        duration: SECONDS.parse().ok(),
        choice: Choice::default(),
    };
    let made = match transcode(&bytes, &ask) {
        Ok(made) => made,
        Err(error) => {
            assert!(!matches!(error, Error::Decode(decode::Error::Panicked)), "a decoder panicked");
            return false;
        }
    };
    if let Some(promised) = made.promised {
        assert_eq!(made.frames, promised, "what was promised is encoded");
    }
    let heard = hear(&made.bytes, WHOLE, 0);
    assert_eq!((&heard.error, heard.undecoded), (&None, 0), "what we encode decodes");
    let frames = match codec {
        // It says neither where its audio begins nor where it ends.
        Codec::Aac => 1024 + made.frames.max(1).next_multiple_of(1024),
        _ => made.frames,
    };
    assert_eq!(heard.frames() as u64, frames, "what was encoded is heard");
    true
}

#[test]
fn whatever_a_source_holds_its_transcode_is_as_long_as_promised_or_an_error() {
    let number = |name: &str| -> Option<u64> { env::var(name).ok()?.parse().ok() };
    let first = number("FIRST_SEED").unwrap_or(1);
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SEEDS").unwrap_or(SEEDS),
    };
    let (sources, count) = (sources(), seeds.end - seeds.start);
    let mut streams = 0;
    for seed in seeds {
        let told = panic::catch_unwind(|| comes_to_a_stream(seed, &sources));
        streams += u64::from(told.unwrap_or_else(|_| panic!("SEED={seed} repeats it")));
    }
    assert!(count < 100 || streams > count / 2, "{streams} of {count}: nearly nothing decodes");
}
