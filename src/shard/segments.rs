//! Segments and keys of a presentation, from whichever shards own them: by the way of every client.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::HeaderValue;
use url::Url;

use super::{
    Answer, By, Job, Refusal, Response, Shard, Wanted, What, keys::SecretKey, notice::shown,
};
use crate::{
    bufpool::{Block, Exhausted},
    file::{self, How},
    hls::{
        self, Body, Called, Fetch, KEY_BYTES, KeyName, Local, Missing, Resource, Thing, Unfetched,
        abr::{Estimator, Sample},
    },
    net,
    pcm::SourceName,
    runtime,
    storage::Failure,
    stream::Patience,
};

/// What a session for a segment may hold, which is waited for where the node is full.
const SESSION_BYTES: usize = 512 << 10;

/// Fetches for one presentation.
pub(super) struct Segments {
    shard: Rc<Shard>,
    /// The playlist that names them.
    of: SourceName,
    by: By,
}

impl Segments {
    pub(super) fn new(shard: &Rc<Shard>, of: &SourceName, by: By) -> Self {
        Self { shard: Rc::clone(shard), of: of.clone(), by }
    }

    /// Has a resource in the cache, and its key at hand; says whether all of it could be had.
    pub(super) async fn bring(&self, segment: u32, resource: &Resource, brought: &Brought) -> bool {
        let is_whole = self.bring_quietly(resource, brought).await;
        if is_whole {
            let (bytes, playlist) = (brought.bytes(), shown(&self.of.to_string()));
            let took = brought.times().filter(|_| brought.is_from_origin()).map(|(_, took)| took);
            self.shard.tell(|| What::SegmentFetched { playlist, segment, bytes, took });
        }
        is_whole
    }

