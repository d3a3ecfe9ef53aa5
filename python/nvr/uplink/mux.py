"""Many calls over one connection: what each side remembers of them, and what it sends. No I/O.

The contract is ``protos/nvr/v1/uplink.proto``. A frame that it does not allow raises
:exc:`ProtocolError`, which ends the connection; whatever the other side sends, what is
remembered here stays bounded.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from nvr.errors import InvalidArgument
from nvr.uplink.priority import Picker, Priority
from nvr.v1.uplink_pb2 import (
    ConnectRequest,
    ConnectResponse,
    UplinkAck,
    UplinkClose,
    UplinkData,
    UplinkMetadata,
    UplinkOpen,
    UplinkPong,
    UplinkReset,
    UplinkWindow,
)

__all__ = [
    "FRAME_COST",
    "MAX_FRAME_BYTES",
    "MAX_REQUEST_BYTES",
    "PROTOCOL",
    "AnswerMux",
    "AskMux",
    "ProtocolError",
    "cost",
]

PROTOCOL = 1
FRAME_COST = 16
"""What a data frame takes of a window beside its bytes: many empty messages are not free."""
MAX_FRAME_BYTES = 512 << 10
"""Of data in one frame that we send."""
MAX_REQUEST_BYTES = 1 << 20
_MAX_DATA_BYTES = 512 << 10
_MAX_MESSAGE_BYTES = 64 << 20
_MAX_PARTIAL_BYTES = 128 << 20
_MAX_WINDOW = 64 << 20
_MAX_METADATA_BYTES = 16 << 10
_MAX_REQUESTS_BYTES = 16 << 20
_ACK_BYTES = 16 << 10


class ProtocolError(InvalidArgument):
    """A frame that the protocol does not allow."""

    reason = "UPLINK_PROTOCOL"


def cost(data: bytes) -> int:
    """What a data frame takes of the call's window."""
    return len(data) + FRAME_COST


def _check_metadata(metadata: Sequence[UplinkMetadata]) -> None:
    if sum(len(each.key) + len(each.value) + 32 for each in metadata) > _MAX_METADATA_BYTES:
        raise ProtocolError(f"metadata of more than {_MAX_METADATA_BYTES} bytes")


# --- the child -------------------------------------------------------------------


@dataclass(slots=True)
class _Answer:
    """An answer under way: messages not sent yet, and how much of the first one is."""

    priority: Priority
    request_bytes: int
    window: int
    messages: deque[bytes] = field(default_factory=deque)
    offset: int = 0
    queued: int = 0
    close: UplinkClose | None = None


