//! An event log, from a disk.

use std::path::Path;

use nvr_core::store::events::{EventLog, History};

use super::choice;
use crate::memory::{MemoryFile, MemoryFs, PATH};
use crate::mend;

/// First byte: odd, the lines' checksums are made right.
pub fn run(data: &[u8]) {
    let (how, rest) = choice(data);
    let bytes = if how & 1 == 1 { mend::events(rest) } else { rest.to_vec() };
    let fs = MemoryFs(MemoryFile::new(bytes));
    let log = EventLog::open(&fs, Path::new(PATH), false).expect("whatever is in it");
    let history = History::of([&log].into_iter());
    for (from, until) in
        [(i64::MIN, i64::MAX), (0, 1), (1_795_442_700_000_000, 1_795_442_900_000_000)]
    {
        for (start, end) in history.untold(from, until) {
            assert!(from <= start && start < end && end <= until);
        }
        let causes = history.causes(from, until);
        // They fill the gap, in order.
        let mut at = from;
        for (start, end, ..) in &causes {
            assert!(*start == at && end > start, "causes leave a hole");
            at = *end;
        }
        assert_eq!(at, until);
    }
}
