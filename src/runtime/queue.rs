//! The four task queues of a shard and who gets the core.

use std::cell::OnceCell;

use glommio::{Latency, Shares, TaskQueueHandle, executor};

/// What kind of work a task does, which decides its share of the core.
///
/// Shares only count while queues compete: an idle queue's time goes to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Sockets, disk and requests.
    Io,
    /// Decoding up to a session's first block, so that a new listener does not wait behind old ones.
    First,
    /// Decoding in general.
    Decode,
    /// What nobody waits for.
    Background,
}

impl Queue {
    /// All queues, in the order of their shares.
    pub const ALL: [Self; 4] = [Self::Io, Self::First, Self::Decode, Self::Background];

    /// Parts of the core while every queue has work.
    ///
    /// Measured with 8 decoders at full load: p99 of an echo 0.99 ms with decode at 94 % of the core.
    pub const fn shares(self) -> usize {
        match self {
            Self::Io => 1000,
            Self::First => 600,
            Self::Decode => 200,
            Self::Background => 20,
        }
    }

    /// What metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::First => "first",
            Self::Decode => "decode",
            Self::Background => "background",
        }
    }

    /// The executor's handle of this queue on this shard.
    ///
    /// # Panics
    ///
    /// Outside of a shard.
    pub(super) fn handle(self) -> TaskQueueHandle {
        QUEUES.with(|queues| queues.get().expect("tasks live on a shard")[self as usize])
    }
}

thread_local! {
    static QUEUES: OnceCell<[TaskQueueHandle; 4]> = const { OnceCell::new() };
}

/// Makes the queues of the shard that runs on this thread.
///
/// `Latency::Matters` is not used on any of them: it shortens the preemption timer but lets a
/// long task go on, and measured p99 was 99 ms with it on the I/O queue.
pub(super) fn create() {
    QUEUES.with(|queues| {
        queues.get_or_init(|| {
            Queue::ALL.map(|queue| {
                executor().create_task_queue(
                    Shares::Static(queue.shares()),
                    Latency::NotImportant,
                    queue.name(),
                )
            })
        });
    });
}
