//! The muxer of one stream.

use std::sync::Arc;

use bytes::Bytes;

use super::camera_times::CameraTimes;
use super::parameter_flood::ParameterFlood;
use super::run::{Continuity, OpenSegment, Run};
use super::timing::{rescale, us_from_90k};
use crate::codec::{self, AuKind, Field, VideoInfo};
use crate::ids::{Entropy, RunId, StreamId};
use crate::media::{
    AccessUnit, AudioFrame, AudioParams, MetadataCoding, MetadataDocument, VideoParams,
};
use crate::reason::Reason;
use crate::segment::fragment::{FragmentParts, write_fragment};
use crate::segment::head::SegmentHead;
use crate::table::{FragmentEntry, Sample, TrackRun};
use crate::time::{SECOND_US, VIDEO_TIMESCALE};

/// A segment never grows past this: positions in it are 32 bits.
const MAX_SEGMENT_LEN: u64 = 2 << 30;
/// A fragment ends when it holds so many bytes, or took so long to arrive, whatever the times of
/// its pictures say: what waits in memory is bounded.
const MAX_FRAGMENT_LEN: usize = 64 << 20;
const MAX_FRAGMENT_ARRIVAL_US: i64 = 10 * SECOND_US;

/// Where fragments and segments end.
#[derive(Clone, Copy, Debug)]
pub struct MuxOptions {
    /// Segments end at the first random-access point after so much time.
    pub segment_us: i64,
    /// The same for the first segment of a run: streams that began together do not end theirs together.
    pub first_segment_us: i64,
    /// Fragments end at a random-access point once they last so long …
    pub min_fragment_us: i64,
    /// … and anywhere once they last so long: the most that a crash can lose.
    pub max_fragment_us: i64,
}

impl MuxOptions {
    /// The usual choice for segments of so many seconds.
    pub fn with_segment_s(seconds: i64) -> Self {
        MuxOptions {
            segment_us: seconds * SECOND_US,
            first_segment_us: seconds * SECOND_US,
            min_fragment_us: 900_000,
            max_fragment_us: 2_500_000,
        }
    }
}

/// A finished fragment, ready to be written at the end of its segment.
#[derive(Debug)]
pub struct Muxed {
    /// Whose it is.
    pub run: RunId,
    /// It begins a new segment (and seals the one before).
    pub new_segment: Option<SegmentHead>,
    /// Bytes of the fragment, one piece after the other; if it begins a segment, those of the
    /// segment's head come first. The pictures are as they came from the camera, not copied.
    pub pieces: Vec<Bytes>,
    /// How many of the bytes belong to the segment's head.
    pub head_len: u32,
    /// Positions are relative to the fragment's first byte, `first_sample`s are 0.
    pub entry: FragmentEntry,
    /// The pictures.
    pub video_samples: Vec<Sample>,
    /// The sound.
    pub audio_samples: Vec<Sample>,
    /// ONVIF metadata.
    pub metadata_samples: Vec<Sample>,
}

impl Muxed {
    /// How many bytes are to be written.
    pub fn byte_count(&self) -> usize {
        self.head_len as usize + self.entry.length as usize
    }
}

/// What the muxer has done.
#[derive(Debug)]
pub enum MuxOut {
    /// A run began at a wall time.
    RunStarted {
        /// Its id.
        run: RunId,
        /// Its first picture.
        at_us: i64,
    },
    /// A fragment is complete.
    Fragment(Box<Muxed>),
    /// A run ended; its segment is to be sealed.
    RunEnded {
        /// Its id.
        run: RunId,
        /// The end of its last picture.
        at_us: i64,
        /// Why.
        reason: Reason,
        /// For people.
        detail: String,
    },
}

#[derive(Debug)]
struct Session {
    video: VideoParams,
    info: VideoInfo,
    audio: Option<AudioParams>,
    metadata: Option<MetadataCoding>,
}

/// Turns what one stream of one camera sends into fragments. Owns no file and reads no clock:
/// the same input gives the same output.
pub struct Muxer {
    stream: StreamId,
    epoch: u32,
    options: MuxOptions,
    entropy: Arc<dyn Entropy>,
    session: Option<Session>,
    run: Option<Run>,
    new_segment_wanted: bool,
    camera_clock_offset_ms: i32,
    times: CameraTimes,
    flood: ParameterFlood,
    /// The newest picture, if that is one field of a frame whose other one has not come.
    first_field: Option<Field>,
    /// When the newest picture arrived, by the clock that never steps.
    now_us: i64,
}

