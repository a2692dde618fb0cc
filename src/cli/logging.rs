//! The log: events to stderr, for people or for machines.
//!
//! No lock: std's stderr has one, so each event is one `write` of its own to the descriptor. A
//! pipe whose reader has stopped never blocks a shard either: its lines are dropped and counted.

use std::{
    io::{self, IoSlice, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::io::{Errno, ReadWriteFlags};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
};

use super::failure::{ExitCode, Failure};
use crate::config::{self, LogFormat};

/// Lines that were not written since the process began: stderr had no room.
static DROPPED_LINES: AtomicU64 = AtomicU64::new(0);

/// Starts the log of this process. Called once, before the first shard.
///
/// # Errors
/// A level that is none is a bad configuration. A second call is refused.
pub fn start(log: &config::Log) -> Result<(), Failure> {
    // `Targets` rather than `EnvFilter`: the latter keeps its spans behind a lock.
    let filter = levels(&log.level).ok_or_else(|| bad_level(&log.level))?;
    let layer = fmt::layer().with_writer(Stderr);
    let subscriber = registry().with(filter);
    let started = match log.format {
        LogFormat::Text => {
            let layer = layer.with_ansi(wants_colour(io::stderr().is_terminal()));
            tracing::subscriber::set_global_default(subscriber.with(layer))
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true);
            tracing::subscriber::set_global_default(subscriber.with(layer))
        }
    };
    started.map_err(|_| Failure::new(ExitCode::Runtime, "the log was started twice"))
}

/// Lines that were dropped because stderr had no room.
pub fn dropped_lines() -> u64 {
    DROPPED_LINES.load(Ordering::Relaxed)
}

/// Whether to colour: a terminal that can, and nobody who forbids it (<https://no-color.org>).
pub fn wants_colour(is_terminal: bool) -> bool {
    let is_forbidden = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_terminal && !is_forbidden && !is_dumb
}

/// `LEVEL` or `MODULE=LEVEL`, between commas. `Targets` itself takes a misspelt level for a
/// module, and then nothing is logged at all.
fn levels(text: &str) -> Option<Targets> {
    let level = |part: &str| {
        let word = part.split('=').next_back().filter(|word| !word.is_empty())?;
        word.parse::<LevelFilter>().ok()
    };
    text.split(',').map(str::trim).map(level).collect::<Option<Vec<_>>>()?;
    text.parse().ok()
}

fn bad_level(level: &str) -> Failure {
    Failure::new(ExitCode::Config, format!("`log.level` is `{level}`, which is not a level"))
        .hint("write error, warn, info, debug or trace, or a list like info,kithara::net=debug")
}

/// Writes to descriptor 2, one event at a time.
#[derive(Debug, Clone, Copy)]
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for Stderr {
    /// Writes one event, which `tracing-subscriber` hands over whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The handle only names descriptor 2; std's lock is taken by std's own `write` alone.
        match write_now(io::stderr().as_fd(), line) {
            Ok(0) | Err(Errno::AGAIN) => {
                DROPPED_LINES.fetch_add(1, Ordering::Relaxed);
                Ok(line.len())
            }
            Ok(written) => Ok(written),
            Err(error) => Err(error.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes without waiting where the descriptor can say so (pipes, sockets, files). A terminal
/// cannot, and there waiting is what its user asked for by stopping it.
fn write_now(to: BorrowedFd<'_>, line: &[u8]) -> Result<usize, Errno> {
    const CURRENT_POSITION: u64 = u64::MAX;
    let slices = [IoSlice::new(line)];
    match rustix::io::pwritev2(to, &slices, CURRENT_POSITION, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
            rustix::io::write(to, line)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_a_bad_configuration() {
        for level in ["inof", "", "info,kithara::net=laud", "kithara", "info,,debug"] {
            let log = config::Log { level: level.into(), ..config::Log::default() };
            let failure = start(&log).expect_err(level);
            assert_eq!(failure.code, ExitCode::Config, "{level}");
            assert!(failure.what.contains(level), "{failure}");
        }
        for level in ["info", "ERROR", "info,kithara::net=debug", "warn, kithara=trace"] {
            assert!(levels(level).is_some(), "{level}");
        }
    }

    #[test]
    fn a_pipe_whose_reader_stopped_does_not_block() {
        let (_reader, writer) = io::pipe().unwrap();
        let flags = ReadWriteFlags::NOWAIT;
        let tried = rustix::io::pwritev2(&writer, &[IoSlice::new(b"x")], u64::MAX, flags);
        if tried == Err(Errno::OPNOTSUPP) {
            return eprintln!("skipped: this kernel's pipes cannot be written without waiting");
        }
        let line = [b'x'; 4096];
        let full = (0..1024).find_map(|_| write_now(writer.as_fd(), &line).err());
        assert_eq!(full, Some(Errno::AGAIN), "4 MiB do not fit into a pipe");
    }

    #[test]
    fn colour_needs_a_terminal() {
        assert!(!wants_colour(false));
    }
}
