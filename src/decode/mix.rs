//! Down-mix and up-mix between the channel layouts of a source and of a request.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The matrix is made once per stream. Most requests need no arithmetic at all (same channels, mono
//! to stereo, a layout that has a place for every source channel): for those the mixer is a list of
//! routes, applied where frames are interleaved, so that a copied channel is resampled only once.

use std::{f64::consts::FRAC_1_SQRT_2, iter};

use super::Channels;

/// Most channels of a layout, and thus of a frame.
pub const MAX_CHANNELS: usize = 8;

/// Speaker bits of WAVEFORMATEXTENSIBLE (`KSAUDIO_SPEAKER_*`), as far as they are mixed.
mod speaker {
    pub(super) const FL: u32 = 0x1;
    pub(super) const FR: u32 = 0x2;
    pub(super) const FC: u32 = 0x4;
    pub(super) const LFE: u32 = 0x8;
    pub(super) const BL: u32 = 0x10;
    pub(super) const BR: u32 = 0x20;
    pub(super) const FLC: u32 = 0x40;
    pub(super) const FRC: u32 = 0x80;
    pub(super) const BC: u32 = 0x100;
    pub(super) const SL: u32 = 0x200;
    pub(super) const SR: u32 = 0x400;
    /// Every bit above.
    pub(super) const KNOWN: u32 = 0x7FF;
}
use speaker::*;

/// The speaker mask that `count` channels have where nothing else is said: 1.0, 2.0, 3.0, 4.0
/// (FL FR BL BR), 5.0, 5.1, 6.1, 7.1. Zero, "no speakers named", for other counts.
pub fn default_mask(count: u16) -> u32 {
    match count {
        1 => FC,
        2 => FL | FR,
        3 => FL | FR | FC,
        4 => FL | FR | BL | BR,
        5 => FL | FR | FC | BL | BR,
        6 => FL | FR | FC | LFE | BL | BR,
        7 => FL | FR | FC | LFE | BC | SL | SR,
        8 => FL | FR | FC | LFE | BL | BR | SL | SR,
        _ => 0,
    }
}

/// What turns the channels of a source into the channels of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixer {
    plan: Plan,
    routes: Vec<Option<usize>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Plan {
    /// Planes go through as they are; only the routes say where to.
    Through { planes: usize },
    /// Row `o` holds, for output channel `o`, the gain of each source channel.
    Matrix { rows: Vec<Vec<f32>> },
}

impl Mixer {
    /// The standard mix of `source` to `count` channels (1 to [`MAX_CHANNELS`]).
    ///
    /// Equal counts go through untouched, whatever the mask says.
    pub fn new(source: Channels, count: u16) -> Self {
        let planes = usize::from(source.count);
        if source.count == count {
            return Self::through(planes, (0..planes).map(Some).collect());
        }
        let mask = usable_mask(source);
        let rows = if count == 1 { mono(mask) } else { matrix(mask, default_mask(count)) };
        match as_routes(&rows) {
            Some(routes) => Self::through(planes, routes),
            None => Self {
                routes: (0..rows.len()).map(Some).collect(),
                plan: Plan::Matrix { rows: rows.iter().map(|row| to_f32(row)).collect() },
            },
        }
    }

    fn through(planes: usize, routes: Vec<Option<usize>>) -> Self {
        Self { plan: Plan::Through { planes }, routes }
    }

    /// Planes that [`mix`](Self::mix) makes.
    pub fn planes(&self) -> usize {
        match &self.plan {
            Plan::Through { planes } => *planes,
            Plan::Matrix { rows } => rows.len(),
        }
    }

    /// For each channel of the request the mixed plane it is a copy of, or `None` for silence.
    pub fn routes(&self) -> &[Option<usize>] {
        &self.routes
    }

    /// Whether the channels of the source are the channels of the request.
    pub fn is_identity(&self) -> bool {
        matches!(self.plan, Plan::Through { planes } if planes == self.routes.len())
            && self.routes.iter().enumerate().all(|(channel, route)| *route == Some(channel))
    }

    /// Appends the mix of frames `from` to `from + count` of `planes` to `into`.
    ///
    /// A source plane that is missing (a decoder that changed its channels) counts as silence.
    pub fn mix(&self, planes: &[Vec<f32>], from: usize, count: usize, into: &mut [Vec<f32>]) {
        let part = |plane: usize| planes.get(plane).map(|plane| &plane[from..from + count]);
        match &self.plan {
            Plan::Through { .. } => {
                for (index, out) in into.iter_mut().enumerate() {
                    match part(index) {
                        Some(part) => out.extend_from_slice(part),
                        None => out.extend(iter::repeat_n(0.0, count)),
                    }
                }
            }
            Plan::Matrix { rows } => {
                for (row, out) in rows.iter().zip(into) {
                    let terms = row.iter().enumerate().filter(|(_, gain)| **gain != 0.0);
                    weigh(
                        terms.filter_map(|(plane, gain)| Some((part(plane)?, *gain))),
                        count,
                        out,
                    );
                }
            }
        }
    }
}

