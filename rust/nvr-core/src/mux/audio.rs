//! The sound of a run: its place on the run's media timeline, and its share of each fragment.

use std::collections::VecDeque;

use bytes::Bytes;

use super::timing::{Envelope, rescale};
use crate::media::AudioFrame;
use crate::table::Sample;
use crate::time::VIDEO_TIMESCALE;

/// Sound further off than this from where it was is put anew into its place.
const RESYNC_US: i64 = 100_000;

/// Sound that waits for the pictures of its time.
#[derive(Debug)]
pub(super) struct AudioTrack {
    sample_rate: u32,
    envelope: Envelope,
    /// Run's media time minus the camera's sound time, in ticks of the sample rate.
    shift: Option<i64>,
    waiting: VecDeque<AudioFrame>,
}

/// A fragment's share of the sound.
#[derive(Debug, Default)]
pub(super) struct AudioShare {
    /// Run's media time of the first frame, in ticks of the sample rate.
    pub start: i64,
    pub samples: Vec<Sample>,
    pub data: Vec<Bytes>,
}

impl AudioTrack {
    pub(super) fn new(sample_rate: u32, window_us: i64) -> Self {
        AudioTrack {
            sample_rate,
            envelope: Envelope::new(window_us),
            shift: None,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, frame: AudioFrame) {
        let media_us = self.us(frame.pts);
        // Time that runs backwards belongs to a new session: nothing waits across it.
        if self.waiting.back().is_some_and(|last| last.pts >= frame.pts) {
            self.waiting.clear();
            self.envelope.clear();
            self.shift = None;
        }
        self.envelope.push(media_us, frame.arrival.mono_us.saturating_sub(media_us));
        self.waiting.push_back(frame);
    }

    /// Takes the frames that begin before `end_90k` (all, if `None`). `video_offset_us` is the
    /// run's time of arrival, by the clock that never steps, minus its media time: sound and
    /// pictures that were taken at the same instant left the camera at the same instant, as far as
    /// anybody can tell.
    pub(super) fn take_until(&mut self, end_90k: Option<i64>, video_offset_us: i64) -> AudioShare {
        let Some(offset_us) = self.envelope.least() else { return AudioShare::default() };
        let wanted = self.ticks(offset_us.saturating_sub(video_offset_us));
        let shift = match self.shift {
            Some(shift) if shift.abs_diff(wanted) <= self.ticks(RESYNC_US).unsigned_abs() => shift,
            _ => wanted,
        };
        self.shift = Some(shift);
        let end = end_90k.map(|t| rescale(t, VIDEO_TIMESCALE, self.sample_rate));
        let mut share = AudioShare::default();
        let mut starts: Vec<i64> = Vec::new();
        while self
            .waiting
            .front()
            .is_some_and(|f| end.is_none_or(|end| f.pts.saturating_add(shift) < end))
        {
            let Some(frame) = self.waiting.pop_front() else { break };
            starts.push(frame.pts.saturating_add(shift));
            share.samples.push(Sample {
                size: u32::try_from(frame.data.len()).unwrap_or(u32::MAX),
                duration: frame.duration,
                composition_offset: 0,
                sync: true,
            });
            share.data.push(frame.data);
        }
        share.start = starts.first().copied().unwrap_or(0);
        for (sample, pair) in share.samples.iter_mut().zip(starts.windows(2)) {
            sample.duration =
                u32::try_from(pair[1].saturating_sub(pair[0])).unwrap_or(sample.duration);
        }
        share
    }

    fn us(&self, ticks: i64) -> i64 {
        i64::try_from(i128::from(ticks) * 1_000_000 / i128::from(self.sample_rate)).unwrap_or(0)
    }

    fn ticks(&self, us: i64) -> i64 {
        i64::try_from(i128::from(us) * i128::from(self.sample_rate) / 1_000_000).unwrap_or(0)
    }
}
