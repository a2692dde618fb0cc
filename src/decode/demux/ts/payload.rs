//! The bytes of one elementary stream of a transport stream, put together out of its packets.
//!
//! Packets carry 184 bytes at most, so that bytes are copied here; a frame at a time is there, and never
//! a whole PES packet.

use std::collections::VecDeque;

use super::packets::Packets;
use crate::decode::{
    index::State,
    ts::{Coding, Head, Map, Packet, Program, Tables, parse_head},
};

/// PES packets of which a start is remembered that no frame has come up to: frames are longer.
const STARTS: usize = 4;
/// Bytes that are passed before memory is moved.
const PASSED_BYTES: usize = 4096;

/// Which stream is wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::decode) struct Choice {
    pub(in crate::decode) program: u16,
    /// Its number among the audio streams of the program.
    pub(in crate::decode) track: usize,
    pub(in crate::decode) coding: Coding,
    /// The stream that it is by the tables so far.
    pub(in crate::decode) pid: u16,
}

/// Reads packets as more bytes are wanted.
pub(in crate::decode) struct Payload<'y> {
    packets: Packets<'y>,
    gathered: Gathered,
}

/// All that a payload knows but where it reads.
#[derive(Clone)]
struct Gathered {
    tables: Tables,
    choice: Choice,
    /// The stream that is read; `None` while the tables have none.
    pid: Option<u16>,
    /// Number of its last packet.
    counter: Option<u8>,
    /// What that carried.
    last: Vec<u8>,
    pes: Pes,
    /// Header of the running PES packet, while it is not whole.
    head: Vec<u8>,
    bytes: Vec<u8>,
    /// Where the unread part of them starts.
    from: usize,
    /// Bytes that were passed before all that.
    passed: u64,
    /// Where PES packets start, in bytes of the stream.
    starts: VecDeque<Start>,
    broken: Option<Break>,
    is_scrambled: bool,
}

/// A place in a payload, and all that was known there.
pub(super) struct Mark {
    position: u64,
    gathered: Gathered,
}

/// Where in a PES packet the stream is.
#[derive(Debug, Clone, Copy)]
enum Pes {
    /// Behind its end, or in one that holds no frames.
    Outside,
    /// In its header, the packet with whose start can be entered.
    Head(Option<Entry>),
    /// In what it carries; so much of it is to come, if it says that.
    Body(Option<usize>),
}

/// Where a PES packet starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    at: u64,
    /// Time of the first frame that begins in it.
    pub(super) pts: Option<u64>,
    /// Where to enter to read it, if that is possible.
    pub(super) entry: Option<Entry>,
}

/// A packet with which a PES packet starts, and what has to be known there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    position: u64,
    pid: u16,
    program: Program,
}

impl Entry {
    /// The place of the frame that is so many behind its first.
    pub(super) fn place(self, passed: u16) -> (u64, State) {
        let Self { position, pid, program: Program { number, map_pid } } = self;
        (position, State::Transport { pid, program: number, map_pid, passed })
    }

    /// The same back, and the number.
    pub(super) fn of(position: u64, state: State) -> Option<(Self, u16)> {
        let State::Transport { pid, program: number, map_pid, passed } = state else { return None };
        Some((Self { position, pid, program: Program { number, map_pid } }, passed))
    }
}

/// Where packets are missing by their numbers, which may also only have begun anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Break {
    at: u64,
    /// Times are others behind it.
    pub(super) is_new_time: bool,
}

impl<'y> Payload<'y> {
    pub(in crate::decode) fn new(packets: Packets<'y>, choice: Choice) -> Self {
        Self { packets, gathered: Gathered::new(choice, Tables::default()) }
    }

    /// At least `count` bytes from the current place on; fewer only at the end of the source.
    pub(super) fn ahead(&mut self, count: usize) -> &[u8] {
        while self.gathered.unread().len() < count && self.read() {}
        self.gathered.unread()
    }

