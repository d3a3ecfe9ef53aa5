//! Retention beside a reference that anybody can read: rotation, limits of groups and of the node, free
//! space, holds, clocks that are set, cameras whose clocks drift.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::day::Day;
use super::node::ROOTS;
use super::steps::Step;
use crate::ids::{CameraId, StreamId};
use crate::store::layout::{parse_day, parse_segment_name};
use crate::store::{GroupLimits, Limits};
use crate::time::SECOND_US;

#[derive(Clone, Debug)]
struct Segment {
    id: StreamId,
    start_us: i64,
    bytes: u64,
    /// Held, or being written.
    stays: bool,
}

/// All segments that readers are shown, by path.
fn segments(day: &Day) -> BTreeMap<PathBuf, Segment> {
    let mut found = BTreeMap::new();
    for stream in day.store().streams() {
        let (visible, writing) = (stream.visible(), stream.open_segment_start_us());
        for (path, bytes) in day.files() {
            let name = |n: usize| path.ancestors().nth(n).and_then(|p| p.file_name()?.to_str());
            let Some((ms, run)) = name(0).and_then(parse_segment_name) else { continue };
            let start_us = name(1).and_then(parse_day).unwrap() + i64::from(ms) * 1000;
            let of_stream = stream.dirs().iter().any(|d| path.starts_with(d));
            if of_stream && visible.shows_segment(&path, run, start_us) {
                let stays = visible.holds(&path, run, start_us) || start_us >= writing;
                let bytes = bytes.len() as u64;
                found.insert(path, Segment { id: stream.id, start_us, bytes, stays });
            }
        }
    }
    found
}

/// Bytes of files under a root: of all, or of those that retention may write to while it deletes.
fn bytes_under(day: &Day, root: &str, of: impl Fn(&Path) -> bool) -> u64 {
    let under = |(path, _): &(PathBuf, Vec<u8>)| path.starts_with(root) && of(path);
    day.files().iter().filter(|f| under(f)).map(|(_, bytes)| bytes.len() as u64).sum()
}

fn logs_under(day: &Day, root: &str) -> u64 {
    bytes_under(day, root, |path| path.ends_with("events"))
}

fn free_under(day: &Day, root: &str) -> u64 {
    DISK - bytes_under(day, root, |_| true)
}

/// What is left when, on each root, the oldest of that root go until so much is free.
fn free(day: &Day, all: &BTreeMap<PathBuf, Segment>, min: u64) -> BTreeSet<PathBuf> {
    let of_root = |root: &str| {
        let mut here = all.clone();
        here.retain(|path, _| path.starts_with(root));
        let missing = min.saturating_sub(free_under(day, root));
        let bytes: u64 = here.values().map(|s| s.bytes).sum();
        shrink(&mut here, bytes.saturating_sub(missing), |_| true);
        here.into_keys()
    };
    ROOTS.into_iter().flat_map(of_root).collect()
}

/// What is left when the oldest go until no more than `max` bytes are.
fn shrink(all: &mut BTreeMap<PathBuf, Segment>, max: u64, of: impl Fn(&Segment) -> bool) {
    loop {
        let total: u64 = all.values().filter(|s| of(s)).map(|s| s.bytes).sum();
        let oldest = all.values().filter(|s| of(s) && !s.stays).map(|s| s.start_us).min();
        let Some(oldest) = oldest.filter(|_| total > max) else { return };
        // Segments have no order within a millisecond.
        all.retain(|_, s| !(of(s) && !s.stays && s.start_us == oldest));
    }
}

fn reference(
    mut all: BTreeMap<PathBuf, Segment>,
    now_us: i64,
    limits: Limits,
    groups: &[GroupLimits],
) -> BTreeSet<PathBuf> {
    all.retain(|_, s| {
        let of_camera = groups.iter().filter(|g| g.cameras.contains(&s.id.camera));
        let age = of_camera.filter_map(|g| g.max_age_us).min().or(limits.max_age_us);
        s.stays || age.is_none_or(|age| s.start_us >= now_us - age)
    });
    for group in groups {
        let max = group.max_bytes.unwrap_or(u64::MAX);
        shrink(&mut all, max, |s| group.cameras.contains(&s.id.camera));
    }
    shrink(&mut all, limits.max_bytes.unwrap_or(u64::MAX), |_| true);
    all.into_keys().collect()
}

/// What a disk holds.
const DISK: u64 = 1 << 40;

fn limit(max: u64) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (0..max).prop_map(Some)]
}

