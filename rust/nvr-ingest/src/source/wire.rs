//! What a source's process writes: messages of one byte that says which, the length of what
//! follows in 4 bytes, and that. Numbers are big-endian.
//!
//! | byte | message | content |
//! | --- | --- | --- |
//! | `R` | its libraries are loaded | nothing |
//! | `B` | pictures come now | JSON, [`BeginText`] |
//! | `P` | other parameters from here on | JSON, [`VideoText`] |
//! | `V` | a picture | presentation time (8 bytes, 1/90,000 s), NAL units each after its length in 4 bytes, or a JPEG |
//! | `A` | a frame of sound | presentation time (8 bytes), duration (4 bytes), both in ticks of the sample rate, one raw AAC frame or packet of Opus |
//! | `E` | it is over | JSON, [`EndText`] |
//!
//! The process parses what strangers send, and may be theirs by now: nothing is taken on trust.

use bytes::{Buf as _, Bytes};
use nvr_core::codec::{self, AudioInfo, NalUnits, VideoInfo};
use nvr_core::media::{AudioCodec, AudioParams, VideoCodec, VideoParams};
use nvr_core::reason::Reason;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::ChildStdout;

use crate::MAX_PICTURE;
use crate::failure::Failure;

/// Nothing but a picture is larger.
const MAX_OTHER: u32 = 1 << 16;
/// Media times, in any ticks: some sources count them since 1970.
const TIMES: std::ops::Range<i64> = -(1 << 50)..1 << 50;
/// As much as a pipe holds: few reads.
const READ_AT_ONCE: usize = 64 << 10;

/// A message of a source's process.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Ready,
    Begin(Begin),
    Parameters(VideoParams),
    Video { pts_90k: i64, data: Bytes },
    Audio { pts: i64, duration: u32, data: Bytes },
    End(Failure),
}

