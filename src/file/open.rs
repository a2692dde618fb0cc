//! From a source's name to its bytes.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::PathBuf,
    rc::Rc,
    time::{Duration, UNIX_EPOCH},
};

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_TYPE, ETAG, LAST_MODIFIED},
};
use url::Url;

use super::{
    Error,
    fill::{Provenance, fill},
};
use crate::{
    assets::{AssetStore, FillPermit, Head, Key, Lease},
    net::{Client, Origin},
    runtime::{self, Queue, ReadFile},
    storage::Failure,
    stream::Source,
};

/// A directory whose files are served in place.
#[derive(Debug, Clone)]
pub struct Library {
    /// What sources call it.
    pub name: String,
    /// Where it is. No path and no link leads out of it.
    pub dir: PathBuf,
}

/// A file that can be read now.
pub struct Opened {
    /// Its bytes.
    pub source: Source,
    /// What tells this version of it from others, and from other files: part of every ETag.
    pub version: String,
    /// The end-to-end fields that describe it.
    pub fields: HeaderMap,
    /// What of its bytes was here when it was opened.
    pub presence: Presence,
}

/// What of a file was here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Every byte.
    Whole,
    /// Some.
    Part,
    /// None.
    Nothing,
    /// It is a library's, read in place.
    InPlace,
}

impl Presence {
    fn of(lease: &Lease) -> Self {
        match lease.resource.present_bytes() {
            _ if lease.resource.is_complete() => Self::Whole,
            0 => Self::Nothing,
            _ => Self::Part,
        }
    }
}

impl Opened {
    /// The cached resource, unless the file is one of a library.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.source {
            Source::Asset(lease) => Some(lease),
            Source::File(_) => None,
        }
    }
}

/// Where a name leads.
enum Place {
    Origin { origin: Rc<Origin>, url: Url },
    Library { library: Rc<Library>, path: String },
}

/// Everything plain files are opened from.
pub struct Files {
    store: Rc<AssetStore>,
    client: Client,
    origins: HashMap<String, Rc<Origin>>,
    libraries: HashMap<String, Rc<Library>>,
}

impl Files {
    /// The files of these origins, through `store`, and of these libraries.
    pub fn new(
        store: Rc<AssetStore>,
        client: Client,
        origins: Vec<Origin>,
        libraries: Vec<Library>,
    ) -> Self {
        let origins = origins.into_iter().map(|o| (o.name.clone(), Rc::new(o))).collect();
        let libraries = libraries.into_iter().map(|l| (l.name.clone(), Rc::new(l))).collect();
        Self { store, client, origins, libraries }
    }

    /// The cache under these files.
    pub fn store(&self) -> &AssetStore {
        &self.store
    }

    /// Asks no origin any more.
    pub fn close(&self) {
        self.client.close();
    }

    /// Whether `name` is a library's: its paths are those of the file system, not of a URL.
    pub fn is_library(&self, name: &str) -> bool {
        !self.origins.contains_key(name) && self.libraries.contains_key(name)
    }

    /// Whether `name` is that of an origin or a library.
    pub fn is_known(&self, name: &str) -> bool {
        self.origins.contains_key(name) || self.libraries.contains_key(name)
    }

    /// The key of a source: what decides which shard owns it.
    ///
    /// # Errors
    /// A name that is not configured, or a path that leads out of it.
    pub fn key(&self, name: &str, path: &str) -> Result<Key, Error> {
        Ok(match self.place(name, path)? {
            Place::Origin { origin, url } => Key::of_url(&url, &origin.key_ignore),
            Place::Library { library, path } => Key::of_library(&library.name, &path),
        })
    }

    /// The key of a resource by its URL, as if a path of an origin had led there.
    pub fn key_of_url(&self, url: &Url) -> Key {
        let mut origins = self.origins.values();
        let origin = origins.find(|origin| url.as_str().starts_with(origin.base.as_str()));
        Key::of_url(url, origin.map_or(&[], |origin| &origin.key_ignore))
    }

    /// How the URLs begin of what lies below a path of an origin; of all that it has, where that is
    /// empty.
    ///
    /// # Errors
    /// A name that is not an origin's, or a path that leads out of it.
    pub fn url_prefix(&self, name: &str, path: &str) -> Result<String, Error> {
        let origin = self.origins.get(name).ok_or(Error::UnknownSource(name.to_owned()))?;
        let url = origin.url(path).map_err(|_| Error::BadPath(path.to_owned()))?;
        Ok(url.into())
    }

    /// Opens a source, on the shard that owns it: from the origin this waits until it answered.
    ///
    /// # Errors
    /// A source that is not there, or cannot be read.
    pub async fn open(&self, name: &str, path: &str) -> Result<Opened, Error> {
        match self.place(name, path)? {
            Place::Origin { origin, url } => self.open_origin(origin, url).await,
            Place::Library { library, path } => open_library(&library, &path).await,
        }
    }

