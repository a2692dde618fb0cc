//! Which container bytes are, by the bytes alone: names and content types lie.
//!
//! Pure: no I/O, no clock, no executor.

use super::{
    headers::{Header, Kind, find_frames},
    ts::Framing,
};

/// What the first bytes of an object, after its ID3v2 tags, say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MPEG audio layer 3 frames.
    Mp3,
    /// AAC in ADTS frames.
    Adts,
    /// Native FLAC.
    Flac,
    /// Ogg, whatever is in it.
    Ogg,
    /// ISO base media: MP4, M4A, MOV, fragmented or not.
    Mp4,
    /// Matroska or WebM.
    Matroska,
    /// RIFF WAVE, RF64 or BW64.
    Wav,
    /// AIFF or AIFF-C.
    Aiff,
    /// Core Audio Format.
    Caf,
    /// MPEG transport stream.
    Ts,
    /// Known by its magic, and not decoded here: the name people use.
    Other(&'static str),
}

impl Container {
    /// The name ffmpeg and people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Adts => "adts",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
            Self::Wav => "wav",
            Self::Aiff => "aiff",
            Self::Caf => "caf",
            Self::Ts => "mpegts",
            Self::Other(name) => name,
        }
    }
}

/// The container whose first bytes `head` are. ID3v2 tags before it have been passed.
///
/// A few dozen bytes are enough for all but MP3 and ADTS, which need three frames in a row, and MPEG-TS,
/// which needs five packets of 188 bytes.
pub fn sniff(head: &[u8]) -> Option<Container> {
    by_magic(head).or_else(|| {
        let header = Header::parse(head)?;
        let (offset, _) = find_frames(head, head.len() < header.bytes + 4)?;
        (offset == 0).then_some(by_frame(&header))
    })
}

/// The container of a stream of such frames.
pub(super) fn by_frame(header: &Header) -> Container {
    match header.kind {
        Kind::Adts => Container::Adts,
        Kind::Mpeg { layer: 3 } => Container::Mp3,
        Kind::Mpeg { layer: 2 } => Container::Other("mp2"),
        Kind::Mpeg { .. } => Container::Other("mp1"),
    }
}

/// The container by a magic number at the start.
pub(super) fn by_magic(head: &[u8]) -> Option<Container> {
    let form = head.get(8..12).unwrap_or_default();
    match head.get(..4)? {
        b"RIFF" | b"RF64" | b"BW64" if form == b"WAVE" => Some(Container::Wav),
        b"RIFF" if form == b"AVI " => Some(Container::Other("avi")),
        b"FORM" if matches!(form, b"AIFF" | b"AIFC") => Some(Container::Aiff),
        b"caff" => Some(Container::Caf),
        b"fLaC" => Some(Container::Flac),
        b"OggS" => Some(Container::Ogg),
        b"\x1A\x45\xDF\xA3" => Some(Container::Matroska),
        _ if is_mp4(head) => Some(Container::Mp4),
        _ if Framing::of(head).is_some() => Some(Container::Ts),
        _ => OTHERS.iter().find(|(m, _)| head.starts_with(m)).map(|o| Container::Other(o.1)),
    }
}

/// Formats we know by sight and do not decode.
const OTHERS: &[(&[u8], &str)] = &[
    (b"#!AMR-WB", "amr_wb"),
    (b"#!AMR", "amr_nb"),
    (b"wvpk", "wavpack"),
    (b"MAC ", "ape"),
    (b"MPCK", "musepack"),
    (b"MP+", "musepack"),
    (b"\xAC\x40", "ac4"),
    (b"\xAC\x41", "ac4"),
    (b"\x7F\xFE\x80\x01", "dts"),
    (b"\xFE\x7F\x01\x80", "dts"),
    (b"\x64\x58\x20\x25", "dts"),
    (b"TTA1", "tta"),
    (b"OFR ", "optimfrog"),
    (b".snd", "au"),
    (b"DSD ", "dsf"),
    (b"FRM8", "dsdiff"),
    (b"FLV", "flv"),
    (b"\x30\x26\xB2\x75", "asf"),
    (b"MThd", "midi"),
    (b"Creative Voice", "voc"),
    (b".ra\xFD", "realaudio"),
    (b".RMF", "realmedia"),
    (b"ADIF", "aac (ADIF)"),
    (b"riff\x2E\x91\xCF\x11", "w64"),
    (b"#EXTM3U", "hls (a playlist, not media)"),
];

/// Whether `head` starts with a box that opens an ISO base media file or a segment of one.
fn is_mp4(head: &[u8]) -> bool {
    const FIRST: [&[u8]; 12] = [
        b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"pnot",
        b"uuid", b"emsg",
    ];
    let Some((size, kind)) = head.get(..8).map(|head| head.split_at(4)) else { return false };
    let size = u32::from_be_bytes(size.try_into().expect("four bytes"));
    FIRST.contains(&kind) && (size >= 8 || size <= 1)
}

/// AC-3 or E-AC-3 by its sync word and stream id (ETSI TS 102 366), which a magic alone is too
/// short for.
pub(super) fn is_ac3(head: &[u8]) -> Option<&'static str> {
    let &[0x0B, 0x77, _, _, _, bsid, ..] = head else { return None };
    match bsid >> 3 {
        0..=10 => Some("ac3"),
        11..=16 => Some("eac3"),
        _ => None,
    }
}

/// Whether the bytes are text of the kind that stands where audio should: an error page, JSON.
pub(super) fn is_markup(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    text.starts_with(b"<") || text.starts_with(b"{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_known_by_their_magic() {
        let cases: &[(&[u8], Container)] = &[
            (b"RIFF\0\0\0\0WAVEfmt ", Container::Wav),
            (b"RF64\xFF\xFF\xFF\xFFWAVEds64", Container::Wav),
            (b"FORM\0\0\0\0AIFCFVER", Container::Aiff),
            (b"\0\0\0\x18ftypM4A ", Container::Mp4),
            (b"\0\0\0\x18moof\0\0\0\0", Container::Mp4),
            (b"\x1A\x45\xDF\xA3....", Container::Matroska),
            (b"OggS\0\x02", Container::Ogg),
            (b"wvpk....", Container::Other("wavpack")),
            (b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB", Container::Other("w64")),
            (b"#EXTM3U\n#EXT-X-VERSION:3", Container::Other("hls (a playlist, not media)")),
        ];
        for (head, container) in cases {
            assert_eq!(sniff(head), Some(*container));
        }
    }

    #[test]
    fn pages_and_zeros_are_nothing() {
        assert_eq!(sniff(b"<!DOCTYPE html><html>"), None);
        assert_eq!(sniff(&[0; 4096]), None);
        assert_eq!(sniff(b""), None);
        assert!(is_markup(b"\n <html>"));
    }

    #[test]
    fn frames_must_follow_each_other() {
        let mut bytes = vec![0xFF, 0xFB, 0x90, 0x64];
        bytes.resize(2000, 0);
        assert_eq!(sniff(&bytes), None);
        for start in [417, 834, 1251] {
            bytes[start..start + 4].copy_from_slice(&[0xFF, 0xFB, 0x90, 0x64]);
        }
        assert_eq!(sniff(&bytes), Some(Container::Mp3));
    }
}
