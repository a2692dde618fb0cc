//! Which frames of a stream become seek points.
//!
//! Pure: frames to points.

use super::head::SeekPoint;

/// Points in a row, so far apart, of which there is a bound: where it is reached every second point
/// goes, and the distance doubles.
#[derive(Debug)]
pub(super) struct SeekPoints {
    points: Vec<SeekPoint>,
    most: usize,
    interval_samples: u64,
}

impl SeekPoints {
    /// No more than `most`, the first so far apart, which is at least a frame.
    pub(super) fn new(most: usize, interval_samples: u64) -> Self {
        assert!(interval_samples > 0);
        Self { points: Vec::with_capacity(most), most, interval_samples }
    }

    /// Takes the next frame for a point if the last is far enough behind.
    pub(super) fn pass(&mut self, point: SeekPoint) {
        if point.sample < self.interval_samples.saturating_mul(self.points.len() as u64) {
            return;
        }
        if self.points.len() == self.most {
            self.thin();
            return self.pass_into_room(point);
        }
        self.points.push(point);
    }

    /// After a thinning the frame is one of those kept only if it lies on the wider grid.
    fn pass_into_room(&mut self, point: SeekPoint) {
        let is_due = point.sample >= self.interval_samples.saturating_mul(self.points.len() as u64);
        if is_due && self.points.len() < self.most {
            self.points.push(point);
        }
    }

    fn thin(&mut self) {
        let mut index = 0;
        self.points.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        self.interval_samples = self.interval_samples.saturating_mul(2);
    }

    pub(super) fn points(&self) -> &[SeekPoint] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(most: usize, frames: u64) -> Vec<u64> {
        let mut points = SeekPoints::new(most, 10_000);
        for number in 0..frames {
            points.pass(SeekPoint { sample: number * 4096, offset: number * 9000, samples: 4096 });
        }
        assert!(points.points().iter().all(|point| point.offset / 9000 * 4096 == point.sample));
        points.points().iter().map(|point| point.sample).collect()
    }

    #[test]
    fn each_is_the_first_frame_behind_its_place() {
        assert_eq!(after(9, 11), [0, 12_288, 20_480, 32_768, 40_960]);
    }

    #[test]
    fn a_full_table_keeps_every_second_point() {
        assert_eq!(after(4, 11), [0, 20_480, 40_960]);
        for frames in 1..2000 {
            let points = after(7, frames);
            assert!(points.len() <= 7 && points[0] == 0 && points.is_sorted());
            let gaps: Vec<_> = points.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) = (gaps.iter().min(), gaps.iter().max());
            assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 4096), "{points:?}");
            assert!(frames < 20 || points.len() >= 3);
        }
    }

    #[test]
    fn a_table_of_none_or_one_stays_that() {
        assert!(after(0, 100).is_empty());
        assert_eq!(after(1, 100), [0]);
    }
}
