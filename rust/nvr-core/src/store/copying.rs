//! The note of which segments copies are being written to. Their footage may be of any age, so
//! the watermark says nothing of it: after a crash these segments are looked at too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::doubt;
use super::layout::{day_name, parse_day, parse_segment_name, segment_name};
use super::recover::{Work, read_note, recover_noted};
use super::stream::StreamStore;
use crate::fs::{FileSystem, Named};
use crate::ids::RunId;
use crate::{Error, Result};

/// Its name, in the stream's folder.
const NOTE: &str = "copying";
/// A longer note is none of ours.
const MAX_NOTE: usize = 1 << 20;

/// A segment, by day and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Midnight (UTC) of its folder's day.
    pub day: i64,
    /// Whose.
    pub run: RunId,
    /// Milliseconds from midnight.
    pub segment_ms: u32,
}

impl Target {
    /// Name of its folder.
    pub(crate) fn day_dir(&self, stream_dir: &Path) -> PathBuf {
        stream_dir.join(day_name(self.day))
    }

    /// Its file.
    pub(crate) fn path(&self, stream_dir: &Path) -> PathBuf {
        self.day_dir(stream_dir).join(segment_name(self.segment_ms, self.run))
    }

    /// Where it is made anew when a hole in it is filled.
    pub(crate) fn new_path(&self, stream_dir: &Path) -> PathBuf {
        let name = format!("{}.new", segment_name(self.segment_ms, self.run));
        self.day_dir(stream_dir).join(name)
    }

    fn line(&self) -> String {
        format!("{}/{}\n", day_name(self.day), segment_name(self.segment_ms, self.run))
    }

    fn parse(line: &str) -> Option<Self> {
        let (day, name) = line.split_once('/')?;
        let (segment_ms, run) = parse_segment_name(name)?;
        Some(Target { day: parse_day(day)?, run, segment_ms })
    }
}

/// Which segments are being written to under a stream's folder. Empty: there is no note.
pub(crate) fn read(fs: &dyn FileSystem, stream_dir: &Path) -> Result<BTreeSet<Target>> {
    let text = read_note(fs, &stream_dir.join(NOTE), MAX_NOTE)?;
    Ok(text.lines().filter_map(Target::parse).collect())
}

/// Notes, durably, that these segments are about to be written to, and no others are.
pub(crate) fn write(
    fs: &dyn FileSystem,
    stream_dir: &Path,
    targets: &BTreeSet<Target>,
) -> Result<()> {
    let (path, new) = (stream_dir.join(NOTE), stream_dir.join(format!("{NOTE}.new")));
    remove(fs, &new)?;
    let file = fs.create_new(&new).map_err(|e| Error::io("create", &new, e))?;
    let file = Named { file, path: new };
    let text: String = targets.iter().map(Target::line).collect();
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    fs.rename(&file.path, &path).map_err(|e| Error::io("rename", &file.path, e))?;
    fs.sync_dir(stream_dir).map_err(|e| Error::io("sync", stream_dir, e))
}

/// Removes a file that need not be there.
pub(crate) fn remove(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    match fs.remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Puts the noted segments right, and the indexes that speak of them; then the note goes.
pub(super) fn recover(
    fs: &dyn FileSystem,
    stream: &StreamStore,
    dir: &Path,
    work: &mut Work,
) -> Result<()> {
    let targets = read(fs, dir)?;
    for target in &targets {
        remove(fs, &target.new_path(dir))?;
    }
    let failed = work.failed.len();
    recover_noted(fs, stream, dir, doubt::of_targets(&targets), work)?;
    if targets.is_empty() || work.failed.len() > failed {
        Ok(())
    } else {
        remove(fs, &dir.join(NOTE))
    }
}
