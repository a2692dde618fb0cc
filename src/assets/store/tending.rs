//! What an operator sees of a store, and does to it.
//!
//! Three words: what is *purged* is gone for who opens it next, and who reads it reads on; what is
//! *invalidated* is asked for at its origin before it is served again; what is *pinned* is not
//! evicted, until it is unpinned. A pin is on the name: it outlives a purge, may come before there is
//! anything to keep, and holds for all answers to one URL (`kin`).
//!
//! The URL of an object at rest lies in its response head on disk, so a list reads a head for each
//! line of it, several at a time. What one call looks at is bounded; [`Walked`] says where to go on.

#[cfg(test)]
mod tests;

use std::{ops::Range, rc::Rc};

use super::{Asset, AssetStore};
use crate::{
    assets::Head,
    bufpool::Exhausted,
    storage::{
        Checked, Error, Fault, Generation, InFlight, ObjectId, Resident, Said, Trouble, VolumeIndex,
    },
};

/// Objects that one walk looks at.
const LOOKED_AT: u32 = 1024;

/// Heads that a walk reads at a time: one after the other, a list of a million objects would wait a million
/// times for the disk.
const READS: usize = 16;

/// Bytes that one check reads, about.
const CHECKED_BYTES: u64 = 64 << 20;

/// Names that are pinned in one volume: an operator's script is bounded too. 16 bytes each in memory; what
/// they take of the journal is bounded besides.
const PINS_PER_VOLUME: u64 = 1 << 16;

/// When what is invalidated expired, in seconds of Unix time: before anything that an origin says, so that
/// it is told from what is merely stale, and may be given all the same for a while.
pub(super) const INVALIDATED: u64 = 0;

/// Ranges that are told of one object.
const RANGES: usize = 256;

/// One object of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: ObjectId,
    /// What it is the resource of; `None` where only its name is known.
    pub url: Option<String>,
    /// Which of its contents over time; `None` of a name that is pinned and of which nothing is here.
    pub generation: Option<Generation>,
    /// Length in bytes, where it is known.
    pub length: Option<u64>,
    /// Bytes of the disk that it holds, in whole blocks.
    pub stored_bytes: u64,
    /// Bytes of it that are here.
    pub present_bytes: u64,
    /// Whether it is not to be evicted.
    pub is_pinned: bool,
    /// Whether it is being fetched now.
    pub is_filling: bool,
    /// How many read it now.
    pub readers: usize,
    /// When this generation began, in seconds of Unix time.
    pub born: u64,
    /// Until when it is fresh, in seconds of Unix time.
    pub expires: u64,
    /// What tells it from other versions: its `ETag`, or its `Last-Modified`.
    pub validator: Option<String>,
    /// The bytes of it that are here; in a list, where their number is all that is told, none.
    pub present: Vec<Range<u64>>,
}

impl Listed {
    /// Whether all of it is here.
    pub fn is_complete(&self) -> bool {
        self.length == Some(self.present_bytes)
    }
}

/// Where a walk through a volume stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Before the object of this number.
    Entry(u32),
    /// Before this name, among those that are pinned and those that a pin on another holds for.
    Pin(ObjectId),
}

/// Which objects a walk is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those whose URL begins so.
    pub prefix: Option<Prefix>,
    /// Those that are pinned, or those that are not.
    pub pinned: Option<bool>,
    /// Those of which all is here, or those of which something is missing.
    pub complete: Option<bool>,
}

/// How URLs begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// With these characters.
    Text(String),
    /// With this one, whole segments of it: it itself, and what lies below it.
    Path(String),
}

impl Prefix {
    fn takes(&self, url: &str) -> bool {
        match self {
            Self::Text(text) => url.starts_with(text.as_str()),
            Self::Path(path) => url.strip_prefix(path.as_str()).is_some_and(|rest| {
                rest.is_empty() || path.ends_with('/') || rest.starts_with(['/', '?'])
            }),
        }
    }
}

/// What a walk does to the objects it is about, besides telling them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    List,
    /// See [`AssetStore::purge`].
    Purge,
    /// See [`AssetStore::invalidate`].
    Invalidate,
}

/// A walk through a part of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Which one.
    pub volume: VolumeIndex,
    /// Where to begin.
    pub from: Spot,
    /// How many objects are told at most.
    pub most: usize,
    /// Which.
    pub filter: Filter,
    /// What is done to them.
    pub act: Act,
}

