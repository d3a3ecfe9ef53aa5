//! One question to many nodes at once: a gRPC client for answers that are streams of small
//! messages.
//!
//! A [`Client`] keeps an HTTP/2 connection to each peer it was given and asks any number of them
//! in one call; what they answer, as serialized messages, waits until it is taken, and an eventfd
//! says that something does. It knows nothing of what the messages mean. Everything a peer sends is
//! bounded: a message, an answer, what waits, and the time. gRPC over HTTP/2 is as in
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod call;
mod client;
mod framing;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod peer;
mod status;
mod target;
mod tls;

pub use answers::{Answer, Ended};
pub use client::{Ask, Client, Config};
pub use status::{Code, Status};
pub use target::Target;
pub use tls::{Identity, Tls};

/// What the caller can do wrong, or the system refuse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument that cannot be used; the text names it.
    #[error("{0}")]
    Invalid(String),
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}
