//! What a receiver reports (RFC 3550, sections 6.4.2 and 6.5 and appendix A).

use std::time::Instant;

use rtcp_types::{
    Compound, ReceiverReport, ReportBlock, RtcpPacketWriterExt as _, Sdes, SdesChunk, SdesItem,
    SenderReport,
};

/// As in what this recorder sends to its own clients.
const CNAME: &str = "nvr";

/// Enough for a receiver report with one block and a source description.
const MAX_REPORT_BYTES: usize = 128;

/// How one source is received.
#[derive(Debug)]
pub(super) struct Reception {
    /// Our own name in reports.
    ours: u32,
    clock_hz: u32,
    began: Instant,
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// The first sequence number, and the highest, counted on over its wraps.
    first: u32,
    highest: u32,
    received: u32,
    /// Expected and received at the last report.
    before: (u32, u32),
    transit: u32,
    /// In 1/16 of a tick (appendix A.8).
    jitter_16: u32,
    /// The middle of the newest sender report's NTP time, and when it came.
    sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// `clock_hz`: ticks a second of the source's RTP timestamps.
    pub(super) fn new(clock_hz: u32, now: Instant) -> Self {
        Reception { ours: rand::random(), clock_hz, began: now, source: None }
    }

    /// Counts a packet and says whether it is of the source that the first one was of.
    pub(super) fn packet(
        &mut self,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        now: Instant,
    ) -> bool {
        let ticks = now.duration_since(self.began).as_secs_f64() * f64::from(self.clock_hz);
        let transit = (ticks as u64 as u32).wrapping_sub(timestamp);
        let source = self.source.get_or_insert_with(|| Source {
            ssrc,
            first: sequence.into(),
            highest: sequence.into(),
            received: 0,
            before: (0, 0),
            transit,
            jitter_16: 0,
            sender_report: None,
        });
        if source.ssrc != ssrc {
            return false;
        }
        source.received = source.received.wrapping_add(1);
        let ahead = sequence.wrapping_sub(source.highest as u16);
        if ahead < 0x8000 {
            source.highest = source.highest.wrapping_add(ahead.into());
        }
        let change = (transit.wrapping_sub(source.transit) as i32).unsigned_abs();
        source.transit = transit;
        let jitter = source.jitter_16;
        source.jitter_16 =
            jitter.saturating_add(change).saturating_sub(jitter.saturating_add(8) >> 4);
        true
    }

    /// Takes what the source says by RTCP.
    pub(super) fn control(&mut self, compound: &[u8], now: Instant) {
        let Some(source) = &mut self.source else { return };
        let Ok(packets) = Compound::parse(compound) else { return };
        for packet in packets.flatten() {
            if let Ok(report) = packet.try_as::<SenderReport<'_>>()
                && report.ssrc() == source.ssrc
            {
                source.sender_report = Some(((report.ntp_timestamp() >> 16) as u32, now));
            }
        }
    }

    /// Something came.
    pub(super) fn has_begun(&self) -> bool {
        self.source.is_some()
    }

    /// The next report: a compound packet.
    pub(super) fn report(&mut self, now: Instant) -> Vec<u8> {
        let mut report = ReceiverReport::builder(self.ours);
        if let Some(source) = &mut self.source {
            report = report.add_report_block(source.block(now));
        }
        let name =
            SdesChunk::builder(self.ours).add_item(SdesItem::builder(SdesItem::CNAME, CNAME));
        let compound =
            Compound::builder().add_packet(report).add_packet(Sdes::builder().add_chunk(name));
        let mut bytes = vec![0; MAX_REPORT_BYTES];
        // Fails only for values out of range, and none is.
        let written = compound.write_into(&mut bytes).unwrap_or_default();
        bytes.truncate(written);
        bytes
    }
}

