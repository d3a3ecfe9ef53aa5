//! A stream's event logs, one in its folder under each root: what is written to them when, and what
//! they say together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::events::{Event, EventLog, History};
use super::super::layout::stream_dir;
use super::super::visible::{Held, Visible};
use super::{EVENTS, StreamStore, visible_of};
use crate::fs::Named;
use crate::ids::RunId;
use crate::{Error, Result};

/// What is held is held on every disk: who made a folder may have been killed before its log said so,
/// or a disk that was not there may have come.
pub(in super::super) fn spread_holds(logs: &mut BTreeMap<PathBuf, EventLog>) {
    let all: Vec<Event> = logs.values().flat_map(holds_of).collect();
    for event in all {
        let Event::Hold { hold, .. } = &event else { continue };
        logs.values_mut().filter(|log| log.lacks(hold)).for_each(|log| log.keep(event.clone()));
    }
}

fn holds_of(log: &EventLog) -> Vec<Event> {
    let hold = |(hold, held): (&String, &Held)| Event::Hold {
        at_us: held.from_us,
        hold: hold.clone(),
        from_us: held.from_us,
        until_us: held.until_us,
        detail: String::new(),
    };
    log.kept.holds.iter().map(hold).collect()
}

impl StreamStore {
    /// Makes sure that the stream has a folder under a root, and returns it.
    pub fn dir_under(&self, root: &Path) -> Result<PathBuf> {
        let dir = stream_dir(root, self.id);
        if !self.dirs.read().contains(&dir) {
            self.fs.create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
            self.sync_name(&dir)?;
            let mut new = EventLog::open(&*self.fs, &dir.join(EVENTS), true)?;
            // What is held is held on every disk, whichever of them fails.
            let holds: Vec<Event> = self.logs.lock().values().flat_map(holds_of).collect();
            for hold in holds {
                let file = new.append(&*self.fs, hold)?;
                file.sync_data().inspect_err(|_| self.doubt(&file.path))?;
            }
            self.fs.sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
            let mut logs = self.logs.lock();
            logs.insert(dir.clone(), new);
            self.dirs.write().push(dir.clone());
            self.disks.changed.store(true, Ordering::Relaxed);
            *self.visible.write() = Arc::new(visible_of(&logs));
            self.note_plain();
        }
        Ok(dir)
    }

    /// Appends to the log in one of the stream's folders; the file is to be synced by the caller.
    pub fn log(&self, dir: &Path, event: Event) -> Result<Named> {
        let damage = matches!(event, Event::Damaged { .. } | Event::Intact { .. });
        let damage = damage.then(|| event.clone());
        let mut logs = self.logs.lock();
        let shown = matches!(
            event,
            Event::RunStarted { .. }
                | Event::Expired { .. }
                | Event::Hold { .. }
                | Event::Released { .. }
        );
        let no_folder = || Error::Invalid(format!("{} is no folder of this stream", dir.display()));
        let log = logs.get_mut(dir).ok_or_else(no_folder)?;
        let file = log.append(&*self.fs, event);
        self.note_doubt(dir, log);
        // The start of a run counts also where it is not written yet.
        if shown {
            *self.visible.write() = Arc::new(visible_of(&logs));
            self.note_plain();
        }
        let file = file?;
        if let Some(event) = damage {
            Arc::make_mut(&mut self.damage.write()).note(&event);
            self.note_plain();
        }
        Ok(file)
    }

    /// A run begins under a root that is not to be written to now. Says whether there is a log of
    /// this stream that knows it now, and has it written before anything else.
    pub(crate) fn run_starts(&self, root: &Path, started: &Event) -> bool {
        let mut logs = self.logs.lock();
        let Some(log) = logs.get_mut(&stream_dir(root, self.id)) else { return false };
        log.keep(started.clone());
        *self.visible.write() = Arc::new(visible_of(&logs));
        self.note_plain();
        true
    }

    /// Writes starts of runs that wait for the disk under a root; the log, if there were any.
    pub(crate) fn write_starts(&self, root: &Path) -> Result<Option<Named>> {
        let mut logs = self.logs.lock();
        let dir = stream_dir(root, self.id);
        let Some(log) = logs.get_mut(&dir) else { return Ok(None) };
        let written = log.write_waiting(&*self.fs);
        self.note_doubt(&dir, log);
        written
    }

    /// A log may have been cut, and its disk not have taken that.
    fn note_doubt(&self, dir: &Path, log: &mut EventLog) {
        if std::mem::take(&mut log.doubtful) {
            self.disks.doubt.add([dir.join(EVENTS)]);
        }
    }

    /// Notes an event in all of its logs, durably.
    pub fn log_durably(&self, event: &Event) -> Result<()> {
        self.dirs().iter().try_for_each(|dir| self.log_durably_in(dir, event.clone()))
    }

    /// Notes an event in one of its logs, durably.
    pub fn log_durably_in(&self, dir: &Path, event: Event) -> Result<()> {
        let file = self.log(dir, event)?;
        self.make_told(dir, &file)
    }

    /// Returns when all that was to be told durably in one of its logs is: what it knows and its disk
    /// did not take may not be acted on.
    pub(in super::super) fn surely_told(&self, dir: &Path) -> Result<()> {
        if !self.untold.lock().contains(dir) {
            return Ok(());
        }
        let file = self.logs.lock().get(dir).map_or(Ok(None), EventLog::write_again)?;
        file.map_or(Ok(()), |file| self.make_told(dir, &file))
    }

