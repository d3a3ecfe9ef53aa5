//! Disks that fail, fill up, are read-only or gone: only what lies on them suffers, goes on
//! elsewhere, and says so in words. And what a hard disk has to do for 200 cameras.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::camera::Camera;
use super::day::{Day, stream};
use super::node::{Node, ROOTS};
use super::steps::Step;
use crate::fs::FileSystem;
use crate::fs::sim::{EIO, ENOSPC, EROFS, Fault, HardDisk, SimFs};
use crate::ids::{SeededEntropy, StreamId, StreamKind};
use crate::live::Hub;
use crate::media::MediaSink;
use crate::reason::Reason;
use crate::record::Recorder;
use crate::record::disk::RecordOptions;
use crate::store::sacrifice::User;
use crate::store::{Gap, Span, Store};
use crate::time::{Clock, SECOND_US, SimClock};

/// How many segments of a stream lie under each root.
fn lie(day: &Day, id: StreamId) -> [usize; 2] {
    let dir = |root: &&str| {
        let dir = crate::store::layout::stream_dir(Path::new(root), id);
        let segment = |(path, _): &(std::path::PathBuf, Vec<u8>)| {
            path.starts_with(&dir) && path.extension().is_some_and(|e| e == "mp4")
        };
        day.files().iter().filter(|f| segment(f)).count()
    };
    [dir(&ROOTS[0]), dir(&ROOTS[1])]
}

/// Three streams are recorded; the disk of the first fails; which one that is, and what lay where.
fn with_failed_disk(errno: i32) -> (Day, usize, BTreeMap<StreamId, [usize; 2]>) {
    let mut day = Day::drifting();
    (0..3).for_each(|n| day.carry_out(&Step::Up(n)));
    day.carry_out(&Step::Record(22));
    let before: BTreeMap<_, _> = day.ids().iter().map(|id| (*id, lie(&day, *id))).collect();
    let failed = usize::from(before[&day.ids()[0]][0] == 0);
    day.carry_out(&Step::Fault { root: failed, op: "change", errno, after: 0, short: true });
    (day, failed, before)
}

#[test]
fn streams_are_spread_over_disks_by_their_room() {
    let clock = Arc::new(SimClock::at(0));
    let fs = SimFs::default();
    for (root, size) in ROOTS.iter().zip([3u64 << 40, 1 << 40]) {
        fs.create_dir_all(Path::new(root)).unwrap();
        fs.set_disk(Path::new(root), size);
    }
    let ids: Vec<StreamId> = (1..=200).map(|n| stream(n, StreamKind::Main)).collect();
    let node = Node::start(&fs, &clock, &ids, 1).unwrap();
    let of = |root: usize| {
        let root = Path::new(ROOTS[root]);
        ids.iter().filter(|id| node.store.stream_for_writing(**id).unwrap().1.path == root).count()
    };
    assert!((149..=151).contains(&of(0)), "{} and {}", of(0), of(1));
}

