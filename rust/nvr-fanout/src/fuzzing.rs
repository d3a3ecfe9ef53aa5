//! What reads a peer's bytes, for the fuzz targets.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::framing::Deframer;
use crate::status::Status;

/// The messages of an answer whose data comes in pieces, until one is refused; and how many bytes
/// wait for the rest of their message.
pub fn deframe(most: usize, pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Bytes>, usize) {
    let (mut deframer, mut messages) = (Deframer::new(most), Vec::new());
    for piece in pieces {
        if deframer.push(piece, &mut messages).is_err() {
            break;
        }
    }
    (messages, deframer.held())
}

/// The status in trailers, of which those are left out that HTTP/2 does not let through.
pub fn status<'a>(trailers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Option<Status> {
    let trailers = trailers.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    Status::from_trailers(&trailers.take(100).collect::<HeaderMap>())
}
