//! The origin of `serve --demo`: an HTTP server inside the process, for the demo's own files.
//!
//! The node fetches from it like from any other origin, over a socket of the loopback interface. Its
//! port is another one at each start, its URLs are not: what is cached of it is found again.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE},
};
use hyper::body::Incoming;
use url::Url;

use super::wire::Body;
use crate::{
    demo,
    file::range::{self, Selection},
    net::Origin,
    storage::crc32c,
};

/// Only this machine reaches it, on whichever port is free.
pub(super) const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Its only client is the node.
pub(super) const CONNECTIONS: usize = 256;

/// A name that no resolver knows (RFC 6761, section 6.4), so that nobody else is asked by it.
const BASE: &str = "http://demo.invalid/";

/// The demo as an origin that listens at `port`.
pub(super) fn origin(port: u16) -> Origin {
    let base = Url::parse(BASE).expect("a constant URL");
    Origin::new("demo", base).expect("it has no query and no fragment").on_loopback(port)
}

/// The demo's files, those of its presentation among them, each with its entity tag.
pub(super) struct Files(Vec<(demo::hls::Part, HeaderValue)>);

impl Files {
    pub(super) fn new() -> Self {
        // A cache outlives the binary, and another one may have other files of the same names.
        let files = demo::FILES.iter().map(|file| {
            let demo::File { name, content_type, bytes, .. } = *file;
            demo::hls::Part { name, content_type, bytes }
        });
        let tagged = files.chain(demo::hls::PARTS.iter().copied()).map(|file| {
            let tag = format!("\"{:08x}-{:x}\"", crc32c(file.bytes), file.bytes.len());
            (file, HeaderValue::from_str(&tag).expect("digits are plain"))
        });
        Self(tagged.collect())
    }

    /// Answers one request for a file.
    pub(super) fn handle(&self, request: &Request<Incoming>) -> Response<Body> {
        let name = request.uri().path().trim_start_matches('/');
        let Some((file, tag)) = self.0.iter().find(|(file, _)| file.name == name) else {
            let mut missing = Response::new(Body::empty());
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return missing;
        };
        let mut response = match request.headers().get(IF_NONE_MATCH) == Some(tag) {
            true => unchanged(),
            false => part(file, request),
        };
        response.headers_mut().insert(ETAG, tag.clone());
        response
    }
}

fn unchanged() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn part(file: &demo::hls::Part, request: &Request<Incoming>) -> Response<Body> {
    let length = file.bytes.len() as u64;
    let asked = request.headers().get(RANGE).map(HeaderValue::as_bytes);
    let (status, part) = match range::select(asked, length) {
        Selection::Whole => (StatusCode::OK, 0..length),
        Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Selection::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let bytes = Bytes::from_static(&file.bytes[part.start as usize..part.end as usize]);
    let mut response = Response::new(Body::small(bytes));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    let mut set = |name, text: &str| {
        fields.insert(name, HeaderValue::from_str(text).expect("the demo's names are plain"));
    };
    set(CONTENT_TYPE, file.content_type);
    set(ACCEPT_RANGES, "bytes");
    match status {
        StatusCode::PARTIAL_CONTENT => set(CONTENT_RANGE, &range::content_range(&part, length)),
        StatusCode::RANGE_NOT_SATISFIABLE => set(CONTENT_RANGE, &range::unsatisfied_range(length)),
        _ => {}
    }
    response
}
