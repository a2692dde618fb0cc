//! Serving one session on the shard that owns its source.

use std::{ops::Range, rc::Rc, time::Duration};

use futures_lite::future;
use http::{HeaderMap, HeaderValue};

use super::{
    Abort, Answer, By, Cached, Command, Job, ObjectHead, Probed, Reason, Refusal, Shard, Wanted,
    outlet::{Gone, Outlet},
    pcm::pcm,
    prefetch::prefetch,
    presentation::is_list,
    promises::{Promise, answer_bytes, work_bytes},
    shares::{Conversion, Share},
    transcode::transcode,
    understand::understand,
    waveform::waveform,
};
use crate::{
    assets::{Lease, freshness::Directives},
    bufpool::{Block, BufPool},
    file::{
        self, How, Opened,
        conditional::{Conditions, Current, Verdict, evaluate, range_applies},
        range::{self, Selection},
    },
    pcm::{self as audio, Choice, SourceName},
    runtime::{self, Queue, channel},
    stream::{Reader, Source},
};

/// Time after which the others have their turn: it ends with the packet in which that is up, or with a piece.
///
/// It is the same for who begins and for who is ahead: nothing was measured that a number of blocks by lead
/// would gain. Of the speed of one stream alone 200 that go round keep, with turns of 1, 2, 4 and 8 blocks,
/// 0.83, 0.82, 0.89, 0.77 as MP3; 0.95, 0.96, 1.07, 1.02 as AAC; 0.84, 0.85, 0.76, 0.72 without a decoder
/// (`cargo bench --bench turns -- 200 2`, on a busy machine: as FLAC 0.87, 0.81, 1.16, 1.33, and in another
/// run 0.95, 1.03, 0.93, 1.04). And who begins has nothing of a shorter turn: what is waited for is a piece, a
/// quarter of a window, and no block by itself.
pub(super) const SLICE: Duration = Duration::from_micros(200);

/// The buffer memory that may be on loan, and that may be promised, before new sessions are
/// refused. The rest is for the fetches that they share.
const FULL: f64 = 0.9;

/// What the sessions of a shard may be promised of `pool`, in bytes.
pub(super) fn promised_at_most(pool: &BufPool) -> usize {
    (pool.stats().budget_bytes as f64 * FULL) as usize
}

/// Where a session's work begins: decoding in the queue for first blocks, bytes among the I/O.
pub(super) fn queue(job: &Job) -> Queue {
    match job {
        Job::Pcm(_) | Job::Probe(_) => Queue::First,
        Job::Object { .. } => Queue::Io,
        Job::Waveform(_) => Queue::Decode,
        Job::Prefetch(_) => Queue::Background,
    }
}

/// Serves `job` into `outlet`. Ends early when the client goes away, or when it is told to.
///
/// # Cancellation
/// Dropping it ends the session; what it fetched stays in the cache.
pub(super) async fn serve(
    shard: Rc<Shard>,
    job: Job,
    outlet: Outlet,
    mut commands: channel::Receiver<Command>,
) {
    let _ends = Ends(Rc::clone(&shard));
    shard.stats.borrow_mut().sessions[kind(&job)] += 1;
    let outlet = Rc::new(outlet);
    let work = async { Some(work(&shard, job, &outlet).await) };
    let cancelled = async {
        match commands.recv().await {
            Some(Command::Cancel) => None,
            // The register lets go of the queue with the outlet, which lives here.
            None => future::pending().await,
        }
    };
    // By now the work is dropped, and what it began makes nothing more.
    let served = future::or(work, cancelled).await;
    match served {
        Some(Ok(())) => {}
        Some(Err(Gone)) => tracing::debug!("the client went away"),
        None => {
            shard.stats.borrow_mut().cancelled += 1;
            outlet.cancel();
        }
    }
}

/// Told however a session or a decoder ends: most are dropped, because their client went away.
pub(super) struct Ends(pub(super) Rc<Shard>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.notify_all();
    }
}

async fn work(shard: &Rc<Shard>, job: Job, outlet: &Rc<Outlet>) -> Result<(), Gone> {
    let _promise = match admit(shard, &job, outlet) {
        Ok(promise) => promise,
        Err(refusal) => return outlet.head(Err(refusal)),
    };
    match job {
        Job::Pcm(wanted) if wanted.ask.format.coding().is_some() => {
            transcode(shard, wanted, Rc::clone(outlet)).await
        }
        Job::Pcm(wanted) => pcm(shard, wanted, Rc::clone(outlet)).await,
        Job::Object { source, wanted } => object(shard, &source, wanted, outlet).await,
        Job::Probe(source) => probe(shard, &source, outlet).await,
        Job::Waveform(wanted) => waveform(shard, &wanted, outlet).await,
        Job::Prefetch(ahead) => prefetch(shard, ahead, outlet).await,
    }
}

