//! What a client asks the media paths for: PCM of a source or a transcode, what a source is, an object
//! as it is.
//!
//! Pure: no I/O, no clock, no executor.

use percent_encoding::percent_decode_str;

use super::query::{Query, number};
use crate::{
    decode::{Dither, Quality},
    encode::{Codec, Coding, parse_bit_rate},
    file::conditional::Conditions,
    pcm::{
        Ask, BadSource, Choice, Format, MOST_POINTS, RATES_HZ, SourceName, TrackName,
        timeline::Seconds,
    },
    server::{
        accept,
        explain::of_coding,
        problem::{Kind, Problem},
    },
    shard::WaveformWanted,
};

/// The most channels of an answer.
pub const CHANNELS_MAX: u16 = 8;

const PCM_PARAMETERS: [&str; 10] =
    ["src", "format", "rate", "dither", "channels", "t", "d", "track", "variant", "quality"];

const TRANSCODE_PARAMETERS: [&str; 11] = [
    "src", "format", "bitrate", "level", "rate", "channels", "t", "d", "track", "variant",
    "quality",
];

const PROBE_PARAMETERS: [&str; 1] = ["src"];

const WAVEFORM_PARAMETERS: [&str; 4] = ["src", "points", "track", "variant"];

/// As many as a player shows.
const POINTS_DEFAULT: u32 = 800;

/// Reads the query of `/v1/pcm` and, where it names no format, the `Accept` fields.
///
/// # Errors
/// 400 with the name of the parameter and what it takes, 403 for a free URL, 406.
pub fn parse_pcm<'a>(
    query: &str,
    accept: impl IntoIterator<Item = &'a str>,
    is_library: impl Fn(&str) -> bool,
) -> Result<Ask, Problem> {
    let query = Query::parse(query, &PCM_PARAMETERS)?;
    let ask = ask(&query, is_library, |query| {
        let format = query.read("format", FORMATS, Format::from_name)?;
        format.map_or_else(|| accept::choose(accept).ok_or_else(Problem::not_acceptable), Ok)
    })?;
    let dither = query.read("dither", "none or tpdf", parse_dither)?.unwrap_or_default();
    Ok(Ask { dither, ..ask })
}

/// Reads the query of `/v1/transcode`.
///
/// # Errors
/// 400 with the name of the parameter and what it takes, 403 for a free URL, 415 for a format that this
/// build has no encoder for.
pub fn parse_transcode(query: &str, is_library: impl Fn(&str) -> bool) -> Result<Ask, Problem> {
    let query = Query::parse(query, &TRANSCODE_PARAMETERS)?;
    ask(&query, is_library, |query| coding(query).map(Format::Encoded))
}

fn coding(query: &Query) -> Result<Coding, Problem> {
    let codec = query.read("format", CODECS, Codec::from_name)?;
    let codec = codec.ok_or_else(|| Problem::missing_parameter("format", CODECS))?;
    let level = query.read("level", "a number", number)?;
    let bit_rate = query.read("bitrate", BIT_RATES, parse_bit_rate)?;
    Coding::new(codec, level, bit_rate).map_err(|error| of_coding(&error))
}

/// What `/v1/pcm` and `/v1/transcode` have in common.
fn ask(
    query: &Query,
    is_library: impl Fn(&str) -> bool,
    format: impl FnOnce(&Query) -> Result<Format, Problem>,
) -> Result<Ask, Problem> {
    let format = format(query)?;
    let rate_hz = query.read("rate", RATES, parse_rate)?;
    let channels = query.read("channels", "a number from 1 to 8", parse_channels)?;
    if let Some(coding) = format.coding() {
        coding.codec.check(rate_hz, channels).map_err(|error| of_coding(&error))?;
    }
    Ok(Ask {
        source: source(query, is_library)?,
        format,
        rate_hz,
        dither: Dither::None,
        channels,
        start: query.read("t", TIMES, parse_seconds)?,
        duration: query.read("d", TIMES, parse_seconds)?,
        choice: choice(query)?,
        quality: query.read("quality", "fast, good or best", parse_quality)?.unwrap_or_default(),
    })
}

/// Reads the query of `/v1/probe`.
///
/// # Errors
/// 400 with the name of the parameter and what it takes, 403 for a free URL.
pub fn parse_probe(query: &str, is_library: impl Fn(&str) -> bool) -> Result<SourceName, Problem> {
    source(&Query::parse(query, &PROBE_PARAMETERS)?, is_library)
}

