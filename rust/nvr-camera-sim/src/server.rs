//! The RTSP server: cameras by path, connections, a runtime of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::auth::Login;
use crate::camera::{Camera, Counters};
use crate::clock::Clock;
use crate::connection;
use crate::error::{Error, Result};
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

/// What connections share.
pub(crate) struct Shared {
    pub(crate) cameras: Mutex<HashMap<String, Arc<Camera>>>,
    pub(crate) login: Option<Login>,
    pub(crate) max_backlog_bytes: usize,
    pub(crate) session_timeout: Duration,
    connections: AtomicUsize,
    max_connections: usize,
}

impl Shared {
    /// The camera of a path.
    pub(crate) fn camera(&self, path: &str) -> Option<Arc<Camera>> {
        self.cameras.lock().get(path).cloned()
    }
}

/// Counts a connection for as long as it lives.
pub(crate) struct ConnectionSlot(Arc<Shared>);

impl ConnectionSlot {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        // The slot gives back in any case.
        let slot = ConnectionSlot(Arc::clone(shared));
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        (before < shared.max_connections).then_some(slot)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An RTSP 1.0 server (RFC 2326) that plays media as cameras.
pub struct Server {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    clock: Clock,
    max_payload: usize,
    address: SocketAddr,
    runtime: Mutex<Option<Runtime>>,
}

impl Server {
    /// Listens, and serves until it is closed or dropped.
    pub fn start(config: Config) -> Result<Self> {
        if !(64..=60_000).contains(&config.max_payload) {
            return Err(Error::invalid(format!(
                "max_payload: {} is not from 64 to 60000 bytes",
                config.max_payload
            )));
        }
        if config.threads == 0 || config.threads > 64 {
            return Err(Error::invalid(format!("threads: {} is not from 1 to 64", config.threads)));
        }
        if config.user.contains(':') || (config.user.is_empty() && !config.password.is_empty()) {
            return Err(Error::invalid(
                "user: must not contain ':', nor be empty beside a password",
            ));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name("camera-sim")
            .enable_all()
            .build()
            .map_err(Error::io("start the threads of the camera simulator"))?;
        let action = format!("listen on {} for RTSP", config.listen);
        let listener = runtime
            .block_on(TcpListener::bind(&config.listen))
            .map_err(Error::io(action.clone()))?;
        let address = listener.local_addr().map_err(Error::io(action))?;
        let shared = Arc::new(Shared {
            cameras: Mutex::default(),
            login: (!config.user.is_empty())
                .then(|| Login::new(config.user, config.password, config.digest)),
            max_backlog_bytes: config.max_backlog_bytes,
            session_timeout: config.session_timeout,
            connections: AtomicUsize::new(0),
            max_connections: config.max_connections,
        });
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Server {
            shared,
            counters: Arc::default(),
            clock: Clock::new(),
            max_payload: config.max_payload,
            address,
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
        let runtime = self.runtime.lock();
        let runtime = runtime.as_ref().ok_or(Error::Closed)?;
        let mut cameras = self.shared.cameras.lock();
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
        let camera = self.shared.cameras.lock().remove(path);
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
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            // Tasks end at their next await: none of them blocks.
            runtime.shutdown_timeout(Duration::from_secs(5));
            self.shared.cameras.lock().clear();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
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

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match ConnectionSlot::take(&shared) {
                Some(slot) => {
                    tokio::spawn(connection::serve(stream, peer, Arc::clone(&shared), slot));
                }
                // One try: whoever does not take these few bytes goes without.
                None => {
                    let _ = stream.try_write(b"RTSP/1.0 503 Service Unavailable\r\n\r\n");
                }
            },
            Err(e) => {
                // Out of file descriptors, most likely: others end in time.
                log::warn!(target: "nvr.simulate", "cannot take a connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
