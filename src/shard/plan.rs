//! What was chosen for the segments ahead of one listener, told to it as it changes.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use super::rungs::Pick;
use crate::{
    hls::abr::Reason,
    runtime::event::{Event, Listener},
};

/// By step, which is a segment of the variant that was played first.
pub(super) struct Plan {
    steps: RefCell<BTreeMap<u32, (Step, Option<Reason>)>>,
    /// The last step of which something was given up for something else.
    given_up: Cell<Option<u32>>,
    changed: Event,
}

/// What was chosen for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// What was chosen cannot be had.
    Open,
    /// It is on its way.
    Coming(Pick),
    /// It is here.
    Here(Pick),
    /// It cannot be had of any variant.
    Missing,
}

impl Step {
    pub(super) fn pick(self) -> Option<Pick> {
        match self {
            Self::Coming(pick) | Self::Here(pick) => Some(pick),
            Self::Open | Self::Missing => None,
        }
    }
}

impl Plan {
    /// Of who begins with a pick in a step.
    pub(super) fn new(segment: u32, first: Pick) -> Self {
        let steps = BTreeMap::from([(segment, (Step::Coming(first), None))]);
        Self { steps: RefCell::new(steps), given_up: Cell::new(None), changed: Event::new() }
    }

    /// What was chosen for a step, if anything was yet.
    pub(super) fn step(&self, segment: u32) -> Option<Step> {
        self.steps.borrow().get(&segment).map(|(step, _)| *step)
    }

    /// Why what was chosen for a step was.
    pub(super) fn why(&self, segment: u32) -> Option<String> {
        let steps = self.steps.borrow();
        steps.get(&segment).and_then(|(_, reason)| *reason).map(|reason| reason.to_string())
    }

    /// Whether something else was on its way before for a step.
    pub(super) fn was_given_up(&self, segment: u32) -> bool {
        self.given_up.get() == Some(segment)
    }

    /// Ready once something was chosen, or came, or turned out not to come, after this call.
    pub(super) fn changed(&self) -> Listener {
        self.changed.listen()
    }

    /// A pick was chosen for a step.
    pub(super) fn choose(&self, segment: u32, pick: Pick, reason: Reason) {
        self.steps.borrow_mut().insert(segment, (Step::Coming(pick), Some(reason)));
        self.changed.notify_all();
    }

    /// What was chosen for a step is here, or it is missing.
    pub(super) fn settle(&self, segment: u32, settled: Step) {
        self.steps.borrow_mut().entry(segment).or_insert((settled, None)).0 = settled;
        self.changed.notify_all();
    }

    /// What was on its way for a step is not worth waiting for.
    pub(super) fn give_up(&self, segment: u32) {
        self.given_up.set(Some(segment));
    }

    /// A pick cannot be had, from a step on.
    pub(super) fn open(&self, pick: Pick, from: u32) {
        for (_, (step, _)) in self.steps.borrow_mut().range_mut(from..) {
            if step.pick() == Some(pick) {
                *step = Step::Open;
            }
        }
    }

    /// What lies before a step is past.
    pub(super) fn pass(&self, segment: u32) {
        self.steps.borrow_mut().retain(|step, _| *step >= segment);
    }
}
