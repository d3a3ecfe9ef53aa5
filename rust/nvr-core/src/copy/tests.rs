//! Copies read as the originals do, whatever comes between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::CopyWriter;
use crate::Error;
use crate::fs::FileSystem;
use crate::fs::sim::SimFs;
use crate::media::MediaSink;
use crate::reason::Reason;
use crate::record::tests::{ID, Node, T0, clock, roots};
use crate::segment::fragment::CRC_FROM;
use crate::segment::fragment::tests::rewritten;
use crate::segment::read::init_segment;
use crate::store::check::{Depth, check, rebuild};
use crate::store::{Limits, Store};
use crate::time::{Clock, SECOND_US, SimClock};

/// A fragment as ReadFragments gives it: the head of its segment, and its bytes.
type Given = (Vec<u8>, Vec<u8>);

/// A recorder whose camera was away for a while: two runs, over midnight, in segments of 5 s.
fn original() -> Node {
    let mut node = Node::start(SimFs::default(), clock()).unwrap();
    node.begin();
    node.pictures(401);
    node.stream.end(node.clock.now(), Reason::SILENT, "nothing for 10 s");
    node.clock.advance(20 * SECOND_US);
    node.begin();
    node.pictures(151);
    node.stream.end(node.clock.now(), Reason::REFUSED, "port closed");
    node.clock.advance(20 * SECOND_US);
    node.recorder.sync().unwrap();
    node
}

fn given(node: &Node) -> Vec<Given> {
    let found = node.store.fragments(ID, 0, i64::MAX).unwrap();
    let one = |f: &crate::store::Located| {
        let path = f.segment_path();
        let segment = node.store.segment_of(ID, &path).unwrap();
        let init = init_segment(&segment.file, segment.table.run).unwrap();
        let (offset, sequence) = (f.record.offset, f.record.sequence);
        (init, node.store.read_fragment(ID, &path, offset, sequence).unwrap())
    };
    found.iter().map(one).collect()
}

/// A node that keeps copies.
struct Keeper {
    fs: SimFs,
    store: Arc<Store>,
    writer: CopyWriter,
}

impl Keeper {
    fn start(fs: SimFs, clock: Arc<SimClock>) -> Self {
        let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
        let store = Arc::new(Store::open(shared, clock, &roots(), false).unwrap());
        let writer = CopyWriter::new(store.clone(), ID).unwrap();
        Keeper { fs, store, writer }
    }

    fn add(&mut self, (init, fragment): &Given) {
        self.writer.add(init, fragment).unwrap();
    }

    fn copy<'a>(&mut self, of: impl IntoIterator<Item = &'a Given>) -> super::Copied {
        of.into_iter().for_each(|g| self.add(g));
        self.writer.flush().unwrap()
    }

    /// (run, sequence) of all fragments; each is read and checked.
    fn fragments(&self) -> Vec<(String, u32)> {
        let found = self.store.fragments(ID, 0, i64::MAX).unwrap();
        for f in &found {
            let (offset, sequence) = (f.record.offset, f.record.sequence);
            self.store.read_fragment(ID, &f.segment_path(), offset, sequence).unwrap();
        }
        found.iter().map(|f| (f.index.run.to_string(), f.record.sequence)).collect()
    }

    fn problems(&self) -> Vec<String> {
        check(&self.fs, &roots(), Depth::Digests).unwrap().problems
    }
}

/// Segments and indexes: what must be the same in a copy.
fn footage(fs: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let is_footage = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".mp4") || name.ends_with(".index") || name.ends_with(".new")
    };
    fs.files().into_iter().filter(|(path, _)| is_footage(path)).collect()
}

fn names(fragments: &[Given]) -> Vec<(String, u32)> {
    let name = |(init, bytes): &Given| {
        let head = super::read_head(init).unwrap();
        let piece = super::read_piece(&head, bytes, i64::MAX).unwrap();
        (head.run.to_string(), piece.sequence())
    };
    fragments.iter().map(name).collect()
}

#[test]
fn a_copy_is_the_same_to_the_byte() {
    let node = original();
    let all = given(&node);
    let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
    for batch in all.chunks(7) {
        let copied = keeper.copy(batch);
        assert_eq!(copied.fragments, batch.len() as u64);
    }
    assert_eq!(footage(&keeper.fs), footage(&node.fs));
    assert_eq!(keeper.problems(), Vec::<String>::new());
    let (from, until) = (T0, node.store.now_us());
    let ours = |store: &Store| store.coverage(ID, from, until).unwrap();
    assert_eq!(ours(&keeper.store).spans, ours(&node.store).spans);
    assert!(ours(&keeper.store).gaps.iter().all(|g| g.reason == Reason::NOT_COPIED));
    for gap in ours(&node.store).gaps {
        keeper.writer.absent(gap.start_us, gap.end_us, gap.reason, &gap.detail).unwrap();
    }
    assert_eq!(ours(&keeper.store), ours(&node.store));
    // Once more changes nothing.
    let before = keeper.fs.files();
    assert_eq!(keeper.copy(&all), super::Copied::default());
    assert_eq!(keeper.fs.files(), before);
    rebuild(&keeper.fs, &roots()).unwrap();
    assert_eq!(keeper.fs.files(), before);
}

