//! The body of one answer, piece by piece.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use tracing::debug;

use super::{Error, Watch, flow::Meter, pool::Lease};
use crate::runtime::{self, Alarm};

/// Bytes of one answer as they arrive.
///
/// There is no limit on the whole time, only on silence. What was read to its end gives its
/// connection back to the pool; dropped before, the connection is closed.
pub struct Body {
    /// Gone after the last byte, or the first error.
    source: Option<(Incoming, Lease)>,
    /// Position of the next byte in the complete representation.
    position: u64,
    /// Bytes to come, where they were promised. Invariant: without `source` and without error, 0.
    left: Option<u64>,
    inactivity: Duration,
    /// Rings after so long.
    alarm: Alarm,
    gauge: Gauge,
}

/// Measures one answer by the clock until it is dropped, if anybody wants to know.
#[derive(Default)]
pub(super) struct Gauge(Option<Meter>);

impl Gauge {
    /// For an answer to what is asked now.
    pub(super) fn new(watch: Option<Watch>) -> Self {
        Self(watch.map(|watch| Meter::new(watch, runtime::now())))
    }

    fn begins(&mut self) {
        self.0.iter_mut().for_each(|meter| meter.begins(runtime::now()));
    }

    fn asks(&mut self) {
        self.0.iter_mut().for_each(|meter| meter.asks(runtime::now()));
    }

    fn comes(&mut self, bytes: usize) {
        self.0.iter_mut().for_each(|meter| meter.comes(bytes as u64, runtime::now()));
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|meter| meter.ends(runtime::now()));
    }
}

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        position: u64,
        left: Option<u64>,
        inactivity: Duration,
    ) -> Self {
        let (source, alarm) = (Some((incoming, lease)), Alarm::default());
        let gauge = Gauge::default();
        let mut body = Self { source, position, left, inactivity, alarm, gauge };
        body.finish_if_whole();
        body
    }

    /// The same measured.
    pub(super) fn measured(mut self, mut gauge: Gauge) -> Self {
        gauge.begins();
        self.gauge = gauge;
        self
    }

    /// Position of the next byte in the complete representation.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, at most what fits hyper's buffer (16 KiB); `None` at the true end.
    ///
    /// # Errors
    /// [`Error::Silent`] when nothing came for the limit, [`Error::Cut`] when the body ended before
    /// its length or the connection broke. Nothing follows an error but [`Error::Cut`].
    ///
    /// # Cancellation
    /// No byte is lost; call again.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some((incoming, _)) = &mut self.source else { return self.end() };
        self.gauge.asks();
        match self.alarm.within(self.inactivity, next_bytes(incoming)).await {
            Ok(Ok(Some(bytes))) => Ok(Some(self.take(bytes))),
            Ok(Ok(None)) => {
                self.keep_connection();
                self.left.get_or_insert(0);
                self.end()
            }
            Ok(Err(error)) => {
                debug!(%error, at = self.position, "body broke");
                Err(self.cut())
            }
            Err(_) => {
                self.cut();
                Err(Error::Silent { after: self.inactivity })
            }
        }
    }

    /// Counts `bytes`, less what goes beyond the promised length.
    fn take(&mut self, mut bytes: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
        }
        self.position += bytes.len() as u64;
        self.gauge.comes(bytes.len());
        self.finish_if_whole();
        bytes
    }

    /// Lets go of the connection with the last byte, not with the question for more.
    fn finish_if_whole(&mut self) {
        let at_end = self.source.as_ref().is_some_and(|(incoming, _)| incoming.is_end_stream());
        if at_end {
            self.keep_connection();
            self.left.get_or_insert(0);
        } else if self.left == Some(0) {
            // There is more than was promised, or the end of the chunks: not worth the wait.
            self.source = None;
        }
    }

    fn keep_connection(&mut self) {
        if let Some((_, lease)) = self.source.take() {
            lease.keep();
        }
    }

    fn end(&self) -> Result<Option<Bytes>, Error> {
        if self.left == Some(0) { Ok(None) } else { Err(Error::Cut { at: self.position }) }
    }

    /// Closes the connection.
    fn cut(&mut self) -> Error {
        self.source = None;
        Error::Cut { at: self.position }
    }

    /// Reads a small body that nobody wants, so that its connection can be used again.
    pub(super) async fn discard(mut self) {
        const WORTH_READING: u64 = 16 << 10;
        if self.left.is_some_and(|left| left <= WORTH_READING) {
            while let Ok(Some(_)) = self.chunk().await {}
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("position", &self.position).field("left", &self.left).finish()
    }
}

/// The next bytes of data; trailers are passed over.
async fn next_bytes(incoming: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await;
        match frame.transpose()?.map(http_body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(bytes)) if !bytes.is_empty() => return Ok(Some(bytes)),
            Some(_) => {}
        }
    }
}
