//! The footer of a sealed segment: all that clip planning, rebuild, scrub and proof need, in one
//! read from the end of the file.

use super::fragment::{flags, split_flags};
use super::head::{HeadError, SegmentHead};
use crate::mp4::boxes::{Put, write_box};
use crate::mp4::read::{Reader, TooShort};
use crate::table::{FragmentEntry, Sample, SegmentTable, TrackRun};

/// `uuid` user type of the footer box.
pub const FOOTER_UUID: [u8; 16] = *b"nvr.footer\0\0\0\0\0\x01";
/// The last bytes of a sealed segment: size of the footer box, CRC-32C, magic.
pub const TRAILER_LEN: usize = 16;
/// The very last bytes of a sealed segment.
pub const TRAILER_MAGIC: [u8; 8] = *b"NVRFOOT1";

pub(super) const SYNC_BIT: u32 = 1 << 31;

/// The footer's bytes.
pub fn write_footer(head: &SegmentHead, table: &SegmentTable) -> Vec<u8> {
    let rough = 512
        + table.fragments.len() * 208
        + table.video_samples.len() * 12
        + (table.audio_samples.len() + table.metadata_samples.len()) * 8;
    let with_metadata = head.metadata.is_some();
    let mut out = Vec::with_capacity(rough);
    write_box(&mut out, *b"uuid", |o| {
        o.bytes(&FOOTER_UUID);
        head.write_identity(o);
        head.write_params(o);
        o.u32(count(table.fragments.len()));
        o.u32(count(table.video_samples.len()));
        o.u32(count(table.audio_samples.len()));
        if with_metadata {
            o.u32(count(table.metadata_samples.len()));
        }
        for fragment in &table.fragments {
            write_entry(o, fragment, with_metadata);
        }
        for sample in &table.video_samples {
            o.u32(sample.size);
            o.u32(sample.duration | if sample.sync { SYNC_BIT } else { 0 });
            o.i32(sample.composition_offset);
        }
        for sample in table.audio_samples.iter().chain(&table.metadata_samples) {
            o.u32(sample.size);
            o.u32(sample.duration);
        }
        let size = o.len() + TRAILER_LEN;
        o.u32(count(size));
        // From the user type on: the box's own size field is not yet written.
        let crc = crc32c::crc32c(&o[8..]);
        o.u32(crc);
        o.bytes(&TRAILER_MAGIC);
    });
    out
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a segment is smaller than 4 GiB")
}

fn write_entry(o: &mut Vec<u8>, f: &FragmentEntry, with_metadata: bool) {
    o.u32(f.offset);
    o.u32(f.length);
    o.u32(f.crc);
    o.u32(f.sequence);
    o.i64(f.wall_start_us);
    o.u32(f.duration_us);
    o.u16(f.random_access_distance);
    o.u16(flags(f));
    o.i32(f.camera_clock_offset_ms);
    o.u32(f.activity_bytes);
    for run in [&f.video, &f.audio].into_iter().chain(with_metadata.then_some(&f.metadata)) {
        o.u64(run.decode_time);
        o.u32(run.first_sample);
        o.u32(run.sample_count);
        o.u32(run.data_offset);
        o.u32(run.data_len);
        o.bytes(&run.digest);
    }
}

fn parse_entry(r: &mut Reader<'_>, with_metadata: bool) -> Result<FragmentEntry, TooShort> {
    let (offset, length, crc, sequence) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    let (wall_start_us, duration_us) = (r.i64()?, r.u32()?);
    let (random_access_distance, (random_access, leading)) = (r.u16()?, split_flags(r.u16()?));
    let (camera_clock_offset_ms, activity_bytes) = (r.i32()?, r.u32()?);
    let mut runs = [TrackRun::default(); 3];
    for run in &mut runs[..if with_metadata { 3 } else { 2 }] {
        *run = TrackRun {
            decode_time: r.u64()?,
            first_sample: r.u32()?,
            sample_count: r.u32()?,
            data_offset: r.u32()?,
            data_len: r.u32()?,
            digest: r.array()?,
        };
    }
    Ok(FragmentEntry {
        sequence,
        wall_start_us,
        duration_us,
        random_access,
        leading,
        random_access_distance,
        activity_bytes,
        camera_clock_offset_ms,
        offset,
        length,
        crc,
        video: runs[0],
        audio: runs[1],
        metadata: runs[2],
    })
}

/// Size of the footer box, from the last [`TRAILER_LEN`] bytes of a file; `None`: not sealed.
pub fn footer_len(trailer: &[u8]) -> Option<usize> {
    let trailer = trailer.last_chunk::<TRAILER_LEN>()?;
    let size = u32::from_be_bytes(trailer[..4].try_into().ok()?) as usize;
    (trailer[8..] == TRAILER_MAGIC && size > TRAILER_LEN + 24).then_some(size)
}

