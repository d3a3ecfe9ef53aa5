//! After a crash: the segment that was open is cut behind its last complete fragment and sealed,
//! the index is made to agree with it, and the log says that the recorder ended without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::events::Event;
use super::layout::{day_name, index_name, parse_index_name, parse_segment_name, segment_name};
use super::marks::{self, Marks};
use super::stream::StreamStore;
use super::{copying, doubt};
use crate::fs::{FileSystem, Named};
use crate::ids::RunId;
use crate::index::{IndexFile, IndexWriter, Record};
use crate::reason::Reason;
use crate::segment::footer::write_footer;
use crate::segment::read::{read_footer, read_own_footer, read_segment};
use crate::segment::scan::{Trust, read_head, scan};
use crate::table::{FragmentEntry, SegmentTable};
use crate::time::{DAY_US, SECOND_US, day_start_us};
use crate::{Error, Result};

/// Segments that started so long before the watermark were sealed, and everything was durable.
pub(crate) const MARGIN_US: i64 = 15 * 60 * SECOND_US;
/// So many segments at the end of each run are looked at in any case: the clock by which the
/// watermark counts may have been set.
const NEWEST_SEGMENTS: usize = 3;
/// Holds the time before which everything was durable.
const WATERMARK: &str = ".synced";

/// Notes, durably, that everything written before an instant is durable.
pub(crate) fn set_watermark(fs: &dyn FileSystem, root: &Path, at_us: i64) -> Result<()> {
    let value = at_us.to_le_bytes();
    let crc = crc32c::crc32c(&value).to_le_bytes();
    // Twelve bytes in one sector: the old value or the new one, and the CRC tells any third.
    write_note(fs, &root.join(WATERMARK), &[&value[..], &crc].concat())?.sync_data()
}

/// Before when everything is durable; `None`: nobody knows.
pub(crate) fn watermark(fs: &dyn FileSystem, root: &Path) -> Option<i64> {
    let mut bytes = [0; 12];
    let n = fs.open(&root.join(WATERMARK)).ok()?.read_at(&mut bytes, 0).ok()?;
    let (value, crc) = bytes.split_first_chunk::<8>()?;
    (n == bytes.len() && crc32c::crc32c(value).to_le_bytes() == crc)
        .then(|| i64::from_le_bytes(*value))
}

/// What is known when a store is put right, and what is done.
#[derive(Debug)]
pub(super) struct Work {
    pub trust: Trust,
    /// Files whose sync failed when the store was open before.
    pub doubtful: Arc<BTreeSet<PathBuf>>,
    /// For people.
    pub repairs: Vec<String>,
    /// Files that may not be durable yet.
    pub looked_at: Vec<PathBuf>,
    /// What could not be put right.
    pub failed: Vec<Error>,
    /// Only what lies here is put right: a disk came.
    pub only: Option<PathBuf>,
    /// What concerns this time on need not be made durable at once: it is looked at again until the
    /// watermark has moved on, which it does after a sync of the whole disk.
    guarded_us: i64,
    /// After a power failure: what is durable all the same, by root.
    noted: Arc<BTreeMap<PathBuf, Arc<Marks>>>,
    /// The same of the root whose files are looked at.
    marks: Arc<Marks>,
    /// The latest of what was looked at in any folder of the stream.
    since_us: i64,
}

impl Work {
    pub(super) fn new() -> Self {
        Work {
            trust: Trust::PageCache,
            doubtful: Arc::default(),
            repairs: Vec::new(),
            looked_at: Vec::new(),
            failed: Vec::new(),
            only: None,
            guarded_us: i64::MAX,
            since_us: i64::MIN,
            noted: Arc::default(),
            marks: Arc::default(),
        }
    }

    /// Work on another stream of the same store.
    pub(super) fn beside(&self) -> Self {
        let (doubtful, noted) = (self.doubtful.clone(), self.noted.clone());
        Work { trust: self.trust, doubtful, noted, ..Work::new() }
    }

    /// Reads what is noted to be durable, once for all streams, if nothing else is to be trusted.
    pub(super) fn read_marks(&mut self, fs: &dyn FileSystem, roots: &[PathBuf]) {
        if self.trust != Trust::PageCache {
            let of = |root: &PathBuf| (root.clone(), Arc::new(marks::read(fs, root).1));
            self.noted = Arc::new(roots.iter().map(of).collect());
        }
    }

