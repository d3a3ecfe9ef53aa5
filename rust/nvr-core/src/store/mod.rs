//! The footage of a node: its streams on one or more roots (one for each disk), and everything a
//! reader asks of it.

pub mod check;
pub(crate) mod copying;
pub mod coverage;
pub mod damage;
pub mod events;
pub mod layout;
mod read;
pub(crate) mod recover;
mod retention;
pub mod scrub;
pub mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

pub use coverage::{Coverage, Gap, Span};
pub use read::Mode;
pub use retention::Limits;
pub use stream::{Located, OpenSegment, StreamStore};

use crate::fs::FileSystem;
use crate::ids::StreamId;
use crate::time::Clock;
use crate::{Error, Result};

/// One root: a folder on a disk of its own.
#[derive(Debug)]
pub struct Root {
    /// Its path.
    pub path: PathBuf,
    /// Bytes of all segments; counted at the first question.
    footage_bytes: Mutex<Option<u64>>,
    /// Written since then, or removed (wrapping).
    changed_bytes: AtomicU64,
}

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
    /// Start of the oldest footage on any root.
    pub oldest_us: Option<i64>,
}

/// The footage of a node.
pub struct Store {
    fs: Arc<dyn FileSystem>,
    clock: Arc<dyn Clock>,
    roots: Vec<Arc<Root>>,
    streams: RwLock<BTreeMap<StreamId, Arc<StreamStore>>>,
    /// Since when streams are being recorded without a break.
    recording: RwLock<BTreeMap<StreamId, i64>>,
    read_only: bool,
    closed: AtomicBool,
    /// What had to be repaired when the store was opened.
    pub repairs: Vec<String>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("roots", &self.roots).finish_non_exhaustive()
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
        if roots.is_empty() {
            return Err(Error::Invalid("a store needs at least one folder".to_owned()));
        }
        let mut trust = Vec::new();
        let mut dirs: BTreeMap<StreamId, Vec<PathBuf>> = BTreeMap::new();
        for root in roots {
            if !read_only {
                make_root(&*fs, root)?;
                trust.push(recover::trust_of(&*fs, root));
            }
            for (id, dir) in streams_under(&*fs, root)? {
                dirs.entry(id).or_default().push(dir);
            }
        }
        let trust = if trust.contains(&crate::segment::scan::Trust::Nothing) {
            crate::segment::scan::Trust::Nothing
        } else {
            crate::segment::scan::Trust::PageCache
        };
        let mut streams = BTreeMap::new();
        let mut repairs = Vec::new();
        for (id, dirs) in dirs {
            let stream = StreamStore::open(fs.clone(), id, dirs, !read_only)?;
            if !read_only {
                recover::recover(&*fs, &stream, roots, trust, &mut repairs)?;
            }
            streams.insert(id, Arc::new(stream));
        }
        if !read_only {
            for root in roots {
                recover::note_boot(&*fs, root)?;
            }
        }
        let root = |path: &PathBuf| {
            let (footage_bytes, changed_bytes) = (Mutex::default(), AtomicU64::default());
            Arc::new(Root { path: path.clone(), footage_bytes, changed_bytes })
        };
        Ok(Store {
            fs,
            clock,
            roots: roots.iter().map(root).collect(),
            streams: RwLock::new(streams),
            recording: RwLock::default(),
            read_only,
            closed: AtomicBool::new(false),
            repairs,
        })
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
        &self.roots
    }

    /// The wall clock.
    pub fn now_us(&self) -> i64 {
        self.clock.now().wall_us
    }

    /// No more questions are answered.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn usable(&self) -> Result<()> {
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

    /// A stream to write to, and the root for it: where it has been before, else where there is
    /// the most room.
    pub fn stream_for_writing(&self, id: StreamId) -> Result<(Arc<StreamStore>, Arc<Root>)> {
        self.writable()?;
        let known = self.streams.read().get(&id).cloned();
        let stream = match known {
            Some(stream) => stream,
            None => {
                let new = Arc::new(StreamStore::open(self.fs.clone(), id, Vec::new(), true)?);
                self.streams.write().entry(id).or_insert(new).clone()
            }
        };
        let dirs = stream.dirs();
        let before = self.roots.iter().find(|r| dirs.iter().any(|d| d.starts_with(&r.path)));
        let root = match before {
            Some(root) => root.clone(),
            None => self.roomiest()?,
        };
        Ok((stream, root))
    }

    fn roomiest(&self) -> Result<Arc<Root>> {
        let mut best: Option<(u64, &Arc<Root>)> = None;
        for root in &self.roots {
            let space =
                self.fs.space(&root.path).map_err(|e| Error::io("statvfs", &root.path, e))?;
            if best.is_none_or(|(most, _)| space.available > most) {
                best = Some((space.available, root));
            }
        }
        best.map(|(_, root)| root.clone()).ok_or(Error::Closed("the store has no roots"))
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

    /// Room on each root.
    pub fn disk_usage(&self) -> Result<Vec<DiskUsage>> {
        self.usable()?;
        let mut oldest_us = None;
        for stream in self.streams() {
            if let Some((oldest, _)) = stream.range()? {
                oldest_us = Some(oldest_us.map_or(oldest, |o: i64| o.min(oldest)));
            }
        }
        let usage = |root: &Arc<Root>| {
            let space =
                self.fs.space(&root.path).map_err(|e| Error::io("statvfs", &root.path, e))?;
            Ok(DiskUsage {
                root: root.path.clone(),
                total_bytes: space.total,
                free_bytes: space.available,
                footage_bytes: self.footage_bytes(root)?,
                oldest_us,
            })
        };
        self.roots.iter().map(usage).collect()
    }

    fn footage_bytes(&self, root: &Root) -> Result<u64> {
        let mut counted = root.footage_bytes.lock();
        let base = match *counted {
            Some(base) => base,
            None => {
                // What is written while we count is in `changed_bytes`, and may be counted twice
                // for a moment: by no more than the segments that are open.
                root.changed_bytes.store(0, Ordering::SeqCst);
                let mut sum = 0;
                for (_, dir) in streams_under(&*self.fs, &root.path)? {
                    sum += bytes_under(&*self.fs, &dir)?;
                }
                *counted.insert(sum)
            }
        };
        Ok(base.wrapping_add(root.changed_bytes.load(Ordering::SeqCst)))
    }

    fn remove_segment(&self, path: &Path, len: u64) -> Result<()> {
        match self.fs.remove_file(path) {
            Ok(()) => {}
            // Gone already: somebody was faster, and wanted the same.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("remove", path, e)),
        }
        if let Some(root) = self.roots.iter().find(|r| path.starts_with(&r.path)) {
            root.changed_bytes.fetch_sub(len, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Root {
    /// Notes that a segment grew.
    pub fn wrote(&self, bytes: u64) {
        self.changed_bytes.fetch_add(bytes, Ordering::SeqCst);
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

fn bytes_under(fs: &dyn FileSystem, stream_dir: &Path) -> Result<u64> {
    let list = |dir: &Path| fs.read_dir(dir).map_err(|e| Error::io("list", dir, e));
    let mut sum = 0;
    for day in list(stream_dir)?.into_iter().filter(|e| e.is_dir) {
        let day_dir = stream_dir.join(&day.name);
        for entry in list(&day_dir)? {
            if layout::parse_segment_name(&entry.name).is_some() {
                let path = day_dir.join(&entry.name);
                sum += fs.file_len(&path).map_err(|e| Error::io("stat", &path, e))?;
            }
        }
    }
    Ok(sum)
}
