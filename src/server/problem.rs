//! Errors as clients see them: problem documents of RFC 9457, and the one table of statuses.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A detail names what was wrong and where, a hint what to do about it. Neither ever holds a
//! query, a header or an address of an origin: those carry secrets.

use serde_json::{Map, Value};

use super::guard::Refusal;
use crate::{
    encode::{self, Codec},
    pcm::SourceName,
    shard::Unheard,
};

/// What went wrong, as far as clients act differently on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A parameter of the query is bad.
    Parameter,
    /// The request is not HTTP, or not safe to read.
    Malformed,
    /// The client may not have this.
    Forbidden,
    /// There is nothing by this name.
    NotFound,
    /// The method does not exist here.
    Method,
    /// None of the formats there are is acceptable.
    NotAcceptable,
    /// The request did not arrive in time.
    Slow,
    /// The node is set up so that this cannot be.
    Conflict,
    /// The signature was good once.
    SignatureExpired,
    /// A precondition of the request does not hold.
    Precondition,
    /// The request body is larger than anything that is read here.
    BodyTooLarge,
    /// The request target is too long.
    UriTooLong,
    /// The codec or the container is not supported.
    Unsupported,
    /// The stream has no end, and so it is not supported.
    Live,
    /// No byte of the range exists.
    Range,
    /// The request is for another host.
    WrongHost,
    /// The media holds nothing that decodes.
    Damaged,
    /// The client is over one of its limits.
    TooMany,
    /// The head is too large.
    HeadTooLarge,
    /// A defect of the node.
    Internal,
    /// The origin failed.
    Origin,
    /// The node is full.
    Busy,
    /// The origin is full.
    OriginBusy,
    /// The disk of the cache fails or is full.
    Disk,
    /// The node is shutting down.
    Draining,
    /// The operator ended it.
    Cancelled,
    /// The origin did not answer in time.
    OriginSilent,
    /// The client wants what is in the cache, and it is not there.
    NotCached,
    /// The HTTP version is not spoken here.
    Version,
    /// The request passed through this node before.
    Loop,
}

impl Kind {
    /// The table: HTTP status, name in `type`, title.
    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Parameter => (400, "parameter", "A parameter is not valid"),
            Self::Malformed => (400, "malformed", "The request is malformed"),
            Self::Forbidden => (403, "forbidden", "Not allowed"),
            Self::NotFound => (404, "not-found", "Not found"),
            Self::Method => (405, "method", "The method is not allowed here"),
            Self::NotAcceptable => (406, "not-acceptable", "No acceptable format"),
            Self::Slow => (408, "slow", "The request did not arrive in time"),
            Self::Conflict => (409, "conflict", "Not possible as this node is set up"),
            Self::SignatureExpired => (410, "signature-expired", "The signature has expired"),
            Self::Precondition => (412, "precondition", "A precondition failed"),
            Self::BodyTooLarge => (413, "body-too-large", "The request body is too large"),
            Self::UriTooLong => (414, "uri-too-long", "The request target is too long"),
            Self::Unsupported => (415, "unsupported", "The media is not supported"),
            Self::Live => (415, "live", "Live streams are not supported"),
            Self::Range => (416, "range", "No such range"),
            Self::WrongHost => (421, "wrong-host", "This host is not served here"),
            Self::Damaged => (422, "damaged", "The media cannot be decoded"),
            Self::TooMany => (429, "too-many", "Too many requests at once"),
            Self::HeadTooLarge => (431, "head-too-large", "The request head is too large"),
            Self::Internal => (500, "internal", "The node failed"),
            Self::Origin => (502, "origin", "The origin failed"),
            Self::Busy => (503, "busy", "The node is full"),
            Self::OriginBusy => (503, "origin-busy", "The origin is full"),
            Self::Disk => (503, "disk", "The disk of the cache takes nothing"),
            Self::Draining => (503, "draining", "The node is shutting down"),
            Self::Cancelled => (503, "cancelled", "The operator cancelled it"),
            Self::OriginSilent => (504, "origin-silent", "The origin did not answer"),
            Self::NotCached => (504, "not-cached", "Not in the cache"),
            Self::Version => (505, "version", "The HTTP version is not supported"),
            Self::Loop => (508, "loop", "The request goes in a circle"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// The name, as `type` has it after `urn:kithara:problem:`; also for metrics.
    pub fn name(self) -> &'static str {
        self.row().1
    }
}

