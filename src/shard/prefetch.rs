//! Bringing one source into the cache, on the shard that owns it, for nobody who waits.
//!
//! It goes in steps. Each takes a credit, which comes when the rate of the origin allows it; the
//! step allows the fetch so many bytes ([`Pace`](crate::assets::Pace)), waits until they are there,
//! and says how far it is. The task is in the background queue, so on a core that clients keep busy
//! the steps are few. A client that wants the same bytes shares the fetch, which then takes no
//! allowance any more.

use std::{ops::Range, rc::Rc, time::Duration};

use futures_lite::future;

use super::{
    Ahead, Answer, Check, Prefetched, Progress, Refusal, Shard, Unkept,
    outlet::{Gone, Outlet},
    presentation::is_list,
    serve::SLICE,
    understand::{Readable, place},
};
use crate::{
    assets::Lease,
    bufpool::Class,
    decode::{self, Dither, Encoding, Info, Quality, Spec},
    file,
    pcm::{self, Maker, SourceName, Work},
    runtime,
    storage::{StreamingResource, Wait},
    stream::Patience,
};

/// What one step of a prefetch may fetch, in bytes.
pub const STEP_BYTES: u64 = 256 << 10;

/// How often, and how many times, a disk that takes chunks later is asked again: a commit and a turn of a
/// journal make it take them.
const STORE_INTERVAL: Duration = Duration::from_millis(200);
const STORE_TRIES: u32 = 25;

/// Serves a prefetch: the answer comes when everything is done.
pub(super) async fn prefetch(
    shard: &Rc<Shard>,
    ahead: Ahead,
    out: &Rc<Outlet>,
) -> Result<(), Gone> {
    let done = carry_out(shard, &ahead, out).await;
    if let Err(refusal) = &done {
        tracing::debug!(source = %ahead.source, %refusal, "not prefetched");
        shard.stats.borrow_mut().prefetch_failures += 1;
    }
    out.head(done.map(Answer::Prefetched))?;
    out.end(Ok(()));
    Ok(())
}

async fn carry_out(shard: &Rc<Shard>, ahead: &Ahead, out: &Outlet) -> Result<Prefetched, Refusal> {
    let Ahead { source, ranges, decode } = ahead;
    let opened = shard.files.open(&source.name, &source.path).await?;
    if is_list(&opened.fields, source) {
        return Err(Refusal::List);
    }
    let progress = match opened.lease() {
        Some(lease) => Filling::new(shard, lease, ranges).run(out).await?,
        // A library's file is read where it lies: there is nothing to bring.
        None => Progress { bytes_total: Some(0), ..Progress::default() },
    };
    let check = match decode {
        true => Some(check(shard, source, Readable::of_file(opened)).await?),
        false => None,
    };
    Ok(Prefetched { progress, check })
}

/// A resource that a prefetch fills.
struct Filling<'a> {
    shard: &'a Shard,
    lease: &'a Lease,
    /// Not empty; the last may end at the end of all positions.
    ranges: Vec<Range<u64>>,
    /// What its fetches had taken when this began.
    spent_before: u64,
    counted: u64,
}

impl<'a> Filling<'a> {
    fn new(shard: &'a Shard, lease: &'a Lease, ranges: &[Range<u64>]) -> Self {
        let all = 0..u64::MAX;
        let ranges = if ranges.is_empty() { vec![all] } else { ranges.to_vec() };
        let spent_before = lease.pace.spent_bytes();
        Self { shard, lease, ranges, spent_before, counted: 0 }
    }

    async fn run(mut self, out: &Outlet) -> Result<Progress, Refusal> {
        self.may_stay()?;
        for range in self.ranges.clone() {
            self.range(range, out).await?;
        }
        // Its length may have come only now.
        self.may_stay()?;
        let wanted: Vec<_> = self.wanted().collect();
        match comes_to_disk(&self.lease.resource, &wanted).await {
            true => Ok(self.progress()),
            false => Err(self.unkept(out).await),
        }
    }

