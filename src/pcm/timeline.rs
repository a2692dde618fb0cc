//! Seconds, frames and bytes of a response: what `t`, `d` and `Range` mean.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Times are decimal text and become frames by exact integer arithmetic, so that `t=3600.1` is the
//! same frame at every rate and in every client's notation.

use std::ops::Range;

/// A time in seconds as it was written: `units / 10^decimals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds {
    units: u64,
    decimals: u32,
}

/// Why a text is no time, or a time is not in the timeline. Both are the request's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not digits with at most one point, or more than 18 of them.
    #[error("{0:?} is not a time in seconds, such as 90 or 12.345, without a sign and an exponent")]
    NotSeconds(String),
    /// The slice would begin where nothing is any more.
    #[error("starts past the end; the duration is {duration} s")]
    PastEnd {
        /// The duration of the whole, as in `X-Content-Duration`.
        duration: String,
    },
}

/// Most digits of a time: they fit 64 bits, and allow nanoseconds within thirty years.
const MAX_DIGITS: usize = 18;

impl std::str::FromStr for Seconds {
    type Err = Error;

    /// Reads decimals such as `12`, `12.5`, `.5` or `12.`; no sign, no exponent.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        // Zeros that say nothing must not count as digits.
        let (whole, fraction) = match whole.is_empty() && fraction.is_empty() {
            true => return Err(Error::NotSeconds(text.to_owned())),
            false => (whole.trim_start_matches('0'), fraction.trim_end_matches('0')),
        };
        let digits = || whole.bytes().chain(fraction.bytes());
        if digits().count() > MAX_DIGITS || !digits().all(|digit| digit.is_ascii_digit()) {
            return Err(Error::NotSeconds(text.to_owned()));
        }
        let units = digits().fold(0, |units, digit| units * 10 + u64::from(digit - b'0'));
        Ok(Self { units, decimals: fraction.len() as u32 })
    }
}

/// Shortest exact decimal form.
impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scale = 10_u64.pow(self.decimals);
        match self.decimals {
            0 => write!(f, "{}", self.units),
            width => {
                write!(f, "{}.{:0w$}", self.units / scale, self.units % scale, w = width as usize)
            }
        }
    }
}

impl Seconds {
    /// To a nanosecond.
    pub fn time(self) -> std::time::Duration {
        let nanos = u128::from(self.units) * 1_000_000_000 / 10_u128.pow(self.decimals);
        std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The nearest frame, the later one for a tie: floor(seconds * rate + 1/2).
    pub fn frames(self, rate_hz: u32) -> u64 {
        let scale = 10_u128.pow(self.decimals);
        let doubled = 2 * u128::from(self.units) * u128::from(rate_hz) + scale;
        u64::try_from(doubled / (2 * scale)).unwrap_or(u64::MAX)
    }
}

/// Frames of the whole that a response holds; `end` is `None` if only the source's end will tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// First frame.
    pub start: u64,
    /// Frame behind the last.
    pub end: Option<u64>,
    /// Whether `end` is sure to be reached, so that the length may be promised.
    pub exact: bool,
}

impl Slice {
    /// The slice of `d` seconds from `t` on, both snapped to frames of `rate_hz`, of a whole that has
    /// `total` frames if that is known.
    ///
    /// # Errors
    /// [`Error::PastEnd`] if nothing is left at `t`. A `t` of 0 is good in an empty whole.
    pub fn new(
        t: Option<Seconds>,
        d: Option<Seconds>,
        rate_hz: u32,
        total: Option<u64>,
    ) -> Result<Self, Error> {
        let start = t.map_or(0, |t| t.frames(rate_hz));
        let asked = d.map(|d| start.saturating_add(d.frames(rate_hz)));
        let end = total.into_iter().chain(asked).min();
        let slice = Self { start, end, exact: total.is_some() };
        total.map_or(Ok(()), |total| slice.check_start(total, rate_hz)).map(|()| slice)
    }

