//! Fragments that another node gives to be copied, and the store that they are written to.

use std::path::Path;
use std::sync::Arc;

use nvr_core::copy::CopyWriter;
use nvr_core::fs::RealFs;
use nvr_core::ids::{CameraId, StreamId, StreamKind};
use nvr_core::segment::fragment::peek_length;
use nvr_core::segment::head::SegmentHead;
use nvr_core::store::Store;
use nvr_core::time::SystemClock;

use super::choice;
use crate::{asking, mend};

/// Whose footage is copied.
pub fn stream() -> StreamId {
    StreamId { camera: CameraId(uuid::Uuid::from_u128(7)), kind: StreamKind::Main }
}

/// First byte: odd, checksums and digests are made right. Then a segment: its head, and fragments
/// in any order, as a node sends them.
pub fn run(data: &[u8]) {
    let (how, rest) = choice(data);
    let mut bytes = rest.to_vec();
    if how & 1 == 1 {
        mend::segment(&mut bytes);
    }
    let Ok((_, head_len)) = SegmentHead::from_bytes(&bytes) else { return };
    let (init, mut fragments) = bytes.split_at(head_len);
    // Made only where something can come of it: most inputs end before.
    let mut writer: Option<(tempfile::TempDir, Arc<Store>, CopyWriter)> = None;
    let mut taken = 0;
    while let Some((fragment, rest)) =
        peek_length(fragments).and_then(|len| fragments.split_at_checked(len as usize))
    {
        fragments = rest;
        if writer.is_none() {
            let dir = tempfile::tempdir().expect("a folder for the store");
            let store = open(dir.path());
            let copy =
                CopyWriter::new(store.clone(), stream()).expect("an empty store takes copies");
            writer = Some((dir, store, copy));
        }
        if let Some((_, _, writer)) = &mut writer {
            taken += usize::from(writer.add(init, fragment).is_ok());
            if how & 2 != 0 {
                let _ = writer.flush();
            }
        }
    }
    let Some((dir, store, mut writer)) = writer else { return };
    let _ = writer.flush();
    if taken > 0 {
        asking::store(&store, stream());
        store.close();
        // What was written is found again by whoever opens the store after a crash.
        drop((writer, store));
        let _ = std::fs::remove_file(dir.path().join(".boot"));
        asking::store(&open(dir.path()), stream());
    }
}

fn open(root: &Path) -> Arc<Store> {
    let clock = Arc::new(SystemClock::default());
    let store = Store::open(Arc::new(RealFs), clock, &[root.to_owned()], false);
    Arc::new(store.expect("a store opens, whatever was copied to it"))
}
