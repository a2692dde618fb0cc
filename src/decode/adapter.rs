//! Decoders of other crates behind symphonia's own trait.
//!
//! Whoever plays packets knows that trait alone; a codec says here only what it does its own way.

use symphonia::core::{
    audio::{AsGenericAudioBufferRef, AudioBuffer, GenericAudioBufferRef},
    codecs::{
        CodecInfo,
        audio::{AudioCodecParameters, AudioDecoder, FinalizeResult},
    },
    errors::Result,
    packet::PacketRef,
};

/// What decodes the packets of one codec.
pub(super) trait PacketDecoder: Send + Sync {
    /// What the codec is called.
    const INFO: CodecInfo;
    /// Whether one that stumbles over a packet knows nothing of what came before the next.
    const FORGETS_AT_FAULTS: bool;

    /// Decodes one packet into `planar`, whose planes are channels in the order of WAVE. What it holds
    /// after a fault nobody hears.
    fn decode(&mut self, packet: &[u8], planar: &mut AudioBuffer<f32>) -> Result<()>;

    /// Forgets all that it has heard.
    fn reset(&mut self);
}

/// One of them as symphonia's trait has it.
pub(super) struct Adapter<D> {
    decoder: D,
    params: AudioCodecParameters,
    planar: AudioBuffer<f32>,
}

impl<D> Adapter<D> {
    /// `decoder`, of a track that has `params`. What it is to decode to, `planar` says before any packet
    /// came.
    pub(super) fn new(decoder: D, params: &AudioCodecParameters, planar: AudioBuffer<f32>) -> Self {
        Self { decoder, params: params.clone(), planar }
    }
}

impl<D: PacketDecoder> AudioDecoder for Adapter<D> {
    fn reset(&mut self) {
        self.decoder.reset();
    }

    fn codec_info(&self) -> &CodecInfo {
        &D::INFO
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        if let Err(fault) = self.decoder.decode(packet.data, &mut self.planar) {
            self.planar.clear();
            if D::FORGETS_AT_FAULTS {
                self.decoder.reset();
            }
            return Err(fault);
        }
        Ok(self.planar.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.planar.as_generic_audio_buffer_ref()
    }
}
