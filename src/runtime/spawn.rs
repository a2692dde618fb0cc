//! Tasks: futures of a shard that run on their own and cannot take the shard down.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake},
};

use pin_project_lite::pin_project;
use slab::Slab;

use super::{
    Queue,
    clock::yield_now,
    panics::{Panicked, contain},
    rescue::{Call, Counted},
};

thread_local! {
    /// The tasks of this shard whose futures are not dropped yet.
    static LIVING: RefCell<Slab<Arc<Call>>> = const { RefCell::new(Slab::new()) };
    /// The main future of this shard has returned.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// Starts `future` on this shard, in `queue`. `name` is for logs.
///
/// A panic in it, also one in its destructor, is contained, logged once, and seen by who awaits
/// the task.
///
/// # Panics
///
/// Outside of a shard.
pub fn spawn<T: 'static>(
    queue: Queue,
    name: &'static str,
    future: impl Future<Output = T> + 'static,
) -> Task<T> {
    let living = Living(LIVING.with_borrow(Slab::vacant_key));
    let contained = Counted::new(Contained { name, future: Some(future), living });
    let call = contained.call();
    LIVING.with_borrow_mut(|living| living.insert(Arc::clone(&call)));
    let task = glommio::spawn_local_into(contained, queue.handle());
    Task { call, inner: Some(task.expect("the queues of a shard are never removed")) }
}

/// Ends every task of this shard, whose main future has returned. glommio would drop the future of
/// one that lives on when its executor is gone, and there a socket, a timer or another task that the
/// future holds panics.
pub(super) async fn end_all() {
    ENDS.set(true);
    while LIVING.with_borrow(|living| !living.is_empty()) {
        let calls: Vec<_> =
            LIVING.with_borrow(|living| living.iter().map(|at| at.1.clone()).collect());
        calls.iter().for_each(Wake::wake_by_ref);
        yield_now().await;
    }
}

/// A running task. Dropping it cancels the future, which is then dropped on its own shard.
///
/// # Cancellation
///
/// The future is dropped when its queue comes to it next, not at once: [`cancel`](Self::cancel)
/// waits for that.
#[must_use = "a task that is dropped is cancelled; detach it to let it run"]
#[derive(Debug)]
pub struct Task<T> {
    /// glommio lets a cancelled task run once more, to drop it, without calling its waker.
    call: Arc<Call>,
    /// Until it is detached or cancelled.
    inner: Option<glommio::Task<Result<T, Panicked>>>,
}

impl<T: 'static> Task<T> {
    /// Lets the task run to its end with nobody waiting.
    pub fn detach(mut self) {
        self.inner.take().into_iter().for_each(|task| drop(task.detach()));
    }

    /// Cancels the task and waits until its future is dropped. `Some` if it had ended before.
    ///
    /// What still lives when the main future of its shard returns is cancelled then, also if it was
    /// detached.
    pub async fn cancel(mut self) -> Option<Result<T, Panicked>> {
        self.call.wake_by_ref();
        self.inner.take()?.cancel().await
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.call.wake_by_ref();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.inner.as_mut().expect("only its end takes it away");
        Pin::new(inner).poll(context)
    }
}

pin_project! {
    /// A future whose panics end it and nothing else.
    struct Contained<F> {
        name: &'static str,
        // Gone once it has ended, so that its drop, too, happens inside `contain`.
        #[pin]
        future: Option<F>,
        // Behind the future: it is living until that is dropped.
        living: Living,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                // Logged by `contain`; nobody is left to tell.
                let _ = contain(this.name, || this.future.set(None));
            }
        }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let name = *this.name;
        let polled = match ENDS.get() {
            // Who could see that it is none is ending too.
            true => Err(Panicked { name }),
            false => contain(name, || match this.future.as_mut().as_pin_mut() {
                Some(future) => future.poll(context),
                None => unreachable!("a task is not polled after its end"),
            }),
        };
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panicked) => Err(panicked),
        };
        // A panic in the future's own destructor takes the place of its result.
        let dropped = contain(name, || this.future.set(None));
        Poll::Ready(dropped.and(ended))
    }
}

/// A place among the living tasks.
struct Living(usize);

impl Drop for Living {
    fn drop(&mut self) {
        let call = LIVING.with_borrow_mut(|living| living.try_remove(self.0));
        // Not while the tasks are borrowed: it may be the last waker of its task.
        drop(call);
    }
}
