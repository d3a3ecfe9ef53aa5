//! A stream as it comes, for all who watch it: packets are made once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nvr_core::mux::timing::Envelope;
use nvr_rtsp::{Announcer, Output, Packets, Report, Started, Track, VIDEO_CLOCK_HZ};
use parking_lot::Mutex;

use crate::events::{Event, Events, Signal, SignalKind};
use crate::format::{Format, micros, ticks};

/// A group of pictures that is kept for those who come in the middle of it.
const MAX_GOP_BYTES: usize = 4 << 20;
const MAX_GOP_UNITS: usize = 4096;

/// Time between sender reports (RFC 3550, 6.2: the recommended minimum).
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Media time over which the least delay of the network is looked for.
const ENVELOPE_US: i64 = 30_000_000;

/// A picture or a frame of sound, as it came.
#[derive(Clone, Copy, Debug)]
pub struct LiveUnit<'a> {
    /// Sound.
    pub audio: bool,
    /// Presentation time in ticks of its track, within its run.
    pub pts: i64,
    /// Wall time at which it arrived at the recorder.
    pub arrival_us: i64,
    /// A decoder can start here.
    pub random_access: bool,
    /// NAL units, each after its length in 4 bytes; or an AAC frame.
    pub data: &'a [u8],
    /// Media times of two runs have nothing to do with one another.
    pub run: &'a str,
}

/// One stream's units on their way to its viewers. Nobody waits for anybody.
pub struct LiveFeed {
    events: Arc<Events>,
    max_payload: usize,
    max_backlog_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    format: Option<Arc<Format>>,
    run: Option<String>,
    /// Arrival of the first unit: media time zero.
    zero_us: Option<i64>,
    video: Clock,
    audio: Clock,
    /// From the newest random-access point on; empty when that grew too large.
    gop: Vec<Unit>,
    gop_bytes: usize,
    viewers: Vec<Viewer>,
    scratch: Vec<u8>,
    closed: bool,
}

/// Media time of a track, in ticks since the feed's zero.
struct Clock {
    clock_hz: u32,
    /// To be added to the run's presentation times.
    base: Option<i64>,
    last: i64,
    /// The largest presentation time of the run, in microseconds.
    newest_us: i64,
    /// Arrival minus presentation time: the network only adds delay.
    envelope: Envelope,
}

impl Default for Clock {
    fn default() -> Self {
        let envelope = Envelope::new(ENVELOPE_US);
        Clock { clock_hz: VIDEO_CLOCK_HZ, base: None, last: 0, newest_us: i64::MIN, envelope }
    }
}

impl Clock {
    fn begin_run(&mut self, clock_hz: u32) {
        *self = Clock { clock_hz, last: self.last, ..Clock::default() };
    }

    /// Media time of a unit. The first one of a run is put where wall time says.
    fn take(&mut self, pts: i64, arrival_us: i64, zero_us: i64) -> i64 {
        let pts_us = micros(pts, self.clock_hz);
        self.newest_us = self.newest_us.max(pts_us);
        // Compared with the largest so far: that takes out the delay of reordering.
        self.envelope.push(self.newest_us, arrival_us.saturating_sub(self.newest_us));
        let base = *self.base.get_or_insert_with(|| {
            let at = ticks(arrival_us.saturating_sub(zero_us), self.clock_hz).max(self.last + 1);
            at.saturating_sub(pts)
        });
        let at = pts.saturating_add(base);
        self.last = self.last.max(at);
        at
    }

    fn report(&self, at: i64) -> Option<Report> {
        let pts_us = micros(at.saturating_sub(self.base?), self.clock_hz);
        Some(Report { wall_us: pts_us.saturating_add(self.envelope.least()?), ticks: at })
    }
}

/// A unit, ready to be sent.
struct Unit {
    track: Track,
    ticks: i64,
    packets: Packets,
}

struct Viewer {
    session: u64,
    output: Arc<Output>,
    /// Until the next random-access point.
    waits: bool,
    lost: u64,
    sent_bytes: u64,
    next_report: Option<Instant>,
}

