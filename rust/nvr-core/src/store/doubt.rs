//! The note of files whose sync failed. The system may have dropped what it could not write, and
//! calls its pages clean: a later sync that succeeds says nothing of them, and neither does a
//! recorder that starts anew and finds them in the page cache. Whoever opens the store next writes
//! these files again, so that the next sync means what it says (`docs/on-disk-format.md`,
//! "Durability and recovery").

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use parking_lot::Mutex;

use super::copying::Target;
use super::layout::{parse_day, parse_index_name, parse_segment_name};
use super::recover::{read_note, write_note};
use crate::fs::{FileSystem, Named};
use crate::ids::RunId;
use crate::{Error, Result};

/// Its name, under the root.
const NOTE: &str = ".doubtful";
/// A longer note is none of ours.
const MAX_NOTE: usize = 16 << 20;

/// Files whose sync failed since the store was opened, and that are not noted yet.
#[derive(Debug, Default)]
pub(crate) struct Doubt(Mutex<BTreeSet<PathBuf>>);

impl Doubt {
    /// The sync of these files failed.
    pub(crate) fn add(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.0.lock().extend(paths);
    }

    /// Notes, durably, those that lie under a root. Until that is done, the root's watermark says
    /// nothing of them, and must stay where it is.
    pub(crate) fn note(&self, fs: &dyn FileSystem, root: &Path) -> Result<()> {
        let mut waiting = self.0.lock();
        let here: BTreeSet<PathBuf> =
            waiting.iter().filter(|path| path.starts_with(root)).cloned().collect();
        if here.is_empty() {
            return Ok(());
        }
        add_to_note(fs, root, &here)?;
        waiting.retain(|path| !here.contains(path));
        Ok(())
    }
}

fn add_to_note(fs: &dyn FileSystem, root: &Path, paths: &BTreeSet<PathBuf>) -> Result<()> {
    let mut all = read(fs, root)?;
    all.extend(paths.iter().filter(|path| is_ours(root, path)).cloned());
    if all.is_empty() {
        return Ok(());
    }
    let line = |path: &PathBuf| Some(format!("{}\n", path.strip_prefix(root).ok()?.to_str()?));
    let text: String = all.iter().filter_map(line).collect();
    // All of it, each time: what was written of it before may be in doubt as well.
    write_note(fs, &root.join(NOTE), text.as_bytes())?.sync_data()?;
    fs.sync_dir(root).map_err(|e| Error::io("sync", root, e))
}

/// The file that an error is about, if it is one of a failed sync.
pub(crate) fn of_error(error: &Error) -> Option<&Path> {
    match error {
        Error::Io { op: "sync", path, .. } => Some(path),
        _ => None,
    }
}

/// The files under a root that are noted.
pub(crate) fn read(fs: &dyn FileSystem, root: &Path) -> Result<BTreeSet<PathBuf>> {
    let text = read_note(fs, &root.join(NOTE), MAX_NOTE)?;
    Ok(text.lines().map(|line| root.join(line)).filter(|path| is_ours(root, path)).collect())
}

/// A file of a stream: `<camera id>/<stream>/events`, or one in a day's folder.
fn is_ours(root: &Path, path: &Path) -> bool {
    let Ok(path) = path.strip_prefix(root) else { return false };
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let of_stream = |camera: &str, kind: &str| {
        camera.parse::<crate::ids::CameraId>().is_ok()
            && kind.parse::<crate::ids::StreamKind>().is_ok()
    };
    match parts.as_deref() {
        Some([camera, kind, "events"]) => of_stream(camera, kind),
        Some([camera, kind, day, name]) => {
            of_stream(camera, kind)
                && parse_day(day).is_some()
                && (parse_segment_name(name).is_some() || parse_index_name(name).is_some())
        }
        _ => false,
    }
}

/// Writes all noted files of a root again, as they are, and makes them durable; which they are.
/// Nobody else may be writing to them.
pub(super) fn write_again(fs: &dyn FileSystem, root: &Path) -> Result<BTreeSet<PathBuf>> {
    let noted = read(fs, root)?;
    for path in &noted {
        let file = match fs.open_rw(path) {
            Ok(file) => Named { file, path: path.clone() },
            // Retention was there.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let (mut at, mut bytes) = (0, vec![0; 1 << 20]);
        loop {
            let n = file.read_at(&mut bytes, at)?;
            if n == 0 {
                break;
            }
            file.write_all_at(&bytes[..n], at)?;
            at += n as u64;
        }
        file.file.set_len(at).map_err(|e| Error::io("truncate", path, e))?;
        file.sync_data()?;
    }
    Ok(noted)
}

/// Noted segments under a stream's folder that are to be looked at, by day and run. An index
/// stands for all segments of its day: it is made anew from them.
pub(super) fn segments(
    noted: &BTreeSet<PathBuf>,
    stream_dir: &Path,
) -> BTreeMap<(i64, RunId), BTreeSet<u32>> {
    let mut of_runs: BTreeMap<(i64, RunId), BTreeSet<u32>> = BTreeMap::new();
    for path in noted.iter().filter(|path| path.starts_with(stream_dir)) {
        let name = |n: usize| path.ancestors().nth(n).and_then(|p| p.file_name()?.to_str());
        let (Some(name), Some(day)) = (name(0), name(1).and_then(parse_day)) else { continue };
        if let Some((segment_ms, run)) = parse_segment_name(name) {
            of_runs.entry((day, run)).or_default().insert(segment_ms);
        } else if let Some(run) = parse_index_name(name) {
            of_runs.entry((day, run)).or_default().insert(0);
        }
    }
    of_runs
}

/// They are as durable as all else: the note goes.
pub(super) fn forget(fs: &dyn FileSystem, root: &Path) -> Result<()> {
    super::copying::remove(fs, &root.join(NOTE))
}

/// The segments that a note of copies names, in the same form.
pub(super) fn of_targets(targets: &BTreeSet<Target>) -> BTreeMap<(i64, RunId), BTreeSet<u32>> {
    let mut of_runs: BTreeMap<(i64, RunId), BTreeSet<u32>> = BTreeMap::new();
    for target in targets {
        of_runs.entry((target.day, target.run)).or_default().insert(target.segment_ms);
    }
    of_runs
}
