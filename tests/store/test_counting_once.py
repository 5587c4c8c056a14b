"""Facts about writing again: whatever is repeated, halved or reordered counts exactly once."""

import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

import twinrun
from evidence import NOON, increment, mismatch, run_sql
from proxies import Proxy
from twinrun.publishers import StorePublisher
from twinrun.store import Store, database
from twinrun.store._sequences import Numbers
from twinrun.tally import Tally


def gain(sequence, experiments=None, **changes):
    """Give an increment that no other's sum could be taken for."""
    tally = Tally(experiments=2**sequence if experiments is None else experiments)
    return increment(tally, sequence=sequence, **changes)


@given(st.lists(st.integers(0, 12)))
def test_numbers_are_a_set_in_as_few_ranges_as_there_can_be(numbers):
    """Each number is new once, whatever the order; ranges never touch; JSON keeps them."""
    kept, model = Numbers(), set()
    for number in numbers:
        assert kept.add(number) == (number not in model)
        model.add(number)
        kept = Numbers.from_json(kept.as_json())
    ranges = kept._ranges
    assert {n for first, last in ranges for n in range(first, last + 1)} == model
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(ranges))


examples = itertools.count()
names = st.sampled_from(["e", "f"])
processes = st.sampled_from(["p", "q"])
deliveries = st.lists(
    st.lists(st.tuples(names, processes, st.integers(0, 9)), max_size=5), max_size=8
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=deliveries)
def test_however_increments_are_delivered_each_counts_once(store, deliveries):
    """Repeated, out of order, in any batches: the tally is the sum of what was delivered at all."""
    example = next(examples)  # which has experiments of its own, as all share a store
    for batch in deliveries:
        store.write(
            [gain(n, experiment=f"{name} {example}", process=process) for name, process, n in batch]
        )
    for name in ("e", "f"):
        delivered = {each[1:] for batch in deliveries for each in batch if each[0] == name}
        expected = sum(2**number for _, number in delivered)
        assert store.tally(f"{name} {example}").experiments == expected


def test_an_increment_without_a_sequence_counts_each_time(store):
    """Who gives no identity has no protection, and none is pretended."""
    for _ in range(2):
        store.write([increment(Tally(experiments=1))])
    assert store.tally("e").experiments == 2


def test_what_was_applied_is_kept_in_ranges(store, url):
    """A writer's row does not grow with the number of its increments."""
    for sequence in (0, 1, 2, 5, 4):
        store.write([gain(sequence)])
    assert run_sql(url, "SELECT applied FROM writers") == [("[[0,2],[4,5]]",)]
    store.write([gain(3)])
    assert run_sql(url, "SELECT applied FROM writers") == [("[[0,5]]",)]


def test_tallies_are_read_by_release(store):
    """Each release's runs stand apart, and can be asked for, also in one batch and minute."""
    store.write([gain(0, 1), gain(1, 10, release="1.0"), gain(2, 100, release="2.0")])
    later = NOON.replace(hour=13)
    store.write([gain(3, 1000, release="1.0", at=later)])
    assert store.tally("e").experiments == 1111
    assert store.tally("e", release="1.0").experiments == 1010
    assert store.tally("e", release="1.0", since=later).experiments == 1000
    assert store.tally("e", release="2.0").experiments == 100
    assert store.tally("e", release="").experiments == 1
    assert store.tally("e", release="3.0") == Tally()
    assert store.span("e", release="2.0")[0].hour == 12
    assert store.releases("e") == ["1.0", "2.0"]


# A connection that breaks ------------------------------------------------------------------------


@pytest.fixture
def proxy(postgresql):
    """Stand before the server."""
    host = make_url(postgresql).query["host"]
    proxy = Proxy(f"{host}/.s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.fixture
def distant(proxy, postgresql):
    """Give a store that is reached through the proxy, its tables in place."""
    url = make_url(postgresql).set(host="127.0.0.1", port=proxy.port, query={})
    with Store(url.render_as_string(hide_password=False)) as store:
        store.write([gain(0)], [mismatch(0)])
        yield store


def assert_counted(store, number):
    """Check that the first increments and mismatches were counted, each once."""
    assert store.tally("e").experiments == 2**number - 1
    assert store.groups("e")[0].count == number
    assert len(store.exemplars("f00d")) == number


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
@pytest.mark.parametrize(
    "word", ["COMMIT", "set_config", "writers", "mismatch_groups", "INSERT INTO recent"]
)
def test_a_connection_lost_anywhere_in_a_write_counts_nothing_twice(proxy, distant, cut, word):
    """Whether the server got the last word or not, the write is done once, by itself."""
    setattr(proxy, cut, word.encode())
    distant.write([gain(1)], [mismatch(1)])
    assert proxy.cuts == 1
    assert_counted(distant, 2)


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_a_write_given_up_may_be_repeated_by_anyone(proxy, distant, postgresql, cut, monkeypatch):
    """Who lost the connection at COMMIT can't know; another process with the same records can."""
    monkeypatch.setattr(database, "_TRIES", 1)
    setattr(proxy, cut, b"COMMIT")
    with pytest.raises(OperationalError):
        distant.write([gain(1)], [mismatch(1)])
    with Store(postgresql) as other:
        other.write([gain(1)], [mismatch(1)])
        assert_counted(other, 2)


def test_a_reader_survives_a_lost_connection(proxy, distant):
    """What was asked is asked again through a new connection."""
    proxy.cut_after = b"FROM tallies"
    assert_counted(distant, 1)
    assert proxy.cuts == 1


def test_an_idle_connection_that_was_closed_is_replaced(distant, postgresql):
    """A server that ends idle connections, or was restarted, costs nothing."""
    terminated = run_sql(
        postgresql,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()",
    )
    assert terminated == [(True,)]
    distant.write([gain(1)], [mismatch(1)])
    assert_counted(distant, 2)


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_a_publisher_that_loses_its_connection_loses_and_doubles_nothing(
    proxy, distant, cut, monkeypatch
):
    """Results are queued and tallies kept until they are known to be stored; each counts once."""
    monkeypatch.setattr(database, "_TRIES", 1)
    url = distant._url.render_as_string(hide_password=False)
    publisher = StorePublisher(url, interval=0.01)
    name = f"lost.{cut}"
    experiment = twinrun.Experiment(name, publishers=[publisher])
    for number in range(20):
        if number % 5 == 0:
            setattr(proxy, cut, b"COMMIT")
        experiment.run(control=lambda: 1, candidate=lambda: 2)
        while getattr(proxy, cut):
            time.sleep(0.001)
    assert publisher.flush(60)
    publisher.close()
    assert proxy.cuts == 4
    assert distant.tally(name) == twinrun.tallies()[name]
    assert distant.groups(name)[0].count == 20
