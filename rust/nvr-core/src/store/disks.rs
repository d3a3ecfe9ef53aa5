//! The disks of a store: which one a stream lies on, how much room there is, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::sacrifice::Backlog;
use super::{Store, StreamStore, make_root, streams_under};
use crate::fs::{FileSystem, Space};
use crate::ids::StreamId;
use crate::reason::Reason;
use crate::time::{Moment, SECOND_US};
use crate::{Error, Result};

/// One root: a folder on a disk of its own.
#[derive(Debug)]
pub struct Root {
    /// Its path.
    pub path: PathBuf,
    /// Streams that lie here.
    streams: Mutex<BTreeSet<StreamId>>,
    trouble: Mutex<Option<Trouble>>,
    /// What waits to be written here.
    pub(crate) backlog: Backlog,
    /// Which folder was opened.
    identity: Mutex<Option<(u64, u64)>>,
    /// If it was not there from the beginning: since when it has footage of which streams, as noted;
    /// `None`: nobody noted anything.
    noted: Mutex<Option<BTreeMap<StreamId, i64>>>,
    /// This process has made sure that it is marked.
    marked: Mutex<bool>,
    /// Since when another one lies there, or none (`i64::MAX`: it is there).
    gone_since_us: AtomicI64,
    /// How many of the store's roots are gone.
    all_gone: Arc<AtomicUsize>,
}

/// What is wrong with a disk.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Since when.
    pub since_us: i64,
    /// `disk_full` or `disk_error`.
    pub reason: Reason,
    /// For people, without secrets.
    pub detail: String,
    /// When it last was so, by the clock that never steps.
    seen_mono_us: i64,
}

/// A disk that failed is tried again after so long, if there is another.
const AVOID_US: i64 = 60 * SECOND_US;
/// A disk that has less room than this is full.
const MIN_ROOM: u64 = 1 << 20;

/// Room on one root.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// The root.
    pub root: PathBuf,
    /// Bytes of the disk.
    pub total_bytes: u64,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes of all segments.
    pub footage_bytes: u64,
    /// Bytes of those that are held.
    pub held_bytes: u64,
    /// What is wrong with it, if anything is.
    pub trouble: Option<Trouble>,
    /// Start of the oldest footage on any root.
    pub oldest_us: Option<i64>,
}

impl Store {
    /// A stream to write to, and the root for it: where it has been before, else where there is
    /// the most room.
    pub fn stream_for_writing(&self, id: StreamId) -> Result<(Arc<StreamStore>, Arc<Root>)> {
        self.writable()?;
        let stream = self.stream_or_new(id);
        let lies_on = |root: &&Arc<Root>| root.lies_there(id);
        let well = |root: &&Arc<Root>| self.room(root).is_some();
        let root = (self.roots().iter().filter(lies_on).find(well).cloned())
            .or_else(|| self.best_root(|_| true))
            // None is well: whichever it is, it says so.
            .or_else(|| self.roots().iter().find(lies_on).cloned())
            .or_else(|| self.roots().first().cloned())
            .ok_or(Error::Closed("the store has no roots"))?;
        self.assign(id, &root);
        Ok((stream, root))
    }

    /// A stream, also if nothing of it is known yet.
    pub(super) fn stream_or_new(&self, id: StreamId) -> Arc<StreamStore> {
        let known = self.streams.read().get(&id).cloned();
        known.unwrap_or_else(|| {
            let new = Arc::new(StreamStore::new(&self.disks, id, Vec::new()));
            self.streams.write().entry(id).or_insert(new).clone()
        })
    }

    /// A root on which a stream has far more room than where it is recorded: a disk came.
    pub(crate) fn better_root(&self, id: StreamId, than: &Root) -> Option<Arc<Root>> {
        let share = |root: &Root, more: u64| {
            let streams = root.streams.lock().len() as u64 + more;
            Some(self.room(root)? / streams.max(1))
        };
        let root = self.best_root(|root| root.path != than.path)?;
        let better = share(&root, 1)? / 5 > share(than, 0)? / 4;
        better.then(|| self.assign(id, &root)).map(|()| root)
    }

    /// A root for a stream whose own fails.
    pub(crate) fn another_root(&self, id: StreamId, than: &Root) -> Option<Arc<Root>> {
        let root = self.best_root(|root| root.path != than.path)?;
        self.assign(id, &root);
        Some(root)
    }

    fn assign(&self, id: StreamId, root: &Root) {
        for other in self.roots() {
            if other.path == root.path {
                other.streams.lock().insert(id);
            } else {
                other.streams.lock().remove(&id);
            }
        }
    }

