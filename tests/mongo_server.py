"""A MongoDB wire server on a free loopback port, for tests.

SecantusDB stands in for MongoDB: the same protocol and the same drivers, no server to install.
It is for tests only; what its users run is MongoDB.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
import pytest

LOCALHOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds to wait for a server to answer."""


class MongoServer:
    """A server process with its data folder and port, which it keeps when it is restarted.

    Parameters
    ----------
    folder : Path
        Data and log of the server.
    durable : bool
        Whether a write that was acknowledged survives a kill, as with MongoDB's default write
        concern; slower.
    """

    def __init__(self, folder: Path, durable: bool) -> None:
        self.folder, self.port, self.durable = folder, free_port(), durable
        self.uri = f"mongodb://{LOCALHOST}:{self.port}/?directConnection=true"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start on the same data and port, and return when it answers."""
        program = Path(sys.executable).parent / "secantusd-py"
        where = ["--host", LOCALHOST, "--port", str(self.port)]
        data = ["--storage-path", str(self.folder / "data"), "--cache-size", "256M"]
        command = [str(program), *where, *data, "--standalone", "--log-level", "WARNING"]
        command += ["--sync-on-commit"] if self.durable else []
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.folder / "server.log").read_text()[-2000:]
                self.kill()
                raise RuntimeError(f"the Mongo server did not start:\n{log_text}")
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """Process of the server, for those who kill it from elsewhere."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def dies(self) -> bool:
        """Tell whether the server was killed by somebody else."""
        return self._process is not None and self._process.poll() is not None

    def answers(self) -> bool:
        """Tell whether the server answers a ping."""
        with self.client(timeout=0.5) as client:
            try:
                return bool(client.admin.command("ping")["ok"])
            except pymongo.errors.PyMongoError:
                return False

    def client(self, timeout: float = 5.0) -> pymongo.MongoClient:
        """Return a client; close it, or use it in a ``with``."""
        return pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=int(1000 * timeout))

    def kill(self) -> None:
        """End the server as a crash does, by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in an orderly way."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill the server and start it again on the same data and port."""
        self.kill()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def free_port() -> int:
    """Return a port of the loopback device that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def mongo_server(folder: Path, durable: bool = True) -> Iterator[MongoServer]:
    """Run a server of one's own, to be killed and restarted.

    Parameters
    ----------
    folder : Path
        An empty folder for its data.
    durable : bool
        See :class:`MongoServer`.
    """
    server = MongoServer(folder, durable)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def shared_mongo(tmp_path_factory) -> Iterator[MongoServer]:
    """One server for all tests of a session: give each test a database of its own."""
    with mongo_server(tmp_path_factory.mktemp("mongo"), durable=False) as server:
        yield server
