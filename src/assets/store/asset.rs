//! One generation while somebody holds it, and the rights to read and to fill it.

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    rc::{Rc, Weak},
    time::Duration,
};

use super::Held;
use crate::{
    assets::{Head, Key, Pace},
    bufpool::Exhausted,
    runtime::{self, event::Event},
    storage::{Error, Generation, Said, StreamingResource},
};

/// How often what a volume puts off is tried again: a journal is turned over, and a volume made durable,
/// in a fraction of these five seconds.
const LEFT_INTERVAL: Duration = Duration::from_millis(200);
const LEFT_TRIES: u32 = 25;
/// How full the memory may be meanwhile; as for what is read ahead.
const LEFT_UP_TO: f64 = 0.8;

/// One generation of one resource, while somebody holds it.
pub struct Asset {
    /// What it is the resource of.
    pub key: Key,
    /// Which version of it.
    pub generation: Generation,
    /// Its bytes.
    pub resource: Rc<StreamingResource>,
    /// Told when the last lease is dropped.
    pub deserted: Event,
    /// What prefetches allow its fetches.
    pub pace: Pace,
    /// Its origin knows no ranges, or no version: no byte comes sooner than those before it.
    pub in_order: Cell<bool>,
    /// Where the answer begins that its fill began with.
    pub begins: Cell<u64>,
    /// That answer was to a question for a part, and is all: a part cannot be had.
    pub is_without_parts: Cell<bool>,
    /// `None` for one that was at rest, until it was read from disk.
    pub(super) head: RefCell<Option<Rc<Head>>>,
    pub(super) said: Cell<Said>,
    pub(super) leases: Cell<usize>,
    pub(super) filling: Cell<bool>,
    pub(super) held: Weak<Held>,
}

impl Asset {
    /// What the origin said.
    pub fn head(&self) -> Rc<Head> {
        self.head.borrow().clone().unwrap_or_default()
    }

    /// Notes what the origin says now of this same generation.
    pub(super) fn set_head(&self, head: Head, expires: u64) {
        let said = Said { expires, validator: head.validator_hash(), ..self.said.get() };
        self.said.set(said);
        self.resource.set_head(&head.encode(&self.key.url), said);
        self.head.replace(Some(Rc::new(head)));
    }

    /// Whether others may have it too: it is in the store, or was.
    pub fn is_shared(&self) -> bool {
        self.held.strong_count() > 0
    }

    /// The right to fill it, where nobody has it.
    pub fn permit(self: &Rc<Self>) -> Option<FillPermit> {
        (!self.filling.replace(true)).then(|| FillPermit(Rc::clone(self)))
    }

    /// Sends what is left of a run of writes to the disk, and waits until it is there or
    /// [will not be](Self::settled).
    ///
    /// # Cancellation
    /// What is on its way comes there.
    pub async fn flush(&self) {
        self.resource.end_chunks();
        self.settled().await;
    }

    /// Waits until what was written and said of it is on disk, or is not taken. What its volume puts off,
    /// as its journal is behind, is tried again for a while: it goes with its last holder, and was fetched
    /// for nothing then. Who lacks the memory that it lies in comes first.
    ///
    /// # Cancellation
    /// What is on its way comes there.
    pub async fn settled(&self) {
        let resource = &self.resource;
        resource.settled().await;
        let pool = self.held.upgrade().map(|held| held.volumes.pool().clone());
        let Some(pool) = pool else { return };
        for _ in 0..LEFT_TRIES {
            let is_left = resource.store_left();
            resource.settled().await;
            if !is_left || pool.stats().fullness() > LEFT_UP_TO {
                return;
            }
            runtime::sleep(LEFT_INTERVAL).await;
        }
    }

    /// Whether somebody fills it now.
    pub fn is_filling(&self) -> bool {
        self.filling.get()
    }

    /// Whether somebody reads it now.
    pub fn is_leased(&self) -> bool {
        self.leases.get() > 0
    }

    /// Reads what the origin said before from disk; false where that is not there, or is of another
    /// URL. Such bytes are of no use.
    pub(super) async fn recall(&self) -> Result<bool, Exhausted> {
        if self.head.borrow().is_some() {
            return Ok(true);
        }
        let bytes = match self.resource.head().await {
            Ok(Some(bytes)) => bytes,
            Err(Error::Exhausted(exhausted)) => return Err(exhausted),
            Ok(None) | Err(_) => return Ok(false),
        };
        let Some(head) = Head::decode(&bytes, &self.key.url) else { return Ok(false) };
        // Somebody else may have read it meanwhile, or learnt something newer.
        self.head.borrow_mut().get_or_insert_with(|| Rc::new(head));
        Ok(true)
    }

    /// Its next open begins a new generation.
    pub(super) fn forget(&self) {
        let Some(held) = self.held.upgrade() else { return };
        if held.present(self.key.id.0).is_some_and(|present| present.generation == self.generation)
        {
            held.assets.borrow_mut().remove(&self.key.id.0);
            held.policy(self.key.id, |policy| policy.remove(self.key.id));
        }
        self.resource.discard();
    }
}

impl Drop for Asset {
    /// It rests from here on.
    fn drop(&mut self) {
        let Some(held) = self.held.upgrade() else { return };
        let mut assets = held.assets.borrow_mut();
        // Another generation of it may be in its place.
        if assets.get(&self.key.id.0).is_some_and(|present| present.strong_count() == 0) {
            assets.remove(&self.key.id.0);
            let bytes = self.resource.stored_bytes();
            held.policy(self.key.id, |policy| match bytes {
                0 => policy.remove(self.key.id),
                bytes => {
                    policy.resize(self.key.id, bytes);
                    policy.let_go(self.key.id);
                }
            });
        }
    }
}

/// The right to read a generation: while one lives, the generation is not evicted.
pub struct Lease(pub(super) Rc<Asset>);

impl Lease {
    pub(super) fn new(asset: &Rc<Asset>) -> Self {
        asset.leases.set(asset.leases.get() + 1);
        Lease(Rc::clone(asset))
    }

    /// What it is a lease on.
    pub fn asset(&self) -> &Rc<Asset> {
        &self.0
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Lease::new(&self.0)
    }
}

impl Deref for Lease {
    type Target = Asset;

    fn deref(&self) -> &Asset {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let left = self.0.leases.get() - 1;
        self.0.leases.set(left);
        if left == 0 {
            self.0.deserted.notify_all();
        }
    }
}

/// The right, and the duty, to fill a generation. One exists at most; dropping it gives it up.
pub struct FillPermit(pub(super) Rc<Asset>);

impl Deref for FillPermit {
    type Target = Rc<Asset>;

    fn deref(&self) -> &Rc<Asset> {
        &self.0
    }
}

impl Drop for FillPermit {
    fn drop(&mut self) {
        self.0.filling.set(false);
    }
}
