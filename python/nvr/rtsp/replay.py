"""Replays: stored fragments on their way to one client."""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvr.errors import DamagedError, InvalidArgument, NoFootage
from nvr.footage.source import FootageSource
from nvr.footage.time import format_instant
from nvr.footage.types import (
    CodecConfig,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Notice,
    ReadContext,
    TimeRange,
)
from nvr.rtsp.address import Target
from nvr.rtsp.formats import format_of

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["Start", "feed_replay", "find_start"]

logger = logging.getLogger("nvr.rtsp")

_MORE_REFS = 64
"""Fragments of another run that may lie between one and its random-access point."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a replay begins."""

    at_us: int
    """The instant that was asked for, or the next that is recorded."""
    read_us: int
    """Start of the fragment at whose random-access point a decoder begins."""
    config: CodecConfig

    @property
    def pre_roll_us(self) -> int:
        """What a decoder needs before the instant."""
        return max(0, self.at_us - self.read_us)


async def find_start(source: FootageSource, context: ReadContext, target: Target, range_: TimeRange) -> Start:
    """Where a range begins. Raises :exc:`NoFootage` when nothing of it is recorded."""
    shown = await source.locate(context, target.camera, target.stream, range_.start_us, "next")
    if shown.start_us >= range_.end_us:
        when = f"from {format_instant(range_.start_us)} to {format_instant(range_.end_us)}"
        raise NoFootage(f"nothing is recorded of {target.camera} {when}")
    at_us = max(range_.start_us, shown.start_us)
    first = await _random_access(source, context, target, shown)
    request = FragmentsRequest(
        target.camera, TimeRange(first.start_us, first.start_us + 1), target.stream, refs_only=True
    )
    async with aclosing(source.read_fragments(context, request)) as steps:  # type: ignore[type-var]
        async for step in steps:
            if isinstance(step, Fragment) and step.ref.run_id == first.run_id:
                return Start(at_us, first.start_us, step.config)
    raise NoFootage(f"the footage of {target.camera} was deleted just now")


async def _random_access(
    source: FootageSource, context: ReadContext, target: Target, shown: FragmentRef
) -> FragmentRef:
    """The fragment whose random-access point another one needs; that one itself if it is gone."""
    if shown.random_access:
        return shown
    request = FragmentsRequest(
        target.camera,
        TimeRange(0, shown.start_us + 1),
        target.stream,
        backward=True,
        refs_only=True,
        limit=shown.random_access_distance + 1 + _MORE_REFS,
    )
    async with aclosing(source.read_fragments(context, request)) as steps:  # type: ignore[type-var]
        async for step in steps:
            if isinstance(step, Fragment) and step.ref.run_id == shown.run_id and step.ref.random_access:
                return step.ref
    return shown


async def feed_replay(
    source: FootageSource,
    context: ReadContext,
    target: Target,
    range_: TimeRange,
    replay: "_core.RtspReplay",
    room: asyncio.Event,
    *,
    keyframes_only: bool,
) -> None:
    """Pushes what is recorded of a range, never much more than the client has seen."""
    request = FragmentsRequest(target.camera, range_, target.stream, keyframes_only=keyframes_only)
    config: CodecConfig | None = None
    coded: _core.RtspFormat | None = None
    try:
        async with aclosing(source.read_fragments(context, request)) as steps:  # type: ignore[type-var]
            async for step in steps:
                if isinstance(step, Notice):
                    logger.info("replay of %s: %s", target.camera, step.message)
                if not isinstance(step, Fragment):
                    continue
                if coded is None or step.config != config:
                    config, coded = step.config, format_of(step.config)
                # Cleared before the push, so that what is told after it is not missed.
                room.clear()
                if not _push(replay, step, coded, keyframes_only=keyframes_only):
                    await room.wait()
    except (InvalidArgument, DamagedError) as error:
        logger.info("replay of %s ends early: %s", target.camera, error)
    finally:
        replay.finish()


def _push(
    replay: "_core.RtspReplay", fragment: Fragment, coded: "_core.RtspFormat", *, keyframes_only: bool
) -> bool:
    ref = fragment.ref
    if keyframes_only:
        return replay.push_keyframe(fragment.data, coded, ref.start_us)
    return replay.push_fragment(
        fragment.data,
        coded,
        start_us=ref.start_us,
        duration_us=ref.duration_us,
        run_id=ref.run_id,
        random_access=ref.random_access,
    )
