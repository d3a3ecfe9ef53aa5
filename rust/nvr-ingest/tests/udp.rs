//! Cameras that send over UDP.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    Answer, Call, Calls, Camera, HANG, Request, SDP_AAC, SDP_H264, aac, good, header, options,
    recorder, response, rtp, sender_report, stream, wait_for,
};
use nvr_core::reason::Reason;
use nvr_core::time::{Clock as _, SystemClock};
use nvr_ingest::{Options, Supervisor, probe};

const IDR: [u8; 4] = [0x65, 0xaa, 0xbb, 0xcc];
const SLICE: [u8; 3] = [0x41, 0xdd, 0xee];

/// The sockets of one track of a camera, and where they send.
struct Wire {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    client: Mutex<(u16, u16)>,
}

impl Wire {
    fn new() -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(HANG)).unwrap();
            socket
        };
        Wire { rtp: socket(), rtcp: socket(), client: Mutex::default() }
    }

    fn server_port(&self) -> String {
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        format!("{}-{}", port(&self.rtp), port(&self.rtcp))
    }

    fn send(&self, packet: &[u8]) {
        self.rtp.send_to(packet, ("127.0.0.1", self.client.lock().unwrap().0)).unwrap();
    }

    fn send_rtcp(&self, packet: &[u8]) {
        self.rtcp.send_to(packet, ("127.0.0.1", self.client.lock().unwrap().1)).unwrap();
    }
}

/// Video and sound.
type Wires = Arc<[Wire; 2]>;

/// What a camera answers that sends over UDP; `play` does what it does before the answer to PLAY.
fn udp(request: &Request, wires: &[Wire; 2], sdp: &str, play: impl Fn(&[Wire; 2])) -> Answer {
    match request.method.as_str() {
        "SETUP" => {
            let wire = &wires[usize::from(request.text.lines().next().unwrap().contains("/audio"))];
            let transport = header(&request.text, "Transport");
            let asked = transport.strip_prefix("RTP/AVP;unicast;client_port=").expect("UDP");
            let (rtp, rtcp) = asked.split_once('-').unwrap();
            *wire.client.lock().unwrap() = (rtp.parse().unwrap(), rtcp.parse().unwrap());
            assert_eq!(rtp.parse::<u16>().unwrap() % 2, 0);
            let ports = wire.server_port();
            // Cameras give an SSRC that is not that of their packets.
            let headers = format!(
                "Session: s1;timeout=2\r\nTransport: {transport};server_port={ports};ssrc=A046B1C2\r\n"
            );
            response("200 OK", &headers, "")
        }
        "PLAY" => {
            play(wires);
            good(request, sdp, &[])
        }
        _ => good(request, sdp, &[]),
    }
}

fn camera(sdp: String, play: impl Fn(&[Wire; 2]) + Send + Sync + 'static) -> (Camera, Wires) {
    let wires: Wires = Arc::new([Wire::new(), Wire::new()]);
    let of_script = Arc::clone(&wires);
    (Camera::new(move |r| udp(r, &of_script, &sdp, &play)), wires)
}

fn url(camera: &Camera) -> String {
    camera.url("").replace("rtsp:", "rtspu:")
}

fn record(camera: &Camera, options: Options) -> (Supervisor, Calls) {
    let supervisor = Supervisor::new(Arc::new(SystemClock::default()), options).unwrap();
    let (sink, calls) = recorder();
    supervisor.add(stream(1), &url(camera), sink).unwrap();
    (supervisor, calls)
}

fn picture(sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    rtp(96, sequence, timestamp, payload)
}

/// A slice of these bytes in packets of five (FU-A, RFC 6184, section 5.8).
fn fragments(sequence: u16, timestamp: u32, slice: &[u8]) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = slice[1..].chunks(5).collect();
    let packet = |(n, piece): (usize, &&[u8])| {
        let (first, last) = (n == 0, n + 1 == pieces.len());
        let kind = slice[0] & 0x1f | u8::from(first) << 7 | u8::from(last) << 6;
        let payload = [&[slice[0] & 0xe0 | 28, kind], *piece].concat();
        let mut packet = picture(sequence.wrapping_add(n as u16), timestamp, &payload);
        packet[1] = 96 | u8::from(last) << 7;
        packet
    };
    pieces.iter().enumerate().map(packet).collect()
}

fn sample(unit: &[u8]) -> Vec<u8> {
    [&u32::try_from(unit.len()).unwrap().to_be_bytes()[..], unit].concat()
}

fn slice(first: u8, length: u8) -> Vec<u8> {
    [first, 0x80].into_iter().chain((0..length).map(|n| n.wrapping_mul(7) | 1)).collect()
}

