//! Pure: bytes that were encoded and wait to be pulled.

/// Bytes on their way out of an encoder. Its memory is used again once all were pulled.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    pulled: usize,
}

impl Outgoing {
    /// Begins with `bytes`.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, pulled: 0 }
    }

    /// Where the next ones are put: behind those that are there.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether all were pulled.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.pulled
    }

    /// Copies bytes to `into` and returns how many.
    pub(super) fn pull(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.bytes[self.pulled..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.pulled += count;
        if self.is_empty() {
            self.bytes.clear();
            self.pulled = 0;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_comes_in_order_however_it_is_pulled() {
        let mut outgoing = Outgoing::of(b"abc".to_vec());
        let (mut two, mut many) = ([0; 2], [0; 9]);
        assert_eq!((outgoing.pull(&mut two), &two), (2, b"ab"));
        outgoing.end().extend_from_slice(b"de");
        assert_eq!(outgoing.pull(&mut many), 3);
        assert!(many.starts_with(b"cde") && outgoing.is_empty());
        assert_eq!(outgoing.pull(&mut many), 0);
    }
}
