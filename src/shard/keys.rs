//! Keys of presentations, in memory only.
//!
//! Pure: no I/O, no clock, no executor.

use std::{cell::RefCell, collections::VecDeque};

use crate::hls::{KEY_BYTES, KeyName};

/// Keys that are kept: a presentation that changes its key each segment has one for ten minutes and more.
const KEYS: usize = 256;

/// A key of AES-128.
pub(super) type SecretKey = [u8; KEY_BYTES];

/// Those that were fetched last.
#[derive(Default)]
pub(super) struct Keys {
    keys: RefCell<VecDeque<(KeyName, SecretKey)>>,
}

impl Keys {
    pub(super) fn get(&self, name: &KeyName) -> Option<SecretKey> {
        let mut keys = self.keys.borrow_mut();
        let at = keys.iter().position(|(known, _)| known == name)?;
        // Wanted last, it goes last.
        let found = keys.remove(at)?;
        let key = found.1;
        keys.push_back(found);
        Some(key)
    }

    pub(super) fn put(&self, name: &KeyName, key: SecretKey) {
        let mut keys = self.keys.borrow_mut();
        keys.retain(|(known, _)| known != name);
        if keys.len() == KEYS {
            keys.pop_front();
        }
        keys.push_back((name.clone(), key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_nobody_wanted_longest_goes_first() {
        let name = |at: usize| KeyName {
            url: format!("http://keys/{at}").parse().unwrap(),
            format: "identity".into(),
            versions: "1".into(),
            iv: None,
        };
        let keys = Keys::default();
        (0..KEYS).for_each(|at| keys.put(&name(at), [at as u8; KEY_BYTES]));
        assert_eq!(keys.get(&name(0)), Some([0; KEY_BYTES]));
        keys.put(&name(KEYS), [9; KEY_BYTES]);
        assert_eq!((keys.get(&name(1)), keys.get(&name(0))), (None, Some([0; KEY_BYTES])));
        keys.put(&name(0), [7; KEY_BYTES]);
        assert_eq!(keys.get(&name(0)), Some([7; KEY_BYTES]));
        let wrapped = KeyName { iv: Some([0; 16]), ..name(0) };
        assert_eq!(keys.get(&wrapped), None, "another vector may make another key");
    }
}
