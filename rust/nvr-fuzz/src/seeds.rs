//! Seeds of the corpus, made by our own writers: what a fuzzer begins with.

use std::io;
use std::path::Path;

use bytes::Bytes;
use nvr_core::codec::record_from_annex_b;
use nvr_core::fs::RealFs;
use nvr_core::ids::RunId;
use nvr_core::index::{IndexWriter, Record};
use nvr_core::media::{AudioCodec, AudioParams, MetadataCoding, VideoCodec, VideoParams};
use nvr_core::reason::Reason;
use nvr_core::segment::footer::write_footer;
use nvr_core::segment::fragment::{FragmentParts, parse_fragment, write_fragment};
use nvr_core::segment::head::SegmentHead;
use nvr_core::segment::scan::place;
use nvr_core::store::events::{Event, EventLog};
use nvr_core::table::{FragmentEntry, Sample, TrackRun};

use crate::targets::copy::stream;

/// Target, name, bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// 2026-11-23 14:05:00 UTC.
pub const T0: i64 = 1_795_442_700_000_000;

/// Of all targets.
///
/// # Errors
/// There is no room for a file in the folder for temporary ones.
pub fn all() -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| seeds.push((target, name.to_owned(), bytes));
    for (name, codec, sound) in [
        ("h264", VideoCodec::H264, false),
        ("h264-aac", VideoCodec::H264, true),
        ("h265", VideoCodec::H265, false),
        ("h265-aac-metadata", VideoCodec::H265, true),
        ("jpeg", VideoCodec::Jpeg, false),
    ] {
        let (bytes, footer_len) = segment(codec, sound);
        let open = &bytes[..bytes.len() - footer_len];
        for (target, kind, content) in [
            ("segment", "sealed", &bytes[..]),
            ("segment", "open", open),
            ("segment", "torn", &open[..open.len() - 30]),
            ("copy", "whole", open),
        ] {
            // As it is, and with checksums made right whatever becomes of it.
            for how in [0, 1] {
                add(target, &format!("{name}-{kind}-{how}"), with(how, content));
            }
        }
    }
    for (name, codec) in [("h264", VideoCodec::H264), ("h265", VideoCodec::H265)] {
        let how = u8::from(codec == VideoCodec::H265);
        let record = params(codec, false).extra_data;
        add("media_in", &format!("{name}-record"), with(how, &record));
        add("media_in", &format!("{name}-annex-b"), with(how, &annex_b(codec, false)));
        let unit = unit(codec, true, 300);
        add("media_in", &format!("{name}-unit"), with(how, &unit));
        let mut sent = (record.len() as u16).to_be_bytes().to_vec();
        sent.extend(record.iter().chain(&unit));
        add("media_out", name, with(how, &sent));
    }
    add("media_in", "aac", with(0, &[0x14, 0x08]));
    let mut index = with(1, &T0.to_le_bytes());
    index.extend(index_file()?);
    add("index", "three-records", index);
    add("events", "all-kinds", with(1, &event_log()?));
    add("address", "login", b"rtsp://admin:hunter2%40x@camera:554/main\nbad login hunter2@x for rtsp://admin:hunter2%40x@camera/".to_vec());
    add(
        "address",
        "query",
        b"rtsp://10.0.0.7/user=admin&password=secret77&channel=1\nsaid password=secret77&x"
            .to_vec(),
    );
    add(
        "grpc_frames",
        "three",
        with(7, &[&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0; 5], &[0, 0, 0, 0, 1, 9]].concat()),
    );
    add(
        "grpc_trailers",
        "problem",
        b"grpc-status:5\ngrpc-message:kh%C3%B4ng\nnvr-problem-bin:AQID".to_vec(),
    );
    add("muxer", "both", MUXER.concat());
    add("source", "all-kinds", source_messages());
    for (name, sdp) in [("h264", format!("{SDP_H264}{SDP_PCMU}")), ("h265", SDP_H265.to_owned())] {
        let sdp = sdp.into_bytes();
        add("camera_sdp", name, [&(sdp.len() as u16).to_be_bytes()[..], &sdp].concat());
    }
    for (name, how) in [("h264-aac", 2), ("h265-pcmu", 5)] {
        add("camera_rtp", name, with(how, &rtp_packets(how & 1 == 1)));
    }
    for (name, answer) in CAMERA_ANSWERS {
        add("camera_answers", name, answer.replace('\n', "\r\n").into_bytes());
    }
    let (sealed, _) = segment(VideoCodec::H264, true);
    for how in [0, 1, 3, 5, 9] {
        let mut all = (sealed.len() as u16).to_be_bytes().to_vec();
        all.extend(&sealed);
        let index = index_file()?;
        all.extend((index.len() as u16).to_be_bytes());
        all.extend(index);
        all.extend(event_log()?);
        add("store", &format!("sealed-{how}"), with(how, &all));
    }
    for (name, requests) in RTSP {
        add("rtsp_server", name, requests.replace('\n', "\r\n").into_bytes());
    }
    Ok(seeds)
}

