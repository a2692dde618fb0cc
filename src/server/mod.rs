//! The outside of the node: HTTP/1.1 as clients meet it.
//!
//! What is read: `guard` lets only well-formed messages in; `request` and `accept` say what they
//! ask for, purely. What is answered: `http` chooses the job and the fields, `wire` is the body of a
//! response, `problem` every error and `explain` which error becomes which;
//! `probe` and `waveform` (P) are their documents. `connection` drives one
//! connection from its first byte to its last. For the operator, `shards`, `streams` and `events`
//! are what the shards say, as JSON, and `metrics` (P) as Prometheus reads it; `prefetch` is how sources are asked for ahead; `assets` (P) reads
//! what is asked of the cache, and `tending` has it done. `life` is a shard from its start to its
//! end, with or without a server; `node` puts shards and listeners together.
//!
//! # Threat model
//!
//! Everything a client sends is hostile until it is vetted. What is promised:
//!
//! - A message whose end two parsers could see in two places is refused and its connection is
//!   closed (`guard`); a refusal never reaches a handler.
//! - A client costs at most its buffers: a head of `header_bytes`, one read, and the blocks on
//!   their way to it. It is waited for as long as `guard::patience` says.
//! - A body that is cut ends with an error, never as if it were whole (`wire`).
//! - Errors name the parameter or the source, never a query, a header or an address.

#![forbid(unsafe_code)]

pub mod accept;
pub mod assets;
pub mod connection;
mod demo_origin;
mod events;
mod explain;
pub mod guard;
mod http;
mod life;
mod metrics;
mod node;
mod prefetch;
mod probe;
pub mod problem;
pub mod request;
mod shards;
mod streams;
mod tending;
mod waveform;
pub mod wire;

pub use life::{Cache, Life, Together};
pub use node::{Error, Options, Ready, Tell, run};
pub use probe::json as probe_json;
pub use tending::tend;
