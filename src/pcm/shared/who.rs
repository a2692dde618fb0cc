//! Which decoder goes on to a wanted frame, and which to none.
//!
//! Pure: no I/O, no clock, no executor.

/// Windows that a decoder goes on rather than that another one is begun. Opening a source and the
/// pre-roll cost about as much as decoding two.
const NEAR_WINDOWS: u64 = 4;

/// The one of these decoders, by the next frame that each will make, that comes to `frame` first;
/// `None` if all are behind it or too far before it.
pub(super) fn serves(
    next: impl Iterator<Item = (usize, u64)>,
    frame: u64,
    window_frames: u64,
) -> Option<usize> {
    let near = frame.saturating_sub(NEAR_WINDOWS * window_frames)..=frame;
    next.filter(|(_, next)| near.contains(next)).max_by_key(|(_, next)| *next).map(|(at, _)| at)
}

/// Those of the decoders that stand still, each with the time of its last piece, that nobody comes back
/// to: so many listeners `pause`, and each was at one of those that made something last.
pub(super) fn alone(mut idle: Vec<(usize, u64)>, pause: usize) -> Vec<(usize, u64)> {
    idle.sort_by_key(|(_, made_at)| std::cmp::Reverse(*made_at));
    idle.split_off(pause.min(idle.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_pause_are_kept_and_those_that_made_something_last() {
        let idle = vec![(7, 30), (8, 50), (9, 40)];
        assert_eq!(alone(idle.clone(), 0), [(8, 50), (9, 40), (7, 30)]);
        assert_eq!(alone(idle.clone(), 2), [(7, 30)]);
        assert!(alone(idle, 3).is_empty());
    }

    #[test]
    fn the_nearest_that_is_not_past_it_goes_on() {
        let serve = |frame| serves([(7, 100), (8, 250), (9, 400)].into_iter(), frame, 100);
        assert_eq!(
            (serve(99), serve(100), serve(249), serve(250)),
            (None, Some(7), Some(7), Some(8))
        );
        assert_eq!((serve(799), serve(800), serve(801)), (Some(9), Some(9), None));
    }
}