#[test]
fn when_a_disk_fails_its_streams_move_and_say_so() {
    for (errno, reason) in
        [(EIO, Reason::DISK_ERROR), (ENOSPC, Reason::DISK_FULL), (EROFS, Reason::DISK_ERROR)]
    {
        let (mut day, failed, before) = with_failed_disk(errno);
        let events = day.hub().watch_events();
        let failed_at = day.now_us();
        day.carry_out(&Step::Record(30));
        let trouble = |day: &Day| day.store().roots()[failed].trouble();
        let told = trouble(&day).unwrap();
        assert_eq!(told.reason, reason, "{told:?}");
        let usage = day.store().disk_usage().unwrap();
        assert_eq!(usage[failed].trouble.as_ref().unwrap().reason, reason);
        assert!(usage[1 - failed].trouble.is_none());
        let events = events.take();
        for (id, before) in &before {
            let (now, well) = (lie(&day, *id), before[1 - failed] > 0);
            assert!(now[1 - failed] > before[1 - failed], "{id}: {before:?} {now:?}");
            let coverage =
                day.store().coverage(*id, failed_at - 9 * SECOND_US, day.now_us()).unwrap();
            let gaps: Vec<_> =
                coverage.gaps.iter().filter(|g| g.reason != Reason::PENDING).collect();
            let lost = events.iter().any(|e| e.stream == *id && e.kind == "footage_lost");
            if well {
                assert!(gaps.is_empty() && !lost, "{id} lies on a disk that is well: {gaps:?}");
            } else {
                assert!(lost, "{id}: nobody was told");
                assert!(gaps.iter().all(|g| g.reason == reason), "{id}: {gaps:?}");
                let missing: i64 = gaps.iter().map(|g| g.end_us - g.start_us).sum();
                assert!((1..8 * SECOND_US).contains(&missing), "{id}: {missing} us: {gaps:?}");
            }
        }
        // The disk comes back, and everything on it is still there.
        day.carry_out(&Step::Mend);
        day.end();
        let after: usize = before.keys().map(|id| lie(&day, *id)[failed]).sum();
        let was: usize = before.values().map(|b| b[failed]).sum();
        assert!(after >= was, "{was} {after}");
    }
}

#[test]
fn a_disk_that_was_full_is_used_again_when_it_has_room() {
    let (mut day, full, before) = with_failed_disk(ENOSPC);
    day.fill(full);
    day.carry_out(&Step::Record(100));
    day.carry_out(&Step::Mend);
    let troubled = |day: &Day| {
        day.store().look_at_disks();
        day.store().roots()[full].trouble().is_some()
    };
    assert!(troubled(&day), "it still has no room");
    let meanwhile: BTreeMap<_, _> = before.keys().map(|id| (*id, lie(&day, *id)[full])).collect();
    day.unfill();
    assert!(!troubled(&day), "nobody writes there who would notice");
    day.carry_out(&Step::Record(10));
    assert!(meanwhile.iter().any(|(id, then)| lie(&day, *id)[full] > *then), "none came back");
    day.end();
}

#[test]
fn when_a_disk_is_unmounted_its_streams_move_and_nothing_is_lost() {
    let mut day = Day::drifting();
    (0..3).for_each(|n| day.carry_out(&Step::Up(n)));
    day.carry_out(&Step::Record(22));
    let before: BTreeMap<_, _> = day.ids().iter().map(|id| (*id, lie(&day, *id))).collect();
    let (gone, at_us) = (usize::from(before[&day.ids()[0]][0] == 0), day.now_us());
    day.mount(gone, 1);
    day.carry_out(&Step::Sync);
    let told = day.store().roots()[gone].trouble().unwrap();
    assert!(told.reason == Reason::DISK_ERROR && told.detail.contains("unmounted"), "{told:?}");
    let events = day.hub().watch_events();
    day.carry_out(&Step::Record(30));
    let events = events.take();
    for (id, before) in &before {
        let now = lie(&day, *id);
        assert_eq!(now[gone], before[gone], "{id}: nothing is begun where the disk was");
        assert!(now[1 - gone] > before[1 - gone], "{id}: {before:?} {now:?}");
        let moved = |e: &&crate::live::StreamEvent| {
            e.stream == *id && e.reason == Some(Reason::DISK_ERROR) && e.detail.contains("moved to")
        };
        assert_eq!(events.iter().filter(moved).count(), usize::from(before[gone] > 0), "{id}");
    }
    // It is there again, as it was.
    day.mount(gone, 0);
    day.carry_out(&Step::Sync);
    assert!(day.store().roots()[gone].trouble().is_none());
    for id in before.keys() {
        let coverage = day.store().coverage(*id, at_us, day.now_us()).unwrap();
        let lost: Vec<_> = coverage.gaps.iter().filter(|g| g.reason != Reason::PENDING).collect();
        // No picture: delays are known from another stretch of time.
        assert!(lost.iter().all(|g| g.end_us - g.start_us < 50_000), "{id}: {lost:?}");
    }
    day.end();
}

