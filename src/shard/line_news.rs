//! How shards hear of what comes over the lines to origins.
//!
//! Whatever a shard fetches it measures. What it has to tell another it collects for a moment, and there is never
//! more than one message under way to each, so a node that fetches nothing says nothing.

use std::{rc::Rc, time::Duration};

use url::Url;

use super::{
    Mail, Shard,
    lines::{Heard, Lines, Told, line_to},
};
use crate::{
    hls::abr::{Estimate, Sample},
    net::{Flow, Watch},
    pcm::SourceName,
    runtime::{self, ShardId, event::Event},
};

/// How long what is to be told is collected.
const COLLECTING: Duration = Duration::from_millis(250);

/// Lines, and who waits for news of them.
pub(super) struct LineNews {
    lines: Lines,
    /// Something came over one, or was heard elsewhere.
    came: Event,
}

impl LineNews {
    /// Of one of so many shards.
    pub(super) fn new(own: ShardId, shards: usize) -> Rc<Self> {
        Rc::new(Self { lines: Lines::new(own, shards), came: Event::new() })
    }

    /// What hears how fast the answer to a request comes.
    pub(super) fn watch(self: &Rc<Self>, url: &Url) -> Watch {
        let (news, line) = (Rc::clone(self), line_to(url));
        let expected = news.lines.estimate(&line);
        Box::new(move |flow| {
            news.lines.hear(&line, heard(flow, expected));
            news.came.notify_all();
        })
    }

    /// What is expected of the line to the host of a URL, if anything came over it.
    fn estimate(&self, url: &Url) -> Option<Estimate> {
        self.lines.estimate(&line_to(url))
    }
}

fn heard(flow: Flow, expected: Option<Estimate>) -> Heard {
    let Flow { bytes, time: duration, latency, is_whole } = flow;
    let sample = Sample { bytes, duration, latency };
    Heard { sample, at: runtime::now(), whole: is_whole.then_some(expected) }
}

/// Tells the other shards what came over lines, as long as it is not dropped.
pub async fn tell_lines(shard: Rc<Shard>) {
    let all = (0..shard.route.shards).map(ShardId);
    let others: Vec<_> = all.filter(|id| *id != shard.id).collect();
    let LineNews { lines, came } = &*shard.lines;
    loop {
        let more = came.listen();
        if !lines.has_news() {
            more.await;
            continue;
        }
        runtime::sleep(COLLECTING).await;
        for other in &others {
            if let Some(told) = lines.tell(*other) {
                shard.post(*other, Mail::Lines(Box::new(told)));
            }
        }
    }
}

impl Shard {
    /// What is expected of where a source comes from by this URL, if that can be said.
    pub(super) fn expected(&self, source: &SourceName, url: &Url) -> Option<Estimate> {
        if source.is_file { Some(Estimate::DISK) } else { self.lines.estimate(url) }
    }

    /// Another shard tells what came over lines.
    pub(super) fn hear_of_lines(&self, peer: ShardId, told: Told) {
        self.lines.lines.take_in(told);
        self.lines.came.notify_all();
        self.post(peer, Mail::LinesHeard);
    }

    /// It heard what it was told, and may be told more.
    pub(super) fn lines_were_heard(&self, peer: ShardId) {
        self.lines.lines.was_heard(peer);
        self.lines.came.notify_all();
    }
}
