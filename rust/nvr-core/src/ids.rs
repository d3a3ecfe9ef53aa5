//! Names of things: cameras, streams, runs. Only these reach the file system.

use std::fmt;
use std::str::FromStr;

use sha2::Digest;
use uuid::Uuid;

use crate::Error;

/// A camera, minted once (UUIDv7); never means another camera.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CameraId(pub Uuid);

/// An unbroken stretch of one session with a camera (UUIDv7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub Uuid);

/// Where random bytes come from, so that a seed replays a run of the recorder.
pub trait Entropy: Send + Sync {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// The system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(16) {
            // A version 4 UUID has 122 random bits from the system; hash them so that all
            // bytes are uniform.
            let digest = sha2::Sha256::digest(Uuid::new_v4().as_bytes());
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }
}

/// The same bytes for the same seed (SplitMix64): for tests only.
#[derive(Debug)]
pub struct SeededEntropy(std::sync::atomic::AtomicU64);

impl SeededEntropy {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        SeededEntropy(seed.into())
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in out.chunks_mut(8) {
            let mut z =
                self.0.fetch_add(STEP, std::sync::atomic::Ordering::SeqCst).wrapping_add(STEP);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

impl RunId {
    /// Mints a run id for a run that starts at a wall time (microseconds since the epoch), so
    /// that ids sort by time (RFC 9562, section 5.7).
    pub fn mint(start_us: i64, entropy: &dyn Entropy) -> Self {
        let mut random = [0; 10];
        entropy.fill(&mut random);
        let millis = u64::try_from(start_us / 1000).unwrap_or(0);
        RunId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

/// Which of a camera's streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum StreamKind {
    /// The full picture.
    Main,
    /// The small picture.
    Sub,
}

impl StreamKind {
    /// Its name in paths and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamKind::Main => "main",
            StreamKind::Sub => "sub",
        }
    }
}

/// A stream of a camera.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId {
    /// Whose.
    pub camera: CameraId,
    /// Which.
    pub kind: StreamKind,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.camera, self.kind.as_str())
    }
}

impl FromStr for StreamKind {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "main" => Ok(StreamKind::Main),
            "sub" => Ok(StreamKind::Sub),
            _ => Err(Error::Invalid(format!("'{s}' is no stream: use 'main' or 'sub'"))),
        }
    }
}

macro_rules! uuid_text {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = Error;

            fn from_str(s: &str) -> Result<Self, Error> {
                // One spelling only: a path must not have two names.
                let id = Uuid::try_parse(s).ok().filter(|u| u.as_hyphenated().to_string() == s);
                id.map($name).ok_or_else(|| {
                    Error::Invalid(format!(
                        concat!("'{}' is no ", $what, " id (lower-case UUID)"),
                        s
                    ))
                })
            }
        }
    };
}
uuid_text!(CameraId, "camera");
uuid_text!(RunId, "run");
