//! One fragment: our info box, prft, moof, mdat, written in one call.

use bytes::Bytes;

use super::digest::{TrackOf, track_digest};
use super::footer::SYNC_BIT;
use super::head::{AUDIO_TRACK, METADATA_TRACK, SegmentHead, VIDEO_TRACK};
use crate::mp4::boxes::{Put, write_box, write_full_box};
use crate::mp4::read::{Reader, TooShort};
use crate::table::{FragmentEntry, Sample, TrackRun};

/// `uuid` user type of the info box.
pub const INFO_UUID: [u8; 16] = *b"nvr.fragment\0\0\0\x01";
/// `uuid` user type of the box with the digest of ONVIF metadata.
pub const METADATA_UUID: [u8; 16] = *b"nvr.metadata\0\0\0\x01";
/// Size of that box.
const METADATA_INFO_LEN: usize = 8 + 16 + 32;
/// Size of the info box.
pub const INFO_LEN: usize = 128;
/// What the CRC covers begins here.
pub const CRC_FROM: usize = 28;

const FLAG_RANDOM_ACCESS: u16 = 1;
const FLAG_LEADING: u16 = 2;

/// What a fragment is made from. Positions and lengths in `entry` are filled in by
/// [`write_fragment`], relative to the fragment's first byte.
#[derive(Debug)]
pub struct FragmentParts<'a> {
    /// Everything that is known of it beforehand.
    pub entry: FragmentEntry,
    /// The pictures' table, in decoding order.
    pub video_samples: &'a [Sample],
    /// The pictures' bytes.
    pub video_data: &'a [Bytes],
    /// The sound's table.
    pub audio_samples: &'a [Sample],
    /// The sound's bytes.
    pub audio_data: &'a [Bytes],
    /// The table of documents of metadata.
    pub metadata_samples: &'a [Sample],
    /// Their bytes.
    pub metadata_data: &'a [Bytes],
}

/// Makes the first bytes of a fragment, up to the pictures', and completes its entry. The pictures'
/// bytes, the sound's and the metadata's follow as they are: nobody copies them.
pub fn write_fragment(parts: FragmentParts<'_>) -> (Vec<u8>, FragmentEntry) {
    let mut entry = parts.entry;
    let len = |data: &[Bytes]| data.iter().map(Bytes::len).sum::<usize>();
    let (video_len, audio_len) = (len(parts.video_data), len(parts.audio_data));
    let metadata_len = len(parts.metadata_data);
    entry.video.sample_count = to_u32(parts.video_samples.len());
    entry.audio.sample_count = to_u32(parts.audio_samples.len());
    entry.metadata.sample_count = to_u32(parts.metadata_samples.len());
    entry.video.digest = digest(TrackOf::Video, parts.video_samples, parts.video_data);
    entry.audio.digest = digest(TrackOf::Audio, parts.audio_samples, parts.audio_data);
    entry.metadata.digest = digest(TrackOf::Metadata, parts.metadata_samples, parts.metadata_data);

    let has_metadata = !parts.metadata_samples.is_empty();
    let moof_len = moof_len(&entry, parts.video_samples);
    let info_len = INFO_LEN + if has_metadata { METADATA_INFO_LEN } else { 0 };
    let head_len = info_len + PRFT_LEN + moof_len + 8;
    let data_len = video_len + audio_len + metadata_len;
    let total = head_len + data_len;
    entry.offset = 0;
    entry.length = to_u32(total);
    entry.video.data_offset = to_u32(head_len);
    entry.video.data_len = to_u32(video_len);
    entry.audio.data_offset = to_u32(head_len + video_len);
    entry.audio.data_len = to_u32(audio_len);
    if has_metadata {
        entry.metadata.data_offset = to_u32(head_len + video_len + audio_len);
        entry.metadata.data_len = to_u32(metadata_len);
    }

    let mut out = Vec::with_capacity(head_len);
    write_info(&mut out, &entry);
    if has_metadata {
        write_box(&mut out, *b"uuid", |o| {
            o.bytes(&METADATA_UUID);
            o.bytes(&entry.metadata.digest);
        });
    }
    write_prft(&mut out, &entry, parts.video_samples);
    write_moof(&mut out, &entry, &parts, moof_len);
    debug_assert_eq!(out.len() + 8, head_len);
    out.u32(to_u32(8 + data_len));
    out.bytes(b"mdat");
    let pieces = parts.video_data.iter().chain(parts.audio_data).chain(parts.metadata_data);
    entry.crc = pieces
        .fold(crc32c::crc32c(&out[CRC_FROM..]), |crc, piece| crc32c::crc32c_append(crc, piece));
    out[24..CRC_FROM].copy_from_slice(&entry.crc.to_be_bytes());
    (out, entry)
}

