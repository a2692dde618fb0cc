//! One decoder under way: bytes in by the reader, pieces of PCM out; or nothing, where it only passes
//! the packets of a track to count them.
//!
//! The maker never waits in [`work`](Maker::work): it says what it lacks. Whoever drives it decides
//! when it may use the core, and awaits [`fetch`](Maker::fetch) when it lacks bytes.

use std::{
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Error, Grid, Input, Piece};
use crate::{
    bufpool::{BlockMut, BufPool, Charge},
    decode::{self, Decoder, Index, Info, Pipeline, Spec, Stacks, Step, frames_out},
    runtime,
};

/// Memory of a decoder that lies outside of blocks: what it decodes with, its stack, resampler,
/// connection. What a node held more for each client that had stopped reading, less its three blocks, was
/// 274 KiB for MP3, 396 for AAC and 406 for FLAC (`in node` of `cargo bench --bench allocation`).
pub const STREAM_BYTES: usize = 416 << 10;
/// What each decoder of Opus takes, of a pair of channels: 243 KiB. What is held for any codec includes
/// half of one.
const OPUS_PAIR_BYTES: usize = 256 << 10;

/// What a decoder of HE-AAC has more than one of AAC: it takes 537 KiB with parametric stereo and 407
/// without, its lead and what it decodes to another 40, and AAC 149.
const HE_AAC_BYTES: usize = 448 << 10;

/// What AAC of six or eight channels has more than that of two: 198 and 237 KiB (`heap` of the bench-harness).
const SURROUND_BYTES: usize = 240 << 10;

/// What the codec of a source takes beyond [`STREAM_BYTES`].
pub fn codec_bytes(info: &Info) -> usize {
    match info.codec {
        "vorbis" => decode::VORBIS_BYTES,
        "he-aac" | "he-aac-v2" => HE_AAC_BYTES,
        "aac" if info.channels.count > 2 => SURROUND_BYTES,
        "opus" => {
            // Centre and LFE are no pair.
            let count = usize::from(info.channels.count);
            let pairs = if count > 2 { count / 2 + 1 } else { 1 };
            pairs * OPUS_PAIR_BYTES - OPUS_PAIR_BYTES / 2
        }
        _ => 0,
    }
}

/// What a slice of work came to.
#[derive(Debug)]
pub enum Work {
    /// Bytes are missing: [`Maker::fetch`], then go on.
    Starved,
    /// The source is understood: [`Maker::info`] is there. Once, before anything else.
    Opened,
    /// These frames are made.
    Piece(Piece),
    /// The slice's time is up.
    Slice,
    /// All is made, or passed.
    End,
}

/// Decodes one source.
pub struct Maker {
    reader: Input,
    decoder: Decoder,
    stacks: Stacks,
    pool: BufPool,
    need: Range<u64>,
    track: Option<u32>,
    /// `None` until it is started: a scan never is.
    output: Option<Output>,
    /// The source does not say how long it is.
    is_open: bool,
    cost: Duration,
    /// Of the frames that it decoded, those that were told.
    told_frames: u64,
    memory: Vec<Charge>,
}

/// What turns frames into pieces.
struct Output {
    pipeline: Pipeline,
    grid: Grid,
    rate_hz: u32,
    from: u64,
    /// The first frame of the piece that is being made.
    first: u64,
    block: Option<(BlockMut, usize)>,
}

impl Maker {
    /// Begins to understand a source, or to scan it.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when there is no memory for another decoder.
    pub fn new(
        reader: Input,
        stacks: &Stacks,
        pool: &BufPool,
        ask: decode::Ask<'_>,
    ) -> Result<Self, Error> {
        let (memory, track) = (vec![pool.charge(STREAM_BYTES)?], ask.track);
        Ok(Self {
            decoder: Decoder::new(stacks, reader.resident(), ask)?,
            reader,
            stacks: stacks.clone(),
            pool: pool.clone(),
            need: 0..0,
            track,
            output: None,
            is_open: false,
            cost: Duration::ZERO,
            told_frames: 0,
            memory,
        })
    }

    /// Whether all that it may read is on this node.
    pub fn has_all(&self) -> bool {
        self.reader.has_all()
    }

    /// What the source is. `None` before [`Work::Opened`].
    pub fn info(&self) -> Option<&Info> {
        self.decoder.info()
    }

    /// Frames of the source that there turned out to be; what is promised beyond them is silence.
    /// `None` before [`Work::End`].
    pub fn frames_there(&self) -> Option<u64> {
        self.decoder.frames_there()
    }

    /// What is known of where its packets lie, if that is more than it was given.
    pub fn index(&self) -> Option<Rc<Index>> {
        self.decoder.index()
    }

    /// Packets so far that did not decode and became silence.
    pub fn undecoded_packets(&self) -> u64 {
        self.decoder.undecoded_packets()
    }

    /// The frame behind the last that was made.
    pub fn position(&self) -> u64 {
        self.output.as_ref().map_or(0, |output| output.pipeline.position())
    }

    /// Whether all is made: nothing of it has to be asked for any more.
    pub fn is_done(&self) -> bool {
        self.output.as_ref().is_some_and(Output::is_done)
    }

    /// Where the timeline ends, once that is known: also where it was begun behind that.
    pub fn end(&self) -> u64 {
        let position = self.position();
        let there = self.frames_there().filter(|_| self.is_open);
        let rates = self
            .info()
            .zip(self.output.as_ref())
            .map(|(info, output)| (info.rate_hz, output.rate_hz));
        there.zip(rates).map_or(position, |(frames, (from, to))| frames_out(frames, from, to))
    }

