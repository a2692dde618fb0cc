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
}
