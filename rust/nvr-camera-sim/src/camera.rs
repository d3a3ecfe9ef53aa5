//! A camera: media on a wall-clock timeline, the same for all who look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nvr_rtsp::{
    AudioCodec, AudioDescription, Clock, Description, Packets, Play, Started, StatusCode, Stream,
    Track, VideoDescription,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::media::Media;
use crate::viewer::Viewer;

/// Counters of a server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sessions: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A camera of the server.
pub(crate) struct Camera {
    media: Arc<Media>,
    /// Wall time at which media time is zero.
    zero_us: i64,
    description: Description,
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

impl Camera {
    pub(crate) fn new(
        path: String,
        media: Arc<Media>,
        zero_us: i64,
        max_payload: usize,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Self {
        let description = Description {
            id: rand::random::<u32>().into(),
            path,
            range: "npt=now-".into(),
            video: VideoDescription {
                codec: media.video.codec,
                parameter_sets: media.parameter_sets.clone(),
                width: media.video.width,
                height: media.video.height,
            },
            audio: media.audio.as_ref().map(|audio| AudioDescription {
                codec: audio.codec,
                extra_data: audio.extra_data.clone(),
                sample_rate_hz: audio.sample_rate_hz,
                channels: audio.channels,
            }),
        };
        let (state, changed) = (Mutex::default(), Notify::new());
        Camera { media, zero_us, description, max_payload, clock, counters, state, changed }
    }

    /// Lets a client look from the next random-access point on. False when the camera was removed.
    fn join(&self, play: Play) -> bool {
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
        play.announcer.started(Started {
            range: "npt=now-".into(),
            scale: None,
            video_ticks: self.media.info(packet).rtp_ticks,
            audio_ticks: audio.map_or(0, |packet| self.media.info(packet).rtp_ticks),
        });
        state.viewers.push(Viewer::new(play.session, packet, play.output));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Ends the connections of all who look; nobody can look any more.
    pub(crate) fn remove(&self) {
        let mut state = self.state.lock();
        state.removed = true;
        for viewer in &state.viewers {
            viewer.output.close();
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
        self.retain(&mut state, |viewer| !viewer.output.is_closed());
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
                log::error!(target: "nvr.simulate", "camera /{}: cannot read its media: {e}", self.description.path);
                viewers.iter().for_each(|viewer| viewer.output.close());
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
                let sets = info.random_access.then_some(&self.media.parameter_sets);
                packets.video(self.media.video.codec, unit, sets, self.max_payload);
            }
            Track::Audio => {
                let codec = self.media.audio.as_ref().map_or(AudioCodec::Aac, |a| a.codec);
                packets.sound(codec, unit, self.max_payload).map_err(std::io::Error::other)?;
            }
        }
        let now_us = self.clock.now_us();
        for viewer in viewers.iter_mut().filter(|viewer| viewer.start <= packet) {
            viewer.report(&self.media, self.zero_us, now_us);
            let bytes = viewer.output.deliver(info.track, info.rtp_ticks, packets, stamped);
            if bytes > 0 {
                self.counters.packets.fetch_add(packets.count() as u64, Ordering::Relaxed);
                self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
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

impl Stream for Camera {
    const CAN_PAUSE: bool = false;

    fn description(&self) -> &Description {
        &self.description
    }

    async fn play(self: &Arc<Self>, play: Play) -> Result<(), StatusCode> {
        if play.again {
            play.announcer.unchanged();
            return Ok(());
        }
        if self.join(play) { Ok(()) } else { Err(StatusCode::NotFound) }
    }

    fn pause(&self, session: u64) {
        self.end(session);
    }

    fn end(&self, session: u64) {
        self.retain(&mut self.state.lock(), |viewer| viewer.session != session);
    }
}
