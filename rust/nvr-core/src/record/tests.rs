//! What survives: power failures at any moment, killed processes, full and failing disks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::disk::{RecordOptions, spread};
use super::{Recorder, StreamRecorder};
use crate::codec::tests::hex;
use crate::fs::counted::{Calls, Counted};
use crate::fs::sim::{EIO, Fault, SimFs};
use crate::ids::{CameraId, RunId, SeededEntropy, StreamId, StreamKind};
use crate::live::Hub;
use crate::media::{AccessUnit, MediaSink, VideoCodec, VideoParams};
use crate::mux::MuxOptions;
use crate::reason::Reason;
use crate::segment::footer::write_footer;
use crate::segment::head::SegmentHead;
use crate::store::check::{Depth, check, problems_but_of_lost_heads, rebuild};
use crate::store::marks;
use crate::store::scrub::SETTLED_US;
use crate::store::{Limits, Store};
use crate::time::{Clock, SECOND_US, SimClock};

/// 2026-11-23 23:59:30 UTC: midnight is near.
pub(crate) const T0: i64 = 1_795_478_370 * SECOND_US;
pub(crate) const ID: StreamId =
    StreamId { camera: CameraId(uuid::Uuid::from_u128(7)), kind: StreamKind::Main };
/// 10 pictures a second.
const PICTURE_90K: i64 = 9000;
const PICTURE_US: i64 = 100_000;

pub(crate) fn params() -> VideoParams {
    let avcc = "0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a9201000568cb83cb20";
    VideoParams { codec: VideoCodec::H264, extra_data: hex(avcc).into(), width: 322, height: 182 }
}

/// A node that records one stream.
pub(crate) struct Node {
    pub(crate) fs: SimFs,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) store: Arc<Store>,
    pub(crate) recorder: Recorder,
    pub(crate) stream: StreamRecorder,
    picture: i64,
}

pub(crate) fn roots() -> Vec<PathBuf> {
    vec![PathBuf::from("/store")]
}

impl Node {
    pub(crate) fn start(fs: SimFs, clock: Arc<SimClock>) -> crate::Result<Node> {
        let shared: Arc<dyn crate::fs::FileSystem> = Arc::new(fs.clone());
        let store = Arc::new(Store::open(shared, clock.clone(), &roots(), false)?);
        // Only the test syncs.
        let mux = MuxOptions::with_segment_s(5);
        let options = RecordOptions {
            sync_interval: Duration::from_secs(3600),
            main: mux,
            sub: mux,
            ..RecordOptions::default()
        };
        let entropy = Arc::new(SeededEntropy::new(clock.now().wall_us.unsigned_abs()));
        let hub = Arc::new(Hub::new().unwrap());
        let recorder = Recorder::new(store.clone(), hub, options, entropy)?;
        let stream = recorder.stream(ID, 0)?;
        Ok(Node { fs, clock, store, recorder, stream, picture: 0 })
    }

    pub(crate) fn begin(&mut self) {
        self.stream.begin(self.clock.now(), params(), None);
    }

    /// Pictures arrive; every tenth is a random-access point.
    pub(crate) fn pictures(&mut self, count: i64) {
        for _ in 0..count {
            let kind = if self.picture % 10 == 0 { 0x65 } else { 0x41 };
            let mut data = vec![0, 0, 0, 41, kind];
            data.extend_from_slice(&self.picture.to_be_bytes().repeat(5));
            self.stream.video(AccessUnit {
                pts_90k: self.picture * PICTURE_90K,
                arrival: self.clock.now(),
                data: Bytes::from(data),
            });
            self.picture += 1;
            self.clock.advance(PICTURE_US);
        }
        self.recorder.flush();
    }

    /// (run, sequence) of all fragments; each is read and checked.
    fn fragments(&self) -> Vec<(String, u32)> {
        fragments_of(&self.store)
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        check(&self.fs, &roots(), Depth::Digests).unwrap().problems
    }
}

fn fragments_of(store: &Store) -> Vec<(String, u32)> {
    let found = store.fragments(ID, 0, i64::MAX).unwrap();
    for f in &found {
        let (offset, sequence) = (f.record.offset, f.record.sequence);
        store.read_fragment(ID, &f.segment_path(), offset, sequence).unwrap();
    }
    found.iter().map(|f| (f.index.run.to_string(), f.record.sequence)).collect()
}