    async fn bring_quietly(&self, resource: &Resource, brought: &Brought) -> bool {
        if let Some((name, _)) = &resource.key
            && self.fetch_key(name).await.is_err()
        {
            return false;
        }
        if let Some(bytes) = self.bytes_here(resource).await {
            brought.bytes.set(bytes);
            return true;
        }
        brought.asked.set(Some(runtime::now()));
        let Ok(mut body) = self.body(resource, 0).await else { return false };
        brought.begins(&body);
        loop {
            match poll_fn(|context| body.poll_next(context)).await {
                Ok(Some(block)) => brought.comes(block.len() as u64),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// How long a resource is, if all of it is in the cache.
    pub(super) async fn bytes_here(&self, resource: &Resource) -> Option<u64> {
        let range = resource.range.as_ref().and_then(|range| ranged(range.start, Some(range.end)));
        let wanted = Wanted { range, by: By::NodeIfCached, head_only: true, ..Wanted::default() };
        let response = self.request(&resource.url, wanted).await.ok()?;
        let Answer::Object(head) = &response.answer else { return None };
        let bytes = head.part.as_ref().map_or(head.length, |part| Some(part.end - part.start));
        bytes.filter(|_| head.cached.found.how == How::Hit)
    }

    async fn body(&self, resource: &Resource, from: u64) -> Result<SegmentBody, Unfetched> {
        let Resource { url, range, .. } = resource;
        let start = range.as_ref().map_or(0, |range| range.start).saturating_add(from);
        let end = range.as_ref().map(|range| range.end);
        if end.is_some_and(|end| start >= end) {
            return Err(Unfetched::End);
        }
        let wanted = Wanted { range: ranged(start, end), by: self.by, ..Wanted::default() };
        let response = self.request(url, wanted).await?;
        let Answer::Object(head) = &response.answer else {
            return Err(Unfetched::Missing(Failure::new(Refusal::Broken)));
        };
        // Where nobody knows its length yet, no part of it was chosen.
        let skip = if head.part.is_some() { 0 } else { start };
        let left = end.map(|end| end - start);
        Ok(SegmentBody { response, skip, left })
    }

    /// The answer about a URL that the playlist led to. Where this node is full, it is waited for.
    async fn request(&self, url: &Url, wanted: Wanted) -> Result<Response, Unfetched> {
        let files = &self.shard.files;
        let referred = match wanted.by {
            By::NodeForKey => files.referred_key(&self.of.name, url),
            _ => files.referred(&self.of.name, url),
        };
        let leads_out = || Unfetched::Missing(Failure::new(Refusal::Hls(hls::Error::LeadsOut)));
        let (name, path) = referred.ok_or_else(leads_out)?;
        let source = SourceName { name, path, is_file: self.of.is_file };
        let mut patience = Patience::default();
        loop {
            let job = Job::Object { source: source.clone(), wanted: wanted.clone() };
            match self.shard.request(job).await {
                Ok(response) => return Ok(response),
                Err(Refusal::Full) if patience.wait(&self.shard.pool, SESSION_BYTES).await => {}
                Err(Refusal::Full) => return Err(Unfetched::Failed(Failure::new(Exhausted))),
                Err(Refusal::Unsatisfiable { .. }) => return Err(Unfetched::End),
                Err(Refusal::File(error @ file::Error::NotCached)) => {
                    return Err(Unfetched::Failed(Failure::new(error)));
                }
                Err(refusal) => return Err(Unfetched::Missing(Failure::new(refusal))),
            }
        }
    }

    async fn fetch_key(&self, name: &KeyName) -> Result<SecretKey, Unfetched> {
        let Shard { keys, unwrapping, .. } = &*self.shard;
        let is_wrapped = unwrapping.formats().contains(&&*name.format);
        // What is a key as it comes is the same with any vector.
        let kept = KeyName { iv: name.iv.filter(|_| is_wrapped), ..name.clone() };
        if let Some(key) = keys.get(&kept) {
            return Ok(key);
        }
        let bytes = self.key_bytes(&name.url).await?;
        let key = match is_wrapped {
            true => unwrapping.unwrap(name, bytes).await.map_err(|why| why.to_string()),
            false => SecretKey::try_from(bytes)
                .map_err(|bytes| format!("it has {} bytes, and not {KEY_BYTES}", bytes.len())),
        };
        let key = key.map_err(|why| no_key(&name.url, why))?;
        keys.put(&kept, key);
        self.shard.tell(|| What::KeyFetched { playlist: shown(&self.of.to_string()) });
        Ok(key)
    }

    /// What lies there for a key.
    async fn key_bytes(&self, url: &Url) -> Result<Vec<u8>, Unfetched> {
        let wanted = Wanted { by: By::NodeForKey, ..Wanted::default() };
        let response = self.request(url, wanted).await.map_err(|unfetched| match unfetched {
            Unfetched::Missing(failure) => match refused_status(&failure) {
                Some(status) => no_key(url, format!("its origin answers {status}")),
                None => Unfetched::Missing(failure),
            },
            other => other,
        })?;
        let mut body = SegmentBody { response, skip: 0, left: None };
        let (mut bytes, most) = (Vec::new(), self.shard.options.parts.key_bytes);
        while let Some(block) = poll_fn(|context| body.poll_next(context)).await? {
            if bytes.len() + block.len() > most {
                return Err(no_key(
                    url,
                    format!("it has more than {most} bytes (`limits.key_bytes`)"),
                ));
            }
            bytes.extend_from_slice(&block);
        }
        Ok(bytes)
    }
}

/// There is no key at `url`, for who asked for it at least.
fn no_key(url: &Url, why: String) -> Unfetched {
    let name = shown(url.as_str());
    tracing::warn!(key = name, why, "a key cannot be had");
    Unfetched::Missing(Failure::new(Refusal::Hls(hls::Error::NoKey { name, why })))
}

/// The status by which an origin says that what is asked for is not there, or not for us.
fn refused_status(failure: &Failure) -> Option<u16> {
    let Some(Refusal::File(file::Error::Source(failure))) = failure.cause() else { return None };
    let status = failure.cause::<net::Error>()?.status()?;
    (matches!(status, 400..=499) && status != 429).then_some(status)
}

impl Fetch for Segments {
    fn open(&self, resource: &Resource, from: u64) -> Local<'_, Result<Box<dyn Body>, Unfetched>> {
        let resource = resource.clone();
        Box::pin(async move { Ok(Box::new(self.body(&resource, from).await?) as Box<dyn Body>) })
    }

    fn missing(&self, missing: &Missing) {
        self.shard.stats.borrow_mut().missing_segments += 1;
        let playlist = shown(&self.of.to_string());
        let said = self.shard.complaints.borrow_mut().make(&playlist, runtime::now());
        if let Some(unsaid) = said {
            tracing::warn!(%playlist, %missing, unsaid, "a segment is missing, and silence");
        }
        let (Thing::Segment(segment) | Thing::Key(segment)) = missing.thing else { return };
        let why = shown(&missing.why.to_string());
        self.shard.tell(|| What::SegmentMissing { playlist, segment, why });
    }

    fn called(&self, url: &Url) -> Called {
        let mut url = url.clone();
        url.set_query(None);
        match self.shard.files.referred(&self.of.name, &url) {
            Some((name, path)) if self.shard.files.is_known(&name) => {
                Called { name: Some(name), path }
            }
            _ => Called { name: None, path: url.path().to_owned() },
        }
    }

    fn key<'a>(&'a self, name: &'a KeyName) -> Local<'a, Result<SecretKey, Unfetched>> {
        Box::pin(self.fetch_key(name))
    }
}

/// How far a resource has come, and how fast.
#[derive(Default)]
pub(super) struct Brought {
    bytes: Cell<u64>,
    length: Cell<Option<u64>>,
    is_from_origin: Cell<bool>,
    asked: Cell<Option<Instant>>,
    /// When the first byte was there, and the last.
    first: Cell<Option<Instant>>,
    last: Cell<Option<Instant>>,
    /// When it was looked at last, and the bytes that there were.
    looked: Cell<Option<(Instant, u64)>>,
    line: RefCell<Estimator>,
}

impl Brought {
    /// Bytes that came.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Bytes of the whole, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length.get()
    }

    /// Whether it was asked for at the origin by this fetch.
    pub(super) fn is_from_origin(&self) -> bool {
        self.is_from_origin.get()
    }

    /// From the request to the first byte, and from there to the last.
    pub(super) fn times(&self) -> Option<(Duration, Duration)> {
        let (asked, first, last) = (self.asked.get()?, self.first.get()?, self.last.get()?);
        Some((first.saturating_duration_since(asked), last.saturating_duration_since(first)))
    }

    /// Looks how fast it comes: bits per second of late, where that can be said, and how long nothing came. To be
    /// looked at again and again.
    pub(super) fn look(&self, now: Instant) -> (Option<f64>, Duration) {
        let since = |at: Instant| now.saturating_duration_since(at);
        let Some(begun) = self.first.get() else {
            return (None, self.asked.get().map(since).unwrap_or_default());
        };
        let (looked, before) = self.looked.replace(Some((now, self.bytes()))).unwrap_or((begun, 0));
        let (bytes, duration) = (self.bytes() - before, since(looked));
        let sample = Sample { bytes, duration, latency: Duration::ZERO };
        let mut line = self.line.borrow_mut();
        line.add(&sample, now);
        let silent = since(self.last.get().unwrap_or(begun));
        (line.estimate().map(|estimate| estimate.bandwidth), silent)
    }

    fn begins(&self, body: &SegmentBody) {
        self.first.set(Some(runtime::now()));
        if let Answer::Object(head) = &body.response.answer {
            let found = head.cached.found;
            self.is_from_origin.set(found.origin.is_some() && !found.collapsed);
            self.length
                .set(head.part.as_ref().map_or(head.length, |part| Some(part.end - part.start)));
        }
    }

    fn comes(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.last.set(Some(runtime::now()));
    }
}

/// A session for one resource.
struct SegmentBody {
    response: Response,
    /// Bytes that come before those that are wanted.
    skip: u64,
    /// Bytes that are still wanted, where that is known.
    left: Option<u64>,
}

impl Body for SegmentBody {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Block>, Unfetched>> {
        while self.left != Some(0) {
            let next = ready!(self.response.poll_next(context));
            let next = next.map_err(|abort| Unfetched::Missing(Failure::new(abort)))?;
            let Some(sent) = next else { break };
            let block = sent.block();
            let skip = self.skip.min(block.len() as u64);
            self.skip -= skip;
            let most = self.left.unwrap_or(u64::MAX).min(block.len() as u64 - skip);
            self.left = self.left.map(|left| left - most);
            if most > 0 {
                let wanted = block.slice(skip as usize..(skip + most) as usize);
                return Poll::Ready(Ok(Some(wanted)));
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// The field that asks for these bytes; none for all.
fn ranged(start: u64, end: Option<u64>) -> Option<HeaderValue> {
    let text = match end {
        Some(end) => format!("bytes={start}-{}", end - 1),
        None if start == 0 => return None,
        None => format!("bytes={start}-"),
    };
    HeaderValue::try_from(text).ok()
}
