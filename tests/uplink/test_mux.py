"""The two sides of a connection without one: whatever the order of things, answers arrive whole."""

from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvr.uplink.mux import FRAME_COST, MAX_FRAME_BYTES, AnswerMux, AskMux, ProtocolError
from nvr.uplink.priority import Priority
from nvr.v1.uplink_pb2 import (
    ConnectRequest,
    ConnectResponse,
    UplinkClose,
    UplinkData,
    UplinkMetadata,
    UplinkOpen,
    UplinkReset,
    UplinkWindow,
)

WINDOW = 1000


class Wire:
    """Both sides, and the frames between them in order."""

    def __init__(self, window: int = WINDOW, max_calls: int = 8) -> None:
        self.ask = AskMux(max_calls=max_calls, window=window)
        self.answer = AnswerMux(max_calls=max_calls, window=window)
        self.down: deque[ConnectResponse] = deque()
        self.up: deque[ConnectRequest] = deque()

    def parent_sends(self) -> bool:
        frame = self.ask.next_frame()
        if frame is not None:
            self.down.append(ConnectResponse.FromString(frame.SerializeToString()))
        return frame is not None

    def child_sends(self, most: int = 300) -> bool:
        if not self.answer.ready:
            return False
        frame, _, _ = self.answer.next_frame(most)
        self.up.append(ConnectRequest.FromString(frame.SerializeToString()))
        return True

    def child_gets(self) -> bool:
        if not self.down:
            return False
        frame = self.down.popleft()
        match frame.WhichOneof("frame"):
            case "open":
                self.answer.open(frame.open)
            case "window":
                self.answer.window(frame.window)
            case "reset":
                self.answer.reset(frame.reset)
        return True

    def parent_gets(self) -> bool:
        if not self.up:
            return False
        frame = self.up.popleft()
        match frame.WhichOneof("frame"):
            case "data":
                self.ask.data(frame.data)
            case "close":
                self.ask.close(frame.close)
        return True

    def run(self) -> None:
        while self.parent_sends() | self.child_gets() | self.child_sends() | self.parent_gets():
            pass

    def open(self, priority: Priority = Priority.CLIPS, request: bytes = b"") -> int:
        call = self.ask.open(UplinkOpen(request=request, priority=priority.to_pb()))
        self.run()
        return call


def taken(wire: Wire, call: int) -> list[bytes]:
    """All messages of a call until its end."""
    messages: list[bytes] = []
    while True:
        wire.run()
        step = wire.ask.take(call)
        assert step is not None, "the answer has come to a standstill"
        if isinstance(step, UplinkClose):
            return messages
        messages.append(step)


@given(
    st.lists(st.lists(st.binary(max_size=2500), max_size=6), min_size=1, max_size=5), st.integers(0, 2**32)
)
def test_answers_arrive_whole_and_in_order_in_any_interleaving(answers: list[list[bytes]], seed: int) -> None:
    random = Random(seed)
    wire = Wire()
    got: dict[int, list[bytes]] = {}
    ended: set[int] = set()
    calls = [wire.ask.open(UplinkOpen(priority=random.choice(list(Priority)).to_pb())) for _ in answers]
    put: dict[int, int] = dict.fromkeys(calls, 0)
    opened: set[int] = set()
    while len(ended) < len(calls):
        step = random.randrange(6)
        if step == 0:
            wire.parent_sends()
        elif step == 1 and wire.down:
            frame = wire.down[0]
            if frame.WhichOneof("frame") == "open":
                opened.add(frame.open.call)
            wire.child_gets()
        elif step == 2:
            wire.child_sends(random.randrange(1, 400))
        elif step == 3:
            wire.parent_gets()
        elif step == 4 and opened:
            call = random.choice(sorted(opened))
            messages = answers[calls.index(call)]
            if put[call] < len(messages):
                wire.answer.put(call, messages[put[call]])
            elif put[call] == len(messages):
                wire.answer.finish(call, UplinkClose(call=call))
            put[call] += 1
        elif step == 5:
            call = random.choice(calls)
            taken_now = wire.ask.take(call) if call not in ended else None
            if isinstance(taken_now, UplinkClose):
                ended.add(call)
            elif taken_now is not None:
                got.setdefault(call, []).append(taken_now)
    assert [got.get(call, []) for call in calls] == answers
    assert len(wire.ask) == 0
    assert len(wire.answer) == 0