impl Viewer {
    fn send(&mut self, unit: &Unit, scratch: &mut Vec<u8>) {
        let bytes = self.output.deliver(unit.track, unit.ticks, &unit.packets, scratch);
        self.sent_bytes += bytes as u64;
    }

    /// Whether it gets this unit. Behind by too much, it loses what is left of the group of pictures,
    /// and all that follow until it has caught up.
    fn takes(&mut self, starts: bool, limit: usize) -> bool {
        if self.waits && starts && self.output.backlog() <= limit / 2 {
            if self.lost > 0 {
                let (lost, session) = (self.lost, self.session);
                log::info!(target: "nvr.rtsp", "session {session}: too slow, {lost} units were left out");
            }
            (self.waits, self.lost) = (false, 0);
        } else if !self.waits && self.output.backlog() > limit {
            self.waits = true;
        }
        if self.waits {
            self.lost += 1;
        }
        !self.waits
    }
}

impl LiveFeed {
    pub(crate) fn new(events: Arc<Events>, max_payload: usize, max_backlog_bytes: usize) -> Self {
        LiveFeed { events, max_payload, max_backlog_bytes, inner: Mutex::default() }
    }

    /// What units are coded in from the next one on. False when those who watch cannot go on with
    /// it: then the feed is closed.
    pub fn set_format(&self, format: Arc<Format>) -> bool {
        let mut inner = self.inner.lock();
        let goes_on = inner.format.as_ref().is_none_or(|old| format.goes_on_from(old));
        if goes_on {
            inner.format = Some(format);
        } else {
            drop(inner);
            self.close();
        }
        goes_on
    }

    /// Sends a unit to all who watch. One that is no media is left out: it comes from a camera.
    pub fn push(&self, unit: LiveUnit<'_>) {
        let mut inner = self.inner.lock();
        let Some(format) = inner.format.clone() else { return };
        if inner.closed {
            return;
        }
        let zero_us = *inner.zero_us.get_or_insert(unit.arrival_us);
        if inner.run.as_deref() != Some(unit.run) {
            inner.run = Some(unit.run.to_owned());
            inner.video.begin_run(VIDEO_CLOCK_HZ);
            inner.audio.begin_run(format.audio_clock_hz());
            inner.gop.clear();
        }
        let (track, clock) = match unit.audio {
            true => (Track::Audio, &mut inner.audio),
            false => (Track::Video, &mut inner.video),
        };
        let mut packets = Packets::default();
        let made = match track {
            Track::Video => {
                format.picture(unit.data, unit.random_access, self.max_payload, &mut packets)
            }
            Track::Audio => format.sound(unit.data, self.max_payload, &mut packets),
        };
        if let Err(e) = made {
            log::debug!(target: "nvr.rtsp", "a live unit is left out: {e}");
            return;
        }
        let ticks = clock.take(unit.pts, unit.arrival_us, zero_us);
        let unit_out = Unit { track, ticks, packets };
        let starts = unit.random_access && !unit.audio;
        let Inner { viewers, scratch, video, audio, .. } = &mut *inner;
        viewers.retain(|viewer| !viewer.output.is_closed());
        let now = Instant::now();
        for viewer in viewers.iter_mut() {
            if viewer.takes(starts, self.max_backlog_bytes) {
                viewer.send(&unit_out, scratch);
                // After the first packet: some clients take none before it.
                if viewer.next_report.is_none_or(|at| at <= now) {
                    viewer.next_report = Some(now + REPORT_INTERVAL);
                    report(&viewer.output, video, audio);
                }
            }
        }
        inner.keep(unit_out, starts);
    }

