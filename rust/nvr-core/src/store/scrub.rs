//! Scrub: all stored bytes are read again, a segment at a time and slowly, and held against their
//! checksums and digests. What is damaged is written into the event log: from then on its range is
//! a gap, and what lies around it is given without it. Segments are never changed. An index that does
//! not agree with its segments is made anew: it is not the truth, they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{fault, show_new_index, write_new_index};
use super::damage::Stretch;
use super::layout::{
    day_name, index_name, parse_day, parse_segment_name, segment_name, stream_dir,
};
use super::{Root, Store, StreamStore, streams_under};
use crate::fs::{FileSystem, Named};
use crate::ids::{RunId, StreamId};
use crate::index::{IndexFile, Record};
use crate::segment::footer::{TRAILER_LEN, box_head, footer_len};
use crate::segment::read::{read_footer, read_segment};
use crate::segment::scan::read_head;
use crate::table::{FragmentEntry, SegmentTable};
use crate::time::{DAY_US, SECOND_US};
use crate::{Error, Result};

/// Where the pass under way has come to, in a root.
const NOTE: &str = ".scrubbed";
/// A longer note is none of ours.
const MAX_NOTE: usize = 256;

/// A segment that started so long ago is whole, whatever is being recorded.
pub(crate) const SETTLED_US: i64 = 15 * 60 * SECOND_US;

/// A segment that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Scrubbed {
    /// Its file.
    pub segment: PathBuf,
    /// Fragments of it.
    pub fragments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is damaged now and was not known to be, with its stream.
    pub damaged: Vec<(StreamId, Stretch)>,
    /// What was damaged, and is sound now.
    pub intact: Vec<(StreamId, Stretch)>,
    /// What is wrong and costs no footage, one line each.
    pub problems: Vec<String>,
    /// What was put right.
    pub repaired: Vec<String>,
}

/// A segment's place in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    id: StreamId,
    day: i64,
    segment_ms: u32,
    run: RunId,
}

impl Place {
    /// Within its root.
    fn path(&self) -> PathBuf {
        let day_dir = stream_dir(Path::new(""), self.id).join(day_name(self.day));
        day_dir.join(segment_name(self.segment_ms, self.run))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_end().split('/');
        let (camera, kind) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let day = parse_day(parts.next()?)?;
        let (segment_ms, run) = parse_segment_name(parts.next()?)?;
        Some(Place { id: StreamId { camera, kind }, day, segment_ms, run })
    }

    fn start_us(&self) -> i64 {
        self.day + i64::from(self.segment_ms) * 1000
    }
}

/// What a look at a segment found.
#[derive(Debug, Default)]
struct Findings {
    fragments: u64,
    bytes: u64,
    damaged: Vec<Stretch>,
    problems: Vec<String>,
    /// Its records are missing, damaged or other than its fragments.
    index_disagrees: bool,
}

/// Keeps reading to a rate.
struct Pace<'a> {
    store: &'a Store,
    root: &'a Root,
    bytes_per_s: Option<u64>,
    begun: Instant,
    bytes: u64,
}

impl Pace<'_> {
    /// Waits until so many bytes more may have been read; an error once the store is closed.
    fn read(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        self.store.usable()?;
        let Some(rate) = self.bytes_per_s else { return Ok(()) };
        self.store.leave_to_recording(&self.root.path)?;
        let due = Duration::from_secs_f64(self.bytes as f64 / rate.max(1) as f64);
        // In short sleeps: a store that is closed waits for nobody.
        while let Some(left) = due.checked_sub(self.begun.elapsed()).filter(|d| !d.is_zero()) {
            std::thread::sleep(left.min(Duration::from_millis(200)));
            self.store.usable()?;
        }
        Ok(())
    }
}

