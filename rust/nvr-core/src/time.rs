//! Clocks. Wall times are microseconds since the Unix epoch, UTC, in an `i64` named `*_us`;
//! media times are ticks of 1/90,000 s named `*_90k`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

/// Ticks of video media time a second (RFC 3551).
pub const VIDEO_TIMESCALE: u32 = 90_000;

/// Microseconds a second.
pub const SECOND_US: i64 = 1_000_000;

/// Microseconds a UTC day.
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// A moment by both clocks, read together: a step of the wall clock shows as a
/// change of their difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The disciplined wall clock.
    pub wall_us: i64,
    /// A clock that never steps; its zero means nothing.
    pub mono_us: i64,
}

/// Where the time comes from, so that tests replay it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Moment;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        let mono = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        Moment { wall_us: wall, mono_us: mono }
    }
}

/// A clock that a test moves.
#[derive(Debug, Default)]
pub struct SimClock {
    wall_us: AtomicI64,
    mono_us: AtomicI64,
}

impl SimClock {
    /// Starts at a wall time.
    pub fn at(wall_us: i64) -> Self {
        SimClock { wall_us: AtomicI64::new(wall_us), mono_us: AtomicI64::new(0) }
    }

    /// Time passes.
    pub fn advance(&self, us: i64) {
        self.wall_us.fetch_add(us, Ordering::SeqCst);
        self.mono_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock forward (or back).
    pub fn step(&self, us: i64) {
        self.wall_us.fetch_add(us, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment {
            wall_us: self.wall_us.load(Ordering::SeqCst),
            mono_us: self.mono_us.load(Ordering::SeqCst),
        }
    }
}

/// Midnight (UTC) of the day that an instant lies in.
pub fn day_start_us(at_us: i64) -> i64 {
    at_us.div_euclid(DAY_US) * DAY_US
}
