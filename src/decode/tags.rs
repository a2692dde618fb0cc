//! Title, artist and the like, from wherever a container keeps them.

use symphonia::core::{formats::FormatReader, meta::RawValue};

use super::source::Inside;

/// Text of one tag at most; lyrics and worse are left out.
const VALUE_BYTES: usize = 1024;
/// Tags of one track at most.
const COUNT: usize = 64;
/// How much of an ID3v2 tag is looked at. Text stands before pictures in what taggers write.
const ID3_BYTES: u64 = 4096;

/// The text tags of an ID3v2 tag of `bytes` at `start`.
pub(super) fn read_id3(inside: &Inside<'_>, start: u64, bytes: u64) -> Vec<(String, String)> {
    let mut tag = vec![0; bytes.min(ID3_BYTES) as usize];
    let length = inside.read_full(start, &mut tag);
    parse_id3(&tag[..length])
}

/// The text frames at the start of an ID3v2.3 or 2.4 tag (id3.org, 4.2).
pub(super) fn parse_id3(tag: &[u8]) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    let (Some(&version), Some(mut rest)) = (tag.get(3), tag.get(10..)) else { return tags };
    if !(3..=4).contains(&version) {
        return tags;
    }
    while let Some((head, after)) = rest.split_first_chunk::<10>() {
        let shift = if version == 4 { 7 } else { 8 };
        let size = head[4..8].iter().fold(0usize, |size, &byte| (size << shift) | byte as usize);
        let Some(body) = after.get(..size) else { break };
        if let Some((name, text)) = id3_tag(&head[..4], body) {
            push(&mut tags, &name, text);
        }
        rest = &after[size..];
    }
    tags
}

/// The name and the text of a frame, if it is one of text.
fn id3_tag(id: &[u8], body: &[u8]) -> Option<(String, String)> {
    match id {
        // A language, and what it is about: players have theirs in some that have such a name.
        b"COMM" => {
            let (encoding, text) = body.split_first()?;
            let text = id3_text(&[&[*encoding], text.get(3..)?].concat())?;
            let (about, comment) = text.split_once('\0')?;
            about.is_empty().then(|| ("comment".to_owned(), unmarked(comment)))
        }
        b"TXXX" => {
            let text = id3_text(body)?;
            let (name, value) = text.split_once('\0')?;
            (!name.is_empty()).then(|| (name.to_owned(), unmarked(value)))
        }
        _ => Some((id3_name(id)?.to_owned(), id3_text(body)?)),
    }
}

/// The second text of a frame has a mark of its own, as the first has.
fn unmarked(text: &str) -> String {
    text.trim_start_matches('\u{FEFF}').to_owned()
}

fn id3_name(id: &[u8]) -> Option<&'static str> {
    Some(match id {
        b"TIT2" => "title",
        b"TPE1" => "artist",
        b"TPE2" => "album_artist",
        b"TALB" => "album",
        b"TRCK" => "track",
        b"TPOS" => "disc",
        b"TCON" => "genre",
        b"TDRC" | b"TYER" => "date",
        b"TCOM" => "composer",
        b"TCOP" => "copyright",
        b"TPUB" => "publisher",
        b"TSRC" => "isrc",
        _ => return None,
    })
}

/// Text by its encoding byte: Latin-1, UTF-16 with and without mark, UTF-8.
fn id3_text(body: &[u8]) -> Option<String> {
    let (encoding, text) = body.split_first()?;
    let text = match encoding {
        0 => text.iter().map(|&byte| char::from(byte)).collect(),
        1 | 2 => utf16(text, *encoding == 2),
        _ => String::from_utf8_lossy(text).into_owned(),
    };
    Some(text)
}

