//! A camera: media on a wall-clock timeline, the same for all who look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::media::{Media, Track};
use crate::outbox::Outbox;
use crate::packetize::Packets;
use crate::sdp::{AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE};
use crate::viewer::{TrackOut, Viewer};

/// Counters of a server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sessions: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A camera of the server.
pub(crate) struct Camera {
    pub(crate) path: String,
    pub(crate) media: Arc<Media>,
    /// Wall time at which media time is zero.
    pub(crate) zero_us: i64,
    /// Tells this camera's description from others'.
    pub(crate) id: u64,
    max_payload: usize,
    clock: Clock,
    counters: Arc<Counters>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    viewers: Vec<Viewer>,
    /// The next packet to be sent, while anybody looks.
    cursor: Option<u64>,
    removed: bool,
    buffers: Buffers,
}

/// Reused from packet to packet.
#[derive(Default)]
struct Buffers {
    unit: Vec<u8>,
    packets: Packets,
    stamped: Vec<u8>,
}

/// Where a new viewer starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// RTP ticks of the first picture, and of the first sound after it.
    pub(crate) video_ticks: i64,
    pub(crate) audio_ticks: i64,
}

impl Start {
    pub(crate) fn ticks(&self, track: Track) -> i64 {
        match track {
            Track::Video => self.video_ticks,
            Track::Audio => self.audio_ticks,
        }
    }
}

impl Camera {
    pub(crate) fn new(
        path: String,
        media: Arc<Media>,
        zero_us: i64,
        max_payload: usize,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        let id = rand::random::<u32>().into();
        Camera { path, media, zero_us, id, max_payload, clock, counters, state, changed }
    }

    /// Lets a client look from the next random-access point on. `announce` is called with where
    /// that is, before anything is sent. False when the camera was removed.
    pub(crate) fn join(
        &self,
        viewer_id: u64,
        tracks: Vec<TrackOut>,
        outbox: Arc<Outbox>,
        announce: impl FnOnce(Start),
    ) -> bool {
        let mut state = self.state.lock();
        if state.removed {
            return false;
        }
        let due = self.media.first_packet_at(self.clock.now_us() - self.zero_us);
        // Never one that was sent to others already.
        let packet = self.media.random_access_from(due.max(state.cursor.unwrap_or(0)));
        let audio = self.media.track_from(packet, Track::Audio);
        // Counted before anybody hears of it.
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        announce(Start {
            video_ticks: self.media.info(packet).rtp_ticks,
            audio_ticks: audio.map_or(0, |packet| self.media.info(packet).rtp_ticks),
        });
        state.viewers.push(Viewer::new(viewer_id, packet, tracks, outbox));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// A client stops looking: nothing is sent to it after this returns.
    pub(crate) fn leave(&self, viewer_id: u64) {
        self.retain(&mut self.state.lock(), |viewer| viewer.id != viewer_id);
    }

    /// Ends the connections of all who look; nobody can look any more.
    pub(crate) fn remove(&self) {
        let mut state = self.state.lock();
        state.removed = true;
        for viewer in &state.viewers {
            viewer.outbox.close();
        }
        self.retain(&mut state, |_| false);
        drop(state);
        self.changed.notify_one();
    }

    fn retain(&self, state: &mut State, keep: impl FnMut(&Viewer) -> bool) {
        let before = state.viewers.len();
        let mut keep = keep;
        state.viewers.retain(|viewer| keep(viewer));
        let gone = before - state.viewers.len();
        self.counters.sessions.fetch_sub(gone as u64, Ordering::Relaxed);
        if state.viewers.is_empty() {
            state.cursor = None;
        }
    }

    /// Plays until the camera is removed.
    pub(crate) async fn play(self: Arc<Self>) {
        let timer = tokio::time::sleep_until(tokio::time::Instant::now());
        tokio::pin!(timer);
        loop {
            match self.send_due() {
                Step::Removed => return,
                Step::Idle => self.changed.notified().await,
                Step::Next(wall_us) => {
                    timer.as_mut().reset(self.clock.instant_at(wall_us).into());
                    tokio::select! {
                        () = &mut timer => {}
                        () = self.changed.notified() => {}
                    }
                }
            }
        }
    }

    /// Sends every packet whose time has come.
    fn send_due(&self) -> Step {
        let mut state = self.state.lock();
        if state.removed {
            return Step::Removed;
        }
        self.retain(&mut state, |viewer| !viewer.outbox.is_closed());
        loop {
            let State { viewers, cursor, buffers, .. } = &mut *state;
            let Some(first) = viewers.iter().map(|viewer| viewer.start).min() else {
                return Step::Idle;
            };
            let packet = cursor.map_or(first, |packet| packet.max(first));
            *cursor = Some(packet);
            let due_us = self.zero_us + self.media.due_us(packet);
            if due_us > self.clock.now_us() {
                return Step::Next(due_us);
            }
            if let Err(e) = self.send(packet, viewers, buffers) {
                log::error!(target: "nvr.simulate", "camera /{}: cannot read its media: {e}", self.path);
                viewers.iter().for_each(|viewer| viewer.outbox.close());
                self.retain(&mut state, |_| false);
                return Step::Idle;
            }
            *cursor = Some(packet + 1);
        }
    }

    fn send(
        &self,
        packet: u64,
        viewers: &mut [Viewer],
        buffers: &mut Buffers,
    ) -> std::io::Result<()> {
        let Buffers { unit, packets, stamped } = buffers;
        self.media.read(packet, unit)?;
        let info = self.media.info(packet);
        match info.track {
            Track::Video => {
                packets.clear(VIDEO_PAYLOAD_TYPE);
                let sets = info.random_access.then_some(&self.media.parameter_sets);
                packets.video(self.media.video.codec, unit, sets, self.max_payload);
            }
            Track::Audio => {
                packets.clear(AUDIO_PAYLOAD_TYPE);
                packets.aac(unit, self.max_payload);
            }
        }
        let now_us = self.clock.now_us();
        for viewer in viewers.iter_mut().filter(|viewer| viewer.start <= packet) {
            viewer.report(&self.media, self.zero_us, now_us);
            viewer.deliver(info.track, info.rtp_ticks, packets, stamped);
            self.counters.packets.fetch_add(packets.count() as u64, Ordering::Relaxed);
            self.counters.bytes.fetch_add(stamped.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

enum Step {
    /// Nobody looks.
    Idle,
    /// The next packet is due at this wall time.
    Next(i64),
    Removed,
}
