//! Listening sockets, one per shard on one port, and the loop that accepts.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use rustix::{io::Errno, net::sockopt::set_socket_reuseport};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Error, TcpStream, clock};

/// Connections the kernel keeps for a shard that is busy.
const BACKLOG: i32 = 1024;
/// How long accepting rests when descriptors or memory are used up. Connections wait in the backlog.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A bound and listening socket that has not yet got its shard.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Bound {
    /// Binds `address` once per shard, so that the kernel spreads connections over the shards.
    ///
    /// Port 0 asks the kernel for one free port, which all share. A port on which another process
    /// listens is refused even if that one shares it too: two nodes would halve each other's clients.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`] or [`Error::Bind`].
    pub fn all(address: SocketAddr, shards: usize) -> Result<Vec<Self>, Error> {
        // Bound alone first: the kernel then refuses a port that anybody else has. Sharing begins
        // before it listens, so no connection can come to a socket outside of the group.
        let first = socket(address, false)?;
        set_socket_reuseport(&first, true)
            .map_err(|errno| Error::Bind { address, source: errno.into() })?;
        let first = Self::listening(first, address)?;
        let address = first.address;
        let mut all = vec![first];
        for _ in 1..shards {
            all.push(Self::listening(socket(address, true)?, address)?);
        }
        Ok(all)
    }

    fn listening(socket: Socket, asked: SocketAddr) -> Result<Self, Error> {
        let failed = |source| bind_error(asked, source);
        socket.listen(BACKLOG).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let address =
            address.as_socket().ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
        Ok(Self { socket: socket.into(), address })
    }

    /// The address with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Another handle to the same socket.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, address: self.address })
    }

    /// Gives the socket to the shard that runs here.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    ///
    /// # Panics
    ///
    /// Outside of a shard.
    pub fn listener(self) -> io::Result<TcpListener> {
        let control = self.socket.try_clone()?;
        // SAFETY: `into_raw_fd` gives up the only ownership of an open descriptor, and glommio's
        // listener closes it when it is dropped.
        let inner = unsafe { glommio::net::TcpListener::from_raw_fd(self.socket.into_raw_fd()) };
        let closer = Closer { closed: Rc::new(Cell::new(false)), socket: Rc::new(control) };
        Ok(TcpListener { inner, closer, address: self.address })
    }
}

fn socket(address: SocketAddr, reuse_port: bool) -> Result<Socket, Error> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted node does not wait for the old one's connections in TIME_WAIT.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        set_socket_reuseport(&socket, reuse_port)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bound().map_err(|source| bind_error(address, source))
}

fn bind_error(address: SocketAddr, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::AddrInUse => Error::AddressInUse { address },
        _ => Error::Bind { address, source },
    }
}

/// A shard's listening socket.
#[derive(Debug)]
pub struct TcpListener {
    inner: glommio::net::TcpListener,
    closer: Closer,
    address: SocketAddr,
}

impl TcpListener {
    /// Binds `address` for this shard alone, or beside other sockets on the same port.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`] or [`Error::Bind`].
    pub fn bind(address: SocketAddr, reuse_port: bool) -> Result<Self, Error> {
        let bound = Bound::listening(socket(address, reuse_port)?, address)?;
        bound.listener().map_err(|source| Error::Bind { address, source })
    }

    /// The address with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Ends [`serve`](Self::serve) from elsewhere on this shard.
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    /// Accepts connections and hands each to `per_connection`, until [`Closer::close`].
    ///
    /// While descriptors or memory are used up it rests, and clients wait in the backlog.
    ///
    /// # Errors
    ///
    /// When the socket itself is broken.
    ///
    /// # Cancellation
    ///
    /// Dropping this future can lose a connection that was just accepted, and its descriptor. End
    /// it by [`Closer::close`] instead.
    pub async fn serve(
        self,
        mut per_connection: impl FnMut(TcpStream, SocketAddr),
    ) -> io::Result<()> {
        let mut exhausted = false;
        while !self.closer.closed.get() {
            match self.accept().await {
                Ok((stream, peer)) => {
                    exhausted = false;
                    per_connection(stream, peer);
                    // A flood of connections does not keep their own tasks from running.
                    clock::yield_if_needed().await;
                }
                Err(_) if self.closer.closed.get() => break,
                Err(error) => match Refusal::of(&error) {
                    Refusal::OfConnection => {}
                    Refusal::Exhausted => {
                        if !std::mem::replace(&mut exhausted, true) {
                            tracing::warn!(address = %self.address, %error, "accepting rests");
                        }
                        clock::sleep(EXHAUSTED_PAUSE).await;
                    }
                    Refusal::Broken => return Err(error),
                },
            }
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.inner.shared_accept().await.map_err(io::Error::from)?;
        let stream = TcpStream::from(accepted.bind_to_executor());
        // Fails for a client that is gone already; dropping the stream closes it.
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }
}

/// Ends the accept loop of one listener.
#[derive(Debug, Clone)]
pub struct Closer {
    closed: Rc<Cell<bool>>,
    socket: Rc<OwnedFd>,
}

impl Closer {
    /// Takes no more connections. What waits in the backlog is reset; what was accepted goes on.
    ///
    /// The pending accept is not cancelled, which could lose a connection: the socket is shut, and
    /// the accept ends with an error.
    pub fn close(&self) {
        self.closed.set(true);
        // It can only fail if the socket is closed already.
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
    }
}

/// What a failed accept says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Only this connection is lost.
    OfConnection,
    /// Descriptors or memory are used up for now.
    Exhausted,
    /// The listening socket does not work.
    Broken,
}

