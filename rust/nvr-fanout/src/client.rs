//! Many peers, one thread: who asks hands over a question and is woken when answers wait.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::answers::{Answer, Ended, Outbox};
use crate::call::{self, Limits, Question, Room, Sink};
use crate::peer::Peer;
use crate::status::{Code, Status};
use crate::target::Target;
use crate::tls::Tls;

/// Limits of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls at the same time, to all peers together; others wait for their turn.
    pub at_once: usize,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Bytes of an answer.
    pub answer_bytes: usize,
    /// Bytes that wait to be taken; then peers have to wait.
    pub waiting_bytes: usize,
    /// Bytes of messages that came in part, of all peers together.
    pub partial_bytes: usize,
    /// A connection is tried so often while it is open …
    pub keepalive: Duration,
    /// … and is lost when it does not answer within this.
    pub keepalive_timeout: Duration,
    /// One that nobody uses for so long is closed.
    pub idle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            at_once: 256,
            message_bytes: 16 << 20,
            answer_bytes: 64 << 20,
            waiting_bytes: 16 << 20,
            partial_bytes: 64 << 20,
            keepalive: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(600),
        }
    }
}

/// A question to many peers.
pub struct Ask {
    /// `/package.Service/Method`.
    pub path: String,
    /// Keys in lower case; no binary ones.
    pub metadata: Vec<(String, String)>,
    /// Within so long each is answered or lost.
    pub timeout: Duration,
    /// Messages that an answer may have.
    pub most_messages: usize,
    /// Peers, each with its serialized request.
    pub requests: Vec<(u64, Vec<u8>)>,
}

/// A client. Dropped, it is closed.
pub struct Client {
    config: Config,
    shared: Arc<Shared>,
    runtime: Handle,
    peers: Mutex<HashMap<u64, Arc<Peer>>>,
    next: AtomicU64,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Sender<()>)>>,
}

struct Shared {
    outbox: Arc<Outbox>,
    room: Room,
    slots: Semaphore,
    calls: Mutex<HashMap<u64, AbortHandle>>,
    /// Calls that have their turn.
    open: Arc<AtomicUsize>,
}

