//! A segment of a copy: what is held of it, and what fragments that arrive make of it.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::{Piece, refused};
use crate::fs::{FileSystem, Named};
use crate::segment::footer::write_footer;
use crate::segment::fragment::crc_holds;
use crate::segment::head::SegmentHead;
use crate::segment::read::read_segment;
use crate::segment::scan::place;
use crate::store::copying::{Target, remove};
use crate::table::{FragmentEntry, Sample, SegmentTable};
use crate::{Error, Result};

/// What is on disk of a segment.
#[derive(Debug)]
pub(super) struct Held {
    file: Named,
    pub table: SegmentTable,
    /// Where its last fragment ends.
    end: u64,
}

impl Held {
    /// Reads it; `None`: there is no such file, or one without a whole head.
    pub(super) fn read(
        fs: &dyn FileSystem,
        path: &Path,
        head: &SegmentHead,
        init: &[u8],
    ) -> Result<Option<Self>> {
        let file = match fs.open_rw(path) {
            Ok(file) => Named { file, path: path.to_owned() },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let Some(segment) = read_segment(&file, head.run)? else { return Ok(None) };
        let mut held_init = vec![0; init.len()];
        let n = file.read_at(&mut held_init, 0)?;
        if n < init.len() || held_init != init {
            return Err(refused(head, head.first_sequence, "another head of its segment is held"));
        }
        let last = segment.table.fragments.last();
        let end = last.map_or(init.len() as u64, |f| u64::from(f.offset) + u64::from(f.length));
        Ok(Some(Held { file, table: segment.table, end }))
    }

    fn bytes_of(&self, entry: &FragmentEntry) -> Result<Vec<u8>> {
        let mut bytes = vec![0; entry.length as usize];
        self.file.read_exact_at(&mut bytes, u64::from(entry.offset))?;
        if crc_holds(&bytes) {
            return Ok(bytes);
        }
        let what = format!("fragment {} fails its CRC", entry.sequence);
        Err(Error::damaged(&self.file.path, u64::from(entry.offset), what))
    }
}

/// The segment as it is to be.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    head: &'a SegmentHead,
    init: &'a [u8],
    held: Option<&'a Held>,
    pieces: Vec<&'a Piece>,
    pub table: SegmentTable,
}

impl<'a> Plan<'a> {
    /// What is held, and those of the pieces that are not; `None`: all are. A piece whose name is
    /// held with other bytes is refused.
    pub(super) fn make(
        head: &'a SegmentHead,
        init: &'a [u8],
        held: Option<&'a Held>,
        pieces: &'a BTreeMap<u32, Piece>,
    ) -> Result<Option<Self>> {
        let old: BTreeMap<u32, &FragmentEntry> =
            held.iter().flat_map(|h| &h.table.fragments).map(|f| (f.sequence, f)).collect();
        let mut fresh = Vec::new();
        for (sequence, piece) in pieces {
            match old.get(sequence) {
                Some(f) if f.crc == piece.parsed.entry.crc => {}
                Some(_) => return Err(refused(head, *sequence, "another of that name is held")),
                None => fresh.push(piece),
            }
        }
        if fresh.is_empty() {
            return Ok(None);
        }
        let mut rows: Vec<(FragmentEntry, [&[Sample]; 3])> = Vec::new();
        if let Some(Held { table, .. }) = held {
            rows.extend(old.values().map(|f| {
                let tracks = [table.video_of(f), table.audio_of(f), table.metadata_of(f)];
                (relative(f), tracks)
            }));
        }
        rows.extend(fresh.iter().map(|piece| {
            let parsed = &piece.parsed;
            let tracks =
                [&parsed.video_samples[..], &parsed.audio_samples, &parsed.metadata_samples];
            (parsed.entry, tracks)
        }));
        rows.sort_by_key(|(entry, ..)| entry.sequence);
        let mut table = head.empty_table();
        let mut at = init.len() as u64;
        for (mut entry, [video, audio, metadata]) in rows {
            let end = at + u64::from(entry.length);
            let (Ok(start), true) = (u32::try_from(at), end < u64::from(u32::MAX)) else {
                return Err(refused(head, entry.sequence, "its segment would be too long"));
            };
            place(&table, &mut entry, start);
            table.fragments.push(entry);
            table.video_samples.extend_from_slice(video);
            table.audio_samples.extend_from_slice(audio);
            table.metadata_samples.extend_from_slice(metadata);
            at = end;
        }
        Ok(Some(Plan { head, init, held, pieces: fresh, table }))
    }

    /// The pieces that are new.
    pub(super) fn fresh(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().copied()
    }

