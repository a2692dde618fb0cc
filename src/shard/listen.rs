//! A session's way to the frames of a timeline: what is here, what is coming, and what has to be begun.

use std::{rc::Rc, time::Duration};

use futures_lite::future;

use super::{
    Hearing, Reason, Refusal, Shard,
    ahead::Ahead,
    decoding::Decoding,
    index::Place,
    promises::{DECODER_BYTES, Promise},
    serve::Ends,
    shares::{Conversion, Share},
    understand::{Readable, Understood},
};
use crate::{
    bufpool::Exhausted,
    decode,
    pcm::{self, Known, Listening, Look, Maker, Piece, Rendition, TimelineKey},
    runtime::{self, Queue},
    stream::Patience,
};

/// How long one who is listening waits for others to leave, where there is no room for a decoder that
/// it needs again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Decoders that are kept for who may come back to where they stand, while others are begun. Who comes
/// back to none waits a millisecond longer; and of what was costly to make the others have use.
const KEPT_ALONE: usize = 8;

/// A decoder that has understood its source and made nothing yet, and the memory promised for it.
pub(super) struct Fresh {
    pub(super) maker: Maker,
    pub(super) memory: Promise,
}

/// Listens to a timeline for one session.
pub(super) struct Listen {
    shard: Rc<Shard>,
    listening: Listening,
    /// The lease on the source lives as long as this.
    readable: Readable,
    place: Place,
    known: Rc<Known>,
    rendition: Rendition,
    /// Left over from finding out what the source is.
    fresh: Option<Fresh>,
    /// Of the core, once it began a decoder: it is kept also while that stands still.
    share: Option<Rc<Share>>,
    /// Of a source in segments.
    ahead: Option<Ahead>,
    /// Something was missing when frames were made that it heard.
    is_torn: bool,
    /// Segments that it heard as silence, and the last of them.
    missed: (u32, Option<u32>),
}

impl Listen {
    /// Listens to the frames of an answer, of a source of which it is known what it is, and has segments
    /// fetched ahead.
    pub(super) fn new(shard: &Rc<Shard>, understood: Understood, rendition: Rendition) -> Self {
        let ahead = understood.readable.ahead(shard);
        Self { ahead, ..Self::bare(shard, understood, rendition) }
    }

    /// The same where somebody else has segments fetched.
    pub(super) fn bare(shard: &Rc<Shard>, understood: Understood, rendition: Rendition) -> Self {
        let Understood { known, readable, place, fresh, .. } = understood;
        let key = TimelineKey {
            version: place.name.version.clone(),
            track: place.name.track.unwrap_or(0),
            frames: rendition.info.frames,
            spec: rendition.spec,
        };
        let listening = shard.renditions.listen(key, rendition.total());
        let (shard, share, ahead) = (Rc::clone(shard), None, None);
        let (is_torn, missed) = (false, (0, None));
        Self {
            shard,
            listening,
            readable,
            place,
            known,
            rendition,
            fresh,
            share,
            ahead,
            is_torn,
            missed,
        }
    }

    /// What of a presentation is heard at a frame.
    pub(super) fn hearing(&self, frame: u64) -> Option<Hearing> {
        let (variant, segment) = (self.readable.variant(), self.segment(frame)?);
        Some(Hearing { variant, segment, missing: self.missed.0 })
    }

    /// The segment of a presentation that is heard at a frame.
    fn segment(&self, frame: u64) -> Option<u32> {
        let parts = self.readable.presentation()?.parts();
        Some(parts.tape().part_at(decode::time_of(frame as i64, self.rendition.spec.rate_hz)))
    }

    /// It goes on for one who heard another variant before.
    pub(super) fn after(self, other: &Self) -> Self {
        Self { missed: other.missed, ..self }
    }

    /// These frames are heard.
    fn hear(&mut self, piece: &Piece) {
        self.is_torn |= piece.is_torn;
        let segment = self.segment(piece.first).filter(|_| piece.is_missing);
        if segment.is_some() && segment != self.missed.1 {
            self.missed = (self.missed.0 + 1, segment);
        }
    }

    /// What the answer is.
    pub(super) fn rendition(&self) -> &Rendition {
        &self.rendition
    }

    /// Whether something was missing when frames were made that it heard.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Where the timeline turned out to end.
    pub(super) fn end(&self) -> Option<u64> {
        self.listening.end()
    }

    /// Where the window ends that holds `frame`.
    pub(super) fn window_end(&self, frame: u64) -> u64 {
        let grid = self.listening.grid();
        grid.window_of(frame) + grid.window_frames()
    }

    /// The piece that holds `frame`; `None` where the timeline ended before it. It is what a session
    /// waits for to begin, or one with so much lead needs next.
    ///
    /// # Errors
    /// Why it cannot be made; for one that begins, also that there is no room for another decoder.
    pub(super) async fn piece(
        &mut self,
        frame: u64,
        lead_us: i64,
        is_first: bool,
    ) -> Result<Option<Piece>, Refusal> {
        if let Some(ahead) = &self.ahead {
            ahead.at(decode::time_of(frame as i64, self.rendition.spec.rate_hz));
        }
        let want = self.listening.want(frame, lead_us, is_first);
        loop {
            let more = want.more();
            let look = want.look();
            if !matches!(look, Look::Nobody) {
                // Others make it: what was left over from finding out is of no use.
                self.fresh = None;
            }
            match look {
                Look::Piece(piece) => {
                    self.hear(&piece);
                    return Ok(Some(piece));
                }
                Look::End => return Ok(None),
                Look::Failed(error) => return Err(error.into()),
                Look::Coming => more.await,
                // While this one waits for room another may begin, and make it for both.
                Look::Nobody => {
                    let made = async {
                        more.await;
                        Ok(())
                    };
                    future::or(made, self.begin(frame, is_first)).await?;
                }
            }
        }
    }

