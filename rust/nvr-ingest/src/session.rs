//! One session with a camera: handshake, then packets to a sink.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nvr_core::codec::{self, AudioInfo, VideoInfo};
use nvr_core::media::{
    AccessUnit, AudioFrame, AudioParams, MediaSink, MetadataDocument, VideoCodec, VideoParams,
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
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::address::Address;
use crate::demux::{Buffers, Demux, Item, Trouble};
use crate::failure::{Failure, Phase, classify, is_about_a_packet, is_about_parameters};
use crate::params;
use crate::sender_report::clock_offset_us;
use crate::status::StatusCell;
use crate::udp::Relay;

/// A session that plays, and which of its streams are recorded.
pub(crate) struct Playing {
    demux: Demux,
    choice: params::Choice,
    audio: Option<AudioParams>,
    /// Where the packets come over UDP.
    relay: Option<Relay>,
}

impl Playing {
    /// Sound that is offered and not recorded, for people.
    pub(crate) fn left_out(&self) -> &str {
        &self.choice.left_out
    }
}

/// Connects, logs in, and asks for the media; at most for `limit`. `udp`: where packets are
/// received if they come over UDP.
pub(crate) async fn connect(
    address: &Address,
    group: &Arc<SessionGroup>,
    buffers: &Buffers,
    limit: Duration,
    udp: Option<&Handle>,
) -> Result<Playing, Failure> {
    match timeout(limit, handshake(address, group, buffers, udp)).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(address, limit).await),
    }
}

/// The policies suit cameras as they are rather than the standard: what can be ignored is.
async fn handshake(
    address: &Address,
    group: &Arc<SessionGroup>,
    buffers: &Buffers,
    udp: Option<&Handle>,
) -> Result<Playing, Failure> {
    let relay = match udp {
        Some(runtime) if address.is_udp() => Some(Relay::open(address, runtime).await?),
        _ => None,
    };
    let relay = relay.as_ref();
    let failed = |phase| {
        move |e| {
            let failure = classify(&e, phase, address);
            match relay {
                Some(relay) => relay.explain(failure),
                None => failure,
            }
        }
    };
    let options = SessionOptions::default()
        // A relay logs in itself.
        .creds(address.login().filter(|_| relay.is_none()).cloned())
        .user_agent(concat!("nvr/", env!("CARGO_PKG_VERSION")).to_owned())
        .session_group(Arc::clone(group))
        // One TEARDOWN in the background: cameras with few sessions free theirs at once,
        // and nobody waits for those that do not answer.
        .teardown(TeardownPolicy::Auto)
        .unassigned_channel_data(UnassignedChannelDataPolicy::Ignore)
        .session_id(SessionIdPolicy::UseFirst);
    let url = relay.map_or(address.url(), Relay::url);
    let mut session =
        Session::describe(url.clone(), options).await.map_err(failed(Phase::Describe))?;
    let choice = params::choose(session.streams(), address.metadata_wanted())?;
    let tracks = choice.tracks(session.streams(), session.sdp());
    let format =
        choice.audio.and_then(|i| params::parameters_of(session.streams(), i, session.sdp()));
    for (stream, _) in &tracks {
        if let Some(relay) = relay {
            relay.clock_rate(session.streams()[*stream].clock_rate_hz());
        }
        let setup = SetupOptions::default().frame_format(FrameFormat::MP4);
        session.setup(*stream, setup).await.map_err(failed(Phase::Setup))?;
    }
    let options = PlayOptions::default()
        // RTP-Info is often wrong, and each track has its own arrival times to place it.
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::DropPackets);
    let session = session.play(options).await.map_err(failed(Phase::Play))?;
    let demux = Demux::new(session, tracks, buffers.clone())
        .map_err(|what| Failure::new(Reason::PROTOCOL_ERROR, what))?;
    let audio =
        choice.audio.and_then(|i| params::audio_params(&demux.streams()[i], format.as_deref()));
    Ok(Playing { demux, choice, audio, relay: relay.cloned() })
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

impl Feed<'_> {
    /// A picture, for the sink and the status: it is recorded, or the sink says why not.
    pub(crate) fn picture(&mut self, unit: AccessUnit) {
        self.status.picture(unit.arrival.wall_us, unit.data.len());
        self.sink.video(unit);
        self.status.taken(self.sink.not_recorded());
    }
}

/// What woke the session's task.
enum Wake {
    Item(Option<Result<Item, Trouble>>),
    Tick,
}

/// Feeds the sink until the session ends, and says why it did.
pub(crate) async fn feed(
    playing: Playing,
    address: &Address,
    silent_after: Duration,
    feed: Feed<'_>,
) -> Failure {
    let relay = playing.relay.clone();
    let status = feed.status;
    let failure = pump(playing, address, silent_after, feed).await;
    match relay {
        Some(relay) => {
            status.lost(relay.take_lost());
            relay.explain(failure)
        }
        None => failure,
    }
}

