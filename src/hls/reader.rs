//! The one place that waits for bytes of segments.
//!
//! A [`Reader`] stands between the parts of a variant, which come from wherever their resources have their
//! homes, and a decoder that cannot wait. It reads the part in which something is wanted, in order, and
//! decrypts what is encrypted; what it has it makes [`Resident`]. A part that cannot be had is lost to the
//! tape, which is no error where others can: silence of its length is heard in its place.

use std::{
    future::{Future, poll_fn},
    ops::Range,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{
    decrypt::{BLOCK_BYTES, BadPadding, Decrypt},
    keys::KeyName,
    missing::{Called, Missing, Thing},
    parts::{Parts, Resource},
};
use crate::{
    bufpool::{Block, BlockMut, BufPool, Class},
    storage::Failure,
    stream::{
        Resident, take,
        tape::{part_of, position_of},
    },
};

/// A future of the thread that it is polled on.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What one part may take. The names are those of `[limits]`.
#[derive(Debug, Clone, Copy)]
pub struct PartLimits {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of an init section.
    pub init_bytes: u64,
    /// Bytes of a key, as it comes.
    pub key_bytes: usize,
    /// Segments in a row that become silence because they cannot be had, or are no media. With one more the
    /// answer ends short: what is played would be nothing but silence, each of its seconds with its fetches.
    pub missing_segments: u32,
}

impl Default for PartLimits {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, init_bytes: 1 << 20, key_bytes: 64, missing_segments: 60 }
    }
}

/// Where the bytes of resources come from.
pub trait Fetch {
    /// The bytes of a resource from `from` on, counted from the start of its range.
    fn open(&self, resource: &Resource, from: u64) -> Local<'_, Result<Box<dyn Body>, Unfetched>>;

    /// A segment cannot be had, and is silence.
    fn missing(&self, missing: &Missing);

    /// What lies at a URL, as a client would ask for it.
    fn called(&self, url: &url::Url) -> Called;

    /// A key.
    fn key<'a>(&'a self, name: &'a KeyName) -> Local<'a, Result<[u8; BLOCK_BYTES], Unfetched>>;
}

/// The bytes of one resource, in order.
pub trait Body {
    /// The next of them; `None` at their end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Block>, Unfetched>>;
}

/// Why bytes of a resource are not had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unfetched {
    /// There are none, after all tries: others play on without.
    #[error(transparent)]
    Missing(Failure),
    /// It ends before them.
    #[error("it ends before")]
    End,
    /// They may be had another time: whoever waits is told why not now.
    #[error(transparent)]
    Failed(Failure),
}

/// A part is not what its playlist says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPart {
    /// It is longer than any may be.
    #[error("a segment, or what stands before it, has more than {0} bytes")]
    Long(u64),
    /// It was not encrypted with its key.
    #[error("a segment is not what its key was made for: its padding is wrong")]
    Padding,
}

/// Reads one variant for one decoder.
pub struct Reader {
    parts: Rc<Parts>,
    fetch: Rc<dyn Fetch>,
    resident: Resident,
    pool: BufPool,
    limits: PartLimits,
    running: Option<Running>,
    /// Parts that were missing while nothing had come of any; `None` once something has.
    missing: Option<u32>,
}

/// Parts that may be missing before anything has come. What has none of them is not there: its failure is
/// told, and no silence is played.
const MISSING_FIRST: u32 = 3;

/// A part that is being read.
struct Running {
    part: u32,
    /// Its next byte, as it is once decrypted.
    at: u64,
    body: Box<dyn Body>,
    decrypt: Option<Decrypt>,
    /// Bytes before that, which came only to decrypt others.
    before: usize,
    /// Nothing comes of the body any more.
    is_over: bool,
}

/// How far ahead in a part what is wanted may lie for it to be read up to there.
const NEAR_BYTES: u64 = 256 << 10;

impl Running {
    /// Whether what comes next of it soon is what is wanted.
    fn leads_to(&self, part: u32, offset: u64) -> bool {
        let ahead = offset.checked_sub(self.at).filter(|_| self.part == part);
        ahead.is_some_and(|ahead| ahead <= NEAR_BYTES)
    }
}

/// What a part came to.
enum Came {
    Block(Block),
    End,
}

impl Reader {
    /// A reader at the start of `parts`.
    pub fn new(parts: Rc<Parts>, fetch: Rc<dyn Fetch>, pool: BufPool, limits: PartLimits) -> Self {
        let mut tape = parts.tape().clone();
        tape.bear(limits.missing_segments);
        let resident = Resident::of_tape(tape);
        Self { parts, fetch, resident, pool, limits, running: None, missing: Some(0) }
    }

    /// The bytes that are in memory, for the side that must not wait.
    pub fn resident(&self) -> Resident {
        self.resident.clone()
    }