/// What a footer box of so many bytes begins with: its size and type, which its own CRC leaves out.
pub fn box_head(size: u32) -> [u8; 8] {
    let mut head = *b"\0\0\0\0uuid";
    head[..4].copy_from_slice(&size.to_be_bytes());
    head
}

/// Reads a footer box (all its bytes). Checks the CRC and that the tables fit each other.
pub fn parse_footer(bytes: &[u8]) -> Result<(SegmentHead, SegmentTable), HeadError> {
    let (body, trailer) = bytes.split_last_chunk::<TRAILER_LEN>().ok_or(TooShort)?;
    let covered = bytes.get(8..bytes.len() - TRAILER_LEN + 4).ok_or(TooShort)?;
    if crc32c::crc32c(covered).to_be_bytes() != trailer[4..8] {
        return Err(HeadError::Checksum);
    }
    let mut r = Reader::new(body.get(8..).ok_or(TooShort)?);
    if r.array::<16>()? != FOOTER_UUID {
        return Err(HeadError::Value("user type"));
    }
    let head = SegmentHead::parse(&mut r)?;
    let (fragments, video, audio) = (r.u32()? as usize, r.u32()? as usize, r.u32()? as usize);
    let with_metadata = head.metadata.is_some();
    let documents = if with_metadata { r.u32()? as usize } else { 0 };
    let entry_len = ENTRY_LEN + if with_metadata { RUN_LEN } else { 0 };
    let need = fragments as u64 * entry_len as u64
        + video as u64 * 12
        + (audio as u64 + documents as u64) * 8;
    if need != r.rest().len() as u64 {
        return Err(HeadError::Short);
    }
    let fragments = (0..fragments)
        .map(|_| parse_entry(&mut r, with_metadata))
        .collect::<Result<Vec<_>, _>>()?;
    let video_samples = (0..video)
        .map(|_| {
            let (size, duration, composition_offset) = (r.u32()?, r.u32()?, r.i32()?);
            let sync = duration & SYNC_BIT != 0;
            Ok(Sample { size, duration: duration & !SYNC_BIT, composition_offset, sync })
        })
        .collect::<Result<Vec<_>, TooShort>>()?;
    let mut others = |n: usize| {
        (0..n)
            .map(|_| {
                Ok(Sample { size: r.u32()?, duration: r.u32()?, composition_offset: 0, sync: true })
            })
            .collect::<Result<Vec<_>, TooShort>>()
    };
    let (audio_samples, metadata_samples) = (others(audio)?, others(documents)?);
    for fragment in &fragments {
        let inside = |run: &TrackRun, n: usize| {
            u64::from(run.first_sample) + u64::from(run.sample_count) <= n as u64
        };
        let tracks =
            [(&fragment.video, video), (&fragment.audio, audio), (&fragment.metadata, documents)];
        if !tracks.iter().all(|(run, n)| inside(run, *n)) {
            return Err(HeadError::Value("sample range"));
        }
        let (start, end) =
            (u64::from(fragment.offset), u64::from(fragment.offset) + u64::from(fragment.length));
        let within = |run: &TrackRun| {
            let data = u64::from(run.data_offset);
            run.sample_count == 0 || (start <= data && data + u64::from(run.data_len) <= end)
        };
        if !tracks.iter().all(|(run, _)| within(run)) {
            return Err(HeadError::Value("data range"));
        }
    }
    let table = SegmentTable {
        run: head.run,
        epoch: head.epoch,
        base_90k: head.base_90k,
        video: head.video.clone(),
        audio: head.audio.clone(),
        metadata: head.metadata,
        fragments,
        video_samples,
        audio_samples,
        metadata_samples,
    };
    Ok((head, table))
}

