//! How far everything is durable that was written of each run. After a power failure only what lies
//! behind need be read (`docs/on-disk-format.md`, "Durability and recovery").

use std::collections::BTreeMap;
use std::path::Path;

use super::recover::write_note;
use crate::fs::FileSystem;
use crate::ids::RunId;
use crate::segment::head::SegmentHead;
use crate::{Error, Result};

/// Its name, under the root.
const NOTE: &str = ".durable";
/// Two places are written to by turns: one is whole, wherever the power fails.
const PLACE: usize = 64 << 10;
const HEADER: usize = 12;
const ENTRY: usize = 24;
/// What a disk writes at once.
const BLOCK: u64 = 4096;
/// So many runs fit.
pub(crate) const MOST: usize = (PLACE - HEADER - 4) / ENTRY;

/// Of a run: all segments before one are durable, and that one up to a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Sequence of that segment's first fragment.
    pub first_sequence: u32,
    /// Where its last durable fragment ends.
    pub len: u32,
}

/// Of the runs that were written to under a root lately. Nothing is known of others.
pub(crate) type Marks = BTreeMap<RunId, Mark>;

/// Up to where a segment is known to be durable. `sealed`: its footer says where its fragments lie,
/// and is its own.
pub(super) fn durable_len(marks: &Marks, head: &SegmentHead, sealed: bool) -> u64 {
    match marks.get(&head.run) {
        // The block in which it ended was written again with what came behind.
        Some(mark) if head.first_sequence == mark.first_sequence => {
            u64::from(mark.len) / BLOCK * BLOCK
        }
        // Without its footer nobody knows where what was written of it ended.
        Some(mark) if head.first_sequence < mark.first_sequence && sealed => u64::MAX,
        _ => 0,
    }
}

fn encode(generation: u64, marks: &Marks) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + marks.len() * ENTRY + 4);
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&u32::try_from(marks.len()).unwrap_or(0).to_le_bytes());
    for (run, mark) in marks {
        out.extend_from_slice(run.0.as_bytes());
        out.extend_from_slice(&mark.first_sequence.to_le_bytes());
        out.extend_from_slice(&mark.len.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode(place: &[u8]) -> Option<(u64, Marks)> {
    let generation = u64::from_le_bytes(*place.first_chunk()?);
    let count = u32::from_le_bytes(*place.get(8..)?.first_chunk()?) as usize;
    if count > MOST {
        return None;
    }
    let end = HEADER + count * ENTRY;
    let crc = u32::from_le_bytes(*place.get(end..)?.first_chunk()?);
    if crc32c::crc32c(&place[..end]) != crc {
        return None;
    }
    let number = |bytes: &[u8]| Some(u32::from_le_bytes(*bytes.first_chunk()?));
    let entry = |e: &[u8]| {
        let run = RunId(uuid::Uuid::from_bytes(*e.first_chunk()?));
        Some((run, Mark { first_sequence: number(&e[16..])?, len: number(&e[20..])? }))
    };
    let marks: Option<Marks> = place[HEADER..end].chunks_exact(ENTRY).map(entry).collect();
    Some((generation, marks?))
}

/// What is noted under a root, and as which number. Empty: nothing, or nothing that can be read.
pub(crate) fn read(fs: &dyn FileSystem, root: &Path) -> (u64, Marks) {
    let place = |number: u64| {
        let mut bytes = vec![0; PLACE];
        let n = fs.open(&root.join(NOTE)).ok()?.read_at(&mut bytes, number * PLACE as u64).ok()?;
        decode(&bytes[..n])
    };
    let places = [place(0), place(1)].into_iter().flatten();
    places.max_by_key(|(generation, _)| *generation).unwrap_or_default()
}

/// Notes marks durably, as the number behind the one that was noted last.
pub(crate) fn write(
    fs: &dyn FileSystem,
    root: &Path,
    generation: u64,
    marks: &Marks,
) -> Result<()> {
    if marks.len() > MOST {
        return Err(Error::Invalid("too many runs are marked as durable".to_owned()));
    }
    let path = root.join(NOTE);
    let new = fs.open(&path).is_err();
    let file = write_note(fs, &path, &[])?;
    if new {
        fs.sync_dir(root).map_err(|e| Error::io("sync", root, e))?;
    }
    file.write_all_at(&encode(generation, marks), generation % 2 * PLACE as u64)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fs::sim::SimFs;
    use crate::record::tests::roots;

    fn marks(n: u32) -> Marks {
        (0..n)
            .map(|i| {
                let run = RunId(uuid::Uuid::from_u128(u128::from(i) << 70 | u128::from(n)));
                (run, Mark { first_sequence: i, len: i * 7 })
            })
            .collect()
    }

    /// Wherever the power fails while they are noted, the marks before or the new ones are read.
    #[test]
    fn one_of_two_places_is_always_whole() {
        let (fs, root) = (SimFs::default(), &roots()[0]);
        fs.create_dir_all(root).unwrap();
        assert_eq!(read(&fs, root), (0, Marks::new()));
        write(&fs, root, 1, &marks(300)).unwrap();
        fs.sync_dir(root).unwrap();
        fs.sync_dir(root.parent().unwrap()).unwrap();
        for generation in 2..9u64 {
            let (n, before) = (generation as u32 * 100, read(&fs, root));
            let start = fs.changes();
            let again = fs.after_kill();
            write(&again, root, generation, &marks(n)).unwrap();
            for seed in 0..10 {
                for changes in start..again.changes() {
                    let fs = fs.after_kill();
                    fs.remember_after(changes);
                    write(&fs, root, generation, &marks(n)).unwrap();
                    let read = read(&fs.remembered().after_power_failure(seed), root);
                    assert!(read == before || read == (generation, marks(n)), "{read:?}");
                }
            }
            write(&fs, root, generation, &marks(n)).unwrap();
            assert_eq!(read(&fs.after_power_failure(1), root), (generation, marks(n)));
        }
        write(&fs, root, 9, &marks(MOST as u32)).unwrap();
        assert_eq!(read(&fs, root), (9, marks(MOST as u32)));
        write(&fs, root, 10, &marks(MOST as u32 + 1)).unwrap_err();
    }

    proptest! {
        /// Whatever is on the disk: no panic, and nothing but what could have been noted.
        #[test]
        fn what_is_read_is_what_would_be_written(
            mut place in prop::collection::vec(any::<u8>(), 0..400),
            count in 0..20u32,
            checksum in any::<bool>(),
        ) {
            let end = HEADER + count as usize * ENTRY;
            let whole = checksum && end + 4 <= place.len();
            if whole {
                place[8..HEADER].copy_from_slice(&count.to_le_bytes());
                let crc = crc32c::crc32c(&place[..end]);
                place[end..end + 4].copy_from_slice(&crc.to_le_bytes());
            }
            if let Some((generation, marks)) = decode(&place) {
                // Two of one run, which nobody writes, are one.
                if marks.len() == count as usize {
                    let again = decode(&encode(generation, &marks));
                    prop_assert_eq!(again, Some((generation, marks)));
                }
            } else {
                prop_assert!(!whole);
            }
        }
    }
}
