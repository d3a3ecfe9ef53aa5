//! What questions cost a disk, as numbers of calls.

use std::path::Path;
use std::sync::Arc;

use super::check::rebuild;
use super::layout::{day_name, index_name, stream_dir};
use super::{Mode, Store};
use crate::clip;
use crate::fs::counted::{Calls, Counted};
use crate::fs::sim::SimFs;
use crate::fs::{FileSystem, RealFs};
use crate::ids::RunId;
use crate::index::file::HEADER_LEN;
use crate::index::record::RECORD_LEN;
use crate::index::{IndexWriter, Record};
use crate::media::{AccessUnit, MediaSink};
use crate::reason::Reason;
use crate::record::tests::{ID, Node, clock, roots};
use crate::time::{Clock, DAY_US, SECOND_US};

const FIRST_DAY: i64 = 20_780 * DAY_US;
const FRAGMENT_US: i64 = 2 * SECOND_US;
const RECORDS: i64 = DAY_US / FRAGMENT_US;

/// Indexes of whole days, as a camera fills them: starts are off by some milliseconds.
fn indexes(fs: &dyn FileSystem, root: &Path, days: i64) {
    let run = RunId(uuid::Uuid::from_u128(9));
    for number in 0..days {
        let day_us = FIRST_DAY + number * DAY_US;
        let dir = stream_dir(root, ID).join(day_name(day_us));
        fs.create_dir_all(&dir).unwrap();
        let record = |n: i64| Record {
            wall_start_us: day_us + n * FRAGMENT_US + n * 7919 % 11_003,
            duration_us: 2_000_000,
            segment_ms: u32::try_from(n / 30 * 60_000).unwrap(),
            offset: 0,
            length: 0,
            random_access: true,
            leading: false,
            pictures: 30,
            random_access_distance: 0,
            activity_bytes: 0,
            camera_clock_offset_ms: 0,
            sequence: u32::try_from(number * RECORDS + n).unwrap(),
        };
        let path = dir.join(index_name(run));
        let mut index = IndexWriter::open(fs, &path, ID, run, 0, day_us).unwrap();
        index.append_all(&(0..RECORDS).map(record).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn the_first_seek_in_a_day_is_at_most_four_reads() {
    let fs = SimFs::default();
    indexes(&fs, &roots()[0], 3);
    for seconds in [3, 40_000, 43_201, 86_390] {
        let counted = Counted::over(Arc::new(fs.clone()));
        let calls = counted.calls.clone();
        let store = Store::open(Arc::new(counted), clock(), &roots(), true).unwrap();
        let opening = calls.take();
        assert_eq!(opening.reads, 0, "opening a store reads no index");
        // The only files that are asked for are the log and the note of disks, which are not there.
        assert!(opening.opens <= 2, "{opening:?}");
        // Root, camera, stream.
        assert_eq!(opening.lists, 3);
        let at_us = FIRST_DAY + DAY_US + seconds * SECOND_US;
        let found = store.locate(ID, at_us, Mode::At).unwrap().unwrap();
        assert!((found.record.wall_start_us..found.end_us).contains(&at_us));
        let first = calls.take();
        assert!(first.reads <= 4 && first.opens == 1, "{first:?}");
        for seconds in [0, 1, 20_000, 43_201, 86_000, 86_397] {
            store.locate(ID, FIRST_DAY + DAY_US + seconds * SECOND_US, Mode::At).unwrap().unwrap();
            let again = calls.take();
            let Calls { read_bytes, .. } = again;
            let one = Calls { reads: 1, read_bytes, ..Calls::default() };
            assert_eq!(again, one, "a day that is open");
        }
    }
}

#[test]
fn a_seek_in_a_day_that_is_open_waits_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    indexes(&RealFs, &root, 3);
    let store = Store::open(Arc::new(RealFs), clock(), std::slice::from_ref(&root), true).unwrap();
    let stream = store.stream(ID).unwrap().unwrap();
    let day_us = FIRST_DAY + DAY_US;
    let noon_us = day_us + DAY_US / 2;
    let names = |at_us| {
        let found = stream.locate(at_us, Mode::At).unwrap().unwrap();
        (found.index.run, found.position, found.record, found.end_us)
    };
    assert!(stream.locate_now(noon_us).is_none(), "a day that nobody asked for");
    // It is opened, and then remembered to be the only one; by then its ends are known.
    let _ = (names(noon_us), names(noon_us));
    let now = |at_us| {
        let found = stream.locate_now(at_us)?;
        Some((found.index.run, found.position, found.record, found.end_us))
    };
    let questions = || (0..2000).map(|n| day_us + n * 43_199_913);
    let answered = questions().filter(|at_us| now(*at_us).is_some()).count();
    assert!(answered > 1990, "{answered} of 2000");
    // The same as who looks at all indexes of both days finds.
    for at_us in questions() {
        let found = stream.at(at_us).unwrap().unwrap();
        let all = Some((found.index.run, found.position, found.record, found.end_us));
        assert!(now(at_us).is_none_or(|found| Some(found) == all), "{at_us}");
    }
    // Another run shows some of that day, and of the next: it is to be asked.
    let later = RunId(uuid::Uuid::from_u128(10));
    let stream_dir = stream_dir(&root, ID);
    let mut index = stream.index_writer(&stream_dir, later, 1, day_us).unwrap();
    index.append(&Record { wall_start_us: noon_us, ..names(noon_us).2 }).unwrap();
    assert!(now(noon_us).is_none());
    assert_eq!(names(noon_us).0, later);
    let next_us = noon_us + DAY_US;
    let _ = (names(next_us), names(next_us));
    assert!(now(next_us).is_none(), "the day before has another run's");
}

#[test]
fn a_seek_that_waits_for_nothing_gives_no_damaged_record() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    indexes(&RealFs, &root, 1);
    let store = Store::open(Arc::new(RealFs), clock(), std::slice::from_ref(&root), true).unwrap();
    let stream = store.stream(ID).unwrap().unwrap();
    let noon_us = FIRST_DAY + DAY_US / 2;
    for _ in 0..3 {
        stream.locate(noon_us, Mode::At).unwrap().unwrap();
    }
    let found = stream.locate_now(noon_us).unwrap();
    let offset = HEADER_LEN + found.position * RECORD_LEN as u64 + 8;
    RealFs.open_rw(found.index.path()).unwrap().write_all_at(&[0xff], offset).unwrap();
    assert!(stream.locate_now(noon_us).is_none());
    assert!(stream.locate(noon_us, Mode::At).is_err());
    // What is gone is not asked, open or not.
    assert!(stream.locate_now(noon_us + 60 * SECOND_US).is_some());
    std::fs::rename(&root, dir.path().join("away")).unwrap();
    store.look_at_disks();
    assert!(stream.locate_now(noon_us + 60 * SECOND_US).is_none());
}

#[test]
fn a_rebuild_reads_each_sealed_segment_once() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(601);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.sync().unwrap();
    let counted = Counted::over(Arc::new(node.fs.clone()));
    let report = rebuild(&counted, &roots()).unwrap();
    assert!(report.segments >= 12 && report.problems.is_empty(), "{report:?}");
    assert_eq!(counted.calls.take().reads, report.segments);
}

