//! `kithara pcm`: one decode, without a server.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    rc::Rc,
};

use super::{
    ExitCode, Failure, PcmArgs,
    offline::{Found, failure},
    start_log,
};
use crate::{
    bufpool::Block,
    decode::{Dither, Quality},
    pcm::{Ask, Format, RATES_HZ, Rendition, SourceName},
    runtime,
    shard::{Answer, Job, PcmWanted, Shard},
};

/// Decodes as `args` say.
///
/// # Errors
/// What cannot be read, decoded or written.
pub(super) fn run(args: &PcmArgs) -> Result<ExitCode, Failure> {
    let merged = args.sources.load()?;
    start_log(&merged.config.log)?;
    let found = Found::new(&args.source, &merged)?;
    let ask = ask(args, found.source.clone())?;
    let to = args.output.clone();
    let shown = found.shown.clone();
    let own = found.file.as_deref().and_then(|path| Some(Identity::of(&fs::metadata(path).ok()?)));
    found.run(move |shard, _| async move { decode(shard, ask, &shown, &to, own).await })?;
    Ok(ExitCode::Ok)
}

fn ask(args: &PcmArgs, source: SourceName) -> Result<Ask, Failure> {
    let usage = |what: String| Failure::new(ExitCode::Usage, what);
    let format = format(args.format.as_deref(), &args.output)?;
    if let Some(rate) = args.rate.filter(|rate| !RATES_HZ.contains(rate)) {
        let rates = RATES_HZ.map(|rate| rate.to_string()).join(", ");
        return Err(usage(format!("{rate} Hz cannot be made")).hint(format!("there are {rates}")));
    }
    Ok(Ask {
        source,
        format,
        rate_hz: args.rate,
        channels: args.channels,
        dither: Dither::None,
        quality: Quality::Good,
        start: args.start,
        duration: args.duration,
        track: None,
    })
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
                Err(usage(format!("`.{ending}` is no format that is made here"))
                    .hint("write to a file in .wav or .flac, or say which by --format"))
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

/// What came of a source that breaks off stays, as ffmpeg leaves it: its header promises the whole, or
/// says that the length was not known, and the exit code is no 0.
async fn decode(
    shard: Rc<Shard>,
    ask: Ask,
    shown: &str,
    to: &Path,
    own: Option<Identity>,
) -> Result<(), Failure> {
    let (range, if_range, conditions) = Default::default();
    let job = Job::Pcm(PcmWanted { ask, range, if_range, conditions, head_only: false });
    let response = shard.request(job).await;
    let mut response = response.map_err(|refusal| failure(&refusal, shown))?;
    let Answer::Pcm(head) = &response.answer else {
        return Err(Failure::new(ExitCode::Runtime, "the shard answered something else"));
    };
    let rendition = head.rendition.clone();
    // Opened only now, so that a source that cannot be decoded leaves an old file as it is.
    let mut sink = Sink::open(to, own)?;
    let mut bytes = 0_u64;
    let mut blocks = Vec::with_capacity(TOGETHER);
    loop {
        match response.body.recv().await {
            Some(Ok(Some(sent))) => {
                // Its credit returns here: what bounds the blocks is that they are waited for.
                bytes += sent.len() as u64;
                blocks.push(sent.block().clone());
                if blocks.len() == TOGETHER {
                    (sink, blocks) = write(sink, blocks).await?;
                }
                if matches!(sink, Sink::Closed) {
                    return Ok(());
                }
            }
            Some(Ok(None)) => break,
            Some(Err(_)) | None => {
                write(sink, blocks).await?;
                let what = format!("the source broke off; {bytes} bytes of it are written");
                return Err(Failure::new(ExitCode::Io, what).at(shown));
            }
        }
    }
    (sink, _) = write(sink, blocks).await?;
    sink.finish(&rendition, bytes)
}

/// Blocks that are written at a time. Each change to the thread that may wait and back costs both
/// sides 10 us, as much as a hundredth of the decoding of a block.
const TOGETHER: usize = 4;

/// Writes `blocks`, and gives their place back.
async fn write(mut sink: Sink, mut blocks: Vec<Block>) -> Result<(Sink, Vec<Block>), Failure> {
    let written = runtime::blocking(move || {
        for block in blocks.drain(..) {
            sink = sink.write(&block)?;
        }
        Ok((sink, blocks))
    });
    written.await.unwrap_or_else(|_| Err(Failure::new(ExitCode::Io, "writing broke")))
}

/// Which file it is, by whatever name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(about: &fs::Metadata) -> Self {
        Self { device: about.dev(), inode: about.ino() }
    }

    fn of_stdout() -> Option<Self> {
        let about = rustix::fs::fstat(io::stdout()).ok()?;
        Some(Self { device: about.st_dev, inode: about.st_ino })
    }
}

