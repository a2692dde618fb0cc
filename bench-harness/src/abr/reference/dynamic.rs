//! DYNAMIC (Spiteri, Sitaraman and Sparacio, MMSys 2018): throughput or the buffer, whichever is to be trusted.

use super::{
    super::{Download, Rule, View},
    bola::Bola,
    bola_e::BolaE,
    throughput::Throughput,
};

/// DYNAMIC: throughput while the buffer is low and BOLA would take less, BOLA once it is not and takes no less.
#[derive(Default)]
pub struct Dynamic {
    bola: Bola,
    throughput: Throughput,
    by_buffer: bool,
}

impl Dynamic {
    /// The buffer that has a say, seconds.
    const LOW: f64 = 10.0;
}

impl Rule for Dynamic {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        let Some(line) = self.throughput.line(view) else { return (0, 0.0) };
        let by_buffer = self.bola.choose(&line, view);
        let by_throughput = self.throughput.choose(&line, view);
        self.by_buffer = if self.by_buffer {
            view.buffer >= Self::LOW || by_buffer >= by_throughput
        } else {
            view.buffer > Self::LOW && by_buffer >= by_throughput
        };
        (if self.by_buffer { by_buffer } else { by_throughput }, 0.0)
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        self.throughput.abandon(view, download)
    }

    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>) {
        self.throughput.fetched(view, download, abandoned);
    }
}

/// DYNAMIC as it came to players: throughput while the buffer is low, BOLA-E once it is not.
#[derive(Default)]
pub struct DynamicE {
    bola: BolaE,
    throughput: Throughput,
    by_buffer: bool,
}

impl DynamicE {
    /// Where the buffer ceases to decide, and where it begins to, seconds.
    const LOW: f64 = 5.0;
    const HIGH: f64 = 10.0;
}

impl Rule for DynamicE {
    fn choose(&mut self, view: &View) -> (usize, f64) {
        let threshold = if self.by_buffer { Self::LOW } else { Self::HIGH };
        self.by_buffer = view.buffer > threshold;
        if self.by_buffer {
            self.bola.choose(view)
        } else {
            Rule::choose(&mut self.throughput, view)
        }
    }

    fn abandon(&mut self, view: &View, download: &Download) -> Option<usize> {
        if self.by_buffer {
            self.bola.abandon(view, download)
        } else {
            self.throughput.abandon(view, download)
        }
    }

    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>) {
        self.bola.fetched(view, download, abandoned);
        self.throughput.fetched(view, download, abandoned);
    }

    fn waited(&mut self, seconds: f64) {
        self.bola.waited(seconds);
    }
}
