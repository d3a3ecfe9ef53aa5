//! The footage of a node: its streams on one or more roots (one for each disk), and everything a
//! reader asks of it.

mod bytes;
pub mod check;
pub(crate) mod copying;
#[cfg(test)]
mod counts;
pub mod coverage;
pub mod damage;
mod days;
mod disks;
pub(crate) mod doubt;
pub mod events;
mod holds;
pub mod layout;
pub(crate) mod marks;
pub mod mounts;
#[cfg(test)]
mod newest;
mod read;
pub(crate) mod recover;
mod retention;
pub(crate) mod sacrifice;
pub mod scrub;
pub mod stream;
mod threads;
pub mod unknown;
pub mod visible;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

pub use coverage::{Coverage, Gap, Span};
use disks::of_path;
pub use disks::{DiskUsage, Root, Trouble};
use doubt::Doubt;
pub use read::Mode;
pub use retention::{GroupLimits, Limits, Retained};
use stream::Folder;
pub use stream::{Located, OpenSegment, StreamStore};
use unknown::Disks;

use crate::fs::FileSystem;
use crate::ids::StreamId;
use crate::segment::scan::Trust;
use crate::time::Clock;
use crate::{Error, Result};

/// The footage of a node.
pub struct Store {
    fs: Arc<dyn FileSystem>,
    clock: Arc<dyn Clock>,
    disks: Arc<Disks>,
    streams: RwLock<BTreeMap<StreamId, Arc<StreamStore>>>,
    /// Since when streams are being recorded without a break.
    recording: RwLock<BTreeMap<StreamId, i64>>,
    read_only: bool,
    closed: AtomicBool,
    /// What had to be repaired when the store was opened.
    pub repairs: Vec<String>,
    /// What an earlier process wrote, and may not have synced.
    pub(crate) taken_over: Vec<PathBuf>,
    /// What could not be synced.
    pub(crate) doubt: Arc<Doubt>,
    /// One at a time.
    noting: Mutex<()>,
    taking_up: Mutex<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("roots", &self.disks.roots).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store. Makes the roots if they do not exist, and repairs what a crash left behind
    /// (unless it is to be read only).
    ///
    /// # Errors
    /// No root is given, or the file system refuses.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
        roots: &[PathBuf],
        read_only: bool,
    ) -> Result<Self> {
        Store::open_beside(fs, clock, roots, &[], read_only)
    }

    /// The same. `beside`: folders elsewhere in which the disks are noted as well, so that the only
    /// disk, or all of them, can be missed.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_beside(
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
        roots: &[PathBuf],
        beside: &[PathBuf],
        read_only: bool,
    ) -> Result<Self> {
        if roots.is_empty() {
            return Err(Error::Invalid("a store needs at least one folder".to_owned()));
        }
        let now = clock.now();
        let mut noted = mounts::noted(&*fs, roots, beside);
        let disks = Arc::new(Disks::new(fs.clone(), clock.clone(), roots, beside));
        let opened = &disks.roots;
        let (mut work, mut doubtful) = (recover::Work::new(), BTreeSet::new());
        let mut dirs: BTreeMap<StreamId, Vec<PathBuf>> = BTreeMap::new();
        let mut failed = None;
        for root in opened {
            let noted = noted.remove(&root.path);
            if noted.is_some() && mounts::is_missing(&*fs, &root.path) {
                let why = "the disk that the store has here is not there: is it mounted? (a new disk in its place is for `nvr store init`)";
                let error = Error::io("use", &root.path, std::io::Error::other(why));
                failed = Some(root.is_missing(now, noted, error));
                continue;
            }
            if !read_only && recover::trust_of(&*fs, &root.path) == Trust::Nothing {
                work.trust = Trust::Nothing;
            }
            if !read_only {
                match doubt::write_again(&*fs, &root.path) {
                    Ok(noted) => doubtful.extend(noted),
                    Err(e) => root.tolerate(now, e)?,
                }
            }
            match root.open(&*fs, read_only) {
                Ok(found) => found.into_iter().for_each(|(id, dir)| {
                    root.has(id);
                    dirs.entry(id).or_default().push(dir);
                }),
                // One disk that fails is no reason to leave the others.
                Err(e) => failed = Some(root.is_missing(now, noted, e)),
            }
        }
        if !doubtful.is_empty() {
            // The pages may be gone, though the machine has not been started anew.
            work.trust = Trust::Nothing;
        }
        work.doubtful = Arc::new(doubtful);
        if !read_only {
            work.read_marks(&*fs, roots);
        }
        let usable = |root: &&Arc<Root>| root.trouble().is_none();
        if let Some(e) = failed.filter(|_| !opened.iter().any(|root| usable(&root))) {
            return Err(e);
        }
        let one = |(id, dirs): (StreamId, Vec<PathBuf>)| {
            let (mut readable, mut unread) = (Vec::new(), Vec::new());
            for dir in dirs {
                match Folder::open(&*fs, dir.clone(), !read_only) {
                    Ok(folder) => readable.push(folder),
                    Err(e) => unread.push((dir, e)),
                }
            }
            let stream = StreamStore::new(&disks, id, readable);
            unread.iter().for_each(|(dir, e)| stream.folder_unread(dir, e));
            let mut own = work.beside();
            if !read_only {
                recover::recover(&*fs, &stream, roots, &mut own);
            }
            (stream, own, unread)
        };
        let threads = if read_only { 1 } else { fs.at_once() };
        let put_right = threads::on_threads(threads, dirs.into_iter().collect(), one);
        let mut streams = BTreeMap::new();
        for (stream, mut own, unread) in put_right {
            for (dir, e) in unread {
                of_path(opened, &dir).map_or(Ok(()), |r| r.tolerate(now, e))?;
            }
            for e in own.failed.drain(..) {
                let path = e.path().map(Path::to_owned);
                let Some(root) = path.and_then(|path| of_path(opened, &path)) else {
                    return Err(e);
                };
                if let Some(path) = doubt::of_error(&e) {
                    stream.doubt(path);
                }
                root.tolerate(now, e)?;
            }
            work.take_in(own);
            streams.insert(stream.id, Arc::new(stream));
        }
        for root in opened.iter().filter(usable).filter(|_| !read_only) {
            let noted =
                doubt::forget(&*fs, &root.path).and_then(|()| recover::note_boot(&*fs, &root.path));
            noted.or_else(|e| root.tolerate(now, e))?;
        }
        // Readers are told of what is missing, also of streams that lie nowhere else.
        for id in opened.iter().flat_map(|root| root.noted().into_keys()) {
            let new = || Arc::new(StreamStore::new(&disks, id, Vec::new()));
            streams.entry(id).or_insert_with(new);
        }
        let store = Store {
            fs,
            clock,
            doubt: disks.doubt.clone(),
            disks,
            streams: RwLock::new(streams),
            recording: RwLock::default(),
            read_only,
            closed: AtomicBool::new(false),
            repairs: work.repairs,
            taken_over: work.looked_at,
            noting: Mutex::default(),
            taking_up: Mutex::default(),
        };
        if !read_only && let Err(e) = store.note_disks() {
            log::error!(target: "nvr.store", "which disks the store has is not noted everywhere: {e}");
        }
        Ok(store)
    }

    /// The file system.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Its roots.
    pub fn roots(&self) -> &[Arc<Root>] {
        &self.disks.roots
    }

    /// The wall clock.
    pub fn now_us(&self) -> i64 {
        self.clock.now().wall_us
    }

    /// No more questions are answered.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Says whether it is open.
    ///
    /// # Errors
    /// It was closed.
    pub fn usable(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(Error::Closed("the store")) } else { Ok(()) }
    }

    pub(crate) fn writable(&self) -> Result<()> {
        self.usable()?;
        if self.read_only {
            return Err(Error::Invalid("the store was opened to be read only".to_owned()));
        }
        Ok(())
    }

    /// All streams that have footage, or had.
    pub fn streams(&self) -> Vec<Arc<StreamStore>> {
        self.streams.read().values().cloned().collect()
    }

    /// A stream, if it has footage (or had).
    pub fn stream(&self, id: StreamId) -> Result<Option<Arc<StreamStore>>> {
        self.usable()?;
        Ok(self.streams.read().get(&id).cloned())
    }

    /// Writes one of its streams' logs again, whose sync failed; says whether that could be done.
    pub(crate) fn write_log_again(&self, path: &Path) -> bool {
        let streams = self.streams();
        let stream = streams.iter().find(|s| s.dirs().iter().any(|dir| path.starts_with(dir)));
        stream.is_none_or(|stream| stream.write_log_again(path))
    }

    /// Tells readers since when a stream is being recorded (`None`: it is not).
    pub fn set_recording(&self, id: StreamId, since_us: Option<i64>) {
        let mut recording = self.recording.write();
        match since_us {
            Some(since) => recording.insert(id, since),
            None => recording.remove(&id),
        };
    }

    /// Since when a stream is being recorded.
    pub fn recording_since(&self, id: StreamId) -> Option<i64> {
        self.recording.read().get(&id).copied()
    }
}

/// Makes a root, durably, if it does not exist.
fn make_root(fs: &dyn FileSystem, root: &Path) -> Result<()> {
    match fs.read_dir(root) {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("list", root, e)),
    }
    fs.create_dir_all(root).map_err(|e| Error::io("create", root, e))?;
    let parent = root.parent().unwrap_or(root);
    fs.sync_dir(parent).map_err(|e| Error::io("sync", parent, e))
}

/// The streams' folders under a root. Other folders are left alone.
pub(crate) fn streams_under(fs: &dyn FileSystem, root: &Path) -> Result<Vec<(StreamId, PathBuf)>> {
    let list = |dir: &Path| fs.read_dir(dir).map_err(|e| Error::io("list", dir, e));
    let mut found = Vec::new();
    for entry in list(root)? {
        let Some(camera) = entry.name.parse().ok().filter(|_| entry.is_dir) else { continue };
        let dir = root.join(&entry.name);
        for entry in list(&dir)? {
            if let Some(kind) = entry.name.parse().ok().filter(|_| entry.is_dir) {
                found.push((StreamId { camera, kind }, dir.join(&entry.name)));
            }
        }
    }
    found.sort();
    Ok(found)
}
