//! What is recorded of a range, and why not what is not.

use std::path::Path;
use std::sync::Arc;

use super::stream::StreamStore;
use super::unknown::lay_over;
use crate::Result;
use crate::ids::RunId;
use crate::index::IndexFile;
use crate::reason::Reason;

/// A stretch recorded without a break, by one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// From.
    pub start_us: i64,
    /// Until.
    pub end_us: i64,
    /// The run.
    pub run: RunId,
    /// Its lease epoch.
    pub epoch: u32,
}

/// A stretch that is not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From.
    pub start_us: i64,
    /// Until.
    pub end_us: i64,
    /// Why.
    pub reason: Reason,
    /// For people, without secrets.
    pub detail: Arc<str>,
    /// There may be footage of it, on a disk that is not there or does not let it be read.
    pub unknown: bool,
}

/// Spans (of overlapping runs only the preferred one, so that they never overlap) and gaps.
/// Together they fill the range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Recorded, in order.
    pub spans: Vec<Span>,
    /// Not recorded, in order.
    pub gaps: Vec<Gap>,
}

/// The unbroken stretches of each run in [from, until), in order of start: also those that
/// another run hides.
pub fn runs(stream: &StreamStore, from_us: i64, until_us: i64) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for (index, positions) in stream.overlapping(from_us, until_us)? {
        unbroken(stream, &index, positions.start, positions.end - 1, &mut spans)?;
    }
    for span in &mut spans {
        span.start_us = span.start_us.max(from_us);
        span.end_us = span.end_us.min(until_us);
    }
    spans.retain(|s| s.start_us < s.end_us);
    spans.sort_by_key(|s| (s.start_us, s.epoch, s.run));
    Ok(spans)
}

/// The unbroken stretches of each run under one of the stream's folders, from an instant on.
pub(super) fn runs_in(stream: &StreamStore, dir: &Path, from_us: i64) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for (index, positions) in stream.overlapping(from_us, i64::MAX)? {
        if index.path().starts_with(dir) {
            unbroken(stream, &index, positions.start, positions.end - 1, &mut spans)?;
        }
    }
    Ok(spans)
}

/// What is recorded of [from, until). `now_us` tells what has yet to come; `run_since_us`, since
/// when the stream is being recorded without a break: what is missing after that and after the
/// newest footage is still in memory.
pub fn coverage(
    stream: &StreamStore,
    from_us: i64,
    until_us: i64,
    now_us: i64,
    run_since_us: Option<i64>,
) -> Result<Coverage> {
    let newest_us = newest(stream, now_us, run_since_us)?;
    // Where one run's fragment is damaged, another run may show the same.
    let spans = stream.damage().cut(runs(stream, from_us, until_us)?);
    let spans = prefer(stream.readable(spans));
    let gaps = gaps(stream, &spans, from_us, until_us, now_us, newest_us);
    Ok(Coverage { spans, gaps: lay_over(gaps, stream.unknown()) })
}

/// Adds the unbroken stretches among records [first, last] of an index. Consecutive sequence
/// numbers mean that nothing is missing between, so halves without holes need not be read.
fn unbroken(
    stream: &StreamStore,
    index: &Arc<IndexFile>,
    first: u64,
    last: u64,
    spans: &mut Vec<Span>,
) -> Result<()> {
    let visible = stream.visible();
    let (a, b) = (stream.located(index, first)?, stream.located(index, last)?);
    let whole = u64::from(b.record.sequence.wrapping_sub(a.record.sequence)) == last - first;
    let (path, starts) = (index.path(), (a.segment_start_us(), b.segment_start_us()));
    if whole && visible.shows_all(path, index.run, starts) {
        let (start_us, end_us) = (a.record.wall_start_us, b.end_us);
        match spans.iter_mut().rev().find(|s| s.run == index.run && s.end_us == start_us) {
            // Goes on from the half (or the day) before.
            Some(s) => s.end_us = end_us,
            None => spans.push(Span { start_us, end_us, run: index.run, epoch: index.epoch }),
        }
    } else if first < last && visible.shows_some(path, index.run, starts) {
        let middle = first + (last - first) / 2;
        unbroken(stream, index, first, middle, spans)?;
        unbroken(stream, index, middle + 1, last, spans)?;
    }
    Ok(())
}

