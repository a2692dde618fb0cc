//! Serving one session on the shard that owns its source.

use std::{rc::Rc, time::Duration, time::Instant};

use http::{
    HeaderMap, HeaderValue,
    header::{ETAG, LAST_MODIFIED},
};

use super::{
    Abort, Answer, Cached, Job, ObjectHead, PcmHead, Refusal, Shard,
    outlet::{Gone, Outlet},
    turns::Turns,
};
use crate::{
    bufpool::Block,
    decode::Info,
    file::{
        Opened,
        conditional::{Current, range_applies},
        range::{self, Selection},
    },
    pcm::{self, Ask, Player, Rendition, SourceName, Work},
    runtime::{self, Queue},
    stream::{Reader, Source},
};

/// Longest time that one session keeps the core before the others have their turn.
const SLICE: Duration = Duration::from_micros(200);

/// What the decoded samples depend on besides their source: a new version of a decoder, or of the
/// resampler, may round otherwise.
const DECODERS: &str =
    concat!(env!("CARGO_PKG_VERSION"), " symphonia-0.6.1 nanomp3-0.2.0 realfft-3.5.1");

/// The buffer memory that may be on loan before new sessions are refused.
const FULL: f64 = 0.9;

/// Where a session's work begins: decoding in the queue for first blocks, bytes among the I/O.
pub(super) fn queue(job: &Job) -> Queue {
    match job {
        Job::Pcm { .. } | Job::Probe(_) => Queue::First,
        Job::Object { .. } => Queue::Io,
    }
}

/// Serves `job` into `outlet`. Ends early when the client goes away.
///
/// # Cancellation
/// Dropping it ends the session; what it fetched stays in the cache.
pub(super) async fn serve(shard: Rc<Shard>, job: Job, outlet: Outlet) {
    shard.stats.borrow_mut().sessions[kind(&job)] += 1;
    let served = match job {
        _ if shard.pool.stats().fullness() > FULL => {
            shard.stats.borrow_mut().refused += 1;
            outlet.head(Err(Refusal::Full)).await
        }
        Job::Pcm { ask, head_only } => pcm(&shard, ask, head_only, outlet).await,
        Job::Object { source, range, if_range, head_only } => {
            let wanted = Wanted { range, if_range, head_only };
            object(&shard, &source, wanted, outlet).await
        }
        Job::Probe(source) => probe(&shard, &source, outlet).await,
    };
    if served.is_err() {
        tracing::debug!("the client went away");
    }
}

fn kind(job: &Job) -> usize {
    match job {
        Job::Pcm { .. } => 0,
        Job::Object { .. } => 1,
        Job::Probe(_) => 2,
    }
}

// --- Decoded audio ---------------------------------------------------------------------------

/// A player that found out what its source is.
struct Understood {
    player: Player,
    opened: Opened,
}

/// A player with its answer decided, and the first part of its body.
struct Ready {
    player: Player,
    head: PcmHead,
    first: Option<Block>,
    // The lease on the source lives as long as its session.
    _opened: Opened,
}

async fn pcm(shard: &Rc<Shard>, ask: Ask, head_only: bool, out: Outlet) -> Result<(), Gone> {
    let ready = match ready(shard, &ask, head_only).await {
        Ok(ready) => ready,
        Err(refusal) => return out.head(Err(refusal)).await,
    };
    out.head(Ok(Answer::Pcm(Box::new(ready.head.clone())))).await?;
    let Some(first) = ready.first.clone() else {
        out.end(Ok(())).await;
        return Ok(());
    };
    let pace = Pace::new(&ready.head.rendition);
    shard.count(&first);
    out.block(first).await?;
    // What a listener waits for is out: from here on the session is one among many.
    let shard = Rc::clone(shard);
    let rest =
        runtime::spawn(Queue::Decode, "play", async move { play(&shard, ready, pace, &out).await });
    rest.await.unwrap_or(Err(Gone))
}

