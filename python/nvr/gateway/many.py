"""One question to many nodes at once, by the client in Rust: a callback for what comes, no task for each.

What gRPC for Python costs for each call is more than a node's whole answer is worth
(``docs/decisions/0019-own-client-for-many-nodes.md``), so questions that go to many
nodes go this way; everything else goes by a link's channel.
"""

import asyncio
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from nvr._core import FanoutClient, FanoutTls
from nvr.errors import Closed
from nvr.security.tls import ClientPem, TlsFiles, client_pem

__all__ = ["Ended", "ManyNodes", "OnAnswer", "Reachable"]

_MOST_MESSAGE_BYTES = 16 << 20
_MOST_ANSWER_BYTES = 64 << 20


class Reachable(Protocol):
    """A node by its address: where and how it is dialled."""

    @property
    def address(self) -> str:
        """``host:port`` or ``unix:path``."""

    @property
    def tls(self) -> TlsFiles | None:
        """None: plaintext."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: gRPC's status; ``problem``: a serialized ``nvr.v1.Problem`` or nothing.

    ``asked``: it got its turn before its deadline.
    """

    status: int
    detail: str
    problem: bytes
    asked: bool


OnAnswer = Callable[[int, Sequence[bytes], Ended | None], None]
"""Is told, on the loop, what came of a request, by its place among them; the last time how it ended.

Must not raise.
"""


class ManyNodes:
    """The connections and calls of one loop. The first question starts them; :meth:`close` ends them.

    ``at_once``: calls at the same time; others wait for their turn within their deadline.
    """

    def __init__(self, *, at_once: int) -> None:
        self._client = FanoutClient(
            at_once=at_once, message_bytes=_MOST_MESSAGE_BYTES, answer_bytes=_MOST_ANSWER_BYTES
        )
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._client.notify_fd(), self._on_ready)
        self._peers: weakref.WeakKeyDictionary[Reachable, int] = weakref.WeakKeyDictionary()
        self._tls: dict[ClientPem, FanoutTls] = {}
        self._calls: dict[int, tuple[OnAnswer, int]] = {}
        self._closed = False

    def peer(self, node: Reachable) -> int:
        """The number of a node, which is its own as long as the object lives.

        Raises :exc:`ConfigError` and :exc:`InvalidArgument` for certificates or an address
        that cannot be used.
        """
        known = self._peers.get(node)
        if known is None:
            tls = None if node.tls is None else self._tls_of(node.tls)
            known = self._peers[node] = self._client.add_peer(node.address, tls)
            # A connection that is not used is closed with it.
            weakref.finalize(node, self._client.remove_peer, known).atexit = False
        return known

    def _tls_of(self, files: TlsFiles) -> FanoutTls:
        pem = client_pem(files)
        known = self._tls.get(pem)
        if known is None:
            known = self._tls[pem] = FanoutTls(
                authorities=pem.authorities, certificate=pem.certificate, key=pem.key
            )
        return known

    def connections_made(self, node: Reachable) -> int:
        """How often it was connected to."""
        return self._client.connections_made(self.peer(node))

    def ask(
        self,
        path: str,
        requests: Sequence[tuple[int, bytes]],
        on_answer: OnAnswer,
        *,
        timeout_s: float,
        metadata: Sequence[tuple[str, str]],
        most_messages: int,
    ) -> range:
        """Asks each peer, with its serialized request; the numbers of the calls, for :meth:`cancel`.

        ``path``: ``/package.Service/Method``; ``most_messages``: of each answer.
        """
        first = self._client.ask(
            path,
            requests,
            timeout_us=max(1, int(timeout_s * 1e6)),
            metadata=metadata,
            most_messages=most_messages,
        )
        calls = range(first, first + len(requests))
        for index, call in enumerate(calls):
            self._calls[call] = on_answer, index
        return calls

    def cancel(self, calls: Sequence[int]) -> None:
        """Calls of which nothing more is wanted; nothing more is told of them."""
        left = [call for call in calls if self._calls.pop(call, None) is not None]
        if left:
            self._client.cancel(left)

    def close(self) -> None:
        """Ends all calls. Whoever waits for one is told that it was cut."""
        if self._closed:
            return
        self._closed = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._client.notify_fd())
        self._client.close()
        calls, self._calls = self._calls, {}
        cut = Ended(14, Closed("this node stops").message, b"", asked=True)
        for on_answer, index in calls.values():
            on_answer(index, (), cut)

    def _on_ready(self) -> None:
        for call, messages, ended in self._client.take():
            known = self._calls.get(call)
            if known is None:
                continue
            if ended is not None:
                del self._calls[call]
            on_answer, index = known
            on_answer(index, messages, None if ended is None else Ended(*ended))
