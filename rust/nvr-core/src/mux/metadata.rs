//! The ONVIF metadata of a run: its place among the pictures, and its share of each fragment.

use std::collections::VecDeque;

use bytes::Bytes;

use super::timing::us_from_90k;
use crate::table::Sample;

/// The most bytes that wait for the pictures of their time: 64 documents of the largest size.
const MAX_WAITING: usize = 16 << 20;
/// The most documents that wait: a camera that sends a thousand a second in a fragment of 10 s.
const MAX_DOCUMENTS: usize = 10_000;

/// Documents that wait for the pictures of their time.
///
/// Their place is the time of their arrival: what a camera says of it is in the documents (`UtcTime`),
/// and their RTP clock need not be that of the pictures.
#[derive(Debug, Default)]
pub(super) struct MetadataTrack {
    /// Time of arrival, by the clock that never steps, in order.
    waiting: VecDeque<(i64, Bytes)>,
    waiting_len: usize,
}

/// A fragment's share of the documents.
#[derive(Debug, Default)]
pub(super) struct MetadataShare {
    /// Run's media time of the first one.
    pub start_90k: i64,
    pub samples: Vec<Sample>,
    pub data: Vec<Bytes>,
}

impl MetadataTrack {
    /// False when too much waits already: it is not kept.
    pub(super) fn push(&mut self, data: Bytes, arrival_us: i64) -> bool {
        let len = self.waiting_len + data.len();
        if len > MAX_WAITING || self.waiting.len() == MAX_DOCUMENTS {
            return false;
        }
        self.waiting_len = len;
        let after = self.waiting.back().map_or(i64::MIN, |(last, _)| *last);
        self.waiting.push_back((arrival_us.max(after), data));
        true
    }

    /// Takes the documents of before `end_90k` (all, if `None`); the last one of them lasts to `ends_90k`
    /// at least. None begins before `free_90k`. `offset_us`: the run's time of
    /// arrival, by the same clock, minus its media time.
    pub(super) fn take_until(
        &mut self,
        end_90k: Option<i64>,
        (free_90k, ends_90k): (i64, i64),
        offset_us: i64,
    ) -> MetadataShare {
        let mut share = MetadataShare::default();
        let mut starts: Vec<i64> = Vec::new();
        let end_us = end_90k.map(|end| us_from_90k(end) + offset_us);
        while self.waiting.front().is_some_and(|(at, _)| end_us.is_none_or(|end| *at < end)) {
            let Some((at_us, data)) = self.waiting.pop_front() else { break };
            self.waiting_len -= data.len();
            let at = (i128::from(at_us - offset_us) * 9).div_euclid(100);
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            // A decoder's order is that of time: no two have the same.
            let least = starts.last().map_or(free_90k, |last| last + 1);
            starts.push(at.max(least));
            share.samples.push(Sample {
                size: u32::try_from(data.len()).unwrap_or(u32::MAX),
                duration: 1,
                composition_offset: 0,
                sync: true,
            });
            share.data.push(data);
        }
        let ends = starts.iter().skip(1).copied().chain([ends_90k]);
        for (sample, (start, end)) in share.samples.iter_mut().zip(starts.iter().zip(ends)) {
            sample.duration = u32::try_from(end - start).unwrap_or(1).max(1);
        }
        share.start_90k = starts.first().copied().unwrap_or(0);
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(arrivals: &[i64]) -> MetadataTrack {
        let mut track = MetadataTrack::default();
        for at in arrivals {
            assert!(track.push(Bytes::from_static(b"<x/>"), *at));
        }
        track
    }

    #[test]
    fn documents_lie_where_they_arrived() {
        let mut track = pushed(&[1_000_000, 1_500_000, 2_100_000]);
        let share = track.take_until(Some(180_000), (0, 180_000), 0);
        assert_eq!(share.start_90k, 90_000);
        let durations: Vec<u32> = share.samples.iter().map(|s| s.duration).collect();
        assert_eq!(durations, [45_000, 45_000]);
        let rest = track.take_until(None, (180_000, 200_000), 0);
        assert_eq!((rest.start_90k, rest.samples.len()), (189_000, 1));
    }

    #[test]
    fn none_lies_before_the_one_before() {
        let mut track = pushed(&[1_000_000, 1_000_000, 900_000]);
        let share = track.take_until(None, (95_000, 96_000), 0);
        assert_eq!(share.start_90k, 95_000);
        let durations: Vec<u32> = share.samples.iter().map(|s| s.duration).collect();
        assert_eq!(durations, [1, 1, 998]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut track = MetadataTrack::default();
        let document = Bytes::from(vec![b' '; 1 << 20]);
        let kept = (0..100).filter(|_| track.push(document.clone(), 0)).count();
        assert_eq!(kept, 16);
        let mut track = MetadataTrack::default();
        let kept = (0..20_000).filter(|_| track.push(Bytes::new(), 0)).count();
        assert_eq!(kept, MAX_DOCUMENTS);
    }
}
