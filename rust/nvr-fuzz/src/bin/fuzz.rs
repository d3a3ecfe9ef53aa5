//! Runs the target that `NVR_FUZZ_TARGET` names under libFuzzer; arguments are libFuzzer's.
#![no_main]

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("NVR_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = nvr_fuzz::target(&name) else {
            let known: Vec<_> = nvr_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
            eprintln!("NVR_FUZZ_TARGET: '{name}' is none of {}", known.join(", "));
            std::process::exit(2);
        };
        TARGET.get_or_init(|| target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(data);
        }
    }
);
