//! A listener whose variant is chosen segment by segment, by what its origin carries.
//!
//! What is chosen is the variant of the next segment that is fetched ahead; it is heard when the listener comes
//! there. By then the other variant is understood and its segment is here or on its way, so that the timeline of
//! the one goes on where that of the other is left, at an exact frame. Timelines are made in windows, and one
//! goes over the end of a segment: that one is of the lower of the two variants, since of it a segment more is
//! fetched, or of the one that is left.

use std::{cell::Cell, rc::Rc, time::Duration};

use futures_lite::future;

use super::{
    Refusal, Shard,
    choosing::{BEGINNING, Choosing},
    plan::Step,
    rungs::{Pick, Rungs, is_of_variant},
    understand::{Count, Readable, Understood, understand_opened},
};
use crate::{
    decode::Info,
    pcm::{Ask, timeline::Seconds},
    runtime::{self, Queue, Task},
};

/// How far behind the start of a segment a decoder can begin so that it needs nothing before that.
const LEAD: Duration = Duration::from_millis(250);

/// How far behind its last frame a decoder has read.
const TRAIL: Duration = Duration::from_millis(50);

/// How long one who has heard that something is missing waits for it of another variant.
const MENDED: Duration = Duration::from_secs(5);

/// Chooses for one listener, until it is dropped.
pub(super) struct Adaptive {
    choosing: Rc<Choosing>,
    heard: Pick,
    /// What cannot be heard in this step for want of memory.
    aside: Cell<Option<(u32, Pick)>>,
    _task: Task<()>,
}

impl Adaptive {
    /// Opens a source, and finds out what is played of it from the begin of `ask` on. Where its variant may change on
    /// the way, that is the first that can be had.
    pub(super) async fn open(
        shard: &Rc<Shard>,
        ask: &Ask,
    ) -> Result<(Understood, Option<Self>), Refusal> {
        let (readable, track) = Readable::open(shard, &ask.source, &ask.choice).await?;
        let parts = readable.presentation().map(|presentation| presentation.parts());
        let rungs = Rungs::of(shard, &ask.source, &ask.choice, &readable);
        let Some((rungs, parts)) = rungs.zip(parts) else {
            let understood =
                understand_opened(shard, &ask.source, readable, (track, Count::IfHere)).await?;
            return Ok((understood, None));
        };
        let heard = rungs.first();
        let choosing = Choosing::new(rungs, parts, ask.start.map_or(Duration::ZERO, Seconds::time));
        let _task = runtime::spawn(Queue::Io, "adaptive", Rc::clone(&choosing).run());
        let mut adaptive = Self { choosing, heard, aside: Cell::new(None), _task };
        let understood = adaptive.understand_first().await?;
        Ok((understood, Some(adaptive)))
    }

    /// What is known of the first that can be had.
    async fn understand_first(&mut self) -> Result<Understood, Refusal> {
        let mut first = None;
        loop {
            let position = self.choosing.place.position();
            let understood =
                async { Some(self.choosing.rungs.understand(self.heard, Count::IfHere).await) };
            let other = async {
                self.other(position, position).await;
                None
            };
            match future::or(understood, other).await {
                Some(Err(refusal)) if is_of_variant(&refusal) => {
                    self.choosing.lose(self.heard);
                    first.get_or_insert(refusal);
                    if !self.has_other(position).await {
                        return Err(first.unwrap_or(Refusal::Broken));
                    }
                }
                Some(understood) => return understood,
                None => {}
            }
            self.heard = self.due(position, position).unwrap_or(self.heard);
        }
    }

    /// What the answer's rate and channels are, where a client does not name them: those of the first variant in the
    /// order of the playlist that can be had, whichever is heard first.
    pub(super) async fn shape(&self, heard: &Understood) -> Info {
        let rungs = &self.choosing.rungs;
        let found = async {
            let before = rungs.variants().rungs().take_while(|rung| *rung != self.heard.rung);
            for rung in before.filter(|rung| !self.choosing.is_resting(*rung)) {
                if let Ok(understood) = rungs.understand(rungs.pick(rung), Count::Never).await {
                    return Some(understood.known.info.clone());
                }
            }
            None
        };
        let found = runtime::timeout(BEGINNING, found).await.ok().flatten();
        found.unwrap_or_else(|| heard.known.info.clone())
    }

    /// The listener comes to a time, of a window that ends at another.
    pub(super) fn at(&self, position: Duration) {
        self.choosing.at(position);
    }

