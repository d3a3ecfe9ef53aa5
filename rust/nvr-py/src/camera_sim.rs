//! Simulated cameras for Python.

use std::sync::Arc;

use nvr_camera_sim::{
    AudioCodec, AudioFormat, Config, Error, Media, MediaBuilder, Server, VideoCodec, VideoFormat,
};
use parking_lot::Mutex;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::rtsp_to_py;

enum MediaState {
    Building(Box<MediaBuilder>),
    Finished(Arc<Media>),
    /// `finish` failed.
    Failed,
}

/// Packets of one file, ready to be played; kept in an unlinked temporary file.
#[pyclass(module = "nvr._core", frozen)]
pub(crate) struct SimMedia {
    state: Mutex<MediaState>,
}

impl SimMedia {
    fn build(
        &self,
        py: Python<'_>,
        action: impl FnOnce(&mut MediaBuilder) -> Result<(), Error> + Send,
    ) -> PyResult<()> {
        py.detach(|| match &mut *self.state.lock() {
            MediaState::Building(builder) => action(builder),
            MediaState::Finished(_) | MediaState::Failed => {
                Err(Error::Invalid("the media is finished: nothing can be added".into()))
            }
        })
        .map_err(|e| rtsp_to_py(py, &e))
    }
}

#[pymethods]
impl SimMedia {
    #[new]
    #[pyo3(signature = (*, codec, extra_data, width, height, timescale,
        audio_codec = "aac", audio_extra_data = Vec::new(), audio_sample_rate_hz = 0,
        audio_channels = 0))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn new(
        py: Python<'_>,
        codec: &str,
        extra_data: Vec<u8>,
        width: u16,
        height: u16,
        timescale: u32,
        audio_codec: &str,
        audio_extra_data: Vec<u8>,
        audio_sample_rate_hz: u32,
        audio_channels: u16,
    ) -> PyResult<Self> {
        let codec = match codec {
            "h264" => VideoCodec::H264,
            "h265" => VideoCodec::H265,
            other => {
                let message = format!("codec: '{other}' is not 'h264' or 'h265'");
                return Err(rtsp_to_py(py, &Error::Invalid(message)));
            }
        };
        let video = VideoFormat { codec, extra_data, width, height, timescale };
        let audio_codec = AudioCodec::from_name(audio_codec).map_err(|e| rtsp_to_py(py, &e))?;
        let audio = (audio_sample_rate_hz != 0).then_some(AudioFormat {
            codec: audio_codec,
            extra_data: audio_extra_data,
            sample_rate_hz: audio_sample_rate_hz,
            channels: audio_channels,
        });
        let builder =
            py.detach(|| MediaBuilder::new(video, audio)).map_err(|e| rtsp_to_py(py, &e))?;
        Ok(SimMedia { state: Mutex::new(MediaState::Building(Box::new(builder))) })
    }

    /// The next access unit in decoding order: length-prefixed NAL units, pts in 1/timescale s from 0.
    fn add_video(
        &self,
        py: Python<'_>,
        data: PyBuffer<u8>,
        pts: i64,
        keyframe: bool,
    ) -> PyResult<()> {
        let data = data.to_vec(py)?;
        self.build(py, |builder| builder.add_video(&data, pts, keyframe))
    }

    /// The next frame of sound; pts in 1/audio_sample_rate_hz s from 0.
    fn add_audio(&self, py: Python<'_>, data: PyBuffer<u8>, pts: i64) -> PyResult<()> {
        let data = data.to_vec(py)?;
        self.build(py, |builder| builder.add_audio(&data, pts))
    }

    /// The media starts anew after `duration`, in 1/timescale s.
    fn finish(&self, py: Python<'_>, duration: i64) -> PyResult<()> {
        py.detach(|| {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, MediaState::Failed) {
                MediaState::Building(builder) => {
                    *state = MediaState::Finished(Arc::new(builder.finish(duration)?));
                    Ok(())
                }
                other => {
                    *state = other;
                    Err(Error::Invalid("the media is finished already".into()))
                }
            }
        })
        .map_err(|e| rtsp_to_py(py, &e))
    }
}

/// An RTSP server that plays media as cameras.
#[pyclass(module = "nvr._core", frozen)]
pub(crate) struct CameraSim {
    server: Server,
}

#[pymethods]
impl CameraSim {
    #[new]
    #[pyo3(signature = (listen = "127.0.0.1:0", *, user = "", password = "", digest = true,
        threads = 1, max_payload = 1400))]
    fn new(
        py: Python<'_>,
        listen: &str,
        user: &str,
        password: &str,
        digest: bool,
        threads: usize,
        max_payload: usize,
    ) -> PyResult<Self> {
        let config = Config {
            listen: listen.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            digest,
            threads,
            max_payload,
            ..Config::default()
        };
        let server = py.detach(|| Server::start(config)).map_err(|e| rtsp_to_py(py, &e))?;
        Ok(CameraSim { server })
    }

    /// The port that it listens on.
    #[getter]
    fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Serves media at `/path`; returns the wall time at which its media time is zero.
    #[pyo3(signature = (path, media, *, zero_us = None))]
    fn add(
        &self,
        py: Python<'_>,
        path: &str,
        media: &SimMedia,
        zero_us: Option<i64>,
    ) -> PyResult<i64> {
        py.detach(|| {
            let media = match &*media.state.lock() {
                MediaState::Finished(media) => Arc::clone(media),
                MediaState::Building(_) | MediaState::Failed => {
                    let message = "media: call finish() before it can be played";
                    return Err(Error::Invalid(message.into()));
                }
            };
            self.server.add(path, media, zero_us)
        })
        .map_err(|e| rtsp_to_py(py, &e))
    }

    /// Takes a camera away; who looks at it is disconnected.
    fn remove(&self, py: Python<'_>, path: &str) -> PyResult<()> {
        py.detach(|| self.server.remove(path)).map_err(|e| rtsp_to_py(py, &e))
    }

    /// `sessions`, `packets`, `bytes`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.server.stats();
        let dict = PyDict::new(py);
        dict.set_item("sessions", stats.sessions)?;
        dict.set_item("packets", stats.packets)?;
        dict.set_item("bytes", stats.bytes)?;
        Ok(dict)
    }

    /// Disconnects everybody and frees the port. Closing twice does no harm.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.server.close());
    }
}
