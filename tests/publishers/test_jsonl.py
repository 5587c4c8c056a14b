"""JSONLinesPublisher appends whole lines to a file, from any thread and process."""

from __future__ import annotations

import datetime
import errno
import json
import os
import stat
import subprocess
import sys
import threading
import types

import pytest

from twinrun.cleaners import payload
from twinrun.delivery import Counts
from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.publishers import JSONLinesPublisher
from twinrun.result import Comparison, Outcome, Result

LONG = 30.0


def mismatch(value="x"):
    """Give a result that is worth keeping."""
    control = Observation(name="control", value=value, duration_ns=1)
    candidate = Observation(name="candidate", value=None, duration_ns=1)
    return Result(
        id="abc",
        experiment="quote",
        started_at=datetime.datetime.now(datetime.UTC),
        context={},
        order=("control", "candidate"),
        control=control,
        candidates=(candidate,),
        comparisons=(Comparison(candidate, Outcome.MISMATCHED),),
    )


@pytest.fixture
def publisher(tmp_path):
    """Give a publisher that is closed at the end."""
    publisher = JSONLinesPublisher(tmp_path / "results.jsonl", interval=0.01)
    yield publisher
    publisher.close()


@pytest.fixture
def told(monkeypatch):
    """Collect what is told by `twinrun._logging.warn`."""
    heard = []
    module = types.ModuleType("twinrun._logging")
    module.warn = lambda event, **keys: heard.append((event, keys))
    monkeypatch.setitem(sys.modules, "twinrun._logging", module)
    return heard


def lines(publisher_or_path):
    """Read the lines that were written."""
    path = getattr(publisher_or_path, "_path", publisher_or_path)
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_each_result_is_one_line_of_its_payload(publisher):
    """In ASCII, so that no reader splits it elsewhere."""
    result = mismatch("a\nb\u2028c")
    publisher.publish(result)
    publisher.publish(result)
    assert publisher.flush(LONG)
    assert lines(publisher) == [payload(result)] * 2


def test_a_file_is_appended_to_and_made_for_its_owner_alone(tmp_path):
    """What another run wrote stays."""
    path = tmp_path / "results.jsonl"
    for _ in range(2):
        publisher = JSONLinesPublisher(str(path))
        publisher.publish(mismatch())
        publisher.close()
    assert len(lines(path)) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_threads_write_whole_lines(publisher):
    """No line runs into another one."""
    start = threading.Barrier(8)

    def publish():
        start.wait()
        for n in range(20):
            publisher.publish(mismatch("v" * n * 100))

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.flush(LONG)
    assert len(lines(publisher)) == 160


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_jsonl import mismatch, JSONLinesPublisher
publisher = JSONLinesPublisher(sys.argv[1])
publisher.publish(mismatch("before"))
children = []
for number in range(4):
    child = os.fork()
    if not child:
        for n in range(25):
            publisher.publish(mismatch(number))
        os._exit(0 if publisher.flush(30) else 1)
    children.append(child)
publisher.publish(mismatch("after"))
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_forked_children_write_lines_of_their_own(tmp_path):
    """No line is lost, doubled or torn."""
    path = tmp_path / "results.jsonl"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), os.path.dirname(__file__)],
        check=True,
        timeout=60,
    )
    values = [line["control"]["value"] for line in lines(path)]
    assert len(values) == 102
    assert all(values.count(number) == 25 for number in range(4))


def test_a_short_write_is_finished(publisher, monkeypatch):
    """The operating system may take less than a whole line."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    publisher.publish(mismatch())
    publisher.publish(mismatch())
    assert publisher.flush(LONG)
    assert len(lines(publisher)) == 2


def test_a_line_that_broke_off_comes_again_and_spoils_no_other(publisher, monkeypatch, told):
    """Those that were written do not; it starts afresh."""
    write, calls = os.write, []

    def full(fd, data):
        calls.append(len(data))
        if 3 <= len(calls) <= 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, bytes(data[:10] if len(calls) == 2 else data))

    monkeypatch.setattr(os, "write", full)
    for value in range(3):
        publisher.publish(mismatch(value))
    assert publisher.flush(LONG)
    with open(publisher._path, encoding="utf-8") as file:
        first, broken, *others = file.read().splitlines()
    assert len(broken) == 10
    values = [json.loads(line)["control"]["value"] for line in (first, *others)]
    assert sorted(values) == [0, 1, 2]


def test_a_directory_may_vanish_and_come_back(tmp_path, told):
    """What was published meanwhile is written then."""
    folder = tmp_path / "logs"
    folder.mkdir()
    publisher = JSONLinesPublisher(folder / "results.jsonl", interval=0.01)
    folder.rmdir()
    publisher.publish(mismatch(1))
    assert not publisher.flush(0.1)
    assert told[0][0] == "delivery.failed"
    folder.mkdir()
    assert publisher.flush(LONG)
    publisher.close()
    assert len(lines(folder / "results.jsonl")) == 1


def test_a_file_may_be_rotated(publisher, tmp_path):
    """What comes later goes into a new one of the old name."""
    publisher.publish(mismatch(1))
    assert publisher.flush(LONG)
    os.rename(publisher._path, tmp_path / "old")
    publisher.publish(mismatch(2))
    assert publisher.flush(LONG)
    assert (len(lines(tmp_path / "old")), len(lines(publisher))) == (1, 1)


def test_nothing_comes_after_close(publisher):
    """It is counted; closing twice is no error."""
    publisher.publish(mismatch())
    publisher.close()
    publisher.close()
    publisher.publish(mismatch())
    assert publisher.counts == Counts(accepted=1, delivered=1, dropped={"closed": 1})
    assert len(lines(publisher)) == 1


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    """A directory, a missing directory, and what is no path."""
    with pytest.raises(ConfigurationError, match="is a directory"):
        JSONLinesPublisher(tmp_path)
    with pytest.raises(ConfigurationError, match="there is no directory"):
        JSONLinesPublisher(tmp_path / "missing" / "results.jsonl")
    with pytest.raises(ConfigurationError, match="names a file"):
        JSONLinesPublisher(3)


def test_it_takes_only_what_is_worth_keeping():
    """A matching run need not build a result for it."""
    assert JSONLinesPublisher.evidence_only is True
