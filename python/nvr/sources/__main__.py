"""The process that reads one source for the recorder: the address comes on stdin, messages go to stdout."""

import argparse
import os
import resource
import sys
import threading
from pathlib import Path

from nvr.errors import InvalidArgument
from nvr.sources.rules import SourceRules
from nvr.sources.wire import RecorderGoneError, Writer

_MEMORY_BYTES = 4 << 30
"""Address space: what a source sends must not eat the machine's memory."""
_MAX_ADDRESS_BYTES = 4096


def main() -> int:
    """0: the source ended, or the recorder wants no more."""
    parser = argparse.ArgumentParser(prog="nvr.sources", description=__doc__)
    parser.add_argument("--folder", action="append", default=[], help="files in it may be read")
    parser.add_argument("--device", action="append", default=[], help="it may be read")
    given = parser.parse_args()
    _limit()
    # Libraries print where they like: the messages' way is theirs no more.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    writer = Writer(output)

    # Takes most of the start: the recorder lets so many start at once.
    import av.logging

    from nvr.sources.opening import opening
    from nvr.sources.reader import Reader

    # Its lines may hold the address.
    av.logging.set_level(None)
    try:
        writer.ready()
        url = _read_address()
        threading.Thread(target=_end_with_the_recorder, daemon=True).start()
        try:
            SourceRules(tuple(given.folder), tuple(given.device)).check(url)
            source = opening(url)
        except InvalidArgument as error:
            writer.end("not_recorded", error.message)
            return 0
        failure = Reader(source, writer).run()
        writer.end(failure.reason, failure.detail)
    except RecorderGoneError:
        return 0
    return 0


def _read_address() -> str:
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, _MAX_ADDRESS_BYTES)
        line += more
        if not more or len(line) > _MAX_ADDRESS_BYTES:
            raise RecorderGoneError
    return line.decode().strip()


def _end_with_the_recorder() -> None:
    """Ends the process when the recorder closes its end or is gone, also while libav hangs."""
    while os.read(0, 1):
        pass
    os._exit(0)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = _MEMORY_BYTES if most == resource.RLIM_INFINITY else min(_MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (memory, most))
    try:
        # When memory runs out, this goes before the recorder does.
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        return  # not there in every container, and only a precaution


if __name__ == "__main__":
    sys.exit(main())
