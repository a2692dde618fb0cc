//! The one place where who brings bytes waits for memory to put them in.

use std::rc::Rc;

use super::Patience;
use crate::{
    bufpool::BufPool,
    storage::{CHUNK_BYTES, Error, StreamingResource},
};

/// What a write takes at most: a chunk, and the part of it that is on disk, read as a reader does.
const WRITE_BYTES: usize = 3 * CHUNK_BYTES as usize;

/// Writes bytes of a resource at `position`. Where there is no memory, it is waited for: others give back
/// what they hold soon, or the stream has to be shed.
///
/// # Errors
/// As [`write_at`](StreamingResource::write_at); [`Error::Exhausted`] once patience has ended.
///
/// # Cancellation
/// As `write_at`.
pub async fn write(
    resource: &Rc<StreamingResource>,
    pool: &BufPool,
    position: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut patience = Patience::default();
    loop {
        match resource.write_at(position, bytes).await {
            Err(Error::Exhausted(_)) if patience.wait(pool, WRITE_BYTES).await => {}
            written => return written,
        }
    }
}
