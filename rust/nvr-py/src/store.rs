//! `Store`: the footage of a node.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nvr_core::clip::SegmentRef;
use nvr_core::fs::{FileSystem, RealFs};
use nvr_core::ids::{StreamId, SystemEntropy};
use nvr_core::index::Record;
use nvr_core::live::Hub;
use nvr_core::record::disk::RecordOptions;
use nvr_core::record::{Recorder, stats};
use nvr_core::segment::read::init_segment;
use nvr_core::store::check::{self, Depth};
use nvr_core::store::damage::Stretch;
use nvr_core::store::mounts;
use nvr_core::store::scrub;
use nvr_core::store::{self as core, GroupLimits, Limits, Mode, StreamStore};
use nvr_core::time::{Clock, SystemClock};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::clip::{ClipPlan, FrameSamples, GopSamples};
use crate::copy::CopyWriter;
use crate::errors::IntoPy;
use crate::values::{CodecConfig, Fragment, Gap, Span, stream_id};
use crate::writer::StreamWriter;

/// Limits of a group: its cameras, age and bytes.
type PyGroup = (Vec<String>, Option<i64>, Option<u64>);

/// The footage of a node, on one or more roots (one for each disk).
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct Store {
    pub(crate) store: Arc<core::Store>,
    pub(crate) hub: Arc<Hub>,
    /// None: the store was opened to be read only.
    recorder: Option<Arc<Mutex<Recorder>>>,
    write_times: Arc<stats::Histogram>,
    sync_times: Arc<stats::Histogram>,
}

impl Store {
    pub(crate) fn recorder(&self) -> PyResult<&Arc<Mutex<Recorder>>> {
        let missing =
            || nvr_core::Error::Invalid("the store was opened to be read only".to_owned());
        self.recorder.as_ref().ok_or_else(missing).py()
    }

    pub(crate) fn segments(
        &self,
        id: StreamId,
        start_us: i64,
        end_us: i64,
    ) -> nvr_core::Result<Vec<SegmentRef>> {
        self.store.segments_for(id, start_us, end_us)
    }
}

