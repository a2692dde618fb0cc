//! TLS to origins: rustls over a connection of the runtime, without threads or hidden buffers.
//!
//! rustls is a state machine over byte buffers. This file carries bytes between it and the socket
//! whenever hyper reads or writes; it holds at most one record read (16 KiB) and
//! [`BUFFER_BYTES`] of what is to be written.

use std::{
    future::poll_fn,
    io::{self, BufRead, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use tracing::debug;

use super::Error;
use crate::runtime::TcpStream;

/// Plain and sealed bytes that may wait for the socket, each. Requests are far smaller.
const BUFFER_BYTES: usize = 64 << 10;

/// The certificates that are trusted. Read once per process and shared by its shards.
#[derive(Debug, Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
}

impl Roots {
    /// Mozilla's roots and those of this machine (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
    ///
    /// Both, since a container often has no store of its own, and a company adds its own to the
    /// machine's. Reads files: not on a shard.
    pub fn load() -> Self {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            debug!(%error, "certificate store not read");
        }
        store.add_parsable_certificates(native.certs);
        Self { store: Arc::new(store) }
    }

    /// Nothing but these certificates (DER).
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn only(certificates: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store.add(certificate.into())?;
        }
        Ok(Self { store: Arc::new(store) })
    }

    /// The configuration of one shard. Not shared: its session cache has a lock.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring offers what TLS 1.2 and 1.3 need")
            .with_root_certificates(Arc::clone(&self.store))
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// A connection whose bytes are sealed.
pub(super) struct TlsStream {
    socket: TcpStream,
    session: ClientConnection,
}

impl TlsStream {
    /// Shakes hands over `socket` with the server called `host`. The caller limits the time.
    ///
    /// # Errors
    /// [`Error::Tls`] where the server is not to be trusted, [`Error::Connection`] where the
    /// connection broke.
    pub(super) async fn connect(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> Result<Self, Error> {
        // The URL's brackets around an IPv6 address are no part of its name.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| Error::Tls("no such name".into()))?;
        let mut session =
            ClientConnection::new(config, name).map_err(|error| Error::Tls(error.to_string()))?;
        session.set_buffer_limit(Some(BUFFER_BYTES));
        let mut stream = Self { socket, session };
        poll_fn(|context| stream.poll_handshake(context)).await.map_err(handshake_error)?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            ready!(self.poll_send(context))?;
            if !self.session.is_handshaking() {
                break;
            }
            if ready!(self.poll_receive(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.poll_send(context)
    }

    /// Reads sealed bytes and opens them; 0 at the end of the connection.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut socket = Sealed { socket: &mut self.socket, context };
        let length = match self.session.read_tls(&mut socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            length => length?,
        };
        if let Err(error) = self.session.process_new_packets() {
            // The alert that says why; the error counts, whether or not the alert gets through.
            let _ = self.poll_send(context);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        Poll::Ready(Ok(length))
    }

    /// Writes sealed bytes until none wait.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut socket = Sealed { socket: &mut self.socket, context };
            match self.session.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Hands over opened bytes that are there: `None` if there are none yet.
    fn take_opened(&mut self, cursor: &mut ReadBufCursor<'_>) -> io::Result<Option<()>> {
        let mut reader = self.session.reader();
        match reader.fill_buf() {
            // Empty is the end that the server announced; without announcement it is an error.
            Ok(opened) => {
                let length = opened.len().min(cursor.remaining());
                cursor.put_slice(&opened[..length]);
                reader.consume(length);
                Ok(Some(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn handshake_error(error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(reason) => Error::Tls(reason.to_string()),
        None => Error::Connection(error.kind()),
    }
}

impl Read for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.take_opened(&mut cursor)?.is_some() {
                return Poll::Ready(Ok(()));
            }
            // What TLS itself wants to say (key updates, alerts) goes out by the way.
            if let Poll::Ready(Err(error)) = self.poll_send(context) {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_receive(context))?;
        }
    }
}

impl Write for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = loop {
            let length = self.session.writer().write(bytes)?;
            if length > 0 || bytes.is_empty() {
                break length;
            }
            ready!(self.poll_send(context))?;
        };
        // Pending is no matter: the bytes are taken, and hyper flushes before it waits.
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(length)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// The socket as rustls wants it: an `io::Read` and `io::Write` that would block.
struct Sealed<'a, 'c> {
    socket: &'a mut TcpStream,
    context: &'a mut Context<'c>,
}

impl io::Read for Sealed<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut *self.socket).poll_read(self.context, buffer.unfilled()) {
            Poll::Ready(Ok(())) => Ok(buffer.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Sealed<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.socket).poll_write(self.context, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
