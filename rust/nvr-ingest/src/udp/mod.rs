//! RTP over UDP: a relay between a camera and the RTSP library.
//!
//! The library speaks RTP over TCP with the relay, on this machine. The relay passes its messages
//! on to the camera, but asks for UDP where the library asks for interleaved packets, and logs in;
//! it receives the packets ([`ports`]), puts them in order ([`window`]), reports how they come
//! ([`reception`]) and hands them to the library interleaved. So everything behind – times,
//! pictures, sound, losses – is the same as over TCP. Why: decision 0029.

mod message;
mod ports;
mod reception;
mod relay;
mod transport;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nvr_core::reason::Reason;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use url::Url;

use crate::LOG;
use crate::address::Address;
use crate::failure::Failure;

/// With a smaller socket buffer a keyframe of a megabyte does not fit between two readings.
const ENOUGH_BYTES: usize = 2 << 20;

/// As long may a thread sleep that reads sockets with less: on a network of 1 Gbit/s the usual
/// 208 KiB are full after 2 ms.
const SHORT_BATCH: Duration = Duration::from_millis(1);

/// How long a thread that receives over UDP may sleep before it asks which sockets have data, of what
/// other threads do. Warns when the system gives small buffers.
pub(crate) fn batch(wanted: Duration) -> Duration {
    let bytes = ports::buffer_bytes().unwrap_or_default();
    if bytes >= ENOUGH_BYTES {
        return wanted;
    }
    log::warn!(
        target: LOG,
        "a UDP socket gets a buffer of {bytes} bytes only: bursts of cameras over UDP may be lost; \
         set net.core.rmem_max to {}",
        ports::BUFFER_BYTES
    );
    wanted.min(SHORT_BATCH)
}

/// A way to a camera's packets. It ends when the library's connection does.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    url: Url,
    shared: Arc<Shared>,
}

/// What the relay's task and the session know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// Ticks a second of the track that is set up next.
    clock_hz: AtomicU32,
    /// Packets came.
    begun: AtomicBool,
    /// Packets that did not come, and that the session has not asked about.
    lost: AtomicU64,
    /// Why the relay ended, if it was not the library that hung up.
    failure: Mutex<Option<Failure>>,
}

impl Relay {
    /// Connects to the camera. The relay runs on `runtime`, whose threads must not sleep for long:
    /// a socket's buffer holds little.
    ///
    /// # Errors
    /// As connecting over TCP has them.
    pub(crate) async fn open(address: &Address, runtime: &Handle) -> Result<Relay, Failure> {
        let shared = Arc::<Shared>::default();
        let (ready, opened) = oneshot::channel();
        runtime.spawn(relay::run(address.clone(), Arc::clone(&shared), ready));
        let url = opened.await.unwrap_or_else(|_| {
            Err(Failure::new(
                Reason::PROTOCOL_ERROR,
                "internal error while connecting to the camera",
            ))
        })?;
        Ok(Relay { url, shared })
    }

    /// Where the library finds it.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The next SETUP is of a track with so many ticks a second.
    pub(crate) fn clock_rate(&self, clock_hz: u32) {
        self.shared.clock_hz.store(clock_hz, Relaxed);
    }

    /// How many packets were lost since this was last asked. (The library forgets those of pictures
    /// that it leaves out.)
    pub(crate) fn take_lost(&self) -> u64 {
        self.shared.lost.swap(0, Relaxed)
    }

    /// Why a session ended: what the relay knows better than the library.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        if let Some(known) = self.shared.failure.lock().take() {
            return known;
        }
        if failure.reason == Reason::SILENT && !self.shared.begun.load(Relaxed) {
            return Failure::new(
                failure.reason,
                format!(
                    "{}: no packet came over UDP. Does a firewall drop them, or does the camera \
                     send from other ports than it says? With rtsp:// it is asked for TCP",
                    failure.detail
                ),
            );
        }
        failure
    }
}