fn all_roots(roots: Vec<PathBuf>) -> nvr_core::Result<Vec<PathBuf>> {
    let absolute =
        |p: PathBuf| std::path::absolute(&p).map_err(|e| nvr_core::Error::io("find", &p, e));
    roots.into_iter().map(absolute).collect()
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (roots, *, beside=Vec::new(), read_only=false, sync_interval_ms=2000))]
    fn new(
        py: Python<'_>,
        roots: Vec<PathBuf>,
        beside: Vec<PathBuf>,
        read_only: bool,
        sync_interval_ms: u64,
    ) -> PyResult<Self> {
        py.detach(|| {
            let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
            let clock = Arc::new(SystemClock::default());
            let (roots, beside) = (all_roots(roots)?, all_roots(beside)?);
            let store = Arc::new(core::Store::open_beside(fs, clock, &roots, &beside, read_only)?);
            for repair in &store.repairs {
                log::warn!(target: "nvr.store", "repaired: {repair}");
            }
            let hub = Arc::new(
                Hub::new().map_err(|e| nvr_core::Error::io("open", Path::new("eventfd"), e))?,
            );
            let options = RecordOptions {
                sync_interval: Duration::from_millis(sync_interval_ms),
                ..Default::default()
            };
            let (mut recorder, mut times) = (None, (Arc::default(), Arc::default()));
            if !read_only {
                let r =
                    Recorder::new(store.clone(), hub.clone(), options, Arc::new(SystemEntropy))?;
                times = (r.write_times.clone(), r.sync_times.clone());
                recorder = Some(Arc::new(Mutex::new(r)));
            }
            Ok(Store { store, hub, recorder, write_times: times.0, sync_times: times.1 })
        })
        .py()
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let closed = self.recorder.as_ref().map_or(Ok(()), |r| r.lock().close());
            self.store.close();
            closed
        })
        .py()
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let recorder = self.recorder()?;
        py.detach(|| recorder.lock().sync()).py()
    }

    fn repairs(&self) -> Vec<String> {
        self.store.repairs.clone()
    }

    fn streams(&self) -> Vec<(String, String)> {
        let name = |id: StreamId| (id.camera.to_string(), id.kind.as_str().to_owned());
        self.store.streams().iter().map(|s| name(s.id)).collect()
    }

    fn range(&self, py: Python<'_>, camera_id: &str, stream: &str) -> PyResult<Option<(i64, i64)>> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| self.store.stream(id)?.map_or(Ok(None), |s| s.range())).py()
    }

    fn coverage(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
        end_us: i64,
    ) -> PyResult<(Vec<Span>, Vec<Gap>)> {
        let id = stream_id(camera_id, stream)?;
        let found = py.detach(|| self.store.coverage(id, start_us, end_us)).py()?;
        Ok((
            found.spans.into_iter().map(Span::from).collect(),
            found.gaps.into_iter().map(Gap::from).collect(),
        ))
    }

    fn unknown(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
        end_us: i64,
    ) -> PyResult<Vec<Gap>> {
        let id = stream_id(camera_id, stream)?;
        let found = py.detach(|| self.store.unknown(id, start_us, end_us)).py()?;
        Ok(found.into_iter().map(Gap::from).collect())
    }

    fn runs(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
        end_us: i64,
    ) -> PyResult<Vec<Span>> {
        let id = stream_id(camera_id, stream)?;
        let found = py.detach(|| self.store.runs(id, start_us, end_us)).py()?;
        Ok(found.into_iter().map(Span::from).collect())
    }

    #[pyo3(signature = (camera_id, stream, at_us, mode="at"))]
    fn locate(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        at_us: i64,
        mode: &str,
    ) -> PyResult<Option<Fragment>> {
        let id = stream_id(camera_id, stream)?;
        let mode = mode.parse().py()?;
        let found = py.detach(|| self.store.locate(id, at_us, mode)).py()?;
        Ok(found.map(|f| Fragment::new(id, f)))
    }

    fn stream(&self, camera_id: &str, stream: &str) -> PyResult<StoredStream> {
        let id = stream_id(camera_id, stream)?;
        Ok(StoredStream { id, store: self.store.clone(), stream: OnceLock::new() })
    }

    #[pyo3(signature = (camera_id, stream, start_us, end_us, *, backward=false, limit=0))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn fragments(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
        end_us: i64,
        backward: bool,
        limit: usize,
    ) -> PyResult<Vec<Fragment>> {
        let id = stream_id(camera_id, stream)?;
        let mut found = py.detach(|| self.store.fragments(id, start_us, end_us)).py()?;
        if backward {
            found.reverse();
        }
        if limit > 0 {
            found.truncate(limit);
        }
        Ok(found.into_iter().map(|f| Fragment::new(id, f)).collect())
    }

    fn config(&self, py: Python<'_>, fragment: &Fragment) -> PyResult<CodecConfig> {
        let id = fragment.stream_id();
        let read = py.detach(|| {
            let segment = self.store.segment_of(id, &fragment.segment_path())?;
            Ok((init_segment(&segment.file, segment.table.run)?, segment.table))
        });
        let (init, table) = read.py()?;
        Ok(CodecConfig::new(py, &table.video, table.audio.as_ref(), &init))
    }

    fn read_fragment<'py>(
        &self,
        py: Python<'py>,
        fragment: &Fragment,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (id, path) = (fragment.stream_id(), fragment.segment_path());
        let Record { offset, sequence, .. } = *fragment.record();
        let bytes = py.detach(|| self.store.read_fragment(id, &path, offset, sequence)).py()?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn read_keyframe<'py>(
        &self,
        py: Python<'py>,
        fragment: &Fragment,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (id, path) = (fragment.stream_id(), fragment.segment_path());
        let Record { offset, sequence, .. } = *fragment.record();
        let bytes = py.detach(|| self.store.read_keyframe(id, &path, offset, sequence)).py()?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[pyo3(signature = (camera_id, stream, start_us, end_us, *, audio=true))]
    fn clip(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
        end_us: i64,
        audio: bool,
    ) -> PyResult<ClipPlan> {
        let id = stream_id(camera_id, stream)?;
        let made = py.detach(|| self.store.clip(id, start_us, end_us, audio));
        let (plan, gaps) = made.py()?;
        ClipPlan::new(py, plan, gaps)
    }

    fn frame_samples(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        at_us: i64,
    ) -> PyResult<Option<FrameSamples>> {
        FrameSamples::read(self, py, stream_id(camera_id, stream)?, at_us)
    }

    fn gops(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
        end_us: i64,
    ) -> PyResult<Vec<i64>> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| {
            let segments = self.segments(id, start_us, end_us)?;
            nvr_core::clip::frames::gops(&segments, start_us, end_us)
        })
        .py()
    }

    fn gop_samples(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        start_us: i64,
    ) -> PyResult<GopSamples> {
        GopSamples::read(self, py, stream_id(camera_id, stream)?, start_us)
    }

    fn troubles(&self) -> Vec<(String, String, String)> {
        let of_root = |root: &Arc<core::Root>| {
            let trouble = root.trouble()?;
            Some((root.path.display().to_string(), trouble.reason.to_string(), trouble.detail))
        };
        self.store.roots().iter().filter_map(of_root).collect()
    }

    /// Looks at all disks; the roots of those that were not there, and are now.
    fn look_at_disks(&self, py: Python<'_>) -> Vec<PathBuf> {
        py.detach(|| {
            self.store.look_at_disks();
            self.store.returned()
        })
    }

    fn take_up(&self, py: Python<'_>, root: PathBuf) -> PyResult<Vec<String>> {
        let recorder = self.recorder()?;
        py.detach(|| {
            recorder.lock().let_go(&root);
            self.store.take_up(&root)
        })
        .py()
    }

    fn disk_usage(&self, py: Python<'_>) -> PyResult<Vec<DiskUsage>> {
        let usage = py.detach(|| self.store.disk_usage()).py()?;
        Ok(usage.into_iter().map(DiskUsage::from).collect())
    }

    #[pyo3(signature = (*, max_age_us=None, max_bytes=None, min_free_bytes=None, groups=None))]
    fn enforce_retention(
        &self,
        py: Python<'_>,
        max_age_us: Option<i64>,
        max_bytes: Option<u64>,
        min_free_bytes: Option<u64>,
        groups: Option<Vec<PyGroup>>,
    ) -> PyResult<(usize, u64)> {
        let limits = Limits { max_age_us, max_bytes, min_free_bytes };
        let group = |(cameras, max_age_us, max_bytes): PyGroup| {
            let cameras: nvr_core::Result<_> = cameras.iter().map(|id| id.parse()).collect();
            cameras.map(|cameras| GroupLimits { cameras, max_age_us, max_bytes })
        };
        let groups: nvr_core::Result<Vec<_>> = groups.into_iter().flatten().map(group).collect();
        let groups = groups.py()?;
        let retained = py.detach(|| self.store.retain(limits, &groups)).py()?;
        Ok((retained.segments, retained.bytes_over))
    }

    #[pyo3(signature = (camera_id, stream, hold, start_us, end_us, *, detail=""))]
    #[allow(clippy::too_many_arguments)]
    fn hold(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        hold: &str,
        start_us: i64,
        end_us: i64,
        detail: &str,
    ) -> PyResult<(i64, i64)> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| self.store.hold(id, hold, (start_us, end_us), detail)).py()
    }

    fn release(&self, py: Python<'_>, camera_id: &str, stream: &str, hold: &str) -> PyResult<bool> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| self.store.release(id, hold)).py()
    }

    fn holds(
        &self,
        camera_id: &str,
        stream: &str,
    ) -> PyResult<std::collections::BTreeMap<String, (i64, i64)>> {
        let found = self.store.stream(stream_id(camera_id, stream)?).py()?;
        Ok(found.map_or_else(Default::default, |stream| stream.holds()))
    }

    /// Durations of writes and syncs: upper bounds, counts (one more than bounds), and sum.
    fn io_histograms(&self) -> std::collections::BTreeMap<&'static str, (Vec<f64>, Vec<u64>, f64)> {
        let read = |histogram: &stats::Histogram| {
            let (counts, sum) = histogram.read();
            (stats::IO_BOUNDS_S.to_vec(), counts, sum)
        };
        [("write", read(&self.write_times)), ("sync", read(&self.sync_times))].into()
    }

    #[pyo3(signature = (camera_id, stream, *, epoch=0))]
    fn writer(
        &self,
        py: Python<'_>,
        camera_id: &str,
        stream: &str,
        epoch: u32,
    ) -> PyResult<StreamWriter> {
        let id = stream_id(camera_id, stream)?;
        let recorder = self.recorder()?;
        let stream = py.detach(|| recorder.lock().stream(id, epoch)).py()?;
        Ok(StreamWriter::new(recorder.clone(), stream))
    }

    fn copy_writer(&self, py: Python<'_>, camera_id: &str, stream: &str) -> PyResult<CopyWriter> {
        let id = stream_id(camera_id, stream)?;
        py.detach(|| CopyWriter::new(self.store.clone(), id)).py()
    }

    #[pyo3(signature = (*, bytes_per_s=0))]
    fn scrub_next(&self, py: Python<'_>, bytes_per_s: u64) -> PyResult<Option<Scrubbed>> {
        let rate = (bytes_per_s > 0).then_some(bytes_per_s);
        let found = py.detach(|| self.store.scrub_next(rate)).py()?;
        Ok(found.map(Scrubbed::from))
    }

    fn scrub_again(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.store.scrub_again()).py()
    }

    #[staticmethod]
    #[pyo3(signature = (roots, *, digests=false))]
    fn check(py: Python<'_>, roots: Vec<PathBuf>, digests: bool) -> PyResult<StoreReport> {
        let depth = if digests { Depth::Digests } else { Depth::Tables };
        py.detach(|| check::check(&RealFs, &all_roots(roots)?, depth)).py().map(StoreReport::from)
    }

    #[staticmethod]
    #[pyo3(signature = (roots, *, beside=Vec::new()))]
    fn missing(
        py: Python<'_>,
        roots: Vec<PathBuf>,
        beside: Vec<PathBuf>,
    ) -> PyResult<Vec<PathBuf>> {
        let find = || {
            let (roots, beside) = (all_roots(roots)?, all_roots(beside)?);
            Ok(mounts::missing(&RealFs, &roots, &beside).into_keys().collect())
        };
        py.detach(find).py()
    }

    #[staticmethod]
    fn init(py: Python<'_>, root: PathBuf) -> PyResult<()> {
        let init = || {
            let root =
                std::path::absolute(&root).map_err(|e| nvr_core::Error::io("find", &root, e))?;
            mounts::init(&RealFs, &root, SystemClock::default().now())
        };
        py.detach(init).py()
    }

    #[staticmethod]
    fn rebuild(py: Python<'_>, roots: Vec<PathBuf>) -> PyResult<StoreReport> {
        py.detach(|| check::rebuild(&RealFs, &all_roots(roots)?)).py().map(StoreReport::from)
    }
}

