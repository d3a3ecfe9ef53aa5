//! What readers ask of a store, whatever is in it.

use nvr_core::clip::frames::{frame_at, gop_at, gops};
use nvr_core::clip::{SegmentRef, plan};
use nvr_core::ids::StreamId;
use nvr_core::store::{Mode, Store};

/// Times that are asked for, beside those of what is there.
const TIMES: [(i64, i64); 2] = [(0, i64::MAX / 4), (i64::MIN / 4, i64::MAX / 4)];

/// Everything about a stream: coverage, instants, fragments, clips.
pub fn store(store: &Store, id: StreamId) {
    let found = store.fragments(id, 0, i64::MAX / 4).unwrap_or_default();
    let at_us = found.first().map_or(crate::seeds::T0, |f| f.record.wall_start_us);
    for (from, until) in TIMES.into_iter().chain([(at_us, at_us.saturating_add(2_000_000))]) {
        if let Ok(coverage) = store.coverage(id, from, until) {
            let mut parts: Vec<_> = coverage.spans.iter().map(|s| (s.start_us, s.end_us)).collect();
            parts.extend(coverage.gaps.iter().map(|g| (g.start_us, g.end_us)));
            parts.sort_unstable();
            assert!(parts.iter().all(|(start, end)| start < end), "a span or gap that is none");
            assert!(parts.windows(2).all(|two| two[0].1 == two[1].0), "they do not fill the range");
        }
        let _ = store.runs(id, from, until);
        for mode in [Mode::At, Mode::Next, Mode::Previous] {
            let _ = store.locate(id, from, mode);
        }
        if let Ok(segments) = store.segments_for(id, from, until) {
            clips(id, &segments, from, until);
        }
    }
    for located in found.iter().take(20) {
        let (path, record) = (located.segment_path(), located.record);
        let _ = store.read_fragment(id, &path, record.offset, record.sequence);
        let _ = store.read_keyframe(id, &path, record.offset, record.sequence);
    }
}

/// Clips and pictures of segments.
pub fn clips(id: StreamId, segments: &[SegmentRef], from: i64, until: i64) {
    for audio in [true, false] {
        let Ok(clip) = plan(id, segments, from, until, audio) else { continue };
        for part in clip.parts {
            let mut bytes = [0; 4096];
            let _ = part.read_at(0, &mut bytes);
            let _ = part.read_at(part.size.saturating_sub(100), &mut bytes);
        }
    }
    let _ = gops(segments, from, until);
    let _ = frame_at(segments, from);
    let _ = gop_at(segments, until);
}
