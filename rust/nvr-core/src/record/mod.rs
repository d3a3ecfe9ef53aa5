//! Recording: from [`MediaSink`](crate::media::MediaSink) calls to files. One thread for each
//! disk writes, another syncs; neither is ever waited for by a session with a camera.

mod dirty;
pub mod disk;
mod queue;
mod segments;
pub mod stats;
pub mod stream;
#[cfg(test)]
pub(crate) mod tests;

pub use disk::Recorder;
pub use stream::StreamRecorder;
