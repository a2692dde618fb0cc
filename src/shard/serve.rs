//! Serving one session on the shard that owns its source.

use std::{ops::Range, rc::Rc, time::Duration};

use futures_lite::future;
use http::{HeaderMap, HeaderValue};

use super::{
    Abort, Answer, Cached, Command, Job, ObjectHead, PcmHead, Reason, Refusal, Shard, Wanted,
    outlet::{Gone, Outlet},
    pace::Pace,
    prefetch::prefetch,
    promises::{Promise, answer_bytes, work_bytes},
    shares::{Conversion, Share},
    turns::Turns,
};
use crate::{
    assets::Lease,
    bufpool::{Block, BufPool, Class},
    decode::{self, Info},
    file::{
        self, How, Opened,
        conditional::{Conditions, Current, Verdict, evaluate, range_applies},
        range::{self, Selection},
    },
    pcm::{self, Ask, Player, Rendition, SourceName, Work},
    runtime::{self, Queue, channel},
    stream::{Patience, Reader, Source},
};

/// Longest time that one session keeps the core before the others have their turn.
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
        Job::Pcm { .. } | Job::Probe(_) => Queue::First,
        Job::Object { .. } => Queue::Io,
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

/// Told however a session ends: most are dropped, because their client went away.
struct Ends(Rc<Shard>);

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
        Job::Pcm { ask, conditions, head_only } => {
            pcm(shard, ask, &conditions, head_only, Rc::clone(outlet)).await
        }
        Job::Object { source, wanted } => object(shard, &source, wanted, outlet).await,
        Job::Probe(source) => probe(shard, &source, outlet).await,
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
        Job::Pcm { .. } => 0,
        Job::Object { .. } => 1,
        Job::Probe(_) => 2,
        Job::Prefetch(_) => 3,
    }
}

// --- Decoded audio ---------------------------------------------------------------------------

/// A player that found out what its source is.
struct Understood {
    player: Player,
    opened: Opened,
    /// The time of the core that it took.
    decode: Duration,
}

/// A player with its answer decided, and the first part of its body.
struct Ready {
    shard: Rc<Shard>,
    player: Player,
    head: PcmHead,
    first: Option<Block>,
    /// Its promised share of the core, unless only its head is wanted.
    share: Option<Share>,
    // The lease on the source lives as long as its session.
    _opened: Opened,
    _tables: Promise,
}

/// Counted at the end of a session, however it ends: most clients leave before the last block.
impl Drop for Ready {
    fn drop(&mut self) {
        let mut stats = self.shard.stats.borrow_mut();
        stats.frames += self.player.frames_done();
        stats.undecoded_packets += self.player.undecoded_packets();
    }
}

async fn pcm(
    shard: &Rc<Shard>,
    ask: Ask,
    conditions: &Conditions,
    head_only: bool,
    out: Rc<Outlet>,
) -> Result<(), Gone> {
    let mut ready = match ready(shard, &ask, conditions, head_only).await {
        Ok(ready) => ready,
        Err(refusal) => return out.head(Err(refusal)),
    };
    out.head(Ok(Answer::Pcm(Box::new(ready.head.clone()))))?;
    let Some(first) = ready.first.take() else {
        out.end(Ok(()));
        return Ok(());
    };
    let rate_hz = ready.head.rendition.spec.rate_hz;
    let pace = Pace::new(rate_hz, ready.player.frames_done(), runtime::now());
    shard.count(&first);
    out.block(out.credit().await, first)?;
    // What a listener waits for is out: from here on the session is one among many.
    let rest = runtime::spawn(Queue::Decode, "play", play(ready, pace, out));
    rest.await.unwrap_or(Err(Gone))
}

