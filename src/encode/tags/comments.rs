//! Comments of Xiph's (Vorbis I, 5), as FLAC (RFC 9639 section 8.6) and Opus (RFC 7845 section 5.2) have them.
//!
//! Pure: texts to bytes.
//!
//! ```text
//! length vendor | count | length NAME=text | ..        lengths and counts: 4 bytes, little endian
//! ```

use super::{Tags, VENDOR};

impl Tags {
    /// All of them, behind the name of who wrote them.
    pub(in crate::encode) fn comments(&self) -> Vec<u8> {
        let mut comments = Vec::new();
        for (name, text) in &self.0 {
            match (&name[..], text.split_once('/')) {
                ("track", Some((number, total))) => {
                    comments.push(format!("TRACKNUMBER={number}"));
                    comments.push(format!("TRACKTOTAL={total}"));
                }
                ("disc", Some((number, total))) => {
                    comments.push(format!("DISCNUMBER={number}"));
                    comments.push(format!("DISCTOTAL={total}"));
                }
                _ => comments.push(format!("{}={text}", field_name(name))),
            }
        }
        let mut list = Vec::new();
        put(VENDOR, &mut list);
        list.extend((comments.len() as u32).to_le_bytes());
        comments.iter().for_each(|comment| put(comment, &mut list));
        list
    }
}

fn put(text: &str, list: &mut Vec<u8>) {
    list.extend((text.len() as u32).to_le_bytes());
    list.extend(text.as_bytes());
}

fn field_name(name: &str) -> String {
    match name {
        "album_artist" => "ALBUMARTIST".to_owned(),
        "track" => "TRACKNUMBER".to_owned(),
        "disc" => "DISCNUMBER".to_owned(),
        other => other.to_ascii_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::tags, *};
    use crate::encode::Codec;

    #[test]
    fn a_list_is_the_vendor_and_every_comment_with_its_length() {
        let source = tags(&[("album_artist", "é"), ("track", "3/12"), ("genre", "a=b")]);
        let list = Tags::of(&source, Codec::Flac, true).comments();
        let (vendor, rest) = list.split_at(4 + VENDOR.len());
        assert_eq!(vendor[..4], (VENDOR.len() as u32).to_le_bytes());
        let expected = b"\x04\0\0\0\
            \x0E\0\0\0ALBUMARTIST=\xC3\xA9\
            \x0D\0\0\0TRACKNUMBER=3\
            \x0D\0\0\0TRACKTOTAL=12\
            \x09\0\0\0GENRE=a=b";
        assert_eq!(rest, expected);
    }

    #[test]
    fn without_tags_there_is_still_the_vendor() {
        let list = Tags::default().comments();
        assert_eq!(list.len(), 8 + VENDOR.len());
        assert!(list.ends_with(&[0; 4]));
    }
}
