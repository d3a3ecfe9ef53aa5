//! What nobody can tell of a stream: its footage on a disk that is not there, and what a disk does
//! not let us read. Readers are told the range and why; such a range is no fact, and never looks
//! like a gap in the recording.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::coverage::{Gap, Span};
use super::disks::{Root, of_path};
use super::doubt::Doubt;
use super::events::Event;
use super::sacrifice::GivesWay;
use super::stream::StreamStore;
use crate::fs::File;
use crate::ids::RunId;
use crate::index::IndexFile;
use crate::reason::Reason;
use crate::time::{Clock, DAY_US, SECOND_US};
use crate::{Error, Result};

/// A segment that begins in a day reaches into the next by no more than this.
const REACH_US: i64 = 600 * SECOND_US;
/// What could not be read is tried again; until then it is not known.
const FORGET_US: i64 = 30 * SECOND_US;

/// A range of which nobody knows what is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// From.
    pub start_us: i64,
    /// Until.
    pub end_us: i64,
    /// Which disk, and what is wrong with it, for people.
    pub detail: Arc<str>,
}

/// A store's disks, as all of its streams see them.
pub(crate) struct Disks {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) fs: Arc<dyn crate::fs::FileSystem>,
    pub(super) roots: Vec<Arc<Root>>,
    /// What could not be synced.
    pub(super) doubt: Arc<Doubt>,
    /// Folders elsewhere in which they are noted.
    pub(super) beside: Vec<PathBuf>,
    /// A stream got a folder: that is to be noted.
    pub(super) changed: AtomicBool,
    /// How often a disk came, or had room again.
    arrivals: AtomicUsize,
    /// How many of them are not there.
    gone: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Disks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disks").field("roots", &self.roots).finish_non_exhaustive()
    }
}

impl Disks {
    pub(super) fn new(
        fs: Arc<dyn crate::fs::FileSystem>,
        clock: Arc<dyn Clock>,
        paths: &[PathBuf],
        beside: &[PathBuf],
    ) -> Self {
        let gone = Arc::<AtomicUsize>::default();
        let roots = paths.iter().map(|path| Arc::new(Root::new(path.clone(), &gone))).collect();
        Disks {
            clock,
            fs,
            roots,
            doubt: Arc::default(),
            beside: beside.to_vec(),
            changed: AtomicBool::new(false),
            arrivals: AtomicUsize::new(0),
            gone,
        }
    }

    /// A disk came, or has room again: streams may have more room there.
    pub(super) fn came(&self) {
        self.arrivals.fetch_add(1, Ordering::Relaxed);
    }

    /// How often one did.
    pub(crate) fn arrivals(&self) -> usize {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Whether any of them is not there: asked by every seek.
    pub(super) fn any_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) > 0
    }

    /// Whether a path lies on a disk that is not there.
    pub(super) fn is_gone(&self, path: &Path) -> bool {
        self.any_gone() && of_path(&self.roots, path).is_some_and(|root| root.is_gone())
    }

    /// A file of readers, who give way to recording on its disk.
    pub(super) fn giving_way(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        match of_path(&self.roots, path) {
            Some(root) => Arc::new(GivesWay { file, root }),
            None => file,
        }
    }

    /// Whether the disk of a path is there, as of now: something on it was not found.
    pub(super) fn look_at(&self, path: &Path) -> bool {
        let root = of_path(&self.roots, path);
        root.is_none_or(|root| root.look(&*self.fs, self.clock.now()).is_ok())
    }
}

/// What of a stream could not be read lately, by file or folder.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    any: AtomicBool,
    found: Mutex<BTreeMap<PathBuf, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    unknown: Unknown,
    /// Of this run; `None`: of any.
    run: Option<RunId>,
    until_mono_us: i64,
}

impl Unreadable {
    /// Says whether that is news.
    fn note(&self, path: &Path, entry: Entry) -> bool {
        let known = self.found.lock().insert(path.to_owned(), entry);
        self.any.store(true, Ordering::Relaxed);
        known.is_none()
    }

    /// It could be read.
    pub(super) fn forget(&self, path: &Path) {
        if self.any.load(Ordering::Relaxed) {
            self.found.lock().remove(path);
        }
    }

