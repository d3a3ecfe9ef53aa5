//! From media time to wall time, and from presentation order to decoding times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Least value over a sliding window of media time: the lower envelope of
/// (arrival − presentation time). The network only ever adds delay, so the least
/// difference is the nearest to the truth; the window lets it follow a camera's drift.
#[derive(Debug)]
pub struct Envelope {
    window_us: i64,
    /// (media time, value), both increasing: only values that can still become the least.
    candidates: VecDeque<(i64, i64)>,
}

impl Envelope {
    /// Over so many microseconds of media.
    pub fn new(window_us: i64) -> Self {
        Envelope { window_us, candidates: VecDeque::new() }
    }

    /// A value at a media time (not decreasing).
    pub fn push(&mut self, media_us: i64, value: i64) {
        while self.candidates.back().is_some_and(|&(_, v)| v >= value) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((media_us, value));
        while self.candidates.front().is_some_and(|&(at, _)| at < media_us - self.window_us) {
            self.candidates.pop_front();
        }
    }

    /// The least value in the window.
    pub fn least(&self) -> Option<i64> {
        self.candidates.front().map(|&(_, v)| v)
    }

    /// From now on over a longer window.
    pub fn widen(&mut self, window_us: i64) {
        self.window_us = self.window_us.max(window_us);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }
}

/// Rebuilds decoding times. RTP carries presentation times only; with a reorder depth of n,
/// the decoding time of a picture is the presentation time n places earlier in sorted order
/// (ITU-T H.264 C.4.5.3; the "bumping" of a decoder with n buffers, run backwards).
#[derive(Debug)]
pub struct DecodeTimes {
    depth: usize,
    waiting: BinaryHeap<Reverse<i64>>,
    last: Option<i64>,
}

impl DecodeTimes {
    /// For streams that reorder by at most `depth` pictures.
    pub fn new(depth: u8) -> Self {
        DecodeTimes { depth: usize::from(depth), waiting: BinaryHeap::new(), last: None }
    }

    /// The next picture in decoding order. `None` for the first `depth` pictures, whose
    /// decoding times only [`DecodeTimes::before_first`] can tell.
    pub fn push(&mut self, pts_90k: i64) -> Option<i64> {
        self.waiting.push(Reverse(pts_90k));
        if self.waiting.len() <= self.depth {
            return None;
        }
        let Reverse(least) = self.waiting.pop()?;
        // Never backwards, also when the camera lies about its depth.
        let dts = self.last.map_or(least, |last| least.max(last + 1));
        self.last = Some(dts);
        Some(dts)
    }

    /// Decoding times of the first `count` pictures (at most the depth), which were answered
    /// with `None`: one step each before the earliest presentation time.
    pub fn before_first(pts_90k: &[i64], count: usize) -> Vec<i64> {
        let mut sorted = pts_90k.to_vec();
        sorted.sort_unstable();
        let first = sorted.first().copied().unwrap_or(0);
        let step = match sorted.windows(2).map(|w| w[1] - w[0]).find(|&d| d > 0) {
            Some(step) => step,
            None => i64::from(crate::time::VIDEO_TIMESCALE) / 25,
        };
        (0..count).map(|i| first - step * (count - i) as i64).collect()
    }
}

/// Ticks of 1/90,000 s as microseconds, rounded to nearest.
pub fn us_from_90k(ticks: i64) -> i64 {
    (ticks * 100 + 4).div_euclid(9)
}

/// Ticks of one timescale as those of another, rounded towards zero. Times may come from a stranger:
/// what does not fit stays at the edge.
pub(super) fn rescale(ticks: i64, from: u32, to: u32) -> i64 {
    let scaled = i128::from(ticks) * i128::from(to) / i128::from(from.max(1));
    i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN / 4 } else { i64::MAX / 4 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b_frames_get_increasing_decode_times() {
        // I0 P2 b1 P4 b3, 3000 ticks apart, depth 1.
        let pts = [0, 6000, 3000, 12000, 9000];
        let mut times = DecodeTimes::new(1);
        let got: Vec<_> = pts.iter().map(|&p| times.push(p)).collect();
        assert_eq!(got, [None, Some(0), Some(3000), Some(6000), Some(9000)]);
        assert_eq!(DecodeTimes::before_first(&pts, 1), [-3000]);
    }

    #[test]
    fn ticks_of_any_size_are_rescaled() {
        assert_eq!(rescale(48_000, 48_000, 90_000), 90_000);
        assert_eq!(rescale(-1, 90_000, 8_000), 0);
        assert_eq!(rescale(1 << 50, 16_000, 90_000), (1 << 50) / 8 * 45);
        assert_eq!(rescale(-(1 << 50), 1, u32::MAX), i64::MIN / 4);
        assert_eq!(rescale(i64::MAX, 1, 90_000), i64::MAX / 4);
    }

    #[test]
    fn ticks_become_microseconds() {
        assert_eq!(us_from_90k(90_000), 1_000_000);
        assert_eq!(us_from_90k(6_000), 66_667);
        assert_eq!(us_from_90k(-6_000), -66_667);
    }

    proptest! {
        #[test]
        fn decode_times_strictly_increase(pts in proptest::collection::vec(-1_000_000i64..1_000_000, 1..80), depth in 0u8..17) {
            let mut times = DecodeTimes::new(depth);
            let got: Vec<i64> = pts.iter().filter_map(|&p| times.push(p)).collect();
            prop_assert!(got.windows(2).all(|w| w[0] < w[1]));
            prop_assert_eq!(got.len(), pts.len().saturating_sub(usize::from(depth)));
        }

        #[test]
        fn envelope_is_the_least_of_its_window(values in proptest::collection::vec((0i64..50, -100i64..100), 1..60)) {
            let mut envelope = Envelope::new(200);
            let mut all = Vec::new();
            let mut at = 0;
            for (step, value) in values {
                at += step;
                envelope.push(at, value);
                all.push((at, value));
                let least = all.iter().filter(|(t, _)| *t >= at - 200).map(|(_, v)| *v).min();
                prop_assert_eq!(envelope.least(), least);
            }
        }
    }
}
