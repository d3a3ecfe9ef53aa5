//! What reaches a sink from a session, and how sessions end.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{
    Answer, Call, Calls, Camera, H265_SETS, HANG, PPS, SDP_AAC, SDP_G722, SDP_H264, SPS, SPS_640,
    aac, good, interleaved, options, recorder, rtp, sender_report, stap_a, stream, wait_for,
};
use nvr_core::Error;
use nvr_core::media::{
    AccessUnit, AudioCodec, AudioFrame, AudioParams, MediaSink, VideoCodec, VideoParams,
};
use nvr_core::reason::Reason;
use nvr_core::time::{Clock as _, Moment, SystemClock};
use nvr_ingest::{Options, State, Status, Supervisor, probe};

const IDR: [u8; 4] = [0x65, 0xaa, 0xbb, 0xcc];
const SLICE: [u8; 3] = [0x41, 0xdd, 0xee];
/// H.265 whose parameter sets come in the stream.
const SDP_H265: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=control:video\r\n";
const SEI: [u8; 3] = [0x06, 0x05, 0x80];

fn supervisor(options: Options) -> Supervisor {
    Supervisor::new(Arc::new(SystemClock::default()), options).unwrap()
}

/// NAL units, each after its length.
fn sample(units: &[&[u8]]) -> Vec<u8> {
    let lengths = units.iter().map(|u| u32::try_from(u.len()).unwrap().to_be_bytes());
    lengths.zip(units).flat_map(|(n, u)| [&n, *u].concat()).collect()
}

fn picture(sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    interleaved(0, &rtp(96, sequence, timestamp, payload))
}