    /// Goes on behind a frame.
    pub(super) fn skip(&mut self, count: usize) {
        self.gathered.from += count;
    }

    /// Goes on behind what is no frame. Whatever frame a PES packet before that place began with was not
    /// found, so its time is not that of the next.
    pub(super) fn skip_junk(&mut self, count: usize) {
        self.skip(count);
        let place = self.place();
        self.gathered.starts.retain(|start| start.at >= place);
    }

    /// Bytes of the stream before the current place.
    pub(super) fn place(&self) -> u64 {
        self.gathered.passed + self.gathered.from as u64
    }

    /// The PES packet of which the frame at the current place is the first; whether it starts with it.
    pub(super) fn start(&mut self) -> Option<(Start, bool)> {
        let place = self.place();
        let starts = &mut self.gathered.starts;
        let behind = starts.partition_point(|start| start.at <= place);
        let start = *starts.get(behind.checked_sub(1)?)?;
        Some((start, start.at == place))
    }

    /// A frame was found at the current place: the next is not the first of a PES packet before it.
    pub(super) fn pass_starts(&mut self) {
        let place = self.place();
        self.gathered.starts.retain(|start| start.at > place);
    }

    /// What is missing by the numbers of packets and lies before the current place.
    pub(super) fn take_break(&mut self) -> Option<Break> {
        let place = self.place();
        self.gathered.broken.take_if(|broken| broken.at <= place)
    }

    /// Bytes from the current place to the next place where packets are missing, as far as is known.
    pub(super) fn bytes_to_break(&self) -> Option<usize> {
        let broken = self.gathered.broken.filter(|broken| broken.at > self.place())?;
        Some((broken.at - self.place()) as usize)
    }

    /// Whether some of the stream came encrypted.
    pub(in crate::decode) fn is_scrambled(&self) -> bool {
        self.gathered.is_scrambled
    }

    /// Where it is, to come back.
    pub(super) fn mark(&self) -> Mark {
        Mark { position: self.packets.position(), gathered: self.gathered.clone() }
    }

    /// Comes back.
    pub(super) fn go_back(&mut self, mark: Mark) {
        self.packets.go_to(mark.position);
        self.gathered = mark.gathered;
    }

    /// Goes anywhere, where tables come once more.
    pub(super) fn start_anew(&mut self, position: u64) {
        self.packets.go_to(position);
        self.gathered = Gathered::new(self.gathered.choice, Tables::default());
    }

    /// Goes to the start of a PES packet. False: it is not there.
    pub(super) fn enter(&mut self, entry: Entry) -> bool {
        let Entry { position, pid, program } = entry;
        self.packets.go_to(position);
        let next = self.packets.next();
        let is_there = next.is_some_and(|(_, packet, _)| packet.is_start && packet.pid == pid);
        let choice = Choice { program: program.number, pid, ..self.gathered.choice };
        self.gathered = Gathered::new(choice, Tables::of(program));
        self.packets.go_to(position);
        is_there
    }

    /// Takes a packet of any stream. `false` at the end.
    fn read(&mut self) -> bool {
        let Some((position, packet, payload)) = self.packets.next() else { return false };
        self.gathered.take(position, &packet, payload);
        true
    }
}