impl From<Refusal> for Kind {
    fn from(refusal: Refusal) -> Self {
        match refusal.status() {
            405 => Self::Method,
            408 => Self::Slow,
            414 => Self::UriTooLong,
            431 => Self::HeadTooLarge,
            505 => Self::Version,
            _ => Self::Malformed,
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its row in the table.
    pub kind: Kind,
    /// What was wrong, and where.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// When to come back, in seconds: the field `Retry-After` too.
    pub retry_after_seconds: Option<u32>,
    /// The path of the request it answers.
    pub instance: Option<String>,
    /// The field `Allow`, with 405.
    pub allow: Option<&'static str>,
    /// The length for `Content-Range: bytes */length`, with 416.
    pub length: Option<u64>,
}

impl Problem {
    /// A problem of this kind. `detail` is a sentence without its full stop.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            hint: None,
            retry_after_seconds: None,
            instance: None,
            allow: None,
            length: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds when to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds the path of the request, which must come without its query.
    #[must_use]
    pub fn instance(mut self, path: impl Into<String>) -> Self {
        self.instance = Some(path.into());
        self
    }

    /// The parameter `name` was given a value that is not one of `allowed`.
    pub fn bad_parameter(name: &str, value: &str, allowed: &str) -> Self {
        Self::new(Kind::Parameter, format!("`{name}` is {}, which is not valid", quote(value)))
            .hint(format!("`{name}` takes {allowed}"))
    }

    /// There is no such parameter; `nearest` is the one that was likely meant.
    pub fn unknown_parameter(name: &str, nearest: Option<&str>, known: &[&str]) -> Self {
        let guess =
            nearest.map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default();
        Self::new(Kind::Parameter, format!("there is no parameter {}", quote(name)))
            .hint(format!("{guess}There are: {}", known.join(", ")))
    }

    /// The parameter `name` stands twice.
    pub fn repeated_parameter(name: &str) -> Self {
        Self::new(Kind::Parameter, format!("`{name}` is given more than once"))
            .hint("give each parameter once")
    }

    /// The parameter `name` is missing.
    pub fn missing_parameter(name: &str, allowed: &str) -> Self {
        Self::new(Kind::Parameter, format!("`{name}` is missing"))
            .hint(format!("`{name}` takes {allowed}"))
    }

    /// The start lies past the end of the media.
    pub fn past_the_end(duration: &str) -> Self {
        Self::new(Kind::Parameter, format!("`t` starts past the end; the duration is {duration} s"))
            .hint(format!("`t` takes {}", starts_within(duration)))
    }

    /// The guard refused the message.
    pub fn refused(refusal: Refusal) -> Self {
        let problem = Self::new(refusal.into(), refusal.to_string());
        match refusal {
            Refusal::Tunnel => Self { allow: Some("GET, HEAD, OPTIONS"), ..problem },
            _ => problem,
        }
    }

    /// Free URLs are served to signed requests only.
    pub fn free_url() -> Self {
        Self::new(Kind::Forbidden, "URLs are not taken as sources by this node")
            .hint("name a configured source: src=NAME:path")
    }

    /// The client may not have `source`.
    pub fn forbidden(source: &SourceName) -> Self {
        Self::new(Kind::Forbidden, format!("{source} is not allowed"))
    }

    /// No origin or library is called `name`.
    pub fn unknown_source(name: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no source {}", quote(name)))
            .hint("sources are named in the configuration: [origin.NAME], [library.NAME]")
    }

    /// The origin or the library has nothing by this name.
    pub fn not_found(source: &SourceName) -> Self {
        let place = if source.is_file { "in its library" } else { "at its origin" };
        Self::new(Kind::NotFound, format!("{source} does not exist {place}"))
    }

    /// Nothing of this node has this path.
    pub fn no_such_path() -> Self {
        Self::new(Kind::NotFound, "there is nothing at this path").hint(
            "see /v1/pcm?src=NAME:path, /v1/transcode?src=NAME:path&format=flac, \
                 /v1/probe?src=NAME:path, /o/NAME/path",
        )
    }

    /// The method is none of those in `allow`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(Kind::Method, "the method is not allowed at this path");
        Self { allow: Some(allow), ..problem }.hint(format!("this path answers {allow}"))
    }

    /// `Accept` names nothing that can be made.
    pub fn not_acceptable() -> Self {
        Self::new(Kind::NotAcceptable, "`Accept` names no format there is").hint(
            "accept audio/wav, audio/flac, audio/L16 or application/octet-stream, or give `format`",
        )
    }

    /// A codec, a container or a kind of stream that is not supported: `why`, with its name.
    pub fn unsupported(source: &SourceName, why: &str) -> Self {
        Self::new(Kind::Unsupported, format!("{source}: {why}"))
            .hint(format!("the original bytes are at {}", source.object_path()))
    }

    /// A stream that has not ended: `why`.
    pub fn live(source: &SourceName, why: &str) -> Self {
        Self { kind: Kind::Live, ..Self::unsupported(source, why) }
    }

    /// The format that is asked for cannot hold `source`: `why`.
    pub fn unencodable(source: &SourceName, why: &str) -> Self {
        let hint =
            format!("choose another `format`; the original bytes are at {}", source.object_path());
        Self::new(Kind::Unsupported, format!("{source}: {why}")).hint(hint)
    }

    /// A format that is known, and that this build has no encoder for.
    pub fn not_built(codec: Codec) -> Self {
        let built = Codec::ALL.into_iter().filter(|codec| codec.is_built());
        let built: Vec<_> = built.map(|codec| format!("`format={}`", codec.name())).collect();
        let detail = encode::Error::NotBuilt(codec).to_string();
        Self::new(Kind::Unsupported, detail).hint(format!("there is {}", built.join(" or ")))
    }

    /// Nothing in the media decodes.
    pub fn damaged(source: &SourceName) -> Self {
        Self::new(Kind::Damaged, format!("nothing in {source} decodes"))
    }

    /// No byte of the range exists in `length` bytes.
    pub fn no_such_range(length: u64) -> Self {
        let detail = format!("the range lies outside of the {length} bytes there are");
        Self { length: Some(length), ..Self::new(Kind::Range, detail) }
    }

    /// `If-Match` or `If-Unmodified-Since` does not hold.
    pub fn precondition_failed() -> Self {
        Self::new(Kind::Precondition, "the representation is not the one the request asks for")
    }

    /// The request body exceeds `limit_bytes`.
    pub fn body_too_large(limit_bytes: u64) -> Self {
        Self::new(
            Kind::BodyTooLarge,
            format!("request bodies over {limit_bytes} bytes are refused"),
        )
    }

    /// The origin failed: `how`, without addresses and headers.
    pub fn origin_failed(source: &SourceName, how: &str) -> Self {
        Self::new(Kind::Origin, format!("the origin of {source} failed: {how}"))
    }

    /// The origin has no room, and said so.
    pub fn origin_busy(source: &SourceName, retry_after_seconds: u32) -> Self {
        Self::new(Kind::OriginBusy, format!("the origin of {source} takes no request now"))
            .retry_after(retry_after_seconds)
    }

    /// It would have to be fetched, and the client forbids that.
    pub fn not_cached(source: &SourceName) -> Self {
        Self::new(Kind::NotCached, format!("{source} is not in the cache, or not fresh"))
            .hint("without `Cache-Control: only-if-cached` it is fetched")
    }

    /// The origin answered nothing for so many seconds.
    pub fn origin_silent(source: &SourceName, seconds: u64) -> Self {
        Self::new(Kind::OriginSilent, format!("the origin of {source} was silent for {seconds} s"))
    }

    /// The node has no room for `what`.
    pub fn busy(what: &str, retry_after_seconds: u32) -> Self {
        Self::new(Kind::Busy, format!("there is no room for {what}"))
            .retry_after(retry_after_seconds)
    }

    /// The node takes no new work.
    pub fn draining() -> Self {
        Self::new(Kind::Draining, "this node is shutting down").retry_after(5)
    }

    /// The operator ended it before it was answered.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "the operator of this node ended the stream")
    }

