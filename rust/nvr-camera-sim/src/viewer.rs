//! One client's view of a camera.

use std::sync::Arc;

use nvr_rtsp::{Output, Report};

use crate::media::Media;

/// Time between sender reports (RFC 3550, 6.2: the recommended minimum).
const REPORT_INTERVAL_US: i64 = 5_000_000;

/// A client that plays.
pub(crate) struct Viewer {
    pub(crate) session: u64,
    /// The first packet it gets: a random-access point.
    pub(crate) start: u64,
    pub(crate) output: Arc<Output>,
    next_report_us: i64,
}

impl Viewer {
    pub(crate) fn new(session: u64, start: u64, output: Arc<Output>) -> Self {
        Viewer { session, start, output, next_report_us: i64::MIN }
    }

    /// Sends sender reports if it is time: before the first packet, then about every 5 s.
    pub(crate) fn report(&mut self, media: &Media, zero_us: i64, now_us: i64) {
        if now_us < self.next_report_us {
            return;
        }
        self.next_report_us = now_us + REPORT_INTERVAL_US;
        self.output.report(|track| {
            Some(Report { wall_us: now_us, ticks: media.rtp_ticks_at(track, now_us - zero_us) })
        });
    }
}