    /// The root with the most room for each stream that lies there: of unequal disks, each gets
    /// its share.
    fn best_root(&self, may: impl Fn(&Root) -> bool) -> Option<Arc<Root>> {
        let share = |root: &&Arc<Root>| {
            let streams = root.streams.lock().len() as u64;
            Some((self.room(root)? / (streams + 1), (*root).clone()))
        };
        let shares = self.roots().iter().filter(|r| may(r)).filter_map(|root| share(&root));
        // Of equals the first.
        shares.rev().max_by_key(|(share, _)| *share).map(|(_, root)| root)
    }

    /// Bytes that can be written to a root; `None`: it is full, or failed lately.
    fn room(&self, root: &Root) -> Option<u64> {
        let now = self.clock.now().mono_us;
        if root.is_gone() {
            return None;
        }
        if root.trouble().is_some_and(|t| now - t.seen_mono_us < AVOID_US) {
            return None;
        }
        let space = self.fs.space(&root.path).ok()?;
        (space.available >= MIN_ROOM).then_some(space.available)
    }

    /// Whether a disk was full, and is so no more.
    pub(super) fn has_room_again(&self, root: &Root) -> bool {
        root.trouble().is_some_and(|t| t.reason == Reason::DISK_FULL) && self.room(root).is_some()
    }

    /// Room on each root.
    pub fn disk_usage(&self) -> Result<Vec<DiskUsage>> {
        self.usable()?;
        let mut oldest_us = None;
        for stream in self.streams() {
            // What a failed disk has cannot be told; the others' can.
            if let Ok(Some((oldest, _))) = stream.range() {
                oldest_us = Some(oldest_us.map_or(oldest, |o: i64| o.min(oldest)));
            }
        }
        let usage = |root: &Arc<Root>| {
            let trouble = root.trouble();
            // Of a disk that failed there may be nothing to tell but that.
            let known = |bytes: Result<u64>| match bytes {
                Err(_) if trouble.is_some() => Ok(0),
                other => other,
            };
            let space = self.fs.space(&root.path);
            let bytes = |of: fn(&Space) -> u64| match &space {
                Ok(space) => known(Ok(of(space))),
                Err(e) => known(Err(Error::io("statvfs", &root.path, e.kind().into()))),
            };
            Ok(DiskUsage {
                root: root.path.clone(),
                total_bytes: bytes(|s| s.total)?,
                free_bytes: bytes(|s| s.available)?,
                footage_bytes: known(self.footage_bytes(root))?,
                held_bytes: known(self.held_bytes(root))?,
                trouble: trouble.clone(),
                oldest_us,
            })
        };
        self.roots().iter().map(usage).collect()
    }

    fn footage_bytes(&self, root: &Root) -> Result<u64> {
        let mut sum = 0;
        for stream in self.streams() {
            for dir in stream.dirs().iter().filter(|d| d.starts_with(&root.path)) {
                sum += stream.bytes_in(dir)?;
            }
        }
        Ok(sum)
    }
}

impl Root {
    pub(super) fn new(path: PathBuf, all_gone: &Arc<AtomicUsize>) -> Self {
        Root {
            path,
            streams: Mutex::default(),
            trouble: Mutex::default(),
            backlog: Backlog::default(),
            identity: Mutex::default(),
            noted: Mutex::default(),
            marked: Mutex::default(),
            gone_since_us: AtomicI64::new(i64::MAX),
            all_gone: all_gone.clone(),
        }
    }

    /// Whether another folder lies at its path than when the store was opened, as of the last look.
    pub fn is_gone(&self) -> bool {
        self.gone_since_us() != i64::MAX
    }

    /// Since when; `i64::MAX`: it is not.
    pub(super) fn gone_since_us(&self) -> i64 {
        self.gone_since_us.load(Ordering::Relaxed)
    }

    /// Of one that could not be opened: since when footage of a stream may lie there.
    pub(super) fn noted_from(&self, id: StreamId) -> Option<i64> {
        if self.was_opened() {
            return None;
        }
        match &*self.noted.lock() {
            Some(noted) => noted.get(&id).copied(),
            None => Some(i64::MIN),
        }
    }

    /// Of one that was not there from the beginning: what is noted of it.
    pub(super) fn noted(&self) -> BTreeMap<StreamId, i64> {
        self.noted.lock().clone().filter(|_| !self.was_opened()).unwrap_or_default()
    }

    /// It is marked as a store's disk, once in each process.
    pub(super) fn marked(&self, mark: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut marked = self.marked.lock();
        if !*marked {
            mark()?;
            *marked = true;
        }
        Ok(())
    }

    /// Whether a store's disk would be missed here: its mark is known to last.
    pub(super) fn may_be_missed(&self) -> bool {
        *self.marked.lock() || self.noted.lock().is_some()
    }

    /// Whether a store's disk is known to have been here.
    pub(super) fn is_expected(&self) -> bool {
        self.was_opened() || self.noted.lock().is_some()
    }

    /// Whether this process has opened it.
    pub(super) fn was_opened(&self) -> bool {
        self.identity.lock().is_some()
    }

