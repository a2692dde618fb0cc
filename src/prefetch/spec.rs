//! What one prefetch is asked for: the JSON of a request, read strictly.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A member that is misspelt, repeated or out of range is an error that names it and what it takes,
//! never a default in silence. The same text is what the journal keeps.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, json};

use crate::{
    pcm::{BadSource, SourceName},
    shard::Ahead,
};

/// Ranges of one prefetch.
pub const RANGES: usize = 8;
/// The most urgent priority.
pub const PRIORITY_MAX: u8 = 9;
/// The priority of who names none.
pub const PRIORITY: u8 = 5;
/// The longest text of a source, in bytes: a request target's.
pub(super) const SOURCE_BYTES: usize = 8 << 10;
/// Positions are whole numbers that JSON carries exactly (RFC 8259 section 6).
const POSITION_MAX: u64 = 1 << 53;

const MEMBERS: [&str; 5] = ["src", "variants", "ranges", "decode", "priority"];
const SOURCES: &str = "NAME:path, or a list of them that is not empty";
const VARIANTS: &str = "\"all\", \"auto\" or a number from 0";
const RANGE_LIST: &str = "1 to 8 pairs [from, to] of bytes, from < to, without the byte at to";
const PRIORITIES: &str = "a number from 0 to 9, of which 9 goes first";

/// Sources that are to be in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Which, in their order; at least one.
    pub sources: Vec<SourceName>,
    /// What of each of them, in bytes, ascending and apart; none are all of it.
    pub ranges: Vec<Range<u64>>,
    /// Which variants of a presentation; a plain file is its own only one.
    pub variants: Variants,
    /// Whether each is decoded once, as a check.
    pub decode: bool,
    /// 0 to 9; a higher one goes first.
    pub priority: u8,
}

/// Variants of a presentation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variants {
    /// Every one.
    All,
    /// The one that a client with a good connection gets.
    #[default]
    Auto,
    /// The one of this number, in the order of the playlist.
    Number(u32),
}

impl std::str::FromStr for Variants {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text {
            "all" => Ok(Self::All),
            "auto" => Ok(Self::Auto),
            _ if digits => text.parse().map(Self::Number).map_err(|_| "there are not so many"),
            _ => Err("write all, auto or a number from 0"),
        }
    }
}

/// Why a request is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// It is not JSON, or no object.
    #[error("the body is no JSON object: {0}")]
    Json(String),
    /// It has a member that means nothing.
    #[error("there is no member `{0}`")]
    Unknown(String),
    /// It says something twice.
    #[error("`{0}` is given more than once")]
    Repeated(String),
    /// It names no source.
    #[error("`src` is missing")]
    NoSource,
    /// A value is of another kind, or out of its range.
    #[error("`{member}` is {value}, which is not valid")]
    Value {
        /// Whose; with its place, where it is in a list.
        member: String,
        /// What was given, cut.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
    /// A source is a URL of its own.
    #[error("`{0}` is a URL of no configured origin")]
    Url(String),
    /// A check needs the whole.
    #[error("`decode` needs all of a source, and `ranges` are parts of it")]
    PartDecoded,
}

impl BadSpec {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            Self::Json(_) => "send an object such as {\"src\": \"music:song.mp3\"}".to_owned(),
            Self::Unknown(name) => {
                let distance = |known: &&&str| strsim::damerau_levenshtein(name, known);
                let nearest = MEMBERS.iter().min_by_key(distance).copied().unwrap_or_default();
                format!("did you mean `{nearest}`? There are {}", MEMBERS.join(", "))
            }
            Self::Repeated(_) => "give each member once".to_owned(),
            Self::NoSource => format!("`src` takes {SOURCES}"),
            Self::Value { member, takes, .. } => format!("`{member}` takes {takes}"),
            Self::Url(_) => "name it by a configured origin, as NAME:path".to_owned(),
            Self::PartDecoded => "leave one of them out".to_owned(),
        }
    }
}