#[test]
fn packets_that_overtake_each_other_and_come_twice_make_no_difference() {
    let ahead_us = 3_600_000_000;
    let clock_us = SystemClock::default().now().wall_us + ahead_us;
    let (idr, p) = (slice(0x65, 90), slice(0x41, 40));
    let mut packets = fragments(65_530, 0, &idr);
    packets.extend(fragments(65_530_u16.wrapping_add(packets.len() as u16), 6_000, &p));
    let (camera, wires) = camera(format!("{SDP_H264}{SDP_AAC}"), move |[video, sound]| {
        // Backwards by groups, and each twice.
        for group in packets.chunks(7) {
            group.iter().rev().chain(group).for_each(|packet| video.send(packet));
        }
        video.send(b"no RTP at all");
        sound.send(&rtp(97, 2, 2_048, &aac(b"second")));
        sound.send(&rtp(97, 1, 1_024, &aac(b"first")));
    });
    let (supervisor, calls) = record(&camera, options());
    let mut found = Vec::new();
    let (mut sounds, mut offset) = (Vec::new(), None);
    while found.len() < 2 || sounds.len() < 2 || offset.is_none() {
        match calls.next() {
            Call::Video(pts, data) => found.push((pts, data)),
            Call::Audio(_, _, data) => sounds.push(data),
            Call::Offset(us) => offset = Some(us),
            // A report before the first picture has no session to belong to.
            Call::Begin(..) => wires[0].send_rtcp(&sender_report(96, clock_us)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, [(0, sample(&idr)), (6_000, sample(&p))]);
    assert!((offset.unwrap() - ahead_us).abs() < 60_000_000);
    assert_eq!(sounds, [b"first".to_vec(), b"second".to_vec()]);
    assert_eq!(supervisor.status()[0].lost_packets, 0);
    assert_eq!(camera.connections(), 1);
}

#[test]
fn lost_packets_are_told_and_their_pictures_left_out() {
    let (idr, p) = (slice(0x65, 90), slice(0x41, 40));
    let (camera, _wires) = camera(SDP_H264.to_owned(), {
        let p = p.clone();
        move |[video, _]| {
            video.send(&picture(1, 0, &IDR));
            // One from the middle, one at the end, one from the start.
            for (n, lost) in [(0_u16, 3), (1, 8), (2, 0)] {
                for (i, packet) in fragments(2 + 9 * n, 6_000 + u32::from(n), &p).iter().enumerate()
                {
                    if i != lost {
                        video.send(packet);
                    }
                }
            }
            // The first slice of a picture of two, and a whole picture.
            video.send(&picture(30, 20_000, &[0x41, 0x40, 1]));
            video.send(&picture(32, 30_000, &SLICE));
        }
    });
    assert_eq!((fragments(0, 0, &p).len(), fragments(0, 0, &idr).len()), (9, 19));
    let (supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert_eq!(calls.next(), Call::Video(0, sample(&IDR)));
    assert_eq!(calls.next(), Call::Video(30_000, sample(&SLICE)));
    assert_eq!(calls.next(), Call::PacketsLost(5));
    assert_eq!(supervisor.status()[0].lost_packets, 5);
}

#[test]
fn packets_of_strangers_are_ignored() {
    let (camera, wires) = camera(SDP_H264.to_owned(), |[video, _]| {
        let port = video.client.lock().unwrap().0;
        let forged = picture(2, 3_000, &slice(0x41, 9));
        // Another port, another address, another source.
        for stranger in ["127.0.0.1:0", "127.0.0.2:0"] {
            let socket = UdpSocket::bind(stranger).unwrap();
            socket.send_to(&picture(1, 0, &slice(0x65, 9)), ("127.0.0.1", port)).unwrap();
            socket.send_to(&forged, ("127.0.0.1", port)).unwrap();
        }
        video.send(&picture(1, 0, &IDR));
        let mut other_source = forged.clone();
        other_source[8] ^= 1;
        video.send(&other_source);
        video.send(&picture(2, 6_000, &SLICE));
    });
    let (supervisor, calls) = record(&camera, options());
    assert!(matches!(calls.next(), Call::Begin(..)));
    assert_eq!(calls.next(), Call::Video(0, sample(&IDR)));
    assert_eq!(calls.next(), Call::Video(6_000, sample(&SLICE)));
    // The session stays a session when they go on.
    let port = wires[0].client.lock().unwrap().0;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 3..300 {
        stranger.send_to(&picture(n, 9_000, &SLICE), ("127.0.0.1", port)).unwrap();
    }
    wires[0].send(&picture(3, 12_000, &SLICE));
    assert_eq!(calls.next(), Call::Video(12_000, sample(&SLICE)));
    assert_eq!(supervisor.status()[0].lost_packets, 0);
}

#[test]
fn the_camera_hears_of_what_came_and_that_its_session_is_wanted() {
    let (camera, wires) = camera(SDP_H264.to_owned(), |[video, _]| {
        for n in 0..10 {
            video.send(&picture(n + 100, 0, if n == 0 { &IDR } else { &SLICE }));
        }
    });
    let (supervisor, calls) = record(&camera, options());
    calls.until(|c| matches!(c, Call::Video(..)));
    // The way in is opened from both ports before anything comes.
    let (mut packet, [video, _]) = ([0; 1500], &*wires);
    let (length, from) = video.rtp.recv_from(&mut packet).unwrap();
    assert_eq!((length, from.port()), (12, video.client.lock().unwrap().0));
    let (length, from) = video.rtcp.recv_from(&mut packet).unwrap();
    assert_eq!((length, packet[1], from.port()), (8, 201, video.client.lock().unwrap().1));
    // A receiver report with one block: nothing lost, the highest number.
    let (length, _) = video.rtcp.recv_from(&mut packet).unwrap();
    assert!(length > 32);
    assert_eq!(packet[..2], [0x81, 201]);
    assert_eq!(packet[12..16], [0, 0, 0, 0]);
    assert_eq!(packet[16..20], 109_u32.to_be_bytes());
    // The library's keepalive goes the same way as over TCP.
    let asked =
        |method: &str| camera.requests.lock().unwrap().iter().any(|r| r.starts_with(method));
    wait_for("a keepalive", || asked("OPTIONS rtsp://127.0.0.1"));
    assert!(!asked("TEARDOWN"));
    supervisor.remove(stream(1), Reason::NOT_RECORDED);
    wait_for("TEARDOWN", || asked("TEARDOWN rtsp://127.0.0.1"));
    let requests = camera.requests.lock().unwrap();
    let describe = requests.first().unwrap();
    assert!(
        describe.starts_with(&format!("DESCRIBE {} RTSP/1.0\r\n", camera.url(""))),
        "{describe}"
    );
    assert!(requests.iter().all(|r| !r.contains("interleaved")));
    assert_eq!(header(requests.last().unwrap(), "Session"), "s1");
}

#[test]
fn a_camera_that_refuses_udp_says_what_to_try() {
    let cases: [(&str, &str, &str, &str); 3] = [
        ("461 Unsupported Transport", "", "rtspu:", "try rtsp://"),
        ("461 Unsupported Transport", "", "rtsp:", "try rtspu://"),
        (
            "200 OK",
            "Session: s\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
            "rtspu:",
            "use rtsp://",
        ),
    ];
    for (status, headers, scheme, said) in cases {
        let camera = Camera::new(move |r| match r.method.as_str() {
            "SETUP" => response(status, headers, ""),
            _ => good(r, SDP_H264, &[]),
        });
        let (reason, detail) =
            probe(&camera.url("").replace("rtsp:", scheme), HANG, &[]).unwrap_err();
        assert_eq!(reason, Reason::PROTOCOL_ERROR, "{detail}");
        assert!(detail.contains(said), "{detail}");
    }
}

#[test]
fn a_camera_whose_packets_do_not_come_is_silent_and_says_why() {
    let (camera, _wires) = camera(SDP_H264.to_owned(), |_| {});
    let quick = Options { silent_after: Duration::from_millis(50), ..options() };
    let (_supervisor, calls) = record(&camera, quick);
    let Call::Down(reason, detail) = calls.next() else { panic!("`down` is due") };
    assert_eq!(reason, Reason::SILENT);
    assert!(detail.contains("firewall") && detail.contains("rtsp://"), "{detail}");
}

#[test]
fn what_fails_before_the_packets_fails_as_over_tcp() {
    let refused = {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        format!("rtspu://u:hunter2@127.0.0.1:{port}/")
    };
    assert_eq!(probe(&refused, HANG, &[]).unwrap_err().0, Reason::REFUSED);
    let garbage = Camera::new(|_| common::answer(&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..]));
    let (reason, detail) = probe(&url(&garbage), HANG, &[]).unwrap_err();
    assert_eq!(reason, Reason::PROTOCOL_ERROR, "{detail}");
    let gone = Camera::new(|_| common::hang_up());
    assert_eq!(probe(&url(&gone), HANG, &[]).unwrap_err().0, Reason::DISCONNECTED);
    let nothing = Camera::new(|_| response("404 Not Found", "", ""));
    assert_eq!(probe(&url(&nothing), HANG, &[]).unwrap_err().0, Reason::NO_SUCH_PATH);
    let asked = Arc::new(AtomicUsize::new(0));
    let locked = Camera::new({
        let asked = Arc::clone(&asked);
        move |r| {
            assert!(!r.text.contains("hunter2"));
            asked.fetch_add(usize::from(r.text.contains("Authorization: Digest")), SeqCst);
            let challenge = "WWW-Authenticate: Digest realm=\"c\", nonce=\"n\"\r\n";
            response("401 Unauthorized", challenge, "")
        }
    });
    let with_login = url(&locked).replace("rtspu://", "rtspu://u:hunter2@");
    let (reason, detail) = probe(&with_login, HANG, &[]).unwrap_err();
    assert_eq!(reason, Reason::AUTH_FAILED);
    assert!(detail.contains("refuses") && !detail.contains("hunter2"), "{detail}");
    // Cameras lock accounts that try too often.
    assert_eq!(asked.load(SeqCst), 1);
    assert!(probe(&url(&locked), HANG, &[]).unwrap_err().1.contains("none are configured"));
}
