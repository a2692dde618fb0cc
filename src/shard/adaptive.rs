//! A listener whose variant is chosen segment by segment, by what its origin carries.
//!
//! What is chosen is the variant of the next segment that is fetched ahead; it is heard when the listener comes
//! there. By then the other variant is understood and its segment is here or on its way, so that the timeline of
//! the one goes on where that of the other is left, at an exact frame.

use std::{cell::RefCell, collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use super::{
    By, Refusal, Shard, What,
    ahead::Place,
    notice::shown,
    presentation::Presentation,
    segments::{Brought, Segments},
    understand::{Understood, understand},
};
use crate::{
    hls::{
        Parts, Schedule, Variants,
        abr::{
            Coming, Controller, Decision, Epoch, Fetch, First, Mode, NoVariant, Sample,
            SegmentIndex, Situation, Source, VariantIndex,
        },
    },
    pcm::{Choice, SourceName, TrackName},
    runtime::{self, Queue, Task},
};

/// How often it is asked whether a segment that comes slowly is worth waiting for.
const LOOK: Duration = Duration::from_millis(500);

/// After how long variants that could not be had are tried once more.
const AGAIN: Duration = Duration::from_secs(5);

/// Chooses for one listener, until it is dropped.
pub(super) struct Adaptive {
    rungs: Rc<Rungs>,
    /// The rung that is heard.
    heard: VariantIndex,
    place: Rc<Place>,
    parts: Rc<Parts>,
    plan: Rc<Plan>,
    _task: Task<()>,
}

/// The rung of each segment that was chosen.
type Plan = RefCell<BTreeMap<u32, VariantIndex>>;

/// The rungs of a presentation, and the way to each.
struct Rungs {
    shard: Rc<Shard>,
    source: SourceName,
    track: Option<TrackName>,
    variants: Rc<Variants>,
}

impl Rungs {
    /// What is known of a rung, which is found out if it is not.
    async fn understand(&self, rung: VariantIndex) -> Result<Understood, Refusal> {
        let variant = Mode::Fixed(self.variants.number(rung));
        let choice = Choice { track: self.track.clone(), variant };
        understand(&self.shard, &self.source, &choice).await
    }
}

impl Adaptive {
    /// Chooses among `variants` of a source for who begins with what is `understood`. `None`: there is nothing
    /// to choose.
    pub(super) fn new(
        shard: &Rc<Shard>,
        source: &SourceName,
        choice: &Choice,
        understood: &Understood,
    ) -> Option<Self> {
        let presentation = understood.readable.presentation()?;
        let variants = presentation.variants()?;
        let heard = variants.rung(presentation.variant()?)?;
        let rungs = Rungs {
            shard: Rc::clone(shard),
            source: source.clone(),
            track: choice.track.clone(),
            variants,
        };
        let (rungs, place, plan) = (Rc::new(rungs), Rc::default(), Rc::default());
        let parts = presentation.parts();
        let choosing = Choosing {
            rungs: Rc::clone(&rungs),
            place: Rc::clone(&place),
            plan: Rc::clone(&plan),
            parts: Rc::clone(&parts),
            controller: Controller::new(choice.variant, First::Variant(heard)),
            mode: choice.variant,
            heard,
            chosen: None,
        };
        let _task = runtime::spawn(Queue::Io, "adaptive", choosing.run());
        Some(Self { rungs, heard, place, parts, plan, _task })
    }

    /// The listener comes to a time: what it may hear from there on, if that is another variant.
    pub(super) async fn at(&mut self, position: Duration) -> Option<(VariantIndex, Understood)> {
        let segment = self.place.at(self.parts.tape(), position)?;
        let rung = self.plan.borrow().get(&segment).copied()?;
        if rung == self.heard {
            return None;
        }
        let understood = self.rungs.understand(rung).await;
        if let Err(refusal) = &understood {
            tracing::warn!(%refusal, "a variant is not heard");
        }
        Some((rung, understood.ok()?))
    }

    /// That is what it hears from now on.
    pub(super) fn hears(&mut self, rung: VariantIndex) {
        self.heard = rung;
        self.rungs.shard.stats.borrow_mut().variant_switches += 1;
    }
}

/// The task that fetches ahead, and chooses.
struct Choosing {
    rungs: Rc<Rungs>,
    place: Rc<Place>,
    plan: Rc<Plan>,
    /// Of the variant that was heard first: the others have theirs at the same times.
    parts: Rc<Parts>,
    controller: Controller,
    mode: Mode,
    /// The rung that was heard first.
    heard: VariantIndex,
    /// The rung that was chosen last, and what is known of it.
    chosen: Option<(VariantIndex, Rc<Presentation>)>,
}

/// What the fetch of a segment came to.
enum Brings {
    /// It is there, of so many bytes.
    Bytes(u64),
    /// It is given up for this.
    Less(Decision),
    /// It cannot be had.
    Nothing,
}

impl Choosing {
    async fn run(mut self) {
        let mut schedule = Schedule::new(self.rungs.shard.options.reach);
        let mut jumps = 0;
        loop {
            let moved = self.place.moved();
            self.place.follow(&mut schedule, &mut jumps);
            match schedule.next(self.parts.tape(), self.parts.segments()) {
                Some(segment) => match self.fetch(segment, jumps).await {
                    Some(bytes) => schedule.fetched(segment, bytes),
                    // No variant is left, of an origin that may come back.
                    None => {
                        runtime::sleep(AGAIN).await;
                        let first = First::Variant(self.heard);
                        self.controller = Controller::new(self.mode, first);
                    }
                },
                None => moved.await,
            }
            let heard = self.place.segment();
            self.plan.borrow_mut().retain(|segment, _| *segment >= heard);
        }
    }

    /// Fetches a segment in the variant that is best for it. `None`: none can be had.
    async fn fetch(&mut self, segment: u32, jumps: u32) -> Option<u64> {
        let mut instead = None;
        loop {
            let decision = match instead.take() {
                Some(decision) => decision,
                None => self.decide(segment, jumps).ok()?,
            };
            let rung = decision.variant;
            let Some(presentation) = self.presentation(rung).await else {
                self.controller.lose(rung);
                continue;
            };
            let is_stale = self.with(segment, jumps, |controller, situation| {
                controller.apply(&decision, situation).is_err()
            });
            if is_stale {
                continue;
            }
            self.tell(segment, &decision);
            self.plan.borrow_mut().insert(segment, rung);
            match self.bring(segment, jumps, rung, &presentation).await {
                Brings::Bytes(bytes) => return Some(bytes),
                Brings::Less(decision) => instead = Some(decision),
                // Another variant may have it.
                Brings::Nothing => self.controller.lose(rung),
            }
        }
    }

    /// What is played of a rung. It is read anew only where another was chosen in between.
    async fn presentation(&mut self, rung: VariantIndex) -> Option<Rc<Presentation>> {
        if let Some((chosen, presentation)) = &self.chosen
            && *chosen == rung
        {
            return Some(Rc::clone(presentation));
        }
        let understood = self.rungs.understand(rung).await.ok()?;
        let presentation = Rc::clone(understood.readable.presentation()?);
        self.chosen = Some((rung, Rc::clone(&presentation)));
        Some(presentation)
    }

    /// Fetches a segment of a rung, unless it comes so slowly that another is better.
    async fn bring(
        &mut self,
        segment: u32,
        jumps: u32,
        rung: VariantIndex,
        presentation: &Presentation,
    ) -> Brings {
        let parts = presentation.parts();
        let resource = parts.resource(segment).filter(|_| !parts.is_gap(segment));
        let Some(resource) = resource else { return Brings::Bytes(0) };
        let segments = Segments::new(&self.rungs.shard, presentation.of(), By::Node);
        let brought = Brought::default();
        let mut bringing = pin!(segments.bring(segment, &resource, &brought));
        let brings = loop {
            match runtime::timeout(LOOK, bringing.as_mut()).await {
                Ok(true) => break Brings::Bytes(brought.bytes()),
                Ok(false) => break Brings::Nothing,
                Err(_) => {
                    if let Some(instead) = self.give_up(segment, jumps, rung, &brought) {
                        break Brings::Less(instead);
                    }
                }
            }
        };
        self.learn(&brought);
        brings
    }

    fn tell(&self, segment: u32, decision: &Decision) {
        let source = shown(&self.rungs.source.to_string());
        let variant = self.rungs.variants.number(decision.variant);
        let why = decision.reason.to_string();
        self.rungs.shard.tell(|| What::VariantChosen { source, segment, variant, why });
    }

    fn decide(&mut self, segment: u32, jumps: u32) -> Result<Decision, NoVariant> {
        self.with(segment, jumps, |controller, situation| controller.decide(situation))
    }

    fn give_up(
        &mut self,
        segment: u32,
        jumps: u32,
        variant: VariantIndex,
        brought: &Brought,
    ) -> Option<Decision> {
        let (bytes, got) = (brought.length()?, brought.bytes());
        let fetch = Fetch { variant, bytes, got };
        self.with(segment, jumps, |controller, situation| controller.give_up(situation, &fetch))
    }

    /// What came of a fetch, for those to come.
    fn learn(&self, brought: &Brought) {
        let Some((latency, duration)) = brought.times() else { return };
        let source = if brought.is_from_origin() { Source::Origin } else { Source::Cache };
        let sample = Sample { source, bytes: brought.bytes(), duration, latency };
        self.rungs.shard.lines.learn(&self.rungs.source.name, &sample, runtime::now());
    }

    fn with<T>(
        &mut self,
        segment: u32,
        jumps: u32,
        act: impl FnOnce(&mut Controller, &Situation<'_>) -> T,
    ) -> T {
        let (tape, heard) = (self.parts.tape(), self.place.segment());
        let left = self.parts.segments().saturating_sub(segment).max(1);
        let end = tape.time_of(self.parts.segments());
        let situation = Situation {
            ladder: self.rungs.variants.ladder(),
            estimate: self.rungs.shard.lines.estimate(&self.rungs.source.name),
            segment: SegmentIndex(segment),
            epoch: Epoch(jumps),
            ahead: tape.time_of(segment).saturating_sub(tape.time_of(heard)),
            capacity: self.rungs.shard.options.reach.time,
            coming: Coming {
                segments: left,
                duration: end.saturating_sub(tape.time_of(segment)) / left,
                sizes: &|_, _| None,
            },
        };
        act(&mut self.controller, &situation)
    }
}