/// What a walk met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    /// The objects, as they were before anything was done to them.
    pub assets: Vec<Listed>,
    /// How many were looked at, those that it was not about among them.
    pub looked_at: usize,
    /// Where to go on; `None` at the end of the volume.
    pub next: Option<Spot>,
}

/// What a check of a part of a volume found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects that were gone through to their end.
    pub objects: u64,
    /// Chunks that were read.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is not as it was written, and the URL of its object where it is known.
    pub faults: Vec<(Option<String>, Fault)>,
    /// Volumes of which nothing can be read, nor is it known what they hold.
    pub unread_volumes: Vec<VolumeIndex>,
    /// Pages of journals that are not what was written; the objects that they told of are lost.
    pub lost_pages: u64,
    /// Those of them in journals that are written anew, without them.
    pub renewed_pages: u64,
    /// The number of the object and of the chunk to go on with; `None` at the end of the volume.
    pub next: Option<(u32, u32)>,
}

impl Report {
    /// With what was found behind it.
    pub fn add(&mut self, part: Report) {
        self.objects += part.objects;
        self.chunks += part.chunks;
        self.bytes += part.bytes;
        self.faults.extend(part.faults);
        self.unread_volumes.extend(part.unread_volumes);
        self.lost_pages += part.lost_pages;
        self.renewed_pages += part.renewed_pages;
        self.next = part.next;
    }
}

/// Why a pin was not set, or lifted, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPinned {
    /// There is no cache to keep anything in.
    #[error("the cache is off")]
    Off,
    /// As many names are pinned as may be.
    #[error("as many names are pinned in its volume as it has room for in its journal")]
    TooMany,
    /// The device fails: it is so for now, and may not outlive a crash.
    #[error("the disk of the cache does not take it: {0}")]
    Device(Trouble),
}

impl AssetStore {
    /// One object, with the bytes of it that are here.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read what was said of it.
    pub async fn look(&self, id: ObjectId) -> Result<Option<Listed>, Exhausted> {
        let mut listed = self.listed(id).await?;
        if let Some(listed) = &mut listed {
            listed.present = self.volumes().ranges(id);
            if let Some(asset) = self.held.present(id.0) {
                listed.present = asset.resource.ranges(RANGES);
            }
            listed.present.truncate(RANGES);
        }
        Ok(listed)
    }

    /// Walks through a part of a volume: [`Walk::most`] objects are told, and about a thousand are
    /// looked at. An object that is there all the while is met by one of the walks that follow each
    /// other, and by no second; one that begins anew meanwhile may be met twice or not.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read into; nothing may have been done.
    ///
    /// # Cancellation
    /// What was met so far is purged, where that was asked for.
    pub async fn walk(&self, walk: &Walk) -> Result<Walked, Exhausted> {
        self.overtake(walk);
        let (spots, end) = self.spots(walk).await;
        let mut walked = Walked { next: end, ..Walked::default() };
        let (mut spots, mut reads) = (spots.into_iter(), InFlight::default());
        loop {
            while reads.len() < READS
                && let Some((spot, id)) = spots.next()
            {
                reads.push(async move { (spot, id, self.listed(id).await) });
            }
            let Some((spot, id, listed)) = reads.next().await else { return Ok(walked) };
            if walked.assets.len() == walk.most {
                walked.next = Some(spot);
                return Ok(walked);
            }
            walked.looked_at += 1;
            let listed = match listed {
                // Those that are under way may have had the memory.
                Err(Exhausted) => {
                    reads.ended().await;
                    self.listed(id).await?
                }
                Ok(listed) => listed,
            };
            let Some(listed) = listed.filter(|listed| walk.filter.takes(listed)) else { continue };
            // Its head was waited for, and another generation, or a pin, may have come meanwhile.
            if walk.act != Act::List && !self.still_stands(&listed, &walk.filter) {
                continue;
            }
            match walk.act {
                Act::List => true,
                Act::Purge => self.purge(id),
                Act::Invalidate => self.invalidate(id),
            };
            walked.assets.push(listed);
        }
    }

    /// What is not here yet no walk meets: that it is being asked for is seen where the walk begins.
    fn overtake(&self, walk: &Walk) {
        if walk.act == Act::List || walk.from != Spot::Entry(0) {
            return;
        }
        let is_meant = |(id, url): &(ObjectId, Rc<str>)| {
            let (url, is_pinned) = (Some(url.to_string()), self.held.is_pinned(*id));
            self.volumes().of(*id) == walk.volume
                && walk.filter.takes(&Listed { url, is_pinned, ..of_name(*id) })
        };
        let asked = self.held.asked.borrow();
        let meant: Vec<_> =
            asked.iter().map(|(id, about)| (ObjectId(*id), Rc::clone(&about.url))).collect();
        drop(asked);
        meant.iter().filter(|one| is_meant(one)).for_each(|(id, _)| self.held.overtake(*id));
    }

