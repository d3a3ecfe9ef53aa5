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
    index: Option<(RunId, i64, IndexWriter)>,
}

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
        Ok(SegmentWriter { fs, stream, dir, open: None, index: None })
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
        if self.index.as_ref().is_none_or(|(run, d, _)| (*run, *d) != (head.run, day)) {
            match self.stream.index_writer(&self.dir, head.run, head.epoch, day) {
                Ok(index) => self.index = Some((head.run, day, index)),
                Err(e) => {
                    // What cannot be found is not begun.
                    self.index = None;
                    if let Err(again) = self.fs.remove_file(&path) {
                        log::warn!(target: "nvr.store", "{} stays empty until the next start: {again}", path.display());
                    }
                    return Err(e);
                }
            }
        }
        let table = head.empty_table();
        self.open = Some(Open {
            file: Named { file, path },
            head: head.clone(),
            segment_ms,
            len: 0,
            table: Arc::new(RwLock::new(table)),
        });
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
            // What was written of it is torn. Sealing cuts it off, if the disk still lets us.
            let undone = if open.len == 0 { self.discard() } else { self.seal(dirty).map(drop) };
            if let Err(again) = undone {
                log::warn!(target: "nvr.store", "a segment stays without its footer until the next start: {again}");
            }
            return Err(e);
        }
        let at = u32::try_from(open.len).unwrap_or(u32::MAX) + muxed.head_len;
        let mut entry = muxed.entry;
        {
            let mut table = open.table.write();
            place(&table, &mut entry, at);
            table.fragments.push(entry);
            table.video_samples.extend_from_slice(&muxed.video_samples);
            table.audio_samples.extend_from_slice(&muxed.audio_samples);
            table.metadata_samples.extend_from_slice(&muxed.metadata_samples);
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
        let first = self.open.as_ref().is_some_and(|o| o.len == 0);
        let undone = if first { self.discard() } else { self.seal(dirty).map(drop) };
        if let Err(again) = undone {
            log::warn!(target: "nvr.store", "a segment stays without its footer until the next start: {again}");
        }
        if let Some((_, _, index)) = &mut self.index
            && let Err(again) = index.cut_torn()
        {
            log::warn!(target: "nvr.store", "a torn index record stays until the next one: {again}");
        }
    }

    /// Removes the open segment, in which nothing could be written.
    fn discard(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let path = &open.file.path;
        self.stream.close_segment(path);
        self.fs.remove_file(path).map_err(|e| Error::io("remove", path, e))
    }

    /// Gives the open segment its footer; how many bytes that took.
    pub(super) fn seal(&mut self, dirty: &Dirty) -> Result<u64> {
        let Some(open) = self.open.take() else { return Ok(0) };
        self.stream.close_segment(&open.file.path);
        let table = open.table.read();
        let footer = write_footer(&open.head, &table);
        dirty.add(&open.file);
        let cut = |e| Error::io("truncate", &open.file.path, e);
        if open.file.size()? > open.len {
            open.file.file.set_len(open.len).map_err(cut)?;
        }
        if let Err(e) = open.file.write_all_at(&footer, open.len) {
            // A torn footer would hide whole fragments.
            open.file.file.set_len(open.len).map_err(cut)?;
            return Err(e);
        }
        Ok(footer.len() as u64)
    }
}