/// What cameras say of themselves: H.264 by x264, H.265 by x265, both of 320×240 and so.
pub const SDP_H264: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LADNkBQfsBEAAAAwAQAAADAeDxQqSA,aMuDyyA=\r\n\
    a=control:video\r\n";
/// H.265, parameter sets in the stream only.
pub const SDP_H265: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=control:video\r\n";
/// AAC.
pub const SDP_AAC: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/1\r\n\
    a=fmtp:97 streamtype=5;mode=AAC-hbr;config=1188;sizelength=13;indexlength=3;indexdeltalength=3\r\n\
    a=control:audio\r\n";
/// G.711.
pub const SDP_PCMU: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMU/8000\r\na=control:audio\r\n";

/// Steps of [`crate::targets::muxer`]: B-frames and AAC; pictures, sound, a clock that is set, other
/// parameters, a new session.
const MUXER: &[&[u8]] = &[
    &[2 | 4],
    &[0x10, 0, 40, 9, 3, 1, 40, 9, 3, 255, 40, 9, 7, 5, 0, 8],
    &[0x90, 0, 10, 9, 0, 0, 40, 9, 0x90, 0, 20, 9, 32, 0, 0, 0],
    &[11, 1, 0, 0, 0x10, 0, 40, 9, 9, 1, 0, 0, 0x10, 0, 40, 9, 5, 9, 40, 9],
    &[13, 1, 0, 0, 14, 0, 0, 0, 0x10, 0, 40, 9, 15, 0, 0, 0, 0x10, 0, 40, 9, 10, 0, 0, 0],
];

/// Instead of what a camera says to OPTIONS or DESCRIBE.
const CAMERA_ANSWERS: &[(&str, &str)] = &[
    (
        "digest",
        "RTSP/1.0 401 Unauthorized\nCSeq: 1\n\
         WWW-Authenticate: Digest realm=\"c\", nonce=\"n\", qop=\"auth\"\n\n",
    ),
    ("moved", "RTSP/1.0 302 Moved\nCSeq: 1\nLocation: rtsp://127.0.0.1:1/x\n\n"),
    (
        "sdp",
        "RTSP/1.0 200 OK\nCSeq: 1\nContent-Type: application/sdp\nContent-Length: 9\n\nv=0\ns=x\n",
    ),
    ("request", "OPTIONS * RTSP/1.0\nCSeq: 1\n\n$\0\0\u{4}abcd"),
];

