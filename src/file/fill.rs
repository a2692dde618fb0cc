//! The fill of one resource: fetches what its readers demand until it is complete or deserted.

use std::{
    cell::Cell,
    pin::pin,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_lite::future;

use super::{
    Error,
    course::{Course, partial_since},
    plan::{JOIN_TIME, Running, Way, goes_on_alone, is_paced, lost, plan, plan_in_order, within},
    stay::{is_of_another_version, is_proven, learn_length, validator_of},
};
use crate::{
    assets::{Asset, AssetStore, FillPermit, News},
    bufpool::Exhausted,
    net::{self, Download, Known, Provenance, Response, Signs},
    runtime::{self, Alarm, Panicked, Queue, Task, event::Event},
    storage::{self, CHUNK_BYTES, Demand, Failure},
    stream,
};

/// A chunk that is still partial so long after its first byte is written as it is (RULES 7): what
/// comes slowly outlives a crash like what comes fast.
const PARTIAL: Duration = Duration::from_millis(500);

/// Everything the fill and its fetches share.
struct Fill {
    asset: Rc<Asset>,
    store: Rc<AssetStore>,
    from: Provenance,
    /// Told when a fetch has ended.
    progress: Event,
    fetched_bytes: Cell<u64>,
    /// Answers that it is made of.
    answers: Cell<u64>,
    /// Where the last one ended, if it ended well; behind everything if it failed.
    reached: Cell<Option<u64>>,
    /// One answer did not do, though nothing proves that another is of the same version.
    is_joined: Cell<bool>,
}

/// One running request.
struct Fetch {
    course: Rc<Course>,
    /// Dropping it cancels the request.
    _task: Task<()>,
}

/// Says that a fetch has ended, in whichever way.
struct Ending {
    fill: Rc<Fill>,
    course: Rc<Course>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // One that panicked has said nothing; begun again it would panic again.
        self.course.outcome.get_or_init(|| Err(Failure::new(Panicked { name: "fetch" })));
        self.fill.progress.notify_all();
    }
}

/// Tells those who wait for the bytes of a fill that panicked: nobody else would, and they would wait
/// for ever.
struct Panics {
    asset: Rc<Asset>,
    store: Rc<AssetStore>,
}

impl Drop for Panics {
    fn drop(&mut self) {
        // One that ends otherwise, or is cancelled, has left the resource as it is to be.
        if thread::panicking() {
            self.store.forget(&self.asset);
            self.asset.resource.fail(Failure::new(Panicked { name: "fill" }));
        }
    }
}

/// Runs until the resource is complete, has failed, or is wanted by nobody. It begins with `first`,
/// where an answer with its first bytes is here already.
///
/// # Cancellation
/// Dropping it cancels all fetches and gives up the permit; what was written stays.
pub(super) async fn fill(
    permit: FillPermit,
    store: Rc<AssetStore>,
    from: Provenance,
    first: Option<Response>,
) {
    let asset = Rc::clone(&permit);
    let _panics = Panics { asset: Rc::clone(&asset), store: Rc::clone(&store) };
    store.tell(&asset.key.url, News::FillBegun);
    let progress = Event::new();
    let (its_asset, its_store) = (Rc::clone(&asset), Rc::clone(&store));
    let (fetched_bytes, answers, reached, is_joined) = Default::default();
    let fill = Fill {
        asset: its_asset,
        store: its_store,
        from,
        progress,
        fetched_bytes,
        answers,
        reached,
        is_joined,
    };
    let followed = follow_demands(Rc::new(fill), first).await;
    store.tell(
        &asset.key.url,
        match &followed {
            Ok(bytes) => News::FillEnded { bytes: *bytes },
            Err(failure) => News::FillFailed(failure),
        },
    );
    // Given up in the same turn in which nobody wanted the resource, and not by fetches that are
    // still being cancelled: whoever opens it from here on gets the permit, or would wait for ever.
    drop(permit);
    // Chunks that are not full count towards no bound until they are ended.
    asset.flush().await;
}

