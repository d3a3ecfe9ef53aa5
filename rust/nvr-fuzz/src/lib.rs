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

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

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

thread_local! {
    static LIBRARY_MAY_PANIC: Cell<bool> = const { Cell::new(false) };
    static LIBRARY_PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what the product runs under `catch_unwind`, since libraries panic over what cameras send.
/// Such a panic is no failure; one of our own code is.
pub fn library_may_panic(run: impl FnOnce()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // Under libFuzzer, the hook that ends the process.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let of_library = info.location().is_some_and(|at| at.file().contains("/registry/src/"));
            if of_library && LIBRARY_MAY_PANIC.get() {
                LIBRARY_PANICKED.set(true);
            } else {
                before(info);
            }
        }));
    });
    LIBRARY_MAY_PANIC.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    LIBRARY_MAY_PANIC.set(false);
    if let Err(payload) = result
        && !LIBRARY_PANICKED.take()
    {
        panic::resume_unwind(payload);
    }
}

/// The target of a name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}
