//! Stories of the client against an origin that does what a script says, faults included. Here is
//! their vocabulary.
//!
//! - `asking`: one question and its retries, redirects and refusals;
//! - `bodies`: what becomes of bodies that are cut, changed or in parts;
//! - `connections`: kept, lent, counted and closed;
//! - `sealed`: TLS;
//! - `calls`: requests to the operator's listener of a node.

mod asking;
mod bodies;
mod calls;
mod connections;
mod sealed;

use std::{
    collections::HashMap,
    future::Future,
    io::{self, BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::*;
use crate::runtime::{self, Queue};

const TAG: &str = "ETag: \"v1\"\r\n";

/// What a request asked for.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    fields: HashMap<String, String>,
}

impl Asked {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// First and (exclusive) last position of the range asked for.
    fn range(&self) -> (usize, Option<usize>) {
        let text = self.field("range").strip_prefix("bytes=").expect("a range was asked for");
        let (from, last) = text.split_once('-').unwrap();
        (from.parse().unwrap(), last.parse::<usize>().ok().map(|last| last + 1))
    }
}

/// What happens after the bytes of a reply.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Keep,
    Close,
    Reset,
    Stall,
}

type Reply = (Vec<u8>, Then);

/// An origin on a thread of its own. `script` gets the number of the request, from 0.
struct Scripted {
    address: SocketAddr,
    asked: mpsc::Receiver<Asked>,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    #[allow(clippy::disallowed_methods, reason = "the other side of the network is no shard")]
    fn start(script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, served) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let (script, served, sender) = (script.clone(), served.clone(), sender.clone());
                std::thread::spawn(move || serve(socket, &*script, &served, &sender));
            }
        });
        Self { address, asked, connections }
    }

    fn origin(&self) -> Origin {
        let base = format!("http://{}/", self.address).parse().unwrap();
        Origin::new("test", base).unwrap().allow_literal()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }

    fn ranges(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.field("range").to_owned()).collect()
    }
}

#[allow(clippy::disallowed_methods, reason = "the other side of the network is no shard")]
fn serve(
    mut socket: TcpStream,
    script: &dyn Fn(usize, &Asked) -> Reply,
    served: &AtomicUsize,
    sender: &mpsc::Sender<Asked>,
) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    while let Some(asked) = read_head(&mut reader) {
        let _ = sender.send(asked.clone());
        let (bytes, then) = script(served.fetch_add(1, Ordering::SeqCst), &asked);
        if socket.write_all(&bytes).is_err() {
            return;
        }
        match then {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => {
                // Let what was written arrive first: a reset discards what is not read yet.
                std::thread::sleep(Duration::from_millis(50));
                socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Then::Stall => {
                let _ = reader.fill_buf(); // Until the client has enough of it.
                return;
            }
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => lines.push(line.trim_end().to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1)?.to_owned();
    let pairs = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let fields = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(Asked { path, fields })
}

/// The file of all stories: every position can be told from its neighbours.
fn song(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn head(status: &str, fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes()
}

/// A correct answer to a range.
fn part(song: &[u8], asked: &Asked, fields: &str) -> Vec<u8> {
    let (from, until) = asked.range();
    let until = until.unwrap_or(song.len()).min(song.len());
    let (last, all) = (until - 1, song.len());
    let range = format!("Content-Range: bytes {from}-{last}/{all}\r\n");
    let length = format!("Content-Length: {}\r\n", until - from);
    [head("206 Partial Content", &format!("{range}{length}{fields}")), song[from..until].to_vec()]
        .concat()
}

/// A correct answer to a range of which only `bytes` of the body leave.
fn cut(song: &[u8], asked: &Asked, fields: &str, bytes: usize) -> Vec<u8> {
    let mut reply = part(song, asked, fields);
    let body = reply.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    reply.truncate(body + bytes);
    reply
}

/// Short waits between attempts, but patience: a busy machine is no fault of the origin.
fn quick() -> Options {
    Options {
        retry_base: Duration::from_millis(2),
        retry_longest: Duration::from_millis(20),
        ..Options::default()
    }
}

/// For origins that fall silent.
fn impatient() -> Options {
    let limit = Duration::from_millis(500);
    Options { first_byte: limit, inactivity: limit, ..quick() }
}

/// Runs a story on a shard and brings its result out: a panic on a shard ends the process.
fn on_shard<T, F, Fut>(story: F) -> T
where
    T: Send + 'static,
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let options = runtime::Options { shards: 1, blocking_threads: 1, ..Default::default() };
    let main = move |_| {
        let (story, sender) = (story.clone(), sender.clone());
        async move {
            let result = runtime::spawn(Queue::Io, "story", story()).await;
            let _ = sender.send(result);
        }
    };
    runtime::run(options, main).expect("a shard starts");
    receiver.recv().expect("the story has an end").expect("the story does not panic")
}

fn client(options: Options) -> Client {
    Client::new(options, &Roots::only([]).unwrap(), Resolver::Table(Table::default()))
}

type Got = (Vec<u8>, Result<(), Error>);

/// All bytes of a download, and how it ended.
async fn drain(download: &mut Download) -> Got {
    let mut bytes = Vec::new();
    loop {
        match download.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Downloads `song` from `from` with quick options.
fn download(origin: Origin, from: u64, until: Option<u64>) -> Result<(Head, Got, Stats), Error> {
    download_with(quick(), origin, from, until)
}

fn download_with(
    options: Options,
    origin: Origin,
    from: u64,
    until: Option<u64>,
) -> Result<(Head, Got, Stats), Error> {
    on_shard(move || {
        let (origin, client) = (Rc::new(origin.clone()), client(options.clone()));
        async move {
            let url = origin.url("song")?;
            let place = place(client.clone(), origin, url);
            let started = Download::start(place, (from, until), Known::default());
            let (head, mut download) = started.await?;
            let got = drain(&mut download).await;
            Ok((head, got, client.stats()))
        }
    })
}

fn whole() -> Ask {
    Ask { range: Some((0, None)), ..Ask::default() }
}

fn place(client: Client, origin: Rc<Origin>, url: Url) -> Provenance {
    Provenance { client, origin, url, fields: Rc::default() }
}