/// Reads a range as the command line has it: `A-B`, in bytes, without the byte at B.
///
/// # Errors
/// What to write instead.
pub fn parse_range(text: &str) -> Result<Range<u64>, &'static str> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|position| digits && *position <= POSITION_MAX)
    };
    let pair = text.split_once('-').and_then(|(from, to)| Some(number(from)?..number(to)?));
    pair.filter(|range| !range.is_empty())
        .ok_or("write A-B, bytes from A up to B but without it, such as 0-1000000")
}

impl Spec {
    /// All of these sources.
    pub fn of(sources: Vec<SourceName>) -> Self {
        let (ranges, variants, decode) = Default::default();
        Self { sources, ranges, variants, decode, priority: PRIORITY }
    }

    /// Only these parts of each source.
    pub fn with_ranges(self, ranges: &[Range<u64>]) -> Self {
        Self { ranges: apart(ranges.to_vec()), ..self }
    }

    /// Reads the body of a request; `is_library` says which names are those of libraries.
    ///
    /// # Errors
    /// See [`BadSpec`].
    pub fn parse(body: &[u8], is_library: impl Fn(&str) -> bool) -> Result<Self, BadSpec> {
        let members: Members =
            serde_json::from_slice(body).map_err(|error| BadSpec::Json(error.to_string()))?;
        Self::read(members, is_library)
    }

    fn read(members: Members, is_library: impl Fn(&str) -> bool) -> Result<Self, BadSpec> {
        let mut spec = Self::of(Vec::new());
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &members.0 {
            if !MEMBERS.contains(&name.as_str()) {
                return Err(BadSpec::Unknown(cut(name)));
            }
            if seen.contains(&name.as_str()) {
                return Err(BadSpec::Repeated(name.clone()));
            }
            seen.push(name);
            match name.as_str() {
                "src" => spec.sources = sources(value, &is_library)?,
                "variants" => spec.variants = variants(value)?,
                "ranges" => spec.ranges = ranges(value)?,
                "decode" => {
                    spec.decode =
                        value.as_bool().ok_or_else(|| bad("decode", value, "true or false"))?;
                }
                _ => spec.priority = priority(value)?,
            }
        }
        if !seen.contains(&"src") {
            return Err(BadSpec::NoSource);
        }
        if spec.decode && !spec.ranges.is_empty() {
            return Err(BadSpec::PartDecoded);
        }
        Ok(spec)
    }

    /// One of its sources, as the shard that owns it is asked for it.
    pub(super) fn ahead(&self, index: u32) -> Ahead {
        let source = self.sources[index as usize].clone();
        Ahead { source, ranges: self.ranges.clone(), decode: self.decode }
    }

    /// What [`parse`](Self::parse) reads as the same.
    pub fn to_json(&self) -> Value {
        let sources: Vec<_> = self.sources.iter().map(SourceName::text).collect();
        let variants = match self.variants {
            Variants::All => "all".into(),
            Variants::Auto => "auto".into(),
            Variants::Number(number) => Value::from(number),
        };
        let mut json = json!({
            "src": sources,
            "variants": variants,
            "decode": self.decode,
            "priority": self.priority,
        });
        if !self.ranges.is_empty() {
            let pairs: Vec<_> = self.ranges.iter().map(|range| [range.start, range.end]).collect();
            json["ranges"] = pairs.into_iter().map(Value::from_iter).collect();
        }
        json
    }

    /// Memory of the names, in bytes.
    pub fn name_bytes(&self) -> usize {
        name_bytes(&self.sources)
    }
}

/// Memory of names, in bytes.
pub(super) fn name_bytes(sources: &[SourceName]) -> usize {
    sources.iter().map(|source| source.name.len() + source.path.len()).sum()
}

/// The members of an object as they stand there, repeated ones too, which a map would hide.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn sources(value: &Value, is_library: impl Fn(&str) -> bool) -> Result<Vec<SourceName>, BadSpec> {
    match value {
        Value::String(_) => Ok(vec![source("src", value, is_library)?]),
        Value::Array(list) if !list.is_empty() => {
            let place = |index: usize| format!("src[{index}]");
            let read = |(index, one)| source(&place(index), one, &is_library);
            list.iter().enumerate().map(read).collect()
        }
        _ => Err(bad("src", value, SOURCES)),
    }
}