/// The only stream's status, once it is this: it follows what the sink was told.
fn until_state(supervisor: &Supervisor, expected: (State, Option<Reason>)) -> Status {
    let start = Instant::now();
    loop {
        let status = supervisor.status().remove(0);
        if (status.state, status.reason.clone()) == expected {
            return status;
        }
        assert!(start.elapsed() < common::HANG, "{status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A camera that sends this after PLAY and then nothing.
fn camera(sdp: String, media: Vec<u8>) -> Camera {
    Camera::new(move |r| good(r, &sdp, &media))
}

fn record(camera: &Camera, options: Options) -> (Supervisor, Calls) {
    let supervisor = supervisor(options);
    let (sink, calls) = recorder();
    supervisor.add(stream(1), &camera.url(""), sink).unwrap();
    (supervisor, calls)
}

#[test]
fn pictures_sound_and_clock_arrive() {
    let ahead_us = 3_600_000_000;
    let clock_us = SystemClock::default().now().wall_us + ahead_us;
    let media = [
        // Sound before the first picture has no session to belong to.
        interleaved(2, &rtp(97, 1, 1_000, &aac(b"early"))),
        picture(1, u32::MAX - 2_999, &stap_a(&[&SPS, &PPS, &SEI, &IDR])),
        interleaved(1, &sender_report(96, clock_us)),
        interleaved(2, &rtp(97, 2, 2_024, &aac(b"sound"))),
        // The timestamp wraps here.
        picture(2, 3_000, &SLICE),
    ]
    .concat();
    let camera = camera(format!("{SDP_H264}{SDP_AAC}"), media);
    let (supervisor, calls) = record(&camera, options());

    let Call::Begin(video, audio) = calls.next() else { panic!("`begin` is first") };
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H264, 320, 240));
    // avcC: version, profile and level of the SPS, lengths in 4 bytes, one SPS.
    assert_eq!(video.extra_data[..6], [1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1]);
    assert!(video.extra_data.windows(SPS.len()).any(|w| w == SPS));
    assert!(video.extra_data.windows(PPS.len()).any(|w| w == PPS));
    let audio = audio.unwrap();
    assert_eq!((audio.sample_rate, audio.channels), (48_000, 1));
    assert_eq!(audio.extra_data[..], [0x11, 0x88]);

    let Call::Video(first_pts, data) = calls.next() else { panic!("a picture is due") };
    assert_eq!(data, sample(&[&SEI, &IDR]));
    let Call::Offset(offset_us) = calls.next() else { panic!("a clock offset is due") };
    let lag_us = ahead_us - offset_us;
    assert!((0..i64::try_from(HANG.as_micros()).unwrap()).contains(&lag_us), "{lag_us}");
    assert_eq!(calls.next(), Call::Audio(2_024, 1_024, b"sound".to_vec()));
    assert_eq!(calls.next(), Call::Video(first_pts + 6_000, sample(&[&SLICE])));

    let status = supervisor.status().remove(0);
    assert_eq!(status.state, State::Recording);
    assert_eq!(
        (status.video_codec.as_str(), status.audio_codec.as_str()),
        ("avc1.42C00C", "mp4a.40.2")
    );
    assert_eq!((status.width, status.height, status.frames), (320, 240, 2));
    assert_eq!(status.bytes, (sample(&[&SEI, &IDR, &SLICE]).len() + b"sound".len()) as u64);
    assert_eq!(status.clock_offset_us, Some(offset_us));
    assert!(status.last_frame_us.is_some() && status.reason.is_none() && status.detail.is_empty());

    assert!(supervisor.remove(stream(1), Reason::REMOVED));
    assert_eq!(calls.rest(), [Call::End(Reason::REMOVED, String::new()), Call::Dropped]);
    assert!(!supervisor.remove(stream(1), Reason::REMOVED));
    wait_for("TEARDOWN", || {
        camera.requests.lock().unwrap().iter().any(|r| r.starts_with("TEARDOWN"))
    });
}

#[test]
fn parameters_that_change_come_before_their_picture() {
    let media = [
        picture(1, 0, &IDR),
        picture(2, 6_000, &stap_a(&[&SPS, &PPS, &IDR])),
        picture(3, 12_000, &stap_a(&[&SPS_640, &PPS, &IDR])),
        picture(4, 18_000, &SLICE),
    ]
    .concat();
    let camera = camera(SDP_H264.to_owned(), media);
    let (_supervisor, calls) = record(&camera, options());
    let Call::Begin(video, None) = calls.next() else { panic!("`begin` without sound is due") };
    assert_eq!(video.width, 320);
    let idr = sample(&[&IDR]);
    assert!(matches!(calls.next(), Call::Video(_, data) if data == idr));
    // The same parameters in the stream are no change.
    assert!(matches!(calls.next(), Call::Video(_, data) if data == idr));
    let Call::VideoParams(changed) = calls.next() else { panic!("new parameters are due") };
    assert_eq!((changed.width, changed.height), (640, 480));
    assert!(matches!(calls.next(), Call::Video(_, data) if data == idr));
    assert!(matches!(calls.next(), Call::Video(..)));
}

#[test]
fn g711_is_recorded_packet_by_packet() {
    for (payload_type, codec, name) in
        [(0, AudioCodec::G711Ulaw, "ulaw"), (8, AudioCodec::G711Alaw, "alaw")]
    {
        let media = [
            picture(1, 0, &IDR),
            interleaved(2, &rtp(payload_type, 1, u32::MAX - 79, &[0xd5; 160])),
            interleaved(2, &rtp(payload_type, 2, 80, &[0x55; 320])),
        ]
        .concat();
        let sdp = format!("{SDP_H264}m=audio 0 RTP/AVP {payload_type}\r\na=control:audio\r\n");
        let camera = camera(sdp, media);
        let (supervisor, calls) = record(&camera, options());
        let Call::Begin(_, Some(audio)) = calls.next() else { panic!("`begin` with sound is due") };
        let expected =
            AudioParams { codec, extra_data: [][..].into(), sample_rate: 8_000, channels: 1 };
        assert_eq!(audio, expected);
        let Call::Audio(first, 160, data) = calls.until(|c| matches!(c, Call::Audio(..))) else {
            panic!("160 samples are due")
        };
        assert_eq!(data, [0xd5; 160]);
        // The timestamp wraps between them.
        assert_eq!(calls.next(), Call::Audio(first + 160, 320, vec![0x55; 320]));
        assert_eq!(supervisor.status()[0].audio_codec, name);
    }
}

#[test]
fn sound_that_cannot_be_recorded_is_left_out_and_said() {
    let camera = camera(format!("{SDP_H264}{SDP_G722}"), picture(1, 0, &IDR));
    let (supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(_, None)));
    assert!(matches!(calls.next(), Call::Video(..)));
    let status = until_state(&supervisor, (State::Recording, None));
    assert!(status.detail.contains("audio G722"), "{status:?}");
    let setups = camera.requests.lock().unwrap().iter().filter(|r| r.starts_with("SETUP")).count();
    assert_eq!(setups, 1);
}

