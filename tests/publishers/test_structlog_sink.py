"""StructlogPublisher logs what differs where the application wants to read it."""

from __future__ import annotations

import datetime
import itertools
import logging
import subprocess
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from twinrun import _logging, experiment, settings, tallies
from twinrun._restraint import Restraint
from twinrun.comparators import equal
from twinrun.errors import ConfigurationError
from twinrun.observation import NOTHING, Observation
from twinrun.publishers import StructlogPublisher
from twinrun.result import BASELINE, Comparison, Outcome, Result


@pytest.fixture(autouse=True)
def unconfigured():
    """Let every test start and end with structlog as it is when nobody configured it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def judged(*outcomes, control=1, candidate=2, reason=None, error=None, name="candidate"):
    """Give a result with a candidate for each outcome."""
    ours = Observation(name="control", value=control, duration_ns=1_500_000)
    value = NOTHING if error else candidate
    theirs = Observation(name=name, value=value, exception=error, duration_ns=2_000_000)
    found = () if error else equal.differences(control, candidate)
    return Result(
        id="abc",
        experiment="pricing.quote",
        started_at=datetime.datetime.now(datetime.UTC),
        context={},
        order=("control", name),
        control=ours,
        candidates=(theirs,) * len(outcomes),
        comparisons=tuple(
            Comparison(theirs, outcome, reason, found, "f00d") for outcome in outcomes
        ),
    )


def test_a_mismatch_is_one_event_with_flat_keys():
    """It names the experiment, the group, the places and the first difference."""
    result = judged(Outcome.MISMATCHED, control={"a": 1, "b": 1}, candidate={"a": 2, "b": 3})
    with capture_logs() as logs:
        StructlogPublisher().publish(result)
    assert logs == [
        {
            "event": "experiment.mismatch",
            "log_level": "warning",
            "experiment": "pricing.quote",
            "candidate": "candidate",
            "id": "abc",
            "fingerprint": "f00d",
            "differences": 2,
            "paths": ["$.a", "$.b"],
            "kind": "changed",
            "control_value": "1",
            "candidate_value": "2",
            "control_ms": 1.5,
            "candidate_ms": 2.0,
        }
    ]


def test_a_comparison_that_stopped_early_says_so():
    """Why there may be more differences than were found stands beside their number."""
    with capture_logs() as logs:
        for size in (300, 3):
            values = {"control": list(range(size)), "candidate": [n + 500 for n in range(size)]}
            StructlogPublisher().publish(judged(Outcome.MISMATCHED, **values))
    assert [(log["differences"], log.get("differences_incomplete")) for log in logs] == [
        (100, "more than 100 differences"),
        (3, None),
    ]


@pytest.mark.parametrize(
    ("outcomes", "events"),
    [
        ([Outcome.MATCHED], []),
        ([Outcome.IGNORED], []),
        ([Outcome.TIMED_OUT], ["experiment.timed_out"]),
        ([Outcome.INCONCLUSIVE], ["experiment.inconclusive"]),
        ([Outcome.MATCHED, Outcome.MISMATCHED, Outcome.IGNORED], ["experiment.mismatch"]),
        ([Outcome.MISMATCHED, Outcome.MISMATCHED], ["experiment.mismatch"] * 2),
    ],
)
def test_each_candidate_that_did_not_match_is_one_event(outcomes, events):
    """What matched or was ignored is none."""
    with capture_logs() as logs:
        StructlogPublisher().publish(judged(*outcomes))
    assert [log["event"] for log in logs] == events


def test_a_baseline_is_not_logged():
    """It says how the control differs from itself, which is nobody's mistake."""
    with capture_logs() as logs:
        StructlogPublisher().publish(judged(Outcome.MISMATCHED, name=BASELINE))
    assert logs == []


def test_what_was_raised_is_named_by_its_type():
    """The reason is there too, where there is one."""
    with capture_logs() as logs:
        StructlogPublisher().publish(
            judged(Outcome.INCONCLUSIVE, error=KeyError("x"), reason="compare")
        )
    assert logs[0]["candidate_exception"] == "KeyError"
    assert logs[0]["reason"] == "compare"
    assert "control_exception" not in logs[0]