pub(crate) fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::at(T0))
}

#[test]
fn a_stream_is_recorded_and_found() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.stream.down(node.clock.now(), Reason::REFUSED, "port closed");
    node.clock.advance(3 * SECOND_US);
    node.begin();
    node.pictures(601);
    let end = node.clock.now();
    node.stream.end(end, Reason::SILENT, "");
    node.recorder.sync().unwrap();
    node.clock.advance(2 * SECOND_US);
    let first = T0 + 3 * SECOND_US;
    let coverage = node.store.coverage(ID, T0 - SECOND_US, end.wall_us + SECOND_US).unwrap();
    let [span] = &coverage.spans[..] else { panic!("{coverage:?}") };
    assert_eq!((span.start_us, span.end_us), (first, first + 601 * PICTURE_US));
    let gaps: Vec<_> =
        coverage.gaps.iter().map(|g| (g.start_us - T0, g.reason.0.as_ref())).collect();
    assert_eq!(gaps[..2], [(-SECOND_US, "not_recorded"), (0, "refused")]);
    assert_eq!(gaps[2].1, "silent");
    // Segments of 5 s lie in the folders of two days.
    assert_eq!(node.store.stream(ID).unwrap().unwrap().days().len(), 2);
    let located =
        node.store.locate(ID, first + 30_050_000, crate::store::Mode::At).unwrap().unwrap();
    assert_eq!(located.record.wall_start_us, first + 30 * SECOND_US);
    assert!(node.problems().is_empty());
}

#[test]
fn a_stepped_wall_clock_begins_a_new_run() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(50);
    node.clock.step(-3600 * SECOND_US);
    node.pictures(51);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.flush();
    let spans =
        node.store.coverage(ID, T0 - 4000 * SECOND_US, T0 + 4000 * SECOND_US).unwrap().spans;
    let starts: Vec<_> = spans.iter().map(|s| s.start_us - T0).collect();
    assert_eq!(starts, [-3595 * SECOND_US, 0]);
    assert_ne!(spans[0].run, spans[1].run);
}

#[test]
fn a_full_disk_is_a_gap_with_its_reason_and_then_recording_goes_on() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(100);
    node.fs.set_room(Some(100));
    node.pictures(100);
    node.fs.set_room(None);
    node.pictures(101);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.flush();
    let coverage = node.store.coverage(ID, T0, T0 + 30 * SECOND_US).unwrap();
    assert_eq!(coverage.spans.len(), 2, "{coverage:?}");
    let reasons: Vec<_> = coverage.gaps.iter().map(|g| g.reason.0.as_ref()).collect();
    assert_eq!(reasons, ["disk_full"]);
    let lost = coverage.gaps[0].end_us - coverage.gaps[0].start_us;
    assert!((9 * SECOND_US..14 * SECOND_US).contains(&lost), "{lost}");
    node.fragments();
    assert!(node.problems().is_empty(), "{:?}", node.problems());
}

#[test]
fn a_failing_disk_is_told_apart_from_a_full_one() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(55);
    node.fs.fail(Some(("write", 5)));
    node.pictures(50);
    node.fs.fail(None);
    node.pictures(56);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.flush();
    let coverage = node.store.coverage(ID, T0, T0 + 16 * SECOND_US).unwrap();
    assert!(coverage.gaps.iter().any(|g| g.reason == Reason::DISK_ERROR), "{coverage:?}");
}

