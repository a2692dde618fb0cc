//! Serving a transcode: from where it is kept, or as it is made, for all who want it alike.

use std::{ops::Range, rc::Rc};

use super::{
    Abort, Answer, PcmHead, PcmWanted, Refusal, Shard,
    encoding::{AHEAD_BYTES, Encoding, Work},
    outlet::{Gone, Outlet},
    pcm::{Playing, block, etag, part},
    promises::{INPUT_BYTES, Promise},
    serve::{before_it_goes_out, cached, is_unmodified, next_block, send},
    stored::{Made, Stored},
    understand::{Understood, understand},
};
use crate::{
    bufpool::{Block, Class},
    encode::{Encoder, Output},
    file::conditional::Current,
    pcm::{self, Rendition},
    runtime::{self, Queue},
    storage::crc32c,
    stream::{Reader, Source},
};

/// A session with its answer decided.
struct Ready {
    head: PcmHead,
    body: Option<Body>,
}

/// What a session sends.
struct Body {
    shard: Rc<Shard>,
    reader: Reader,
    way: Way,
    /// The first block, which was waited for.
    first: Option<Block>,
    _memory: Promise,
}

/// Where its bytes come from.
enum Way {
    /// These places of what is kept.
    Kept([Range<u64>; 2]),
    /// An encoder; whether its front comes last.
    Coming(Rc<Encoding>, bool),
}

pub(super) async fn transcode(
    shard: &Rc<Shard>,
    wanted: PcmWanted,
    out: Rc<Outlet>,
) -> Result<(), Gone> {
    let Ready { head, body } = match before_it_goes_out(async || ready(shard, &wanted).await).await
    {
        Ok(ready) => ready,
        Err(refusal) => return out.head(Err(refusal)),
    };
    out.head(Ok(Answer::Pcm(Box::new(head))))?;
    let Some(body) = body else {
        out.end(Ok(()));
        return Ok(());
    };
    // What a listener waits for is here: from now on the session is one among many.
    let rest = runtime::spawn(Queue::Io, "send", body.run(out));
    rest.await.unwrap_or(Err(Gone))
}

async fn ready(shard: &Rc<Shard>, wanted: &PcmWanted) -> Result<Ready, Refusal> {
    let understood = understand(shard, &wanted.ask.source, &wanted.ask.choice).await?;
    let rendition = Rendition::new(understood.known.info.clone(), &wanted.ask)?;
    let made = Made::of(&understood.place, &wanted.ask, &rendition);
    let found = made.find(shard.files.store()).await?;
    if let Some(stored) = found.as_ref().and_then(Stored::of)
        && rendition.frames().is_none_or(|frames| frames == stored.frames())
        && let Some(ready) = kept(shard, wanted, &understood, &rendition, &stored).await?
    {
        return Ok(ready);
    }
    coming(shard, wanted, understood, rendition, &made).await
}

/// The answer from what is kept; `None` where the disk has lost the beginning of it.
async fn kept(
    shard: &Rc<Shard>,
    wanted: &PcmWanted,
    understood: &Understood,
    rendition: &Rendition,
    stored: &Stored,
) -> Result<Option<Ready>, Refusal> {
    let rendition = rendition.clone().of_frames(stored.frames());
    let length = Some(stored.length());
    let etag = etag(&understood.readable.opened, &wanted.ask, &rendition, "kept");
    let current = Current { etag: Some(&etag), ..Current::default() };
    let unmodified = is_unmodified(&wanted.conditions, current)?;
    let part = if unmodified { None } else { part(wanted, current, length)? };
    let (cached, decode) = (cached(&understood.readable.opened, &(0..u64::MAX)), understood.decode);
    let range = part.clone().unwrap_or(0..stored.length());
    let front_bytes = 0;
    let (etag, variant) = (Some(etag), understood.readable.variant());
    let head =
        PcmHead { rendition, etag, variant, length, part, front_bytes, unmodified, cached, decode };
    if wanted.head_only || unmodified {
        return Ok(Some(Ready { head, body: None }));
    }
    let memory = shard.promise(INPUT_BYTES)?;
    let mut reader = shard.reader(&Source::Asset(stored.lease.clone()));
    let places = stored.places(&range);
    let at = places.iter().find(|place| !place.is_empty()).map_or(0, |place| place.start);
    let Ok(first) = reader.block(at).await else { return Ok(None) };
    shard.stats.borrow_mut().transcodes.reused += 1;
    let (shard, way) = (Rc::clone(shard), Way::Kept(places));
    Ok(Some(Ready { head, body: Some(Body { shard, reader, way, first, _memory: memory }) }))
}

