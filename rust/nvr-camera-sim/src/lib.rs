//! An RTSP server that plays files as cameras: for the demo, for tests, for load.
//!
//! A camera is causal: an access unit is sent when the latest of the pictures up to it (in decoding
//! order) is shown, so a B-frame comes right after its anchor, and never before its time. All who
//! look at a camera see the same timeline: at wall time T it is at media time T − zero, and the
//! media starts anew after each period with timestamps that go on. A new viewer starts at the next
//! random-access point.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auth;
mod camera;
mod clock;
mod connection;
mod error;
mod media;
mod outbox;
mod packetize;
mod params;
mod rtcp;
mod sdp;
mod server;
mod session;
mod viewer;

pub use error::{Error, Result};
pub use media::{AudioFormat, Media, MediaBuilder, VideoFormat};
pub use params::VideoCodec;
pub use server::{Config, Server, Stats};
