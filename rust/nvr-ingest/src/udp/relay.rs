//! The relay's task: messages both ways, packets one way, reports the other.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use http_auth::{PasswordClient, PasswordParams};
use nvr_core::reason::Reason;
use rand::Rng as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};
use url::Url;

use super::Shared;
use super::message::Message;
use super::ports::Ports;
use super::reception::Reception;
use super::transport;
use super::window::Window;
use crate::address::Address;
use crate::failure::{Failure, unconnected};

/// How long the library may take to connect and to say its first word.
const LOCAL_LIMIT: Duration = Duration::from_secs(5);

/// How often the camera is told how its packets come (RFC 3550, section 6.2), within half and
/// one and a half of it, so that reports of many recorders do not come at once.
const REPORTS: Duration = Duration::from_secs(5);

/// Bytes that wait for the library at most; what comes beyond is lost, and counted by it.
const MAX_WAITING: usize = 16 << 20;

/// A queue that has been longer than this gives its room back when it is empty.
const KEEP_ROOM: usize = 1 << 20;

/// Readings before packets are given up, so that a flood does not hold this up for ever.
const MAX_READINGS: usize = 256;

/// Tracks of one session, at most.
const MAX_TRACKS: usize = 2;

/// Requests without an answer, at most: a keepalive, and the goodbye.
const MAX_PENDING: usize = 4;

/// Connects, says where the library is to connect to, and relays until one side hangs up.
pub(super) async fn run(
    address: Address,
    shared: Arc<Shared>,
    mut ready: oneshot::Sender<Result<Url, Failure>>,
) {
    let connected = tokio::select! {
        connected = connect(&address) => connected,
        () = ready.closed() => return,
    };
    let (camera, listener, local_url) = match connected {
        Ok(connected) => connected,
        Err(failure) => {
            // Nobody may be waiting any more.
            let _ = ready.send(Err(failure));
            return;
        }
    };
    if ready.send(Ok(local_url.clone())).is_err() {
        return;
    }
    let Some((local, first)) = timeout(LOCAL_LIMIT, accept(&listener, &local_url)).await.ok()
    else {
        return;
    };
    drop(listener);
    let mut relay = Relay {
        login: PasswordLogin { address, client: None },
        local_url,
        shared: Arc::clone(&shared),
        camera,
        from_camera: BytesMut::new(),
        local,
        from_local: BytesMut::new(),
        to_local: Queue::default(),
        early: Queue::default(),
        cseq: 0,
        pending: VecDeque::new(),
        tracks: Vec::new(),
        playing: false,
        report_at: Instant::now(),
    };
    if let Err(failure) = relay.serve(first).await {
        *shared.failure.lock() = failure;
        // What came before the end belongs to the library.
        let _ = timeout(LOCAL_LIMIT, relay.finish()).await;
    }
}

/// The camera, and where the library may connect: an address that nobody else can guess, so that
/// no other program of this machine gets the camera's pictures.
async fn connect(address: &Address) -> Result<(TcpStream, TcpListener, Url), Failure> {
    let (host, port) = address.host_port();
    let camera = TcpStream::connect((host.as_str(), port)).await;
    let camera = camera.map_err(|e| unconnected(address, e.kind(), &e.to_string()))?;
    let _ = camera.set_nodelay(true);
    let here = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let secret = rand::random::<u128>();
        let url = Url::parse(&format!("rtsp://127.0.0.1:{port}/{secret:032x}"));
        io::Result::Ok((listener, url.map_err(io::Error::other)?))
    };
    let (listener, url) = here.await.map_err(|e| no_sockets(&e))?;
    Ok((camera, listener, url))
}

fn no_sockets(e: &io::Error) -> Failure {
    Failure::new(
        Reason::UNREACHABLE,
        format!("this machine gives no sockets for RTP over UDP: {e}"),
    )
}

/// The library's connection and its first request.
async fn accept(listener: &TcpListener, url: &Url) -> (TcpStream, Message) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let mut input = BytesMut::new();
        let first = timeout(LOCAL_LIMIT / 4, async {
            loop {
                stream.readable().await.ok()?;
                match stream.try_read_buf(&mut input) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return None,
                }
                if let Some(first) = Message::take(&mut input).ok()? {
                    return Some(first);
                }
            }
        });
        if let Ok(Some(first)) = first.await
            && first.request().is_some_and(|(_, asked)| asked == url.as_str())
        {
            return (stream, first);
        }
    }
}

/// Logs in as the library does, for addresses that the library does not know.
struct PasswordLogin {
    address: Address,
    client: Option<PasswordClient>,
}

