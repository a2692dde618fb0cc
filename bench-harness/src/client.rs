//! Clients that do only what a measurement needs.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_recv_buffer_size;

/// A connection that asks for the same small thing again and again.
pub struct Keep {
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
        Self { stream, request: request(node, path, "keep-alive") }
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
}

fn request(node: SocketAddr, path: &str, connection: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {node}\r\nConnection: {connection}\r\n\r\n").into_bytes()
}

/// Whether a response with a length has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
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
