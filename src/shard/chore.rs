//! The operator's chores on the cache, each done by the shard that owns the volume.

use std::{rc::Rc, time::Duration};

use super::{Mail, Shard};
use crate::{
    assets::{Act, AssetStore, Listed, NotPinned, Report, Walk, Walked},
    bufpool::Exhausted,
    runtime::{self, Queue, ShardId},
    storage::{ObjectId, Resident, State, Trouble, VolumeIndex},
};

/// Chores from one shard to another that are not done yet.
pub(super) const CHORES_PER_PAIR: usize = 8;

/// How long one is waited for: a pin waits for the device, and a walk for a thousand reads behind all
/// that serves clients.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something to be seen or done in one volume, or in all of one shard's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chore {
    /// Say what there is of an object.
    Look(ObjectId),
    /// Go through objects.
    Walk(Walk),
    /// Take out of the cache.
    Purge(ObjectId, Reach),
    /// Have asked for at the origin before it is served again.
    Invalidate(ObjectId, Reach),
    /// Keep what answers a URL from being evicted, or do not any more.
    Pin(ObjectId, bool),
    /// Read what lies in a volume, from an object's chunk on, and check it; take out what is not sound
    /// where that is wanted.
    Check {
        /// Which volume.
        volume: VolumeIndex,
        /// The number of the object, and of the chunk.
        from: (u32, u32),
        /// Whether what is not sound is taken out.
        repair: bool,
    },
    /// Say how much there is of objects.
    Stored {
        /// Which.
        objects: Vec<ObjectId>,
        /// Only those count of which all is there.
        is_whole: bool,
    },
    /// Say how the volumes of the shard are.
    States,
}

/// What is meant by an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The object that has it.
    Object,
    /// All answers to the URL whose key it is.
    Url,
}

/// What a chore gave.
#[derive(Debug, Clone)]
pub enum Done {
    /// It was done; there is nothing to say.
    Plainly,
    /// The object.
    Looked(Box<Listed>),
    /// The objects that a walk met.
    Walked(Walked),
    /// What a check found.
    Checked(Report),
    /// How much there is of objects.
    Stored(Stored),
    /// The volumes of one shard.
    States(Vec<(VolumeIndex, State)>),
}

/// How much there is of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many of them are there.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a chore was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// There is no such object.
    #[error("there is no such object in the cache")]
    NoObject,
    /// The pin could not be set or lifted.
    #[error(transparent)]
    NotPinned(NotPinned),
    /// It is so for now, and may not outlive a crash.
    #[error("the disk of the cache does not take it: {0}")]
    NotDurable(Trouble),
    /// As many chores as there is room for are under way.
    #[error("too many of the operator's chores are under way")]
    Full,
    /// There was no memory for it.
    #[error("there is no buffer memory now")]
    Memory,
    /// The node is shutting down.
    #[error("the shard is draining")]
    Draining,
    /// The shard does not answer. It may do it all the same.
    #[error("the shard does not answer")]
    Silent,
}

/// What became of a chore.
pub(super) type Outcome = Result<Done, Undone>;

impl Chore {
    /// What reads much waits behind whatever serves clients.
    fn queue(&self) -> Queue {
        match self {
            Self::Walk(_) | Self::Check { .. } => Queue::Background,
            _ => Queue::Io,
        }
    }
}

impl Shard {
    /// The shard that owns a volume.
    pub fn owner_of(&self, volume: VolumeIndex) -> ShardId {
        ShardId((volume.0 % u32::from(self.route.shards)) as u16)
    }

    /// Has a chore done by `owner`.
    ///
    /// # Errors
    /// Why it is not done.
    ///
    /// # Cancellation
    /// It is done all the same.
    pub async fn chore(self: &Rc<Self>, owner: ShardId, chore: Chore) -> Outcome {
        let (place, mut outcome) = self.chores.begin(owner).ok_or(Undone::Full)?;
        if owner == self.id {
            self.do_chore(owner, place, chore);
        } else if self.mailbox.try_send(owner, Mail::Chore(place, Box::new(chore))).is_err() {
            // The shard has left the mesh.
            self.chores.end(owner, place, Err(Undone::Draining));
        }
        let answered = runtime::timeout(PATIENCE, outcome.recv()).await;
        answered.ok().flatten().unwrap_or(Err(Undone::Silent))
    }

    /// Does a chore of shard `from`, which may be this one, in a task of its own.
    pub(super) fn do_chore(self: &Rc<Self>, from: ShardId, place: u16, chore: Chore) {
        let (shard, pass, queue) = (Rc::clone(self), self.gate.enter(), chore.queue());
        let doing = async move {
            let outcome = match &pass {
                Some(_) => carry_out(shard.files.store(), chore).await,
                None => Err(Undone::Draining),
            };
            if from == shard.id {
                shard.chores.end(from, place, outcome);
            } else {
                shard.post(from, Mail::ChoreDone(place, Box::new(outcome)));
            }
        };
        runtime::spawn(queue, "chore", doing).detach();
    }
}

