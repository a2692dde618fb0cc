//! What happens on a shard, as the operator is told it, and the bounded line it waits in.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::SessionId;
use crate::{assets::News, hls::abr::VariantIndex, runtime::ShardId};

/// Notices that wait for one listener; what comes beyond that is counted and dropped.
const NOTICES_PER_LISTENER: usize = 256;

/// What is shown of a name, in bytes: a path may be as long as a request's head.
const NAME_BYTES: usize = 256;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub shard: ShardId,
    /// When.
    pub at: SystemTime,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A session began.
    SessionBegun {
        /// Its name.
        id: SessionId,
        /// Of what.
        source: String,
        /// What is made of it: `pcm`, `object`, `probe` or `prefetch`.
        job: &'static str,
    },
    /// A session ended.
    SessionEnded {
        /// Its name.
        id: SessionId,
        /// In which way.
        end: End,
        /// Body bytes that were handed to its client's connection.
        bytes: u64,
        /// How long it lasted.
        lasted: Duration,
    },
    /// The fetching of a resource began.
    FillBegun {
        /// Of which one.
        url: String,
    },
    /// It ended: the resource is complete, or nobody wants the rest.
    FillEnded {
        /// Of which one.
        url: String,
        /// Bytes that were fetched.
        bytes: u64,
    },
    /// It failed for everybody who waited.
    FillFailed {
        /// Of which one.
        url: String,
        /// Why.
        why: String,
    },
    /// A resource left the cache to make room.
    Evicted {
        /// Which one.
        url: String,
    },
    /// A prefetch begins.
    PrefetchBegun {
        /// Its number.
        id: u64,
        /// The first of its sources.
        source: String,
        /// How many there are.
        sources: usize,
    },
    /// A prefetch ended: complete, or cancelled.
    PrefetchEnded {
        /// Its number.
        id: u64,
        /// In which way.
        end: End,
        /// Bytes that are there.
        bytes: u64,
    },
    /// A prefetch ended without some of its sources.
    PrefetchFailed {
        /// Its number.
        id: u64,
        /// How many are missing.
        sources: usize,
        /// Why the first of them is.
        why: String,
    },
    /// A session plays another segment than before, or another variant.
    SegmentBegun {
        /// The name of the session.
        id: SessionId,
        /// What it plays.
        hearing: Hearing,
    },
    /// A session waited for what it plays until it had nothing left to play.
    Stalled {
        /// The name of the session.
        id: SessionId,
        /// For how long.
        lasted: Duration,
    },
    /// A segment was fetched ahead of a listener.
    SegmentFetched {
        /// The playlist that names it.
        playlist: String,
        /// Which, counted from 0.
        segment: u32,
        /// Its bytes.
        bytes: u64,
        /// How long they came, if they came from the origin: what the line carries.
        took: Option<Duration>,
    },
    /// The variant of a segment to come was chosen.
    VariantChosen {
        /// The playlist that names the variants.
        source: String,
        /// The segment, counted from 0.
        segment: u32,
        /// The variant, by its place in the playlist.
        variant: VariantIndex,
        /// Why.
        why: String,
    },
    /// A segment cannot be had, and is silence.
    SegmentMissing {
        /// The playlist that names it.
        playlist: String,
        /// Which, counted from 0.
        segment: u32,
        /// Why.
        why: String,
    },
    /// A key was fetched.
    KeyFetched {
        /// The playlist that names it.
        playlist: String,
    },
    /// Work was turned away.
    Refused {
        /// By which bound.
        reason: Reason,
    },
    /// The shard takes no new work any more.
    DrainBegun,
    /// So many notices before this one were dropped, because their listener was slow.
    Dropped {
        /// How many.
        notices: u64,
    },
}

/// What of a presentation a session plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// By its place in the multivariant playlist, where there is one.
    pub variant: Option<VariantIndex>,
    /// The segment, counted from 0, near enough.
    pub segment: u32,
    /// Segments so far that could not be had, wholly or in part, and were silence.
    pub missing: u32,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of its body was handed over.
    Complete,
    /// It had no answer but a refusal.
    Refused,
    /// Its source failed.
    Failed,
    /// The operator ended it.
    Cancelled,
    /// Its client left.
    Left,
}

/// A bound at which work is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Sessions, for want of memory.
    Memory,
    /// Sessions, for want of time of the core.
    DecodeShare,
    /// Sessions, for want of a slot at the shard that owns their source.
    Slots,
    /// Sessions, because the shard was draining.
    Draining,
    /// Connections above their limit.
    Connections,
}

