//! Live access units and events: from the session with a camera to whoever watches, without
//! waiting for anybody. One eventfd says that some watcher has something to take.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::ids::{RunId, StreamId};
use crate::media::{AudioParams, VideoParams};
use crate::reason::Reason;

/// What a watcher may leave lying before whole groups of pictures are dropped.
const MAX_WAITING_BYTES: usize = 8 << 20;
const MAX_WAITING_UNITS: usize = 2048;
/// A group of pictures that is kept for those who come in the middle of it.
const MAX_GOP_BYTES: usize = 4 << 20;
/// Events that a watcher may leave lying.
const MAX_WAITING_EVENTS: usize = 1024;

/// How the units that follow are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// The pictures.
    pub video: VideoParams,
    /// The sound.
    pub audio: Option<AudioParams>,
}

/// A picture or a frame of sound, as it came.
#[derive(Clone, Debug)]
pub struct LiveUnit {
    /// Sound.
    pub audio: bool,
    /// Presentation time in ticks of its track.
    pub pts: i64,
    /// Wall time at which it arrived.
    pub arrival_us: i64,
    /// A decoder can start here.
    pub random_access: bool,
    /// As in [`AccessUnit`](crate::media::AccessUnit).
    pub data: Bytes,
    /// The run that it became part of.
    pub run: RunId,
    /// How it is coded.
    pub config: Arc<LiveConfig>,
    /// Units that this watcher lost just before this one.
    pub dropped: u32,
}

/// Something that happened to a stream.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    /// When.
    pub at_us: i64,
    /// To which stream.
    pub stream: StreamId,
    /// `run_started`, `run_ended`, `stream_down`, `footage_lost`, `packets_lost`.
    pub kind: &'static str,
    /// Why, where there is a why.
    pub reason: Option<Reason>,
    /// For people, without secrets.
    pub detail: String,
}

/// How many watch anything live.
#[derive(Clone, Debug, Default)]
pub struct Watchers(Arc<AtomicUsize>);

impl Watchers {
    /// Whether anybody does.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// All that can be watched on a node.
#[derive(Debug)]
pub struct Hub {
    watchers: Watchers,
    streams: Mutex<BTreeMap<StreamId, Arc<LiveStream>>>,
    events: Mutex<Vec<Arc<EventWatch>>>,
    bell: Arc<Bell>,
}

/// Wakes the one who takes: rung at most once until it is answered.
#[derive(Debug)]
struct Bell {
    eventfd: OwnedFd,
    ready: Mutex<Vec<u64>>,
    next_id: AtomicU64,
}

impl Bell {
    fn ring(&self, id: u64) {
        let mut ready = self.ready.lock();
        if ready.is_empty() {
            // Fails only when the counter is full, and then the bell rings anyway.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
        if !ready.contains(&id) {
            ready.push(id);
        }
    }
}

impl Hub {
    /// Without watchers.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let bell = Bell { eventfd, ready: Mutex::default(), next_id: AtomicU64::new(1) };
        Ok(Hub {
            watchers: Watchers::default(),
            streams: Mutex::default(),
            events: Mutex::default(),
            bell: Arc::new(bell),
        })
    }

    /// Those who watch streams; not those who watch events.
    pub fn watchers(&self) -> Watchers {
        self.watchers.clone()
    }

    /// Becomes readable when a watcher has something to take.
    pub fn notify_fd(&self) -> BorrowedFd<'_> {
        self.bell.eventfd.as_fd()
    }

    /// The watchers that have something to take; the eventfd is quiet again.
    pub fn take_ready(&self) -> Vec<u64> {
        let mut ready = self.bell.ready.lock();
        // Not readable: nobody rang since the last time.
        let _ = rustix::io::read(&self.bell.eventfd, &mut [0; 8]);
        std::mem::take(&mut ready)
    }

    /// A stream to publish to.
    pub fn stream(&self, id: StreamId) -> Arc<LiveStream> {
        self.streams.lock().entry(id).or_default().clone()
    }

    /// Watches a stream from its newest random-access point on.
    pub fn watch(&self, id: StreamId, audio: bool) -> Arc<LiveWatch> {
        self.watchers.0.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(LiveWatch {
            id: self.bell.next_id.fetch_add(1, Ordering::Relaxed),
            bell: self.bell.clone(),
            watchers: self.watchers.clone(),
            audio,
            closed: AtomicBool::new(false),
            queue: Mutex::default(),
        });
        let stream = self.stream(id);
        let mut inner = stream.inner.lock();
        for unit in &inner.gop {
            watch.offer(unit);
        }
        inner.watches.push(watch.clone());
        watch
    }

    /// The stream is no more: its watchers are told.
    pub fn close_stream(&self, id: StreamId) {
        if let Some(stream) = self.streams.lock().remove(&id) {
            for watch in std::mem::take(&mut stream.inner.lock().watches) {
                watch.close();
                watch.bell.ring(watch.id);
            }
        }
    }

    /// Watches the events of all streams.
    pub fn watch_events(&self) -> Arc<EventWatch> {
        let watch = Arc::new(EventWatch {
            id: self.bell.next_id.fetch_add(1, Ordering::Relaxed),
            closed: AtomicBool::new(false),
            queue: Mutex::default(),
        });
        self.events.lock().push(watch.clone());
        watch
    }