    fn place(&self, name: &str, path: &str) -> Result<Place, Error> {
        if let Some(origin) = self.origins.get(name) {
            let url = origin.url(path).map_err(|_| Error::BadPath(path.to_owned()))?;
            return Ok(Place::Origin { origin: Rc::clone(origin), url });
        }
        let library = self.libraries.get(name).ok_or(Error::UnknownSource(name.to_owned()))?;
        match is_plain(path) {
            true => Ok(Place::Library { library: Rc::clone(library), path: path.to_owned() }),
            false => Err(Error::BadPath(path.to_owned())),
        }
    }

    async fn open_origin(&self, origin: Rc<Origin>, url: Url) -> Result<Opened, Error> {
        let key = Key::of_url(&url, &origin.key_ignore);
        let (lease, permit) = self.store.open(&key).await.map_err(Failure::new)?;
        let presence = Presence::of(&lease);
        if let Some(permit) = permit {
            self.begin(permit, origin, url);
        }
        await_head(&lease).await?;
        let etag = lease.head().and_then(Head::strong_etag);
        let version = match etag.and_then(|etag| etag.to_str().ok()) {
            Some(etag) => format!("{} {etag}", key.url),
            None => format!("{} {}", key.url, lease.generation),
        };
        let fields = lease.head().map(|head| head.fields.clone()).unwrap_or_default();
        Ok(Opened { source: Source::Asset(lease), version, fields, presence })
    }

    /// The fill belongs to the resource, not to the request that began it.
    fn begin(&self, permit: FillPermit, origin: Rc<Origin>, url: Url) {
        let from = Provenance { client: self.client.clone(), origin, url };
        runtime::spawn(Queue::Io, "fill", fill(permit, Rc::clone(&self.store), from)).detach();
    }
}

/// Whether a path within a library is the one spelling of its file: no dot segment, no empty one.
/// Then two names of a file have one key, unless links make them two.
fn is_plain(path: &str) -> bool {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    path.split('/').all(plain) && !path.chars().any(char::is_control)
}

/// Waits until the origin has said what it has: a length, or a first byte.
async fn await_head(lease: &Lease) -> Result<(), Failure> {
    let resource = &lease.resource;
    if lease.head().is_none() {
        let _demand = resource.demand(0..1, 0);
        resource.wait_range(0..1).await?;
    }
    Ok(())
}

/// 9999-01-01, near the end of what a date of HTTP can say.
const YEAR_9999_SECONDS: u64 = 253_370_764_800;

/// The media type that goes with the ending of a file's name.
fn media_type(path: &str) -> &'static str {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "mp3" => "audio/mpeg",
        "m4a" | "m4b" | "mp4" => "audio/mp4",
        "aac" => "audio/aac",
        "flac" => "audio/flac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "aif" | "aiff" | "aifc" => "audio/aiff",
        "caf" => "audio/x-caf",
        "mka" => "audio/matroska",
        "webm" => "audio/webm",
        _ => "application/octet-stream",
    }
}

async fn open_library(library: &Library, path: &str) -> Result<Opened, Error> {
    let file =
        ReadFile::open_beneath(&library.dir, path).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
                Error::NotFound
            }
            ErrorKind::InvalidInput => Error::BadPath(path.to_owned()),
            ErrorKind::CrossesDevices => Error::LeadsOut,
            kind => Error::Unreadable(kind.to_string()),
        })?;
    let mut fields = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", file.version())) {
        fields.insert(ETAG, etag);
    }
    let modified = UNIX_EPOCH + Duration::from_secs(file.modified_seconds());
    // A date beyond what HTTP can write, of a file from a broken clock, is left out.
    if file.modified_seconds() < YEAR_9999_SECONDS
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(modified))
    {
        fields.insert(LAST_MODIFIED, date);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    let version = format!("library:{}/{path} {}", library.name, file.version());
    Ok(Opened { source: Source::File(Rc::new(file)), version, fields, presence: Presence::InPlace })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_says_the_type() {
        assert_eq!(media_type("a/b.c.MP3"), "audio/mpeg");
        assert_eq!(media_type("song.flac"), "audio/flac");
        for other in ["", "flac", "a.", "a.txt"] {
            assert_eq!(media_type(other), "application/octet-stream", "{other}");
        }
    }

    #[test]
    fn a_file_of_a_library_has_one_spelling() {
        for plain in ["a", "a/b c/é?#%41.wav", "...", "a./.b"] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["", "/a", "a/", "a//b", ".", "a/./b", "a/../b", "..", "a\n", "a\0b"] {
            assert!(!is_plain(other), "{other:?}");
        }
    }
}
