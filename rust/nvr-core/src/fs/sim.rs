//! A file system in memory that forgets what was not synced when the power fails, and fails when
//! it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, File, FileSystem, Space};
use crate::ids::{Entropy, SeededEntropy};

/// A change of a file that is not yet durable.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Inode {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write(at, data) => {
                let end = *at as usize + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at as usize..end].copy_from_slice(data);
            }
            Change::SetLen(len) => bytes.resize(*len as usize, 0),
        }
    }
}

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
    /// What the next calls of an operation fail with.
    fail: Option<(&'static str, i32)>,
    /// How often the machine started.
    boots: u64,
    /// Changes until the moment to remember, and what there was then.
    moment_in: Option<u64>,
    moment: Option<Box<State>>,
}

/// The simulated file system; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimFs(Arc<Mutex<State>>);

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENOSPC: i32 = 28;

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl SimFs {
    /// Only so many bytes can be written from now on (`None`: any number).
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.0.lock().room = room;
    }

    /// From now on, an operation fails with an errno.
    pub(crate) fn fail(&self, what: Option<(&'static str, i32)>) {
        self.0.lock().fail = what;
    }

    /// What a machine finds that comes up after the power failed now: of what was not synced,
    /// any part in any order, down to parts of single writes.
    pub(crate) fn after_power_failure(&self, seed: u64) -> SimFs {
        let random = SeededEntropy::new(seed);
        let below = |n: u64| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            u64::from_le_bytes(bytes) % n.max(1)
        };
        let mut state = self.0.lock().clone();
        for inode in state.inodes.values_mut() {
            let mut bytes = inode.durable.clone();
            for change in std::mem::take(&mut inode.pending) {
                match (below(3), &change) {
                    (0, _) => {}
                    (1, Change::Write(at, data)) => {
                        let part = data[..below(data.len() as u64 + 1) as usize].to_vec();
                        Inode::apply(&mut bytes, &Change::Write(*at, part));
                    }
                    _ => Inode::apply(&mut bytes, &change),
                }
            }
            inode.now = bytes.clone();
            inode.durable = bytes;
        }
        let mut entries = state.durable.clone();
        let changed: BTreeSet<PathBuf> =
            state.now.keys().chain(state.durable.keys()).cloned().collect();
        for path in changed {
            let (now, durable) = (state.now.get(&path), state.durable.get(&path));
            if now != durable && below(2) == 1 {
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
        state.room = None;
        state.fail = None;
        SimFs(Arc::new(Mutex::new(state)))
    }

    /// All files, and what is in them.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.0.lock();
        let file = |(path, inode): (&PathBuf, &Option<u64>)| {
            Some((path.clone(), state.inodes[&(*inode)?].now.clone()))
        };
        state.now.iter().filter_map(file).collect()
    }

    /// One byte of a file is not what it was.
    pub(crate) fn flip(&self, path: &Path, offset: u64) {
        let mut state = self.0.lock();
        let inode = state.now.get(path).copied().flatten();
        if let Some(inode) = inode.and_then(|i| state.inodes.get_mut(&i)) {
            inode.now[offset as usize] ^= 1;
            inode.durable[offset as usize] ^= 1;
        }
    }

    /// What the next process finds after this one was killed now.
    pub(crate) fn after_kill(&self) -> SimFs {
        let mut state = self.0.lock().clone();
        state.room = None;
        state.fail = None;
        SimFs(Arc::new(Mutex::new(state)))
    }

    /// After so many changes from now, what there is then is remembered; of a write that is
    /// under way, the first half.
    pub(crate) fn remember_after(&self, changes: u64) {
        self.0.lock().moment_in = Some(changes);
    }

    /// What was remembered; what there is now if that moment has not come.
    pub(crate) fn remembered(&self) -> SimFs {
        let state = self.0.lock();
        SimFs(Arc::new(Mutex::new(state.moment.as_deref().unwrap_or(&state).clone())))
    }

    fn change(&self, op: &'static str) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.0.lock();
        state.moment_in = match state.moment_in {
            Some(0) => {
                let now = state.clone();
                state.moment = Some(Box::new(now));
                None
            }
            more => more.map(|n| n - 1),
        };
        match state.fail {
            Some((failing, code)) if failing == op => Err(errno(code)),
            _ => Ok(state),
        }
    }

    fn file(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match self.0.lock().now.get(path) {
            Some(Some(inode)) => Ok(Arc::new(SimFile { fs: self.clone(), inode: *inode })),
            _ => Err(errno(ENOENT)),
        }
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: u64,
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.fs.0.lock();
        let bytes = &state.inodes[&self.inode].now;
        let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let n = buf.len().min(bytes.len() - start);
        buf[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let last = self.fs.0.lock().moment_in == Some(0);
        let mut state = self.fs.change("write")?;
        if let Some(then) = state.moment.as_mut().filter(|_| last)
            && let Some(inode) = then.inodes.get_mut(&self.inode)
        {
            let torn = Change::Write(offset, buf[..buf.len() / 2].to_vec());
            Inode::apply(&mut inode.now, &torn);
            inode.pending.push(torn);
        }
        // A full disk takes what fits.
        let fits = state
            .room
            .map_or(buf.len(), |room| buf.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        if let Some(room) = &mut state.room {
            *room -= fits as u64;
        }
        let change = Change::Write(offset, buf[..fits].to_vec());
        if let Some(inode) = state.inodes.get_mut(&self.inode) {
            Inode::apply(&mut inode.now, &change);
            inode.pending.push(change);
        }
        if fits < buf.len() { Err(errno(ENOSPC)) } else { Ok(()) }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.fs.0.lock().inodes[&self.inode].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.change("truncate")?;
        if let Some(inode) = state.inodes.get_mut(&self.inode) {
            let change = Change::SetLen(len);
            Inode::apply(&mut inode.now, &change);
            inode.pending.push(change);
        }
        Ok(())
    }

    fn start_writeback(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.fs.change("sync")?;
        if let Some(inode) = state.inodes.get_mut(&self.inode) {
            inode.durable = inode.now.clone();
            inode.pending.clear();
        }
        Ok(())
    }

    fn copy_to(&self, offset: u64, len: u64, out: &fs::File, out_offset: u64) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.read_at(&mut bytes, offset)?;
        std::os::unix::fs::FileExt::write_all_at(out, &bytes, out_offset)
    }
}

impl FileSystem for SimFs {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.change("create")?;
        if state.now.contains_key(path) {
            return Err(errno(EEXIST));
        }
        state.next += 1;
        let inode = state.next;
        state.inodes.insert(inode, Inode::default());
        state.now.insert(path.to_owned(), Some(inode));
        drop(state);
        self.file(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.file(path)
    }

    fn open_rw(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change("create")?;
        for dir in path.ancestors().filter(|a| *a != Path::new("/")) {
            state.now.entry(dir.to_owned()).or_insert(None);
        }
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.0.lock();
        if state.now.get(path) != Some(&None) {
            return Err(errno(ENOENT));
        }
        let inside = state.now.iter().filter(|(p, _)| p.parent() == Some(path));
        let entry = |(p, e): (&PathBuf, &Option<u64>)| {
            let name = p.file_name()?.to_str()?.to_owned();
            Some(DirEntry { name, is_dir: e.is_none() })
        };
        Ok(inside.filter_map(entry).collect())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change("remove")?.now.remove(path).map(drop).ok_or_else(|| errno(ENOENT))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change("remove")?.now.remove(path).map(drop).ok_or_else(|| errno(ENOENT))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change("rename")?;
        let entry = state.now.remove(from).ok_or_else(|| errno(ENOENT))?;
        state.now.insert(to.to_owned(), entry);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change("sync")?;
        if state.now.get(path) != Some(&None) && path != Path::new("/") {
            return Err(errno(ENOENT));
        }
        let inside = |entries: &Entries| -> Entries {
            entries
                .iter()
                .filter(|(p, _)| p.parent() == Some(path))
                .map(|(p, e)| (p.clone(), *e))
                .collect()
        };
        for gone in inside(&state.durable).into_keys() {
            state.durable.remove(&gone);
        }
        let now = inside(&state.now);
        state.durable.extend(now);
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.0.lock();
        let available = state.room.unwrap_or(1 << 40);
        Ok(Space { total: 1 << 40, available })
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.file(path)?.size()
    }

    fn boot_id(&self) -> String {
        self.0.lock().boots.to_string()
    }
}
