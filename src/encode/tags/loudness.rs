//! How loud a recording is, in the terms of each format.
//!
//! Pure: texts to texts.
//!
//! ReplayGain is decibels to -18 LUFS ("ReplayGain 2.0 specification"). Opus has decibels to -23 LUFS in parts
//! of 256, beside the gain in its head, which decoders apply (RFC 7845 section 5.2.1): players take no
//! ReplayGain of it. The peaks of what was decoded to another waveform are not known, so Opus has none.

use super::Codec;

/// Decibels between -18 and -23 LUFS.
const BETWEEN_DB: f64 = 5.0;
/// Parts of a decibel in Opus.
const PARTS: f64 = 256.0;
/// More than this, up or down, is no gain of anything.
const MOST_DB: f64 = 64.0;

/// Names of gains in ReplayGain, and in Opus.
const GAINS: [(&str, &str); 2] =
    [("replaygain_track_gain", "r128_track_gain"), ("replaygain_album_gain", "r128_album_gain")];

/// Whether a tag of this name says something of loudness.
pub(super) fn is_it(name: &str) -> bool {
    name.starts_with("replaygain_") || name.starts_with("r128_")
}

/// What a stream of `codec` says of the loudness of a source with these tags.
pub(super) fn of(source: &[(String, &str)], codec: Codec) -> Vec<(String, String)> {
    match codec {
        Codec::Opus => GAINS
            .iter()
            .filter_map(|(plain, r128)| {
                let parts = parts(source, r128)
                    .or_else(|| Some(to_parts(decibels(text(source, plain)?)?)))?;
                Some(((*r128).to_owned(), parts.to_string()))
            })
            .collect(),
        _ => {
            let plain = source.iter().filter(|(name, _)| name.starts_with("replaygain_"));
            let plain = plain.map(|(name, text)| (name.clone(), (*text).to_owned()));
            let converted = GAINS.iter().filter_map(|(plain, r128)| {
                let parts = parts(source, r128).filter(|_| text(source, plain).is_none())?;
                let db = f64::from(parts) / PARTS + BETWEEN_DB;
                Some(((*plain).to_owned(), format!("{db:.2} dB")))
            });
            plain.chain(converted).collect()
        }
    }
}

fn text<'a>(source: &[(String, &'a str)], wanted: &str) -> Option<&'a str> {
    source.iter().find(|(name, _)| name == wanted).map(|(_, text)| *text)
}

/// A gain as Opus has it.
fn parts(source: &[(String, &str)], name: &str) -> Option<i16> {
    text(source, name)?.trim().parse().ok()
}

/// The decibels of a text such as `-7.03 dB`.
fn decibels(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = match text.len().checked_sub(2).and_then(|at| text.split_at_checked(at)) {
        Some((number, unit)) if unit.eq_ignore_ascii_case("db") => number.trim_end(),
        _ => text,
    };
    let db: f64 = number.parse().ok()?;
    (db.abs() <= MOST_DB).then_some(db)
}

fn to_parts(db: f64) -> i16 {
    ((db - BETWEEN_DB) * PARTS).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loudness(source: &[(&str, &'static str)], codec: Codec) -> Vec<(String, String)> {
        let source: Vec<_> =
            source.iter().map(|(name, text)| ((*name).to_owned(), *text)).collect();
        of(&source, codec)
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn a_gain_of_opus_is_five_decibels_less_in_parts_of_256() {
        let source = [
            ("replaygain_track_gain", "-7.03 dB"),
            ("replaygain_track_peak", "0.98"),
            ("replaygain_album_gain", "+1.5 db"),
        ];
        let opus = [pair("r128_track_gain", "-3080"), pair("r128_album_gain", "-896")];
        assert_eq!(loudness(&source, Codec::Opus), opus);
        // What is Opus already has its own.
        let both = [("r128_track_gain", "-100"), ("replaygain_track_gain", "0 dB")];
        assert_eq!(loudness(&both, Codec::Opus), [pair("r128_track_gain", "-100")]);
    }

    #[test]
    fn other_formats_have_replaygain_as_it_is_or_from_opus() {
        let plain = [("replaygain_track_gain", "-7.03 dB"), ("replaygain_track_peak", "0.98")];
        let kept = plain.map(|(name, text)| pair(name, text));
        assert_eq!(loudness(&plain, Codec::Flac), kept);
        let opus = [("r128_track_gain", "-3080")];
        let converted = [pair("replaygain_track_gain", "-7.03 dB")];
        assert_eq!(loudness(&opus, Codec::Mp3), converted);
    }

    #[test]
    fn what_is_no_gain_is_left_out() {
        for text in ["", "dB", "NaN dB", "inf", "-1e9 dB", "é", "65 dB", "loud"] {
            assert_eq!(decibels(text), None, "{text}");
        }
        assert_eq!(decibels(" -3.5dB "), Some(-3.5));
        assert!(loudness(&[("r128_track_gain", "99999")], Codec::Opus).is_empty());
    }
}
