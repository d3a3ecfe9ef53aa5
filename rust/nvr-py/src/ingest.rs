//! `Ingest`: sessions with cameras, and what can be watched of them.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nvr_core::ids::{StreamId, StreamKind};
use nvr_core::live::{self, Hub};
use nvr_core::reason::Reason;
use nvr_core::record::Recorder;
use nvr_core::record::stats::StreamStats;
use nvr_ingest::{Options, Supervisor};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::IntoPy;
use crate::store::Store;
use crate::values::{CodecConfig, stream_id};

/// Sessions with cameras, on a runtime of its own.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct Ingest {
    supervisor: Supervisor,
    recorder: Arc<Mutex<Recorder>>,
    hub: Arc<Hub>,
    /// Counters go on when a camera's settings change.
    stats: Mutex<BTreeMap<StreamId, Arc<StreamStats>>>,
}

fn reason(reason: &str) -> Reason {
    Reason(reason.to_owned().into())
}

#[pymethods]
impl Ingest {
    #[new]
    #[pyo3(signature = (store, *, threads=1, max_handshakes=16, silent_after_ms=10_000, source_command=Vec::new()))]
    fn new(
        store: &Store,
        threads: usize,
        max_handshakes: usize,
        silent_after_ms: u64,
        source_command: Vec<String>,
    ) -> PyResult<Self> {
        let options = Options {
            threads,
            max_handshakes,
            silent_after: Duration::from_millis(silent_after_ms),
            source_command,
            watchers: store.hub.watchers(),
            ..Options::default()
        };
        Ok(Ingest {
            supervisor: Supervisor::new(store.store.clock().clone(), options).py()?,
            recorder: store.recorder()?.clone(),
            hub: store.hub.clone(),
            stats: Mutex::default(),
        })
    }

    #[pyo3(signature = (camera_id, stream, url, *, epoch=0))]
    fn add(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        url: &str,
        epoch: u32,
    ) -> PyResult<()> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| {
            // The old session's sink ends before the new one begins.
            let sink = self.recorder.lock().stream(id, epoch)?;
            self.stats.lock().insert(id, sink.stats());
            self.supervisor.add(id, url, Box::new(sink))
        })
        .py()
    }

    #[pyo3(signature = (camera_id, stream, reason="removed"))]
    fn remove(&self, py: Python<'_>, camera_id: &str, stream: &str, reason: &str) -> PyResult<()> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| {
            self.supervisor.remove(id, self::reason(reason));
            self.hub.close_stream(id);
            self.stats.lock().remove(&id);
        });
        Ok(())
    }

    fn status(&self, py: Python<'_>) -> Vec<StreamStatus> {
        py.detach(|| {
            let stats = self.stats.lock();
            self.supervisor.status().into_iter().map(|s| StreamStatus::new(s, &stats)).collect()
        })
    }

    #[pyo3(signature = (reason="recorder_stopped"))]
    fn close(&self, py: Python<'_>, reason: &str) {
        py.detach(|| {
            self.supervisor.shutdown(self::reason(reason));
            for status in self.supervisor.status() {
                self.hub.close_stream(status.id);
            }
        });
    }

    fn notify_fd(&self) -> i32 {
        self.hub.notify_fd().as_raw_fd()
    }

    fn take_ready(&self) -> Vec<u64> {
        self.hub.take_ready()
    }

    #[pyo3(signature = (camera_id, stream, *, audio=true))]
    fn watch_live(&self, camera_id: &str, stream: &str, audio: bool) -> PyResult<LiveWatch> {
        Ok(LiveWatch {
            watch: self.hub.watch(stream_id(camera_id, stream)?, audio),
            last: Mutex::new(None),
        })
    }

    fn watch_events(&self) -> EventWatch {
        EventWatch(self.hub.watch_events())
    }

    #[staticmethod]
    #[pyo3(signature = (url, timeout_ms=10_000, *, source_command=Vec::new()))]
    fn probe(
        py: Python<'_>,
        url: &str,
        timeout_ms: u64,
        source_command: Vec<String>,
    ) -> (String, String) {
        let limit = Duration::from_millis(timeout_ms);
        match py.detach(|| nvr_ingest::probe(url, limit, &source_command)) {
            Ok(()) => (String::new(), String::new()),
            Err((reason, detail)) => (reason.to_string(), detail),
        }
    }
}