    /// Forgets what is to be tried again; what is left.
    fn entries(&self, now_mono_us: i64) -> Vec<Entry> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut found = self.found.lock();
        found.retain(|_, entry| entry.until_mono_us > now_mono_us);
        self.any.store(!found.is_empty(), Ordering::Relaxed);
        found.values().cloned().collect()
    }
}

impl StreamStore {
    /// Something of a day could not be read. What lies on a disk that is not there is not asked any
    /// more; what its disk does not let us read is noted, and the rest answers.
    ///
    /// # Errors
    /// The file is damaged, or is not there while its disk is.
    pub(super) fn day_unread(&self, path: &Path, day: i64, error: Error) -> Result<()> {
        let range = (day, day.saturating_add(DAY_US + REACH_US));
        self.unread(path, range, None, error)
    }

    /// An index could not be read.
    ///
    /// # Errors
    /// As [`StreamStore::day_unread`].
    pub(super) fn index_unread(&self, index: &IndexFile, error: Error) -> Result<()> {
        self.day_unread(index.path(), index.day_start_us, error)
    }

    /// The same of a file that shows a run's [from, until).
    pub(super) fn unread(
        &self,
        path: &Path,
        (start_us, end_us): (i64, i64),
        run: Option<RunId>,
        error: Error,
    ) -> Result<()> {
        let Error::Io { source, .. } = &error else { return Err(error) };
        if source.kind() == std::io::ErrorKind::ResourceBusy {
            return Err(error);
        }
        if !self.disks.look_at(path) {
            return Ok(());
        }
        if source.kind() == std::io::ErrorKind::NotFound {
            return Err(error);
        }
        let unknown = Unknown { start_us, end_us, detail: error.to_string().into() };
        let until_mono_us = self.disks.clock.now().mono_us + FORGET_US;
        if self.unreadable.note(path, Entry { unknown, run, until_mono_us }) {
            log::error!(target: "nvr.store", "{}: what cannot be read is left out: {error}", self.id);
        }
        Ok(())
    }

    /// One of its folders could not be opened, and is not asked until the next start.
    pub(super) fn folder_unread(&self, dir: &Path, error: &Error) {
        let end_us = self.disks.clock.now().wall_us;
        let unknown = Unknown { start_us: i64::MIN, end_us, detail: error.to_string().into() };
        self.unreadable.note(dir, Entry { unknown, run: None, until_mono_us: i64::MAX });
    }

    /// Whether there may be ranges of which nothing can be told.
    pub(super) fn may_be_unknown(&self) -> bool {
        self.disks.any_gone() || self.unreadable.any.load(Ordering::Relaxed)
    }

    /// What nobody can tell, in no order; ranges may overlap one another, and what is known.
    pub(super) fn unknown(&self) -> Vec<Unknown> {
        if !self.may_be_unknown() {
            return Vec::new();
        }
        let entries = self.unreadable.entries(self.disks.clock.now().mono_us);
        let mut all: Vec<Unknown> = entries.into_iter().map(|entry| entry.unknown).collect();
        for root in self.disks.roots.iter().filter(|root| root.is_gone()) {
            let detail = || {
                let why = root.trouble().map_or_else(String::new, |t| t.detail);
                Arc::from(format!("what lies on {} cannot be told: {why}", root.path.display()))
            };
            let ranges = self.ranges_on(root);
            all.extend(ranges.into_iter().map(|(start_us, end_us)| Unknown {
                start_us,
                end_us,
                detail: detail(),
            }));
        }
        all
    }

    /// When footage may have been recorded on a disk that is not there.
    fn ranges_on(&self, root: &Root) -> Vec<(i64, i64)> {
        let until_us = root.gone_since_us();
        let mut ranges: Vec<_> =
            root.noted_from(self.id).map(|from| (from, until_us)).into_iter().collect();
        let logs = self.logs.lock();
        let events = || logs.values().flat_map(|log| &log.events);
        for (dir, log) in logs.iter().filter(|(dir, _)| dir.starts_with(&root.path)) {
            // What retention had deleted by then is no question.
            let oldest_us = self.visible().oldest_in(dir);
            for event in &log.events {
                let (Event::RunStarted { at_us, run, .. } | Event::RunCopied { at_us, run, .. }) =
                    event
                else {
                    continue;
                };
                let ended = events().find_map(|e| match e {
                    Event::RunEnded { at_us, run: ended, .. } if ended == run => Some(*at_us),
                    _ => None,
                });
                let (from, until) = (*at_us.max(&oldest_us), ended.unwrap_or(until_us));
                ranges.extend((from < until).then_some((from, until)));
            }
        }
        ranges
    }

