//! Reading a segment's table: from its footer, or by a scan while it has none.

use super::footer::{TRAILER_LEN, footer_len, parse_footer};
use super::head::SegmentHead;
use super::scan::{Trust, read_head, scan};
use crate::fs::Named;
use crate::ids::RunId;
use crate::table::SegmentTable;
use crate::{Error, Result};

/// Enough for the footer of a minute with sound.
const USUAL_FOOTER: usize = 64 << 10;

/// A segment as read.
#[derive(Debug)]
pub struct Segment {
    /// Identity and parameters.
    pub head: SegmentHead,
    /// What it contains.
    pub table: SegmentTable,
    /// It has a footer, so nothing will be added to it.
    pub sealed: bool,
}

/// Reads the footer. `Ok(None)`: the segment is not sealed.
pub fn read_footer(file: &Named) -> Result<Option<(SegmentHead, SegmentTable)>> {
    let len = file.size()?;
    let mut tail = vec![0; USUAL_FOOTER.min(usize::try_from(len).unwrap_or(USUAL_FOOTER))];
    let at = len - tail.len() as u64;
    file.read_exact_at(&mut tail, at)?;
    let Some(size) = footer_len(&tail) else { return Ok(None) };
    let damaged = |what: String| Error::damaged(&file.path, len - TRAILER_LEN as u64, what);
    if size as u64 > len {
        return Err(damaged(format!("the footer claims {size} bytes, more than the file has")));
    }
    let footer = if size <= tail.len() {
        &tail[tail.len() - size..]
    } else {
        tail.resize(size, 0);
        file.read_exact_at(&mut tail, len - size as u64)?;
        &tail[..]
    };
    let (head, table) = parse_footer(footer).map_err(|e| damaged(e.to_string()))?;
    // Who reads a fragment makes room for it.
    let ends = len - size as u64;
    if table.fragments.iter().any(|f| u64::from(f.offset) + u64::from(f.length) > ends) {
        return Err(damaged("the footer names what lies behind it".to_owned()));
    }
    Ok(Some((head, table)))
}

/// Reads the footer if it is the file's own: a file may also end with a picture of a camera that
/// looks like a footer, but no camera knows the head. `Ok(None)`: the segment is not sealed, or has
/// a damaged head, with which its footer says nothing of what lies between.
pub fn read_own_footer(file: &Named) -> Result<Option<(SegmentHead, SegmentTable)>> {
    let Some((of_footer, table)) = read_footer(file)? else { return Ok(None) };
    match read_head(file) {
        Ok(Some((head, _))) if head == of_footer => Ok(Some((of_footer, table))),
        Ok(_) | Err(Error::Damaged { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads a segment's table; `Ok(None)`: not even its head is complete. `run`: which its file's name
/// says. That tells its own footer from a camera's picture and saves a look at its head.
pub fn read_segment(file: &Named, run: RunId) -> Result<Option<Segment>> {
    let footer = read_footer(file).map(|found| found.filter(|(head, _)| head.run == run));
    or_scan(file, footer)
}

/// The same, for who believes only a segment whose head and footer agree.
pub fn read_whole_segment(file: &Named) -> Result<Option<Segment>> {
    or_scan(file, read_own_footer(file))
}

fn or_scan(
    file: &Named,
    footer: Result<Option<(SegmentHead, SegmentTable)>>,
) -> Result<Option<Segment>> {
    let trust = match footer {
        Ok(Some((head, table))) => return Ok(Some(Segment { head, table, sealed: true })),
        Ok(None) => Trust::PageCache,
        // The fragments say the same as the footer did.
        Err(Error::Damaged { .. }) => Trust::Nothing,
        Err(e) => return Err(e),
    };
    let found = scan(file, trust)?;
    Ok(found.map(|s| Segment { head: s.head, table: s.table, sealed: false }))
}

/// ftyp, header box and moov: an initialization segment for any player (which skips the header). `run`:
/// which the file's name says. As it was written: a bit that turned in it since is in none of what
/// is given, since the header has a checksum, and the footer all that it says.
pub fn init_segment(file: &Named, run: RunId) -> Result<Vec<u8>> {
    let head = match read_head(file) {
        Ok(Some((head, _))) => head,
        Ok(None) => return Err(Error::damaged(&file.path, 0, "the head is cut short")),
        Err(e @ Error::Damaged { .. }) => {
            let footer = read_footer(file).ok().flatten().filter(|(head, _)| head.run == run);
            footer.ok_or(e)?.0
        }
        Err(e) => return Err(e),
    };
    Ok(head.to_bytes())
}
