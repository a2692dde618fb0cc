//! Serving decoded audio: a session that listens to a timeline, and sends of it what was asked for.

use std::{ops::Range, rc::Rc, time::Duration};

use futures_lite::future;

use super::{
    Abort, Answer, PcmHead, PcmWanted, Refusal, Shard,
    adaptive::Adaptive,
    listen::Listen,
    outlet::{Gone, Outlet},
    pace::Pace,
    rungs::is_of_variant,
    serve::{before_it_goes_out, cached, is_unmodified},
    understand::Understood,
};
use crate::{
    bufpool::{Block, BlockMut, Class},
    decode::{self, Info},
    file::{
        Opened,
        conditional::{Current, range_applies},
        range::{self, Selection},
    },
    pcm::{self, Ask, Course, Next, Piece, Rendition, TrackName},
    runtime::{self, Queue},
    stream,
};

/// A session with its answer decided.
struct Ready {
    head: PcmHead,
    playing: Option<Playing>,
}

/// Frames of a timeline as an answer has them.
pub(super) struct Playing {
    shard: Rc<Shard>,
    listen: Listen,
    /// Where the variant may change on the way.
    adaptive: Option<Adaptive>,
    course: Course,
    /// The piece that comes next, where it is here already.
    piece: Option<Piece>,
    is_first: bool,
}

pub(super) async fn pcm(shard: &Rc<Shard>, wanted: PcmWanted, out: Rc<Outlet>) -> Result<(), Gone> {
    let ready = match before_it_goes_out(async || ready(shard, &wanted).await).await {
        Ok(ready) => ready,
        Err(refusal) => return out.head(Err(refusal)),
    };
    let rate_hz = ready.head.rendition.spec.rate_hz;
    out.head(Ok(Answer::Pcm(Box::new(ready.head))))?;
    let Some(playing) = ready.playing else {
        out.end(Ok(()));
        return Ok(());
    };
    let pace = Pace::new(rate_hz, 0, runtime::now());
    // What a listener waits for is here: from now on the session is one among many.
    let rest = runtime::spawn(Queue::Io, "listen", playing.run(pace, out));
    rest.await.unwrap_or(Err(Gone))
}

async fn ready(shard: &Rc<Shard>, wanted: &PcmWanted) -> Result<Ready, Refusal> {
    let ask = &wanted.ask;
    let (understood, adaptive) = Adaptive::open(shard, ask).await?;
    let Understood { known, readable, decode, .. } = &understood;
    let opened = &readable.opened;
    let info = match &adaptive {
        // The rest may be of another variant.
        Some(adaptive) => Info { frames: None, ..adaptive.shape(&understood).await },
        None => known.info.clone(),
    };
    let may_change = adaptive.is_some();
    let rendition = Rendition::new(info, ask)?;
    let length = rendition.body().map(|body| body.bytes());
    let etag = etag(opened, ask, &rendition, "");
    let current = Current { etag: Some(&etag), ..Current::default() };
    let unmodified = is_unmodified(&wanted.conditions, current)?;
    let part = if unmodified { None } else { part(wanted, current, length)? };
    let (cached, decode) = (cached(opened, &(0..u64::MAX)), *decode);
    // Nobody knows what the rest will be of, so it has no name.
    let etag = (!may_change).then_some(etag);
    let variant = readable.variant().filter(|_| !may_change);
    let mut head = PcmHead {
        rendition,
        etag,
        variant,
        length,
        part,
        front_bytes: 0,
        unmodified,
        cached,
        decode,
    };
    if wanted.head_only || unmodified {
        return Ok(Ready { head, playing: None });
    }
    let mut playing = match adaptive {
        Some(adaptive) => Playing::adaptive(shard, &head.rendition, adaptive, understood)?,
        None => Playing::new(shard, &head.rendition, head.part.as_ref(), understood),
    };
    head.decode += playing.begin().await?;
    Ok(Ready { head, playing: Some(playing) })
}

