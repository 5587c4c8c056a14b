"""What `capture` leaves out of an experiment's values leaves the process nowhere."""

from __future__ import annotations

import json
import pickle

import pytest

from twinrun import ConfigurationError, Experiment, MismatchError, recording
from twinrun.cleaners import payload

WITHHELD = {"$withheld": "capture"}
DATA = "ann@example.com"


class Row:
    """A value with fields."""

    def __init__(self, total):
        self.total = total
        self.by_customer = {DATA: {"total": total}}


def result_of(capture, control=None, candidate=None, **options):
    """Run an experiment whose values, keys and context hold data."""
    experiment = Experiment("capture.test", publishers=(), capture=capture, **options)
    with recording() as results:
        experiment.run(
            control=control or (lambda: [Row(1), {DATA: 1}]),
            candidate=candidate or (lambda: [Row(2), {DATA: 2}]),
            context={"customer": DATA},
        )
    return results[0]


def test_differences_alone_are_kept():
    """No whole value is; the context, which was given to be kept, is."""
    data = payload(result_of("differences", candidate=lambda: [Row(1), {DATA: 2}]))
    assert data["control"]["value"] == data["candidates"][0]["value"] == WITHHELD
    assert data["context"] == {"customer": DATA}
    shown = [d for d in data["candidates"][0]["differences"] if d["path"].startswith("$[1]")]
    assert [(d["control"], d["candidate"]) for d in shown] == [(1, 2)]


def test_nothing_means_no_data_at_all():
    """Neither values nor context nor the keys in paths; the places that the program named stay."""
    found = result_of("nothing", compare=Compared())
    data = payload(found)
    assert DATA not in json.dumps(data)
    assert data["control"]["value"] == data["candidates"][0]["value"] == WITHHELD
    assert data["context"] == WITHHELD
    paths = ["$[0].total", "$[0].by_customer[*][*]", "$[1][*]", "$[*][*]"]
    assert data["candidates"][0]["differences"] == [
        {"path": path, "kind": "changed", "control": WITHHELD, "candidate": WITHHELD}
        for path in paths
    ]


def test_a_side_that_is_not_there_is_left_out():
    """Whether something was added is no data."""
    found = result_of("nothing", control=lambda: {"a": 1}, candidate=dict)
    assert payload(found)["candidates"][0]["differences"] == [
        {"path": "$[*]", "kind": "removed", "control": WITHHELD}
    ]


class Compared:
    """A comparator that names places, one of them where nothing is."""

    def __call__(self, a, b):
        """Let nothing be equal."""
        return False

    def differences(self, a, b):
        """Name four places."""
        from twinrun import Difference, DifferenceKind

        quoted = json.dumps(DATA)
        paths = ("$[0].total", f"$[0].by_customer[{quoted}].total", f"$[1][{quoted}]", "$[9].x")
        return [Difference(path, DifferenceKind.CHANGED, 1, 2) for path in paths]


def test_nothing_keeps_no_message_and_no_traceback():
    """An exception is told by its type and place."""

    def failing():
        raise ValueError(DATA)

    data = payload(result_of("nothing", candidate=failing))
    candidate = data["candidates"][0]
    assert DATA not in json.dumps(data)
    assert candidate["exception"] == {"type": "ValueError", "message": "[withheld]"}
    assert candidate["traceback"] is None
    assert candidate["raised_at"].endswith("failing")


def test_clean_is_not_asked_where_nothing_is_kept():
    """It would be asked in vain."""
    asked = []
    payload(result_of("nothing", clean=asked.append))
    assert asked == []


def test_the_text_of_a_mismatch_error_keeps_to_it():
    """It shows no more than what is stored."""
    with pytest.raises(MismatchError) as caught:
        result_of("nothing", raise_on_mismatch=True)
    assert DATA not in str(caught.value)


def test_a_pickled_result_keeps_to_it():
    """What was not to be stored is not stored by another process either."""
    loaded = pickle.loads(pickle.dumps(result_of("nothing", control=lambda: 1)))
    assert payload(loaded)["control"]["value"] == WITHHELD


def test_values_are_captured_by_default():
    """As before."""
    data = payload(result_of("values"))
    assert data["control"]["value"][1] == {DATA: 1}


@pytest.mark.parametrize("value", [None, "everything", True, ["values"]])
def test_a_wrong_capture_is_refused(value):
    """When the experiment is made."""
    with pytest.raises(ConfigurationError, match="capture must be one of 'values'"):
        Experiment("capture.wrong", capture=value)