#[test]
fn pictures_without_parameters_are_no_session() {
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
               a=rtpmap:96 H264/90000\r\na=control:video\r\n";
    let camera = camera(sdp.to_owned(), picture(1, 0, &SLICE));
    let quick = Options { silent_after: Duration::from_millis(50), ..options() };
    let (_supervisor, calls) = record(&camera, quick);
    let Call::Down(reason, detail) = calls.next() else { panic!("`down` is due") };
    assert_eq!(reason, Reason::PROTOCOL_ERROR);
    assert!(detail.contains("SPS"), "{detail}");
}

#[test]
fn a_stream_that_falls_silent_ends_and_comes_back() {
    let camera = camera(SDP_H264.to_owned(), picture(1, 0, &IDR));
    let quick = Options { silent_after: Duration::from_millis(50), ..options() };
    let (supervisor, calls) = record(&camera, quick);
    for _ in 0..2 {
        assert!(matches!(calls.next(), Call::Begin(..)));
        assert!(matches!(calls.next(), Call::Video(..)));
        assert!(calls.next().ends(&Reason::SILENT));
    }
    assert!(supervisor.status()[0].reconnects.iter().any(|(r, n)| *r == Reason::SILENT && *n >= 2));
}

#[test]
fn a_camera_that_hangs_up_is_disconnected() {
    let camera = Camera::new(|r| {
        let media = picture(1, 0, &IDR);
        Answer { hang_up: r.method == "PLAY", ..good(r, SDP_H264, &media) }
    });
    let (_supervisor, calls) = record(&camera, options());
    calls.until(|c| matches!(c, Call::Video(..)));
    assert!(calls.next().ends(&Reason::DISCONNECTED));
    assert!(matches!(calls.next(), Call::Begin(..)));
}

#[test]
fn lost_packets_are_counted() {
    let media = [picture(1, 0, &IDR), picture(5, 6_000, &SLICE)].concat();
    let camera = camera(SDP_H264.to_owned(), media);
    let (supervisor, calls) = record(&camera, options());
    calls.until(|c| matches!(c, Call::Video(pts, _) if *pts == 6_000));
    assert_eq!(supervisor.status()[0].lost_packets, 3);
}

#[test]
fn packets_that_make_no_sense_cost_their_picture_and_not_the_session() {
    let media = [
        picture(1, 0, &IDR),
        // Forbidden bit; the middle of a fragment that never began; an aggregate that is cut; the
        // reserved type 30; nothing at all.
        picture(2, 6_000, &[0xff; 40]),
        picture(3, 12_000, &[0x7c, 0x05, 1, 2, 3]),
        picture(4, 18_000, &[0x78, 0xff, 0xff, 1]),
        picture(5, 24_000, &[0x7e, 1, 2]),
        picture(6, 30_000, &[]),
        picture(7, 36_000, &SLICE),
    ]
    .concat();
    let camera = camera(SDP_H264.to_owned(), media);
    let (supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert_eq!(calls.next(), Call::Video(0, sample(&[&IDR])));
    assert_eq!(calls.next(), Call::Video(36_000, sample(&[&SLICE])));
    assert_eq!(supervisor.status()[0].lost_packets, 5);
    assert_eq!(camera.connections(), 1);
}

#[test]
fn a_camera_that_sends_nothing_but_garbage_is_left() {
    let garbage: Vec<u8> = (0..5000).flat_map(|n| picture(n + 2, 6_000, &[0xff; 40])).collect();
    let media = [picture(1, 0, &IDR), garbage].concat();
    let camera = camera(SDP_H264.to_owned(), media);
    let (supervisor, calls) = record(&camera, options());
    let ended = calls.until(|c| matches!(c, Call::End(..)));
    assert!(ended.ends(&Reason::PROTOCOL_ERROR), "{ended:?}");
    // It is tried again, and does the same.
    assert!(supervisor.status()[0].lost_packets >= 4096);
}

#[test]
fn parameter_sets_that_come_in_the_stream_only() {
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
               a=rtpmap:96 H264/90000\r\na=control:video\r\n";
    let media = [
        picture(1, 0, &SLICE),
        picture(2, 6_000, &stap_a(&[&SPS, &PPS, &IDR])),
        picture(3, 12_000, &SLICE),
    ]
    .concat();
    let camera = camera(sdp.to_owned(), media);
    let (_supervisor, calls) = record(&camera, options());
    let Call::Begin(video, None) = calls.next() else { panic!("`begin` is due") };
    assert_eq!((video.width, video.height), (320, 240));
    assert_eq!(calls.next(), Call::Video(6_000, sample(&[&IDR])));
    assert_eq!(calls.next(), Call::Video(12_000, sample(&[&SLICE])));
}

#[test]
fn a_picture_of_65520_by_65520_pixels_is_refused() {
    const HUGE: &[u8] = &[0x67, 0x42, 0xc0, 0x3e, 0xed, 0x00, 0x07, 0xff, 0x80, 0x0f, 0xff, 0xc8];
    let camera = camera(
        SDP_H264.to_owned(),
        [picture(1, 0, &IDR), picture(2, 6_000, &stap_a(&[HUGE, &PPS, &IDR]))].concat(),
    );
    let (supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(video, _) if video.width == 320));
    assert!(matches!(calls.next(), Call::Video(0, _)));
    let Call::End(reason, detail) = calls.next() else { panic!("`end` is due") };
    assert_eq!(reason, Reason::CODEC_NOT_SUPPORTED);
    assert!(detail.contains("65520 × 65520 pixels"), "{detail}");
    assert!(supervisor.status()[0].reconnects.contains(&(Reason::CODEC_NOT_SUPPORTED, 1)));
}

