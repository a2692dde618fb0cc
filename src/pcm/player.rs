//! One decode in progress: bytes in by the reader, blocks of the asked form out.
//!
//! The player never waits in [`work`](Player::work): it says what it lacks. Whoever drives it
//! decides when it may use the core, and awaits [`fetch`](Player::fetch) when it lacks bytes.

use std::{ops::Range, time::Instant};

use super::{Ask, Error, Format, Rendition, timeline::Slice};
use crate::{
    bufpool::{Block, BlockMut, BufPool, Charge, Class},
    decode::{self, Decoder, Info, Pipeline, Stacks, Step, frames_out},
    encode::flac,
    stream::Reader,
};

/// Memory of a stream that lies outside of blocks: decoder, its stack, resampler, connection. What a
/// node held more for each client that had stopped reading, less its three blocks, was 274 KiB for
/// MP3, 396 for AAC and 406 for FLAC (`in node` of `cargo bench --bench allocation`).
pub const STREAM_BYTES: usize = 416 << 10;
/// What one of Vorbis has more, its codebooks: 1315 KiB, measured likewise.
const VORBIS_BYTES: usize = 1344 << 10;

/// What the codec of a source takes beyond [`STREAM_BYTES`].
pub fn codec_bytes(info: &Info) -> usize {
    if info.codec == "vorbis" { VORBIS_BYTES } else { 0 }
}

/// What a slice of work came to.
#[derive(Debug)]
pub enum Work {
    /// Bytes are missing: [`Player::fetch`], then go on.
    Starved,
    /// The source is understood: [`Player::info`] is there. Once, before anything else.
    Opened,
    /// This is the next part of the body.
    Block(Block),
    /// The slice's time is up.
    Slice,
    /// The body is complete.
    End,
}

/// Decodes one source for one session.
pub struct Player {
    reader: Reader,
    decoder: Decoder,
    stacks: Stacks,
    pool: BufPool,
    need: Range<u64>,
    track: Option<u32>,
    output: Option<Output>,
    memory: Vec<Charge>,
}

/// What turns frames into the body.
struct Output {
    rendition: Rendition,
    pipeline: Pipeline,
    flac: Option<Flac>,
    /// Bytes that go out before the next frame: the header at first, padding in the end.
    pending: Vec<u8>,
    ended: bool,
    block: Option<(BlockMut, usize)>,
    blocks: u64,
}

/// A FLAC encoder and the PCM on its way to it.
struct Flac {
    encoder: flac::Encoder,
    pcm: Vec<u8>,
}

impl Player {
    /// Begins to understand a source.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when there is no memory for another stream.
    pub fn new(
        reader: Reader,
        stacks: &Stacks,
        pool: &BufPool,
        track: Option<u32>,
    ) -> Result<Self, Error> {
        let memory = vec![pool.charge(STREAM_BYTES)?];
        let ask = decode::Ask { track, from_frame: 0, name_hint: None };
        Ok(Self {
            decoder: Decoder::new(stacks, reader.resident(), ask)?,
            reader,
            stacks: stacks.clone(),
            pool: pool.clone(),
            need: 0..0,
            track,
            output: None,
            memory,
        })
    }

    /// What the source is. `None` before [`Work::Opened`].
    pub fn info(&self) -> Option<&Info> {
        self.decoder.info()
    }

    /// Frames of the answer that were made so far.
    pub fn frames_done(&self) -> u64 {
        let done = |output: &Output| output.pipeline.position() - output.rendition.slice.start;
        self.output.as_ref().map_or(0, done)
    }

    /// Frames of the source that there turned out to be; what is promised beyond them is silence.
    /// `None` before [`Work::End`].
    pub fn frames_there(&self) -> Option<u64> {
        self.decoder.frames_there()
    }

    /// Packets so far that did not decode and became silence.
    pub fn undecoded_packets(&self) -> u64 {
        self.decoder.undecoded_packets()
    }

    /// Decides the answer to `ask`, and readies the player to make it.
    ///
    /// # Errors
    /// See [`Rendition::new`]; rates that cannot be converted into each other; no memory for the
    /// tables of the codec.
    ///
    /// # Panics
    /// When called before [`Work::Opened`].
    pub fn start(&mut self, ask: &Ask) -> Result<Rendition, Error> {
        let info = self.info().expect("called once the source is understood").clone();
        self.memory.push(self.pool.charge(codec_bytes(&info))?);
        let rendition = Rendition::new(info, ask)?;
        let output = Output::new(rendition.clone())?;
        self.skip_to(output.pipeline.first_frame_in())?;
        self.output = Some(output);
        Ok(rendition)
    }

    /// A decoder that has not begun is replaced by one that begins at `frame`.
    fn skip_to(&mut self, frame: u64) -> Result<(), Error> {
        if frame > 0 {
            let ask = decode::Ask { track: self.track, from_frame: frame, name_hint: None };
            self.decoder = Decoder::new(&self.stacks, self.reader.resident(), ask)?;
        }
        Ok(())
    }

    /// Works until something comes of it, or until the time is up.
    ///
    /// # Errors
    /// What cannot be decoded at all. After [`Error::Exhausted`], no memory for the next block, all
    /// is as it was: it may be called again.
    pub fn work(&mut self, until: Instant) -> Result<Work, Error> {
        loop {
            if let Some(work) = self.put_out()? {
                return Ok(work);
            }
            match self.decoder.step(until)? {
                Step::Need { position, length } => {
                    self.need = position..position + length as u64;
                    return Ok(Work::Starved);
                }
                Step::Opened if self.output.is_none() => return Ok(Work::Opened),
                Step::Opened => {}
                Step::Slice => return Ok(Work::Slice),
                Step::Frames => assert!(self.output.is_some(), "frames come after the start"),
                Step::End => self.finish()?,
            }
        }
    }