    /// Takes in what was done for another stream.
    pub(super) fn take_in(&mut self, other: Work) {
        self.repairs.extend(other.repairs);
        self.looked_at.extend(other.looked_at);
    }

    fn concerns(&self, path: &Path) -> bool {
        self.only.as_ref().is_none_or(|only| path.starts_with(only))
    }

    /// What fails on one disk, or for one run, is no reason to leave the others.
    fn attempt(&mut self, done: Result<()>) -> bool {
        done.map_err(|e| self.failed.push(e)).is_ok()
    }

    /// Makes a repair durable that concerns footage from an instant on: at once, unless the next start
    /// would come upon it again. After a kill -9 that is nearly always so, and a sync for each of
    /// hundreds of streams is what would keep readers and cameras waiting.
    fn settle(&mut self, from_us: i64, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        if from_us >= self.guarded_us { Ok(()) } else { self.unless_unsynced(sync()) }
    }

    /// The same of an event in the log of a folder.
    fn note(
        &mut self,
        stream: &StreamStore,
        dir: &Path,
        (from_us, event): (i64, Event),
    ) -> Result<()> {
        if from_us >= self.guarded_us {
            stream.log(dir, event).map(drop)
        } else {
            self.unless_unsynced(stream.log_durably_in(dir, event))
        }
    }

    /// How much of a segment without a footer is to be checked.
    fn trust_in(&self, file: &Named) -> Result<Trust> {
        if self.trust == Trust::PageCache || self.marks.is_empty() {
            return Ok(self.trust);
        }
        match read_head(file) {
            Ok(Some((head, _))) => Ok(Trust::Behind(marks::durable_len(&self.marks, &head, false))),
            // It is told apart by who reads all of it.
            Ok(None) | Err(Error::Damaged { .. }) => Ok(Trust::Nothing),
            Err(e) => Err(e),
        }
    }

    /// Of segments that start before this the watermark says that they are durable.
    fn guard(&mut self, since_us: i64) {
        self.guarded_us = if self.trust == Trust::PageCache { since_us } else { i64::MAX };
    }

    /// A repair that could not be synced is one all the same: what is in doubt is noted, and the
    /// rest is put right.
    fn unless_unsynced(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(e) if doubt::of_error(&e).is_some() => {
                self.failed.push(e);
                Ok(())
            }
            other => other,
        }
    }
}

/// Puts a stream right that may have been written to when the recorder ended.
pub(super) fn recover(
    fs: &dyn FileSystem,
    stream: &StreamStore,
    roots: &[PathBuf],
    work: &mut Work,
) {
    let recovered = recover_files(fs, stream, roots, work);
    tell(stream, recovered, work);
}

/// Puts segments and indexes right; in which folders that could be done, from which day on.
pub(super) fn recover_files(
    fs: &dyn FileSystem,
    stream: &StreamStore,
    roots: &[PathBuf],
    work: &mut Work,
) -> Vec<(PathBuf, i64)> {
    let days = stream.days();
    let mut recovered = Vec::new();
    for dir in stream.dirs().into_iter().filter(|dir| work.concerns(dir)).collect::<Vec<_>>() {
        let root = roots.iter().find(|r| dir.starts_with(r));
        let since_us = root.and_then(|r| watermark(fs, r)).map_or(i64::MIN, |w| w - MARGIN_US);
        // A segment that was open at midnight lies in the folder of the day before; and the newest
        // two days are looked at in any case.
        let first = days.iter().rev().nth(1).copied().unwrap_or(i64::MIN);
        let first = first.min(day_start_us(since_us.max(0)) - DAY_US);
        work.guard(since_us);
        work.marks = root.and_then(|root| work.noted.get(root)).cloned().unwrap_or_default();
        work.since_us = work.since_us.max(since_us);
        // A disk that fails is no reason to leave the others.
        let done = recover_dir(fs, stream, &dir, (first, since_us), work);
        if work.attempt(done) {
            // Of two days, whatever the watermark says: the clock may have been set back since.
            recovered.push((dir, first));
        }
    }
    recovered
}

