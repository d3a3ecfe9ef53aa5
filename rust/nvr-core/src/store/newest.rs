//! What is being written while somebody asks: nothing that is called recorded is missing from a
//! clip, and nothing that is on its way to disk is called a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Store;
use super::coverage::{Coverage, Gap};
use crate::clip::ClipPlan;
use crate::fs::FileSystem;
use crate::fs::sim::SimFs;
use crate::ids::SeededEntropy;
use crate::live::Hub;
use crate::media::{AccessUnit, MediaSink};
use crate::mux::MuxOptions;
use crate::reason::Reason;
use crate::record::disk::RecordOptions;
use crate::record::tests::{ID, clock, params, roots};
use crate::record::{Recorder, StreamRecorder};
use crate::time::{Clock, SimClock};

struct Node {
    fs: SimFs,
    clock: Arc<SimClock>,
    store: Arc<Store>,
    recorder: Arc<Recorder>,
    stream: StreamRecorder,
    picture: u8,
}

impl Node {
    fn start() -> Self {
        let (fs, clock) = (SimFs::default(), clock());
        let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
        let store = Arc::new(Store::open(shared, clock.clone(), &roots(), false).unwrap());
        let options =
            RecordOptions { main: MuxOptions::with_segment_s(5), ..RecordOptions::default() };
        let (hub, entropy) = (Arc::new(Hub::new().unwrap()), Arc::new(SeededEntropy::new(1)));
        let recorder = Arc::new(Recorder::by_hand(store.clone(), hub, options, entropy));
        let mut stream = recorder.stream(ID, 0).unwrap();
        stream.begin(clock.now(), params(), None);
        Node { fs, clock, store, recorder, stream, picture: 0 }
    }

    /// Ten a second, every tenth a random-access point. They wait for the disk.
    fn pictures(&mut self, count: u8) {
        for _ in 0..count {
            let kind = if self.picture.is_multiple_of(10) { 0x65 } else { 0x41 };
            let data = Bytes::from(vec![0, 0, 0, 3, kind, 0x88, self.picture]);
            let (pts_90k, arrival) = (i64::from(self.picture) * 9000, self.clock.now());
            self.stream.video(AccessUnit { pts_90k, arrival, data });
            self.picture += 1;
            self.clock.advance(100_000);
        }
    }

    fn now_us(&self) -> i64 {
        self.clock.now().wall_us
    }
}

/// Each instant is shown or explained.
fn is_whole((plan, gaps): &(ClipPlan, Vec<Gap>), from_us: i64, until_us: i64) -> bool {
    let parts = plan.parts.iter().map(|part| part.range_us);
    let mut all: Vec<_> = parts.chain(gaps.iter().map(|gap| (gap.start_us, gap.end_us))).collect();
    all.sort_unstable();
    let reached =
        all.iter().try_fold(from_us, |at, (start, end)| (*start <= at).then_some(at.max(*end)));
    reached == Some(until_us)
}

#[test]
fn a_clip_lacks_nothing_that_was_written_while_it_was_planned() {
    let mut node = Node::start();
    let from_us = node.now_us();
    node.pictures(81);
    node.recorder.flush();
    // A segment is sealed, one is open, and a third waits for the disk.
    node.pictures(40);
    let (recorder, until_us) = (node.recorder.clone(), node.now_us());
    let written = Arc::new(AtomicBool::new(false));
    let wrote = written.clone();
    node.fs.between(move |op, path| {
        if op == "open" && path.extension().is_some_and(|ending| ending == "mp4") {
            recorder.flush();
            wrote.store(true, Ordering::Relaxed);
        }
    });
    let clip = node.store.clip(ID, from_us, until_us, true).unwrap();
    assert!(written.load(Ordering::Relaxed), "nothing was written meanwhile");
    assert!(is_whole(&clip, from_us, until_us), "{:?}", clip.1);
    // Once nothing is written meanwhile, only what is in memory is missing, and said to be.
    let (plan, gaps) = node.store.clip(ID, from_us, until_us, true).unwrap();
    assert!(is_whole(&(plan.clone(), gaps.clone()), from_us, until_us));
    assert_eq!(gaps.iter().map(|gap| &gap.reason).collect::<Vec<_>>(), [&Reason::PENDING]);
    let covered = node.store.coverage(ID, from_us, until_us).unwrap().spans;
    assert_eq!(plan.parts[0].range_us, (covered[0].start_us, covered[0].end_us));
}

#[test]
fn what_is_on_its_way_to_disk_is_pending_at_every_moment() {
    let mut node = Node::start();
    let from_us = node.now_us();
    node.pictures(21);
    node.recorder.flush();
    node.pictures(60);
    let (store, until_us) = (node.store.clone(), node.now_us());
    let seen = Arc::new(Mutex::new(Vec::<Coverage>::new()));
    let looked = seen.clone();
    node.fs.between(move |op, path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if op == "write" && matches!(ending, Some("mp4" | "index")) {
            looked.lock().push(store.coverage(ID, from_us, until_us).unwrap());
        }
    });
    node.recorder.flush();
    let seen = std::mem::take(&mut *seen.lock());
    assert!(seen.len() > 12, "{}", seen.len());
    for coverage in seen {
        let reasons: Vec<_> = coverage.gaps.iter().map(|gap| gap.reason.clone()).collect();
        assert_eq!((coverage.spans.len(), reasons), (1, vec![Reason::PENDING]));
    }
}
