//! The node that lives through the day: store, recorder, one recorder a stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::camera::number_of;
use crate::fs::sim::SimFs;
use crate::ids::{RunId, SeededEntropy, StreamId};
use crate::live::Hub;
use crate::mux::MuxOptions;
use crate::record::disk::RecordOptions;
use crate::record::{Recorder, StreamRecorder};
use crate::segment::fragment::parse_fragment;
use crate::store::Store;
use crate::time::SimClock;

pub(super) const ROOTS: [&str; 2] = ["/a", "/b"];

pub(super) fn roots() -> Vec<PathBuf> {
    ROOTS.iter().map(PathBuf::from).collect()
}

/// Which fragment.
pub(super) type Key = (StreamId, RunId, u32);

/// A fragment as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub start_us: i64,
    pub end_us: i64,
    pub segment_start_us: i64,
    pub segment: PathBuf,
    /// Numbers of its first and last picture.
    pub pictures: (u64, u64),
}

pub(super) struct Node {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub streams: BTreeMap<StreamId, StreamRecorder>,
}

impl Node {
    pub(super) fn start(
        fs: &SimFs,
        clock: &Arc<SimClock>,
        ids: &[StreamId],
        seed: u64,
    ) -> crate::Result<Self> {
        let shared: Arc<dyn crate::fs::FileSystem> = Arc::new(fs.clone());
        let store = Arc::new(Store::open(shared, clock.clone(), &roots(), false)?);
        let options = RecordOptions {
            // Only the day syncs.
            sync_interval: Duration::from_secs(1 << 20),
            main: MuxOptions::with_segment_s(5),
            sub: MuxOptions::with_segment_s(15),
            queue_bytes: 24 << 10,
        };
        let entropy = Arc::new(SeededEntropy::new(seed));
        let hub = Arc::new(Hub::new().unwrap());
        let recorder = Recorder::by_hand(store.clone(), hub, options, entropy);
        let streams = ids
            .iter()
            .map(|id| Ok((*id, recorder.stream(*id, 0)?)))
            .collect::<crate::Result<_>>()?;
        Ok(Node { store, recorder, streams })
    }

    /// All fragments that a reader finds. Panics if one cannot be read, or is not what was sent.
    pub(super) fn found(&self, id: StreamId) -> BTreeMap<Key, Found> {
        found_in(&self.store, id)
    }
}

/// All fragments of a stream that a reader finds in a store.
pub(super) fn found_in(store: &Store, id: StreamId) -> BTreeMap<Key, Found> {
    let mut found = BTreeMap::new();
    for f in store.fragments(id, 0, i64::MAX).unwrap() {
        let (offset, sequence) = (f.record.offset, f.record.sequence);
        let segment = f.segment_path();
        let bytes = store.read_fragment(id, &segment, offset, sequence).unwrap();
        let parsed = parse_fragment(&bytes).unwrap();
        let mut at = parsed.entry.video.data_offset as usize;
        let mut numbers = Vec::new();
        for sample in &parsed.video_samples {
            let data = &bytes[at..at + sample.size as usize];
            let (number, key) = number_of(id, data)
                .unwrap_or_else(|| panic!("{id}: a picture is not what was sent: {f:?}"));
            assert_eq!(sample.sync, key, "{id} {f:?}");
            numbers.push(number);
            at += sample.size as usize;
        }
        let gapless = numbers.windows(2).all(|n| n[1] == n[0] + 1);
        assert!(gapless, "{id}: pictures of one fragment: {numbers:?}");
        let new = Found {
            start_us: f.record.wall_start_us,
            end_us: f.end_us,
            segment_start_us: f.segment_start_us(),
            segment,
            pictures: (numbers[0], numbers[numbers.len() - 1]),
        };
        let twice = found.insert((id, f.index.run, sequence), new);
        assert_eq!(twice, None, "{id}: a fragment is found twice");
    }
    found
}
