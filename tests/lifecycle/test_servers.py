"""Under real servers every run is counted once and every mismatch stored once, to the very end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from twinrun import Outcome
from twinrun.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the servers are for POSIX")

WATCHDOG = 30.0  # seconds after which a server that neither starts nor ends is given up
REQUESTS = 60

MODES = ("inline", "concurrent", "background")

WSGI = """
import os
from twinrun import configure, experiment
from twinrun.publishers import StorePublisher

configure(publishers=[StorePublisher(os.environ["STORE"])])

def double(n):
    return 2 * n

def nearly_double(n):
    return 2 * n + n % 2

DOUBLES = {
    f"/{mode}": experiment(f"server.{mode}", candidate=nearly_double, mode=mode)(double)
    for mode in ("inline", "concurrent", "background")
}

if os.environ.get("BEFORE_FORK"):  # a preloaded application may have worked in the master already
    for each in DOUBLES.values():
        each(1)

def application(environ, start_response):
    body = str(DOUBLES[environ["PATH_INFO"]](int(environ["QUERY_STRING"]))).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

ASGI = """
import contextlib, os
import twinrun
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from twinrun import configure, experiment
from twinrun.publishers import Buffered, StorePublisher

store = StorePublisher(os.environ["STORE"])
spool = os.environ.get("SPOOL")
configure(publishers=[Buffered(store, spool=spool) if spool else store])

async def double(n):
    return 2 * n

async def nearly_double(n):
    return 2 * n + n % 2

DOUBLES = {
    mode: experiment(f"server.{mode}", candidate=nearly_double, mode=mode)(double)
    for mode in ("inline", "concurrent", "background")
}

@contextlib.asynccontextmanager
async def lifespan(application):
    yield
    await twinrun.aflush(timeout=10)

async def answer(request):
    double = DOUBLES[request.path_params["mode"]]
    return PlainTextResponse(str(await double(int(request.url.query))))

application = Starlette(
    routes=[Route("/{mode}", answer)], lifespan=None if spool else lifespan
)
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


def listens(path: Path) -> bool:
    """Say whether somebody takes connections there."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(str(path))
        return True
    return False


def ask(path: Path, mode: str, n: int) -> int:
    """Have the server double a number by the experiment of a mode."""
    connection = _Connection(path)
    try:
        connection.request("GET", f"/{mode}?{n}")
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
        (tmp_path / "served.py").write_text(application)
        (tmp_path / "gunicorn.conf.py").write_text(READY)
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
        workers = 2 if command[0] == "gunicorn" else 0
        while not (listens(tmp_path / "socket") and len([*tmp_path.glob("ready-*")]) >= workers):
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
        assert ask(directory / "socket", MODES[n % 3], n // 3) == 2 * (n // 3)
    server.send_signal(end)
    output = server.communicate(timeout=WATCHDOG)[0]
    assert "Traceback" not in output, output
    return output


def check_store(directory: Path, before: int = 0) -> None:
    """Every run is counted once, and every mismatch is in its one group."""
    runs = REQUESTS // 3
    with Store(directory / "store.db") as store:
        for mode in MODES:
            tally = store.tally(f"server.{mode}")
            counted = (tally.runs, tally.experiments, tally.dropped)
            assert counted == (runs + before, runs + before, {}), mode
            assert tally.outcomes["candidate"][Outcome.MISMATCHED] == runs // 2 + before
            assert mismatches(store, mode) == runs // 2 + before, mode


def mismatches(store: Store, mode: str) -> int:
    """Give how many mismatches of a mode are stored."""
    return sum(group.count for group in store.groups(f"server.{mode}"))


# A worker that has just been forked may miss the signal to end, whatever it serves.
READY = """
def post_worker_init(worker):
    open(f"ready-{worker.pid}", "w").close()
"""

GUNICORN = ("gunicorn", "served:application", "--bind", "unix:socket", "--workers", "2")
UVICORN = ("uvicorn", "served:application", "--uds", "socket")


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorn_loses_and_doubles_nothing(
    start: Start, tmp_path: Path, worker: str, preload: bool
) -> None:
    """With each kind of worker; what the master ran while it loaded the application is its own."""
    options = ["--worker-class", worker, *(["--preload"] if preload else [])]
    server = start(WSGI, *GUNICORN, *options, BEFORE_FORK="1" if preload else "")
    use_and_end(server, tmp_path)
    check_store(tmp_path, before=int(preload))


def test_workers_that_are_replaced_lose_nothing(start: Start, tmp_path: Path) -> None:
    """A worker ends after ten requests, and another takes its place."""
    use_and_end(start(WSGI, *GUNICORN, "--max-requests", "10"), tmp_path)
    check_store(tmp_path)


@pytest.mark.parametrize(
    "options",
    [("--loop", "asyncio"), ("--loop", "uvloop"), ("--workers", "2")],
    ids=["asyncio", "uvloop", "workers"],
)
def test_uvicorn_loses_nothing_where_its_lifespan_flushes(
    start: Start, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """uvicorn ends by the signal itself, which no exit handler sees; its lifespan comes before."""
    use_and_end(start(ASGI, *UVICORN, *options), tmp_path)
    check_store(tmp_path)


def test_without_a_lifespan_what_uvicorn_accepted_is_in_the_spool(
    start: Start, tmp_path: Path
) -> None:
    """`twinrun deliver` brings it into the store."""
    use_and_end(start(ASGI, *UVICORN, SPOOL="spool"), tmp_path)
    deliver = [sys.executable, "-m", "twinrun", "deliver", "spool", "--store", "store.db"]
    subprocess.run(deliver, cwd=tmp_path, check=True, capture_output=True, timeout=WATCHDOG)
    with Store(tmp_path / "store.db") as store:
        stored = {mode: mismatches(store, mode) for mode in MODES}
    # A candidate of the last request may not have been over: what it found was not yet accepted.
    runs = REQUESTS // 3
    assert stored["inline"] == runs // 2
    assert all(runs // 2 - 1 <= count <= runs // 2 for count in stored.values()), stored
