//! One run while it is being recorded: its clock, and the pictures of the fragment in the making.

use bytes::Bytes;

use super::audio::AudioTrack;
use super::metadata::MetadataTrack;
use super::timing::{DecodeTimes, Envelope, us_from_90k};
use crate::codec::AuKind;
use crate::ids::RunId;
use crate::media::{AccessUnit, AudioParams};
use crate::table::Sample;
use crate::time::{Moment, VIDEO_TIMESCALE};

/// Wall time follows the least delay of so much media.
pub(super) const ENVELOPE_US: i64 = 30_000_000;
/// A delay that stays higher for so long is no delay, but a clock that stepped.
const RECENT_US: i64 = 10_000_000;
/// A larger change of the mapping from media to wall time begins a new run.
pub(super) const STEP_US: i64 = 200_000;
/// Presentation times that run ahead of time itself by more than this are a jump in any case: while
/// a run is young, its first pictures may have come late, and those after them catch up.
const JUMP_US: i64 = 10_000_000;

/// What is longer between two pictures is not what is usual.
const USUAL_90K: i64 = VIDEO_TIMESCALE as i64;

/// The fields of a frame are not further apart: 5 frames a second.
const FIELD_90K: i64 = VIDEO_TIMESCALE as i64 / 10;

/// A picture that waits for its fragment to be complete.
#[derive(Debug)]
pub(super) struct Unit {
    pub pts_90k: i64,
    pub dts_90k: Option<i64>,
    pub kind: AuKind,
    /// When it arrived, by the clock that never steps.
    pub arrived_us: i64,
    pub data: Bytes,
    /// What came of the same picture apart from that.
    pub rest: Vec<Bytes>,
}

impl Unit {
    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.data.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }
}

/// An open segment, as far as the muxer needs to know it.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub base_90k: i64,
    pub wall_start_us: i64,
    /// It ends at the first random-access point after so long.
    pub lasts_us: i64,
    /// Bytes so far.
    pub len: u64,
    /// Where the sound so far ends, in ticks since `base_90k`.
    pub audio_end: u64,
    /// Where the metadata so far ends, as media time of the run.
    pub metadata_end_90k: i64,
}

/// A run in the making.
#[derive(Debug)]
pub(super) struct Run {
    pub id: RunId,
    pub sequence: u32,
    pub units: Vec<Unit>,
    /// Bytes of `units`.
    pub pending_len: usize,
    pub segment: Option<OpenSegment>,
    pub audio: Option<AudioTrack>,
    pub metadata: MetadataTrack,
    pub random_access_distance: u16,
    /// Wall start and offset of the newest fragment; the offset by the clock that never steps.
    pub newest: Option<(i64, i64)>,
    /// End of the newest fragment.
    pub end_us: i64,
    /// Why the next random-access point begins a new run.
    pub ends: Option<&'static str>,
    /// The wall clock was set.
    clock_set: bool,
    /// Added to the camera's media time until the run ends, since that jumped.
    shift_90k: i64,
    /// The largest presentation times so far, ascending: as many as pictures can be reordered by,
    /// and one.
    largest_90k: Vec<i64>,
    depth: usize,
    /// Began with a random-access point that is no IDR, and only that has come so far: pictures
    /// that are shown before it refer to what came before the run.
    pub starts_open: bool,
    times: DecodeTimes,
    envelope: Envelope,
    recent: Envelope,
    /// Media time of the first picture, and of the first one that has this run's id.
    born_90k: i64,
    first_pts_90k: i64,
    pub max_pts_90k: i64,
    last_mono_us: i64,
    /// Between the last two pictures.
    usual_90k: i64,
    /// Where the decoding times of the fragments so far end.
    decoded_90k: i64,
    wall_minus_mono_us: i64,
    /// The same when the first picture of the fragment in the making arrived.
    fragment_wall_minus_mono_us: i64,
}

/// What an access unit means for its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    Continues,
    /// Its presentation time has nothing to do with those before.
    Jump,
}

impl Run {
    pub(super) fn new(
        id: RunId,
        depth: u8,
        first: &AccessUnit,
        kind: AuKind,
        audio: Option<&AudioParams>,
    ) -> Self {
        Run {
            id,
            sequence: 0,
            units: Vec::new(),
            pending_len: 0,
            segment: None,
            audio: audio.map(|a| AudioTrack::new(a.sample_rate, ENVELOPE_US)),
            metadata: MetadataTrack::default(),
            random_access_distance: 0,
            newest: None,
            end_us: first.arrival.wall_us,
            ends: None,
            clock_set: false,
            shift_90k: 0,
            largest_90k: Vec::with_capacity(usize::from(depth) + 2),
            depth: usize::from(depth),
            starts_open: !kind.idr,
            times: DecodeTimes::new(depth),
            envelope: Envelope::new(ENVELOPE_US),
            recent: Envelope::new(RECENT_US),
            born_90k: first.pts_90k,
            first_pts_90k: first.pts_90k,
            max_pts_90k: first.pts_90k,
            last_mono_us: first.arrival.mono_us,
            usual_90k: i64::from(VIDEO_TIMESCALE) / 25,
            decoded_90k: i64::MIN,
            wall_minus_mono_us: first.arrival.wall_us - first.arrival.mono_us,
            fragment_wall_minus_mono_us: first.arrival.wall_us - first.arrival.mono_us,
        }
    }

