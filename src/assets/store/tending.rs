//! What an operator sees of a store, and does to it.
//!
//! Three words: what is *purged* is gone for who opens it next, and who reads it reads on; what is
//! *invalidated* is asked for at its origin before it is served again; what is *pinned* is not
//! evicted, until it is unpinned. A pin is on the name: it outlives a purge, may come before there is
//! anything to keep, and holds for all answers to one URL (`kin`).
//!
//! The URL of an object at rest lies in its response head on disk, so a list reads a head for each
//! line of it, several at a time. What one call looks at is bounded; [`Walked`] says where to go on.

use std::ops::Range;

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
            match walk.act {
                Act::List => true,
                Act::Purge => self.purge(id),
                Act::Invalidate => self.invalidate(id),
            };
            walked.assets.push(listed);
        }
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
        if repair {
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

    async fn listed(&self, id: ObjectId) -> Result<Option<Listed>, Exhausted> {
        let is_pinned = self.held.is_pinned(id);
        if let Some(asset) = self.held.present(id.0) {
            return Ok(Some(of_asset(&asset, is_pinned)));
        }
        let Some(resident) = self.volumes().resident(id) else {
            return Ok(is_pinned.then(|| of_name(id)));
        };
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
        is_filling: asset.filling.get(),
        readers: asset.leases.get(),
        born: said.born,
        expires: said.expires,
        validator: asset.head().validator(),
        ..of_name(asset.key.id)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Instant};

    use futures_lite::future::{self, block_on};

    use super::*;
    use crate::{
        assets::{FillPermit, Key, Lease, Options},
        bufpool::{self, BufPool},
        runtime,
        storage::{CHUNK_BYTES, Disk, Sim, Volumes, device::Device, turns::Turns},
    };

    const CHUNKS: u64 = 3;

    fn store_on(disk: Sim) -> AssetStore {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        AssetStore::new(Options::default(), Volumes::on(vec![Disk::Sim(disk)], 4 << 20, pool))
    }

    fn key(number: u32) -> Key {
        Key::of_library("music", &format!("{number}.flac"))
    }

    fn open(store: &AssetStore, number: u32) -> (Lease, Option<FillPermit>) {
        open_key(store, &key(number))
    }

    fn open_key(store: &AssetStore, key: &Key) -> (Lease, Option<FillPermit>) {
        let found = block_on(store.find(key)).unwrap();
        let lease = found.unwrap_or_else(|| {
            let now = super::super::unix_seconds(runtime::wall_clock());
            let mut head = Head { asked: now, answered: now, ..Head::default() };
            head.fields.insert("etag", http::HeaderValue::from_static("\"v\""));
            store.begin(key, head)
        });
        let permit = store.permit(&lease);
        (lease, permit)
    }

    /// Caches the objects of these numbers, whole.
    fn cache(store: &AssetStore, numbers: std::ops::Range<u32>) {
        numbers.for_each(|number| cache_key(store, &key(number)));
    }

    fn cache_key(store: &AssetStore, key: &Key) {
        let (lease, _permit) = open_key(store, key);
        let resource = Rc::clone(&lease.resource);
        let mut turns = Turns::default();
        turns.spawn(async move {
            resource.set_length(CHUNKS * CHUNK_BYTES).unwrap();
            let bytes = vec![7; (CHUNKS * CHUNK_BYTES) as usize];
            resource.write_at(0, &bytes).await.unwrap();
            resource.flush().await;
            resource.commit().unwrap();
        });
        turns.run();
    }

    fn walk(from: Spot, most: usize, act: Act, prefix: Option<&str>) -> Walk {
        let prefix = prefix.map(|text| Prefix::Text(text.to_owned()));
        let filter = Filter { prefix, ..Filter::default() };
        Walk { volume: VolumeIndex(0), from, most, filter, act }
    }

    /// All that a list tells, by pages of `most`.
    fn list(store: &AssetStore, most: usize, prefix: Option<&str>) -> Vec<Listed> {
        let (mut all, mut from) = (Vec::new(), Some(Spot::Entry(0)));
        while let Some(spot) = from {
            let met = block_on(store.walk(&walk(spot, most, Act::List, prefix))).unwrap();
            assert!(met.assets.len() <= most);
            all.extend(met.assets);
            from = met.next;
        }
        all
    }

    #[test]
    fn a_list_tells_what_rests_and_what_is_in_use_and_opens_nothing() {
        let store = store_on(Sim::default());
        cache(&store, 0..5);
        let (reader, _) = open(&store, 4);
        for most in [1, 2, 100] {
            let listed = list(&store, most, None);
            assert_eq!(listed.len(), 5, "pages of {most}");
            for asset in &listed {
                assert!(asset.is_complete() && !asset.is_filling && !asset.is_pinned);
                let is_read = asset.id == key(4).id;
                assert_eq!(asset.readers, usize::from(is_read));
                assert_eq!(asset.validator.as_deref(), Some("\"v\""));
                assert!(asset.expires > asset.born && asset.stored_bytes > CHUNKS * CHUNK_BYTES);
            }
        }
        let some = list(&store, 100, Some("library:music/3"));
        assert_eq!(some.iter().map(|asset| asset.id).collect::<Vec<_>>(), [key(3).id]);
        assert_eq!(store.len(), 1, "a look opened something");
        let one = block_on(store.look(key(3).id)).unwrap().unwrap();
        assert_eq!(one.present, vec![0..CHUNKS * CHUNK_BYTES]);
        assert_eq!(block_on(store.look(key(9).id)).unwrap(), None);
        drop(reader);
    }

    #[test]
    fn what_is_purged_is_gone_and_who_reads_it_reads_on() {
        let store = store_on(Sim::default());
        cache(&store, 0..3);
        let (reader, _) = open(&store, 0);
        assert!(store.purge(key(0).id) && store.purge(key(1).id));
        assert!(!store.purge(key(0).id) && !store.purge(key(9).id));
        assert_eq!(list(&store, 10, None).len(), 1);
        assert_eq!(reader.resource.present_bytes(), CHUNKS * CHUNK_BYTES);
        assert!(block_on(reader.resource.read_at(70_000, 5)).unwrap().is_some());
        assert_ne!(open(&store, 0).0.generation, reader.generation);
        let used = store.volumes().used_bytes();
        drop(reader);
        assert!(store.volumes().used_bytes() < used, "its blocks are free with its last reader");
    }

    #[test]
    fn what_is_done_to_a_url_is_done_to_all_that_answers_it() {
        let store = store_on(Sim::default());
        let (german, french) = (key(1).secondary("de"), key(1).secondary("fr"));
        cache(&store, 1..3);
        [&german, &french].into_iter().for_each(|key| cache_key(&store, key));
        let (reader, _) = open_key(&store, &french);
        let is_pinned = |key: &Key| block_on(store.look(key.id)).unwrap().unwrap().is_pinned;
        let pinned = || [&key(1), &german, &french, &key(2)].map(is_pinned);
        store.volumes().pin(key(1).id, true);
        assert_eq!(pinned(), [true, true, true, false]);
        for most in [1, 2, 100] {
            let mut kept = BTreeSet::from([key(1).id, german.id, french.id]);
            let mut from = Some(Spot::Pin(ObjectId(0)));
            while let Some(spot) = from {
                let met = block_on(store.walk(&walk(spot, most, Act::List, None))).unwrap();
                assert!(met.assets.iter().all(|asset| asset.is_pinned && kept.remove(&asset.id)));
                from = met.next;
            }
            assert!(kept.is_empty(), "pages of {most}: {kept:?}");
        }
        let _ = block_on(future::poll_once(store.pin(german.id, false)));
        assert_eq!(pinned(), [false; 4], "by whichever it is named");
        assert!(block_on(store.invalidate_all(key(1).id)));
        let is_fresh = |key: &Key| !store.is_invalidated(&open_key(&store, key).0);
        assert_eq!([&key(1), &german, &french, &key(2)].map(is_fresh), [false, false, false, true]);
        assert!(store.purge(key(1).id), "one of them alone, by its id");
        assert_eq!(list(&store, 10, None).len(), 3);
        assert!(block_on(store.purge_all(key(1).id)) && !block_on(store.purge_all(key(1).id)));
        let left: Vec<_> = list(&store, 10, None).iter().map(|asset| asset.id).collect();
        assert_eq!(
            (left, reader.resource.present_bytes()),
            (vec![key(2).id], CHUNKS * CHUNK_BYTES)
        );
    }

    #[test]
    fn a_walk_purges_what_it_is_about_and_no_more_than_it_was_told() {
        let store = store_on(Sim::default());
        cache(&store, 0..12);
        let purge = |from, most| {
            block_on(store.walk(&walk(from, most, Act::Purge, Some("library:music/1")))).unwrap()
        };
        let first = purge(Spot::Entry(0), 2);
        assert_eq!(first.assets.len(), 2);
        assert_eq!(list(&store, 100, None).len(), 10);
        let rest = purge(first.next.unwrap(), 100);
        assert_eq!((rest.assets.len(), rest.next), (1, None));
        let left = list(&store, 100, None);
        assert!(left.len() == 9 && left.iter().all(|a| !a.url.as_ref().unwrap().contains("/1")));
    }

    #[test]
    fn what_is_invalidated_is_not_fresh_whether_it_is_in_use_or_not() {
        let store = store_on(Sim::default());
        cache(&store, 0..2);
        let (reader, _) = open(&store, 0);
        assert!(store.invalidate(key(0).id) && store.invalidate(key(1).id));
        assert!(!store.invalidate(key(9).id));
        let now = super::super::unix_seconds(runtime::wall_clock());
        for asset in list(&store, 10, None) {
            assert!(asset.expires <= now && asset.is_complete(), "{asset:?}");
        }
        assert!(store.is_invalidated(&reader));
        assert!(store.is_invalidated(&open(&store, 1).0));
        store.refresh(&reader, (*reader.head()).clone());
        assert!(!store.is_invalidated(&reader), "it was asked for");
    }

    /// It may be given for a while, though it is stale: that is what an invalidation ends.
    #[test]
    fn what_is_stale_is_invalidated_as_what_is_fresh_is() {
        let store = store_on(Sim::default());
        let now = super::super::unix_seconds(runtime::wall_clock());
        let mut head = Head { asked: now - 5, answered: now - 5, ..Head::default() };
        let said = http::HeaderValue::from_static("max-age=0, stale-while-revalidate=600");
        head.fields.insert("cache-control", said);
        let lease = store.begin(&key(0), head);
        assert!(!store.is_invalidated(&lease) && store.invalidate(key(0).id));
        assert!(store.is_invalidated(&lease));
    }

    #[test]
    fn a_path_is_a_prefix_of_whole_segments() {
        let takes = |path: &str, url| Prefix::Path(path.to_owned()).takes(url);
        for below in ["http://a/album", "http://a/album/1", "http://a/album?v=2"] {
            assert!(takes("http://a/album", below), "{below}");
        }
        for beside in ["http://a/album2/1", "http://a/album.flac", "http://a/alb"] {
            assert!(!takes("http://a/album", beside), "{beside}");
        }
        assert!(takes("http://a/", "http://a/album2") && takes("http://a/b/", "http://a/b/c"));
        assert!(Prefix::Text("http://a/album".to_owned()).takes("http://a/album2/1"));
    }

    #[test]
    fn a_pin_returns_when_it_is_durable_and_may_come_before_there_is_anything() {
        let disk = Sim::default();
        let store = Rc::new(store_on(disk));
        let done = Rc::new(RefCell::new(None));
        let mut turns = Turns::default();
        let (pinning, its_done) = (Rc::clone(&store), Rc::clone(&done));
        turns.spawn(async move {
            *its_done.borrow_mut() = Some(pinning.pin(key(7).id, true).await);
        });
        turns.run();
        assert!(done.borrow().is_none(), "nobody has synced yet");
        let ticking = Rc::clone(&store);
        turns.spawn(async move {
            ticking.volumes().tick(Instant::now(), std::time::Duration::from_secs(5)).await;
        });
        turns.run();
        assert_eq!(*done.borrow(), Some(Ok(())));
        let pins = walk(Spot::Pin(ObjectId(0)), 10, Act::List, None);
        let pinned = block_on(store.walk(&pins)).unwrap().assets;
        assert_eq!((pinned.len(), pinned[0].id, &pinned[0].url), (1, key(7).id, &None));
        cache(&store, 7..8);
        assert!(store.purge(key(7).id));
        assert!(store.volumes().is_pinned(key(7).id), "a pin is on the name");
    }

    /// Else they would take all of it, and nothing would be cached any more.
    #[test]
    fn pins_take_a_part_of_the_journal_and_no_more() {
        let device = Device::default();
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let volumes = block_on(device.volumes(4 << 20, 256 << 10, pool)).unwrap();
        let store = AssetStore::new(Options::default(), volumes);
        let pin = |number| block_on(future::poll_once(store.pin(key(number).id, true)));
        // Who is not refused waits for the disk.
        let pinned = (0..100_000).take_while(|number| pin(*number).is_none()).count() as u32;
        assert!((1_000..2_000).contains(&pinned), "{pinned}");
        assert_eq!(pin(pinned), Some(Err(NotPinned::TooMany)));
        assert_eq!(pin(0), None, "it is pinned already");
        cache(&store, 0..3);
        assert_eq!((list(&store, 100, None).len(), store.stats().evicted), (3, 0));
        let _ = block_on(future::poll_once(store.pin(key(5).id, false)));
        assert_eq!(pin(pinned), None);
    }

    #[test]
    fn without_a_cache_nothing_is_pinned() {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let store = AssetStore::new(Options::default(), Volumes::off(4, 1, pool));
        assert_eq!(block_on(store.pin(key(1).id, true)), Err(NotPinned::Off));
        assert!(list(&store, 10, None).is_empty());
    }

    #[test]
    fn a_check_finds_every_flipped_bit_and_takes_it_out_only_where_it_may() {
        let disk = Sim::default();
        let store = store_on(disk.clone());
        cache(&store, 0..4);
        let check = |repair| block_on(store.check(VolumeIndex(0), (0, 0), repair)).unwrap();
        let sound = check(false);
        assert_eq!((sound.objects, sound.chunks), (4, 4 * (CHUNKS + 1)));
        assert!(sound.faults.is_empty() && sound.next.is_none());
        // A chunk of one that rests, one of one that is read, and a head.
        let (reader, _) = open(&store, 1);
        for (number, chunk) in [(0, Some(1)), (1, Some(2)), (2, None)] {
            disk.flip(store.volumes().place_of(key(number).id, chunk) + 9, 4);
        }
        for repair in [false, false, true] {
            let report = check(repair);
            let mut faults: Vec<_> = report.faults.iter().collect();
            faults.sort_by_key(|(_, fault)| (0..4).position(|n| key(n).id == fault.object));
            let dropped: Vec<_> = faults.iter().map(|(_, fault)| fault.is_dropped).collect();
            assert_eq!(dropped, [repair, false, repair]);
            let bytes: Vec<_> = faults.iter().map(|(_, fault)| fault.bytes.clone()).collect();
            let chunk = |number: u64| Some(number * CHUNK_BYTES..(number + 1) * CHUNK_BYTES);
            assert_eq!(bytes, [chunk(1), chunk(2), None]);
        }
        assert_eq!(list(&store, 10, None).len(), 3, "without its head an object is of no use");
        let one = block_on(store.look(key(0).id)).unwrap().unwrap();
        assert_eq!(one.present, [0..CHUNK_BYTES, 2 * CHUNK_BYTES..3 * CHUNK_BYTES]);
        assert_eq!(check(false).faults.len(), 1);
        drop(reader);
        assert!(check(true).faults[0].1.is_dropped && check(false).faults.is_empty());
    }
}
