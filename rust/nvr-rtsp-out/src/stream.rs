//! What clients ask for, and who answers: the owner of the server, by events.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use nvr_rtsp::{Client, Description, Play, Service, Started, StatusCode, Stream, Track, Url};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::events::{Event, Events, Signal, SignalKind};
use crate::format::Format;
use crate::live::LiveFeed;
use crate::replay::{Plan, Replay};
use crate::timeline::Timeline;

/// RTP time between two replays of a session.
const BETWEEN_REPLAYS_US: i64 = 1_000_000;

type Answer<T> = Result<T, StatusCode>;

/// A question and where its answer goes; none when it is not to be answered any more.
type Open<Q, A> = Mutex<Option<(Q, oneshot::Sender<Answer<A>>)>>;

/// A question that is answered once, by whoever takes it first; nobody can when it is asked no more.
struct Question<Q, A> {
    open: Arc<Open<Q, A>>,
}

/// The asking side: withdraws the question when it is dropped.
struct Asked<Q, A> {
    open: Weak<Open<Q, A>>,
    answer: oneshot::Receiver<Answer<A>>,
}

impl<Q, A> Question<Q, A> {
    fn ask(question: Q) -> (Self, Asked<Q, A>) {
        let (sender, answer) = oneshot::channel();
        let open = Arc::new(Mutex::new(Some((question, sender))));
        let asked = Asked { open: Arc::downgrade(&open), answer };
        (Question { open }, asked)
    }

    /// Answers unless the question was answered or withdrawn: then nothing is called.
    fn answer(&self, answer: impl FnOnce(Q) -> Answer<A>) -> Option<()> {
        // Held meanwhile: a question is not withdrawn in the middle of its answer.
        let mut open = self.open.lock();
        let (question, sender) = open.take()?;
        let answer = answer(question);
        let _ = sender.send(answer);
        Some(())
    }
}

impl<Q, A> Asked<Q, A> {
    async fn answer(mut self, within: Duration) -> Answer<A> {
        match tokio::time::timeout(within, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            // It was dropped without an answer.
            Ok(Err(_)) => Err(StatusCode::InternalServerError),
            Err(_) => Err(StatusCode::GatewayTimeout),
        }
    }
}

impl<Q, A> Drop for Asked<Q, A> {
    fn drop(&mut self) {
        if let Some(open) = self.open.upgrade() {
            open.lock().take();
        }
    }
}

/// Limits that streams share.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) answer_within: Duration,
    pub(crate) max_payload: usize,
    pub(crate) max_backlog_bytes: usize,
}

/// Addresses, which the owner of the server understands.
pub(crate) struct Cameras {
    pub(crate) events: Arc<Events>,
    pub(crate) limits: Limits,
}

impl Service for Cameras {
    type Stream = Played;

    async fn find(&self, client: &Client, url: &Url) -> Answer<Arc<Played>> {
        let asked = Asking { events: Arc::clone(&self.events), limits: self.limits };
        let (question, answer) = Question::ask(asked);
        self.events.push(Event::Describe(DescribeRequest {
            client: client.clone(),
            path: url.path().trim_matches('/').to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
            question,
        }));
        answer.answer(self.limits.answer_within).await
    }
}

struct Asking {
    events: Arc<Events>,
    limits: Limits,
}

/// A client asks what is behind an address.
pub struct DescribeRequest {
    /// Who asks.
    pub client: Client,
    /// Path without slashes at its ends, escaped as in the address.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    question: Question<Asking, Arc<Played>>,
}

impl DescribeRequest {
    /// It is this. `path` is the one by which clients shall call it, escaped; `range` the value of
    /// `a=range`; `key` is given back with each [`PlayRequest`].
    pub fn accept(&self, path: String, key: String, range: String, format: Arc<Format>) {
        self.question.answer(|Asking { events, limits }| {
            let description = Description {
                id: rand::random::<u32>().into(),
                path,
                range,
                video: format.video_description(),
                audio: format.audio_description(),
            };
            let sessions = Mutex::default();
            Ok(Arc::new(Played { key, description, format, events, limits, sessions }))
        });
    }

    /// There is nothing, for this reason.
    pub fn refuse(&self, status: StatusCode) {
        self.question.answer(|_| Err(status));
    }
}

/// What is behind an address.
pub(crate) struct Played {
    key: String,
    description: Description,
    format: Arc<Format>,
    events: Arc<Events>,
    limits: Limits,
    sessions: Mutex<HashMap<u64, PlayedSession>>,
}

#[derive(Default)]
struct PlayedSession {
    player: Option<Player>,
    /// RTP time that replays reached so far.
    rtp_us: Option<i64>,
}

enum Player {
    Live(Arc<LiveFeed>),
    Replay(Arc<Replay>),
}

impl PlayedSession {
    /// Ends what it plays; bytes sent, and wall time of the last picture of a replay.
    fn stop(&mut self, session: u64) -> (u64, Option<i64>) {
        match self.player.take() {
            None => (0, None),
            Some(Player::Live(feed)) => (feed.leave(session), None),
            Some(Player::Replay(replay)) => {
                let stopped = replay.stop();
                self.rtp_us = self.rtp_us.max(Some(stopped.rtp_us));
                (stopped.sent_bytes, stopped.position_us)
            }
        }
    }
}

