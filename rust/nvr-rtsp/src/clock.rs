//! A clock that is never stepped.

use std::time::{Duration, Instant, SystemTime};

/// Wall time: set once from the machine's clock, then never stepped, so that
/// a step of the machine's clock does not disturb what is playing.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_us: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Set from the machine's clock.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let start_us = since_epoch.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        Clock { start: Instant::now(), start_us }
    }

    /// Now, in microseconds since the Unix epoch.
    pub fn now_us(&self) -> i64 {
        let passed = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.start_us.saturating_add(passed)
    }

    /// The moment at which the clock shows this; the start if it never did.
    pub fn instant_at(&self, wall_us: i64) -> Instant {
        let passed = u64::try_from(wall_us.saturating_sub(self.start_us)).unwrap_or(0);
        // A far future that the platform cannot express: a day from now is as good, the caller
        // looks at the clock again.
        let day = Duration::from_secs(86_400);
        self.start + Duration::from_micros(passed).min(self.start.elapsed() + day)
    }
}
