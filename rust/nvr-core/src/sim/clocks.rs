//! Clocks that are set, slewed and wrap: runs, spans and gaps stay right, and say what happened.

use super::camera::number_of;
use super::day::Day;
use super::model::OFF_US;
use super::steps::Step;
use crate::clip::plan;
use crate::clip::testing::{read_all, read_tracks};
use crate::reason::Reason;
use crate::store::Mode;
use crate::store::coverage::Span;
use crate::time::SECOND_US;

const HOUR_US: i64 = 3600 * SECOND_US;

/// A day on which one camera has sent for 20 s; when it began.
fn begun() -> (Day, i64) {
    let mut day = Day::scripted();
    day.carry_out(&Step::Up(0));
    let start_us = day.now_us();
    day.carry_out(&Step::Record(20));
    day.look();
    (day, start_us)
}

fn runs(day: &Day) -> Vec<Span> {
    day.store().runs(day.ids()[0], 0, i64::MAX).unwrap()
}

#[test]
fn an_hour_back_is_recorded_twice_and_both_are_kept() {
    let (mut day, start_us) = begun();
    day.carry_out(&Step::SetClock(-HOUR_US));
    day.carry_out(&Step::Record(20));
    day.look();
    // Until the hour has passed that was there before.
    day.carry_out(&Step::Down(0, Reason::SILENT));
    day.carry_out(&Step::Idle(HOUR_US - 35 * SECOND_US));
    day.carry_out(&Step::Up(0));
    day.carry_out(&Step::Record(40));
    day.look();
    let (id, runs) = (day.ids()[0], runs(&day));
    let starts: Vec<_> =
        runs.iter().map(|r| (r.start_us - start_us).div_euclid(SECOND_US)).collect();
    assert_eq!(starts, [20 - 3600, 0, 5], "{runs:?}");
    // Where two runs show the same instant, the later one is shown, and neither is deleted.
    let twice = start_us + 10 * SECOND_US;
    let shown = day.store().locate(id, twice, Mode::At).unwrap().unwrap();
    assert_eq!(shown.index.run, runs[2].run);
    let coverage = day.store().coverage(id, start_us, day.now_us()).unwrap();
    let shown: Vec<_> = coverage.spans.iter().map(|s| s.run).collect();
    assert_eq!(shown, [runs[1].run, runs[2].run]);
}

#[test]
fn an_hour_forward_is_a_gap_with_its_reason() {
    let (mut day, start_us) = begun();
    day.carry_out(&Step::SetClock(HOUR_US));
    day.carry_out(&Step::Record(20));
    day.look();
    let coverage = day.store().coverage(day.ids()[0], start_us + SECOND_US, day.now_us()).unwrap();
    let told: Vec<_> = coverage.gaps.iter().filter(|g| g.reason != Reason::PENDING).collect();
    let [gap] = told[..] else { panic!("{coverage:?}") };
    assert_eq!((&gap.reason, &*gap.detail), (&Reason::CLOCK_STEP, "the wall clock was set"));
    assert!((gap.end_us - gap.start_us - HOUR_US).abs() < 2 * SECOND_US, "{gap:?}");
    assert_eq!(coverage.spans.len(), 2);
}

#[test]
fn a_leap_second_that_is_smeared_is_no_event() {
    let (mut day, start_us) = begun();
    // A second in 2,000: forty times as fast as public time servers smear.
    for ppm in [500, -500] {
        day.carry_out(&Step::Smear(ppm, 2000));
        day.look();
    }
    let runs = runs(&day);
    assert_eq!(runs.len(), 1, "{runs:?}");
    let coverage = day.store().coverage(day.ids()[0], start_us + SECOND_US, day.now_us()).unwrap();
    assert!(coverage.gaps.iter().all(|g| g.reason == Reason::PENDING), "{:?}", coverage.gaps);
}

