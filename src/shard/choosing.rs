//! The task that fetches ahead of a listener, and chooses the variant of each segment.
//!
//! Variants may be cut at other times than each other. A step is a segment of the one that was played first; of
//! another what lies in that time is fetched.

use std::{
    cell::{Cell, RefCell},
    ops::RangeInclusive,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future;

use super::{
    By, What,
    ahead::Place,
    notice::shown,
    plan::{Plan, Step},
    presentation::Presentation,
    rungs::{Pick, Rungs, is_of_variant},
    segments::{Brought, Segments},
    understand::Count,
};
use crate::{
    hls::{
        Parts, Resource, Schedule,
        abr::{
            Coming, Controller, Decision, Epoch, Fetch, First, SegmentIndex, Situation,
            VariantIndex,
        },
    },
    runtime::{self, event::Event},
};

/// How often it is asked whether a segment that comes slowly is worth waiting for.
const LOOK: Duration = Duration::from_millis(500);

/// After how long variants that could not be had are tried once more.
const AGAIN: Duration = Duration::from_secs(5);

/// A fetch of which nothing has come for so long is one of a variant that is left alone for a while.
const DEAD: Duration = Duration::from_secs(2);

/// For how long.
const REST: Duration = Duration::from_secs(30);

/// How long the playlist of a variant, and its beginning, is waited for while others may be had.
pub(super) const BEGINNING: Duration = Duration::from_secs(3);

/// Chooses for one listener.
pub(super) struct Choosing {
    pub(super) rungs: Rungs,
    pub(super) place: Place,
    /// Of the variant that was played first, whose segments are the steps.
    parts: Rc<Parts>,
    controller: RefCell<Controller>,
    pub(super) plan: Plan,
    /// Those that are left alone, and until when.
    resting: RefCell<Vec<(VariantIndex, Instant)>>,
    /// Those of which it was found out that they play.
    played: RefCell<Vec<Pick>>,
    /// The last part that was fetched of a pick.
    brought: Cell<Option<(Pick, u32)>>,
    /// Something that was chosen cannot be played.
    lost: Event,
    /// How often that was found by who listens.
    losses: Cell<u32>,
}

/// What the fetch of a segment came to.
enum Brings {
    /// It is there, of so many bytes.
    Bytes(u64),
    /// It is given up for this.
    Less(Decision),
    /// It cannot be had.
    Nothing,
    /// Who listens found that something else is to be chosen.
    Lost,
}

impl Choosing {
    /// For who begins at a time with what was played first of `rungs`.
    pub(super) fn new(rungs: Rungs, parts: Rc<Parts>, begin: Duration) -> Rc<Self> {
        let place = Place::begin(parts.tape(), begin);
        let first = rungs.first();
        let controller = Controller::new(rungs.mode(), First::Variant(first.rung));
        let plan = Plan::new(place.segment(), first);
        Rc::new(Self {
            rungs,
            place,
            parts,
            controller: RefCell::new(controller),
            plan,
            resting: RefCell::default(),
            played: RefCell::default(),
            brought: Cell::new(None),
            lost: Event::new(),
            losses: Cell::new(0),
        })
    }

    /// Fetches until it is dropped.
    pub(super) async fn run(self: Rc<Self>) {
        let reach = self.rungs.shard().options.reach;
        let mut schedule = Schedule::with_first(reach, self.place.segment());
        let (mut jumps, mut losses) = (0, 0);
        loop {
            let (moved, lost) = (self.place.moved(), self.lost.listen());
            self.place.follow(&mut schedule, &mut jumps);
            if std::mem::replace(&mut losses, self.losses.get()) != self.losses.get() {
                schedule.again();
            }
            match schedule.next(self.parts.tape(), self.parts.segments()) {
                Some(segment) => {
                    if let Some(bytes) = self.fetch(segment, Epoch(jumps)).await {
                        schedule.fetched(segment, bytes);
                    }
                }
                None => future::or(moved, lost).await,
            }
            self.plan.pass(self.place.segment());
        }
    }

    /// The step that is heard at a time.
    pub(super) fn segment_at(&self, position: Duration) -> u32 {
        self.parts.tape().part_at(position)
    }

    /// When a step begins.
    pub(super) fn time_of(&self, segment: u32) -> Duration {
        self.parts.tape().time_of(segment)
    }

    /// The listener comes to a time.
    pub(super) fn at(&self, position: Duration) {
        self.place.at(self.parts.tape(), position);
    }

    /// Who listens finds that a pick cannot be played.
    pub(super) fn lose(&self, pick: Pick) {
        self.drop_pick(pick, 0);
        self.losses.set(self.losses.get().wrapping_add(1));
        self.lost.notify_all();
    }

    /// Fetches a segment in the variant that is best for it, and says how long it is: nothing where none has it. `None`:
    /// something else is to be fetched before.
    async fn fetch(&self, segment: u32, epoch: Epoch) -> Option<u64> {
        let (mut instead, losses) = (None, self.losses.get());
        while losses == self.losses.get() {
            self.wake_rested();
            let here = self.here(segment).await;
            let decision = match instead.take() {
                Some(decision) => Ok(decision),
                None => self.with(segment, epoch, &here, |it, situation| it.decide(situation)),
            };
            let Ok(decision) = decision else {
                self.has_none(segment).await;
                return Some(0);
            };
            let pick = self.rungs.pick(decision.variant);
            let Some(presentation) = self.presentation(pick).await else {
                self.drop_pick(pick, segment);
                continue;
            };
            let applied = self.with(segment, epoch, &here, |it, situation| {
                it.apply(&decision, situation).is_ok()
            });
            if !applied {
                continue;
            }
            self.plan.choose(segment, pick, decision.reason);
            self.tell(segment, &decision);
            match self.bring(segment, epoch, pick, &presentation).await {
                Brings::Bytes(bytes) if self.plays(pick).await => {
                    self.plan.settle(segment, Step::Here(pick));
                    return Some(bytes);
                }
                Brings::Less(decision) => {
                    self.plan.give_up(segment);
                    instead = Some(decision);
                }
                // Another variant may have it.
                Brings::Bytes(_) | Brings::Nothing => self.drop_pick(pick, segment),
                Brings::Lost => {}
            }
        }
        None
    }

    /// Whether a variant is left alone now.
    pub(super) fn is_resting(&self, rung: VariantIndex) -> bool {
        self.resting.borrow().iter().any(|(resting, _)| *resting == rung)
    }

    /// Nothing comes of a variant.
    fn rest(&self, rung: VariantIndex) {
        self.controller.borrow_mut().lose(rung);
        self.resting.borrow_mut().push((rung, runtime::now() + REST));
    }

    fn wake_rested(&self) {
        let (now, mut resting) = (runtime::now(), self.resting.borrow_mut());
        for (rung, _) in resting.extract_if(.., |(_, until)| *until <= now) {
            self.controller.borrow_mut().regain(rung);
        }
    }

    /// A pick cannot be had, from a step on.
    fn drop_pick(&self, pick: Pick, from: u32) {
        if !self.rungs.lose(pick) {
            self.controller.borrow_mut().lose(pick.rung);
        }
        self.plan.open(pick, from);
    }

    /// No variant is left, of an origin that may come back.
    async fn has_none(&self, segment: u32) {
        self.plan.settle(segment, Step::Missing);
        runtime::sleep(AGAIN).await;
        let first = First::Variant(self.rungs.first().rung);
        self.rungs.try_all();
        self.resting.borrow_mut().clear();
        *self.controller.borrow_mut() = Controller::new(self.rungs.mode(), first);
    }

    async fn presentation(&self, pick: Pick) -> Option<Rc<Presentation>> {
        let found = runtime::timeout(BEGINNING, self.rungs.presentation(pick)).await;
        found.ok()?.ok()
    }

    /// Whether what was fetched of a pick can be played, as far as that is told by its beginning.
    async fn plays(&self, pick: Pick) -> bool {
        if self.played.borrow().contains(&pick) {
            return true;
        }
        let understood = self.rungs.understand(pick, Count::Never);
        let plays = match runtime::timeout(BEGINNING, understood).await {
            Ok(understood) => understood.err().is_none_or(|refusal| !is_of_variant(&refusal)),
            Err(_) => false,
        };
        if plays {
            self.played.borrow_mut().push(pick);
        }
        plays
    }

    /// Fetches a segment of a pick, unless it comes so slowly that another is better.
    async fn bring(
        &self,
        segment: u32,
        epoch: Epoch,
        pick: Pick,
        presentation: &Presentation,
    ) -> Brings {
        let parts = presentation.parts();
        let segments = Segments::new(self.rungs.shard(), presentation.of(), By::Node);
        let mut bytes = 0;
        for part in self.parts_of(segment, &parts) {
            let is_new = self.brought.get().is_none_or(|(of, last)| of != pick || last < part);
            let resource = parts.resource(part).filter(|_| is_new && !parts.is_gap(part));
            let Some(resource) = resource else { continue };
            let brought = Brought::default();
            let bringing = segments.bring(part, &resource, &brought);
            match self.watch(segment, epoch, pick, bringing, &brought).await {
                Brings::Bytes(more) => bytes += more,
                less => return less,
            }
            self.brought.set(Some((pick, part)));
        }
        Brings::Bytes(bytes)
    }

    /// Looks at what comes of a part, to its end or until another variant is better.
    async fn watch(
        &self,
        segment: u32,
        epoch: Epoch,
        pick: Pick,
        bringing: impl Future<Output = bool>,
        brought: &Brought,
    ) -> Brings {
        let mut bringing = pin!(bringing);
        loop {
            let comes = async {
                match bringing.as_mut().await {
                    true => Brings::Bytes(brought.bytes()),
                    false => Brings::Nothing,
                }
            };
            let lost = async {
                self.lost.listen().await;
                Brings::Lost
            };
            match runtime::timeout(LOOK, future::or(comes, lost)).await {
                Ok(brings) => return brings,
                Err(_) => {
                    if let Some(instead) = self.give_up(segment, epoch, pick.rung, brought) {
                        return Brings::Less(instead);
                    }
                }
            }
        }
    }

    /// The parts of a variant that are heard in a step.
    fn parts_of(&self, segment: u32, parts: &Parts) -> RangeInclusive<u32> {
        parts.heard(self.time_of(segment)..self.time_of(segment + 1))
    }

    /// The variants of which a segment is here.
    async fn here(&self, segment: u32) -> Vec<VariantIndex> {
        let mut here = Vec::new();
        for (pick, presentation) in self.rungs.all_kept() {
            let parts = presentation.parts();
            let segments = Segments::new(self.rungs.shard(), presentation.of(), By::NodeIfCached);
            let mut resources =
                self.parts_of(segment, &parts).filter_map(|part| parts.resource(part));
            if all_here(&segments, &mut resources).await {
                here.push(pick.rung);
            }
        }
        here
    }

    fn tell(&self, segment: u32, decision: &Decision) {
        let source = shown(&self.rungs.source().to_string());
        let variant = self.rungs.variants().number(decision.variant);
        let why = decision.reason.to_string();
        self.rungs.shard().tell(|| What::VariantChosen { source, segment, variant, why });
    }

    fn give_up(
        &self,
        segment: u32,
        epoch: Epoch,
        variant: VariantIndex,
        brought: &Brought,
    ) -> Option<Decision> {
        let (pace, silent) = brought.look(runtime::now());
        // What is heard as it comes need not be there before.
        let bandwidth = self.rungs.variants().ladder().bandwidth(variant) as f64;
        if segment == self.place.segment() && pace.is_some_and(|pace| pace > bandwidth) {
            return None;
        }
        let fetch = Fetch { variant, bytes: brought.length(), got: brought.bytes(), pace, silent };
        let instead = self.with(segment, epoch, &[], |controller, situation| {
            controller.give_up(situation, &fetch)
        })?;
        if silent >= DEAD {
            self.rest(variant);
        }
        Some(instead)
    }

    fn with<T>(
        &self,
        segment: u32,
        epoch: Epoch,
        here: &[VariantIndex],
        act: impl FnOnce(&mut Controller, &Situation<'_>) -> T,
    ) -> T {
        let tape = self.parts.tape();
        let left = self.parts.segments().saturating_sub(segment).max(1);
        let end = tape.time_of(self.parts.segments());
        let mut controller = self.controller.borrow_mut();
        let current = controller.current().unwrap_or(self.rungs.first().rung);
        let sizes = |variant: VariantIndex, of: SegmentIndex| {
            // What is here takes nothing of the line.
            let is_here = of.0 == segment && here.contains(&variant);
            if is_here { Some(0) } else { self.bytes(variant, of.0) }
        };
        let situation = Situation {
            ladder: self.rungs.variants().ladder(),
            estimate: self.rungs.estimate(self.rungs.pick(current)),
            segment: SegmentIndex(segment),
            epoch,
            ahead: tape.time_of(segment).saturating_sub(self.place.position()),
            capacity: self.rungs.shard().options.reach.time,
            coming: Coming {
                segments: left,
                duration: end.saturating_sub(tape.time_of(segment)) / left,
                sizes: &sizes,
            },
        };
        act(&mut controller, &situation)
    }

    /// Bytes of a step in a variant, where its playlist says them.
    fn bytes(&self, variant: VariantIndex, segment: u32) -> Option<u64> {
        let presentation = self.rungs.peek(self.rungs.pick(variant))?;
        let parts = presentation.parts();
        self.parts_of(segment, &parts).map(|part| parts.bytes(part)).sum()
    }
}

/// Whether all resources of some are in the cache.
async fn all_here(segments: &Segments, resources: &mut dyn Iterator<Item = Resource>) -> bool {
    for resource in resources {
        if segments.bytes_here(&resource).await.is_none() {
            return false;
        }
    }
    true
}
