//! What cameras do to a muxer.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{MuxOptions, MuxOut, Muxed, Muxer};
use crate::codec::tests::hex;
use crate::ids::{CameraId, SeededEntropy, StreamId, StreamKind};
use crate::media::{AccessUnit, MetadataCoding, MetadataDocument, VideoCodec, VideoParams};
use crate::segment::fragment::parse_fragment;
use crate::time::{Moment, SECOND_US};

const T0: i64 = 1_795_478_370 * SECOND_US;
const ID: StreamId =
    StreamId { camera: CameraId(uuid::Uuid::from_u128(7)), kind: StreamKind::Main };
const IDR: &[u8] = &[0x65, 0x88, 1, 2, 3];
const SLICE: &[u8] = &[0x41, 0x9a, 4, 5];
/// recovery_frame_cnt 0, exact.
const RECOVERY_POINT: &[u8] = &[0x06, 6, 1, 0xc4, 0x80];

/// By x264, Baseline; `version` makes PPS that differ.
fn params(version: u16) -> VideoParams {
    let avcc = "0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a9201000568cb83";
    let extra_data = [&hex(avcc)[..], &version.to_be_bytes()].concat().into();
    VideoParams { codec: VideoCodec::H264, extra_data, width: 322, height: 182 }
}

/// By x264, High with B-frames: pictures are reordered by up to 2.
fn reordered() -> VideoParams {
    let avcc = "0164000cffe1001a6764000cacd941519e226c0440000003004000000503c50a658001000668ebe3cb\
                22c0fdf8f800";
    VideoParams { codec: VideoCodec::H264, extra_data: hex(avcc).into(), width: 322, height: 182 }
}

/// A muxer, and all that it made.
struct Fed {
    muxer: Muxer,
    out: Vec<MuxOut>,
}

impl Fed {
    fn new(params: VideoParams) -> Self {
        let options = MuxOptions::with_segment_s(60);
        let mut muxer = Muxer::new(ID, 0, options, Arc::new(SeededEntropy::new(1)));
        muxer.begin(params, None).unwrap();
        Fed { muxer, out: Vec::new() }
    }

    /// An access unit of these NAL units, so long after the start.
    fn picture(&mut self, pts_90k: i64, at_us: i64, nals: &[&[u8]]) -> bool {
        let arrival = Moment { wall_us: T0 + at_us, mono_us: at_us };
        let unit = AccessUnit { pts_90k, arrival, data: sample(nals) };
        self.muxer.video(unit, &mut self.out).is_some()
    }

    fn end(&mut self) {
        self.muxer.end(crate::reason::Reason::REMOVED, "", &mut self.out);
    }

    fn fragments(&self) -> Vec<&Muxed> {
        self.out
            .iter()
            .filter_map(|o| if let MuxOut::Fragment(m) = o { Some(&**m) } else { None })
            .collect()
    }

    /// How many pictures are in fragments.
    fn pictures(&self) -> usize {
        self.fragments().iter().map(|f| f.video_samples.len()).sum()
    }

    /// Why runs ended, but for the end of the session.
    fn endings(&self) -> Vec<(&str, &str)> {
        self.out
            .iter()
            .filter_map(|o| match o {
                MuxOut::RunEnded { reason, detail, .. } if reason.0 != "removed" => {
                    Some((reason.0.as_ref(), detail.as_str()))
                }
                _ => None,
            })
            .collect()
    }

    /// The pictures' bytes.
    fn samples(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for muxed in self.fragments() {
            let bytes = &muxed.pieces.concat()[muxed.head_len as usize..];
            assert_eq!(muxed.byte_count(), muxed.head_len as usize + bytes.len());
            assert_eq!(parse_fragment(bytes).unwrap().entry, muxed.entry);
            let mut at = muxed.entry.video.data_offset as usize;
            for sample in &muxed.video_samples {
                all.push(bytes[at..at + sample.size as usize].to_vec());
                at += sample.size as usize;
            }
        }
        all
    }
}

/// NAL units, each after its length.
fn sample(nals: &[&[u8]]) -> Bytes {
    let sized =
        nals.iter().flat_map(|n| [&u32::try_from(n.len()).unwrap().to_be_bytes()[..], n].concat());
    sized.collect::<Vec<u8>>().into()
}

