//! Sizes, rates and times as people write them: `10GiB`, `8KiB/s`, `500ms`.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! What prints parses back to the same value: the printed unit is the largest that divides it.

use std::{fmt, str::FromStr, time::Duration};

/// A number of bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(
    /// Bytes.
    pub u64,
);

/// A number of bytes per second.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(
    /// Bytes per second.
    pub u64,
);

/// A length of time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(
    /// The time.
    pub Duration,
);

/// Binary units first and largest first: printing takes the first that divides.
const SIZE_UNITS: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Powers of a thousand, as disks are sold. They are read, never printed.
const DECIMAL_UNITS: &[(&str, u64)] =
    &[("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

/// Nanoseconds of each unit, largest first.
const TIME_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is no size, rate or time: what follows after "`text` ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No digits, or no unit that is known.
    #[error("is not {}; {}", .0.noun, .0.hint)]
    Form(Form),
    /// More than fits: 16 EiB, or 584 years.
    #[error("is more than can be counted")]
    Large,
}

/// What a text should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// With its article.
    pub noun: &'static str,
    /// How it is written.
    pub hint: &'static str,
}

const SIZE: Form =
    Form { noun: "a size", hint: "write a whole number and B, KiB, MiB, GiB or TiB, like 10GiB" };
const RATE: Form = Form { noun: "a rate", hint: "write a size and /s, like 8KiB/s" };
const TIME: Form =
    Form { noun: "a time", hint: "write a whole number and ms, s, min, h or d, like 500ms" };

impl FromStr for Size {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let units = SIZE_UNITS.iter().chain(DECIMAL_UNITS);
        Ok(Self(scaled(text, units, SIZE)?))
    }
}

impl FromStr for Rate {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let size = text.trim().strip_suffix("/s").ok_or(Unreadable::Form(RATE))?;
        let units = SIZE_UNITS.iter().chain(DECIMAL_UNITS);
        Ok(Self(scaled(size, units, RATE)?))
    }
}

impl FromStr for Time {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        Ok(Self(Duration::from_nanos(scaled(text, TIME_UNITS.iter(), TIME)?)))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = largest(SIZE_UNITS, self.0, "B");
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        let (unit, factor) = largest(TIME_UNITS, nanos, "s");
        write!(f, "{}{unit}", nanos / factor)
    }
}

/// The number in front of one of `units`, times the unit. Spaces between the two are allowed, and
/// small letters, but for the `b` of `Gb`: that is bits.
fn scaled<'a>(
    text: &str,
    mut units: impl Iterator<Item = &'a (&'a str, u64)>,
    form: Form,
) -> Result<u64, Unreadable> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    if number.is_empty() {
        return Err(Unreadable::Form(form));
    }
    if unit.is_empty() && number.bytes().all(|digit| digit == b'0') {
        return Ok(0); // The same in every unit.
    }
    let is_bits = unit.ends_with('b') && unit.starts_with(|c: char| c.is_ascii_uppercase());
    let is_named = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit) && !is_bits;
    let (_, factor) = units.find(is_named).ok_or(Unreadable::Form(form))?;
    let number: u64 = number.parse().map_err(|_| Unreadable::Large)?;
    number.checked_mul(*factor).ok_or(Unreadable::Large)
}

/// The largest unit that divides `value`, or `zero` for 0, which all of them divide.
fn largest(units: &[(&'static str, u64)], value: u64, zero: &'static str) -> (&'static str, u64) {
    if value == 0 {
        return (zero, 1);
    }
    units.iter().copied().find(|(_, factor)| value.is_multiple_of(*factor)).unwrap_or((zero, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    #[test]
    fn what_the_documents_write_is_read() {
        assert_eq!("10GiB".parse(), Ok(Size(10 << 30)));
        assert_eq!("64 KiB".parse(), Ok(Size(64 << 10)));
        assert_eq!(("1kb".parse(), "1gb".parse()), (Ok(Size(1_000)), Ok(Size(1_000_000_000))));
        assert_eq!("8KiB/s".parse(), Ok(Rate(8 << 10)));
        assert_eq!("500ms".parse(), Ok(Time(Duration::from_millis(500))));
        assert_eq!("10min".parse(), Ok(Time(Duration::from_secs(600))));
    }

    #[test]
    fn nothing_needs_no_unit() {
        assert_eq!(("0".parse(), " 00 ".parse()), (Ok(Size(0)), Ok(Size(0))));
        assert_eq!("0".parse(), Ok(Time(Duration::ZERO)));
        assert!("0 parsecs".parse::<Size>().is_err());
    }

    #[test]
    fn what_is_no_number_with_a_unit_is_refused() {
        for text in
            ["", "GiB", "10", "-1GiB", "1.5GiB", "10 parsecs", "10GiB/s", "٣GiB", "10Gb", "1Mib"]
        {
            assert_eq!(text.parse::<Size>(), Err(Unreadable::Form(SIZE)), "{text}");
        }
        assert_eq!("8KiB".parse::<Rate>(), Err(Unreadable::Form(RATE)));
        assert_eq!("10m".parse::<Time>(), Err(Unreadable::Form(TIME)));
        assert_eq!("99999999999999999999B".parse::<Size>(), Err(Unreadable::Large));
        assert_eq!("16777216TiB".parse::<Size>(), Err(Unreadable::Large));
    }

    #[test]
    fn the_largest_unit_that_divides_is_printed() {
        assert_eq!(Size(10 << 30).to_string(), "10GiB");
        assert_eq!(Size(1025).to_string(), "1025B");
        assert_eq!(Size(0).to_string(), "0B");
        assert_eq!(Time(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(Time(Duration::ZERO).to_string(), "0s");
    }

    #[test]
    fn what_prints_parses_back() {
        let mut random = Random(1);
        for seed in 0..20_000 {
            let value = random.next() >> random.below(64);
            assert_eq!(Size(value).to_string().parse(), Ok(Size(value)), "turn {seed}");
            assert_eq!(Rate(value).to_string().parse(), Ok(Rate(value)), "turn {seed}");
            let time = Time(Duration::from_nanos(value));
            assert_eq!(time.to_string().parse(), Ok(time), "turn {seed}");
        }
    }
}
