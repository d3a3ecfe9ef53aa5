//! The listening side: connections, their limits, a runtime of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};

use crate::auth::Accounts;
use crate::connection;
use crate::error::{Error, Result};
use crate::service::Service;

/// Settings of a server.
#[derive(Clone)]
pub struct Config {
    /// Address and port to listen on; port 0: any free one.
    pub listen: String,
    /// Who may look; none: there is no login.
    pub accounts: Option<Accounts>,
    /// Without login, lets in clients of other machines too.
    pub admits_strangers: bool,
    /// Threads that serve, from 1 to 64.
    pub threads: usize,
    /// What the threads are called.
    pub name: &'static str,
    /// Most connections at once; one more is answered with 503.
    pub max_connections: usize,
    /// Most sessions at once; one more is answered with 453.
    pub max_sessions: usize,
    /// Most bytes kept for a client that does not read; one more and it is disconnected.
    pub max_backlog_bytes: usize,
    /// A client that says nothing for so long is disconnected.
    pub session_timeout: Duration,
}

/// Counts something for as long as it lives.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        // The slot gives back in any case.
        let slot = Slot(Arc::clone(count));
        let before = count.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What connections share.
pub(crate) struct Shared<S> {
    pub(crate) service: Arc<S>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) admits_strangers: bool,
    pub(crate) max_backlog_bytes: usize,
    pub(crate) session_timeout: Duration,
    connections: Arc<AtomicUsize>,
    max_connections: usize,
    sessions: Arc<AtomicUsize>,
    max_sessions: usize,
    /// When a refusal was last told: clients decide how often they are refused, not how much is logged.
    told: Mutex<Option<Instant>>,
}

impl<S> Shared<S> {
    fn tell_refusal(&self, limit: &str, most: usize) {
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            *told = Some(Instant::now());
            log::warn!(target: "nvr.rtsp", "clients are refused: {limit} = {most} are open");
        }
    }

    /// Room for one more session.
    pub(crate) fn session_slot(&self) -> Option<Slot> {
        let slot = Slot::take(&self.sessions, self.max_sessions);
        if slot.is_none() {
            self.tell_refusal("max_sessions", self.max_sessions);
        }
        slot
    }
}

/// An RTSP 1.0 server (RFC 2326).
pub struct Server {
    sessions: Arc<AtomicUsize>,
    address: SocketAddr,
    runtime: Mutex<Option<Runtime>>,
}

impl Server {
    /// Listens, and serves until it is closed or dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number of threads that is out of range, [`Error::Io`] when the
    /// system gives no threads or not that port.
    pub fn start<S: Service>(config: Config, service: Arc<S>) -> Result<Self> {
        if config.threads == 0 || config.threads > 64 {
            return Err(Error::invalid(format!("threads: {} is not from 1 to 64", config.threads)));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name(config.name)
            .enable_all()
            .build()
            .map_err(Error::io("start the threads of the RTSP server"))?;
        let action = format!("listen on {} for RTSP", config.listen);
        let listener = runtime
            .block_on(TcpListener::bind(&config.listen))
            .map_err(Error::io(action.clone()))?;
        let address = listener.local_addr().map_err(Error::io(action))?;
        let sessions = Arc::<AtomicUsize>::default();
        let shared = Arc::new(Shared {
            service,
            accounts: config.accounts,
            admits_strangers: config.admits_strangers,
            max_backlog_bytes: config.max_backlog_bytes,
            session_timeout: config.session_timeout,
            connections: Arc::default(),
            max_connections: config.max_connections,
            sessions: Arc::clone(&sessions),
            max_sessions: config.max_sessions,
            told: Mutex::default(),
        });
        runtime.spawn(accept(listener, shared));
        Ok(Server { sessions, address, runtime: Mutex::new(Some(runtime)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sessions that are open now.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Its runtime, for tasks that send.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn handle(&self) -> Result<Handle> {
        self.runtime.lock().as_ref().map(|runtime| runtime.handle().clone()).ok_or(Error::Closed)
    }

    /// Disconnects everybody and frees the port; true if it was open. Closing twice does no harm.
    pub fn close(&self) -> bool {
        let runtime = self.runtime.lock().take();
        match runtime {
            Some(runtime) => {
                // Tasks end at their next await: none of them blocks.
                runtime.shutdown_timeout(Duration::from_secs(5));
                true
            }
            None => false,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept<S: Service>(listener: TcpListener, shared: Arc<Shared<S>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match Slot::take(&shared.connections, shared.max_connections) {
                Some(slot) => {
                    tokio::spawn(connection::serve(stream, peer, Arc::clone(&shared), slot));
                }
                // One try: whoever does not take these few bytes goes without.
                None => {
                    shared.tell_refusal("max_connections", shared.max_connections);
                    let _ = stream.try_write(b"RTSP/1.0 503 Service Unavailable\r\n\r\n");
                }
            },
            Err(e) => {
                // Out of file descriptors, most likely: others end in time.
                log::warn!(target: "nvr.rtsp", "cannot take a connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
