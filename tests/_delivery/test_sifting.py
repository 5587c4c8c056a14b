"""Facts about sifting: which is ill, the sink or a record, and that neither costs the others."""

import math
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinrun._delivery.sifting import TRIES, Sifter
from twinrun._delivery.waiting import Waiting


class Bench:
    """A queue, and a sink that refuses what is poison, or all while it is down."""

    def __init__(self, batch, poison=()):
        self.waiting = Waiting(10_000, 1 << 20)
        self.poison = set(poison)
        self.is_down = False
        self.delivered = []
        self.calls = []
        self.aside = []
        self.sifter = Sifter(self.waiting, self.deliver, batch, self.put_aside)

    def put(self, number):
        """Append a number."""
        assert self.waiting.append(b"%d" % number, "e") is None

    def deliver(self, records):
        """Take all or nothing."""
        numbers = [int(record) for record in records]
        self.calls.append(numbers)
        if self.is_down or self.poison.intersection(numbers):
            raise ValueError("refused")
        self.delivered += numbers

    def put_aside(self, entry, record):
        """Take a record out."""
        self.waiting.remove(entry)
        self.aside.append(int(record))

    def round(self):
        """Deliver what is there; False if the sink seems down or something is left."""
        try:
            return self.sifter.hand_on(len(self.waiting), math.inf, Exception)
        except ValueError:
            return False


@example(batch=1, count=3, poison={0, 1, 2}, outage=0)  # the oldest are all poison
@given(
    st.integers(1, 12),
    st.integers(0, 40),
    st.sets(st.integers(0, 39), max_size=4),
    st.integers(0, 3),
)
def test_all_that_is_sound_gets_through_and_what_is_not_is_put_aside(batch, count, poison, outage):
    """Whatever the batches, the poison and an outage: each once, while sound ones keep coming."""
    bench = Bench(batch, poison)
    for number in range(count):
        bench.put(number)
    bench.is_down = True
    for _ in range(outage):
        assert bench.round() is (count == 0)
    assert (bench.delivered, bench.aside) == ([], [])
    bench.is_down = False
    number = 100
    while not bench.round() and number < 1100:
        bench.put(number)
        number += 1
    assert sorted(bench.delivered) == [*sorted(set(range(count)) - poison), *range(100, number)]
    assert sorted(bench.aside) == sorted(poison & set(range(count)))
    assert len(bench.waiting) == bench.waiting.size == 0


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
def test_a_sink_that_is_well_again_gets_ever_more_at_once(count):
    """A batch that met a hiccup is not handed over in as many calls as it has records."""
    bench = Bench(1000)
    for number in range(count):
        bench.put(number)
    deliver = bench.sifter._deliver

    def hiccup(records):
        bench.sifter._deliver = deliver
        raise ValueError("just once")

    bench.sifter._deliver = hiccup
    assert bench.round() is (count > 1)  # one alone is left to the next round
    assert bench.round()
    assert sorted(bench.delivered) == list(range(count))
    assert len(bench.calls) <= 1 + math.log2(count + 1)


def test_a_sound_batch_is_one_call():
    """Records are tried one by one only where a batch has failed."""
    bench = Bench(100)
    for number in range(250):
        bench.put(number)
    assert bench.round()
    assert list(map(len, bench.calls)) == [100, 100, 50]


def test_a_sink_that_is_down_is_not_asked_for_each_record():
    """A batch and three of its records are enough to know."""
    bench = Bench(100)
    bench.is_down = True
    for number in range(100):
        bench.put(number)
    assert not bench.round()
    assert list(map(len, bench.calls)) == [100, 1, 1, 1]
    assert len(bench.waiting) == 100


def test_poison_is_tried_three_times_and_others_once_alone():
    """Once suspected it is tried by itself and spoils no more batches."""
    bench = Bench(10, {3})
    for number in range(30):
        bench.put(number)
    rounds = 0
    while not bench.aside:
        bench.put(100 + rounds)
        bench.round()
        rounds += 1
    alone = Counter(tuple(numbers) for numbers in bench.calls if len(numbers) == 1)
    assert TRIES <= alone[(3,)] <= TRIES + 1
    assert sum(3 in numbers for numbers in bench.calls if len(numbers) > 1) <= 2
    assert bench.aside == [3]


def test_what_fails_alone_with_nothing_after_it_is_not_suspected():
    """The only record there is may be the first that a failing sink refuses."""
    bench = Bench(10, {0})
    bench.put(0)
    for _ in range(10):
        assert not bench.round()
    assert bench.aside == []


def test_what_is_not_contained_comes_out_at_once():
    """An interruption is no failure of the sink."""
    bench = Bench(10)
    for number in range(10):
        bench.put(number)

    def interrupt(records):
        bench.calls.append(len(records))
        raise KeyboardInterrupt

    sifter = Sifter(bench.waiting, interrupt, 10, bench.put_aside)
    with pytest.raises(KeyboardInterrupt):
        sifter.hand_on(10, math.inf, Exception)
    assert bench.calls == [10]
    assert len(bench.waiting) == 10


def test_after_the_deadline_nothing_is_begun():
    """What is left waits, untouched."""
    bench = Bench(10)
    bench.put(0)
    assert bench.sifter.hand_on(1, -1.0, Exception) is False
    assert bench.calls == []
