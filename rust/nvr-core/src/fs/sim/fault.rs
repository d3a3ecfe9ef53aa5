//! What a simulated disk does wrong, and how slow it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::time::SimClock;

/// Calls under a folder that fail.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Which calls: "create", "open", "read", "write", "truncate", "sync", "list", "remove",
    /// "rename", "space"; "": all of them; "change": all that change anything.
    pub op: &'static str,
    /// Only of files and folders under this one.
    pub under: PathBuf,
    /// The error number.
    pub errno: i32,
    /// So many such calls succeed before.
    pub after: u64,
    /// So many fail (`u64::MAX`: all).
    pub times: u64,
    /// A write that fails has written half of its bytes.
    pub short: bool,
}

impl Fault {
    /// All such calls fail from now on.
    pub(crate) fn of(op: &'static str, under: &str, errno: i32) -> Self {
        Fault { op, under: under.into(), errno, after: 0, times: u64::MAX, short: false }
    }

    fn concerns(&self, op: &str, path: &Path) -> bool {
        let reads = matches!(op, "open" | "read" | "list" | "space");
        (self.op.is_empty() || self.op == op || (self.op == "change" && !reads))
            && path.starts_with(&self.under)
    }

    /// A call comes: with which error does it fail?
    pub(super) fn strikes(&mut self, op: &str, path: &Path) -> bool {
        if !self.concerns(op, path) || self.times == 0 {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        self.times = self.times.saturating_sub(u64::from(self.times != u64::MAX));
        true
    }
}

/// A hard disk: what is not where its head is takes a seek. Counts in simulated time.
#[derive(Clone)]
pub(crate) struct HardDisk {
    /// Time passes by this clock while the disk works.
    pub clock: Option<Arc<SimClock>>,
    pub seek_us: u64,
    pub bytes_per_us: u64,
    /// How often the head moved.
    pub seeks: u64,
    /// How long it worked.
    pub busy_us: u64,
    /// The file whose end the head is at.
    pub head: Option<u64>,
}

impl std::fmt::Debug for HardDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HardDisk").field("seeks", &self.seeks).finish_non_exhaustive()
    }
}

impl HardDisk {
    /// 10 ms a seek and 150 MB/s: a large SATA disk.
    pub(crate) fn new(clock: Option<Arc<SimClock>>) -> Self {
        HardDisk { clock, seek_us: 10_000, bytes_per_us: 150, seeks: 0, busy_us: 0, head: None }
    }

    /// Writes so many bytes of a file (`None`: a folder's entries).
    pub(super) fn write(&mut self, inode: Option<u64>, bytes: u64) {
        let moved = inode.is_none() || self.head != inode;
        let took = bytes / self.bytes_per_us + if moved { self.seek_us } else { 0 };
        self.head = inode;
        self.seeks += u64::from(moved);
        self.busy_us += took;
        if let Some(clock) = &self.clock {
            clock.advance(i64::try_from(took).unwrap_or(i64::MAX));
        }
    }
}
