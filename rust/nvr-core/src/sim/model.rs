//! What must be true: of what was sent, acknowledged, held and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::camera::{Camera, Sent};
use super::loss::Safe;
use super::node::{Found, Key};
use crate::fs::sim::SimFs;
use crate::ids::StreamId;
use crate::reason::Reason;
use crate::store::check::{Depth, check, problems_but_of_lost_heads};
use crate::store::{Gap, Span, Store};
use crate::time::SECOND_US;

/// Wall times may be off by the least of the network's delays in the window, once more where media
/// time jumped, and by what clocks drift meanwhile.
pub(super) const OFF_US: i64 = 140_000;

pub(super) type Fragments = BTreeMap<Key, Found>;

#[derive(Default)]
pub(super) struct Model {
    /// By stream and number.
    sent: BTreeMap<StreamId, BTreeMap<u64, Sent>>,
    /// Pictures that need not be there: something happened to them.
    excused: BTreeMap<StreamId, BTreeSet<u64>>,
    /// Pictures that retention deleted, and before which change it began to.
    deleted: BTreeMap<StreamId, BTreeMap<u64, u64>>,
    /// Found after a sync that succeeded.
    pub durable: Fragments,
    /// Deleted, and acknowledged to be.
    pub gone: BTreeSet<Key>,
    /// Reasons for gaps that there were.
    pub reasons: BTreeSet<String>,
    /// Holds by id: stream, and starts of segments, from and until.
    pub holds: BTreeMap<String, (StreamId, i64, i64)>,
}

impl Model {
    pub(super) fn sent(&mut self, id: StreamId, sent: Sent) {
        self.sent.entry(id).or_default().insert(sent.number, sent);
    }

    /// The wall time that is right for a picture.
    pub(super) fn wall_us(&self, id: StreamId, number: u64) -> i64 {
        self.sent[&id][&number].wall_us
    }

    /// Whatever was sent since an instant need not be there.
    pub(super) fn excuse_since(&mut self, id: StreamId, mono_us: i64) {
        let sent = self.sent.entry(id).or_default();
        let numbers = sent.values().rev().take_while(|s| s.mono_us >= mono_us).map(|s| s.number);
        self.excused.entry(id).or_default().extend(numbers);
    }

    /// What is not there now need not be there.
    pub(super) fn excuse_missing(&mut self, id: StreamId, found: &Fragments) {
        let missing = self.missing(id, found, i64::MAX, u64::MAX);
        self.excused.entry(id).or_default().extend(missing);
    }

    /// Pictures sent before an instant that are not found, and were not deleted from before a change on.
    fn missing(
        &self,
        id: StreamId,
        found: &Fragments,
        before_mono_us: i64,
        by_change: u64,
    ) -> Vec<u64> {
        let mut there = BTreeSet::new();
        for f in found.iter().filter(|(k, _)| k.0 == id).map(|(_, f)| f) {
            there.extend(f.pictures.0..=f.pictures.1);
        }
        let (excused, deleted) = (self.excused.get(&id), self.deleted.get(&id));
        let sent = self.sent.get(&id).into_iter().flatten();
        sent.filter(|(n, s)| s.mono_us < before_mono_us && !there.contains(*n))
            .filter(|(n, _)| excused.is_none_or(|e| !e.contains(*n)))
            .filter(|(n, _)| deleted.and_then(|d| d.get(*n)).is_none_or(|begun| *begun > by_change))
            .map(|(n, _)| *n)
            .collect()
    }

    /// Of what was safe when the recorder ended, before this change, nothing is lost.
    pub(super) fn check_safe(&self, id: StreamId, found: &Fragments, safe: &Safe, change: u64) {
        let mut lost = self.missing(id, found, i64::MAX, change);
        lost.retain(|number| safe.covers(id, *number));
        assert!(lost.is_empty(), "{id}: pictures {lost:?} are lost: {change} {safe:?}");
    }

