//! A source in memory, decoded to 48 kHz in 16 bit: what the measurements of decoding share.

use std::time::{Duration, Instant};

use kithara::{
    bufpool::{self, BufPool, Class},
    decode::{Ask, Decoder, Dither, Encoding, Pipeline, Quality, Spec, Stacks, Step},
    stream::Resident,
};

/// What is made of every source.
pub const SPEC: Spec = Spec {
    rate_hz: 48_000,
    channels: 2,
    encoding: Encoding::S16le,
    dither: Dither::None,
    quality: Quality::Good,
};

/// A slice of work, as long as a shard's.
const SLICE: Duration = Duration::from_micros(200);

/// The whole file in pool blocks, as a finished fill leaves it.
///
/// # Panics
/// When it is larger than 256 MiB.
pub fn resident(bytes: &[u8]) -> Resident {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 256 << 20 });
    let resident = Resident::new(Some(bytes.len() as u64));
    let mut position = 0;
    for part in bytes.chunks(Class::Large.bytes()) {
        let mut block = pool.take(Class::Large).expect("within the budget");
        block[..part.len()].copy_from_slice(part);
        resident.insert(position, block.freeze(part.len()));
        position += part.len() as u64;
    }
    resident
}

/// The pipeline to [`SPEC`] for a decoder that knows what its track is.
///
/// # Panics
/// When it does not.
pub fn pipeline(decoder: &Decoder) -> Pipeline {
    let info = decoder.info().expect("opened");
    Pipeline::new(info, SPEC, 0, None).expect("it becomes 48 kHz")
}

/// Makes all it can of the decoder's last frames, by way of `block`, and says how many bytes.
pub fn feed(pipeline: &mut Pipeline, decoder: &Decoder, block: &mut [u8]) -> usize {
    let mut written = 0;
    loop {
        let is_taken = pipeline.push(decoder.position(), decoder.frames());
        written += drain(pipeline, block);
        if is_taken {
            return written;
        }
    }
}

/// A source that is being decoded.
pub struct Playing {
    decoder: Decoder,
    /// Once it is known what the source is.
    pipeline: Option<Pipeline>,
    block: Vec<u8>,
    written: usize,
}

impl Playing {
    /// One that has not begun.
    ///
    /// # Panics
    /// When there is no stack for it.
    pub fn new(stacks: &Stacks, resident: Resident) -> Self {
        let decoder = Decoder::new(stacks, resident, Ask::default()).expect("a stack");
        Self { decoder, pipeline: None, block: vec![0; 64 << 10], written: 0 }
    }

    /// Goes on for a slice at most. False: that was the end.
    ///
    /// # Panics
    /// When the source is not sound, or not resident to its end.
    pub fn goes_on(&mut self) -> bool {
        match self.decoder.step(Instant::now() + SLICE).expect("sound") {
            Step::Opened => self.pipeline = Some(pipeline(&self.decoder)),
            Step::Frames => {
                let pipeline = self.pipeline.as_mut().expect("opened before");
                self.written += feed(pipeline, &self.decoder, &mut self.block);
            }
            Step::Slice => {}
            Step::End => {
                let pipeline = self.pipeline.as_mut().expect("opened before");
                pipeline.finish();
                self.written += drain(pipeline, &mut self.block);
                return false;
            }
            Step::Need { position, .. } => panic!("all is resident, {position} is not"),
        }
        true
    }

    /// Packets that were decoded so far.
    pub fn packets(&self) -> u64 {
        self.decoder.decoded_packets()
    }
}

/// Decodes all of a source to [`SPEC`], and says how many bytes it became.
///
/// # Panics
/// When it is not sound, or not resident to its end.
pub fn play(stacks: &Stacks, resident: Resident) -> usize {
    let mut playing = Playing::new(stacks, resident);
    while playing.goes_on() {}
    playing.written
}

/// Decodes all of a source and does nothing with it; how many seconds it has.
///
/// # Panics
/// When it is not sound, or not resident to its end.
pub fn decode(stacks: &Stacks, resident: Resident) -> f64 {
    let mut decoder = Decoder::new(stacks, resident, Ask::default()).expect("a stack");
    let mut frames = 0;
    loop {
        match decoder.step(Instant::now() + SLICE).expect("sound") {
            Step::Opened | Step::Slice => {}
            Step::Frames => frames += decoder.frames().len(),
            Step::End => {
                let info = decoder.info().expect("opened before");
                return frames as f64 / f64::from(info.rate_hz);
            }
            Step::Need { position, .. } => panic!("all is resident, {position} is not"),
        }
    }
}

fn drain(pipeline: &mut Pipeline, block: &mut [u8]) -> usize {
    std::iter::from_fn(|| Some(pipeline.pull(block)).filter(|count| *count > 0)).sum()
}
