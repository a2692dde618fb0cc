//! Room in a full volume: what leaves it, and what is remembered of that for the next start.

use std::time::{Duration, Instant};

use super::{Asset, AssetStore, News};
use crate::{
    assets::Key,
    storage::{ObjectId, policy::Policy},
};

/// How often the policies are kept for the next start, where there are up to so many objects.
const REMEMBER_INTERVAL: Duration = Duration::from_secs(5);
const REMEMBERED_AT_ONCE: usize = 100_000;

impl AssetStore {
    /// Evicts what the policy says until `bytes` more fit into the volume of `asset`, or until
    /// nothing is left that may go. What no disk keeps takes no room, and nothing goes for it.
    pub fn make_room(&self, asset: &Asset, bytes: u64) {
        if !asset.is_shared() || !asset.resource.is_cached() {
            return;
        }
        let held = &self.held;
        let volume = held.volumes.of(asset.key.id);
        let stored_bytes = asset.resource.stored_bytes();
        held.policy(&asset.key, |policy| policy.resize(asset.key.id, stored_bytes));
        let is_missing = || held.volumes.bytes_of(volume).is_some_and(|(free, _)| free < bytes);
        while is_missing() && self.evict_one(&asset.key) {}
    }

    /// Evicts whose turn it is in the volume of `key`; false where none may go.
    pub(super) fn evict_one(&self, key: &Key) -> bool {
        let held = &self.held;
        let may_go = |id: ObjectId| held.present(id.0).is_none() && !self.is_pinned(id);
        let victim = held.policy(key, |policy| policy.victim(may_go)).flatten();
        let Some(victim) = victim else { return false };
        tracing::debug!(object = %victim, "evicted");
        held.volumes.forget(victim);
        self.update(|stats| stats.evicted += 1);
        self.tell(&victim.to_string(), News::Evicted);
        true
    }

    /// Has the volumes keep what their policies know for the next start, where something changed:
    /// at most every five seconds, and seldomer where a snapshot is long. Says when to come again.
    pub fn remember(&self, now: Instant) -> Option<Instant> {
        if !self.is_touched.get() {
            return None;
        }
        let mut policies = self.held.policies.borrow_mut();
        let objects: usize = policies.values().map(Policy::len).sum();
        let interval = REMEMBER_INTERVAL * (objects / REMEMBERED_AT_ONCE + 1) as u32;
        let due = self.remembered.get().map_or(now, |before| before + interval);
        if now < due {
            return Some(due);
        }
        self.remembered.set(Some(now));
        self.is_touched.set(false);
        for (volume, policy) in &mut *policies {
            self.held.volumes.remember(*volume, policy.encode());
        }
        None
    }

    /// The same, whether it is due or not: at the end.
    pub fn remember_all(&self) {
        for (volume, policy) in &mut *self.held.policies.borrow_mut() {
            self.held.volumes.remember(*volume, policy.encode());
        }
    }
}
