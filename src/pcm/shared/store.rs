//! The pieces that stay in memory in case somebody wants them again, of all timelines of a shard.
//!
//! A piece is worth what it costs to make it again, for each byte that it takes, as often as it is
//! wanted (GreedyDual-Size with frequency: Cherkasova, HPL-98-69R1, 1998):
//!
//! ```text
//! worth = floor + uses * cost / bytes        floor: the worth of what was given up last
//! ```
//!
//! What is worth least goes first. As the floor rises, what was dear long ago and is not wanted any
//! more goes too; and what a listener passes through once is soon below what a crowd shares.
//!
//! What a listener is [coming to](Following) is worth more than all that, the nearer the more: a price
//! says how often a piece was wanted, and most of those that all have passed were wanted more often
//! than one that the first of them has just made.
//!
//! The pieces are [spare](Spare): the pool calls in those that nobody is sending just now.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::Duration,
};

use super::{
    TimelineId,
    following::{Following, Place},
};
use crate::{
    bufpool::{Block, Spare},
    pcm::Piece,
};

/// Which piece: its timeline, and its first frame there.
pub(super) type Name = (TimelineId, u64);

/// A place in the order of worth. Among equals the older one goes first.
type Rank = (Worth, u64);

/// Uses that count.
const MOST_USES: u64 = 64;

/// Of what the store holds, how much is put in before it is decided anew for whom pieces are kept: one in
/// so many.
const DECIDED_SHARE: u64 = 64;

/// Pieces that turn out to lie before a listener and are spared, one after another, before one goes
/// whichever it is.
const MOST_SPARED: usize = 512;

/// Pieces that are looked over at each put, one after another: whether the one who was coming left.
const LOOKED_OVER: usize = 4;

/// What a piece is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// What it would cost, by the floor of that time.
    Price(u64),
    /// Somebody is so many frames before it.
    Awaited(Reverse<u64>),
}

/// Counters of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes of the blocks that are held.
    pub bytes: u64,
    /// Pieces that were found.
    pub hits: u64,
    /// Pieces that were put in.
    pub admitted: u64,
    /// Pieces that went for others that are worth more.
    pub evicted: u64,
    /// Pieces that went because their memory was wanted for other things.
    pub given_back: u64,
}

/// The store of one shard.
pub(super) struct Store {
    limit_bytes: u64,
    pieces: BTreeMap<Name, Kept>,
    order: BTreeMap<Rank, Name>,
    /// How many pieces each timeline has here.
    counts: HashMap<TimelineId, usize>,
    floor: u64,
    arrivals: u64,
    following: Following,
    /// Bytes that were ever put in, and how many it were when it was last decided.
    put_bytes: u64,
    decided_at: u64,
    /// The piece that was looked over last.
    looked_over: Name,
    stats: StoreStats,
}

struct Kept {
    frames: u64,
    length: usize,
    bytes: Spare,
    cost_us: u64,
    is_torn: bool,
    is_missing: bool,
    uses: u64,
    rank: Rank,
}

impl Kept {
    /// What each use adds to its worth: nanoseconds per KiB.
    fn price(&self) -> u64 {
        (self.cost_us + 1).saturating_mul(1 << 20) / self.bytes.loan_bytes() as u64
    }
}

