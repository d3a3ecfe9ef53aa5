//! Retention: the oldest segments go first, whole, and only after the log says so durably.

use std::path::PathBuf;

use super::Store;
use super::events::Event;
use super::layout::{day_name, parse_index_name, parse_segment_name};
use super::stream::StreamStore;
use crate::ids::RunId;
use crate::time::DAY_US;
use crate::{Error, Result};

/// What may stay. `None`: no such limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Segments that start longer ago go.
    pub max_age_us: Option<i64>,
    /// Footage of all streams together takes no more than this.
    pub max_bytes: Option<u64>,
    /// On each root, so many bytes stay free for others.
    pub min_free_bytes: Option<u64>,
}

/// A segment file, as listed.
#[derive(Clone, Debug)]
struct Listed {
    start_us: i64,
    run: RunId,
    path: PathBuf,
    len: u64,
}

impl Store {
    /// Deletes the oldest segments until the limits hold (or nothing is left that may go); how
    /// many.
    ///
    /// # Errors
    /// The file system refused; what was deleted until then stays deleted.
    pub fn enforce_retention(&self, limits: Limits) -> Result<usize> {
        self.writable()?;
        let now_us = self.now_us();
        let mut deleted = 0;
        if let Some(age) = limits.max_age_us {
            for stream in self.streams() {
                deleted += self.delete_before(&stream, now_us.saturating_sub(age))?;
            }
        }
        loop {
            let over = self.bytes_over(limits)?;
            if over == 0 {
                return Ok(deleted);
            }
            let n = self.delete_oldest(over)?;
            if n == 0 {
                log::warn!(target: "nvr.store", "retention: {over} bytes too many, and nothing that may be deleted");
                return Ok(deleted);
            }
            deleted += n;
        }
    }

    /// How many bytes are to go.
    fn bytes_over(&self, limits: Limits) -> Result<u64> {
        let usage = self.disk_usage()?;
        let footage: u64 = usage.iter().map(|u| u.footage_bytes).sum();
        let over = limits.max_bytes.map_or(0, |max| footage.saturating_sub(max));
        let missing = usage
            .iter()
            .map(|u| limits.min_free_bytes.map_or(0, |min| min.saturating_sub(u.free_bytes)));
        Ok(missing.fold(over, u64::max))
    }

    /// Deletes the oldest segments of all streams, by their start, until `bytes` are gone.
    fn delete_oldest(&self, bytes: u64) -> Result<usize> {
        let streams = self.streams();
        // The oldest day that any stream has, only: enough to make progress.
        let oldest = streams.iter().filter_map(|s| s.days().first().copied()).min();
        let Some(day) = oldest else { return Ok(0) };
        let mut all = Vec::new();
        for stream in &streams {
            let writing = stream.open_segment_start_us();
            all.extend(self.segments_of(stream, day)?.into_iter().filter(|l| l.start_us < writing));
        }
        all.sort_by_key(|l| l.start_us);
        let mut gone = 0;
        let mut until_us = None;
        for listed in &all {
            if gone >= bytes {
                break;
            }
            gone += listed.len;
            until_us = Some(listed.start_us + 1);
        }
        let Some(until_us) = until_us else {
            // Nothing but empty folders of that day.
            return if all.is_empty() { self.drop_empty_day(day) } else { Ok(0) };
        };
        let mut deleted = 0;
        for stream in &streams {
            deleted += self.delete_before(stream, until_us)?;
        }
        Ok(deleted)
    }

    fn drop_empty_day(&self, day: i64) -> Result<usize> {
        let mut dropped = 0;
        for stream in self.streams() {
            if stream.days().first() == Some(&day) {
                self.remove_day(&stream, day)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Deletes a stream's segments that start before an instant, but never the one that is being
    /// written.
    fn delete_before(&self, stream: &StreamStore, until_us: i64) -> Result<usize> {
        let until_us = until_us.min(stream.open_segment_start_us());
        let mut doomed = Vec::new();
        let mut emptied = Vec::new();
        // Footage reaches from the last segment that goes to the first that stays.
        let mut gone_until_us = until_us;
        for day in stream.days() {
            let (old, kept): (Vec<_>, Vec<_>) =
                self.segments_of(stream, day)?.into_iter().partition(|l| l.start_us < until_us);
            if kept.is_empty() && day + DAY_US <= until_us {
                emptied.push(day);
            }
            doomed.extend(old);
            if let Some(first) = kept.iter().map(|l| l.start_us).min() {
                gone_until_us = first;
                break;
            }
        }
        if doomed.is_empty() && emptied.is_empty() {
            return Ok(0);
        }
        if !doomed.is_empty() {
            // First the word, durably; then the deed: a crash between leaves footage that nobody
            // is shown any more, and that the next pass deletes.
            for dir in stream.dirs() {
                let event = Event::Expired { at_us: self.now_us(), until_us: gone_until_us };
                stream.log(&dir, event)?.sync_data()?;
                self.fs().sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
            }
        }
        for listed in &doomed {
            log::debug!(target: "nvr.store", "retention: {} (run {}) goes", listed.path.display(), listed.run);
            self.remove_segment(&listed.path, listed.len)?;
        }
        for day in emptied {
            self.remove_day(stream, day)?;
        }
        Ok(doomed.len())
    }

    fn segments_of(&self, stream: &StreamStore, day: i64) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        for dir in stream.dirs() {
            let day_dir = dir.join(day_name(day));
            let entries = match self.fs().read_dir(&day_dir) {
                Ok(entries) => entries,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("list", &day_dir, e)),
            };
            for entry in entries {
                let Some((ms, run)) = parse_segment_name(&entry.name) else { continue };
                let path = day_dir.join(&entry.name);
                let len = self.fs().file_len(&path).map_err(|e| Error::io("stat", &path, e))?;
                found.push(Listed { start_us: day + i64::from(ms) * 1000, run, path, len });
            }
        }
        Ok(found)
    }

    /// Removes the indexes and the folder of a day that has no segments left.
    fn remove_day(&self, stream: &StreamStore, day: i64) -> Result<()> {
        stream.forget_day(day, true);
        for dir in stream.dirs() {
            let day_dir = dir.join(day_name(day));
            let Ok(entries) = self.fs().read_dir(&day_dir) else { continue };
            // A rebuild that was interrupted leaves `<run>.index.new` behind, a copy a segment's.
            let ours = |name: &str| {
                let new = name.strip_suffix(".new");
                parse_index_name(new.unwrap_or(name)).is_some()
                    || new.is_some_and(|name| parse_segment_name(name).is_some())
            };
            for entry in entries.iter().filter(|e| ours(&e.name)) {
                let path = day_dir.join(&entry.name);
                self.fs().remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
            // Something that is not ours keeps the folder; that is no reason to stop.
            if let Err(e) = self.fs().remove_dir(&day_dir) {
                log::warn!(target: "nvr.store", "{} cannot be removed: {e}", day_dir.display());
            }
        }
        Ok(())
    }
}
