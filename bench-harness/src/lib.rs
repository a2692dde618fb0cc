//! What the measurements share: music to work on, the real node in a process of its own, clients.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

pub mod abr;
mod client;
mod counting;
pub mod hls;
mod node;
pub mod plain;
pub mod play;
pub mod replay;
pub mod signal;
pub mod stack;
mod table;

pub use client::{Answer, Keep, Stream};
pub use counting::{Counting, apart};
pub use node::{Node, Usage, binary, cpu_of, leave_first_cpu};
pub use table::Table;

/// The middle one of `values`.
///
/// # Panics
/// When there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU time of this thread.
pub fn thread_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// User time in seconds of a command in the language of bash, as that says, and what it wrote to stderr.
/// In it `arguments` are `$0`, `$1` and so on.
///
/// # Panics
/// When it fails.
pub fn user_time(
    command: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> (f64, String) {
    let output = Command::new("bash")
        .args(["-c", &format!("TIMEFORMAT=%3U; time {command}")])
        .args(arguments)
        .stdout(Stdio::null())
        .output()
        .expect("bash is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let seconds = said.lines().last().and_then(|line| line.trim().parse().ok());
    (seconds.expect("the shell says it last"), said)
}

/// A directory below the target directory, on a real file system, that is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty one.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        let here = std::env::current_exe().expect("this program has a path");
        let below = here.parent().expect("a program lies in a directory");
        let dir = below.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the target directory can be written");
        Self(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What music is coded in: the name of the file, and how ffmpeg is told.
pub type Coding = (&'static str, &'static [&'static str]);

/// What people have most.
pub const CODINGS: [Coding; 5] = [
    ("music.mp3", &["-c:a", "libmp3lame", "-b:a", "192k"]),
    ("music.m4a", &["-c:a", "aac", "-b:a", "192k"]),
    ("music.flac", &["-c:a", "flac"]),
    ("music.ogg", &["-c:a", "libvorbis", "-q:a", "6"]),
    ("music-alac.m4a", &["-c:a", "alac"]),
];

/// What only the measurements of codecs have beside.
pub const OPUS: Coding = ("music.opus", &["-c:a", "libopus", "-b:a", "128k"]);

/// Stereo at 44.1 kHz of that length, in every one of [`CODINGS`]; the files by that order.
///
/// # Panics
/// When ffmpeg is not there or fails.
pub fn music(dir: &Path, seconds: usize) -> Vec<PathBuf> {
    synthesise(&dir.join(MUSIC), seconds);
    CODINGS.map(|coding| coded(dir, coding)).into()
}

/// The [`music`] of a directory in one more coding.
///
/// # Panics
/// When ffmpeg is not there or fails.
pub fn coded(dir: &Path, (name, arguments): Coding) -> PathBuf {
    let into = dir.join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(dir.join(MUSIC));
    run(command.args(arguments).arg(&into));
    into
}

/// The music before it is coded.
const MUSIC: &str = "music.wav";

/// Chords with harmonics, a pulsing bass and some pink noise: enough for every coding tool to work.
fn synthesise(into: &Path, seconds: usize) {
    let voice = |base: f64, side: f64| {
        let step = "pow(2,floor(mod(t*2,8))/12)";
        format!(
            "0.12*sin(2*PI*{base}*{step}*t)*exp(-mod(t*2,1)*{side})\
             +0.07*sin(2*PI*{}*{step}*t)*exp(-mod(t*2,1)*3)\
             +0.05*sin(2*PI*{}*t+2*sin(2*PI*5*t))+0.15*sin(2*PI*55*t)*exp(-mod(t,0.5)*6)",
            base * 3.01,
            base * 5.0
        )
    };
    let tones =
        format!("aevalsrc='{}|{}':s=44100:d={seconds}", voice(220.0, 2.0), voice(277.2, 4.0));
    let noise = format!("anoisesrc=c=pink:r=44100:a=0.15:seed=7:d={seconds}");
    let mix = "[1:a]aformat=channel_layouts=stereo[n];[0:a][n]amix=inputs=2:normalize=0";
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(["-f", "lavfi", "-i", &tones, "-f", "lavfi", "-i", &noise])
        .args(["-filter_complex", mix, "-c:a", "pcm_s16le"])
        .arg(into));
}

fn run(command: &mut Command) {
    let status = command.status().expect("ffmpeg is installed");
    assert!(status.success(), "{command:?}");
}
