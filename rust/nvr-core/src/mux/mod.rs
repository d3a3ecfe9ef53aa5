//! From access units to fragments, without any I/O: where runs, segments and fragments begin and
//! end, which wall time each fragment has, and which decoding time each picture.

mod audio;
mod camera_times;
mod metadata;
pub mod muxer;
mod parameter_flood;
pub mod run;
pub mod timing;

pub use muxer::{MuxOptions, MuxOut, Muxed, Muxer};

#[cfg(test)]
mod tests;