impl Store {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes: limit_bytes as u64,
            pieces: BTreeMap::new(),
            order: BTreeMap::new(),
            counts: HashMap::new(),
            floor: 0,
            arrivals: 0,
            following: Following::default(),
            put_bytes: 0,
            decided_at: 0,
            looked_over: (TimelineId(0), 0),
            stats: StoreStats::default(),
        }
    }

    pub(super) fn stats(&self) -> StoreStats {
        self.stats
    }

    /// Whether there is anything of a timeline.
    pub(super) fn has(&self, timeline: TimelineId) -> bool {
        self.counts.contains_key(&timeline)
    }

    /// A listener wants a frame, and was at another before.
    pub(super) fn moves(&mut self, from: Option<Place>, to: Place) {
        self.following.moves(from, to, self.put_bytes);
    }

    /// A listener is there no more.
    pub(super) fn leaves(&mut self, from: Place) {
        self.following.leaves(from);
    }

    /// The piece that holds `frame`.
    pub(super) fn find(&mut self, timeline: TimelineId, frame: u64) -> Option<Piece> {
        let name = self.holding(timeline, frame)?;
        self.stats.hits += 1;
        let kept = self.pieces.get_mut(&name)?;
        kept.uses = (kept.uses + 1).min(MOST_USES);
        let block = kept.bytes.block().slice(0..kept.length);
        let (first, frames, cost) = (name.1, kept.frames, Duration::from_micros(kept.cost_us));
        let (is_torn, is_missing) = (kept.is_torn, kept.is_missing);
        let piece = Piece { first, frames, cost, is_torn, is_missing, block };
        self.rank(name);
        Some(piece)
    }

    /// Whether a piece that holds `frame` is here, for who does not want it now: that is no use of it.
    pub(super) fn holds(&self, timeline: TimelineId, frame: u64) -> bool {
        self.holding(timeline, frame).is_some()
    }

    fn holding(&self, timeline: TimelineId, frame: u64) -> Option<Name> {
        let (name, kept) = self.pieces.range((timeline, 0)..=(timeline, frame)).next_back()?;
        (frame < name.1 + kept.frames).then_some(*name)
    }

    /// Puts in a piece, and gives out what went for it: to be dropped by the caller, out of the borrow.
    pub(super) fn put(&mut self, timeline: TimelineId, piece: &Piece) -> Vec<Spare> {
        let bytes = piece.block.loan_bytes() as u64;
        if self.is_covered(timeline, piece) || bytes > self.limit_bytes {
            return Vec::new();
        }
        self.follow(bytes);
        let mut gone = self.remove_within(timeline, piece);
        while self.stats.bytes + bytes > self.limit_bytes
            && let Some(least) = self.pop(|_| true)
        {
            self.stats.evicted += 1;
            gone.push(least);
        }
        self.insert((timeline, piece.first), piece);
        gone
    }

    /// Gives up pieces of so many bytes that nobody is sending, or all of them.
    pub(super) fn give_back(&mut self, bytes: usize) -> Vec<Spare> {
        let (mut gone, mut sum) = (Vec::new(), 0);
        while sum < bytes
            && let Some(idle) = self.pop(Spare::is_idle)
        {
            self.stats.given_back += 1;
            sum += idle.loan_bytes();
            gone.push(idle);
        }
        gone
    }

    /// Takes out what a timeline has from a frame on.
    pub(super) fn forget(&mut self, timeline: TimelineId, from: u64) -> Vec<Spare> {
        let behind = (timeline, from)..=(timeline, u64::MAX);
        let names: Vec<Name> = self.pieces.range(behind).map(|(name, _)| *name).collect();
        names.into_iter().filter_map(|name| self.remove(name)).collect()
    }

    /// So much more is put in: where listeners are may have changed what pieces are worth.
    fn follow(&mut self, bytes: u64) {
        self.put_bytes += bytes;
        if self.put_bytes - self.decided_at >= self.limit_bytes / DECIDED_SHARE {
            self.decided_at = self.put_bytes;
            let pieces = &self.pieces;
            let bytes = |place: &Place, next| bytes_before(pieces, place, next);
            self.following.decide(self.put_bytes, self.limit_bytes, bytes);
        }
        for _ in 0..LOOKED_OVER {
            self.look_over();
        }
    }

    /// Looks at the next piece in turn whether somebody is still coming to it.
    fn look_over(&mut self) {
        let behind = (Bound::Excluded(self.looked_over), Bound::Unbounded);
        let next = self.pieces.range(behind).next().or_else(|| self.pieces.first_key_value());
        let Some((&name, kept)) = next else { return };
        self.looked_over = name;
        let was_awaited = matches!(kept.rank.0, Worth::Awaited(_));
        if was_awaited && self.following.distance(name).is_none() {
            self.rank(name);
        }
    }

    fn is_covered(&self, timeline: TimelineId, piece: &Piece) -> bool {
        let end = |name: Name| name.1 + self.pieces[&name].frames;
        self.holding(timeline, piece.first).is_some_and(|name| end(name) >= piece.range().end)
    }

    /// Takes out what lies within `piece`: quarters of a window that is here as a whole now.
    fn remove_within(&mut self, timeline: TimelineId, piece: &Piece) -> Vec<Spare> {
        let within = (timeline, piece.first)..(timeline, piece.range().end);
        let names: Vec<Name> = self.pieces.range(within).map(|(name, _)| *name).collect();
        names.into_iter().filter_map(|name| self.remove(name)).collect()
    }

    fn insert(&mut self, name: Name, piece: &Piece) {
        let block: Block = piece.block.clone();
        let length = block.len();
        let bytes = Spare::new(block);
        self.stats.bytes += bytes.loan_bytes() as u64;
        self.stats.admitted += 1;
        *self.counts.entry(name.0).or_default() += 1;
        let cost_us = u64::try_from(piece.cost.as_micros()).unwrap_or(u64::MAX);
        let (frames, uses, rank) = (piece.frames, 1, (Worth::Price(0), 0));
        let (is_torn, is_missing) = (piece.is_torn, piece.is_missing);
        let kept = Kept { frames, length, bytes, cost_us, is_torn, is_missing, uses, rank };
        self.pieces.insert(name, kept);
        self.rank(name);
    }

    /// Gives a piece its place by what it is worth now.
    fn rank(&mut self, name: Name) {
        let Some(kept) = self.pieces.get_mut(&name) else { return };
        self.order.remove(&kept.rank);
        self.arrivals += 1;
        let price = || self.floor.saturating_add(kept.price().saturating_mul(kept.uses));
        let distance = self.following.distance(name).map(Reverse);
        let worth = distance.map_or_else(|| Worth::Price(price()), Worth::Awaited);
        kept.rank = (worth, self.arrivals);
        self.order.insert(kept.rank, name);
    }

    /// Takes out what is worth least of those that may go.
    fn pop(&mut self, may_go: impl Fn(&Spare) -> bool) -> Option<Spare> {
        for _ in 0..MOST_SPARED {
            let (worth, name) = self.least(&may_go)?;
            if matches!(worth, Worth::Awaited(_)) || self.following.distance(name).is_none() {
                break;
            }
            // Somebody came behind it since.
            self.rank(name);
        }
        let (worth, name) = self.least(&may_go)?;
        if let Worth::Price(worth) = worth {
            self.floor = self.floor.max(worth);
        }
        self.remove(name)
    }

    fn least(&self, may_go: impl Fn(&Spare) -> bool) -> Option<(Worth, Name)> {
        let least = self.order.iter().find(|(_, name)| may_go(&self.pieces[name].bytes));
        least.map(|((worth, _), name)| (*worth, *name))
    }

    fn remove(&mut self, name: Name) -> Option<Spare> {
        let kept = self.pieces.remove(&name)?;
        self.order.remove(&kept.rank);
        self.stats.bytes -= kept.bytes.loan_bytes() as u64;
        if let Some(count) = self.counts.get_mut(&name.0) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&name.0);
            }
        }
        Some(kept.bytes)
    }
}

