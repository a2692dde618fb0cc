//! Keys of presentations: how they are asked for, and who unwraps them.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use clap::Parser;
use kithara::{
    cli::{self, Cli, Command},
    hls::{KeyName, KeyProcessor, KeyRefused},
    server::{self, Tell},
};

use crate::{
    client,
    hls::{Form::Ts, KEY, Presentation, differs_at, presentation, samples},
    node::{Builder, Node, node, scratch},
    origin::{Origin, origin},
};

const TONE: &str = "sine=440:duration=8:sample_rate=44100";
const PCM: &str = "/v1/pcm?src=music:list.m3u8&format=f32le";

/// An encrypted presentation, and its playlist with that line before the first segment.
fn encrypted(key: &str) -> Option<(Presentation, Presentation, String)> {
    let clear = presentation(Ts, TONE)?;
    let encrypted = clear.encrypted(None);
    let line =
        |at| if at == 0 { format!("#EXT-X-KEY:METHOD=AES-128,{key}\n") } else { String::new() };
    let playlist = encrypted.playlist(line);
    Some((clear, encrypted, playlist))
}

/// A node whose configuration file has these lines about its origins.
fn told(dir: &Path, origins: &str) -> Builder {
    let path = dir.join("told.toml");
    fs::write(&path, origins).unwrap();
    node().arg("--config").arg(path.to_str().unwrap())
}

fn section(name: &str, origin: &Origin, more: &str) -> String {
    let base = format!("http://{}/", origin.address());
    format!("[origin.{name}]\nbase = \"{base}\"\nallow_private = [\"127.0.0.0/8\"]\n{more}\n")
}

const ASKS: &str =
    "key_headers = { x-licence = \"hush-header\" }\nkey_query = { token = \"hush query\" }";

#[track_caller]
fn plays(node: &Node, clear: &Presentation) {
    let (frames, whole) = (samples(&node.get(PCM).ok().body), clear.continuous());
    assert_eq!((frames.len(), differs_at(&frames, &whole)), (whole.len(), None));
}

#[test]
fn a_key_is_asked_for_with_what_its_origin_wants() {
    let Some((clear, files, playlist)) = encrypted("URI=\"the.key?a=1\"") else { return };
    let origin = files.on(origin(), "", &playlist);
    let origin =
        origin.file("the.key?a=1&token=hush+query", &KEY).needs("x-licence", "hush-header");
    let (origin, dir) = (origin.start(), scratch());
    let node =
        told(dir.path(), &section("music", &origin, ASKS)).set("LOG__LEVEL", "trace").start();
    plays(&node, &clear);
    let others = origin.order().into_iter().filter(|name| !name.starts_with("the.key"));
    for name in others {
        assert!(!name.contains("token"), "{name}");
        let asked = origin.asked(&name);
        assert!(asked.iter().all(|asked| asked.field("x-licence").is_none()), "{name}");
    }
    for path in ["/v1/streams", "/v1/assets", "/v1/shards", "/metrics"] {
        assert!(!client::get(node.admin, path, "").text().contains("hush"), "{path}");
    }
    let log = log_of(node);
    assert!(log.contains("TRACE") && !log.contains("hush"), "{log}");
}

fn log_of(node: Node) -> String {
    node.signal("-TERM");
    node.ended(Duration::from_secs(20)).1
}

/// Whoever the key is fetched from in the end, if it is not the origin, sees nothing of it.
#[test]
fn what_goes_with_a_key_stays_at_its_origin() {
    let Some((clear, files, playlist)) = encrypted("URI=\"the.key\"") else { return };
    let other = origin().file("other.key", &KEY).start();
    let target = format!("http://{}/other.key", other.address());
    let origin = files.on(origin(), "", &playlist).file("the.key?token=hush+query", &KEY);
    let (origin, dir) = (origin.redirects_to(&target).start(), scratch());
    let node = told(dir.path(), &section("music", &origin, ASKS)).start();
    plays(&node, &clear);
    assert_eq!(origin.asked("the.key?token=hush+query")[0].field("x-licence"), Some("hush-header"));
    let [asked] = &other.asked("other.key")[..] else { panic!("{:?}", other.order()) };
    assert_eq!(asked.field("x-licence"), None);
}

#[test]
fn keys_may_lie_at_an_origin_of_their_own() {
    let keys = origin().file("a/the.key?token=hush+query", &KEY).needs("x-licence", "hush-header");
    let keys = keys.start();
    let uri = format!("URI=\"http://{}/a/the.key\"", keys.address());
    let Some((clear, files, playlist)) = encrypted(&uri) else { return };
    let (origin, dir) = (files.on(origin(), "", &playlist).start(), scratch());
    let both = section("music", &origin, "") + &section("licences", &keys, ASKS);
    plays(&told(dir.path(), &both).start(), &clear);
    let asked = keys.asked("a/the.key?token=hush+query");
    assert_eq!(asked.len(), 1);
    // Without that, it is asked for in the name of the origin of the playlist, as any other URL.
    let both = section("music", &origin, ASKS) + &section("licences", &keys, "");
    let refused = told(dir.path(), &both).start().get(PCM);
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(keys.asked("a/the.key")[0].field("x-licence"), None);
}

