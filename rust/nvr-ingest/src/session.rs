//! One session with a camera: handshake, then packets to a sink.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nvr_core::codec::{AudioInfo, VideoInfo};
use nvr_core::media::{
    AccessUnit, AudioFrame, AudioParams, MediaSink, MetadataDocument, VideoParams,
};
use nvr_core::reason::Reason;
use nvr_core::time::{Clock, Moment};
use retina::client::{
    InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, Session, SessionGroup,
    SessionIdPolicy, SessionOptions, SetupOptions, TeardownPolicy, UnassignedChannelDataPolicy,
    UnknownRtcpSsrcPolicy,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::address::Address;
use crate::demux::{Demux, Item, Trouble};
use crate::failure::{Failure, Phase, classify, is_about_a_packet};
use crate::params;
use crate::sender_report::clock_offset_us;
use crate::status::StatusCell;

/// A session that plays, and which of its streams are recorded.
pub(crate) struct Playing {
    demux: Demux,
    choice: params::Choice,
    audio: Option<AudioParams>,
}

impl Playing {
    /// Sound that is offered and not recorded, for people.
    pub(crate) fn left_out(&self) -> &str {
        &self.choice.left_out
    }
}

/// Connects, logs in, and asks for the media; at most for `limit`.
pub(crate) async fn connect(
    address: &Address,
    group: &Arc<SessionGroup>,
    limit: Duration,
) -> Result<Playing, Failure> {
    match timeout(limit, handshake(address, group)).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(address, limit).await),
    }
}

/// The policies suit cameras as they are rather than the standard: what can be ignored is.
async fn handshake(address: &Address, group: &Arc<SessionGroup>) -> Result<Playing, Failure> {
    let failed = |phase| move |e| classify(&e, phase, address);
    let options = SessionOptions::default()
        .creds(address.login().cloned())
        .user_agent(concat!("nvr/", env!("CARGO_PKG_VERSION")).to_owned())
        .session_group(Arc::clone(group))
        // One TEARDOWN in the background: cameras with few sessions free theirs at once,
        // and nobody waits for those that do not answer.
        .teardown(TeardownPolicy::Auto)
        .unassigned_channel_data(UnassignedChannelDataPolicy::Ignore)
        .session_id(SessionIdPolicy::UseFirst);
    let mut session =
        Session::describe(address.url().clone(), options).await.map_err(failed(Phase::Describe))?;
    let choice = params::choose(session.streams(), address.metadata_wanted())?;
    let tracks = choice.tracks(session.streams(), session.sdp());
    let format =
        choice.audio.and_then(|i| params::parameters_of(session.streams(), i, session.sdp()));
    for (stream, _) in &tracks {
        let setup = SetupOptions::default().frame_format(FrameFormat::MP4);
        session.setup(*stream, setup).await.map_err(failed(Phase::Setup))?;
    }
    let options = PlayOptions::default()
        // RTP-Info is often wrong, and each track has its own arrival times to place it.
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::DropPackets);
    let session = session.play(options).await.map_err(failed(Phase::Play))?;
    let demux = Demux::new(session, tracks).map_err(|trouble| match trouble {
        Trouble::Library(e) => classify(&e, Phase::Play, address),
        Trouble::Packet(what) => Failure::new(Reason::PROTOCOL_ERROR, what),
    })?;
    let audio =
        choice.audio.and_then(|i| params::audio_params(&demux.streams()[i], format.as_deref()));
    Ok(Playing { demux, choice, audio })
}

/// Tells a camera that takes connections and does not answer from one that is not there,
/// which the library's one call for both does not.
async fn no_answer(address: &Address, waited: Duration) -> Failure {
    let (host, port) = address.host_port();
    match timeout(PROBE_LIMIT, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Failure::new(
            Reason::SILENT,
            format!("{host} takes connections to port {port} but does not answer for {waited:?}"),
        ),
        _ => Failure::new(
            Reason::UNREACHABLE,
            format!("{host} port {port} does not answer for {waited:?}"),
        ),
    }
}

/// How long [`no_answer`] asks.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Where the packets of a session go.
pub(crate) struct Feed<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) sink: &'a mut dyn MediaSink,
    pub(crate) status: &'a StatusCell,
    /// Set when the sink's `begin` was called; its `end` is the caller's to call.
    pub(crate) begun: &'a mut bool,
}

/// What woke the session's task.
enum Wake {
    Item(Option<Result<Item, Trouble>>),
    Tick,
}

