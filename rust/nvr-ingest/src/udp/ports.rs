//! The two UDP sockets of a track.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, UdpSocketState};
use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Asked for as a socket's buffer: two keyframes of 2.5 MB, since the kernel counts some 2,300 bytes
/// for a packet of 1,400.
pub(super) const BUFFER_BYTES: usize = 8 << 20;

/// Datagrams (or, where the network card puts them together, groups of them) of one system call.
const BATCH: usize = 16;
const MAX_DATAGRAM: usize = 1 << 16;

/// An RTP packet without content, and an empty receiver report (RFC 3550, sections 5.1 and 6.4.2),
/// for firewalls that let in only what answers.
const PUNCH_RTP: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const PUNCH_RTCP: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 0];

thread_local! {
    /// Where datagrams are read to before they are looked at.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH * MAX_DATAGRAM]);
}

/// The bytes of buffer that a socket gets here.
pub(super) fn buffer_bytes() -> io::Result<usize> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    enlarge(&socket)?;
    // What the kernel says is twice what it grants (socket(7)).
    Ok(sockopt::socket_recv_buffer_size(&socket)? / 2)
}

/// The limit of `net.core.rmem_max` holds where we may not pass over it.
fn enlarge(socket: &std::net::UdpSocket) -> io::Result<()> {
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, BUFFER_BYTES)?;
    }
    Ok(())
}

/// One socket, and whom it listens to.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Nobody, until the camera has said its ports.
    server: Option<(IpAddr, Option<u16>)>,
}

/// RTP on an even port, RTCP on the next (RFC 3550, section 11).
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) rtp: Port,
    pub(super) rtcp: Port,
}

impl Ports {
    /// Binds a pair on the address that the camera's connection has on this side.
    pub(super) fn bind(local: IpAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..64 {
            let rtp = std::net::UdpSocket::bind((local, 0))?;
            let port = rtp.local_addr()?.port();
            if port % 2 != 0 {
                continue;
            }
            match std::net::UdpSocket::bind((local, port + 1)) {
                Ok(rtcp) => return Ok(Ports { rtp: Port::new(rtp)?, rtcp: Port::new(rtcp)? }),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// From now on only this server is listened to. Without ports: from any of its ports.
    pub(super) fn expect(&mut self, server: IpAddr, ports: Option<(u16, u16)>) -> io::Result<()> {
        self.rtp.expect(server, ports.map(|(rtp, _)| rtp))?;
        self.rtcp.expect(server, ports.map(|(_, rtcp)| rtcp))
    }

    /// Opens the way in for the camera's packets.
    pub(super) fn punch(&self) {
        self.rtp.send(&PUNCH_RTP);
        self.rtcp.send(&PUNCH_RTCP);
    }
}

impl Port {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        enlarge(&socket)?;
        let state = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(true)?;
        Ok(Port { socket: UdpSocket::from_std(socket)?, state, server: None })
    }

    pub(super) fn number(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    fn expect(&mut self, server: IpAddr, port: Option<u16>) -> io::Result<()> {
        self.server = Some((server, port));
        // The kernel drops the packets of others then, before they take room.
        port.map_or(Ok(()), |port| {
            Ok(rustix::net::connect(&self.socket, &SocketAddr::from((server, port)))?)
        })
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    /// Hands on what has come. A refusal that came back by ICMP is nothing: the camera may not
    /// have opened its port yet, or never listen there.
    /// True when there may be more.
    pub(super) fn receive(&self, mut each: impl FnMut(&[u8])) -> bool {
        ROOM.with_borrow_mut(|room| {
            let mut metas = [RecvMeta::default(); BATCH];
            let mut buffers = room.chunks_mut(MAX_DATAGRAM).map(IoSliceMut::new);
            let mut buffers: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let mut count = 0;
            let _ = self.socket.try_io(Interest::READABLE, || {
                count = self.state.recv((&self.socket).into(), &mut buffers, &mut metas)?;
                // Fewer than there is room for: there are no more, and what comes later wakes anew.
                // So nobody has to ask again.
                if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
                let from_server = self.server.is_some_and(|(address, port)| {
                    meta.addr.ip() == address && port.is_none_or(|port| meta.addr.port() == port)
                });
                if from_server && meta.stride > 0 {
                    buffer[..meta.len].chunks(meta.stride).for_each(&mut each);
                }
            }
            count == BATCH
        })
    }

    /// A full buffer or an absent camera: lost, as datagrams are.
    pub(super) fn send(&self, packet: &[u8]) {
        if let Some((_, Some(_))) = self.server {
            let _ = self.socket.try_send(packet);
        }
    }
}
