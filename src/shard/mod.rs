//! One core's world: the one struct that holds all layers, and how requests come to it.
//!
//! A request enters on the core whose listener accepted its connection (the *front*). If another
//! core owns the source (the *owner*), the request crosses once by mailbox, and reference-counted
//! blocks come back under credits. The owner alone fetches, stores, reads and decodes.
//!
//! ```text
//! server -> Shard::request -+- owner is this shard ---------> serve -> Outlet::Local
//!                           `- Mail::Open -> owner's desk --> serve -> Outlet::Remote
//! ```

#![forbid(unsafe_code)]

mod desk;
mod gate;
mod job;
mod mail;
mod outlet;
mod route;
mod schedule;
mod serve;
mod turns;

use std::{cell::RefCell, rc::Rc};

pub use desk::{Desk, Response};
pub use gate::{Gate, Pass};
pub use job::{Abort, Answer, Cached, Job, ObjectHead, Part, PcmHead, Refusal};
pub use mail::{MAILBOX, Mail};
pub use route::Route;
use turns::Turns;

use crate::{
    bufpool::BufPool,
    decode::Stacks,
    file::Files,
    runtime::{ShardId, mailbox::Mailbox},
};

/// Everything one core owns. Nothing in here is `Send`; other shards reach it by mailbox only.
pub struct Shard {
    /// Which core.
    pub id: ShardId,
    /// Which shard owns what.
    pub route: Route,
    /// All buffer memory of this core.
    pub pool: BufPool,
    /// The sources, the cache under them and the connections to their origins.
    pub files: Files,
    /// Stacks for decoders.
    pub stacks: Stacks,
    /// How far ahead of a stream its bytes are fetched, in bytes.
    pub read_ahead_bytes: u64,
    /// Sessions that cross to other shards, and theirs that cross to this one.
    pub desk: Desk,
    /// The way to the other shards.
    pub mailbox: Rc<Mailbox<Mail>>,
    /// Open while the shard takes new work.
    pub gate: Gate,
    /// Counters.
    pub stats: RefCell<Stats>,
    /// Turns of sessions that have not yet sent a block.
    first: Turns,
    /// Turns of all others.
    decode: Turns,
}

/// Counters of one shard.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Sessions begun, by what they asked for: PCM, original bytes, a probe.
    pub sessions: [u64; 3],
    /// Frames of PCM sent.
    pub frames: u64,
    /// Body bytes sent.
    pub bytes: u64,
    /// Packets that did not decode and became silence.
    pub undecoded_packets: u64,
    /// Bodies that ended short.
    pub aborted: u64,
    /// Sessions refused for want of memory.
    pub refused: u64,
}

/// The layers of a shard, before it is one.
pub struct Parts {
    /// See [`Shard::id`].
    pub id: ShardId,
    /// See [`Shard::route`].
    pub route: Route,
    /// See [`Shard::pool`].
    pub pool: BufPool,
    /// See [`Shard::files`].
    pub files: Files,
    /// See [`Shard::stacks`].
    pub stacks: Stacks,
    /// See [`Shard::read_ahead_bytes`].
    pub read_ahead_bytes: u64,
    /// See [`Shard::mailbox`].
    pub mailbox: Mailbox<Mail>,
}

impl Shard {
    /// Puts the layers together.
    pub fn new(parts: Parts) -> Rc<Shard> {
        Rc::new(Shard {
            id: parts.id,
            route: parts.route,
            pool: parts.pool,
            files: parts.files,
            stacks: parts.stacks,
            read_ahead_bytes: parts.read_ahead_bytes,
            desk: Desk::new(usize::from(parts.route.shards)),
            mailbox: Rc::new(parts.mailbox),
            gate: Gate::default(),
            stats: RefCell::default(),
            first: Turns::default(),
            decode: Turns::default(),
        })
    }
}