async fn carry_out(store: &AssetStore, chore: Chore) -> Outcome {
    match chore {
        Chore::Look(id) => {
            let listed = store.look(id).await?.ok_or(Undone::NoObject)?;
            Ok(Done::Looked(Box::new(listed)))
        }
        Chore::Walk(walk) => {
            let walked = store.walk(&walk).await?;
            if walk.act != Act::List && !walked.assets.is_empty() {
                durable(store, walk.volume).await?;
            }
            Ok(Done::Walked(walked))
        }
        Chore::Purge(id, reach) => {
            let was_there = match reach {
                Reach::Object => store.purge(id),
                Reach::Url => store.purge_all(id).await,
            };
            done_durably(store, id, was_there).await
        }
        Chore::Invalidate(id, reach) => {
            let was_there = match reach {
                Reach::Object => store.invalidate(id),
                Reach::Url => store.invalidate_all(id).await,
            };
            done_durably(store, id, was_there).await
        }
        Chore::Pin(id, pinned) => {
            store.pin(id, pinned).await.map_err(Undone::NotPinned)?;
            Ok(Done::Plainly)
        }
        Chore::Check { volume, from, repair } => {
            Ok(Done::Checked(store.check(volume, from, repair).await?))
        }
        Chore::Stored { objects, is_whole } => Ok(Done::Stored(stored(store, &objects, is_whole))),
        Chore::States => Ok(Done::States(store.volumes().states())),
    }
}

fn stored(store: &AssetStore, objects: &[ObjectId], is_whole: bool) -> Stored {
    let mut stored = Stored::default();
    let residents = objects.iter().filter_map(|object| store.volumes().resident(*object));
    for Resident { length, present_bytes, .. } in residents {
        if !is_whole || length.is_some_and(|length| present_bytes >= length) {
            stored.objects += 1;
            stored.bytes += present_bytes;
        }
    }
    stored
}

/// What an operator was told is done is so after a crash too.
async fn done_durably(store: &AssetStore, id: ObjectId, was_there: bool) -> Outcome {
    if !was_there {
        return Err(Undone::NoObject);
    }
    durable(store, store.volumes().of(id)).await?;
    Ok(Done::Plainly)
}

async fn durable(store: &AssetStore, volume: VolumeIndex) -> Result<(), Undone> {
    let durable = store.volumes().all_durable(volume).await;
    durable.map_err(|error| Undone::NotDurable(Trouble::from(&error)))
}

impl From<Exhausted> for Undone {
    fn from(_: Exhausted) -> Self {
        Self::Memory
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Instant};

    use super::*;
    use crate::{
        assets::{self, Filter, Head, Key, Lease, Spot},
        bufpool::{self, BufPool},
        storage::{Disk, Sim, Volumes, turns::Turns},
    };

    /// A store with this one object, which is held.
    fn store(key: &Key) -> (Rc<AssetStore>, Lease) {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], 4 << 20, pool);
        let store = Rc::new(AssetStore::new(assets::Options::default(), volumes));
        let lease = store.begin(key, Head::default());
        (store, lease)
    }

    #[test]
    fn what_an_operator_has_taken_away_is_durable_when_that_is_answered() {
        let key = Key::of_library("music", "1.flac");
        let all = |act| Walk {
            volume: VolumeIndex(0),
            from: Spot::Entry(0),
            most: 9,
            filter: Filter::default(),
            act,
        };
        let chores = [
            Chore::Purge(key.id, Reach::Object),
            Chore::Purge(key.id, Reach::Url),
            Chore::Invalidate(key.id, Reach::Object),
            Chore::Invalidate(key.id, Reach::Url),
            Chore::Walk(all(Act::Purge)),
            Chore::Walk(all(Act::Invalidate)),
        ];
        for chore in chores {
            let ((store, _held), done) = (store(&key), Rc::new(RefCell::new(None)));
            let (its_store, its_done, told) = (Rc::clone(&store), Rc::clone(&done), chore.clone());
            let mut turns = Turns::default();
            turns.spawn(async move {
                *its_done.borrow_mut() = Some(carry_out(&its_store, told).await);
            });
            turns.run();
            assert!(done.borrow().is_none(), "{chore:?}: nobody has synced yet");
            turns.spawn(async move {
                store.volumes().tick(Instant::now(), Duration::from_secs(5)).await;
            });
            turns.run();
            assert!(matches!(*done.borrow(), Some(Ok(_))), "{chore:?}: {done:?}");
        }
    }
}
