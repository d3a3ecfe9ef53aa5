//! The event log of a stream: why it was not recorded, and what was deleted. Lines of JSON, each
//! after its CRC-32C, append-only (`docs/on-disk-format.md`, "Event log").

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::damage::Damage;
use super::visible::Kept;
use crate::fs::{FileSystem, Named};
use crate::ids::RunId;
use crate::reason::Reason;
use crate::{Error, Result};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A run began at this wall time.
    RunStarted {
        /// Wall time of its first picture.
        at_us: i64,
        /// Its id.
        run: String,
        /// Its lease epoch.
        epoch: u32,
        /// Written by recovery, to a log of which lines are lost: what stands before it may have come
        /// after.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        late: bool,
    },
    /// A run ended.
    RunEnded {
        /// End of its last picture.
        at_us: i64,
        /// Its id.
        run: String,
        /// Why.
        reason: Reason,
        /// For people, without secrets.
        detail: String,
    },
    /// Nothing is recorded from here on, for another reason than before.
    Down {
        /// Since when.
        at_us: i64,
        /// Why.
        reason: Reason,
        /// For people, without secrets.
        detail: String,
    },
    /// Pictures of this range arrived and could not be written.
    Lost {
        /// From.
        at_us: i64,
        /// Until.
        until_us: i64,
        /// Why.
        reason: Reason,
        /// For people, without secrets.
        detail: String,
    },
    /// Footage of a run that another node recorded is being copied. Synced before the first of it
    /// is written.
    RunCopied {
        /// Start of the segment that was copied first.
        at_us: i64,
        /// Its id.
        run: String,
        /// Its lease epoch.
        epoch: u32,
    },
    /// The node that is copied from has nothing of this range.
    Absent {
        /// From.
        at_us: i64,
        /// Until.
        until_us: i64,
        /// Why, as it says.
        reason: Reason,
        /// For people, without secrets.
        detail: String,
    },
    /// All segments that start before an instant are deleted. Synced before the first of them is.
    Expired {
        /// When this was decided.
        at_us: i64,
        /// Segments that start before this are gone.
        until_us: i64,
    },
    /// Retention leaves these segments alone. Synced before it takes effect.
    Hold {
        /// When this was decided.
        at_us: i64,
        /// Its id.
        hold: String,
        /// Held are segments that start from this instant on …
        from_us: i64,
        /// … and before this one.
        until_us: i64,
        /// Why, for people.
        detail: String,
    },
    /// A hold ends. Synced before it takes effect.
    Released {
        /// When this was decided.
        at_us: i64,
        /// The hold's id.
        hold: String,
    },
    /// A scrub found stored fragments of a segment damaged: what they show is a gap.
    Damaged {
        /// Wall start of the first.
        at_us: i64,
        /// End of the last.
        until_us: i64,
        /// Their run.
        run: String,
        /// The first one's.
        sequence: u32,
        /// How many, one after another.
        fragments: u32,
        /// Which file, where, and what is wrong.
        detail: String,
    },
    /// What a [`Damaged`](Event::Damaged) event of this run and sequence says holds no more.
    Intact {
        /// Wall start of the first.
        at_us: i64,
        /// Their run.
        run: String,
        /// The first one's.
        sequence: u32,
    },
    /// Written by a later version.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The start of a run.
    pub fn run_started(run: RunId, epoch: u32, at_us: i64) -> Self {
        Event::RunStarted { at_us, run: run.to_string(), epoch, late: false }
    }

    /// The same, for a log of which lines are lost.
    pub(super) fn late(self) -> Self {
        match self {
            Event::RunStarted { at_us, run, epoch, .. } => {
                Event::RunStarted { at_us, run, epoch, late: true }
            }
            other => other,
        }
    }

    /// When nothing was recorded any more, and why; `None` for other events.
    pub fn stopped(&self) -> Option<(i64, &Reason, &str)> {
        match self {
            Event::RunEnded { at_us, reason, detail, .. }
            | Event::Down { at_us, reason, detail } => Some((*at_us, reason, detail)),
            _ => None,
        }
    }
}

