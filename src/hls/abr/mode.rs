//! What a request says about variants.
//!
//! Pure: text in, a mode out.

use std::{fmt, str::FromStr};

use super::VariantIndex;

/// How the variant of a session is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// By the controller, among all.
    #[default]
    Auto,
    /// Always this one.
    Fixed(VariantIndex),
    /// By the controller, among those of at most so many bits per second, or the lowest if there is none.
    Max(u64),
}

/// The text is none of `auto`, a number, and `max:BITS` with bits per second above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a variant is auto, a number in playlist order, or max: and bits per second")]
pub struct NoMode;

impl FromStr for Mode {
    type Err = NoMode;

    fn from_str(text: &str) -> Result<Self, NoMode> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.strip_prefix("max:") {
            Some(bits) => number(bits).filter(|&bits| bits > 0).map(Self::Max),
            None => {
                number(text).and_then(|at| at.try_into().ok()).map(VariantIndex).map(Self::Fixed)
            }
        }
        .ok_or(NoMode)
    }
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Fixed(variant) => write!(f, "{variant}"),
            Self::Max(bits) => write!(f, "max:{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for text in ["auto", "0", "63", "max:128000"] {
            assert_eq!(text.parse::<Mode>().map(|mode| mode.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "best", "+1", "-1", "256", "max:", "max:0", "max:+5", "max:1.5", "Auto"] {
            assert_eq!(text.parse::<Mode>(), Err(NoMode), "{text}");
        }
    }
}
