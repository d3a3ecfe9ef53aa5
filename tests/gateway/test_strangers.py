"""A node that the network catalog does not have claims another's camera, under a higher epoch."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from nvr.footage.places import FindRequest
from nvr.footage.types import Gap, Span
from tests.acceptance.test_source import items_of
from tests.acceptance.world import SECOND
from tests.gateway.test_timeline import CONTEXT, FIRST, GATE, SECOND_RUN, WHOLE, ZERO_US, leaf
from tests.gateway.tree import Gateway, gateway, serving


@pytest.fixture
async def made() -> AsyncIterator[Gateway]:
    """The catalog has ``first``; ``second`` took over from 15 to 30 s, or says so."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(leaf("first", FIRST, 0)))
        liar = dataclasses.replace(GATE, runs=SECOND_RUN, name="stolen")
        second = await stack.enter_async_context(serving(leaf("second", liar, 1)))
        made = await stack.enter_async_context(gateway("district", [first.address, second.address]))
        yield made


async def coverage(made: Gateway, source: str = "") -> list[Span | Gap]:
    return await items_of(made.footage.coverage(CONTEXT, GATE.id, "main", WHOLE, source))


def id_of(made: Gateway, name: str) -> str:
    node = made.directory.node_named(name)
    assert node is not None
    return node.id


def shown(items: list[Span | Gap]) -> list[str]:
    return [item.node for item in items if isinstance(item, Span)]


async def test_it_fills_holes_and_hides_nothing(made: Gateway) -> None:
    footage, directory = made.footage, made.directory
    at_us = ZERO_US + 17 * SECOND
    assert shown(await coverage(made)) == [
        "first",
        "second",
        "first",
    ]
    first, second = id_of(made, "first"), id_of(made, "second")
    directory.expect(frozenset((first,)))
    assert directory.strangers == {"second"}
    items = await coverage(made)
    # All that the first has is shown; of the second what the first has not.
    own = [item.range for item in await coverage(made, "first") if isinstance(item, Span)]
    assert [item.range for item in items if isinstance(item, Span) and item.node == "first"] == own
    assert "second" in shown(items)
    assert (await footage.locate(CONTEXT, GATE.id, "main", at_us)).epoch == 0
    found = await items_of(footage.find(CONTEXT, FindRequest(range=WHOLE)))
    (gate,) = [each for each in found if each.camera.id == GATE.id]
    assert (gate.camera.name, gate.camera.node) == (GATE.name, "first")
    assert tuple(gate.coverage) == tuple(items)
    # Once the catalog has it, it is one of them.
    directory.expect(frozenset((first, second)))
    assert directory.strangers == frozenset()
    assert shown(await coverage(made)) == [
        "first",
        "second",
        "first",
    ]
    assert (await footage.locate(CONTEXT, GATE.id, "main", at_us)).epoch == 1


async def test_without_a_catalog_nobody_is_a_stranger(made: Gateway) -> None:
    made.directory.expect(frozenset((id_of(made, "first"),)))
    made.directory.expect(None)
    assert made.directory.strangers == frozenset()
