//! The life of one shard: its cache is opened and its mail attended to, and at its end everything is
//! durable. A node has one on every core; a command that needs no server has a single one.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::node::{Error, Options};
use crate::{
    assets::{self, AssetStore},
    bufpool::{self, BufPool},
    decode::Stacks,
    file::Files,
    net::{Client, Resolver, Roots},
    runtime::{self, Queue, Task, event::Event, mailbox::Mailbox},
    shard::{Mail, Route, Shard, ShardDisk, upkeep},
    storage::{self, Format, Unopened, Volumes},
};

/// What a shard has as its cache. The directory is locked by whoever says so.
#[derive(Debug, Clone, Copy)]
pub enum Cache {
    /// Nothing: what is fetched is there as long as it is used.
    Off,
    /// The shard's volumes of this one, as large as the options say.
    Sized(Format),
    /// All volumes of this one, as large as they are.
    AsItIs {
        /// Which cache it is.
        format: Format,
        /// What happens to it is made durable; else nothing is written.
        changes: bool,
    },
}

/// The shards that have not read their part of the cache yet. None changes anything in it before all have,
/// since one that cannot start ends the node. A clone is the same.
#[derive(Clone)]
pub struct Together(Arc<AtomicUsize>);

/// How often a shard looks whether the others have read theirs.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

impl Together {
    /// Of so many shards.
    pub fn new(shards: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(shards)))
    }

    /// This shard has read its own; resolves when all have.
    async fn all_have_read(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) > 0 {
            runtime::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// A shard that works, and what keeps it so.
pub struct Life {
    /// The shard.
    pub shard: Rc<Shard>,
    attending: Task<()>,
    keeper: Option<Keeper>,
    disk: Option<ShardDisk>,
}

impl Life {
    /// Begins it on this core, as one of as many shards as `options` say, `together` with the others.
    ///
    /// # Errors
    /// What is wrong with the cache, or what the system has none of.
    pub async fn begin(
        options: &Options,
        cache: Cache,
        roots: &Roots,
        mailbox: Mailbox<Mail>,
        together: &Together,
    ) -> Result<Self, Error> {
        let shards = options.runtime.shards;
        let budget_bytes = options.memory_bytes / shards;
        let pool = BufPool::new(bufpool::Options { budget_bytes });
        let id = mailbox.shard().0;
        let (volumes, disk) = volumes(options, cache, id, &pool, together).await?;
        let route = Route { volumes: volumes.count(), shards: shards as u16 };
        let store = Rc::new(AssetStore::new(options.assets, volumes));
        let keeper = cache.changes().then(|| Keeper::of(Rc::clone(&store), options));
        let client = Client::new(options.net.clone(), roots, Resolver::system());
        let (origins, libraries) = (options.origins.clone(), options.libraries.clone());
        let files = Files::new(store, client, origins, libraries);
        let stacks = Stacks::new(options.decoders);
        let shard = Shard::new(route, pool, files, stacks, options.shard, mailbox);
        let attending = runtime::spawn(Queue::Io, "mail", Rc::clone(&shard).attend());
        Ok(Self { shard, attending, keeper, disk })
    }

    /// Ends it. No session is left that would want anything of it.
    ///
    /// # Errors
    /// Something of the cache cannot be made durable.
    pub async fn end(self) -> io::Result<()> {
        let Self { shard, attending, keeper, disk } = self;
        shard.files.close();
        // Not by its drop: nothing of the shard is to be in use when its disk ends.
        let _ = attending.cancel().await;
        let kept = match keeper {
            Some(keeper) => keeper.end().await,
            None => Ok(()),
        };
        if let Some(disk) = disk {
            disk.end().await;
        }
        kept
    }
}

impl Cache {
    /// Which one, where there is one.
    pub fn format(self) -> Option<Format> {
        match self {
            Self::Off => None,
            Self::Sized(format) | Self::AsItIs { format, .. } => Some(format),
        }
    }

    fn changes(self) -> bool {
        match self {
            Self::Off => false,
            Self::Sized(_) => true,
            Self::AsItIs { changes, .. } => changes,
        }
    }
}

async fn volumes(
    options: &Options,
    cache: Cache,
    shard: u16,
    pool: &BufPool,
    together: &Together,
) -> Result<(Volumes, Option<ShardDisk>), Error> {
    let (shards, pool, dir) = (options.runtime.shards, pool.clone(), options.cache_dir.clone());
    let disk = || ShardDisk::new(runtime::lockable_bytes(shards));
    let shards = shards as u16;
    Ok(match cache {
        Cache::Off => (Volumes::off(u32::from(shards), shards, pool), None),
        Cache::AsItIs { format, .. } => {
            let disk = disk();
            let volumes = Volumes::open_as_they_are(&dir, format, disk.device(), pool).await?;
            (volumes, Some(disk))
        }
        Cache::Sized(format) => {
            let (disk, size_bytes) = (disk(), options.cache_bytes);
            let policy = options.assets.policy;
            let kin = assets::kin;
            let storage = storage::Options { dir, format, size_bytes, shard, shards, policy, kin };
            let unopened = Unopened::read(&storage, disk.device(), pool).await?;
            together.all_have_read().await;
            (unopened.open().await?, Some(disk))
        }
    })
}

/// Makes durable what happens to a cache.
struct Keeper {
    at_end: Event,
    upkeep: Task<io::Result<()>>,
}

impl Keeper {
    fn of(store: Rc<AssetStore>, options: &Options) -> Self {
        let at_end = Event::new();
        let upkeep = upkeep(store, options.sync, at_end.listen());
        Self { at_end, upkeep: runtime::spawn(Queue::Background, "upkeep", upkeep) }
    }

    /// Once nothing more happens.
    async fn end(self) -> io::Result<()> {
        self.at_end.notify_all();
        // Where it panicked, that was logged.
        self.upkeep.await.unwrap_or_else(|_| Err(io::Error::other("its upkeep ended early")))
    }
}
