//! By what a source is taken for a playlist: its name, its media type, or its first bytes.
//!
//! Pure: no I/O, no clock, no executor.

/// The media types of M3U, and of HLS, whose playlists look like it.
const LIST_TYPES: [&str; 4] =
    ["audio/x-mpegurl", "audio/mpegurl", "application/vnd.apple.mpegurl", "application/x-mpegurl"];

/// Types that say nothing of what they are.
const OPEN_TYPES: [&str; 4] = ["", "application/octet-stream", "binary/octet-stream", "text/plain"];

/// Endings of files that are media, whatever their type.
const MEDIA_ENDINGS: [&str; 22] = [
    "aac", "aif", "aifc", "aiff", "caf", "flac", "m4a", "m4b", "m4s", "mka", "mkv", "mov", "mp2",
    "mp3", "mp4", "mpga", "oga", "ogg", "opus", "ts", "wav", "webm",
];

/// With this a playlist begins (RFC 8216 section 4.3.1.1), and so does any extended M3U.
const START: &[u8] = b"#EXTM3U";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether a path, without a query, is that of a playlist of whichever kind.
pub fn is_named_list(path: &str) -> bool {
    ["m3u8", "m3u"].iter().any(|list| ending(path).eq_ignore_ascii_case(list))
}

/// Whether a media type, with or without parameters, is that of a playlist.
pub fn is_typed_list(media_type: &str) -> bool {
    LIST_TYPES.iter().any(|list| bare(media_type).eq_ignore_ascii_case(list))
}

/// Whether neither path nor media type says what it is, so that its first bytes have to.
pub fn says_nothing(path: &str, media_type: &str) -> bool {
    let is_media = MEDIA_ENDINGS.iter().any(|media| ending(path).eq_ignore_ascii_case(media));
    !is_media && OPEN_TYPES.iter().any(|open| bare(media_type).eq_ignore_ascii_case(open))
}

/// Whether it begins as a playlist does.
pub fn begins_as_list(bytes: &[u8]) -> bool {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).starts_with(START)
}

fn ending(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn bare(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_known_by_its_name_its_type_or_its_start() {
        assert!(is_named_list("a/list.M3U8") && is_named_list("b.m3u") && !is_named_list("m3u8"));
        assert!(is_typed_list("Audio/MPEGURL; charset=utf-8") && !is_typed_list("audio/mpeg"));
        assert!(begins_as_list(b"#EXTM3U\n") && begins_as_list(b"\xEF\xBB\xBF#EXTM3U\r\n"));
        assert!(!begins_as_list(b"#EXT") && !begins_as_list(b"ID3#EXTM3U"));
    }

    #[test]
    fn only_what_says_nothing_is_looked_at() {
        assert!(says_nothing("play", "") && says_nothing("play.php", "text/plain; charset=utf-8"));
        assert!(!says_nothing("song.mp3", "") && !says_nothing("play", "audio/mpeg"));
    }
}
