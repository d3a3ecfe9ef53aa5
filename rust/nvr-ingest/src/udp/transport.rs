//! The Transport header (RFC 2326, section 12.39).

use std::net::IpAddr;

/// What a camera answers to a request for UDP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// Where packets come from, when that is not where the answer came from.
    pub(super) source: Option<IpAddr>,
    /// The camera's ports for RTP and RTCP, when it says them.
    pub(super) ports: Option<(u16, u16)>,
}

/// What to ask for, with our ports.
pub(super) fn request(rtp: u16, rtcp: u16) -> String {
    format!("RTP/AVP;unicast;client_port={rtp}-{rtcp}")
}

/// What the RTSP library is told instead: it gets all packets over its connection.
pub(super) fn interleaved((rtp, rtcp): (u8, u8)) -> String {
    format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}")
}

/// The channels that the library asks for.
pub(super) fn channels(header: &str) -> Option<(u8, u8)> {
    let (rtp, rtcp) = parameter(header, "interleaved")?.split_once('-')?;
    Some((rtp.parse().ok()?, rtcp.parse().ok()?))
}

/// Reads a camera's answer.
///
/// # Errors
/// It is no answer to what was asked.
pub(super) fn granted(header: &str) -> Result<Granted, &'static str> {
    // Of several transports the first counts; there should be one.
    let header = header.split(',').next().unwrap_or_default();
    let protocol = header.split(';').next().unwrap_or_default().trim();
    if protocol.to_ascii_uppercase().ends_with("/TCP") || parameter(header, "interleaved").is_some()
    {
        return Err("it was asked for RTP over UDP and answers with TCP: use rtsp://");
    }
    if header.split(';').any(|part| part.trim().eq_ignore_ascii_case("multicast")) {
        return Err("it was asked for unicast and answers with multicast");
    }
    let source = parameter(header, "source").and_then(|text| text.parse::<IpAddr>().ok());
    let ports = match parameter(header, "server_port") {
        None => None,
        // A camera that does not know its ports: as if it had not said any.
        Some(text) if text.trim_matches(['0', '-']).is_empty() => None,
        Some(text) => Some(pair(text).ok_or("its answer's server_port makes no sense")?),
    };
    Ok(Granted { source: source.filter(|address| !address.is_unspecified()), ports })
}

fn pair(text: &str) -> Option<(u16, u16)> {
    let (rtp, rtcp) = match text.split_once('-') {
        Some((rtp, rtcp)) => (rtp.trim().parse().ok()?, rtcp.trim().parse().ok()?),
        None => {
            let rtp: u16 = text.parse().ok()?;
            (rtp, rtp.checked_add(1)?)
        }
    };
    (rtp != 0 && rtcp != 0).then_some((rtp, rtcp))
}

fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ok(source: Option<&str>, ports: Option<(u16, u16)>) -> Result<Granted, &'static str> {
        Ok(Granted { source: source.map(|s| s.parse().unwrap()), ports })
    }

    #[test]
    fn answers_of_cameras_are_understood() {
        let cases = [
            // GStreamer, live555, Hikvision, Dahua, and what the grammar allows.
            (
                "RTP/AVP;unicast;client_port=5000-5001;server_port=6970-6971;ssrc=12AB34CD;mode=\"PLAY\"",
                None,
                Some((6970, 6971)),
            ),
            (
                "RTP/AVP;unicast;destination=10.0.0.2;source=10.0.0.7;client_port=5000-5001;server_port=6970-6971",
                Some("10.0.0.7"),
                Some((6970, 6971)),
            ),
            (
                "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=8208-8209;ssrc= d6d6627;mode=\"play\"",
                None,
                Some((8208, 8209)),
            ),
            (
                "rtp/avp/udp; unicast; Source=\"fe80::1\"; Server_Port=20000",
                Some("fe80::1"),
                Some((20_000, 20_001)),
            ),
            ("RTP/AVP;unicast;client_port=5000-5001;source=0.0.0.0;server_port=0-0", None, None),
            ("RTP/AVP;unicast;source=camera.local", None, None),
            ("RTP/AVP;server_port=5004-9999", None, Some((5004, 9999))),
        ];
        for (header, source, ports) in cases {
            assert_eq!(granted(header), ok(source, ports), "{header}");
        }
        for header in [
            "RTP/AVP/TCP;unicast;interleaved=0-1",
            "RTP/AVP;unicast;interleaved=0-1",
            "RTP/AVP;multicast;destination=239.0.0.1;port=5000-5001",
            "RTP/AVP;server_port=70000-70001",
            "RTP/AVP;server_port=65535",
            "RTP/AVP;server_port=x",
        ] {
            assert!(granted(header).is_err(), "{header}");
        }
    }

    #[test]
    fn the_library_gets_the_channels_that_it_asks_for() {
        assert_eq!(channels(&interleaved((2, 3))), Some((2, 3)));
        assert_eq!(channels(&request(5000, 5001)), None);
    }

    proptest! {
        #[test]
        fn any_header_is_survived(header in "\\PC{0,200}") {
            let _ = (granted(&header), channels(&header));
        }
    }
}
