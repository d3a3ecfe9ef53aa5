"""A gateway's settings; :mod:`nvr.settings` says how they are read and their faults told."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nvr.gateway.failover.config import FailoverSettings, failover_faults
from nvr.network_catalog.settings import RootSettings
from nvr.rtsp.settings import RtspSettings
from nvr.settings.document import Fault, load_document, parse_document
from nvr.settings.fields import (
    AbsolutePath,
    Address,
    DurationUs,
    ListenAddress,
    NodeName,
    Section,
    TlsSettings,
)
from nvr.uplink.settings import UplinkSettings, uplink_faults

__all__ = ["GatewaySettings", "load_settings", "parse_settings"]


class GatewayNodeSettings(Section):
    """``[node]``: who it is, where it keeps what it knows, where it listens."""

    name: NodeName
    """Slug, unique among the nodes of a tree."""
    data: AbsolutePath
    """Folder for the node's key, directory and audit record."""
    grpc: ListenAddress = Address("127.0.0.1:7600")
    """Where gRPC is served."""
    metrics: ListenAddress | None = None
    """Where /metrics is served over HTTP; default: nowhere."""


class GatewayTlsSettings(TlsSettings):
    """``[tls]``: PEM files for gRPC, as a server and as a caller of the nodes below."""

    ca: AbsolutePath | None = None
    """Authorities that the nodes below are checked against; default: ``client_ca``."""


class ChildEntry(Section):
    """``[[child]]``: a node below, that this one dials or that dials this one."""

    address: ListenAddress | None = None
    """Its gRPC address: host:port."""
    tls: bool | None = None
    """Whether it speaks TLS; default: where this node does."""
    uplink: bool = False
    """It dials this node."""
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    """Of one that dials: its node id, or the common name of its certificate; its name, where it dials
    from this machine without TLS."""


class QuerySettings(Section):
    """``[query]``: how questions are spread."""

    at_once: int = Field(default=256, ge=1, le=10_000)
    """Nodes asked at the same time, by all callers together."""
    timeout: DurationUs = 20_000_000
    """A node that has not answered by then is late; its answer is missing, and the others' are not."""


class GatewaySettings(Section):
    """The whole file."""

    node: GatewayNodeSettings
    tls: GatewayTlsSettings | None = None
    query: QuerySettings = QuerySettings()
    failover: FailoverSettings = FailoverSettings()
    catalog: RootSettings = RootSettings()
    rtsp: RtspSettings | None = None
    uplink: UplinkSettings | None = None
    child: list[ChildEntry] = Field(default=[], max_length=5000)


def load_settings(path: Path) -> GatewaySettings:
    """The settings in a file. Raises :exc:`ConfigError` with a line for each fault."""
    return load_document(path, GatewaySettings, _faults_across)


def parse_settings(text: str, source: str = "settings") -> GatewaySettings:
    """The settings in a TOML text; ``source`` begins every line of the :exc:`ConfigError`."""
    return parse_document(text, GatewaySettings, _faults_across, source)


def _faults_across(document: Mapping[str, Any]) -> Iterator[Fault]:
    children = document.get("child")
    first: dict[tuple[str, str], int] = {}
    for number, child in enumerate(children if isinstance(children, list) else [], 1):
        if not isinstance(child, dict):
            continue
        yield from _child_faults(number, child)
        for key in ("address", "node"):
            value = child.get(key)
            if not isinstance(value, str):
                continue
            if (key, value) in first:
                yield f"child[{number}].{key}", f"the same as child[{first[key, value]}].{key}"
            first.setdefault((key, value), number)
    yield from uplink_faults(document)
    yield from failover_faults(document)


def _child_faults(number: int, child: Mapping[str, Any]) -> Iterator[Fault]:
    place = f"child[{number}]"
    if child.get("uplink") is True:
        if "node" not in child:
            yield f"{place}.node", "missing; who may dial in is named: a node id, or a certificate's name"
        for key in ("address", "tls"):
            if key in child:
                yield f"{place}.{key}", "not with uplink = true: it dials this node"
    elif child.get("uplink") in (None, False):
        if "address" not in child:
            yield f"{place}.address", "missing; a child has an address, or uplink = true and node"
        if "node" in child:
            yield f"{place}.node", "only with uplink = true"