fn limits() -> impl Strategy<Value = (Limits, Vec<GroupLimits>)> {
    let age = || limit(90).prop_map(|age| age.map(|s| s as i64 * SECOND_US));
    let cameras = proptest::collection::btree_set(
        (1u128..3).prop_map(|n| CameraId(uuid::Uuid::from_u128(n))),
        1..3,
    );
    let group = (cameras, age(), limit(60_000)).prop_map(|(cameras, max_age_us, max_bytes)| {
        GroupLimits { cameras, max_age_us, max_bytes }
    });
    // A disk's files are footage, indexes, logs, and 64 KiB and more of marks.
    let node = (age(), limit(120_000), limit(200_000)).prop_map(|(max_age_us, max_bytes, used)| {
        let min_free_bytes = used.map(|used| DISK - used);
        Limits { max_age_us, max_bytes, min_free_bytes }
    });
    (node, proptest::collection::vec(group, 0..3))
}

#[derive(Clone, Debug)]
enum Act {
    Step(Step),
    Retain(Limits, Vec<GroupLimits>),
}

fn act() -> impl Strategy<Value = Act> {
    let step = prop_oneof![
        6 => (5i64..25).prop_map(Step::Record),
        2 => (0usize..3).prop_map(Step::Up),
        1 => (0usize..3).prop_map(|n| Step::Down(n, crate::reason::Reason::SILENT)),
        1 => prop_oneof![-40_000i64..40_000, -3_600_000_000i64..3_600_000_000].prop_map(Step::SetClock),
        2 => (0usize..3, 0i64..90, 1i64..60).prop_map(|(camera, back, lasts)| Step::Hold {
            camera, back_us: back * SECOND_US, lasts_us: lasts * SECOND_US,
        }),
        1 => Just(Step::Release),
        1 => Just(Step::Restart),
        1 => Just(Step::Sync),
    ];
    prop_oneof![
        3 => step.prop_map(Act::Step),
        1 => limits().prop_map(|(node, groups)| Act::Retain(node, groups)),
    ]
}

/// The same cases each time, as with the days' seeds; others when more are asked for.
fn config() -> ProptestConfig {
    let more = std::env::var_os("PROPTEST_CASES").is_some();
    let rng_seed = if more { RngSeed::Random } else { RngSeed::Fixed(1) };
    ProptestConfig { cases: ProptestConfig::default().cases / 4, rng_seed, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn retention_deletes_what_is_too_much_and_nothing_else(
        acts in proptest::collection::vec(act(), 5..40),
    ) {
        let mut day = Day::drifting();
        day.unfill();
        (0..3).for_each(|n| day.carry_out(&Step::Up(n)));
        for act in acts {
            match act {
                Act::Step(step) => day.carry_out(&step),
                Act::Retain(limits, groups) => {
                    day.carry_out(&Step::Record(0));
                    // How much is free after the other limits hang on what their deletion writes.
                    let others = Limits { min_free_bytes: None, ..limits };
                    let mut expected = reference(segments(&day), day.now_us(), others, &groups);
                    day.retain(others, &groups);
                    let left: BTreeSet<PathBuf> = segments(&day).into_keys().collect();
                    prop_assert_eq!(&left, &expected, "{:?} {:?}", limits, groups);
                    if let Some(min) = limits.min_free_bytes {
                        // Indexes of a day that this pass emptied may go with the next one only.
                        day.retain(others, &groups);
                        expected = free(&day, &segments(&day), min);
                        let logs = ROOTS.map(|root| logs_under(&day, root));
                        day.retain(limits, &groups);
                        let after = segments(&day);
                        let left: BTreeSet<PathBuf> = after.keys().cloned().collect();
                        prop_assert_eq!(&left, &expected, "{:?} {:?}", limits, groups);
                        for (root, logs) in ROOTS.iter().zip(logs) {
                            // But for what was written to say so.
                            let said = logs_under(&day, root) - logs;
                            let enough = free_under(&day, root) + said >= min;
                            let mut here = after.iter().filter(|(path, _)| path.starts_with(root));
                            prop_assert!(enough || here.all(|(_, s)| s.stays), "{} {:?}", root, limits);
                        }
                    }
                    let on_disk = day.files().into_iter().map(|(path, _)| path);
                    let on_disk: BTreeSet<PathBuf> =
                        on_disk.filter(|p| p.extension().is_some_and(|e| e == "mp4")).collect();
                    prop_assert_eq!(&on_disk, &expected, "what is not shown is gone");
                }
            }
            day.look();
        }
    }
}
