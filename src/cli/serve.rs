//! `kithara serve`: from the configuration to a running node.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use http::{HeaderName, HeaderValue};

use super::{ExitCode, Failure, ServeArgs, machine, preflight, start_log};
use crate::{
    assets,
    config::{self, Config, Merged, Secret, Source},
    decode, demo,
    file::Library,
    hls::{self, playlist},
    net::{self, Origin, Secrets},
    prefetch::{self, ListLimits},
    runtime,
    server::{
        self, Ready, Tell, connection,
        guard::{Limits, patience::Patience},
    },
    shard,
    storage::policy,
};

/// Runs a node until a signal ends it.
///
/// # Errors
/// What kept it from starting.
pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let merged = args.node.load()?;
    start_log(&merged.config.log)?;
    refuse_unenforced(&merged.config)?;
    warn_of_unenforced(&merged);
    let mut options = options(&merged.config)?;
    options.origins.iter().for_each(warn_of_private);
    preflight(&merged.config)?;
    if args.check {
        let _ = io::stdout().write_all(b"ok: a node can start with this configuration\n");
        return Ok(ExitCode::Ok);
    }
    options.demo = args.demo;
    let ready = if args.demo { demo_is_ready } else { is_ready };
    server::run(options, Tell { ready, failed })?;
    Ok(ExitCode::Ok)
}

/// What these arguments, the environment and the file tell a node, for a program that adds to it what none of
/// them can say and [runs](server::run) it.
///
/// # Errors
/// What is wrong with them.
pub fn node_options(args: &ServeArgs) -> Result<server::Options, Failure> {
    options(&args.node.load()?.config)
}

/// Keys that lock something must not be taken and then left without effect.
fn refuse_unenforced(config: &Config) -> Result<(), Failure> {
    let locks = [
        ("signing.keys", !config.signing.keys.is_empty()),
        ("admin.token", config.admin.token.is_some()),
        ("origin.NAME.methods", config.origin.values().any(|origin| !origin.methods.is_empty())),
    ];
    match locks.iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(Failure::new(
            ExitCode::Config,
            format!("`{key}` is set, and this version does not enforce it yet"),
        )
        .hint("leave it out, keep `listen` where only trusted clients reach it, and `admin` on a loopback address")),
        None => Ok(()),
    }
}

/// Who sets a limit must not believe that it holds when it does not.
fn warn_of_unenforced(merged: &Merged) {
    for key in config::UNENFORCED {
        if *merged.source(key) != Source::Default {
            tracing::warn!(key, "is set, and this version does not enforce it yet");
        }
    }
}

/// Who sets up an origin should not have to learn from its clients that nothing of it is given.
fn warn_of_private(origin: &Origin) {
    if let Some(address) = origin.refused_literal() {
        let key = format!("origin.{}.allow_private", origin.name);
        tracing::warn!(
            key,
            "{} is at no public address, so each request to it will be refused; where that is meant, \
             write {key} = [\"{address}\"]",
            origin.base
        );
    }
}

