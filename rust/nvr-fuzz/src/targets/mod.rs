//! The targets. Each says in its first lines where its bytes come from.

pub mod address;
pub mod camera;
pub mod copy;
pub mod events;
pub mod grpc;
pub mod index;
pub mod media;
pub mod muxer;
pub mod rtsp;
pub mod segment;
pub mod source;
pub mod store;

/// The first byte decides how the rest is taken.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}
