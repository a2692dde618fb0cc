//! The end of the grace that running responses have when the node drains.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::runtime::event::{Event, Listener};

/// Ends all responses of a shard that still run, each behind the last block that was made for it.
/// A clone is another handle to the same.
#[derive(Clone, Default)]
pub struct Cut {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    is_made: Cell<bool>,
    made: Event,
    responses: Cell<u64>,
}

impl Cut {
    /// From now on responses end.
    pub fn make(&self) {
        self.inner.is_made.set(true);
        self.inner.made.notify_all();
    }

    /// Responses that ended by it.
    pub fn responses(&self) -> u64 {
        self.inner.responses.get()
    }

    /// The cut, as one response sees it.
    pub fn watch(&self) -> Watch {
        Watch { made: self.inner.made.listen(), cut: self.clone() }
    }
}

/// The cut, as one response sees it.
pub struct Watch {
    cut: Cut,
    made: Listener,
}

impl Watch {
    /// Whether the response is to end; who asks is woken when that changes.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.inner.is_made.get() || matches!(Pin::new(&mut self.made).poll(cx), Poll::Ready(()))
    }

    /// The response ended before its end. Counts it, if that was the cut's doing.
    pub fn ended_short(&self) {
        if self.cut.inner.is_made.get() {
            self.cut.inner.responses.set(self.cut.responses() + 1);
        }
    }
}
