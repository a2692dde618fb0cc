//! The operator's chores on the cache, each done by the shard that owns the volume.

use std::{rc::Rc, time::Duration};

use super::{Mail, Shard};
use crate::{
    assets::{AssetStore, Listed, NotPinned, Report, Walk, Walked},
    bufpool::Exhausted,
    runtime::{self, Queue, ShardId},
    storage::{ObjectId, State, VolumeIndex},
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
    /// The volumes of one shard.
    States(Vec<(VolumeIndex, State)>),
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
    let there = |is_there| if is_there { Ok(Done::Plainly) } else { Err(Undone::NoObject) };
    match chore {
        Chore::Look(id) => {
            let listed = store.look(id).await?.ok_or(Undone::NoObject)?;
            Ok(Done::Looked(Box::new(listed)))
        }
        Chore::Walk(walk) => Ok(Done::Walked(store.walk(&walk).await?)),
        Chore::Purge(id, Reach::Object) => there(store.purge(id)),
        Chore::Purge(id, Reach::Url) => there(store.purge_all(id).await),
        Chore::Invalidate(id, Reach::Object) => there(store.invalidate(id)),
        Chore::Invalidate(id, Reach::Url) => there(store.invalidate_all(id).await),
        Chore::Pin(id, pinned) => {
            store.pin(id, pinned).await.map_err(Undone::NotPinned)?;
            Ok(Done::Plainly)
        }
        Chore::Check { volume, from, repair } => {
            Ok(Done::Checked(store.check(volume, from, repair).await?))
        }
        Chore::States => {
            let volumes = store.volumes();
            let states = volumes.own().filter_map(|own| Some((own, volumes.state(own)?)));
            Ok(Done::States(states.collect()))
        }
    }
}

impl From<Exhausted> for Undone {
    fn from(_: Exhausted) -> Self {
        Self::Memory
    }
}
