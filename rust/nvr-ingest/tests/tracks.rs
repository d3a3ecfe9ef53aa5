//! Tracks that the library does not put together: ONVIF metadata and Opus.

#![allow(clippy::unwrap_used)]

mod common;

use std::iter;
use std::sync::Arc;

use common::{
    Call, Calls, Camera, HANG, PPS, SDP_AAC, SDP_H264, SDP_METADATA, SDP_OPUS, SPS, aac, good,
    interleaved, options, recorder, rtp, stap_a, stream, wait_for,
};
use nvr_core::Error;
use nvr_core::media::{AudioCodec, MetadataCoding};
use nvr_core::time::SystemClock;
use nvr_ingest::{State, Supervisor, probe};

const IDR: [u8; 4] = [0x65, 0xaa, 0xbb, 0xcc];
const MARK: u8 = 0x80;

/// A camera that sends this after PLAY and then nothing, and its recording.
fn record(sdp: String, media: Vec<u8>, asked: &str) -> (Supervisor, Calls, Camera) {
    let camera = Camera::new(move |r| good(r, &sdp, &media));
    let supervisor = Supervisor::new(Arc::new(SystemClock::default()), options()).unwrap();
    let (sink, calls) = recorder();
    supervisor.add(stream(1), &format!("{}{asked}", camera.url("")), sink).unwrap();
    (supervisor, calls, camera)
}

fn picture(sequence: u16, timestamp: u32) -> Vec<u8> {
    interleaved(0, &rtp(96, sequence, timestamp, &stap_a(&[&SPS, &PPS, &IDR])))
}

/// A packet of metadata on the last channel pair.
fn metadata(channel: u8, sequence: u16, timestamp: u32, mark: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = rtp(107, sequence, timestamp, payload);
    packet[1] = 107 | if mark { MARK } else { 0 };
    interleaved(channel, &packet)
}

fn setups(camera: &Camera) -> usize {
    camera.requests.lock().unwrap().iter().filter(|r| r.starts_with("SETUP")).count()
}

