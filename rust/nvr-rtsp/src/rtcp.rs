//! RTCP sender reports (RFC 3550, 6.4.1), each with the source description that must go with it, and
//! the goodbye at the end (6.6).

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

const CNAME: &[u8; 3] = b"nvr";

/// What a sender reports of one track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    /// When the picture (or sound) of `timestamp` was taken, microseconds since the Unix epoch.
    pub(crate) wall_us: i64,
    /// RTP timestamp of the same instant.
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) payload_bytes: u32,
}

impl SenderReport {
    /// The compound packet: sender report, source description, and the goodbye when it is the last.
    pub(crate) fn to_bytes(self, last: bool) -> Vec<u8> {
        let micros = u64::try_from(self.wall_us).unwrap_or(0);
        let seconds = (micros / 1_000_000 + NTP_TO_UNIX_S) as u32;
        let fraction = (((micros % 1_000_000) << 32) / 1_000_000) as u32;
        let mut out = vec![0x80, 200, 0, 6];
        for word in [self.ssrc, seconds, fraction, self.timestamp, self.packets, self.payload_bytes]
        {
            out.extend(word.to_be_bytes());
        }
        // One chunk: the source, one CNAME item, and zeros to the next multiple of 4.
        let items = 2 + CNAME.len();
        let padded = items + 4 - items % 4;
        out.extend([0x81, 202, 0, (1 + padded / 4) as u8]);
        out.extend(self.ssrc.to_be_bytes());
        out.extend([1, CNAME.len() as u8]);
        out.extend(CNAME);
        out.resize(out.len() + padded - items, 0);
        if last {
            out.extend([0x81, 203, 0, 1]);
            out.extend(self.ssrc.to_be_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_as_in_the_rfc() {
        let report = SenderReport {
            ssrc: 0x0102_0304,
            wall_us: 1_500_000,
            timestamp: 9,
            packets: 2,
            payload_bytes: 300,
        };
        let bytes = report.to_bytes(true);
        assert_eq!(bytes[..8], [0x80, 200, 0, 6, 1, 2, 3, 4]);
        // 1.5 s after the Unix epoch: 2,208,988,801 s and half of 2^32.
        assert_eq!(bytes[8..16], [0x83, 0xaa, 0x7e, 0x81, 0x80, 0, 0, 0]);
        assert_eq!(bytes[16..28], [0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 1, 44]);
        let (description, goodbye) = bytes[28..].split_at(bytes.len() - 28 - 8);
        assert_eq!(goodbye, [0x81, 203, 0, 1, 1, 2, 3, 4]);
        assert_eq!(description[..2], [0x81, 202]);
        let words = usize::from(u16::from_be_bytes([description[2], description[3]]));
        assert_eq!(description.len(), (words + 1) * 4);
        assert_eq!(&description[8..10], [1, 3]);
        assert_eq!(&description[10..13], CNAME);
        assert!(description[13..].iter().all(|&b| b == 0) && description.len() > 13);
    }
}
