//! What the process of a source that is not RTSP writes: it may be a stranger's by then.

use nvr_core::media::MediaSink;
use nvr_core::reason::Reason;
use nvr_core::time::Moment;

use crate::checked::Checked;

/// Messages, as they are written.
pub fn run(data: &[u8]) {
    let mut sink = Checked::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let said = runtime.block_on(nvr_ingest::fuzzing::source(data, &mut sink));
    assert!(said.is_none_or(|said| said.len() <= 66_000), "words without end");
    sink.end(Moment { wall_us: 0, mono_us: 0 }, Reason::DISCONNECTED, "");
}