/// Leaves of overlapping spans the preferred: of the higher epoch, then of the later run.
fn prefer(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|s| s.start_us);
    if spans.windows(2).all(|w| w[0].end_us <= w[1].start_us) {
        return spans;
    }
    let mut edges: Vec<i64> = spans.iter().flat_map(|s| [s.start_us, s.end_us]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut chosen: Vec<Span> = Vec::new();
    for edge in edges.windows(2) {
        let showing = spans.iter().filter(|s| s.start_us <= edge[0] && s.end_us >= edge[1]);
        let Some(best) = showing.max_by_key(|s| (s.epoch, s.run)) else { continue };
        match chosen.last_mut() {
            Some(last) if last.run == best.run && last.end_us == edge[0] => last.end_us = edge[1],
            _ => chosen.push(Span { start_us: edge[0], end_us: edge[1], ..best.clone() }),
        }
    }
    chosen
}

/// End of the newest footage of a run that is being recorded: what is missing after that is in
/// memory. Of the run, and not only of a range; there may be later footage from before the clock was
/// set back. To be asked before the spans: of what is written meanwhile they may have more, not less.
fn newest(stream: &StreamStore, now_us: i64, run_since_us: Option<i64>) -> Result<i64> {
    Ok(match (run_since_us, stream.written_us()) {
        (Some(since), Some(end)) => end.max(since),
        (Some(since), None) => stream.previous(now_us)?.map_or(since, |n| n.end_us.max(since)),
        (None, _) => i64::MAX,
    })
}

fn gap(start_us: i64, end_us: i64, reason: Reason, detail: Arc<str>) -> Gap {
    Gap { start_us, end_us, reason, detail, unknown: false }
}

fn gaps(
    stream: &StreamStore,
    spans: &[Span],
    from_us: i64,
    until_us: i64,
    now_us: i64,
    newest: i64,
) -> Vec<Gap> {
    let history = stream.history();
    let visible = stream.visible();
    let mut gaps = Vec::new();
    let mut at = from_us;
    let starts = spans.iter().map(|s| (s.start_us, s.end_us)).chain([(until_us, until_us)]);
    for (start_us, end_us) in starts {
        // Of what is held, nothing is deleted: what is missing in it has another reason.
        let held = visible.holds_all(at, start_us);
        let expired = if held { i64::MIN } else { visible.expired_before_us() };
        // It is known to the millisecond in which the oldest segment starts that stays.
        let expired =
            if (1..1000).contains(&start_us.saturating_sub(expired)) { start_us } else { expired };
        let mut push = |from: i64, until: i64, reason: Reason| {
            let (from, until) = (from.max(at), until.min(start_us));
            if from < until {
                gaps.push(gap(from, until, reason, Arc::from("")));
            }
        };
        let first = history.first_us.unwrap_or(i64::MAX).min(expired);
        push(at, first, Reason::NOT_RECORDED);
        push(first, expired, Reason::EXPIRED);
        let known = at.max(first).max(expired).min(start_us);
        let told = start_us.min(now_us).min(newest).max(known);
        if known < told {
            for (from, until, reason, detail) in history.causes(known, told) {
                gaps.push(gap(from, until, reason, detail));
            }
        }
        let mut push = |from: i64, until: i64, reason: Reason| {
            let (from, until) = (from.max(told), until.min(start_us));
            if from < until {
                gaps.push(gap(from, until, reason, Arc::from("")));
            }
        };
        push(told, now_us, Reason::PENDING);
        push(now_us, i64::MAX, Reason::FUTURE);
        at = end_us;
    }
    gaps
}
