//! What of a disk is not durable yet, and the pass that makes it so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::stats::Histogram;
use crate::fs::{FileSystem, Named};
use crate::ids::RunId;
use crate::store::marks::{self, Mark, Marks};
use crate::store::recover::{MARGIN_US, set_watermark, watermark};
use crate::store::stream::EVENTS;
use crate::store::{Root, Store};
use crate::{Error, Result};

/// Files and folders that changed since they were synced.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    files: Mutex<BTreeMap<PathBuf, Named>>,
    dirs: Mutex<BTreeSet<PathBuf>>,
    watermark: Mutex<Watermark>,
    /// Logs whose sync failed, and that could not be written again.
    doubtful_logs: Mutex<BTreeSet<PathBuf>>,
    /// Up to where each run is written, and will be durable after the next pass.
    written: Mutex<BTreeMap<RunId, Written>>,
    /// As which number marks were noted last. One pass at a time: what another has taken and not yet
    /// synced is not durable.
    noted: Mutex<u64>,
    /// There was a pass that took in what an earlier process left in the page cache.
    took_over: AtomicBool,
    /// It was said that the disks could not be noted.
    unnoted: AtomicBool,
}

impl Dirty {
    pub(super) fn of(store: &Store, root: &Root) -> Self {
        let at_us = watermark(&**store.fs(), &root.path).unwrap_or(i64::MIN);
        let watermark = Mutex::new(Watermark { at_us, begun_us: i64::MAX });
        // What the process before said of its runs stays true.
        let (noted, marks) = marks::read(&**store.fs(), &root.path);
        let mono_us = store.clock().now().mono_us;
        let written = marks.into_iter().map(|(run, mark)| (run, Written { mark, mono_us }));
        let (written, noted) = (Mutex::new(written.collect()), Mutex::new(noted));
        Dirty { watermark, written, noted, ..Dirty::default() }
    }

    /// A segment begins. If the clock was set back, that is before the watermark, which must not
    /// speak of it.
    pub(super) fn begins(&self, fs: &dyn FileSystem, root: &Path, at_us: i64) {
        let mut watermark = self.watermark.lock();
        watermark.begun_us = watermark.begun_us.min(at_us);
        if at_us < watermark.at_us {
            match set_watermark(fs, root, at_us) {
                Ok(()) => watermark.at_us = at_us,
                // Footage that nobody calls durable yet is better than none.
                Err(e) => log::error!(target: "nvr.store", "the watermark stays too late: {e}"),
            }
        }
    }

    pub(super) fn add(&self, file: &Named) {
        let mut files = self.files.lock();
        if !files.contains_key(&file.path) {
            files.insert(file.path.clone(), file.clone());
        }
    }

    /// A fragment is written whole, and the index names it: nothing before `len` changes any more. Its
    /// file was added before.
    pub(super) fn wrote(&self, run: RunId, mark: Mark) {
        self.written.lock().insert(run, Written { mark, mono_us: i64::MAX });
    }

    /// Up to where everything will be durable once all files are synced that are to be synced now.
    fn marks(&self, now_us: i64) -> Marks {
        let mut written = self.written.lock();
        written.values_mut().for_each(|w| w.mono_us = w.mono_us.min(now_us));
        written.retain(|_, w| now_us - w.mono_us < MARKED_US);
        let mut newest: Vec<_> = written.iter().map(|(run, w)| (w.mono_us, *run, w.mark)).collect();
        newest.sort_unstable_by_key(|(mono_us, run, _)| std::cmp::Reverse((*mono_us, *run)));
        newest.into_iter().take(marks::MOST).map(|(_, run, mark)| (run, mark)).collect()
    }

    pub(super) fn add_dir(&self, dir: &Path) {
        self.dirs.lock().insert(dir.to_owned());
    }

    /// Says what could not be made durable, in the end.
    pub(super) fn tell_left(&self, root: &Root, error: &Error) {
        let files = self.files.lock();
        let names: Vec<_> = files.keys().take(10).map(|path| path.display().to_string()).collect();
        let more = files.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let root = root.path.display();
        let left = match files.len() {
            0 => "everything that was written there had been synced".to_owned(),
            _ => format!("this may not last there: {}{more}", names.join(", ")),
        };
        log::error!(target: "nvr.store", "closed without the disk of {root} ({error}): {left}");
    }

