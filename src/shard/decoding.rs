//! Driving a decoder for those who listen to a timeline.
//!
//! It works while somebody waits for frames ahead of it, in turns by the smallest lead among them. With
//! nobody waiting it stands still, and is given up after a while: a later one makes the same frames.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    Shard,
    index::Place,
    promises::Promise,
    serve::{Ends, SLICE},
    shares::Share,
};
use crate::{
    bufpool::Class,
    pcm::{self, Call, Doubt, Maker, Making, Work},
    runtime::{self, Queue},
    stream::Patience,
};

/// How long a decoder is kept that nobody waits for: longer than a player at real time takes for a
/// block, and little enough that a crowd which stopped listening holds nothing.
const IDLE: Duration = Duration::from_secs(2);

/// How long those who listen have use for what was made while something was missing. Who comes later has it made
/// anew, and may find it there.
const DOUBTED: Duration = Duration::from_secs(5);

/// A decoder under way, and what was promised for it.
pub(super) struct Decoding {
    pub(super) shard: Rc<Shard>,
    pub(super) making: Making,
    pub(super) maker: Maker,
    pub(super) share: Rc<Share>,
    pub(super) rate_hz: u32,
    pub(super) place: Place,
    /// Packets that did not decode and are counted.
    pub(super) undecoded: u64,
    /// What it made since something of its source was missing.
    pub(super) doubt: Option<Doubt>,
    /// Of the decoder, and of the tables of its codec.
    pub(super) memory: Vec<Promise>,
    /// Last: who waits for what it had is told once that is free.
    pub(super) _ends: Ends,
}

/// What a decoder came to.
enum Step {
    /// Another piece.
    Made,
    /// Nobody needs it.
    Unwanted,
    /// The end of the timeline.
    End,
}

impl Decoding {
    /// Makes the first piece, for which somebody waits, and leaves the rest to the queue of all others.
    pub(super) async fn run(mut self) {
        match self.step().await {
            Ok(Step::Made) => {
                let seat = self.making.seat();
                seat.driven_by(runtime::spawn(Queue::Decode, "decode", self.rest()));
            }
            last => self.finish(last),
        }
    }

    async fn rest(mut self) {
        let last = loop {
            match self.step().await {
                Ok(Step::Made) => {}
                last => break last,
            }
        };
        self.finish(last);
    }

    /// Each packet is counted once, when the piece comes out that it is in, or would have been.
    fn count(&mut self) {
        self.shard.count_decoded(&mut self.maker);
        let undecoded = self.maker.undecoded_packets();
        let new = undecoded - std::mem::replace(&mut self.undecoded, undecoded);
        self.shard.stats.borrow_mut().undecoded_packets += new;
    }

    fn finish(mut self, last: Result<Step, pcm::Error>) {
        self.count();
        let Self { shard, making, maker, share, memory, place, doubt, _ends, .. } = self;
        if let Some(doubt) = doubt {
            let forgotten = async move {
                runtime::sleep(DOUBTED).await;
                doubt.forget();
            };
            runtime::spawn(Queue::Background, "doubt", forgotten).detach();
        }
        let end = maker.end();
        if let Some(index) = maker.index() {
            shard.learn_index(&place, &index);
        }
        // What it held is free by the time that others hear of its end.
        drop((maker, share, memory));
        match last {
            Ok(Step::Made | Step::Unwanted) => drop(making),
            Ok(Step::End) => making.end(end),
            Err(error) => making.fail(&error),
        }
    }

    /// Decodes in turns until there is a piece. Where there is no memory for it, others have it for the
    /// moment, and it is waited for.
    async fn step(&mut self) -> Result<Step, pcm::Error> {
        let (mut patience, mut idle_since) = (Patience::default(), None);
        loop {
            let called = self.making.called();
            let call = self.making.call();
            // What nobody listens to any more is not fetched either.
            if call == Call::Alone && !self.maker.has_all() {
                return Ok(Step::Unwanted);
            }
            let Call::Wanted { lead_us, is_first } = call else {
                let since: Instant = *idle_since.get_or_insert_with(runtime::now);
                let left = IDLE.saturating_sub(runtime::now().saturating_duration_since(since));
                if left.is_zero() {
                    return Ok(Step::Unwanted);
                }
                // In time or not, it is looked at once more.
                let _ = runtime::timeout(left, called).await;
                continue;
            };
            idle_since = None;
            let turns = if is_first { &self.shard.first } else { &self.shard.decode };
            let turn = turns.wait(lead_us).await;
            let work = self.maker.work(runtime::now() + SLICE);
            drop(turn);
            let memory = &self.shard.pool;
            match work {
                Err(pcm::Error::Exhausted(_))
                    if patience.wait(memory, Class::Large.bytes()).await => {}
                Err(error) => return Err(error),
                Ok(Work::Starved) => {
                    if !self.fetch().await? {
                        return Ok(Step::Unwanted);
                    }
                }
                Ok(Work::Slice | Work::Opened) => runtime::yield_if_needed().await,
                Ok(Work::Piece(piece)) => {
                    let audio_us = piece.frames * 1_000_000 / u64::from(self.rate_hz);
                    self.share.measured(piece.cost, Duration::from_micros(audio_us));
                    self.shard.stats.borrow_mut().frames += piece.frames;
                    self.count();
                    if piece.is_torn && self.doubt.is_none() {
                        self.doubt = Some(self.making.doubt(piece.first));
                    }
                    self.making.put(piece);
                    return Ok(if self.maker.is_done() { Step::End } else { Step::Made });
                }
                Ok(Work::End) => return Ok(Step::End),
            }
        }
    }

    /// Waits for bytes, for as long as somebody waits for what is made of them. `false`: nobody does.
    async fn fetch(&mut self) -> Result<bool, pcm::Error> {
        let Self { making, maker, .. } = self;
        let fetched = async { maker.fetch().await.map(|()| true) };
        let unwanted = async {
            loop {
                let called = making.called();
                if !matches!(making.call(), Call::Wanted { .. }) {
                    return Ok(false);
                }
                called.await;
            }
        };
        future::or(fetched, unwanted).await
    }
}

impl Shard {
    /// Counts the audio that a decoder made since it was counted last.
    pub(super) fn count_decoded(&self, maker: &mut Maker) {
        if let Some((codec, audio)) = maker.take_decoded() {
            self.stats.borrow_mut().decoded.add(codec, audio);
        }
    }
}