fn digest(track: TrackOf, samples: &[Sample], data: &[Bytes]) -> [u8; 32] {
    if samples.is_empty() {
        return [0; 32];
    }
    let pieces: Vec<&[u8]> = data.iter().map(Bytes::as_ref).collect();
    track_digest(track, samples, &pieces)
}

fn write_info(out: &mut Vec<u8>, entry: &FragmentEntry) {
    write_box(out, *b"uuid", |o| {
        o.bytes(&INFO_UUID);
        o.u32(0); // the CRC, known at the end
        o.u32(entry.length);
        o.i64(entry.wall_start_us);
        o.u32(entry.duration_us);
        o.u32(entry.sequence);
        o.u16(entry.random_access_distance);
        o.u16(flags(entry));
        o.i32(entry.camera_clock_offset_ms);
        o.u32(entry.activity_bytes);
        o.bytes(&entry.video.digest);
        o.bytes(&entry.audio.digest);
        o.u32(0); // reserved
    });
}

pub(super) fn flags(entry: &FragmentEntry) -> u16 {
    let mut flags = 0;
    if entry.random_access {
        flags |= FLAG_RANDOM_ACCESS;
    }
    if entry.leading {
        flags |= FLAG_LEADING;
    }
    flags
}

/// The random-access and leading flags.
pub(super) fn split_flags(flags: u16) -> (bool, bool) {
    (flags & FLAG_RANDOM_ACCESS != 0, flags & FLAG_LEADING != 0)
}

const PRFT_LEN: usize = 32;
/// Seconds from 1900 (NTP, RFC 5905) to 1970.
const NTP_UNIX_S: i64 = 2_208_988_800;

/// Producer reference time (ISO/IEC 14496-12, 8.16.5), version 1.
fn write_prft(out: &mut Vec<u8>, entry: &FragmentEntry, video: &[Sample]) {
    write_full_box(out, *b"prft", 1, 0, |o| {
        o.u32(VIDEO_TRACK);
        let seconds = entry.wall_start_us.div_euclid(1_000_000) + NTP_UNIX_S;
        let micros = entry.wall_start_us.rem_euclid(1_000_000) as u64;
        o.u64(((seconds as u64) << 32) | ((micros << 32) / 1_000_000));
        o.u64(start_pts(entry, video));
    });
}

/// Presentation time of the earliest picture: the one that the wall time belongs to.
fn start_pts(entry: &FragmentEntry, video: &[Sample]) -> u64 {
    let mut decode = entry.video.decode_time as i64;
    let mut first = i64::MAX;
    for sample in video {
        first = first.min(decode + i64::from(sample.composition_offset));
        decode += i64::from(sample.duration);
    }
    u64::try_from(first).unwrap_or(0)
}

/// tfhd: positions are relative to the moof.
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
const TFHD_SAMPLE_FLAGS: u32 = 0x20;
const TRUN_DATA_OFFSET: u32 = 0x1;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_COMPOSITION: u32 = 0x800;
/// Sample flags (8.8.3.1): depends on no other / depends on others and is no sync sample.
const SYNC_FLAGS: u32 = 0x0200_0000;
const OTHER_FLAGS: u32 = 0x0101_0000;