/// Reads the query of `/v1/waveform`.
///
/// # Errors
/// As [`parse_probe`].
pub fn parse_waveform(
    query: &str,
    conditions: Conditions,
    is_library: impl Fn(&str) -> bool,
) -> Result<WaveformWanted, Problem> {
    let query = Query::parse(query, &WAVEFORM_PARAMETERS)?;
    let points = query.read("points", POINTS, parse_points)?.unwrap_or(POINTS_DEFAULT);
    Ok(WaveformWanted {
        source: source(&query, is_library)?,
        choice: choice(&query)?,
        points,
        conditions,
    })
}

/// What of the source is wanted.
fn choice(query: &Query) -> Result<Choice, Problem> {
    let track = query.read("track", TRACKS, parse_track)?;
    let variant = query.read("variant", VARIANTS, |text| text.parse().ok())?.unwrap_or_default();
    Ok(Choice { track, variant })
}

/// The source that a query names.
fn source(query: &Query, is_library: impl Fn(&str) -> bool) -> Result<SourceName, Problem> {
    let src = query.get("src").ok_or_else(|| Problem::missing_parameter("src", "NAME:path"))?;
    parse_source(src, is_library)
}

/// Reads `NAME:path`.
///
/// # Errors
/// 400 with what is expected; 403 for a URL.
fn parse_source(text: &str, is_library: impl Fn(&str) -> bool) -> Result<SourceName, Problem> {
    const ALLOWED: &str = "NAME:path, with the name of a configured origin or library";
    // The query was decoded, so a file's path is here as it is: it may hold a `?` or a `%`.
    SourceName::parse(text, is_library).map_err(|bad| match bad {
        BadSource::Url => Problem::free_url(),
        BadSource::Form => Problem::bad_parameter("src", text, ALLOWED),
    })
}

/// A request for `/o/{origin}/{path}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRequest {
    /// What to pass on. An origin's path is as it was sent, query included; that of a file is
    /// decoded once, and a query says nothing about it.
    pub source: SourceName,
}