impl Gathered {
    fn new(choice: Choice, tables: Tables) -> Self {
        Self {
            tables,
            choice,
            pid: Some(choice.pid),
            counter: None,
            last: Vec::new(),
            pes: Pes::Outside,
            head: Vec::new(),
            bytes: Vec::new(),
            from: 0,
            passed: 0,
            starts: VecDeque::new(),
            broken: None,
            is_scrambled: false,
        }
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    /// Bytes of the stream up to the end of what is there.
    fn end(&self) -> u64 {
        self.passed + self.bytes.len() as u64
    }

    fn take(&mut self, position: u64, packet: &Packet, payload: &[u8]) {
        if self.pid != Some(packet.pid) {
            for map in self.tables.take(packet.pid, packet.is_start, payload) {
                self.follow(&map);
            }
        } else if packet.is_scrambled {
            // It is missing by its number.
            self.is_scrambled = true;
        } else if self.is_new(packet, payload) {
            if packet.is_start {
                self.start_pes(position);
            }
            self.add(payload);
        }
    }

    /// The wanted stream may have another number from here on.
    fn follow(&mut self, map: &Map) {
        let Choice { program, track, coding, .. } = self.choice;
        let stream = map.audio.get(track).filter(|stream| stream.coding == coding);
        let pid = stream.map(|stream| stream.pid);
        let is_listed = self.tables.program(program).is_some();
        if map.program != program && (is_listed || pid.is_none()) {
            return;
        }
        self.choice.program = map.program;
        if pid != self.pid {
            (self.pid, self.counter, self.pes) = (pid, None, Pes::Outside);
            self.break_here(false);
        }
    }

    /// Whether a packet carries what no packet before it did. Says where some are missing.
    fn is_new(&mut self, packet: &Packet, payload: &[u8]) -> bool {
        if packet.is_discontinuous {
            self.break_here(true);
        }
        if payload.is_empty() {
            return false;
        }
        let before = self.counter.replace(packet.counter);
        let is_next = before.is_none_or(|before| packet.counter == (before + 1) & 15);
        if before == Some(packet.counter) && self.last == payload {
            return false; // Packets may be sent twice.
        }
        self.last.clear();
        self.last.extend_from_slice(payload);
        if !is_next {
            self.break_here(false);
            if let Pes::Body(left) = &mut self.pes {
                // The start of another may be among what is missing.
                *left = None;
            }
        }
        true
    }

    fn break_here(&mut self, is_new_time: bool) {
        let is_new_time = is_new_time || self.broken.is_some_and(|broken| broken.is_new_time);
        self.broken = Some(Break { at: self.end(), is_new_time });
    }

    fn start_pes(&mut self, position: u64) {
        if matches!(self.pes, Pes::Head(_) | Pes::Body(Some(1..))) {
            // The end of the last one is missing.
            self.break_here(false);
        }
        let program = self.tables.program(self.choice.program);
        let stream = self.pid.zip(program).filter(|_| !self.tables.is_begun());
        self.head.clear();
        self.pes = Pes::Head(stream.map(|(pid, program)| Entry { position, pid, program }));
    }

    /// Adds a packet's payload to the stream.
    fn add(&mut self, payload: &[u8]) {
        match self.pes {
            Pes::Outside => {}
            Pes::Body(left) => self.add_body(payload, left),
            Pes::Head(entry) => {
                self.head.extend_from_slice(payload);
                match parse_head(&self.head) {
                    Head::Begun => {}
                    Head::Nothing => {
                        self.pes = Pes::Outside;
                        self.break_here(false);
                    }
                    Head::Whole { header_bytes, pts, payload_bytes, is_scrambled } => {
                        self.is_scrambled |= is_scrambled;
                        self.add_start(pts, entry);
                        let head = std::mem::take(&mut self.head);
                        self.add_body(&head[header_bytes..], payload_bytes);
                        self.head = head;
                    }
                }
            }
        }
    }

    fn add_start(&mut self, pts: Option<u64>, entry: Option<Entry>) {
        if self.starts.len() == STARTS {
            self.starts.pop_front();
        }
        self.starts.push_back(Start { at: self.end(), pts, entry });
    }

    /// Adds what a PES packet carries, of which so much is to come, if it says that.
    fn add_body(&mut self, bytes: &[u8], left: Option<usize>) {
        let count = left.map_or(bytes.len(), |left| left.min(bytes.len()));
        self.pes = Pes::Body(left.map(|left| left - count));
        let passed = self.from.min(self.bytes.len());
        if passed == self.bytes.len() || passed >= PASSED_BYTES {
            self.bytes.drain(..passed);
            self.from -= passed;
            self.passed += passed as u64;
        }
        self.bytes.extend_from_slice(&bytes[..count]);
    }
}
