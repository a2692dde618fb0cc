//! Limits of the client, with the reasons of their defaults.

use std::time::Duration;

/// What one shard's client waits for, tries and holds.
///
/// The defaults are those of `[limits]` (`origin_connect`, `origin_first_byte`, ...).
#[derive(Debug, Clone)]
pub struct Options {
    /// Name, TCP and TLS together, over all addresses of the name. Three lost SYNs are past it.
    pub connect: Duration,
    /// From the request to the end of the head. Origins that transcode first are that slow.
    pub first_byte: Duration,
    /// Between two pieces of a body. There is no total limit: a slow good stream may take hours.
    pub inactivity: Duration,
    /// Attempts after the first, for one request or for one stretch of a body without progress.
    pub retries: u32,
    /// Mean wait before the first retry is half of this (full jitter); each next one doubles.
    pub retry_base: Duration,
    /// No wait is longer, not even one that `Retry-After` asks for: a client is waiting.
    pub retry_longest: Duration,
    /// Connections of one shard with one scheme, host and port.
    pub connections: usize,
    /// Idle ones among them that are kept. 0 turns pooling off.
    pub idle_connections: usize,
    /// How long an idle connection is kept; under the 60 s and 75 s after which servers close.
    pub idle: Duration,
    /// Redirects followed for one request.
    pub redirects: usize,
    /// `SO_RCVBUF` of a connection in bytes: what the kernel holds while we do not read.
    pub receive_buffer: usize,
    /// Bytes of an answer's head, and of hyper's read buffer. hyper's least is 8 KiB.
    pub header_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(10),
            inactivity: Duration::from_secs(15),
            retries: 3,
            retry_base: Duration::from_millis(100),
            retry_longest: Duration::from_secs(5),
            connections: 64,
            idle_connections: 16,
            idle: Duration::from_secs(30),
            redirects: 5,
            receive_buffer: 256 << 10,
            header_bytes: 16 << 10,
        }
    }
}

impl Options {
    /// The first broken relation, as a sentence.
    ///
    /// # Errors
    /// The configuration is refused with that sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.connections == 0 {
            return Err("origin_connections must be at least 1".into());
        }
        if self.header_bytes < 8 << 10 {
            return Err("header_bytes must be at least 8KiB".into());
        }
        for (name, time) in [
            ("origin_connect", self.connect),
            ("origin_first_byte", self.first_byte),
            ("origin_inactivity", self.inactivity),
        ] {
            if time.is_zero() {
                return Err(format!("{name} must be longer than 0s"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_a_broken_one_is_named() {
        assert_eq!(Options::default().validate(), Ok(()));
        let none = Options { connections: 0, ..Options::default() };
        assert!(none.validate().unwrap_err().contains("origin_connections"));
        let never = Options { inactivity: Duration::ZERO, ..Options::default() };
        assert!(never.validate().unwrap_err().contains("origin_inactivity"));
    }
}
