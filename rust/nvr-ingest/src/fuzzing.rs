//! What reads addresses, what cameras say, and what sources' processes write, for the fuzz targets.

use std::sync::Arc;
use std::time::Duration;

use nvr_core::media::MediaSink;
use nvr_core::time::SystemClock;
use retina::client::SessionGroup;

use crate::address::Address;
use crate::demux::Buffers;
use crate::session::{self, Feed};
use crate::source;
use crate::status::StatusCell;

/// The password in a camera's address, and a text as it is shown; `None`: this is no such address.
pub fn show(address: &str, text: &str) -> Option<(String, String)> {
    let address = Address::parse(address).ok()?;
    let _ = (address.host_port(), address.to_string());
    let password = address.login().map(|login| login.password.clone()).unwrap_or_default();
    Some((password, address.scrub(text)))
}

/// One session with a camera, until it ends; why it did.
pub async fn camera(url: &str, sink: &mut dyn MediaSink) -> String {
    const LIMIT: Duration = Duration::from_secs(4);
    let address = match Address::parse(url) {
        Ok(address) => address,
        Err(e) => return e.to_string(),
    };
    let group = Arc::new(SessionGroup::default());
    let (clock, status, mut begun) = (SystemClock::default(), StatusCell::default(), false);
    let feed = Feed { clock: &clock, sink, status: &status, begun: &mut begun };
    let failure = match session::connect(&address, &group, &Buffers::default(), LIMIT, None).await {
        Ok(playing) => session::feed(playing, &address, LIMIT, feed).await,
        Err(failure) => failure,
    };
    failure.scrubbed(&address).detail
}

/// What a source's process writes, until it ends; why it did, if it says so.
pub async fn source(output: &[u8], sink: &mut dyn MediaSink) -> Option<String> {
    let (clock, status, mut begun) = (SystemClock::default(), StatusCell::default(), false);
    let feed = Feed { clock: &clock, sink, status: &status, begun: &mut begun };
    source::replay(output, feed).await.map(|failure| failure.detail)
}
