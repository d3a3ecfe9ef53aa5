//! The `moov` of a progressive file (ISO/IEC 14496-12): sample tables, edit lists, headers.

use super::boxes::{Put, write_box, write_full_box};
use crate::{Error, Result};

/// Ticks of movie time a second: edit durations are then exact for video.
pub const MOVIE_TIMESCALE: u32 = crate::time::VIDEO_TIMESCALE;

/// Seconds from 1904-01-01, where the format counts from, to 1970-01-01.
const EPOCH_1904_S: i64 = 2_082_844_800;

/// Runs of equal values, as `stts`, `ctts` and `stsc` want them.
#[derive(Clone, Debug)]
struct Runs<T>(Vec<(u32, T)>);

impl<T: PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.0.push((1, value)),
        }
    }
}

/// The samples of a track, collected in decoding order.
#[derive(Clone, Debug)]
pub struct SampleTable {
    durations: Runs<u32>,
    composition_offsets: Runs<i32>,
    sizes: Vec<u32>,
    sync: Vec<u32>,
    /// Position in the media data and sample count.
    chunks: Vec<(u64, u32)>,
    first_dts: i64,
    last_dts: i64,
    last_duration: u32,
}

impl SampleTable {
    /// An empty table with room for `samples`.
    pub fn with_capacity(samples: usize) -> Self {
        SampleTable {
            durations: Runs(Vec::new()),
            composition_offsets: Runs(Vec::with_capacity(samples)),
            sizes: Vec::with_capacity(samples),
            sync: Vec::new(),
            chunks: Vec::new(),
            first_dts: 0,
            last_dts: 0,
            last_duration: 0,
        }
    }

    /// The samples that follow lie one after another from this position of the media data.
    pub fn begin_chunk(&mut self, position: u64) {
        self.chunks.push((position, 0));
    }

    /// Adds a sample to the chunk begun last. Its duration counts only if no sample follows:
    /// otherwise it lasts until the decoding time of that. [`Error::Media`] if decoding time does
    /// not grow, or by 2³² ticks or more, or the composition offset does not fit in 32 bits.
    pub fn push(&mut self, sample: TimedSample) -> Result<()> {
        let TimedSample { dts, pts, duration, size, sync } = sample;
        if self.sizes.is_empty() {
            self.first_dts = dts;
        } else {
            let delta = u32::try_from(dts - self.last_dts).ok().filter(|&d| d > 0);
            self.durations.push(delta.ok_or_else(|| {
                Error::Media(format!("decoding time {dts} after {}", self.last_dts))
            })?);
        }
        let offset = i32::try_from(pts - dts)
            .map_err(|_| Error::Media(format!("a picture decoded at {dts} and shown at {pts}")))?;
        self.composition_offsets.push(offset);
        self.sizes.push(size);
        if sync {
            self.sync.push(self.sizes.len() as u32);
        }
        if let Some((_, count)) = self.chunks.last_mut() {
            *count += 1;
        }
        self.last_dts = dts;
        self.last_duration = duration.max(1);
        Ok(())
    }

    /// Lets the last sample last until a decoding time, if it ends before.
    pub fn extend_to(&mut self, end_dts: i64) {
        let duration = u32::try_from(end_dts - self.last_dts).unwrap_or(0);
        self.last_duration = self.last_duration.max(duration);
    }

    /// It has no sample.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Decoding time of the first sample: media time 0.
    pub fn first_dts(&self) -> i64 {
        self.first_dts
    }

    /// Decoding time of the last sample.
    pub fn last_dts(&self) -> i64 {
        self.last_dts
    }

    /// Decoding time at which the last sample ends.
    pub fn end_dts(&self) -> i64 {
        self.last_dts + i64::from(self.last_duration)
    }

