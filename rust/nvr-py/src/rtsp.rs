//! Cameras played over RTSP, for Python: it answers what clients ask, and pushes footage.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nvr_rtsp_out::events::{Event, Signal};
use nvr_rtsp_out::{
    AudioCodec, Config, DescribeRequest, Format, LiveFeed, LiveUnit, PlayRequest, PushedFragment,
    Replay, ReplayPlan, Server, StatusCode, VideoCodec,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tokio::runtime::Handle;

use crate::errors::rtsp_to_py;

/// What a decoder must know.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct RtspFormat(Arc<Format>);

#[pymethods]
impl RtspFormat {
    #[new]
    #[pyo3(signature = (*, codec, extra_data, width, height, audio_codec = "aac",
        audio_extra_data = Vec::new(), audio_sample_rate_hz = 0))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn new(
        py: Python<'_>,
        codec: &str,
        extra_data: Vec<u8>,
        width: u16,
        height: u16,
        audio_codec: &str,
        audio_extra_data: Vec<u8>,
        audio_sample_rate_hz: u32,
    ) -> PyResult<Self> {
        let codec = match codec {
            "h264" => VideoCodec::H264,
            "h265" => VideoCodec::H265,
            other => {
                let message = format!("codec: '{other}' is not 'h264' or 'h265'");
                return Err(rtsp_to_py(py, &nvr_rtsp_out::Error::Invalid(message)));
            }
        };
        let audio_codec = AudioCodec::from_name(audio_codec).map_err(|e| rtsp_to_py(py, &e))?;
        let audio = (audio_codec, audio_extra_data, audio_sample_rate_hz);
        let audio = (audio_sample_rate_hz != 0).then_some(audio);
        let format = Format::new(codec, &extra_data, (width, height), audio);
        format.map(|format| RtspFormat(Arc::new(format))).map_err(|e| rtsp_to_py(py, &e))
    }
}

/// An RTSP server that plays cameras.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct RtspServer {
    server: Server,
}

#[pymethods]
impl RtspServer {
    #[new]
    #[pyo3(signature = (listen = "127.0.0.1:0", *, users = Vec::new(), threads = 1,
        max_payload = 1400, max_connections = 1000, max_sessions = 200,
        max_backlog_bytes = 4 << 20, session_timeout_ms = 60_000, answer_within_ms = 15_000))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn new(
        py: Python<'_>,
        listen: &str,
        users: Vec<(String, String)>,
        threads: usize,
        max_payload: usize,
        max_connections: usize,
        max_sessions: usize,
        max_backlog_bytes: usize,
        session_timeout_ms: u64,
        answer_within_ms: u64,
    ) -> PyResult<Self> {
        let config = Config {
            listen: listen.to_owned(),
            users,
            threads,
            max_payload,
            max_connections,
            max_sessions,
            max_backlog_bytes,
            session_timeout: Duration::from_millis(session_timeout_ms),
            answer_within: Duration::from_millis(answer_within_ms),
        };
        let server = py.detach(|| Server::start(config)).map_err(|e| rtsp_to_py(py, &e))?;
        Ok(RtspServer { server })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.server.address().port()
    }

    fn notify_fd(&self) -> i32 {
        self.server.events().notify_fd().as_raw_fd()
    }

    fn take_events(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let events = py.detach(|| self.server.events().take());
        let handle = self.server.handle().ok();
        let to_py = |event| match event {
            Event::Describe(request) => Ok(Py::new(py, RtspDescribe(request))?.into_any()),
            Event::Play(request) => {
                let handle = handle.clone();
                Ok(Py::new(py, RtspPlay { request, handle })?.into_any())
            }
            Event::Signal(signal) => Ok(Py::new(py, RtspSignal::from(signal))?.into_any()),
        };
        events.into_iter().map(to_py).collect()
    }

    fn feed(&self) -> RtspFeed {
        RtspFeed(Arc::new(self.server.feed()))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("sessions", self.server.stats().sessions)?;
        Ok(dict)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.server.close());
    }
}

/// A client asks what is behind an address.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct RtspDescribe(DescribeRequest);

#[pymethods]
impl RtspDescribe {
    #[getter]
    fn path(&self) -> &str {
        &self.0.path
    }

    #[getter]
    fn query(&self) -> &str {
        &self.0.query
    }

    fn accept(
        &self,
        py: Python<'_>,
        path: String,
        key: String,
        range: String,
        format: &RtspFormat,
    ) {
        let format = Arc::clone(&format.0);
        py.detach(|| self.0.accept(path, key, range, format));
    }