    /// Goes on as a new run from the fragment in the making, with what is known of delays.
    pub(super) fn renew(&mut self, id: RunId) {
        self.id = id;
        self.sequence = 0;
        self.segment = None;
        self.newest = None;
        self.random_access_distance = 0;
        self.envelope = std::mem::replace(&mut self.recent, Envelope::new(RECENT_US));
        self.envelope.widen(ENVELOPE_US);
        self.first_pts_90k = self.units.first().map_or(self.max_pts_90k, |u| u.pts_90k);
    }

    /// Compares an access unit with those before it. Media time that goes ahead is a jump if the
    /// picture would have arrived before it could, by what is known of delays; media time that
    /// falls back, if that is no reordering.
    pub(super) fn continuity(&self, unit: &AccessUnit, random_access: bool) -> Continuity {
        let media_us = us_from_90k(unit.pts_90k - self.max_pts_90k);
        let passed_us = unit.arrival.mono_us - self.last_mono_us;
        let jumps_ahead =
            media_us - passed_us > JUMP_US || (self.is_settled() && self.comes_too_early(unit));
        let falls_back = if random_access || self.depth == 0 {
            // Everything before it, in decoding order, is shown before it.
            media_us < passed_us.clamp(0, us_from_90k(self.usual_90k)) - STEP_US
        } else {
            // Of a run's first pictures none is shown before the one that decoding began with.
            let least_90k = match self.largest_90k.first() {
                Some(least_90k) if self.largest_90k.len() > self.depth => *least_90k,
                _ => self.first_pts_90k,
            };
            us_from_90k(unit.pts_90k - least_90k) < -STEP_US
        };
        if jumps_ahead || falls_back { Continuity::Jump } else { Continuity::Continues }
    }

    /// Whether media time goes ahead, and the picture arrives before it could by what is known of
    /// delays: it jumped, or those before it came late.
    fn comes_too_early(&self, unit: &AccessUnit) -> bool {
        let media_us = us_from_90k(unit.pts_90k - self.max_pts_90k);
        let passed_us = unit.arrival.mono_us - self.last_mono_us;
        let delay = unit.arrival.mono_us - us_from_90k(unit.pts_90k);
        let too_early = self.envelope.least().is_some_and(|least| delay < least - STEP_US);
        media_us - passed_us > STEP_US && too_early
    }

    /// Whether the fragment in the making is not to be placed by a picture's delay: that is another
    /// than those that fragments were placed by.
    pub(super) fn parts_from(&self, unit: &AccessUnit) -> bool {
        self.newest.is_some() && self.comes_too_early(unit)
    }

    /// What is known of delays can be relied upon.
    fn is_settled(&self) -> bool {
        us_from_90k(self.max_pts_90k - self.born_90k) > RECENT_US
    }

    /// The camera's media time, or what it would be had it not jumped.
    pub(super) fn media_90k(&self, pts_90k: i64) -> i64 {
        pts_90k.saturating_add(self.shift_90k)
    }

    /// Media time jumped within a group of pictures: these go on, by the clock that never steps,
    /// until the next run begins.
    pub(super) fn go_on(&mut self, unit: &mut AccessUnit, why: &'static str) {
        let passed_us = (unit.arrival.mono_us - self.last_mono_us).max(0);
        let next_90k = self.max_pts_90k + (passed_us * 9 / 100).max(1);
        self.shift_90k += next_90k - unit.pts_90k;
        unit.pts_90k = next_90k;
        self.ends.get_or_insert(why);
    }

    /// Notes whether somebody set the wall clock. Within a run, wall time is counted by the clock
    /// that never steps; small corrections are followed.
    pub(super) fn look_at_clock(&mut self, now: Moment) {
        let change = now.wall_us - now.mono_us - self.wall_minus_mono_us;
        if change.abs() > STEP_US {
            self.clock_set = true;
            self.ends.get_or_insert("the wall clock was set");
        } else if !self.clock_set {
            self.wall_minus_mono_us += change;
        }
    }

    /// Notes an arrival.
    pub(super) fn arrived(&mut self, pts_90k: i64, arrival: Moment) {
        // Before the first fragment tells: or a camera of few pictures could fall back by more than one.
        let since_last_90k = pts_90k - self.max_pts_90k;
        if self.depth == 0 && self.newest.is_none() && (1..=USUAL_90K).contains(&since_last_90k) {
            self.usual_90k = since_last_90k;
        }
        self.max_pts_90k = self.max_pts_90k.max(pts_90k);
        let at = self.largest_90k.partition_point(|t| *t < pts_90k);
        self.largest_90k.insert(at, pts_90k);
        if self.largest_90k.len() > self.depth + 1 {
            self.largest_90k.remove(0);
        }
        self.last_mono_us = arrival.mono_us;
        // Against the largest presentation time so far: the delay that reordering adds to
        // pictures sent after their successors is not a delay of the network.
        let media_us = us_from_90k(self.max_pts_90k);
        // By the clock that never steps: what the wall clock does is no delay.
        let delay = arrival.mono_us - media_us;
        self.envelope.push(media_us, delay);
        self.recent.push(media_us, delay);
    }

