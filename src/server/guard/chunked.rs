//! The strict reader of chunked bodies.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! It only finds the end: the bytes pass on unchanged and are taken apart behind the guard, by a
//! reader that is laxer. What passes here means the same to both.

use super::{
    Refusal,
    field::{Field, is_text, is_token_byte},
};

/// Hexadecimal digits of a chunk size: up to 2^60 - 1 bytes, and no room for floods of zeros.
const SIZE_DIGITS: u8 = 15;
/// Bytes of the extensions of one chunk.
const EXTENSION_BYTES: usize = 256;
/// Bytes of all extensions of a body: they carry nothing and must not become a free ride.
const EXTENSIONS_BYTES: usize = 4 << 10;
/// Bytes of a trailer section.
const TRAILER_BYTES: usize = 4 << 10;
/// Fields of a trailer section.
const TRAILER_FIELDS: usize = 16;
/// Fields that would change how the message is read, were they believed in a trailer.
const FRAMING_FIELDS: [&str; 5] =
    ["content-length", "transfer-encoding", "host", "connection", "trailer"];

/// How far a call of [`Chunked::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that belong to the body, from the front of what was given.
    pub taken: usize,
    /// The body ended with the last of them.
    pub done: bool,
}

/// A chunked body while it arrives: RFC 9112, section 7.1.
#[derive(Debug, Clone)]
pub struct Chunked {
    state: State,
    extensions_bytes: usize,
    /// The trailer line that is not whole yet. Empty until trailers come, which is almost never.
    line: Vec<u8>,
    trailer_bytes: usize,
    trailer_fields: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { value: u64, bytes: usize },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    Done,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            state: State::Size { value: 0, digits: 0 },
            extensions_bytes: 0,
            line: Vec::new(),
            trailer_bytes: 0,
            trailer_fields: 0,
        }
    }
}

impl Chunked {
    /// Reads on in `bytes`, which follow those taken before.
    ///
    /// # Errors
    /// The framing is refused, whatever comes after.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let mut taken = 0;
        while taken < bytes.len() && !matches!(self.state, State::Done) {
            if let State::Data { left } = &mut self.state {
                let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                (*left, taken) = (*left - step as u64, taken + step);
                if *left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(bytes[taken])?;
                taken += 1;
            }
        }
        Ok(Progress { taken, done: matches!(self.state, State::Done) })
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size { value, digits } => size(value, digits, byte),
            State::Extension { value, bytes } => self.extension(value, bytes, byte),
            State::SizeLf { .. } if byte != b'\n' => Err(Refusal::BareCr),
            State::SizeLf { value: 0 } => Ok(State::Trailer),
            State::SizeLf { value } => Ok(State::Data { left: value }),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size { value: 0, digits: 0 }),
            State::DataCr | State::DataLf => Err(Refusal::ChunkEnd),
            State::Trailer => self.trailer(byte),
            State::TrailerLf if byte == b'\n' => self.trailer_line(),
            State::TrailerLf => Err(Refusal::BareCr),
            State::Data { .. } | State::Done => unreachable!("handled by advance"),
        }
    }

    fn extension(&mut self, value: u64, bytes: usize, byte: u8) -> Result<State, Refusal> {
        self.extensions_bytes += 1;
        match byte {
            b'\n' => Err(Refusal::BareLf),
            b'\r' if bytes > 0 => Ok(State::SizeLf { value }),
            // The first byte after the semicolon begins a name (section 7.1.1).
            _ if bytes == 0 && !is_token_byte(byte) => Err(Refusal::ChunkExtension),
            _ if !is_text(byte) => Err(Refusal::ChunkExtension),
            _ if bytes == EXTENSION_BYTES => Err(Refusal::ChunkExtension),
            _ if self.extensions_bytes > EXTENSIONS_BYTES => Err(Refusal::ChunkExtension),
            _ => Ok(State::Extension { value, bytes: bytes + 1 }),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailer_bytes += 1;
        match byte {
            b'\r' => Ok(State::TrailerLf),
            b'\n' => Err(Refusal::BareLf),
            0 => Err(Refusal::Nul),
            _ if self.trailer_bytes > TRAILER_BYTES => Err(Refusal::Trailers),
            _ => {
                self.line.push(byte);
                Ok(State::Trailer)
            }
        }
    }

    fn trailer_line(&mut self) -> Result<State, Refusal> {
        if self.line.is_empty() {
            return Ok(State::Done);
        }
        self.trailer_fields += 1;
        let field = Field::parse(&self.line)?;
        let framing = FRAMING_FIELDS.iter().any(|name| field.is(name));
        if framing || self.trailer_fields > TRAILER_FIELDS {
            return Err(Refusal::Trailers);
        }
        self.line.clear();
        Ok(State::Trailer)
    }
}

fn size(value: u64, digits: u8, byte: u8) -> Result<State, Refusal> {
    match byte {
        b'\r' if digits > 0 => Ok(State::SizeLf { value }),
        b';' if digits > 0 => Ok(State::Extension { value, bytes: 0 }),
        b'\n' => Err(Refusal::BareLf),
        _ if digits == SIZE_DIGITS => Err(Refusal::ChunkSize),
        _ => {
            let digit = char::from(byte).to_digit(16).ok_or(Refusal::ChunkSize)?;
            Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
        }
    }
}