/// What a recorded stream does now, and its counters since the node started.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct StreamStatus {
    camera_id: String,
    stream: &'static str,
    state: &'static str,
    reason: String,
    detail: String,
    video_codec: String,
    audio_codec: String,
    width: u16,
    height: u16,
    last_frame_us: i64,
    frames: u64,
    bytes: u64,
    lost_packets: u64,
    recorded_us: u64,
    camera_clock_offset_us: Option<i64>,
    reconnects: BTreeMap<String, u64>,
    gap_us: BTreeMap<String, u64>,
}

impl StreamStatus {
    fn new(s: nvr_ingest::Status, stats: &BTreeMap<StreamId, Arc<StreamStats>>) -> Self {
        let stats = stats.get(&s.id);
        StreamStatus {
            camera_id: s.id.camera.to_string(),
            stream: s.id.kind.as_str(),
            state: s.state.as_str(),
            reason: s.reason.map(|r| r.to_string()).unwrap_or_default(),
            detail: s.detail,
            video_codec: s.video_codec,
            audio_codec: s.audio_codec,
            width: s.width,
            height: s.height,
            last_frame_us: s.last_frame_us.unwrap_or(0),
            frames: s.frames,
            bytes: s.bytes,
            lost_packets: s.lost_packets,
            recorded_us: stats.map_or(0, |s| s.recorded_us.load(Ordering::Relaxed)),
            camera_clock_offset_us: s.clock_offset_us,
            reconnects: s.reconnects.into_iter().map(|(r, n)| (r.to_string(), n)).collect(),
            gap_us: stats.map(|s| s.gap_us.lock().clone()).unwrap_or_default(),
        }
    }
}

/// An access unit or a frame of sound, as it came.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct LiveUnit {
    audio: bool,
    pts: i64,
    arrival_us: i64,
    random_access: bool,
    data: Py<PyBytes>,
    run_id: String,
    config: Option<Py<CodecConfig>>,
    dropped: u32,
}

/// A bounded queue of live units; starts at the newest random-access point.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct LiveWatch {
    watch: Arc<live::LiveWatch>,
    /// The configuration that was given last.
    last: Mutex<Option<Arc<live::LiveConfig>>>,
}

#[pymethods]
impl LiveWatch {
    #[getter]
    fn id(&self) -> u64 {
        self.watch.id
    }

    fn take(&self, py: Python<'_>) -> PyResult<Vec<LiveUnit>> {
        let mut units = Vec::new();
        for unit in self.watch.take() {
            let mut last = self.last.lock();
            let changed = last.as_ref() != Some(&unit.config);
            let config = if changed {
                *last = Some(unit.config.clone());
                let c = &unit.config;
                Some(Py::new(py, CodecConfig::new(py, &c.video, c.audio.as_ref(), &[]))?)
            } else {
                None
            };
            units.push(LiveUnit {
                audio: unit.audio,
                pts: unit.pts,
                arrival_us: unit.arrival_us,
                random_access: unit.random_access,
                data: PyBytes::new(py, &unit.data).unbind(),
                run_id: unit.run.to_string(),
                config,
                dropped: unit.dropped,
            });
        }
        Ok(units)
    }

    fn closed(&self) -> bool {
        self.watch.is_closed()
    }

    fn close(&self) {
        self.watch.close();
    }
}

/// Something that happened to a stream.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct StreamEvent {
    at_us: i64,
    camera_id: String,
    stream: &'static str,
    kind: &'static str,
    reason: String,
    detail: String,
}

/// A bounded queue of events.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct EventWatch(Arc<live::EventWatch>);

#[pymethods]
impl EventWatch {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    fn take(&self) -> Vec<StreamEvent> {
        let event = |e: live::StreamEvent| StreamEvent {
            at_us: e.at_us,
            camera_id: e.stream.camera.to_string(),
            stream: StreamKind::as_str(e.stream.kind),
            kind: e.kind,
            reason: e.reason.map(|r| r.to_string()).unwrap_or_default(),
            detail: e.detail,
        };
        self.0.take().into_iter().map(event).collect()
    }

    fn close(&self) {
        self.0.close();
    }
}