/// Lets a session in whose memory can be promised: that of its work to the one who holds what is
/// returned, that of its answer to the blocks that will be under way.
fn admit(shard: &Shard, job: &Job, outlet: &Outlet) -> Result<Promise, Refusal> {
    if shard.pool.stats().fullness() > FULL {
        shard.refused(Reason::Memory);
        return Err(Refusal::Full);
    }
    let work = shard.promise(work_bytes(job))?;
    outlet.credits.back(shard.promise(answer_bytes(job, outlet.credits.left()))?);
    Ok(work)
}

fn kind(job: &Job) -> usize {
    match job {
        Job::Pcm(wanted) if wanted.ask.format.coding().is_some() => 5,
        Job::Pcm(_) => 0,
        Job::Object { .. } => 1,
        Job::Probe(_) => 2,
        Job::Prefetch(_) => 3,
        Job::Waveform(_) => 4,
    }
}

// --- Before anything goes out ------------------------------------------------------------------

/// Makes an answer `ready` of which nothing has gone out. It may have begun with a generation that turns out
/// to be of the past, since the origin has another or the disk lost bytes that nothing but the whole can
/// replace; then it is made again, once, of what is there by now.
pub(super) async fn before_it_goes_out<T>(
    ready: impl AsyncFn() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    match ready().await {
        Err(refusal) if refusal.is_of_another_version() => {
            tracing::debug!(%refusal, "opened again");
            ready().await
        }
        outcome => outcome,
    }
}

// --- What was found ---------------------------------------------------------------------------

/// What the cache has, and keeps, of the bytes that are `wanted`. Decided when the head goes out: only
/// then it is known whether there is a place for them.
pub(super) fn cached(opened: &Opened, wanted: &Range<u64>) -> Cached {
    let stored = opened.lease().is_some_and(|lease| file::stays(lease, wanted));
    let mut found = opened.found;
    let is_here = |lease: &Lease| lease.resource.missing_bytes(wanted.clone()) == 0;
    if found.how == How::Partial && opened.lease().is_some_and(is_here) {
        found.how = How::Hit;
    }
    Cached { found, stored }
}

/// Settles the conditions of a request as soon as the validators are known, before anything is
/// decoded or fetched for a body that the client may not want. Says whether it has it already.
pub(super) fn is_unmodified(
    conditions: &Conditions,
    current: Current<'_>,
) -> Result<bool, Refusal> {
    match evaluate(conditions, current) {
        Verdict::Proceed => Ok(false),
        Verdict::NotModified => Ok(true),
        Verdict::Failed => Err(Refusal::Precondition),
    }
}

// --- Original bytes --------------------------------------------------------------------------

async fn object(
    shard: &Rc<Shard>,
    source: &SourceName,
    wanted: Wanted,
    out: &Outlet,
) -> Result<(), Gone> {
    let ready = before_it_goes_out(async || ready(shard, source, &wanted).await).await;
    let Ready { head, version, part, mut reader, first } = match ready {
        Ok(ready) => ready,
        Err(refusal) => return out.head(Err(refusal)),
    };
    if wanted.by == By::Client && !wanted.head_only && head.status == 200 && head.cached.stored {
        match is_list(&head.fields, source) {
            true => shard.list_passed(source, &version),
            false => shard.segment_passed(source, part.start),
        }
    }
    out.head(Ok(Answer::Object(Box::new(head))))?;
    let sent = match first {
        Some(first) => send(shard, &mut reader, part.start, || part.end, first, out).await?,
        None => Ok(()),
    };
    out.end(sent);
    Ok(())
}

/// An answer with its first bytes.
struct Ready {
    head: ObjectHead,
    version: String,
    part: Range<u64>,
    reader: Reader,
    first: Option<Block>,
}

async fn ready(shard: &Shard, source: &SourceName, wanted: &Wanted) -> Result<Ready, Refusal> {
    let (opened, mut head) = open_object(shard, source, wanted).await?;
    let whole = 0..head.length.unwrap_or(u64::MAX);
    let part = head.part.clone().unwrap_or(whole);
    let (mut reader, version) = (shard.reader(&opened.source), opened.version.clone());
    if wanted.head_only || head.unmodified || part.is_empty() {
        return Ok(Ready { head, version, part, reader, first: None });
    }
    // The head goes out when the first bytes are there: until then a failure has its status.
    let began = runtime::now();
    let first = reader.block(part.start).await.map_err(audio::Error::from)?;
    head.cached.found.waited(began.elapsed());
    Ok(Ready { head, version, part, reader, first })
}