async fn ready(shard: &Shard, ask: &Ask, head_only: bool) -> Result<Ready, Refusal> {
    let Understood { mut player, opened } = understand(shard, &ask.source, ask.track).await?;
    let rendition = player.start(ask)?;
    let cached = if opened.was_cached { Cached::Hit } else { Cached::Miss };
    let head = PcmHead { etag: etag(&opened, ask, &rendition), rendition, cached };
    let first = match head_only {
        true => None,
        false => next_block(&mut player, &shard.first, 0).await?,
    };
    Ok(Ready { player, head, first, _opened: opened })
}

async fn understand(
    shard: &Shard,
    source: &SourceName,
    track: Option<u32>,
) -> Result<Understood, Refusal> {
    let opened = shard.files.open(&source.name, &source.path).await?;
    let reader = shard.reader(&opened.source);
    let mut player = Player::new(reader, &shard.stacks, &shard.pool, track)?;
    loop {
        let turn = shard.first.wait(0).await;
        let work = player.work(runtime::now() + SLICE)?;
        drop(turn);
        match work {
            Work::Starved => player.fetch().await?,
            Work::Slice => runtime::yield_if_needed().await,
            Work::Opened | Work::Block(_) | Work::End => return Ok(Understood { player, opened }),
        }
    }
}

async fn play(shard: &Shard, mut ready: Ready, mut pace: Pace, out: &Outlet) -> Result<(), Gone> {
    let player = &mut ready.player;
    let result = loop {
        out.room().await;
        match next_block(player, &shard.decode, pace.lead_us()).await {
            Ok(Some(block)) => {
                pace.sent(player);
                shard.count(&block);
                out.block(block).await?;
            }
            Ok(None) => break Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a body ends short");
                shard.stats.borrow_mut().aborted += 1;
                break Err(Abort);
            }
        }
    };
    let undecoded = player.undecoded_packets();
    shard.stats.borrow_mut().undecoded_packets += undecoded;
    out.end(result).await;
    Ok(())
}

/// Decodes in turns until there is a block; `None` at the end of the body.
async fn next_block(
    player: &mut Player,
    turns: &Turns,
    lead_us: i64,
) -> Result<Option<Block>, pcm::Error> {
    loop {
        let turn = turns.wait(lead_us).await;
        let work = player.work(runtime::now() + SLICE)?;
        drop(turn);
        match work {
            Work::Starved => player.fetch().await?,
            Work::Slice | Work::Opened => runtime::yield_if_needed().await,
            Work::Block(block) => return Ok(Some(block)),
            Work::End => return Ok(None),
        }
    }
}

/// How far ahead of real time a session is.
struct Pace {
    started: Instant,
    rate_hz: u32,
    frames: u64,
}

impl Pace {
    fn new(rendition: &Rendition) -> Self {
        Self { started: runtime::now(), rate_hz: rendition.spec.rate_hz, frames: 0 }
    }

    fn sent(&mut self, player: &Player) {
        self.frames = player.frames_done();
    }

    /// Audio delivered minus time passed, in microseconds.
    fn lead_us(&self) -> i64 {
        let audio_us = self.frames.saturating_mul(1_000_000) / u64::from(self.rate_hz);
        audio_us as i64 - self.started.elapsed().as_micros() as i64
    }
}

