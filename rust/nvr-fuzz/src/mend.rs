//! Makes checksums and digests right, so that what lies behind them is reached: a fuzzer does not
//! guess a CRC, but a disk of another node may well hold one.

use nvr_core::index::record::RECORD_LEN;
use nvr_core::segment::digest::{TrackOf, track_digest};
use nvr_core::segment::footer::{TRAILER_LEN, footer_len};
use nvr_core::segment::fragment::{CRC_FROM, INFO_UUID, parse_fragment, peek_length};
use nvr_core::segment::head::HEADER_UUID;

/// Of all our boxes in a segment, as far as they can be made out.
pub fn segment(bytes: &mut [u8]) {
    for at in positions(bytes, &HEADER_UUID) {
        let size = at.checked_sub(8).and_then(|start| u32_at(bytes, start)).unwrap_or(0) as usize;
        let (from, end) = (at + 16, (at + size).saturating_sub(8));
        if size >= 28 && end <= bytes.len() {
            let crc = crc32c::crc32c(&bytes[from..end - 4]);
            bytes[end - 4..end].copy_from_slice(&crc.to_be_bytes());
        }
    }
    for at in positions(bytes, &INFO_UUID) {
        if at < 8 {
            continue;
        }
        let start = at - 8;
        let end = peek_length(&bytes[start..]).map_or(usize::MAX, |len| start + len as usize);
        if end <= bytes.len() {
            fragment(&mut bytes[start..end]);
        }
    }
    if let Some(size) = footer_len(bytes).filter(|size| *size <= bytes.len()) {
        let (from, to) = (bytes.len() - size + 8, bytes.len() - TRAILER_LEN + 4);
        if from < to {
            let crc = crc32c::crc32c(&bytes[from..to]);
            bytes[to..to + 4].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

fn fragment(bytes: &mut [u8]) {
    if let Some(parsed) = parse_fragment(bytes) {
        let tracks = [
            (TrackOf::Video, 60, &parsed.entry.video, &parsed.video_samples),
            (TrackOf::Audio, 92, &parsed.entry.audio, &parsed.audio_samples),
            // In a box of its own, behind the 128 bytes of the first.
            (TrackOf::Metadata, 128 + 24, &parsed.entry.metadata, &parsed.metadata_samples),
        ];
        for (track, at, run, samples) in tracks {
            if track == TrackOf::Metadata && samples.is_empty() {
                continue;
            }
            let data = run.data_offset as usize..(run.data_offset + run.data_len) as usize;
            let digest = match bytes.get(data) {
                Some(data) if !samples.is_empty() => track_digest(track, samples, &[data]),
                _ => [0; 32],
            };
            bytes[at..at + 32].copy_from_slice(&digest);
        }
    }
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[24..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// Of an index's header and records.
pub fn index(bytes: &mut [u8]) {
    let mut seal = |from: usize, len: usize| {
        if let Some(block) = bytes.get_mut(from..from + len) {
            let crc = crc32c::crc32c(&block[..len - 4]);
            block[len - 4..].copy_from_slice(&crc.to_le_bytes());
            return true;
        }
        false
    };
    let mut at = 64;
    if seal(0, 64) {
        while seal(at, RECORD_LEN) {
            at += RECORD_LEN;
        }
    }
}

/// Of the lines of an event log.
pub fn events(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        let end = line.len() - usize::from(line.ends_with(b"\n"));
        match line[..end].get(9..) {
            Some(json) => {
                out.extend_from_slice(format!("{:08x} ", crc32c::crc32c(json)).as_bytes());
                out.extend_from_slice(&line[9..]);
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

fn positions(bytes: &[u8], what: &[u8; 16]) -> Vec<usize> {
    let found = bytes.windows(16).enumerate().filter(|(_, window)| window == what);
    // Many at once would make one input slow, and find nothing that some do not.
    found.map(|(at, _)| at).take(64).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
