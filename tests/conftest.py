"""What every test shares: Hypothesis without clocks, and settings that do not leak."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import twinrun

# Deadlines and "too slow" measure the machine, not the code.
_QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", **_QUIET)
settings.register_profile("ci", derandomize=True, print_blob=True, **_QUIET)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def default_settings() -> Iterator[None]:
    """Give every test the default settings, whatever the one before it configured."""
    yield
    twinrun.configure(
        publishers=None,
        enabled=None,
        raise_on_mismatch=None,
        on_failure=None,
        workers=None,
        queue=None,
        scrub=None,
    )


@pytest.fixture
def small_heap() -> Iterator[None]:
    """Have the collector, which is asked often, look only at what the test makes."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