/// Bytes of a track run.
const RUN_LEN: usize = 8 + 4 * 4 + 32;
/// Bytes of a fragment's entry, without metadata.
const ENTRY_LEN: usize = 4 * 4 + 8 + 4 + 2 + 2 + 4 + 4 + 2 * RUN_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CameraId, RunId, StreamId, StreamKind};
    use crate::media::{AudioCodec, AudioParams, MetadataCoding, VideoCodec, VideoParams};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn head() -> SegmentHead {
        let id = uuid::Uuid::from_u128(0x0190_a000_0000_7000_8000_0000_0000_0001);
        SegmentHead {
            stream: StreamId { camera: CameraId(id), kind: StreamKind::Sub },
            run: RunId(id),
            epoch: 4,
            first_sequence: 9,
            wall_start_us: 1_700_000_000_000_000,
            base_90k: -77,
            start_pts_90k: 6000,
            salt: [7; 16],
            video: VideoParams {
                codec: VideoCodec::H265,
                extra_data: Bytes::from_static(&[1, 2, 3]),
                width: 640,
                height: 360,
            },
            audio: Some(AudioParams {
                codec: AudioCodec::Aac,
                extra_data: Bytes::from_static(&[0x11, 0x90]),
                sample_rate: 48_000,
                channels: 2,
            }),
            metadata: None,
        }
    }

    fn table(fragments: usize) -> SegmentTable {
        let head = head();
        let run = |n: usize, each: u32| TrackRun {
            decode_time: n as u64 * 180_000,
            first_sample: u32::try_from(n).unwrap() * each,
            sample_count: each,
            data_offset: 12,
            data_len: 6,
            digest: [9; 32],
        };
        let fragment = |n| FragmentEntry {
            sequence: 9 + u32::try_from(n).unwrap(),
            wall_start_us: 5,
            duration_us: 6,
            random_access: n % 2 == 0,
            leading: n % 3 == 0,
            random_access_distance: u16::try_from(n % 2).unwrap(),
            activity_bytes: 8,
            camera_clock_offset_ms: -9,
            offset: 10,
            length: 20,
            crc: 12,
            video: run(n, 2),
            audio: run(n, 3),
            metadata: TrackRun::default(),
        };
        let sample = |sync| Sample {
            size: 30,
            duration: 3000,
            composition_offset: if sync { 0 } else { -5 },
            sync,
        };
        SegmentTable {
            run: head.run,
            epoch: head.epoch,
            base_90k: head.base_90k,
            video: head.video,
            audio: head.audio,
            metadata: None,
            fragments: (0..fragments).map(fragment).collect(),
            video_samples: (0..fragments * 2).map(|n| sample(n % 2 == 0)).collect(),
            audio_samples: vec![
                Sample { composition_offset: 0, sync: true, ..sample(true) };
                fragments * 3
            ],
            metadata_samples: Vec::new(),
        }
    }

    /// The same with metadata.
    fn with_metadata(coding: MetadataCoding, mut table: SegmentTable) -> SegmentTable {
        table.metadata = Some(coding);
        for fragment in &mut table.fragments {
            fragment.metadata = fragment.video;
        }
        let count = table.fragments.len() * 2;
        table.metadata_samples =
            vec![Sample { size: 3, duration: 1, composition_offset: 0, sync: true }; count];
        table
    }

    proptest! {
        #[test]
        fn a_footer_reads_back_and_damage_is_found(
            fragments in 0usize..40, at in any::<prop::sample::Index>(), flip in 1u8.., metadata: bool,
        ) {
            let (mut head, mut table) = (head(), table(fragments));
            if metadata {
                head.metadata = Some(MetadataCoding::Xml);
                table = with_metadata(MetadataCoding::Xml, table);
            }
            let mut bytes = write_footer(&head, &table);
            prop_assert_eq!(footer_len(&bytes), Some(bytes.len()));
            let (head_read, table_read) = parse_footer(&bytes).unwrap();
            prop_assert_eq!(head_read, head);
            prop_assert_eq!(table_read, table);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // The box's own head and the magic are looked at elsewhere.
            if at >= 8 && at < bytes.len() - 8 {
                prop_assert!(parse_footer(&bytes).is_err());
            }
        }

        #[test]
        fn every_codec_reads_back_and_only_some_need_a_later_version(
            jpeg: bool,
            codec in prop_oneof![
                Just(None), Just(Some(AudioCodec::Aac)), Just(Some(AudioCodec::G711Ulaw)),
                Just(Some(AudioCodec::G711Alaw)), Just(Some(AudioCodec::Opus)),
            ],
            metadata in prop_oneof![
                Just(None), Just(Some(MetadataCoding::Xml)), Just(Some(MetadataCoding::Gzip)),
                Just(Some(MetadataCoding::Exi)),
            ],
        ) {
            let mut head = head();
            head.audio = head.audio.zip(codec).map(|(audio, codec)| AudioParams { codec, ..audio });
            if jpeg {
                head.video = VideoParams { codec: VideoCodec::Jpeg, ..head.video };
            }
            head.metadata = metadata;
            let bytes = head.to_bytes();
            let no_aac = codec.is_some_and(|codec| codec != AudioCodec::Aac);
            // Behind ftyp and the box's own head.
            let least = if metadata.is_some() { 3 } else if jpeg || no_aac { 2 } else { 1 };
            prop_assert_eq!(bytes[24 + 24], least);
            prop_assert_eq!(SegmentHead::from_bytes(&bytes).unwrap(), (head.clone(), bytes.len()));
            let (video, audio) = (head.video.clone(), head.audio.clone());
            let mut table = SegmentTable { video, audio, ..table(3) };
            if let Some(coding) = metadata {
                table = with_metadata(coding, table);
            }
            let footer = write_footer(&head, &table);
            prop_assert_eq!(parse_footer(&footer).unwrap(), (head, table));
        }

        #[test]
        fn garbage_is_no_footer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse_footer(&bytes).is_err());
        }
    }
}
