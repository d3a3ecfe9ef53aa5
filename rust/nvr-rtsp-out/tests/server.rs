//! Viewers that do not read, questions that nobody answers, connections that never ask.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nvr_rtsp::testing::avcc;
use nvr_rtsp_out::events::{Event, SignalKind};
use nvr_rtsp_out::{Config, Format, LiveFeed, LiveUnit, Server, VideoCodec};

const UNIT_BYTES: usize = 20_000;

fn config() -> Config {
    Config {
        listen: "127.0.0.1:0".into(),
        users: Vec::new(),
        threads: 1,
        max_payload: 1400,
        max_connections: 10,
        max_sessions: 10,
        max_backlog_bytes: 200_000,
        session_timeout: Duration::from_secs(60),
        answer_within: Duration::from_secs(60),
    }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Picture `n`, as a length-prefixed NAL unit; every tenth is a random-access point.
fn push(feed: &LiveFeed, n: u32) {
    let random_access = n.is_multiple_of(10);
    let mut nal = vec![if random_access { 0x65 } else { 0x41 }; UNIT_BYTES];
    nal[1..5].copy_from_slice(&n.to_be_bytes());
    let mut data = (UNIT_BYTES as u32).to_be_bytes().to_vec();
    data.extend(nal);
    let (pts, arrival_us) = (i64::from(n) * 9_000, i64::from(n) * 100_000);
    feed.push(LiveUnit { audio: false, pts, arrival_us, random_access, data: &data, run: "run" });
}

fn feed(server: &Server) -> Arc<LiveFeed> {
    let record = avcc(&[0x67, 0x42, 0, 30, 1], &[0x68, 1]);
    let format = Format::new(VideoCodec::H264, &record, (64, 64), None).unwrap();
    let feed = server.feed();
    assert!(feed.set_format(Arc::new(format)));
    push(&feed, 0);
    Arc::new(feed)
}

/// Answers events until `done` says so.
fn answer(server: &Server, feed: &Arc<LiveFeed>, mut done: impl FnMut(&Event) -> bool) {
    loop {
        for event in server.events().take() {
            match &event {
                Event::Describe(request) => {
                    let record = avcc(&[0x67, 0x42, 0, 30, 1], &[0x68, 1]);
                    let format = Format::new(VideoCodec::H264, &record, (64, 64), None).unwrap();
                    let path = request.path.clone();
                    request.accept(path, "key".into(), "npt=now-".into(), Arc::new(format));
                }
                Event::Play(request) => assert!(request.live(feed)),
                Event::Signal(_) => {}
            }
            if done(&event) {
                return;
            }
        }
        std::thread::yield_now();
    }
}

fn play(server: &Server, feed: &Arc<LiveFeed>) -> TcpStream {
    let mut stream = connect(server);
    let url = format!("rtsp://{}/cam/main", server.address());
    write!(
        stream,
        "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n\
         PLAY {url} RTSP/1.0\r\nCSeq: 2\r\n\r\n"
    )
    .unwrap();
    answer(server, feed, |event| matches!(event, Event::Play(_)));
    stream
}

/// The numbers of the pictures in what was received: each begins in a packet of its own.
fn pictures(received: &[u8]) -> Vec<u32> {
    let head = |at: usize| received.get(at..at + 4);
    let mut at =
        received.windows(4).position(|w| w == b"$\0\x05\x84" || w == b"$\0\0\x11").unwrap();
    let mut found = Vec::new();
    while let Some(&[b'$', channel, high, low]) = head(at) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let Some(packet) = received.get(at + 4..at + 4 + len) else { break };
        // The first fragment of a picture (FU-A).
        if channel == 0 && packet[12] & 0x1f == 28 && packet[13] & 0x80 != 0 {
            found.push(u32::from_be_bytes(packet[14..18].try_into().unwrap()));
        }
        at += 4 + len;
    }
    found
}

#[test]
fn a_slow_viewer_loses_whole_groups_and_others_lose_nothing() {
    let server = Server::start(config()).unwrap();
    let feed = feed(&server);
    let mut slow = play(&server, &feed);
    let mut quick = play(&server, &feed);
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let reader = std::thread::spawn(move || {
        let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(len @ 1..) = quick.read(&mut buffer) {
            received.extend_from_slice(&buffer[..len]);
            counter.store(received.len(), Ordering::Relaxed);
        }
        pictures(&received)
    });
    let push = |n: u32| {
        push(&feed, n);
        // The quick one never is behind by as much as the server keeps for it.
        while n as usize * UNIT_BYTES > taken.load(Ordering::Relaxed) + 100_000 {
            std::thread::yield_now();
        }
    };
    // More than the sockets and the backlog take.
    (1..=1000).for_each(push);
    // It reads again, and gets what follows from a random-access point on.
    slow.set_nonblocking(true).unwrap();
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let mut n = 1000;
    while n < 1100 {
        match slow.read(&mut buffer) {
            Ok(len) => received.extend_from_slice(&buffer[..len]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                n += 1;
                push(n);
            }
            Err(e) => panic!("{e}"),
        }
    }
    server.close();
    let got = pictures(&received);
    assert!(got.len() < 1000, "nothing was lost");
    assert!(*got.last().unwrap() > 1000, "it does not go on");
    for pair in got.windows(2) {
        assert!(pair[1] == pair[0] + 1 || pair[1].is_multiple_of(10), "{pair:?}");
    }
    let all = reader.join().unwrap();
    assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "others lose nothing");
    assert_eq!(all[0], 0);
}

#[test]
fn what_nobody_answers_is_refused() {
    let answer_within = Duration::from_millis(50);
    let server = Server::start(Config { answer_within, ..config() }).unwrap();
    let mut stream = connect(&server);
    write!(stream, "DESCRIBE rtsp://host/cam/main RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
    let mut buffer = [0; 1000];
    let len = stream.read(&mut buffer).unwrap();
    assert!(buffer[..len].starts_with(b"RTSP/1.0 504 "));
    // Too late: nothing comes of it, and nothing breaks.
    for event in server.events().take() {
        if let Event::Describe(request) = event {
            request.refuse(nvr_rtsp_out::StatusCode::NotFound);
        }
    }
    // A question that is thrown away.
    write!(stream, "DESCRIBE rtsp://host/cam/main RTSP/1.0\r\nCSeq: 2\r\n\r\n").unwrap();
    while server.events().take().is_empty() {
        std::thread::yield_now();
    }
    let len = stream.read(&mut buffer).unwrap();
    assert!(buffer[..len].starts_with(b"RTSP/1.0 50"));
}

#[test]
fn one_who_never_completes_a_request_is_disconnected() {
    let session_timeout = Duration::from_millis(200);
    let server = Server::start(Config { session_timeout, ..config() }).unwrap();
    let mut stream = connect(&server);
    // A byte now and then is no sign of life.
    let mut sent = 0;
    while stream.write_all(b"x").is_ok() && sent < 10_000 {
        sent += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(sent < 10_000);
}

#[test]
fn a_feed_that_is_closed_says_goodbye() {
    let server = Server::start(config()).unwrap();
    let feed = feed(&server);
    let mut viewer = play(&server, &feed);
    feed.close();
    answer(
        &server,
        &feed,
        |event| matches!(event, Event::Signal(signal) if signal.kind == SignalKind::Finished),
    );
    server.close();
    let mut received = Vec::new();
    let _ = viewer.read_to_end(&mut received);
    // RFC 3550, 6.6: one source.
    assert!(received.windows(4).any(|bytes| bytes == [0x81, 203, 0, 1]));
}