impl ObjectRequest {
    /// Reads what follows `/o/`, and the query of the request.
    ///
    /// # Errors
    /// 404 for a name that no source can have, or no path.
    pub fn parse(
        rest: &str,
        query: Option<&str>,
        is_library: impl Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let (name, path) = rest.split_once('/').ok_or_else(Problem::no_such_path)?;
        if !SourceName::is_name(name) {
            return Err(Problem::unknown_source(name));
        }
        if path.is_empty() {
            return Err(Problem::no_such_path());
        }
        let is_file = is_library(name);
        let path = match query {
            _ if is_file => file_path(path)?,
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        Ok(Self { source: SourceName { name: name.to_owned(), path, is_file } })
    }
}

/// The path of a file, from that of a URL.
fn file_path(path: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(path).decode_utf8();
    decoded.map(Into::into).map_err(|_| {
        Problem::new(Kind::Parameter, "the path is not UTF-8 once it is decoded")
            .hint("percent-encode the file's name in UTF-8, once")
    })
}

const POINTS: &str = "a number of points from 1 to 4096";

const FORMATS: &str = "wav, wav24, wav32f, s16le, s24le, s32le, f32le, s16be or flac";

const CODECS: &str = "flac, opus, mp3 or aac";

const BIT_RATES: &str = "bits per second, such as 128000 or 128k";

const RATES: &str = "8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, \
                     96000, 176400 or 192000";

const TIMES: &str =
    "seconds from 0 in decimals, such as 90 or 12.345, without a sign and an exponent";

const TRACKS: &str = "a track number from 0, or the name or language of a rendition";

const VARIANTS: &str = "auto, a number in playlist order from 0, or max: and bits per second";

/// The longest name of a rendition that can be asked for, in bytes.
const TRACK_BYTES: usize = 256;

fn parse_points(text: &str) -> Option<u32> {
    number(text).filter(|points| (1..=MOST_POINTS).contains(points))
}

fn parse_rate(text: &str) -> Option<u32> {
    number(text).filter(|rate| RATES_HZ.contains(rate))
}

fn parse_channels(text: &str) -> Option<u16> {
    number(text).filter(|channels| (1..=CHANNELS_MAX).contains(channels))
}

fn parse_seconds(text: &str) -> Option<Seconds> {
    text.parse().ok()
}

fn parse_dither(text: &str) -> Option<Dither> {
    match text {
        "none" => Some(Dither::None),
        "tpdf" => Some(Dither::Tpdf),
        _ => None,
    }
}

fn parse_quality(text: &str) -> Option<Quality> {
    match text {
        "fast" => Some(Quality::Fast),
        "good" => Some(Quality::Good),
        "best" => Some(Quality::Best),
        _ => None,
    }
}

fn parse_track(text: &str) -> Option<TrackName> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text).map(TrackName::Number);
    }
    (text.len() <= TRACK_BYTES).then(|| TrackName::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(query: &str) -> Result<Ask, Problem> {
        parse_pcm(query, [], |name| name == "local")
    }

    #[test]
    fn a_transcode_names_its_format_and_what_that_takes() {
        let transcode = |query: &str| parse_transcode(query, |_| false);
        let ask = transcode("src=demo:a&format=flac&rate=48000&t=1").unwrap();
        assert_eq!((ask.format, ask.rate_hz), (Format::FLAC, Some(48_000)));
        let refused = |query: &str| transcode(query).unwrap_err();
        for (query, status, names) in [
            ("src=demo:a", 400, "`format`"),
            ("src=demo:a&format=wav", 400, "`format`"),
            ("src=demo:a&format=flac&bitrate=128k", 400, "flac has no `bitrate`"),
            ("src=demo:a&format=flac&bitrate=fast", 400, "`bitrate`"),
            ("src=demo:a&format=flac&level=200", 400, "`level` of flac is 0 to 8"),
            ("src=demo:a&format=opus&level=5", 400, "opus has no `level`"),
            ("src=demo:a&format=opus&bitrate=600k", 400, "`bitrate` of opus is 6000 to 510000"),
            ("src=demo:a&format=opus&rate=44100", 400, "`rate` of opus is 48000"),
            ("src=demo:a&format=flac&dither=tpdf", 400, "dither"),
        ] {
            let problem = refused(query);
            assert_eq!(problem.status(), status, "{query}");
            assert!(problem.detail.contains(names), "{query}: {}", problem.detail);
        }
        for codec in Codec::ALL.into_iter().filter(|codec| !codec.is_built()) {
            let problem = refused(&format!("src=demo:a&format={}&bitrate=1", codec.name()));
            assert_eq!(problem.status(), 415, "{codec:?}");
            assert!(problem.detail.contains(&format!("`--features {}`", codec.name())));
            assert!(problem.hint.unwrap().contains("`format=flac`"));
        }
    }

    #[test]
    fn defaults_are_those_of_the_interface() {
        let request = pcm("src=demo:a/b.mp3").unwrap();
        let source = SourceName { name: "demo".into(), path: "a/b.mp3".into(), is_file: false };
        assert_eq!(request.source, source);
        assert_eq!((request.format, request.rate_hz, request.channels), (Format::Wav, None, None));
        assert_eq!((request.start, request.duration), (None, None));
        assert_eq!((request.dither, request.quality), (Dither::None, Quality::Good));
        assert_eq!(request.choice, Choice::default());
    }

    #[test]
    fn every_parameter_is_read() {
        let request = pcm(
            "src=demo%3Aa+b%20%C3%A9.mp3%3Fk%3D1&format=s24le&rate=48000&dither=tpdf&channels=8&\
             t=1.5&d=0.000000001&track=1&variant=0&quality=best",
        )
        .unwrap();
        assert_eq!(request.source.path, "a b é.mp3?k=1");
        assert_eq!(request.source.to_string(), "demo:a b é.mp3");
        assert_eq!(request.format, Format::S24le);
        assert_eq!((request.rate_hz, request.channels), (Some(48_000), Some(8)));
        assert_eq!((request.dither, request.quality), (Dither::Tpdf, Quality::Best));
        assert_eq!(request.start.unwrap().frames(8_000), 12_000);
        assert_eq!(request.duration.unwrap().to_string(), "0.000000001");
        assert_eq!(request.choice.track, Some(TrackName::Number(1)));
    }

    #[test]
    fn a_bad_value_names_its_parameter_and_what_it_takes() {
        for (query, name) in [
            ("format=WAV", "format"),
            ("format=", "format"),
            ("rate=44101", "rate"),
            ("rate=+8000", "rate"),
            ("rate=0", "rate"),
            ("rate=99999999999999999999", "rate"),
            ("dither=yes", "dither"),
            ("channels=0", "channels"),
            ("channels=9", "channels"),
            ("t=-1", "t"),
            ("t=1e3", "t"),
            ("t=NaN", "t"),
            ("d=-0.5", "d"),
            ("d=1e1", "d"),
            ("track=", "track"),
            ("variant=max:", "variant"),
            ("variant=max:0", "variant"),
            ("variant=best", "variant"),
            ("quality=high", "quality"),
            ("quality", "quality"),
        ] {
            let problem = pcm(&format!("src=demo:a&{query}")).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            assert!(problem.detail.starts_with(&format!("`{name}` is ")), "{}", problem.detail);
            assert!(problem.hint.unwrap().starts_with(&format!("`{name}` takes ")), "{query}");
        }
    }

    #[test]
    fn an_unknown_parameter_names_the_nearest_one() {
        let problem = pcm("src=demo:a&rte=8000").unwrap_err();
        assert_eq!(problem.status(), 400);
        assert!(problem.hint.unwrap().starts_with("did you mean `rate`?"));
        let far = pcm("src=demo:a&volume=11").unwrap_err().hint.unwrap();
        assert!(far.starts_with("There are: src, format, "), "{far}");
        assert!(
            parse_probe("source=demo:a", |_| false).unwrap_err().hint.unwrap().contains("`src`")
        );
    }

    #[test]
    fn an_outline_has_as_many_points_as_it_may() {
        let wanted = |query: &str| parse_waveform(query, Conditions::default(), |_| false);
        let points = |query: &str| wanted(query).map(|wanted| wanted.points);
        assert_eq!(points("src=demo:a"), Ok(800));
        assert_eq!(points("src=demo:a&points=4096&track=1"), Ok(4096));
        for bad in ["points=0", "points=4097", "points=x", "track="] {
            assert_eq!(points(&format!("src=demo:a&{bad}")).unwrap_err().status(), 400, "{bad}");
        }
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        for query in
            ["src=demo:a&rate=8000&rate=8000", "src=demo:a&src=demo:b", "src=demo:a&%73rc=x"]
        {
            assert!(pcm(query).unwrap_err().detail.contains("more than once"), "{query}");
        }
    }

    #[test]
    fn encoding_is_undone_once_and_must_be_whole() {
        assert_eq!(pcm("src=demo:a%2520b").unwrap().source.path, "a%20b");
        for query in [
            "src=demo:%",
            "src=demo:%4",
            "src=demo:%zz",
            "src=demo:%ff",
            "src=demo:a%00",
            "src=demo:a%0d%0a",
            "src=demo:a%7f",
            "src=demo:%c2%85",
            "%ff=1",
            "src=demo:%+1",
        ] {
            assert_eq!(pcm(query).unwrap_err().status(), 400, "{query}");
        }
    }

    #[test]
    fn sources_are_named_and_urls_are_not() {
        for src in ["http://a/b", "HTTPS://a/b", "https:a", "ftp://a/b", "x%3A%2F%2Fa"] {
            assert_eq!(pcm(&format!("src={src}")).unwrap_err().status(), 403, "{src}");
        }
        for src in ["", "demo", "demo:", ":a", "de mo:a", "demo:/a", "../x:a"] {
            assert_eq!(pcm(&format!("src={src}")).unwrap_err().status(), 400, "{src}");
        }
        assert!(pcm("").unwrap_err().detail.contains("`src` is missing"));
    }

    #[test]
    fn accept_decides_where_no_format_is_given() {
        let format = |query, accept| parse_pcm(query, [accept], |_| false).map(|r| r.format);
        assert_eq!(format("src=demo:a", "audio/flac"), Ok(Format::FLAC));
        assert_eq!(format("src=demo:a&format=wav", "audio/flac"), Ok(Format::Wav));
        assert_eq!(format("src=demo:a", "text/html").unwrap_err().status(), 406);
    }

    #[test]
    fn an_object_keeps_its_path_as_it_was_sent() {
        let object = ObjectRequest::parse("demo/a%20b/c", Some("k=1&l"), |_| false).unwrap();
        assert_eq!(object.source.path, "a%20b/c?k=1&l");
        assert_eq!(object.source.to_string(), "demo:a%20b/c");
        for rest in ["", "demo", "demo/", "/a", "de%20mo/a"] {
            assert_eq!(
                ObjectRequest::parse(rest, None, |_| false).unwrap_err().status(),
                404,
                "{rest}"
            );
        }
    }

    #[test]
    fn a_file_is_named_the_same_by_parameter_and_by_path() {
        for (src, path) in [
            ("a%20b", "a%20b"),
            ("what%3F", "what%3F"),
            ("100%25", "100%25"),
            ("%2541", "%2541"),
            ("%231/%C3%A9", "%231/%C3%A9"),
            ("plain.wav", "plain.wav?k=1"),
        ] {
            let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
            let object = ObjectRequest::parse(&format!("local/{path}"), query, |_| true).unwrap();
            assert_eq!(pcm(&format!("src=local:{src}")).unwrap().source, object.source);
        }
        assert_eq!(pcm("src=local:100%25%3F%23").unwrap().source.path, "100%?#");
        let latin1 = ObjectRequest::parse("local/%e9", None, |_| true).unwrap_err();
        assert_eq!(latin1.status(), 400);
    }
}