    /// Adds a viewer; false when the feed is closed or nothing came yet.
    pub(crate) fn join(&self, session: u64, output: Arc<Output>, announcer: Announcer) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed || inner.zero_us.is_none() {
            return false;
        }
        // A burst of datagrams would be lost: without a connection that can hold it, the viewer
        // begins with the next random-access point.
        let burst = output.is_interleaved() && !inner.gop.is_empty();
        let Inner { gop, scratch, video, audio, viewers, .. } = &mut *inner;
        let first = |track: Track, clock: &Clock| {
            let unit = gop.iter().find(|unit| burst && unit.track == track);
            unit.map_or(clock.last + 1, |unit| unit.ticks)
        };
        announcer.started(Started {
            range: "npt=now-".into(),
            scale: None,
            video_ticks: first(Track::Video, video),
            audio_ticks: first(Track::Audio, audio),
        });
        let mut viewer =
            Viewer { session, output, waits: !burst, lost: 0, sent_bytes: 0, next_report: None };
        if burst {
            viewer.next_report = Some(Instant::now() + REPORT_INTERVAL);
            gop.iter().for_each(|unit| viewer.send(unit, scratch));
            report(&viewer.output, video, audio);
        }
        viewers.push(viewer);
        true
    }

    /// Takes a viewer away; how many bytes it was sent.
    pub(crate) fn leave(&self, session: u64) -> u64 {
        let mut inner = self.inner.lock();
        let at = inner.viewers.iter().position(|viewer| viewer.session == session);
        at.map_or(0, |at| inner.viewers.swap_remove(at).sent_bytes)
    }

    /// Says goodbye to all who watch; nobody can watch any more. Closing twice does no harm.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.gop.clear();
        let Inner { viewers, video, audio, .. } = &mut *inner;
        for viewer in viewers.drain(..) {
            // Before the client knows: it may ask for more at once.
            self.events.push(Event::Signal(Signal {
                kind: SignalKind::Finished,
                session: viewer.session,
                sent_bytes: viewer.sent_bytes,
                position_us: None,
            }));
            viewer.output.goodbye(|track| match track {
                Track::Video => video.report(video.last),
                Track::Audio => audio.report(audio.last),
            });
        }
    }
}

fn report(output: &Output, video: &Clock, audio: &Clock) {
    output.report(|track| match track {
        Track::Video => video.report(video.last),
        Track::Audio => audio.report(audio.last),
    });
}

impl Inner {
    fn keep(&mut self, unit: Unit, starts: bool) {
        if starts {
            self.gop.clear();
            self.gop_bytes = 0;
        } else if self.gop.is_empty() {
            return;
        }
        self.gop_bytes += unit.packets.payload_bytes();
        if self.gop_bytes > MAX_GOP_BYTES || self.gop.len() >= MAX_GOP_UNITS {
            self.gop = Vec::new();
        } else {
            self.gop.push(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    #[test]
    fn reports_show_the_wall_time_of_the_least_delay() {
        let mut clock = Clock::default();
        // 10 pictures a second, 20 ms on the way at least; the first one took 170 ms.
        for (n, delay) in [(0, 170), (1, 60), (2, 20), (3, 90)] {
            clock.take(n * 9_000, n * 100 * MS + delay * MS, 0);
        }
        let found = clock.report(clock.last).unwrap();
        assert_eq!(found.wall_us, 320 * MS);
        assert_eq!(found.ticks, ticks(170 * MS, VIDEO_CLOCK_HZ) + 27_000);
    }

    #[test]
    fn pictures_out_of_order_do_not_look_early() {
        let mut clock = Clock::default();
        for (pts, arrival_ms) in [(0, 200), (3, 300), (1, 400), (2, 500), (6, 600)] {
            clock.take(pts * 9_000, arrival_ms * MS, 0);
        }
        // Picture 3 arrived at 300 ms, and nothing was ever faster.
        assert_eq!(clock.report(clock.last).unwrap().wall_us, 600 * MS);
    }

    #[test]
    fn a_new_run_goes_on_where_wall_time_is() {
        let mut clock = Clock::default();
        clock.take(1_000_000, 0, 0);
        let before = clock.take(1_009_000, 100 * MS, 0);
        clock.begin_run(VIDEO_CLOCK_HZ);
        let after = clock.take(5, 1_100 * MS, 0);
        assert_eq!(after - before, 90_000 - 1);
    }
}
