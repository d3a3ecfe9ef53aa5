//! One session with a source that is not RTSP: a process of its own reads it and writes what it
//! finds to a pipe.
//!
//! Media libraries written in C parse what strangers send. In a process of its own such a library
//! may crash, hang or eat memory: the session ends with its reason, and nothing else notices.
//! The process is told the address on its standard input, where nobody else can read it, and ends
//! when that closes.

mod wire;

use std::future::poll_fn;
use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;

use futures::{Stream as _, stream};
use nvr_core::media::{AccessUnit, AudioFrame, VideoCodec};
use nvr_core::reason::Reason;
use tokio::io::{AsyncRead, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::wire::{Message, Reader};
use crate::failure::Failure;
use crate::options::Options;
use crate::session::{Feed, Silence};

/// How long a process that said it was done may take to end.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// Starts the process, and feeds the sink with what it reads until the session ends. Dropping the
/// future kills the process.
pub(crate) async fn record(
    url: &str,
    options: &Options,
    handshakes: &Semaphore,
    feed: Feed<'_>,
) -> Failure {
    let started = {
        // Starting costs a good part of a second of CPU: not all at once. Never closed.
        let _turn = handshakes.acquire().await;
        timeout(options.handshake_timeout, start(url, &options.source_command)).await
    };
    let mut process = match started {
        Ok(Ok(process)) => process,
        Ok(Err(failure)) => return failure,
        Err(_) => {
            let limit = options.handshake_timeout;
            return Failure::new(
                Reason::NOT_RECORDED,
                format!("the source's process does not start within {limit:?}"),
            );
        }
    };
    let mut pump = Pump { feed, codec: None };
    let failure = pump.run(&mut process.messages, options).await;
    process.end(failure).await
}

/// A process that reads a source.
struct Process {
    child: Child,
    /// The process ends when this is closed.
    _stdin: ChildStdin,
    messages: Reader,
}

/// Starts the process and waits until it has loaded its libraries.
async fn start(url: &str, command: &[String]) -> Result<Process, Failure> {
    let failed = |e| {
        Failure::new(Reason::NOT_RECORDED, format!("the source's process cannot be started: {e}"))
    };
    let [program, arguments @ ..] = command else {
        return Err(Failure::new(Reason::NOT_RECORDED, "there is no reader for such sources"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What a library prints may hold the address; what matters is told by messages.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::new(Reason::NOT_RECORDED, "the source's process has no pipes"));
    };
    stdin.write_all(format!("{url}\n").as_bytes()).await.map_err(failed)?;
    let mut messages = Reader::new(stdout);
    match messages.next().await {
        Some(Ok(Message::Ready)) => Ok(Process { child, _stdin: stdin, messages }),
        Some(Ok(Message::End(failure)) | Err(failure)) => Err(failure),
        Some(Ok(_)) => Err(wire::broken("it begins with something else than that it is ready")),
        None => Err(died(&mut child).await),
    }
}

impl Process {
    /// Why the session ended, when it is known how the process did.
    async fn end(mut self, failure: Option<Failure>) -> Failure {
        match failure {
            Some(failure) => {
                // Killed and waited for, so that a device is free for the next session.
                let _ = timeout(EXIT_LIMIT, self.child.kill()).await;
                failure
            }
            None => died(&mut self.child).await,
        }
    }
}

/// What to say of a process that ended without a word.
async fn died(child: &mut Child) -> Failure {
    use std::os::unix::process::ExitStatusExt as _;
    let how = match timeout(EXIT_LIMIT, child.wait()).await {
        Ok(Ok(status)) => match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with {}", status.code().unwrap_or_default()),
        },
        _ => "closed its output".to_owned(),
    };
    Failure::new(Reason::PROTOCOL_ERROR, format!("the process that reads the source {how}"))
}

/// What a process would have written, fed to the sink.
#[cfg(feature = "fuzzing")]
pub(crate) async fn replay(output: &[u8], feed: Feed<'_>) -> Option<Failure> {
    Pump { feed, codec: None }.run(&mut Reader::new(output), &Options::default()).await
}

/// What woke the session's task.
enum Wake {
    Message(Option<Result<Message, Failure>>),
    Tick,
}

/// From messages to the sink's calls.
struct Pump<'a> {
    feed: Feed<'a>,
    codec: Option<VideoCodec>,
}

impl Pump<'_> {
    /// Until the session ends; none: the process ended without a word.
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        messages: &mut Reader<R>,
        options: &Options,
    ) -> Option<Failure> {
        // A read that a tick interrupts must not lose what it has: the stream keeps it.
        let mut messages = pin!(stream::unfold(messages, |reader| async move {
            let next = reader.next().await?;
            Some((next, reader))
        }));
        let mut watch = Silence::new(options.source_start);
        let mut tick = pin!(interval(Silence::new(options.silent_after).period()));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut limit = options.source_start;
        loop {
            let wake = poll_fn(|cx| {
                if let Poll::Ready(message) = messages.as_mut().poll_next(cx) {
                    return Poll::Ready(Wake::Message(message));
                }
                tick.poll_tick(cx).map(|_| Wake::Tick)
            });
            match wake.await {
                Wake::Message(Some(Ok(message))) => {
                    if let Some(failure) = self.message(message) {
                        return Some(failure);
                    }
                    if limit != options.silent_after && *self.feed.begun {
                        limit = options.silent_after;
                        watch = Silence::new(limit);
                    }
                }
                Wake::Message(Some(Err(failure))) => return Some(failure),
                Wake::Message(None) => return None,
                Wake::Tick => {
                    if watch.is_silent(self.feed.status.frames()) {
                        return Some(Failure::new(
                            Reason::SILENT,
                            format!("the source gives no picture for {limit:?}"),
                        ));
                    }
                }
            }
        }
    }

    fn message(&mut self, message: Message) -> Option<Failure> {
        let Feed { clock, sink, status, begun } = &mut self.feed;
        match message {
            Message::Ready => return Some(wire::broken("it says twice that it is ready")),
            Message::Begin(begin) => {
                if **begun {
                    return Some(wire::broken("it begins twice"));
                }
                let sound = match begin.audio.as_ref().map(wire::audio_codec).transpose() {
                    Ok(sound) => sound.unwrap_or_default(),
                    Err(failure) => return Some(failure),
                };
                status.video(
                    &wire::codec_name(&begin.video),
                    begin.video.width,
                    begin.video.height,
                );
                status.begun(&sound, &begin.left_out);
                **begun = true;
                self.codec = Some(begin.video.codec);
                sink.begin(clock.now(), begin.video, begin.audio);
            }
            Message::Parameters(video) => {
                if self.codec != Some(video.codec) {
                    return Some(wire::broken("new parameters are of another codec"));
                }
                status.video(&wire::codec_name(&video), video.width, video.height);
                sink.video_params(video);
            }
            Message::Video { pts_90k, data } => {
                if !**begun {
                    return Some(wire::broken("a picture comes before it begins"));
                }
                let arrival = clock.now();
                self.feed.picture(AccessUnit { pts_90k, arrival, data });
            }
            Message::Audio { pts, duration, data } => {
                if **begun {
                    status.sound(data.len());
                    sink.audio(AudioFrame { pts, duration, arrival: clock.now(), data });
                }
            }
            Message::End(failure) => return Some(failure),
        }
        None
    }
}
