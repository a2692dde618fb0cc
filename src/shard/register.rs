//! The sessions that a shard serves, as the operator sees them, and the commands to them.
//!
//! A session is in the register from its beginning to its end, so the register is as bounded as
//! sessions are: by the connections of this core and by the slots of every other shard.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    str::FromStr,
    time::{Duration, Instant, SystemTime},
};

use slab::Slab;

use super::{End, Hearing, Job, What, feed::Feed, notice::shown};
use crate::runtime::{
    self, ShardId,
    channel::{self, Refused},
};

/// Commands that one session has not yet heard; beyond that they are refused.
const COMMANDS_PER_SESSION: usize = 16;

/// Sessions of one shard that a list names; the others it counts.
const LISTED_SESSIONS: usize = 1024;

/// A session of the node: the shard that serves it, and its place in that shard's register. Never
/// used again while the node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    /// The shard that owns the source.
    pub shard: ShardId,
    /// Used again by later sessions.
    pub slot: u32,
    /// How many sessions began on the shard up to this one, itself included.
    pub generation: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard.0, self.slot, self.generation)
    }
}

/// The text is no session's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSessionId;

impl FromStr for SessionId {
    type Err = NoSessionId;

    /// Takes what `Display` writes and nothing else.
    fn from_str(text: &str) -> Result<Self, NoSessionId> {
        let mut numbers = text.splitn(3, '-').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten().ok_or(NoSessionId);
        let shard = ShardId(next()?.try_into().map_err(|_| NoSessionId)?);
        let slot = next()?.try_into().map_err(|_| NoSessionId)?;
        let id = Self { shard, slot, generation: next()? };
        if id.to_string() == text { Ok(id) } else { Err(NoSessionId) }
    }
}

/// What the operator may tell a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// End, short.
    Cancel,
}

/// Why a command does not reach its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// It has ended, or there never was one of this name.
    #[error("there is no such session")]
    NoSession,
    /// As many commands as there is room for have not been heard yet.
    #[error("too many commands are under way")]
    Full,
    /// Its shard does not answer.
    #[error("the shard does not answer")]
    Silent,
}

/// One session, at the moment of the look.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name.
    pub id: SessionId,
    /// The shard of its client.
    pub front: ShardId,
    /// Of what; without the query of the source, and cut where it is long.
    pub source: String,
    /// What is made of it: `pcm`, `object`, `probe` or `prefetch`.
    pub what: &'static str,
    /// The format of the PCM, as it was asked for.
    pub format: Option<&'static str>,
    /// When it began.
    pub started: SystemTime,
    /// Bytes of the body that were handed to its client's connection; of a prefetch, bytes that are
    /// there.
    pub bytes: u64,
    /// How often what it plays did not come in time, of one that plays at pace.
    pub stalls: u32,
    /// Of a presentation: what it plays.
    pub hearing: Option<Hearing>,
    /// And why in that variant, where it is chosen on the way.
    pub why: Option<String>,
}

/// The sessions of one shard. A clone is another handle to the same register.
#[derive(Clone)]
pub(super) struct Register {
    inner: Rc<Inner>,
}

struct Inner {
    shard: ShardId,
    /// Generation of the last session that began.
    last: Cell<u64>,
    entries: RefCell<Slab<Entry>>,
}

struct Entry {
    session: Listed,
    bytes: Rc<Cell<u64>>,
    stalls: Rc<Cell<u32>>,
    hearing: Rc<Cell<Option<Hearing>>>,
    why: Rc<RefCell<Option<String>>>,
    commands: channel::Sender<Command>,
}

impl Register {
    pub(super) fn new(shard: ShardId) -> Self {
        let (last, entries) = (Cell::new(0), RefCell::default());
        Self { inner: Rc::new(Inner { shard, last, entries }) }
    }