/// One stream of a store, found once: for many questions about it.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct StoredStream {
    id: StreamId,
    store: Arc<core::Store>,
    /// Known from the first question on that finds footage.
    stream: OnceLock<Arc<StreamStore>>,
}

impl StoredStream {
    fn resolved(&self) -> nvr_core::Result<Option<&Arc<StreamStore>>> {
        if self.stream.get().is_none()
            && let Some(stream) = self.store.stream(self.id)?
        {
            // Whoever was faster found the same: a store never forgets a stream.
            let _ = self.stream.set(stream);
        }
        self.store.usable()?;
        Ok(self.stream.get())
    }
}

#[pymethods]
impl StoredStream {
    #[pyo3(signature = (at_us, mode=None))]
    fn locate_us(
        &self,
        py: Python<'_>,
        at_us: i64,
        mode: Option<&str>,
    ) -> PyResult<Option<Fragment>> {
        let mode = mode.map_or(Ok(Mode::At), str::parse).py()?;
        // Mostly there is nothing to wait for, and no reason to let others run.
        if self.store.usable().is_ok()
            && let Some(stream) = self.stream.get()
            && let Some(found) = stream.locate_now(at_us)
        {
            return Ok(Some(Fragment::new(self.id, found)));
        }
        let locate = || self.resolved()?.map_or(Ok(None), |stream| stream.locate(at_us, mode));
        let found = py.detach(locate).py()?;
        Ok(found.map(|f| Fragment::new(self.id, f)))
    }
}