    fn refuse(&self, py: Python<'_>, status: u16) {
        py.detach(|| self.0.refuse(StatusCode::from(status)));
    }
}

/// A client wants to see something.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct RtspPlay {
    request: PlayRequest,
    /// None: the server is closed.
    handle: Option<Handle>,
}

#[pymethods]
impl RtspPlay {
    #[getter]
    fn session(&self) -> u64 {
        self.request.session
    }

    #[getter]
    fn host(&self) -> String {
        self.request.client.address.to_string()
    }

    #[getter]
    fn port(&self) -> u16 {
        self.request.client.port
    }

    #[getter]
    fn user(&self) -> &str {
        &self.request.client.user
    }

    #[getter]
    fn key(&self) -> &str {
        &self.request.key
    }

    #[getter]
    fn range(&self) -> &str {
        &self.request.range
    }

    #[getter]
    fn scale(&self) -> &str {
        &self.request.scale
    }

    #[getter]
    fn speed(&self) -> &str {
        &self.request.speed
    }

    #[getter]
    fn rate_control(&self) -> &str {
        &self.request.rate_control
    }

    fn stop(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.request.stop())
    }

    fn live(&self, py: Python<'_>, feed: &RtspFeed) -> bool {
        py.detach(|| self.request.live(&feed.0))
    }

    #[pyo3(signature = (start_us, end_us, *, range, pre_roll_us = 0, scale = 1, paced = true))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn replay(
        &self,
        py: Python<'_>,
        start_us: i64,
        end_us: i64,
        range: String,
        pre_roll_us: i64,
        scale: u32,
        paced: bool,
    ) -> Option<RtspReplay> {
        let handle = self.handle.as_ref()?;
        let plan = ReplayPlan { start_us, end_us, pre_roll_us, scale, paced, range };
        py.detach(|| self.request.replay(plan, handle)).map(RtspReplay)
    }

    fn unchanged(&self, py: Python<'_>) {
        py.detach(|| self.request.unchanged());
    }

    fn refuse(&self, py: Python<'_>, status: u16) {
        py.detach(|| self.request.refuse(StatusCode::from(status)));
    }
}

/// Something happened to a session.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct RtspSignal {
    kind: &'static str,
    session: u64,
    sent_bytes: u64,
    position_us: Option<i64>,
}

impl From<Signal> for RtspSignal {
    fn from(signal: Signal) -> Self {
        let Signal { kind, session, sent_bytes, position_us } = signal;
        RtspSignal { kind: kind.as_str(), session, sent_bytes, position_us }
    }
}

/// A stream as it comes, for all who watch it.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct RtspFeed(Arc<LiveFeed>);

#[pymethods]
impl RtspFeed {
    fn set_format(&self, py: Python<'_>, format: &RtspFormat) -> bool {
        py.detach(|| self.0.set_format(Arc::clone(&format.0)))
    }

    #[pyo3(signature = (data, *, audio, pts, arrival_us, random_access, run_id))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn push(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        audio: bool,
        pts: i64,
        arrival_us: i64,
        random_access: bool,
        run_id: &str,
    ) {
        let data = data.as_bytes();
        let unit = LiveUnit { audio, pts, arrival_us, random_access, data, run: run_id };
        py.detach(|| self.0.push(unit));
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

/// What was recorded, on its way to one client.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct RtspReplay(Arc<Replay>);

#[pymethods]
impl RtspReplay {
    #[pyo3(signature = (data, format, *, start_us, duration_us, run_id, random_access))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn push_fragment(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        format: &RtspFormat,
        start_us: i64,
        duration_us: i64,
        run_id: &str,
        random_access: bool,
    ) -> PyResult<bool> {
        let data = data.as_bytes();
        let fragment = PushedFragment { data, start_us, duration_us, run: run_id, random_access };
        py.detach(|| self.0.push_fragment(fragment, Arc::clone(&format.0)))
            .map_err(|e| rtsp_to_py(py, &e))
    }

    fn push_keyframe(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        format: &RtspFormat,
        wall_us: i64,
    ) -> PyResult<bool> {
        let data = data.as_bytes();
        py.detach(|| self.0.push_keyframe(data, wall_us, Arc::clone(&format.0)))
            .map_err(|e| rtsp_to_py(py, &e))
    }

    fn finish(&self, py: Python<'_>) {
        py.detach(|| self.0.finish());
    }
}
