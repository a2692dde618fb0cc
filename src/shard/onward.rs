//! What follows a segment that a client asked for as it is: it is fetched before the client asks.
//!
//! Who plays through `/o/` gets playlists and segments byte for byte, and decides alone what comes next. When a
//! playlist of HLS on demand passes that stays in the cache, the shard that owns it reads it, and tells the others
//! to do so; each keeps in mind which of its segments it owns (`chains`). When one of those passes, the shard has the
//! ones behind it fetched by the way of every client, as far ahead as for one who listens (`hls/schedule`). A fetch is
//! shared with whoever wants the same, so the origin is asked once.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    By, Mail, Shard,
    chains::{Chains, Place},
    playlists::Read,
    segments::{Brought, Segments},
};
use crate::{
    hls::{Parts, Resource, Schedule, playlist::Variables},
    pcm::SourceName,
    runtime::{self, Queue, ShardId},
};

/// Playlists that one shard tells another of and that are not read there yet; of more none is told.
pub(super) const LISTS_PER_PAIR: usize = 8;

/// Playlists of which segments are fetched ahead at a time.
const FORERUNS: usize = 32;

/// A client that asks for a segment so many behind the last one of this shard has played those between.
const NEAR_SEGMENTS: u32 = 16;

/// Segments after which others have their turn while a playlist is read.
const TOGETHER: usize = 16;

/// What a shard knows of what clients play by themselves.
#[derive(Default)]
pub(super) struct Onward {
    chains: RefCell<Chains>,
    foreruns: RefCell<Vec<Forerun>>,
    /// By shard: playlists that it was told of.
    told: Vec<Cell<usize>>,
}

/// Segments of one playlist that are fetched ahead.
struct Forerun {
    of: SourceName,
    schedule: Rc<RefCell<Option<Schedule>>>,
    position: Rc<Cell<u32>>,
    is_running: Rc<Cell<bool>>,
}

impl Forerun {
    /// That of a client which begins with a segment.
    fn new(of: SourceName, mut schedule: Schedule, segment: u32) -> Self {
        schedule.jump(segment);
        let schedule = Rc::new(Some(schedule).into());
        Self { of, schedule, position: Rc::new(segment.into()), is_running: Rc::default() }
    }
}

impl Onward {
    pub(super) fn new(shards: usize) -> Self {
        Self { told: vec![Cell::new(0); shards], ..Self::default() }
    }

    /// A shard has read what it was told of.
    pub(super) fn is_read(&self, peer: ShardId) {
        let told = &self.told[usize::from(peer.0)];
        told.set(told.get().saturating_sub(1));
    }
}

impl Shard {
    /// A version of a playlist passed that stays in the cache.
    pub(super) fn list_passed(self: &Rc<Self>, of: &SourceName, version: &str) {
        if self.onward.chains.borrow().knows(of, version) {
            return;
        }
        // It is read once, whatever comes of it.
        self.onward.chains.borrow_mut().learn(of.clone(), version.to_owned(), Vec::new());
        let (shard, of, version) = (Rc::clone(self), of.clone(), version.to_owned());
        let reading = async move {
            if shard.learn_list(of.clone(), version.clone()).await {
                shard.tell_of_list(&of, &version);
            }
        };
        runtime::spawn(Queue::Background, "segments of a playlist", reading).detach();
    }

    fn tell_of_list(&self, of: &SourceName, version: &str) {
        for peer in (0..self.route.shards).map(ShardId).filter(|peer| *peer != self.id) {
            let told = &self.onward.told[usize::from(peer.0)];
            let mail = || Mail::Passed(Box::new((of.clone(), version.to_owned())));
            if told.get() < LISTS_PER_PAIR && self.mailbox.try_send(peer, mail()).is_ok() {
                told.set(told.get() + 1);
            }
        }
    }

    /// A playlist passed at another shard, which is told when it has been read here.
    pub(super) fn list_passed_at(self: &Rc<Self>, peer: ShardId, of: SourceName, version: String) {
        let shard = Rc::clone(self);
        let reading = async move {
            shard.learn_list(of, version).await;
            // Refused only by a shard that has ended.
            let _ = shard.mailbox.try_send(peer, Mail::Known);
        };
        runtime::spawn(Queue::Background, "segments of a playlist", reading).detach();
    }

