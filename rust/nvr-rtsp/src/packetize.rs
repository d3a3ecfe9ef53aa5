//! Access units into RTP packets: H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640).

use crate::error::{Error, Result};
use crate::params::{ParameterSets, VideoCodec, nal_units};
use crate::sdp::{AUDIO_PAYLOAD_TYPE, AudioCodec, VIDEO_PAYLOAD_TYPE};

/// Bytes of an RTP header without extensions (RFC 3550, 5.1).
pub(crate) const RTP_HEADER_LEN: usize = 12;

/// Bytes before each packet on an interleaved connection (RFC 2326, 10.12).
pub(crate) const INTERLEAVED_LEN: usize = 4;

/// AAC frames of more bytes do not fit the 13 bits of the size field (RFC 3640, 3.3.6).
pub const MAX_AAC_FRAME: usize = (1 << 13) - 1;

/// The most bytes of G.711 or Opus that are sent at once: a second of G.711 is 8,000, and six frames of
/// Opus in a packet (RFC 6716, 3.4) 7,650.
const MAX_WHOLE_FRAME: usize = 16 << 10;

/// The packets of one access unit, ready for an interleaved connection but for what differs from
/// viewer to viewer (channel, sequence number, timestamp, source), which is zero.
#[derive(Debug, Default)]
pub struct Packets {
    data: Vec<u8>,
    starts: Vec<usize>,
    payload_type: u8,
}

/// What differs from viewer to viewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) channel: u8,
    pub(crate) first_sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
}

impl Packets {
    fn begin(&mut self, payload_type: u8) {
        self.data.clear();
        self.starts.clear();
        self.payload_type = payload_type;
    }

    /// How many packets there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of all payloads, as sender reports count them.
    pub fn payload_bytes(&self) -> usize {
        self.data.len() - self.count() * (INTERLEAVED_LEN + RTP_HEADER_LEN)
    }

    /// Appends all packets, each behind its interleaved header, as one viewer gets them.
    pub(crate) fn stamp_into(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let base = out.len();
        out.extend_from_slice(&self.data);
        for (start, sequence) in self.starts.iter().zip(0u16..) {
            let packet = &mut out[base + start..];
            packet[1] = stamp.channel;
            let sequence = stamp.first_sequence.wrapping_add(sequence);
            packet[6..8].copy_from_slice(&sequence.to_be_bytes());
            packet[8..12].copy_from_slice(&stamp.timestamp.to_be_bytes());
            packet[12..16].copy_from_slice(&stamp.ssrc.to_be_bytes());
        }
    }

