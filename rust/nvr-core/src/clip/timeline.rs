//! From segments to what is shown when: stretches of fragments that a decoder can play through,
//! in wall order, without overlap.

use std::cmp::Reverse;
use std::ops::Range;

use super::SegmentRef;
use crate::table::{FragmentEntry, Sample, SegmentTable, TrackRun};
use crate::{Error, Result};

/// Times within this can be added and subtracted without care, and dates reach far enough.
const MAX_TIME: u64 = 1 << 60;

/// A fragment in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) segment: &'a SegmentRef,
    pub(super) entry: &'a FragmentEntry,
    /// Where the next one takes over, or its last picture ends.
    pub(super) end_us: i64,
    /// It ends because another run takes over, so it may have pictures beyond its end.
    pub(super) cut: bool,
}

impl<'a> Piece<'a> {
    pub(super) fn table(&self) -> &'a SegmentTable {
        &self.segment.table
    }

    pub(super) fn start_us(&self) -> i64 {
        self.entry.wall_start_us
    }

    /// The pictures, with presentation times relative to the earliest of them.
    pub(super) fn pictures(&self) -> Pictures<'a> {
        let samples = self.table().video_of(self.entry);
        let (mut dts, mut first) = (0, i64::MAX);
        for sample in samples {
            first = first.min(dts + i64::from(sample.composition_offset));
            dts += i64::from(sample.duration);
        }
        Pictures { samples, first }
    }

    /// When the picture of its random-access point is shown: its start, but for an open GOP.
    pub(super) fn random_access_us(&self) -> i64 {
        let pictures = self.pictures();
        self.wall_us(pictures.times().next().map_or(0, |(_, pts)| pts))
    }

    /// Wall time of a presentation time relative to the earliest picture.
    pub(super) fn wall_us(&self, pts_90k: i64) -> i64 {
        // Within its own bounds, also where the mapping to wall time was corrected meanwhile.
        let us = (pts_90k * 100 + 4).div_euclid(9);
        (self.start_us() + us).min(self.end_us - 1)
    }

    /// Media time of its earliest picture in its run, in ticks.
    pub(super) fn run_pts_90k(&self) -> i64 {
        let pictures = self.pictures();
        self.table().base_90k + self.entry.video.decode_time as i64 + pictures.first
    }

    /// How many leading pictures follow the picture of its random-access point.
    pub(super) fn leading_pictures(&self) -> usize {
        let pictures = self.pictures();
        let mut times = pictures.times().map(|(_, pts)| pts);
        let Some(first) = times.next().filter(|_| self.entry.leading) else { return 0 };
        times.take_while(|&pts| pts < first).count()
    }

    fn follows(&self, before: &Piece<'_>) -> bool {
        self.table().run == before.table().run
            && before.entry.sequence.checked_add(1) == Some(self.entry.sequence)
            && self.start_us() > before.start_us()
            && same_params(self.table(), before.table())
    }
}

/// The pictures of a fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pictures<'a> {
    pub(super) samples: &'a [Sample],
    /// Presentation time of the earliest minus decoding time of the first one.
    pub(super) first: i64,
}

impl<'a> Pictures<'a> {
    /// Decoding and presentation time of each, in decoding order; presentation times are
    /// relative to the earliest picture, decoding times to that of the first one.
    pub(super) fn times(&self) -> impl Iterator<Item = (i64, i64)> + use<'a> {
        let first = self.first;
        self.samples.iter().scan(0, move |dts, sample| {
            let at = *dts;
            *dts += i64::from(sample.duration);
            Some((at, at + i64::from(sample.composition_offset) - first))
        })
    }
}

/// Contiguous fragments of one run with one set of parameters. The first one begins with a
/// random-access point.
#[derive(Clone, Debug)]
pub(super) struct Stretch<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// When its first picture that can be decoded is shown.
    pub(super) start_us: i64,
}

impl Stretch<'_> {
    pub(super) fn end_us(&self) -> i64 {
        self.pieces.last().map_or(self.start_us, |piece| piece.end_us)
    }

    /// The fragment that shows an instant; the first one before its start.
    pub(super) fn index_at(&self, at_us: i64) -> usize {
        self.pieces.partition_point(|piece| piece.start_us() <= at_us).saturating_sub(1)
    }

    /// Where decoding starts so that fragment `index` can be shown from an instant on.
    pub(super) fn decode_from(&self, index: usize, at_us: i64) -> usize {
        let point = self.random_access_before(index + 1);
        // Leading pictures refer to the GOP before.
        if point > 0
            && self.pieces[point].entry.leading
            && at_us < self.pieces[point].random_access_us()
        {
            return self.random_access_before(point);
        }
        point
    }

    fn random_access_before(&self, end: usize) -> usize {
        self.pieces[..end].iter().rposition(|piece| piece.entry.random_access).unwrap_or(0)
    }
}

