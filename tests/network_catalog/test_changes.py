"""Changes of a version: what becomes of the entries, and the same over the wire."""

from collections.abc import Sequence

import pytest

from nvr.errors import AreaNotFound, InvalidArgument
from nvr.network_catalog.changes import (
    Change,
    DropLevel,
    MergeAreas,
    PutArea,
    PutCamera,
    PutNode,
    RemoveCamera,
    RemoveNode,
    RestoreArea,
    RetireArea,
    SplitArea,
    changed,
    summary_of,
)
from nvr.network_catalog.convert import change_from_pb, change_to_pb
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea
from nvr.network_catalog.versions import catalog_of, entries_of
from nvr.v1 import catalog_pb2
from tests.network_catalog.trees import PROVINCE

NODE = "ab" * 32
CAMERA = "0192f0c1-7a5e-7000-8000-000000000001"
EVERY: list[Change] = [
    PutArea(Area("15500", "Xã Mới", "38-394", "commune")),
    PutNode(NodeEntry(NODE, "bim-son", "38-381", "Bỉm Sơn")),
    PutCamera(CameraEntry(CAMERA, "gate", node_id=NODE, area="14757")),
    MergeAreas(("14760",), Area("14757", "Phường Hàm Rồng", "38-380", "ward")),
    MergeAreas(("15448", "15457"), Area("15501", "Xã Yên Định", "38-394", "commune")),
    SplitArea(
        "38-381",
        (Area("38-382", "Bắc", None, "district"), Area("38-383", "Nam", None, "district")),
        {"14815": "38-382"},
        {},
        {NODE: "38-383"},
    ),
    RetireArea("15500"),
    RestoreArea("15500", "38-380", ("15501",)),
    DropLevel("district"),
    RemoveCamera(CAMERA),
    RemoveNode(NODE),
]


@pytest.mark.parametrize("change", EVERY, ids=lambda change: type(change).__name__)
def test_a_change_is_the_same_over_the_wire(change: Change) -> None:
    sent = catalog_pb2.CatalogChange.FromString(change_to_pb(change).SerializeToString())
    assert change_from_pb(sent) == change


def test_every_kind_of_change_of_the_contract_is_known() -> None:
    kinds = {field.name for field in catalog_pb2.CatalogChange.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert {change_to_pb(change).WhichOneof("kind") for change in EVERY} == kinds


def test_a_change_of_a_newer_contract_is_refused() -> None:
    unknown = catalog_pb2.CatalogChange.FromString(b"\xfa\x01\x00")
    with pytest.raises(InvalidArgument, match="does not know"):
        change_from_pb(unknown)


def after(changes: Sequence[Change]) -> Catalog:
    return catalog_of(changed(entries_of(Catalog(PROVINCE)), changes).values())


def test_changes_are_made_one_after_the_other() -> None:
    catalog = after(EVERY[:-2])
    assert Area("15501", "Xã Yên Định", "15500", "commune") in catalog.areas
    assert Area("15500", "Xã Mới", "38", "commune") in catalog.areas
    assert RetiredArea("14760", "Phường Đông Thọ", "38-380", "ward", ("14757",)) in catalog.retired
    assert catalog.nodes == (NodeEntry(NODE, "bim-son", "38-383", "Bỉm Sơn"),)
    assert not after(EVERY).nodes
    assert not after(EVERY).cameras


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (PutArea(Area("x", "X", "nowhere", "y")), "changes[1].parent"),
        (MergeAreas(("nowhere",), PROVINCE[1]), "changes[1].codes"),
        (DropLevel("hamlet"), "changes[1].level"),
        (RemoveNode(NODE), "changes[1].node_id"),
        (RestoreArea("38"), "changes[1].code"),
    ],
)
def test_the_change_at_fault_is_named(change: Change, field: str) -> None:
    with pytest.raises((InvalidArgument, AreaNotFound)) as caught:
        after([EVERY[0], change])
    assert caught.value.field == field


def test_what_does_not_fit_together_in_the_end_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="camera gate has"):
        after([EVERY[1], EVERY[2], RemoveNode(NODE)])


def test_changes_are_told_in_a_line() -> None:
    for change in EVERY:
        assert 5 < len(summary_of([change])) < 300
    assert summary_of(EVERY) == "7 changes of areas, 2 changes of nodes, 2 changes of cameras"