    fn write(&self, out: &mut Vec<u8>, sample_entry: &[u8], data_start: u64, wide: bool) {
        write_full_box(out, *b"stsd", 0, 0, |out| {
            out.u32(1);
            out.bytes(sample_entry);
        });
        let mut durations = self.durations.clone();
        if !self.is_empty() {
            durations.push(self.last_duration);
        }
        write_full_box(out, *b"stts", 0, 0, |out| {
            put_runs(out, &durations, |out, v| out.u32(v));
        });
        if self.composition_offsets.0.iter().any(|&(_, v)| v != 0) {
            let negative = self.composition_offsets.0.iter().any(|&(_, v)| v < 0);
            write_full_box(out, *b"ctts", u8::from(negative), 0, |out| {
                put_runs(out, &self.composition_offsets, |out, v| out.i32(v));
            });
        }
        if self.sync.len() < self.sizes.len() {
            write_full_box(out, *b"stss", 0, 0, |out| {
                out.u32(self.sync.len() as u32);
                self.sync.iter().for_each(|&n| out.u32(n));
            });
        }
        write_full_box(out, *b"stsz", 0, 0, |out| {
            out.u32(0); // sizes differ
            out.u32(self.sizes.len() as u32);
            self.sizes.iter().for_each(|&size| out.u32(size));
        });
        let mut chunk_sizes = Runs(Vec::new());
        self.chunks.iter().for_each(|&(_, samples)| chunk_sizes.push(samples));
        write_full_box(out, *b"stsc", 0, 0, |out| {
            out.u32(chunk_sizes.0.len() as u32);
            let mut first_chunk = 1;
            for &(chunks, samples) in &chunk_sizes.0 {
                out.u32(first_chunk);
                out.u32(samples);
                out.u32(1); // sample_description_index
                first_chunk += chunks;
            }
        });
        write_full_box(out, if wide { *b"co64" } else { *b"stco" }, 0, 0, |out| {
            out.u32(self.chunks.len() as u32);
            for &(position, _) in &self.chunks {
                if wide {
                    out.u64(data_start + position);
                } else {
                    out.u32((data_start + position) as u32);
                }
            }
        });
    }
}

/// A sample as [`SampleTable::push`] takes it, in ticks of the track's timescale.
#[derive(Clone, Copy, Debug)]
pub struct TimedSample {
    /// Decoding time, any origin.
    pub dts: i64,
    /// Presentation time, same origin.
    pub pts: i64,
    /// How long it lasts if it is the last.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// A decoder can start here.
    pub sync: bool,
}

fn put_runs<T: Copy>(out: &mut Vec<u8>, runs: &Runs<T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.u32(runs.0.len() as u32);
    for &(count, value) in &runs.0 {
        out.u32(count);
        put(out, value);
    }
}

/// One entry of an edit list (8.6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// In movie ticks.
    pub duration: u64,
    /// In ticks of the track since its first sample's decoding time; None: nothing is shown.
    pub media_time: Option<u64>,
}

/// What a track shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind {
    /// Pictures, with their size in pixels.
    Video {
        /// Across.
        width: u16,
        /// Down.
        height: u16,
    },
    /// Sound.
    Audio,
    /// Documents about the first track.
    Metadata,
}

/// A track.
#[derive(Clone, Debug)]
pub struct Track {
    /// What it shows.
    pub kind: TrackKind,
    /// Ticks a second.
    pub timescale: u32,
    /// What is shown when.
    pub edits: Vec<Edit>,
    /// A box as [`super::sample_entry`] writes it.
    pub sample_entry: Vec<u8>,
    /// Its samples.
    pub samples: SampleTable,
}

/// A whole movie.
#[derive(Clone, Debug)]
pub struct Movie {
    /// Creation time in microseconds since the epoch; given, not taken from a clock, so that the
    /// same movie has the same bytes.
    pub creation_us: i64,
    /// At least one.
    pub tracks: Vec<Track>,
}

impl Movie {
    /// `ftyp`, `moov` and the head of `mdat`, so that `data_len` bytes of media follow.
    pub fn head(&self, data_len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, *b"ftyp", |out| {
            out.bytes(b"isom");
            out.u32(0x200);
            // iso4: composition offsets and edit lists as used here.
            out.bytes(b"isomiso4mp42");
        });
        let ftyp_len = out.len() as u64;
        // The size of the moov does not depend on the numbers in it, only on their width.
        let size = |wide| ftyp_len + self.moov(0, wide).len() as u64 + 16;
        let narrow_len = size(false);
        let wide = narrow_len + data_len > u64::from(u32::MAX);
        let long_mdat = data_len + 8 > u64::from(u32::MAX);
        let head_len = if wide { size(true) } else { narrow_len } - if long_mdat { 0 } else { 8 };
        out.extend(self.moov(head_len, wide));
        if long_mdat {
            out.u32(1);
            out.bytes(b"mdat");
            out.u64(data_len + 16);
        } else {
            out.u32(data_len as u32 + 8);
            out.bytes(b"mdat");
        }
        debug_assert_eq!(out.len() as u64, head_len);
        out
    }

    fn moov(&self, data_start: u64, wide: bool) -> Vec<u8> {
        let samples: usize = self.tracks.iter().map(|t| t.samples.sizes.len()).sum();
        let mut out = Vec::with_capacity(4096 + 16 * samples);
        let created =
            u64::try_from(self.creation_us.div_euclid(1_000_000) + EPOCH_1904_S).unwrap_or(0);
        let duration = self.tracks.iter().map(Track::duration).max().unwrap_or(0);
        write_box(&mut out, *b"moov", |out| {
            let version = header_version(&[created, duration]);
            write_full_box(out, *b"mvhd", version, 0, |out| {
                put_time(out, version, created);
                put_time(out, version, created);
                out.u32(MOVIE_TIMESCALE);
                put_time(out, version, duration);
                out.u32(0x0001_0000); // rate
                out.u16(0x0100); // volume
                out.zeros(10);
                put_identity_matrix(out);
                out.zeros(24);
                out.u32(self.tracks.len() as u32 + 1); // next_track_ID
            });
            for (n, track) in self.tracks.iter().enumerate() {
                track.write(out, n as u32 + 1, created, data_start, wide);
            }
        });
        out
    }
}