def test_secrets_are_not_logged():
    """Only cleaned values are."""
    result = judged(Outcome.MISMATCHED, control={"token": "one-12345"}, candidate={"token": "two"})
    with capture_logs() as logs:
        StructlogPublisher().publish(result)
    assert logs[0]["control_value"].startswith("'[redacted ")
    assert "one-12345" not in str(logs)


def test_without_structlog_configured_it_goes_through_logging(caplog, capsys):
    """To the logger `twinrun`, as one line, and never to stdout."""
    StructlogPublisher().publish(judged(Outcome.MISMATCHED, control="one two"))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("twinrun", logging.WARNING)
    assert record.getMessage().startswith(
        "experiment.mismatch experiment='pricing.quote' candidate=candidate id=abc"
    )
    assert "control_value=\"'one two'\"" in record.getMessage()
    assert capsys.readouterr().out == ""


def test_capture_logs_leaves_structlog_unconfigured(caplog, capsys):
    """structlog counts as configured afterwards, though nothing but its defaults is set."""
    with capture_logs():
        pass
    assert structlog.is_configured()
    StructlogPublisher().publish(judged(Outcome.MISMATCHED))
    assert len(caplog.records) == 1
    assert capsys.readouterr().out == ""


def test_a_later_configuration_is_honoured(caplog, capsys):
    """It counts what is configured at the time of the event."""
    publisher, events = StructlogPublisher(), []

    def keep(logger, method, event):
        events.append((method, event["event"]))
        raise structlog.DropEvent

    publisher.publish(judged(Outcome.MISMATCHED))
    structlog.configure(processors=[keep])
    publisher.publish(judged(Outcome.MISMATCHED))
    assert events == [("warning", "experiment.mismatch")]
    assert len(caplog.records) == 1
    assert capsys.readouterr().out == ""


