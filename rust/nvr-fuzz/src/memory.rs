//! A file system with one file, in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nvr_core::fs::{DirEntry, File, FileSystem, Named, Space};

/// The path of the file.
pub const PATH: &str = "/file";

/// A file whose bytes are in memory; counts what is read of it.
#[derive(Debug)]
pub struct MemoryFile {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl MemoryFile {
    /// Of these bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(MemoryFile { bytes, read: AtomicU64::new(0) })
    }

    /// The file with its name.
    pub fn named(self: &Arc<Self>) -> Named {
        Named { file: self.clone(), path: PathBuf::from(PATH) }
    }

    /// Bytes that were read of it until now.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let n = buf.len().min(self.bytes.len() - from);
        buf[..n].copy_from_slice(&self.bytes[from..from + n]);
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn start_writeback(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Has the file, and nothing else.
#[derive(Debug)]
pub struct MemoryFs(pub Arc<MemoryFile>);

impl FileSystem for MemoryFs {
    fn create_new(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if path == Path::new(PATH) {
            Ok(self.0.clone())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn open_rw(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_dir(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(Vec::new())
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space { total: 0, available: 0 })
    }

    fn file_len(&self, _: &Path) -> io::Result<u64> {
        self.0.size()
    }

    fn identity(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((0, 0))
    }

    fn boot_id(&self) -> String {
        String::new()
    }
}
