//! A file's bytes: as programs see them, and as a power cut leaves them.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Entropy, SeededEntropy};

/// What a disk writes whole.
const SECTOR: usize = 512;

/// A change of a file that is not yet durable.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Bytes),
    SetLen(u64),
}

/// Bytes are shared, so that remembering a moment copies nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) now: Arc<Vec<u8>>,
    pub(super) durable: Arc<Vec<u8>>,
    pub(super) pending: Vec<Change>,
    /// A sync failed.
    dropped: bool,
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        apply(Arc::make_mut(&mut self.now), &change);
        self.pending.push(change);
    }

    pub(super) fn synced(&mut self) {
        let durable = Arc::make_mut(&mut self.durable);
        self.pending.drain(..).for_each(|change| apply(durable, &change));
    }

    /// A sync failed: the system calls the pages clean that it could not write, and a later sync
    /// that succeeds says nothing of them.
    pub(super) fn sync_failed(&mut self) {
        self.dropped |= !self.pending.is_empty();
        self.pending.clear();
    }

    /// After a sync failed: whether another that succeeds would leave on disk what programs see.
    pub(super) fn in_doubt(&self) -> bool {
        self.dropped && {
            let mut synced = self.clone();
            synced.synced();
            synced.durable != self.now
        }
    }

    /// Bytes that a sync has to write.
    pub(super) fn pending_bytes(&self) -> u64 {
        let bytes = |c: &Change| match c {
            Change::Write(_, data) => data.len() as u64,
            Change::SetLen(_) => 0,
        };
        self.pending.iter().map(bytes).sum()
    }

    /// Of what was not synced, any part is there, in any order, down to single sectors.
    pub(super) fn lose_power(&mut self, random: &Random) {
        if self.pending.is_empty() {
            self.now = self.durable.clone();
            self.dropped = false;
            return;
        }
        let mut bytes = (*self.durable).clone();
        for change in std::mem::take(&mut self.pending) {
            match (random.below(4), &change) {
                (0, _) => {}
                (1, Change::Write(at, data)) => {
                    let part = data.slice(..random.below(data.len() as u64 + 1) as usize);
                    apply(&mut bytes, &Change::Write(*at, part));
                }
                (2, Change::Write(at, data)) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        if random.below(2) == 1 {
                            let part = data.slice_ref(sector);
                            apply(&mut bytes, &Change::Write(at + (n * SECTOR) as u64, part));
                        }
                    }
                }
                _ => apply(&mut bytes, &change),
            }
        }
        self.now = Arc::new(bytes);
        self.durable = self.now.clone();
        self.dropped = false;
    }
}

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

/// Numbers from a seed.
pub(crate) struct Random(SeededEntropy);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(SeededEntropy::new(seed))
    }

    /// Any number from 0 below `n`.
    pub(crate) fn below(&self, n: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % n.max(1)
    }
}
