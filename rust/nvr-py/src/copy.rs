//! `CopyWriter`: fragments that other nodes recorded.

use std::sync::Arc;

use nvr_core::copy as core;
use nvr_core::ids::StreamId;
use nvr_core::reason::Reason;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::errors::IntoPy;

/// Writes copies of one stream's footage.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct CopyWriter(Mutex<core::CopyWriter>);

impl CopyWriter {
    pub(crate) fn new(
        store: Arc<nvr_core::store::Store>,
        id: StreamId,
    ) -> nvr_core::Result<CopyWriter> {
        core::CopyWriter::new(store, id).map(|writer| CopyWriter(Mutex::new(writer)))
    }
}

#[pymethods]
impl CopyWriter {
    fn add(&self, py: Python<'_>, init_segment: &[u8], fragment: &[u8]) -> PyResult<()> {
        py.detach(|| self.0.lock().add(init_segment, fragment)).py()
    }

    fn flush(&self, py: Python<'_>) -> PyResult<Copied> {
        py.detach(|| self.0.lock().flush()).py().map(Copied::from)
    }

    #[pyo3(signature = (start_us, end_us, reason, detail=""))]
    fn absent(
        &self,
        py: Python<'_>,
        start_us: i64,
        end_us: i64,
        reason: &str,
        detail: &str,
    ) -> PyResult<()> {
        let reason = Reason(reason.to_owned().into());
        py.detach(|| self.0.lock().absent(start_us, end_us, reason, detail)).py()
    }
}

/// What a flush made durable.
#[pyclass(frozen, get_all, module = "nvr._core")]
pub(crate) struct Copied {
    fragments: u64,
    bytes: u64,
    expired: u64,
}

impl From<core::Copied> for Copied {
    fn from(c: core::Copied) -> Self {
        Copied { fragments: c.fragments, bytes: c.bytes, expired: c.expired }
    }
}
