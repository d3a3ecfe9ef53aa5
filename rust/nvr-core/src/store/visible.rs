//! What of a stream's footage readers are shown: not what retention has deleted or is about to,
//! unless it is held.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::stream::Located;
use crate::ids::RunId;

/// What retention has deleted under one of a stream's folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Segments that start before this are deleted, or about to be …
    pub before_us: i64,
    /// … except of these runs, which began after that was decided, at an earlier wall time: the
    /// clock had been set back. Theirs start before this.
    pub later_runs: BTreeMap<RunId, i64>,
}

impl Default for Expiry {
    fn default() -> Self {
        Expiry { before_us: i64::MIN, later_runs: BTreeMap::new() }
    }
}

impl Expiry {
    /// All segments that start before an instant are to go.
    pub(super) fn expire(&mut self, until_us: i64) {
        self.before_us = self.before_us.max(until_us);
        for before_us in self.later_runs.values_mut() {
            *before_us = (*before_us).max(until_us);
        }
    }

    /// A run begins to be recorded here.
    pub(super) fn run_started(&mut self, run: RunId, at_us: i64) {
        // Its first segment is named by the millisecond, which may have begun before.
        if at_us.div_euclid(1000) * 1000 < self.before_us {
            self.later_runs.insert(run, i64::MIN);
        }
    }

    /// Segments of a run that start before this are deleted.
    pub fn of(&self, run: RunId) -> i64 {
        match self.later_runs.get(&run) {
            Some(before_us) => *before_us,
            None => self.before_us,
        }
    }
}

/// Segments that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// They start from this instant on …
    pub from_us: i64,
    /// … and before this one.
    pub until_us: i64,
    /// Of that, what was not deleted before: a hold brings nothing back.
    there: Vec<(i64, i64)>,
    /// The same of runs that began after an earlier deletion.
    later_runs: BTreeMap<RunId, i64>,
}

impl Held {
    fn keeps(&self, run: RunId, start_us: i64, now: &Expiry) -> bool {
        self.keeps_all(run, (start_us, start_us), now)
    }

    /// Both, and all between them.
    fn keeps_all(&self, run: RunId, (first_us, last_us): (i64, i64), now: &Expiry) -> bool {
        let there = match (self.later_runs.get(&run), now.later_runs.contains_key(&run)) {
            (Some(from_us), _) => first_us >= *from_us,
            // A run that began after the hold, at an earlier time, lost nothing before it.
            (None, true) => true,
            (None, false) => {
                self.there.iter().any(|(from, until)| *from <= first_us && last_us < *until)
            }
        };
        self.from_us <= first_us && last_us < self.until_us && there
    }
}

/// What one log says.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub expiry: Expiry,
    /// By the hold's id.
    pub holds: BTreeMap<String, Held>,
}

impl Kept {
    pub(super) fn hold(&mut self, hold: String, from_us: i64, until_us: i64) {
        let earlier = self.holds.values().flat_map(|held| held.there.iter().copied());
        let there = earlier.chain([(self.expiry.before_us, i64::MAX)]);
        let there = there.filter_map(|(from, until)| {
            let (from, until) = (from.max(from_us), until.min(until_us));
            (from < until).then_some((from, until))
        });
        let (there, later_runs) = (there.collect(), self.expiry.later_runs.clone());
        self.holds.insert(hold, Held { from_us, until_us, there, later_runs });
    }

    fn shows(&self, run: RunId, start_us: i64) -> bool {
        start_us >= self.expiry.of(run) || self.holds(run, start_us)
    }

    fn oldest_us(&self) -> i64 {
        let later = self.expiry.later_runs.values().copied();
        let held = self.holds.values().map(|held| held.from_us);
        later.chain(held).fold(self.expiry.before_us, i64::min)
    }

    fn holds(&self, run: RunId, start_us: i64) -> bool {
        self.holds.values().any(|held| held.keeps(run, start_us, &self.expiry))
    }
}

/// What the logs of all of a stream's folders say together.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    /// By folder.
    dirs: Vec<(PathBuf, Kept)>,
}

impl Visible {
    pub(super) fn new(dirs: Vec<(PathBuf, Kept)>) -> Self {
        Visible { dirs }
    }

    fn of(&self, path: &Path) -> Option<&Kept> {
        // Nearly always there is one folder: no need to compare paths.
        let of_dir = |(dir, _): &&(PathBuf, Kept)| self.dirs.len() == 1 || path.starts_with(dir);
        self.dirs.iter().find(of_dir).map(|(_, kept)| kept)
    }

