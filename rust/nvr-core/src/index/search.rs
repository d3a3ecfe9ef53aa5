//! The search for an instant among an index's records. Interpolates first (records are nearly evenly
//! spaced), and halves when that does not close in, so that the worst case stays logarithmic.

use super::file::IndexFile;
use super::known::Mark;
use super::record::{RECORD_LEN, Record};
use crate::Result;

/// Records that are read around the first guess, which is mostly off by one or none: among gigabytes
/// of records each further line of memory is fetched from far, and a longer read lies on two pages
/// more often.
pub(super) const FIRST_RECORDS: u64 = 8;
/// Records that are read around later guesses.
const NEXT_RECORDS: u64 = 21;

/// What was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Position in the index.
    pub position: u64,
    /// The record there.
    pub record: Record,
    /// The one behind it, if there was one when the index was looked at.
    pub next: Option<Record>,
}

/// Records that were read for a guess. On the stack: who asks at random gains nothing by keeping them,
/// and two who ask at once do not wait for one another.
struct Near {
    at: u64,
    records: u64,
    bytes: [u8; NEXT_RECORDS as usize * RECORD_LEN],
}

impl Near {
    fn read(&mut self, index: &IndexFile, around: u64, records: u64) -> Result<()> {
        self.at = around.saturating_sub(records / 2 - 1);
        let n = index.read_records(&mut self.bytes[..records as usize * RECORD_LEN], self.at)?;
        self.records = (n / RECORD_LEN) as u64;
        // Shorter than it was, which nothing does to an index while it is open.
        if self.has(around) { Ok(()) } else { Err(index.damaged(around)) }
    }

    fn has(&self, position: u64) -> bool {
        (self.at..self.at + self.records).contains(&position)
    }

    fn get(&self, index: &IndexFile, position: u64) -> Result<Record> {
        let nth = usize::try_from(position.wrapping_sub(self.at)).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(nth.saturating_mul(RECORD_LEN)..);
        let bytes =
            bytes.and_then(<[u8]>::first_chunk::<RECORD_LEN>).filter(|_| self.has(position));
        bytes.and_then(Record::from_bytes).ok_or_else(|| index.damaged(position))
    }
}

/// The last record that starts at or before an instant that is not before one mark and before
/// another; and how many reads that took. Where times do not increase (damage that no CRC shows): one
/// that starts at or before it and is followed by one that starts after it.
pub(super) fn search(
    index: &IndexFile,
    before: Mark,
    after: Mark,
    at_us: i64,
) -> Result<(Found, u32)> {
    let Mark { position: mut low, start_us: mut low_us } = before;
    let Mark { position: mut high, start_us: mut high_us } = after;
    // The records there, where they have been read.
    let (mut at_low, mut at_high) = (None, None);
    let mut reads = 0;
    let mut near = Near { at: 0, records: 0, bytes: [0; _] };
    let mut records = FIRST_RECORDS;
    let mut halve = false;
    // Invariant: record `low` starts at or before the instant, record `high` after it.
    while high - low > 1 {
        let guess = if halve {
            low + (high - low) / 2
        } else {
            low + part(at_us, low_us, high_us, high - low)
        };
        let guess = guess.clamp(low + 1, high - 1);
        let width = high - low;
        near.read(index, guess, records)?;
        reads += 1;
        records = NEXT_RECORDS;
        // What lies in the block that was read for the guess costs nothing more to look at.
        let (mut first, mut end) = (near.at.max(low + 1), (near.at + near.records).min(high));
        // The guess itself first, and then the one beside it: mostly it is one of them.
        let (mut middle, mut beside) = (guess, true);
        while first < end {
            let record = near.get(index, middle)?;
            if record.wall_start_us <= at_us {
                (low, low_us, at_low) = (middle, record.wall_start_us, Some(record));
                first = middle + 1;
            } else {
                (high, high_us, at_high) = (middle, record.wall_start_us, Some(record));
                end = middle;
            }
            middle = match (beside, low == middle) {
                (true, true) => first,
                (true, false) => end.saturating_sub(1),
                (false, _) => first + end.saturating_sub(first) / 2,
            };
            beside = false;
        }
        halve = high - low > width / 2;
    }
    if let (Some(record), Some(next)) = (at_low, at_high) {
        return Ok((Found { position: low, record, next: Some(next) }, reads));
    }
    // One of them is a mark, of which only the time was known.
    if !(near.has(low) && near.has(high)) {
        near.read(index, low, FIRST_RECORDS)?;
        reads += 1;
    }
    let (record, next) = (near.get(index, low)?, near.get(index, high)?);
    Ok((Found { position: low, record, next: Some(next) }, reads))
}

