//! What a shard has done with its core.

use std::{cell::Cell, time::Duration};

use glommio::executor;

use super::Queue;

/// Counters of one queue since the shard started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Time its tasks ran.
    pub busy: Duration,
    /// How often it was chosen to run.
    pub turns: u64,
}

/// Counters of one shard since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// By queue, in the order of [`Queue::ALL`].
    pub queues: [QueueStats; 4],
    /// Time any task ran, with the shard's main future.
    pub busy: Duration,
    /// Time since the start without sleeping: tasks and the executor's own work.
    pub awake: Duration,
    /// How often tasks were polled.
    pub polls: u64,
}

thread_local! {
    /// What was counted up to the last look.
    static SO_FAR: Cell<Stats> = Cell::default();
}

/// The counters of the shard that runs here.
///
/// # Panics
///
/// Outside of a shard.
pub fn stats() -> Stats {
    // glommio 0.9 counts from its last answer on.
    let (new, queues) = (executor().executor_stats(), Queue::ALL.map(since_last_look));
    SO_FAR.with(|so_far| {
        let mut stats = so_far.get();
        for (queue, (busy, turns)) in stats.queues.iter_mut().zip(queues) {
            queue.busy += busy;
            queue.turns += turns;
        }
        stats.busy += new.executor_runtime();
        stats.awake += new.total_runtime();
        stats.polls += new.tasks_executed();
        so_far.set(stats);
        stats
    })
}

/// Time that the tasks of a queue ran, and how often it was chosen.
fn since_last_look(queue: Queue) -> (Duration, u64) {
    let stats = executor().task_queue_stats(queue.handle());
    let stats = stats.expect("the queues of a shard are never removed");
    (stats.runtime(), stats.queue_selected())
}