fn reordered(samples: &[Sample]) -> bool {
    samples.iter().any(|s| s.composition_offset != 0)
}

fn moof_len(entry: &FragmentEntry, video: &[Sample]) -> usize {
    let per_sample = if reordered(video) { 16 } else { 12 };
    let video_traf = 8 + 16 + 20 + 20 + per_sample * video.len();
    let other_traf = |count: u32| match count {
        0 => 0,
        n => 8 + 20 + 20 + 20 + 8 * n as usize,
    };
    8 + 16
        + video_traf
        + other_traf(entry.audio.sample_count)
        + other_traf(entry.metadata.sample_count)
}

fn write_moof(out: &mut Vec<u8>, entry: &FragmentEntry, parts: &FragmentParts<'_>, len: usize) {
    let video = parts.video_samples;
    // Sample data begins after the moof and the 8 bytes of the mdat's head.
    let data_at = to_u32(len + 8);
    write_box(out, *b"moof", |o| {
        write_full_box(o, *b"mfhd", 0, 0, |o| o.u32(entry.sequence.wrapping_add(1)));
        write_box(o, *b"traf", |o| {
            write_full_box(o, *b"tfhd", 0, DEFAULT_BASE_IS_MOOF, |o| o.u32(VIDEO_TRACK));
            write_full_box(o, *b"tfdt", 1, 0, |o| o.u64(entry.video.decode_time));
            let composition = if reordered(video) { TRUN_COMPOSITION } else { 0 };
            let flags = TRUN_DATA_OFFSET | TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | composition;
            write_full_box(o, *b"trun", 1, flags, |o| {
                o.u32(to_u32(video.len()));
                o.u32(data_at);
                for sample in video {
                    o.u32(sample.duration);
                    o.u32(sample.size);
                    o.u32(if sample.sync { SYNC_FLAGS } else { OTHER_FLAGS });
                    if composition != 0 {
                        o.i32(sample.composition_offset);
                    }
                }
            });
        });
        let audio_at = data_at + entry.video.data_len;
        write_other_traf(o, AUDIO_TRACK, &entry.audio, parts.audio_samples, audio_at);
        let metadata_at = audio_at + entry.audio.data_len;
        write_other_traf(o, METADATA_TRACK, &entry.metadata, parts.metadata_samples, metadata_at);
    });
}

/// The share of a track of which a decoder can start at each sample, if it has any.
fn write_other_traf(o: &mut Vec<u8>, track: u32, run: &TrackRun, samples: &[Sample], at: u32) {
    if samples.is_empty() {
        return;
    }
    write_box(o, *b"traf", |o| {
        write_full_box(o, *b"tfhd", 0, DEFAULT_BASE_IS_MOOF | TFHD_SAMPLE_FLAGS, |o| {
            o.u32(track);
            o.u32(SYNC_FLAGS);
        });
        write_full_box(o, *b"tfdt", 1, 0, |o| o.u64(run.decode_time));
        write_full_box(o, *b"trun", 0, TRUN_DATA_OFFSET | TRUN_DURATION | TRUN_SIZE, |o| {
            o.u32(to_u32(samples.len()));
            o.u32(at);
            for sample in samples {
                o.u32(sample.duration);
                o.u32(sample.size);
            }
        });
    });
}

/// A fragment read back from its own boxes.
#[derive(Debug)]
pub struct ParsedFragment {
    /// Positions are relative to the fragment's first byte; `first_sample` is 0.
    pub entry: FragmentEntry,
    /// The pictures.
    pub video_samples: Vec<Sample>,
    /// The sound.
    pub audio_samples: Vec<Sample>,
    /// ONVIF metadata.
    pub metadata_samples: Vec<Sample>,
}

