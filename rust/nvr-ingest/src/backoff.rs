//! How long to wait before connecting again.

use std::time::Duration;

use rand::Rng;

/// No wait is shorter, so that a camera that fails at once does not keep a core busy.
const FLOOR: Duration = Duration::from_millis(100);

/// Exponential backoff with full jitter: a random wait between nearly nothing and a limit
/// that doubles with each failure. The jitter spreads the cameras of a switch that came back.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Backoff { first: first.min(limit), limit, failures: 0 }
    }

    /// The session before was good: the next failure counts as the first.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next failure waits as long as any (in random parts).
    pub(crate) fn exhaust(&mut self) {
        self.failures = u32::MAX;
    }

    /// How long to wait after one more failure.
    pub(crate) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let floor = FLOOR.min(ceiling);
        rng.gen_range(floor..=ceiling)
    }

    /// The longest wait that the next failure can give.
    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    proptest! {
        #[test]
        fn waits_stay_between_floor_and_ceiling(
            seed: u64, first_ms in 1_u64..5_000, limit_ms in 1_u64..60_000, failures in 0_usize..80,
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let limit = Duration::from_millis(limit_ms);
            let mut backoff = Backoff::new(Duration::from_millis(first_ms), limit);
            for n in 0..failures {
                let ceiling = Duration::from_millis(first_ms.min(limit_ms))
                    .saturating_mul(1_u32.checked_shl(u32::try_from(n).unwrap()).unwrap_or(u32::MAX))
                    .min(limit);
                let wait = backoff.next(&mut rng);
                prop_assert!(wait <= ceiling, "failure {n}: {wait:?} > {ceiling:?}");
                prop_assert!(wait >= FLOOR.min(ceiling));
            }
        }
    }

    #[test]
    fn doubles_to_the_limit_and_starts_anew_after_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let mut rng = StdRng::seed_from_u64(7);
        let mut ceilings = Vec::new();
        for _ in 0..7 {
            ceilings.push(backoff.ceiling().as_secs());
            backoff.next(&mut rng);
        }
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_secs(1));
        backoff.exhaust();
        assert_eq!(backoff.ceiling(), Duration::from_secs(30));
    }
}
