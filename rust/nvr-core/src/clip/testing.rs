//! Footage for tests: segment files whose samples say which they are, and a reader of MP4 files
//! that shares no code with the writer.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{ClipPart, SegmentRef};
use crate::codec::tests::hex;
use crate::fs::{FileSystem, Named, RealFs};
use crate::ids::{CameraId, RunId, StreamId, StreamKind};
use crate::media::{AudioParams, VideoCodec, VideoParams};
use crate::table::{FragmentEntry, Sample, SegmentTable, TrackRun};

/// 2026-11-23 14:05:00 UTC.
pub(super) const T0: i64 = 1_795_442_700_000_000;

pub(super) fn stream() -> StreamId {
    StreamId { camera: CameraId(Uuid::from_u128(7)), kind: StreamKind::Main }
}

pub(super) fn video_params() -> VideoParams {
    let avcc = "0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a9201000568cb83cb20";
    VideoParams { codec: VideoCodec::H264, extra_data: hex(avcc).into(), width: 322, height: 182 }
}

pub(super) fn audio_params() -> AudioParams {
    AudioParams {
        codec: crate::media::AudioCodec::Aac,
        extra_data: Bytes::from_static(&[0x14, 0x08]),
        sample_rate: 16_000,
        channels: 1,
    }
}

/// How the pictures of a fragment depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// In the order in which they are shown.
    Plain,
    /// I P b P b …, each b shown before the P that it follows.
    Reordered,
    /// The same, and the first b is shown before the I.
    OpenGop,
}

/// A fragment to be written.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) sequence: u32,
    pub(super) wall_start_us: i64,
    pub(super) order: Order,
    pub(super) random_access: bool,
    /// Numbers of the pictures, in decoding order; they become their bytes.
    pub(super) pictures: Vec<u32>,
    /// Ticks of 1/90,000 s for each.
    pub(super) picture_90k: u32,
    /// Frames of sound of 1,024 ticks.
    pub(super) sounds: u32,
}

impl Spec {
    /// Places in the order of presentation, by decoding order.
    pub(super) fn ranks(&self) -> Vec<i64> {
        let n = self.pictures.len() as i64;
        // Pairs change places, from the first or the second picture on.
        let first = match self.order {
            Order::Plain => n,
            Order::Reordered => 1,
            Order::OpenGop => 0,
        };
        (0..n).map(|i| swapped(i, first, n)).collect()
    }

    pub(super) fn is_leading(&self, i: usize) -> bool {
        self.random_access && i > 0 && self.ranks()[i] < self.ranks()[0]
    }
}

/// `first`: where pairs that change places begin.
fn swapped(i: i64, first: i64, n: i64) -> i64 {
    if i < first {
        i
    } else if (i - first) % 2 == 0 {
        if i + 1 < n { i + 1 } else { i }
    } else {
        i - 1
    }
}

/// Bytes of a picture: its number, again and again.
pub(super) fn picture_bytes(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(1 + number as usize % 5)
}

/// Writes a segment file and makes its table. The pictures' decoding times run one behind.
pub(super) fn segment(
    dir: &Path,
    run: u128,
    epoch: u32,
    video: VideoParams,
    audio: Option<AudioParams>,
    specs: &[Spec],
) -> SegmentRef {
    let mut data = vec![0xee; 200];
    let (mut video_samples, mut audio_samples) = (Vec::new(), Vec::new());
    let (mut decode_90k, mut sound_time) = (0, 0);
    let mut fragments = Vec::new();
    for spec in specs {
        let offset = data.len() as u32;
        data.extend([0xdd; 60]);
        let video_offset = data.len() as u32;
        let first_sample = video_samples.len() as u32;
        let delay = if spec.order == Order::Plain { 0 } else { 1 };
        for (i, (number, rank)) in spec.pictures.iter().zip(spec.ranks()).enumerate() {
            let bytes = picture_bytes(*number);
            video_samples.push(Sample {
                size: bytes.len() as u32,
                duration: spec.picture_90k,
                composition_offset: (rank - i as i64 + delay) as i32 * spec.picture_90k as i32,
                sync: spec.random_access && i == 0,
            });
            data.extend(bytes);
        }
        let audio_offset = data.len() as u32;
        // Sound keeps step with the pictures.
        let due = decode_90k * 16_000 / 90_000;
        if due > sound_time + 320 {
            sound_time = due;
        }
        let audio_run = TrackRun {
            decode_time: sound_time,
            first_sample: audio_samples.len() as u32,
            sample_count: if audio.is_some() { spec.sounds } else { 0 },
            data_offset: audio_offset,
            data_len: if audio.is_some() { 3 * spec.sounds } else { 0 },
            digest: [0; 32],
        };
        for _ in 0..audio_run.sample_count {
            audio_samples.push(Sample {
                size: 3,
                duration: 1_024,
                composition_offset: 0,
                sync: true,
            });
            data.extend([0xaa; 3]);
            sound_time += 1_024;
        }
        let ticks = i64::from(spec.picture_90k) * spec.pictures.len() as i64;
        fragments.push(FragmentEntry {
            sequence: spec.sequence,
            wall_start_us: spec.wall_start_us,
            duration_us: (ticks * 100 / 9) as u32,
            random_access: spec.random_access,
            leading: (0..spec.pictures.len()).any(|i| spec.is_leading(i)),
            random_access_distance: 0,
            activity_bytes: 0,
            camera_clock_offset_ms: i32::MIN,
            offset,
            length: data.len() as u32 - offset,
            crc: spec.pictures[0],
            video: TrackRun {
                decode_time: decode_90k,
                first_sample,
                sample_count: spec.pictures.len() as u32,
                data_offset: video_offset,
                data_len: audio_offset - video_offset,
                digest: [0; 32],
            },
            audio: audio_run,
            metadata: TrackRun::default(),
        });
        decode_90k += ticks as u64;
    }
    let path = dir.join(format!("{run}-{epoch}-{}.mp4", specs[0].sequence));
    fs::write(&path, data).unwrap();
    let file = Arc::new(Named { file: RealFs.open(&path).unwrap(), path });
    let table = SegmentTable {
        run: RunId(Uuid::from_u128(run)),
        epoch,
        base_90k: i64::from(specs[0].sequence) * 1_000_000,
        video,
        audio,
        metadata: None,
        fragments,
        video_samples,
        audio_samples,
        metadata_samples: Vec::new(),
    };
    SegmentRef { file, table: Arc::new(table) }
}

