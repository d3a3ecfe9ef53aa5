//! What waits for a disk: bounded, and what does not fit is given back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk::{Lane, Op};
use crate::ids::StreamKind;
use crate::store::Root;
use crate::store::sacrifice::User;

/// What waits for a disk.
pub(super) struct Queue {
    /// Bytes that may wait, shared out so that some are given up before others.
    room: usize,
    root: Arc<Root>,
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    ops: VecDeque<(Option<Arc<Lane>>, Op)>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(room: usize, root: Arc<Root>) -> Self {
        root.backlog.set_room(room);
        Queue { room, root, state: Mutex::default(), filled: Condvar::new() }
    }

    /// Hands an operation over. Gives a fragment back when there is no room for it.
    pub(super) fn push(&self, lane: Option<Arc<Lane>>, op: Op) -> Result<(), Op> {
        let kind = lane.as_ref().map_or(StreamKind::Main, |lane| lane.stream.id.kind);
        let limit = User::Stream(kind).share(self.room);
        let bytes = op.bytes();
        let mut state = self.state.lock();
        if state.closed || (bytes > 0 && state.bytes + bytes > limit) {
            return Err(op);
        }
        state.bytes += bytes;
        self.root.backlog.set(state.bytes);
        state.ops.push_back((lane, op));
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for the next operations, if it must for no longer than this; `None` once it is closed
    /// and there are none left.
    pub(super) fn take(
        &self,
        at_most: Option<Duration>,
    ) -> Option<VecDeque<(Option<Arc<Lane>>, Op)>> {
        let mut state = self.state.lock();
        while state.ops.is_empty() && !state.closed {
            match at_most {
                None => self.filled.wait(&mut state),
                Some(time) if self.filled.wait_for(&mut state, time).timed_out() => break,
                Some(_) => {}
            }
        }
        let over = state.ops.is_empty() && state.closed;
        (!over).then(|| std::mem::take(&mut state.ops))
    }

    /// The next operations, without waiting.
    #[cfg(test)]
    pub(super) fn take_now(&self) -> VecDeque<(Option<Arc<Lane>>, Op)> {
        std::mem::take(&mut self.state.lock().ops)
    }

    pub(super) fn written(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes -= bytes;
        self.root.backlog.set(state.bytes);
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}
