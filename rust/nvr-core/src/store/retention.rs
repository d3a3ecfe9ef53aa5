//! Retention: the oldest segments go first, whole, and only after the log says so durably. Never
//! the one that is being written, and never what is held.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::events::Event;
use super::layout::{day_name, parse_index_name, parse_segment_name};
use super::stream::StreamStore;
use super::visible::Visible;
use super::{Root, Store};
use crate::ids::{CameraId, RunId};
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

/// Limits of some cameras.
#[derive(Clone, Debug, Default)]
pub struct GroupLimits {
    /// Whose. A camera in several groups goes by each of them.
    pub cameras: BTreeSet<CameraId>,
    /// Segments that start longer ago go; in the place of the node's limit.
    pub max_age_us: Option<i64>,
    /// Footage of these cameras together takes no more than this; beside the node's limit.
    pub max_bytes: Option<u64>,
}

/// What a pass of retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments that were deleted.
    pub segments: usize,
    /// Bytes that are too many, and nothing that may be deleted: what is left is held, or is
    /// being written.
    pub bytes_over: u64,
}

/// A segment file, as listed.
#[derive(Clone, Debug)]
struct Listed {
    start_us: i64,
    run: RunId,
    path: PathBuf,
}

/// A stream's footage in one folder.
#[derive(Clone)]
struct Share {
    stream: Arc<StreamStore>,
    dir: PathBuf,
}

impl Store {
    /// Deletes the oldest segments until the limits hold (or nothing is left that may go); how
    /// many.
    ///
    /// # Errors
    /// The file system refused; what was deleted until then stays deleted, and what could be
    /// deleted on other disks is.
    pub fn enforce_retention(&self, limits: Limits) -> Result<usize> {
        Ok(self.retain(limits, &[])?.segments)
    }

    /// The same, with limits of groups of cameras.
    ///
    /// # Errors
    /// As [`Store::enforce_retention`].
    pub fn retain(&self, limits: Limits, groups: &[GroupLimits]) -> Result<Retained> {
        self.writable()?;
        let mut pass = Pass { store: self, done: Retained::default(), failed: None };
        let shares = self.shares();
        for share in &shares {
            pass.attempt(|| self.delete_before(share, self.age_limit(share, limits, groups)));
        }
        for group in groups {
            if let Some(max) = group.max_bytes {
                let of_group = |s: &&Share| group.cameras.contains(&s.stream.id.camera);
                let of_group: Vec<Share> = shares.iter().filter(of_group).cloned().collect();
                pass.shrink(&of_group, max, "a group's footage");
            }
        }
        if let Some(max) = limits.max_bytes {
            pass.shrink(&shares, max, "footage");
        }
        for root in self.roots() {
            let Some(min) = limits.min_free_bytes else { continue };
            let of_root = |s: &&Share| s.dir.starts_with(&root.path);
            let of_root: Vec<Share> = shares.iter().filter(of_root).cloned().collect();
            pass.attempt(|| {
                let space =
                    self.fs().space(&root.path).map_err(|e| Error::io("statvfs", &root.path, e))?;
                let missing = min.saturating_sub(space.available);
                let (deleted, gone) = self.delete_oldest(&of_root, missing)?;
                Ok((deleted, missing.saturating_sub(gone)))
            });
        }
        let Pass { done, failed, .. } = pass;
        if done.bytes_over > 0 {
            log::warn!(
                target: "nvr.store",
                "retention: {} bytes too many, and nothing that may be deleted: what is left is held, or is being written",
                done.bytes_over
            );
        }
        failed.map_or(Ok(done), Err)
    }

    /// Bytes of held segments under a root.
    pub(super) fn held_bytes(&self, root: &Root) -> Result<u64> {
        let mut sum = 0;
        for share in self.shares().iter().filter(|s| s.dir.starts_with(&root.path)) {
            let visible = share.stream.visible();
            let of_day = |day: &i64| visible.holds_some(*day, *day + DAY_US);
            for day in share.stream.days().into_iter().filter(of_day) {
                for listed in self.segments_of(share, day)? {
                    if held(&listed, &visible) {
                        sum += self.bytes_of(&listed)?;
                    }
                }
            }
        }
        Ok(sum)
    }

