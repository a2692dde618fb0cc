//! Bytes for hyper whose owner does not leave its shard.
//!
//! hyper wants `Bytes`, which could go to any thread; a connection and all it holds stay on their
//! shard. `send_wrapper` checks that they do, and panics loudly should that ever change.

use bytes::Bytes;
use send_wrapper::SendWrapper;

/// `owner`'s bytes without a copy. It is dropped once the socket has written them, or once nobody
/// wants them any more.
pub fn lend(owner: impl AsRef<[u8]> + 'static) -> Bytes {
    Bytes::from_owner(Lent(SendWrapper::new(owner)))
}

struct Lent<T>(SendWrapper<T>);

impl<T: AsRef<[u8]>> AsRef<[u8]> for Lent<T> {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}
