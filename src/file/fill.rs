//! The fill of one resource: fetches what its readers demand until it is complete or deserted.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures_lite::future;
use url::Url;

use super::{
    Error,
    plan::{goes_on_alone, plan, within},
};
use crate::{
    assets::{Asset, AssetStore, FillPermit, Head},
    bufpool::Exhausted,
    net::{self, Client, Download, Known, Origin, Validator},
    runtime::{self, Queue, Task, event::Event},
    storage::{self, CHUNK_BYTES, Failure},
};

/// How far ahead of the write position room is made in the cache.
const ROOM_BYTES: u64 = 1 << 20;

/// How long, and how often, a fill that got no memory waits for some: five seconds in all.
const MEMORY_WAIT: Duration = Duration::from_millis(20);
const MEMORY_TRIES: u32 = 250;

/// Where a resource comes from.
pub(super) struct Provenance {
    pub client: Client,
    pub origin: Rc<Origin>,
    pub url: Url,
}

/// Everything the fill and its fetches share.
struct Fill {
    asset: Rc<Asset>,
    store: Rc<AssetStore>,
    from: Provenance,
    /// Told when a fetch has ended.
    progress: Event,
    /// Why the resource cannot be had, once a fetch found that out.
    failure: RefCell<Option<Failure>>,
    fetched_bytes: Cell<u64>,
}

/// One running request, and where its next byte goes.
struct Fetch {
    position: Rc<Cell<u64>>,
    ended: Rc<Cell<bool>>,
    /// Dropping it cancels the request.
    _task: Task<()>,
}

/// Says that a fetch has ended, in whichever way.
struct Ending {
    fill: Rc<Fill>,
    ended: Rc<Cell<bool>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ended.set(true);
        self.fill.progress.notify_all();
    }
}

/// Runs until the resource is complete, has failed, or is wanted by nobody.
///
/// # Cancellation
/// Dropping it cancels all fetches and gives up the permit; what was written stays.
pub(super) async fn fill(permit: FillPermit, store: Rc<AssetStore>, from: Provenance) {
    let asset = Rc::clone(&permit);
    follow_demands(Rc::clone(&asset), store, from).await;
    // Given up in the same turn in which nobody wanted the resource, and not by fetches that are
    // still being cancelled: whoever opens it from here on gets the permit, or would wait for ever.
    drop(permit);
    // Chunks that are not full count towards no bound until they are ended.
    asset.resource.flush().await;
}

async fn follow_demands(asset: Rc<Asset>, store: Rc<AssetStore>, from: Provenance) {
    let fill = Rc::new(Fill {
        asset,
        store,
        from,
        progress: Event::new(),
        failure: RefCell::default(),
        fetched_bytes: Cell::new(0),
    });
    let mut fetches: Vec<Fetch> = Vec::new();
    loop {
        // Made before looking, so that what happens in between is not missed.
        let (progress, deserted) = (fill.progress.listen(), fill.asset().deserted.listen());
        let demands_changed = fill.asset().resource.demands_changed();
        fetches.retain(|fetch| !fetch.ended.get());
        if let Some(failure) = fill.failure.take() {
            return fill.give_up(failure);
        }
        // Not before its fetches have ended: the last one has yet to say that this is the end.
        if fetches.is_empty() && fill.asset().resource.is_complete() {
            // Also where the fetch that completed it was cancelled before it could say so.
            let _ = fill.asset().resource.commit();
            return;
        }
        fill.steer(&mut fetches);
        if !fill.is_wanted(&fetches) {
            return fill.leave();
        }
        future::or(future::or(progress, deserted), demands_changed).await;
    }
}

impl Fill {
    fn asset(&self) -> &Rc<Asset> {
        &self.asset
    }

    /// Readers, or enough done to finish without them.
    fn is_wanted(&self, fetches: &[Fetch]) -> bool {
        let resource = &self.asset().resource;
        self.asset().is_leased()
            || (!fetches.is_empty()
                && goes_on_alone(
                    resource.present_bytes(),
                    resource.length(),
                    self.fetched_bytes.get(),
                ))
    }

    /// Cancels and starts fetches as the demands want it.
    fn steer(self: &Rc<Self>, fetches: &mut Vec<Fetch>) {
        let resource = &self.asset().resource;
        let gaps: Vec<_> = resource
            .demands()
            .into_iter()
            .filter_map(|demand| resource.next_gap(within(&demand.range, resource.length())))
            .map(|gap| gap.start)
            .collect();
        let positions: Vec<_> = fetches.iter().map(|fetch| fetch.position.get()).collect();
        let plan = plan(&gaps, &positions);
        for index in plan.cancel.into_iter().rev() {
            fetches.swap_remove(index);
        }
        fetches.extend(plan.start.into_iter().map(|gap| self.start(gap)));
    }

