//! A file system that counts its calls: what a question costs a disk is a number, not a time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{DirEntry, File, FileSystem, Space};

/// How many calls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Reads of files.
    pub reads: u64,
    /// Files opened or made.
    pub opens: u64,
    /// Directories listed.
    pub lists: u64,
    /// Questions for a file's size.
    pub sizes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Files, folders and disks made durable.
    pub syncs: u64,
}

impl Calls {
    /// The larger of each number.
    pub fn most(&self, other: &Calls) -> Calls {
        Calls {
            reads: self.reads.max(other.reads),
            opens: self.opens.max(other.opens),
            lists: self.lists.max(other.lists),
            sizes: self.sizes.max(other.sizes),
            read_bytes: self.read_bytes.max(other.read_bytes),
            syncs: self.syncs.max(other.syncs),
        }
    }
}

/// Counts of a file system and all its files.
#[derive(Debug, Default)]
pub struct Counters {
    reads: AtomicU64,
    opens: AtomicU64,
    lists: AtomicU64,
    sizes: AtomicU64,
    read_bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Counters {
    /// The calls since this was asked last.
    pub fn take(&self) -> Calls {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Calls {
            reads: take(&self.reads),
            opens: take(&self.opens),
            lists: take(&self.lists),
            sizes: take(&self.sizes),
            read_bytes: take(&self.read_bytes),
            syncs: take(&self.syncs),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Another file system, counted.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn FileSystem>,
    /// What was called.
    pub calls: Arc<Counters>,
}

impl Counted {
    /// Counts what is asked of a file system.
    pub fn over(inner: Arc<dyn FileSystem>) -> Self {
        Counted { inner, calls: Arc::default() }
    }

    fn opened(&self, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        count(&self.calls.opens);
        Ok(Arc::new(CountedFile { inner: file?, calls: self.calls.clone() }))
    }
}

#[derive(Debug)]
struct CountedFile {
    inner: Arc<dyn File>,
    calls: Arc<Counters>,
}

impl File for CountedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        count(&self.calls.reads);
        let n = self.inner.read_at(buf, offset)?;
        self.calls.read_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(buf, offset)
    }

    fn write_pieces_at(&self, pieces: &[Bytes], offset: u64) -> io::Result<()> {
        self.inner.write_pieces_at(pieces, offset)
    }

    fn size(&self) -> io::Result<u64> {
        count(&self.calls.sizes);
        self.inner.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn start_writeback(&self) -> io::Result<()> {
        self.inner.start_writeback()
    }

    fn sync_data(&self) -> io::Result<()> {
        count(&self.calls.syncs);
        self.inner.sync_data()
    }
}

impl FileSystem for Counted {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.opened(self.inner.create_new(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.opened(self.inner.open(path))
    }

    fn open_rw(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.opened(self.inner.open_rw(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        count(&self.calls.lists);
        self.inner.read_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        count(&self.calls.syncs);
        self.inner.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        count(&self.calls.syncs);
        self.inner.sync_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.inner.file_len(path)
    }

    fn identity(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.inner.identity(path)
    }

    fn boot_id(&self) -> String {
        self.inner.boot_id()
    }
}
