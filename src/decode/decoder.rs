//! The decoder of one track: a coroutine that reads, demultiplexes and decodes, and its handle.

use std::{cell::RefCell, rc::Rc, time::Instant};

use super::{
    Error, Frames, Index, Info, Stacks,
    coroutine::{Back, Coroutine},
    index::Recording,
    source::{Desk, Inside, Pause},
    track::{self, Wanted},
};
use crate::stream::Resident;

/// What is wanted of a source.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// Which audio track, counted from 0; the container's default if `None`.
    pub track: Option<u32>,
    /// First frame of the trimmed timeline that is wanted. Earlier ones may be left out.
    pub from_frame: u64,
    /// What is known of where its packets lie: of this generation of the source, and this track. A
    /// late start then need not pass all that comes before.
    pub index: Option<Rc<Index>>,
    /// What is to be done with its packets.
    pub mode: Mode,
    /// Name of the source, for logs only: the bytes decide what it is.
    pub name_hint: Option<&'a str>,
}

/// What is done with the packets of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are decoded, from the wanted frame on.
    #[default]
    Play,
    /// They are passed, and no frame comes out: all is known in the end by [`Decoder::index`] and
    /// [`Decoder::frames_there`]. One packet is decoded; every one where the container does not
    /// count frames.
    Scan,
}

/// What came of one [`Decoder::step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes at `position` are missing. Make them resident, or say where the source ends, and step
    /// again.
    Need {
        /// Position of the first missing byte.
        position: u64,
        /// How many bytes are wanted from there on; any number brings the decoder on.
        length: usize,
    },
    /// [`Decoder::info`] is known now. Comes once, before the first [`Step::Frames`].
    Opened,
    /// [`Decoder::frames`] are new. They are gone at the next step.
    Frames,
    /// The slice's time is up. The bytes are there: step again in the next slice.
    Slice,
    /// No more frames will come.
    End,
}

/// Decodes one track of one source, in slices, as far as its bytes are resident.
///
/// Dropping it in any state unwinds what it was doing and gives its stack back.
pub struct Decoder {
    coroutine: Coroutine<(), Pause>,
    desk: Rc<Desk>,
    resident: Resident,
    frames: Frames,
    position: u64,
    info: Option<Info>,
    /// How the coroutine came back, while what it left on the tray goes out first.
    back: Option<Back<Pause>>,
    failed: Option<Error>,
}

impl Decoder {
    /// A decoder that has not begun.
    ///
    /// # Errors
    /// [`Error::NoStack`].
    pub fn new(stacks: &Stacks, resident: Resident, ask: Ask<'_>) -> Result<Self, Error> {
        let desk = Rc::new(Desk {
            until: Instant::now().into(),
            tray: RefCell::default(),
            tray_position: 0.into(),
            frames_there: None.into(),
            recording: Recording::new(ask.index.clone()).into(),
            info: RefCell::default(),
            decoded: 0.into(),
            undecoded: 0.into(),
            made: 0.into(),
            read_to: 0.into(),
        });
        if let Some(name) = ask.name_hint {
            tracing::debug!(name, from_frame = ask.from_frame, "new decoder");
        }
        let wanted = Wanted { track: ask.track, from_frame: ask.from_frame, mode: ask.mode };
        let (inner_desk, inner_resident) = (Rc::clone(&desk), resident.clone());
        let (table_bytes, spares) = (stacks.options().sample_table_bytes, stacks.spares().clone());
        let coroutine = Coroutine::new(stacks, move |leave, below| {
            let (desk, resident) = (inner_desk, inner_resident);
            let inside = Inside { leave, below, desk, resident, table_bytes, spares };
            track::run(Rc::new(inside), wanted)
        })?;
        Ok(Self {
            coroutine,
            desk,
            resident,
            frames: Frames::default(),
            position: 0,
            info: None,
            back: None,
            failed: None,
        })
    }

    /// Goes on until something is to be said, at the latest soon after `until`.
    ///
    /// # Errors
    /// Why the track is refused or given up; the same again at every later step.
    pub fn step(&mut self, until: Instant) -> Result<Step, Error> {
        self.frames.clear();
        loop {
            if let Some(back) = self.back.take()
                && let Some(step) = self.settle(back)?
            {
                return Ok(step);
            }
            // The tray goes in empty, with the memory of its last load.
            *self.desk.tray.borrow_mut() = std::mem::take(&mut self.frames);
            self.desk.until.set(until);
            let back = self.coroutine.enter(());
            self.back = Some(back);
            if self.info.is_none() && self.desk.info.borrow().is_some() {
                self.info = self.desk.info.borrow_mut().take();
                return Ok(Step::Opened);
            }
        }
    }

    /// Says what there is to say before the coroutine is entered again: first its frames, then why
    /// it came back. `None`: enter it.
    fn settle(&mut self, back: Back<Pause>) -> Result<Option<Step>, Error> {
        if let Some(error) = &self.failed {
            self.back = Some(back);
            return Err(error.clone());
        }
        if !self.desk.tray.borrow().is_empty() {
            self.frames = self.desk.tray.take();
            self.position = self.desk.tray_position.get();
            self.back = Some(back);
            return Ok(Some(Step::Frames));
        }
        match back {
            Back::Left(Pause::Tray) => Ok(None),
            Back::Left(Pause::Slice) => Ok(Some(Step::Slice)),
            Back::Left(Pause::Need { position, length }) => {
                // The bytes may have come while frames went out.
                let is_there = self.resident.resident_to(position) > position;
                let is_needed = !is_there && !self.resident.at_end(position);
                Ok(is_needed.then_some(Step::Need { position, length }))
            }
            Back::Ended(Ok(())) => {
                self.back = Some(Back::Ended(Ok(())));
                Ok(Some(Step::End))
            }
            Back::Ended(Err(error)) => {
                self.failed = Some(error.clone());
                self.back = Some(Back::Ended(Ok(())));
                Err(error)
            }
        }
    }

    /// What the track is; `None` before [`Step::Opened`].
    pub fn info(&self) -> Option<&Info> {
        self.info.as_ref()
    }

    /// The frames of the last [`Step::Frames`]; empty after any other step.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Index of the first of [`frames`](Self::frames) on the trimmed timeline.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many frames the track turned out to have. `None` before [`Step::End`].
    pub fn frames_there(&self) -> Option<u64> {
        self.desk.frames_there.get()
    }

    /// What is known of the track's packets now, if that is more than what the decoder was given: its
    /// points up to here, and behind the last packet also how many frames there are.
    pub fn index(&self) -> Option<Rc<Index>> {
        self.desk.recording.borrow().news().map(|index| Rc::new(index.clone()))
    }

    /// Packets that were given to the codec so far. A late start passes most of those before it.
    pub fn decoded_packets(&self) -> u64 {
        self.desk.decoded.get()
    }

    /// Packets that did not decode so far. Silence of their length stands in their place.
    pub fn undecoded_packets(&self) -> u64 {
        self.desk.undecoded.get()
    }

    /// Frames that were decoded and given out so far. Silence does not count, nor what is decoded and
    /// dropped.
    pub fn decoded_frames(&self) -> u64 {
        self.desk.made.get()
    }

    /// Where the decoder read last in the source: what lies before may be released, unless a later
    /// [`Step::Need`] asks for it again.
    pub fn read_to(&self) -> u64 {
        self.desk.read_to.get()
    }
}
