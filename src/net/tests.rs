//! Stories of the client against an origin that does what a script says, faults included.

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

fn place(client: Client, origin: Rc<Origin>, url: Url) -> Provenance {
    Provenance { client, origin, url, fields: Rc::default() }
}

#[test]
fn the_first_question_learns_length_and_validator() {
    let origin = Scripted::start(|_, asked| (part(&song(100_000), asked, TAG), Then::Keep));
    let (head, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!((head.status, head.length), (206, Some(100_000)));
    assert_eq!(head.validator, Some(Validator::StrongEtag(HeaderValue::from_static("\"v1\""))));
    assert_eq!(got, (song(100_000), Ok(())));
    let asked = origin.asked();
    assert_eq!(asked[0].field("range"), "bytes=0-");
    assert_eq!(asked[0].field("accept-encoding"), "identity");
    assert_eq!(asked[0].field("host"), origin.address.to_string());
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_cut_body_goes_on_where_it_stopped() {
    for then in [Then::Close, Then::Reset, Then::Stall] {
        let origin = Scripted::start(move |request, asked| match request {
            0 => (cut(&song(300_000), asked, TAG, 100_000), then),
            1 => (cut(&song(300_000), asked, TAG, 0), then),
            2 => (cut(&song(300_000), asked, TAG, 199_999), then),
            _ => (part(&song(300_000), asked, TAG), Then::Keep),
        });
        let (_, got, _) = download_with(impatient(), origin.origin(), 0, None).unwrap();
        assert_eq!(got.1, Ok(()));
        assert!(got.0 == song(300_000), "the bytes are the song's");
        let asked = origin.asked();
        let ranges: Vec<_> = asked.iter().map(|asked| asked.field("range")).collect();
        assert_eq!(ranges, ["bytes=0-", "bytes=100000-", "bytes=100000-", "bytes=299999-"]);
        assert_eq!(asked[0].field("if-range"), "");
        assert_eq!(asked[1].field("if-range"), "\"v1\"");
    }
}

#[test]
fn every_position_of_a_cut_heals() {
    let origin = Scripted::start(|_, asked| {
        // At most 700 bytes per connection, so that 32 KiB take 47 of them.
        let left = 32_768 - asked.range().0;
        (cut(&song(32_768), asked, TAG, left.min(700)), Then::Close)
    });
    let options = Options { retries: 100, ..quick() };
    let source = origin.origin();
    let got = on_shard(move || {
        let (origin, options) = (Rc::new(source.clone()), options.clone());
        async move {
            let url = origin.url("song").unwrap();
            let place = place(client(options), origin, url);
            let started = Download::start(place, (0, None), Known::default());
            drain(&mut started.await.unwrap().1).await
        }
    });
    assert_eq!(got, (song(32_768), Ok(())));
    assert_eq!(origin.connections(), 47);
}

#[test]
fn a_body_without_progress_is_given_up_after_the_retries() {
    let origin = Scripted::start(|request, asked| match request {
        0 => (cut(&song(9_000), asked, TAG, 1_000), Then::Close),
        _ => (cut(&song(9_000), asked, TAG, 0), Then::Close),
    });
    let (_, got, stats) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(1_000), Err(Error::Cut { at: 1_000 })));
    assert_eq!((origin.ranges().len(), stats.retries), (4, 3));
}

#[test]
fn a_cut_body_without_a_strong_validator_stays_cut() {
    for fields in ["", "ETag: W/\"v1\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
        let origin =
            Scripted::start(move |_, asked| (cut(&song(9_000), asked, fields, 4_000), Then::Close));
        let (_, got, _) = download(origin.origin(), 0, None).unwrap();
        assert_eq!(got, (song(4_000), Err(Error::Cut { at: 4_000 })), "{fields}");
        assert_eq!(origin.ranges().len(), 1);
    }
}

