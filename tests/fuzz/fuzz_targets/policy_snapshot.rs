//! Pieces of a snapshot of the eviction policy: whatever they say, all objects are there, their bytes
//! are right, they leave one by one, and what was restored comes back the same from its own bytes.

#![no_main]

use kithara::storage::{
    ObjectId,
    policy::{Kind, PIECE_BYTES, Policy},
};
use kithara_fuzz::fuzz_target;

const OBJECTS: u128 = 40;

fn objects() -> impl Iterator<Item = (ObjectId, u64)> {
    (0..OBJECTS).map(|id| (ObjectId(id), id as u64 * 10))
}

fuzz_target!(|data: &[u8]| {
    // A byte says how long the next piece is, in words.
    let mut rest = data;
    let mut pieces = Vec::new();
    while let Some((words, after)) = rest.split_first() {
        let (piece, after) = after.split_at(after.len().min(usize::from(*words) * 4));
        pieces.push(piece);
        rest = after;
    }
    let found = pieces.iter().collect();
    for kind in [Kind::S3Fifo, Kind::Lru] {
        let mut policy = Policy::restore(kind, 5000, &found, objects());
        assert_eq!(policy.len() as u128, OBJECTS);
        assert_eq!(policy.bytes(), objects().map(|(_, bytes)| bytes).sum::<u64>());
        // A change, so that there is something to write.
        policy.remove(ObjectId(0));
        let own = policy.encode(false);
        assert!(own.iter().all(|piece| piece.len() <= PIECE_BYTES));
        let own = own.iter().collect();
        let again = Policy::restore(kind, 5000, &own, objects().skip(1));
        assert!(again.snapshot().take(again.len()).eq(policy.snapshot().take(policy.len())));
        assert!(again.snapshot().skip(again.len()).count() <= again.len(), "ghosts have a bound");
        while policy.victim(|_| true).is_some() {}
        assert!(policy.is_empty() && policy.bytes() == 0);
    }
});
