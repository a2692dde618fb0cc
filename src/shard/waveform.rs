//! Drawing the outline of a source: from its timeline, which it shares with all who listen.

use std::rc::Rc;

use super::{
    Answer, Refusal, Shard, Waveform, WaveformWanted,
    listen::Listen,
    outlet::{Gone, Outlet},
    pcm::hash,
    serve::{before_it_goes_out, is_unmodified},
    understand::{Understood, understand},
};
use crate::{
    decode::{self, Dither, Quality},
    file::conditional::Current,
    pcm::{Ask, Format, Peaks, Rendition},
    runtime,
};

/// In no hurry: who plays comes first.
const LEAD_US: i64 = i64::MAX;

pub(super) async fn waveform(
    shard: &Rc<Shard>,
    wanted: &WaveformWanted,
    out: &Outlet,
) -> Result<(), Gone> {
    let drawn = before_it_goes_out(async || draw(shard, wanted).await).await;
    let is_refused = drawn.is_err();
    out.head(drawn.map(|waveform| Answer::Waveform(Box::new(waveform))))?;
    if !is_refused {
        out.end(Ok(()));
    }
    Ok(())
}

async fn draw(shard: &Rc<Shard>, wanted: &WaveformWanted) -> Result<Waveform, Refusal> {
    let understood = understand(shard, &wanted.source, &wanted.choice).await?;
    let (store, name) =
        (shard.files.store(), understood.place.called(&format!("waveform.{}", wanted.points)));
    let key = understood.place.key.clone();
    // It depends on the decoder as well.
    let version = format!("{} {}", understood.place.name.version, decode::identity());
    let info = understood.known.info.clone();
    let etag = etag(&understood, &name);
    let current = Current { etag: Some(&etag), ..Current::default() };
    if is_unmodified(&wanted.conditions, current)? {
        return Ok(Waveform { etag: Some(etag), info, peaks: None });
    }
    let is_shared = understood.place.is_shared;
    let kept = match is_shared {
        true => store.derived(&key, &version, &name).await.ok().flatten(),
        false => None,
    };
    if let Some(peaks) = kept.and_then(|bytes| Peaks::parse(&bytes, wanted.points)) {
        return Ok(Waveform { etag: Some(etag), info, peaks: Some(peaks) });
    }
    let place = understood.place.clone();
    let (peaks, is_torn) = listen(shard, wanted, understood).await?;
    let is_of_all = shard.is_of_all(&place, is_torn);
    if is_shared && is_of_all {
        store.keep_derived(&key, &version, &name, &peaks.to_bytes()).await;
    }
    let etag = is_of_all.then_some(etag);
    Ok(Waveform { etag, info, peaks: Some(peaks) })
}

/// Names the version of the source, and of what draws the outline of this name.
fn etag(understood: &Understood, name: &str) -> String {
    let text = format!("{} {name} {}", understood.readable.opened.version, decode::identity());
    format!("\"{}\"", hash(&text))
}

/// The outline, and whether something was missing of what it was drawn from.
async fn listen(
    shard: &Rc<Shard>,
    wanted: &WaveformWanted,
    understood: Understood,
) -> Result<(Peaks, bool), Refusal> {
    let rendition = Rendition::new(understood.known.info.clone(), &as_it_is(wanted))?;
    let (spec, frames) = (rendition.spec, rendition.frames());
    let mut listen = Listen::new(shard, understood, rendition);
    let frames = match frames {
        Some(frames) => frames,
        // Only its end tells: it is gone through once for that.
        None => walk(&mut listen, None, |_, _| {}).await?,
    };
    let mut peaks = Peaks::new(frames, wanted.points);
    walk(&mut listen, Some(frames), |first, pcm| peaks.push(first, pcm, spec.channels)).await?;
    Ok((peaks, listen.is_torn()))
}

/// Goes through the timeline to its end, which is the answer.
async fn walk(
    listen: &mut Listen,
    frames: Option<u64>,
    mut see: impl FnMut(u64, &[u8]),
) -> Result<u64, Refusal> {
    let mut at = 0;
    while frames.is_none_or(|frames| at < frames)
        && let Some(piece) = listen.piece(at, LEAD_US, at == 0).await?
    {
        see(piece.first, &piece.block);
        at = piece.range().end;
        runtime::yield_if_needed().await;
    }
    Ok(at)
}

fn as_it_is(wanted: &WaveformWanted) -> Ask {
    let (dither, quality) = (Dither::None, Quality::Good);
    let (rate_hz, channels, start, duration) = Default::default();
    let (source, choice) = (wanted.source.clone(), wanted.choice.clone());
    let format = Format::F32le;
    Ask { source, format, rate_hz, channels, dither, quality, start, duration, choice }
}