/// Feeds the sink until the session ends. Nothing is awaited but the socket and a slow tick:
/// no timer is touched, and nothing of ours allocated, for a packet.
pub(crate) async fn feed(
    playing: Playing,
    address: &Address,
    silent_after: Duration,
    feed: Feed<'_>,
) -> Failure {
    let Playing { mut demux, choice, audio } = playing;
    let mut pump = Pump {
        feed,
        choice,
        audio,
        video: None,
        without_params: false,
        refused: None,
        bad_packets: 0,
        error: None,
    };
    let mut watch = Silence::new(silent_after);
    let mut tick = pin!(interval(watch.period()));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Packets first: only a task with nothing to read looks at the time. The library's
        // socket gives way now and then under tokio's budget, so a flood cannot hide a stop.
        // Coming back after a tick also re-arms a session that went to sleep after a
        // request of the camera, which the library does not answer.
        let wake = poll_fn(|cx| {
            if let Poll::Ready(item) = demux.poll_next(cx) {
                return Poll::Ready(Wake::Item(item));
            }
            tick.poll_tick(cx).map(|_| Wake::Tick)
        });
        match wake.await {
            Wake::Item(Some(Ok(item))) => {
                pump.item(item, &demux);
                if let Some(failure) = pump.refused.take() {
                    return failure;
                }
            }
            Wake::Item(Some(Err(e))) => {
                if !pump.bad_packet(e) {
                    return pump.end(address);
                }
            }
            Wake::Item(None) => return pump.end(address),
            Wake::Tick => {
                if watch.is_silent(pump.feed.status.frames()) {
                    return pump.silence(silent_after);
                }
            }
        }
    }
}

/// Notices, at ticks, that no picture came for a while.
pub(crate) struct Silence {
    limit: Duration,
    frames: Option<u64>,
    since: tokio::time::Instant,
}

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Silence { limit, frames: None, since: tokio::time::Instant::now() }
    }

    /// How often to look.
    pub(crate) fn period(&self) -> Duration {
        (self.limit / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    pub(crate) fn is_silent(&mut self, frames: u64) -> bool {
        if self.frames != Some(frames) {
            self.frames = Some(frames);
            self.since = tokio::time::Instant::now();
            return false;
        }
        self.since.elapsed() >= self.limit
    }
}

/// From the library's items to the sink's calls.
struct Pump<'a> {
    feed: Feed<'a>,
    choice: params::Choice,
    audio: Option<AudioParams>,
    video: Option<VideoParams>,
    /// Pictures came before their parameters.
    without_params: bool,
    /// Why what the camera sends cannot be recorded.
    refused: Option<Failure>,
    /// Packets that made no sense since the last picture.
    bad_packets: u32,
    /// The newest thing that came, if it was an error.
    error: Option<Trouble>,
}

/// Packets that make no sense, one after the other: more than the largest picture has, and the
/// camera sends nothing else. (A picture of which one packet is bad costs all behind it.)
const BAD_PACKETS: u32 = 4096;

