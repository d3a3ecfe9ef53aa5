//! Whether a camera's presentation times can be used, and what stands in for them when not: the
//! times at which its pictures arrive.

use crate::media::AccessUnit;
use crate::time::{SECOND_US, VIDEO_TIMESCALE};

use super::timing::us_from_90k;

/// So many pictures in a row with the same time (fields come in pairs, never more).
const SAME_TIMES: u32 = 8;
/// Media time is compared with time itself over so much of it, twice in a row.
const WINDOW_US: i64 = 8 * SECOND_US;
/// So many jumps within [`JUMPS_WITHIN_US`] are no accident.
const JUMPS: usize = 3;
const JUMPS_WITHIN_US: i64 = 60 * SECOND_US;

/// How far media time went against time itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Right,
    Slow,
    Fast,
}

#[derive(Debug, Default)]
enum State {
    /// As the camera says.
    #[default]
    Camera,
    /// No longer from the next random-access point on, for this reason.
    Doubted(&'static str),
    /// The time of arrival; the newest one given.
    Arrival(i64),
}

/// Judges one session's presentation times.
#[derive(Debug, Default)]
pub(super) struct CameraTimes {
    state: State,
    last_pts_90k: Option<i64>,
    /// So many pictures before it had the newest one's time.
    same: u32,
    /// Where the window began: (largest presentation time, arrival in µs by the steady clock).
    window: Option<(i64, i64)>,
    max_pts_90k: i64,
    pace: Option<Pace>,
    /// Arrivals of the newest jumps.
    jumps: Vec<i64>,
}

impl CameraTimes {
    /// Whether a picture has the same time as the one before it.
    pub(super) fn repeats(&self, unit: &AccessUnit) -> bool {
        self.last_pts_90k == Some(unit.pts_90k)
    }

    /// Looks at the next picture. Answers why times have to be those of arrival from this
    /// picture on; that is told once, at a random-access point.
    pub(super) fn judge(&mut self, unit: &AccessUnit, random_access: bool) -> Option<&'static str> {
        self.same = if self.repeats(unit) { self.same + 1 } else { 0 };
        let doubt = match self.state {
            State::Arrival(_) => return None,
            State::Doubted(why) => Some(why),
            State::Camera => self.doubt(unit),
        };
        self.last_pts_90k = Some(unit.pts_90k);
        let why = doubt?;
        if !random_access {
            self.state = State::Doubted(why);
            return None;
        }
        self.state = State::Arrival(i64::MIN);
        Some(why)
    }