impl PasswordLogin {
    /// Takes what the camera wants to know; false when that cannot be answered.
    fn challenge(&mut self, answer: &Message) -> bool {
        let all: Vec<&str> = answer.all("WWW-Authenticate").collect();
        self.client = PasswordClient::try_from(all.join(", ").as_str()).ok();
        self.client.is_some() && self.address.login().is_some()
    }

    fn header(&mut self, method: &str, uri: &str) -> Option<String> {
        let login = self.address.login()?;
        let client = self.client.as_mut()?;
        let params = PasswordParams {
            username: &login.username,
            password: &login.password,
            uri,
            method,
            body: Some(&[]),
        };
        client.respond(&params).ok()
    }
}

/// A request that the camera has not answered.
struct Pending {
    request: Message,
    /// The library's number of it, and ours.
    theirs: String,
    cseq: u32,
    logged_in: bool,
    /// Of a SETUP: what it is for.
    track: Option<Track>,
}

struct Track {
    /// The library's channels for RTP and RTCP.
    channels: (u8, u8),
    ports: Ports,
    window: Window,
    reception: Reception,
}

struct Relay {
    login: PasswordLogin,
    local_url: Url,
    shared: Arc<Shared>,
    camera: TcpStream,
    from_camera: BytesMut,
    local: TcpStream,
    from_local: BytesMut,
    to_local: Queue,
    /// Packets that came before the answer to PLAY: the library would take them for strays.
    early: Queue,
    cseq: u32,
    pending: VecDeque<Pending>,
    tracks: Vec<Track>,
    playing: bool,
    report_at: Instant,
}

/// The library hung up (none), or why the camera's side ended.
type Ended = Option<Failure>;