impl ParsedFragment {
    /// Whether it can be part of a segment with this head: its tracks are the segment's.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn fits(&self, head: &SegmentHead) -> Result<(), &'static str> {
        if head.audio.is_none() && !self.audio_samples.is_empty() {
            return Err("it has sound, and its segment has none");
        }
        if head.metadata.is_none() && !self.metadata_samples.is_empty() {
            return Err("it has metadata, and its segment has none");
        }
        Ok(())
    }
}

/// Length of the fragment whose first bytes these are, as its info box says.
pub fn peek_length(bytes: &[u8]) -> Option<u32> {
    let info = bytes.get(..INFO_LEN)?;
    let is_info = info[..4] == to_u32(INFO_LEN).to_be_bytes()
        && info[4..8] == *b"uuid"
        && info[8..24] == INFO_UUID;
    let length = u32::from_be_bytes(info[28..32].try_into().ok()?);
    (is_info && length as usize > INFO_LEN).then_some(length)
}

/// Reads a fragment from its head (info, prft, moof and the first 8 bytes of mdat at least);
/// `None` when it is not one that [`write_fragment`] made of what a footer can say. Does not check
/// the CRC.
pub fn parse_fragment(bytes: &[u8]) -> Option<ParsedFragment> {
    let length = peek_length(bytes)?;
    parse_boxes(bytes, length).ok().flatten()
}

/// True when the CRC of a whole fragment holds.
pub fn crc_holds(fragment: &[u8]) -> bool {
    match (fragment.get(24..CRC_FROM), fragment.get(CRC_FROM..)) {
        (Some(stored), Some(rest)) => stored == crc32c::crc32c(rest).to_be_bytes(),
        _ => false,
    }
}

fn parse_boxes(bytes: &[u8], length: u32) -> Result<Option<ParsedFragment>, TooShort> {
    let mut r = Reader::new(&bytes[24..]);
    let crc = r.u32()?;
    r.u32()?;
    let (wall_start_us, duration_us, sequence) = (r.i64()?, r.u32()?, r.u32()?);
    let (random_access_distance, (random_access, leading)) = (r.u16()?, split_flags(r.u16()?));
    let (camera_clock_offset_ms, activity_bytes) = (r.i32()?, r.u32()?);
    let (video_digest, audio_digest) = (r.array()?, r.array()?);
    r.u32()?;
    let mut entry = FragmentEntry {
        sequence,
        wall_start_us,
        duration_us,
        random_access,
        leading,
        random_access_distance,
        activity_bytes,
        camera_clock_offset_ms,
        offset: 0,
        length,
        crc,
        video: TrackRun { digest: video_digest, ..TrackRun::default() },
        audio: TrackRun { digest: audio_digest, ..TrackRun::default() },
        metadata: TrackRun::default(),
    };
    let (mut video_samples, mut audio_samples) = (Vec::new(), Vec::new());
    let (mut metadata_samples, mut metadata_digest) = (Vec::new(), None);
    while let Some((kind, mut content)) = r.next_box()? {
        if kind == *b"uuid" && content.rest().starts_with(&METADATA_UUID) {
            content.take(METADATA_UUID.len())?;
            metadata_digest = Some(content.array()?);
        }
        if kind == *b"moof" {
            let moof_end = bytes.len() - r.rest().len();
            let moof_start = to_u32(moof_end - content.rest().len() - 8);
            let mut boxes = content;
            while let Some((kind, traf)) = boxes.next_box()? {
                if kind != *b"traf" {
                    continue;
                }
                let Some((track, mut run, samples)) = parse_traf(traf)? else { return Ok(None) };
                run.data_offset = run.data_offset.saturating_add(moof_start);
                match track {
                    // A footer has no room for a picture that lasts for hours.
                    VIDEO_TRACK if samples.iter().all(|s| s.duration & SYNC_BIT == 0) => {
                        entry.video = TrackRun { digest: entry.video.digest, ..run };
                        video_samples = samples;
                    }
                    AUDIO_TRACK => {
                        entry.audio = TrackRun { digest: entry.audio.digest, ..run };
                        audio_samples = samples;
                    }
                    METADATA_TRACK if !samples.is_empty() => {
                        let Some(digest) = metadata_digest else { return Ok(None) };
                        entry.metadata = TrackRun { digest, ..run };
                        metadata_samples = samples;
                    }
                    _ => return Ok(None),
                }
            }
            break;
        }
    }
    if audio_samples.is_empty() {
        // As whoever wrote it has it in the footer.
        entry.audio.data_offset = entry.video.data_offset.saturating_add(entry.video.data_len);
    }
    let end = |run: &TrackRun| u64::from(run.data_offset) + u64::from(run.data_len);
    let fits = [&entry.video, &entry.audio, &entry.metadata]
        .into_iter()
        .all(|run| end(run) <= u64::from(length));
    if video_samples.is_empty() || !fits {
        return Ok(None);
    }
    Ok(Some(ParsedFragment { entry, video_samples, audio_samples, metadata_samples }))
}

