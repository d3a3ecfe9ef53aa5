//! The connection to a peer: made when it is first needed, watched, made anew when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Config;
use crate::status::{Code, Status};
use crate::target::Target;
use crate::tls::{Tls, server_name};

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// Of an answer that is not read yet, what its peer may have sent ahead …
const STREAM_WINDOW: u32 = 256 << 10;
/// … and of all answers of one peer.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Trailers hold a status and a `Problem`; gRPC's own limit is as high.
const MOST_HEADER_BYTES: u32 = 16 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Somebody to ask.
pub(crate) struct Peer {
    pub(crate) target: Target,
    tls: Option<Tls>,
    keepalive: Keepalive,
    connection: Mutex<Option<Arc<Connection>>>,
    /// Connections made, for tests and metrics.
    pub(crate) connected: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Keepalive {
    every: Duration,
    within: Duration,
    idle: Duration,
}

/// A connection that is up, as far as is known.
struct Connection {
    /// While there is one of these, or a call, the connection stays open.
    send: SendRequest<Bytes>,
    state: Arc<Use>,
}

/// What is known of a connection.
struct Use {
    lost: AtomicBool,
    calls: AtomicUsize,
    used: parking_lot::Mutex<Instant>,
}

/// A connection is used while this lives.
pub(crate) struct Lent {
    connection: Arc<Connection>,
    /// It was there before: that it is lost may not have been noticed yet.
    pub(crate) reused: bool,
}

impl Lent {
    pub(crate) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.send.clone()
    }

    /// Whoever comes next makes a new one.
    pub(crate) fn lose(&self) {
        self.connection.state.lost.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.connection.state.used.lock() = Instant::now();
        self.connection.state.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    pub(crate) fn new(target: Target, tls: Option<Tls>, config: &Config) -> Self {
        let keepalive = Keepalive {
            every: config.keepalive,
            within: config.keepalive_timeout,
            idle: config.idle,
        };
        Peer {
            target,
            tls,
            keepalive,
            connection: Mutex::new(None),
            connected: AtomicUsize::new(0),
        }
    }

    pub(crate) fn secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The connection, made if there is none.
    pub(crate) async fn connection(&self) -> Result<Lent, Status> {
        let mut known = self.connection.lock().await;
        let up = known.as_ref().filter(|connection| !connection.state.lost.load(Ordering::Relaxed));
        let reused = up.is_some();
        let connection = match up {
            Some(connection) => connection.clone(),
            None => {
                *known = None;
                let made = timeout(CONNECTED_WITHIN, self.connect()).await;
                let made = made.unwrap_or_else(|_| Err("no answer within 10 s".to_owned()));
                let made =
                    made.map_err(|why| Status::unavailable(format!("cannot connect: {why}")))?;
                self.connected.fetch_add(1, Ordering::Relaxed);
                known.insert(made).clone()
            }
        };
        connection.state.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Lent { connection, reused })
    }

    async fn connect(&self) -> Result<Arc<Connection>, String> {
        let text = |error: std::io::Error| error.to_string();
        let plain: Box<dyn Stream> = match &self.target {
            Target::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(text)?;
                // Questions are small, and are not to wait for more of them.
                stream.set_nodelay(true).map_err(text)?;
                Box::new(stream)
            }
            Target::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(text)?),
        };
        let stream: Box<dyn Stream> = match &self.tls {
            None => plain,
            Some(tls) => {
                let name = server_name(self.target.host())?;
                let stream = tls.connector().connect(name, plain).await;
                let stream = stream.map_err(|error| format!("TLS: {error}"))?;
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err("TLS: the peer does not speak HTTP/2".to_owned());
                }
                Box::new(stream)
            }
        };
        let (send, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MOST_HEADER_BYTES)
            .max_send_buffer_size(1 << 20)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(|error| error.to_string())?;
        let pings = connection.ping_pong();
        let made = Arc::new(Use {
            lost: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            used: parking_lot::Mutex::new(Instant::now()),
        });
        let (watched, keepalive, target) = (made.clone(), self.keepalive, self.target.to_string());
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        log::debug!("{target}: {error}");
                    }
                }
                why = keep(&watched, pings, keepalive) => log::debug!("{target}: {why}"),
            }
            watched.lost.store(true, Ordering::Relaxed);
        });
        Ok(Arc::new(Connection { send, state: made }))
    }
}

/// Returns when a connection is to be given up: it is dead without saying so, or nobody uses it.
async fn keep(connection: &Use, pings: Option<PingPong>, keepalive: Keepalive) -> &'static str {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(keepalive.every).await;
        let idle = connection.used.lock().elapsed() > keepalive.idle;
        // Nothing is awaited between here and the end: no call can begin on it unseen.
        if idle && connection.calls.load(Ordering::Relaxed) == 0 {
            return "nobody uses it";
        }
        match timeout(keepalive.within, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return "its ping failed",
            Err(_) => return "it does not answer pings",
        }
    }
}

/// Whether a call that failed so, before anything of its answer came, may be made again.
pub(crate) fn may_retry(error: &h2::Error) -> bool {
    error.is_io()
        || error.is_go_away()
        || error.reason() == Some(h2::Reason::REFUSED_STREAM)
        // The connection ended without a word.
        || error.reason().is_none()
}

/// The status of a call that failed below gRPC.
pub(crate) fn failed(error: &h2::Error) -> Status {
    if error.is_io() || error.reason().is_none() {
        return Status::new(Code::Unavailable, format!("the connection was lost: {error}"));
    }
    Status::from_h2(error)
}
