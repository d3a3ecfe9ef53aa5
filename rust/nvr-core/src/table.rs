//! What a segment contains, as tables: the common form in which the muxer reports what it wrote,
//! the footer is stored, recovery rebuilds it, and clips are planned.

use crate::ids::RunId;
use crate::media::{AudioParams, MetadataCoding, VideoParams};

/// One sample (picture or frame of sound), in ticks of its track's timescale
/// (video: 90,000 a second; sound: the sample rate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sample {
    /// Bytes.
    pub size: u32,
    /// Decoding time of the next sample minus that of this one.
    pub duration: u32,
    /// Presentation time minus decoding time; may be negative (0 for sound).
    pub composition_offset: i32,
    /// A decoder can start here (always true for sound).
    pub sync: bool,
}

/// A track's share of a fragment. Its samples lie one after another in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TrackRun {
    /// Decoding time of the first sample, in ticks since the segment's start (`tfdt`).
    pub decode_time: u64,
    /// Index of the first sample in the segment's sample list of that track.
    pub first_sample: u32,
    /// How many samples; may be 0 for sound.
    pub sample_count: u32,
    /// Position of the first sample's bytes in the segment file.
    pub data_offset: u32,
    /// Bytes of all its samples.
    pub data_len: u32,
    /// SHA-256 of its sample table and payload (`docs/on-disk-format.md`, "Digests").
    pub digest: [u8; 32],
}

/// A fragment of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentEntry {
    /// Counts from 0 within the run.
    pub sequence: u32,
    /// Wall time at which its earliest picture (in order of presentation) is shown.
    pub wall_start_us: i64,
    /// Until its last picture ends, as far as was known when it was written.
    pub duration_us: u32,
    /// It begins with a random-access point.
    pub random_access: bool,
    /// Pictures that follow its random-access point are shown before it (open GOP), and
    /// need the fragment before to be decoded.
    pub leading: bool,
    /// How many fragments back its random-access point is (0: its own). May reach into the segment
    /// before only if that is of the same run.
    pub random_access_distance: u16,
    /// Bytes of its pictures that are not random-access points.
    pub activity_bytes: u32,
    /// The camera's clock minus the recorder's in milliseconds; `i32::MIN`: not known.
    pub camera_clock_offset_ms: i32,
    /// Position of the fragment in the segment file.
    pub offset: u32,
    /// Bytes of the whole fragment.
    pub length: u32,
    /// CRC-32C of the fragment from its 29th byte on (`docs/on-disk-format.md`, "Fragment").
    pub crc: u32,
    /// The pictures.
    pub video: TrackRun,
    /// The sound.
    pub audio: TrackRun,
    /// ONVIF metadata. All zero when there is none.
    pub metadata: TrackRun,
}

/// A whole segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTable {
    /// The run that the segment is part of.
    pub run: RunId,
    /// Lease epoch of the run.
    pub epoch: u32,
    /// Decoding time 0 of the segment's video, as media time of the run.
    pub base_90k: i64,
    /// How the pictures are coded.
    pub video: VideoParams,
    /// How the sound is coded, if there is any.
    pub audio: Option<AudioParams>,
    /// How ONVIF metadata is coded, if there is a track of it.
    pub metadata: Option<MetadataCoding>,
    /// In order.
    pub fragments: Vec<FragmentEntry>,
    /// All pictures in decoding order.
    pub video_samples: Vec<Sample>,
    /// All frames of sound.
    pub audio_samples: Vec<Sample>,
    /// All documents of metadata.
    pub metadata_samples: Vec<Sample>,
}

impl SegmentTable {
    /// The pictures of a fragment.
    pub fn video_of(&self, fragment: &FragmentEntry) -> &[Sample] {
        samples(&self.video_samples, &fragment.video)
    }

    /// The frames of sound of a fragment.
    pub fn audio_of(&self, fragment: &FragmentEntry) -> &[Sample] {
        samples(&self.audio_samples, &fragment.audio)
    }

    /// The documents of metadata of a fragment.
    pub fn metadata_of(&self, fragment: &FragmentEntry) -> &[Sample] {
        samples(&self.metadata_samples, &fragment.metadata)
    }

    /// Presentation time of a fragment's earliest picture, in ticks since the segment's start:
    /// the media time that `wall_start_us` belongs to.
    pub fn start_pts_90k(&self, fragment: &FragmentEntry) -> i64 {
        let mut decode = fragment.video.decode_time as i64;
        let mut first = i64::MAX;
        for sample in self.video_of(fragment) {
            // Of another node's fragment any number may be in it.
            first = first.min(decode.saturating_add(i64::from(sample.composition_offset)));
            decode = decode.saturating_add(i64::from(sample.duration));
        }
        first
    }
}

fn samples<'a>(all: &'a [Sample], run: &TrackRun) -> &'a [Sample] {
    let first = run.first_sample as usize;
    &all[first..first + run.sample_count as usize]
}