#[test]
fn a_settled_modification_time_is_enough_to_go_on() {
    let fields = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Date: Sun, 06 Nov 1994 09:49:37 GMT\r\n";
    let origin = Scripted::start(move |request, asked| match request {
        0 => (cut(&song(9_000), asked, fields, 4_000), Then::Close),
        _ => (part(&song(9_000), asked, ""), Then::Keep),
    });
    let (_, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(9_000), Ok(())));
    assert_eq!(origin.asked()[1].field("if-range"), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn bytes_of_two_versions_are_never_joined() {
    type Second = fn(&Asked) -> Vec<u8>;
    let seconds: [(&str, Second, Error); 6] = [
        ("another tag in the part", |a| part(&song(9_000), a, "ETag: \"v2\"\r\n"), Error::Changed),
        ("another length", |a| part(&song(9_001), a, TAG), Error::Changed),
        (
            "the whole of another version",
            |_| [head("200 OK", "ETag: \"v2\"\r\nContent-Length: 9000\r\n"), song(9_000)].concat(),
            Error::Changed,
        ),
        (
            "the whole of no version",
            |_| [head("200 OK", "Content-Length: 9000\r\n"), song(9_000)].concat(),
            Error::Changed,
        ),
        (
            "another range",
            |_| {
                let fields = "Content-Range: bytes 0-8999/9000\r\nContent-Length: 9000\r\n";
                [head("206 Partial Content", fields), song(9_000)].concat()
            },
            Error::Malformed("another range than asked for"),
        ),
        (
            "nothing there any more",
            |_| head("416 No", "Content-Range: bytes */10\r\nContent-Length: 0\r\n"),
            Error::Changed,
        ),
    ];
    for (what, second, error) in seconds {
        let origin = Scripted::start(move |request, asked| match request {
            0 => (cut(&song(9_000), asked, TAG, 4_000), Then::Close),
            _ => (second(asked), Then::Keep),
        });
        let (_, got, _) = download(origin.origin(), 0, None).unwrap();
        assert_eq!(got, (song(4_000), Err(error)), "{what}");
    }
}

#[test]
fn an_origin_that_forgets_ranges_is_read_again_from_the_start() {
    let origin = Scripted::start(|request, asked| match request {
        0 => (cut(&song(50_000), asked, TAG, 30_000), Then::Close),
        _ => {
            let fields = format!("{TAG}Content-Length: 50000\r\n");
            ([head("200 OK", &fields), song(50_000)].concat(), Then::Keep)
        }
    });
    let (_, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(50_000), Ok(())));
}

#[test]
fn an_origin_without_ranges_is_no_error_and_says_where_it_begins() {
    let origin = Scripted::start(|_, _| {
        ([head("200 OK", "Content-Length: 5000\r\n"), song(5_000)].concat(), Then::Keep)
    });
    let (head, got, _) = download(origin.origin(), 1_000, Some(2_000)).unwrap();
    assert_eq!((head.status, head.range, head.length), (200, None, Some(5_000)));
    assert_eq!(got, (song(5_000), Ok(())));
}

#[test]
fn a_range_is_asked_for_and_an_origin_may_give_it_in_parts() {
    let origin = Scripted::start(|_, asked| {
        let (from, until) = asked.range();
        let until = until.unwrap().min(from + 1_000);
        let (length, last) = (until - from, until - 1);
        let fields =
            format!("Content-Range: bytes {from}-{last}/9000\r\nContent-Length: {length}\r\n{TAG}");
        let body = song(9_000)[from..until].to_vec();
        ([head("206 Partial Content", &fields), body].concat(), Then::Keep)
    });
    let (_, got, stats) = download(origin.origin(), 500, Some(3_000)).unwrap();
    assert_eq!(got, (song(9_000)[500..3_000].to_vec(), Ok(())));
    assert_eq!(origin.ranges(), ["bytes=500-2999", "bytes=1500-2999", "bytes=2500-2999"]);
    assert_eq!((stats.connections, stats.reused), (1, 2));
}