/// What a stream's answers say of everything until an instant: its spans, what is unknown of the
/// rest, and how many fragments and segments are found.
fn told(day: &Day, id: StreamId, until_us: i64) -> (Vec<Span>, Vec<Gap>, usize, usize) {
    let coverage = day.store().coverage(id, 1, until_us).unwrap();
    let unknown: Vec<_> = coverage.gaps.iter().filter(|g| g.unknown).cloned().collect();
    assert_eq!(day.store().unknown(id, 1, until_us).unwrap(), unknown, "{id}");
    let fragments = day.store().fragments(id, 1, until_us).unwrap().len();
    let segments = day.store().segments_for(id, 1, until_us).unwrap().len();
    // By what reading found, and not only by what was known before.
    let coverage = day.store().coverage(id, 1, until_us).unwrap();
    let unknown = coverage.gaps.iter().filter(|g| g.unknown).cloned().collect();
    (coverage.spans, unknown, fragments, segments)
}

/// What was recorded on a disk is told as unknown, for a disk that is lost in some way; once it is
/// back, everything is as before.
fn is_told_as_unknown(lose: impl Fn(&mut Day, usize), find: impl Fn(&mut Day, usize)) {
    let mut day = Day::drifting();
    (0..3).for_each(|n| day.carry_out(&Step::Up(n)));
    day.carry_out(&Step::Record(22));
    day.carry_out(&Step::Restart);
    let (ids, until_us) = (day.ids(), day.now_us());
    let gone = usize::from(lie(&day, ids[0])[0] == 0);
    let before: Vec<_> = ids.iter().map(|id| told(&day, *id, until_us)).collect();
    lose(&mut day, gone);
    for (id, before) in ids.iter().zip(&before) {
        let (spans, unknown, fragments, segments) = told(&day, *id, until_us);
        if lie(&day, *id)[gone] == 0 {
            assert_eq!((&spans, unknown.len()), (&before.0, 0), "{id} lies elsewhere");
            continue;
        }
        assert!(spans.is_empty() && fragments + segments == 0, "{id}: {spans:?}");
        assert!(!unknown.is_empty(), "{id}: nobody says that something is missing");
        let is_unknown = |at| unknown.iter().any(|u| u.start_us <= at && at < u.end_us);
        for span in &before.0 {
            assert!(is_unknown(span.start_us) && is_unknown(span.end_us - 1), "{id}: {unknown:?}");
        }
        let root = ROOTS[gone];
        assert!(unknown.iter().all(|u| u.reason == Reason::DISK_ERROR && u.detail.contains(root)));
        // Whoever plans by it has to ask.
        let range = day.store().stream(*id).unwrap().unwrap().range().unwrap().unwrap();
        let known = (before.0[0].start_us, before.0[before.0.len() - 1].end_us);
        assert!(range.0 <= known.0 && range.1 >= known.1, "{id}: {range:?} {known:?}");
    }
    find(&mut day, gone);
    let after: Vec<_> = ids.iter().map(|id| told(&day, *id, until_us)).collect();
    assert_eq!(after, before);
    day.end();
}

#[test]
fn what_lies_on_a_disk_that_is_unmounted_is_told_as_unknown() {
    let lose = |day: &mut Day, gone| {
        day.mount(gone, 1);
        day.carry_out(&Step::Sync);
    };
    let find = |day: &mut Day, gone| {
        day.mount(gone, 0);
        day.carry_out(&Step::Sync);
    };
    is_told_as_unknown(lose, find);
}

#[test]
fn what_a_disk_does_not_let_us_read_is_told_as_unknown() {
    for op in ["list", "open", "read"] {
        let lose = |day: &mut Day, gone: usize| {
            // Nobody has asked yet: no index is open.
            for stream in day.store().streams() {
                stream.days().into_iter().for_each(|at| stream.forget_day(at, false));
            }
            day.fail_at(Fault::of(op, ROOTS[gone], EIO));
        };
        let find = |day: &mut Day, _| {
            day.carry_out(&Step::Mend);
            day.carry_out(&Step::Sync);
            day.advance(31);
        };
        is_told_as_unknown(lose, find);
    }
}

