//! What readers ask of a store: fragments, their bytes, and the segments behind a clip.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::Store;
use super::coverage::{Coverage, Gap, Span, coverage, runs};
use super::stream::{Located, StreamStore};
use crate::clip::{self, ClipPlan, SegmentRef};
use crate::fs::Named;
use crate::ids::{RunId, StreamId};
use crate::segment::fragment::{crc_holds, parse_fragment};
use crate::table::{FragmentEntry, SegmentTable};
use crate::{Error, Result};

/// What to give when nothing shows an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    At,
    /// The first fragment after it.
    Next,
    /// The last fragment before it.
    Previous,
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "at" => Ok(Mode::At),
            "next" => Ok(Mode::Next),
            "previous" => Ok(Mode::Previous),
            _ => Err(Error::Invalid(format!("'{s}' is no mode: use 'at', 'next' or 'previous'"))),
        }
    }
}

impl Store {
    /// What is recorded of [from, until), and why not what is not.
    pub fn coverage(&self, id: StreamId, from_us: i64, until_us: i64) -> Result<Coverage> {
        if from_us >= until_us {
            return Err(Error::Invalid(
                "the range is empty: its start must be before its end".to_owned(),
            ));
        }
        let since = self.recording_since(id);
        match self.stream(id)? {
            Some(stream) => coverage(&stream, from_us, until_us, self.now_us(), since),
            None => {
                let stream = StreamStore::new(&self.disks, id, Vec::new());
                coverage(&stream, from_us, until_us, self.now_us(), since)
            }
        }
    }

    /// The gaps in [from, until) that nobody knows to be any: there may be footage on a disk that is
    /// not there or does not let it be read. To be asked after reading, too: what cannot be read is
    /// noticed by that.
    pub fn unknown(&self, id: StreamId, from_us: i64, until_us: i64) -> Result<Vec<Gap>> {
        let unknown = self.stream(id)?.is_some_and(|stream| stream.may_be_unknown());
        // Also of a stream that is not known, what lies on a disk that is not there is not.
        if !unknown && !self.disks.any_gone() {
            return Ok(Vec::new());
        }
        let gaps = self.coverage(id, from_us, until_us)?.gaps;
        Ok(gaps.into_iter().filter(|gap| gap.unknown).collect())
    }

    /// What a clip of [from, until) consists of, and why what is not in it is not. Each instant is
    /// in a part or in a gap; what was written meanwhile may be in both.
    pub fn clip(
        &self,
        id: StreamId,
        from_us: i64,
        until_us: i64,
        audio: bool,
    ) -> Result<(ClipPlan, Vec<Gap>)> {
        // Before: what is written after that the plan may have or not.
        let gaps = self.coverage(id, from_us, until_us)?.gaps;
        let segments = self.segments_for(id, from_us, until_us)?;
        let plan = clip::plan(id, &segments, from_us, until_us, audio)?;
        // What cannot be read was noticed by reading.
        match self.unknown(id, from_us, until_us)?.is_empty() {
            true => Ok((plan, gaps)),
            false => Ok((plan, self.coverage(id, from_us, until_us)?.gaps)),
        }
    }

    /// The unbroken stretches of each run in [from, until), also those that another run hides.
    pub fn runs(&self, id: StreamId, from_us: i64, until_us: i64) -> Result<Vec<Span>> {
        match self.stream(id)? {
            Some(stream) => runs(&stream, from_us, until_us),
            None => Ok(Vec::new()),
        }
    }

    /// The fragment that shows an instant, or the nearest one.
    pub fn locate(&self, id: StreamId, at_us: i64, mode: Mode) -> Result<Option<Located>> {
        match self.stream(id)? {
            Some(stream) => stream.locate(at_us, mode),
            None => Ok(None),
        }
    }

    /// The fragments that show any instant of [from, until), in order of wall time.
    pub fn fragments(&self, id: StreamId, from_us: i64, until_us: i64) -> Result<Vec<Located>> {
        match self.stream(id)? {
            Some(stream) => stream.fragments(from_us, until_us),
            None => Ok(Vec::new()),
        }
    }

    /// The segment that a fragment lies in.
    pub fn segment_of(&self, id: StreamId, path: &std::path::Path) -> Result<SegmentRef> {
        let stream =
            self.stream(id)?.ok_or_else(|| Error::NoFootage(format!("{id} has no footage")))?;
        if !stream.dirs().iter().any(|d| path.starts_with(d)) {
            return Err(Error::Invalid(format!("{} is no segment of {id}", path.display())));
        }
        stream.segment(path)
    }

    /// A fragment's bytes as stored, checked against its CRC.
    pub fn read_fragment(
        &self,
        id: StreamId,
        path: &std::path::Path,
        offset: u32,
        sequence: u32,
    ) -> Result<Vec<u8>> {
        let SegmentRef { file, table } = self.segment_of(id, path)?;
        read_checked(&file, entry_at(&file, &table, offset, sequence)?)
    }

