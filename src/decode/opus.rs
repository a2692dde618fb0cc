//! Opus packets to samples, by opus-pure, behind symphonia's own trait.
//!
//! Source: RFC 6716 for packets, RFC 7845 for the header. Whatever rate a stream was made of, it
//! decodes to 48 kHz, and the container counts its frames at that rate.

use opus_pure::{ChannelLayout, MAX_PACKET_SAMPLES, OpusMSDecoder, packet};
use symphonia::core::{
    audio::{AudioBuffer, AudioMut, AudioSpec, Channels, Position},
    codecs::{CodecInfo, audio::AudioCodecParameters},
    errors::{Error as Fault, Result},
};

use super::{
    Error,
    adapter::{Adapter, PacketDecoder},
    mix::default_mask,
};

/// The rate of everything that Opus decodes to.
pub(super) const RATE_HZ: u32 = 48_000;
/// Frames of the longest packet: 120 ms.
pub(super) const PACKET_FRAMES: u64 = MAX_PACKET_SAMPLES as u64;
/// Frames of one channel that there is room for before a packet has come: 20 ms, as most are.
const USUAL_FRAMES: usize = 960;

/// Frames that a packet decodes to, by its first bytes; 0 if it is none.
pub(super) fn frames(packet: &[u8]) -> u64 {
    packet::samples_48k(packet).map_or(0, |frames| frames as u64)
}

/// Where each channel of WAVE's order stands in the order of Vorbis, by how many there are.
const ORDERS: [&[usize]; 8] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 5, 3, 4],
    &[0, 2, 1, 6, 5, 3, 4],
    &[0, 2, 1, 7, 5, 6, 3, 4],
];

/// What the header of a stream says (RFC 7845, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// 1 to 8.
    channels: usize,
    /// Frames that a decoder gives before the first that was meant.
    pub(super) preskip: u16,
    /// Parts of 256 of a decibel.
    gain: i16,
    family: u8,
}

impl Head {
    /// Reads the identification header.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the channels lie as no mapping for listeners has them.
    pub(super) fn parse(packet: &[u8]) -> std::result::Result<Self, Error> {
        let damaged = || Error::damaged("the header of Opus is damaged");
        let head = packet.strip_prefix(b"OpusHead").ok_or_else(damaged)?;
        let &[version, channels, a, b, _, _, _, _, c, d, family, ref mapping @ ..] = head else {
            return Err(damaged());
        };
        if version > 15 {
            return Err(Error::unsupported(format!("opus (version {version} of its header)")));
        }
        if family > 1 {
            return Err(Error::unsupported(format!("opus (channel mapping family {family})")));
        }
        let channels = usize::from(channels);
        let layout = ChannelLayout::surround(channels, family).map_err(|_| damaged())?;
        let usual =
            [&[layout.nb_streams as u8, layout.nb_coupled_streams as u8], &layout.mapping[..]];
        if family == 1 && !mapping.starts_with(&usual.concat()) {
            return Err(Error::unsupported("opus (a channel mapping of its own)"));
        }
        let (preskip, gain) = (u16::from_le_bytes([a, b]), i16::from_le_bytes([c, d]));
        Ok(Self { channels, preskip, gain, family })
    }

    /// The same of a track.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(super) fn of(params: &AudioCodecParameters) -> std::result::Result<Self, Error> {
        Self::parse(params.extra_data.as_deref().unwrap_or_default())
    }

    fn spec(&self) -> AudioSpec {
        let mask = default_mask(self.channels as u16);
        let positions = Position::from_wave_channel_mask(mask).unwrap_or(Position::FRONT_CENTER);
        AudioSpec::new(RATE_HZ, Channels::Positioned(positions))
    }

    fn decoder(&self) -> OpusMSDecoder {
        let decoder = OpusMSDecoder::new(RATE_HZ as i32, self.channels, self.family);
        let mut decoder = decoder.expect("the layout is one of its own");
        for stream in decoder.streams_mut() {
            stream.gain_q8 = self.gain.into();
        }
        decoder
    }
}

/// Decodes Opus.
pub(super) struct Opus {
    head: Head,
    decoder: OpusMSDecoder,
    interleaved: Vec<f32>,
}

impl Opus {
    /// A decoder that has heard nothing.
    ///
    /// # Errors
    /// As [`Head::parse`].
    pub(super) fn new(params: &AudioCodecParameters) -> std::result::Result<Adapter<Self>, Error> {
        let head = Head::of(params)?;
        let opus = Self { head, decoder: head.decoder(), interleaved: Vec::new() };
        Ok(Adapter::new(opus, params, AudioBuffer::new(head.spec(), USUAL_FRAMES)))
    }

    /// Puts what was decoded into planes, in the order of WAVE.
    fn spread(&self, frames: usize, planar: &mut AudioBuffer<f32>) {
        if planar.capacity() < frames {
            *planar = AudioBuffer::new(self.head.spec(), frames);
        }
        planar.clear();
        planar.render_uninit(Some(frames));
        let channels = self.head.channels;
        for (index, from) in ORDERS[channels - 1].iter().enumerate() {
            let plane = planar.plane_mut(index).expect("as many planes as channels");
            let samples = self.interleaved[*from..].iter().step_by(channels);
            for (sample, heard) in plane.iter_mut().zip(samples) {
                *sample = *heard;
            }
        }
    }
}