    fn all_holds(&self) -> impl Iterator<Item = &Held> {
        self.dirs.iter().flat_map(|(_, kept)| kept.holds.values())
    }

    /// Says whether a segment is there for readers.
    pub fn shows_segment(&self, path: &Path, run: RunId, start_us: i64) -> bool {
        self.of(path).is_none_or(|kept| kept.shows(run, start_us))
    }

    /// Says whether all segments of a run are there whose starts lie between two (and are those of
    /// segments themselves).
    pub fn shows_all(&self, path: &Path, run: RunId, (first_us, last_us): (i64, i64)) -> bool {
        self.of(path).is_none_or(|kept| {
            first_us >= kept.expiry.of(run)
                || (first_us == last_us && kept.holds(run, first_us))
                || kept
                    .holds
                    .values()
                    .any(|held| held.keeps_all(run, (first_us, last_us), &kept.expiry))
        })
    }

    /// Says whether any of them may be.
    pub fn shows_some(&self, path: &Path, run: RunId, (first_us, last_us): (i64, i64)) -> bool {
        self.of(path).is_none_or(|kept| {
            last_us >= kept.expiry.of(run)
                || kept.holds.values().any(|h| h.from_us <= last_us && first_us < h.until_us)
        })
    }

    /// Says whether a fragment is there for readers.
    pub fn shows(&self, found: &Located) -> bool {
        self.shows_segment(found.index.path(), found.index.run, found.segment_start_us())
    }

    /// Says whether a segment is held.
    pub fn holds(&self, path: &Path, run: RunId, start_us: i64) -> bool {
        self.of(path).is_some_and(|kept| kept.holds(run, start_us))
    }

    /// Says whether any segment may be held that starts in a range.
    pub fn holds_some(&self, from_us: i64, until_us: i64) -> bool {
        self.all_holds().any(|held| held.from_us < until_us && from_us < held.until_us)
    }

    /// Says whether one hold keeps all of a range.
    pub fn holds_all(&self, from_us: i64, until_us: i64) -> bool {
        let holds = |(from, until): &(i64, i64)| *from <= from_us && until_us <= *until;
        self.all_holds().any(|held| held.there.iter().any(holds))
    }

    /// Segments of a run under a folder that start before this are deleted, but for held ones.
    pub(super) fn expired(&self, path: &Path, run: RunId) -> i64 {
        self.of(path).map_or(i64::MIN, |kept| kept.expiry.of(run))
    }

    /// Of the runs that retention knew, segments that start before this are deleted.
    pub fn expired_before_us(&self) -> i64 {
        self.dirs.iter().map(|(_, kept)| kept.expiry.before_us).max().unwrap_or(i64::MIN)
    }

    /// No segment that starts before this is shown.
    pub fn oldest_us(&self) -> i64 {
        self.dirs.iter().map(|(_, kept)| kept.oldest_us()).min().unwrap_or(i64::MIN)
    }

    /// No segment under a folder that starts before this is shown.
    pub(super) fn oldest_in(&self, dir: &Path) -> i64 {
        self.of(dir).map_or(i64::MIN, Kept::oldest_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_begins_as_the_deleted_one_ended_is_shown() {
        let run = RunId(uuid::Uuid::from_u128(2));
        let mut kept = Kept::default();
        kept.expiry.expire(5_400);
        kept.expiry.run_started(run, 5_400);
        let visible = Visible::new(vec![(PathBuf::from("/a"), kept)]);
        assert!(visible.shows_segment(Path::new("/a/index"), run, 5_000));
    }

    #[test]
    fn what_was_deleted_before_a_hold_is_no_part_of_it() {
        let run = RunId(uuid::Uuid::from_u128(1));
        let mut kept = Kept::default();
        kept.hold("first".into(), 0, 10);
        kept.expiry.expire(50);
        // It keeps what the first one kept and what is not deleted yet, and nothing between.
        kept.hold("second".into(), 0, 100);
        kept.expiry.expire(100);
        let visible = Visible::new(vec![(PathBuf::from("/a"), kept)]);
        let path = Path::new("/a/index");
        for (start_us, shown) in [(5, true), (20, false), (60, true)] {
            assert_eq!(visible.shows_segment(path, run, start_us), shown, "{start_us}");
        }
        assert!(visible.shows_all(path, run, (60, 90)));
        assert!(!visible.shows_all(path, run, (5, 60)), "what is between is gone");
    }
}
