//! Passing all packets of a track without decoding them, for how many frames it has and where they lie.
//!
//! Like a [`Maker`](super::Maker) it never waits in [`work`](Scan::work): it says what it lacks.

use std::{ops::Range, rc::Rc, time::Instant};

use super::{Error, maker::STREAM_BYTES};
use crate::{
    bufpool::{BufPool, Charge},
    decode::{self, Decoder, Index, Mode, Stacks, Step},
    stream::Reader,
};

/// What a slice of work came to.
#[derive(Debug)]
pub enum Scanned {
    /// Bytes are missing: [`Scan::fetch`], then go on.
    Starved,
    /// The slice's time is up.
    Slice,
    /// All of it was passed.
    End,
}

/// One scan of one track.
pub struct Scan {
    reader: Reader,
    decoder: Decoder,
    need: Range<u64>,
    _memory: Charge,
}

impl Scan {
    /// A scan that has not begun; `index` says what is known already.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when there is no memory for another decoder.
    pub fn new(
        reader: Reader,
        stacks: &Stacks,
        pool: &BufPool,
        track: Option<u32>,
        index: Option<Rc<Index>>,
    ) -> Result<Self, Error> {
        let _memory = pool.charge(STREAM_BYTES)?;
        let ask = decode::Ask { track, index, mode: Mode::Scan, ..decode::Ask::default() };
        let decoder = Decoder::new(stacks, reader.resident(), ask)?;
        Ok(Self { reader, decoder, need: 0..0, _memory })
    }

    /// Works until it lacks bytes, until the time is up, or to the end.
    ///
    /// # Errors
    /// Why the track cannot be scanned.
    pub fn work(&mut self, until: Instant) -> Result<Scanned, Error> {
        loop {
            match self.decoder.step(until)? {
                Step::Need { position, length } => {
                    self.need = position..position + length as u64;
                    return Ok(Scanned::Starved);
                }
                Step::Slice => return Ok(Scanned::Slice),
                Step::End => return Ok(Scanned::End),
                Step::Opened | Step::Frames => {}
            }
        }
    }

    /// Waits for the bytes that the last [`Scanned::Starved`] was about.
    ///
    /// # Errors
    /// The reason for which they cannot be had.
    pub async fn fetch(&mut self) -> Result<(), Error> {
        Ok(self.reader.fetch(self.need.clone()).await?)
    }

    /// What it found out so far that was not known before.
    pub fn index(&self) -> Option<Rc<Index>> {
        self.decoder.index()
    }
}
