//! A list of sources in a file: one in a line, as M3U files have them.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A line is `NAME:path`, or a path beside the list itself, whose dot segments lead as those of a
//! relative reference do (RFC 3986 section 5.2.4), but not out of the source. Empty lines and those that begin with
//! `#` say nothing, except for the tags of HLS (RFC 8216), whose playlist is of another kind.

use super::{queue::NAME_BYTES, spec::SOURCE_BYTES};
use crate::{hls, pcm::SourceName};

/// Why a file is no list of sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlaylist {
    /// It is one of HLS, which names segments and no sources.
    #[error("it is an HLS playlist")]
    Hls,
    /// It is not text.
    #[error("it is not UTF-8 text")]
    Text,
    /// It names nothing.
    #[error("it names no source")]
    Empty,
    /// It is longer than lists may be.
    #[error("it has more than {0} lines")]
    Long(usize),
    /// What it names is longer than a queue may hold. A list is small, and the folder of it, which comes
    /// before each path, need not be.
    #[error("its sources take more than {NAME_BYTES} bytes of names")]
    Names,
    /// A line is no source.
    #[error("line {number} is {what}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Whether a source is a list by its name.
pub fn is_playlist(source: &SourceName) -> bool {
    hls::is_named_list(source.path_without_query())
}

/// The sources that the list `of` names. `is_known` says which names are configured, and `is_library`
/// which of them are libraries.
///
/// # Errors
/// See [`BadPlaylist`].
pub fn sources(
    text: &[u8],
    of: &SourceName,
    most_lines: usize,
    is_known: impl Fn(&str) -> bool,
    is_library: impl Fn(&str) -> bool,
) -> Result<Vec<SourceName>, BadPlaylist> {
    let text = std::str::from_utf8(text).map_err(|_| BadPlaylist::Text)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut sources, mut bytes) = (Vec::new(), 0);
    for (index, line) in text.lines().enumerate() {
        if index == most_lines {
            return Err(BadPlaylist::Long(most_lines));
        }
        let line = line.trim();
        if line.starts_with("#EXT-X-") {
            return Err(BadPlaylist::Hls);
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| BadPlaylist::Line { number: index + 1, what };
        let source = entry(line, of, &is_known, &is_library).map_err(wrong)?;
        if is_playlist(&source) {
            return Err(wrong("a list in a list"));
        }
        if source.name.len() + source.path.len() >= SOURCE_BYTES {
            return Err(wrong("longer than any path may be"));
        }
        bytes += source.name.len() + source.path.len();
        if bytes > NAME_BYTES {
            return Err(BadPlaylist::Names);
        }
        sources.push(source);
    }
    if sources.is_empty() { Err(BadPlaylist::Empty) } else { Ok(sources) }
}

fn entry(
    line: &str,
    of: &SourceName,
    is_known: impl Fn(&str) -> bool,
    is_library: impl Fn(&str) -> bool,
) -> Result<SourceName, &'static str> {
    if line.chars().any(char::is_control) {
        return Err("no path: it has a control character");
    }
    // A path may hold a colon; only a name that there is makes it a source.
    if let Some((name, _)) = line.split_once(':')
        && (is_known(name) || line[name.len()..].starts_with("://"))
    {
        return SourceName::parse(line, is_library).map_err(
            |_| "no source: write NAME:path with a configured name, or a path beside the list",
        );
    }
    if line.starts_with(['/', '\\']) {
        return Err("no path beside the list");
    }
    let path = beside(of, line).ok_or("a path that leads out of its source")?;
    let source = SourceName { path, ..of.clone() };
    let path = source.path_without_query();
    if path.is_empty() || path.starts_with('/') || path.ends_with('/') {
        return Err("no path of a file");
    }
    Ok(source)
}

