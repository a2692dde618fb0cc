//! Signals of the process, told to every shard.

use std::{
    io::{self, Write as _},
    os::{
        fd::{FromRawFd, IntoRawFd},
        unix::net::UnixStream,
    },
    process,
    sync::Arc,
    thread,
};

use futures_lite::AsyncReadExt;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals as Incoming,
};

use super::{Error, ShardId};

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The first SIGTERM or SIGINT: finish what runs, take nothing new. A second one ends the
    /// process at once, without asking any shard.
    Drain,
    /// SIGHUP: read again what can be.
    Reload,
}

impl Signal {
    const fn byte(self) -> u8 {
        match self {
            Self::Drain => b'd',
            Self::Reload => b'r',
        }
    }
}

/// The process' signals, before the shards start. Clones belong together.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Where each shard reads; one byte per signal.
    shards: Arc<[UnixStream]>,
}

impl Signals {
    /// Starts the thread that waits for signals. Once per process.
    ///
    /// # Errors
    ///
    /// When a thread or a socket cannot be had.
    pub fn install(shards: usize) -> Result<Self, Error> {
        let incoming = Incoming::new([SIGTERM, SIGINT, SIGHUP]).map_err(Error::System)?;
        let pairs = (0..shards).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>();
        let (near, far): (Vec<_>, Vec<_>) = pairs.map_err(Error::System)?.into_iter().unzip();
        near.iter().try_for_each(|end| end.set_nonblocking(true)).map_err(Error::System)?;
        // A blocked thread costs nothing, and a handler may do next to nothing itself.
        thread::Builder::new()
            .name("kithara-signals".to_owned())
            .spawn(move || watch(incoming, &near))
            .map_err(Error::System)?;
        Ok(Self { shards: far.into() })
    }

    /// The signals as `shard` hears them, on that shard.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    ///
    /// # Panics
    ///
    /// Outside of a shard, or if there is none of that number.
    pub fn on(&self, shard: ShardId) -> io::Result<Listening> {
        let end = self.shards[usize::from(shard.0)].try_clone()?;
        // SAFETY: `into_raw_fd` gives up the only ownership of an open descriptor, and glommio's
        // stream closes it when it is dropped.
        let stream = unsafe { glommio::net::UnixStream::from_raw_fd(end.into_raw_fd()) };
        Ok(Listening { stream })
    }
}

/// Passes signals on until the process ends.
fn watch(mut incoming: Incoming, shards: &[UnixStream]) {
    let mut draining = false;
    for number in incoming.forever() {
        let signal = if number == SIGHUP { Signal::Reload } else { Signal::Drain };
        if signal == Signal::Drain && std::mem::replace(&mut draining, true) {
            process::exit(128 + number);
        }
        for mut shard in shards {
            // A shard that has ended does not hear, and one with a full socket has heard enough.
            let _ = shard.write(&[signal.byte()]);
        }
    }
}

/// One shard's view of the signals.
#[derive(Debug)]
pub struct Listening {
    stream: glommio::net::UnixStream,
}

impl Listening {
    /// Waits for the next signal, without polling.
    ///
    /// # Cancellation
    ///
    /// No signal is lost.
    pub async fn next(&mut self) -> Signal {
        let mut byte = [0];
        match self.stream.read(&mut byte).await {
            Ok(1) if byte[0] == Signal::Reload.byte() => Signal::Reload,
            // The thread lives as long as the process; without it, ending is all that is left.
            _ => Signal::Drain,
        }
    }
}