/// A picture every 0.1 s, every tenth an IDR, with times made by a function of their number.
fn ten_a_second(count: i64, pts_90k: impl Fn(i64) -> i64) -> Fed {
    let mut fed = Fed::new(params(0));
    for n in 0..count {
        fed.picture(pts_90k(n), n * 100_000, &[if n % 10 == 0 { IDR } else { SLICE }]);
    }
    fed.end();
    fed
}

#[test]
fn a_marker_bit_after_each_slice_does_not_make_it_a_picture() {
    let second: &[u8] = &[0x65, 0x20, 7, 8];
    let (later, signature): (&[u8], &[u8]) = (&[0x41, 0x20, 9], &[0x06, 5, 1, 9, 0x80]);
    let mut fed = Fed::new(params(0));
    for (pts, nal) in
        [(0, IDR), (0, second), (9000, SLICE), (9000, later), (9000, later), (9000, signature)]
    {
        assert!(fed.picture(pts, pts, &[nal]));
    }
    // The same time again, but a picture's first slice: another picture.
    assert!(fed.picture(9000, 9001, &[SLICE]));
    fed.end();
    let expected =
        [sample(&[IDR, second]), sample(&[SLICE, later, later, signature]), sample(&[SLICE])];
    assert_eq!(fed.samples(), expected);
}

#[test]
fn what_goes_on_with_nothing_is_left_out() {
    let mut fed = Fed::new(params(0));
    for at_us in [0, 1] {
        assert!(!fed.picture(0, at_us, &[&[0x41, 0x20, 7]]));
        assert!(!fed.picture(0, at_us, &[&[0x06, 5, 1, 9, 0x80]]));
    }
}

#[test]
fn pictures_without_times_get_that_of_their_arrival() {
    for (pts, why) in [
        (Box::new(|_| 0i64) as Box<dyn Fn(i64) -> i64>, "the same time"),
        // Milliseconds for ticks; half as fast as time; a tenth faster would be believed.
        (Box::new(|n| n * 100), "too slow"),
        (Box::new(|n| n * 4500), "too slow"),
        (Box::new(|n| n * 18_000), "too fast"),
        // From anywhere to anywhere.
        (Box::new(|n| (n * 7_919) % 97 * 90_000_000), "again and again"),
    ] {
        let fed = ten_a_second(1200, pts);
        let (reason, detail) = *fed.endings().last().unwrap();
        assert_eq!(reason, "clock_step");
        if why != "again and again" {
            assert!(detail.contains(why), "{why}: {detail}");
            assert_eq!(fed.pictures(), 1200, "{why}: none is lost");
        }
        // From there on each fragment is where it arrived, and lasts as long as that took.
        let fragments = fed.fragments();
        let late: Vec<_> =
            fragments.iter().filter(|f| f.entry.wall_start_us >= T0 + 60 * SECOND_US).collect();
        assert_eq!(late.len(), 60, "{why}");
        for (n, fragment) in (60..).zip(late) {
            assert_eq!(fragment.entry.wall_start_us, T0 + n * SECOND_US, "{why}");
            assert_eq!(fragment.entry.duration_us, 1_000_000, "{why}");
        }
    }
}

#[test]
fn timestamps_that_wrap_or_repeat_in_pairs_are_no_fault() {
    assert!(ten_a_second(600, |n| (1 << 32) - 9000 * 300 + n * 9000).endings().is_empty());
    assert!(ten_a_second(600, |n| n / 2 * 18_000).endings().is_empty());
}

#[test]
fn what_comes_before_a_small_jump_of_a_young_run_stays_where_it_was() {
    let mut fed = Fed::new(params(0));
    // Five pictures a second; the clock is set by 0.4 s at a random-access point, 0.4 s after another.
    for n in 0..20 {
        let random_access = n % 5 == 0 && n != 15 || n == 12;
        let jump = if n < 12 { 0 } else { 36_000 };
        let nal = if random_access { IDR } else { SLICE };
        fed.picture(n * 18_000 + jump, n * 200_000, &[nal]);
    }
    fed.end();
    let starts: Vec<i64> = fed.fragments().iter().map(|f| f.entry.wall_start_us - T0).collect();
    assert_eq!(starts, [0, 1_000_000, 2_000_000, 2_400_000]);
}

