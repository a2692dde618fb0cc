//! Operations in the kernel's hands: the one file of this folder that is not safe code.
//!
//! What makes it sound is one rule: an operation lies in the table from before the kernel hears of it
//! until its completion was seen, and nobody touches it there. It owns its memory and its file, so the
//! kernel never reads or writes what has another owner, and the place it names in the kernel's table of
//! memory stays the same. When this is dropped, all have to end first.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use io_uring::{IoUring, Probe, opcode};
use slab::Slab;

use super::{
    operation::{Operation, Slice},
    registered::{Found, Registered},
};
use crate::bufpool::{Class, Memory};

/// The most operations in the kernel at once. So many entries both queues have at least: neither
/// ever overflows. Twice what a disk of today takes at a time.
pub(super) const IN_FLIGHT: usize = 128;

/// The most pieces of memory that the kernel is told of beforehand: 64 MiB, what the hottest part of
/// a pool is.
const REGISTERED: u64 = 1024;

/// What the kernel must know how to do.
const OPERATIONS: [(&str, u8); 6] = [
    ("READ", opcode::Read::CODE),
    ("WRITE", opcode::Write::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("FSYNC", opcode::Fsync::CODE),
];

/// What a kernel gives to a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// Operations and features that are needed and not there.
    pub missing: Vec<&'static str>,
    /// Whether it takes memory beforehand, a piece at a time (Linux 5.19).
    pub registers: bool,
}

/// The kernel's ring with what is in it.
pub(super) struct Flight {
    uring: IoUring,
    operations: Slab<InFlight>,
    registered: Registered,
    /// The kernel left something in the queue.
    is_refused: bool,
}

struct InFlight {
    operation: Operation,
    /// The number by which it names its memory.
    known: Option<u16>,
    /// The pieces of its memory, where it names several: the kernel reads this list.
    _slices: Box<[Slice]>,
}

impl Flight {
    /// A ring that rings `bell`, an eventfd, at each completion, and tells the kernel beforehand of at
    /// most `registered_bytes` of memory.
    pub(super) fn new(bell: BorrowedFd<'_>, registered_bytes: u64) -> io::Result<Self> {
        let uring = build()?;
        uring.submitter().register_eventfd(bell.as_raw_fd())?;
        let places = (registered_bytes / Class::Large.bytes() as u64).min(REGISTERED) as u16;
        let takes = places > 0 && uring.submitter().register_buffers_sparse(places.into()).is_ok();
        let registered = Registered::new(if takes { places } else { 0 });
        let operations = Slab::with_capacity(IN_FLIGHT);
        Ok(Self { uring, operations, registered, is_refused: false })
    }

    /// What this kernel gives.
    pub(super) fn support() -> io::Result<Support> {
        let uring = build()?;
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        let missing = OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code));
        let mut missing: Vec<_> = missing.map(|(name, _)| *name).collect();
        if !uring.params().is_feature_nodrop() {
            missing.push("NODROP");
        }
        let registers = uring.submitter().register_buffers_sparse(1).is_ok();
        Ok(Support { missing, registers })
    }

    pub(super) fn has_room(&self) -> bool {
        self.operations.len() < IN_FLIGHT
    }

    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    pub(super) fn registered(&self) -> usize {
        self.registered.count()
    }

    /// Puts an operation into the queue for the kernel. There has to be room.
    pub(super) fn push(&mut self, mut operation: Operation) {
        assert!(self.has_room(), "who pushes has looked");
        let known = operation.action.memory().and_then(|memory| self.register(&memory));
        let slices = operation.action.slices();
        let entry = operation.entry(known, &slices);
        known.into_iter().for_each(|place| self.registered.hold(place));
        let key = self.operations.insert(InFlight { operation, known, _slices: slices });
        let entry = entry.user_data(key as u64);
        // SAFETY: the file, the memory and the list that the entry names belong to what is in the table
        // now and leaves it only when its completion was seen; none of them moves with it. No length
        // is beyond its memory: `entry` and `slices` see to that.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.expect("the queue has an entry for each operation in flight");
    }

    /// Gives the kernel what was pushed. What it refuses for want of memory stays in the queue.
    pub(super) fn submit(&mut self) {
        // Whatever else it might say is a fault of this file.
        let _ = self.uring.submit();
        self.is_refused = !self.uring.submission().is_empty();
    }

    /// Whether the kernel did not take all that was pushed: submit it again.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Takes out one that has ended, with what the kernel said.
    pub(super) fn reap(&mut self) -> Option<(Operation, io::Result<usize>)> {
        let completion = self.uring.completion().next()?;
        let in_flight = self.operations.remove(completion.user_data() as usize);
        in_flight.known.into_iter().for_each(|place| self.registered.release(place));
        let outcome = match completion.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            bytes => Ok(bytes as usize),
        };
        Some((in_flight.operation, outcome))
    }

    /// The number by which the kernel knows this piece of memory, having told it where it can be.
    fn register(&mut self, memory: &Memory) -> Option<u16> {
        if memory.class != Class::Large {
            return None;
        }
        let place = match self.registered.find(memory.number) {
            Found::At(place) => return Some(place),
            Found::Nowhere => return None,
            Found::Free(place) => place,
        };
        let slice = Slice { start: memory.start.as_ptr(), bytes: memory.class.bytes() };
        // SAFETY: a `Slice` is an `iovec`, and this one the whole of a piece that is allocated, since the
        // operation at hand has a block in it. The kernel holds on to its pages by itself, and uses
        // them only for operations that name the place: those for memory of this number, which is
        // never given again, so none once the piece was freed.
        let told = unsafe {
            let list = std::slice::from_raw_parts((&raw const slice).cast(), 1);
            self.uring.submitter().register_buffers_update(place.into(), list, None)
        };
        match told {
            Ok(()) => self.registered.put(place, memory.number),
            // No more memory may be locked: the rest does without.
            Err(_) => self.registered.no_more(),
        }
        told.is_ok().then_some(place)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Whoever ends in good order has waited for this before. Memory that the kernel still writes
        // to is not given back in any case.
        while !self.operations.is_empty() {
            match self.uring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    std::mem::forget(std::mem::take(&mut self.operations));
                }
                _ => while self.reap().is_some() {},
            }
        }
    }
}

fn build() -> io::Result<IoUring> {
    let entries = IN_FLIGHT as u32;
    // The shard's thread alone submits. Not `coop_taskrun`: an end that waits until the shard enters the
    // kernel by itself is told late, just while it is busy with the ends before it.
    let own = IoUring::builder().setup_single_issuer().build(entries);
    // Before Linux 6.0 the flag is not known.
    own.or_else(|_| IoUring::new(entries))
}