#[test]
fn an_empty_file_is_empty_and_not_an_error() {
    let origin = Scripted::start(|_, _| {
        let fields = "Content-Range: bytes */0\r\nContent-Length: 0\r\n";
        (head("416 Range Not Satisfiable", fields), Then::Keep)
    });
    let (head, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(head.length, Some(0));
    assert_eq!(got, (vec![], Ok(())));
}

#[test]
fn an_origin_that_refuses_the_range_is_asked_for_the_whole() {
    let origin = Scripted::start(|_, asked| match asked.field("range") {
        "" => ([head("200 OK", "Content-Length: 300\r\n"), song(300)].concat(), Then::Keep),
        _ => (head("416 No", "Content-Length: 0\r\n"), Then::Keep),
    });
    let (head, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!((head.status, got), (200, (song(300), Ok(()))));
}

#[test]
fn chunks_without_their_end_are_a_cut_and_with_it_are_whole() {
    let chunked = |end: &'static str| {
        let origin = Scripted::start(move |_, _| {
            let body = [b"1388\r\n".to_vec(), song(5_000), end.into()].concat();
            ([head("200 OK", "Transfer-Encoding: chunked\r\n"), body].concat(), Then::Close)
        });
        download(origin.origin(), 0, None).unwrap()
    };
    let (head, got, _) = chunked("\r\n0\r\n\r\n");
    assert_eq!((head.length, got), (None, (song(5_000), Ok(()))));
    for end in ["", "\r\n", "\r\n0\r\n", "\r\nzz\r\n"] {
        assert_eq!(chunked(end).1, (song(5_000), Err(Error::Cut { at: 5_000 })), "{end:?}");
    }
}

#[test]
fn what_comes_beyond_the_length_is_not_taken() {
    let origin = Scripted::start(|_, asked| {
        (([part(&song(3_000), asked, TAG), vec![0; 5_000]]).concat(), Then::Keep)
    });
    assert_eq!(download(origin.origin(), 0, None).unwrap().1, (song(3_000), Ok(())));
    let chunked = Scripted::start(|_, _| {
        let fields = "Content-Range: bytes 0-2999/3000\r\nTransfer-Encoding: chunked\r\n";
        let body = [b"1388\r\n".to_vec(), song(5_000), b"\r\n0\r\n\r\n".to_vec()].concat();
        ([head("206 Partial Content", fields), body].concat(), Then::Keep)
    });
    assert_eq!(download(chunked.origin(), 0, None).unwrap().1, (song(3_000), Ok(())));
}

#[test]
fn busy_origins_are_asked_again_and_a_no_is_a_no() {
    let origin = Scripted::start(|request, asked| match request {
        0 => (head("503 Busy", "Retry-After: 0\r\nContent-Length: 0\r\n"), Then::Keep),
        1 => (head("429 Slow", "Retry-After: 0\r\nContent-Length: 0\r\n"), Then::Keep),
        2 => (vec![], Then::Close),
        _ => (part(&song(10), asked, TAG), Then::Keep),
    });
    let (_, got, stats) = download(origin.origin(), 0, None).unwrap();
    assert_eq!((got, stats.retries), ((song(10), Ok(())), 3));
    let down = Scripted::start(|_, _| (head("500 No", "Content-Length: 0\r\n"), Then::Keep));
    assert_eq!(download(down.origin(), 0, None).unwrap_err(), Error::Status(500));
    assert_eq!(down.ranges().len(), 4);
    let fields = "Retry-After: 3600\r\nContent-Length: 0\r\n";
    let full = Scripted::start(move |_, _| (head("503 Full", fields), Then::Keep));
    let after = Duration::from_secs(3600);
    let later = Error::Later { status: 503, after };
    assert_eq!(download(full.origin(), 0, None).unwrap_err(), later);
    assert_eq!(full.ranges().len(), 1, "it asked not to be asked again for an hour");
    let absent = Scripted::start(|_, _| (head("404 No", "Content-Length: 0\r\n"), Then::Keep));
    assert_eq!(download(absent.origin(), 0, None).unwrap_err(), Error::Status(404));
    assert_eq!(absent.ranges().len(), 1);
}

#[test]
fn silence_and_garbage_are_told_apart() {
    let silent = Scripted::start(|_, _| (vec![], Then::Stall));
    let after = impatient().first_byte;
    let error = download_with(impatient(), silent.origin(), 0, None).unwrap_err();
    assert_eq!(error, Error::Silent { after });
    assert_eq!(silent.ranges().len(), 2, "once more, on a new connection");
    let huge = format!("X: {}\r\n", "x".repeat(200_000));
    for (name, reply) in [
        ("garbage", b"\x16\x03\x01 hello\r\n\r\n".to_vec()),
        ("a head without end", head("200 OK", &huge)),
        ("two lengths", head("200 OK", "Content-Length: 1\r\nContent-Length: 2\r\n")),
        ("compressed", head("200 OK", "Content-Encoding: gzip\r\nContent-Length: 0\r\n")),
    ] {
        let origin = Scripted::start(move |_, _| (reply.clone(), Then::Close));
        let error = download(origin.origin(), 0, None).unwrap_err();
        assert!(matches!(error, Error::Malformed(_) | Error::Encoded), "{name}: {error:?}");
        assert_eq!(origin.ranges().len(), 1, "{name} is not asked for twice");
    }
}

#[test]
fn nothing_listens_there() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{address}/").parse().unwrap();
    let origin = Origin::new("gone", base).unwrap().allow_literal();
    let refused = Error::Connection(io::ErrorKind::ConnectionRefused);
    assert_eq!(download(origin, 0, None).unwrap_err(), refused);
}

