//! Errors of the layers, as a client is told them: the one table.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::Duration;

use super::problem::{Kind, Problem};
use crate::{
    bufpool::Exhausted,
    decode, encode, file, hls, net,
    pcm::{self, SourceName, timeline},
    runtime::ReadError,
    shard::Refusal,
    storage::{self, Failure},
};

/// When to come back to a node that is full, in seconds: about what a song's fetch takes.
const BUSY_SECONDS: u32 = 5;

/// What a client is told about `refusal` of its request for `source`.
pub(super) fn problem_of(refusal: &Refusal, source: &SourceName) -> Problem {
    match refusal {
        Refusal::File(error) => of_file(error, source),
        Refusal::Pcm(error) => of_pcm(error, source),
        Refusal::Hls(error) => of_hls(error, source),
        Refusal::Precondition => Problem::precondition_failed(),
        Refusal::Unsatisfiable { length } => Problem::no_such_range(*length),
        Refusal::Unkept(_) | Refusal::List => Problem::busy("it in the cache", BUSY_SECONDS),
        Refusal::Full => Problem::busy("another stream", BUSY_SECONDS),
        Refusal::DecodeShare => no_share(source),
        Refusal::Draining => Problem::draining(),
        Refusal::Cancelled => Problem::cancelled(),
        Refusal::Broken => Problem::internal(),
    }
}

/// Bytes go out all the same.
fn no_share(source: &SourceName) -> Problem {
    Problem::busy("another stream to decode", BUSY_SECONDS).hint(format!(
        "`limits.decode_share` is the bound; the original bytes are at {}",
        source.object_path()
    ))
}

pub(super) fn of_file(error: &file::Error, source: &SourceName) -> Problem {
    match error {
        file::Error::UnknownSource(name) => Problem::unknown_source(name),
        file::Error::BadPath(_) => {
            Problem::new(Kind::Parameter, format!("{source} is no path inside its source"))
                .hint("no `.` or `..`, no empty segment, no control character; from an origin no encoded slash")
        }
        file::Error::NotFound => Problem::not_found(source),
        file::Error::LeadsOut => Problem::forbidden(source)
            .hint("a link there leads out of the library or in a circle; links are followed inside"),
        file::Error::NotPermitted => Problem::forbidden(source).hint(
            "the user that this node runs as may not read the file, or not enter a folder on its way",
        ),
        file::Error::Unreadable(how) => {
            Problem::new(Kind::Internal, format!("{source} cannot be read: {how}"))
        }
        file::Error::TooLong { .. } => {
            Problem::live(source, &error.to_string())
                .hint("live streams are not supported yet; `limits.object_bytes` is the bound")
        }
        file::Error::NotCached => Problem::not_cached(source),
        file::Error::Source(failure) => of_failure(failure, source),
    }
}

fn of_pcm(error: &pcm::Error, source: &SourceName) -> Problem {
    match error {
        pcm::Error::Source(failure) => of_failure(failure, source),
        pcm::Error::Decode(error) => of_decode(error, source),
        pcm::Error::Timeline(timeline::Error::PastEnd { duration }) => {
            Problem::past_the_end(duration)
        }
        pcm::Error::Timeline(error) => Problem::new(Kind::Parameter, format!("`t` {error}")),
        pcm::Error::Spec(error) => Problem::new(Kind::Parameter, error.to_string())
            .hint("choose another `rate` or `channels`"),
        // Its parameters were found good before: it is the source that the format cannot hold.
        pcm::Error::Encode(_) | pcm::Error::Unencodable(_) => {
            Problem::unencodable(source, &error.to_string())
        }
        pcm::Error::NoVariants => {
            Problem::new(Kind::Parameter, format!("{source} has no such `variant`"))
                .hint("it is no HLS presentation: `variant` takes auto or 0 here")
        }
        pcm::Error::NoNames => {
            Problem::new(Kind::Parameter, format!("{source} has no such audio `track`"))
                .hint("it is no HLS presentation: `track` takes a number here")
        }
        pcm::Error::Exhausted(_) => Problem::busy("another stream", BUSY_SECONDS),
    }
}

/// Why a presentation is not played.
fn of_hls(error: &hls::Error, source: &SourceName) -> Problem {
    use hls::playlist::Error as Playlist;
    match error {
        hls::Error::NoVariant(there) => {
            Problem::new(Kind::Parameter, format!("{source} has no such `variant`"))
                .hint(format!("there are {there}"))
        }
        hls::Error::Playlist(Playlist::NoTrack(there)) => {
            Problem::new(Kind::Parameter, format!("{source} has no such audio `track`"))
                .hint(format!("there are {there}"))
        }
        hls::Error::NoKey { .. } => Problem::origin_failed(source, &error.to_string())
            .hint("the operator says what goes with requests for keys: `origin.NAME.key_headers` and `key_query`"),
        hls::Error::Playlist(error @ Playlist::Live) => Problem::live(source, &error.to_string()),
        hls::Error::LeadsOut => Problem::forbidden(source).hint(error.to_string()),
        hls::Error::Playlist(Playlist::Malformed { .. } | Playlist::Empty) | hls::Error::Nested => {
            Problem::new(Kind::Damaged, format!("{source}: {error}"))
        }
        other => Problem::unsupported(source, &other.to_string()),
    }
}

