//! Frames that wait for the next stage, side by side, and how they are handed out.

use std::collections::VecDeque;

use crate::decode::mix::MAX_CHANNELS;

/// Frames that wait for the next stage. Silence is held as a number, so a gap of hours costs nothing.
#[derive(Debug)]
pub(super) struct Held<T> {
    planes: Vec<Vec<T>>,
    /// Frames at the start of the planes that were taken already.
    taken: usize,
    /// What is held, in order. Seldom more than one.
    runs: VecDeque<Run>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    silent: bool,
    frames: u64,
}

impl<T: Silent> Held<T> {
    pub(super) fn new(planes: usize) -> Self {
        Self { planes: vec![Vec::new(); planes], taken: 0, runs: VecDeque::with_capacity(4) }
    }

    /// Adds `count` frames, which `fill` appends to every plane.
    pub(super) fn append(&mut self, count: usize, fill: impl FnOnce(&mut [Vec<T>])) {
        for plane in &mut self.planes {
            plane.drain(..self.taken);
            // Packets are of one length: room for more than is asked now would stay unused.
            plane.reserve_exact(count);
        }
        self.taken = 0;
        fill(&mut self.planes);
        self.add_run(Run { silent: false, frames: count as u64 });
    }

    pub(super) fn append_silence(&mut self, frames: u64) {
        if frames > 0 {
            self.add_run(Run { silent: true, frames });
        }
    }

    fn add_run(&mut self, run: Run) {
        match self.runs.back_mut() {
            Some(last) if last.silent == run.silent => last.frames += run.frames,
            _ => self.runs.push_back(run),
        }
    }

    /// Hands up to `most` frames that lie side by side to `visit`, lets go of them and says how many.
    pub(super) fn take(&mut self, most: usize, visit: impl FnOnce(Planes<'_, T>, usize)) -> usize {
        let Some(run) = self.runs.front_mut() else { return 0 };
        let count = run.frames.min(most as u64) as usize;
        run.frames -= count as u64;
        if run.silent {
            visit(Planes::Silence, count);
        } else {
            visit(Planes::Audio { planes: &self.planes, from: self.taken }, count);
            self.taken += count;
        }
        if run.frames == 0 {
            self.runs.pop_front();
        }
        count
    }
}

/// Frames side by side: parts of planes, or silence.
#[derive(Clone, Copy)]
pub(super) enum Planes<'a, T> {
    Audio { planes: &'a [Vec<T>], from: usize },
    Silence,
}

/// One slice per output channel, `count` frames each, following the routes.
pub(super) fn routed<'a, T: Silent>(
    planes: Planes<'a, T>,
    routes: &[Option<usize>],
    count: usize,
) -> [&'a [T]; MAX_CHANNELS] {
    let mut slices: [&[T]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
    for (slice, route) in slices.iter_mut().zip(routes) {
        *slice = match (route, planes) {
            (Some(plane), Planes::Audio { planes, from }) => &planes[*plane][from..from + count],
            _ => &T::SILENCE[..count],
        };
    }
    slices
}

/// Silence that slices are taken of; no more frames are written at a time.
pub(super) const SILENCE_FRAMES: usize = 8192;

/// A sample that has a silence.
pub(super) trait Silent: Copy + 'static {
    const SILENCE: &'static [Self; SILENCE_FRAMES];
}

impl Silent for f32 {
    const SILENCE: &'static [Self; SILENCE_FRAMES] = &[0.0; SILENCE_FRAMES];
}

impl Silent for i32 {
    const SILENCE: &'static [Self; SILENCE_FRAMES] = &[0; SILENCE_FRAMES];
}