/// How many of `steps` even steps from `low_us` to `high_us` lie before an instant between them.
pub(super) fn part(at_us: i64, low_us: i64, high_us: i64, steps: u64) -> u64 {
    let (done, all) = (at_us.abs_diff(low_us) as f64, high_us.abs_diff(low_us) as f64);
    // Only a guess, so rounding does no harm; what is no number becomes 0.
    (done / all * steps as f64) as u64
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::*;
    use crate::Error;
    use crate::fs::FileSystem;
    use crate::fs::counted::Counted;
    use crate::fs::sim::SimFs;
    use crate::ids::{CameraId, RunId, StreamId, StreamKind};
    use crate::index::IndexWriter;
    use crate::index::file::HEADER_LEN;
    use proptest::prelude::*;

    fn record(wall_start_us: i64, sequence: u32) -> Record {
        Record {
            wall_start_us,
            duration_us: 1,
            segment_ms: 0,
            offset: 0,
            length: 0,
            random_access: true,
            leading: false,
            pictures: 1,
            random_access_distance: 0,
            activity_bytes: 0,
            camera_clock_offset_ms: 0,
            sequence,
        }
    }

    fn path() -> PathBuf {
        Path::new("/x.index").to_owned()
    }

    /// An index of records that start then.
    fn written(starts: &[i64]) -> (SimFs, Vec<Record>) {
        let fs = SimFs::default();
        let stream = StreamId { camera: CameraId(uuid::Uuid::nil()), kind: StreamKind::Main };
        let run = RunId(uuid::Uuid::nil());
        let mut writer = IndexWriter::open(&fs, &path(), stream, run, 3, 0).unwrap();
        let records: Vec<Record> = (0..).zip(starts).map(|(n, start)| record(*start, n)).collect();
        writer.append_all(&records).unwrap();
        (fs, records)
    }

    /// What a look at all records finds.
    fn by_scan(records: &[Record], at_us: i64) -> Option<Found> {
        let position = records.iter().rposition(|r| r.wall_start_us <= at_us)?;
        let next = records.get(position + 1).copied();
        Some(Found { position: position as u64, record: records[position], next })
    }

    fn questions(starts: &[i64], asked: &[proptest::sample::Index]) -> Vec<i64> {
        let mut questions = vec![i64::MIN, 0, 999, starts[0], starts[starts.len() - 1], i64::MAX];
        questions.extend(asked.iter().map(|i| *i.get(starts)));
        let near = |at: i64| [at.saturating_sub(1), at, at.saturating_add(1)];
        questions.into_iter().flat_map(near).collect()
    }

    fn increasing() -> impl Strategy<Value = Vec<i64>> {
        // As even as a camera's, or with pauses, or bursts: each alone and mixed.
        let even = || 1_990_000i64..2_010_000;
        let step = prop_oneof![even(), Just(1), 1i64..3_000_000, 1i64..1_000_000_000_000];
        let steps = prop_oneof![
            proptest::collection::vec(even(), 1..600),
            proptest::collection::vec(step, 1..600)
        ];
        steps.prop_map(|steps| {
            let sum = |at: &mut i64, step: i64| {
                *at += step;
                Some(*at)
            };
            steps.into_iter().scan(1000, sum).collect()
        })
    }

    fn damaged(found: Result<Option<Found>>) -> Option<Option<Found>> {
        match found {
            Ok(found) => Some(found),
            Err(Error::Damaged { .. }) => None,
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn reads_of_an_uneven_camera_become_few() {
        // A "smart" codec: a fragment of 20 s at night, of 1 s by day.
        let night = |second: i64| !(6 * 3600..20 * 3600).contains(&second);
        let mut starts = vec![0];
        while starts[starts.len() - 1] < 86_380_000_000 {
            let last = starts[starts.len() - 1];
            let step_us = if night(last / 1_000_000) { 20_000_000 } else { 1_000_000 };
            starts.push(last + step_us);
        }
        let (fs, records) = written(&starts);
        let counted = Counted::over(Arc::new(fs));
        let calls = counted.calls.clone();
        let index = IndexFile::open(&counted, &path()).unwrap();
        let ask = |questions: std::ops::Range<i64>| {
            calls.take();
            let count = questions.end - questions.start;
            for n in questions {
                let at_us = n * 7_919_000_001 % 86_380_000_000;
                assert_eq!(index.find(at_us).unwrap(), by_scan(&records, at_us));
            }
            calls.take().reads as f64 / count as f64
        };
        let (at_first, later) = (ask(0..20), ask(20..400));
        assert!(later < 1.5, "{at_first} reads a question at first, {later} later");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn search_finds_what_a_scan_finds(
            starts in increasing(),
            asked in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        ) {
            let (fs, records) = written(&starts);
            let index = IndexFile::open(&fs, &path()).unwrap();
            prop_assert_eq!(index.epoch, 3);
            for at_us in questions(&starts, &asked) {
                prop_assert_eq!(index.find(at_us).unwrap(), by_scan(&records, at_us));
            }
        }

        /// Times that do not increase, each record whole: nothing tells which of them are wrong.
        #[test]
        fn a_search_among_any_times_ends_at_a_record_that_may_show_the_instant(
            starts in proptest::collection::vec(
                prop_oneof![any::<i64>(), 0i64..100, Just(i64::MIN), Just(i64::MAX)], 1..600
            ),
            asked in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        ) {
            let (fs, records) = written(&starts);
            let counted = Counted::over(Arc::new(fs));
            let calls = counted.calls.clone();
            let index = IndexFile::open(&counted, &path()).unwrap();
            let last = starts.len() - 1;
            for at_us in questions(&starts, &asked) {
                calls.take();
                let found = index.find(at_us).unwrap();
                // Each second read halves what is left.
                let most = 2 * u64::from(starts.len().ilog2()) + 6;
                prop_assert!(calls.take().reads <= most);
                let Some(found) = found else {
                    prop_assert!(at_us < starts[0]);
                    continue;
                };
                let position = usize::try_from(found.position).unwrap();
                prop_assert_eq!(found.record, records[position]);
                prop_assert_eq!(found.next, records.get(position + 1).copied());
                prop_assert!(starts[position] <= at_us);
                prop_assert!(position == last || starts[position + 1] > at_us);
            }
        }

        /// A damaged record, or an end that is cut off while the index is open, is an error or makes
        /// no difference.
        #[test]
        fn a_damaged_index_never_gives_another_record(
            starts in increasing(),
            asked in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
            place in any::<proptest::sample::Index>(),
            change in 1u8..,
            cut in any::<Option<proptest::sample::Index>>(),
        ) {
            let (fs, records) = written(&starts);
            let index = IndexFile::open(&fs, &path()).unwrap();
            // The ends are known before.
            index.find(0).unwrap();
            let file = fs.open_rw(&path()).unwrap();
            let offset = HEADER_LEN + place.index(starts.len() * RECORD_LEN) as u64;
            let mut byte = [0];
            file.read_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ change], offset).unwrap();
            if let Some(cut) = cut {
                file.set_len(HEADER_LEN + cut.index(starts.len() * RECORD_LEN) as u64).unwrap();
            }
            for at_us in questions(&starts, &asked) {
                if let Some(found) = damaged(index.find(at_us)) {
                    // An index that has become shorter may be looked at anew behind its end.
                    let whole = usize::try_from(index.count().unwrap()).unwrap();
                    let expected = [by_scan(&records, at_us), by_scan(&records[..whole], at_us)];
                    prop_assert!(expected.contains(&found), "{:?} at {}", found, at_us);
                }
            }
        }
    }
}
