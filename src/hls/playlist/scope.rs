//! What the texts of one playlist are read against: its URL, its variables, the limits.
//!
//! Pure: no I/O, no clock, no executor.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{
    Limits,
    attributes::Attributes,
    error::Error,
    variables::{Unreplaced, Variables, is_of_name},
};

/// Of the playlist that is being read.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) url: &'a Url,
    pub(super) limits: &'a Limits,
    key_formats: &'a [&'a str],
    imports: &'a Variables,
    pub(super) variables: Variables,
}

/// A tag in its line, for which errors are named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Counted from 1.
    pub(super) line: usize,
    /// Its name, or `URI`.
    pub(super) tag: &'static str,
}

impl Place {
    pub(super) fn malformed(self, problem: &'static str) -> Error {
        Error::Malformed { line: self.line, tag: self.tag, problem }
    }

    pub(super) fn over(self, name: &'static str, most: usize) -> Error {
        Error::Limit { line: self.line, name, most }
    }
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        url: &'a Url,
        imports: &'a Variables,
        limits: &'a Limits,
        key_formats: &'a [&'a str],
    ) -> Self {
        Self { url, limits, key_formats, imports, variables: Variables::default() }
    }

    /// Whether keys of a format can be had.
    pub(super) fn takes_keys(&self, format: &str) -> bool {
        self.key_formats.contains(&format)
    }

    /// `text` with its variables replaced.
    pub(super) fn text<'t>(&self, place: Place, text: &'t str) -> Result<Cow<'t, str>, Error> {
        let most = self.limits.uri_bytes;
        self.variables.replace(text, most).map_err(|why| match why {
            Unreplaced::Undefined => {
                place.malformed("has a variable that no EXT-X-DEFINE before it defines")
            }
            Unreplaced::Long => place.over("uri_bytes", most),
        })
    }

    /// An attribute with its variables replaced.
    pub(super) fn attribute<'t>(
        &self,
        place: Place,
        attributes: Attributes<'t>,
        name: &str,
    ) -> Result<Option<Cow<'t, str>>, Error> {
        attributes.get(name).map(|value| self.text(place, value)).transpose()
    }

    /// Where a URI of this playlist leads, which is where the node may be led.
    pub(super) fn resolve(&self, place: Place, uri: &str) -> Result<Url, Error> {
        let url = self.url.join(uri);
        let url = url.map_err(|_| place.malformed("is no URI; write it as RFC 3986 has it"))?;
        let is_fetched = matches!(url.scheme(), "http" | "https");
        match is_fetched || url.scheme() == self.url.scheme() {
            true => Ok(url),
            false => Err(place.malformed("leads to what is fetched by no http or https")),
        }
    }

    /// What EXT-X-DEFINE says (draft-pantos-hls-rfc8216bis section 4.4.2.3).
    pub(super) fn define(&mut self, line: usize, attributes: Attributes) -> Result<(), Error> {
        let place = Place { line, tag: "EXT-X-DEFINE" };
        let ways = ["NAME", "IMPORT", "QUERYPARAM"];
        let Some(way) = ways.into_iter().find(|way| attributes.get(way).is_some()) else {
            return Err(place.malformed("names no variable; give NAME, IMPORT or QUERYPARAM"));
        };
        let name = attributes.get(way).unwrap_or_default();
        if !name.chars().all(is_of_name) {
            return Err(
                place.malformed("has a name with other characters than a-z, A-Z, 0-9, - and _")
            );
        }
        let value = match way {
            "NAME" => attributes.get("VALUE").unwrap_or_default().into(),
            "IMPORT" => self.imports.get(name).map(Cow::Borrowed).ok_or_else(|| {
                place
                    .malformed("imports what no multivariant playlist defined; open it by that one")
            })?,
            _ => query_value(self.url, name).ok_or_else(|| {
                place.malformed("wants a parameter that the playlist's URL lacks")
            })?,
        };
        if value.len() > self.limits.uri_bytes {
            return Err(place.over("uri_bytes", self.limits.uri_bytes));
        }
        match self.variables.define(name, &value) {
            true => Ok(()),
            false => Err(place.malformed("defines a variable again, or one too many of them")),
        }
    }
}

/// The value of a query parameter, percent-decoded.
fn query_value<'a>(url: &'a Url, name: &str) -> Option<Cow<'a, str>> {
    let pairs = url.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    percent_decode_str(values.next()?).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defined(list: &str, query: &str) -> Result<Variables, Error> {
        let url = Url::parse(&format!("https://a.example/x/list.m3u8?{query}")).unwrap();
        let (mut imports, limits) = (Variables::default(), Limits::default());
        imports.define("host", "cdn.example");
        let mut scope = Scope::new(&url, &imports, &limits, &[]);
        scope.define(3, Attributes::new(list))?;
        Ok(scope.variables)
    }

    #[test]
    fn a_variable_is_defined_in_three_ways() {
        let value = |list, query, name| {
            let variables = defined(list, query).unwrap();
            variables.get(name).map(str::to_owned)
        };
        assert_eq!(value(r#"NAME="a",VALUE="b c""#, "", "a").as_deref(), Some("b c"));
        assert_eq!(value(r#"NAME="a",VALUE="""#, "", "a").as_deref(), Some(""));
        assert_eq!(value(r#"IMPORT="host""#, "", "host").as_deref(), Some("cdn.example"));
        assert_eq!(value(r#"QUERYPARAM="t""#, "at=1&t=a%2Fb+c&t=2", "t").as_deref(), Some("a/b+c"));
    }

    #[test]
    fn what_defines_nothing_says_what_would() {
        for (list, remedy) in [
            ("VALUE=b", "give NAME"),
            (r#"NAME="a b",VALUE="c""#, "other characters"),
            (r#"IMPORT="nobody""#, "open it by"),
            (r#"QUERYPARAM="t""#, "URL lacks"),
        ] {
            let error = defined(list, "at=1").unwrap_err().to_string();
            assert!(
                error.starts_with("line 3: EXT-X-DEFINE ") && error.contains(remedy),
                "{error}"
            );
        }
        let long = format!("NAME=a,VALUE={}", "b".repeat(9 << 10));
        assert!(matches!(defined(&long, ""), Err(Error::Limit { name: "uri_bytes", .. })));
    }

    #[test]
    fn a_uri_is_resolved_and_leads_to_nothing_of_this_machine() {
        let url = Url::parse("https://a.example/x/list.m3u8?t=1").unwrap();
        let (imports, limits) = (Variables::default(), Limits::default());
        let scope = Scope::new(&url, &imports, &limits, &[]);
        let resolve = |uri| scope.resolve(Place { line: 1, tag: "URI" }, uri).map(String::from);
        assert_eq!(resolve("../b?c").as_deref(), Ok("https://a.example/b?c"));
        assert_eq!(resolve("//b.example/c").as_deref(), Ok("https://b.example/c"));
        assert_eq!(resolve("http://b.example:8080").as_deref(), Ok("http://b.example:8080/"));
        for uri in ["file:///etc/passwd", "data:,a", "http://[", "javascript:1"] {
            assert!(matches!(resolve(uri), Err(Error::Malformed { .. })), "{uri}");
        }
    }
}
