"""Databases for tests: files, and a PostgreSQL server of our own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.support.processes import free_port

__all__ = ["PostgresServer", "postgres_server"]


def _programs() -> Path:
    """Where initdb and pg_ctl are: on the path, or where Debian has them."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    assert places, "PostgreSQL's server programs are not installed: apt install postgresql"
    return places[-1].parent


class PostgresServer:
    """A server on a port of loopback, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.programs = _programs()
        self.port = 0

    def initialise(self) -> None:
        """Makes its files. It refuses to run as root, and so it is given to a user that always is there."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, "nobody")
        self._run("initdb", "-D", self._data, "-U", "nvr", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Returns when it answers. It keeps its port once it has one."""
        wanted = self.port
        for last in (False, False, False, False, True):
            self.port = wanted or free_port()
            try:
                self._start()
            except AssertionError:
                # Somebody else may have taken the port in between.
                if last or wanted:
                    raise
            else:
                return

    def _start(self) -> None:
        settings = (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "fsync=off",
        )
        options = " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-D", self._data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Ends it at once; who is connected is cut off."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"nvr_{uuid4().hex[:12]}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://nvr@127.0.0.1:{self.port}/{database}"

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        user = "nobody" if os.geteuid() == 0 else None
        # pg_ctl's server keeps what it inherits open: a pipe would never end.
        log = self._folder / "commands"
        with log.open("ab") as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, user=user, cwd=self._folder, timeout=60, check=False
            )
        said = [path.read_text()[-2000:] for path in (log, self._folder / "log") if path.exists()]
        assert done.returncode == 0, f"{command}: {said}"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server for as long as it is needed. Its folder is where another user may reach it."""
    with tempfile.TemporaryDirectory(prefix="nvr-postgres-") as folder:
        server = PostgresServer(Path(folder))
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