    /// Enters a session that begins for a client of `front`. It stands in the register until the
    /// first of what comes back is dropped; the second is what it is told.
    pub(super) fn enter(
        &self,
        job: &Job,
        front: ShardId,
        feed: &Feed,
    ) -> (Registered, channel::Receiver<Command>) {
        let generation = self.inner.last.get() + 1;
        self.inner.last.set(generation);
        let slot = self.inner.entries.borrow().vacant_key();
        let slot = u32::try_from(slot).expect("sessions are bounded by connections");
        let id = SessionId { shard: self.inner.shard, slot, generation };
        let source = shown(&job.source().to_string());
        let (what, format) = (job.name(), job.format().map(|format| format.name()));
        feed.tell(|| What::SessionBegun { id, source: source.clone(), job: what });
        let started = runtime::wall_clock();
        let (bytes, stalls, hearing, why) = Default::default();
        let session =
            Listed { id, front, source, what, format, started, bytes, stalls, hearing, why };
        let (commands, heard) = channel::bounded(COMMANDS_PER_SESSION);
        let (bytes, stalls, hearing, why) = <(Rc<_>, Rc<_>, Rc<_>, Rc<_>)>::default();
        let entry = Entry {
            session,
            bytes: Rc::clone(&bytes),
            stalls: Rc::clone(&stalls),
            hearing: Rc::clone(&hearing),
            why: Rc::clone(&why),
            commands,
        };
        let taken = self.inner.entries.borrow_mut().insert(entry);
        assert_eq!(taken, slot as usize, "nothing was entered in between");
        let (register, feed, since) = (self.clone(), feed.clone(), runtime::now());
        let end = Cell::new(End::Left);
        (Registered { register, feed, id, bytes, stalls, hearing, why, since, end }, heard)
    }

    /// The oldest sessions, and how many more there are.
    pub(super) fn list(&self) -> (Vec<Listed>, usize) {
        let entries = self.inner.entries.borrow();
        let mut by_age: Vec<_> = entries.iter().map(|(_, entry)| entry).collect();
        by_age.sort_unstable_by_key(|entry| entry.session.id.generation);
        let listed = by_age.iter().take(LISTED_SESSIONS).map(|entry| Listed {
            bytes: entry.bytes.get(),
            stalls: entry.stalls.get(),
            hearing: entry.hearing.get(),
            why: entry.why.borrow().clone(),
            ..entry.session.clone()
        });
        (listed.collect(), entries.len().saturating_sub(LISTED_SESSIONS))
    }

    /// Puts a command into the session's queue.
    pub(super) fn command(&self, id: SessionId, command: Command) -> Result<(), Unheard> {
        let entries = self.inner.entries.borrow();
        let entry = entries.get(id.slot as usize).filter(|entry| entry.session.id == id);
        let commands = entry.map(|entry| entry.commands.clone());
        drop(entries);
        let commands = commands.ok_or(Unheard::NoSession)?;
        commands.try_send(command).map_err(|refused| match refused {
            Refused::Full(_) => Unheard::Full,
            Refused::Closed(_) => Unheard::NoSession,
        })
    }
}

/// A session's place in the register.
pub(super) struct Registered {
    register: Register,
    feed: Feed,
    id: SessionId,
    bytes: Rc<Cell<u64>>,
    stalls: Rc<Cell<u32>>,
    hearing: Rc<Cell<Option<Hearing>>>,
    why: Rc<RefCell<Option<String>>>,
    since: Instant,
    end: Cell<End>,
}

impl Registered {
    /// How it ends, as far as that is known by now.
    pub(super) fn ends(&self, end: End) {
        self.end.set(end);
    }

    /// This is what it plays of a presentation, and why in that variant.
    pub(super) fn hears(&self, hearing: Hearing, why: impl FnOnce() -> Option<String>) {
        let before = self.hearing.replace(Some(hearing));
        let place = |hearing: Hearing| (hearing.variant, hearing.segment);
        if before.map(place) != Some(place(hearing)) {
            let id = self.id;
            self.why.replace(why());
            self.feed.tell(|| What::SegmentBegun { id, hearing });
        }
    }

    /// It had nothing left to play for so long.
    pub(super) fn stalled(&self, lasted: Duration) {
        self.stalls.set(self.stalls.get() + 1);
        let id = self.id;
        self.feed.tell(|| What::Stalled { id, lasted });
    }

