//! HE-AAC packets to samples, by syom.
//!
//! Source: ISO/IEC 14496-3, 4.6.18 for spectral band replication, which doubles the rate of a core of
//! Low Complexity, and 8.6.4 for parametric stereo, which makes two channels of one. What the bands
//! are that are replicated, a header says that comes with a packet now and then, and without it no
//! packet decodes: one of the first packets stands for it where a decoder begins in the middle.

use symphonia::core::{
    audio::{AudioBuffer, AudioMut, AudioSpec, Channels, Position},
    codecs::{
        CodecInfo,
        audio::{AudioCodecParameters, well_known::CODEC_ID_AAC},
    },
    errors::{Error as Fault, Result},
};
use syom::{DecodeOptions, Decoder};

use super::{
    adapter::{Adapter, PacketDecoder},
    headers::{ADTS_RATES_HZ, Header},
    sbr,
};

/// Frames that every packet decodes to.
pub(super) const PACKET_FRAMES: u64 = 2048;
/// The longest packet: 6144 bits for each of two channels (4.5.3.1). Of a longer one, as no encoder
/// makes it, nobody knows how many elements it holds, nor how long they would take: these may hold 423,
/// which take 20 ms.
const PACKET_BYTES: usize = 2 * 6144 / 8;

/// Its names: with parametric stereo it is the second version.
const NAMES: [&str; 2] = ["he-aac", "he-aac-v2"];

/// Whether a codec of that name is decoded here.
pub(super) fn is_it(codec: &str) -> bool {
    NAMES.contains(&codec)
}

/// What is known of a track before its packets are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    /// Frames per second of the core.
    core_hz: u32,
    /// Channels of the core: 1 or 2.
    core_channels: u16,
    /// Channels that come out. Where nothing says that a core of one has no parametric stereo, it may
    /// come at any time: these are two.
    channels: u16,
    /// A packet of silence with a header that a decoder may need; empty if there is none.
    silence: Vec<u8>,
}

/// Looks at the first packets of a track.
pub(super) struct Survey {
    setup: Setup,
    /// Packets with a header that were seen.
    headers: u32,
    has_stereo: Option<bool>,
    decoder: Decoder,
}

impl Survey {
    /// One of a core like this. `has_stereo`: whether it has parametric stereo, where that is said.
    pub(super) fn new(core_hz: u32, core_channels: u16, has_stereo: Option<bool>) -> Self {
        let has_stereo = if core_channels == 1 { has_stereo } else { Some(false) };
        let channels = if has_stereo == Some(false) { core_channels } else { 2 };
        let setup = Setup { core_hz, core_channels, channels, silence: Vec::new() };
        Self { decoder: setup.decoder(), setup, headers: 0, has_stereo }
    }

    /// Looks at one packet.
    pub(super) fn look_at(&mut self, packet: &[u8]) {
        if !self.has_header()
            && let Some(silence) = sbr::silence_with_extension(packet, self.setup.core_channels)
            && Hearing::of(&mut self.setup.decoder(), &silence).is_some()
        {
            self.setup.silence = silence;
            self.headers += 1;
        }
        if self.has_stereo.is_none() {
            match Hearing::of(&mut self.decoder, packet) {
                Some(Hearing { is_stereo: true }) => self.has_stereo = Some(true),
                Some(_) => {}
                None => self.decoder = self.setup.decoder(),
            }
        }
    }

    /// Whether it has seen what a decoder may need. What the first packet of all says of parametric
    /// stereo may be nothing yet, and then all is silent up to a packet that says it.
    pub(super) fn has_header(&self) -> bool {
        self.headers >= if self.setup.core_channels == 1 { 2 } else { 1 }
    }

    /// The name of the codec, and what is known.
    pub(super) fn end(self) -> (&'static str, Setup) {
        (NAMES[usize::from(self.has_stereo == Some(true))], self.setup)
    }
}

/// What a packet decoded to, for a survey.
struct Hearing {
    /// Its two channels differ.
    is_stereo: bool,
}

impl Hearing {
    fn of(decoder: &mut Decoder, packet: &[u8]) -> Option<Self> {
        let mut heard = None;
        if packet.len() <= PACKET_BYTES {
            let decoded = decoder.decode_au(packet, |frame| {
                let is_stereo = matches!(frame.planar, [left, right] if left != right);
                heard = (frame.samples as u64 == PACKET_FRAMES).then_some(Self { is_stereo });
                Ok(())
            });
            heard = heard.filter(|_| decoded.is_ok());
        }
        heard
    }
}

impl Setup {
    /// What was written into the parameters of a track.
    fn of(params: &AudioCodecParameters) -> Option<Self> {
        let (&[a, b, c, d, core, channels], silence) =
            params.extra_data.as_deref()?.split_first_chunk()?;
        Some(Self {
            core_hz: u32::from_be_bytes([a, b, c, d]),
            core_channels: core.into(),
            channels: channels.into(),
            silence: silence.to_vec(),
        })
    }

    /// The parameters of a track, which hold it.
    pub(super) fn params(&self) -> AudioCodecParameters {
        let [core, channels] = [self.core_channels, self.channels].map(|count| count as u8);
        let known = [&self.core_hz.to_be_bytes()[..], &[core, channels], &self.silence].concat();
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(CODEC_ID_AAC)
            .with_sample_rate(self.rate_hz())
            .with_channels(self.layout())
            .with_extra_data(known.into());
        params
    }

