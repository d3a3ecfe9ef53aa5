//! What can happen on a day.

use crate::fs::sim::{EIO, ENOSPC, EROFS};
use crate::reason::Reason;
use crate::time::SECOND_US;

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// So many seconds pass; cameras that are up send.
    Record(i64),
    /// Nobody does anything for so long.
    Idle(i64),
    Up(usize),
    Down(usize, Reason),
    /// The camera's clock is set: by so many ticks; within a group of pictures, or at its start.
    Jump(usize, i64, bool),
    Params(usize),
    /// The recorder's wall clock is set.
    SetClock(i64),
    /// The recorder's wall clock is slewed by so many parts in a million, for so many seconds.
    Smear(i64, i64),
    Sync,
    Retain {
        age_us: Option<i64>,
        percent: u64,
    },
    /// On each root so much must be free that of what lies on the fullest so many percent may stay.
    Free(u64),
    Hold {
        camera: usize,
        back_us: i64,
        lasts_us: i64,
    },
    Release,
    /// Calls fail under a root: which calls, how, after how many.
    Fault {
        root: usize,
        op: &'static str,
        errno: i32,
        after: u64,
        short: bool,
    },
    /// What is wrong with disks is put right.
    Mend,
    /// Nothing is written under a root for so many seconds.
    Stall(usize, i64),
    /// From now on, until the next start, each file that is synced takes so many microseconds.
    Slow(u64),
    /// The recorder ends in order and starts again.
    Restart,
}

/// How the recorder ends without a word, while it does something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    /// Before which change of those that the step makes.
    pub changes: u64,
    pub power: bool,
}

/// The next thing, by chance.
pub(super) fn any(random: &dyn Fn(u64) -> u64, cameras: usize, faulty: bool) -> Step {
    let signed = |n: i64| i64::try_from(random(2 * n as u64 + 1)).unwrap_or(0) - n;
    let pick = |n: u64| i64::try_from(random(n)).unwrap_or(0);
    let camera = random(cameras as u64) as usize;
    let root = random(2) as usize;
    match random(100) {
        0..40 => Step::Record(1 + pick(12)),
        40..43 => Step::Idle(if random(4) == 0 { 3600 * SECOND_US } else { pick(90) * SECOND_US }),
        43..50 => Step::Up(camera),
        50..55 => {
            let reasons = [Reason::SILENT, Reason::DISCONNECTED, Reason::UNREACHABLE];
            Step::Down(camera, reasons[random(3) as usize].clone())
        }
        55..57 => {
            let n = pick(1000);
            // Much, or less than what a network's stall looks like.
            let by = if n % 3 == 0 { (300 + 9 * n) * 90 } else { (20 + n) * 90_000 };
            Step::Jump(camera, if random(2) == 0 { by } else { -by }, n / 3 % 2 == 0)
        }
        57..59 => Step::Params(camera),
        59..63 => Step::SetClock(match random(4) {
            // Each of them is followed, and they add up.
            0 => signed(150_000) * 199 / 150,
            1 => signed(30) * SECOND_US,
            2 => 3600 * SECOND_US,
            _ => -3600 * SECOND_US,
        }),
        63..65 => Step::Smear(signed(500), 5 + pick(20)),
        65..74 => Step::Sync,
        74..80 => Step::Retain {
            age_us: (random(3) == 0).then(|| pick(120) * SECOND_US),
            percent: 30 + random(80),
        },
        80..83 => Step::Hold {
            camera,
            back_us: pick(90) * SECOND_US,
            lasts_us: (1 + pick(40)) * SECOND_US,
        },
        83..85 => Step::Release,
        85..89 if !faulty => {
            let op = ["write", "change", "create", "sync", "", "remove"][random(6) as usize];
            let errno = if matches!(op, "write" | "create" | "change") {
                [ENOSPC, EIO, EROFS][random(3) as usize]
            } else {
                EIO
            };
            Step::Fault { root, op, errno, after: random(6), short: random(2) == 0 }
        }
        85..92 if faulty => Step::Mend,
        92..95 => Step::Stall(root, 2 + pick(25)),
        95..98 => Step::Restart,
        _ => Step::Record(1),
    }
}

/// What was thought of later, in the place of a step and before it. Drawn apart: days that found something
/// before stay as they were.
pub(super) fn and_later(random: &dyn Fn(u64) -> u64, step: Step) -> (Option<Step>, Step) {
    // As if there were none, as a hard disk, as one that is dying.
    let slow = (random(12) == 0).then(|| Step::Slow([0, 10_000, 1_000_000][random(3) as usize]));
    match step {
        Step::Retain { age_us: None, percent } if random(2) == 0 => (slow, Step::Free(percent)),
        step => (slow, step),
    }
}