/// One store root.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct DiskUsage {
    root: String,
    total_bytes: u64,
    free_bytes: u64,
    footage_bytes: u64,
    held_bytes: u64,
    trouble: Option<(String, String)>,
    oldest_us: Option<i64>,
}

impl From<core::DiskUsage> for DiskUsage {
    fn from(u: core::DiskUsage) -> Self {
        DiskUsage {
            root: u.root.display().to_string(),
            total_bytes: u.total_bytes,
            free_bytes: u.free_bytes,
            footage_bytes: u.footage_bytes,
            held_bytes: u.held_bytes,
            trouble: u.trouble.map(|t| (t.reason.to_string(), t.detail)),
            oldest_us: u.oldest_us,
        }
    }
}

/// Stored fragments that are damaged.
#[pyclass(frozen, get_all, module = "nvr._core")]
#[derive(Clone)]
pub(crate) struct DamagedStretch {
    camera_id: String,
    stream: String,
    run_id: String,
    sequence: u32,
    fragments: u32,
    start_us: i64,
    end_us: i64,
    detail: String,
}

impl From<(StreamId, Stretch)> for DamagedStretch {
    fn from((id, stretch): (StreamId, Stretch)) -> Self {
        DamagedStretch {
            camera_id: id.camera.to_string(),
            stream: id.kind.as_str().to_owned(),
            run_id: stretch.run.to_string(),
            sequence: stretch.sequence,
            fragments: stretch.fragments,
            start_us: stretch.start_us,
            end_us: stretch.end_us,
            detail: stretch.detail.to_string(),
        }
    }
}

/// A segment that was scrubbed.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct Scrubbed {
    segment: String,
    fragments: u64,
    bytes: u64,
    damaged: Vec<DamagedStretch>,
    intact: Vec<DamagedStretch>,
    problems: Vec<String>,
    repaired: Vec<String>,
}

impl From<scrub::Scrubbed> for Scrubbed {
    fn from(s: scrub::Scrubbed) -> Self {
        Scrubbed {
            segment: s.segment.display().to_string(),
            fragments: s.fragments,
            bytes: s.bytes,
            damaged: s.damaged.into_iter().map(DamagedStretch::from).collect(),
            intact: s.intact.into_iter().map(DamagedStretch::from).collect(),
            problems: s.problems,
            repaired: s.repaired,
        }
    }
}

/// What a check or a rebuild found.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct StoreReport {
    segments: u64,
    fragments: u64,
    bytes: u64,
    repaired: Vec<String>,
    problems: Vec<String>,
}

impl From<check::Report> for StoreReport {
    fn from(r: check::Report) -> Self {
        StoreReport {
            segments: r.segments,
            fragments: r.fragments,
            bytes: r.bytes,
            repaired: r.repaired,
            problems: r.problems,
        }
    }
}
