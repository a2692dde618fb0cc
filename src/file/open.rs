//! From a source's name to its bytes.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    path::PathBuf,
    rc::Rc,
    time::{Duration, UNIX_EPOCH},
};

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_TYPE, ETAG, LAST_MODIFIED},
};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{
    Error, Found, How,
    asker::{Asker, Fit},
    inquiry::{Inquiries, Inquiry, Outcome, SharedPauses, begin_fill, unix_seconds},
    refill,
    stay::{self, Stand},
};
use crate::{
    assets::{
        AssetStore, Key, Lease,
        freshness::{self, Directives, Judgement, Verdict},
    },
    net::{self, Client, Origin, Provenance},
    runtime::{self, ReadFile},
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

/// A file that can be read now. A clone is another handle to the same version.
#[derive(Clone)]
pub struct Opened {
    /// Its bytes.
    pub source: Source,
    /// What tells this version of it from others, and from other files: part of every ETag.
    pub version: String,
    /// 200, or what else the origin answered to who wants the original.
    pub status: u16,
    /// The end-to-end fields that describe it.
    pub fields: HeaderMap,
    /// How it was found.
    pub found: Found,
}

impl Opened {
    /// Where it came from, if its origin pointed elsewhere.
    pub fn redirected(&self) -> Option<Url> {
        self.lease().and_then(|lease| lease.head().redirected.clone())
    }

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
    inquiries: Inquiries,
    pauses: SharedPauses,
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
        let (inquiries, pauses) = Default::default();
        Self { store, client, origins, libraries, inquiries, pauses }
    }

    /// The cache under these files.
    pub fn store(&self) -> &AssetStore {
        &self.store
    }

    /// From now on what `watches` gives for the URL of a request hears how fast its body comes.
    pub fn watch(&self, watches: impl Fn(&Url) -> net::Watch + 'static) {
        self.client.watch(watches);
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
        let origin = net::nearest(self.origins.values().map(Rc::as_ref), url);
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

    /// Opens a source to decode it or to look into it, on the shard that owns it: from the origin
    /// this waits until it answered.
    ///
    /// # Errors
    /// A source that is not there, or cannot be read.
    pub async fn open(&self, name: &str, path: &str) -> Result<Opened, Error> {
        self.open_wishing(name, path, Directives::default()).await
    }

    /// The same with what is wished of the cache.
    ///
    /// # Errors
    /// As there; and that it is not in the cache, where it was to be.
    pub async fn open_wishing(
        &self,
        name: &str,
        path: &str,
        wishes: Directives,
    ) -> Result<Opened, Error> {
        match self.place(name, path)? {
            Place::Origin { origin, url } => {
                let asker = Asker { wishes, ..Asker::media() };
                self.open_origin(origin, url, asker).await
            }
            Place::Library { library, path } => open_library(&library, &path).await,
        }
    }

    /// Opens a key of a presentation: with what its origin was told to be asked for keys, of an answer that
    /// nobody else gets and that is not kept.
    ///
    /// # Errors
    /// A key that is not there, or is not given to us.
    pub async fn open_key(&self, name: &str, path: &str) -> Result<Opened, Error> {
        let (origin, url) = match self.place(name, path)? {
            Place::Origin { origin, url } => (Rc::new(origin.for_keys()), url),
            Place::Library { library, path } => return open_library(&library, &path).await,
        };
        let (began, key) = (runtime::now(), Key::of_url(&url, &origin.key_ignore));
        let asker = Asker { apart: true, ..Asker::media() };
        let inquiry = self.inquiry(&key, &origin, &url, &asker, None);
        inquiry.put_alone();
        let lease = match inquiry.outcome().await {
            Outcome::Failed(failure) => return Err(failure.into()),
            _ => inquiry.take_alone().expect("it is for the one who asks apart"),
        };
        let fit = asker.fit(&lease.head(), &key, lease.generation.0);
        // What its answer varies by, and where it led, is for who keeps it.
        if matches!(fit, Fit::NoMedia(_) | Fit::Packed) {
            return Err(misfit_error(&fit));
        }
        self.fill(&lease, &origin, &url, &asker);
        let judgement = self.judge(&lease, &asker);
        let mut opened = opened(lease, judgement, How::Absent);
        opened.found.origin = Some(began.elapsed());
        Ok(opened)
    }

    /// Opens a source to pass it on as it is from `position` on, whatever the origin answers, to a client
    /// with those `fields` that are [passed on](super::passed_on).
    ///
    /// # Errors
    /// A source that is not there, or an origin that does not answer.
    pub async fn open_original(
        &self,
        name: &str,
        path: &str,
        fields: &HeaderMap,
        position: u64,
    ) -> Result<Opened, Error> {
        match self.place(name, path)? {
            Place::Origin { origin, url } => {
                let asker = Asker::original(fields, origin.forward_credentials).at(position);
                self.open_origin(origin, url, asker).await
            }
            Place::Library { library, path } => open_library(&library, &path).await,
        }
    }

    /// The same where only the head is wanted: no byte of the body is fetched for it.
    ///
    /// # Errors
    /// As there.
    pub async fn open_head(
        &self,
        name: &str,
        path: &str,
        fields: &HeaderMap,
    ) -> Result<Opened, Error> {
        let (origin, url) = match self.place(name, path)? {
            Place::Origin { origin, url } => (origin, url),
            Place::Library { library, path } => return open_library(&library, &path).await,
        };
        let asker = Asker::original(fields, origin.forward_credentials);
        let mut key = Key::of_url(&url, &origin.key_ignore);
        for _ in 0..OTHERS {
            match self.stored(&key, &asker, None).await? {
                Stored::Elsewhere(other) => key = other,
                Stored::Good(lease, judgement, how) => return Ok(opened(lease, judgement, how)),
                // Nobody is apart who wants no byte.
                Stored::Apart => break,
                Stored::Bad(old) => {
                    let inquiry = self.inquiry(&key, &origin, &url, &asker, old.clone());
                    let Some((lease, outcome)) = inquiry.ask_head().await? else { break };
                    let how = match outcome {
                        Outcome::Validated(_) => How::Validated,
                        Outcome::Kept(_, status) => How::Kept { status },
                        _ if old.is_some() => How::Replaced,
                        _ => How::Absent,
                    };
                    let judgement = self.judge(&lease, &asker);
                    return Ok(opened(lease, judgement, how));
                }
            }
        }
        self.open_origin(origin, url, asker).await
    }

    /// The URL of a source, against which its own references are resolved.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn url(&self, name: &str, path: &str) -> Result<Url, Error> {
        match self.place(name, path)? {
            Place::Origin { url, .. } => Ok(url),
            Place::Library { path, .. } => {
                let mut url = Url::parse(LIBRARY_URL).expect("it is a URL");
                url.set_path(&path.replace('%', "%25"));
                Ok(url)
            }
        }
    }

    /// What a source called `name` refers to by a URL: its own name and path. `None` where it may not: out of
    /// its library, or by another scheme than HTTP. Whether the host may be asked is settled where it is
    /// connected to, as with a redirect.
    pub fn referred(&self, name: &str, url: &Url) -> Option<(String, String)> {
        let name = name.strip_suffix(BY_URL).unwrap_or(name);
        if self.is_library(name) {
            let path = percent_decode_str(url.path()).decode_utf8().ok()?;
            let path = path.trim_start_matches('/');
            let is_inside = url.as_str().starts_with(LIBRARY_URL) && is_plain(path);
            return is_inside.then(|| (name.to_owned(), path.to_owned()));
        }
        let below = url.as_str().strip_prefix(self.origins.get(name)?.base.as_str());
        let is_http = matches!(url.scheme(), "http" | "https");
        match below.filter(|path| !path.is_empty() && self.place(name, path).is_ok()) {
            Some(path) => Some((name.to_owned(), path.to_owned())),
            None => is_http.then(|| (format!("{name}{BY_URL}"), url.to_string())),
        }
    }

    /// The same of a key, which may lie at another origin that was told how it is asked for keys.
    pub fn referred_key(&self, name: &str, url: &Url) -> Option<(String, String)> {
        let referred = self.referred(name, url)?;
        if !referred.0.ends_with(BY_URL) {
            return Some(referred);
        }
        let origins = self.origins.values().map(Rc::as_ref).filter(|origin| origin.has_keys());
        let at = net::nearest(origins, url).and_then(|origin| self.referred(&origin.name, url));
        Some(at.unwrap_or(referred))
    }

    fn place(&self, name: &str, path: &str) -> Result<Place, Error> {
        if let Some(origin) = name.strip_suffix(BY_URL).and_then(|name| self.origins.get(name)) {
            let url = Url::parse(path).map_err(|_| Error::BadPath(path.to_owned()))?;
            return Ok(Place::Origin { origin: Rc::clone(origin), url });
        }
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

    async fn open_origin(
        &self,
        origin: Rc<Origin>,
        url: Url,
        mut asker: Asker,
    ) -> Result<Opened, Error> {
        let began = runtime::now();
        let mut key = Key::of_url(&url, &origin.key_ignore);
        let mut absent = How::Absent;
        for round in 0..OTHERS {
            let old = match self.stored(&key, &asker, Some(asker.position)).await? {
                Stored::Elsewhere(other) => {
                    (key, absent, asker.apart) = (other, How::Unselected, false);
                    continue;
                }
                Stored::Good(lease, judgement, how) => {
                    if how == How::Stale {
                        self.ask_behind(&key, &origin, &url, &asker, &lease);
                    }
                    self.fill(&lease, &origin, &url, &asker);
                    return Ok(opened(lease, judgement, how));
                }
                Stored::Bad(old) => old,
                Stored::Apart => {
                    asker.apart = true;
                    None
                }
            };
            if old.is_some() {
                absent = How::Replaced;
            }
            let (inquiry, mut is_mine) = self.join(&key, &origin, &url, &asker, old);
            let mut outcome = inquiry.outcome().await;
            let mut alone = is_mine.then(|| inquiry.take_alone()).flatten();
            if matches!(outcome, Outcome::Alone) && alone.is_none() {
                let own = self.inquiry(&key, &origin, &url, &asker, None);
                own.put_alone();
                outcome = own.outcome().await;
                (alone, is_mine) = (own.take_alone(), true);
            }
            let (lease, how) = match outcome {
                Outcome::Failed(failure) if is_mine || inquiry.use_() == asker.use_ => {
                    return Err(failure.into());
                }
                // What one cannot decode another may pass on.
                Outcome::Failed(_) => continue,
                Outcome::Validated(lease) => (lease, How::Validated),
                Outcome::Kept(lease, status) => (lease, How::Kept { status }),
                // As another one asked; what is stored now says what to do about it, and who comes after several
                // that ask for other places does not go round with them.
                Outcome::Begun(lease)
                    if !is_mine && stay::stand(&lease, Some(asker.position)) != Stand::Good =>
                {
                    asker.apart = round > 0;
                    continue;
                }
                Outcome::Begun(lease) => (lease, absent),
                Outcome::Alone => match alone {
                    Some(lease) => (lease, absent),
                    None => continue,
                },
            };
            match asker.fit(&lease.head(), &key, lease.generation.0) {
                Fit::Fits => {}
                Fit::Elsewhere(other) => {
                    (key, absent, asker.apart) = (other, How::Unselected, false);
                    continue;
                }
                misfit => return Err(misfit_error(&misfit)),
            }
            self.fill(&lease, &origin, &url, &asker);
            let judgement = self.judge(&lease, &asker);
            let mut opened = opened(lease, judgement, how);
            opened.found.collapsed = !is_mine;
            opened.found.origin = Some(began.elapsed());
            return Ok(opened);
        }
        // Answers that lead from one to another and back.
        Err(Failure::new(net::Error::Malformed("its answers vary without end")).into())
    }

    /// What is stored under `key`, and what may be done with it for this asker, who wants it from
    /// `position` on, or no byte.
    async fn stored(
        &self,
        key: &Key,
        asker: &Asker,
        position: Option<u64>,
    ) -> Result<Stored, Error> {
        let lease = self.store.find(key).await.map_err(Failure::new)?;
        let stored = match lease {
            None => Stored::Bad(None),
            Some(lease) => match asker.fit(&lease.head(), key, lease.generation.0) {
                Fit::Elsewhere(key) => Stored::Elsewhere(key),
                fit => match stay::stand(&lease, position) {
                    Stand::Good => self.weigh(lease, asker, &fit)?,
                    Stand::Apart => Stored::Apart,
                    Stand::Gone => {
                        self.store.forget(&lease);
                        Stored::Bad(None)
                    }
                },
            },
        };
        // One that is stale too: mostly its origin says that it is still good.
        if let Stored::Good(lease, ..) | Stored::Bad(Some(lease)) = &stored {
            self.store.count(lease);
        }
        match stored {
            Stored::Bad(_) | Stored::Apart if asker.wishes.only_if_cached => Err(Error::NotCached),
            stored => Ok(stored),
        }
    }

    fn weigh(&self, lease: Lease, asker: &Asker, fit: &Fit) -> Result<Stored, Error> {
        let judgement = self.judge(&lease, asker);
        match judgement.verdict {
            Verdict::Stale if *fit == Fit::Fits && self.is_spared(&lease, asker) => {
                Ok(Stored::Good(lease, judgement, How::Spared))
            }
            Verdict::Stale => Ok(Stored::Bad(Some(lease))),
            _ if *fit != Fit::Fits => Err(misfit_error(fit)),
            Verdict::Behind => Ok(Stored::Good(lease, judgement, How::Stale)),
            Verdict::Fresh if lease.resource.is_complete() => {
                Ok(Stored::Good(lease, judgement, How::Hit))
            }
            Verdict::Fresh => Ok(Stored::Good(lease, judgement, How::Partial)),
        }
    }

    /// Whether a stale one may be given without asking an origin that has just failed.
    fn is_spared(&self, lease: &Lease, asker: &Asker) -> bool {
        let trouble = self.pauses.borrow().trouble(lease.key.id, runtime::now());
        let (ttl, now) = (self.store.media_ttl(), unix_seconds());
        let survives = |trouble| freshness::survives(&lease.head(), asker.use_, trouble, ttl, now);
        trouble.is_some_and(survives)
    }

    fn judge(&self, lease: &Lease, asker: &Asker) -> Judgement {
        let (ttl, now) = (self.store.media_ttl(), unix_seconds());
        let judgement = freshness::judge(&lease.head(), asker.use_, &asker.wishes, ttl, now);
        match self.store.is_invalidated(lease) {
            true => Judgement { verdict: Verdict::Stale, ..judgement },
            false => judgement,
        }
    }

    /// An inquiry about `key`, and whether this is the one who asks.
    fn join(
        &self,
        key: &Key,
        origin: &Rc<Origin>,
        url: &Url,
        asker: &Asker,
        old: Option<Lease>,
    ) -> (Rc<Inquiry>, bool) {
        // A client that wants nothing of its request stored leaves nothing to share.
        let is_alone = asker.wishes.no_store || asker.apart;
        let running = self.running(key, old.as_ref());
        if let Some(running) = running.filter(|_| !is_alone) {
            return (running, false);
        }
        let inquiry = self.inquiry(key, origin, url, asker, old);
        match is_alone {
            true => inquiry.put_alone(),
            false => inquiry.put(&self.inquiries),
        }
        (inquiry, true)
    }

    /// The inquiry about `key` whose answer is one to who has `old`.
    fn running(&self, key: &Key, old: Option<&Lease>) -> Option<Rc<Inquiry>> {
        let running = self.inquiries.borrow().get(key).cloned();
        running.filter(|running| running.is_about(old))
    }

    /// Asks whether a stale one is still good, for those who come later.
    fn ask_behind(&self, key: &Key, origin: &Rc<Origin>, url: &Url, asker: &Asker, old: &Lease) {
        let is_asked = self.running(key, Some(old)).is_some();
        let is_paused = self.pauses.borrow().trouble(key.id, runtime::now()).is_some();
        if !is_asked && !is_paused && !asker.wishes.no_store {
            // For all of it, whoever comes.
            let asker = Asker { position: 0, apart: false, ..asker.clone() };
            self.inquiry(key, origin, url, &asker, Some(old.clone())).put(&self.inquiries);
        }
    }

    fn inquiry(
        &self,
        key: &Key,
        origin: &Rc<Origin>,
        url: &Url,
        asker: &Asker,
        old: Option<Lease>,
    ) -> Rc<Inquiry> {
        let (from, pauses) = (self.provenance(origin, url, asker), Rc::clone(&self.pauses));
        Inquiry::new(Rc::clone(&self.store), from, key.clone(), asker.clone(), old, pauses)
    }

    fn provenance(&self, origin: &Rc<Origin>, url: &Url, asker: &Asker) -> Provenance {
        let (client, fields) = (self.client.clone(), Rc::clone(&asker.fields));
        Provenance { client, origin: Rc::clone(origin), url: url.clone(), fields }
    }

    /// Has what is missing fetched, unless somebody does already.
    fn fill(&self, lease: &Lease, origin: &Rc<Origin>, url: &Url, asker: &Asker) {
        let from = self.provenance(origin, url, asker);
        refill::attend(lease, &self.store, from.clone());
        if let Some(permit) = self.store.permit(lease) {
            begin_fill(permit, &self.store, from, None);
        }
    }
}

/// Behind the name of an origin: its path is a whole URL, to which what lies at that origin led. No client can
/// write such a name.
const BY_URL: char = '@';

/// How the URLs of a library's files begin.
const LIBRARY_URL: &str = "library:///";

/// Objects that may lead from one to another for one request: by its use, and by what `Vary` names.
const OTHERS: usize = 6;

/// What is stored for who asks.
enum Stored {
    /// This, and it may be given.
    Good(Lease, Judgement, How),
    /// Nothing, or what has to be asked for.
    Bad(Option<Lease>),
    /// Something that others are better served by.
    Apart,
    /// Another object is.
    Elsewhere(Key),
}

fn misfit_error(fit: &Fit) -> Error {
    let error = match fit {
        Fit::NoMedia(status) => net::Error::Status(*status),
        _ => net::Error::Encoded,
    };
    Failure::new(error).into()
}

fn opened(lease: Lease, judgement: Judgement, how: How) -> Opened {
    let head = lease.head();
    let etag = head.strong_etag().and_then(|etag| etag.to_str().ok());
    let version = match etag {
        Some(etag) => format!("{} {etag}", lease.key.url),
        None => format!("{} {}", lease.key.url, lease.generation),
    };
    let found = Found { age: Some(judgement.age), ttl: Some(judgement.ttl), ..Found::just(how) };
    let (status, fields) = (head.status, head.fields.clone());
    Opened { source: Source::Asset(lease), version, status, fields, found }
}

/// Whether a path within a library is the one spelling of its file: no dot segment, no empty one.
/// Then two names of a file have one key, unless links make them two.
fn is_plain(path: &str) -> bool {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    path.split('/').all(plain) && !path.chars().any(char::is_control)
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
        "ts" | "m2ts" => "video/mp2t",
        "m3u8" => "application/vnd.apple.mpegurl",
        _ => "application/octet-stream",
    }
}

async fn open_library(library: &Library, path: &str) -> Result<Opened, Error> {
    let file = ReadFile::open_beneath(&library.dir, path).await;
    let file = file.map_err(|error| library_error(&error, path))?;
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
    let found = Found::just(How::InPlace);
    Ok(Opened { source: Source::File(Rc::new(file)), version, status: 200, fields, found })
}

/// Why `path` of a library is not opened.
fn library_error(error: &io::Error, path: &str) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
            Error::NotFound
        }
        ErrorKind::InvalidInput => Error::BadPath(path.to_owned()),
        ErrorKind::CrossesDevices => Error::LeadsOut,
        ErrorKind::PermissionDenied => Error::NotPermitted,
        kind => Error::Unreadable(kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the kernel's numbers: who runs the tests may be allowed everything.
    #[test]
    fn a_file_that_may_not_be_read_is_told_from_a_disk_that_fails() {
        let of = |errno| library_error(&io::Error::from_raw_os_error(errno), "a.wav");
        assert!(matches!(of(libc::EACCES), Error::NotPermitted));
        assert!(matches!(of(libc::EIO), Error::Unreadable(_)));
        assert!(matches!(of(libc::ENOENT), Error::NotFound));
    }

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