#[test]
fn a_flood_is_taken_and_others_are_not_held_up() {
    // A second of 500 Mbit/s as fast as the network gives it, again and again.
    let big = [&[0x41][..], &vec![7; 60_000]].concat();
    let flood: Vec<u8> = (2..1042).flat_map(|n| picture(n, u32::from(n) * 90, &big)).collect();
    let bytes = flood.len();
    let flooding = camera(SDP_H264.to_owned(), [picture(1, 0, &IDR), flood].concat());
    let other =
        camera(SDP_H264.to_owned(), [picture(1, 0, &IDR), picture(2, 6_000, &SLICE)].concat());
    let supervisor = supervisor(options());
    let (sink, flooded) = recorder();
    supervisor.add(stream(1), &flooding.url(""), sink).unwrap();
    assert!(matches!(flooded.next(), Call::Begin(..)));
    let (sink, calls) = recorder();
    supervisor.add(stream(2), &other.url(""), sink).unwrap();
    assert!(matches!(calls.next(), Call::Begin(..)));
    calls.until(|c| matches!(c, Call::Video(6_000, _)));
    flooded.until(|c| matches!(c, Call::Video(pts, _) if *pts == 1041 * 90));
    let status = supervisor.status().into_iter().find(|s| s.id == stream(1)).unwrap();
    assert!(status.bytes as usize > bytes * 99 / 100, "{}", status.bytes);
    assert_eq!(status.lost_packets, 0);
}

/// As [`picture`], but without the marker bit.
fn unmarked(sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = rtp(96, sequence, timestamp, payload);
    packet[1] &= 0x7f;
    interleaved(0, &packet)
}

