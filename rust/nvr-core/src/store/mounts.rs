//! Which disks a store has and what lies on each: noted on all of them, and in folders beside them,
//! so that a disk that is not mounted is missed and not taken for a new one. And what is done when
//! it comes (`docs/on-disk-format.md`, "Disks that are not there").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::damage::Damage;
use super::disks::Root;
use super::events::{Event, EventLog};
use super::recover::{self, read_note, write_note};
use super::stream::logs::spread_holds;
use super::stream::{Folder, visible_of};
use super::{Store, StreamStore, doubt};
use crate::fs::FileSystem;
use crate::ids::StreamId;
use crate::segment::scan::Trust;
use crate::time::Moment;
use crate::{Error, Result};

/// Names a disk, under its root.
const MARKER: &str = ".store";
/// A longer one is none of ours.
const MAX_MARKER: usize = 200;
/// Which disks there are, and what lies on them.
const NOTE: &str = ".disks";
/// A longer note is none of ours.
const MAX_NOTE: usize = 16 << 20;

/// A disk, as noted on the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// Its root.
    path: PathBuf,
    /// Since when it has footage of which streams: `<camera id>/<stream>`.
    streams: BTreeMap<String, i64>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    disks: Vec<Noted>,
}

fn parse_stream(name: &str) -> Option<StreamId> {
    let (camera, kind) = name.split_once('/')?;
    Some(StreamId { camera: camera.parse().ok()?, kind: kind.parse().ok()? })
}

fn read(fs: &dyn FileSystem, folder: &Path) -> Option<Note> {
    // One that cannot be read says nothing; there are others.
    let text = read_note(fs, &folder.join(NOTE), MAX_NOTE).ok()?;
    serde_json::from_str(&text).ok()
}

/// What all notes say of disks, by root: since when they have footage of which streams.
fn read_all<'a>(
    fs: &dyn FileSystem,
    folders: impl Iterator<Item = &'a PathBuf>,
) -> BTreeMap<PathBuf, BTreeMap<StreamId, i64>> {
    let mut all: BTreeMap<PathBuf, BTreeMap<StreamId, i64>> = BTreeMap::new();
    for disk in folders.filter_map(|folder| read(fs, folder)).flat_map(|note| note.disks) {
        let streams = all.entry(disk.path).or_default();
        for (name, from_us) in disk.streams {
            let Some(id) = parse_stream(&name) else { continue };
            streams.entry(id).and_modify(|f| *f = from_us.min(*f)).or_insert(from_us);
        }
    }
    all
}

/// Replaces a note, durably, if it says something else. What it says of other disks, which this
/// process was not told of, stays.
fn write(fs: &dyn FileSystem, folder: &Path, disks: &[Noted]) -> Result<()> {
    let before = read(fs, folder);
    let ours = |noted: &&Noted| disks.iter().any(|disk| disk.path == noted.path);
    let others = before.iter().flat_map(|note| &note.disks).filter(|noted| !ours(noted));
    let note = Note { disks: disks.iter().chain(others).cloned().collect() };
    if before.as_ref() == Some(&note) {
        return Ok(());
    }
    let text = serde_json::to_string(&note).map_err(|e| Error::Invalid(e.to_string()))?;
    let (path, new) = (folder.join(NOTE), folder.join(format!("{NOTE}.new")));
    let file = write_note(fs, &new, text.as_bytes())?;
    file.file.set_len(text.len() as u64).map_err(|e| Error::io("truncate", &new, e))?;
    file.sync_data()?;
    fs.rename(&new, &path).map_err(|e| Error::io("rename", &new, e))?;
    fs.sync_dir(folder).map_err(|e| Error::io("sync", folder, e))
}

/// Whether a store's disk lies at a root.
fn is_marked(fs: &dyn FileSystem, root: &Path) -> Result<bool> {
    Ok(!read_note(fs, &root.join(MARKER), MAX_MARKER)?.is_empty())
}

