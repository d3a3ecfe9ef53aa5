//! A scripted camera, and a sink that remembers what it was told.

#![allow(dead_code)] // each test binary uses its part

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nvr_core::ids::{StreamId, StreamKind};
use nvr_core::media::{
    AccessUnit, AudioFrame, AudioParams, MediaSink, MetadataCoding, MetadataDocument, VideoParams,
};
use nvr_core::reason::Reason;
use nvr_core::time::Moment;
use nvr_ingest::Options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Long enough that only a hang reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// Waits for a condition that nobody announces.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Quick reconnects; everything else as in production.
pub(crate) fn options() -> Options {
    Options {
        start_jitter: Duration::ZERO,
        backoff_first: Duration::from_millis(5),
        backoff_limit: Duration::from_millis(20),
        ..Options::default()
    }
}

pub(crate) fn stream(n: u32) -> StreamId {
    let camera = format!("00000000-0000-7000-8000-{n:012x}").parse().unwrap();
    StreamId { camera, kind: StreamKind::Main }
}

/// A call of a sink.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Begin(VideoParams, Option<AudioParams>),
    VideoParams(VideoParams),
    Video(i64, Vec<u8>),
    Audio(i64, u32, Vec<u8>),
    BeginMetadata(MetadataCoding),
    Metadata(Vec<u8>),
    Offset(i64),
    PacketsLost(u64),
    End(Reason, String),
    Down(Reason, String),
    Dropped,
}

impl Call {
    /// Whether it is `end` for this reason.
    pub(crate) fn ends(&self, reason: &Reason) -> bool {
        matches!(self, Call::End(r, _) if r == reason)
    }

    /// Whether it is `down` for this reason.
    pub(crate) fn is_down(&self, reason: &Reason) -> bool {
        matches!(self, Call::Down(r, _) if r == reason)
    }
}

pub(crate) struct Recorder(Sender<Call>);

/// A sink, and its calls as they come.
pub(crate) fn recorder() -> (Box<Recorder>, Calls) {
    let (tx, rx) = channel();
    (Box::new(Recorder(tx)), Calls(rx))
}

pub(crate) struct Calls(Receiver<Call>);

impl Calls {
    /// The next call.
    pub(crate) fn next(&self) -> Call {
        self.0.recv_timeout(HANG).expect("the sink is called")
    }

    /// All further calls, to the last.
    pub(crate) fn rest(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        loop {
            let call = self.next();
            calls.push(call.clone());
            if call == Call::Dropped {
                return calls;
            }
        }
    }

    /// Skips to the first call that satisfies.
    pub(crate) fn until(&self, wanted: impl Fn(&Call) -> bool) -> Call {
        loop {
            let call = self.next();
            assert_ne!(call, Call::Dropped, "the sink is gone");
            if wanted(&call) {
                return call;
            }
        }
    }
}

impl Recorder {
    fn tell(&self, call: Call) {
        // The test may be over.
        let _ = self.0.send(call);
    }
}

impl MediaSink for Recorder {
    fn begin(&mut self, _: Moment, video: VideoParams, audio: Option<AudioParams>) {
        self.tell(Call::Begin(video, audio));
    }
    fn video_params(&mut self, video: VideoParams) {
        self.tell(Call::VideoParams(video));
    }
    fn video(&mut self, unit: AccessUnit) {
        self.tell(Call::Video(unit.pts_90k, unit.data.to_vec()));
    }
    fn audio(&mut self, f: AudioFrame) {
        self.tell(Call::Audio(f.pts, f.duration, f.data.to_vec()));
    }
    fn begin_metadata(&mut self, coding: MetadataCoding) {
        self.tell(Call::BeginMetadata(coding));
    }
    fn metadata(&mut self, document: MetadataDocument) {
        self.tell(Call::Metadata(document.data.to_vec()));
    }
    fn camera_clock_offset(&mut self, offset_us: i64) {
        self.tell(Call::Offset(offset_us));
    }
    fn packets_lost(&mut self, _: Moment, packets: u64) {
        self.tell(Call::PacketsLost(packets));
    }
    fn end(&mut self, _: Moment, reason: Reason, detail: &str) {
        self.tell(Call::End(reason, detail.to_owned()));
    }
    fn down(&mut self, _: Moment, reason: Reason, detail: &str) {
        self.tell(Call::Down(reason, detail.to_owned()));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tell(Call::Dropped);
    }
}

/// What a scripted camera does with a request: bytes to send, then perhaps hang up.
/// `{cseq}` in them becomes the request's.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hang_up: bool,
    pub(crate) after: Duration,
}

pub(crate) fn answer(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer { bytes: bytes.into(), hang_up: false, after: Duration::ZERO }
}

pub(crate) fn hang_up() -> Answer {
    Answer { bytes: Vec::new(), hang_up: true, after: Duration::ZERO }
}