impl Relay {
    async fn serve(&mut self, first: Message) -> Result<(), Ended> {
        self.request(first).await?;
        let mut timer = pin!(sleep_until(Instant::now().into()));
        loop {
            let deadline = self.deadline().into();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                ready = self.camera.readable() => {
                    ready.map_err(broken)?;
                    self.read_camera().await?;
                }
                ready = self.local.readable() => {
                    ready.map_err(|_| None)?;
                    self.read_local().await?;
                }
                ready = self.local.writable(), if !self.to_local.bytes.is_empty() => {
                    ready.map_err(|_| None)?;
                }
                () = readable(&self.tracks) => {
                    self.receive();
                }
                () = &mut timer => self.tick(),
            }
            self.flush()?;
        }
    }

    /// Hands over what is left.
    async fn finish(&mut self) {
        for track in &mut self.tracks {
            let channel = track.channels.0;
            let mut out = |packet: &[u8]| self.to_local.frame(channel, packet);
            if self.playing {
                track.window.finish(&mut out);
            }
        }
        self.count();
        let _ = self.local.write_all(&self.to_local.bytes).await;
    }

    async fn read_camera(&mut self) -> Result<(), Ended> {
        match self.camera.try_read_buf(&mut self.from_camera) {
            Ok(0) => {
                return Err(Some(Failure::new(
                    Reason::DISCONNECTED,
                    "the camera closed the connection",
                )));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(broken(e)),
        }
        loop {
            let message = Message::take(&mut self.from_camera);
            let Some(message) = message.map_err(|e| protocol_error(e.to_owned()))? else {
                return Ok(());
            };
            // Requests of a camera are not answered over TCP either.
            if let Some(status) = message.status() {
                self.answer(message, status).await?;
            }
        }
    }

    async fn read_local(&mut self) -> Result<(), Ended> {
        match self.local.try_read_buf(&mut self.from_local) {
            Ok(0) => return Err(None),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(None),
        }
        while let Some(message) = Message::take(&mut self.from_local).map_err(|_| None)? {
            self.request(message).await?;
        }
        Ok(())
    }

    /// Passes a request of the library on.
    async fn request(&mut self, mut request: Message) -> Result<(), Ended> {
        let Some((method, uri)) = request.request() else { return Ok(()) };
        let theirs = request.get("CSeq").unwrap_or_default().to_owned();
        if uri == self.local_url.as_str() {
            request.start = format!("{method} {} RTSP/1.0", self.login.address.url());
        }
        let mut track = None;
        if request.start.starts_with("SETUP ") {
            let channels = request.get("Transport").and_then(transport::channels);
            let channels = channels.filter(|_| self.tracks.len() < MAX_TRACKS).ok_or(None)?;
            let set_up = self.bind(channels).map_err(|e| Some(no_sockets(&e)))?;
            let numbers = (set_up.ports.rtp.number(), set_up.ports.rtcp.number());
            let (Ok(rtp), Ok(rtcp)) = numbers else { return Err(None) };
            request.set("Transport", &transport::request(rtp, rtcp));
            track = Some(set_up);
        } else if request.start.starts_with("TEARDOWN ") {
            self.tracks.clear();
            self.playing = false;
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(protocol_error("it answers none of the requests".to_owned()));
        }
        self.send(Pending { request, theirs, cseq: 0, logged_in: false, track }).await
    }

    fn bind(&self, channels: (u8, u8)) -> io::Result<Track> {
        let ports = Ports::bind(self.camera.local_addr()?.ip())?;
        let reception = Reception::new(self.shared.clock_hz.load(Relaxed), Instant::now());
        Ok(Track { channels, ports, window: Window::default(), reception })
    }

    async fn send(&mut self, mut pending: Pending) -> Result<(), Ended> {
        self.cseq += 1;
        pending.cseq = self.cseq;
        pending.request.set("CSeq", &self.cseq.to_string());
        if let Some((method, uri)) = pending.request.request()
            && let Some(header) = self.login.header(method, uri)
        {
            pending.request.set("Authorization", &header);
        }
        let bytes = pending.request.to_bytes();
        self.pending.push_back(pending);
        self.camera.write_all(&bytes).await.map_err(broken)
    }

    /// Passes an answer of the camera back.
    async fn answer(&mut self, mut answer: Message, status: u16) -> Result<(), Ended> {
        let cseq = answer.get("CSeq").map(str::parse::<u32>);
        let of = self.pending.iter().position(|p| cseq == Some(Ok(p.cseq)));
        // Answers come in order: one without a number is that of the oldest request.
        let of = of.or(if cseq.is_none() { Some(0) } else { None });
        let Some(mut pending) = of.and_then(|n| self.pending.remove(n)) else {
            return Err(protocol_error("it answers what it was not asked".to_owned()));
        };
        if status == 401 && !pending.logged_in && self.login.challenge(&answer) {
            pending.logged_in = true;
            return self.send(pending).await;
        }
        answer.set("CSeq", &pending.theirs);
        if (200..300).contains(&status) {
            match pending.request.request().map(|(method, _)| method) {
                Some("DESCRIBE") => self.describe(&mut answer),
                Some("SETUP") => self.set_up(&mut answer, pending.track)?,
                Some("PLAY") => self.play(),
                _ => {}
            }
        }
        self.to_local.bytes.extend_from_slice(&answer.to_bytes());
        if self.playing {
            self.to_local.bytes.unsplit(self.early.bytes.split());
        }
        Ok(())
    }

    fn describe(&self, answer: &mut Message) {
        // Else the library takes its own address for the base of the tracks'.
        if answer.get("Content-Base").is_none() && answer.get("Content-Location").is_none() {
            answer.set("Content-Base", self.login.address.url().as_str());
        }
        // It warns of a live555 that is known to be broken over TCP.
        let tool = |line: &&[u8]| line.starts_with(b"a=tool:");
        let lines = answer.body.split_inclusive(|byte| *byte == b'\n');
        answer.body = lines.filter(|line| !tool(line)).collect::<Vec<_>>().concat();
        answer.set("Content-Length", &answer.body.len().to_string());
    }

    fn set_up(&mut self, answer: &mut Message, track: Option<Track>) -> Result<(), Ended> {
        let Some(mut track) = track else { return Ok(()) };
        let header = answer.get("Transport").ok_or("its answer to SETUP has no Transport");
        let granted = header.and_then(transport::granted);
        let granted = granted.map_err(|e| protocol_error(e.to_owned()))?;
        let server = match granted.source {
            Some(source) => source,
            None => self.camera.peer_addr().map(|peer| peer.ip()).map_err(broken)?,
        };
        track.ports.expect(server, granted.ports).map_err(|e| Some(no_sockets(&e)))?;
        answer.set("Transport", &transport::interleaved(track.channels));
        self.tracks.push(track);
        Ok(())
    }

    fn play(&mut self) {
        self.playing = true;
        self.tracks.iter().for_each(|track| track.ports.punch());
        self.report_at = Instant::now() + report_interval();
    }

    /// Reads what has come over UDP; true when there may be more.
    fn receive(&mut self) -> bool {
        let now = Instant::now();
        let room = if self.playing { &mut self.to_local } else { &mut self.early };
        let mut more = false;
        for track in &mut self.tracks {
            let Track { channels, ports, window, reception } = track;
            more |= ports.rtp.receive(|packet| {
                let Some((ssrc, sequence, timestamp)) = rtp_header(packet) else { return };
                if reception.packet(ssrc, sequence, timestamp, now) {
                    let mut out = |packet: &[u8]| room.frame(channels.0, packet);
                    window.take(sequence, packet, now, &mut out);
                }
            });
            more |= ports.rtcp.receive(|packet| {
                reception.control(packet, now);
                room.frame(channels.1, packet);
            });
        }
        self.count();
        if !self.shared.begun.load(Relaxed) && self.tracks.iter().any(|t| t.reception.has_begun()) {
            self.shared.begun.store(true, Relaxed);
        }
        more
    }

    /// When to [`tick`](Self::tick) next.
    fn deadline(&self) -> Instant {
        let report = if self.playing { self.report_at } else { Instant::now() + REPORTS };
        self.tracks.iter().filter_map(|track| track.window.deadline()).fold(report, Instant::min)
    }

    fn tick(&mut self) {
        // What is waited for may have come, and this thread only late to read it.
        for _ in 0..MAX_READINGS {
            if !self.receive() {
                break;
            }
        }
        let now = Instant::now();
        let room = if self.playing { &mut self.to_local } else { &mut self.early };
        for track in &mut self.tracks {
            let channel = track.channels.0;
            track.window.expire(now, &mut |packet| room.frame(channel, packet));
        }
        self.count();
        if self.playing && now >= self.report_at {
            self.report_at = now + report_interval();
            for track in &mut self.tracks {
                if !track.reception.has_begun() {
                    track.ports.punch();
                }
                track.ports.rtcp.send(&track.reception.report(now));
            }
        }
    }

    fn count(&mut self) {
        let given_up: u64 = self.tracks.iter_mut().map(|track| track.window.take_lost()).sum();
        let refused = mem::take(&mut self.to_local.refused) + mem::take(&mut self.early.refused);
        if given_up + refused > 0 {
            self.shared.lost.fetch_add(given_up + refused, Relaxed);
        }
    }

    fn flush(&mut self) -> Result<(), Ended> {
        let waiting = &mut self.to_local.bytes;
        while !waiting.is_empty() {
            match self.local.try_write(waiting) {
                Ok(written) => waiting.advance(written),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(None),
            }
        }
        if waiting.capacity() > KEEP_ROOM {
            *waiting = BytesMut::new();
        }
        Ok(())
    }
}

