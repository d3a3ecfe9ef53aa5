"""The client library: footage and cameras of a node, as Python likes them.

``nvr.connect`` is the way in; ``nvr.connect_async`` is its twin for asyncio.
"""

from nvr.client._camera import AsyncCamera
from nvr.client._clip import AsyncClip, ClipPlan
from nvr.client._collect import Collected, CollectReport
from nvr.client._live import AsyncLive, Live
from nvr.client._network import AsyncNetwork, connect_async
from nvr.client._progress import Progress
from nvr.client._sheet import Sheet
from nvr.client._stream import AsyncStream, Stream
from nvr.client._sync import Camera, Clip, Network, connect
from nvr.client._values import CameraList, ClipReport, Coverage, Frame, SavedPart, Snapshot, StoredFragment

__all__ = [
    "AsyncCamera",
    "AsyncClip",
    "AsyncLive",
    "AsyncNetwork",
    "AsyncStream",
    "Camera",
    "CameraList",
    "Clip",
    "ClipPlan",
    "ClipReport",
    "CollectReport",
    "Collected",
    "Coverage",
    "Frame",
    "Live",
    "Network",
    "Progress",
    "SavedPart",
    "Sheet",
    "Snapshot",
    "StoredFragment",
    "Stream",
    "connect",
    "connect_async",
]