    /// Begins a decoder before `frame`.
    async fn begin(&mut self, frame: u64, is_first: bool) -> Result<(), Refusal> {
        let (memory, share) = self.room(is_first).await?;
        self.shard.end_left_alone(KEPT_ALONE).await;
        let (maker, memory) = self.maker(frame, is_first, memory).await?;
        // Another may have begun while this one waited for room.
        if self.listening.has_maker(frame) {
            return Ok(());
        }
        let (shard, making) = (Rc::clone(&self.shard), self.listening.begin(frame));
        let (seat, rate_hz) = (making.seat(), self.rendition.spec.rate_hz);
        let (_ends, place) = (Ends(Rc::clone(&shard)), self.place.clone());
        let decoding = Decoding {
            shard,
            making,
            maker,
            share,
            rate_hz,
            place,
            undecoded: 0,
            doubt: None,
            memory,
            _ends,
        };
        seat.driven_by(runtime::spawn(Queue::First, "decode", decoding.run()));
        Ok(())
    }

    /// A decoder that is ready to make the window that holds `frame`. What was promised may still be on
    /// loan to others; one that is under way waits until it is not.
    async fn maker(
        &mut self,
        frame: u64,
        is_first: bool,
        promise: Promise,
    ) -> Result<(Maker, Vec<Promise>), Refusal> {
        let mut memory = vec![promise];
        let mut fresh = self.fresh.take().map(|fresh| {
            memory.push(fresh.memory);
            fresh.maker
        });
        let index = || self.known.index.borrow().clone();
        let (shard, mut patience) = (&self.shard, Patience::default());
        let (tables, from) =
            (pcm::codec_bytes(&self.known.info), self.listening.grid().window_of(frame));
        loop {
            let maker = fresh.take().map_or_else(
                || {
                    let reader = self.readable.input(shard);
                    let (track, index) = (self.place.name.track, index());
                    let ask = decode::Ask { track, index, ..Default::default() };
                    Maker::new(reader, &shard.stacks, &shard.pool, ask)
                },
                Ok,
            );
            let ready = maker.and_then(|mut maker| {
                maker.start(&self.known.info, self.rendition.spec, from, index())?;
                Ok(maker)
            });
            match ready {
                Err(pcm::Error::Exhausted(_))
                    if !is_first
                        && patience.wait(&shard.pool, pcm::STREAM_BYTES + tables).await => {}
                ready => return Ok((ready?, memory)),
            }
        }
    }

    /// Room for a decoder: what it may come to hold, less what a fresh one was promised, and its share
    /// of the core. Decoders that nobody listens to make room. One that begins is refused where that
    /// does not suffice; one that is under way waits.
    async fn room(&mut self, is_first: bool) -> Result<(Promise, Rc<Share>), Refusal> {
        let tables = pcm::codec_bytes(&self.known.info);
        let bytes = if self.fresh.is_some() { tables } else { DECODER_BYTES + tables };
        let shard = Rc::clone(&self.shard);
        let patience = if is_first { Duration::ZERO } else { PATIENCE };
        let until = runtime::now() + patience;
        loop {
            let more = future::or(shard.promises.more(), shard.shares.more());
            let lacking = match self.take(bytes, is_first) {
                Ok(room) => return Ok(room),
                Err(lacking) => lacking,
            };
            if shard.end_left_alone(0).await {
                continue;
            }
            let left = until.saturating_duration_since(runtime::now());
            if left.is_zero() {
                shard.refused(lacking);
                return Err(match lacking {
                    Reason::DecodeShare => Refusal::DecodeShare,
                    _ => Exhausted.into(),
                });
            }
            // In time or not, it is tried once more.
            let _ = runtime::timeout(left, more).await;
        }
    }

    fn take(&mut self, bytes: usize, is_first: bool) -> Result<(Promise, Rc<Share>), Reason> {
        let memory = self.shard.promises.give(bytes).map_err(|_| Reason::Memory)?;
        let (shares, conversion) = (&self.shard.shares, Conversion::of(&self.rendition));
        let share = match &self.share {
            Some(share) => Rc::clone(share),
            None if is_first => Rc::new(shares.give(conversion).ok_or(Reason::DecodeShare)?),
            // It was let in before, and what it listened to is gone.
            None => Rc::new(shares.keep(conversion)),
        };
        self.share = Some(Rc::clone(&share));
        Ok((memory, share))
    }
}

impl Shard {
    /// Memory for a decoder. Those that nobody listens to make room.
    pub(super) async fn promise_decoder(&self, bytes: usize) -> Result<Promise, Refusal> {
        loop {
            match self.promises.give(bytes) {
                Ok(promise) => return Ok(promise),
                Err(_) if self.end_left_alone(0).await => {}
                Err(exhausted) => {
                    self.refused(Reason::Memory);
                    return Err(exhausted.into());
                }
            }
        }
    }

    /// Gives up the decoders that nobody listens to any more, but for so many, and says whether there were
    /// any.
    async fn end_left_alone(&self, but_for: usize) -> bool {
        let alone = self.renditions.left_alone(but_for);
        let any = !alone.is_empty();
        for task in alone {
            task.cancel().await;
        }
        any
    }
}