    /// There is no `what` of this name.
    pub fn no_such(what: &str, id: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} {}", quote(id)))
    }

    /// A command to the session called `id` does not reach it.
    pub fn unheard(id: &str, why: Unheard) -> Self {
        match why {
            Unheard::NoSession => Self::no_such("stream", id).hint("see /v1/streams"),
            Unheard::Full => Self::busy("another command to this stream", 1),
            Unheard::Silent => Self::new(Kind::Busy, why.to_string()).retry_after(1),
        }
    }

    /// A page of another site asks for a change.
    pub fn foreign_origin() -> Self {
        Self::new(Kind::Forbidden, "pages of other sites change nothing here")
            .hint("`Origin` is left out, or names this listener")
    }

    /// A defect; what it was stands in the log.
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "the request met a defect of the node, which was logged")
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind.status()
    }

    /// The document, `application/problem+json`.
    pub fn to_json(&self) -> String {
        let (status, name, title) = self.kind.row();
        let mut members = Map::new();
        members.insert("type".into(), format!("urn:kithara:problem:{name}").into());
        members.insert("title".into(), title.into());
        members.insert("status".into(), status.into());
        members.insert("detail".into(), self.detail.clone().into());
        let optional = [("hint", &self.hint), ("instance", &self.instance)];
        for (member, value) in optional {
            if let Some(value) = value {
                members.insert(member.into(), value.clone().into());
            }
        }
        if let Some(seconds) = self.retry_after_seconds {
            members.insert("retry_after".into(), seconds.into());
        }
        // The line ends, for people at a terminal.
        format!("{}\n", Value::Object(members))
    }
}

