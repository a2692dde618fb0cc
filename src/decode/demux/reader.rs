//! What symphonia's readers demultiplex.

use std::collections::VecDeque;

use symphonia::core::{errors::Error as Fault, formats::FormatReader, packet::Packet};

use super::{Next, Piece, frames_of};

/// A reader of symphonia's.
pub(in crate::decode) struct Reader<'y> {
    pub(in crate::decode) format: Box<dyn FormatReader + 'y>,
    pub(in crate::decode) track: u32,
    /// Frames per tick of the track's time base, as a fraction.
    pub(in crate::decode) frames_per_tick: (u64, u64),
    /// Frames of every packet, where the codec fixes them.
    pub(in crate::decode) fixed: Option<u64>,
    /// The durations of its packets are exactly the frames that they decode to.
    pub(in crate::decode) counts_exactly: bool,
    /// Packets that were looked at before their turn.
    pub(in crate::decode) early: VecDeque<Packet>,
    /// The packet lent out last.
    pub(in crate::decode) current: Option<Packet>,
}

impl Reader<'_> {
    /// Looks at the track's first packets before their turn, and gives those that differ from the
    /// one before them: `count` of the first `most`, fewer where the reader stumbles.
    pub(in crate::decode) fn peek(
        &mut self,
        count: usize,
        most: usize,
    ) -> impl Iterator<Item = &[u8]> {
        let mut different = 0;
        while different < count
            && self.early.len() < most
            && let Ok(Some(packet)) = self.read()
        {
            let is_new = self.early.back().is_none_or(|last| last.data != packet.data);
            different += usize::from(is_new);
            self.early.push_back(packet);
        }
        let before = std::iter::once(None).chain(self.early.iter().map(Some));
        let pairs = self.early.iter().zip(before);
        pairs
            .filter(|(packet, before)| before.is_none_or(|before| before.data != packet.data))
            .map(|(packet, _)| &packet.data[..])
    }

    /// The track's next packet of the reader.
    fn read(&mut self) -> Result<Option<Packet>, Fault> {
        loop {
            match self.format.next_packet()? {
                Some(packet) if packet.track_id != self.track => {}
                other => return Ok(other),
            }
        }
    }

    pub(super) fn next(&mut self) -> Next<'_> {
        let packet = match self.early.pop_front() {
            Some(packet) => packet,
            None => match self.read() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Next::End,
                Err(fault) => return broken(&fault),
            },
        };
        let (numerator, denominator) = self.frames_per_tick;
        let counted = || frames_of(packet.block_dur().get(), numerator, denominator);
        let nominal = self.fixed.unwrap_or_else(counted);
        let (trimmed, start) = (packet.trim_end.get(), packet.trim_start.get() as i64);
        let start = packet.pts.get().saturating_add(start);
        let packet = self.current.insert(packet).as_packet_ref();
        Next::Piece(Piece { trimmed, start: Some(start), ..Piece::new(packet, nominal) })
    }
}

/// What an error of a reader means for the loop around it.
fn broken(fault: &Fault) -> Next<'static> {
    match fault {
        Fault::ResetRequired => Next::Changed,
        // The source never fails, it only ends: a packet that it cuts off is not one.
        Fault::IoError(_) => Next::End,
        Fault::DecodeError(why) | Fault::Unsupported(why) | Fault::LimitError(why) => {
            Next::Broken(why)
        }
        _ => Next::Broken("unreadable"),
    }
}
