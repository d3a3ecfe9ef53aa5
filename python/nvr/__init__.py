"""A distributed network video recorder: record cameras, and find any instant of them.

::

    import nvr

    with nvr.connect("localhost:7600") as net:
        cam = net.camera("market-gate")
        cam.clip("2026-11-23T14:05:00Z", duration="1m").save("gate.mp4", progress=True)

The names of :mod:`nvr.client` and :mod:`nvr.errors` are here too; they are loaded
at their first use, so that ``import nvr`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvr import errors
    from nvr.client import (
        AsyncCamera,
        AsyncClip,
        AsyncLive,
        AsyncNetwork,
        AsyncStream,
        Camera,
        CameraList,
        Clip,
        ClipPlan,
        ClipReport,
        Collected,
        CollectReport,
        Coverage,
        Frame,
        Live,
        Network,
        Progress,
        SavedPart,
        Sheet,
        Snapshot,
        StoredFragment,
        Stream,
        connect,
        connect_async,
    )
    from nvr.errors import NvrError

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
    "NvrError",
    "Progress",
    "SavedPart",
    "Sheet",
    "Snapshot",
    "StoredFragment",
    "Stream",
    "connect",
    "connect_async",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nvr' has no attribute {name!r}")
    if name == "errors":
        return import_module("nvr.errors")
    value = getattr(import_module("nvr.errors" if name == "NvrError" else "nvr.client"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
