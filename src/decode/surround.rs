//! AAC-LC of more than two channels, or whose channels a program config element names, by syom.
//!
//! symphonia decodes neither; of all else it is the faster one. The channels come as the configuration has
//! them, each with a label, and go where a track of WAVE has them.

use symphonia::core::{
    audio::{AudioBuffer, AudioMut, AudioSpec, Channels, Position},
    codecs::{
        CodecInfo,
        audio::{AudioCodecParameters, well_known::CODEC_ID_AAC},
    },
    errors::{Error as Fault, Result},
};
use syom::{Channel, DecodeOptions, Decoder, Frame};

use super::{
    adapter::{Adapter, PacketDecoder},
    mp4,
};

/// Frames that every packet decodes to.
const PACKET_FRAMES: usize = 1024;
/// The longest packet, for each channel (ISO/IEC 14496-3, 4.5.3.1).
const CHANNEL_BYTES: usize = 6144 / 8;

/// The parameters of a track of this configuration, where it is decoded here. `None`: it is one of one or two
/// channels, or none of ours.
pub(super) fn params_of(config: &[u8]) -> Option<AudioCodecParameters> {
    let speakers = mp4::speakers(config)?;
    if speakers.count_ones() <= 2 && !mp4::has_program(config) {
        return None;
    }
    let mut params = AudioCodecParameters::new();
    params
        .for_codec(CODEC_ID_AAC)
        .with_sample_rate(mp4::core_rate_hz(config)?)
        .with_channels(Channels::Positioned(Position::from_wave_channel_mask(speakers)?))
        .with_extra_data(config.into());
    Some(params)
}

/// Decodes AAC-LC of many channels.
pub(super) struct Surround {
    config: Box<[u8]>,
    rate_hz: u32,
    /// Speakers of the track, in the words of WAVE.
    speakers: u32,
    decoder: Decoder,
}

impl Surround {
    /// A decoder that has heard nothing. `None`: the parameters are not those of [`params_of`].
    pub(super) fn new(params: &AudioCodecParameters) -> Option<Adapter<Self>> {
        let config = params.extra_data.clone().filter(|_| params.codec == CODEC_ID_AAC)?;
        let known = params_of(&config)?;
        let (rate_hz, layout) = (known.sample_rate?, known.channels?);
        let speakers = mp4::speakers(&config)?;
        let planar = AudioBuffer::new(AudioSpec::new(rate_hz, layout), PACKET_FRAMES);
        let surround = Self { decoder: decoder(&config), config, rate_hz, speakers };
        Some(Adapter::new(surround, params, planar))
    }
}

/// One that has heard nothing.
fn decoder(config: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(DecodeOptions::unbounded());
    // What it refuses to be told, it refuses again with each packet.
    if let Err(fault) = decoder.set_asc(config) {
        tracing::debug!(%fault, "a configuration of AAC");
    }
    decoder
}

impl PacketDecoder for Surround {
    const INFO: CodecInfo =
        CodecInfo { short_name: "aac", long_name: "Advanced Audio Coding", profiles: &[] };
    const FORGETS_AT_FAULTS: bool = true;

    fn decode(&mut self, packet: &[u8], planar: &mut AudioBuffer<f32>) -> Result<()> {
        if packet.len() > CHANNEL_BYTES * self.speakers.count_ones() as usize {
            return Err(Fault::DecodeError("a packet that is too long"));
        }
        let (rate_hz, speakers) = (self.rate_hz, self.speakers);
        let mut is_whole = false;
        let decoded = self.decoder.decode_au(packet, |frame| {
            is_whole = frame.samples == PACKET_FRAMES
                && frame.sample_rate == rate_hz
                && place(&frame, speakers, planar);
            Ok(())
        });
        match decoded {
            Ok(()) if is_whole => Ok(()),
            Ok(()) => Err(Fault::DecodeError("a packet of another shape than the first")),
            Err(_) => Err(Fault::DecodeError("a damaged packet")),
        }
    }

    fn reset(&mut self) {
        self.decoder = decoder(&self.config);
    }
}

/// Puts each channel where it is of a track of these speakers; says whether these are all it has.
fn place(frame: &Frame<'_>, speakers: u32, planar: &mut AudioBuffer<f32>) -> bool {
    planar.clear();
    // What is not written to is not heard: all channels come, or it is a fault.
    planar.render_uninit(Some(PACKET_FRAMES));
    let mut left = speakers;
    for (label, samples) in frame.meta.labels().zip(frame.planar) {
        let speaker = speaker(label);
        if left & speaker == 0 {
            return false;
        }
        left &= !speaker;
        // Lower bits are channels before it.
        let at = (speakers & (speaker - 1)).count_ones() as usize;
        match planar.plane_mut(at).filter(|plane| plane.len() == samples.len()) {
            Some(plane) => plane.copy_from_slice(samples),
            None => return false,
        }
    }
    left == 0
}

/// The speaker of a channel in the words of WAVE. One that has no other label has low frequencies, if the
/// configuration was one that we know.
fn speaker(label: Channel) -> u32 {
    match label {
        Channel::FrontLeft => 0x1,
        Channel::FrontRight => 0x2,
        Channel::FrontCenter => 0x4,
        Channel::BackLeft => 0x10,
        Channel::BackRight => 0x20,
        Channel::BackCenter => 0x100,
        Channel::SideLeft => 0x200,
        Channel::SideRight => 0x400,
        _ => 0x8,
    }
}