/// Says in the logs what they do not say of what was put right.
pub(super) fn tell(stream: &StreamStore, recovered: Vec<(PathBuf, i64)>, work: &mut Work) {
    // Of several disks, by the watermark that says most.
    work.guard(work.since_us);
    // Not before all indexes are right: what is asked is asked of all folders together. And not before
    // all runs have a name: what one has that nobody knows to have begun may not be shown.
    let begun = begin_unnamed_runs(stream, work);
    work.attempt(begun);
    for (dir, since_us) in recovered {
        let told = tell_holes(stream, &dir, since_us, work);
        work.attempt(told);
    }
    let ended = end_open_runs(stream, work);
    work.attempt(ended);
}

fn recover_dir(
    fs: &dyn FileSystem,
    stream: &StreamStore,
    dir: &Path,
    (first, since_us): (i64, i64),
    work: &mut Work,
) -> Result<()> {
    work.looked_at.push(dir.join(super::stream::EVENTS));
    for day in stream.days().into_iter().filter(|d| *d >= first) {
        recover_day(fs, stream, dir, day, since_us, work)?;
    }
    let doubtful = doubt::segments(&work.doubtful, dir);
    recover_noted(fs, stream, dir, doubtful, work)?;
    copying::recover(fs, stream, dir, work)?;
    Ok(())
}

/// Puts single segments right, which may be of any age, and the indexes that speak of them.
pub(super) fn recover_noted(
    fs: &dyn FileSystem,
    stream: &StreamStore,
    dir: &Path,
    noted: BTreeMap<(i64, RunId), BTreeSet<u32>>,
    work: &mut Work,
) -> Result<()> {
    // They may be of any age: once the note is gone, nothing leads here again.
    work.guarded_us = i64::MAX;
    // Nor does what is known of others concern them.
    work.marks = Arc::default();
    for ((day, run), noted) in noted {
        let day_dir = dir.join(day_name(day));
        let entries = match fs.read_dir(&day_dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("list", &day_dir, e)),
        };
        let of_run = entries.iter().filter_map(|e| parse_segment_name(&e.name));
        let mut segments: Vec<u32> =
            of_run.filter(|(_, r)| *r == run).map(|(segment_ms, _)| segment_ms).collect();
        segments.sort_unstable();
        let from_ms = noted.first().copied().unwrap_or(0);
        let in_doubt = |segment_ms| noted.contains(&segment_ms);
        let of_day = RunOfDay { fs, stream, dir, day_dir: &day_dir, day, run };
        let done = of_day.recover(&segments, from_ms, &in_doubt, work);
        work.attempt(done);
        stream.forget_day(day, false);
    }
    Ok(())
}

/// Fragments in the middle of a run may be gone when the power failed, or were given up and the
/// recorder did not get round to saying so: the log says so now.
fn tell_holes(stream: &StreamStore, dir: &Path, since_us: i64, work: &mut Work) -> Result<()> {
    let mut spans = super::coverage::runs_in(stream, dir, since_us.max(0))?;
    // What is missing of a copy may never have been there.
    spans.retain(|span| !stream.copied(span.run));
    spans.sort_by_key(|span| (span.run, span.start_us));
    for (a, b) in spans.iter().zip(spans.iter().skip(1)) {
        if a.run == b.run {
            let expired = stream.visible().expired(dir, a.run);
            tell_loss(stream, dir, expired, (a.end_us, b.start_us), work)?;
        }
    }
    Ok(())
}

/// Notes what is missing of a range, as far as the log does not yet tell why. `expired`: what began
/// before is deleted.
fn tell_loss(
    stream: &StreamStore,
    dir: &Path,
    expired: i64,
    (from_us, whole_until_us): (i64, i64),
    work: &mut Work,
) -> Result<()> {
    // Between held segments, retention has deleted what is missing.
    let visible = stream.visible();
    let held = visible.holds_all(from_us, whole_until_us);
    let from_us = if held { from_us } else { from_us.max(expired) };
    for (at_us, until_us) in stream.history().untold(from_us, whole_until_us) {
        let beside_loss = at_us > from_us || until_us < whole_until_us;
        let missing_us = if beside_loss { BESIDE_LOSS_US } else { MISSING_US };
        if until_us - at_us > missing_us {
            let (reason, detail) = (Reason::RECORDER_CRASHED, LOST.to_owned());
            let lost = Event::Lost { at_us, until_us, reason, detail };
            work.note(stream, dir, (at_us, lost))?;
        }
    }
    Ok(())
}

