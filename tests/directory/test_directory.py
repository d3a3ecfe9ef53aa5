"""The directory against a naive one: whatever children tell, in whatever order, cut wherever."""

import gc
import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nvr.directory.convert import told_camera
from nvr.directory.directory import Directory
from nvr.directory.feed import _batches
from nvr.directory.types import CameraEntry, CameraGone, DirectoryBatch
from nvr.errors import AmbiguousCamera, CameraNotFound, StoreError, TreeRefused
from nvr.footage.types import Camera, Place, StreamState, View
from tests.directory.entries import SECOND, ZERO_US, camera, camera_id, cameras, entry, node, node_id

Contents = dict[tuple[str, str], CameraEntry]
OWN = node("top")


def contents(directory: Directory) -> Contents:
    found: Contents = {}
    for entries in directory.entries([camera_id(number) for number in range(20)]).values():
        for each in entries:
            found[each.node_id, each.camera.id] = each
    return found


def copy_up(source: Directory, target: Directory, *, batches: int | None = None) -> None:
    """Tells a directory to the one above; ``batches``: cut after so many."""
    epoch, version = target.resume(source.own.id)
    known = epoch == source.epoch and source.horizon <= version <= source.version
    for number, batch in enumerate(_batches(source, version if known else 0, snapshot=not known)):
        if number == batches:
            return
        target.apply(source.own.id, batch)


class Tree(RuleBasedStateMachine):
    """A node with two children, one of which has a child; the top is told of all, and starts anew at will."""

    @initialize()
    def begin(self) -> None:
        self.top = Directory(None, OWN)
        self.left, self.right = Directory(None, node("left")), Directory(None, node("right"))
        self.deep = Directory(None, node("deep"))
        self.truth: dict[str, dict[str, Camera]] = {"left": {}, "right": {}, "deep": {}}

    def of(self, name: str) -> Directory:
        return {"left": self.left, "right": self.right, "deep": self.deep}[name]

    @rule(name=st.sampled_from(["left", "right", "deep"]), told=st.lists(cameras, max_size=6))
    def put(self, name: str, told: list[Camera]) -> None:
        self.of(name).put_cameras(CameraEntry("", each) for each in told)
        for each in told:
            self.truth[name][each.id] = told_camera(each)

    @rule(name=st.sampled_from(["left", "right", "deep"]), numbers=st.sets(st.integers(0, 12), max_size=4))
    def remove(self, name: str, numbers: set[int]) -> None:
        ids = [camera_id(number) for number in numbers]
        self.of(name).remove_cameras(ids)
        for each in ids:
            self.truth[name].pop(each, None)

    @rule(cut=st.integers(0, 3))
    def tell_a_part(self, cut: int) -> None:
        copy_up(self.deep, self.left, batches=cut)
        copy_up(self.left, self.top, batches=cut)

    @rule()
    def deep_is_forgotten_for_now(self) -> None:
        self.left.forget(node_id("deep"))

    @rule()
    def the_top_loses_all(self) -> None:
        self.top = Directory(None, OWN)

    @rule()
    def all_is_told(self) -> None:
        copy_up(self.deep, self.left)
        copy_up(self.left, self.top)
        copy_up(self.right, self.top)
        expected = {
            (node_id(name), each.id): each for name, found in self.truth.items() for each in found.values()
        }
        assert {key: each.camera for key, each in contents(self.top).items()} == expected
        assert {each.name for each in self.top.nodes()} == {"top", "left", "right", "deep"}
        assert self.top.path(node_id("deep")) == "top → left → deep"
        assert self.top.route(node_id("deep")) == node_id("left")

    @invariant()
    def nothing_is_invented(self) -> None:
        for (_, found), each in contents(self.top).items():
            assert each.camera.id == found

    @invariant()
    def one_row_stands_for_each_camera(self) -> None:
        """That of the highest rank, and it alone is found by place."""
        for directory in (self.top, self.left):
            rows = directory.database.execute(
                "SELECT c.key, c.id, n.id, c.latitude FROM camera c JOIN node n ON n.key = c.node "
                "WHERE c.first"
            ).fetchall()
            entries = directory.entries([camera_id(number) for number in range(20)])
            assert sorted((camera, of) for _, camera, of, _ in rows) == sorted(
                (camera, found[0].node_id) for camera, found in entries.items()
            )
            placed = {key for key, _, _, latitude in rows if latitude is not None}
            assert {key for (key,) in directory.database.execute("SELECT key FROM stands")} == placed


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.fixture
def top() -> Iterator[Directory]:
    directory = Directory(None, OWN)
    yield directory
    directory.close()