/// The bytes that were fetched, or why nobody gets any more.
async fn follow_demands(fill: Rc<Fill>, first: Option<Response>) -> Result<u64, Failure> {
    let mut fetches: Vec<Fetch> = first.map(|response| fill.adopt(response)).into_iter().collect();
    loop {
        // Made before looking, so that what happens in between is not missed.
        let (progress, deserted) = (fill.progress.listen(), fill.asset().deserted.listen());
        let demands_changed = fill.asset().resource.demands_changed();
        if let Err(failure) = fill.reap(&mut fetches) {
            fill.give_up(&failure);
            return Err(failure);
        }
        // Not before its fetches have ended: the last one has yet to say that this is the end.
        if fetches.is_empty() && fill.asset().resource.is_complete() {
            // Also where the fetch that completed it was cancelled before it could say so.
            let _ = fill.asset().resource.commit();
            fill.leave();
            return Ok(fill.fetched_bytes.get());
        }
        fill.steer(&mut fetches);
        if !fill.is_wanted(&fetches) {
            fill.leave();
            return Ok(fill.fetched_bytes.get());
        }
        let late = async {
            match fill.may_be_late(&fetches) {
                true => runtime::sleep(JOIN_TIME).await,
                false => future::pending().await,
            }
        };
        future::or(future::or(progress, deserted), future::or(demands_changed, late)).await;
    }
}

impl Fill {
    fn asset(&self) -> &Rc<Asset> {
        &self.asset
    }

    /// Readers, or enough done to finish without them, for those who may come.
    fn is_wanted(&self, fetches: &[Fetch]) -> bool {
        let resource = &self.asset().resource;
        self.asset().is_leased()
            || (fetches.iter().any(|fetch| !fetch.course.is_paced.get())
                && self.asset().is_shared()
                && self.may_be_kept()
                && goes_on_alone(
                    resource.present_bytes(),
                    resource.length().filter(|_| resource.is_cached()),
                    self.fetched_bytes.get(),
                ))
    }

    /// Takes out the fetches that have ended.
    ///
    /// One that failed is the failure of those who waited for its bytes, and of nobody else: a
    /// listener does not lose the song because another one jumped to where the origin broke off.
    ///
    /// # Errors
    /// What leaves nothing to go on with for anybody.
    fn reap(&self, fetches: &mut Vec<Fetch>) -> Result<(), Failure> {
        let ended = |fetch: &mut Fetch| fetch.course.outcome.get().is_some();
        let ended: Vec<_> = fetches.extract_if(.., ended).collect();
        for fetch in ended {
            let Some(Err(failure)) = fetch.course.outcome.get() else {
                self.reached.set(Some(fetch.course.position()));
                continue;
            };
            // Nothing would prove that the rest belongs to what has come.
            self.reached.set((self.answers.get() > 0).then_some(u64::MAX));
            fetch.course.save(self.asset());
            if ends_generation(failure) {
                return Err(failure.clone());
            }
            self.lose(fetch.course.failed(), fetches, failure);
        }
        Ok(())
    }

    /// A fetch `failed`, and the resource is still what it was.
    fn lose(&self, failed: Running, others: &[Fetch], failure: &Failure) {
        // Who comes later asks the origin again: for the rest, if what is here can be proved to
        // belong to it and the origin has not said no; else for all of it.
        if !may_pass(failure) || !is_proven(self.asset()) {
            self.store.forget(self.asset());
        }
        let others: Vec<_> = others.iter().map(|fetch| fetch.course.running()).collect();
        for range in lost(failed, &others) {
            self.asset().resource.fail_range(range, failure.clone());
        }
    }

    /// Cancels and starts fetches as the demands want it.
    fn steer(self: &Rc<Self>, fetches: &mut Vec<Fetch>) {
        let resource = &self.asset().resource;
        let demands = resource.demands();
        if demands.is_empty() {
            // Nobody has said what it wants, or nobody is left: see `is_wanted`.
            return;
        }
        let ways: Vec<_> = demands.iter().filter_map(|demand| self.way(demand)).collect();
        if !self.steer_in_order(&ways, fetches) {
            self.steer_ways(&ways, fetches);
        }
        for Fetch { course, .. } in fetches {
            course.set_paced(is_paced(&ways, course.running()));
        }
        self.asset().pace.look_again();
    }

