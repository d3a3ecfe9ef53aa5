//! How many bytes a stream's segments have under a folder: counted at the first question, and kept in
//! step by who writes and who deletes.

use std::path::Path;

use super::layout;
use super::stream::StreamStore;
use crate::fs::FileSystem;
use crate::{Error, Result};

/// Bytes of segments under a folder.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    /// Counted at the first question.
    counted: Option<u64>,
    /// Written since then, or removed (wrapping).
    changed: u64,
}

impl StreamStore {
    /// Bytes of its segments under a folder.
    pub fn bytes_in(&self, dir: &Path) -> Result<u64> {
        if let Some(bytes) = self.bytes.lock().get(dir)
            && let Some(counted) = bytes.counted
        {
            return Ok(counted.wrapping_add(bytes.changed));
        }
        // What is written while we count may be counted twice until the next start: by no more
        // than the segment that is open.
        self.bytes.lock().entry(dir.to_owned()).or_default().changed = 0;
        let counted = bytes_under(&*self.fs, dir)?;
        let mut bytes = self.bytes.lock();
        let of_dir = bytes.entry(dir.to_owned()).or_default();
        of_dir.counted = Some(counted);
        Ok(counted.wrapping_add(of_dir.changed))
    }

    /// Notes that segments under a folder grew.
    pub fn wrote(&self, dir: &Path, bytes: u64) {
        self.changed(dir, |changed| changed.wrapping_add(bytes));
    }

    /// A write failed, in part or whole: what there is is to be counted anew.
    pub fn miscounted(&self, dir: &Path) {
        self.bytes.lock().remove(dir);
    }

    /// Notes that a segment under a folder is gone.
    pub(super) fn removed(&self, dir: &Path, bytes: u64) {
        self.changed(dir, |changed| changed.wrapping_sub(bytes));
    }

    fn changed(&self, dir: &Path, change: impl Fn(u64) -> u64) {
        let mut bytes = self.bytes.lock();
        if let Some(of_dir) = bytes.get_mut(dir) {
            of_dir.changed = change(of_dir.changed);
        }
    }
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
