//! Fuzz targets: what parses bytes that come from outside or from a disk.
//!
//! A target is a function of bytes that must return, whatever they are: no panic, no hang, no
//! memory beyond a bound. What it reads successfully it also writes again and compares. The binary
//! `fuzz` runs one under libFuzzer (`scripts/fuzz.sh`, `docs/testing.md`); the corpus and all inputs
//! that once failed are run by `cargo test` as well.

pub mod asking;
pub mod checked;
pub mod memory;
pub mod mend;
pub mod seeds;
pub mod targets;

/// A target by its name, which is also the name of its folder in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("address", targets::address::run),
    ("camera_answers", targets::camera::answers),
    ("camera_rtp", targets::camera::media),
    ("camera_sdp", targets::camera::described),
    ("copy", targets::copy::run),
    ("events", targets::events::run),
    ("grpc_frames", targets::grpc::frames),
    ("grpc_trailers", targets::grpc::trailers),
    ("index", targets::index::run),
    ("media_out", targets::media::sent),
    ("media_in", targets::media::received),
    ("muxer", targets::muxer::run),
    ("rtsp_server", targets::rtsp::run),
    ("segment", targets::segment::run),
    ("source", targets::source::run),
    ("store", targets::store::run),
];

/// The target of a name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}
