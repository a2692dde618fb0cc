//! MP3 frames to samples, by nanomp3: an eighth faster than symphonia's decoder, so it stands in
//! for it behind symphonia's own trait.

use nanomp3::{DecodeError, MAX_SAMPLES_PER_FRAME};
use symphonia::core::{
    audio::{Audio, AudioBuffer, AudioMut, AudioSpec, Channels, Position},
    codecs::{CodecInfo, audio::AudioCodecParameters},
    errors::{Error as Fault, Result},
};

use super::{
    adapter::{Adapter, PacketDecoder},
    headers::Header,
};

/// Samples of one channel in the longest frame.
const FRAME_SAMPLES: usize = MAX_SAMPLES_PER_FRAME / 2;

/// Decodes MP3, one frame per packet.
///
/// A frame whose bit reservoir lies in frames that were not heard is an error like a damaged one: a
/// stream that was cut out of another begins so. What it holds itself is kept for the next frame.
pub(super) struct Mp3 {
    decoder: Box<nanomp3::Decoder>,
    interleaved: Box<[f32; MAX_SAMPLES_PER_FRAME]>,
}

impl Mp3 {
    /// A decoder that has heard nothing.
    pub(super) fn new(params: &AudioCodecParameters) -> Adapter<Self> {
        let interleaved = Box::new([0.0; MAX_SAMPLES_PER_FRAME]);
        let planar = stated(params)
            .map_or_else(AudioBuffer::default, |spec| AudioBuffer::new(spec, FRAME_SAMPLES));
        Adapter::new(Self { decoder: Box::default(), interleaved }, params, planar)
    }
}

impl PacketDecoder for Mp3 {
    const INFO: CodecInfo =
        CodecInfo { short_name: "mp3", long_name: "MPEG Audio Layer 3", profiles: &[] };
    const FORGETS_AT_FAULTS: bool = false;

    fn decode(&mut self, packet: &[u8], planar: &mut AudioBuffer<f32>) -> Result<()> {
        // It looks for frames in whatever it gets; a packet is one, and what follows it is not.
        let header = Header::parse(packet).ok_or(Fault::DecodeError("no frame header"))?;
        let frame = packet.get(..header.bytes).ok_or(Fault::DecodeError("the frame is cut off"))?;
        let (_, decoded) = self.decoder.decode(frame, &mut self.interleaved[..]);
        let info = match decoded {
            Ok(info) => info,
            Err(DecodeError::ReservoirUnavailable(_)) => {
                return Err(Fault::DecodeError("a frame without its bit reservoir"));
            }
            Err(DecodeError::UnsupportedLayer(_)) => return Err(Fault::DecodeError("not layer 3")),
            Err(_) => return Err(Fault::DecodeError("a damaged frame")),
        };
        let spec = AudioSpec::new(info.sample_rate, layout(info.channels));
        if planar.is_unused() || *planar.spec() != spec {
            *planar = AudioBuffer::new(spec, FRAME_SAMPLES);
        }
        planar.clear();
        planar.render_uninit(Some(info.samples_produced));
        match info.channels {
            nanomp3::Channels::Mono => {
                let plane = planar.plane_mut(0).expect("mono has one plane");
                plane.copy_from_slice(&self.interleaved[..plane.len()]);
            }
            nanomp3::Channels::Stereo => {
                let (left, right) = planar.plane_pair_mut(0, 1).expect("stereo has two planes");
                let pairs = self.interleaved.as_chunks::<2>().0;
                for ((left, right), pair) in left.iter_mut().zip(right).zip(pairs) {
                    [*left, *right] = *pair;
                }
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self.decoder = nanomp3::Decoder::new();
    }
}

/// What a frame decodes to by what is known before.
fn stated(params: &AudioCodecParameters) -> Option<AudioSpec> {
    let channels = match params.channels.as_ref()?.count() {
        1 => nanomp3::Channels::Mono,
        _ => nanomp3::Channels::Stereo,
    };
    Some(AudioSpec::new(params.sample_rate?, layout(channels)))
}

fn layout(channels: nanomp3::Channels) -> Channels {
    Channels::Positioned(match channels {
        nanomp3::Channels::Mono => Position::FRONT_CENTER,
        nanomp3::Channels::Stereo => Position::FRONT_LEFT | Position::FRONT_RIGHT,
    })
}

#[cfg(test)]
mod tests {
    use symphonia::core::{
        audio::GenericAudioBufferRef,
        codecs::audio::AudioDecoder,
        packet::PacketRef,
        units::{Duration, Timestamp},
    };

    use super::*;

    fn decode<'a>(mp3: &'a mut Adapter<Mp3>, frame: &[u8]) -> Result<GenericAudioBufferRef<'a>> {
        mp3.decode_ref(&PacketRef::new(0, Timestamp::ZERO, Duration::new(1152), frame))
    }

    /// MPEG-1 layer 3, 128 kbit/s, 44.1 kHz, stereo; `reservoir` is where its main data begins.
    fn frame(reservoir: u8) -> Vec<u8> {
        let mut frame = vec![0; 417];
        frame[..5].copy_from_slice(&[0xFF, 0xFB, 0x90, 0x00, reservoir]);
        frame
    }

    #[test]
    fn a_frame_of_no_bits_is_silence_and_one_without_its_reservoir_an_error() {
        let mut mp3 = Mp3::new(&AudioCodecParameters::new());
        assert!(decode(&mut mp3, &frame(200)).is_err());
        let GenericAudioBufferRef::F32(heard) = decode(&mut mp3, &frame(0)).unwrap() else {
            panic!("floats");
        };
        assert_eq!((heard.frames(), heard.num_planes()), (1152, 2));
        assert!(heard.plane(1).unwrap().iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn what_is_no_whole_frame_of_layer_3_is_an_error() {
        let mut mp3 = Mp3::new(&AudioCodecParameters::new());
        let mut layer_2 = frame(0);
        layer_2[1] = 0xFD;
        for bytes in [&frame(0)[..400], &[][..], &[0xFF; 417][..], &layer_2[..]] {
            assert!(decode(&mut mp3, bytes).is_err());
        }
        assert!(decode(&mut mp3, &frame(0)).is_ok());
    }
}