async fn ready(
    shard: &Rc<Shard>,
    ask: &Ask,
    conditions: &Conditions,
    head_only: bool,
) -> Result<Ready, Refusal> {
    let Understood { mut player, opened, mut decode } =
        understand(shard, &ask.source, ask.track).await?;
    let _tables = shard.promise(player.info().map_or(0, pcm::codec_bytes))?;
    let rendition = player.start(ask)?;
    let etag = etag(&opened, ask, &rendition);
    let current = Current { etag: Some(&etag), ..Current::default() };
    let unmodified = is_unmodified(conditions, current)?;
    let is_wanted = !head_only && !unmodified;
    let share = is_wanted.then(|| shard.share(&rendition)).transpose()?;
    let cached = cached(&opened, &(0..u64::MAX));
    let head = PcmHead { rendition, etag, unmodified, cached, decode };
    let shard = Rc::clone(shard);
    let mut ready = Ready { shard, player, head, first: None, share, _opened: opened, _tables };
    if is_wanted {
        let Ready { shard, player, .. } = &mut ready;
        let first = next_block(player, &shard.first, &shard.pool, 0, &mut decode).await?;
        (ready.first, ready.head.decode) = (first, decode);
    }
    Ok(ready)
}

/// What the cache has, and keeps, of the bytes that are `wanted`. Decided when the head goes out: only
/// then it is known whether there is a place for them.
fn cached(opened: &Opened, wanted: &Range<u64>) -> Cached {
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
fn is_unmodified(conditions: &Conditions, current: Current<'_>) -> Result<bool, Refusal> {
    match evaluate(conditions, current) {
        Verdict::Proceed => Ok(false),
        Verdict::NotModified => Ok(true),
        Verdict::Failed => Err(Refusal::Precondition),
    }
}

async fn understand(
    shard: &Shard,
    source: &SourceName,
    track: Option<u32>,
) -> Result<Understood, Refusal> {
    let opened = shard.files.open(&source.name, &source.path).await?;
    let reader = shard.reader(&opened.source);
    let mut player = Player::new(reader, &shard.stacks, &shard.pool, track)?;
    let mut decode = Duration::ZERO;
    loop {
        let turn = shard.first.wait(0).await;
        let work = slice(&mut player, &mut decode)?;
        drop(turn);
        match work {
            Work::Starved => player.fetch().await?,
            Work::Slice => runtime::yield_if_needed().await,
            Work::Opened | Work::Block(_) | Work::End => {
                return Ok(Understood { player, opened, decode });
            }
        }
    }
}

/// One slice of work. `decode` grows by the time of the core that it took: not by what another process
/// had of it.
fn slice(player: &mut Player, decode: &mut Duration) -> Result<Work, pcm::Error> {
    let began = runtime::core_time();
    let work = player.work(runtime::now() + SLICE);
    *decode += runtime::core_time().saturating_sub(began);
    work
}

async fn play(mut ready: Ready, mut pace: Pace, out: Rc<Outlet>) -> Result<(), Gone> {
    let shard = Rc::clone(&ready.shard);
    let player = &mut ready.player;
    let result = loop {
        let credit = out.credit().await;
        let (lead_us, mut decode) = (pace.lead_us(runtime::now()), Duration::ZERO);
        match next_block(player, &shard.decode, &shard.pool, lead_us, &mut decode).await {
            Ok(Some(block)) => {
                let audio = pace.sent(player.frames_done());
                if let Some(share) = &ready.share {
                    share.measured(decode, audio);
                }
                shard.count(&block);
                out.block(credit, block)?;
            }
            Ok(None) => break Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a body ends short");
                shard.stats.borrow_mut().aborted += 1;
                break Err(Abort::Failed);
            }
        }
    };
    out.end(result);
    Ok(())
}

/// Decodes in turns until there is a block; `None` at the end of the body. Where there is no memory
/// for it, others have it for the moment, and it is waited for. `decode` grows by the time of the
/// core that it took.
async fn next_block(
    player: &mut Player,
    turns: &Turns,
    pool: &BufPool,
    lead_us: i64,
    decode: &mut Duration,
) -> Result<Option<Block>, pcm::Error> {
    let mut patience = Patience::default();
    loop {
        let turn = turns.wait(lead_us).await;
        let work = slice(player, decode);
        drop(turn);
        let work = match work {
            Err(pcm::Error::Exhausted(_)) if patience.wait(pool, Class::Large.bytes()).await => {
                continue;
            }
            work => work?,
        };
        match work {
            Work::Starved => player.fetch().await?,
            Work::Slice | Work::Opened => runtime::yield_if_needed().await,
            Work::Block(block) => return Ok(Some(block)),
            Work::End => return Ok(None),
        }
    }
}