/// Where media of this duration, which has three decimals, can be started.
pub fn starts_within(duration: &str) -> String {
    match duration.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        true => format!("seconds from 0, below {duration}"),
        false => "0 here: there is less than a millisecond".to_owned(),
    }
}

/// The most of a client's own words that is given back to it, in characters.
const QUOTED_CHARS: usize = 60;

fn quote(text: &str) -> String {
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(QUOTED_CHARS).collect();
    let more = if chars.next().is_some() { ".." } else { "" };
    format!("`{shown}{more}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_members_of_the_interface() {
        let problem = Problem::busy("another stream", 3).hint("wait").instance("/v1/pcm");
        let json: Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert_eq!(json["type"], "urn:kithara:problem:busy");
        assert_eq!(json["title"], "The node is full");
        assert_eq!(json["status"], 503);
        assert_eq!(json["detail"], "there is no room for another stream");
        assert_eq!(json["instance"], "/v1/pcm");
        assert_eq!((&json["hint"], &json["retry_after"]), (&"wait".into(), &3.into()));
    }

    #[test]
    fn no_start_is_asked_for_below_nothing() {
        let hint = |duration| Problem::past_the_end(duration).hint.unwrap();
        assert_eq!(hint("0.001"), "`t` takes seconds from 0, below 0.001");
        assert_eq!(hint("0.000"), "`t` takes 0 here: there is less than a millisecond");
    }

    #[test]
    fn a_query_never_appears() {
        let source =
            SourceName { name: "music".into(), path: "a.mp3?token=secret".into(), is_file: false };
        for problem in [Problem::not_found(&source), Problem::unsupported(&source, "Opus")] {
            assert!(!problem.to_json().contains("secret"), "{problem:?}");
        }
    }

    #[test]
    fn what_a_client_said_is_cut_and_escaped() {
        let problem = Problem::bad_parameter("t", &"\"é\u{1}".repeat(1000), "seconds");
        let json: Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert!(json["detail"].as_str().unwrap().chars().count() < 100);
    }
}
