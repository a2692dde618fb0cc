//! Open while the shard takes new work; counts what is inside.

use std::{cell::Cell, rc::Rc};

use crate::runtime::event::Event;

/// The way into a shard. A clone is another handle to the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    closed: Cell<bool>,
    inside: Cell<usize>,
    left: Event,
}

impl Gate {
    /// Goes in, unless the gate is closed. What goes in counts until the pass is dropped.
    pub fn enter(&self) -> Option<Pass> {
        if self.inner.closed.get() {
            return None;
        }
        self.inner.inside.set(self.inner.inside.get() + 1);
        Some(Pass { gate: self.clone() })
    }

    /// Lets nothing in any more.
    pub fn close(&self) {
        self.inner.closed.set(true);
    }

    /// Whether new work is refused.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.get()
    }

    /// How much is inside.
    pub fn inside(&self) -> usize {
        self.inner.inside.get()
    }

    /// Waits until nothing is inside.
    pub async fn empty(&self) {
        loop {
            let left = self.inner.left.listen();
            if self.inside() == 0 {
                return;
            }
            left.await;
        }
    }
}

/// Something that is inside.
#[derive(Debug)]
pub struct Pass {
    gate: Gate,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let inner = &self.gate.inner;
        inner.inside.set(inner.inside.get() - 1);
        inner.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nothing_in_and_everything_out() {
        let gate = Gate::default();
        let pass = gate.enter().unwrap();
        gate.close();
        assert!(gate.enter().is_none());
        assert_eq!(gate.inside(), 1);
        drop(pass);
        assert_eq!(gate.inside(), 0);
    }
}