impl Pump<'_> {
    /// Counts a packet that cannot be understood like one that was lost: a session is worth more
    /// than a picture. False when the session is over.
    fn bad_packet(&mut self, error: Trouble) -> bool {
        let about_a_packet = match &error {
            Trouble::Library(error) => is_about_a_packet(error),
            Trouble::Packet(_) => true,
        };
        let goes_on = about_a_packet && self.bad_packets < BAD_PACKETS;
        self.error = Some(error);
        if goes_on {
            self.bad_packets += 1;
            self.feed.status.lost(1);
        }
        goes_on
    }

    /// Why there is nothing more. The library ends some sessions of itself after an error.
    fn end(&mut self, address: &Address) -> Failure {
        match self.error.take() {
            Some(Trouble::Library(e)) => classify(&e, Phase::Media, address),
            Some(Trouble::Packet(what)) => Failure::new(Reason::PROTOCOL_ERROR, what),
            None => Failure::new(Reason::DISCONNECTED, "the camera closed the connection"),
        }
    }

    fn item(&mut self, item: Item, demux: &Demux) {
        self.error = None;
        match item {
            Item::Opus { pts, duration, received, data } => {
                if *self.feed.begun {
                    self.feed.status.sound(data.len());
                    let arrival = arrival(self.feed.clock, received);
                    self.feed.sink.audio(AudioFrame { pts, duration, arrival, data });
                }
            }
            Item::Metadata { received, data } => {
                if *self.feed.begun {
                    self.feed.status.metadata(data.len());
                    let arrival = arrival(self.feed.clock, received);
                    self.feed.sink.metadata(MetadataDocument { arrival, data });
                }
            }
            Item::Codec(item) => self.codec_item(item, demux),
        }
    }

    fn codec_item(&mut self, item: CodecItem, demux: &Demux) {
        match item {
            CodecItem::VideoFrame(frame) => self.picture(frame, demux),
            CodecItem::AudioFrame(frame) => {
                if !*self.feed.begun {
                    return;
                }
                // The library lends the data only.
                let data = Bytes::copy_from_slice(frame.data());
                self.feed.status.sound(data.len());
                self.feed.sink.audio(AudioFrame {
                    pts: frame.timestamp().timestamp(),
                    duration: frame.frame_length().get(),
                    arrival: arrival(self.feed.clock, frame.ctx().received()),
                    data,
                });
            }
            CodecItem::Rtcp(packet) => {
                // Sound and pictures share the camera's clock: one of them is enough.
                if packet.stream_id() != self.choice.video || !*self.feed.begun {
                    return;
                }
                let arrival = arrival(self.feed.clock, packet.ctx().received());
                if let Some(offset_us) = clock_offset_us(&packet, arrival.wall_us) {
                    self.feed.status.clock_offset(offset_us);
                    self.feed.sink.camera_clock_offset(offset_us);
                }
            }
            _ => {}
        }
    }

    fn picture(&mut self, frame: VideoFrame, demux: &Demux) {
        self.bad_packets = 0;
        let arrival = arrival(self.feed.clock, frame.end_ctx().received());
        if (frame.has_new_parameters() || self.video.is_none()) && !self.parameters(arrival, demux)
        {
            self.without_params = true;
            return;
        }
        if frame.loss() > 0 {
            self.feed.status.lost(frame.loss());
        }
        let pts_90k = frame.timestamp().timestamp();
        // The library wrote the frame once, in a buffer of just its size: it moves on as it is.
        let data = Bytes::from(frame.into_data());
        if data.is_empty() {
            return;
        }
        self.feed.status.picture(arrival.wall_us, data.len());
        self.feed.sink.video(AccessUnit { pts_90k, arrival, data });
    }

    /// Tells the sink of parameters that are new, and whether there are any at all.
    fn parameters(&mut self, now: Moment, demux: &Demux) -> bool {
        let known = match demux.parameters(self.choice.video) {
            Some(ParametersRef::Video(p)) => Some(p),
            _ => None,
        };
        let Some((params, codec)) =
            known.and_then(|p| Some((params::video_params(p)?, p.rfc6381_codec())))
        else {
            return false;
        };
        if self.video.as_ref() == Some(&params) {
            return true;
        }
        if let Err(e) = VideoInfo::parse(&params) {
            let detail = format!("the camera's pictures cannot be recorded: {e}");
            self.refused = Some(Failure::new(Reason::CODEC_NOT_SUPPORTED, detail));
            return false;
        }
        self.feed.status.video(codec, params.width, params.height);
        if *self.feed.begun {
            self.feed.sink.video_params(params.clone());
        } else {
            let sound = self.audio.as_ref().and_then(|a| AudioInfo::parse(a).ok());
            let codec = sound.map(|info| info.rfc6381).unwrap_or_default();
            self.feed.status.recording(&codec, &self.choice.left_out);
            *self.feed.begun = true;
            self.feed.sink.begin(now, params.clone(), self.audio.take());
            if let Some((_, coding)) = self.choice.metadata {
                self.feed.sink.begin_metadata(coding);
            }
        }
        self.video = Some(params);
        true
    }

    fn silence(&self, limit: Duration) -> Failure {
        if self.without_params && self.video.is_none() {
            return Failure::new(
                Reason::PROTOCOL_ERROR,
                "pictures arrive, but neither the description nor the stream says how to decode \
                 them (no SPS and PPS)",
            );
        }
        Failure::new(Reason::SILENT, format!("connected, but no picture for {limit:?}"))
    }
}

/// The moment at which the library had a packet.
fn arrival(clock: &dyn Clock, received: Instant) -> Moment {
    let now = clock.now();
    let ago_us = i64::try_from(received.elapsed().as_micros()).unwrap_or_default();
    Moment { wall_us: now.wall_us - ago_us, mono_us: now.mono_us - ago_us }
}