    /// What is to be heard from a time on, of a window that ends at another, if that is another variant.
    pub(super) fn due(&self, position: Duration, end: Duration) -> Option<Pick> {
        let segment = self.choosing.segment_at(position);
        let next = self.choosing.segment_at(end + TRAIL);
        let chosen = |segment| self.choosing.plan.step(segment).and_then(Step::pick);
        if next > segment && chosen(next) == Some(self.heard) {
            // It took over before the end of what was chosen for now.
            return None;
        }
        let is_aside = |pick| self.aside.get() == Some((segment, pick));
        let another = |pick: &Pick| *pick != self.heard && !is_aside(*pick);
        if let Some(now) = chosen(segment).filter(another) {
            let is_there = self.choosing.plan.step(segment) == Some(Step::Here(now));
            let is_due = is_there && position >= self.choosing.time_of(segment) + LEAD;
            let goes_on = !self.choosing.plan.was_given_up(segment) && self.goes_on_before(now);
            return (is_due || !goes_on).then_some(now);
        }
        chosen(next).filter(another).filter(|next| !self.goes_on_before(*next))
    }

    /// Whether what is heard may go on into a segment of another variant.
    fn goes_on_before(&self, other: Pick) -> bool {
        let rungs = &self.choosing.rungs;
        let bandwidth = |pick: Pick| rungs.variants().ladder().bandwidth(pick.rung);
        rungs.pick(self.heard.rung) == self.heard && bandwidth(self.heard) < bandwidth(other)
    }

    /// Ready once another variant is to be heard there.
    pub(super) async fn other(&self, position: Duration, end: Duration) {
        loop {
            let changed = self.choosing.plan.changed();
            if self.due(position, end).is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Whether another variant is chosen for a time, as what is heard cannot be there: that is waited for.
    pub(super) async fn has_other(&self, position: Duration) -> bool {
        let segment = self.choosing.segment_at(position);
        loop {
            let changed = self.choosing.plan.changed();
            match self.choosing.plan.step(segment) {
                Some(Step::Missing) => return false,
                Some(Step::Coming(pick) | Step::Here(pick)) if pick != self.heard => return true,
                _ => changed.await,
            }
        }
    }

    /// Whether what was missing at a time comes of another variant: that is waited for, unless it is known that what
    /// is heard was there, or that nothing else is. What was heard is lost then.
    pub(super) async fn is_mended(&self, position: Duration) -> bool {
        let segment = self.choosing.segment_at(position);
        let mended = async {
            loop {
                let changed = self.choosing.plan.changed();
                match self.choosing.plan.step(segment) {
                    None | Some(Step::Missing) => return false,
                    Some(Step::Here(pick)) if pick == self.heard => return false,
                    Some(Step::Coming(pick) | Step::Here(pick)) if pick != self.heard => {
                        return true;
                    }
                    Some(_) => changed.await,
                }
            }
        };
        let is_mended = runtime::timeout(MENDED, mended).await.unwrap_or(false);
        if is_mended {
            self.choosing.rungs.lose(self.heard);
        }
        is_mended
    }

    /// A variant cannot be heard, whatever is fetched of it.
    pub(super) fn lose(&self, pick: Pick) {
        self.choosing.lose(pick);
    }

    /// Why what is heard at a time was chosen.
    pub(super) fn why(&self, position: Duration) -> Option<String> {
        self.choosing.plan.why(self.choosing.segment_at(position))
    }

    /// What is heard.
    pub(super) fn heard(&self) -> Pick {
        self.heard
    }

    /// What is known of another variant at a time, if it can be heard.
    pub(super) async fn understand(&self, pick: Pick, position: Duration) -> Option<Understood> {
        let understood = self.choosing.rungs.understand(pick, Count::Never);
        match runtime::timeout(BEGINNING, understood).await {
            Ok(Ok(understood)) => return Some(understood),
            Ok(Err(refusal)) if !is_of_variant(&refusal) => {
                self.aside.set(Some((self.choosing.segment_at(position), pick)));
            }
            Ok(Err(refusal)) => {
                tracing::warn!(%refusal, "a variant is not heard");
                self.choosing.lose(pick);
            }
            Err(_) => self.choosing.lose(pick),
        }
        None
    }

    /// That is what it hears from now on.
    pub(super) fn hears(&mut self, pick: Pick) {
        self.heard = pick;
        self.choosing.rungs.shard().stats.borrow_mut().variant_switches += 1;
    }
}
