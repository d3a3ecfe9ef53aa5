"""Stored fragments, page by page: a month of them never lies in memory at once."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from nvr.errors import DamagedError, InvalidArgument, NoFootage, StoreError
from nvr.footage.types import (
    CodecConfig,
    End,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Notice,
    StreamName,
    TimeRange,
)
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["FragmentReader", "codec_config", "fragment_ref"]

_PAGE = 256
_CURSOR_VERSION = "f1"


def fragment_ref(fragment: "_core.Fragment", stream: StreamName) -> FragmentRef:
    """The core's fragment as readers see it."""
    return FragmentRef(
        camera_id=fragment.camera_id,
        stream=stream,
        run_id=fragment.run_id,
        epoch=fragment.epoch,
        sequence=fragment.sequence,
        start_us=fragment.start_us,
        duration_us=fragment.duration_us,
        random_access=fragment.random_access,
        random_access_distance=fragment.random_access_distance,
        size_bytes=fragment.size_bytes,
        pictures=fragment.pictures,
        activity_bytes=fragment.activity_bytes,
        camera_clock_offset_us=fragment.camera_clock_offset_us,
    )


class FragmentReader:
    """One answer to ReadFragments."""

    def __init__(
        self, store: "_core.Store", pool: ReadPool, camera_id: str, request: FragmentsRequest, node: str
    ) -> None:
        self._store = store
        self._pool = pool
        self._camera_id = camera_id
        self._request = request
        self._node = node
        self._after: _Position | None = _Position.parse(request.cursor) if request.cursor else None
        self._sent: _Position | None = None
        self._page: list[_core.Fragment] = []
        self._page_size = _PAGE
        self._segment = ""
        self._config: CodecConfig | None = None

    async def steps(self) -> AsyncIterator[Fragment | Notice | End]:
        """The fragments, and notices of those that are damaged."""
        sent, complete, limit = 0, True, self._request.limit
        steps: AsyncIterator[Fragment | Notice] = self._pool.ahead(self._next)
        async for step in steps:
            if limit and sent == limit:
                last = self._sent
                yield End(complete=complete, cursor=last.text if last else "")
                return
            if isinstance(step, Fragment):
                sent += 1
                self._sent = _Position(step.ref.start_us, step.ref.run_id, step.ref.sequence)
            else:
                complete = False
            yield step
        yield End(complete=complete)

    def _next(self) -> Fragment | Notice | None:
        """The next fragment with its bytes. Blocks."""
        request = self._request
        while fragment := self._next_fragment():
            if request.keyframes_only and not fragment.random_access:
                continue
            try:
                config = self._config_of(fragment)
                data = self._bytes_of(fragment)
            except (DamagedError, StoreError) as error:
                # Of a disk that fails, or was taken away, others may have what comes after.
                code = "damaged" if isinstance(error, DamagedError) else "disk_error"
                where = TimeRange(fragment.start_us, fragment.start_us + fragment.duration_us)
                return Notice(code, error.message, self._node, self._camera_id, where)
            except NoFootage:
                # Retention was faster.
                continue
            return Fragment(fragment_ref(fragment, request.stream), config, data, self._node)
        return None

    def _bytes_of(self, fragment: "_core.Fragment") -> bytes:
        if self._request.refs_only:
            return b""
        if self._request.keyframes_only:
            return self._store.read_keyframe(fragment)
        return self._store.read_fragment(fragment)

    def _config_of(self, fragment: "_core.Fragment") -> CodecConfig:
        """The segment's; the same object while nothing changes."""
        if self._config is None or fragment.segment != self._segment:
            config = codec_config(self._store.config(fragment))
            if config != self._config:
                self._config = config
            self._segment = fragment.segment
        return self._config

    def _next_fragment(self) -> "_core.Fragment | None":
        if not self._page and not self._fetch():
            return None
        fragment = self._page.pop()
        self._after = _Position(fragment.start_us, fragment.run_id, fragment.sequence)
        return fragment

    def _fetch(self) -> bool:
        """Fills the page with what comes after the last fragment; the next one at its end."""
        request, after = self._request, self._after
        start_us, end_us = request.range.start_us, request.range.end_us
        if after is not None:
            # The position's own instant is asked for again: another run may have fragments there.
            if request.backward:
                end_us = min(end_us, after.start_us + 1)
            else:
                start_us = max(start_us, after.start_us)
        while start_us < end_us:
            page = self._store.fragments(
                self._camera_id,
                request.stream,
                start_us,
                end_us,
                backward=request.backward,
                limit=self._page_size,
            )
            fresh = page if after is None else after.rest_of(page, backward=request.backward)
            if fresh:
                self._page = fresh[::-1]
                return True
            if len(page) < self._page_size:
                return False
            # More overlapping fragments than a page holds.
            self._page_size *= 2
        return False


class _Position:
    """A fragment that was given last."""

    def __init__(self, start_us: int, run_id: str, sequence: int) -> None:
        self.start_us = start_us
        self._name = (run_id, sequence)

    @property
    def text(self) -> str:
        """As a cursor."""
        run_id, sequence = self._name
        return f"{_CURSOR_VERSION}.{self.start_us}.{run_id}.{sequence}"

    @classmethod
    def parse(cls, cursor: str) -> "_Position":
        """From a cursor. Raises :exc:`InvalidArgument`."""
        version, *fields = cursor.split(".")
        if version == _CURSOR_VERSION and len(fields) == 3:
            start, run_id, sequence = fields
            if all(
                number.isascii() and number.isdigit() and len(number) < 19 for number in (start, sequence)
            ):
                return cls(int(start), run_id, int(sequence))
        raise InvalidArgument("cursor: it is not from an earlier answer of this node", field="cursor")

    def rest_of(self, page: "list[_core.Fragment]", *, backward: bool) -> "list[_core.Fragment]":
        """What comes after this fragment in a page; also when it is there no more."""
        for index, fragment in enumerate(page):
            if (fragment.run_id, fragment.sequence) == self._name:
                return page[index + 1 :]
        if backward:
            return [fragment for fragment in page if fragment.start_us < self.start_us]
        return [fragment for fragment in page if fragment.start_us > self.start_us]


def codec_config(config: "_core.CodecConfig") -> CodecConfig:
    """The core's, as readers see it."""
    return CodecConfig(
        video_codec=config.video_codec,
        width=config.width,
        height=config.height,
        video_extra_data=config.video_extra_data,
        audio_codec=config.audio_codec,
        audio_extra_data=config.audio_extra_data,
        audio_sample_rate_hz=config.audio_sample_rate_hz,
        init_segment=config.init_segment,
    )