#[test]
fn private_addresses_see_no_connection() {
    let canary = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let mut origin = canary.origin();
    origin.allow_private.clear();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let refused = Error::Refused { address: loopback };
    assert_eq!(download(origin.clone(), 0, None).unwrap_err(), refused);

    let port = canary.address.port();
    let name: Url = format!("http://rebound.example:{port}/").parse().unwrap();
    let by_name = on_shard(move || {
        let origin = Origin::new("name", name.clone()).unwrap();
        async move {
            let table = Table::default();
            table.set("rebound.example", &["::ffff:127.0.0.1".parse().unwrap(), loopback]);
            let client = Client::new(quick(), &Roots::only([]).unwrap(), Resolver::Table(table));
            client.get(&origin, &origin.url("x").unwrap(), &Ask::default()).await.map(|_| ())
        }
    });
    assert!(matches!(by_name, Err(Error::Refused { .. })), "{by_name:?}");
    assert_eq!(canary.connections(), 0);
}

#[test]
fn a_redirect_to_a_private_address_is_not_followed() {
    let canary = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let port = canary.address.port();
    let origin = Scripted::start(move |_, _| {
        let to = format!("Location: http://127.0.0.2:{port}/\r\nContent-Length: 0\r\n");
        (head("302 Found", &to), Then::Keep)
    });
    let address = "127.0.0.2".parse().unwrap();
    assert_eq!(download(origin.origin(), 0, None).unwrap_err(), Error::Refused { address });
    assert_eq!(canary.connections(), 0);
}

#[test]
fn redirects_are_followed_with_the_range_but_without_secrets_for_others() {
    let other = Scripted::start(|_, asked| (part(&song(1_000), asked, TAG), Then::Keep));
    let target = other.address;
    let first = Scripted::start(move |request, _| {
        let to = match request {
            0 => "Location: /moved\r\nContent-Length: 0\r\n".to_owned(),
            _ => format!("Location: http://{target}/there\r\nContent-Length: 0\r\n"),
        };
        (head("307 Elsewhere", &to), Then::Keep)
    });
    let mut origin = first.origin();
    let secret = HeaderValue::from_static("Bearer secret");
    origin.headers.push((HeaderName::from_static("authorization"), secret));
    let (head, got, _) = download(origin, 10, None).unwrap();
    assert_eq!(head.url.as_str(), format!("http://{target}/there"));
    assert_eq!(got, (song(1_000)[10..].to_vec(), Ok(())));
    let home = first.asked();
    assert_eq!((home[0].path.as_str(), home[1].path.as_str()), ("/song", "/moved"));
    assert!(home.iter().all(|asked| asked.field("authorization") == "Bearer secret"));
    let abroad = other.asked();
    assert_eq!(abroad[0].field("authorization"), "");
    assert_eq!(abroad[0].field("range"), "bytes=10-");
    assert_eq!(first.connections(), 1, "a redirect's connection is used again");
}

#[test]
fn redirect_loops_end() {
    let origin = Scripted::start(|_, _| {
        (head("301 Moved", "Location: /song\r\nContent-Length: 0\r\n"), Then::Keep)
    });
    let error = download(origin.origin(), 0, None).unwrap_err();
    assert_eq!(error, Error::Redirect(BadRedirect::Loop));
}

