"""A recorder's part of a node with the recorded world, as a process: of this version or the previous.

``python tests/acceptance/serve_world.py FOLDER``. What it imports is found by PYTHONPATH: with a
previous version's tree there it is that version's recorder, which reads what that version wrote.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.acceptance.recorded import local_footage, record_world
from tests.gateway.tree import serving


async def main(folder: Path) -> None:
    with record_world(folder) as recorded:
        async with local_footage(recorded) as source, serving(source) as served:
            node = await source.node()
            told = {"address": served.address, "node_id": node.id, "version": node.version}
            print(json.dumps({**told, "world": asdict(recorded.world)}), flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
