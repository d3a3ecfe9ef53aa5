//! One file of a clip, as the bytes it would have.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::fs::Named;
use crate::{Error, Result};

/// Written at once to a clip that is saved.
const COPY_BYTES: u64 = 1 << 20;

/// Bytes of a source file.
#[derive(Clone, Debug)]
pub(super) struct FileRange {
    pub(super) file: Arc<Named>,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Where they stand in the part.
    pub(super) position: u64,
}

/// A progressive MP4 file: head in memory, media in the segment files, which stay open.
#[derive(Clone, Debug)]
pub struct ClipPart {
    pub(super) head: Vec<u8>,
    pub(super) ranges: Vec<FileRange>,
    /// Wall times of movie time 0 and of the movie's end, microseconds since the epoch.
    pub range_us: (i64, i64),
    /// Wall times of all media in the file, with what the edit list hides.
    pub disclosed_us: (i64, i64),
    /// Bytes of the file.
    pub size: u64,
    /// Hexadecimal; equal only if the bytes are. Not quoted.
    pub etag: String,
    /// RFC 6381 name.
    pub video_codec: String,
    /// RFC 6381 name; empty without sound.
    pub audio_codec: String,
}

impl ClipPart {
    /// Reads until `buf` is full or the file ends; how many bytes. [`Error::Io`] or
    /// [`Error::Damaged`] if a segment file cannot be read or is too short.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.fill(offset, buf, Named::read_exact_at)
    }

    /// The same, if it need not wait for a disk (nor for an error); else `None`.
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        let read = |file: &Named, buf: &mut [u8], at| {
            file.file.read_exact_now(buf, at).then_some(()).ok_or(())
        };
        self.fill(offset, buf, read).ok()
    }

    fn fill<E>(
        &self,
        offset: u64,
        buf: &mut [u8],
        read: impl Fn(&Named, &mut [u8], u64) -> std::result::Result<(), E>,
    ) -> std::result::Result<usize, E> {
        let mut done = 0;
        if let Some(head) = usize::try_from(offset).ok().and_then(|at| self.head.get(at..)) {
            done = head.len().min(buf.len());
            buf[..done].copy_from_slice(&head[..done]);
        }
        let first = self.ranges.partition_point(|r| r.position + r.len <= offset + done as u64);
        for range in &self.ranges[first..] {
            if done == buf.len() {
                break;
            }
            let skip = offset + done as u64 - range.position;
            let left = usize::try_from(range.len - skip).unwrap_or(usize::MAX);
            let n = left.min(buf.len() - done);
            read(&range.file, &mut buf[done..done + n], range.offset + skip)?;
            done += n;
        }
        Ok(done)
    }

    /// Writes the whole file in place of what is at `path`: readers see either the old file or
    /// the complete new one. With `durable` it is on stable storage when this returns, else whenever
    /// the system writes it.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written or a segment file cannot be read; nothing is left
    /// behind then.
    pub fn save(&self, path: &Path, durable: bool) -> Result<()> {
        let name = path.file_name().filter(|_| !path.is_dir());
        let name = name.ok_or_else(|| {
            Error::Invalid(format!("{} is not the name of a file to write", path.display()))
        })?;
        // In the same directory, so that the rename is atomic.
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut prefix = OsString::from(".");
        prefix.push(name);
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(0o666)) // less what the umask takes
            .tempfile_in(parent)
            .map_err(|e| Error::io("create a file in", parent, e))?;
        self.write_to(temporary.as_file(), temporary.path())?;
        if durable {
            temporary.as_file().sync_all().map_err(|e| Error::io("sync", temporary.path(), e))?;
        }
        temporary.persist(path).map_err(|e| Error::io("write", path, e.error))?;
        if durable {
            let directory = fs::File::open(parent).and_then(|dir| dir.sync_all());
            directory.map_err(|e| Error::io("sync", parent, e))?;
        }
        Ok(())
    }

    fn write_to(&self, out: &fs::File, path: &Path) -> Result<()> {
        // In one go the file system finds room for the whole file, not for each page that is
        // written: half the time of the copy, and a disk that is too full says so before anything
        // is copied. Only a hint where it is not offered.
        if let Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
            rustix::fs::fallocate(out, FallocateFlags::empty(), 0, self.size)
        {
            return Err(Error::io("write", path, e.into()));
        }
        // Read and written in large blocks: the file system takes pages for each of them at once,
        // where `copy_file_range` and `sendfile` go from page to page.
        let mut block = vec![0; self.size.min(COPY_BYTES) as usize];
        let mut position = 0;
        while position < self.size {
            let n = self.read_at(position, &mut block)?;
            out.write_all_at(&block[..n], position).map_err(|e| Error::io("write", path, e))?;
            position += n as u64;
        }
        Ok(())
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