    fn shares(&self) -> Vec<Share> {
        let of_stream = |stream: Arc<StreamStore>| {
            let share = |dir| Share { stream: stream.clone(), dir };
            let dirs = stream.dirs().into_iter().filter(|dir| !self.is_gone(dir));
            dirs.map(share).collect::<Vec<_>>()
        };
        self.streams().into_iter().flat_map(of_stream).collect()
    }

    /// Whether a path lies on a disk that is not there.
    pub(crate) fn is_gone(&self, path: &Path) -> bool {
        self.disks.is_gone(path)
    }

    /// Segments of a stream that start before this are too old.
    fn age_limit(&self, share: &Share, limits: Limits, groups: &[GroupLimits]) -> i64 {
        let of_camera = groups.iter().filter(|g| g.cameras.contains(&share.stream.id.camera));
        let age = of_camera.filter_map(|g| g.max_age_us).min().or(limits.max_age_us);
        age.map_or(i64::MIN, |age| self.now_us().saturating_sub(age))
    }

    /// Deletes the oldest segments, by their start, until `bytes` are gone; how many, and how
    /// many bytes they had.
    fn delete_oldest(&self, shares: &[Share], bytes: u64) -> Result<(usize, u64)> {
        let (mut deleted, mut gone) = (0, 0);
        let days: BTreeSet<i64> = shares.iter().flat_map(|s| s.stream.days()).collect();
        // Day by day: what is kept is not looked at.
        for day in days {
            if gone >= bytes {
                break;
            }
            let mut of_day = Vec::new();
            for share in shares {
                let writing = share.stream.open_segment_start_us();
                let visible = share.stream.visible();
                let listed = self.segments_of(share, day)?.into_iter();
                of_day.extend(listed.filter(|l| l.start_us < writing && !held(l, &visible)));
            }
            of_day.sort_by_key(|l| l.start_us);
            let mut until_us = None;
            for listed in &of_day {
                if gone >= bytes {
                    break;
                }
                gone += self.bytes_of(listed)?;
                until_us = Some(listed.start_us + 1);
            }
            for share in shares.iter().filter(|_| until_us.is_some()) {
                deleted += self.delete_before(share, until_us.unwrap_or(i64::MIN))?.0;
            }
        }
        Ok((deleted, gone))
    }

    /// Deletes segments in a stream's folder that start before an instant, and those of which an
    /// earlier pass said so.
    fn delete_before(&self, share: &Share, until_us: i64) -> Result<(usize, u64)> {
        let Share { stream, dir } = share;
        let until_us = until_us.min(stream.open_segment_start_us());
        let visible = stream.visible();
        // Nothing is older than what was deleted before, but for what began after that.
        let look_until = until_us.max(visible.expired_before_us());
        let mut doomed = Vec::new();
        let mut emptied = Vec::new();
        // Footage reaches from the last segment that goes to the first that stays.
        let mut first_kept_us: Option<i64> = None;
        if look_until == i64::MIN {
            return Ok((0, 0));
        }
        for day in stream.days() {
            let goes = |l: &Listed| goes(l, until_us, &visible);
            let (old, kept): (Vec<_>, Vec<_>) =
                self.segments_of(share, day)?.into_iter().partition(goes);
            if kept.is_empty() && day + DAY_US <= look_until {
                emptied.push(day);
            }
            doomed.extend(old);
            // Held ones before that are exceptions, and no end of what is deleted.
            let later = kept.iter().map(|l| l.start_us).filter(|start| *start >= until_us);
            first_kept_us = first_kept_us.or(later.min());
            if day >= look_until || first_kept_us.is_some_and(|kept| kept >= look_until) {
                break;
            }
        }
        let news = doomed.iter().any(|l| visible.shows_segment(&l.path, l.run, l.start_us));
        if news {
            // First the word, durably; then the deed: a crash between leaves footage that nobody
            // is shown any more, and that the next pass deletes.
            // If none stays in this folder, to the end of the last that goes.
            let open_us = stream.open_segment_start_us();
            let end_us = || end_of_last(stream, &doomed).max(until_us).min(open_us);
            let gone_until_us = first_kept_us.unwrap_or_else(end_us);
            let event = Event::Expired { at_us: self.now_us(), until_us: gone_until_us };
            stream.log_durably_in(dir, event)?;
        } else if !doomed.is_empty() {
            // An earlier pass said so, and its disk may not have taken the word.
            stream.surely_told(dir)?;
        }
        for listed in &doomed {
            log::debug!(target: "nvr.store", "retention: {} (run {}) goes", listed.path.display(), listed.run);
            let bytes = self.bytes_of(listed)?;
            self.remove_segment(&listed.path)?;
            stream.removed(dir, bytes);
        }
        for day in emptied {
            self.remove_day(share, day)?;
        }
        Ok((doomed.len(), 0))
    }