fn recover_day(
    fs: &dyn FileSystem,
    stream: &StreamStore,
    dir: &Path,
    day: i64,
    since_us: i64,
    work: &mut Work,
) -> Result<()> {
    let day_dir = dir.join(day_name(day));
    let entries = match fs.read_dir(&day_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("list", &day_dir, e)),
    };
    let mut runs: BTreeMap<RunId, BTreeSet<u32>> = BTreeMap::new();
    for entry in &entries {
        if let Some((segment_ms, run)) = parse_segment_name(&entry.name) {
            runs.entry(run).or_default().insert(segment_ms);
        }
    }
    for entry in &entries {
        if parse_index_name(&entry.name).is_some_and(|run| !runs.contains_key(&run)) {
            remove(fs, &day_dir.join(&entry.name))?;
        }
    }
    for (&run, segments) in &runs {
        // It is being written.
        if stream.is_writing(run, day) {
            continue;
        }
        let run = RunOfDay { fs, stream, dir, day_dir: &day_dir, day, run };
        let segments: Vec<u32> = segments.iter().copied().collect();
        let recent = segments.partition_point(|ms| day + i64::from(*ms) * 1000 < since_us);
        let newest = segments.len().saturating_sub(NEWEST_SEGMENTS);
        let from = match work.trust {
            Trust::PageCache => run.written_to_since(&segments, recent, newest),
            _ => Ok(recent.min(newest)),
        };
        let done = from.and_then(|from| {
            // They are whole, but nobody may have synced them.
            let whole = segments[recent.min(from)..from].iter();
            work.looked_at.extend(whole.map(|ms| day_dir.join(segment_name(*ms, run.run))));
            match segments.get(from) {
                Some(&from_ms) => run.recover(&segments, from_ms, &|ms| ms >= from_ms, work),
                None => Ok(()),
            }
        });
        work.attempt(done);
    }
    stream.forget_day(day, false);
    // A folder of some thousand names is not listed twice.
    if stream.dirs() == [dir] {
        let indexes = runs.into_keys().map(|run| (run, day_dir.join(index_name(run))));
        let there = |path: &Path| match fs.file_len(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("look at", path, e)),
        };
        let found: Result<Vec<_>> =
            indexes.map(|(run, path)| Ok((there(&path)?, run, path))).collect();
        stream.list_day(day, found?.into_iter().filter(|f| f.0).map(|(_, run, path)| (run, path)));
    }
    Ok(())
}

fn remove(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    fs.remove_file(path).map_err(|e| Error::io("remove", path, e))
}

/// A run's share of a day.
pub(super) struct RunOfDay<'a> {
    pub fs: &'a dyn FileSystem,
    pub stream: &'a StreamStore,
    pub dir: &'a Path,
    pub day_dir: &'a Path,
    pub day: i64,
    pub run: RunId,
}

