//! An encoder under way: it fills a resource beside its source, from which all read who want the same
//! bytes, and which stays for whoever comes later where the disk takes it.
//!
//! It works while somebody wants bytes that are not there yet, a bounded way ahead of them, in turns like
//! a decoder. With the last of them it ends, and what it wrote is dropped.
//!
//! What the stream begins with is not known before its end. Who plays along is given a provisional front;
//! the final one is written behind the body, and goes out before it from then on (`stored`).

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    time::Duration,
};

use futures_lite::future;

use super::{
    Refusal, Shard,
    index::Place,
    pace::Pace,
    pcm::{Playing, block},
    promises::{ENCODING_BYTES, Promise},
    shares::{Conversion, Share},
    stored::{About, Made},
};
use crate::{
    assets::{FillPermit, Lease},
    bufpool::Class,
    encode::{Encoder, Output},
    pcm::{self, Rendition},
    runtime::{self, Queue, Task},
    storage::{self, CHUNK_BYTES, Failure, ObjectId, StreamingResource},
    stream,
};

/// How far ahead of who reads it the encoder works, in bytes: four chunks, as any stream begins.
pub(super) const AHEAD_BYTES: u64 = 4 * CHUNK_BYTES;

/// The first bytes that are written together: they are what a listener waits for.
const FIRST_BYTES: usize = Class::Medium.bytes();

/// The encoders of a shard that are under way, by what they fill.
#[derive(Default)]
pub(super) struct Encodings {
    under_way: RefCell<HashMap<ObjectId, Weak<Encoding>>>,
}

impl Encodings {
    /// The one that fills what this is a lease on, if all of it can still be read.
    pub(super) fn of(&self, lease: &Lease) -> Option<Rc<Encoding>> {
        let found = self.under_way.borrow().get(&lease.key.id)?.upgrade()?;
        (found.lease.generation == lease.generation && found.is_open()).then_some(found)
    }

    fn add(&self, encoding: &Rc<Encoding>) {
        let mut under_way = self.under_way.borrow_mut();
        under_way.retain(|_, encoding| encoding.strong_count() > 0);
        under_way.insert(encoding.lease.key.id, Rc::downgrade(encoding));
    }
}

/// An encoder under way. It ends with its last holder, unless all that is left is to keep what it made.
pub(super) struct Encoding {
    /// On what it fills.
    pub(super) lease: Lease,
    /// What the stream begins with, for who plays along.
    pub(super) front: Vec<u8>,
    /// As many bytes as the final front has, for who will put that into their place.
    pub(super) room: Vec<u8>,
    course: Rc<Course>,
    task: RefCell<Option<Task<()>>>,
}

/// How far an encoder has come.
#[derive(Default)]
struct Course {
    written_bytes: Cell<u64>,
    /// Bytes of the body, once all of it is written.
    body_bytes: Cell<Option<u64>>,
    /// What stands before it then.
    front: OnceCell<Vec<u8>>,
}

impl Encoding {
    /// Begins to encode what `playing` plays.
    pub(super) fn begin(shard: &Rc<Shard>, made: &Made, playing: Playing, work: Work) -> Rc<Self> {
        let (lease, permit) = made.begin(shard.files.store());
        let (front, room) = (work.encoder.front(), work.encoder.room());
        let course = Rc::<Course>::default();
        let (its, shard_) = (Rc::clone(&course), Rc::clone(shard));
        let place = made.place().clone();
        let fill = Fill { shard: shard_, place, course: its, permit, is_settled: false };
        let task = runtime::spawn(Queue::Decode, "encode", work.run(playing, fill));
        let encoding = Rc::new(Self { lease, front, room, course, task: RefCell::new(Some(task)) });
        shard.encodings.add(&encoding);
        shard.stats.borrow_mut().transcodes.begun += 1;
        encoding
    }

    /// Where the body ends, as far as that is known.
    pub(super) fn end(&self) -> u64 {
        self.course.body_bytes.get().unwrap_or(u64::MAX)
    }

