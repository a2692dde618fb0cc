//! What a session is asked for, and what it answers before its body.

use std::{ops::Range, time::Duration};

use http::{HeaderMap, HeaderValue};
use url::Url;

use super::Sent;
use crate::{
    bufpool::Exhausted,
    decode::Info,
    file::{self, Found, conditional::Conditions},
    hls::{self, Offer, abr::VariantIndex},
    net,
    pcm::{self, Ask, Choice, Format, Peaks, Rendition, SourceName},
    storage::{self, Failure},
};

/// The work of one session. It may cross to another shard.
#[derive(Debug, Clone)]
pub enum Job {
    /// Decoded audio, bare or encoded anew.
    Pcm(PcmWanted),
    /// The original bytes.
    Object {
        /// Of what.
        source: SourceName,
        /// What of it.
        wanted: Wanted,
    },
    /// What the source is.
    Probe(SourceName),
    /// Its outline.
    Waveform(WaveformWanted),
    /// Its bytes, into the cache and to nobody.
    Prefetch(Ahead),
}

/// What is to be in the cache.
#[derive(Debug, Clone)]
pub struct Ahead {
    /// Of what.
    pub source: SourceName,
    /// Which parts of it, in bytes; none are all of it.
    pub ranges: Vec<Range<u64>>,
    /// Whether it is decoded once when it is there, as a check.
    pub decode: bool,
}

/// What of decoded audio is wanted.
#[derive(Debug, Clone)]
pub struct PcmWanted {
    /// Of what, and how.
    pub ask: Ask,
    /// Which part of the answer's bytes, where the client named one.
    pub range: Option<HeaderValue>,
    /// The version the range is about; of another one the client wants the whole.
    pub if_range: Option<HeaderValue>,
    /// What the client has of it already.
    pub conditions: Conditions,
    /// Only the head is wanted.
    pub head_only: bool,
    /// What is encoded is written to where the front can be put into place at the end: room for it comes
    /// first, and itself behind the body.
    pub front_last: bool,
}

/// What outline is wanted.
#[derive(Debug, Clone)]
pub struct WaveformWanted {
    /// Of what.
    pub source: SourceName,
    /// Of which of what the source has.
    pub choice: Choice,
    /// In how many parts.
    pub points: u32,
    /// What the client has of it already.
    pub conditions: Conditions,
}

/// What of a file is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which part, where the client named one.
    pub range: Option<HeaderValue>,
    /// The version the range is about; of another one the client wants the whole.
    pub if_range: Option<HeaderValue>,
    /// What the client has of it already.
    pub conditions: Conditions,
    /// What of the request's fields goes on to the origin.
    pub fields: HeaderMap,
    /// Who reads it.
    pub by: By,
    /// Only the head is wanted.
    pub head_only: bool,
}

/// Who reads a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum By {
    /// A client, who gets what its origin answers.
    #[default]
    Client,
    /// The node itself: redirects are followed, and an error of the origin is one.
    Node,
    /// The same, and where it is not in the cache it is not fetched.
    NodeIfCached,
    /// The node itself, of a key: it is asked for as its origin wants it, and not kept on disk.
    NodeForKey,
}

impl Job {
    /// What it is about.
    pub fn source(&self) -> &SourceName {
        match self {
            Job::Pcm(wanted) => &wanted.ask.source,
            Job::Object { source, .. } | Job::Probe(source) => source,
            Job::Waveform(wanted) => &wanted.source,
            Job::Prefetch(ahead) => &ahead.source,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Job::Pcm(wanted) if wanted.ask.format.coding().is_some() => "transcode",
            Job::Pcm(_) => "pcm",
            Job::Object { .. } => "object",
            Job::Probe(_) => "probe",
            Job::Waveform(_) => "waveform",
            Job::Prefetch(_) => "prefetch",
        }
    }

    /// The format that PCM is asked for in.
    pub fn format(&self) -> Option<Format> {
        match self {
            Job::Pcm(wanted) => Some(wanted.ask.format),
            Job::Object { .. } | Job::Probe(_) | Job::Waveform(_) | Job::Prefetch(_) => None,
        }
    }
}

/// What the cache had of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached {
    /// How it was found.
    pub found: Found,
    /// Whether the disk keeps what is fetched of it.
    pub stored: bool,
}

/// What the body of a PCM session will be.
#[derive(Debug, Clone)]
pub struct PcmHead {
    /// Its exact shape.
    pub rendition: Rendition,
    /// A strong entity tag, with its quotes; none where the variant may change on the way.
    pub etag: Option<String>,
    /// The variant of a presentation, where it stays.
    pub variant: Option<VariantIndex>,
    /// Length of the whole in bytes, where that is known for sure.
    pub length: Option<u64>,
    /// The part that is sent, in bytes, where one was asked for and is there.
    pub part: Option<Range<u64>>,
    /// Bytes of the front that comes once more behind the body, to take the place of as many at its start.
    pub front_bytes: u64,
    /// The client has it already: no body follows.
    pub unmodified: bool,
    /// What was here of the source.
    pub cached: Cached,
    /// The time that went into opening the source and decoding the first block.
    pub decode: Duration,
}

/// What the body of a session for original bytes will be.
#[derive(Debug, Clone)]
pub struct ObjectHead {
    /// 200, or what else the origin answered.
    pub status: u16,
    /// The end-to-end fields that the origin sent.
    pub fields: HeaderMap,
    /// Where it came from, if its origin pointed elsewhere.
    pub redirected: Option<Url>,
    /// Length of the whole in bytes, once it is known.
    pub length: Option<u64>,
    /// The part that is sent, where one was asked for and is there.
    pub part: Option<Range<u64>>,
    /// The client has it already: no body follows.
    pub unmodified: bool,
    /// What was here of it.
    pub cached: Cached,
}