#[test]
fn what_is_no_key_is_said() {
    let Some((_, files, playlist)) = encrypted("URI=\"the.key\"") else { return };
    let dir = scratch();
    for (key, status, words) in [
        (&KEY[..], Some(403), "its origin answers 403"),
        (&KEY, Some(404), "its origin answers 404"),
        (&KEY[..15], None, "it has 15 bytes, and not 16"),
        (&[KEY; 5].concat(), None, "it has more than 64 bytes"),
    ] {
        let asked = "the.key?token=hush+query";
        let origin = files.on(origin(), "", &playlist).file(asked, key).start();
        origin.answers(asked, status);
        let told = told(dir.path(), &section("music", &origin, ASKS));
        let node = told.set("LOG__LEVEL", "trace").start();
        let answer = node.get(PCM);
        let text = answer.text();
        assert!(answer.status == 502 && text.contains(words), "{text}");
        assert!(text.contains("the.key") && text.contains("key_headers"), "{text}");
        let said = text + &log_of(node);
        assert!(said.contains("a key cannot be had") && !said.contains("hush"), "{said}");
    }
}

/// A key that a client had of the node is none for the node: what it was given may be for that client.
#[test]
fn a_key_in_the_cache_is_not_used() {
    let Some((clear, files, playlist)) = encrypted("URI=\"the.key\"") else { return };
    let page = "Sign in, please";
    let origin = files.on(origin(), "", &playlist).file("the.key", page.as_bytes()).start();
    let dir = scratch();
    let node = told(dir.path(), &section("music", &origin, "")).start();
    assert_eq!(node.get("/o/music/the.key").ok().text(), page);
    origin.replace("the.key", &KEY);
    plays(&node, &clear);
    assert_eq!(node.get("/o/music/the.key").ok().text(), page, "and what it was given stays");
}

// --- Keys that come wrapped -------------------------------------------------------------------

const FORMAT: &str = "com.example.padded";

/// Keys as they are after a pad was put over them, and what it was told of them.
struct Padded(mpsc::SyncSender<KeyName>);

impl KeyProcessor for Padded {
    fn formats(&self) -> &'static [&'static str] {
        &[FORMAT]
    }

    fn unwrap_key(&self, name: &KeyName, wrapped: &[u8]) -> Result<[u8; 16], KeyRefused> {
        let _ = self.0.try_send(name.clone());
        let padded = wrapped.strip_prefix(b"padded:");
        let padded = padded.and_then(|padded| <[u8; 16]>::try_from(padded).ok());
        let padded = padded.ok_or_else(|| KeyRefused::new("there is no pad over it"))?;
        Ok(padded.map(|byte| byte ^ 0x5A))
    }
}

fn wrapped() -> Vec<u8> {
    [&b"padded:"[..], &KEY.map(|byte| byte ^ 0x5A)].concat()
}

/// A node inside of this process, as a program of one's own has it.
fn node_here(origin: &Origin, processor: Arc<dyn KeyProcessor>) -> SocketAddr {
    static READY: OnceLock<SocketAddr> = OnceLock::new();
    let (dir, flag) = (scratch(), origin.flag().replace("origin=", "music="));
    let arguments = ["kithara", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let cache = dir.path().to_str().unwrap();
    let sizes = ["--shards", "1", "--memory", "64MiB", "--cache-size", "16MiB", "--cache", cache];
    let arguments = arguments.iter().chain(&sizes).copied().chain(["--origin", &flag]);
    let Command::Serve(args) = Cli::try_parse_from(arguments).unwrap().command else { panic!() };
    let options = cli::node_options(&args).unwrap();
    let options = server::Options { key_processor: Some(processor), ..options };
    thread::spawn(move || {
        let _dir = dir;
        let ready = |ready: server::Ready| READY.set(ready.listen).unwrap();
        let failed = |error| panic!("{error}");
        server::run(options, Tell { ready, failed }).unwrap();
    });
    *READY.wait()
}

#[test]
fn a_key_that_comes_wrapped_is_unwrapped() {
    let key = format!("URI=\"the.key\",KEYFORMAT=\"{FORMAT}\",KEYFORMATVERSIONS=\"1/3\"");
    let Some((clear, files, playlist)) = encrypted(&key) else { return };
    let origin = files.on(origin(), "", &playlist).file("the.key", &wrapped());
    let origin = origin.file("bare.m3u8", playlist.replace("the.key", "bare.key").as_bytes());
    let origin = origin.file("bare.key", &KEY).start();
    // Where nobody unwraps them they are refused by name.
    let flag = origin.flag().replace("origin=", "music=");
    let refused = node().arg("--origin").arg(&flag).start().get(PCM);
    assert!(refused.status == 415 && refused.text().contains(FORMAT), "{}", refused.text());

    let (told, names) = mpsc::sync_channel(16);
    let listen = node_here(&origin, Arc::new(Padded(told)));
    let (frames, whole) = (samples(&client::get(listen, PCM, "").ok().body), clear.continuous());
    assert_eq!((frames.len(), differs_at(&frames, &whole)), (whole.len(), None));
    let name = KeyName {
        url: format!("http://{}/the.key", origin.address()).parse().unwrap(),
        format: FORMAT.into(),
        versions: "1/3".into(),
        iv: None,
    };
    assert_eq!(names.try_iter().collect::<Vec<_>>(), [name], "it is kept");
    let refused = client::get(listen, &PCM.replace("list", "bare"), "");
    assert!(refused.status == 502 && refused.text().contains("no pad"), "{}", refused.text());
}
