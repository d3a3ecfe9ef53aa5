//! Which of a camera's streams are recorded, and their parameters.

use bytes::Bytes;
use nvr_core::media::{AudioCodec, AudioParams, VideoCodec, VideoParams};
use nvr_core::reason::Reason;
use retina::client::Stream;
use retina::codec::{ParametersRef, VideoParameters, VideoParametersCodec};

use crate::failure::Failure;

/// What of a description is recorded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Index of the video stream.
    pub(crate) video: usize,
    /// Index of the sound stream.
    pub(crate) audio: Option<usize>,
    /// What is left out, for people; empty when nothing is.
    pub(crate) left_out: String,
}

/// Chooses the first H.264 or H.265 video, or else the first JPEG, and the first sound in AAC or G.711.
pub(crate) fn choose(streams: &[Stream]) -> Result<Choice, Failure> {
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
    let audio = streams.iter().position(|s| audio_params(s).is_some());
    let left_out: Vec<String> = streams
        .iter()
        .enumerate()
        .filter(|(i, s)| s.media() == "audio" && Some(*i) != audio)
        .map(|(_, s)| describe(s))
        .collect();
    Ok(Choice { video, audio, left_out: left_out.join(", ") })
}

fn describe(stream: &Stream) -> String {
    format!("{} {}", stream.media(), stream.encoding_name().to_ascii_uppercase())
}

/// The parameters of a video stream, once they are known.
pub(crate) fn video_parameters(stream: &Stream) -> Option<&VideoParameters> {
    match stream.parameters() {
        Some(ParametersRef::Video(p)) => Some(p),
        _ => None,
    }
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
/// left out, since it could not be decoded.
pub(crate) fn audio_params(stream: &Stream) -> Option<AudioParams> {
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
            AudioCodec::G711Ulaw | AudioCodec::G711Alaw => Bytes::new(),
        },
        sample_rate: p.clock_rate(),
        channels: p.channels().get(),
    })
}
