//! The list of attributes in a tag (RFC 8216 section 4.2), without a copy of it.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Names and values may have spaces around them, a value may lack its quotes or the last of them, and an
//! attribute may be empty, which is as if it were not there.

/// A list, read anew for each name: lists are short, and most of what stands in them nobody asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(&'a str);

impl<'a> Attributes<'a> {
    pub(super) fn new(list: &'a str) -> Self {
        Self(list)
    }

    /// What the first attribute of that name says, without quotes.
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether that attribute is `YES`.
    pub(super) fn is_yes(self, name: &str) -> bool {
        self.get(name) == Some("YES")
    }

    /// Names and values in their order, without those that are empty.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            while !left.is_empty() {
                let (pair, rest) = cut(left);
                left = rest;
                if pair.is_some() {
                    return pair;
                }
            }
            None
        })
    }
}

/// The first attribute, if it says something, and what follows its comma.
fn cut(list: &str) -> (Option<(&str, &str)>, &str) {
    let end = list.find(['=', ',']).unwrap_or(list.len());
    let (name, rest) = list.split_at(end);
    let Some(value) = rest.strip_prefix('=') else { return (None, rest.get(1..).unwrap_or("")) };
    let (value, rest) = match value.trim_start().strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => value.split_at(value.find(',').unwrap_or(value.len())),
    };
    let (name, value) = (name.trim(), value.trim());
    let pair = (!name.is_empty() && !value.is_empty()).then_some((name, value));
    // What stands between a closing quote and the comma says nothing.
    (pair, rest.split_once(',').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &str) -> Vec<(&str, &str)> {
        Attributes::new(list).iter().collect()
    }

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let list = r#"BANDWIDTH=41457,CODECS="mp4a.40.2,fLaC",URI="a=b.m3u8""#;
        let pairs = [("BANDWIDTH", "41457"), ("CODECS", "mp4a.40.2,fLaC"), ("URI", "a=b.m3u8")];
        assert_eq!(all(list), pairs);
        let attributes = Attributes::new("DEFAULT=YES,AUTOSELECT=NO,DEFAULT=NO");
        assert!(attributes.is_yes("DEFAULT") && !attributes.is_yes("AUTOSELECT"));
        assert_eq!(attributes.get("FAULT"), None);
    }

    #[test]
    fn what_real_lists_get_wrong_is_understood() {
        assert_eq!(all(r#" A = 1 , B= "x y" ,C=z"#), [("A", "1"), ("B", "x y"), ("C", "z")]);
        assert_eq!(all(r#",,A=,B,C="",D=1,"#), [("D", "1")]);
        assert_eq!(all(r#"A="open, B=1"#), [("A", "open, B=1")]);
        assert_eq!(all(r#"A="x"y,B=a"b,=c"#), [("A", "x"), ("B", "a\"b")]);
        assert_eq!(all("é=ß,A=1"), [("é", "ß"), ("A", "1")]);
        assert!(all("").is_empty() && all("=").is_empty() && all(",").is_empty());
    }
}