    /// Where each packet lies in what [`stamp_into`](Self::stamp_into) appended, without its
    /// interleaved header.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let ends = self.starts.iter().skip(1).copied().chain([self.data.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| start + INTERLEAVED_LEN..end)
    }

    fn push(&mut self, marker: bool, head: &[u8], body: &[u8]) {
        let len = RTP_HEADER_LEN + head.len() + body.len();
        self.starts.push(self.data.len());
        self.data.extend_from_slice(b"$\0");
        self.data.extend_from_slice(&(len as u16).to_be_bytes());
        self.data.extend_from_slice(&[0x80, u8::from(marker) << 7 | self.payload_type]);
        self.data.extend_from_slice(&[0; RTP_HEADER_LEN - 2]);
        self.data.extend_from_slice(head);
        self.data.extend_from_slice(body);
    }

    /// Becomes an access unit (length-prefixed NAL units); at a random-access point the parameter sets go
    /// before it. The marker is on the last packet. Payloads have at most `max_payload` bytes.
    pub fn video(
        &mut self,
        codec: VideoCodec,
        sample: &[u8],
        parameter_sets: Option<&ParameterSets>,
        max_payload: usize,
    ) {
        self.begin(VIDEO_PAYLOAD_TYPE);
        let mut nals = nal_units(sample).peekable();
        if let Some(delimiter) = nals.next_if(|nal| codec.is_delimiter(nal)) {
            self.nal(codec, delimiter, false, max_payload);
        }
        for set in parameter_sets.iter().flat_map(|sets| sets.iter()) {
            self.nal(codec, set, false, max_payload);
        }
        while let Some(nal) = nals.next() {
            self.nal(codec, nal, nals.peek().is_none(), max_payload);
        }
    }

    /// One NAL unit: as it is if it fits, else in fragments (RFC 6184, 5.8; RFC 7798, 4.4.3).
    fn nal(&mut self, codec: VideoCodec, nal: &[u8], last: bool, max_payload: usize) {
        if nal.len() <= max_payload {
            self.push(last, &[], nal);
            return;
        }
        let nal_type = codec.nal_type(nal);
        let mut head = match codec {
            VideoCodec::H264 => vec![nal[0] & 0xe0 | 28, nal_type],
            VideoCodec::H265 => vec![nal[0] & 0x81 | 49 << 1, nal[1], nal_type],
        };
        let fu = head.len() - 1;
        let body = &nal[codec.nal_header_len()..];
        let mut chunks = body.chunks(max_payload - head.len()).peekable();
        let mut start = 0x80;
        while let Some(chunk) = chunks.next() {
            let end = chunks.peek().is_none();
            head[fu] = nal_type | start | u8::from(end) << 6;
            self.push(last && end, &head, chunk);
            start = 0;
        }
    }

    /// One frame of sound: AAC as by [`aac`](Self::aac); G.711 and Opus in one packet whatever its
    /// size, since each packet would need a time of its own.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is empty or too large.
    pub fn sound(&mut self, codec: AudioCodec, frame: &[u8], max_payload: usize) -> Result<()> {
        let most = match codec {
            AudioCodec::Aac => MAX_AAC_FRAME,
            AudioCodec::G711Ulaw | AudioCodec::G711Alaw | AudioCodec::Opus => MAX_WHOLE_FRAME,
        };
        if frame.is_empty() || frame.len() > most {
            return Err(Error::invalid(format!("a sound frame of {} bytes", frame.len())));
        }
        if codec == AudioCodec::Aac {
            self.aac(frame, max_payload);
        } else {
            self.begin(AUDIO_PAYLOAD_TYPE);
            self.push(true, &[], frame);
        }
        Ok(())
    }

    /// Becomes one AAC frame in mode AAC-hbr (RFC 3640, 3.3.6): one AU header, and fragments if it does
    /// not fit (each with the whole frame's size). The frame has at most [`MAX_AAC_FRAME`] bytes.
    pub fn aac(&mut self, frame: &[u8], max_payload: usize) {
        self.begin(AUDIO_PAYLOAD_TYPE);
        let size = ((frame.len() as u16) << 3).to_be_bytes();
        let head = [0, 16, size[0], size[1]];
        let mut chunks = frame.chunks(max_payload - head.len()).peekable();
        while let Some(chunk) = chunks.next() {
            self.push(chunks.peek().is_none(), &head, chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{avcc, sample};

    const STAMP: Stamp = Stamp {
        channel: 6,
        first_sequence: u16::MAX - 1,
        timestamp: 0x0102_0304,
        ssrc: 0xa0b0_c0d0,
    };

    /// Payloads and markers, after a check of everything around them.
    fn received(packets: &Packets, payload_type: u8, max_payload: usize) -> Vec<(bool, Vec<u8>)> {
        let mut stream = b"before".to_vec();
        packets.stamp_into(&mut stream, STAMP);
        let stream = &stream[6..];
        let mut at = 0;
        let mut out = Vec::new();
        for (number, datagram) in packets.datagrams().enumerate() {
            assert_eq!(stream[at..at + 2], [b'$', STAMP.channel]);
            let len = usize::from(u16::from_be_bytes([stream[at + 2], stream[at + 3]]));
            assert_eq!(datagram, at + 4..at + 4 + len);
            let packet = &stream[datagram];
            assert_eq!(packet[0], 0x80);
            assert_eq!(packet[1] & 0x7f, payload_type);
            let sequence = STAMP.first_sequence.wrapping_add(number as u16);
            assert_eq!(packet[2..4], sequence.to_be_bytes());
            assert_eq!(packet[4..8], STAMP.timestamp.to_be_bytes());
            assert_eq!(packet[8..12], STAMP.ssrc.to_be_bytes());
            assert!(packet.len() - RTP_HEADER_LEN <= max_payload);
            out.push((packet[1] & 0x80 != 0, packet[RTP_HEADER_LEN..].to_vec()));
            at += 4 + len;
        }
        assert_eq!(at, stream.len());
        assert_eq!(packets.payload_bytes(), out.iter().map(|(_, p)| p.len()).sum::<usize>());
        let (last, others) = out.split_last().unwrap();
        assert!(last.0 && others.iter().all(|(marker, _)| !marker), "only the last has the marker");
        out
    }

    /// NAL units out of payloads, as RFC 6184 and RFC 7798 tell a receiver to.
    fn reassemble(codec: VideoCodec, payloads: &[(bool, Vec<u8>)]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        let mut open = false;
        for (_, payload) in payloads {
            let (fragment, fu, head) = match codec {
                VideoCodec::H264 => {
                    (payload[0] & 0x1f == 28, 1, vec![payload[0] & 0xe0 | payload[1] & 0x1f])
                }
                VideoCodec::H265 => (
                    (payload[0] >> 1) & 0x3f == 49,
                    2,
                    vec![payload[0] & 0x81 | (payload[2] & 0x3f) << 1, payload[1]],
                ),
            };
            if !fragment {
                assert!(!open);
                nals.push(payload.clone());
                continue;
            }
            let (start, end) = (payload[fu] & 0x80 != 0, payload[fu] & 0x40 != 0);
            assert_eq!(start, !open);
            assert!(!(start && end), "RFC 6184, 5.8: never both");
            if start {
                nals.push(head);
            }
            nals.last_mut().unwrap().extend(&payload[fu + 1..]);
            open = !end;
        }
        assert!(!open);
        nals
    }

    fn nal(codec: VideoCodec) -> impl Strategy<Value = Vec<u8>> {
        let kind = match codec {
            VideoCodec::H264 => 1..=8u8,
            VideoCodec::H265 => 0..=34u8,
        };
        (kind, 0..4u8, prop::collection::vec(any::<u8>(), 2..2000)).prop_map(
            move |(kind, high, body)| {
                let mut nal = match codec {
                    VideoCodec::H264 => vec![high << 5 | kind],
                    VideoCodec::H265 => vec![kind << 1 | high & 1, 0x08 | 1],
                };
                nal.extend(body);
                nal
            },
        )
    }

    proptest! {
        #[test]
        fn h264_comes_back(
            nals in prop::collection::vec(nal(VideoCodec::H264), 1..5), max_payload in 64..1500usize,
        ) {
            let mut packets = Packets::default();
            packets.video(VideoCodec::H264, &sample(&nals), None, max_payload);
            let payloads = received(&packets, 96, max_payload);
            prop_assert_eq!(reassemble(VideoCodec::H264, &payloads), nals);
        }

        #[test]
        fn h265_comes_back(
            nals in prop::collection::vec(nal(VideoCodec::H265), 1..5), max_payload in 64..1500usize,
        ) {
            let mut packets = Packets::default();
            packets.video(VideoCodec::H265, &sample(&nals), None, max_payload);
            let payloads = received(&packets, 96, max_payload);
            prop_assert_eq!(reassemble(VideoCodec::H265, &payloads), nals);
        }

        #[test]
        fn g711_is_one_packet(frame in prop::collection::vec(any::<u8>(), 1..1000)) {
            let mut packets = Packets::default();
            packets.sound(AudioCodec::G711Ulaw, &frame, 1000).unwrap();
            prop_assert_eq!(received(&packets, 97, 1000), vec![(true, frame)]);
        }

        #[test]
        fn aac_comes_back(
            frame in prop::collection::vec(any::<u8>(), 1..=MAX_AAC_FRAME), max_payload in 64..1500usize,
        ) {
            let mut packets = Packets::default();
            packets.aac(&frame, max_payload);
            let mut joined: Vec<u8> = Vec::new();
            for (_, payload) in received(&packets, 97, max_payload) {
                prop_assert_eq!(&payload[..2], &[0, 16]);
                let header = u16::from_be_bytes([payload[2], payload[3]]);
                prop_assert_eq!(usize::from(header >> 3), frame.len());
                prop_assert_eq!(header & 7, 0);
                joined.extend(&payload[4..]);
            }
            prop_assert_eq!(joined, frame);
        }
    }

    #[test]
    fn parameter_sets_go_between_the_delimiter_and_the_picture() {
        let (sps, pps) = (vec![0x67, 0x42, 0, 30], vec![0x68, 2]);
        let sets = ParameterSets::parse(VideoCodec::H264, &avcc(&sps, &pps)).unwrap();
        let (delimiter, picture) = (vec![9, 0xf0], vec![0x65, 1, 2, 3]);
        let mut packets = Packets::default();
        let access_unit = sample(&[delimiter.clone(), picture.clone()]);
        packets.video(VideoCodec::H264, &access_unit, Some(&sets), 1400);
        let payloads = received(&packets, 96, 1400);
        assert_eq!(reassemble(VideoCodec::H264, &payloads), [delimiter, sps, pps, picture]);
    }
}
