//! Values that cross to Python as they are.

use std::path::PathBuf;

use nvr_core::ids::{CameraId, StreamId};
use nvr_core::index::Record;
use nvr_core::media::VideoParams;
use nvr_core::media::{AudioParams, VideoCodec};
use nvr_core::store::{self, Located};
use pyo3::prelude::*;

use crate::errors::IntoPy;

/// Reads a camera id and a stream's name.
pub(crate) fn stream_id(camera_id: &str, stream: &str) -> PyResult<StreamId> {
    let camera: CameraId = camera_id.parse().py()?;
    Ok(StreamId { camera, kind: stream.parse().py()? })
}

/// Reads the parameters of a video track.
pub(crate) fn video_params(
    codec: &str,
    extra_data: &[u8],
    width: u16,
    height: u16,
) -> PyResult<VideoParams> {
    let codec = match codec {
        "h264" => VideoCodec::H264,
        "h265" => VideoCodec::H265,
        "jpeg" => VideoCodec::Jpeg,
        other => {
            let message =
                format!("'{other}' is no codec that is recorded: use 'h264', 'h265' or 'jpeg'");
            return Err(nvr_core::Error::Invalid(message)).py();
        }
    };
    let extra_data = bytes::Bytes::copy_from_slice(extra_data);
    Ok(VideoParams { codec, extra_data, width, height })
}

/// A stretch recorded without a break, by one run.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct Span {
    start_us: i64,
    end_us: i64,
    run_id: String,
    epoch: u32,
}

impl From<store::Span> for Span {
    fn from(s: store::Span) -> Self {
        Span { start_us: s.start_us, end_us: s.end_us, run_id: s.run.to_string(), epoch: s.epoch }
    }
}

/// A stretch that is not recorded, and why.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct Gap {
    start_us: i64,
    end_us: i64,
    reason: String,
    detail: String,
    unknown: bool,
}

impl From<store::Gap> for Gap {
    fn from(g: store::Gap) -> Self {
        Gap {
            start_us: g.start_us,
            end_us: g.end_us,
            reason: g.reason.to_string(),
            detail: g.detail.to_string(),
            unknown: g.unknown,
        }
    }
}

/// A stored fragment: its names, times, and where its bytes are. Names are written out when they
/// are asked for: whoever looks for an instant mostly wants its times.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct Fragment {
    id: StreamId,
    found: Located,
}

impl Fragment {
    pub(crate) fn new(id: StreamId, found: Located) -> Self {
        Fragment { id, found }
    }

    pub(crate) fn stream_id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn segment_path(&self) -> PathBuf {
        self.found.segment_path()
    }

    pub(crate) fn record(&self) -> &Record {
        &self.found.record
    }
}

#[pymethods]
impl Fragment {
    #[getter]
    fn camera_id(&self) -> String {
        self.id.camera.to_string()
    }
    #[getter]
    fn stream(&self) -> &'static str {
        self.id.kind.as_str()
    }
    #[getter]
    fn run_id(&self) -> String {
        self.found.index.run.to_string()
    }
    #[getter]
    fn epoch(&self) -> u32 {
        self.found.index.epoch
    }
    #[getter]
    fn sequence(&self) -> u32 {
        self.record().sequence
    }
    #[getter]
    fn start_us(&self) -> i64 {
        self.record().wall_start_us
    }
    #[getter]
    fn duration_us(&self) -> i64 {
        self.found.end_us - self.record().wall_start_us
    }
    #[getter]
    fn random_access(&self) -> bool {
        self.record().random_access
    }
    #[getter]
    fn random_access_distance(&self) -> u16 {
        self.record().random_access_distance
    }
    #[getter]
    fn size_bytes(&self) -> u32 {
        self.record().length
    }
    #[getter]
    fn pictures(&self) -> u16 {
        self.record().pictures
    }
    #[getter]
    fn activity_bytes(&self) -> u32 {
        self.record().activity_bytes
    }
    #[getter]
    fn camera_clock_offset_us(&self) -> Option<i64> {
        let offset_ms = self.record().camera_clock_offset_ms;
        (offset_ms != i32::MIN).then(|| i64::from(offset_ms) * 1000)
    }
    #[getter]
    fn segment(&self) -> String {
        self.segment_path().display().to_string()
    }
    #[getter]
    fn offset(&self) -> u32 {
        self.record().offset
    }
}

/// What is needed to decode.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct CodecConfig {
    video_codec: String,
    audio_codec: String,
    width: u16,
    height: u16,
    init_segment: Py<pyo3::types::PyBytes>,
    video_extra_data: Py<pyo3::types::PyBytes>,
    audio_extra_data: Py<pyo3::types::PyBytes>,
    audio_sample_rate_hz: u32,
}

impl CodecConfig {
    pub(crate) fn new(
        py: Python<'_>,
        video: &VideoParams,
        audio: Option<&AudioParams>,
        init_segment: &[u8],
    ) -> Self {
        use nvr_core::codec::{AudioInfo, VideoInfo};
        use pyo3::types::PyBytes;
        let bytes = |b: &[u8]| PyBytes::new(py, b).unbind();
        CodecConfig {
            // Names that cannot be told are left empty: the bytes are what counts.
            video_codec: VideoInfo::parse(video).map(|i| i.rfc6381).unwrap_or_default(),
            audio_codec: audio
                .and_then(|a| AudioInfo::parse(a).ok())
                .map(|i| i.rfc6381)
                .unwrap_or_default(),
            width: video.width,
            height: video.height,
            init_segment: bytes(init_segment),
            video_extra_data: bytes(&video.extra_data),
            audio_extra_data: bytes(audio.map_or(&[], |a| &a.extra_data)),
            audio_sample_rate_hz: audio.map_or(0, |a| a.sample_rate),
        }
    }
}
