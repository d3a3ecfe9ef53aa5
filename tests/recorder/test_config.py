"""Settings: what is taken, and that every fault is told with its place and no password."""

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import ConfigError, InvalidArgument
from nvr.footage.types import OwnerKind, Place, View
from nvr.recorder.config import Settings, load_settings, parse_settings
from nvr.settings.fields import Address, parse_size

MINIMAL = """
[node]
name = "station-1"
stores = ["/var/lib/nvr"]
"""

WHOLE = """
[node]
name = "station-1"
stores = ["/srv/a", "/srv/b"]
data = "/srv/node"
grpc = "[::1]:0"
metrics = "0.0.0.0:7601"

[tls]
cert = "/etc/nvr/cert.pem"
key = "/etc/nvr/key.pem"
client_ca = "/etc/nvr/ca.pem"

[retention]
max_age = "30d"
max_bytes = "20GB"
min_free = "1.5GiB"
[[retention.groups]]
cameras = ["market-gate", "pier"]
max_age = "7d"
max_bytes = "5GB"

[limits]
read_threads = 3
decoders = 1
ingest_threads = 2
handshakes = 4
silent_after = "15s"
sync_interval = "500ms"

[[camera]]
name = "market-gate"
title = "Cổng chợ"
main = "rtsp://user:geheim@10.0.0.7/main"
sub = "rtsp://user:geheim@10.0.0.7/sub"
lat = 19
lon = 105.8571
enabled = false
height_m = 4.5
direction_deg = 120
angle_deg = 90
reach_m = 60
area = "38-381"
owner = "household"

[[copy]]
from = "10.0.0.9:7600"
cameras = ["pier"]
stream = "sub"
since = "2d"
cap = "1.5Mbit"
every = "1m"
ca = "/etc/nvr/tree.pem"
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "nvr.toml")
    lines = str(caught.value).splitlines()
    assert all(line.startswith("nvr.toml:") for line in lines)
    return [line.removeprefix("nvr.toml: ") for line in lines]


def test_the_smallest_file_has_sensible_defaults() -> None:
    settings = parse_settings(MINIMAL)
    assert settings.node.data_folder == Path("/var/lib/nvr/.node")
    assert (settings.node.grpc, settings.node.metrics) == ("127.0.0.1:7600", None)
    assert settings.tls is None
    assert settings.camera == []
    assert (settings.retention.max_age, settings.retention.max_bytes) == (None, None)


def test_every_key() -> None:
    settings = parse_settings(WHOLE)
    assert settings.node.data_folder == Path("/srv/node")
    assert (settings.node.grpc.host, settings.node.grpc.port) == ("::1", 0)
    assert settings.tls is not None
    assert settings.tls.client_ca == Path("/etc/nvr/ca.pem")
    assert settings.retention.max_age == 30 * 86_400_000_000
    assert settings.retention.max_bytes == 20_000_000_000
    assert settings.retention.min_free == 3 * 1024**3 // 2
    (group,) = settings.retention.groups
    assert group.cameras == ["market-gate", "pier"]
    assert (group.max_age, group.max_bytes) == (7 * 86_400_000_000, 5_000_000_000)
    assert settings.limits.silent_after == 15_000_000
    assert settings.limits.sync_interval == 500_000
    (camera,) = settings.camera
    entry = camera.settings()
    assert entry.place == Place(19.0, 105.8571)
    assert entry.main_url == "rtsp://user:geheim@10.0.0.7/main"
    assert not entry.enabled
    (copy,) = settings.copies
    assert (copy.source, copy.cameras, copy.stream) == ("10.0.0.9:7600", ["pier"], "sub")
    assert (copy.since, copy.cap, copy.every) == (2 * 86_400_000_000, 1_500_000, 60_000_000)
    assert copy.ca == Path("/etc/nvr/tree.pem")
    assert (entry.height_m, entry.view, entry.area) == (4.5, View(120, 90, 60), "38-381")
    assert entry.owner is OwnerKind.HOUSEHOLD
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("grpc =", "grcp ="), 'node.grcp: unknown key; did you mean "grpc"?'),
        (('name = "station-1"', 'name = "Station 1"'), "node.name: 1 to 63 of a-z, 0-9 and -"),
        (('name = "station-1"', "name = 1"), "node.name: must be text in quotes"),
        (('["/srv/a", "/srv/b"]', "[]"), "node.stores: "),
        (('["/srv/a", "/srv/b"]', '"/srv/a"'), "node.stores: must be a list ([…])"),
        (('["/srv/a", "/srv/b"]', '["/srv/a", "b"]'), "node.stores[2]: the path must be absolute"),
        (('["/srv/a", "/srv/b"]', '["/srv/a", "/srv/a/"]'), "node.stores[2]: the same as stores[1]"),
        (
            ('["/srv/a", "/srv/b"]', '["/srv/a", "/srv/a/b"]'),
            "node.stores[2]: one of it and stores[1] lies within",
        ),
        (('"[::1]:0"', '"localhost"'), "node.grpc: not host:port"),
        (('"[::1]:0"', '"localhost:65536"'), "node.grpc: not host:port"),
        (('"30d"', '"30"'), "retention.max_age: '30' is not a duration"),
        (('"30d"', '"0s"'), "retention.max_age: must be more than nothing"),
        (('"30d"', "30"), "retention.max_age: write it as text"),
        (('"20GB"', '"20"'), "retention.max_bytes: not a size"),
        (('"20GB"', '"20gb"'), "retention.max_bytes: not a size"),
        (('["market-gate", "pier"]', "[]"), "retention.groups[1].cameras: "),
        (('"7d"', '"7"'), "retention.groups[1].max_age: '7' is not a duration"),
        (("decoders = 1", "decoders = 0"), "limits.decoders: must be at least 1"),
        (("decoders = 1", "decoders = true"), "limits.decoders: must be a whole number"),
        (("handshakes = 4", "handshakes = 1001"), "limits.handshakes: must be at most 1000"),
        (('"15s"', '"1h"'), "limits.silent_after: must be 1s to 10m"),
        (('"500ms"', '"1ms"'), "limits.sync_interval: must be 100ms to 1m"),
        (("[limits]", "[limit]"), 'limit: unknown key; did you mean "limits"?'),
        (('key = "/etc/nvr/key.pem"\n', ""), "tls.key: missing"),
        (("10.0.0.7/main", "10.0.0/main"), "camera[1].main: the host is neither"),
        (("rtsp://user:geheim@10.0.0.7/main", ""), "camera[1].main: an address is needed"),
        (("geheim@10.0.0.7/sub", "geh/eim@10.0.0.7/sub"), "camera[1].sub: host or port cannot be read"),
        (("lat = 19", "lat = 91"), "camera[1].lat: must be at most 90"),
        (("lat = 19", "lat = nan"), "camera[1].lat: must be"),
        (("lat = 19", 'lat = "19"'), "camera[1].lat: must be a number"),
        (("lat = 19\n", ""), "camera[1].lat: missing; lat and lon go together"),
        (("angle_deg = 90\n", ""), "camera[1].angle_deg: missing; a view has direction and angle"),
        (("direction_deg = 120", "direction_deg = 400"), "camera[1].direction_deg: must be at most 360"),
        (("reach_m = 60", "reach_m = -1"), "camera[1].reach_m: must be at least 0"),
        (('"38-381"', '"38 381"'), "camera[1].area: '38 381' is not the code of an area"),
        (('"household"', '"police"'), "camera[1].owner: must be 'unknown', 'state'"),
        (("enabled = false", "enabled = 0"), "camera[1].enabled: must be true or false"),
        (('name = "market-gate"', 'name = "Market"'), "camera[1].name: 'Market' is not a camera name"),
        (("10.0.0.9:7600", "10.0.0.9"), "copy[1].from: not host:port"),
        (('stream = "sub"', 'stream = "both"'), "copy[1].stream: "),
        (('"2d"', '"0.1"'), "copy[1].since: "),
        (('"1m"', '"10ms"'), "copy[1].every: must be at least 1s"),
        (('"1.5Mbit"', '"1.5Mb"'), "copy[1].cap: not a rate such as 500kbit, 2Mbit or 1.5Gbit"),
        (('"1.5Mbit"', '"0kbit"'), "copy[1].cap: must be at least 1kbit"),
        (("/etc/nvr/tree.pem", "tree.pem"), "copy[1].ca: the path must be absolute"),
        (('title = "Cổng chợ"', 'title = "a\\nb"'), "camera[1].title: at most 200 printable characters"),
    ],
)
def test_one_fault_is_told_with_its_place(change: tuple[str, str], fault: str) -> None:
    assert change[0] in WHOLE
    (line,) = faults_of(WHOLE.replace(*change, 1))
    assert line.startswith(fault)
    assert "geheim" not in line
    assert "eim" not in line


def test_all_faults_are_told_at_once_in_order() -> None:
    camera = '[[camera]]\nname = "c{0}"\nmain = "rtsp://u:geheim@10.0.0.7/"\n'
    cameras = "".join(camera.format(number) for number in range(1, 12))
    text = "[node]\nstores = []\nbogus = 1\n" + cameras.replace('"c11"', '"c2"').replace(
        'name = "c2"\nmain', 'name = "c2"\nmian = 1\nmain', 1
    )
    assert faults_of(text) == [
        'camera[2].mian: unknown key; did you mean "main"?',
        "camera[11].name: 'c2' is also the name of camera[2]",
        "node.bogus: unknown key; known here: name, stores, data, grpc, metrics",
        "node.name: missing; it must be set",
        "node.stores: has too few entries; at least 1",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[node]\nname = \n", "nvr.toml:2:8: Invalid value"),
        ("[node\n", "nvr.toml:1:6: "),
        ('[node]\nname = "a"\nname = "b"\n', "nvr.toml:3:"),
        ("", "node: the section is missing"),
        ("node = 3", "node: must be a section"),
        ("[[node]]\n", "node: must be a section"),
        ("camera = 3\n" + MINIMAL, "camera: must be a list"),
        ("a = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_syntax_and_shape(text: str, fault: str) -> None:
    lines = faults_of(text)
    assert any(line.startswith(fault) for line in lines), lines


def test_many_faults_are_cut() -> None:
    lines = faults_of(MINIMAL + "[[camera]]\n" * 200)
    assert len(lines) == 101
    assert lines[-1] == "and 300 more"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"[node]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match=r"latin\.toml:2: not UTF-8"):
        load_settings(tmp_path / "latin.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_settings(tmp_path)


def test_a_key_is_called_as_in_the_file() -> None:
    assert faults_of(MINIMAL + '[[copy]]\nform = "h:1"\n') == [
        'copy[1].form: unknown key; did you mean "from"?',
        "copy[1].from: missing; it must be set",
    ]


def test_the_document_lists_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    for name, field in Settings.model_fields.items():
        section = field.alias or name
        heading = f"## `[[{section}]]`" if section in ("camera", "copy") else f"## `[{section}]`"
        _, found, rest = text.partition(heading)
        assert found, heading
        (model,) = (
            each for each in (field.annotation, *get_args(field.annotation)) if hasattr(each, "model_fields")
        )
        keys = [field.alias or key for key, field in model.model_fields.items()]
        missing = [key for key in keys if f"`{key}`" not in rest.partition("\n## ")[0]]
        assert not missing, heading


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def toml_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"'
            + "".join(f"\\U{ord(each):08x}" if each < " " or each in '"\\\x7f' else each for each in value)
            + '"'
        )
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_of(key)} = {toml_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return "0" if value is None else str(value)


@given(st.dictionaries(st.sampled_from(["node", "tls", "retention", "limits", "camera", "x"]), json_like))
def test_any_document_is_taken_or_refused(document: dict[str, Any]) -> None:
    text = "\n".join(f"{key} = {toml_of(value)}" for key, value in document.items())
    with pytest.raises(ConfigError):
        parse_settings(text)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["name", "main", "sub", "lat", "lon", "title"]), json_like),
        max_size=3,
    )
)
def test_any_cameras_are_taken_or_refused(cameras: list[dict[str, Any]]) -> None:
    text = f"camera = {toml_of(cameras)}\n" + MINIMAL
    try:
        settings = parse_settings(text)
    except ConfigError as error:
        assert all(line.startswith("settings: camera") for line in str(error).splitlines())  # noqa: PT017
    else:
        assert len(settings.camera) == len(cameras)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("1kB", 1000), ("1KB", 1000), ("2 GB", 2 * 10**9), ("1.5TiB", 3 * 2**39), ("0.5kB", 500)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert 0 <= parse_size(text) < 1 << 63
    except InvalidArgument:
        return


def test_addresses() -> None:
    assert Address("127.0.0.1:0").with_port(80) == "127.0.0.1:80"
    assert Address("[::1]:0").with_port(80) == "[::1]:80"
    assert Address("[::1]:0").is_loopback
    assert Address("localhost:0").is_loopback
    assert not Address("0.0.0.0:0").is_loopback