impl std::fmt::Debug for Muxer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Muxer")
            .field("stream", &self.stream)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl Muxer {
    /// For one stream.
    pub fn new(
        stream: StreamId,
        epoch: u32,
        options: MuxOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Muxer {
            stream,
            epoch,
            options,
            entropy,
            session: None,
            run: None,
            new_segment_wanted: false,
            camera_clock_offset_ms: i32::MIN,
            times: CameraTimes::default(),
            flood: ParameterFlood::default(),
            first_field: None,
            now_us: 0,
        }
    }

    /// The camera delivers; recording starts at its first random-access point.
    ///
    /// # Errors
    /// The parameters cannot be understood.
    pub fn begin(&mut self, video: VideoParams, audio: Option<AudioParams>) -> crate::Result<()> {
        let info = VideoInfo::parse(&video)?;
        self.session = Some(Session { video, info, audio, metadata: None });
        self.camera_clock_offset_ms = i32::MIN;
        self.times = CameraTimes::default();
        self.flood = ParameterFlood::default();
        self.first_field = None;
        Ok(())
    }

    /// The camera also delivers metadata, coded so. For the time before its first picture.
    pub fn begin_metadata(&mut self, coding: MetadataCoding) {
        if let Some(session) = &mut self.session {
            session.metadata = Some(coding);
        }
    }

    /// From the next access unit on, these parameters hold.
    ///
    /// # Errors
    /// The parameters cannot be understood; the old ones stay.
    pub fn video_params(&mut self, video: VideoParams, out: &mut Vec<MuxOut>) -> crate::Result<()> {
        let info = VideoInfo::parse(&video)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        if session.video == video {
            return Ok(());
        }
        if self.flood.changed(self.now_us) {
            self.finish_run(
                Reason::PARAMETER_FLOOD,
                "the camera changes its parameters too often",
                out,
            );
        } else if session.info.reorder_depth == info.reorder_depth {
            // What is held was coded with the old parameters.
            self.cut(None, out);
            self.new_segment_wanted = true;
        } else {
            self.finish_run(Reason::PARAMETERS_CHANGED, "", out);
        }
        if let Some(session) = &mut self.session {
            session.video = video;
            session.info = info;
        }
        Ok(())
    }

    /// The camera's clock minus the recorder's. Of one that is off by more than 24 days (one that was
    /// never set begins in 1970) the format has room for the direction.
    pub fn camera_clock_offset(&mut self, offset_us: i64) {
        let ms = (offset_us / 1000).clamp(i64::from(i32::MIN + 1), i64::from(i32::MAX));
        self.camera_clock_offset_ms = i32::try_from(ms).unwrap_or(i32::MAX);
    }

    /// The next fragment that can is to begin a new segment (the one before was lost).
    pub fn want_new_segment(&mut self) {
        self.new_segment_wanted = true;
    }

    /// Whether nothing is recorded only because no picture came that decoding can start at.
    pub fn waits_for_random_access(&mut self) -> bool {
        self.session.is_some() && self.run.is_none() && !self.flood.holds(self.now_us)
    }

    /// Whether the fragment in the making begins where decoding can.
    pub fn begins_with_random_access(&self) -> bool {
        let first = self.run.as_ref().and_then(|run| run.units.first());
        first.is_some_and(|unit| unit.kind.random_access)
    }

    /// Whether nothing is recorded because parameters change too often.
    pub fn is_flooded(&mut self) -> bool {
        self.session.is_some() && self.flood.holds(self.now_us)
    }

    /// What comes is to be a run of its own: from the fragment in the making on, if that begins
    /// with a random-access point.
    pub fn move_run(&mut self, reason: Reason, detail: &str, out: &mut Vec<MuxOut>) {
        let Some(run) = &mut self.run else { return };
        if run.units.first().is_some_and(|u| u.kind.random_access) {
            if run.newest.is_some() {
                out.push(MuxOut::RunEnded {
                    run: run.id,
                    at_us: run.end_us,
                    reason,
                    detail: detail.to_owned(),
                });
            }
            run.renew(RunId::mint(run.end_us, &*self.entropy));
            self.new_segment_wanted = false;
        } else {
            self.finish_run(reason, detail, out);
        }
    }

    /// The id of the run that is being recorded.
    pub fn run(&self) -> Option<RunId> {
        self.run.as_ref().map(|r| r.id)
    }

    /// The next picture. Pictures that cannot be decoded from what came before are left out:
    /// those before the first random-access point, and those with no slices in them. Answers the
    /// run that a picture became part of, and what kind of picture it is (`continues`: none, but
    /// part of the one before).
    ///
    /// What a camera splits off a picture (a marker bit after each slice) is put to it again, and so is
    /// the second field of an H.264 frame to the first: files have frames (ISO/IEC 14496-15, 5.2), and so
    /// say reorder depth and players.
    pub fn video(
        &mut self,
        mut unit: AccessUnit,
        out: &mut Vec<MuxOut>,
    ) -> Option<(RunId, AuKind)> {
        let session = self.session.as_ref()?;
        let depth = session.info.reorder_depth;
        let kind = codec::classify(session.video.codec, &unit.data);
        self.now_us = unit.arrival.mono_us;
        if kind.as_ref().map_or(true, |kind| kind.continues) && self.times.repeats(&unit) {
            let run = self.run.as_mut()?;
            let part = AuKind { continues: true, ..AuKind::default() };
            return run.append(unit.data).then_some((run.id, part));
        }
        let kind = kind.ok()?;
        let field = session.info.fields.and_then(|syntax| codec::field_of(syntax, &unit.data));
        let first = std::mem::replace(&mut self.first_field, field);
        if first.zip(field).is_some_and(|(first, second)| first.pairs_with(second))
            && let Some(run) = &mut self.run
            && run.append_field(&unit)
        {
            self.first_field = None;
            return Some((run.id, AuKind::default()));
        }
        if self.flood.holds(self.now_us) {
            return None;
        }
        if let Some(why) = self.times.judge(&unit, kind.random_access) {
            let what = format!("{why}: pictures get the time at which they arrive");
            self.finish_run(Reason::CLOCK_STEP, &what, out);
        }
        let camera_90k = self.times.pts_90k(&unit);
        unit.pts_90k = camera_90k;
        if let Some(run) = &mut self.run {
            run.look_at_clock(unit.arrival);
            unit.pts_90k = run.media_90k(camera_90k);
            if run.continuity(&unit, kind.random_access) == Continuity::Jump {
                self.times.jumped(&AccessUnit { pts_90k: camera_90k, ..unit.clone() });
                run.go_on(&mut unit, "the camera's media time jumped");
            }
            if let Some(what) = run.ends.filter(|_| kind.random_access) {
                unit.pts_90k = camera_90k;
                self.finish_run(Reason::CLOCK_STEP, what, out);
            }
        }
        if self.run.is_none() {
            if !kind.random_access {
                return None;
            }
            let id = RunId::mint(unit.arrival.wall_us, &*self.entropy);
            let audio = self.session.as_ref().and_then(|s| s.audio.as_ref());
            self.run = Some(Run::new(id, depth, &unit, kind, audio));
        }
        let run = self.run.as_mut()?;
        // In H.264 nothing but the time says that a picture is shown before the one that it follows.
        if run.starts_open && (kind.leading || unit.pts_90k < run.max_pts_90k) {
            return None;
        }
        run.starts_open &= kind.random_access;
        let dts = run.decode_time(unit.pts_90k);
        if let (Some(first), Some(dts)) = (run.units.first(), dts) {
            let lasts = run.pending_us(unit.pts_90k);
            let enough = lasts >= self.options.min_fragment_us
                || !first.kind.random_access
                || self.new_segment_wanted
                || run.parts_from(&unit);
            let too_long = lasts >= self.options.max_fragment_us && unit.pts_90k > run.max_pts_90k;
            let too_much = run.pending_len >= MAX_FRAGMENT_LEN
                || unit.arrival.mono_us - first.arrived_us >= MAX_FRAGMENT_ARRIVAL_US;
            if (kind.random_access && enough) || too_long || too_much {
                self.cut(Some((dts, unit.pts_90k)), out);
            }
        }
        let run = self.run.as_mut()?;
        if run.units.is_empty() && self.new_segment_wanted && !kind.random_access {
            return None; // new parameters, but no picture yet that they can be used from
        }
        run.arrived(unit.pts_90k, unit.arrival);
        run.push(unit, dts, kind);
        Some((run.id, AuKind { continues: false, ..kind }))
    }

    /// The next frame of sound. Sound without pictures is not recorded.
    pub fn audio(&mut self, frame: AudioFrame) {
        if let Some(audio) = self.run.as_mut().and_then(|run| run.audio.as_mut()) {
            audio.push(frame);
        }
    }

    /// The next document of metadata; without pictures none is recorded. False when so much waits for
    /// its pictures already that this one is not kept.
    pub fn metadata(&mut self, document: MetadataDocument) -> bool {
        let wanted = self.session.as_ref().is_some_and(|s| s.metadata.is_some());
        match &mut self.run {
            Some(run) if wanted => run.metadata.push(document.data, document.arrival.mono_us),
            _ => true,
        }
    }

    /// The session is over.
    pub fn end(&mut self, reason: Reason, detail: &str, out: &mut Vec<MuxOut>) {
        self.finish_run(reason, detail, out);
        self.session = None;
    }

    fn finish_run(&mut self, reason: Reason, detail: &str, out: &mut Vec<MuxOut>) {
        self.cut(None, out);
        if let Some(run) = self.run.take().filter(|r| r.newest.is_some()) {
            out.push(MuxOut::RunEnded {
                run: run.id,
                at_us: run.end_us,
                reason,
                detail: detail.to_owned(),
            });
        }
        self.new_segment_wanted = false;
    }

    /// Completes the fragment in the making. `next`: decoding and presentation time of the
    /// picture after it, if that continues the run.
    fn cut(&mut self, next: Option<(i64, i64)>, out: &mut Vec<MuxOut>) {
        let (Some(run), Some(session)) = (&mut self.run, &self.session) else { return };
        let Some(first) = run.units.first() else { return };
        let random_access = first.kind.random_access;
        let (mut offset_us, stepped) = run.offset_us();
        if stepped && random_access {
            out.push(MuxOut::RunEnded {
                run: run.id,
                at_us: run.end_us,
                reason: Reason::CLOCK_STEP,
                detail: "the delay from the camera changed for good".to_owned(),
            });
            run.renew(RunId::mint(run.end_us, &*self.entropy));
        } else if let Some((_, before)) = run.newest.filter(|_| stepped) {
            offset_us = before;
        }

        let (first_dts, video_samples) = run.samples(next.map(|(dts, _)| dts));
        let start_pts = run.units.iter().map(|u| u.pts_90k).min().unwrap_or(first_dts);
        let lasts_90k: i64 = video_samples.iter().map(|s| i64::from(s.duration)).sum();
        let mut wall_start_us = run.wall_us(us_from_90k(start_pts) + offset_us);
        if let Some((before, _)) = run.newest {
            wall_start_us = wall_start_us.max(before + 1);
        } else {
            out.push(MuxOut::RunStarted { run: run.id, at_us: wall_start_us });
        }
        let share = match &mut run.audio {
            Some(audio) => audio.take_until(next.map(|(_, pts)| pts), offset_us),
            None => Default::default(),
        };

        let old = run.segment.as_ref();
        let lasts_enough = old.is_some_and(|s| wall_start_us - s.wall_start_us >= s.lasts_us);
        // A camera that never sends another random-access point must not grow one file for ever.
        let new_segment = (random_access && (lasts_enough || self.new_segment_wanted))
            || old.is_none_or(|s| s.len >= MAX_SEGMENT_LEN);
        let rate = session.audio.as_ref().map_or(VIDEO_TIMESCALE, |a| a.sample_rate);
        let head = new_segment.then(|| {
            // Sound may begin a little before the pictures: both count from the earlier one.
            let audio_90k = rescale(share.start, rate, VIDEO_TIMESCALE);
            let early = !share.samples.is_empty()
                && (0..=i64::from(VIDEO_TIMESCALE)).contains(&(first_dts - audio_90k));
            let base_90k = if early { audio_90k - 1 } else { first_dts };
            let lasts_us = match run.sequence {
                0 => self.options.first_segment_us,
                _ => self.options.segment_us,
            };
            run.segment = Some(OpenSegment {
                base_90k,
                wall_start_us,
                lasts_us,
                len: 0,
                audio_end: 0,
                metadata_end_90k: base_90k,
            });
            self.new_segment_wanted = false;
            let mut salt = [0; 16];
            self.entropy.fill(&mut salt);
            SegmentHead {
                stream: self.stream,
                run: run.id,
                epoch: self.epoch,
                first_sequence: run.sequence,
                wall_start_us,
                base_90k,
                start_pts_90k: u32::try_from(start_pts - base_90k).unwrap_or(0),
                salt,
                video: session.video.clone(),
                audio: session.audio.clone(),
                metadata: session.metadata,
            }
        });
        let Some(segment) = &mut run.segment else { return };
        let ends_90k = first_dts.max(segment.metadata_end_90k) + lasts_90k;
        let end_90k = next.map(|(_, pts)| pts);
        let free = (segment.metadata_end_90k, end_90k.unwrap_or(ends_90k));
        let documents = run.metadata.take_until(end_90k, free, offset_us);
        if !documents.samples.is_empty() {
            let lasts: i64 = documents.samples.iter().map(|s| i64::from(s.duration)).sum();
            segment.metadata_end_90k = documents.start_90k + lasts;
        }

        if random_access {
            run.random_access_distance = 0;
        }
        let audio_at = share.start.saturating_sub(rescale(segment.base_90k, VIDEO_TIMESCALE, rate));
        let audio_at = u64::try_from(audio_at).unwrap_or(0).max(segment.audio_end);
        let entry = FragmentEntry {
            sequence: run.sequence,
            wall_start_us,
            duration_us: u32::try_from(us_from_90k(lasts_90k)).unwrap_or(u32::MAX),
            random_access,
            leading: run.units.iter().any(|u| u.kind.leading),
            random_access_distance: run.random_access_distance,
            activity_bytes: run
                .units
                .iter()
                .filter(|u| !u.kind.random_access)
                .fold(0, |sum: u32, u| {
                    sum.saturating_add(u32::try_from(u.len()).unwrap_or(u32::MAX))
                }),
            camera_clock_offset_ms: self.camera_clock_offset_ms,
            offset: 0,
            length: 0,
            crc: 0,
            video: TrackRun {
                decode_time: u64::try_from(first_dts - segment.base_90k).unwrap_or(0),
                ..TrackRun::default()
            },
            audio: TrackRun {
                decode_time: if share.samples.is_empty() { 0 } else { audio_at },
                ..TrackRun::default()
            },
            metadata: TrackRun {
                decode_time: match documents.samples.is_empty() {
                    true => 0,
                    false => u64::try_from(documents.start_90k - segment.base_90k).unwrap_or(0),
                },
                ..TrackRun::default()
            },
        };
        let data: Vec<_> =
            run.units.drain(..).flat_map(|u| std::iter::once(u.data).chain(u.rest)).collect();
        run.pending_len = 0;
        let (first, entry) = write_fragment(FragmentParts {
            entry,
            video_samples: &video_samples,
            video_data: &data,
            audio_samples: &share.samples,
            audio_data: &share.data,
            metadata_samples: &documents.samples,
            metadata_data: &documents.data,
        });
        let of_head = head.as_ref().map_or_else(Vec::new, SegmentHead::to_bytes);
        let head_len = of_head.len();
        let first = Bytes::from([of_head, first].concat());
        let pieces: Vec<_> =
            std::iter::once(first).chain(data).chain(share.data).chain(documents.data).collect();
        if !share.samples.is_empty() {
            segment.audio_end =
                audio_at + share.samples.iter().map(|s| u64::from(s.duration)).sum::<u64>();
        }
        segment.len += head_len as u64 + u64::from(entry.length);
        let run_id = run.id;
        run.newest = Some((wall_start_us, offset_us));
        run.end_us = wall_start_us + i64::from(entry.duration_us);
        run.sequence += 1;
        run.random_access_distance = run.random_access_distance.saturating_add(1);
        out.push(MuxOut::Fragment(Box::new(Muxed {
            run: run_id,
            new_segment: head,
            head_len: u32::try_from(head_len).unwrap_or(u32::MAX),
            pieces,
            entry,
            video_samples,
            audio_samples: share.samples,
            metadata_samples: documents.samples,
        })));
    }
}
