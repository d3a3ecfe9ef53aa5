//! A camera of the simulation: numbered pictures, by a clock of its own.

use bytes::Bytes;

use crate::codec::tests::hex;
use crate::ids::StreamId;
use crate::media::{AccessUnit, VideoCodec, VideoParams};
use crate::time::Moment;

/// A picture that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub number: u64,
    /// The wall time that is right for it.
    pub wall_us: i64,
    pub mono_us: i64,
}

/// One stream of a camera.
#[derive(Debug)]
pub(super) struct Camera {
    pub id: StreamId,
    /// A session is up.
    pub up: bool,
    /// Between two pictures, by the recorder's clock.
    period_us: i64,
    /// Pictures from one random-access point to the next.
    pub gop: u64,
    /// How much faster its clock runs than the recorder's.
    pub drift_ppm: i64,
    /// The network's delay is up to so much more than its least.
    pub jitter_us: u64,
    next_mono_us: i64,
    next_number: u64,
    /// Of its session.
    first_number: u64,
    /// The newest random-access point's.
    newest_key: u64,
    since_key: u64,
    /// Its clock: media time at a monotonic time.
    media: (i64, i64),
    /// The wall clock minus the monotonic one, as a run sees it: a step counts from the next
    /// random-access point on.
    wall_minus_mono_us: i64,
    params: u8,
    /// When its newest run began, or is going to.
    run_mono_us: i64,
}

/// After so long the delays of a run are known.
const SETTLED_US: i64 = 12_000_000;

/// A step of more than this begins a new run.
const STEP_US: i64 = 200_000;

impl Camera {
    pub(super) fn new(id: StreamId, period_us: i64, gop: u64, drift_ppm: i64) -> Self {
        Camera {
            id,
            up: false,
            period_us,
            gop,
            drift_ppm,
            jitter_us: 60_000,
            next_mono_us: 0,
            next_number: 0,
            first_number: 0,
            newest_key: 0,
            since_key: 0,
            media: (0, 0),
            wall_minus_mono_us: 0,
            params: 0,
            run_mono_us: 0,
        }
    }

    /// What it announces.
    pub(super) fn params(&self) -> VideoParams {
        let avcc =
            "0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a9201000568cb83cb20";
        let mut extra = hex(avcc);
        // Another level: parameters that changed.
        extra[3] += self.params;
        VideoParams { codec: VideoCodec::H264, extra_data: extra.into(), width: 322, height: 182 }
    }

    /// A session begins, with a random-access point, and with media times of its own.
    pub(super) fn connect(&mut self, now: Moment, media_90k: i64) {
        self.up = true;
        self.since_key = 0;
        self.first_number = self.next_number;
        self.next_mono_us = now.mono_us + self.period_us;
        self.media = (now.mono_us, media_90k);
        self.wall_minus_mono_us = now.wall_us - now.mono_us;
        self.run_mono_us = now.mono_us;
    }

    /// Its clock is set: media times jump. Ahead by less than two minutes and within a group of pictures
    /// only while delays are known: before that nobody can tell it from pictures that catch up.
    pub(super) fn jump(&mut self, by_90k: i64, within_gop: bool) {
        self.media.1 += by_90k;
        let settled = self.next_mono_us - self.run_mono_us > SETTLED_US;
        if !within_gop || (!settled && (0..=10_500_000).contains(&by_90k)) {
            self.since_key = 0;
        }
        let left = i64::try_from(self.gop - self.since_key).unwrap_or(0);
        self.run_mono_us = self.next_mono_us + left * self.period_us;
    }

    /// Other parameters from the next picture on, which is a random-access point.
    pub(super) fn change_params(&mut self) {
        self.params ^= 1;
        self.since_key = 0;
    }

    /// The pictures of the next stretch of time.
    pub(super) fn pictures(
        &mut self,
        now: Moment,
        lasts_us: i64,
        random: &dyn Fn(u64) -> u64,
    ) -> Vec<(Sent, AccessUnit)> {
        let mut sent = Vec::new();
        let stepped = now.wall_us - now.mono_us;
        while self.up && self.next_mono_us <= now.mono_us + lasts_us {
            let mono_us = self.next_mono_us;
            let key = self.since_key == 0;
            let small = (stepped - self.wall_minus_mono_us).abs() <= STEP_US;
            if key {
                self.newest_key = self.next_number;
            }
            if key && !small {
                self.run_mono_us = mono_us;
            }
            if key || small {
                self.wall_minus_mono_us = stepped;
            }
            let passed = mono_us - self.media.0;
            let media_us = passed + passed * self.drift_ppm / 1_000_000;
            let delay = i64::try_from(random(self.jitter_us + 1)).unwrap_or(0);
            let number = self.next_number;
            let arrival = Moment { wall_us: mono_us + delay + stepped, mono_us: mono_us + delay };
            let unit = AccessUnit {
                pts_90k: self.media.1 + media_us * 9 / 100,
                arrival,
                data: picture(self.id, number, key),
            };
            let wall_us = mono_us + self.wall_minus_mono_us;
            sent.push((Sent { number, wall_us, mono_us }, unit));
            self.next_number += 1;
            self.since_key = (self.since_key + 1) % self.gop;
            self.next_mono_us += self.period_us;
        }
        sent
    }
}

impl Camera {
    /// For how long it has had something to send and did not.
    pub(super) fn behind_us(&self, now_us: i64) -> i64 {
        if self.up { (now_us - self.next_mono_us).max(0) } else { 0 }
    }

    /// The number of the first picture that may still be in the fragment in the making: that has at most
    /// 2.5 s of media and the picture after, or a GOP and what there was in the 0.9 s before it.
    pub(super) fn handed_over(&self) -> u64 {
        if !self.up {
            return self.next_number;
        }
        let pictures = |us: i64| u64::try_from(us / self.period_us).unwrap_or(0);
        let gop = self.next_number - self.newest_key + pictures(900_000);
        let longest = pictures(2_500_000) + 1;
        let of_session = self.next_number - self.first_number;
        self.next_number - gop.min(longest).min(of_session)
    }
}

/// The bytes of a picture, which only its stream and number decide.
pub(super) fn picture(id: StreamId, number: u64, key: bool) -> Bytes {
    let len = 40 + (number * 7919 % 61) as usize + if key { 200 } else { 0 };
    let mut data = vec![0, 0, 0, 0, if key { 0x65 } else { 0x41 }];
    data.extend_from_slice(&number.to_be_bytes());
    data.extend_from_slice(&id.camera.0.as_u128().to_be_bytes());
    data.push(b'm' + id.kind.as_str().len() as u8);
    while data.len() < len + 4 {
        data.push((number as usize * 31 + data.len()) as u8 | 1);
    }
    let nal = u32::try_from(data.len() - 4).unwrap_or(0);
    data[..4].copy_from_slice(&nal.to_be_bytes());
    data.into()
}

/// The number of a picture, if it is whole.
pub(super) fn number_of(id: StreamId, data: &[u8]) -> Option<(u64, bool)> {
    let number = u64::from_be_bytes(data.get(5..13)?.try_into().ok()?);
    let key = *data.get(4)? == 0x65;
    (picture(id, number, key) == data).then_some((number, key))
}