    /// So much is done of what has no body.
    pub(super) fn is_at(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// So much more of the body was handed over.
    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let entry = self.register.inner.entries.borrow_mut().remove(self.id.slot as usize);
        debug_assert_eq!(entry.session.id, self.id);
        // Its queue may wake a task: outside of the borrow.
        drop(entry);
        let (id, end, bytes) = (self.id, self.end.get(), self.bytes.get());
        self.feed.tell(|| What::SessionEnded { id, end, bytes, lasted: self.since.elapsed() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pcm::SourceName, runtime::mailbox::Mesh};

    fn probe(path: &str) -> Job {
        Job::Probe(SourceName { name: "demo".into(), path: path.into(), is_file: false })
    }

    /// On a shard of its own, since what happens is told to other shards.
    fn on_a_shard(test: fn(Register, Feed)) {
        let mesh = Mesh::new(1, 1);
        let options = runtime::Options { shards: 1, blocking_threads: 1, oversubscribe: true };
        runtime::run(options, move |id| {
            let mesh = mesh.clone();
            async move { test(Register::new(id), Feed::new(Rc::new(mesh.join(id).await), 1)) }
        })
        .unwrap();
    }

    #[test]
    fn a_session_stands_there_from_its_beginning_to_its_end() {
        on_a_shard(|register, feed| {
            let (first, _commands) = register.enter(&probe("a?token=1"), ShardId(1), &feed);
            let (second, _commands) = register.enter(&probe("b"), ShardId(0), &feed);
            first.sent(5);
            first.sent(6);
            let (listed, left_off) = register.list();
            let shown: Vec<_> =
                listed.iter().map(|s| (s.id.to_string(), &*s.source, s.bytes)).collect();
            let (a, b) = (("0-0-1".to_owned(), "demo:a", 11), ("0-1-2".to_owned(), "demo:b", 0));
            assert_eq!(shown, [a, b]);
            assert_eq!((listed[0].front, left_off), (ShardId(1), 0));
            drop(first);
            assert_eq!(register.list().0.len(), 1);
            // What stands in the slot of the first is the youngest all the same.
            let (third, _commands) = register.enter(&probe("c"), ShardId(0), &feed);
            let ids: Vec<_> = register.list().0.iter().map(|s| s.id.to_string()).collect();
            assert_eq!(ids, ["0-1-2", "0-0-3"]);
            drop((second, third));
            assert!(register.list().0.is_empty());
        });
    }

    #[test]
    fn the_seventeenth_unheard_command_is_refused() {
        on_a_shard(|register, feed| {
            let (session, mut commands) = register.enter(&probe("a"), ShardId(0), &feed);
            let cancel = |slot, generation| {
                let id = SessionId { shard: ShardId(0), slot, generation };
                register.command(id, Command::Cancel)
            };
            for _ in 0..16 {
                assert_eq!(cancel(0, 1), Ok(()));
            }
            assert_eq!(cancel(0, 1), Err(Unheard::Full));
            assert_eq!(commands.try_recv(), Some(Command::Cancel));
            assert_eq!(cancel(0, 1), Ok(()));
            assert_eq!(cancel(1, 1), Err(Unheard::NoSession));
            drop(session);
            assert_eq!(cancel(0, 1), Err(Unheard::NoSession));
        });
    }

    #[test]
    fn a_command_to_one_that_ended_does_not_reach_the_next_in_its_slot() {
        on_a_shard(|register, feed| {
            drop(register.enter(&probe("a"), ShardId(0), &feed));
            let (_session, mut commands) = register.enter(&probe("b"), ShardId(0), &feed);
            let id = |generation| SessionId { shard: ShardId(0), slot: 0, generation };
            assert_eq!(register.command(id(1), Command::Cancel), Err(Unheard::NoSession));
            assert_eq!(commands.try_recv(), None);
            assert_eq!(register.command(id(2), Command::Cancel), Ok(()));
        });
    }

    #[test]
    fn a_list_names_so_many_and_counts_the_others() {
        on_a_shard(|register, feed| {
            let all: Vec<_> = (0..LISTED_SESSIONS + 2)
                .map(|_| register.enter(&probe("a"), ShardId(0), &feed))
                .collect();
            let (listed, left_off) = register.list();
            assert_eq!((listed.len(), left_off), (LISTED_SESSIONS, 2));
            drop(all);
        });
    }

    #[test]
    fn a_name_is_read_back_as_it_is_written() {
        let id = SessionId { shard: ShardId(2), slot: 3, generation: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "2",
            "2-3",
            "2-3-",
            "-3-17",
            "2--17",
            "02-3-17",
            "2-03-17",
            "2-3-+17",
            "2-3-17-1",
            "70000-3-17",
            "2-4294967296-17",
            "a-b-c",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(NoSessionId), "{text}");
        }
    }
}
