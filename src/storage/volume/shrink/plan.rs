//! What a volume that became smaller does before its file is cut.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! What lies beyond the new end goes, but for what is pinned: that is moved to blocks before it. Where
//! those are taken, the eviction policy says who makes room, and where nobody can, the volume cannot
//! be as small: better not to start than to lose what was promised to stay. What is not pinned is not
//! moved, however hot it is: a terabyte that is halved would be written for an hour before the start.

use crate::storage::{
    BLOCK_BYTES, Kin, ObjectId,
    allocator::Allocator,
    catalog::{Catalog, Run, Slot, run_of},
    format::Filled,
    policy::{Kind, Policy, Snapshot},
};

/// What is to be done, in this order.
#[derive(Default)]
pub(in crate::storage::volume) struct Plan {
    /// Objects that go.
    pub(super) dropped: Vec<Slot>,
    /// Chunks of pinned objects, and their first block from now on.
    pub(super) moves: Vec<(Slot, Filled, u32)>,
}

/// What is pinned takes more than there is.
#[derive(Debug, thiserror::Error)]
#[error(
    "pinned objects take {pinned_bytes} bytes of it, and it would hold {bytes}; set a larger \
     cache.size, or unpin some with `kithara cache unpin`"
)]
pub(in crate::storage::volume) struct TooSmall {
    pinned_bytes: u64,
    bytes: u64,
}

impl Plan {
    /// For a volume of `blocks` blocks, of which the first `grown` were written, and what leaves it by
    /// `policy`.
    ///
    /// # Errors
    /// [`TooSmall`]; nothing is to be done then.
    pub(in crate::storage::volume) fn of(
        catalog: &Catalog,
        (snapshot, policy): (&Snapshot, Kind),
        kin: Kin,
        blocks: u64,
        grown: u64,
    ) -> Result<Self, TooSmall> {
        let is_pinned = |slot: Slot| catalog.has_pin(kin(catalog.name(slot).0));
        let mut beyond: Vec<_> = catalog.runs().filter(|(run, ..)| run.end > blocks).collect();
        beyond.sort_unstable_by_key(|(run, ..)| run.start);
        let mut plan = Self::default();
        let slots = beyond.iter().map(|(_, slot, _)| *slot);
        plan.dropped.extend(slots.filter(|slot| !is_pinned(*slot)));
        plan.dropped.sort_unstable();
        plan.dropped.dedup();
        beyond.retain(|(_, slot, _)| is_pinned(*slot));
        if beyond.is_empty() {
            return Ok(plan);
        }
        let mut room = Room::of(catalog, (snapshot, policy), kin, (blocks, grown), &plan.dropped);
        for (run, slot, chunk) in beyond {
            let place = room.take(run.end - run.start, &mut plan.dropped);
            let place = place.ok_or_else(|| TooSmall {
                pinned_bytes: pinned_bytes(catalog, kin),
                bytes: blocks * BLOCK_BYTES,
            })?;
            let filled = catalog.chunk(slot, chunk).expect("it lies in a run of blocks");
            let block = u32::try_from(place.start).expect("a volume has less blocks");
            plan.moves.push((slot, filled, block));
        }
        Ok(plan)
    }
}

fn pinned_bytes(catalog: &Catalog, kin: Kin) -> u64 {
    let pinned = catalog.objects().filter(|(object, _)| catalog.has_pin(kin(*object)));
    pinned.map(|(_, slot)| catalog.stored_bytes(slot)).sum()
}

/// The blocks before the new end, and who may leave them.
struct Room<'a> {
    catalog: &'a Catalog,
    free: Allocator,
    policy: Policy,
    blocks: u64,
}