    /// Whether what is wanted stays when its fill ends, as far as that hangs on what its origin says.
    fn may_stay(&self) -> Result<(), Unkept> {
        let resource = &self.lease.resource;
        let all = 0..resource.length().unwrap_or(u64::MAX);
        let is_part = self.wanted().next() != Some(all) || resource.is_long();
        if !self.lease.is_shared() {
            return Err(Unkept::Private);
        }
        match is_part && !resource.is_complete() && !file::is_proven(self.lease) {
            true => Err(Unkept::Unproven),
            false => Ok(()),
        }
    }

    /// Why the cache takes no more of it. How much it has is said before.
    async fn unkept(&mut self, out: &Outlet) -> Refusal {
        let resource = &self.lease.resource;
        let Some(length) = resource.length().filter(|_| resource.has_its_share()) else {
            return Unkept::Now.into();
        };
        resource.settled().await;
        let kept_bytes = self.wanted().map(|range| resource.stored_bytes_of(&range)).sum();
        let progress = Progress { bytes_done: kept_bytes, ..self.progress() };
        match out.step(out.credit().await, progress) {
            Ok(()) => Unkept::Rest { kept_bytes, length }.into(),
            Err(Gone) => Refusal::Cancelled,
        }
    }

    async fn range(&mut self, range: Range<u64>, out: &Outlet) -> Result<(), Refusal> {
        let resource = &self.lease.resource;
        if let Some(length) = resource.length().filter(|length| range.start >= *length)
            && range.start > 0
        {
            return Err(Refusal::Unsatisfiable { length });
        }
        let demand = resource.demand_paced(range.start..range.start + 1);
        while let Some(gap) = self.gap(&range) {
            if !resource.is_cached() {
                return Err(self.unkept(out).await);
            }
            // A window, not the range: what nobody waits for holds no memory where the disk lags.
            let window = gap.start..gap.end.min(gap.start.saturating_add(STEP_BYTES));
            demand.set(window.clone(), 0);
            let credit = out.credit().await;
            self.lease.pace.allow(STEP_BYTES);
            let there = async { Some(resource.wait_range(window).await) };
            let used_up = async {
                self.lease.pace.used_up().await;
                None
            };
            match future::or(there, used_up).await.transpose() {
                Err(failure) => return Err(file::Error::Source(failure).into()),
                Ok(Some(Wait::Eof)) => break,
                Ok(Some(Wait::Ready) | None) => {}
            }
            let progress = self.progress();
            // Nobody hears that nobody listens.
            out.step(credit, progress).map_err(|Gone| Refusal::Cancelled)?;
        }
        Ok(())
    }

    /// The first missing bytes of a range.
    fn gap(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let resource = &self.lease.resource;
        let end = resource.length().map_or(range.end, |length| length.min(range.end));
        resource.next_gap(range.start.min(end)..end)
    }

    fn progress(&mut self) -> Progress {
        let resource = &self.lease.resource;
        let length = resource.length();
        let present = |range: Range<u64>| range.end - range.start - resource.missing_bytes(range);
        let bytes_done = self.wanted().map(present).sum();
        let is_bounded = length.is_some() || self.wanted().all(|range| range.end < u64::MAX);
        let bytes_total =
            is_bounded.then(|| self.wanted().map(|range| range.end - range.start).sum());
        let spent_bytes = self.lease.pace.spent_bytes() - self.spent_before;
        self.shard.stats.borrow_mut().prefetched_bytes += spent_bytes - self.counted;
        self.counted = spent_bytes;
        Progress { bytes_done, bytes_total, spent_bytes }
    }

    /// The ranges, as far as there is something.
    fn wanted(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let end = self.lease.resource.length().unwrap_or(u64::MAX);
        self.ranges.iter().map(move |range| range.start.min(end)..range.end.min(end))
    }
}

/// Waits until these ranges are on disk, not on their way there; false where the disk does not take them.
/// What there is no memory for, or no room in the journal, is tried again for a while.
async fn comes_to_disk(resource: &Rc<StreamingResource>, ranges: &[Range<u64>]) -> bool {
    for _ in 0..STORE_TRIES {
        resource.end_chunks();
        // Others may have writes under way all the time.
        future::or(resource.settled(), runtime::sleep(STORE_INTERVAL)).await;
        if is_stored(resource, ranges) {
            return true;
        }
        if !resource.is_cached() {
            resource.settled().await;
            break;
        }
        runtime::sleep(STORE_INTERVAL).await;
    }
    is_stored(resource, ranges)
}

