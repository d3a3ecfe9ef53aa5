//! Requests to the RTSP server, over a real connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nvr_rtsp::{
    Accounts, AudioCodec, AudioDescription, Client, Config, Description, ParameterSets, Play,
    Scheme, Server, Service, Started, StatusCode, Stream, Url, VideoCodec, VideoDescription,
};

struct One(Arc<Camera>);

struct Camera(Description);

impl Service for One {
    type Stream = Camera;

    async fn find(&self, _: &Client, url: &Url) -> Result<Arc<Camera>, StatusCode> {
        if url.path().trim_matches('/') == "cam" {
            Ok(self.0.clone())
        } else {
            Err(StatusCode::NotFound)
        }
    }
}

impl Stream for Camera {
    const CAN_PAUSE: bool = true;

    fn description(&self) -> &Description {
        &self.0
    }

    async fn play(self: &Arc<Self>, play: Play) -> Result<(), StatusCode> {
        if play.again {
            play.announcer.unchanged();
        } else {
            let range = play.range.unwrap_or_default();
            let started = Started { range, scale: play.scale, video_ticks: 0, audio_ticks: 0 };
            play.announcer.started(started);
        }
        Ok(())
    }

    fn pause(&self, _: u64) {}

    fn end(&self, _: u64) {}
}

/// Its user's name; the password is the same.
pub const USER: &str = "viewer";

/// Where the server listens. Each connection goes to another address of the loopback network: there
/// are not as many ports as connections a minute.
fn server() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let host = 0x7f00_0001 + (NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff);
    (Ipv4Addr::from(host), port()).into()
}

fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let start = || {
        let description = Description {
            id: 1,
            path: "cam".into(),
            range: "npt=0-".into(),
            video: VideoDescription {
                codec: VideoCodec::H264,
                parameter_sets: ParameterSets {
                    vps: vec![],
                    sps: vec![vec![0x67, 0x42, 0, 30, 9]],
                    pps: vec![vec![0x68, 1]],
                },
                width: 640,
                height: 360,
            },
            audio: Some(AudioDescription {
                codec: AudioCodec::Aac,
                extra_data: vec![0x14, 0x08],
                sample_rate_hz: 16_000,
                channels: 1,
            }),
        };
        let accounts =
            Accounts::new("cameras", vec![(USER.into(), USER.into())], Scheme::DigestOrLocalBasic);
        let config = Config {
            listen: "0.0.0.0:0".into(),
            accounts: Some(accounts.expect("a name and a password")),
            admits_strangers: false,
            threads: 1,
            name: "fuzz-rtsp",
            max_connections: 1000,
            max_sessions: 1000,
            max_backlog_bytes: 1 << 20,
            session_timeout: Duration::from_secs(10),
        };
        Server::start(config, Arc::new(One(Arc::new(Camera(description)))))
            .expect("a server on loopback")
    };
    SERVER.get_or_init(start).address().port()
}

/// What a client sends. The server answers or closes, and is there for the next one.
pub fn run(data: &[u8]) {
    let mut client = TcpStream::connect(server()).expect("the server listens");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // The server may have closed before all of it was sent.
    let _ = client.write_all(data).and_then(|()| client.shutdown(Shutdown::Write));
    let mut answers = Vec::new();
    match client.take(16 << 20).read_to_end(&mut answers) {
        Ok(_) => assert!(answers.len() < 16 << 20, "answers without end"),
        Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::WouldBlock, "the server hangs"),
    }
}
