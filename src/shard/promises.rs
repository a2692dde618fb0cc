//! What the sessions of a shard may come to hold. It is promised at entry, so that a session that
//! was let in does not lack memory because of those that came after it.
//!
//! Pure: no I/O, no clock, no executor.

use std::{cell::Cell, rc::Rc};

use super::{Ahead, Job, encoding::AHEAD_BYTES};
use crate::{
    bufpool::{Class, Exhausted},
    pcm,
    runtime::event::{Event, Listener},
};

/// Chunks of its source that a session has in memory: the one it reads, and the one that is being
/// fetched for it.
pub(super) const INPUT_BYTES: usize = 2 * Class::Large.bytes();

/// Windows of PCM that a decoder may hold: the one that it makes, the last, and the one before that.
const MADE_BYTES: usize = (pcm::RECENT_WINDOWS as usize + 2) * Class::Large.bytes();

/// What a decoder may hold, until it ends. One with large tables holds more, which is known once its
/// source is understood.
pub(super) const DECODER_BYTES: usize = pcm::STREAM_BYTES + INPUT_BYTES + MADE_BYTES;

/// What an encoder may hold: a block as samples, and as bytes before and behind it; and of what it made
/// the chunk that it fills, one that is on its way to it, and those that it is ahead of who reads them.
pub(super) const ENCODING_BYTES: usize =
    (256 << 10) + 2 * Class::Large.bytes() + AHEAD_BYTES as usize;

/// What a session may hold for its work, until it ends. What decodes for it is promised apart, since
/// others may share it.
pub(super) fn work_bytes(job: &Job) -> usize {
    match job {
        Job::Object { .. } | Job::Prefetch(Ahead { decode: false, .. }) => INPUT_BYTES,
        Job::Prefetch(_) => DECODER_BYTES,
        Job::Pcm(_) | Job::Probe(_) | Job::Waveform(_) => 0,
    }
}

/// What a session with so many credits may hold of its answer, until the client has taken it.
pub(super) fn answer_bytes(job: &Job, credits: usize) -> usize {
    match job {
        Job::Probe(_) | Job::Waveform(_) | Job::Prefetch(_) => 0,
        Job::Pcm(_) | Job::Object { .. } => credits * Class::Large.bytes(),
    }
}

/// The account of one shard.
#[derive(Debug)]
pub(super) struct Promises {
    limit_bytes: usize,
    account: Rc<Account>,
}

#[derive(Debug, Default)]
struct Account {
    promised_bytes: Cell<usize>,
    more: Event,
}

impl Promises {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, account: Rc::default() }
    }

    /// Promises `bytes` more.
    ///
    /// # Errors
    /// [`Exhausted`] when that could not be kept.
    pub(super) fn give(&self, bytes: usize) -> Result<Promise, Exhausted> {
        let promised = self.account.promised_bytes.get().saturating_add(bytes);
        if promised > self.limit_bytes {
            return Err(Exhausted);
        }
        self.account.promised_bytes.set(promised);
        Ok(Promise { account: Rc::clone(&self.account), bytes })
    }

    /// Ready once more can be promised than before this call.
    pub(super) fn more(&self) -> Listener {
        self.account.more.listen()
    }
}

/// Bytes that its holder may use. Dropping it gives them up.
#[derive(Debug)]
pub(super) struct Promise {
    account: Rc<Account>,
    bytes: usize,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let promised = &self.account.promised_bytes;
        promised.set(promised.get() - self.bytes);
        self.account.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_promised_than_there_is_and_what_is_given_up_is_there_again() {
        let promises = Promises::new(100);
        let (first, _second) = (promises.give(60).unwrap(), promises.give(40).unwrap());
        assert!(promises.give(1).is_err() && promises.give(usize::MAX).is_err());
        drop(first);
        assert!(promises.give(61).is_err());
        promises.give(60).unwrap();
    }
}