    /// The wall time of what happened at a time by the clock that never steps, as counted for the
    /// fragment in the making.
    pub(super) fn wall_us(&self, mono_us: i64) -> i64 {
        mono_us + self.fragment_wall_minus_mono_us
    }

    /// Adds a picture to the fragment in the making.
    pub(super) fn push(&mut self, unit: AccessUnit, dts_90k: Option<i64>, kind: AuKind) {
        let AccessUnit { pts_90k, arrival, data } = unit;
        let (arrived_us, rest) = (arrival.mono_us, Vec::new());
        if self.units.is_empty() {
            self.fragment_wall_minus_mono_us = self.wall_minus_mono_us;
        }
        self.pending_len += data.len();
        self.units.push(Unit { pts_90k, dts_90k, kind, arrived_us, data, rest });
    }

    /// Adds to the newest picture what came apart from it; false when there is none.
    pub(super) fn append(&mut self, data: Bytes) -> bool {
        let Some(unit) = self.units.last_mut() else { return false };
        self.pending_len += data.len();
        unit.rest.push(data);
        true
    }

    /// Adds the second field of the newest picture; false when that is not there, or too far off to be of
    /// one frame.
    pub(super) fn append_field(&mut self, unit: &AccessUnit) -> bool {
        let near = self
            .units
            .last()
            .is_some_and(|first| (unit.pts_90k - first.pts_90k).abs() <= FIELD_90K);
        near && self.append(unit.data.clone())
    }

    /// The decoding time of the next picture, if it can be told yet.
    pub(super) fn decode_time(&mut self, pts_90k: i64) -> Option<i64> {
        self.times.push(pts_90k)
    }

    /// Time of arrival, by the clock that never steps, minus media time; the second value says
    /// that this stepped.
    pub(super) fn offset_us(&self) -> (i64, bool) {
        let least = self.envelope.least().unwrap_or(0);
        let Some((_, before)) = self.newest else { return (least, false) };
        if (least - before).abs() > STEP_US {
            return (least, true);
        }
        let old_enough = us_from_90k(self.max_pts_90k - self.first_pts_90k) > RECENT_US;
        match self.recent.least() {
            Some(recent) if old_enough && recent - least > STEP_US => (recent, true),
            _ => (least, false),
        }
    }

    /// How long the fragment in the making lasts up to a presentation time.
    pub(super) fn pending_us(&self, pts_90k: i64) -> i64 {
        self.units.first().map_or(0, |u| us_from_90k(pts_90k - u.pts_90k))
    }

    /// The tables of the fragment in the making. `next_dts_90k`: decoding time of the picture
    /// after it, if there is one.
    pub(super) fn samples(&mut self, next_dts_90k: Option<i64>) -> (i64, Vec<Sample>) {
        let untimed = self.units.iter().take_while(|u| u.dts_90k.is_none()).count();
        if untimed > 0 {
            let pts: Vec<i64> = self.units.iter().map(|u| u.pts_90k).collect();
            for (unit, dts) in self.units.iter_mut().zip(DecodeTimes::before_first(&pts, untimed)) {
                unit.dts_90k = Some(dts);
            }
        }
        // How long the last picture of the fragment before lasts may have been a guess.
        let mut least = self.decoded_90k;
        for dts in self.units.iter_mut().filter_map(|u| u.dts_90k.as_mut()) {
            *dts = least.max(*dts);
            least = *dts + 1;
        }
        let dts: Vec<i64> = self.units.iter().filter_map(|u| u.dts_90k).collect();
        self.usual_90k = dts.windows(2).last().map_or(self.usual_90k, |w| w[1] - w[0]);
        let usual = self.usual_90k;
        let ends =
            dts.iter().skip(1).copied().chain([next_dts_90k.unwrap_or(dts[dts.len() - 1] + usual)]);
        let samples: Vec<_> = self
            .units
            .iter()
            .zip(dts.iter().zip(ends))
            .map(|(unit, (&start, end))| Sample {
                size: u32::try_from(unit.len()).unwrap_or(u32::MAX),
                duration: u32::try_from(end - start).unwrap_or(1).clamp(1, (1 << 31) - 1),
                composition_offset: i32::try_from(unit.pts_90k - start).unwrap_or(0),
                sync: unit.kind.random_access,
            })
            .collect();
        self.decoded_90k = dts[0] + samples.iter().map(|s| i64::from(s.duration)).sum::<i64>();
        (dts[0], samples)
    }
}
