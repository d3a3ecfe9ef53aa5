//! Reading a segment that has no footer: the one that was open when the recorder ended.

use super::fragment::{
    CRC_FROM, INFO_LEN, INFO_UUID, ParsedFragment, crc_holds, parse_fragment, peek_length,
};
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
    /// What lies before this is durable: check every byte behind.
    Behind(u64),
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
    let mut search = Search::new(file, len);
    loop {
        let fits = |f: &ParsedFragment| f.fits(&head).is_ok();
        let mut found = read_fragment(file, at, len, trust, &mut buf)?.filter(fits);
        if found.is_none() {
            // One that is torn or damaged must not cost those behind it.
            let Some(next) = search.next_fragment(at + 1)? else {
                return Ok(Some(Scan { head, head_len, table, good_len }));
            };
            at = next;
            // Its CRC holds, whatever is trusted.
            found = read_fragment(file, at, len, Trust::PageCache, &mut buf)?.filter(fits);
        }
        if let Some(fragment) = found {
            good_len = at + u64::from(fragment.entry.length);
            append(&mut table, at, fragment);
            at = good_len;
        }
    }
}

/// Looks for whole fragments behind a damaged one. What lies there may be a camera's making: any
/// number of boxes that look like fragments and claim any length cost no more than a pass over the
/// file and a few blocks for each of them.
struct Search<'a> {
    file: &'a Named,
    len: u64,
    /// What was read last, and where it begins.
    bytes: Vec<u8>,
    bytes_at: u64,
    sums: Checksums<'a>,
}

impl<'a> Search<'a> {
    fn new(file: &'a Named, len: u64) -> Self {
        let sums = Checksums { file, upto: Vec::new(), block: Vec::new() };
        Search { file, len, bytes: Vec::new(), bytes_at: 0, sums }
    }

    /// Where the next fragment begins, from a position on, whose CRC holds.
    fn next_fragment(&mut self, from: u64) -> Result<Option<u64>> {
        let mut at = from;
        while let Some(found) = self.next_info(at)? {
            if self.holds(found)? {
                return Ok(Some(found));
            }
            at = found + 1;
        }
        Ok(None)
    }

    /// Where the next info box seems to begin, from a position on.
    fn next_info(&mut self, from: u64) -> Result<Option<u64>> {
        let mut at = from;
        loop {
            let known = at.checked_sub(self.bytes_at).and_then(|skip| usize::try_from(skip).ok());
            let known = known.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default();
            let is_info = |w: &[u8]| w[4..8] == *b"uuid" && w[8..] == INFO_UUID;
            if let Some(position) = known.windows(24).position(is_info) {
                return Ok(Some(at + position as u64));
            }
            // What may begin at the end of these bytes is looked for again with the next.
            at += (known.len() as u64).saturating_sub(23);
            if at + 24 > self.len {
                return Ok(None);
            }
            let left = usize::try_from(self.len - at).unwrap_or(SEARCH_READ);
            self.bytes.resize(SEARCH_READ.min(left), 0);
            let n = self.file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(n);
            self.bytes_at = at;
            if n < 24 {
                return Ok(None);
            }
        }
    }

    fn holds(&mut self, at: u64) -> Result<bool> {
        let mut info = [0; INFO_LEN];
        let n = self.file.read_at(&mut info, at)?;
        let Some(end) = end_within(at, peek_length(&info[..n]), self.len) else { return Ok(false) };
        let crc = self.sums.of(at + CRC_FROM as u64, end)?;
        Ok(info[24..CRC_FROM] == crc.to_be_bytes())
    }
}

/// CRCs of any stretches of a file, which is read once for all of them.
struct Checksums<'a> {
    file: &'a Named,
    /// Of the first block, of the first two, and so on, as far as was asked for.
    upto: Vec<u32>,
    block: Vec<u8>,
}

