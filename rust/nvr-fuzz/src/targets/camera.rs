//! What a camera sends over RTSP: its description, RTP and RTCP packets, answers of its own making;
//! over a real connection, as far as fragments.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nvr_core::media::MediaSink;
use nvr_core::reason::Reason;
use nvr_core::time::Moment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::choice;
use crate::checked::Checked;
use crate::seeds::{SDP_AAC, SDP_H264, SDP_H265, SDP_PCMU};

/// A description, two bytes with its length before it; then packets, as of [`media`].
pub fn described(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let at = usize::from(u16::from_be_bytes(*len)).min(rest.len());
    let (sdp, packets) = rest.split_at(at);
    session(&Script { sdp: sdp.to_vec(), media: interleaved(packets), raw: None });
}

/// First byte: which of the known descriptions. Then packets, each of: what it is, how much time has
/// passed, its length, its content.
pub fn media(data: &[u8]) {
    let (how, packets) = choice(data);
    let video = if how & 1 == 0 { SDP_H264 } else { SDP_H265 };
    let sound = ["", SDP_AAC, SDP_PCMU, ""][usize::from(how >> 1 & 3)];
    let sdp = format!("{video}{sound}").into_bytes();
    session(&Script { sdp, media: interleaved(packets), raw: None });
}

/// Whatever it answers.
pub fn answers(data: &[u8]) {
    session(&Script { sdp: Vec::new(), media: Vec::new(), raw: Some(data.to_vec()) });
}

struct Script {
    sdp: Vec<u8>,
    media: Vec<u8>,
    /// Sent at the first request, instead of anything else.
    raw: Option<Vec<u8>>,
}

/// Interleaved packets (RFC 2326, 10.12), with RTP headers (RFC 3550, 5.1) that make sense but for
/// what a packet's first byte says.
fn interleaved(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut sequence, mut timestamp) = ([0u16; 2], [0u32; 2]);
    while let [what, passed, len, after @ ..] = rest {
        let (len, after) = match (what & 64 != 0, after) {
            (true, [more, after @ ..]) => (usize::from(*len) << 8 | usize::from(*more), after),
            _ => (usize::from(*len), after),
        };
        let (content, after) = after.split_at(len.min(after.len()));
        rest = after;
        let channel = what & 3;
        let track = usize::from(channel / 2);
        let mut packet = Vec::new();
        if channel & 1 == 0 && what & 16 == 0 {
            let lost = u16::from(what & 8 != 0);
            sequence[track] = sequence[track].wrapping_add(1 + lost);
            let step = i32::from(*passed as i8) * if what & 32 == 0 { 750 } else { 1 << 24 };
            timestamp[track] = timestamp[track].wrapping_add_signed(step);
            let marker = if what & 4 == 0 { 0x80 } else { 0 };
            packet.extend([0x80, marker | if track == 0 { 96 } else { 97 }]);
            packet.extend(sequence[track].to_be_bytes());
            packet.extend(timestamp[track].to_be_bytes());
            packet.extend([1, 2, 3, track as u8]);
        }
        packet.extend(content);
        out.extend([b'$', channel]);
        out.extend((packet.len() as u16).to_be_bytes());
        out.extend(packet);
    }
    out
}

/// A listener for all: each session goes to another address of the loopback network, since there are
/// not as many ports as sessions a minute.
fn listener() -> (TcpListener, SocketAddr) {
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let listener = LISTENER.get_or_init(|| {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        listener
    });
    let host = 0x7f00_0001 + (NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff);
    let port = listener.local_addr().expect("an address").port();
    (listener.try_clone().expect("a second handle"), (Ipv4Addr::from(host), port).into())
}

fn session(script: &Script) {
    let (listener, address) = listener();
    let mut sink = Checked::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let talk = async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let server = async {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                // One of an earlier session says goodbye late.
                if socket.local_addr().is_ok_and(|of| of == address) {
                    serve(socket, script).await;
                }
            }
        };
        let url = format!("rtsp://{address}/live");
        let client = nvr_ingest::fuzzing::camera(&url, &mut sink);
        tokio::select! {
            () = server => {}
            said = client => assert!(said.len() < 2000, "words without end: {} bytes", said.len()),
        }
    };
    crate::library_may_panic(|| runtime.block_on(talk));
    sink.end(Moment { wall_us: 0, mono_us: 0 }, Reason::DISCONNECTED, "");
}

async fn serve(mut socket: TcpStream, script: &Script) {
    // An answer goes at once, not when the last one is acknowledged.
    let _ = socket.set_nodelay(true);
    let mut input = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk).await {
            Ok(n) if n > 0 => input.extend_from_slice(&chunk[..n]),
            _ => return,
        }
        while let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let request: Vec<u8> = input.drain(..end + 4).collect();
            let (answer, ends) = answer(&String::from_utf8_lossy(&request), script);
            if socket.write_all(&answer).await.is_err()
                || (ends && socket.shutdown().await.is_err())
            {
                return;
            }
        }
    }
}

/// What is answered, and whether that is all.
fn answer(request: &str, script: &Script) -> (Vec<u8>, bool) {
    if let Some(raw) = &script.raw {
        return (raw.clone(), true);
    }
    let header = |name: &str| {
        let line = request.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("", |value| value.trim_start_matches(": ")).to_owned()
    };
    let mut out = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\nSession: s1\r\n", header("CSeq"));
    let mut body: &[u8] = &[];
    if request.starts_with("DESCRIBE") {
        out += "Content-Type: application/sdp\r\n";
        body = &script.sdp;
    } else if request.starts_with("SETUP") {
        out += &format!("Transport: {}\r\n", header("Transport"));
    }
    out += &format!("Content-Length: {}\r\n\r\n", body.len());
    let plays = request.starts_with("PLAY");
    let media: &[u8] = if plays { &script.media } else { &[] };
    ([out.as_bytes(), body, media].concat(), plays)
}