fn utf16(text: &[u8], big_endian: bool) -> String {
    let (big_endian, text) = match text {
        [0xFE, 0xFF, text @ ..] => (true, text),
        [0xFF, 0xFE, text @ ..] => (false, text),
        text => (big_endian, text),
    };
    let units = text.chunks_exact(2).map(|pair| {
        if big_endian {
            u16::from_be_bytes([pair[0], pair[1]])
        } else {
            u16::from_le_bytes([pair[0], pair[1]])
        }
    });
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Adds what a text chunk of `bytes` at `start` in a WAVE file says.
pub(super) fn read_riff(
    inside: &Inside<'_>,
    kind: [u8; 4],
    start: u64,
    bytes: u64,
    tags: &mut Vec<(String, String)>,
) {
    let mut body = vec![0; bytes.min(ID3_BYTES) as usize];
    let length = inside.read_full(start, &mut body);
    match &kind {
        b"LIST" => parse_info(&body[..length], tags),
        _ => tags.extend(parse_id3(&body[..length])),
    }
}

/// Adds the texts of an information chunk of `bytes` at `start` in a CAF file: behind their number, names and
/// texts, each with a zero behind it.
pub(super) fn read_strings(
    inside: &Inside<'_>,
    start: u64,
    bytes: u64,
    tags: &mut Vec<(String, String)>,
) {
    let mut body = vec![0; bytes.min(ID3_BYTES) as usize];
    let length = inside.read_full(start, &mut body);
    parse_strings(&body[..length], tags);
}

fn parse_strings(body: &[u8], tags: &mut Vec<(String, String)>) {
    let texts = body.get(4..).unwrap_or_default();
    // What no zero ends was cut off.
    let mut texts = texts.split_inclusive(|byte| *byte == 0).filter(|text| text.ends_with(&[0]));
    while let (Some(name), Some(text)) = (texts.next(), texts.next()) {
        let name = String::from_utf8_lossy(&name[..name.len() - 1]);
        push(tags, &name, String::from_utf8_lossy(text).into_owned());
    }
}

/// Adds what a list of comments of Xiph's (Vorbis I, 5) of `bytes` at `start` says.
pub(super) fn read_comments(
    inside: &Inside<'_>,
    start: u64,
    bytes: u64,
    tags: &mut Vec<(String, String)>,
) {
    /// Comments that are looked at.
    const COMMENTS: u32 = 256;
    /// Bytes of a name at most.
    const NAME_BYTES: usize = 64;
    let end = start + bytes;
    let word = |at: u64| {
        let mut word = [0; 4];
        let is_there = at + 4 <= end && inside.read_full(at, &mut word) == word.len();
        is_there.then(|| u32::from_le_bytes(word))
    };
    let Some(vendor) = word(start) else { return };
    let mut at = start + 4 + u64::from(vendor);
    let Some(count) = word(at) else { return };
    at += 4;
    for _ in 0..count.min(COMMENTS) {
        let Some(length) = word(at).map(u64::from) else { return };
        let text = at + 4;
        at = text + length;
        if at > end {
            return;
        }
        if length <= (NAME_BYTES + VALUE_BYTES) as u64 {
            let mut comment = vec![0; length as usize];
            let got = inside.read_full(text, &mut comment);
            push_comment(&String::from_utf8_lossy(&comment[..got]), tags);
        }
    }
}

/// Adds a comment, unless it is a picture or a mark.
fn push_comment(comment: &str, tags: &mut Vec<(String, String)>) {
    let Some((name, value)) = comment.split_once('=') else { return };
    let name = name.to_ascii_uppercase();
    let is_text =
        !matches!(&name[..], "METADATA_BLOCK_PICTURE" | "COVERART") && !name.starts_with("CHAPTER");
    if is_text {
        push(tags, &name, value.to_owned());
    }
}

/// The texts of an INFO list. Writers disagree on whether odd sizes are padded.
fn parse_info(list: &[u8], tags: &mut Vec<(String, String)>) {
    let Some(mut rest) = list.strip_prefix(b"INFO") else { return };
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let text = &after[..size.min(after.len())];
        if head[0] == b'I' {
            let name = String::from_utf8_lossy(&head[..4]);
            push(tags, &name, String::from_utf8_lossy(text).into_owned());
        }
        let after = &after[text.len()..];
        rest = if size % 2 == 1 { after.strip_prefix(b"\0").unwrap_or(after) } else { after };
    }
}

