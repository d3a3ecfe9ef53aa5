//! What a segment begins with: ftyp, our own header box, moov.

use crate::ids::{CameraId, RunId, StreamId, StreamKind};
use crate::media::{AudioCodec, AudioParams, MetadataCoding, VideoCodec, VideoParams};
use crate::mp4::boxes::{Put, write_box, write_full_box};
use crate::mp4::read::{Reader, TooShort};
use crate::mp4::sample_entry::{audio_sample_entry, metadata_sample_entry, video_sample_entry};
use crate::table::SegmentTable;
use crate::time::VIDEO_TIMESCALE;

/// `uuid` user type of the header box.
pub const HEADER_UUID: [u8; 16] = *b"nvr.segm.head\0\0\x01";
/// Track id of the pictures.
pub const VIDEO_TRACK: u32 = 1;
/// Track id of the sound.
pub const AUDIO_TRACK: u32 = 2;
/// Track id of ONVIF metadata.
pub const METADATA_TRACK: u32 = 3;

/// Identity of a segment, and how its tracks are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Whose pictures.
    pub stream: StreamId,
    /// The run that it is part of.
    pub run: RunId,
    /// Lease epoch of the run.
    pub epoch: u32,
    /// Sequence number of its first fragment within the run.
    pub first_sequence: u32,
    /// Wall time of its first picture.
    pub wall_start_us: i64,
    /// Decoding time 0 of this segment as media time of the run.
    pub base_90k: i64,
    /// Presentation time of the first picture, in ticks since decoding time 0. There is no edit
    /// list: players take one on a sound track for priming, and mute so much of it.
    pub start_pts_90k: u32,
    /// Random; goes into what is published about the footage, and away with the footage.
    pub salt: [u8; 16],
    /// The pictures.
    pub video: VideoParams,
    /// The sound.
    pub audio: Option<AudioParams>,
    /// ONVIF metadata.
    pub metadata: Option<MetadataCoding>,
}

impl SegmentHead {
    /// The table of a segment that has no fragments yet.
    pub fn empty_table(&self) -> SegmentTable {
        SegmentTable {
            run: self.run,
            epoch: self.epoch,
            base_90k: self.base_90k,
            video: self.video.clone(),
            audio: self.audio.clone(),
            metadata: self.metadata,
            fragments: Vec::new(),
            video_samples: Vec::new(),
            audio_samples: Vec::new(),
            metadata_samples: Vec::new(),
        }
    }

