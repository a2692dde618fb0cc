//! One read, write or sync: what it works on, and who is told how it ended.

use std::{fs::File, io, os::fd::AsRawFd, rc::Rc};

use io_uring::{opcode, squeue, types};

use crate::bufpool::{Block, BlockMut, Memory};

/// An operation owns its file and its memory until it has ended, whoever loses interest.
pub(super) struct Operation {
    pub(super) file: Rc<File>,
    pub(super) action: Action,
    pub(super) ended: Ended,
}

/// What is done, at which position, with how many bytes.
pub(super) enum Action {
    Read {
        into: BlockMut,
        position: u64,
        length: usize,
    },
    Write {
        from: Block,
        position: u64,
    },
    /// Writes what `zeros` holds again and again, `length` bytes in all.
    Zeros {
        zeros: Block,
        position: u64,
        length: usize,
    },
    Sync,
}

/// Gets back what was worked on, and how many bytes went well.
pub(super) type Ended = Box<dyn FnOnce(Action, io::Result<usize>)>;

/// A piece of memory as the kernel is told of it: an `iovec` of readv(2).
#[repr(C)]
pub(super) struct Slice {
    pub(super) start: *const u8,
    pub(super) bytes: usize,
}

impl Action {
    /// The same write, without its first `written` bytes: `left` others.
    pub(super) fn from(self, written: usize, left: usize) -> Self {
        match self {
            Action::Write { from, position } => {
                let from = from.slice(written..written + left);
                Action::Write { from, position: position + written as u64 }
            }
            Action::Zeros { zeros, position, .. } => {
                Action::Zeros { zeros, position: position + written as u64, length: left }
            }
            other => other,
        }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self, Action::Read { .. })
    }

    /// The memory that may be known to the kernel, where it is one piece.
    pub(super) fn memory(&self) -> Option<Memory> {
        match self {
            Action::Read { into, .. } => Some(into.memory()),
            Action::Write { from, .. } => Some(from.memory()),
            Action::Zeros { .. } | Action::Sync => None,
        }
    }

    /// The pieces of memory, where there are several.
    pub(super) fn slices(&self) -> Box<[Slice]> {
        let Action::Zeros { zeros, length, .. } = self else { return Box::default() };
        let part = |at: usize| zeros.len().min(length - at);
        let starts = (0..*length).step_by(zeros.len());
        starts.map(|at| Slice { start: zeros.as_ptr(), bytes: part(at) }).collect()
    }
}

impl Operation {
    /// How the kernel is told: `known` is the number by which it knows the memory, `slices` the list
    /// of its pieces if there are several.
    pub(super) fn entry(&mut self, known: Option<u16>, slices: &[Slice]) -> squeue::Entry {
        let file = types::Fd(self.file.as_raw_fd());
        match &mut self.action {
            Action::Read { into, position, length } => {
                let (memory, length) = (into[..*length].as_mut_ptr(), *length as u32);
                match known {
                    Some(known) => opcode::ReadFixed::new(file, memory, length, known)
                        .offset(*position)
                        .build(),
                    None => opcode::Read::new(file, memory, length).offset(*position).build(),
                }
            }
            Action::Write { from, position } => {
                let (memory, length) = (from.as_ptr(), from.len() as u32);
                match known {
                    Some(known) => opcode::WriteFixed::new(file, memory, length, known)
                        .offset(*position)
                        .build(),
                    None => opcode::Write::new(file, memory, length).offset(*position).build(),
                }
            }
            Action::Zeros { position, .. } => {
                let list = slices.as_ptr().cast();
                opcode::Writev::new(file, list, slices.len() as u32).offset(*position).build()
            }
            Action::Sync => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
        }
    }
}