/// The part of the body that is asked for, where its length is known.
pub(super) fn part(
    wanted: &PcmWanted,
    current: Current<'_>,
    length: Option<u64>,
) -> Result<Option<Range<u64>>, Refusal> {
    let Some(length) = length else { return Ok(None) };
    let if_range = wanted.if_range.as_ref().map(|value| value.to_str().unwrap_or_default());
    let applies = range_applies(if_range, current, runtime::wall_clock());
    let range = wanted.range.as_ref().filter(|_| applies);
    match range::select(range.map(http::HeaderValue::as_bytes), length) {
        Selection::Whole => Ok(None),
        Selection::Part(part) => Ok(Some(part)),
        Selection::Unsatisfiable => Err(Refusal::Unsatisfiable { length }),
    }
}

/// Names everything that the body depends on, and nothing else. `form` tells two apart that hold the same.
pub(super) fn etag(opened: &Opened, ask: &Ask, rendition: &Rendition, form: &str) -> String {
    // What is taken without a number is the first track that can be decoded. Where that is not 0, track 0
    // is refused, so no two tracks share a name. What else is chosen is in the version.
    let track = match ask.choice.track {
        Some(TrackName::Number(number)) => number,
        _ => 0,
    };
    let text = format!(
        "{} {track} {:?} {:?} {:?} {}{}{form}",
        opened.version,
        rendition.spec,
        rendition.format,
        rendition.slice,
        decode::identity(),
        rendition.format.identity(),
    );
    format!("\"{}\"", hash(&text))
}