/// Marks a root as a store's disk, durably, also where an earlier process did not get so far.
fn mark(fs: &dyn FileSystem, root: &Path, now: Moment) -> Result<()> {
    let text = read_note(fs, &root.join(MARKER), MAX_MARKER)?;
    let text =
        if text.is_empty() { format!("nvr store, since {} us\n", now.wall_us) } else { text };
    write_note(fs, &root.join(MARKER), text.as_bytes())?.sync_data()?;
    fs.sync_dir(root).map_err(|e| Error::io("sync", root, e))
}

/// Of roots, those whose disk is not there, by the notes on the others and in `beside`: no store's
/// disk lies where there was one. With the streams that have footage there, and since when.
pub fn missing(
    fs: &dyn FileSystem,
    roots: &[PathBuf],
    beside: &[PathBuf],
) -> BTreeMap<PathBuf, BTreeMap<StreamId, i64>> {
    let mut noted = noted(fs, roots, beside);
    noted.retain(|root, _| is_missing(fs, root));
    noted
}

/// Of roots, those that are noted, with the streams that have footage there, and since when.
pub(super) fn noted(
    fs: &dyn FileSystem,
    roots: &[PathBuf],
    beside: &[PathBuf],
) -> BTreeMap<PathBuf, BTreeMap<StreamId, i64>> {
    let mut noted = read_all(fs, roots.iter().chain(beside));
    noted.retain(|root, _| roots.contains(root));
    noted
}

/// Whether the disk of a root that is noted is not there. One that cannot be read is: it fails, and
/// says so.
pub(super) fn is_missing(fs: &dyn FileSystem, root: &Path) -> bool {
    matches!(is_marked(fs, root), Ok(false))
}

/// Makes a folder a store's disk: a new one in the place of one that is gone for good.
///
/// # Errors
/// The file system refuses.
pub fn init(fs: &dyn FileSystem, root: &Path, now: Moment) -> Result<()> {
    super::make_root(fs, root)?;
    mark(fs, root, now)
}

impl Store {
    /// Notes on all disks that are there, and beside them, which disks there are.
    pub(crate) fn note_disks(&self) -> Result<()> {
        let _one = self.noting.lock();
        self.disks.changed.store(false, Ordering::Relaxed);
        let disk = |root: &Arc<Root>| {
            let mut streams = root.noted();
            for stream in self.streams() {
                if let Some(from_us) = stream.since_under(&root.path) {
                    streams.insert(stream.id, from_us);
                }
            }
            let name =
                |(id, from): (StreamId, i64)| (format!("{}/{}", id.camera, id.kind.as_str()), from);
            Noted { path: root.path.clone(), streams: streams.into_iter().map(name).collect() }
        };
        let (there, gone): (Vec<_>, Vec<_>) = self.roots().iter().partition(|root| !root.is_gone());
        // A disk without its mark would be missed at the next start: first the mark, then the word.
        let (fs, now) = (&**self.fs(), self.clock().now());
        let mut marked = Ok(());
        let there: Vec<_> = there
            .into_iter()
            .filter(|root| match root.marked(|| mark(fs, &root.path, now)) {
                Ok(()) => true,
                Err(e) => {
                    marked = Err(e);
                    false
                }
            })
            .collect();
        let expected = gone.into_iter().filter(|root| root.may_be_missed());
        let disks: Vec<Noted> = there.iter().copied().chain(expected).map(disk).collect();
        let there = there.iter().map(|root| &root.path);
        let write = |folder: &PathBuf| write(fs, folder, &disks);
        let noted = there.chain(&self.disks.beside).map(write).fold(marked, Result::and);
        if noted.is_err() {
            self.disks.changed.store(true, Ordering::Relaxed);
        }
        noted
    }

    /// Whether something is to be noted of the disks.
    pub(crate) fn disks_changed(&self) -> bool {
        self.disks.changed.load(Ordering::Relaxed)
    }

    /// How often a disk came, or had room again.
    pub(crate) fn arrivals(&self) -> usize {
        self.disks.arrivals()
    }

