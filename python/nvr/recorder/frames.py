"""Decoded pictures of a range: each group of pictures is read and decoded once, whatever is wanted of it."""

import asyncio
import bisect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nvr.errors import DamagedError, DecodeError, LimitExceeded, NoFootage
from nvr.footage.types import End, Notice, Picture, PictureOptions, StreamName, TimeRange
from nvr.recorder.pictures import Image, decode_pictures
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["Decoders", "FrameReader", "decode_one"]

_WAIT_FOR_DECODER_S = 30.0
_READER_IDLE_S = 30.0
# After the last decoded picture: later than any.
_NO_MORE = (1 << 63, Image(0, 0, b""))


class Decoders:
    """A bounded number of decoders, each on a thread: their reference pictures are what takes memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self.pool = ReadPool(limit, "nvr-decode")

    async def slot(self) -> "DecoderSlot":
        """One decoder's place, to be released. Raises :exc:`LimitExceeded` when none becomes free."""
        try:
            async with asyncio.timeout(_WAIT_FOR_DECODER_S):
                await self._slots.acquire()
        except TimeoutError:
            raise LimitExceeded(
                f"all {self._limit} decoders of this node are in use; ask again, or read the clip instead",
                facts={"limit": "decoders"},
            ) from None
        return DecoderSlot(self._slots)

    def close(self) -> None:
        """Returns when no decoder runs any more."""
        self.pool.close()


class DecoderSlot:
    """A decoder's place. A reader that takes no picture for a while loses it to others."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._held = True

    def release(self) -> None:
        """Gives the place back; once is enough."""
        if self._held:
            self._held = False
            self._slots.release()

    @contextmanager
    def waiting_for_reader(self, give_up: Callable[[], None]) -> Iterator[None]:
        """Around a yield. Raises :exc:`LimitExceeded` when the reader came back too late."""

        def expire() -> None:
            give_up()
            self.release()

        timer = asyncio.get_running_loop().call_later(_READER_IDLE_S, expire)
        try:
            yield
        finally:
            timer.cancel()
        if not self._held:
            raise LimitExceeded(
                f"no picture was taken for {_READER_IDLE_S:.0f} s, and others wait for the decoder; "
                "ask again from the last picture on",
                facts={"limit": "decoder_idle"},
            )


def decode_one(found: "_core.FrameSamples", options: PictureOptions) -> Image:
    """The picture that an instant shows. Blocks. Raises :exc:`DecodeError`."""
    target = found.target_pts_90k
    config = found.config
    for _, image in decode_pictures(
        config.video_codec, config.video_extra_data, found.samples, [target], options
    ):
        return image
    raise DecodeError(
        "the picture is stored, but the decoder did not give it: pictures before it are missing"
    )


@dataclass(slots=True)
class _Group:
    """A group of pictures and the instants wanted of it, both in order of time."""

    config: "_core.CodecConfig"
    samples: list[tuple[bytes, int]]
    shown: list[tuple[int, int]]
    """Wall time and presentation time of each picture, in order."""
    end_us: int
    first: int
    """The first picture's wall time that is wanted."""