/// The one line on stdout, for scripts.
fn is_ready(ready: Ready) {
    let line =
        format!("ready listen={} admin={} shards={}\n", ready.listen, ready.admin, ready.shards);
    let mut out = io::stdout().lock();
    // A starter that does not read it is none of the node's business.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// The same, and on stderr what a person may try.
fn demo_is_ready(ready: Ready) {
    let _ = io::stderr().write_all(banner(&ready, io::stderr().is_terminal()).as_bytes());
    is_ready(ready);
}

fn banner(ready: &Ready, colour: bool) -> String {
    let (bold, dim, plain) = match colour && super::wants_colour(true) {
        true => ("\x1b[1m", "\x1b[2m", "\x1b[0m"),
        false => ("", "", ""),
    };
    let listen = ready.listen;
    let song = |ending: &str| {
        let found = demo::FILES.iter().find(|file| file.name.ends_with(ending));
        found.map_or(demo::FILES[0].name, |file| file.name)
    };
    let names: Vec<_> = demo::FILES.iter().map(|file| file.name).collect();
    format!(
        "\n{bold}kithara{plain} is playing on http://{listen}\n\n\
         {dim}# decoded, whatever it was, as WAV{plain}\n\
         curl 'http://{listen}/v1/pcm?src=demo:{mp3}' -o x.wav\n\n\
         {dim}# at another rate, straight to the loudspeaker{plain}\n\
         curl -s 'http://{listen}/v1/pcm?src=demo:{flac}&rate=48000' | aplay\n\n\
         {dim}# five seconds from the tenth on, as FLAC{plain}\n\
         curl 'http://{listen}/v1/pcm?src=demo:{ogg}&t=10&d=5&format=flac' -o x.flac\n\n\
         {dim}# a presentation of HLS at 48 kHz, and its encrypted one{plain}\n\
         curl -s 'http://{listen}/v1/pcm?src=demo:{hls}&rate=48000' | aplay\n\
         curl 'http://{listen}/v1/pcm?src=demo:hls/aes/list.m3u8' -o x.wav\n\n\
         {dim}# the original bytes, and what they are{plain}\n\
         curl 'http://{listen}/o/demo/{m4a}' -o x.m4a\n\
         curl 'http://{listen}/v1/probe?src=demo:{m4a}'\n\n\
         {dim}# also there: {all}{plain}\n\n",
        mp3 = song(".mp3"),
        hls = demo::hls::MASTER,
        flac = song(".flac"),
        ogg = song(".ogg"),
        m4a = song(".m4a"),
        all = names.join(" "),
    )
}

/// A shard that cannot start takes the node down: the others would wait for it. What one shard lacks
/// the others lack too, and it is said once.
fn failed(error: server::Error) -> ! {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    let failure = Failure::from(error);
    if IS_SAID.swap(true, Ordering::Relaxed) {
        loop {
            std::thread::park(); // The first one is ending the process.
        }
    }
    let _ = writeln!(io::stderr(), "{}", failure.report());
    std::process::exit(failure.code as i32)
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Self {
        let code = match &error {
            server::Error::Storage(_) => ExitCode::Io,
            server::Error::Runtime(_) | server::Error::System(_) => ExitCode::Runtime,
        };
        Failure::new(code, error.to_string())
    }
}

/// The configuration in the form of the layers' own options.
pub(super) fn options(config: &Config) -> Result<server::Options, Failure> {
    let limits = &config.limits;
    Ok(server::Options {
        listen: config.listen,
        admin: config.admin.listen,
        runtime: runtime::Options {
            shards: usize::from(config.shard_count(machine::shards_at_most())),
            ..runtime::Options::default()
        },
        memory_bytes: config.memory.0 as usize,
        cache_dir: config.cache.dir.clone(),
        cache_bytes: config.cache.size.0,
        sync: config.cache.sync_interval.0,
        assets: assets::Options {
            media_ttl: config.cache.media_ttl.0,
            object_bytes: limits.object_bytes.0,
            policy: match config.cache.policy {
                config::Policy::S3Fifo => policy::Kind::S3Fifo,
                config::Policy::Lru => policy::Kind::Lru,
            },
        },
        shard: shard::Options {
            read_ahead_bytes: config.read_ahead_bytes(),
            scan_wait: limits.scan_wait.0,
            scan_bytes: limits.scan_bytes.0,
            decode_share: limits.decode_share,
            playlists: playlist::Limits {
                playlist_bytes: limits.playlist_bytes.0 as usize,
                playlist_lines: limits.playlist_lines,
                variants: limits.variants,
                uri_bytes: limits.uri_bytes.0 as usize,
            },
            parts: hls::PartLimits {
                segment_bytes: limits.segment_bytes.0,
                init_bytes: limits.init_bytes.0,
                key_bytes: limits.key_bytes.0 as usize,
                missing_segments: limits.missing_segments.try_into().unwrap_or(u32::MAX),
            },
            reach: hls::Reach {
                time: limits.read_ahead.0,
                // What no cache keeps would be fetched twice.
                bytes: if config.cache.is_on() { limits.read_ahead_bytes.0 } else { 0 },
            },
        },
        net: net_options(limits),
        origins: origins(config)?,
        libraries: libraries(config),
        key_processor: None,
        demo: false,
        decoders: decode::DecoderOptions {
            stack_bytes: limits.stack_bytes.0 as usize,
            sample_table_bytes: limits.sample_table_bytes.0,
            ..Default::default()
        },
        connection: connection::Options {
            limits: Limits {
                header_bytes: limits.header_bytes.0 as usize,
                header_fields: limits.header_fields,
                uri_bytes: limits.uri_bytes.0 as usize,
            },
            patience: Patience {
                header_timeout: limits.header_timeout.0,
                idle_timeout: limits.idle_timeout.0,
                write_stall: limits.write_stall.0,
            },
        },
        sockets: runtime::SocketOptions {
            send_buffer_bytes: Some(limits.send_buffer.0 as usize),
            receive_buffer_bytes: None,
        },
        connections: limits.connections,
        prefetch: prefetch_limits(limits),
        lists: ListLimits { bytes: limits.playlist_bytes.0, lines: limits.playlist_lines },
        shutdown_grace: config.shutdown_grace.0,
    })
}

fn prefetch_limits(limits: &config::Limits) -> prefetch::Limits {
    prefetch::Limits {
        sources: limits.prefetch_queue,
        connections: limits.prefetch_connections,
        rate: limits.prefetch_rate.0,
        retries: limits.prefetch_retries as u32,
        backoff: limits.prefetch_backoff.0,
        backoff_max: limits.prefetch_backoff_max.0,
    }
}

fn net_options(limits: &config::Limits) -> net::Options {
    net::Options {
        connect: limits.origin_connect.0,
        first_byte: limits.origin_first_byte.0,
        inactivity: limits.origin_inactivity.0,
        retries: limits.origin_retries as u32,
        retry_base: limits.origin_backoff.0,
        retry_longest: limits.origin_backoff_max.0,
        connections: limits.origin_connections,
        idle_connections: limits.origin_idle_connections,
        redirects: limits.redirects,
        receive_buffer: limits.receive_buffer.0 as usize,
        ..net::Options::default()
    }
}

fn origins(config: &Config) -> Result<Vec<Origin>, Failure> {
    let bad = |name: &str, what: String| {
        Failure::new(ExitCode::Config, what).at(format!("[origin.{name}]"))
    };
    let made = config.origin.iter().map(|(name, told)| {
        let origin = Origin::new(name, told.base.clone());
        let mut origin = origin.map_err(|error| bad(name, error.to_string()))?;
        origin.allow_private = told.allow_private.clone();
        origin.key_ignore = told.key_ignore.clone();
        origin.forward_credentials = told.forward_credentials;
        origin.headers = headers(&told.headers).map_err(|what| bad(name, what))?;
        origin.key_headers = headers(&told.key_headers).map_err(|what| bad(name, what))?;
        let pair = |(name, value): (&String, &Secret)| (name.clone(), value.expose().to_owned());
        origin.key_query = Secrets(told.key_query.iter().map(pair).collect());
        Ok(origin)
    });
    made.collect()
}

fn headers(told: &BTreeMap<String, Secret>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |(field, value): (&String, &Secret)| {
        let name = HeaderName::try_from(field.as_str());
        let value = HeaderValue::try_from(value.expose());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(format!("`{field}` is no header field, or its value is none"));
        };
        value.set_sensitive(true);
        Ok((name, value))
    };
    told.iter().map(header).collect()
}

fn libraries(config: &Config) -> Vec<Library> {
    let library = |(name, told): (&String, &config::Library)| Library {
        name: name.clone(),
        dir: told.dir.clone(),
    };
    config.library.iter().map(library).collect()
}
