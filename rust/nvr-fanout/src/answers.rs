//! What peers answered, waiting to be taken, and how the owner is woken.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::status::Status;

/// What came of a call since the last time.
#[derive(Debug)]
pub struct Answer {
    /// Which call.
    pub call: u64,
    /// Serialized messages, in order.
    pub messages: Vec<Bytes>,
    /// The call is over; nothing more comes of it.
    pub ended: Option<Ended>,
}

/// A call that is over.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// It got its turn among those that are asked at the same time.
    pub asked: bool,
}

/// Many peers answer within a short time: so long their answers wait for each other, instead of
/// waking the owner for each.
const GATHERED_FOR: Duration = Duration::from_millis(2);

/// Answers that wait to be taken; an eventfd says that there are some.
pub(crate) struct Outbox {
    eventfd: OwnedFd,
    most_bytes: usize,
    waiting: Mutex<Waiting>,
    taken: Notify,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<Answer>,
    /// Where the answer of each call is among them.
    places: HashMap<u64, usize>,
    bytes: usize,
    rung: bool,
    gathering: bool,
}

impl Outbox {
    /// `most_bytes`: when more wait, no more are read from the peers until they are taken.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub(crate) fn new(most_bytes: usize) -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Outbox { eventfd, most_bytes, waiting: Mutex::default(), taken: Notify::new() })
    }

    /// Becomes readable when something waits.
    pub(crate) fn notify_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// What waits; the eventfd is quiet again.
    pub(crate) fn take(&self) -> Vec<Answer> {
        let mut waiting = self.waiting.lock();
        // Not readable: nothing came since the last time.
        let _ = rustix::io::read(&self.eventfd, &mut [0; 8]);
        waiting.bytes = 0;
        waiting.rung = false;
        waiting.places.clear();
        self.taken.notify_waiters();
        std::mem::take(&mut waiting.answers)
    }

    /// Adds to what waits. `now`: the owner is woken at once.
    pub(crate) fn push(self: &Arc<Self>, answer: Answer, now: bool) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += answer.messages.iter().map(Bytes::len).sum::<usize>();
        let next = waiting.answers.len();
        let place = *waiting.places.entry(answer.call).or_insert(next);
        if place == next {
            waiting.answers.push(answer);
        } else {
            let known = &mut waiting.answers[place];
            known.messages.extend(answer.messages);
            known.ended = answer.ended;
        }
        if now {
            self.ring(&mut waiting);
        } else if !waiting.rung && !waiting.gathering {
            waiting.gathering = true;
            let outbox = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHERED_FOR).await;
                let mut waiting = outbox.waiting.lock();
                waiting.gathering = false;
                if !waiting.answers.is_empty() {
                    outbox.ring(&mut waiting);
                }
            });
        }
    }

    /// Returns when there is room for more.
    pub(crate) async fn room(&self) {
        loop {
            // Registered before it is looked at: a taking in between is not missed.
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.waiting.lock().bytes < self.most_bytes {
                return;
            }
            taken.await;
        }
    }

    fn ring(&self, waiting: &mut Waiting) {
        if !waiting.rung {
            waiting.rung = true;
            // Fails only when the counter is full, and then it is readable anyway.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }
}