#[test]
fn retention_deletes_the_oldest_and_says_so() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(301);
    let bytes = node.store.disk_usage().unwrap()[0].footage_bytes;
    let limits = Limits { max_bytes: Some(bytes / 2), ..Limits::default() };
    let deleted = node.store.enforce_retention(limits).unwrap();
    assert!(deleted >= 2, "{deleted}");
    assert!(node.store.disk_usage().unwrap()[0].footage_bytes <= bytes / 2);
    let coverage = node.store.coverage(ID, T0, T0 + 20 * SECOND_US).unwrap();
    assert_eq!(coverage.gaps[0].reason, Reason::EXPIRED);
    assert_eq!(coverage.gaps[0].start_us, T0);
    let oldest = node.store.stream(ID).unwrap().unwrap().range().unwrap().unwrap().0;
    assert_eq!(oldest, coverage.gaps[0].end_us);
    node.fragments();
    // By age everything may go but the segment that is being written.
    node.clock.advance(1000 * SECOND_US);
    node.store
        .enforce_retention(Limits { max_age_us: Some(SECOND_US), ..Limits::default() })
        .unwrap();
    assert!(!node.fragments().is_empty());
    node.pictures(30);
    node.fragments();
}

#[test]
fn a_rebuilt_index_equals_the_written_one() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(333);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.close().unwrap();
    let before = node.store.fragments(ID, 0, i64::MAX).unwrap();
    let stream = node.store.stream(ID).unwrap().unwrap();
    for day in stream.days() {
        for index in stream.indexes_of(day).unwrap() {
            crate::fs::FileSystem::remove_file(&node.fs, index.path()).unwrap();
        }
    }
    assert!(!node.problems().is_empty());
    let report = rebuild(&node.fs, &roots()).unwrap();
    assert!(report.problems.is_empty());
    assert!(node.problems().is_empty());
    let again = Node::start(node.fs.clone(), node.clock.clone()).unwrap();
    let after = again.store.fragments(ID, 0, i64::MAX).unwrap();
    let records = |l: &[crate::store::Located]| l.iter().map(|f| f.record).collect::<Vec<_>>();
    assert_eq!(records(&before), records(&after));
}

/// Files of the same input are the same to the byte, from version to version: a change of these
/// digests is a change of the format.
#[test]
fn files_are_the_same_to_the_byte() {
    use sha2::{Digest, Sha256};
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.stream.down(node.clock.now(), Reason::REFUSED, "port closed");
    node.begin();
    node.stream.camera_clock_offset(-1_234_567);
    node.pictures(71);
    node.stream.end(node.clock.now(), Reason::SILENT, "nothing for 10 s");
    node.recorder.close().unwrap();
    let digests: Vec<String> = node
        .fs
        .files()
        .into_iter()
        .filter(|(path, _)| path.components().count() > 3)
        .map(|(path, bytes)| {
            let digest: String =
                Sha256::digest(bytes).iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("{} {digest}", path.strip_prefix("/store").unwrap().display())
        })
        .collect();
    let camera = "00000000-0000-0000-0000-000000000007/main";
    let run = "01a20ad9-b6d0-7c74-a7cd-56708cecbc31";
    let expected = [
        format!("{camera}/2026-11-23/{run}.index ce237d963e701cac"),
        format!("{camera}/2026-11-23/235930.000Z-{run}.mp4 dd43ac4f480576c5"),
        format!("{camera}/2026-11-23/235935.000Z-{run}.mp4 1ce32f9c483aa081"),
        format!("{camera}/events a6b24e6ca1117399"),
    ];
    assert_eq!(digests, expected);
}

/// A node after a power failure that lost nothing, but found this byte of a segment flipped.
fn after_bit_rot(node: &Node, segment: &std::path::Path, offset: u64) -> Node {
    let fs = node.fs.after_power_failure(0);
    fs.flip(segment, offset);
    // What was durable is not read again at the start: that is for a scrub.
    crate::fs::FileSystem::remove_file(&fs, &roots()[0].join(".durable")).unwrap();
    Node::start(fs, node.clock.clone()).unwrap()
}

#[test]
fn a_damaged_fragment_does_not_cost_the_others() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(41);
    node.recorder.sync().unwrap();
    let found = node.store.fragments(ID, 0, i64::MAX).unwrap();
    let damaged = found[1].record;
    let after = after_bit_rot(&node, &found[1].segment_path(), u64::from(damaged.offset) + 400);
    let sequences: Vec<u32> = after.fragments().into_iter().map(|(_, s)| s).collect();
    let expected: Vec<u32> =
        (0..u32::try_from(found.len()).unwrap()).filter(|s| *s != damaged.sequence).collect();
    assert_eq!(sequences, expected);
    let gap = &after.store.coverage(ID, T0, T0 + 4 * SECOND_US).unwrap().gaps[0];
    assert_eq!((gap.start_us, gap.end_us), (damaged.wall_start_us, damaged.wall_end_us()));
}

