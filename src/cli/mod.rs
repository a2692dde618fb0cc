//! The command line: what a person types and what comes back.
//!
//! - `args`: commands and flags, and the keys they set;
//! - `failure`: exit codes, and errors as what, where, hint;
//! - `cache`: a look at a cache, open or closed, and what keeps it in order;
//! - `logging`: the log of a process;
//! - `doctor`: what this machine is like, judged by `checks` (P) from what `machine` sees.
//!
//! A command is a variant of [`Command`], its arguments, an arm in [`run`], and a function from
//! the arguments to an [`ExitCode`] in a file of its own.
#![forbid(unsafe_code)]

mod args;
pub mod cache;
mod checks;
mod doctor;
mod failure;
mod logging;
mod machine;
mod offline;
mod output;
mod pcm;
mod prefetch;
mod probe;
mod running;
mod serve;
mod transcode;

use std::io::{self, Write};

pub use clap::Parser;

pub use args::{
    Cli, Command, ConfigArgs, DoctorArgs, LogFormat, NodeArgs, PcmArgs, PlayedArgs, PrefetchArgs,
    ProbeArgs, ServeArgs, SourceArgs, TranscodeArgs, WrittenArgs,
};
pub use checks::{Check, Verdict};
pub use doctor::{examine, preflight};
pub use failure::{ExitCode, Failure};
pub use logging::{dropped_lines, start as start_log, wants_colour};
pub use machine::raise_open_files;
pub use serve::node_options;

use crate::config::{Show, effective};

/// Runs the command line of this process. A wrong one ends the process with [`ExitCode::Usage`].
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            // Nothing is left to do if stderr cannot be written.
            let _ = writeln!(io::stderr(), "{}", failure.report());
            failure.code
        }
    }
}

/// Runs one command.
///
/// # Errors
/// Whatever the command failed by; its code is how the process ends.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Cache(args) => cache::run(args),
        Command::Config(args) => show_config(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Pcm(args) => pcm::run(args),
        Command::Prefetch(args) => prefetch::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Transcode(args) => transcode::run(args),
    }
}

fn show_config(args: &ConfigArgs) -> Result<ExitCode, Failure> {
    let merged = args.node.load()?;
    let show = if args.effective { Show::All } else { Show::Changed };
    match io::stdout().lock().write_all(effective(&merged, show).as_bytes()) {
        // A pager that was closed has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::Io, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(ExitCode::Ok),
    }
}
