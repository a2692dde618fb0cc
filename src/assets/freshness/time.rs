//! How old an answer is, and when it was made: RFC 9111 section 4.2.3.
//!
//! Pure: no I/O, no clock, no executor.

use std::time::{Duration, SystemTime};

use http::{
    HeaderValue,
    header::{AGE, DATE},
};

use super::directives::{LONGEST_SECONDS, number};
use crate::assets::Head;

impl Head {
    /// Its age at `now` in seconds (section 4.2.3).
    pub fn age(&self, now: u64) -> u64 {
        let mut ages = self.fields.get_all(AGE).iter();
        let said = match (ages.next(), ages.next()) {
            (None, _) => 0,
            (Some(age), None) => age.to_str().ok().and_then(number).unwrap_or(LONGEST_SECONDS),
            (Some(_), Some(_)) => LONGEST_SECONDS,
        };
        let said = said + self.answered.saturating_sub(self.asked);
        let apparent = self.answered.saturating_sub(self.made());
        apparent.max(said) + now.saturating_sub(self.answered)
    }

    /// When it was made at its origin, in seconds of Unix time.
    pub fn made(&self) -> u64 {
        self.fields.get(DATE).and_then(date).unwrap_or(self.answered)
    }
}

/// A date of HTTP, in seconds of Unix time.
pub(super) fn date(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A time as HTTP writes it.
pub fn http_date(unix_seconds: u64) -> HeaderValue {
    // 9999-01-01: beyond is what no date of HTTP says.
    let since = Duration::from_secs(unix_seconds.min(253_370_764_800));
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{NOW, head},
        *,
    };

    #[test]
    fn an_age_is_what_was_said_and_what_passed() {
        let mut aged = head(&[("age", "30"), ("cache-control", "max-age=60")]);
        assert_eq!((aged.age(NOW), aged.age(NOW + 5)), (30, 35));
        aged.asked = NOW - 4;
        assert_eq!(aged.age(NOW), 34);
        let date = http_date(NOW - 50);
        aged.fields.insert(DATE, date);
        assert_eq!(aged.age(NOW), 50);
        aged.fields.remove(AGE);
        assert_eq!(aged.age(NOW - 100), 50, "a clock that was set back");
        for unclear in [&["x"][..], &["-1"], &["1.5"], &["0, 0"], &["0", "7"], &["1;a=b"]] {
            let pairs: Vec<_> = unclear.iter().map(|age| ("age", *age)).collect();
            assert!(head(&pairs).age(NOW) >= LONGEST_SECONDS, "{unclear:?}");
        }
    }
}
