//! Decoded timelines that are being shared: who listens, who decodes for whom, and what is here.
//!
//! ```text
//! listeners --Want(frame)--> Timeline <--Piece-- Makings (decoders under way)
//!                               |
//!                             Store: pieces in memory, of all timelines
//! ```
//!
//! A listener wants one frame after another. What is here it gets at once. Else a decoder that is
//! close before that frame goes on to it, for all who wait there; and where there is none, the listener
//! begins one. A decoder that nobody wants anything of stands still, and is given up soon. The store
//! knows where listeners are: what one is coming to outlives what all have passed.
//!
//! Nothing here decodes or waits for bytes: the layer above drives what is under way.

mod following;
mod known;
mod store;
#[cfg(test)]
mod tests;
mod who;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    thread,
    time::Duration,
};

use following::{ListenerId, Place};
use known::Understood;
pub use known::{Attempt, Counting, Knowledge, Known, KnownName, Understanding};
use slab::Slab;
use store::Store;
pub use store::StoreStats;

use super::{Error, Grid, Piece};
use crate::{
    bufpool::BufPool,
    decode::{self, Index, Spec},
    runtime::{
        Task,
        event::{Event, Listener},
    },
};

/// Of the budget of a pool, what pieces take at most that nobody is sending: one in so many.
const STORE_SHARE: usize = 4;
/// Windows that a decoder holds on to behind its last, for those who were told of them and have not come
/// yet.
pub const RECENT_WINDOWS: u64 = 1;
/// Timelines that are kept track of before those without listeners and pieces are swept out.
const IDLE_TIMELINES: usize = 64;

/// What decides the frames of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimelineKey {
    /// The version of the source, and the source.
    pub version: String,
    /// Its track.
    pub track: u32,
    /// Frames of the source that are promised.
    pub frames: Option<u64>,
    /// Rate, channels and encoding.
    pub spec: Spec,
}

/// Tells timelines apart for as long as anything of them is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct TimelineId(u64);

/// The timelines of one shard.
pub struct Renditions {
    table: Rc<Table>,
}

struct Table {
    timelines: RefCell<HashMap<TimelineKey, Rc<Timeline>>>,
    store: RefCell<Store>,
    understood: Rc<RefCell<Understood>>,
    /// What timelines and listeners were told apart by last.
    last: Cell<u64>,
    /// Pieces that were made, and decoders that were begun.
    made: Cell<u64>,
    /// Who listens to any timeline, and decoders of any.
    listeners: Cell<usize>,
    makings: Cell<usize>,
    /// Timelines that the last sweep left.
    swept: Cell<usize>,
}

impl Renditions {
    /// None yet. Pieces that nobody is sending are `pool`'s to call in.
    pub fn new(pool: &BufPool) -> Self {
        let limit_bytes = pool.stats().budget_bytes / STORE_SHARE;
        let table = Rc::new(Table {
            timelines: RefCell::default(),
            store: RefCell::new(Store::new(limit_bytes)),
            understood: Rc::default(),
            last: Cell::new(0),
            made: Cell::new(0),
            listeners: Cell::new(0),
            makings: Cell::new(0),
            swept: Cell::new(0),
        });
        let of_pool = Rc::downgrade(&table);
        pool.on_shortage(move |bytes| {
            if let Some(table) = of_pool.upgrade() {
                let gone = table.store.borrow_mut().give_back(bytes);
                // A block that comes home wakes who waits for it: out of the borrow.
                drop(gone);
            }
        });
        Self { table }
    }

    /// Listens to a timeline, whether others do or not. It has `total` frames, where that is known.
    pub fn listen(&self, key: TimelineKey, total: Option<u64>) -> Listening {
        self.sweep();
        let table = &self.table;
        let mut timelines = table.timelines.borrow_mut();
        if total.is_some() && !timelines.contains_key(&key) {
            let open = played_to_its_end(&mut timelines, &key, total);
            timelines.extend(open.map(|timeline| (key.clone(), timeline)));
        }
        let timeline = timelines.entry(key).or_insert_with_key(|key| {
            Rc::new(Timeline::new(TimelineId(table.another()), Grid::of(&key.spec), table))
        });
        timeline.listeners.set(timeline.listeners.get() + 1);
        table.listeners.set(table.listeners.get() + 1);
        let (id, place) = (ListenerId(table.another()), Cell::new(None));
        Listening { timeline: Rc::clone(timeline), id, place }
    }