/// Why nothing could be encoded as it is asked for, whatever the source is.
pub(super) fn of_coding(error: &encode::Error) -> Problem {
    match error {
        encode::Error::NotBuilt(codec) => Problem::not_built(*codec),
        other => Problem::new(Kind::Parameter, other.to_string()),
    }
}

fn of_decode(error: &decode::Error, source: &SourceName) -> Problem {
    match error {
        decode::Error::Damaged { .. } => Problem::damaged(source),
        decode::Error::NoTrack { tracks } => no_such_track(*tracks, source),
        decode::Error::Panicked => Problem::internal(),
        decode::Error::NoStack => Problem::busy("another decoder", BUSY_SECONDS),
        other => Problem::unsupported(source, &other.to_string()),
    }
}

fn no_such_track(tracks: usize, source: &SourceName) -> Problem {
    let problem = Problem::new(Kind::Parameter, format!("{source} has no such audio `track`"));
    match tracks.saturating_sub(1) {
        0 => problem.hint("`track` takes 0 here"),
        last => problem.hint(format!("`track` takes 0 to {last} here")),
    }
}

/// What of a presentation is missing, and why.
fn of_missing(missing: &hls::Missing, source: &SourceName) -> Problem {
    let hls::Missing { thing, called, why } = missing;
    let name = called.name.clone();
    let part = name.map(|name| SourceName { name, path: called.path.clone(), ..source.clone() });
    let problem = of_failure(why, part.as_ref().unwrap_or(source));
    let detail = match &part {
        Some(_) => format!("{thing} of {source} cannot be had: {}", problem.detail),
        None => format!("{thing} of {source}, {called}, cannot be had: {}", problem.detail),
    };
    let bytes = part.map(|part| format!("what comes of it is at {}", part.object_path()));
    let hint = problem.hint.clone().or(bytes);
    Problem { detail, hint, ..problem }
}

/// Why bytes cannot be had, by whoever was to bring them.
fn of_failure(failure: &Failure, source: &SourceName) -> Problem {
    if let Some(missing) = failure.cause::<hls::Missing>() {
        return of_missing(missing, source);
    }
    // What a presentation needs was refused to the node itself.
    if let Some(refusal) = failure.cause::<Refusal>() {
        return problem_of(refusal, source);
    }
    if let Some(error) = failure.cause::<file::Error>() {
        return of_file(error, source);
    }
    if let Some(error) = failure.cause::<net::Error>() {
        return of_net(error, source);
    }
    if failure.cause::<Exhausted>().is_some()
        || matches!(failure.cause(), Some(storage::Error::Exhausted(_)))
        || matches!(failure.cause(), Some(ReadError::Exhausted(_)))
    {
        return Problem::busy("the bytes of this source", BUSY_SECONDS);
    }
    Problem::origin_failed(source, &failure.to_string())
}

fn of_net(error: &net::Error, source: &SourceName) -> Problem {
    match error {
        net::Error::Status(404 | 410) => Problem::not_found(source),
        net::Error::Status(429 | 503) => Problem::origin_busy(source, BUSY_SECONDS),
        net::Error::Later { status: 429 | 503, after } => {
            Problem::origin_busy(source, whole(*after))
        }
        net::Error::Later { after, .. } => {
            Problem::origin_failed(source, &error.to_string()).retry_after(whole(*after))
        }
        net::Error::Silent { after } => Problem::origin_silent(source, after.as_secs()),
        net::Error::Path(_) => of_file(&file::Error::BadPath(source.path.clone()), source),
        // Of which network the node is in a client learns nothing: this is in the documents, too.
        net::Error::Refused { origin, .. } => Problem::forbidden(source).hint(format!(
            "which networks its origin may lie in is said by the operator: `origin.{origin}.allow_private`"
        )),
        net::Error::Busy => Problem::busy("another connection to the origin", BUSY_SECONDS),
        net::Error::Closed => Problem::draining(),
        other => Problem::origin_failed(source, &other.to_string()),
    }
}

/// Seconds, rounded up: who comes a moment too early comes in vain.
fn whole(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_no_defect_of_the_node() {
        let source = SourceName { name: "lib".into(), path: "a.wav".into(), is_file: true };
        let denied = of_file(&file::Error::NotPermitted, &source);
        assert_eq!(denied.status(), 403);
        assert!(denied.hint.unwrap().contains("user"), "who can mend it knows what to change");
        let failed = of_file(&file::Error::Unreadable("input/output error".into()), &source);
        assert_eq!(failed.status(), 500);
    }
}