/// Two streams that are recorded on one disk, for lack of room on the other.
fn two_on_one_disk() -> Day {
    let mut day = Day::scripted();
    day.fill(1);
    day.carry_out(&Step::Restart);
    (0..2).for_each(|n| day.carry_out(&Step::Up(n)));
    day.carry_out(&Step::Record(10));
    day
}

/// Where that disk does nothing for a while: what of each is given up.
fn given_up_in(stall_s: i64) -> [i64; 2] {
    let mut day = two_on_one_disk();
    let from_us = day.now_us();
    day.carry_out(&Step::Stall(0, stall_s));
    day.look();
    let ids = day.ids();
    [0, 1].map(|n| {
        assert!(lie(&day, ids[n])[0] > 0, "{} lies on another disk", ids[n]);
        let coverage = day.store().coverage(ids[n], from_us, day.now_us()).unwrap();
        let lost = coverage.gaps.iter().filter(|g| g.reason == Reason::OVERLOAD);
        lost.map(|g| g.end_us - g.start_us).sum()
    })
}

#[test]
fn of_a_disk_that_is_too_slow_sub_streams_are_given_up_before_main_streams() {
    let lost: Vec<[i64; 2]> = (0..60).step_by(3).map(given_up_in).collect();
    let first = |n: usize| lost.iter().position(|lost| lost[n] > 0).unwrap();
    let (main, sub) = (first(0), first(1));
    assert!(0 < sub && sub < main, "{lost:?}");
}

/// The same disk: whether, after so long, it is left to recording by who copies, and by who reads.
fn left_to_recording_after(stall_s: i64) -> [bool; 2] {
    let mut day = two_on_one_disk();
    let id = day.ids()[0];
    let first = &day.store().fragments(id, 0, i64::MAX).unwrap()[0];
    let (path, record) = (first.segment_path(), first.record);
    let read = |day: &Day| day.store().read_fragment(id, &path, record.offset, record.sequence);
    let clip = |day: &Day| day.store().segments_for(id, record.wall_start_us, record.wall_end_us());
    assert!(read(&day).is_ok() && clip(&day).is_ok());
    day.stall(0, stall_s);
    let backlog = &day.store().roots()[0].backlog;
    let background = !backlog.is_for(User::Background);
    let refused = |e: &crate::Error| matches!(e, crate::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy);
    let reader = read(&day).is_err_and(|e| refused(&e));
    assert_eq!(reader, clip(&day).is_err_and(|e| refused(&e)));
    day.flush();
    assert!(read(&day).is_ok(), "it has time again");
    assert!(
        day.store().unknown(id, 0, i64::MAX).unwrap().is_empty(),
        "that is no fault of the disk"
    );
    [background, reader]
}

#[test]
fn of_a_disk_that_is_too_slow_who_copies_gives_way_first_then_who_reads_then_streams() {
    let stalls = || 0..40;
    let first = |gives_way: &dyn Fn(i64) -> bool| stalls().find(|s| gives_way(*s)).unwrap();
    let background = first(&|s| left_to_recording_after(s)[0]);
    let reader = first(&|s| left_to_recording_after(s)[1]);
    let sub = first(&|s| given_up_in(s)[1] > 0);
    let main = first(&|s| given_up_in(s)[0] > 0);
    let order = [background, reader, sub, main];
    assert!(0 < background && order.is_sorted_by(|a, b| a < b), "{order:?}");
}

#[test]
fn without_another_disk_footage_is_lost_loudly_and_comes_back() {
    let (mut day, failed, _) = with_failed_disk(ENOSPC);
    day.fill(1 - failed);
    let (id, full_at) = (day.ids()[0], day.now_us());
    day.carry_out(&Step::Record(20));
    day.unfill();
    day.carry_out(&Step::Mend);
    let coverage = day.store().coverage(id, full_at, day.now_us()).unwrap();
    let told: Vec<_> = coverage.gaps.iter().filter(|g| g.reason == Reason::DISK_FULL).collect();
    let lost: i64 = told.iter().map(|g| g.end_us - g.start_us).sum();
    assert!(lost > 15 * SECOND_US, "{coverage:?}");
    day.end();
}

