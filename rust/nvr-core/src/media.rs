//! What comes from a camera, before it is written.

use bytes::Bytes;

use crate::reason::Reason;
use crate::time::Moment;

/// How the pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
    /// ITU-T T.81 (JPEG): each access unit is one picture with all its tables.
    Jpeg,
}

/// Parameters of a video track. Two tracks with equal parameters share a sample entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VideoParams {
    /// How the pictures are coded.
    pub codec: VideoCodec,
    /// Decoder configuration record: the content of `avcC` or `hvcC`
    /// (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1), NAL unit lengths in 4 bytes. JPEG: nothing.
    pub extra_data: Bytes,
    /// Pixels across, as shown.
    pub width: u16,
    /// Pixels down, as shown.
    pub height: u16,
}

/// How sound is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// MPEG-4 AAC.
    Aac,
    /// ITU-T G.711, µ-law.
    G711Ulaw,
    /// ITU-T G.711, A-law.
    G711Alaw,
    /// Opus (RFC 6716).
    Opus,
}

/// Parameters of a sound track.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AudioParams {
    /// How it is coded.
    pub codec: AudioCodec,
    /// AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). G.711, Opus: nothing.
    pub extra_data: Bytes,
    /// Ticks a second of its media time.
    pub sample_rate: u32,
    /// How many channels.
    pub channels: u16,
}

/// How the documents of an ONVIF metadata stream are coded (ONVIF Streaming Specification, 5.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetadataCoding {
    /// As text.
    Xml,
    /// Compressed (RFC 1952).
    Gzip,
    /// Efficient XML Interchange, with whatever options.
    Exi,
}

/// A document of an ONVIF metadata stream.
#[derive(Clone, Debug)]
pub struct MetadataDocument {
    /// When its last byte reached the recorder: its place among the pictures.
    pub arrival: Moment,
    /// As it came.
    pub data: Bytes,
}

/// All the pictures' data of one instant, as it came.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// Presentation time in ticks of 1/90,000 s, unwrapped; any origin, continuous within a session.
    pub pts_90k: i64,
    /// When its last byte reached the recorder.
    pub arrival: Moment,
    /// NAL units in order, each after its length in 4 bytes, big-endian; no parameter sets. JPEG: the
    /// picture.
    pub data: Bytes,
}

/// One frame of sound.
#[derive(Clone, Debug)]
pub struct AudioFrame {
    /// Presentation time in ticks of the sample rate, unwrapped; any origin.
    pub pts: i64,
    /// Duration in ticks of the sample rate.
    pub duration: u32,
    /// When its last byte reached the recorder.
    pub arrival: Moment,
    /// AAC: one raw frame. G.711: as many samples as came in a packet, one byte each and channel.
    /// Opus: a packet.
    pub data: Bytes,
}

/// Takes what arrives from one stream of one camera. No method blocks, waits for a disk, or fails:
/// what cannot be recorded becomes a gap with its reason.
///
/// Order of calls: ([`down`](MediaSink::down)* [`begin`](MediaSink::begin)
/// ([`video`](MediaSink::video) | …)* [`end`](MediaSink::end))*.
pub trait MediaSink: Send {
    /// A session with the camera delivers. Media times of a new session have a new origin.
    fn begin(&mut self, now: Moment, video: VideoParams, audio: Option<AudioParams>);
    /// The session also delivers ONVIF metadata. Called after [`begin`](MediaSink::begin), before any media.
    fn begin_metadata(&mut self, _coding: MetadataCoding) {}
    /// The next document of metadata.
    fn metadata(&mut self, _document: MetadataDocument) {}
    /// From the next access unit on, these parameters hold.
    fn video_params(&mut self, video: VideoParams);
    /// The next picture, in decoding order.
    fn video(&mut self, unit: AccessUnit);
    /// The next frame of sound.
    fn audio(&mut self, frame: AudioFrame);
    /// The camera's clock minus the recorder's, by the newest RTCP sender report.
    fn camera_clock_offset(&mut self, offset_us: i64);
    /// The session is over. Pictures held so far are written.
    fn end(&mut self, now: Moment, reason: Reason, detail: &str);
    /// There is no session, for this reason (also when the reason changes).
    fn down(&mut self, now: Moment, reason: Reason, detail: &str);
}