/// Asks for the same file `times` times, one after another.
fn ask_often(origin: Origin, options: Options, times: usize) -> Stats {
    on_shard(move || {
        let (origin, options) = (origin.clone(), options.clone());
        async move {
            let client = client(options);
            let url = origin.url("song").unwrap();
            for _ in 0..times {
                let mut response = client.get(&origin, &url, &whole()).await.unwrap();
                while response.body.chunk().await.unwrap().is_some() {}
            }
            client.stats()
        }
    })
}

fn whole() -> Ask {
    Ask { range: Some((0, None)), ..Ask::default() }
}

#[test]
fn connections_are_used_again_unless_pooling_is_off() {
    let script = |_: usize, asked: &Asked| (part(&song(100_000), asked, TAG), Then::Keep);
    let pooled = Scripted::start(script);
    let stats = ask_often(pooled.origin(), quick(), 5);
    assert_eq!((pooled.connections(), stats.reused), (1, 4));
    let single = Scripted::start(script);
    let stats = ask_often(single.origin(), Options { idle_connections: 0, ..quick() }, 5);
    assert_eq!((single.connections(), stats.reused), (5, 0));
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_no_failure() {
    let origin = Scripted::start(|_, asked| (part(&song(100), asked, TAG), Then::Close));
    let stats = ask_often(origin.origin(), quick(), 4);
    assert_eq!((origin.connections(), stats.retries), (4, 0));
}

#[test]
fn a_connection_allowed_to_one_origin_is_not_lent_to_another() {
    let server = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let source = server.origin();
    let (trusted, other) = on_shard(move || {
        let trusted = source.clone();
        async move {
            let client = client(quick());
            let other = Origin { allow_private: vec![], ..trusted.clone() };
            let url = trusted.url("song").unwrap();
            let mut body = client.get(&trusted, &url, &whole()).await.unwrap().body;
            while body.chunk().await.unwrap().is_some() {}
            let second = client.get(&other, &url, &whole()).await;
            (client.get(&trusted, &url, &whole()).await.map(|_| ()), second.map(|_| ()))
        }
    });
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!((trusted, other), (Ok(()), Err(Error::Refused { address })));
    assert_eq!((server.connections(), server.ranges().len()), (1, 2));
}

#[test]
fn idle_connections_are_closed_after_their_time() {
    let server = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let source = server.origin();
    let options = Options { idle: Duration::from_millis(100), ..quick() };
    let stats = on_shard(move || {
        let (origin, options) = (source.clone(), options.clone());
        async move {
            let client = client(options);
            let url = origin.url("song").unwrap();
            for _ in 0..2 {
                let mut response = client.get(&origin, &url, &whole()).await.unwrap();
                while response.body.chunk().await.unwrap().is_some() {}
                // Three times what the sweeper needs at most.
                runtime::sleep(Duration::from_millis(450)).await;
            }
            client.stats()
        }
    });
    assert_eq!((server.connections(), stats.reused), (2, 0));
}

#[test]
fn a_cut_body_never_ends_cleanly_however_often_it_is_asked() {
    let server = Scripted::start(|_, asked| (cut(&song(9_000), asked, TAG, 10), Then::Close));
    let source = server.origin();
    let results = on_shard(move || {
        let origin = source.clone();
        async move {
            let url = origin.url("song").unwrap();
            let response = client(quick()).get(&origin, &url, &whole()).await.unwrap();
            let mut body = response.body;
            assert_eq!(body.chunk().await.unwrap().unwrap(), song(10));
            [body.chunk().await, body.chunk().await, body.chunk().await]
        }
    });
    for result in results {
        assert_eq!(result, Err(Error::Cut { at: 10 }));
    }
}

#[test]
fn an_unfinished_body_closes_its_connection_when_dropped() {
    let origin = Scripted::start(|_, asked| (part(&song(4_000_000), asked, TAG), Then::Keep));
    let source = origin.origin();
    let stats = on_shard(move || {
        let origin = source.clone();
        async move {
            let client = client(quick());
            let url = origin.url("song").unwrap();
            for _ in 0..3 {
                let mut response = client.get(&origin, &url, &whole()).await.unwrap();
                response.body.chunk().await.unwrap();
            }
            client.stats()
        }
    });
    assert_eq!((origin.connections(), stats.reused), (3, 0));
}

#[test]
fn connections_with_one_server_are_bounded_and_the_next_waits() {
    let origin = Scripted::start(|_, asked| (part(&song(4_000_000), asked, TAG), Then::Keep));
    let source = origin.origin();
    let options = Options { connections: 2, ..impatient() };
    let (busy, after) = on_shard(move || {
        let (origin, options) = (source.clone(), options.clone());
        async move {
            let client = client(options);
            let url = origin.url("song").unwrap();
            let first = client.get(&origin, &url, &whole()).await.unwrap();
            let _second = client.get(&origin, &url, &whole()).await.unwrap();
            let busy = client.get(&origin, &url, &whole()).await.map(|_| ());
            drop(first);
            (busy, client.get(&origin, &url, &whole()).await.map(|_| ()))
        }
    });
    assert_eq!((busy, after), (Err(Error::Busy), Ok(())));
}

#[test]
fn a_closed_client_starts_nothing() {
    let origin = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let source = origin.origin();
    let result = on_shard(move || {
        let origin = source.clone();
        async move {
            let client = client(quick());
            client.close();
            client.get(&origin, &origin.url("song").unwrap(), &whole()).await.map(|_| ())
        }
    });
    assert_eq!((result, origin.connections()), (Err(Error::Closed), 0));
}

#[test]
fn the_systems_resolver_knows_this_machine_and_not_what_does_not_exist() {
    let origin = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let port = origin.address.port();
    let (local, absent) = on_shard(move || async move {
        let client = Client::new(quick(), &Roots::only([]).unwrap(), Resolver::system());
        let ask = async |host: &str| {
            let base = format!("http://{host}:{port}/").parse().unwrap();
            let origin = Origin::new("named", base).unwrap().allow_literal();
            client.get(&origin, &origin.url("song").unwrap(), &whole()).await.map(|_| ())
        };
        (ask("localhost").await, ask("does-not-exist.invalid").await)
    });
    assert_eq!((local, absent), (Ok(()), Err(Error::Dns)));
}

#[test]
fn plain_http_where_tls_should_be_is_not_trusted() {
    let origin = Scripted::start(|_, _| (head("200 OK", ""), Then::Close));
    let port = origin.address.port();
    let result = on_shard(move || async move {
        let base = format!("https://localhost:{port}/").parse().unwrap();
        let origin = Origin::new("tls", base).unwrap().allow_literal();
        let client = Client::new(quick(), &Roots::load(), Resolver::system());
        client.get(&origin, &origin.url("song").unwrap(), &whole()).await.map(|_| ())
    });
    assert!(matches!(result, Err(Error::Tls(_) | Error::Connection(_))), "{result:?}");
}

/// A certificate for `origin.example` that signs itself, valid until 2126, and its key. Made by
/// `openssl req -new -x509 -days 36500 -outform DER` with a P-256 key; it protects nothing.
const CERTIFICATE: &[u8] = include_bytes!("testdata/origin.example.der");
const KEY: &[u8] = include_bytes!("testdata/origin.example.key.der");

/// An origin with TLS that answers like [`part`], but only `cut_at` bytes of its first body, after
/// which the connection is closed without a word. Returns its port.
#[allow(clippy::disallowed_methods, reason = "the other side of the network is no shard")]
fn sealed_origin(bytes: usize, cut_at: Option<usize>) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.into()], KEY.try_into().unwrap())
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut cut_at = cut_at;
        for socket in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(session, socket));
            while let Some(asked) = read_head(&mut stream) {
                let Some(at) = cut_at.take() else {
                    let sent = stream.get_mut().write_all(&part(&song(bytes), &asked, TAG));
                    if sent.is_err() { break } else { continue }
                };
                stream.get_mut().write_all(&cut(&song(bytes), &asked, TAG, at)).unwrap();
                break;
            }
        }
    });
    port
}

