//! Who asks for a source: what for, and with which fields.
//!
//! Pure: no I/O, no clock, no executor.

use std::rc::Rc;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
        COOKIE, ETAG, EXPECT, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
    },
};

use crate::assets::{
    Head, Key,
    freshness::{self, Directives, Use},
};

/// Who asks for a source.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// What it is for.
    pub use_: Use,
    /// What goes with a request to the origin.
    pub fields: Rc<HeaderMap>,
    /// What the client says of caches.
    pub wishes: Directives,
    /// The first byte that it wants.
    pub position: u64,
    /// Gets an answer of its own, which nobody else does.
    pub apart: bool,
}

/// How a stored answer goes with who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// It may answer, as far as it is fresh.
    Fits,
    /// Another object is to answer.
    Elsewhere(Key),
    /// It says that there is no media.
    NoMedia(u16),
    /// It is media, but packed.
    Packed,
}

impl Asker {
    /// The node itself, which decodes.
    pub(super) fn media() -> Self {
        Self::new(Use::Media, HeaderMap::new())
    }

    /// A client that wants the original, with those of its fields that are passed on: its secrets
    /// only `with_credentials`.
    pub(super) fn original(fields: &HeaderMap, with_credentials: bool) -> Self {
        let mut fields = fields.clone();
        if !with_credentials {
            fields.remove(AUTHORIZATION);
            fields.remove(COOKIE);
        }
        Self::new(Use::Original, fields)
    }

    /// The same, who wants the bytes from there on.
    pub(super) fn at(self, position: u64) -> Self {
        Self { position, ..self }
    }

    fn new(use_: Use, mut fields: HeaderMap) -> Self {
        let wishes = Directives::of(&fields);
        // Said in so many words, so that who says nothing and who takes anything get the same.
        fields.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Self { use_, fields: Rc::new(fields), wishes, position: 0, apart: false }
    }

    /// Whether an answer that `head` describes is one to this request.
    ///
    /// A redirect is an original, and what it leads to is media: two objects. Answers that vary are
    /// one for each way in which their requests do. Which of them lies under the key of the URL is
    /// whichever came first.
    pub(super) fn fit(&self, head: &Head, key: &Key, generation: u64) -> Fit {
        let is_redirect = matches!(head.status, 300..=399);
        let other_use = match self.use_ {
            Use::Original => head.redirected.is_some(),
            Use::Media => is_redirect,
        };
        if other_use || !freshness::is_selected(head, &self.fields) {
            let selected = freshness::secondary(&head.fields, &self.fields);
            // With its generation: what replaces the one replaces all.
            return Fit::Elsewhere(
                key.secondary(&format!("{generation:x} {:?}\n{selected}", self.use_)),
            );
        }
        let is_packed = || {
            let mut codings = head.fields.get_all(CONTENT_ENCODING).iter();
            codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        };
        match self.use_ {
            Use::Media if head.status != 200 => Fit::NoMedia(head.status),
            Use::Media if is_packed() => Fit::Packed,
            _ => Fit::Fits,
        }
    }

    /// The fields of a request whether the answer that `head` describes is still the one.
    pub(super) fn question(&self, head: Option<&Head>) -> HeaderMap {
        let mut fields = (*self.fields).clone();
        let Some(head) = head.filter(|head| head.status == 200) else { return fields };
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = head.fields.get(validator) {
                fields.insert(condition, value.clone());
            }
        }
        fields
    }
}

/// Those fields of a client's request that may go with it to the origin: what the node decides for
/// itself (ranges, conditions, codings) stays here.
pub fn passed_on(fields: &HeaderMap) -> HeaderMap {
    const OWN: [HeaderName; 12] = [
        ACCEPT_ENCODING,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        EXPECT,
        HOST,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        RANGE,
    ];
    let mut passed = fields.clone();
    freshness::end_to_end(&mut passed);
    OWN.iter().for_each(|name| drop(passed.remove(name)));
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::VARY;
    use url::Url;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn key() -> Key {
        Key::of_library("a", "b")
    }

    #[test]
    fn a_clients_secrets_go_only_where_they_may() {
        let secrets = fields(&[("accept", "*/*"), ("cookie", "c"), ("authorization", "b")]);
        assert_eq!(*Asker::original(&secrets, true).fields, secrets);
        assert_eq!(*Asker::original(&secrets, false).fields, fields(&[("accept", "*/*")]));
    }

    #[test]
    fn what_is_the_nodes_own_is_not_passed_on() {
        let asked = fields(&[
            ("host", "a"),
            ("range", "bytes=0-1"),
            ("if-none-match", "x"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("accept-encoding", "gzip"),
            ("accept-language", "de"),
            ("user-agent", "player"),
        ]);
        let passed = fields(&[("accept-language", "de"), ("user-agent", "player")]);
        assert_eq!(passed_on(&asked), passed);
    }

    #[test]
    fn a_redirect_and_what_it_leads_to_are_two_objects() {
        let (media, original) = (Asker::media(), Asker::original(&HeaderMap::new(), false));
        let moved = Head { status: 302, ..Head::default() };
        assert_eq!(original.fit(&moved, &key(), 1), Fit::Fits);
        assert!(matches!(media.fit(&moved, &key(), 1), Fit::Elsewhere(_)));
        let followed = Head { redirected: Url::parse("http://elsewhere/").ok(), ..Head::default() };
        assert_eq!(media.fit(&followed, &key(), 1), Fit::Fits);
        assert!(matches!(original.fit(&followed, &key(), 1), Fit::Elsewhere(_)));
    }

    #[test]
    fn a_version_for_others_leads_to_ones_own() {
        let mut head = Head::default();
        head.fields.insert(VARY, HeaderValue::from_static("Accept-Language"));
        head.selecting = fields(&[("accept-language", "de")]);
        let of = |language| Asker::original(&fields(&[("accept-language", language)]), false);
        assert_eq!(of("de").fit(&head, &key(), 1), Fit::Fits);
        let Fit::Elsewhere(french) = of("fr").fit(&head, &key(), 1) else { panic!("it fits") };
        assert_eq!(of("fr").fit(&head, &key(), 1), Fit::Elsewhere(french.clone()));
        assert_ne!(of("en").fit(&head, &key(), 1), Fit::Elsewhere(french.clone()));
        assert_ne!(of("fr").fit(&head, &key(), 2), Fit::Elsewhere(french), "of another generation");
    }

    #[test]
    fn what_is_no_media_is_not_decoded() {
        let gone = Head { status: 410, ..Head::default() };
        assert_eq!(Asker::media().fit(&gone, &key(), 1), Fit::NoMedia(410));
        assert_eq!(Asker::original(&HeaderMap::new(), false).fit(&gone, &key(), 1), Fit::Fits);
        let fields = fields(&[("content-encoding", "gzip")]);
        assert_eq!(Asker::media().fit(&Head { fields, ..Head::default() }, &key(), 1), Fit::Packed);
    }

    #[test]
    fn a_question_names_what_is_here() {
        let validators = fields(&[("etag", "W/\"a\""), ("last-modified", "then")]);
        let head = Head { fields: validators, ..Head::default() };
        let asked = Asker::media().question(Some(&head));
        let expected =
            [("accept", "*/*"), ("if-none-match", "W/\"a\""), ("if-modified-since", "then")];
        assert_eq!(asked, fields(&expected));
        assert_eq!(Asker::media().question(None), fields(&[("accept", "*/*")]));
    }
}