#[test]
fn what_is_not_as_it_was_written_is_refused() {
    let node = original();
    let all = given(&node);
    let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
    let (init, good) = &all[3];
    let mut refuse = |init: &[u8], bytes: &[u8], why: &str| {
        let error = keeper.writer.add(init, bytes).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Refused(_)) && text.contains(why), "{text}");
    };
    let resealed = |at: usize, flip: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= flip;
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[24..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let last = good.len() - 1;
    let mut flipped = good.clone();
    flipped[last] ^= 1;
    refuse(init, &flipped, "fragment 3: it fails its CRC");
    refuse(init, &resealed(last, 1), "fragment 3: it fails its digest");
    // A wall time a century ahead, and one before its segment's.
    refuse(init, &resealed(33, 0x10), "fragment 3: it does not belong to its segment");
    refuse(init, &resealed(32, 0x80), "it does not belong to its segment");
    refuse(init, &good[..last], "it fails its CRC");
    refuse(init, &[], "no fragment");
    // A footer could not say how long they last: their top bit is another thing's.
    refuse(init, &rewritten(good, 1 << 31, &[]), "no fragment");
    refuse(init, &rewritten(good, 9000, &[Bytes::from_static(b"beep")]), "it has sound");
    refuse(&init[..40], good, "head");
    let mut other = init.clone();
    other[60] ^= 1;
    refuse(&other, good, "head");
    // Of another segment of the run, which starts later.
    let later = all.iter().find(|g| g.0 != *init).unwrap();
    refuse(&later.0, good, "it does not belong to its segment");
    assert_eq!(keeper.copy(&all[..5]).fragments, 5);
}