/// Downloads from a sealed origin by the name `host`, trusting `roots`, twice.
fn download_sealed(host: &'static str, port: u16, roots: Roots) -> Result<(Got, Stats), Error> {
    on_shard(move || {
        let roots = roots.clone();
        async move {
            let base = format!("https://{host}:{port}/").parse().unwrap();
            let mut origin = Origin::new("tls", base).unwrap();
            origin.allow_private = vec!["127.0.0.0/8".parse().unwrap()];
            let table = Table::default();
            table.set(host, &[Ipv4Addr::LOCALHOST.into()]);
            let client = Client::new(quick(), &roots, Resolver::Table(table));
            let (origin, url) = (Rc::new(origin.clone()), origin.url("song")?);
            let start = || {
                let place = place(client.clone(), origin.clone(), url.clone());
                Download::start(place, (0, None), Known::default())
            };
            let first = drain(&mut start().await?.1).await;
            let second = drain(&mut start().await?.1).await;
            assert!(first == second, "both are the song");
            Ok((second, client.stats()))
        }
    })
}

#[test]
fn sealed_bodies_arrive_whole_on_one_connection_and_heal_when_cut() {
    let roots = Roots::only([CERTIFICATE.to_vec()]).unwrap();
    let port = sealed_origin(2_000_000, None);
    let (got, stats) = download_sealed("origin.example", port, roots.clone()).unwrap();
    assert!(got == (song(2_000_000), Ok(())), "the bytes are the song's");
    assert_eq!((stats.connections, stats.reused), (1, 1));

    let port = sealed_origin(500_000, Some(123_456));
    let (got, stats) = download_sealed("origin.example", port, roots).unwrap();
    assert!(got == (song(500_000), Ok(())), "the bytes are the song's");
    assert_eq!((stats.connections, stats.retries), (2, 1));
}