    fn make_told(&self, dir: &Path, file: &Named) -> Result<()> {
        self.untold.lock().insert(dir.to_owned());
        file.sync_data().inspect_err(|_| {
            self.doubt(&file.path);
            self.write_log_again(&file.path);
        })?;
        if self.unnamed.lock().contains(dir) {
            self.sync_name(dir)?;
            self.unnamed.lock().remove(dir);
        }
        self.fs.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
        self.untold.lock().remove(dir);
        Ok(())
    }

    /// Makes a folder's own name durable, and its camera's.
    fn sync_name(&self, dir: &Path) -> Result<()> {
        let mut parents = dir.ancestors().skip(1).take(2);
        parents.try_for_each(|p| self.fs.sync_dir(p).map_err(|e| Error::io("sync", p, e)))
    }

    /// Notes that a file's sync failed.
    pub(crate) fn doubt(&self, path: &Path) {
        self.disks.doubt.add([path.to_owned()]);
        let dirs = self.dirs();
        let dir = dirs.iter().find(|dir| path.starts_with(dir));
        let Some(root) = dir.and_then(|dir| dir.ancestors().nth(2)) else { return };
        // If it cannot be now, it is with a later sync.
        if let Err(e) = self.disks.doubt.note(&*self.fs, root) {
            log::error!(target: "nvr.store", "{} is in doubt, and that cannot be noted: {e}", path.display());
        }
    }

    /// Writes a log again, as it is, after its sync failed: the next one means what it says.
    /// Says whether that could be done.
    pub(in super::super) fn write_log_again(&self, path: &Path) -> bool {
        let logs = self.logs.lock();
        let log = path.parent().and_then(|dir| logs.get(dir));
        log.is_none_or(|log| match log.write_again() {
            Ok(_) => true,
            Err(e) => {
                log::error!(target: "nvr.store", "a log is in doubt until the next start: {e}");
                false
            }
        })
    }

    /// What readers are shown.
    pub fn visible(&self) -> Arc<Visible> {
        self.visible.read().clone()
    }

    /// Holds, by id: starts of segments, from and until.
    pub fn holds(&self) -> BTreeMap<String, (i64, i64)> {
        let logs = self.logs.lock();
        let all = logs.values().flat_map(|log| log.kept.holds.iter());
        all.map(|(hold, held)| (hold.clone(), (held.from_us, held.until_us))).collect()
    }

    /// Why there is nothing where there is nothing.
    pub fn history(&self) -> History {
        History::of(self.logs.lock().values())
    }

    /// Says whether the log tells that this store recorded a run itself.
    pub fn recorded_here(&self, run: RunId) -> bool {
        self.logs_name(run, |e| match e {
            Event::RunStarted { run, .. } => Some(run),
            _ => None,
        })
    }

    /// Says whether the log tells that a run is copied from another node.
    pub fn copied(&self, run: RunId) -> bool {
        self.logs_name(run, |e| match e {
            Event::RunCopied { run, .. } => Some(run),
            _ => None,
        })
    }

    /// Runs of which a log tells that they began and none that they ended (the stream may have
    /// moved to another disk, whose log tells that): folder, run, and when it began.
    pub(in super::super) fn unended_runs(&self) -> Vec<(PathBuf, String, i64)> {
        let logs = self.logs.lock();
        let events = || logs.iter().flat_map(|(dir, log)| log.events.iter().map(move |e| (dir, e)));
        let ended: BTreeSet<&String> = events()
            .filter_map(|(_, e)| match e {
                Event::RunEnded { run, .. } => Some(run),
                _ => None,
            })
            .collect();
        let unended = events().filter_map(|(dir, e)| match e {
            Event::RunStarted { at_us, run, .. } if !ended.contains(run) => {
                Some((dir.clone(), run.clone(), *at_us))
            }
            _ => None,
        });
        unended.collect()
    }

    /// Runs that were recorded here and ended since an instant: folder, run, and when it began and
    /// ended.
    pub(in super::super) fn ended_runs(&self, since_us: i64) -> Vec<(PathBuf, String, i64, i64)> {
        let logs = self.logs.lock();
        let events = || logs.iter().flat_map(|(dir, log)| log.events.iter().map(move |e| (dir, e)));
        let began: BTreeMap<&String, i64> = events()
            .filter_map(|(_, e)| match e {
                Event::RunStarted { at_us, run, .. } => Some((run, *at_us)),
                _ => None,
            })
            .collect();
        let ended = events().filter_map(|(dir, e)| match e {
            Event::RunEnded { at_us, run, .. } if *at_us >= since_us => {
                Some((dir.clone(), run.clone(), *began.get(run)?, *at_us))
            }
            _ => None,
        });
        ended.collect()
    }

    /// Says whether lines of a folder's log are lost.
    pub(in super::super) fn log_has_holes(&self, dir: &Path) -> bool {
        self.logs.lock().get(dir).is_some_and(|log| log.has_holes)
    }

    fn logs_name(&self, run: RunId, of: impl Fn(&Event) -> Option<&String>) -> bool {
        let run = run.to_string();
        let names = |log: &EventLog| log.events.iter().any(|e| of(e) == Some(&run));
        self.logs.lock().values().any(names)
    }
}
