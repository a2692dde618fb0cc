//! Retry: what is tried again, how often and after which wait.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Waits have full jitter (a uniform share of an exponential bound), so that shards and nodes
//! which lost one origin together do not come back to it together. What the origin itself asks
//! for by `Retry-After` goes before that; where it asks for more than the longest wait, there is no
//! other attempt: an earlier one is what it asked not to get.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::error::Error;

/// How many retries there are and how long their waits may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Attempts after the first.
    pub(super) retries: u32,
    /// Bound of the first wait; doubles with each retry.
    pub(super) base: Duration,
    /// Bound of every wait.
    pub(super) longest: Duration,
}

/// The attempts of one request, or of one body that is continued where it was cut.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: Policy,
    failed: u32,
}

/// Retries where not even a head came. One, for a connection that was lost unseen while it was idle; an origin
/// that says nothing on a new one either has had its time, and a client has waited twice for it.
pub(super) const SILENT_RETRIES: u32 = 1;

impl Attempts {
    /// Nothing tried yet.
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, failed: 0 }
    }

    /// Counts a failure and says how long to wait before the next attempt, `None` for no more.
    ///
    /// `random` is uniform over all of `u64`.
    pub(super) fn after(&mut self, failure: &Error, random: u64) -> Option<Duration> {
        let asked = match failure {
            Error::Later { after, .. } => Some(*after),
            _ => None,
        };
        let is_long = asked.is_some_and(|asked| asked > self.policy.longest);
        if !may_retry(failure) || is_long || self.failed >= self.policy.retries {
            return None;
        }
        let bound = self.policy.bound(self.failed);
        self.failed += 1;
        Some(asked.unwrap_or_else(|| share(bound, random)))
    }

    /// The origin has delivered enough for its earlier failures to be forgotten.
    pub(super) fn progress(&mut self) {
        self.failed = 0;
    }
}

impl Policy {
    fn bound(&self, failed: u32) -> Duration {
        let factor = 1u32.checked_shl(failed).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.longest)
    }
}

/// Whether another attempt may succeed where this one failed. Only for GET and HEAD.
pub(super) fn may_retry(failure: &Error) -> bool {
    match failure {
        Error::Status(status) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
        Error::Later { .. } | Error::Connection(_) | Error::Silent { .. } | Error::Cut { .. } => {
            true
        }
        _ => false,
    }
}

/// `Retry-After` as a wait from `now`: seconds or an HTTP date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than a u64 holds is for ever: beyond every bound.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// The share of `bound` that `random` stands for: 0 is none, `u64::MAX` nearly all.
fn share(bound: Duration, random: u64) -> Duration {
    let nanos = (bound.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const POLICY: Policy =
        Policy { retries: 3, base: Duration::from_millis(100), longest: Duration::from_secs(5) };
    const RESET: Error = Error::Connection(io::ErrorKind::ConnectionReset);

    #[test]
    fn bounds_double_up_to_the_longest() {
        let bounds: Vec<_> = (0..8).map(|failed| POLICY.bound(failed).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(POLICY.bound(u32::MAX), POLICY.longest);
    }

    #[test]
    fn waits_are_a_share_of_the_bound_and_end_after_the_last_retry() {
        let mut attempts = Attempts::new(POLICY);
        assert_eq!(attempts.after(&RESET, 0), Some(Duration::ZERO));
        assert_eq!(attempts.after(&RESET, 1 << 63), Some(Duration::from_millis(100)));
        let last = attempts.after(&RESET, u64::MAX).unwrap();
        assert!(last > Duration::from_millis(399) && last < Duration::from_millis(400));
        assert_eq!(attempts.after(&RESET, 0), None);
    }

    #[test]
    fn progress_gives_the_retries_back() {
        let mut attempts = Attempts::new(Policy { retries: 1, ..POLICY });
        assert!(attempts.after(&RESET, 0).is_some());
        attempts.progress();
        assert!(attempts.after(&RESET, 0).is_some());
        assert!(attempts.after(&RESET, 0).is_none());
    }

    #[test]
    fn only_what_may_pass_is_retried() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(may_retry(&Error::Status(status)), "{status}");
        }
        for status in [304, 400, 401, 403, 404, 410, 416, 501, 505, 511] {
            assert!(!may_retry(&Error::Status(status)), "{status}");
        }
        assert!(may_retry(&Error::Silent { after: Duration::ZERO }));
        assert!(may_retry(&Error::Cut { at: 1 }));
        for never in [Error::Changed, Error::Dns, Error::Encoded, Error::Closed, Error::Busy] {
            assert!(!may_retry(&never), "{never}");
        }
        assert!(Attempts::new(POLICY).after(&Error::Status(404), 0).is_none());
    }

    #[test]
    fn the_origin_says_how_long_and_beyond_the_bound_it_is_left_alone() {
        let mut attempts = Attempts::new(POLICY);
        let mut after = |after| attempts.after(&Error::Later { status: 503, after }, 7);
        let soon = Duration::from_secs(2);
        assert_eq!(after(soon), Some(soon));
        assert_eq!(after(Duration::from_secs(3600)), None);
        assert_eq!(after(POLICY.longest), Some(POLICY.longest));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap(), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:40 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