#[test]
fn media_time_that_falls_back_within_a_runs_first_gop_is_noticed() {
    let mut fed = Fed::new(params(0));
    // Five pictures a second; the camera's clock is set back by 0.35 s: less than two pictures.
    for n in 0..20 {
        let fallen = if n < 3 { 0 } else { 31_500 };
        let nal = if n % 5 == 0 { IDR } else { SLICE };
        fed.picture(n * 18_000 - fallen, n * 200_000, &[nal]);
    }
    fed.end();
    let starts: Vec<i64> = fed.fragments().iter().map(|f| f.entry.wall_start_us - T0).collect();
    assert_eq!(starts, [0, 1_000_000, 2_000_000, 3_000_000]);
    assert_eq!(fed.pictures(), 20);
}

#[test]
fn a_gop_of_20_s_with_changing_frame_rate() {
    let mut fed = Fed::new(params(0));
    let (mut at_us, mut sent) = (0, Vec::new());
    while at_us < 60 * SECOND_US {
        let idr = sent.is_empty() || at_us % (20 * SECOND_US) == 0;
        fed.picture(at_us * 9 / 100, at_us, &[if idr { IDR } else { SLICE }]);
        sent.push(at_us);
        // 25, 2 and 10 pictures a second, five seconds each.
        at_us +=
            [40_000, 500_000, 100_000, 40_000][usize::try_from(at_us / 5_000_000 % 4).unwrap()];
    }
    fed.end();
    assert_eq!((fed.pictures(), fed.endings()), (sent.len(), Vec::new()));
    let mut expected_us = 0;
    let mut distance = 0;
    for fragment in fed.fragments() {
        let entry = fragment.entry;
        assert_eq!(entry.wall_start_us, T0 + expected_us);
        assert!(entry.duration_us <= 3_000_000, "{}", entry.duration_us);
        distance = if entry.random_access { 0 } else { distance + 1 };
        assert_eq!(entry.random_access_distance, distance);
        expected_us += i64::from(entry.duration_us);
    }
}

#[test]
fn pictures_of_one_time_are_a_tick_apart() {
    let mut fed = Fed::new(params(0));
    for (n, pts) in [0, 0, 0, 9000, 18_000, 18_000, 27_000].into_iter().enumerate() {
        let at_us = i64::try_from(n).unwrap() * 100_000;
        fed.picture(pts, at_us, &[if n == 0 { IDR } else { SLICE }]);
    }
    fed.end();
    let mut decoded = 0;
    let mut shown = Vec::new();
    for sample in &fed.fragments()[0].video_samples {
        assert!(sample.composition_offset >= 0, "shown before it is decoded");
        shown.push(decoded + i64::from(sample.composition_offset));
        decoded += i64::from(sample.duration);
    }
    assert_eq!(shown, [0, 1, 2, 9000, 18_000, 18_001, 27_000]);
}

#[test]
fn an_open_gop_of_h264_begins_at_its_recovery_point() {
    let mut fed = Fed::new(reordered());
    // No IDR ever: P, then I with B-frames that are shown before it, then P and B.
    assert!(!fed.picture(0, 0, &[SLICE]));
    let mut at_us = 100_000;
    let mut picture = |fed: &mut Fed, pts: i64, nals: &[&[u8]]| {
        at_us += 100_000;
        fed.picture(pts * 9000, at_us, nals)
    };
    assert!(picture(&mut fed, 4, &[RECOVERY_POINT, SLICE]));
    assert!(!picture(&mut fed, 2, &[SLICE]) && !picture(&mut fed, 3, &[SLICE]));
    assert!(picture(&mut fed, 7, &[SLICE]) && picture(&mut fed, 5, &[SLICE]));
    assert!(picture(&mut fed, 6, &[SLICE]));
    fed.end();
    let fragment = fed.fragments()[0];
    assert!(fragment.entry.random_access);
    assert_eq!(fragment.video_samples.iter().filter(|s| s.sync).count(), 1);
    assert_eq!(fed.pictures(), 4);
}

