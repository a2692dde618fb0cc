//! `kithara prefetch`: sources into a cache, its own or that of a running node.
//!
//! - `here` opens the cache directory, which no node may have open, and fills it;
//! - `there` asks a node and watches;
//! - `bar` (P) is how far it is, for people and for logs.

mod bar;
mod here;
mod there;

use std::{
    io::{self, IsTerminal, Write},
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use bar::{Bar, Look};
use futures_lite::future;
use serde_json::Value;

use super::{ExitCode, Failure, PrefetchArgs, start_log};
use crate::{
    prefetch::spec::RANGES,
    runtime::{self, signals::Signal},
};

/// How often one looks how far it is: as often as an eye does.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Brings the sources into the cache.
///
/// # Errors
/// What keeps them out of it.
pub(super) fn run(args: &PrefetchArgs) -> Result<ExitCode, Failure> {
    let merged = args.load()?;
    start_log(&merged.config.log)?;
    if !args.ranges.is_empty() && (args.sources.len() > 1 || args.ranges.len() > RANGES) {
        let what = format!("--range is of one source, and is given {RANGES} times at most");
        return Err(Failure::new(ExitCode::Usage, what));
    }
    match &args.node {
        Some(node) => there::run(args, node),
        None => here::run(args, &merged.config),
    }
}

/// What one does who watches: asks how far it is, and cancels.
trait Watched {
    /// The document about the prefetch.
    async fn look(&mut self) -> Result<Value, Failure>;

    /// Gives it up; what is there stays.
    async fn cancel(&mut self) -> Result<(), Failure>;
}

/// Watches a prefetch to its end, or until a signal comes.
async fn watch(
    mut prefetch: impl Watched,
    signal: impl Future<Output = Signal>,
) -> Result<ExitCode, Failure> {
    let mut signal: Pin<&mut _> = pin!(signal);
    let mut shown = Shown::new();
    loop {
        let document = prefetch.look().await?;
        let look = Look::of(&document).ok_or_else(|| {
            Failure::new(ExitCode::Runtime, "the answer is no state of a prefetch")
        })?;
        shown.show(&look);
        if look.is_end() {
            return shown.end(&look);
        }
        let tick = async {
            runtime::sleep(LOOK_AGAIN).await;
            false
        };
        let stopped = async {
            while signal.as_mut().await != Signal::Drain {}
            true
        };
        if future::or(stopped, tick).await {
            prefetch.cancel().await?;
            shown.clear();
            return Err(Failure::new(ExitCode::Runtime, "interrupted")
                .hint("what has come is kept; the same command goes on from there"));
        }
    }
}

/// What is on stderr.
struct Shown {
    bar: Bar,
    is_terminal: bool,
    began: Instant,
}

impl Shown {
    fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { bar: Bar::default(), is_terminal, began: runtime::now() }
    }

    fn show(&mut self, look: &Look) {
        let since = self.began.elapsed();
        let text = match self.is_terminal {
            true => Some(format!("\r{}\x1b[K", self.bar.line(look, since))),
            false => self.bar.plain(look, since).map(|line| line + "\n"),
        };
        if let Some(text) = text {
            // Who does not read it misses nothing else.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }

    fn end(&self, look: &Look) -> Result<ExitCode, Failure> {
        self.clear();
        if let Some(failure) = look.failure() {
            return Err(failure);
        }
        let line = bar::summary(look, self.began.elapsed()) + "\n";
        match io::stdout().write_all(line.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(ExitCode::Io, format!("stdout cannot be written: {error}")))
            }
            _ => Ok(ExitCode::Ok),
        }
    }
}