    /// What would have come after this change never came.
    pub(super) fn ends_at(&mut self, change: u64) {
        self.deleted.values_mut().for_each(|deleted| deleted.retain(|_, begun| *begun <= change));
    }

    /// A sync succeeded: what is found is durable, but for files whose sync failed before; pictures
    /// in those.
    pub(super) fn synced(
        &mut self,
        found: Fragments,
        in_doubt: &BTreeSet<PathBuf>,
    ) -> BTreeMap<StreamId, BTreeSet<u64>> {
        self.durable = found;
        // Without its log footage may not be shown.
        let log = |segment: &PathBuf| segment.ancestors().nth(2).map(|dir| dir.join("events"));
        let doubtful = |segment: &PathBuf| {
            in_doubt.contains(segment) || log(segment).is_some_and(|log| in_doubt.contains(&log))
        };
        let mut pictures: BTreeMap<StreamId, BTreeSet<u64>> = BTreeMap::new();
        self.durable.retain(|key, found| {
            let doubtful = doubtful(&found.segment);
            if doubtful {
                pictures.entry(key.0).or_default().extend(found.pictures.0..=found.pictures.1);
            }
            !doubtful
        });
        pictures
    }

    /// A hold was acknowledged: of all that is shown in its range, and of what comes.
    pub(super) fn held(
        &mut self,
        hold: String,
        id: StreamId,
        (asked, held): ((i64, i64), (i64, i64)),
        found: &Fragments,
    ) {
        assert!(held.0 <= asked.0 && held.1 >= asked.1, "{asked:?} {held:?}");
        for f in found.values().filter(|f| f.start_us < asked.1 && f.end_us > asked.0) {
            assert!((held.0..held.1).contains(&f.segment_start_us), "{f:?} {asked:?} {held:?}");
        }
        self.holds.insert(hold, (id, held.0, held.1));
    }

    /// A pass of retention is over, which began before a change: what it deleted is gone, if it told so
    /// for good.
    pub(super) fn deleted(
        &mut self,
        before: &Fragments,
        after: &Fragments,
        told: bool,
        change: u64,
    ) {
        for (key, found) in before.iter().filter(|(k, _)| !after.contains_key(*k)) {
            for (id, (stream, from, until)) in &self.holds {
                let start_us = found.segment_start_us;
                let held = *stream == key.0 && (*from..*until).contains(&start_us);
                assert!(!held, "{key:?} {found:?} is held by {id} and was deleted");
            }
            self.durable.remove(key);
            if told {
                self.gone.insert(*key);
            }
            let deleted = self.deleted.entry(key.0).or_default();
            deleted.extend((found.pictures.0..=found.pictures.1).map(|number| (number, change)));
        }
    }

    /// What a reader finds is what was sent, when it was sent.
    pub(super) fn check_found(&self, found: &Fragments) {
        for (key, f) in found {
            let sent = &self.sent[&key.0];
            let first = sent[&f.pictures.0];
            let off = f.start_us - first.wall_us;
            assert!(off.abs() < OFF_US, "{key:?} {f:?} is off by {off} us from {first:?}");
            assert!(!self.gone.contains(key), "{key:?} {f:?} was deleted and is there again");
        }
        // A run goes on where it was, and back to no picture before.
        for ((a, x), (b, y)) in found.iter().zip(found.iter().skip(1)) {
            if (a.0, a.1) == (b.0, b.1) {
                assert!(x.start_us < y.start_us && x.pictures.1 < y.pictures.0, "{x:?} {y:?}");
                let whole = y.pictures.0 == x.pictures.1 + 1;
                assert!(whole || b.2 > a.2 + 1 || self.may_skip(a.0, x, y), "{a:?} {x:?} {y:?}");
            }
        }
    }

