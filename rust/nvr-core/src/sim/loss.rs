//! How much may be lost (`docs/on-disk-format.md`, "What can be lost"), counted in pictures that were sent:
//! when the process is killed, what was in the fragment in the making; when the power fails, what was not
//! written before the last pass that succeeded began.

use std::collections::{BTreeMap, BTreeSet};

use super::camera::Camera;
use crate::ids::StreamId;

/// What cannot be lost any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Safe {
    /// Since the file system had seen so many changes.
    changes: u64,
    /// By stream, the number of the first picture that may be lost.
    before: BTreeMap<StreamId, u64>,
    /// Pictures before that are in files whose sync failed once.
    doubtful: BTreeMap<StreamId, BTreeSet<u64>>,
}

impl Safe {
    pub(super) fn covers(&self, id: StreamId, number: u64) -> bool {
        number < self.before.get(&id).copied().unwrap_or(0)
            && self.doubtful.get(&id).is_none_or(|doubtful| !doubtful.contains(&number))
    }
}

/// What cannot be lost, at each moment.
#[derive(Debug, Default)]
pub(super) struct Safety {
    /// Not by a kill.
    written: Vec<Safe>,
    /// Nor by a power cut.
    durable: Vec<Safe>,
}

impl Safety {
    /// Everything that recorders handed over is written.
    pub(super) fn written(&mut self, changes: u64, cameras: &[Camera]) {
        let before = cameras.iter().map(|c| (c.id, c.handed_over())).collect();
        self.written.push(Safe { changes, before, doubtful: BTreeMap::new() });
    }

    /// A pass has succeeded, before which nothing was sent that is not said to be written.
    pub(super) fn durable(&mut self, changes: u64, doubtful: BTreeMap<StreamId, BTreeSet<u64>>) {
        let before = self.written.last().map(|safe| safe.before.clone()).unwrap_or_default();
        self.durable.push(Safe { changes, before, doubtful });
    }

    /// What could not be lost before the change of this number.
    pub(super) fn at(&self, changes: u64, power: bool) -> Safe {
        let all = if power { &self.durable } else { &self.written };
        all.iter().rev().find(|safe| safe.changes <= changes).cloned().unwrap_or_default()
    }

    /// What comes after this change never came.
    pub(super) fn ends_at(&mut self, changes: u64) {
        self.written.retain(|safe| safe.changes <= changes);
        self.durable.retain(|safe| safe.changes <= changes);
    }
}