#[test]
fn a_marker_bit_that_is_never_set_or_set_too_soon() {
    let late: &[u8] = &[0x65, 0x20, 1];
    let media = [
        // Never: the next picture's time ends a picture.
        unmarked(1, 0, &IDR),
        unmarked(2, 0, late),
        unmarked(3, 6_000, &SLICE),
        // After each slice, and after the SEI and parameter sets before the first.
        picture(4, 12_000, &SEI),
        picture(5, 12_000, &SPS),
        picture(6, 12_000, &PPS),
        picture(7, 12_000, &IDR),
        picture(8, 12_000, late),
    ]
    .concat();
    let camera = camera(SDP_H264.to_owned(), media);
    let (_supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert_eq!(calls.next(), Call::Video(0, sample(&[&IDR, late])));
    assert_eq!(calls.next(), Call::Video(6_000, sample(&[&SLICE])));
    // The muxer puts these together again.
    assert_eq!(calls.next(), Call::Video(12_000, sample(&[&SEI, &IDR])));
    assert_eq!(calls.next(), Call::Video(12_000, sample(&[late])));
}

#[test]
fn a_marker_bit_of_h265_that_is_never_set_or_set_too_soon() {
    // The picture's first slice says so with a bit (first_slice_segment_in_pic_flag).
    let (first, late) = ([0x26, 0x01, 0xaf, 0x11], [0x26, 0x01, 0x2f, 0x22]);
    let slice = [0x02, 0x01, 0xd0, 0x33];
    let (delimiter, before, behind) =
        ([35 << 1, 1, 0x50], [39 << 1, 1, 5, 1, 9, 0x80], [40 << 1, 1, 5, 1, 7, 0x80]);
    let [vps, sps, pps] = H265_SETS;
    let media = [
        unmarked(1, 0, vps),
        unmarked(2, 0, sps),
        unmarked(3, 0, pps),
        unmarked(4, 0, &first),
        unmarked(5, 0, &late),
        unmarked(6, 6_000, &slice),
        picture(7, 12_000, &delimiter),
        picture(8, 12_000, vps),
        picture(9, 12_000, sps),
        picture(10, 12_000, pps),
        picture(11, 12_000, &before),
        picture(12, 12_000, &first),
        picture(13, 12_000, &late),
        picture(14, 12_000, &behind),
        picture(15, 18_000, &slice),
    ]
    .concat();
    let camera = camera(SDP_H265.to_owned(), media);
    let (_supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert_eq!(calls.next(), Call::Video(0, sample(&[&first, &late])));
    assert_eq!(calls.next(), Call::Video(6_000, sample(&[&slice])));
    // The muxer puts these together again.
    assert_eq!(calls.next(), Call::Video(12_000, sample(&[&delimiter, &before, &first])));
    assert_eq!(calls.next(), Call::Video(12_000, sample(&[&late])));
    assert_eq!(calls.next(), Call::Video(12_000, sample(&[&behind])));
    assert_eq!(calls.next(), Call::Video(18_000, sample(&[&slice])));
}

/// A keyframe of so many bytes in fragments (FU-A, RFC 6184, section 5.8), and its NAL unit.
fn fragmented(
    first: u16,
    timestamp: u32,
    len: usize,
    fill: u8,
    marked: bool,
) -> (Vec<u8>, Vec<u8>) {
    let unit = [&[0x65][..], &vec![fill; len]].concat();
    let pieces: Vec<&[u8]> = unit[1..].chunks(1400).collect();
    let packets = (first..).zip(&pieces).enumerate().map(|(n, (sequence, piece))| {
        let last = n + 1 == pieces.len();
        let bits = if n == 0 { 0x80 } else { 0 } | if last { 0x40 } else { 0 };
        let mut packet = rtp(96, sequence, timestamp, &[&[0x7c, 0x05 | bits][..], piece].concat());
        if !(marked && last) {
            packet[1] &= 0x7f;
        }
        interleaved(0, &packet)
    });
    (packets.flatten().collect(), unit)
}

#[test]
fn cameras_that_share_buffers_do_not_share_pictures() {
    // Larger than what is read at once, so that cameras are read in turn in the middle of pictures. Every
    // other camera sets no marker bit: what it has is still waiting when the next picture begins.
    const CAMERAS: u8 = 6;
    const PICTURES: u8 = 20;
    let scene = |camera: u8| {
        let mut sequence = 1;
        (0..PICTURES).map(move |n| {
            let (len, fill) = (90_000 + 7_000 * usize::from(camera), 16 * camera + n % 16 + 1);
            let packets =
                fragmented(sequence, 6_000 * u32::from(n), len, fill, camera.is_multiple_of(2));
            sequence += u16::try_from(len.div_ceil(1400)).unwrap();
            packets
        })
    };
    let cameras: Vec<Camera> = (0..CAMERAS)
        .map(|c| camera(SDP_H264.to_owned(), scene(c).flat_map(|(media, _)| media).collect()))
        .collect();
    let supervisor = supervisor(options());
    let started: Vec<Calls> = (1..)
        .zip(&cameras)
        .map(|(n, camera)| {
            let (sink, calls) = recorder();
            supervisor.add(stream(n), &camera.url(""), sink).unwrap();
            calls
        })
        .collect();
    for (camera, calls) in (0..CAMERAS).zip(started) {
        assert!(matches!(calls.next(), Call::Begin(..)));
        // The last picture of a camera without marker bits never ends.
        let whole = usize::from(PICTURES) - usize::from(camera % 2);
        for (n, (_, unit)) in scene(camera).take(whole).enumerate() {
            let Call::Video(pts, data) = calls.next() else { panic!("a picture is due") };
            assert_eq!(pts, 6_000 * i64::try_from(n).unwrap());
            assert!(data == sample(&[&unit]), "picture {n} of camera {camera} is another's");
        }
    }
}

#[test]
fn a_picture_that_never_ends_ends_the_session() {
    // 33 MiB of one picture.
    let endless: Vec<u8> = (2..602)
        .flat_map(|n| {
            let mut packet = rtp(96, n, 6_000, &[&[0x41][..], &vec![7; 60_000]].concat());
            packet[1] &= 0x7f;
            interleaved(0, &packet)
        })
        .collect();
    let camera = camera(SDP_H264.to_owned(), [picture(1, 0, &IDR), endless].concat());
    let (_supervisor, calls) = record(&camera, options());
    let Call::End(reason, detail) = calls.until(|c| matches!(c, Call::End(..))) else {
        unreachable!()
    };
    assert_eq!(reason, Reason::PROTOCOL_ERROR);
    assert!(detail.contains("33554432 bytes"), "{detail}");
}

#[test]
fn sei_behind_the_slices_stays_there() {
    // Prefix and suffix SEI, and slices (H.265, table 7-1).
    let (before, behind) = ([39 << 1, 1, 5, 1, 9, 0x80], [40 << 1, 1, 5, 1, 7, 0x80]);
    let (first, last) = ([0x26, 0x01, 0xaf, 0x11], [0x02, 0x01, 0xd0, 0x22]);
    let [vps, sps, pps] = H265_SETS;
    let units: [&[u8]; 9] = [vps, sps, pps, &before, &first, &behind, &before, &last, &behind];
    let media: Vec<u8> = (1..)
        .zip(units)
        .flat_map(|(n, unit)| {
            let mut packet = rtp(96, n, if n <= 6 { 0 } else { 6_000 }, unit);
            if n != 6 && n != 9 {
                packet[1] &= 0x7f; // the marker is the picture's last packet's
            }
            interleaved(0, &packet)
        })
        .collect();
    let camera = camera(SDP_H265.to_owned(), media);
    let (_supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert_eq!(calls.next(), Call::Video(0, sample(&[&before, &first, &behind])));
    assert_eq!(calls.next(), Call::Video(6_000, sample(&[&before, &last, &behind])));
}

#[test]
fn another_codec_after_a_reconnect() {
    let (first, last) = ([0x26, 0x01, 0xaf, 0x11], [0x02, 0x01, 0xd0, 0x22]);
    let media = [H265_SETS[0], H265_SETS[1], H265_SETS[2], &first, &last]
        .into_iter()
        .zip([(1, 0), (2, 0), (3, 0), (4, 0), (5, 6_000)])
        .flat_map(|(nal, (sequence, timestamp))| picture(sequence, timestamp, nal))
        .collect::<Vec<u8>>();
    let camera = Camera::new(move |r| {
        let h264 = picture(1, 0, &IDR);
        match r.connection {
            0 => Answer { hang_up: r.method == "PLAY", ..good(r, SDP_H264, &h264) },
            _ => good(r, SDP_H265, &media),
        }
    });
    let (supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(video, _) if video.codec == VideoCodec::H264));
    assert!(matches!(calls.next(), Call::Video(..)));
    assert!(calls.next().ends(&Reason::DISCONNECTED));
    let Call::Begin(video, _) = calls.next() else { panic!("`begin` is due") };
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H265, 322, 182));
    assert_eq!(calls.next(), Call::Video(0, sample(&[&first])));
    assert_eq!(calls.next(), Call::Video(6_000, sample(&[&last])));
    assert!(supervisor.status()[0].video_codec.starts_with("hvc1."));
}

