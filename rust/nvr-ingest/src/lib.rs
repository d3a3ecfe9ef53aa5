//! RTSP in: sessions with cameras, their clocks, and reconnects.
//!
//! A [`Supervisor`] holds many streams on one tokio runtime, one task for each. A task
//! connects (RTP over TCP, or over UDP where the address says so), hands pictures and sound to the stream's
//! [`MediaSink`](nvr_core::media::MediaSink), and when the session fails says why, in the
//! words of [`Reason`](nvr_core::reason::Reason), waits, and connects again.
//!
//! User and password come from the URL and leave it at once: nothing that this crate
//! logs, reports or hands to a sink contains them (see [`redact`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod backoff;
mod demux;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod options;
mod opus;
mod params;
mod probe;
mod sender_report;
mod session;
mod source;
mod status;
mod stream;
mod supervisor;
mod udp;

pub use address::redact;
pub use options::Options;
pub use probe::probe;
pub use status::{State, Status};
pub use supervisor::Supervisor;

/// The target of this crate's log records.
pub(crate) const LOG: &str = "nvr.ingest";

/// A larger picture is none, whichever way it comes. (An 8K camera's keyframes have 2 to 4 MiB.)
pub(crate) const MAX_PICTURE: u32 = 32 << 20;
