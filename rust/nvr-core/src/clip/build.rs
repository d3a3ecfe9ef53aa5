//! Builds one part of a clip: sample tables, edit lists, byte ranges, ETag.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::part::{ClipPart, FileRange, hex};
use super::timeline::{Pictures, Piece, Stretch};
use crate::Result;
use crate::codec::{AudioInfo, VideoInfo};
use crate::fs::Named;
use crate::ids::{StreamId, StreamKind};
use crate::media::MetadataCoding;
use crate::mp4::moov::{Edit, Movie, SampleTable, TimedSample, Track, TrackKind};
use crate::mp4::sample_entry::{audio_sample_entry, metadata_sample_entry, video_sample_entry};
use crate::table::{Sample, TrackRun};
use crate::time::{SECOND_US, VIDEO_TIMESCALE};

/// Feeds the ETag: raise it when the bytes of a clip change for the same footage.
const FORMAT_VERSION: &[u8] = b"nvr clip 1";

/// Sound is moved to where it belongs once it is off by more than 1/50 s.
const AUDIO_TOLERANCE_DIVISOR: i64 = 50;

/// What was asked for.
pub(super) struct Request {
    pub(super) stream: StreamId,
    pub(super) start_us: i64,
    pub(super) end_us: i64,
    pub(super) audio: bool,
}

/// The fragments of a stretch that a clip needs.
pub(super) struct Selection<'a> {
    pub(super) pieces: &'a [Piece<'a>],
    /// What is shown of them.
    pub(super) start_us: i64,
    pub(super) end_us: i64,
}

impl<'a> Selection<'a> {
    /// None if the stretch shows nothing of the range.
    pub(super) fn of(stretch: &'a Stretch<'a>, start_us: i64, end_us: i64) -> Option<Self> {
        let start_us = start_us.max(stretch.start_us);
        let end_us = end_us.min(stretch.end_us());
        if start_us >= end_us {
            return None;
        }
        let first = stretch.decode_from(stretch.index_at(start_us), start_us);
        let last = stretch.index_at(end_us - 1);
        Some(Selection { pieces: &stretch.pieces[first..=last], start_us, end_us })
    }
}

/// A part in the making. Movie times are in ticks of 1/90,000 s since `origin_us`.
struct Builder {
    origin_us: i64,
    video: SampleTable,
    /// Decoding times of pictures are so much earlier than the fragments say.
    dts_shift: i64,
    audio: Option<OtherBuilder>,
    metadata: Option<(MetadataCoding, OtherBuilder)>,
    ranges: Vec<FileRange>,
    data_len: u64,
    etag: Sha256,
}

/// A fragment in its place in a part.
struct Placed<'a> {
    piece: &'a Piece<'a>,
    /// So many leading pictures are left out.
    skip: usize,
    /// Movie times of its pictures, in decoding order; those after them are left out.
    times: Vec<i64>,
}

/// A track beside the pictures.
struct OtherBuilder {
    /// Ticks a second.
    rate: i64,
    table: SampleTable,
    /// A sample that comes at about the end of the one before follows it without a space.
    gapless: bool,
    /// In ticks of movie time: only samples that begin within. (Of a document that lasts into the clip
    /// libav would take the next one's time for that of the in point.)
    within: Range<i64>,
}

