//! An origin that serves a few files, and misbehaves exactly as it is told.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Begins to describe an origin.
pub fn origin() -> Builder {
    Builder { files: HashMap::new(), last: String::new() }
}

/// What one file is and how it is served.
#[derive(Clone)]
struct File {
    bytes: Arc<Vec<u8>>,
    etag: Option<String>,
    ranges: bool,
    length: bool,
    /// Bytes after which a body breaks off, counted within one answer; the first answers do so.
    breaks: Vec<u64>,
    /// Bytes of the file after which nothing comes any more.
    stalls_after: Option<u64>,
    bytes_per_second: Option<u64>,
    status: Option<u16>,
    /// What a request for a range is answered.
    refuses_ranges: Option<u16>,
    /// What HEAD is answered.
    refuses_head: Option<u16>,
    /// Answers that fail with 503 before the first good one.
    failures: u32,
    /// What those say of when to come again, in seconds.
    retry_after: Option<u32>,
    redirect: Option<String>,
    /// More fields of each answer, each ending in CRLF.
    fields: String,
    /// Fields of a request whose values are told in the body, before the bytes.
    echoes: Option<&'static str>,
    /// A field without which a request is answered 403.
    needs: Option<(&'static str, &'static str)>,
}

impl File {
    fn modified(&self) -> Option<&str> {
        self.fields.lines().find_map(|line| line.strip_prefix("Last-Modified: "))
    }
}

pub struct Builder {
    files: HashMap<String, File>,
    last: String,
}

impl Builder {
    /// A file; what follows is about it.
    pub fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        let file = File {
            bytes: Arc::new(bytes.to_vec()),
            etag: Some(format!("\"{name}-1\"")),
            ranges: true,
            length: true,
            breaks: Vec::new(),
            stalls_after: None,
            bytes_per_second: None,
            status: None,
            refuses_ranges: None,
            refuses_head: None,
            failures: 0,
            retry_after: None,
            redirect: None,
            fields: String::new(),
            echoes: None,
            needs: None,
        };
        self.files.insert(name.to_owned(), file);
        self.last = name.to_owned();
        self
    }

    fn change(mut self, change: impl FnOnce(&mut File)) -> Self {
        change(self.files.get_mut(&self.last).expect("a file comes first"));
        self
    }

    /// One answer breaks off after that many bytes. Said twice, the second answer does too.
    pub fn breaks_after(self, bytes: u64) -> Self {
        self.change(|file| file.breaks.push(bytes))
    }

    /// Every answer breaks off after that many bytes, up to a thousand of them: who asks without end
    /// is to be seen and not to hang.
    pub fn always_breaks_after(self, bytes: u64) -> Self {
        self.change(|file| file.breaks = vec![bytes; 1000])
    }

    pub fn stalls_after(self, bytes: u64) -> Self {
        self.change(|file| file.stalls_after = Some(bytes))
    }

    pub fn at_rate(self, bytes_per_second: u64) -> Self {
        self.change(|file| file.bytes_per_second = Some(bytes_per_second))
    }

    pub fn without_ranges(self) -> Self {
        self.change(|file| file.ranges = false)
    }

    pub fn without_validator(self) -> Self {
        self.change(|file| file.etag = None)
    }

    pub fn without_length(self) -> Self {
        self.change(|file| (file.length, file.ranges) = (false, false))
    }

    pub fn status(self, status: u16) -> Self {
        self.change(|file| file.status = Some(status))
    }

    /// Each request for a range has this answer, and one without is answered as before.
    pub fn refuses_ranges(self, status: u16) -> Self {
        self.without_ranges().change(|file| file.refuses_ranges = Some(status))
    }

    /// HEAD has this answer.
    pub fn refuses_head(self, status: u16) -> Self {
        self.change(|file| file.refuses_head = Some(status))
    }

    /// The first answers fail.
    pub fn fails_first(self, answers: u32) -> Self {
        self.change(|file| file.failures = answers)
    }

    /// Those that fail say when to come again.
    pub fn asks_to_wait(self, seconds: u32) -> Self {
        self.change(|file| file.retry_after = Some(seconds))
    }

    /// Each answer has this field too.
    pub fn says(self, name: &str, value: &str) -> Self {
        self.change(|file| file.fields += &format!("{name}: {value}\r\n"))
    }

    /// The body is the value of a field of the request, and the answer varies by it.
    pub fn echoes(self, name: &'static str) -> Self {
        self.says("Vary", name).change(|file| (file.echoes, file.etag) = (Some(name), None))
    }

    /// Who asks without this field is refused. Names are in small letters.
    pub fn needs(self, name: &'static str, value: &'static str) -> Self {
        self.change(|file| file.needs = Some((name, value)))
    }

    pub fn redirects_to(self, target: &str) -> Self {
        self.change(|file| file.redirect = Some(target.to_owned()))
    }

    pub fn start(self) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            files: Mutex::new(self.files),
            asked: Mutex::default(),
            sent_bytes: Mutex::default(),
            bodies: AtomicUsize::new(0),
            most_bodies: AtomicUsize::new(0),
            open: AtomicBool::new(true),
            hold: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if !serving.open.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.converse(stream));
            }
        });
        Origin { address, shared }
    }
}

