//! A small whole value, replaced by generation: a playlist, metadata, a seek index.
//!
//! Readers see one value or the next, never a mixture. It lives in memory.

use std::{cell::RefCell, rc::Rc};

use super::{Generation, waiters::Waiters};

/// The newest value there is, if any, and those who wait for a newer one.
pub struct AtomicResource<T> {
    current: RefCell<Option<(Generation, Rc<T>)>>,
    waiting: Waiters<()>,
}

impl<T> Default for AtomicResource<T> {
    fn default() -> Self {
        Self { current: RefCell::new(None), waiting: Waiters::default() }
    }
}

impl<T> AtomicResource<T> {
    /// The newest value and its generation.
    pub fn get(&self) -> Option<(Generation, Rc<T>)> {
        self.current.borrow().clone()
    }

    /// Puts `value` in place of an older one; false, and nothing done, where there is one as new.
    pub fn replace(&self, generation: Generation, value: T) -> bool {
        if self.current.borrow().as_ref().is_some_and(|(current, _)| *current >= generation) {
            return false;
        }
        *self.current.borrow_mut() = Some((generation, Rc::new(value)));
        self.waiting.wake(|()| true);
        true
    }

    /// Waits for a value newer than `generation`; `None` takes any.
    ///
    /// # Cancellation
    /// A dropped future leaves no trace.
    pub async fn newer_than(&self, generation: Option<Generation>) -> (Generation, Rc<T>) {
        let newer = || self.get().filter(|(current, _)| Some(*current) > generation);
        self.waiting.until(|| (), newer).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::storage::turns::Turns;

    #[test]
    fn an_older_value_never_replaces_a_newer_one() {
        let resource = AtomicResource::default();
        assert!(resource.get().is_none());
        assert!(resource.replace(Generation(2), "second"));
        assert!(!resource.replace(Generation(1), "first"));
        assert!(!resource.replace(Generation(2), "again"));
        assert_eq!(resource.get(), Some((Generation(2), Rc::new("second"))));
    }

    #[test]
    fn a_reader_waits_for_the_next_generation() {
        let (resource, seen) = (Rc::new(AtomicResource::default()), Rc::new(Cell::new(0)));
        let (its_resource, its_seen) = (Rc::clone(&resource), Rc::clone(&seen));
        let mut turns = Turns::default();
        turns.spawn(async move {
            its_seen.set(*its_resource.newer_than(None).await.1);
            its_seen.set(*its_resource.newer_than(Some(Generation(1))).await.1);
        });
        resource.replace(Generation(1), 10);
        turns.run();
        assert_eq!(seen.get(), 10);
        resource.replace(Generation(2), 20);
        turns.run();
        assert_eq!(seen.get(), 20);
    }
}