    /// Roots whose disk was not there, and is now: to be taken up.
    pub fn returned(&self) -> Vec<PathBuf> {
        let fs = &**self.fs();
        let back = |root: &&Arc<Root>| {
            let marked = is_marked(fs, &root.path);
            let listed = || fs.read_dir(&root.path).is_ok();
            root.is_gone() && (marked.is_ok_and(|m| m || !root.is_expected()) && listed())
        };
        self.roots().iter().filter(back).map(|root| root.path.clone()).collect()
    }

    /// Looks at all disks: whether each is still there, and one that was full has room again. Its
    /// streams may be elsewhere by now: nobody writes there who would notice.
    pub fn look_at_disks(&self) {
        for root in self.roots().iter().filter(|root| !root.is_gone()) {
            // Who is gone notes and says so.
            let there = root.look(&**self.fs(), self.clock().now()).is_ok();
            if there && self.has_room_again(root) && root.recovered() {
                log::info!(target: "nvr.store", "{}: the disk has room again", root.path.display());
                self.disks.came();
            }
        }
    }

    /// Takes a disk into use that was not there: its footage is put right and shown, and it is
    /// recorded on again. What was put right, for people.
    ///
    /// # Errors
    /// It cannot be read or written: it stays as if it were not there.
    pub fn take_up(&self, path: &Path) -> Result<Vec<String>> {
        self.writable()?;
        let _one = self.taking_up.lock();
        let Some(root) = self.roots().iter().find(|r| r.path == path && r.is_gone()) else {
            return Ok(Vec::new());
        };
        let (fs, now) = (&**self.fs(), self.clock().now());
        let mut work = recover::Work::new();
        // What was in the page cache may have gone with the disk.
        work.trust = Trust::Nothing;
        // Who dies meanwhile must not leave word that all is in the page cache.
        recover::forget_boot(fs, path)?;
        work.doubtful = Arc::new(doubt::write_again(fs, path)?);
        work.read_marks(fs, std::slice::from_ref(&root.path));
        work.only = Some(path.to_owned());
        let first = !root.was_opened();
        let found = root.open(fs, false)?;
        let mut taken = Vec::new();
        for (id, dir) in found {
            let stream = self.stream_or_new(id);
            match Folder::open(fs, dir.clone(), true) {
                Ok(folder) => stream.take_folder(folder)?,
                Err(e) => {
                    stream.folder_unread(&dir, &e);
                    root.tolerate(now, e)?;
                    continue;
                }
            }
            let roots = std::slice::from_ref(&root.path);
            taken.push((recover::recover_files(fs, &stream, roots, &mut work), stream));
            if !self.roots().iter().any(|other| other.lies_there(id)) {
                root.has(id);
            }
        }
        root.is_here();
        // Of runs that this process records itself the log has yet to tell.
        for (recovered, stream) in taken.into_iter().filter(|_| first) {
            recover::tell(&stream, recovered, &mut work);
        }
        for e in work.failed.drain(..) {
            if let Some(path) = doubt::of_error(&e) {
                self.doubt.add([path.to_owned()]);
            }
            root.tolerate(now, e)?;
        }
        if root.trouble().is_none() {
            doubt::forget(fs, path)?;
            recover::note_boot(fs, path)?;
        }
        self.note_disks()?;
        self.disks.came();
        Ok(work.repairs)
    }
}

impl StreamStore {
    /// Since when there is footage under a root; `None`: there is none.
    fn since_under(&self, root: &Path) -> Option<i64> {
        let logs = self.logs.lock();
        let of_log = |log: &EventLog| {
            let began = log.events.iter().filter_map(|event| match event {
                Event::RunStarted { at_us, .. } | Event::RunCopied { at_us, .. } => Some(*at_us),
                _ => None,
            });
            began.min().unwrap_or(i64::MIN)
        };
        let here = logs.iter().filter(|(dir, _)| dir.starts_with(root));
        here.map(|(_, log)| of_log(log)).min()
    }

