//! One core's world: the one struct that holds all layers, and how requests come to it.
//!
//! A request enters on the core whose listener accepted its connection (the *front*). If another
//! core owns the source (the *owner*), the request crosses once by mailbox, and reference-counted
//! blocks come back under credits, which return when the client's socket has written them. The owner alone fetches, stores, reads and decodes.
//!
//! A prefetch is a session whose client is the node itself: steps come back instead of blocks, and
//! the credit of each returns when the rate of the origin allows the next one (`prefetch`).
//!
//! What a source is, is found out once for all who ask (`understand`, `index`). Who wants PCM (`pcm`) or
//! an outline (`waveform`) listens to a timeline (`listen`), which a decoder makes for all of them
//! (`decoding`). Who wants a `transcode` reads what an encoder that listens to one wrote beside the source:
//! now (`encoding`) or at another time (`stored`).
//!
//! Where the source is a playlist (`presentation`), its segments are sessions at the shards that own them
//! (`segments`), begun before they are wanted (`ahead`), in variants (`rungs`) that may change on the way (`adaptive`), as one is
//! chosen for each (`choosing`, `plan`). What was read of a playlist is kept for others (`playlists`). Who plays one by itself,
//! through `/o/`, has the segments behind the one that it asks for fetched as well (`onward`, `chains`).
//!
//! What comes over the lines to origins is told to the one shard that has the estimator of each, and what is to be
//! expected of them to all (`lines`, `line_news`).
//!
//! Each shard keeps the sessions that it serves in a `register`, where the operator finds them and
//! commands reach them, counts what it did (`stats`, of which a `survey` asks all), and tells what happens by its `feed` to whoever listens on any shard. What the
//! operator wants of the cache is a `chore` for the shard that owns the volume.
//!
//! ```text
//! server -> Shard::request -+- owner is this shard ---------> serve -> Way::Local
//!                           `- Mail::Open -> owner's desk --> serve -> Way::Remote
//! ```

#![forbid(unsafe_code)]

mod adaptive;
mod ahead;
mod asked;
mod chains;
mod choosing;
mod chore;
mod command;
mod cut;
mod decoding;
mod desk;
mod disk;
mod encoding;
mod feed;
mod gate;
mod index;
mod job;
mod keys;
mod line_news;
mod lines;
mod listen;
mod mail;
mod notice;
mod onward;
mod outlet;
mod pace;
mod pcm;
mod plan;
mod playlists;
mod prefetch;
mod presentation;
mod promises;
mod reclaim;
mod register;
mod returns;
mod route;
mod rungs;
mod schedule;
mod segments;
mod serve;
mod shares;
mod stats;
mod stored;
mod survey;
#[cfg(test)]
mod tests;
mod thrift;
mod transcode;
mod turns;
mod understand;
mod unwrapping;
mod upkeep;
mod waveform;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use asked::Asked;
use chore::CHORES_PER_PAIR;
pub use chore::{Chore, Done, Reach, Stored, Undone};
use command::COMMANDS_PER_PAIR;
pub use cut::{Cut, Watch};
pub use desk::{Desk, Prefetching, Response, Session};
pub use disk::ShardDisk;
use encoding::Encodings;
use feed::Feed;
pub use feed::Listening;
pub use gate::{Gate, Pass};
pub use job::{
    Abort, Ahead, Answer, By, Cached, Check, Job, ObjectHead, Part, PcmHead, PcmWanted, Prefetched,
    Probed, Progress, Refusal, Unkept, Wanted, Waveform, WaveformWanted,
};
use keys::Keys;
use line_news::LineNews;
pub use line_news::tell_lines;
pub use mail::{MAILBOX, Mail};
pub use notice::{End, Hearing, Notice, Reason, What, shown};
use onward::Onward;
pub use outlet::{Sent, Step};
use playlists::Playlists;
pub use prefetch::STEP_BYTES;
pub use presentation::Which;
use promises::Promises;
pub use reclaim::reclaim;
use register::Register;
pub use register::{Command, Listed, NoSessionId, SessionId, Unheard};
pub use returns::returns;
pub use route::Route;
pub use shares::Promised;
use shares::Shares;
pub use stats::{Decoded, Refused, Stats, Transcodes};
pub use survey::Report;
use survey::Survey;
use turns::Turns;
use unwrapping::Unwrapping;
pub use upkeep::upkeep;