    /// It was taken up again.
    pub(super) fn is_here(&self) {
        *self.marked.lock() = false;
        self.trouble.lock().take();
        self.set_gone_since(i64::MAX);
        log::info!(target: "nvr.store", "{}: the disk is there again", self.path.display());
    }

    /// Notes that it is gone, or there (`i64::MAX`); whether it was gone before.
    fn set_gone_since(&self, at_us: i64) -> bool {
        let change = |before: i64| (at_us == i64::MAX || before == i64::MAX).then_some(at_us);
        let before = self.gone_since_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        let was = before.unwrap_or_else(|kept| kept) != i64::MAX;
        match (was, at_us != i64::MAX) {
            (false, true) => _ = self.all_gone.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.all_gone.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        was
    }

    /// Looks whether the folder that was opened is still there: under one whose disk was unmounted
    /// lies another, on a disk that footage has no place on. One that is gone stays so until it is
    /// [taken up](Store::take_up).
    ///
    /// # Errors
    /// Another folder lies there, or none.
    pub(crate) fn look(&self, fs: &dyn FileSystem, now: Moment) -> Result<()> {
        if self.is_gone() {
            let why = self.trouble().map_or_else(String::new, |trouble| trouble.detail);
            return Err(Error::io("use", &self.path, std::io::Error::other(why)));
        }
        let Some(opened) = *self.identity.lock() else { return Ok(()) };
        let there = match fs.identity(&self.path) {
            Ok(identity) if identity == opened => return Ok(()),
            Ok(_) => std::io::Error::other(
                "another folder than the one that was opened; was its disk unmounted?",
            ),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::io::Error::new(
                e.kind(),
                "the folder that was opened is not there; was its disk unmounted?",
            ),
            Err(e) => e,
        };
        let error = Error::io("look at", &self.path, there);
        self.failed(now, &Reason::DISK_ERROR, &error.to_string());
        if !self.set_gone_since(now.wall_us) {
            log::error!(target: "nvr.store", "{error}; its streams move, and it is not used until the disk is there again");
        }
        Err(error)
    }

    /// Makes it if it does not exist; the folders of streams in it.
    pub(super) fn open(
        &self,
        fs: &dyn FileSystem,
        read_only: bool,
    ) -> Result<Vec<(StreamId, PathBuf)>> {
        if !read_only {
            make_root(fs, &self.path)?;
        }
        let identity = fs.identity(&self.path).map_err(|e| Error::io("look at", &self.path, e))?;
        let found = streams_under(fs, &self.path)?;
        *self.identity.lock() = Some(identity);
        Ok(found)
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }

    /// Notes that it does not do what it is asked to.
    pub(crate) fn failed(&self, now: Moment, reason: &Reason, detail: &str) {
        let mut trouble = self.trouble.lock();
        let since_us = trouble.as_ref().map_or(now.wall_us, |t| t.since_us);
        let (reason, detail) = (reason.clone(), detail.to_owned());
        *trouble = Some(Trouble { since_us, reason, detail, seen_mono_us: now.mono_us });
    }

    /// Notes that it does; says whether that is news.
    pub(crate) fn recovered(&self) -> bool {
        // What was open on a disk that was unmounted can still be written to.
        !self.is_gone() && self.trouble.lock().take().is_some()
    }

    /// It cannot even be listed, or its disk is not there: what lies on it cannot be told. `noted`:
    /// since when it has footage of which streams, where that is known.
    pub(super) fn is_missing(
        &self,
        now: Moment,
        noted: Option<BTreeMap<StreamId, i64>>,
        error: Error,
    ) -> Error {
        *self.noted.lock() = noted;
        let error = self.cannot_be_used(now, error);
        self.set_gone_since(now.wall_us);
        error
    }

    /// Whether a stream is recorded here, or would be.
    pub(super) fn lies_there(&self, id: StreamId) -> bool {
        self.streams.lock().contains(&id)
    }

    /// A stream may be recorded here.
    pub(super) fn has(&self, id: StreamId) {
        self.streams.lock().insert(id);
    }

    pub(super) fn cannot_be_used(&self, now: Moment, error: Error) -> Error {
        log::error!(target: "nvr.store", "{} cannot be used: {error}", self.path.display());
        self.failed(now, &Reason::DISK_ERROR, &error.to_string());
        error
    }

    /// A disk that failed, or whose files could not be put right, is no reason to stop; anything
    /// else is.
    pub(super) fn tolerate(&self, now: Moment, error: Error) -> Result<()> {
        match error {
            e @ (Error::Io { .. } | Error::Damaged { .. }) => {
                self.cannot_be_used(now, e);
                Ok(())
            }
            e => Err(e),
        }
    }
}

/// The root that a path lies under.
pub(super) fn of_path(roots: &[Arc<Root>], path: &Path) -> Option<Arc<Root>> {
    roots.iter().find(|r| path.starts_with(&r.path)).cloned()
}
