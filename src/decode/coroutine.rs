//! Stacks for decoders, and the coroutine that runs on one.
//!
//! A decoder pulls its bytes synchronously. On a stack of its own it can be left in the middle of a
//! read and entered again when the bytes are there, so no thread waits with it.
//!
//! A stack is reserved address space with a guard page below; only touched pages cost memory. When
//! it comes back its pages are offered to the kernel (`MADV_FREE`) and the reservation is kept.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use corosensei::{
    Coroutine as Raw, CoroutineResult, Yielder,
    stack::{DefaultStack, Stack, StackPointer},
};
use rustix::mm::{Advice, madvise};

use super::{Error, spares::Spares};
use crate::bufpool::BufPool;

/// What a shard gives to its decoders.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Address space reserved per stack, in bytes. The deepest decoder touches 68 KiB in release
    /// builds and 211 KiB unoptimised; the rest of the default is head room that costs nothing.
    pub stack_bytes: usize,
    /// Unused stacks kept for reuse; more are unmapped.
    pub keep: usize,
    /// What the tables of a container may take of memory; more is refused before it is read.
    pub sample_table_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { stack_bytes: 1 << 20, keep: 64, sample_table_bytes: 16 << 20 }
    }
}

/// The stacks of one shard, and what else its decoders leave for those that come after them. A clone is
/// another handle to the same pool.
#[derive(Clone)]
pub struct Stacks {
    inner: Rc<Inner>,
}

struct Inner {
    options: Options,
    free: RefCell<Vec<DefaultStack>>,
    spares: Spares,
}

impl Stacks {
    /// An empty pool: stacks are mapped when they are first asked for.
    pub fn new(options: Options) -> Self {
        let (free, spares) = (RefCell::default(), Spares::default());
        Self { inner: Rc::new(Inner { options, free, spares }) }
    }

    /// Keeps decoders that are costly to make, in what `pool` has to spare. Without this none is kept.
    pub fn keep_spares(&self, pool: &BufPool) {
        self.inner.spares.keep_in(pool);
    }

    pub(super) fn spares(&self) -> &Spares {
        &self.inner.spares
    }

    pub(super) fn options(&self) -> Options {
        self.inner.options
    }

    /// Unused stacks in the pool.
    pub fn free(&self) -> usize {
        self.inner.free.borrow().len()
    }

    fn take(&self) -> Result<Lent, Error> {
        let free = self.inner.free.borrow_mut().pop();
        let stack = match free {
            Some(stack) => stack,
            None => DefaultStack::new(self.inner.options.stack_bytes).map_err(|error| {
                tracing::warn!(%error, "no stack for a decoder");
                Error::NoStack
            })?,
        };
        Ok(Lent { stack: Some(stack), home: Rc::clone(&self.inner) })
    }
}

/// A stack on loan; dropping it gives it back.
struct Lent {
    /// Present until the drop.
    stack: Option<DefaultStack>,
    home: Rc<Inner>,
}

impl Lent {
    fn stack(&self) -> &DefaultStack {
        self.stack.as_ref().expect("a lent stack is there until it is dropped")
    }
}

// SAFETY: all answers are those of the `DefaultStack` inside, which has a guard page and does not
// move its memory.
unsafe impl Stack for Lent {
    fn base(&self) -> StackPointer {
        self.stack().base()
    }

    fn limit(&self) -> StackPointer {
        self.stack().limit()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(stack) = self.stack.take() else { return };
        let mut free = self.home.free.borrow_mut();
        if free.len() < self.home.options.keep {
            offer_pages(&stack);
            free.push(stack);
        }
    }
}

/// The lowest address of `stack` above its guard page.
fn floor(stack: &DefaultStack) -> usize {
    stack.limit().get() + rustix::param::page_size()
}

/// Lets the kernel take the pages of an unused stack when it needs memory.
fn offer_pages(stack: &DefaultStack) {
    let start = floor(stack);
    let length = stack.base().get() - start;
    // SAFETY: the range is the writable part of a mapping that `stack` owns, and no coroutine runs
    // on it: its `Lent` is being dropped. Whoever runs on it next reads nothing it did not write.
    // An error only means that the pages stay.
    let _ = unsafe { madvise(start as *mut _, length, Advice::LinuxFree) };
}

/// The part of a coroutine's stack that lies below whoever runs on it.
#[derive(Clone, Copy)]
pub(super) struct Below {
    /// The lowest address that may be written.
    floor: usize,
}

/// What a call to the kernel may need of the stack below its caller.
const CALL_BYTES: usize = 16 << 10;

impl Below {
    /// Gives back the pages below that were touched once and may never be again: decoders are made
    /// on the stack, of up to 100 KiB, before they move to the heap.
    #[inline(never)]
    pub(super) fn release(self) {
        let here = 0_u8;
        let page_bytes = rustix::param::page_size();
        let end = ((&raw const here) as usize).saturating_sub(CALL_BYTES) / page_bytes * page_bytes;
        let Some(length) = end.checked_sub(self.floor).filter(|length| *length > 0) else { return };
        // SAFETY: the range is of the stack that this code runs on, and ends below all frames that
        // are on it. Who comes there later reads nothing it did not write. An error only means that
        // the pages stay.
        let _ = unsafe { madvise(self.floor as *mut _, length, Advice::LinuxDontNeed) };
    }
}