    /// What of spans lies in files that can be read.
    pub(super) fn readable(&self, mut spans: Vec<Span>) -> Vec<Span> {
        if !self.may_be_unknown() {
            return spans;
        }
        for Entry { unknown, run, .. } in self.unreadable.entries(self.disks.clock.now().mono_us) {
            let Some(run) = run else { continue };
            let (start, end) = (unknown.start_us, unknown.end_us);
            let cut = |span: Span| {
                if span.run != run || end <= span.start_us || start >= span.end_us {
                    return [Some(span), None];
                }
                let before =
                    (span.start_us < start).then(|| Span { end_us: start, ..span.clone() });
                let after = (end < span.end_us).then_some(Span { start_us: end, ..span });
                [before, after]
            };
            spans = spans.into_iter().flat_map(cut).flatten().collect();
        }
        spans
    }
}

/// Calls those parts of gaps unknown that are, whatever else would be said of them. What has yet to
/// come, or to be written, is known.
pub(super) fn lay_over(gaps: Vec<Gap>, mut unknown: Vec<Unknown>) -> Vec<Gap> {
    if unknown.is_empty() {
        return gaps;
    }
    unknown.sort_by_key(|u| u.start_us);
    let mut laid: Vec<Gap> = Vec::with_capacity(gaps.len());
    for gap in gaps {
        if gap.reason == Reason::PENDING || gap.reason == Reason::FUTURE {
            laid.push(gap);
            continue;
        }
        let mut at = gap.start_us;
        for u in &unknown {
            let (start, end) = (u.start_us.max(at), u.end_us.min(gap.end_us));
            if start >= end {
                continue;
            }
            if at < start {
                laid.push(Gap { start_us: at, end_us: start, ..gap.clone() });
            }
            let (reason, detail) = (Reason::DISK_ERROR, u.detail.clone());
            let unknown = Gap { start_us: start, end_us: end, reason, detail, unknown: true };
            match laid.last_mut() {
                Some(l) if l.unknown && l.end_us == start && l.detail == unknown.detail => {
                    l.end_us = end;
                }
                _ => laid.push(unknown),
            }
            at = end;
        }
        if at < gap.end_us {
            laid.push(Gap { start_us: at, ..gap });
        }
    }
    laid
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaps_fill_the_same_range_and_unknown_is_what_was_said_to_be(
            lengths in proptest::collection::vec((1i64..50, 0u8..3), 1..6),
            unknown in proptest::collection::vec((-20i64..200, 1i64..60), 0..6),
        ) {
            let mut at = 0;
            let gaps: Vec<Gap> = lengths.iter().map(|(len, kind)| {
                let reason = [Reason::SILENT, Reason::FUTURE, Reason::EXPIRED][usize::from(*kind)].clone();
                let gap = Gap { start_us: at, end_us: at + len, reason, detail: "".into(), unknown: false };
                at += len;
                gap
            }).collect();
            let told: Vec<Unknown> = unknown.iter()
                .map(|(from, len)| Unknown { start_us: *from, end_us: from + len, detail: "gone".into() })
                .collect();
            let laid = lay_over(gaps.clone(), told.clone());
            prop_assert!(laid.windows(2).all(|g| g[0].end_us == g[1].start_us));
            let at_instant = |gaps: &[Gap], us| gaps.iter().find(|g| g.start_us <= us && us < g.end_us).cloned();
            for us in 0..at {
                let (before, after) = (at_instant(&gaps, us).unwrap(), at_instant(&laid, us).unwrap());
                let covered = told.iter().any(|u| u.start_us <= us && us < u.end_us);
                let expected = covered && before.reason != Reason::FUTURE;
                prop_assert_eq!(after.unknown, expected);
                prop_assert_eq!(after.reason, if expected { Reason::DISK_ERROR } else { before.reason });
            }
            prop_assert_eq!(laid.iter().map(|g| g.end_us - g.start_us).sum::<i64>(), at);
        }
    }
}