class FrameReader:
    """One answer to ReadFrames."""

    def __init__(
        self,
        store: "_core.Store",
        pool: ReadPool,
        decoders: Decoders,
        camera_id: str,
        stream: StreamName,
        range_: TimeRange,
        interval_us: int,
        options: PictureOptions,
        node: str,
    ) -> None:
        self._store = store
        self._pool = pool
        self._decoders = decoders
        self._camera_id = camera_id
        self._stream = stream
        self._range = range_
        self._interval_us = interval_us
        self._options = options
        self._node = node
        self._next_us = range_.start_us

    async def steps(self) -> AsyncIterator[Picture | Notice | End]:
        """The pictures, and notices of groups that are damaged."""
        complete = True
        groups: AsyncIterator[_Group | Notice] = self._pool.ahead(self._next_group)
        async for group in groups:
            if isinstance(group, Notice):
                complete = False
                yield group
                continue
            async for step in self._pictures(group):
                complete = complete and isinstance(step, Picture)
                yield step
        yield End(complete=complete)

    def _next_group(self) -> "_Group | Notice | None":
        """The group that shows the next wanted instant. Blocks."""
        store, camera_id, stream = self._store, self._camera_id, self._stream
        while self._next_us < self._range.end_us:
            at_us = self._next_us
            fragment = store.locate(camera_id, stream, at_us, "next")
            if fragment is None:
                return None
            if fragment.start_us > at_us:
                # A gap: go on with the first wanted instant after it.
                self._next_us = self._instant_from(fragment.start_us)
                continue
            fragment_end_us = fragment.start_us + fragment.duration_us
            try:
                group = self._read_group(at_us)
            except DamagedError as error:
                self._next_us = self._instant_from(max(fragment_end_us, at_us + 1))
                return self._damaged(error.message, at_us, fragment_end_us)
            except NoFootage:
                # Retention was faster: look again for what comes after.
                self._next_us = self._instant_from(max(fragment_end_us, at_us + 1))
                continue
            self._next_us = self._instant_from(
                max(at_us + 1, fragment_end_us if group is None else group.end_us)
            )
            if group is not None:
                return group
        return None

    def _read_group(self, at_us: int) -> "_Group | None":
        """The group that shows an instant. Blocks."""
        store, camera_id, stream = self._store, self._camera_id, self._stream
        starts = store.gops(camera_id, stream, at_us, at_us + 1)
        if not starts:
            return None
        found = store.gop_samples(camera_id, stream, starts[-1])
        shown = sorted((wall_us, pts) for _, pts, wall_us in found.samples if wall_us < found.end_us)
        samples = [(data, pts) for data, pts, _ in found.samples]
        return _Group(found.config, samples, shown, found.end_us, at_us)

    def _instant_from(self, at_us: int) -> int:
        """The first instant of the asked series at or after a time."""
        if not self._interval_us:
            return at_us
        steps = -(-(at_us - self._range.start_us) // self._interval_us)
        return self._range.start_us + steps * self._interval_us

    def _wanted(self, group: _Group) -> Iterator[tuple[int, int, int]]:
        """For each wanted instant: itself, and wall time and presentation time of what it shows."""
        until_us = min(group.end_us, self._range.end_us)
        if not self._interval_us:
            for wall_us, pts in group.shown:
                if group.first <= wall_us < until_us:
                    yield wall_us, wall_us, pts
            return
        walls = [wall_us for wall_us, _ in group.shown]
        for asked_us in range(group.first, until_us, self._interval_us):
            index = bisect.bisect_right(walls, asked_us) - 1
            if index >= 0:
                yield asked_us, *group.shown[index]

    async def _pictures(self, group: _Group) -> AsyncIterator[Picture | Notice]:
        pts_wanted = sorted({pts for _, _, pts in self._wanted(group)})
        if not pts_wanted:
            return
        slot = await self._decoders.slot()
        decoded = decode_pictures(
            group.config.video_codec, group.config.video_extra_data, group.samples, pts_wanted, self._options
        )
        current: tuple[int, Image] | None = None
        try:
            for asked_us, frame_us, pts in self._wanted(group):
                try:
                    while current is None or current[0] < pts:
                        current = await self._decoders.pool.run(next, decoded, _NO_MORE)
                    image = current[1] if current[0] == pts else await self._single(asked_us)
                except (DecodeError, DamagedError) as error:
                    yield self._damaged(error.message, asked_us, group.end_us)
                    return
                with slot.waiting_for_reader(decoded.close):
                    yield Picture(
                        asked_us, frame_us, image.width, image.height, self._options.format, image.data
                    )
        finally:
            slot.release()

    async def _single(self, at_us: int) -> Image:
        """A picture that needs others from before its group (a leading picture of an open one)."""
        found = await self._pool.run(self._store.frame_samples, self._camera_id, self._stream, at_us)
        if found is None:
            raise DecodeError("the picture was deleted meanwhile")
        return await self._decoders.pool.run(decode_one, found, self._options)

    def _damaged(self, message: str, start_us: int, end_us: int) -> Notice:
        return Notice("damaged", message, self._node, self._camera_id, TimeRange(start_us, end_us))