impl RunOfDay<'_> {
    fn start_us(&self, segment_ms: u32) -> i64 {
        self.day + i64::from(segment_ms) * 1000
    }

    fn open(&self, segment_ms: u32) -> Result<Named> {
        let path = self.day_dir.join(super::layout::segment_name(segment_ms, self.run));
        let file = self.fs.open_rw(&path).map_err(|e| Error::io("open", &path, e))?;
        Ok(Named { file, path })
    }

    /// The first of its segments that may have been written to when the process ended, and nothing but
    /// the process did: what it wrote is there in the order in which it was written. So behind the
    /// newest ones lie only those that a disk did not let it end, and before one that was ended well
    /// all is well. `recent`: the first that the watermark does not speak of.
    fn written_to_since(&self, segments: &[u32], recent: usize, newest: usize) -> Result<usize> {
        let mut first = newest;
        while first > recent && !self.is_sealed(segments[first])? {
            first -= 1;
        }
        Ok(first)
    }

    fn is_sealed(&self, segment_ms: u32) -> Result<bool> {
        match read_own_footer(&self.open(segment_ms)?) {
            Ok(found) => Ok(found.is_some()),
            Err(Error::Damaged { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Puts right those of its segments (all of the day, in order) that may have been written to,
    /// and the index from one of them on (which need not be there).
    pub(super) fn recover(
        &self,
        segments: &[u32],
        from_ms: u32,
        in_doubt: &dyn Fn(u32) -> bool,
        work: &mut Work,
    ) -> Result<()> {
        let index_path = self.day_dir.join(index_name(self.run));
        let index = match IndexFile::open(self.fs, &index_path) {
            Ok(index) => Some(index),
            Err(Error::Damaged { .. }) => {
                remove(self.fs, &index_path)?;
                None
            }
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        // Without an index, all of the day is read.
        let from_ms = if index.is_some() { from_ms } else { 0 };
        let from = segments.partition_point(|ms| *ms < from_ms);
        let mut records = Vec::new();
        let mut epoch = 0;
        for &segment_ms in &segments[from..] {
            let file = self.open(segment_ms)?;
            let table = if in_doubt(segment_ms) {
                work.looked_at.push(file.path.clone());
                self.sealed(&file, segment_ms, work)?
            } else {
                whole_head(&file)?
                    .then(|| read_segment(&file, self.run))
                    .transpose()?
                    .flatten()
                    .map(|s| s.table)
            };
            if let Some(table) = table {
                epoch = table.epoch;
                records.extend(table.fragments.iter().map(|f| Record::of(f, segment_ms)));
            }
        }
        if from == 0 && records.is_empty() {
            return index.map_or(Ok(()), |_| remove(self.fs, &index_path));
        }
        work.looked_at.push(index_path.clone());
        let kept = match &index {
            Some(index) if from > 0 => records_before(index, from_ms)?,
            // All segments were read: records of any others are of segments that are gone.
            _ => 0,
        };
        let other = index.as_ref().map_or(Some(0), |index| differs_from(index, kept, &records));
        let Some(other_ms) = other else { return Ok(()) };
        let mut writer = self.stream.index_writer(self.dir, self.run, epoch, self.day)?;
        writer.truncate(kept)?;
        writer.append_all(&records)?;
        work.repairs.push(format!("{}: agrees again with its segments", index_path.display()));
        work.settle(self.start_us(other_ms), || sync(self.fs, &writer, self.day_dir))
    }

    /// The table of a segment whose head is damaged, where its footer says what it has.
    fn by_its_footer(&self, file: &Named) -> Result<Option<SegmentTable>> {
        let footer = match read_footer(file) {
            Err(Error::Damaged { .. }) => None,
            other => other?.filter(|(head, _)| head.run == self.run),
        };
        let Some((_, table)) = footer else { return Ok(None) };
        // What took the head may have taken more, and the power failure may have been before the last start.
        Ok(whole(file, &table, 0)?.then_some(table))
    }

    /// The table of a segment, after giving it a footer if it has none. `None`: there was nothing
    /// in it, and it is gone.
    fn sealed(
        &self,
        file: &Named,
        segment_ms: u32,
        work: &mut Work,
    ) -> Result<Option<SegmentTable>> {
        match read_own_footer(file) {
            Ok(Some((_, table))) if work.trust == Trust::PageCache => return Ok(Some(table)),
            Ok(Some((head, table)))
                if whole(file, &table, marks::durable_len(&work.marks, &head, true))? =>
            {
                return Ok(Some(table));
            }
            Ok(_) | Err(Error::Damaged { .. }) => {}
            Err(e) => return Err(e),
        }
        let table = match seal(file, work.trust_in(file)?) {
            // Of a later version, or with a damaged head: its fragments may be worth a lot, and
            // are not ours to judge.
            Err(e @ Error::Damaged { .. }) => {
                let table = self.by_its_footer(file)?;
                let but = if table.is_some() { "" } else { ", and out of the index" };
                log::error!(target: "nvr.store", "left as it is{but}: {e}");
                return Ok(table);
            }
            other => other?,
        };
        work.settle(self.start_us(segment_ms), || file.sync_data())?;
        match &table {
            Some(table) => work.repairs.push(format!(
                "{}: sealed with {} fragments",
                file.path.display(),
                table.fragments.len()
            )),
            None => {
                remove(self.fs, &file.path)?;
                work.repairs.push(format!("{}: held no complete fragment", file.path.display()));
            }
        }
        Ok(table)
    }
}

/// Whether a segment can be told by its head: one that cannot was left as it is.
fn whole_head(file: &Named) -> Result<bool> {
    match read_head(file) {
        Ok(head) => Ok(head.is_some()),
        Err(Error::Damaged { .. }) => Ok(false),
        Err(e) => Err(e),
    }
}

/// After a power failure the footer may be on disk, and what it speaks of may not.
/// What lies before `durable_len` is.
fn whole(file: &Named, table: &SegmentTable, durable_len: u64) -> Result<bool> {
    let mut bytes = Vec::new();
    let end = |f: &FragmentEntry| u64::from(f.offset) + u64::from(f.length);
    for fragment in table.fragments.iter().filter(|f| end(f) > durable_len) {
        bytes.resize(fragment.length as usize, 0);
        let n = file.read_at(&mut bytes, u64::from(fragment.offset))?;
        if n < bytes.len() || !crate::segment::fragment::crc_holds(&bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sync(fs: &dyn FileSystem, writer: &IndexWriter, day_dir: &Path) -> Result<()> {
    writer.file().sync_data()?;
    fs.sync_dir(day_dir).map_err(|e| Error::io("sync", day_dir, e))
}

/// How many records at an index's start are of segments before this one.
fn records_before(index: &IndexFile, segment_ms: u32) -> Result<u64> {
    let mut kept = index.count()?;
    while kept > 0 {
        match index.get(kept - 1) {
            Ok(record) if record.segment_ms < segment_ms => break,
            Ok(_) | Err(Error::Damaged { .. }) => kept -= 1,
            Err(e) => return Err(e),
        }
    }
    Ok(kept)
}

/// The segment from which on an index does not say, from a position on, what these records say;
/// `None`: it does.
fn differs_from(index: &IndexFile, from: u64, records: &[Record]) -> Option<u32> {
    for (at, record) in (from..).zip(records) {
        match index.get(at) {
            Ok(there) if there == *record => {}
            Ok(there) => return Some(there.segment_ms.min(record.segment_ms)),
            Err(_) => return Some(record.segment_ms),
        }
    }
    let end = from + records.len() as u64;
    match index.count() {
        Ok(count) if count == end => None,
        // Of what nobody knows, from the beginning.
        _ => Some(index.get(end).map_or(0, |there| there.segment_ms)),
    }
}

/// Cuts a segment behind its last complete fragment and writes the footer; `None` if there is no
/// complete fragment in it. Not synced yet.
pub(super) fn seal(file: &Named, trust: Trust) -> Result<Option<SegmentTable>> {
    let Some(found) = scan(file, trust)?.filter(|s| !s.table.fragments.is_empty()) else {
        return Ok(None);
    };
    let truncate = |e| Error::io("truncate", &file.path, e);
    file.file.set_len(found.good_len).map_err(truncate)?;
    file.write_all_at(&write_footer(&found.head, &found.table), found.good_len)?;
    Ok(Some(found.table))
}

/// What the log does not say of runs, because the recorder did not get round to it or the power
/// failed: that one ended, and that its end was lost.
fn end_open_runs(stream: &StreamStore, work: &mut Work) -> Result<()> {
    let runs = stream.unended_runs().into_iter().filter(|(dir, ..)| work.concerns(dir));
    for (dir, run, at_us) in runs.collect::<Vec<_>>() {
        let at_us = end_of(stream, &run)?.unwrap_or(at_us);
        let detail = "the recorder ended without closing its files".to_owned();
        let event = Event::RunEnded { at_us, run, reason: Reason::RECORDER_CRASHED, detail };
        work.note(stream, &dir, (at_us, event))?;
    }
    let since_us = stream.days().into_iter().rev().nth(1).unwrap_or(i64::MIN);
    for (dir, run, began_us, until_us) in stream.ended_runs(since_us) {
        let Ok(id) = run.parse() else { continue };
        if !work.concerns(&dir) {
            continue;
        }
        // What it had may lie on another disk than the one whose log says that it ended.
        let (visible, dirs) = (stream.visible(), stream.dirs());
        let expired = dirs.iter().map(|dir| visible.expired(dir, id)).max().unwrap_or(i64::MIN);
        let at_us = match end_of(stream, &run)? {
            Some(end_us) => end_us,
            // Retention has deleted all of it.
            None if began_us.div_euclid(1000) * 1000 < expired => continue,
            None => began_us,
        };
        tell_loss(stream, &dir, expired, (at_us, until_us), work)?;
    }
    Ok(())
}

/// Ends of footage and of runs are not rounded in the same way.
const MISSING_US: i64 = 1000;
/// Beside a loss that is told: wall times follow the delay from the camera, and the fragment that was
/// lost may have moved them by so much without a new run.
const BESIDE_LOSS_US: i64 = 200_000;
const LOST: &str = "what was not yet durable was lost";

fn end_of(stream: &StreamStore, run: &str) -> Result<Option<i64>> {
    run.parse().ok().map_or(Ok(None), |run| stream.end_of_run(run))
}

/// Footage is there of a run whose beginning is not in the log.
fn begin_unnamed_runs(stream: &StreamStore, work: &mut Work) -> Result<()> {
    let days = stream.days();
    // The older first: a run that goes on at midnight began the day before.
    for &day in &days[days.len().saturating_sub(2)..] {
        for index in stream.indexes_of(day)? {
            let Some(first) = index.first()? else { continue };
            if stream.recorded_here(index.run) || stream.copied(index.run) {
                continue;
            }
            if let Some(dir) = index.path().ancestors().nth(2).filter(|dir| work.concerns(dir)) {
                let event = Event::run_started(index.run, index.epoch, first.wall_start_us);
                // Had it begun before what the log tells of deletions, its start would stand there,
                // or a hole.
                let event = if stream.log_has_holes(dir) { event.late() } else { event };
                work.note(stream, dir, (first.wall_start_us, event))?;
            }
        }
    }
    Ok(())
}

/// Names the time since the machine started, as of the last recovery.
const BOOT: &str = ".boot";

/// Says whether the machine has been running ever since the store was last put right: then what
/// was written is at least in the page cache, whatever became of the process.
pub(super) fn trust_of(fs: &dyn FileSystem, root: &Path) -> Trust {
    let boot = fs.boot_id();
    let mut stored = vec![0; boot.len()];
    let read = fs.open(&root.join(BOOT)).and_then(|file| file.read_at(&mut stored, 0));
    let same = !boot.is_empty() && read.is_ok() && stored == boot.as_bytes();
    if same { Trust::PageCache } else { Trust::Nothing }
}

/// Notes that a root was put right since the machine started. Not before that is done: somebody
/// who dies meanwhile must not leave word that it was.
pub(super) fn note_boot(fs: &dyn FileSystem, root: &Path) -> Result<()> {
    write_note(fs, &root.join(BOOT), fs.boot_id().as_bytes()).map(drop)
}

/// Until that is noted again, nothing is trusted.
pub(super) fn forget_boot(fs: &dyn FileSystem, root: &Path) -> Result<()> {
    super::copying::remove(fs, &root.join(BOOT))
}

/// What a note says, as far as `most` bytes reach. Empty: there is no note.
pub(super) fn read_note(fs: &dyn FileSystem, path: &Path, most: usize) -> Result<String> {
    let file = match fs.open(path) {
        Ok(file) => Named { file, path: path.to_owned() },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(Error::io("open", path, e)),
    };
    let mut bytes = vec![0; most.min(usize::try_from(file.size()?).unwrap_or(most))];
    let n = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..n]).into_owned())
}

pub(super) fn write_note(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<Named> {
    let file = match fs.create_new(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => fs.open_rw(path),
        other => other,
    };
    let file =
        Named { file: file.map_err(|e| Error::io("create", path, e))?, path: path.to_owned() };
    file.write_all_at(bytes, 0)?;
    Ok(file)
}
