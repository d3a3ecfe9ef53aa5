//! `nvr._core`: the Rust core for Python. Thin: every call that may touch a disk or wait for a
//! lock detaches from the interpreter first.

use pyo3::prelude::*;

mod camera_sim;
mod clip;
mod copy;
mod errors;
mod fanout;
mod find;
mod ingest;
mod memory;
mod rtsp;
mod store;
mod values;
mod writer;

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::camera_sim::{CameraSim, SimMedia};
    #[pymodule_export]
    use super::clip::{ClipPart, ClipPlan, FrameSamples, GopSamples};
    #[pymodule_export]
    use super::copy::{Copied, CopyWriter};
    #[pymodule_export]
    use super::fanout::{FanoutClient, FanoutTls};
    #[pymodule_export]
    use super::find::FindReader;
    #[pymodule_export]
    use super::ingest::{EventWatch, Ingest, LiveUnit, LiveWatch, StreamEvent, StreamStatus};
    #[pymodule_export]
    use super::memory::release_code;
    #[pymodule_export]
    use super::rtsp::{
        RtspDescribe, RtspFeed, RtspFormat, RtspPlay, RtspReplay, RtspServer, RtspSignal,
    };
    #[pymodule_export]
    use super::store::{DamagedStretch, DiskUsage, Scrubbed, Store, StoreReport, StoredStream};
    #[pymodule_export]
    use super::values::{CodecConfig, Fragment, Gap, Span};
    #[pymodule_export]
    use super::writer::StreamWriter;

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __debug_build__: bool = cfg!(debug_assertions);

    /// Log records of Rust come out under the loggers `nvr.…`.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let logger = pyo3_log::Logger::new(module.py(), pyo3_log::Caching::LoggersAndLevels)?
            .filter(log::LevelFilter::Info)
            // It may name addresses with what is secret in them; what matters comes as a status.
            .filter_target("retina".to_owned(), log::LevelFilter::Off);
        // Installed already: the module was imported in another interpreter of this process.
        let _ = logger.install();
        Ok(())
    }
}
