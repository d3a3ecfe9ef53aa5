//! What a camera can make a recorder read again and again.

#![allow(clippy::unwrap_used)]

use nvr_core::segment::fragment::INFO_UUID;
use nvr_core::segment::scan::{Trust, scan};
use nvr_fuzz::memory::MemoryFile;
use nvr_fuzz::seeds;

/// A power failure tears a fragment whose pictures are full of what looks like fragments, each of
/// which claims all that follows. Recovery reads the file some times over, not once for each of them, and
/// still finds what lies behind.
#[test]
fn boxes_in_a_torn_fragment_do_not_multiply_what_recovery_reads() {
    let [before, behind] = seeds::open_segment_in_two();
    let fakes = 100_000;
    let len = before.len() + 32 * fakes + behind.len();
    let mut bytes = before;
    for _ in 0..fakes {
        let claimed = (len - bytes.len()) as u32;
        bytes.extend(128u32.to_be_bytes());
        bytes.extend(b"uuid");
        bytes.extend(INFO_UUID);
        bytes.extend([0; 4]);
        bytes.extend(claimed.to_be_bytes());
    }
    bytes.extend(behind);
    for trust in [Trust::Nothing, Trust::Behind(len as u64 / 2), Trust::PageCache] {
        let file = MemoryFile::new(bytes.clone());
        let found = scan(&file.named(), trust).unwrap().unwrap();
        let sequences: Vec<_> = found.table.fragments.iter().map(|f| f.sequence).collect();
        assert_eq!(sequences, [0, 1, 2]);
        assert!(file.bytes_read() < 64 * len as u64, "{} bytes", file.bytes_read());
    }
}

/// What looks like a fragment, but for its CRC, is none: not even where the page cache is trusted.
#[test]
fn a_fragment_behind_a_torn_one_must_hold_its_crc() {
    let [mut bytes, behind] = seeds::open_segment_in_two();
    bytes.extend([0; 50]);
    let at = bytes.len();
    bytes.extend(behind);
    // Bytes of the first one's pictures.
    bytes[at + 400] ^= 1;
    let file = MemoryFile::new(bytes);
    let found = scan(&file.named(), Trust::PageCache).unwrap().unwrap();
    let sequences: Vec<_> = found.table.fragments.iter().map(|f| f.sequence).collect();
    assert_eq!(sequences, [0, 2]);
}
