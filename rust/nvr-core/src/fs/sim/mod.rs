//! A file system in memory that forgets what was not synced when the power fails, and fails when
//! it is told to.

mod fault;
mod inode;
mod ops;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

pub(crate) use fault::{Fault, HardDisk};
use inode::Inode;
pub(crate) use inode::Random;

/// `None`: a directory.
type Entries = BTreeMap<PathBuf, Option<u64>>;

#[derive(Clone, Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    now: Entries,
    durable: Entries,
    next: u64,
    /// Bytes that may still be written.
    room: Option<u64>,
    /// Sizes of disks, by the folder where they are mounted.
    disks: BTreeMap<PathBuf, u64>,
    /// Which folder lies at a path, if another than at first.
    mounts: BTreeMap<PathBuf, u64>,
    faults: Vec<Fault>,
    hard_disk: Option<HardDisk>,
    /// How often the machine started.
    boots: u64,
    /// Changes so far: what a power cut can come between.
    changes: u64,
    /// The change before which there is a moment to remember, and what there was then.
    moment_at: Option<u64>,
    moment: Option<Box<State>>,
    /// Remember every moment.
    film: Option<Vec<State>>,
}

/// The simulated file system; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimFs(Arc<Mutex<State>>, Arc<Hook>);

/// Who happens to come in between.
type Between = Box<dyn FnMut(&'static str, &Path) + Send>;

#[derive(Default)]
struct Hook(Mutex<Option<Between>>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

pub(crate) const ENOENT: i32 = 2;
pub(crate) const EIO: i32 = 5;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl SimFs {
    fn of(state: State) -> Self {
        SimFs(Arc::new(Mutex::new(state)), Arc::default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// From now on this is called before a file is opened (`"open"`), written to (`"write"`) or synced
    /// (`"sync"`), and before it is asked which folder lies at a path (`"identity"`), but for what it does
    /// itself, or somebody else does meanwhile.
    pub(crate) fn between(&self, between: impl FnMut(&'static str, &Path) + Send + 'static) {
        *self.1.0.lock() = Some(Box::new(between));
    }

    fn before(&self, op: &'static str, path: &Path) {
        let hook = self.1.0.lock().take();
        if let Some(mut between) = hook {
            between(op, path);
            self.1.0.lock().get_or_insert(between);
        }
    }

    /// Only so many bytes can be written from now on (`None`: any number).
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.lock().room = room;
    }

    /// A disk of this size is mounted at a folder (`None`: one whose size nobody notices).
    pub(crate) fn set_disk(&self, at: &Path, bytes: impl Into<Option<u64>>) {
        let disks = &mut self.lock().disks;
        match bytes.into() {
            Some(bytes) => disks.insert(at.to_owned(), bytes),
            None => disks.remove(at),
        };
    }

    /// From now on another folder lies at a path, by its number: an empty one, unless it is 0, which is
    /// the first. What is open stays so.
    pub(crate) fn mount(&self, at: &Path, number: u64) {
        self.lock().mounts.insert(at.to_owned(), number);
    }

    /// From now on, these calls fail, and no others; those until now.
    pub(crate) fn set_faults(&self, faults: Vec<Fault>) -> Vec<Fault> {
        std::mem::replace(&mut self.lock().faults, faults)
    }

    /// From now on, an operation fails with an errno.
    pub(crate) fn fail(&self, what: Option<(&'static str, i32)>) {
        self.set_faults(what.into_iter().map(|(op, code)| Fault::of(op, "/", code)).collect());
    }

    /// The disk is a hard disk.
    pub(crate) fn set_hard_disk(&self, disk: HardDisk) {
        self.lock().hard_disk = Some(disk);
    }

    /// How it did.
    pub(crate) fn hard_disk(&self) -> HardDisk {
        self.lock().hard_disk.clone().unwrap_or_else(|| HardDisk::new(None))
    }

    /// What a machine finds that comes up after the power failed now: of what was not synced,
    /// any part in any order, down to parts of single writes.
    pub(crate) fn after_power_failure(&self, seed: u64) -> SimFs {
        let random = Random::new(seed);
        let mut state = self.lock().again();
        for inode in state.inodes.values_mut() {
            inode.lose_power(&random);
        }
        let mut entries = state.durable.clone();
        let changed: BTreeSet<PathBuf> =
            state.now.keys().chain(state.durable.keys()).cloned().collect();
        for path in changed {
            let (now, durable) = (state.now.get(&path), state.durable.get(&path));
            if now != durable && random.below(2) == 1 {
                match now {
                    Some(entry) => entries.insert(path, *entry),
                    None => entries.remove(&path),
                };
            }
        }
        // What lies in a folder that is gone is gone too.
        let reachable = |path: &Path| {
            path.ancestors().skip(1).all(|a| a == Path::new("/") || entries.contains_key(a))
        };
        state.now =
            entries.iter().filter(|(p, _)| reachable(p)).map(|(p, e)| (p.clone(), *e)).collect();
        state.durable = state.now.clone();
        state.boots += 1;
        SimFs::of(state)
    }

    /// What the next process finds after this one was killed now.
    pub(crate) fn after_kill(&self) -> SimFs {
        let mut state = self.lock();
        let film = state.film.take();
        SimFs::of(State { film, ..state.again() })
    }

    /// All files, and what is in them.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.lock();
        let file = |(path, inode): (&PathBuf, &Option<u64>)| {
            Some((path.clone(), state.inodes[&(*inode)?].now.to_vec()))
        };
        state.now.iter().filter_map(file).collect()
    }

    /// Files of which a sync that succeeds would not make durable what programs see.
    pub(crate) fn in_doubt(&self) -> BTreeSet<PathBuf> {
        let state = self.lock();
        let doubtful = |inode: &Option<u64>| inode.is_some_and(|i| state.inodes[&i].in_doubt());
        state.now.iter().filter(|(_, i)| doubtful(i)).map(|(path, _)| path.clone()).collect()
    }

    /// All of a file becomes durable.
    pub(crate) fn write_out(&self, path: &Path) {
        let mut state = self.lock();
        let inode = state.now.get(path).copied().flatten();
        if let Some(inode) = inode.and_then(|i| state.inodes.get_mut(&i)) {
            inode.durable = inode.now.clone();
            inode.pending.clear();
        }
    }

    /// One byte of a file is not what it was.
    pub(crate) fn flip(&self, path: &Path, offset: u64) {
        let mut state = self.lock();
        let inode = state.now.get(path).copied().flatten();
        if let Some(inode) = inode.and_then(|i| state.inodes.get_mut(&i)) {
            Arc::make_mut(&mut inode.now)[offset as usize] ^= 1;
            Arc::make_mut(&mut inode.durable)[offset as usize] ^= 1;
        }
    }

    /// How many changes there were so far.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// After so many changes from now, what there is then is remembered; of a write that is
    /// under way, the first half.
    pub(crate) fn remember_after(&self, changes: u64) {
        let mut state = self.lock();
        state.moment = None;
        state.moment_at = Some(state.changes + changes);
    }

    /// What was remembered; what there is now if that moment has not come.
    pub(crate) fn remembered(&self) -> SimFs {
        let state = self.lock();
        SimFs::of(state.moment.as_deref().unwrap_or(&state).clone())
    }

    /// From now on, every moment is remembered.
    pub(crate) fn film(&self) {
        self.lock().film = Some(Vec::new());
    }

    /// All moments since then: before each change (in the middle of each write), and the end.
    pub(crate) fn moments(&self) -> Vec<SimFs> {
        let mut state = self.lock();
        let mut moments = state.film.take().unwrap_or_default();
        moments.push(state.clone());
        moments.into_iter().map(SimFs::of).collect()
    }
}

impl State {
    /// As the next process finds it: what is on the disks, and none of what was wrong with them.
    fn again(&self) -> State {
        State {
            inodes: self.inodes.clone(),
            now: self.now.clone(),
            durable: self.durable.clone(),
            next: self.next,
            disks: self.disks.clone(),
            boots: self.boots,
            changes: self.changes,
            ..State::default()
        }
    }

    fn strike(&mut self, op: &'static str, path: &Path) -> Option<Fault> {
        self.faults.iter_mut().find_map(|f| f.strikes(op, path).then(|| f.clone()))
    }

    /// Another folder lies over this one.
    fn hides(&self, path: &Path) -> bool {
        self.mounts.iter().any(|(at, number)| *number != 0 && path.starts_with(at))
    }

    /// A call that changes nothing.
    fn look(&mut self, op: &'static str, path: &Path) -> io::Result<()> {
        self.strike(op, path).map_or(Ok(()), |fault| Err(errno(fault.errno)))
    }

    /// A change is about to be made: moments are remembered, with what `half` makes of them.
    fn remember(&mut self, half: impl Fn(&mut State)) {
        let now = self.moment_at == Some(self.changes);
        if now || self.film.is_some() {
            let mut moment = State { changes: self.changes, ..self.again() };
            half(&mut moment);
            if let Some(film) = &mut self.film {
                film.push(moment.clone());
            }
            if now {
                self.moment = Some(Box::new(moment));
            }
        }
        self.changes += 1;
    }

    /// The disk that a path lies on: its size, and what is taken of it.
    fn disk_of(&self, path: &Path) -> Option<(u64, u64)> {
        let (at, size) = self.disks.iter().rev().find(|(at, _)| path.starts_with(at))?;
        let inodes = self.now.iter().filter(|(p, _)| p.starts_with(at)).filter_map(|(_, i)| *i);
        Some((*size, inodes.map(|i| self.inodes[&i].now.len() as u64).sum()))
    }

    /// How many bytes can be added to the disk of a path.
    fn room_for(&self, path: &Path) -> u64 {
        let left = self.disk_of(path).map(|(size, used)| size.saturating_sub(used));
        left.unwrap_or(u64::MAX).min(self.room.unwrap_or(u64::MAX))
    }
}
