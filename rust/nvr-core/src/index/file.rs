//! An index file: a header of 64 bytes, then records. Read with `pread`, never mapped: an I/O
//! error on a mapped page would end the whole node (SIGBUS).

use std::path::Path;

use parking_lot::Mutex;

use super::record::{RECORD_LEN, Record};
use crate::fs::{FileSystem, Named};
use crate::ids::{RunId, StreamId, StreamKind};
use crate::{Error, Result};

/// Bytes before the first record.
pub const HEADER_LEN: u64 = 64;
const MAGIC: &[u8; 8] = b"NVRINDX1";
/// Records that are read at once by who goes on to the next ones: 4 KiB and a bit.
const BLOCK_RECORDS: u64 = 85;
/// Records that a search reads around its guess, which is mostly off by one or two: 1 KiB, so that
/// a seek among gigabytes of records fetches few lines of memory.
const GUESS_RECORDS: u64 = 21;

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
        match fs.create_new(path) {
            Ok(file) => {
                let file = Named { file, path: path.to_owned() };
                file.write_all_at(&header(stream, run, epoch, day_start_us), 0)?;
                Ok(IndexWriter { file, records: 0 })
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let file = fs.open_rw(path).map_err(|e| Error::io("open", path, e))?;
                let file = Named { file, path: path.to_owned() };
                let len = file.size()?;
                if len < HEADER_LEN {
                    file.write_all_at(&header(stream, run, epoch, day_start_us), 0)?;
                }
                Ok(IndexWriter {
                    file,
                    records: len.saturating_sub(HEADER_LEN) / RECORD_LEN as u64,
                })
            }
            Err(e) => Err(Error::io("create", path, e)),
        }
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
#[derive(Debug)]
pub struct IndexFile {
    file: Named,
    /// The run.
    pub run: RunId,
    /// Its lease epoch.
    pub epoch: u32,
    /// Midnight (UTC) of the day in which its segments start.
    pub day_start_us: i64,
    known: Mutex<Option<Known>>,
    block: Mutex<Block>,
}

/// What was read of an index. Records are only ever appended while it is open, so it stays true:
/// an instant before the last one known needs no look at how long the file is by now.
#[derive(Clone, Copy, Debug)]
struct Known {
    count: u64,
    first: Record,
    last: Record,
}

/// The block read last: the next question is often about the same minutes.
#[derive(Debug, Default)]
struct Block {
    at: u64,
    bytes: Vec<u8>,
}

impl Block {
    fn records(&self) -> u64 {
        self.bytes.len() as u64 / RECORD_LEN as u64
    }
}

impl IndexFile {
    /// Opens an index file and checks its header.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self> {
        let file = fs.open(path).map_err(|e| Error::io("open", path, e))?;
        let file = Named { file, path: path.to_owned() };
        // The first records come with the header: they are asked for next, and a read costs a seek.
        let mut start = vec![0; HEADER_LEN as usize + BLOCK_RECORDS as usize * RECORD_LEN];
        let n = file.read_at(&mut start, 0)?;
        start.truncate(n);
        let Some((h, records)) = start.split_first_chunk::<{ HEADER_LEN as usize }>() else {
            return Err(Error::damaged(path, n as u64, "the file ends too early"));
        };
        let whole = records.len() / RECORD_LEN * RECORD_LEN;
        let block = Block { at: 0, bytes: records[..whole].to_vec() };
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
            run: RunId(uuid::Uuid::from_bytes(run)),
            epoch: u32::from_le_bytes([h[40], h[41], h[42], h[43]]),
            day_start_us: i64::from_le_bytes(day),
            known: Mutex::new(None),
            block: Mutex::new(block),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// How many records there are now.
    pub fn count(&self) -> Result<u64> {
        Ok(self.file.size()?.saturating_sub(HEADER_LEN) / RECORD_LEN as u64)
    }

    /// Whether there is a record at a position.
    pub fn has(&self, position: u64) -> Result<bool> {
        let known = *self.known.lock();
        Ok(known.is_some_and(|k| position < k.count) || position < self.count()?)
    }

    /// The ends of the index, read anew only if an instant is not before the last one known.
    fn known(&self, at_us: i64) -> Result<Option<Known>> {
        let before = *self.known.lock();
        if let Some(known) = before
            && at_us < known.last.wall_start_us
        {
            return Ok(before);
        }
        let count = self.count()?;
        if count == 0 || before.is_some_and(|k| k.count == count) {
            return Ok(before);
        }
        let first = match before {
            Some(known) => known.first,
            None => self.get(0)?,
        };
        let now = Some(Known { count, first, last: self.get(count - 1)? });
        *self.known.lock() = now;
        Ok(now)
    }

    /// The first record; `None`: there is none yet.
    pub fn first(&self) -> Result<Option<Record>> {
        // No instant is before this one, so that nothing is read anew once the first is known.
        Ok(self.known(i64::MIN)?.map(|known| known.first))
    }

    /// The record at a position.
    pub fn get(&self, position: u64) -> Result<Record> {
        let mut block = self.block.lock();
        self.load(&mut block, position, BLOCK_RECORDS)?;
        self.record(&block, position)
    }