/// Names everything that the body depends on, and nothing else.
fn etag(opened: &Opened, ask: &Ask, rendition: &Rendition) -> String {
    // What is taken without a number is the first track that can be decoded. Where that is not 0, track 0
    // is refused, so no two tracks share a name.
    let track = ask.track.unwrap_or(0);
    let text = format!(
        "{} {track} {:?} {:?} {} {:?} {}",
        opened.version,
        rendition.spec,
        rendition.format,
        rendition.slice.start,
        rendition.frames(),
        decode::identity(),
    );
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

// --- Original bytes --------------------------------------------------------------------------

async fn object(
    shard: &Shard,
    source: &SourceName,
    wanted: Wanted,
    out: &Outlet,
) -> Result<(), Gone> {
    let head_only = wanted.head_only;
    let (opened, mut head) = match open_object(shard, source, wanted).await {
        Ok(found) => found,
        Err(refusal) => return out.head(Err(refusal)),
    };
    let whole = 0..head.length.unwrap_or(u64::MAX);
    let part = head.part.clone().unwrap_or(whole);
    let mut reader = shard.reader(&opened.source);
    let first = match head_only || head.unmodified || part.is_empty() {
        true => None,
        // The head goes out when the first bytes are there: until then a failure has its status.
        false => {
            let began = runtime::now();
            match reader.block(part.start).await {
                Ok(first) => {
                    head.cached.found.waited(began.elapsed());
                    first
                }
                Err(failure) => return out.head(Err(pcm::Error::from(failure).into())),
            }
        }
    };
    out.head(Ok(Answer::Object(Box::new(head))))?;
    let result = send(shard, &mut reader, part, first, out).await?;
    out.end(result);
    Ok(())
}

async fn open_object(
    shard: &Shard,
    source: &SourceName,
    wanted: Wanted,
) -> Result<(Opened, ObjectHead), Refusal> {
    let (name, path) = (&source.name, &source.path);
    let opened = match wanted.head_only {
        _ if wanted.is_own => shard.files.open(name, path).await?,
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
        part = match (selected(&wanted, &fields, length), length) {
            _ if unmodified => None,
            (Selection::Part(part), _) => Some(part),
            (Selection::Unsatisfiable, Some(length)) => {
                return Err(Refusal::Unsatisfiable { length });
            }
            _ => None,
        };
    }
    let cached = cached(&opened, part.as_ref().unwrap_or(&(0..length.unwrap_or(u64::MAX))));
    Ok((opened, ObjectHead { status, fields, length, part, unmodified, cached }))
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

/// Sends the bytes of `part`; the inner result says whether they were all there.
async fn send(
    shard: &Shard,
    reader: &mut Reader,
    part: Range<u64>,
    first: Option<Block>,
    out: &Outlet,
) -> Result<Result<(), Abort>, Gone> {
    let mut credit = out.credit().await;
    let mut next = first;
    let mut at = part.start;
    while let Some(block) = next {
        let count = (block.len() as u64).min(part.end - at);
        let block = block.slice(0..count as usize);
        shard.count(&block);
        out.block(credit, block)?;
        at += count;
        if at >= part.end {
            break;
        }
        credit = out.credit().await;
        next = match reader.block(at).await {
            Ok(next) => next,
            Err(failure) => {
                tracing::warn!(%failure, at, "a body ends short");
                shard.stats.borrow_mut().aborted += 1;
                return Ok(Err(Abort::Failed));
            }
        };
    }
    Ok(Ok(()))
}

// --- What a source is ------------------------------------------------------------------------

async fn probe(shard: &Shard, source: &SourceName, out: &Outlet) -> Result<(), Gone> {
    let answer = understand(shard, source, None).await.and_then(|understood| {
        let info: Option<&Info> = understood.player.info();
        let info = info.ok_or(Refusal::Broken)?.clone();
        Ok(Answer::Probe(Box::new(info)))
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

    /// Lets a session in whose decode can be kept at its pace.
    fn share(&self, rendition: &Rendition) -> Result<Share, Refusal> {
        self.shares.give(Conversion::of(rendition)).ok_or_else(|| {
            self.refused(Reason::DecodeShare);
            Refusal::DecodeShare
        })
    }

    fn count(&self, block: &Block) {
        self.stats.borrow_mut().bytes += block.len() as u64;
    }
}