#[test]
fn a_thousand_parameter_changes_are_one_gap() {
    let mut fed = Fed::new(params(0));
    let (mut n, mut version) = (0, 0);
    let mut gop = |fed: &mut Fed, changes: u16| {
        for _ in 0..changes {
            version += 1;
            fed.muxer.video_params(params(version), &mut fed.out).unwrap();
        }
        for picture in 0..10 {
            fed.picture(n * 9000, n * 100_000, &[if picture == 0 { IDR } else { SLICE }]);
            n += 1;
        }
    };
    // One a second makes a segment each; then a thousand; then none.
    (0..30).for_each(|_| gop(&mut fed, 1));
    let before = fed.fragments().iter().filter(|f| f.new_segment.is_some()).count();
    assert_eq!(before, 29);
    (0..100).for_each(|_| gop(&mut fed, 10));
    (0..10).for_each(|_| gop(&mut fed, 0));
    fed.end();
    assert_eq!(fed.endings(), [("parameter_flood", "the camera changes its parameters too often")]);
    let segments: Vec<_> = fed.fragments().iter().filter_map(|f| f.new_segment.clone()).collect();
    assert!(segments.len() <= before + 3, "{}", segments.len());
    assert_eq!(segments.last().unwrap().video, params(30 + 1000));
    // All before the flood and after it.
    assert_eq!(fed.pictures(), 300 + 100);
}

#[test]
fn what_waits_in_memory_is_bounded_whatever_times_say() {
    // Nothing that a fragment could end at: one keyframe, and times that stand still.
    let mut fed = Fed::new(params(0));
    for n in 0..600 {
        fed.picture(0, n * 100_000, &[if n == 0 { IDR } else { SLICE }]);
    }
    let fragments = fed.fragments();
    assert_eq!(fragments.len(), 5);
    assert!(fragments.iter().all(|f| f.video_samples.len() == 100));

    // 100 Mbit/s and far more.
    let mut fed = Fed::new(params(0));
    let big = [&[0x41, 0x9a][..], &vec![7; 1 << 20]].concat();
    for n in 0..150 {
        fed.picture(n * 90, n * 1000, &[if n == 0 { IDR } else { &big }]);
    }
    assert_eq!(fed.fragments().len(), 2);
    assert!(fed.fragments().iter().all(|f| f.byte_count() <= 66 << 20));
}

#[test]
fn the_first_segment_of_a_run_may_be_shorter() {
    let mut fed = Fed::new(params(0));
    let options = MuxOptions { first_segment_us: 20_000_000, ..MuxOptions::with_segment_s(60) };
    fed.muxer = Muxer::new(ID, 0, options, Arc::new(SeededEntropy::new(1)));
    fed.muxer.begin(params(0), None).unwrap();
    let begins = |fed: &Fed| -> Vec<i64> {
        let begins = |f: &&Muxed| Some((f.new_segment.as_ref()?.wall_start_us - T0) / 1_000_000);
        fed.fragments().iter().filter_map(begins).collect()
    };
    for second in 0..150 {
        fed.picture(second * 90_000, second * 1_000_000, &[IDR]);
    }
    assert_eq!(begins(&fed), [0, 20, 80, 140]);
    // What comes after it was away is another run.
    fed.end();
    fed.out.clear();
    fed.muxer.begin(params(0), None).unwrap();
    for second in 200..300 {
        fed.picture(second * 90_000, second * 1_000_000, &[IDR]);
    }
    assert_eq!(begins(&fed), [200, 220, 280]);
}

#[test]
fn a_picture_larger_than_any_level_is_refused() {
    // An SPS of Baseline that claims so many macroblocks across and down: 4,095 are 65,520 pixels.
    let bits = |macroblocks: u32| {
        let mut bits = String::from("01000010 11000000 00111110"); // Baseline, level 62
        bits += "1 1 1 011 010 0"; // id, frame numbers, picture order, 1 reference
        for _ in 0..2 {
            let code = format!("{macroblocks:b}"); // macroblocks − 1 + 1, Exp-Golomb
            bits += &"0".repeat(code.len() - 1);
            bits += &code;
        }
        bits += "1 1 0 0 1"; // frames, 8×8, no cropping, no VUI, stop
        let bits: String = bits.chars().filter(|c| *c != ' ').collect();
        let bytes = bits.as_bytes().chunks(8).map(|chunk| {
            let text = std::str::from_utf8(chunk).unwrap();
            u8::from_str_radix(&format!("{text:0<8}"), 2).unwrap()
        });
        std::iter::once(0x67).chain(bytes).collect::<Vec<u8>>()
    };
    let begin = |macroblocks: u32| {
        let record = crate::codec::h264::avcc(&[&bits(macroblocks)], &[&[0x68, 0xce]]).unwrap();
        let video =
            VideoParams { codec: VideoCodec::H264, extra_data: record.into(), width: 1, height: 1 };
        let options = MuxOptions::with_segment_s(60);
        Muxer::new(ID, 0, options, Arc::new(SeededEntropy::new(1))).begin(video, None)
    };
    begin(512).unwrap();
    let error = begin(4095).unwrap_err().to_string();
    assert!(error.contains("65520 × 65520 pixels"), "{error}");
}

