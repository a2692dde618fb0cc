//! Which fields of an answer are kept, and what a 304 makes of them: RFC 9111 sections 3.1 and 3.2.
//!
//! Pure: no I/O, no clock, no executor.

use http::{
    HeaderMap, HeaderName,
    header::{AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG},
};

use super::time::http_date;
use crate::assets::Head;

impl Head {
    /// What it is once an answer of 304 with these fields has come for it (section 3.2).
    #[must_use]
    pub fn refreshed(&self, fields: &HeaderMap, asked: u64, answered: u64) -> Self {
        let mut head = Self { asked, answered, ..self.clone() };
        // Of the answer that was validated, not of the one that says so.
        head.fields.remove(AGE);
        for name in fields.keys().filter(|name| !describes_stored_bytes(name)) {
            head.fields.remove(name);
            for value in fields.get_all(name) {
                head.fields.append(name.clone(), value.clone());
            }
        }
        if !fields.contains_key(DATE) {
            head.fields.insert(DATE, http_date(answered));
        }
        head
    }
}

/// What an answer without a body says of one is not about the bytes that are here. Nor is another
/// tag: the origin was asked about this one, and said yes.
fn describes_stored_bytes(name: &HeaderName) -> bool {
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG].contains(name) || *name == "content-md5"
}

/// Takes out what is about a connection and not about what came over it (section 3.1).
pub fn end_to_end(fields: &mut HeaderMap) {
    let named: Vec<_> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        fields.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{NOW, fields, head},
        *,
    };

    #[test]
    fn a_304_renews_what_it_says_and_nothing_of_the_bytes() {
        let old = head(&[("etag", "\"a\""), ("age", "9"), ("content-encoding", "x"), ("x", "1")]);
        let says = [
            ("cache-control", "max-age=5"),
            ("content-encoding", "y"),
            ("content-length", "0"),
            ("etag", "\"b\""),
            ("x", "2"),
        ];
        let new = old.refreshed(&fields(&says), NOW + 7, NOW + 8);
        let date = http_date(NOW + 8);
        let expected = [
            ("etag", "\"a\""),
            ("content-encoding", "x"),
            ("x", "2"),
            ("cache-control", "max-age=5"),
            ("date", date.to_str().unwrap()),
        ];
        assert_eq!(new.fields, fields(&expected));
        assert_eq!((new.asked, new.answered, new.age(NOW + 8)), (NOW + 7, NOW + 8, 1));
    }

    #[test]
    fn what_is_about_a_connection_is_not_kept() {
        let mut some = fields(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("x", "1"),
        ]);
        end_to_end(&mut some);
        assert_eq!(some, fields(&[("x", "1")]));
    }
}
