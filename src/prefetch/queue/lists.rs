//! Lists among the sources: when their sources come in, and where.
//!
//! Pure: no I/O, no clock, no executor.

use std::cmp::Reverse;

use super::{super::spec::name_bytes, Item, NAME_BYTES, NoRoom, Phase, Queue};
use crate::pcm::SourceName;

impl Queue {
    /// Whether there is room for what a list names. Other lists that wait for it too take none, or two
    /// could wait for each other for ever.
    pub(super) fn has_room_for_listed(
        &self,
        list: Item,
        sources: &[SourceName],
    ) -> Result<(), NoRoom> {
        let bytes = name_bytes(sources);
        if sources.len() > self.limits.sources || bytes > NAME_BYTES {
            return Err(NoRoom::Never);
        }
        let waiting = self.full_lists.iter().filter(|other| **other != list).count();
        let others = self.open - 1 - waiting;
        let fits =
            others + sources.len() <= self.limits.sources && self.name_bytes + bytes <= NAME_BYTES;
        if fits { Ok(()) } else { Err(NoRoom::Now) }
    }

    /// A list ends, and its sources come behind those of its prefetch.
    pub(super) fn unfold(&mut self, list: Item, sources: &[SourceName]) {
        let Some(prefetch) = self.prefetches.get_mut(&list.id) else { return };
        let Some(work) = &mut prefetch.work else { return };
        let Some(phase) = work.items.get_mut(list.index as usize) else { return };
        if matches!(phase, Phase::Ended { .. }) || list.index >= work.asked {
            return;
        }
        *phase = Phase::Ended { is_done: false };
        let priority = Reverse(work.spec.priority);
        if let Some(lane) = self.lanes.get_mut(&work.spec.sources[list.index as usize].name) {
            lane.waiting.remove(&(priority, list));
        }
        for (index, source) in (work.items.len() as u32..).zip(sources) {
            let item = Item { id: list.id, index };
            let lane = self.lanes.entry(source.name.clone()).or_default();
            lane.waiting.insert((priority, item));
        }
        work.spec.sources.extend_from_slice(sources);
        work.items.resize(work.spec.sources.len(), Phase::default());
        prefetch.summary.sources += sources.len() - 1;
        self.open += sources.len() - 1;
        self.name_bytes += name_bytes(sources);
        self.full_lists.remove(&list);
    }
}
