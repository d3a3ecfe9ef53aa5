//! An index, from a disk.

use std::path::Path;

use nvr_core::index::IndexFile;

use super::choice;
use crate::memory::{MemoryFile, MemoryFs, PATH};
use crate::mend;

/// First byte: odd, checksums are made right; then eight bytes: an instant to look for.
pub fn run(data: &[u8]) {
    let (how, rest) = choice(data);
    let Some((asked, rest)) = rest.split_first_chunk::<8>() else { return };
    let mut bytes = rest.to_vec();
    if how & 1 == 1 {
        if let Some(magic) = bytes.first_chunk_mut::<8>() {
            magic.copy_from_slice(b"NVRINDX1");
        }
        mend::index(&mut bytes);
    }
    let file = MemoryFile::new(bytes);
    let Ok(index) = IndexFile::open(&MemoryFs(file.clone()), Path::new(PATH)) else { return };
    let count = index.count().unwrap_or(0);
    for position in (0..count).chain([count, u64::MAX / 64]) {
        if let Ok(record) = index.get(position) {
            assert_eq!(nvr_core::index::Record::from_bytes(&record.to_bytes()), Some(record));
            let _ = record.wall_end_us();
        }
        let _ = index.has(position);
    }
    let _ = index.first();
    for at_us in [i64::from_le_bytes(*asked), i64::MIN, 0, i64::MAX] {
        let before = file.bytes_read();
        let found = index.last_at_or_before(at_us);
        assert!(file.bytes_read() - before <= 80 * 4096, "a search reads too much");
        if let Ok(Some(position)) = found {
            assert!(position < count);
        }
    }
}
