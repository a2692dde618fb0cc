//! The queue as its journal tells it.
//!
//! Pure: no I/O, no clock, no executor.

use std::cmp::Reverse;

use super::{
    super::journal::{Record, Summary},
    Item, Phase, Prefetch, Queue,
};

impl Queue {
    /// Everything that [`apply`](Self::apply) makes this queue of, without what runs.
    pub fn records(&self) -> Vec<Record> {
        let mut records = vec![Record::LastId(self.last_id)];
        for (id, prefetch) in &self.prefetches {
            records.push(match &prefetch.work {
                None => Record::Summary {
                    id: *id,
                    is_cancelled: prefetch.is_cancelled,
                    summary: prefetch.summary.clone(),
                },
                Some(work) => Record::Accepted {
                    id: *id,
                    unix_ms: prefetch.summary.accepted_unix_ms,
                    spec: work.spec.clone(),
                    asked: work.asked,
                    ended: work.ended(),
                    summary: prefetch.summary.clone(),
                },
            });
        }
        records
    }

    /// Takes in what the journal kept. What does not fit to what came before means nothing.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::LastId(id) => self.last_id = self.last_id.max(id),
            Record::Accepted { id, unix_ms, spec, asked, ended, summary } => {
                // It was accepted, though fewer may be now.
                if self.prefetches.contains_key(&id) {
                    return;
                }
                self.enter(id, spec, asked, unix_ms);
                self.skip(id, &ended, summary);
            }
            Record::Ended { id, index, unix_ms, ended } => {
                self.end_item(Item { id, index }, &ended);
                // What was there of it then is not known any more, unless the next record says so.
                if self.is_over(id) {
                    self.end(id, unix_ms);
                }
            }
            Record::Listed { id, index, sources } => self.unfold(Item { id, index }, &sources),
            Record::There { id, there } => {
                if let Some(prefetch) = self.prefetches.get_mut(&id) {
                    prefetch.summary.there = Some(there);
                }
            }
            Record::Cancelled { id, unix_ms } => drop(self.cancel(id, unix_ms)),
            Record::Summary { id, is_cancelled, summary } => {
                if self.prefetches.contains_key(&id) {
                    return;
                }
                self.last_id = self.last_id.max(id);
                self.prefetches.insert(id, Prefetch { work: None, is_cancelled, summary });
                self.ended.push_back(id);
            }
        }
    }

    /// Some of its items had ended before.
    fn skip(&mut self, id: u64, ended: &[u32], summary: Summary) {
        if ended.is_empty() {
            return;
        }
        let Some(prefetch) = self.prefetches.get_mut(&id) else { return };
        let Some(work) = &mut prefetch.work else { return };
        let mut skipped = 0;
        for &index in ended {
            let Some(phase) = work.items.get_mut(index as usize) else { continue };
            let ended = Phase::Ended { is_done: true };
            if !matches!(std::mem::replace(phase, ended), Phase::Ended { .. }) {
                let place = (Reverse(work.spec.priority), Item { id, index });
                let lane = self.lanes.get_mut(&work.spec.sources[index as usize].name);
                if let Some(lane) = lane {
                    lane.waiting.remove(&place);
                }
                skipped += 1;
            }
        }
        self.open -= skipped;
        // A list that was read is none of them.
        let sources = summary.sources.min(work.items.len());
        prefetch.summary = Summary { sources, ..summary };
        if work.is_over() {
            let at = prefetch.summary.accepted_unix_ms;
            self.end(id, at);
        }
    }
}