use crate::{
    bufpool::BufPool,
    decode::Stacks,
    file::Files,
    hls::{self, KeyProcessor, playlist},
    net::Complaints,
    pcm::Renditions,
    runtime::{self, ShardId, event::Event, mailbox::Mailbox},
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
    /// Decoded timelines that are being shared.
    pub renditions: Renditions,
    /// Encoders that are under way.
    encodings: Encodings,
    /// Stacks for decoders.
    pub stacks: Stacks,
    /// Playlists as they were read.
    playlists: Playlists,
    /// What follows segments that clients ask for.
    onward: Onward,
    /// Of encrypted segments.
    keys: Keys,
    /// What comes for a key and is none yet.
    unwrapping: Unwrapping,
    /// What the lines to origins carry.
    lines: Rc<LineNews>,
    /// What was said of presentations of which segments are missing.
    complaints: RefCell<Complaints>,
    /// What it was told.
    options: Options,
    /// Sessions that cross to other shards, and theirs that cross to this one.
    pub desk: Desk,
    /// The way to the other shards.
    pub mailbox: Rc<Mailbox<Mail>>,
    /// Open while the shard takes new work.
    pub gate: Gate,
    /// Where its clients come in, and the operator.
    pub connections: Gate,
    /// Ends the responses that the end of the node does not wait for.
    pub cut: Cut,
    /// When it began.
    began: Instant,
    /// Memory that running sessions may count on.
    promises: Promises,
    /// Time of the core that they may count on.
    shares: Shares,
    /// Counters.
    pub stats: RefCell<Stats>,
    /// What the other shards said of theirs.
    survey: Survey,
    /// The sessions that this shard serves.
    register: Register,
    /// Commands to the sessions of others.
    commands: Asked<command::Outcome>,
    /// Chores of this shard's operator on the cache.
    chores: Asked<chore::Outcome>,
    /// What happens, for who listens.
    feed: Feed,
    /// A session or a decoder ended.
    ended: Event,
    /// Turns of sessions that have not yet sent a block.
    first: Turns,
    /// Turns of all others.
    decode: Turns,
}

/// How a shard serves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How far ahead of a stream its bytes are fetched, in bytes.
    pub read_ahead_bytes: u64,
    /// How long the first who asks for a source of unknown length waits for its packets to be counted.
    pub scan_wait: Duration,
    /// A source that is longer is counted only where it is here already, in bytes.
    pub scan_bytes: u64,
    /// What decoding at pace may take of the core; 1 is all of it.
    pub decode_share: f64,
    /// What playlists may take.
    pub playlists: playlist::Limits,
    /// What of a presentation one part may take.
    pub parts: hls::PartLimits,
    /// How far ahead of a listener segments are fetched.
    pub reach: hls::Reach,
}

impl Shard {
    /// Puts the layers together.
    pub fn new(
        route: Route,
        pool: BufPool,
        files: Files,
        stacks: Stacks,
        options: Options,
        mailbox: Mailbox<Mail>,
        key_processor: Option<Arc<dyn KeyProcessor>>,
    ) -> Rc<Shard> {
        let mailbox = Rc::new(mailbox);
        let feed = Feed::new(Rc::clone(&mailbox), usize::from(route.shards));
        let observer = feed.clone();
        stacks.keep_spares(&pool);
        let lines = LineNews::new(mailbox.shard(), usize::from(route.shards));
        let watching = Rc::clone(&lines);
        files.watch(move |url| watching.watch(url));
        files.store().observe(move |url, news| observer.tell(|| notice::of_asset(url, news)));
        Rc::new(Shard {
            id: mailbox.shard(),
            route,
            promises: Promises::new(serve::promised_at_most(&pool)),
            shares: Shares::new(options.decode_share),
            renditions: Renditions::new(&pool),
            encodings: Encodings::default(),
            pool,
            files,
            stacks,
            playlists: Playlists::default(),
            onward: Onward::new(usize::from(route.shards)),
            keys: Keys::default(),
            unwrapping: Unwrapping::new(key_processor),
            lines,
            complaints: RefCell::default(),
            options,
            desk: Desk::new(usize::from(route.shards)),
            gate: Gate::default(),
            connections: Gate::default(),
            began: runtime::now(),
            cut: Cut::default(),
            stats: RefCell::default(),
            survey: Survey::new(usize::from(route.shards)),
            register: Register::new(mailbox.shard()),
            commands: Asked::new(usize::from(route.shards), COMMANDS_PER_PAIR),
            chores: Asked::new(usize::from(route.shards), CHORES_PER_PAIR),
            first: Turns::default(),
            decode: Turns::default(),
            ended: Event::new(),
            feed,
            mailbox,
        })
    }

    /// Takes no new work any more.
    pub fn drain(&self) {
        self.gate.close();
        self.feed.tell(|| What::DrainBegun);
        self.feed.close();
    }

    /// Tells who listens that something happened.
    pub fn tell(&self, what: impl FnOnce() -> What) {
        self.feed.tell(what);
    }

    /// Counts what was turned away, and says so.
    pub fn refused(&self, reason: Reason) {
        self.stats.borrow_mut().refused.count(reason);
        self.feed.tell(|| What::Refused { reason });
    }
}
