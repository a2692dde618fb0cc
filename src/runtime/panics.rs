//! Panics kept where they happened: caught, logged once, turned into a value.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

/// A task or a blocking call panicked. It was logged where it happened; the caller only ends its
/// own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` panicked")]
pub struct Panicked {
    /// Which task, as named by who started it.
    pub name: &'static str,
}

thread_local! {
    /// How many [`contain`] are on this thread's stack.
    static CONTAINED: Cell<usize> = const { Cell::new(0) };
    /// Where the panic that is now unwinding began, as `file:line: message`.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic in it is logged with `name` and becomes [`Panicked`].
///
/// No backtrace is taken: symbolising one costs a shard 128 ms and 57 MB. The place and the
/// message are in the log.
pub(super) fn contain<T>(name: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    CONTAINED.set(CONTAINED.get() + 1);
    // What the closure borrowed is dropped or never polled again by every caller in this folder.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(CONTAINED.get() - 1);
    result.map_err(|payload| {
        let place = PLACE.take();
        tracing::error!(task = name, "panicked at {place}");
        discard(payload);
        Panicked { name }
    })
}

/// Drops what a panic carried. A payload whose own drop panics is forgotten instead.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

/// Makes contained panics silent on stderr; all others are reported as before. Once per process.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CONTAINED.get() > 0 {
                PLACE.set(place(info));
            } else {
                previous(info);
            }
        }));
    });
}

fn place(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("(no message)");
    info.location().map_or_else(|| message.to_owned(), |at| format!("{at}: {message}"))
}
