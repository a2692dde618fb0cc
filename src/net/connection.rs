//! One connection with an origin server, driven by a task of its own.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
    rt::{Read, ReadBufCursor, Write},
};
use rustls::ClientConfig;
use tracing::debug;

use super::{Error, Options, tls::TlsStream};
use crate::runtime::{self, Queue, SocketOptions, Task, TcpStream};

/// hyper panics at less.
const HYPER_LEAST_BUFFER: usize = 8 << 10;

/// An open connection. Dropping it cancels its task, which closes the socket.
pub(super) struct Connection {
    sender: SendRequest<Outgoing>,
    peer: IpAddr,
    _driver: Task<()>,
}

impl Connection {
    /// Connects to the first of `addresses` that answers, all within `options.connect`.
    ///
    /// The addresses have been checked; none but these is connected to.
    pub(super) async fn open(
        addresses: &[SocketAddr],
        tls: Option<(Arc<ClientConfig>, &str)>,
        options: &Options,
    ) -> Result<Self, Error> {
        let opened = runtime::timeout(options.connect, async {
            let socket = connect(addresses, options).await?;
            let peer = socket.peer_addr().map_err(|error| Error::Connection(error.kind()))?;
            let wire = match tls {
                Some((config, host)) => {
                    Wire::Tls(Box::new(TlsStream::connect(socket, config, host).await?))
                }
                None => Wire::Plain(socket),
            };
            Self::start(wire, peer.ip(), options).await
        });
        opened.await.unwrap_or(Err(Error::Connection(io::ErrorKind::TimedOut)))
    }

    async fn start(wire: Wire, peer: IpAddr, options: &Options) -> Result<Self, Error> {
        let (sender, connection) = Builder::new()
            .max_buf_size(options.header_bytes.max(HYPER_LEAST_BUFFER))
            .handshake(wire)
            .await
            .map_err(|error| failure(&error))?;
        let driver = runtime::spawn(Queue::Io, "origin connection", async move {
            // Whoever waits for an answer or a body gets the error too.
            if let Err(error) = connection.await {
                debug!(%peer, %error, "connection to origin ended");
            }
        });
        Ok(Self { sender, peer, _driver: driver })
    }

    /// The address it leads to.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether the server or we have closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer. The caller limits the time.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Error> {
        // After an answer's last byte its task needs one more turn before it takes a request.
        self.sender.ready().await.map_err(|error| failure(&error))?;
        self.sender.send_request(request).await.map_err(|error| failure(&error))
    }
}

/// Tries the addresses in order. Each may use half of what is left of the time, so that a dead
/// first address (mostly IPv6 on a machine that has no way out for it) leaves some for the next.
async fn connect(addresses: &[SocketAddr], options: &Options) -> Result<TcpStream, Error> {
    let deadline = runtime::now() + options.connect;
    let sizes = SocketOptions {
        receive_buffer_bytes: Some(options.receive_buffer),
        ..SocketOptions::default()
    };
    let mut last = Error::Dns;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(runtime::now());
        let limit = if index + 1 < addresses.len() { left / 2 } else { left };
        match TcpStream::connect_with(*address, limit.max(Duration::from_millis(1)), sizes).await {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                debug!(%address, %error, "no connection");
                last = Error::Connection(error.kind());
            }
        }
    }
    Err(last)
}

/// What hyper's error means to a caller.
fn failure(error: &hyper::Error) -> Error {
    debug!(%error, "exchange with origin failed");
    if error.is_parse_too_large() {
        return Error::Malformed("head too large");
    }
    if error.is_parse() {
        return Error::Malformed("not HTTP/1.1");
    }
    let cause = std::error::Error::source(error);
    let kind = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    Error::Connection(kind.unwrap_or(io::ErrorKind::ConnectionAborted))
}

/// Plain or sealed bytes.
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// Calls a method of whichever stream it is.
macro_rules! either {
    ($wire:expr, $stream:ident => $call:expr) => {
        match $wire.get_mut() {
            Wire::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, cursor))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}

/// The body of a request, known as a whole; a GET has none. Saying how long it is keeps hyper from
/// announcing chunks, and of a GET any length.
#[derive(Debug, Default)]
pub(super) struct Outgoing(pub(super) Option<Bytes>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