impl Refusal {
    /// `accept(2)`, section "Error handling": errors pending on the new socket are passed on.
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Exhausted,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT) => {
                Self::Broken
            }
            _ => Self::OfConnection,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io::Read as _, rc::Rc, sync::mpsc};

    use super::*;
    use crate::runtime::{Options, Queue, run, sleep, spawn};

    #[test]
    #[allow(clippy::disallowed_methods, reason = "clients are no shards")]
    fn connections_to_one_port_reach_every_shard_and_none_is_lost() {
        const CLIENTS: usize = 100;
        let bound = Bound::all("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = bound[0].local_addr();
        assert_eq!(bound[1].local_addr(), address);
        assert!(matches!(Bound::all(address, 1), Err(Error::AddressInUse { .. })));
        let (sender, accepted) = mpsc::channel();
        let clients = std::thread::spawn(move || {
            let connect = |_| std::net::TcpStream::connect(address).unwrap();
            let streams: Vec<_> = (0..CLIENTS).map(connect).collect();
            let by: Vec<_> = accepted.iter().take(CLIENTS).collect();
            // Handed over and dropped, each is closed: none stays behind in an accept.
            for mut stream in streams {
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            }
            by
        });
        let bound: Vec<_> = bound.iter().map(|bound| bound.try_clone().unwrap()).collect();
        let bound = std::sync::Arc::from(bound);
        run(Options { shards: 2, blocking_threads: 1, oversubscribe: true }, move |shard| {
            let (bound, sender) = (std::sync::Arc::<[Bound]>::clone(&bound), sender.clone());
            async move {
                let own = bound[usize::from(shard.0)].try_clone().unwrap();
                drop(bound);
                let listener = own.listener().unwrap();
                let closer = listener.closer();
                let serve = listener.serve(move |_, _| sender.send(shard).unwrap());
                let accepting = spawn(Queue::Io, "accept", serve);
                sleep(Duration::from_millis(500)).await;
                closer.close();
                accepting.await.unwrap().unwrap();
            }
        })
        .unwrap();
        let by = clients.join().unwrap();
        for shard in [0, 1] {
            let count = by.iter().filter(|by| by.0 == shard).count();
            assert!(count > CLIENTS / 10, "shard {shard} got {count} of {CLIENTS}");
        }
    }

    /// The kernel has accepted it for glommio, and the loop has not come to it: dropping the pending
    /// accept at this point loses the connection, and its descriptor stays open for ever.
    #[test]
    fn a_connection_that_comes_just_before_the_end_is_handed_over() {
        const ROUNDS: usize = 20;
        let (sender, rounds) = mpsc::channel();
        run(Options { shards: 1, blocking_threads: 1, oversubscribe: true }, move |_| {
            let sender = sender.clone();
            async move {
                for _ in 0..ROUNDS {
                    let listener =
                        TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
                    let (address, closer) = (listener.local_addr(), listener.closer());
                    let taken = Rc::new(Cell::new(0));
                    let count = Rc::clone(&taken);
                    let serve = listener.serve(move |_, _| count.set(count.get() + 1));
                    let accepting = spawn(Queue::Io, "accept", serve);
                    // The accept is on its way to the kernel.
                    sleep(Duration::from_millis(2)).await;
                    // Blocking the shard on purpose, so that the loop cannot run in between.
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    closer.close();
                    accepting.await.unwrap().unwrap();
                    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    let is_closed = matches!(client.read(&mut [0]), Ok(0) | Err(_));
                    sender.send((taken.get(), is_closed)).unwrap();
                }
            }
        })
        .unwrap();
        let rounds: Vec<_> = rounds.iter().take(ROUNDS).collect();
        assert_eq!(rounds, [(1, true); ROUNDS]);
    }

    #[test]
    fn only_a_broken_socket_ends_accepting() {
        let of = |errno: Errno| Refusal::of(&errno.into());
        assert_eq!(of(Errno::MFILE), Refusal::Exhausted);
        assert_eq!(of(Errno::NOMEM), Refusal::Exhausted);
        assert_eq!(of(Errno::CONNABORTED), Refusal::OfConnection);
        assert_eq!(of(Errno::PROTO), Refusal::OfConnection);
        assert_eq!(of(Errno::BADF), Refusal::Broken);
    }
}
