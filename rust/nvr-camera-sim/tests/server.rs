//! Limits of the server: clients that do not read, say nothing, or are too many.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use nvr_camera_sim::{Config, Error, Media, MediaBuilder, Server, VideoCodec, VideoFormat};

/// 100 pictures a second of this many bytes, each a random-access point.
fn media(picture_bytes: usize) -> Arc<Media> {
    let extra_data = vec![1, 0x42, 0, 30, 0xff, 0xe1, 0, 5, 0x67, 0x42, 0, 30, 1, 1, 0, 2, 0x68, 1];
    let video =
        VideoFormat { codec: VideoCodec::H264, extra_data, width: 64, height: 64, timescale: 100 };
    let mut builder = MediaBuilder::new(video, None).unwrap();
    let mut sample = (picture_bytes as u32).to_be_bytes().to_vec();
    sample.resize(4 + picture_bytes, 0x65);
    for pts in 0..100 {
        builder.add_video(&sample, pts, true).unwrap();
    }
    Arc::new(builder.finish(100).unwrap())
}

fn server(picture_bytes: usize, config: Config) -> Server {
    let server = Server::start(config).unwrap();
    server.add("cam", media(picture_bytes), None).unwrap();
    server
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn play(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    let url = format!("rtsp://{}/cam", server.address());
    write!(
        stream,
        "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n\
         PLAY {url} RTSP/1.0\r\nCSeq: 2\r\n\r\n"
    )
    .unwrap();
    stream
}

/// Reads until the server closes; how many bytes.
fn read_to_end(stream: &mut TcpStream) -> usize {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return total,
            Ok(len) => total += len,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return total,
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_others_go_on() {
    let server = server(100_000, Config { max_backlog_bytes: 1 << 20, ..Config::default() });
    let mut reader = play(&server);
    let mut buffer = vec![0; 1 << 16];
    assert!(reader.read(&mut buffer).unwrap() > 0);
    let mut stalled = play(&server);
    let mut was_two = false;
    loop {
        // Reads on at full speed, so that only the other falls behind.
        assert!(reader.read(&mut buffer).unwrap() > 0);
        let sessions = server.stats().sessions;
        was_two |= sessions == 2;
        if was_two && sessions == 1 {
            break;
        }
    }
    read_to_end(&mut stalled);
    assert!(reader.read(&mut buffer).unwrap() > 0);
}

#[test]
fn a_client_that_says_nothing_is_disconnected() {
    let config = Config { session_timeout: Duration::from_millis(200), ..Config::default() };
    let server = server(1000, config);
    assert_eq!(read_to_end(&mut connect(&server)), 0);
    assert!(read_to_end(&mut play(&server)) > 1000);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let server = server(1000, Config { max_connections: 1, ..Config::default() });
    let mut first = play(&server);
    assert!(first.read(&mut [0; 10]).unwrap() > 0);
    let mut answer = String::new();
    connect(&server).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("RTSP/1.0 503 "), "{answer}");
}

#[test]
fn closing_disconnects_everybody_and_frees_the_port() {
    let server = server(1000, Config::default());
    let mut client = play(&server);
    assert!(client.read(&mut [0; 10]).unwrap() > 0);
    let address = server.address();
    server.close();
    read_to_end(&mut client);
    assert!(TcpStream::connect(address).is_err());
    assert!(matches!(server.add("other", media(10), None), Err(Error::Closed)));
    server.close();
}
