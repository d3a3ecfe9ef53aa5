//! A segment file, from a disk: head, fragments, footer, recovery's scan, and what readers do with
//! the tables.

use std::sync::Arc;

use nvr_core::clip::SegmentRef;
use nvr_core::ids::RunId;
use nvr_core::index::Record;
use nvr_core::segment::footer::{parse_footer, write_footer};
use nvr_core::segment::read::{init_segment, read_footer, read_segment, read_whole_segment};
use nvr_core::segment::scan::{Trust, scan};
use nvr_core::table::SegmentTable;

use super::choice;
use crate::memory::MemoryFile;
use crate::{asking, mend};

/// First byte: odd, checksums are made right.
pub fn run(data: &[u8]) {
    let (how, rest) = choice(data);
    let mut bytes = rest.to_vec();
    if how & 1 == 1 {
        mend::segment(&mut bytes);
    }
    let len = bytes.len() as u64;
    let file = MemoryFile::new(bytes);
    let named = file.named();
    let footer = read_footer(&named).ok().flatten();
    let run = footer.as_ref().map_or(RunId(uuid::Uuid::nil()), |(head, _)| head.run);
    let _ = init_segment(&named, run);
    if let Some((head, table)) = footer {
        let again = parse_footer(&write_footer(&head, &table)).expect("what was read is written");
        assert_eq!(again, (head, table));
    }
    for trust in [Trust::Nothing, Trust::Behind(len / 2), Trust::PageCache] {
        let before = file.bytes_read();
        if let Ok(Some(found)) = scan(&named, trust) {
            assert!(found.good_len <= len && found.head_len <= found.good_len);
            let footer = write_footer(&found.head, &found.table);
            let (_, again) = parse_footer(&footer).expect("a footer of what a scan found");
            assert_eq!(again, found.table);
        }
        let read = file.bytes_read() - before;
        // A look at every byte or two, and a search that does not begin again at each byte.
        assert!(read <= 64 * (len + (1 << 20)), "a scan of {len} bytes reads {read}");
    }
    let _ = read_whole_segment(&named);
    let run = read_footer(&named).ok().flatten().map(|(head, _)| head.run);
    if let Ok(Some(segment)) = read_segment(&named, run.unwrap_or(RunId(uuid::Uuid::nil()))) {
        use_table(named, segment.head.stream, segment.table);
    }
}

fn use_table(file: nvr_core::fs::Named, stream: nvr_core::ids::StreamId, table: SegmentTable) {
    for fragment in &table.fragments {
        let _ = Record::of(fragment, 0).wall_end_us();
        let _ = table.start_pts_90k(fragment);
    }
    let at_us = table.fragments.first().map_or(0, |f| f.wall_start_us);
    let last_us = table.fragments.last().map_or(0, |f| f.wall_start_us);
    let segments = [SegmentRef { file: Arc::new(file), table: Arc::new(table) }];
    for (from, until) in [
        (at_us, at_us.saturating_add(60_000_000)),
        (at_us.saturating_add(300_000), last_us.saturating_add(300_000)),
        (i64::MIN / 4, i64::MAX / 4),
    ] {
        asking::clips(stream, &segments, from, until);
    }
}
