//! From access units to fragments, without any I/O: where runs, segments and fragments begin and
//! end, which wall time each fragment has, and which decoding time each picture.

mod audio;
pub mod muxer;
pub mod run;
pub mod timing;

pub use muxer::{MuxOptions, MuxOut, Muxed, Muxer};