/// What a source is.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Of what is played of it for those who do not choose.
    pub info: Info,
    /// What a presentation has besides; empty for what is none, or names no variants.
    pub offer: Offer,
}

/// What comes before a body.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Job::Pcm`].
    Pcm(Box<PcmHead>),
    /// To [`Job::Object`].
    Object(Box<ObjectHead>),
    /// To [`Job::Probe`].
    Probe(Box<Probed>),
    /// To [`Job::Waveform`].
    Waveform(Box<Waveform>),
    /// To [`Job::Prefetch`], once all of it is done.
    Prefetched(Prefetched),
}

/// The outline of a source.
#[derive(Debug, Clone)]
pub struct Waveform {
    /// Names the version of the source, and what draws it; none where something of that was missing.
    pub etag: Option<String>,
    /// What the source is.
    pub info: Info,
    /// Its lowest and highest samples; `None` where the client has them.
    pub peaks: Option<Peaks>,
}

/// How far a prefetch of one source is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there of those that are wanted.
    pub bytes_done: u64,
    /// Bytes that are wanted, once that is known.
    pub bytes_total: Option<u64>,
    /// Bytes that were fetched for no client since it began: what an origin's rate counts.
    pub spent_bytes: u64,
}

/// What a prefetch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefetched {
    /// How far it came.
    pub progress: Progress,
    /// What the check found, where one was asked for.
    pub check: Option<Check>,
}

/// What a decode of the whole found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Check {
    /// Frames of audio.
    pub frames: u64,
    /// Frames that the container promises beyond those: damage that a decoder passes over.
    pub missing_frames: u64,
    /// Packets that do not decode and become silence.
    pub undecoded_packets: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The source cannot be opened.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The source cannot be decoded as asked.
    #[error(transparent)]
    Pcm(#[from] pcm::Error),
    /// The client wants another version than there is.
    #[error("a precondition does not hold")]
    Precondition,
    /// The range lies outside.
    #[error("the resource has {length} bytes")]
    Unsatisfiable {
        /// Length of the resource in bytes.
        length: u64,
    },
    /// It is a presentation that is not played.
    #[error(transparent)]
    Hls(#[from] hls::Error),
    /// A prefetch of what lists others.
    #[error("it is a list of sources")]
    List,
    /// A prefetch of what does not stay.
    #[error(transparent)]
    Unkept(#[from] Unkept),
    /// No memory, or no slot, for another session.
    #[error("the shard is full")]
    Full,
    /// No time of the core for another decode at pace.
    #[error("the core has promised its time to others")]
    DecodeShare,
    /// Serving it broke off for a reason that is in the log.
    #[error("the request could not be served")]
    Broken,
    /// The node is going down.
    #[error("the node is draining")]
    Draining,
    /// The operator ended it before it had an answer.
    #[error("the operator cancelled it")]
    Cancelled,
}

/// Why what a prefetch wants does not stay in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unkept {
    /// Later it may.
    #[error("the cache does not keep it now: there is no room, or the disk fails")]
    Now,
    /// It is longer than any object may be.
    #[error(
        "the cache keeps {kept_bytes} of its {length} bytes: one object may hold half a volume"
    )]
    Rest {
        /// What is kept.
        kept_bytes: u64,
        /// All of it.
        length: u64,
    },
    /// Only parts of it are wanted, or can be kept.
    #[error(
        "a part of it does not stay: its origin sends no strong validator (an ETag, or a Last-Modified \
         a minute older than the answer), which alone proves that parts belong together"
    )]
    Unproven,
    /// Its origin says so.
    #[error("its origin does not let it be stored for others")]
    Private,
}

impl Refusal {
    /// What the origin did, where it is that.
    pub fn origin_error(&self) -> Option<&net::Error> {
        self.failure()?.cause()
    }

    /// What there is to say of it, without the way that it came.
    pub fn reason(&self) -> String {
        let cause = self.failure().and_then(std::error::Error::source);
        cause.map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// Whether another generation of the source is found where it is opened again, and this was of one
    /// that is none any more.
    pub fn is_of_another_version(&self) -> bool {
        self.failure().is_some_and(file::is_of_another_version)
    }

    /// Whether asking again later is promising.
    pub fn may_pass(&self) -> bool {
        let origin = |error: &net::Error| error.may_pass() || *error == net::Error::Changed;
        self.is_of_node()
            || self.origin_error().is_some_and(origin)
            || matches!(self, Self::Unkept(Unkept::Now))
    }

    /// Whether this node has no room for it, or no time, whatever the source is.
    pub fn is_of_node(&self) -> bool {
        let no_memory = self.failure().is_some_and(|failure| {
            failure.cause::<Exhausted>().is_some()
                || matches!(failure.cause(), Some(storage::Error::Exhausted(_)))
        });
        no_memory
            || matches!(self, Self::Full | Self::DecodeShare | Self::Draining)
            || matches!(self, Self::Pcm(pcm::Error::Exhausted(_)))
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::File(file::Error::Source(failure)) | Self::Pcm(pcm::Error::Source(failure)) => {
                Some(hls::Missing::reason(failure))
            }
            _ => None,
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Refusal::Full
    }
}

/// A piece of a body; `None` is its clean end. A body that stops without one was given up.
pub type Part = Result<Option<Sent>, Abort>;

/// The body cannot be completed: it ends short, and the client must see that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// What was to be sent can no longer be had.
    #[error("the source failed")]
    Failed,
    /// The operator ended it.
    #[error("the operator cancelled it")]
    Cancelled,
}