    /// What is known of a track of a version of a source, or whose turn it is to find it out.
    pub fn knowledge(&self, name: &KnownName) -> Knowledge {
        Understood::knowledge(&self.table.understood, name)
    }

    /// What is known of a source by now.
    pub fn known(&self, name: &KnownName) -> Option<Rc<Known>> {
        self.table.understood.borrow_mut().get(name)
    }

    /// More was found out about where the packets of a source lie. False if it was known.
    pub fn learn_index(&self, name: &KnownName, index: &Rc<Index>) -> bool {
        self.table.understood.borrow_mut().learn_index(name, index)
    }

    /// The tasks of the decoders that nobody listens to any more, or fewer than there are, but for as many
    /// of those that made something last: to be cancelled.
    pub fn left_alone(&self, but_for: usize) -> Vec<Task<()>> {
        // Of more decoders than listeners some are alone: they are looked for when they are too many, for
        // there may be thousands that are not.
        let surely = self.table.makings.get().saturating_sub(self.table.listeners.get());
        if but_for > 0 && surely <= but_for {
            return Vec::new();
        }
        let alone = self.table.alone(but_for).into_iter();
        alone.filter_map(|(timeline, making)| timeline.task(making)).collect()
    }

    /// Counters of what is kept.
    pub fn stats(&self) -> StoreStats {
        self.table.store.borrow().stats()
    }

    /// Decoders that are there now, also those that stand still.
    pub fn decoders(&self) -> usize {
        self.table.makings.get()
    }

    /// Forgets timelines of which nothing is left, each time there are twice as many as last time.
    fn sweep(&self) {
        let mut timelines = self.table.timelines.borrow_mut();
        if timelines.len() < IDLE_TIMELINES + 2 * self.table.swept.get() {
            return;
        }
        let store = self.table.store.borrow();
        timelines.retain(|_, timeline| timeline.is_live() || store.has(timeline.id));
        self.table.swept.set(timelines.len());
    }
}

/// Takes out what was played to its end before anybody knew how long it is. Where it turned out to have as
/// many frames as are promised now, it is the same frame by frame.
fn played_to_its_end(
    timelines: &mut HashMap<TimelineKey, Rc<Timeline>>,
    key: &TimelineKey,
    total: Option<u64>,
) -> Option<Rc<Timeline>> {
    let open = TimelineKey { frames: None, ..key.clone() };
    timelines.get(&open).filter(|timeline| timeline.end.get() == total)?;
    timelines.remove(&open)
}

impl Table {
    fn another(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    fn count_made(&self) -> u64 {
        self.made.set(self.made.get() + 1);
        self.made.get()
    }

    /// The decoders without listeners, but for as many of those that made something last.
    fn alone(&self, but_for: usize) -> Vec<(Rc<Timeline>, usize)> {
        let timelines: Vec<_> = self.timelines.borrow().values().cloned().collect();
        let mut alone: Vec<_> = timelines
            .into_iter()
            .flat_map(|timeline| {
                let alone = timeline.alone().into_iter();
                alone.map(move |(making, made_at)| (made_at, (Rc::clone(&timeline), making)))
            })
            .collect();
        alone.sort_by_key(|(made_at, _)| std::cmp::Reverse(*made_at));
        alone.into_iter().skip(but_for).map(|(_, alone)| alone).collect()
    }
}

/// A timeline and its table know each other.
impl Drop for Renditions {
    fn drop(&mut self) {
        self.table.timelines.borrow_mut().clear();
    }
}

/// One timeline, and all who have to do with it.
struct Timeline {
    id: TimelineId,
    grid: Grid,
    table: Rc<Table>,
    listeners: Cell<usize>,
    wants: RefCell<Slab<Wanted>>,
    makings: RefCell<Slab<Under>>,
    /// Counts changes of what is wanted of whom.
    changes: Cell<u64>,
    /// Something is wanted that was not, or no more; or a listener left: for decoders.
    called: Event,
    /// There is more than there was, or one decoder less: for listeners.
    made: Event,
    /// Where it ends, once a decoder came there.
    end: Cell<Option<u64>>,
}

/// A frame that a listener waits for.
struct Wanted {
    frame: u64,
    lead_us: i64,
    is_first: bool,
    failed: Option<Error>,
}

/// A decoder under way.
struct Under {
    /// The next frame that it makes.
    next: u64,
    recent: VecDeque<Piece>,
    /// How many pieces all had made when it made its last.
    made_at: u64,
    task: Option<Task<()>>,
}

impl Timeline {
    fn new(id: TimelineId, grid: Grid, table: &Rc<Table>) -> Self {
        Self {
            id,
            grid,
            table: Rc::clone(table),
            listeners: Cell::new(0),
            wants: RefCell::default(),
            makings: RefCell::default(),
            changes: Cell::new(0),
            called: Event::new(),
            made: Event::new(),
            end: Cell::new(None),
        }
    }

