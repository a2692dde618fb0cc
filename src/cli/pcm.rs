//! `kithara pcm`: one decode, without a server.

use std::path::Path;

use super::{ExitCode, Failure, PcmArgs, output, start_log};
use crate::pcm::Format;

/// Decodes as `args` say.
///
/// # Errors
/// What cannot be read, decoded or written.
pub(super) fn run(args: &PcmArgs) -> Result<ExitCode, Failure> {
    let merged = args.sources.load()?;
    start_log(&merged.config.log)?;
    let format = format(args.format.as_deref(), &args.written.output)?;
    output::write(&args.written, format, &args.played, &merged)
}

/// The format by its name or, without one, by the ending of the file. An ending that says another
/// one is a mistake of which nobody would learn later: players go by it.
fn format(name: Option<&str>, to: &Path) -> Result<Format, Failure> {
    let usage = |what: String| Failure::new(ExitCode::Usage, what);
    let ending = to.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let ending = ending.unwrap_or_default();
    let Some(name) = name else {
        return match ending.as_str() {
            "mp3" | "m4a" | "aac" | "ogg" | "opus" | "aiff" | "aif" => {
                Err(usage(format!("`.{ending}` is no PCM"))
                    .hint("write to a file in .wav or .flac, say which by --format, or see `kithara transcode`"))
            }
            // Programs that read such a file are told what is in it, and take a header for sound.
            "raw" | "pcm" => Err(usage(format!("`.{ending}` does not say how its samples lie"))
                .hint("say it by --format: s16le, s24le, s32le, f32le or s16be")),
            _ => Ok(Format::from_name(&ending).unwrap_or(Format::Wav)),
        };
    };
    let format = Format::from_name(name).ok_or_else(|| {
        let names = Format::ALL.map(Format::name).join(", ");
        usage(format!("there is no format `{name}`")).hint(format!("there are {names}"))
    })?;
    let is_wav = matches!(format, Format::Wav | Format::Wav24 | Format::Wav32f);
    let fits = match (ending.as_str(), Format::from_name(&ending)) {
        ("wav", _) => is_wav,
        (_, Some(ends)) => ends == format,
        (_, None) => true,
    };
    if fits {
        return Ok(format);
    }
    Err(usage(format!("--format {name} into a file in `.{ending}`"))
        .hint("leave --format out, or give the file the ending of its format"))
}

#[cfg(test)]
mod format_tests {
    use super::*;

    #[test]
    fn the_ending_of_the_file_says_the_format_unless_it_is_given() {
        let of = |name, to: &str| format(name, Path::new(to)).ok();
        assert_eq!(of(None, "x.flac"), Some(Format::FLAC));
        assert_eq!(of(None, "x.FLAC"), Some(Format::FLAC));
        assert_eq!(of(None, "x.s16le"), Some(Format::S16le));
        for wav in ["x.wav", "x", "-"] {
            assert_eq!(of(None, wav), Some(Format::Wav), "{wav}");
        }
        assert_eq!(of(Some("s24le"), "x.pcm"), Some(Format::S24le));
        assert_eq!(of(Some("wav24"), "x.wav"), Some(Format::Wav24));
    }

    #[test]
    fn an_ending_that_contradicts_the_format_is_refused() {
        for (name, to) in
            [(Some("wav"), "x.flac"), (Some("flac"), "x.wav"), (None, "x.mp3"), (Some("mp4"), "x")]
        {
            assert!(format(name, Path::new(to)).is_err(), "{name:?} {to}");
        }
    }

    #[test]
    fn bare_samples_are_not_guessed() {
        for to in ["x.raw", "x.pcm", "x.PCM"] {
            let hint = format(None, Path::new(to)).expect_err(to).hint.unwrap();
            let has_head = |format: &Format| {
                matches!(format, Format::Wav | Format::Wav24 | Format::Wav32f)
                    || format.coding().is_some()
            };
            let bare = Format::ALL.into_iter().filter(|format| !has_head(format));
            bare.for_each(|format| assert!(hint.contains(format.name()), "{hint}"));
            assert_eq!(format(Some("s24le"), Path::new(to)).ok(), Some(Format::S24le));
        }
    }
}