impl Track {
    /// In movie ticks.
    fn duration(&self) -> u64 {
        self.edits.iter().map(|edit| edit.duration).sum()
    }

    fn write(&self, out: &mut Vec<u8>, id: u32, created: u64, data_start: u64, wide: bool) {
        write_box(out, *b"trak", |out| {
            let duration = self.duration();
            let version = header_version(&[created, duration]);
            // Flags: enabled, in the movie.
            write_full_box(out, *b"tkhd", version, 3, |out| {
                put_time(out, version, created);
                put_time(out, version, created);
                out.u32(id);
                out.u32(0);
                put_time(out, version, duration);
                out.zeros(12); // reserved, layer, alternate_group
                out.u16(if self.kind == TrackKind::Audio { 0x0100 } else { 0 }); // volume
                out.u16(0);
                put_identity_matrix(out);
                let (width, height) = match self.kind {
                    TrackKind::Video { width, height } => (width, height),
                    TrackKind::Audio | TrackKind::Metadata => (0, 0),
                };
                out.u32(u32::from(width) << 16);
                out.u32(u32::from(height) << 16);
            });
            if self.kind == TrackKind::Metadata {
                // It describes the pictures (8.3.3).
                write_box(out, *b"tref", |out| write_box(out, *b"cdsc", |out| out.u32(1)));
            }
            write_box(out, *b"edts", |out| self.write_edits(out));
            write_box(out, *b"mdia", |out| self.write_media(out, created, data_start, wide));
        });
    }

    fn write_edits(&self, out: &mut Vec<u8>) {
        // Media time is signed: -1 is an empty edit.
        let long = |edit: &Edit| {
            u32::try_from(edit.duration).is_err()
                || edit.media_time.is_some_and(|t| i32::try_from(t).is_err())
        };
        let version = u8::from(self.edits.iter().any(long));
        write_full_box(out, *b"elst", version, 0, |out| {
            out.u32(self.edits.len() as u32);
            for edit in &self.edits {
                let media_time = edit.media_time.map_or(-1, |t| t as i64);
                put_time(out, version, edit.duration);
                if version == 1 {
                    out.i64(media_time);
                } else {
                    out.i32(media_time as i32);
                }
                out.u32(0x0001_0000); // media_rate
            }
        });
    }

    fn write_media(&self, out: &mut Vec<u8>, created: u64, data_start: u64, wide: bool) {
        let duration = (self.samples.end_dts() - self.samples.first_dts()) as u64;
        let version = header_version(&[created, duration]);
        write_full_box(out, *b"mdhd", version, 0, |out| {
            put_time(out, version, created);
            put_time(out, version, created);
            out.u32(self.timescale);
            put_time(out, version, duration);
            out.u16(0x55c4); // language: und
            out.u16(0);
        });
        write_full_box(out, *b"hdlr", 0, 0, |out| {
            out.u32(0);
            out.bytes(match self.kind {
                TrackKind::Video { .. } => b"vide",
                TrackKind::Audio => b"soun",
                TrackKind::Metadata => b"meta",
            });
            out.zeros(12);
            out.u8(0); // no name
        });
        write_box(out, *b"minf", |out| {
            match self.kind {
                TrackKind::Video { .. } => write_full_box(out, *b"vmhd", 0, 1, |out| out.zeros(8)),
                TrackKind::Audio => write_full_box(out, *b"smhd", 0, 0, |out| out.zeros(4)),
                TrackKind::Metadata => write_full_box(out, *b"nmhd", 0, 0, |_| {}),
            }
            write_box(out, *b"dinf", |out| {
                write_full_box(out, *b"dref", 0, 0, |out| {
                    out.u32(1);
                    write_full_box(out, *b"url ", 0, 1, |_| {}); // in this file
                });
            });
            write_box(out, *b"stbl", |out| {
                self.samples.write(out, &self.sample_entry, data_start, wide);
            });
        });
    }
}