#[test]
fn a_segment_whose_head_is_damaged_is_not_deleted() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(31);
    node.recorder.sync().unwrap();
    let path = node.store.fragments(ID, 0, i64::MAX).unwrap()[0].segment_path();
    let mut after = after_bit_rot(&node, &path, 100);
    assert!(crate::fs::FileSystem::file_len(&after.fs, &path).unwrap() > 0);
    assert!(after.problems()[0].contains("the head"), "{:?}", after.problems());
    after.begin();
    after.pictures(30);
    assert!(!after.fragments().is_empty());
}

/// The last picture that came before the process was killed ends like a segment does: with a footer,
/// which speaks of nothing.
#[test]
fn a_camera_cannot_seal_a_segment() {
    for (by_rebuild, knows_run) in [(false, false), (true, false), (false, true)] {
        let mut node = Node::start(SimFs::default(), clock()).unwrap();
        node.begin();
        node.pictures(21);
        let run = node.fragments()[0].0.parse().unwrap();
        let strangers = SegmentHead {
            stream: ID,
            run: if knows_run { run } else { RunId(uuid::Uuid::from_u128(9)) },
            epoch: 1,
            first_sequence: 0,
            wall_start_us: T0,
            base_90k: 0,
            start_pts_90k: 0,
            salt: [0; 16],
            video: params(),
            audio: None,
            metadata: None,
        };
        let mut slice = vec![0x41, 0x9a];
        slice.extend(write_footer(&strangers, &strangers.empty_table()));
        let mut data = u32::try_from(slice.len()).unwrap().to_be_bytes().to_vec();
        data.extend(slice);
        let (pts_90k, arrival) = (node.picture * PICTURE_90K, node.clock.now());
        node.stream.video(AccessUnit { pts_90k, arrival, data: data.into() });
        // The fragment ends with it.
        node.picture = 30;
        node.clock.advance(9 * PICTURE_US);
        node.pictures(1);
        let written = node.fragments();
        assert_eq!(written.len(), 3);
        let fs = node.fs.after_kill();
        // Nor does it deceive who looks at the store as it is.
        assert_eq!(check(&fs, &roots(), Depth::Digests).unwrap().problems, Vec::<String>::new());
        if !knows_run {
            let shared = Arc::new(fs.clone());
            let reader = Store::open(shared, node.clock.clone(), &roots(), true).unwrap();
            assert_eq!(fragments_of(&reader), written);
        }
        if by_rebuild {
            rebuild(&fs, &roots()).unwrap();
        }
        let after = Node::start(fs, node.clock.clone()).unwrap();
        assert_eq!(after.fragments(), written);
    }
}

/// A sector that cannot be read, in the middle of a recording.
#[test]
fn what_a_disk_cannot_read_is_damaged_until_it_can() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(101);
    let bad = node.store.fragments(ID, 0, i64::MAX).unwrap()[5].segment_path();
    // Long enough ago to be scrubbed, while more is recorded.
    node.clock.advance(SETTLED_US);
    node.picture += SETTLED_US / PICTURE_US;
    node.pictures(20);
    let written = node.fragments();
    node.fs.set_faults(vec![Fault::of("read", bad.to_str().unwrap(), EIO)]);
    let scrub = |node: &Node| {
        let mut found = Vec::new();
        while let Some(scrubbed) = node.store.scrub_next(None).unwrap() {
            found.push(scrubbed);
        }
        found
    };
    let found = scrub(&node);
    let damaged: Vec<_> = found.iter().flat_map(|s| &s.damaged).map(|(_, s)| s.clone()).collect();
    let [stretch] = &damaged[..] else { panic!("{damaged:?}") };
    assert_eq!((stretch.sequence, stretch.fragments), (5, 5));
    assert!(stretch.detail.contains("(os error 5)"), "{}", stretch.detail);
    assert!(stretch.detail.contains(bad.file_name().unwrap().to_str().unwrap()));
    let coverage = node.store.coverage(ID, T0, T0 + 10 * SECOND_US).unwrap();
    let gaps: Vec<_> =
        coverage.gaps.iter().map(|g| (g.start_us, g.end_us, g.reason.0.as_ref())).collect();
    assert_eq!(gaps, [(stretch.start_us, stretch.end_us, "damaged")]);
    // What lies around it is read, and what comes is recorded.
    let segments = node.store.segments_for(ID, T0, T0 + 10 * SECOND_US).unwrap();
    let clip = crate::clip::plan(ID, &segments, T0, T0 + 10 * SECOND_US, false).unwrap();
    assert!(!clip.parts.is_empty());
    node.pictures(20);
    // It was the cable.
    node.fs.set_faults(Vec::new());
    let intact: usize = scrub(&node).iter().map(|s| s.intact.len()).sum();
    assert_eq!(intact, 1);
    assert_eq!(node.fragments()[..written.len()], written);
    assert!(node.store.coverage(ID, T0, T0 + 10 * SECOND_US).unwrap().gaps.is_empty());
}

