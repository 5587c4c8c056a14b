"""StatsdPublisher sends counters and timers that a statsd server understands."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import statsd
from hypothesis import given
from hypothesis import strategies as st

from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.publishers import StatsdPublisher
from twinrun.result import Comparison, Outcome, Result


def ran(experiment="quote", names=("candidate",), outcome=Outcome.MATCHED, error=None):
    """Give a result whose control took 1.5 ms and whose candidates took 3 ms."""
    control = Observation(name="control", value=1, duration_ns=1_500_000)
    candidates = tuple(
        Observation(name=name, value=1, exception=error, duration_ns=3_000_000) for name in names
    )
    return Result(
        id="abc",
        experiment=experiment,
        started_at=datetime.datetime.now(datetime.UTC),
        context={},
        order=("control", *names),
        control=control,
        candidates=candidates,
        comparisons=tuple(Comparison(candidate, outcome) for candidate in candidates),
    )


@pytest.fixture(scope="module")
def server():
    """Give a UDP socket to which stats are sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        yield server


@pytest.fixture(scope="module")
def client(server):
    """Give the user's client of that server."""
    client = statsd.StatsClient(*server.getsockname())
    yield client
    client.close()


def received(server):
    """Give the stats of the next datagram."""
    return server.recv(65536).decode("ascii").splitlines()


def test_a_run_is_one_datagram(server, client):
    """It holds the run, each outcome and a timer in milliseconds for each side."""
    StatsdPublisher(client).publish(ran(names=("api", "sql")))
    assert received(server) == [
        "twinrun.quote.runs:1|c",
        "twinrun.quote.control.duration:1.500000|ms",
        "twinrun.quote.api.matched:1|c",
        "twinrun.quote.api.duration:3.000000|ms",
        "twinrun.quote.sql.matched:1|c",
        "twinrun.quote.sql.duration:3.000000|ms",
    ]


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_a_counter(server, client, outcome):
    """Named as it is."""
    StatsdPublisher(client).publish(ran(outcome=outcome))
    assert f"twinrun.quote.candidate.{outcome}:1|c" in received(server)


def test_what_was_raised_is_counted(server, client):
    """For the side that raised it alone."""
    StatsdPublisher(client).publish(ran(error=ValueError()))
    stats = received(server)
    assert "twinrun.quote.candidate.raised:1|c" in stats
    assert "twinrun.quote.control.raised:1|c" not in stats


@pytest.mark.parametrize(
    ("experiment", "prefix", "start"),
    [
        ("pricing.quote", "twinrun", "twinrun.pricing.quote"),
        ("pricing..quote.", "app.twinrun.", "app.twinrun.pricing.quote"),
        ("a b:c|d@e/f", "twinrun", "twinrun.a_b_c_d_e_f"),
        ("quote", "", "quote"),
        ("...", "", "_"),
        ("価格", "twinrun", "twinrun.___a788df7e"),
        ("権限", "twinrun", "twinrun.___f75492dc"),
    ],
)
def test_names_are_made_safe(server, client, experiment, prefix, start):
    """A dot starts a level, what a name can't hold is replaced, and other letters stay apart."""
    StatsdPublisher(client, prefix).publish(ran(experiment))
    assert received(server)[0] == f"{start}.runs:1|c"


def test_a_dot_in_a_candidates_name_starts_no_level(server, client):
    """The last levels of a name always mean the same."""
    StatsdPublisher(client).publish(ran(names=("api.v2",)))
    assert "twinrun.quote.api_v2.matched:1|c" in received(server)


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_any_name_makes_well_formed_stats(server, client, prefix, experiment, name):
    """Each line is a name of safe levels, a number and a type."""
    StatsdPublisher(client, prefix[:20]).publish(ran(experiment[:20], (name[:20],)))
    stats = received(server)
    assert len(stats) == 4
    for stat in stats:
        stat_name, _, value = stat.partition(":")
        assert value.split("|")[1] in ("c", "ms")
        levels = stat_name.split(".")
        assert all(level.replace("_", "a").replace("-", "a").isalnum() for level in levels)


def test_a_server_that_is_gone_is_no_error():
    """UDP asks nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    client = statsd.StatsClient(*address)
    for _ in range(3):
        StatsdPublisher(client).publish(ran())
    client.close()


def test_it_takes_every_result(client):
    """Matches are counted as well."""
    assert not getattr(StatsdPublisher(client), "evidence_only", False)


@pytest.mark.parametrize("wrong", [None, "localhost", 8125])
def test_what_is_no_client_is_refused(wrong):
    """The error says what is accepted."""
    with pytest.raises(ConfigurationError, match="client of the statsd package"):
        StatsdPublisher(wrong)


def test_a_prefix_that_is_no_text_is_refused(client):
    """The error says so."""
    with pytest.raises(ConfigurationError, match="prefix is a text"):
        StatsdPublisher(client, prefix=None)


# The real server ---------------------------------------------------------------------------------


def free_port(kind):
    """Give a port that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """Start the statsd of npm; give its ports for stats and for management."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "twinrun-tests" / "statsd"
    script = folder / "node_modules" / "statsd" / "stats.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--omit=optional", "statsd"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=90, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm install statsd took too long")
        if done.returncode or not script.exists():
            pytest.skip(f"npm install statsd failed: {done.stderr[-300:]}")
    stats, management = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    config = tmp_path_factory.mktemp("statsd") / "config.js"
    config.write_text(
        f"{{port: {stats}, address: '127.0.0.1', mgmt_port: {management}, "
        "mgmt_address: '127.0.0.1', flushInterval: 3600000, backends: []}"
    )
    process = subprocess.Popen(
        [node, str(script), str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield stats, management
    process.terminate()
    process.wait()


def asked(port, command, until=30.0):
    """Ask the management port, until it answers."""
    deadline = time.monotonic() + until
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(command.encode() + b"\n")
                answer = b""
                while b"END" not in answer and b"health" not in answer:
                    answer += connection.recv(4096) or b"END"
                return answer.decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="the daemon is ended by a signal")
def test_the_real_daemon_counts_what_was_sent(daemon):
    """Five runs are five, whatever the name, and each has its timers."""
    port, management = daemon
    assert "up" in asked(management, "health")
    client = statsd.StatsClient("127.0.0.1", port)
    publisher = StatsdPublisher(client)
    for _ in range(5):
        publisher.publish(ran("naïve: a|b", outcome=Outcome.MISMATCHED))
    client.close()
    name = "twinrun.na_ve__a_b_50264a49"
    deadline = time.monotonic() + 10
    while f"'{name}.runs': 5" not in (counters := asked(management, "counters")):
        assert time.monotonic() < deadline, counters
        time.sleep(0.05)
    assert f"'{name}.candidate.mismatched': 5" in counters
    assert "'statsd.bad_lines_seen': 0" in counters
    timers = asked(management, "timers")
    assert f"'{name}.control.duration': [ 1.5, 1.5, 1.5, 1.5, 1.5 ]" in timers