    /// Between two fragments with numbers that follow one another, pictures may be missing that
    /// could not be decoded.
    fn may_skip(&self, id: StreamId, x: &Found, y: &Found) -> bool {
        let excused = self.excused.get(&id);
        excused.is_some_and(|e| (x.pictures.1 + 1..y.pictures.0).all(|n| e.contains(&n)))
    }

    /// Nothing that was acknowledged is missing.
    pub(super) fn check_durable(&self, found: &Fragments) {
        for (key, f) in &self.durable {
            let now = found.get(key);
            let there = now.is_some_and(|n| (n.start_us, n.pictures) == (f.start_us, f.pictures));
            assert!(there, "{key:?} {f:?} was durable, and now there is {now:?}");
        }
    }

    /// Nothing is missing that nobody can explain.
    pub(super) fn check_complete(&self, camera: &Camera, found: &Fragments, mono_us: i64) {
        let missing = self.missing(camera.id, found, mono_us, u64::MAX);
        assert!(missing.is_empty(), "{}: pictures are missing: {missing:?}", camera.id);
    }

    /// Spans and gaps tell what there is.
    pub(super) fn check_coverage(&self, store: &Store, id: StreamId, found: &Fragments) {
        let starts = found.iter().filter(|(k, _)| k.0 == id).map(|(_, f)| f.start_us);
        let now_us = store.now_us();
        let from_us = starts.min().unwrap_or(now_us).min(now_us) - 10 * SECOND_US;
        let until_us =
            found.values().map(|f| f.end_us).max().unwrap_or(now_us).max(now_us) + SECOND_US;
        let coverage = store.coverage(id, from_us, until_us).unwrap();
        let span = |s: &Span| (s.start_us, s.end_us, true);
        let gap = |g: &Gap| (g.start_us, g.end_us, false);
        let mut all: Vec<_> =
            coverage.spans.iter().map(span).chain(coverage.gaps.iter().map(gap)).collect();
        all.sort_unstable();
        let mut at = from_us;
        for (start, end, _) in &all {
            assert!(
                *start == at && end > start,
                "{id}: {all:?} does not fill {from_us}..{until_us}"
            );
            at = *end;
        }
        assert_eq!(at, until_us, "{id}: {all:?}");
        // Shown and spoken of is the same.
        let mut shown: Vec<(i64, i64)> =
            found.iter().filter(|(k, _)| k.0 == id).map(|(_, f)| (f.start_us, f.end_us)).collect();
        shown.sort_unstable();
        let union = union(&shown);
        let spans: Vec<(i64, i64)> =
            coverage.spans.iter().map(|s| (s.start_us, s.end_us)).collect();
        assert_eq!(self::union(&spans), union, "{id}: spans are not the fragments");
        for g in &coverage.gaps {
            let known = matches!(g.reason.0.as_ref(), "not_recorded" | "pending" | "future")
                || self.reasons.contains(g.reason.0.as_ref());
            assert!(known, "{id}: {g:?}, and nothing of that kind happened: {:?}", self.reasons);
            // Before the first picture there is no reason; after it there always is one.
            let first = shown.first().map_or(i64::MAX, |s| s.0);
            let silent = g.reason == Reason::NOT_RECORDED && g.start_us >= first;
            assert!(!silent, "{id}: {g:?}: missing without a word: {coverage:?}");
        }
    }
}

fn union(ranges: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for &(start, end) in ranges {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// The store holds what it says. On a disk that it could not put right there may be segments that hold
/// nothing.
pub(super) fn check_store(fs: &SimFs, after_power_cut: bool, store: &Store) {
    let roots = super::node::roots();
    let mut problems = match after_power_cut {
        true => problems_but_of_lost_heads(fs, &roots),
        false => check(fs, &roots, Depth::Digests).unwrap().problems,
    };
    for root in store.roots().iter().filter(|root| root.trouble().is_some()) {
        let empty = |p: &str| p.ends_with(": holds no complete fragment");
        let there = root.path.join("");
        problems.retain(|p| !(p.starts_with(there.to_str().unwrap()) && empty(p)));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
