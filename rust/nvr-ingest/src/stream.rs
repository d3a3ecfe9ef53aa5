//! The task of one stream: sessions, one after the other, until it is stopped.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures::FutureExt as _;
use nvr_core::ids::StreamId;
use nvr_core::media::MediaSink;
use nvr_core::reason::Reason;
use nvr_core::time::Clock;
use rand::{Rng as _, SeedableRng as _};
use retina::client::SessionGroup;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::LOG;
use crate::address::Address;
use crate::backoff::Backoff;
use crate::demux::Buffers;
use crate::failure::Failure;
use crate::options::Options;
use crate::session::{self, Feed};
use crate::source;
use crate::status::StatusCell;

/// How long a polite goodbye to a camera may hold up the next session with it.
pub(crate) const TEARDOWN_LIMIT: Duration = Duration::from_secs(1);

/// Why a stream is stopped, and in words.
pub(crate) type Stop = (Reason, String);

/// What a stream's task needs.
pub(crate) struct Recording {
    pub(crate) id: StreamId,
    pub(crate) address: Address,
    pub(crate) sink: Box<dyn MediaSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) buffers: Buffers,
    /// Where packets over UDP are received; none for a camera that sends over TCP.
    pub(crate) udp: Option<Handle>,
}

/// Runs until stopped. `ended` hangs up when the sink has had its last call and is gone;
/// the task itself ends a little later, when the camera has been told too.
pub(crate) async fn run(
    recording: Recording,
    mut stop: oneshot::Receiver<Stop>,
    ended: mpsc::Sender<()>,
) {
    let group = Arc::new(SessionGroup::default());
    let mut task = Task {
        backoff: Backoff::new(recording.options.backoff_first, recording.options.backoff_limit),
        recording,
        begun: false,
        told: None,
    };
    let (reason, detail) = tokio::select! {
        biased;
        never = task.record(&group) => match never {},
        // The supervisor is gone without a word: it is being dropped.
        why = &mut stop => why.unwrap_or((Reason::RECORDER_STOPPED, String::new())),
    };
    task.tell(&Failure { reason, detail });
    drop(task);
    drop(ended);
    // Awaited so that the camera has a session to give when the stream comes back at once.
    let _ = timeout(TEARDOWN_LIMIT, group.await_teardown()).await;
}

struct Task {
    recording: Recording,
    backoff: Backoff,
    /// The sink's `begin` was called, its `end` not yet.
    begun: bool,
    /// The reason that the sink knows for there being no session.
    told: Option<Reason>,
}

impl Task {
    /// One session after the other.
    async fn record(&mut self, group: &Arc<SessionGroup>) -> std::convert::Infallible {
        let mut rng = rand::rngs::StdRng::from_entropy();
        let jitter = self.recording.options.start_jitter;
        sleep(jitter.mul_f64(rng.gen_range(0.0..1.0))).await;
        loop {
            self.recording.status.connecting();
            let failure = self.attempt(group).await.scrubbed(&self.recording.address);
            let Recording { id, status, .. } = &self.recording;
            status.waiting(&failure.reason, &failure.detail);
            if failure.reason == Reason::AUTH_FAILED {
                // Cameras lock accounts and addresses that try too often.
                self.backoff.exhaust();
            }
            let wait = self.backoff.next(&mut rng);
            if self.told.as_ref() == Some(&failure.reason) {
                log::debug!(target: LOG, "{id}: {}: {}; again in {wait:.1?}", failure.reason, failure.detail);
            } else {
                log::warn!(target: LOG, "{id}: {}: {}; again in {wait:.1?}", failure.reason, failure.detail);
            }
            self.tell(&failure);
            // What the library still has to say to the camera goes before the next session.
            let _ = timeout(TEARDOWN_LIMIT, group.await_teardown()).await;
            sleep(wait).await;
        }
    }

    /// One session, from connecting to why it ended. A panic (of the library, over what a
    /// camera sent) ends the session and nothing else.
    async fn attempt(&mut self, group: &Arc<SessionGroup>) -> Failure {
        let session = AssertUnwindSafe(self.session(group)).catch_unwind().await;
        session.unwrap_or_else(|_| {
            Failure::new(Reason::PROTOCOL_ERROR, "internal error while reading from the camera")
        })
    }

    async fn session(&mut self, group: &Arc<SessionGroup>) -> Failure {
        let Recording { id, address, sink, clock, options, status, handshakes, udp, buffers } =
            &mut self.recording;
        let begun = &mut self.begun;
        if let Some(url) = address.other() {
            let start = Instant::now();
            let feed = Feed { clock: &**clock, sink: &mut **sink, status, begun };
            let failure = source::record(url, options, handshakes, feed).await;
            if self.begun && start.elapsed() >= options.backoff_reset_after {
                self.backoff.reset();
            }
            return failure;
        }
        let playing = {
            // Never closed, so there is always a permit to wait for.
            let _turn = handshakes.acquire().await;
            match session::connect(address, group, buffers, options.handshake_timeout, udp.as_ref())
                .await
            {
                Ok(playing) => playing,
                Err(failure) => return failure,
            }
        };
        let left_out = playing.left_out();
        if left_out.is_empty() {
            log::info!(target: LOG, "{id}: connected to {address}");
        } else {
            let left_out = address.scrub(left_out);
            log::info!(target: LOG, "{id}: connected to {address}; not recorded: {left_out}");
        }
        let start = Instant::now();
        let feed = Feed { clock: &**clock, sink: &mut **sink, status, begun };
        let failure = session::feed(playing, address, options.silent_after, feed).await;
        if self.begun && start.elapsed() >= options.backoff_reset_after {
            self.backoff.reset();
        }
        failure
    }

    /// Ends the sink's session if there is one, else says why there is none unless it knows.
    fn tell(&mut self, failure: &Failure) {
        let Recording { clock, sink, .. } = &mut self.recording;
        let now = clock.now();
        if std::mem::take(&mut self.begun) {
            sink.end(now, failure.reason.clone(), &failure.detail);
        } else if self.told.as_ref() != Some(&failure.reason) {
            sink.down(now, failure.reason.clone(), &failure.detail);
        }
        self.told = Some(failure.reason.clone());
    }
}