    fn start(self: &Rc<Self>, gap: u64) -> Fetch {
        // Whole chunks are asked for, but never bytes again that are already here.
        let chunk = gap - gap % CHUNK_BYTES;
        let from = match self.asset().resource.present_from(chunk) {
            Some(_) => gap,
            None => chunk,
        };
        let position = Rc::new(Cell::new(from));
        let ended = Rc::new(Cell::new(false));
        let ending = Ending { fill: Rc::clone(self), ended: Rc::clone(&ended) };
        let written = Rc::clone(&position);
        let task = runtime::spawn(Queue::Io, "fetch", async move {
            let fill = &ending.fill;
            if let Err(failure) = fill.fetch(&written).await {
                fill.failure.replace(Some(failure));
            }
        });
        Fetch { position, ended, _task: task }
    }

    /// One request, from `position` to the end of the resource or to bytes that are present.
    async fn fetch(&self, position: &Cell<u64>) -> Result<(), Failure> {
        let (head, mut download) = self.request(position.get()).await?;
        // An origin that knows no ranges sends the whole, over what is here already.
        let is_whole = download.position() < position.get();
        position.set(download.position());
        self.learn(head)?;
        let resource = &self.asset().resource;
        while let Some(bytes) = download.chunk().await.map_err(Failure::new)? {
            self.check_length(position.get() + bytes.len() as u64)?;
            self.make_room(position.get(), bytes.len() as u64);
            self.write(position.get(), &bytes).await?;
            position.set(position.get() + bytes.len() as u64);
            self.fetched_bytes.set(self.fetched_bytes.get() + bytes.len() as u64);
            if resource.length().is_none() && !self.asset().is_leased() {
                // What may have no end is not fetched to its end for nobody.
                self.progress.notify_all();
            }
            if !is_whole && resource.present_from(position.get()).is_some() {
                return self.end().await;
            }
        }
        if resource.length().is_none_or(|length| position.get() >= length) {
            resource.set_length(position.get()).map_err(Failure::new)?;
        }
        self.end().await
    }

    /// What one fetch wrote is whole, and perhaps with it the resource.
    async fn end(&self) -> Result<(), Failure> {
        let resource = &self.asset().resource;
        if resource.is_complete() {
            // Readers need not wait for the disk to learn where the end is.
            resource.commit().map_err(Failure::new)?;
        }
        resource.flush().await;
        Ok(())
    }

    async fn request(&self, from: u64) -> Result<(net::Head, Download), Failure> {
        let Provenance { client, origin, url } = &self.from;
        let (client, origin, url) = (client.clone(), Rc::clone(origin), url.clone());
        let known = self.known();
        let started = Download::start(client, origin, url, from, None, known).await;
        started.map_err(|error| {
            tracing::debug!(url = %self.asset().key.url, from, %error, "fetch failed");
            Failure::new(error)
        })
    }

    /// Writes, and waits for memory where there is none: others give back what they hold soon, or
    /// the stream has to be shed.
    async fn write(&self, position: u64, bytes: &[u8]) -> Result<(), Failure> {
        for _ in 0..MEMORY_TRIES {
            match self.asset().resource.write_at(position, bytes).await {
                Err(storage::Error::Exhausted(_)) => runtime::sleep(MEMORY_WAIT).await,
                outcome => return outcome.map_err(Failure::new),
            }
        }
        Err(Failure::new(Exhausted))
    }

    /// What later ranges must agree with, so that bytes of two versions never mix.
    fn known(&self) -> Known {
        let length = self.asset().resource.length();
        let head = self.asset().head();
        Known { length, validator: head.and_then(|head| Validator::of(&head.fields)) }
    }

    /// No resource grows beyond its bound, whatever its origin says or sends.
    fn check_length(&self, length: u64) -> Result<(), Failure> {
        let limit_bytes = self.store.object_bytes();
        match length > limit_bytes {
            true => Err(Failure::new(Error::TooLong { limit_bytes })),
            false => Ok(()),
        }
    }

    fn learn(&self, head: net::Head) -> Result<(), Failure> {
        if let Some(length) = head.length {
            self.check_length(length)?;
            self.asset().resource.set_length(length).map_err(Failure::new)?;
            self.store.make_room(self.asset(), length);
        }
        let etag = match head.validator {
            Some(Validator::StrongEtag(etag)) => Some(etag),
            _ => None,
        };
        self.asset().set_head(Head { fields: head.headers, etag });
        Ok(())
    }

    /// For a resource of unknown length: room for what comes next, before each chunk.
    fn make_room(&self, position: u64, length: u64) {
        let begins_chunk = position.div_ceil(CHUNK_BYTES) * CHUNK_BYTES < position + length;
        if self.asset().resource.length().is_none() && begins_chunk {
            self.store.make_room(self.asset(), ROOM_BYTES);
        }
    }

    /// Nobody wants the rest. What is here serves later readers only if it can be told whether the
    /// rest is still of the same version (RULES 7).
    fn leave(&self) {
        let resource = &self.asset().resource;
        if !resource.is_complete() && self.known().validator.is_none() {
            self.store.forget(self.asset());
        }
    }

    fn give_up(&self, failure: Failure) {
        self.store.forget(self.asset());
        self.asset().resource.fail(failure);
    }
}
