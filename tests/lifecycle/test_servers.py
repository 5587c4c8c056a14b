"""Under real servers every run is counted once and every mismatch stored once, to the very end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from twinrun import Outcome
from twinrun.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the servers are for POSIX")

WATCHDOG = 30.0  # seconds after which a server that neither starts nor ends is given up
REQUESTS = 60

WSGI = """
import os, signal, threading, time
import twinrun
from twinrun import configure, experiment
from twinrun.publishers import StorePublisher

configure(publishers=[StorePublisher(os.environ["STORE"])])

@experiment("server.double", candidate=lambda n: 2 * n + n % 2, mode=os.environ["MODE"])
def double(n):
    return 2 * n

if os.environ.get("BEFORE_FORK"):  # a preloaded application may have worked in the master already
    double(1)

def application(environ, start_response):
    body = str(double(int(environ["QUERY_STRING"]))).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

ASGI = """
import os
from twinrun import configure, experiment
from twinrun.publishers import StorePublisher

configure(publishers=[StorePublisher(os.environ["STORE"])])

async def twice(n):
    return 2 * n + n % 2

@experiment("server.double", candidate=twice, mode=os.environ["MODE"])
async def double(n):
    return 2 * n

async def application(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    body = str(await double(int(scope["query_string"]))).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

Start = Callable[..., subprocess.Popen[str]]


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, which no other test can have taken."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=WATCHDOG)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WATCHDOG)
        self.sock.connect(self._path)


def ask(path: Path, n: int) -> int:
    """Have the server double a number."""
    connection = _Connection(path)
    try:
        connection.request("GET", f"/?{n}")
        response = connection.getresponse()
        assert response.status == 200
        return int(response.read())
    finally:
        connection.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with an application, and end it for good after the test."""
    servers: list[subprocess.Popen[str]] = []

    def start(application: str, *command: str, **environment: str) -> subprocess.Popen[str]:
        (tmp_path / "served.py").write_text(textwrap.dedent(application))
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env={**os.environ, "STORE": str(tmp_path / "store.db"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that its workers can be ended with it
        )
        servers.append(server)
        deadline = time.monotonic() + WATCHDOG
        while not (tmp_path / "socket").exists():
            assert server.poll() is None, server.communicate()[0]
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        return server

    yield start
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


def use_and_end(server: subprocess.Popen[str], directory: Path, end: int = signal.SIGTERM) -> str:
    """Ask for all doubles, then end the server; give what it printed."""
    for n in range(REQUESTS):
        assert ask(directory / "socket", n) == 2 * n
    server.send_signal(end)
    return server.communicate(timeout=WATCHDOG)[0]


def check_store(directory: Path, runs: int = REQUESTS) -> None:
    """Every run is counted once, and every mismatch is in the one group."""
    with Store(directory / "store.db") as store:
        tally = store.tally("server.double")
        [group] = store.groups("server.double")
    assert (tally.runs, tally.experiments, tally.dropped) == (runs, runs, {})
    mismatches = REQUESTS // 2 + (runs - REQUESTS)
    assert tally.outcomes["candidate"][Outcome.MISMATCHED] == mismatches
    assert group.count == mismatches


GUNICORN = ("gunicorn", "served:application", "--bind", "unix:socket", "--workers", "2")


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
@pytest.mark.parametrize("mode", ["inline", "background"])
def test_gunicorn_loses_and_doubles_nothing(
    start: Start, tmp_path: Path, worker: str, preload: bool, mode: str
) -> None:
    """With each kind of worker, with the application loaded before or after the fork."""
    options = ["--worker-class", worker, *(["--preload"] if preload else [])]
    output = use_and_end(start(WSGI, *GUNICORN, *options, MODE=mode), tmp_path)
    assert "Traceback" not in output, output
    check_store(tmp_path)


@pytest.mark.parametrize("mode", ["inline", "background"])
def test_workers_that_are_replaced_lose_nothing(start: Start, tmp_path: Path, mode: str) -> None:
    """A worker ends after ten requests, and another takes its place."""
    output = use_and_end(start(WSGI, *GUNICORN, "--max-requests", "10", MODE=mode), tmp_path)
    assert "Traceback" not in output, output
    check_store(tmp_path)


def test_an_application_used_before_the_fork_delivers_once(start: Start, tmp_path: Path) -> None:
    """What the master ran while it loaded the application is the master's own to deliver."""
    server = start(WSGI, *GUNICORN, "--preload", MODE="background", BEFORE_FORK="1")
    output = use_and_end(server, tmp_path)
    assert "Traceback" not in output, output
    check_store(tmp_path, runs=REQUESTS + 1)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("mode", ["inline", "concurrent", "background"])
def test_uvicorn_loses_and_doubles_nothing(
    start: Start, tmp_path: Path, loop: str, mode: str
) -> None:
    """With async experiments, on both event loops."""
    command = ("uvicorn", "served:application", "--uds", "socket", "--loop", loop)
    output = use_and_end(start(ASGI, *command, MODE=mode), tmp_path)
    assert "Traceback" not in output, output
    check_store(tmp_path)