    /// What stands before the body, once that is whole.
    pub(super) fn final_front(&self) -> Option<&[u8]> {
        self.course.front.get().map(Vec::as_slice)
    }

    /// Whether who comes now finds all of it. Where no disk takes it, what was read is gone.
    fn is_open(&self) -> bool {
        let resource = &self.lease.resource;
        let begins = || self.course.written_bytes.get() == 0 || resource.present_from(0).is_some();
        resource.is_cached() && begins()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        // All of it is made: whether it stays is the disk's affair, and no client waits for that.
        if self.course.body_bytes.get().is_some() {
            self.task.take().into_iter().for_each(Task::detach);
        }
    }
}

/// An encoder, and what was promised for it.
pub(super) struct Work {
    encoder: Encoder,
    is_finished: bool,
    rendition: Rendition,
    pace: Pace,
    share: Share,
    _memory: Promise,
}

impl Work {
    /// An encoder for an answer.
    ///
    /// # Errors
    /// What it cannot encode, and that there is no room for it.
    pub(super) fn new(
        shard: &Shard,
        rendition: &Rendition,
        output: &Output,
    ) -> Result<Self, Refusal> {
        let encoder = Encoder::new(output).map_err(pcm::Error::from)?;
        let memory = shard.promise(ENCODING_BYTES + encoder.further_bytes())?;
        let share = shard.share(Conversion::encoding(rendition))?;
        let pace = Pace::new(rendition.spec.rate_hz, 0, runtime::now());
        let rendition = rendition.clone();
        Ok(Self { encoder, is_finished: false, rendition, pace, share, _memory: memory })
    }

    async fn run(mut self, mut playing: Playing, fill: Fill) {
        match self.encode(&mut playing, &fill).await {
            Err(refusal) => fill.fail(refusal),
            Ok(()) => {
                let (frames, body_bytes) = (playing.frames_done(), fill.written_bytes());
                let is_torn = playing.is_torn();
                let front = self.encoder.final_front();
                // The disk is waited for without what others have use for.
                drop((self, playing));
                fill.settle(front, &About { body_bytes, frames }, is_torn).await;
            }
        }
    }

    async fn encode(&mut self, playing: &mut Playing, fill: &Fill) -> Result<(), Refusal> {
        let mut buffer = block(&fill.shard, Class::Large).await?;
        let mut filled = 0;
        loop {
            let whole = fill.piece_bytes();
            filled += self.encoder.pull(&mut buffer[filled..whole]);
            if filled == whole || (self.is_finished && filled > 0) {
                fill.wanted().await;
                fill.write(&buffer[..filled]).await?;
                self.pace.sent(playing.frames_done());
                filled = 0;
            } else if self.is_finished {
                return Ok(());
            } else {
                let lead_us = self.pace.lead_us(runtime::now());
                match playing.next(lead_us).await? {
                    Some(pcm) => self.push(&fill.shard, &pcm, lead_us).await,
                    None => {
                        self.encoder.finish();
                        self.is_finished = true;
                    }
                }
            }
        }
    }

    /// Encodes what came next, in turns.
    async fn push(&mut self, shard: &Shard, pcm: &[u8], lead_us: i64) {
        let spec = self.rendition.spec;
        for frames in pcm.chunks(self.encoder.turn_frames() * spec.frame_bytes()) {
            let turn = shard.decode.wait(lead_us).await;
            let began = runtime::core_time();
            self.encoder.push(frames);
            let cost = runtime::core_time().saturating_sub(began);
            drop(turn);
            let audio = frames.len() as f64 / (spec.frame_bytes() as f64 * f64::from(spec.rate_hz));
            self.share.measured(cost, Duration::from_secs_f64(audio));
            runtime::yield_if_needed().await;
        }
    }
}

/// The side of an encoder where its bytes go.
struct Fill {
    shard: Rc<Shard>,
    /// Of what it is made.
    place: Place,
    course: Rc<Course>,
    permit: FillPermit,
    is_settled: bool,
}

