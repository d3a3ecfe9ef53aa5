//! A store whose files are damaged: what opening, asking, scrubbing, retention, checking and
//! rebuilding make of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nvr_core::fs::RealFs;
use nvr_core::ids::RunId;
use nvr_core::segment::head::SegmentHead;
use nvr_core::store::check::{Depth, check, rebuild};
use nvr_core::store::layout::{day_name, index_name, segment_name, stream_dir};
use nvr_core::store::{Limits, Store};
use nvr_core::time::{DAY_US, SystemClock};

use super::choice;
use super::copy::stream;
use crate::{asking, mend, seeds};

/// First byte: bit 0, checksums are made right; bit 1, the machine started anew; bit 2, the store is to
/// be read only; bit 3, all is rebuilt. Then the segment, the index and the event log, the first two
/// each after its length in two bytes.
pub fn run(data: &[u8]) {
    let (how, mut rest) = choice(data);
    let mut sized = || -> Option<Vec<u8>> {
        let (len, after) = rest.split_first_chunk::<2>()?;
        let (part, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = after;
        Some(part.to_vec())
    };
    let (Some(mut segment), Some(mut index)) = (sized(), sized()) else { return };
    let mut events = rest.to_vec();
    if how & 1 == 1 {
        mend::segment(&mut segment);
        mend::index(&mut index);
        events = mend::events(&events);
    }
    let dir = tempfile::tempdir().expect("a folder for the store");
    write(dir.path(), &segment, &index, &events).expect("a store can be written");
    if how & 2 == 0 {
        // As if the recorder had been here since the machine started.
        let _ = open(dir.path(), false).map(|store| store.close());
        write(dir.path(), &segment, &index, &events).expect("a store can be written");
    }
    if how & 4 != 0 {
        if let Some(store) = open(dir.path(), true) {
            asking::store(&store, stream());
        }
        return;
    }
    if let Some(store) = open(dir.path(), false) {
        asking::store(&store, stream());
        let mut passes = 0;
        while let Ok(Some(_)) = store.scrub_next(None) {
            passes += 1;
            assert!(passes < 20, "scrub goes on for ever");
        }
        asking::store(&store, stream());
        let _ = store.hold(stream(), "evidence", (0, seeds::T0), "");
        let limits = Limits { max_bytes: Some(1000), ..Limits::default() };
        let _ = store.enforce_retention(limits);
        asking::store(&store, stream());
        store.close();
    }
    let roots = [PathBuf::from(dir.path())];
    let _ = check(&RealFs, &roots, Depth::Digests);
    if how & 8 != 0 && rebuild(&RealFs, &roots).is_ok() {
        let store = open(dir.path(), false).expect("what was rebuilt opens");
        asking::store(&store, stream());
    }
}

fn open(root: &Path, read_only: bool) -> Option<Store> {
    let clock = Arc::new(SystemClock::default());
    Store::open(Arc::new(RealFs), clock, &[root.to_owned()], read_only).ok()
}

fn write(root: &Path, segment: &[u8], index: &[u8], events: &[u8]) -> std::io::Result<()> {
    let day = seeds::T0 / DAY_US * DAY_US;
    let dir = stream_dir(root, stream());
    let day_dir = dir.join(day_name(day));
    fs::create_dir_all(&day_dir)?;
    let run = SegmentHead::from_bytes(segment).map_or(RunId(uuid::Uuid::nil()), |(h, _)| h.run);
    let segment_ms = u32::try_from((seeds::T0 - day) / 1000).unwrap_or(0);
    fs::write(day_dir.join(segment_name(segment_ms, run)), segment)?;
    fs::write(day_dir.join(index_name(run)), index)?;
    fs::write(dir.join("events"), events)
}
