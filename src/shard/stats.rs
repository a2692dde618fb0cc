//! Counters of one shard: plain numbers, which it alone changes. Who wants them asks by mailbox (`survey`).

use std::time::Duration;

use super::Reason;

/// Counters of one shard.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Connections that were taken.
    pub connections: u64,
    /// Sessions begun, by what they asked for: PCM, original bytes, a probe, a prefetch, an outline, a
    /// transcode.
    pub sessions: [u64; 6],
    /// What became of transcodes.
    pub transcodes: Transcodes,
    /// Audio that was decoded.
    pub decoded: Decoded,
    /// Frames of PCM made.
    pub frames: u64,
    /// Body bytes sent.
    pub bytes: u64,
    /// Packets that did not decode and became silence.
    pub undecoded_packets: u64,
    /// Bodies that ended short because their source failed.
    pub aborted: u64,
    /// Bytes that were fetched for prefetches and no client.
    pub prefetched_bytes: u64,
    /// Sources that could not be prefetched, each time one was tried.
    pub prefetch_failures: u64,
    /// Playlists that were read, each time that one was not kept as it was read before.
    pub playlists_read: u64,
    /// Segments of presentations that could not be had and became silence, each time that one was wanted.
    pub missing_segments: u64,
    /// Times that another variant of a presentation was heard than before.
    pub variant_switches: u64,
    /// Sessions that the operator ended.
    pub cancelled: u64,
    /// Times that memory went back to the system.
    pub trims: u64,
    /// What was refused.
    pub refused: Refused,
}

/// What became of transcodes, those of sessions that wanted more than a head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transcodes {
    /// Encoders that began.
    pub begun: u64,
    /// Sessions that joined one which was under way.
    pub joined: u64,
    /// What encoders made that stays in the cache.
    pub kept: u64,
    /// Sessions that were given what had been kept.
    pub reused: u64,
}

/// What was refused, by the bound that was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Sessions, for want of memory.
    pub memory: u64,
    /// Sessions, for want of time of the core.
    pub decode_share: u64,
    /// Sessions, for want of a slot at the shard that owns their source.
    pub slots: u64,
    /// Sessions, because the shard was draining.
    pub draining: u64,
    /// Connections above their limit.
    pub connections: u64,
}

impl Refused {
    pub(super) fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Memory => &mut self.memory,
            Reason::DecodeShare => &mut self.decode_share,
            Reason::Slots => &mut self.slots,
            Reason::Draining => &mut self.draining,
            Reason::Connections => &mut self.connections,
        } += 1;
    }
}

/// Audio that decoders made, by codec: once for all who heard it, and nothing that was only decoded to make
/// a decoder ready, or is silence in the place of what did not decode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    by_codec: Vec<(&'static str, Duration)>,
}

impl Decoded {
    /// Adds what a decoder of `codec` made.
    pub fn add(&mut self, codec: &'static str, audio: Duration) {
        match self.by_codec.iter_mut().find(|(known, _)| *known == codec) {
            Some((_, sum)) => *sum += audio,
            // As many as there are decoders in this build.
            None => self.by_codec.push((codec, audio)),
        }
    }

    /// What was made, a codec each, in the order in which they came.
    pub fn by_codec(&self) -> &[(&'static str, Duration)] {
        &self.by_codec
    }
}
