//! Cameras of a node, played over RTSP: live to many at once, and replays of what was recorded.
//!
//! Nothing here knows where footage comes from. Requests of clients are [events](events) for whoever
//! owns the [`Server`]; it answers them with a [`LiveFeed`] that many share, or with a [`Replay`] of
//! one client, and pushes access units and fragments into those. Nothing that is pushed waits for a
//! client.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod events;
mod format;
mod live;
mod replay;
mod server;
mod stream;
mod timeline;

pub use format::{AudioFormat, Format};
pub use live::{LiveFeed, LiveUnit};
pub use nvr_rtsp::{AudioCodec, Error, Result, StatusCode, VideoCodec};
pub use replay::{PushedFragment, Replay};
pub use server::{Config, Server, Stats};
pub use stream::{DescribeRequest, PlayRequest, ReplayPlan};