    fn segments_of(&self, share: &Share, day: i64) -> Result<Vec<Listed>> {
        let day_dir = share.dir.join(day_name(day));
        let entries = match self.fs().read_dir(&day_dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", &day_dir, e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let Some((ms, run)) = parse_segment_name(&entry.name) else { continue };
            let path = day_dir.join(&entry.name);
            found.push(Listed { start_us: day + i64::from(ms) * 1000, run, path });
        }
        Ok(found)
    }

    fn bytes_of(&self, listed: &Listed) -> Result<u64> {
        match self.fs().file_len(&listed.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
            other => other.map_err(|e| Error::io("stat", &listed.path, e)),
        }
    }

    /// Removes the indexes and the folder of a day that has no segments left.
    fn remove_day(&self, share: &Share, day: i64) -> Result<()> {
        let day_dir = share.dir.join(day_name(day));
        // On a disk that cannot be asked there may be footage of it, which is not to be forgotten.
        let elsewhere = |dir: &PathBuf| {
            let listed = || self.fs().read_dir(&dir.join(day_name(day)));
            let none = |e: std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
            *dir != share.dir && (self.is_gone(dir) || !listed().is_err_and(none))
        };
        share.stream.forget_day(day, !share.stream.dirs().iter().any(elsewhere));
        let Ok(entries) = self.fs().read_dir(&day_dir) else { return Ok(()) };
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
        Ok(())
    }

    fn remove_segment(&self, path: &Path) -> Result<()> {
        match self.fs().remove_file(path) {
            // Gone already: somebody was faster, and wanted the same.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }
}

/// Where the footage of the last of some segments ends; if it cannot be read, that is no reason to keep
/// it.
fn end_of_last(stream: &StreamStore, segments: &[Listed]) -> i64 {
    let last = segments.iter().max_by_key(|listed| listed.start_us);
    let table = last.and_then(|listed| Some(stream.segment(&listed.path).ok()?.table));
    let fragment = table.as_ref().and_then(|table| table.fragments.last());
    fragment.map_or(i64::MIN, |f| f.wall_start_us + i64::from(f.duration_us))
}

fn held(listed: &Listed, visible: &Visible) -> bool {
    visible.holds(&listed.path, listed.run, listed.start_us)
}

/// Says whether a segment goes: it is too old, or an earlier pass did not get round to it.
fn goes(listed: &Listed, until_us: i64, visible: &Visible) -> bool {
    let old = listed.start_us < until_us && !held(listed, visible);
    old || !visible.shows_segment(&listed.path, listed.run, listed.start_us)
}

/// A pass: what fails on one disk is no reason to leave the others.
struct Pass<'a> {
    store: &'a Store,
    done: Retained,
    failed: Option<Error>,
}

impl Pass<'_> {
    /// Answers how many segments were deleted, and how many bytes are still too many.
    fn attempt(&mut self, delete: impl FnOnce() -> Result<(usize, u64)>) {
        match delete() {
            Ok((segments, bytes_over)) => {
                self.done.segments += segments;
                self.done.bytes_over = self.done.bytes_over.max(bytes_over);
            }
            Err(e) => {
                log::error!(target: "nvr.store", "retention: {e}");
                self.failed.get_or_insert(e);
            }
        }
    }

    /// Deletes the oldest until there is no more than `max`.
    fn shrink(&mut self, shares: &[Share], max: u64, what: &str) {
        let store = self.store;
        self.attempt(|| {
            let mut bytes = 0;
            for share in shares {
                bytes += share.stream.bytes_in(&share.dir)?;
            }
            let over = bytes.saturating_sub(max);
            let (deleted, gone) = store.delete_oldest(shares, over)?;
            if deleted > 0 {
                log::info!(target: "nvr.store", "retention: {what} took {over} bytes too many");
            }
            Ok((deleted, over.saturating_sub(gone)))
        });
    }
}