/// What the pieces take from a place to a frame, or to the last that is here, if all of them are.
fn bytes_before(pieces: &BTreeMap<Name, Kept>, place: &Place, to: Option<u64>) -> u64 {
    let from = Bound::Excluded((place.timeline, place.frame));
    let mut ahead = pieces.range((from, Bound::Included((place.timeline, to.unwrap_or(u64::MAX)))));
    let Some((name, first)) = ahead.next() else { return 0 };
    let to = to.unwrap_or_else(|| ahead.next_back().unwrap_or((name, first)).0.1);
    (to - place.frame).saturating_mul(first.bytes.loan_bytes() as u64) / first.frames.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bufpool::{BufPool, Class, Options};

    const A: TimelineId = TimelineId(1);
    const B: TimelineId = TimelineId(2);
    const CHEAP: Duration = Duration::from_micros(100);
    const DEAR: Duration = Duration::from_micros(900);

    fn pool() -> BufPool {
        BufPool::new(Options { budget_bytes: 8 << 20 })
    }

    fn piece(pool: &BufPool, first: u64, frames: u64, cost: Duration) -> Piece {
        let class = if frames == 100 { Class::Large } else { Class::Medium };
        let block = pool.take(class).unwrap().freeze(frames as usize);
        Piece { first, frames, cost, is_torn: false, is_missing: false, block }
    }

    fn windows(pool: &BufPool, store: &mut Store, timeline: TimelineId, of: u64, cost: Duration) {
        (0..of).for_each(|window| {
            drop(store.put(timeline, &piece(pool, window * 100, 100, cost)));
        });
    }

    fn here(store: &Store, timeline: TimelineId, of: u64) -> u64 {
        (0..of).filter(|window| store.holding(timeline, window * 100).is_some()).count() as u64
    }

    #[test]
    fn a_frame_is_found_in_the_piece_that_holds_it() {
        let (pool, mut store) = (pool(), Store::new(1 << 20));
        windows(&pool, &mut store, A, 2, CHEAP);
        let found = store.find(A, 150).unwrap();
        assert_eq!((found.range(), found.block.len()), (100..200, 100));
        assert!(store.find(A, 200).is_none() && store.find(B, 0).is_none());
    }

    #[test]
    fn a_whole_window_takes_the_place_of_its_quarters_and_not_the_other_way() {
        let (pool, mut store) = (pool(), Store::new(1 << 20));
        for first in [0, 25, 50, 75] {
            drop(store.put(A, &piece(&pool, first, 25, CHEAP)));
        }
        drop(store.put(A, &piece(&pool, 0, 100, CHEAP)));
        assert_eq!(store.find(A, 60).unwrap().range(), 0..100);
        drop(store.put(A, &piece(&pool, 25, 25, CHEAP)));
        assert_eq!((store.find(A, 30).unwrap().range(), store.stats().bytes), (0..100, 64 << 10));
    }

    #[test]
    fn what_is_dear_or_wanted_stays_and_one_who_passes_through_does_not_push_it_out() {
        let (pool, mut store) = (pool(), Store::new(1 << 20));
        windows(&pool, &mut store, A, 8, CHEAP);
        for window in 0..4 {
            (0..3).for_each(|_| drop(store.find(A, window * 100)));
        }
        windows(&pool, &mut store, B, 40, CHEAP);
        assert_eq!((here(&store, A, 4), here(&store, A, 8)), (4, 4));
        windows(&pool, &mut store, TimelineId(3), 8, DEAR);
        windows(&pool, &mut store, B, 40, CHEAP);
        assert_eq!(here(&store, TimelineId(3), 8), 8);
    }

    #[test]
    fn in_the_end_what_nobody_wants_any_more_goes() {
        let (pool, mut store) = (pool(), Store::new(1 << 20));
        windows(&pool, &mut store, A, 16, DEAR);
        (0..400).for_each(|round| {
            drop(store.put(B, &piece(&pool, round * 100, 100, CHEAP)));
        });
        assert_eq!((here(&store, A, 16), store.has(A)), (0, false));
        assert!(store.stats().bytes <= 1 << 20);
    }

    #[test]
    fn memory_that_others_lack_is_given_back_but_not_what_is_being_sent() {
        let (pool, mut store) = (pool(), Store::new(1 << 20));
        windows(&pool, &mut store, A, 4, CHEAP);
        let sent = store.find(A, 0);
        drop(store.give_back(1 << 20));
        assert_eq!((here(&store, A, 4), store.stats().given_back), (1, 3));
        drop(sent);
        drop(store.give_back(1));
        assert!(!store.has(A) && pool.stats().used_bytes == 0);
    }
}