/// Notices on their way to somebody who may be slow: so many, and behind them how many were
/// dropped, at the place where they are missing.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Notice>,
}

impl Line {
    /// Puts a notice at the end, or counts it there.
    pub(super) fn push(&mut self, notice: Notice) {
        if self.waiting.len() < NOTICES_PER_LISTENER {
            return self.waiting.push_back(notice);
        }
        // What was dropped on the way here counts as what it stands for.
        let lost = match notice.what {
            What::Dropped { notices } => notices,
            _ => 1,
        };
        if let Some(Notice { what: What::Dropped { notices }, .. }) = self.waiting.back_mut() {
            *notices += lost;
        } else {
            self.waiting.push_back(Notice { what: What::Dropped { notices: lost }, ..notice });
        }
    }

    pub(super) fn pop(&mut self) -> Option<Notice> {
        self.waiting.pop_front()
    }

    pub(super) fn take(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.waiting).into()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// What the cache says of one of its resources.
pub(super) fn of_asset(url: &str, news: News<'_>) -> What {
    let url = shown(url);
    match news {
        News::FillBegun => What::FillBegun { url },
        News::FillEnded { bytes } => What::FillEnded { url, bytes },
        News::FillFailed(failure) => What::FillFailed { url, why: shown(&failure.to_string()) },
        News::Evicted => What::Evicted { url },
    }
}

/// A name as it is shown: without a query, which may hold a secret, and cut where it is long.
pub fn shown(name: &str) -> String {
    let name = name.split('?').next().unwrap_or_default();
    if name.len() <= NAME_BYTES {
        return name.to_owned();
    }
    let fits = |cut: &usize| name.is_char_boundary(*cut);
    let cut = (0..=NAME_BYTES).rev().find(fits).unwrap_or_default();
    format!("{}..", &name[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::random::Random;

    fn notice(number: u64) -> Notice {
        let id = SessionId { shard: ShardId(0), slot: 0, generation: number };
        let what = What::SessionBegun { id, source: String::new(), job: "probe" };
        Notice { shard: ShardId(0), at: SystemTime::UNIX_EPOCH, what }
    }

    /// How many notices one stands for, and its number if it is one itself.
    fn count(notice: &Notice) -> (u64, Option<u64>) {
        match &notice.what {
            What::Dropped { notices } => (*notices, None),
            What::SessionBegun { id, .. } => (1, Some(id.generation)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_where_it_is_missing() {
        let mut line = Line::default();
        (0..NOTICES_PER_LISTENER as u64 + 5).for_each(|number| line.push(notice(number)));
        assert_eq!(count(&line.pop().unwrap()), (1, Some(0)));
        line.push(notice(261));
        assert_eq!(count(&line.pop().unwrap()), (1, Some(1)));
        line.push(notice(262));
        let rest: Vec<_> = line.take().iter().map(count).collect();
        assert_eq!(rest[..254], (2..256).map(|number| (1, Some(number))).collect::<Vec<_>>());
        assert_eq!(rest[254..], [(6, None), (1, Some(262))]);
    }

    #[test]
    fn in_any_history_nothing_is_lost_uncounted_or_out_of_order() {
        for seed in 1..=200 {
            let (mut random, mut first, mut second) =
                (Random(seed), Line::default(), Line::default());
            let (mut pushed, mut heard) = (0, 0);
            let mut hear = |notice: Notice| {
                let (stands_for, number) = count(&notice);
                assert!(number.is_none_or(|number| number == heard), "seed {seed}");
                heard += stands_for;
            };
            for _ in 0..50 {
                for _ in 0..random.below(150) {
                    first.push(notice(pushed));
                    pushed += 1;
                }
                if random.below(3) == 0 {
                    // As between two shards: a whole line moves on.
                    first.take().into_iter().for_each(|notice| second.push(notice));
                }
                assert!(first.waiting.len().max(second.waiting.len()) <= NOTICES_PER_LISTENER + 1);
                (0..random.below(200)).filter_map(|_| second.pop()).for_each(&mut hear);
            }
            second.take().into_iter().chain(first.take()).for_each(&mut hear);
            assert_eq!(heard, pushed, "seed {seed}");
        }
    }

    #[test]
    fn a_name_is_shown_without_its_query_and_not_at_any_length() {
        assert_eq!(shown("http://a/b?token=1"), "http://a/b");
        assert_eq!(shown(&"x".repeat(256)), "x".repeat(256));
        let cut = format!("{}..", "x".repeat(255));
        assert_eq!(shown(&format!("{}\u{e9}", "x".repeat(255))), cut);
    }
}