fn parse_traf(traf: Reader<'_>) -> Result<Option<(u32, TrackRun, Vec<Sample>)>, TooShort> {
    let (Some(mut tfhd), Some(mut tfdt), Some(mut trun)) =
        (traf.find(*b"tfhd")?, traf.find(*b"tfdt")?, traf.find(*b"trun")?)
    else {
        return Ok(None);
    };
    tfhd.u32()?;
    let track = tfhd.u32()?;
    tfdt.u32()?;
    let decode_time = tfdt.u64()?;
    let flags = trun.u32()? & 0x00ff_ffff;
    let count = trun.u32()?;
    let data_offset = trun.u32()?;
    let per_sample =
        8 + 4 * (flags & TRUN_FLAGS != 0) as usize + 4 * (flags & TRUN_COMPOSITION != 0) as usize;
    if trun.rest().len() != per_sample * count as usize {
        return Ok(None);
    }
    let mut samples = Vec::with_capacity(count as usize);
    let mut data_len = 0u32;
    for _ in 0..count {
        let (duration, size) = (trun.u32()?, trun.u32()?);
        let sync = flags & TRUN_FLAGS == 0 || trun.u32()? == SYNC_FLAGS;
        let composition_offset = if flags & TRUN_COMPOSITION != 0 { trun.i32()? } else { 0 };
        let Some(len) = data_len.checked_add(size) else { return Ok(None) };
        data_len = len;
        samples.push(Sample { size, duration, composition_offset, sync });
    }
    let run =
        TrackRun { decode_time, sample_count: count, data_offset, data_len, ..TrackRun::default() };
    Ok(Some((track, run, samples)))
}