/// A track as an independent reader sees it.
#[derive(Debug, Default)]
pub(crate) struct ReadTrack {
    pub(crate) timescale: u32,
    /// Movie duration and media time; -1: empty.
    pub(crate) edits: Vec<(i64, i64)>,
    /// Decoding time, presentation time, position, size, sync.
    pub(crate) samples: Vec<(i64, i64, usize, usize, bool)>,
}

pub(crate) fn read_all(part: &ClipPart) -> Vec<u8> {
    let mut bytes = vec![0; part.size as usize];
    assert_eq!(part.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// Reads version 0 tables with `stco`.
pub(crate) fn read_tracks(file: &[u8]) -> Vec<ReadTrack> {
    let moov = child(file, b"moov").unwrap();
    boxes(moov).filter(|(kind, _)| *kind == b"trak").map(|(_, trak)| read_track(trak)).collect()
}

fn read_track(trak: &[u8]) -> ReadTrack {
    let mdia = child(trak, b"mdia").unwrap();
    let stbl = child(child(mdia, b"minf").unwrap(), b"stbl").unwrap();
    let words = |parent: &[u8], kind| -> Vec<i64> {
        let content = child(parent, kind).unwrap_or(&[]);
        content
            .chunks_exact(4)
            .map(|w| i64::from(i32::from_be_bytes(w.try_into().unwrap())))
            .collect()
    };
    let elst = words(child(trak, b"edts").unwrap(), b"elst");
    let expand = |table: Vec<i64>| -> Vec<i64> {
        let pairs = table.get(2..).unwrap_or(&[]).chunks_exact(2);
        pairs.flat_map(|p| std::iter::repeat_n(p[1], p[0] as usize)).collect()
    };
    let durations = expand(words(stbl, b"stts"));
    let offsets = expand(words(stbl, b"ctts"));
    let sizes = words(stbl, b"stsz")[3..].to_vec();
    let sync = words(stbl, b"stss");
    let chunks = words(stbl, b"stco")[2..].to_vec();
    let stsc = words(stbl, b"stsc")[2..].to_vec();
    let mut positions = Vec::new();
    for (n, &chunk) in chunks.iter().enumerate() {
        let entry = stsc.chunks_exact(3).rfind(|e| e[0] <= n as i64 + 1).unwrap();
        let mut at = chunk as usize;
        for _ in 0..entry[1] {
            positions.push(at);
            at += sizes[positions.len() - 1] as usize;
        }
    }
    assert_eq!((positions.len(), durations.len()), (sizes.len(), sizes.len()));
    let mut dts = 0;
    let samples = (0..sizes.len()).map(|i| {
        let pts = dts + offsets.get(i).copied().unwrap_or(0);
        let is_sync = sync.is_empty() || sync[2..].contains(&(i as i64 + 1));
        let sample = (dts, pts, positions[i], sizes[i] as usize, is_sync);
        dts += durations[i];
        sample
    });
    ReadTrack {
        timescale: words(mdia, b"mdhd")[3] as u32,
        samples: samples.collect(),
        edits: elst[2..].chunks_exact(3).map(|e| (e[0], e[1])).collect(),
    }
}

fn boxes(mut data: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, _) = data.split_first_chunk::<4>()?;
        let (this, rest) = data.split_at(u32::from_be_bytes(*size) as usize);
        data = rest;
        Some((this[4..8].try_into().unwrap(), &this[8..]))
    })
}

fn child<'a>(parent: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(parent).find(|(k, _)| *k == kind).map(|(_, content)| content)
}