    fn is_live(&self) -> bool {
        self.listeners.get() > 0 || !self.makings.borrow().is_empty()
    }

    /// Who waits for whom has to be counted anew.
    fn changes(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// The piece that holds `frame`, if it is here.
    fn find(&self, frame: u64) -> Option<Piece> {
        let kept = self.table.store.borrow_mut().find(self.id, frame);
        kept.or_else(|| self.recent(frame))
    }

    /// Whether it is, for who does not want it now.
    fn holds(&self, frame: u64) -> bool {
        self.table.store.borrow().holds(self.id, frame) || self.recent(frame).is_some()
    }

    /// The piece that holds `frame`, if a decoder has just made it.
    fn recent(&self, frame: u64) -> Option<Piece> {
        let makings = self.makings.borrow();
        let mut recent = makings.iter().flat_map(|(_, under)| &under.recent);
        recent.find(|piece| piece.range().contains(&frame)).cloned()
    }

    /// Which decoder will come to `frame`.
    fn serves(&self, frame: u64) -> Option<usize> {
        let makings = self.makings.borrow();
        let positions = makings.iter().map(|(making, under)| (making, under.next));
        who::serves(positions, frame, self.grid.window_frames())
    }

    /// The task of a decoder. Once it is cancelled, it takes its own out.
    fn task(&self, making: usize) -> Option<Task<()>> {
        self.makings.borrow_mut()[making].task.take()
    }

    /// The decoders without listeners, each with the time of its last piece: who wants a frame has, or
    /// begins, another.
    fn alone(&self) -> Vec<(usize, u64)> {
        // Who has been told of its frame and not yet come for it pauses.
        let wants = self.wants.borrow();
        let wants = wants.iter().map(|(_, wanted)| wanted.frame);
        let wants: Vec<_> = wants.filter(|frame| !self.holds(*frame)).collect();
        let busy: Vec<_> = wants.iter().filter_map(|frame| self.serves(*frame)).collect();
        let makings = self.makings.borrow();
        let idle = makings.iter().filter(|(making, _)| !busy.contains(making));
        let idle = idle.map(|(making, under)| (making, under.made_at));
        who::alone(idle.collect(), self.listeners.get().saturating_sub(wants.len()))
    }
}

/// Somebody listens to a timeline.
pub struct Listening {
    timeline: Rc<Timeline>,
    id: ListenerId,
    /// Where it is, once it wanted something.
    place: Cell<Option<Place>>,
}

impl Listening {
    /// Its cuts.
    pub fn grid(&self) -> Grid {
        self.timeline.grid
    }

    /// Where it turned out to end.
    pub fn end(&self) -> Option<u64> {
        self.timeline.end.get()
    }

    /// Whether a decoder is coming to `frame`.
    pub fn has_maker(&self, frame: u64) -> bool {
        self.timeline.serves(frame).is_some()
    }

