//! The objects of one volume in their queues: a slab of nodes, linked by their numbers.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A node takes 32 bytes and its entry in the index 5.3 to 10.7, so an object is known at about 40
//! bytes and moved between queues, found and forgotten in constant time.

use super::{Name, slots::Slots};

/// No node: the end of a queue.
const NONE: u32 = u32::MAX;
/// Bits of a node's word below its bytes.
const LOW_BITS: u32 = 8;
/// The most bytes an object counts for. Far beyond any volume.
const MOST_BYTES: u64 = (1 << 48) - 1;
/// How often an object was used that is used often: what is beyond makes no difference (the paper's
/// two bits).
pub(super) const MOST_USES: u8 = 3;

/// The number of a node, while its object is known.
pub(super) type Slot = u32;

/// The queue an object is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// New objects, on trial.
    Small,
    /// Objects that proved themselves.
    Main,
    /// Those of `Small` that could not go when it was their turn.
    SmallHeld,
    /// The same of `Main`.
    MainHeld,
}

impl Place {
    pub(super) const ALL: [Place; 4] =
        [Place::Small, Place::Main, Place::SmallHeld, Place::MainHeld];

    /// Where an object of this queue waits while it cannot go.
    pub(super) fn held(self) -> Place {
        match self {
            Place::Small | Place::SmallHeld => Place::SmallHeld,
            Place::Main | Place::MainHeld => Place::MainHeld,
        }
    }
}

/// One object.
#[derive(Debug, Clone, Copy)]
struct Node<N> {
    name: N,
    /// Bytes above, uses and place in the lowest [`LOW_BITS`].
    word: u64,
    newer: u32,
    /// In a free node, the next free one.
    older: u32,
}

impl<N> Node<N> {
    fn bytes(&self) -> u64 {
        self.word >> LOW_BITS
    }

    fn uses(&self) -> u8 {
        (self.word & 3) as u8
    }

    fn place(&self) -> Place {
        Place::ALL[(self.word >> 2 & 3) as usize]
    }

    fn set(&mut self, bytes: u64, uses: u8, place: Place) {
        debug_assert!(bytes <= MOST_BYTES && uses <= MOST_USES);
        self.word = bytes << LOW_BITS | (place as u64) << 2 | u64::from(uses);
    }
}

/// What a queue holds, and its ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    newest: u32,
    oldest: u32,
    /// Objects.
    pub(super) len: usize,
    /// Their bytes.
    pub(super) bytes: u64,
}

const NO_QUEUE: Queue = Queue { newest: NONE, oldest: NONE, len: 0, bytes: 0 };

/// All objects of a volume.
#[derive(Debug, Clone)]
pub(super) struct Nodes<N> {
    nodes: Vec<Node<N>>,
    free: u32,
    index: Slots,
    queues: [Queue; 4],
}

impl<N> Default for Nodes<N> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: NONE, index: Slots::default(), queues: [NO_QUEUE; 4] }
    }
}

impl<N: Name> Nodes<N> {
    /// What that queue holds.
    pub(super) fn queue(&self, place: Place) -> &Queue {
        &self.queues[place as usize]
    }

    pub(super) fn find(&self, name: N) -> Option<Slot> {
        self.index.find(name.fingerprint(), |slot| self.name(slot) == name)
    }

    /// An object of that queue whose fingerprint is `fingerprint` but for its lowest bits.
    pub(super) fn find_by_beginning(
        &self,
        fingerprint: u32,
        low_bits: u32,
        place: Place,
    ) -> Option<Slot> {
        let is_meant = |slot: Slot| {
            self.place(slot) == place && self.hash(slot) >> low_bits == fingerprint >> low_bits
        };
        self.index.find(fingerprint, is_meant)
    }

    pub(super) fn name(&self, slot: Slot) -> N {
        self.nodes[slot as usize].name
    }

    pub(super) fn bytes(&self, slot: Slot) -> u64 {
        self.nodes[slot as usize].bytes()
    }

    pub(super) fn uses(&self, slot: Slot) -> u8 {
        self.nodes[slot as usize].uses()
    }

    pub(super) fn place(&self, slot: Slot) -> Place {
        self.nodes[slot as usize].place()
    }

    pub(super) fn oldest(&self, place: Place) -> Option<Slot> {
        Some(self.queue(place).oldest).filter(|slot| *slot != NONE)
    }

