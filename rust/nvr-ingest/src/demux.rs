//! From a session's packets to pictures, sound and metadata.
//!
//! The library would do both steps at once (`Demuxed`). It puts a picture together in the ring that
//! it reads the connection into, which grows to twice the largest picture of each camera and stays
//! so; it has no depacketizer for Opus; and it collects a document of ONVIF metadata without a bound.
//! So cameras are read packet by packet. What makes pictures and most sound of packets are still its
//! depacketizers, by the interface that its own benchmarks use (hidden, so its version is pinned),
//! in [buffers](Buffers) that cameras share.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream as _;
use parking_lot::Mutex;
use retina::PacketContext;
use retina::client::{PacketItem, Playing, Session, Stream};
use retina::codec::{CodecItem, Depacketizer, FrameFormat, ParametersRef};
use retina::rtp::{PacketMeta, ReceivedPacket};
use retina::testutil::DepacketizeBuf;

use crate::{MAX_PICTURE, opus};

/// What comes of a session.
pub(crate) enum Item {
    /// As the library has it.
    Codec(CodecItem),
    /// A packet of Opus, which is a frame (RFC 7587, 4.2).
    Opus { pts: i64, duration: u32, received: std::time::Instant, data: Bytes },
    /// A document of metadata.
    Metadata { received: std::time::Instant, data: Bytes },
}

/// What went wrong.
pub(crate) enum Trouble {
    /// In the library's words; it may be the end of the session.
    Library(retina::Error),
    /// A packet that makes no sense; the session goes on.
    Packet(String),
    /// What makes going on impossible.
    Session(String),
}

/// How a track that is recorded is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the library, with the format parameters of its description.
    Library(Option<String>),
    Opus,
    Metadata,
}

/// Buffers in which pictures are put together, for all cameras of a recorder. Packets of a picture
/// arrive together, so few cameras need one at an instant.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<DepacketizeBuf>>>);

impl Buffers {
    /// What most keyframes fit into. A buffer grows with what a picture needs.
    const BYTES: usize = 1 << 17;
    /// More are not kept.
    const KEPT: usize = 8;

    fn take(&self) -> DepacketizeBuf {
        self.0.lock().pop().unwrap_or_else(|| DepacketizeBuf::new(Self::BYTES))
    }

    fn give(&self, buffer: DepacketizeBuf) {
        let mut kept = self.0.lock();
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}

/// What most packets of sound fit into.
const SOUND_BYTES: usize = 1 << 13;

/// A track that the library's depacketizer reads.
struct Assembly {
    depacketizer: Box<Depacketizer>,
    /// Where what is to be put together lies; none when nothing does.
    buffer: Option<DepacketizeBuf>,
    /// Bytes that came since anything was whole.
    len: usize,
}

impl Assembly {
    fn new(stream: &Stream, parameters: Option<&str>) -> Result<Self, String> {
        let mut depacketizer = Depacketizer::new(
            stream.media(),
            stream.encoding_name(),
            stream.clock_rate_hz(),
            stream.channels().and_then(|n| NonZeroU16::new(n.get())),
            parameters,
        )?;
        depacketizer.set_frame_format(FrameFormat::MP4);
        // Of sound, the depacketizer may always hold something back.
        let buffer = (stream.media() == "audio").then(|| DepacketizeBuf::new(SOUND_BYTES));
        Ok(Assembly { depacketizer: Box::new(depacketizer), buffer, len: 0 })
    }

    fn push(&mut self, packet: &ReceivedPacket, buffers: &Buffers) -> Result<(), Trouble> {
        self.len += packet.payload().len();
        if self.len > MAX_PICTURE as usize {
            let what = format!("a picture of more than {MAX_PICTURE} bytes");
            return Err(Trouble::Session(what));
        }
        let buffer = self.buffer.get_or_insert_with(|| buffers.take());
        let meta = PacketMeta::from_received(packet);
        buffer.push(&mut self.depacketizer, meta, packet.payload()).map_err(Trouble::Packet)
    }