struct Shared {
    files: Mutex<HashMap<String, File>>,
    asked: Mutex<Vec<Asked>>,
    sent_bytes: Mutex<HashMap<String, u64>>,
    /// Bodies that are being sent now.
    bodies: AtomicUsize,
    most_bodies: AtomicUsize,
    open: AtomicBool,
    hold: Mutex<()>,
}

/// One request that reached the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub name: String,
    pub method: String,
    pub from: u64,
    pub if_range: Option<String>,
    /// All fields, names in small letters.
    pub fields: Vec<(String, String)>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A running origin. It ends with the test.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.open.store(false, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Origin {
    /// `--origin` for a node.
    pub fn flag(&self) -> String {
        format!("origin=http://{}/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests for a file, in their order.
    pub fn asked(&self, name: &str) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.name == name).cloned().collect()
    }

    /// Where each request for a file began.
    pub fn ranges_asked(&self, name: &str) -> Vec<u64> {
        self.asked(name).iter().map(|asked| asked.from).collect()
    }

    /// Bytes of a file that were sent in all answers together, once no more are being sent.
    #[track_caller]
    pub fn sent_bytes(&self, name: &str) -> u64 {
        let began = Instant::now();
        while self.shared.bodies.load(Ordering::SeqCst) > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "a body is still being sent");
            thread::sleep(Duration::from_millis(5));
        }
        self.sent_bytes_by_now(name)
    }

    /// The same, while more may be under way.
    pub fn sent_bytes_by_now(&self, name: &str) -> u64 {
        self.shared.sent_bytes.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// The names of all requests, in their order.
    pub fn order(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().iter().map(|asked| asked.name.clone()).collect()
    }

    /// The most bodies that were sent at a time.
    pub fn most_bodies(&self) -> usize {
        self.shared.most_bodies.load(Ordering::SeqCst)
    }

    /// The file becomes another one.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let mut files = self.shared.files.lock().unwrap();
        let file = files.get_mut(name).unwrap();
        file.bytes = Arc::new(bytes.to_vec());
        file.etag = file.etag.take().map(|_| format!("\"{name}-2\""));
    }

    /// From now on each answer has these fields too, and not those that the file began with.
    pub fn says(&self, name: &str, fields: &[(&str, &str)]) {
        let lines = fields.iter().map(|(field, value)| format!("{field}: {value}\r\n"));
        self.shared.files.lock().unwrap().get_mut(name).unwrap().fields = lines.collect();
    }

    /// From now on each answer has this status and no body; `None` as before.
    pub fn answers(&self, name: &str, status: Option<u16>) {
        self.shared.files.lock().unwrap().get_mut(name).unwrap().status = status;
    }

    /// From now on connections are closed without an answer.
    pub fn dies(&self) {
        self.shared.open.store(false, Ordering::SeqCst);
    }

    /// While held, no answer begins.
    pub fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.shared.hold.lock().unwrap()
    }
}

