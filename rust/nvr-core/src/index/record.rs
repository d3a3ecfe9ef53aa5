//! One index record: 48 bytes, little-endian.

use crate::table::FragmentEntry;

/// Bytes of a record.
pub const RECORD_LEN: usize = 48;

/// What the index knows of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Wall time at which its earliest picture is shown.
    pub wall_start_us: i64,
    /// Until its last picture ends.
    pub duration_us: u32,
    /// Milliseconds from midnight (UTC) of its segment, as in the segment's file name.
    pub segment_ms: u32,
    /// Position in the segment file.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// Begins with a random-access point.
    pub random_access: bool,
    /// Has pictures that are shown before its random-access point.
    pub leading: bool,
    /// How many pictures.
    pub pictures: u16,
    /// How many fragments back its random-access point is.
    pub random_access_distance: u16,
    /// Bytes of pictures that are not random-access points.
    pub activity_bytes: u32,
    /// Camera's clock minus the recorder's in milliseconds; `i32::MIN`: not known.
    pub camera_clock_offset_ms: i32,
    /// Counts from 0 within the run.
    pub sequence: u32,
}

impl Record {
    /// Of a fragment at its place in a segment.
    pub fn of(entry: &FragmentEntry, segment_ms: u32) -> Self {
        Record {
            wall_start_us: entry.wall_start_us,
            duration_us: entry.duration_us,
            segment_ms,
            offset: entry.offset,
            length: entry.length,
            random_access: entry.random_access,
            leading: entry.leading,
            pictures: u16::try_from(entry.video.sample_count).unwrap_or(u16::MAX),
            random_access_distance: entry.random_access_distance,
            activity_bytes: entry.activity_bytes,
            camera_clock_offset_ms: entry.camera_clock_offset_ms,
            sequence: entry.sequence,
        }
    }

    /// End of its last picture, as far as was known when it was written.
    pub fn wall_end_us(&self) -> i64 {
        self.wall_start_us.saturating_add(i64::from(self.duration_us))
    }

    /// As stored.
    pub fn to_bytes(&self) -> [u8; RECORD_LEN] {
        let mut out = [0; RECORD_LEN];
        let flags = u16::from(self.random_access) | (u16::from(self.leading) << 1);
        out[0..8].copy_from_slice(&self.wall_start_us.to_le_bytes());
        out[8..12].copy_from_slice(&self.duration_us.to_le_bytes());
        out[12..16].copy_from_slice(&self.segment_ms.to_le_bytes());
        out[16..20].copy_from_slice(&self.offset.to_le_bytes());
        out[20..24].copy_from_slice(&self.length.to_le_bytes());
        out[24..26].copy_from_slice(&flags.to_le_bytes());
        out[26..28].copy_from_slice(&self.pictures.to_le_bytes());
        out[28..30].copy_from_slice(&self.random_access_distance.to_le_bytes());
        out[32..36].copy_from_slice(&self.activity_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.camera_clock_offset_ms.to_le_bytes());
        out[40..44].copy_from_slice(&self.sequence.to_le_bytes());
        let crc = crc32c::crc32c(&out[..44]);
        out[44..48].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a stored record; `None` when its CRC is wrong.
    pub fn from_bytes(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if crc32c::crc32c(&bytes[..44]) != u32_at(44) {
            return None;
        }
        let flags = u16_at(24);
        Some(Record {
            wall_start_us: i64::from(u32_at(0)) | (i64::from(u32_at(4)) << 32),
            duration_us: u32_at(8),
            segment_ms: u32_at(12),
            offset: u32_at(16),
            length: u32_at(20),
            random_access: flags & 1 != 0,
            leading: flags & 2 != 0,
            pictures: u16_at(26),
            random_access_distance: u16_at(28),
            activity_bytes: u32_at(32),
            camera_clock_offset_ms: u32_at(36).cast_signed(),
            sequence: u32_at(40),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_reads_back(
            times in (any::<i64>(), any::<u32>(), any::<u32>()),
            place in (any::<u32>(), any::<u32>(), any::<bool>(), any::<bool>()),
            counts in (any::<u16>(), any::<u16>(), any::<u32>(), any::<i32>(), any::<u32>()),
            damage in (0usize..RECORD_LEN, 1u8..),
        ) {
            let record = Record {
                wall_start_us: times.0, duration_us: times.1, segment_ms: times.2,
                offset: place.0, length: place.1, random_access: place.2, leading: place.3,
                pictures: counts.0, random_access_distance: counts.1, activity_bytes: counts.2,
                camera_clock_offset_ms: counts.3, sequence: counts.4,
            };
            let mut bytes = record.to_bytes();
            prop_assert_eq!(Record::from_bytes(&bytes), Some(record));
            bytes[damage.0] ^= damage.1;
            prop_assert_eq!(Record::from_bytes(&bytes), None);
        }
    }
}