    /// Shows what lies in a folder whose disk came.
    fn take_folder(&self, folder: Folder) -> Result<()> {
        let Folder { dir, days, mut log } = folder;
        let mut logs = self.logs.lock();
        if let Some(before) = logs.remove(&dir) {
            log.take_over(before);
        }
        self.unnamed.lock().insert(dir.clone());
        logs.insert(dir.clone(), log);
        spread_holds(&mut logs);
        {
            let mut dirs = self.dirs.write();
            if !dirs.contains(&dir) {
                dirs.push(dir.clone());
            }
        }
        self.miscounted(&dir);
        // What is known of its files may be of a disk that is there no more.
        {
            let mut all = self.days.write();
            days.into_iter().for_each(|day| all.insert(day));
            let known: Vec<i64> = all.iter().collect();
            known
                .into_iter()
                .filter_map(|day| all.get_mut(day).map(super::days::Day::forget))
                .for_each(drop);
        }
        *self.damage.write() = Damage::of(logs.values().flat_map(|log| &log.events)).into();
        *self.visible.write() = visible_of(&logs).into();
        self.note_plain();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;
    use crate::ids::{CameraId, StreamKind};
    use crate::time::SimClock;

    fn open(roots: &[PathBuf], beside: &Path) -> Result<Store> {
        let clock = Arc::new(SimClock::at(1_795_478_400_000_000));
        Store::open_beside(Arc::new(RealFs), clock, roots, &[beside.to_owned()], false)
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_missed_until_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, beside, away] = ["a", "b", "beside", "away"].map(|name| dir.path().join(name));
        let roots = [a.clone(), b.clone()];
        std::fs::create_dir(&beside).unwrap();
        let camera = |n| CameraId(uuid::Uuid::from_u128(n));
        let [old, new] = [1, 2].map(|n| StreamId { camera: camera(n), kind: StreamKind::Main });
        let store = open(&roots, &beside).unwrap();
        store.stream_or_new(old).dir_under(&a).unwrap();
        store.note_disks().unwrap();
        drop(store);
        // Its folder is empty, and then is not there at all.
        for empty in [true, false] {
            std::fs::rename(&a, &away).unwrap();
            if empty {
                std::fs::create_dir(&a).unwrap();
            }
            let store = open(&roots, &beside).unwrap();
            let trouble = store.roots()[0].trouble().unwrap();
            assert!(trouble.detail.contains("is it mounted?"), "{}", trouble.detail);
            for id in [old, new] {
                assert_eq!(store.stream_for_writing(id).unwrap().1.path, b);
            }
            let unknown = |id| store.unknown(id, 0, 5).unwrap();
            assert_eq!(unknown(old)[0].reason, crate::reason::Reason::DISK_ERROR);
            assert!(unknown(new).is_empty(), "nothing of it was ever there");
            assert!(store.returned().is_empty() && entries(&a) == 0);
            assert_eq!(a.exists(), empty);
            // It comes.
            let _ = std::fs::remove_dir(&a);
            std::fs::rename(&away, &a).unwrap();
            assert_eq!(store.returned(), [a.as_path()]);
            store.take_up(&a).unwrap();
            assert!(store.returned().is_empty() && store.roots()[0].trouble().is_none());
            assert!(unknown(old).is_empty());
            assert!(store.stream(old).unwrap().unwrap().dirs().iter().any(|d| d.starts_with(&a)));
        }
    }