/// The log of one stream under one root, and what it says.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: Option<Named>,
    len: u64,
    /// Something is behind `len`.
    torn: bool,
    /// A sync of it failed, and nobody has noted that.
    pub(super) doubtful: bool,
    /// In the order in which they happened; without those of retention and holds.
    pub events: Vec<Event>,
    /// What is deleted, and what is held.
    pub(super) kept: Kept,
    /// Lines of it are lost, and not at its end.
    pub(super) has_holes: bool,
    /// Holds that it says were released.
    released: BTreeSet<String>,
    /// Starts of runs, and holds that other logs tell of, that the disk has not taken yet. Which runs
    /// began before a deletion, and which after it, decides what is deleted: no event is written
    /// before them.
    waiting: VecDeque<Event>,
}

/// More starts than this do not wait: a disk that takes none for so long takes no footage either.
const MAX_WAITING: usize = 1000;

/// A line longer than this is none of ours.
const MAX_LINE: usize = 64 << 10;

impl EventLog {
    /// Reads a log if there is one. What follows the first torn or damaged line at its end is cut off
    /// before the next append; a damaged line within is left out, with a warning.
    pub fn open(fs: &dyn FileSystem, path: &Path, writable: bool) -> Result<Self> {
        let mut log = EventLog {
            path: path.to_owned(),
            file: None,
            len: 0,
            torn: false,
            doubtful: false,
            events: Vec::new(),
            kept: Kept::default(),
            has_holes: false,
            released: BTreeSet::new(),
            waiting: VecDeque::new(),
        };
        // On a disk that became read-only it can still be read.
        let read = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Err(e),
            _ => fs.open(path),
        };
        let opened = if writable { fs.open_rw(path).or_else(read) } else { fs.open(path) };
        let file = match opened {
            Ok(file) => Named { file, path: path.to_owned() },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(log),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
        let n = file.read_at(&mut bytes, 0)?;
        bytes.truncate(n);
        let mut at = 0;
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            at += line.len();
            match parse_line(line) {
                Some(event) => {
                    // What was written before it never became durable.
                    log.has_holes |= line.starts_with(b"\0");
                    log.note(event);
                    log.len = at as u64;
                }
                None if at < bytes.len() => {
                    log::warn!(target: "nvr.store", "{}: a damaged event before byte {at} is left out", path.display());
                    log.has_holes = true;
                    log.len = at as u64;
                }
                None => {}
            }
        }
        log.torn = log.len < bytes.len() as u64;
        log.file = Some(file);
        Ok(log)
    }

    /// Appends an event. It is durable once the file is synced. After an error the start of a run
    /// is known all the same, and is written before the next event.
    pub fn append(&mut self, fs: &dyn FileSystem, event: Event) -> Result<Named> {
        if matches!(event, Event::RunStarted { .. }) {
            self.keep(event);
            return self.write_waiting(fs).and_then(|_| self.file(fs));
        }
        self.write_waiting(fs)?;
        let file = self.write(fs, &event)?;
        self.note(event);
        Ok(file)
    }

    /// A run began, or another log tells of a hold, and the disk is not to be written to now.
    pub(super) fn keep(&mut self, event: Event) {
        self.note(event.clone());
        self.waiting.push_back(event);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
        }
    }

    /// This is the log again of a disk that went and came back: what waited for it still does.
    pub(super) fn take_over(&mut self, before: EventLog) {
        before.waiting.into_iter().for_each(|event| self.keep(event));
    }

    /// Whether it says nothing of a hold.
    pub(super) fn lacks(&self, hold: &str) -> bool {
        !self.kept.holds.contains_key(hold) && !self.released.contains(hold)
    }

    /// Writes what waits; the file, if something did.
    pub(super) fn write_waiting(&mut self, fs: &dyn FileSystem) -> Result<Option<Named>> {
        let mut written = None;
        while let Some(event) = self.waiting.front().cloned() {
            written = Some(self.write(fs, &event)?);
            self.waiting.pop_front();
        }
        Ok(written)
    }

    fn write(&mut self, fs: &dyn FileSystem, event: &Event) -> Result<Named> {
        let file = self.file(fs)?;
        let line = format_line(event)?;
        if self.torn {
            // For good, before anything is written there: a line that just fills the place of one that
            // was lost would give life to those behind it.
            file.file.set_len(self.len).map_err(|e| Error::io("truncate", &self.path, e))?;
            // A disk that does not sync now is no reason not to tell: it is tried again with the next.
            self.torn = file.sync_data().is_err();
            self.doubtful |= self.torn;
        }
        file.write_all_at(&line, self.len)?;
        self.len += line.len() as u64;
        Ok(file)
    }

    fn file(&mut self, fs: &dyn FileSystem) -> Result<Named> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = fs.create_new(&self.path).map_err(|e| Error::io("create", &self.path, e))?;
        Ok(self.file.insert(Named { file, path: self.path.clone() }).clone())
    }

    /// Writes what is in it again, as it is; the file, if there is one.
    pub(super) fn write_again(&self) -> Result<Option<Named>> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        file.write_all_at(&bytes, 0)?;
        Ok(Some(file.clone()))
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Expired { until_us, .. } => {
                self.kept.expiry.expire(until_us);
            }
            Event::Hold { hold, from_us, until_us, .. } => {
                self.released.remove(&hold);
                self.kept.hold(hold, from_us, until_us);
            }
            Event::Released { hold, .. } => {
                self.kept.holds.remove(&hold);
                self.released.insert(hold);
            }
            Event::RunStarted { at_us, ref run, late, .. } => {
                if let (Ok(run), false) = (run.parse(), late) {
                    self.kept.expiry.run_started(run, at_us);
                }
                self.events.push(event);
            }
            Event::Unknown => {}
            event => self.events.push(event),
        }
    }
}

