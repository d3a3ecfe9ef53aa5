//! The RTSP server: cameras by path, connections, a runtime of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nvr_rtsp::{Accounts, Client, Clock, Error, Result, Scheme, Service, StatusCode, Url};
use parking_lot::Mutex;

use crate::camera::{Camera, Counters};
use crate::media::Media;

/// Settings of a server.
#[derive(Clone)]
pub struct Config {
    /// Address and port to listen on; port 0: any free one.
    pub listen: String,
    /// User name that viewers must give; empty: no login.
    pub user: String,
    /// Password that viewers must give.
    pub password: String,
    /// Ask for the password by Digest; false: by Basic.
    pub digest: bool,
    /// Threads that serve.
    pub threads: usize,
    /// Most bytes in an RTP packet after its header, from 64 to 60,000.
    pub max_payload: usize,
    /// Most connections at once; one more is answered with 503.
    pub max_connections: usize,
    /// Most bytes kept for a client that does not read; one more and it is disconnected.
    pub max_backlog_bytes: usize,
    /// A connection that sends nothing for so long is closed.
    pub session_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: "127.0.0.1:0".into(),
            user: String::new(),
            password: String::new(),
            digest: true,
            threads: 1,
            max_payload: 1400,
            max_connections: 2000,
            max_backlog_bytes: 4 << 20,
            session_timeout: Duration::from_secs(60),
        }
    }
}

/// What a server did since it started, and does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Clients that play now.
    pub sessions: u64,
    /// RTP packets sent.
    pub packets: u64,
    /// Bytes of them, with their headers.
    pub bytes: u64,
}

/// Cameras by path.
#[derive(Default)]
struct Cameras(Mutex<HashMap<String, Arc<Camera>>>);

impl Service for Cameras {
    type Stream = Camera;

    async fn find(
        &self,
        _client: &Client,
        url: &Url,
    ) -> std::result::Result<Arc<Camera>, StatusCode> {
        let path = url.path().trim_matches('/');
        self.0.lock().get(path).cloned().ok_or(StatusCode::NotFound)
    }
}

/// An RTSP 1.0 server (RFC 2326) that plays media as cameras.
pub struct Server {
    cameras: Arc<Cameras>,
    counters: Arc<Counters>,
    clock: Clock,
    max_payload: usize,
    server: nvr_rtsp::Server,
}

impl Server {
    /// Listens, and serves until it is closed or dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting that is out of its range, [`Error::Io`] when the system
    /// gives no threads or not that port.
    pub fn start(config: Config) -> Result<Self> {
        if !(64..=60_000).contains(&config.max_payload) {
            return Err(Error::invalid(format!(
                "max_payload: {} is not from 64 to 60000 bytes",
                config.max_payload
            )));
        }
        if config.user.is_empty() && !config.password.is_empty() {
            return Err(Error::invalid("user: must not be empty beside a password"));
        }
        let users = vec![(config.user, config.password)];
        let scheme = if config.digest { Scheme::Digest } else { Scheme::Basic };
        let accounts = if users[0].0.is_empty() {
            None
        } else {
            Some(Accounts::new("nvr camera simulator", users, scheme)?)
        };
        let cameras = Arc::<Cameras>::default();
        let server = nvr_rtsp::Server::start(
            nvr_rtsp::Config {
                listen: config.listen,
                accounts,
                admits_strangers: true,
                threads: config.threads,
                name: "camera-sim",
                max_connections: config.max_connections,
                max_sessions: config.max_connections,
                max_backlog_bytes: config.max_backlog_bytes,
                session_timeout: config.session_timeout,
            },
            Arc::clone(&cameras),
        )?;
        Ok(Server {
            cameras,
            counters: Arc::default(),
            clock: Clock::new(),
            max_payload: config.max_payload,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves media at `/path`, with media time zero at a wall time (microseconds since the epoch;
    /// none: now). Returns that wall time. A camera whose zero is to come starts then.
    pub fn add(&self, path: &str, media: Arc<Media>, zero_us: Option<i64>) -> Result<i64> {
        check_path(path)?;
        let now_us = self.clock.now_us();
        let zero_us = zero_us.unwrap_or(now_us);
        let century_us = 100 * 366 * 86_400 * 1_000_000_i64;
        if (zero_us - now_us).abs() > century_us {
            return Err(Error::invalid(format!(
                "zero_us: {zero_us} is not within a century of now"
            )));
        }
        let runtime = self.server.handle()?;
        let mut cameras = self.cameras.0.lock();
        if cameras.contains_key(path) {
            return Err(Error::invalid(format!("path: there is a camera at /{path} already")));
        }
        let camera = Arc::new(Camera::new(
            path.to_owned(),
            media,
            zero_us,
            self.max_payload,
            self.clock,
            Arc::clone(&self.counters),
        ));
        cameras.insert(path.to_owned(), Arc::clone(&camera));
        runtime.spawn(camera.play());
        Ok(zero_us)
    }

    /// Takes a camera away; who looks at it is disconnected.
    pub fn remove(&self, path: &str) -> Result<()> {
        let camera = self.cameras.0.lock().remove(path);
        let camera =
            camera.ok_or_else(|| Error::invalid(format!("path: there is no camera at /{path}")))?;
        camera.remove();
        Ok(())
    }

    /// Its counters.
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.counters.sessions.load(Ordering::Relaxed),
            packets: self.counters.packets.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
        }
    }

    /// Disconnects everybody and frees the port. Closing twice does no harm.
    pub fn close(&self) {
        if self.server.close() {
            self.cameras.0.lock().clear();
        }
    }
}

/// Paths need no escaping in an address, and never look like a track's.
fn check_path(path: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    if path.is_empty() || path.len() > 200 || !path.chars().all(plain) {
        return Err(Error::invalid(format!(
            "path: '{path}' must have 1 to 200 letters, digits, or - . _ ~ /"
        )));
    }
    if path.starts_with('/') || path.ends_with('/') {
        return Err(Error::invalid(format!("path: '{path}' must not begin or end with '/'")));
    }
    Ok(())
}
