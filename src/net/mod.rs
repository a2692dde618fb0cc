//! The HTTP/1.1 client to origins: questions that may fail, bodies that go on where they were cut.
//!
//! [`Client`] asks once, with redirects and retries; [`Download`] is what a fill uses: the bytes
//! from a position on, continued by validated ranges when a connection breaks. One client per
//! shard, nothing in here is `Send` but [`Error`], [`Origin`], [`Options`] and [`Roots`].
//!
//! | file | decides or does |
//! |---|---|
//! | `origin`(P) | which URLs a request may name, and what names them in the cache |
//! | `address`(P) | which addresses are never connected to |
//! | `redirect`(P), `retry`(P) | where on, and when again |
//! | `answer`(P), `content_range`(P), `validator`(P) | what the head of an answer proves |
//! | `client` | one question: resolve, check, connect, send, judge |
//! | `call` | one request with any method, to the operator's listener of a node |
//! | `body`, `download` | the bytes of one answer; of one resource |
//! | `flow`(P) | how fast they come, for who wants to know |
//! | `pool`, `permits`, `connection` | connections: kept, counted, driven |
//! | `rangeless`(P) | what is asked for as a whole, since its ranges were refused |
//! | `complaints`(P) | which failures the log is told of |
//! | `tls`, `dns` | rustls over our sockets; `getaddrinfo` off the core |
//!
//! Invariants: a body never ends cleanly before its length. Bytes of two versions are never
//! joined. No address is connected to that was not checked for this very origin. Configured headers
//! and queries never reach another scheme, host or port. Every wait has a limit, but none limits a whole body.
#![forbid(unsafe_code)]

mod address;
mod answer;
mod body;
mod call;
mod client;
mod complaints;
mod connection;
mod content_range;
mod dns;
mod download;
mod error;
mod flow;
mod options;
mod origin;
mod permits;
mod pool;
mod rangeless;
mod redirect;
mod retry;
mod tls;
mod validator;

#[cfg(test)]
mod tests;

pub use address::is_allowed;
pub use answer::{Answer, Ask, is_about_the_form};
pub use body::Body;
pub use call::Called;
pub use client::{Client, Head, Response, Stats};
pub use complaints::Complaints;
pub use content_range::ContentRange;
pub use dns::{Resolver, System, Table};
pub use download::{Download, Known, Provenance};
pub use error::Error;
pub use flow::{Flow, Watch};
pub use options::Options;
pub use origin::{BadBase, Origin, Secrets, literal_addresses, nearest};
pub use redirect::{BadRedirect, Hops};
pub use tls::Roots;
pub use validator::{Signs, Validator};
