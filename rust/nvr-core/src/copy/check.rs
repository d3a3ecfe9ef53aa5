//! Whether a fragment from another node is what it says.

use crate::segment::digest::{TrackOf, track_digest};
use crate::segment::fragment::{ParsedFragment, crc_holds, parse_fragment};
use crate::segment::head::SegmentHead;
use crate::table::{Sample, TrackRun};
use crate::time::DAY_US;
use crate::{Error, Result};

/// A fragment that was checked, and its bytes.
#[derive(Debug)]
pub(super) struct Piece {
    /// Positions are relative to its first byte.
    pub parsed: ParsedFragment,
    /// As the recorder wrote it.
    pub bytes: Vec<u8>,
}

impl Piece {
    pub(super) fn sequence(&self) -> u32 {
        self.parsed.entry.sequence
    }
}

/// An error that names a fragment.
pub(super) fn refused(head: &SegmentHead, sequence: u32, what: &str) -> Error {
    Error::Refused(format!("run {}, fragment {sequence}: {what}", head.run))
}

/// Reads the head of the segment that fragments come from.
pub(super) fn read_head(init: &[u8]) -> Result<SegmentHead> {
    match SegmentHead::from_bytes(init) {
        Ok((head, len)) if len == init.len() => Ok(head),
        Ok(_) => Err(Error::Refused("something follows the segment's head".to_owned())),
        Err(e) => Err(Error::Refused(format!("the segment's head: {e}"))),
    }
}

/// Checks a fragment's CRC, recomputes its digests, and holds it against its segment. Wall times
/// later than `until_us` are not believed.
pub(super) fn read_piece(head: &SegmentHead, bytes: &[u8], until_us: i64) -> Result<Piece> {
    let Some(parsed) = parse_fragment(bytes) else {
        return Err(Error::Refused(format!("run {}: bytes that are no fragment", head.run)));
    };
    let entry = &parsed.entry;
    let no = |what| Err(refused(head, entry.sequence, what));
    if entry.length as usize != bytes.len() || !crc_holds(bytes) {
        return no("it fails its CRC");
    }
    // Nothing lies between the samples, or behind them.
    let sound_end = entry.audio.data_offset.checked_add(entry.audio.data_len);
    let sound_at = entry.video.data_offset.checked_add(entry.video.data_len);
    let (metadata_at, metadata_end) = match entry.metadata {
        TrackRun { sample_count: 0, .. } => (sound_end, sound_end),
        run => (Some(run.data_offset), run.data_offset.checked_add(run.data_len)),
    };
    if sound_at != Some(entry.audio.data_offset)
        || metadata_at != sound_end
        || metadata_end != Some(entry.length)
    {
        return no("its samples do not fill it");
    }
    if !digest_holds(TrackOf::Video, &entry.video, &parsed.video_samples, bytes)
        || !digest_holds(TrackOf::Audio, &entry.audio, &parsed.audio_samples, bytes)
        || !digest_holds(TrackOf::Metadata, &entry.metadata, &parsed.metadata_samples, bytes)
    {
        return no("it fails its digest");
    }
    if let Err(what) = parsed.fits(head) {
        return no(what);
    }
    let first = entry.sequence == head.first_sequence;
    let since = entry.wall_start_us.saturating_sub(head.wall_start_us);
    // A look-up asks the day of a segment's start and the one after, no further.
    if entry.sequence < head.first_sequence
        || (since == 0) != first
        || !(0..DAY_US).contains(&since)
    {
        return no("it does not belong to its segment");
    }
    if head.wall_start_us < 0 || entry.wall_start_us > until_us {
        return no("its wall time cannot be");
    }
    Ok(Piece { parsed, bytes: bytes.to_vec() })
}

fn digest_holds(track: TrackOf, run: &TrackRun, samples: &[Sample], fragment: &[u8]) -> bool {
    if samples.is_empty() {
        return run.digest == [0; 32];
    }
    let start = run.data_offset as usize;
    let data = fragment.get(start..start + run.data_len as usize);
    data.is_some_and(|data| track_digest(track, samples, &[data]) == run.digest)
}