#[test]
fn a_closed_recorder_vouches_for_nothing_later() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(31);
    node.recorder.close().unwrap();
    let synced = |fs: &SimFs| {
        let mut bytes = [0; 12];
        let file = crate::fs::FileSystem::open(fs, std::path::Path::new("/store/.synced")).unwrap();
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let (fs, clock, before) = (node.fs.clone(), node.clock.clone(), synced(&node.fs));
    clock.advance(3600 * SECOND_US);
    drop(node);
    assert_eq!(synced(&fs), before);
}

/// The wall clock was set back to before what retention has deleted; that a run began since then
/// the log does not take at first, or not before the recorder is killed.
#[test]
fn a_run_whose_start_the_log_does_not_take_is_not_deleted() {
    for taken in [true, false] {
        let mut node = Node::start(SimFs::default(), clock()).unwrap();
        node.begin();
        node.pictures(301);
        node.stream.end(node.clock.now(), Reason::SILENT, "");
        node.recorder.sync().unwrap();
        let limits = Limits { max_age_us: Some(10 * SECOND_US), ..Limits::default() };
        assert!(node.store.enforce_retention(limits).unwrap() > 0);
        let before = node.fragments().len();
        node.clock.step(-3600 * SECOND_US);
        let log = crate::store::layout::stream_dir(&roots()[0], ID).join("events");
        node.fs.set_faults(vec![Fault::of("write", log.to_str().unwrap(), EIO)]);
        node.begin();
        node.picture = 400;
        node.pictures(151);
        node.stream.end(node.clock.now(), Reason::SILENT, "");
        node.recorder.flush();
        let written = node.fragments();
        assert!(written.len() > before + 10);
        node.store.enforce_retention(Limits::default()).unwrap();
        assert_eq!(node.fragments(), written);
        if taken {
            node.recorder.sync().unwrap_err();
            node.fs.set_faults(Vec::new());
            node.recorder.sync().unwrap();
        }
        let after = Node::start(node.fs.after_kill(), node.clock.clone()).unwrap();
        after.store.enforce_retention(Limits::default()).unwrap();
        assert_eq!(after.fragments(), written);
        assert_eq!(after.problems(), Vec::<String>::new());
    }
}

/// A fragment is written and the index does not take it, nor can it be cut off again: until the disk
/// is well, and not until the next start.
#[test]
fn a_segment_that_could_not_be_ended_is_ended_when_the_disk_is_well() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(21);
    let before = node.fragments();
    let found = node.store.fragments(ID, 0, i64::MAX).unwrap();
    let index = found[0].index.path().to_str().unwrap().to_owned();
    let segment = found[0].segment_path().to_str().unwrap().to_owned();
    let failing = [("write", &index), ("truncate", &segment)];
    node.fs.set_faults(failing.map(|(op, path)| Fault::of(op, path, EIO)).to_vec());
    node.pictures(10);
    assert_eq!(node.fragments(), before);
    node.fs.set_faults(Vec::new());
    node.pictures(100);
    // What was not ended is ended behind all that was to be written.
    node.recorder.flush();
    assert_eq!(node.problems(), Vec::<String>::new());
    let open = node.store.fragments(ID, 0, i64::MAX).unwrap().pop().unwrap().segment_path();
    for (path, bytes) in node.fs.files() {
        let sealed = bytes.ends_with(&crate::segment::footer::TRAILER_MAGIC);
        assert!(path.extension().is_none_or(|e| e != "mp4") || sealed || path == open, "{path:?}");
    }
}

