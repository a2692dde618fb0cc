//! Which failures, of origins or of what comes from them, are worth a line of the log.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! An origin that is dead fails every request for it. The log says so at once and then every
//! [`INTERVAL`], with the number of those it kept to itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Between two lines about one host.
const INTERVAL: Duration = Duration::from_secs(10);

/// Hosts that are told apart. Redirects can lead to any number of them; those beyond are one.
const HOSTS: usize = 64;

/// What was said of which host.
#[derive(Debug, Default)]
pub struct Complaints {
    hosts: BTreeMap<String, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    unsaid: u64,
}

impl Complaints {
    /// `host` failed. Says how many failures before this one nobody was told of, if it is to be
    /// said.
    pub fn make(&mut self, host: &str, now: Instant) -> Option<u64> {
        let host = match self.hosts.len() < HOSTS || self.hosts.contains_key(host) {
            true => host,
            false => "",
        };
        let Some(said) = self.hosts.get_mut(host) else {
            self.hosts.insert(host.to_owned(), Said { at: now, unsaid: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(said.at) < INTERVAL {
            said.unsaid += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_host_is_spoken_of_at_once_and_then_now_and_again() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let mut make =
            |host: &str, seconds| complaints.make(host, start + Duration::from_secs(seconds));
        assert_eq!(make("a", 0), Some(0));
        assert_eq!((make("a", 1), make("a", 9), make("b", 9)), (None, None, Some(0)));
        assert_eq!((make("a", 10), make("a", 19), make("a", 21)), (Some(2), None, Some(1)));
    }

    #[test]
    fn any_number_of_hosts_takes_bounded_room() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let said = (0..1000).filter(|host| complaints.make(&host.to_string(), now).is_some());
        assert_eq!(said.count(), HOSTS + 1);
        assert_eq!(complaints.hosts.len(), HOSTS + 1);
    }
}