impl Store {
    /// Reads the next segment of the pass under way and checks every byte of it; `None` once when
    /// the pass has come to its end: then the next one begins. Where it has come to is noted under each
    /// root. `bytes_per_s`: how fast at most. What is being written is left for the next pass.
    ///
    /// # Errors
    /// The store is closed or to be read only, or its folders cannot be listed. A segment that
    /// cannot be read is a finding, and no error.
    pub fn scrub_next(&self, bytes_per_s: Option<u64>) -> Result<Option<Scrubbed>> {
        self.writable()?;
        for root in self.roots().iter().filter(|root| !root.is_gone()) {
            let mut place = read_note(&**self.fs(), root);
            while let Some(next) = self.next_place(root, place)? {
                if let Some(found) = self.scrub(root, next, bytes_per_s)? {
                    // Only now: who stops, or is stopped, in its middle reads it the next time.
                    write_note(&**self.fs(), root, Some(next))?;
                    return Ok(Some(found));
                }
                place = Some(next);
            }
        }
        self.scrub_again()?;
        Ok(None)
    }

    /// Forgets where the pass under way has come to: the next one begins.
    ///
    /// # Errors
    /// The file system refused.
    pub fn scrub_again(&self) -> Result<()> {
        self.writable()?;
        let mut there = self.roots().iter().filter(|root| !root.is_gone());
        there.try_for_each(|root| write_note(&**self.fs(), root, None))
    }

