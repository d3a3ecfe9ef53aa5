//! Where a client's packets go: its tracks, and what differs in their packets from other clients'.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::outbox::Outbox;
use crate::packetize::{Packets, Stamp};
use crate::rtcp::SenderReport;
use crate::service::Track;
use crate::udp::UdpPair;

/// Where the packets of a track go.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// On the RTSP connection: RTP on this channel, RTCP on that.
    Interleaved(u8, u8),
    Udp(Arc<UdpPair>),
}

/// A track that a client set up.
#[derive(Debug)]
pub(crate) struct TrackOut {
    pub(crate) track: Track,
    pub(crate) route: Route,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    /// RTP timestamp of media time zero.
    timestamp_offset: u32,
    packets: u32,
    payload_bytes: u32,
}

impl TrackOut {
    /// Starts at a random sequence number and timestamp (RFC 3550, 5.1).
    pub(crate) fn new(track: Track, route: Route) -> Self {
        TrackOut {
            track,
            route,
            ssrc: rand::random(),
            sequence: rand::random(),
            timestamp_offset: rand::random(),
            packets: 0,
            payload_bytes: 0,
        }
    }

    /// The RTP timestamp of a media time in ticks.
    pub(crate) fn timestamp(&self, ticks: i64) -> u32 {
        self.timestamp_offset.wrapping_add(ticks as u32)
    }
}

/// What a sender report says of a track: the wall time of a media time.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Microseconds since the Unix epoch.
    pub wall_us: i64,
    /// The media time, in ticks of the track.
    pub ticks: i64,
}

/// The sending side of a client's session. Nothing here waits.
pub struct Output {
    outbox: Arc<Outbox>,
    tracks: Mutex<Vec<TrackOut>>,
}

impl Output {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Output { outbox, tracks: Mutex::default() }
    }

    pub(crate) fn tracks(&self) -> parking_lot::MutexGuard<'_, Vec<TrackOut>> {
        self.tracks.lock()
    }

    /// Whether the client set a track up.
    pub fn has(&self, track: Track) -> bool {
        self.tracks().iter().any(|out| out.track == track)
    }

    /// Whether packets share the connection, where what is not taken waits. Else they are
    /// datagrams, which are lost when they are too many at once.
    pub fn is_interleaved(&self) -> bool {
        self.tracks().iter().all(|out| matches!(out.route, Route::Interleaved(..)))
    }

    /// Bytes that the client has not taken yet.
    pub fn backlog(&self) -> usize {
        self.outbox.backlog()
    }

    /// Returns when the client has taken all but so many bytes, or is gone.
    pub async fn wait_below(&self, bytes: usize) {
        self.outbox.wait_below(bytes).await;
    }

    /// Sends the packets of one access unit if the client wants that track; how many bytes, with
    /// headers. `scratch` is any buffer.
    pub fn deliver(
        &self,
        track: Track,
        ticks: i64,
        packets: &Packets,
        scratch: &mut Vec<u8>,
    ) -> usize {
        let mut tracks = self.tracks();
        let Some(out) = tracks.iter_mut().find(|out| out.track == track) else { return 0 };
        let channel = if let Route::Interleaved(rtp, _) = out.route { rtp } else { 0 };
        let stamp = Stamp {
            channel,
            first_sequence: out.sequence,
            timestamp: out.timestamp(ticks),
            ssrc: out.ssrc,
        };
        scratch.clear();
        packets.stamp_into(scratch, stamp);
        match &out.route {
            Route::Interleaved(..) => self.outbox.send(scratch),
            Route::Udp(pair) => {
                packets.datagrams().for_each(|datagram| pair.send_rtp(&scratch[datagram]));
            }
        }
        out.sequence = out.sequence.wrapping_add(packets.count() as u16);
        out.packets = out.packets.wrapping_add(packets.count() as u32);
        out.payload_bytes = out.payload_bytes.wrapping_add(packets.payload_bytes() as u32);
        scratch.len()
    }

    /// Sends a sender report for each track of which something can be reported.
    pub fn report(&self, of: impl Fn(Track) -> Option<Report>) {
        self.send_reports(of, false);
    }

    /// Sends a last report for each track, with RTCP's goodbye (RFC 3550, 6.6).
    pub fn goodbye(&self, of: impl Fn(Track) -> Option<Report>) {
        self.send_reports(|track| Some(of(track).unwrap_or(Report { wall_us: 0, ticks: 0 })), true);
    }

    fn send_reports(&self, of: impl Fn(Track) -> Option<Report>, last: bool) {
        for out in self.tracks().iter() {
            let Some(Report { wall_us, ticks }) = of(out.track) else { continue };
            let report = SenderReport {
                ssrc: out.ssrc,
                wall_us,
                timestamp: out.timestamp(ticks),
                packets: out.packets,
                payload_bytes: out.payload_bytes,
            };
            let bytes = report.to_bytes(last);
            match &out.route {
                Route::Interleaved(_, rtcp) => {
                    let mut framed = vec![b'$', *rtcp, 0, bytes.len() as u8];
                    framed.extend(bytes);
                    self.outbox.send(&framed);
                }
                Route::Udp(pair) => pair.send_rtcp(&bytes),
            }
        }
    }

    /// Nothing more is sent; the connection ends.
    pub fn close(&self) {
        self.outbox.close();
    }

    /// True when nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }
}
