//! What goes wrong before a picture comes: the reasons, and that no secret shows.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::{
    Answer, Call, Camera, Request, SDP_H264, answer, good, hang_up, options, recorder, response,
    stream,
};
use nvr_core::reason::Reason;
use nvr_core::time::SystemClock;
use nvr_ingest::{Options, State, Supervisor, probe};

const LOGIN: &str = "admin:hunter%202@";

fn supervisor(options: Options) -> Supervisor {
    Supervisor::new(Arc::new(SystemClock::default()), options).unwrap()
}

/// Everything logged by this process, at any level.
fn logged() -> &'static Mutex<String> {
    struct Keep(Mutex<String>);
    impl log::Log for Keep {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = format!("{}: {}\n", record.target(), record.args());
            self.0.lock().unwrap().push_str(&line);
        }
        fn flush(&self) {}
    }
    static KEEP: OnceLock<&Keep> = OnceLock::new();
    let keep = KEEP.get_or_init(|| {
        let keep: &Keep = Box::leak(Box::new(Keep(Mutex::default())));
        log::set_logger(keep).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        keep
    });
    &keep.0
}

fn assert_no_secret(text: &str) {
    // As it is, as in the URL, and as in Basic's header.
    for secret in ["hunter 2", "hunter%202", "YWRtaW46aHVudGVyIDI="] {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
}

/// Records a URL until the sink hears why that fails; checks that all ways of telling agree.
fn failure(url: &str, options: Options) -> (Reason, String) {
    logged();
    let supervisor = supervisor(options);
    let (sink, calls) = recorder();
    supervisor.add(stream(1), url, sink).unwrap();
    let Call::Down(reason, detail) = calls.next() else { panic!("no call but `down` is due") };
    let status = supervisor.status().remove(0);
    assert_eq!(status.id, stream(1));
    assert!(status.reconnects.iter().any(|(r, n)| *r == reason && *n > 0), "{status:?}");
    assert_no_secret(&format!("{status:?} {detail}"));
    assert!(supervisor.remove(stream(1), Reason::REMOVED));
    let told = [Call::Down(Reason::REMOVED, String::new()), Call::Dropped];
    let rest = calls.rest();
    assert!(rest.ends_with(&told), "{rest:?}");
    assert!(!rest.iter().any(|c| matches!(c, Call::End(..))), "{rest:?}");
    let log = logged().lock().unwrap();
    assert_no_secret(&log);
    assert!(log.contains("nvr.ingest: "), "nothing is logged");
    (reason, detail)
}

fn against(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Reason, String) {
    let camera = Camera::new(script);
    failure(&camera.url(LOGIN), options())
}

fn sdp(media: &str) -> String {
    format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=c\r\nt=0 0\r\n{media}")
}

#[test]
fn closed_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (reason, _) = failure(&format!("rtsp://{LOGIN}127.0.0.1:{port}/live"), options());
    assert_eq!(reason, Reason::REFUSED);
}

#[test]
fn wrong_password() {
    for challenge in ["Basic realm=\"c\"", "Digest realm=\"c\", nonce=\"00\", qop=\"auth\""] {
        let header = format!("WWW-Authenticate: {challenge}\r\n");
        let (reason, detail) = against(move |_| response("401 Unauthorized", &header, ""));
        assert_eq!(reason, Reason::AUTH_FAILED, "{detail}");
        assert!(detail.contains("refuses user and password"), "{detail}");
    }
}

#[test]
fn no_password() {
    let header = "WWW-Authenticate: Basic realm=\"c\"\r\n";
    let camera = Camera::new(|_| response("401 Unauthorized", header, ""));
    let (reason, detail) = failure(&camera.url(""), options());
    assert_eq!(reason, Reason::AUTH_FAILED);
    assert!(detail.contains("none are configured"), "{detail}");
}

#[test]
fn no_such_path() {
    let (reason, detail) = against(|_| response("404 Not Found", "", ""));
    assert_eq!(reason, Reason::NO_SUCH_PATH);
    assert!(detail.contains("'/live'"), "{detail}");
}

#[test]
fn a_secret_in_the_path_stays_secret() {
    let camera = Camera::new(|_| response("404 Not Found", "", ""));
    let url = format!("rtsp://127.0.0.1:{}/user=admin&password=hunter%202&channel=1", camera.port);
    let (reason, detail) = failure(&url, options());
    assert_eq!(reason, Reason::NO_SUCH_PATH);
    assert!(detail.contains("password=***&channel=1"), "{detail}");
}

