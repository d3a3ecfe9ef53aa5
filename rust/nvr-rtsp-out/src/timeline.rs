//! Where footage lies on the timeline of a replay.

/// Fragments further apart than this have a gap between them, which is jumped over; nearer, the
/// clock was only followed.
const GAP_US: i64 = 500_000;

/// The same for keyframes alone, whose distance is that of the camera's GOPs.
const KEYFRAME_GAP_US: i64 = 30_000_000;

/// How far apart two keyframes are shown that have a gap between them.
const KEYFRAME_STEP_US: i64 = 500_000;

/// Maps wall time of footage to positions of a replay: microseconds from its start, negative before
/// it (pre-roll). Positions go on where footage is missing.
#[derive(Debug)]
pub(crate) struct Timeline {
    start_us: i64,
    end_us: i64,
    scale: i64,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    run: String,
    /// Wall time and position up to which footage is placed.
    wall_us: i64,
    position_us: i64,
}

/// Where a fragment or a keyframe lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Of its start.
    pub(crate) position_us: i64,
    /// The relation of wall time and position changed.
    pub(crate) jumped: bool,
}

impl Timeline {
    /// From one wall time to another, so many times as fast as it was.
    pub(crate) fn new(start_us: i64, end_us: i64, scale: u32) -> Self {
        Timeline { start_us, end_us, scale: i64::from(scale.max(1)), last: None }
    }

    pub(crate) fn start_us(&self) -> i64 {
        self.start_us
    }

    pub(crate) fn end_us(&self) -> i64 {
        self.end_us
    }

    /// Where a fragment lies that shows wall time from `start_us` to `end_us`. None: it is not to be
    /// shown, because it is past the end, it shows what was shown already, or no decoder can begin
    /// with it.
    pub(crate) fn fragment(
        &mut self,
        run: &str,
        (start_us, end_us): (i64, i64),
        random_access: bool,
    ) -> Option<Placed> {
        if start_us >= self.end_us || end_us <= start_us {
            return None;
        }
        let placed = match &self.last {
            None if !random_access => return None,
            None => Placed { position_us: start_us - self.start_us, jumped: false },
            Some(last) => {
                let apart_us = start_us - last.wall_us;
                let same_run = last.run == run;
                // Of two runs that overlap the one that is being shown goes on.
                if apart_us < -GAP_US || !random_access && (!same_run || apart_us > GAP_US) {
                    return None;
                }
                let jumped = apart_us > GAP_US;
                let step_us = if jumped { 0 } else { apart_us };
                Placed { position_us: last.position_us + step_us, jumped }
            }
        };
        self.last = Some(Last {
            run: run.to_owned(),
            wall_us: end_us,
            position_us: placed.position_us + (end_us - start_us),
        });
        Some(placed)
    }

    /// Where a keyframe lies, of a replay of keyframes alone.
    pub(crate) fn keyframe(&mut self, wall_us: i64) -> Option<Placed> {
        if wall_us >= self.end_us || wall_us < self.start_us {
            return None;
        }
        let placed = match &self.last {
            None => Placed { position_us: (wall_us - self.start_us) / self.scale, jumped: false },
            Some(last) => {
                let apart_us = wall_us - last.wall_us;
                if apart_us <= 0 {
                    return None;
                }
                let jumped = apart_us > KEYFRAME_GAP_US;
                let step_us = if jumped { KEYFRAME_STEP_US } else { apart_us / self.scale };
                Placed { position_us: last.position_us + step_us, jumped }
            }
        };
        let run = String::new();
        self.last = Some(Last { run, wall_us, position_us: placed.position_us });
        Some(placed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000;

    fn at(position_us: i64) -> Option<Placed> {
        Some(Placed { position_us, jumped: false })
    }

    #[test]
    fn pre_roll_lies_before_zero_and_the_rest_follows() {
        let mut timeline = Timeline::new(101 * S, 110 * S, 1);
        assert_eq!(timeline.fragment("a", (98 * S, 100 * S), false), None, "no place to begin");
        assert_eq!(timeline.fragment("a", (100 * S, 102 * S), true), at(-S));
        assert_eq!(timeline.fragment("a", (102 * S, 104 * S), false), at(S));
        // The camera's clock is followed.
        assert_eq!(timeline.fragment("a", (104 * S + 300, 106 * S), true), at(3 * S + 300));
        assert_eq!(timeline.fragment("a", (110 * S, 112 * S), true), None, "past the end");
    }

    #[test]
    fn a_gap_takes_no_time() {
        let mut timeline = Timeline::new(100 * S, 900 * S, 1);
        assert_eq!(timeline.fragment("a", (100 * S, 102 * S), true), at(0));
        assert_eq!(timeline.fragment("b", (500 * S, 502 * S), false), None);
        let placed = timeline.fragment("b", (502 * S, 504 * S), true);
        assert_eq!(placed, Some(Placed { position_us: 2 * S, jumped: true }));
        assert_eq!(timeline.fragment("b", (504 * S, 505 * S), false), at(4 * S));
    }

    #[test]
    fn of_runs_that_overlap_one_is_shown_to_its_end() {
        let mut timeline = Timeline::new(100 * S, 900 * S, 1);
        assert_eq!(timeline.fragment("a", (100 * S, 102 * S), true), at(0));
        assert_eq!(timeline.fragment("b", (101 * S, 103 * S), true), None);
        assert_eq!(timeline.fragment("a", (102 * S, 104 * S), true), at(2 * S));
        assert_eq!(timeline.fragment("b", (104 * S - 100_000, 106 * S), true), at(4 * S - 100_000));
    }

    #[test]
    fn keyframes_come_faster_than_they_were() {
        let mut timeline = Timeline::new(100 * S, 900 * S, 4);
        assert_eq!(timeline.keyframe(99 * S), None);
        assert_eq!(timeline.keyframe(102 * S), at(S / 2));
        assert_eq!(timeline.keyframe(102 * S), None);
        assert_eq!(timeline.keyframe(106 * S), at(3 * S / 2));
        let placed = timeline.keyframe(306 * S);
        assert_eq!(placed, Some(Placed { position_us: 2 * S, jumped: true }));
    }

    proptest! {
        #[test]
        fn positions_never_stand_still_or_run_ahead(
            fragments in prop::collection::vec((-3 * S..4 * S, 1..4 * S, any::<bool>(), 0..2u8), 1..40),
        ) {
            let mut timeline = Timeline::new(0, i64::MAX, 1);
            let (mut end, mut until): (i64, Option<i64>) = (0, None);
            for (apart, duration, random_access, run) in fragments {
                let start = (end + apart).max(0);
                let placed =
                    timeline.fragment(&run.to_string(), (start, start + duration), random_access);
                if let Some(placed) = placed {
                    if let Some(until) = until {
                        prop_assert!((placed.position_us - until).abs() <= GAP_US);
                    }
                    until = Some(placed.position_us + duration);
                    end = start + duration;
                }
            }
        }
    }
}
