//! The server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nvr_rtsp::{Accounts, Error, Result, Scheme};
use tokio::runtime::Handle;

use crate::events::Events;
use crate::live::LiveFeed;
use crate::stream::{Cameras, Limits};

/// The largest unit that may be sent at once, beyond what waits already.
const MAX_UNIT_BYTES: usize = 20 << 20;

/// Settings of a server.
#[derive(Clone)]
pub struct Config {
    /// Address and port to listen on; port 0: any free one.
    pub listen: String,
    /// Names and passwords; none: only this machine may watch.
    pub users: Vec<(String, String)>,
    /// Threads that serve.
    pub threads: usize,
    /// Most bytes in an RTP packet after its header, from 64 to 60,000.
    pub max_payload: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// A live viewer that leaves more bytes than this lying loses groups of pictures.
    pub max_backlog_bytes: usize,
    /// A client that says nothing for so long is disconnected.
    pub session_timeout: Duration,
    /// A request that is not answered in this time is refused.
    pub answer_within: Duration,
}

/// What a server does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that are open.
    pub sessions: usize,
}

/// An RTSP server whose owner answers its [events](crate::events).
pub struct Server {
    events: Arc<Events>,
    limits: Limits,
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
        let accounts = match config.users.is_empty() {
            true => None,
            false => Some(Accounts::new("nvr", config.users, Scheme::DigestOrLocalBasic)?),
        };
        let events = Arc::new(Events::new().map_err(Error::io("make an eventfd"))?);
        let limits = Limits {
            answer_within: config.answer_within,
            max_payload: config.max_payload,
            max_backlog_bytes: config.max_backlog_bytes,
        };
        let server = nvr_rtsp::Server::start(
            nvr_rtsp::Config {
                listen: config.listen,
                accounts,
                admits_strangers: false,
                threads: config.threads,
                name: "rtsp-out",
                max_connections: config.max_connections,
                max_sessions: config.max_sessions,
                max_backlog_bytes: config.max_backlog_bytes + MAX_UNIT_BYTES,
                session_timeout: config.session_timeout,
            },
            Arc::new(Cameras { events: Arc::clone(&events), limits }),
        )?;
        Ok(Server { events, limits, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What is to be answered.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// A feed for a stream as it comes.
    pub fn feed(&self) -> LiveFeed {
        let Limits { max_payload, max_backlog_bytes, .. } = self.limits;
        LiveFeed::new(Arc::clone(&self.events), max_payload, max_backlog_bytes)
    }

    /// Its runtime, for replays.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn handle(&self) -> Result<Handle> {
        self.server.handle()
    }

    /// What it does now.
    pub fn stats(&self) -> Stats {
        Stats { sessions: self.server.sessions() }
    }

    /// Disconnects everybody and frees the port. Closing twice does no harm.
    pub fn close(&self) {
        self.server.close();
    }
}