fn source(
    member: &str,
    value: &Value,
    is_library: impl Fn(&str) -> bool,
) -> Result<SourceName, BadSpec> {
    const TAKES: &str = "NAME:path, with the name of a configured origin or library";
    let text = value.as_str().filter(|text| text.len() <= SOURCE_BYTES);
    let text = text.filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| bad(member, value, TAKES))?;
    SourceName::parse(text, is_library).map_err(|why| match why {
        BadSource::Url => BadSpec::Url(member.to_owned()),
        BadSource::Form => bad(member, value, TAKES),
    })
}

fn variants(value: &Value) -> Result<Variants, BadSpec> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let known = match value.as_str() {
        Some("all") => Some(Variants::All),
        Some("auto") => Some(Variants::Auto),
        _ => number.map(Variants::Number),
    };
    known.ok_or_else(|| bad("variants", value, VARIANTS))
}

fn ranges(value: &Value) -> Result<Vec<Range<u64>>, BadSpec> {
    let list = value.as_array().filter(|list| (1..=RANGES).contains(&list.len()));
    let list = list.ok_or_else(|| bad("ranges", value, RANGE_LIST))?;
    let mut ranges = Vec::new();
    for (index, pair) in list.iter().enumerate() {
        let range = pair.as_array().and_then(|pair| match pair.as_slice() {
            [from, to] => Some(position(from)?..position(to)?),
            _ => None,
        });
        let range = range.filter(|range| !range.is_empty());
        ranges.push(range.ok_or_else(|| bad(&format!("ranges[{index}]"), pair, RANGE_LIST))?);
    }
    Ok(apart(ranges))
}

fn position(value: &Value) -> Option<u64> {
    value.as_u64().filter(|position| *position <= POSITION_MAX)
}

