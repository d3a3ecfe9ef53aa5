//! Which days of a stream have footage, and their indexes: those that were asked for stay open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use smallvec::SmallVec;

use super::layout::{day_name, parse_index_name};
use crate::fs::FileSystem;
use crate::ids::RunId;
use crate::index::{IndexFile, Quick};
use crate::time::DAY_US;
use crate::{Error, Result};

/// Some of a stream's indexes, kept open while they are asked. Nearly always one.
pub(super) type Indexes = SmallVec<[Arc<IndexFile>; 2]>;

/// Index files of a day: listed once, and kept in step by the writer.
#[derive(Debug, Default)]
pub(super) struct Day {
    day_us: i64,
    listed: bool,
    /// Nearly always one. Its run stands here as well: a question that is not about it need not
    /// look further.
    runs: SmallVec<[(RunId, Arc<IndexFile>); 1]>,
    /// Listed, and not asked for yet.
    unopened: Vec<(RunId, PathBuf)>,
}

impl Day {
    fn new(day_us: i64) -> Self {
        Day { day_us, ..Day::default() }
    }

    /// Forgets what is known of it.
    pub(super) fn forget(&mut self) {
        *self = Day::new(self.day_us);
    }

    /// All of its indexes are these; they are opened when somebody asks.
    pub(super) fn list(&mut self, indexes: impl Iterator<Item = (RunId, PathBuf)>) {
        *self = Day { listed: true, unopened: indexes.collect(), ..Day::new(self.day_us) };
    }

    fn knows(&self, path: &Path) -> bool {
        self.runs.iter().any(|(_, index)| index.path() == path)
            || self.unopened.iter().any(|(_, p)| p == path)
    }

    /// Whether all indexes are open but those of some runs.
    fn is_ready(&self, runs: &[RunId]) -> bool {
        self.listed && self.unopened.iter().all(|(run, _)| runs.contains(run))
    }

    fn indexes_except(&self, runs: &[RunId]) -> impl Iterator<Item = Arc<IndexFile>> {
        let wanted = self.runs.iter().filter(|(run, _)| !runs.contains(run));
        wanted.map(|(_, index)| index.clone())
    }

    /// Lists the day's folders, and opens its indexes but those of some runs. `unread` is told what
    /// cannot be read, and says whether that is to be an error; it is tried again by the next one who
    /// asks.
    pub(super) fn open(
        &mut self,
        fs: &dyn FileSystem,
        dirs: &[PathBuf],
        runs: &[RunId],
        unread: &dyn Fn(&Path, Error) -> Result<()>,
    ) -> Result<Indexes> {
        let mut listed = true;
        for dir in dirs.iter().filter(|_| !self.listed) {
            let day_dir = dir.join(day_name(self.day_us));
            let entries = match fs.read_dir(&day_dir) {
                Ok(entries) => entries,
                Err(e) => {
                    let none = e.kind() == std::io::ErrorKind::NotFound;
                    let told = unread(&day_dir, Error::io("list", &day_dir, e));
                    // Nothing of the day lies there; or nobody can tell.
                    listed &= none;
                    if !none {
                        told?;
                    }
                    continue;
                }
            };
            for entry in entries {
                let path = day_dir.join(&entry.name);
                if let Some(run) = parse_index_name(&entry.name).filter(|_| !self.knows(&path)) {
                    self.unopened.push((run, path));
                }
            }
        }
        self.listed |= listed;
        let mut at = 0;
        while let Some((run, path)) = self.unopened.get(at) {
            if runs.contains(run) {
                at += 1;
                continue;
            }
            match IndexFile::open(fs, path) {
                Ok(index) => {
                    self.show(Arc::new(index));
                    self.unopened.swap_remove(at);
                }
                Err(e) => {
                    unread(path, e)?;
                    at += 1;
                }
            }
        }
        Ok(self.indexes_except(runs).collect())
    }

    /// An index was begun: readers see it from now on. Without a listing, that will find it.
    pub(super) fn add(&mut self, fs: &dyn FileSystem, path: &Path) -> Result<()> {
        if self.listed && !self.knows(path) {
            self.show(Arc::new(IndexFile::open(fs, path)?));
        }
        Ok(())
    }

    /// Another index lies at a path now.
    pub(super) fn replace(&mut self, index: IndexFile) {
        if self.listed {
            self.runs.retain(|(_, r)| r.path() != index.path());
            self.unopened.retain(|(_, p)| p != index.path());
            self.show(Arc::new(index));
        }
    }

    fn show(&mut self, index: Arc<IndexFile>) {
        self.runs.push((index.run, index));
    }
}

