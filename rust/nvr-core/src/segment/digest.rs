//! The digest of a track's share of a fragment.

use sha2::{Digest, Sha256};

use crate::table::Sample;

/// First bytes of what is hashed: keeps these digests apart from any others.
const DOMAIN: &[u8; 8] = b"nvr-frg1";

/// Whose samples a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackOf {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// ONVIF metadata.
    Metadata,
}

/// SHA-256 over a byte-exact sample table and the payload, as `docs/on-disk-format.md`
/// ("Digests") lays down. The last sample's duration and the composition offsets are not part of
/// it: a clip changes them to keep to wall time, and must verify all the same. In which order
/// pictures are shown is also coded in their payload.
pub fn track_digest(track: TrackOf, samples: &[Sample], payload: &[&[u8]]) -> [u8; 32] {
    let mut table = Vec::with_capacity(16 + samples.len() * 9);
    table.extend_from_slice(DOMAIN);
    table.push(match track {
        TrackOf::Video => b'v',
        TrackOf::Audio => b'a',
        TrackOf::Metadata => b'm',
    });
    table.extend_from_slice(&u32::try_from(samples.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut decode_offset = 0u32;
    for sample in samples {
        table.extend_from_slice(&sample.size.to_be_bytes());
        table.extend_from_slice(&decode_offset.to_be_bytes());
        table.push(u8::from(sample.sync));
        decode_offset = decode_offset.wrapping_add(sample.duration);
    }
    let mut hash = Sha256::new();
    hash.update(&table);
    for piece in payload {
        hash.update(piece);
    }
    hash.finalize().into()
}