impl Fill {
    fn resource(&self) -> &Rc<StreamingResource> {
        &self.permit.resource
    }

    fn written_bytes(&self) -> u64 {
        self.course.written_bytes.get()
    }

    /// Bytes that are written together next: up to the end of a chunk, but for the first.
    fn piece_bytes(&self) -> usize {
        match self.written_bytes() {
            0 => FIRST_BYTES,
            written => (CHUNK_BYTES - written % CHUNK_BYTES) as usize,
        }
    }

    /// Waits until somebody wants what comes next.
    async fn wanted(&self) {
        loop {
            let changed = self.resource().demands_changed();
            self.fail_lost();
            let written = self.written_bytes();
            if self.resource().demands().iter().any(|demand| demand.range.end > written) {
                return;
            }
            changed.await;
        }
    }

    /// Writes what comes next, as soon as there is room for it.
    async fn write(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let (resource, at) = (self.resource(), self.written_bytes());
        if at % CHUNK_BYTES + bytes.len() as u64 > CHUNK_BYTES || at.is_multiple_of(CHUNK_BYTES) {
            self.shard.files.store().make_room_ahead(&self.permit);
        }
        let written = stream::write(resource, &self.shard.pool, at, bytes);
        future::or(self.fail_all_lost(), written).await.map_err(|error| match error {
            storage::Error::Exhausted(exhausted) => exhausted.into(),
            error => Refusal::from(pcm::Error::from(Failure::new(error))),
        })?;
        self.course.written_bytes.set(at + bytes.len() as u64);
        Ok(())
    }

    /// [Fails what is lost](Self::fail_lost) for whoever comes, as long as it is polled.
    async fn fail_all_lost<T>(&self) -> T {
        loop {
            let changed = self.resource().demands_changed();
            self.fail_lost();
            changed.await;
        }
    }

    /// Tells who waits for bytes that were dropped, where no disk took them: they are not made again.
    fn fail_lost(&self) {
        let (resource, written) = (self.resource(), self.written_bytes());
        for demand in resource.demands() {
            let from = demand.range.start;
            let is_gone = from < written && resource.present_from(from).is_none();
            if is_gone && !resource.is_lost(from) {
                resource.fail_range(from..written, Failure::new(Refusal::Broken));
            }
        }
    }

    /// The body is whole: it stays, with its front behind it, where the disk has all of both and nothing of
    /// the source was missing.
    async fn settle(mut self, front: Vec<u8>, about: &About, is_torn: bool) {
        let course = Rc::clone(&self.course);
        let front = course.front.get_or_init(|| front);
        self.course.body_bytes.set(Some(about.body_bytes));
        // The shard does not end before it.
        let _pass = self.shard.gate.enter();
        let resource = Rc::clone(self.resource());
        let store = self.shard.files.store();
        let is_kept = resource.is_cached()
            && self.shard.is_of_all(&self.place, is_torn)
            && self.write(front).await.is_ok()
            && store.settle_derived(&self.permit, &about.to_string()).await;
        if is_kept {
            self.shard.stats.borrow_mut().transcodes.kept += 1;
        } else {
            store.forget(&self.permit);
            // Who reads it comes to its end, and waits for nothing that was dropped.
            let _ = resource.commit();
            resource.fail(Failure::new(Refusal::Broken));
        }
        self.is_settled = true;
    }

    /// No more of it comes.
    fn fail(mut self, refusal: Refusal) {
        tracing::debug!(%refusal, "an encoder gives up");
        self.shard.files.store().forget(&self.permit);
        self.resource().fail(Failure::new(refusal));
        self.is_settled = true;
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        // Nobody wants it any more, or the encoder broke: then those who wait must hear of it.
        if !self.is_settled {
            self.shard.files.store().forget(&self.permit);
            self.resource().fail(Failure::new(Refusal::Broken));
        }
    }
}
