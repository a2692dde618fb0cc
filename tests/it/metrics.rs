//! What a scraper of `/metrics` reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    process::{Command, Stdio},
    thread,
};

use kithara::demo;

use crate::{
    client,
    hls::{self, Form},
    node::{Node, node},
    origin::origin,
};

/// Every metric there is, with its type: what dashboards are made of.
const NAMES: &str = include_str!("metrics.txt");

/// One scrape, read as strictly as the format is written (text format 0.0.4 of Prometheus).
struct Scrape {
    families: Vec<Family>,
}

struct Family {
    name: String,
    kind: String,
    samples: Vec<(Vec<(String, String)>, f64)>,
}

impl Scrape {
    #[track_caller]
    fn of(node: &Node) -> Self {
        Self::parse(&client::get(node.admin, "/metrics", "").ok().text())
    }

    /// Each family is a HELP, a TYPE, and its samples behind each other.
    #[track_caller]
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "lines end in a line feed");
        let mut families: Vec<Family> = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let help = line.strip_prefix("# HELP ").unwrap_or_else(|| panic!("no HELP: {line}"));
            let (name, help) = help.split_once(' ').expect("a name and a text");
            assert!(help.ends_with('.') && help.len() > 10, "{line}");
            let line = lines.next().expect("a TYPE follows");
            let told = line.strip_prefix("# TYPE ").unwrap_or_else(|| panic!("no TYPE: {line}"));
            let (of, kind) = told.split_once(' ').expect("a name and a type");
            assert_eq!(of, name);
            let mut family =
                Family { name: name.to_owned(), kind: kind.to_owned(), samples: vec![] };
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (of, labels, value) = sample(line);
                assert_eq!(of, name, "{line}");
                assert!(family.samples.iter().all(|(known, _)| *known != labels), "twice: {line}");
                family.samples.push((labels, value));
            }
            assert!(families.iter().all(|known| known.name != name), "{name} is there twice");
            families.push(family);
        }
        Self { families }
    }

    /// The sum over all shards of what has this label, or of all where it is empty.
    #[track_caller]
    fn sum(&self, name: &str, label: &str) -> f64 {
        let family = self.families.iter().find(|family| family.name == name);
        let family = family.unwrap_or_else(|| panic!("there is no {name}"));
        let (key, value) = label.split_once('=').unwrap_or_default();
        let is_it = |labels: &[(String, String)]| {
            label.is_empty() || labels.iter().any(|(name, of)| (&name[..], &of[..]) == (key, value))
        };
        family.samples.iter().filter(|(labels, _)| is_it(labels)).map(|(_, value)| value).sum()
    }
}