    /// Waits for the bytes that the last [`Work::Starved`] was about.
    ///
    /// # Errors
    /// The reason for which they cannot be had.
    pub async fn fetch(&mut self) -> Result<(), Error> {
        Ok(self.reader.fetch(self.need.clone()).await?)
    }

    /// Makes of the decoder's last frames what can be made. `None`: it may step on.
    fn put_out(&mut self) -> Result<Option<Work>, Error> {
        let Some(output) = &mut self.output else { return Ok(None) };
        loop {
            let is_taken = output.pipeline.push(self.decoder.position(), self.decoder.frames());
            if let Some(block) = output.drain(&self.pool)? {
                return Ok(Some(Work::Block(block)));
            }
            if output.is_done() {
                return Ok(Some(Work::End));
            }
            if is_taken {
                return Ok(None);
            }
        }
    }

    /// The source has ended. Where its length was not known, it may have ended before the start of
    /// the slice; nothing went out then, so that it can still be refused.
    fn finish(&mut self) -> Result<(), Error> {
        let output = self.output.as_mut().expect("the end comes after the start");
        output.pipeline.finish();
        let Rendition { info, spec, slice, .. } = &output.rendition;
        let Some(frames) = self.decoder.frames_there().filter(|_| !slice.exact) else {
            return Ok(());
        };
        Ok(slice.check_start(frames_out(frames, info.rate_hz, spec.rate_hz), spec.rate_hz)?)
    }
}

impl Output {
    fn new(rendition: Rendition) -> Result<Self, Error> {
        let Slice { start, end, .. } = rendition.slice;
        let spec = rendition.spec;
        let flac = match rendition.format {
            Format::Flac => Some(Flac {
                encoder: flac::Encoder::new(
                    spec.rate_hz,
                    spec.channels,
                    8 * spec.encoding.bytes() as u16,
                    rendition.frames(),
                )?,
                pcm: vec![0; FLAC_PCM_BYTES],
            }),
            _ => None,
        };
        Ok(Self {
            pipeline: Pipeline::new(&rendition.info, spec, start, end)?,
            flac,
            pending: rendition.header(),
            ended: false,
            block: None,
            blocks: 0,
            rendition,
        })
    }

    /// Everything that will be was given out.
    fn is_done(&self) -> bool {
        let is_drained = self.flac.as_ref().is_none_or(|flac| flac.encoder.is_empty());
        self.ended && is_drained && self.pending.is_empty() && self.block.is_none()
    }

    /// A block, once it is full or nothing more will come into it.
    fn drain(&mut self, pool: &BufPool) -> Result<Option<Block>, Error> {
        loop {
            let (mut block, filled) = match self.block.take() {
                Some(begun) => begun,
                None if self.is_done() => return Ok(None),
                None => (pool.take(self.class())?, 0),
            };
            let wrote = self.write(&mut block[filled..]);
            let filled = filled + wrote;
            let full = filled + MAX_FRAME_BYTES > block.len();
            if filled > 0 && (full || (wrote == 0 && self.ended)) {
                self.blocks += 1;
                return Ok(Some(block.freeze(filled)));
            }
            // An empty block is given back while one waits for the source.
            self.block = (filled > 0).then_some((block, filled));
            if wrote == 0 && !self.end() {
                return Ok(None);
            }
        }
    }

    /// Once the last frame is out: what comes after it. Says whether there is anything new to write.
    fn end(&mut self) -> bool {
        if self.ended || !self.pipeline.is_done() {
            return false;
        }
        self.ended = true;
        let frames = self.pipeline.position() - self.rendition.slice.start;
        self.pending = vec![0; self.rendition.padding_bytes(frames) as usize];
        if let Some(flac) = &mut self.flac {
            flac.encoder.finish();
        }
        true
    }

    /// The first block is small: it is what a listener waits for.
    fn class(&self) -> Class {
        if self.blocks == 0 { Class::Medium } else { Class::Large }
    }

    /// Writes what there is now, and says how many bytes.
    fn write(&mut self, into: &mut [u8]) -> usize {
        if !self.pending.is_empty() {
            let count = self.pending.len().min(into.len());
            into[..count].copy_from_slice(&self.pending[..count]);
            self.pending.drain(..count);
            return count;
        }
        match &mut self.flac {
            None => self.pipeline.pull(into),
            Some(flac) => flac.write(&mut self.pipeline, into),
        }
    }
}

impl Flac {
    fn write(&mut self, pipeline: &mut Pipeline, into: &mut [u8]) -> usize {
        loop {
            let encoded = self.encoder.pull(into);
            if encoded > 0 {
                return encoded;
            }
            let pcm = pipeline.pull(&mut self.pcm);
            if pcm == 0 {
                return 0;
            }
            self.encoder.push(&self.pcm[..pcm]);
        }
    }
}

/// Eight channels of four bytes: with less room than that, a block counts as full.
const MAX_FRAME_BYTES: usize = 32;

/// PCM that goes to the FLAC encoder at a time: half of a stereo block.
const FLAC_PCM_BYTES: usize = 8 << 10;