/// The same bytes in ascending ranges that do not touch.
fn apart(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut apart: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

fn priority(value: &Value) -> Result<u8, BadSpec> {
    let number = value.as_u64().filter(|number| *number <= u64::from(PRIORITY_MAX));
    number.map(|number| number as u8).ok_or_else(|| bad("priority", value, PRIORITIES))
}

fn bad(member: &str, value: &Value, takes: &'static str) -> BadSpec {
    BadSpec::Value { member: member.to_owned(), value: cut(&value.to_string()), takes }
}

/// The most of a client's own words that is given back to it, in characters.
const QUOTED_CHARS: usize = 60;

fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(QUOTED_CHARS).collect();
    if chars.next().is_some() { shown + ".." } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    fn parse(text: &str) -> Result<Spec, BadSpec> {
        Spec::parse(text.as_bytes(), |name| name == "local")
    }

    #[test]
    fn a_range_of_the_command_line_is_two_numbers() {
        assert_eq!(parse_range("0-100000"), Ok(0..100_000));
        for text in ["", "-", "5-", "-5", "5", "5-5", "6-5", "+1-5", "0-1kB", "1-2-3", "0x1-9"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
        assert!(parse_range("0-9007199254740993").is_err(), "JSON does not carry it exactly");
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let spec = parse(r#"{"src": "music:a/b c.mp3?k=1"}"#).unwrap();
        let source =
            SourceName { name: "music".into(), path: "a/b c.mp3?k=1".into(), is_file: false };
        assert_eq!(spec, Spec::of(vec![source]));
        assert_eq!((spec.variants, spec.decode, spec.priority), (Variants::Auto, false, 5));
    }

    #[test]
    fn every_member_is_read() {
        let spec = parse(
            r#"{"src": ["music:a", "local:b"], "variants": 2, "priority": 9,
               "ranges": [[900, 1000], [0, 10], [5, 20], [20, 30]]}"#,
        )
        .unwrap();
        assert_eq!(spec.sources.len(), 2);
        assert!(spec.sources[1].is_file);
        assert_eq!((spec.variants, spec.priority), (Variants::Number(2), 9));
        assert_eq!(spec.ranges, [0..30, 900..1000]);
        assert!(parse(r#"{"src": "music:a", "decode": true, "variants": "all"}"#).unwrap().decode);
    }

    #[test]
    fn a_bad_value_names_its_member_and_what_it_takes() {
        for (text, member) in [
            (r#""src": 5"#, "src"),
            (r#""src": []"#, "src"),
            (r#""src": ["music:a", null]"#, "src[1]"),
            (r#""src": "music""#, "src"),
            (r#""src": "music:a\nb""#, "src"),
            (r#""src": "music:/a""#, "src"),
            (r#""src": "music:a", "variants": "best""#, "variants"),
            (r#""src": "music:a", "variants": -1"#, "variants"),
            (r#""src": "music:a", "variants": 1.5"#, "variants"),
            (r#""src": "music:a", "ranges": []"#, "ranges"),
            (r#""src": "music:a", "ranges": [1, 2]"#, "ranges[0]"),
            (r#""src": "music:a", "ranges": [[0, 1], [2, 2]]"#, "ranges[1]"),
            (r#""src": "music:a", "ranges": [[0, 1, 2]]"#, "ranges[0]"),
            (r#""src": "music:a", "ranges": [[0, 1e300]]"#, "ranges[0]"),
            (r#""src": "music:a", "ranges": [[0, 18446744073709551615]]"#, "ranges[0]"),
            (
                r#""src": "music:a", "ranges": [[0,1],[2,3],[4,5],[6,7],[8,9],[10,11],[12,13],[14,15],[16,17]]"#,
                "ranges",
            ),
            (r#""src": "music:a", "decode": 1"#, "decode"),
            (r#""src": "music:a", "priority": 10"#, "priority"),
            (r#""src": "music:a", "priority": -1"#, "priority"),
            (r#""src": "music:a", "priority": "9""#, "priority"),
        ] {
            let why = parse(&format!("{{{text}}}")).expect_err(text);
            assert!(why.to_string().starts_with(&format!("`{member}` is ")), "{text}: {why}");
            assert!(why.hint().starts_with(&format!("`{member}` takes ")), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_twice_or_missing_is_said() {
        let why = parse(r#"{"src": "music:a", "priorty": 1}"#).unwrap_err();
        assert_eq!(why, BadSpec::Unknown("priorty".into()));
        assert!(why.hint().starts_with("did you mean `priority`?"));
        let twice = parse(r#"{"src": "music:a", "src": "music:b"}"#).unwrap_err();
        assert_eq!(twice, BadSpec::Repeated("src".into()));
        assert_eq!(parse("{}").unwrap_err(), BadSpec::NoSource);
        assert_eq!(parse(r#"{"src":"https://a/b"}"#).unwrap_err(), BadSpec::Url("src".into()));
        let part = r#"{"src": "music:a", "ranges": [[0, 1]], "decode": true}"#;
        assert_eq!(parse(part).unwrap_err(), BadSpec::PartDecoded);
        for text in ["", "[]", "5", "{", "{\"src\": \"music:a\"} x", "\u{feff}{}"] {
            assert!(matches!(parse(text), Err(BadSpec::Json(_))), "{text}");
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        for seed in 1..=500 {
            let mut random = Random(seed);
            let source = |random: &mut Random| {
                let names = ["music:é\"?", "local:a b", "music:x%2F"];
                format!("{}{}", names[random.below(3) as usize], random.below(9))
            };
            let sources = (0..=random.below(4)).map(|_| source(&mut random));
            let is_library = |name: &str| name == "local";
            let sources = sources.map(|text| SourceName::parse(&text, is_library).unwrap());
            let mut spec = Spec::of(sources.collect());
            spec.priority = random.below(10) as u8;
            spec.variants =
                [Variants::All, Variants::Auto, Variants::Number(7)][random.below(3) as usize];
            match random.below(2) {
                0 => spec.decode = true,
                _ => {
                    let ranges = (0..random.below(8)).map(|_| random.below(1 << 20));
                    spec.ranges = apart(ranges.map(|from| from..from + 1000).collect());
                }
            }
            let text = spec.to_json().to_string();
            assert_eq!(parse(&text).as_ref(), Ok(&spec), "seed {seed}: {text}");
        }
    }
}
