//! What the owner of a server is told, and how it is woken.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use parking_lot::Mutex;

use crate::stream::{DescribeRequest, PlayRequest};

/// Something to be answered or to be known.
pub enum Event {
    /// A client asks what is behind an address.
    Describe(DescribeRequest),
    /// A client wants to see it.
    Play(PlayRequest),
    /// Something happened to a session.
    Signal(Signal),
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// The client paused; the session can play again.
    Paused,
    /// The session is over.
    Ended,
    /// A replay was played to its end, or a live feed was closed; the session can play again.
    Finished,
    /// A replay has room for more.
    Room,
}

impl SignalKind {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            SignalKind::Paused => "paused",
            SignalKind::Ended => "ended",
            SignalKind::Finished => "finished",
            SignalKind::Room => "room",
        }
    }
}

/// Something that happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What.
    pub kind: SignalKind,
    /// To which.
    pub session: u64,
    /// Bytes sent since the last PLAY, with packet headers.
    pub sent_bytes: u64,
    /// Wall time of the last picture of a replay that was sent.
    pub position_us: Option<i64>,
}

/// Events that wait to be taken; an eventfd says that there are some. Each connection has at most
/// one request among them, so they are as many as there are clients.
pub struct Events {
    eventfd: OwnedFd,
    waiting: Mutex<VecDeque<Event>>,
}

impl Events {
    /// Nothing waits.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Events { eventfd, waiting: Mutex::default() })
    }

    /// Becomes readable when something waits.
    pub fn notify_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// What waits; the eventfd is quiet again.
    pub fn take(&self) -> Vec<Event> {
        let mut waiting = self.waiting.lock();
        // Not readable: nothing came since the last time.
        let _ = rustix::io::read(&self.eventfd, &mut [0; 8]);
        waiting.drain(..).collect()
    }

    pub(crate) fn push(&self, event: Event) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            // Fails only when the counter is full, and then it is readable anyway.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
        waiting.push_back(event);
    }
}
