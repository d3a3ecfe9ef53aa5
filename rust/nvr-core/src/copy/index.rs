//! The index of a copied run's day: usually records are appended; where a hole was filled, it is
//! made anew.

use std::path::Path;

use super::check::refused;
use crate::Result;
use crate::fs::FileSystem;
use crate::index::{IndexFile, IndexWriter, Record};
use crate::segment::head::SegmentHead;
use crate::store::StreamStore;
use crate::store::check::{show_new_index, write_new_index};
use crate::store::copying::Target;
use crate::store::layout::index_name;

/// What an index is to become.
#[derive(Debug)]
pub(super) enum Change {
    /// It says so already.
    None,
    /// These come at its end.
    Append(Vec<Record>),
    /// All of its records.
    Anew(Vec<Record>),
}

impl Change {
    /// So that it has these records of one segment. Refuses what would not be in order.
    pub(super) fn plan(
        index: Option<&IndexFile>,
        head: &SegmentHead,
        segment_ms: u32,
        records: Vec<Record>,
    ) -> Result<Self> {
        let (Some(index), Some(first)) = (index, records.first()) else {
            return in_order(head, &records).map(|()| Change::Anew(records));
        };
        let count = index.count()?;
        let at = index.last_at_or_before(first.wall_start_us)?;
        // How many of them it has, in a row.
        let mut same = 0;
        while let (Some(at), Some(record)) = (at, records.get(same)) {
            let position = at + same as u64;
            if position >= count || index.get(position)? != *record {
                break;
            }
            same += 1;
        }
        let end = at.map_or(0, |at| at + same as u64);
        if same == records.len() {
            return Ok(Change::None);
        }
        let last = count.checked_sub(1).map(|last| index.get(last)).transpose()?;
        let behind = if same > 0 {
            end == count
        } else {
            last.is_none_or(|l| l.segment_ms < segment_ms && l.sequence < first.sequence)
        };
        if behind {
            let new = records[same..].to_vec();
            let row: Vec<Record> = last.iter().chain(&new).copied().collect();
            return in_order(head, &row).map(|()| Change::Append(new));
        }
        let mut all = Vec::new();
        for position in 0..count {
            all.push(index.get(position)?);
        }
        all.retain(|r| r.segment_ms != segment_ms);
        all.extend(records);
        all.sort_by_key(|r| r.sequence);
        in_order(head, &all).map(|()| Change::Anew(all))
    }

    /// Writes what needs room and shows nothing yet: the index that is to replace another.
    pub(super) fn prepare(
        &self,
        fs: &dyn FileSystem,
        stream: &StreamStore,
        day_dir: &Path,
        head: &SegmentHead,
        target: Target,
    ) -> Result<()> {
        let Change::Anew(records) = self else { return Ok(()) };
        let run = (head.run, head.epoch);
        write_new_index(fs, stream.id, target.day, day_dir, run, records)
    }

    /// Brings the prepared change about, durably but for names, and shows it to readers.
    pub(super) fn commit(
        self,
        fs: &dyn FileSystem,
        stream: &StreamStore,
        day_dir: &Path,
        head: &SegmentHead,
        target: Target,
    ) -> Result<()> {
        match self {
            Change::None => Ok(()),
            Change::Append(records) => {
                let path = day_dir.join(index_name(head.run));
                let mut writer =
                    IndexWriter::open(fs, &path, stream.id, head.run, head.epoch, target.day)?;
                let written = writer.append_all(&records).and_then(|()| writer.file().sync_data());
                if written.is_err() {
                    // A reader may remember records that are not there any more.
                    stream.show_index(target.day, &path)?;
                }
                written
            }
            Change::Anew(_) => {
                let path = show_new_index(fs, day_dir, head.run)?;
                stream.show_index(target.day, &path)
            }
        }
    }
}

fn in_order(head: &SegmentHead, records: &[Record]) -> Result<()> {
    for pair in records.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.sequence >= b.sequence
            || a.wall_start_us >= b.wall_start_us
            || a.segment_ms > b.segment_ms
        {
            return Err(refused(head, b.sequence, "it is not in order with those held"));
        }
    }
    Ok(())
}
