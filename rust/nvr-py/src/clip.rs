//! Clips, and the samples of pictures that are to be decoded.

use std::path::PathBuf;

use nvr_core::clip::frames::{Picture, frame_at, gop_at};
use nvr_core::clip::{self, SegmentRef};
use nvr_core::ids::StreamId;
use nvr_core::segment::read::init_segment;
use nvr_core::time::SECOND_US;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::IntoPy;
use crate::store::Store;
use crate::values::{CodecConfig, Gap};

/// Longer than any group of pictures: where the next one begins is within this.
const GOP_LIMIT_US: i64 = 30 * SECOND_US;

/// One playable file of a clip; nothing is copied until it is read.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct ClipPart(clip::ClipPart);

#[pymethods]
impl ClipPart {
    #[getter]
    fn start_us(&self) -> i64 {
        self.0.range_us.0
    }
    #[getter]
    fn end_us(&self) -> i64 {
        self.0.range_us.1
    }
    #[getter]
    fn disclosed_start_us(&self) -> i64 {
        self.0.disclosed_us.0
    }
    #[getter]
    fn disclosed_end_us(&self) -> i64 {
        self.0.disclosed_us.1
    }
    #[getter]
    fn size_bytes(&self) -> u64 {
        self.0.size
    }
    #[getter]
    fn etag(&self) -> &str {
        &self.0.etag
    }
    #[getter]
    fn video_codec(&self) -> &str {
        &self.0.video_codec
    }
    #[getter]
    fn audio_codec(&self) -> &str {
        &self.0.audio_codec
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.read_after(py, &[], offset, length)
    }

    fn read_after<'py>(
        &self,
        py: Python<'py>,
        head: &[u8],
        offset: u64,
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.bytes_after(py, head, offset, length, |buf| {
            py.detach(|| {
                let n = self.0.read_at(offset, buf)?;
                if n < buf.len() {
                    return Err(nvr_core::Error::NoFootage(
                        "the clip's footage is gone".to_owned(),
                    ));
                }
                Ok(())
            })
            .py()
        })
    }

    fn read_now_after<'py>(
        &self,
        py: Python<'py>,
        head: &[u8],
        offset: u64,
        length: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut whole = false;
        let bytes = self.bytes_after(py, head, offset, length, |buf| {
            let n = py.detach(|| self.0.read_now(offset, buf));
            whole = n == Some(buf.len());
            Ok(())
        })?;
        Ok(whole.then_some(bytes))
    }

    #[pyo3(signature = (path, *, durable=true))]
    fn save(&self, py: Python<'_>, path: PathBuf, durable: bool) -> PyResult<()> {
        py.detach(|| self.0.save(&path, durable)).py()
    }
}

impl ClipPart {
    /// `head`, and behind it what `read` puts there, straight into the bytes object: nobody else can see
    /// it before it is returned.
    fn bytes_after<'py>(
        &self,
        py: Python<'py>,
        head: &[u8],
        offset: u64,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> PyResult<()>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let left = self.0.size.saturating_sub(offset);
        let length = usize::try_from(left).map_or(length, |left| left.min(length));
        PyBytes::new_with(py, head.len() + length, |buf| {
            let (before, behind) = buf.split_at_mut(head.len());
            before.copy_from_slice(head);
            read(behind)
        })
    }
}

/// What a clip consists of.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct ClipPlan {
    parts: Py<PyList>,
    gaps: Py<PyList>,
}

impl ClipPlan {
    pub(crate) fn new(
        py: Python<'_>,
        plan: clip::ClipPlan,
        gaps: Vec<nvr_core::store::Gap>,
    ) -> PyResult<Self> {
        let parts = plan
            .parts
            .into_iter()
            .map(|p| Py::new(py, ClipPart(p)))
            .collect::<PyResult<Vec<_>>>()?;
        let gaps =
            gaps.into_iter().map(|g| Py::new(py, Gap::from(g))).collect::<PyResult<Vec<_>>>()?;
        Ok(ClipPlan {
            parts: PyList::new(py, parts)?.unbind(),
            gaps: PyList::new(py, gaps)?.unbind(),
        })
    }
}

fn read_picture(picture: &Picture) -> nvr_core::Result<Vec<u8>> {
    let mut bytes = vec![0; picture.size as usize];
    picture.file.read_exact_at(&mut bytes, picture.offset)?;
    Ok(bytes)
}

fn read_pictures(pictures: &[Picture]) -> nvr_core::Result<Vec<Vec<u8>>> {
    pictures.iter().map(read_picture).collect()
}

fn config(py: Python<'_>, segment: &SegmentRef) -> PyResult<Py<CodecConfig>> {
    let init = py.detach(|| init_segment(&segment.file, segment.table.run)).py()?;
    Py::new(py, CodecConfig::new(py, &segment.table.video, segment.table.audio.as_ref(), &init))
}

/// The samples to decode for the picture shown at an instant.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct FrameSamples {
    config: Py<CodecConfig>,
    samples: Py<PyList>,
    target_pts_90k: i64,
    frame_us: i64,
}

impl FrameSamples {
    pub(crate) fn read(
        store: &Store,
        py: Python<'_>,
        id: StreamId,
        at_us: i64,
    ) -> PyResult<Option<Self>> {
        let found = py.detach(|| {
            let segments = store.segments(id, at_us, at_us + 1)?;
            let Some(frame) = frame_at(&segments, at_us)? else { return Ok(None) };
            let data = read_pictures(&frame.pictures)?;
            Ok(Some((frame, data)))
        });
        let Some((frame, data)) = found.py()? else { return Ok(None) };
        let Some(target) = frame.pictures.last() else { return Ok(None) };
        let samples =
            frame.pictures.iter().zip(&data).map(|(p, d)| (PyBytes::new(py, d), p.pts_90k));
        Ok(Some(FrameSamples {
            config: config(py, &frame.segment)?,
            samples: PyList::new(py, samples.collect::<Vec<_>>())?.unbind(),
            target_pts_90k: target.pts_90k,
            frame_us: target.wall_us,
        }))
    }
}

/// One group of pictures, decodable from its first sample.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct GopSamples {
    config: Py<CodecConfig>,
    samples: Py<PyList>,
    start_us: i64,
    end_us: i64,
}

impl GopSamples {
    pub(crate) fn read(
        store: &Store,
        py: Python<'_>,
        id: StreamId,
        start_us: i64,
    ) -> PyResult<Self> {
        let found = py.detach(|| {
            let segments = store.segments(id, start_us, start_us + GOP_LIMIT_US)?;
            let Some(gop) = gop_at(&segments, start_us)? else {
                return Err(nvr_core::Error::NoFootage(format!(
                    "{id} shows nothing at {start_us} µs"
                )));
            };
            let data = read_pictures(&gop.pictures)?;
            Ok((gop, data))
        });
        let (gop, data) = found.py()?;
        let samples = gop
            .pictures
            .iter()
            .zip(&data)
            .map(|(p, d)| (PyBytes::new(py, d), p.pts_90k, p.wall_us));
        Ok(GopSamples {
            config: config(py, &gop.segment)?,
            samples: PyList::new(py, samples.collect::<Vec<_>>())?.unbind(),
            start_us: gop.start_us,
            end_us: gop.end_us,
        })
    }
}