/// What waits for the library.
#[derive(Default)]
struct Queue {
    bytes: BytesMut,
    /// Packets for which there was no room.
    refused: u64,
}

impl Queue {
    /// Appends an interleaved packet (RFC 2326, section 10.12).
    fn frame(&mut self, channel: u8, packet: &[u8]) {
        // A datagram is never longer than that.
        let Ok(length) = u16::try_from(packet.len()) else { return };
        if self.bytes.len() + packet.len() > MAX_WAITING {
            self.refused += 1;
            return;
        }
        let [high, low] = length.to_be_bytes();
        self.bytes.extend_from_slice(&[b'$', channel, high, low]);
        self.bytes.extend_from_slice(packet);
    }
}

/// Returns when a packet is there.
async fn readable(tracks: &[Track]) {
    poll_fn(|cx| {
        let mut any = Poll::Pending;
        for track in tracks {
            for port in [&track.ports.rtp, &track.ports.rtcp] {
                // An error is read with the next packet.
                if port.poll_readable(cx).is_ready() {
                    any = Poll::Ready(());
                }
            }
        }
        any
    })
    .await;
}

/// Source, sequence number and timestamp (RFC 3550, section 5.1); none of what is no RTP.
fn rtp_header(packet: &[u8]) -> Option<(u32, u16, u32)> {
    let [first, _, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *packet.first_chunk::<12>()?;
    let is_version_2 = first >> 6 == 2;
    is_version_2.then(|| {
        let (timestamp, ssrc) = ([t0, t1, t2, t3], [r0, r1, r2, r3]);
        (u32::from_be_bytes(ssrc), u16::from_be_bytes([s0, s1]), u32::from_be_bytes(timestamp))
    })
}

fn report_interval() -> Duration {
    REPORTS.mul_f64(rand::thread_rng().gen_range(0.5..1.5))
}

fn broken(e: io::Error) -> Ended {
    Some(Failure::new(Reason::DISCONNECTED, format!("the connection broke: {e}")))
}

fn protocol_error(what: String) -> Ended {
    Some(Failure::new(Reason::PROTOCOL_ERROR, format!("the camera cannot be understood: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_other_program_of_this_machine_gets_the_pictures() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url::parse(&format!("rtsp://127.0.0.1:{port}/secret")).unwrap();
        let mut strangers = Vec::new();
        for said in ["DESCRIBE rtsp://127.0.0.1/ RTSP/1.0\r\n\r\n", "\x16\x03\x01", "", "DESCRIBE "]
        {
            let mut stranger = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            stranger.write_all(said.as_bytes()).await.unwrap();
            strangers.push(stranger);
        }
        let mut library = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        library.write_all(format!("DESCRIBE {url} RTSP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let (accepted, first) = accept(&listener, &url).await;
        assert_eq!(accepted.peer_addr().unwrap(), library.local_addr().unwrap());
        assert_eq!(first.request(), Some(("DESCRIBE", url.as_str())));
    }
}