/// The inside's handle to leave the coroutine: gives a `Y` and gets an `I` when entered again.
pub(super) type Leave<I, Y> = Yielder<I, Y>;

/// Code that can be left in the middle and entered again. Dropping it unwinds what is suspended.
pub(super) struct Coroutine<I: 'static, Y: 'static> {
    raw: Raw<I, Y, Result<(), Error>, Lent>,
}

/// How an entered coroutine came back.
pub(super) enum Back<Y> {
    /// It left in the middle.
    Left(Y),
    /// It ended, by itself or by a panic.
    Ended(Result<(), Error>),
}

impl<I, Y> Coroutine<I, Y> {
    /// A coroutine that has not begun. `body` gets the handle to leave and what lies below it.
    ///
    /// # Errors
    /// [`Error::NoStack`].
    pub(super) fn new(
        stacks: &Stacks,
        body: impl FnOnce(&Leave<I, Y>, Below) -> Result<(), Error> + 'static,
    ) -> Result<Self, Error> {
        let stack = stacks.take()?;
        let below = Below { floor: floor(stack.stack()) };
        Ok(Self { raw: Raw::with_stack(stack, move |leave, _| body(leave, below)) })
    }

    /// Enters the coroutine until it leaves or ends. One that has ended says so again.
    pub(super) fn enter(&mut self, input: I) -> Back<Y> {
        if self.raw.done() {
            return Back::Ended(Ok(()));
        }
        // A panic inside has unwound the coroutine's stack before it comes out here, so nothing
        // half-done stays reachable.
        match catch_unwind(AssertUnwindSafe(|| self.raw.resume(input))) {
            Ok(CoroutineResult::Yield(left)) => Back::Left(left),
            Ok(CoroutineResult::Return(result)) => Back::Ended(result),
            Err(_) => {
                tracing::error!("a decoder panicked; its track is given up");
                Back::Ended(Err(Error::Panicked))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Witness(Rc<Cell<u32>>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_suspended_coroutine_unwinds_when_dropped_and_its_stack_is_used_again() {
        let stacks = Stacks::new(Options::default());
        let dropped = Rc::new(Cell::new(0));
        for round in 1..=3 {
            let witness = Witness(Rc::clone(&dropped));
            let mut coroutine = Coroutine::new(&stacks, move |leave: &Leave<(), u32>, _| {
                let _alive = witness;
                leave.suspend(7);
                Ok(())
            })
            .unwrap();
            assert!(matches!(coroutine.enter(()), Back::Left(7)));
            assert_eq!(stacks.free(), 0);
            drop(coroutine);
            assert_eq!((dropped.get(), stacks.free()), (round, 1));
        }
    }

    #[test]
    fn a_panic_inside_is_an_error_outside_and_the_stack_comes_home() {
        let stacks = Stacks::new(Options::default());
        let mut coroutine = Coroutine::new(&stacks, |leave: &Leave<(), ()>, _| {
            leave.suspend(());
            panic!("on purpose");
        })
        .unwrap();
        assert!(matches!(coroutine.enter(()), Back::Left(())));
        assert!(matches!(coroutine.enter(()), Back::Ended(Err(Error::Panicked))));
        assert!(matches!(coroutine.enter(()), Back::Ended(Ok(()))));
        drop(coroutine);
        assert_eq!(stacks.free(), 1);
    }

    /// Touches `bytes` of the stack below.
    #[inline(never)]
    fn dig(bytes: usize) -> u8 {
        let mut hole = [0_u8; 4096];
        std::hint::black_box(&mut hole);
        if bytes > hole.len() { dig(bytes - hole.len()) ^ hole[7] } else { hole[9] }
    }

    /// Pages of the stack above `floor` that are in memory, in bytes.
    fn touched(below: Below) -> usize {
        use std::os::unix::fs::FileExt;
        let page_bytes = rustix::param::page_size();
        let mut entries = vec![0; (256 << 10) / page_bytes * 8];
        let pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
        pagemap.read_exact_at(&mut entries, (below.floor / page_bytes * 8) as u64).unwrap();
        entries.as_chunks::<8>().0.iter().filter(|entry| entry[7] >> 7 == 1).count() * page_bytes
    }

    #[test]
    fn what_was_touched_below_is_given_back_and_what_stands_above_stays() {
        let stacks = Stacks::new(Options { stack_bytes: 256 << 10, keep: 0, ..Options::default() });
        let seen = Rc::new(Cell::new((0, 0, 0)));
        let told = Rc::clone(&seen);
        let mut coroutine = Coroutine::new(&stacks, move |_: &Leave<(), ()>, below| {
            let above = std::hint::black_box([7_u8; 1000]);
            dig(128 << 10);
            let before = touched(below);
            below.release();
            told.set((before, touched(below), above.iter().map(|x| usize::from(*x)).sum()));
            Ok(())
        })
        .unwrap();
        assert!(matches!(coroutine.enter(()), Back::Ended(Ok(()))));
        let (before, after, above) = seen.get();
        assert!(before >= 128 << 10 && after <= 48 << 10, "{before} bytes, then {after}");
        assert_eq!(above, 7000);
    }

    #[test]
    fn no_more_stacks_are_kept_than_asked_for() {
        let stacks = Stacks::new(Options { keep: 1, ..Options::default() });
        let lent = (stacks.take().unwrap(), stacks.take().unwrap());
        drop(lent);
        assert_eq!(stacks.free(), 1);
    }
}
