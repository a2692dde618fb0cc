//! Names to addresses, off the shard's core, with a small cache.
//!
//! `getaddrinfo` is what the machine's administrator configured (hosts file, search, servers), so
//! it is asked rather than a resolver of our own; but it blocks and says no time to live. Hence
//! the blocking pool and a fixed, short one. Everyone who asks for a name while it is looked up
//! waits for that one lookup.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, ToSocketAddrs},
    rc::Rc,
    time::{Duration, Instant},
};

use tracing::warn;

use super::Error;
use crate::runtime::{
    self, Queue,
    event::{Event, Listener},
};

/// How long an answer is used. Short enough for failover by DNS, long enough for a burst.
const KEPT: Duration = Duration::from_secs(30);
/// How long a failure is used: a herd asks once, a person who tries again is not told old news.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// Names in the cache. Redirects may bring any number of them.
const NAMES: usize = 1024;
/// Addresses of one name that are ever tried.
const ADDRESSES: usize = 8;

/// Addresses in the order in which they are tried, at most eight.
pub(super) type Addresses = Rc<[IpAddr]>;

/// Where addresses come from. Clones share their cache.
#[derive(Debug, Clone)]
pub enum Resolver {
    /// The system's resolver.
    System(System),
    /// A fixed table, for tests and for the origin inside the process.
    Table(Table),
}

impl Resolver {
    /// The system's resolver with an empty cache of this shard.
    pub fn system() -> Self {
        Self::System(System::default())
    }

    /// The addresses of `host`, at least one.
    ///
    /// # Errors
    /// [`Error::Dns`]: there are none.
    ///
    /// # Cancellation
    /// A lookup that has begun goes on and fills the cache.
    pub(super) async fn resolve(&self, host: &str) -> Result<Addresses, Error> {
        match self {
            Self::System(system) => system.resolve(host).await,
            Self::Table(table) => table.resolve(host),
        }
    }
}

/// The system's resolver and what it said lately.
#[derive(Debug, Clone, Default)]
pub struct System {
    names: Rc<RefCell<HashMap<String, Entry>>>,
}

#[derive(Debug)]
enum Entry {
    /// Being looked up; the event says when that has ended.
    Asked(Event),
    /// No addresses mean failure.
    Known { addresses: Addresses, until: Instant },
}

/// What the cache says of a name.
enum Look {
    Known(Addresses),
    Wait(Listener),
    Missing,
}

impl System {
    async fn resolve(&self, host: &str) -> Result<Addresses, Error> {
        loop {
            match self.look(host) {
                Look::Known(addresses) if addresses.is_empty() => return Err(Error::Dns),
                Look::Known(addresses) => return Ok(addresses),
                Look::Wait(listener) => listener.await,
                Look::Missing => self.ask(host),
            }
        }
    }

    fn look(&self, host: &str) -> Look {
        match self.names.borrow().get(host) {
            Some(Entry::Asked(event)) => Look::Wait(event.listen()),
            Some(Entry::Known { addresses, until }) if runtime::now() < *until => {
                Look::Known(Rc::clone(addresses))
            }
            _ => Look::Missing,
        }
    }

    /// Starts a lookup in a task of its own, so that its asker may go away.
    fn ask(&self, host: &str) {
        let (event, host, system) = (Event::new(), host.to_owned(), self.clone());
        self.make_room();
        self.names.borrow_mut().insert(host.clone(), Entry::Asked(event.clone()));
        runtime::spawn(Queue::Io, "resolve", async move {
            let name = host.clone();
            let found = runtime::blocking(move || look_up(&name)).await.unwrap_or_default();
            system.learn(host, found);
            event.notify_all();
        })
        .detach();
    }

    fn learn(&self, host: String, found: Vec<IpAddr>) {
        let kept = if found.is_empty() { FAILURE_KEPT } else { KEPT };
        let entry = Entry::Known { addresses: found.into(), until: runtime::now() + kept };
        self.names.borrow_mut().insert(host, entry);
    }

    /// Forgets what is old; if that is not enough, all that nobody waits for.
    fn make_room(&self) {
        let mut names = self.names.borrow_mut();
        if names.len() < NAMES {
            return;
        }
        let now = runtime::now();
        names.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
        if names.len() >= NAMES {
            names.retain(|_, entry| matches!(entry, Entry::Asked(_)));
        }
    }
}

/// Asks the system. Blocks.
fn look_up(host: &str) -> Vec<IpAddr> {
    match (host, 0).to_socket_addrs() {
        Ok(found) => {
            let mut addresses: Vec<_> = found.map(|address| address.ip()).take(ADDRESSES).collect();
            addresses.dedup();
            addresses
        }
        Err(error) => {
            warn!(host, %error, "name not resolved");
            Vec::new()
        }
    }
}

/// Names and addresses that a test turns as it likes. Clones are one table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    names: Rc<RefCell<HashMap<String, Vec<IpAddr>>>>,
}

impl Table {
    /// Gives `host` these addresses from now on.
    pub fn set(&self, host: &str, addresses: &[IpAddr]) {
        self.names.borrow_mut().insert(host.to_owned(), addresses.to_vec());
    }

    fn resolve(&self, host: &str) -> Result<Addresses, Error> {
        let names = self.names.borrow();
        let found = names.get(host).filter(|found| !found.is_empty()).ok_or(Error::Dns)?;
        Ok(found.iter().copied().take(ADDRESSES).collect())
    }
}
