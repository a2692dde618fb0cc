//! What a shard has done with its core.

use std::time::Duration;

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

/// The counters of the shard that runs here.
///
/// # Panics
///
/// Outside of a shard.
pub fn stats() -> Stats {
    let whole = executor().executor_stats();
    Stats {
        queues: Queue::ALL.map(of_queue),
        busy: whole.executor_runtime(),
        awake: whole.total_runtime(),
        polls: whole.tasks_executed(),
    }
}

fn of_queue(queue: Queue) -> QueueStats {
    let stats = executor().task_queue_stats(queue.handle());
    let stats = stats.expect("the queues of a shard are never removed");
    QueueStats { busy: stats.runtime(), turns: stats.queue_selected() }
}
