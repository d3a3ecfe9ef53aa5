//! Checking a store without changing it, and making its indexes anew from the segments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::events::EventLog;
use super::layout::{day_name, index_name, parse_day, parse_index_name, parse_segment_name};
use super::stream::EVENTS;
use super::streams_under;
use super::visible::Visible;
use crate::fs::{FileSystem, Named};
use crate::ids::{RunId, StreamId};
use crate::index::{IndexFile, IndexWriter, Record};
use crate::segment::digest::{TrackOf, track_digest};
use crate::segment::fragment::{CRC_FROM, crc_holds, peek_length};
use crate::segment::read::{read_segment, read_whole_segment};
use crate::segment::scan::Trust;
use crate::table::{FragmentEntry, Sample, SegmentTable, TrackRun};
use crate::{Error, Result};

/// What a check or a rebuild found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Fragments in them.
    pub fragments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What was put right, one line each.
    pub repaired: Vec<String>,
    /// What is wrong (and still is), one line each.
    pub problems: Vec<String>,
}

/// How thoroughly to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Footers, heads and indexes.
    Tables,
    /// Every byte: CRCs and digests.
    Digests,
}

/// A segment of a day.
struct Found {
    path: PathBuf,
    segment_ms: u32,
    run: RunId,
    table: SegmentTable,
}

/// Reads everything, changes nothing. A segment without a footer is no fault: it may be being
/// written.
pub fn check(fs: &dyn FileSystem, roots: &[PathBuf], depth: Depth) -> Result<Report> {
    let mut report = Report::default();
    let mut of_stream: Option<(PathBuf, Visible)> = None;
    for_each_day(fs, roots, &mut |id, day, day_dir| {
        let dir = day_dir.parent().unwrap_or(day_dir);
        if of_stream.as_ref().is_none_or(|(of, _)| of != dir) {
            let log = EventLog::open(fs, &dir.join(EVENTS), false)?;
            of_stream = Some((dir.to_owned(), Visible::new(vec![(dir.to_owned(), log.kept)])));
        }
        let mut found = read_day(fs, day_dir, None, &mut report)?;
        // What is deleted by the log's word may be there still, or again after a power failure, and in
        // no index: the next pass of retention takes it.
        found.retain(|s| {
            let start_us = day + i64::from(s.segment_ms) * 1000;
            of_stream.as_ref().is_none_or(|(_, log)| log.shows_segment(&s.path, s.run, start_us))
        });
        for segment in &found {
            if depth == Depth::Digests {
                check_bytes(fs, segment, &mut report)?;
            }
        }
        check_indexes(fs, id, day, day_dir, &found, &mut report)
    })?;
    Ok(report)
}

/// What a check of every byte says of a store after a power cut, but of segments whose heads were never
/// durable: such a one cannot be read, is not deleted, and is in no index, and of it nothing else is said.
#[cfg(test)]
pub(crate) fn problems_but_of_lost_heads(
    fs: &crate::fs::sim::SimFs,
    roots: &[PathBuf],
) -> Vec<String> {
    let of_head = |(path, _): (PathBuf, Vec<u8>)| {
        let file = Named { file: fs.open(&path).ok()?, path };
        let name = file.path.file_name()?.to_str()?;
        parse_segment_name(name)?;
        Some(crate::segment::scan::read_head(&file).err()?.to_string())
    };
    let of_heads: BTreeSet<String> = fs.files().into_iter().filter_map(of_head).collect();
    let mut problems = check(fs, roots, Depth::Digests).unwrap().problems;
    problems.retain(|problem| !of_heads.contains(problem));
    problems
}

/// Makes all indexes anew. Seals segments that have no footer. The store must not be in use.
pub fn rebuild(fs: &dyn FileSystem, roots: &[PathBuf]) -> Result<Report> {
    let mut report = Report::default();
    for_each_day(fs, roots, &mut |id, day, day_dir| {
        let found = read_day(fs, day_dir, Some(Trust::Nothing), &mut report)?;
        let mut by_run: BTreeMap<RunId, Vec<&Found>> = BTreeMap::new();
        for segment in &found {
            by_run.entry(segment.run).or_default().push(segment);
        }
        for entry in list(fs, day_dir)? {
            if parse_index_name(&entry).is_some_and(|run| !by_run.contains_key(&run)) {
                remove(fs, &day_dir.join(&entry))?;
                report
                    .repaired
                    .push(format!("{}: an index without segments", day_dir.join(entry).display()));
            }
        }
        for (run, segments) in by_run {
            let epoch = segments.first().map_or(0, |s| s.table.epoch);
            write_index(fs, id, day, day_dir, (run, epoch), &records(segments.into_iter()))?;
        }
        fs.sync_dir(day_dir).map_err(|e| Error::io("sync", day_dir, e))
    })?;
    Ok(report)
}