    /// Whether an object is still the one that was listed, and is one that the filter takes.
    fn still_stands(&self, listed: &Listed, filter: &Filter) -> bool {
        let now = self.standing(listed.id);
        now.is_some_and(|now| {
            now.generation == listed.generation
                && filter.takes(&Listed { url: listed.url.clone(), ..now })
        })
    }

    async fn spots(&self, walk: &Walk) -> (Vec<(Spot, ObjectId)>, Option<Spot>) {
        match walk.from {
            Spot::Entry(from) => {
                let (entries, end) = self.volumes().walk(walk.volume, from, LOOKED_AT);
                let spot = |(number, id)| (Spot::Entry(number), id);
                (entries.into_iter().map(spot).collect(), end.map(Spot::Entry))
            }
            Spot::Pin(from) => {
                let mut names = self.pinned_names(walk.volume, from, LOOKED_AT as usize + 1).await;
                let end = names.get(LOOKED_AT as usize).copied().map(Spot::Pin);
                names.truncate(LOOKED_AT as usize);
                (names.into_iter().map(|id| (Spot::Pin(id), id)).collect(), end)
            }
        }
    }

    /// Takes an object out of the cache, as an eviction does. Who reads it reads on. False where
    /// there is none.
    pub fn purge(&self, id: ObjectId) -> bool {
        self.held.overtake(id);
        if let Some(asset) = self.held.present(id.0) {
            self.forget(&asset);
            return true;
        }
        let volumes = self.volumes();
        if volumes.resident(id).is_none() {
            return false;
        }
        volumes.forget(id);
        self.held.policy(id, |policy| policy.remove(id));
        true
    }

    /// Has an object asked for at its origin before it is served again. False where there is none.
    pub fn invalidate(&self, id: ObjectId) -> bool {
        self.held.overtake(id);
        let asset = self.held.present(id.0);
        if let Some(asset) = &asset {
            asset.said.set(Said { expires: INVALIDATED, ..asset.said.get() });
        }
        if self.volumes().resident(id).is_none() {
            return asset.is_some();
        }
        self.volumes().expire(id, INVALIDATED);
        true
    }

    /// Pins a name with all that answers to its URL, or lets go of it. When this returns, it outlives a
    /// crash.
    ///
    /// # Errors
    /// [`NotPinned`]. After [`NotPinned::Device`] it is so all the same, until the node ends.
    ///
    /// # Cancellation
    /// It is so all the same.
    pub async fn pin(&self, id: ObjectId, pinned: bool) -> Result<(), NotPinned> {
        let volumes = self.volumes();
        let state = volumes.state(volumes.of(id)).filter(|_| volumes.keeps(id));
        let pins = state.ok_or(NotPinned::Off)?.pins;
        let has_place = pins < PINS_PER_VOLUME && volumes.has_place_for_pin(id);
        if pinned && !volumes.is_pinned(id) && !has_place {
            return Err(NotPinned::TooMany);
        }
        match pinned {
            true => volumes.pin(id, true),
            false => self.unpin(id),
        }
        volumes.durable(id).await.map_err(|error| NotPinned::Device(Trouble::from(&error)))
    }

    /// Reads what lies in a volume from a chunk of an object on, and checks that it is what was
    /// written: some 64 MiB, or a thousand objects. With `repair`, what is not is taken out of the cache.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read into.
    pub async fn check(
        &self,
        volume: VolumeIndex,
        (entry, chunk): (u32, u32),
        repair: bool,
    ) -> Result<Report, Exhausted> {
        let volumes = self.volumes();
        let (entries, end) = volumes.walk(volume, entry, LOOKED_AT);
        // It may have gone since, and what comes next has not been read at all.
        let from =
            if entries.first().is_some_and(|(first, _)| *first == entry) { chunk } else { 0 };
        let ids: Vec<_> = entries.iter().map(|(_, id)| *id).collect();
        let checked = volumes.check(volume, &ids, from, CHECKED_BYTES, repair).await;
        let Checked { chunks, bytes, faults, next } = checked.map_err(no_memory)?;
        let stop = next.and_then(|(id, _)| ids.iter().position(|other| *other == id));
        let mut report = self.check_journal(volume, (entry, chunk), repair);
        report.add(Report {
            objects: stop.unwrap_or(ids.len()) as u64,
            chunks,
            bytes,
            next: match (next, stop) {
                (Some((_, chunk)), Some(stop)) => Some((entries[stop].0, chunk)),
                _ => end.map(|entry| (entry, 0)),
            },
            ..Report::default()
        });
        for fault in faults {
            let id = fault.object;
            let url = self.listed(id).await?.and_then(|listed| listed.url);
            self.drop_from_policy_if_gone(id);
            report.faults.push((url, fault));
        }
        Ok(report)
    }