/// An answer with a status line, headers and a body.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Answer {
    answer(format!(
        "RTSP/1.0 {status}\r\nCSeq: {{cseq}}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A request: its first line and all of it.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) text: String,
    /// How many requests came on this connection before.
    pub(crate) earlier: usize,
    /// How many connections came before this one.
    pub(crate) connection: usize,
}

/// A camera that follows a script; it lives as long as this value.
pub(crate) struct Camera {
    pub(crate) port: u16,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Camera {
    pub(crate) fn new(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::default());
        let (count, log) = (Arc::clone(&connections), Arc::clone(&requests));
        let script = Arc::new(script);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = count.fetch_add(1, SeqCst);
                tokio::spawn(serve(socket, connection, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Camera { port, connections, requests, _runtime: runtime }
    }

    pub(crate) fn url(&self, login: &str) -> String {
        format!("rtsp://{login}127.0.0.1:{}/live", self.port)
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn serve<F>(
    mut socket: TcpStream,
    connection: usize,
    script: Arc<F>,
    log: Arc<Mutex<Vec<String>>>,
) where
    F: Fn(&Request) -> Answer,
{
    let mut buffer = Vec::new();
    let mut earlier = 0;
    while let Some(text) = read_request(&mut socket, &mut buffer).await {
        let method = text.split(' ').next().unwrap_or_default().to_owned();
        let cseq = header(&text, "CSeq");
        log.lock().unwrap().push(text.clone());
        let answer = script(&Request { method, text, earlier, connection });
        earlier += 1;
        tokio::time::sleep(answer.after).await;
        let bytes = replace(answer.bytes, b"{cseq}", cseq.as_bytes());
        if socket.write_all(&bytes).await.is_err() || answer.hang_up {
            return;
        }
    }
}

async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
            return Some(text);
        }
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// The value of a request's header, or nothing.
pub(crate) fn header(text: &str, name: &str) -> String {
    let start = format!("{name}: ");
    text.lines().find_map(|l| l.strip_prefix(&start)).unwrap_or_default().to_owned()
}

fn replace(bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|w| w == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes,
    }
}

/// Parameter sets of a real 320×240 H.264 stream (x264, Baseline), and its AAC sound.
pub(crate) const SDP_H264: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LADNkBQfsBEAAAAwAQAAADAeDxQqSA,aMuDyyA=\r\n\
    a=control:video\r\n";
pub(crate) const SDP_AAC: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/1\r\n\
    a=fmtp:97 streamtype=5;mode=AAC-hbr;config=1188;sizelength=13;indexlength=3;indexdeltalength=3\r\n\
    a=control:audio\r\n";
pub(crate) const SDP_OPUS: &str = "m=audio 0 RTP/AVP 98\r\na=rtpmap:98 opus/48000/2\r\n\
    a=fmtp:98 sprop-stereo=1\r\na=control:audio\r\n";
pub(crate) const SDP_G722: &str = "m=audio 0 RTP/AVP 9\r\na=control:audio\r\n";
pub(crate) const SDP_METADATA: &str = "m=application 0 RTP/AVP 107\r\n\
    a=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:metadata\r\n";

/// The SPS and PPS in [`SDP_H264`], and the SPS of the same at 640×480.
pub(crate) const SPS: [u8; 24] = [
    0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
    0x00, 0x03, 0x01, 0xe0, 0xf1, 0x42, 0xa4, 0x80,
];
pub(crate) const PPS: [u8; 5] = [0x68, 0xcb, 0x83, 0xcb, 0x20];
pub(crate) const SPS_640: [u8; 24] = [
    0x67, 0x42, 0xc0, 0x16, 0xd9, 0x00, 0xa0, 0x3d, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
    0x00, 0x03, 0x00, 0x1e, 0x0f, 0x16, 0x2e, 0x48,
];

/// VPS, SPS and PPS of a real 322×182 H.265 stream (x265, Main).
pub(crate) const H265_SETS: [&[u8]; 3] = [
    &[
        0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00,
        0x03, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x95, 0x98, 0x09,
    ],
    &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x3c, 0xa0, 0x0a, 0x48, 0x0b, 0x9c, 0x95, 0x96, 0x56, 0x69, 0x24, 0xca, 0xf0,
        0x16, 0x80, 0x80, 0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x05, 0x04,
    ],
    &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40],
];

/// What a good camera answers to a request of the handshake; after PLAY it sends `media`.
pub(crate) fn good(request: &Request, sdp: &str, media: &[u8]) -> Answer {
    match request.method.as_str() {
        "DESCRIBE" => response("200 OK", "Content-Type: application/sdp\r\n", sdp),
        "SETUP" => {
            let transport = header(&request.text, "Transport");
            response("200 OK", &format!("Session: s1\r\nTransport: {transport}\r\n"), "")
        }
        "PLAY" => {
            let mut play = response("200 OK", "Session: s1\r\n", "");
            // The body of no length ends the response: media follows at once.
            play.bytes.extend_from_slice(media);
            play
        }
        _ => response("200 OK", "Session: s1\r\n", ""),
    }
}

/// A sender report of a camera whose clock says this (RFC 3550, section 6.4.1).
pub(crate) fn sender_report(payload_type: u8, clock_us: i64) -> Vec<u8> {
    let seconds = u32::try_from(clock_us / 1_000_000 + 2_208_988_800).unwrap();
    let mut packet = vec![0x80, 200, 0, 6, 1, 2, 3, payload_type];
    packet.extend(seconds.to_be_bytes());
    packet.extend([0; 16]);
    packet
}

/// One AAC frame (RFC 3640, section 3.3.6).
pub(crate) fn aac(frame: &[u8]) -> Vec<u8> {
    let header = (u16::try_from(frame.len()).unwrap() << 3).to_be_bytes();
    [&[0, 16], &header[..], frame].concat()
}

/// An interleaved packet (RFC 2326, section 10.12).
pub(crate) fn interleaved(channel: u8, packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    [&[b'$', channel, length[0], length[1]], packet].concat()
}

/// An RTP packet (RFC 3550, section 5.1).
pub(crate) fn rtp(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([1, 2, 3, payload_type]);
    packet.extend_from_slice(payload);
    packet
}

/// NAL units in one packet (STAP-A, RFC 6184, section 5.7.1).
pub(crate) fn stap_a(units: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0x78];
    for unit in units {
        payload.extend(u16::try_from(unit.len()).unwrap().to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload
}
