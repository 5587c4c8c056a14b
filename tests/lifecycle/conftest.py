"""Processes that are started in other directories find the twinrun under test."""

from __future__ import annotations

from pathlib import Path

import pytest

import twinrun


@pytest.fixture(autouse=True)
def same_twinrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every program that a test starts import what the test imports."""
    monkeypatch.setenv("PYTHONPATH", str(Path(twinrun.__file__).parents[1]))
