//! Clients that do only what a measurement needs.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_recv_buffer_size;

/// A connection that asks for the same small thing again and again.
pub struct Keep {
    node: SocketAddr,
    stream: TcpStream,
    request: Vec<u8>,
}

impl Keep {
    /// Connects.
    ///
    /// # Panics
    /// When the node is not there.
    pub fn new(node: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(node).expect("the node listens");
        stream.set_nodelay(true).expect("a socket");
        Self { node, stream, request: request(node, path, "keep-alive") }
    }

    /// How long the node took to answer 200.
    ///
    /// # Panics
    /// When it answered something else.
    pub fn ask(&mut self) -> Duration {
        let before = Instant::now();
        self.stream.write_all(&self.request).expect("the node reads");
        let mut answer = [0; 4096];
        let mut count = 0;
        while !is_whole(&answer[..count]) {
            let got = self.stream.read(&mut answer[count..]).expect("the node answers");
            assert!(got > 0, "the connection ended");
            count += got;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        before.elapsed()
    }

    /// The body of one answer that is not long.
    ///
    /// # Panics
    /// When the node answers something else than 200 with a length.
    pub fn read(&mut self) -> Vec<u8> {
        self.stream.write_all(&self.request).expect("the node reads");
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        while !is_whole(&answer) {
            let got = self.stream.read(&mut piece).expect("the node answers");
            assert!(got > 0, "the connection ended");
            answer.extend_from_slice(&piece[..got]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("it is whole");
        answer.split_off(end + 4)
    }

    /// Asks for `path` instead, and reads all of an answer with a length.
    ///
    /// # Panics
    /// When the node answers something else than 200 with a length.
    pub fn fetch(&mut self, path: &str) -> Answer {
        self.request = request(self.node, path, "keep-alive");
        let before = Instant::now();
        self.stream.write_all(&self.request).expect("the node reads");
        let (mut read, mut count) = (vec![0; 64 << 10], 0);
        let front = loop {
            let got = self.stream.read(&mut read[count..]).expect("the node answers");
            assert!(got > 0, "the connection ended: {}", String::from_utf8_lossy(&read[..count]));
            count += got;
            let end = read[..count].windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end.filter(|end| end + 4 < count) {
                break end + 4;
            }
        };
        let first = before.elapsed();
        let head = String::from_utf8_lossy(&read[..front]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 20"), "{head}");
        let length = field(&head, "content-length: ").and_then(|length| length.parse().ok());
        let bytes: u64 = length.expect("an answer with a length");
        let mut left = bytes - (count - front) as u64;
        while left > 0 {
            let most = read.len().min(left as usize);
            let got = self.stream.read(&mut read[..most]).expect("the body is sound");
            assert!(got > 0, "the body ends short");
            left -= got as u64;
        }
        let decode_ms = field(&head, "server-timing: ")
            .and_then(|timing| timing.split("decode;dur=").nth(1)?.split([',', ';']).next())
            .and_then(|ms| ms.trim().parse::<f64>().ok());
        Answer { first, decode: Duration::from_secs_f64(decode_ms.unwrap_or(0.0) / 1e3), bytes }
    }
}

/// How an answer came.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Until the first byte of its body was here.
    pub first: Duration,
    /// What its decoding took the node until then, as its `Server-Timing` says.
    pub decode: Duration,
    /// Bytes of the body.
    pub bytes: u64,
}

fn request(node: SocketAddr, path: &str, connection: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {node}\r\nConnection: {connection}\r\n\r\n").into_bytes()
}

/// What a field says, of a head in small letters.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name))
}

/// Whether a response with a length has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length: usize =
        field(&text, "content-length: ").and_then(|length| length.parse().ok()).unwrap_or(0);
    answer.len() >= head + 4 + length
}

/// A body on its way; the connection ends with it.
pub struct Stream {
    stream: TcpStream,
}

impl Stream {
    /// Asks for `path` and reads the head. `buffer_bytes` is what the kernel may hold for it.
    ///
    /// # Errors
    /// Those of the connection, or another status than 200.
    pub fn open(node: SocketAddr, path: &str, buffer_bytes: Option<usize>) -> io::Result<Self> {
        let mut stream = TcpStream::connect(node)?;
        if let Some(bytes) = buffer_bytes {
            set_socket_recv_buffer_size(&stream, bytes)?;
        }
        stream.write_all(&request(node, path, "close"))?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(Self { stream })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}