impl Client {
    /// Starts its thread.
    ///
    /// # Errors
    /// The system refuses a thread or a descriptor.
    pub fn new(config: Config) -> Result<Self, Error> {
        let io = |what| move |source| Error::Io { what, source };
        let open = Arc::new(AtomicUsize::new(0));
        let gathered = open.clone();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || gather(gathered.load(Ordering::Relaxed)))
            .build()
            .map_err(io("start a runtime"))?;
        let outbox = Outbox::new(config.waiting_bytes).map_err(io("make an eventfd"))?;
        let shared = Arc::new(Shared {
            outbox: Arc::new(outbox),
            room: Room::new(config.partial_bytes),
            slots: Semaphore::new(config.at_once.clamp(1, Semaphore::MAX_PERMITS)),
            calls: Mutex::default(),
            open,
        });
        let (stop, stopped) = oneshot::channel();
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name("nvr-fanout".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(stopped);
                // Names are looked up in threads of their own; nobody waits for them.
                runtime.shutdown_background();
            })
            .map_err(io("start a thread"))?;
        Ok(Client {
            config,
            shared,
            runtime: handle,
            peers: Mutex::default(),
            next: AtomicU64::new(1),
            thread: Mutex::new(Some((thread, stop))),
        })
    }

    /// A peer to ask; nothing is sent before the first question.
    pub fn add_peer(&self, target: Target, tls: Option<Tls>) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.peers.lock().insert(id, Arc::new(Peer::new(target, tls, &self.config)));
        id
    }

    /// Forgets a peer. What it is asked at the moment goes on.
    pub fn remove_peer(&self, peer: u64) {
        self.peers.lock().remove(&peer);
    }

    /// Connections to a peer that were made so far.
    pub fn connections_made(&self, peer: u64) -> usize {
        self.peers.lock().get(&peer).map_or(0, |peer| peer.connected.load(Ordering::Relaxed))
    }

    /// Becomes readable when answers wait.
    pub fn notify_fd(&self) -> BorrowedFd<'_> {
        self.shared.outbox.notify_fd()
    }

    /// The answers that wait. Of each call that was not cancelled exactly one says that it ended.
    pub fn take(&self) -> Vec<Answer> {
        self.shared.outbox.take()
    }

    /// Asks; the id of the first call, those of the others follow it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a peer that is not known or metadata that cannot be sent,
    /// [`Error::Closed`].
    pub fn ask(&self, ask: Ask) -> Result<u64, Error> {
        if self.thread.lock().is_none() {
            return Err(Error::Closed);
        }
        let metadata = headers(&ask.metadata)?;
        if !ask.path.starts_with('/') || ask.path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(Error::Invalid(format!("path: '{}' is no /service/method", ask.path)));
        }
        let peers = self.peers.lock();
        let mut asked = Vec::with_capacity(ask.requests.len());
        for (id, request) in ask.requests {
            let peer = peers.get(&id);
            let peer =
                peer.ok_or_else(|| Error::Invalid(format!("peers: there is no peer {id}")))?;
            asked.push((peer.clone(), request));
        }
        drop(peers);
        let count = asked.len();
        let question = Arc::new(Question {
            path: ask.path,
            metadata,
            deadline: Instant::now() + ask.timeout,
            limits: Limits {
                message_bytes: self.config.message_bytes,
                answer_bytes: self.config.answer_bytes,
                messages: ask.most_messages,
            },
            left: AtomicUsize::new(count),
            small: count <= SMALL,
        });
        let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
        // Locked until all are known: one that ends at once finds itself there.
        let mut calls = self.shared.calls.lock();
        for (call, (peer, request)) in (first..).zip(asked) {
            let (shared, question) = (self.shared.clone(), question.clone());
            let task = self.runtime.spawn(serve(shared, question, call, peer, request));
            calls.insert(call, task.abort_handle());
        }
        Ok(first)
    }

    /// Cancels calls; those that are over already do not mind. Answers that wait may still be taken.
    pub fn cancel(&self, calls: impl IntoIterator<Item = u64>) {
        let mut known = self.shared.calls.lock();
        for call in calls {
            if let Some(task) = known.remove(&call) {
                task.abort();
            }
        }
    }

    /// Ends all calls and connections. Returns when the thread has ended.
    pub fn close(&self) {
        let thread = self.thread.lock().take();
        if let Some((thread, stop)) = thread {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

/// A question to so few is answered as soon as each is.
const SMALL: usize = 8;

/// Before the thread waits: when many nodes are being asked, a little sleep lets what they send pile
/// up, so that one waking and one read take more of it.
fn gather(open: usize) {
    const EACH: Duration = Duration::from_micros(80);
    const MOST: Duration = Duration::from_millis(20);
    if open > SMALL {
        std::thread::sleep(EACH.saturating_mul(open as u32).min(MOST));
    }
}

/// A call has its turn as long as this lives.
struct Turn<'a> {
    open: &'a AtomicUsize,
    _slot: SemaphorePermit<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    async fn turn(&self) -> Option<Turn<'_>> {
        let slot = self.slots.acquire().await.ok()?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Turn { open: &self.open, _slot: slot })
    }
}

fn headers(metadata: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(metadata.len() + 4);
    for (key, value) in metadata {
        let wrong = || Error::Invalid(format!("metadata: '{key}' cannot be sent"));
        let name = HeaderName::from_lowercase(key.as_bytes()).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

struct ToOutbox<'a> {
    call: u64,
    outbox: &'a Arc<Outbox>,
}

impl Sink for ToOutbox<'_> {
    async fn room(&self) {
        self.outbox.room().await;
    }

    fn put(&mut self, messages: Vec<Bytes>) {
        self.outbox.push(Answer { call: self.call, messages, ended: None }, false);
    }
}

async fn serve(
    shared: Arc<Shared>,
    question: Arc<Question>,
    call: u64,
    peer: Arc<Peer>,
    request: Vec<u8>,
) {
    let mut asked = false;
    let answered = timeout_at(question.deadline, async {
        let _turn = shared.turn().await;
        // Those that are late together give their turns to others that are late, too.
        if Instant::now() >= question.deadline {
            return None;
        }
        asked = true;
        let mut sink = ToOutbox { call, outbox: &shared.outbox };
        Some(call::run(&peer, &question, &request, &shared.room, &mut sink).await)
    });
    let status = answered.await.ok().flatten().unwrap_or_else(|| {
        let detail = if asked { "no answer in time" } else { "not asked in time" };
        Status::new(Code::DeadlineExceeded, detail)
    });
    shared.calls.lock().remove(&call);
    let last = question.left.fetch_sub(1, Ordering::Relaxed) == 1;
    let ended = Some(Ended { status, asked });
    shared.outbox.push(Answer { call, messages: Vec::new(), ended }, last || question.small);
}