    /// Tells the watchers of events.
    pub fn publish_event(&self, event: &StreamEvent) {
        let mut watches = self.events.lock();
        watches.retain(|w| !w.closed.load(Ordering::Relaxed));
        for watch in watches.iter() {
            let mut queue = watch.queue.lock();
            if queue.len() == MAX_WAITING_EVENTS {
                queue.pop_front();
            }
            queue.push_back(event.clone());
            self.bell.ring(watch.id);
        }
    }
}

/// One stream's live side.
#[derive(Debug, Default)]
pub struct LiveStream {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// From the newest random-access point on; empty when that grew too large.
    gop: Vec<LiveUnit>,
    gop_bytes: usize,
    watches: Vec<Arc<LiveWatch>>,
}

impl LiveStream {
    /// Hands a unit to all who watch.
    pub fn publish(&self, unit: LiveUnit) {
        let mut inner = self.inner.lock();
        inner.watches.retain(|w| !w.closed.load(Ordering::Relaxed));
        for watch in &inner.watches {
            watch.offer(&unit);
        }
        if unit.random_access && !unit.audio {
            inner.gop.clear();
            inner.gop_bytes = 0;
        } else if inner.gop.is_empty() {
            return;
        }
        inner.gop_bytes += unit.data.len();
        if inner.gop_bytes > MAX_GOP_BYTES {
            inner.gop = Vec::new();
        } else {
            inner.gop.push(unit);
        }
    }

    /// The session ended: nobody can join in the middle of what it sent.
    pub fn forget_gop(&self) {
        self.inner.lock().gop = Vec::new();
    }
}

/// A bounded queue of live units.
#[derive(Debug)]
pub struct LiveWatch {
    /// By which [`Hub::take_ready`] names it.
    pub id: u64,
    bell: Arc<Bell>,
    watchers: Watchers,
    audio: bool,
    closed: AtomicBool,
    queue: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    units: VecDeque<LiveUnit>,
    bytes: usize,
    dropped: u32,
}

impl LiveWatch {
    fn offer(&self, unit: &LiveUnit) {
        if unit.audio && !self.audio {
            return;
        }
        let mut waiting = self.queue.lock();
        if waiting.bytes + unit.data.len() > MAX_WAITING_BYTES
            || waiting.units.len() >= MAX_WAITING_UNITS
        {
            waiting.dropped += u32::try_from(waiting.units.len()).unwrap_or(u32::MAX);
            waiting.units.clear();
            waiting.bytes = 0;
        }
        // After a loss, only a random-access point is of use.
        let start = unit.random_access && !unit.audio;
        if waiting.dropped > 0 && waiting.units.is_empty() && !start {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += unit.data.len();
        let dropped = std::mem::take(&mut waiting.dropped);
        waiting.units.push_back(LiveUnit { dropped, ..unit.clone() });
        self.bell.ring(self.id);
    }

    /// What is there.
    pub fn take(&self) -> Vec<LiveUnit> {
        let mut waiting = self.queue.lock();
        waiting.bytes = 0;
        waiting.units.drain(..).collect()
    }

    /// Nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Nobody takes any more.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.watchers.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for LiveWatch {
    fn drop(&mut self) {
        self.close();
    }
}

/// A bounded queue of events; the oldest go first when nobody takes them.
#[derive(Debug)]
pub struct EventWatch {
    /// By which [`Hub::take_ready`] names it.
    pub id: u64,
    closed: AtomicBool,
    queue: Mutex<VecDeque<StreamEvent>>,
}

impl EventWatch {
    /// What is there.
    pub fn take(&self) -> Vec<StreamEvent> {
        self.queue.lock().drain(..).collect()
    }

    /// Nobody takes any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CameraId, StreamKind};
    use crate::media::VideoCodec;

    fn unit(n: i64, random_access: bool, len: usize) -> LiveUnit {
        let video =
            VideoParams { codec: VideoCodec::H264, extra_data: Bytes::new(), width: 1, height: 1 };
        LiveUnit {
            audio: false,
            pts: n,
            arrival_us: n,
            random_access,
            data: Bytes::from(vec![0; len]),
            run: RunId(uuid::Uuid::nil()),
            config: Arc::new(LiveConfig { video, audio: None }),
            dropped: 0,
        }
    }

    const ID: StreamId = StreamId { camera: CameraId(uuid::Uuid::nil()), kind: StreamKind::Main };

    #[test]
    fn a_watcher_starts_at_the_newest_random_access_point() {
        let hub = Hub::new().unwrap();
        let stream = hub.stream(ID);
        for n in 0..7 {
            stream.publish(unit(n, n % 4 == 0, 1));
        }
        let watch = hub.watch(ID, true);
        assert_eq!(hub.take_ready(), [watch.id]);
        assert!(hub.take_ready().is_empty());
        stream.publish(unit(7, false, 1));
        let got: Vec<_> = watch.take().iter().map(|u| u.pts).collect();
        assert_eq!(got, [4, 5, 6, 7]);
        assert_eq!(hub.take_ready(), [watch.id]);
        hub.close_stream(ID);
        assert!(watch.is_closed());
        assert_eq!(hub.take_ready(), [watch.id]);
    }

    #[test]
    fn a_slow_watcher_loses_whole_groups_and_is_told() {
        let hub = Hub::new().unwrap();
        let watch = hub.watch(ID, true);
        let stream = hub.stream(ID);
        for n in 0..30 {
            stream.publish(unit(n, n % 10 == 0, MAX_WAITING_BYTES / 12));
        }
        let got = watch.take();
        assert_eq!((got[0].pts, got[0].dropped), (20, 20));
        assert_eq!(got.len(), 10);
    }
}
