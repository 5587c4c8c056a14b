"""What every test shares: Hypothesis without clocks, and settings that do not leak.

`pytest --hypothesis-profile=thorough` tries twenty times as many examples.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import twinrun
from servers import mortal_redis as mortal_redis
from servers import new_database as new_database
from servers import postgresql as postgresql
from servers import postgresql_server as postgresql_server
from servers import redis_server as redis_server
from servers import redis_url as redis_url
from twinrun import _accounts
from twinrun.store import writer

# Deadlines and "too slow" measure the machine, not the code.
_QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=40, **_QUIET)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("thorough", max_examples=800, **_QUIET)
settings.load_profile("ci" if os.environ.get("CI") else "default")

_MOST_PROCESSES = 4  # more of them gather the tests for longer than they then run them


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Share out whole directories among processes; run files, and what is watched, in this one."""
    if config.getoption("capture") == "no" or not all(os.path.isdir(name) for name in config.args):
        return 0
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
    return processes if processes > 1 else 0


def pytest_configure() -> None:
    """Have Ctrl-C end programs that tests start, in the background too; know no terminal."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("COLUMNS", None)  # pytest-xdist sets it; tests of a terminal's width do so, too


def pytest_collection_finish() -> None:
    """Have the collector look only at what the tests make: their sources would hold it up."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def default_settings() -> Iterator[None]:
    """Give every test the default settings and few accounts, whatever was done before it."""
    known = _accounts.accounts().keys()
    yield
    for name in _accounts.accounts().keys() - known:
        del _accounts._accounts[name]
    writer._writers.clear()  # they know how far those accounts were told
    twinrun.configure(
        publishers=None,
        enabled=None,
        raise_on_mismatch=None,
        on_failure=None,
        workers=None,
        queue=None,
        scrub=None,
        controls=None,
    )
