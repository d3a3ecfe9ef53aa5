//! What DESCRIBE answers (RFC 8866).

use std::fmt::Write;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::media::{AudioFormat, Media, VIDEO_CLOCK_HZ};
use crate::params::VideoCodec;

/// RTP payload type of the pictures.
pub(crate) const VIDEO_PAYLOAD_TYPE: u8 = 96;

/// RTP payload type of the sound.
pub(crate) const AUDIO_PAYLOAD_TYPE: u8 = 97;

/// The description of media. `session` tells one description from another.
pub(crate) fn describe(media: &Media, session: u64, server: IpAddr) -> String {
    let (family, any) = match server {
        IpAddr::V4(_) => ("IP4", "0.0.0.0"),
        IpAddr::V6(_) => ("IP6", "::"),
    };
    let mut out = format!(
        "v=0\r\no=- {session} 1 IN {family} {server}\r\ns=camera\r\nc=IN {family} {any}\r\nt=0 0\r\n\
         a=control:*\r\na=range:npt=now-\r\n"
    );
    out.push_str(&video(media));
    if let Some(audio) = &media.audio {
        out.push_str(&sound(audio));
    }
    out
}

fn video(media: &Media) -> String {
    let join =
        |sets: &[Vec<u8>]| sets.iter().map(|set| BASE64.encode(set)).collect::<Vec<_>>().join(",");
    let sets = &media.parameter_sets;
    let (name, format) = match media.video.codec {
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
    let (width, height) = (media.video.width, media.video.height);
    format!(
        "m=video 0 RTP/AVP {VIDEO_PAYLOAD_TYPE}\r\n\
         a=rtpmap:{VIDEO_PAYLOAD_TYPE} {name}/{VIDEO_CLOCK_HZ}\r\n\
         a=fmtp:{VIDEO_PAYLOAD_TYPE} {format}\r\n\
         a=x-dimensions:{width},{height}\r\na=control:trackID=0\r\n"
    )
}

/// RFC 3640, 4.1: mode AAC-hbr.
fn sound(audio: &AudioFormat) -> String {
    let mut config = String::new();
    push_hex(&mut config, &audio.extra_data);
    let (rate, channels) = (audio.sample_rate_hz, audio.channels);
    format!(
        "m=audio 0 RTP/AVP {AUDIO_PAYLOAD_TYPE}\r\n\
         a=rtpmap:{AUDIO_PAYLOAD_TYPE} mpeg4-generic/{rate}/{channels}\r\n\
         a=fmtp:{AUDIO_PAYLOAD_TYPE} streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; \
         indexlength=3; indexdeltalength=3; config={config}\r\na=control:trackID=1\r\n"
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
    use crate::media::tests::media;

    #[test]
    fn description_has_parameter_sets_and_config() {
        let media = media(10, 2, &[(0, true)], &[0]).unwrap();
        let text = describe(&media, 7, IpAddr::from([127, 0, 0, 1]));
        assert!(text.starts_with("v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\n"));
        assert!(text.contains(
            "a=fmtp:96 packetization-mode=1; profile-level-id=42001e; \
             sprop-parameter-sets=Z0IAHgE=,aAE=\r\n"
        ));
        assert!(text.contains("a=rtpmap:97 mpeg4-generic/16000/1\r\n"));
        assert!(text.contains("config=1408\r\n"));
        assert!(text.lines().all(|line| !line.is_empty()));
    }
}
