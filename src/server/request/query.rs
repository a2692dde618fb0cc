//! A query: names and values, decoded once.
//!
//! Pure: no I/O, no clock, no executor.

use crate::server::problem::Problem;

/// A query, decoded once, in which each name is known and stands once.
pub(in crate::server) struct Query {
    pairs: Vec<(&'static str, String)>,
}

impl Query {
    pub(in crate::server) fn parse(raw: &str, known: &[&'static str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode("a name", name)?;
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(Problem::unknown_parameter(&name, nearest(&name, known), known));
            };
            if pairs.iter().any(|(given, _)| given == name) {
                return Err(Problem::repeated_parameter(name));
            }
            pairs.push((name, decode(name, value)?));
        }
        Ok(Self { pairs })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    pub(in crate::server) fn read<T>(
        &self,
        name: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| Problem::bad_parameter(name, value, allowed))
    }
}

/// How alike a name and what was meant by it are at least, of 1: half of its letters are right.
const ALIKE: f64 = 0.5;

/// The name that was likely meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike =
        known.iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), *known));
    let likely = alike.filter(|(alike, _)| *alike >= ALIKE);
    likely.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// Decodes once, the way browsers and HTTP libraries encode: `%XX`, and `+` for a space.
fn decode(name: &str, raw: &str) -> Result<String, Problem> {
    const ALLOWED: &str = "UTF-8 without control characters, percent-encoded once";
    let bad = || Problem::bad_parameter(name, raw, ALLOWED);
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => (hex(*high, *low).ok_or_else(bad)?, after),
            (b'%', _) => return Err(bad()),
            (b'+', _) => (b' ', after),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    if text.chars().any(char::is_control) { Err(bad()) } else { Ok(text) }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Digits only: Rust's own parsers would take a plus sign.
pub(in crate::server) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
