//! An RTSP session: a client's tracks of one stream, from SETUP to TEARDOWN.
//!
//! A session lives no longer than its connection, as with most cameras.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rtsp_types::headers::{
    RtpLowerTransport, RtpProfile, RtpTransportParameters, SESSION, TRANSPORT, Transport,
    Transports,
};
use rtsp_types::{Request, StatusCode};

use crate::connection::{Answer, answer, refuse};
use crate::outbox::Outbox;
use crate::output::{Output, Route, TrackOut};
use crate::server::Slot;
use crate::service::{Stream, Track};
use crate::udp::UdpPair;

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Session<S: Stream> {
    id: String,
    pub(crate) number: u64,
    pub(crate) stream: Arc<S>,
    pub(crate) output: Arc<Output>,
    pub(crate) playing: bool,
    timeout: Duration,
    _slot: Slot,
}

impl<S: Stream> Session<S> {
    pub(crate) fn new(stream: Arc<S>, outbox: Arc<Outbox>, timeout: Duration, slot: Slot) -> Self {
        Session {
            id: format!("{:016x}", rand::random::<u64>()),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            stream,
            output: Arc::new(Output::new(outbox)),
            playing: false,
            timeout,
            _slot: slot,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Nothing was set up.
    pub(crate) fn is_empty(&self) -> bool {
        self.output.tracks().is_empty()
    }

    /// The value of the Session header (RFC 2326, 12.37).
    pub(crate) fn header(&self) -> String {
        format!("{};timeout={}", self.id, self.timeout.as_secs().max(1))
    }

    /// True when the client sent receiver reports by UDP since it was last asked.
    pub(crate) fn heard(&self) -> bool {
        let mut heard = false;
        for track in self.output.tracks().iter() {
            if let Route::Udp(pair) = &track.route {
                heard |= pair.heard();
            }
        }
        heard
    }

    /// SETUP of a track (RFC 2326, 10.4): the first transport of the client's list that we can.
    pub(crate) fn setup(
        &mut self,
        request: &Request<Vec<u8>>,
        track: &str,
        local: IpAddr,
        peer: IpAddr,
    ) -> Answer {
        if self.playing {
            return refuse(StatusCode::MethodNotValidInThisState);
        }
        let track = match track {
            "0" => Track::Video,
            "1" if self.stream.description().audio.is_some() => Track::Audio,
            _ => return refuse(StatusCode::NotFound),
        };
        let transports = match request.typed_header::<Transports>() {
            Ok(Some(transports)) => transports,
            Ok(None) | Err(_) => return refuse(StatusCode::BadRequest),
        };
        let mut tracks = self.output.tracks();
        tracks.retain(|other| other.track != track);
        let mut wanted = transports.iter().filter_map(|transport| match transport {
            Transport::Rtp(rtp) if rtp.profile == RtpProfile::Avp && !rtp.params.multicast => {
                Some(rtp)
            }
            _ => None,
        });
        let route = wanted.find_map(|rtp| match rtp.lower_transport {
            Some(RtpLowerTransport::Tcp) => Some(interleaved(&tracks, track, &rtp.params)),
            None | Some(RtpLowerTransport::Udp) => udp(&rtp.params, local, peer),
            Some(_) => None,
        });
        let Some(route) = route else {
            return refuse(StatusCode::UnsupportedTransport);
        };
        let out = TrackOut::new(track, route);
        let ssrc = out.ssrc;
        let transport = match &out.route {
            Route::Interleaved(rtp, rtcp) => {
                format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};ssrc={ssrc:08X}")
            }
            Route::Udp(pair) => {
                let (client, client_rtcp) = pair.client_ports();
                let (server, server_rtcp) = pair.server_ports();
                format!(
                    "RTP/AVP;unicast;client_port={client}-{client_rtcp};\
                     server_port={server}-{server_rtcp};ssrc={ssrc:08X}"
                )
            }
        };
        tracks.push(out);
        answer(StatusCode::Ok)
            .header(TRANSPORT, transport)
            .header(SESSION, self.header())
            .build(vec![])
    }
}

impl<S: Stream> Drop for Session<S> {
    fn drop(&mut self) {
        self.stream.end(self.number);
    }
}

/// The channels that the client asks for if they are free, else the next free ones.
fn interleaved(tracks: &[TrackOut], track: Track, params: &RtpTransportParameters) -> Route {
    let default = if track == Track::Video { 0 } else { 2 };
    let rtp = params.interleaved.map_or(default, |(rtp, _)| rtp.min(u8::MAX - 1));
    let rtcp = params.interleaved.and_then(|(_, rtcp)| rtcp).unwrap_or(rtp + 1);
    let taken = |channel| {
        tracks.iter().any(|other| match other.route {
            Route::Interleaved(a, b) => a == channel || b == channel,
            Route::Udp(_) => false,
        })
    };
    if rtp != rtcp && !taken(rtp) && !taken(rtcp) {
        return Route::Interleaved(rtp, rtcp);
    }
    // At most one other track: two pairs of three are always free.
    let free = [0, 2, 4].into_iter().find(|&channel| !taken(channel) && !taken(channel + 1));
    let free = free.unwrap_or(default);
    Route::Interleaved(free, free + 1)
}

fn udp(params: &RtpTransportParameters, local: IpAddr, peer: IpAddr) -> Option<Route> {
    let (rtp, rtcp) = params.client_port?;
    let rtcp = rtcp.or(rtp.checked_add(1))?;
    if rtp == 0 || rtcp == 0 {
        return None;
    }
    match UdpPair::bind(local, peer, (rtp, rtcp)) {
        Ok(pair) => Some(Route::Udp(Arc::new(pair))),
        Err(e) => {
            log::warn!(target: "nvr.rtsp", "{peer}: no UDP ports for it: {e}");
            None
        }
    }
}