    /// Makes all of it durable, and notes so. What fails is tried again with the next pass.
    pub(super) fn sync(&self, store: &Store, root: &Root, took: &Histogram) -> Result<()> {
        let mut noted_as = self.noted.lock();
        let (fs, since_us) = (&**store.fs(), store.now_us());
        // What is open can be synced wherever it lies; nothing else is to be written there.
        let here = root.look(fs, store.clock().now());
        let mut failed = None;
        for stream in store.streams().into_iter().filter(|_| here.is_ok()) {
            match stream.write_starts(&root.path) {
                Ok(Some(log)) => {
                    log.path.parent().into_iter().for_each(|dir| self.add_dir(dir));
                    self.add(&log);
                }
                Ok(None) => {}
                Err(e) => failed = Some(e),
            }
        }
        self.watermark.lock().begun_us = i64::MAX;
        // Before the files are taken: of what is marked, each is among them or was synced.
        let marks = self.marks(store.clock().now().mono_us);
        let files = std::mem::take(&mut *self.files.lock());
        let dirs = std::mem::take(&mut *self.dirs.lock());
        for file in files.values() {
            // Begin with all of them, then wait: the disk orders its work.
            let _ = file.file.start_writeback();
        }
        // Without its log footage may not be shown, nor a hold kept: it is not left in doubt until
        // the next start.
        self.doubtful_logs.lock().retain(|path| !store.write_log_again(path));
        if here.is_ok() && !self.took_over.load(Ordering::Relaxed) {
            // A recorder that was killed has left what it wrote, but nobody synced it. In the
            // background: it takes as long as others' data on this disk.
            match fs.sync_all(&root.path) {
                Ok(()) => self.took_over.store(true, Ordering::Relaxed),
                Err(e) => {
                    let ours = store.taken_over.iter().filter(|p| p.starts_with(&root.path));
                    // And of all that is written now: what the system could not write then it may call
                    // clean, before each is synced by itself.
                    store.doubt.add(ours.chain(files.keys()).cloned());
                    failed = Some(Error::io("sync", &root.path, e));
                }
            }
        }
        for (path, file) in files {
            let start = Instant::now();
            if let Err(e) = file.sync_data() {
                store.doubt.add([path.clone()]);
                // At once: what is written behind it may be synced before the next pass.
                if path.ends_with(EVENTS) && !store.write_log_again(&path) {
                    self.doubtful_logs.lock().insert(path.clone());
                }
                self.files.lock().insert(path, file);
                failed = Some(e);
            }
            took.record(start.elapsed());
        }
        for dir in dirs {
            if here.is_err() {
                self.add_dir(&dir);
                continue;
            }
            match fs.sync_dir(&dir) {
                Ok(()) => {}
                // Retention was there first.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    failed = Some(Error::io("sync", &dir, e));
                    self.add_dir(&dir);
                }
            }
        }
        here?;
        if store.disks_changed()
            && let Err(e) = store.note_disks()
        {
            // It is noted with a later pass; said once.
            if !self.unnoted.swap(true, Ordering::Relaxed) {
                log::error!(target: "nvr.store", "which disks the store has is not noted everywhere: {e}");
            }
        }
        // The system may have dropped what it could not write, and a later success says nothing of
        // it: the next start has to know.
        let noted = store.doubt.note(fs, &root.path);
        if let Some(e) = failed {
            return Err(e);
        }
        noted?;
        marks::write(fs, &root.path, *noted_as + 1, &marks)?;
        *noted_as += 1;
        let mut watermark = self.watermark.lock();
        let at_us = since_us.min(watermark.begun_us);
        set_watermark(fs, &root.path, at_us)?;
        watermark.at_us = at_us;
        Ok(())
    }
}

/// Runs that nobody has written to for so long are not marked: the watermark has passed all of them.
const MARKED_US: i64 = 2 * MARGIN_US;

/// Up to where a run is written, and the first pass since, by the clock that never steps.
#[derive(Clone, Copy, Debug)]
struct Written {
    mark: Mark,
    mono_us: i64,
}

/// Before when everything is durable.
#[derive(Debug)]
struct Watermark {
    at_us: i64,
    /// The earliest segment that began since the last pass did.
    begun_us: i64,
}

impl Default for Watermark {
    fn default() -> Self {
        Watermark { at_us: i64::MIN, begun_us: i64::MAX }
    }
}
