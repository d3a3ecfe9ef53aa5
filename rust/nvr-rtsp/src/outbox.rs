//! Bytes on their way to one client: written at once where the socket takes them, else kept, up to
//! a limit. Whoever sends never waits.

use std::io;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// The sending side of a client's connection.
pub(crate) struct Outbox {
    stream: TcpStream,
    state: Mutex<State>,
    changed: Notify,
    /// Some of what was kept has been written.
    drained: Notify,
    limit: usize,
}

#[derive(Default)]
struct State {
    pending: BytesMut,
    closed: bool,
}

impl Outbox {
    /// Keeps at most `limit` bytes that the client does not take.
    pub(crate) fn new(stream: TcpStream, limit: usize) -> Self {
        Outbox {
            stream,
            state: Mutex::default(),
            changed: Notify::new(),
            drained: Notify::new(),
            limit,
        }
    }

    /// The connection, for reading.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of `data`, or closes the outbox when the client is too far behind or gone.
    pub(crate) fn send(&self, mut data: &[u8]) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if state.pending.is_empty() {
            match self.stream.try_write(data) {
                Ok(written) => data = &data[written..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => state.closed = true,
            }
            if data.is_empty() {
                return;
            }
        }
        if state.pending.len() + data.len() > self.limit {
            state.closed = true;
        }
        if !state.closed {
            state.pending.extend_from_slice(data);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Bytes that the client has not taken yet.
    pub(crate) fn backlog(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Returns when the client has taken all but so many bytes, or the outbox is closed.
    pub(crate) async fn wait_below(&self, bytes: usize) {
        loop {
            let drained = self.drained.notified();
            let enough = {
                let state = self.state.lock();
                state.pending.len() <= bytes || state.closed
            };
            if enough {
                return;
            }
            drained.await;
        }
    }

    /// Nothing more is sent; the connection's task ends.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
        self.drained.notify_waiters();
    }

    /// True when nothing more can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Writes what is kept whenever the client takes it; returns when the outbox is closed.
    pub(crate) async fn drain(&self) {
        loop {
            if self.write_pending() {
                return;
            }
            if self.state.lock().pending.is_empty() {
                self.changed.notified().await;
            } else {
                tokio::select! {
                    ready = self.stream.writable() => if ready.is_err() { self.close() },
                    () = self.changed.notified() => {}
                }
            }
        }
    }

    /// Returns when all is written, or the outbox is closed.
    pub(crate) async fn flush(&self) {
        while !self.write_pending() && !self.state.lock().pending.is_empty() {
            if self.stream.writable().await.is_err() {
                self.close();
            }
        }
    }

    /// Writes what the socket takes; true when the outbox is closed.
    fn write_pending(&self) -> bool {
        let mut state = self.state.lock();
        while !state.closed && !state.pending.is_empty() {
            match self.stream.try_write(&state.pending) {
                Ok(written) => state.pending.advance(written),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => state.closed = true,
            }
        }
        if state.pending.is_empty() {
            // Give back what a large backlog took.
            state.pending = BytesMut::new();
        }
        self.drained.notify_waiters();
        state.closed
    }
}