    fn steer_ways(self: &Rc<Self>, ways: &[Way], fetches: &mut Vec<Fetch>) {
        let running: Vec<_> = fetches.iter().map(|fetch| fetch.course.running()).collect();
        let plan = plan(ways, &running);
        for index in plan.cancel.into_iter().rev() {
            fetches.swap_remove(index).course.save(self.asset());
        }
        fetches.extend(plan.start.into_iter().map(|gap| self.start(gap)));
    }

    /// Has everybody wait for one answer where nothing proves that another is of the same version, if that
    /// serves them. Else it returns `false`: the disk has lost some, or takes none, and its readers are better
    /// served by what has the same length, tag and date than by nothing. But nobody comes to it any more.
    fn steer_in_order(self: &Rc<Self>, ways: &[Way], fetches: &mut Vec<Fetch>) -> bool {
        let asset = self.asset();
        if is_proven(asset) || self.is_joined.get() {
            return false;
        }
        let running = fetches.first().map(|fetch| fetch.course.position());
        let reached = running.or(self.reached.get());
        let plan = plan_in_order(ways, reached, running.is_some());
        let Some(start) = plan.filter(|_| asset.resource.is_cached()) else {
            self.is_joined.set(true);
            // What is in memory alone is kept by nobody, and shared as long as it lives.
            if asset.resource.is_cached() {
                self.store.forget(asset);
            }
            return false;
        };
        if let Some(gap) = start {
            let fetch = self.start(gap);
            if reached.is_none() {
                asset.begins.set(fetch.course.position());
            }
            fetches.push(fetch);
        }
        true
    }

    /// Whether somebody waits for what a fetch is still far from, so that its pace decides.
    fn may_be_late(&self, fetches: &[Fetch]) -> bool {
        let demands = self.asset().resource.demands();
        let mut wanted =
            demands.iter().filter_map(|demand| self.way(demand)).filter(|way| way.is_wanted);
        wanted
            .any(|way| fetches.iter().any(|fetch| fetch.course.running().may_be_late_for(way.gap)))
    }

    /// What a reader that wants `demand` lacks first; `None` if nothing, up to the end, and if that
    /// was lost and it has been told so.
    fn way(&self, demand: &Demand) -> Option<Way> {
        let resource = &self.asset().resource;
        let is_paced = demand.is_paced;
        let demand = within(&demand.range, resource.length());
        let end = resource.length().unwrap_or(u64::MAX);
        let gap = resource.next_gap(demand.start..end)?.start;
        let comes = !resource.is_lost(gap) && self.has_room(gap, demand.end);
        comes.then(|| Way { gap, is_wanted: demand.contains(&gap), is_paced })
    }

    /// Whether what comes at `gap` has somewhere to go while its reader wants nothing behind `wanted_to`.
    /// Where the disk takes no more of a long resource that is not before the reader has come near, and
    /// until then a fetch would bring the rest for nothing. One from the very beginning would have to begin
    /// anew.
    fn has_room(&self, gap: u64, wanted_to: u64) -> bool {
        let asset = self.asset();
        let is_near = gap <= wanted_to.saturating_add(storage::KEEP_BYTES);
        is_near || asset.resource.is_cached() || asset.in_order.get()
    }

    fn start(self: &Rc<Self>, gap: u64) -> Fetch {
        // Whole chunks are asked for, but never bytes again that are already here.
        let chunk = gap - gap % CHUNK_BYTES;
        let from = self.asset().resource.present_from(chunk).map_or(chunk, |end| end.min(gap));
        self.begin(Running::at(from), None)
    }

    /// A fetch whose request was made before there was anything to fill.
    fn adopt(self: &Rc<Self>, response: Response) -> Fetch {
        let (head, download) =
            Download::of(response, self.from.clone(), (0, None), Known::default());
        let (position, is_whole) = (download.position(), head.range.is_none());
        let running = if is_whole { Running::whole(position) } else { Running::at(position) };
        self.begin(running, Some((head, download)))
    }