impl Source {
    fn block(&mut self, now: Instant) -> rtcp_types::ReportBlockBuilder {
        let expected = self.highest.wrapping_sub(self.first).wrapping_add(1);
        let (expected_before, received_before) = self.before;
        self.before = (expected, self.received);
        // What is doubled can make more of them than were expected.
        let lost = (expected.wrapping_sub(self.received) as i32).clamp(-0x80_0000, 0x7f_ffff);
        let lately = expected.wrapping_sub(expected_before);
        let lost_lately =
            (lately.wrapping_sub(self.received.wrapping_sub(received_before)) as i32).max(0) as u32;
        let fraction =
            if lately == 0 { 0 } else { (u64::from(lost_lately) << 8) / u64::from(lately) };
        let (last, delay) = self.sender_report.map_or((0, 0), |(last, came)| {
            (last, (now.duration_since(came).as_secs_f64() * 65_536.0) as u32)
        });
        ReportBlock::builder(self.ssrc)
            .fraction_lost(fraction.min(255) as u8)
            .cumulative_lost(lost as u32 & 0xff_ffff)
            .extended_sequence_number(self.highest)
            .interarrival_jitter(self.jitter_16 >> 4)
            .last_sender_report_timestamp(last)
            .delay_since_last_sender_report_timestamp(delay)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rtcp_types::{Packet, RtcpPacketWriterExt as _};

    use super::*;

    /// The one block of a report: fraction and number lost, highest number, jitter, last sender
    /// report and time since.
    fn block(report: &[u8]) -> (u8, u32, u32, u32, u32, u32) {
        let packets: Vec<_> = Compound::parse(report).unwrap().map(Result::unwrap).collect();
        let [Packet::Rr(rr), Packet::Sdes(sdes)] = &packets[..] else { panic!("{packets:?}") };
        let chunk = sdes.chunks().next().unwrap();
        assert_eq!(chunk.ssrc(), rr.ssrc());
        assert_eq!(chunk.items().next().unwrap().value(), CNAME.as_bytes());
        let b = rr.report_blocks().next().unwrap();
        assert_eq!(b.ssrc(), 7);
        (
            b.fraction_lost(),
            b.cumulative_lost(),
            b.extended_sequence_number(),
            b.interarrival_jitter(),
            b.last_sender_report_timestamp(),
            b.delay_since_last_sender_report_timestamp(),
        )
    }

    #[test]
    fn reports_what_came_and_what_did_not() {
        let start = Instant::now();
        let mut reception = Reception::new(90_000, start);
        let empty = reception.report(start);
        let Packet::Rr(rr) = Compound::parse(&empty).unwrap().next().unwrap().unwrap() else {
            panic!("a receiver report is due")
        };
        assert_eq!(rr.n_reports(), 0);
        for n in 0..8_u32 {
            let sequence = 65_532_u16.wrapping_add(n as u16);
            let now = start + Duration::from_millis(40 * u64::from(n));
            if n != 5 && n != 6 {
                assert!(reception.packet(7, sequence, 3_600 * n, now));
            }
        }
        assert!(!reception.packet(8, 1, 0, start), "another source");
        let ntp = 0x1234_5678_9abc_def0;
        let mut report = vec![0; 64];
        let length = SenderReport::builder(7).ntp_timestamp(ntp).write_into(&mut report).unwrap();
        reception.control(&report[..length], start);
        // 2 of 8 are a quarter. The clocks go alike: no jitter.
        let (fraction, lost, highest, jitter, last, delay) =
            block(&reception.report(start + Duration::from_millis(1_500)));
        assert_eq!((fraction, lost, highest), (64, 2, 65_539));
        assert!(jitter <= 1, "{jitter}");
        assert_eq!((last, delay), (0x5678_9abc, 98_304));
        // One that was late, and a doubled one: more than expected since.
        assert!(reception.packet(7, 1, 0, start) && reception.packet(7, 1, 0, start));
        let (fraction, lost, ..) = block(&reception.report(start));
        assert_eq!((fraction, lost), (0, 0));
        assert!(reception.packet(7, 1, 0, start));
        assert_eq!(block(&reception.report(start)).1, 0xff_ffff, "-1 in 24 bits");
    }

    proptest! {
        #[test]
        fn any_packets_can_be_reported(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0_u64..100), 0..100),
            control in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut now = Instant::now();
            let mut reception = Reception::new(90_000, now);
            for (sequence, timestamp, wait) in packets {
                now += Duration::from_millis(wait);
                reception.packet(7, sequence, timestamp, now);
                reception.control(&control, now);
                let report = reception.report(now);
                prop_assert!(!report.is_empty());
                block(&report);
            }
        }
    }
}