    /// Wants `frame`; who has so much lead, and whether it is what a session waits for to begin.
    pub fn want(&self, frame: u64, lead_us: i64, is_first: bool) -> Want {
        let wanted = Wanted { frame, lead_us, is_first, failed: None };
        self.moves(frame);
        let key = self.timeline.wants.borrow_mut().insert(wanted);
        self.timeline.changes();
        self.timeline.called.notify_all();
        Want { timeline: Rc::clone(&self.timeline), key, frame, waits: Cell::new(false) }
    }

    fn moves(&self, frame: u64) {
        let to = Place { timeline: self.timeline.id, frame, listener: self.id };
        self.timeline.table.store.borrow_mut().moves(self.place.replace(Some(to)), to);
    }

    /// Begins to make the window that holds `frame`, and what follows.
    pub fn begin(&self, frame: u64) -> Making {
        let next = self.timeline.grid.window_of(frame);
        let made_at = self.timeline.table.count_made();
        let under = Under { next, recent: VecDeque::new(), made_at, task: None };
        let key = self.timeline.makings.borrow_mut().insert(under);
        let of_all = &self.timeline.table.makings;
        of_all.set(of_all.get() + 1);
        self.timeline.changes();
        let (from, timeline) = (next, Rc::clone(&self.timeline));
        Making { timeline, key, from, seen: Cell::new(None) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let of_all = &self.timeline.table.listeners;
        of_all.set(of_all.get() - 1);
        if let Some(place) = self.place.get() {
            self.timeline.table.store.borrow_mut().leaves(place);
        }
        self.timeline.listeners.set(self.timeline.listeners.get() - 1);
        self.timeline.changes();
        self.timeline.called.notify_all();
    }
}

/// How it stands with a frame that is wanted.
#[derive(Debug)]
pub enum Look {
    /// Here it is.
    Piece(Piece),
    /// The timeline ends before it.
    End,
    /// It cannot be made.
    Failed(Error),
    /// A decoder is coming to it.
    Coming,
    /// Nobody makes it.
    Nobody,
}

/// A frame that is wanted, for as long as this lives.
pub struct Want {
    timeline: Rc<Timeline>,
    key: usize,
    frame: u64,
    /// It was not here when it was first looked for.
    waits: Cell<bool>,
}

impl Want {
    /// Ready once there is more after this call.
    pub fn more(&self) -> Listener {
        self.timeline.made.listen()
    }

    /// How it stands.
    pub fn look(&self) -> Look {
        let timeline = &self.timeline;
        if let Some(piece) = timeline.find(self.frame) {
            // What others waited for took this one nothing.
            let cost = if self.waits.get() { piece.cost } else { Duration::ZERO };
            return Look::Piece(Piece { cost, ..piece });
        }
        self.waits.set(true);
        if timeline.end.get().is_some_and(|end| self.frame >= end) {
            return Look::End;
        }
        if let Some(error) = timeline.wants.borrow_mut()[self.key].failed.take() {
            return Look::Failed(error);
        }
        timeline.serves(self.frame).map_or(Look::Nobody, |_| Look::Coming)
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        self.timeline.wants.borrow_mut().remove(self.key);
        self.timeline.changes();
        self.timeline.called.notify_all();
    }
}

/// What a decoder is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Frames ahead of it.
    Wanted {
        /// The smallest lead of those who wait.
        lead_us: i64,
        /// One of them has had nothing yet.
        is_first: bool,
    },
    /// Nothing just now; somebody listens.
    Idle,
    /// Nothing, and nobody listens.
    Alone,
}

/// The place of a decoder under way.
pub struct Seat {
    timeline: Rc<Timeline>,
    key: usize,
}

impl Seat {
    /// The task that drives it: it is cancelled when nobody needs it any more.
    pub fn driven_by(&self, task: Task<()>) {
        let before = self.timeline.makings.borrow_mut()[self.key].task.replace(task);
        // That one has handed over, and ends by itself.
        before.into_iter().for_each(Task::detach);
    }
}

/// A decoder under way. Where this is dropped without an end, those who wait begin another.
pub struct Making {
    timeline: Rc<Timeline>,
    key: usize,
    from: u64,
    /// What the call was after so many changes.
    seen: Cell<Option<(u64, Call)>>,
}

impl Making {
    /// The frame at which it begins.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Where its task is kept.
    pub fn seat(&self) -> Seat {
        Seat { timeline: Rc::clone(&self.timeline), key: self.key }
    }

