use std::io;

/// Why a server cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is out of its range, or media does not hold together.
    #[error("{0}")]
    Invalid(String),
    /// The operating system said no.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried ("listen on 127.0.0.1:8554").
        action: String,
        /// What it said.
        source: io::Error,
    },
    /// The server was closed.
    #[error("the RTSP server is closed")]
    Closed,
}

impl Error {
    /// A value that cannot be used, and why.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::Invalid(message.into())
    }

    /// What was tried when the operating system said no.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}

/// What a server's calls give back.
pub type Result<T> = std::result::Result<T, Error>;