/// Lays out what the segments show. Where runs overlap, the one of the higher epoch is shown,
/// then the one of the later id; the other one is left out until its next random-access point.
/// [`Error::Damaged`] if a table contradicts itself.
pub(super) fn timeline(segments: &[SegmentRef]) -> Result<Vec<Stretch<'_>>> {
    let mut pieces = Vec::with_capacity(segments.iter().map(|s| s.table.fragments.len()).sum());
    for segment in segments {
        for entry in &segment.table.fragments {
            check(segment, entry)?;
            let end_us = entry.wall_start_us + i64::from(entry.duration_us.max(1));
            pieces.push(Piece { segment, entry, end_us, cut: false });
        }
    }
    // The run that is shown comes first.
    pieces.sort_by_key(|piece| {
        (Reverse(piece.table().epoch), Reverse(piece.table().run), piece.entry.sequence)
    });
    pieces.dedup_by_key(|piece| (piece.table().epoch, piece.table().run, piece.entry.sequence));

    // A fragment ends where the next of its run begins, also where parameters change: its own
    // duration is a guess then, and one that is too long would hide the next one.
    for i in 1..pieces.len() {
        let (start_us, table) = (pieces[i].start_us(), pieces[i].table());
        let before = &pieces[i - 1];
        if table.run == before.table().run && before.start_us() < start_us {
            pieces[i - 1].end_us = before.end_us.min(start_us);
        }
    }

    let mut shown: Vec<Stretch<'_>> = Vec::new();
    let mut taken = Taken::default();
    let mut rest = &mut pieces[..];
    while !rest.is_empty() {
        let len = 1 + rest.windows(2).take_while(|w| w[1].follows(&w[0])).count();
        let (contiguous, after) = rest.split_at_mut(len);
        rest = after;
        for i in 1..contiguous.len() {
            contiguous[i - 1].end_us = contiguous[i].start_us();
        }
        let free = taken.leave_free(contiguous);
        taken.add(free.iter().map(|s| s.pieces[0].start_us()..s.end_us()));
        shown.extend(free);
    }
    shown.sort_by_key(|stretch| stretch.start_us);
    Ok(shown)
}

/// Stretches of wall time that are shown already, sorted, apart from each other.
#[derive(Default)]
struct Taken(Vec<Range<i64>>);

impl Taken {
    fn add(&mut self, ranges: impl Iterator<Item = Range<i64>>) {
        self.0.extend(ranges.filter(|range| range.start < range.end));
        self.0.sort_by_key(|range| range.start);
    }

    fn leave_free<'a>(&self, pieces: &[Piece<'a>]) -> Vec<Stretch<'a>> {
        let mut free = Vec::new();
        let mut i = 0;
        while i < pieces.len() {
            let at_us = pieces[i].start_us();
            let next = self.0.partition_point(|range| range.start <= at_us);
            let is_taken = next > 0 && at_us < self.0[next - 1].end;
            if is_taken || !pieces[i].entry.random_access {
                i += 1;
                continue;
            }
            let limit_us = self.0.get(next).map_or(i64::MAX, |range| range.start);
            let len = pieces[i..].partition_point(|piece| piece.start_us() < limit_us);
            let mut stretch = Stretch { pieces: pieces[i..i + len].to_vec(), start_us: at_us };
            if let Some(last) = stretch.pieces.last_mut().filter(|last| last.end_us > limit_us) {
                last.end_us = limit_us;
                last.cut = true;
            }
            if pieces[i].entry.leading {
                stretch.start_us = stretch.pieces[0].random_access_us();
            }
            free.push(stretch);
            i += len;
        }
        free
    }
}

/// The tables must agree with each other: everything after this trusts them.
fn check(segment: &SegmentRef, entry: &FragmentEntry) -> Result<()> {
    let track = |all: &[Sample], run: &TrackRun| {
        let first = run.first_sample as usize;
        let samples = all.get(first..first.saturating_add(run.sample_count as usize));
        let bytes = |s: &[Sample]| s.iter().map(|s| u64::from(s.size)).sum::<u64>();
        samples.is_some_and(|s| bytes(s) == u64::from(run.data_len)) && run.decode_time < MAX_TIME
    };
    let table = &segment.table;
    let sound = table.audio.as_ref().is_none_or(|audio| audio.sample_rate > 0);
    let in_range = |time: i64| time.unsigned_abs() < MAX_TIME;
    let times = in_range(entry.wall_start_us) && in_range(table.base_90k);
    let video = times && entry.video.sample_count > 0 && track(&table.video_samples, &entry.video);
    let others = track(&table.audio_samples, &entry.audio)
        && track(&table.metadata_samples, &entry.metadata);
    if video && sound && others {
        return Ok(());
    }
    Err(Error::damaged(
        &segment.file.path,
        u64::from(entry.offset),
        format!("the sample table of fragment {} contradicts itself", entry.sequence),
    ))
}

pub(super) fn same_params(a: &SegmentTable, b: &SegmentTable) -> bool {
    std::ptr::eq(a, b) || (a.video == b.video && a.audio == b.audio)
}