class AnswerMux:
    """The child's side: calls come in, answers go out, the most urgent first."""

    def __init__(self, *, max_calls: int, window: int) -> None:
        self._max_calls = max_calls
        self._window = min(window, _MAX_WINDOW)
        self._answers: dict[int, _Answer] = {}
        self._last = 0
        self._requests = 0
        self._ready: dict[Priority, deque[int]] = {each: deque() for each in Priority}
        self._picker = Picker()

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def queued(self) -> dict[Priority, int]:
        """Bytes that wait to be sent."""
        waiting = dict.fromkeys(Priority, 0)
        for answer in self._answers.values():
            waiting[answer.priority] += answer.queued
        return waiting

    def open(self, frame: UplinkOpen) -> None:
        """A call begins."""
        if frame.call <= self._last:
            raise ProtocolError(f"call {frame.call} is not new")
        if len(self._answers) >= self._max_calls:
            raise ProtocolError(f"more than {self._max_calls} calls at once")
        if len(frame.request) > MAX_REQUEST_BYTES:
            raise ProtocolError(f"a request of {len(frame.request)} bytes")
        _check_metadata(frame.metadata)
        self._last = frame.call
        self._answers[frame.call] = _Answer(
            Priority.from_pb(frame.priority), len(frame.request), self._window
        )
        self._requests += len(frame.request)

    @property
    def overfull(self) -> bool:
        """The requests of the open calls together are too much: the newest is to be refused."""
        return self._requests > _MAX_REQUESTS_BYTES

    def window(self, frame: UplinkWindow) -> None:
        """There is more room for an answer."""
        answer = self._known(frame.call)
        if answer is None:
            return
        answer.window += frame.bytes
        if answer.window > _MAX_WINDOW:
            raise ProtocolError(f"call {frame.call}: a window of {answer.window} bytes")
        self._schedule(frame.call, answer)

    def reset(self, frame: UplinkReset) -> bool:
        """An answer is not wanted any more. Whether there was one."""
        if self._known(frame.call) is None:
            return False
        self._forget(frame.call)
        return True

    def put(self, call: int, message: bytes) -> None:
        """The next message of an answer; nothing, when it is not wanted any more."""
        answer = self._answers.get(call)
        if answer is None or answer.close is not None:
            return
        answer.messages.append(message)
        answer.queued += cost(message)
        self._schedule(call, answer)

    def waiting(self, call: int) -> int:
        """Bytes of an answer that were put and not sent yet."""
        answer = self._answers.get(call)
        return 0 if answer is None else answer.queued

    def finish(self, call: int, close: UplinkClose) -> None:
        """The end of an answer, after all that was put."""
        answer = self._answers.get(call)
        if answer is not None and answer.close is None:
            answer.close = close
            self._schedule(call, answer)

    @property
    def ready(self) -> bool:
        """Whether there is something to send for which there is room."""
        return any(self._ready.values())

    def next_frame(self, most_bytes: int) -> tuple[ConnectRequest, Priority, int]:
        """The next frame, its class, and the call. Only when :attr:`ready`."""
        waiting = [each for each, calls in self._ready.items() if calls]
        priority = self._picker.pick(waiting)
        call = self._ready[priority].popleft()
        answer = self._answers[call]
        if not answer.messages:
            frame = ConnectRequest(close=answer.close)
            self._forget(call)
            return frame, priority, call
        message = answer.messages[0]
        end = answer.offset + max(1, min(most_bytes, answer.window - FRAME_COST))
        data = message[answer.offset : end]
        more = end < len(message)
        answer.window -= cost(data)
        answer.queued -= len(data)
        answer.offset = end
        if not more:
            answer.messages.popleft()
            answer.offset = 0
            answer.queued -= FRAME_COST
        self._picker.sent(priority, cost(data), waiting)
        self._schedule(call, answer)
        return ConnectRequest(data=UplinkData(call=call, data=data, more=more)), priority, call

    def _schedule(self, call: int, answer: _Answer) -> None:
        """Puts a call in line, unless it is there, or has nothing to send or no room for it."""
        sendable = answer.window > FRAME_COST if answer.messages else answer.close is not None
        line = self._ready[answer.priority]
        if sendable and call not in line:
            line.append(call)

    def _known(self, call: int) -> _Answer | None:
        """The answer; None when it has ended. Raises for a call that never was."""
        if call > self._last or call == 0:
            raise ProtocolError(f"call {call} was never opened")
        return self._answers.get(call)

    def _forget(self, call: int) -> None:
        answer = self._answers.pop(call)
        self._requests -= answer.request_bytes
        line = self._ready[answer.priority]
        if call in line:
            line.remove(call)


# --- the parent ------------------------------------------------------------------


@dataclass(slots=True)
class _Ask:
    """A call under way: messages that came and were not taken, pieces of the next one, room left."""

    window: int
    messages: deque[tuple[bytes, int]] = field(default_factory=deque)
    """Each with what it took of the window."""
    pieces: bytearray = field(default_factory=bytearray)
    partial: int = 0
    held: int = 0
    close: UplinkClose | None = None