    /// The slots of a queue, oldest first.
    pub(super) fn in_order(&self, place: Place) -> impl Iterator<Item = Slot> + '_ {
        let newer = |slot: &Slot| Some(self.nodes[*slot as usize].newer).filter(|s| *s != NONE);
        std::iter::successors(self.oldest(place), newer)
    }

    /// Adds an object that is not known yet, as the newest of a queue.
    pub(super) fn insert(&mut self, name: N, bytes: u64, place: Place) {
        let mut node = Node { name, word: 0, newer: NONE, older: NONE };
        node.set(bytes.min(MOST_BYTES), 0, place);
        let slot = self.new_slot(node);
        let nodes = &self.nodes;
        self.index.insert(slot, |slot| nodes[slot as usize].name.fingerprint());
        self.link_newest(slot, place);
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.unlink(slot);
        let nodes = &self.nodes;
        self.index.remove(slot, |slot| nodes[slot as usize].name.fingerprint());
        self.nodes[slot as usize].older = self.free;
        self.free = slot;
    }

    /// Makes an object the newest of a queue.
    pub(super) fn make_newest(&mut self, slot: Slot, place: Place) {
        self.unlink(slot);
        self.link_newest(slot, place);
    }

    /// Makes an object the oldest of a queue.
    pub(super) fn make_oldest(&mut self, slot: Slot, place: Place) {
        self.unlink(slot);
        self.link(slot, place, self.queue(place).oldest, NONE);
    }

    pub(super) fn set_uses(&mut self, slot: Slot, uses: u8) {
        let node = &mut self.nodes[slot as usize];
        node.set(node.bytes(), uses, node.place());
    }

    pub(super) fn set_bytes(&mut self, slot: Slot, bytes: u64) {
        let bytes = bytes.min(MOST_BYTES);
        let node = &mut self.nodes[slot as usize];
        let queue = &mut self.queues[node.place() as usize];
        queue.bytes = queue.bytes - node.bytes() + bytes;
        node.set(bytes, node.uses(), node.place());
    }

    /// Memory it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node<N>>() + self.index.memory_bytes()
    }

    fn hash(&self, slot: Slot) -> u32 {
        self.name(slot).fingerprint()
    }

    fn new_slot(&mut self, node: Node<N>) -> Slot {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.nodes[slot as usize].older;
            self.nodes[slot as usize] = node;
            return slot;
        }
        // By an eighth and not by half: the spare room is most of what a million objects waste.
        if self.nodes.len() == self.nodes.capacity() {
            self.nodes.reserve_exact((self.nodes.len() / 8).max(8));
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as Slot
    }

    fn link_newest(&mut self, slot: Slot, place: Place) {
        self.link(slot, place, NONE, self.queue(place).newest);
    }

    /// Puts an unlinked node between two neighbours of a queue.
    fn link(&mut self, slot: Slot, place: Place, newer: u32, older: u32) {
        let node = &mut self.nodes[slot as usize];
        (node.newer, node.older) = (newer, older);
        node.set(node.bytes(), node.uses(), place);
        let bytes = node.bytes();
        let queue = &mut self.queues[place as usize];
        queue.len += 1;
        queue.bytes += bytes;
        *self.older_of(newer, place) = slot;
        *self.newer_of(older, place) = slot;
    }

    fn unlink(&mut self, slot: Slot) {
        let Node { newer, older, .. } = self.nodes[slot as usize];
        let (bytes, place) = (self.nodes[slot as usize].bytes(), self.place(slot));
        let queue = &mut self.queues[place as usize];
        queue.len -= 1;
        queue.bytes -= bytes;
        *self.older_of(newer, place) = older;
        *self.newer_of(older, place) = newer;
    }

    /// The link from a node to its older neighbour; from beyond the newest, the queue's own.
    fn older_of(&mut self, slot: u32, place: Place) -> &mut u32 {
        match slot {
            NONE => &mut self.queues[place as usize].newest,
            slot => &mut self.nodes[slot as usize].older,
        }
    }

    fn newer_of(&mut self, slot: u32, place: Place) -> &mut u32 {
        match slot {
            NONE => &mut self.queues[place as usize].oldest,
            slot => &mut self.nodes[slot as usize].newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::ObjectId;

    #[test]
    fn a_node_takes_thirty_two_bytes() {
        assert_eq!(size_of::<Node<ObjectId>>(), 32);
    }

    #[test]
    fn a_queue_keeps_its_order_and_its_sums() {
        let mut nodes = Nodes::default();
        (1..=5).for_each(|id| nodes.insert(ObjectId(id), 10 * id as u64, Place::Small));
        let slot = |nodes: &Nodes<ObjectId>, id| nodes.find(ObjectId(id)).unwrap();
        nodes.make_newest(slot(&nodes, 2), Place::Small);
        nodes.make_oldest(slot(&nodes, 5), Place::Small);
        nodes.make_oldest(slot(&nodes, 3), Place::Main);
        nodes.remove(slot(&nodes, 1));
        nodes.set_bytes(slot(&nodes, 4), 1);
        nodes.insert(ObjectId(6), 60, Place::Main);
        let ids = |place| -> Vec<_> { nodes.in_order(place).map(|s| nodes.name(s).0).collect() };
        assert_eq!(ids(Place::Small), [5, 4, 2]);
        assert_eq!(ids(Place::Main), [3, 6]);
        let sums = |place| (nodes.queue(place).len, nodes.queue(place).bytes);
        assert_eq!((sums(Place::Small), sums(Place::Main)), ((3, 71), (2, 90)));
        assert_eq!((nodes.nodes.len(), nodes.find(ObjectId(1))), (5, None));
    }
}
