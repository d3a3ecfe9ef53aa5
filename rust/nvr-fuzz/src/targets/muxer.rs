//! Pictures and sound as they arrive, at times that mean anything: what becomes fragments of them.

use nvr_core::media::{AccessUnit, AudioCodec, AudioFrame, AudioParams, MediaSink, VideoCodec};
use nvr_core::reason::Reason;
use nvr_core::time::Moment;

use super::choice;
use crate::checked::Checked;
use crate::seeds;

/// As far as a source's process may go, and no session of a camera comes near.
const TIMES: i64 = 1 << 50;

/// First byte: codec (bit 0), B-frames (bit 1), sound (bits 2, 3), short segments (bit 4). Then steps
/// of four bytes: what happens, how much of it, and how much time has passed.
pub fn run(data: &[u8]) {
    let (how, rest) = choice(data);
    let codec = if how & 1 == 0 { VideoCodec::H264 } else { VideoCodec::H265 };
    let sets = |changed: bool| seeds::params(codec, (how & 2 != 0) != changed);
    let audio = match how >> 2 & 3 {
        0 => None,
        n => Some(AudioParams {
            codec: if n == 1 { AudioCodec::Aac } else { AudioCodec::G711Ulaw },
            extra_data: bytes::Bytes::from_static(&[0x14, 0x08][..if n == 1 { 2 } else { 0 }]),
            sample_rate: [16_000, 8_000, 1][usize::from(n) - 1],
            channels: 1,
        }),
    };
    let mut sink = Checked::with_segment_s(if how & 16 == 0 { 60 } else { 2 });
    let mut now = Moment { wall_us: seeds::T0, mono_us: 1_000_000 };
    let (mut pts_90k, mut sound) = (0i64, 0i64);
    sink.begin(now, sets(false), audio.clone());
    for step in rest.as_chunks::<4>().0 {
        let [what, how_much, passed, fine] = *step;
        let signed = i64::from(i16::from_le_bytes([fine, how_much]));
        let passed_us = match what >> 6 {
            0 | 1 => i64::from(passed) * 1000,
            2 => i64::from(passed) * 100_000,
            _ => 0,
        };
        now.mono_us += passed_us;
        now.wall_us += passed_us;
        match what & 15 {
            // As the time that has passed, exactly or not.
            0..=6 => {
                pts_90k += match what & 15 {
                    0..=2 => passed_us * 9 / 100,
                    3 => passed_us * 9 / 100 + signed,
                    4 => signed,
                    5 => signed << 16,
                    _ => signed << 36,
                };
                pts_90k = pts_90k.clamp(1 - TIMES, TIMES - 1);
                let random_access = what & 16 != 0;
                let data = seeds::unit(codec, random_access, usize::from(fine));
                // A slice that is not its picture's first.
                let data = if what & 32 == 0 { data } else { seeds::continued(codec) };
                sink.video(AccessUnit { pts_90k, arrival: now, data: data.into() });
            }
            7 | 8 => {
                sound += if what & 15 == 7 { 1024 } else { signed << ((what >> 4 & 3) * 12) };
                sound = sound.clamp(1 - TIMES, TIMES - 1);
                let duration = if what & 15 == 7 { 1024 } else { u32::from(how_much) << 24 | 1 };
                let data = vec![how_much; usize::from(fine) + 1].into();
                sink.audio(AudioFrame { pts: sound, duration, arrival: now, data });
            }
            9 => sink.video_params(sets(how_much & 1 == 1)),
            10 => {
                sink.end(now, Reason::DISCONNECTED, "");
                sink.begin(now, sets(false), audio.clone());
            }
            11 => now.wall_us = (now.wall_us + signed * 1_000_000).clamp(0, TIMES),
            12 => now.wall_us += signed * 10,
            13 => sink.camera_clock_offset(signed << 30),
            14 => sink.lose_segment(),
            _ => sink.move_run(),
        }
    }
    sink.end(now, Reason::REMOVED, "");
}