/// Nothing is awaited but the socket and a slow tick:
/// no timer is touched, and nothing of ours allocated, for a packet.
async fn pump(
    playing: Playing,
    address: &Address,
    silent_after: Duration,
    feed: Feed<'_>,
) -> Failure {
    let Playing { mut demux, choice, audio, relay } = playing;
    let losses = Losses { told: feed.status.lost_packets(), told_at: None };
    let mut pump = Pump {
        feed,
        choice,
        audio,
        video: None,
        newest_90k: None,
        ahead: None,
        without_params: false,
        unusable_params: None,
        refused: None,
        bad_packets: 0,
        error: None,
        losses,
        relay,
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
                pump.count_lost(0);
                pump.losses.tell(&mut pump.feed);
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

/// Tells of lost packets, at most once in [`LOSSES_EVERY`].
struct Losses {
    /// How many the sink knows of.
    told: u64,
    told_at: Option<tokio::time::Instant>,
}

/// One event for what is lost at once, and not one for each packet of a bad line.
const LOSSES_EVERY: Duration = Duration::from_secs(60);

impl Losses {
    fn tell(&mut self, feed: &mut Feed<'_>) {
        let lost = feed.status.lost_packets();
        let is_early = self.told_at.is_some_and(|at| at.elapsed() < LOSSES_EVERY);
        if *feed.begun && lost > self.told && !is_early {
            feed.sink.packets_lost(feed.clock.now(), lost - self.told);
            (self.told, self.told_at) = (lost, Some(tokio::time::Instant::now()));
        }
    }
}

/// From the library's items to the sink's calls.
struct Pump<'a> {
    feed: Feed<'a>,
    choice: params::Choice,
    audio: Option<AudioParams>,
    video: Option<VideoParams>,
    /// The newest picture's time.
    newest_90k: Option<i64>,
    /// What came apart from the picture that it belongs to and before it, with its time.
    ahead: Option<(i64, Bytes)>,
    /// Pictures came before their parameters.
    without_params: bool,
    /// What is wrong with the newest parameters, where nothing can be done with them.
    unusable_params: Option<String>,
    /// Why what the camera sends cannot be recorded.
    refused: Option<Failure>,
    /// Packets that made no sense since the last picture.
    bad_packets: u32,
    /// The newest thing that came, if it was an error.
    error: Option<Trouble>,
    losses: Losses,
    relay: Option<Relay>,
}

/// Packets that make no sense, one after the other: more than the largest picture has, and the
/// camera sends nothing else. (A picture of which one packet is bad costs all behind it.)
const BAD_PACKETS: u32 = 4096;

/// More than this is no message ahead of a picture.
const MAX_AHEAD: usize = 1 << 20;

impl Pump<'_> {
    /// Counts a packet that cannot be understood like one that was lost: a session is worth more
    /// than a picture. False when the session is over.
    fn bad_packet(&mut self, error: Trouble) -> bool {
        let about_a_packet = match &error {
            Trouble::Library(error) => is_about_a_packet(error),
            Trouble::Packet(what) => {
                if is_about_parameters(what) {
                    self.unusable_params = Some(what.clone());
                }
                true
            }
            Trouble::Session(_) => false,
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
            Some(Trouble::Packet(what) | Trouble::Session(what)) => {
                Failure::new(Reason::PROTOCOL_ERROR, what)
            }
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
                self.count_lost(frame.loss());
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
        self.unusable_params = None;
        let loss = frame.loss();
        self.count_lost(loss);
        let pts_90k = frame.timestamp().timestamp();
        // The library wrote the frame once, in a buffer of just its size: it moves on as it is.
        let mut data = Bytes::from(frame.into_data());
        if let Some((_, ahead)) = self.ahead.take().filter(|(at, _)| *at == pts_90k) {
            data = [ahead, data].concat().into();
        }
        // What has the time of the picture before is behind it.
        if self.newest_90k != Some(pts_90k) && self.is_ahead_of_picture(&data) {
            self.ahead = Some((pts_90k, data));
            return;
        }
        if data.is_empty() || (loss > 0 && self.is_rest_of_picture(&data)) {
            return;
        }
        self.newest_90k = Some(pts_90k);
        self.feed.picture(AccessUnit { pts_90k, arrival, data });
    }

    /// Counts packets that did not come: as many as the library says, or as a relay says.
    fn count_lost(&self, loss: u16) {
        let lost = self.relay.as_ref().map_or(loss.into(), Relay::take_lost);
        self.feed.status.lost(lost);
    }

    /// Behind lost packets: whether the picture's first slice was among them. (Where others are
    /// missing, the library gives no picture.)
    fn is_rest_of_picture(&self, data: &[u8]) -> bool {
        let codec = self.video.as_ref().map(|video| video.codec);
        let kind = codec.and_then(|codec| codec::classify(codec, data).ok());
        kind.is_none_or(|kind| kind.continues)
    }

    /// Whether there is no slice yet: the library takes a marker bit behind a prefix SEI message or a
    /// delimiter of H.265 for a picture's end, although none ends there (H.265, 7.4.2.4.4).
    fn is_ahead_of_picture(&self, data: &[u8]) -> bool {
        let is_h265 = self.video.as_ref().is_some_and(|video| video.codec == VideoCodec::H265);
        // Most pictures begin with a slice; its type is one of the first 32.
        let begins_with_slice = data.get(4).is_none_or(|header| (header >> 1) & 0x3f < 32);
        is_h265
            && !begins_with_slice
            && data.len() < MAX_AHEAD
            && codec::classify(VideoCodec::H265, data).is_err()
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
            self.feed.status.begun(&codec, &self.choice.left_out);
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
        if let Some(what) = &self.unusable_params {
            return Failure::new(
                Reason::CODEC_NOT_SUPPORTED,
                format!("the camera's pictures cannot be recorded: {what}"),
            );
        }
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