def snapshot(name: str, *told: CameraEntry, current: bool = True, version: int = 7) -> DirectoryBatch:
    return DirectoryBatch("e1", version, snapshot=True, current=current, nodes=(node(name),), cameras=told)


@given(told=st.lists(cameras, max_size=8), later=st.lists(cameras, max_size=8))
def test_a_snapshot_that_is_cut_takes_nothing_away(told: list[Camera], later: list[Camera]) -> None:
    directory = Directory(None, OWN)
    directory.apply(node_id("left"), snapshot("left", *(entry("left", each) for each in told)))
    before = contents(directory)
    directory.apply(
        node_id("left"),
        snapshot("left", *(entry("left", each) for each in later), current=False, version=3),
    )
    assert set(before) <= set(contents(directory))
    # It goes on as changes, and at its end what it did not name is gone.
    directory.apply(node_id("left"), DirectoryBatch("e1", 9, current=True))
    assert {key[1] for key in contents(directory)} == {each.id for each in later}
    directory.close()


def test_it_is_kept_while_the_child_and_this_node_are_away(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    first = Directory(path, OWN)
    first.apply(node_id("left"), snapshot("left", entry("left", camera(1)), entry("left", camera(2))))
    first.set_link(node_id("left"), connected=True, seen_us=5)
    first.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Directory(path, OWN)
    assert {key[1] for key in contents(again)} == {camera_id(1), camera_id(2)}
    assert again.resume(node_id("left")) == ("e1", 7)
    assert again.epoch == first.epoch
    left = again.node(node_id("left"))
    assert left is not None
    assert (left.connected, left.reason) == (False, "node_unreachable")
    again.close()


def test_a_node_that_was_made_anew_tells_of_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    first = Directory(path, node("old"))
    first.put_cameras([CameraEntry("", camera(1))])
    first.close()
    again = Directory(path, node("new"))
    assert contents(again) == {}
    assert [each.name for each in again.nodes()] == ["new"]
    again.close()


@pytest.mark.parametrize("garbage", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_none_is_made_anew(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "directory.sqlite"
    path.write_bytes(garbage)
    try:
        directory = Directory(path, OWN)
    except StoreError as error:
        assert str(path) in str(error)  # noqa: PT017 - either is right
        return
    directory.put_cameras([CameraEntry("", camera(1))])
    assert len(contents(directory)) == 1
    directory.close()


def test_a_cycle_is_refused_with_its_path(top: Directory) -> None:
    top.apply(node_id("left"), snapshot("left"))
    batch = DirectoryBatch("e1", 8, nodes=(node("deep", "left"), node("top", "deep")))
    with pytest.raises(TreeRefused, match="top → left → deep → top") as caught:
        top.apply(node_id("left"), batch)
    assert caught.value.facts["code"] == "cycle"
    assert top.node(node_id("deep")) is None
    assert top.resume(node_id("left")) == ("e1", 7)


def test_two_parents_are_refused_while_the_first_is_there(top: Directory) -> None:
    top.apply(node_id("left"), snapshot("left"))
    top.apply(node_id("right"), snapshot("right"))
    for name in ("left", "right"):
        top.set_link(node_id(name), connected=True, seen_us=1)
    top.apply(node_id("left"), DirectoryBatch("e1", 8, nodes=(node("deep", "left"),)))
    moved = DirectoryBatch("e1", 8, nodes=(node("deep", "right"),), cameras=(entry("deep", camera(1)),))
    with pytest.raises(TreeRefused, match="deep has two parents: top → left → deep, and right"):
        top.apply(node_id("right"), moved)
    # Its old parent is away: it may have been moved.
    top.set_link(node_id("left"), connected=False, reason="node_unreachable")
    top.apply(node_id("right"), moved)
    assert top.route(node_id("deep")) == node_id("right")


def test_a_camera_of_another_is_refused(top: Directory) -> None:
    top.apply(node_id("left"), snapshot("left", entry("left", camera(1))))
    top.apply(node_id("right"), snapshot("right"))
    for lie in (
        DirectoryBatch("e1", 8, cameras=(entry("left", camera(1, "stolen")),)),
        DirectoryBatch("e1", 8, cameras_gone=(CameraGone(node_id("left"), camera_id(1)),)),
        DirectoryBatch("e1", 8, cameras=(entry("nobody", camera(2)),)),
    ):
        with pytest.raises(TreeRefused, match="which is not below it"):
            top.apply(node_id("right"), lie)
    assert [each.camera.name for each in contents(top).values()] == ["camera-1"]


def test_who_is_reached_by_a_child_follows_what_is_told(top: Directory) -> None:
    left, right, deep = node_id("left"), node_id("right"), node_id("deep")
    top.apply(left, snapshot("left"))
    top.apply(right, snapshot("right"))
    assert [sorted(top.below(each)) for each in (left, right)] == [[left], [right]]
    top.apply(left, DirectoryBatch("e1", 8, nodes=(node("deep", "left"),)))
    assert [sorted(top.below(each)) for each in (left, deep)] == [sorted((left, deep)), []]
    top.set_link(left, connected=False, reason="node_unreachable")
    top.apply(right, DirectoryBatch("e1", 8, nodes=(node("deep", "right"),)))
    assert [sorted(top.below(each)) for each in (left, right)] == [[left], sorted((right, deep))]
    top.forget(right)
    assert not top.below(right)


def told_below(top: Directory) -> list[str]:
    return sorted(each.name for each in top.nodes())


def test_a_node_that_is_gone_is_told_of_upwards_with_its_cameras(top: Directory) -> None:
    deep, left = Directory(None, node("deep")), Directory(None, node("left"))
    deep.put_cameras([CameraEntry("", camera(1)), CameraEntry("", camera(2))])
    left.put_cameras([CameraEntry("", camera(3))])
    copy_up(deep, left)
    copy_up(left, top)
    left.forget(node_id("deep"))
    copy_up(left, top)
    assert told_below(top) == ["left", "top"]
    assert {key[1] for key in contents(top)} == {camera_id(3)}
    # It comes back with fewer, before anything is told.
    copy_up(deep, left)
    left.forget(node_id("deep"))
    deep.remove_cameras([camera_id(1)])
    copy_up(deep, left)
    copy_up(left, top)
    assert told_below(top) == ["deep", "left", "top"]
    assert {key[1] for key in contents(top)} == {camera_id(2), camera_id(3)}


def test_after_a_power_failure_all_is_told_anew(top: Directory, tmp_path: Path) -> None:
    """Versions that were lost are given to others: who kept the lost ones must not go on from them."""
    path, saved = tmp_path / "directory.sqlite", tmp_path / "saved.sqlite"
    left = Directory(path, node("left"))
    left.put_cameras([CameraEntry("", camera(1))])
    left.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, saved)
    left.put_cameras([CameraEntry("", camera(2))])
    copy_up(left, top)
    left.database.close()
    for each in tmp_path.glob("directory.sqlite*"):
        each.unlink()
    shutil.copy(saved, path)
    again = Directory(path, node("left"))
    assert again.epoch != left.epoch
    again.put_cameras([CameraEntry("", camera(3)), CameraEntry("", camera(4))])
    copy_up(again, top)
    assert contents(top) == contents(again)
    again.close()


@pytest.mark.parametrize(
    "told",
    [
        camera(1, place=Place(math.nan, 105.9)),
        camera(1, place=Place(19.9, math.inf)),
        camera(1, place=Place(91, 105.9)),
        camera(1, place=Place(19.9, 105.9), view=View(math.nan, 90)),
        camera(1, place=Place(19.9, 105.9), view=View(0, 90, math.inf)),
        camera(1, "x" * 201),
        camera(1, kept=(-1, 5), state=StreamState.WAITING),
        camera(1, kept=(0, 1 << 62), state=StreamState.WAITING),
        replace(camera(1), id=""),
        replace(camera(1), height_m=math.nan),
    ],
)
def test_values_that_cannot_be_are_refused_with_their_batch(top: Directory, told: Camera) -> None:
    good = entry("left", camera(2))
    with pytest.raises(TreeRefused) as caught:
        top.apply(node_id("left"), snapshot("left", good, entry("left", told)))
    assert caught.value.facts["code"] == "malformed"
    assert contents(top) == {}
    assert top.resume(node_id("left")) == ("", 0)


@pytest.mark.parametrize(
    "batch",
    [
        DirectoryBatch("e1", 1 << 63, nodes=(node("left"),)),
        DirectoryBatch("e" * 65, 1, nodes=(node("left"),)),
        DirectoryBatch("e1", 1, nodes=(node("left"), replace(node("deep", "left"), name=""))),
        DirectoryBatch("e1", 1, nodes=(node("left"),), cameras_gone=[CameraGone("a", "b")] * 100_000),
    ],
)
def test_batches_that_cannot_be_are_refused(top: Directory, batch: DirectoryBatch) -> None:
    with pytest.raises(TreeRefused) as caught:
        top.apply(node_id("left"), batch)
    assert caught.value.facts["code"] == "malformed"
    assert told_below(top) == ["top"]


def test_a_cycle_below_a_child_is_refused_with_its_path(top: Directory) -> None:
    nodes = (node("left"), node("a", "b"), node("b", "a"))
    with pytest.raises(TreeRefused, match="a cycle: a → b → a") as caught:
        top.apply(node_id("left"), DirectoryBatch("e1", 7, True, True, nodes=nodes))
    assert caught.value.facts == {"code": "cycle", "path": "a → b → a"}
    assert told_below(top) == ["top"]


def test_a_node_below_nobody_is_refused_when_all_is_told(top: Directory) -> None:
    orphan = node("orphan", "nobody")
    top.apply(node_id("left"), DirectoryBatch("e1", 0, True, nodes=(node("left"), orphan)))
    with pytest.raises(TreeRefused, match="orphan is told to be below"):
        top.apply(node_id("left"), DirectoryBatch("e1", 7, current=True, nodes=(orphan,)))
    # In the order in which batches come, its parent may be told of later.
    both = (orphan, node("nobody", "left"))
    top.apply(node_id("left"), DirectoryBatch("e1", 7, current=True, nodes=both))
    assert top.path(node_id("orphan")) == "top → left → nobody → orphan"


def test_tombstones_are_bounded_and_who_missed_them_begins_anew(
    top: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvr.directory.directory._MAX_TOMBSTONES", 50)
    monkeypatch.setattr("nvr.directory.directory._BURY_EVERY", 70)
    left = Directory(None, node("left"))
    left.put_cameras([CameraEntry("", camera(1)), CameraEntry("", camera(2))])
    copy_up(left, top)
    left.remove_cameras([camera_id(1)])
    for round_ in range(10):
        numbers = range(100 + round_ * 37, 137 + round_ * 37)
        left.put_cameras(CameraEntry("", camera(number)) for number in numbers)
        left.remove_cameras([camera_id(number) for number in numbers])
    (count,) = left.database.execute("SELECT count(*) FROM camera WHERE gone").fetchone()
    assert count <= 50 + 2 * 70
    assert left.horizon > top.resume(left.own.id)[1]
    copy_up(left, top)
    assert {key[1] for key in contents(top)} == {camera_id(2)}


def test_a_name_stays_with_the_node_that_had_it_first(top: Directory) -> None:
    top.apply(node_id("left"), snapshot("left"))
    top.apply(node_id("right"), snapshot("right"))
    liar = replace(node("deep", "right"), name="left")
    top.apply(node_id("right"), DirectoryBatch("e1", 8, nodes=(liar,)))
    left = top.node_named("left")
    assert left is not None
    assert left.id == node_id("left")
    # Nor does a batch that was refused leave one.
    with pytest.raises(TreeRefused):
        top.apply(
            node_id("right"), DirectoryBatch("e1", 9, nodes=(node("new", "right"), node("top", "right")))
        )
    assert top.node_named("new") is None


def test_a_forgotten_child_takes_all_below_with_it(top: Directory) -> None:
    told = (entry("left", camera(1)), entry("deep", camera(2)))
    nodes = (node("left"), node("deep", "left"))
    top.apply(node_id("left"), DirectoryBatch("e1", 7, True, True, nodes=nodes, cameras=told))
    top.forget(node_id("left"))
    assert contents(top) == {}
    assert [each.name for each in top.nodes()] == ["top"]
    assert top.resume(node_id("left")) == ("", 0)


def test_who_is_meant(top: Directory) -> None:
    top.put_cameras([CameraEntry("", camera(1, "gate")), CameraEntry("", camera(2, "yard"))])
    removed = camera(3, "old", state=StreamState.DISABLED, reason="removed")
    top.apply(node_id("left"), snapshot("left", entry("left", camera(4, "gate")), entry("left", removed)))
    assert top.resolve("yard")[0] == camera_id(2)
    assert top.resolve("left/gate")[0] == camera_id(4)
    assert top.resolve(camera_id(3))[0] == camera_id(3)
    with pytest.raises(AmbiguousCamera) as caught:
        top.resolve("gate")
    assert caught.value.facts["candidates"] == "left/gate,top/gate"
    for name in ("old", "nobody", "right/gate", "top/"):
        with pytest.raises(CameraNotFound):
            top.resolve(name)
    with pytest.raises(CameraNotFound, match="did you mean yard"):
        top.resolve("yrad")


def test_a_camera_of_two_nodes_is_one(top: Directory) -> None:
    copy = camera(1, "gate", state=StreamState.WAITING, reason="unreachable", kept=(5, 90))
    top.apply(node_id("left"), snapshot("left", entry("left", camera(1, "gate", kept=(50, 0)), epoch=2)))
    top.apply(node_id("right"), snapshot("right", entry("right", copy, assigned=False, epoch=3)))
    _, entries = top.resolve("gate")
    view = top.camera_view(entries)
    assert (view.node, view.sources) == ("left", ("left", "right"))
    (main,) = view.streams
    assert (main.state, main.oldest_us, main.newest_us) == (StreamState.RECORDING, 5, 0)


def test_what_is_told_and_not_asked_for_stays_on_disk(top: Directory) -> None:
    def tell(rounds: range) -> None:
        for second in rounds:
            top.put_cameras(
                CameraEntry("", camera(number, kept=(ZERO_US + second * SECOND, 0))) for number in range(20)
            )

    tell(range(10))
    gc.collect()
    before = sys.getallocatedblocks()
    tell(range(10, 60))
    gc.collect()
    # Each of the 1,000 versions is some 20 blocks.
    assert sys.getallocatedblocks() - before < 1_000


async def test_who_waits_is_woken_by_a_change(top: Directory) -> None:
    version = top.version
    top.put_cameras([CameraEntry("", camera(1))])
    await top.changed(version)
    version = top.version
    # The same again is no change.
    top.put_cameras([CameraEntry("", camera(1))])
    assert top.version == version
