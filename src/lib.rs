//! Kithara: an audio edge node.
//!
//! It stands between origins that hold audio and clients who want it, as the original bytes from a
//! cache or as decoded PCM of any rate and format. One process, one pinned thread per core, direct
//! I/O through io_uring. This file is the map.
//!
//! # Layers
//!
//! A layer uses lower ones only; siblings meet above. `tests/tidy.rs` holds every file to it.
//!
//! | layer | module | owns |
//! |---|---|---|
//! | 0 | [`bufpool`] | all buffer memory of a core: aligned blocks on loan from a slab |
//! | 0 | [`demo`] | the material of `serve --demo` |
//! | 1 | [`storage`] | the bytes of resources: volumes, journals, range sets, direct I/O, hot chunks in memory |
//! | 2a | [`runtime`] | executors, task queues, mailboxes, timers, sockets |
//! | 2b | [`net`], [`assets`] | the HTTP client to origins; the segment cache and what leaves it |
//! | 3 | [`stream`] | a byte source with a position: what is resident, read-ahead, epochs; a tape of parts |
//! | 4 | [`decode`], [`encode`] | compressed bytes to frames; frames to an output format |
//! | 5 | [`file`](mod@file), [`hls`] | how a plain file is fetched; what a presentation of HLS is, and how its segments are |
//! | 6 | [`pcm`] | a source as a timeline of exact frames |
//! | 7 | [`shard`] | one core's world: the one struct that holds all of the above |
//! | 8 | [`prefetch`] | what is to be in the cache before anybody asks |
//! | 9 | [`server`], then [`config`], [`cli`] | the outside |
//!
//! `glommio` is named only in `runtime/` and `storage/dma.rs`, `hyper` only in `runtime`, `net` and
//! `server`, `symphonia` only in `decode`, `rubato` in one file of it. A file whose docs say `Pure:`
//! decides and does nothing else: it gets bytes and times as arguments.
//!
//! # The life of a request
//!
//! `GET /v1/pcm?src=demo:song.mp3&rate=48000`, cold: down once, then the bytes come up once.
//!
//! ```text
//! server/http - server/request(P) - shard/route(P) -[runtime/mailbox, only if another core owns it]
//!   shard/serve, shard/pcm   admits; opens, and finds out what the source is, once for all
//!     file/open         a name becomes a source: assets/store, assets/freshness(P)
//!       file/inquiry      not here, or stale: the origin is asked once for all who wait
//!       file/fill         FillPermit - file/plan(P)   one fill, all others wait on its bytes
//!       file/refill       what the disk lost since is fetched again
//!       net/download      net/client - net/retry(P), net/redirect(P)
//!         body -> pool block -> storage volume -> catalog(P), journal, range set(P)
//!     shard/index       where packets lie and how many there are, from beside the source or by a scan
//!     stream/reader     the one place that waits for bytes
//!     shard/listen      piece by piece of a timeline that all who want it share: pcm/shared
//!       shard/decoding    who is near goes on, else one begins; in turns by lead: shard/schedule(P)
//!         pcm/maker         decode/coroutine: demux, decode, trim; then mix(P), resample, quantise(P)
//!     shard/encoding    of a transcode: listens likewise, and writes what it encodes beside the source
//!       shard/stored      where who comes later finds it, with length and ranges: stream/reader
//!   shard/outlet      the one place that waits for the client
//! ```
//!
//! Where the source is a playlist, `shard/presentation` reads it with those that it leads to (`hls/playlist`(P)), and
//! makes of the chosen variant (`hls/choice`(P)) a tape of its segments (`hls/parts`(P), `stream/tape`(P)). In the place
//! of `stream/reader` stands `hls/reader`, which has each segment from the shard that owns it (`shard/segments`), as a
//! client would; `shard/ahead` has those to come fetched by then (`hls/schedule`(P)). Where the variant is not named,
//! `shard/choosing` chooses one for each of them by what came so far (`hls/abr`(P), `shard/lines`(P)), and by
//! `shard/adaptive` a listener goes from one variant's timeline to the other's. Who plays a playlist by itself,
//! through `/o/`, has what follows fetched by `shard/onward`.
//!
//! Warm: the same files without `net`, and what is hot without the disk. A client that goes away drops
//! its response; that drops the session, its decoder and its lease, and the fill goes on only while
//! others want it.
//!
//! # Invariants, each an absence
//!
//! * No lock crosses a core but that of a buffer pool, which takes back blocks dropped elsewhere.
//! * No state has two owners: what crosses a core is a message or a reference-counted block.
//! * No thread waits: decoders are coroutines that suspend when their bytes are not there.
//! * No allocation hides behind an exhausted budget: the caller waits, sheds or refuses.
//! * No byte from disk is used before its checksum, seeded with its identity, was verified.
//! * No bytes of two generations of a resource meet in one response. Where an origin proves no version, one
//!   answer of it is a generation; what had to be joined of several (`file/fill`) is never kept.
//! * No error looks like an end: what cannot be completed ends short, and the client sees it.
//! * No queue, table or buffer is without a bound, and the bound has a name.
//! * No promise is guessed: a length goes out only where it is known for sure.
//!
//! Some crates bring locks of their own. At none of them a shard waits for another: glommio's list of
//! executors is read at each spawn, and written only while a shard starts or ends; its channel of
//! blocking calls (flume, spin) lies between a shard and its own threads; its wake-ups from outside
//! (crossbeam) lock only where a thread blocks on them, and none does; hyper's channels (tokio) join
//! the two ends of a connection, which lives on one shard; prometheus-client (parking_lot) locks metrics that
//! threads share, and a scrape has its own; crc-fast has spin for builds without std.
//!
//! # House rules
//!
//! 1. **One owner.** Every state has one struct in one shard. What crosses a core is a message.
//! 2. **Look down.** Use lower layers only; siblings meet above.
//! 3. **Decide purely, act plainly.** Decisions get bytes and times and return what to do. I/O
//!    files do it.
//! 4. **Two waits.** Wait for bytes in one place, for the client in one place.
//! 5. **After an await the world has moved.** No borrow across it; check again what was checked.
//! 6. **Everything has a bound,** the bound has a name and a unit, and a budget is their visible sum.
//! 7. **One word per thing,** the field's word, unit last.
//! 8. **Reserve, then change.** What can fail comes first; the change itself cannot.
//! 9. **An error variant is a decision of the caller.** Detail is logged once, where it broke.
//! 10. **Assert what must be so,** where it is made and where it is used. Bytes from outside never
//!     panic.
//! 11. **Comments say why; numbers say how they were measured.**
//! 12. **Second use before abstraction; enum before trait; delete before add.** Break the code once
//!     before trusting its test.

pub mod assets;
pub mod bufpool;
pub mod cli;
pub mod config;
pub mod decode;
pub mod demo;
pub mod encode;
pub mod file;
pub mod hls;
pub mod net;
pub mod pcm;
pub mod prefetch;
pub mod runtime;
pub mod server;
pub mod shard;
pub mod storage;
pub mod stream;
