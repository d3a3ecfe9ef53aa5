//! Which of a camera's streams are recorded, and their parameters.

use bytes::Bytes;
use nvr_core::media::{AudioCodec, AudioParams, MetadataCoding, VideoCodec, VideoParams};
use nvr_core::reason::Reason;
use retina::client::Stream;
use retina::codec::{ParametersRef, VideoParameters, VideoParametersCodec};

use crate::demux::{Kind, format_parameters};
use crate::failure::Failure;
use crate::opus;

/// What of a description is recorded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Index of the video stream.
    pub(crate) video: usize,
    /// Index of the sound stream.
    pub(crate) audio: Option<usize>,
    /// Index of the metadata stream, and how it is coded.
    pub(crate) metadata: Option<(usize, MetadataCoding)>,
    /// What is left out, for people; empty when nothing is.
    pub(crate) left_out: String,
}

/// Chooses the first H.264 or H.265 video, or else the first JPEG; the first sound in AAC, G.711 or Opus;
/// and if it is wanted the first ONVIF metadata.
pub(crate) fn choose(streams: &[Stream], metadata_wanted: bool) -> Result<Choice, Failure> {
    let is_video =
        |s: &Stream| s.media() == "video" && matches!(s.encoding_name(), "h264" | "h265");
    let is_jpeg =
        |s: &Stream| matches!(s.media(), "video" | "image") && s.encoding_name() == "jpeg";
    let video = streams.iter().position(is_video).or_else(|| streams.iter().position(is_jpeg));
    let Some(video) = video else {
        let offered: Vec<String> = streams.iter().map(describe).collect();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Err(Failure::new(
            Reason::CODEC_NOT_SUPPORTED,
            format!(
                "the camera offers {offered}; only video in H.264, H.265 or JPEG can be recorded"
            ),
        ));
    };
    let audio = streams.iter().position(|s| audio_params(s, None).is_some());
    let mut metadata = None;
    if metadata_wanted {
        metadata = streams.iter().enumerate().find_map(|(i, s)| Some((i, metadata_coding(s)?)));
    }
    let sound: Vec<String> = streams
        .iter()
        .enumerate()
        .filter(|(i, s)| s.media() == "audio" && Some(*i) != audio)
        .map(|(_, s)| describe(s))
        .collect();
    let mut left_out = Vec::new();
    if !sound.is_empty() {
        left_out.push(format!("{} (one track in AAC, G.711 or Opus can be)", sound.join(", ")));
    }
    if metadata_wanted && metadata.is_none() {
        left_out.push("ONVIF metadata (the camera offers none)".to_owned());
    }
    Ok(Choice { video, audio, metadata, left_out: left_out.join(", ") })
}

impl Choice {
    /// Which streams are to be set up, and how each is read. `sdp`: their description.
    pub(crate) fn tracks(&self, streams: &[Stream], sdp: &[u8]) -> Vec<(usize, Kind)> {
        let kind = |index: usize| match &streams[index] {
            stream if is_opus(stream) => Kind::Opus,
            stream if metadata_coding(stream).is_some() => Kind::Metadata,
            _ => Kind::Library(parameters_of(streams, index, sdp)),
        };
        [Some(self.video), self.audio, self.metadata.map(|(index, _)| index)]
            .into_iter()
            .flatten()
            .map(|index| (index, kind(index)))
            .collect()
    }
}

/// The format parameters of a stream in its description.
pub(crate) fn parameters_of(streams: &[Stream], index: usize, sdp: &[u8]) -> Option<String> {
    let stream = &streams[index];
    let same = |s: &&Stream| {
        s.media() == stream.media() && s.rtp_payload_type() == stream.rtp_payload_type()
    };
    let nth = streams[..index].iter().filter(same).count();
    format_parameters(sdp, stream.media(), stream.rtp_payload_type(), nth)
}

fn is_opus(stream: &Stream) -> bool {
    stream.media() == "audio"
        && stream.encoding_name() == "opus"
        && stream.clock_rate_hz() == opus::CLOCK_HZ
}

/// How a stream of ONVIF metadata is coded (ONVIF Streaming Specification, 5.1.2.1.1); none: it is no
/// such stream.
fn metadata_coding(stream: &Stream) -> Option<MetadataCoding> {
    if stream.media() != "application" {
        return None;
    }
    match stream.encoding_name().strip_prefix("vnd.onvif.metadata")? {
        "" => Some(MetadataCoding::Xml),
        ".gzip" => Some(MetadataCoding::Gzip),
        ".exi.onvif" | ".exi.ext" => Some(MetadataCoding::Exi),
        _ => None,
    }
}

fn describe(stream: &Stream) -> String {
    format!("{} {}", stream.media(), stream.encoding_name().to_ascii_uppercase())
}

/// In the recorder's terms; none when a size is out of range.
pub(crate) fn video_params(p: &VideoParameters) -> Option<VideoParams> {
    let codec = match p.codec_params() {
        VideoParametersCodec::H264 { .. } => VideoCodec::H264,
        VideoParametersCodec::H265 { .. } => VideoCodec::H265,
        VideoParametersCodec::Jpeg => VideoCodec::Jpeg,
        _ => return None,
    };
    let (width, height) = p.pixel_dimensions();
    Some(VideoParams {
        codec,
        extra_data: Bytes::copy_from_slice(p.extra_data()),
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
    })
}

/// The parameters of a sound stream in the recorder's terms; none when it cannot be recorded. That
/// of AAC stand in its description always; a stream whose description is broken has none and is
/// left out, since it could not be decoded. `format`: the format
/// parameters of its description, of which only Opus needs any.
pub(crate) fn audio_params(stream: &Stream, format: Option<&str>) -> Option<AudioParams> {
    if is_opus(stream) {
        return Some(AudioParams {
            codec: AudioCodec::Opus,
            extra_data: Bytes::new(),
            sample_rate: opus::CLOCK_HZ,
            channels: opus::channels(format),
        });
    }
    let codec = match stream.encoding_name() {
        "mpeg4-generic" => AudioCodec::Aac,
        "pcmu" => AudioCodec::G711Ulaw,
        "pcma" => AudioCodec::G711Alaw,
        _ => return None,
    };
    let Some(ParametersRef::Audio(p)) = stream.parameters() else { return None };
    Some(AudioParams {
        codec,
        extra_data: match codec {
            AudioCodec::Aac => Bytes::copy_from_slice(p.extra_data()),
            _ => Bytes::new(),
        },
        sample_rate: p.clock_rate(),
        channels: p.channels().get(),
    })
}
