//! Keys that come wrapped, in the hands of whoever built the node.
//!
//! A [`KeyProcessor`] may wait for others, so it is called on the blocking pool of the shard, of whose threads
//! the resolver of names needs one: no more than one key is unwrapped at a time.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::keys::SecretKey;
use crate::{
    hls::{KeyName, KeyProcessor, KeyRefused},
    runtime::{self, Queue, event::Event},
};

/// How long a key is waited for, those before it included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Unwraps keys, where somebody does. A clone is the same.
#[derive(Clone, Default)]
pub(super) struct Unwrapping(Option<Rc<Hands>>);

struct Hands {
    processor: Arc<dyn KeyProcessor>,
    is_busy: Cell<bool>,
    free: Event,
}

/// The right to unwrap a key.
struct Turn(Rc<Hands>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
        self.0.free.notify_all();
    }
}

impl Unwrapping {
    /// By `processor`, if there is one.
    pub(super) fn new(processor: Option<Arc<dyn KeyProcessor>>) -> Self {
        let hands =
            |processor| Rc::new(Hands { processor, is_busy: Cell::new(false), free: Event::new() });
        Self(processor.map(hands))
    }

    /// The formats of the keys that it unwraps.
    pub(super) fn formats(&self) -> &'static [&'static str] {
        self.0.as_ref().map_or(&[], |hands| hands.processor.formats())
    }

    /// Unwraps what came for a key. One that is not waited for any more goes on, for nobody.
    ///
    /// # Errors
    /// There is no key in it, or none in time.
    pub(super) async fn unwrap(
        &self,
        name: &KeyName,
        wrapped: Vec<u8>,
    ) -> Result<SecretKey, KeyRefused> {
        let hands = self.0.as_ref().ok_or_else(|| KeyRefused::new("nobody unwraps it"))?;
        let unwrapped = runtime::timeout(PATIENCE, hands.unwrap(name, wrapped)).await;
        unwrapped.unwrap_or_else(|_| Err(KeyRefused::new("it was not unwrapped in time")))
    }
}

impl Hands {
    async fn unwrap(
        self: &Rc<Self>,
        name: &KeyName,
        wrapped: Vec<u8>,
    ) -> Result<SecretKey, KeyRefused> {
        let turn = self.turn().await;
        let (processor, name) = (Arc::clone(&self.processor), name.clone());
        let (done, is_done) = (Rc::<OnceCell<_>>::default(), Event::new());
        let (telling, waits) = ((Rc::clone(&done), is_done.clone()), is_done.listen());
        let work = async move {
            let unwrapped = runtime::blocking(move || processor.unwrap_key(&name, &wrapped)).await;
            let _ = telling.0.set(unwrapped);
            // The thread is free again.
            drop(turn);
            telling.1.notify_all();
        };
        runtime::spawn(Queue::Io, "unwrap a key", work).detach();
        waits.await;
        let unwrapped = done.get().cloned();
        let panicked = || KeyRefused::new("unwrapping it panicked");
        unwrapped.and_then(Result::ok).unwrap_or_else(|| Err(panicked()))
    }

    async fn turn(self: &Rc<Self>) -> Turn {
        loop {
            let free = self.free.listen();
            if !self.is_busy.replace(true) {
                return Turn(Rc::clone(self));
            }
            free.await;
        }
    }
}
