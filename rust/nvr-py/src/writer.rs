//! `StreamWriter`: packets from something other than RTSP.

use std::sync::Arc;

use crate::errors::IntoPy as _;
use nvr_core::media::{
    AccessUnit, AudioCodec, AudioFrame, AudioParams, MediaSink, MetadataCoding, MetadataDocument,
};
use nvr_core::reason::Reason;
use nvr_core::record::{Recorder, StreamRecorder};
use nvr_core::time::Moment;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::values::video_params;

/// Writes packets that something other than RTSP brought.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct StreamWriter {
    recorder: Arc<Mutex<Recorder>>,
    stream: Mutex<StreamRecorder>,
}

impl StreamWriter {
    pub(crate) fn new(recorder: Arc<Mutex<Recorder>>, stream: StreamRecorder) -> Self {
        StreamWriter { recorder, stream: Mutex::new(stream) }
    }
}

/// The default of optional bytes.
const NO_BYTES: &[u8] = &[];

/// Packets from elsewhere come with one time only.
fn moment(at_us: i64) -> Moment {
    Moment { wall_us: at_us, mono_us: at_us }
}

fn audio_codec_of(name: &str) -> PyResult<AudioCodec> {
    match name {
        "aac" => Ok(AudioCodec::Aac),
        "ulaw" => Ok(AudioCodec::G711Ulaw),
        "alaw" => Ok(AudioCodec::G711Alaw),
        "opus" => Ok(AudioCodec::Opus),
        other => {
            let message =
                format!("'{other}' is no sound that is recorded: 'aac', 'ulaw', 'alaw' or 'opus'");
            Err(nvr_core::Error::Invalid(message)).py()
        }
    }
}

fn reason(reason: &str) -> Reason {
    Reason(reason.to_owned().into())
}

#[pymethods]
impl StreamWriter {
    #[pyo3(signature = (*, codec, extra_data, width, height, audio_codec="aac", audio_extra_data=NO_BYTES, audio_sample_rate_hz=0, audio_channels=0, metadata=false))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn begin(
        &self,
        py: Python<'_>,
        codec: &str,
        extra_data: &[u8],
        width: u16,
        height: u16,
        audio_codec: &str,
        audio_extra_data: &[u8],
        audio_sample_rate_hz: u32,
        audio_channels: u16,
        metadata: bool,
    ) -> PyResult<()> {
        let video = video_params(codec, extra_data, width, height)?;
        let codec = audio_codec_of(audio_codec)?;
        let audio = (audio_sample_rate_hz > 0).then(|| AudioParams {
            codec,
            extra_data: bytes::Bytes::copy_from_slice(audio_extra_data),
            sample_rate: audio_sample_rate_hz,
            channels: audio_channels,
        });
        py.detach(|| {
            let mut stream = self.stream.lock();
            stream.begin(moment(0), video, audio);
            if metadata {
                stream.begin_metadata(MetadataCoding::Xml);
            }
        });
        Ok(())
    }

    fn video(&self, py: Python<'_>, data: &[u8], pts_90k: i64, arrival_us: i64) {
        let data = bytes::Bytes::copy_from_slice(data);
        py.detach(|| {
            self.stream.lock().video(AccessUnit { pts_90k, arrival: moment(arrival_us), data })
        });
    }

    fn audio(&self, py: Python<'_>, data: &[u8], pts: i64, duration: u32, arrival_us: i64) {
        let data = bytes::Bytes::copy_from_slice(data);
        let frame = AudioFrame { pts, duration, arrival: moment(arrival_us), data };
        py.detach(|| self.stream.lock().audio(frame));
    }

    fn metadata(&self, py: Python<'_>, data: &[u8], arrival_us: i64) {
        let data = bytes::Bytes::copy_from_slice(data);
        let document = MetadataDocument { arrival: moment(arrival_us), data };
        py.detach(|| self.stream.lock().metadata(document));
    }

    #[pyo3(signature = (at_us, reason="disconnected", detail=""))]
    fn end(&self, py: Python<'_>, at_us: i64, reason: &str, detail: &str) {
        py.detach(|| self.stream.lock().end(moment(at_us), self::reason(reason), detail));
    }

    #[pyo3(signature = (at_us, reason, detail=""))]
    fn down(&self, py: Python<'_>, at_us: i64, reason: &str, detail: &str) {
        py.detach(|| self.stream.lock().down(moment(at_us), self::reason(reason), detail));
    }

    fn flush(&self, py: Python<'_>) {
        py.detach(|| self.recorder.lock().flush());
    }
}
