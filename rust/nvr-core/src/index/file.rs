//! An index file: a header of 64 bytes, then records. Read with `pread`, never mapped: an I/O
//! error on a mapped page would end the whole node (SIGBUS).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::known::{Known, Mark, Place};
use super::quick::Ends;
use super::record::{RECORD_LEN, Record};
use super::search::{Found, search};
use crate::fs::{FileSystem, Named, ReadFile};
use crate::ids::{RunId, StreamId, StreamKind};
use crate::{Error, Result};

/// Bytes before the first record.
pub const HEADER_LEN: u64 = 64;
const MAGIC: &[u8; 8] = b"NVRINDX1";
/// Records that are read at once by who goes on to the next ones: 4 KiB and a bit.
const BLOCK_RECORDS: u64 = 85;

fn header(
    stream: StreamId,
    run: RunId,
    epoch: u32,
    day_start_us: i64,
) -> [u8; HEADER_LEN as usize] {
    let mut out = [0; HEADER_LEN as usize];
    out[0..8].copy_from_slice(MAGIC);
    out[8..24].copy_from_slice(stream.camera.0.as_bytes());
    out[24..40].copy_from_slice(run.0.as_bytes());
    out[40..44].copy_from_slice(&epoch.to_le_bytes());
    out[44] = u8::from(stream.kind == StreamKind::Sub);
    out[48..56].copy_from_slice(&day_start_us.to_le_bytes());
    let crc = crc32c::crc32c(&out[..60]);
    out[60..64].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Appends records.
#[derive(Debug)]
pub struct IndexWriter {
    file: Named,
    records: u64,
}

impl IndexWriter {
    /// Makes the index of a run's day, or goes on with it. A torn last record is overwritten.
    pub fn open(
        fs: &dyn FileSystem,
        path: &Path,
        stream: StreamId,
        run: RunId,
        epoch: u32,
        day_start_us: i64,
    ) -> Result<Self> {
        let named = |file| Named { file, path: path.to_owned() };
        let (file, len) = match fs.create_new(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let file = named(fs.open_rw(path).map_err(|e| Error::io("open", path, e))?);
                let len = file.size()?;
                (file, len)
            }
            created => (named(created.map_err(|e| Error::io("create", path, e))?), 0),
        };
        if len < HEADER_LEN
            && let Err(e) = file.write_all_at(&header(stream, run, epoch, day_start_us), 0)
        {
            // Half a header is damage to whoever reads; no file is an index without records.
            let _ = fs.remove_file(path);
            return Err(e);
        }
        Ok(IndexWriter { file, records: len.saturating_sub(HEADER_LEN) / RECORD_LEN as u64 })
    }

    /// Appends one record.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.file
            .write_all_at(&record.to_bytes(), HEADER_LEN + self.records * RECORD_LEN as u64)?;
        self.records += 1;
        Ok(())
    }

    /// Appends records by one write; what a failed one left behind is cut off.
    pub fn append_all(&mut self, records: &[Record]) -> Result<()> {
        let bytes: Vec<u8> = records.iter().flat_map(Record::to_bytes).collect();
        let at = HEADER_LEN + self.records * RECORD_LEN as u64;
        if let Err(e) = self.file.write_all_at(&bytes, at) {
            self.truncate(self.records)?;
            return Err(e);
        }
        self.records += records.len() as u64;
        Ok(())
    }

    /// Keeps only the first `records` records.
    pub fn truncate(&mut self, records: u64) -> Result<()> {
        let len = HEADER_LEN + records * RECORD_LEN as u64;
        self.file.file.set_len(len).map_err(|e| Error::io("truncate", &self.file.path, e))?;
        self.records = records;
        Ok(())
    }

    /// Cuts off what a failed write left behind.
    pub fn cut_torn(&mut self) -> Result<()> {
        self.truncate(self.records)
    }

    /// The file, to be synced.
    pub fn file(&self) -> &Named {
        &self.file
    }
}

