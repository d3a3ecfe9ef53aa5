//! Many streams on one runtime.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nvr_core::ids::StreamId;
use nvr_core::media::MediaSink;
use nvr_core::reason::Reason;
use nvr_core::time::Clock;
use nvr_core::{Error, Result};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::LOG;
use crate::address::Address;
use crate::demux::Buffers;
use crate::options::Options;
use crate::status::{Status, StatusCell};
use crate::stream::{self, Recording, Stop, TEARDOWN_LIMIT};
use crate::udp;

/// Records streams, each as a task on a runtime of its own.
///
/// Its methods block until sinks have been told; they may be called from any thread but the
/// runtime's own, so not from a [`MediaSink`].
pub struct Supervisor {
    clock: Arc<dyn Clock>,
    options: Arc<Options>,
    handshakes: Arc<Semaphore>,
    buffers: Buffers,
    /// One change at a time, so that a stream never has two tasks.
    changes: Mutex<()>,
    running: Mutex<Running>,
}

struct Running {
    /// None after [`Supervisor::shutdown`].
    runtime: Option<Runtime>,
    /// Receives over UDP; none before the first camera that needs it.
    udp: Option<Runtime>,
    streams: HashMap<StreamId, Entry>,
}

struct Entry {
    status: Arc<StatusCell>,
    stop: oneshot::Sender<Stop>,
    /// Hangs up when the sink is gone.
    ended: mpsc::Receiver<()>,
    task: JoinHandle<()>,
}

/// Threads that sleep for a `pause` before they ask which sockets have data.
fn runtime(
    name: &str,
    threads: usize,
    pause: impl Fn() -> Duration + Send + Sync + 'static,
    options: &Options,
) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(threads.max(1))
        // Only name look-ups run there.
        .max_blocking_threads(options.max_handshakes.max(1))
        .thread_name(name)
        .enable_all()
        .on_thread_park(move || {
            let pause = pause();
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        })
        .build()
        .map_err(|e| Error::Invalid(format!("cannot start the threads of RTSP ingest: {e}")))
}

/// How long to pause, at each moment.
fn pauses(options: &Options, handshakes: Arc<Semaphore>) -> impl Fn() -> Duration + use<> {
    let (short, long) = (options.batch, options.batch_unwatched);
    let watchers = options.watchers.clone();
    let lengths = Mutex::new(StdRng::seed_from_u64(0));
    move || {
        // A handshake takes a pause for each question and answer: of a crowd, all wait for all.
        if watchers.any() || handshakes.available_permits() == 0 {
            return short;
        }
        // Wall times are made of pictures that came just before a pause ended: pauses of random lengths are
        // in step with no camera.
        lengths.lock().gen_range(long * 3 / 4..=long)
    }
}

impl Entry {
    /// Returns when the sink has had its last call.
    fn stop(self, reason: Reason, detail: &str) -> Stopped {
        // An error means that the task has ended by itself, which it does only by a panic
        // of the sink; the wait below returns then too.
        let _ = self.stop.send((reason, detail.to_owned()));
        let _ = self.ended.recv();
        Stopped { status: self.status, task: self.task }
    }
}

/// A stream without a sink, that may still be saying goodbye to the camera.
struct Stopped {
    status: Arc<StatusCell>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts the runtime, with no stream yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the system gives no threads.
    pub fn new(clock: Arc<dyn Clock>, options: Options) -> Result<Self> {
        let handshakes = Arc::new(Semaphore::new(options.max_handshakes.max(1)));
        let pause = pauses(&options, Arc::clone(&handshakes));
        let runtime = runtime("nvr-ingest", options.threads, pause, &options)?;
        Ok(Supervisor {
            clock,
            buffers: Buffers::default(),
            handshakes,
            options: Arc::new(options),
            changes: Mutex::new(()),
            running: Mutex::new(Running {
                runtime: Some(runtime),
                udp: None,
                streams: HashMap::new(),
            }),
        })
    }

