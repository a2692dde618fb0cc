//! A player in the model: a buffer that is filled by one download at a time and drained by time.

use super::{LADDER, Media, Trace, utility};

/// What the buffer holds at most, seconds.
pub const BUFFER: f64 = 25.0;

/// What a second of a stall takes from the score.
pub const STALL: f64 = 5.0;

/// How often a rule is asked about a running download, seconds.
const PROGRESS: f64 = 0.25;

/// What a rule sees when it is asked.
pub struct View<'a> {
    /// What is played.
    pub media: &'a Media,
    /// The segment that is next.
    pub segment: usize,
    /// What the buffer holds, seconds.
    pub buffer: f64,
    /// Seconds since the first request.
    pub now: f64,
}

/// A download, over or on its way.
#[derive(Clone, Copy)]
pub struct Download {
    /// Of which variant.
    pub variant: usize,
    /// What was asked for.
    pub bits: f64,
    /// What has come.
    pub got: f64,
    /// Since the request, seconds.
    pub time: f64,
    /// Of it until the first byte.
    pub latency: f64,
}

/// Decides what a player fetches.
pub trait Rule {
    /// The variant of the next segment, and how long to wait before it is asked for.
    fn choose(&mut self, view: &View) -> (usize, f64);

    /// The variant to take instead of what is coming, if that is to be given up.
    fn abandon(&mut self, _view: &View, _download: &Download) -> Option<usize> {
        None
    }

    /// A download is over; `view` has its segment in the buffer if it was not given up.
    fn fetched(&mut self, view: &View, download: &Download, abandoned: Option<usize>);

    /// Nothing was fetched for that long, since the buffer was full.
    fn waited(&mut self, _seconds: f64) {}
}

/// What became of a playback.
#[derive(Clone, Copy, Default)]
pub struct Outcome {
    /// Mean over the whole time of the utility, less what the stalls take.
    pub score: f64,
    /// Share of the time in which nothing was played, the start left out.
    pub silent: f64,
    /// Mean change of the rate from one segment to the next, bits per second.
    pub change: f64,
}

impl Outcome {
    /// Of these variants, one a segment, with that much of waiting for the first and for others.
    pub fn new(media: &Media, variants: &[usize], startup: f64, stalled: f64) -> Self {
        let played: f64 = variants.iter().map(|&variant| utility(variant) * media.segment).sum();
        let time = media.segment * variants.len() as f64 + startup + stalled;
        let change = |pair: &[usize]| (LADDER[pair[0]] - LADDER[pair[1]]).abs();
        Self {
            score: (played - STALL * stalled) / time,
            silent: stalled / time,
            change: variants.windows(2).map(change).sum::<f64>() / variants.len() as f64,
        }
    }

    /// The mean of some.
    pub fn mean(outcomes: impl ExactSizeIterator<Item = Self>) -> Self {
        let share = 1.0 / outcomes.len() as f64;
        outcomes.fold(Self::default(), |sum, one| Self {
            score: sum.score + share * one.score,
            silent: sum.silent + share * one.silent,
            change: sum.change + share * one.change,
        })
    }
}

/// Plays all of `media` over `trace` as `rule` says.
pub fn play(trace: &Trace, media: &Media, rule: &mut impl Rule) -> Outcome {
    let mut player = Player { trace, media, now: 0.0, buffer: 0.0, startup: None, stalled: 0.0 };
    let mut variants = Vec::with_capacity(media.segments());
    for segment in 0..media.segments() {
        player.make_room(rule);
        let (mut variant, wait) = rule.choose(&player.view(segment));
        player.pass(wait.min(player.buffer));
        while let Some(instead) = player.download(segment, variant, rule) {
            variant = instead;
        }
        variants.push(variant);
    }
    Outcome::new(media, &variants, player.startup.unwrap_or(0.0), player.stalled)
}

struct Player<'a> {
    trace: &'a Trace,
    media: &'a Media,
    now: f64,
    buffer: f64,
    /// When the first segment was there.
    startup: Option<f64>,
    stalled: f64,
}

impl Player<'_> {
    fn view(&self, segment: usize) -> View<'_> {
        View { media: self.media, segment, buffer: self.buffer, now: self.now }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        if self.startup.is_some() {
            self.stalled += (seconds - self.buffer).max(0.0);
        }
        self.buffer = (self.buffer - seconds).max(0.0);
    }

    fn make_room(&mut self, rule: &mut impl Rule) {
        let over = self.buffer + self.media.segment - BUFFER;
        if over > 0.0 {
            self.pass(over);
            rule.waited(over);
        }
    }

    /// Fetches a segment; the variant to take instead where it was given up.
    fn download(&mut self, segment: usize, variant: usize, rule: &mut impl Rule) -> Option<usize> {
        let (asked, bits) = (self.now, self.media.bits[segment][variant]);
        let first = self.trace.first_byte(asked);
        let (before, end) = (self.trace.bits_by(first), self.trace.end(first, bits));
        let mut download = Download { variant, bits, got: 0.0, time: 0.0, latency: first - asked };
        let mut instead = None;
        while instead.is_none() && self.now + PROGRESS < end {
            self.pass(PROGRESS);
            download.time = self.now - asked;
            download.got = (self.trace.bits_by(self.now) - before).max(0.0);
            instead = rule.abandon(&self.view(segment), &download);
        }
        if instead.is_none() {
            self.pass(end - self.now);
            download = Download { got: bits, time: end - asked, ..download };
            self.buffer += self.media.segment;
            self.startup.get_or_insert(self.now);
        }
        rule.fetched(&self.view(segment), &download, instead);
        instead
    }
}