/// Reads records. Cheap to keep open; sees records that are appended meanwhile.
///
/// A node with a month of footage has thousands of them, which no cache holds: what every seek needs
/// stands together at the beginning, beside the counts of its `Arc`.
#[derive(Debug)]
#[repr(C)]
pub struct IndexFile {
    file: ReadFile,
    known: Mutex<Known>,
    /// Midnight (UTC) of the day in which its segments start.
    pub day_start_us: i64,
    /// Its lease epoch.
    pub epoch: u32,
    /// The run.
    pub run: RunId,
    path: PathBuf,
    first: OnceLock<Record>,
    block: Mutex<Block>,
}

/// The block that was read last by who goes on from record to record.
#[derive(Debug, Default)]
struct Block {
    at: u64,
    bytes: Vec<u8>,
}

impl Block {
    fn record(&self, position: u64) -> Option<&[u8]> {
        let start = usize::try_from(position.checked_sub(self.at)?).ok()?;
        self.bytes.chunks_exact(RECORD_LEN).nth(start)
    }
}

impl IndexFile {
    /// Opens an index file and checks its header.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self> {
        let file = fs.open_read(path).map_err(|e| Error::io("open", path, e))?;
        // The first record comes with the header: it is asked for next, and a read costs a seek.
        let mut start = [0; HEADER_LEN as usize + RECORD_LEN];
        let n = file.read_at(&mut start, 0).map_err(|e| Error::io("read", path, e))?;
        let Some((h, record)) = start[..n].split_first_chunk::<{ HEADER_LEN as usize }>() else {
            return Err(Error::damaged(path, n as u64, "the file ends too early"));
        };
        let first = record.first_chunk::<RECORD_LEN>().and_then(Record::from_bytes);
        let crc = u32::from_le_bytes([h[60], h[61], h[62], h[63]]);
        if h[..8] != *MAGIC || crc32c::crc32c(&h[..60]) != crc {
            return Err(Error::damaged(
                path,
                0,
                "this is no index header; rebuild the store's index",
            ));
        }
        let mut day = [0; 8];
        day.copy_from_slice(&h[48..56]);
        let mut run = [0; 16];
        run.copy_from_slice(&h[24..40]);
        Ok(IndexFile {
            file,
            known: Mutex::default(),
            run: RunId(uuid::Uuid::from_bytes(run)),
            day_start_us: i64::from_le_bytes(day),
            epoch: u32::from_le_bytes([h[40], h[41], h[42], h[43]]),
            path: path.to_owned(),
            first: first.map_or_else(OnceLock::new, OnceLock::from),
            block: Mutex::default(),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many records there are now.
    pub fn count(&self) -> Result<u64> {
        let size = self.file.size().map_err(|e| Error::io("stat", &self.path, e))?;
        Ok(size.saturating_sub(HEADER_LEN) / RECORD_LEN as u64)
    }

    /// Whether there is a record at a position.
    pub fn has(&self, position: u64) -> Result<bool> {
        let known = self.known.lock().count;
        Ok(position < known || position < self.count()?)
    }

    /// What is known of it, if interpolation is enough to find what it has.
    pub(super) fn ends(&self) -> Ends {
        let known = self.known.lock();
        match self.file.number().filter(|_| known.count > 1 && known.is_even()) {
            Some(file) => {
                Ends { first_us: known.first_us, last_us: known.last_us, count: known.count, file }
            }
            None => Ends::NONE,
        }
    }

    /// Reads anew what is known of the ends.
    fn refresh(&self) -> Result<()> {
        let count = self.count()?;
        // None: it was emptied, which nothing does while it is open.
        if count > 0 && self.known.lock().count != count {
            let first_us = self.first_of(count)?.map_or(0, |record| record.wall_start_us);
            let last_us = self.one(count - 1)?.wall_start_us;
            self.known.lock().set_ends(count, first_us, last_us);
        }
        Ok(())
    }

    /// The first record; `None`: there is none yet.
    pub fn first(&self) -> Result<Option<Record>> {
        match self.first.get() {
            Some(first) => Ok(Some(*first)),
            None => self.first_of(self.count()?),
        }
    }

    fn first_of(&self, count: u64) -> Result<Option<Record>> {
        if count > 0 && self.first.get().is_none() {
            // Whoever was faster read the same.
            let _ = self.first.set(self.one(0)?);
        }
        Ok(self.first.get().copied())
    }

    /// The record at a position, and nothing that is kept: thousands of indexes are open.
    fn one(&self, position: u64) -> Result<Record> {
        let mut bytes = [0; RECORD_LEN];
        let n = self.read_records(&mut bytes, position)?;
        let record = Record::from_bytes(&bytes).filter(|_| n == RECORD_LEN);
        record.ok_or_else(|| self.damaged(position))
    }

    /// The record at a position; who goes on to the next ones has them from memory.
    pub fn get(&self, position: u64) -> Result<Record> {
        let mut block = self.block.lock();
        if block.record(position).is_none() {
            // Centred: who asks goes on to either side.
            let at = position.saturating_sub(BLOCK_RECORDS / 2);
            block.bytes.resize(BLOCK_RECORDS as usize * RECORD_LEN, 0);
            let n = self.read_records(&mut block.bytes, at);
            block.bytes.truncate(*n.as_ref().unwrap_or(&0));
            block.at = at;
            n?;
        }
        let bytes = block.record(position).and_then(<[u8]>::first_chunk::<RECORD_LEN>);
        bytes.and_then(Record::from_bytes).ok_or_else(|| self.damaged(position))
    }

    /// Reads records from a position on; how many bytes.
    pub(super) fn read_records(&self, bytes: &mut [u8], position: u64) -> Result<usize> {
        let offset = HEADER_LEN + position * RECORD_LEN as u64;
        self.file.read_at(bytes, offset).map_err(|e| Error::io("read", &self.path, e))
    }

    /// A record is not there, or not as it was written.
    pub(super) fn damaged(&self, position: u64) -> Error {
        let offset = HEADER_LEN + position * RECORD_LEN as u64;
        Error::damaged(&self.path, offset, "a damaged index record; rebuild the store's index")
    }

    /// The last record that starts at or before an instant, with the one behind it; `None`: all are
    /// later.
    pub fn find(&self, at_us: i64) -> Result<Option<Found>> {
        let mut place = self.known.lock().place_of(at_us);
        if let Place::Last(_) | Place::Unknown = place {
            self.refresh()?;
            place = self.known.lock().place_of(at_us);
        }
        match place {
            Place::Before | Place::Unknown => Ok(None),
            Place::Last(position) => {
                Ok(Some(Found { position, record: self.one(position)?, next: None }))
            }
            Place::Between(low, high) => {
                let (found, reads) = search(self, low, high, at_us)?;
                if reads > 1 {
                    self.known.lock().learn(Mark::of(&found));
                }
                Ok(Some(found))
            }
        }
    }

    /// Position of the last record that starts at or before an instant; `None`: all are later.
    pub fn last_at_or_before(&self, at_us: i64) -> Result<Option<u64>> {
        Ok(self.find(at_us)?.map(|found| found.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::sim::{EIO, Fault, SimFs};
    use crate::ids::{CameraId, StreamKind};

    /// A reader would call the day damaged, and give nothing of it.
    #[test]
    fn half_a_header_does_not_stay() {
        let (fs, path) = (SimFs::default(), Path::new("/a.index"));
        let stream = StreamId { camera: CameraId(uuid::Uuid::nil()), kind: StreamKind::Main };
        let begin = || IndexWriter::open(&fs, path, stream, RunId(uuid::Uuid::nil()), 0, 0);
        for left_by_power_failure in [None, Some([7; 10])] {
            if let Some(left) = left_by_power_failure {
                fs.create_new(path).unwrap().write_all_at(&left, 0).unwrap();
            }
            fs.set_faults(vec![Fault { short: true, ..Fault::of("write", "/", EIO) }]);
            begin().unwrap_err();
            fs.set_faults(Vec::new());
            assert!(fs.files().is_empty());
        }
        begin().unwrap();
        assert_eq!(IndexFile::open(&fs, path).unwrap().count().unwrap(), 0);
    }
}