impl<'a> Room<'a> {
    fn of(
        catalog: &'a Catalog,
        (snapshot, policy): (&Snapshot, Kind),
        kin: Kin,
        (blocks, grown): (u64, u64),
        dropped: &[Slot],
    ) -> Self {
        let stays = |slot: Slot| dropped.binary_search(&slot).is_err();
        // Of a chunk across the new end too: until its move is durable, it lies where it lay.
        let kept = catalog.runs().filter(|(run, slot, _)| run.start < blocks && stays(*slot));
        let used: Vec<Run> = kept.map(|(run, ..)| run.start..run.end.min(blocks)).collect();
        let (free, impossible) = Allocator::with_used(blocks, grown, &used);
        debug_assert!(impossible.is_empty(), "such chunks were taken out before");
        let may_go = |object: ObjectId, slot| stays(slot) && !catalog.has_pin(kin(object));
        let objects = catalog.objects().filter(|(object, slot)| may_go(*object, *slot));
        let objects = objects.map(|(object, slot)| (object, catalog.stored_bytes(slot)));
        let policy = Policy::restore(policy, blocks * BLOCK_BYTES, snapshot, objects);
        Self { catalog, free, policy, blocks }
    }

    /// Blocks for a chunk; who makes room for them is added to `dropped`.
    fn take(&mut self, count: u64, dropped: &mut Vec<Slot>) -> Option<Run> {
        loop {
            if let Some(run) = self.free.allocate(count) {
                return Some(run);
            }
            let victim = self.policy.victim(|_| true)?;
            let slot = self.catalog.find(victim).expect("the policy knows what is here");
            dropped.push(slot);
            let chunks = self.catalog.all_chunks(slot).map(|filled| run_of(&filled));
            chunks.filter(|run| run.end <= self.blocks).for_each(|run| self.free.release(run));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;
    use crate::storage::{
        Generation,
        format::{Meta, Record},
    };

    const CHUNK_BLOCKS: u32 = 4;

    /// Objects of a chunk each, one behind the other.
    fn with_objects(objects: impl IntoIterator<Item = u128>) -> Catalog {
        let mut catalog = Catalog::new(1000);
        for (number, object) in (0..).zip(objects) {
            let slot = catalog.begin(ObjectId(object), Generation(1), Meta::default());
            let block = number * CHUNK_BLOCKS;
            catalog.fill(slot, &Filled { chunk: 0, block, part: 0..65536, checksum: 0 });
        }
        catalog
    }

    fn alone(object: ObjectId) -> RangeInclusive<ObjectId> {
        object..=object
    }

    /// They lie behind the new end, before it, and behind it; the pin is on a name that has nothing.
    #[test]
    fn what_a_pin_on_another_name_holds_for_is_moved_and_makes_no_room() {
        let tens = |ObjectId(id)| ObjectId(id / 10 * 10)..=ObjectId(id / 10 * 10 + 9);
        let mut catalog = with_objects([1, 2, 31, 4, 32, 5]);
        catalog.apply(&Record::Pin { object: ObjectId(30), pinned: true }, &mut drop);
        let plan = Plan::of(&catalog, (&Snapshot::default(), Kind::Lru), tens, 16, 24).unwrap();
        let name = |slot: &Slot| catalog.name(*slot).0;
        let moved: Vec<_> = plan.moves.iter().map(|(slot, ..)| name(slot)).collect();
        assert_eq!(moved, [ObjectId(32)]);
        assert!(plan.dropped.iter().map(name).all(|object| object != ObjectId(31)));
        assert_eq!(plan.dropped.len(), 2, "one behind the end, one for room");
    }

    /// The least recently used is not the one that the other policy would let go.
    #[test]
    fn who_makes_room_for_what_is_pinned_is_the_configured_policys_to_say() {
        let mut catalog = with_objects([1, 2, 3, 4, 9]);
        catalog.apply(&Record::Pin { object: ObjectId(9), pinned: true }, &mut drop);
        for (kind, leaves) in [(Kind::Lru, 2), (Kind::S3Fifo, 1)] {
            let mut policy = Policy::new(kind, 1 << 20);
            (1..5).for_each(|object| policy.insert(ObjectId(object), 1 << 16));
            policy.touch(ObjectId(1));
            let mut snapshot = Snapshot::default();
            policy.encode(true).iter().for_each(|piece| snapshot.read(piece));
            let plan = Plan::of(&catalog, (&snapshot, kind), alone, 16, 20).unwrap();
            let dropped: Vec<_> = plan.dropped.iter().map(|slot| catalog.name(*slot).0).collect();
            assert_eq!(dropped, [ObjectId(leaves)], "{kind:?}");
        }
    }
}
