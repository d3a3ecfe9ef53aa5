//! Copies of what other nodes recorded: fragments exactly as they were written, in segments that
//! end up the same to the byte (`docs/on-disk-format.md`, "Copies").

mod check;
mod index;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use check::{Piece, read_head, read_piece, refused};
use index::Change;
use segment::{Held, Plan};

use crate::ids::{RunId, StreamId};
use crate::index::Record;
use crate::reason::Reason;
use crate::segment::head::SegmentHead;
use crate::store::copying::{self, Target};
use crate::store::events::Event;
use crate::store::{Store, StreamStore};
use crate::time::{DAY_US, day_start_us};
use crate::{Error, Result};

/// Bytes that may wait for a flush.
const MAX_WAITING: usize = 256 << 20;

/// What a flush made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Fragments that were not here before.
    pub fragments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Fragments that retention does not want any more.
    pub expired: u64,
}

/// Writes copies of one stream's footage.
#[derive(Debug)]
pub struct CopyWriter {
    store: Arc<Store>,
    stream: Arc<StreamStore>,
    dir: PathBuf,
    waiting: BTreeMap<(RunId, u32), Waiting>,
    waiting_bytes: usize,
}

/// Checked fragments of one segment.
#[derive(Debug)]
struct Waiting {
    init: Vec<u8>,
    head: SegmentHead,
    pieces: BTreeMap<u32, Piece>,
}

impl Waiting {
    fn target(&self) -> Target {
        let day = day_start_us(self.head.wall_start_us);
        let segment_ms = u32::try_from((self.head.wall_start_us - day) / 1000).unwrap_or(0);
        Target { day, run: self.head.run, segment_ms }
    }
}

impl CopyWriter {
    /// For copies of a stream; they lie where the stream's footage lies.
    ///
    /// # Errors
    /// The store is closed, to be read only, or has no room to begin in.
    pub fn new(store: Arc<Store>, id: StreamId) -> Result<Self> {
        let (stream, root) = store.stream_for_writing(id)?;
        let dir = stream.dir_under(&root.path)?;
        Ok(CopyWriter { store, stream, dir, waiting: BTreeMap::new(), waiting_bytes: 0 })
    }

    /// Takes a fragment, with the head of its segment (ftyp, header and moov), after checking its
    /// CRC and digests. It is held in memory until [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::Refused`] names what does not hold; what was taken before stays.
    pub fn add(&mut self, init: &[u8], fragment: &[u8]) -> Result<()> {
        let head = read_head(init)?;
        if head.stream != self.stream.id {
            let what =
                format!("run {}: it is of {}, not of {}", head.run, head.stream, self.stream.id);
            return Err(Error::Refused(what));
        }
        // Nodes' clocks differ; by more than a day, and retention would keep it for ever.
        let piece = read_piece(&head, fragment, self.store.now_us().saturating_add(DAY_US))?;
        if self.waiting_bytes + fragment.len() > MAX_WAITING {
            return Err(Error::Invalid("too much waits to be copied: flush first".to_owned()));
        }
        let key = (head.run, head.first_sequence);
        let segment = self.waiting.entry(key).or_insert_with(|| Waiting {
            init: init.to_vec(),
            head,
            pieces: BTreeMap::new(),
        });
        let sequence = piece.sequence();
        if segment.init != init {
            return Err(refused(&segment.head, sequence, "its segment has two heads"));
        }
        match segment.pieces.get(&sequence) {
            Some(taken) if taken.bytes != piece.bytes => {
                Err(refused(&segment.head, sequence, "there are two of that name"))
            }
            Some(_) => Ok(()),
            None => {
                self.waiting_bytes += piece.bytes.len();
                segment.pieces.insert(sequence, piece);
                Ok(())
            }
        }
    }

