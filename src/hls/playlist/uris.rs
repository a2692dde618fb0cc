//! The URIs of a media playlist, each once, in one text.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A presentation has thousands, and mostly their last few letters differ, so they are kept as they are
//! written; their variables are replaced, and they are resolved, when they are fetched.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// One URI of a playlist: equal where the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uri {
    start: u32,
    bytes: u32,
}

/// The texts.
#[derive(Debug, Default)]
pub(super) struct Uris {
    text: String,
    /// Who has which text, while it grows.
    known: HashTable<Uri>,
    /// Seeded, so that no playlist can make all of them collide.
    hasher: RandomState,
}

impl Uris {
    /// The one of that text, if it was added.
    pub(super) fn find(&self, text: &str) -> Option<Uri> {
        let hash = self.hasher.hash_one(text);
        self.known.find(hash, |uri| slice(&self.text, *uri) == text).copied()
    }

    /// Another one; `None` if all of them would take 4 GiB.
    pub(super) fn add(&mut self, text: &str) -> Option<Uri> {
        let hash = self.hasher.hash_one(text);
        let start = u32::try_from(self.text.len()).ok()?;
        let uri = Uri { start, bytes: u32::try_from(text.len()).ok()? };
        self.text.push_str(text);
        let Self { text, known, hasher } = self;
        known.insert_unique(hash, uri, |uri| hasher.hash_one(slice(text, *uri)));
        Some(uri)
    }

    /// Without what only growing takes.
    pub(super) fn finished(self) -> Box<str> {
        self.text.into_boxed_str()
    }
}

/// What `uri` is in `text`, as it is written. Of another playlist's it is nothing.
pub(super) fn slice(text: &str, uri: Uri) -> &str {
    let start = uri.start as usize;
    text.get(start..start + uri.bytes as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_once_it_was_added() {
        let mut uris = Uris::default();
        let added = |uris: &mut Uris, text| uris.add(text).unwrap();
        let (a, b) = (added(&mut uris, "a.ts"), added(&mut uris, "b.ts"));
        assert_eq!(
            (uris.find("a.ts"), uris.find("b.ts"), uris.find("c.ts")),
            (Some(a), Some(b), None)
        );
        let text = uris.finished();
        assert_eq!((slice(&text, a), slice(&text, b)), ("a.ts", "b.ts"));
        assert_eq!(slice(&text[1..], b), "");
    }
}