fn format_line(event: &Event) -> Result<Vec<u8>> {
    let json = serde_json::to_string(event).map_err(|e| Error::Invalid(e.to_string()))?;
    Ok(format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes())
}

fn parse_line(line: &[u8]) -> Option<Event> {
    let line = line.strip_suffix(b"\n")?;
    // What was written before it and never became durable reads as zeros.
    let line = &line[line.iter().take_while(|b| **b == 0).count()..];
    let line = (line.len() <= MAX_LINE).then_some(line)?;
    let text = std::str::from_utf8(line).ok()?;
    let (crc, json) = text.split_at_checked(9)?;
    let crc = u32::from_str_radix(crc.strip_suffix(' ')?, 16).ok()?;
    if crc32c::crc32c(json.as_bytes()) != crc {
        return None;
    }
    // Whole, but not what this version writes: a later one's.
    Some(serde_json::from_str(json).unwrap_or(Event::Unknown))
}

/// The logs of a stream under all its roots, merged, as far as coverage needs them.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Since when and why nothing is recorded, in order of time.
    stops: Vec<(i64, Reason, Arc<str>)>,
    /// Ranges that were lost, here or where the footage was copied from.
    lost: Vec<(i64, i64, Reason, Arc<str>)>,
    /// When the first run began.
    pub first_us: Option<i64>,
    /// Runs of other nodes are copied here: what nobody explains may not have been copied yet.
    copied: bool,
}

/// A stop shortly after a gap's begin still explains it: wall times of pictures and of events are
/// not taken at the same place.
const SLACK_US: i64 = 2_000_000;

/// A stretch of a gap: from, until, why, and for people.
pub type Cause = (i64, i64, Reason, Arc<str>);

