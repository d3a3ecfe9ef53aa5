"""Two nodes of one name that have one camera: they are never taken for one another."""

from contextlib import AsyncExitStack

import pytest

from nvr.errors import CameraNotFound
from nvr.footage.places import FindRequest
from nvr.footage.types import ClipRequest, FragmentsRequest, PictureOptions, ReadContext, Span
from nvr.gateway.federated import FederatedFootage, Sources
from tests.acceptance.test_source import collect, items_of, read_parts
from tests.acceptance.world import SECOND
from tests.directory.entries import node_id
from tests.gateway.tree import gateway, served_gateway, serving
from tests.gateway.twins import GATE, SECOND_RUN, WHOLE, ZERO_US, Twin

CONTEXT = ReadContext()
BOTH_US = ZERO_US + 18 * SECOND


async def check(footage: FederatedFootage, sources: dict[str, int]) -> None:
    """``sources``: the epoch that each name's node has."""
    items, notices, end = await collect(footage.coverage(CONTEXT, GATE.id, "main", WHOLE))
    assert (notices, end.complete) == ([], True)
    shown = [item for item in items if isinstance(item, Span)]
    assert [sources[span.node] for span in shown] == [0, 1, 0]
    assert all(sources[span.node] == span.epoch for span in shown)
    found = await items_of(footage.find(CONTEXT, FindRequest(range=WHOLE)))
    gate = next(each for each in found if each.camera.id == GATE.id)
    assert set(gate.camera.sources) == set(sources)
    assert [span.node for span in gate.spans] == [span.node for span in shown]
    apart = await items_of(footage.find(CONTEXT, FindRequest(range=WHOLE, by_source=True)))
    assert {each.source for each in apart if each.camera.id == GATE.id} == set(sources)
    refs = await items_of(footage.read_fragments(CONTEXT, FragmentsRequest(GATE.id, WHOLE)))
    assert all(sources[each.node] == each.ref.epoch for each in refs)
    head, parts = await read_parts(footage, ClipRequest(GATE.id, WHOLE))
    assert [sources[part.node] for part in head.parts] == [0, 1, 0]
    assert [len(parts[part.index]) for part in head.parts] == [part.size_bytes for part in head.parts]
    for name, epoch in sources.items():
        alone = await items_of(footage.coverage(CONTEXT, GATE.id, "main", WHOLE, name))
        runs = SECOND_RUN if epoch else GATE.runs
        assert [item.range.start_us for item in alone if isinstance(item, Span)] == [r.start_us for r in runs]
        ref = await footage.locate(CONTEXT, GATE.id, "main", BOTH_US, source=name)
        assert ref.epoch == epoch
        request = FragmentsRequest(GATE.id, WHOLE, source=name)
        assert {each.node for each in await items_of(footage.read_fragments(CONTEXT, request))} == {name}
    picture = await footage.snapshot(CONTEXT, GATE.id, "main", BOTH_US, PictureOptions(max_width=8))
    assert picture.notices == ()


def names(first: str, other: str) -> dict[str, int]:
    """``first`` has the name, the node of the key ``other`` goes by its id."""
    return {first: int(other == "1"), node_id(other)[:16]: int(other == "2")}


@pytest.mark.parametrize("tiers", ["one", "below one", "below two"])
async def test_two_nodes_of_one_name_are_not_mixed_up(tiers: str) -> None:
    first, second = Twin("station", "1", took_over=False), Twin("station", "2", took_over=True)
    async with AsyncExitStack() as stack:
        a, b = [(await stack.enter_async_context(serving(twin))).address for twin in (first, second)]
        if tiers == "below two":
            lower = [
                await stack.enter_async_context(gateway(f"district-{number}", [address]))
                for number, address in enumerate((a, b))
            ]
        else:
            lower = [await stack.enter_async_context(gateway("district", [a, b]))]
        made = lower[0]
        if tiers != "one":
            tops = [(await stack.enter_async_context(served_gateway(each))).address for each in lower]
            made = await stack.enter_async_context(gateway("province", tops))
        named = made.directory.node_named("station")
        assert named is not None
        other = "2" if named.id == node_id("1") else "1"
        await check(made.footage, names("station", other))


class NamesOnly(FederatedFootage):
    """A gateway of version 0.1.0: it knows a source by its name, and by nothing else."""

    def _of(self, camera: str, source: str) -> Sources:
        known = {node.name for node in self._directory.nodes()}
        if source and source not in known:
            raise CameraNotFound(f"node {source!r} has nothing of that camera", field="source")
        return super()._of(camera, source)


async def test_a_gateway_that_knows_names_only_is_told_names() -> None:
    first, second = Twin("first", "1", took_over=False), Twin("second", "2", took_over=True)
    old = ("find", "directory", "source")
    async with AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(serving(twin))).address for twin in (first, second)]
        district = await stack.enter_async_context(
            gateway("district", addresses, kind=NamesOnly, capabilities=old)
        )
        served = await stack.enter_async_context(served_gateway(district))
        province = await stack.enter_async_context(gateway("province", [served.address]))
        await check(province.footage, {"first": 0, "second": 1})