def test_an_application_that_prints_its_logs_gets_them(capsys):
    """Printing to stdout is right where the application has chosen it."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    StructlogPublisher().publish(judged(Outcome.MISMATCHED))
    assert '"event": "experiment.mismatch"' in capsys.readouterr().out


def test_an_asynchronous_logger_is_used_plainly(caplog):
    """Nobody would await its methods."""
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.AsyncBoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    StructlogPublisher().publish(judged(Outcome.MISMATCHED))
    assert [record.getMessage() for record in caplog.records] == ["experiment.mismatch"]


def test_a_logger_of_ones_own_is_used():
    """Whatever is configured."""
    logged = structlog.testing.CapturingLogger()
    logger = structlog.wrap_logger(logged, processors=[lambda _, __, event: event["event"]])
    StructlogPublisher(logger).publish(judged(Outcome.MISMATCHED))
    assert [call.args for call in logged.calls] == [("experiment.mismatch",)]


def test_a_storm_of_one_group_is_a_few_lines_and_then_one_in_a_while(monkeypatch):
    """The last of the first lines says so, later ones how many were left out since."""
    publisher = StructlogPublisher(burst=2, interval=30)
    times = iter([0.0, 0.0, 1.0, 2.0, 30.0, 31.0, 600.0])
    monkeypatch.setattr(publisher._restraint, "_clock", lambda: next(times))
    with capture_logs() as logs:
        for _ in range(7):
            publisher.publish(judged(Outcome.MISMATCHED))
    assert [(log.get("left_out"), log.get("then_one_in")) for log in logs] == [
        (None, None),
        (None, "30 seconds"),
        (2, "30 seconds"),
        (1, None),
    ]


def test_with_nothing_configured_a_storm_does_not_flood_the_log(caplog, monkeypatch):
    """What is left out is counted in the tally; another group is logged all the same."""
    (default,) = settings.current.publishers
    monkeypatch.setattr(default, "_restraint", Restraint(10, 60.0, clock=lambda: 0.0))

    @experiment("sink.storm", candidate=lambda value: value + 1)
    def storm(value):
        return value

    for _ in range(500):
        storm(1)
    assert len(caplog.records) == 10
    assert tallies()["sink.storm"].dropped == {"log limit": 490}
    storm("text")
    assert len(caplog.records) == 11


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.MISMATCHED, None),
        (Outcome.TIMED_OUT, None),
        (Outcome.INCONCLUSIVE, "compare"),
        (Outcome.INCONCLUSIVE, "isolate"),
    ],
)
def test_the_default_logs_ten_of_a_group_and_then_one_a_minute(monkeypatch, outcome, reason):
    """Whatever it is that the group has in common, and whatever was logged of others."""
    publisher = StructlogPublisher()
    seconds = itertools.count()
    monkeypatch.setattr(publisher._restraint, "_clock", lambda: next(seconds) // 2)
    with capture_logs() as logs:
        for _ in range(300):
            publisher.publish(judged(outcome, reason=reason))
            publisher.publish(judged(Outcome.INCONCLUSIVE, reason="another"))
    assert [log.get("reason") for log in logs].count(reason) == 10 + 4


def test_every_mismatch_is_logged_where_no_burst_is_set():
    """Nothing is left out then, and nothing said of it."""
    publisher = StructlogPublisher(burst=None)
    with capture_logs() as logs:
        for _ in range(100):
            publisher.publish(judged(Outcome.MISMATCHED))
    assert len(logs) == 100
    assert not {"left_out", "then_one_in"} & {key for log in logs for key in log}


def test_what_is_left_out_costs_no_payload(monkeypatch):
    """In a storm the caller pays for a look at the clock."""
    publisher = StructlogPublisher(burst=1)
    monkeypatch.setattr(publisher._restraint, "_clock", lambda: 0.0)
    with capture_logs() as logs:
        publisher.publish(judged(Outcome.MISMATCHED))
        monkeypatch.setattr("twinrun.publishers.structlog.payload", None)
        publisher.publish(judged(Outcome.MISMATCHED))
    assert len(logs) == 1


def test_two_candidates_of_one_run_are_limited_each_for_itself(monkeypatch):
    """The one that may be logged is, though the other may not."""
    publisher = StructlogPublisher(burst=1)
    monkeypatch.setattr(publisher._restraint, "_clock", lambda: 0.0)
    with capture_logs() as logs:
        publisher.publish(judged(Outcome.MISMATCHED, Outcome.MISMATCHED))
        publisher.publish(judged(Outcome.MISMATCHED, Outcome.TIMED_OUT))
    assert [log["event"] for log in logs] == ["experiment.mismatch", "experiment.timed_out"]


@pytest.mark.parametrize(
    "options",
    [{"burst": 0}, {"burst": True}, {"burst": 1.0}, {"interval": 0}, {"interval": float("nan")}]
    + [{"interval": value} for value in ("60", None, True, float("inf"), -1)],
)
def test_limits_that_make_no_sense_are_refused(options):
    """The error names what was given and what is accepted."""
    (name,) = options
    with pytest.raises(ConfigurationError, match=f"^{name} is a number of "):
        StructlogPublisher(**options)


@pytest.mark.parametrize("logger", [logging.getLogger("mine"), 3, "twinrun"])
def test_what_is_no_logger_of_structlog_is_refused(logger):
    """The error says what is accepted."""
    with pytest.raises(ConfigurationError, match="logger of structlog"):
        StructlogPublisher(logger)


def test_it_takes_only_what_is_worth_keeping():
    """A matching run need not build a result for it."""
    assert StructlogPublisher.evidence_only is True


def test_an_application_without_structlog_need_not_load_it():
    """A warning goes to stderr, where unconfigured logging puts it, and stdout stays empty."""
    program = (
        "import sys; from twinrun import _logging\n"
        "assert 'logging' not in sys.modules\n"
        "_logging.warn('experiment.failed', operation='clean', count=2, error=None)\n"
        "assert 'structlog' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == "experiment.failed operation=clean count=2 error=None\n"


def test_unknown_values_of_a_warning_are_named_by_type(caplog):
    """None of their code is called."""

    class Loud:
        def __repr__(self):
            raise AssertionError("repr was called")

        __str__ = __format__ = __repr__

    _logging.warn("event", value=Loud(), items=[1, Loud()])
    assert caplog.messages == ["event value=<Loud> items=[1, <Loud>]"]
