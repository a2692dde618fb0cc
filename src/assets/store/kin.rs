//! All answers to one URL at once: who names a source means each of them.
//!
//! Answers that `Vary`, and a redirect beside what it leads to, are objects of their own. Their ids begin
//! as that of the URL does (`key::kin`), so the catalog and the pins, which are in
//! order, find them without a read of the disk. A pin is on the URL: it holds for whatever answers it,
//! now or later.

use std::collections::BTreeSet;

use futures_lite::future;

use super::{AssetStore, Held};
use crate::{
    assets::key::kin,
    storage::{ObjectId, VolumeIndex},
};

/// Entries of the catalog that are looked at before others get their turn.
const LOOKED_AT: u32 = 4096;

/// Pins of one URL that are lifted at once: one, or one for each of its answers that was named by its
/// id.
const PINS: usize = 1024;

impl AssetStore {
    /// [Purges](Self::purge) all answers to the URL with this key. False where there is none.
    pub async fn purge_all(&self, id: ObjectId) -> bool {
        let answers = self.answers(id).await;
        answers.into_iter().filter(|id| self.purge(*id)).count() > 0
    }

    /// [Invalidates](Self::invalidate) all answers to the URL with this key. False where there is none.
    pub async fn invalidate_all(&self, id: ObjectId) -> bool {
        let answers = self.answers(id).await;
        answers.into_iter().filter(|id| self.invalidate(*id)).count() > 0
    }

    /// All answers that are here, in use or at rest, or are being asked for. One that comes meanwhile may
    /// be among them or not.
    async fn answers(&self, id: ObjectId) -> Vec<ObjectId> {
        let (kin, volumes) = (kin(id), self.volumes());
        let (mut answers, mut from) = (Vec::new(), Some(0));
        while let Some(entry) = from {
            let (entries, next) = volumes.walk(volumes.of(id), entry, LOOKED_AT);
            answers.extend(entries.into_iter().map(|(_, id)| id).filter(|id| kin.contains(id)));
            from = next;
            future::yield_now().await;
        }
        let (in_use, asked) = (self.held.assets.borrow(), self.held.asked.borrow());
        let under_way = in_use.keys().chain(asked.keys());
        answers.extend(under_way.map(|id| ObjectId(*id)).filter(|id| kin.contains(id)));
        answers.sort_unstable();
        answers.dedup();
        answers
    }

    /// The first `most` names from `from` on that are pinned, or are those of objects that a pin on another
    /// holds for, in order.
    pub(super) async fn pinned_names(
        &self,
        volume: VolumeIndex,
        from: ObjectId,
        most: usize,
    ) -> Vec<ObjectId> {
        let volumes = self.volumes();
        let mut names: BTreeSet<_> = volumes.pins(volume, from, most).into_iter().collect();
        let mut entry = Some(0);
        while let Some(first) = entry {
            let (entries, next) = volumes.walk(volume, first, LOOKED_AT);
            let ids = entries.into_iter().map(|(_, id)| id).filter(|id| *id >= from);
            names.extend(ids.filter(|id| self.held.is_pinned(*id)));
            while names.len() > most {
                names.pop_last();
            }
            entry = next;
            future::yield_now().await;
        }
        names.into_iter().collect()
    }

    /// Lets go of a URL, by whichever of its answers it was pinned.
    pub(super) fn unpin(&self, id: ObjectId) {
        let (kin, volumes) = (kin(id), self.volumes());
        let pins = volumes.pins(volumes.of(id), *kin.start(), PINS).into_iter();
        pins.take_while(|id| kin.contains(id)).for_each(|id| volumes.pin(id, false));
        self.held.stuck.borrow_mut().remove(&volumes.of(id));
    }
}

impl Held {
    /// Whether an object is not to be evicted, since a pin is on its URL.
    pub(super) fn is_pinned(&self, id: ObjectId) -> bool {
        self.volumes.has_pin(self.volumes.of(id), kin(id))
    }
}
