//! Files played over RTSP as cameras: for the demo, for tests, for load.
//!
//! A camera is causal: an access unit is sent when the latest of the pictures up to it (in decoding
//! order) is shown, so a B-frame comes right after its anchor, and never before its time. All who
//! look at a camera see the same timeline: at wall time T it is at media time T − zero, and the
//! media starts anew after each period with timestamps that go on. A new viewer starts at the next
//! random-access point.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod camera;
mod media;
mod server;
mod viewer;

pub use media::{AudioFormat, Media, MediaBuilder, VideoFormat};
pub use nvr_rtsp::{AudioCodec, Error, Result, VideoCodec};
pub use server::{Config, Server, Stats};
