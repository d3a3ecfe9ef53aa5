//! One stream's footage: its folders under the roots, its indexes, its logs, and the segment that
//! is being written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::smallvec;

use super::Mode;
use super::bytes::Bytes;
use super::damage::Damage;
use super::days::{Days, Indexes};
use super::events::EventLog;
use super::layout::{day_name, index_name, parse_day, run_of, segment_name};
use super::unknown::{Disks, Unreadable};
use super::visible::Visible;
use crate::clip::SegmentRef;
use crate::fs::{FileSystem, Named};
use crate::ids::{RunId, StreamId};
use crate::index::{Found, HEADER_LEN, IndexFile, IndexWriter, Record};
use crate::segment::read::{Segment, read_segment};
use crate::table::SegmentTable;
use crate::time::{DAY_US, day_start_us};
use crate::{Error, Result};

pub(super) mod logs;

/// Name of the event log in a stream's folder.
pub(crate) const EVENTS: &str = "events";

/// The footage of one stream.
#[derive(Debug)]
pub struct StreamStore {
    /// Which stream.
    pub id: StreamId,
    pub(super) fs: Arc<dyn FileSystem>,
    /// The store's disks.
    pub(super) disks: Arc<Disks>,
    /// The stream's folder under each root that has one, or got one.
    pub(super) dirs: RwLock<Vec<PathBuf>>,
    /// Those that were found, and whose names may not be durable: who made them was killed.
    pub(super) unnamed: Mutex<BTreeSet<PathBuf>>,
    pub(super) days: RwLock<Days>,
    pub(super) logs: Mutex<BTreeMap<PathBuf, EventLog>>,
    /// What the logs say of retention and holds.
    pub(super) visible: RwLock<Arc<Visible>>,
    open: RwLock<Option<OpenSegment>>,
    /// Start of a segment that is about to be written, and so is no news to readers yet.
    beginning_us: AtomicI64,
    written_us: AtomicI64,
    /// Bytes of segments, by folder.
    pub(super) bytes: Mutex<BTreeMap<PathBuf, Bytes>>,
    pub(super) damage: RwLock<Arc<Damage>>,
    /// What its disks did not let us read.
    pub(super) unreadable: Unreadable,
    /// Indexes that a disk did not let us begin, nor perhaps remove: as long as they have no header they have
    /// no records.
    unbegun: Mutex<BTreeSet<PathBuf>>,
    /// Folders whose logs were to be synced at once, and could not be yet.
    untold: Mutex<BTreeSet<PathBuf>>,
    /// Segments that start from here on are shown, and nothing in them is known to be damaged: a
    /// seek mostly need not ask what logs say.
    plain_from_us: AtomicI64,
    /// Held by who writes copies: one at a time. What could not be written and may not be as it
    /// was before.
    pub(crate) copying: Mutex<BTreeSet<super::copying::Target>>,
}

/// The segment that is being written, as far as it is on disk.
#[derive(Clone, Debug)]
pub struct OpenSegment {
    /// Its file.
    pub file: Named,
    /// What it contains so far.
    pub table: Arc<RwLock<SegmentTable>>,
}

/// A fragment as the index knows it, and where it is.
#[derive(Clone, Debug)]
pub struct Located {
    /// The run's index of that day.
    pub index: Arc<IndexFile>,
    /// Position in the index.
    pub position: u64,
    /// The record.
    pub record: Record,
    /// Until when its last picture is shown: where the next fragment of the run begins, if that
    /// continues it.
    pub end_us: i64,
}

impl Located {
    /// Path of the segment.
    pub fn segment_path(&self) -> PathBuf {
        let name = segment_name(self.record.segment_ms, self.index.run);
        self.index.path().with_file_name(name)
    }

    /// Wall start of its segment, to the millisecond (as in the file's name).
    pub fn segment_start_us(&self) -> i64 {
        segment_start_us(self.index.day_start_us, &self.record)
    }
}

fn segment_start_us(day_start_us: i64, record: &Record) -> i64 {
    day_start_us + i64::from(record.segment_ms) * 1000
}