async fn open_object(
    shard: &Shard,
    source: &SourceName,
    wanted: &Wanted,
) -> Result<(Opened, ObjectHead), Refusal> {
    let (name, path) = (&source.name, &source.path);
    let opened = match wanted.head_only {
        _ if wanted.by == By::NodeForKey => shard.files.open_key(name, path).await?,
        _ if wanted.by != By::Client => {
            let only_if_cached = wanted.by == By::NodeIfCached;
            let wishes = Directives { only_if_cached, ..Directives::default() };
            shard.files.open_wishing(name, path, wishes).await?
        }
        true => shard.files.open_head(name, path, &wanted.fields).await?,
        false => {
            let position = range::first_position(wanted.range.as_ref().map(HeaderValue::as_bytes));
            shard.files.open_original(name, path, &wanted.fields, position).await?
        }
    };
    let (status, fields) = (opened.status, opened.fields.clone());
    let length = opened.source.length();
    let (mut unmodified, mut part) = (false, None);
    // Of what is not the file itself, an error say, there are no versions and no parts.
    if status == 200 {
        // Conditions come before ranges (RFC 9110 section 13.2.2).
        unmodified = is_unmodified(&wanted.conditions, Current::of(&fields))?;
        part = match (selected(wanted, &fields, length), length) {
            _ if unmodified => None,
            (Selection::Part(part), _) => Some(part),
            (Selection::Unsatisfiable, Some(length)) => {
                return Err(Refusal::Unsatisfiable { length });
            }
            _ => None,
        };
    }
    let cached = cached(&opened, part.as_ref().unwrap_or(&(0..length.unwrap_or(u64::MAX))));
    let redirected = opened.redirected();
    Ok((opened, ObjectHead { status, fields, redirected, length, part, unmodified, cached }))
}

/// The part that is asked for, of the version that these fields describe.
fn selected(wanted: &Wanted, fields: &HeaderMap, length: Option<u64>) -> Selection {
    // Of a resource whose length nobody knows yet, no part can be named.
    let Some(length) = length else { return Selection::Whole };
    let if_range = wanted.if_range.as_ref().map(|value| value.to_str().unwrap_or_default());
    let applies = range_applies(if_range, Current::of(fields), runtime::wall_clock());
    let range = wanted.range.as_ref().filter(|_| applies);
    range::select(range.map(HeaderValue::as_bytes), length)
}

/// Sends the bytes from `at` on, of which `first` are here, to an end that is known by then; the inner
/// result says whether they were all there.
pub(super) async fn send(
    shard: &Shard,
    reader: &mut Reader,
    mut at: u64,
    end: impl Fn() -> u64,
    first: Block,
    out: &Outlet,
) -> Result<Result<(), Abort>, Gone> {
    let mut credit = out.credit().await;
    let mut next = Some(first);
    while let Some(block) = next {
        let count = (block.len() as u64).min(end().saturating_sub(at));
        if count == 0 {
            break;
        }
        let block = block.slice(0..count as usize);
        shard.count(&block);
        out.block(credit, block)?;
        at += count;
        if at >= end() {
            break;
        }
        credit = out.credit().await;
        next = match next_block(shard, reader, at).await {
            Ok(next) => next,
            Err(abort) => return Ok(Err(abort)),
        };
    }
    Ok(Ok(()))
}

/// The bytes at `at` of a body that has begun.
pub(super) async fn next_block(
    shard: &Shard,
    reader: &mut Reader,
    at: u64,
) -> Result<Option<Block>, Abort> {
    reader.block(at).await.map_err(|failure| {
        tracing::warn!(%failure, at, "a body ends short");
        shard.stats.borrow_mut().aborted += 1;
        Abort::Failed
    })
}

// --- What a source is ------------------------------------------------------------------------

async fn probe(shard: &Rc<Shard>, source: &SourceName, out: &Outlet) -> Result<(), Gone> {
    let understood =
        before_it_goes_out(async || understand(shard, source, &Choice::default()).await).await;
    let answer = understood.map(|understood| {
        let (info, offer) = (understood.known.info.clone(), understood.readable.offer());
        Answer::Probe(Box::new(Probed { info, offer }))
    });
    let is_refused = answer.is_err();
    out.head(answer)?;
    if !is_refused {
        out.end(Ok(()));
    }
    Ok(())
}

impl Shard {
    pub(super) fn reader(&self, source: &Source) -> Reader {
        Reader::new(source.clone(), self.pool.clone(), self.options.read_ahead_bytes)
    }

    pub(super) fn promise(&self, bytes: usize) -> Result<Promise, Refusal> {
        self.promises.give(bytes).map_err(|exhausted| {
            self.refused(Reason::Memory);
            exhausted.into()
        })
    }

    /// Lets a session in whose conversion can be kept at its pace.
    pub(super) fn share(&self, conversion: Conversion) -> Result<Share, Refusal> {
        self.shares.give(conversion).ok_or_else(|| {
            self.refused(Reason::DecodeShare);
            Refusal::DecodeShare
        })
    }

    pub(super) fn count(&self, block: &Block) {
        self.stats.borrow_mut().bytes += block.len() as u64;
    }
}
