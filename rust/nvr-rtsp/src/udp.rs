//! The UDP ports of a track.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// RTP on an even port, RTCP on the next.
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

    /// A full socket buffer or an absent client: lost, as datagrams are.
    pub(crate) fn send_rtp(&self, packet: &[u8]) {
        let _ = self.rtp.send_to(packet, self.client_rtp);
    }

    /// As [`send_rtp`](Self::send_rtp).
    pub(crate) fn send_rtcp(&self, packet: &[u8]) {
        let _ = self.rtcp.send_to(packet, self.client_rtcp);
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
