//! Which programs a transport stream carries, and which audio they have.
//!
//! Pure: no I/O, no clock, no executor.

use std::mem;

use crc_fast::{CrcAlgorithm, checksum};

use crate::decode::{AudioTrack, headers::Kind};

/// The stream in which programs are listed.
const LIST_PID: u16 = 0;
/// Programs that are looked at: a whole transponder has 20.
const PROGRAMS: usize = 64;
/// Audio streams of a program that are looked at.
const STREAMS: usize = 32;
/// Bytes of a section of these tables at most.
const SECTION_BYTES: usize = 1024;

/// A program, and where it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Program {
    pub(in crate::decode) number: u16,
    pub(in crate::decode) map_pid: u16,
}

/// The audio streams of a program, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decode) struct Map {
    pub(in crate::decode) program: u16,
    pub(in crate::decode) audio: Vec<Stream>,
}

/// An audio stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decode) struct Stream {
    pub(in crate::decode) pid: u16,
    pub(in crate::decode) coding: Coding,
    /// As ISO 639-2 has it.
    pub(in crate::decode) language: Option<String>,
}

/// What an audio stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Coding {
    /// AAC in ADTS.
    Adts,
    /// MPEG audio of any layer.
    Mpeg,
    /// What we do not decode, by the name people use.
    Other(&'static str),
}

impl Coding {
    /// Whether frames of a kind can be in it.
    pub(in crate::decode) fn holds(self, kind: Kind) -> bool {
        match kind {
            Kind::Adts => self == Self::Adts,
            Kind::Mpeg { .. } => self == Self::Mpeg,
        }
    }
}

/// What the tables said last.
#[derive(Debug, Clone, Default)]
pub(in crate::decode) struct Tables {
    programs: Vec<Program>,
    /// By stream, what is there of a section that goes on with the next packet.
    begun: Vec<(u16, Vec<u8>)>,
}

impl Tables {
    /// Those of a stream of which no more is known than one program.
    pub(in crate::decode) fn of(program: Program) -> Self {
        Self { programs: vec![program], begun: Vec::new() }
    }

    /// All programs that are listed.
    pub(in crate::decode) fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// The program of this number, if it is listed.
    pub(in crate::decode) fn program(&self, number: u16) -> Option<Program> {
        self.programs.iter().find(|program| program.number == number).copied()
    }

    /// Whether some table is there in part.
    pub(in crate::decode) fn is_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Takes the payload of a packet of any stream; gives the maps that it completes.
    pub(in crate::decode) fn take(&mut self, pid: u16, is_start: bool, payload: &[u8]) -> Vec<Map> {
        let is_map = self.programs.iter().any(|program| program.map_pid == pid);
        if pid != LIST_PID && !is_map {
            return Vec::new();
        }
        let before = self.begun.iter().position(|(begun, _)| *begun == pid);
        let mut section = before.map_or_else(Vec::new, |at| self.begun.swap_remove(at).1);
        append(&mut section, is_start, payload);
        let mut maps = Vec::new();
        while let Some(whole) = next_section(&mut section) {
            match pid {
                LIST_PID => self.list(&whole),
                _ => maps.extend(parse_map(&whole)),
            }
        }
        if !section.is_empty() {
            self.begun.push((pid, section));
        }
        maps
    }

    /// Takes a section of the list of programs.
    fn list(&mut self, section: &[u8]) {
        let Some((head, entries)) = body(section, 0) else { return };
        if head[6] == 0 {
            // The first section of the list.
            self.programs.clear();
        }
        for entry in entries.chunks_exact(4) {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let map_pid = u16::from_be_bytes([entry[2] & 0x1F, entry[3]]);
            // Number 0 is where the network is described.
            if number > 0 && self.programs.len() < PROGRAMS && self.program(number).is_none() {
                self.programs.push(Program { number, map_pid });
            }
        }
        let Self { programs, begun } = self;
        let is_there = |pid: u16| programs.iter().any(|program| program.map_pid == pid);
        begun.retain(|(pid, _)| is_there(*pid));
    }
}

/// Adds a packet's payload to the section that it goes on with, or starts another.
fn append(section: &mut Vec<u8>, is_start: bool, payload: &[u8]) {
    if !is_start {
        // What goes on with nothing began in a packet that is lost.
        if !section.is_empty() {
            section.extend_from_slice(payload);
        }
        return;
    }
    let parts = payload.split_first().and_then(|(end, rest)| rest.split_at_checked((*end).into()));
    let (end, start) = parts.unwrap_or_default();
    section.extend_from_slice(end);
    if section_bytes(section) != Some(section.len()) {
        section.clear();
    }
    section.extend_from_slice(start);
}