    /// Keeps in mind which segments of a playlist this shard owns. False: it names none, or is live.
    async fn learn_list(self: &Rc<Self>, of: SourceName, version: String) -> bool {
        let Some(parts) = self.parts_here(&of).await else { return false };
        let mut places = Vec::new();
        for segment in 0..parts.segments() {
            places.extend(self.place_of(&of, &parts, segment));
            if (segment as usize).is_multiple_of(TOGETHER) {
                runtime::yield_if_needed().await;
            }
        }
        self.onward.chains.borrow_mut().learn(of, version, places);
        true
    }

    /// The segments of a playlist that is in the cache and names any.
    async fn parts_here(self: &Rc<Self>, of: &SourceName) -> Option<Rc<Parts>> {
        let Ok(came) = self.fetch_playlist(of.clone(), By::NodeIfCached).await else {
            // It may come another time.
            self.onward.chains.borrow_mut().forget(of);
            return None;
        };
        match self.read_playlist(&came, &Variables::default()).ok()? {
            Read::Media(parts) => Some(parts),
            Read::Multivariant(_) => None,
        }
    }

    /// Where a segment lies, if this shard owns it.
    fn place_of(&self, of: &SourceName, parts: &Parts, segment: u32) -> Option<Place> {
        let Resource { url, range, .. } = parts.resource(segment)?;
        let (name, path) = self.files.referred(&of.name, &url)?;
        let key = self.files.key(&name, &path).ok()?;
        let start = range.map_or(0, |range| range.start);
        (self.route.owner(&key) == self.id).then_some(Place { resource: key.id, start, segment })
    }

    /// A part of a resource passed that stays in the cache, from a position on: if it is a segment of a playlist
    /// that passed, what follows it is fetched.
    pub(super) fn segment_passed(self: &Rc<Self>, source: &SourceName, position: u64) {
        let Ok(key) = self.files.key(&source.name, &source.path) else { return };
        let chains = self.onward.chains.borrow();
        let Some((of, segment)) = chains.find(key.id, position) else { return };
        let mut foreruns = self.onward.foreruns.borrow_mut();
        let at = foreruns.iter().position(|forerun| forerun.of == *of);
        // Wanted last, it goes last.
        let forerun = match at {
            Some(at) => foreruns.remove(at),
            None => Forerun::new(of.clone(), Schedule::new(self.options.reach), segment),
        };
        if foreruns.len() == FORERUNS {
            foreruns.remove(0);
        }
        forerun.position.set(segment);
        if !forerun.is_running.replace(true) {
            let (shard, of) = (Rc::clone(self), of.clone());
            let (schedule, position) = (Rc::clone(&forerun.schedule), Rc::clone(&forerun.position));
            let is_running = Rc::clone(&forerun.is_running);
            let running = async move {
                if let Some(mut running) = schedule.take() {
                    shard.run_ahead(&of, &position, &mut running).await;
                    schedule.replace(Some(running));
                }
                is_running.set(false);
            };
            runtime::spawn(Queue::Io, "segments that follow", running).detach();
        }
        foreruns.push(forerun);
    }

    /// Fetches what follows the segment at which a client is, until that is as far ahead as it may be.
    async fn run_ahead(self: &Rc<Self>, of: &SourceName, at: &Cell<u32>, schedule: &mut Schedule) {
        let Some(parts) = self.parts_here(of).await else { return };
        let segments = Segments::new(self, of, By::Node);
        loop {
            schedule.come_to(at.get(), NEAR_SEGMENTS);
            let Some(segment) = schedule.next(parts.tape(), parts.segments()) else { return };
            let brought = Brought::default();
            if let Some(resource) = parts.resource(segment).filter(|_| !parts.is_gap(segment)) {
                // Its client decrypts it, if it is for this client.
                let resource = Resource { key: None, ..resource };
                if !segments.bring(segment, &resource, &brought).await {
                    return;
                }
            }
            schedule.fetched(segment, brought.bytes());
        }
    }
}