    /// The segment that only grows: all that is held of it stays where it is.
    fn grows(&self) -> Option<&'a Held> {
        self.held.filter(|h| self.table.fragments.starts_with(&h.table.fragments))
    }

    /// Writes what needs room and shows nothing yet: a segment that is new, or to replace another.
    pub(super) fn prepare(
        &self,
        fs: &dyn FileSystem,
        stream_dir: &Path,
        target: Target,
    ) -> Result<()> {
        if self.grows().is_some() {
            return Ok(());
        }
        let new = target.new_path(stream_dir);
        remove(fs, &new)?;
        self.write_anew(fs, &new).inspect_err(|_| undo_new(fs, &new)).map(drop)
    }

    /// Makes the segment what it is to be, durably but for a new one's name; how many bytes larger it is.
    /// After an error it is as it was, as far as the disk lets us.
    pub(super) fn commit(
        &self,
        fs: &dyn FileSystem,
        stream_dir: &Path,
        target: Target,
    ) -> Result<u64> {
        let before = self.held.map_or(Ok(0), |h| h.file.size())?;
        let len = if let Some(held) = self.grows() {
            self.append(held).inspect_err(|_| self.undo_append(held))?
        } else {
            let (new, path) = (target.new_path(stream_dir), target.path(stream_dir));
            fs.rename(&new, &path).map_err(|e| Error::io("rename", &new, e))?;
            fs.file_len(&path).map_err(|e| Error::io("stat", &path, e))?
        };
        Ok(len.saturating_sub(before))
    }

    /// Takes back what [`commit`](Self::commit) did, where it can be taken back.
    pub(super) fn undo(&self, fs: &dyn FileSystem, stream_dir: &Path, target: Target) {
        match (self.grows(), self.held) {
            (Some(held), _) => self.undo_append(held),
            // The index is made to agree with it at the next start, or with the next fragment.
            (None, Some(_)) => {}
            (None, None) => undo_new(fs, &target.path(stream_dir)),
        }
    }

    fn append(&self, held: &Held) -> Result<u64> {
        // While it is written to it has no footer, as any open segment: a reader takes whole
        // fragments only.
        set_len(&held.file, held.end)?;
        let mut at = held.end;
        for piece in &self.pieces {
            held.file.write_all_at(&piece.bytes, at)?;
            at += piece.bytes.len() as u64;
        }
        self.finish(&held.file, at)
    }

    fn undo_append(&self, held: &Held) {
        let footer = write_footer(self.head, &held.table);
        let undone = set_len(&held.file, held.end)
            .and_then(|()| held.file.write_all_at(&footer, held.end))
            // A torn footer would cost a search at every look.
            .or_else(|_| set_len(&held.file, held.end));
        if let Err(e) = undone {
            log::warn!(target: "nvr.store", "a segment of a copy is put right at the next start: {e}");
        }
    }

    fn write_anew(&self, fs: &dyn FileSystem, path: &Path) -> Result<u64> {
        let file = fs.create_new(path).map_err(|e| Error::io("create", path, e))?;
        let file = Named { file, path: path.to_owned() };
        file.write_all_at(self.init, 0)?;
        let new: BTreeMap<u32, &Piece> = self.pieces.iter().map(|p| (p.sequence(), *p)).collect();
        let mut old = self.held.iter().flat_map(|h| h.table.fragments.iter().map(move |f| (h, f)));
        let mut at = self.init.len() as u64;
        for entry in &self.table.fragments {
            match new.get(&entry.sequence) {
                Some(piece) => file.write_all_at(&piece.bytes, at)?,
                None => {
                    let Some((held, f)) = old.next() else { break };
                    file.write_all_at(&held.bytes_of(f)?, at)?;
                }
            }
            at += u64::from(entry.length);
        }
        self.finish(&file, at)
    }

    fn finish(&self, file: &Named, at: u64) -> Result<u64> {
        let footer = write_footer(self.head, &self.table);
        file.write_all_at(&footer, at)?;
        file.sync_data()?;
        Ok(at + footer.len() as u64)
    }
}

/// An entry as its fragment alone has it.
fn relative(entry: &FragmentEntry) -> FragmentEntry {
    let mut entry = *entry;
    entry.video.data_offset = entry.video.data_offset.saturating_sub(entry.offset);
    entry.audio.data_offset = entry.audio.data_offset.saturating_sub(entry.offset);
    entry.metadata.data_offset = entry.metadata.data_offset.saturating_sub(entry.offset);
    entry.offset = 0;
    entry
}

fn set_len(file: &Named, len: u64) -> Result<()> {
    file.file.set_len(len).map_err(|e| Error::io("truncate", &file.path, e))
}

fn undo_new(fs: &dyn FileSystem, path: &Path) {
    if let Err(e) = remove(fs, path) {
        log::warn!(target: "nvr.store", "an incomplete segment of a copy stays until the next start: {e}");
    }
}