/// A disk takes a new index's name and nothing more: what else is of that day can be asked.
#[test]
fn an_index_that_could_not_be_begun_hides_no_other() {
    for short in [false, true] {
        let mut node = Node::start(SimFs::default(), clock()).unwrap();
        let dir = crate::store::layout::stream_dir(&roots()[0], ID).join("2026-11-23");
        let write = Fault { times: 1, short, ..Fault::of("write", dir.to_str().unwrap(), EIO) };
        let remove = Fault::of("remove", dir.to_str().unwrap(), EIO);
        node.fs.set_faults(vec![write, remove]);
        node.begin();
        // One fragment: with another, the run's index might be begun after all.
        node.pictures(10);
        node.stream.end(node.clock.now(), Reason::SILENT, "");
        node.begin();
        node.pictures(40);
        node.stream.end(node.clock.now(), Reason::SILENT, "");
        node.recorder.flush();
        let index = |(path, _): &(PathBuf, _)| path.extension().is_some_and(|e| e == "index");
        assert_eq!(node.fs.files().iter().filter(|f| index(f)).count(), 2);
        let written = node.fragments();
        assert!(written.len() > 1);
        let stream = node.store.stream(ID).unwrap().unwrap();
        stream.days().into_iter().for_each(|day| stream.forget_day(day, false));
        assert_eq!(node.fragments(), written);
        let after = Node::start(node.fs.after_kill(), node.clock.clone()).unwrap();
        assert_eq!(after.fragments(), written);
        assert_eq!(after.fs.files().iter().filter(|f| index(f)).count(), 1);
    }
}

/// A recorder was killed after it had made a stream's folder, and before its name was synced.
#[test]
fn a_hold_is_durable_in_a_folder_that_was_found() {
    let fs = SimFs::default();
    let open = |fs: &SimFs| Store::open(Arc::new(fs.clone()), clock(), &roots(), false).unwrap();
    drop(open(&fs));
    let dir = crate::store::layout::stream_dir(&roots()[0], ID);
    crate::fs::FileSystem::create_dir_all(&fs, &dir).unwrap();
    open(&fs).hold(ID, "evidence", (T0, T0 + SECOND_US), "").unwrap();
    for seed in 0..20 {
        assert!(open(&fs.after_power_failure(seed)).release(ID, "evidence").unwrap(), "{seed}");
    }
}

proptest! {
    /// Nothing that was synced is lost, what is found is right, and the node records on.
    #[test]
    fn a_power_failure_loses_only_what_was_not_synced(
        steps in proptest::collection::vec((1i64..60, any::<bool>()), 1..12), seed in any::<u64>(),
    ) {
        let mut node = Node::start(SimFs::default(), clock()).unwrap();
        node.begin();
        let mut durable = Vec::new();
        for (count, sync) in steps {
            node.pictures(count);
            if sync {
                node.recorder.sync().unwrap();
                durable = node.fragments();
            }
        }
        let fs = node.fs.after_power_failure(seed);
        node.clock.advance(20 * SECOND_US);
        let mut after = Node::start(fs, node.clock.clone()).unwrap();
        let found = after.fragments();
        for fragment in &durable {
            prop_assert!(found.contains(fragment), "{fragment:?} of {durable:?} is not in {found:?}");
        }
        let problems = problems_but_of_lost_heads(&after.fs, &roots());
        prop_assert!(problems.is_empty(), "{problems:?}");
        after.begin();
        after.pictures(30);
        prop_assert!(after.fragments().len() > found.len());
        let now = after.store.now_us();
        let coverage = after.store.coverage(ID, T0, now).unwrap();
        let gaps = coverage.gaps.iter().filter(|g| g.reason != Reason::PENDING);
        if !durable.is_empty() {
            for gap in gaps {
                prop_assert_eq!(&gap.reason, &Reason::RECORDER_CRASHED, "{:?}", coverage);
            }
        }
    }

    /// Not one complete fragment is lost when the process is killed between any two operations.
    #[test]
    fn a_killed_process_loses_no_complete_fragment(count in 1i64..130) {
        let mut node = Node::start(SimFs::default(), clock()).unwrap();
        node.begin();
        node.pictures(count);
        let written = node.fragments();
        let fs = node.fs.after_kill();
        let after = Node::start(fs, node.clock.clone()).unwrap();
        prop_assert_eq!(after.fragments(), written);
        prop_assert_eq!(after.problems(), Vec::<String>::new());
    }
}

