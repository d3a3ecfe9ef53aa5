//! The one error type of the crate.

use std::path::{Path, PathBuf};

/// What can go wrong. Each message says what, where, and what to do if anything can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused an operation.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was attempted ("open", "write", …).
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Stored bytes are not what they should be.
    #[error("{} at byte {offset}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// An argument is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// Something the media contains cannot be handled.
    #[error("{0}")]
    Media(String),
    /// What another node gave is not what it should be, and was not taken.
    #[error("{0}")]
    Refused(String),
    /// There is no footage where some is needed.
    #[error("{0}")]
    NoFootage(String),
    /// The store or the recorder was closed.
    #[error("closed: {0}")]
    Closed(&'static str),
}

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an I/O error with the operation and the file that it concerns.
    pub fn io(op: &'static str, path: &Path, source: std::io::Error) -> Self {
        Error::Io { op, path: path.to_owned(), source }
    }

    /// The file that it concerns.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Error::Io { path, .. } | Error::Damaged { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Reports damage found in a file.
    pub fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Error::Damaged { path: path.to_owned(), offset, what: what.into() }
    }
}
