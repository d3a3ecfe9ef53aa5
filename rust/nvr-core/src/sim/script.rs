//! A scripted day, and the power cut, or the kill, at every operation of it.

use std::sync::Arc;

use super::day::{Ack, Day};
use super::model::{Fragments, check_store};
use super::node::Node;
use super::steps::Step;
use crate::fs::sim::SimFs;
use crate::reason::Reason;
use crate::time::{Clock, SECOND_US};

/// Recording, rotation, sealing, midnight, sync, parameters, a clock that is set, holds,
/// retention, an orderly restart.
fn script() -> Vec<Step> {
    let mut steps = vec![Step::Up(0), Step::Up(1), Step::Record(9), Step::Sync, Step::Record(4)];
    steps.extend([Step::Down(0, Reason::SILENT), Step::Record(2), Step::Up(0), Step::Record(6)]);
    steps.extend([Step::Params(0), Step::Record(3), Step::Sync, Step::SetClock(-30 * SECOND_US)]);
    steps.extend([Step::Record(8), Step::Sync]);
    steps.push(Step::Hold { camera: 0, back_us: 4 * SECOND_US, lasts_us: 3 * SECOND_US });
    steps.extend([Step::Retain { age_us: None, percent: 60 }, Step::Record(7), Step::Restart]);
    steps.extend([Step::Up(0), Step::Record(6), Step::Sync, Step::Release]);
    steps.extend([Step::Retain { age_us: Some(8 * SECOND_US), percent: 100 }, Step::Record(3)]);
    steps
}

fn found(node: &Node) -> Fragments {
    node.streams.keys().flat_map(|id| node.found(*id)).collect()
}

#[test]
fn the_power_may_fail_and_the_process_die_at_every_operation_of_a_day() {
    let mut day = Day::scripted();
    day.film();
    for step in script() {
        day.carry_out(&step);
        day.look();
    }
    let acks: Vec<Ack> = day.acks().to_vec();
    let moments = day.moments();
    assert!(moments.len() > 300, "{}: a day with little to do", moments.len());
    day.model_mut().reasons.extend(["recorder_crashed", "expired"].map(str::to_owned));
    // Of each moment, what was gone then.
    day.model_mut().gone.clear();
    let (mut lost, mut all) = (0, 0);
    for (n, moment) in moments.iter().enumerate() {
        // What was acknowledged by then; of two at the same moment, the later.
        let ack = acks.iter().rev().find(|a| a.changes <= moment.changes());
        for seed in 0..4 {
            let power = seed < 3;
            let mut fs = if power { moment.after_power_failure(seed) } else { moment.after_kill() };
            if seed == 2 {
                // And again, while the store is being put right.
                fs = in_recovery(&day, fs, n);
            }
            let node = start(&day, &fs);
            let found = found(&node);
            all += found.len();
            if let Some(ack) = ack {
                for (key, f) in &ack.durable {
                    let why = "acknowledged as durable, and lost";
                    assert!(found.contains_key(key), "{key:?} {f:?}: {why} at {n}, seed {seed}");
                }
                for key in &ack.gone {
                    assert!(!found.contains_key(key), "{key:?} was deleted: {n}, seed {seed}");
                }
            }
            day.model().check_found(&found);
            for id in node.streams.keys() {
                day.model().check_coverage(&node.store, *id, &found);
            }
            check_store(&fs, power, &node.store);
            let safe = day.safety().at(moment.changes(), power);
            for id in node.streams.keys() {
                day.model().check_safe(*id, &found, &safe, moment.changes());
            }
            lost += day.known().keys().filter(|key| !found.contains_key(key)).count();
        }
    }
    // Or nothing was ever at stake.
    assert!(lost > 0 && all > 0);
}

fn start(day: &Day, fs: &SimFs) -> Node {
    let clock = Arc::new(crate::time::SimClock::at(day.now_us()));
    Node::start(fs, &clock, &day.ids(), clock.now().wall_us.unsigned_abs()).unwrap()
}

/// The power fails again while the store is opened.
fn in_recovery(day: &Day, fs: SimFs, n: usize) -> SimFs {
    fs.film();
    drop(start(day, &fs));
    let moments = fs.moments();
    moments[n % moments.len()].after_power_failure(n as u64)
}

/// A failed call costs what it was to write, and no more: whatever it is, the day goes on.
#[test]
fn every_operation_of_a_day_may_fail_once() {
    let calls = {
        let mut day = Day::scripted();
        script().iter().for_each(|step| day.carry_out(step));
        day.changes()
    };
    for (n, errno) in (0..calls).zip([crate::fs::sim::EIO, crate::fs::sim::ENOSPC].iter().cycle()) {
        let mut day = Day::scripted();
        day.fail_once(n, *errno, n % 3 == 0);
        script().iter().for_each(|step| day.carry_out(step));
        day.end();
    }
}