#[test]
fn garbage() {
    let (reason, _) = against(|_| answer("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    assert_eq!(reason, Reason::PROTOCOL_ERROR);
}

#[test]
fn a_camera_that_repeats_what_it_was_told() {
    let (reason, detail) = against(|request| match request.earlier {
        0 => response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"c\"\r\n", ""),
        _ => answer(format!(
            "RTSP/1.0 200 {}\r\nCSeq: 99\r\n\r\n",
            common::header(&request.text, "Authorization")
        )),
    });
    assert_eq!(reason, Reason::PROTOCOL_ERROR);
    assert!(detail.contains("***"), "the test does not reach what it is about: {detail}");
}

#[test]
fn closed_at_once() {
    let (reason, _) = against(|_| hang_up());
    assert_eq!(reason, Reason::DISCONNECTED);
}

#[test]
fn silence_instead_of_an_answer() {
    let camera = Camera::new(|_| answer(""));
    let quick = Options { handshake_timeout: Duration::from_millis(50), ..options() };
    let (reason, _) = failure(&camera.url(LOGIN), quick);
    assert_eq!(reason, Reason::SILENT);
}

#[test]
fn other_codecs_are_named() {
    let media =
        "m=video 0 RTP/AVP 32\r\na=control:video\r\nm=audio 0 RTP/AVP 0\r\na=control:audio\r\n";
    let (reason, detail) = against(|r| good(r, &sdp(media), &[]));
    assert_eq!(reason, Reason::CODEC_NOT_SUPPORTED);
    assert!(detail.contains("video MPV, audio PCMU"), "{detail}");
}

#[test]
fn a_session_without_pictures_is_silent() {
    let camera = Camera::new(|r| good(r, SDP_H264, &[]));
    let quick = Options { silent_after: Duration::from_millis(50), ..options() };
    let (reason, detail) = failure(&camera.url(LOGIN), quick);
    assert_eq!(reason, Reason::SILENT);
    assert!(detail.contains("no picture"), "{detail}");
}

#[test]
fn probe_says_the_same() {
    let camera = Camera::new(|_| response("404 Not Found", "", ""));
    let (reason, detail) = probe(&camera.url(LOGIN), common::HANG, &[]).unwrap_err();
    assert_eq!(reason, Reason::NO_SUCH_PATH);
    assert_no_secret(&detail);
}

/// The library panics over a line in a description that is none.
#[test]
fn a_description_that_nobody_thought_of() {
    let media = format!("{SDP_H264}garbage\r\na=control:video\r\n");
    let script = move |r: &Request| good(r, &media, &[]);
    let camera = Camera::new(script.clone());
    let (reason, detail) = probe(&camera.url(LOGIN), common::HANG, &[]).unwrap_err();
    assert_eq!(reason, Reason::PROTOCOL_ERROR);
    assert_eq!(against(script), (reason, detail));
}

#[test]
fn a_bad_url_is_refused_without_repeating_it() {
    let supervisor = supervisor(options());
    let (sink, _calls) = recorder();
    let error = supervisor.add(stream(1), "rtsp://admin:hunter#2@h/", sink).unwrap_err();
    assert!(!error.to_string().contains("hunter"), "{error}");
    assert!(supervisor.status().is_empty());
}

#[test]
fn tries_again_and_tells_the_sink_only_what_is_new() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let camera = Camera::new(move |_| match counted.fetch_add(1, SeqCst) {
        0..=2 => response("404 Not Found", "", ""),
        _ => response("500 Internal Server Error", "", ""),
    });
    let supervisor = supervisor(options());
    let (sink, calls) = recorder();
    supervisor.add(stream(1), &camera.url(""), sink).unwrap();
    assert!(calls.next().is_down(&Reason::NO_SUCH_PATH));
    assert!(calls.next().is_down(&Reason::PROTOCOL_ERROR));
    let status = supervisor.status().remove(0);
    assert!(status.reconnects.contains(&(Reason::NO_SUCH_PATH, 3)), "{status:?}");
    assert!(matches!(status.state, State::Waiting | State::Connecting));
    supervisor.shutdown(Reason::RECORDER_STOPPED);
    assert_eq!(calls.rest(), [Call::Down(Reason::RECORDER_STOPPED, String::new()), Call::Dropped]);
    assert!(camera.connections() >= 4);
}

#[test]
fn handshakes_are_limited() {
    const LIMIT: usize = 3;
    const STREAMS: u32 = 20;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (current, highest) = (Arc::clone(&now), Arc::clone(&most));
    let camera = Camera::new(move |request| {
        if request.method == "DESCRIBE" {
            highest.fetch_max(current.fetch_add(1, SeqCst) + 1, SeqCst);
        }
        if request.method == "PLAY" {
            // It counts as over before the client can know.
            current.fetch_sub(1, SeqCst);
        }
        let picture = common::interleaved(0, &common::rtp(96, 1, 0, &[0x65, 1, 2]));
        Answer { after: Duration::from_millis(10), ..good(request, SDP_H264, &picture) }
    });
    let supervisor = supervisor(Options { max_handshakes: LIMIT, ..options() });
    let all: Vec<_> = (0..STREAMS)
        .map(|n| {
            let (sink, calls) = recorder();
            supervisor.add(stream(n), &camera.url(""), sink).unwrap();
            calls
        })
        .collect();
    for calls in &all {
        assert!(matches!(calls.next(), Call::Begin(..)));
    }
    assert_eq!(most.load(SeqCst), LIMIT);
}