/// Adds what symphonia's reader found.
pub(super) fn collect(format: &mut dyn FormatReader, tags: &mut Vec<(String, String)>) {
    let mut metadata = format.metadata();
    let Some(revision) = metadata.skip_to_latest() else { return };
    for tag in &revision.media.tags {
        if let RawValue::String(value) = &tag.raw.value {
            push(tags, &tag.raw.key, value.to_string());
        }
    }
}

pub(super) fn push(tags: &mut Vec<(String, String)>, name: &str, value: String) {
    let value = value.trim_matches(['\0', ' ', '\n', '\r']).replace('\0', "; ");
    let tag = (common_name(name), value);
    // symphonia has a number of several twice, once for each.
    let is_new = !tag.1.is_empty() && tag.1.len() <= VALUE_BYTES && !tags.contains(&tag);
    if is_new && tags.len() < COUNT {
        tags.push(tag);
    }
}

/// The name people use for what MP4, RIFF and Vorbis comments call differently.
fn common_name(name: &str) -> String {
    match name {
        "©nam" | "INAM" => "title".to_owned(),
        // That is where the comment of other formats goes.
        "©cmt" | "ICMT" | "DESCRIPTION" | "comments" => "comment".to_owned(),
        "©wrt" => "composer".to_owned(),
        "cprt" | "ICOP" => "copyright".to_owned(),
        "©too" | "ISFT" => "encoder".to_owned(),
        "©ART" | "IART" => "artist".to_owned(),
        "©alb" | "IPRD" => "album".to_owned(),
        "©gen" | "IGNR" => "genre".to_owned(),
        "©day" | "ICRD" => "date".to_owned(),
        "aART" | "ALBUMARTIST" => "album_artist".to_owned(),
        "TRACKNUMBER" | "ITRK" | "IPRT" | "trkn" | "track number" => "track".to_owned(),
        "DISCNUMBER" | "disk" => "disc".to_owned(),
        "year" => "date".to_owned(),
        other => other.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_frames_of_every_encoding_are_read() {
        let mut tag = b"ID3\x03\0\0\0\0\0\x60".to_vec();
        tag.extend(b"TIT2\0\0\0\x04\0\0\0abc");
        tag.extend(b"TPE1\0\0\0\x07\0\0\x01\xFF\xFEx\0y\0");
        tag.extend(b"COMM\0\0\0\x07\0\0\x00eng\0so");
        tag.extend(b"COMM\0\0\0\x0F\0\0\x00engiTunNORM\0 0");
        tag.extend(b"TXXX\0\0\0\x0B\0\0\x01\xFF\xFEk\0\0\0\xFF\xFEv\0");
        tag.extend(b"APIC\0\x01\0\0\0\0");
        let tags = parse_id3(&tag);
        let expected = [("title", "abc"), ("artist", "xy"), ("comment", "so"), ("k", "v")];
        assert_eq!(tags, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_texts_of_an_info_list_are_read_padded_or_not() {
        let mut tags = Vec::new();
        parse_info(b"INFOINAM\x03\0\0\0abcIART\x03\0\0\0de\0\0ISFT\xFF\0\0\0x", &mut tags);
        let expected = [("title", "abc"), ("artist", "de"), ("encoder", "x")];
        assert_eq!(tags, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn comments_are_texts_by_any_case_of_their_names() {
        let mut tags = Vec::new();
        let comments =
            ["Title=a=b", "TRACKNUMBER=3", "CHAPTER001=00:00:00.000", "none", "coverart=x"];
        comments.iter().for_each(|comment| push_comment(comment, &mut tags));
        let expected = [("title", "a=b"), ("track", "3")];
        assert_eq!(tags, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn names_and_texts_follow_each_other_in_caf() {
        let mut tags = Vec::new();
        parse_strings(b"\0\0\0\x03title\0abc\0year\x001999\0cut\0of", &mut tags);
        let expected = [("title", "abc"), ("date", "1999")];
        assert_eq!(tags, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        parse_strings(b"\0\0", &mut tags);
        assert_eq!(tags.len(), 2);
    }

    #[test]
    fn a_cut_tag_gives_what_is_there() {
        assert_eq!(parse_id3(b"ID3\x04\0\0\0\0\0\x60TIT2\0\0"), []);
    }
}
