//! What a stream does now, and its counters.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use nvr_core::ids::StreamId;
use nvr_core::reason::Reason;
use parking_lot::Mutex;

/// What a stream's task is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting for its turn to connect, connecting, or waiting for a picture that can be recorded.
    Connecting,
    /// Pictures arrive and are recorded.
    Recording,
    /// Waiting before it connects again.
    Waiting,
}

impl State {
    /// Its name in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Recording => "recording",
            State::Waiting => "waiting",
        }
    }
}

/// A stream's state, and counters since it was first added.
#[derive(Clone, Debug)]
pub struct Status {
    /// Which stream.
    pub id: StreamId,
    /// What it does now.
    pub state: State,
    /// Why what arrives is not recorded, the last session ended, or none began; none while recording.
    pub reason: Option<Reason>,
    /// The reason in words, without secrets; while recording, what is left out (sound that
    /// is neither AAC, G.711 nor Opus).
    pub detail: String,
    /// RFC 6381, of the newest session; empty before the first.
    pub video_codec: String,
    /// RFC 6381, of the newest session; empty without sound.
    pub audio_codec: String,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
    /// Arrival of the newest picture, by the recorder's clock.
    pub last_frame_us: Option<i64>,
    /// Pictures delivered.
    pub frames: u64,
    /// Bytes of pictures, sound and metadata delivered.
    pub bytes: u64,
    /// RTP packets that the camera numbered and did not deliver, or that made no sense.
    pub lost_packets: u64,
    /// The camera's clock minus the recorder's, by the session's newest sender report.
    pub clock_offset_us: Option<i64>,
    /// How often it had to connect anew, by the reason.
    pub reconnects: Vec<(Reason, u64)>,
}

/// No value yet, in a cell that holds times.
const NONE: i64 = i64::MIN;

/// Where a stream's task leaves its state. Counters are written by this one task, so a
/// relaxed load and store suffice.
#[derive(Debug)]
pub(crate) struct StatusCell {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost_packets: AtomicU64,
    last_frame_us: AtomicI64,
    clock_offset_us: AtomicI64,
    /// The state is [`State::Recording`]: so that a picture takes no lock.
    recording: AtomicBool,
    slow: Mutex<Slow>,
}

/// What changes a few times a session.
#[derive(Debug)]
struct Slow {
    state: State,
    reason: Option<Reason>,
    detail: String,
    video_codec: String,
    audio_codec: String,
    /// Sound that is not recorded, for people.
    left_out: String,
    width: u16,
    height: u16,
    reconnects: Vec<(Reason, u64)>,
}

impl Slow {
    fn is(&mut self, state: State, reason: Option<&Reason>, detail: &str) {
        self.state = state;
        self.reason = reason.cloned();
        detail.clone_into(&mut self.detail);
    }
}

impl Default for StatusCell {
    fn default() -> Self {
        StatusCell {
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost_packets: AtomicU64::new(0),
            last_frame_us: AtomicI64::new(NONE),
            clock_offset_us: AtomicI64::new(NONE),
            recording: AtomicBool::new(false),
            slow: Mutex::new(Slow {
                state: State::Connecting,
                reason: None,
                detail: String::new(),
                video_codec: String::new(),
                audio_codec: String::new(),
                left_out: String::new(),
                width: 0,
                height: 0,
                reconnects: Vec::new(),
            }),
        }
    }
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl StatusCell {
    pub(crate) fn picture(&self, arrival_us: i64, bytes: usize) {
        bump(&self.frames, 1);
        bump(&self.bytes, bytes as u64);
        self.last_frame_us.store(arrival_us, Relaxed);
    }

    pub(crate) fn sound(&self, bytes: usize) {
        bump(&self.bytes, bytes as u64);
    }

    pub(crate) fn metadata(&self, bytes: usize) {
        bump(&self.bytes, bytes as u64);
    }

    pub(crate) fn lost(&self, packets: u64) {
        bump(&self.lost_packets, packets);
    }

    pub(crate) fn clock_offset(&self, offset_us: i64) {
        self.clock_offset_us.store(offset_us, Relaxed);
    }

    /// Packets lost so far.
    pub(crate) fn lost_packets(&self) -> u64 {
        self.lost_packets.load(Relaxed)
    }

    /// Pictures delivered so far.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Why the last attempt failed stays to be seen.
    pub(crate) fn connecting(&self) {
        self.recording.store(false, Relaxed);
        self.slow.lock().state = State::Connecting;
    }

    /// Pictures are about to come. What the clock of the session before said is over with it.
    pub(crate) fn begun(&self, audio_codec: &str, left_out: &str) {
        self.clock_offset_us.store(NONE, Relaxed);
        let mut slow = self.slow.lock();
        audio_codec.clone_into(&mut slow.audio_codec);
        left_out.clone_into(&mut slow.left_out);
    }

    /// A picture came and is recorded, or is not for a reason that lasts.
    pub(crate) fn taken(&self, not_recorded: Option<Reason>) {
        let recording = not_recorded.is_none();
        // Most pictures are like the one before.
        if recording && self.recording.load(Relaxed) {
            return;
        }
        self.recording.store(recording, Relaxed);
        let mut slow = self.slow.lock();
        match not_recorded {
            None if slow.left_out.is_empty() => slow.is(State::Recording, None, ""),
            None => {
                let left_out = &slow.left_out;
                let detail = format!("not recorded: {left_out}");
                slow.is(State::Recording, None, &detail);
            }
            Some(reason) if slow.reason.as_ref() == Some(&reason) => slow.state = State::Connecting,
            Some(reason) => {
                let detail = if reason == Reason::NO_KEYFRAME {
                    "pictures arrive, but none at which decoding can start (no keyframe)"
                } else if reason == Reason::PARAMETER_FLOOD {
                    "the camera changes its parameters too often"
                } else {
                    "pictures arrive that cannot be recorded"
                };
                slow.is(State::Connecting, Some(&reason), detail);
            }
        }
    }

    pub(crate) fn video(&self, codec: &str, width: u16, height: u16) {
        let mut slow = self.slow.lock();
        codec.clone_into(&mut slow.video_codec);
        (slow.width, slow.height) = (width, height);
    }

    /// A session ended or none began; it will be tried again.
    pub(crate) fn waiting(&self, reason: &Reason, detail: &str) {
        self.recording.store(false, Relaxed);
        let mut slow = self.slow.lock();
        slow.is(State::Waiting, Some(reason), detail);
        match slow.reconnects.iter_mut().find(|(r, _)| r == reason) {
            Some((_, n)) => *n += 1,
            None => slow.reconnects.push((reason.clone(), 1)),
        }
    }

    /// Its settings are new: what was wrong with the old ones no longer matters.
    pub(crate) fn settings_changed(&self) {
        self.recording.store(false, Relaxed);
        self.slow.lock().is(State::Connecting, None, "");
    }

    pub(crate) fn read(&self, id: StreamId) -> Status {
        let time = |cell: &AtomicI64| Some(cell.load(Relaxed)).filter(|t| *t != NONE);
        let slow = self.slow.lock();
        Status {
            id,
            state: slow.state,
            reason: slow.reason.clone(),
            detail: slow.detail.clone(),
            video_codec: slow.video_codec.clone(),
            audio_codec: slow.audio_codec.clone(),
            width: slow.width,
            height: slow.height,
            last_frame_us: time(&self.last_frame_us),
            frames: self.frames(),
            bytes: self.bytes.load(Relaxed),
            lost_packets: self.lost_packets(),
            clock_offset_us: time(&self.clock_offset_us),
            reconnects: slow.reconnects.clone(),
        }
    }
}
