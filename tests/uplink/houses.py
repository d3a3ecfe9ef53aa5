"""Many children in one process: ``python -m tests.uplink.houses PARENT FIRST COUNT``."""

import asyncio
import sys
from contextlib import AsyncExitStack

from tests.footage.memory import MemoryFootage, memory_world
from tests.uplink.lines import child


async def main(parent: str, first: int, count: int) -> None:
    async with AsyncExitStack() as stack:
        for number in range(first, first + count):
            source = MemoryFootage(memory_world(f"house-{number}", number))
            await stack.enter_async_context(child(parent, source=source, keepalive_s=15))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
