"""What people say of running experiments is a log, of which the last word holds."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, IntegrityError

from twinrun.store import Store, controls

SAYINGS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["ramp", "pause", "resume"]),
        st.none() | st.floats(0, 1),
    ),
    max_size=8,
)


def say(store: Store, name: str, action: Any, share: float | None = None) -> controls.Change:
    """Say one thing."""
    with store.writing() as connection:
        return controls.add(connection, name, action, share, by="ann", note="why")


@given(SAYINGS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
def test_the_last_word_of_each_experiment_holds(tmp_path_factory: Any, sayings: list[Any]) -> None:
    """A pause keeps the share that a ramp has set, also while it lasts; each is kept in the log."""
    with Store(tmp_path_factory.mktemp("log") / "store.db") as store:
        shares: dict[str, float | None] = {}
        paused: dict[str, bool] = {}
        said = []
        for name, action, share in sayings:
            made = say(store, name, action, share)
            if action == "ramp":
                shares[name] = share
            paused[name] = action == "pause" or (action == "ramp" and paused.get(name, False))
            assert (made.share, made.paused) == (shares.get(name), paused[name])
            assert made.word == (0.0 if paused[name] else shares.get(name))
            said.append(made)
        with store.reading() as connection:
            holding = controls.last(connection)
            assert [c.experiment for c in holding] == sorted(paused)
            assert {c.experiment: c.word for c in holding} == {
                name: 0.0 if paused[name] else shares.get(name) for name in paused
            }
            for name in paused:
                own = [made for made in said if made.experiment == name]
                assert controls.changes(connection, name) == own[::-1]
                assert [made.number for made in own] == list(range(1, len(own) + 1))
            assert len(controls.changes(connection, limit=3)) == min(3, len(said))


def test_a_log_holds_no_secret(store: Store) -> None:
    """Neither in a note nor in who said it, also as it is given back at once."""
    secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123456_-xyz"
    note, by = f"token=hunter2hunter2 for {secret}", f"bot:password=hunter2hunter2 {secret}"
    with store.writing() as connection:
        made = controls.add(connection, "x", "pause", by=by, note=note)
    with store.reading() as connection:
        assert controls.changes(connection) == [made]
    told = f"{made}"
    assert secret not in told
    assert "hunter2" not in told
    assert str(made.note).startswith("token=[redacted ")


def test_a_log_reads_as_it_was_written(store: Store) -> None:
    """On every database, for every name, and without a character that one can't keep."""
    names = ["x", "né\0\ud800", "long" * 2000]
    for name in names:
        say(store, name, "ramp", 1 / 3)
        say(store, name, "pause")
    with store.reading() as connection:
        for name in names:
            [last] = controls.last(connection, name)
            assert (last.share, last.paused, last.action) == (1 / 3, True, "pause")
            assert (last.changed_by, last.note, last.number) == ("ann", "why", 2)
            assert [c.action for c in controls.changes(connection, name)] == ["pause", "ramp"]
        assert len(controls.last(connection)) == 3


def test_people_who_speak_at_once_are_all_heard(store: Store) -> None:
    """Each change has a number of its own: who comes second waits, or is told to try again."""
    store.experiments()
    refused: list[Exception] = []
    start = threading.Barrier(4)

    def speak() -> None:
        with Store(store._url.render_as_string(hide_password=False)) as own:
            own.experiments()
            start.wait(30)
            for _ in range(5):
                while True:
                    try:
                        say(own, "crowd", "pause")
                        break
                    except (IntegrityError, DBAPIError) as error:
                        refused.append(error)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store.reading() as connection:
        numbers = [c.number for c in controls.changes(connection, "crowd")]
    assert sorted(numbers) == list(range(1, 21))