impl Checksums<'_> {
    const BLOCK: u64 = 1 << 10;

    fn of(&mut self, from: u64, until: u64) -> Result<u32> {
        let (before, whole) = (self.of_first(from)?, self.of_first(until)?);
        // The CRC of two stretches together is that of the first, carried over the length of the
        // second, xor that of the second.
        let carried = crc32c::crc32c_combine(before, 0, usize::try_from(until - from).unwrap_or(0));
        Ok(whole ^ carried)
    }

    fn of_first(&mut self, len: u64) -> Result<u32> {
        let blocks = usize::try_from(len / Self::BLOCK).unwrap_or(usize::MAX);
        while self.upto.len() < blocks {
            let at = self.upto.len() as u64 * Self::BLOCK;
            self.block.resize(SEARCH_READ, 0);
            let n = self.file.read_at(&mut self.block, at)?;
            let mut sum = self.upto.last().copied().unwrap_or(0);
            for block in self.block[..n].chunks_exact(Self::BLOCK as usize) {
                sum = crc32c::crc32c_append(sum, block);
                self.upto.push(sum);
            }
            if n < Self::BLOCK as usize {
                return Err(Error::damaged(&self.file.path, at, "the file ends too early"));
            }
        }
        let sum = blocks.checked_sub(1).map_or(0, |last| self.upto[last]);
        let mut rest = [0; Self::BLOCK as usize];
        let rest = &mut rest[..(len % Self::BLOCK) as usize];
        self.file.read_exact_at(rest, len - rest.len() as u64)?;
        Ok(crc32c::crc32c_append(sum, rest))
    }
}

/// Where a fragment ends, if it has a length and lies within the file.
fn end_within(at: u64, length: Option<u32>, file_len: u64) -> Option<u64> {
    let length = u64::from(length?);
    let end = at + length;
    (end <= file_len && length <= MAX_FRAGMENT && end <= u64::from(u32::MAX)).then_some(end)
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
    let Some(end) = end_within(at, peek_length(buf), len) else { return Ok(None) };
    let length = usize::try_from(end - at).unwrap_or(usize::MAX);
    let durable = match trust {
        Trust::PageCache => true,
        Trust::Nothing => false,
        Trust::Behind(durable) => end <= durable,
    };
    // The last fragment is always checked: its pages may have been cut in the middle.
    if !durable || end == len {
        buf.resize(length, 0);
        if file.read_at(buf, at)? < buf.len() || !crc_holds(buf) {
            return Ok(None);
        }
        return Ok(parse_fragment(buf));
    }
    if let Some(parsed) = parse_fragment(buf) {
        return Ok(Some(parsed));
    }
    // A moof larger than the usual read.
    buf.resize(length, 0);
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
    table.metadata_samples.extend(fragment.metadata_samples);
}

/// Moves an entry whose positions are relative to its fragment to where the fragment lies, and
/// its samples to the end of the table's.
pub fn place(table: &SegmentTable, entry: &mut crate::table::FragmentEntry, at: u32) {
    entry.offset = at;
    entry.video.data_offset += at;
    entry.audio.data_offset += at;
    entry.video.first_sample = u32::try_from(table.video_samples.len()).unwrap_or(u32::MAX);
    entry.audio.first_sample = u32::try_from(table.audio_samples.len()).unwrap_or(u32::MAX);
    if entry.metadata.sample_count > 0 {
        entry.metadata.data_offset += at;
        entry.metadata.first_sample =
            u32::try_from(table.metadata_samples.len()).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fs::FileSystem;
    use crate::fs::sim::SimFs;
    use crate::media::MediaSink;
    use crate::reason::Reason;
    use crate::record::tests::{ID, Node, clock};
    use crate::segment::fragment::tests::rewritten;
    use crate::time::Clock;

    /// Bytes whose CRC holds, and which no footer of their segment could speak of.
    #[test]
    fn a_fragment_that_no_footer_could_name_is_passed_over() {
        let mut node = Node::start(SimFs::default(), clock()).unwrap();
        node.begin();
        node.pictures(31);
        node.stream.end(node.clock.now(), Reason::SILENT, "");
        node.recorder.sync().unwrap();
        let first = &node.store.fragments(ID, 0, i64::MAX).unwrap()[0];
        let path = first.segment_path();
        let file = Named { file: node.fs.open_rw(&path).unwrap(), path };
        let found = scan(&file, Trust::Nothing).unwrap().unwrap();
        assert!(found.table.fragments.len() > 1);
        let one = found.table.fragments[1];
        let mut good = vec![0; one.length as usize];
        file.read_exact_at(&mut good, u64::from(one.offset)).unwrap();
        for bad in
            [rewritten(&good, 1 << 31, &[]), rewritten(&good, 9000, &[Bytes::from_static(b"beep")])]
        {
            file.write_all_at(&[&bad[..], &good].concat(), found.good_len).unwrap();
            let again = scan(&file, Trust::Nothing).unwrap().unwrap();
            let at = found.good_len + bad.len() as u64;
            assert_eq!(again.good_len, at + good.len() as u64);
            let offsets = |scan: &Scan| -> Vec<u64> {
                scan.table.fragments.iter().map(|f| u64::from(f.offset)).collect()
            };
            assert_eq!(offsets(&again), [offsets(&found), vec![at]].concat());
        }
    }
}
