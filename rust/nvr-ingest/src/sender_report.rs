//! The camera's own clock, by RTCP sender reports (RFC 3550, section 6.4.1).

use retina::rtcp::ReceivedCompoundPacket;

/// Seconds between the origins of NTP (1900) and Unix (1970) time.
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// The camera's clock minus the recorder's, in microseconds, by a compound packet that
/// begins with a sender report; none if it does not, or if the camera says that it has no
/// clock (a zero).
///
/// Each report counts as it is, unsmoothed: a step of a camera's clock must show as a step.
/// The report's way through the network makes the offset too low, by milliseconds.
pub(crate) fn clock_offset_us(packet: &ReceivedCompoundPacket, arrival_us: i64) -> Option<i64> {
    let first = packet.pkts().next()?;
    let report = first.as_sender_report().ok()??;
    let camera = report.ntp_timestamp().0;
    (camera != 0).then(|| offset_us(camera, arrival_us))
}

/// An NTP timestamp (32.32 fixed point) minus a wall time. NTP's seconds wrap in 2036: the
/// era is the one that makes the difference smaller than 68 years.
fn offset_us(ntp: u64, wall_us: i64) -> i64 {
    let fixed = (i128::from(wall_us) << 32) / 1_000_000;
    let recorder = (NTP_UNIX_SECONDS << 32).wrapping_add(fixed as u64);
    let difference = ntp.wrapping_sub(recorder) as i64;
    let us = (i128::from(difference) * 1_000_000) >> 32;
    i64::try_from(us).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ntp_of(wall_us: i64) -> u64 {
        let seconds = u64::try_from(wall_us.div_euclid(1_000_000)).unwrap() + NTP_UNIX_SECONDS;
        let fraction = (u64::try_from(wall_us.rem_euclid(1_000_000)).unwrap() << 32) / 1_000_000;
        (seconds << 32) | fraction
    }

    fn report(ntp: u64) -> ReceivedCompoundPacket {
        let mut raw = vec![0x80, 200, 0, 6, 1, 2, 3, 4];
        raw.extend(ntp.to_be_bytes());
        raw.extend([0; 12]);
        ReceivedCompoundPacket::dummy(None, &raw)
    }

    #[test]
    fn offset_of_a_real_report() {
        let now_us = 1_795_478_400_000_000;
        let camera = report(ntp_of(now_us - 2_500_000));
        let offset = clock_offset_us(&camera, now_us).unwrap();
        assert!((offset + 2_500_000).abs() <= 1, "{offset}");
    }

    #[test]
    fn no_clock_and_no_sender_report_give_nothing() {
        assert_eq!(clock_offset_us(&report(0), 1), None);
        let receiver_report = [0x80, 201, 0, 1, 1, 2, 3, 4];
        assert_eq!(
            clock_offset_us(&ReceivedCompoundPacket::dummy(None, &receiver_report), 1),
            None
        );
    }

    #[test]
    fn the_era_ends_in_2036_without_a_jump() {
        // 2036-02-07T06:28:16Z, when the seconds of NTP are zero again.
        let wrap_us = 2_085_978_496_000_000;
        assert_eq!(offset_us(1 << 32, wrap_us), 1_000_000);
    }

    proptest! {
        #[test]
        fn offset_is_the_difference(wall_us in 0_i64..4_000_000_000_000_000, off_us in -1_000_000_000_000_i64..1_000_000_000_000) {
            let camera_us = wall_us + off_us;
            prop_assume!(camera_us >= 0);
            let seconds = (u64::try_from(camera_us / 1_000_000).unwrap() + NTP_UNIX_SECONDS) & 0xFFFF_FFFF;
            let fraction = (u64::try_from(camera_us % 1_000_000).unwrap() << 32) / 1_000_000;
            let offset = offset_us((seconds << 32) | fraction, wall_us);
            prop_assert!((offset - off_us).abs() <= 1, "{} {}", offset, off_us);
        }

        #[test]
        fn any_report_is_survived(ntp: u64, wall_us: i64) {
            offset_us(ntp, wall_us);
        }
    }
}