    /// Reads so many records around a position, unless it is in the block that is held.
    fn load(&self, block: &mut Block, position: u64, records: u64) -> Result<()> {
        if (block.at..block.at + block.records()).contains(&position) {
            return Ok(());
        }
        // Centred: interpolation lands near what it looks for, on either side.
        let at = position.saturating_sub(records / 2);
        block.bytes.resize(records as usize * RECORD_LEN, 0);
        let n = self.file.read_at(&mut block.bytes, HEADER_LEN + at * RECORD_LEN as u64);
        block.bytes.truncate(n.as_ref().map_or(0, |n| n / RECORD_LEN * RECORD_LEN));
        block.at = at;
        n.map(|_| ())
    }

    /// A record of the block that is held.
    fn record(&self, block: &Block, position: u64) -> Result<Record> {
        let start =
            usize::try_from(position - block.at).unwrap_or(usize::MAX).saturating_mul(RECORD_LEN);
        let bytes = block.bytes.get(start..).and_then(|b| b.first_chunk::<RECORD_LEN>());
        bytes.and_then(Record::from_bytes).ok_or_else(|| {
            let offset = HEADER_LEN + position * RECORD_LEN as u64;
            Error::damaged(
                &self.file.path,
                offset,
                "a damaged index record; rebuild the store's index",
            )
        })
    }

    /// Position of the last record that starts at or before an instant; `None`: all are later.
    /// Interpolates first (records are nearly evenly spaced), and halves when that does not
    /// close in, so that the worst case stays logarithmic.
    pub fn last_at_or_before(&self, at_us: i64) -> Result<Option<u64>> {
        let Some(Known { count, first, last }) = self.known(at_us)? else { return Ok(None) };
        let (mut low, mut low_us) = (0, first.wall_start_us);
        let (mut high, mut high_us) = (count - 1, last.wall_start_us);
        if at_us < low_us {
            return Ok(None);
        }
        if at_us >= high_us {
            return Ok(Some(high));
        }
        // Invariant: record `low` starts at or before the instant, record `high` after it.
        let mut block = self.block.lock();
        let mut halve = false;
        while high - low > 1 {
            let guess = if halve {
                low + (high - low) / 2
            } else {
                let (at, start, end) = (i128::from(at_us), i128::from(low_us), i128::from(high_us));
                let step = (at - start) * i128::from(high - low) / (end - start).max(1);
                low + u64::try_from(step).unwrap_or(0)
            }
            .clamp(low + 1, high - 1);
            let width = high - low;
            self.load(&mut block, guess, GUESS_RECORDS)?;
            // An error where the file has become shorter, which nothing does while it is open.
            self.record(&block, guess)?;
            // What lies in the block that was read for the guess costs nothing more to look at.
            let (mut first, mut end) = (block.at.max(low), (block.at + block.records()).min(high));
            while first < end {
                let middle = first + (end - first) / 2;
                let start_us = self.record(&block, middle)?.wall_start_us;
                if start_us <= at_us {
                    (low, low_us) = (middle, start_us);
                    first = middle + 1;
                } else {
                    (high, high_us) = (middle, start_us);
                    end = middle;
                }
            }
            halve = high - low > width / 2;
        }
        Ok(Some(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;
    use crate::ids::CameraId;
    use proptest::prelude::*;

    fn record(wall_start_us: i64, sequence: u32) -> Record {
        Record {
            wall_start_us,
            duration_us: 1,
            segment_ms: 0,
            offset: 0,
            length: 0,
            random_access: true,
            leading: false,
            pictures: 1,
            random_access_distance: 0,
            activity_bytes: 0,
            camera_clock_offset_ms: 0,
            sequence,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn search_finds_what_a_scan_finds(
            steps in proptest::collection::vec(prop_oneof![1i64..3_000_000, Just(1), 1i64..1_000_000_000], 1..400),
            asked in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.index");
            let stream = StreamId { camera: CameraId(uuid::Uuid::nil()), kind: StreamKind::Main };
            let run = RunId(uuid::Uuid::nil());
            let mut writer = IndexWriter::open(&RealFs, &path, stream, run, 3, 0).unwrap();
            let mut starts = Vec::new();
            let mut at = 1000;
            for (i, step) in steps.iter().enumerate() {
                at += step;
                starts.push(at);
                writer.append(&record(at, u32::try_from(i).unwrap())).unwrap();
            }
            let index = IndexFile::open(&RealFs, &path).unwrap();
            prop_assert_eq!(index.epoch, 3);
            let mut questions = vec![0, 999, starts[0] - 1, starts[0], at, at + 1, i64::MAX];
            for i in &asked {
                let s = *i.get(&starts);
                questions.extend([s - 1, s, s + 1]);
            }
            for q in questions {
                let expected = starts.iter().rposition(|&s| s <= q).map(|i| i as u64);
                prop_assert_eq!(index.last_at_or_before(q).unwrap(), expected);
            }
        }
    }
}
