//! The disk thread's side of one stream: segment files, their footers and index records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::dirty::Dirty;
use crate::fs::{File, FileSystem, Named};
use crate::ids::RunId;
use crate::index::{IndexWriter, Record};
use crate::mux::Muxed;
use crate::segment::footer::write_footer;
use crate::segment::head::SegmentHead;
use crate::segment::scan::place;
use crate::store::layout::{day_name, segment_name};
use crate::store::marks::Mark;
use crate::store::{OpenSegment, StreamStore};
use crate::table::SegmentTable;
use crate::time::day_start_us;
use crate::{Error, Result};

/// Writes one stream's fragments.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    fs: Arc<dyn FileSystem>,
    stream: Arc<StreamStore>,
    /// The stream's folder.
    pub dir: PathBuf,
    open: Option<Open>,
    /// Segments that the disk did not let us end.
    unended: Vec<Open>,
    index: Option<(RunId, i64, IndexWriter)>,
}

/// More do not wait: the next start ends them.
const MAX_UNENDED: usize = 100;

#[derive(Debug)]
struct Open {
    file: Named,
    head: SegmentHead,
    segment_ms: u32,
    len: u64,
    table: Arc<RwLock<SegmentTable>>,
}

impl SegmentWriter {
    pub(super) fn new(
        fs: Arc<dyn FileSystem>,
        stream: Arc<StreamStore>,
        root: &Path,
    ) -> Result<Self> {
        let dir = stream.dir_under(root)?;
        Ok(SegmentWriter { fs, stream, dir, open: None, unended: Vec::new(), index: None })
    }

    /// Whose.
    pub(super) fn stream(&self) -> &StreamStore {
        &self.stream
    }

    /// Appends a fragment; how many bytes were written. After an error the segment is closed, and
    /// only a fragment that begins a new one can be written.
    pub(super) fn write(&mut self, muxed: &Muxed, dirty: &Dirty) -> Result<u64> {
        if let Some(head) = &muxed.new_segment {
            let sealed = self.seal(dirty)?;
            self.begin(head, dirty)?;
            return Ok(sealed + self.append(muxed, dirty)?);
        }
        self.append(muxed, dirty)
    }

