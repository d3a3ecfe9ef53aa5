"""GStreamer as a player."""

import subprocess
import sys

_TIMEOUT_S = 120


def play(*elements: str) -> None:
    """Runs ``gst-launch-1.0`` to its end; fails when it does."""
    command = ("gst-launch-1.0", "-q", *elements)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    # At its end it sends PAUSE and at once cancels what it sends. If that comes between, it calls its own
    # cancelled write an end of file (rtspsrc of 1.22), and goes on with TEARDOWN on the same connection.
    cancelled = done.stderr.count("Could not send message. (Received end-of-file)")
    told = done.stderr.count("ERROR:")
    only_cancelled = "gst_rtspsrc_pause ()" in done.stderr and told == cancelled == 2
    assert done.returncode == 0 or only_cancelled, done.stderr


if __name__ == "__main__":
    play(*sys.argv[1:])