    /// Writes what was taken, and returns when it is durable and found by readers. What is there
    /// already is left as it is.
    ///
    /// # Errors
    /// [`Error::Refused`] when a fragment contradicts what is held, or the file system's error.
    /// Other segments are written all the same, and nothing of this one shows. Nothing waits any
    /// more.
    pub fn flush(&mut self) -> Result<Copied> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if waiting.is_empty() {
            return Ok(Copied::default());
        }
        self.store.writable()?;
        if self.store.is_gone(&self.dir) {
            return Err(Error::Closed("the disk of these copies is not there"));
        }
        self.store.leave_to_recording(&self.dir)?;
        let stream = self.stream.clone();
        let mut in_doubt = stream.copying.lock();
        let mut copied = Copied::default();
        let mut failed = None;
        for segment in waiting.values() {
            if let Err(e) = self.write(segment, &mut in_doubt, &mut copied) {
                failed.get_or_insert(e);
            }
        }
        failed.map_or(Ok(copied), Err)
    }

    /// Notes that the source has nothing of a range, and why, so that readers are told the same.
    ///
    /// # Errors
    /// The file system refused.
    pub fn absent(&self, at_us: i64, until_us: i64, reason: Reason, detail: &str) -> Result<()> {
        self.store.writable()?;
        let detail = detail.chars().take(1000).collect();
        self.log(Event::Absent { at_us, until_us, reason, detail })
    }

    fn log(&self, event: Event) -> Result<()> {
        self.stream.log(&self.dir, event)?.sync_data()?;
        self.store.fs().sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e))
    }

    fn write(
        &self,
        segment: &Waiting,
        in_doubt: &mut BTreeSet<Target>,
        copied: &mut Copied,
    ) -> Result<()> {
        let (fs, head, target) = (&**self.store.fs(), &segment.head, segment.target());
        let start_us = target.day + i64::from(target.segment_ms) * 1000;
        let no = |what| Err(refused(head, head.first_sequence, what));
        if self.stream.recorded_here(head.run) {
            return no("this node recorded that run itself");
        }
        let of_day = self.stream.indexes_of(target.day)?;
        let index = of_day.iter().find(|i| i.run == head.run);
        if index.is_some_and(|i| i.epoch != head.epoch) {
            return no("its run is held with another epoch");
        }
        // The stream may have moved to another disk since.
        let dir = index.and_then(|i| i.path().ancestors().nth(2)).unwrap_or(&self.dir);
        if !self.stream.visible().shows_segment(dir, head.run, start_us) {
            copied.expired += segment.pieces.len() as u64;
            return Ok(());
        }
        let held = Held::read(fs, &target.path(dir), head, &segment.init)?;
        let plan = Plan::make(head, &segment.init, held.as_ref(), &segment.pieces)?;
        let Some(table) = plan.as_ref().map(|p| &p.table).or(held.as_ref().map(|h| &h.table))
        else {
            return Ok(());
        };
        let records = table.fragments.iter().map(|f| Record::of(f, target.segment_ms)).collect();
        let change = Change::plan(index.map(Arc::as_ref), head, target.segment_ms, records)?;
        if plan.is_none() && matches!(change, Change::None) {
            return Ok(());
        }
        in_doubt.insert(target);
        self.announce(dir, head, target, in_doubt)?;
        let day_dir = target.day_dir(dir);
        plan.as_ref().map_or(Ok(()), |p| p.prepare(fs, dir, target))?;
        change.prepare(fs, &self.stream, &day_dir, head, target)?;
        let grown = plan.as_ref().map_or(Ok(0), |p| p.commit(fs, dir, target))?;
        if let Err(e) = change.commit(fs, &self.stream, &day_dir, head, target) {
            if let Some(plan) = &plan {
                plan.undo(fs, dir, target);
            }
            return Err(e);
        }
        self.stream.wrote(dir, grown);
        for folder in [&day_dir, dir] {
            fs.sync_dir(folder).map_err(|e| Error::io("sync", folder, e))?;
        }
        in_doubt.remove(&target);
        for piece in plan.iter().flat_map(Plan::fresh) {
            copied.fragments += 1;
            copied.bytes += piece.bytes.len() as u64;
        }
        Ok(())
    }

    /// Before the first byte: what recovery must know if we do not come to the end.
    fn announce(
        &self,
        dir: &Path,
        head: &SegmentHead,
        target: Target,
        in_doubt: &BTreeSet<Target>,
    ) -> Result<()> {
        let fs = &**self.store.fs();
        if !self.stream.copied(head.run) {
            let at_us = head.wall_start_us;
            let run = head.run.to_string();
            self.log(Event::RunCopied { at_us, run, epoch: head.epoch })?;
        }
        let day_dir = target.day_dir(dir);
        fs.create_dir_all(&day_dir).map_err(|e| Error::io("create", &day_dir, e))?;
        // What else is noted is whole and durable by now.
        if !copying::read(fs, dir)?.is_superset(in_doubt) {
            copying::write(fs, dir, in_doubt)?;
        }
        Ok(())
    }
}