/// Where `line` leads from the folder of the list `of`, a folder with a slash behind it; `None`: out of
/// the source.
fn beside(of: &SourceName, line: &str) -> Option<String> {
    let folder = of.path_without_query().rsplit_once('/').map(|(folder, _)| folder);
    let mut segments: Vec<&str> = folder.into_iter().flat_map(|folder| folder.split('/')).collect();
    // In the name of a file a question mark is one.
    let query = if of.is_file { None } else { line.find('?') };
    let (path, query) = line.split_at(query.unwrap_or(line.len()));
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop()?),
            name => segments.push(name),
        }
    }
    if let Some("." | "..") = path.rsplit('/').next() {
        segments.push("");
    }
    Some(segments.join("/") + query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> SourceName {
        SourceName { name: "music".into(), path: path.into(), is_file: false }
    }

    fn read(text: &[u8]) -> Result<Vec<String>, BadPlaylist> {
        let known = |name: &str| ["music", "local"].contains(&name);
        let of = of("lists/top.m3u?token=1");
        let found = sources(text, &of, 10, known, |name| name == "local")?;
        Ok(found.iter().map(SourceName::text).collect())
    }

    #[test]
    fn lines_are_sources_or_paths_beside_the_list() {
        let text = "\u{feff}#EXTM3U\r\n#EXTINF:3,A song: the title\r\na b.mp3\r\n\r\nmusic:x/y.flac\n\
                    local:z.wav\n12:30 live.mp3";
        let wanted =
            ["music:lists/a b.mp3", "music:x/y.flac", "local:z.wav", "music:lists/12:30 live.mp3"];
        assert_eq!(read(text.as_bytes()).unwrap(), wanted);
        let known = |_: &str| false;
        let found = sources(b"a", &of("top.m3u"), 1, known, known).unwrap();
        assert_eq!(found[0].text(), "music:a");
    }

    #[test]
    fn dot_segments_lead_about_in_the_source_and_not_out_of_it() {
        let lead = |line: &str| read(line.as_bytes()).map(|found| found[0].clone());
        for (line, path) in [
            ("../a/b.mp3", "music:a/b.mp3"),
            ("./b.mp3", "music:lists/b.mp3"),
            ("x/../../b.mp3?at=../..", "music:b.mp3?at=../.."),
            (".../b..mp3", "music:lists/.../b..mp3"),
        ] {
            assert_eq!(lead(line).as_deref(), Ok(path), "{line}");
        }
        for line in ["../../b.mp3", "x/../../../b.mp3"] {
            let what = "a path that leads out of its source";
            assert_eq!(lead(line), Err(BadPlaylist::Line { number: 1, what }), "{line}");
        }
        for line in [".", "..", "x/..", "a/", "?b", "../?b", "..//a"] {
            let what = "no path of a file";
            assert_eq!(lead(line), Err(BadPlaylist::Line { number: 1, what }), "{line}");
        }
        let file = SourceName { is_file: true, ..of("lists/top.m3u") };
        let known = |_: &str| false;
        let found = sources(b"a?/../b.mp3", &file, 1, known, known).unwrap();
        assert_eq!(found[0].path, "lists/b.mp3");
    }

    #[test]
    fn what_is_no_list_is_said_with_its_line() {
        assert_eq!(read(b"#EXTM3U\n#EXT-X-TARGETDURATION:9\na.ts"), Err(BadPlaylist::Hls));
        assert_eq!(read(b"#only\n\n"), Err(BadPlaylist::Empty));
        assert_eq!(read(b"\xff"), Err(BadPlaylist::Text));
        assert_eq!(read("a\n".repeat(11).as_bytes()), Err(BadPlaylist::Long(10)));
        let long = "a".repeat(8 << 10);
        for line in
            [long.as_str(), "https://a/b", "/a", "music:/a", "b.m3u8", "a\u{1}b", "\\\\host\\a"]
        {
            let text = format!("ok.mp3\n{line}");
            let why = read(text.as_bytes()).expect_err(line);
            assert!(matches!(why, BadPlaylist::Line { number: 2, .. }), "{line}: {why}");
        }
    }

    #[test]
    fn what_a_list_names_is_bounded_however_long_its_folder_is() {
        let folder = of(&format!("{}/top.m3u", "a".repeat(4 << 10)));
        let read = |lines: usize| {
            sources("b\n".repeat(lines).as_bytes(), &folder, lines, |_| false, |_| false)
        };
        assert_eq!(read(4_000).map(|sources| sources.len()), Ok(4_000));
        assert_eq!(read(5_000), Err(BadPlaylist::Names));
    }

    #[test]
    fn a_list_is_known_by_its_ending() {
        assert!(is_playlist(&of("a.M3U8?x=1")) && is_playlist(&of("b/c.m3u")));
        assert!(!is_playlist(&of("a.mp3?b=.m3u")) && !is_playlist(&of("m3u")));
    }
}