#[test]
fn a_camera_without_a_keyframe_is_a_gap_that_says_so() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.stream.down(node.clock.now(), Reason::REFUSED, "port closed");
    node.clock.advance(SECOND_US);
    node.begin();
    node.picture = 1;
    let slices = |node: &mut Node, count| {
        for _ in 0..count {
            // Never a tenth one.
            node.picture += i64::from(node.picture % 10 == 0);
            node.pictures(1);
        }
    };
    slices(&mut node, 600);
    let stopped: Vec<_> = {
        let coverage = node.store.coverage(ID, T0, node.clock.now().wall_us).unwrap();
        assert!(coverage.spans.is_empty());
        coverage.gaps.iter().map(|g| (g.start_us - T0, g.reason.0.to_string())).collect()
    };
    assert_eq!(node.stream.not_recorded(), Some(Reason::NO_KEYFRAME));
    let expected = [(0, "refused"), (31 * SECOND_US, "no_keyframe")];
    assert_eq!(stopped, expected.map(|(at, reason)| (at, reason.to_owned())));
    // One comes after all: recorded from there on.
    node.picture = 1000;
    let from = node.clock.now().wall_us;
    node.pictures(50);
    let coverage = node.store.coverage(ID, T0, node.clock.now().wall_us).unwrap();
    assert_eq!(coverage.spans.iter().map(|s| s.start_us).collect::<Vec<_>>(), [from]);
    assert_eq!(node.stream.not_recorded(), None);
}

#[test]
fn who_watches_a_camera_that_splits_pictures_gets_whole_ones() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    let watch = node.recorder.hub().watch(ID, false);
    let part = |n: u8, first: bool| -> Vec<u8> {
        vec![0, 0, 0, 3, if n == 0 { 0x65 } else { 0x41 }, if first { 0x88 } else { 0x20 }, n]
    };
    for n in 0..4 {
        for first in [true, false, false] {
            let (arrival, data) = (node.clock.now(), Bytes::from(part(n, first)));
            node.stream.video(AccessUnit { pts_90k: i64::from(n) * PICTURE_90K, arrival, data });
        }
        node.clock.advance(PICTURE_US);
    }
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    let shown: Vec<Vec<u8>> = watch.take().iter().map(|unit| unit.data.to_vec()).collect();
    let whole = |n| [part(n, true), part(n, false), part(n, false)].concat();
    // Of the first picture nobody could know that it would go on.
    let first = [part(0, true), part(0, false), part(0, false)];
    assert_eq!(shown, first.into_iter().chain((1..4).map(whole)).collect::<Vec<_>>());
}

#[test]
fn who_watches_live_takes_nothing_from_the_disk() {
    let counted = Counted::over(Arc::new(SimFs::default()));
    let calls = counted.calls.clone();
    let clock = clock();
    let store = Store::open(Arc::new(counted), clock.clone(), &roots(), false).unwrap();
    let hub = Arc::new(Hub::new().unwrap());
    let entropy = Arc::new(SeededEntropy::new(1));
    // Its disk does nothing until it is told to.
    let recorder = Recorder::by_hand(Arc::new(store), hub, RecordOptions::default(), entropy);
    let mut stream = recorder.stream(ID, 0).unwrap();
    stream.begin(clock.now(), params(), None);
    calls.take();
    let mut watches = Vec::new();
    for n in 0..60 {
        // One that joins in the middle of a group of pictures gets all of it.
        if n % 15 == 0 {
            watches.push(recorder.hub().watch(ID, false));
        }
        let kind = if n % 10 == 0 { 0x65 } else { 0x41 };
        let data = Bytes::from(vec![0, 0, 0, 3, kind, 0x88, n]);
        let pts_90k = i64::from(n) * PICTURE_90K;
        stream.video(AccessUnit { pts_90k, arrival: clock.now(), data });
        clock.advance(PICTURE_US);
    }
    let shown: Vec<usize> = watches.iter().map(|watch| watch.take().len()).collect();
    assert_eq!(shown, [60, 50, 40, 20]);
    assert_eq!(calls.take(), Calls::default());
}

