//! Serving decoded audio: a session that listens to a timeline, and sends of it what was asked for.

use std::{ops::Range, rc::Rc, time::Duration};

use super::{
    Abort, Answer, PcmHead, PcmWanted, Refusal, Shard,
    listen::Listen,
    outlet::{Gone, Outlet},
    pace::Pace,
    promises::{ENCODER_BYTES, Promise},
    serve::{cached, is_unmodified},
    shares::{Conversion, Share},
    understand::{Understood, understand},
};
use crate::{
    bufpool::{Block, BlockMut, Class},
    decode,
    encode::Encoder,
    file::{
        Opened,
        conditional::{Current, range_applies},
        range::{self, Selection},
    },
    pcm::{self, Ask, Course, Next, Piece, Rendition},
    runtime::{self, Queue},
    stream::Patience,
};

/// A session with its answer decided.
struct Ready {
    head: PcmHead,
    playing: Option<Playing>,
}

/// A session that sends.
struct Playing {
    shard: Rc<Shard>,
    listen: Listen,
    course: Course,
    /// The piece that comes next, where it is here already.
    piece: Option<Piece>,
    encoding: Option<Encoding>,
    is_first: bool,
}

/// An encoder, and what was promised for it.
struct Encoding {
    encoder: Encoder,
    is_finished: bool,
    share: Share,
    _memory: Promise,
}

