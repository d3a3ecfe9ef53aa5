//! From a library's error to what an operator understands.

use std::fmt::Write as _;
use std::io;

use nvr_core::reason::Reason;

use crate::address::Address;

/// Why there is no session, or no longer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// For people; may hold what a camera sent until [`Failure::scrubbed`].
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Failure { reason, detail: detail.into() }
    }

    /// Without secrets; only this form leaves the crate.
    pub(crate) fn scrubbed(mut self, address: &Address) -> Self {
        self.detail = address.scrub(&self.detail);
        self
    }
}

/// How far a session had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connecting, asking for the description, logging in.
    Describe,
    /// Choosing what to receive.
    Setup,
    /// Asking to start.
    Play,
    /// Media flow.
    Media,
}

/// The library's error, sorted. `retina::Error` is opaque but for the status code: its kinds
/// are read from the `Debug` form, which names the variants and `io::ErrorKind`s (the tests
/// below hold real errors against this, so that a new version that names them differently
/// is noticed).
pub(crate) fn classify(error: &retina::Error, phase: Phase, address: &Address) -> Failure {
    let said = first_paragraph(error);
    if let Some(status) = error.status_code() {
        return by_status(status, phase, address, &said);
    }
    let debug = bounded_debug(error);
    let variant = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let kind = debug.rsplit_once(" kind: ").map_or("", |(_, rest)| {
        rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
    });
    match (variant, kind) {
        ("ConnectError", "ConnectionRefused") => {
            unconnected(address, io::ErrorKind::ConnectionRefused, &said)
        }
        ("ConnectError", _) => unconnected(address, io::ErrorKind::Other, &said),
        // The library gives up a session whose keepalive request got no answer.
        ("RtspReadError" | "WriteError", "TimedOut") if phase == Phase::Media => {
            Failure::new(Reason::PROTOCOL_ERROR, said)
        }
        ("RtspReadError" | "WriteError", _) => Failure::new(
            Reason::DISCONNECTED,
            match phase {
                Phase::Media => format!("the connection broke: {said}"),
                _ => format!("the camera closed the connection during the handshake: {said}"),
            },
        ),
        _ => Failure::new(Reason::PROTOCOL_ERROR, said),
    }
}

/// Why a camera's port takes no connection.
pub(crate) fn unconnected(address: &Address, kind: io::ErrorKind, said: &str) -> Failure {
    let (host, port) = address.host_port();
    if kind == io::ErrorKind::ConnectionRefused {
        return Failure::new(
            Reason::REFUSED,
            format!("{host} refuses connections to port {port}: is it the camera's RTSP port?"),
        );
    }
    Failure::new(Reason::UNREACHABLE, format!("{host} port {port} cannot be reached: {said}"))
}

/// Whether an error is about one packet of media: the connection is as good as before.
pub(crate) fn is_about_a_packet(error: &retina::Error) -> bool {
    // The variant's name comes first: no need for the rest, which can be long.
    struct Head(String);
    impl std::fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.push_str(text);
            if self.0.len() < PACKET_ERROR.len() { Ok(()) } else { Err(std::fmt::Error) }
        }
    }
    const PACKET_ERROR: &str = "RtpPacketError";
    let mut head = Head(String::new());
    let _ = write!(head, "{error:?}");
    head.0.starts_with(PACKET_ERROR)
}

/// Whether what the library says of a packet is about parameter sets that it can do nothing with. It has
/// nothing but words for that.
pub(crate) fn is_about_parameters(what: &str) -> bool {
    let what = what.to_ascii_lowercase();
    let words = ["vps", "sps", "pps", "luma_samples", "conformance window"];
    words.iter().any(|word| what.contains(word))
}

fn by_status(status: u16, phase: Phase, address: &Address, said: &str) -> Failure {
    match (status, phase) {
        (401 | 403, _) if address.login().is_none() => Failure::new(
            Reason::AUTH_FAILED,
            format!("the camera wants user and password, and none are configured ({status})"),
        ),
        (401 | 403, _) => Failure::new(
            Reason::AUTH_FAILED,
            format!("the camera refuses user and password ({status})"),
        ),
        // 454 is "session not found": said to a DESCRIBE, which has no session, it means
        // that nothing is served under this URL.
        (404 | 410, _) | (454, Phase::Describe) => Failure::new(
            Reason::NO_SUCH_PATH,
            format!("the camera has no stream at '{}' ({status})", path_and_query(address)),
        ),
        (461, _) => {
            let (asked, other) =
                if address.is_udp() { ("UDP", "rtsp://") } else { ("TCP", "rtspu://") };
            Failure::new(
                Reason::PROTOCOL_ERROR,
                format!("the camera does not send over {asked} (461): try {other} in its address"),
            )
        }
        _ => Failure::new(Reason::PROTOCOL_ERROR, said),
    }
}

