//! Codec parameters that change too often to be recorded: each change makes a new segment.

use crate::time::SECOND_US;

/// So many changes in a row are taken for what a camera does when it is set up anew.
const BURST_US: i64 = 8 * SECOND_US;
/// One change a second can be recorded for ever.
const EACH_US: i64 = SECOND_US;

/// Counts changes, and holds recording up while there are too many.
#[derive(Debug, Default)]
pub(super) struct ParameterFlood {
    /// What changes have used up, as time that has to pass.
    used_us: i64,
    last_us: Option<i64>,
    flooded: bool,
}

impl ParameterFlood {
    /// Parameters changed at a time. Answers whether that is one too many, when it begins to be.
    pub(super) fn changed(&mut self, now_us: i64) -> bool {
        let passed_us = now_us - self.last_us.replace(now_us).unwrap_or(now_us);
        self.used_us = (self.used_us - passed_us).max(0) + EACH_US;
        if self.used_us <= BURST_US {
            return false;
        }
        // No further back than it takes to see that it is over.
        self.used_us = BURST_US;
        !std::mem::replace(&mut self.flooded, true)
    }

    /// Whether there are too many changes to record a picture at a time.
    pub(super) fn holds(&mut self, now_us: i64) -> bool {
        if self.last_us.is_none_or(|last| now_us - last > EACH_US) {
            self.flooded = false;
        }
        self.flooded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_a_few_at_once_are_no_flood() {
        let mut flood = ParameterFlood::default();
        assert!((0..8).all(|_| !flood.changed(0)));
        assert!((1..1000).all(|second| !flood.changed(second * SECOND_US)));
        assert!(!flood.holds(999 * SECOND_US));
    }

    #[test]
    fn a_flood_is_told_once_and_ends_when_it_is_quiet() {
        let mut flood = ParameterFlood::default();
        let told = (0..1000).filter(|n| flood.changed(n * 100_000)).count();
        assert_eq!(told, 1);
        assert!(flood.holds(99_900_000 + SECOND_US));
        assert!(!flood.holds(99_900_001 + SECOND_US));
        assert!(!flood.changed(120 * SECOND_US));
    }
}
