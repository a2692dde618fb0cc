//! The connections of one shard: how many there are with each server, and which are idle.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    net::IpAddr,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::body::Incoming;
use url::Url;

use super::{
    Error,
    connection::{Connection, Outgoing},
    permits::{Permit, Permits},
};
use crate::runtime::{self, Queue, Task};

/// A server: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(bool, String, u16);

/// All connections of one shard.
pub(super) struct Pool {
    servers: RefCell<HashMap<Key, Rc<Server>>>,
    connections: usize,
    idle_connections: usize,
    idle: Duration,
    /// Closes what has been idle for too long. Runs only while something is idle.
    sweeper: RefCell<Option<Task<()>>>,
}

struct Server {
    permits: Permits,
    /// With the time they became idle, the oldest first.
    idle: RefCell<VecDeque<(Instant, Connection)>>,
}

impl Pool {
    pub(super) fn new(connections: usize, idle_connections: usize, idle: Duration) -> Rc<Self> {
        let (servers, sweeper) = Default::default();
        Rc::new(Self { servers, connections, idle_connections, idle, sweeper })
    }

    /// Waits for the right to one more connection with the server of `url`, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Busy`]: none was free in time.
    pub(super) async fn enter(self: &Rc<Self>, url: &Url, limit: Duration) -> Result<Slot, Error> {
        let server = self.server(url);
        let permit = runtime::timeout(limit, server.permits.take()).await;
        let permit = permit.map_err(|_| Error::Busy)?;
        Ok(Slot { pool: Rc::clone(self), server, _permit: permit })
    }

    fn server(&self, url: &Url) -> Rc<Server> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let key = Key(url.scheme() == "https", host, port);
        let new = || {
            Rc::new(Server { permits: Permits::new(self.connections), idle: RefCell::default() })
        };
        Rc::clone(self.servers.borrow_mut().entry(key).or_insert_with(new))
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let servers = self.servers.take();
        drop(servers);
    }

    /// Starts the sweeper unless it runs.
    fn watch(self: &Rc<Self>) {
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.is_none() {
            let pool = Rc::downgrade(self);
            let sweep = sweep(pool, self.idle);
            *sweeper = Some(runtime::spawn(Queue::Background, "idle connections", sweep));
        }
    }

    /// Drops what is idle for too long or closed, and servers nobody uses. Whether any is left.
    fn expire(&self, now: Instant) -> bool {
        let mut any = false;
        self.servers.borrow_mut().retain(|_, server| {
            let mut idle = server.idle.borrow_mut();
            idle.retain(|(since, connection)| {
                now.duration_since(*since) < self.idle && !connection.is_closed()
            });
            any |= !idle.is_empty();
            !idle.is_empty() || Rc::strong_count(server) > 1
        });
        any
    }
}

async fn sweep(pool: Weak<Pool>, idle: Duration) {
    loop {
        runtime::sleep(idle / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.expire(runtime::now()) {
            // This task is at its end; forgetting it is not cancelling it.
            pool.sweeper.take().into_iter().for_each(Task::detach);
            return;
        }
    }
}

/// The right to one connection with one server. Dropping it gives the right to the next.
pub(super) struct Slot {
    pool: Rc<Pool>,
    server: Rc<Server>,
    _permit: Permit,
}

impl Slot {
    /// An idle connection whose address `is_allowed`, the youngest first: it is the likeliest to
    /// be still open. The check is made again, since another origin may have made it.
    pub(super) fn idle(&self, is_allowed: impl Fn(IpAddr) -> bool) -> Option<Connection> {
        let mut idle = self.server.idle.borrow_mut();
        idle.retain(|(_, connection)| !connection.is_closed());
        let index = idle.iter().rposition(|(_, connection)| is_allowed(connection.peer()))?;
        idle.remove(index).map(|(_, connection)| connection)
    }

    /// Joins the right and a connection.
    pub(super) fn with(self, connection: Connection) -> Lease {
        Lease { connection, slot: self }
    }

    fn keep(&self, connection: Connection) {
        if self.pool.idle_connections == 0 || connection.is_closed() {
            return;
        }
        let mut idle = self.server.idle.borrow_mut();
        if idle.len() >= self.pool.idle_connections {
            idle.pop_front();
        }
        idle.push_back((runtime::now(), connection));
        drop(idle);
        self.pool.watch();
    }
}

/// A connection in use. Dropping it closes the connection; [`keep`](Self::keep) does not.
pub(super) struct Lease {
    connection: Connection,
    slot: Slot,
}

impl Lease {
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Error> {
        self.connection.send(request).await
    }

    /// Gives the connection back for the next request. Its answer has been read to the end.
    pub(super) fn keep(self) {
        self.slot.keep(self.connection);
    }
}