fn is_stored(resource: &StreamingResource, ranges: &[Range<u64>]) -> bool {
    ranges.iter().all(|range| resource.stored_bytes_of(range) == range.end - range.start)
}

/// Decodes all of a source once, and says what that gave. No turn is waited for: one that is given
/// to the background would keep those who are in a hurry waiting. Where its packets lie, and with that
/// how long it is, is kept for the first who plays it.
async fn check(
    shard: &Rc<Shard>,
    source: &SourceName,
    readable: Readable,
) -> Result<Check, Refusal> {
    let place = place(shard, source, &readable, None)?;
    let (reader, index) = (readable.input(shard), shard.kept_index(&place).await);
    let ask = decode::Ask { index, ..decode::Ask::default() };
    let mut maker = Maker::new(reader, &shard.stacks, &shard.pool, ask)?;
    let mut patience = Patience::default();
    let (mut _tables, mut promised) = (None, None);
    loop {
        let work = match maker.work(runtime::now() + SLICE) {
            Err(pcm::Error::Exhausted(_))
                if patience.wait(&shard.pool, Class::Large.bytes()).await =>
            {
                continue;
            }
            work => work?,
        };
        match work {
            Work::Starved => maker.fetch().await?,
            Work::Opened => {
                let info = maker.info().ok_or(Refusal::Broken)?.clone();
                _tables = Some(shard.promise(pcm::codec_bytes(&info))?);
                maker.start(&info, as_it_is(&info), 0, None)?;
                promised = info.frames;
            }
            Work::Slice | Work::Piece(_) => {
                shard.count_decoded(&mut maker);
                runtime::yield_now().await;
            }
            Work::End => break,
        }
    }
    shard.count_decoded(&mut maker);
    if let Some(index) = maker.index() {
        shard.learn_index_ahead(&place, &index).await;
    }
    // What a container pads its last packet with is no audio.
    let there = maker.frames_there().unwrap_or_else(|| maker.position());
    let promised = promised.unwrap_or(there);
    let frames = there.min(promised);
    let missing_frames = promised - frames;
    let check = Check { frames, missing_frames, undecoded_packets: maker.undecoded_packets() };
    shard.stats.borrow_mut().undecoded_packets += check.undecoded_packets;
    Ok(check)
}

/// All frames at the source's own rate.
fn as_it_is(info: &Info) -> Spec {
    Spec {
        rate_hz: info.rate_hz,
        channels: info.channels.count,
        encoding: Encoding::S16le,
        dither: Dither::None,
        quality: Quality::Good,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::{
        bufpool::{self, BufPool},
        storage::{
            CHUNK_BYTES, Disk, Generation, ObjectId, SNAPSHOT_BYTES, Sim, VolumeIndex, Volumes,
        },
    };

    /// The journal is behind, as on a disk that takes its time.
    #[test]
    fn what_waits_for_its_way_to_the_disk_is_not_done() {
        let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: true };
        runtime::run(options, |_| async {
            let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
            let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], 4 << 20, pool);
            let resource = volumes.create(ObjectId(1), Generation(1));
            volumes.remember(VolumeIndex(0), vec![vec![7; SNAPSHOT_BYTES]; 70]);
            resource.set_length(CHUNK_BYTES).unwrap();
            resource.write_at(0, &[7; CHUNK_BYTES as usize]).await.unwrap();
            resource.flush().await;
            let all = 0..CHUNK_BYTES;
            let ranges = std::slice::from_ref(&all);
            assert!(resource.is_cached() && !is_stored(&resource, ranges));
            let committing = async {
                runtime::sleep(STORE_INTERVAL * 2).await;
                volumes.tick(runtime::now(), Duration::from_secs(5)).await;
                pending::<bool>().await
            };
            assert!(future::or(comes_to_disk(&resource, ranges), committing).await);
            assert_eq!(resource.stored_bytes_of(&all), CHUNK_BYTES);
        })
        .unwrap();
    }
}