/// Builds a part of selections that share codec parameters, in wall order, at least one.
pub(super) fn build(request: &Request, selections: &[Selection<'_>]) -> Result<ClipPart> {
    let first = &selections[0].pieces[0];
    let pieces = || selections.iter().flat_map(|s| s.pieces);
    let range_us = (selections[0].start_us, selections[selections.len() - 1].end_us);
    let count = |of: fn(&Piece<'_>) -> u32| pieces().map(|p| of(p) as usize).sum();
    let audio_params = first.table().audio.as_ref().filter(|_| request.audio);
    let mut builder = Builder {
        origin_us: range_us.0,
        video: SampleTable::with_capacity(count(|p| p.entry.video.sample_count)),
        dts_shift: 0,
        audio: audio_params.map(|params| OtherBuilder {
            rate: i64::from(params.sample_rate),
            table: SampleTable::with_capacity(count(|p| p.entry.audio.sample_count)),
            gapless: true,
            within: i64::MIN..i64::MAX,
        }),
        metadata: pieces().find_map(|p| p.table().metadata).map(|coding| {
            let table = SampleTable::with_capacity(count(|p| p.entry.metadata.sample_count));
            let rate = i64::from(VIDEO_TIMESCALE);
            let within = 0..ticks_90k(range_us.1 - range_us.0);
            (coding, OtherBuilder { rate, table, gapless: false, within })
        }),
        ranges: Vec::new(),
        data_len: 0,
        etag: etag_of(request, range_us),
    };
    let placed = place(selections, range_us.0);
    let in_point = in_point(&placed);
    for placed in &placed {
        builder.add(placed, in_point)?;
    }
    builder.finish(first, pieces().next_back().unwrap_or(first), range_us)
}

/// A time in other units, to the nearest.
fn rescale(time: i64, from: i64, to: i64) -> i64 {
    let scaled = i128::from(time) * i128::from(to);
    (scaled + i128::from(from) / 2).div_euclid(i128::from(from)) as i64
}

fn ticks_90k(us: i64) -> i64 {
    rescale(us, SECOND_US, i64::from(VIDEO_TIMESCALE))
}

impl Builder {
    fn add(&mut self, placed: &Placed<'_>, in_point: Option<i64>) -> Result<()> {
        let &Placed { piece, skip, .. } = placed;
        let pictures = piece.pictures();
        self.etag.update(piece.table().run.0.as_bytes());
        for number in [
            u64::from(piece.entry.sequence),
            u64::from(piece.entry.offset),
            u64::from(piece.entry.length),
            u64::from(piece.entry.crc),
            piece.start_us() as u64,
            skip as u64,
            if piece.cut { piece.end_us as u64 } else { 0 },
        ] {
            self.etag.update(number.to_be_bytes());
        }

        // Chunks in the order of the file, so that neighbours merge.
        let video_first = piece.entry.video.data_offset <= piece.entry.audio.data_offset;
        if video_first {
            self.add_video(placed, &pictures, in_point)?;
        }
        let table = piece.table();
        if let Some(mut audio) = self.audio.take() {
            self.add_other(
                &mut audio,
                piece,
                &pictures,
                &piece.entry.audio,
                table.audio_of(piece.entry),
            )?;
            self.audio = Some(audio);
        }
        if !video_first {
            self.add_video(placed, &pictures, in_point)?;
        }
        if let Some((coding, mut metadata)) = self.metadata.take() {
            if table.metadata == Some(coding) {
                let samples = table.metadata_of(piece.entry);
                self.add_other(&mut metadata, piece, &pictures, &piece.entry.metadata, samples)?;
            }
            self.metadata = Some((coding, metadata));
        }
        Ok(())
    }

    fn add_video(
        &mut self,
        placed: &Placed<'_>,
        pictures: &Pictures<'_>,
        in_point: Option<i64>,
    ) -> Result<()> {
        let &Placed { piece, skip, ref times } = placed;
        let start = ticks_90k(piece.start_us() - self.origin_us);
        let mut dts_start = start - pictures.first;
        if self.video.is_empty() {
            // Media time cannot be negative at the in point.
            self.dts_shift = dts_start.max(0);
            dts_start -= self.dts_shift;
        } else {
            dts_start = (dts_start - self.dts_shift).max(self.video.last_dts() + 1);
        }
        let mut chunk_wanted = true;
        let mut offset = u64::from(piece.entry.video.data_offset);
        let samples = pictures.samples.iter().zip(pictures.times());
        for (i, ((sample, (dts, _)), &pts)) in samples.zip(times).enumerate() {
            if (1..=skip).contains(&i) {
                chunk_wanted = true;
            } else {
                if chunk_wanted {
                    self.video.begin_chunk(self.data_len);
                    chunk_wanted = false;
                }
                self.video.push(TimedSample {
                    dts: dts_start + dts,
                    pts: if Some(pts) == in_point { 0 } else { pts },
                    duration: sample.duration,
                    size: sample.size,
                    sync: sample.sync,
                })?;
                self.add_bytes(&piece.segment.file, offset, sample.size);
            }
            offset += u64::from(sample.size);
        }
        Ok(())
    }

    fn add_other(
        &mut self,
        track: &mut OtherBuilder,
        piece: &Piece<'_>,
        pictures: &Pictures<'_>,
        run: &TrackRun,
        samples: &[Sample],
    ) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        let rate = track.rate;
        let TrackRun { decode_time, data_offset, .. } = *run;
        // All tracks count from the segment's start; the earliest picture's wall time
        // is known.
        let pictures_at = piece.entry.video.decode_time as i64 + pictures.first;
        let pictures_at = rescale(pictures_at, i64::from(VIDEO_TIMESCALE), rate);
        let start = rescale(piece.start_us() - self.origin_us, SECOND_US, rate);
        let wanted = start + decode_time as i64 - pictures_at;
        let mut dts = wanted;
        if !track.table.is_empty() {
            let expected = track.table.end_dts();
            let off = (wanted - expected).abs() > rate / AUDIO_TOLERANCE_DIVISOR;
            let moved = off || !track.gapless;
            dts = if moved { wanted.max(track.table.last_dts() + 1) } else { expected };
        }
        let end = piece.cut.then(|| rescale(piece.end_us - self.origin_us, SECOND_US, rate));
        let kept = |dts: i64| end.is_none_or(|end| dts < end);
        let (mut offset, mut len) = (u64::from(data_offset), 0);
        for sample in samples {
            if !kept(dts) || dts >= track.within.end {
                break;
            }
            if dts < track.within.start {
                offset += u64::from(sample.size);
                dts += i64::from(sample.duration);
                continue;
            }
            if len == 0 {
                track.table.begin_chunk(self.data_len);
            }
            let Sample { size, duration, .. } = *sample;
            track.table.push(TimedSample { dts, pts: dts, duration, size, sync: true })?;
            dts += i64::from(duration);
            len += size;
        }
        self.add_bytes(&piece.segment.file, offset, len);
        Ok(())
    }

    /// Appends bytes of a file to the media data.
    fn add_bytes(&mut self, file: &Arc<Named>, offset: u64, len: u32) {
        let len = u64::from(len);
        match self.ranges.last_mut() {
            Some(last) if Arc::ptr_eq(&last.file, file) && last.offset + last.len == offset => {
                last.len += len;
            }
            _ if len > 0 => {
                let file = file.clone();
                self.ranges.push(FileRange { file, offset, len, position: self.data_len });
            }
            _ => {}
        }
        self.data_len += len;
    }

    fn finish(self, first: &Piece<'_>, last: &Piece<'_>, range_us: (i64, i64)) -> Result<ClipPart> {
        let duration = ticks_90k(range_us.1 - range_us.0).max(1) as u64;
        let params = &first.table().video;
        let video_info = VideoInfo::parse(params)?;
        let mut video = self.video;
        // Decoding runs ahead of what is shown; the media still lasts until the out point.
        video.extend_to(duration as i64);
        let mut tracks = vec![Track {
            kind: TrackKind::Video { width: params.width, height: params.height },
            timescale: VIDEO_TIMESCALE,
            edits: edits(&video, i64::from(VIDEO_TIMESCALE), duration),
            sample_entry: video_sample_entry(params),
            samples: video,
        }];
        let mut audio_codec = String::new();
        if let (Some(audio), Some(params)) = (self.audio, &first.table().audio) {
            let edits = edits(&audio.table, audio.rate, duration);
            if !edits.is_empty() {
                audio_codec = AudioInfo::parse(params)?.rfc6381;
                tracks.push(Track {
                    kind: TrackKind::Audio,
                    timescale: params.sample_rate,
                    edits,
                    sample_entry: audio_sample_entry(params),
                    samples: audio.table,
                });
            }
        }
        if let Some((coding, metadata)) = self.metadata {
            let edits = edits(&metadata.table, metadata.rate, duration);
            if !edits.is_empty() {
                tracks.push(Track {
                    kind: TrackKind::Metadata,
                    timescale: VIDEO_TIMESCALE,
                    edits,
                    sample_entry: metadata_sample_entry(coding),
                    samples: metadata.table,
                });
            }
        }
        let head = Movie { creation_us: range_us.0, tracks }.head(self.data_len);
        let mut ranges = self.ranges;
        ranges.iter_mut().for_each(|range| range.position += head.len() as u64);
        Ok(ClipPart {
            size: head.len() as u64 + self.data_len,
            head,
            ranges,
            range_us,
            disclosed_us: (first.start_us(), last.end_us.max(range_us.1)),
            etag: hex(&self.etag.finalize()[..16]),
            video_codec: video_info.rfc6381,
            audio_codec,
        })
    }
}

/// Shows a track from movie time 0 on for `duration`, nothing while it has not begun or has ended.
/// Empty if nothing of it is to be seen.
fn edits(samples: &SampleTable, rate: i64, duration: u64) -> Vec<Edit> {
    let to_movie =
        |t: i64| u64::try_from(rescale(t, rate, i64::from(VIDEO_TIMESCALE))).unwrap_or(0);
    let first = samples.first_dts();
    let begin = to_movie(first);
    let end = to_movie(samples.end_dts()).min(duration);
    if samples.is_empty() || begin >= end {
        return Vec::new();
    }
    let shown =
        Edit { duration: end - begin, media_time: Some(u64::try_from(-first).unwrap_or(0)) };
    if begin > 0 { vec![Edit { duration: begin, media_time: None }, shown] } else { vec![shown] }
}

/// Lays out the fragments of a part that begins at `origin_us`.
fn place<'a>(selections: &'a [Selection<'a>], origin_us: i64) -> Vec<Placed<'a>> {
    let mut all = Vec::new();
    for (n, selection) in selections.iter().enumerate() {
        for (i, piece) in selection.pieces.iter().enumerate() {
            // Nothing that its leading pictures refer to comes before it. At the very start
            // they lie before the in point, and decoders know to leave them out.
            let skip = if n > 0 && i == 0 { piece.leading_pictures() } else { 0 };
            let next = selection.pieces.get(i + 1).or(selections.get(n + 1).map(|s| &s.pieces[0]));
            let times = movie_times(piece, origin_us, next.map(Piece::start_us));
            all.push(Placed { piece, skip, times });
        }
    }
    all
}

/// Movie times of the pictures of a fragment that are kept, in decoding order. `next_us`: start of
/// the fragment after it.
fn movie_times(piece: &Piece<'_>, origin_us: i64, next_us: Option<i64>) -> Vec<i64> {
    let start = ticks_90k(piece.start_us() - origin_us);
    let mut times: Vec<i64> = piece.pictures().times().map(|(_, pts)| start + pts).collect();
    if piece.cut {
        let end = ticks_90k(piece.end_us - origin_us);
        let last = times.iter().rposition(|&time| time < end);
        times.truncate(last.map_or(1, |last| last + 1));
    }
    if let Some(next_us) = next_us {
        squeeze(&mut times, ticks_90k(next_us - origin_us));
    }
    times
}

/// Pictures that would come at or after the next fragment's start, because the mapping to wall
/// time was corrected or another run takes over, come as late as they can before it, in order.
fn squeeze(times: &mut [i64], next: i64) {
    if times.iter().all(|&time| time < next) {
        return;
    }
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(times[i]));
    let mut limit = next - 1;
    for i in order {
        times[i] = times[i].min(limit);
        limit = times[i] - 1;
    }
}

/// Movie time of the picture that is shown at the start, where it has been placed: a picture that
/// the next fragment overtakes is not shown any more. It is moved to the in point exactly: players
/// drop a picture whose time lies before the edit, even if it lasts into it.
fn in_point(placed: &[Placed<'_>]) -> Option<i64> {
    let kept = placed.iter().flat_map(|Placed { skip, times, .. }| {
        times.iter().enumerate().filter(|(i, _)| !(1..=*skip).contains(i)).map(|(_, &time)| time)
    });
    kept.filter(|&time| time <= 0).max()
}

fn etag_of(request: &Request, range_us: (i64, i64)) -> Sha256 {
    let mut etag = Sha256::new();
    etag.update(FORMAT_VERSION);
    etag.update(request.stream.camera.0.as_bytes());
    etag.update([
        match request.stream.kind {
            StreamKind::Main => 0,
            StreamKind::Sub => 1,
        },
        u8::from(request.audio),
    ]);
    for time in [request.start_us, request.end_us, range_us.0, range_us.1] {
        etag.update(time.to_be_bytes());
    }
    etag
}
