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
use crate::media::MediaSink;
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
            assert_eq!(again, Calls { reads: 1, ..Calls::default() }, "a day that is open");
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
    assert_eq!(Calls { reads: 0, ..saved }, Calls::default(), "segments stay open");
}
