//! Memory, and the time of the core.
//!
//! Pure: no I/O, no clock, no executor.

use super::family::{Family, by, counter, gauge, one};
use crate::runtime::Queue;

pub(super) const FAMILIES: &[Family] = &[
    gauge("uptime_seconds", "Time since the shard began.", |shard| one(shard.uptime)),
    counter("shard_busy_seconds", "Time of the core that tasks took.", |shard| {
        one(shard.core.busy)
    }),
    counter(
        "shard_awake_seconds",
        "Time that the shard did not sleep: tasks, and its executor's own work.",
        |shard| one(shard.core.awake),
    ),
    counter("queue_busy_seconds", "Time of the core that the tasks of a queue took.", |shard| {
        by(
            "queue",
            Queue::ALL.map(Queue::name).into_iter().zip(shard.core.queues.map(|queue| queue.busy)),
        )
    }),
    counter("queue_turns", "Times that a queue was chosen to run.", |shard| {
        by(
            "queue",
            Queue::ALL.map(Queue::name).into_iter().zip(shard.core.queues.map(|queue| queue.turns)),
        )
    }),
    counter("shard_polls", "Times that a task was polled.", |shard| one(shard.core.polls)),
    gauge("pool_budget_bytes", "Bound of the shard's buffer memory.", |shard| {
        one(shard.memory.budget_bytes)
    }),
    gauge("pool_used_bytes", "Bytes of it on loan or charged.", |shard| {
        one(shard.memory.used_bytes)
    }),
    gauge("pool_idle_bytes", "Of these, what is given up as soon as it is asked for.", |shard| {
        one(shard.memory.idle_bytes)
    }),
    gauge("pool_high_water_bytes", "The most that was ever needed at a time.", |shard| {
        one(shard.memory.high_water_bytes)
    }),
    gauge("pool_allocated_bytes", "Bytes allocated for blocks, on loan or free.", |shard| {
        one(shard.memory.allocated_bytes)
    }),
    counter(
        "pool_loans",
        "Loans of a block: of one that was there, of a new one, or none.",
        |shard| {
            let memory = shard.memory;
            by(
                "result",
                [("hit", memory.hits), ("miss", memory.misses), ("refused", memory.refused)],
            )
        },
    ),
    counter(
        "pool_contentions",
        "Times that another core held the lock of the pool when it was wanted.",
        |shard| one(shard.memory.contended),
    ),
    counter("memory_trims", "Times that memory went back to the system.", |shard| {
        one(shard.stats.trims)
    }),
];