#[test]
fn another_fragment_of_a_name_that_is_held_is_refused() {
    let node = original();
    let all = given(&node);
    let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
    keeper.copy(&all[..9]);
    let before = keeper.fs.files();
    let (init, mut bytes) = all[4].clone();
    bytes[59] ^= 1;
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[24..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    keeper.add(&(init, bytes));
    keeper.add(&all[30]);
    let error = keeper.writer.flush().unwrap_err();
    assert!(error.to_string().contains("fragment 4: another of that name is held"), "{error}");
    // The other segment is copied all the same; the one refused is as it was.
    assert_eq!(keeper.fragments().len(), 10);
    let held = keeper.fs.files();
    let kept = before.iter().filter(|(p, _)| p.extension().is_some_and(|e| e == "mp4"));
    assert!(kept.into_iter().all(|file| held.contains(file)));
}

#[test]
fn a_run_that_is_recorded_here_is_not_copied_over() {
    let mut node = original();
    let all = given(&node);
    let mut writer = CopyWriter::new(node.store.clone(), ID).unwrap();
    writer.add(&all[0].0, &all[0].1).unwrap();
    let error = writer.flush().unwrap_err();
    assert!(error.to_string().contains("recorded that run itself"), "{error}");
    // Another node's run is kept beside it, while recording goes on.
    let other = original_later(&node);
    node.begin();
    node.pictures(30);
    for (init, fragment) in given(&other) {
        writer.add(&init, &fragment).unwrap();
    }
    writer.flush().unwrap();
    node.pictures(31);
    node.stream.end(node.clock.now(), Reason::SILENT, "");
    node.recorder.sync().unwrap();
    assert_eq!(node.problems(), Vec::<String>::new());
    let runs = node.store.runs(ID, 0, i64::MAX).unwrap();
    assert_eq!(runs.len(), 4, "{runs:?}");
}

/// Another node that recorded the same camera, with runs of its own.
fn original_later(node: &Node) -> Node {
    let clock = clock();
    clock.advance(7 * SECOND_US + 123);
    let mut other = Node::start(SimFs::default(), clock).unwrap();
    other.begin();
    other.pictures(101);
    other.stream.end(other.clock.now(), Reason::SILENT, "");
    other.recorder.sync().unwrap();
    assert!(other.clock.now().wall_us < node.clock.now().wall_us);
    other
}

#[test]
fn what_retention_has_deleted_does_not_come_back() {
    let node = original();
    let all = given(&node);
    let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
    keeper.copy(&all);
    let bytes = keeper.store.disk_usage().unwrap()[0].footage_bytes;
    let limits = Limits { max_bytes: Some(bytes / 2), ..Limits::default() };
    assert!(keeper.store.enforce_retention(limits).unwrap() > 2);
    let left = keeper.fragments();
    let copied = keeper.copy(&all);
    assert_eq!((copied.fragments, copied.expired), (0, (all.len() - left.len()) as u64));
    assert_eq!(keeper.fragments(), left);
    let gap = &keeper.store.coverage(ID, T0, T0 + 20 * SECOND_US).unwrap().gaps[0];
    assert_eq!(gap.reason, Reason::EXPIRED);
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let node = original();
    let all = given(&node);
    for room in (0..24_000).step_by(431) {
        let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
        let (first, rest) = all.split_at(17);
        keeper.copy(first.iter().filter(|g| **g != all[8]));
        let (held, problems) = (keeper.fragments(), keeper.problems());
        assert_eq!(problems, Vec::<String>::new());
        keeper.fs.set_room(Some(room));
        keeper.add(&all[8]);
        rest.iter().take(20).for_each(|g| keeper.add(g));
        let full = keeper.writer.flush();
        keeper.fs.set_room(None);
        match full {
            Ok(copied) => assert_eq!(copied.fragments, 21),
            Err(Error::Io { source, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
                let now = keeper.fragments();
                assert!(held.iter().all(|f| now.contains(f)), "{room}: {now:?}");
            }
            Err(e) => panic!("{e}"),
        }
        keeper.copy(&all);
        assert_eq!(keeper.problems(), Vec::<String>::new(), "{room}");
        assert_eq!(footage(&keeper.fs), footage(&node.fs), "{room}");
    }
}

/// Some fragments, in some order, in batches.
fn batches() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let batch = proptest::collection::vec(0usize..54, 1..12);
    proptest::collection::vec(batch, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any order, with holes, some twice: what is held reads as written, and in the end the
    /// files are the original's.
    #[test]
    fn copies_may_come_in_any_order(batches in batches()) {
        let node = original();
        let all = given(&node);
        let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
        let mut held = std::collections::BTreeSet::new();
        for batch in batches {
            held.extend(batch.iter().map(|n| n % all.len()));
            keeper.copy(batch.iter().map(|n| &all[n % all.len()]));
            let some: Vec<Given> = held.iter().map(|n| all[*n].clone()).collect();
            prop_assert_eq!(keeper.fragments(), names(&some));
            prop_assert_eq!(keeper.problems(), Vec::<String>::new());
        }
        keeper.copy(all.iter().rev());
        prop_assert_eq!(footage(&keeper.fs), footage(&node.fs));
    }

    /// What was acknowledged is found after a power failure or a kill in the middle of the next
    /// batch; nothing else but whole fragments is; and copying goes on to the same end.
    #[test]
    fn a_crash_loses_nothing_acknowledged(
        batches in batches(), seed in any::<u64>(), changes in 0u64..80, power in any::<bool>(),
    ) {
        let node = original();
        let all = given(&node);
        let mut keeper = Keeper::start(SimFs::default(), node.clock.clone());
        let mut durable = std::collections::BTreeSet::new();
        let (last, before) = batches.split_last().unwrap();
        for batch in before {
            durable.extend(batch.iter().map(|n| n % all.len()));
            keeper.copy(batch.iter().map(|n| &all[n % all.len()]));
        }
        keeper.fs.remember_after(changes);
        keeper.copy(last.iter().map(|n| &all[n % all.len()]));
        let crashed = keeper.fs.remembered();
        let fs = if power { crashed.after_power_failure(seed) } else { crashed.after_kill() };
        let mut after = Keeper::start(fs, node.clock.clone());
        let found = after.fragments();
        let some: Vec<Given> = durable.iter().map(|n| all[*n].clone()).collect();
        for name in names(&some) {
            prop_assert!(found.contains(&name), "{name:?} is not in {found:?}");
        }
        prop_assert_eq!(after.problems(), Vec::<String>::new());
        let coverage = after.store.coverage(ID, T0, after.store.now_us()).unwrap();
        let lies = coverage.gaps.iter().any(|g| g.reason == Reason::RECORDER_CRASHED);
        prop_assert!(!lies, "{coverage:?}");
        after.copy(&all);
        prop_assert_eq!(after.problems(), Vec::<String>::new());
        prop_assert_eq!(footage(&after.fs), footage(&node.fs));
    }
}