    /// The bytes of ftyp, header and moov.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1536);
        write_box(&mut out, *b"ftyp", |o| {
            o.bytes(b"iso6");
            o.u32(0);
            o.bytes(b"iso6mp41");
        });
        write_box(&mut out, *b"uuid", |o| {
            o.bytes(&HEADER_UUID);
            self.write_identity(o);
            self.write_params(o);
            let crc = crc32c::crc32c(&o[o.len() - self.content_len()..]);
            o.u32(crc);
        });
        write_box(&mut out, *b"moov", |o| self.write_moov(o));
        out
    }

    /// The lowest format version that has what it needs: programs that know no later one still
    /// read the rest.
    fn version(&self) -> u8 {
        if self.metadata.is_some() {
            return 3;
        }
        let no_aac = |a: &AudioParams| a.codec != AudioCodec::Aac;
        let later = self.video.codec == VideoCodec::Jpeg || self.audio.as_ref().is_some_and(no_aac);
        if later { 2 } else { 1 }
    }

    fn content_len(&self) -> usize {
        let audio = self.audio.as_ref().map_or(0, |a| a.extra_data.len());
        // The fields that versions 2 and 3 have more.
        let codec = usize::from(self.version() - 1);
        IDENTITY_LEN + 9 + self.video.extra_data.len() + 10 + audio + codec
    }

    /// Writes the fields that name the segment; also part of the footer.
    pub(super) fn write_identity(&self, o: &mut Vec<u8>) {
        o.u8(self.version());
        o.u8(match self.stream.kind {
            StreamKind::Main => 0,
            StreamKind::Sub => 1,
        });
        o.bytes(self.stream.camera.0.as_bytes());
        o.bytes(self.run.0.as_bytes());
        o.u32(self.epoch);
        o.u32(self.first_sequence);
        o.i64(self.wall_start_us);
        o.i64(self.base_90k);
        o.u32(self.start_pts_90k);
        o.bytes(&self.salt);
    }

    /// Writes how the tracks are coded; also part of the footer.
    pub(super) fn write_params(&self, o: &mut Vec<u8>) {
        o.u8(match self.video.codec {
            VideoCodec::H264 => 1,
            VideoCodec::H265 => 2,
            VideoCodec::Jpeg => 3,
        });
        o.u16(self.video.width);
        o.u16(self.video.height);
        o.u32(u32::try_from(self.video.extra_data.len()).unwrap_or(0));
        o.bytes(&self.video.extra_data);
        let audio = self.audio.as_ref();
        o.u32(audio.map_or(0, |a| a.sample_rate));
        o.u16(audio.map_or(0, |a| a.channels));
        o.u32(audio.map_or(0, |a| u32::try_from(a.extra_data.len()).unwrap_or(0)));
        o.bytes(audio.map_or(&[], |a| &a.extra_data));
        if self.version() > 1 {
            o.u8(match audio.map(|a| a.codec) {
                None => 0,
                Some(AudioCodec::Aac) => 1,
                Some(AudioCodec::G711Ulaw) => 2,
                Some(AudioCodec::G711Alaw) => 3,
                Some(AudioCodec::Opus) => 4,
            });
        }
        match self.metadata {
            None => {}
            Some(MetadataCoding::Xml) => o.u8(1),
            Some(MetadataCoding::Gzip) => o.u8(2),
            Some(MetadataCoding::Exi) => o.u8(3),
        }
    }

    /// Reads what [`write_identity`](Self::write_identity) and
    /// [`write_params`](Self::write_params) wrote.
    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, HeadError> {
        let version = r.u8()?;
        if !(1..=3).contains(&version) {
            return Err(HeadError::Version);
        }
        let kind = match r.u8()? {
            0 => StreamKind::Main,
            1 => StreamKind::Sub,
            _ => return Err(HeadError::Value("stream")),
        };
        let camera = CameraId(uuid::Uuid::from_bytes(r.array()?));
        let run = RunId(uuid::Uuid::from_bytes(r.array()?));
        let (epoch, first_sequence) = (r.u32()?, r.u32()?);
        let (wall_start_us, base_90k) = (r.i64()?, r.i64()?);
        let (start_pts_90k, salt) = (r.u32()?, r.array()?);
        let codec = match r.u8()? {
            1 => VideoCodec::H264,
            2 => VideoCodec::H265,
            3 => VideoCodec::Jpeg,
            _ => return Err(HeadError::Value("video codec")),
        };
        let (width, height) = (r.u16()?, r.u16()?);
        let len = r.u32()? as usize;
        let extra_data = bytes::Bytes::copy_from_slice(r.take(len)?);
        let video = VideoParams { codec, extra_data, width, height };
        let (sample_rate, channels) = (r.u32()?, r.u16()?);
        let len = r.u32()? as usize;
        let extra_data = bytes::Bytes::copy_from_slice(r.take(len)?);
        let codec = match if version > 1 { r.u8()? } else { u8::from(sample_rate > 0) } {
            0 => None,
            1 => Some(AudioCodec::Aac),
            2 => Some(AudioCodec::G711Ulaw),
            3 => Some(AudioCodec::G711Alaw),
            4 => Some(AudioCodec::Opus),
            _ => return Err(HeadError::Value("sound codec")),
        };
        let audio = codec.filter(|_| sample_rate > 0);
        let audio = audio.map(|codec| AudioParams { codec, extra_data, sample_rate, channels });
        let metadata = match if version > 2 { r.u8()? } else { 0 } {
            0 => None,
            1 => Some(MetadataCoding::Xml),
            2 => Some(MetadataCoding::Gzip),
            3 => Some(MetadataCoding::Exi),
            _ => return Err(HeadError::Value("metadata coding")),
        };
        let stream = StreamId { camera, kind };
        Ok(SegmentHead {
            stream,
            run,
            epoch,
            first_sequence,
            wall_start_us,
            base_90k,
            start_pts_90k,
            salt,
            video,
            audio,
            metadata,
        })
    }

    /// Reads the head from the first bytes of a segment file; also how long ftyp, header and
    /// moov are together, if `bytes` holds them all.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, usize), HeadError> {
        let mut r = Reader::new(bytes);
        let mut head = None;
        while let Some((kind, content)) = r.next_box()? {
            match &kind {
                b"ftyp" => {}
                b"uuid" if content.rest().starts_with(&HEADER_UUID) => {
                    let body = &content.rest()[HEADER_UUID.len()..];
                    let (body, crc) = body.split_last_chunk::<4>().ok_or(TooShort)?;
                    if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
                        return Err(HeadError::Checksum);
                    }
                    head = Some(Self::parse(&mut Reader::new(body))?);
                }
                b"moov" => {
                    let head = head.ok_or(HeadError::Value("order of boxes"))?;
                    return Ok((head, bytes.len() - r.rest().len()));
                }
                _ => return Err(HeadError::Value("box")),
            }
        }
        Err(HeadError::Short)
    }

    fn write_moov(&self, o: &mut Vec<u8>) {
        // mvhd (8.2.2): durations are 0, the fragments tell.
        write_full_box(o, *b"mvhd", 0, 0, |o| {
            o.u32(0);
            o.u32(0);
            o.u32(VIDEO_TIMESCALE);
            o.u32(0);
            o.u32(0x0001_0000);
            o.u16(0x0100);
            o.zeros(10);
            write_matrix(o);
            o.zeros(24);
            // Of the tracks that there may be, whether they are there or not.
            o.u32(self.metadata.map_or(AUDIO_TRACK, |_| METADATA_TRACK) + 1);
        });
        let tracks: Vec<Media<'_>> = [Media::Video(&self.video)]
            .into_iter()
            .chain(self.audio.as_ref().map(Media::Audio))
            .chain(self.metadata.map(Media::Metadata))
            .collect();
        for track in &tracks {
            track.write_trak(o);
        }
        write_box(o, *b"mvex", |o| {
            for track in &tracks {
                write_full_box(o, *b"trex", 0, 0, |o| {
                    o.u32(track.id());
                    o.u32(1);
                    o.zeros(12);
                });
            }
        });
    }
}