    /// The NAL units of a fragment's random-access point.
    pub fn read_keyframe(
        &self,
        id: StreamId,
        path: &std::path::Path,
        offset: u32,
        sequence: u32,
    ) -> Result<Vec<u8>> {
        let SegmentRef { file, table } = self.segment_of(id, path)?;
        let entry = entry_at(&file, &table, offset, sequence)?;
        let first = table.video_of(entry).first().filter(|s| s.sync).ok_or_else(|| {
            Error::NoFootage("this fragment does not begin with a random-access point".to_owned())
        })?;
        let bytes = read_checked(&file, entry)?;
        let start = (entry.video.data_offset - entry.offset) as usize;
        let keyframe = bytes.get(start..start + first.size as usize);
        keyframe.map(<[u8]>::to_vec).ok_or_else(|| damaged(&file, entry))
    }

    /// The segments that are needed to show [from, until): those of its fragments, and of the
    /// random-access points and leading pictures that these depend on. In order of wall time.
    pub fn segments_for(
        &self,
        id: StreamId,
        from_us: i64,
        until_us: i64,
    ) -> Result<Vec<SegmentRef>> {
        let Some(stream) = self.stream(id)? else { return Ok(Vec::new()) };
        let (visible, damage) = (stream.visible(), stream.damage());
        // A segment of which nothing else is needed may be one that cannot be read at all.
        let sound = |f: &Located| damage.is_empty() || !damage.has(f.index.run, f.record.sequence);
        // What each of them shows.
        let mut paths: BTreeMap<PathBuf, (RunId, (i64, i64))> = BTreeMap::new();
        for (index, positions) in stream.overlapping(from_us, until_us)? {
            let (first, end) = (positions.start, positions.end);
            let start = first.saturating_sub(pre_roll(&stream, &index, first)?);
            // The fragment after may begin with pictures that are shown before its random-access
            // point.
            let end = if end < index.count()? { end + 1 } else { end };
            let mut of_index: Vec<(u32, PathBuf, (i64, i64))> = Vec::new();
            for position in start..end {
                let found = stream.located(&index, position)?;
                let segment_ms = found.record.segment_ms;
                match of_index.last_mut() {
                    Some((last, _, shows)) if *last == segment_ms => shows.1 = found.end_us,
                    _ if visible.shows(&found) && sound(&found) => {
                        let shows = (found.record.wall_start_us, found.end_us);
                        of_index.push((segment_ms, found.segment_path(), shows));
                    }
                    _ => {}
                }
            }
            paths.extend(of_index.into_iter().map(|(_, path, shows)| (path, (index.run, shows))));
        }
        let mut segments = Vec::with_capacity(paths.len());
        for (path, (run, shows)) in paths {
            match stream.segment(&path) {
                Ok(segment) => {
                    stream.unreadable.forget(&path);
                    segments.push(segment);
                }
                // What other segments show is given without it.
                Err(e) => stream.unread(&path, shows, Some(run), e)?,
            }
        }
        for segment in &mut segments {
            if let Some(sound) = damage.without(&segment.table) {
                segment.table = Arc::new(sound);
            }
        }
        let start = |s: &SegmentRef| s.table.fragments.first().map_or(0, |f| f.wall_start_us);
        segments.sort_by_key(|s| (start(s), s.table.epoch, s.table.run));
        Ok(segments)
    }
}

/// How many fragments before a position are needed to decode it: back to its random-access
/// point, and over one more group of pictures if that is an open one.
fn pre_roll(
    stream: &StreamStore,
    index: &Arc<crate::index::IndexFile>,
    position: u64,
) -> Result<u64> {
    let record = stream.located(index, position)?.record;
    let mut back = u64::from(record.random_access_distance);
    if let Some(key) = position.checked_sub(back) {
        let key = stream.located(index, key)?.record;
        if let Some(before) = position.checked_sub(back + 1).filter(|_| key.leading) {
            back += 1 + u64::from(stream.located(index, before)?.record.random_access_distance);
        }
    }
    Ok(back)
}

/// The fragment of a segment that begins at an offset. A copy whose hole was filled meanwhile has
/// another one there than the index said a moment ago.
fn entry_at<'a>(
    file: &Named,
    table: &'a SegmentTable,
    offset: u32,
    sequence: u32,
) -> Result<&'a FragmentEntry> {
    let position = table.fragments.binary_search_by_key(&offset, |f| f.offset);
    let found = position.ok().map(|p| &table.fragments[p]);
    found.filter(|f| f.sequence == sequence).ok_or_else(|| {
        Error::damaged(
            &file.path,
            u64::from(offset),
            "no fragment begins here; rebuild the store's index",
        )
    })
}

fn damaged(file: &Named, entry: &FragmentEntry) -> Error {
    Error::damaged(
        &file.path,
        u64::from(entry.offset),
        format!("fragment {} fails its CRC", entry.sequence),
    )
}

fn read_checked(file: &Named, entry: &FragmentEntry) -> Result<Vec<u8>> {
    let mut bytes = vec![0; entry.length as usize];
    file.read_exact_at(&mut bytes, u64::from(entry.offset))?;
    if crc_holds(&bytes) && parse_fragment(&bytes).is_some() {
        Ok(bytes)
    } else {
        Err(damaged(file, entry))
    }
}
