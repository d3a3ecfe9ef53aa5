//! What a server plays, as the server sees it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use rtsp_types::headers::{RANGE, RTP_INFO, SCALE, SESSION};
use rtsp_types::{StatusCode, Url};

use crate::connection::{answer, write};
use crate::outbox::Outbox;
use crate::output::Output;
use crate::sdp::Description;

/// Which of a stream's tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// The pictures.
    Video,
    /// The sound.
    Audio,
}

impl Track {
    /// As addresses number it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Track::Video => 0,
            Track::Audio => 1,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where from.
    pub address: IpAddr,
    /// From which port.
    pub port: u16,
    /// As whom; empty where there is no login.
    pub user: String,
}

/// Streams by address.
pub trait Service: Send + Sync + 'static {
    /// What is behind an address.
    type Stream: Stream;

    /// The stream behind an address without its track, for a client; else why there is none.
    fn find(
        &self,
        client: &Client,
        url: &Url,
    ) -> impl Future<Output = Result<Arc<Self::Stream>, StatusCode>> + Send;
}

/// What can be played.
pub trait Stream: Send + Sync + 'static {
    /// Whether PAUSE is understood.
    const CAN_PAUSE: bool;

    /// What clients are told of it.
    fn description(&self) -> &Description;

    /// Plays to a client, from when it has been announced; else the status that refuses.
    fn play(self: &Arc<Self>, play: Play) -> impl Future<Output = Result<(), StatusCode>> + Send;

    /// A session plays no more, for the time being. Nothing is sent to it after this returns.
    fn pause(&self, session: u64);

    /// A session is over, also one that never played. Nothing is sent to it after this returns.
    fn end(&self, session: u64);
}

/// A PLAY request. Headers are as the client wrote them.
pub struct Play {
    /// Number of the session, unique in this process.
    pub session: u64,
    /// Who asks.
    pub client: Client,
    /// Where packets go.
    pub output: Arc<Output>,
    /// The session plays already.
    pub again: bool,
    /// `Range` (RFC 2326, 12.29).
    pub range: Option<String>,
    /// `Scale` (12.34).
    pub scale: Option<String>,
    /// `Speed` (12.35).
    pub speed: Option<String>,
    /// `Rate-Control` (ONVIF Streaming Specification, 6.4).
    pub rate_control: Option<String>,
    /// Answers when playing begins.
    pub announcer: Announcer,
}

/// Sends the answer to a PLAY request: after it, and not before, packets may be sent.
pub struct Announcer {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) output: Arc<Output>,
    pub(crate) sequence: String,
    pub(crate) session: String,
    /// Of the request.
    pub(crate) base: Url,
    pub(crate) path: String,
}

/// What the answer to PLAY says.
#[derive(Clone, Debug)]
pub struct Started {
    /// What is played: the value of `Range`.
    pub range: String,
    /// The value of `Scale`, where the client asked for one.
    pub scale: Option<String>,
    /// Media time of the start of that range, in ticks of the pictures.
    pub video_ticks: i64,
    /// The same, in ticks of the sound.
    pub audio_ticks: i64,
}

impl Announcer {
    /// Playing begins.
    pub fn started(self, started: Started) {
        let mut base = self.base;
        base.set_query(None);
        let info: Vec<_> = self
            .output
            .tracks()
            .iter()
            .map(|out| {
                base.set_path(&format!("/{}/trackID={}", self.path, out.track.number()));
                let ticks = match out.track {
                    Track::Video => started.video_ticks,
                    Track::Audio => started.audio_ticks,
                };
                format!("url={base};seq={};rtptime={}", out.sequence, out.timestamp(ticks))
            })
            .collect();
        let mut response = answer(StatusCode::Ok)
            .header(SESSION, self.session)
            .header(RANGE, started.range)
            .header(RTP_INFO, info.join(","));
        if let Some(scale) = started.scale {
            response = response.header(SCALE, scale);
        }
        write(&self.outbox, response.build(vec![]), Some(&self.sequence));
    }

    /// It goes on as it is: some clients stay alive this way.
    pub fn unchanged(self) {
        let response = answer(StatusCode::Ok).header(SESSION, self.session).build(vec![]);
        write(&self.outbox, response, Some(&self.sequence));
    }
}
