//! `kithara transcode`: one source encoded anew, without a server.

use std::path::Path;

use super::{ExitCode, Failure, TranscodeArgs, output, start_log};
use crate::{
    encode::{Codec, Coding},
    pcm::Format,
};

/// Encodes as `args` say.
///
/// # Errors
/// What cannot be read, decoded, encoded or written.
pub(super) fn run(args: &TranscodeArgs) -> Result<ExitCode, Failure> {
    let merged = args.sources.load()?;
    start_log(&merged.config.log)?;
    let codec = codec(args.format.as_deref(), &args.written.output)?;
    let coding = Coding::new(codec, args.level, args.bitrate);
    let coding = coding.map_err(|error| usage(error.to_string()).hint(built()))?;
    output::write(&args.written, Format::Encoded(coding), &args.played, &merged)
}

/// The codec by its name or, without one, by the ending of the file.
fn codec(name: Option<&str>, to: &Path) -> Result<Codec, Failure> {
    let ending = to.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let ending = ending.unwrap_or_default();
    let by_ending = Codec::from_ending(&ending);
    let Some(name) = name else {
        return by_ending.ok_or_else(|| {
            let to = to.display();
            usage(format!("`{to}` does not say what to encode to")).hint(
                "give the file the ending of its format, .flac say, or say it by --format; \
                 `kithara pcm` writes WAV and bare samples",
            )
        });
    };
    let codec = Codec::from_name(name)
        .ok_or_else(|| usage(format!("there is no format `{name}`")).hint(built()))?;
    match by_ending.is_none_or(|other| other == codec) {
        true => Ok(codec),
        // A mistake of which nobody would learn later: players go by the ending.
        false => Err(usage(format!("--format {name} into a file in `.{ending}`"))
            .hint("leave --format out, or give the file the ending of its format")),
    }
}

fn usage(what: String) -> Failure {
    Failure::new(ExitCode::Usage, what)
}

/// What this build encodes.
fn built() -> String {
    let built = Codec::ALL.into_iter().filter(|codec| codec.is_built());
    format!("this build encodes {}", built.map(Codec::name).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_the_file_says_the_codec_unless_it_is_given() {
        let of = |name, to: &str| codec(name, Path::new(to)).ok();
        assert_eq!(of(None, "x.FLAC"), Some(Codec::Flac));
        assert_eq!(of(None, "x.ogg"), Some(Codec::Opus));
        assert_eq!(of(Some("flac"), "-"), Some(Codec::Flac));
        for (name, to) in
            [(None, "-"), (None, "x.wav"), (Some("flac"), "x.mp3"), (Some("wav"), "x")]
        {
            assert_eq!(of(name, to), None, "{name:?} {to}");
        }
    }
}