/// What is delivered.
#[derive(Debug, PartialEq)]
pub(super) struct Begin {
    pub(super) video: VideoParams,
    pub(super) audio: Option<AudioParams>,
    /// Sound that is offered and not recorded, for people.
    pub(super) left_out: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VideoText {
    /// `h264`, `h265` or `jpeg`.
    codec: String,
    /// In hexadecimal digits: NAL units of VPS, SPS and PPS; of JPEG one that is width and height, in 2
    /// bytes each.
    parameter_sets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AudioText {
    /// `aac` or `opus`.
    codec: String,
    /// AAC: AudioSpecificConfig, in hexadecimal digits.
    extra_data: String,
    sample_rate: u32,
    channels: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginText {
    video: VideoText,
    audio: Option<AudioText>,
    left_out: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndText {
    reason: String,
    detail: String,
}

/// Reasons that a process may give.
const REASONS: [Reason; 10] = [
    Reason::NOT_RECORDED,
    Reason::REFUSED,
    Reason::UNREACHABLE,
    Reason::AUTH_FAILED,
    Reason::NO_SUCH_PATH,
    Reason::CODEC_NOT_SUPPORTED,
    Reason::SILENT,
    Reason::PROTOCOL_ERROR,
    Reason::DISCONNECTED,
    Reason::PARAMETER_FLOOD,
];

/// Messages as they come.
pub(super) struct Reader<R = ChildStdout>(BufReader<R>);

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(output: R) -> Self {
        Reader(BufReader::with_capacity(READ_AT_ONCE, output))
    }

    /// The next message; none when the output ends, also in the middle of one.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Failure>> {
        let kind = self.0.read_u8().await.ok()?;
        let length = self.0.read_u32().await.ok()?;
        if length > if kind == b'V' { MAX_PICTURE } else { MAX_OTHER } {
            return Some(Err(broken(&format!("a message has {length} bytes"))));
        }
        // It grows as bytes come, not by what is promised.
        let mut content = Vec::new();
        let read = (&mut self.0).take(length.into()).read_to_end(&mut content).await.ok()?;
        (read == length as usize).then(|| parse(kind, content.into()))
    }
}

fn parse(kind: u8, mut content: Bytes) -> Result<Message, Failure> {
    match kind {
        b'R' if content.is_empty() => Ok(Message::Ready),
        b'B' => {
            let begin: BeginText = json(&content)?;
            let audio = begin.audio.map(|audio| -> Result<AudioParams, Failure> {
                Ok(AudioParams {
                    codec: match audio.codec.as_str() {
                        "aac" => AudioCodec::Aac,
                        "opus" => AudioCodec::Opus,
                        _ => return Err(broken("it names sound that is not recorded")),
                    },
                    extra_data: from_hex(&audio.extra_data)?,
                    sample_rate: audio.sample_rate,
                    channels: audio.channels,
                })
            });
            let (video, audio) = (video(&begin.video)?, audio.transpose()?);
            Ok(Message::Begin(Begin { video, audio, left_out: begin.left_out }))
        }
        b'P' => Ok(Message::Parameters(video(&json(&content)?)?)),
        b'V' if content.len() > 8 => {
            let pts_90k = content.get_i64();
            if !TIMES.contains(&pts_90k) {
                return Err(broken("the time of a picture is out of range"));
            }
            // No NAL unit has the 4 GB that the first bytes of a JPEG would say.
            if !codec::is_jpeg(&content) && NalUnits(&content).any(|nal| nal.is_err()) {
                return Err(broken("the NAL units of a picture do not add up"));
            }
            Ok(Message::Video { pts_90k, data: content })
        }
        b'A' if content.len() > 12 => {
            let (pts, duration) = (content.get_i64(), content.get_u32());
            if !TIMES.contains(&pts) {
                return Err(broken("the time of sound is out of range"));
            }
            Ok(Message::Audio { pts, duration, data: content })
        }
        b'E' => {
            let end: EndText = json(&content)?;
            let reason = REASONS.into_iter().find(|r| r.0 == end.reason);
            Ok(Message::End(Failure::new(reason.unwrap_or(Reason::PROTOCOL_ERROR), end.detail)))
        }
        _ => Err(broken("a message cannot be understood")),
    }
}

fn json<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(content).map_err(|_| broken("a message cannot be understood"))
}

fn video(text: &VideoText) -> Result<VideoParams, Failure> {
    let codec = match text.codec.as_str() {
        "h264" => VideoCodec::H264,
        "h265" => VideoCodec::H265,
        "jpeg" => return jpeg(&text.parameter_sets),
        _ => return Err(broken("it names a codec that is not recorded")),
    };
    let mut sets = Vec::new();
    for set in &text.parameter_sets {
        sets.extend([0, 0, 1]);
        sets.extend(from_hex(set)?);
    }
    let params = codec::record_from_annex_b(codec, &sets).and_then(|extra_data| {
        let mut params = VideoParams { codec, extra_data, width: 0, height: 0 };
        let info = VideoInfo::parse(&params)?;
        (params.width, params.height) = (info.width, info.height);
        Ok(params)
    });
    params.map_err(|e| Failure::new(Reason::CODEC_NOT_SUPPORTED, e.to_string()))
}

fn jpeg(sets: &[String]) -> Result<VideoParams, Failure> {
    let size = match sets {
        [one] => from_hex(one)?,
        _ => Bytes::new(),
    };
    let [w0, w1, h0, h1] = size[..] else { return Err(broken("a JPEG has no size")) };
    let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
    let params = VideoParams { codec: VideoCodec::Jpeg, extra_data: Bytes::new(), width, height };
    match VideoInfo::parse(&params) {
        Ok(_) => Ok(params),
        Err(e) => Err(Failure::new(Reason::CODEC_NOT_SUPPORTED, e.to_string())),
    }
}

fn from_hex(text: &str) -> Result<Bytes, Failure> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok();
    let bytes: Option<Vec<u8>> = digits.iter().map(byte).collect();
    match bytes {
        Some(bytes) if rest.is_empty() => Ok(bytes.into()),
        _ => Err(broken("a message cannot be understood")),
    }
}

/// Name of pictures whose parameters were understood.
pub(super) fn codec_name(video: &VideoParams) -> String {
    VideoInfo::parse(video).map(|info| info.rfc6381).unwrap_or_default()
}

/// Name of sound.
pub(super) fn audio_codec(audio: &AudioParams) -> Result<String, Failure> {
    if audio.sample_rate == 0 {
        return Err(broken("it has sound without a sample rate"));
    }
    Ok(AudioInfo::parse(audio)
        .map_err(|e| Failure::new(Reason::CODEC_NOT_SUPPORTED, e.to_string()))?
        .rfc6381)
}

