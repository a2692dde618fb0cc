//! The best there could be: what is wanted again last leaves first (Belady, 1966).

use std::collections::{BinaryHeap, HashMap};

use super::{Count, Ratio, Trace};

/// When an object is wanted next, as the number of the request; never is the largest.
type Next = usize;

/// Replays `trace` against one volume that knows the future. For objects of one size no policy has
/// more hits; where sizes differ, one that prefers small objects can.
pub fn belady(trace: &Trace, capacity_bytes: u64) -> Ratio {
    let next = next_uses(trace);
    let mut held: HashMap<u64, (Next, u64)> = HashMap::new();
    // Entries that `held` does not confirm are stale.
    let mut latest: BinaryHeap<(Next, u64)> = BinaryHeap::new();
    let mut held_bytes = 0;
    let mut count = Count::default();
    for (request, next) in trace.requests.iter().zip(next) {
        let is_hit = held.contains_key(&request.object);
        count.add(request.bytes, is_hit);
        if request.bytes > capacity_bytes {
            continue;
        }
        while !is_hit && held_bytes + request.bytes > capacity_bytes {
            let (when, object) = latest.pop().expect("what is full holds something");
            if held.get(&object).is_some_and(|(next, _)| *next == when) {
                held_bytes -= held.remove(&object).expect("it was just seen").1;
            }
        }
        held_bytes += if is_hit { 0 } else { request.bytes };
        held.insert(request.object, (next, request.bytes));
        latest.push((next, request.object));
    }
    count.ratio()
}

/// For each request, the next one of the same object.
fn next_uses(trace: &Trace) -> Vec<Next> {
    let mut seen = HashMap::new();
    let mut next: Vec<_> = trace
        .requests
        .iter()
        .enumerate()
        .rev()
        .map(|(at, request)| seen.insert(request.object, at).unwrap_or(Next::MAX))
        .collect();
    next.reverse();
    next
}
