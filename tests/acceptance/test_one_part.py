"""The bytes of one part of a clip; what nodes of the first version do not know."""

from nvr.footage.source import FootageSource
from nvr.footage.types import ClipRequest
from tests.acceptance.test_source import read_parts
from tests.acceptance.world import World


async def test_one_part_comes_without_those_after_it(source: FootageSource, world: World) -> None:
    request = ClipRequest(world.gate.name, world.gate.whole)
    head, parts = await read_parts(source, request)
    for index, data in parts.items():
        wanted = ClipRequest(
            world.gate.name,
            world.gate.whole,
            part=index,
            offset=len(data) // 2,
            if_etag=head.parts[index].etag,
            one_part=True,
        )
        same, got = await read_parts(source, wanted)
        assert same == head
        assert got == {index: data[len(data) // 2 :]}
