//! Which picture is shown at an instant, and what a decoder must be given to see it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::SegmentRef;
use super::timeline::{Stretch, timeline};
use crate::Result;
use crate::fs::Named;

/// A picture in a segment file.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The segment file.
    pub file: Arc<Named>,
    /// Position of its bytes: NAL units, each after its length in 4 bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u32,
    /// Presentation time, as media time of its run.
    pub pts_90k: i64,
    /// Wall time from which it is shown.
    pub wall_us: i64,
    /// A decoder can start here.
    pub sync: bool,
}

/// The picture shown at an instant.
#[derive(Clone, Debug)]
pub struct Frame {
    /// A segment with the codec parameters (and run) of all of them.
    pub segment: SegmentRef,
    /// In decoding order, from a random-access point to the picture itself, which is the last.
    /// A decoder gives it once it is flushed.
    pub pictures: Vec<Picture>,
}

/// A group of pictures, decodable from its first one.
#[derive(Clone, Debug)]
pub struct Gop {
    /// A segment with the codec parameters (and run) of all of them.
    pub segment: SegmentRef,
    /// In decoding order, from its random-access point. Those from `end_us` on belong to the next
    /// group: an open GOP's last pictures need its random-access point too.
    pub pictures: Vec<Picture>,
    /// Wall time from which its random-access point is shown.
    pub start_us: i64,
    /// Wall time from which the next one's is shown, or of the end of the last picture.
    pub end_us: i64,
}

/// The picture shown at an instant: the last one that begins no later. None inside a gap.
/// For `segments` see [`super::plan`], for the range of this one instant.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) if a table contradicts itself.
pub fn frame_at(segments: &[SegmentRef], at_us: i64) -> Result<Option<Frame>> {
    let stretches = timeline(segments)?;
    let Some(stretch) = stretch_at(&stretches, at_us) else { return Ok(None) };
    let index = stretch.index_at(at_us);
    let mut pictures = pictures_of(stretch, stretch.decode_from(index, at_us)..=index);
    let shown = pictures.iter().enumerate().filter(|(_, p)| p.wall_us <= at_us);
    let Some((target, _)) = shown.max_by_key(|(_, p)| (p.wall_us, p.pts_90k)) else {
        return Ok(None);
    };
    pictures.truncate(target + 1);
    let target_pts = pictures[target].pts_90k;
    let first = pictures.iter().rposition(|p| p.sync && p.pts_90k <= target_pts).unwrap_or(0);
    pictures.drain(..first);
    leave_out_leading(&mut pictures);
    Ok(Some(Frame { segment: stretch.pieces[index].segment.clone(), pictures }))
}

/// Wall starts of the groups of pictures that show any instant of [`start_us`, `end_us`), in
/// order. For `segments` see [`super::plan`].
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) if a table contradicts itself.
pub fn gops(segments: &[SegmentRef], start_us: i64, end_us: i64) -> Result<Vec<i64>> {
    let mut starts = Vec::new();
    for stretch in &timeline(segments)? {
        if stretch.start_us >= end_us || stretch.end_us() <= start_us || start_us >= end_us {
            continue;
        }
        let at_us = start_us.max(stretch.start_us);
        let from = stretch.decode_from(stretch.index_at(at_us), at_us);
        let mut before = None;
        for piece in &stretch.pieces[from..=stretch.index_at(end_us - 1)] {
            let pictures = piece.pictures();
            for (sample, (_, pts)) in pictures.samples.iter().zip(pictures.times()) {
                let wall_us = piece.wall_us(pts);
                if !sample.sync || wall_us >= end_us {
                    continue;
                }
                if wall_us <= at_us {
                    before = Some(wall_us);
                } else {
                    starts.extend(before.take());
                    starts.push(wall_us);
                }
            }
        }
        starts.extend(before);
    }
    Ok(starts)
}

/// The group of pictures that shows an instant. None inside a gap. For `segments` see
/// [`super::plan`]; those up to the next random-access point are needed, too.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) if a table contradicts itself.
pub fn gop_at(segments: &[SegmentRef], at_us: i64) -> Result<Option<Gop>> {
    let stretches = timeline(segments)?;
    let Some(stretch) = stretch_at(&stretches, at_us) else { return Ok(None) };
    let index = stretch.index_at(at_us);
    let next = stretch.pieces[index + 1..].iter().position(|piece| piece.entry.random_access);
    let last = next.map_or(stretch.pieces.len() - 1, |n| index + 1 + n);
    let mut pictures = pictures_of(stretch, stretch.decode_from(index, at_us)..=last);
    let first = pictures.iter().rposition(|p| p.sync && p.wall_us <= at_us).unwrap_or(0);
    pictures.drain(..first);
    let start_us = pictures.first().map_or(stretch.start_us, |p| p.wall_us);
    let mut end_us = stretch.end_us();
    if let Some(next) = pictures.iter().skip(1).position(|p| p.sync).map(|n| n + 1) {
        end_us = pictures[next].wall_us;
        let next_pts = pictures[next].pts_90k;
        let leading = pictures[next + 1..].iter().take_while(|p| p.pts_90k < next_pts).count();
        pictures.truncate(if leading > 0 { next + 1 + leading } else { next });
    }
    leave_out_leading(&mut pictures);
    let segment = stretch.pieces[index].segment.clone();
    Ok(Some(Gop { segment, pictures, start_us, end_us }))
}

fn stretch_at<'a>(stretches: &'a [Stretch<'a>], at_us: i64) -> Option<&'a Stretch<'a>> {
    stretches.iter().find(|stretch| (stretch.start_us..stretch.end_us()).contains(&at_us))
}

/// Those that refer to pictures before the first one.
fn leave_out_leading(pictures: &mut Vec<Picture>) {
    if let Some(first) = pictures.first().map(|p| p.pts_90k) {
        pictures.retain(|p| p.pts_90k >= first);
    }
}

fn pictures_of(stretch: &Stretch<'_>, range: RangeInclusive<usize>) -> Vec<Picture> {
    let mut all = Vec::new();
    for piece in &stretch.pieces[range] {
        let start_pts = piece.run_pts_90k();
        let mut offset = u64::from(piece.entry.video.data_offset);
        let pictures = piece.pictures();
        for (sample, (_, pts)) in pictures.samples.iter().zip(pictures.times()) {
            all.push(Picture {
                file: piece.segment.file.clone(),
                offset,
                size: sample.size,
                pts_90k: start_pts + pts,
                wall_us: piece.wall_us(pts),
                sync: sample.sync,
            });
            offset += u64::from(sample.size);
        }
    }
    all
}