/// Messages of a source's process (`nvr-ingest`, module `source::wire`).
fn source_messages() -> Vec<u8> {
    let mut out = Vec::new();
    let mut message = |kind: u8, content: &[u8]| {
        out.push(kind);
        out.extend((content.len() as u32).to_be_bytes());
        out.extend(content);
    };
    let video = |other: &str| {
        format!(r#"{{"codec": "h264", "parameter_sets": ["{other}", "68cb83cb20"]}}"#)
    };
    let sps = "6742c00bd901519e226c0440000003004000000503c50a92";
    let audio = r#"{"extra_data": "1408", "sample_rate": 16000, "channels": 1}"#;
    let begin = format!(r#"{{"video": {}, "audio": {audio}, "left_out": "x"}}"#, video(sps));
    message(b'B', begin.as_bytes());
    for (n, random_access) in [(0i64, true), (1, false), (25, true)] {
        let data = unit(VideoCodec::H264, random_access, 20);
        message(b'V', &[&(n * 3600).to_be_bytes()[..], &data].concat());
    }
    message(b'A', &[&0i64.to_be_bytes()[..], &1024u32.to_be_bytes(), &[9; 8]].concat());
    message(b'P', video(sps).as_bytes());
    message(b'E', br#"{"reason": "refused", "detail": "no"}"#);
    out
}

/// Packets as [`crate::targets::camera`] takes them: parameter sets, pictures whole and in fragments,
/// sound, a sender report.
fn rtp_packets(h265: bool) -> Vec<u8> {
    let codec = if h265 { VideoCodec::H265 } else { VideoCodec::H264 };
    let mut out = Vec::new();
    let mut packet = |what: u8, passed: u8, content: &[u8]| {
        out.extend([what, passed, content.len() as u8]);
        out.extend(content);
    };
    let sets = annex_b(codec, false);
    let sets: Vec<&[u8]> = sets.split(|&b| b == 1).filter(|set| set.len() > 8).collect();
    for set in sets {
        packet(4, 0, set);
    }
    let (whole, fragments): (&[u8], [&[u8]; 2]) = if h265 {
        (&[19 << 1, 1, 0x80, 7], [&[49 << 1, 1, 0x80 | 1, 0x80], &[49 << 1, 1, 0x40 | 1, 9]])
    } else {
        (&[0x65, 0x88, 7], [&[0x5c, 0x80 | 1, 0x9a], &[0x5c, 0x40 | 1, 9]])
    };
    packet(0, 4, whole);
    packet(4, 4, fragments[0]);
    packet(0, 0, fragments[1]);
    let sound: &[u8] = if h265 { &[0x7f; 80] } else { &[0, 16, 0, 3 << 3, 1, 2, 3] };
    packet(2, 8, sound);
    let report = [0x80, 200, 0, 6, 1, 2, 3, 0, 0xee, 0, 0, 0, 0, 0, 0, 0];
    packet(1, 0, &[&report[..], &[0; 12]].concat());
    packet(0, 4, whole);
    out
}

/// The login is viewer:viewer.
const RTSP: &[(&str, &str)] = &[
    ("options", "OPTIONS * RTSP/1.0\nCSeq: 1\n\n"),
    (
        "play",
        "DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1\nAuthorization: Basic dmlld2VyOnZpZXdlcg==\n\n\
         SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 2\nAuthorization: Basic dmlld2VyOnZpZXdlcg==\n\
         Transport: RTP/AVP/TCP;unicast;interleaved=0-1\n\n\
         PLAY rtsp://h/cam RTSP/1.0\nCSeq: 3\nAuthorization: Basic dmlld2VyOnZpZXdlcg==\n\
         Range: clock=20261123T140500Z-20261123T140600Z\nScale: 2.0\n\n\
         GET_PARAMETER rtsp://h/cam RTSP/1.0\nCSeq: 4\nAuthorization: Basic dmlld2VyOnZpZXdlcg==\n\n",
    ),
    (
        "udp",
        "SETUP rtsp://h/cam/trackID=1 RTSP/1.0\nCSeq: 2\nAuthorization: Basic dmlld2VyOnZpZXdlcg==\n\
         Transport: RTP/AVP;unicast;client_port=5000-5001\n\n",
    ),
    (
        "digest",
        "DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1\nAuthorization: Digest username=\"viewer\", \
         realm=\"cameras\", nonce=\"x\", uri=\"rtsp://h/cam\", response=\"0\"\n\n$\u{0}\u{0}\u{4}abcd",
    ),
];

fn with(how: u8, rest: &[u8]) -> Vec<u8> {
    [&[how], rest].concat()
}

/// Parameter sets that x264 and x265 made of a picture of 322×182, in Annex B form.
/// `other`: others of the same size, H.264 with B-frames or H.265 in 10 bits with temporal layers.
fn annex_b(codec: VideoCodec, other: bool) -> Vec<u8> {
    let sets: &[&str] = match (codec, other) {
        (VideoCodec::H264, false) => {
            &["6742c00bd901519e226c0440000003004000000503c50a92", "68cb83cb20"]
        }
        (VideoCodec::H264, true) => {
            &["6764000cacd941519e226c0440000003004000000503c50a6580", "68ebe3cb22c0"]
        }
        (VideoCodec::H265, false) => &[H265_VPS, H265_SPS, H265_PPS],
        (VideoCodec::H265, true) => &[H265_VPS, H265_SPS_10, H265_PPS],
        (VideoCodec::Jpeg, _) => &[],
    };
    let mut out = Vec::new();
    for set in sets {
        out.extend([0, 0, 0, 1]);
        let digits = set.as_bytes().chunks(2).filter_map(|two| std::str::from_utf8(two).ok());
        out.extend(digits.filter_map(|two| u8::from_str_radix(two, 16).ok()));
    }
    out
}

const H265_VPS: &str = "40010c01ffff01600000030090000003000003003c959809";
const H265_SPS: &str =
    "42010101600000030090000003000003003ca00a480b9c9596566924caf0168080000003008000000504";
const H265_SPS_10: &str =
    "42010102200000030090000003000003003ca00a480b9c94d964a924caf0168080000003008000000504";
const H265_PPS: &str = "4401c172b46240";

/// Parameters of a picture of 322×182; `other`: some that differ.
pub fn params(codec: VideoCodec, other: bool) -> VideoParams {
    let sets = annex_b(codec, other);
    let extra_data = match codec {
        VideoCodec::Jpeg => Bytes::new(),
        _ => record_from_annex_b(codec, &sets).expect("right parameter sets"),
    };
    VideoParams { codec, extra_data, width: 322, height: 182 }
}

/// A slice that is not its picture's first, alone.
pub fn continued(codec: VideoCodec) -> Vec<u8> {
    let nal: &[u8] = match codec {
        VideoCodec::H264 => &[0x41, 0x20, 1],
        VideoCodec::H265 => &[1 << 1, 1, 0x40],
        VideoCodec::Jpeg => return Vec::new(),
    };
    [&[0, 0, 0, nal.len() as u8], nal].concat()
}

/// An access unit: a SEI, and a slice of so many bytes.
pub fn unit(codec: VideoCodec, random_access: bool, len: usize) -> Vec<u8> {
    let (sei, slice): (&[u8], &[u8]) = match (codec, random_access) {
        (VideoCodec::H264, true) => (&[6, 5, 1, 7, 0x80], &[0x65, 0x88]),
        (VideoCodec::H264, false) => (&[6, 5, 1, 7, 0x80], &[0x41, 0x9a]),
        (VideoCodec::H265, true) => (&[78, 1, 5, 1, 7, 0x80], &[19 << 1, 1, 0x80]),
        (VideoCodec::H265, false) => (&[78, 1, 5, 1, 7, 0x80], &[1 << 1, 1, 0x80]),
        (VideoCodec::Jpeg, _) => return [&[0xff, 0xd8, 0xff, 0xdb][..], &vec![7; len]].concat(),
    };
    let mut out = Vec::new();
    for nal in [sei.to_vec(), slice.iter().copied().chain((0..len).map(|i| i as u8)).collect()] {
        out.extend((nal.len() as u32).to_be_bytes());
        out.extend(nal);
    }
    out
}

/// Whether a segment has metadata: one kind of them.
fn has_metadata(codec: VideoCodec, sound: bool) -> bool {
    codec == VideoCodec::H265 && sound
}

/// A sealed segment of three fragments, and the length of its footer.
fn segment(codec: VideoCodec, sound: bool) -> (Vec<u8>, usize) {
    let head = SegmentHead {
        stream: stream(),
        run: RunId(uuid::Uuid::from_u128(0x0193_1283_1200_7a0e_8318_a855_53ea_d6d4)),
        epoch: 1,
        first_sequence: 0,
        wall_start_us: T0,
        base_90k: 900,
        start_pts_90k: 0,
        salt: [7; 16],
        video: params(codec, false),
        audio: sound.then(|| AudioParams {
            codec: AudioCodec::Aac,
            extra_data: Bytes::from_static(&[0x14, 0x08]),
            sample_rate: 16_000,
            channels: 1,
        }),
        metadata: has_metadata(codec, sound).then_some(MetadataCoding::Xml),
    };
    let mut out = head.to_bytes();
    let mut table = head.empty_table();
    for sequence in 0..3 {
        let (bytes, _) = fragment(codec, sequence, sound);
        let parsed = parse_fragment(&bytes).expect("a fragment of ours");
        let mut entry = parsed.entry;
        place(&table, &mut entry, out.len() as u32);
        table.fragments.push(entry);
        table.video_samples.extend(parsed.video_samples);
        table.audio_samples.extend(parsed.audio_samples);
        table.metadata_samples.extend(parsed.metadata_samples);
        out.extend(bytes);
    }
    let footer = write_footer(&head, &table);
    out.extend(&footer);
    (out, footer.len())
}

/// A segment without a footer, in two pieces: to the end of its first fragment, and its other two.
pub fn open_segment_in_two() -> [Vec<u8>; 2] {
    let (mut bytes, footer_len) = segment(VideoCodec::H264, false);
    bytes.truncate(bytes.len() - footer_len);
    let others = [1, 2].map(|sequence| fragment(VideoCodec::H264, sequence, false).0).concat();
    bytes.truncate(bytes.len() - others.len());
    [bytes, others]
}

fn fragment(codec: VideoCodec, sequence: u32, sound: bool) -> (Vec<u8>, FragmentEntry) {
    let random_access = sequence != 1;
    let data: Vec<Bytes> =
        (0..3).map(|i| unit(codec, random_access && i == 0, 20 + 10 * i).into()).collect();
    let sample = |i: usize, data: &Bytes| Sample {
        size: data.len() as u32,
        duration: 30_000,
        composition_offset: [0, 30_000, -30_000][i % 3],
        sync: random_access && i == 0,
    };
    let samples: Vec<_> = data.iter().enumerate().map(|(i, d)| sample(i, d)).collect();
    let sounds: Vec<Bytes> = (0..if sound { 4 } else { 0 }).map(|i| vec![i; 8].into()).collect();
    let sound_samples: Vec<_> = sounds
        .iter()
        .map(|d| Sample { size: d.len() as u32, duration: 1024, composition_offset: 0, sync: true })
        .collect();
    let at = u64::from(sequence);
    let audio = TrackRun { decode_time: at * 16_000, ..TrackRun::default() };
    let metadata = TrackRun { decode_time: at * 90_000, ..TrackRun::default() };
    let documents: Vec<Bytes> =
        if has_metadata(codec, sound) { vec![Bytes::from_static(b"<x/>")] } else { Vec::new() };
    let document_samples: Vec<_> = documents
        .iter()
        .map(|d| Sample { size: d.len() as u32, duration: 9, composition_offset: 0, sync: true })
        .collect();
    let entry = FragmentEntry {
        sequence,
        wall_start_us: T0 + i64::from(sequence) * 1_000_000,
        duration_us: 1_000_000,
        random_access,
        leading: false,
        random_access_distance: u16::from(!random_access),
        activity_bytes: 60,
        camera_clock_offset_ms: -3,
        offset: 0,
        length: 0,
        crc: 0,
        video: TrackRun { decode_time: at * 90_000, ..TrackRun::default() },
        audio: if sound { audio } else { TrackRun::default() },
        metadata: if documents.is_empty() { TrackRun::default() } else { metadata },
    };
    let (head, entry) = write_fragment(FragmentParts {
        entry,
        video_samples: &samples,
        video_data: &data,
        audio_samples: &sound_samples,
        audio_data: &sounds,
        metadata_samples: &document_samples,
        metadata_data: &documents,
    });
    ([head, data.concat(), sounds.concat(), documents.concat()].concat(), entry)
}

fn index_file() -> io::Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("x.index");
    let run = RunId(uuid::Uuid::from_u128(9));
    let day = T0 / 86_400_000_000 * 86_400_000_000;
    let mut writer =
        IndexWriter::open(&RealFs, &path, stream(), run, 1, day).map_err(io::Error::other)?;
    for sequence in 0..3 {
        let (_, entry) = fragment(VideoCodec::H264, sequence, false);
        writer.append(&Record::of(&entry, 50_700_000)).map_err(io::Error::other)?;
    }
    std::fs::read(&path)
}

fn event_log() -> io::Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("events");
    let mut log = EventLog::open(&RealFs, Path::new(&path), true).map_err(io::Error::other)?;
    let run = RunId(uuid::Uuid::from_u128(9));
    let (at_us, until_us, detail) = (T0 + 60_000_000, T0 + 90_000_000, String::from("no answer"));
    let reason = Reason::UNREACHABLE;
    for event in [
        Event::run_started(run, 1, T0),
        Event::RunEnded {
            at_us,
            run: run.to_string(),
            reason: reason.clone(),
            detail: detail.clone(),
        },
        Event::Down { at_us: until_us, reason: reason.clone(), detail: detail.clone() },
        Event::Lost { at_us, until_us, reason: reason.clone(), detail: detail.clone() },
        Event::RunCopied { at_us: T0, run: run.to_string(), epoch: 1 },
        Event::Absent { at_us, until_us, reason, detail },
        Event::Expired { at_us: until_us, until_us: T0 - 1 },
    ] {
        log.append(&RealFs, event).map_err(io::Error::other)?;
    }
    std::fs::read(&path)
}