/// One file, in which movie time is wall time minus the clip's start, on both sides of the step.
#[test]
fn a_clip_over_a_clock_that_is_set_is_one_part_in_wall_time() {
    for step_us in [HOUR_US, 90 * SECOND_US, -10 * SECOND_US] {
        let (mut day, start_us) = begun();
        day.carry_out(&Step::SetClock(step_us));
        day.carry_out(&Step::Record(20));
        day.carry_out(&Step::Down(0, Reason::SILENT));
        day.look();
        let id = day.ids()[0];
        let (from_us, until_us) = (start_us + 5 * SECOND_US, start_us + step_us + 35 * SECOND_US);
        let segments = day.store().segments_for(id, from_us, until_us).unwrap();
        let plan = plan(id, &segments, from_us, until_us, false).unwrap();
        let [part] = &plan.parts[..] else { panic!("{plan:?}") };
        assert_eq!(part.range_us, (from_us, until_us));
        let file = read_all(part);
        let video = &read_tracks(&file)[0];
        let begin = video.edits[0].1;
        let mut shown = [0, 0];
        for (_, pts, at, size, _) in video.samples.iter().filter(|(_, pts, ..)| *pts >= begin) {
            let (number, _) = number_of(id, &file[*at..at + size]).unwrap();
            let wall_us = from_us + (pts - begin) * 1_000_000 / i64::from(video.timescale);
            let right_us = day.model().wall_us(id, number);
            // The picture that is shown at the in point began before it.
            if right_us < from_us {
                continue;
            }
            // Of two runs that overlap the later one is shown: the other's hidden pictures last
            // no time.
            let hidden =
                number <= 100 && right_us >= from_us.max(start_us + 10 * SECOND_US) && step_us < 0;
            assert!(
                hidden || (wall_us - right_us).abs() < OFF_US,
                "{step_us} {number}: {}",
                wall_us - right_us
            );
            shown[usize::from(number > 100)] += 1;
        }
        assert!(shown.iter().all(|n| *n > 20), "{shown:?}");
    }
}

#[test]
fn small_corrections_of_the_clock_add_up_and_are_followed() {
    for step_us in [199_000, -199_000] {
        let (mut day, _) = begun();
        for _ in 0..10 {
            day.carry_out(&Step::SetClock(step_us));
            day.carry_out(&Step::Record(3));
            // Wall times of all fragments are right by the clock of their time.
            day.look();
        }
        assert_eq!(runs(&day).len(), 1);
    }
}

#[test]
fn a_camera_whose_media_time_jumps_begins_a_new_run_and_loses_nothing() {
    // RTP timestamps have 32 bits: one that is not unwrapped falls back by 2^32.
    let jumps = [-(1i64 << 32), 1 << 32, 90_000 * 3600, -90_000 * 3600];
    // A clock that is put right by a little: shorter than a stall of the network.
    let jumps =
        jumps.into_iter().chain([-9 * 90_000, -90_000, -27_000, 27_000, 90_000, 9 * 90_000]);
    for (jump, within) in jumps.flat_map(|jump| [(jump, false), (jump, true)]) {
        let (mut day, start_us) = begun();
        day.carry_out(&Step::Jump(0, jump, within));
        day.carry_out(&Step::Record(20));
        day.look();
        let runs = runs(&day);
        assert_eq!(runs.len(), 2, "{runs:?}");
        let gap = runs[1].start_us - runs[0].end_us;
        assert!(gap.abs() < SECOND_US, "{jump} {within}: {runs:?}");
        let history = day.store().stream(day.ids()[0]).unwrap().unwrap().history();
        let causes = history.causes(runs[0].end_us, runs[0].end_us + 1);
        assert_eq!(
            (&causes[0].2, &*causes[0].3),
            (&Reason::CLOCK_STEP, "the camera's media time jumped")
        );
        assert!(runs[0].start_us - start_us < SECOND_US);
    }
}

#[test]
fn media_times_beyond_32_bits_are_no_event() {
    let mut day = Day::scripted();
    day.connect_at(0, (1 << 32) - 10 * 90_000);
    day.carry_out(&Step::Record(30));
    day.look();
    assert_eq!(runs(&day).len(), 1);
}