    /// Who waits for it.
    pub fn call(&self) -> Call {
        let changes = self.timeline.changes.get();
        if let Some((_, call)) = self.seen.get().filter(|(seen, _)| *seen == changes) {
            return call;
        }
        let call = self.count();
        self.seen.set(Some((changes, call)));
        call
    }

    fn count(&self) -> Call {
        let wants = self.timeline.wants.borrow();
        let mine = wants.iter().map(|(_, wanted)| wanted);
        let mine = mine.filter(|wanted| self.timeline.serves(wanted.frame) == Some(self.key));
        let call = mine.fold(None, |call: Option<(i64, bool)>, wanted| {
            let (lead_us, is_first) = call.unwrap_or((i64::MAX, false));
            Some((lead_us.min(wanted.lead_us), is_first || wanted.is_first))
        });
        match call {
            Some((lead_us, is_first)) => Call::Wanted { lead_us, is_first },
            None if self.timeline.listeners.get() > 0 => Call::Idle,
            None => Call::Alone,
        }
    }

    /// Ready once somebody wants something, or no more, after this call.
    pub fn called(&self) -> Listener {
        self.timeline.called.listen()
    }

    /// A piece is made.
    pub fn put(&self, piece: Piece) {
        let timeline = &self.timeline;
        let gone = timeline.table.store.borrow_mut().put(timeline.id, &piece);
        let behind = piece.first.saturating_sub(RECENT_WINDOWS * timeline.grid.window_frames());
        let mut passed = Vec::new();
        {
            let mut makings = timeline.makings.borrow_mut();
            let under = &mut makings[self.key];
            under.next = piece.range().end;
            under.made_at = timeline.table.count_made();
            while under.recent.front().is_some_and(|old| old.first < behind) {
                passed.extend(under.recent.pop_front());
            }
            under.recent.push_back(piece);
        }
        drop((gone, passed));
        timeline.changes();
        timeline.made.notify_all();
        // What it was wanted for, another may be wanted for now.
        timeline.called.notify_all();
    }

    /// What was made from a frame on may be otherwise at another time.
    pub fn doubt(&self, from: u64) -> Doubt {
        Doubt { timeline: Rc::clone(&self.timeline), from }
    }

    /// It came to the end of the timeline.
    pub fn end(self, frame: u64) {
        self.timeline.end.set(Some(frame));
    }

    /// It cannot go on: those who wait for it hear why.
    pub fn fail(self, error: &Error) {
        self.tell(error);
    }

    fn tell(&self, error: &Error) {
        let mine: Vec<_> = {
            let wants = self.timeline.wants.borrow();
            let mine = wants
                .iter()
                .filter(|(_, wanted)| self.timeline.serves(wanted.frame) == Some(self.key));
            mine.map(|(key, _)| key).collect()
        };
        let mut wants = self.timeline.wants.borrow_mut();
        mine.into_iter().for_each(|key| wants[key].failed = Some(error.clone()));
    }
}

/// Frames that may be others when they are made again.
pub struct Doubt {
    timeline: Rc<Timeline>,
    from: u64,
}

impl Doubt {
    /// Has them made again for who wants them from now on.
    pub fn forget(self) {
        let table = &self.timeline.table;
        let gone = table.store.borrow_mut().forget(self.timeline.id, self.from);
        drop(gone);
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if thread::panicking() {
            // Another would panic as well, and one after that.
            self.tell(&decode::Error::Panicked.into());
        }
        let of_all = &self.timeline.table.makings;
        of_all.set(of_all.get() - 1);
        let under = self.timeline.makings.borrow_mut().remove(self.key);
        // The task that drops this is that one, and it has nothing left to do.
        under.task.into_iter().for_each(Task::detach);
        self.timeline.changes();
        self.timeline.made.notify_all();
        self.timeline.called.notify_all();
    }
}
