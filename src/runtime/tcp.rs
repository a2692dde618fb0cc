//! TCP connections for hyper: reads by glommio, writes gathered by `sendmsg`.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::{AsyncRead, AsyncWrite, ready};
use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};

use super::clock;

/// At most this much is read at once. hyper's buffer has to be zeroed before each read.
const READ_BYTES: usize = 64 << 10;
/// At most this many slices go out in one call; the kernel's own limit is 1024.
const WRITE_SLICES: usize = 64;
/// Never block, and let a broken connection be an error instead of a signal.
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Sizes of the kernel's buffers for one connection.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// `SO_SNDBUF` in bytes. Default 64 KiB: left to the kernel, one slow client holds 3.9 MB.
    pub send_buffer_bytes: Option<usize>,
    /// `SO_RCVBUF` in bytes; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { send_buffer_bytes: Some(64 << 10), receive_buffer_bytes: None }
    }
}

impl SocketOptions {
    /// Sets the buffers of `socket`, which also turns Nagle's algorithm off.
    fn apply(self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }
}

/// A connection. Dropping it closes it.
///
/// # Shard
///
/// It stays on the shard that made it; its descriptor can go to another one
/// ([`into_fd`](Self::into_fd)).
#[derive(Debug)]
pub struct TcpStream {
    inner: glommio::net::TcpStream,
}

impl TcpStream {
    /// Connects to `address` within `limit`.
    ///
    /// # Errors
    ///
    /// What the network answered; `TimedOut` when the limit passed.
    ///
    /// # Cancellation
    ///
    /// The socket is closed.
    pub async fn connect(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        Self::connect_with(address, limit, SocketOptions::default()).await
    }

    /// Connects as [`connect`](Self::connect) does, with the given buffers.
    ///
    /// glommio's own `connect_timeout` loses the descriptor when the time passes, and has no way to
    /// set buffers first; so the socket is made here and glommio waits for it to become writable.
    ///
    /// # Errors
    ///
    /// See [`connect`](Self::connect).
    pub async fn connect_with(
        address: SocketAddr,
        limit: Duration,
        options: SocketOptions,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        options.apply(&socket)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = Self::from_fd(socket.into());
        match clock::timeout(limit, stream.established()).await {
            Ok(result) => result.map(|()| stream),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits until the connection is made. An empty send says `EAGAIN` before that, 0 after it, and
    /// otherwise why there will be none.
    async fn established(&mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut self.inner).poll_write(context, &[])).await?;
        self.peer_addr().map(|_| ())
    }

    /// Takes over a connected socket, for instance one that another shard accepted.
    pub fn from_fd(fd: OwnedFd) -> Self {
        // SAFETY: `into_raw_fd` gives up the only ownership of an open descriptor, and glommio's
        // stream closes it when it is dropped.
        let inner = unsafe { glommio::net::TcpStream::from_raw_fd(fd.into_raw_fd()) };
        Self { inner }
    }

    /// A second descriptor of this connection, to go on with it on another shard by
    /// [`from_fd`](Self::from_fd). The connection closes when both are gone.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Sets buffers on an accepted connection, which also turns Nagle's algorithm off.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn set(&self, options: SocketOptions) -> io::Result<()> {
        self.inner.set_nodelay(true)?;
        let socket = socket2::SockRef::from(self);
        if let Some(bytes) = options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// Waits until `slice`, of which nothing could be sent, can be; sends it if it can be now.
    ///
    /// What glommio sends takes back the wake-up that an earlier wait was promised. hyper 1.12 counts on
    /// that: it may write in vain, have its flush succeed, and then return without another look at a body
    /// that has more. So the wake-up comes here.
    fn poll_writable(
        &mut self,
        context: &mut Context<'_>,
        slice: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write(context, slice);
        if sent.is_ready() {
            context.waker().wake_by_ref();
        }
        sent
    }
}

/// `EINPROGRESS`: the connection is being made.
const EINPROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

impl From<glommio::net::TcpStream> for TcpStream {
    fn from(inner: glommio::net::TcpStream) -> Self {
        Self { inner }
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the stream that owns it, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }
}

impl Read for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = cursor.remaining().min(READ_BYTES);
        let into = cursor.initialize_unfilled_to(room);
        let length = ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
        // SAFETY: all of `into` is initialised, and no more than its length was read.
        unsafe { cursor.advance(length.min(room)) };
        Poll::Ready(Ok(()))
    }
}