/// The process does not keep to this.
pub(super) fn broken(what: &str) -> Failure {
    Failure::new(
        Reason::PROTOCOL_ERROR,
        format!(
            "internal error between the recorder and the process that reads the source: {what}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPS: &str = "6764000cacd941419f9e10000003001000000301e0f1429960";
    const PPS: &str = "68ebe3cb22c0";

    /// All messages that bytes hold, and whether they end in order.
    fn read(bytes: &[u8]) -> Vec<Result<Message, Failure>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut reader = Reader::new(bytes);
            let mut all = Vec::new();
            while let Some(message) = reader.next().await {
                let failed = message.is_err();
                all.push(message);
                if failed {
                    break;
                }
            }
            all
        })
    }

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(content);
        bytes
    }

    #[test]
    fn reads_each_message() {
        let begin = format!(
            r#"{{"video": {{"codec": "h264", "parameter_sets": ["{SPS}", "{PPS}"]}}, "left_out": "x",
            "audio": {{"codec": "aac", "extra_data": "1208", "sample_rate": 44100, "channels": 1}}}}"#
        );
        let picture = [&7_i64.to_be_bytes()[..], &[0, 0, 0, 2, 0x65, 1]].concat();
        let sound = [&(-3_i64).to_be_bytes()[..], &1024_u32.to_be_bytes(), &[9]].concat();
        let end = br#"{"reason": "refused", "detail": "no"}"#;
        let bytes = [
            message(b'R', b""),
            message(b'B', begin.as_bytes()),
            message(b'V', &picture),
            message(b'A', &sound),
            message(b'E', end),
        ]
        .concat();
        let audio = AudioParams {
            codec: AudioCodec::Aac,
            extra_data: Bytes::from_static(&[0x12, 8]),
            sample_rate: 44_100,
            channels: 1,
        };
        let expected = [
            Message::Video { pts_90k: 7, data: Bytes::from_static(&[0, 0, 0, 2, 0x65, 1]) },
            Message::Audio { pts: -3, duration: 1024, data: Bytes::from_static(&[9]) },
            Message::End(Failure::new(Reason::REFUSED, "no")),
        ];
        let all = read(&bytes);
        let [Ok(Message::Ready), Ok(Message::Begin(begin)), rest @ ..] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!((begin.video.width, begin.video.height), (320, 180));
        assert_eq!(codec_name(&begin.video), "avc1.64000c");
        assert_eq!((begin.audio.as_ref(), begin.left_out.as_str()), (Some(&audio), "x"));
        assert_eq!(rest, expected.map(Ok));
    }

    #[test]
    fn what_does_not_keep_to_it_ends_the_session() {
        let torn_picture = [&0_i64.to_be_bytes()[..], &[0, 0, 0, 9, 1]].concat();
        for bytes in [
            message(b'X', b""),
            message(b'V', b"short"),
            message(b'V', &torn_picture),
            message(b'B', b"{}"),
            message(b'P', br#"{"codec": "vp9", "parameter_sets": []}"#),
            message(b'P', br#"{"codec": "h264", "parameter_sets": ["abc"]}"#),
            message(b'V', &[&i64::MIN.to_be_bytes()[..], &[0, 0, 0, 1, 0x65]].concat()),
            [b"V".as_slice(), &u32::MAX.to_be_bytes()].concat(),
            [b"B".as_slice(), &(MAX_OTHER + 1).to_be_bytes()].concat(),
        ] {
            let all = read(&bytes);
            assert!(matches!(&all[..], [Err(f)] if f.reason == Reason::PROTOCOL_ERROR), "{all:?}");
        }
        assert_eq!(read(&[b"V".as_slice(), &9_u32.to_be_bytes(), &[1, 2]].concat()), []);
        let unknown = message(b'E', br#"{"reason": "expired", "detail": ""}"#);
        assert_eq!(read(&unknown), [Ok(Message::End(Failure::new(Reason::PROTOCOL_ERROR, "")))]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            kinds in proptest::collection::vec((proptest::sample::select(b"RBPVAEX".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            tail in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut bytes: Vec<u8> = kinds.iter().flat_map(|(k, c)| message(*k, c)).collect();
            bytes.extend(tail);
            read(&bytes);
        }
    }
}