    /// The same where the frames of a stream change to those that `header` begins: what is known of
    /// their headers is lost.
    pub(super) fn changed(params: &AudioCodecParameters, header: &Header) -> AudioCodecParameters {
        let channels = Self::of(params).map_or(2, |setup| setup.channels);
        let (core_hz, core_channels) = (header.rate_hz / 2, header.channels.clamp(1, 2));
        Self { core_hz, core_channels, channels, silence: Vec::new() }.params()
    }

    /// Frames per second of what is heard.
    fn rate_hz(&self) -> u32 {
        self.core_hz.saturating_mul(2)
    }

    fn layout(&self) -> Channels {
        Channels::Positioned(match self.channels {
            1 => Position::FRONT_CENTER,
            _ => Position::FRONT_LEFT | Position::FRONT_RIGHT,
        })
    }

    /// A decoder that has heard nothing, of a configuration that says all there is (1.6.2.1).
    fn decoder(&self) -> Decoder {
        const EXTENDED: u64 = 5;
        const LOW_COMPLEXITY: u64 = 2;
        const RATE_FOLLOWS: usize = 15;
        let core = ADTS_RATES_HZ.iter().position(|hz| *hz == self.core_hz).unwrap_or(RATE_FOLLOWS);
        let fields = [
            (EXTENDED, 5),
            (core as u64, 4),
            (self.core_channels.into(), 4),
            (RATE_FOLLOWS as u64, 4),
            (self.rate_hz().into(), 24),
            (LOW_COMPLEXITY, 5),
            // Packets of 1024 frames that depend on no other core, and no more to say.
            (0, 3 + 15),
        ];
        let config = fields.iter().fold(0, |bits, (field, count)| bits << count | field);
        let mut decoder = Decoder::new(DecodeOptions::unbounded());
        // What it refuses to be told, it refuses again with each packet.
        if let Err(fault) = decoder.set_asc(&u64::to_be_bytes(config)) {
            tracing::debug!(%fault, "a configuration of HE-AAC");
        }
        decoder
    }
}

/// Decodes HE-AAC.
pub(super) struct HeAac {
    setup: Setup,
    decoder: Decoder,
    /// It has decoded nothing yet, not even the silence.
    is_new: bool,
}

impl HeAac {
    /// A decoder that has heard nothing. `None`: the parameters are not those of a [`Setup`].
    pub(super) fn new(params: &AudioCodecParameters) -> Option<Adapter<Self>> {
        let setup = Setup::of(params)?;
        let spec = AudioSpec::new(setup.rate_hz(), setup.layout());
        let he_aac = Self { decoder: setup.decoder(), setup, is_new: true };
        Some(Adapter::new(he_aac, params, AudioBuffer::new(spec, PACKET_FRAMES as usize)))
    }

    fn hear(&mut self, packet: &[u8], planar: &mut AudioBuffer<f32>) -> Result<()> {
        if packet.len() > PACKET_BYTES {
            return Err(Fault::DecodeError("a packet that is too long"));
        }
        let rate_hz = self.setup.rate_hz();
        let mut is_whole = false;
        let decoded = self.decoder.decode_au(packet, |frame| {
            is_whole = frame.samples as u64 == PACKET_FRAMES
                && frame.sample_rate == rate_hz
                && matches!(frame.planar.len(), 1 | 2);
            if is_whole {
                spread(frame.planar, planar);
            }
            Ok(())
        });
        match decoded {
            Ok(()) if is_whole => Ok(()),
            Ok(()) => Err(Fault::DecodeError("a packet of another shape than the first")),
            Err(_) => Err(Fault::DecodeError("a damaged packet")),
        }
    }
}

impl PacketDecoder for HeAac {
    const INFO: CodecInfo = CodecInfo {
        short_name: "he-aac",
        long_name: "High Efficiency Advanced Audio Coding",
        profiles: &[],
    };
    const FORGETS_AT_FAULTS: bool = true;

    fn decode(&mut self, packet: &[u8], planar: &mut AudioBuffer<f32>) -> Result<()> {
        let mut heard = self.hear(packet, planar);
        if heard.is_err() && self.is_new && !self.setup.silence.is_empty() {
            // It may lack the header alone.
            self.reset();
            let silence = std::mem::take(&mut self.setup.silence);
            heard = self.hear(&silence, planar).and_then(|()| self.hear(packet, planar));
            self.setup.silence = silence;
        }
        self.is_new = false;
        heard
    }

    fn reset(&mut self) {
        self.decoder = self.setup.decoder();
        self.is_new = true;
    }
}

/// Puts one channel or two where those of a track are. Where the core has one and no parametric stereo,
/// both that come are the same.
fn spread(planes: &[&[f32]], planar: &mut AudioBuffer<f32>) {
    planar.clear();
    planar.render_uninit(Some(PACKET_FRAMES as usize));
    let mut from = planes.iter().cycle();
    let mut index = 0;
    while let Some(plane) = planar.plane_mut(index) {
        plane.copy_from_slice(from.next().expect("there is a plane"));
        index += 1;
    }
}
