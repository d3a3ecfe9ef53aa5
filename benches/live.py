"""How old a picture is when WatchLive gives it to a client."""

import time
from typing import Any, cast

import grpc

from benches import recipe
from benches.harness import Row, Settings, percentile, wait_until
from benches.marks import time_in
from benches.node import recorder, recording
from benches.simulator import simulated_cameras
from nvr.v1 import common_pb2, footage_pb2, footage_pb2_grpc

MAX_P95_MS = 60.0


def delays_ms(settings: Settings, count: int) -> list[float]:
    """Of each picture of one of so many cameras that are recorded, for a while, how late a client has it."""
    file = recipe.make(settings.work)
    with (
        simulated_cameras(file, count, settings.work) as cameras,
        recorder(settings.work / f"store-live-{count}", cameras.addresses, settings.work) as node,
        grpc.insecure_channel(node.address) as channel,
    ):
        wait_until(lambda: recording(node.address) == count, "the cameras are recorded", within_s=180)
        # The stubs are typed for grpc.aio; they serve a blocking channel as well.
        service: Any = footage_pb2_grpc.FootageServiceStub(cast(Any, channel))
        request = footage_pb2.WatchLiveRequest(camera="camera-0", stream=common_pb2.STREAM_KIND_MAIN)
        answer = service.WatchLive(request)
        delays: list[float] = []
        begun = time.monotonic()
        for step in answer:
            now_us = time.time_ns() // 1000
            if step.WhichOneof("step") == "warning":
                raise RuntimeError(f"warned while watching: {step.warning.code} {step.warning.message}")
            if step.item.WhichOneof("kind") != "unit" or step.item.unit.audio:
                continue
            media_us = time_in(step.item.unit.data)
            if media_us is None:
                raise RuntimeError("a picture came without the SEI message that the camera sent with it")
            # The pictures of the joining GOP are as old as that GOP: they are the past, not the delay.
            if time.monotonic() - begun > 3:
                delays.append((now_us - cameras.zero_us - media_us) % cameras.loop_us / 1000)
            if time.monotonic() - begun > settings.live_s + 3:
                break
        answer.cancel()
    return delays


def measure(settings: Settings) -> list[Row]:
    """From the instant that the camera shows a picture to the client's having its bytes."""
    rows = []
    for count in sorted({1, settings.cameras}):
        delays = delays_ms(settings, count)
        what = "WatchLive delay" if count == 1 else f"the same while {count} cameras are recorded"
        p95 = percentile(delays, 95)
        rows += [
            Row(f"{what}, p50", percentile(delays, 50), "ms"),
            Row(f"{what}, p95", p95, "ms", floor=f"≤ {MAX_P95_MS:g} ms", met=p95 <= MAX_P95_MS),
        ]
    settings.conditions.append(
        f"WatchLive: one camera is watched, {settings.live_s:g} s. Each picture carries its media time in an "
        "SEI message; the simulator tells the wall time of media time zero. Lateness of the simulator itself "
        "is part of the figure."
    )
    return rows