    /// Starts recording a stream. One that is recorded already is ended first (its sink's
    /// `end` has returned when this begins anew) and keeps its counters.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that cannot be a camera's, without repeating it;
    /// [`Error::Closed`] after [`Supervisor::shutdown`]. The stream stays as it was then.
    pub fn add(&self, id: StreamId, url: &str, sink: Box<dyn MediaSink>) -> Result<()> {
        let address = Address::parse(url)?;
        if address.other().is_some() && self.options.source_command.is_empty() {
            return Err(Error::Invalid(
                "this recorder has no reader for other than RTSP".to_owned(),
            ));
        }
        let _change = self.changes.lock();
        let earlier = {
            let mut running = self.running.lock();
            if running.runtime.is_none() {
                return Err(Error::Closed("RTSP ingest"));
            }
            if address.is_udp() && running.udp.is_none() {
                let batch = udp::batch(self.options.batch);
                running.udp = Some(runtime("nvr-udp", 1, move || batch, &self.options)?);
            }
            running.streams.remove(&id)
        };
        let earlier = earlier.map(|e| e.stop(Reason::DISCONNECTED, "the settings were changed"));
        let (status, goodbye) = match earlier {
            Some(Stopped { status, task }) => {
                status.settings_changed();
                (status, Some(task))
            }
            None => (Arc::default(), None),
        };
        let mut running = self.running.lock();
        let udp = running.udp.as_ref().filter(|_| address.is_udp());
        let recording = Recording {
            udp: udp.map(|runtime| runtime.handle().clone()),
            id,
            address,
            sink,
            clock: Arc::clone(&self.clock),
            options: Arc::clone(&self.options),
            status: Arc::clone(&status),
            handshakes: Arc::clone(&self.handshakes),
            buffers: self.buffers.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = mpsc::channel();
        let Some(runtime) = &running.runtime else { return Err(Error::Closed("RTSP ingest")) };
        let task = runtime.spawn(async move {
            if let Some(goodbye) = goodbye {
                // It lasts a second at most; how it ended was its own affair.
                let _ = goodbye.await;
            }
            stream::run(recording, stopped, ending).await;
        });
        running.streams.insert(id, Entry { status, stop, ended, task });
        Ok(())
    }

    /// Ends a stream; returns when its sink has had its last call (`end` if it was in a
    /// session, else `down`) and is dropped. False when there is no such stream.
    pub fn remove(&self, id: StreamId, reason: Reason) -> bool {
        let _change = self.changes.lock();
        let entry = self.running.lock().streams.remove(&id);
        entry.map(|e| e.stop(reason, "")).is_some()
    }

    /// All streams, sorted by id.
    pub fn status(&self) -> Vec<Status> {
        let running = self.running.lock();
        let mut all: Vec<_> = running.streams.iter().map(|(id, e)| e.status.read(*id)).collect();
        drop(running);
        all.sort_by_key(|s| s.id);
        all
    }

    /// Ends all streams and the runtime; returns when all sinks have had their last call.
    /// The supervisor cannot be used any more. A second call does nothing.
    pub fn shutdown(&self, reason: Reason) {
        let _change = self.changes.lock();
        let (runtime, udp, streams) = {
            let mut running = self.running.lock();
            (running.runtime.take(), running.udp.take(), std::mem::take(&mut running.streams))
        };
        let Some(runtime) = runtime else { return };
        let count = streams.len();
        let mut waiting = Vec::with_capacity(count);
        for entry in streams.into_values() {
            // All at once, and only then wait: hundreds end together.
            let _ = entry.stop.send((reason.clone(), String::new()));
            waiting.push((entry.ended, entry.task));
        }
        let (done, all_done) = mpsc::channel::<()>();
        for (ended, task) in waiting {
            let _ = ended.recv();
            let done = done.clone();
            runtime.spawn(async move {
                let _ = task.await;
                drop(done);
            });
        }
        drop(done);
        // Hangs up when every camera has been told that its session is over.
        let _ = all_done.recv_timeout(TEARDOWN_LIMIT);
        runtime.shutdown_background();
        if let Some(udp) = udp {
            udp.shutdown_background();
        }
        log::info!(target: LOG, "ended {count} streams: {reason}");
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shutdown(Reason::RECORDER_STOPPED);
    }
}

#[cfg(test)]
mod tests {
    use nvr_core::ids::{CameraId, StreamKind};
    use nvr_core::live::Hub;

    use super::*;

    #[test]
    fn pauses_are_short_while_somebody_watches_or_a_crowd_connects() {
        let hub = Hub::new().unwrap();
        let options = Options { watchers: hub.watchers(), ..Options::default() };
        let handshakes = Arc::new(Semaphore::new(1));
        let pause = pauses(&options, Arc::clone(&handshakes));
        let is_long =
            || (0..9).all(|_| (options.batch * 2..=options.batch_unwatched).contains(&pause()));
        assert!(is_long());
        let id = StreamId { camera: CameraId(Default::default()), kind: StreamKind::Main };
        let (one, two) = (hub.watch(id, false), hub.watch(id, true));
        one.close();
        one.close();
        assert_eq!(pause(), options.batch);
        drop(two);
        // The stream lets go of a watch at its next picture; here it is no more.
        hub.close_stream(id);
        assert!(is_long());
        let turn = handshakes.try_acquire().unwrap();
        assert_eq!(pause(), options.batch);
        drop(turn);
        assert!(is_long());
    }

    #[test]
    fn pauses_keep_in_step_with_no_camera() {
        let options = Options::default();
        let pause = pauses(&options, Arc::new(Semaphore::new(1)));
        let long_ns = options.batch_unwatched.as_nanos() as u64;
        for picture_ns in [long_ns, long_ns * 7 / 8, long_ns / 2, 66_666_667, 40_000_000] {
            let mut now_ns = 0;
            // How long before the end of a pause the newest picture came, of 30 s.
            let late_ns = std::iter::repeat_with(|| {
                now_ns += pause().as_nanos() as u64;
                now_ns
            })
            .take_while(|now_ns| *now_ns < 30_000_000_000)
            .map(|now_ns| (now_ns + 12_345_678) % picture_ns);
            assert!(late_ns.min().unwrap() < 2_000_000, "{picture_ns}");
        }
    }
}
