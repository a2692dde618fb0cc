//! The life of one shard: its cache is opened and its mail attended to, and at its end everything is
//! durable. A node has one on every core; a command that needs no server has a single one.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::node::{Error, Options};
use crate::{
    assets::{self, AssetStore},
    bufpool::{self, BufPool},
    decode::Stacks,
    file::Files,
    net::{Client, Resolver, Roots},
    runtime::{self, Queue, Ringer, Task, event::Event, mailbox::Mailbox},
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
pub struct Together(Arc<Meeting>);

struct Meeting {
    /// Shards that are still to come.
    missing: AtomicUsize,
    /// By which those that wait are woken, by shard.
    ringers: Box<[OnceLock<Ringer>]>,
}

impl Together {
    /// Of so many shards.
    pub fn new(shards: usize) -> Self {
        let ringers = (0..shards).map(|_| OnceLock::new()).collect();
        Self(Arc::new(Meeting { missing: AtomicUsize::new(shards), ringers }))
    }

    /// This shard has read its own; resolves when all have.
    ///
    /// # Errors
    /// No descriptor is left to be woken by.
    async fn all_have_read(&self, shard: u16) -> io::Result<()> {
        let Meeting { missing, ringers } = &*self.0;
        // Before it is counted: the last one rings whoever has come.
        let (ringer, mut bell) = runtime::doorbell()?;
        let _ = ringers[usize::from(shard)].set(ringer);
        if missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            ringers.iter().filter_map(OnceLock::get).for_each(Ringer::ring);
        }
        bell.rung().await;
        Ok(())
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
        let (shard, keys) = (options.shard, options.key_processor.clone());
        let shard = Shard::new(route, pool, files, stacks, shard, mailbox, keys);
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
            together.all_have_read(shard).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shard_goes_on_before_the_last_one_has_read() {
        const SHARDS: usize = 4;
        let (together, read) = (Together::new(SHARDS), Arc::new(AtomicUsize::new(0)));
        let options = runtime::Options { shards: SHARDS, blocking_threads: 1, oversubscribe: true };
        runtime::run(options, move |id| {
            let (together, read) = (together.clone(), Arc::clone(&read));
            async move {
                // One after the other, the first one last.
                while read.load(Ordering::Acquire) < SHARDS - 1 - usize::from(id.0) {
                    runtime::yield_now().await;
                }
                read.fetch_add(1, Ordering::AcqRel);
                together.all_have_read(id.0).await.expect("a descriptor");
                assert_eq!(read.load(Ordering::Acquire), SHARDS, "shard {}", id.0);
            }
        })
        .expect("shards start");
    }
}