    fn begin(&mut self, head: &SegmentHead, dirty: &Dirty) -> Result<()> {
        let day = day_start_us(head.wall_start_us);
        let day_dir = self.dir.join(day_name(day));
        if let Some(root) = self.dir.ancestors().nth(2) {
            dirty.begins(&*self.fs, root, head.wall_start_us);
        }
        self.stream.begin_segment(head.wall_start_us);
        self.fs.create_dir_all(&day_dir).map_err(|e| Error::io("create", &day_dir, e))?;
        let (segment_ms, path, file) = self.create(head, day, &day_dir)?;
        dirty.add_dir(&self.dir);
        dirty.add_dir(&day_dir);
        let table = head.empty_table();
        self.open = Some(Open {
            file: Named { file, path },
            head: head.clone(),
            segment_ms,
            len: 0,
            table: Arc::new(RwLock::new(table)),
        });
        if self.index.as_ref().is_none_or(|(run, d, _)| (*run, *d) != (head.run, day)) {
            match self.stream.index_writer(&self.dir, head.run, head.epoch, day) {
                Ok(index) => {
                    // Its header, too, has to last, whatever becomes of the first record.
                    dirty.add(index.file());
                    self.index = Some((head.run, day, index));
                }
                Err(e) => {
                    // What cannot be found is not begun.
                    self.index = None;
                    self.stream.index_unbegun(&self.dir, head.run, day);
                    self.give_up(dirty);
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Makes the segment's file. Its name is the millisecond in which it starts, or the next that
    /// is free.
    fn create(
        &self,
        head: &SegmentHead,
        day: i64,
        day_dir: &Path,
    ) -> Result<(u32, PathBuf, Arc<dyn File>)> {
        let mut segment_ms = u32::try_from((head.wall_start_us - day) / 1000).unwrap_or(0);
        loop {
            let path = day_dir.join(segment_name(segment_ms, head.run));
            match self.fs.create_new(&path) {
                Ok(file) => return Ok((segment_ms, path, file)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => segment_ms += 1,
                Err(e) => return Err(Error::io("create", &path, e)),
            }
        }
    }

    fn append(&mut self, muxed: &Muxed, dirty: &Dirty) -> Result<u64> {
        let Some(open) = &mut self.open else { return Err(Error::Closed("the segment")) };
        if let Err(e) = open.file.write_pieces_at(&muxed.pieces, open.len) {
            // What was written of it is torn.
            self.give_up(dirty);
            return Err(e);
        }
        let at = u32::try_from(open.len).unwrap_or(u32::MAX) + muxed.head_len;
        let mut entry = muxed.entry;
        {
            let mut table = open.table.write();
            place(&table, &mut entry, at);
            append_to(&mut table.fragments, &[entry]);
            append_to(&mut table.video_samples, &muxed.video_samples);
            append_to(&mut table.audio_samples, &muxed.audio_samples);
            append_to(&mut table.metadata_samples, &muxed.metadata_samples);
        }
        dirty.add(&open.file);
        if muxed.new_segment.is_some() {
            let shown = OpenSegment { file: open.file.clone(), table: open.table.clone() };
            self.stream.set_open_segment(shown);
        }
        // Last: what the index names can be read.
        if let Some((_, _, index)) = &mut self.index {
            if let Err(e) = index.append(&Record::of(&entry, open.segment_ms)) {
                self.take_back(muxed, dirty);
                // It may be open on a disk that is another one by now.
                self.index = None;
                return Err(e);
            }
            dirty.add(index.file());
        }
        self.stream.set_written(entry.wall_start_us + i64::from(entry.duration_us));
        open.len += muxed.byte_count() as u64;
        let len = u32::try_from(open.len).unwrap_or(0);
        let mark = Mark { first_sequence: open.head.first_sequence, len };
        dirty.wrote(open.head.run, mark);
        Ok(muxed.byte_count() as u64)
    }

    /// A fragment that the index cannot name is not there: the segment ends before it.
    fn take_back(&mut self, muxed: &Muxed, dirty: &Dirty) {
        if let Some(open) = &mut self.open {
            let mut table = open.table.write();
            table.fragments.pop();
            let pictures = table.video_samples.len() - muxed.video_samples.len();
            table.video_samples.truncate(pictures);
            let sound = table.audio_samples.len() - muxed.audio_samples.len();
            table.audio_samples.truncate(sound);
            let documents = table.metadata_samples.len() - muxed.metadata_samples.len();
            table.metadata_samples.truncate(documents);
        }
        self.give_up(dirty);
        if let Some((_, _, index)) = &mut self.index
            && let Err(again) = index.cut_torn()
        {
            log::warn!(target: "nvr.store", "a torn index record stays until the next one: {again}");
        }
    }

    /// Ends the open segment before what could not be written, if the disk still lets us.
    fn give_up(&mut self, dirty: &Dirty) {
        if let Err(again) = self.seal(dirty) {
            log::warn!(target: "nvr.store", "a segment is not ended before the disk takes it: {again}");
        }
    }

    /// Gives the open segment its footer; how many bytes that took.
    pub(super) fn seal(&mut self, dirty: &Dirty) -> Result<u64> {
        let Some(open) = self.open.take() else { return Ok(0) };
        self.stream.close_segment(&open.file.path);
        let ended = open.end(&*self.fs, dirty);
        if ended.is_err() && self.unended.len() < MAX_UNENDED {
            self.unended.push(open);
        }
        ended
    }

    /// Goes on with none of its files: somebody else puts them right.
    pub(super) fn let_go(&mut self) {
        if let Some(open) = self.open.take() {
            self.stream.close_segment(&open.file.path);
        }
        self.unended.clear();
        self.index = None;
    }

    /// Whether there are segments that the disk did not let us end.
    pub(super) fn has_unended(&self) -> bool {
        !self.unended.is_empty()
    }

    /// Tries again to end them: what is behind their last fragment is in no index, and without a footer
    /// each look at them is a scan.
    pub(super) fn end_again(&mut self, dirty: &Dirty) {
        if self.has_unended() {
            self.unended.retain(|open| open.end(&*self.fs, dirty).is_err());
            self.stream.miscounted(&self.dir);
        }
    }
}

impl Open {
    /// Cuts off what is behind its last fragment and gives it its footer; how many bytes that took. One
    /// without a fragment is removed.
    fn end(&self, fs: &dyn FileSystem, dirty: &Dirty) -> Result<u64> {
        let Named { file, path } = &self.file;
        if self.len == 0 {
            return match fs.remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io("remove", path, e))
                }
                _ => Ok(0),
            };
        }
        let footer = write_footer(&self.head, &self.table.read());
        dirty.add(&self.file);
        let cut = |e| Error::io("truncate", path, e);
        if self.file.size()? > self.len {
            file.set_len(self.len).map_err(cut)?;
        }
        if let Err(e) = self.file.write_all_at(&footer, self.len) {
            // A torn footer would hide whole fragments.
            file.set_len(self.len).map_err(cut)?;
            return Err(e);
        }
        // A pass may have taken it in between.
        dirty.add(&self.file);
        Ok(footer.len() as u64)
    }
}

/// Grows by an eighth and not by doubling: there is a table in memory for each stream, and it is
/// written to once in seconds.
fn append_to<T: Copy>(all: &mut Vec<T>, more: &[T]) {
    if all.capacity() - all.len() < more.len() {
        all.reserve_exact(more.len().max(all.len() / 8));
    }
    all.extend_from_slice(more);
}