@given(st.lists(st.binary(min_size=1, max_size=400), min_size=20, max_size=60))
def test_what_is_not_taken_is_held_back_at_the_child(messages: list[bytes]) -> None:
    wire = Wire()
    call = wire.open()
    for message in messages:
        wire.answer.put(call, message)
    wire.answer.finish(call, UplinkClose(call=call))
    wire.run()
    assert wire.ask.arrived <= WINDOW
    assert wire.answer.waiting(call) > 0 or sum(map(len, messages)) < WINDOW
    assert taken(wire, call) == messages


def test_a_message_longer_than_the_window_comes_through() -> None:
    wire = Wire()
    call = wire.open()
    message = bytes(range(256)) * 40
    wire.answer.put(call, message)
    wire.answer.put(call, b"")
    wire.answer.finish(call, UplinkClose(call=call, code=5, details="over"))
    assert taken(wire, call) == [message, b""]


def test_a_reset_frees_both_sides_and_late_frames_are_passed_over() -> None:
    wire = Wire()
    call = wire.open(request=b"x" * 100)
    wire.answer.put(call, b"a" * 100)
    wire.child_sends()
    wire.ask.reset(call)
    wire.ask.reset(call)
    wire.run()
    assert (len(wire.ask), len(wire.answer)) == (0, 0)
    wire.answer.put(call, b"b")
    wire.answer.finish(call, UplinkClose(call=call))
    assert not wire.answer.ready
    assert not wire.answer.reset(UplinkReset(call=call))


def test_a_call_reset_before_it_was_sent_is_never_heard_of() -> None:
    ask = AskMux(max_calls=1, window=WINDOW)
    for _ in range(1000):
        assert not ask.full
        ask.reset(ask.open(UplinkOpen(request=b"x" * 1000)))
    assert ask.next_frame() is None


def test_urgent_answers_go_first_and_the_others_do_not_starve() -> None:
    wire = Wire(window=1 << 30)
    calls = {priority: wire.open(priority) for priority in Priority}
    for call in calls.values():
        for _ in range(200):
            wire.answer.put(call, b"x" * 10_000)
    sent = dict.fromkeys(Priority, 0)
    for _ in range(200):
        frame, priority, _ = wire.answer.next_frame(10_000)
        sent[priority] += len(frame.data.data)
    assert sent[Priority.CONTROL] > 0.8 * sum(sent.values())
    assert all(each > 0 for each in sent.values())
    assert sent[Priority.CONTROL] > sent[Priority.BULK]


def test_answers_of_one_class_share_it() -> None:
    wire = Wire(window=1 << 30)
    calls = [wire.open() for _ in range(4)]
    for call in calls:
        for _ in range(20):
            wire.answer.put(call, b"x" * 1000)
    order = [wire.answer.next_frame(1000)[2] for _ in range(20)]
    assert [order.count(call) for call in calls] == [5, 5, 5, 5]


# --- frames that are not allowed -------------------------------------------------


