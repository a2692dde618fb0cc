//! What stands in the place of packets that are lost or do not decode: silence of their length.

use super::player::{Player, Priming};
use crate::decode::{Error, demux::Lost, opening};

impl Player<'_, '_> {
    /// Packets are gone: silence in their place, and behind it a decoder that knows nothing of what
    /// came before.
    pub(super) fn lose(&mut self, lost: Lost) -> Result<(), Error> {
        let frames = self.frames_of(lost.frames, lost.rate_hz);
        let end = u64::try_from(self.clock).unwrap_or(0).saturating_add(frames);
        if opening::is_plausible(self.inside, end, self.span.to) {
            self.miss_all(lost.packets, frames, "the bytes of packets are damaged");
        } else {
            self.miss(0, "packets say that they lie where the track does not reach");
        }
        self.go_over(lost.packets)
    }

    /// The same of packets that never came, of which others say how long they lasted.
    pub(super) fn lose_part(&mut self, packets: u64, frames: u64) -> Result<(), Error> {
        self.miss_all(packets, frames, "a segment is missing, or is no media");
        self.go_over(packets)
    }

    fn go_over(&mut self, packets: u64) -> Result<(), Error> {
        self.packet = self.packet.saturating_add(packets);
        self.lead_to = 0;
        self.renew()?;
        if self.priming == Priming::Link {
            // The link started with what is lost.
            self.priming = Priming::Loss;
        }
        self.prime_again();
        if let Some(skip) = &mut self.skip {
            *skip = skip.anew(skip.preroll());
            (self.back, self.next_back, self.is_behind_loss) = (None, None, true);
        }
        Ok(())
    }

    /// Behind a packet that was not decoded, the next of Vorbis has nothing to overlap.
    pub(super) fn prime_again(&mut self) {
        if self.known.codec == "vorbis" && self.priming == Priming::Done {
            self.decoder.reset();
            self.priming = Priming::Loss;
        }
    }

    /// A packet of `nominal` frames did not decode: silence of its length.
    pub(super) fn miss(&mut self, nominal: u64, why: &str) {
        self.miss_all(1, nominal, why);
    }

    /// So many packets, of `frames` in all, did not decode.
    fn miss_all(&mut self, packets: u64, frames: u64, why: &str) {
        if !self.is_preroll {
            self.count_undecoded(packets, why);
        }
        let frames = i64::try_from(frames).unwrap_or(i64::MAX);
        self.put_silence(frames);
    }

    fn count_undecoded(&mut self, packets: u64, why: &str) {
        let undecoded = &self.inside.desk.undecoded;
        undecoded.set(undecoded.get().saturating_add(packets));
        if self.first_fault.is_none() {
            tracing::debug!(why, "a packet did not decode");
            self.first_fault = Some(why.to_owned());
        }
    }
}
