//! Tasks that wait for something to become true.
//!
//! No wake-up is lost: one poll looks first and then leaves its waker, and nothing else of the
//! shard runs in between. Nothing is polled for: who changes the world calls
//! [`wake`](Waiters::wake). A future that is dropped takes its waker with it.

use std::{
    cell::RefCell,
    future::poll_fn,
    task::{Poll, Waker},
};

use slab::Slab;

/// The tasks that wait, each with what it waits for.
pub(super) struct Waiters<T> {
    tasks: RefCell<Slab<(T, Waker)>>,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { tasks: RefCell::new(Slab::new()) }
    }
}

impl<T> Waiters<T> {
    /// Waits until `look` finds something. It looks at once, and after each wake-up.
    ///
    /// # Cancellation
    /// A dropped future leaves nothing behind.
    pub(super) async fn until<R>(
        &self,
        what: impl Fn() -> T,
        mut look: impl FnMut() -> Option<R>,
    ) -> R {
        let mut place = Place { waiters: self, key: None };
        poll_fn(move |context| match look() {
            Some(found) => Poll::Ready(found),
            None => {
                place.occupy(&what, context.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Wakes the tasks that wait for something of which `concerned` is true.
    pub(super) fn wake(&self, concerned: impl Fn(&T) -> bool) {
        let tasks = self.tasks.borrow();
        tasks.iter().filter(|(_, task)| concerned(&task.0)).for_each(|(_, task)| {
            task.1.wake_by_ref();
        });
    }

    /// Whether some task waits for something of which `concerned` is true.
    pub(super) fn any(&self, concerned: impl Fn(&T) -> bool) -> bool {
        self.tasks.borrow().iter().any(|(_, task)| concerned(&task.0))
    }

    /// How many tasks wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }
}

/// The place of one waiting task; it leaves when this is dropped.
struct Place<'a, T> {
    waiters: &'a Waiters<T>,
    key: Option<usize>,
}

impl<T> Place<'_, T> {
    fn occupy(&mut self, what: impl Fn() -> T, waker: &Waker) {
        let mut tasks = self.waiters.tasks.borrow_mut();
        match self.key {
            Some(key) => tasks[key].1.clone_from(waker),
            None => self.key = Some(tasks.insert((what(), waker.clone()))),
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.waiters.tasks.borrow_mut().remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::storage::turns::Turns;

    #[test]
    fn a_task_wakes_when_what_it_waits_for_is_there_and_leaves_no_place() {
        let (waiters, count) = (Rc::new(Waiters::default()), Rc::new(Cell::new(0)));
        let mut turns = Turns::default();
        let (its_waiters, its_count) = (Rc::clone(&waiters), Rc::clone(&count));
        let task = turns.spawn(async move {
            its_waiters.until(|| 7, || (its_count.get() > 1).then_some(())).await;
        });
        turns.run();
        count.set(2);
        waiters.wake(|what| *what == 8);
        turns.run();
        assert!(!turns.is_done(task) && waiters.len() == 1);
        waiters.wake(|what| *what == 7);
        turns.run();
        assert!(turns.is_done(task) && waiters.len() == 0);
    }

    #[test]
    fn a_cancelled_task_leaves_no_waker() {
        let waiters = Rc::new(Waiters::default());
        let mut turns = Turns::default();
        let its_waiters = Rc::clone(&waiters);
        let task = turns.spawn(async move { its_waiters.until(|| (), || None::<()>).await });
        turns.run();
        assert_eq!(waiters.len(), 1);
        turns.cancel(task);
        assert_eq!(waiters.len(), 0);
    }
}
