//! All I/O of the store goes through [`FileSystem`], so that a test can fail any call.

pub mod counted;
#[cfg(test)]
pub(crate) mod sim;

use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::{Error, Result};

/// An open file. Positions are given with each call; there is no cursor.
pub trait File: Send + Sync + Debug {
    /// Reads until `buf` is full or the file ends; how many bytes.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Fills `buf` with what the page cache has, and never waits for a disk; false: it would have to,
    /// or cannot.
    fn read_exact_now(&self, _buf: &mut [u8], _offset: u64) -> bool {
        false
    }
    /// Writes all of `buf`.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `pieces`, one after the other, in as few calls as the system allows.
    fn write_pieces_at(&self, pieces: &[Bytes], offset: u64) -> io::Result<()> {
        self.write_all_at(&pieces.concat(), offset)
    }
    /// Its size.
    fn size(&self) -> io::Result<u64>;
    /// Cuts it.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Starts writing dirty pages out, without waiting (a hint).
    fn start_writeback(&self) -> io::Result<()>;
    /// Returns when data and size are on stable storage.
    fn sync_data(&self) -> io::Result<()>;
}

/// A file that is only read, held where it is used: of thousands that are open, each step on the way
/// to one is fetched from memory.
#[derive(Debug)]
pub enum ReadFile {
    /// The machine's own.
    Plain(fs::File),
    /// Any other.
    Other(Arc<dyn File>),
}

impl ReadFile {
    /// Reads until `buf` is full or the file ends; how many bytes.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            ReadFile::Plain(file) => read_until(file, buf, offset),
            ReadFile::Other(file) => file.read_at(buf, offset),
        }
    }

    /// Its size.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            ReadFile::Plain(file) => Ok(file.metadata()?.size()),
            ReadFile::Other(file) => file.size(),
        }
    }

    /// Its number, if it is the machine's own.
    pub(crate) fn number(&self) -> Option<RawFd> {
        match self {
            ReadFile::Plain(file) => Some(file.as_raw_fd()),
            ReadFile::Other(_) => None,
        }
    }
}

/// Reads what the page cache has, and never waits for a disk; `None`: it would have to, or cannot.
pub(crate) fn read_now(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Option<usize> {
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(file, &mut [io::IoSliceMut::new(buf)], offset, flags).ok()
}

fn read_until(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, without the path; names that are not UTF-8 are not ours and are left out.
    pub name: String,
    /// It is a directory.
    pub is_dir: bool,
}

/// Room on the disk of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that we may still write.
    pub available: u64,
}

/// What the store needs of a file system.
pub trait FileSystem: Send + Sync + Debug {
    /// Makes a new file for reading and writing; fails if it exists.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens for reading, as one of very many.
    fn open_read(&self, path: &Path) -> io::Result<ReadFile> {
        Ok(ReadFile::Other(self.open(path)?))
    }
    /// Opens for reading and writing.
    fn open_rw(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Makes a directory and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Its entries, in no order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Replaces `to` by `from`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything durable that was written to the disk of a path, by whomever.
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// Room left.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Bytes that a file takes.
    fn file_len(&self, path: &Path) -> io::Result<u64>;
    /// Which folder lies at a path: another one after a disk was mounted there, or unmounted.
    fn identity(&self, path: &Path) -> io::Result<(u64, u64)>;
    /// How many threads may ask it at once and be answered sooner than by turns.
    fn at_once(&self) -> usize {
        1
    }
    /// Changes when the machine starts anew: until then, what was written is at least in the page
    /// cache, whatever became of the process. Empty: cannot be told.
    fn boot_id(&self) -> String;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

/// Linux takes no more in one call (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_until(&self.0, buf, offset)
    }

    fn read_exact_now(&self, buf: &mut [u8], offset: u64) -> bool {
        read_now(self.0.as_fd(), buf, offset) == Some(buf.len())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn write_pieces_at(&self, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = slices.as_mut_slice();
        // Empty pieces at the front, which no write would get over.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(&self.0, &left[..left.len().min(MAX_SLICES)], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut left, n);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.size())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn start_writeback(&self) -> io::Result<()> {
        begin_writeback(&self.0)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Asks the system to begin to write what was changed of a file, without waiting for it: many files
/// find their places together, and one commit of the file system's journal then serves them all
/// (sync_file_range(2)). It says nothing of what is durable, nor takes an error from a later
/// `fdatasync`: that it would do only if it waited.
///
/// # Safety
/// The call takes numbers alone, and the file is open for as long as it lasts.
#[allow(unsafe_code)]
fn begin_writeback(file: &fs::File) -> io::Result<()> {
    // SAFETY: as above.
    let done =
        unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl FileSystem for RealFs {
    fn at_once(&self) -> usize {
        // A disk with nothing in the cache answers several sooner than one after the other.
        std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(fs::File::open(path)?)))
    }

    fn open_read(&self, path: &Path) -> io::Result<ReadFile> {
        // Else the first read in a day writes to the disk, and each looks whether it is the first.
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(path);
        match file {
            // Only for who owns the file.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => fs::File::open(path),
            file => file,
        }
        .map(ReadFile::Plain)
    }

    fn open_rw(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(fs::File::open(path)?)?)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let s = rustix::fs::statvfs(path)?;
        Ok(Space { total: s.f_blocks * s.f_frsize, available: s.f_bavail * s.f_frsize })
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.size())
    }

    fn identity(&self, path: &Path) -> io::Result<(u64, u64)> {
        let metadata = fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }

    fn boot_id(&self) -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
    }
}

/// A file together with its path, so that errors say which file it was.
#[derive(Clone, Debug)]
pub struct Named {
    /// The open file.
    pub file: Arc<dyn File>,
    /// Its path.
    pub path: PathBuf,
}

impl Named {
    /// Fills `buf` from `offset`; an error if the file ends before.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let n = self.read_at(buf, offset)?;
        if n < buf.len() {
            return Err(Error::damaged(&self.path, offset + n as u64, "the file ends too early"));
        }
        Ok(())
    }

    /// Reads until `buf` is full or the file ends; how many bytes.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buf, offset).map_err(|e| Error::io("read", &self.path, e))
    }

    /// Writes all of `buf`.
    pub fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(buf, offset).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Writes all of `pieces`, one after the other.
    pub fn write_pieces_at(&self, pieces: &[Bytes], offset: u64) -> Result<()> {
        self.file.write_pieces_at(pieces, offset).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Its size.
    pub fn size(&self) -> Result<u64> {
        self.file.size().map_err(|e| Error::io("stat", &self.path, e))
    }

    /// Data and size are on stable storage.
    pub fn sync_data(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_is_begun_and_what_is_written_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create_new(&dir.path().join("file")).unwrap();
        file.write_all_at(&[7; 100_000], 0).unwrap();
        // The kernel refuses what it does not know.
        file.start_writeback().unwrap();
        file.write_all_at(&[8; 100_000], 50_000).unwrap();
        file.sync_data().unwrap();
        let mut found = vec![0; 150_000];
        assert_eq!(file.read_at(&mut found, 0).unwrap(), found.len());
        assert_eq!(found, [[7; 50_000].as_slice(), &[8; 100_000]].concat());
    }
}
