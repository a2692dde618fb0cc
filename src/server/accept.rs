//! Which format an `Accept` field asks for: RFC 9110, section 12.5.1.
//!
//! Pure: no I/O, no clock, no executor.

use crate::pcm::Format;

/// What is offered when `format` is not given, best first, with the names clients have for it.
const OFFERS: [(Format, &[&str]); 4] = [
    (Format::Wav, &["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"]),
    (Format::FLAC, &["audio/flac", "audio/x-flac"]),
    (Format::S16be, &["audio/l16"]),
    // That of the formats without a head: of 16 bits, as `wav` is of the ones with one.
    (Format::S16le, &["application/octet-stream"]),
];

/// The format that the `Accept` fields like best; WAV where they say nothing. `None` is 406.
///
/// Of equal quality the earlier offer wins. A member that is malformed is left out, and fields
/// with no other members say nothing.
pub fn choose<'a>(fields: impl IntoIterator<Item = &'a str>) -> Option<Format> {
    let ranges: Vec<MediaRange> =
        fields.into_iter().flat_map(|field| field.split(',')).filter_map(parse).collect();
    if ranges.is_empty() {
        return Some(Format::Wav);
    }
    let mut best: Option<(u16, Format)> = None;
    for (format, names) in OFFERS {
        let quality = quality(&ranges, names).unwrap_or(0);
        if quality > best.map_or(0, |(quality, _)| quality) {
            best = Some((quality, format));
        }
    }
    best.map(|(_, format)| format)
}

/// A media range with its weight.
struct MediaRange {
    /// In lower case, without parameters.
    name: String,
    /// In thousandths.
    quality: u16,
}

/// The weight of the most specific range that matches a type with these `names`.
fn quality(ranges: &[MediaRange], names: &[&str]) -> Option<u16> {
    let group = names[0].split_once('/').map_or("", |(group, _)| group);
    let group = format!("{group}/*");
    [names, &[group.as_str()], &["*/*"]].into_iter().find_map(|wanted| {
        let matching = ranges.iter().filter(|range| wanted.contains(&range.name.as_str()));
        matching.map(|range| range.quality).max()
    })
}

fn parse(member: &str) -> Option<MediaRange> {
    let mut parts = member.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().filter(|name| name.contains('/'))?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let quality = weight.map_or(Some(1000), thousandths)?;
    Some(MediaRange { name, quality })
}

/// `qvalue` of section 12.4.2: 0 to 1 with at most three decimals.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_means_wav() {
        assert_eq!(choose([]), Some(Format::Wav));
        assert_eq!(choose(["", " , "]), Some(Format::Wav));
        assert_eq!(choose(["*/*"]), Some(Format::Wav));
        assert_eq!(choose(["audio/*"]), Some(Format::Wav));
    }

    #[test]
    fn the_heavier_range_wins() {
        assert_eq!(choose(["audio/flac, audio/wav;q=0.9"]), Some(Format::FLAC));
        assert_eq!(choose(["audio/flac;q=0.5", "audio/L16;q=0.501"]), Some(Format::S16be));
        assert_eq!(choose(["audio/x-flac;q=0.1, text/html"]), Some(Format::FLAC));
        assert_eq!(choose(["Audio/WAV ; q=0.2 , */*;q=0.1"]), Some(Format::Wav));
    }

    #[test]
    fn the_more_specific_range_decides() {
        assert_eq!(choose(["*/*, audio/wav;q=0"]), Some(Format::FLAC));
        assert_eq!(choose(["audio/flac;q=0, audio/l16;q=0.1"]), Some(Format::S16be));
        assert_eq!(choose(["audio/*;q=0.1, audio/flac;q=0.2"]), Some(Format::FLAC));
    }

    #[test]
    fn what_is_not_offered_is_not_acceptable() {
        assert_eq!(choose(["text/html"]), None);
        assert_eq!(choose(["*/*;q=0"]), None);
        assert_eq!(choose(["audio/mpeg, video/*"]), None);
        assert_eq!(choose(["audio/mpeg, audio/*;q=0"]), None);
    }

    #[test]
    fn samples_without_a_head_have_a_type_too() {
        assert_eq!(choose(["application/octet-stream"]), Some(Format::S16le));
        assert_eq!(choose(["application/*, audio/*;q=0.9"]), Some(Format::S16le));
        assert_eq!(choose(["application/octet-stream, audio/flac"]), Some(Format::FLAC));
        assert_eq!(choose(["*/*, application/octet-stream;q=0.5"]), Some(Format::Wav));
    }

    #[test]
    fn a_malformed_weight_leaves_its_member_out() {
        for weight in ["2", "1.001", "0.1234", "-1", "", "0.x", "1.", "0."] {
            let expected = if weight == "1." { Format::FLAC } else { Format::Wav };
            let field = format!("audio/flac;q={weight}, audio/wav;q=0.001");
            assert_eq!(choose([field.as_str()]), Some(expected), "{weight:?}");
        }
    }
}