impl Write for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match send(self.as_fd(), bytes, SEND) {
            Err(rustix::io::Errno::AGAIN) => self.poll_writable(context, bytes),
            sent => Poll::Ready(sent.map_err(io::Error::from)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = &slices[..slices.len().min(WRITE_SLICES)];
        match sendmsg(self.as_fd(), slices, &mut SendAncillaryBuffer::default(), SEND) {
            Err(rustix::io::Errno::AGAIN) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_writable(context, first.map_or(&[], |slice| slice))
            }
            sent => Poll::Ready(sent.map_err(io::Error::from)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(self.as_fd(), rustix::net::Shutdown::Write) {
            // The other side went first.
            Err(rustix::io::Errno::NOTCONN) | Ok(()) => Poll::Ready(Ok(())),
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, rc::Rc};

    use bytes::Bytes;
    use hyper::{Request, Response, service::service_fn};

    use super::*;
    use crate::runtime::{Bound, HyperTimer, Options, Queue, run, spawn, timeout};

    /// A body of one piece.
    struct Whole(Option<Bytes>);

    impl http_body::Body for Whole {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
        }
    }

    async fn raw(stream: &mut TcpStream, write: &[u8]) -> Vec<u8> {
        let mut left = write;
        while !left.is_empty() {
            let sent = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, left)).await;
            left = &left[sent.expect("the server reads")..];
        }
        let mut all = Vec::new();
        loop {
            let mut memory = [0; 4096];
            let mut buffer = hyper::rt::ReadBuf::new(&mut memory);
            let read =
                poll_fn(|context| Pin::new(&mut *stream).poll_read(context, buffer.unfilled()));
            if read.await.is_err() || buffer.filled().is_empty() {
                return all;
            }
            all.extend_from_slice(buffer.filled());
        }
    }

    async fn serve(stream: TcpStream) {
        let service = service_fn(|_: Request<hyper::body::Incoming>| async {
            Ok::<_, Infallible>(Response::new(Whole(Some(Bytes::from(vec![b'x'; 1 << 20])))))
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(HyperTimer).header_read_timeout(Duration::from_millis(100));
        let _ = http.serve_connection(stream, service).await;
    }

    #[test]
    fn hyper_answers_over_a_listener_and_hangs_up_on_a_slow_head() {
        let mut bound = Bound::all("127.0.0.1:0".parse().expect("an address"), 1).expect("a port");
        let bound = Rc::new(bound.remove(0).local_addr());
        let address = *bound;
        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, move |_| async move {
            let listener = crate::runtime::TcpListener::bind(address, true).expect("a free port");
            let closer = listener.closer();
            let accepting = spawn(
                Queue::Io,
                "accept",
                listener.serve(|stream, _| {
                    spawn(Queue::Io, "connection", serve(stream)).detach();
                }),
            );
            let limit = Duration::from_secs(5);
            let mut client = TcpStream::connect(address, limit).await.expect("it listens");
            let answer = raw(&mut client, b"GET / HTTP/1.0\r\n\r\n").await;
            assert!(answer.starts_with(b"HTTP/1.0 200"));
            assert_eq!(answer.iter().filter(|byte| **byte == b'x').count(), 1 << 20);
            let mut slow = TcpStream::connect(address, limit).await.expect("it listens");
            let cut = timeout(limit, raw(&mut slow, b"GET / HT")).await;
            assert!(cut.is_ok(), "the header timeout did not fire");
            closer.close();
            let ended = timeout(limit, accepting).await.expect("accepting ends");
            assert!(matches!(ended, Ok(Ok(()))));
        })
        .expect("a shard starts");
    }

    #[test]
    fn a_connection_that_is_never_made_times_out() {
        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, |_| async {
            let closed =
                TcpStream::connect(([127, 0, 0, 1], 1).into(), Duration::from_secs(5)).await;
            assert_eq!(closed.map(|_| ()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            let waited = timeout(Duration::from_millis(5), pending::<()>()).await;
            assert!(waited.is_err());
        })
        .expect("a shard starts");
    }

    /// glommio's own `connect_timeout` keeps the descriptor of each.
    #[test]
    fn connections_that_time_out_leave_no_descriptor() {
        const TRIES: usize = 40;
        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, |_| async {
            // Nobody accepts, and the backlog is full: what comes then is neither made nor refused.
            let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
            full.listen(0).expect("it listens");
            let address = full.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
            let limit = Duration::from_millis(5);
            let connect = async || TcpStream::connect(address, limit).await;
            let mut held = Vec::new();
            while let Ok(stream) = connect().await {
                held.push(stream);
            }
            let open = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
            let before = open();
            for _ in 0..TRIES {
                let late = connect().await.map(drop).unwrap_err();
                assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            }
            // They are closed in a later round; others of this process come and go.
            crate::runtime::sleep(Duration::from_millis(50)).await;
            assert!(open() < before + TRIES / 2, "{} of {before}", open());
        })
        .expect("a shard starts");
    }

    /// Whoever was told to wait is woken, also if there was room sooner than that.
    #[test]
    fn a_wait_that_was_promised_a_wake_up_gets_it_though_the_next_write_succeeds() {
        use std::sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        };

        struct Count(AtomicUsize);

        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }

        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, |_| async {
            let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
            near.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_fd(near.into());
            let count = Arc::new(Count(AtomicUsize::new(0)));
            let waker = Arc::clone(&count).into();
            let mut context = Context::from_waker(&waker);
            let bytes = [b'x'; 4 << 10];
            let mut filled = 0;
            while Pin::new(&mut stream).poll_write(&mut context, &bytes).is_ready() {
                filled += bytes.len();
            }
            io::Read::read_exact(&mut &far, &mut vec![0; filled]).expect("that much is there");
            assert!(stream.poll_writable(&mut context, &bytes).is_ready());
            crate::runtime::sleep(Duration::from_millis(50)).await;
            assert!(count.0.load(Ordering::SeqCst) > 0, "nothing wakes who waits");
        })
        .expect("a shard starts");
    }

    /// hyper gives head and blocks as one list; sent one by one they cost a system call and a
    /// packet each.
    #[test]
    fn a_head_and_its_blocks_go_out_in_one_call() {
        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, |_| async {
            let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
            near.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_fd(near.into());
            let blocks = [b"head ".as_slice(), b"", b"block one ", b"block two"];
            let slices = blocks.map(IoSlice::new);
            assert!(stream.is_write_vectored());
            let sent =
                poll_fn(|context| Pin::new(&mut stream).poll_write_vectored(context, &slices));
            assert_eq!(sent.await.expect("it is open"), 24);
            drop(stream);
            let mut all = String::new();
            io::Read::read_to_string(&mut &far, &mut all).expect("it was closed");
            assert_eq!(all, "head block one block two");
        })
        .expect("a shard starts");
    }
}
