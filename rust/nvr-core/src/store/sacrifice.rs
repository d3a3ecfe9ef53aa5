//! What a disk that is too slow gives up, and in which order: first what copies and scrubs, then
//! those who read footage, then sub-streams, then main streams. By how much of the room for what
//! waits to be written is taken. Who watches live is never given up: that takes nothing from a disk
//! (`docs/decisions/0035-who-gives-way-on-a-slow-disk.md`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::disks::of_path;
use super::{Root, Store};
use crate::Result;
use crate::fs::File;
use crate::ids::StreamKind;

/// Readers wait so long for a disk that is busy recording; then they are refused.
const PATIENCE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(5) };
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Who wants something of a disk, in the order in which they give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Scrub and copies.
    Background,
    /// Clips, fragments, pictures.
    Reader,
    /// A stream that is recorded.
    Stream(StreamKind),
}

impl User {
    /// What may wait to be written while it uses the disk, of `room` bytes in all.
    pub(crate) fn share(self, room: usize) -> usize {
        match self {
            User::Background => room / 8,
            User::Reader => room / 4,
            User::Stream(StreamKind::Sub) => room / 2,
            User::Stream(StreamKind::Main) => room,
        }
    }
}

/// What waits to be written to a disk.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    room: AtomicUsize,
}

impl Default for Backlog {
    fn default() -> Self {
        Backlog { bytes: AtomicUsize::new(0), room: AtomicUsize::new(usize::MAX) }
    }
}

impl Backlog {
    /// So many bytes may wait.
    pub(crate) fn set_room(&self, bytes: usize) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    /// So many bytes wait.
    pub(crate) fn set(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many do.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether somebody is to leave the disk to those that come before.
    pub(crate) fn is_for(&self, user: User) -> bool {
        self.bytes() <= user.share(self.room.load(Ordering::Relaxed))
    }

    /// A reader waits until recording leaves it the disk.
    ///
    /// # Errors
    /// It did not for a while ([`io::ErrorKind::ResourceBusy`]).
    fn wait(&self) -> io::Result<()> {
        let begun = Instant::now();
        while !self.is_for(User::Reader) {
            if begun.elapsed() >= PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "its disk is too slow for reading beside recording, which goes first: ask again later",
                ));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Store {
    /// Waits until the disk of a path has time for more than recording and those who read.
    ///
    /// # Errors
    /// The store was closed meanwhile.
    pub(crate) fn leave_to_recording(&self, path: &Path) -> Result<()> {
        let Some(root) = of_path(self.roots(), path) else { return Ok(()) };
        while !root.backlog.is_for(User::Background) {
            std::thread::sleep(10 * LOOK_AGAIN);
            self.usable()?;
        }
        Ok(())
    }
}

/// A file whose readers give way to recording.
#[derive(Debug)]
pub(super) struct GivesWay {
    pub(super) file: Arc<dyn File>,
    pub(super) root: Arc<Root>,
}

impl File for GivesWay {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.root.backlog.wait()?;
        self.file.read_at(buf, offset)
    }

    fn read_exact_now(&self, buf: &mut [u8], offset: u64) -> bool {
        self.root.backlog.is_for(User::Reader) && self.file.read_exact_now(buf, offset)
    }

    fn write_all_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn start_writeback(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