    /// What is to be said of a volume as a whole, where its check begins.
    fn check_journal(&self, volume: VolumeIndex, from: (u32, u32), repair: bool) -> Report {
        let mut report = Report::default();
        let Some(state) = self.volumes().state(volume).filter(|_| from == (0, 0)) else {
            return report;
        };
        report.unread_volumes.extend(state.is_unread.then_some(volume));
        report.lost_pages = state.lost_pages;
        if repair && !state.is_unread {
            report.renewed_pages = state.lost_pages;
            self.volumes().renew(volume);
        }
        report
    }

    /// An object whose head was not sound has been taken out below this store.
    fn drop_from_policy_if_gone(&self, id: ObjectId) {
        let volumes = self.volumes();
        if volumes.resident(id).is_none() && self.held.present(id.0).is_none() {
            self.held.policy(id, |policy| policy.remove(id));
        }
    }

    /// An object as it is known without its head, where it rests; or a name that is pinned.
    fn standing(&self, id: ObjectId) -> Option<Listed> {
        let is_pinned = self.held.is_pinned(id);
        if let Some(asset) = self.held.present(id.0) {
            return Some(of_asset(&asset, is_pinned));
        }
        match self.volumes().resident(id) {
            Some(resident) => Some(of_resident(resident, is_pinned, None)),
            None => is_pinned.then(|| of_name(id)),
        }
    }

    async fn listed(&self, id: ObjectId) -> Result<Option<Listed>, Exhausted> {
        let is_pinned = self.held.is_pinned(id);
        let resident = self.volumes().resident(id).filter(|_| self.held.present(id.0).is_none());
        let Some(resident) = resident else { return Ok(self.standing(id)) };
        let head = self.volumes().head(id).await.map_err(no_memory)?;
        // It may be dropped by now: it was there a moment ago.
        Ok(Some(of_resident(resident, is_pinned, head.as_deref())))
    }
}

/// All else that can go wrong with a read is told as what was found.
fn no_memory(error: Error) -> Exhausted {
    match error {
        Error::Exhausted(exhausted) => exhausted,
        _ => Exhausted,
    }
}

impl Filter {
    fn takes(&self, listed: &Listed) -> bool {
        let url = listed.url.as_deref().unwrap_or_default();
        self.prefix.as_ref().is_none_or(|prefix| prefix.takes(url))
            && self.pinned.is_none_or(|pinned| listed.is_pinned == pinned)
            && self.complete.is_none_or(|complete| listed.is_complete() == complete)
    }
}

fn of_name(id: ObjectId) -> Listed {
    Listed {
        id,
        url: None,
        generation: None,
        length: None,
        stored_bytes: 0,
        present_bytes: 0,
        is_pinned: true,
        is_filling: false,
        readers: 0,
        born: 0,
        expires: 0,
        validator: None,
        present: Vec::new(),
    }
}

fn of_resident(resident: Resident, is_pinned: bool, head: Option<&[u8]>) -> Listed {
    let url = head.and_then(Head::url_of);
    let head = head.zip(url.as_ref()).and_then(|(bytes, url)| Head::decode(bytes, url));
    Listed {
        url,
        generation: Some(resident.generation),
        length: resident.length,
        stored_bytes: resident.stored_bytes,
        present_bytes: resident.present_bytes,
        is_pinned,
        born: resident.said.born,
        expires: resident.said.expires,
        validator: head.as_ref().and_then(Head::validator),
        ..of_name(resident.id)
    }
}

fn of_asset(asset: &Asset, is_pinned: bool) -> Listed {
    let (resource, said) = (&asset.resource, asset.said.get());
    Listed {
        url: Some(asset.key.url.to_string()),
        generation: Some(asset.generation),
        length: resource.length(),
        stored_bytes: resource.stored_bytes(),
        present_bytes: resource.present_bytes(),
        is_pinned,
        is_filling: asset.is_filling(),
        readers: asset.leases.get(),
        born: said.born,
        expires: said.expires,
        validator: asset.head().validator(),
        ..of_name(asset.key.id)
    }
}