    /// Readies itself to make the frames from `from` on, where a window begins, of a source that is
    /// `info`.
    ///
    /// # Errors
    /// Rates that cannot be converted into each other; no memory for the tables of the codec.
    pub fn start(
        &mut self,
        info: &Info,
        spec: Spec,
        from: u64,
        index: Option<Rc<Index>>,
    ) -> Result<(), Error> {
        self.memory.push(self.pool.charge(codec_bytes(info))?);
        let pipeline = Pipeline::new(info, spec, from, None)?;
        let frame = pipeline.first_frame_in();
        if frame > 0 {
            // One that has not begun is replaced by one that begins there.
            let ask =
                decode::Ask { track: self.track, from_frame: frame, index, ..Default::default() };
            self.decoder = Decoder::new(&self.stacks, self.reader.resident(), ask)?;
            self.told_frames = 0;
        }
        let (grid, rate_hz) = (Grid::of(&spec), spec.rate_hz);
        self.is_open = info.frames.is_none();
        self.output = Some(Output { pipeline, grid, rate_hz, from, first: from, block: None });
        Ok(())
    }

    /// Works until something comes of it, or until the time is up.
    ///
    /// # Errors
    /// What cannot be decoded at all. After [`Error::Exhausted`], no memory for the next block, all
    /// is as it was: it may be called again.
    pub fn work(&mut self, until: Instant) -> Result<Work, Error> {
        // The time of the core that it takes: not what another process had of it.
        let began = runtime::core_time();
        let mut work = self.go_on(until);
        self.cost += runtime::core_time().saturating_sub(began);
        if let Ok(Work::Piece(piece)) = &mut work {
            piece.cost = self.take_cost();
            let resident = self.reader.resident();
            let rate_hz = self.output.as_ref().map_or(0, |output| output.rate_hz);
            let time = decode::time_of(piece.first as i64, rate_hz);
            piece.is_torn = resident.is_torn();
            piece.is_missing = resident.with_tape(|tape| tape.is_missing_at(time)).unwrap_or(false);
        }
        work
    }

    /// The time of the core that it took since the last piece, or since this was asked.
    pub fn take_cost(&mut self) -> Duration {
        std::mem::take(&mut self.cost)
    }

    /// The audio that it decoded since this was asked last, and of which codec it is: frames of the source
    /// that were wanted, without the silence among them. `None` where there was none.
    pub fn take_decoded(&mut self) -> Option<(&'static str, Duration)> {
        let frames = self.decoder.decoded_frames();
        let new = frames - std::mem::replace(&mut self.told_frames, frames);
        let info = self.info().filter(|_| new > 0)?;
        let nanoseconds = u128::from(new) * 1_000_000_000 / u128::from(info.rate_hz.max(1));
        Some((info.codec, Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))))
    }

    fn go_on(&mut self, until: Instant) -> Result<Work, Error> {
        let mut has_frames = false;
        loop {
            if let Some(work) = self.put_out()? {
                return Ok(work);
            }
            // The decoder looks at the time when it reads, and what it has read is many packets.
            if has_frames && runtime::now() >= until {
                return Ok(Work::Slice);
            }
            match self.decoder.step(until)? {
                Step::Need { position, length } => {
                    self.need = position..position + length as u64;
                    return Ok(Work::Starved);
                }
                Step::Opened if self.output.is_none() => return Ok(Work::Opened),
                Step::Opened => {}
                Step::Slice => return Ok(Work::Slice),
                Step::Frames => {
                    assert!(self.output.is_some(), "frames come after the start");
                    has_frames = true;
                }
                Step::End => match &mut self.output {
                    Some(output) => output.pipeline.finish(),
                    None => return Ok(Work::End),
                },
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
            if let Some(piece) = output.drain(&self.pool)? {
                return Ok(Some(Work::Piece(piece)));
            }
            if output.is_done() {
                return Ok(Some(Work::End));
            }
            if is_taken {
                return Ok(None);
            }
        }
    }
}

impl Output {
    /// Everything that will be was given out.
    fn is_done(&self) -> bool {
        self.pipeline.is_done() && self.block.is_none()
    }

    /// A piece, once it is whole or nothing more will come into it.
    fn drain(&mut self, pool: &BufPool) -> Result<Option<Piece>, Error> {
        if self.is_done() {
            return Ok(None);
        }
        let frames = self.grid.piece_frames(self.from, self.first);
        let (mut block, filled) = match self.block.take() {
            Some(begun) => begun,
            None => (pool.take(self.grid.class(frames))?, 0),
        };
        let wanted = (frames * self.grid.frame_bytes()) as usize;
        let filled = filled + self.pipeline.pull(&mut block[filled..wanted]);
        if filled == wanted || (filled > 0 && self.pipeline.is_done()) {
            return Ok(Some(self.piece(block, filled)));
        }
        // An empty block is given back while one waits for the source.
        self.block = (filled > 0).then_some((block, filled));
        Ok(None)
    }

    fn piece(&mut self, block: BlockMut, filled: usize) -> Piece {
        let (first, frames) = (self.first, filled as u64 / self.grid.frame_bytes());
        self.first += frames;
        let (cost, block) = (Duration::ZERO, block.freeze(filled));
        Piece { first, frames, cost, is_torn: false, is_missing: false, block }
    }
}