    fn begin(self: &Rc<Self>, running: Running, begun: Option<(net::Head, Download)>) -> Fetch {
        let course = Rc::new(Course::new(running));
        let ending = Ending { fill: Rc::clone(self), course: Rc::clone(&course) };
        let task = runtime::spawn(Queue::Io, "fetch", async move {
            let outcome = ending.fill.fetch(&ending.course, begun).await;
            let _ = ending.course.outcome.set(outcome);
        });
        Fetch { course, _task: task }
    }

    /// One request: to the end of the resource, to bytes that are present, or to where the origin
    /// ends its answer. What is then still missing is asked for anew when it is wanted.
    async fn fetch(
        &self,
        course: &Course,
        begun: Option<(net::Head, Download)>,
    ) -> Result<(), Failure> {
        let (head, mut download) = match begun {
            Some(begun) => begun,
            None => self.request(course.position()).await?,
        };
        // An origin that knows no ranges sends all, over what is here already; of one that knows no version
        // no other answer is taken while there is this one.
        let is_one = !is_proven(self.asset()) && !self.is_joined.get();
        let in_order = head.range.is_none() || (is_one && self.asset().resource.is_cached());
        self.asset().in_order.set(in_order);
        course.is_part.set(head.range.is_some());
        if in_order {
            course.running.set(Running::whole(download.position()));
        }
        // One that says that there is no more adds nothing.
        if head.status != 416 {
            self.join_answer();
        }
        course.begins();
        self.learn(&head)?;
        let resource = &self.asset().resource;
        let (mut partial, mut alarm) = (None, Alarm::default());
        while let Some(bytes) =
            self.next(&mut download, course.position(), &mut partial, &mut alarm).await?
        {
            let (position, length) = (course.position(), bytes.len() as u64);
            self.check_length(position + length)?;
            self.pace(course, position, length).await;
            self.make_room(position, length);
            let was_cached = resource.is_cached();
            self.write(position, &bytes).await?;
            if was_cached && !resource.is_cached() {
                // Whether it still has somewhere to go is decided anew.
                self.progress.notify_all();
            }
            course.move_to(position + length);
            partial = partial_since(partial, position..position + length, runtime::now());
            self.fetched_bytes.set(self.fetched_bytes.get() + length);
            if !self.asset().is_leased() {
                // Whether it goes on for nobody is asked anew with each piece of it.
                self.progress.notify_all();
                runtime::yield_now().await;
            }
            if !in_order && resource.present_from(course.position()).is_some() {
                return self.end();
            }
        }
        if let Some(length) = download.length() {
            learn_length(self.asset(), length).map_err(Failure::new)?;
        }
        self.end()
    }

    /// The next bytes of a download at `position`. The chunk before it is not kept waiting for them
    /// longer than it may have been `partial`.
    async fn next(
        &self,
        download: &mut Download,
        position: u64,
        partial: &mut Option<Instant>,
        alarm: &mut Alarm,
    ) -> Result<Option<Bytes>, Failure> {
        let mut bytes = pin!(download.chunk());
        if let Some(since) = *partial {
            let left = PARTIAL.saturating_sub(since.elapsed());
            if let Ok(bytes) = alarm.within(left, bytes.as_mut()).await {
                return bytes.map_err(Failure::new);
            }
            *partial = None;
            self.asset().resource.save(position - 1);
        }
        bytes.await.map_err(Failure::new)
    }

    /// Waits, as long as nobody but prefetches wants the bytes, until one of them allows them. The
    /// chunk before `position` is not kept waiting longer than it may be partial.
    async fn pace(&self, course: &Course, position: u64, bytes: u64) {
        let pace = &self.asset().pace;
        let mut is_saved = false;
        loop {
            let changed = pace.changed();
            if !course.is_paced.get() || pace.take(bytes) {
                return;
            }
            if is_saved {
                changed.await;
            } else if runtime::timeout(PARTIAL, changed).await.is_err() {
                is_saved = true;
                self.asset().resource.save(position.saturating_sub(1));
            }
        }
    }

