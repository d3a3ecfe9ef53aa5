//! The calls of the simulated file system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::inode::{Change, Inode};
use super::{EEXIST, ENOENT, ENOSPC, Entries, SimFs, State, errno};
use crate::fs::{DirEntry, File, FileSystem, Space};

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: u64,
    /// Where it was when it was opened.
    path: PathBuf,
}

impl SimFs {
    fn change(
        &self,
        op: &'static str,
        path: &Path,
    ) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.lock();
        if let Some(fault) = state.strike(op, path) {
            return Err(errno(fault.errno));
        }
        state.remember(|_| ());
        Ok(state)
    }

    fn file(&self, op: &'static str, path: &Path) -> io::Result<Arc<dyn File>> {
        self.before(op, path);
        let mut state = self.lock();
        state.look(op, path)?;
        match state.now.get(path).filter(|_| !state.hides(path)) {
            Some(Some(inode)) => {
                Ok(Arc::new(SimFile { fs: self.clone(), inode: *inode, path: path.to_owned() }))
            }
            _ => Err(errno(ENOENT)),
        }
    }
}

impl SimFile {
    fn inode<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Inode> {
        state.inodes.get_mut(&self.inode).ok_or_else(|| errno(ENOENT))
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.fs.lock();
        state.look("read", &self.path)?;
        let bytes = &self.inode(&mut state)?.now;
        let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let n = buf.len().min(bytes.len() - start);
        buf[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.fs.before("write", &self.path);
        let mut state = self.fs.lock();
        let fault = state.strike("write", &self.path);
        // A full disk takes what fits.
        let grows =
            (offset + buf.len() as u64).saturating_sub(self.inode(&mut state)?.now.len() as u64);
        let missing = grows.saturating_sub(state.room_for(&self.path));
        let (takes, fails) = match fault {
            Some(fault) => (if fault.short { buf.len() / 2 } else { 0 }, Some(fault.errno)),
            None if missing > 0 => (
                buf.len().saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX)),
                Some(ENOSPC),
            ),
            None => (buf.len(), None),
        };
        if takes > 0 {
            let half = Bytes::copy_from_slice(&buf[..takes / 2]);
            state.remember(|then| {
                if let Some(inode) = then.inodes.get_mut(&self.inode) {
                    inode.change(Change::Write(offset, half.clone()));
                }
            });
            let data = Bytes::copy_from_slice(&buf[..takes]);
            self.inode(&mut state)?.change(Change::Write(offset, data));
            if let Some(room) = &mut state.room {
                *room = room.saturating_sub(takes as u64);
            }
        }
        fails.map_or(Ok(()), |code| Err(errno(code)))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.inode(&mut self.fs.lock())?.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.change("truncate", &self.path)?;
        self.inode(&mut state)?.change(Change::SetLen(len));
        Ok(())
    }

    fn start_writeback(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.before("sync", &self.path);
        let mut state = self.fs.lock();
        if let Some(fault) = state.strike("sync", &self.path) {
            self.inode(&mut state)?.sync_failed();
            return Err(errno(fault.errno));
        }
        state.remember(|_| ());
        let inode = self.inode(&mut state)?;
        let (bytes, clean) = (inode.pending_bytes(), inode.pending.is_empty());
        inode.synced();
        if let Some(disk) = state.hard_disk.as_mut().filter(|_| !clean) {
            disk.write(Some(self.inode), bytes);
        }
        Ok(())
    }
}

impl FileSystem for SimFs {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.change("create", path)?;
        if state.now.contains_key(path) {
            return Err(errno(EEXIST));
        }
        if path.parent().is_some_and(|p| p != Path::new("/") && state.now.get(p) != Some(&None)) {
            return Err(errno(ENOENT));
        }
        state.next += 1;
        let inode = state.next;
        state.inodes.insert(inode, Inode::default());
        state.now.insert(path.to_owned(), Some(inode));
        Ok(Arc::new(SimFile { fs: self.clone(), inode, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.file("open", path)
    }

    fn open_rw(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.file("open", path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let missing: Vec<_> = path
            .ancestors()
            .filter(|a| *a != Path::new("/") && !state.now.contains_key(*a))
            .map(Path::to_owned)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if let Some(fault) = state.strike("create", path) {
            return Err(errno(fault.errno));
        }
        state.remember(|_| ());
        state.now.extend(missing.into_iter().map(|dir| (dir, None)));
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.lock();
        state.look("list", path)?;
        if state.hides(path) {
            return if state.mounts.contains_key(path) {
                Ok(Vec::new())
            } else {
                Err(errno(ENOENT))
            };
        }
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
        let mut state = self.change("remove", path)?;
        state.now.remove(path).map(drop).ok_or_else(|| errno(ENOENT))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        const ENOTEMPTY: i32 = 39;
        let mut state = self.change("remove", path)?;
        if state.now.keys().any(|p| p.parent() == Some(path)) {
            return Err(errno(ENOTEMPTY));
        }
        state.now.remove(path).map(drop).ok_or_else(|| errno(ENOENT))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change("rename", from)?;
        let entry = state.now.remove(from).ok_or_else(|| errno(ENOENT))?;
        state.now.insert(to.to_owned(), entry);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change("sync", path)?;
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
        let (before, now) = (inside(&state.durable), inside(&state.now));
        if before != now {
            for gone in before.into_keys() {
                state.durable.remove(&gone);
            }
            state.durable.extend(now);
            if let Some(disk) = &mut state.hard_disk {
                disk.write(None, 0);
            }
        }
        Ok(())
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(fault) = state.strike("sync", path) {
            let on_disk = |p: &&PathBuf| p.starts_with(path);
            let inodes: Vec<u64> =
                state.now.keys().filter(on_disk).filter_map(|p| state.now[p]).collect();
            for inode in inodes {
                if let Some(inode) = state.inodes.get_mut(&inode) {
                    inode.sync_failed();
                }
            }
            return Err(errno(fault.errno));
        }
        state.remember(|_| ());
        for inode in state.inodes.values_mut() {
            inode.synced();
        }
        state.durable = state.now.clone();
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let mut state = self.lock();
        state.look("space", path)?;
        let total = state.disk_of(path).map_or(1 << 40, |(size, _)| size);
        Ok(Space { total, available: state.room_for(path).min(total) })
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.file("open", path)?.size()
    }

    fn identity(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.before("identity", path);
        let mut state = self.lock();
        state.look("open", path)?;
        Ok((state.mounts.get(path).copied().unwrap_or(0), 0))
    }

    fn boot_id(&self) -> String {
        self.lock().boots.to_string()
    }
}