/// Appends the weighted sum of `terms`, `count` frames each, to `out`.
///
/// Terms are added in the order of the channels, so the sum does not depend on how it is vectorised.
fn weigh<'a>(mut terms: impl Iterator<Item = (&'a [f32], f32)>, count: usize, out: &mut Vec<f32>) {
    let start = out.len();
    match (terms.next(), terms.next()) {
        (None, _) => out.extend(iter::repeat_n(0.0, count)),
        (Some((plane, gain)), None) => out.extend(plane.iter().map(|x| gain * x)),
        (Some((a, x)), Some((b, y))) => out.extend(a.iter().zip(b).map(|(a, b)| x * a + y * b)),
    }
    for (plane, gain) in terms {
        out[start..].iter_mut().zip(plane).for_each(|(sum, x)| *sum += gain * x);
    }
}

/// The mask of the source if it names one known speaker per channel, else that of its count.
fn usable_mask(source: Channels) -> u32 {
    let named = source.mask & !KNOWN == 0 && source.mask.count_ones() == u32::from(source.count);
    if named { source.mask } else { default_mask(source.count) }
}

/// Mono is the mean of the two sides of the stereo mix; for stereo this is (L+R)/2.
fn mono(source: u32) -> Vec<Vec<f64>> {
    let stereo = matrix(source, FL | FR);
    let mean = stereo[0].iter().zip(&stereo[1]).map(|(left, right)| (left + right) / 2.0);
    vec![mean.collect()]
}

/// Gains from each speaker of `source` (columns) to each of `target` (rows), so scaled that no row
/// sums above 1. One scale for all rows keeps the balance between them.
fn matrix(source: u32, target: u32) -> Vec<Vec<f64>> {
    let columns: Vec<_> = speakers(source).map(|speaker| places(speaker, source, target)).collect();
    let gain = |row: u32, column: &[(u32, f64)]| {
        column.iter().filter(|(place, _)| *place == row).map(|(_, gain)| gain).sum::<f64>()
    };
    let mut rows: Vec<Vec<f64>> = speakers(target)
        .map(|row| columns.iter().map(|column| gain(row, column)).collect())
        .collect();
    let loudest = rows.iter().map(|row| row.iter().sum()).fold(1.0, f64::max);
    rows.iter_mut().flatten().for_each(|gain| *gain /= loudest);
    rows
}

/// Where a speaker of `source` goes in `target`, and how loud.
///
/// A speaker the target has is itself. Centre, sides and backs fold by 0.7071 into what is left of
/// their side; a pair moves at full gain where the other surround pair is free for it. LFE is dropped.
fn places(speaker: u32, source: u32, target: u32) -> Vec<(u32, f64)> {
    let half_power = FRAC_1_SQRT_2;
    let pair = |left: u32, right: u32, gain: f64| vec![(left, gain), (right, gain)];
    let surround = |sibling: u32, front: u32| {
        let taken = source & sibling != 0;
        match target & sibling != 0 {
            true => vec![(sibling, if taken { half_power } else { 1.0 })],
            false => vec![(front, half_power)],
        }
    };
    match speaker {
        _ if target & speaker != 0 => vec![(speaker, 1.0)],
        LFE => Vec::new(),
        FC if source == FC => pair(FL, FR, 1.0),
        FC => pair(FL, FR, half_power),
        BC if target & BL != 0 => pair(BL, BR, half_power),
        BC if target & SL != 0 => pair(SL, SR, half_power),
        BC => pair(FL, FR, half_power * half_power),
        BL => surround(SL, FL),
        BR => surround(SR, FR),
        SL => surround(BL, FL),
        SR => surround(BR, FR),
        FLC => vec![(FL, half_power)],
        FRC => vec![(FR, half_power)],
        _ => Vec::new(),
    }
}

/// The speakers of `mask` one by one, in the order of their channels.
fn speakers(mask: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS).map(|bit| 1 << bit).filter(move |speaker| mask & speaker != 0)
}

