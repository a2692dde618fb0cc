//! Keys of presentations, in memory only.
//!
//! Pure: no I/O, no clock, no executor.

use std::{cell::RefCell, collections::VecDeque};

use url::Url;

use crate::hls::KEY_BYTES;

/// Keys that are kept: a presentation that changes its key each segment has one for ten minutes and more.
const KEYS: usize = 256;

/// A key of AES-128.
pub(super) type SecretKey = [u8; KEY_BYTES];

/// Those that were fetched last.
#[derive(Default)]
pub(super) struct Keys {
    keys: RefCell<VecDeque<(Url, SecretKey)>>,
}

impl Keys {
    pub(super) fn get(&self, url: &Url) -> Option<SecretKey> {
        let mut keys = self.keys.borrow_mut();
        let at = keys.iter().position(|(known, _)| known == url)?;
        // Wanted last, it goes last.
        let found = keys.remove(at)?;
        let key = found.1;
        keys.push_back(found);
        Some(key)
    }

    pub(super) fn put(&self, url: &Url, key: SecretKey) {
        let mut keys = self.keys.borrow_mut();
        keys.retain(|(known, _)| known != url);
        if keys.len() == KEYS {
            keys.pop_front();
        }
        keys.push_back((url.clone(), key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_nobody_wanted_longest_goes_first() {
        let url = |at: usize| Url::parse(&format!("http://keys/{at}")).unwrap();
        let keys = Keys::default();
        (0..KEYS).for_each(|at| keys.put(&url(at), [at as u8; KEY_BYTES]));
        assert_eq!(keys.get(&url(0)), Some([0; KEY_BYTES]));
        keys.put(&url(KEYS), [9; KEY_BYTES]);
        assert_eq!((keys.get(&url(1)), keys.get(&url(0))), (None, Some([0; KEY_BYTES])));
        keys.put(&url(0), [7; KEY_BYTES]);
        assert_eq!(keys.get(&url(0)), Some([7; KEY_BYTES]));
    }
}
