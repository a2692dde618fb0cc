//! The strict reader in front of hyper: no message reaches the HTTP library that two parsers
//! could understand in two ways.
//!
//! hyper repairs in silence what attackers build on: a repeated equal Content-Length,
//! Content-Length beside Transfer-Encoding, a bare LF. So [`Guard`] stands between the socket and
//! hyper, as a stream itself. It reads each head by the letter of RFC 9112 ([`head`]), knows where
//! its body ends ([`chunked`]), and lets hyper see the bytes of one vetted message at a time:
//!
//! - While a response is on its way, bytes of the next request are held back, in a bounded buffer,
//!   and a peer that goes away is still seen, so that hyper drops the work nobody waits for.
//! - A refused message looks to hyper like the end of the connection. The reason stays here, and
//!   whoever drives the connection takes the stream back and tells the client
//!   ([`Guard::refusal`]).
//!
//! Who knows that a response has ended? Its body: it carries a [`Ticket`](exchange::Ticket), which
//! is dropped with it. hyper flushes what it has buffered before it asks for the next request, and
//! the flush passes through here. The next message is looked at when both have happened.
//!
//! Invariants: no byte reaches hyper that was not vetted; never bytes of two messages; never more
//! than `header_bytes` and one read of 4 KiB are held; a connection that waits holds no buffer.

#![forbid(unsafe_code)]

pub mod chunked;
pub mod exchange;
pub mod field;
pub mod head;
pub mod patience;
mod refusal;
mod stream;
#[cfg(test)]
mod tests;

pub use exchange::{Exchange, Waiting};
pub use head::Limits;
pub use refusal::Refusal;
pub use stream::Guard;