/// Length of the section that starts here.
fn section_bytes(section: &[u8]) -> Option<usize> {
    let &[_, high, low, ..] = section else { return None };
    Some(3 + usize::from(u16::from_be_bytes([high & 0x0F, low])))
}

/// Cuts the first whole section off; what can be none is dropped.
fn next_section(section: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = section_bytes(section);
    if section.first() == Some(&0xFF) || length.is_some_and(|length| length > SECTION_BYTES) {
        section.clear();
    }
    let length = length.filter(|length| *length <= section.len())?;
    let rest = section.split_off(length);
    Some(mem::replace(section, rest))
}

/// Head and entries of a section of table `id` that is in force and undamaged.
fn body(section: &[u8], id: u8) -> Option<(&[u8; 8], &[u8])> {
    let (head, rest) = section.split_first_chunk::<8>()?;
    let entries = rest.get(..rest.len().checked_sub(4)?)?;
    // The sum of all with the sum behind it is 0.
    let is_sound = checksum(CrcAlgorithm::Crc32Mpeg2, section) == 0;
    (head[0] == id && head[5] & 1 == 1 && is_sound).then_some((head, entries))
}

fn parse_map(section: &[u8]) -> Option<Map> {
    let (head, entries) = body(section, 2)?;
    let program = u16::from_be_bytes([head[3], head[4]]);
    // The stream of the program's clock, then what is said of the program.
    let (said, mut rest) = entries.get(2..)?.split_first_chunk()?;
    rest = rest.get(length_of(*said)..)?;
    let mut audio = Vec::new();
    while let Some((&[kind, pid_high, pid_low, high, low], behind)) = rest.split_first_chunk() {
        let (said, behind) = behind.split_at_checked(length_of([high, low]))?;
        if let Some(coding) = coding_of(kind, said).filter(|_| audio.len() < STREAMS) {
            let pid = u16::from_be_bytes([pid_high & 0x1F, pid_low]);
            audio.push(Stream { pid, coding, language: language(said) });
        }
        rest = behind;
    }
    Some(Map { program, audio })
}

fn length_of([high, low]: [u8; 2]) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0F, low]))
}

/// What a stream of a type, of which descriptors say more, holds; `None` if that is no audio.
fn coding_of(kind: u8, descriptors: &[u8]) -> Option<Coding> {
    Some(match kind {
        0x03 | 0x04 => Coding::Mpeg,
        0x0F => Coding::Adts,
        0x11 => Coding::Other("aac_latm"),
        0x1C => Coding::Other("aac (without ADTS)"),
        0x2D | 0x2E => Coding::Other("mpegh_3d_audio"),
        0x81 => Coding::Other("ac3"),
        0x82 | 0x85 | 0x86 | 0x8A => Coding::Other("dts"),
        0x83 => Coding::Other("truehd"),
        0x84 | 0x87 => Coding::Other("eac3"),
        0xC1 => Coding::Other("ac3 (SAMPLE-AES)"),
        0xC2 => Coding::Other("eac3 (SAMPLE-AES)"),
        0xCF => Coding::Other("aac (SAMPLE-AES)"),
        0x06 => Coding::Other(private(descriptors)?),
        _ => return None,
    })
}

/// The language that descriptors name first.
fn language(mut descriptors: &[u8]) -> Option<String> {
    while let &[tag, length, ref rest @ ..] = descriptors {
        let (said, behind) = rest.split_at_checked(length.into())?;
        if let (0x0A, Some(code)) = (tag, said.get(..3)) {
            return AudioTrack::language(std::str::from_utf8(code).ok()?);
        }
        descriptors = behind;
    }
    None
}

