//! Values that were made of a source: they lie in its volume, and are worth nothing once there is
//! another version of it. Small ones are kept and given whole; long ones are written and read like what
//! comes from an origin, and are found by others while they are.
//!
//! Each is an object of its own among the answers to the source's URL, so that who purges the source
//! purges it too, and is evicted like any other. Its URL is that of the source with a fragment, which
//! no other resource has; its head names the version that it was made of.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Asset, AssetStore, FillPermit, Lease};
use crate::{
    assets::{Head, Key},
    bufpool::Exhausted,
    runtime,
    storage::{self, Failure},
};

/// What names the version that a value was made of.
const MADE_OF: HeaderName = HeaderName::from_static("x-kithara-made-of");
/// What is said of a long value by who made it, once that has all of it.
const ABOUT: HeaderName = HeaderName::from_static("x-kithara-about");
/// The longest small value, in bytes: a seek index has less.
const VALUE_BYTES: usize = 256 << 10;

impl AssetStore {
    /// The value called `name` that was made of this version of the source with `key`.
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read it.
    pub async fn derived(
        &self,
        key: &Key,
        version: &str,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Exhausted> {
        let Some(lease) = self.find_derived(key, version, name).await? else { return Ok(None) };
        let length = lease.resource.length().filter(|length| *length <= VALUE_BYTES as u64);
        // One that is not complete is just being written, or was given up.
        let (Some(length), true) = (length, lease.resource.is_complete()) else { return Ok(None) };
        let mut value = Vec::with_capacity(length as usize);
        while (value.len() as u64) < length {
            match lease.resource.read_at(value.len() as u64, VALUE_BYTES).await {
                Ok(Some(block)) => value.extend_from_slice(&block),
                Ok(None) | Err(_) => {
                    self.forget(&lease);
                    return Ok(None);
                }
            }
        }
        Ok(Some(value))
    }

    /// Keeps `value` as `name`, made of this version of the source with `key`, in place of an older one.
    /// Where the disk does not take it, it is not kept: it can be made again.
    pub async fn keep_derived(&self, key: &Key, version: &str, name: &str, value: &[u8]) {
        if value.len() > VALUE_BYTES {
            return;
        }
        let lease = self.begin(&key.derived(name), head(version));
        let Some(_permit) = self.permit(&lease) else { return };
        let resource = &lease.resource;
        let written = async {
            resource.set_length(value.len() as u64)?;
            resource.write_at(0, value).await?;
            resource.commit()?;
            // Only what is on disk outlives the lease.
            lease.flush().await;
            Ok::<_, storage::Error>(())
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, name, "a value is not kept");
            self.forget(&lease);
        }
    }
}

impl AssetStore {
    /// The long value called `name` of this version of the source with `key`: one that is here, or that
    /// somebody is making or gave up, of which nothing is said [about it](Self::about).
    ///
    /// # Errors
    /// [`Exhausted`] where there is no memory to read what is said of it.
    pub async fn find_derived(
        &self,
        key: &Key,
        version: &str,
        name: &str,
    ) -> Result<Option<Lease>, Exhausted> {
        let Some(lease) = self.find(&key.derived(name)).await? else { return Ok(None) };
        if lease.head().fields.get(MADE_OF) != Some(&made_of(version)) {
            self.forget(&lease);
            return Ok(None);
        }
        self.count(&lease);
        tells_of_loss(&lease);
        Ok(Some(lease))
    }

    /// Begins a long value, in place of an older one. Where it `is_shared` others find it.
    pub fn begin_derived(
        &self,
        key: &Key,
        version: &str,
        name: &str,
        is_shared: bool,
    ) -> (Lease, FillPermit) {
        let (key, head) = (key.derived(name), head(version));
        let lease = match is_shared {
            true => self.begin(&key, head),
            false => self.begin_alone(&key, head),
        };
        tells_of_loss(&lease);
        let permit = self.permit(&lease).expect("it has just begun");
        (lease, permit)
    }

    /// Keeps a long value of which all is written, with what is said `about` it. False where the disk has
    /// not taken all of it.
    ///
    /// # Cancellation
    /// It is not kept.
    pub async fn settle_derived(&self, asset: &Asset, about: &str) -> bool {
        let Ok(about) = HeaderValue::from_str(about) else { return false };
        let mut head = Head::clone(&asset.head());
        head.fields.insert(ABOUT, about);
        self.refresh(asset, head);
        let resource = &asset.resource;
        asset.flush().await;
        let end = resource.present_from(0).unwrap_or(0);
        let is_on_disk = resource.is_cached() && resource.stored_bytes_of(&(0..end)) == end;
        // Last, since what is committed is what others get.
        is_on_disk && resource.commit().is_ok()
    }