impl Played {
    fn stop(&self, session: u64, kind: SignalKind) {
        let mut sessions = self.sessions.lock();
        let known = match kind {
            SignalKind::Ended => sessions.remove(&session),
            _ => None,
        };
        let (sent_bytes, position_us) = match (known, sessions.get_mut(&session)) {
            (Some(mut known), _) => known.stop(session),
            (None, Some(known)) => known.stop(session),
            // It never played.
            (None, None) => return,
        };
        self.events.push(Event::Signal(Signal { kind, session, sent_bytes, position_us }));
    }
}

impl Stream for Played {
    const CAN_PAUSE: bool = true;

    fn description(&self) -> &Description {
        &self.description
    }

    // The stream itself goes with the request, so that its answer can begin to play.
    async fn play(self: &Arc<Self>, play: Play) -> Answer<()> {
        let text = |header: &Option<String>| header.clone().unwrap_or_default();
        let (session, client) = (play.session, play.client.clone());
        let (range, scale) = (text(&play.range), text(&play.scale));
        let (speed, rate_control) = (text(&play.speed), text(&play.rate_control));
        let (question, answer) = Question::ask((Arc::clone(self), play));
        let key = self.key.clone();
        self.events.push(Event::Play(PlayRequest {
            session,
            client,
            key,
            range,
            scale,
            speed,
            rate_control,
            question,
        }));
        answer.answer(self.limits.answer_within).await
    }

    fn pause(&self, session: u64) {
        self.stop(session, SignalKind::Paused);
    }

    fn end(&self, session: u64) {
        self.stop(session, SignalKind::Ended);
    }
}

/// A client wants to see something. Headers are as it wrote them, empty without one.
pub struct PlayRequest {
    /// Its session.
    pub session: u64,
    /// Who asks.
    pub client: Client,
    /// Of what was described.
    pub key: String,
    /// `Range`.
    pub range: String,
    /// `Scale`.
    pub scale: String,
    /// `Speed`.
    pub speed: String,
    /// `Rate-Control`.
    pub rate_control: String,
    question: Question<(Arc<Played>, Play), ()>,
}

/// What of a recording is played, and how.
#[derive(Clone, Debug)]
pub struct ReplayPlan {
    /// Wall time from which it is played; what comes before it is pre-roll.
    pub start_us: i64,
    /// Wall time before which it ends.
    pub end_us: i64,
    /// How long the pre-roll is.
    pub pre_roll_us: i64,
    /// How many times as fast as it was; more than 1: keyframes alone.
    pub scale: u32,
    /// At its own pace; else as fast as the client takes it.
    pub paced: bool,
    /// The value of `Range` in the answer.
    pub range: String,
}

impl PlayRequest {
    /// Ends what the session plays; how many bytes of it were sent.
    pub fn stop(&self) -> u64 {
        let open = self.question.open.lock();
        let Some(((played, play), _)) = &*open else { return 0 };
        let mut sessions = played.sessions.lock();
        sessions.get_mut(&play.session).map_or(0, |session| session.stop(play.session).0)
    }

    /// Shows what comes; false when the client is gone, or the feed was closed or has nothing yet.
    pub fn live(&self, feed: &Arc<LiveFeed>) -> bool {
        let mut joined = false;
        self.question.answer(|(played, play)| {
            let mut sessions = played.sessions.lock();
            let session = sessions.entry(play.session).or_default();
            session.stop(play.session);
            joined = feed.join(play.session, play.output, play.announcer);
            if !joined {
                return Err(StatusCode::ServiceUnavailable);
            }
            session.player = Some(Player::Live(Arc::clone(feed)));
            Ok(())
        });
        joined
    }

    /// Shows what was recorded; none when the client is gone.
    pub fn replay(&self, plan: ReplayPlan, runtime: &Handle) -> Option<Arc<Replay>> {
        let mut begun = None;
        self.question.answer(|(played, play)| {
            let mut sessions = played.sessions.lock();
            let session = sessions.entry(play.session).or_default();
            session.stop(play.session);
            let reached_us = session.rtp_us.map(|at| at + BETWEEN_REPLAYS_US);
            let Limits { max_payload, max_backlog_bytes, .. } = played.limits;
            let origin_us = reached_us.unwrap_or(0) + plan.pre_roll_us.max(0);
            let replay = Arc::new(Replay::new(
                play.session,
                Arc::clone(&play.output),
                Arc::clone(&played.events),
                Plan {
                    timeline: Timeline::new(plan.start_us, plan.end_us, plan.scale),
                    format: Arc::clone(&played.format),
                    paced: plan.paced,
                    origin_us,
                    max_payload,
                    max_backlog_bytes,
                },
            ));
            play.announcer.started(Started {
                range: plan.range,
                scale: play.scale.is_some().then(|| format!("{}.0", plan.scale)),
                video_ticks: replay.ticks(Track::Video, 0),
                audio_ticks: replay.ticks(Track::Audio, 0),
            });
            runtime.spawn(Arc::clone(&replay).play());
            session.player = Some(Player::Replay(Arc::clone(&replay)));
            begun = Some(replay);
            Ok(())
        });
        begun
    }

    /// It plays already, and goes on as it does.
    pub fn unchanged(&self) {
        self.question.answer(|(_, play)| {
            play.announcer.unchanged();
            Ok(())
        });
    }

    /// It is not shown.
    pub fn refuse(&self, status: StatusCode) {
        self.question.answer(|_| Err(status));
    }
}
