"""The catalog as CSV and GeoJSON: what is written reads back, and faults are told with their places."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import ConfigError
from nvr.footage.types import OwnerKind, Place, View
from nvr.network_catalog.recut import Recut
from nvr.network_catalog.transfer import (
    MOST_BYTES,
    areas_to_csv,
    cameras_to_csv,
    cameras_to_geojson,
    nodes_to_csv,
    read_areas,
    read_cameras,
    read_cameras_geojson,
    read_nodes,
)
from nvr.network_catalog.types import CameraEntry, Catalog, NodeEntry
from tests.network_catalog.trees import PROVINCE, trees

Reader = Callable[[bytes, object, Catalog], list[Any]]

NODES = (NodeEntry("ab" * 32, "bim-son", "38-381", "Trạm Bỉm Sơn"), NodeEntry("cd" * 32, "ham-rong"))
CAMERA = "0192f0c1-7a5e-7000-8000-00000000000{}"
GATE = CameraEntry(
    CAMERA.format(1),
    "gate",
    title='Cổng "Nam", cầu Hàm Rồng',
    node_id=NODES[1].node_id,
    area="14757",
    place=Place(19.8401, 105.7903),
    height_m=4.5,
    view=View(120.0, 90.0, 60.0),
    owner=OwnerKind.STATE,
)
CATALOG = Catalog(
    PROVINCE,
    (),
    NODES,
    (
        GATE,
        CameraEntry(CAMERA.format(2), "yard", node_id=NODES[0].node_id),
        CameraEntry(CAMERA.format(3), "new"),
    ),
)


def values(rows: list[Any]) -> list[Any]:
    return [row.value for row in rows]


# --- what is written reads back ---------------------------------------------------

titles = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    areas = tuple(draw(trees(most=6)))
    area = st.sampled_from(["", *(each.code for each in areas)])
    nodes = tuple(
        NodeEntry(f"n{number}", f"node-{number}", draw(area), draw(titles))
        for number in range(draw(st.integers(0, 3)))
    )
    views = st.builds(View, st.floats(0, 360), st.floats(1, 360), st.floats(0, 20_000))
    cameras = [
        CameraEntry(
            CAMERA.format(number),
            f"cam-{number}",
            title=draw(titles),
            node_id=draw(st.sampled_from(["", *(node.node_id for node in nodes)])),
            area=draw(area),
            place=draw(st.none() | st.builds(Place, st.floats(-90, 90), st.floats(-180, 180))),
            height_m=draw(st.none() | st.floats(-500, 9000)),
            view=draw(st.none() | views),
            owner=draw(st.sampled_from(OwnerKind)),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    return Catalog(areas, (), nodes, tuple(cameras))


@given(catalogs(), st.randoms())
def test_what_is_written_reads_back_and_is_written_the_same(catalog: Catalog, random: Any) -> None:
    areas, nodes = (tuple(random.sample(each, len(each))) for each in (catalog.areas, catalog.nodes))
    shuffled = Catalog(areas, (), nodes, catalog.cameras[::-1])
    sides: list[tuple[Callable[[Catalog], str], Reader, tuple[Any, ...]]] = [
        (areas_to_csv, read_areas, catalog.areas),
        (nodes_to_csv, read_nodes, catalog.nodes),
        (cameras_to_csv, read_cameras, catalog.cameras),
        (cameras_to_geojson, read_cameras_geojson, catalog.cameras),
    ]
    for write, read, entries in sides:
        text = write(catalog)
        assert write(shuffled) == text
        # A table without a row is taken for the wrong file.
        if entries or read is read_cameras_geojson:
            assert set(values(read(text.encode(), "file", catalog))) == set(entries)
    # And into an empty catalog, in the order of the file.
    if catalog.areas:
        empty = Recut(Catalog())
        for area in values(read_areas(areas_to_csv(catalog).encode(), "file", Catalog())):
            empty.put(area)
        assert set(empty.done().areas) == set(catalog.areas)


def test_csv_is_as_spreadsheets_have_it() -> None:
    text = cameras_to_csv(CATALOG)
    assert list(csv.DictReader(io.StringIO(text)))[2] == {
        "id": GATE.camera_id,
        "node": "ham-rong",
        "name": "gate",
        "title": 'Cổng "Nam", cầu Hàm Rồng',
        "lat": "19.8401",
        "lon": "105.7903",
        "height_m": "4.5",
        "direction_deg": "120.0",
        "angle_deg": "90.0",
        "reach_m": "60.0",
        "area": "14757",
        "owner": "state",
    }
    as_saved = "\ufeff" + text.replace("\n", "\r\n") + ",,,,,,,,,,,\r\n"
    assert set(values(read_cameras(as_saved.encode(), "file", CATALOG))) == set(CATALOG.cameras)


def test_geojson_is_as_the_standard_has_it() -> None:
    whole = json.loads(cameras_to_geojson(CATALOG))
    assert set(whole) == {"type", "features"}
    assert whole["type"] == "FeatureCollection"
    assert [set(each) for each in whole["features"]] == [{"type", "id", "geometry", "properties"}] * 3
    assert [each["geometry"] for each in whole["features"][:2]] == [None, None]
    assert whole["features"][2] == {
        "type": "Feature",
        "id": GATE.camera_id,
        "geometry": {"type": "Point", "coordinates": [105.7903, 19.8401]},
        "properties": {
            "node": "ham-rong",
            "name": "gate",
            "title": 'Cổng "Nam", cầu Hàm Rồng',
            "height_m": 4.5,
            "direction_deg": 120.0,
            "angle_deg": 90.0,
            "reach_m": 60.0,
            "area": "14757",
            "owner": "state",
        },
    }


def test_areas_may_stand_in_any_order() -> None:
    text = "code,name,level,parent\nc,C,commune,b\na,A,province,VN\nb,B,district,a\n"
    rows = read_areas(text.encode(), "file", CATALOG)
    assert [(row.line, row.value.code) for row in rows] == [(3, "a"), (4, "b"), (2, "c")]


def test_a_camera_of_the_catalog_is_named_by_node_and_name() -> None:
    text = "node,name,lat,lon\nham-rong,gate,20,105\n"
    (row,) = read_cameras(text.encode(), "file", CATALOG)
    assert row.value == CameraEntry(GATE.camera_id, "gate", node_id=GATE.node_id, place=Place(20, 105))
    by_id = text.replace("ham-rong", GATE.node_id)
    assert values(read_cameras(by_id.encode(), "file", CATALOG)) == [row.value]


def test_a_point_may_have_a_height_over_the_sea() -> None:
    feature = json.loads(cameras_to_geojson(replace(CATALOG, cameras=(GATE,))))
    feature["features"][0]["geometry"]["coordinates"].append(12)
    assert values(read_cameras_geojson(json.dumps(feature).encode(), "file", CATALOG)) == [GATE]


# --- faults --------------------------------------------------------------------------


def faults(read: Reader, raw: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(raw if isinstance(raw, bytes) else raw.encode(), "file", CATALOG)
    return str(caught.value).splitlines()


AREAS = "code,name,level,parent\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["file:1: empty; the first row names"]),
        (AREAS, ["file:1: no area follows"]),
        ("code,name\na,A\n", ["file:1: level: the column is missing", "file:1: parent: the column"]),
        (AREAS + "a b,A,x,VN\n", ["file:2: code: 'a b' is not a code"]),
        (AREAS + "a,,x,VN\n\nb,B,X,VN\n", ["file:2: name: '' is not a name", "file:4: level: 'X' is not"]),
        (AREAS + "a,A,x,VN\na,B,x,VN\n", ["file:3: code: 'a' is also on line 2"]),
        (AREAS + "a,A,x,nowhere\n", ["file:2: parent: 'nowhere' is neither"]),
        (AREAS + "a,A,x,c\nb,B,x,a\nc,C,x,b\n", ["file:2: parent: areas lie in one another: a → c → b → a"]),
        (AREAS + "a,A,x,a\n", ["file:2: parent: areas lie in one another: a → a"]),
        (AREAS + "a,A,x\n", ["file:2: has 3 columns"]),
        (AREAS + 'a,"A,x,VN\n', ["file:2: not CSV"]),
    ],
)
def test_faults_of_areas(text: str, found: list[str]) -> None:
    told = faults(read_areas, text)
    assert len(told) == len(found)
    assert all(line.startswith(wanted) for line, wanted in zip(told, found, strict=True)), told


def test_faults_of_nodes() -> None:
    rows = ["node_id,name,area", "aa,A,", "bb,b,nowhere", "bb,b c,", "cc,c,", "cc,d,"]
    assert [line[:40] for line in faults(read_nodes, "\n".join(rows))] == [
        "file:2: name: 'A' is not a name: 1 to 63",
        "file:3: area: 'nowhere' is not in the ca",
        "file:4: name: 'b c' is not a name: 1 to ",
        "file:6: node_id: 'cc' is also on line 5",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"lat": "90.1"}, "lat: 90.1 is not between"),
        ({"lat": "-91"}, "lat: -91.0 is not between"),
        ({"lon": "180.0001"}, "lon: 180.0001 is not between"),
        ({"lat": "nan"}, "lat: 'nan' is not a number"),
        ({"lat": "1e999"}, "lat: '1e999' is not a number"),
        ({"lat": "19,84"}, "lat: '19,84' is not a number"),
        ({"lat": ""}, "lat: a place needs both"),
        ({"height_m": "9001"}, "height_m: 9001.0 is not between"),
        ({"angle_deg": "0"}, "angle_deg: 0.0 is not between"),
        ({"direction_deg": ""}, "direction_deg: missing"),
        ({"reach_m": "far"}, "reach_m: 'far' is not a number"),
        ({"area": "nowhere"}, "area: 'nowhere' is not in the catalog"),
        ({"area": "a b"}, "area: 'a b' is not a code"),
        ({"owner": "me"}, "owner: 'me' is none of"),
        ({"node": "nobody"}, "node: 'nobody' is neither"),
        ({"name": "Gate"}, "name: 'Gate' is not"),
        ({"title": "x" * 201}, "title: "),
        ({"title": "a\x07b"}, "title: "),
        ({"id": "gate"}, "id: 'gate' is not a camera's id"),
        ({"id": "", "name": "other"}, "id: missing, and the catalog has no camera of that name"),
    ],
)
def test_faults_of_a_camera_are_the_same_in_both_formats(change: dict[str, str], fault: str) -> None:
    row = next(iter(csv.DictReader(io.StringIO(cameras_to_csv(replace(CATALOG, cameras=(GATE,))))))) | change
    out = io.StringIO()
    writer = csv.DictWriter(out, row)
    writer.writeheader()
    writer.writerow(row)
    (line,) = faults(read_cameras, out.getvalue())
    assert line.startswith(f"file:2: {fault}")
    if "lat" in change or "lon" in change:
        return
    feature = {
        "type": "Feature",
        "id": row.pop("id"),
        "geometry": {"type": "Point", "coordinates": [float(row.pop("lon")), float(row.pop("lat"))]},
        "properties": row,
    }
    (line,) = faults(read_cameras_geojson, json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert line.startswith(f"file:features[0]: {fault}")


def feature(**change: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": GATE.camera_id,
        "geometry": {"type": "Point", "coordinates": [105.8, 19.8]},
        "properties": {"node": "ham-rong", "name": "gate"},
    } | change


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (feature(geometry={"type": "Point", "coordinates": [105.8, 90.5]}), "lat: 90.5 is not between"),
        (feature(geometry={"type": "Point", "coordinates": [-180.5, 9]}), "lon: -180.5 is not between"),
        (feature(geometry={"type": "Point", "coordinates": [float("inf"), 9]}), "lon: 'inf' is not"),
        (feature(geometry={"type": "Point", "coordinates": [10**400, 9]}), "lon: '1000"),
        (feature(geometry={"type": "Point", "coordinates": ["105.8", 9]}), "geometry.coordinates: lon is no"),
        (feature(geometry={"type": "Point", "coordinates": [True, 9]}), "geometry.coordinates: lon is no"),
        (feature(geometry={"type": "Point", "coordinates": [105.8]}), "geometry: not a Point"),
        (feature(geometry={"type": "Point"}), "geometry: not a Point"),
        (feature(geometry={"type": "LineString", "coordinates": [[0, 0], [1, 1]]}), "geometry: not a Point"),
        (feature(geometry=[105.8, 19.8]), "geometry: not a Point"),
        (feature(type="Point"), "type: not a Feature"),
        (feature(properties=None), "properties: missing"),
        (
            feature(properties={"name": "gate", "hight_m": 4}),
            "'hight_m': no such property",
        ),
        (
            feature(properties={"name": "gate", "\ud800": 4}),
            "'\\ud800': no such property",
        ),
        (feature(properties={"node": "ham-rong", "name": {"a": 1}}), "name: neither text"),
        (feature(properties={"node": "ham-rong", "name": "gate", "title": "\ud800"}), "title: "),
        (feature(id=None, properties={"node": "ham-rong", "name": "other"}), "id: missing"),
        ("feature", "type: not a Feature"),
    ],
)
def test_faults_of_a_feature(given: Any, fault: str) -> None:
    text = json.dumps({"type": "FeatureCollection", "features": [feature(), given]})
    (line,) = faults(read_cameras_geojson, text)
    assert line.startswith(f"file:features[1]: {fault}")
    line.encode()


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "file:1:1: not JSON"),
        (b'{"type": "FeatureCollection",\n "features": [}', "file:2:15: not JSON"),
        (b"[]", "file: not a FeatureCollection"),
        (b'{"type": "Feature", "features": []}', "file: not a FeatureCollection"),
        (b'{"type": "FeatureCollection", "features": {}}', "file: not a FeatureCollection"),
        (b'{\n"\xff"}', "file:2: not UTF-8"),
        (b"[" * 200_000, "file: not JSON that is read here"),
        (b"1" * 10_000, "file: not JSON that is read here"),
    ],
)
def test_what_is_no_geojson_is_refused(raw: bytes, fault: str) -> None:
    (line,) = faults(read_cameras_geojson, raw)
    assert line.startswith(fault)


@pytest.mark.parametrize("read", [read_areas, read_nodes, read_cameras, read_cameras_geojson])
def test_a_file_that_is_too_large_is_refused_unread(read: Reader) -> None:
    assert faults(read, b"\xff" * (MOST_BYTES + 1)) == ["file: larger than 64 MiB; split it"]


def test_of_many_faults_the_first_are_told() -> None:
    told = faults(read_areas, AREAS + "a b,A,x,VN\n" * 100)
    assert len(told) == 51
    assert told[-1] == "… and 50 more"


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_areas, read_nodes, read_cameras, read_cameras_geojson):
        for raw in (text, "code,name,level,parent\n" + text, "node,name,lat,lon\n" + text):
            try:
                read(raw.encode("utf-8", "surrogatepass"), "file", CATALOG)
            except ConfigError:
                continue
