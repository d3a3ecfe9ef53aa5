"""RTSP out: every camera of a source of footage, live and by absolute time."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nvr import errors
from nvr.errors import CameraNotFound, InvalidArgument, NvrError
from nvr.footage.source import FootageSource
from nvr.footage.types import Camera, ReadContext, StreamName, StreamState, TimeRange
from nvr.rtsp.address import (
    INVALID_HEADER,
    INVALID_RANGE,
    RefusedError,
    Target,
    format_clock,
    parse_play_range,
    parse_scale,
    parse_target,
)
from nvr.rtsp.feeds import Feed, LiveFeeds
from nvr.rtsp.formats import format_of
from nvr.rtsp.replay import Start, feed_replay, find_start
from nvr.rtsp.settings import RtspSettings
from nvr.security.audit import AuditEntry, AuditHook
from nvr.security.identity import Caller

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["RtspOut"]

logger = logging.getLogger("nvr.rtsp")

METHOD = "rtsp/PLAY"
"""By which the audit record calls it."""

_BEGIN_WITHIN_S = 10.0
_COMING = (StreamState.RECORDING, StreamState.UNKNOWN)
_LINGER_S = 5.0
_SECOND_US = 1_000_000

_STATUS: dict[type[NvrError], int] = {
    errors.InvalidArgument: 400,
    errors.CodecUnsupported: 415,
    errors.AccessDenied: 403,
    errors.NotFound: 404,
    errors.LimitExceeded: 453,
    errors.Closed: 503,
    errors.NodeUnavailable: 503,
    errors.DeadlineExceeded: 504,
}


def _status_of(error: Exception) -> int:
    if isinstance(error, RefusedError):
        return error.status
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


@dataclass(slots=True, eq=False)
class _Playing:
    """What a session plays."""

    entry: AuditEntry
    feed: Feed | None = None
    task: asyncio.Task[None] | None = None
    room: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Replay:
    """What of a recording is to be played."""

    target: Target
    start: Start
    end_us: int
    scale: int
    paced: bool
    range_header: str


class RtspOut:
    """An RTSP server over any source of footage.

    ``await start()`` listens, ``await stop()`` disconnects everybody. Each PLAY
    is one call in the audit record, ``rtsp/PLAY``: opened before its answer
    (synced to disk for what was recorded), closed with the bytes that were sent.
    A stream that is watched live is watched once, however many clients look.
    """

    def __init__(
        self,
        source: FootageSource,
        settings: RtspSettings,
        *,
        audit: AuditHook,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._audit = audit
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._server: _core.RtspServer | None = None
        self._feeds: LiveFeeds | None = None
        self._playing: dict[int, _Playing] = {}
        self._paused_us: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where it is reached, with the port that it got."""
        return self._settings.listen.with_port(self._started.port)

    @property
    def sessions(self) -> int:
        """Clients that have a stream set up."""
        return self._started.stats()["sessions"]

    @property
    def _started(self) -> "_core.RtspServer":
        if self._server is None:
            raise errors.Closed("RTSP out is not started")
        return self._server

    async def start(self) -> None:
        """Listens. Raises :exc:`StoreError` (an ``OSError``) when the address is taken."""
        from nvr import _core

        settings = self._settings
        self._server = _core.RtspServer(
            str(settings.listen),
            users=[(user.name, user.password) for user in settings.user],
            threads=settings.threads,
            max_connections=settings.max_connections,
            max_sessions=settings.max_sessions,
        )
        self._feeds = LiveFeeds(self._source, self._server, _LINGER_S)
        asyncio.get_running_loop().add_reader(self._server.notify_fd(), self._on_events)
        if not settings.user and not settings.listen.is_loopback:
            logger.warning("RTSP on %s has no users: only clients on this machine are answered", self.address)

    async def stop(self) -> None:
        """Disconnects everybody; returns when the audit record says so. Stopping twice does no harm."""
        server, feeds = self._server, self._feeds
        if server is None or feeds is None:
            return
        await asyncio.to_thread(server.close)
        self._on_events()
        asyncio.get_running_loop().remove_reader(server.notify_fd())
        for session in tuple(self._playing):
            self._ended(session, "CANCELLED", 0)
        for task in self._answers:
            task.cancel()
        await feeds.close()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._server = self._feeds = None

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name="nvr-rtsp")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _begin_answer(self, work: Coroutine[None, None, None]) -> None:
        task = self._spawn(work)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _on_events(self) -> None:
        from nvr import _core

        for event in self._started.take_events():
            if isinstance(event, _core.RtspDescribe):
                self._begin_answer(self._answer(event, self._describe(event)))
            elif isinstance(event, _core.RtspPlay):
                self._begin_answer(self._answer(event, self._play(event)))
            else:
                self._on_signal(event)

    def _on_signal(self, signal: "_core.RtspSignal") -> None:
        session = signal.session
        match signal.kind:
            case "room":
                if (playing := self._playing.get(session)) is not None:
                    playing.room.set()
            case "finished":
                self._ended(session, "OK", signal.sent_bytes)
            case "paused":
                self._ended(session, "CANCELLED", signal.sent_bytes)
                if signal.position_us is not None:
                    self._paused_us[session] = signal.position_us
            case _:
                self._ended(session, "CANCELLED", signal.sent_bytes)
                self._paused_us.pop(session, None)

    def _ended(self, session: int, outcome: str, sent_bytes: int) -> None:
        """A session plays no more."""
        playing = self._playing.pop(session, None)
        if playing is None:
            return
        if playing.task is not None:
            playing.task.cancel()
        if playing.feed is not None and self._feeds is not None:
            self._feeds.leave(playing.feed)
        self._spawn(self._close_entry(playing.entry, outcome, sent_bytes))

    async def _close_entry(self, entry: AuditEntry, outcome: str, sent_bytes: int) -> None:
        try:
            await self._audit.closed(entry, outcome=outcome, sent_bytes=sent_bytes)
        except NvrError:
            logger.exception("request %s: its end is not on record", entry.request_id)

    async def _answer(
        self, request: "_core.RtspDescribe | _core.RtspPlay", work: Coroutine[None, None, None]
    ) -> None:
        """Does the work; whatever it raises becomes a status."""
        try:
            await work
        except (NvrError, RefusedError) as error:
            logger.info("a client is refused: %s", error)
            request.refuse(_status_of(error))
        except Exception:
            logger.exception("an RTSP request failed")
            request.refuse(500)

    async def _describe(self, request: "_core.RtspDescribe") -> None:
        named = parse_target(request.path, request.query, self._now_us())
        context = ReadContext(purpose="rtsp")
        camera = await self._camera(context, named.camera)
        target = named.of(camera.id)
        if target.range is not None:
            start = await find_start(self._source, context, target, target.range)
            coded, range_ = format_of(start.config), f"npt=0-{_seconds(target.range.duration_us)}"
        else:
            coded, range_ = await self._described_live(context, camera, target), "npt=now-"
        request.accept(named.path, target.path, range_, coded)

    async def _described_live(
        self, context: ReadContext, camera: Camera, target: Target
    ) -> "_core.RtspFormat":
        """How a stream is coded; while nothing comes from it, how it was when it was recorded last."""
        info = next((info for info in camera.streams if info.kind == target.stream), None)
        if info is not None and info.newest_us and info.state not in _COMING:
            last = TimeRange(info.newest_us - 1, info.newest_us)
            return format_of((await find_start(self._source, context, target, last)).config)
        feed = self._use(target.camera, target.stream)
        try:
            return await feed.begun(_BEGIN_WITHIN_S)
        finally:
            self._leave(feed)

    async def _camera(self, context: ReadContext, name: str) -> Camera:
        async for step in self._source.list_cameras(context, (name,)):
            if isinstance(step, Camera):
                return step
        raise CameraNotFound(f"no camera is called {name}", field="camera")

    def _use(self, camera_id: str, stream: StreamName) -> Feed:
        if self._feeds is None:
            raise errors.Closed("RTSP out is stopping")
        return self._feeds.use(camera_id, stream)

    def _leave(self, feed: Feed) -> None:
        if self._feeds is not None:
            self._feeds.leave(feed)

    async def _play(self, play: "_core.RtspPlay") -> None:
        target = parse_target(play.key, "", self._now_us())
        playing = play.session in self._playing
        range_ = self._wanted(play, target)
        if playing and (range_ is None or not play.range):
            # Some clients stay alive this way.
            play.unchanged()
            return
        entry = self._entry(play, target, range_)
        try:
            await self._begin(play, target, range_, entry, playing=playing)
        except (NvrError, RefusedError) as error:
            outcome = error.reason if isinstance(error, NvrError) else InvalidArgument.reason
            await self._close_entry(entry, outcome, 0)
            raise
        except asyncio.CancelledError:
            self._spawn(self._close_entry(entry, "CANCELLED", 0))
            raise

    async def _begin(
        self,
        play: "_core.RtspPlay",
        target: Target,
        range_: TimeRange | None,
        entry: AuditEntry,
        *,
        playing: bool,
    ) -> None:
        scale = parse_scale(play.scale)
        if play.speed.strip() not in ("", "1", "1.0", "1.000"):
            raise RefusedError(INVALID_HEADER, "Speed: only 1")
        if range_ is None:
            if scale != 1:
                raise RefusedError(INVALID_HEADER, "Scale: what comes live has one pace")
            await self._play_live(play, target, entry)
            return
        context = ReadContext(purpose="rtsp", request_id=entry.request_id)
        start = await find_start(self._source, context, target, range_)
        if playing:
            self._stop_before(play)
        replay = _Replay(
            target=target,
            start=start,
            end_us=range_.end_us,
            scale=scale,
            paced=play.rate_control.strip().lower() != "no",
            range_header=_answered_range(play.range, target, TimeRange(start.at_us, range_.end_us)),
        )
        await self._play_recorded(play, replay, context, entry)

    def _wanted(self, play: "_core.RtspPlay", target: Target) -> TimeRange | None:
        """What a PLAY asks for; after PAUSE and without a range, what comes next."""
        now_us = self._now_us()
        range_ = parse_play_range(play.range, target.range, now_us)
        paused_us = self._paused_us.pop(play.session, None)
        if range_ is None or play.range or paused_us is None:
            return range_
        if paused_us + 1 >= range_.end_us:
            raise RefusedError(INVALID_RANGE, "it was played to its end")
        return TimeRange(paused_us + 1, range_.end_us)

    def _stop_before(self, play: "_core.RtspPlay") -> None:
        """Ends what a session plays, as it is to play something else."""
        sent_bytes = play.stop()
        # What it told before this is about what ends here.
        self._on_events()
        self._ended(play.session, "CANCELLED", sent_bytes)

    async def _play_live(self, play: "_core.RtspPlay", target: Target, entry: AuditEntry) -> None:
        feed = self._use(target.camera, target.stream)
        try:
            await feed.begun(_BEGIN_WITHIN_S)
            await self._audit.opened(entry, durable=False)
        except BaseException:
            self._leave(feed)
            raise
        if play.live(feed.core):
            self._playing[play.session] = _Playing(entry, feed)
        else:
            self._leave(feed)
            await self._close_entry(entry, "CANCELLED", 0)

    async def _play_recorded(
        self, play: "_core.RtspPlay", replay: _Replay, context: ReadContext, entry: AuditEntry
    ) -> None:
        start = replay.start
        await self._audit.opened(entry, durable=True)
        core = play.replay(
            start.at_us,
            replay.end_us,
            range=replay.range_header,
            pre_roll_us=start.pre_roll_us if replay.scale == 1 else 0,
            scale=replay.scale,
            paced=replay.paced,
        )
        if core is None:
            await self._close_entry(entry, "CANCELLED", 0)
            return
        playing = _Playing(entry)
        self._playing[play.session] = playing
        playing.task = self._spawn(self._feed(play.session, replay, context, core, playing.room))

    async def _feed(
        self,
        session: int,
        replay: _Replay,
        context: ReadContext,
        core: "_core.RtspReplay",
        room: asyncio.Event,
    ) -> None:
        try:
            await feed_replay(
                self._source,
                context,
                replay.target,
                TimeRange(replay.start.read_us, replay.end_us),
                core,
                room,
                keyframes_only=replay.scale > 1,
            )
        except NvrError as error:
            logger.info("session %d: the replay ends early: %s", session, error)
        except Exception:
            logger.exception("session %d: the replay failed", session)

    def _entry(self, play: "_core.RtspPlay", target: Target, range_: TimeRange | None) -> AuditEntry:
        family = "ipv6" if ":" in play.host else "ipv4"
        host = f"[{play.host}]" if ":" in play.host else play.host
        peer = f"{family}:{host}:{play.port}"
        caller = Caller("account", play.user, peer) if play.user else Caller("local", "", peer)
        return AuditEntry(
            request_id=uuid.uuid4().hex,
            method=METHOD,
            caller=caller,
            peer=peer,
            cameras=(target.camera,),
            stream=target.stream,
            start_us=None if range_ is None else range_.start_us,
            end_us=None if range_ is None else range_.end_us,
        ).bounded()


def _seconds(us: int) -> str:
    return f"{us // _SECOND_US}.{us % _SECOND_US:06}"


def _answered_range(header: str, target: Target, played: TimeRange) -> str:
    """What is played, in the unit that was asked in."""
    of = target.range
    if of is None or header.strip().lower().startswith("clock"):
        return f"clock={format_clock(played.start_us)}-{format_clock(played.end_us)}"
    start, end = played.start_us - of.start_us, played.end_us - of.start_us
    return f"npt={_seconds(start)}-{_seconds(end)}"