fn path_and_query(address: &Address) -> String {
    let url = address.url();
    url.query().map_or_else(|| url.path().to_owned(), |q| format!("{}?{q}", url.path()))
}

/// What the library says, without addresses and times of the packet concerned.
fn first_paragraph(error: &retina::Error) -> String {
    let text = error.to_string();
    text.split("\n\n").next().unwrap_or_default().to_owned()
}

/// The `Debug` form, cut: it can hold a whole message of a camera.
fn bounded_debug(error: &retina::Error) -> String {
    const ENOUGH: usize = 4096;
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write!(out, "{error:?}");
    match out.char_indices().nth(ENOUGH) {
        Some((end, _)) => out[..end].to_owned(),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retina::client::{Session, SessionOptions};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// The error that the library gives when a peer answers a DESCRIBE with these bytes
    /// (nothing: it hangs up), and the address that was asked.
    async fn describe_against(answer: &'static [u8], login: &str) -> (retina::Error, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address::parse(&format!("rtsp://{login}127.0.0.1:{port}/live")).unwrap();
        let peer = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            while socket.read(&mut request).await.is_ok_and(|n| n > 0) {
                if answer.is_empty() {
                    break;
                }
                let text = String::from_utf8_lossy(&request);
                let cseq = text.split("CSeq: ").nth(1).and_then(|s| s.split('\r').next());
                let answer = String::from_utf8_lossy(answer).replace("{cseq}", cseq.unwrap());
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let error = describe(&address).await;
        peer.abort();
        (error, address)
    }

    async fn describe(address: &Address) -> retina::Error {
        let options = SessionOptions::default().creds(address.login().cloned());
        Session::describe(address.url().clone(), options).await.err().unwrap()
    }

    #[tokio::test]
    async fn closed_port_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let address = Address::parse(&format!("rtsp://127.0.0.1:{port}/")).unwrap();
        let failure = classify(&describe(&address).await, Phase::Describe, &address);
        assert_eq!(failure.reason, Reason::REFUSED);
        assert!(failure.detail.contains(&port.to_string()), "{}", failure.detail);
    }

    #[tokio::test]
    async fn unknown_host_is_unreachable() {
        let address = Address::parse("rtsp://camera.invalid/").unwrap();
        let failure = classify(&describe(&address).await, Phase::Describe, &address);
        assert_eq!(failure.reason, Reason::UNREACHABLE);
        assert!(failure.detail.contains("camera.invalid"), "{}", failure.detail);
    }

    #[tokio::test]
    async fn hanging_up_is_disconnected() {
        let (error, address) = describe_against(b"", "").await;
        let failure = classify(&error, Phase::Describe, &address);
        assert_eq!(failure.reason, Reason::DISCONNECTED);
    }

    #[tokio::test]
    async fn garbage_is_a_protocol_error_on_one_short_line() {
        let (error, address) = describe_against(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "").await;
        let failure = classify(&error, Phase::Describe, &address).scrubbed(&address);
        assert_eq!(failure.reason, Reason::PROTOCOL_ERROR);
        assert!(!failure.detail.contains('\n'));
    }

    #[tokio::test]
    async fn statuses_have_their_reasons() {
        let basic = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"c\"";
        let cases: [(&str, &str, Phase, Reason); 8] = [
            (basic, "", Phase::Describe, Reason::AUTH_FAILED),
            (basic, "u:hunter2@", Phase::Describe, Reason::AUTH_FAILED),
            ("403 Forbidden", "u:hunter2@", Phase::Describe, Reason::AUTH_FAILED),
            ("404 Not Found", "u:hunter2@", Phase::Describe, Reason::NO_SUCH_PATH),
            ("454 Session Not Found", "", Phase::Describe, Reason::NO_SUCH_PATH),
            ("454 Session Not Found", "", Phase::Play, Reason::PROTOCOL_ERROR),
            ("500 hunter2", "u:hunter2@", Phase::Describe, Reason::PROTOCOL_ERROR),
            ("461 Unsupported Transport", "", Phase::Setup, Reason::PROTOCOL_ERROR),
        ];
        for (line, login, phase, reason) in cases {
            let answer = format!("RTSP/1.0 {line}\r\nCSeq: {{cseq}}\r\nContent-Length: 0\r\n\r\n");
            let (error, address) = describe_against(answer.leak().as_bytes(), login).await;
            let failure = classify(&error, phase, &address).scrubbed(&address);
            assert_eq!(failure.reason, reason, "{line}: {}", failure.detail);
            assert!(!failure.detail.contains("hunter2"), "{}", failure.detail);
            assert!(failure.detail.contains(&line[..3]), "{}", failure.detail);
        }
    }
}