/// Version of a header box: 1 has times in 8 bytes.
fn header_version(times: &[u64]) -> u8 {
    u8::from(times.iter().any(|&t| t > u64::from(u32::MAX)))
}

fn put_time(out: &mut Vec<u8>, version: u8, time: u64) {
    if version == 1 {
        out.u64(time);
    } else {
        out.u32(time as u32);
    }
}

fn put_identity_matrix(out: &mut Vec<u8>) {
    for v in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        out.u32(v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn movie(creation_us: i64, media_time: u64) -> Movie {
        let mut samples = SampleTable::with_capacity(2);
        samples.begin_chunk(0);
        for (dts, pts) in [(0, 0), (3_000, 9_000), (6_000, 6_000)] {
            let sync = dts == 0;
            samples.push(TimedSample { dts, pts, duration: 3_000, size: 10, sync }).unwrap();
        }
        let track = Track {
            kind: TrackKind::Video { width: 320, height: 180 },
            timescale: 90_000,
            edits: vec![Edit { duration: 9_000, media_time: Some(media_time) }],
            sample_entry: vec![0, 0, 0, 8, b't', b'e', b's', b't'],
            samples,
        };
        Movie { creation_us, tracks: vec![track] }
    }

    /// Position of a box's content.
    fn find(data: &[u8], kind: &[u8; 4]) -> Option<usize> {
        data.windows(4).position(|w| w == kind).map(|at| at + 4)
    }

    #[test]
    fn chunk_offsets_point_behind_the_head() {
        let head = movie(0, 0).head(30);
        let stco = find(&head, b"stco").unwrap();
        assert_eq!(head[stco + 8..stco + 12], (head.len() as u32).to_be_bytes());
        assert_eq!(head[head.len() - 8..], [0, 0, 0, 38, b'm', b'd', b'a', b't']);
    }

    #[test]
    fn more_than_4_gib_of_media_takes_wide_offsets() {
        let data_len = 5 << 30;
        let head = movie(0, 0).head(data_len);
        let co64 = find(&head, b"co64").unwrap();
        assert_eq!(head[co64 + 8..co64 + 16], (head.len() as u64).to_be_bytes());
        assert_eq!(head[head.len() - 8..], (data_len + 16).to_be_bytes());
        // Just under: the media alone fits, with the head it does not.
        let head = movie(0, 0).head(u64::from(u32::MAX) - 8);
        assert!(find(&head, b"co64").is_some());
        assert_eq!(head[head.len() - 8..head.len() - 4], u32::MAX.to_be_bytes());
    }

    #[test]
    fn times_that_need_it_get_8_bytes() {
        let version = |head: &[u8], kind| head[find(head, kind).unwrap()];
        let usual = movie(1_763_000_000_000_000, 0).head(30);
        assert_eq!([b"mvhd", b"tkhd", b"mdhd", b"elst"].map(|k| version(&usual, k)), [0; 4]);
        let in_2041 = movie(2_250_000_000_000_000, 1 << 31).head(30);
        assert_eq!([b"mvhd", b"tkhd", b"mdhd", b"elst"].map(|k| version(&in_2041, k)), [1; 4]);
    }

    #[test]
    fn tables_run_length_coded() {
        let head = movie(0, 0).head(30);
        let words = |kind: &[u8; 4], n: usize| -> Vec<u32> {
            let at = find(&head, kind).unwrap();
            let word =
                |i: usize| u32::from_be_bytes(head[at + 4 * i..at + 4 * i + 4].try_into().unwrap());
            (0..n).map(word).collect()
        };
        assert_eq!(words(b"stts", 4), [0, 1, 3, 3_000]);
        assert_eq!(words(b"ctts", 8), [0, 3, 1, 0, 1, 6_000, 1, 0]);
        assert_eq!(words(b"stss", 3), [0, 1, 1]);
        assert_eq!(words(b"stsz", 6), [0, 0, 3, 10, 10, 10]);
        assert_eq!(words(b"stsc", 5), [0, 1, 1, 3, 1]);
    }

    #[test]
    fn decoding_time_must_grow() {
        let mut samples = SampleTable::with_capacity(0);
        let sample = TimedSample { dts: 5, pts: 5, duration: 1, size: 1, sync: true };
        samples.push(sample).unwrap();
        assert!(samples.push(sample).is_err());
        assert!(samples.push(TimedSample { dts: 6, pts: 1 << 40, ..sample }).is_err());
    }
}