impl History {
    /// Of these logs.
    pub fn of<'a>(logs: impl Iterator<Item = &'a EventLog> + Clone) -> Self {
        let mut history = History::default();
        let events = || logs.clone().flat_map(|log| &log.events);
        for event in events() {
            if let Some((at_us, reason, detail)) = event.stopped() {
                history.stops.push((at_us, reason.clone(), detail.into()));
            }
            match event {
                Event::RunStarted { at_us, .. } | Event::RunCopied { at_us, .. } => {
                    history.first_us = Some(history.first_us.map_or(*at_us, |f| f.min(*at_us)));
                    history.copied |= matches!(event, Event::RunCopied { .. });
                }
                Event::Lost { at_us, until_us, reason, detail }
                | Event::Absent { at_us, until_us, reason, detail } => {
                    history.lost.push((*at_us, *until_us, reason.clone(), detail.as_str().into()));
                }
                _ => {}
            }
        }
        Damage::of(events()).stretches().for_each(|s| {
            history.lost.push((s.start_us, s.end_us, Reason::DAMAGED, s.detail.clone()));
        });
        history.stops.sort_by_key(|s| s.0);
        history.lost.sort_by_key(|l| l.0);
        history
    }

    /// The parts of a range of which the log tells no loss.
    pub fn untold(&self, from_us: i64, until_us: i64) -> Vec<(i64, i64)> {
        let (mut parts, mut at) = (Vec::new(), from_us);
        for (lost_from, lost_until, ..) in &self.lost {
            if *lost_from > at && at < until_us {
                parts.push((at, until_us.min(*lost_from)));
            }
            at = at.max(*lost_until);
        }
        if at < until_us {
            parts.push((at, until_us));
        }
        parts
    }

    /// Says why a gap is one: stretches in order that fill it.
    pub fn causes(&self, from_us: i64, until_us: i64) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut at = from_us;
        for (lost_from, lost_until, reason, detail) in &self.lost {
            let (start, end) = ((*lost_from).max(at), (*lost_until).min(until_us));
            // A loss explains the gap that it made, to the gap's edges if they are near.
            let start = if start.saturating_sub(at) < SLACK_US { at } else { start };
            let end = if until_us.saturating_sub(end) < SLACK_US { until_us } else { end };
            if start < end && *lost_from < until_us && *lost_until > at {
                self.stops_between(at, start, &mut causes);
                causes.push((start, end, reason.clone(), detail.clone()));
                at = end;
            }
        }
        self.stops_between(at, until_us, &mut causes);
        causes
    }

    fn stops_between(&self, from_us: i64, until_us: i64, causes: &mut Vec<Cause>) {
        if from_us >= until_us {
            return;
        }
        // Before the first run there are no pictures whose end the log could speak of.
        let slack = if self.first_us.is_some_and(|first| first < from_us) { SLACK_US } else { 0 };
        let before =
            self.stops.partition_point(|s| s.0 <= from_us.saturating_add(slack) && s.0 < until_us);
        let later = &self.stops[before..];
        let later = &later[..later.partition_point(|s| s.0 < until_us)];
        let first = match before.checked_sub(1) {
            Some(last) => Some(&self.stops[last]),
            None if self.first_us.is_some_and(|first| first < from_us) => later.first(),
            None => None,
        };
        let unexplained = if self.copied { Reason::NOT_COPIED } else { Reason::NOT_RECORDED };
        let unknown = (from_us, unexplained, Arc::from(""));
        let (_, reason, detail) = first.unwrap_or(&unknown);
        let mut at = (from_us, reason, detail);
        for (when, reason, detail) in later {
            if (reason, detail) != (at.1, at.2) && *when > at.0 {
                causes.push((at.0, *when, at.1.clone(), at.2.clone()));
                at = (*when, reason, detail);
            }
        }
        causes.push((at.0, until_us, at.1.clone(), at.2.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;
    use proptest::prelude::*;

    fn down(at_us: i64, reason: Reason) -> Event {
        Event::Down { at_us, reason, detail: String::new() }
    }

    #[test]
    fn a_torn_line_is_overwritten_and_a_damaged_one_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut log = EventLog::open(&RealFs, &path, true).unwrap();
        for at in [1, 2, 3] {
            log.append(&RealFs, down(at, Reason::SILENT)).unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let line = bytes.len() / 3;
        bytes[line + 15] ^= 1;
        bytes.extend_from_slice(b"0000");
        std::fs::write(&path, &bytes).unwrap();
        let mut log = EventLog::open(&RealFs, &path, true).unwrap();
        assert_eq!(log.events, [down(1, Reason::SILENT), down(3, Reason::SILENT)]);
        log.append(&RealFs, Event::Expired { at_us: 9, until_us: 5 }).unwrap();
        let log = EventLog::open(&RealFs, &path, false).unwrap();
        assert_eq!((log.events.len(), log.kept.expiry.before_us), (2, 5));
    }

    #[test]
    fn a_line_in_the_place_of_a_lost_one_brings_none_back() {
        let fs = crate::fs::sim::SimFs::default();
        let path = Path::new("/events");
        let mut log = EventLog::open(&fs, path, true).unwrap();
        let events = [down(1, Reason::SILENT), down(2, Reason::SILENT)];
        for event in &events {
            log.append(&fs, event.clone()).unwrap();
        }
        log.append(&fs, Event::Expired { at_us: 9, until_us: 5 }).unwrap().sync_data().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        // A power cut took the middle.
        let line = format_line(&events[1]).unwrap().len();
        let file = fs.open_rw(path).unwrap();
        file.write_all_at(&vec![b'x'; line], line as u64).unwrap();
        let mut log = EventLog::open(&fs, path, true).unwrap();
        assert_eq!((log.events.len(), log.kept.expiry.before_us), (1, i64::MIN));
        let synced = log.append(&fs, events[1].clone()).unwrap();
        synced.sync_data().unwrap();
        for seed in 0..20 {
            let log = EventLog::open(&fs.after_power_failure(seed), path, true).unwrap();
            assert_eq!((&log.events[..], log.kept.expiry.before_us), (&events[..], i64::MIN));
        }
    }

    #[test]
    fn the_start_of_a_run_waits_for_a_disk_that_went_and_came_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let run = |at| Event::run_started(RunId(uuid::Uuid::nil()), 0, at);
        let mut before = EventLog::open(&RealFs, &path, true).unwrap();
        before.append(&RealFs, run(1)).unwrap();
        before.keep(run(2));
        let mut log = EventLog::open(&RealFs, &path, true).unwrap();
        log.take_over(before);
        log.append(&RealFs, down(3, Reason::SILENT)).unwrap();
        let events = EventLog::open(&RealFs, &path, false).unwrap().events;
        assert_eq!(events, [run(1), run(2), down(3, Reason::SILENT)]);
    }

    #[test]
    fn a_later_versions_event_and_reason_survive() {
        let line = |json: &str| format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()));
        assert_eq!(
            parse_line(line(r#"{"kind":"teleported","at_us":3}"#).as_bytes()),
            Some(Event::Unknown)
        );
        let odd = parse_line(
            line(r#"{"kind":"down","at_us":3,"reason":"eaten","detail":""}"#).as_bytes(),
        );
        assert_eq!(odd, Some(down(3, Reason("eaten".into()))));
    }

    proptest! {
        #[test]
        fn an_event_reads_back(
            kind in 0u8..11, at_us: i64, until_us: i64, text in "\\PC{0,60}", number: u32, count: u32,
        ) {
            let (run, detail, reason) = (text.clone(), text.clone(), Reason(text.into()));
            let event = match kind {
                0 => Event::RunStarted { at_us, run, epoch: number, late: number % 2 == 1 },
                1 => Event::RunEnded { at_us, run, reason, detail },
                2 => Event::Down { at_us, reason, detail },
                3 => Event::Lost { at_us, until_us, reason, detail },
                4 => Event::RunCopied { at_us, run, epoch: number },
                5 => Event::Absent { at_us, until_us, reason, detail },
                6 => Event::Expired { at_us, until_us },
                7 => Event::Damaged {
                    at_us, until_us, run, sequence: number, fragments: count, detail,
                },
                8 => Event::Intact { at_us, run, sequence: number },
                9 => Event::Hold { at_us, hold: run, from_us: until_us, until_us: at_us, detail },
                _ => Event::Released { at_us, hold: run },
            };
            let line = format_line(&event).unwrap();
            prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            prop_assert_eq!(parse_line(&line), Some(event));
        }

        #[test]
        fn causes_fill_the_gap(
            events in proptest::collection::vec((0i64..100_000_000, 0u8..4, 1i64..9_000_000), 0..20),
            from in 0i64..100_000_000, len in 1i64..50_000_000,
        ) {
            let mut log = EventLog {
                path: PathBuf::new(), file: None, len: 0, events: Vec::new(),
                kept: Kept::default(), has_holes: false, torn: false, doubtful: false, released: BTreeSet::new(),
                waiting: VecDeque::new(),
            };
            for (at_us, kind, len) in events {
                let detail = String::new();
                log.note(match kind {
                    0 => down(at_us, Reason::REFUSED),
                    1 => down(at_us, Reason::SILENT),
                    2 => Event::Lost { at_us, until_us: at_us + len, reason: Reason::OVERLOAD, detail },
                    _ => Event::RunStarted { at_us, run: String::new(), epoch: 0, late: false },
                });
            }
            let causes = History::of([&log].into_iter()).causes(from, from + len);
            prop_assert_eq!(causes[0].0, from);
            prop_assert_eq!(causes[causes.len() - 1].1, from + len);
            prop_assert!(causes.iter().all(|c| c.0 < c.1));
            prop_assert!(causes.windows(2).all(|w| w[0].1 == w[1].0));
        }
    }
}
