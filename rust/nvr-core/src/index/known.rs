//! What is remembered of an open index, so that a search begins near its end.

use super::search::Found;

/// Marks are so many records apart at least: where a camera is so uneven that each is needed, and a
/// month of 200 of them is asked for everywhere, that is 16 MB.
const APART: u64 = 256;

/// Where a record stands and when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u64,
    pub(super) start_us: i64,
}

impl Mark {
    pub(super) fn of(found: &Found) -> Self {
        Mark { position: found.position, start_us: found.record.wall_start_us }
    }
}

/// Where an instant lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Nothing is known of the index.
    Unknown,
    /// Before the first record.
    Before,
    /// Not before the last one, which stands there.
    Last(u64),
    /// At or after the first mark, and before the second.
    Between(Mark, Mark),
}

/// What was read of an index. Records are only ever appended while it is open, so it stays true: an
/// instant before the last one known needs no look at how long the file is by now.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How many records; 0: nothing is known.
    pub(super) count: u64,
    pub(super) first_us: i64,
    /// Start of the last record.
    pub(super) last_us: i64,
    /// Records between, in order, where interpolation missed. None for a camera that is even.
    marks: Vec<Mark>,
}

impl Known {
    pub(super) fn set_ends(&mut self, count: u64, first_us: i64, last_us: i64) {
        if count < self.count {
            self.marks.clear();
        }
        (self.count, self.first_us, self.last_us) = (count, first_us, last_us);
    }

    pub(super) fn place_of(&self, at_us: i64) -> Place {
        if self.count == 0 {
            return Place::Unknown;
        }
        if at_us < self.first_us {
            return Place::Before;
        }
        let last = Mark { position: self.count - 1, start_us: self.last_us };
        if at_us >= last.start_us {
            return Place::Last(last.position);
        }
        let (before, after) = self.around(at_us);
        Place::Between(before, after)
    }

    /// Interpolation never missed.
    pub(super) fn is_even(&self) -> bool {
        self.marks.is_empty()
    }

    /// The marks on both sides of an instant, ends among them.
    fn around(&self, at_us: i64) -> (Mark, Mark) {
        let first = Mark { position: 0, start_us: self.first_us };
        let last = Mark { position: self.count - 1, start_us: self.last_us };
        let next = self.marks.partition_point(|mark| mark.start_us <= at_us);
        let before = next.checked_sub(1).map_or(first, |n| self.marks[n]);
        (before, self.marks.get(next).copied().unwrap_or(last))
    }

    /// Remembers a record, unless one that is near it is known.
    pub(super) fn learn(&mut self, mark: Mark) {
        let (before, after) = self.around(mark.start_us);
        // Also where times do not increase: marks always do, in both.
        if before.position.saturating_add(APART) <= mark.position
            && mark.position.saturating_add(APART) <= after.position
            && before.start_us < mark.start_us
            && mark.start_us < after.start_us
        {
            let at = self.marks.partition_point(|m| m.start_us < mark.start_us);
            self.marks.insert(at, mark);
        }
    }
}