#[test]
fn metadata_comes_document_by_document_beside_pictures_and_sound() {
    let media = [
        picture(1, 0),
        metadata(4, 1, 500, false, b"<tt:Metadata"),
        interleaved(2, &rtp(97, 1, 0, &aac(b"sound"))),
        metadata(4, 2, 500, true, b"Stream/>"),
        picture(2, 6_000),
        // Two of the same instant.
        metadata(4, 3, 6_500, true, b"<a/>"),
        metadata(4, 4, 6_500, true, b"<b/>"),
        picture(3, 12_000),
    ]
    .concat();
    let sdp = format!("{SDP_H264}{SDP_AAC}{SDP_METADATA}");
    let (supervisor, calls, camera) = record(sdp, media, "#metadata");
    let Call::Begin(video, Some(audio)) = calls.next() else { panic!("`begin` is first") };
    assert_eq!((video.width, audio.codec), (320, AudioCodec::Aac));
    assert_eq!(calls.next(), Call::BeginMetadata(MetadataCoding::Xml));
    let found: Vec<Call> = (0..7).map(|_| calls.next()).collect();
    let words: Vec<&[u8]> = found
        .iter()
        .map(|call| match call {
            Call::Video(..) => b"picture",
            Call::Audio(_, 1_024, data) | Call::Metadata(data) => &data[..],
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: [&[u8]; 7] =
        [b"picture", b"sound", b"<tt:MetadataStream/>", b"picture", b"<a/>", b"<b/>", b"picture"];
    assert_eq!(words, expected);
    wait_for("recording", || supervisor.status()[0].state == State::Recording);
    assert_eq!(supervisor.status()[0].detail, "");
    assert_eq!(setups(&camera), 3);
    // A server is never told what is asked of the recorder.
    assert!(camera.requests.lock().unwrap().iter().all(|r| !r.contains("#metadata")));
}

#[test]
fn metadata_is_not_asked_for_unless_it_is_wanted() {
    let sdp = format!("{SDP_H264}{SDP_METADATA}");
    let (supervisor, calls, camera) = record(sdp, picture(1, 0), "");
    assert!(matches!(calls.next(), Call::Begin(_, None)));
    assert!(matches!(calls.next(), Call::Video(..)));
    assert_eq!(setups(&camera), 1);
    assert_eq!(supervisor.status().remove(0).detail, "");
}

#[test]
fn a_camera_without_the_metadata_that_is_wanted_is_recorded_and_says_so() {
    let (supervisor, calls, _camera) = record(SDP_H264.to_owned(), picture(1, 0), "#metadata");
    assert!(matches!(calls.next(), Call::Begin(_, None)));
    assert!(matches!(calls.next(), Call::Video(..)));
    // It follows what the sink is told.
    wait_for("recording", || supervisor.status()[0].state == State::Recording);
    let status = supervisor.status().remove(0);
    assert!(status.detail.contains("ONVIF metadata (the camera offers none)"), "{}", status.detail);
}

#[test]
fn a_document_without_end_costs_itself_and_no_memory() {
    let mut media = picture(1, 0);
    let much = [b'x'; 60_000];
    for n in 0..200 {
        media.extend(metadata(2, n, 500, false, &much));
    }
    media.extend(metadata(2, 200, 7_000, true, b"<next/>"));
    media.extend(picture(2, 6_000));
    let sdp = format!("{SDP_H264}{SDP_METADATA}");
    let (supervisor, calls, _camera) = record(sdp, media, "#metadata");
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert!(matches!(calls.next(), Call::BeginMetadata(_)));
    assert!(matches!(calls.next(), Call::Video(..)));
    // That something was lost is told at a tick, whenever that is.
    let next = || iter::repeat_with(|| calls.next()).find(|c| !matches!(c, Call::PacketsLost(_)));
    // None of the 12 MB was kept.
    assert_eq!(next(), Some(Call::Metadata(b"<next/>".to_vec())));
    assert!(matches!(next(), Some(Call::Video(..))));
    assert_eq!(supervisor.status().remove(0).lost_packets, 1);
}

#[test]
fn coded_metadata_is_named() {
    for (name, coding) in [("gzip", MetadataCoding::Gzip), ("exi.onvif", MetadataCoding::Exi)] {
        let track = SDP_METADATA.replace("metadata/", &format!("metadata.{name}/"));
        let media = [picture(1, 0), metadata(2, 1, 500, true, b"\x1f\x8b")].concat();
        let (_supervisor, calls, _camera) =
            record(format!("{SDP_H264}{track}"), media, "#metadata");
        assert!(matches!(calls.next(), Call::Begin(..)));
        assert_eq!(calls.next(), Call::BeginMetadata(coding));
    }
}

#[test]
fn opus_is_recorded_packet_by_packet() {
    // 20 ms of CELT, stereo; two frames of it; garbage.
    let (one, two, none) = ([0xfc, 1, 2], [0xfd, 3, 4, 5], [0xff]);
    let media = [
        picture(1, 0),
        interleaved(2, &rtp(98, 1, 960, &one)),
        interleaved(2, &rtp(98, 2, 1_920, &none)),
        interleaved(2, &rtp(98, 3, 2_880, &two)),
        picture(2, 6_000),
    ]
    .concat();
    let (supervisor, calls, _camera) = record(format!("{SDP_H264}{SDP_OPUS}"), media, "");
    let Call::Begin(video, Some(audio)) = calls.next() else { panic!("`begin` is first") };
    // Of the description: the library's depacketizer is given it apart.
    assert_eq!(video.width, 320);
    assert_eq!((audio.codec, audio.sample_rate, audio.channels), (AudioCodec::Opus, 48_000, 2));
    assert!(matches!(calls.next(), Call::Video(..)));
    assert_eq!(calls.next(), Call::Audio(960, 960, one.to_vec()));
    assert_eq!(calls.next(), Call::Audio(2_880, 1_920, two.to_vec()));
    assert!(matches!(calls.next(), Call::Video(..)));
    let status = supervisor.status().remove(0);
    assert_eq!((status.audio_codec.as_str(), status.detail.as_str()), ("opus", ""));
    assert_eq!(status.lost_packets, 1);
}

#[test]
fn other_words_after_the_sign_are_refused() {
    let supervisor = Supervisor::new(Arc::new(SystemClock::default()), options()).unwrap();
    for url in ["rtsp://u:p@127.0.0.1/live#secret", "http://127.0.0.1/live.ts#metadata"] {
        let (sink, _calls) = recorder();
        let error = supervisor.add(stream(1), url, sink).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(text) if text.contains("%23") && !text.contains("secret"))
        );
    }
    assert!(probe("rtsp://127.0.0.1/live#x", HANG, &[]).is_err());
}