#[test]
fn a_clip_is_a_read_for_each_fragment_and_a_few_for_each_segment() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(601);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.sync().unwrap();
    let counted = Counted::over(Arc::new(node.fs.clone()));
    let calls = counted.calls.clone();
    let store = Store::open(Arc::new(counted), clock(), &roots(), true).unwrap();
    let (start_us, end_us) = store.stream(ID).unwrap().unwrap().range().unwrap().unwrap();
    calls.take();
    let fragments = store.fragments(ID, start_us, end_us).unwrap().len() as u64;
    let segments = store.segments_for(ID, start_us, end_us).unwrap();
    let (planned, files) = (calls.take(), segments.len() as u64);
    assert!(files >= 12 && fragments > files, "{files} segments, {fragments} fragments");
    assert_eq!(planned.opens, files);
    // Their footers; and a few of the index.
    assert!(planned.reads <= files + 8, "{planned:?} for {files} segments");
    let plan = clip::plan(ID, &segments, start_us, end_us, true).unwrap();
    let dir = tempfile::tempdir().unwrap();
    plan.parts[0].save(&dir.path().join("clip.mp4"), false).unwrap();
    let saved = calls.take();
    // In one block: the clip is small.
    assert!(saved.reads <= fragments, "{saved:?} for {fragments} fragments");
    assert_eq!(Calls { reads: 0, read_bytes: 0, ..saved }, Calls::default(), "segments stay open");
}

