"""A household behind NAT in network namespaces: a slow line up, a long way, stalls, and a cable to cut.

    camera, house ──── home (5 Mbit/s up) ──── provider: toxiproxy (80 ms) ──── trunk ──── ward

The house cannot be dialled; it dials the ward by the provider's address, with mutual TLS. All
nodes are real processes.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvr.security.tls import TlsFiles
from nvr.simulate.scenes import Scene, generate
from tests.support.namespaces import Cable, Host, lab
from tests.support.processes import wait_for
from tests.uplink.lines import Certificate, certificate

# About half a megabyte a second: more than the line carries.
SCENE = Scene(width=640, height=360, fps=10, duration_s=10, gop_s=1.0, bit_rate=4_000_000)
UP = "5mbit"
_WAY_MS = 40
_HOUSE, _PROVIDER, _WARD = "10.1.0.2", "10.1.0.1", "10.3.0.1"
_NODE, _RTSP, _ENTRY, _API = 7600, 8554, 7700, 8474
_RUN = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


class Toxics:
    """What the way between does to connections. See github.com/Shopify/toxiproxy."""

    def __init__(self, api: str) -> None:
        self._api = f"http://{api}/proxies"

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._api}{path}", data, method=method)
        wait_for(lambda: self._answered(request), f"toxiproxy does {method} {path}", every_s=0.1)

    def _answered(self, request: urllib.request.Request) -> bool:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return True
        except urllib.error.HTTPError:
            raise
        except OSError:
            # It starts, and the door to it is open before it is.
            return False

    def join(self, listen: str, upstream: str) -> None:
        self._call("POST", "", {"name": "way", "listen": listen, "upstream": upstream, "enabled": True})

    def delay(self, name: str, way: str, latency_ms: int) -> None:
        """All that goes this way (``upstream``: from the house) comes so much later."""
        toxic = {"name": name, "type": "latency", "stream": way, "attributes": {"latency": latency_ms}}
        self._call("POST", "/way/toxics", toxic)

    def undo(self, name: str) -> None:
        self._call("DELETE", f"/way/toxics/{name}")


@dataclass(frozen=True)
class Household:
    """``ward`` and ``house``: their gRPC addresses from outside, whatever is cut."""

    ward: str
    house: str
    tls: TlsFiles
    cable: Cable
    toxics: Toxics
    host: Host

    def sent_bytes(self) -> int:
        """What went over the house's line, all of it."""
        (link,) = json.loads(self.host.ip("-s", "-j", "link", "show", "dev", "home"))
        return int(link["stats64"]["tx"]["bytes"])


@contextmanager
def household(folder: Path, *, more: str = "") -> Iterator[Household]:
    """All of it, running. ``more``: further lines of the house's ``[uplink]``."""
    scene = generate(SCENE, folder / "scenes")
    ward = certificate(folder / "ward", name="ward", hosts=[_PROVIDER, "127.0.0.1"])
    house = certificate(folder / "house", name="house-7", hosts=["127.0.0.1"])
    person = certificate(folder / "person", name="officer")
    trusted = folder / "trusted.pem"
    trusted.write_bytes(b"".join(each.pem.read_bytes() for each in (ward, house, person)))

    def start(host: Host, kind: str, own: Certificate, listen: str, rest: str) -> None:
        path = folder / f"{host.name}.toml"
        path.write_text(
            f'[node]\nname = "{host.name}"\ndata = "{own.pem.parent}"\ngrpc = "{listen}:{_NODE}"\n{rest}'
            f'[tls]\ncert = "{own.pem}"\nkey = "{own.private}"\nclient_ca = "{trusted}"\n'
        )
        node = host.start("-m", "nvr", kind, "--config", str(path), "--json")
        node.wait_line(lambda line: line.startswith("{"))

    with lab("home", "trunk") as made:
        at_home = made.host("house-7", home=f"{_HOUSE}/24")
        provider = made.host("provider", home=f"{_PROVIDER}/24", trunk="10.3.0.9/24")
        above = made.host("ward", trunk=f"{_WARD}/24")
        provider.start("-c", _RUN, "toxiproxy-server", "-host", "127.0.0.1", "-port", str(_API))
        toxics = Toxics(provider.door(f"127.0.0.1:{_API}"))
        played = (str(scene), "--cameras", "1", "--listen", f"127.0.0.1:{_RTSP}", "--json")
        camera = at_home.start("-m", "nvr", "simulate", *played)
        start(
            above,
            "gateway",
            ward,
            "0.0.0.0",
            f'[query]\ntimeout = "10s"\n[[child]]\nuplink = true\nnode = "{house.key.id}"\n',
        )
        toxics.join(f"{_PROVIDER}:{_ENTRY}", f"{_WARD}:{_NODE}")
        for way in ("upstream", "downstream"):
            toxics.delay(f"distance-{way}", way, _WAY_MS)
        at_home.cables["home"].slow(UP)
        camera.wait_line(lambda line: line.startswith("{"))
        start(
            at_home,
            "recorder",
            house,
            "127.0.0.1",
            f'stores = ["{folder / "store"}"]\n'
            f'[uplink]\nparent = "{_PROVIDER}:{_ENTRY}"\nkeepalive = "1s"\n{more}'
            f'[[camera]]\nname = "gate"\nmain = "rtsp://127.0.0.1:{_RTSP}/camera-1/main"\n',
        )
        yield Household(
            above.door(f"127.0.0.1:{_NODE}"),
            at_home.door(f"127.0.0.1:{_NODE}"),
            TlsFiles(person.pem, person.private, trusted),
            at_home.cables["home"],
            toxics,
            at_home,
        )