proptest! {
    #[test]
    fn no_times_and_units_break_it(
        units in proptest::collection::vec(
            (any::<i32>(), 0i64..3_000_000, prop_oneof![
                Just(vec![IDR]), Just(vec![SLICE]), Just(vec![RECOVERY_POINT, SLICE]),
                Just(vec![&[0x41, 0x20][..]]), Just(vec![RECOVERY_POINT]),
            ], 0..3u16),
            1..300,
        ),
        depth: bool,
        steps in 0..3u8,
    ) {
        let mut fed = Fed::new(if depth { reordered() } else { params(0) });
        let mut at_us = 0;
        let mut pts = 0;
        for (random, passed_us, nals, version) in units {
            at_us += passed_us;
            // Anything; near to where it was; standing still.
            pts = match steps { 0 => i64::from(random), 1 => pts + i64::from(random >> 16), _ => 0 };
            if version == 2 {
                fed.muxer.video_params(params(version), &mut fed.out).unwrap();
            }
            fed.picture(pts, at_us, &nals);
        }
        fed.end();
        fed.samples();
        // Runs begin with a random-access point and wall time increases within each.
        let mut newest = None;
        for out in &fed.out {
            match out {
                MuxOut::RunStarted { .. } => newest = None,
                MuxOut::Fragment(f) => {
                    prop_assert!(newest.is_some() || f.entry.random_access);
                    prop_assert!(newest.is_none_or(|before| f.entry.wall_start_us > before));
                    newest = Some(f.entry.wall_start_us);
                }
                MuxOut::RunEnded { .. } => {}
            }
        }
    }
}

#[test]
fn metadata_lies_among_the_pictures_of_its_time() {
    let mut fed = Fed::new(params(0));
    let document = |n: i64, at_us| MetadataDocument {
        arrival: Moment { wall_us: T0 + at_us, mono_us: at_us },
        data: format!("<tt:MetadataStream n='{n}'/>").into(),
    };
    // Of before the first picture: nothing to put it to.
    assert!(fed.muxer.metadata(document(-1, 0)));
    fed.muxer.begin_metadata(MetadataCoding::Xml);
    assert!(fed.muxer.metadata(document(-1, 0)));
    for n in 0..50 {
        let at_us = n * SECOND_US / 10;
        fed.picture(n * 9_000, at_us, if n % 10 == 0 { &[IDR] } else { &[SLICE] });
        if n % 5 == 2 {
            assert!(fed.muxer.metadata(document(n, at_us + 10_000)));
        }
    }
    fed.end();
    let fragments = fed.fragments();
    assert_eq!(fragments.len(), 5);
    assert_eq!(
        fragments[0].new_segment.as_ref().and_then(|head| head.metadata),
        Some(MetadataCoding::Xml)
    );
    let mut before = 0;
    for (n, fragment) in (0..).zip(&fragments) {
        let bytes = &fragment.pieces.concat()[fragment.head_len as usize..];
        let parsed = parse_fragment(bytes).unwrap();
        assert_eq!(parsed.entry, fragment.entry);
        let run = parsed.entry.metadata;
        let start = run.data_offset as usize;
        let data = String::from_utf8_lossy(&bytes[start..start + run.data_len as usize]);
        let expected = [n * 10 + 2, n * 10 + 7].map(|n| format!("<tt:MetadataStream n='{n}'/>"));
        assert_eq!(data, expected.concat());
        // 10 ms behind the picture before which it came.
        assert_eq!(run.decode_time, n as u64 * 90_000 + 18_900);
        assert!(run.decode_time >= before);
        before = run.decode_time
            + parsed.metadata_samples.iter().map(|s| u64::from(s.duration)).sum::<u64>();
    }
}

