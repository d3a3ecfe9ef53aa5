"""RTSP out beside the test: its event loop runs in a thread, so that clients may block."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from nvr.footage.source import FootageSource
from nvr.rtsp.out import RtspOut
from nvr.rtsp.settings import RtspSettings, RtspUser
from nvr.settings.fields import Address
from tests.footage.serving import MemoryAudit, serve
from tests.support.processes import wait_for

T = TypeVar("T")
_WAIT_S = 90

WAYS = ("local", "remote")
"""Where RTSP out gets footage: from the node that has it, or from another by gRPC."""


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_WAIT_S)

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        return self.run(self._stack.enter_async_context(context))

    def close(self) -> None:
        self.run(self._stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def background() -> Iterator[Background]:
    running = Background()
    try:
        yield running
    finally:
        running.close()


@dataclass
class Out:
    """A running server."""

    rtsp: RtspOut
    audit: MemoryAudit

    @property
    def port(self) -> int:
        return int(self.rtsp.address.rpartition(":")[2])

    def url(self, camera: str, rest: str = "main", *, login: str = "") -> str:
        return f"rtsp://{login}{self.rtsp.address}/{camera}/{rest}"

    def wait_outcomes(self, count: int) -> list[str]:
        """How PLAYs ended, once so many have."""
        wait_for(lambda: len(self.audit.outcomes()) >= count, f"{count} calls are closed in the audit record")
        return self.audit.outcomes()


@asynccontextmanager
async def rtsp_out(
    source: FootageSource,
    *,
    users: dict[str, str] | None = None,
    now_us: Callable[[], int] | None = None,
    **limits: int,
) -> AsyncIterator[Out]:
    settings = RtspSettings(
        listen=Address("127.0.0.1:0"),
        user=[RtspUser(name=name, password=password) for name, password in (users or {}).items()],
        **limits,
    )
    audit = MemoryAudit()
    out = RtspOut(source, settings, audit=audit, now_us=now_us)
    await out.start()
    try:
        yield Out(out, audit)
    finally:
        await out.stop()


@asynccontextmanager
async def reached(way: str, source: FootageSource) -> AsyncIterator[FootageSource]:
    """The source itself, or the same behind gRPC."""
    if way == "local":
        yield source
    else:
        async with serve(source) as served:
            yield served.source
