//! What a source is decoded or encoded to, without a server: a file, or stdout.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    rc::Rc,
};

use super::{
    ExitCode, Failure, PlayedArgs, WrittenArgs,
    offline::{Found, failure},
};
use crate::{
    bufpool::Block,
    config::Merged,
    decode::{Dither, Quality},
    pcm::{Ask, Choice, Format, RATES_HZ, Rendition, SourceName},
    runtime,
    shard::{Answer, Job, PcmWanted, Shard},
};

/// Writes a source to a file in a format, as the flags have it that all such commands share.
///
/// # Errors
/// What cannot be found, read, decoded or written.
pub(super) fn write(
    args: &WrittenArgs,
    format: Format,
    played: &PlayedArgs,
    merged: &Merged,
) -> Result<ExitCode, Failure> {
    let found = Found::new(&args.source, merged)?;
    let ask = ask(found.source.clone(), format, played)?;
    let (to, shown) = (args.output.clone(), found.shown.clone());
    let own = found.file.as_deref().and_then(|path| Some(Identity::of(&fs::metadata(path).ok()?)));
    found.run(move |shard, _| async move { play(shard, ask, &shown, &to, own).await })?;
    Ok(ExitCode::Ok)
}

fn ask(source: SourceName, format: Format, args: &PlayedArgs) -> Result<Ask, Failure> {
    if let Some(coding) = format.coding() {
        let checked = coding.codec.check(args.rate, args.channels);
        checked.map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))?;
    }
    if let Some(rate) = args.rate.filter(|rate| !RATES_HZ.contains(rate)) {
        let rates = RATES_HZ.map(|rate| rate.to_string()).join(", ");
        return Err(Failure::new(ExitCode::Usage, format!("{rate} Hz cannot be made"))
            .hint(format!("there are {rates}")));
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
        choice: Choice::default(),
    })
}

/// What came of a source that breaks off stays, as ffmpeg leaves it: its header promises the whole, or
/// says that the length was not known, and the exit code is no 0.
async fn play(
    shard: Rc<Shard>,
    ask: Ask,
    shown: &str,
    to: &Path,
    own: Option<Identity>,
) -> Result<(), Failure> {
    let (range, if_range, conditions) = Default::default();
    let front_last = may_seek(to);
    let job =
        Job::Pcm(PcmWanted { ask, range, if_range, conditions, head_only: false, front_last });
    let response = shard.request(job).await;
    let mut response = response.map_err(|refusal| failure(&refusal, shown))?;
    let Answer::Pcm(head) = &response.answer else {
        return Err(Failure::new(ExitCode::Runtime, "the shard answered something else"));
    };
    let (rendition, front_bytes) = (head.rendition.clone(), head.front_bytes);
    // Opened only now, so that a source that cannot be decoded leaves an old file as it is.
    let mut sink = Sink::open(to, own, front_bytes > 0)?;
    let mut bytes = 0_u64;
    let mut blocks = Vec::with_capacity(TOGETHER);
    loop {
        match response.body.recv().await {
            Some(Ok(Some(sent))) => {
                // Its credit returns here: what bounds the blocks is that they are waited for.
                bytes += sent.len() as u64;
                blocks.push(sent.block().clone());
                if blocks.len() == TOGETHER {
                    (sink, blocks) = write_together(sink, blocks).await?;
                }
                if matches!(sink, Sink::Closed) {
                    return Ok(());
                }
            }
            Some(Ok(None)) => break,
            Some(Err(_)) | None => {
                write_together(sink, blocks).await?;
                let what = format!("the source broke off; {bytes} bytes of it are written");
                return Err(Failure::new(ExitCode::Io, what).at(shown));
            }
        }
    }
    (sink, _) = write_together(sink, blocks).await?;
    sink.finish(&rendition, bytes, front_bytes)
}

/// Blocks that are written at a time. Each change to the thread that may wait and back costs both
/// sides 10 us, as much as a hundredth of the decoding of a block.
const TOGETHER: usize = 4;

/// Writes `blocks`, and gives their place back.
async fn write_together(
    mut sink: Sink,
    mut blocks: Vec<Block>,
) -> Result<(Sink, Vec<Block>), Failure> {
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
    fn open(path: &Path, own: Option<Identity>, is_read: bool) -> Result<Self, Failure> {
        let is_own = |it: Option<Identity>| it.is_some() && it == own;
        if path == Path::new("-") {
            return if is_own(Identity::of_stdout()) {
                Err(own_file("stdout"))
            } else {
                Ok(Sink::Stdout)
            };
        }
        let name = path.display().to_string();
        let opened =
            OpenOptions::new().read(is_read).write(true).create(true).truncate(false).open(path);
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

    /// What was not known at the start, a file's header gets now; a pipe's cannot. It is made here, or its
    /// `front_bytes` came last.
    fn finish(self, rendition: &Rendition, bytes: u64, front_bytes: u64) -> Result<(), Failure> {
        match self {
            Sink::Stdout => on_stdout(io::stdout().flush()).map(drop),
            Sink::Closed => Ok(()),
            Sink::File(mut file, name) => {
                if front_bytes > 0 {
                    let put = put_front(&file, bytes - front_bytes, front_bytes as usize);
                    return put.map_err(|error| broken(&error, &name));
                }
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

/// Whether what is written there can be written over later.
fn may_seek(path: &Path) -> bool {
    path != Path::new("-") && fs::metadata(path).map_or(true, |about| about.is_file())
}

/// Puts the front that was written behind everything else, at `from`, to the start.
fn put_front(file: &File, from: u64, front_bytes: usize) -> io::Result<()> {
    let mut front = vec![0; front_bytes];
    file.read_exact_at(&mut front, from)?;
    file.write_all_at(&front, 0)?;
    file.set_len(from)
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
