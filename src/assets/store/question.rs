//! Questions to an origin that are under way while the operator acts.
//!
//! What an origin answers is true of the moment when it was asked. Where the operator purges or
//! invalidates an object after that, the answer is about what he wants no more: it may still do for
//! those who asked before, and for nobody else. So a question hears of what is done to its object
//! until it is answered.

use std::{
    cell::Cell,
    collections::HashMap,
    rc::{Rc, Weak},
};

use super::{AssetStore, Held};
use crate::{assets::Key, storage::ObjectId};

/// The objects that origins are being asked about: as many as there are inquiries.
pub(super) type Asked = HashMap<u128, About>;

/// An object that an origin is being asked about.
pub(super) struct About {
    pub(super) url: Rc<str>,
    /// How often it was purged or invalidated meanwhile. Each question holds it as well.
    acts: Rc<Cell<u64>>,
}

/// A question to an origin, from when it is put until it is dropped.
pub struct Question {
    held: Weak<Held>,
    id: ObjectId,
    acts: Rc<Cell<u64>>,
    acts_before: u64,
}

impl AssetStore {
    /// Somebody is about to ask the origin for what has this key.
    pub fn question(&self, key: &Key) -> Question {
        let new = || About { url: Rc::clone(&key.url), acts: Rc::default() };
        let mut asked = self.held.asked.borrow_mut();
        let acts = Rc::clone(&asked.entry(key.id.0).or_insert_with(new).acts);
        let (held, acts_before) = (Rc::downgrade(&self.held), acts.get());
        Question { held, id: key.id, acts, acts_before }
    }
}

impl Held {
    /// The operator acts on an object: what is being asked about it is answered too late.
    pub(super) fn overtake(&self, id: ObjectId) {
        if let Some(About { acts, .. }) = self.asked.borrow().get(&id.0) {
            acts.set(acts.get() + 1);
        }
    }
}

impl Question {
    /// Whether its object was purged or invalidated since it was put.
    pub fn is_overtaken(&self) -> bool {
        self.acts.get() != self.acts_before
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let Some(held) = self.held.upgrade() else { return };
        // This one, and the table.
        if Rc::strong_count(&self.acts) == 2 {
            held.asked.borrow_mut().remove(&self.id.0);
        }
    }
}