/// Until when a fragment's last picture is shown, by the one behind it in its run.
fn end_of(record: &Record, next: Option<&Record>) -> i64 {
    match next {
        Some(n) if n.sequence == record.sequence.wrapping_add(1) => n.wall_start_us,
        Some(n) => record.wall_end_us().min(n.wall_start_us),
        None => record.wall_end_us(),
    }
}

/// What lies in a stream's folder under a root.
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    /// Days that have folders.
    pub(super) days: Vec<i64>,
    pub(super) log: EventLog,
}

impl Folder {
    /// Lists the days, and opens nothing but the log.
    pub(super) fn open(fs: &dyn FileSystem, dir: PathBuf, writable: bool) -> Result<Self> {
        let entries = fs.read_dir(&dir).map_err(|e| Error::io("list", &dir, e))?;
        let folders = entries.into_iter().filter(|entry| entry.is_dir);
        let days = folders.filter_map(|entry| parse_day(&entry.name)).collect();
        let log = EventLog::open(fs, &dir.join(EVENTS), writable)?;
        Ok(Folder { dir, days, log })
    }
}

pub(super) fn visible_of(logs: &BTreeMap<PathBuf, EventLog>) -> Visible {
    Visible::new(logs.iter().map(|(dir, log)| (dir.clone(), log.kept.clone())).collect())
}

impl StreamStore {
    /// Of what was found in its folders.
    pub(super) fn new(disks: &Arc<Disks>, id: StreamId, folders: Vec<Folder>) -> Self {
        let mut days = Days::default();
        folders.iter().flat_map(|folder| &folder.days).for_each(|day| days.insert(*day));
        let dirs: Vec<PathBuf> = folders.iter().map(|folder| folder.dir.clone()).collect();
        let unnamed = Mutex::new(dirs.iter().cloned().collect());
        let mut logs: BTreeMap<PathBuf, EventLog> =
            folders.into_iter().map(|folder| (folder.dir, folder.log)).collect();
        logs::spread_holds(&mut logs);
        let visible = RwLock::new(Arc::new(visible_of(&logs)));
        let damage = Damage::of(logs.values().flat_map(|log: &EventLog| &log.events));
        let stream = StreamStore {
            id,
            fs: disks.fs.clone(),
            disks: disks.clone(),
            dirs: RwLock::new(dirs),
            unnamed,
            days: RwLock::new(days),
            logs: Mutex::new(logs),
            visible,
            open: RwLock::new(None),
            beginning_us: AtomicI64::new(i64::MAX),
            written_us: AtomicI64::new(i64::MIN),
            bytes: Mutex::default(),
            damage: RwLock::new(Arc::new(damage)),
            unreadable: Unreadable::default(),
            unbegun: Mutex::default(),
            untold: Mutex::default(),
            plain_from_us: AtomicI64::new(i64::MAX),
            copying: Mutex::default(),
        };
        stream.note_plain();
        stream
    }

    /// To be called after every change of what is visible or damaged, while the logs are locked still.
    pub(super) fn note_plain(&self) {
        let from_us = self.visible().expired_before_us();
        let plain_from_us = if self.damage().is_empty() { from_us } else { i64::MAX };
        self.plain_from_us.store(plain_from_us, Ordering::SeqCst);
    }

    /// Of a segment that starts then, logs need not be asked.
    fn is_plain(&self, found: &Located) -> bool {
        found.segment_start_us() >= self.plain_from_us.load(Ordering::SeqCst)
    }

    /// Whether readers are shown a fragment.
    fn shows(&self, found: &Located) -> bool {
        self.is_plain(found) || self.visible().shows(found)
    }

    /// Whether a fragment is not known to be damaged.
    fn is_sound(&self, found: &Located) -> bool {
        self.is_plain(found) || !self.damage().has(found.index.run, found.record.sequence)
    }

