//! What a node answers: gRPC's frames in HTTP/2 data, and its trailers.

use bytes::Bytes;
use nvr_fanout::fuzzing;

const MOST: usize = 4096;

/// First byte: how the rest is cut into pieces, as data arrives.
pub fn frames(data: &[u8]) {
    let (cut, rest) = super::choice(data);
    let pieces: Vec<Bytes> =
        rest.chunks(usize::from(cut).max(1)).map(Bytes::copy_from_slice).collect();
    let whole = fuzzing::deframe(MOST, [Bytes::copy_from_slice(rest)]);
    let cut = fuzzing::deframe(MOST, pieces);
    for (messages, held) in [&whole, &cut] {
        assert!(messages.iter().all(|m| m.len() <= MOST) && *held <= MOST + 5);
    }
    assert_eq!(whole.0, cut.0, "where data is cut changes what it says");
}

/// Lines of name and value.
pub fn trailers(data: &[u8]) {
    let pairs = data.split(|&b| b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    if let Some(status) = fuzzing::status(pairs) {
        assert!(status.code <= 16 && status.detail.chars().count() <= 1000);
    }
}