    /// Waits until the first byte of `need` is resident, or it is known that it never will be.
    ///
    /// # Errors
    /// The reason for which nothing can be had now. Never the end of a part, nor one that is missing.
    ///
    /// # Cancellation
    /// What became resident stays so, and what was on its way is fetched again.
    pub async fn fetch(&mut self, need: Range<u64>) -> Result<(), Failure> {
        let at = self.resident.resident_to(need.start);
        if at > need.start {
            return Ok(());
        }
        self.resident.clear();
        let (part, offset) = part_of(need.start);
        // Dropped with this future, it would have lost what it was waiting for.
        let running = self.running.take().filter(|running| running.leads_to(part, offset));
        let mut running = match running {
            Some(running) => running,
            None => match self.open(part, offset).await {
                Ok(running) => running,
                Err(unfetched) => return self.end(part, offset, unfetched),
            },
        };
        loop {
            match self.next(&mut running).await {
                Ok(Came::End) => return self.end(part, running.at, Unfetched::End),
                Err(unfetched) => return self.end(part, running.at, unfetched),
                Ok(Came::Block(block)) => {
                    let start = running.at;
                    running.at += block.len() as u64;
                    let most = self.most_bytes(part);
                    if running.at > most {
                        let long = Unfetched::Missing(Failure::new(BadPart::Long(most)));
                        return self.end(part, start, long);
                    }
                    // It may have begun before what is wanted.
                    if part < self.parts.segments() {
                        self.missing = None;
                    }
                    if running.at > offset {
                        self.resident.insert(position_of(part) + start, block);
                        self.running = Some(running);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// No byte comes at `at` of a part.
    fn end(&mut self, part: u32, at: u64, why: Unfetched) -> Result<(), Failure> {
        let length = u32::try_from(at).unwrap_or(u32::MAX);
        match why {
            Unfetched::Failed(failure) => return Err(failure),
            Unfetched::End => self.resident.with_tape(|tape| tape.set_length(part, length)),
            Unfetched::Missing(why) => {
                let missing = self.named(part, why);
                // Without an init section there is nothing to play either.
                let is_first = self.missing.is_some_and(|missing| missing >= MISSING_FIRST);
                if is_first || part >= self.parts.segments() {
                    return Err(Failure::new(missing));
                }
                self.missing = self.missing.map(|missing| missing + 1);
                let is_borne = self.resident.with_tape(|tape| tape.lose(part, length));
                if is_borne == Some(false) {
                    return Err(Failure::new(missing));
                }
                self.fetch.missing(&missing);
                Some(())
            }
        };
        Ok(())
    }

    /// What of the presentation a part is that cannot be had, unless that is said.
    fn named(&self, part: u32, why: Failure) -> Missing {
        if let Some(missing) = why.cause::<Missing>() {
            return missing.clone();
        }
        let thing = if part < self.parts.segments() { Thing::Segment(part) } else { Thing::Init };
        let url = self.parts.resource(part).map(|resource| resource.url);
        let called =
            url.map_or(Called { name: None, path: String::new() }, |url| self.fetch.called(&url));
        Missing { thing, called, why }
    }

    /// The key of a part.
    async fn key(&self, part: u32, name: &KeyName) -> Result<[u8; BLOCK_BYTES], Unfetched> {
        let called = || self.fetch.called(&name.url);
        let named = |why| Missing { thing: Thing::Key(part), called: called(), why };
        self.fetch.key(name).await.map_err(|unfetched| match unfetched {
            Unfetched::Missing(why) => Unfetched::Missing(Failure::new(named(why))),
            other => other,
        })
    }

    /// Bytes that a part may have.
    fn most_bytes(&self, part: u32) -> u64 {
        match part < self.parts.segments() {
            true => self.limits.segment_bytes,
            false => self.limits.init_bytes,
        }
    }

    /// The bytes of a part from `offset` on, or from a little before.
    async fn open(&self, part: u32, offset: u64) -> Result<Running, Unfetched> {
        let resource = self.parts.resource(part).ok_or(Unfetched::End)?;
        let Some((key, iv)) = &resource.key else {
            let body = self.fetch.open(&resource, offset).await?;
            return Ok(Running {
                part,
                at: offset,
                body,
                decrypt: None,
                before: 0,
                is_over: false,
            });
        };
        let key = self.key(part, key).await?;
        // A block is decrypted with the one before it, which for the first is the vector.
        let at = offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let before = if at > 0 { BLOCK_BYTES } else { 0 };
        let body = self.fetch.open(&resource, at - before as u64).await?;
        let decrypt = Some(Decrypt::new(&key, iv));
        Ok(Running { part, at, body, decrypt, before, is_over: false })
    }

    async fn next(&self, running: &mut Running) -> Result<Came, Unfetched> {
        while !running.is_over {
            let next = poll_fn(|context| running.body.poll_next(context)).await?;
            let Some(block) = next else {
                running.is_over = true;
                let Some(decrypt) = running.decrypt.take() else { return Ok(Came::End) };
                let mut rest = self.room(BLOCK_BYTES).await?;
                let count = decrypt
                    .finish(&mut rest)
                    .map_err(|BadPadding| Unfetched::Missing(Failure::new(BadPart::Padding)))?;
                return Ok(if count == 0 { Came::End } else { Came::Block(rest.freeze(count)) });
            };
            let Some(decrypt) = &mut running.decrypt else { return Ok(Came::Block(block)) };
            let count = decrypt.bytes_of(block.len());
            if count == 0 {
                decrypt.push(&block, &mut []);
                continue;
            }
            let mut plain = self.room(count).await?;
            decrypt.push(&block, &mut plain[..count]);
            // Whole blocks come out: the one before is among the first.
            let before = std::mem::take(&mut running.before);
            if count > before {
                return Ok(Came::Block(plain.freeze(count).slice(before..count)));
            }
        }
        Ok(Came::End)
    }

    /// Memory to decrypt to.
    async fn room(&self, bytes: usize) -> Result<BlockMut, Unfetched> {
        let taken = take(&self.pool, Class::holding(bytes)).await;
        taken.map_err(|exhausted| Unfetched::Failed(Failure::new(exhausted)))
    }
}
