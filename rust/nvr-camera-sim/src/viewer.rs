//! One client's view of a camera: what it set up, and what differs in its packets.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use crate::media::{Media, Track};
use crate::outbox::Outbox;
use crate::packetize::{Packets, Stamp};
use crate::rtcp::SenderReport;

/// Time between sender reports (RFC 3550, 6.2: the recommended minimum).
const REPORT_INTERVAL_US: i64 = 5_000_000;

/// The UDP ports of one track: RTP on an even one, RTCP on the next.
#[derive(Debug)]
pub(crate) struct UdpPair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    port: u16,
    client_rtp: SocketAddr,
    client_rtcp: SocketAddr,
}

impl UdpPair {
    /// Binds a pair on `local` for a client's ports. Only the client's own address is ever sent to.
    pub(crate) fn bind(local: IpAddr, client: IpAddr, ports: (u16, u16)) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..32 {
            let rtp = UdpSocket::bind((local, 0))?;
            let port = rtp.local_addr()?.port();
            if port % 2 != 0 || port == u16::MAX {
                continue;
            }
            match UdpSocket::bind((local, port + 1)) {
                Ok(rtcp) => {
                    rtp.set_nonblocking(true)?;
                    rtcp.set_nonblocking(true)?;
                    let client_rtp = (client, ports.0).into();
                    let client_rtcp = (client, ports.1).into();
                    return Ok(UdpPair { rtp, rtcp, port, client_rtp, client_rtcp });
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Ours, for RTP and RTCP.
    pub(crate) fn server_ports(&self) -> (u16, u16) {
        (self.port, self.port + 1)
    }

    /// The client's, for RTP and RTCP.
    pub(crate) fn client_ports(&self) -> (u16, u16) {
        (self.client_rtp.port(), self.client_rtcp.port())
    }

    /// Takes what the client sent back (receiver reports); true when there was something.
    pub(crate) fn heard(&self) -> bool {
        let mut buffer = [0; 2048];
        let mut heard = false;
        // Bounded: the client decides how much it sends.
        for _ in 0..64 {
            match self.rtcp.recv_from(&mut buffer) {
                Ok((_, from)) => heard |= from.ip() == self.client_rtcp.ip(),
                Err(_) => break,
            }
        }
        heard
    }
}

/// Where the packets of a track go.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// On the RTSP connection: RTP on this channel, RTCP on that.
    Interleaved(u8, u8),
    Udp(Arc<UdpPair>),
}

/// A track that a client set up.
#[derive(Clone, Debug)]
pub(crate) struct TrackOut {
    pub(crate) track: Track,
    pub(crate) route: Route,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    /// RTP timestamp of media time zero.
    pub(crate) timestamp_offset: u32,
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

/// A client that plays.
pub(crate) struct Viewer {
    pub(crate) id: u64,
    /// The first packet it gets: a random-access point.
    pub(crate) start: u64,
    pub(crate) tracks: Vec<TrackOut>,
    pub(crate) outbox: Arc<Outbox>,
    next_report_us: i64,
}

impl Viewer {
    pub(crate) fn new(id: u64, start: u64, tracks: Vec<TrackOut>, outbox: Arc<Outbox>) -> Self {
        Viewer { id, start, tracks, outbox, next_report_us: i64::MIN }
    }

    /// Sends the packets of one access unit; `scratch` is any buffer.
    pub(crate) fn deliver(
        &mut self,
        track: Track,
        rtp_ticks: i64,
        packets: &Packets,
        scratch: &mut Vec<u8>,
    ) {
        let Some(out) = self.tracks.iter_mut().find(|out| out.track == track) else { return };
        let channel = if let Route::Interleaved(rtp, _) = out.route { rtp } else { 0 };
        let stamp = Stamp {
            channel,
            first_sequence: out.sequence,
            timestamp: out.timestamp(rtp_ticks),
            ssrc: out.ssrc,
        };
        scratch.clear();
        packets.stamp_into(scratch, stamp);
        match &out.route {
            Route::Interleaved(..) => self.outbox.send(scratch),
            Route::Udp(pair) => {
                for datagram in packets.datagrams() {
                    // A full socket buffer or an absent client: lost, as datagrams are.
                    let _ = pair.rtp.send_to(&scratch[datagram], pair.client_rtp);
                }
            }
        }
        out.sequence = out.sequence.wrapping_add(packets.count() as u16);
        out.packets = out.packets.wrapping_add(packets.count() as u32);
        out.payload_bytes = out.payload_bytes.wrapping_add(packets.payload_bytes() as u32);
    }

    /// Sends sender reports if it is time: before the first packet, then about every 5 s.
    pub(crate) fn report(&mut self, media: &Media, zero_us: i64, now_us: i64) {
        if now_us < self.next_report_us {
            return;
        }
        self.next_report_us = now_us + REPORT_INTERVAL_US;
        for out in &self.tracks {
            let report = SenderReport {
                ssrc: out.ssrc,
                wall_us: now_us,
                timestamp: out.timestamp(media.rtp_ticks_at(out.track, now_us - zero_us)),
                packets: out.packets,
                payload_bytes: out.payload_bytes,
            };
            let bytes = report.to_bytes();
            match &out.route {
                Route::Interleaved(_, rtcp) => {
                    let mut framed = vec![b'$', *rtcp, 0, bytes.len() as u8];
                    framed.extend(bytes);
                    self.outbox.send(&framed);
                }
                Route::Udp(pair) => {
                    let _ = pair.rtcp.send_to(&bytes, pair.client_rtcp);
                }
            }
        }
    }
}
