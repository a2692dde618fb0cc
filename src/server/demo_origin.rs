//! The origin of `serve --demo`: an HTTP server inside the process, for the demo's own files.
//!
//! The node fetches from it like from any other origin, over a socket of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE},
};
use hyper::body::Incoming;
use url::Url;

use super::wire::Body;
use crate::{
    demo,
    file::range::{self, Selection},
    net::Origin,
};

/// Only this machine reaches it, on whichever port is free.
pub(super) const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Its only client is the node.
pub(super) const CONNECTIONS: usize = 256;

/// The demo as an origin that listens at `address`.
pub(super) fn origin(address: SocketAddr) -> Origin {
    let base = Url::parse(&format!("http://{address}/")).expect("an address makes a URL");
    Origin::new("demo", base).expect("it has no query and no fragment").allow_literal()
}

/// Answers one request for a file.
pub(super) fn handle(request: &Request<Incoming>) -> Response<Body> {
    let name = request.uri().path().trim_start_matches('/');
    let Some(file) = demo::FILES.iter().find(|file| file.name == name) else {
        let mut missing = Response::new(Body::empty());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    };
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
    // The files change with the binary only.
    set(ETAG, concat!("\"kithara-", env!("CARGO_PKG_VERSION"), "\""));
    match status {
        StatusCode::PARTIAL_CONTENT => set(CONTENT_RANGE, &range::content_range(&part, length)),
        StatusCode::RANGE_NOT_SATISFIABLE => set(CONTENT_RANGE, &range::unsatisfied_range(length)),
        _ => {}
    }
    response
}