/// A sync for each of hundreds of streams would keep readers and cameras waiting; the recorder's first
/// pass makes all of it durable at once, before the watermark moves.
#[test]
fn opening_after_a_kill_waits_for_no_disk() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(301);
    node.recorder.sync().unwrap();
    node.pictures(37);
    let opened = |fs: &SimFs| {
        let counted = Counted::over(Arc::new(fs.clone()));
        let calls = counted.calls.clone();
        let clock = Arc::new(crate::time::SimClock::at(node.clock.now().wall_us));
        (Store::open(Arc::new(counted), clock, &roots(), false).unwrap(), calls.take())
    };
    let killed = node.fs.after_kill();
    let (store, first) = opened(&killed);
    assert!(store.repairs.iter().any(|repair| repair.contains("sealed")), "{:?}", store.repairs);
    let (again, second) = opened(&killed);
    assert!(again.repairs.is_empty(), "{:?}", again.repairs);
    assert_eq!(first.syncs, second.syncs, "repairs are synced one by one");
    // The power fails before anything of it is durable: what was durable before is found.
    let durable = |store: &Store| store.fragments(ID, 0, i64::MAX).unwrap().len();
    for seed in 0..20 {
        let (after, _) = opened(&killed.after_power_failure(seed));
        assert!(durable(&after) >= 28, "{} of {}", durable(&after), durable(&store));
    }
}

/// Pictures of 20 KB, a tenth of a second each.
fn large_pictures(node: &mut Node, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let mut data = vec![number as u8; 20_004];
        data[..4].copy_from_slice(&20_000u32.to_be_bytes());
        data[4] = if number % 10 == 0 { 0x65 } else { 0x41 };
        let (pts_90k, arrival) = (number * 9000, node.clock.now());
        node.stream.video(AccessUnit { pts_90k, arrival, data: data.into() });
        node.clock.advance(SECOND_US / 10);
    }
    node.recorder.flush();
}

/// After a power failure the last quarter of an hour is looked at, and of its bytes only those are read
/// that came after the last pass: all of 200 cameras' would be 45 GB.
#[test]
fn a_power_failure_costs_the_bytes_that_were_not_durable() {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    for second in (0..50).step_by(2) {
        large_pictures(&mut node, second * 10..second * 10 + 20);
        node.recorder.sync().unwrap();
    }
    large_pictures(&mut node, 500..525);
    let opened = |fs: &SimFs| {
        let counted = Counted::over(Arc::new(fs.clone()));
        let calls = counted.calls.clone();
        let clock = Arc::new(crate::time::SimClock::at(node.clock.now().wall_us));
        let store = Store::open(Arc::new(counted), clock, &roots(), false).unwrap();
        let problems =
            super::check::check(fs, &roots(), super::check::Depth::Digests).unwrap().problems;
        assert!(problems.is_empty(), "{problems:#?}");
        (store.fragments(ID, 0, i64::MAX).unwrap().len(), calls.take().read_bytes)
    };
    let written = 525 * 20_000;
    for seed in 0..10 {
        let after = node.fs.after_power_failure(seed);
        let unmarked = after.after_power_failure(seed);
        unmarked.remove_file(&roots()[0].join(".durable")).unwrap();
        let (found, read) = opened(&after);
        assert!((48..=53).contains(&found), "{found}");
        // What lies behind the mark, where it is torn more than once; and 64 KiB for each footer.
        assert!(read < written / 3, "{read} of {written}");
        let (_, all) = opened(&unmarked);
        assert!(all > written * 9 / 10, "{all} of {written}");
    }
}
