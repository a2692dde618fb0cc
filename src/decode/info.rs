//! What is known of a track before its first frame is decoded.

/// What one sample of the source is, before any decoding loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Integers of this many bits (8 to 32).
    Integer {
        /// Significant bits per sample.
        bits: u32,
    },
    /// Floating point: PCM of that kind, or a lossy codec.
    Float,
}

/// How many channels, and what each of them is.
///
/// The order is that of WAVE and of ffmpeg: front left, front right, centre, LFE, back left, back
/// right, side left, side right. Counts map to 1.0, 2.0, 3.0, 4.0 (FL FR BL BR), 5.0, 5.1, 6.1, 7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// 1 to 8.
    pub count: u16,
    /// The speaker mask of WAVEFORMATEXTENSIBLE, one bit per channel in the order above.
    pub mask: u32,
}

/// What a track is.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// The container by the name ffmpeg and people use: `mp3`, `adts`, `mp4`, `flac`, `ogg`, `wav`...
    pub container: &'static str,
    /// The codec by the same rule: `mp3`, `aac`, `flac`, `alac`, `opus`, `pcm_s16le`...
    pub codec: &'static str,
    /// Frames per second of the decoded audio.
    pub rate_hz: u32,
    /// Channels of the decoded audio.
    pub channels: Channels,
    /// What a sample is.
    pub sample: Sample,
    /// Total frames after trimming encoder delay and padding, where the container says so in a way
    /// that can be trusted; what is not known is not guessed.
    pub frames: Option<u64>,
    /// Title, artist and the like, by lower-case name, in the order of the file.
    pub tags: Vec<(String, String)>,
    /// The audio tracks to choose from, by their numbers; none where there is one alone.
    pub tracks: Vec<AudioTrack>,
}

/// An audio track as its container lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioTrack {
    /// The codec, whether it is decoded here or not; `None` where it has no name here.
    pub codec: Option<&'static str>,
    /// Frames per second, where the container says so.
    pub rate_hz: Option<u32>,
    /// How many channels, likewise.
    pub channels: Option<u16>,
    /// As ISO 639-2 or BCP 47 has it.
    pub language: Option<String>,
    /// For people.
    pub name: Option<String>,
}

impl AudioTrack {
    /// The language of a code that may say that it is not known.
    pub(super) fn language(code: &str) -> Option<String> {
        let is_code = !code.is_empty()
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_code && !code.eq_ignore_ascii_case("und")).then(|| code.to_owned())
    }
}
