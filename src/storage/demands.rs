//! What the readers of a resource want: layers never call up, so a fill looks here.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    ops::Range,
};

use slab::Slab;

use super::waiters::Waiters;

/// One reader's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The bytes it wants, in their order.
    pub range: Range<u64>,
    /// The seek they belong to; a reader raises it at each.
    pub epoch: u64,
    /// Nobody waits for them: they come as slowly as they are allowed to.
    pub is_paced: bool,
}

/// The demands of one resource.
#[derive(Default)]
pub(super) struct Demands {
    demands: RefCell<Slab<Demand>>,
    /// Raised at each change.
    version: Cell<u64>,
    watchers: Waiters<()>,
}

impl Demands {
    pub(super) fn add(&self, demand: Demand) -> usize {
        let key = self.demands.borrow_mut().insert(demand);
        self.note_change();
        key
    }

    pub(super) fn replace(&self, key: usize, range: Range<u64>, epoch: u64) {
        let demand = &mut self.demands.borrow_mut()[key];
        (demand.range, demand.epoch) = (range, epoch);
        self.note_change();
    }

    pub(super) fn epoch_of(&self, key: usize) -> u64 {
        self.demands.borrow()[key].epoch
    }

    pub(super) fn withdraw(&self, key: usize) {
        self.demands.borrow_mut().remove(key);
        self.note_change();
    }

    pub(super) fn list(&self) -> Vec<Demand> {
        self.demands.borrow().iter().map(|(_, demand)| demand.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.demands.borrow().is_empty()
    }

    pub(super) fn any(&self, concerned: impl Fn(&Range<u64>) -> bool) -> bool {
        self.demands.borrow().iter().any(|(_, demand)| concerned(&demand.range))
    }

    /// The demands changed, or what is there to serve them.
    pub(super) fn note_change(&self) {
        self.version.set(self.version.get() + 1);
        self.watchers.wake(|()| true);
    }

    /// Resolves once something changed after this call, not only after its first poll.
    pub(super) fn changed(&self) -> impl Future<Output = ()> {
        let seen = self.version.get();
        self.watchers.until(|| (), move || (self.version.get() != seen).then_some(()))
    }
}