#[test]
fn first_segments_end_evenly_over_a_segment() {
    for streams in [16, 100, 400] {
        let mut ends = [0; 8];
        for number in 0..streams {
            let lasts_us = spread(number, 60_000_000);
            assert!((1..=60_000_000).contains(&lasts_us));
            ends[usize::try_from((lasts_us - 1) * 8 / 60_000_000).unwrap()] += 1;
        }
        assert!(ends.iter().all(|n| n * 8 >= streams / 2 && n * 8 <= streams * 3 / 2), "{ends:?}");
    }
    assert_eq!(spread(0, 60_000_000), 60_000_000);
}

/// Writing and passes overlap, each in its own thread, as in a node (0036). Should the power fail then,
/// what the marks call durable is there.
#[test]
fn marks_are_true_while_passes_and_writing_overlap() {
    let (fs, clock) = (SimFs::default(), clock());
    let store = Store::open(Arc::new(fs.clone()), clock.clone(), &roots(), false).unwrap();
    let mux = MuxOptions::with_segment_s(2);
    let interval = Duration::from_millis(1);
    let options =
        RecordOptions { sync_interval: interval, main: mux, sub: mux, ..RecordOptions::default() };
    let hub = Arc::new(Hub::new().unwrap());
    let entropy = Arc::new(SeededEntropy::new(1));
    let mut recorder = Recorder::new(Arc::new(store), hub, options, entropy).unwrap();
    let mut stream = recorder.stream(ID, 0).unwrap();
    stream.begin(clock.now(), params(), None);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (failing, failed_fs) = (failures.clone(), fs.clone());
    fs.between(move |op, path| {
        let mut failures = failing.lock();
        // As soon as the marks are noted, and until the pass notes the watermark.
        if op == "write" && path.ends_with(".synced") && failures.len() < 200 {
            let failed = failed_fs.after_power_failure(failures.len() as u64);
            let (generation, marks) = marks::read(&failed, &roots()[0]);
            failures.push((generation, marks, failed.files()));
        }
    });
    let mut picture = 0;
    while failures.lock().len() < 200 {
        let mut data = vec![0, 0, 0xb, 0xb8, if picture % 5 == 0 { 0x65 } else { 0x41 }, 0x88];
        data.resize(4 + 0xbb8, picture as u8);
        let (arrival, data) = (clock.now(), Bytes::from(data));
        stream.video(AccessUnit { pts_90k: picture * PICTURE_90K, arrival, data });
        clock.advance(PICTURE_US);
        picture += 1;
        std::thread::sleep(Duration::from_micros(30));
    }
    recorder.close().unwrap();
    let segments = |files: Vec<(PathBuf, Vec<u8>)>| -> BTreeMap<PathBuf, Vec<u8>> {
        files.into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "mp4")).collect()
    };
    // A segment only grows: what was written then is in it still.
    let whole = segments(fs.files());
    let mut durable = BTreeMap::new();
    for (generation, marks, files) in failures.lock().drain(..) {
        let left = segments(files);
        for (path, bytes) in &whole {
            let (head, _) = SegmentHead::from_bytes(bytes).unwrap();
            let Some(mark) = marks.get(&head.run) else { continue };
            let len = match head.first_sequence.cmp(&mark.first_sequence) {
                Ordering::Less => bytes.len(),
                Ordering::Equal => mark.len as usize,
                Ordering::Greater => continue,
            };
            assert!(left.get(path).is_some_and(|left| left.starts_with(&bytes[..len])), "{path:?}");
            durable.insert(generation, mark.len);
        }
    }
    assert!(durable.len() > 50, "the same marks again and again: {durable:?}");
}
