//! A bell that any thread may ring and one shard hears.

use std::{
    io::{self, Write as _},
    os::{
        fd::{FromRawFd, IntoRawFd},
        unix::net::UnixStream,
    },
};

use futures_lite::AsyncReadExt;

/// Rings are heard together, as many as came until the shard listens.
const HEARD_AT_ONCE: usize = 64;

/// The end that is rung. Its bell hears it until it is dropped.
#[derive(Debug)]
pub struct Ringer(UnixStream);

impl Ringer {
    /// Rings, from any thread, and waits for nothing.
    pub fn ring(&self) {
        // With a full socket it rings already; without the other end nobody listens.
        let _ = (&self.0).write(&[0]);
    }
}

/// The end that hears.
#[derive(Debug)]
pub struct Doorbell {
    stream: glommio::net::UnixStream,
}

impl Doorbell {
    /// Waits until it was rung since the last time, without polling. `false`: its ringer is gone.
    ///
    /// # Cancellation
    ///
    /// No ring is lost.
    pub async fn rung(&mut self) -> bool {
        let mut rings = [0; HEARD_AT_ONCE];
        self.stream.read(&mut rings).await.is_ok_and(|count| count > 0)
    }
}

/// A bell of this shard.
///
/// # Errors
///
/// When no descriptor is left.
///
/// # Panics
///
/// Outside of a shard.
pub fn doorbell() -> io::Result<(Ringer, Doorbell)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    // SAFETY: `into_raw_fd` gives up the only ownership of an open descriptor, and glommio's stream
    // closes it when it is dropped.
    let stream = unsafe { glommio::net::UnixStream::from_raw_fd(far.into_raw_fd()) };
    Ok((Ringer(near), Doorbell { stream }))
}
