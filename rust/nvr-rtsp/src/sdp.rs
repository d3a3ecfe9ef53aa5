//! What DESCRIBE answers (RFC 8866).

use std::fmt::Write;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, Result};
use crate::params::{ParameterSets, VideoCodec};

/// RTP clock of all video (RFC 6184, 8.2.1; RFC 7798, 7.1).
pub const VIDEO_CLOCK_HZ: u32 = 90_000;

/// RTP payload type of the pictures.
pub(crate) const VIDEO_PAYLOAD_TYPE: u8 = 96;

/// RTP payload type of the sound.
pub(crate) const AUDIO_PAYLOAD_TYPE: u8 = 97;

/// What is behind an address.
#[derive(Clone, Debug)]
pub struct Description {
    /// Tells it from others that were or will be at the same path.
    pub id: u64,
    /// The path of its address without a slash at either end, escaped as in an address.
    pub path: String,
    /// What of it can be played, as the value of `a=range` (RFC 2326, C.1.5).
    pub range: String,
    /// The pictures.
    pub video: VideoDescription,
    /// The sound, if there is any.
    pub audio: Option<AudioDescription>,
}

/// What the pictures are.
#[derive(Clone, Debug)]
pub struct VideoDescription {
    /// How they are coded.
    pub codec: VideoCodec,
    /// What a decoder needs before the first one.
    pub parameter_sets: ParameterSets,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

/// How sound is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    /// MPEG-4 AAC.
    Aac,
    /// ITU-T G.711, µ-law.
    G711Ulaw,
    /// ITU-T G.711, A-law.
    G711Alaw,
    /// Opus (RFC 7587).
    Opus,
}

impl AudioCodec {
    /// From its name in RFC 6381; `aac` is short for `mp4a` with any object type.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is not known.
    pub fn from_name(name: &str) -> Result<Self> {
        match name.split('.').next() {
            Some("aac" | "mp4a") => Ok(AudioCodec::Aac),
            Some("ulaw") => Ok(AudioCodec::G711Ulaw),
            Some("alaw") => Ok(AudioCodec::G711Alaw),
            Some("opus") => Ok(AudioCodec::Opus),
            _ => Err(Error::invalid(format!(
                "audio_codec: '{name}' is not 'aac', 'ulaw', 'alaw' or 'opus'"
            ))),
        }
    }
}

/// What the sound is.
#[derive(Clone, Debug)]
pub struct AudioDescription {
    /// How it is coded.
    pub codec: AudioCodec,
    /// AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). G.711: nothing.
    pub extra_data: Vec<u8>,
    /// Ticks of presentation time a second.
    pub sample_rate_hz: u32,
    /// How many channels.
    pub channels: u16,
}

impl Description {
    /// As DESCRIBE answers it.
    pub(crate) fn to_sdp(&self, server: IpAddr) -> String {
        let (family, any) = match server {
            IpAddr::V4(_) => ("IP4", "0.0.0.0"),
            IpAddr::V6(_) => ("IP6", "::"),
        };
        let (id, range) = (self.id, &self.range);
        let mut out = format!(
            "v=0\r\no=- {id} 1 IN {family} {server}\r\ns=camera\r\nc=IN {family} {any}\r\n\
             t=0 0\r\na=control:*\r\na=range:{range}\r\n"
        );
        out.push_str(&video(&self.video));
        if let Some(audio) = &self.audio {
            out.push_str(&sound(audio));
        }
        out
    }
}

