//! Which key holds: EXT-X-KEY, one for each key format, until the next of that format (RFC 8216 section
//! 4.3.2.4).
//!
//! Pure: no I/O, no clock, no executor.

use std::rc::Rc;

use super::{super::error::Error, Key};

/// Key formats that hold at one time.
const KEY_FORMATS: usize = 16;

/// Those that hold here; none is in the clear.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<(Box<str>, Holding)>);

/// What is known of a key of one format.
#[derive(Debug)]
pub(super) enum Holding {
    /// It can be fetched and used.
    Usable(Rc<Key>),
    /// The method, with the format where that is what hinders.
    Unusable(String),
}

impl Keys {
    /// From here on all is in the clear.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A key of `format`; false if there are too many formats.
    pub(super) fn hold(&mut self, format: &str, key: Holding) -> bool {
        self.0.retain(|(held, _)| **held != *format);
        let has_room = self.0.len() < KEY_FORMATS;
        if has_room {
            self.0.push((format.into(), key));
        }
        has_room
    }

    /// The key of what stands in `line`; a usable one if there is one.
    pub(super) fn holding(&self, line: usize) -> Result<Option<&Rc<Key>>, Error> {
        let mut usable = self.0.iter().filter_map(|(_, key)| match key {
            Holding::Usable(key) => Some(key),
            Holding::Unusable(_) => None,
        });
        match usable.next() {
            None if !self.0.is_empty() => Err(Error::Encrypted { line, name: self.names() }),
            key => Ok(key),
        }
    }

    fn names(&self) -> String {
        let names = self.0.iter().filter_map(|(_, key)| match key {
            Holding::Usable(_) => None,
            Holding::Unusable(name) => Some(name.as_str()),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}
