"""ffmpeg and a web server as what a source is read from."""

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_END_S = 30


class Sender:
    """ffmpeg, sending without an end."""

    def __init__(self, arguments: Sequence[str | Path]) -> None:
        command = ["ffmpeg", "-nostdin", "-v", "error", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait(_END_S)


def ffmpeg(*arguments: str | Path) -> bytes:
    """What a run of it writes."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=_END_S * 4).stdout


@contextmanager
def sending(source: Path, *output: str | Path) -> Iterator[Sender]:
    """Sends a file over and over at its own pace, coded as it is."""
    sender = Sender(["-re", "-stream_loop", "-1", "-i", source, "-c", "copy", *output])
    try:
        yield sender
    finally:
        sender.stop()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; below /private only after a login."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/private"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """A web server on a port of loopback, and the paths that were asked for."""
    handler = functools.partial(_Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    paths: list[str] = []
    server.paths = paths  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