impl Shared {
    fn converse(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        // What is on its way counts as sent: little of it should be, also where the node is slow.
        socket2::SockRef::from(&stream).set_send_buffer_size(64 << 10).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read_request(&mut reader) {
            if !self.open.load(Ordering::SeqCst) {
                return;
            }
            if !self.answer(&request, &mut stream) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    /// Whether the connection lives on.
    fn answer(&self, request: &Request, stream: &mut TcpStream) -> bool {
        let name = request.path.trim_start_matches('/').to_owned();
        self.asked.lock().unwrap().push(Asked {
            name: name.clone(),
            method: request.method.clone(),
            fields: request.fields.clone(),
            from: request.range.as_ref().map_or(0, |range| range.start),
            if_range: request.if_range.clone(),
        });
        drop(self.hold.lock());
        let Some(file) = self.files.lock().unwrap().get(&name).cloned() else {
            return reply(stream, 404, "Content-Length: 0\r\n");
        };
        let fields = &file.fields;
        let has =
            |(name, value)| request.fields.contains(&(String::from(name), String::from(value)));
        if !file.needs.is_none_or(has) {
            return reply(stream, 403, "Content-Length: 0\r\n");
        }
        if let Some(target) = &file.redirect {
            let fields = format!("{fields}Location: {target}\r\nContent-Length: 0\r\n");
            return reply(stream, 302, &fields);
        }
        if file.failures > 0 {
            self.files.lock().unwrap().get_mut(&name).unwrap().failures -= 1;
            let wait = file.retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n"));
            let wait = wait.unwrap_or_default();
            return reply(stream, 503, &format!("{wait}Content-Length: 0\r\n"));
        }
        let refuses_head = file.refuses_head.filter(|_| request.method == "HEAD");
        let refuses_range = file.refuses_ranges.filter(|_| request.range.is_some());
        if let Some(status) = file.status.or(refuses_head).or(refuses_range) {
            let body = format!("status {status}");
            let fields = format!("{fields}Content-Length: {}\r\n", body.len());
            let body = if request.method == "HEAD" { "" } else { &body };
            return reply(stream, status, &fields) && stream.write_all(body.as_bytes()).is_ok();
        }
        if let Some(name) = file.echoes {
            let found = request.fields.iter().find(|(known, _)| known == name);
            let body = found.map_or("", |(_, value)| value.as_str());
            let fields = format!("{fields}Content-Length: {}\r\n", body.len());
            return reply(stream, 200, &fields) && stream.write_all(body.as_bytes()).is_ok();
        }
        let since = request.fields.iter().find(|(name, _)| name == "if-modified-since");
        if file.etag.is_none()
            && since.is_some_and(|(_, date)| file.modified() == Some(date.as_str()))
        {
            return reply(stream, 304, fields);
        }
        let tags = request.fields.iter().filter(|(name, _)| name == "if-none-match");
        if tags.map(|(_, tag)| tag).any(|tag| Some(tag) == file.etag.as_ref()) {
            let etag = file.etag.as_deref().unwrap_or_default();
            return reply(stream, 304, &format!("{fields}ETag: {etag}\r\n"));
        }
        self.serve(&name, &file, request, stream)
    }

    fn serve(&self, name: &str, file: &File, request: &Request, stream: &mut TcpStream) -> bool {
        let total = file.bytes.len() as u64;
        let validator = file.etag.as_deref().or_else(|| file.modified());
        let stale = request.if_range.is_some() && request.if_range.as_deref() != validator;
        let range = request.range.clone().filter(|_| file.ranges && !stale);
        if range.as_ref().is_some_and(|range| range.start >= total) {
            let etag = file.etag.as_ref().map(|etag| format!("ETag: {etag}\r\n"));
            let etag = etag.unwrap_or_default();
            let fields = format!("{etag}Content-Range: bytes */{total}\r\nContent-Length: 0\r\n");
            return reply(stream, 416, &fields);
        }
        let part = range.clone().map_or(0..total, |range| range.start..range.end.min(total));
        let mut fields = file.fields.clone();
        if !fields.contains("Content-Type:") {
            fields += "Content-Type: application/octet-stream\r\n";
        }
        if let Some(etag) = &file.etag {
            fields += &format!("ETag: {etag}\r\n");
        }
        if file.ranges {
            fields += "Accept-Ranges: bytes\r\n";
        }
        let status = match range {
            Some(_) => {
                let last = part.end - 1;
                fields += &format!("Content-Range: bytes {}-{last}/{total}\r\n", part.start);
                206
            }
            None => 200,
        };
        match file.length {
            true => fields += &format!("Content-Length: {}\r\n", part.end - part.start),
            false => fields += "Connection: close\r\n",
        }
        if request.method == "HEAD" {
            return reply(stream, status, &fields);
        }
        let bodies = self.bodies.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_bodies.fetch_max(bodies, Ordering::SeqCst);
        let sent = reply(stream, status, &fields) && self.body(name, file, part, stream);
        self.bodies.fetch_sub(1, Ordering::SeqCst);
        sent && file.length
    }

    fn body(&self, name: &str, file: &File, part: Range<u64>, stream: &mut TcpStream) -> bool {
        let breaks = {
            let mut files = self.files.lock().unwrap();
            let breaks = &mut files.get_mut(name).unwrap().breaks;
            if breaks.is_empty() { None } else { Some(breaks.remove(0)) }
        };
        let end = breaks.map_or(part.end, |bytes| part.end.min(part.start + bytes));
        let mut at = part.start;
        while at < end {
            if file.stalls_after.is_some_and(|bytes| at >= bytes) {
                thread::sleep(Duration::from_secs(60));
                return false;
            }
            let step = file.bytes_per_second.map_or(16 << 10, |rate| (rate / 50).max(1));
            let stop = file.stalls_after.unwrap_or(u64::MAX);
            let next = (at + step).min(end).min(stop.max(at + 1));
            if stream.write_all(&file.bytes[at as usize..next as usize]).is_err() {
                return false;
            }
            *self.sent_bytes.lock().unwrap().entry(name.to_owned()).or_default() += next - at;
            at = next;
            if file.bytes_per_second.is_some() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        end == part.end
    }
}

fn reply(stream: &mut TcpStream, status: u16, fields: &str) -> bool {
    let head = format!("HTTP/1.1 {status} Told\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).is_ok()
}

struct Request {
    method: String,
    path: String,
    range: Option<Range<u64>>,
    if_range: Option<String>,
    fields: Vec<(String, String)>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut request = Request { method, path, range: None, if_range: None, fields: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.fields.push((name.to_ascii_lowercase(), value.to_owned()));
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                let end = last.parse::<u64>().map_or(u64::MAX, |last| last + 1);
                request.range = Some(first.parse().ok()?..end);
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(request)
}