/// Names everything that the body depends on, and nothing else.
fn etag(opened: &Opened, ask: &Ask, rendition: &Rendition) -> String {
    let text = format!(
        "{} {:?} {:?} {:?} {} {:?} {DECODERS}",
        opened.version,
        ask.track,
        rendition.spec,
        rendition.format,
        rendition.slice.start,
        rendition.frames(),
    );
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

// --- Original bytes --------------------------------------------------------------------------

/// What of a file is wanted.
struct Wanted {
    range: Option<HeaderValue>,
    if_range: Option<HeaderValue>,
    head_only: bool,
}

async fn object(
    shard: &Shard,
    source: &SourceName,
    wanted: Wanted,
    out: Outlet,
) -> Result<(), Gone> {
    let head_only = wanted.head_only;
    let (opened, head) = match open_object(shard, source, wanted).await {
        Ok(found) => found,
        Err(refusal) => return out.head(Err(refusal)).await,
    };
    let whole = 0..head.length.unwrap_or(u64::MAX);
    let part = head.part.clone().unwrap_or(whole);
    let mut reader = shard.reader(&opened.source);
    let first = match head_only || part.is_empty() {
        true => None,
        // The head goes out when the first bytes are there: until then a failure has its status.
        false => match reader.block(part.start).await {
            Ok(first) => first,
            Err(failure) => return out.head(Err(pcm::Error::from(failure).into())).await,
        },
    };
    out.head(Ok(Answer::Object(Box::new(head)))).await?;
    let result = send(shard, &mut reader, part, first, &out).await?;
    out.end(result).await;
    Ok(())
}

async fn open_object(
    shard: &Shard,
    source: &SourceName,
    wanted: Wanted,
) -> Result<(Opened, ObjectHead), Refusal> {
    let opened = shard.files.open(&source.name, &source.path).await?;
    let fields = opened.fields.clone();
    let length = opened.source.length();
    let range = wanted.range.filter(|_| is_of(wanted.if_range.as_ref(), &fields));
    let selection = match length {
        Some(length) => range::select(range.as_ref().map(HeaderValue::as_bytes), length),
        // Of a resource whose length nobody knows yet, no part can be named.
        None => Selection::Whole,
    };
    let part = match (selection, length) {
        (Selection::Part(part), _) => Some(part),
        (Selection::Unsatisfiable, Some(length)) => return Err(Refusal::Unsatisfiable { length }),
        _ => None,
    };
    let cached = if opened.was_cached { Cached::Hit } else { Cached::Miss };
    Ok((opened, ObjectHead { fields, length, part, cached }))
}

/// Whether a range is about the version that these fields describe.
fn is_of(if_range: Option<&HeaderValue>, fields: &HeaderMap) -> bool {
    let text = |name| fields.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let modified = text(LAST_MODIFIED).and_then(|text| httpdate::parse_http_date(text).ok());
    let current = Current { etag: text(ETAG), last_modified: modified };
    let if_range = if_range.map(|value| value.to_str().unwrap_or_default());
    range_applies(if_range, current, runtime::wall_clock())
}

/// Sends the bytes of `part`; the inner result says whether they were all there.
async fn send(
    shard: &Shard,
    reader: &mut Reader,
    part: std::ops::Range<u64>,
    first: Option<Block>,
    out: &Outlet,
) -> Result<Result<(), Abort>, Gone> {
    let mut next = first;
    let mut at = part.start;
    while let Some(block) = next {
        let count = (block.len() as u64).min(part.end - at);
        let block = block.slice(0..count as usize);
        shard.count(&block);
        out.block(block).await?;
        at += count;
        if at >= part.end {
            break;
        }
        next = match reader.block(at).await {
            Ok(next) => next,
            Err(failure) => {
                tracing::warn!(%failure, at, "a body ends short");
                shard.stats.borrow_mut().aborted += 1;
                return Ok(Err(Abort));
            }
        };
    }
    Ok(Ok(()))
}

// --- What a source is ------------------------------------------------------------------------

async fn probe(shard: &Shard, source: &SourceName, out: Outlet) -> Result<(), Gone> {
    let answer = understand(shard, source, None).await.and_then(|understood| {
        let info: Option<&Info> = understood.player.info();
        let info = info.ok_or(Refusal::Broken)?.clone();
        Ok(Answer::Probe(Box::new(info)))
    });
    out.head(answer).await?;
    out.end(Ok(())).await;
    Ok(())
}

impl Shard {
    fn reader(&self, source: &Source) -> Reader {
        Reader::new(source.clone(), self.pool.clone(), self.read_ahead_bytes)
    }

    fn count(&self, block: &Block) {
        self.stats.borrow_mut().bytes += block.len() as u64;
    }
}