    /// Whether the whole, of `total` frames as it is now known, has anything at the start.
    ///
    /// # Errors
    /// [`Error::PastEnd`] if it has not.
    pub fn check_start(&self, total: u64, rate_hz: u32) -> Result<(), Error> {
        match self.start > 0 && self.start >= total {
            true => Err(Error::PastEnd { duration: duration(total, rate_hz) }),
            false => Ok(()),
        }
    }

    /// Frames of the slice, where they are sure.
    pub fn frames(&self) -> Option<u64> {
        self.end.filter(|_| self.exact).map(|end| end - self.start)
    }
}

/// `X-Content-Duration`: seconds with three decimals, rounded half up.
pub fn duration(frames: u64, rate_hz: u32) -> String {
    let (frames, rate) = (u128::from(frames), u128::from(rate_hz.max(1)));
    let milliseconds = (frames * 1000 + rate / 2) / rate;
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// `X-Audio-Format`: `s16le;rate=48000;channels=2;frames=N`, without frames where they are not known.
pub fn audio_format(encoding: &str, rate_hz: u32, channels: u16, frames: Option<u64>) -> String {
    let frames = frames.map(|frames| format!(";frames={frames}")).unwrap_or_default();
    format!("{encoding};rate={rate_hz};channels={channels}{frames}")
}

/// A body of known length: a header, frames of equal bytes, and at most a byte of padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// Bytes in front of the first frame.
    pub header_bytes: u64,
    /// Bytes of one frame.
    pub frame_bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Zero bytes behind the last frame.
    pub padding_bytes: u64,
}

/// A byte range of a [`Body`] as what it consists of, in this order. Any part may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Bytes of the header.
    pub header: Range<u64>,
    /// Frames that have at least a byte in the range, counted from the first of the slice.
    pub frames: Range<u64>,
    /// Bytes of the first of these frames that lie before the range.
    pub skip_bytes: u64,
    /// Bytes of these frames in the range.
    pub frames_bytes: u64,
    /// Zero bytes behind the frames.
    pub padding_bytes: u64,
}

impl Body {
    /// `Content-Length` of the whole.
    pub fn bytes(&self) -> u64 {
        self.frames_end() + self.padding_bytes
    }

    /// What the bytes `range` of the body are; the range is cut at the body's end.
    pub fn parts(&self, range: Range<u64>) -> Parts {
        let range = range.start.min(self.bytes())..range.end.min(self.bytes());
        let within = |from: u64, to: u64| {
            let start = range.start.clamp(from, to);
            start..range.end.clamp(start, to)
        };
        let header = within(0, self.header_bytes);
        let data = within(self.header_bytes, self.frames_end());
        let padding = within(self.frames_end(), self.bytes());
        let (from, to) = (data.start - self.header_bytes, data.end - self.header_bytes);
        let first = from / self.frame_bytes;
        let frames = first..if from == to { first } else { to.div_ceil(self.frame_bytes) };
        Parts {
            skip_bytes: if frames.is_empty() { 0 } else { from % self.frame_bytes },
            header,
            frames,
            frames_bytes: to - from,
            padding_bytes: padding.end - padding.start,
        }
    }