/// The name of what a private stream holds, if that is audio.
fn private(mut descriptors: &[u8]) -> Option<&'static str> {
    while let &[tag, length, ref rest @ ..] = descriptors {
        let (said, behind) = rest.split_at_checked(length.into())?;
        let name = match (tag, said) {
            (0x05, [b'O', b'p', b'u', b's', ..]) | (0x7F, [0x80, ..]) => Some("opus"),
            (0x05, [b'A', b'C', b'-', b'3', ..]) | (0x6A, _) => Some("ac3"),
            (0x05, [b'E', b'A', b'C', b'3', ..]) | (0x7A, _) => Some("eac3"),
            (0x05, [b'A', b'C', b'-', b'4', ..]) | (0x7F, [0x15, ..]) => Some("ac4"),
            (0x05, [b'D', b'T', b'S', b'1'..=b'3', ..]) | (0x7B, _) => Some("dts"),
            (0x05, [b'B', b'S', b'S', b'D', ..]) => Some("s302m"),
            (0x7C, _) => Some("aac_latm"),
            _ => None,
        };
        if name.is_some() {
            return name;
        }
        descriptors = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section with its length and its sum.
    fn section(id: u8, number: u16, part: u8, entries: &[u8]) -> Vec<u8> {
        let length = (entries.len() + 9) as u8;
        let mut bytes = vec![id, 0xB0, length, (number >> 8) as u8, number as u8, 0xC1, part, 0];
        bytes.extend(entries);
        let sum = checksum(CrcAlgorithm::Crc32Mpeg2, &bytes) as u32;
        bytes.extend(sum.to_be_bytes());
        bytes
    }

    fn list(programs: &[(u16, u16)]) -> Vec<u8> {
        let entry = |(number, pid): &(u16, u16)| [number.to_be_bytes(), pid.to_be_bytes()].concat();
        section(0, 1, 0, &programs.iter().flat_map(entry).collect::<Vec<_>>())
    }

    fn map(program: u16, streams: &[(u8, u16, &[u8])]) -> Vec<u8> {
        let mut entries = vec![0xE1, 0, 0xF0, 2, 0x0E, 0];
        for (kind, pid, said) in streams {
            entries.extend([*kind, 0xE0 | (pid >> 8) as u8, *pid as u8, 0xF0, said.len() as u8]);
            entries.extend(*said);
        }
        section(2, program, 0, &entries)
    }

    /// The payload of a packet in which a section starts.
    fn started(section: &[u8]) -> Vec<u8> {
        [&[0], section, &[0xFF; 9]].concat()
    }

    #[test]
    fn programs_have_their_audio_in_its_order() {
        let mut tables = Tables::default();
        let list = list(&[(0, 16), (7, 0x100), (8, 0x200)]);
        assert!(tables.take(0, true, &started(&list)).is_empty());
        assert_eq!(tables.programs().iter().map(|p| p.number).collect::<Vec<_>>(), [7, 8]);
        let streams: [(u8, u16, &[u8]); 6] = [
            (0x1B, 0x101, &[]),
            (0x06, 0x102, &[0x0A, 1, 0, 0x05, 4, b'O', b'p', b'u', b's']),
            (0x06, 0x103, &[0x56, 0]),
            (0x0F, 0x104, &[0x56, 1, 0, 0x0A, 4, b'd', b'e', b'u', 0]),
            (0xCF, 0x105, &[0x0A, 4, b'u', b'n', b'd', 0]),
            (0x03, 0x106, &[0x0A, 4, b'd']),
        ];
        let map = map(7, &streams);
        let found = tables.take(0x100, true, &started(&map));
        let audio = [
            (0x102, Coding::Other("opus"), None),
            (0x104, Coding::Adts, Some("deu".to_owned())),
            (0x105, Coding::Other("aac (SAMPLE-AES)"), None),
            (0x106, Coding::Mpeg, None),
        ];
        let audio = audio.map(|(pid, coding, language)| Stream { pid, coding, language }).to_vec();
        assert_eq!(found, [Map { program: 7, audio }]);
        assert!(tables.take(0x300, true, &started(&map)).is_empty(), "nothing is listed there");
    }

    #[test]
    fn a_section_may_go_on_in_other_packets_and_others_may_follow_it() {
        let (one, other) = (map(7, &[(0x0F, 0x104, &[0; 90])]), map(8, &[(0x03, 0x105, &[])]));
        let mut tables = Tables::default();
        tables.take(0, true, &started(&list(&[(7, 0x100), (8, 0x100)])));
        assert!(tables.take(0x100, true, &[&[0], &one[..40]].concat()).is_empty());
        assert!(tables.is_begun());
        assert!(tables.take(0x100, false, &one[40..60]).is_empty());
        let rest = [&[(one.len() - 60) as u8], &one[60..], &other, &[0xFF; 4]].concat();
        let found = tables.take(0x100, true, &rest);
        assert_eq!(found.iter().map(|map| map.program).collect::<Vec<_>>(), [7, 8]);
        assert!(!tables.is_begun());
    }

    #[test]
    fn damaged_sections_say_nothing() {
        let map = map(7, &[(0x0F, 0x104, &[])]);
        for at in 0..map.len() {
            let mut tables = Tables::of(Program { number: 7, map_pid: 0x100 });
            let mut damaged = map.clone();
            damaged[at] ^= 4;
            assert!(tables.take(0x100, true, &started(&damaged)).is_empty(), "byte {at}");
            assert_eq!(tables.take(0x100, true, &started(&map)).len(), 1, "byte {at}");
        }
    }
}