    /// Gives the buffer back if nothing is left in it: what came of the newest packet is a picture that
    /// ends with it. (A camera that sets no marker bits, or wrong ones, ends a picture by the next.)
    fn pulled(&mut self, item: &CodecItem, packet: PacketContext) -> Option<DepacketizeBuf> {
        self.len = 0;
        match item {
            CodecItem::VideoFrame(frame) if *frame.end_ctx() == packet => self.buffer.take(),
            _ => None,
        }
    }
}

enum Reader {
    Library(Assembly),
    Opus,
    Metadata(Documents),
}

/// A session's packets, put together.
pub(crate) struct Demux {
    session: Session<Playing>,
    readers: Vec<Option<Reader>>,
    buffers: Buffers,
    /// The stream whose depacketizer may have more, and the packet that it was given.
    pulling: Option<(usize, PacketContext)>,
    ready: VecDeque<Item>,
}

impl Demux {
    /// `tracks`: index and kind of all streams that are set up.
    pub(crate) fn new(
        session: Session<Playing>,
        tracks: Vec<(usize, Kind)>,
        buffers: Buffers,
    ) -> Result<Self, String> {
        let mut readers: Vec<Option<Reader>> = session.streams().iter().map(|_| None).collect();
        for (index, kind) in tracks {
            let stream = &session.streams()[index];
            readers[index] = Some(match kind {
                Kind::Opus => Reader::Opus,
                Kind::Metadata => Reader::Metadata(Documents::default()),
                Kind::Library(format) => Reader::Library(Assembly::new(stream, format.as_deref())?),
            });
        }
        Ok(Demux { session, readers, buffers, pulling: None, ready: VecDeque::new() })
    }

    /// What the session offers.
    pub(crate) fn streams(&self) -> &[Stream] {
        self.session.streams()
    }

    /// The newest parameters of a stream.
    pub(crate) fn parameters(&self, stream: usize) -> Option<ParametersRef<'_>> {
        match &self.readers[stream] {
            Some(Reader::Library(assembly)) => assembly.depacketizer.parameters(),
            _ => self.session.streams()[stream].parameters(),
        }
    }

    /// The next thing that comes; none: the session is over.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Item, Trouble>>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            if let Some(pulled) = self.pull() {
                return Poll::Ready(Some(pulled));
            }
            let next = ready!(Pin::new(&mut self.session).poll_next(cx));
            let what = match next {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(Trouble::Library(error)))),
                Some(Ok(PacketItem::Rtcp(packet))) => {
                    return Poll::Ready(Some(Ok(Item::Codec(CodecItem::Rtcp(packet)))));
                }
                Some(Ok(PacketItem::Rtp(packet))) => self.packet(packet),
                Some(Ok(_)) => Ok(()),
            };
            if let Err(trouble) = what {
                return Poll::Ready(Some(Err(trouble)));
            }
        }
    }

    /// What the newest packet made whole.
    fn pull(&mut self) -> Option<Result<Item, Trouble>> {
        let (stream, packet) = self.pulling?;
        let Some(Reader::Library(assembly)) = &mut self.readers[stream] else { return None };
        match assembly.depacketizer.pull() {
            Some(Ok(item)) => {
                if let Some(buffer) = assembly.pulled(&item, packet) {
                    self.buffers.give(buffer);
                }
                Some(Ok(Item::Codec(item)))
            }
            Some(Err(error)) => Some(Err(Trouble::Packet(format!("{error:?}")))),
            None => {
                self.pulling = None;
                None
            }
        }
    }

    fn packet(&mut self, packet: ReceivedPacket) -> Result<(), Trouble> {
        let stream = packet.stream_id();
        let received = packet.ctx().received();
        match self.readers.get_mut(stream).and_then(Option::as_mut) {
            None => Ok(()),
            Some(Reader::Library(assembly)) => {
                self.pulling = Some((stream, *packet.ctx()));
                assembly.push(&packet, &self.buffers)
            }
            Some(Reader::Opus) => {
                let pts = packet.timestamp().timestamp();
                let data = packet.into_payload_bytes();
                let whole = opus::duration(&data);
                let duration =
                    whole.ok_or_else(|| Trouble::Packet("a packet that is no Opus".to_owned()))?;
                self.ready.push_back(Item::Opus { pts, duration, received, data });
                Ok(())
            }
            Some(Reader::Metadata(documents)) => {
                let (mark, timestamp) = (packet.mark(), packet.timestamp().timestamp());
                let told = documents.push(timestamp, mark, packet.loss() > 0, packet.payload());
                let ready = documents.ready.drain(..);
                self.ready.extend(ready.map(|data| Item::Metadata { received, data }));
                told.map_err(Trouble::Packet)
            }
        }
    }
}

/// The largest document that is kept. A scene of hundreds of objects has some 100 KB.
pub(crate) const MAX_DOCUMENT: usize = 1 << 20;

/// Documents of metadata, of packets (ONVIF Streaming Specification, 5.1.2.1.1: the marker bit ends
/// one). Where a camera sets no marker bits, the next time stamp ends one as well.
#[derive(Debug, Default)]
struct Documents {
    timestamp: Option<i64>,
    data: Vec<u8>,
    /// What comes up to the next document is of no use.
    skipping: bool,
    ready: Vec<Bytes>,
}

