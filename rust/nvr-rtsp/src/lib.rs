//! The server side of RTSP 1.0 (RFC 2326): connections, login, sessions, descriptions, RTP packets
//! over TCP (interleaved) and UDP, RTCP reports.
//!
//! What is played is a [`Service`]'s affair: it finds the [`Stream`] behind an address, and gets an
//! [`Output`] to send access units to when a client plays. Everything that a client sends is hostile:
//! requests, connections, sessions and what waits for a client are bounded.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auth;
mod clock;
mod connection;
mod error;
mod outbox;
mod output;
mod packetize;
mod params;
mod rtcp;
mod sdp;
mod server;
mod service;
mod session;
mod udp;

pub use auth::{Accounts, Scheme};
pub use clock::Clock;
pub use error::{Error, Result};
pub use output::{Output, Report};
pub use packetize::{MAX_AAC_FRAME, Packets};
pub use params::{ParameterSets, VideoCodec, check_sample, nal_units};
pub use sdp::{AudioCodec, AudioDescription, Description, VIDEO_CLOCK_HZ, VideoDescription};
pub use server::{Config, Server};
pub use service::{Announcer, Client, Play, Service, Started, Stream, Track};

/// The statuses of RTSP, for what refuses a request.
pub use rtsp_types::{StatusCode, Url};

#[cfg(any(test, feature = "testing"))]
pub mod testing;