def metadata(size: int) -> list[UplinkMetadata]:
    return [UplinkMetadata(key="x", value=b"y" * size)]


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([UplinkOpen(call=0)], "not new"),
        ([UplinkOpen(call=2), UplinkOpen(call=2)], "not new"),
        ([UplinkOpen(call=2), UplinkOpen(call=1)], "not new"),
        ([UplinkOpen(call=n) for n in range(1, 10)], "more than 8 calls"),
        ([UplinkOpen(call=1, request=bytes((1 << 20) + 1))], "a request of"),
        ([UplinkOpen(call=1, metadata=metadata(20_000))], "metadata"),
        ([UplinkWindow(call=1, bytes=1)], "never opened"),
        ([UplinkReset(call=1)], "never opened"),
        ([UplinkOpen(call=1), UplinkWindow(call=1, bytes=2**32 - 1)], "a window of"),
        ([UplinkOpen(call=1), *[UplinkWindow(call=1, bytes=2**25)] * 3], "a window of"),
    ],
)
def test_a_child_refuses(frames: list[UplinkOpen | UplinkWindow | UplinkReset], says: str) -> None:
    mux = AnswerMux(max_calls=8, window=WINDOW)

    def get() -> None:
        for frame in frames:
            match frame:
                case UplinkOpen():
                    mux.open(frame)
                case UplinkWindow():
                    mux.window(frame)
                case UplinkReset():
                    mux.reset(frame)

    with pytest.raises(ProtocolError, match=says):
        get()


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([UplinkData(call=0)], "never opened"),
        ([UplinkData(call=3)], "never opened"),
        ([UplinkClose(call=2)], "never opened"),
        ([UplinkData(call=1, data=bytes(WINDOW))], "more than there was room for"),
        ([UplinkData(call=1, data=bytes(600 << 10))], "a frame of"),
        ([UplinkData(call=1)] * (WINDOW // FRAME_COST + 1), "more than there was room for"),
        ([UplinkData(call=1, more=True)], "an empty piece"),
        ([UplinkClose(call=1), UplinkData(call=1, data=b"x")], "after its end"),
        ([UplinkClose(call=1), UplinkClose(call=1)], "or twice"),
        ([UplinkData(call=1, data=b"x", more=True), UplinkClose(call=1)], "in the midst"),
        ([UplinkClose(call=1, metadata=metadata(20_000))], "metadata"),
    ],
)
def test_a_parent_refuses(frames: list[UplinkData | UplinkClose], says: str) -> None:
    mux = AskMux(max_calls=8, window=WINDOW)
    mux.open(UplinkOpen())
    mux.next_frame()
    mux.open(UplinkOpen())  # call 2 is not told to the child yet

    def get() -> None:
        for frame in frames:
            if isinstance(frame, UplinkData):
                mux.data(frame)
            else:
                mux.close(frame)

    with pytest.raises(ProtocolError, match=says):
        get()


def test_a_message_without_end_is_refused() -> None:
    mux = AskMux(max_calls=8, window=1 << 20)
    mux.open(UplinkOpen())
    mux.next_frame()
    piece = bytes(64 << 10)

    def get() -> None:
        while True:
            mux.data(UplinkData(call=1, data=piece, more=True))
            while mux.next_frame() is not None:
                pass

    with pytest.raises(ProtocolError, match="a message of more than"):
        get()
    assert mux.arrived < 66 << 20


frames_of_parent = (
    st.builds(
        ConnectResponse,
        open=st.builds(
            UplinkOpen,
            call=st.integers(0, 12),
            request=st.binary(max_size=50),
            priority=st.integers(0, 9),
        ),
    )
    | st.builds(
        ConnectResponse,
        window=st.builds(UplinkWindow, call=st.integers(0, 12), bytes=st.integers(0, 2**32 - 1)),
    )
    | st.builds(ConnectResponse, reset=st.builds(UplinkReset, call=st.integers(0, 12)))
)


@settings(max_examples=300)
@given(st.lists(frames_of_parent, max_size=40))
def test_a_child_bears_any_frames(frames: list[ConnectResponse]) -> None:
    wire = Wire()
    wire.down.extend(frames)
    try:
        while wire.child_gets():
            for call in range(1, 13):
                wire.answer.put(call, b"x" * 2000)
            while wire.child_sends():
                pass
            assert len(wire.answer) <= 8
    except ProtocolError:
        return


frames_of_child = st.builds(
    ConnectRequest,
    data=st.builds(UplinkData, call=st.integers(0, 5), data=st.binary(max_size=300), more=st.booleans()),
) | st.builds(ConnectRequest, close=st.builds(UplinkClose, call=st.integers(0, 5), code=st.integers(0, 99)))


@settings(max_examples=300)
@given(st.lists(frames_of_child, max_size=40))
def test_a_parent_bears_any_frames(frames: list[ConnectRequest]) -> None:
    wire = Wire()
    calls = [wire.open() for _ in range(4)]
    wire.up.extend(frames)
    try:
        while wire.parent_gets():
            assert wire.ask.arrived <= 4 * WINDOW
    except ProtocolError:
        return
    for call in calls:
        while isinstance(wire.ask.take(call), bytes):
            pass


def test_our_frames_are_within_what_the_other_side_takes() -> None:
    ask = AskMux(max_calls=8, window=1 << 20)
    ask.open(UplinkOpen())
    ask.next_frame()
    ask.data(UplinkData(call=1, data=bytes(MAX_FRAME_BYTES)))