    /// What its maker said about a long value; `None` where not all of it is here.
    pub fn about(lease: &Lease) -> Option<String> {
        let head = lease.head();
        let about = head.fields.get(ABOUT).filter(|_| lease.resource.is_complete())?;
        about.to_str().ok().map(str::to_owned)
    }
}

/// The disk lost bytes of what was made of a source, and nobody fetches those anew.
#[derive(Debug, thiserror::Error)]
#[error("the disk lost bytes of what was made of a source")]
struct Lost;

/// Who reads what the disk loses is told so; who comes later has it made again.
fn tells_of_loss(lease: &Lease) {
    let asset = std::rc::Rc::downgrade(lease.asset());
    lease.resource.on_loss(move || {
        if let Some(asset) = asset.upgrade() {
            asset.forget();
            asset.resource.fail(Failure::new(Lost));
        }
    });
}

fn head(version: &str) -> Head {
    let now = super::unix_seconds(runtime::wall_clock());
    let mut fields = HeaderMap::new();
    fields.insert(MADE_OF, made_of(version));
    Head { fields, asked: now, answered: now, ..Head::default() }
}

/// A version in few characters that any field can hold.
fn made_of(version: &str) -> HeaderValue {
    let digest = Key::of_text(version).id.to_string();
    HeaderValue::from_str(&digest).expect("hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::{
        assets::Options,
        bufpool::{self, BufPool},
        storage::{Disk, Sim, Volumes, turns::Turns},
    };
    use std::rc::Rc;

    fn store() -> Rc<AssetStore> {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 8 << 20 });
        let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], 4 << 20, pool);
        Rc::new(AssetStore::new(Options::default(), volumes))
    }

    fn keep(store: &Rc<AssetStore>, version: &'static str, value: &[u8]) {
        let (store, value) = (Rc::clone(store), value.to_vec());
        let mut turns = Turns::default();
        turns.spawn(async move { store.keep_derived(&song(), version, "index", &value).await });
        turns.run();
    }

    fn kept(store: &AssetStore, version: &str) -> Option<Vec<u8>> {
        block_on(store.derived(&song(), version, "index")).unwrap()
    }

    fn song() -> Key {
        Key::of_library("music", "song.mp3")
    }

    #[test]
    fn a_value_is_of_one_version_and_the_next_takes_its_place() {
        let store = store();
        assert_eq!(kept(&store, "v1"), None);
        let long: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        keep(&store, "v1", &long);
        assert_eq!(kept(&store, "v1"), Some(long));
        assert_eq!(kept(&store, "v2"), None, "it is of another version");
        keep(&store, "v2", b"second");
        assert_eq!((kept(&store, "v2"), kept(&store, "v1")), (Some(b"second".to_vec()), None));
        assert_eq!(kept(&store, "v2"), None, "who asks for a version that is gone takes it out");
    }

    /// Writes a long value of 200,000 bytes, and settles it if `is_whole`.
    fn make(store: &Rc<AssetStore>, version: &'static str, is_whole: bool) -> (Lease, FillPermit) {
        let made = store.begin_derived(&song(), version, "long", true);
        let (store, lease) = (Rc::clone(store), made.0.clone());
        let mut turns = Turns::default();
        turns.spawn(async move {
            lease.resource.write_at(0, &[7; 200_000]).await.unwrap();
            assert_eq!(AssetStore::about(&lease), None, "not all of it is there");
            assert!(!is_whole || store.settle_derived(&lease, "3 of 4").await);
        });
        turns.run();
        made
    }

    fn found(store: &AssetStore, version: &str) -> Option<Lease> {
        block_on(store.find_derived(&song(), version, "long")).unwrap()
    }

    #[test]
    fn a_long_value_is_found_while_it_is_made_and_told_about_once_it_is_whole() {
        let store = store();
        assert!(found(&store, "v1").is_none());
        let making = make(&store, "v1", false);
        let joined = found(&store, "v1").unwrap();
        assert_eq!((joined.generation, AssetStore::about(&joined)), (making.0.generation, None));
        drop((making, joined));
        let made = make(&store, "v1", true);
        drop(made);
        let at_rest = found(&store, "v1").unwrap();
        assert_eq!(AssetStore::about(&at_rest).as_deref(), Some("3 of 4"));
        assert_eq!(at_rest.resource.length(), Some(200_000));
        drop(at_rest);
        assert!(found(&store, "v2").is_none() && found(&store, "v1").is_none());
    }

    #[test]
    fn what_is_for_one_alone_is_not_found() {
        let store = store();
        let (lease, _permit) = store.begin_derived(&song(), "v1", "long", false);
        assert!(!lease.is_shared() && found(&store, "v1").is_none());
    }

    #[test]
    fn who_purges_a_source_purges_what_was_made_of_it() {
        let store = store();
        keep(&store, "v1", b"value");
        assert!(block_on(store.purge_all(song().id)));
        assert_eq!(kept(&store, "v1"), None);
    }
}