class AskMux:
    """The parent's side: calls go out, answers come in, no faster than they are taken."""

    def __init__(self, *, max_calls: int, window: int) -> None:
        self._max_calls = max_calls
        self._window = window
        self._asks: dict[int, _Ask] = {}
        self._last = 0
        self._partial = 0
        self._arrived = 0
        self._acked = 0
        # What is to be sent. All of it is bounded, also when the child does not read.
        self._opens: OrderedDict[int, UplinkOpen] = OrderedDict()
        self._resets: deque[int] = deque()
        self._windows: dict[int, int] = {}
        self._pong: int | None = None

    def __len__(self) -> int:
        return len(self._asks)

    @property
    def full(self) -> bool:
        """The child answers no more calls at once."""
        return len(self._asks) >= self._max_calls

    @property
    def arrived(self) -> int:
        """All data frames until now, by their :func:`cost`."""
        return self._arrived

    def open(self, frame: UplinkOpen) -> int:
        """Begins a call, and gives it its number."""
        self._last += 1
        frame.call = self._last
        self._opens[self._last] = frame
        self._asks[self._last] = _Ask(self._window)
        return self._last

    def data(self, frame: UplinkData) -> int | None:
        """A piece of an answer came: the call, when that completes a message."""
        size = cost(frame.data)
        if len(frame.data) > _MAX_DATA_BYTES:
            raise ProtocolError(f"call {frame.call}: a frame of {len(frame.data)} bytes")
        self._arrived += size
        ask = self._known(frame.call)
        if ask is None:
            return None
        if ask.close is not None:
            raise ProtocolError(f"call {frame.call}: bytes after its end")
        ask.window -= size
        if ask.window < 0:
            raise ProtocolError(f"call {frame.call}: {-ask.window} bytes more than there was room for")
        if frame.more and not frame.data:
            raise ProtocolError(f"call {frame.call}: an empty piece")
        ask.partial += size
        self._partial += size
        if ask.partial > _MAX_MESSAGE_BYTES or self._partial > _MAX_PARTIAL_BYTES:
            raise ProtocolError(f"call {frame.call}: a message of more than {ask.partial} bytes")
        if frame.more or ask.pieces:
            ask.pieces += frame.data
        if frame.more:
            self._grant(frame.call, ask)
            return None
        ask.messages.append((bytes(ask.pieces) if ask.pieces else frame.data, ask.partial))
        ask.held += ask.partial
        self._partial -= ask.partial
        ask.pieces, ask.partial = bytearray(), 0
        return frame.call

    def close(self, frame: UplinkClose) -> int | None:
        """An answer's end came: the call, unless it has ended here."""
        ask = self._known(frame.call)
        if ask is None:
            return None
        if ask.close is not None or ask.pieces:
            raise ProtocolError(f"call {frame.call}: an end in the midst of a message, or twice")
        _check_metadata(frame.metadata)
        ask.close = frame
        self._windows.pop(frame.call, None)
        return frame.call

    def take(self, call: int) -> bytes | UplinkClose | None:
        """The next message of an answer, or its end, which ends the call; None: nothing is there yet."""
        ask = self._asks[call]
        if ask.messages:
            message, size = ask.messages.popleft()
            ask.held -= size
            if ask.close is None:
                self._grant(call, ask)
            return message
        if ask.close is not None:
            self._forget(call)
        return ask.close

    def reset(self, call: int) -> None:
        """Ends a call that is not wanted any more."""
        ask = self._asks.get(call)
        if ask is None:
            return
        self._forget(call)
        # A call that the child does not know of needs no end there.
        if self._opens.pop(call, None) is None and ask.close is None:
            self._resets.append(call)

    def lose(self, call: int, close: UplinkClose) -> None:
        """The connection is lost: a call ends so, after the messages of it that came whole."""
        ask = self._asks.get(call)
        if ask is not None and ask.close is None:
            self._partial -= ask.partial
            ask.pieces, ask.partial = bytearray(), 0
            ask.close = close

    def ping(self, number: int) -> None:
        """The child asked whether this side is there."""
        self._pong = number

    def next_frame(self) -> ConnectResponse | None:
        """What is to be sent next; None: nothing."""
        if self._pong is not None:
            number, self._pong = self._pong, None
            return ConnectResponse(pong=UplinkPong(number=number))
        if self._arrived - self._acked >= _ACK_BYTES:
            self._acked = self._arrived
            return ConnectResponse(ack=UplinkAck(bytes=self._acked))
        if self._windows:
            call, size = self._windows.popitem()
            self._asks[call].window += size
            return ConnectResponse(window=UplinkWindow(call=call, bytes=size))
        if self._resets:
            return ConnectResponse(reset=UplinkReset(call=self._resets.popleft()))
        if self._opens:
            _, opened = self._opens.popitem(last=False)
            return ConnectResponse(open=opened)
        return None

    def _grant(self, call: int, ask: _Ask) -> None:
        """More room, once enough was taken to be worth a frame."""
        # The message under way may be longer than the window; but it can wait while others do.
        room = self._window - ask.held - ask.window - (ask.partial if ask.messages else 0)
        if room >= self._window // 4:
            self._windows[call] = room

    def _known(self, call: int) -> _Ask | None:
        """The call; None when it has ended here, and its end is not known there yet."""
        if call > self._last or call == 0 or call in self._opens:
            raise ProtocolError(f"call {call} was never opened")
        return self._asks.get(call)

    def _forget(self, call: int) -> None:
        ask = self._asks.pop(call)
        self._partial -= ask.partial
        self._windows.pop(call, None)