#[test]
fn replacing_ends_the_old_before_the_new_begins() {
    let camera = camera(SDP_H264.to_owned(), picture(1, 0, &IDR));
    let (supervisor, old) = record(&camera, options());
    old.until(|c| matches!(c, Call::Video(..)));
    let (sink, new) = recorder();
    supervisor.add(stream(1), &camera.url(""), sink).unwrap();
    // `add` has returned: everything that the old sink will ever hear, it has heard.
    let rest = old.rest();
    assert!(rest.len() == 2 && rest[0].ends(&Reason::DISCONNECTED), "{rest:?}");
    new.until(|c| matches!(c, Call::Video(..)));
    let status = supervisor.status();
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].frames, 2, "counters go on");
}

#[test]
fn shutdown_ends_all_and_takes_no_more() {
    let camera = camera(SDP_H264.to_owned(), picture(1, 0, &IDR));
    let supervisor = supervisor(options());
    let all: Vec<_> = (0..10)
        .map(|n| {
            let (sink, calls) = recorder();
            supervisor.add(stream(n), &camera.url(""), sink).unwrap();
            calls.until(|c| matches!(c, Call::Video(..)));
            calls
        })
        .collect();
    supervisor.shutdown(Reason::RECORDER_STOPPED);
    for calls in all {
        let end = Call::End(Reason::RECORDER_STOPPED, String::new());
        assert_eq!(calls.rest(), [end, Call::Dropped]);
    }
    let (sink, _calls) = recorder();
    assert!(matches!(supervisor.add(stream(1), &camera.url(""), sink), Err(Error::Closed(_))));
    assert!(supervisor.status().is_empty());
    supervisor.shutdown(Reason::RECORDER_STOPPED);
}

