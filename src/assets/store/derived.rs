//! Small values that were made of a source: they lie in its volume, and are worth nothing once there is
//! another version of it.
//!
//! Each is an object of its own among the answers to the source's URL, so that who purges the source
//! purges it too, and is evicted like any other. Its URL is that of the source with a fragment, which
//! no other resource has; its head names the version that it was made of.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::AssetStore;
use crate::{
    assets::{Head, Key},
    bufpool::Exhausted,
    runtime, storage,
};

/// What names the version that a value was made of.
const MADE_OF: HeaderName = HeaderName::from_static("x-kithara-made-of");
/// The longest value, in bytes: a seek index has less.
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
        let Some(lease) = self.find(&key.derived(name)).await? else { return Ok(None) };
        let length = lease.resource.length().filter(|length| *length <= VALUE_BYTES as u64);
        let is_of_it = lease.head().fields.get(MADE_OF) == Some(&made_of(version));
        if !is_of_it {
            self.forget(&lease);
        }
        // One that is not complete is just being written, or was given up.
        let (Some(length), true, true) = (length, is_of_it, lease.resource.is_complete()) else {
            return Ok(None);
        };
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
        let now = super::unix_seconds(runtime::wall_clock());
        let mut fields = HeaderMap::new();
        fields.insert(MADE_OF, made_of(version));
        let head = Head { fields, asked: now, answered: now, ..Head::default() };
        let lease = self.begin(&key.derived(name), head);
        let Some(_permit) = self.permit(&lease) else { return };
        let resource = &lease.resource;
        let written = async {
            resource.set_length(value.len() as u64)?;
            resource.write_at(0, value).await?;
            resource.commit()?;
            // Only what is on disk outlives the lease.
            resource.flush().await;
            Ok::<_, storage::Error>(())
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, name, "a value is not kept");
            self.forget(&lease);
        }
    }
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

    #[test]
    fn who_purges_a_source_purges_what_was_made_of_it() {
        let store = store();
        keep(&store, "v1", b"value");
        assert!(block_on(store.purge_all(song().id)));
        assert_eq!(kept(&store, "v1"), None);
    }
}