/// Where the bytes go: a file, or stdout.
enum Sink {
    File(File, String),
    Stdout,
    /// Stdout, whose reader has seen enough: `head` say, or a player that was closed.
    Closed,
}

impl Sink {
    /// Unless what is written to is the source's `own` file. That is looked at in the file that was
    /// opened, before anything of it is lost.
    fn open(path: &Path, own: Option<Identity>) -> Result<Self, Failure> {
        let is_own = |it: Option<Identity>| it.is_some() && it == own;
        if path == Path::new("-") {
            return if is_own(Identity::of_stdout()) {
                Err(own_file("stdout"))
            } else {
                Ok(Sink::Stdout)
            };
        }
        let name = path.display().to_string();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| broken(&error, &name))?;
        let about = file.metadata().map_err(|error| broken(&error, &name))?;
        if is_own(Some(Identity::of(&about))) {
            return Err(own_file(&name));
        }
        if about.is_file() {
            file.set_len(0).map_err(|error| broken(&error, &name))?;
        }
        Ok(Sink::File(file, name))
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self, Failure> {
        match &mut self {
            Sink::File(file, name) => {
                file.write_all(bytes).map_err(|error| broken(&error, name))?
            }
            Sink::Stdout => return on_stdout(io::stdout().write_all(bytes)),
            Sink::Closed => {}
        }
        Ok(self)
    }

    /// Where the length was not known at the start, a file's header gets it now; a pipe's cannot.
    fn finish(self, rendition: &Rendition, bytes: u64) -> Result<(), Failure> {
        match self {
            Sink::Stdout => on_stdout(io::stdout().flush()).map(drop),
            Sink::Closed => Ok(()),
            Sink::File(mut file, name) => {
                let can_seek = file.metadata().is_ok_and(|about| about.is_file());
                let Some(header) = rendition.header_of(bytes).filter(|_| can_seek) else {
                    return Ok(());
                };
                let written = file.rewind().and_then(|()| file.write_all(&header));
                written.map_err(|error| broken(&error, &name))
            }
        }
    }
}

/// Stdout after a write. That nobody reads it any more is no error, and nothing to make more for.
fn on_stdout(written: io::Result<()>) -> Result<Sink, Failure> {
    match written {
        Ok(()) => Ok(Sink::Stdout),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Sink::Closed),
        Err(error) => Err(broken(&error, "stdout")),
    }
}

fn own_file(name: &str) -> Failure {
    Failure::new(ExitCode::Usage, "the output is the source itself, which would be overwritten")
        .at(name)
        .hint("write to another file")
}

fn broken(error: &io::Error, name: &str) -> Failure {
    Failure::new(ExitCode::Io, format!("cannot be written: {error}")).at(name)
}

#[cfg(test)]
mod format_tests {
    use super::*;

    #[test]
    fn the_ending_of_the_file_says_the_format_unless_it_is_given() {
        let of = |name, to: &str| format(name, Path::new(to)).ok();
        assert_eq!(of(None, "x.flac"), Some(Format::Flac));
        assert_eq!(of(None, "x.FLAC"), Some(Format::Flac));
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
                matches!(format, Format::Wav | Format::Wav24 | Format::Wav32f | Format::Flac)
            };
            let bare = Format::ALL.into_iter().filter(|format| !has_head(format));
            bare.for_each(|format| assert!(hint.contains(format.name()), "{hint}"));
            assert_eq!(format(Some("s24le"), Path::new(to)).ok(), Some(Format::S24le));
        }
    }
}
