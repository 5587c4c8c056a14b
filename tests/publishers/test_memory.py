"""MemoryPublisher keeps the newest results."""

from __future__ import annotations

import datetime
import threading

import pytest

from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.publishers import MemoryPublisher
from twinrun.result import Result


def matched(number):
    """Give a result of a control alone."""
    return Result(
        id=str(number),
        experiment="quote",
        started_at=datetime.datetime.now(datetime.UTC),
        context={},
        order=("control",),
        control=Observation(name="control", value=number, duration_ns=1),
        candidates=(),
        comparisons=(),
    )


def test_the_newest_results_are_kept_in_order():
    """As many as the limit says, the very same objects, in a list of the reader's own."""
    publisher = MemoryPublisher(limit=3)
    results = [matched(n) for n in range(5)]
    for result in results:
        publisher.publish(result)
    assert publisher.results == results[2:]
    publisher.results.clear()
    assert len(publisher.results) == 3
    publisher.clear()
    assert publisher.results == []


def test_it_takes_every_result():
    """A match is kept like a mismatch."""
    assert not getattr(MemoryPublisher(), "evidence_only", False)


def test_many_threads_publish_while_one_reads():
    """Nothing is lost, and reading never fails."""
    publisher, start = MemoryPublisher(limit=4000), threading.Barrier(5)

    def publish():
        start.wait()
        for n in range(1000):
            publisher.publish(matched(n))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    while any(thread.is_alive() for thread in threads):
        assert len(publisher.results) <= 4000
    assert len(publisher.results) == 4000


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None, "10"])
def test_a_limit_that_is_no_number_of_results_is_refused(limit):
    """The error says what is accepted."""
    with pytest.raises(ConfigurationError, match="from 1 upwards"):
        MemoryPublisher(limit=limit)
