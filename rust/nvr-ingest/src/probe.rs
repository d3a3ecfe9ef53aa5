//! Trying a camera before it is recorded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use nvr_core::media::{AccessUnit, AudioFrame, AudioParams, MediaSink, VideoParams};
use nvr_core::reason::Reason;
use nvr_core::time::{Moment, SystemClock};
use retina::client::SessionGroup;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::address::Address;
use crate::demux::Buffers;
use crate::failure::Failure;
use crate::options::Options;
use crate::session::{self, Feed};
use crate::source;
use crate::status::StatusCell;
use crate::stream::TEARDOWN_LIMIT;

/// Connects once and waits for the first picture, on a runtime of its own. `source_command`: as in
/// [`Options`].
///
/// # Errors
/// The reason and the detail, without secrets, that recording would give.
pub fn probe(
    url: &str,
    limit: Duration,
    source_command: &[String],
) -> Result<(), (Reason, String)> {
    let address = Address::parse(url).map_err(|e| (Reason::UNREACHABLE, e.to_string()))?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| (Reason::NOT_RECORDED, format!("cannot start a probe: {e}")))?;
    // The library may panic over what a camera sends.
    let picture = AssertUnwindSafe(first_picture(&address, limit, source_command)).catch_unwind();
    let result = runtime.block_on(picture).unwrap_or_else(|_| {
        let detail = "internal error while reading from the camera";
        Err(Failure::new(Reason::PROTOCOL_ERROR, detail))
    });
    runtime.shutdown_background();
    result.map_err(|f| {
        let f = f.scrubbed(&address);
        (f.reason, f.detail)
    })
}

async fn first_picture(
    address: &Address,
    limit: Duration,
    source_command: &[String],
) -> Result<(), Failure> {
    let (seen, arrived) = oneshot::channel();
    let (clock, status) = (SystemClock::default(), StatusCell::default());
    let mut sink = FirstPicture(Some(seen));
    let mut begun = false;
    let feed = Feed { clock: &clock, sink: &mut sink, status: &status, begun: &mut begun };
    if let Some(url) = address.other() {
        let options = Options {
            source_command: source_command.to_vec(),
            handshake_timeout: limit,
            source_start: limit,
            silent_after: limit,
            ..Options::default()
        };
        let turn = Semaphore::new(1);
        return tokio::select! {
            Ok(()) = arrived => Ok(()),
            failure = source::record(url, &options, &turn, feed) => Err(failure),
        };
    }
    let group = Arc::new(SessionGroup::default());
    let started = tokio::time::Instant::now();
    let here = Handle::current();
    let playing =
        session::connect(address, &group, &Buffers::default(), limit, Some(&here)).await?;
    let left = limit.saturating_sub(started.elapsed());
    let result = tokio::select! {
        Ok(()) = arrived => Ok(()),
        failure = session::feed(playing, address, left, feed) => Err(failure),
    };
    let _ = timeout(TEARDOWN_LIMIT, group.await_teardown()).await;
    result
}

/// Says once that a picture came.
struct FirstPicture(Option<oneshot::Sender<()>>);

impl MediaSink for FirstPicture {
    fn begin(&mut self, _: Moment, _: VideoParams, _: Option<AudioParams>) {}
    fn video_params(&mut self, _: VideoParams) {}
    fn video(&mut self, _: AccessUnit) {
        if let Some(seen) = self.0.take() {
            // Nobody listens any more when the time is up.
            let _ = seen.send(());
        }
    }
    fn audio(&mut self, _: AudioFrame) {}
    fn camera_clock_offset(&mut self, _: i64) {}
    fn end(&mut self, _: Moment, _: Reason, _: &str) {}
    fn down(&mut self, _: Moment, _: Reason, _: &str) {}
}
