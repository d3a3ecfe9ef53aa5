"""Simulated cameras: an RTSP server in this process, and what it plays."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from nvr._core import CameraSim, SimMedia
from nvr.simulate.media import load
from nvr.simulate.scenes import Scene, generate

__all__ = ["SimulatedCamera", "SimulatedCameras", "street_scenes"]

Source = str | PathLike[str] | Scene | SimMedia

_STAGGER_US = 1_370_000
"""Cameras that play the same media show moments so far apart."""


@dataclass(frozen=True, slots=True)
class SimulatedCamera:
    """A camera that is being played. Its addresses carry no password."""

    name: str
    main_url: str
    sub_url: str
    zero_us: int
    """Wall time (microseconds since the epoch, UTC) at which the media time of both streams is zero."""


class SimulatedCameras:
    """Cameras that play files and generated scenes over RTSP.

    Each camera has two streams, ``rtsp://host:port/NAME/main`` and ``…/sub``, on
    one timeline: at wall time T both are at media time T − ``zero_us``. After
    its duration, media starts anew.

    ``listen`` is an address and a port (0: any free one). With ``user``, viewers
    must log in: by Digest, or by Basic if ``digest`` is false. ``cache`` is where
    generated scenes are kept; it is needed only for those.

    Raises:
        InvalidArgument: a value is out of its range.
        StoreError: the port cannot be listened on (it is an ``OSError``).

    """

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        *,
        user: str = "",
        password: str = "",
        digest: bool = True,
        threads: int = 1,
        max_payload: int = 1400,
        cache: str | PathLike[str] | None = None,
    ) -> None:
        self._sim = CameraSim(
            listen, user=user, password=password, digest=digest, threads=threads, max_payload=max_payload
        )
        self._host = listen.rpartition(":")[0]
        self._login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        self._cache = cache
        self._media: dict[str | Scene, SimMedia] = {}
        self._cameras: dict[str, SimulatedCamera] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._sim.port

    @property
    def cameras(self) -> tuple[SimulatedCamera, ...]:
        """The cameras, in the order in which they were added."""
        return tuple(self._cameras.values())

    def add(
        self, name: str, main: Source, sub: Source | None = None, *, zero_us: int | None = None
    ) -> SimulatedCamera:
        """Starts a camera from a file, a scene, or media made otherwise.

        Without ``sub`` the sub-stream plays the main stream's media; without
        ``zero_us`` media time zero is now. Blocks while media is loaded or made.

        Raises:
            InvalidArgument: the name is taken or unfit for an address, or media cannot be played.
            FileNotFoundError: there is no such file.

        """
        main_media = self._load(main)
        sub_media = main_media if sub is None else self._load(sub)
        zero_us = self._sim.add(f"{name}/main", main_media, zero_us=zero_us)
        try:
            self._sim.add(f"{name}/sub", sub_media, zero_us=zero_us)
        except BaseException:
            self._sim.remove(f"{name}/main")
            raise
        base = f"rtsp://{self._host}:{self.port}/{name}"
        camera = SimulatedCamera(name, f"{base}/main", f"{base}/sub", zero_us)
        self._cameras[name] = camera
        return camera

    def add_many(self, count: int, sources: Sequence[tuple[Source, Source | None]]) -> None:
        """Starts cameras ``camera-1`` and so on from (main, sub) in turn, each at another moment of it."""
        scenes = {source for pair in sources[:count] for source in pair if isinstance(source, Scene)}
        # Drawing and coding release the GIL for the most part.
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._scene_file, sorted(scenes, key=repr)))
        now_us = time.time_ns() // 1000
        for index in range(count):
            main, sub = sources[index % len(sources)]
            self.add(f"camera-{index + 1}", main, sub, zero_us=now_us - index * _STAGGER_US)

    def remove(self, name: str) -> None:
        """Takes a camera away; who looks at it is disconnected."""
        self._sim.remove(f"{name}/main")
        self._sim.remove(f"{name}/sub")
        del self._cameras[name]

    def url(self, name: str, stream: Literal["main", "sub"] = "main") -> str:
        """A stream's address with user and password, as a recorder needs it. Not to be shown."""
        return f"rtsp://{self._login}{self._host}:{self.port}/{name}/{stream}"

    def stats(self) -> dict[str, int]:
        """``sessions`` that play now; ``packets`` and ``bytes`` sent so far."""
        return self._sim.stats()

    def close(self) -> None:
        """Disconnects everybody and frees the port. Closing twice does no harm."""
        self._sim.close()

    def _load(self, source: Source) -> SimMedia:
        if isinstance(source, SimMedia):
            return source
        key = source if isinstance(source, Scene) else str(Path(source).resolve())
        if key not in self._media:
            self._media[key] = load(self._scene_file(source) if isinstance(source, Scene) else source)
        return self._media[key]

    def _scene_file(self, scene: Scene) -> Path:
        if self._cache is None:
            raise ValueError("cache: a folder for generated scenes is needed")
        return generate(scene, self._cache)


def street_scenes(count: int) -> list[tuple[Scene, Scene]]:
    """Up to four different cameras' scenes (main, sub): day and night, H.264 and H.265, with sound.

    Their duration holds a whole number of sound frames, so sound goes on without a gap.
    """
    main = Scene(width=960, height=540, bit_rate=1_000_000, duration_s=8)
    kinds = (
        replace(main, seed=1, audio=True),
        replace(main, seed=2, night=True, codec="h265"),
        replace(main, seed=3, b_frames=2, gop_s=4.0),
        replace(main, seed=4, night=True, audio=True),
    )
    return [
        (kind, replace(kind, width=480, height=270, bit_rate=250_000, b_frames=0, gop_s=2.0))
        for kind in kinds[:count]
    ]