    fn frames_end(&self) -> u64 {
        self.header_bytes + self.frames * self.frame_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Seconds {
        text.parse().expect(text)
    }

    #[test]
    fn times_snap_to_the_nearest_frame_and_ties_go_up() {
        assert_eq!(seconds("0").frames(48000), 0);
        assert_eq!(seconds("1.5").frames(44100), 66150);
        assert_eq!(seconds("00060.000").frames(48000), 2_880_000);
        assert_eq!(seconds(".5").frames(8000), 4000);
        assert_eq!(seconds("12.").frames(8000), 96000);
        // Half a frame of 8000 Hz is 62.5 us.
        assert_eq!(seconds("0.0000625").frames(8000), 1);
        assert_eq!(seconds("0.0000624999").frames(8000), 0);
    }

    #[test]
    fn times_are_exact_after_hours() {
        // 0.1 s is no binary fraction: in f64 the product is off by more than the tie at this size.
        assert_eq!(seconds("1000000.1").frames(192_000), 192_000_019_200);
        assert_eq!(seconds("86400.0000026041666").frames(192_000), 86_400 * 192_000);
        assert_eq!(seconds("86400.0000026041667").frames(192_000), 86_400 * 192_000 + 1);
        assert_eq!(seconds("999999999999999999").frames(192_000), u64::MAX);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", ".", "-1", "+1", "1e3", "1.2.3", "1,5", " 1", "abc", "inf", "NaN", "0x10"]
        {
            assert_eq!(text.parse::<Seconds>(), Err(Error::NotSeconds(text.to_owned())));
        }
        assert!("1234567890.1234567890".parse::<Seconds>().is_err());
        assert!("0000000000000000000000001.0000000000000000000".parse::<Seconds>().is_ok());
    }

    #[test]
    fn a_slice_is_cut_at_the_end_of_the_whole() {
        let slice = |t, d, total| Slice::new(t, d, 1000, total).expect("within");
        let [one, nine] = ["1", "9"].map(|text| Some(seconds(text)));
        let whole = slice(None, None, Some(5000));
        assert_eq!((whole.start, whole.end, whole.frames()), (0, Some(5000), Some(5000)));
        assert_eq!(slice(one, one, Some(5000)).frames(), Some(1000));
        assert_eq!(slice(one, nine, Some(5000)).frames(), Some(4000));
        let open = slice(one, nine, None);
        assert_eq!((open.end, open.frames()), (Some(10_000), None));
        assert_eq!(slice(one, None, None).end, None);
    }

    #[test]
    fn a_start_past_the_end_names_the_duration() {
        let error = Slice::new(Some(seconds("5")), None, 1000, Some(5000)).unwrap_err();
        assert_eq!(error, Error::PastEnd { duration: "5.000".to_owned() });
        assert!(Slice::new(Some(seconds("4.999")), None, 1000, Some(5000)).is_ok());
        assert!(Slice::new(Some(seconds("0")), None, 1000, Some(0)).is_ok());
    }

    #[test]
    fn durations_have_three_decimals() {
        assert_eq!(duration(48000 * 60, 48000), "60.000");
        assert_eq!(duration(1, 44100), "0.000");
        assert_eq!(duration(44099, 44100), "1.000");
        assert_eq!(duration(24, 48000), "0.001");
        assert_eq!(
            audio_format("s16le", 48000, 2, Some(7)),
            "s16le;rate=48000;channels=2;frames=7"
        );
        assert_eq!(audio_format("s16le", 48000, 2, None), "s16le;rate=48000;channels=2");
    }

    /// Against the obvious model: a body written out, byte by byte, as (part, index).
    #[test]
    fn any_range_is_the_bytes_of_its_parts() {
        for (header_bytes, frame_bytes, frames, padding_bytes) in
            [(44, 4, 10, 0), (0, 3, 7, 1), (68, 3, 5, 1), (5, 6, 0, 0), (0, 1, 3, 0)]
        {
            let body = Body { header_bytes, frame_bytes, frames, padding_bytes };
            let model: Vec<(char, u64)> = (0..header_bytes)
                .map(|at| ('h', at))
                .chain((0..frames * frame_bytes).map(|at| ('f', at)))
                .chain((0..padding_bytes).map(|_| ('p', 0)))
                .collect();
            assert_eq!(body.bytes(), model.len() as u64);
            for start in 0..=model.len() {
                for end in start..=model.len() + 1 {
                    let parts = body.parts(start as u64..end as u64);
                    let first = parts.frames.start * frame_bytes + parts.skip_bytes;
                    let made: Vec<(char, u64)> = (parts.header.clone().map(|at| ('h', at)))
                        .chain((0..parts.frames_bytes).map(|at| ('f', first + at)))
                        .chain((0..parts.padding_bytes).map(|_| ('p', 0)))
                        .collect();
                    assert_eq!(made, model[start..end.min(model.len())], "{start}..{end}");
                    let needed = parts.skip_bytes + parts.frames_bytes;
                    let frames = parts.frames.end - parts.frames.start;
                    assert_eq!(frames, needed.div_ceil(frame_bytes));
                }
            }
        }
    }
}