impl Documents {
    fn push(
        &mut self,
        timestamp: i64,
        mark: bool,
        lost: bool,
        payload: &[u8],
    ) -> Result<(), String> {
        if self.timestamp != Some(timestamp) {
            if lost {
                // The end of the one before may be among what was lost; so may the beginning of this.
                self.data.clear();
            }
            self.finish();
            self.timestamp = Some(timestamp);
            self.skipping = false;
        } else if lost {
            self.data.clear();
            self.skipping = true;
        }
        let mut told = Ok(());
        if !self.skipping {
            if self.data.len() + payload.len() > MAX_DOCUMENT {
                self.data = Vec::new();
                self.skipping = true;
                told = Err(format!("a document of metadata of more than {MAX_DOCUMENT} bytes"));
            } else {
                self.data.extend_from_slice(payload);
            }
        }
        if mark {
            self.finish();
            self.timestamp = None;
            self.skipping = false;
        }
        told
    }

    fn finish(&mut self) {
        if !self.data.is_empty() {
            self.ready.push(std::mem::take(&mut self.data).into());
        }
    }
}

/// The format parameters (`a=fmtp`) of a stream in a session description: of the section of the same
/// media and payload type, the `nth` if there are several.
pub(crate) fn format_parameters(
    sdp: &[u8],
    media: &str,
    payload_type: u8,
    nth: usize,
) -> Option<String> {
    let sdp = String::from_utf8_lossy(sdp);
    let kind = payload_type.to_string();
    let mut sections = sdp.split("\nm=").skip(1).filter(|section| {
        let mut words = section.lines().next().unwrap_or_default().split_ascii_whitespace();
        words.next() == Some(media) && words.nth(2) == Some(&kind)
    });
    let start = format!("a=fmtp:{kind} ");
    let section = sections.nth(nth)?;
    let line = section.lines().find_map(|line| line.trim_end().strip_prefix(&start))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn documents(packets: &[(i64, bool, bool, &str)]) -> (Vec<String>, usize) {
        let mut documents = Documents::default();
        let mut bad = 0;
        for (timestamp, mark, lost, payload) in packets {
            bad +=
                usize::from(documents.push(*timestamp, *mark, *lost, payload.as_bytes()).is_err());
        }
        (documents.ready.iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect(), bad)
    }

    #[test]
    fn a_document_ends_with_the_marker_bit() {
        let packets = [(1, false, false, "<a"), (1, true, false, "/>"), (1, true, false, "<b/>")];
        assert_eq!(documents(&packets).0, ["<a/>", "<b/>"]);
    }

    #[test]
    fn without_marker_bits_the_next_time_ends_one() {
        let packets = [(1, false, false, "<a"), (1, false, false, "/>"), (2, false, false, "<b/>")];
        assert_eq!(documents(&packets).0, ["<a/>"]);
    }

    #[test]
    fn of_a_document_with_a_hole_nothing_is_kept() {
        let packets = [
            (1, false, false, "<a"),
            (1, false, true, "lost before"),
            (1, true, false, "/>"),
            (2, false, false, "<b"),
            (3, true, true, "<c/>"),
        ];
        assert_eq!(documents(&packets).0, ["<c/>"]);
    }

    #[test]
    fn a_document_without_end_is_given_up() {
        let much = "x".repeat(1000);
        let mut packets = vec![(1, false, false, much.as_str()); 5000];
        packets.push((1, true, false, "/>"));
        packets.push((2, true, false, "<b/>"));
        assert_eq!(documents(&packets), (vec!["<b/>".to_owned()], 1));
    }

    #[test]
    fn format_parameters_are_those_of_the_stream() {
        let sdp = b"v=0\r\nm=audio 0 RTP/AVP 97\r\na=fmtp:97 config=1\r\nm=video 0 RTP/AVP 96\r\n\
            a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; x\r\n\
            m=video 0 RTP/AVP 96\r\na=fmtp:96 second\r\nm=audio 0 RTP/AVP 98\r\n";
        let of = |media, kind, nth| format_parameters(sdp, media, kind, nth);
        assert_eq!(of("video", 96, 0).as_deref(), Some("packetization-mode=1; x"));
        assert_eq!(of("video", 96, 1).as_deref(), Some("second"));
        assert_eq!(of("audio", 97, 0).as_deref(), Some("config=1"));
        assert_eq!((of("audio", 98, 0), of("video", 96, 2), of("text", 96, 0)), (None, None, None));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(
            packets in prop::collection::vec((0i64..3, any::<bool>(), any::<bool>(), 0usize..70_000), 0..200),
        ) {
            let mut documents = Documents::default();
            for (timestamp, mark, lost, len) in packets {
                let _ = documents.push(timestamp, mark, lost, &vec![b'<'; len]);
                prop_assert!(documents.data.len() <= MAX_DOCUMENT);
                prop_assert!(documents.ready.iter().all(|d| (1..=MAX_DOCUMENT).contains(&d.len())));
                documents.ready.clear();
            }
        }
    }
}
