//! MPEG transport streams: packets of 188 bytes, the tables that say what they carry, and the headers
//! of what that is cut into.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! Source: ISO/IEC 13818-1; for what private streams hold, ETSI EN 300 468 and the registered format
//! identifiers; for encrypted ones, "MPEG-2 Stream Encryption Format for HTTP Live Streaming".
//!
//! - `packet`: packets, and how they lie in a file;
//! - `tables`: programs and their streams;
//! - `pes`: the header of a packetised elementary stream;
//! - `clock`: times of 90 kHz in 33 bits.

mod clock;
mod packet;
mod pes;
mod tables;

pub(super) use self::{
    clock::Clock,
    packet::{Framing, Packet},
    pes::{Head, parse_head},
    tables::{Coding, Map, Program, Stream, Tables},
};