/// A text in few characters.
pub(super) fn hash(text: impl AsRef<[u8]>) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_ref());
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Playing {
    /// Plays an answer, or a part of it, of a source of which it is known what it is.
    pub(super) fn new(
        shard: &Rc<Shard>,
        rendition: &Rendition,
        part: Option<&Range<u64>>,
        understood: Understood,
    ) -> Self {
        let listen = Listen::new(shard, understood, rendition.clone());
        Self::of(shard, listen, None, Course::of(rendition, part))
    }

    /// Plays an answer whose variant may change on the way.
    fn adaptive(
        shard: &Rc<Shard>,
        rendition: &Rendition,
        adaptive: Adaptive,
        understood: Understood,
    ) -> Result<Self, Refusal> {
        let own = rendition.of_source(understood.known.info.clone())?;
        let listen = Listen::bare(shard, understood, own);
        Ok(Self::of(shard, listen, Some(adaptive), Course::of(rendition, None)))
    }

    fn of(shard: &Rc<Shard>, listen: Listen, adaptive: Option<Adaptive>, course: Course) -> Self {
        Self { shard: Rc::clone(shard), listen, adaptive, course, piece: None, is_first: true }
    }

    /// Waits for the first frames of the answer, and says what they took of the core.
    ///
    /// # Errors
    /// As long as nothing went out, everything can still be refused: also a start that turns out to lie
    /// behind the end.
    pub(super) async fn begin(&mut self) -> Result<Duration, Refusal> {
        let Some(frame) = self.course.frame() else { return Ok(Duration::ZERO) };
        self.piece = self.piece(frame, 0).await?;
        self.is_first = false;
        match &self.piece {
            Some(piece) => Ok(piece.cost),
            None => {
                let spec = self.listen.rendition().spec;
                let total = self.listen.end().unwrap_or(frame);
                let slice = self.listen.rendition().slice;
                slice.check_start(total, spec.rate_hz).map_err(pcm::Error::from)?;
                Ok(Duration::ZERO)
            }
        }
    }

    async fn run(mut self, mut pace: Pace, out: Rc<Outlet>) -> Result<(), Gone> {
        let result = loop {
            let credit = out.credit().await;
            pace.takes(runtime::now());
            if let Some(frame) = self.course.frame()
                && let Some(hearing) = self.listen.hearing(frame)
            {
                out.registered.hears(hearing, || self.why(frame));
            }
            match self.next(pace.lead_us(runtime::now())).await {
                Ok(Some(block)) => {
                    if let Some(lasted) = pace.comes(runtime::now()) {
                        out.registered.stalled(lasted);
                    }
                    pace.sent(self.course.frames_done());
                    self.shard.count(&block);
                    out.block(credit, block)?;
                }
                Ok(None) => break Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "a body ends short");
                    self.shard.stats.borrow_mut().aborted += 1;
                    break Err(Abort::Failed);
                }
            }
        };
        out.end(result);
        Ok(())
    }

    /// Frames that it has given.
    pub(super) fn frames_done(&self) -> u64 {
        self.course.frames_done()
    }

    /// Whether something was missing when frames were made that it gave.
    pub(super) fn is_torn(&self) -> bool {
        self.listen.is_torn()
    }

    /// The next block of the answer, for one with so much lead; `None` at its end.
    pub(super) async fn next(&mut self, lead_us: i64) -> Result<Option<Block>, Refusal> {
        loop {
            match self.course.step() {
                Next::End => return Ok(None),
                Next::Bytes => {
                    let mut block = block(&self.shard, Class::Small).await?;
                    let count = self.course.bytes(&mut block);
                    return Ok(Some(block.freeze(count)));
                }
                Next::Frame(frame) => match self.piece(frame, lead_us).await? {
                    Some(piece) => return Ok(Some(self.course.cut(&piece))),
                    None => self.course.end(),
                },
            }
        }
    }

    async fn piece(&mut self, frame: u64, lead_us: i64) -> Result<Option<Piece>, Refusal> {
        loop {
            self.change_variant(frame).await;
            let here = self.piece.take().filter(|piece| piece.range().contains(&frame));
            if let Some(piece) = here {
                return Ok(Some(piece));
            }
            let (position, end) = self.window(frame);
            let next = self.listen.piece(frame, lead_us, self.is_first);
            let Some(adaptive) = &self.adaptive else { return next.await };
            let other = async {
                adaptive.other(position, end).await;
                None
            };
            // Another variant may be heard instead.
            let Some(next) = future::or(async { Some(next.await) }, other).await else { continue };
            match next {
                Ok(Some(piece)) => {
                    if !piece.is_torn || !adaptive.is_mended(position).await {
                        return Ok(Some(piece));
                    }
                }
                Ok(None) => return Ok(None),
                Err(refusal) => {
                    if !is_of_variant(&refusal) {
                        return Err(refusal);
                    }
                    adaptive.lose(adaptive.heard());
                    if !adaptive.has_other(position).await {
                        return Err(refusal);
                    }
                }
            }
        }
    }

    /// Why the variant that is heard at a frame was chosen.
    fn why(&self, frame: u64) -> Option<String> {
        self.adaptive.as_ref()?.why(self.window(frame).0)
    }

    /// The time of a frame, and that of the end of its window.
    fn window(&self, frame: u64) -> (Duration, Duration) {
        let time = |frame| decode::time_of(frame as i64, self.listen.rendition().spec.rate_hz);
        (time(frame), time(self.listen.window_end(frame)))
    }

    /// Listens to another variant from `frame` on, where that was chosen and is of the same shape by now.
    async fn change_variant(&mut self, frame: u64) {
        let (position, end) = self.window(frame);
        let Some(adaptive) = &mut self.adaptive else { return };
        adaptive.at(position);
        let Some(pick) = adaptive.due(position, end) else { return };
        let Some(understood) = adaptive.understand(pick, position).await else { return };
        // Rate, channels and samples stay what they were.
        let of_source = self.listen.rendition().of_source(understood.known.info.clone());
        let Ok(rendition) = of_source else { return adaptive.lose(pick) };
        adaptive.hears(pick);
        self.listen = Listen::bare(&self.shard, understood, rendition).after(&self.listen);
        self.piece = None;
    }
}

/// A block to write to, [waited for](stream::take) where there is no memory.
pub(super) async fn block(shard: &Shard, class: Class) -> Result<BlockMut, Refusal> {
    Ok(stream::take(&shard.pool, class).await?)
}
