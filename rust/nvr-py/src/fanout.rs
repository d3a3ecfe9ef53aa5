//! One question to many nodes, for Python: handed over at once, answered in batches.

use std::os::fd::AsRawFd;
use std::time::Duration;

use nvr_fanout::{Ask, Client, Config, Identity, Tls};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::fanout_to_py;

/// Whom a connection trusts, and who we are on it.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct FanoutTls(Tls);

#[pymethods]
impl FanoutTls {
    #[new]
    #[pyo3(signature = (*, authorities, certificate = None, key = None))]
    fn new(
        py: Python<'_>,
        authorities: &[u8],
        certificate: Option<&[u8]>,
        key: Option<&[u8]>,
    ) -> PyResult<Self> {
        let identity =
            certificate.zip(key).map(|(certificates, key)| Identity { certificates, key });
        Tls::new(authorities, identity).map(FanoutTls).map_err(|e| fanout_to_py(py, &e))
    }
}

/// Messages of a call, and how it ended: `(status, detail, problem, asked)`.
type PyAnswer = (u64, Vec<Py<PyBytes>>, Option<(u32, String, Py<PyBytes>, bool)>);

/// Asks many peers at once.
#[pyclass(frozen, module = "nvr._core")]
pub(crate) struct FanoutClient(Client);

#[pymethods]
impl FanoutClient {
    #[new]
    #[pyo3(signature = (*, at_once = 256, message_bytes = 16 << 20, answer_bytes = 64 << 20,
        waiting_bytes = 16 << 20, partial_bytes = 64 << 20, keepalive_ms = 30_000,
        keepalive_timeout_ms = 10_000, idle_ms = 600_000))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn new(
        py: Python<'_>,
        at_once: usize,
        message_bytes: usize,
        answer_bytes: usize,
        waiting_bytes: usize,
        partial_bytes: usize,
        keepalive_ms: u64,
        keepalive_timeout_ms: u64,
        idle_ms: u64,
    ) -> PyResult<Self> {
        let config = Config {
            at_once,
            message_bytes,
            answer_bytes,
            waiting_bytes,
            partial_bytes,
            keepalive: Duration::from_millis(keepalive_ms),
            keepalive_timeout: Duration::from_millis(keepalive_timeout_ms),
            idle: Duration::from_millis(idle_ms),
        };
        Client::new(config).map(FanoutClient).map_err(|e| fanout_to_py(py, &e))
    }

    #[pyo3(signature = (target, tls = None))]
    fn add_peer(&self, py: Python<'_>, target: &str, tls: Option<&FanoutTls>) -> PyResult<u64> {
        let target = target.parse().map_err(|e| fanout_to_py(py, &e))?;
        Ok(self.0.add_peer(target, tls.map(|tls| tls.0.clone())))
    }

    fn remove_peer(&self, peer: u64) {
        self.0.remove_peer(peer);
    }

    fn connections_made(&self, peer: u64) -> usize {
        self.0.connections_made(peer)
    }

    fn notify_fd(&self) -> i32 {
        self.0.notify_fd().as_raw_fd()
    }

    #[pyo3(signature = (path, requests, *, timeout_us, metadata = Vec::new(), most_messages))]
    fn ask(
        &self,
        py: Python<'_>,
        path: String,
        requests: Vec<(u64, Vec<u8>)>,
        timeout_us: u64,
        metadata: Vec<(String, String)>,
        most_messages: usize,
    ) -> PyResult<u64> {
        let timeout = Duration::from_micros(timeout_us);
        let ask = Ask { path, metadata, timeout, most_messages, requests };
        self.0.ask(ask).map_err(|e| fanout_to_py(py, &e))
    }

    fn cancel(&self, calls: Vec<u64>) {
        self.0.cancel(calls);
    }

    fn take(&self, py: Python<'_>) -> Vec<PyAnswer> {
        let bytes = |data: &[u8]| PyBytes::new(py, data).unbind();
        let answers = self.0.take().into_iter();
        answers
            .map(|answer| {
                let messages = answer.messages.iter().map(|message| bytes(message)).collect();
                let ended = answer.ended.map(|ended| {
                    let status = ended.status;
                    (status.code, status.detail, bytes(&status.problem), ended.asked)
                });
                (answer.call, messages, ended)
            })
            .collect()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