pub(super) async fn pcm(shard: &Rc<Shard>, wanted: PcmWanted, out: Rc<Outlet>) -> Result<(), Gone> {
    let ready = match ready(shard, &wanted).await {
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
    let queue = if playing.encoding.is_some() { Queue::Decode } else { Queue::Io };
    let rest = runtime::spawn(queue, "listen", playing.run(pace, out));
    rest.await.unwrap_or(Err(Gone))
}

async fn ready(shard: &Rc<Shard>, wanted: &PcmWanted) -> Result<Ready, Refusal> {
    let ask = &wanted.ask;
    let understood = understand(shard, &ask.source, ask.track).await?;
    let Understood { known, opened, decode, .. } = &understood;
    let rendition = Rendition::new(known.info.clone(), ask)?;
    let etag = etag(opened, ask, &rendition);
    let current = Current { etag: Some(&etag), ..Current::default() };
    let unmodified = is_unmodified(&wanted.conditions, current)?;
    let part = if unmodified { None } else { part(wanted, current, &rendition)? };
    let (cached, decode) = (cached(opened, &(0..u64::MAX)), *decode);
    let mut head = PcmHead { rendition, etag, part, unmodified, cached, decode };
    if wanted.head_only || unmodified {
        return Ok(Ready { head, playing: None });
    }
    let mut playing = Playing::new(shard, &head, understood)?;
    head.decode += playing.begin().await?;
    Ok(Ready { head, playing: Some(playing) })
}

/// The part of the body that is asked for, where its length is known.
fn part(
    wanted: &PcmWanted,
    current: Current<'_>,
    rendition: &Rendition,
) -> Result<Option<Range<u64>>, Refusal> {
    let Some(body) = rendition.body() else { return Ok(None) };
    let if_range = wanted.if_range.as_ref().map(|value| value.to_str().unwrap_or_default());
    let applies = range_applies(if_range, current, runtime::wall_clock());
    let range = wanted.range.as_ref().filter(|_| applies);
    match range::select(range.map(http::HeaderValue::as_bytes), body.bytes()) {
        Selection::Whole => Ok(None),
        Selection::Part(part) => Ok(Some(part)),
        Selection::Unsatisfiable => Err(Refusal::Unsatisfiable { length: body.bytes() }),
    }
}

/// Names everything that the body depends on, and nothing else.
fn etag(opened: &Opened, ask: &Ask, rendition: &Rendition) -> String {
    // What is taken without a number is the first track that can be decoded. Where that is not 0, track 0
    // is refused, so no two tracks share a name.
    let track = ask.track.unwrap_or(0);
    let text = format!(
        "{} {track} {:?} {:?} {:?} {}",
        opened.version,
        rendition.spec,
        rendition.format,
        rendition.slice,
        decode::identity(),
    );
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

impl Playing {
    fn new(shard: &Rc<Shard>, head: &PcmHead, understood: Understood) -> Result<Self, Refusal> {
        let rendition = &head.rendition;
        let encoding = Encoding::new(shard, rendition)?;
        Ok(Self {
            shard: Rc::clone(shard),
            listen: Listen::new(shard, understood, rendition.clone()),
            course: Course::of(rendition, head.part.as_ref()),
            piece: None,
            encoding,
            is_first: true,
        })
    }

    /// Waits for the first frames of the answer, and says what they took of the core.
    ///
    /// # Errors
    /// As long as nothing went out, everything can still be refused: also a start that turns out to lie
    /// behind the end.
    async fn begin(&mut self) -> Result<Duration, Refusal> {
        let Some(frame) = self.course.frame() else { return Ok(Duration::ZERO) };
        self.piece = self.listen.piece(frame, 0, true).await?;
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
            match self.block(pace.lead_us(runtime::now())).await {
                Ok(Some(block)) => {
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

    /// The next block of the answer; `None` at its end.
    async fn block(&mut self, lead_us: i64) -> Result<Option<Block>, Refusal> {
        match self.encoding.is_some() {
            true => self.encoded(lead_us).await,
            false => self.plain(lead_us).await,
        }
    }

    async fn plain(&mut self, lead_us: i64) -> Result<Option<Block>, Refusal> {
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
        let here = self.piece.take().filter(|piece| piece.range().contains(&frame));
        match here {
            Some(piece) => Ok(Some(piece)),
            None => self.listen.piece(frame, lead_us, self.is_first).await,
        }
    }

    async fn encoded(&mut self, lead_us: i64) -> Result<Option<Block>, Refusal> {
        // The first block is small: it is what a listener waits for.
        let class = if self.course.frames_done() == 0 { Class::Medium } else { Class::Large };
        let mut block = block(&self.shard, class).await?;
        let mut filled = 0;
        loop {
            let encoding = self.encoding.as_mut().expect("it encodes");
            filled += encoding.encoder.pull(&mut block[filled..]);
            if filled == block.len() || (encoding.is_finished && filled > 0) {
                return Ok(Some(block.freeze(filled)));
            }
            if encoding.is_finished {
                return Ok(None);
            }
            match self.plain(lead_us).await? {
                Some(pcm) => self.encode(&pcm, lead_us).await,
                None => {
                    let encoding = self.encoding.as_mut().expect("it encodes");
                    encoding.encoder.finish();
                    encoding.is_finished = true;
                }
            }
        }
    }
}

impl Playing {
    /// Encodes what came next, in turns.
    async fn encode(&mut self, pcm: &[u8], lead_us: i64) {
        let spec = self.listen.rendition().spec;
        let encoding = self.encoding.as_mut().expect("it encodes");
        for frames in pcm.chunks(encoding.encoder.turn_frames() * spec.frame_bytes()) {
            let turn = self.shard.decode.wait(lead_us).await;
            let began = runtime::core_time();
            encoding.encoder.push(frames);
            let cost = runtime::core_time().saturating_sub(began);
            drop(turn);
            let audio = frames.len() as f64 / (spec.frame_bytes() as f64 * f64::from(spec.rate_hz));
            encoding.share.measured(cost, Duration::from_secs_f64(audio));
            runtime::yield_if_needed().await;
        }
    }
}

impl Encoding {
    fn new(shard: &Shard, rendition: &Rendition) -> Result<Option<Self>, Refusal> {
        let Some(output) = rendition.output() else { return Ok(None) };
        let encoder = Encoder::new(&output).map_err(pcm::Error::from)?;
        let memory = shard.promise(ENCODER_BYTES)?;
        let share = shard.share(Conversion::encoding(rendition))?;
        Ok(Some(Self { encoder, is_finished: false, share, _memory: memory }))
    }
}

/// A block to write to. Where there is no memory for it, others have it for the moment, and it is
/// waited for.
async fn block(shard: &Shard, class: Class) -> Result<BlockMut, Refusal> {
    let mut patience = Patience::default();
    loop {
        match shard.pool.take(class) {
            Ok(block) => return Ok(block),
            Err(exhausted) if !patience.wait(&shard.pool, class.bytes()).await => {
                return Err(exhausted.into());
            }
            Err(_) => {}
        }
    }
}