#[test]
fn probe_is_content_with_one_picture() {
    let camera = camera(SDP_H264.to_owned(), picture(1, 0, &IDR));
    probe(&camera.url(""), HANG, &[]).unwrap();
}

/// A sink with a defect: it panics at the first picture.
struct Defective(Box<common::Recorder>, bool);

impl MediaSink for Defective {
    fn begin(&mut self, now: Moment, video: VideoParams, audio: Option<AudioParams>) {
        self.0.begin(now, video, audio);
    }
    fn video_params(&mut self, video: VideoParams) {
        self.0.video_params(video);
    }
    fn video(&mut self, unit: AccessUnit) {
        assert!(std::mem::replace(&mut self.1, true), "a panic that the test wants");
        self.0.video(unit);
    }
    fn audio(&mut self, frame: AudioFrame) {
        self.0.audio(frame);
    }
    fn camera_clock_offset(&mut self, offset_us: i64) {
        self.0.camera_clock_offset(offset_us);
    }
    fn end(&mut self, now: Moment, reason: Reason, detail: &str) {
        self.0.end(now, reason, detail);
    }
    fn down(&mut self, now: Moment, reason: Reason, detail: &str) {
        self.0.down(now, reason, detail);
    }
}

/// Records from its third picture on.
struct Choosy(Box<common::Recorder>, u32);

impl MediaSink for Choosy {
    fn begin(&mut self, now: Moment, video: VideoParams, audio: Option<AudioParams>) {
        self.0.begin(now, video, audio);
    }
    fn video_params(&mut self, video: VideoParams) {
        self.0.video_params(video);
    }
    fn video(&mut self, unit: AccessUnit) {
        self.1 += 1;
        self.0.video(unit);
    }
    fn not_recorded(&self) -> Option<Reason> {
        (self.1 < 3).then_some(Reason::NO_KEYFRAME)
    }
    fn audio(&mut self, frame: AudioFrame) {
        self.0.audio(frame);
    }
    fn camera_clock_offset(&mut self, offset_us: i64) {
        self.0.camera_clock_offset(offset_us);
    }
    fn end(&mut self, now: Moment, reason: Reason, detail: &str) {
        self.0.end(now, reason, detail);
    }
    fn down(&mut self, now: Moment, reason: Reason, detail: &str) {
        self.0.down(now, reason, detail);
    }
}

#[test]
fn what_is_not_recorded_is_not_said_to_be() {
    let pictures = |count: u16| {
        let packets = (0..count).map(|n| picture(n + 1, u32::from(n) * 3000, &IDR));
        packets.collect::<Vec<_>>().concat()
    };
    for (count, expected) in
        [(2, (State::Connecting, Some(Reason::NO_KEYFRAME))), (3, (State::Recording, None))]
    {
        let camera = camera(SDP_H264.to_owned(), pictures(count));
        let supervisor = supervisor(options());
        let (sink, calls) = recorder();
        supervisor.add(stream(1), &camera.url(""), Box::new(Choosy(sink, 0))).unwrap();
        for _ in 0..count {
            calls.until(|call| matches!(call, Call::Video(..)));
        }
        until_state(&supervisor, expected);
    }
}

#[test]
fn a_panic_ends_the_session_and_nothing_else() {
    let camera = camera(SDP_H264.to_owned(), picture(1, 0, &IDR));
    let supervisor = supervisor(options());
    let (sink, calls) = recorder();
    supervisor.add(stream(1), &camera.url(""), Box::new(Defective(sink, false))).unwrap();
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert!(calls.next().ends(&Reason::PROTOCOL_ERROR));
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert!(matches!(calls.next(), Call::Video(..)));
}