/// The answer as it is made.
async fn coming(
    shard: &Rc<Shard>,
    wanted: &PcmWanted,
    understood: Understood,
    rendition: Rendition,
    made: &Made,
) -> Result<Ready, Refusal> {
    let etag = etag(&understood.readable.opened, &wanted.ask, &rendition, "");
    let current = Current { etag: Some(&etag), ..Current::default() };
    let unmodified = is_unmodified(&wanted.conditions, current)?;
    let (cached, decode) = (cached(&understood.readable.opened, &(0..u64::MAX)), understood.decode);
    let (length, part, front_bytes) = Default::default();
    let variant = understood.readable.variant();
    let mut output = rendition.output().ok_or(Refusal::Broken)?;
    // The same body has the same number, and no other source has it.
    output.serial = crc32c(etag.as_bytes());
    let answer = rendition.clone();
    let mut head = PcmHead {
        rendition: answer,
        etag: Some(etag),
        variant,
        length,
        part,
        front_bytes,
        unmodified,
        cached,
        decode,
    };
    if wanted.head_only || unmodified {
        Encoder::new(&output).map_err(pcm::Error::from)?;
        return Ok(Ready { head, body: None });
    }
    let memory = shard.promise(INPUT_BYTES)?;
    let (encoding, decode) = encoding(shard, understood, &rendition, &output, made).await?;
    head.decode += decode;
    if wanted.front_last {
        head.front_bytes = encoding.room.len() as u64;
    }
    let source = Source::Asset(encoding.lease.clone());
    let mut reader = Reader::new(source, shard.pool.clone(), AHEAD_BYTES);
    let first = reader.block(0).await.map_err(|failure| match failure.cause::<Refusal>() {
        Some(refusal) => refusal.clone(),
        None => pcm::Error::from(failure).into(),
    })?;
    let (shard, way) = (Rc::clone(shard), Way::Coming(encoding, wanted.front_last));
    Ok(Ready { head, body: Some(Body { shard, reader, way, first, _memory: memory }) })
}

/// The encoder that is under way, or a new one; and what the first frames took of the core.
async fn encoding(
    shard: &Rc<Shard>,
    understood: Understood,
    rendition: &Rendition,
    output: &Output,
    made: &Made,
) -> Result<(Rc<Encoding>, std::time::Duration), Refusal> {
    let joined = async || {
        let found = made.find(shard.files.store()).await?;
        let joined = found.and_then(|lease| shard.encodings.of(&lease));
        shard.stats.borrow_mut().transcodes.joined += u64::from(joined.is_some());
        Ok::<_, Refusal>(joined)
    };
    if let Some(encoding) = joined().await? {
        return Ok((encoding, std::time::Duration::ZERO));
    }
    let mut playing = Playing::new(shard, rendition, None, understood);
    let work = Work::new(shard, rendition, output)?;
    // As long as nothing went out, everything can still be refused.
    let decode = playing.begin().await?;
    // Another may have begun meanwhile.
    let encoding = match joined().await? {
        Some(encoding) => encoding,
        None => Encoding::begin(shard, made, playing, work),
    };
    Ok((encoding, decode))
}

impl Body {
    async fn run(self, out: Rc<Outlet>) -> Result<(), Gone> {
        let Self { shard, mut reader, way, first, _memory } = self;
        let sent = match &way {
            Way::Kept(places) => send_places(&shard, &mut reader, places, first, &out).await?,
            Way::Coming(encoding, front_last) => {
                let front = if *front_last { &encoding.room } else { &encoding.front };
                send_front(&shard, front, &out).await?;
                let sent = match first {
                    Some(first) => {
                        send(&shard, &mut reader, 0, || encoding.end(), first, &out).await?
                    }
                    None => Ok(()),
                };
                if sent.is_ok() && *front_last {
                    send_front(&shard, encoding.final_front().unwrap_or_default(), &out).await?;
                }
                sent
            }
        };
        out.end(sent);
        Ok(())
    }
}

async fn send_places(
    shard: &Shard,
    reader: &mut Reader,
    places: &[Range<u64>; 2],
    mut first: Option<Block>,
    out: &Outlet,
) -> Result<Result<(), Abort>, Gone> {
    for place in places.iter().filter(|place| !place.is_empty()) {
        let next = match first.take() {
            Some(first) => Ok(Some(first)),
            None => next_block(shard, reader, place.start).await,
        };
        let sent = match next {
            Ok(Some(next)) => send(shard, reader, place.start, || place.end, next, out).await?,
            // It has less than it said.
            Ok(None) => Err(Abort::Failed),
            Err(abort) => Err(abort),
        };
        if sent.is_err() {
            return Ok(sent);
        }
    }
    Ok(Ok(()))
}

/// Sends what the stream begins with. It is a few bytes, which are in memory.
async fn send_front(shard: &Shard, front: &[u8], out: &Outlet) -> Result<(), Gone> {
    for piece in front.chunks(Class::Small.bytes()) {
        let credit = out.credit().await;
        let Ok(mut small) = block(shard, Class::Small).await else {
            out.end(Err(Abort::Failed));
            return Err(Gone);
        };
        small[..piece.len()].copy_from_slice(piece);
        let small = small.freeze(piece.len());
        shard.count(&small);
        out.block(credit, small)?;
    }
    Ok(())
}
