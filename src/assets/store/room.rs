//! Room in a full volume: what leaves it, and what is remembered of that for the next start.

use std::time::{Duration, Instant};

use super::{Asset, AssetStore, Held, News};
use crate::storage::{ObjectId, VolumeIndex, policy::Policy};

/// How far ahead of a write position room is made.
const ROOM_BYTES: u64 = 1 << 20;

/// How often the policies are kept for the next start, where there are up to so many objects.
pub(super) const REMEMBER_INTERVAL: Duration = Duration::from_secs(5);
const REMEMBERED_AT_ONCE: usize = 100_000;

impl Held {
    /// Evicts whose turn it is in a volume; false where none may go.
    pub(super) fn evict_one(&self, volume: VolumeIndex) -> bool {
        let may_go = |id: ObjectId| self.present(id.0).is_none() && !self.is_pinned(id);
        let victim = self.policy_of(volume, |policy| {
            policy.set_full();
            match self.stuck.borrow().contains(&volume) {
                true => policy.victim_of_queues(may_go),
                false => policy.victim(may_go),
            }
        });
        let Some(victim) = victim.flatten() else {
            self.stuck.borrow_mut().insert(volume);
            return false;
        };
        tracing::debug!(object = %victim, "evicted");
        self.volumes.forget(victim);
        self.update(|stats| stats.evicted += 1);
        self.tell(&victim.to_string(), News::Evicted);
        true
    }
}

impl AssetStore {
    /// Makes room for what comes next of `asset`, and never for all that may come: who wants little of
    /// a long resource would empty the cache for it.
    pub fn make_room_ahead(&self, asset: &Asset) {
        let resource = &asset.resource;
        let end = resource.length().unwrap_or(u64::MAX);
        let missing_bytes = end.saturating_sub(resource.stored_bytes());
        let most_bytes = missing_bytes.min(resource.share_left_bytes());
        self.make_room(asset, ROOM_BYTES.min(most_bytes));
    }

    /// Evicts until the volume of an object can note another one: its catalog is bounded as its bytes are.
    pub(super) fn make_place(&self, id: ObjectId) {
        let (held, volumes) = (&self.held, &self.held.volumes);
        while !volumes.has_place(id) {
            let lacks_memory = volumes.lacks_memory(id);
            if !held.evict_one(volumes.of(id)) {
                return;
            }
            match lacks_memory {
                true => self.note_memory(),
                false => self.note_journal(volumes.of(id)),
            }
        }
    }

    fn note_memory(&self) {
        let stats = self.stats();
        self.held.update(|stats| stats.evicted_for_memory += 1);
        if stats.evicted_for_memory == 0 {
            let volumes = self.volumes();
            tracing::warn!(
                catalog_bytes = volumes.stats().catalog_bytes,
                free_bytes = volumes.free_bytes(),
                "the catalog of the cache has its half of memory: objects leave though there is room on disk; \
                 raise `memory`"
            );
        }
    }

    fn note_journal(&self, volume: VolumeIndex) {
        let stats = self.stats();
        self.held.update(|stats| stats.evicted_for_journal += 1);
        if stats.evicted_for_journal == 0 {
            let state = self.volumes().state(volume).unwrap_or_default();
            tracing::warn!(
                volume = volume.0,
                objects = state.objects,
                pins = state.pins,
                free_bytes = state.free_bytes,
                "the journal of a volume holds no more: objects leave though there is room on disk; raise \
                 `cache.size`, or pin less"
            );
        }
    }

    /// Evicts what the policy says until `bytes` more fit into the volume of `asset`, or until
    /// nothing is left that may go. What no disk keeps takes no room, and nothing goes for it.
    ///
    /// It reserves nothing: where others take what was free, more goes when a chunk finds no room.
    pub fn make_room(&self, asset: &Asset, bytes: u64) {
        if !asset.is_shared() || !asset.resource.is_cached() {
            return;
        }
        let held = &self.held;
        let volume = held.volumes.of(asset.key.id);
        let stored_bytes = asset.resource.stored_bytes();
        held.policy(asset.key.id, |policy| policy.resize(asset.key.id, stored_bytes));
        let is_missing = || held.volumes.bytes_of(volume).is_some_and(|(free, _)| free < bytes);
        while is_missing() && held.evict_one(volume) {}
    }

    /// Has a volume keep what its policy knows for the next start, where something changed: one of
    /// them a call, each at most every five seconds, and seldomer where a snapshot is long. Says when
    /// to come again, which is at once while others have not had their turn.
    pub fn remember(&self, now: Instant) -> Option<Instant> {
        let mut next = self.to_remember.borrow_mut().pop().or_else(|| self.forgetful());
        if next.is_none() && self.is_touched.get() {
            let interval = self.remember_interval();
            let due = self.remembered.get().map_or(now, |before| before + interval);
            if now < due {
                return Some(due);
            }
            self.remembered.set(Some(now));
            self.is_touched.set(false);
            self.to_remember.borrow_mut().extend(self.held.policies.borrow().keys());
            next = self.to_remember.borrow_mut().pop();
        }
        self.remember_one(next?);
        let was_last = self.to_remember.borrow().is_empty() && self.forgetful().is_none();
        match was_last {
            true => self.is_touched.get().then(|| now + self.remember_interval()),
            false => Some(now),
        }
    }

    /// The same of all, whether it is due or not: at the end.
    pub fn remember_all(&self) {
        let all: Vec<_> = self.held.policies.borrow().keys().copied().collect();
        all.into_iter().for_each(|volume| self.remember_one(volume));
    }

    fn remember_one(&self, volume: VolumeIndex) {
        // What is encoded counts as said; what nobody takes is to be said again.
        if !self.held.volumes.remembers(volume) {
            return self.is_touched.set(true);
        }
        let forgot = self.held.volumes.forgot(volume);
        let encode = |policy: &mut Policy| policy.encode(forgot);
        let pieces = self.held.policies.borrow_mut().get_mut(&volume).map(encode);
        self.held.volumes.remember(volume, pieces.unwrap_or_default());
    }

    /// A volume that lost what its policy knows, when its journal was written anew.
    fn forgetful(&self) -> Option<VolumeIndex> {
        self.held.policies.borrow().keys().copied().find(|volume| self.held.volumes.forgot(*volume))
    }

    fn remember_interval(&self) -> Duration {
        let objects: usize = self.held.policies.borrow().values().map(Policy::len).sum();
        REMEMBER_INTERVAL * (objects / REMEMBERED_AT_ONCE + 1) as u32
    }
}
