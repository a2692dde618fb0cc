//! Stories: a node as a process of its own, origins that behave as told, clients that read bytes.
//!
//! The vocabulary is four files: [`origin`] (what the node fetches from), [`hls`] (presentations that it may
//! have), [`node`] (the binary under test) and [`client`] (what a user sees). A story waits for events and never sleeps for
//! luck.

// Client, origin and stories are ordinary threads; nobody outside sees or documents the vocabulary.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, missing_docs, unreachable_pub)]

mod client;
mod hls;
mod node;
mod origin;
mod wav;

mod adaptive;
mod caching;
mod damage;
mod encrypted;
mod errors;
mod fetching;
mod formats;
mod keys;
mod listening;
mod long;
#[cfg(any(feature = "aac", feature = "mp3"))]
mod lossy;
mod media;
mod metrics;
mod missing;
mod objects;
mod offline;
mod onward;
mod operating;
mod playlists;
mod prefetching;
mod presentations;
mod process;
mod ranges;
mod real_presentations;
mod restarting;
mod sealed;
mod stretches;
mod tagging;
mod tending;
mod tracks;
mod transcoding;
mod variants;
mod waiting;