/// `name{label="value",..} number`
#[track_caller]
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    let (series, value) = line.rsplit_once(' ').expect("a series and a number");
    let (name, labels) = series.split_once('{').expect("every metric has labels");
    let labels = labels.strip_suffix('}').expect("labels end");
    assert!(is_name(name), "{line}");
    let labels: Vec<_> = labels
        .split("\",")
        .map(|label| {
            let (name, value) = label.split_once("=\"").expect("a label and its value");
            let value = value.trim_end_matches('"');
            assert!(is_name(name) && !value.is_empty() && !value.contains(['"', '\\']), "{line}");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    assert!(value.is_finite() && value >= 0.0, "{line}");
    (name.to_owned(), labels, value)
}

#[test]
fn every_metric_has_its_name_its_type_and_a_sentence() {
    let node = node().shards(2).arg("--demo").start();
    node.wav("demo:strings.mp3", "&t=1&d=1");
    let answer = client::get(node.admin, "/metrics", "").ok();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.field("content-type"), Some(content_type));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let scrape = Scrape::parse(&answer.text());
    let told: Vec<_> =
        scrape.families.iter().map(|family| format!("{} {}\n", family.kind, family.name)).collect();
    assert_eq!(told.concat(), NAMES, "these are promised: a change is to be wanted");
    for Family { name, kind, samples } in &scrape.families {
        assert!(name.starts_with("kithara_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let units = ["ms", "us", "ns", "kib", "percent"];
        assert!(name.split('_').all(|word| !units.contains(&word)), "{name}: base units");
        let shards: BTreeSet<_> = samples
            .iter()
            .filter_map(|(labels, _)| labels.iter().find(|(name, _)| name == "shard"))
            .map(|(_, shard)| &shard[..])
            .collect();
        match &name[..] {
            "kithara_build_info" => assert!(shards.is_empty() && samples.len() == 1),
            // Only one of them has decoded something.
            "kithara_decoded_audio_seconds_total" => assert_eq!(shards.len(), 1),
            _ => assert_eq!(shards, BTreeSet::from(["0", "1"]), "{name}"),
        }
    }
    assert_eq!(scrape.sum("kithara_shard_up", ""), 2.0);
    assert_eq!(scrape.sum("kithara_sessions_total", "kind=pcm"), 1.0);
    promtool(&answer.body);
    let head = client::request(node.admin, "HEAD", "/metrics", "");
    assert_eq!((head.status, head.field("content-type")), (200, Some(content_type)));
    assert!(head.field("content-length").unwrap().parse::<usize>().unwrap() > 1000);
    assert_eq!(client::request(node.admin, "POST", "/metrics", "").status, 405);
    assert_eq!(node.get("/metrics").status, 404, "clients are told nothing");
}

/// What Prometheus' own tool has to say of it: nothing. Where there is none, what is read above stands alone.
fn promtool(text: &[u8]) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        let _ = writeln!(io::stderr(), "\n*** SKIPPED: no promtool to check metrics with ***\n");
        return;
    };
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn two_hundred_listeners_of_one_song_cost_one_decode() {
    let node = node().shards(2).arg("--demo").start();
    let song = demo::FILES.iter().find(|file| file.name == "strings.mp3").unwrap();
    let target = format!("/v1/pcm?src=demo:{}&rate=48000", song.name);
    let seconds = || Scrape::of(&node).sum("kithara_decoded_audio_seconds_total", "codec=mp3");
    let listen = |count: usize| {
        thread::scope(|scope| {
            let all = (0..count).map(|_| scope.spawn(|| node.get(&target).ok().body));
            let bodies: Vec<_> =
                all.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect();
            assert!(bodies.iter().all(|body| *body == bodies[0]));
        });
    };
    // Some at once, and some when all is over; connections land on both shards.
    listen(100);
    let once = seconds();
    let duration = song.frames as f64 / f64::from(song.rate_hz);
    assert!((once - duration).abs() < 1e-3, "{once} s of {duration} s");
    (0..5).for_each(|_| listen(20));
    assert_eq!(seconds(), once);
    let scrape = Scrape::of(&node);
    assert_eq!(scrape.sum("kithara_sessions_total", "kind=pcm"), 200.0);
    for shard in ["shard=0", "shard=1"] {
        assert!(scrape.sum("kithara_connections_total", shard) > 20.0, "{shard} had its part");
    }
    let length = node.head(&target).field("content-length").unwrap().parse::<f64>().unwrap();
    assert_eq!(scrape.sum("kithara_sent_bytes_total", ""), 200.0 * length);
    // In another shape it is another decode.
    node.get(&format!("/v1/pcm?src=demo:{}", song.name)).ok();
    assert!((seconds() - 2.0 * duration).abs() < 1e-3);
}

#[test]
fn what_only_makes_a_decoder_ready_is_not_counted_as_audio() {
    let node = node().arg("--demo").start();
    // AAC starts on a grid of 128 packets, three seconds.
    for (name, codec) in [("strings.m4a", "codec=aac"), ("strings.mp3", "codec=mp3")] {
        let wav = node.wav(&format!("demo:{name}"), "&t=17&d=1");
        assert_eq!(wav.frames(), 44_100);
        let seconds = Scrape::of(&node).sum("kithara_decoded_audio_seconds_total", codec);
        // From the window that holds its start to the one that holds its end.
        assert!((1.0..2.5).contains(&seconds), "{name}: {seconds} s");
    }
}

#[test]
fn segments_that_are_missing_are_counted_and_are_no_audio() {
    let sound = "aevalsrc=sin(900*t)|sin(1100*t):s=44100:d=10";
    let Some(presentation) = hls::presentation(Form::TsMp3, sound) else { return };
    let origin = presentation.on(origin(), "", &presentation.plain()).start();
    origin.answers("part02", Some(404));
    let node = node().origin(&origin).start();
    node.wav("origin:list.m3u8", "");
    let scrape = Scrape::of(&node);
    assert_eq!(scrape.sum("kithara_hls_missing_segments_total", ""), 1.0);
    assert!(scrape.sum("kithara_undecoded_packets_total", "") > 50.0);
    let seconds = scrape.sum("kithara_decoded_audio_seconds_total", "codec=mp3");
    // Two seconds of ten, to a packet on either side; of MP3 a few are needed to swing in.
    assert!((7.8..8.2).contains(&seconds), "{seconds} s");
}

#[test]
fn a_counter_never_falls_whoever_has_looked_before() {
    let node = node().shards(2).arg("--demo").start();
    node.wav("demo:strings.mp3", "");
    let counters = |scrape: Scrape| {
        let all = scrape.families.into_iter().filter(|family| family.kind == "counter");
        all.flat_map(|Family { name, samples, .. }| {
            samples.into_iter().map(move |(labels, value)| ((name.clone(), labels), value))
        })
        .collect::<BTreeMap<_, _>>()
    };
    let before = counters(Scrape::of(&node));
    client::get(node.admin, "/v1/shards", "").ok();
    let after = counters(Scrape::of(&node));
    for (series, value) in &before {
        assert!(after.get(series).is_some_and(|after| after >= value), "{series:?} was {value}");
    }
    let busy = |((name, _), seconds): (&(String, _), &f64)| {
        name == "kithara_shard_busy_seconds_total" && *seconds > 0.0
    };
    assert!(before.iter().any(busy));
}

#[test]
fn it_is_told_while_the_node_drains() {
    let node = node().shards(2).arg("--demo").start();
    let mut slow = client::connect(node.listen);
    let target = "/v1/pcm?src=demo:strings.mp3&rate=192000&format=f32le";
    let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.listen);
    slow.write_all(request.as_bytes()).unwrap();
    slow.read_exact(&mut [0; 1000]).unwrap();
    node.signal("-TERM");
    // A connection that the signal finds idle is closed without a word.
    let begins = || -> String {
        let mut stream = client::connect(node.listen);
        let request = "GET /v1/pcm?src=demo:strings.flac HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        let count = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    while begins() != "HTTP/1.1 503" {}
    let scrape = Scrape::of(&node);
    assert!(scrape.sum("kithara_refused_total", "reason=draining") >= 1.0);
    assert!(scrape.sum("kithara_sessions_open", "") >= 1.0);
    assert_eq!(scrape.sum("kithara_shard_up", ""), 2.0);
    drop(slow);
}
