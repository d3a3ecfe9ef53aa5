//! Reading a segment that has no footer: the one that was open when the recorder ended.

use super::fragment::{INFO_UUID, ParsedFragment, crc_holds, parse_fragment, peek_length};
use super::head::{HeadError, SegmentHead};
use crate::fs::Named;
use crate::table::SegmentTable;
use crate::{Error, Result};

/// A head is far smaller than this; a larger one is no head.
const MAX_HEAD: usize = 64 << 10;
/// Moof of the largest fragment that the recorder writes (a few thousand samples).
const HEAD_READ: usize = 16 << 10;
/// Bytes that are searched at once behind a damaged fragment.
const SEARCH_READ: usize = 1 << 20;
/// The largest fragment that is looked at.
const MAX_FRAGMENT: u64 = 256 << 20;

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// Identity and parameters.
    pub head: SegmentHead,
    /// Length of ftyp, header and moov.
    pub head_len: u64,
    /// All complete fragments.
    pub table: SegmentTable,
    /// Where the last complete fragment ends; nothing complete follows.
    pub good_len: u64,
}

/// How much of a segment's data to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The page cache survived (the process ended, the machine did not): only the last write
    /// can be torn.
    PageCache,
    /// Nothing: check every byte (after a power failure, or on request).
    Nothing,
}

/// Reads the head of a segment file. `Ok(None)`: the file ends within it.
pub fn read_head(file: &Named) -> Result<Option<(SegmentHead, u64)>> {
    let mut bytes = vec![0; 4096];
    loop {
        let n = file.read_at(&mut bytes, 0)?;
        match SegmentHead::from_bytes(&bytes[..n]) {
            Ok((head, len)) => return Ok(Some((head, len as u64))),
            Err(HeadError::Short) if n < bytes.len() => return Ok(None),
            Err(HeadError::Short) if bytes.len() < MAX_HEAD => bytes.resize(bytes.len() * 4, 0),
            Err(e) => return Err(Error::damaged(&file.path, 0, e.to_string())),
        }
    }
}

/// Walks the fragments of a segment; passes over those that are torn or damaged. `Ok(None)`: not
/// even the head is complete.
pub fn scan(file: &Named, trust: Trust) -> Result<Option<Scan>> {
    let Some((head, head_len)) = read_head(file)? else { return Ok(None) };
    let len = file.size()?;
    let mut table = head.empty_table();
    let (mut at, mut good_len) = (head_len, head_len);
    let mut buf = Vec::new();
    loop {
        if let Some(fragment) = read_fragment(file, at, len, trust, &mut buf)? {
            let next = at + u64::from(fragment.entry.length);
            append(&mut table, at, fragment);
            (at, good_len) = (next, next);
        } else if let Some(next) = next_info(file, at + 1, len, &mut buf)? {
            // One that is torn or damaged must not cost those behind it.
            at = next;
        } else {
            return Ok(Some(Scan { head, head_len, table, good_len }));
        }
    }
}

/// Where the next info box seems to begin, from a position on.
fn next_info(file: &Named, from: u64, len: u64, buf: &mut Vec<u8>) -> Result<Option<u64>> {
    let mut at = from;
    while at < len {
        buf.resize(SEARCH_READ, 0);
        let n = file.read_at(buf, at)?;
        let found = buf[..n].windows(24).position(|w| w[4..8] == *b"uuid" && w[8..] == INFO_UUID);
        if let Some(position) = found {
            return Ok(Some(at + position as u64));
        }
        if n < 24 {
            return Ok(None);
        }
        // What may begin at the end of this block is looked for again with the next.
        at += n as u64 - 23;
    }
    Ok(None)
}

fn read_fragment(
    file: &Named,
    at: u64,
    len: u64,
    trust: Trust,
    buf: &mut Vec<u8>,
) -> Result<Option<ParsedFragment>> {
    buf.resize(HEAD_READ, 0);
    let n = file.read_at(buf, at)?;
    buf.truncate(n);
    let Some(length) = peek_length(buf).map(u64::from) else { return Ok(None) };
    let end = at + length;
    if end > len || length > MAX_FRAGMENT || end > u64::from(u32::MAX) {
        return Ok(None);
    }
    // The last fragment is always checked: its pages may have been cut in the middle.
    if trust == Trust::Nothing || end == len {
        buf.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        if file.read_at(buf, at)? < buf.len() || !crc_holds(buf) {
            return Ok(None);
        }
        return Ok(parse_fragment(buf));
    }
    if let Some(parsed) = parse_fragment(buf) {
        return Ok(Some(parsed));
    }
    // A moof larger than the usual read.
    buf.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
    file.read_exact_at(buf, at)?;
    Ok(parse_fragment(buf))
}

/// Adds a fragment, read relative to its first byte, to a segment's table.
fn append(table: &mut SegmentTable, at: u64, fragment: ParsedFragment) {
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    let mut entry = fragment.entry;
    place(table, &mut entry, at);
    table.fragments.push(entry);
    table.video_samples.extend(fragment.video_samples);
    table.audio_samples.extend(fragment.audio_samples);
}

/// Moves an entry whose positions are relative to its fragment to where the fragment lies, and
/// its samples to the end of the table's.
pub fn place(table: &SegmentTable, entry: &mut crate::table::FragmentEntry, at: u32) {
    entry.offset = at;
    entry.video.data_offset += at;
    entry.audio.data_offset += at;
    entry.video.first_sample = u32::try_from(table.video_samples.len()).unwrap_or(u32::MAX);
    entry.audio.first_sample = u32::try_from(table.audio_samples.len()).unwrap_or(u32::MAX);
}