fn for_each_day(
    fs: &dyn FileSystem,
    roots: &[PathBuf],
    visit: &mut dyn FnMut(StreamId, i64, &Path) -> Result<()>,
) -> Result<()> {
    for root in roots {
        for (id, dir) in streams_under(fs, root)? {
            let mut days = list(fs, &dir)?;
            days.sort();
            for name in days {
                if let Some(day) = parse_day(&name) {
                    visit(id, day, &dir.join(&name))?;
                }
            }
        }
    }
    Ok(())
}

fn list(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<String>> {
    let entries = fs.read_dir(dir).map_err(|e| Error::io("list", dir, e))?;
    Ok(entries.into_iter().map(|e| e.name).collect())
}

fn remove(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    fs.remove_file(path).map_err(|e| Error::io("remove", path, e))
}

/// Reads the tables of a day's segments, in order. `seal`: give a footer to those without.
fn read_day(
    fs: &dyn FileSystem,
    day_dir: &Path,
    seal: Option<Trust>,
    report: &mut Report,
) -> Result<Vec<Found>> {
    let mut names: Vec<(u32, RunId, String)> = list(fs, day_dir)?
        .into_iter()
        .filter_map(|name| parse_segment_name(&name).map(|(ms, run)| (ms, run, name)))
        .collect();
    names.sort();
    let mut found = Vec::new();
    for (segment_ms, run, name) in names {
        let path = day_dir.join(name);
        match read_one(fs, &path, run, seal, report) {
            Ok(Some((table, bytes))) => {
                report.segments += 1;
                report.fragments += table.fragments.len() as u64;
                report.bytes += bytes;
                found.push(Found { path, segment_ms, run, table });
            }
            Ok(None) => {
                report.problems.push(format!("{}: holds no complete fragment", path.display()))
            }
            Err(e @ Error::Damaged { .. }) => report.problems.push(e.to_string()),
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn read_one(
    fs: &dyn FileSystem,
    path: &Path,
    run: RunId,
    seal: Option<Trust>,
    report: &mut Report,
) -> Result<Option<(SegmentTable, u64)>> {
    let open = if seal.is_some() { fs.open_rw(path) } else { fs.open(path) };
    let file = Named { file: open.map_err(|e| Error::io("open", path, e))?, path: path.to_owned() };
    // A check looks as recovery does; a rebuild reads each sealed segment once.
    let read = match seal {
        None => read_whole_segment(&file),
        Some(_) => read_segment(&file, run),
    };
    let damaged = match read {
        Ok(Some(segment)) if segment.sealed || seal.is_none() => {
            return Ok(Some((segment.table, file.size()?)));
        }
        Ok(None) if seal.is_none() => return Ok(None),
        Ok(_) => None,
        Err(e @ Error::Damaged { .. }) => Some(e),
        Err(e) => return Err(e),
    };
    match (seal, damaged) {
        (Some(trust), damaged) => {
            let Some(table) = super::recover::seal(&file, trust)? else { return Ok(None) };
            file.sync_data()?;
            let why = damaged.map_or(String::new(), |e| format!(" ({e})"));
            report.repaired.push(format!("{}: sealed{why}", path.display()));
            Ok(Some((table, file.size()?)))
        }
        (None, Some(e)) => Err(e),
        (None, None) => Ok(None),
    }
}

fn check_bytes(fs: &dyn FileSystem, segment: &Found, report: &mut Report) -> Result<()> {
    let file = fs.open(&segment.path).map_err(|e| Error::io("open", &segment.path, e))?;
    let file = Named { file, path: segment.path.clone() };
    for entry in &segment.table.fragments {
        if let Some(what) = fault(&file, &segment.table, entry)? {
            report.problems.push(problem(segment, entry, what));
        }
    }
    Ok(())
}

/// Reads a fragment and checks every byte of it against its CRC, its digests and its segment's
/// table; what is wrong with it, if anything is.
pub(super) fn fault(
    file: &Named,
    table: &SegmentTable,
    entry: &FragmentEntry,
) -> Result<Option<&'static str>> {
    let mut bytes = vec![0; entry.length as usize];
    let whole = file.read_at(&mut bytes, u64::from(entry.offset))? == bytes.len();
    if !whole || !crc_holds(&bytes) || bytes[24..CRC_FROM] != entry.crc.to_be_bytes() {
        return Ok(Some("fails its CRC"));
    }
    // What stands before the CRC is not covered by it.
    if peek_length(&bytes) != Some(entry.length) {
        return Ok(Some("has a damaged head"));
    }
    let holds = |track: TrackOf, run: &TrackRun, samples: &[Sample]| {
        let start = run.data_offset.checked_sub(entry.offset).map(|start| start as usize);
        let data = start.and_then(|start| bytes.get(start..start + run.data_len as usize));
        samples.is_empty() || data.is_some_and(|d| track_digest(track, samples, &[d]) == run.digest)
    };
    let all = holds(TrackOf::Video, &entry.video, table.video_of(entry))
        && holds(TrackOf::Audio, &entry.audio, table.audio_of(entry))
        && holds(TrackOf::Metadata, &entry.metadata, table.metadata_of(entry));
    Ok((!all).then_some("fails its digest"))
}

fn problem(segment: &Found, entry: &FragmentEntry, what: &str) -> String {
    format!(
        "{} at byte {}: fragment {} {what}",
        segment.path.display(),
        entry.offset,
        entry.sequence
    )
}

fn records<'a>(segments: impl Iterator<Item = &'a Found>) -> Vec<Record> {
    segments.flat_map(|s| s.table.fragments.iter().map(|f| Record::of(f, s.segment_ms))).collect()
}

fn check_indexes(
    fs: &dyn FileSystem,
    id: StreamId,
    day: i64,
    day_dir: &Path,
    found: &[Found],
    report: &mut Report,
) -> Result<()> {
    let runs: BTreeSet<RunId> = found.iter().map(|s| s.run).collect();
    for run in runs {
        let path = day_dir.join(index_name(run));
        let wanted = records(found.iter().filter(|s| s.run == run));
        let have = IndexFile::open(fs, &path).and_then(|index| {
            let count = index.count()?;
            (0..count).map(|p| index.get(p)).collect::<Result<Vec<_>>>()
        });
        // Retention leaves records of deleted segments behind until the day is gone; the newest
        // fragment may have been written between our two looks.
        let there: BTreeSet<u32> =
            found.iter().filter(|s| s.run == run).map(|s| s.segment_ms).collect();
        match have {
            Err(e) => report.problems.push(format!("{id}, {}: {e}", day_name(day))),
            Ok(have) => {
                let have: Vec<_> =
                    have.into_iter().filter(|r| there.contains(&r.segment_ms)).collect();
                let n = have.len().min(wanted.len());
                if have[..n] != wanted[..n] || have.len().abs_diff(wanted.len()) > 1 {
                    let what = "does not agree with its segments; rebuild the store's index";
                    report.problems.push(format!("{}: {what}", path.display()));
                }
            }
        }
    }
    Ok(())
}

/// Makes the index of a run's day anew.
fn write_index(
    fs: &dyn FileSystem,
    id: StreamId,
    day: i64,
    day_dir: &Path,
    run: (RunId, u32),
    records: &[Record],
) -> Result<()> {
    write_new_index(fs, id, day, day_dir, run, records)?;
    show_new_index(fs, day_dir, run.0).map(drop)
}

fn new_index(day_dir: &Path, run: RunId) -> PathBuf {
    day_dir.join(format!("{}.new", index_name(run)))
}

/// Writes and syncs an index beside the one that it is to replace.
pub(crate) fn write_new_index(
    fs: &dyn FileSystem,
    id: StreamId,
    day: i64,
    day_dir: &Path,
    (run, epoch): (RunId, u32),
    records: &[Record],
) -> Result<()> {
    let new = new_index(day_dir, run);
    match fs.remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &new, e));
        }
        _ => {}
    }
    let mut writer = IndexWriter::open(fs, &new, id, run, epoch, day)?;
    writer.append_all(records)?;
    writer.file().sync_data()
}

/// Puts a new index in the place of the old one.
pub(crate) fn show_new_index(fs: &dyn FileSystem, day_dir: &Path, run: RunId) -> Result<PathBuf> {
    let (new, path) = (new_index(day_dir, run), day_dir.join(index_name(run)));
    fs.rename(&new, &path).map_err(|e| Error::io("rename", &new, e))?;
    Ok(path)
}
