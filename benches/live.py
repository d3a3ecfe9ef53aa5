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


def measure(settings: Settings) -> list[Row]:
    """From the instant that the camera shows a picture to the client's having its bytes."""
    file = recipe.make(settings.work)
    with (
        simulated_cameras(file, 1, settings.work) as cameras,
        recorder(settings.work / "store-live", cameras.addresses, settings.work) as node,
        grpc.insecure_channel(node.address) as channel,
    ):
        wait_until(lambda: recording(node.address) == 1, "the camera is recorded")
        # The stubs are typed for grpc.aio; they serve a blocking channel as well.
        service: Any = footage_pb2_grpc.FootageServiceStub(cast(Any, channel))
        request = footage_pb2.WatchLiveRequest(camera="camera-0", stream=common_pb2.STREAM_KIND_MAIN)
        answer = service.WatchLive(request)
        delays_ms: list[float] = []
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
                delays_ms.append((now_us - cameras.zero_us - media_us) % cameras.loop_us / 1000)
            if time.monotonic() - begun > settings.live_s + 3:
                break
        answer.cancel()
    settings.conditions.append(
        f"WatchLive: one camera, {len(delays_ms)} pictures over {settings.live_s:g} s. Each picture carries "
        "its media time in an SEI message; the simulator tells the wall time of media time zero. Lateness "
        "of the simulator itself is part of the figure."
    )
    p95 = percentile(delays_ms, 95)
    return [
        Row("WatchLive delay p50", percentile(delays_ms, 50), "ms"),
        Row("WatchLive delay p95", p95, "ms", floor=f"≤ {MAX_P95_MS:g} ms", met=p95 <= MAX_P95_MS),
    ]