    #[test]
    fn the_only_disk_is_missed_and_a_new_one_in_its_place_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let [a, beside] = ["a", "beside"].map(|name| dir.path().join(name));
        std::fs::create_dir(&beside).unwrap();
        drop(open(std::slice::from_ref(&a), &beside).unwrap());
        drop(open(std::slice::from_ref(&a), &beside).unwrap());
        std::fs::remove_dir_all(&a).unwrap();
        let error = open(std::slice::from_ref(&a), &beside).unwrap_err();
        assert!(error.to_string().contains("nvr store init") && !a.exists(), "{error}");
        init(&RealFs, &a, Moment { wall_us: 1, mono_us: 1 }).unwrap();
        drop(open(&[a], &beside).unwrap());
    }

    #[test]
    fn what_one_log_holds_is_held_in_every_folder() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, beside] = ["a", "b", "beside"].map(|name| dir.path().join(name));
        std::fs::create_dir(&beside).unwrap();
        let camera = CameraId(uuid::Uuid::from_u128(1));
        let id = StreamId { camera, kind: StreamKind::Main };
        let store = open(&[a.clone(), b.clone()], &beside).unwrap();
        store.hold(id, "kept", (0, 10), "").unwrap();
        store.hold(id, "over", (0, 10), "").unwrap();
        store.release(id, "over").unwrap();
        drop(store);
        // Who made this folder was killed before its log said anything.
        let dirs = [&a, &b].map(|root| super::super::layout::stream_dir(root, id));
        dirs.iter().for_each(|dir| std::fs::create_dir_all(dir).unwrap());
        let store = open(&[a.clone(), b.clone()], &beside).unwrap();
        let stream = store.stream(id).unwrap().unwrap();
        for dir in &dirs {
            let run = crate::ids::RunId(uuid::Uuid::from_u128(2));
            assert!(stream.visible().holds(&dir.join("2026-11-23"), run, 5), "{}", dir.display());
        }
        // It is written before anything else is.
        for (root, dir) in [&a, &b].into_iter().zip(&dirs) {
            stream.write_starts(root).unwrap();
            let log = EventLog::open(&RealFs, &dir.join("events"), false).unwrap();
            assert!(!log.lacks("kept") && !log.kept.holds.contains_key("over"));
        }
    }

    #[test]
    fn what_is_held_while_a_disk_is_away_holds_what_reaches_in_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, beside, away] = ["a", "b", "beside", "away"].map(|name| dir.path().join(name));
        std::fs::create_dir(&beside).unwrap();
        let id = StreamId { camera: CameraId(uuid::Uuid::from_u128(1)), kind: StreamKind::Main };
        let roots = [a.clone(), b];
        let store = open(&roots, &beside).unwrap();
        store.stream_or_new(id).dir_under(&a).unwrap();
        store.note_disks().unwrap();
        drop(store);
        std::fs::rename(&a, &away).unwrap();
        let store = open(&roots, &beside).unwrap();
        let noon_us = 1_795_521_600_000_000;
        let range = store.hold(id, "case", (noon_us, noon_us + 1), "").unwrap();
        assert!(range.0 <= noon_us - 320_000_000, "a segment and a GOP of 20 s");
        std::fs::rename(&away, &a).unwrap();
        store.take_up(&a).unwrap();
        let stream = store.stream(id).unwrap().unwrap();
        let day = super::super::layout::stream_dir(&a, id).join("2026-11-24");
        let run = crate::ids::RunId(uuid::Uuid::from_u128(2));
        let held = |start_us| stream.visible().holds(&day, run, start_us);
        assert!(held(noon_us) && held(noon_us - 320_000_000) && !held(noon_us + 1));
        // All is there: as much as reaches in, and no more.
        assert_eq!(store.hold(id, "next", (noon_us, noon_us + 1), "").unwrap().0, noon_us);
    }

    #[test]
    fn a_disk_whose_mark_may_not_last_is_not_missed() {
        use crate::fs::sim::{EIO, Fault, SimFs};
        let clock = Arc::new(SimClock::at(1_795_478_400_000_000));
        let roots = ["/a", "/b"].map(PathBuf::from);
        let open = |fs: &SimFs| Store::open(Arc::new(fs.clone()), clock.clone(), &roots, false);
        for seed in 0..10 {
            let fs = SimFs::default();
            roots.iter().for_each(|root| fs.create_dir_all(root).unwrap());
            fs.sync_dir(Path::new("/")).unwrap();
            fs.set_faults(vec![Fault::of("sync", "/b", EIO)]);
            let store = open(&fs).unwrap();
            fs.set_faults(Vec::new());
            // It goes, and its mark with what was never synced.
            fs.mount(&roots[1], 1);
            store.look_at_disks();
            store.note_disks().unwrap();
            let fs = fs.after_power_failure(seed);
            fs.mount(&roots[1], 0);
            let store = open(&fs).unwrap();
            assert!(store.roots().iter().all(|root| !root.is_gone()), "{seed}");
        }
    }
}