    fn doubt(&mut self, unit: &AccessUnit) -> Option<&'static str> {
        let (pts, mono_us) = (unit.pts_90k, unit.arrival.mono_us);
        if self.same >= SAME_TIMES {
            return Some("the camera gives all pictures the same time");
        }
        let Some((from_90k, from_us)) = self.window else {
            (self.window, self.max_pts_90k) = (Some((pts, mono_us)), pts);
            return None;
        };
        self.max_pts_90k = self.max_pts_90k.max(pts);
        let passed_us = mono_us - from_us;
        if passed_us < WINDOW_US {
            return None;
        }
        let media_us = us_from_90k(self.max_pts_90k.saturating_sub(from_90k));
        let pace = match media_us {
            m if m < passed_us / 4 * 3 => Pace::Slow,
            m if m > passed_us / 4 * 5 => Pace::Fast,
            _ => Pace::Right,
        };
        let before = self.pace.replace(pace);
        self.window = Some((self.max_pts_90k, mono_us));
        // A network that held pictures up makes them first late and then many at once: only
        // what goes wrong in the same way twice is the camera's doing.
        match (before, pace) {
            (Some(Pace::Slow), Pace::Slow) => Some("the camera's media time is too slow"),
            (Some(Pace::Fast), Pace::Fast) => Some("the camera's media time is too fast"),
            _ => None,
        }
    }

    /// Media time jumped at this picture.
    pub(super) fn jumped(&mut self, unit: &AccessUnit) {
        let mono_us = unit.arrival.mono_us;
        (self.window, self.max_pts_90k) = (Some((unit.pts_90k, mono_us)), unit.pts_90k);
        self.jumps.retain(|at| mono_us - at < JUMPS_WITHIN_US);
        self.jumps.push(mono_us);
        if self.jumps.len() >= JUMPS && matches!(self.state, State::Camera) {
            self.state = State::Doubted("the camera's media time jumps again and again");
        }
    }

    /// The time to be used for a picture. Those of one time are a tick apart: each is decoded after the
    /// one before it, and none may be shown before it is decoded.
    pub(super) fn pts_90k(&mut self, unit: &AccessUnit) -> i64 {
        match &mut self.state {
            State::Arrival(last) => {
                let ticks = i128::from(unit.arrival.mono_us) * i128::from(VIDEO_TIMESCALE);
                let now = i64::try_from(ticks / i128::from(SECOND_US)).unwrap_or(i64::MAX);
                *last = now.max(last.saturating_add(1));
                *last
            }
            _ => unit.pts_90k.saturating_add(self.same.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    const PICTURE_US: i64 = 100_000;

    /// Pictures every 0.1 s with these times, every tenth a random-access point; when the judge
    /// gave up, and why.
    fn judged(pts: impl IntoIterator<Item = (i64, i64)>) -> Option<(usize, &'static str)> {
        let mut times = CameraTimes::default();
        pts.into_iter().enumerate().find_map(|(n, (pts_90k, mono_us))| {
            let arrival = Moment { wall_us: mono_us, mono_us };
            let unit = AccessUnit { pts_90k, arrival, data: bytes::Bytes::new() };
            times.judge(&unit, n % 10 == 0).map(|why| (n, why))
        })
    }

    fn steady(count: i64, ticks: i64) -> impl Iterator<Item = (i64, i64)> {
        (0..count).map(move |n| (n * ticks, n * PICTURE_US))
    }

    #[test]
    fn good_times_are_believed() {
        assert_eq!(judged(steady(1000, 9000)), None);
        // Fields in pairs, and pictures out of order.
        assert_eq!(judged(steady(1000, 9000).map(|(p, t)| (p / 18_000 * 18_000, t))), None);
        assert_eq!(judged(steady(1000, 9000).map(|(p, t)| (p ^ 0x4000, t))), None);
        // A picture every 9 s.
        assert_eq!(judged((0..100).map(|n| (n * 810_000, n * 9 * SECOND_US))), None);
    }

    #[test]
    fn a_stall_of_the_network_is_no_fault_of_the_camera() {
        for stall_us in [2, 7, 15, 40].map(|s| s * SECOND_US) {
            // Nothing for a while from the tenth second on, then all that was held up at once.
            let late = steady(2000, 9000).map(|(p, t)| {
                (
                    p,
                    if (100..100 + stall_us / PICTURE_US).contains(&(t / PICTURE_US)) {
                        10 * SECOND_US + stall_us
                    } else {
                        t
                    },
                )
            });
            assert_eq!(judged(late), None, "{stall_us}");
        }
    }

    #[test]
    fn wrong_times_are_noticed_at_a_random_access_point() {
        let (at, why) = judged(steady(1000, 0)).unwrap();
        assert_eq!((at, why), (10, "the camera gives all pictures the same time"));
        let (at, why) = judged(steady(1000, 4500)).unwrap();
        assert_eq!((at, why), (160, "the camera's media time is too slow"));
        // In milliseconds.
        assert_eq!(judged(steady(1000, 100)).unwrap().1, "the camera's media time is too slow");
        assert_eq!(judged(steady(1000, 18_000)).unwrap().1, "the camera's media time is too fast");
    }

    #[test]
    fn times_of_arrival_increase() {
        let mut times = CameraTimes { state: State::Arrival(i64::MIN), ..CameraTimes::default() };
        let mut at = |mono_us| {
            let arrival = Moment { wall_us: 0, mono_us };
            times.pts_90k(&AccessUnit { pts_90k: 7, arrival, data: bytes::Bytes::new() })
        };
        assert_eq!([at(1_000_000), at(1_000_000), at(1_100_000)], [90_000, 90_001, 99_000]);
    }
}
