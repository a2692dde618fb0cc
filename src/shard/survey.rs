//! What every shard has done, asked from one of them.

use std::{cell::RefCell, time::Duration};

use super::{Listed, Mail, Promised, Shard, Stats};
use crate::{
    assets, bufpool,
    pcm::StoreStats,
    runtime::{self, ShardId, event::Event},
    storage,
};

/// How long the others are waited for: they answer between two tasks, unless they are stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one shard has done, and what it holds.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which one.
    pub id: ShardId,
    /// Its counters.
    pub stats: Stats,
    /// Since it began.
    pub uptime: Duration,
    /// Connections now, the operator's among them.
    pub connections_now: usize,
    /// Sessions now, those that it forwards from other shards among them.
    pub sessions_now: usize,
    /// The oldest of those that it serves itself.
    pub sessions: Vec<Listed>,
    /// How many more it serves.
    pub sessions_left_off: usize,
    /// Its buffer memory.
    pub memory: bufpool::Stats,
    /// What is promised of its core.
    pub decode: Promised,
    /// Decoders that are there, also those that stand still.
    pub decoders: usize,
    /// Its decoded audio in memory.
    pub pcm: StoreStats,
    /// Its cache, by resource.
    pub assets: assets::Stats,
    /// Resources of it that somebody reads or fills now.
    pub assets_open: usize,
    /// Its cache, by chunk.
    pub storage: storage::Stats,
    /// Its volumes.
    pub volumes: Vec<storage::State>,
    /// Bytes of its volumes in use.
    pub used_bytes: u64,
    /// Those of them that an object holds.
    pub stored_bytes: u64,
    /// Bytes that they can still take.
    pub free_bytes: u64,
    /// Its core.
    pub core: runtime::Stats,
}

/// What the other shards said, and who has yet to answer.
pub(super) struct Survey {
    /// By shard.
    peers: RefCell<Vec<Peer>>,
    answered: Event,
}

#[derive(Clone, Default)]
struct Peer {
    /// Has a look under way: there is never a second one, so there is room for its answer.
    is_asked: bool,
    last: Option<Report>,
}

impl Survey {
    pub(super) fn new(shards: usize) -> Self {
        Self { peers: RefCell::new(vec![Peer::default(); shards]), answered: Event::new() }
    }

    pub(super) fn take_in(&self, report: Report) {
        let peer = usize::from(report.id.0);
        self.peers.borrow_mut()[peer] = Peer { is_asked: false, last: Some(report) };
        self.answered.notify_all();
    }

    /// Notes that `peer` is to be asked, unless it was and has not answered.
    fn asks(&self, peer: ShardId) -> bool {
        let peer = &mut self.peers.borrow_mut()[usize::from(peer.0)];
        peer.last = None;
        !std::mem::replace(&mut peer.is_asked, true)
    }

    async fn all_answered(&self) {
        loop {
            let answered = self.answered.listen();
            if self.peers.borrow().iter().all(|peer| !peer.is_asked) {
                return;
            }
            answered.await;
        }
    }
}

impl Shard {
    /// What this shard has done.
    pub fn report(&self) -> Report {
        let (sessions, sessions_left_off) = self.register.list();
        let volumes = self.files.store().volumes();
        Report {
            id: self.id,
            stats: self.stats.borrow().clone(),
            uptime: runtime::now().saturating_duration_since(self.began),
            connections_now: self.connections.inside(),
            sessions_now: self.gate.inside(),
            sessions,
            sessions_left_off,
            memory: self.pool.stats(),
            decode: self.shares.promised(),
            decoders: self.renditions.decoders(),
            pcm: self.renditions.stats(),
            assets: self.files.store().stats(),
            assets_open: self.files.store().len(),
            storage: volumes.stats(),
            volumes: volumes.states().into_iter().map(|(_, state)| state).collect(),
            used_bytes: volumes.used_bytes(),
            stored_bytes: volumes.stored_bytes(),
            free_bytes: volumes.free_bytes(),
            core: runtime::stats(),
        }
    }

    /// What all shards have done, by their number; `None` of one that does not answer.
    pub async fn survey(&self) -> Vec<Option<Report>> {
        let others = (0..self.route.shards).map(ShardId).filter(|id| *id != self.id);
        for other in others.filter(|other| self.survey.asks(*other)) {
            // Refused only by a shard that has ended, which is seen by its silence.
            let _ = self.mailbox.try_send(other, Mail::Look);
        }
        let _ = runtime::timeout(PATIENCE, self.survey.all_answered()).await;
        let mut reports: Vec<_> =
            self.survey.peers.borrow().iter().map(|peer| peer.last.clone()).collect();
        reports[usize::from(self.id.0)] = Some(self.report());
        reports
    }
}