/// Bits, first one highest.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn u(mut self, bits: u32, value: u32) -> Self {
        self.0.extend((0..bits).rev().map(|n| value >> n & 1 == 1));
        self
    }

    /// Exp-Golomb (ITU-T H.264, 9.1).
    fn ue(self, value: u32) -> Self {
        let len = 31 - (value + 1).leading_zeros();
        self.u(len, 0).u(len + 1, value + 1)
    }

    /// A NAL unit of them, with its stop bit.
    fn nal(self, head: u8) -> Vec<u8> {
        let bits = self.u(1, 1).0;
        let byte =
            |chunk: &[bool]| (0..8).fold(0, |b, n| b << 1 | u8::from(chunk.get(n) == Some(&true)));
        std::iter::once(head).chain(bits.chunks(8).map(byte)).collect()
    }
}

/// Main profile, level 3, 320 × 256, pictures that may be fields.
fn interlaced() -> VideoParams {
    let sps = Bits::default().u(8, 77).u(8, 0).u(8, 30).ue(0);
    // log2_max_frame_num 4, picture order as decoding order, one reference frame.
    let sps = sps.ue(0).ue(2).ue(1).u(1, 0).ue(19).ue(7);
    // Fields, no MBAFF; direct_8x8_inference, no cropping, no VUI.
    let sps = sps.u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(1, 0).nal(0x67);
    let extra_data = crate::codec::h264::avcc(&[&sps], &[&[0x68, 0xce, 0x38, 0x80]]).unwrap();
    VideoParams { codec: VideoCodec::H264, extra_data: extra_data.into(), width: 320, height: 256 }
}

/// A slice: of a frame, or of the top or bottom field.
fn slice(head: u8, frame_num: u32, bottom: Option<bool>, mark: u8) -> Vec<u8> {
    let bits = Bits::default().ue(0).ue(7).ue(0).u(4, frame_num % 16).u(1, bottom.is_some().into());
    let bits = match bottom {
        Some(bottom) => bits.u(1, bottom.into()),
        None => bits,
    };
    bits.u(8, mark.into()).nal(head)
}

#[test]
fn both_fields_of_a_frame_are_one_sample() {
    let (idr_field, field) = (0x65, 0x61);
    for marker_between in [true, false] {
        let mut fed = Fed::new(interlaced());
        let mut expected = Vec::new();
        for n in 0..50u32 {
            let head = if n % 25 == 0 { idr_field } else { field };
            let top = slice(head, n % 25, Some(false), n as u8);
            let bottom = slice(field, n % 25, Some(true), n as u8);
            let (at, at_us) = (i64::from(n) * 3_600, i64::from(n) * 40_000);
            expected.push(sample(&[&top, &bottom]));
            if marker_between {
                assert!(fed.picture(at, at_us, &[&top]));
                assert!(fed.picture(at + 1_800, at_us + 20_000, &[&bottom]));
            } else {
                assert!(fed.picture(at, at_us, &[&top, &bottom]));
            }
        }
        fed.end();
        assert_eq!(fed.pictures(), 50);
        let bytes: Vec<u8> = fed
            .fragments()
            .iter()
            .flat_map(|f| {
                let run = f.entry.video;
                let start = (f.head_len + run.data_offset) as usize;
                f.pieces.concat()[start..start + run.data_len as usize].to_vec()
            })
            .collect();
        assert_eq!(bytes, expected.concat());
        let durations =
            fed.fragments().iter().flat_map(|f| &f.video_samples).all(|s| s.duration == 3_600);
        assert!(durations);
        assert!(fed.endings().is_empty());
    }
}

#[test]
fn fields_that_are_no_pair_stay_apart() {
    let mut fed = Fed::new(interlaced());
    let units = [
        slice(0x65, 0, Some(false), 1),
        // Of the next frame: the bottom field of the first was lost.
        slice(0x61, 1, Some(false), 2),
        slice(0x61, 1, Some(true), 3),
        // A frame, and one field that is alone.
        slice(0x61, 2, None, 4),
        slice(0x61, 3, Some(true), 5),
        // As far off as no two fields are.
        slice(0x61, 3, Some(false), 6),
    ];
    let times = [0, 3_600, 5_400, 7_200, 10_800, 30_000];
    for (unit, at) in units.iter().zip(times) {
        fed.picture(at, at * 100 / 9, &[unit]);
    }
    fed.end();
    assert_eq!(fed.pictures(), 5);
}