    /// The stream's folders.
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.dirs.read().clone()
    }

    /// The days (midnight, UTC) that have folders.
    pub fn days(&self) -> Vec<i64> {
        self.days.read().iter().collect()
    }

    /// The indexes of a day.
    pub fn indexes_of(&self, day: i64) -> Result<Indexes> {
        self.indexes_except(day, &[])
    }

    /// The indexes of a day but those of some runs, whose files are not even opened for this. Nothing
    /// is locked when they are read: a slow disk keeps nobody from recording.
    fn indexes_except(&self, day: i64, runs: &[RunId]) -> Result<Indexes> {
        if let Some(ready) = self.days.read().ready(day, runs) {
            return Ok(self.there(ready));
        }
        let mut days = self.days.write();
        let Some(d) = days.get_mut(day) else { return Ok(Indexes::new()) };
        let unread = |path: &Path, error: Error| match self.is_unbegun(path) {
            true => Ok(()),
            false => self.day_unread(path, day, error),
        };
        let found = d.open(&*self.fs, &self.dirs.read(), runs, &unread)?;
        Ok(self.there(found))
    }

    /// What lies on a disk that is not there is not asked, also where it is open still: nobody can
    /// read the footage that it speaks of.
    fn there(&self, mut indexes: Indexes) -> Indexes {
        if self.disks.any_gone() {
            indexes.retain(|index| !self.disks.is_gone(index.path()));
        }
        indexes
    }

    /// The indexes of a day, and those of the day before that are of other runs.
    fn indexes_of_both(&self, day: i64) -> Result<Indexes> {
        let only = self.days.read().only(day).map(|only| (only.index.clone(), only.is_outdated()));
        if let Some((only, outdated)) = only {
            if outdated {
                self.days.write().note_only(day);
            }
            return Ok(self.there(smallvec![only]));
        }
        let ready = self.days.read().ready_both(day);
        if let Some(ready) = ready {
            if ready.len() == 1 && ready[0].day_start_us == day {
                self.days.write().note_only(day);
            }
            return Ok(self.there(ready));
        }
        let mut found = self.indexes_of(day)?;
        let runs: Vec<RunId> = found.iter().map(|index| index.run).collect();
        found.extend(self.indexes_except(day.saturating_sub(DAY_US), &runs)?);
        Ok(found)
    }

    /// Forgets what is known of a day's indexes (after a deletion or a rebuild).
    pub fn forget_day(&self, day: i64, gone: bool) {
        let mut days = self.days.write();
        if gone {
            days.remove(day);
        } else if let Some(d) = days.get_mut(day) {
            d.forget();
        }
    }

    /// All indexes of a day are these.
    pub(super) fn list_day(&self, day: i64, indexes: impl Iterator<Item = (RunId, PathBuf)>) {
        if let Some(d) = self.days.write().get_mut(day) {
            d.list(indexes);
        }
    }

    /// The index of a run's day, to be written to; readers see it from now on.
    pub fn index_writer(
        &self,
        dir: &Path,
        run: RunId,
        epoch: u32,
        day: i64,
    ) -> Result<IndexWriter> {
        let path = dir.join(day_name(day)).join(index_name(run));
        let writer = IndexWriter::open(&*self.fs, &path, self.id, run, epoch, day)?;
        self.days.write().made(day).add(&*self.fs, &path)?;
        Ok(writer)
    }

    /// A new run's index could not be begun: what there may be of it, until the next start removes that, is
    /// no damage.
    pub(crate) fn index_unbegun(&self, dir: &Path, run: RunId, day: i64) {
        self.unbegun.lock().insert(dir.join(day_name(day)).join(index_name(run)));
    }

    fn is_unbegun(&self, path: &Path) -> bool {
        self.unbegun.lock().contains(path)
            && self.fs.file_len(path).is_ok_and(|len| len < HEADER_LEN)
    }

    /// Shows readers the index that lies at a path now, instead of the one before.
    pub(crate) fn show_index(&self, day: i64, path: &Path) -> Result<()> {
        let index = IndexFile::open(&*self.fs, path)?;
        self.days.write().made(day).replace(index);
        Ok(())
    }

    /// End of the newest footage of a run.
    pub fn end_of_run(&self, run: RunId) -> Result<Option<i64>> {
        for day in self.days().into_iter().rev() {
            for index in self.indexes_of(day)?.iter().filter(|i| i.run == run) {
                if let Some(last) = index.count()?.checked_sub(1) {
                    return Ok(Some(self.located(index, last)?.end_us));
                }
            }
        }
        Ok(None)
    }

    /// Segments that start before this are deleted, or about to be, unless they are held or their
    /// run began later.
    pub fn expired_before_us(&self) -> i64 {
        self.visible().expired_before_us()
    }

    /// Which stored fragments are known to be damaged.
    pub fn damage(&self) -> Arc<Damage> {
        self.damage.read().clone()
    }

    /// Whether the index of a run's day may be written to.
    pub(super) fn is_writing(&self, run: RunId, day: i64) -> bool {
        let open = self.open.read();
        open.as_ref().is_some_and(|open| {
            let table = open.table.read();
            let first = table.fragments.first();
            table.run == run && first.is_none_or(|f| day_start_us(f.wall_start_us) == day)
        })
    }

    /// A segment that starts at an instant is about to be written: retention is to leave it alone.
    pub fn begin_segment(&self, start_us: i64) {
        self.beginning_us.store(start_us.div_euclid(1000) * 1000, Ordering::SeqCst);
    }

    /// What is being written.
    pub fn set_open_segment(&self, open: OpenSegment) {
        *self.open.write() = Some(open);
        self.beginning_us.store(i64::MAX, Ordering::SeqCst);
    }

    /// A segment is not written to any more.
    pub fn close_segment(&self, path: &Path) {
        // The next one may be open already, on another disk.
        self.open.write().take_if(|open| open.file.path == path);
    }

    /// A fragment that ends then is written, and the index names it.
    pub(crate) fn set_written(&self, end_us: i64) {
        self.written_us.store(end_us, Ordering::SeqCst);
    }

    /// End of the fragment that was written last since the store was opened.
    pub(super) fn written_us(&self) -> Option<i64> {
        Some(self.written_us.load(Ordering::SeqCst)).filter(|at| *at != i64::MIN)
    }

    /// Start of the segment that is being written, to the millisecond; `i64::MAX`: there is none.
    pub fn open_segment_start_us(&self) -> i64 {
        let beginning_us = self.beginning_us.load(Ordering::SeqCst);
        let open = self.open.read();
        let first = open.as_ref().and_then(|o| o.table.read().fragments.first().copied());
        let open_us = first.map_or(i64::MAX, |f| f.wall_start_us.div_euclid(1000) * 1000);
        open_us.min(beginning_us)
    }

    /// Reads a segment's table: from memory while it is being written, else from its footer.
    pub fn segment(&self, path: &Path) -> Result<SegmentRef> {
        if let Some(open) = self.open.read().as_ref().filter(|o| o.file.path == path) {
            let table = Arc::new(open.table.read().clone());
            let file = self.disks.giving_way(path, open.file.file.clone());
            return Ok(SegmentRef { file: Arc::new(Named { file, path: path.to_owned() }), table });
        }
        let file = self.fs.open(path).map_err(|e| Error::io("open", path, e))?;
        let file = Named { file: self.disks.giving_way(path, file), path: path.to_owned() };
        let no_segment = || Error::damaged(path, 0, "no segment has such a name");
        match read_segment(&file, run_of(path).ok_or_else(no_segment)?)? {
            Some(Segment { table, .. }) => {
                Ok(SegmentRef { file: Arc::new(file), table: Arc::new(table) })
            }
            None => Err(Error::damaged(path, 0, "the segment's head is cut short")),
        }
    }

    /// Days whose segments may show instants of [from, until): a segment lies in the folder of
    /// the day in which it starts, and may reach into the next.
    fn days_for(&self, from_us: i64, until_us: i64) -> Vec<i64> {
        let first = day_start_us(from_us).saturating_sub(DAY_US);
        let until_us = until_us.max(from_us.saturating_add(1));
        self.days.read().iter().filter(|day| (first..until_us).contains(day)).collect()
    }

    /// Completes a record with where it is and when it ends.
    pub(super) fn located(&self, index: &Arc<IndexFile>, position: u64) -> Result<Located> {
        let record = index.get(position)?;
        let more = index.has(position + 1)?;
        let next = if more { Some(index.get(position + 1)?) } else { None };
        self.ended(index.clone(), Found { position, record, next })
    }

    /// Completes what was found in an index. The run may go on in the next day's.
    fn ended(&self, index: Arc<IndexFile>, found: Found) -> Result<Located> {
        let Found { position, record, next } = found;
        let next = match next {
            Some(next) => Some(next),
            None => self.continuation(&index)?,
        };
        let end_us = end_of(&record, next.as_ref());
        Ok(Located { index, position, record, end_us })
    }

    /// The first record of the next day's index of the same run.
    fn continuation(&self, index: &IndexFile) -> Result<Option<Record>> {
        let next_day = self.indexes_of(index.day_start_us + DAY_US)?;
        next_day.iter().find(|i| i.run == index.run).map_or(Ok(None), |i| i.first())
    }

    /// The fragment that shows an instant, if that can be told without waiting for a disk; `None`:
    /// [`StreamStore::locate`] is to be asked.
    pub fn locate_now(&self, at_us: i64) -> Option<Located> {
        if self.disks.any_gone() {
            return None;
        }
        let day_us = day_start_us(at_us);
        // It reads what is in memory: nobody waits for the lock longer than for that.
        let days = self.days.read();
        let only = days.only(day_us)?;
        let Found { position, record, next } = only.find(at_us)?;
        let end_us = end_of(&record, next.as_ref());
        let plain_from_us = self.plain_from_us.load(Ordering::SeqCst);
        let shown = at_us < end_us && segment_start_us(day_us, &record) >= plain_from_us;
        shown.then(|| Located { index: only.index.clone(), position, record, end_us })
    }

    /// The fragment that shows an instant, or the nearest one.
    pub fn locate(&self, at_us: i64, mode: Mode) -> Result<Option<Located>> {
        if let Some(found) = self.locate_now(at_us) {
            return Ok(Some(found));
        }
        match self.at(at_us)? {
            Some(found) if self.is_sound(&found) => return Ok(Some(found)),
            // Another run may show it.
            Some(_) => {
                let mut all = self.fragments(at_us, at_us.saturating_add(1))?;
                all.retain(|l| self.is_sound(l));
                let best = all.into_iter().max_by_key(|l| (l.index.epoch, l.index.run));
                if best.is_some() {
                    return Ok(best);
                }
            }
            None => {}
        }
        // Over what is damaged, to what is not.
        let mut near = match mode {
            Mode::At => return Ok(None),
            Mode::Next => self.next(at_us)?,
            Mode::Previous => self.previous(at_us)?,
        };
        while let Some(found) = near.take_if(|found| !self.is_sound(found)) {
            let start_us = found.record.wall_start_us;
            near = match mode {
                Mode::Next => self.next(start_us.saturating_add(1))?,
                _ => self.previous(start_us.saturating_sub(1))?,
            };
        }
        Ok(near)
    }

    /// The fragment that shows an instant. Where runs overlap: of the higher epoch, then of the
    /// later run.
    pub fn at(&self, at_us: i64) -> Result<Option<Located>> {
        // A segment of the day before may reach into this one. But wall time is monotone within a
        // run: where its later day has begun by the instant, the earlier one has nothing to show.
        let today = day_start_us(at_us);
        let mut begun = true;
        let mut best = None;
        for index in self.indexes_of_both(today)? {
            let later = index.day_start_us == today;
            begun &= self.better(index, at_us, &mut best)? || !later;
        }
        if !begun {
            for index in self.indexes_of(today.saturating_sub(DAY_US))? {
                self.better(index, at_us, &mut best)?;
            }
        }
        Ok(best)
    }

    /// Puts what an index has of an instant in the place of what is known, if readers prefer it.
    /// Gives whether the index had begun by then.
    fn better(
        &self,
        index: Arc<IndexFile>,
        at_us: i64,
        best: &mut Option<Located>,
    ) -> Result<bool> {
        let found = match index.find(at_us) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(e) => return self.index_unread(&index, e).map(|()| false),
        };
        let found = self.ended(index, found)?;
        let rank = |l: &Located| (l.index.epoch, l.index.run);
        if at_us < found.end_us
            && self.shows(&found)
            && best.as_ref().is_none_or(|b| rank(b) < rank(&found))
        {
            *best = Some(found);
        }
        Ok(true)
    }

    /// The first fragment that starts at or after an instant.
    pub fn next(&self, at_us: i64) -> Result<Option<Located>> {
        let visible = self.visible();
        let mut best: Option<Located> = None;
        for day in self.days_for(at_us, i64::MAX) {
            // A later day's segments all start after the best one so far.
            if best.as_ref().is_some_and(|b| b.record.wall_start_us < day) {
                break;
            }
            for index in self.indexes_of(day)? {
                let mut position = match index.last_at_or_before(at_us.saturating_sub(1)) {
                    Ok(Some(p)) => p + 1,
                    Ok(None) => 0,
                    Err(e) => {
                        self.index_unread(&index, e)?;
                        continue;
                    }
                };
                while index.has(position)? {
                    let found = self.located(&index, position)?;
                    position += 1;
                    if !visible.shows(&found) {
                        continue;
                    }
                    if best
                        .as_ref()
                        .is_none_or(|b| found.record.wall_start_us < b.record.wall_start_us)
                    {
                        best = Some(found);
                    }
                    break;
                }
            }
        }
        Ok(best)
    }

    /// The last fragment that starts at or before an instant.
    pub fn previous(&self, at_us: i64) -> Result<Option<Located>> {
        let visible = self.visible();
        let days = self.days_for(0, at_us);
        let mut best: Option<Located> = None;
        for &day in days.iter().rev() {
            if best.as_ref().is_some_and(|b| b.record.wall_start_us >= day + DAY_US) {
                break;
            }
            for index in self.indexes_of(day)? {
                let position = match index.last_at_or_before(at_us) {
                    Ok(Some(position)) => position,
                    Ok(None) => continue,
                    Err(e) => {
                        self.index_unread(&index, e)?;
                        continue;
                    }
                };
                let found = self.located(&index, position)?;
                if visible.shows(&found)
                    && best
                        .as_ref()
                        .is_none_or(|b| found.record.wall_start_us > b.record.wall_start_us)
                {
                    best = Some(found);
                }
            }
            // One more day back at most: a segment of the day before may start later than its
            // day ends.
            if best.is_some() && day_start_us(at_us) - day > DAY_US {
                break;
            }
        }
        Ok(best)
    }

    /// Positions in an index that show instants of [from, until).
    fn positions(
        &self,
        index: &Arc<IndexFile>,
        from_us: i64,
        until_us: i64,
    ) -> Result<std::ops::Range<u64>> {
        let end = index.last_at_or_before(until_us.saturating_sub(1))?.map_or(0, |p| p + 1);
        let start = match index.last_at_or_before(from_us)? {
            Some(p) if self.located(index, p)?.end_us > from_us => p,
            Some(p) => p + 1,
            None => 0,
        };
        Ok(start..end.max(start))
    }

    /// The indexes that have anything to show of [from, until), each with its positions.
    pub fn overlapping(
        &self,
        from_us: i64,
        until_us: i64,
    ) -> Result<Vec<(Arc<IndexFile>, std::ops::Range<u64>)>> {
        let mut found = Vec::new();
        for day in self.days_for(from_us, until_us) {
            for index in self.indexes_of(day)? {
                match self.positions(&index, from_us, until_us) {
                    Ok(positions) if positions.is_empty() => {}
                    Ok(positions) => found.push((index, positions)),
                    Err(e) => self.index_unread(&index, e)?,
                }
            }
        }
        Ok(found)
    }

    /// The fragments that show any instant of [from, until), in order of wall time.
    pub fn fragments(&self, from_us: i64, until_us: i64) -> Result<Vec<Located>> {
        let visible = self.visible();
        let mut found = Vec::new();
        for (index, positions) in self.overlapping(from_us, until_us)? {
            for position in positions {
                let fragment = self.located(&index, position)?;
                if visible.shows(&fragment) {
                    found.push(fragment);
                }
            }
        }
        found.sort_by_key(|l| (l.record.wall_start_us, l.index.epoch, l.index.run));
        Ok(found)
    }

    /// Start of the oldest and end of the newest footage, and of what there may be: whoever plans
    /// by it is to ask.
    pub fn range(&self) -> Result<Option<(i64, i64)>> {
        let oldest = self.next(self.visible().oldest_us().max(0))?;
        let newest = oldest.as_ref().map_or(Ok(None), |_| self.previous(i64::MAX))?;
        let known = oldest.zip(newest).map(|(oldest, n)| (oldest.record.wall_start_us, n.end_us));
        let unknown = self.unknown().into_iter().map(|u| (u.start_us.max(0), u.end_us));
        Ok(known.into_iter().chain(unknown).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))))
    }
}
