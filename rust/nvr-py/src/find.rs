//! Answers of `Find`, as values of `nvr.footage.types`: a question to many nodes brings thousands of
//! spans, and protobuf for Python reads each field of each by a call.

use prost::Message;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

// The part of `nvr/v1/footage.proto` that is read here. Fields that are not named are skipped.

#[derive(Message)]
struct FindResponse {
    #[prost(message, optional, tag = "1")]
    item: Option<Found>,
    /// An `nvr.v1.Warning`.
    #[prost(bytes = "bytes", optional, tag = "2")]
    warning: Option<bytes::Bytes>,
    /// An `nvr.v1.End`.
    #[prost(bytes = "bytes", optional, tag = "3")]
    end: Option<bytes::Bytes>,
    #[prost(message, repeated, tag = "4")]
    items: Vec<Found>,
}

#[derive(Message)]
struct Found {
    #[prost(message, optional, tag = "1")]
    camera: Option<Camera>,
    #[prost(message, repeated, tag = "3")]
    coverage: Vec<CoverageItem>,
    #[prost(string, tag = "4")]
    source: String,
}

#[derive(Message)]
struct Camera {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Message)]
struct CoverageItem {
    #[prost(oneof = "Kind", tags = "1, 2")]
    kind: Option<Kind>,
}

#[derive(prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Span(Span),
    #[prost(message, tag = "2")]
    Gap(Gap),
}

#[derive(Message)]
struct Span {
    #[prost(message, optional, tag = "1")]
    range: Option<TimeRange>,
    #[prost(string, tag = "2")]
    run_id: String,
    #[prost(uint32, tag = "3")]
    epoch: u32,
    #[prost(string, tag = "4")]
    node: String,
    #[prost(int64, optional, tag = "5")]
    clock_offset_us: Option<i64>,
}

#[derive(Message)]
struct Gap {
    #[prost(message, optional, tag = "1")]
    range: Option<TimeRange>,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(string, tag = "3")]
    detail: String,
}

#[derive(Clone, Copy, Message)]
struct TimeRange {
    #[prost(int64, tag = "1")]
    start_us: i64,
    #[prost(int64, tag = "2")]
    end_us: i64,
}

/// A camera, the source, and spans and gaps.
type PyFound = (String, String, Py<PyList>);

/// Reads messages of `Find`'s answers.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct FindReader {
    span: Py<PyAny>,
    gap: Py<PyAny>,
    range: Py<PyAny>,
}

#[pymethods]
impl FindReader {
    #[new]
    #[pyo3(signature = (*, span, gap, time_range))]
    fn new(span: Py<PyAny>, gap: Py<PyAny>, time_range: Py<PyAny>) -> Self {
        FindReader { span, gap, range: time_range }
    }

    #[allow(clippy::type_complexity)] // What it is, the stub names.
    fn read<'py>(
        &self,
        py: Python<'py>,
        message: &[u8],
    ) -> PyResult<(Vec<PyFound>, Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>)> {
        let response = FindResponse::decode(message)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut found = Vec::with_capacity(response.items.len() + 1);
        for each in response.items.into_iter().chain(response.item) {
            found.push(self.found(py, each)?);
        }
        let bytes = |data: Option<bytes::Bytes>| data.map(|data| PyBytes::new(py, &data));
        Ok((found, bytes(response.warning), bytes(response.end)))
    }
}

impl FindReader {
    fn found(&self, py: Python<'_>, found: Found) -> PyResult<PyFound> {
        let items = PyList::empty(py);
        // Spans that follow each other are mostly of one run.
        let mut last: Option<(Span, Bound<'_, PyString>, Bound<'_, PyString>)> = None;
        for item in found.coverage {
            match item.kind {
                Some(Kind::Span(span)) => {
                    let range = self.range(py, span.range)?;
                    let (run_id, node) = match &last {
                        Some((before, run_id, node))
                            if before.run_id == span.run_id && before.node == span.node =>
                        {
                            (run_id.clone(), node.clone())
                        }
                        _ => (PyString::new(py, &span.run_id), PyString::new(py, &span.node)),
                    };
                    let values = (range, &run_id, span.epoch, &node, span.clock_offset_us);
                    items.append(self.span.bind(py).call1(values)?)?;
                    last = Some((span, run_id, node));
                }
                Some(Kind::Gap(gap)) => {
                    let values = (self.range(py, gap.range)?, gap.reason, gap.detail);
                    items.append(self.gap.bind(py).call1(values)?)?;
                }
                // Of a kind that this version does not know.
                None => {}
            }
        }
        Ok((found.camera.unwrap_or_default().id, found.source, items.unbind()))
    }

    fn range<'py>(&self, py: Python<'py>, range: Option<TimeRange>) -> PyResult<Bound<'py, PyAny>> {
        let TimeRange { start_us, end_us } = range.unwrap_or_default();
        self.range.bind(py).call1((start_us, end_us))
    }
}