    fn next_place(&self, root: &Root, after: Option<Place>) -> Result<Option<Place>> {
        let list = |dir: &Path| -> Result<Vec<String>> {
            match self.fs().read_dir(dir) {
                Ok(entries) => Ok(entries.into_iter().map(|e| e.name).collect()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(e) => Err(Error::io("list", dir, e)),
            }
        };
        for (id, dir) in streams_under(&**self.fs(), &root.path)? {
            if after.is_some_and(|a| id < a.id) {
                continue;
            }
            let mut days: Vec<i64> = list(&dir)?.iter().filter_map(|d| parse_day(d)).collect();
            days.sort_unstable();
            for day in days {
                if after.is_some_and(|a| (id, day) < (a.id, a.day)) {
                    continue;
                }
                let names = list(&dir.join(day_name(day)))?;
                let places = names.iter().filter_map(|name| {
                    let (segment_ms, run) = parse_segment_name(name)?;
                    Some(Place { id, day, segment_ms, run })
                });
                let next = places.filter(|place| after.is_none_or(|a| *place > a)).min();
                if next.is_some() {
                    return Ok(next);
                }
            }
        }
        Ok(None)
    }

    /// `None`: it is being written, or is gone.
    fn scrub(&self, root: &Root, place: Place, rate: Option<u64>) -> Result<Option<Scrubbed>> {
        let Some(stream) = self.stream(place.id)? else { return Ok(None) };
        let path = root.path.join(place.path());
        let mut pace =
            Pace { store: self, root, bytes_per_s: rate, begun: Instant::now(), bytes: 0 };
        let Some(mut found) = self.look(&stream, &path, place, &mut pace)? else { return Ok(None) };
        let mut scrubbed = Scrubbed { segment: path.clone(), ..Scrubbed::default() };
        let known = self.known(&stream, place);
        if !found.damaged.is_empty() || found.index_disagrees || !known.is_empty() {
            // A copy may have been written to it meanwhile: what is told is what is there still
            // when nobody can.
            let _held = stream.copying.lock();
            pace.bytes_per_s = None;
            match self.look(&stream, &path, place, &mut pace)? {
                Some(again) => found = again,
                None => return Ok(None),
            }
            let dir = stream_dir(&root.path, place.id);
            self.tell(&stream, &dir, &known, &found.damaged, &mut scrubbed)?;
            if found.index_disagrees {
                match self.heal_index(&stream, &dir, place) {
                    Ok(line) => scrubbed.repaired.extend(line),
                    Err(e @ (Error::Damaged { .. } | Error::Io { .. })) => {
                        scrubbed.problems.push(e.to_string());
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        scrubbed.fragments = found.fragments;
        scrubbed.bytes = found.bytes;
        scrubbed.problems.append(&mut found.problems);
        Ok(Some(scrubbed))
    }

    /// Writes down what is new, and what is over.
    fn tell(
        &self,
        stream: &StreamStore,
        dir: &Path,
        known: &[Stretch],
        found: &[Stretch],
        scrubbed: &mut Scrubbed,
    ) -> Result<()> {
        let mut log = None;
        for over in known.iter().filter(|k| !found.iter().any(|f| f.is(k))) {
            log = Some(stream.log(dir, over.over_event())?);
            scrubbed.intact.push((stream.id, over.clone()));
        }
        for new in found.iter().filter(|f| !known.iter().any(|k| k.is(f))) {
            log = Some(stream.log(dir, new.event())?);
            scrubbed.damaged.push((stream.id, new.clone()));
        }
        log.map_or(Ok(()), |log| log.sync_data())
    }

    /// The damage that is known of a segment: what begins in it, and before the next of its run.
    fn known(&self, stream: &StreamStore, place: Place) -> Vec<Stretch> {
        let damage = stream.damage();
        let of_run: Vec<_> = damage.stretches().filter(|s| s.run == place.run).cloned().collect();
        if of_run.is_empty() {
            return of_run;
        }
        let later = stream.dirs().into_iter().flat_map(|dir| {
            let entries = self.fs().read_dir(&dir.join(day_name(place.day))).unwrap_or_default();
            entries.into_iter().filter_map(|e| parse_segment_name(&e.name)).collect::<Vec<_>>()
        });
        let later = later.filter(|(ms, run)| *run == place.run && *ms > place.segment_ms).min();
        let until_us = later.map_or(i64::MAX, |(ms, _)| place.day + i64::from(ms) * 1000);
        let next_day_us = place.day + DAY_US;
        let inside = |s: &Stretch| {
            (place.start_us()..until_us).contains(&s.start_us)
                && (later.is_some() || s.start_us < next_day_us)
        };
        of_run.into_iter().filter(inside).collect()
    }

    fn look(
        &self,
        stream: &StreamStore,
        path: &Path,
        place: Place,
        pace: &mut Pace<'_>,
    ) -> Result<Option<Findings>> {
        // While a stream is recorded its newest segments may wait for their last bytes.
        let settled_us = match self.recording_since(place.id) {
            Some(_) => self.now_us().saturating_sub(SETTLED_US).min(stream.open_segment_start_us()),
            None => i64::MAX,
        };
        if place.start_us() >= settled_us || place.start_us() < stream.expired_before_us() {
            return Ok(None);
        }
        let file = match self.fs().open(path) {
            Ok(file) => Named { file, path: path.to_owned() },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let problems = vec![Error::io("open", path, e).to_string()];
                return Ok(Some(Findings { problems, ..Findings::default() }));
            }
        };
        let mut findings = Findings { bytes: file.size().unwrap_or(0), ..Findings::default() };
        let table = self.tables(&file, place.run, &mut findings.problems)?;
        let index = IndexFile::open(&**self.fs(), &path.with_file_name(index_name(place.run)));
        let records = index.as_ref().map_or_else(|_| None, |index| records_of(index, place));
        let records = records.unwrap_or_default();
        let entries: BTreeMap<u32, &FragmentEntry> =
            table.iter().flat_map(|t| &t.fragments).map(|f| (f.sequence, f)).collect();
        let wanted: BTreeMap<u32, Record> =
            entries.iter().map(|(s, f)| (*s, Record::of(f, place.segment_ms))).collect();
        findings.index_disagrees = wanted.iter().any(|(s, w)| records.get(s) != Some(w));
        let all: BTreeMap<u32, Record> = records.into_iter().chain(wanted).collect();
        findings.fragments = all.len() as u64;
        for (sequence, record) in &all {
            let what = match (entries.get(sequence), &table) {
                (Some(entry), Some(table)) => {
                    pace.read(u64::from(entry.length))?;
                    match fault(&file, table, entry) {
                        Ok(what) => what.map(str::to_owned),
                        Err(e @ (Error::Io { .. } | Error::Damaged { .. })) => Some(e.to_string()),
                        Err(e) => return Err(e),
                    }
                }
                (_, None) if !findings.problems.is_empty() => {
                    Some(format!("cannot be read: {}", findings.problems.join("; ")))
                }
                _ => Some("is not found".to_owned()),
            };
            let Some(what) = what else { continue };
            let end_us = match all.get(&sequence.wrapping_add(1)) {
                Some(next) => next.wall_start_us,
                None => end_by_index(stream, place.run, record).unwrap_or(record.wall_end_us()),
            };
            let detail = format!(
                "{} at byte {}: fragment {sequence} {what}",
                place.path().display(),
                record.offset
            );
            match findings.damaged.last_mut() {
                Some(last) if last.sequence.wrapping_add(last.fragments) == *sequence => {
                    last.fragments += 1;
                    last.end_us = end_us;
                }
                _ => findings.damaged.push(Stretch {
                    run: place.run,
                    sequence: *sequence,
                    fragments: 1,
                    start_us: record.wall_start_us,
                    end_us,
                    detail: detail.into(),
                }),
            }
        }
        Ok(Some(findings))
    }

    /// A segment's table from its footer, or from its fragments where that is damaged.
    fn tables(
        &self,
        file: &Named,
        run: RunId,
        problems: &mut Vec<String>,
    ) -> Result<Option<SegmentTable>> {
        let mut note = |e: Error, then: &str| match e {
            Error::Damaged { .. } | Error::Io { .. } => {
                problems.push(format!("{e}{then}"));
                Ok(())
            }
            e => Err(e),
        };
        let footer = match read_footer(file) {
            Ok(Some(found)) => {
                match footer_begins_right(file) {
                    Ok(true) => {}
                    Ok(false) => {
                        let what = "the footer's box does not begin as it was written";
                        note(Error::damaged(&file.path, 0, what), "; it is read all the same")?;
                    }
                    Err(e) => note(e, "")?,
                }
                Some(found)
            }
            Ok(None) => {
                note(
                    Error::damaged(&file.path, 0, "it has no footer"),
                    "; its fragments are read",
                )?;
                None
            }
            Err(e) => {
                note(e, "; its fragments say the same")?;
                None
            }
        };
        match read_head(file) {
            Ok(Some((head, len))) => {
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
                let read = file.read_at(&mut bytes, 0);
                let sound = read.is_ok_and(|n| n == bytes.len()) && head.to_bytes() == bytes;
                if !sound || footer.as_ref().is_some_and(|(of_footer, _)| *of_footer != head) {
                    note(Error::damaged(&file.path, 0, "the head is not what was written"), "")?;
                }
            }
            Ok(None) => note(Error::damaged(&file.path, 0, "the head is cut short"), "")?,
            Err(e) => note(e, "")?,
        }
        if let Some((_, table)) = footer {
            return Ok(Some(table));
        }
        match read_segment(file, run) {
            Ok(found) => Ok(found.map(|segment| segment.table)),
            Err(e) => note(e, "").map(|()| None),
        }
    }

    /// Makes the index of a run's day anew from its segments. What an old record alone still
    /// tells of a damaged fragment is kept. `None`: it is being written to.
    fn heal_index(&self, stream: &StreamStore, dir: &Path, place: Place) -> Result<Option<String>> {
        let fs = &**self.fs();
        if stream.is_writing(place.run, place.day) {
            return Ok(None);
        }
        let day_dir = dir.join(day_name(place.day));
        let entries = fs.read_dir(&day_dir).map_err(|e| Error::io("list", &day_dir, e))?;
        let segments: BTreeSet<u32> = entries
            .iter()
            .filter_map(|e| parse_segment_name(&e.name))
            .filter(|(_, run)| *run == place.run)
            .map(|(ms, _)| ms)
            .collect();
        let path = day_dir.join(index_name(place.run));
        let mut records: BTreeMap<u32, Record> = BTreeMap::new();
        let mut epoch = None;
        if let Ok(index) = IndexFile::open(fs, &path) {
            epoch = Some(index.epoch);
            for position in 0..index.count()? {
                let record = index.get(position).ok();
                if let Some(record) = record.filter(|r| segments.contains(&r.segment_ms)) {
                    records.insert(record.sequence, record);
                }
            }
        }
        for &segment_ms in &segments {
            let path = day_dir.join(segment_name(segment_ms, place.run));
            let file = fs.open(&path).map_err(|e| Error::io("open", &path, e))?;
            // One that cannot be read keeps the records that it has.
            let Ok(Some(segment)) = read_segment(&Named { file, path }, place.run) else {
                continue;
            };
            epoch = Some(segment.table.epoch);
            let of_table = segment.table.fragments.iter().map(|f| Record::of(f, segment_ms));
            records.extend(of_table.map(|record| (record.sequence, record)));
        }
        let Some(epoch) = epoch else { return Ok(None) };
        let records: Vec<Record> = records.into_values().collect();
        if !records.windows(2).all(|w| w[0].wall_start_us < w[1].wall_start_us) {
            return Err(Error::damaged(&path, 0, "records and segments contradict each other"));
        }
        write_new_index(fs, place.id, place.day, &day_dir, (place.run, epoch), &records)?;
        show_new_index(fs, &day_dir, place.run)?;
        fs.sync_dir(&day_dir).map_err(|e| Error::io("sync", &day_dir, e))?;
        stream.show_index(place.day, &path)?;
        Ok(Some(format!("{}: agrees again with its segments", path.display())))
    }
}

/// Whether size and type of a sealed segment's footer box are right. No reader of ours needs them,
/// players do.
fn footer_begins_right(file: &Named) -> Result<bool> {
    let len = file.size()?;
    let mut trailer = [0; TRAILER_LEN];
    file.read_exact_at(&mut trailer, len - TRAILER_LEN as u64)?;
    let Some(size) = footer_len(&trailer) else { return Ok(false) };
    let mut head = [0; 8];
    file.read_exact_at(&mut head, len - size as u64)?;
    Ok(u32::try_from(size).is_ok_and(|size| head == box_head(size)))
}

/// The records of a segment that can be read; `None`: the index cannot.
fn records_of(index: &IndexFile, place: Place) -> Option<BTreeMap<u32, Record>> {
    let mut records = BTreeMap::new();
    for position in 0..index.count().ok()? {
        if let Ok(record) = index.get(position)
            && record.segment_ms == place.segment_ms
        {
            records.insert(record.sequence, record);
        }
    }
    Some(records)
}

/// Where a fragment ends by its run's next record, as coverage has it.
fn end_by_index(stream: &StreamStore, run: RunId, record: &Record) -> Option<i64> {
    let found = stream.fragments(record.wall_start_us, record.wall_start_us + 1).ok()?;
    let found = found.into_iter().find(|f| f.index.run == run && f.record == *record);
    found.map(|f| f.end_us)
}

fn read_note(fs: &dyn FileSystem, root: &Arc<Root>) -> Option<Place> {
    let mut bytes = [0; MAX_NOTE];
    let n = fs.open(&root.path.join(NOTE)).ok()?.read_at(&mut bytes, 0).ok()?;
    Place::parse(std::str::from_utf8(&bytes[..n]).ok()?)
}

/// Not synced: after a power failure some segments are looked at again.
fn write_note(fs: &dyn FileSystem, root: &Root, place: Option<Place>) -> Result<()> {
    let path = root.path.join(NOTE);
    let text = place.map_or(String::new(), |place| format!("{}\n", place.path().display()));
    let file = super::recover::write_note(fs, &path, text.as_bytes())?;
    file.file.set_len(text.len() as u64).map_err(|e| Error::io("truncate", &path, e))
}
