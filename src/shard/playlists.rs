//! Playlists as they were read, for all sessions of the shard that want the same: one of 10,000 segments takes
//! milliseconds to be read, and each request names it anew.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use crate::{
    bufpool::{BufPool, Charge},
    hls::{Parts, playlist::Multivariant},
};

/// Playlists that are kept.
const PLAYLISTS: usize = 64;
/// What they take of memory together, and of the pool as one part of so many.
const PLAYLISTS_BYTES: usize = 8 << 20;
const PLAYLISTS_SHARE: usize = 32;

/// A playlist that was read.
#[derive(Debug, Clone)]
pub(super) enum Read {
    /// Its segments.
    Media(Rc<Parts>),
    /// Its variants.
    Multivariant(Rc<Multivariant>),
}

/// Those that were wanted last.
#[derive(Default)]
pub(super) struct Playlists {
    kept: RefCell<VecDeque<Kept>>,
}

struct Kept {
    version: String,
    read: Read,
    bytes: usize,
    /// Of the pool, as long as it is kept.
    _memory: Charge,
}

impl Playlists {
    /// What was read of this version.
    pub(super) fn get(&self, version: &str) -> Option<Read> {
        let mut kept = self.kept.borrow_mut();
        let at = kept.iter().position(|kept| kept.version == version)?;
        // Wanted last, it goes last.
        let found = kept.remove(at)?;
        let read = found.read.clone();
        kept.push_back(found);
        Some(read)
    }

    /// Keeps what was read of a version out of so many bytes, as far as there is memory for it.
    pub(super) fn put(&self, version: &str, read: &Read, text_bytes: usize, pool: &BufPool) {
        let bytes = text_bytes + version.len() + read.bytes();
        let most = PLAYLISTS_BYTES.min(pool.stats().budget_bytes / PLAYLISTS_SHARE);
        if bytes > most {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        kept.retain(|kept| kept.version != version);
        while kept.len() >= PLAYLISTS
            || kept.iter().map(|kept| kept.bytes).sum::<usize>() + bytes > most
        {
            kept.pop_front();
        }
        let Ok(_memory) = pool.charge(bytes) else { return };
        kept.push_back(Kept { version: version.to_owned(), read: read.clone(), bytes, _memory });
    }
}

impl Read {
    /// Memory that it takes besides its letters.
    fn bytes(&self) -> usize {
        /// A segment of a playlist and its part of a tape, with their shares of what they refer to.
        const SEGMENT_BYTES: usize = 128;
        const VARIANT_BYTES: usize = 512;
        match self {
            Self::Media(parts) => parts.segments() as usize * SEGMENT_BYTES,
            Self::Multivariant(list) => {
                (list.variants.len() + list.renditions.len()) * VARIANT_BYTES
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::{
        bufpool::Options,
        hls::playlist::{Limits, Playlist, Variables, parse},
    };

    fn read(segments: usize) -> Read {
        let text = format!("#EXTM3U\n{}#EXT-X-ENDLIST\n", "#EXTINF:4,\na\n".repeat(segments));
        let url = Url::parse("http://origin/list.m3u8").unwrap();
        match parse(text.as_bytes(), &url, &Variables::default(), &Limits::default()).unwrap() {
            Playlist::Media(media) => Read::Media(Rc::new(Parts::new(media))),
            Playlist::Multivariant(_) => panic!("it names segments"),
        }
    }

    #[test]
    fn they_have_a_bound_in_number_and_in_bytes() {
        let pool = BufPool::new(Options { budget_bytes: 64 << 20 });
        let (playlists, small) = (Playlists::default(), read(1));
        for at in 0..=PLAYLISTS {
            playlists.put(&at.to_string(), &small, 100, &pool);
        }
        assert!(playlists.get("0").is_none() && playlists.get("1").is_some());
        // Two MiB are a share of the pool.
        playlists.put("large", &read(10_000), 810_000, &pool);
        assert!(playlists.get("large").is_some() && playlists.get("3").is_none());
        playlists.put("too large", &read(1), 3 << 20, &pool);
        assert!(playlists.get("too large").is_none());
        assert!(pool.stats().used_bytes <= 2 << 20);
    }
}