/// A count or length of what lies in one fragment.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("a fragment is far smaller than 4 GiB")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A fragment without sound, written again with pictures that last otherwise, and with sound.
    pub(crate) fn rewritten(bytes: &[u8], picture_90k: u32, sound: &[Bytes]) -> Vec<u8> {
        let mut parsed = parse_fragment(bytes).expect("a fragment");
        parsed.video_samples.iter_mut().for_each(|sample| sample.duration = picture_90k);
        let audio_samples: Vec<Sample> =
            samples(sound, &[0]).into_iter().map(|s| Sample { sync: true, ..s }).collect();
        let pictures = Bytes::copy_from_slice(&bytes[parsed.entry.video.data_offset as usize..]);
        let (head, _) = write_fragment(FragmentParts {
            entry: parsed.entry,
            video_samples: &parsed.video_samples,
            video_data: std::slice::from_ref(&pictures),
            audio_samples: &audio_samples,
            audio_data: sound,
            metadata_samples: &[],
            metadata_data: &[],
        });
        [&head[..], &pictures, &sound.concat()].concat()
    }

    pub(crate) fn entry() -> FragmentEntry {
        FragmentEntry {
            sequence: 7,
            wall_start_us: 1_700_000_000_000_000,
            duration_us: 2_000_000,
            random_access: true,
            leading: false,
            random_access_distance: 0,
            activity_bytes: 5,
            camera_clock_offset_ms: -3,
            offset: 0,
            length: 0,
            crc: 0,
            video: TrackRun { decode_time: 180_000, ..TrackRun::default() },
            audio: TrackRun { decode_time: 96_000, ..TrackRun::default() },
            metadata: TrackRun::default(),
        }
    }

    fn samples(data: &[Bytes], offsets: &[i32]) -> Vec<Sample> {
        data.iter()
            .zip(offsets.iter().cycle())
            .enumerate()
            .map(|(i, (d, &o))| Sample {
                size: to_u32(d.len()),
                duration: 3000,
                composition_offset: o,
                sync: i == 0,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_fragment_reads_back(
            video in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..20),
            audio in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..9),
            documents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..90), 0..4),
            offsets in proptest::collection::vec(-6000i32..6000, 1..5),
        ) {
            let video: Vec<Bytes> = video.into_iter().map(Bytes::from).collect();
            let audio: Vec<Bytes> = audio.into_iter().map(Bytes::from).collect();
            let video_samples = samples(&video, &offsets);
            let audio_samples: Vec<Sample> =
                samples(&audio, &[0]).into_iter().map(|s| Sample { sync: true, ..s }).collect();
            let documents: Vec<Bytes> = documents.into_iter().map(Bytes::from).collect();
            let metadata_samples: Vec<Sample> =
                samples(&documents, &[0]).into_iter().map(|s| Sample { sync: true, ..s }).collect();
            let mut begin = entry();
            if audio.is_empty() {
                begin.audio = TrackRun::default();
            }
            if !documents.is_empty() {
                begin.metadata.decode_time = 180_007;
            }
            let (head, entry) = write_fragment(FragmentParts {
                entry: begin,
                video_samples: &video_samples,
                video_data: &video,
                audio_samples: &audio_samples,
                audio_data: &audio,
                metadata_samples: &metadata_samples,
                metadata_data: &documents,
            });
            let bytes = [head, video.concat(), audio.concat(), documents.concat()].concat();
            prop_assert_eq!(bytes.len(), entry.length as usize);
            prop_assert!(crc_holds(&bytes));
            let parsed = parse_fragment(&bytes).expect("parses");
            prop_assert_eq!(parsed.entry, entry);
            prop_assert_eq!(&parsed.video_samples, &video_samples);
            prop_assert_eq!(&parsed.audio_samples, &audio_samples);
            prop_assert_eq!(&parsed.metadata_samples, &metadata_samples);
            let run = entry.metadata;
            let data = run.data_offset as usize..(run.data_offset + run.data_len) as usize;
            prop_assert_eq!(&bytes[data], documents.concat());
            let at = entry.video.data_offset as usize;
            prop_assert_eq!(&bytes[at..at + entry.video.data_len as usize], video.concat());
        }

        #[test]
        fn damage_never_panics(at in 0usize..600, value in any::<u8>(), cut in 0usize..600) {
            let video = [Bytes::from_static(&[1; 50]), Bytes::from_static(&[2; 60])];
            let video_samples = samples(&video, &[0, 3000]);
            let (head, _) = write_fragment(FragmentParts {
                entry: entry(), video_samples: &video_samples, video_data: &video, audio_samples: &[], audio_data: &[],
                metadata_samples: &samples(&video, &[0]), metadata_data: &video,
            });
            let mut bytes = [head, video.concat(), video.concat()].concat();
            let len = bytes.len();
            let at = at % len;
            let changed = bytes[at] != value;
            bytes[at] = value;
            parse_fragment(&bytes);
            parse_fragment(&bytes[..cut % len]);
            if changed && at >= 24 {
                prop_assert!(!crc_holds(&bytes));
            }
        }
    }
}
