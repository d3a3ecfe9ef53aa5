//! Clips: what a stream shows from one wall time to another, as files that any player plays, made
//! without copying media; and the pictures shown at an instant.
//!
//! A clip has one part for each set of codec parameters. Within a part, movie time is wall time
//! minus the part's start: each fragment begins at its own wall time (to the tick of 1/90,000 s),
//! inside of it media time runs as the camera sent it, and the last sample of each fragment (in
//! decoding order) lasts until the next one begins. That takes up clock drift, and extends the
//! last picture over a gap. An edit list cuts exactly; the pre-roll that decoding needs lies before
//! the in point. Fragments are used whole: an edit list hides and does not remove.

mod build;
pub mod frames;
mod part;
#[cfg(test)]
pub(crate) mod testing;
mod timeline;

use std::sync::Arc;

pub use part::ClipPart;

use crate::fs::Named;
use crate::ids::StreamId;
use crate::table::SegmentTable;
use crate::time::SECOND_US;
use crate::{Error, Result};
use build::Selection;
use timeline::{same_params, timeline};

/// A longer gap ends a part: durations in a file have 32 bits.
const MAX_GAP_US: i64 = 6 * 3_600 * SECOND_US;

/// A segment to take fragments from.
#[derive(Clone, Debug)]
pub struct SegmentRef {
    /// The segment file.
    pub file: Arc<Named>,
    /// What is in it.
    pub table: Arc<SegmentTable>,
}

/// What a clip consists of.
#[derive(Clone, Debug)]
pub struct ClipPlan {
    /// In wall order, apart from each other. None if nothing is shown in the range.
    pub parts: Vec<ClipPart>,
}

/// Plans the clip [`start_us`, `end_us`) of a stream.
///
/// `segments`: as [`Store::segments_for`](crate::store::Store::segments_for) gives them; those that
/// show any instant of the range, those with the random-access points that these depend on (in an
/// open GOP, the one before too), and the one that follows. Their order and repetitions do not
/// matter; what cannot be decoded from them is left out. Where runs overlap, the one of the higher
/// epoch is shown, then the one of the later id. `audio`: with the sound, if there is any.
///
/// The same request over the same segments gives the same bytes.
///
/// # Errors
/// [`Error::Invalid`] if the range is empty; [`Error::Damaged`] if a table contradicts itself;
/// [`Error::Media`] if the times in it do not fit into a file.
pub fn plan(
    stream: StreamId,
    segments: &[SegmentRef],
    start_us: i64,
    end_us: i64,
    audio: bool,
) -> Result<ClipPlan> {
    if start_us >= end_us {
        return Err(Error::Invalid(format!(
            "a clip must end after its start: {start_us} to {end_us} µs"
        )));
    }
    let stretches = timeline(segments)?;
    let mut groups: Vec<Vec<Selection<'_>>> = Vec::new();
    for stretch in &stretches {
        let Some(selection) = Selection::of(stretch, start_us, end_us) else { continue };
        let same_part = groups.last().and_then(|group| group.last()).is_some_and(|before| {
            let (a, b) = (before.pieces[0].table(), selection.pieces[0].table());
            let same = if audio { same_params(a, b) } else { a.video == b.video };
            same && selection.start_us - before.end_us < MAX_GAP_US
        });
        match groups.last_mut() {
            Some(group) if same_part => group.push(selection),
            _ => groups.push(vec![selection]),
        }
    }
    let request = build::Request { stream, start_us, end_us, audio };
    let parts = groups.iter().map(|group| build::build(&request, group));
    Ok(ClipPlan { parts: parts.collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests;
