//! Errors of the core as exceptions of `nvr.errors`.

use nvr_core::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

/// The core's error as the exception that Python code expects.
pub(crate) fn to_py(error: Error) -> PyErr {
    Python::attach(|py| exception(py, &error).unwrap_or_else(|e| e))
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let message = error.to_string();
    let name = match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy => {
            let facts = PyDict::new(py);
            facts.set_item("facts", [("limit", "disk_bandwidth")].into_py_dict(py)?)?;
            let class = py.import("nvr.errors")?.getattr("LimitExceeded")?;
            return Ok(PyErr::from_value(class.call((message,), Some(&facts))?));
        }
        Error::Io { .. } => return store_error(py, error, &message),
        Error::Damaged { .. } | Error::Refused(_) => "DamagedError",
        Error::Invalid(_) | Error::Media(_) => "InvalidArgument",
        Error::NoFootage(_) => "NoFootage",
        Error::Closed(_) => "Closed",
        _ => return Ok(PyRuntimeError::new_err(message)),
    };
    let class = py.import("nvr.errors")?.getattr(name)?;
    Ok(PyErr::from_value(class.call1((message,))?))
}

/// With errno and file name: `OSError` handling in Python goes by them.
fn store_error(py: Python<'_>, error: &Error, message: &str) -> PyResult<PyErr> {
    let Error::Io { path, source, .. } = error else {
        return Ok(PyRuntimeError::new_err(message.to_owned()));
    };
    let class = py.import("nvr.errors")?.getattr("StoreError")?;
    let facts = PyDict::new(py);
    facts.set_item("errno", source.raw_os_error())?;
    facts.set_item("filename", path.display().to_string())?;
    Ok(PyErr::from_value(class.call((message,), Some(&facts))?))
}

/// The error of an RTSP server as the exception that Python code expects.
pub(crate) fn rtsp_to_py(py: Python<'_>, error: &nvr_rtsp_out::Error) -> PyErr {
    let message = error.to_string();
    let made = py.import("nvr.errors").and_then(|errors| match error {
        nvr_rtsp_out::Error::Invalid(_) => errors.getattr("InvalidArgument")?.call1((message,)),
        nvr_rtsp_out::Error::Io { source, .. } => {
            errors.getattr("StoreError")?.call1((message, source.raw_os_error()))
        }
        nvr_rtsp_out::Error::Closed => errors.getattr("Closed")?.call1((message,)),
    });
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// The error of a client of many nodes as the exception that Python code expects.
pub(crate) fn fanout_to_py(py: Python<'_>, error: &nvr_fanout::Error) -> PyErr {
    let message = error.to_string();
    let made = py.import("nvr.errors").and_then(|errors| match error {
        nvr_fanout::Error::Invalid(_) => errors.getattr("InvalidArgument")?.call1((message,)),
        nvr_fanout::Error::Io { .. } => errors.getattr("StoreError")?.call1((message,)),
        nvr_fanout::Error::Closed => errors.getattr("Closed")?.call1((message,)),
    });
    made.map_or_else(|failure| failure, PyErr::from_value)
}

/// Results of the core for Python.
pub(crate) trait IntoPy<T> {
    /// The value, or the exception.
    fn py(self) -> PyResult<T>;
}

impl<T> IntoPy<T> for nvr_core::Result<T> {
    fn py(self) -> PyResult<T> {
        self.map_err(to_py)
    }
}
