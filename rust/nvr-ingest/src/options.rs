//! What an operator may tune.

use std::time::Duration;

use nvr_core::live::Watchers;

/// Settings of a [`Supervisor`](crate::Supervisor).
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads of the runtime; at least 1. One carries hundreds of streams.
    pub threads: usize,
    /// How many streams may be between connecting and the answer to PLAY at once; at least 1.
    pub max_handshakes: usize,
    /// A new stream waits for a random part of this before it first connects, so that a
    /// starting node does not knock at all doors in the same millisecond.
    pub start_jitter: Duration,
    /// How long connecting, logging in and starting may take together.
    pub handshake_timeout: Duration,
    /// A session without a picture for this long is closed as `silent`.
    pub silent_after: Duration,
    /// The longest wait after a first failure; it doubles with each further one.
    pub backoff_first: Duration,
    /// No wait is longer.
    pub backoff_limit: Duration,
    /// A session that delivered for this long makes the next failure count as the first.
    pub backoff_reset_after: Duration,
    /// How long a thread that has nothing to do sleeps before it asks the kernel which
    /// sockets have data. What arrives meanwhile is read at once: far fewer wake-ups and
    /// reads. Arrival times and live pictures are late by at most this. Zero: it does not sleep.
    pub batch: Duration,
    /// The most it sleeps while nobody watches and no crowd of cameras is being connected.
    pub batch_unwatched: Duration,
    /// Those who watch.
    pub watchers: Watchers,
    /// Program and arguments of a process that reads one source that is not RTSP (module
    /// `source`); empty: there are no such sources.
    pub source_command: Vec<String>,
    /// How long such a source may take from its start to the first picture.
    pub source_start: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 1,
            max_handshakes: 16,
            start_jitter: Duration::from_millis(200),
            handshake_timeout: Duration::from_secs(10),
            silent_after: Duration::from_secs(10),
            backoff_first: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(30),
            backoff_reset_after: Duration::from_secs(60),
            batch: Duration::from_millis(20),
            batch_unwatched: Duration::from_millis(120),
            watchers: Watchers::default(),
            source_command: Vec::new(),
            source_start: Duration::from_secs(30),
        }
    }
}
