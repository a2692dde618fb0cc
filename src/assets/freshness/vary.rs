//! Which answer of several to one URL is that to a request: RFC 9111 section 4.1.
//!
//! Pure: no I/O, no clock, no executor.

use http::{HeaderMap, HeaderName, header::VARY};

use crate::assets::Head;

/// Whether no other request gets the same answer, whatever its fields are.
pub(super) fn varies_by_more_than_fields(fields: &HeaderMap) -> bool {
    names(fields).any(|name| name == "*")
}

/// The names in `Vary`, in small letters.
fn names(fields: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    let values = fields.get_all(VARY).iter();
    values.flat_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        names.into_iter().filter(|name| !name.is_empty())
    })
}

/// The fields of a request that chose an answer with these `fields`, to be kept with it.
pub fn selecting(fields: &HeaderMap, asked: &HeaderMap) -> HeaderMap {
    let mut selecting = HeaderMap::new();
    for name in names(fields).filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()) {
        if !selecting.contains_key(&name) {
            asked.get_all(&name).iter().for_each(|value| {
                selecting.append(name.clone(), value.clone());
            });
        }
    }
    selecting
}

/// Whether a stored answer was chosen as a request with the fields `asked` would (section 4.1).
pub fn is_selected(head: &Head, asked: &HeaderMap) -> bool {
    secondary(&head.fields, asked) == secondary(&head.fields, &head.selecting)
}

/// What tells a request's answer from others of its URL, where they vary as those `fields` say.
pub fn secondary(fields: &HeaderMap, asked: &HeaderMap) -> String {
    let mut names: Vec<_> = names(fields).collect();
    names.sort_unstable();
    names.dedup();
    let lines = names.iter().map(|name| format!("{name}: {}\n", normal(asked, name)));
    lines.collect()
}

/// All values of a field as one, without what blanks make of it.
fn normal(asked: &HeaderMap, name: &str) -> String {
    let mut values = Vec::new();
    for value in asked.get_all(name) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        values.extend(members.map(str::to_owned));
    }
    values.join(",")
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{fields, head},
        *,
    };

    #[test]
    fn an_answer_is_for_requests_like_the_one_that_chose_it() {
        let asked = fields(&[("accept-language", "de , fr"), ("x", "1")]);
        let mut head = head(&[("vary", "Accept-Language"), ("vary", "accept , x-absent")]);
        head.selecting = selecting(&head.fields, &asked);
        assert_eq!(head.selecting, fields(&[("accept-language", "de , fr")]));
        for (name, value, is_same) in [
            ("accept-language", "de,fr", true),
            ("accept-language", "fr,de", false),
            ("accept-language", "en", false),
            ("y", "x", false),
        ] {
            assert_eq!(is_selected(&head, &fields(&[(name, value)])), is_same, "{value}");
        }
        let more = fields(&[("accept-language", "de,fr"), ("x-absent", "here")]);
        assert!(!is_selected(&head, &more));
        let lines = fields(&[("accept-language", "de"), ("accept-language", "fr"), ("x", "2")]);
        assert!(is_selected(&head, &lines));
    }
}
