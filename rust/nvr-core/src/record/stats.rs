//! Counters that recording leaves for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Upper bounds of the buckets of I/O durations, in seconds.
pub const IO_BOUNDS_S: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// Durations in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; IO_BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = IO_BOUNDS_S.partition_point(|&bound| bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Counts for each bucket (the last has no upper bound), and the sum in seconds.
    pub fn read(&self) -> (Vec<u64>, f64) {
        let counts = self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        (counts, self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9)
    }
}

/// What one stream has recorded and missed since the node started.
#[derive(Debug, Default)]
pub struct StreamStats {
    /// Length of what was written, in microseconds.
    pub recorded_us: AtomicU64,
    /// Bytes written.
    pub written_bytes: AtomicU64,
    /// Length of finished gaps in microseconds, by reason.
    pub gap_us: Mutex<BTreeMap<String, u64>>,
}

impl StreamStats {
    /// Counts a gap.
    pub fn gap(&self, reason: &str, us: i64) {
        if let Ok(us) = u64::try_from(us) {
            *self.gap_us.lock().entry(reason.to_owned()).or_default() += us;
        }
    }
}