#[test]
fn a_wrong_name_and_an_unknown_issuer_are_not_trusted() {
    let known = Roots::only([CERTIFICATE.to_vec()]).unwrap();
    for (host, roots) in [("other.example", known), ("origin.example", Roots::load())] {
        let result = download_sealed(host, sealed_origin(10, None), roots);
        assert!(matches!(result, Err(Error::Tls(_))), "{host}: {result:?}");
    }
}

fn called(
    origin: Origin,
    method: http::Method,
    body: Option<&'static str>,
) -> Result<Called, Error> {
    on_shard(move || {
        let (origin, client, method) = (origin.clone(), client(quick()), method.clone());
        async move {
            let url = origin.url("v1/x?a=1")?;
            client.call(&origin, method, &url, body.map(Into::into), 1_000).await
        }
    })
}

#[test]
fn a_call_gets_whatever_status_with_its_whole_body() {
    let answer = |_: usize, _: &Asked| {
        ([head("409 Conflict", "Content-Length: 3\r\n"), b"no!".to_vec()].concat(), Then::Close)
    };
    let node = Scripted::start(answer);
    let got = called(node.origin(), http::Method::POST, Some("{}")).unwrap();
    assert_eq!((got.status.as_u16(), &got.body[..]), (409, &b"no!"[..]));
    let asked = &node.asked()[0];
    assert_eq!(asked.path, "/v1/x?a=1");
    let fields = (asked.field("content-length"), asked.field("content-type"));
    assert_eq!(fields, ("2", "application/json"));
    called(node.origin(), http::Method::PUT, None).unwrap();
    assert_eq!(node.asked()[0].field("content-length"), "0");
    called(node.origin(), http::Method::GET, None).unwrap();
    assert_eq!(node.asked()[0].field("content-length"), "");
}

#[test]
fn a_call_is_not_sent_twice_and_not_without_bound() {
    let node = Scripted::start(|_, _| (Vec::new(), Then::Close));
    assert!(matches!(called(node.origin(), http::Method::DELETE, None), Err(Error::Connection(_))));
    assert_eq!(node.asked().len(), 1);
    let endless = |_: usize, _: &Asked| {
        ([head("200 OK", "Content-Length: 1001\r\n"), vec![b'x'; 1001]].concat(), Then::Keep)
    };
    let node = Scripted::start(endless);
    assert!(matches!(called(node.origin(), http::Method::GET, None), Err(Error::Malformed(_))));
}