fn video(video: &VideoDescription) -> String {
    let join =
        |sets: &[Vec<u8>]| sets.iter().map(|set| BASE64.encode(set)).collect::<Vec<_>>().join(",");
    let sets = &video.parameter_sets;
    let (name, format) = match video.codec {
        VideoCodec::H264 => {
            let profile = &sets.sps[0][1..4];
            let mut text = "packetization-mode=1; profile-level-id=".to_owned();
            push_hex(&mut text, profile);
            let all: Vec<_> = sets.iter().map(<[u8]>::to_vec).collect();
            ("H264", format!("{text}; sprop-parameter-sets={}", join(&all)))
        }
        VideoCodec::H265 => (
            "H265",
            format!(
                "sprop-vps={}; sprop-sps={}; sprop-pps={}",
                join(&sets.vps),
                join(&sets.sps),
                join(&sets.pps)
            ),
        ),
    };
    let (width, height) = (video.width, video.height);
    format!(
        "m=video 0 RTP/AVP {VIDEO_PAYLOAD_TYPE}\r\n\
         a=rtpmap:{VIDEO_PAYLOAD_TYPE} {name}/{VIDEO_CLOCK_HZ}\r\n\
         a=fmtp:{VIDEO_PAYLOAD_TYPE} {format}\r\n\
         a=x-dimensions:{width},{height}\r\na=control:trackID=0\r\n"
    )
}

/// AAC by RFC 3640, 4.1, mode AAC-hbr; G.711 by RFC 3551, 4.5.14, with a payload type that is not
/// its static one, so that it may have another clock than 8 kHz; Opus by RFC 7587, 7, which says stereo
/// always.
fn sound(audio: &AudioDescription) -> String {
    let rate = audio.sample_rate_hz;
    let channels = if audio.codec == AudioCodec::Opus { 2 } else { audio.channels };
    let (name, format) = match audio.codec {
        AudioCodec::Aac => {
            let mut config = String::new();
            push_hex(&mut config, &audio.extra_data);
            let format = format!(
                "a=fmtp:{AUDIO_PAYLOAD_TYPE} streamtype=5; profile-level-id=1; mode=AAC-hbr; \
                 sizelength=13; indexlength=3; indexdeltalength=3; config={config}\r\n"
            );
            ("mpeg4-generic", format)
        }
        AudioCodec::G711Ulaw => ("PCMU", String::new()),
        AudioCodec::G711Alaw => ("PCMA", String::new()),
        AudioCodec::Opus => ("opus", String::new()),
    };
    format!(
        "m=audio 0 RTP/AVP {AUDIO_PAYLOAD_TYPE}\r\n\
         a=rtpmap:{AUDIO_PAYLOAD_TYPE} {name}/{rate}/{channels}\r\n{format}\
         a=control:trackID=1\r\n"
    )
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::avcc;

    #[test]
    fn description_has_parameter_sets_and_config() {
        let record = avcc(&[0x67, 0x42, 0, 30, 1], &[0x68, 1]);
        let description = Description {
            id: 7,
            path: "cam/main".into(),
            range: "npt=now-".into(),
            video: VideoDescription {
                codec: VideoCodec::H264,
                parameter_sets: ParameterSets::parse(VideoCodec::H264, &record).unwrap(),
                width: 64,
                height: 64,
            },
            audio: Some(AudioDescription {
                codec: AudioCodec::Aac,
                extra_data: vec![0x14, 0x08],
                sample_rate_hz: 16_000,
                channels: 1,
            }),
        };
        let text = description.to_sdp(IpAddr::from([127, 0, 0, 1]));
        assert!(text.starts_with("v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\n"));
        assert!(text.contains(
            "a=fmtp:96 packetization-mode=1; profile-level-id=42001e; \
             sprop-parameter-sets=Z0IAHgE=,aAE=\r\n"
        ));
        assert!(text.contains("a=rtpmap:97 mpeg4-generic/16000/1\r\n"));
        assert!(text.contains("config=1408\r\n"));
        assert!(text.lines().all(|line| !line.is_empty()));

        let g711 = |codec| AudioDescription {
            codec,
            extra_data: Vec::new(),
            sample_rate_hz: 8_000,
            channels: 1,
        };
        let tail = "\r\na=control:trackID=1\r\n";
        for (codec, name) in [(AudioCodec::G711Ulaw, "PCMU"), (AudioCodec::G711Alaw, "PCMA")] {
            let text = sound(&g711(codec));
            let expected = format!("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 {name}/8000/1{tail}");
            assert_eq!(text, expected);
        }
        let opus = AudioDescription { sample_rate_hz: 48_000, ..g711(AudioCodec::Opus) };
        assert!(sound(&opus).contains("a=rtpmap:97 opus/48000/2\r\n"));
    }
}
