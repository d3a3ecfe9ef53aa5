//! Where things lie in a store, and how they are named.
//!
//! ```text
//! <root>/<camera id>/<stream>/2026-11-23/140500.123Z-<run>.mp4
//! <root>/<camera id>/<stream>/2026-11-23/<run>.index
//! <root>/<camera id>/<stream>/events
//! ```

use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::ids::{RunId, StreamId};
use crate::time::DAY_US;

/// Ending of segment files.
const SEGMENT_ENDING: &str = ".mp4";
/// Ending of index files.
const INDEX_ENDING: &str = ".index";

/// A stream's folder under a root.
pub fn stream_dir(root: &Path, stream: StreamId) -> PathBuf {
    root.join(stream.camera.to_string()).join(stream.kind.as_str())
}

/// Name of a day's folder, from any instant of the day (UTC).
pub fn day_name(at_us: i64) -> String {
    let days = i32::try_from(at_us.div_euclid(DAY_US)).unwrap_or(0);
    let date =
        jiff::Span::new().try_days(days).ok().and_then(|span| epoch().checked_add(span).ok());
    date.unwrap_or(epoch()).to_string()
}

/// Midnight (UTC) of the day that a folder is named after; `None`: no such name.
pub fn parse_day(name: &str) -> Option<i64> {
    let date: Date = name.parse().ok()?;
    let days = (date - epoch()).get_days();
    (date.to_string() == name).then_some(i64::from(days) * DAY_US)
}

fn epoch() -> Date {
    Date::constant(1970, 1, 1)
}

/// Name of a segment file.
pub fn segment_name(segment_ms: u32, run: RunId) -> String {
    let (seconds, millis) = (segment_ms / 1000, segment_ms % 1000);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{h:02}{m:02}{s:02}.{millis:03}Z-{run}{SEGMENT_ENDING}")
}

/// Milliseconds from midnight, and the run, from a segment file's name.
pub fn parse_segment_name(name: &str) -> Option<(u32, RunId)> {
    let (time, rest) = name.split_once("Z-")?;
    let run: RunId = rest.strip_suffix(SEGMENT_ENDING)?.parse().ok()?;
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<u32>().ok();
    let (h, m, s, ms) = (number(0, 2)?, number(2, 4)?, number(4, 6)?, number(7, 10)?);
    let segment_ms = ((h * 60 + m) * 60 + s) * 1000 + ms;
    (segment_name(segment_ms, run) == name).then_some((segment_ms, run))
}

/// The run of a segment, from its file's name.
pub(super) fn run_of(segment: &Path) -> Option<RunId> {
    parse_segment_name(segment.file_name()?.to_str()?).map(|(_, run)| run)
}

/// Name of an index file.
pub fn index_name(run: RunId) -> String {
    format!("{run}{INDEX_ENDING}")
}

/// The run, from an index file's name.
pub fn parse_index_name(name: &str) -> Option<RunId> {
    name.strip_suffix(INDEX_ENDING)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_have_names() {
        assert_eq!(day_name(0), "1970-01-01");
        assert_eq!(day_name(1_795_471_199_999_999), "2026-11-23");
        assert_eq!(parse_day("2026-11-23"), Some(20_780 * DAY_US));
        assert_eq!(parse_day("2026-02-30"), None);
        assert_eq!(parse_day("2026-2-3"), None);
        assert_eq!(parse_day("../../etc"), None);
    }

    proptest! {
        #[test]
        fn names_read_back(day in 0i64..80_000, ms in 0u32..86_400_000, run in any::<u128>()) {
            let run = RunId(uuid::Uuid::from_u128(run));
            prop_assert_eq!(parse_day(&day_name(day * DAY_US + 5)), Some(day * DAY_US));
            prop_assert_eq!(parse_segment_name(&segment_name(ms, run)), Some((ms, run)));
            prop_assert_eq!(parse_index_name(&index_name(run)), Some(run));
        }

        #[test]
        fn other_names_are_not_ours(name in ".{0,60}") {
            prop_assert_eq!(parse_segment_name(&name), None);
            prop_assert_eq!(parse_index_name(&name), None);
        }
    }
}