/// The matrix as routes, if each row is one source channel at full gain or nothing.
fn as_routes(rows: &[Vec<f64>]) -> Option<Vec<Option<usize>>> {
    let route = |row: &Vec<f64>| {
        let mut used = row.iter().enumerate().filter(|(_, gain)| **gain != 0.0);
        match (used.next(), used.next()) {
            (None, _) => Some(None),
            (Some((plane, 1.0)), None) => Some(Some(plane)),
            _ => None,
        }
    };
    rows.iter().map(route).collect()
}

fn to_f32(row: &[f64]) -> Vec<f32> {
    row.iter().map(|gain| *gain as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(count: u16) -> Channels {
        Channels { count, mask: default_mask(count) }
    }

    /// Mixes one frame and follows the routes.
    fn mixed(source: Channels, count: u16, frame: &[f32]) -> Vec<f32> {
        let mixer = Mixer::new(source, count);
        let planes: Vec<Vec<f32>> = frame.iter().map(|x| vec![9.0, *x, 9.0]).collect();
        let mut out = vec![Vec::new(); mixer.planes()];
        mixer.mix(&planes, 1, 1, &mut out);
        mixer.routes().iter().map(|route| route.map_or(0.0, |plane| out[plane][0])).collect()
    }

    fn near(a: &[f32], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{a:?} {b:?}");
    }

    #[test]
    fn each_default_mask_names_one_speaker_per_channel() {
        for count in 1..=8 {
            assert_eq!(default_mask(count).count_ones(), u32::from(count));
        }
    }

    #[test]
    fn mono_to_stereo_copies_and_stereo_to_mono_is_the_mean() {
        assert_eq!(mixed(layout(1), 2, &[0.3]), [0.3, 0.3]);
        assert_eq!(mixed(layout(2), 1, &[0.5, -0.25]), [0.125]);
    }

    #[test]
    fn equal_counts_go_through_untouched() {
        let side = Channels { count: 6, mask: 0x60F };
        assert!(Mixer::new(side, 6).is_identity());
        assert!(!Mixer::new(layout(1), 2).is_identity());
        assert!(!Mixer::new(layout(2), 1).is_identity());
    }

    #[test]
    fn surround_to_stereo_is_the_formula() {
        let frame = [0.5, -0.5, 0.25, 1.0, 0.125, -0.75];
        let half = FRAC_1_SQRT_2;
        let left = (0.5 + half * 0.25 + half * 0.125) / (1.0 + 2.0 * half);
        let right = (-0.5 + half * 0.25 - half * 0.75) / (1.0 + 2.0 * half);
        near(&mixed(layout(6), 2, &frame), &[left, right]);
        near(&mixed(Channels { count: 6, mask: 0x60F }, 2, &frame), &[left, right]);
        near(&mixed(layout(6), 1, &frame), &[(left + right) / 2.0]);
    }

    #[test]
    fn an_up_mix_keeps_places_and_fills_silence() {
        assert_eq!(mixed(layout(1), 6, &[0.5]), [0.0, 0.0, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(mixed(layout(2), 6, &[0.5, 0.25]), [0.5, 0.25, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(
            mixed(layout(6), 8, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]
        );
        assert_eq!(mixed(layout(1), 4, &[0.5]), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn backs_and_sides_share_what_is_left_of_them() {
        let seven = mixed(layout(8), 6, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        near(&seven, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        near(&mixed(layout(4), 2, &[1.0, 0.0, 1.0, 0.0]), &[1.0, 0.0]);
        // 6.1 to 5.1: the sides are the only pair and move, the back centre is shared.
        let six = mixed(layout(7), 6, &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        near(&six, &[0.0, 0.0, 0.0, 0.0, 1.0, FRAC_1_SQRT_2 / (1.0 + FRAC_1_SQRT_2)]);
    }

    #[test]
    fn no_row_of_any_mix_sums_above_one() {
        for source in 1..=8 {
            for count in 1..=8 {
                let loud = mixed(layout(source), count, &vec![1.0; usize::from(source)]);
                assert!(loud.iter().all(|x| *x <= 1.0 + 1e-6), "{source} to {count}: {loud:?}");
                assert!(loud.iter().any(|x| *x > 0.4), "{source} to {count}: {loud:?}");
            }
        }
    }

    #[test]
    fn a_mask_that_cannot_be_used_is_that_of_the_count() {
        let odd = Channels { count: 2, mask: 0 };
        assert_eq!(Mixer::new(odd, 1), Mixer::new(layout(2), 1));
        let high = Channels { count: 2, mask: 0x3000 };
        assert_eq!(Mixer::new(high, 1), Mixer::new(layout(2), 1));
    }
}
