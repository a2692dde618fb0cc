//! `kithara probe`: what a source is.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    ExitCode, Failure, ProbeArgs,
    offline::{Found, failure},
    start_log,
};
use crate::{
    decode::{AudioTrack, Info, Sample},
    hls::{Offer, OfferedTrack, OfferedVariant},
    pcm::timeline,
    server::probe_json,
    shard::{Answer, Job, Probed},
};

/// Prints what the source is.
///
/// # Errors
/// What cannot be read or understood.
pub(super) fn run(args: &ProbeArgs) -> Result<ExitCode, Failure> {
    let merged = args.sources.load()?;
    start_log(&merged.config.log)?;
    let found = Found::new(&args.source, &merged)?;
    let shown = found.shown.clone();
    let probed = found.run(move |shard, source| async move {
        let response = shard.request(Job::Probe(source.clone())).await;
        match response.map_err(|refusal| failure(&refusal, &shown))?.answer {
            Answer::Probe(probed) => Ok(*probed),
            _ => Err(Failure::new(ExitCode::Runtime, "the shard answered something else")),
        }
    })?;
    let text = match args.json {
        true => probe_json(&args.source, &probed),
        false => table(&probed),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::Io, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(ExitCode::Ok),
    }
}

fn table(probed: &Probed) -> String {
    let Probed { info, offer } = probed;
    let sample = match info.sample {
        Sample::Integer { bits } => format!("{bits} bit"),
        Sample::Float => "float".to_owned(),
    };
    let frames = info.frames.map_or("not known".to_owned(), |frames| frames.to_string());
    let duration = info.frames.map_or("not known".to_owned(), |frames| {
        format!("{} s", timeline::duration(frames, info.rate_hz))
    });
    let mut text = String::new();
    let rows = [
        ("container", info.container.to_owned()),
        ("codec", info.codec.to_owned()),
        ("rate", format!("{} Hz", info.rate_hz)),
        ("channels", info.channels.count.to_string()),
        ("sample", sample),
        ("frames", frames),
        ("duration", duration),
    ];
    let tags = info.tags.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let offered = offered(info, offer);
    let offered = offered.iter().map(|(name, value)| (*name, value.clone()));
    for (name, value) in rows.into_iter().chain(tags).chain(offered) {
        // Tags are somebody's bytes: what would move a terminal's cursor is shown as an escape.
        let _ = writeln!(text, "{name:>12}  {}", value.escape_debug());
    }
    text
}

/// What there is to choose from, a row each.
fn offered(info: &Info, offer: &Offer) -> Vec<(&'static str, String)> {
    let start = offer.start.map(|start| ("start", format!("{:.3} s", start.as_secs_f64())));
    let variants = offer.variants.iter().enumerate().map(|row| ("variant", variant(row)));
    let renditions = offer.tracks.iter().enumerate().map(|row| ("track", rendition(row)));
    let own = offer.tracks.is_empty().then_some(&info.tracks).into_iter().flatten();
    let tracks = own.enumerate().map(|row| ("track", track(row)));
    start.into_iter().chain(variants).chain(renditions).chain(tracks).collect()
}

fn variant((number, variant): (usize, &OfferedVariant)) -> String {
    let bandwidth = variant.bandwidth.map(|bits| format!("{bits} bit/s"));
    let codecs = variant.codecs.join(",");
    let said = [bandwidth.unwrap_or_default(), codecs, variant.url.clone()];
    let said = said.iter().filter(|word| !word.is_empty()).map(String::as_str);
    format!("{number}: {}", said.collect::<Vec<_>>().join("  "))
}

fn rendition((number, track): (usize, &OfferedTrack)) -> String {
    match &track.language {
        Some(language) => format!("{number}: {} ({language})", track.name),
        None => format!("{number}: {}", track.name),
    }
}

fn track((number, track): (usize, &AudioTrack)) -> String {
    let said = [
        track.codec.map(str::to_owned),
        track.rate_hz.map(|rate_hz| format!("{rate_hz} Hz")),
        track.channels.map(|channels| format!("{channels} channels")),
        track.name.clone(),
        track.language.as_ref().map(|language| format!("({language})")),
    ];
    format!("{number}: {}", said.into_iter().flatten().collect::<Vec<_>>().join("  "))
}