    /// What one fetch wrote is whole, and perhaps with it the resource.
    ///
    /// The disk is not waited for: as long as the fetch lives, it is what those wait for who want the
    /// bytes behind it, and a disk that stands still would keep them from who reads.
    fn end(&self) -> Result<(), Failure> {
        let resource = &self.asset().resource;
        if resource.is_complete() {
            resource.commit().map_err(Failure::new)?;
        }
        resource.end_chunks();
        Ok(())
    }

    /// Another answer: where it could be of another version, who reads it gets it, and nobody after them.
    fn join_answer(&self) {
        self.answers.set(self.answers.get() + 1);
        if self.answers.get() > 1 && !is_proven(self.asset()) {
            self.store.forget(self.asset());
        }
    }

    /// Whether what it fetches may stay when its readers have gone.
    fn may_be_kept(&self) -> bool {
        let is_one = self.answers.get() <= 1 && !self.is_joined.get();
        is_proven(self.asset()) || (self.asset().begins.get() == 0 && is_one)
    }

    async fn request(&self, from: u64) -> Result<(net::Head, Download), Failure> {
        let started = Download::start(self.from.clone(), (from, None), self.known()).await;
        started.map_err(|error| {
            tracing::debug!(url = %self.asset().key.url, from, %error, "fetch failed");
            Failure::new(error)
        })
    }

    async fn write(&self, position: u64, bytes: &[u8]) -> Result<(), Failure> {
        let pool = self.store.volumes().pool();
        let written = stream::write(&self.asset().resource, pool, position, bytes).await;
        written.map_err(|error| match error {
            storage::Error::Exhausted(exhausted) => Failure::new(exhausted),
            error => Failure::new(error),
        })
    }

    /// What later ranges must agree with, so that bytes of two versions never mix.
    fn known(&self) -> Known {
        let length = self.asset().resource.length();
        let head = self.asset().head();
        let (validator, signs) = (validator_of(&head), Signs::of(&head.fields));
        Known { length, validator, signs }
    }

    /// No resource grows beyond its bound, whatever its origin says or sends.
    fn check_length(&self, length: u64) -> Result<(), Failure> {
        let limit_bytes = self.store.object_bytes();
        match length > limit_bytes {
            true => Err(Failure::new(Error::TooLong { limit_bytes })),
            false => Ok(()),
        }
    }

    fn learn(&self, head: &net::Head) -> Result<(), Failure> {
        if let Some(length) = head.length {
            self.check_length(length)?;
            learn_length(self.asset(), length).map_err(Failure::new)?;
        }
        Ok(())
    }

    /// Room for what comes next, before each chunk.
    fn make_room(&self, position: u64, length: u64) {
        let begins_chunk = position.div_ceil(CHUNK_BYTES) * CHUNK_BYTES < position + length;
        if begins_chunk {
            self.store.make_room_ahead(self.asset());
        }
    }

    /// Nobody wants the rest, or the disk keeps only a part. What is here serves later readers only if
    /// it can be told whether the rest is still of the same version (RULES 7).
    fn leave(&self) {
        let resource = &self.asset().resource;
        let is_part = !resource.is_cached() && resource.stored_bytes() > 0;
        if (is_part || !resource.is_complete()) && !is_proven(self.asset()) {
            self.store.forget(self.asset());
        }
    }

    fn give_up(&self, failure: &Failure) {
        self.store.forget(self.asset());
        self.asset().resource.fail(failure.clone());
    }
}

/// Whether the bytes that are here are not to be trusted, or not to be completed, any more.
fn ends_generation(failure: &Failure) -> bool {
    is_of_another_version(failure) || matches!(failure.cause(), Some(Error::TooLong { .. }))
}

/// Whether asking again later is promising with nothing changed at the origin.
fn may_pass(failure: &Failure) -> bool {
    let no_memory = failure.cause::<Exhausted>().is_some();
    no_memory || failure.cause::<net::Error>().is_some_and(net::Error::may_pass)
}