/// What a track has.
enum Media<'a> {
    Video(&'a VideoParams),
    Audio(&'a AudioParams),
    Metadata(MetadataCoding),
}

impl Media<'_> {
    fn id(&self) -> u32 {
        match self {
            Media::Video(_) => VIDEO_TRACK,
            Media::Audio(_) => AUDIO_TRACK,
            Media::Metadata(_) => METADATA_TRACK,
        }
    }

    fn write_trak(&self, o: &mut Vec<u8>) {
        let timescale = match self {
            Media::Audio(audio) => audio.sample_rate,
            _ => VIDEO_TIMESCALE,
        };
        let (width, height) = match self {
            Media::Video(video) => (u32::from(video.width), u32::from(video.height)),
            _ => (0, 0),
        };
        write_box(o, *b"trak", |o| {
            write_full_box(o, *b"tkhd", 0, 7, |o| {
                o.zeros(8);
                o.u32(self.id());
                o.zeros(4 + 4 + 8 + 4);
                o.u16(if matches!(self, Media::Audio(_)) { 0x0100 } else { 0 });
                o.u16(0);
                write_matrix(o);
                o.u32(width << 16);
                o.u32(height << 16);
            });
            if let Media::Metadata(_) = self {
                // It describes the pictures (8.3.3).
                write_box(o, *b"tref", |o| write_box(o, *b"cdsc", |o| o.u32(VIDEO_TRACK)));
            }
            write_box(o, *b"mdia", |o| {
                write_full_box(o, *b"mdhd", 0, 0, |o| {
                    o.zeros(8);
                    o.u32(timescale);
                    o.u32(0);
                    o.u16(0x55c4); // "und"
                    o.u16(0);
                });
                write_full_box(o, *b"hdlr", 0, 0, |o| {
                    o.u32(0);
                    o.bytes(match self {
                        Media::Video(_) => b"vide",
                        Media::Audio(_) => b"soun",
                        Media::Metadata(_) => b"meta",
                    });
                    o.zeros(12);
                    o.bytes(b"nvr\0");
                });
                write_box(o, *b"minf", |o| self.write_minf(o));
            });
        });
    }

    fn write_minf(&self, o: &mut Vec<u8>) {
        match self {
            Media::Video(_) => write_full_box(o, *b"vmhd", 0, 1, |o| o.zeros(8)),
            Media::Audio(_) => write_full_box(o, *b"smhd", 0, 0, |o| o.zeros(4)),
            Media::Metadata(_) => write_full_box(o, *b"nmhd", 0, 0, |_| {}),
        }
        write_box(o, *b"dinf", |o| {
            write_full_box(o, *b"dref", 0, 0, |o| {
                o.u32(1);
                write_full_box(o, *b"url ", 0, 1, |_| {});
            });
        });
        write_box(o, *b"stbl", |o| {
            write_full_box(o, *b"stsd", 0, 0, |o| {
                o.u32(1);
                match self {
                    Media::Video(video) => o.bytes(&video_sample_entry(video)),
                    Media::Audio(audio) => o.bytes(&audio_sample_entry(audio)),
                    Media::Metadata(coding) => o.bytes(&metadata_sample_entry(*coding)),
                }
            });
            for kind in [b"stts", b"stsc", b"stco"] {
                write_full_box(o, *kind, 0, 0, |o| o.u32(0));
            }
            write_full_box(o, *b"stsz", 0, 0, |o| o.zeros(8));
        });
    }
}

/// Bytes of [`SegmentHead::write_identity`].
const IDENTITY_LEN: usize = 2 + 16 + 16 + 4 + 4 + 8 + 8 + 4 + 16;

/// The unity matrix (ISO/IEC 14496-12, 6.2.2).
fn write_matrix(o: &mut Vec<u8>) {
    for v in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        o.u32(v);
    }
}

/// Why bytes are no segment head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// More bytes are needed.
    #[error("the head is cut short")]
    Short,
    /// The checksum differs.
    #[error("the head's checksum is wrong")]
    Checksum,
    /// Written by a later version.
    #[error("the head is of a format version that this program does not know; upgrade it")]
    Version,
    /// A field or box is not what it can be.
    #[error("the head has a wrong {0}")]
    Value(&'static str),
}

impl From<TooShort> for HeadError {
    fn from(_: TooShort) -> Self {
        HeadError::Short
    }
}
