//! Which resource a URL names: the canonical URL, and the id made from it.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Two spellings of one URL (RFC 3986 section 6.2.2 and 6.2.3) share a key; two queries do not,
//! unless the origin lists the parameter as one that makes no other resource (a token, say).

use std::{ops::RangeInclusive, rc::Rc};

use ring::digest::{SHA256, digest};
use url::Url;

use crate::storage::ObjectId;

/// The identity of a resource in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// What storage knows it by, and what chooses its volume.
    pub id: ObjectId,
    /// The canonical URL, for people.
    pub url: Rc<str>,
}

impl Key {
    /// The key of `url`, where query parameters named in `ignore` do not count.
    pub fn of_url(url: &Url, ignore: &[String]) -> Key {
        Self::of_text(&canonical(url, ignore))
    }

    /// The key of a file of a library.
    pub fn of_library(library: &str, path: &str) -> Key {
        Self::of_text(&format!("library:{library}/{path}"))
    }

    /// The key of another answer to the same URL, told from this one by `text`. It lies in the same
    /// volume, whose number is in the id's low byte (RULES 1: at most 256 volumes, a power of two), and
    /// begins as this one does, so that who knows one finds all (`kin`).
    pub fn secondary(&self, text: &str) -> Key {
        const OWN: u128 = u64::MAX as u128 & !0xFF;
        let hashed = Self::of_text(&format!("{}\n{text}", self.id)).id.0;
        let id = ObjectId(self.id.0 & !OWN | hashed & OWN);
        Key { id, url: Rc::clone(&self.url) }
    }

    /// The key of a small value called `name` that is made of what has this key.
    pub(super) fn derived(&self, name: &str) -> Key {
        let url = format!("{}#{name}", self.url);
        Key { url: url.into(), ..self.secondary(&format!("made of it: {name}")) }
    }

    /// SHA-256 and not a faster hash: whoever could find two URLs with one id could have the cache
    /// serve the one under the name of the other.
    pub(super) fn of_text(text: &str) -> Key {
        let hash = digest(&SHA256, text.as_bytes());
        let half: [u8; 16] = hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes");
        Key { id: ObjectId(u128::from_le_bytes(half)), url: text.into() }
    }
}

/// The ids among which all answers to one URL are, and next to never one to another: of a million
/// URLs no two begin with the same 64 bits, but for a chance of one in thirty million.
pub fn kin(id: ObjectId) -> RangeInclusive<ObjectId> {
    const TAIL: u128 = u64::MAX as u128;
    ObjectId(id.0 & !TAIL)..=ObjectId(id.0 | TAIL)
}

/// `url` without its fragment, its credentials and the query parameters named in `ignore`. Case of
/// scheme and host, the default port and dot segments were settled when it was parsed.
fn canonical(url: &Url, ignore: &[String]) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    // Refused only for URLs that cannot have credentials, which is as good.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if !ignore.is_empty()
        && let Some(query) = url.query()
    {
        let kept: Vec<_> = query.split('&').filter(|pair| !is_named(pair, ignore)).collect();
        let kept = kept.join("&");
        url.set_query((!kept.is_empty()).then_some(&kept));
    }
    url.into()
}

fn is_named(pair: &str, names: &[String]) -> bool {
    let name = pair.split('=').next().unwrap_or(pair);
    names.iter().any(|ignored| ignored == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str, ignore: &[&str]) -> Key {
        let ignore: Vec<_> = ignore.iter().map(ToString::to_string).collect();
        Key::of_url(&Url::parse(url).unwrap(), &ignore)
    }

    #[test]
    fn spellings_of_one_url_share_a_key() {
        let plain = key("http://example.com/a/song.mp3", &[]);
        for same in [
            "HTTP://EXAMPLE.com:80/a/song.mp3",
            "http://example.com/a/b/../song.mp3",
            "http://example.com/a/song.mp3#t=4",
            "http://user:secret@example.com/a/song.mp3",
        ] {
            assert_eq!(key(same, &[]), plain, "{same}");
        }
    }

    #[test]
    fn the_query_is_part_of_the_key() {
        let plain = key("http://example.com/a?v=1", &[]);
        assert_ne!(plain, key("http://example.com/a?v=2", &[]));
        assert_ne!(plain, key("http://example.com/a", &[]));
    }

    #[test]
    fn ignored_parameters_make_no_other_resource() {
        let plain = key("http://example.com/a?v=1", &[]);
        assert_eq!(key("http://example.com/a?token=x&v=1&token=y", &["token"]), plain);
        assert_eq!(
            key("http://example.com/a?token=x", &["token"]),
            key("http://example.com/a", &[])
        );
    }

    #[test]
    fn another_answer_to_a_url_lies_in_the_same_volume() {
        let plain = key("http://example.com/a", &[]);
        let (german, french) = (plain.secondary("de"), plain.secondary("fr"));
        assert!(plain.id != german.id && german.id != french.id);
        assert_eq!(plain.secondary("de"), german);
        for volumes in [1, 4, 32, 256] {
            assert_eq!(plain.id.volume(volumes), german.id.volume(volumes));
        }
        let further = german.secondary("x");
        assert!([plain.id, german.id, further.id].iter().all(|id| kin(french.id).contains(id)));
        assert!(!kin(french.id).contains(&key("http://example.com/b", &[]).id));
    }

    #[test]
    fn a_library_file_is_no_url() {
        assert_ne!(Key::of_library("a", "b/c"), Key::of_library("a/b", "c/"));
        assert_eq!(&*Key::of_library("music", "x.flac").url, "library:music/x.flac");
    }
}