impl PacketDecoder for Opus {
    const INFO: CodecInfo = CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] };
    const FORGETS_AT_FAULTS: bool = true;

    fn decode(&mut self, packet: &[u8], planar: &mut AudioBuffer<f32>) -> Result<()> {
        // Of no bytes at all it would make up what might have been there.
        let frames = frames(packet) as usize;
        if frames == 0 {
            return Err(Fault::DecodeError("not a packet of opus"));
        }
        // Where the streams of a packet differ in length, nothing of the packet before may be heard.
        self.interleaved.clear();
        self.interleaved.resize(frames * self.head.channels, 0.0);
        match self.decoder.decode(packet, frames, &mut self.interleaved) {
            Ok(count) if count == frames => self.spread(frames, planar),
            Ok(_) => return Err(Fault::DecodeError("a packet of another length than it says")),
            Err(_) => return Err(Fault::DecodeError("a damaged packet")),
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.decoder = self.head.decoder();
    }
}

#[cfg(test)]
mod tests {
    use symphonia::core::{
        audio::{Audio, GenericAudioBufferRef},
        codecs::audio::AudioDecoder,
        packet::PacketRef,
        units::{Duration, Timestamp},
    };

    use super::*;

    /// A header of family 0, or of family 1 with this mapping.
    fn head(channels: u8, gain: i16, mapping: &[u8]) -> Vec<u8> {
        let gain = gain.to_le_bytes();
        let family = u8::from(!mapping.is_empty());
        let fixed = [1, channels, 0x38, 1, 0x80, 0xBB, 0, 0, gain[0], gain[1], family];
        [&b"OpusHead"[..], &fixed, mapping].concat()
    }

    fn opus(head: &[u8]) -> Adapter<Opus> {
        let mut params = AudioCodecParameters::new();
        params.with_extra_data(head.into());
        Opus::new(&params).expect("a header")
    }

    fn decode(opus: &mut Adapter<Opus>, packet: &[u8]) -> Option<Vec<Vec<f32>>> {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        let GenericAudioBufferRef::F32(heard) = opus.decode_ref(&packet).ok()? else {
            panic!("floats");
        };
        Some(heard.iter_planes().map(<[f32]>::to_vec).collect())
    }

    /// Packets of a tone, by the encoder of the same crate.
    fn tones(count: usize) -> Vec<Vec<u8>> {
        let mut encoder =
            opus_pure::OpusEncoder::new(48_000, 1, opus_pure::Application::Audio).unwrap();
        let samples: Vec<f32> = (0..960).map(|frame| (frame as f32 * 0.0577).sin() / 4.0).collect();
        let packet = |_| {
            let mut packet = vec![0; 1500];
            let length = encoder.encode(&samples, 960, &mut packet).unwrap();
            packet.truncate(length);
            packet
        };
        (0..count).map(packet).collect()
    }

    #[test]
    fn a_header_is_read_or_refused_by_name() {
        let stereo = Head::parse(&head(2, -256, &[])).unwrap();
        assert_eq!((stereo.channels, stereo.preskip, stereo.gain), (2, 312, -256));
        let six = Head::parse(&head(6, 0, &[4, 2, 0, 4, 1, 2, 3, 5])).unwrap();
        assert_eq!((six.channels, six.family), (6, 1));
        let refused = |head: &[u8]| Head::parse(head).unwrap_err().to_string();
        let own = "opus (a channel mapping of its own) is not supported";
        assert_eq!(refused(&head(6, 0, &[4, 2, 0, 1, 2, 3, 4, 5])), own);
        assert_eq!(refused(&head(6, 0, &[4])), own);
        let mut ambisonics = head(4, 0, &[]);
        ambisonics[18] = 2;
        assert_eq!(refused(&ambisonics), "opus (channel mapping family 2) is not supported");
        for damaged in [&head(0, 0, &[]), &head(3, 0, &[]), &head(1, 0, &[])[..18], &[]] {
            assert!(matches!(Head::parse(damaged), Err(Error::Damaged { .. })));
        }
    }

    #[test]
    fn every_order_has_each_channel_once() {
        for (index, order) in ORDERS.iter().enumerate() {
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..=index));
        }
    }

    #[test]
    fn the_gain_of_the_header_is_applied() {
        let (mut plain, mut louder) = (opus(&head(1, 0, &[])), opus(&head(1, 1541, &[])));
        for packet in tones(10) {
            let (plain, louder) = (decode(&mut plain, &packet), decode(&mut louder, &packet));
            let (plain, louder) = (plain.unwrap(), louder.unwrap());
            assert!(
                plain[0]
                    .iter()
                    .zip(&louder[0])
                    .all(|(plain, louder)| { (plain * 2.0 - louder).abs() < 1e-4 }),
                "6.02 dB are twice the amplitude"
            );
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error_and_forgets_what_came_before() {
        let packets = tones(20);
        let mut decoder = opus(&head(1, 0, &[]));
        packets[..10].iter().for_each(|packet| assert!(decode(&mut decoder, packet).is_some()));
        assert_eq!(decode(&mut decoder, &[]), None);
        assert_eq!(decode(&mut decoder, &[0xFF; 1]), None);
        let mut fresh = opus(&head(1, 0, &[]));
        for packet in &packets[10..] {
            assert_eq!(decode(&mut decoder, packet), decode(&mut fresh, packet));
        }
    }

    #[test]
    fn frames_are_those_of_the_first_bytes() {
        assert_eq!(
            [0x00, 0x08, 0x18, 0x80, 0x98, 0x99].map(|toc| frames(&[toc])),
            [480, 960, 2880, 120, 960, 1920]
        );
        assert_eq!(
            [frames(&[0x9B, 6]), frames(&[0x9B, 7]), frames(&[0x9B]), frames(&[])],
            [5760, 0, 0, 0]
        );
    }
}