#[test]
fn a_store_opens_without_one_of_its_disks() {
    for (op, errno) in [("", EIO), ("change", EROFS)] {
        let (mut day, failed, before) = with_failed_disk(errno);
        let at = day.now_us();
        day.carry_out(&Step::Mend);
        let fault = Fault::of(op, ROOTS[failed], errno);
        day.restart_with(vec![fault]);
        let told = day.store().roots()[failed].trouble().unwrap();
        assert_eq!(told.reason, Reason::DISK_ERROR);
        assert!(!told.detail.is_empty());
        (0..3).for_each(|n| day.carry_out(&Step::Up(n)));
        day.carry_out(&Step::Record(20));
        for (id, before) in &before {
            let found = day.store().fragments(*id, at, i64::MAX).unwrap();
            assert!(found.len() > 6, "{id}: {} fragments", found.len());
            assert!(lie(&day, *id)[1 - failed] > before[1 - failed], "{id}");
        }
        // What lies on a disk that is only read-only can still be seen.
        let old = day.store().fragments(day.ids()[0], 0, at).unwrap();
        assert_eq!(old.is_empty(), op.is_empty(), "{op}");
        day.restart_with(Vec::new());
        day.end();
    }
}

/// Passes for 200 cameras on a simulated hard disk, each 2 s after the one before, as in a node. Each file
/// costs a seek of 10 ms, as if the disk did not order them: a pass takes 4 to 5 s, longer than the wait
/// between two, and no longer from pass to pass. So a power cut costs at most 2 s and two passes: 12 s of
/// footage. The bytes come on top, at 150 MB/s: of these pictures next to none, of 200 cameras at 2 Mbit/s a
/// third of all the time.
#[test]
fn a_pass_of_200_cameras_takes_a_hard_disk_four_to_five_seconds() {
    let (fs, clock) = (SimFs::default(), Arc::new(SimClock::at(1_795_478_400 * SECOND_US)));
    fs.create_dir_all(Path::new("/store")).unwrap();
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let store = Arc::new(Store::open(shared, clock.clone(), &["/store".into()], false).unwrap());
    let options =
        RecordOptions { sync_interval: Duration::from_secs(1 << 20), ..RecordOptions::default() };
    let entropy = Arc::new(SeededEntropy::new(1));
    let recorder = Recorder::by_hand(store, Arc::new(Hub::new().unwrap()), options, entropy);
    let mut cameras: Vec<_> = (1..=200)
        .map(|n| {
            let camera = Camera::new(stream(n, StreamKind::Main), 500_000, 4, 0);
            let recorder = recorder.stream(camera.id, 0).unwrap();
            (camera, recorder)
        })
        .collect();
    for (camera, recorder) in &mut cameras {
        camera.connect(clock.now(), 0);
        recorder.begin(clock.now(), camera.params(), None);
    }
    let mut passes = Vec::new();
    for _ in 0..14 {
        // The default.
        clock.advance(2 * SECOND_US);
        let now = clock.now();
        for (camera, recorder) in &mut cameras {
            for (_, unit) in camera.pictures(now, 0, &|_| 0) {
                recorder.video(unit);
            }
        }
        recorder.flush();
        fs.set_hard_disk(HardDisk::new(Some(clock.clone())));
        recorder.sync().unwrap();
        let disk = fs.hard_disk();
        passes.push((disk.seeks, disk.busy_us));
    }
    // A segment and an index a camera, the watermark, and what is marked; segments of a minute end in turn: 22
    // in six and a half seconds, and for each another is begun and its folder synced.
    let usual = 2 * 200 + 2;
    let takes = 4_000_000..5_000_000;
    // At first folders are made, and more comes while that takes its time.
    for (seeks, busy_us) in &passes[3..] {
        assert!(*seeks <= usual + 3 * 22 && takes.contains(busy_us), "{passes:?}");
    }
}
