//! What a track decodes to, and the decoder that does it.

use symphonia::{
    core::{
        audio::{Channels as Layout, GenericAudioBufferRef},
        codecs::audio::{
            AudioCodecParameters, AudioDecoder, AudioDecoderOptions,
            well_known::{CODEC_ID_MP3, CODEC_ID_OPUS},
        },
    },
    default::get_codecs,
};

use super::{
    Channels, Error, Sample,
    he_aac::{self, HeAac},
    mp3::Mp3,
    opus::Opus,
    planes,
    spares::{Lent, Spares},
    surround::Surround,
};

/// What the first decoded packet settles.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) rate_hz: u32,
    pub(super) channels: Channels,
    pub(super) sample: Sample,
    pub(super) lossy: bool,
    pub(super) wide: bool,
}

pub(super) fn shape_of(
    decoded: &GenericAudioBufferRef<'_>,
    params: &AudioCodecParameters,
    codec: &str,
) -> Result<Shape, Error> {
    let spec = decoded.spec();
    let bits = planes::integer_bits(decoded)
        .map(|stored| params.bits_per_sample.map_or(stored, |bits| bits.clamp(1, stored)));
    Ok(Shape {
        rate_hz: spec.rate(),
        channels: channels_of(spec.channels())?,
        sample: bits.map_or(Sample::Float, |bits| Sample::Integer { bits }),
        lossy: bits.is_none() && !codec.starts_with("pcm"),
        wide: bits.is_some_and(|bits| bits > 24),
    })
}

/// The same before anything decoded, of plain samples: they are what their parameters say.
pub(super) fn shape_of_params(
    params: &AudioCodecParameters,
    codec: &str,
) -> Result<Option<Shape>, Error> {
    let (Some(rate_hz), Some(layout)) = (params.sample_rate, &params.channels) else {
        return Ok(None);
    };
    let is_float = matches!(codec, "pcm_f32le" | "pcm_f32be" | "pcm_f64le" | "pcm_f64be");
    let bits = params.bits_per_sample.unwrap_or(16);
    let sample = if is_float { Sample::Float } else { Sample::Integer { bits } };
    let channels = channels_of(layout)?;
    let wide = !is_float && bits > 24;
    Ok(Some(Shape { rate_hz, channels, sample, lossy: false, wide }))
}

/// Channels in the words of WAVE.
fn channels_of(layout: &Layout) -> Result<Channels, Error> {
    const DEFAULTS: [u32; 9] = [0, 0x4, 0x3, 0x7, 0x33, 0x37, 0x3F, 0x70F, 0x63F];
    let count = layout.count();
    let Some(default) = DEFAULTS.get(count).filter(|_| count > 0) else {
        return Err(Error::unsupported("more than eight channels"));
    };
    let mask = match layout {
        // The first 18 positions are those of WAVE.
        Layout::Positioned(positions) if count > 1 && positions.bits() < 1 << 18 => {
            positions.bits() as u32
        }
        _ => *default,
    };
    Ok(Channels { count: count as u16, mask })
}

/// A decoder that has heard nothing.
pub(super) fn make_decoder(
    params: &AudioCodecParameters,
    codec: &'static str,
    spares: &Spares,
) -> Result<Lent, Error> {
    spares.take(params, || new_decoder(params, codec))
}

/// Makes of a decoder one that has heard nothing, for a stream of these parameters.
pub(super) fn renew_decoder(
    decoder: &mut Lent,
    params: &AudioCodecParameters,
    codec: &'static str,
) -> Result<(), Error> {
    decoder.renew(params, || new_decoder(params, codec))
}

fn new_decoder(
    params: &AudioCodecParameters,
    codec: &'static str,
) -> Result<Box<dyn AudioDecoder>, Error> {
    if params.codec == CODEC_ID_MP3 {
        return Ok(Box::new(Mp3::new(params)));
    }
    if params.codec == CODEC_ID_OPUS {
        return Ok(Box::new(Opus::new(params)?));
    }
    if he_aac::is_it(codec) {
        let decoder = HeAac::new(params).ok_or_else(|| Error::unsupported(codec))?;
        return Ok(Box::new(decoder));
    }
    if let Some(decoder) = Surround::new(params) {
        return Ok(Box::new(decoder));
    }
    // Trimming is ours: the reader's idea of it is an estimate where no tag says better.
    let options = AudioDecoderOptions::default().gapless(false);
    get_codecs().make_audio_decoder(params, &options).map_err(|fault| {
        tracing::debug!(%fault, codec, "no decoder");
        Error::unsupported(codec)
    })
}