/// What a seek looks at of a day, and all else of it elsewhere.
#[derive(Debug)]
#[repr(align(64))] // One line of memory.
struct Entry {
    day_us: i64,
    /// The only index that may show an instant of the day, if that is known: the day has no other,
    /// and the day before none of another run.
    only: Option<Quick>,
    day: Box<Day>,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// The days that have folders, in order. Mostly without a gap: where a day stands is told by its
/// distance from the first, so that a seek among thousands of indexes looks at few places in memory.
#[derive(Debug, Default)]
pub(super) struct Days {
    days: Vec<Entry>,
    first_us: i64,
}

impl Days {
    fn position(&self, day_us: i64) -> std::result::Result<usize, usize> {
        let guess = usize::try_from(day_us.saturating_sub(self.first_us) / DAY_US).unwrap_or(0);
        match self.days.get(guess) {
            Some(entry) if entry.day_us == day_us => Ok(guess),
            _ => self.days.binary_search_by_key(&day_us, |entry| entry.day_us),
        }
    }

    fn get(&self, day_us: i64) -> Option<&Entry> {
        self.position(day_us).ok().map(|at| &self.days[at])
    }

    /// A day, whose indexes may change.
    pub(super) fn get_mut(&mut self, day_us: i64) -> Option<&mut Day> {
        self.forget_only(day_us);
        self.position(day_us).ok().map(|at| &mut *self.days[at].day)
    }

    /// A day that has a folder.
    pub(super) fn insert(&mut self, day_us: i64) {
        self.inserted(Day::new(day_us));
    }

    fn inserted(&mut self, day: Day) -> &mut Day {
        let day_us = day.day_us;
        self.forget_only(day_us);
        let at = self.position(day_us).unwrap_or_else(|at| {
            self.days.insert(at, Entry { day_us, only: None, day: Box::new(day) });
            at
        });
        self.first_us = self.days[0].day_us;
        &mut self.days[at].day
    }

    /// A day of which a folder was just made, if there was none: it has nothing to be listed.
    pub(super) fn made(&mut self, day_us: i64) -> &mut Day {
        self.inserted(Day { listed: true, ..Day::new(day_us) })
    }

    pub(super) fn remove(&mut self, day_us: i64) {
        self.forget_only(day_us);
        if let Ok(at) = self.position(day_us) {
            self.days.remove(at);
            self.first_us = self.days.first().map_or(0, |entry| entry.day_us);
        }
    }

    /// Midnights, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.days.iter().map(|entry| entry.day_us)
    }

    /// The open indexes of a day but those of some runs; `None`: there are some that are not open.
    pub(super) fn ready(&self, day_us: i64, except: &[RunId]) -> Option<Indexes> {
        match self.get(day_us).map(|entry| &entry.day) {
            None => Some(Indexes::new()),
            Some(day) if day.is_ready(except) => Some(day.indexes_except(except).collect()),
            Some(_) => None,
        }
    }

    /// The open indexes of a day, and those of the day before that are of other runs; `None`: there
    /// are some that are not open.
    pub(super) fn ready_both(&self, day_us: i64) -> Option<Indexes> {
        let mut found = self.ready(day_us, &[])?;
        let runs: SmallVec<[RunId; 2]> = found.iter().map(|index| index.run).collect();
        found.extend(self.ready(day_us.saturating_sub(DAY_US), &runs)?);
        Some(found)
    }

    /// What [`Days::ready_both`] would give, if that is known to be only this.
    pub(super) fn only(&self, day_us: i64) -> Option<&Quick> {
        self.get(day_us)?.only.as_ref()
    }

    /// Remembers whether a day has only one index that is to be asked.
    pub(super) fn note_only(&mut self, day_us: i64) {
        let only = match self.ready_both(day_us).as_deref() {
            Some([only]) => Some(only.clone()),
            _ => None,
        };
        if let Ok(at) = self.position(day_us) {
            let entry = &mut self.days[at];
            // It is one of the day itself.
            entry.only = only.filter(|only| entry.day.knows(only.path())).map(Quick::new);
        }
    }

    /// A day's indexes change: they are those of two days' questions.
    fn forget_only(&mut self, day_us: i64) {
        for day_us in [day_us, day_us.saturating_add(DAY_US)] {
            if let Ok(at) = self.position(day_us) {
                self.days[at].only = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn days_are_a_sorted_set(changes in proptest::collection::vec((any::<bool>(), -3i64..40), 0..80)) {
            let (mut days, mut set) = (Days::default(), BTreeSet::new());
            for (there, day) in changes {
                let day_us = day * DAY_US;
                if there {
                    days.insert(day_us);
                    set.insert(day_us);
                } else {
                    days.remove(day_us);
                    set.remove(&day_us);
                }
                prop_assert_eq!(days.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
                for day in -5..45 {
                    let found = days.get(day * DAY_US).map(|entry| entry.day.day_us);
                    prop_assert_eq!(found, set.get(&(day * DAY_US)).copied());
                }
            }
        }
    }
}
