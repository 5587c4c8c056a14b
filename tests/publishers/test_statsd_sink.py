"""StatsdPublisher sends counters and timers that a statsd server understands."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import types
from collections import defaultdict
from pathlib import Path

import pytest
import statsd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinrun.errors import ConfigurationError
from twinrun.histogram import Histogram
from twinrun.publishers import StatsdPublisher
from twinrun.publishers.statsd import TIMINGS, spread
from twinrun.result import Outcome
from twinrun.tally import Tally

LONG = 30.0
FOREVER = 3600.0
MS = 1e-3


class Ledger:
    """An experiment's account, filled by the test."""

    def __init__(self, name="quote"):
        self.name = name
        self.now = Tally()

    def tally(self):
        """Give the tally as it stands."""
        return self.now

    def drop(self, reason, count=1):
        """Lose nothing."""
        raise AssertionError(reason)


def ran(names=("candidate",), outcome=Outcome.MATCHED, runs=1, **more):
    """Give the tally of runs whose control took 1.5 ms and whose candidates took 3 ms."""
    candidates = {name: Histogram.of([3 * MS] * runs) for name in names}
    return Tally(
        experiments=runs,
        outcomes={name: {outcome: runs} for name in names},
        durations={"control": Histogram.of([1.5 * MS] * runs), **candidates},
        **more,
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
    client = statsd.StatsClient(*server.getsockname(), maxudpsize=60_000)
    yield client
    client.close()


@pytest.fixture
def sent(server, client):
    """Send what a tally gained; give the stats, by name, as values with their types."""
    made = []

    def sent(*tallies, experiment="quote", prefix="twinrun"):
        publisher = StatsdPublisher(client, prefix, interval=FOREVER)
        made.append(publisher)
        ledger = Ledger(experiment)
        publisher.watch(ledger)
        return [sent_by(publisher, ledger, tally) for tally in tallies]

    def sent_by(publisher, ledger, tally):
        ledger.now = ledger.now + tally
        assert publisher.flush(LONG)
        server.setblocking(False)
        try:
            lines = server.recv(65536).decode("ascii").splitlines()
        except BlockingIOError:
            return {}
        stats = defaultdict(list)
        for line in lines:
            name, _, value = line.partition(":")
            stats[name].append(value)
        return stats

    yield sent
    for publisher in made:
        publisher.close()


def test_what_a_tally_gained_is_sent(sent):
    """Counters of runs and outcomes, and timers in milliseconds for each side."""
    (stats,) = sent(ran(names=("api", "sql"), runs=2))
    timers = {name: values for name, values in stats.items() if name.endswith("duration")}
    assert {name: values for name, values in stats.items() if name not in timers} == {
        "twinrun.quote.runs": ["2|c"],
        "twinrun.quote.experiments": ["2|c"],
        "twinrun.quote.api.matched": ["2|c"],
        "twinrun.quote.sql.matched": ["2|c"],
    }
    for side, ms in {"control": 1.5, "api": 3.0, "sql": 3.0}.items():
        values = timers[f"twinrun.quote.{side}.duration"]
        assert len(values) == 2
        for value in values:
            number, _, kind = value.partition("|")
            assert kind == "ms"
            assert float(number) == pytest.approx(ms, rel=0.011)


def test_only_what_is_new_is_sent(sent):
    """Each counter is an increment; where nothing ran, nothing is sent."""
    first, nothing, second = sent(ran(runs=5), Tally(), ran(runs=2))
    assert first["twinrun.quote.runs"] == ["5|c"]
    assert nothing == {}
    assert second["twinrun.quote.runs"] == ["2|c"]


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_a_counter(sent, outcome):
    """Named as it is."""
    (stats,) = sent(ran(outcome=outcome))
    assert stats[f"twinrun.quote.candidate.{outcome}"] == ["1|c"]


def test_what_went_wrong_is_counted(sent):
    """What candidates raised, and by reason what was skipped, failed and dropped."""
    (stats,) = sent(
        Tally(
            candidate_errors={"candidate": 3},
            skipped={"sample": 4, "run_if": 1},
            failures={"clean": 5},
            dropped={"full": 6},
        )
    )
    assert stats == {
        "twinrun.quote.runs": ["5|c"],
        "twinrun.quote.skipped.sample": ["4|c"],
        "twinrun.quote.skipped.run_if": ["1|c"],
        "twinrun.quote.failures.clean": ["5|c"],
        "twinrun.quote.dropped.full": ["6|c"],
        "twinrun.quote.candidate.raised": ["3|c"],
    }


@given(st.lists(st.floats(1e-6, 60), min_size=1, max_size=400))
def test_few_timings_are_all_sent_and_many_are_stood_for(seconds):
    """At most 100; each quantile of what is sent is one of what was measured, within 1.1 %."""
    durations = Histogram.of(seconds)
    sent = list(spread(durations, TIMINGS))
    assert len(sent) == min(len(seconds), TIMINGS)
    exact = sorted(seconds)
    for place, value in enumerate(sent):
        rank = math.ceil((place + 0.5) / len(sent) * len(exact))
        assert value == pytest.approx(exact[rank - 1], rel=0.011)


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
def test_names_are_made_safe(sent, experiment, prefix, start):
    """A dot starts a level, what a name can't hold is replaced, and other letters stay apart."""
    (stats,) = sent(ran(), experiment=experiment, prefix=prefix)
    assert stats[f"{start}.runs"] == ["1|c"]


def test_a_dot_in_a_candidates_name_starts_no_level(sent):
    """The last levels of a name always mean the same."""
    (stats,) = sent(ran(names=("api.v2",)))
    assert stats["twinrun.quote.api_v2.matched"] == ["1|c"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_any_name_makes_well_formed_stats(sent, prefix, experiment, name):
    """Each line is a name of safe levels, a number and a type."""
    (stats,) = sent(ran((name[:20],)), experiment=experiment[:20], prefix=prefix[:20])
    assert sum(map(len, stats.values())) == 5
    for stat_name, values in stats.items():
        assert {value.split("|")[1] for value in values} <= {"c", "ms"}
        levels = stat_name.split(".")
        assert all(level.replace("_", "a").replace("-", "a").isalnum() for level in levels)


def test_whole_experiments_are_counted_and_a_matching_run_makes_no_result(client, server):
    """The engine shows its tally; nobody wants the Result of a match."""
    import twinrun

    publisher = StatsdPublisher(client, interval=FOREVER)
    quote = twinrun.Experiment("statsd.end-to-end", publishers=[publisher])
    for n in range(10):
        assert quote.run(control=lambda n=n: n, candidate=lambda n=n: n // 9 * 9) == n
    assert publisher.flush(LONG)
    server.setblocking(False)
    stats = server.recv(65536).decode("ascii").splitlines()
    publisher.close()
    assert "twinrun.statsd.end-to-end.runs:10|c" in stats
    assert "twinrun.statsd.end-to-end.candidate.matched:2|c" in stats
    assert publisher.evidence_only is True


def test_a_server_that_is_gone_is_no_error():
    """UDP asks nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    client = statsd.StatsClient(*address)
    publisher = StatsdPublisher(client, interval=FOREVER)
    ledger = Ledger()
    publisher.watch(ledger)
    for _ in range(3):
        ledger.now += ran()
        assert publisher.flush(LONG)
    publisher.close()
    client.close()


def test_a_tcp_server_that_is_away_is_waited_for_without_a_failing_run(monkeypatch):
    """What was counted meanwhile is sent once it is back, through a new connection."""
    heard = []
    module = types.ModuleType("twinrun._logging")
    module.warn = lambda event, **keys: heard.append((event, keys))
    monkeypatch.setitem(sys.modules, "twinrun._logging", module)
    port = free_port(socket.SOCK_STREAM)
    client = statsd.TCPStatsClient("127.0.0.1", port, timeout=5)
    publisher = StatsdPublisher(client, interval=0.01)
    ledger = Ledger()
    publisher.watch(ledger)
    ledger.now += ran(runs=3)
    assert not publisher.flush(0.1)
    assert heard[0][0] == "delivery.failed"
    ledger.now += ran(runs=4)  # before there is a server, which else may get the first three alone
    with socket.create_server(("127.0.0.1", port)) as server:
        assert publisher.flush(LONG)
        connection, _ = server.accept()
        with connection:
            assert b"twinrun.quote.runs:7|c\n" in connection.recv(65536)
        publisher.close()
    client.close()
    assert [event for event, _ in heard] == ["delivery.failed", "delivery.recovered"]


def test_a_server_that_never_reads_holds_up_nobody():
    """Only the thread that delivers waits; a flush keeps its time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = statsd.TCPStatsClient(*server.getsockname(), timeout=LONG)
        publisher = StatsdPublisher(client, interval=FOREVER)
        ledgers = [Ledger(f"experiment{n}" + "x" * 200) for n in range(2000)]
        for ledger in ledgers:
            ledger.now = ran(runs=100)
            publisher.watch(ledger)
        start = time.monotonic()
        assert not publisher.flush(0.1)
        assert time.monotonic() - start < LONG / 2
    publisher._delivery.close(0.1)
    client.close()


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
    publisher = StatsdPublisher(client, interval=FOREVER)
    ledger = Ledger("naïve: a|b")
    publisher.watch(ledger)
    for _ in range(5):
        ledger.now += ran(outcome=Outcome.MISMATCHED)
        assert publisher.flush(LONG)
    publisher.close()
    client.close()
    name = "twinrun.na_ve__a_b_50264a49"
    deadline = time.monotonic() + 10
    while f"'{name}.runs': 5" not in (counters := asked(management, "counters")):
        assert time.monotonic() < deadline, counters
        time.sleep(0.05)
    assert f"'{name}.candidate.mismatched': 5" in counters
    assert "'statsd.bad_lines_seen': 0" in counters
    timings = re.search(rf"'{name}.control.duration': \[(.*?)\]", asked(management, "timers"), re.S)
    assert timings is not None
    values = [float(value) for value in timings[1].split(",")]
    assert values == pytest.approx([1.5] * 5, rel=0.011)
